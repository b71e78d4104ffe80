"""TLS in memory behaves as ``ssl.SSLSocket`` does: same trust, same ends, same bytes."""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from s3_to_azure.model.limits import MIB
from s3_to_azure.stores.http.connections import HttpConnections, _tls
from s3_to_azure.stores.http.tls import _PIECE_BYTES, TlsSocket
from tests.certificates import HOST, certified
from tests.fakes.contexts import some_bytes

LARGE = 20 * MIB


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make one that is good today."""
    return certified(tmp_path_factory.mktemp("tls") / "good.pem")


def serving(certificate: Path, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """Return a server's context."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.maximum_version = newest
    return context


class Counted(socket.socket):
    """A socket that counts what it is asked to send."""

    sends = 0

    def sendall(self, *args: Any) -> None:
        """Count, and send."""
        self.sends += 1
        super().sendall(*args)


@contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[Counted]:
    """Yield a socket whose other end does as told in a thread; at the end, what the peer raised is raised."""
    ours, theirs = socket.socketpair()
    failed: list[BaseException] = []

    def run() -> None:
        try:
            with theirs:
                talk(theirs)
        except BaseException as error:  # noqa: BLE001 - raised in the test
            failed.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    with Counted(fileno=ours.detach()) as plain:
        plain.settimeout(20)
        yield plain
    thread.join(20)
    assert not thread.is_alive()
    if failed:
        raise failed[0]


def over_tls(context: ssl.SSLContext, talk: Callable[[ssl.SSLSocket], None]) -> Callable[[socket.socket], None]:
    """Return what shakes hands, then talks; it closes without a goodbye."""

    def run(theirs: socket.socket) -> None:
        with context.wrap_socket(theirs, server_side=True) as tls:
            talk(tls)

    return run


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_20_mib_go_and_come_back(certificate: Path, newest: ssl.TLSVersion) -> None:
    """Byte for byte, sent a piece of many records at a time."""
    data = some_bytes(LARGE)

    def echo(tls: ssl.SSLSocket) -> None:
        with tls.makefile("rb") as reader:
            tls.sendall(reader.read(LARGE))

    back = bytearray(LARGE)
    with peer(over_tls(serving(certificate, newest), echo)) as plain:
        tls = TlsSocket(plain, _tls(str(certificate)), HOST)
        before = plain.sends
        tls.sendall(memoryview(data))
        assert plain.sends - before == LARGE // _PIECE_BYTES
        with tls.makefile("rb") as reader, memoryview(back) as view:
            assert reader.readinto(view) == LARGE
            assert reader.read(1) == b""
    assert back == data


def refused(plain: socket.socket, context: ssl.SSLContext, host: str, why: str) -> None:
    """Shake hands in vain."""
    with pytest.raises(ssl.SSLCertVerificationError, match=why):
        TlsSocket(plain, context, host)
    assert plain.fileno() == -1


def test_whom_nobody_trusts_is_refused(certificate: Path, tmp_path: Path) -> None:
    """A stranger, another host's certificate, an expired one: each is told so, and nothing is sent to it."""

    def hear(theirs: socket.socket) -> None:
        with pytest.raises(ssl.SSLError, match="ALERT"), context.wrap_socket(theirs, server_side=True) as tls:
            assert tls.recv(1) == b""

    old = certified(tmp_path / "old.pem", last_day=-1)
    for presented, trusted, host, why in (
        (certificate, True, HOST, "self.signed certificate"),
        (certificate, str(certificate), "localhost", "Hostname mismatch"),
        (certificate, str(certificate), "127.0.0.2", "IP address mismatch"),
        (old, str(old), HOST, "certificate has expired"),
    ):
        context = serving(presented)
        with peer(hear) as plain:
            refused(plain, _tls(trusted), host, why)


def test_verification_is_off_when_told(certificate: Path) -> None:
    """With verify=False any peer will do."""
    with peer(over_tls(serving(certificate), lambda tls: tls.sendall(b"x"))) as plain:
        tls = TlsSocket(plain, _tls(verify=False), "anybody")
        with tls.makefile("rb") as reader:
            assert reader.read(1) == b"x"


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_stream_that_breaks_off_ends(certificate: Path, cut: int) -> None:
    """Between two records or within one: what came whole is handed over, then it ends, again and again."""

    def break_off(theirs: socket.socket) -> None:
        arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = serving(certificate).wrap_bio(arrived, leaving, server_side=True)
        while True:
            with suppress(ssl.SSLWantReadError):
                tls.do_handshake()
                break
            theirs.sendall(leaving.read())
            arrived.write(theirs.recv(65_536))
        tls.write(b"whole")
        whole = leaving.read()
        tls.write(bytes(1_000))
        theirs.sendall(whole + leaving.read()[:cut])

    with peer(break_off) as plain:
        tls = TlsSocket(plain, _tls(str(certificate)), HOST)
        with tls.makefile("rb") as reader:
            assert reader.read(2_000) == b"whole"
            assert reader.read(1) == b""


