"""The plan's second pass: share the objects out, one gzip member for each batch, and describe each."""

from collections.abc import Callable, Iterable, Iterator

from msgspec.structs import replace

from s3_to_azure.engine.batches import (
    MAX_MEMBER_BYTES,
    BatchDescriptor,
    BatchKind,
    SharedCut,
    Sharing,
    ranges,
    weight_of,
)
from s3_to_azure.engine.plan_lines import ABSENT, EntryLine
from s3_to_azure.engine.state_lines import LinesWriter, Member
from s3_to_azure.model.errors import WrongUse
from s3_to_azure.model.limits import MAX_OBJECT_BYTES
from s3_to_azure.transfer.blocks import Layout


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
        WrongUse: It is too large for a task to hold.
    """
    if member.length > MAX_MEMBER_BYTES:
        raise WrongUse(what=f"A batch of {objects:,} objects is too large to be planned. Raise max_tasks.")
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
