"""How one object and its blob stand, by what listings, records and receipts say; no request, and no byte of either."""

import base64
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import timedelta
from hashlib import sha256
from typing import Final, Literal

from s3_to_azure.model import record
from s3_to_azure.model.checksums import MD5, to_s3
from s3_to_azure.model.decide import are_different
from s3_to_azure.model.objects import DIRECTORY, BlobState, ListedObject, SourceChecksum
from s3_to_azure.model.reasons import COPIED, UNCHANGED
from s3_to_azure.runs.proven import is_proof
from s3_to_azure.state.reported import ReportedReceipt
from s3_to_azure.stores.http.headers import http_date

Standing = Literal["equal", "unproven", "missing", "stale", "changed", "left_out", "extra", "missed_by_events"]
EQUAL: Final = "equal"
UNPROVEN: Final = "unproven"
MISSING: Final = "missing"
STALE: Final = "stale"
CHANGED: Final = "changed"
LEFT_OUT: Final = "left_out"
EXTRA: Final = "extra"
MISSED_BY_EVENTS: Final = "missed_by_events"
"""Said of an object besides its standing."""

OF_OBJECTS: Final[tuple[Standing, ...]] = (EQUAL, UNPROVEN, MISSING, STALE, CHANGED, LEFT_OUT)
"""Each listed object has one of these."""

DRIFT: Final[tuple[Standing, ...]] = (MISSING, STALE, CHANGED, EXTRA)
"""These make a comparison fail."""

# Both services refuse requests whose time differs by more from theirs, so the clocks of a copy differ by less.
_MAX_CLOCK_SKEW: Final = timedelta(minutes=15)
_SAMPLE_BITS: Final = 64


@dataclass(frozen=True, slots=True)
class Difference:
    """How one object, or one blob without an object, stands.

    Attributes:
        key: The object's key; empty for a blob without an object.
        etag: The object's ETag; for a blob without an object the recorded one.
        size_bytes: The object's size; the blob's if there is no object.
        verified_by: The recorded verification level.
    """

    status: Standing
    key: str
    blob: str
    size_bytes: int
    etag: str = ""
    verified_by: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """Which objects are read back.

    Attributes:
        share: Share of the objects, from 0 to 1.
        seed: The same seed takes the same keys.
    """

    share: float = 0.0
    seed: int = 0

    def takes(self, key: str) -> bool:
        """Return whether the key is one of the sample."""
        if not self.share:
            return False
        digest = sha256(f"{self.seed} {key}".encode(errors="surrogatepass")).digest()[: _SAMPLE_BITS // 8]
        return int.from_bytes(digest) < int(self.share * (1 << _SAMPLE_BITS))


def standing(listed: ListedObject, blob: BlobState | None, receipt: ReportedReceipt | None = None) -> Difference:
    """Return how an object and its blob stand, by what both listings and the receipt say.

    Args:
        listed: The object.
        blob: The blob of its name; None if there is none.
        receipt: The object's receipt of an earlier run.
    """
    is_settled = receipt is not None and receipt.status in (COPIED, UNCHANGED) and receipt.etag == listed.etag
    name = blob.name if blob else ""
    level = blob.verified_by if blob else ""

    def found(status: Standing, reason: str = "") -> Difference:
        return Difference(status, listed.key, name, listed.size_bytes, listed.etag, level, reason)

    if blob is None:
        return found(MISSING, "it was deleted after its receipt" if is_settled else "there is no such blob")
    if blob.blob_type == DIRECTORY:
        return found(MISSING, "a directory has its name")
    if blob.is_of_another(listed):
        return found(CHANGED, "the blob is recorded to be a copy of another object")
    if blob.source_etag is None:
        if is_settled:
            return found(CHANGED, "the record of its copy is gone: another program has written the blob")
        if blob.size_bytes != listed.size_bytes:
            return found(CHANGED, f"no record of a copy, and the blob has {blob.size_bytes:,} bytes")
        return found(UNPROVEN, "no record of a copy")
    if blob.source_etag != listed.etag:
        return found(STALE, f"the blob is recorded to be a copy of the version with ETag {blob.source_etag}")
    if blob.size_bytes != listed.size_bytes:
        return found(CHANGED, f"the blob has {blob.size_bytes:,} bytes")
    changed = _changed_record(blob, receipt if is_settled else None) or _other_checksum(listed.reported, blob)
    if changed is not None:
        return found(CHANGED, changed)
    copied = blob.source_last_modified
    if copied is not None and are_different(listed.last_modified, copied):
        return found(STALE, "S3 received the same bytes again later, perhaps with other metadata")
    if blob.is_unproven:
        return found(UNPROVEN, f"its read-back is {blob.metadata[record.VERIFIED_BY]}")
    if not is_proof(level):
        return found(UNPROVEN, "S3 stored no checksum when it was copied" if level else "no level is recorded")
    return found(EQUAL)


def by_stored_checksums(found: Difference, blob: BlobState, stored: Iterable[SourceChecksum]) -> Difference:
    """Return how a blob without a record stands, by the MD5s that both services store of the bytes.

    Args:
        found: How it stands without them.
        blob: The blob; its Content-MD5 is compared.
        stored: The object's checksums.
    """
    for checksum in stored:
        if checksum.algorithm == MD5.name and not checksum.parts:
            if _hex(blob.content_md5) == to_s3(checksum):
                return replace(found, status=EQUAL, reason="")
            return replace(found, status=CHANGED, reason="its Content-MD5 is not the MD5 that S3 has of the object")
    return found


def _hex(content_md5: str) -> str:
    """Return a Content-MD5 as records have an MD5; empty if it is none."""
    try:
        return base64.b64decode(content_md5, validate=True).hex()
    except ValueError:
        return ""


def _other_checksum(reported: SourceChecksum | None, blob: BlobState) -> str | None:
    """Return what shows that the blob was not copied from the bytes that S3 holds; None if nothing does."""
    algorithm, _, value = blob.checksum.partition(":")
    if reported is None or reported.algorithm != algorithm or "-" in value or to_s3(reported) == value:
        return None
    return f"its recorded checksum is {blob.checksum}, and the report has {to_s3(reported)} of the object"


def _changed_record(blob: BlobState, receipt: ReportedReceipt | None) -> str | None:
    """Return what shows that the blob was changed since its copy; None if nothing does."""
    algorithm, _, value = blob.checksum.partition(":")
    if blob.content_md5 and algorithm == MD5.name and "-" not in value and _hex(blob.content_md5) != value:
        return "its Content-MD5 is not that of the copied bytes"
    if receipt is None:
        return None
    if receipt.checksum != blob.checksum:
        return f"its recorded checksum is {blob.checksum or 'gone'}, and its receipt has {receipt.checksum or 'none'}"
    times, written = receipt.times(), http_date(blob.written_at)
    if times is None or written is None:
        return None
    ended = times[1]
    if written - ended > _MAX_CLOCK_SKEW:
        return f"it was written at {written.isoformat()}, after its receipt of {ended.isoformat(timespec='seconds')}"
    return None
