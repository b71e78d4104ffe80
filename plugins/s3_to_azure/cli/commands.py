"""The commands: copy, plan, verify, key."""

import argparse
import json
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from s3_to_azure.cli.output import (
    FAILED,
    OK,
    USAGE_ERROR,
    ResultPrinter,
    can_encode,
    print_copy_summary,
    print_message,
    print_text,
    print_verify_summary,
)
from s3_to_azure.cli.progress_bar import has_bar, show_progress
from s3_to_azure.cli.settings import copy_settings, filters_from
from s3_to_azure.cli.stores import open_stores
from s3_to_azure.model.errors import TransferError, UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.names import unmap_blob
from s3_to_azure.model.objects import ListedObject, Receipt
from s3_to_azure.model.options import MAP
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.retry import with_retries
from s3_to_azure.model.settings import CopySettings, Fidelity, parse_size
from s3_to_azure.model.uris import AzureUri, S3Uri, parse_destination, parse_source
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.pool import Tally, copy_many
from s3_to_azure.transfer.verify import verify_object
from s3_to_azure.transfer.watchdog import TASK_GRACE_S, StopEvent, run_stoppable

if TYPE_CHECKING:
    from s3_to_azure.planning.plan import Plan

_Result = TypeVar("_Result")


def copy(options: argparse.Namespace, stop: StopEvent) -> int:
    """Copy one object or many, and print the receipts."""
    # One object needs no plan, and pays for the import of planning only here.
    from s3_to_azure.cli.copy_prefix import copy_prefix  # noqa: PLC0415
    from s3_to_azure.cli.multiprocess import worker_processes  # noqa: PLC0415

    source, destination = _addresses(options)
    settings, filters = copy_settings(options), filters_from(options)
    whole_prefix = source.is_prefix and not options.keys_from
    if filters != Filters() and not whole_prefix:
        raise UsageError(
            detail="--include, --exclude and the other filters select among all objects below a prefix: "
            "end SRC in '/', and leave out --keys-from."
        )
    if options.processes != 1 and not whole_prefix:
        raise UsageError(
            detail="--processes shares all objects below a prefix: end SRC in '/', and leave out --keys-from."
        )
    progress = Progress()
    counts = Counter[str]()
    with (
        open_stores(options, source, destination, settings, stop) as stores,
        worker_processes(options.processes, stores, settings) as workers,
        ResultPrinter(json=options.json, beside_bar=has_bar(quiet=options.quiet), spare=sys.stderr) as printer,
    ):
        started = time.monotonic()
        usage_error = False

        def on_receipt(receipt: Receipt) -> None:
            counts[receipt.status] += 1
            printer.print(receipt)

        def copy_all() -> TransferError | None:
            nonlocal usage_error
            with stores.transfer_context(settings, progress, stop) as context:
                context.check_access(source.bucket, create_container=options.create_container)
                if whole_prefix:
                    return copy_prefix(context, source, destination, filters, on_receipt, workers)
                tally = Tally()
                for outcome in copy_many(context, copy_tasks(context, options, source, destination)):
                    tally.add(outcome.receipt, outcome.error)
                    usage_error |= isinstance(outcome.error, UsageError)
                    on_receipt(outcome.receipt)
                return tally.error()

        with show_progress(progress, quiet=options.quiet):
            error = run_stoppable(copy_all, stop, grace_s=TASK_GRACE_S)
    print_copy_summary(counts, progress.snapshot(), time.monotonic() - started)
    if error:
        print_message(str(error))
    return USAGE_ERROR if usage_error else FAILED if error or printer.has_failed else OK


