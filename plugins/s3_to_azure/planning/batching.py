"""Batches: how the objects to copy are shared out, and the descriptor that names one batch; no I/O.

The weight of an object is its bytes and a constant for the requests that even an empty one costs, so batches are
balanced by bytes and by count. With ``total`` the weight of all objects to copy and ``max_tasks`` the most batches:

- an object whose weight is at least ``total / max_tasks`` (and at least ``batch_bytes``) is a batch of its own;
- such an object above ``split_bytes`` becomes several batches, each a range of its blocks;
- all others are cut, in the order of the listing, into batches of nearly equal weight, none of which exceeds its
  share by more than one object.

The parts of an object number at most its weight in shares of ``total / max_tasks``, rounded down. So all parts
leave room for at least one batch of the others, and there are never more than ``max_tasks``.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from msgspec.structs import replace

from s3_to_azure.model import defaults
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import KIB, MAX_OBJECT_BYTES, MIB
from s3_to_azure.model.objects import Block
from s3_to_azure.model.options import MAX_TASKS
from s3_to_azure.model.settings import parse_size
from s3_to_azure.state.lines import LinesWriter, Member
from s3_to_azure.state.plan import ABSENT, MAX_MEMBER_BYTES, BatchDescriptor, BatchKind, EntryLine
from s3_to_azure.transfer.blocks import Layout

# What the requests for one small object cost, as bytes of a large one in the same time (about 300 objects/s
# against 150 MiB/s in one task; docs/scale.md).
OBJECT_WEIGHT: Final = 512 * KIB
# Starting a mapped task costs seconds: less work than this is not worth one.
BATCH_BYTES: Final = parse_size(defaults.TASK_SIZE, name="task_size")
SPLIT_BYTES: Final = parse_size(defaults.SPLIT_SIZE, name="split_size")


def weight_of(size_bytes: int) -> int:
    """Return an object's share of work, in bytes of a large object."""
    return size_bytes + OBJECT_WEIGHT


