"""Divide the objects to copy into batches, write them, and describe each; no I/O but the writer's.

The weight of an object is its bytes plus a constant for the requests that even an empty object costs, so batches are
balanced by bytes and by count. ``total`` is the weight of all objects to copy, ``max_tasks`` the maximum number of
batches:

- an object whose weight is at least ``total / max_tasks`` (and at least ``batch_bytes``) gets a batch of its own;
- such an object above ``split_bytes`` is split into several batches, each a range of its blocks;
- all others are cut, in the order of the listing, into batches of nearly equal weight, none of which exceeds its
  share by more than one object.

The number of an object's parts is at most its weight divided by ``total / max_tasks``, rounded down. So the parts of
all objects leave at least one batch for the others, and there are never more than ``max_tasks`` batches.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from s3_to_azure.model import defaults
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import KIB, MAX_OBJECT_BYTES
from s3_to_azure.model.objects import Block
from s3_to_azure.model.settings import check_batching, parse_size
from s3_to_azure.state.entries import ABSENT, EntryLine
from s3_to_azure.state.lines import LinesWriter, Member
from s3_to_azure.state.plan import MAX_MEMBER_BYTES, BatchDescriptor, BatchKind
from s3_to_azure.transfer.blocks import Layout

# The requests for one small object take as long as these bytes of a large one: about 300 objects/s against
# 150 MiB/s in one task (docs/scale.md).
OBJECT_WEIGHT: Final = 512 * KIB
# Starting a mapped task costs seconds, so less work than this is not worth one.
BATCH_BYTES: Final = parse_size(defaults.TASK_SIZE, name="task_size")
SPLIT_BYTES: Final = parse_size(defaults.SPLIT_SIZE, name="split_size")


def weight_of(size_bytes: int) -> int:
    """Return an object's work as the bytes of a large object that take as long."""
    return size_bytes + OBJECT_WEIGHT


