"""Mutations of HTTP responses: what proxies, gateways, stores and forgers make of a right one.

Each is a value whose ``repr`` makes it again, so that an example that fails can be kept as a test.
"""

import gzip
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, Protocol

from tests.fakes.odd_s3 import Reply
from tests.fakes.scripted_server import CLOSE, RESET, Step

HTML: Final = b"<html><head><title>502 Bad Gateway</title></head><body><h1>It works!</h1></body></html>"


@dataclass(frozen=True)
class Response:
    """A response byte by byte.

    Attributes:
        is_head: It has no body, whatever its headers say.
        before: Bytes before the status line.
        after: Bytes behind the body.
        cut: The share of all bytes that is sent before the connection ends; None: all.
        end: What becomes of the connection.
        pause: After which share of all bytes the server waits, and for how many seconds.
        trickle: How many bytes are sent at a time, and the seconds in between.
        chunks: The body in chunks, if Transfer-Encoding says so.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes = b""
    is_head: bool = False
    version: str = "HTTP/1.1"
    reason: str = "x"
    before: bytes = b""
    after: bytes = b""
    cut: float | None = None
    end: str = ""
    pause: tuple[float, float] | None = None
    trickle: tuple[int, float] | None = None
    chunks: bytes | None = None

    @classmethod
    def of(cls, reply: Reply, *, is_head: bool) -> "Response":
        """Return the response that a server sends."""
        return cls(reply.status, reply.headers, reply.body, is_head)

    def value(self, name: str) -> str | None:
        """Return the first value of a header."""
        return next((text for found, text in self.headers if found.lower() == name.lower()), None)

    def without(self, name: str) -> "Response":
        """Return the response without a header."""
        return replace(self, headers=tuple(each for each in self.headers if each[0].lower() != name.lower()))

    def with_header(self, name: str, text: str) -> "Response":
        """Return the response with a header that replaces its namesakes."""
        return replace(self, headers=(*self.without(name).headers, (name, text)))

    def with_body(self, body: bytes) -> "Response":
        """Return the response with a body of its own length."""
        changed = replace(self, body=body)
        if self.is_head or self.value("Content-Length") is None:
            return changed
        return changed.with_header("Content-Length", str(len(body)))

    def steps(self) -> list[Step]:
        """Return what the server sends."""
        lines = [f"{self.version} {self.status} {self.reason}", *(f"{name}: {text}" for name, text in self.headers)]
        head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
        is_chunked = self.chunks is not None and self.value("Transfer-Encoding") == "chunked"
        body = b"" if self.is_head else (self.chunks or b"") if is_chunked else self.body
        data = self.before + head + body + self.after
        if self.cut is not None:
            data = data[: int(len(data) * self.cut)]
        end = self.end or ("close" if self._needs_close() else "")
        last: list[Step] = [CLOSE] if end == "close" else [RESET] if end == "reset" else []
        if self.cut is not None and not last:
            last = [CLOSE]
        if self.trickle is not None:
            size, seconds = self.trickle
            pieces = (data[start : start + size] for start in range(0, len(data), size))
            return [*itertools.chain.from_iterable((piece, seconds) for piece in pieces), *last]
        if self.pause is None:
            return [data, *last]
        at = int(len(data) * self.pause[0])
        return [data[:at], self.pause[1], data[at:], *last]

    def _needs_close(self) -> bool:
        """Say whether a client that follows the headers would wait for more bytes."""
        if self.is_head or self.value("Transfer-Encoding") == "chunked" or self.status in (204, 304):
            return self.chunks is None and self.value("Transfer-Encoding") == "chunked"
        length = self.value("Content-Length")
        return length is None or not length.isdecimal() or int(length[:18]) > len(self.body)


class Mutation(Protocol):
    """Changes a response; ``others`` are responses that this server gave to other requests of the same kind."""

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Return the changed response."""
        ...


# -- status and headers ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Status:
    """Another status, with the body as it is or another one."""

    status: int
    body: bytes | None = None

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        changed = replace(response, status=self.status)
        return changed if self.body is None else changed.with_body(self.body)


@dataclass(frozen=True)
class Page:
    """A page of somebody in between, instead of the response."""

    status: int
    body: bytes
    headers: tuple[tuple[str, str], ...] = (("Content-Type", "text/html"),)

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        length = ("Content-Length", str(len(self.body)))
        return replace(response, status=self.status, headers=(*self.headers, length), body=self.body)


@dataclass(frozen=True)
class Without:
    """A header is missing."""

    name: str

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return response.without(self.name)


@dataclass(frozen=True)
class Header:
    """A header has another value."""

    name: str
    text: str

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return response.with_header(self.name, self.text)


@dataclass(frozen=True)
class Doubled:
    """A header comes twice: with the same value, or with another one before or behind it."""

    name: str
    other: str | None = None
    first: bool = False

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        own = response.value(self.name)
        second = (self.name, self.other if self.other is not None else own or "")
        headers = (second, *response.headers) if self.first else (*response.headers, second)
        return replace(response, headers=headers)