def plan(options: argparse.Namespace, stop: StopEvent) -> int:
    """Print what a copy would do; nothing is copied."""
    # The other commands of one object pay for the import of planning only here.
    from s3_to_azure.cli.plan_output import make_temporary_plan, plan_settings, plan_text  # noqa: PLC0415

    source, destination = _addresses(options)
    planning = plan_settings(options, source, destination)
    rate = parse_size(options.rate, name="--rate")
    settings = CopySettings(connections=1, objects_at_once=options.objects_at_once)
    with open_stores(options, source, destination, settings, stop) as stores:

        def make() -> "Plan":
            with stores.transfer_context(settings, Progress(), stop) as context:
                context.check_access(source.bucket)
                return make_temporary_plan(context, source, planning, keys_from=options.keys_from)

        made = run_stoppable(make, stop, grace_s=TASK_GRACE_S)
    print_text(plan_text(made, rate_bytes_s=rate, as_json=options.json), json=options.json)
    return OK


def verify(options: argparse.Namespace, stop: StopEvent) -> int:
    """Read blobs back, compare them with their objects, and print the results."""
    source, destination = _addresses(options)
    settings = CopySettings(
        objects_at_once=options.objects_at_once,
        connections=1,
        refused_names=options.refused_names,
        fidelity=Fidelity(etag_is_md5=options.etag_is_md5),
    )
    counts = Counter[str]()
    with (
        open_stores(options, source, destination, settings, stop) as stores,
        ResultPrinter(json=options.json) as printer,
    ):

        def verify_all() -> None:
            with (
                stores.transfer_context(settings, Progress(), stop) as context,
                ThreadPoolExecutor(settings.objects_at_once) as pool,
            ):
                context.check_access(source.bucket)
                tasks = copy_tasks(context, options, source, destination)
                for result in _map_in_order(
                    pool, lambda task: verify_object(context, task), tasks, window=4 * settings.objects_at_once
                ):
                    counts[result.status] += 1
                    printer.print(result)

        run_stoppable(verify_all, stop, grace_s=TASK_GRACE_S)
    print_verify_summary(counts)
    return OK if counts.keys() <= {"equal", "skipped"} else FAILED


def print_keys(options: argparse.Namespace, _stop: StopEvent) -> int:
    """Print the key of each blob name, one per line, as a JSON string where its characters cannot be printed."""
    print_text("".join(f"{_key_text(unmap_blob(blob))}\n" for blob in options.blobs))
    return OK


def _key_text(key: str) -> str:
    if not can_encode(key):
        return json.dumps(key)
    return key if key.isprintable() else json.dumps(key, ensure_ascii=False)


def copy_tasks(
    context: TransferContext, options: argparse.Namespace, source: S3Uri, destination: AzureUri
) -> Iterator[CopyTask]:
    """Yield the tasks in the order of the key list or of S3's listing, and count each in the progress."""
    if options.keys_from:
        # A copy of one object pays for the import of key lists only here.
        from s3_to_azure.cli.copy_prefix import keys_from_file  # noqa: PLC0415

        for key in keys_from_file(options.keys_from, source):
            yield _copy_task(context, source, destination, key, None)
    elif source.is_prefix:
        listing = context.source.list(source.bucket, source.key)
        for listed in with_retries(listing, context.retrier, f"list s3://{source.bucket}"):
            yield _copy_task(context, source, destination, listed.key, listed)
    else:
        yield _copy_task(context, source, destination, source.key, None)


def _copy_task(
    context: TransferContext, source: S3Uri, destination: AzureUri, key: str, listed: ListedObject | None
) -> CopyTask:
    context.progress.add(objects_total=1, bytes_total=listed.size_bytes if listed else 0)
    mapped = context.settings.refused_names == MAP
    return CopyTask(source.bucket, key, destination.blob_for(source, key, mapped=mapped), listed=listed)


def _addresses(options: argparse.Namespace) -> tuple[S3Uri, AzureUri]:
    return parse_source(options.source, name="SRC"), parse_destination(options.destination, name="DST")


def _map_in_order(
    pool: ThreadPoolExecutor, function: Callable[[CopyTask], _Result], tasks: Iterator[CopyTask], *, window: int
) -> Iterator[_Result]:
    """Yield the results in order, with at most ``window`` tasks submitted, so that memory is bounded."""
    submitted: deque[Future[_Result]] = deque()
    for task in tasks:
        submitted.append(pool.submit(function, task))
        if len(submitted) >= window:
            yield submitted.popleft().result()
    for future in submitted:
        yield future.result()
