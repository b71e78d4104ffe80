"""The copy of floor.py with awscrt's HTTP client, whose TLS runs in native threads and whose bodies come in callbacks.

usage: crt_copy.py SOURCE_URL DESTINATION_URL SIZE BLOCK CONNECTIONS
"""

import base64
import io
import itertools
import mmap
import os
import sys
import threading
from typing import Any
from urllib.parse import SplitResult, urlsplit

from awscrt import http
from awscrt.io import ClientBootstrap, ClientTlsContext, DefaultHostResolver, EventLoopGroup, TlsContextOptions

_LOOPS = 2


class View(io.RawIOBase):
    """A block as a readable stream."""

    def __init__(self, view: memoryview) -> None:
        self._view = view
        self._done = 0

    def readinto(self, buffer: Any) -> int:  # noqa: ANN401 - io accepts any buffer
        """Fill the buffer."""
        piece = self._view[self._done : self._done + len(buffer)]
        buffer[: len(piece)] = piece
        self._done += len(piece)
        return len(piece)

    def seek(self, offset: int, whence: int = 0) -> int:
        """Move to the start or the end; awscrt uses no other position."""
        self._done = len(self._view) if whence == io.SEEK_END else offset
        return self._done

    def tell(self) -> int:
        """Return the place."""
        return self._done


class Copy:
    """One object's copy over any number of connections."""

    def __init__(self, source: str, destination: str, size: int, block: int) -> None:
        """Start the event loops."""
        self._source, self._destination = urlsplit(source), urlsplit(destination)
        self._size, self._block = size, block
        loops = EventLoopGroup(_LOOPS)
        self._bootstrap = ClientBootstrap(loops, DefaultHostResolver(loops))
        options = TlsContextOptions()
        if "SSL_CERT_FILE" in os.environ:
            options.override_default_trust_store_from_path(None, os.environ["SSL_CERT_FILE"])
        self._tls = ClientTlsContext(options)
        self._ids = [base64.b64encode(b"%052d" % index).decode() for index in range(-(-size // block))]
        self._turn = itertools.count()
        self._failures: list[BaseException] = []

    def run(self, connections: int) -> None:
        """Copy all blocks, then commit them."""
        threads = [threading.Thread(target=self._client) for _ in range(connections)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if self._failures:
            raise self._failures[0]
        blocks = "".join(f"<Latest>{block}</Latest>" for block in self._ids)
        body = memoryview(f"<BlockList>{blocks}</BlockList>".encode())
        self._ask(self._connected(self._destination), "PUT", f"{self._destination.path}?comp=blocklist", {}, body, 201)

    def _client(self) -> None:
        try:
            getting, putting = self._connected(self._source), self._connected(self._destination)
            with memoryview(mmap.mmap(-1, self._block)) as whole:
                while (index := next(self._turn)) < len(self._ids):
                    start = index * self._block
                    view = whole[: min(self._block, self._size - start)]
                    ranged = {"Range": f"bytes={start}-{start + len(view) - 1}"}
                    self._ask(getting, "GET", self._source.path, ranged, None, 206, view)
                    target = f"{self._destination.path}?comp=block&blockid={self._ids[index]}"
                    self._ask(putting, "PUT", target, {}, view, 201)
                    view.release()
        except BaseException as error:  # noqa: BLE001 - raised in the main thread
            self._failures.append(error)

    def _connected(self, url: SplitResult) -> http.HttpClientConnection:
        tls = None
        if url.scheme == "https":
            tls = self._tls.new_connection_options()
            tls.set_server_name(str(url.hostname))
        made = http.HttpClientConnection.new(
            str(url.hostname), url.port or 443, self._bootstrap, tls_connection_options=tls
        )
        return made.result()

    def _ask(
        self,
        connection: http.HttpClientConnection,
        method: str,
        target: str,
        headers: dict[str, str],
        body: memoryview | None,
        status: int,
        into: memoryview | None = None,
    ) -> None:
        done = 0

        def received(http_stream: object, chunk: bytes, **_: object) -> None:  # noqa: ARG001 - awscrt names it
            nonlocal done
            if into is not None:
                into[done : done + len(chunk)] = chunk
            done += len(chunk)

        named = {"Host": self._source.netloc, "x-ms-version": "2023-11-03", **headers}
        if body is not None:
            named["Content-Length"] = str(len(body))
        request = http.HttpRequest(method, target, http.HttpHeaders(list(named.items())), View(body) if body else None)
        stream = connection.request(request, None, received)
        stream.activate()
        answered = stream.completion_future.result()
        if answered != status or (into is not None and done != len(into)):
            raise SystemExit(f"{answered} instead of {status}, {done} bytes")


if __name__ == "__main__":
    Copy(sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])).run(int(sys.argv[5]))
