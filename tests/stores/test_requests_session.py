"""The HTTP session under both stores sends a URL as it was built, or not at all."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from s3_to_azure.model.errors import UnexpectedAnswer
from s3_to_azure.stores.http.connections import GuardedSession


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


def test_redirects_are_handed_back(echo: Echo, session: GuardedSession) -> None:
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
