"""One exchange: the response is parsed the same way however it arrives."""

from http.client import HTTPException

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3_to_azure.model.errors import S3, UnexpectedResponse
from s3_to_azure.stores.event_loop.exchange import HEADROOM_BYTES, Exchange

DOCUMENT = b"<Error><Code>InvalidObjectState</Code></Error>"
SIZED = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 10\r\n\r\n0123456789'
CHUNKS = (
    b"HTTP/1.1 403 No\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"7;name=value\r\n<Error>\r\n27 \r\n<Code>InvalidObjectState</Code></Error>\r\n0\r\n"
)
WITH_TRAILER = CHUNKS + b"X-Trailer: a\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Hints\r\nLink: a\r\n\r\nHTTP/1.1 100 Continue\r\n\r\n"


def exchange(data: bytes | None = None, room: int = 200) -> Exchange:
    """Return an exchange whose request was sent."""
    buffer = bytearray(HEADROOM_BYTES + room)
    made = Exchange(S3, "t", "b", "http://u:p@host:80/a%20b?c=d", {"x-a": "1", "Content-Length": "4"}, data, buffer)
    made.count_sent(made.size_bytes)
    return made


def arrive(made: Exchange, data: bytes, pieces: list[int]) -> bool:
    """Let the bytes of a response arrive in pieces; return whether it is complete."""
    rest = data
    while rest:
        size = pieces.pop(0) if pieces else len(rest)
        piece, rest = rest[:size], rest[size:]
        made.view[made.received_bytes : made.received_bytes + len(piece)] = piece
        made.count_received(len(piece))
        if made.is_complete():
            return not rest
    return False


def test_request_is_sent_as_it_was_built() -> None:
    """Only Host is added."""
    made = exchange(b"data")
    assert made.head == b"PUT /a%20b?c=d HTTP/1.1\r\nHost: host\r\nx-a: 1\r\nContent-Length: 4\r\n\r\n"
    assert exchange().head.startswith(b"GET /a%20b?c=d HTTP/1.1\r\n")
    with pytest.raises(UnexpectedResponse):
        Exchange(S3, "t", "b", "http://host/", {"x": "a\r\nb: c"}, None, bytearray(10))


@pytest.mark.parametrize(
    ("url", "host", "line"),
    [
        ("http://host", "host", "/"),
        ("HTTPS://Host:443?a=b", "host", "/?a=b"),
        ("https://[::1]:8080/k%0D%0A?a=/?b", "[::1]:8080", "/k%0D%0A?a=/?b"),
    ],
)
def test_url_is_taken_apart(url: str, host: str, line: str) -> None:
    """Also without a path, and with a scheme in capitals."""
    made = Exchange(S3, "t", "b", url, {}, None, bytearray(10))
    assert made.head.decode() == f"GET {line} HTTP/1.1\r\nHost: {host}\r\n\r\n"
    assert made.host.scheme == url.partition(":")[0].lower()


@pytest.mark.parametrize(
    "url", ["http://host/k\r\nx: y", "http://ho st/", "http://host/a b", "http:///k", "ftp://host/", "http://host/ü"]
)
def test_url_that_could_add_a_header_is_not_sent(url: str) -> None:
    """It is no percent-encoded URL of a host."""
    with pytest.raises(ValueError, match="percent-encoded"):
        Exchange(S3, "t", "b", url, {}, None, bytearray(10))


@pytest.mark.parametrize(
    ("response", "body"),
    [(SIZED, b"0123456789"), (WITH_TRAILER, DOCUMENT), (CHUNKS + b"\r\n", DOCUMENT)],
    ids=["sized", "trailer", "chunks"],
)
@pytest.mark.parametrize("end", [b"\r\n", b"\n"], ids=["CRLF", "LF"])
@settings(max_examples=20)
@given(pieces=st.lists(st.integers(1, 40), max_size=300))
@example(pieces=[1] * 400)
def test_response_in_any_pieces(response: bytes, body: bytes, end: bytes, pieces: list[int]) -> None:
    """Byte by byte or at once, with interim responses before it, also with line ends without CR in the heads."""
    head, blank, rest = response.partition(b"\r\n\r\n")
    made = exchange()
    assert arrive(made, INTERIM + (head + blank).replace(b"\r\n", end) + rest, list(pieces))
    assert bytes(made.body()) == body
    assert made.keeps_connection


