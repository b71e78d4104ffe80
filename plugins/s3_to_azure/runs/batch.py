"""One mapped task: read and check its slice of the plan, leave out what earlier tries did, copy, write receipts."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from itertools import islice
from os.path import commonprefix
from typing import Any, Final, Literal

from s3_to_azure.model.errors import ObjectNotFound, TransientError
from s3_to_azure.model.objects import BlobState, Receipt
from s3_to_azure.model.options import ALWAYS, MAP
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.reasons import BY_EARLIER_TRY, COPIED, SKIPPED, SOURCE_DELETED, STATUSES, UNCHANGED, Status
from s3_to_azure.runs.batch_slice import BatchSlice
from s3_to_azure.state.plan import BatchDescriptor, PlanEntry
from s3_to_azure.state.receipts import ReceiptWriter, read_receipts, settles
from s3_to_azure.transfer.context import TransferContext
from s3_to_azure.transfer.object import Outcome
from s3_to_azure.transfer.pool import Tally, copy_many

# A listing reads at most so many blobs beside the batch's own: some 200 requests.
_MOST_OTHER_BLOBS: Final = 1_000_000

log = logging.getLogger(__name__)


class EarlierTries:
    """What earlier tries of a batch finished: by their receipts, and by one listing of the destination.

    Memory: 250 bytes for each object that is done, 600 for each that is left.

    Args:
        context: The destination and how to copy.
        files: The run's files.
        batch: The batch.
    """

    def __init__(self, context: TransferContext, files: StateFiles, batch: BatchSlice) -> None:
        """Read the receipts."""
        self._context = context
        self._batch = batch
        receipts = read_receipts(files, batch.descriptor)
        # Keys and sizes only: whole receipts of a large batch would be 1 KB each.
        settled = {receipt.key: receipt.size_bytes for receipt in receipts if settles(receipt)}
        self.keys = set(settled)
        self._size_bytes = sum(settled.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of the batch that those objects hold."""
        return min(self._size_bytes, self._batch.descriptor.size_bytes)

    def has(self, entry: PlanEntry) -> bool:
        """Say whether the object needs nothing more."""
        return entry.listed.key in self.keys

    def from_destination(self, try_number: int) -> Iterator[Receipt]:
        """Find the objects that were finished but whose receipt was lost with the earlier try; yield their receipts.

        What this misses is not wrong: its copy fails its condition, looks, and finds itself done.
        """
        left = {self._batch.blob_of(entry): entry for entry in self._batch.entries() if not self.has(entry)}
        if not left or self._batch.descriptor.kind == "range":
            return
        destination = self._context.destination
        first, last = min(left), max(left)
        prefix = commonprefix((first, last))
        try:
            for blob in islice(destination.list(prefix), len(left) + _MOST_OTHER_BLOBS):
                entry = left.get(blob.name)
                if entry is not None and (status := self._status(entry, blob)):
                    self.keys.add(entry.listed.key)
                    self._size_bytes += entry.listed.size_bytes
                    yield _found(entry, blob, status, destination.container, try_number)
                if blob.name >= last:
                    return
        except TransientError as error:
            log.warning("The destination could not be listed, so each copy finds out by itself: %s", error)

    def _status(self, entry: PlanEntry, blob: BlobState) -> Literal["copied", "unchanged"] | None:
        if not blob.holds(entry.listed):
            return None
        if entry.condition is not None:
            # As planned still: with overwrite=always this is the copy that is to be made anew.
            if entry.condition.fits(blob):
                return None
            return UNCHANGED if entry.metadata_only else COPIED
        return None if self._context.settings.overwrite == ALWAYS else UNCHANGED