LINES: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "huge": (("X-Huge", "a" * 100_000),),
    "many": tuple((f"X-{number}", "a") for number in range(300)),
    "folded": (("X-Folded", "a\r\n b"),),
    "no colon": (("X-Odd", "a\r\nno colon here"),),
    "no name": (("", "a"),),
    "control": (("X-Control", "a\x01\x7fb"),),
    "raw": (("X-Raw", "\udcff\udcfe"),),
    "space": (("X-Space ", "a"),),
}


@dataclass(frozen=True)
class Lines:
    """Odd header lines come before the others."""

    kind: str

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return replace(response, headers=(*LINES[self.kind], *response.headers))


# -- the body ----------------------------------------------------------------------------------------------------------


BODIES: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "empty": lambda _: b"",
    "shorter": lambda body: body[:-1],
    "half": lambda body: body[: len(body) // 2],
    "longer": lambda body: body + b"x",
    "twice": lambda body: body + body,
    "html": lambda _: HTML,
    "spaces": lambda _: b" \n" * 10,
    "null": lambda body: bytes(len(body)),
    "utf-16": lambda body: body.decode("latin-1").encode("utf-16"),
    "bom": lambda body: b"\xef\xbb\xbf" + body,
    "latin-1": lambda body: body + b"\xe9",
    "gzip": lambda body: gzip.compress(body, 1, mtime=0),
    "json": lambda _: b'{"error": {"code": "x"}}',
}


@dataclass(frozen=True)
class Body:
    """Another body, whose length fits."""

    kind: str

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return response.with_body(BODIES[self.kind](response.body))


@dataclass(frozen=True)
class Gzip:
    """A gateway compresses the body, and says so."""

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        if response.is_head:
            return response.without("Content-Length").with_header("Content-Encoding", "gzip")
        return response.with_body(gzip.compress(response.body, 1, mtime=0)).with_header("Content-Encoding", "gzip")


@dataclass(frozen=True)
class Stray:
    """The response to another request of the same kind."""

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return others[-1] if others else response


# -- the wire ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Cut:
    """The connection ends after a share of the bytes."""

    share: float
    end: str = "close"

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return replace(response, cut=self.share, end=self.end)


@dataclass(frozen=True)
class Delay:
    """The server waits somewhere in the response."""

    share: float
    seconds: float

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return replace(response, pause=(self.share, self.seconds))


@dataclass(frozen=True)
class Trickle:
    """The response comes a few bytes at a time."""

    size: int
    seconds: float

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return replace(response, trickle=(self.size, self.seconds))


@dataclass(frozen=True)
class Before:
    """Bytes come before the response, such as interim responses."""

    data: bytes

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return replace(response, before=self.data)


@dataclass(frozen=True)
class After:
    """Bytes come behind the response that nobody asked for."""

    data: bytes

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return replace(response, after=self.data)


@dataclass(frozen=True)
class Version:
    """Another version, or another status line."""

    version: str
    reason: str = "x"
    end: str = ""

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return replace(response, version=self.version, reason=self.reason, end=self.end)


@dataclass(frozen=True)
class Connection:
    """The header Connection says one thing, and the server does another."""

    text: str
    end: str

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        return replace(response.with_header("Connection", self.text), end=self.end)


def _chunk(data: bytes, size: bytes = b"%x", more: bytes = b"") -> bytes:
    return (size % len(data) if b"%" in size else size) + more + b"\r\n" + data + b"\r\n" if data else b""


_LAST: Final = b"0\r\n\r\n"
CHUNKS: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "plain": lambda body: _chunk(body) + _LAST,
    "two": lambda body: _chunk(body[: len(body) // 2]) + _chunk(body[len(body) // 2 :]) + _LAST,
    "extension": lambda body: _chunk(body, more=b";a=b") + b"0;x\r\n\r\n",
    "trailer": lambda body: _chunk(body) + b'0\r\nETag: "other"\r\nContent-Length: 7\r\n\r\n',
    "upper case": lambda body: _chunk(body, b"%X") + _LAST,
    "no last chunk": _chunk,
    "last chunk without its end": lambda body: _chunk(body) + b"0\r\n",
    "size too large": lambda body: b"%x\r\n%s\r\n" % (len(body) + 10, body) + _LAST,
    "size too small": lambda body: b"%x\r\n%s\r\n" % (max(0, len(body) - 1), body) + _LAST,
    "negative": lambda body: _chunk(body, b"-1") + _LAST,
    "no number": lambda body: _chunk(body, b"x") + _LAST,
    "huge": lambda body: _chunk(body, b"f" * 40) + _LAST,
    "prefixed": lambda body: _chunk(body, b"0x%x") + _LAST,
}
_VALID_CHUNKS: Final = ("plain", "two", "extension", "trailer", "upper case")


@dataclass(frozen=True)
class Chunked:
    """The body comes in chunks, which may be odd ones."""

    kind: str

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        changed = response.without("Content-Length").with_header("Transfer-Encoding", "chunked")
        end = "" if self.kind in _VALID_CHUNKS else "close"
        return replace(changed, chunks=CHUNKS[self.kind](response.body), end=end)
