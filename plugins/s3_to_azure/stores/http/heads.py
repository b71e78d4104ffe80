"""Reads the head of an HTTP response strictly: status line, headers, and how long the body is.

One set of rules for all clients. ``http.client`` takes 102, 103 and 199 for the final response, the end of a connection
for the end of the headers, and a line that is no header for the end of the headers, too.
"""

import http.client
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

MAX_INTERIM_RESPONSES: Final = 20
MIN_BYTES_PER_S: Final = 1024
"""A connection that moves less than this, on average over the timeout, is given up."""

MIN_ERROR_STATUS: Final = 400
EARLY_RESPONSE_TIMEOUT_S: Final = 5.0
"""How long a response may take that a server sends instead of reading the body."""

MAX_IDLE_S: Final = 60.0
"""A connection that was idle for longer is not used again.

NAT gateways and firewalls forget such connections after some minutes, and many tell nobody: a request would wait for
its whole timeout, and the next try would take another connection of the same kind.
"""

# A space in the name, or no name at all before a space, is how requests are smuggled past a proxy.
_NAME: Final = re.compile(r"[!-9;-~]*")
_FOLDED: Final = (" ", "\t")
# Nearly all responses have the same ones.
_MAX_VALID_NAMES: Final = 1_000
_valid_names: set[str] = set()
_OLD_VERSIONS: Final = ("HTTP/1.0", "HTTP/0.9")
_WITHOUT_BODY: Final = (http.client.NO_CONTENT, http.client.NOT_MODIFIED)


class StatusLine(NamedTuple):
    """The first line of a response.

    Attributes:
        version: As it was sent, such as HTTP/1.1.
    """

    version: str
    status: int
    reason: str


class Framing(NamedTuple):
    """Where a response's body ends.

    Attributes:
        length: The bytes of the body; None if it comes in chunks, or ends with the connection.
        is_chunked: The body comes in chunks.
        keeps: The connection may be used again after the body.
    """

    length: int | None
    is_chunked: bool
    keeps: bool


def parse_status_line(line: str) -> StatusLine:
    """Return the parts of a status line.

    Raises:
        http.client.HTTPException: It is none.
    """
    version, _, rest = line.strip().partition(" ")
    number, _, reason = rest.strip().partition(" ")
    if not version.startswith("HTTP/") or not number.isdecimal() or len(number) != 3 or number < "100":
        raise http.client.BadStatusLine(line)
    if version not in _OLD_VERSIONS and not version.startswith("HTTP/1."):
        raise http.client.UnknownProtocol(version)
    return StatusLine(version, int(number), reason.strip())


def is_interim(status: int, seen: int) -> bool:
    """Return whether another response follows.

    Args:
        status: The response's status.
        seen: How many interim responses came before.

    Raises:
        http.client.HTTPException: The server switched the protocol, or sends interim responses without end.
    """
    if not 100 <= status < 200:
        return False
    if status == http.client.SWITCHING_PROTOCOLS:
        raise http.client.HTTPException("the server switched the protocol, which was not asked for")
    if seen + 1 >= MAX_INTERIM_RESPONSES:
        raise http.client.HTTPException(f"the server sent {MAX_INTERIM_RESPONSES} interim responses")
    return True


def parse_headers(lines: Iterable[str]) -> list[tuple[str, str]]:
    """Return the headers of a block's lines, without their line ends; those without a name are left out.

    Raises:
        http.client.HTTPException: A line is no header: the connection may deliver something else than it should.
    """
    found: list[tuple[str, str]] = []
    for line in lines:
        name, colon, value = line.partition(":")
        if name not in _valid_names:
            if line[:1] in _FOLDED and found:
                # RFC 9112, 5.2: the line continues the one before it.
                found[-1] = (found[-1][0], f"{found[-1][1]} {line.strip()}")
                continue
            if not colon or not _NAME.fullmatch(name):
                raise _no_header()
            if len(_valid_names) < _MAX_VALID_NAMES:
                _valid_names.add(name)
        if not colon or "\r" in value:
            raise _no_header()
        if name:
            # Only HTTP's white space: a value may end in a byte that Python also regards as space.
            found.append((name, value.strip(" \t")))
    return found


def framing(status: int, version: str, headers: Mapping[str, str], method: str | None) -> Framing:
    """Return where the body of a response ends.

    Args:
        status: Of the final response.
        version: Of the status line.
        headers: By lower-case name; those that are repeated with different values are joined by commas.
        method: The request's method.

    Raises:
        http.client.HTTPException: The response has several lengths.
    """
    length_text = headers.get("content-length", "")
    if "," in length_text:
        raise http.client.HTTPException("the response has several lengths")
    coding = headers.get("transfer-encoding", "")
    is_chunked = coding.lower() == "chunked"
    options = headers.get("connection", "").lower()
    keeps = "keep-alive" in options if version in _OLD_VERSIONS else "close" not in options
    # RFC 9112, 6.3: a message with both may hide another one, so nothing after it on the connection is trusted.
    keeps = keeps and not (length_text and coding)
    if method == "HEAD" or status in _WITHOUT_BODY:
        return Framing(0, is_chunked=False, keeps=keeps)
    length = int(length_text) if length_text.isdecimal() and not is_chunked else None
    return Framing(length, is_chunked, keeps and (is_chunked or length is not None))


def check_rate(moved: int, waited_s: float) -> None:
    """Check the rate at which a connection moves bytes.

    Raises:
        TimeoutError: It is below the minimum.
    """
    if moved < MIN_BYTES_PER_S * waited_s:
        raise TimeoutError(f"only {moved} bytes came in {waited_s:.0f} seconds of waiting")


def _no_header() -> http.client.HTTPException:
    return http.client.HTTPException("a line of the response's headers is not a header")