@dataclass(frozen=True, slots=True)
class BatchPolicy:
    """Decides from the totals alone which objects get batches of their own, and how many the others share.

    Attributes:
        total_weight: Weight of all objects to copy.
        max_tasks: Maximum number of batches.
        split_bytes: Objects above this size are split, as far as ``max_tasks`` allows.
        batch_bytes: Minimum weight of a batch, as far as there is enough to copy.
    """

    total_weight: int
    max_tasks: int
    split_bytes: int = SPLIT_BYTES
    batch_bytes: int = BATCH_BYTES

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            UsageError: A value is out of its bounds.
        """
        check_batching(max_tasks=self.max_tasks, split_bytes=self.split_bytes, batch_bytes=self.batch_bytes)

    def own_batches(self, size_bytes: int) -> int:
        """Return how many batches an object gets for itself; 0 means that it shares one with others."""
        weight = weight_of(size_bytes)
        shares = weight * self.max_tasks // self.total_weight
        if not shares:
            return 0
        if size_bytes > self.split_bytes:
            return min(-(-size_bytes // self.split_bytes), shares)
        return 1 if weight >= self.batch_bytes else 0

    def shared_batches(self, weight: int, own: int) -> int:
        """Return how many batches the objects without batches of their own share.

        Args:
            weight: Weight of these objects together.
            own: Number of batches that belong to one object alone.
        """
        if not weight:
            return 0
        return max(1, min(-(-weight // self.batch_bytes), self.max_tasks - own))


class EvenCut:
    """Cuts a sequence of objects with a known total weight into contiguous shares of nearly equal weight.

    An object belongs to the share in which its middle lies, so a share is off by at most half an object at each end.

    Args:
        total_weight: Weight of all objects in the sequence.
        shares: Number of shares; a share stays empty where one object outweighs it.
    """

    def __init__(self, total_weight: int, shares: int) -> None:
        self._total = total_weight
        self._shares = shares
        self._before = 0

    def next_share(self, size_bytes: int) -> int:
        """Return the share of the sequence's next object, from 0; it never decreases."""
        weight = weight_of(size_bytes)
        middle = 2 * self._before + weight
        self._before += weight
        return min(middle * self._shares // (2 * self._total), self._shares - 1)


def ranges(layout: Layout, parts: int) -> list[Block]:
    """Cut an object into at most ``parts`` ranges of whole blocks, which differ by at most one block."""
    count = len(layout)
    parts = min(parts, count)
    starts = [count * part // parts * layout.block_bytes for part in range(parts)]
    return [Block(start, end) for start, end in zip(starts, [*starts[1:], layout.size_bytes], strict=True)]


def write_batches(
    token: str,
    writer: LinesWriter,
    entries: Callable[[], Iterable[EntryLine]],
    *,
    policy: BatchPolicy,
    layout_of: Callable[[EntryLine], Layout],
    largest_bytes: int = MAX_OBJECT_BYTES,
) -> tuple[list[BatchDescriptor], int]:
    """Write every entry into exactly one batch, or each part of a split object into one of its own.

    Objects with batches of their own come first: Airflow starts mapped tasks in order, and the longest should not
    start last.

    Args:
        token: The plan's token.
        writer: The batches file.
        entries: Returns all entries in the order of the listing; called twice if any may have batches of its own.
        policy: Which objects get batches of their own.
        layout_of: Returns the block layout of an object that is to be split.
        largest_bytes: The most bytes to copy of one entry, or more.

    Returns:
        The batches, and how many at their front belong to one object alone.
    """
    batches = _BatchWriter(token, writer)
    # A larger object never gets fewer batches of its own than a smaller one.
    any_own = policy.own_batches(largest_bytes) > 0
    shared_weight = policy.total_weight
    if any_own:
        shared_weight = _write_own_batches(batches, entries(), policy, layout_of)
    own = len(batches.descriptors)
    shares = policy.shared_batches(shared_weight, own)
    if shares:
        shared = (entry for entry in entries() if not policy.own_batches(entry.work_bytes)) if own else entries()
        _write_shared_batches(batches, shared, EvenCut(shared_weight, shares))
    return batches.descriptors, own


def _write_own_batches(
    batches: "_BatchWriter",
    entries: Iterable[EntryLine],
    policy: BatchPolicy,
    layout_of: Callable[[EntryLine], Layout],
) -> int:
    """Write the entries with batches of their own; return the weight of the others."""
    shared_weight = 0
    for entry in entries:
        parts = policy.own_batches(entry.work_bytes)
        if not parts:
            shared_weight += weight_of(entry.work_bytes)
        # Without a condition of their own, the tasks of several parts could commit under different ones.
        elif parts > 1 and entry.destination_etag is not None:
            _write_parts(batches, entry, layout_of(entry), parts)
        else:
            _write_whole(batches, entry)
    return shared_weight


def _write_parts(batches: "_BatchWriter", entry: EntryLine, layout: Layout, parts: int) -> None:
    cut = ranges(layout, parts)
    if len(cut) == 1:
        _write_whole(batches, entry)
        return
    for within in cut:
        batches.add(replace(entry, start=within.start, end=within.end, block_bytes=layout.block_bytes))
        batches.end("range")


def _write_whole(batches: "_BatchWriter", entry: EntryLine) -> None:
    batches.add(entry)
    batches.end("objects")


def _write_shared_batches(batches: "_BatchWriter", entries: Iterable[EntryLine], cut: EvenCut) -> None:
    current = 0
    for entry in entries:
        share = cut.next_share(entry.work_bytes)
        if share != current:
            batches.end("objects")
            current = share
        batches.add(entry)
    batches.end("objects")


class _BatchWriter:
    """Writes one batch after the other, and keeps their descriptors."""

    def __init__(self, token: str, writer: LinesWriter) -> None:
        self.descriptors: list[BatchDescriptor] = []
        self._token = token
        self._writer = writer
        self._objects = self._size_bytes = 0

    def add(self, entry: EntryLine) -> None:
        self._writer.add(entry)
        self._objects += 1
        self._size_bytes += entry.copied_bytes

    def end(self, kind: BatchKind) -> None:
        """End the current batch; an empty one is left out."""
        if not self._objects:
            return
        member = self._writer.end_member()
        index = len(self.descriptors)
        self.descriptors.append(batch_descriptor(self._token, index, member, self._objects, self._size_bytes, kind))
        self._objects = self._size_bytes = 0


def batch_descriptor(
    token: str, index: int, member: Member, objects: int, size_bytes: int, kind: BatchKind
) -> BatchDescriptor:
    """Return the descriptor of a batch that was written.

    Raises:
        UsageError: The batch is too large for a task to hold in memory.
    """
    if member.length > MAX_MEMBER_BYTES:
        raise UsageError(detail=f"A batch of {objects:,} objects is too large to be planned. Raise max_tasks.")
    return BatchDescriptor(
        plan=token,
        index=index,
        offset=member.offset,
        length=member.length,
        sha256=member.sha256,
        objects=objects,
        size_bytes=size_bytes,
        kind=kind,
    )


def without_uncertain_absence(entries: Iterable[EntryLine], *, looked_up_above: int) -> Iterator[EntryLine]:
    """Yield the entries, with the destination's state unknown where the join did not find a blob.

    If the listings had no common order, a blob that the join found exists, but one that it did not find may exist too.
    A commit under the condition "no blob" would then fail, so the copy must look itself.

    Args:
        entries: The entries as the first pass wrote them.
        looked_up_above: The state of larger objects is certain: each was looked up by a request of its own.
    """
    for entry in entries:
        if entry.destination_etag == ABSENT and entry.size_bytes <= looked_up_above:
            yield replace(entry, destination_etag=None)
        else:
            yield entry
