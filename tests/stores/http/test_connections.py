"""Requests on kept connections: sent unchanged, over TLS, and through proxies."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Final

import pytest

from s3_to_azure.model.errors import UnexpectedResponse
from s3_to_azure.model.limits import MIB
from s3_to_azure.stores.http import connections as module
from s3_to_azure.stores.http.connections import HttpConnections
from s3_to_azure.stores.http.settings import HttpSettings, Proxies
from tests.certificates import HOST, certified
from tests.fakes.contexts import some_bytes
from tests.fakes.scripted_server import scripted_server
from tests.stores.http.forward_proxy import ForwardProxy
from tests.stores.http.recording_server import RecordingServer, serving


@pytest.fixture
def server() -> Iterator[RecordingServer]:
    """Run a server without TLS."""
    with serving() as made:
        yield made


@contextmanager
def connected(
    verify: bool | str = True,  # noqa: FBT002 - as the setting itself
    proxies: dict[str, str] | None = None,
    **more: Any,
) -> Iterator[HttpConnections]:
    """Make connections, and close them at the end."""
    made = HttpConnections(HttpSettings(verify=verify, proxies=Proxies(proxies), **more))
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def connections() -> Iterator[HttpConnections]:
    """Return connections without a proxy."""
    with connected() as made:
        yield made


def read_all(response: http.client.HTTPResponse, size_bytes: int = 100) -> bytes:
    """Read the body into a buffer of the caller's."""
    buffer = bytearray(size_bytes)
    count = 0
    with memoryview(buffer) as view:
        while got := response.readinto(view[count:]):
            count += got
    return bytes(buffer[:count])


def get(connections: HttpConnections, url: str, size_bytes: int = 100) -> bytes:
    """GET a URL and return the body."""
    with connections.request("GET", url, {}) as response:
        assert response.status == 200
        return read_all(response, size_bytes)


# -- plain HTTP --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["/", "/c/a%20b?comp=block&x=%2F", "/c//x~", "/c/%252e%252e/x", "/c/../x"])
def test_target_and_body_are_sent_unchanged(server: RecordingServer, connections: HttpConnections, target: str) -> None:
    """Path and query are sent byte for byte, the body whole, and the response is not decoded."""
    body = memoryview(b"0123456789")
    with connections.request(
        "PUT", server.url + target, {"Content-Length": "10", "x-ms-version": "1"}, body
    ) as response:
        assert (response.status, read_all(response)) == (200, f"PUT {target} 10".encode())
    line, seen, received = server.seen[0]
    assert (line, received) == (f"PUT {target}", b"0123456789")
    assert seen == {"host": f"{HOST}:{server.port}", "content-length": "10", "x-ms-version": "1"}


def test_connection_is_kept_only_if_the_body_was_read(server: RecordingServer, connections: HttpConnections) -> None:
    """The second request uses the first one's connection; an unread response costs a new one."""
    for _ in range(2):
        get(connections, f"{server.url}/k")
    assert server.connections == 1
    with connections.request("GET", f"{server.url}/k", {}):
        pass
    assert get(connections, f"{server.url}/k") == b"GET /k 0"
    assert server.connections == 2


def test_redirect_is_returned(server: RecordingServer, connections: HttpConnections) -> None:
    """Invariant 9: data and signature are sent to no other host."""
    with connections.request("GET", f"{server.url}/redirect", {}) as response:
        assert response.status == 302
    assert [line for line, _, _ in server.seen] == ["GET /redirect"]


