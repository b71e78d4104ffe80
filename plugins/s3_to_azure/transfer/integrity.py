"""How a copy is verified: the level that S3's checksums allow, and the comparison.

An object reaches a *verification level* by the strongest checksum that S3 offers for it. The level decides where the
object may be cut into blocks, so that the digests of its blocks combine into that checksum.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from typing import Final

from s3_to_azure.model import checksums
from s3_to_azure.model.checksums import ALGORITHMS, CRC64NVME, MD5, SERIAL, Algorithm
from s3_to_azure.model.errors import IntegrityError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import ListedObject, ObjectVersion, PartSizes, SourceChecksum
from s3_to_azure.model.options import NO, READBACK, REREAD
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer.blocks import Layout, StagedBlock, fold, fold_parts, in_order, layout_for
from s3_to_azure.transfer.context import TransferContext

# A serial hash of an object, or of a part, needs all its bytes in memory at once.
MAX_SERIAL_BLOCK_BYTES: Final = 64 * MIB
# An object without a checksum is read until two readings are equal, at most this often.
MAX_READINGS: Final = 3


# -- the level -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class VerificationLevel:
    """The checksum that a copy is compared with, and where its parts begin and end.

    The level's name in receipts, such as ``crc32c_composite``, follows from it (``checksums.proven_by``).

    Attributes:
        checksum: The checksum that S3 stores. None: only the transport to Azure is verified, unless the object is read
            a second time.
        edges: Offsets at which one part ends and the next begins, for a checksum over parts.
        guessed: The edges follow from the sizes of the first and the last part, so a mismatch may mean that they are
            wrong.
    """

    checksum: SourceChecksum | None
    edges: tuple[int, ...] = ()
    guessed: bool = False

    @property
    def one_block_per_part(self) -> bool:
        """Whether each part, or the whole object where it has none, must be one block."""
        return self.checksum is not None and ALGORITHMS[self.checksum.algorithm].combine is None

    @property
    def is_beyond_block_ids(self) -> bool:
        """Whether no block id has room for the digest that the verification needs."""
        return self.checksum is not None and ALGORITHMS[self.checksum.algorithm] in SERIAL

    def layout(self, size_bytes: int, *, budget_bytes: int, block_bytes: int | None) -> Layout:
        """Return the layout of an object of which nothing is staged yet; ``blocks.layout_for`` has the arguments."""
        if self.one_block_per_part:
            return Layout(size_bytes, max(_part_sizes(size_bytes, self.edges), default=0) or MIB, self.edges)
        return layout_for(size_bytes, budget_bytes=budget_bytes, block_bytes=block_bytes, edges=self.edges)

    def digest(self, view: memoryview) -> int:
        """Return the checksum of a whole object in memory; 0 where there is none to compare with."""
        if self.checksum is None:
            return 0
        return digest_stream(self, iter((view,)))


def choose_level(
    version: ObjectVersion,
    look_up_part_sizes: Callable[[], PartSizes | None],
    *,
    largest_block_bytes: int = MAX_SERIAL_BLOCK_BYTES,
    etag_is_md5: bool = True,
    in_order: bool = False,
) -> VerificationLevel:
    """Return the strongest level that S3's answer allows.

    Args:
        version: As the store read it, with every checksum that S3 offers.
        look_up_part_sizes: Looks up the sizes of the object's parts, None where S3 does not report them. Called only
            where a checksum over parts needs them.
        largest_block_bytes: The largest block that the serial hash of an object or a part may need.
        etag_is_md5: Whether an ETag that looks like an MD5 counts.
        in_order: All bytes come in order, so that a serial hash of any size can be computed.
    """
    offered = (*((version.checksum,) if version.checksum else ()), *version.weaker)
    for checksum in offered:
        algorithm = ALGORITHMS[checksum.algorithm]
        if algorithm is MD5 and not etag_is_md5 and not checksum.reported:
            continue
        if not checksum.parts and algorithm.combine:
            return VerificationLevel(checksum)
        if checksum.parts and algorithm in SERIAL and not in_order:
            # No block id has room for the hash of a part.
            continue
        parts = PartSizes((version.size_bytes,), certain=True) if checksum.parts <= 1 else look_up_part_sizes()
        if parts is None or not _parts_match(parts, checksum, version.size_bytes):
            continue
        if algorithm.combine is None and max(parts.sizes) > largest_block_bytes:
            continue
        return VerificationLevel(checksum, tuple(accumulate(parts.sizes[:-1])), guessed=not parts.certain)
    return VerificationLevel(None)


def digest_stream(level: VerificationLevel, pieces: Iterator[memoryview]) -> int:
    """Return the level's checksum of bytes that come piece by piece; their CRC64 where the level has no checksum."""
    checksum = level.checksum
    algorithm = ALGORITHMS[checksum.algorithm] if checksum else CRC64NVME
    parts = [_RunningDigest(algorithm) for _ in range(len(level.edges) + 1)]
    position = 0
    for piece in pieces:
        for start, end in _cut_at_edges(position, position + len(piece), level.edges):
            with piece[start - position : end - position] as inside:
                parts[bisect_right(level.edges, start)].add(inside)
        position += len(piece)
    values = [part.value() for part in parts]
    return checksums.over_parts(values, algorithm) if checksum and checksum.parts else values[0]


