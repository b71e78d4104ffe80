"""A whole run in one task, without a DAG around it: plan, copy what needs it, account for all.

The listings of both sides are joined as in any plan, so what is unchanged costs no request of its own.
"""

import logging
from collections.abc import Callable, Sequence
from itertools import islice
from typing import Final

from s3_to_azure.model.errors import RetryableObjectsFailed, SomeObjectsFailed, TransferError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.options import MAX_TASKS
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch import copy_batch
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.state.plan import BatchDescriptor, LeftOut, read_left_out
from s3_to_azure.transfer.context import TransferContext

# A batch's part of the plan is held in memory: 25 to 100 bytes an object.
_BATCH_OBJECTS: Final = 500_000
_NEVER_SPLIT: Final = 1 << 60
# A batch is no task that has to be started: even some tens of small objects are worth one.
_LEAST_BATCH_BYTES: Final = 16 * MIB
# The counts that people watch need not change for each object.
_TOLD_AT_ONCE: Final = 1_000

CopyBatches = Callable[[Sequence[BatchDescriptor], Callable[[Receipt], None]], int]
"""Copies batches, tells each receipt, and returns how many objects failed that a retry may help."""

log = logging.getLogger(__name__)


def settings_for(
    context: TransferContext,
    pointer: ManifestPointer,
    *,
    s3_prefix: str,
    blob_prefix: str,
    filters: Filters | None = None,
    batches: int = 1,
) -> PlanSettings:
    """Return plan settings for as few batches as asked for, or more only where one would be too large to hold."""
    chosen = context.settings
    return PlanSettings(
        s3_prefix=s3_prefix,
        blob_prefix=blob_prefix,
        overwrite=chosen.overwrite,
        filters=filters or Filters(),
        refused_names=chosen.refused_names,
        archived=chosen.fidelity.archived,
        max_tasks=min(MAX_TASKS, max(batches, 1 + pointer.objects // _BATCH_OBJECTS)),
        split_bytes=_NEVER_SPLIT,
        batch_bytes=_LEAST_BATCH_BYTES,
        memory_budget_bytes=chosen.memory_budget_bytes,
        block_bytes=chosen.block_bytes,
    )


def copy_listed(
    context: TransferContext,
    files: StateFiles,
    pointer: ManifestPointer,
    settings: PlanSettings,
    *,
    copy_batches: CopyBatches,
    on_plan: Callable[[Plan], None] = lambda _: None,
    on_receipt: Callable[[Receipt], None],
) -> TransferError | None:
    """Plan and copy all that a manifest lists; return the error of what failed, after everything else was done.

    Args:
        context: Stores, lanes, budget.
        files: The run's files.
        pointer: The manifest.
        settings: The plan's.
        copy_batches: Copies the plan's batches: ``copy_here``, or whatever does the same.
        on_plan: Takes the plan before anything is copied.
        on_receipt: Takes the receipt of each listed object, those that need no copy first.

    Raises:
        Cancelled: Stopped; receipts and staged blocks are kept.
        PermanentError: Nothing was copied.
    """
    plan = make_plan(files, pointer, context.destination, settings, retrier=context.retrier)
    on_plan(plan)
    counted = _Counted(on_receipt)
    everything = read_left_out(files, plan.token)
    while some := list(islice(everything, _TOLD_AT_ONCE)):
        failed = [left_out for left_out in some if left_out.status == "failed"]
        for left_out in failed:
            context.progress.add_failure(left_out.key, left_out.reason)
        context.progress.add(objects_total=len(some), objects_done=len(some) - len(failed), objects_failed=len(failed))
        for left_out in some:
            blob = settings.blob_of(left_out.key)
            counted.add(_receipt(left_out, pointer.bucket, context.destination.container, blob))
    return counted.error(pointer.objects, copy_batches(plan.batches, counted.add))


def copy_here(
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
    """Copy the batches one after the other; return how many objects failed that a retry may help.

    Args:
        context: Stores, lanes, budget.
        files: Where the plan is.
        bucket: Where the objects are.
        settings: The plan's.
        batches: The plan's.
        on_receipt: Takes each receipt.
        try_number: For the receipts.
        keep_receipts: Write them into files too, for whoever reads those later.

    Raises:
        Cancelled: Stopped; receipts and staged blocks are kept.
        CorruptState: The plan is damaged.
    """
    transient = 0
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
                on_receipt=on_receipt,
            )
        except RetryableObjectsFailed as error:
            transient += int(str(error.attributes["transient"]))
        except SomeObjectsFailed as error:
            log.debug("Batch %d: %s", batch.index, error)
    return transient


class _Counted:
    """Passes receipts on, and counts those that failed."""

    def __init__(self, on_receipt: Callable[[Receipt], None]) -> None:
        self._on_receipt = on_receipt
        self._failed = 0
        self._first = ""

    def add(self, receipt: Receipt) -> None:
        if receipt.status == "failed":
            self._failed += 1
            self._first = self._first or f"{receipt.key!r}: {receipt.reason}"
        self._on_receipt(receipt)

    def error(self, total: int, transient: int) -> TransferError | None:
        if not self._failed:
            return None
        if transient:
            return RetryableObjectsFailed(failed=self._failed, total=total, transient=transient, first=self._first)
        return SomeObjectsFailed(failed=self._failed, total=total, first=self._first)


def _receipt(left_out: LeftOut, bucket: str, container: str, blob: str) -> Receipt:
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
