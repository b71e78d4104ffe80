"""What an object's copy is proven by, the comparison with S3's checksum, and the blob read back."""

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Final

from s3_to_azure.model import checksums
from s3_to_azure.model.checksums import ALGORITHMS, CRC64NVME, MD5, Algorithm
from s3_to_azure.model.errors import IntegrityError, ReadbackDiffers
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import ObjectVersion, PartSizes, SourceChecksum
from s3_to_azure.model.options import READBACK, REREAD
from s3_to_azure.model.ports import BlobDestination
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer import blocks as cutting
from s3_to_azure.transfer.blocks import Layout, StagedBlock, fold, fold_parts, layout_for
from s3_to_azure.transfer.buffers import BufferPool
from s3_to_azure.transfer.context import TransferContext

# An MD5 needs the whole object, or the whole part, in memory at once.
MAX_MD5_BLOCK_BYTES: Final = 64 * MIB


@dataclass(frozen=True, slots=True)
class VerificationLevel:
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
) -> VerificationLevel:
    """Return the strongest rung that S3's answer allows.

    Args:
        version: As the store read it: with every checksum that S3 offers.
        part_sizes: Looks the sizes of its parts up; None where S3 does not tell them. Asked only if they are needed.
        largest_block_bytes: What may be one block for the sake of an MD5.
    """
    offered = (*((version.checksum,) if version.checksum else ()), *version.weaker)
    for checksum in offered:
        if not checksum.parts and checksum.algorithm != MD5.name:
            return VerificationLevel(checksum)
        parts = PartSizes((version.size_bytes,), certain=True) if checksum.parts <= 1 else part_sizes()
        if parts is None or not _fit(parts, checksum, version.size_bytes):
            continue
        if checksum.algorithm == MD5.name and max(parts.sizes) > largest_block_bytes:
            continue
        return VerificationLevel(checksum, tuple(accumulate(parts.sizes[:-1])), guessed=not parts.certain)
    return VerificationLevel(None)


def digest_stream(level: VerificationLevel, pieces: Iterator[memoryview]) -> int:
    """Return the rung's checksum of bytes that come piece by piece; without one, their CRC64."""
    checksum = level.checksum
    algorithm = ALGORITHMS[checksum.algorithm] if checksum else CRC64NVME
    parts = [_Running(algorithm) for _ in range(len(level.edges) + 1)]
    position = 0
    for piece in pieces:
        for start, end in _cut(position, position + len(piece), level.edges):
            with piece[start - position : end - position] as inside:
                parts[bisect_right(level.edges, start)].add(inside)
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


def folded(version: ObjectVersion, layout: Layout, held: dict[int, StagedBlock]) -> int:
    """Return the object's checksum, of the kind that S3 stores, from its blocks' digests; 0 where S3 stores none.

    Args:
        version: Whose checksum says which kind.
        layout: How the object is cut; its edges are the parts'.
        held: Every block, by start.
    """
    chain = cutting.in_order(layout, held)
    if chain is None:
        raise AssertionError("only a complete chain is folded")
    stored = version.checksum
    if stored is None:
        return 0
    algorithm = checksums.ALGORITHMS[stored.algorithm]
    if stored.parts:
        return fold_parts(chain, algorithm, layout.edges, stored.parts)
    return fold(chain, algorithm)


def fits(version: ObjectVersion, actual: int) -> bool:
    """Say whether the bytes are those that S3 vouches for, as far as it does."""
    return version.checksum is None or version.checksum.value == actual


def compare(version: ObjectVersion, actual: int) -> None:
    """Refuse bytes that are not those that S3 vouches for.

    Raises:
        IntegrityError: They are not.
    """
    stored = version.checksum
    if stored and stored.value != actual:
        raise IntegrityError(
            key=version.key,
            algorithm=checksums.proven_by(stored),
            expected=checksums.to_s3(stored),
            actual=checksums.to_s3(replace(stored, value=actual)),
        )


def checksum_text(version: ObjectVersion) -> str:
    """Return what the copy is proven by, as receipts and metadata show it: ``crc32c:yZRlqg==``; empty for none."""
    stored = version.checksum
    return f"{stored.algorithm}:{checksums.to_s3(stored)}" if stored else ""


def content_md5(version: ObjectVersion) -> bytes | None:
    """Return the MD5 of the object's bytes, where the copy is proven by it; None elsewhere: it was not computed."""
    stored = version.checksum
    if stored is None or stored.algorithm != checksums.MD5.name or stored.parts:
        return None
    return stored.value.to_bytes(checksums.MD5.width_bytes, "big")


