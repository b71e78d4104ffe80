"""How objects are read: requester pays, customer key, pinned version; and the botocore settings of every client."""

import base64
import binascii
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from botocore import UNSIGNED
from botocore.config import Config

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import LISTING_REQUESTS
from s3_to_azure.stores.http.settings import CONNECT_TIMEOUT_S, READ_TIMEOUT_S

_CUSTOMER: Final = "x-amz-server-side-encryption-customer"
_KEY_BYTES: Final = 32
_ARGUMENTS: Final = {"RequestPayer", "SSECustomerAlgorithm", "SSECustomerKey", "SSECustomerKeyMD5", "VersionId"}


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Options of every GET and HEAD of an object.

    Attributes:
        requester_pays: The bucket charges the reader.
        customer_key: The 32 bytes that decrypt the objects (SSE-C); in no log and no ``repr``.
        version_id: The version to read instead of the current one; for one key only.
    """

    requester_pays: bool = False
    customer_key: bytes | None = field(default=None, repr=False)
    version_id: str | None = None

    def __post_init__(self) -> None:
        """Check the key.

        Raises:
            UsageError: The key is not 32 bytes long.
        """
        if self.customer_key is not None and len(self.customer_key) != _KEY_BYTES:
            raise UsageError(detail=f"The customer key (SSE-C) must have {_KEY_BYTES} bytes.")

    @classmethod
    def of(
        cls, extra_arguments: Mapping[str, Any], *, requester_pays: bool = False, key: str | None = None
    ) -> "ReadOptions":
        """Return the options from arguments named as in boto3 and Airflow's ``S3Hook(extra_args=…)``.

        Args:
            extra_arguments: RequestPayer, SSECustomerKey (32 bytes, or base64 of them) and VersionId.
            requester_pays: ``S3Hook``'s own argument.
            key: The customer key of a connection, as base64; one in the arguments takes precedence.

        Raises:
            UsageError: An argument is not supported: to ignore it would change what is read.
        """
        unknown = sorted(set(extra_arguments) - _ARGUMENTS)
        if unknown:
            raise UsageError(
                detail=f"The S3 arguments {unknown} are not supported; these are: {', '.join(sorted(_ARGUMENTS))}."
            )
        return cls(
            requester_pays=requester_pays or extra_arguments.get("RequestPayer") == "requester",
            customer_key=_key(extra_arguments.get("SSECustomerKey") or key),
            version_id=extra_arguments.get("VersionId"),
        )

    def headers(self) -> dict[str, str]:
        """Return the headers of a GET; all begin with ``x-amz-``, so all are signed."""
        headers = {"x-amz-request-payer": "requester"} if self.requester_pays else {}
        if self.customer_key is not None:
            digest = hashlib.md5(self.customer_key, usedforsecurity=False).digest()
            headers |= {
                f"{_CUSTOMER}-algorithm": "AES256",
                f"{_CUSTOMER}-key": base64.b64encode(self.customer_key).decode("ascii"),
                f"{_CUSTOMER}-key-md5": base64.b64encode(digest).decode("ascii"),
            }
        return headers

    def payer(self) -> dict[str, Any]:
        """Return boto3's arguments of a request that concerns no object, such as a listing."""
        return {"RequestPayer": "requester"} if self.requester_pays else {}

    def version(self) -> dict[str, Any]:
        """Return boto3's arguments of a request that concerns a version but not its bytes, such as its tags."""
        return self.payer() | ({"VersionId": self.version_id} if self.version_id else {})

    def reading(self) -> dict[str, Any]:
        """Return boto3's arguments of a HEAD."""
        if self.customer_key is None:
            return self.version()
        return self.version() | {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": self.customer_key}


def _key(value: object) -> bytes | None:
    if value is None or isinstance(value, bytes):
        return value
    try:
        return base64.b64decode(str(value), validate=True)
    except binascii.Error:
        # The message does not quote the text, which is the secret or most of it.
        raise UsageError(detail="The customer key (SSE-C) is not base64.") from None


def botocore_config(connections: int, given: Config | None = None) -> Config:
    """Return the botocore settings of an S3 client: requests are signed as each bucket needs it, and never repeated.

    Args:
        connections: Connections that the client keeps, beside those of a listing.
        given: The connection's settings, which are kept except for these. Requests stay unsigned if they say so, and
            timeouts are the general ones if they say nothing.
    """
    given = Config(connect_timeout=CONNECT_TIMEOUT_S, read_timeout=READ_TIMEOUT_S).merge(given or Config())
    ours = Config(
        # A named signature is used for every bucket, also for directory buckets and access points that need another.
        signature_version=UNSIGNED if given.signature_version is UNSIGNED else None,
        retries={"total_max_attempts": 1, "mode": "standard"},
        max_pool_connections=max(connections, LISTING_REQUESTS),
    )
    return given.merge(ours)
