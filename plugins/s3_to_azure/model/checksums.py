"""Checksums of blocks, and how they combine into the checksum of the whole object.

Azure's block CRC64 and S3's CRC64NVME are the same function; only the byte order of their base64 differs.

S3 stores a checksum over the object's bytes, or a *composite* one over the joined checksums of its parts. The
checksums of a part's blocks combine into the part's checksum if no block crosses the edge of a part. A *serial* hash,
such as MD5 or SHA-256, cannot be combined: it needs its bytes in order, so in one block for the object or for the part.
"""

import base64
import hashlib
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from awscrt import checksums as crt

from s3_to_azure.model.errors import IntegrityUnavailable
from s3_to_azure.model.limits import KIB, MAX_PARTS
from s3_to_azure.model.objects import SourceChecksum
from s3_to_azure.model.options import AUTO, BY_REPORT, READBACK, REREAD, TRANSPORT, VERIFICATION_LEVELS


class Hasher(Protocol):
    """A serial hash of bytes that come piece by piece."""

    def update(self, data: memoryview, /) -> object:
        """Add bytes."""
        ...

    def digest(self) -> bytes:
        """Return the hash of the bytes so far."""
        ...


@dataclass(frozen=True, slots=True)
class Algorithm:
    """A checksum of bytes.

    Attributes:
        digest: Computes the value of bytes.
        combine: Computes the value of two neighbouring ranges from the value of the first, the value of the second
            and the length of the second in bytes; None: the algorithm is serial.
        width_bytes: Length of the value.
        hasher: Begins a hash of bytes that come piece by piece; None: the values of the pieces are combined.
    """

    name: str
    digest: Callable[[memoryview], int]
    combine: Callable[[int, int, int], int] | None
    width_bytes: int
    hasher: Callable[[], Hasher] | None = None


CRC64NVME: Final = Algorithm("crc64nvme", crt.crc64nvme, crt.combine_crc64nvme, 8)
CRC32C: Final = Algorithm("crc32c", crt.crc32c, crt.combine_crc32c, 4)
CRC32: Final = Algorithm("crc32", crt.crc32, crt.combine_crc32, 4)


def _serial(name: str, width_bytes: int, hasher: Callable[[], Hasher]) -> Algorithm:
    def digest(data: memoryview) -> int:
        hashed = hasher()
        hashed.update(data)
        return int.from_bytes(hashed.digest(), "big")

    return Algorithm(name, digest, None, width_bytes, hasher)


_XXHASH_PIECE_BYTES: Final = 64 * KIB


class _XxHash:
    """One of awscrt's XXHash functions, which take ``bytes`` only: copies of short pieces, to need no more memory."""

    def __init__(self, begin: Callable[[], crt.XXHash]) -> None:
        self._hash = begin()

    def update(self, data: memoryview, /) -> None:
        for start in range(0, len(data), _XXHASH_PIECE_BYTES):
            with data[start : start + _XXHASH_PIECE_BYTES] as piece:
                self._hash.update(bytes(piece))

    def digest(self) -> bytes:
        return bytes(self._hash.finalize())


def _hashlib(name: str) -> Callable[[], Hasher]:
    return partial(hashlib.new, name, usedforsecurity=False)


MD5: Final = _serial("md5", 16, _hashlib("md5"))

SERIAL: Final[tuple[Algorithm, ...]] = (
    _serial("sha512", 64, _hashlib("sha512")),
    _serial("sha256", 32, _hashlib("sha256")),
    _serial("sha1", 20, _hashlib("sha1")),
    _serial("xxhash128", 16, partial(_XxHash, crt.XXHash.new_xxhash3_128)),
    _serial("xxhash3", 8, partial(_XxHash, crt.XXHash.new_xxhash3_64)),
    _serial("xxhash64", 8, partial(_XxHash, crt.XXHash.new_xxhash64)),
)
"""Serial hashes besides MD5 that S3 stores, strongest first. No block id has room for them."""
FOLDABLE: Final[tuple[Algorithm, ...]] = (CRC64NVME, CRC32C, CRC32)
"""Algorithms that combine, and that S3 stores over an object's bytes, strongest first."""
PARTWISE: Final[tuple[Algorithm, ...]] = (CRC32C, CRC32)
"""Algorithms that combine, and that S3 stores as composite checksums (there is no composite CRC64NVME)."""
_FOLDED: Final = frozenset(algorithm.name for algorithm in FOLDABLE)
ALGORITHMS: Final = {algorithm.name: algorithm for algorithm in (*FOLDABLE, MD5, *SERIAL)}
_ETAG_MD5: Final = re.compile(r"([0-9a-f]{32})(?:-([1-9][0-9]{0,4}))?")


