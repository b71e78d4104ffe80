"""A server on a port of its own whose responses are dictated byte by byte, as a function of the request."""

import socket
import ssl
import struct
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from urllib.parse import parse_qs, urlsplit

from tests.fakes.scripted_server import CLOSE, RESET, Step


@dataclass(frozen=True)
class Request:
    """A request as it came: header names are in lower case, a query's values are the first ones.

    Attributes:
        number: How many requests the server had received before.
    """

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    number: int = 0

    @property
    def path(self) -> str:
        """The path, percent-encoded."""
        return urlsplit(self.target).path

    @property
    def query(self) -> dict[str, str]:
        """The query."""
        asked = parse_qs(urlsplit(self.target).query, keep_blank_values=True, errors="surrogateescape")
        return {name: values[0] for name, values in asked.items()}


Respond = Callable[[Request], Iterable[Step]]
"""Returns what to do: bytes are sent, a number is a pause in seconds, ``CLOSE`` and ``RESET`` end the connection."""


@contextmanager
def wire_server(
    respond: Respond,
    *,
    early: Callable[[Request], Sequence[Step] | None] = lambda _: None,
    interim: Sequence[Step] = (),
    tls: ssl.SSLContext | None = None,
) -> Iterator[str]:
    """Run the server; yield its URL. It ends with the block, and with it every connection and pause.

    Args:
        respond: Called with each request after its body has arrived.
        early: Called before a request's body is read; steps that it returns are the response, and the body is left.
        interim: Steps before each request's body is read.
        tls: Speak TLS.
    """
    listener = socket.create_server(("127.0.0.1", 0), backlog=256)
    opened: set[socket.socket] = set()
    numbers = iter(range(1 << 60))
    lock = threading.Lock()
    ended = threading.Event()

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if tls:
                connection = tls.wrap_socket(connection, server_side=True)
            with lock:
                opened.add(connection)
            try:
                while _serve_one(connection, respond, early, interim, numbers, ended):
                    pass
            finally:
                with lock:
                    opened.discard(connection)
                connection.close()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        ended.set()
        # A blocked accept keeps the listening socket alive until something wakes it.
        with suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        with lock:
            for connection in opened:
                with suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)


def _serve_one(
    connection: socket.socket,
    respond: Respond,
    early: Callable[[Request], Sequence[Step] | None],
    interim: Sequence[Step],
    numbers: Iterator[int],
    ended: threading.Event,
) -> bool:
    """Serve a request; return whether the connection is still open."""
    received = _received(connection)
    if received is None:
        return False
    request, body = received
    request = replace(request, number=next(numbers))
    steps: Iterable[Step] | None = early(request)
    if steps is None:
        if not _are_done(interim, connection, ended):
            return False
        data = _rest(connection, bytearray(body), int(request.headers.get("content-length", "0")))
        if data is None:
            return False
        steps = respond(replace(request, body=data))
    return _are_done(steps, connection, ended)


def _are_done(steps: Iterable[Step], connection: socket.socket, ended: threading.Event) -> bool:
    """Do the steps; return whether the connection is still open."""
    for step in steps:
        if step is CLOSE:
            return False
        if step is RESET:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        if isinstance(step, bytes):
            connection.sendall(step)
        elif ended.wait(float(step)):  # type: ignore[arg-type]  # the other steps are handled above
            return False
    return True


def _received(connection: socket.socket) -> tuple[Request, bytes] | None:
    """Return a request without its body, and the bytes that came with its head; None at the connection's end."""
    stream = b""
    while b"\r\n\r\n" not in stream:
        more = connection.recv(65_536)
        if not more:
            return None
        stream += more
    head, _, body = stream.partition(b"\r\n\r\n")
    line, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = line.split(" ")
    headers = {name.lower(): value.strip() for name, _, value in (each.partition(":") for each in lines)}
    return Request(method, target, headers, b""), body


def _rest(connection: socket.socket, data: bytearray, length: int) -> bytes | None:
    """Return a request's whole body; None if the connection ends before."""
    while len(data) < length:
        more = connection.recv(1 << 20)
        if not more:
            return None
        data += more
    return bytes(data)
