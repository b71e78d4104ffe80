"""The commands: copy, plan, verify, key."""

import argparse
import json
import logging
import sys
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, TypeVar

from s3_to_azure.cli.hints import near_source
from s3_to_azure.cli.output import (
    FAILED,
    NO_MATCH,
    NOTHING_MATCHED,
    OK,
    USAGE_ERROR,
    ResultPrinter,
    can_encode,
    print_copy_summary,
    print_failure_groups,
    print_message,
    print_text,
    print_verify_summary,
)
from s3_to_azure.cli.progress_bar import has_bar, show_progress
from s3_to_azure.cli.settings import copy_settings, filters_from
from s3_to_azure.cli.stores import Completed, open_stores
from s3_to_azure.cli.values import Selection, read_selection
from s3_to_azure.model.errors import Cancelled, ObjectNotFound, SomeObjectsFailed, TransferError, UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.formatting import count_text
from s3_to_azure.model.names import unmap_blob
from s3_to_azure.model.objects import NO_ETAG, ListedObject, Receipt
from s3_to_azure.model.options import MAP
from s3_to_azure.model.ports import ObjectSource
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.reasons import FAILED as FAILED_STATUS
from s3_to_azure.model.reasons import FILTERED, FailureGroups, code_of
from s3_to_azure.model.retry import with_retries
from s3_to_azure.model.settings import CopySettings, Fidelity, parse_rate
from s3_to_azure.model.uris import AzureUri, S3Uri, parse_destination
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.fetched.ways import Ways
from s3_to_azure.transfer.pool import Tally, copy_many
from s3_to_azure.transfer.verify import verify_object
from s3_to_azure.transfer.watchdog import TASK_GRACE_S, StopEvent, run_stoppable, threads_for_results

if TYPE_CHECKING:
    from s3_to_azure.cli.processes.workers import WorkerProcesses
    from s3_to_azure.planning.inventory import Inventory
    from s3_to_azure.planning.plan import Plan

_Result = TypeVar("_Result")

log = logging.getLogger(__name__)


def copy(options: argparse.Namespace, stop: StopEvent) -> int:
    """Copy one object or many, and print the receipts."""
    if options.dry_run:
        return plan(options, stop)
    # One object needs no plan, and pays for the import of planning only here.
    from s3_to_azure.cli.processes.count import most_processes  # noqa: PLC0415
    from s3_to_azure.cli.processes.workers import worker_processes  # noqa: PLC0415

    selection, destination = _addresses(options)
    source = selection.source
    settings, filters = copy_settings(options), _filters(options, selection)
    processes = most_processes(options.processes, settings)
    progress = Progress()
    results = _Results(options.max_errors, stop)
    notes: list[str] = []
    with (
        open_stores(options, source, destination, settings, stop, selection.urls) as stores,
        worker_processes(processes if source.is_prefix else 1, stores, settings) as workers,
        ResultPrinter(
            json=options.json,
            beside_bar=has_bar(options.progress, quiet=options.quiet),
            spare=sys.stderr,
            quiet=options.quiet,
        ) as printer,
    ):
        started = time.monotonic()
        error: TransferError | None = None

        def on_receipt(receipt: Receipt, error: TransferError | None = None) -> None:
            results.add(receipt, error)
            printer.print(receipt)

        def copy_all() -> TransferError | None:
            with stores.transfer_context(settings, progress, stop) as context:
                context.check_access(source.bucket, create_container=options.create_container)
                with (
                    stores.completed(context, source, notes.append) as completed,
                    stores.inventoried(context, source, notes.append) as inventory,
                ):
                    error = _copy_all(
                        *(context, selection, destination, filters, on_receipt, workers, completed, inventory)
                    )
                results.look_near(context.source, source)
                return error

        with show_progress(progress, options.progress, quiet=options.quiet):
            try:
                error = run_stoppable(copy_all, stop, grace_s=TASK_GRACE_S)
            except Cancelled:
                if not results.too_many_errors:
                    raise
    if not options.quiet:
        print_copy_summary(results.counts, progress.snapshot(), time.monotonic() - started, results.ways.lines())
    print_failure_groups(results.failures)
    # The groups say more than the first failure's reason.
    said = isinstance(error, SomeObjectsFailed) and len(results.failures) > 1
    for text in (*notes, results.too_many_errors or (None if said else error), results.hint):
        if text:
            print_message(str(text))
    return results.end(failed=bool(results.too_many_errors or error) or printer.has_failed, quiet=options.quiet)


