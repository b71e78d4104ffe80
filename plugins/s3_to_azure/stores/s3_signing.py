"""AWS Signature Version 4 in a request's headers, with the credentials of the moment."""

from collections.abc import Mapping
from typing import Any

from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest


class SigV4:
    """Signs requests for one region.

    Args:
        credentials: botocore's, refreshable ones included.
        region: The bucket's own.
    """

    def __init__(self, credentials: Any, region: str) -> None:
        """Keep what signing needs; nothing is signed yet."""
        self._credentials = credentials
        self._region = region
        self._used_key: str | None = None

    def signed(self, method: str, url: str, headers: Mapping[str, str]) -> Mapping[str, str]:
        """Return the headers with a signature made now.

        Args:
            method: GET.
            url: Encoded already.
            headers: All; only what is S3's business is signed: a proxy may change Connection, Accept, Accept-Encoding.
        """
        frozen = self._credentials.get_frozen_credentials()
        self._used_key = frozen.access_key
        covered = {name: value for name, value in headers.items() if _is_signed(name.lower())}
        request = AWSRequest(method=method, url=url, headers=covered)
        S3SigV4Auth(frozen, "s3", self._region).add_auth(request)
        return {**headers, **dict(request.headers.items())}

    def is_outdated(self) -> bool:
        """Say whether the credentials changed since the last signature."""
        return bool(self._credentials.get_frozen_credentials().access_key != self._used_key)


def _is_signed(name: str) -> bool:
    return name in ("range", "if-match") or name.startswith("x-amz-")
