"""Blocks: their ids, how an object is cut into them, and how their digests combine into the object's checksum.

A block id holds everything that a later worker needs to know of a staged block, in 52 characters. Format version 1,
39 bytes, as URL-safe base64 (39 is a multiple of 3: no padding)::

    version(1) fingerprint(8) start(6) crc64(8) second digest(16)      integers big-endian

The block's length is not part of the id: Get Block List returns it. A change of this format would orphan every block
that is staged when it is deployed, so it needs a new version number.

The CRC64 of a block that Azure fetches by itself may be known only afterwards. Such a block has an id of version 2,
whose CRC64 is zero and whose last 16 bytes are random: no two requests have the same, so a request that is late
replaces no other block. Its CRC64 stands in the id of a note, version 3, a block of one byte with the same random
bytes, which is staged after Azure's answer and never committed.
"""

import base64
import binascii
import hashlib
import json
from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from s3_to_azure.model.checksums import CRC64NVME, FOLDABLE, MD5, Algorithm, over_parts
from s3_to_azure.model.errors import BudgetTooSmall, UsageError
from s3_to_azure.model.limits import MAX_BLOCK_BYTES, MAX_BLOCKS_PER_BLOB, MAX_OBJECT_BYTES, MIB
from s3_to_azure.model.objects import Block, ListedBlock, ListedObject, ObjectVersion

FORMAT_VERSION: Final = 1
FETCHED_VERSION: Final = 2
NOTE_VERSION: Final = 3
NONCE_BYTES: Final = 16
NOTE_BODY: Final = b"\0"
ID_CHARACTERS: Final = 52
_ID_BYTES: Final = 39
_FINGERPRINT: Final = slice(1, 9)
_START: Final = slice(9, 15)
_CRC64: Final = slice(15, 23)
_LAST: Final = slice(23, 39)
NO_SECOND: Final = bytes(16)
_TAG_BYTES: Final = 8
_BASE_BLOCK_BYTES: Final = 8 * MIB


@dataclass(frozen=True, slots=True)
class StagedBlock:
    """A block that Azure holds: bytes ``[start, end)`` of the object, with their digests.

    Attributes:
        second: The digest of another algorithm that the verification needs (``second_digest``), or 16 zeros.
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
        """The id under which Azure holds the block: 52 ASCII characters, before the service's own base64."""
        return _block_id(FORMAT_VERSION, self, self.crc64, self.second)


@dataclass(frozen=True, slots=True)
class FetchedBlock(StagedBlock):
    """A block that Azure fetched by itself, and whose CRC64 was known only afterwards.

    Attributes:
        nonce: 16 random bytes of the one request that staged it.
    """

    nonce: bytes

    @property
    def block_id(self) -> str:
        """The id under which Azure holds the block."""
        return _block_id(FETCHED_VERSION, self, 0, self.nonce)

    @property
    def note_id(self) -> str:
        """The id of the note that holds the block's CRC64."""
        return _block_id(NOTE_VERSION, self, self.crc64, self.nonce)


def _block_id(version: int, block: StagedBlock, crc64: int, last: bytes) -> str:
    start = block.start.to_bytes(6, "big")
    packed = b"".join((version.to_bytes(1, "big"), block.fingerprint, start, crc64.to_bytes(8, "big"), last))
    return base64.urlsafe_b64encode(packed).decode("ascii")


def fingerprint(version: ObjectVersion | ListedObject) -> bytes:
    """Return the 8 bytes that identify one source version.

    They depend on bucket, key, ETag and size only: if a setting changed them, staged terabytes would be orphaned.
    """
    identity = json.dumps([version.bucket, version.key, version.etag, version.size_bytes], ensure_ascii=True)
    return hashlib.sha256(identity.encode("ascii")).digest()[:8]


def parse(listed: ListedBlock, of: bytes) -> StagedBlock | None:
    """Parse an id of version 1; return None for another tool's block and for a block of another source version.

    Args:
        listed: The block as Get Block List shows it.
        of: The fingerprint that the id must hold.
    """
    packed = _unpacked(listed, of)
    if packed is None or packed[0] != FORMAT_VERSION:
        return None
    start = int.from_bytes(packed[_START], "big")
    crc64 = int.from_bytes(packed[_CRC64], "big")
    return StagedBlock(start, start + listed.size_bytes, crc64, packed[_LAST], of)


