"""Put Block From URL: the headers that ask Azure to fetch a range, and what its answer means.

https://learn.microsoft.com/rest/api/storageservices/put-block-from-url
"""

import base64
from collections.abc import Mapping
from typing import Final

from s3_to_azure.model.checksums import to_azure
from s3_to_azure.model.errors import AZURE, FetchRefused, Throttled, TransferError
from s3_to_azure.model.objects import Block, FetchUrl
from s3_to_azure.stores.azure.responses import CONTENT_CRC64
from s3_to_azure.stores.http.refusals import Refusal

TIMEOUT_S: Final = 300.0
"""How long Azure may take for one block, of which nothing arrives here before it is staged."""

_CRC64_BYTES: Final = 8
# The status with which the source answered Azure.
_SOURCE_STATUS: Final = "x-ms-copy-source-status-code"
_SOURCE_THROTTLES: Final = ("429", "500", "502", "503", "504")
_MISMATCH: Final = "Crc64Mismatch"
# Refusals of what only a fetch has. CannotVerifyCopySource comes with 403, 500 and others, so its status says nothing.
_OF_FETCHES: Final = {
    "CannotVerifyCopySource": "it could not read the URL",
    "SourceConditionNotMet": "the object has another ETag",
    "UnsupportedHeader": "it does not know a header of the request",
    "InvalidHeaderValue": "it does not accept a header of the request",
    "InvalidSourceRange": "the object has no such range",
    _MISMATCH: "the bytes that it read do not have the checksum that S3 stores",
}


def fetch_headers(url: FetchUrl, block: Block, *, etag: str | None, crc64: int | None) -> dict[str, str]:
    """Return the headers of a Put Block From URL.

    Args:
        url: Where Azure reads.
        block: The range that it reads.
        etag: The ETag that the object must have; None: any.
        crc64: The CRC64 that the bytes must have; None: any.
    """
    headers = {"x-ms-copy-source": url.url, "x-ms-source-range": f"bytes={block.start}-{block.end - 1}"}
    if etag is not None:
        headers["x-ms-source-if-match"] = f'"{etag}"'
    if crc64 is not None:
        headers["x-ms-source-content-crc64"] = to_azure(crc64)
    return headers


def crc64_of(headers: Mapping[str, str]) -> int | None:
    """Return the CRC64 of the bytes that Azure fetched, or None if its answer has none.

    Args:
        headers: The answer's, by lower-case name.
    """
    try:
        value = base64.b64decode(headers.get(CONTENT_CRC64, ""), validate=True)
    except ValueError:  # binascii.Error, or a character beyond ASCII
        return None
    return int.from_bytes(value, "little") if len(value) == _CRC64_BYTES else None


def fetch_error(refusal: Refusal, *, blob: str) -> TransferError | None:
    """Return the error of a refusal that only a fetch can meet; None for what every request to Azure can meet."""
    status = refusal.headers.get(_SOURCE_STATUS, "")
    if status in _SOURCE_THROTTLES:
        code = f"{refusal.code}, S3 answered {status}"
        return Throttled(service=AZURE, code=code, retry_after_s=refusal.retry_after_s)
    detail = _OF_FETCHES.get(refusal.code)
    if detail is None and not status:
        return None
    said = f"S3 answered {status}" if status.isdigit() else detail
    return FetchRefused(blob=blob, code=refusal.code or str(refusal.status), detail=said)


def mismatch(blob: str) -> FetchRefused:
    """Return the error of a success whose CRC64 is not the one that was asked for: Azure did not compare them."""
    return FetchRefused(blob=blob, code="OtherCrc64", detail="it staged bytes of another checksum than it was told")