def _found(
    entry: PlanEntry, blob: BlobState, status: Literal["copied", "unchanged"], container: str, try_number: int
) -> Receipt:
    return Receipt(
        bucket=entry.listed.bucket,
        key=entry.listed.key,
        etag=entry.listed.etag,
        size_bytes=entry.listed.size_bytes,
        container=container,
        blob=blob.name,
        status=status,
        reason=BY_EARLIER_TRY if status == COPIED else "",
        verified_by=blob.metadata.get("s3_verified_by", "")[:100],
        checksum=blob.metadata.get("s3_checksum", "")[:200],
        try_number=try_number,
    )


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """What one try of a batch came to.

    Attributes:
        objects: Objects in the batch.
        done_before: Objects that earlier tries had finished.
        copied: Objects copied in this try.
        staged: Parts staged in this try whose object another task completes.
        size_bytes: Bytes of the batch.
        bytes_sent: Bytes that Azure confirmed in this try.
        bytes_resumed: Bytes that Azure held already, of the objects that this try went on with.
    """

    index: int
    kind: str
    objects: int
    size_bytes: int
    done_before: int = 0
    copied: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    staged: int = 0
    bytes_sent: int = 0
    bytes_resumed: int = 0
    retries: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-ready values."""
        return asdict(self)


def copy_batch(  # noqa: PLR0913 - the batch, its place, and who is told
    context: TransferContext,
    files: StateFiles,
    descriptor: BatchDescriptor,
    *,
    bucket: str,
    s3_prefix: str,
    blob_prefix: str,
    try_number: int,
    keep_receipts: bool = True,
    on_label: Callable[[str], None] | None = None,
    on_receipt: Callable[[Receipt], None] = lambda _: None,
    on_end: Callable[[BatchSummary], None] = lambda _: None,
) -> BatchSummary:
    """Copy what is left of a batch. Safe to repeat and to run twice at once.

    Nothing of the plan is trusted but keys below the prefix: bucket, container and blob names are the caller's.

    Args:
        context: Stores, lanes, budget.
        files: The run's files.
        descriptor: Which batch.
        bucket: The source bucket.
        s3_prefix: All keys lie below it.
        blob_prefix: What takes its place in the blobs' names.
        try_number: 1 for the first try of this task.
        keep_receipts: Write them into files too, for the next try and the report.
        on_label: Takes the batch's name for people, before the first request.
        on_receipt: Takes each receipt of this try.
        on_end: Takes the summary, also of a try that fails for some of its objects.

    Raises:
        CorruptState: The slice is not what the descriptor says, or holds anything it must not; nothing was copied.
        SomeObjectsFailed: At the end, when no retry can help.
        RetryableObjectsFailed: At the end, when a retry may help.
        Cancelled: Stopped; receipts and staged blocks are kept.
    """
    began, before = time.monotonic(), context.progress.snapshot()
    batch = BatchSlice(
        files,
        descriptor,
        bucket=bucket,
        s3_prefix=s3_prefix,
        blob_prefix=blob_prefix,
        mapped_names=context.settings.refused_names == MAP,
    )
    batch.check()
    if on_label:
        on_label(batch.label())
    context.progress.add(objects_total=descriptor.objects, bytes_total=descriptor.size_bytes)
    tally = Tally()
    counts: dict[Status, int] = dict.fromkeys(STATUSES, 0)
    with ExitStack() as opened:
        writer = opened.enter_context(ReceiptWriter(files, descriptor, try_number)) if keep_receipts else None
        keep = writer.add if writer else _forget
        settled = EarlierTries(context, files, batch) if try_number > 1 else None
        if settled:
            for receipt in settled.from_destination(try_number):
                keep(receipt)
                on_receipt(receipt)
            context.progress.add(objects_done=len(settled.keys), bytes_resumed=settled.size_bytes)
            # The summary counts only the objects that this try went on with.
            before = replace(before, bytes_resumed=before.bytes_resumed + settled.size_bytes)
            log.info("Earlier tries finished %d of %d objects", len(settled.keys), descriptor.objects)
        tasks = (batch.task(entry) for entry in batch.entries() if settled is None or not settled.has(entry))
        for outcome in copy_many(context, tasks, try_number=try_number):
            counted = _deleted_since_listing(outcome)
            keep(counted.receipt)
            on_receipt(counted.receipt)
            counts[counted.receipt.status] += 1
            tally.add(counted.receipt, counted.error)
    now = context.progress.snapshot()
    summary = BatchSummary(
        index=descriptor.index,
        kind=descriptor.kind,
        objects=descriptor.objects,
        size_bytes=descriptor.size_bytes,
        done_before=len(settled.keys) if settled else 0,
        **counts,
        bytes_sent=now.bytes_sent - before.bytes_sent,
        bytes_resumed=now.bytes_resumed - before.bytes_resumed,
        retries=now.retries - before.retries,
        seconds=round(time.monotonic() - began, 3),
    )
    on_end(summary)
    error = tally.error()
    if error:
        raise error
    return summary


def _forget(_: Receipt) -> None:
    """Keep no receipt: whoever is told of it has it."""


def _deleted_since_listing(outcome: Outcome) -> Outcome:
    """Turn "no such object" into a skip: the listing showed it, so it was deleted since, and nothing is to copy."""
    if not isinstance(outcome.error, ObjectNotFound):
        return outcome
    return Outcome(replace(outcome.receipt, status=SKIPPED, reason=SOURCE_DELETED))
