"""The command line: the engine without Airflow."""

import argparse
import json
import logging
import os
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing, contextmanager
from types import FrameType
from typing import Any, Final, get_args

from s3_to_azure import __version__
from s3_to_azure.cli_addresses import Destination, Source, parse_destination, parse_source
from s3_to_azure.engine.checksums import INTEGRITY
from s3_to_azure.engine.config import CopySettings, parse_size
from s3_to_azure.engine.errors import Cancelled, TransferError, WrongUse
from s3_to_azure.engine.fidelity import Archived, Fidelity, OversizedMetadata, RestoreTier
from s3_to_azure.engine.filters import Filters
from s3_to_azure.engine.listing import patiently
from s3_to_azure.engine.many import Tally, copy_many
from s3_to_azure.engine.model import REFUSED_NAMES, ListedObject, Overwrite, Receipt, RefusedNames
from s3_to_azure.engine.name_mapping import unmap_blob
from s3_to_azure.engine.progress import Progress, Snapshot
from s3_to_azure.engine.verify import verify_object
from s3_to_azure.engine.workshop import CopyTask, Workshop

OK: Final = 0
FAILED: Final = 1
WRONG_USE: Final = 2

_DESCRIPTION: Final = """\
Copy objects from AWS S3 to Azure Blob Storage: streamed, proven, resumable.

SRC  s3://bucket/key         one object
     s3://bucket/prefix/     all objects below (also s3://bucket)
DST  az://container/blob     the blob's name; for many objects, or ending in "/", the prefix below which they go
     https://account.blob.core.windows.net/container/blob

Credentials come from the usual places: boto3's chain for S3 (AWS_ENDPOINT_URL too); for Azure
AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, or
DefaultAzureCredential; S3_SSE_CUSTOMER_KEY (base64) for objects under a customer key. A copy that was interrupted
sends only what is missing when it is run again.
"""
_EPILOG: Final = "Exit status: 0 every object is accounted for, 1 something failed, 2 wrong use or configuration."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; return the exit status."""
    options = command_line().parse_args(arguments)
    logging.basicConfig(
        level=logging.DEBUG if options.verbose > 1 else logging.INFO if options.verbose else logging.ERROR,
        format="%(asctime)s %(levelname)s %(message)s",
        stream=sys.stderr,
    )
    stop = threading.Event()
    caught = _stop_on_signals(stop)
    try:
        command: Callable[[argparse.Namespace, threading.Event], int] = options.command
        return command(options, stop)
    except WrongUse as error:
        print(f"s3-to-azure: {error}", file=sys.stderr)
        return WRONG_USE
    except Cancelled as error:
        print(f"s3-to-azure: {error}", file=sys.stderr)
        return 128 + (caught[0] if caught else signal.SIGINT)
    except TransferError as error:
        print(f"s3-to-azure: {error}", file=sys.stderr)
        return FAILED
    except BrokenPipeError:
        # Whoever read our lines has gone; a later flush at exit must not complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def copy(options: argparse.Namespace, stop: threading.Event) -> int:
    """Copy one object or many; print receipts."""
    # Planning is for many objects, and costs its import only here.
    from s3_to_azure.cli_listing import copy_below, filters_given  # noqa: PLC0415

    source, destination = parse_source(options.source), parse_destination(options.destination)
    settings, filters = _settings(options), filters_given(options)
    if filters != Filters() and (options.keys_from or not source.is_prefix):
        raise WrongUse(what="--include, --exclude and the other filters go with all below a prefix: SRC ends in '/'.")
    progress = Progress()
    with _workshop(options, source, destination, settings, progress, stop) as shop, _display(options, progress):
        shop.check(source.bucket, create_container=options.create_container)
        counts, wrong_use = Counter[str](), False
        started = time.monotonic()

        def tell(receipt: Receipt) -> None:
            counts[receipt.status] += 1
            _print_result(options, receipt.as_dict())

        if source.is_prefix and not options.keys_from:
            error = copy_below(shop, source, destination, filters, tell)
        else:
            tally = Tally()
            for outcome in copy_many(shop, _tasks(shop, options, source, destination)):
                tally.add(outcome)
                wrong_use |= isinstance(outcome.error, WrongUse)
                tell(outcome.receipt)
            error = tally.error()
    _print_summary(counts, progress.snapshot(), time.monotonic() - started)
    if error:
        print(f"s3-to-azure: {error}", file=sys.stderr)
    return WRONG_USE if wrong_use else FAILED if error else OK


def plan(options: argparse.Namespace, stop: threading.Event) -> int:
    """Say what a copy would do: nothing is read and nothing is written."""
    # Planning is for many objects, and costs its import only here.
    from s3_to_azure.cli_plan import lines, plan_settings, survey  # noqa: PLC0415

    source, destination = parse_source(options.source), parse_destination(options.destination)
    wanted = plan_settings(options, source, destination)
    rate = parse_size(options.rate, name="--rate")
    settings = CopySettings(lanes=1, objects_at_once=options.objects_at_once)
    with _workshop(options, source, destination, settings, Progress(), stop) as shop:
        shop.check(source.bucket)
        found = survey(shop, source, wanted, keys_from=options.keys_from, rate_bytes_s=rate)
    if options.json:
        print(json.dumps(found, ensure_ascii=False))
    else:
        print("\n".join(lines(found)))
    return OK


def verify(options: argparse.Namespace, stop: threading.Event) -> int:
    """Read blobs back and compare them with S3; print the results."""
    source, destination = parse_source(options.source), parse_destination(options.destination)
    settings = CopySettings(objects_at_once=options.objects_at_once, lanes=1, refused_names=options.refused_names)
    wrong = equal = total = 0
    with _workshop(options, source, destination, settings, Progress(), stop) as shop:
        shop.check(source.bucket)
        with ThreadPoolExecutor(settings.objects_at_once) as crew:
            tasks = _tasks(shop, options, source, destination)
            for result in _windowed(crew, lambda task: verify_object(shop, task), tasks, 4 * settings.objects_at_once):
                total += 1
                wrong += result.status not in ("equal", "skipped")
                equal += result.status == "equal"
                _print_result(options, result.as_dict())
    print(f"s3-to-azure: {equal:,} of {total:,} blobs are equal to their objects.", file=sys.stderr)
    return FAILED if wrong else OK


def keys_of(options: argparse.Namespace, _stop: threading.Event) -> int:
    """Print the key of each blob's name, one a line; as JSON texts where a line would not hold it."""
    for blob in options.blobs:
        name = unmap_blob(blob)
        print(name if name.isprintable() else json.dumps(name, ensure_ascii=False))
    return OK