def test_environment_is_not_read(
    server: RecordingServer, connections: HttpConnections, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither a proxy nor a netrc password of the machine affects a request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\n", encoding="ascii")
    monkeypatch.setenv("NETRC", str(netrc))
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    assert get(connections, f"{server.url}/k") == b"GET /k 0"
    assert "authorization" not in server.seen[0][1]


def test_connection_that_the_server_closed_is_replaced(server: RecordingServer, connections: HttpConnections) -> None:
    """A kept connection that the server has closed meanwhile is no failure."""
    with connections.request("GET", f"{server.url}/1", {}) as response:
        server.closes_after_response = True
        read_all(response)
    assert get(connections, f"{server.url}/2") == b"GET /2 0"
    assert get(connections, f"{server.url}/3") == b"GET /3 0"


def test_refused_connection_is_an_oserror(connections: HttpConnections) -> None:
    """The stores translate it."""
    with pytest.raises(OSError, match="refused"), connections.request("GET", "http://127.0.0.1:1/", {}):
        pytest.fail("answered")


def test_connection_in_use_is_closed_after_the_pool(server: RecordingServer, connections: HttpConnections) -> None:
    """close() does not wait for a request in progress, and leaves no socket open."""
    with connections.request("GET", f"{server.url}/k", {}) as response:
        connections.close()
        assert read_all(response) == b"GET /k 0"
    assert connections._idle == {}


def test_connection_is_closed_by_an_error_of_the_caller(server: RecordingServer, connections: HttpConnections) -> None:
    """A connection with a half-read response is not used for the next request."""
    with pytest.raises(ZeroDivisionError), connections.request("GET", f"{server.url}/k", {}):
        raise ZeroDivisionError
    assert connections._idle == {}


@pytest.mark.parametrize(("name", "value"), [("If-Match", '"e"\r\nx-evil: "'), ("If-Match", '"日"'), ("a\r\nb", "1")])
def test_invalid_header_is_never_sent(
    server: RecordingServer, connections: HttpConnections, name: str, value: str
) -> None:
    """The error does not quote the value, and the next request is sent normally."""
    with (
        pytest.raises(UnexpectedResponse, match="not a valid header") as refused,
        connections.request("GET", server.url, {name: value}),
    ):
        pytest.fail("answered")
    assert value not in str(refused.value)
    assert server.seen == []
    assert get(connections, server.url) == b"GET / 0"


# -- TLS ---------------------------------------------------------------------------------------------------------------

LARGE: Final = 20 * MIB


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make a certificate for 127.0.0.1 that is valid today."""
    return certified(tmp_path_factory.mktemp("tls") / "good.pem")


def server_context(certificate: Path, newest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> ssl.SSLContext:
    """Return a server's TLS settings."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.maximum_version = newest
    return context


@pytest.mark.parametrize("newest", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_20_mib_are_sent_and_received_over_tls(certificate: Path, newest: ssl.TLSVersion) -> None:
    """Byte for byte, both on one connection."""
    data = some_bytes(LARGE)
    with serving(server_context(certificate, newest)) as server, connected(str(certificate)) as connections:
        server.body = data
        headers = {"Content-Length": str(LARGE)}
        with connections.request("PUT", f"{server.url}/k", headers, memoryview(data)) as response:
            assert read_all(response, LARGE) == data
        assert server.seen[0][2] == data
        assert get(connections, f"{server.url}/k", LARGE) == data
        assert server.connections == 1


@pytest.mark.parametrize(
    ("host", "is_old", "is_trusted", "reason"),
    [
        (HOST, False, False, "self.signed certificate"),
        ("localhost", False, True, "Hostname mismatch"),
        ("127.0.0.2", False, True, "IP address mismatch"),
        (HOST, True, True, "certificate has expired"),
    ],
)
def test_server_that_is_not_trusted_gets_no_request(
    certificate: Path, tmp_path: Path, host: str, *, is_old: bool, is_trusted: bool, reason: str
) -> None:
    """An unknown certificate, one for another host, and an expired one."""
    presented = certified(tmp_path / "old.pem", last_day=-1) if is_old else certificate
    verify = str(presented) if is_trusted else True
    with serving(server_context(presented)) as server, connected(verify) as connections:
        url = f"https://{host}:{server.port}/k"
        with pytest.raises(ssl.SSLCertVerificationError, match=reason), connections.request("GET", url, {}):
            pytest.fail("answered")
        assert server.seen == []


def test_directory_of_certificates_is_trusted(certificate: Path, tmp_path: Path) -> None:
    """OpenSSL finds a certificate there by the hash of its subject."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certificate)
    digest = _subject_hash(certificate)
    (tmp_path / f"{digest}.0").write_bytes(certificate.read_bytes())
    with serving(server_context(certificate)) as server, connected(str(tmp_path)) as connections:
        assert get(connections, f"{server.url}/k") == b"GET /k 0"


def _subject_hash(certificate: Path) -> str:
    import subprocess  # noqa: PLC0415

    command = ["openssl", "x509", "-subject_hash", "-noout", "-in", str(certificate)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def test_verification_can_be_switched_off(certificate: Path) -> None:
    """With verify=False any certificate is accepted."""
    with serving(server_context(certificate)) as server, connected(verify=False) as connections:
        assert get(connections, f"https://localhost:{server.port}/k") == b"GET /k 0"


@contextmanager
def peer(talk: Callable[[socket.socket], None]) -> Iterator[str]:
    """Yield the URL of a server that does as told with one connection; raise at the end what it raised."""
    failures: list[BaseException] = []

    def run() -> None:
        try:
            accepted, _ = listening.accept()
            with accepted:
                talk(accepted)
        except BaseException as error:  # noqa: BLE001 - raised in the test
            failures.append(error)

    with socket.create_server((HOST, 0)) as listening:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        yield f"https://{HOST}:{listening.getsockname()[1]}/k"
        thread.join(20)
        assert not thread.is_alive()
    if failures:
        raise failures[0]


def over_tls(certificate: Path, talk: Callable[[ssl.SSLSocket], None]) -> Callable[[socket.socket], None]:
    """Return a function that reads a request over TLS, then talks, and closes without close_notify."""

    def run(plain: socket.socket) -> None:
        with server_context(certificate).wrap_socket(plain, server_side=True) as tls:
            tls.recv(65_536)
            talk(tls)

    return run


@pytest.mark.parametrize("cut", [0, 1, 100])
def test_eof_without_close_notify_ends_the_body(certificate: Path, cut: int) -> None:
    """Between two records or within one: complete records are returned, then the body ends, short."""

    def send_half(plain: socket.socket) -> None:
        arrived, leaving = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = server_context(certificate).wrap_bio(arrived, leaving, server_side=True)
        for step in (tls.do_handshake, lambda: tls.read(65_536)):
            while True:
                with suppress(ssl.SSLWantReadError):
                    step()
                    break
                plain.sendall(leaving.read())
                arrived.write(plain.recv(65_536))
        tls.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2000\r\n\r\nwhole")
        complete = leaving.read()
        tls.write(bytes(1_000))
        plain.sendall(complete + leaving.read()[:cut])

    with peer(send_half) as url, connected(str(certificate)) as connections:
        with connections.request("GET", url, {}) as response:
            assert read_all(response, 2_000) == b"whole"
            assert response.readinto(bytearray(1)) == 0
        assert connections._idle == {}


def test_damaged_record_is_refused(certificate: Path) -> None:
    """A record that is not of this connection is an error, not data."""

    def talk(tls: ssl.SSLSocket) -> None:
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
        with socket.socket(fileno=tls.detach()) as plain:
            plain.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))

    with (
        peer(over_tls(certificate, talk)) as url,
        connected(str(certificate)) as connections,
        connections.request("GET", url, {}) as response,
        pytest.raises(ssl.SSLError, match="BAD_RECORD_MAC"),
    ):
        response.readinto(bytearray(1))


def test_silent_peer_times_out_after_the_handshake(certificate: Path) -> None:
    """The read timeout ends the wait for a response."""
    done = threading.Event()

    def wait(_tls: ssl.SSLSocket) -> None:
        assert done.wait(20)

    with peer(over_tls(certificate, wait)) as url, connected(str(certificate), read_timeout_s=0.5) as connections:
        with pytest.raises(TimeoutError), connections.request("GET", url, {}):
            pytest.fail("answered")
        done.set()


def test_peer_times_out_in_the_handshake(certificate: Path) -> None:
    """A peer that sends single bytes gets no more time than a silent one; else this test would not end."""

    def say_nothing(plain: socket.socket) -> None:
        with suppress(ConnectionResetError):
            while plain.recv(65_536):
                pass

    def drip(plain: socket.socket) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):
            plain.sendall(b"\x16\x03\x03\x40\x00")
            while True:
                plain.sendall(b"\0")
                time.sleep(0.02)

    for slow in (say_nothing, drip):
        with (
            peer(slow) as url,
            connected(str(certificate), connect_timeout_s=0.2) as connections,
            pytest.raises(TimeoutError),
            connections.request("GET", url, {}),
        ):
            pytest.fail("answered")


@pytest.mark.parametrize("count", [0, 65_536])
def test_peer_that_closes_during_the_handshake_is_an_oserror(certificate: Path, count: int) -> None:
    """Before it sent anything; the stores translate the error."""

    def leave(plain: socket.socket) -> None:
        plain.recv(count)

    with (
        peer(leave) as url,
        connected(str(certificate)) as connections,
        pytest.raises(OSError, match=r"EOF|reset|Broken pipe"),
        connections.request("GET", url, {}),
    ):
        pytest.fail("answered")


def test_tls_connections_are_kept_and_replaced(certificate: Path) -> None:
    """One connection for two requests, another after the server has closed it; a body without length is read whole."""
    data = some_bytes(MIB)
    with serving(server_context(certificate)) as server, connected(str(certificate)) as connections:
        server.body = data
        assert get(connections, f"{server.url}/1", MIB) == data
        server.closes_after_response = True
        assert get(connections, f"{server.url}/2", MIB) == data
        assert server.connections == 1
        assert get(connections, f"{server.url}/without-length", MIB) == data
        assert server.connections == 2
    assert all(headers["host"] == f"{HOST}:{server.port}" for _, headers, _ in server.seen)


def test_bytes_that_tls_holds_end_the_connection(certificate: Path) -> None:
    """A second response in the record of the first one's end: no poll reports it, and it is nobody's response."""
    data = some_bytes(12_100)
    refusal = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data)
    # The rest is more than Python's own buffer holds, so that it is read into the caller's, byte for byte.
    steps = [head + data[:100], 0.05, data[100:] + refusal]
    with (
        scripted_server(lambda _: steps, tls=server_context(certificate)) as server,
        connected(str(certificate)) as connections,
    ):
        for _ in range(3):
            assert get(connections, f"{server.url}/k", len(data)) == data
        assert server.connections == 3


def test_connection_that_was_idle_for_long_is_not_used_again(
    server: RecordingServer, connections: HttpConnections, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall may have forgotten it, and a request would wait for its whole timeout."""
    for _ in range(2):
        get(connections, f"{server.url}/k")
    assert server.connections == 1
    monkeypatch.setattr(module, "MAX_IDLE_S", -1.0)
    get(connections, f"{server.url}/k")
    assert server.connections == 2


# -- proxies -----------------------------------------------------------------------------------------------------------


def test_plain_request_through_a_proxy(server: RecordingServer) -> None:
    """The proxy receives the whole URL and the credentials; the connection to it is kept."""
    with ForwardProxy() as proxy, connected(proxies={"http": proxy.url}) as connections:
        for _ in range(2):
            assert get(connections, f"{server.url}/a%20b?x=%2F") == b"GET /a%20b?x=%2F 0"
        assert proxy.lines == [f"GET {server.url}/a%20b?x=%2F"] * 2
        assert proxy.connections == 1
    assert server.seen[0][1]["host"] == f"{HOST}:{server.port}"


@pytest.mark.parametrize("proxy_over_tls", [False, True])
def test_tls_through_a_proxy(certificate: Path, *, proxy_over_tls: bool) -> None:
    """A tunnel carries the TLS, also within TLS to the proxy; the server sees no credentials of the proxy."""
    data = some_bytes(LARGE)
    context = server_context(certificate)
    with (
        serving(context) as server,
        ForwardProxy(tls=context if proxy_over_tls else None) as proxy,
        connected(str(certificate), {"https": proxy.url}) as connections,
    ):
        server.body = data
        headers = {"Content-Length": str(LARGE)}
        with connections.request("PUT", f"{server.url}/k", headers, memoryview(data)) as response:
            assert read_all(response, LARGE) == data
        assert get(connections, f"{server.url}/k", LARGE) == data
        assert proxy.lines == [f"CONNECT {HOST}:{server.port}"]
        assert server.connections == 1
        assert [line for line, _, _ in server.seen] == ["PUT /k", "GET /k"]
        assert server.seen[0][2] == data
        assert all("proxy-authorization" not in headers for _, headers, _ in server.seen)


def test_proxy_that_is_not_trusted_gets_no_credentials(certificate: Path) -> None:
    """A proxy that is reached over TLS must have a trusted certificate."""
    with (
        ForwardProxy(tls=server_context(certificate)) as proxy,
        connected(proxies={"https": proxy.url}) as connections,
        pytest.raises(ssl.SSLCertVerificationError),
        connections.request("GET", "https://storage.invalid/k", {}),
    ):
        pytest.fail("answered")
    assert proxy.lines == []


def test_proxy_that_refuses_the_tunnel_is_an_oserror(certificate: Path) -> None:
    """The error names the status and no credentials."""
    with (
        ForwardProxy() as proxy,
        connected(str(certificate), {"https": proxy.url_without_credentials}) as connections,
        pytest.raises(OSError, match="the proxy answered CONNECT with status 407"),
        connections.request("GET", "https://127.0.0.1:1/k", {}),
    ):
        pytest.fail("answered")
