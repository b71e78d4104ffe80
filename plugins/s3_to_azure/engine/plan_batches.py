"""The plan's second pass: share the objects out, one gzip member for each batch, and describe each."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace

from s3_to_azure.engine.batches import (
    MAX_MEMBER_BYTES,
    BatchDescriptor,
    BatchKind,
    SharedCut,
    Sharing,
    ranges,
    weight_of,
)
from s3_to_azure.engine.blocks import Layout
from s3_to_azure.engine.errors import WrongUse
from s3_to_azure.engine.plan_files import PlanEntry
from s3_to_azure.engine.state_lines import LinesWriter


def write_batches(
    token: str,
    writer: LinesWriter,
    entries: Callable[[], Iterable[PlanEntry]],
    *,
    sharing: Sharing,
    layout_of: Callable[[PlanEntry], Layout],
) -> tuple[list[BatchDescriptor], int]:
    """Write every entry into exactly one batch, or an object's parts into one each.

    Returns the batches, and how many at their front belong to one object alone.

    Objects with batches of their own come first: Airflow starts mapped tasks in their order, and the longest should
    not begin last.

    Args:
        token: The plan.
        writer: The batches file.
        entries: Gives all entries in the order of the listing; called twice.
        sharing: Who gets a batch of its own.
        layout_of: Gives the block layout for an object that is to be split.
    """
    batches = _Batches(token, writer)
    shared_weight = 0
    for entry in entries():
        parts = sharing.parts(entry.work_bytes)
        if parts:
            _own(batches, entry, parts, layout_of)
        else:
            shared_weight += weight_of(entry.work_bytes)
    own = len(batches.done)
    shares = sharing.shared_batches(shared_weight, own)
    if not shares:
        return batches.done, own
    cut = SharedCut(shared_weight, shares)
    current = 0
    for entry in entries():
        if sharing.parts(entry.work_bytes):
            continue
        share = cut.place(entry.work_bytes)
        if share != current:
            batches.close("objects")
            current = share
        batches.add(entry)
    batches.close("objects")
    return batches.done, own


def _own(batches: "_Batches", entry: PlanEntry, parts: int, layout_of: Callable[[PlanEntry], Layout]) -> None:
    if parts > 1 and entry.condition is not None:
        layout = layout_of(entry)
        cut = ranges(layout, parts)
        if len(cut) > 1:
            for within in cut:
                batches.add(replace(entry, within=within, block_bytes=layout.block_bytes))
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

    def add(self, entry: PlanEntry) -> None:
        self._writer.add(entry.line())
        self._objects += 1
        self._size_bytes += entry.size_bytes

    def close(self, kind: BatchKind) -> None:
        if not self._objects:
            return
        member = self._writer.end_member()
        if member.length > MAX_MEMBER_BYTES:
            raise WrongUse(what=f"A batch of {self._objects:,} objects is too large to be planned. Raise max_tasks.")
        self.done.append(
            BatchDescriptor(
                plan=self._token,
                index=len(self.done),
                offset=member.offset,
                length=member.length,
                sha256=member.sha256,
                objects=self._objects,
                size_bytes=self._size_bytes,
                kind=kind,
            )
        )
        self._objects = self._size_bytes = 0


def with_known_absence(entries: Iterable[PlanEntry], *, in_order: bool, looked_above: int) -> Iterator[PlanEntry]:
    """Yield the entries; forget that a blob was not found where the listings were not in one order.

    A blob that was found is there; one that was not found may only have been listed where nobody looked. A commit
    under "no blob" would then fail, so the copy must look itself.

    Args:
        entries: As the first pass wrote them.
        in_order: The order held to the end.
        looked_above: Larger objects were looked up by a request of their own.
    """
    for entry in entries:
        absent = entry.condition is not None and entry.condition.etag is None
        if absent and not in_order and entry.listed.size_bytes <= looked_above:
            yield replace(entry, condition=None)
        else:
            yield entry