def staged_blocks(listed: Iterable[ListedBlock], of: bytes) -> list[StagedBlock]:
    """Return the staged blocks of one source version whose CRC64 is known.

    A block that Azure fetched counts only with notes of exactly one CRC64: without one nobody saw it staged, and of two
    CRC64s neither is known to be right.

    Args:
        listed: The blocks as Get Block List shows them.
        of: The fingerprint that the ids must hold.
    """
    found: list[StagedBlock] = []
    fetched: list[tuple[int, bytes]] = []
    noted: dict[tuple[bytes, bytes], set[int]] = defaultdict(set)
    for item in listed:
        if (block := parse(item, of)) is not None:
            found.append(block)
        elif (packed := _unpacked(item, of)) is None:
            continue
        elif packed[0] == FETCHED_VERSION and not any(packed[_CRC64]):
            fetched.append((item.size_bytes, packed))
        elif packed[0] == NOTE_VERSION and item.size_bytes == len(NOTE_BODY):
            noted[packed[_START], packed[_LAST]].add(int.from_bytes(packed[_CRC64], "big"))
    for size_bytes, packed in fetched:
        crc64s = set(noted.get((packed[_START], packed[_LAST]), ()))
        if len(crc64s) == 1:
            start = int.from_bytes(packed[_START], "big")
            found.append(FetchedBlock(start, start + size_bytes, crc64s.pop(), NO_SECOND, of, packed[_LAST]))
    return found


def _unpacked(listed: ListedBlock, of: bytes) -> bytes | None:
    """Return the bytes of an id; None for another tool's block and for a block of another source version."""
    if len(listed.block_id) != ID_CHARACTERS or listed.size_bytes <= 0:
        return None
    try:
        packed = base64.b64decode(listed.block_id, altchars=b"-_", validate=True)
    except binascii.Error:
        return None
    if len(packed) != _ID_BYTES or packed[_FINGERPRINT] != of:
        return None
    # Another spelling of the same bytes (``+`` for ``-``) is a different id to Azure: no commit would name it.
    return packed if base64.urlsafe_b64encode(packed) == listed.block_id else None


def second_digest(algorithm: Algorithm | None, data: memoryview) -> bytes:
    """Return a block's second digest for its id: 16 bytes, zeros where the verification needs only the CRC64.

    A CRC32 or CRC32C is written as its name in 8 bytes and its value in 8, so that neither is read as the other and a
    value of zero is not read as absent. An MD5 fills all 16.
    """
    if algorithm is None:
        return NO_SECOND
    if algorithm is MD5:
        return algorithm.digest(data).to_bytes(MD5.width_bytes, "big")
    return algorithm.name.encode("ascii").ljust(_TAG_BYTES, b"\0") + algorithm.digest(data).to_bytes(8, "big")


def carries(block: StagedBlock, second: Algorithm | None) -> bool:
    """Return whether the block's id holds the second digest that the verification needs."""
    if second is MD5:
        # One MD5 in 2**64 looks like a tagged CRC; such a block is read again.
        return block.second != NO_SECOND and not any(carries(block, other) for other in FOLDABLE)
    return second is None or block.second[:_TAG_BYTES] == second.name.encode("ascii").ljust(_TAG_BYTES, b"\0")


@dataclass(frozen=True, slots=True)
class Layout:
    """An object, or each of its parts, cut into equal blocks of which the last may be shorter.

    Attributes:
        edges: Offsets at which one part ends and the next begins, ascending, inside the object; no block straddles one.
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
        """Return whether the range is exactly one block of this layout."""
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
    """Return the block size for an object: 8 MiB, or the smallest multiple of 1 MiB that needs at most 50,000 blocks.

    Raises:
        UsageError: The object is larger than S3 objects can be.
    """
    if size_bytes > MAX_OBJECT_BYTES:
        raise UsageError(
            detail=f"An object of {size_bytes} bytes is larger than S3 objects can be ({MAX_OBJECT_BYTES} bytes)."
        )
    smallest = -(-size_bytes // MAX_BLOCKS_PER_BLOB)
    return max(_BASE_BLOCK_BYTES, -(-smallest // MIB) * MIB)


def layout_for(
    size_bytes: int, *, budget_bytes: int, block_bytes: int | None = None, edges: tuple[int, ...] = ()
) -> Layout:
    """Return the layout of an object of which nothing is staged yet.

    Args:
        size_bytes: The object's size, 0 to 48.8 TiB.
        budget_bytes: The task's memory budget; it must hold one block.
        block_bytes: The user's block size; it is enlarged where the object would need more than 50,000 blocks.
        edges: Offsets that no block may straddle (``Layout``).

    Raises:
        BudgetTooSmall: The budget does not hold one block.
        UsageError: The object or the block size exceeds the services' limits.
    """
    if block_bytes is not None and not MIB <= block_bytes <= MAX_BLOCK_BYTES:
        raise UsageError(detail=f"block_size={block_bytes} is not between 1 MiB and {MAX_BLOCK_BYTES // MIB} MiB.")
    natural = block_bytes_for(size_bytes)
    chosen = natural if block_bytes is None else block_bytes
    # Each part may end with a block that is not full.
    smallest = -(-size_bytes // (MAX_BLOCKS_PER_BLOB - len(edges)))
    chosen = max(chosen, -(-smallest // MIB) * MIB)
    needs = min(chosen, max(size_bytes, 1))
    if needs > budget_bytes:
        raise BudgetTooSmall(size_bytes=size_bytes, needs=needs, budget=budget_bytes)
    return Layout(size_bytes, chosen, edges)


def adopt(default: Layout, staged: Iterable[StagedBlock], *, budget_bytes: int) -> Layout:
    """Return the layout of which the most bytes are staged already; the default where nothing is staged.

    A block size that the budget does not hold, or that needs more than 50,000 blocks, is not adopted. The default's
    edges are kept.
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


