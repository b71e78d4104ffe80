"""TLS through ``ssl.MemoryBIO``: the socket is read and written in large pieces that hold many records.

Kept to be measured against ``ssl.SSLSocket``, which makes two system calls for each record of 16 KB.
"""

import io
import socket
import ssl
from collections.abc import Callable
from typing import Any, Final, ParamSpec, TypeVar

_PIECE_BYTES: Final = 256 * 1024
_P = ParamSpec("_P")
_T = TypeVar("_T")


class TlsSocket:
    """The part of a TLS socket that http.client uses.

    Args:
        plain: A connected socket.
        context: TLS settings.
        host: The name in the server's certificate.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        self._plain = plain
        self._arrived, self._leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._room = memoryview(bytearray(_PIECE_BYTES))
        self._tls: Any = context.wrap_bio(self._arrived, self._leaving, server_hostname=host)
        self._until_done(self._tls.do_handshake)
        self._flush()

    def sendall(self, data: bytes | memoryview) -> None:
        """Encrypt and send in pieces of many records."""
        view = memoryview(data).cast("B")
        done = 0
        while done < len(view):
            done += self._until_done(self._tls.write, view[done : done + _PIECE_BYTES])
            self._flush()

    def makefile(self, _mode: str) -> io.BufferedReader:
        """Return a reader."""
        return io.BufferedReader(_Reader(self, self._plain))

    def read_into(self, view: memoryview) -> int:
        """Decrypt the received records into the view; return the number of bytes, 0 at the end."""
        done = 0
        try:
            done = count = self._until_done(self._tls.read, len(view), view)
            while count and done < len(view) and self._arrived.pending:
                count = self._tls.read(len(view) - done, view[done:])
                done += count
        except (ssl.SSLWantReadError, ssl.SSLEOFError):
            pass
        return done

    def close(self) -> None:
        """Close the socket."""
        self._plain.close()

    def _until_done(self, action: Callable[_P, _T], *args: _P.args, **named: _P.kwargs) -> _T:
        """Repeat the call with each piece that arrives, until OpenSSL has what it needs."""
        while True:
            try:
                return action(*args, **named)
            except ssl.SSLWantReadError:
                self._flush()
                count = self._plain.recv_into(self._room)
                if count:
                    self._arrived.write(self._room[:count])
                else:
                    self._arrived.write_eof()

    def _flush(self) -> None:
        if self._leaving.pending:
            self._plain.sendall(self._leaving.read())


class _Reader(io.RawIOBase):
    def __init__(self, tls: TlsSocket, plain: socket.socket) -> None:
        self._tls = tls
        self._hold = plain.makefile("rb", buffering=0)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - io accepts any buffer
        return self._tls.read_into(memoryview(buffer))

    def close(self) -> None:
        self._hold.close()
        super().close()
