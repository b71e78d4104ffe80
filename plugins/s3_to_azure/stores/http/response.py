"""Reads an HTTP response strictly: it is the answer to our request, complete, and arrives at a minimum rate.

Its head is read by the rules of ``heads``. The timeout of ``http.client`` would start again with every byte.
"""

import http.client
import io
import itertools
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

import urllib3
import urllib3.connection

from s3_to_azure.stores.http.headers import by_lower_name
from s3_to_azure.stores.http.heads import check_rate, framing, is_interim, parse_headers, parse_status_line
from s3_to_azure.stores.http.hosts import note_reached

_DEFAULT_WINDOW_S: Final = 60.0
# The metadata of an object takes up to 2 KB in S3 and 8 KB in Azure: hundreds of headers.
_MAX_HEADER_BYTES: Final = 1024 * 1024


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
            http.client.HTTPException: It is none, or the final response never comes.
        """
        for seen in itertools.count():
            ended = http.client.RemoteDisconnected("the connection ended before a response")
            found = parse_status_line(self._line(ended))
            if not is_interim(found.status, seen):
                break
            self._read_headers()
        return found

    def begin(self) -> None:
        """Read the status line and the headers.

        Raises:
            http.client.HTTPException: The headers are cut short, or contradict each other.
        """
        if self.headers is not None:
            return
        with self._reader.at_most(_MAX_HEADER_BYTES):
            version, status, self.reason = self._read_status()
            received = self._read_headers()
        self.version = 11 if version > "HTTP/1.0" else 10
        self.code = self.status = status
        self.headers = self.msg = http.client.HTTPMessage()
        # One of several headers with the same name and value is enough; proxies add what is there already.
        for (_, value), name in {(name.lower(), value): name for name, value in received}.items():
            self.headers[name] = value
        found = framing(status, version, by_lower_name(received), self._method)
        self.chunked, self.chunk_left = found.is_chunked, None
        self.length = found.length
        self.will_close = not found.keeps

    def _read_headers(self) -> list[tuple[str, str]]:
        return parse_headers(iter(self._line, ""))

    def _line(self, at_end: http.client.HTTPException | None = None) -> str:
        """Return the next line without its end; raise ``at_end`` if the connection ended before it."""
        line = self.fp.readline(_MAX_HEADER_BYTES)
        if not line.endswith(b"\n"):
            cut = http.client.HTTPException("the connection ended inside the response's headers")
            raise cut if line or at_end is None else at_end
        return str(line, "latin-1").rstrip("\r\n")

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
            check_rate(self._total - self._window_total, self._waited_s)
            self._waited_s, self._window_total = 0.0, self._total
        return count

    def tell(self) -> int:
        """Return the number of bytes that the socket has delivered."""
        return self._total

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()
