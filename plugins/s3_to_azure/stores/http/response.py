"""Reads an HTTP response strictly: it is the answer to our request, complete, and arrives at a minimum rate.

``http.client`` takes 102, 103 and 199 for the final response, so that every later response on the connection would be
read one request too late; it takes the end of a connection for the end of the headers; and its timeout starts again
with every byte.
"""

import http.client
import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import urllib3
import urllib3.connection

from s3_to_azure.stores.http.hosts import note_reached

MIN_BYTES_PER_S: Final = 1024
"""A response that brings less than this, on average over the socket's timeout, is given up."""

_DEFAULT_WINDOW_S: Final = 60.0
_MAX_INTERIM_RESPONSES: Final = 20
# The metadata of an object takes up to 2 KB in S3 and 8 KB in Azure: hundreds of headers, and Python reads only 100.
_MAX_HEADERS: Final = 10_000
_MAX_HEADER_BYTES: Final = 1024 * 1024
http.client._MAXHEADERS = _MAX_HEADERS  # type: ignore[attr-defined]  # noqa: SLF001 - there is no public setting


class StrictResponse(http.client.HTTPResponse):
    """A response whose headers are complete.

    Attributes:
        has_leftover: The connection delivered more bytes than the response holds: it must not be used again.
    """

    def __init__(self, sock: Any, debuglevel: int = 0, method: str | None = None, url: str | None = None) -> None:
        super().__init__(sock, debuglevel=debuglevel, method=method, url=url)
        self._reader = _RateCheckedReader(sock, self.fp.detach(), window_s=sock.gettimeout() or _DEFAULT_WINDOW_S)
        self.fp: Any = io.BufferedReader(self._reader)
        self.has_leftover = False

    def _read_status(self) -> tuple[str, int, str]:
        """Skip interim responses, and return the status line of the final response.

        Raises:
            http.client.HTTPException: The server switched the protocol, or sends interim responses without end.
        """
        for _ in range(_MAX_INTERIM_RESPONSES):
            version, status, reason = super()._read_status()  # type: ignore[misc]  # not in typeshed
            if not 100 <= status < 200:
                return version, status, reason
            if status == http.client.SWITCHING_PROTOCOLS:
                raise http.client.HTTPException("the server switched the protocol, which was not asked for")
            http.client.parse_headers(self.fp)
        raise http.client.HTTPException(f"the server sent {_MAX_INTERIM_RESPONSES} interim responses")

    def begin(self) -> None:
        """Read the status line and the headers.

        Raises:
            http.client.HTTPException: The headers are cut short, or contradict each other.
        """
        if self.headers is not None:
            return
        with self._reader.at_most(_MAX_HEADER_BYTES):
            super().begin()
        # A complete header block ends with a line that is in the buffer: only a cut one made the reader see the end.
        if self._reader.at_end:
            raise http.client.HTTPException("the connection ended inside the response's headers")
        if self.headers.get_payload():
            # Python takes a line that is no header for the end of the headers, so those below it are missing.
            raise http.client.HTTPException("a line of the response's headers is not a header")
        # urllib3 would log a traceback for each of the other defects, such as a header without a name.
        self.headers.defects.clear()
        _drop_repeated(self.headers)
        lengths = set(self.headers.get_all("content-length", ()))
        if len(lengths) > 1:
            raise http.client.HTTPException("the response has several lengths")
        if lengths and self.headers.get("transfer-encoding"):
            # RFC 9112, 6.3: such a message may hide another one, so nothing after it on the connection is trusted.
            self.will_close = True

    def _close_conn(self) -> None:
        if self.fp is not None:
            self.has_leftover = self.fp.tell() != self._reader.tell()
        super()._close_conn()  # type: ignore[misc]  # not in typeshed


class StrictConnection:
    """Mixed into a connection of urllib3 or botocore: it reads responses strictly, and notes that its host is there."""

    # urllib3 expects a class of its own, and wraps whatever this is.
    response_class = StrictResponse
    host: str

    def connect(self) -> None:
        """Connect."""
        super().connect()  # type: ignore[misc]  # of the connection that this is mixed into
        note_reached(self.host)


class _StrictHTTPConnection(StrictConnection, urllib3.connection.HTTPConnection):  # type: ignore[misc]  # as above
    pass


class _StrictHTTPSConnection(StrictConnection, urllib3.connection.HTTPSConnection):  # type: ignore[misc]  # as above
    pass


class _StrictHTTPPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _StrictHTTPConnection


class _StrictHTTPSPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _StrictHTTPSConnection


STRICT_POOLS: Final = {"http": _StrictHTTPPool, "https": _StrictHTTPSPool}
"""For a urllib3 ``PoolManager``: connections that read responses strictly."""


def _drop_repeated(headers: http.client.HTTPMessage) -> None:
    """Keep one of several headers with the same name and value; proxies add what is there already."""
    items = headers.items()
    unique = dict.fromkeys((name.lower(), value) for name, value in items)
    if len(unique) < len(items):
        for name, _ in items:
            del headers[name]
        for name, value in unique:
            headers[name] = value


class _RateCheckedReader(io.RawIOBase):
    """A socket's bytes; raises TimeoutError when they come too slowly. Only time spent waiting for them counts.

    It reads the socket itself: TLS delivers 16 KiB at a time, and each layer costs CPU.

    Args:
        sock: What it reads.
        raw: The socket's file, which keeps the socket open until it is closed.
        window_s: Over how many seconds of waiting the rate is an average.

    Attributes:
        at_end: The socket has delivered its last byte.
    """

    def __init__(self, sock: Any, raw: Any, *, window_s: float) -> None:
        super().__init__()
        self._recv_into = sock.recv_into
        self._raw = raw
        self._window_s = window_s
        self._total = 0
        self._waited_s = 0.0
        self._window_total = 0
        self._max_bytes: int | None = None
        self.at_end = False

    @contextmanager
    def at_most(self, max_bytes: int) -> Iterator[None]:
        """Raise HTTPException in the block once the response has more bytes than these."""
        self._max_bytes = max_bytes
        yield
        self._max_bytes = None

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        began = time.monotonic()
        count: int = self._recv_into(buffer)
        if not count:
            self.at_end = True
            return 0
        if self._total:
            # The time until the first byte is the service's own work; the socket's timeout bounds it.
            self._waited_s += time.monotonic() - began
        self._total += count
        if self._max_bytes is not None and self._total > self._max_bytes:
            raise http.client.HTTPException(f"the response has more than {self._max_bytes:,} bytes of headers")
        if self._waited_s >= self._window_s:
            received = self._total - self._window_total
            if received < MIN_BYTES_PER_S * self._waited_s:
                raise TimeoutError(f"only {received} bytes came in {self._waited_s:.0f} seconds of waiting")
            self._waited_s, self._window_total = 0.0, self._total
        return count

    def tell(self) -> int:
        """Return the number of bytes that the socket has delivered."""
        return self._total

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
