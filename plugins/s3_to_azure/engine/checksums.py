"""Checksums of blocks, and their folding into the whole object's.

Azure's block CRC64 and S3's CRC64NVME are the same function; only the byte order of their base64 differs.
"""

import base64
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from awscrt import checksums as crt

from s3_to_azure.engine.block_ids import NO_SECOND, StagedBlock
from s3_to_azure.engine.errors import IntegrityUnavailable
from s3_to_azure.engine.model import SourceChecksum

TRANSPORT: Final = "transport"


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A checksum whose value over two neighbouring ranges can be combined.

    Attributes:
        digest: Bytes to value.
        combine: (value of the first range, value of the second, length of the second in bytes) to value of both.
        width_bytes: Length of the value.
    """

    name: str
    digest: Callable[[memoryview], int]
    combine: Callable[[int, int, int], int]
    width_bytes: int


CRC64NVME: Final = Algorithm("crc64nvme", crt.crc64nvme, crt.combine_crc64nvme, 8)
CRC32C: Final = Algorithm("crc32c", crt.crc32c, crt.combine_crc32c, 4)
CRC32: Final = Algorithm("crc32", crt.crc32, crt.combine_crc32, 4)

# The verification ladder, strongest first; ``transport`` is its floor.
LADDER: Final[tuple[Algorithm, ...]] = (CRC64NVME, CRC32C, CRC32)
ALGORITHMS: Final = {algorithm.name: algorithm for algorithm in LADDER}
RUNGS: Final = (*ALGORITHMS, TRANSPORT)

_TAG_BYTES: Final = 8


def second_digest(algorithm: Algorithm | None, data: memoryview) -> bytes:
    """Return the id's second digest of a block: 16 bytes, zeros where the proof needs none beside the CRC64.

    A CRC32 or CRC32C is written as its name in 8 bytes and its value in 8, so that one is never read as the other
    and a value of zero is not read as absent.
    """
    if algorithm is None:
        return NO_SECOND
    return algorithm.name.encode("ascii").ljust(_TAG_BYTES, b"\0") + algorithm.digest(data).to_bytes(8, "big")


def second_of(checksum: SourceChecksum | None) -> Algorithm | None:
    """Return the algorithm that blocks must carry beside the CRC64 to prove this checksum, or None."""
    if checksum is None or checksum.algorithm == CRC64NVME.name:
        return None
    return ALGORITHMS[checksum.algorithm]


def carries(block: StagedBlock, second: Algorithm | None) -> bool:
    """Say whether the block's id holds the second digest that the proof needs."""
    return second is None or block.second[:_TAG_BYTES] == second.name.encode("ascii").ljust(_TAG_BYTES, b"\0")


def fold(blocks: Iterable[StagedBlock], algorithm: Algorithm) -> int:
    """Combine the digests of contiguous blocks, in offset order, into the whole object's.

    Args:
        blocks: Blocks without gap or overlap, sorted by start; each carries the algorithm's digest.
        algorithm: Which digest to combine.
    """
    value = algorithm.digest(memoryview(b""))
    for block in blocks:
        part = block.crc64 if algorithm is CRC64NVME else int.from_bytes(block.second[_TAG_BYTES:], "big")
        value = algorithm.combine(value, part, block.size_bytes)
    return value


def proven_by(checksum: SourceChecksum | None) -> str:
    """Return the rung that a comparison with this checksum reaches."""
    return checksum.algorithm if checksum else TRANSPORT


def require(minimum: str, checksum: SourceChecksum | None, *, key: str) -> None:
    """Check that the object can reach the rung that the user requires.

    Args:
        minimum: ``auto`` (whatever S3 allows) or a rung's name.
        checksum: What S3 stores.
        key: The object's key, for the error.

    Raises:
        IntegrityUnavailable: S3 offers only a weaker one.
    """
    offered = proven_by(checksum)
    if minimum != "auto" and RUNGS.index(offered) > RUNGS.index(minimum):
        raise IntegrityUnavailable(required=minimum, key=key, offered=offered)


def to_azure(crc64: int) -> str:
    """Return the value of ``x-ms-content-crc64``: base64 of the little-endian bytes."""
    return base64.b64encode(crc64.to_bytes(8, "little")).decode("ascii")


def to_s3(checksum: SourceChecksum) -> str:
    """Return the checksum as S3 writes it: base64 of the big-endian bytes."""
    width = ALGORITHMS[checksum.algorithm].width_bytes
    return base64.b64encode(checksum.value.to_bytes(width, "big")).decode("ascii")


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
    for algorithm in LADDER:
        found = from_s3(algorithm.name, offered[algorithm.name]) if algorithm.name in offered else None
        if found:
            return found
    return None
