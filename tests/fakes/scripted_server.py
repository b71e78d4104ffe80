"""A raw HTTP server that sends what a test dictates, byte by byte."""

import re
import socket
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

CLOSE = object()
"""Ends the connection."""

RESET = object()
"""Ends the connection with RST."""

Step = bytes | float | object
Script = Callable[[int], Sequence[Step] | Iterator[Step]]
"""Returns what to do for a request, by its number: bytes are sent, a number is a pause in seconds."""


@dataclass
class ScriptedServer:
    """What the server has seen.

    Attributes:
        requests: The heads of all requests.
        connections: How many connections were opened.
    """

    url: str
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0


@contextmanager
def scripted_server(
    script: Script, *, read_body: bool = True, tls: ssl.SSLContext | None = None
) -> Iterator[ScriptedServer]:
    """Run a server on a port of its own.

    Args:
        script: What to send for each request.
        read_body: Read a request's body before anything is sent; otherwise it is never read.
        tls: Speak TLS.
    """
    listener = socket.create_server(("127.0.0.1", 0))
    scheme = "https" if tls else "http"
    server = ScriptedServer(f"{scheme}://127.0.0.1:{listener.getsockname()[1]}")
    opened: list[socket.socket] = []

    def accept() -> None:
        with suppress(OSError):
            while True:
                connection, _ = listener.accept()
                server.connections += 1
                opened.append(connection)
                threading.Thread(target=serve, args=(connection,), daemon=True).start()

    def serve(connection: socket.socket) -> None:
        with suppress(OSError):
            if tls:
                connection = tls.wrap_socket(connection, server_side=True)
                opened.append(connection)
            _serve(connection, server, script, read_body=read_body)

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield server
    finally:
        listener.close()
        for connection in opened:
            connection.close()


def _serve(connection: socket.socket, server: ScriptedServer, script: Script, *, read_body: bool) -> None:
    buffer = b""
    while True:
        while b"\r\n\r\n" not in buffer:
            received = connection.recv(65_536)
            if not received:
                return
            buffer += received
        head, _, buffer = buffer.partition(b"\r\n\r\n")
        number = len(server.requests)
        server.requests.append(head)
        match = re.search(rb"(?i)content-length: *(\d+)", head)
        left = int(match[1]) - len(buffer) if match and read_body else 0
        buffer = buffer[int(match[1]) :] if match and read_body else b""
        while left > 0:
            left -= len(connection.recv(65_536))
        for step in script(number):
            if step is CLOSE or step is RESET:
                if step is RESET:
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                connection.close()
                return
            if isinstance(step, bytes):
                connection.sendall(step)
            else:
                time.sleep(float(step))  # type: ignore[arg-type]  # the other steps are handled above
