"""An object's version from the headers of a GET or HEAD, and whether a body is the requested one."""

from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from s3_to_azure.model.errors import SourceChanged, UnexpectedResponse
from s3_to_azure.model.objects import ContentHeaders, ObjectVersion
from s3_to_azure.stores.s3.responses import check_body, parse_version

HEADERS: Mapping[str, str] = {
    "etag": '"abc"',
    "content-length": "10",
    "last-modified": "Fri, 02 Jan 2026 03:04:05 GMT",
}
VERSION = ObjectVersion("b", "k", "abc", 10, datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))


def test_a_version_has_what_the_headers_say() -> None:
    """And nothing else: what is absent has no value."""
    assert parse_version("b", "k", HEADERS) == VERSION
    more = {"content-encoding": "gzip,aws-chunked", "cache-control": "no-cache", "x-amz-storage-class": "GLACIER"}
    found = parse_version("b", "k", {**HEADERS, **more, "x-amz-meta-a": "1"})
    assert found.headers == ContentHeaders(content_encoding="gzip", cache_control="no-cache")
    assert (found.metadata, found.storage_class) == ({"a": "1"}, "GLACIER")


@pytest.mark.parametrize("name", ["ETag", "Content-Length", "Last-Modified"])
def test_what_a_version_needs_is_never_guessed(name: str) -> None:
    """The error names the header that is absent."""
    headers = {key: text for key, text in HEADERS.items() if key != name.lower()}
    with pytest.raises(UnexpectedResponse, match=f"has no {name}"):
        parse_version("b", "k", headers)


@pytest.mark.parametrize(
    ("status", "headers", "end"),
    [
        (206, {"content-range": "bytes 0-3/10", "content-length": "4"}, 4),
        (200, {"content-range": "bytes 0-3/10"}, 4),
        (200, {"content-length": "10"}, None),
        (200, {"content-range": "bytes 0-9/10"}, None),
    ],
)
def test_the_requested_body_does_not_raise(status: int, headers: Mapping[str, str], end: int | None) -> None:
    """With a length or without one, and with both statuses that stores use."""
    check_body(status, headers, VERSION, VERSION, start=0, end=end)


@pytest.mark.parametrize(
    ("status", "headers", "end"),
    [
        (206, {"content-range": "bytes 0-4/10", "content-length": "5"}, 4),
        (206, {"content-range": "bytes 0-3/11", "content-length": "4"}, 4),
        (206, {"content-range": "bytes 1-4/10", "content-length": "4"}, 4),
        (206, {"content-range": "bytes 0-3/10", "content-length": "5"}, 4),
        (206, {"content-length": "4"}, 4),
        (200, {"content-length": "10"}, 4),
        (200, {"content-length": "9"}, None),
        (206, {"content-range": "bytes 0-9/10"}, None),
    ],
)
def test_a_body_that_is_another_range_is_refused(status: int, headers: Mapping[str, str], end: int | None) -> None:
    """Whatever the status says: an ignored range, another size, another place."""
    with pytest.raises(UnexpectedResponse, match="instead of"):
        check_body(status, headers, VERSION, VERSION, start=0, end=end)


def test_a_body_of_another_version_is_refused() -> None:
    """If-Match was ignored."""
    other = parse_version("b", "k", {**HEADERS, "etag": '"other"'})
    with pytest.raises(SourceChanged):
        check_body(200, {"content-length": "10"}, VERSION, other, start=0, end=None)