def _windowed(
    crew: ThreadPoolExecutor, function: Callable[[CopyTask], Any], tasks: Iterator[CopyTask], most: int
) -> Iterator[Any]:
    """Map in order with at most ``most`` tasks begun, so that any number takes constant memory."""
    waiting: list[Any] = []
    for task in tasks:
        waiting.append(crew.submit(function, task))
        if len(waiting) >= most:
            yield waiting.pop(0).result()
    for future in waiting:
        yield future.result()


def _tasks(shop: Workshop, options: argparse.Namespace, source: Source, destination: Destination) -> Iterator[CopyTask]:
    if options.keys_from:
        from s3_to_azure.cli_listing import keys_given  # noqa: PLC0415

        for key in keys_given(options.keys_from, source):
            yield _task(shop, source, destination, key, None)
    elif source.is_prefix:
        listing = shop.source.list(source.bucket, source.key)
        for listed in patiently(listing, shop.retrier, f"list s3://{source.bucket}"):
            yield _task(shop, source, destination, listed.key, listed)
    else:
        yield _task(shop, source, destination, source.key, None)


def _task(shop: Workshop, source: Source, destination: Destination, key: str, listed: ListedObject | None) -> CopyTask:
    shop.progress.add(objects_total=1, bytes_total=listed.size_bytes if listed else 0)
    mapped = shop.settings.refused_names == "map"
    return CopyTask(source.bucket, key, destination.blob_for(source, key, mapped=mapped), listed=listed)


@contextmanager
def _workshop(
    options: argparse.Namespace,
    source: Source,
    destination: Destination,
    settings: CopySettings,
    progress: Progress,
    stop: threading.Event,
) -> Iterator[Workshop]:
    if options.keys_from and not source.is_prefix:
        raise WrongUse(what="With --keys-from, SRC is a bucket or a prefix ending in '/', below which the keys lie.")
    # The SDKs cost a second to import; --help and wrong arguments need none of them.
    from s3_to_azure.stores import environment  # noqa: PLC0415
    from s3_to_azure.stores.small_lane import small_lane  # noqa: PLC0415

    connections = settings.lanes + settings.objects_at_once
    verify_tls = not options.no_verify_tls
    variables = environment.current()
    bucket = environment.s3_source(
        variables,
        lanes=connections,
        verify=verify_tls,
        requester_pays=options.request_payer,
        version_id=options.version_id,
    )
    with closing(bucket):
        container = environment.azure_container(
            variables,
            destination.container,
            account_url=destination.account_url,
            lanes=connections,
            verify=verify_tls,
        )
        with (
            closing(container),
            Workshop(
                bucket,
                container,
                settings,
                cancelled=stop,
                progress=progress,
                small_lane=small_lane(bucket, container),
            ) as shop,
        ):
            yield shop


