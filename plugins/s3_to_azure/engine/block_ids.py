"""The block id: all that a later worker must know of a staged block, in 52 characters.

Format version 1, 39 bytes, as URL-safe base64 (39 is a multiple of 3: no padding)::

    version(1) fingerprint(8) start(6) crc64(8) second(16)      integers big-endian

The block's length is not in it: Get Block List tells it. A change of this format orphans every block that is
staged when it is deployed; it needs a new version number.
"""

import base64
import binascii
import hashlib
import json
from dataclasses import dataclass
from typing import Final

from s3_to_azure.engine.model import ListedBlock, ListedObject, ObjectVersion

FORMAT_VERSION: Final = 1
ID_CHARACTERS: Final = 52
_BYTES: Final = 39
NO_SECOND: Final = bytes(16)


@dataclass(frozen=True, slots=True)
class StagedBlock:
    """A block that Azure holds: bytes ``[start, end)`` of the object, with their digests.

    Attributes:
        second: The digest of another algorithm that the proof needs (``checksums.second_digest``), or 16 zeros.
    """

    start: int
    end: int
    crc64: int
    second: bytes
    fingerprint: bytes

    @property
    def size_bytes(self) -> int:
        """Length in bytes."""
        return self.end - self.start

    @property
    def block_id(self) -> str:
        """The id under which Azure holds it: 52 ASCII characters, before the service's own base64."""
        packed = b"".join(
            (
                FORMAT_VERSION.to_bytes(1, "big"),
                self.fingerprint,
                self.start.to_bytes(6, "big"),
                self.crc64.to_bytes(8, "big"),
                self.second,
            )
        )
        return base64.urlsafe_b64encode(packed).decode("ascii")


def fingerprint(version: ObjectVersion | ListedObject) -> bytes:
    """Return the 8 bytes that name one source version.

    Made from bucket, key, ETag and size only: no setting may change it, or staged terabytes would be orphaned.
    """
    identity = json.dumps([version.bucket, version.key, version.etag, version.size_bytes], ensure_ascii=True)
    return hashlib.sha256(identity.encode("ascii")).digest()[:8]


def parse(listed: ListedBlock, of: bytes) -> StagedBlock | None:
    """Read a listed block's id; None where it is not ours or belongs to another source version.

    Args:
        listed: The block as Get Block List shows it.
        of: The fingerprint that it must carry.
    """
    if len(listed.block_id) != ID_CHARACTERS:
        return None
    try:
        packed = base64.b64decode(listed.block_id, altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    if len(packed) != _BYTES or packed[0] != FORMAT_VERSION or packed[1:9] != of or listed.size_bytes <= 0:
        return None
    start = int.from_bytes(packed[9:15], "big")
    block = StagedBlock(
        start=start,
        end=start + listed.size_bytes,
        crc64=int.from_bytes(packed[15:23], "big"),
        second=packed[23:39],
        fingerprint=of,
    )
    # Another spelling of the same bytes (``+`` for ``-``) is another id to Azure: a commit could never name it.
    return block if block.block_id.encode("ascii") == listed.block_id else None
