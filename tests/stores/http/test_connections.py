"""Both ways of sending the hot requests: bare connections, and requests where a proxy is in between."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
import requests

from s3_to_azure.model.errors import UnexpectedAnswer
from s3_to_azure.stores.http.connections import GuardedSession, HttpConnections, open_connections


class Server:
    """Answers every request with its method, its target and the body's length; notes what came."""

    def __init__(self) -> None:
        """Listen on loopback."""
        self.seen: list[tuple[str, dict[str, str], bytes]] = []
        self.connected = 0
        self.hang_up = False
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                server.connected += 1
                super().setup()

            def answer(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                server.seen.append((f"{self.command} {self.path}", headers, body))
                said = f"{self.command} {self.path} {len(body)}".encode()
                self.send_response(302 if self.path == "/away" else 200)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Encoding", "gzip")
                self.send_header("Content-Length", str(len(said)))
                self.end_headers()
                self.wfile.write(said)
                self.close_connection = server.hang_up

            do_GET = do_PUT = answer  # noqa: N815 - names that http.server gives

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def server() -> Iterator[Server]:
    """Run it."""
    made = Server()
    yield made
    made.close()


@contextmanager
def _both(way: str) -> Iterator[Any]:
    made = HttpConnections(verify=True) if way == "bare" else GuardedSession(pool=2)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture(params=["bare", "requests"])
def http_(request: pytest.FixtureRequest) -> Iterator[Any]:
    """Return each of the two ways."""
    with _both(request.param) as made:
        yield made


def read_all(answer: http.client.HTTPResponse) -> bytes:
    """Read the body through a buffer of the caller's."""
    room = bytearray(100)
    count = 0
    with memoryview(room) as view:
        while got := answer.readinto(view[count:]):
            count += got
    return bytes(room[:count])


@pytest.mark.parametrize("target", ["/", "/c/a%20b?comp=block&x=%2F", "/c//x~", "/c/%252e%252e/x"])
def test_targets_and_bodies_arrive_as_they_are(server: Server, http_: Any, target: str) -> None:
    """Path and query byte for byte, the body whole, the answer not decoded."""
    body = memoryview(b"0123456789")
    with http_.answer("PUT", server.url + target, {"Content-Length": "10", "x-ms-version": "1"}, body) as answer:
        assert (answer.status, read_all(answer)) == (200, f"PUT {target} 10".encode())
    line, headers, arrived = server.seen[0]
    assert (line, arrived) == (f"PUT {target}", b"0123456789")
    assert headers["x-ms-version"] == "1"


def test_connection_is_kept_when_the_body_was_read(server: Server, http_: Any) -> None:
    """The second request goes over the first one's connection; an answer left unread costs a new one."""
    for _ in range(2):
        with http_.answer("GET", f"{server.url}/k", {}) as answer:
            read_all(answer)
    assert server.connected == 1
    with http_.answer("GET", f"{server.url}/k", {}):
        pass
    with http_.answer("GET", f"{server.url}/k", {}) as answer:
        assert read_all(answer) == b"GET /k 0"
    assert server.connected == 2


def test_redirects_are_handed_back(server: Server, http_: Any) -> None:
    """Invariant 9: data and signature go to no other host."""
    with http_.answer("GET", f"{server.url}/away", {}) as answer:
        assert answer.status == 302
    assert [line for line, _, _ in server.seen] == ["GET /away"]


def test_connection_that_the_server_left_is_replaced() -> None:
    """A keep-alive that ended meanwhile is no failure."""
    server = Server()
    http_ = HttpConnections(verify=True)
    with http_.answer("GET", f"{server.url}/1", {}) as answer:
        server.hang_up = True
        read_all(answer)
    with http_.answer("GET", f"{server.url}/2", {}) as answer:
        assert read_all(answer) == b"GET /2 0"
    with http_.answer("GET", f"{server.url}/3", {}) as answer:
        assert read_all(answer) == b"GET /3 0"
    http_.close()
    server.close()


def test_server_that_is_not_there(http_: Any) -> None:
    """The error is one that the stores translate."""
    with pytest.raises((OSError, requests.RequestException)), http_.answer("GET", "http://127.0.0.1:1/", {}):
        raise AssertionError("it answered")


def test_connection_in_use_is_closed_after_the_pool(server: Server) -> None:
    """Closing does not wait for a request that is under way, and leaves no socket behind."""
    http_ = HttpConnections(verify=True)
    with http_.answer("GET", f"{server.url}/k", {}) as answer:
        http_.close()
        assert read_all(answer) == b"GET /k 0"
    assert http_._idle == {}


def test_failure_in_the_middle_closes_the_connection(server: Server) -> None:
    """Whoever stops reading because of an error leaves no half-read connection for the next one."""
    http_ = HttpConnections(verify=True)
    with pytest.raises(ZeroDivisionError), http_.answer("GET", f"{server.url}/k", {}):
        raise ZeroDivisionError
    assert http_._idle == {}


@pytest.mark.parametrize(("proxies", "expected"), [({}, HttpConnections), ({"http": "http://p:1"}, GuardedSession)])
def test_proxies_go_through_requests(proxies: dict[str, str], expected: type) -> None:
    """Only requests knows proxies of every kind."""
    made = open_connections(pool=1, verify=True, proxies=proxies)
    assert isinstance(made, expected)
    made.close()


def test_proxy_is_used(server: Server) -> None:
    """The request goes to the proxy, with the whole URL in its first line."""
    made = open_connections(pool=1, verify=True, proxies={"http": server.url})
    with made.answer("GET", "http://storage.invalid/c/k", {}) as answer:
        assert answer.status == 200
    assert server.seen[0][0] == "GET http://storage.invalid/c/k"
    made.close()


@pytest.mark.parametrize(("name", "value"), [("If-Match", '"e"\r\nx-evil: "'), ("If-Match", '"日"'), ("a\r\nb", "1")])
def test_what_is_no_header_is_never_sent(server: Server, name: str, value: str) -> None:
    """One object's failure, not the batch's end; the value is not told, and the next request goes its way."""
    with _both("bare") as http_:
        with (
            pytest.raises(UnexpectedAnswer, match="no header") as refused,
            http_.answer("GET", server.url, {name: value}),
        ):
            pytest.fail("answered")
        assert value not in str(refused.value)
        assert server.seen == []
        with http_.answer("GET", server.url, {}) as answer:
            assert answer.status == 200


class Echo:
    """A server that notes paths and headers, and redirects ``/redirect``."""

    def __init__(self) -> None:
        """Listen on loopback."""
        self.paths: list[str] = []
        self.headers: list[dict[str, str]] = []
        echo = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                echo.paths.append(self.path)
                echo.headers.append({name.lower(): value for name, value in self.headers.items()})
                self.send_response(302 if self.path == "/redirect" else 200)
                self.send_header("Location", "/elsewhere")
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    """Run it."""
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def session() -> Iterator[GuardedSession]:
    """Return a session."""
    with GuardedSession(pool=2) as made:
        yield made


@pytest.mark.parametrize("path", ["/c/pre/../../other/x", "/c/./x", "/c/..", "/../x", "/c/%2e%2e/x", "/c/a b"])
def test_rewritten_paths_are_never_sent(echo: Echo, session: GuardedSession, path: str) -> None:
    """Invariant 8: a path that requests would change does not leave."""
    with pytest.raises(UnexpectedAnswer, match="nothing was sent"):
        session.request("GET", echo.url + path)
    assert echo.paths == []


@pytest.mark.parametrize(
    "path", ["/", "/c/a%20b", "/c//x", "/c/%252e%252e/x", "/c/a~b-c._", "/c/%C3%BC?comp=block&x=%2F"]
)
def test_paths_arrive_as_they_are(echo: Echo, session: GuardedSession, path: str) -> None:
    """Everything else arrives byte for byte."""
    assert session.request("GET", echo.url + path).status_code == 200
    assert echo.paths == [path]


def test_session_hands_redirects_back(echo: Echo, session: GuardedSession) -> None:
    """Also where the caller asks to follow."""
    assert session.request("GET", f"{echo.url}/redirect", allow_redirects=True).status_code == 302
    assert echo.paths == ["/redirect"]


def test_environment_is_not_read(
    echo: Echo, session: GuardedSession, monkeypatch: pytest.MonkeyPatch, tmp_path: object
) -> None:
    """Neither a proxy nor a netrc password of the machine gets into a request."""
    netrc = f"{tmp_path}/netrc"
    with open(netrc, "w", encoding="ascii") as file:  # noqa: PTH123 - a fixture's path
        file.write("machine 127.0.0.1 login someone password secret\n")
    monkeypatch.setenv("NETRC", netrc)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    assert session.request("GET", f"{echo.url}/x").status_code == 200
    assert "authorization" not in echo.headers[0]
