"""How an object is cut into blocks: a pure function of its size, unless blocks are staged already."""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from s3_to_azure.engine.block_ids import StagedBlock
from s3_to_azure.engine.checksums import Algorithm, carries
from s3_to_azure.engine.errors import BudgetTooSmall, WrongUse
from s3_to_azure.engine.limits import MAX_BLOCK_BYTES, MAX_BLOCKS_PER_BLOB, MAX_OBJECT_BYTES, MIB

_BASE_BLOCK_BYTES: Final = 8 * MIB


@dataclass(frozen=True, slots=True)
class Block:
    """The byte range ``[start, end)`` of an object."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Length in bytes."""
        return self.end - self.start


@dataclass(frozen=True, slots=True)
class Layout:
    """An object cut into equal blocks, the last one shorter; or each of its parts cut so.

    Attributes:
        edges: Where one part ends and the next begins, ascending, inside the object; no block straddles one.
    """

    size_bytes: int
    block_bytes: int
    edges: tuple[int, ...] = ()

    def __len__(self) -> int:
        """Return the number of blocks."""
        return sum(len(range(start, end, self.block_bytes)) for start, end in self._parts())

    def __iter__(self) -> Iterator[Block]:
        """Yield the blocks in offset order."""
        for part_start, part_end in self._parts():
            for start in range(part_start, part_end, self.block_bytes):
                yield Block(start, min(start + self.block_bytes, part_end))

    def has(self, block: Block | StagedBlock) -> bool:
        """Say whether the range is exactly one block of this layout."""
        if not 0 <= block.start < self.size_bytes:
            return False
        part = bisect_right(self.edges, block.start)
        part_start = self.edges[part - 1] if part else 0
        part_end = self.edges[part] if part < len(self.edges) else self.size_bytes
        if (block.start - part_start) % self.block_bytes:
            return False
        return block.end == min(block.start + self.block_bytes, part_end)

    def _parts(self) -> Iterator[tuple[int, int]]:
        return pairwise((0, *self.edges, self.size_bytes))


def block_bytes_for(size_bytes: int) -> int:
    """Return the block size for an object: a base, then the smallest MiB multiple that fits 50,000.

    Raises:
        WrongUse: The object is larger than S3 can hold.
    """
    if size_bytes > MAX_OBJECT_BYTES:
        raise WrongUse(
            what=f"An object of {size_bytes} bytes is larger than S3 objects can be ({MAX_OBJECT_BYTES} bytes)."
        )
    smallest = -(-size_bytes // MAX_BLOCKS_PER_BLOB)
    return max(_BASE_BLOCK_BYTES, -(-smallest // MIB) * MIB)


def layout_for(
    size_bytes: int, *, budget_bytes: int, block_bytes: int | None = None, edges: tuple[int, ...] = ()
) -> Layout:
    """Return the layout of an object of which nothing is staged yet.

    Args:
        size_bytes: The object's size, 0 to 48.8 TiB.
        budget_bytes: The task's memory budget, which must hold one block.
        block_bytes: The user's block size; enlarged where the object would need more than 50,000 blocks.
        edges: Where no block may straddle (``Layout``).

    Raises:
        BudgetTooSmall: The budget does not hold one block.
        WrongUse: The object or the block size is beyond the services' limits.
    """
    if block_bytes is not None and not MIB <= block_bytes <= MAX_BLOCK_BYTES:
        raise WrongUse(what=f"block_size={block_bytes} is not between 1 MiB and {MAX_BLOCK_BYTES // MIB} MiB.")
    natural = block_bytes_for(size_bytes)
    chosen = natural if block_bytes is None else block_bytes
    # Each part may end in a block that is not full.
    smallest = -(-size_bytes // (MAX_BLOCKS_PER_BLOB - len(edges)))
    chosen = max(chosen, -(-smallest // MIB) * MIB)
    needs = min(chosen, max(size_bytes, 1))
    if needs > budget_bytes:
        raise BudgetTooSmall(size_bytes=size_bytes, needs=needs, budget=budget_bytes)
    return Layout(size_bytes, chosen, edges)


def adopt(default: Layout, staged: Iterable[StagedBlock], *, budget_bytes: int) -> Layout:
    """Return the layout of which most bytes are staged already, else the default.

    A block size that the budget does not hold, or that needs more than 50,000 blocks, is not adopted. The default's
    edges stay.
    """
    total = default.size_bytes
    starts_by_size: dict[int, set[int]] = defaultdict(set)
    for block in staged:
        starts_by_size[block.size_bytes].add(block.start)
    best, best_bytes = default, _staged_bytes(default, starts_by_size)
    for block_bytes in sorted(starts_by_size):
        if block_bytes > budget_bytes or -(-total // block_bytes) > MAX_BLOCKS_PER_BLOB:
            continue
        candidate = Layout(total, block_bytes, default.edges)
        if len(candidate) > MAX_BLOCKS_PER_BLOB:
            continue
        candidate_bytes = _staged_bytes(candidate, starts_by_size)
        if candidate_bytes > best_bytes:
            best, best_bytes = candidate, candidate_bytes
    return best


def _staged_bytes(layout: Layout, starts_by_size: Mapping[int, set[int]]) -> int:
    if not layout.size_bytes:
        return 0
    if layout.edges:
        return sum(
            size_bytes
            for size_bytes, starts in starts_by_size.items()
            for start in starts
            if layout.has(Block(start, start + size_bytes))
        )
    whole = sum(
        layout.block_bytes
        for start in starts_by_size.get(layout.block_bytes, ())
        if start % layout.block_bytes == 0 and start + layout.block_bytes <= layout.size_bytes
    )
    last_start = (len(layout) - 1) * layout.block_bytes
    tail = layout.size_bytes - last_start
    return whole + (tail if tail != layout.block_bytes and last_start in starts_by_size.get(tail, ()) else 0)


def usable(layout: Layout, staged: Iterable[StagedBlock], second: Algorithm | None) -> dict[int, StagedBlock]:
    """Return the staged blocks that count, by start.

    A block counts if it is one of the layout's, carries the second digest that the proof needs, and no other block
    at its start has another CRC64: of two different CRCs nobody can say which is right, so that range is read again.
    """
    found: dict[int, StagedBlock] = {}
    doubtful: set[int] = set()
    for block in staged:
        if not layout.has(block):
            continue
        known = found.get(block.start)
        if known is not None and known.crc64 != block.crc64:
            doubtful.add(block.start)
        if known is None or carries(block, second):
            found[block.start] = block
    return {start: block for start, block in found.items() if start not in doubtful and carries(block, second)}


def missing(layout: Layout, held: dict[int, StagedBlock], within: Block | None = None) -> list[Block]:
    """Return the layout's blocks that are not held, in offset order; only those inside ``within`` if it is given."""
    return [
        block
        for block in layout
        if block.start not in held and (within is None or within.start <= block.start < within.end)
    ]


def in_order(layout: Layout, held: dict[int, StagedBlock]) -> Sequence[StagedBlock] | None:
    """Return the held blocks as one gapless sequence over the whole object, or None where a block is missing."""
    chain = [held.get(block.start) for block in layout]
    complete = [block for block in chain if block is not None]
    return complete if len(complete) == len(chain) else None
