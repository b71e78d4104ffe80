"""``s3-to-azure ls``: objects of S3, or blobs of Azure with what their metadata says of the copy."""

import argparse
import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
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
from s3_to_azure.transfer.watchdog import StopEvent

_PAGE: Final = 1_000
_CONNECTIONS: Final = 1
_UNKNOWN_TIME: Final = datetime.fromtimestamp(0, UTC)

_Entry = Mapping[str, Any]


def list_names(options: argparse.Namespace, stop: StopEvent) -> int:
    """Print a line for each object or blob below SRC, and their number and size."""
    filters = filters_from(options)
    retrier = Retrier(RetryBudget(), stop)
    with ExitStack() as opened:
        if options.source.startswith("s3:"):
            source = parse_source(options.source, name="SRC")
            bucket = opened.enter_context(open_source(options, stop, connections=_CONNECTIONS))
            retrier.call("look up the bucket", lambda: bucket.check(source.bucket))
            listing = with_retries(bucket.list(source.bucket, source.key), retrier, f"list {options.source}")
            entries = (_of_object(item) for item in listing if not filters.reason_to_skip(item))
            hint: Callable[[], str] = lambda: near_source(bucket, source)  # noqa: E731
        else:
            place = parse_destination(options.source, name="SRC")
            container = opened.enter_context(open_container(options, stop, place, connections=_CONNECTIONS))
            retrier.call("look up the container", container.check)
            blobs = with_retries(container.list(place.path), retrier, f"list {options.source}")
            entries = (_of_blob(item) for item in blobs if not _is_left_out(item, filters))
            hint = str
        count, size_bytes = _print(entries, as_json=options.json)
        near = "" if count else hint()
    if not options.quiet or not count:
        print_message(f"{count_text(count, 'object')}, {size_text(size_bytes)}.")
    if near:
        print_message(near)
    return OK if count else NOTHING_MATCHED


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
