"""The head of a response: one set of rules for all clients."""

import http.client

import pytest

from s3_to_azure.stores.http.heads import (
    MAX_INTERIM_RESPONSES,
    Framing,
    check_rate,
    framing,
    is_interim,
    parse_headers,
    parse_status_line,
)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("HTTP/1.1 200 OK", ("HTTP/1.1", 200, "OK")),
        ("HTTP/1.0 404 Not there", ("HTTP/1.0", 404, "Not there")),
        ("HTTP/1.1 503", ("HTTP/1.1", 503, "")),
        ("HTTP/1.1  200  OK ", ("HTTP/1.1", 200, "OK")),
    ],
)
def test_status_line(line: str, expected: tuple[str, int, str]) -> None:
    """Version, status, and whatever is said of it."""
    assert parse_status_line(line) == expected


@pytest.mark.parametrize(
    "line",
    [
        *("", "0123456789", "HTTP", "http/1.1 200 OK", "HTTP/2 200 OK", "HTTP/1.1", "HTTP/1.1 20 x", "HTTP/1.1 2000 x"),
        *("HTTP/1.1 099 x", "HTTP/1.1 2x0 OK", "HTTP/1.1 +20 OK", "HTTP/1.1 \u00b2\u00b2\u00b2 OK", "ICY 200 OK"),
    ],
)
def test_what_is_no_status_line(line: str) -> None:
    """Another protocol, or the middle of another response."""
    with pytest.raises(http.client.HTTPException):
        parse_status_line(line)


def test_interim_responses() -> None:
    """All of 1xx but 101, and not without end."""
    assert [is_interim(status, 0) for status in (99, 100, 102, 103, 199, 200)] == [False, True, True, True, True, False]
    assert is_interim(100, MAX_INTERIM_RESPONSES - 2)
    with pytest.raises(http.client.HTTPException, match="interim"):
        is_interim(100, MAX_INTERIM_RESPONSES - 1)
    with pytest.raises(http.client.HTTPException, match="switched"):
        is_interim(101, 0)


def test_headers() -> None:
    """Only HTTP's white space is removed, a header without a name is left out, and a folded one is one line."""
    lines = ["A:b", "a-B: \t c\xa0 ", "Empty:", ": no name", "Folded: x", " y", "\tz "]
    assert parse_headers(lines) == [("A", "b"), ("a-B", "c\xa0"), ("Empty", ""), ("Folded", "x y z")]


@pytest.mark.parametrize("line", ["no colon", "Space : a", "\u00fc: a", "a b: c", "A: b\rC: d", "A", " folded first"])
def test_line_that_is_no_header(line: str) -> None:
    """What follows it is not trusted, also where the same name was seen before."""
    assert parse_headers(["A: b"])
    with pytest.raises(http.client.HTTPException, match="not a header"):
        parse_headers([line])


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"content-length": "5"}, Framing(5, is_chunked=False, keeps=True)),
        ({"content-length": "5", "connection": "Close"}, Framing(5, is_chunked=False, keeps=False)),
        ({"transfer-encoding": "Chunked"}, Framing(None, is_chunked=True, keeps=True)),
        ({"transfer-encoding": "gzip"}, Framing(None, is_chunked=False, keeps=False)),
        ({"transfer-encoding": "chunked", "content-length": "5"}, Framing(None, is_chunked=True, keeps=False)),
        ({"transfer-encoding": "gzip", "content-length": "5"}, Framing(5, is_chunked=False, keeps=False)),
        ({}, Framing(None, is_chunked=False, keeps=False)),
        *(
            ({"content-length": text}, Framing(None, is_chunked=False, keeps=False))
            for text in ("-5", "+5", "5_0", "0x5", "five", "5.0")
        ),
    ],
)
def test_framing(headers: dict[str, str], expected: Framing) -> None:
    """Where the end of a body is unclear, the connection is not used again."""
    assert framing(200, "HTTP/1.1", headers, "GET") == expected


def test_framing_without_a_body_and_of_old_versions() -> None:
    """HEAD, 204 and 304 have none; HTTP/1.0 keeps a connection only if it says so."""
    sized = {"content-length": "5"}
    assert framing(200, "HTTP/1.1", sized, "HEAD").length == 0
    for status in (204, 304):
        assert framing(status, "HTTP/1.1", {}, "GET") == Framing(0, is_chunked=False, keeps=True)
    assert not framing(200, "HTTP/1.0", sized, "GET").keeps
    assert framing(200, "HTTP/1.0", {**sized, "connection": "keep-alive"}, "GET").keeps
    with pytest.raises(http.client.HTTPException, match="several lengths"):
        framing(200, "HTTP/1.1", {"content-length": "5, 6"}, "GET")


def test_rate() -> None:
    """1 KiB a second is the least."""
    check_rate(10_240, 10.0)
    with pytest.raises(TimeoutError, match="only 10239 bytes"):
        check_rate(10_239, 10.0)
