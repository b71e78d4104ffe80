"""A response is the answer to its own request, complete, and arrives at a minimum rate, on all our HTTP clients."""

import http.client
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
import requests
from botocore.config import Config

from s3_to_azure.stores.azure.client import GuardedSession
from s3_to_azure.stores.http import connections as module
from s3_to_azure.stores.http.connections import HttpConnections
from s3_to_azure.stores.http.settings import HttpSettings, Proxies
from s3_to_azure.stores.s3.transport import settings_of, use_settings
from tests.fakes.scripted_server import CLOSE, RESET, Script, ScriptedServer, Step, scripted_server
from tests.fakes.wire_server import Request, wire_server

OK = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\n\r\nok"
REFUSED = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
BODY = memoryview(bytes(8 << 20))
INTERIM = [
    b"HTTP/1.1 100 Continue\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\nX: y\r\n\r\n",
    b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n",
    b"HTTP/1.1 199 Odd\r\n\r\n",
]


@contextmanager
def connected(
    script: Script, *, read_body: bool = True, read_timeout_s: float | None = None
) -> Iterator[tuple[ScriptedServer, HttpConnections]]:
    """Run a scripted server and our own client of it."""
    with scripted_server(script, read_body=read_body) as server:
        connections = HttpConnections(HttpSettings(read_timeout_s=read_timeout_s))
        try:
            yield server, connections
        finally:
            connections.close()


def put(connections: HttpConnections, server: ScriptedServer, body: memoryview = BODY[:10]) -> tuple[int, bytes]:
    """Send a PUT; return status and body of the response."""
    with connections.request("PUT", f"{server.url}/x", {"Content-Length": str(len(body))}, body) as response:
        return response.status, response.read()


# -- the response to this very request -------------------------------------------------------------------------------


@pytest.mark.parametrize("interim", INTERIM)
def test_interim_response_is_not_the_final_one(interim: bytes) -> None:
    """Whatever 1xx comes first, each request gets the response that follows it."""
    with connected(lambda number: [interim, OK] if number == 0 else [REFUSED]) as (server, connections):
        assert [put(connections, server)[0] for _ in range(3)] == [201, 500, 500]
    assert server.connections == 1


def test_several_interim_responses_in_one_packet() -> None:
    """They are all skipped."""
    with connected(lambda _: [b"".join(INTERIM) + OK]) as (server, connections):
        assert put(connections, server) == (201, b"ok")


@pytest.mark.parametrize("first", [b"HTTP/1.1 101 Switching Protocols\r\n\r\n", INTERIM[1] * 100])
def test_switched_protocol_and_endless_interim_responses_are_refused(first: bytes) -> None:
    """Neither is a response to a request of ours."""
    with connected(lambda _: [first, OK]) as (server, connections), pytest.raises(http.client.HTTPException):
        put(connections, server)


@pytest.mark.parametrize("interim", INTERIM)
def test_interim_response_is_not_the_final_one_for_the_sdks(interim: bytes) -> None:
    """The Azure SDK's session and botocore's client skip it as well."""
    listing = b'<?xml version="1.0"?><ListAllMyBucketsResult><Buckets/></ListAllMyBucketsResult>'
    final = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(listing), listing)
    with scripted_server(lambda number: [interim, final] if number % 2 == 0 else [REFUSED]) as server:
        session = GuardedSession(pool=1, settings=HttpSettings())
        assert [session.get(f"{server.url}/x").status_code for _ in range(3)] == [200, 500, 200]
        session.close()
    with scripted_server(lambda _: [interim, final]) as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.url,
            region_name="us-east-1",
            aws_access_key_id="a",
            aws_secret_access_key="b",
            config=Config(retries={"total_max_attempts": 1}),
        )
        use_settings(client, settings_of(client, Proxies()))
        answers = [client.list_buckets()["ResponseMetadata"]["HTTPStatusCode"] for _ in range(2)]
        client.close()
    assert answers == [200, 200]


@pytest.mark.parametrize("interim", [*INTERIM, b"".join(INTERIM)])
def test_interim_response_does_not_end_a_body(interim: bytes) -> None:
    """The rest of the body is sent after it, on the same connection."""
    received: list[bytes] = []

    def respond(request: Request) -> list[Step]:
        received.append(request.body)
        return [OK]

    # The client cannot send all of its body before it sees the interim response.
    with wire_server(respond, interim=[interim, 0.05]) as url:
        connections = HttpConnections(HttpSettings())
        with connections.request("PUT", f"{url}/x", {"Content-Length": str(len(BODY))}, BODY) as response:
            assert response.status == 201
        connections.close()
    assert received == [BODY]