def _settings(options: argparse.Namespace) -> CopySettings:
    return CopySettings(
        overwrite=options.overwrite,
        integrity=options.integrity,
        fidelity=Fidelity.of(
            {
                "archived": options.archived,
                "restore_days": options.restore_days,
                "restore_tier": options.restore_tier,
                "tags": options.tags,
                "tiers": dict(map(_tier, options.tier)),
                "oversized_metadata": options.oversized_metadata,
            }
        ),
        refused_names=options.refused_names,
        block_bytes=parse_size(options.block_size, name="--block-size") if options.block_size else None,
        memory_budget_bytes=parse_size(options.memory_budget, name="--memory-budget"),
        objects_at_once=options.objects_at_once,
        lanes=options.lanes,
        bandwidth_bytes_s=(
            parse_size(options.bandwidth_limit, name="--bandwidth-limit") if options.bandwidth_limit else None
        ),
    )


def _tier(text: str) -> tuple[str, str]:
    storage_class, equals, tier = text.partition("=")
    if not equals:
        raise WrongUse(what=f"--tier {text!r} is not CLASS=TIER, such as STANDARD_IA=Cool.")
    return storage_class, tier


def _print_result(options: argparse.Namespace, result: dict[str, Any]) -> None:
    if options.json:
        print(json.dumps(result, ensure_ascii=False, separators=(",", ":")), flush=True)
        return
    proof = f" [{result['verified_by']}]" if result["verified_by"] else ""
    reason = f": {result['reason']}" if result["reason"] else ""
    print(f"{result['status']:9} {result['size_bytes']:>16,}  {result['key']!r}{proof}{reason}", flush=True)


def _print_summary(counts: Counter[str], totals: Snapshot, seconds: float) -> None:
    told = ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items())) or "no object there"
    print(
        f"s3-to-azure: {told}; {totals.bytes_sent:,} bytes sent in {seconds:,.1f} s "
        f"({totals.bytes_sent / max(seconds, 0.001) / 1e6:,.1f} MB/s), {totals.bytes_resumed:,} bytes were in Azure "
        f"already, {totals.retries:,} retries.",
        file=sys.stderr,
    )


def _display(options: argparse.Namespace, progress: Progress) -> AbstractContextManager[None]:
    from s3_to_azure.progress_bar import shown  # noqa: PLC0415

    return shown(progress, quiet=options.quiet)


def _stop_on_signals(stop: threading.Event) -> list[int]:
    caught: list[int] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        if stop.is_set():
            # A second Ctrl-C means now.
            os._exit(128 + number)
        caught.append(number)
        stop.set()

    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, handle)
        signal.signal(signal.SIGTERM, handle)
    return caught