def _copy_all(
    context: TransferContext,
    selection: Selection,
    destination: AzureUri,
    filters: Filters,
    on_receipt: Callable[..., None],
    workers: "WorkerProcesses | None",
    completed: Completed | None,
    inventory: "Inventory | None",
) -> TransferError | None:
    from s3_to_azure.cli.copy_prefix import copy_prefix  # noqa: PLC0415

    if selection.is_listed:
        return copy_prefix(context, selection.source, destination, filters, on_receipt, workers, completed, inventory)
    tally = Tally()

    def count(receipt: Receipt, error: TransferError | None) -> None:
        tally.add(receipt, error)
        on_receipt(receipt, error)

    tasks = copy_tasks(context, selection, destination, completed=completed)
    if workers:
        workers.copy_tasks(context, tasks, count)
    else:
        for outcome in copy_many(context, tasks):
            count(outcome.receipt, outcome.error)
    return tally.error()


class _Results:
    """What the receipts of a copy say together; too many failures stop it.

    Attributes:
        counts: Receipts by status.
        failures: Failures by reason.
        ways: Which way the bytes took.
        too_many_errors: The error of a copy that was stopped because of them.
        hint: A sentence for somebody whose SRC names nothing.
    """

    def __init__(self, max_errors: int | None, stop: StopEvent) -> None:
        if max_errors is not None and max_errors < 1:
            raise UsageError(detail=f"--max-errors={max_errors} is not at least 1.")
        self.counts = Counter[str]()
        self.failures = FailureGroups()
        self.ways = Ways()
        self.too_many_errors: TransferError | None = None
        self.hint = ""
        self._max_errors = max_errors
        self._stop = stop
        self._matched = self._is_missing = self._is_usage_error = False

    def look_near(self, objects: ObjectSource, source: S3Uri) -> None:
        """Look for what SRC may have meant, if it names nothing."""
        if not self.counts or (self._is_missing and not source.is_prefix):
            self.hint = near_source(objects, source)

    def add(self, receipt: Receipt, error: TransferError | None = None) -> None:
        """Count a receipt; ``error`` is the cause of a failure, where it is known."""
        self.counts[receipt.status] += 1
        self.ways.add(receipt)
        if receipt.status == FAILED_STATUS:
            self.failures.add(receipt.key, receipt.reason)
            log.warning("%r failed: %s", receipt.key, receipt.reason)
        self._matched |= code_of(receipt.reason) not in FILTERED
        self._is_missing = isinstance(error, ObjectNotFound)
        self._is_usage_error |= isinstance(error, UsageError)
        if self._max_errors and self.failures.count >= self._max_errors and not self.too_many_errors:
            self.too_many_errors = TransferError(
                detail=f"Stopped after {count_text(self.failures.count, 'failed object')} (--max-errors). Run again: "
                "the command sends the rest."
            )
            self._stop.set()

    def end(self, *, failed: bool, quiet: bool) -> int:
        """Return the command's exit status; it is never told without a word."""
        if self._is_usage_error:
            return USAGE_ERROR
        if failed:
            return FAILED
        if not self._matched and quiet:
            print_message(NO_MATCH)
        return OK if self._matched else NOTHING_MATCHED


def plan(options: argparse.Namespace, stop: StopEvent) -> int:
    """Print what a copy would do; nothing is copied."""
    # The other commands of one object pay for the import of planning only here.
    from s3_to_azure.cli.plan_output import (  # noqa: PLC0415
        PlannedObject,
        make_temporary_plan,
        matches_nothing,
        plan_settings,
        plan_text,
    )

    selection, destination = _addresses(options)
    source = selection.source
    planning = plan_settings(options, source, destination)
    rate = parse_rate(options.rate, name="--rate")
    settings = CopySettings(connections=1, objects_at_once=options.objects_at_once)
    hint, notes = "", list[str]()
    with (
        open_stores(options, source, destination, settings, stop, selection.urls) as stores,
        ResultPrinter(json=options.json, quiet=options.quiet) as printer,
    ):

        def print_object(planned: PlannedObject) -> None:
            printer.print(planned)

        def make() -> "Plan":
            nonlocal hint
            with (
                stores.transfer_context(settings, Progress(), stop) as context,
                stores.completed(context, source, notes.append) as completed,
                stores.inventoried(context, source, notes.append) as inventory,
            ):
                made = make_temporary_plan(
                    context,
                    source,
                    planning,
                    keys=selection.keys(),
                    completed=completed,
                    inventory=inventory,
                    create_container=options.create_container,
                    on_object=print_object if options.list else None,
                )
                if not made.listed.objects:
                    hint = near_source(context.source, source)
                return made

        made = run_stoppable(make, stop, grace_s=TASK_GRACE_S)
    for note in notes:
        print_message(note)
    if not (options.list and options.json):
        print_text(plan_text(made, rate_bytes_s=rate, as_json=options.json), json=options.json)
    if not matches_nothing(made):
        return OK
    print_message(hint or NO_MATCH)
    return NOTHING_MATCHED


