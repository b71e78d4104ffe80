"""A whole run in one task, without a DAG around it: plan, copy what needs it, account for every object.

The listings of both sides are joined as in any plan, so an unchanged object costs no request of its own.
"""

import logging
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from s3_to_azure.model.errors import RetryableObjectsFailed, SomeObjectsFailed, TransferError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Amount, Receipt
from s3_to_azure.model.options import MAX_TASKS, VIA_WORKER
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.reasons import FAILED
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch import copy_batch
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.state.plan import BatchDescriptor, LeftOut, read_left_out
from s3_to_azure.transfer.context import TransferContext
from s3_to_azure.transfer.pool import Tally

# A task holds its batch's part of the plan in memory: 25 to 100 bytes for each object.
_MAX_BATCH_OBJECTS: Final = 500_000
_NEVER_SPLIT: Final = 1 << 60
# No task has to be started for a batch here, so even some tens of small objects are worth one.
_MIN_BATCH_BYTES: Final = 16 * MIB
# Progress need not be updated for each object that is left out.
_LEFT_OUT_PAGE: Final = 1_000

CopyBatches = Callable[[Sequence[BatchDescriptor], Callable[[Receipt], None]], int]
"""Copies batches, passes each receipt on, and returns how many failed objects a retry may help."""

log = logging.getLogger(__name__)


def prefix_plan_settings(
    context: TransferContext,
    pointer: ManifestPointer,
    *,
    s3_prefix: str,
    blob_prefix: str,
    filters: Filters | None = None,
    batches: int = 1,
    run: str = "",
) -> PlanSettings:
    """Return plan settings for the wanted number of batches, or more where one would be too large for memory."""
    settings = context.settings
    return PlanSettings(
        s3_prefix=s3_prefix,
        blob_prefix=blob_prefix,
        overwrite=settings.overwrite,
        integrity=settings.integrity,
        via=settings.via,
        access=context.source.fetch_access(pointer.bucket) if settings.via != VIA_WORKER else None,
        filters=filters or Filters(),
        refused_names=settings.refused_names,
        archived=settings.fidelity.archived,
        max_tasks=batches_for(batches, pointer.objects),
        split_bytes=_NEVER_SPLIT,
        batch_bytes=_MIN_BATCH_BYTES,
        memory_budget_bytes=settings.memory_budget_bytes,
        block_bytes=settings.block_bytes,
        run=run,
    )


def batches_for(batches: int, objects: int) -> int:
    """Return the wanted number of batches, or more where one of so many objects would be too large for memory."""
    return min(MAX_TASKS, max(batches, 1 + objects // _MAX_BATCH_OBJECTS))


def plan_and_copy(  # noqa: PLR0913 - the run, and the callbacks
    context: TransferContext,
    files: StateFiles,
    pointer: ManifestPointer,
    settings: PlanSettings,
    *,
    copy_batches: CopyBatches,
    try_number: int | None = None,
    tasks_for: Callable[[Amount, int], int] | None = None,
    on_plan: Callable[[Plan], None] = lambda _: None,
    on_receipt: Callable[[Receipt], None],
) -> TransferError | None:
    """Plan and copy every object of a manifest; return the error of the failed ones after all others are done.

    Args:
        context: Stores, settings, progress.
        files: The run's files.
        pointer: The manifest.
        settings: The plan's settings.
        copy_batches: Copies the plan's batches, as ``copy_in_this_process`` does.
        try_number: Number of the try that plans; None: no other one does.
        tasks_for: Returns the number of batches once the objects to copy are known; see ``make_plan``.
        on_plan: Receives the plan before anything is copied.
        on_receipt: Receives one receipt for each listed object; objects that need no copy come first.

    Raises:
        Cancelled: Stopped; receipts and staged blocks are kept.
        PermanentError: Nothing was copied.
    """
    plan = make_plan(
        files,
        pointer,
        context.destination,
        settings,
        retrier=context.retrier,
        try_number=try_number,
        tasks_for=tasks_for,
    )
    on_plan(plan)
    tally = Tally()

    def count(receipt: Receipt) -> None:
        tally.add(receipt)
        on_receipt(receipt)

    left_out = read_left_out(files, plan.token)
    while page := list(islice(left_out, _LEFT_OUT_PAGE)):
        _update_progress(context, page)
        for item in page:
            blob = settings.blob_of(item.key)
            count(_left_out_receipt(item, pointer.bucket, context.destination.container, blob))
    tally.add_retryable(copy_batches(plan.batches, count))
    return tally.error()


def _update_progress(context: TransferContext, left_out: Sequence[LeftOut]) -> None:
    failed = [item for item in left_out if item.status == FAILED]
    for item in failed:
        context.progress.add_failure(item.key, item.reason)
    context.progress.add(
        objects_total=len(left_out), objects_done=len(left_out) - len(failed), objects_failed=len(failed)
    )


def _left_out_receipt(left_out: LeftOut, bucket: str, container: str, blob: str) -> Receipt:
    return Receipt(
        bucket=bucket,
        key=left_out.key,
        etag=left_out.etag,
        size_bytes=left_out.size_bytes,
        container=container,
        blob=blob,
        status=left_out.status,
        reason=left_out.reason,
        verified_by=left_out.verified_by,
        checksum=left_out.checksum,
    )


def copy_in_this_process(
    context: TransferContext,
    files: StateFiles,
    bucket: str,
    settings: PlanSettings,
    batches: Sequence[BatchDescriptor],
    on_receipt: Callable[[Receipt], None],
    *,
    try_number: int = 1,
    keep_receipts: bool = True,
) -> int:
    """Copy the batches one after the other; return how many failed objects a retry may help.

    Args:
        context: Stores, settings, progress.
        files: The run's files, with the plan.
        bucket: The source bucket.
        settings: The plan's settings.
        batches: The batches to copy.
        on_receipt: Receives each receipt.
        try_number: For the receipts.
        keep_receipts: Write the receipts into the run's files too, for the next try and the report.

    Raises:
        Cancelled: Stopped; receipts and staged blocks are kept.
        CorruptState: The plan is damaged.
    """
    retryable = 0
    for batch in batches:
        try:
            copy_batch(
                context,
                files,
                batch,
                bucket=bucket,
                s3_prefix=settings.s3_prefix,
                blob_prefix=settings.blob_prefix,
                try_number=try_number,
                keep_receipts=keep_receipts,
                run=settings.run,
                on_receipt=on_receipt,
            )
        except RetryableObjectsFailed as error:
            retryable += int(str(error.attributes["transient"]))
        except SomeObjectsFailed as error:
            log.debug("Batch %d: %s", batch.index, error)
    return retryable
