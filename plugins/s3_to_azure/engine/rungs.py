"""Which rung of the verification ladder an object reaches, and how it must be cut for that; no I/O."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Final

from s3_to_azure.model import checksums
from s3_to_azure.model.checksums import ALGORITHMS, CRC64NVME, MD5, Algorithm
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import ObjectVersion, PartSizes, SourceChecksum
from s3_to_azure.transfer.blocks import Layout, layout_for

# An MD5 needs the whole object, or the whole part, in memory at once.
MAX_MD5_BLOCK_BYTES: Final = 64 * MIB


@dataclass(frozen=True, slots=True)
class Rung:
    """What an object is proven by.

    Attributes:
        checksum: What S3 stores; None where the proof is of the transport alone.
        edges: Where one part ends and the next begins, if the checksum is over parts.
        guessed: The edges follow from the first and the last part's size; a mismatch may mean that they are wrong.
    """

    checksum: SourceChecksum | None
    edges: tuple[int, ...] = ()
    guessed: bool = False

    @property
    def one_block_each(self) -> bool:
        """Whether each part, or the object where it has none, must be one block."""
        return self.checksum is not None and self.checksum.algorithm == MD5.name

    def layout(self, size_bytes: int, *, budget_bytes: int, block_bytes: int | None) -> Layout:
        """Return how an object of this size is cut, of which nothing is staged yet; see ``blocks.layout_for``."""
        if self.one_block_each:
            return Layout(size_bytes, max(_sizes(size_bytes, self.edges), default=0) or MIB, self.edges)
        return layout_for(size_bytes, budget_bytes=budget_bytes, block_bytes=block_bytes, edges=self.edges)

    def value_of(self, view: memoryview) -> int:
        """Return the checksum of the object whose bytes these are; 0 where there is none to compare."""
        if self.checksum is None:
            return 0
        return digest_stream(self, iter((view,)))


def choose(
    version: ObjectVersion,
    part_sizes: Callable[[], PartSizes | None],
    *,
    largest_block_bytes: int = MAX_MD5_BLOCK_BYTES,
) -> Rung:
    """Return the strongest rung that S3's answer allows.

    Args:
        version: As the store read it: with every checksum that S3 offers.
        part_sizes: Looks the sizes of its parts up; None where S3 does not tell them. Asked only if they are needed.
        largest_block_bytes: What may be one block for the sake of an MD5.
    """
    offered = (*((version.checksum,) if version.checksum else ()), *version.weaker)
    for checksum in offered:
        if not checksum.parts and checksum.algorithm != MD5.name:
            return Rung(checksum)
        parts = PartSizes((version.size_bytes,), certain=True) if checksum.parts <= 1 else part_sizes()
        if parts is None or not _fit(parts, checksum, version.size_bytes):
            continue
        if checksum.algorithm == MD5.name and max(parts.sizes) > largest_block_bytes:
            continue
        return Rung(checksum, tuple(accumulate(parts.sizes[:-1])), guessed=not parts.certain)
    return Rung(None)


def digest_stream(rung: Rung, pieces: Iterator[memoryview]) -> int:
    """Return the rung's checksum of bytes that come piece by piece; without one, their CRC64."""
    checksum = rung.checksum
    algorithm = ALGORITHMS[checksum.algorithm] if checksum else CRC64NVME
    parts = [_Running(algorithm) for _ in range(len(rung.edges) + 1)]
    position = 0
    for piece in pieces:
        for start, end in _cut(position, position + len(piece), rung.edges):
            with piece[start - position : end - position] as inside:
                parts[bisect_right(rung.edges, start)].add(inside)
        position += len(piece)
    values = [part.value() for part in parts]
    return checksums.over_parts(values, algorithm) if checksum and checksum.parts else values[0]


class _Running:
    """A checksum over pieces."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm
        self._value = algorithm.digest(memoryview(b""))
        self._md5 = hashlib.md5(usedforsecurity=False)

    def add(self, piece: memoryview) -> None:
        if self._algorithm.combine is None:
            self._md5.update(piece)
        else:
            self._value = self._algorithm.combine(self._value, self._algorithm.digest(piece), len(piece))

    def value(self) -> int:
        return self._value if self._algorithm.combine else int.from_bytes(self._md5.digest(), "big")


def _fit(parts: PartSizes, checksum: SourceChecksum, size_bytes: int) -> bool:
    return sum(parts.sizes) == size_bytes and len(parts.sizes) == max(checksum.parts, 1)


def _sizes(size_bytes: int, edges: Iterable[int]) -> Iterator[int]:
    return (end - start for start, end in pairwise((0, *edges, size_bytes)))


def _cut(start: int, end: int, edges: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Cut ``[start, end)`` at the edges inside it."""
    inside = edges[bisect_right(edges, start) : bisect_right(edges, end - 1)]
    return pairwise((start, *inside, end))