def verify(options: argparse.Namespace, stop: StopEvent) -> int:
    """Read blobs back, compare them with their objects, and print the results."""
    selection, destination = _addresses(options)
    source, filters = selection.source, _filters(options, selection)
    settings = CopySettings(
        objects_at_once=options.objects_at_once,
        connections=1,
        refused_names=options.refused_names,
        fidelity=Fidelity(etag_is_md5=options.etag_is_md5),
    )
    counts = Counter[str]()
    hint, notes = "", list[str]()
    with (
        open_stores(options, source, destination, settings, stop, selection.urls) as stores,
        ResultPrinter(json=options.json, quiet=options.quiet) as printer,
    ):

        def verify_all() -> None:
            nonlocal hint
            with (
                stores.transfer_context(settings, Progress(), stop) as context,
                threads_for_results(settings.objects_at_once, stop) as pool,
            ):
                context.check_access(source.bucket)
                with stores.completed(context, source, notes.append) as completed:
                    tasks = copy_tasks(context, selection, destination, filters, completed=completed)
                    for result in _map_in_order(
                        pool, lambda task: verify_object(context, task), tasks, window=4 * settings.objects_at_once
                    ):
                        counts[result.status] += 1
                        printer.print(result)
                if not counts:
                    hint = near_source(context.source, source)

        run_stoppable(verify_all, stop, grace_s=TASK_GRACE_S)
    if not options.quiet:
        print_verify_summary(counts)
    elif not counts:
        print_message(NO_MATCH)
    for note in (*notes, hint):
        if note:
            print_message(note)
    if not counts:
        return NOTHING_MATCHED
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
    context: TransferContext,
    selection: Selection,
    destination: AzureUri,
    filters: Filters | None = None,
    *,
    completed: Completed | None = None,
) -> Iterator[CopyTask]:
    """Yield the tasks in the order of the key list or of S3's listing, and count each in the progress."""
    source, keys = selection.source, selection.keys()
    if keys is not None and completed:
        yield from _tasks_of_keys(context, keys, source, destination, completed)
    elif keys is not None:
        for key in keys:
            yield _copy_task(context, source, destination, key, None)
    else:
        listing = context.source.list(source.bucket, source.key)
        for listed in with_retries(listing, context.retrier, f"list s3://{source.bucket}"):
            found = completed(listed) if completed else listed
            if not filters or not filters.reason_to_skip(found):
                yield _copy_task(context, source, destination, found.key, found)


def _tasks_of_keys(
    context: TransferContext, keys: Iterator[str], source: S3Uri, destination: AzureUri, completed: Completed
) -> Iterator[CopyTask]:
    """Look up each key first: the report's checksum is bound to its ETag."""
    from s3_to_azure.planning.key_list import look_up  # noqa: PLC0415

    at_once = context.settings.objects_at_once
    objects = look_up(keys, context.source, context.retrier, bucket=source.bucket, at_once=at_once)
    for listed in map(completed, objects):
        known = None if listed.problem or listed.etag == NO_ETAG else listed
        yield _copy_task(context, source, destination, listed.key, known)


def _copy_task(
    context: TransferContext, source: S3Uri, destination: AzureUri, key: str, listed: ListedObject | None
) -> CopyTask:
    context.progress.add(objects_total=1, bytes_total=listed.size_bytes if listed else 0)
    mapped = context.settings.refused_names == MAP
    return CopyTask(source.bucket, key, destination.blob_for(source, key, mapped=mapped), listed=listed)


def _addresses(options: argparse.Namespace) -> tuple[Selection, AzureUri]:
    return read_selection(options), parse_destination(options.destination, name="DST")


def _filters(options: argparse.Namespace, selection: Selection) -> Filters:
    """Return the filters.

    Raises:
        UsageError: SRC is not a prefix whose listing they select from.
    """
    filters = filters_from(options)
    if filters != Filters() and not selection.is_listed:
        raise UsageError(
            detail="--include, --exclude and the other filters select among all objects below a prefix: "
            "end SRC in '/', and leave out --keys-from and --urls-from."
        )
    return filters


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
