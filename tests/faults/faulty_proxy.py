"""A reverse proxy that acts like a bad network or server: it cuts, resets, stalls, damages, loses and refuses."""

import http.client
import re
import select
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self
from urllib.parse import urlsplit

HOST: Final = "127.0.0.1"


@dataclass(frozen=True)
class Request:
    """A request as the proxy received it."""

    method: str
    path: str
    headers: Mapping[str, str]
    size_bytes: int
    number: int

    def is_(self, kind: str) -> bool:
        """Return whether it is of a kind, such as ``get range``, ``get whole``, ``put block`` or ``put block list``."""
        return kind == self.kind

    @property
    def kind(self) -> str:
        """The kind of request, in the services' words."""
        query = self.path.partition("?")[2]
        if self.method == "PUT" and "x-ms-version" in self.headers:
            comp = re.search(r"comp=(\w+)", query)
            return {None: "put blob", "block": "put block", "blocklist": "put block list"}.get(
                comp and comp[1], "put other"
            )
        if self.method == "GET" and "comp=blocklist" in query:
            return "get block list"
        if self.method == "GET" and not query:
            return "get range" if "range" in self.headers else "get whole"
        return self.method.lower()


@dataclass(frozen=True)
class Answer:
    """Answer instead of the server, which receives nothing."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""


@dataclass(frozen=True)
class Cut:
    """Send this many bytes of the answer's body, then close the connection: with FIN, or with RST."""

    after_bytes: int
    reset: bool = False


@dataclass(frozen=True)
class CutRequest:
    """Receive this many bytes of the request's body, then reset the connection; the server receives nothing."""

    after_bytes: int


@dataclass(frozen=True)
class Stall:
    """Send this many bytes of the answer's body, then nothing until the proxy closes; with 0, not even a status."""

    after_bytes: int = 0


@dataclass(frozen=True)
class Flip:
    """Flip a bit of one byte of the answer's body."""

    offset: int


@dataclass(frozen=True)
class FlipRequest:
    """Flip a bit of one byte of the request's body before the server receives it."""

    offset: int


@dataclass(frozen=True)
class Lose:
    """Pass the request on, and reset the connection instead of answering."""


@dataclass(frozen=True)
class Shorten:
    """Send fewer bytes of the body, with a Content-Length that fits them."""

    by_bytes: int


@dataclass(frozen=True)
class Forget:
    """Pass the request on without these headers, as a server that ignores them."""

    headers: tuple[str, ...]


@dataclass(frozen=True)
class Slow:
    """Wait before the request is passed on."""

    seconds: float


Fault = Answer | Cut | CutRequest | Stall | Flip | FlipRequest | Lose | Shorten | Forget | Slow
Plan = Callable[[Request], Fault | None]