def second_of(checksum: SourceChecksum | None) -> Algorithm | None:
    """Return the algorithm that each block needs besides the CRC64 to verify this checksum, or None."""
    if checksum is None or checksum.algorithm == CRC64NVME.name:
        return None
    return ALGORITHMS[checksum.algorithm]


def over_parts(values: Iterable[int], algorithm: Algorithm) -> int:
    """Return the composite checksum of parts with these checksums."""
    joined = b"".join(value.to_bytes(algorithm.width_bytes, "big") for value in values)
    return algorithm.digest(memoryview(joined))


def proven_by(checksum: SourceChecksum | None) -> str:
    """Return the verification level that a comparison with this checksum reaches."""
    if checksum is None:
        return TRANSPORT
    level = f"{checksum.algorithm}_composite" if checksum.parts else checksum.algorithm
    return level + BY_REPORT if checksum.reported else level


def require(minimum: str, checksum: SourceChecksum | None, *, key: str) -> None:
    """Check that the object can reach the verification level that the user requires.

    Args:
        minimum: One of ``options.INTEGRITY``. Every object can reach ``reread`` and ``readback``.
        checksum: The checksum that the copy is compared with.
        key: The object's key, for the error.

    Raises:
        IntegrityUnavailable: S3 stores only a weaker checksum.
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
    """Read a full-object checksum as S3 writes it; None if the text is a composite one or has another length."""
    try:
        value = base64.b64decode(text, validate=True)
    except ValueError:  # binascii.Error, or a character beyond ASCII
        return None
    if len(value) != ALGORITHMS[algorithm].width_bytes:
        return None
    return SourceChecksum(algorithm, int.from_bytes(value, "big"))


def strongest(offered: dict[str, str]) -> SourceChecksum | None:
    """Return the strongest full-object checksum of S3's answer, or None.

    Args:
        offered: Values as S3 writes them, by the algorithm's name in lower case.
    """
    for algorithm in FOLDABLE:
        found = from_s3(algorithm.name, offered[algorithm.name]) if algorithm.name in offered else None
        if found:
            return found
    return None


def serial(offered: dict[str, str]) -> tuple[SourceChecksum, ...]:
    """Return the serial hashes of S3's answer: those over the object's bytes, then those over parts.

    Args:
        offered: Values as S3 writes them, by the algorithm's name in lower case.
    """
    # This runs for every object, and most have a CRC alone.
    if offered.keys() <= _FOLDED:
        return ()
    algorithms = [each for each in (*SERIAL, MD5) if each.name in offered]
    whole = (from_s3(each.name, offered[each.name]) for each in algorithms)
    return (*filter(None, whole), *partwise(offered, algorithms))


def partwise(offered: dict[str, str], algorithms: Iterable[Algorithm] = PARTWISE) -> tuple[SourceChecksum, ...]:
    """Return the composite checksums of S3's answer, strongest first.

    Args:
        offered: Values as S3 writes them, ``<base64>-<parts>``, by the algorithm's name in lower case.
        algorithms: Those to look for.
    """
    found: list[SourceChecksum] = []
    for algorithm in algorithms:
        if algorithm.name not in offered:
            continue
        text, dash, count = offered[algorithm.name].rpartition("-")
        whole = from_s3(algorithm.name, text) if dash and _is_count(count) else None
        if whole:
            found.append(SourceChecksum(algorithm.name, whole.value, parts=int(count)))
    return tuple(found)


def etag_md5(etag: str) -> SourceChecksum | None:
    """Read an ETag in the form of an MD5, or of an MD5 over the MD5s of parts; None if it has another form.

    The ETag alone does not prove that it is an MD5: it is not if a KMS key or a customer's key encrypts the object.
    """
    match = _ETAG_MD5.fullmatch(etag)
    parts = int(match[2] or 0) if match else 0
    if not match or parts > MAX_PARTS:
        return None
    return SourceChecksum(MD5.name, int(match[1], 16), parts=parts)


def _is_count(text: str) -> bool:
    return text.isascii() and text.isdigit() and 1 <= int(text[:6]) <= MAX_PARTS and len(text) <= len(str(MAX_PARTS))
