"""An object's version from the headers of a GET or HEAD, and whether a body is the requested one."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from s3_to_azure.model.errors import SourceChanged, UnexpectedResponse
from s3_to_azure.model.objects import ContentHeaders, ObjectVersion
from s3_to_azure.stores.http.headers import by_lower_name
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


def _latin1(text: str) -> str:
    """Return a text as HTTP clients show its UTF-8 bytes."""
    return text.encode().decode("latin-1")


@pytest.mark.parametrize(
    ("sent", "given"),
    [
        ("plain", "plain"),
        (_latin1("Größe 日本 Å…"), "Größe 日本 Å…"),
        # Latin-1 itself, which no UTF-8 text looks like.
        ("Gr\xf6\xdfe", "Größe"),
        ("=?UTF-8?Q?Gr=C3=B6=C3=9Fe?=", "Größe"),
        ("=?utf-8?b?5pel5pys?= =?UTF-8?B?5pel5pys?=", "日本日本"),
        # One character divided between two words.
        ("=?UTF-8?B?5pc=?= =?UTF-8?B?pQ==?=", "日"),
        # The example of S3's documentation: UTF-8 that S3 has read as Latin-1.
        ("=?UTF-8?B?w4PChE3Dg8KEWsODwpXDg8KRIFMz?=", "ÄMÄZÕÑ S3"),
        ("=?ISO-8859-1?Q?caf=E9?=", "café"),
        ("=?X-NONSENSE?Q?caf=E9?=", "=?X-NONSENSE?Q?caf=E9?="),
        ("=?UTF-8?Q?caf=E9?=", "=?UTF-8?Q?caf=E9?="),
        ("=?UTF-8?B?5?=", "=?UTF-8?B?5?="),
        ("see =?UTF-8?Q?Gr=C3=B6=C3=9Fe?=", "see =?UTF-8?Q?Gr=C3=B6=C3=9Fe?="),
        ("=?a?b=?c", "=?a?b=?c"),
    ],
)
def test_metadata_is_what_was_given_to_the_store(sent: str, given: str) -> None:
    """Stores send raw UTF-8 or encoded words; what is neither is kept as it came."""
    assert parse_version("b", "k", {**HEADERS, "x-amz-meta-title": sent}).metadata == {"title": given}


def test_metadata_that_s3_cannot_send_is_counted() -> None:
    """Absent is none; a value that is no number is not taken for none."""
    assert parse_version("b", "k", HEADERS).metadata_missing == 0
    assert parse_version("b", "k", {**HEADERS, "x-amz-missing-meta": "2"}).metadata_missing == 2
    with pytest.raises(UnexpectedResponse, match="x-amz-missing-meta"):
        parse_version("b", "k", {**HEADERS, "x-amz-missing-meta": "some"})


def test_repeated_headers_lose_no_value() -> None:
    """They are one list; of a header that has one value only, a list is not valid."""
    twice = [*HEADERS.items(), ("X-Amz-Meta-List", "one"), ("x-amz-meta-list", "two"), ("Cache-Control", "no-cache")]
    found = parse_version("b", "k", by_lower_name([*twice, ("cache-control", "private")]))
    assert found.metadata == {"list": "one, two"}
    assert found.headers.cache_control == "no-cache, private"
    assert parse_version("b", "k", by_lower_name([*HEADERS.items(), *HEADERS.items()])) == VERSION


@pytest.mark.parametrize("name", ["ETag", "Content-Length", "Last-Modified"])
def test_a_header_that_says_two_things_is_refused(name: str) -> None:
    """Which of them is true cannot be known."""
    other = {"ETag": '"other"', "Content-Length": "11", "Last-Modified": "Sat, 03 Jan 2026 03:04:05 GMT"}
    headers = [*HEADERS.items(), (name, other[name])]
    with pytest.raises(UnexpectedResponse, match=name):
        parse_version("b", "k", by_lower_name(headers))


SHA256 = "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU="


def test_serial_hashes_come_after_what_is_folded_and_the_etag() -> None:
    """Over the object's bytes, or over parts; a text without parts is none of the object where S3 says COMPOSITE."""
    stored = {"x-amz-checksum-sha256": SHA256, "x-amz-checksum-xxhash64": "jLhB20Dmroc="}
    (sha256, xxhash64) = parse_version("b", "k", {**HEADERS, **stored}).weaker
    assert (sha256.algorithm, sha256.parts, xxhash64.algorithm) == ("sha256", 0, "xxhash64")
    parts = {"x-amz-checksum-sha256": f"{SHA256}-3", "x-amz-checksum-type": "COMPOSITE"}
    assert parse_version("b", "k", {**HEADERS, **parts}).weaker == (replace(sha256, parts=3),)
    odd = {"x-amz-checksum-sha256": SHA256, "x-amz-checksum-type": "COMPOSITE"}
    assert parse_version("b", "k", {**HEADERS, **odd}).weaker == ()
    both = {"x-amz-checksum-crc32c": "yZRlqg==", "x-amz-checksum-sha256": SHA256, "etag": f'"{"0" * 32}"'}
    found = parse_version("b", "k", {**HEADERS, **both})
    assert found.checksum is not None
    assert [each.algorithm for each in (found.checksum, *found.weaker)] == ["crc32c", "md5", "sha256"]
