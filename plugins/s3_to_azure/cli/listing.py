"""``s3-to-azure ls``: objects of S3, or blobs of Azure with what their metadata says of the copy."""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from s3_to_azure.cli.hints import near_source
from s3_to_azure.cli.output import NOTHING_MATCHED, OK, print_message, print_text
from s3_to_azure.cli.settings import filters_from
from s3_to_azure.cli.stores import open_container, open_source
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.formatting import count_text, size_text
from s3_to_azure.model.objects import BlobState, ListedObject
from s3_to_azure.model.retry import Retrier, with_retries
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.model.uris import parse_destination, parse_source
from s3_to_azure.transfer.watchdog import TASK_GRACE_S, StopEvent, run_stoppable

_PAGE: Final = 1_000
_CONNECTIONS: Final = 1
_UNKNOWN_TIME: Final = datetime.fromtimestamp(0, UTC)

_Entry = Mapping[str, Any]


def list_names(options: argparse.Namespace, stop: StopEvent) -> int:
    """Print a line for each object or blob below SRC, and their number and size."""
    filters = filters_from(options)
    list_all = _list_objects if options.source.startswith("s3:") else _list_blobs
    with list_all(options, stop, filters) as (entries, hint):

        def print_all() -> tuple[int, int, str]:
            count, size_bytes = _print(entries, as_json=options.json)
            return count, size_bytes, "" if count else hint()

        count, size_bytes, near = run_stoppable(print_all, stop, grace_s=TASK_GRACE_S)
    if not options.quiet or not count:
        print_message(f"{count_text(count, 'object')}, {size_text(size_bytes)}.")
    if near:
        print_message(near)
    return OK if count else NOTHING_MATCHED


_Listing = tuple[Iterator[_Entry], Callable[[], str]]
"""The entries, which are requested as they are read, and what finds a hint if there is none."""


@contextmanager
def _list_objects(options: argparse.Namespace, stop: StopEvent, filters: Filters) -> Iterator[_Listing]:
    source = parse_source(options.source, name="SRC")
    retrier = Retrier(RetryBudget(), stop)
    with open_source(options, stop, connections=_CONNECTIONS) as bucket:

        def entries() -> Iterator[_Entry]:
            retrier.call("look up the bucket", lambda: bucket.check(source.bucket))
            listing = with_retries(bucket.list(source.bucket, source.key), retrier, f"list {options.source}")
            yield from (_of_object(item) for item in listing if not filters.reason_to_skip(item))

        yield entries(), lambda: near_source(bucket, source)


@contextmanager
def _list_blobs(options: argparse.Namespace, stop: StopEvent, filters: Filters) -> Iterator[_Listing]:
    place = parse_destination(options.source, name="SRC")
    retrier = Retrier(RetryBudget(), stop)
    with open_container(options, stop, place, connections=_CONNECTIONS) as container:

        def entries() -> Iterator[_Entry]:
            retrier.call("look up the container", container.check)
            listing = with_retries(container.list(place.path), retrier, f"list {options.source}")
            yield from (_of_blob(item) for item in listing if not _is_left_out(item, filters))

        yield entries(), str


def _print(entries: Iterator[_Entry], *, as_json: bool) -> tuple[int, int]:
    count = size_bytes = 0
    while page := list(islice(entries, _PAGE)):
        lines = [json.dumps(entry, ensure_ascii=False) if as_json else _line(entry) for entry in page]
        print_text("".join(f"{line}\n" for line in lines), json=as_json)
        count += len(page)
        size_bytes += sum(entry["size_bytes"] for entry in page)
    return count, size_bytes


def _line(entry: _Entry) -> str:
    *columns, name = (value for field, value in entry.items() if field not in ("size_bytes", "etag"))
    shown = "  ".join(f"{value or '-':{width}}" for value, width in zip(columns, (25, 12), strict=True))
    return f"{entry['size_bytes']:>16,}  {shown}  {name!r}"


def _of_object(listed: ListedObject) -> _Entry:
    return {
        "size_bytes": listed.size_bytes,
        "last_modified": listed.last_modified.isoformat(timespec="seconds"),
        "storage_class": listed.storage_class,
        "etag": listed.etag,
        "key": listed.key,
    }


def _of_blob(blob: BlobState) -> _Entry:
    modified = blob.source_last_modified
    return {
        "size_bytes": blob.size_bytes,
        "source_last_modified": modified.isoformat(timespec="seconds") if modified else "",
        "verified_by": blob.verified_by,
        "etag": blob.etag,
        "blob": blob.name,
    }


def _is_left_out(blob: BlobState, filters: Filters) -> bool:
    modified = blob.source_last_modified or _UNKNOWN_TIME
    return filters.reason_to_skip(ListedObject("", blob.name, blob.etag, blob.size_bytes, modified)) is not None