def command_line() -> argparse.ArgumentParser:
    """Return the parser of all commands; the documentation reads it too."""
    parser = argparse.ArgumentParser(
        prog="s3-to-azure",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    copying = _command(commands, "copy", copy, "copy what is new or changed, prove it, print a receipt for each object")
    copying.add_argument(
        "--overwrite",
        choices=("if_changed", "never", "always"),
        default="if_changed",
        help="what to do where a blob is there already (default: %(default)s: copy unless it is this very version)",
    )
    copying.add_argument(
        "--integrity",
        choices=INTEGRITY,
        default="auto",
        help="the weakest proof to accept (default: %(default)s: the strongest that S3's checksums allow)",
    )
    copying.add_argument("--block-size", metavar="SIZE", help="block size, such as 32MiB (default: by object size)")
    copying.add_argument(
        "--memory-budget", metavar="SIZE", default="256MiB", help="most object data in memory (default: %(default)s)"
    )
    copying.add_argument(
        "--lanes", metavar="N", type=int, default=16, help="most blocks in flight (default: %(default)s)"
    )
    copying.add_argument(
        "--bandwidth-limit", metavar="SIZE", help="most bytes a second, such as 50MiB (default: no limit)"
    )
    _add_filters(copying)
    _add_fidelity(copying)
    copying.add_argument("--create-container", action="store_true", help="make the container if it is missing")
    planning = _command(commands, "plan", plan, "say what a copy would do and cost; nothing is moved")
    planning.add_argument("--overwrite", choices=get_args(Overwrite), default="if_changed", help="as for copy")
    _add_archived(planning)
    _add_filters(planning)
    planning.add_argument("--max-tasks", metavar="N", type=int, default=500, help="most batches (default: %(default)s)")
    planning.add_argument(
        "--rate", metavar="SIZE", default="200MB", help="bytes a second to reckon with (default: %(default)s)"
    )
    _command(commands, "verify", verify, "read blobs back from Azure and compare them with S3's checksums")
    naming = commands.add_parser("key", help="undo --refused-names=map: print the keys of blobs' names")
    naming.add_argument("blobs", metavar="BLOB", nargs="+", help="the blob's name, without DST's prefix")
    naming.set_defaults(command=keys_of, verbose=0)
    return parser


def _add_filters(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--include", metavar="PATTERN", action="append", default=[], help="only keys like this")
    parser.add_argument("--exclude", metavar="PATTERN", action="append", default=[], help="no keys like this")
    parser.add_argument("--min-size", metavar="SIZE", help="no objects below this size, such as 1KiB")
    parser.add_argument("--max-size", metavar="SIZE", help="no objects above this size")
    moment = "such as 2026-01-31T00:00:00+00:00"
    parser.add_argument("--modified-after", metavar="MOMENT", help=f"only objects modified after it, {moment}")
    parser.add_argument("--modified-before", metavar="MOMENT", help="only objects modified before it")
    parser.add_argument(
        "--storage-class",
        metavar="CLASS",
        action="append",
        default=[],
        help="only this class of objects; repeatable",
    )


def _add_archived(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--archived",
        choices=get_args(Archived),
        default=Fidelity().archived,
        help="what to do with archived objects (default: %(default)s; restore: ask S3, and copy in a later run)",
    )


def _add_fidelity(parser: argparse.ArgumentParser) -> None:
    defaults = Fidelity()
    _add_archived(parser)
    parser.add_argument(
        "--restore-days",
        metavar="N",
        type=int,
        default=defaults.restore_days,
        help="how long a restored object stays (default: %(default)s)",
    )
    parser.add_argument(
        "--restore-tier",
        choices=get_args(RestoreTier),
        default=defaults.restore_tier,
        help="how fast S3 restores (default: %(default)s)",
    )
    parser.add_argument("--tags", action="store_true", help="copy tags too (a request each, and permissions)")
    parser.add_argument(
        "--tier",
        metavar="CLASS=TIER",
        action="append",
        default=[],
        help="access tier for objects of a storage class, such as STANDARD_IA=Cool; may be repeated",
    )
    parser.add_argument(
        "--oversized-metadata",
        choices=get_args(OversizedMetadata),
        default=defaults.oversized_metadata,
        help="what to do where metadata is more than a blob holds (default: %(default)s)",
    )


def _command(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    function: Callable[[argparse.Namespace, threading.Event], int],
    summary: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(
        name,
        help=summary,
        description=_DESCRIPTION.replace("Copy objects", summary[0].upper() + summary[1:] + ".\n\nCopy objects", 1),
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("source", metavar="SRC")
    parser.add_argument("destination", metavar="DST")
    parser.add_argument(
        "--keys-from",
        metavar="FILE",
        help="take the keys from FILE, one a line (JSON texts in FILE.jsonl; - for stdin); all must lie below SRC",
    )
    parser.add_argument(
        "--objects-at-once", metavar="N", type=int, default=8, help="objects in flight (default: %(default)s)"
    )
    parser.add_argument(
        "--refused-names",
        choices=get_args(RefusedNames),
        default=REFUSED_NAMES,
        help="what to do with names that Azure refuses (default: %(default)s; map: spell them with ~XX, see `key`)",
    )
    parser.add_argument("--no-verify-tls", action="store_true", help="accept any certificate (only for tests)")
    parser.add_argument("--request-payer", action="store_true", help="the bucket charges whoever reads: agree to it")
    parser.add_argument("--version-id", metavar="ID", help="read this version of the one key, not the current one")
    parser.add_argument("--json", action="store_true", help="print one JSON document per object, nothing else")
    parser.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="log what is done; twice: everything")
    parser.set_defaults(command=function)
    return parser