@pytest.mark.parametrize("later", [False, True])
def test_unsolicited_bytes_end_the_connection(*, later: bool) -> None:
    """A second response behind the first, at once or later, is never taken for the next request's."""
    received, sent = threading.Event(), threading.Event()

    def twice() -> Iterator[Step]:
        if later:
            yield OK
            assert received.wait(60)
            yield OK
        else:
            yield OK + OK
        sent.set()

    with connected(lambda number: twice() if number == 0 else [REFUSED]) as (server, connections):
        assert put(connections, server)[0] == 201
        received.set()
        assert sent.wait(60)
        assert put(connections, server)[0] == 500
    assert server.connections == 2


@pytest.mark.parametrize(
    "headers",
    [
        b"Content-Length: 0\r\nContent-Length: 38\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ],
)
def test_contradictory_lengths_never_serve_a_second_response(headers: bytes) -> None:
    """Where the end of a response is unclear, the connection is not used again."""
    first = b"HTTP/1.1 403 No\r\n" + headers + b"\r\n0\r\n\r\n" + OK
    with connected(lambda number: [first] if number == 0 else [REFUSED]) as (server, connections):
        try:
            assert put(connections, server)[0] == 403
        except http.client.HTTPException:
            pass
        assert put(connections, server)[0] == 500
    assert server.connections == 2


@pytest.mark.parametrize(
    "cut",
    [b"HTTP/1.1 201 Cre", b"HTTP/1.1 201 Created\r\n", b"HTTP/1.1 201 Created\r\nETag: x\r\nContent-Le", b"HTTP/1.1"],
)
def test_response_cut_inside_its_headers_is_none(cut: bytes) -> None:
    """The end of the connection is not the end of the headers."""
    with (
        connected(lambda _: [cut, CLOSE]) as (server, connections),
        pytest.raises((http.client.HTTPException, OSError)),
    ):
        put(connections, server)


@pytest.mark.parametrize("line", [b"no colon here", b"X-Space : a"])
def test_line_that_is_no_header_is_refused(line: bytes) -> None:
    """Python takes it for the end of the headers: what follows would be missing."""
    response = b"HTTP/1.1 201 Created\r\nX: y\r\n" + line + b"\r\nETag: e\r\nContent-Length: 0\r\n\r\n"
    with (
        connected(lambda _: [response]) as (server, connections),
        pytest.raises(http.client.HTTPException, match="not a header"),
    ):
        put(connections, server)


def test_header_without_a_name_is_ignored(caplog: pytest.LogCaptureFixture) -> None:
    """urllib3 would log a traceback for it."""
    response = b"HTTP/1.1 200 OK\r\n: a\r\nETag: e\r\nContent-Length: 0\r\n\r\n"
    with scripted_server(lambda _: [response]) as server:
        session = GuardedSession(pool=1, settings=HttpSettings())
        assert session.get(server.url).headers["ETag"] == "e"
        session.close()
    assert not caplog.records


def test_header_that_is_repeated_counts_once() -> None:
    """Proxies add what is there already; a different value stays, for whoever reads it to refuse."""
    headers = b"ETag: e\r\nContent-Length: 2\r\nx-goog-hash: a\r\netag: e\r\nContent-Length: 2\r\nx-goog-hash: b\r\n"
    with (
        connected(lambda _: [b"HTTP/1.1 200 OK\r\n" + headers + b"\r\nok"]) as (server, connections),
        connections.request("GET", f"{server.url}/x", {}) as response,
    ):
        found = [(name.lower(), value) for name, value in response.getheaders()]
        assert sorted(found) == [("content-length", "2"), ("etag", "e"), ("x-goog-hash", "a"), ("x-goog-hash", "b")]
        assert response.read() == b"ok"


def test_hundreds_of_headers_are_read() -> None:
    """The metadata of an object may be that many; Python's own limit is 100."""
    many = b"".join(b"x-amz-meta-%d: v\r\n" % number for number in range(900))
    with (
        connected(lambda _: [b"HTTP/1.1 200 OK\r\n" + many + b"Content-Length: 0\r\n\r\n"]) as (server, connections),
        connections.request("GET", f"{server.url}/x", {}) as response,
    ):
        assert len(response.getheaders()) == 901


def test_headers_without_end_are_refused() -> None:
    """They would fill the memory."""
    line = b"X: " + b"a" * 60_000 + b"\r\n"
    with (
        connected(lambda _: [b"HTTP/1.1 200 OK\r\n", *[line] * 100]) as (server, connections),
        pytest.raises(http.client.HTTPException, match="bytes of headers"),
    ):
        put(connections, server)


@pytest.mark.parametrize("body", [b"", b"0123456789"])
def test_response_to_another_request_is_refused_by_the_sdks_session(body: bytes) -> None:
    """Azure repeats a request's id: another one is another request's response, and costs the connection."""
    reply = b"HTTP/1.1 201 Created\r\nx-ms-client-request-id: theirs\r\nContent-Length: %d\r\n\r\n%s" % (
        len(body),
        body,
    )
    with scripted_server(lambda _: [reply]) as server:
        session = GuardedSession(pool=1, settings=HttpSettings())
        for _ in range(2):
            response = session.get(server.url, headers={"x-ms-client-request-id": "theirs"})
            assert (response.status_code, response.content) == (201, body)
        assert server.connections == 1
        for connections in (1, 2, 3):
            with pytest.raises(requests.ConnectionError, match="another request"):
                session.get(server.url, headers={"x-ms-client-request-id": "ours"})
            assert server.connections == connections
        session.close()


# -- responses sent before the body was read -------------------------------------------------------------------------


@pytest.mark.parametrize("end", [[CLOSE], [0.3, CLOSE], [RESET]])
@pytest.mark.parametrize("status", [403, 404, 413, 503])
def test_early_refusal_is_read(status: int, end: list[Step]) -> None:
    """A refusal sent instead of reading the body is the response, not a broken pipe."""
    refusal = b"HTTP/1.1 %d No\r\nx-ms-error-code: Code\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n" % status
    with connected(lambda _: [refusal, *end], read_body=False) as (server, connections):
        with connections.request("PUT", f"{server.url}/x", {"Content-Length": str(len(BODY))}, BODY) as response:
            assert (response.status, response.headers["Retry-After"]) == (status, "7")
        assert server.connections == 1


def test_early_refusal_after_an_interim_response_is_read() -> None:
    """The server has changed its mind."""
    with connected(lambda _: [INTERIM[0], 0.1, REFUSED, 0.3, CLOSE], read_body=False) as (server, connections):
        assert put(connections, server, BODY)[0] == 500
        assert server.connections == 1


def test_early_success_is_no_success() -> None:
    """A server that did not read the body cannot have stored it."""
    with connected(lambda _: [OK, CLOSE], read_body=False) as (server, connections), pytest.raises(OSError):  # noqa: PT011
        put(connections, server, BODY)


# -- the rate --------------------------------------------------------------------------------------------------------


def test_trickle_comes_to_an_end() -> None:
    """A byte now and then, each before the timeout, is given up."""

    def trickle(_: int) -> Iterator[Step]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n"
        while True:
            yield from (b"x", 0.3)

    with (
        connected(trickle, read_timeout_s=1.0) as (server, connections),
        pytest.raises(TimeoutError, match=r"only \d+ bytes"),
    ):
        put(connections, server)


def test_slow_reader_is_not_a_slow_sender() -> None:
    """A bandwidth limit of ours does not count as a slow service."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\n\r\n" + bytes(900)
    with connected(lambda _: [reply], read_timeout_s=1.0) as (server, connections):
        with connections.request("GET", f"{server.url}/x", {}) as response:
            received = 0
            for _ in range(9):
                received += len(response.read(100))
                time.sleep(0.2)
        assert received == 900


def test_steady_slow_upload_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that takes several timeouts arrives, as long as it moves."""
    monkeypatch.setattr(module, "_SEND_BYTES", 64 * 1024)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65_536)
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    size = 24 << 20

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            received = 0
            while received < size:
                received += len(connection.recv(65_536))
                time.sleep(0.008)
            connection.sendall(OK)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    connections = HttpConnections(HttpSettings(read_timeout_s=1.0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}/x"
    with connections.request("PUT", url, {"Content-Length": str(size)}, memoryview(bytes(size))) as response:
        assert response.status == 201
    connections.close()
    thread.join(10)
    listener.close()