def test_end_of_the_connection_ends_a_body_only_without_a_length() -> None:
    """Elsewhere it cuts the response."""
    made = exchange()
    assert not arrive(made, b"HTTP/1.1 200 OK\r\n\r\n0123456789", [])
    made.ended()
    assert bytes(made.body()) == b"0123456789"
    assert not made.keeps_connection
    for whole in (SIZED, WITH_TRAILER):
        for end in range(0, len(whole), 7):
            made = exchange()
            assert not arrive(made, whole[:end], [])
            with pytest.raises(HTTPException, match="ended before the response"):
                made.ended()


@pytest.mark.parametrize(
    "response",
    [
        b"0123456789\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno header\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 20,
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * HEADROOM_BYTES,
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999\r\n\r\n",
        *(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
            for chunks in (b"x\r\n", b"-5\r\n", b"0x5\r\n12345\r\n", b"\r\n", b"5\r\n123456\r\n", b"1" * 16 + b"\r\n")
        ),
        b"HTTP/1.1 200 OK\r\n\r\n" + bytes(HEADROOM_BYTES + 200),
    ],
    ids=lambda response: repr(response[:60]),
)
def test_unexpected_response_is_refused(response: bytes) -> None:
    """The object is handed back, and nothing waits for bytes that do not fit."""
    with pytest.raises(HTTPException):
        arrive(exchange(), response[: HEADROOM_BYTES + 200], [])


@given(st.integers(0, len(WITH_TRAILER)), st.integers(0, 30), st.binary(max_size=12), st.lists(st.integers(1, 50)))
def test_damaged_response_is_refused_or_incomplete(at: int, count: int, inserted: bytes, pieces: list[int]) -> None:
    """No other exception, whatever the bytes are."""
    damaged = WITH_TRAILER[:at] + inserted + WITH_TRAILER[at + count :]
    made = exchange()
    try:
        is_complete = arrive(made, damaged, pieces)
    except HTTPException:
        return
    if is_complete:
        assert made.status
        made.body()


def test_bytes_behind_the_response_end_the_connection() -> None:
    """They may be the response to a request that somebody else has sent."""
    made = exchange()
    made.view[: len(SIZED) + 1] = SIZED + b"x"
    made.count_received(len(SIZED) + 1)
    assert made.is_complete()
    assert bytes(made.body()) == b"0123456789"
    assert not made.keeps_connection


@pytest.mark.parametrize(("status", "is_success"), [(201, True), (403, False)])
def test_response_before_the_request_was_sent(status: int, is_success: bool) -> None:
    """It is early: a success is none, and the connection cannot be used again."""
    made = exchange(b"data")
    made.restart()
    assert made.is_sending
    assert not arrive(made, INTERIM, [])
    assert made.is_sending
    assert arrive(made, b"HTTP/1.1 %d x\r\nContent-Length: 0\r\n\r\n" % status, [])
    assert not made.is_sending
    assert made.is_early_success == is_success
    assert not made.keeps_connection


def test_rate_is_checked_over_the_timeout() -> None:
    """Bytes sent and received count, and each window for itself."""
    made = exchange()
    now = made._since
    made.check_rate(now + 9.9, 10.0)
    with pytest.raises(TimeoutError, match=r"only \d\d bytes"):
        made.check_rate(now + 10.0, 10.0)
    made.count_received(5_000)
    made.count_sent(5_240)
    made.check_rate(now + 10.0, 10.0)
    assert made.waited_s(made._since + 3.0) == 3.0
    with pytest.raises(TimeoutError, match="only 0 bytes"):
        made.check_rate(made._since + 10.0, 10.0)


def test_early_response_has_little_time() -> None:
    """What sending failed with is told if none comes."""
    made = exchange(b"data")
    made.restart()
    made.refuse(BrokenPipeError("gone"))
    made.check_rate(made._since + 4.9, 60.0)
    with pytest.raises(BrokenPipeError):
        made.check_rate(made._since + 5.0, 60.0)
