"""Checksums of blocks, and their folding into the whole object's.

Azure's block CRC64 and S3's CRC64NVME are the same function; only the byte order of their base64 differs.

A checksum of S3 is over the object's bytes, or *composite*: over the checksums of its parts, put end to end. The
blocks of a part fold into the part's checksum, as long as no block straddles two parts. MD5 cannot be folded: there
the proof needs one block for the object, or one for each part.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from awscrt import checksums as crt

from s3_to_azure.model.errors import IntegrityUnavailable
from s3_to_azure.model.limits import MAX_PARTS
from s3_to_azure.model.objects import SourceChecksum
from s3_to_azure.model.options import AUTO, READBACK, REREAD, TRANSPORT, VERIFICATION_LEVELS


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A checksum of bytes.

    Attributes:
        digest: Bytes to value.
        combine: (value of the first range, value of the second, length of the second in bytes) to value of both; None
            where that cannot be computed.
        width_bytes: Length of the value.
    """

    name: str
    digest: Callable[[memoryview], int]
    combine: Callable[[int, int, int], int] | None
    width_bytes: int


CRC64NVME: Final = Algorithm("crc64nvme", crt.crc64nvme, crt.combine_crc64nvme, 8)
CRC32C: Final = Algorithm("crc32c", crt.crc32c, crt.combine_crc32c, 4)
CRC32: Final = Algorithm("crc32", crt.crc32, crt.combine_crc32, 4)


def _md5(data: memoryview) -> int:
    return int.from_bytes(hashlib.md5(data, usedforsecurity=False).digest(), "big")


MD5: Final = Algorithm("md5", _md5, None, 16)

FOLDABLE: Final[tuple[Algorithm, ...]] = (CRC64NVME, CRC32C, CRC32)
"""Those that S3 stores over an object's bytes and that can be folded, strongest first."""
PARTWISE: Final[tuple[Algorithm, ...]] = (CRC32C, CRC32)
"""Those that S3 stores part-wise and that can be folded (of CRC64NVME S3 keeps no composite one)."""
ALGORITHMS: Final = {algorithm.name: algorithm for algorithm in (*FOLDABLE, MD5)}
_ETAG_MD5: Final = re.compile(r"([0-9a-f]{32})(?:-([1-9][0-9]{0,4}))?")


def second_of(checksum: SourceChecksum | None) -> Algorithm | None:
    """Return the algorithm that blocks must carry beside the CRC64 to prove this checksum, or None."""
    if checksum is None or checksum.algorithm == CRC64NVME.name:
        return None
    return ALGORITHMS[checksum.algorithm]


def over_parts(values: Iterable[int], algorithm: Algorithm) -> int:
    """Return the composite checksum of parts with these checksums."""
    joined = b"".join(value.to_bytes(algorithm.width_bytes, "big") for value in values)
    return algorithm.digest(memoryview(joined))


def proven_by(checksum: SourceChecksum | None) -> str:
    """Return the rung that a comparison with this checksum reaches."""
    if checksum is None:
        return TRANSPORT
    return f"{checksum.algorithm}_composite" if checksum.parts else checksum.algorithm


def require(minimum: str, checksum: SourceChecksum | None, *, key: str) -> None:
    """Check that the object can reach the rung that the user requires.

    Args:
        minimum: One of ``INTEGRITY``. ``reread`` and ``readback`` can be reached by every object.
        checksum: What the object is proven by.
        key: The object's key, for the error.

    Raises:
        IntegrityUnavailable: S3 offers only a weaker one.
    """
    if minimum in (AUTO, REREAD, READBACK):
        return
    offered = proven_by(checksum)
    if VERIFICATION_LEVELS.index(offered) > VERIFICATION_LEVELS.index(minimum):
        raise IntegrityUnavailable(required=minimum, key=key, offered=offered)


def to_azure(crc64: int) -> str:
    """Return the value of ``x-ms-content-crc64``: base64 of the little-endian bytes."""
    return base64.b64encode(crc64.to_bytes(8, "little")).decode("ascii")


def to_s3(checksum: SourceChecksum) -> str:
    """Return the checksum as S3 writes it: base64 of the big-endian bytes; an MD5 in hex, as in the ETag."""
    width = ALGORITHMS[checksum.algorithm].width_bytes
    parts = f"-{checksum.parts}" if checksum.parts else ""
    if checksum.algorithm == MD5.name:
        return f"{checksum.value:032x}{parts}"
    return base64.b64encode(checksum.value.to_bytes(width, "big")).decode("ascii") + parts


def from_s3(algorithm: str, text: str) -> SourceChecksum | None:
    """Read a full-object checksum as S3 writes it; None where it is none (a composite one, an odd length)."""
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or a character beyond ASCII
        return None
    if len(value) != ALGORITHMS[algorithm].width_bytes:
        return None
    return SourceChecksum(algorithm, int.from_bytes(value, "big"))


def strongest(offered: dict[str, str]) -> SourceChecksum | None:
    """Pick the strongest full-object checksum of those that S3's answer holds.

    Args:
        offered: Algorithm name in lower case to the value as S3 writes it.
    """
    for algorithm in FOLDABLE:
        found = from_s3(algorithm.name, offered[algorithm.name]) if algorithm.name in offered else None
        if found:
            return found
    return None


def partwise(offered: dict[str, str]) -> tuple[SourceChecksum, ...]:
    """Return the composite checksums of S3's answer, strongest first.

    Args:
        offered: Algorithm name in lower case to the value as S3 writes it, ``<base64>-<parts>``.
    """
    found: list[SourceChecksum] = []
    for algorithm in PARTWISE:
        if algorithm.name not in offered:
            continue
        text, dash, count = offered[algorithm.name].rpartition("-")
        whole = from_s3(algorithm.name, text) if dash and _is_count(count) else None
        if whole:
            found.append(SourceChecksum(algorithm.name, whole.value, parts=int(count)))
    return tuple(found)


def etag_md5(etag: str) -> SourceChecksum | None:
    """Read an ETag that is an MD5, or one over the MD5s of parts; None where it has another form.

    Whether it is one cannot be seen from the ETag alone: not where a KMS key or a customer's key encrypts the object.
    """
    match = _ETAG_MD5.fullmatch(etag)
    parts = int(match[2] or 0) if match else 0
    if not match or parts > MAX_PARTS:
        return None
    return SourceChecksum(MD5.name, int(match[1], 16), parts=parts)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MAX_PARTS and len(text) <= len(str(MAX_PARTS))