def most_staged_size(default: Layout, staged: Iterable[StagedBlock], *, smallest_bytes: int, budget_bytes: int) -> int:
    """Return the block size of which the most bytes are staged already; the default's where nothing is staged.

    It serves whoever does not know where the object's parts begin: blocks along parts begin anywhere. A size below
    ``smallest_bytes``, beyond the budget, or that needs more than 50,000 blocks is not returned.
    """
    starts_by_size: dict[int, set[int]] = defaultdict(set)
    for block in staged:
        fits = smallest_bytes <= block.size_bytes <= budget_bytes
        if fits and -(-default.size_bytes // block.size_bytes) <= MAX_BLOCKS_PER_BLOB:
            starts_by_size[block.size_bytes].add(block.start)
    sizes = [default.block_bytes, *sorted(starts_by_size)]
    return max(sizes, key=lambda size_bytes: size_bytes * len(starts_by_size.get(size_bytes, ())))


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
    """Return the staged blocks that can be used, by start.

    A block can be used if it belongs to the layout, carries the second digest that the verification needs, and no
    other block at its start has a different CRC64. Of two different CRC64s neither is known to be right, so that range
    is read again.
    """
    staged = list(staged)
    unknown = doubtful(layout, staged)
    return {
        block.start: block
        for block in staged
        if layout.has(block) and block.start not in unknown and carries(block, second)
    }


def doubtful(layout: Layout, staged: Iterable[StagedBlock]) -> set[int]:
    """Return the starts at which blocks of the layout are staged with different CRC64s."""
    first_seen: dict[int, int] = {}
    different: set[int] = set()
    for block in staged:
        if layout.has(block) and first_seen.setdefault(block.start, block.crc64) != block.crc64:
            different.add(block.start)
    return different


def missing(layout: Layout, held: dict[int, StagedBlock], within: Block | None = None) -> list[Block]:
    """Return the layout's blocks that are not held, in offset order; only those inside ``within`` if it is given."""
    return [
        block
        for block in layout
        if block.start not in held and (within is None or within.start <= block.start < within.end)
    ]


def in_order(layout: Layout, held: dict[int, StagedBlock]) -> Sequence[StagedBlock] | None:
    """Return the held blocks as one sequence without gaps over the whole object, or None where a block is missing."""
    chain = [held.get(block.start) for block in layout]
    complete = [block for block in chain if block is not None]
    return complete if len(complete) == len(chain) else None


def fold(blocks: Iterable[StagedBlock], algorithm: Algorithm) -> int:
    """Combine the digests of contiguous blocks, in offset order, into the digest of all their bytes.

    Args:
        blocks: Blocks without gap or overlap, sorted by start; each carries the algorithm's digest. For an algorithm
            that cannot be combined: one block, or none.
        algorithm: Which digest to combine.
    """
    value = algorithm.digest(memoryview(b""))
    for number, block in enumerate(blocks):
        part = _digest_of(block, algorithm)
        if algorithm.combine is not None:
            value = algorithm.combine(value, part, block.size_bytes)
        elif number:
            raise AssertionError(f"{algorithm.name} of several blocks cannot be combined")
        else:
            value = part
    return value


def fold_parts(blocks: Iterable[StagedBlock], algorithm: Algorithm, edges: Sequence[int], parts: int) -> int:
    """Combine the digests of contiguous blocks into a composite checksum, which is made over the parts' checksums.

    Args:
        blocks: As for ``fold``; none straddles an edge.
        algorithm: Of the parts and of the whole.
        edges: Offsets at which one part ends and the next begins.
        parts: The number of parts; an empty part has no block.
    """
    by_part: list[list[StagedBlock]] = [[] for _ in range(parts)]
    for block in blocks:
        by_part[bisect_right(edges, block.start)].append(block)
    return over_parts((fold(part, algorithm) for part in by_part), algorithm)


def _digest_of(block: StagedBlock, algorithm: Algorithm) -> int:
    if algorithm is CRC64NVME:
        return block.crc64
    return int.from_bytes(block.second if algorithm is MD5 else block.second[_TAG_BYTES:], "big")