class FaultyProxy:
    """A proxy before one server.

    Args:
        upstream: The real server's URL; a path in it is not changed.
        tls: Serve TLS with this context.
    """

    def __init__(self, upstream: str, *, tls: ssl.SSLContext | None = None) -> None:
        self.plan: Plan = lambda _: None
        self.seen: list[Request] = []
        self.arrived: list[Request] = []
        """Requests whose body arrived completely."""
        self.answered: list[tuple[Request, int]] = []
        """Requests that the server answered, with its status; the client may have received something else."""
        self.faults = 0
        self.mistakes: list[Exception] = []
        """Exceptions that a plan raised, which are mistakes of the test."""
        self.secrets: set[str] = set()
        """Every signature that was received."""
        self.released = threading.Event()
        self.lock = threading.Lock()
        parts = urlsplit(upstream)
        self.upstream = (str(parts.hostname), int(parts.port or 80))
        proxy = self

        class Handler(_Handler):
            owner = proxy

        self._server = ThreadingHTTPServer((HOST, 0), Handler)
        self._server.daemon_threads = True
        # The default backlog is five; a further connection would be ignored, and repeated a second later.
        self._server.socket.listen(128)
        if tls:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.url = f"{'https' if tls else 'http'}://{HOST}:{self._server.server_port}{parts.path}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def fail(self, kind: str, *faults: Fault) -> None:
        """Give each fault to one of the next requests of this kind."""
        left = list(faults)

        def plan(request: Request) -> Fault | None:
            if not request.is_(kind):
                return None
            with self.lock:
                return left.pop(0) if left else None

        self.plan = plan

    def always(self, kind: str, fault: Fault) -> None:
        """Give the fault to all requests of this kind."""
        self.plan = lambda request: fault if request.is_(kind) else None

    def count(self, kind: str) -> int:
        """Return how many requests of this kind were received."""
        with self.lock:
            return sum(request.is_(kind) for request in self.seen)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Release stalled requests, and stop listening."""
        self.released.set()
        self._server.shutdown()
        self._server.server_close()
        if self.mistakes:
            raise self.mistakes[0]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    owner: FaultyProxy

    def setup(self) -> None:
        super().setup()
        self._up: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        if self._up:
            self._up.close()
        with suppress(OSError):
            super().finish()

    def handle(self) -> None:
        with suppress(OSError):
            super().handle()

    def do(self) -> None:
        """Receive a request, ask the plan for a fault, and act on it."""
        size = int(self.headers.get("Content-Length") or 0)
        headers = {name.lower(): value for name, value in self.headers.items()}
        request = self._note(headers, size)
        try:
            fault = self.owner.plan(request)
        except Exception as error:
            self.owner.mistakes.append(error)
            raise
        if fault:
            with self.owner.lock:
                self.owner.faults += 1
        if isinstance(fault, CutRequest):
            self.rfile.read(min(size, fault.after_bytes))
            self._reset()
            return
        body = self.rfile.read(size)
        if len(body) < size:
            # The client died in the middle of its request.
            self.close_connection = True
            return
        with self.owner.lock:
            self.owner.arrived.append(request)
        if isinstance(fault, Answer):
            self._send(fault.status, dict(fault.headers), fault.body, fault)
            return
        if isinstance(fault, Slow):
            time.sleep(fault.seconds)
        if isinstance(fault, FlipRequest):
            body = _flipped(body, fault.offset)
        if isinstance(fault, Forget):
            headers = {name: value for name, value in headers.items() if name not in fault.headers}
        status, answered, data = self._forward(request, headers, body)
        with self.owner.lock:
            self.owner.answered.append((request, status))
        if isinstance(fault, Lose):
            self._reset()
            return
        self._send(status, answered, data, fault)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do  # noqa: N815 - http.server's names

    def _note(self, headers: Mapping[str, str], size: int) -> Request:
        owner = self.owner
        with owner.lock:
            request = Request(self.command, self.path, headers, size, len(owner.seen))
            owner.seen.append(request)
            signed = headers.get("authorization", "")
            found = [signed.rsplit("Signature=", 1)[-1].rsplit(":", 1)[-1]] if signed else []
            found += re.findall(r"[?&]sig=([^&]+)", self.path)
            owner.secrets.update(found)
        return request

    def _forward(self, request: Request, headers: Mapping[str, str], body: bytes) -> tuple[int, dict[str, str], bytes]:
        # The server closed the idle connection, which the client cannot see.
        if self._up and self._up.sock and _is_readable(self._up.sock):
            self._up.close()
        if self._up is None:
            self._up = http.client.HTTPConnection(*self.owner.upstream, timeout=60)
        self._up.putrequest(request.method, request.path, skip_host=True, skip_accept_encoding=True)
        for name, value in headers.items():
            self._up.putheader(name, value)
        self._up.endheaders(body or None)
        response = self._up.getresponse()
        data = response.read()
        dropped = ("transfer-encoding", "connection", "keep-alive")
        return response.status, {n: v for n, v in response.getheaders() if n.lower() not in dropped}, data

    def _send(self, status: int, headers: dict[str, str], body: bytes, fault: Fault | None) -> None:
        if isinstance(fault, Shorten):
            body = body[: -fault.by_bytes]
        if isinstance(fault, Flip):
            body = _flipped(body, fault.offset)
        if isinstance(fault, Stall) and not fault.after_bytes:
            self.owner.released.wait()
            self.close_connection = True
            return
        self.send_response_only(status)
        if self.command != "HEAD":
            headers = {name: value for name, value in headers.items() if name.lower() != "content-length"}
            headers["Content-Length"] = str(len(body))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if isinstance(fault, (Cut, Stall)):
            self.wfile.write(body[: fault.after_bytes])
            self.wfile.flush()
            if isinstance(fault, Stall):
                self.owner.released.wait()
            elif fault.reset:
                self._reset()
            self.close_connection = True
            return
        if self.command != "HEAD":
            self.wfile.write(body)

    def _reset(self) -> None:
        """Close the connection with a RST."""
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        # The files are closed too, because the socket lives as long as they do.
        self.rfile.close()
        self.connection.close()

    def log_message(self, *_: Any) -> None:
        """Log nothing."""


def _flipped(data: bytes, offset: int) -> bytes:
    at = min(offset, len(data) - 1)
    return data[:at] + bytes([data[at] ^ 0x20]) + data[at + 1 :] if data else data


def _is_readable(connection: socket.socket) -> bool:
    # Unlike select(), poll() takes descriptors above 1,023, of which a long test run has some.
    poll = select.poll()
    poll.register(connection, select.POLLIN)
    return bool(poll.poll(0))
