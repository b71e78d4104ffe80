"""Headers are read strictly: valid or absent, never a default."""

from datetime import UTC, datetime

import pytest

from s3_to_azure.model.errors import UnexpectedResponse
from s3_to_azure.stores.http.headers import ContentRange
from s3_to_azure.stores.s3.headers import ResponseHeaders


def headers(**values: str) -> ResponseHeaders:
    """Return headers; underscores in their names are hyphens."""
    return ResponseHeaders("'s3://b/k'", {name.replace("_", "-"): value for name, value in values.items()})


def test_absent_headers_are_none() -> None:
    """No length is no 0, and no date is no year 1970."""
    absent = headers()
    assert (absent.content_length(), absent.content_range(), absent.last_modified()) == (None, None, None)
    assert absent.count("x-amz-mp-parts-count") is None


@pytest.mark.parametrize("text", ["", "-1", "+1", "1.0", "0x10", "1,1", " 1", "\u0661", "9" * 20])
def test_number_that_is_not_valid_names_its_header(text: str) -> None:
    """It is not taken for absent either."""
    with pytest.raises(UnexpectedResponse, match="Content-Length"):
        headers(content_length=text).content_length()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("bytes 0-0/1", ContentRange(0, 1, 1)),
        ("bytes 5-9/10", ContentRange(5, 10, 10)),
        ("bytes 5-9/*", ContentRange(5, 10, None)),
        ("bytes */0", ContentRange(0, 0, 0)),
    ],
)
def test_content_range(text: str, expected: ContentRange) -> None:
    """In each form of RFC 9110."""
    assert headers(content_range=text).content_range() == expected


@pytest.mark.parametrize("text", ["", "bytes", "bytes 0-/1", "bytes -1-2/3", "lines 0-1/2", "bytes 0-0/1, bytes 0-0/2"])
def test_content_range_that_is_not_valid_is_named(text: str) -> None:
    """It is not taken for absent."""
    with pytest.raises(UnexpectedResponse, match="Content-Range"):
        headers(content_range=text).content_range()


@pytest.mark.parametrize("text", ['"abc"', "abc", '"d41d8cd98f00b204e9800998ecf8427e-2"'])
def test_etag_with_and_without_quotes(text: str) -> None:
    """Some stores send none."""
    assert headers(etag=text).etag() == text.strip('"')


@pytest.mark.parametrize("text", [None, "", '""', 'W/"abc"', "W/abc", '"a"b"', '"a b"', '"\u00e9"', "e" * 257])
def test_etag_that_cannot_pin_a_version_is_named(text: str | None) -> None:
    """Absent, empty, weak, or not valid in If-Match."""
    with pytest.raises(UnexpectedResponse, match="ETag"):
        (headers() if text is None else headers(etag=text)).etag()


@pytest.mark.parametrize(
    "text",
    [
        "Fri, 02 Jan 2026 03:04:05 GMT",
        "Fri, 02 Jan 2026 03:04:05 +0000",
        "2026-01-02T03:04:05Z",
        "2026-01-02T03:04:05",
        "2026-01-02T04:04:05+01:00",
    ],
)
def test_last_modified(text: str) -> None:
    """The form of HTTP, one of mail, and that of listings: some servers send these."""
    assert headers(last_modified=text).last_modified() == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "yesterday",
        "Mon, 01 Jan 0001 00:00:00 GMT",
        "Fri, 32 Jan 2026 03:04:05 GMT",
        "1767323045",
        "0001-01-01T00:00:00Z",
        "2026-13-02T03:04:05Z",
    ],
)
def test_last_modified_that_is_not_a_date_is_named(text: str) -> None:
    """The year 1 is Go's zero, which a library reads as 2001."""
    with pytest.raises(UnexpectedResponse, match="Last-Modified"):
        headers(last_modified=text).last_modified()


def test_decompressed_response_is_refused_in_words() -> None:
    """Google decompresses objects that are stored as gzip for some clients."""
    with pytest.raises(UnexpectedResponse, match="decompressed what it holds as gzip"):
        headers(x_goog_stored_content_encoding="gzip").refuse_decompressed()


@pytest.mark.parametrize("stored", ["gzip", "identity"])
def test_response_as_it_is_stored_does_not_raise(stored: str) -> None:
    """An object may be stored as gzip."""
    sent = {} if stored == "identity" else {"content_encoding": stored}
    headers(x_goog_stored_content_encoding=stored, **sent).refuse_decompressed()
