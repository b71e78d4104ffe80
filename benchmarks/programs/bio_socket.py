"""TLS over ``ssl.MemoryBIO``: the socket is read and written in large pieces, the records are cut in memory."""

import io
import socket
import ssl
from typing import Any, Final

_PIECE: Final = 256 * 1024


class BioSocket(io.RawIOBase):
    """As much of a TLS socket as http.client needs.

    Args:
        plain: Connected.
        context: TLS settings.
        host: Whom to trust.
    """

    def __init__(self, plain: socket.socket, context: ssl.SSLContext, host: str) -> None:
        """Shake hands."""
        self._plain = plain
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname=host)
        self._room = memoryview(bytearray(_PIECE))
        while True:
            try:
                self._tls.do_handshake()
            except ssl.SSLWantReadError:
                self._flush()
                self._more()
            else:
                break
        self._flush()

    def readable(self) -> bool:
        """It is."""
        return True

    def makefile(self, *_: object) -> io.BufferedReader:
        """Return a reader of its own that leaves the socket open."""
        return io.BufferedReader(_Reader(self))

    def recv_into(self, view: memoryview, size: int = 0, _flags: int = 0) -> int:
        """Fill the view with one record at most."""
        while True:
            try:
                return self._tls.read(size or len(view), view)
            except ssl.SSLWantReadError:
                if not self._more():
                    return 0

    def sendall(self, data: bytes | memoryview) -> None:
        """Encrypt a piece of many records, send it, and so on."""
        with memoryview(data).cast("B") as view:
            done = 0
            while done < len(view):
                done += self._tls.write(view[done : done + _PIECE])
                if self._out.pending >= _PIECE:
                    self._flush()
        self._flush()

    def _more(self) -> int:
        count = self._plain.recv_into(self._room)
        self._in.write(self._room[:count])
        return count

    def _flush(self) -> None:
        if self._out.pending:
            self._plain.sendall(self._out.read())


class _Reader(io.RawIOBase):
    def __init__(self, bio: BioSocket) -> None:
        self._bio = bio

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - as io gives it
        return self._bio.recv_into(buffer)