@dataclass(frozen=True, slots=True)
class Sharing:
    """Who gets a batch of its own, decided from the totals alone.

    Attributes:
        total_weight: Weight of all objects to copy.
        max_tasks: Most batches.
        split_bytes: Objects above this size are split, as far as there are batches for it.
        batch_bytes: Least weight worth a batch.
    """

    total_weight: int
    max_tasks: int
    split_bytes: int = SPLIT_BYTES
    batch_bytes: int = BATCH_BYTES

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            UsageError: There must be at least one batch, and not more than Airflow maps.
        """
        if not 1 <= self.max_tasks <= MAX_TASKS:
            raise UsageError(what=f"max_tasks={self.max_tasks} is not between 1 and {MAX_TASKS:,}.")
        if self.split_bytes < MIB or self.batch_bytes < 1:
            raise UsageError(what=f"split_bytes={self.split_bytes} is below 1 MiB, or batch_bytes below 1.")

    def parts(self, size_bytes: int) -> int:
        """Return into how many batches of its own an object goes; 0: it shares one with others."""
        weight = weight_of(size_bytes)
        shares = weight * self.max_tasks // self.total_weight
        if not shares:
            return 0
        if size_bytes > self.split_bytes:
            return min(-(-size_bytes // self.split_bytes), shares)
        return 1 if weight >= self.batch_bytes else 0

    def shared_batches(self, weight: int, own: int) -> int:
        """Return how many batches the objects without their own get.

        Args:
            weight: Weight of those objects together.
            own: Batches of all other objects.
        """
        if not weight:
            return 0
        return max(1, min(-(-weight // self.batch_bytes), self.max_tasks - own))


class SharedCut:
    """Cuts a sequence of objects of known total weight into batches: contiguous, nearly equal, at most ``batches``.

    An object belongs to the batch in whose share its middle lies, so a batch differs from its share by at most half
    an object at either end.

    Args:
        total_weight: Weight of all objects that will come.
        batches: How many shares to make; a share may stay empty where one object outweighs it.
    """

    def __init__(self, total_weight: int, batches: int) -> None:
        """Begin at the first object."""
        self._total = total_weight
        self._batches = batches
        self._before = 0

    def place(self, size_bytes: int) -> int:
        """Return the share of the next object; shares never go back."""
        weight = weight_of(size_bytes)
        middle = 2 * self._before + weight
        self._before += weight
        return min(middle * self._batches // (2 * self._total), self._batches - 1)


def ranges(layout: Layout, parts: int) -> list[Block]:
    """Cut an object into at most ``parts`` ranges of whole blocks, equal but for one block."""
    count = len(layout)
    parts = min(parts, count)
    starts = [count * part // parts * layout.block_bytes for part in range(parts)]
    return [Block(start, end) for start, end in zip(starts, [*starts[1:], layout.size_bytes], strict=True)]


def write_batches(
    token: str,
    writer: LinesWriter,
    entries: Callable[[], Iterable[EntryLine]],
    *,
    sharing: Sharing,
    layout_of: Callable[[EntryLine], Layout],
    largest_bytes: int = MAX_OBJECT_BYTES,
) -> tuple[list[BatchDescriptor], int]:
    """Write every entry into exactly one batch, or an object's parts into one each.

    Returns the batches, and how many at their front belong to one object alone.

    Objects with batches of their own come first: Airflow starts mapped tasks in their order, and the longest should
    not begin last.

    Args:
        token: The plan.
        writer: The batches file.
        entries: Gives all entries in the order of the listing; called twice where some may have batches of their own.
        sharing: Who gets a batch of its own.
        layout_of: Gives the block layout for an object that is to be split.
        largest_bytes: No entry has more bytes to copy.
    """
    batches = _Batches(token, writer)
    # A larger object never gets fewer batches of its own than a smaller one.
    any_own = sharing.parts(largest_bytes) > 0
    shared_weight = 0 if any_own else sharing.total_weight
    for entry in entries() if any_own else ():
        work_bytes = entry.work_bytes
        parts = sharing.parts(work_bytes)
        if parts:
            _own(batches, entry, parts, layout_of)
        else:
            shared_weight += weight_of(work_bytes)
    own = len(batches.done)
    shares = sharing.shared_batches(shared_weight, own)
    if not shares:
        return batches.done, own
    cut = SharedCut(shared_weight, shares)
    current = 0
    for entry in entries():
        work_bytes = entry.work_bytes
        if own and sharing.parts(work_bytes):
            continue
        share = cut.place(work_bytes)
        if share != current:
            batches.close("objects")
            current = share
        batches.add(entry)
    batches.close("objects")
    return batches.done, own


def _own(batches: "_Batches", entry: EntryLine, parts: int, layout_of: Callable[[EntryLine], Layout]) -> None:
    if parts > 1 and entry.destination_etag is not None:
        layout = layout_of(entry)
        cut = ranges(layout, parts)
        if len(cut) > 1:
            for within in cut:
                part = replace(entry, start=within.start, end=within.end, block_bytes=layout.block_bytes)
                batches.add(part)
                batches.close("range")
            return
    batches.add(entry)
    batches.close("objects")


class _Batches:
    """The batch being written, and those done."""

    def __init__(self, token: str, writer: LinesWriter) -> None:
        self.done: list[BatchDescriptor] = []
        self._token = token
        self._writer = writer
        self._objects = self._size_bytes = 0

    def add(self, entry: EntryLine) -> None:
        self._writer.add(entry)
        self._objects += 1
        self._size_bytes += entry.copied_bytes

    def close(self, kind: BatchKind) -> None:
        if not self._objects:
            return
        member = self._writer.end_member()
        self.done.append(descriptor_of(self._token, len(self.done), member, self._objects, self._size_bytes, kind))
        self._objects = self._size_bytes = 0


def descriptor_of(
    token: str, index: int, member: Member, objects: int, size_bytes: int, kind: BatchKind
) -> BatchDescriptor:
    """Return the descriptor of a batch that was written.

    Raises:
        UsageError: It is too large for a task to hold.
    """
    if member.length > MAX_MEMBER_BYTES:
        raise UsageError(what=f"A batch of {objects:,} objects is too large to be planned. Raise max_tasks.")
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


def with_known_absence(entries: Iterable[EntryLine], *, in_order: bool, looked_above: int) -> Iterator[EntryLine]:
    """Yield the entries; forget that a blob was not found where the listings were not in one order.

    A blob that was found is there; one that was not found may only have been listed where nobody looked. A commit
    under "no blob" would then fail, so the copy must look itself.

    Args:
        entries: As the first pass wrote them.
        in_order: The order held to the end.
        looked_above: Larger objects were looked up by a request of their own.
    """
    for entry in entries:
        if entry.destination_etag == ABSENT and not in_order and entry.size_bytes <= looked_above:
            yield replace(entry, destination_etag=None)
        else:
            yield entry
