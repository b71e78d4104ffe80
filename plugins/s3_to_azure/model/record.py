"""The record of a copy in a blob's metadata: which version of which object it holds, and how that was verified.

Whoever may write a blob may change its metadata. Therefore a value counts only if a copy could have written it, and the
object's own metadata of these names gets others in Azure (``metadata.metadata_to_azure``).
"""

import hashlib
import re
from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from json.encoder import encode_basestring_ascii
from typing import Final

from s3_to_azure.model.options import BY_REPORT, REREAD, TRANSPORT, VERIFICATION_LEVELS

ETAG: Final = "s3_etag"
LAST_MODIFIED: Final = "s3_last_modified"
CHECKSUM: Final = "s3_checksum"
VERIFIED_BY: Final = "s3_verified_by"
SOURCE: Final = "s3_source"
RUN: Final = "s3_run"
"""Which run wrote the blob, if the user asked that every blob be written again (``overwrite=always``)."""

DIRECTORY_MARK: Final = "hdi_isfolder"
"""Azure marks directories with this metadata."""

RESERVED_NAMES: Final = frozenset((ETAG, LAST_MODIFIED, CHECKSUM, VERIFIED_BY, SOURCE, RUN, DIRECTORY_MARK))
"""Metadata names, in lower case, that only a copy or Azure itself may give a meaning."""

READBACK_PENDING: Final = "readback_pending"
"""The verification level of a blob that is to be read back, until its bytes were compared."""

DAMAGED: Final = "damaged"
"""The verification level of a blob that a read-back found damaged."""

UNPROVEN: Final = (READBACK_PENDING, DAMAGED)
"""The verification levels of blobs that are no finished copies, whatever else their record says."""

_CHECKSUM: Final = re.compile(
    r"(crc64nvme|crc32c|crc32|md5):[A-Za-z0-9+/=]{1,64}(-[0-9]{1,5})?"
    r"|(sha512):[A-Za-z0-9+/]{86}==|(sha256):[A-Za-z0-9+/]{43}=|(sha1):[A-Za-z0-9+/]{27}="
    r"|(xxhash128):[A-Za-z0-9+/]{22}==|(xxhash3|xxhash64):[A-Za-z0-9+/]{11}="
)
_SOURCE: Final = re.compile(r"[0-9a-f]{32}")


# A decision asks for the same object's several times.
@lru_cache(maxsize=16)
def source_id(bucket: str, key: str) -> str:
    """Return the text that identifies an object in its copy's record; ``bucket`` and ``key`` cannot be read from it.

    It is empty for an object whose bucket is not known, but only the host of its URL: the record leaves it out then.
    """
    if "://" in bucket:
        return ""
    # As json.dumps writes a list, at a quarter of the CPU.
    identity = f"[{encode_basestring_ascii(bucket)}, {encode_basestring_ascii(key)}]"
    return hashlib.sha256(identity.encode("ascii")).hexdigest()[:32]


def recorded_source(metadata: Mapping[str, str]) -> str | None:
    """Return the ``source_id`` of the object that the blob is a copy of, or None."""
    text = metadata.get(SOURCE, "")
    return text if _SOURCE.fullmatch(text) else None


def recorded_last_modified(metadata: Mapping[str, str]) -> datetime | None:
    """Return the time of the version that the blob is a copy of; None if it is not recorded with its time zone."""
    text = metadata.get(LAST_MODIFIED)
    try:
        recorded = datetime.fromisoformat(text) if text else None
    except ValueError:
        return None
    return recorded if recorded and recorded.tzinfo else None


def recorded_proof(metadata: Mapping[str, str]) -> tuple[str, str]:
    """Return the verification level and the checksum, or empty texts where they are invalid or do not fit together."""
    return _proof(metadata.get(VERIFIED_BY, ""), metadata.get(CHECKSUM, ""))


# A decision asks for the same blob's several times.
@lru_cache(maxsize=16)
def _proof(level: str, checksum: str) -> tuple[str, str]:
    match = _CHECKSUM.fullmatch(checksum)
    if match:
        algorithm = checksum.partition(":")[0]
        fits = level.removesuffix(BY_REPORT) == (f"{algorithm}_composite" if match[2] else algorithm)
    else:
        fits = not checksum and level in (TRANSPORT, REREAD)
    return (level, checksum) if fits and level in VERIFICATION_LEVELS else ("", "")
