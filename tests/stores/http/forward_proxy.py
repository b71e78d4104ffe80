"""A forward proxy for tests: plain requests, CONNECT tunnels, Basic authentication, and TLS to the proxy itself."""

import base64
import http.client
import select
import socket
import ssl
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import quote, urlsplit

USER: Final = "user"
PASSWORD: Final = "p@ss:word"


class ForwardProxy:
    """Forwards requests that have the right credentials, answers 407 to others, and records all of them.

    Args:
        tls: Settings of a proxy that is reached over TLS.
    """

    def __init__(self, *, tls: ssl.SSLContext | None = None) -> None:
        self.lines: list[str] = []
        self.connections = 0
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        self._server.daemon_threads = True
        # A refused handshake must not print a traceback.
        self._server.handle_error = lambda *_: None  # type: ignore[method-assign]
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        scheme, address = "https" if tls else "http", f"127.0.0.1:{self._server.server_port}"
        self.url = f"{scheme}://{quote(USER)}:{quote(PASSWORD, safe='')}@{address}"
        self.url_without_credentials = f"{scheme}://{address}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> Self:
        """Return the running proxy."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    proxy: ForwardProxy

    def setup(self) -> None:
        self.proxy.connections += 1
        super().setup()

    def do_CONNECT(self) -> None:
        if self._is_allowed():
            host, _, port = self.path.rpartition(":")
            with socket.create_connection((host, int(port))) as upstream:
                self.send_response(200)
                self.end_headers()
                _pump(self.connection, upstream)
        self.close_connection = True

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
        if not self._is_allowed():
            return
        url = urlsplit(self.path)
        headers = {name: value for name, value in self.headers.items() if name != "Proxy-Authorization"}
        upstream = http.client.HTTPConnection(url.netloc)
        upstream.request(self.command, f"{url.path}?{url.query}" if url.query else url.path, body, headers)
        response = upstream.getresponse()
        data = response.read()
        self.send_response_only(response.status)
        for name, value in response.getheaders():
            # The body has been read, so it is in chunks no more.
            is_chunked = name.lower() == "transfer-encoding"
            self.send_header(*(("Content-Length", str(len(data))) if is_chunked else (name, value)))
        self.end_headers()
        self.wfile.write(data)
        upstream.close()

    do_GET = do_PUT = do_HEAD = forward  # noqa: N815 - names that http.server requires

    def _is_allowed(self) -> bool:
        self.proxy.lines.append(f"{self.command} {self.path}")
        credentials = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Proxy-Authorization") == f"Basic {credentials}":
            return True
        self.send_response(407)
        self.send_header("Content-Length", "0")
        self.end_headers()
        return False

    def log_message(self, *_: object) -> None:
        pass


def _pump(client: Any, upstream: socket.socket) -> None:
    """Copy bytes both ways until one side closes."""
    other = {client: upstream, upstream: client}
    while True:
        is_pending = isinstance(client, ssl.SSLSocket) and client.pending()
        for side in [client] if is_pending else select.select([client, upstream], [], [], 20)[0]:
            data = side.recv(65_536)
            if not data:
                return
            other[side].sendall(data)
