"""TLS over a socket that is read and written in large pieces; its records are cut and decrypted in memory.

``ssl.SSLSocket`` costs two system calls and a turn at Python's lock for each record of 16 KB (docs/benchmarks.md).

Memory: outside the budget for object data a connection holds less than 1 MiB, since much goes in one direction only:
``_PIECE_BYTES`` as received, a piece in OpenSSL's own buffer, which grows by a third more than it needs, and, on the
way out, that piece again.
"""

import io
import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, ParamSpec, TypeVar

_PIECE_BYTES: Final = 256 * 1024
_P = ParamSpec("_P")
_T = TypeVar("_T")


class TlsSocket:
    """As much of a TLS socket as http.client uses.

    Args:
        plain: Connected; it belongs to this object now. Its timeout holds for the handshake as a whole, then for each
            wait for the peer.
        context: TLS settings; OpenSSL checks certificate and host as it does for an ``SSLSocket``.
        host: Whose certificate it must be.

    Raises:
        ssl.SSLError: They did not agree, or the peer is not to be trusted.
        OSError: The connection failed, or took too long.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        """Shake hands; close the socket where that fails."""
        self._plain = plain
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._room = memoryview(bytearray(_PIECE_BYTES))
        try:
            self._tls = context.wrap_bio(self._arrived, self._leaving, server_hostname=host)
            self._shake_hands()
        except BaseException:
            plain.close()
            raise

    def settimeout(self, timeout_s: float | None) -> None:
        """Set how long to wait for the peer."""
        self._plain.settimeout(timeout_s)

    def sendall(self, data: bytes | memoryview) -> None:
        """Encrypt and send, a piece of many records at a time."""
        with memoryview(data) as given, given.cast("B") as view:
            done = 0
            while done < len(view):
                with view[done : done + _PIECE_BYTES] as piece:
                    done += self._with_retries(self._tls.write, piece)
                self._flush()

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a reader; the socket stays open until both are closed, as with any socket."""
        return io.BufferedReader(_Reader(self, self._plain))

    def read_into(self, view: memoryview) -> int:
        """Decrypt what is there into the view, waiting only where that is nothing; return the bytes, 0 at the end.

        An end without TLS's own goodbye is an end too: how long a body must be, HTTP says.
        """
        # With a buffer it returns a count; the types at hand do not know that.
        read: Any = self._tls.read
        done = 0
        try:
            done = count = self._with_retries(read, len(view), view)
            while count and done < len(view) and self._arrived.pending:
                with view[done:] as rest:
                    count = read(len(rest), rest)
                done += count
        except (ssl.SSLWantReadError, ssl.SSLEOFError):
            pass
        return done

    def close(self) -> None:
        """Close the socket, once its readers are closed."""
        self._plain.close()

    def _shake_hands(self) -> None:
        timeout_s = self._plain.gettimeout()
        deadline = None if timeout_s is None else time.monotonic() + timeout_s

        def step() -> None:
            if deadline is not None:
                left_s = deadline - time.monotonic()
                if left_s <= 0:
                    raise TimeoutError("the TLS handshake timed out")
                self._plain.settimeout(left_s)
            self._tls.do_handshake()

        self._with_retries(step)
        self._flush()
        self._plain.settimeout(timeout_s)

    def _with_retries(self, act: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> _T:
        """Act again with each piece that arrives, until OpenSSL has all it needs."""
        while True:
            try:
                return act(*args, **named)
            except ssl.SSLWantReadError:
                self._flush()
                self._fetch()
            except ssl.SSLError:
                # The alert that tells the peer why.
                with suppress(OSError):
                    self._flush()
                raise

    def _fetch(self) -> None:
        count = self._plain.recv_into(self._room)
        if count:
            self._arrived.write(self._room[:count])
        else:
            self._arrived.write_eof()

    def _flush(self) -> None:
        if self._leaving.pending:
            self._plain.sendall(self._leaving.read())


class _Reader(io.RawIOBase):
    """A TLS socket's bytes; holds the plain socket open as the readers of any socket do."""

    def __init__(self, tls: TlsSocket, plain: socket.socket) -> None:
        self._tls = tls
        self._hold = plain.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        with memoryview(buffer) as view:
            return self._tls.read_into(view)

    def close(self) -> None:
        self._hold.close()
        super().close()
