"""What each command does: copy, plan, verify, key."""

import argparse
import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from s3_to_azure.cli.output import FAILED, OK, USAGE_ERROR, ResultLines, print_summary
from s3_to_azure.cli.progress_bar import shown
from s3_to_azure.cli.settings import copy_settings, filters_given
from s3_to_azure.cli.stores import opened
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.names import unmap_blob
from s3_to_azure.model.objects import ListedObject, Receipt
from s3_to_azure.model.options import MAP
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.retry import with_retries
from s3_to_azure.model.settings import CopySettings, parse_size
from s3_to_azure.model.uris import AzureUri, S3Uri, parse_destination, parse_source
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.pool import Tally, copy_many
from s3_to_azure.transfer.verify import verify_object


def tasks_of(
    context: TransferContext, options: argparse.Namespace, source: S3Uri, destination: AzureUri
) -> Iterator[CopyTask]:
    """Yield them in the order of the list, or of S3's listing; the progress counts each."""
    if options.keys_from:
        # A list of keys costs its import only here.
        from s3_to_azure.cli.copy_prefix import keys_given  # noqa: PLC0415

        for key in keys_given(options.keys_from, source):
            yield _task(context, source, destination, key, None)
    elif source.is_prefix:
        listing = context.source.list(source.bucket, source.key)
        for listed in with_retries(listing, context.retrier, f"list s3://{source.bucket}"):
            yield _task(context, source, destination, listed.key, listed)
    else:
        yield _task(context, source, destination, source.key, None)


def _task(
    context: TransferContext, source: S3Uri, destination: AzureUri, key: str, listed: ListedObject | None
) -> CopyTask:
    context.progress.add(objects_total=1, bytes_total=listed.size_bytes if listed else 0)
    mapped = context.settings.refused_names == MAP
    return CopyTask(source.bucket, key, destination.blob_for(source, key, mapped=mapped), listed=listed)


def copy(options: argparse.Namespace, stop: threading.Event) -> int:
    """Copy one object or many; print receipts."""
    # Planning is for many objects, and costs its import only here.
    from s3_to_azure.cli.copy_prefix import copy_below  # noqa: PLC0415
    from s3_to_azure.cli.multiprocess import worker_processes  # noqa: PLC0415

    source, destination = parse_source(options.source, name="SRC"), parse_destination(options.destination, name="DST")
    settings, filters = copy_settings(options), filters_given(options)
    below = source.is_prefix and not options.keys_from
    if filters != Filters() and not below:
        raise UsageError(what="--include, --exclude and the other filters go with all below a prefix: SRC ends in '/'.")
    if options.processes != 1 and not below:
        raise UsageError(what="--processes goes with all below a prefix: SRC ends in '/', and there is no --keys-from.")
    progress = Progress()
    with (
        opened(options, source, destination, settings) as stores,
        worker_processes(options.processes, stores, settings) as workers,
        stores.transfer_context(settings, progress, stop) as context,
        shown(progress, quiet=options.quiet),
        ResultLines(json=options.json) as lines,
    ):
        context.check_access(source.bucket, create_container=options.create_container)
        counts, usage_error = Counter[str](), False
        started = time.monotonic()

        def tell(receipt: Receipt) -> None:
            counts[receipt.status] += 1
            lines.add(receipt)

        if below:
            error = copy_below(context, source, destination, filters, tell, workers)
        else:
            tally = Tally()
            for outcome in copy_many(context, tasks_of(context, options, source, destination)):
                tally.add(outcome.receipt, outcome.error)
                usage_error |= isinstance(outcome.error, UsageError)
                tell(outcome.receipt)
            error = tally.error()
    print_summary(counts, progress.snapshot(), time.monotonic() - started)
    if error:
        print(f"s3-to-azure: {error}", file=sys.stderr)
    return USAGE_ERROR if usage_error else FAILED if error else OK


def plan(options: argparse.Namespace, stop: threading.Event) -> int:
    """Say what a copy would do: nothing is read and nothing is written."""
    # Planning is for many objects, and costs its import only here.
    from s3_to_azure.cli.plan_output import make, plan_settings  # noqa: PLC0415
    from s3_to_azure.planning.plan import preview, preview_lines  # noqa: PLC0415

    source, destination = parse_source(options.source, name="SRC"), parse_destination(options.destination, name="DST")
    wanted = plan_settings(options, source, destination)
    rate = parse_size(options.rate, name="--rate")
    settings = CopySettings(connections=1, objects_at_once=options.objects_at_once)
    with (
        opened(options, source, destination, settings) as stores,
        stores.transfer_context(settings, Progress(), stop) as context,
    ):
        context.check_access(source.bucket)
        made = make(context, source, wanted, keys_from=options.keys_from)
    if options.json:
        print(json.dumps(preview(made, rate_bytes_s=rate), ensure_ascii=False))
    else:
        print("\n".join(preview_lines(made, rate_bytes_s=rate)))
    return OK


def verify(options: argparse.Namespace, stop: threading.Event) -> int:
    """Read blobs back and compare them with S3; print the results."""
    source, destination = parse_source(options.source, name="SRC"), parse_destination(options.destination, name="DST")
    settings = CopySettings(objects_at_once=options.objects_at_once, connections=1, refused_names=options.refused_names)
    wrong = equal = total = 0
    with (
        opened(options, source, destination, settings) as stores,
        stores.transfer_context(settings, Progress(), stop) as context,
        ResultLines(json=options.json) as lines,
    ):
        context.check_access(source.bucket)
        with ThreadPoolExecutor(settings.objects_at_once) as workers:
            tasks = tasks_of(context, options, source, destination)
            for result in _windowed(
                workers, lambda task: verify_object(context, task), tasks, 4 * settings.objects_at_once
            ):
                total += 1
                wrong += result.status not in ("equal", "skipped")
                equal += result.status == "equal"
                lines.add(result)
    print(f"s3-to-azure: {equal:,} of {total:,} blobs are equal to their objects.", file=sys.stderr)
    return FAILED if wrong else OK


def keys_of(options: argparse.Namespace, _stop: threading.Event) -> int:
    """Print the key of each blob's name, one a line; as JSON texts where a line would not hold it."""
    for blob in options.blobs:
        name = unmap_blob(blob)
        print(name if name.isprintable() else json.dumps(name, ensure_ascii=False))
    return OK


def _windowed(
    workers: ThreadPoolExecutor, function: Callable[[CopyTask], Any], tasks: Iterator[CopyTask], most: int
) -> Iterator[Any]:
    """Map in order with at most ``most`` tasks begun, so that any number takes constant memory."""
    waiting: list[Any] = []
    for task in tasks:
        waiting.append(workers.submit(function, task))
        if len(waiting) >= most:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()
