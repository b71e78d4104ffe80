"""An HTTP or HTTPS server for tests that records its requests."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.certificates import HOST


class RecordingServer:
    """Answers each request with ``body``, or with its method, target and body length, and records it."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.connections = 0
        self.closes_after_response = False
        self.body: bytes | None = None
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                server.connections += 1
                super().setup()

            def answer(self) -> None:
                # Before the answer: whoever has received it may change the setting for the next one.
                closes = server.closes_after_response
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.seen.append((f"{self.command} {self.path}", headers, body))
                response = f"{self.command} {self.path} {len(body)}".encode() if server.body is None else server.body
                self.send_response(302 if self.path == "/redirect" else 200)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Encoding", "gzip")
                if self.path == "/without-length":
                    self.send_header("Connection", "close")
                else:
                    self.send_header("Content-Length", str(len(response)))
                self.end_headers()
                self.wfile.write(response)
                self.close_connection |= closes

            do_GET = do_PUT = answer  # noqa: N815 - names that http.server requires

            def log_message(self, *_: object) -> None:
                pass

        # All of 127.0.0.0/8, so that a client can use another address than the certificate's.
        self._server = ThreadingHTTPServer(("", 0), Handler)
        self._server.daemon_threads = True
        # A refused handshake must not print a traceback.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"{'https' if tls else 'http'}://{HOST}:{self.port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(tls: ssl.SSLContext | None = None) -> Iterator[RecordingServer]:
    """Run a server."""
    server = RecordingServer(tls)
    try:
        yield server
    finally:
        server.close()