_PIECE_BYTES: Final = 4 * MIB


def read_back(
    destination: BlobDestination, blob: str, sent: Iterable[StagedBlock], *, buffers: BufferPool, retrier: Retrier
) -> None:
    """Read a committed blob and compare the CRC64 of each of its blocks with what was sent.

    Args:
        destination: Where it is.
        blob: Its name.
        sent: Its blocks in offset order.
        buffers: The memory budget; a piece counts in it while it is held.
        retrier: Budget of each request.

    Raises:
        ReadbackDiffers: Azure gives other bytes.
    """
    for block in sent:
        crc64 = 0
        for start in range(block.start, block.end, _PIECE_BYTES):
            end = min(start + _PIECE_BYTES, block.end)
            with buffers.lend(end - start):
                piece = _read(destination, blob, start, end, retrier)
                crc64 = _combined(crc64, piece)
        if crc64 != block.crc64:
            raise ReadbackDiffers(blob=blob, container=destination.container, start=block.start, end=block.end)


def _read(destination: BlobDestination, blob: str, start: int, end: int, retrier: Retrier) -> bytes:
    return retrier.call(f"read bytes {start} to {end} of blob {blob!r}", lambda: destination.read(blob, start, end))


def _combined(crc64: int, piece: bytes) -> int:
    assert CRC64NVME.combine is not None
    return CRC64NVME.combine(crc64, CRC64NVME.digest(memoryview(piece)), len(piece))


# How often an object that must be read twice alike is read at most.
MOST_READINGS: Final = 3


class IntegrityCheck:
    """The proof of one object's copy, as it is gathered.

    Args:
        context: Stores, settings, buffers.
        blob: The blob's name.
        retrier: The copy's own, which counts.
    """

    def __init__(self, context: TransferContext, blob: str, retrier: Retrier) -> None:
        """Begin with nothing looked up."""
        self._context = context
        self._blob = blob
        self._retrier = retrier
        self._parts: tuple[str, PartSizes | None] | None = None
        self._was_read_back = False
        self.was_reread = False

    def at_its_level(self, version: ObjectVersion) -> tuple[ObjectVersion, VerificationLevel]:
        """Return the version with the checksum that it will be proven by.

        Raises:
            IntegrityUnavailable: The user requires a stronger one.
        """
        settings = self._context.settings
        level = choose(
            version,
            lambda: self._part_sizes(version),
            largest_block_bytes=min(MAX_MD5_BLOCK_BYTES, settings.memory_budget_bytes),
        )
        checksums.require(settings.integrity, level.checksum, key=version.key)
        return version if level.checksum is version.checksum else replace(version, checksum=level.checksum), level

    def _part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        if each or self._parts is None or self._parts[0] != version.etag:
            found = self._retrier.call(
                f"look up the parts of {version.key!r}", lambda: self._context.source.part_sizes(version, each=each)
            )
            self._parts = (version.etag, found)
        return self._parts[1]

    def guessed_wrong(self, version: ObjectVersion) -> bool:
        """After a mismatch: look at every part, if that was not done, and say whether they are not as was thought."""
        if version.checksum is None or version.checksum.parts < 2:  # noqa: PLR2004 - one part is the whole
            return False
        before = self._part_sizes(version)
        return (
            before is not None
            and not before.certain
            and self._part_sizes(version, each=True) != replace(before, certain=True)
        )

    def must_reread(self, version: ObjectVersion) -> bool:
        """Say whether S3 stores no checksum and the user asked for a second reading instead."""
        return version.checksum is None and self._context.settings.integrity == REREAD

    def level_name(self, version: ObjectVersion) -> str:
        """Return the rung as the blob's metadata names it."""
        return REREAD if self.was_reread else checksums.proven_by(version.checksum)

    def verified_by(self, version: ObjectVersion) -> str:
        """Return what the receipt says of the proof."""
        return self.level_name(version) + ("+readback" if self._was_read_back else "")

    def read_back(self, sent: Iterable[StagedBlock]) -> None:
        """Read the committed blob back from Azure, where the user asked for that."""
        context = self._context
        if context.settings.integrity == READBACK:
            read_back(context.destination, self._blob, sent, buffers=context.buffers, retrier=self._retrier)
            self._was_read_back = True
