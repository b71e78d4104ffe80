"""A connection that never blocks: addresses, TLS, partial sends."""

import select
import selectors
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from s3_to_azure.model.errors import S3
from s3_to_azure.stores.event_loop.addresses import Address, host_of
from s3_to_azure.stores.event_loop.connection import Connection
from s3_to_azure.stores.event_loop.exchange import HEADROOM_BYTES, Exchange
from tests.certificates import certified
from tests.fakes.wire_server import Request, wire_server

DONE = b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n"


def address(host: str, port: int) -> Address:
    """Return a row of ``getaddrinfo``."""
    return (socket.AF_INET, socket.SOCK_STREAM, 6, "", (host, port))


@contextmanager
def closed_port() -> Iterator[int]:
    """Return a port that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


def wait(connection: Connection) -> int:
    """Wait as the selector would; return the events."""
    with selectors.DefaultSelector() as selector:
        connection.watch(selector)
        ((_, events),) = selector.select(10)
        connection.unwatch(selector)
    return events


def exchange(data: bytes | None = None) -> Exchange:
    """Return an exchange."""
    headers = {"Content-Length": str(len(data or b""))}
    return Exchange(S3, "t", "b", "http://127.0.0.1/", headers, data, bytearray(HEADROOM_BYTES))


def run(connection: Connection, made: Exchange) -> int:
    """Do an exchange; return how many times the socket took only a part."""
    partial = 0
    while not connection.open():
        wait(connection)
    connection.send(made)
    while made.is_sending:
        partial += 1
        wait(connection)
        connection.send(made)
    while not made.is_complete():
        wait(connection)
        assert connection.receive(made)
    return partial


def test_all_addresses_are_tried_in_order() -> None:
    """The first one that answers is used; if none does, the last one's failure is told."""
    with closed_port() as port, wire_server(lambda _: [DONE]) as url:
        alive = int(url.rpartition(":")[2])
        host = host_of("http", "127.0.0.1")
        connection = Connection(S3, host, [address("127.0.0.1", port), address("127.0.0.1", alive)], None)
        failure: Exception | None = None
        for _ in range(2):
            connection.connect(failure)
            wait(connection)
            try:
                assert connection.open()
            except OSError as error:
                failure = error
        assert isinstance(failure, ConnectionRefusedError)
        assert connection.has_connected
        assert connection.address == address("127.0.0.1", alive)
        connection.close()
        connection = Connection(S3, host, [address("127.0.0.1", port)], None)
        connection.connect()
        wait(connection)
        with pytest.raises(ConnectionRefusedError) as raised:
            connection.open()
        with pytest.raises(ConnectionRefusedError):
            connection.connect(raised.value)
        connection.close()


@pytest.mark.parametrize("over_tls", [False, True])
def test_request_that_a_slow_peer_takes_in_parts(tmp_path: Path, *, over_tls: bool) -> None:
    """Every byte arrives once and in order, whatever the socket takes at a time."""
    certificate = certified(tmp_path / "server.pem")
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    received: list[Request] = []

    def respond(request: Request) -> list[bytes]:
        received.append(request)
        return [DONE]

    data = b"".join(number.to_bytes(4, "big") for number in range(2_000_000))
    with wire_server(respond, tls=server if over_tls else None) as url:
        scheme, _, netloc = url.partition("://")
        host = host_of(scheme, netloc)
        tls = ssl.create_default_context(cafile=str(certificate)) if over_tls else None
        connection = Connection(S3, host, [address(host.name, host.port)], tls)
        connection.connect()
        # The socket takes this much at a time, whatever the machine's default is.
        connection.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
        wait(connection)
        made = exchange(data)
        partial = run(connection, made)
        assert partial > 1
        assert made.status == 201
        assert made.keeps_connection
        assert connection.is_clean()
        second = exchange(data[:5])
        run(connection, second)
        connection.close()
    assert [request.body for request in received] == [data, data[:5]]


def test_connection_with_unread_bytes_is_not_clean() -> None:
    """Nor one that has ended."""
    ours, theirs = socket.socketpair()
    connection = Connection(S3, host_of("http", "127.0.0.1"), [], None)
    connection.sock = ours
    assert connection.is_clean()
    theirs.send(b"x")
    select.select([ours], [], [], 10)
    assert not connection.is_clean()
    ours.recv(1)
    assert connection.is_clean()
    theirs.close()
    select.select([ours], [], [], 10)
    assert not connection.is_clean()
    connection.close()


def test_refusal_is_read_after_sending_failed() -> None:
    """The peer has closed, so that sending fails, but it has said why."""
    listener = socket.create_server(("127.0.0.1", 0))

    def refuse() -> None:
        peer, _ = listener.accept()
        peer.recv(65_536)
        peer.sendall(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n")
        peer.shutdown(socket.SHUT_WR)
        # Before sending failed, the rest must not be taken; after it, so that no RST throws the response away.
        has_failed.wait(10)
        while peer.recv(1 << 20):
            pass
        peer.close()

    has_failed = threading.Event()
    thread = threading.Thread(target=refuse, daemon=True)
    thread.start()
    connection = Connection(S3, host_of("http", "127.0.0.1"), [address(*listener.getsockname())], None)
    connection.connect()
    wait(connection)
    assert connection.open()
    made = exchange(bytes(16 << 20))
    connection.send(made)
    select.select([connection.sock], [], [], 10)
    connection.sock.shutdown(socket.SHUT_WR)
    deadline = time.monotonic() + 10
    while made.is_sending and time.monotonic() < deadline:
        connection.send(made)
    has_failed.set()
    assert isinstance(made.refused_by, BrokenPipeError)
    assert connection.receive(made)
    assert made.is_complete()
    assert (made.status, made.is_early_success, made.keeps_connection) == (403, False, False)
    connection.close()
    thread.join(10)
    listener.close()
