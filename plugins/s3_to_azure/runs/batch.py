"""One mapped task: check its slice of the plan, skip what earlier tries finished, copy the rest, write receipts."""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from typing import Any

from s3_to_azure.model.errors import S3, Cancelled, ObjectNotFound, TransferError, TransientError, UnexpectedResponse
from s3_to_azure.model.limits import LISTING_PAGE_KEYS
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.options import MAP
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.reasons import SKIPPED, SOURCE_DELETED, STATUSES, Status
from s3_to_azure.runs.batch_slice import BatchSlice
from s3_to_azure.state.entries import PlanEntry
from s3_to_azure.state.plan import BatchDescriptor
from s3_to_azure.state.receipts import ReceiptWriter, note_try, read_receipts, settles, was_found_damaged
from s3_to_azure.transfer.context import TransferContext
from s3_to_azure.transfer.object import Outcome
from s3_to_azure.transfer.pool import Tally, copy_many

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class BatchSummary:
    """The result of one try of a batch.

    Attributes:
        objects: Objects in the batch.
        size_bytes: Bytes of the batch.
        done_before: Objects that earlier tries finished.
        copied: Objects copied by this try.
        staged: Parts that this try staged and whose object another task commits.
        bytes_sent: Bytes that Azure confirmed in this try.
        bytes_resumed: Bytes that Azure already held of the objects that this try continued.
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
    slow_downs: int = 0
    seconds: float = 0.0

    def as_dict(self) -> dict[str, Any]:
        """Return the summary as JSON-ready values."""
        return asdict(self)


def copy_batch(  # noqa: PLR0913 - the batch, where it goes, and the callbacks
    context: TransferContext,
    files: StateFiles,
    descriptor: BatchDescriptor,
    *,
    bucket: str,
    s3_prefix: str,
    blob_prefix: str,
    try_number: int,
    keep_receipts: bool = True,
    run: str = "",
    on_label: Callable[[str], None] = lambda _: None,
    on_receipt: Callable[[Receipt], None] = lambda _: None,
    on_end: Callable[[BatchSummary], None] = lambda _: None,
) -> BatchSummary:
    """Copy the objects of a batch that earlier tries did not finish. Safe to repeat and to run twice at once.

    The plan is trusted for keys below the prefix only: bucket, container and blob names come from the caller.

    Args:
        context: Stores, settings, progress.
        files: The run's files.
        descriptor: The batch.
        bucket: The source bucket.
        s3_prefix: The prefix that all keys have.
        blob_prefix: The prefix that the blobs' names have instead.
        try_number: 1 for the first try of the task.
        keep_receipts: Write the receipts into the run's files too, for the next try and the report.
        run: As for ``BatchSlice``.
        on_label: Receives the batch's name for people, before the first request.
        on_receipt: Receives each receipt of this try.
        on_end: Receives the summary, even if objects failed.

    Raises:
        CorruptState: The slice does not match its descriptor, or a line is invalid; nothing was copied.
        SomeObjectsFailed: Raised at the end, when no retry can help.
        RetryableObjectsFailed: Raised at the end, when a retry may help.
        Cancelled: Stopped; receipts and staged blocks are kept.
    """
    started, before = time.monotonic(), context.progress.snapshot()
    batch = BatchSlice(
        files,
        descriptor,
        bucket=bucket,
        s3_prefix=s3_prefix,
        blob_prefix=blob_prefix,
        mapped_names=context.settings.refused_names == MAP,
        run=run,
    )
    batch.check()
    on_label(batch.label())
    context.progress.add(objects_total=descriptor.objects, bytes_total=descriptor.size_bytes)
    tally = Tally()
    counts: dict[Status, int] = dict.fromkeys(STATUSES, 0)
    with ExitStack() as stack:
        writer = stack.enter_context(ReceiptWriter(files, descriptor, try_number)) if keep_receipts else None

        def record(receipt: Receipt) -> None:
            if writer:
                writer.add(receipt)
            on_receipt(receipt)

        if writer and try_number > 1:
            note_try(files, descriptor, try_number)
        earlier = _earlier_tries(context, files, batch, try_number, record) if try_number > 1 else None
        tasks = (batch.task(entry) for entry in batch.entries() if earlier is None or not earlier.finished(entry))
        for outcome in copy_many(context, tasks, try_number=try_number):
            counted = _deleted_since_listing(context, outcome)
            record(counted.receipt)
            counts[counted.receipt.status] += 1
            tally.add(counted.receipt, counted.error)
    now = context.progress.snapshot()
    resumed_before = before.bytes_resumed + (earlier.size_bytes if earlier else 0)
    summary = BatchSummary(
        index=descriptor.index,
        kind=descriptor.kind,
        objects=descriptor.objects,
        size_bytes=descriptor.size_bytes,
        done_before=len(earlier.keys) if earlier else 0,
        **counts,
        bytes_sent=now.bytes_sent - before.bytes_sent,
        bytes_resumed=now.bytes_resumed - resumed_before,
        retries=now.retries - before.retries,
        slow_downs=now.slow_downs - before.slow_downs,
        seconds=round(time.monotonic() - started, 3),
    )
    on_end(summary)
    error = tally.error()
    if error:
        raise error
    return summary


def _deleted_since_listing(context: TransferContext, outcome: Outcome) -> Outcome:
    """Turn "not found" into a skip if S3 no longer lists the object: it was deleted, and there is nothing to copy.

    A gateway may answer that an object does not exist while S3 lists it every night: then the object has failed.
    """
    if not isinstance(outcome.error, ObjectNotFound):
        return outcome
    bucket, key = outcome.receipt.bucket, outcome.receipt.key

    def is_listed() -> bool:
        # Some stores do not list in the order of the keys, where the key itself is the first below itself.
        return any(found.key == key for found in context.source.list(bucket, key, max_keys=LISTING_PAGE_KEYS))

    error: TransferError
    try:
        if not context.retrier.call(f"list {key!r}", is_listed):
            return Outcome(replace(outcome.receipt, status=SKIPPED, reason=SOURCE_DELETED))
    except Cancelled:
        raise
    except TransferError as not_listed:
        error = not_listed
    else:
        detail = "it does not exist by the answer to its GET, and it is still listed"
        error = UnexpectedResponse(service=S3, resource=repr(f"s3://{bucket}/{key}"), detail=detail)
    return Outcome(replace(outcome.receipt, reason=error.as_reason()), error)


class EarlierTries:
    """The objects of a batch that earlier tries finished, from their receipts and one listing of the destination.

    Memory: 250 bytes for each finished object, 600 for each other one.

    Args:
        context: The destination and the settings.
        files: The run's files.
        batch: The batch.

    Attributes:
        keys: Keys of the finished objects.
    """

    def __init__(self, context: TransferContext, files: StateFiles, batch: BatchSlice) -> None:
        self._context = context
        self._batch = batch
        self.keys: set[str] = set()
        self._size_bytes = 0
        # The last try that found an object's blob damaged: only a later one can have finished it.
        damaged: dict[str, int] = {}
        for receipt in read_receipts(files, batch.descriptor):
            if not batch.is_from_here_to(context.destination.container, receipt):
                continue
            if was_found_damaged(receipt) and len(damaged) < batch.descriptor.objects:
                damaged[receipt.key] = max(receipt.try_number, damaged.get(receipt.key, 0))
                self.keys.discard(receipt.key)
            has_room = len(self.keys) < batch.descriptor.objects
            if has_room and settles(receipt) and receipt.try_number > damaged.get(receipt.key, 0):
                self.keys.add(receipt.key)
        if self.keys:
            sizes = {entry.listed.key: entry.listed.size_bytes for entry in batch.entries() if self.finished(entry)}
            self.keys, self._size_bytes = set(sizes), sum(sizes.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of the finished objects, at most those of the batch."""
        return min(self._size_bytes, self._batch.descriptor.size_bytes)

    def finished(self, entry: PlanEntry) -> bool:
        """Return whether the object needs no more work."""
        return entry.listed.key in self.keys

    def from_destination(self, try_number: int) -> Iterator[Receipt]:
        """Find finished objects whose receipts were lost with their try; yield new receipts for them.

        An object that is not found here is still copied only once: its copy fails its condition, looks at the blob,
        and finds itself done.
        """
        if self._batch.descriptor.kind == "range":
            return
        destination = self._context.destination
        found = self._batch.find_copies(
            lambda entry: not self.finished(entry),
            destination.list,
            container=destination.container,
            overwrite=self._context.settings.overwrite,
            integrity=self._context.settings.integrity,
            try_number=try_number,
        )
        try:
            for entry, receipt in found:
                self.keys.add(entry.listed.key)
                self._size_bytes += entry.listed.size_bytes
                yield receipt
        except TransientError as error:
            log.warning("The destination could not be listed, so each copy looks up its blob itself: %s", error)


def _earlier_tries(
    context: TransferContext,
    files: StateFiles,
    batch: BatchSlice,
    try_number: int,
    record: Callable[[Receipt], None],
) -> EarlierTries:
    """Find out what earlier tries finished, record lost receipts, and count it as progress."""
    earlier = EarlierTries(context, files, batch)
    for receipt in earlier.from_destination(try_number):
        record(receipt)
    context.progress.add(objects_done=len(earlier.keys), bytes_resumed=earlier.size_bytes)
    log.info("Earlier tries finished %d of %d objects", len(earlier.keys), batch.descriptor.objects)
    return earlier
