"""Kept connections on the standard library's HTTP client: under both hot requests, the ranged GET and Put Block.

requests and the SDK cost more CPU for each block than all of moving it (docs/benchmarks.md). Here a request goes out as
it was built: nothing is normalised, redirected, decoded, retried, or added but Host and Content-Length.
"""

import http.client
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import SplitResult, urlsplit

import certifi
import requests
from requests.adapters import HTTPAdapter

from s3_to_azure.model.errors import UnexpectedAnswer
from s3_to_azure.stores.http.tls import TlsSocket

CONNECT_TIMEOUT_S: Final = 10.0
READ_TIMEOUT_S: Final = 60.0


class GuardedSession(requests.Session):
    """A session that sends a URL as it was built, or not at all.

    HTTP clients normalise ``.`` and ``..`` segments; such a request could reach another container.

    Args:
        pool: Connections kept for each host; as many as there are threads.
        verify: True, False, or the path of a CA bundle.
        proxies: Scheme to proxy URL; the environment is not read.
    """

    def __init__(self, *, pool: int, verify: bool | str = True, proxies: dict[str, str] | None = None) -> None:
        """Mount pooled adapters without retries."""
        super().__init__()
        self.trust_env = False
        self.verify = verify
        self.proxies = dict(proxies or {})
        adapter = HTTPAdapter(pool_connections=4, pool_maxsize=pool, max_retries=0, pool_block=False)
        self.mount("https://", adapter)
        self.mount("http://", adapter)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare as requests does, then compare the path with the one intended.

        Raises:
            UnexpectedAnswer: requests rewrote the path; nothing was sent.
        """
        prepared = super().prepare_request(request)
        intended = urlsplit(str(request.url)).path
        actual = urlsplit(str(prepared.url)).path
        if (actual or "/") != (intended or "/"):
            raise UnexpectedAnswer(
                service="the HTTP client",
                thing=repr(intended),
                detail="it would send another path; nothing was sent",
            )
        return prepared

    @contextmanager
    def answer(
        self, method: str, url: str, headers: Mapping[str, str], body: memoryview | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Do as ``HttpConnections.answer`` does.

        Raises:
            requests.RequestException: The connection failed, or the answer was none.
        """
        with self.request(
            method, url, headers=headers, data=body, stream=True, timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S)
        ) as response:
            # urllib3's readinto reads into a new object and copies it; http.client's below it fills the view itself.
            answer: Any = response.raw._fp  # noqa: SLF001
            yield answer
            if answer.isclosed():
                # urllib3 did not see the body end, so it would close the connection instead of keeping it.
                response.raw.release_conn()

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request; redirects are handed back, never followed."""
        kwargs["allow_redirects"] = False
        return super().request(method, url, *args, **kwargs)


# What an idle connection does when the server has closed it. Every request here is safe to send again.
_STALE: Final = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ConnectionAbortedError)
_Host = tuple[str, str]


def open_connections(
    *, pool: int, verify: bool | str, proxies: dict[str, str] | None
) -> "HttpConnections | GuardedSession":
    """Return what sends the hot requests: bare connections, or requests where a proxy is in between.

    Args:
        pool: Connections to keep, where requests keeps them.
        verify: True, False, or the path of a CA bundle.
        proxies: Scheme to proxy URL.
    """
    return GuardedSession(pool=pool, verify=verify, proxies=proxies) if proxies else HttpConnections(verify=verify)


class HttpConnections:
    """Connections to any hosts, kept for the next request to the same one.

    Args:
        verify: True, False, or the path of a CA bundle.
    """

    def __init__(self, *, verify: bool | str) -> None:
        """Make no connection yet."""
        self.verify = verify
        self._tls: ssl.SSLContext | None = None
        self._idle: dict[_Host, list[http.client.HTTPConnection]] = {}
        self._closed = False
        self._lock = threading.Lock()

    @contextmanager
    def answer(
        self, method: str, url: str, headers: Mapping[str, str], body: memoryview | None = None
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request; yield its answer when the headers are there.

        The connection is kept if the answer was read to its end, else closed.

        Args:
            method: GET or PUT.
            url: Encoded already; path and query are sent as they are.
            headers: All of them, but Host.
            body: What to send.

        Raises:
            OSError: The connection failed.
            http.client.HTTPException: The answer was none.
            UnexpectedAnswer: A header is none; nothing was sent.
        """
        parts = urlsplit(url)
        host = (parts.scheme, parts.netloc)
        connection = self._take(host)
        fresh = connection is None
        connection = connection or self._connect(parts)
        try:
            try:
                answer = _exchange(connection, method, parts, headers, body)
            except _STALE:
                if fresh:
                    raise
                connection.close()
                connection = self._connect(parts)
                answer = _exchange(connection, method, parts, headers, body)
            yield answer
            if answer.isclosed() and not answer.will_close and self._keep(host, connection):
                return
        except BaseException:
            connection.close()
            raise
        # An answer with bytes left holds the socket too.
        answer.close()
        connection.close()

    def close(self) -> None:
        """Close the idle connections; those in use close when their request ends."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for connection in connections:
                connection.close()

    def _take(self, host: _Host) -> http.client.HTTPConnection | None:
        with self._lock:
            idle = self._idle.get(host)
            return idle.pop() if idle else None

    def _keep(self, host: _Host, connection: http.client.HTTPConnection) -> bool:
        with self._lock:
            if not self._closed:
                self._idle.setdefault(host, []).append(connection)
            return not self._closed

    def _connect(self, parts: SplitResult) -> http.client.HTTPConnection:
        host, port = str(parts.hostname), parts.port
        if parts.scheme == "https":
            connection: http.client.HTTPConnection = _TlsConnection(host, port, self._context())
        else:
            connection = http.client.HTTPConnection(host, port, timeout=CONNECT_TIMEOUT_S)
        try:
            connection.connect()
            connection.sock.settimeout(READ_TIMEOUT_S)
        except BaseException:
            connection.close()
            raise
        return connection

    def _context(self) -> ssl.SSLContext:
        """Return the TLS settings; loading the CA bundle costs milliseconds, so it is done once."""
        with self._lock:
            if self._tls is None:
                self._tls = _tls(self.verify)
            return self._tls


class _TlsConnection(http.client.HTTPConnection):
    default_port = http.client.HTTPS_PORT

    def __init__(self, host: str, port: int | None, context: ssl.SSLContext) -> None:
        super().__init__(host, port or self.default_port, timeout=CONNECT_TIMEOUT_S)
        self._context = context

    def connect(self) -> None:
        super().connect()
        # http.client asks no more of a socket than this.
        self.sock: Any = TlsSocket(self.sock, self._context, self.host)


def _tls(verify: bool | str) -> ssl.SSLContext:
    """Return TLS settings that trust what requests trusts: its bundle, or the one named."""
    if verify is False:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        return context
    trusted = verify if isinstance(verify, str) else certifi.where()
    if Path(trusted).is_dir():
        return ssl.create_default_context(capath=trusted)
    return ssl.create_default_context(cafile=trusted)


def _exchange(
    connection: http.client.HTTPConnection,
    method: str,
    parts: SplitResult,
    headers: Mapping[str, str],
    body: memoryview | None,
) -> http.client.HTTPResponse:
    target = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        try:
            connection.putheader(name, value)
        except ValueError:
            # The server's own words, such as an ETag with a line break. The value may be a secret.
            raise UnexpectedAnswer(
                service="the HTTP client", thing=repr(name), detail="it is no header; nothing was sent"
            ) from None
    connection.endheaders()
    if body is not None and len(body):
        connection.send(body)
    return connection.getresponse()
