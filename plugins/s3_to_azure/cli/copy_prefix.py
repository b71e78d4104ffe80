"""Copy all objects below a prefix, or read the keys of ``--keys-from``."""

import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Final

from s3_to_azure.cli.processes.count import FreeCores, may_use_several, share_of, useful_processes
from s3_to_azure.cli.processes.workers import BATCHES_PER_WORKER, WorkerProcesses
from s3_to_azure.cli.stores import Completed
from s3_to_azure.model.errors import BudgetTooSmall, TransferError, UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Amount, ListedObject, Receipt
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.planning.key_list import keys_of, look_up
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.prefix import batches_for, copy_in_this_process, plan_and_copy, prefix_plan_settings
from s3_to_azure.state.manifest import ManifestPointer, write_manifest
from s3_to_azure.state.plan import BatchDescriptor
from s3_to_azure.stores.temporary_state import TemporaryState
from s3_to_azure.transfer.context import TransferContext

if TYPE_CHECKING:
    # A command without an inventory does not pay for the import.
    from s3_to_azure.planning.inventory import Inventory

_STDIN: Final = "-"

log = logging.getLogger(__name__)


def keys_from_file(path: str, source: S3Uri) -> Iterator[str]:
    """Yield the keys of ``--keys-from``, sorted, without duplicates.

    Raises:
        UsageError: The file cannot be read, or a line is not a key below SRC.
    """
    try:
        if path == _STDIN:
            yield from keys_of(_pieces(sys.stdin.buffer), name="standard input", prefix=source.key)
            return
        with Path(path).open("rb") as file:
            yield from keys_of(_pieces(file), name=path, prefix=source.key)
    except OSError as error:
        raise UsageError(detail=f"--keys-from {path!r} cannot be read: {error.strerror}.") from error


def write_listing(
    context: TransferContext,
    source: S3Uri,
    files: StateFiles,
    keys: Iterable[str] | None,
    completed: Completed | None = None,
    inventory: "Inventory | None" = None,
) -> ManifestPointer:
    """Write a manifest of the objects below SRC, or of those that have these keys.

    Args:
        context: The stores.
        source: SRC.
        files: Where the manifest is written.
        keys: The keys, sorted; None: all below SRC.
        completed: Adds the checksums of a report.
        inventory: The objects below SRC, in place of a listing.
    """
    objects: Iterator[ListedObject]
    if inventory:
        objects = inventory.objects()
    elif keys is not None:
        at_once = context.settings.objects_at_once
        objects = look_up(keys, context.source, context.retrier, bucket=source.bucket, at_once=at_once)
    else:
        objects = context.source.list(source.bucket, source.key)
    return write_manifest(
        objects,
        files,
        bucket=source.bucket,
        prefix=source.key,
        retrier=context.retrier,
        completed=completed,
        looked_up=keys is not None,
        inventoried_at=inventory.made_at if inventory else None,
    )


def copy_prefix(
    context: TransferContext,
    source: S3Uri,
    destination: AzureUri,
    filters: Filters,
    on_receipt: Callable[[Receipt], None],
    workers: WorkerProcesses | None,
    completed: Completed | None = None,
    inventory: "Inventory | None" = None,
) -> TransferError | None:
    """Plan from the listings of both sides, then copy in this process or in as many workers as have enough to do.

    Returns:
        The error of all failed objects together, or None.
    """
    # Other processes may keep cores busy, and several processes for one copy would only disturb each other then.
    cores = FreeCores()
    with TemporaryState() as files:
        pointer = write_listing(context, source, files, None, completed, inventory)
        if workers and not may_use_several(Amount(pointer.objects, pointer.bytes_total)):
            workers.end()
            workers = None
        settings = prefix_plan_settings(
            context,
            pointer,
            s3_prefix=source.key,
            blob_prefix=destination.prefix,
            filters=filters,
            batches=BATCHES_PER_WORKER * workers.most if workers else 1,
        )
        if workers:
            budget_bytes = share_of(context.settings, workers.most).memory_budget_bytes
            shared = replace(settings, memory_budget_bytes=budget_bytes)
            try:
                return _plan_and_copy(context, files, pointer, shared, on_receipt, workers, cores)
            except BudgetTooSmall as error:
                log.info("Copying in one process, because an object needs more than a share of the budget: %s", error)
                workers.end()
                settings = replace(settings, max_tasks=batches_for(1, pointer.objects))
        return _plan_and_copy(context, files, pointer, settings, on_receipt)


def _plan_and_copy(
    context: TransferContext,
    files: StateFiles,
    pointer: ManifestPointer,
    settings: PlanSettings,
    on_receipt: Callable[[Receipt], None],
    workers: WorkerProcesses | None = None,
    cores: FreeCores | None = None,
) -> TransferError | None:
    count = 1

    def tasks_for(copied: Amount, largest_bytes: int) -> int:
        nonlocal count
        if workers and cores:
            most, limit = cores.count(workers.most), context.settings.bandwidth_bytes_s
            count = useful_processes(copied, largest_bytes, most, bandwidth_bytes_s=limit)
        return batches_for(BATCHES_PER_WORKER * count if count > 1 else 1, copied.objects)

    def copy_batches(batches: Sequence[BatchDescriptor], on_receipt: Callable[[Receipt], None]) -> int:
        if workers and count > 1:
            return workers.copy_batches(count, context, files, pointer.bucket, settings, batches, on_receipt)
        if workers:
            workers.end()
        # The state files end with this process, so nothing could read receipts in them.
        return copy_in_this_process(context, files, pointer.bucket, settings, batches, on_receipt, keep_receipts=False)

    return plan_and_copy(
        context, files, pointer, settings, copy_batches=copy_batches, tasks_for=tasks_for, on_receipt=on_receipt
    )


def _pieces(file: BinaryIO) -> Iterator[bytes]:
    while piece := file.read(MIB):
        yield piece
