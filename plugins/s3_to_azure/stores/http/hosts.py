"""Host names without an address: a setting is wrong, unless the host was reached before."""

import re
import socket
import threading
from collections.abc import Iterable
from typing import Any, Final

from urllib3.exceptions import NameResolutionError

from s3_to_azure.model.errors import AZURE, S3, UsageError

# The name does not exist, or has no address. Other failures of a look-up pass, such as a resolver that is silent.
_NO_ADDRESS: Final = (socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME))
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-express-Regions-and-Zones.html
_DIRECTORY_BUCKET: Final = re.compile(
    r"(?:(?P<bucket>[a-z0-9.-]+--[a-z0-9-]+--x-s3)\.)?s3express-(?P<zone>[a-z0-9-]+)\.(?:dualstack\.)?(?P<region>[a-z0-9-]+)\.amazonaws\."
)
_CURES: Final = {
    S3: "Check the endpoint (AWS_ENDPOINT_URL, endpoint_url of the connection) and the region. If the name begins with "
    "the bucket, the endpoint may need path-style addresses, or there is no such bucket.",
    AZURE: "Check the name of the storage account, or the endpoint that is set for it.",
}

_reached: set[str] = set()
_any_reached = threading.Event()


def note_reached(host: str) -> None:
    """Remember that a host has an address: if its name cannot be found later in this process, that will pass."""
    _reached.add(host.lower())


def note_all_reached() -> None:
    """Remember that hosts were reached before this process began: by an earlier try, or by the plan of a copy."""
    _any_reached.set()


def name_error(service: str, chain: Iterable[BaseException]) -> UsageError | None:
    """Return the error of a host that has no address; None if the failure is another one, or will pass.

    Args:
        service: ``S3`` or ``AZURE``.
        chain: An exception and those that it wraps.
    """
    failures = list(chain)
    if not any(isinstance(failure, socket.gaierror) and failure.errno in _NO_ADDRESS for failure in failures):
        return None
    connection: Any = next((failure.conn for failure in failures if isinstance(failure, NameResolutionError)), None)
    if connection is None:
        return None
    host = str(connection.proxy.hostname if connection.proxy else connection.host).lower()
    if host in _reached or _any_reached.is_set():
        return None
    if connection.proxy:
        return UsageError(detail=f"The proxy's host {host!r} has no address (DNS). Check the proxy that is set.")
    found = _DIRECTORY_BUCKET.match(host)
    if found:
        bucket = f" {found['bucket']!r}" if found["bucket"] else ""
        return UsageError(
            detail=f"The directory bucket{bucket} is in the zone {found['zone']}, and the region {found['region']} has "
            f"no address for it ({host}, DNS). Set the region of the zone (AWS_DEFAULT_REGION, region_name of the "
            "connection)."
        )
    cure = _CURES.get(service, "Check the endpoint.")
    return UsageError(detail=f"The host {host!r} of {service} has no address (DNS). {cure}")