class _RunningDigest:
    """A checksum of bytes that come piece by piece."""

    def __init__(self, algorithm: Algorithm) -> None:
        self._algorithm = algorithm
        self._value = algorithm.digest(memoryview(b""))
        self._hasher = algorithm.hasher() if algorithm.hasher else None

    def add(self, piece: memoryview) -> None:
        if self._hasher is not None:
            self._hasher.update(piece)
        elif self._algorithm.combine is not None:
            self._value = self._algorithm.combine(self._value, self._algorithm.digest(piece), len(piece))

    def value(self) -> int:
        return int.from_bytes(self._hasher.digest(), "big") if self._hasher else self._value


def _parts_match(parts: PartSizes, checksum: SourceChecksum, size_bytes: int) -> bool:
    return sum(parts.sizes) == size_bytes and len(parts.sizes) == max(checksum.parts, 1)


def _part_sizes(size_bytes: int, edges: Iterable[int]) -> Iterator[int]:
    return (end - start for start, end in pairwise((0, *edges, size_bytes)))


def _cut_at_edges(start: int, end: int, edges: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Cut ``[start, end)`` at the edges inside it."""
    inside = edges[bisect_right(edges, start) : bisect_right(edges, end - 1)]
    return pairwise((start, *inside, end))


# -- the comparison ------------------------------------------------------------------------------------------------


def fold_blocks(version: ObjectVersion, layout: Layout, held: dict[int, StagedBlock]) -> int:
    """Return the object's checksum, of the kind that S3 stores, from its blocks' digests; 0 where S3 stores none.

    Args:
        version: The object; its checksum determines the kind.
        layout: How the object is cut; its edges are the edges of the parts.
        held: Every block, by start.
    """
    chain = in_order(layout, held)
    if chain is None:
        raise AssertionError("only a complete chain is combined")
    stored = version.checksum
    if stored is None:
        return 0
    algorithm = ALGORITHMS[stored.algorithm]
    if stored.parts:
        return fold_parts(chain, algorithm, layout.edges, stored.parts)
    return fold(chain, algorithm)


def matches(version: ObjectVersion, actual: int) -> bool:
    """Return whether a checksum of bytes that were read equals the one that S3 stores; True where S3 stores none."""
    return version.checksum is None or version.checksum.value == actual


def require_match(version: ObjectVersion, actual: int) -> None:
    """Refuse bytes whose checksum is not the one that S3 stores.

    Raises:
        IntegrityError: The checksums differ.
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
    """Return the checksum that verifies the copy as receipts and metadata show it: ``crc32c:yZRlqg==``, or empty."""
    stored = version.checksum
    return f"{stored.algorithm}:{checksums.to_s3(stored)}" if stored else ""


def content_md5(version: ObjectVersion) -> bytes | None:
    """Return the MD5 of the object's bytes where it verifies the copy; elsewhere None, since it was not computed."""
    stored = version.checksum
    if stored is None or stored.algorithm != MD5.name or stored.parts:
        return None
    return stored.value.to_bytes(MD5.width_bytes, "big")


# -- one attempt's check -------------------------------------------------------------------------------------------


class IntegrityCheck:
    """What one attempt knows about the verification of its object: the level, the parts, the read-back.

    Args:
        context: Stores, settings, buffers.
        retrier: The attempt's own, which counts retries.
        listed: The object as it was listed, with the checksum that a report has of it.
    """

    def __init__(self, context: TransferContext, retrier: Retrier, listed: ListedObject | None = None) -> None:
        self._context = context
        self._listed = listed
        self._retrier = retrier
        # The ETag whose parts were looked up, and their sizes.
        self._parts: tuple[str, PartSizes | None] | None = None
        self._was_read_back = False

    def at_its_level(self, version: ObjectVersion) -> tuple[ObjectVersion, VerificationLevel]:
        """Return the version with the checksum that verifies its copy, and the level.

        Raises:
            IntegrityUnavailable: The user requires a stronger checksum.
        """
        settings = self._context.settings
        if self._listed is not None:
            version = self._listed.and_reported(version)
        level = choose_level(
            version,
            lambda: self._part_sizes(version),
            largest_block_bytes=min(MAX_SERIAL_BLOCK_BYTES, settings.memory_budget_bytes),
            etag_is_md5=settings.fidelity.etag_is_md5 != NO,
        )
        checksums.require(settings.integrity, level.checksum, key=version.key)
        return version if level.checksum is version.checksum else replace(version, checksum=level.checksum), level

    def parts_were_guessed_wrong(self, version: ObjectVersion) -> bool:
        """After a mismatch, look up every part unless that was done; return whether the guessed sizes were wrong."""
        if version.checksum is None or version.checksum.parts < 2:  # noqa: PLR2004 - one part is the whole object
            return False
        before = self._part_sizes(version)
        return (
            before is not None
            and not before.certain
            and self._part_sizes(version, each=True) != replace(before, certain=True)
        )

    def _part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        if each or self._parts is None or self._parts[0] != version.etag:
            found = self._retrier.call(
                f"look up the parts of {version.key!r}", lambda: self._context.source.part_sizes(version, each=each)
            )
            self._parts = (version.etag, found)
        return self._parts[1]

    def needs_second_reading(self, version: ObjectVersion) -> bool:
        """Return whether S3 stores no checksum and the user asked for a second reading instead."""
        return version.checksum is None and self._context.settings.integrity == REREAD

    def needs_read_back(self, version: ObjectVersion) -> bool:
        """Return whether the user asked that the blob be read back; an empty one has nothing to read."""
        return self._context.settings.integrity == READBACK and version.size_bytes > 0

    def record_read_back(self) -> None:
        """Note that the blob was read back and holds the right bytes."""
        self._was_read_back = True

    def level_name(self, version: ObjectVersion) -> str:
        """Return the verification level of a copy, as the blob's metadata names it; nothing is committed below it."""
        return REREAD if self.needs_second_reading(version) else checksums.proven_by(version.checksum)

    def verified_by(self, version: ObjectVersion) -> str:
        """Return the receipt's ``verified_by``."""
        has_nothing_to_read = self._context.settings.integrity == READBACK and not version.size_bytes
        return self.level_name(version) + ("+readback" if self._was_read_back or has_nothing_to_read else "")