def test_damaged_record_is_refused(certificate: Path) -> None:
    """What is no record of this connection is an error, not data."""

    def talk(tls: ssl.SSLSocket) -> None:
        with socket.socket(fileno=tls.detach()) as plain:
            plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))

    with peer(over_tls(serving(certificate), talk)) as plain:
        tls = TlsSocket(plain, _tls(str(certificate)), HOST)
        with tls.makefile("rb") as reader, pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"):
            reader.read(1)


def test_silent_peer_times_out(certificate: Path) -> None:
    """After the handshake and in it; a peer that drips through it has no more time than a silent one."""
    done = threading.Event()

    def drip(theirs: socket.socket) -> None:
        theirs.sendall(b"\x16\x03\x03\x40\x00")
        with suppress(BrokenPipeError):
            for _ in range(100):
                theirs.sendall(b"\0")
                time.sleep(0.02)

    with peer(over_tls(serving(certificate), lambda _: _waited(done))) as plain:
        tls = TlsSocket(plain, _tls(str(certificate)), HOST)
        tls.settimeout(0.05)
        with tls.makefile("rb") as reader, pytest.raises(TimeoutError):
            reader.read(1)
        done.set()

    def wait_until_it_leaves(theirs: socket.socket) -> None:
        while theirs.recv(65_536):
            pass

    for slow in (wait_until_it_leaves, drip):
        with peer(slow) as plain:
            plain.settimeout(0.2)
            with pytest.raises(TimeoutError):
                TlsSocket(plain, _tls(str(certificate)), HOST)


def _waited(event: threading.Event) -> None:
    assert event.wait(20)


@pytest.mark.parametrize("heard", [0, 65_536])
def test_peer_that_leaves_in_the_handshake(certificate: Path, heard: int) -> None:
    """Before it said anything: an error that the stores translate, and no socket left open."""

    def leave(theirs: socket.socket) -> None:
        theirs.recv(heard)

    with peer(leave) as plain:
        with pytest.raises(OSError, match=r"EOF|reset|Broken pipe"):
            TlsSocket(plain, _tls(str(certificate)), HOST)
        assert plain.fileno() == -1


def test_reader_outlives_the_connection(certificate: Path) -> None:
    """As http.client has it where the server closes after its answer."""
    data = some_bytes(MIB)
    with peer(over_tls(serving(certificate), lambda tls: tls.sendall(data))) as plain:
        tls = TlsSocket(plain, _tls(str(certificate)), HOST)
        with tls.makefile("rb") as reader:
            tls.close()
            assert reader.read() == data
        assert plain.fileno() == -1


def test_requests_over_tls(certificate: Path) -> None:
    """One connection for two requests, another where the server left it; a last answer is read to its end."""
    data = some_bytes(MIB)
    heads: list[bytes] = []
    accepted = 0

    def serve() -> None:
        nonlocal accepted
        context = serving(certificate)
        for _ in range(2):
            plain, _address = listening.accept()
            accepted += 1
            with context.wrap_socket(plain, server_side=True) as tls, tls.makefile("rb") as reader:
                while head := b"".join(iter(reader.readline, b"\r\n")) if reader.peek(1) else b"":
                    heads.append(head)
                    body = reader.read(len(data)) if head.startswith(b"PUT") else data
                    last = b"Connection: close\r\n" if b"/last" in head else b"Content-Length: %d\r\n" % len(data)
                    tls.sendall(b"HTTP/1.1 200 OK\r\n" + last + b"\r\n" + body)
                    if b"/last" in head or b"/leave" in head:
                        break

    with socket.create_server((HOST, 0)) as listening:
        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        port = listening.getsockname()[1]
        http_ = HttpConnections(verify=str(certificate))
        for method, path in (("PUT", "/a"), ("GET", "/leave"), ("GET", "/last")):
            body = memoryview(data) if method == "PUT" else None
            headers = {"Content-Length": str(len(data))} if body else {}
            with http_.answer(method, f"https://{HOST}:{port}{path}", headers, body) as answer:
                assert (answer.status, answer.read()) == (200, data)
        http_.close()
        thread.join(20)
    assert accepted == 2
    assert [head.split(b" ")[:2] for head in heads] == [[b"PUT", b"/a"], [b"GET", b"/leave"], [b"GET", b"/last"]]
    assert all(b"Host: %s:%d\r\n" % (HOST.encode(), port) in head for head in heads)
