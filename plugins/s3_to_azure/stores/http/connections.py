"""Kept connections on the standard library's HTTP client, for ranged GETs, Put Block and Put Blob.

requests and the Azure SDK cost more CPU for each block than moving its bytes (docs/benchmarks.md). A request is sent as
it was built: nothing is normalised, redirected, decoded or retried, and only Host is added.
"""

import base64
import http.client
import re
import select
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import SplitResult, unquote, urlsplit

from urllib3.exceptions import NameResolutionError
from urllib3.util.ssltransport import SSLTransport

from s3_to_azure.stores.http.headers import check_headers
from s3_to_azure.stores.http.heads import EARLY_RESPONSE_TIMEOUT_S, MAX_IDLE_S, MIN_ERROR_STATUS
from s3_to_azure.stores.http.hosts import note_reached
from s3_to_azure.stores.http.response import StrictResponse
from s3_to_azure.stores.http.settings import HttpSettings

# A body is sent in pieces: each has its own timeout, so a slow but steady connection is not given up.
_SEND_BYTES: Final = 256 * 1024
# Under TLS each piece is one call of OpenSSL without Python's lock: four times as many cost some 5 % more CPU.
_SEND_TLS_BYTES: Final = 1024 * 1024

# Responses that another one follows, and how many bytes of a response are looked at before it is read.
_INTERIM: Final = re.compile(rb"(?:HTTP/1\.[01] 1[0-9]{2}[^\n]*\n(?:[^\r\n][^\n]*\n)*\r?\n)+")
_PEEKED_BYTES: Final = 4096

STALE: Final = (
    http.client.RemoteDisconnected,
    BrokenPipeError,
    ConnectionResetError,
    ConnectionAbortedError,
    ssl.SSLEOFError,
)
"""What an idle connection raises when the server has closed it. Every request here is safe to send again."""

_Host = tuple[str, str]


class HttpConnections:
    """A pool of connections to any hosts, each kept for the next request to the same host.

    Args:
        settings: What the service's other clients follow too.
    """

    def __init__(self, settings: HttpSettings) -> None:
        self.settings = settings
        # Each with the time at which it was used last.
        self._idle: dict[_Host, list[tuple[float, _Connection]]] = {}
        self._closed = False
        self._lock = threading.Lock()

    @contextmanager
    def request(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: memoryview | None = None,
        *,
        once_within_s: float | None = None,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a request and yield its response as soon as the headers have arrived.

        The connection is kept if the response was read to its end, else closed.

        Args:
            method: GET or PUT.
            url: Percent-encoded; path and query are sent unchanged.
            headers: All headers except Host.
            body: The request's body.
            once_within_s: Wait this long for the response instead of the general timeout, and never send the request
                again, not even where the server has closed an idle connection.

        Raises:
            OSError: The connection failed.
            http.client.HTTPException: The response is not HTTP.
            UnexpectedResponse: A header is not valid in HTTP; nothing was sent.
        """
        parts = urlsplit(url)
        host = (parts.scheme, parts.netloc)
        connection = self._take(host)
        is_new = connection is None
        connection = connection or self._connect(parts)
        response: http.client.HTTPResponse | None = None
        try:
            if once_within_s is not None:
                connection.sock.settimeout(once_within_s)
            try:
                response = _exchange(connection, method, parts, headers, body)
            except STALE:
                if is_new or once_within_s is not None:
                    raise
                connection.close()
                connection = self._connect(parts)
                response = _exchange(connection, method, parts, headers, body)
            yield response
            if _was_read_exactly(response) and self._keep(host, connection):
                return
        except BaseException:
            if response is not None:
                response.close()
            connection.close()
            raise
        # A response with unread bytes keeps the socket open as well.
        response.close()
        connection.close()

    def close(self) -> None:
        """Close the idle connections; a connection in use is closed when its request ends."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, {}
        for connections in idle.values():
            for _, connection in connections:
                connection.close()

    def _take(self, host: _Host) -> "_Connection | None":
        with self._lock:
            idle = self._idle.get(host, [])
            while idle:
                used_at, connection = idle.pop()
                # Readable: bytes that nobody asked for, or the end of the connection.
                if time.monotonic() <= used_at + MAX_IDLE_S and not is_readable(connection.sock):
                    return connection
                connection.close()
        return None

    def _keep(self, host: _Host, connection: "_Connection") -> bool:
        with self._lock:
            if not self._closed:
                if connection.sock.gettimeout() != self.settings.read_timeout_s:
                    connection.sock.settimeout(self.settings.read_timeout_s)
                self._idle.setdefault(host, []).append((time.monotonic(), connection))
            return not self._closed

    def _connect(self, url: SplitResult) -> "_Connection":
        proxy_url = self.settings.proxies.for_url(url.geturl())
        connection = _Connection(url, urlsplit(proxy_url) if proxy_url else None, self.settings)
        try:
            connection.connect()
            connection.sock.settimeout(self.settings.read_timeout_s)
        except BaseException:
            connection.close()
            raise
        return connection


class _Connection(http.client.HTTPConnection):
    """A connection to the host of a URL, through a proxy if one is given.

    Attributes:
        proxy: The proxy.
        to_proxy: Headers of a plain HTTP request through a proxy; None if the request is not sent to a proxy.
    """

    response_class = StrictResponse

    def __init__(self, url: SplitResult, proxy: SplitResult | None, settings: HttpSettings) -> None:
        is_forwarded = proxy is not None and proxy.scheme == "https" and settings.forwards_https
        self._is_https = url.scheme == "https" and not is_forwarded
        self.default_port = default_port(url)
        super().__init__(str(url.hostname), url.port or self.default_port, timeout=settings.connect_timeout_s)
        self.sock: Any = None
        self.proxy = proxy
        self._settings = settings
        self.to_proxy = _proxy_authorization(proxy) if proxy and not self._is_https else None

    def connect(self) -> None:
        looked_up = str(self.proxy.hostname) if self.proxy else self.host
        try:
            if self.proxy:
                self._connect_to_proxy(self.proxy)
            else:
                super().connect()
        except socket.gaierror as error:
            # It does not say which name it is about; urllib3's does.
            raise NameResolutionError(looked_up, self, error) from error  # type: ignore[arg-type]  # of http.client
        note_reached(looked_up)
        if self._is_https:
            self._start_tls(self.host, self._settings.tls_context())

    def _connect_to_proxy(self, proxy: SplitResult) -> None:
        address = (str(proxy.hostname), proxy.port or default_port(proxy))
        self.sock = socket.create_connection(address, self.timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if proxy.scheme == "https":
            self._start_tls(address[0], self._settings.proxy_tls_context())
        if self._is_https:
            self._open_tunnel(proxy)

    def _open_tunnel(self, proxy: SplitResult) -> None:
        host = f"[{self.host}]" if ":" in self.host else self.host
        target = f"{host}:{self.port}"
        lines = [f"CONNECT {target} HTTP/1.1", f"Host: {target}"]
        lines += [f"{name}: {value}" for name, value in _proxy_authorization(proxy).items()]
        self.sock.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        response = StrictResponse(self.sock, method="CONNECT")
        response.begin()
        response.close()
        if not 200 <= response.status < 300:
            raise OSError(f"the proxy answered CONNECT with status {response.status}")

    def _start_tls(self, host: str, context: ssl.SSLContext) -> None:
        if isinstance(self.sock, ssl.SSLSocket):
            # TLS to the service inside TLS to the proxy: ssl.SSLSocket cannot wrap another one.
            self.sock = SSLTransport(self.sock, context, host)
        else:
            self.sock = context.wrap_socket(self.sock, server_hostname=host)


def default_port(url: SplitResult) -> int:
    """Return the port that a URL without one means."""
    return http.client.HTTPS_PORT if url.scheme == "https" else http.client.HTTP_PORT


def _proxy_authorization(proxy: SplitResult) -> dict[str, str]:
    if proxy.username is None:
        return {}
    credentials = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return {"Proxy-Authorization": f"Basic {base64.b64encode(credentials.encode()).decode('ascii')}"}


def _exchange(
    connection: _Connection,
    method: str,
    url: SplitResult,
    headers: Mapping[str, str],
    body: memoryview | None,
) -> http.client.HTTPResponse:
    target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    if connection.to_proxy is not None:
        target = f"{url.scheme}://{url.netloc}{target}"
        headers = {**headers, **connection.to_proxy}
    check_headers(headers)
    connection.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        connection.putheader(name, value)
    try:
        connection.endheaders()
        if body is not None and len(body):
            _send(connection, body)
    except OSError as error:
        return _early_response(connection, error)
    return connection.getresponse()


def _send(connection: _Connection, body: memoryview) -> None:
    """Send a body piece by piece, until it is sent or the server responds without reading the rest."""
    # Under TLS a readable socket may only hold a session ticket.
    may_respond = not isinstance(connection.sock, ssl.SSLSocket | SSLTransport)
    size = _SEND_BYTES if may_respond else _SEND_TLS_BYTES
    for start in range(0, len(body), size):
        if start and may_respond and is_readable(connection.sock) and not _still_reads(connection.sock):
            raise ConnectionAbortedError("the server responded before it had read the body")
        with body[start : start + size] as piece:
            connection.send(piece)


def _still_reads(sock: socket.socket) -> bool:
    """Return whether a server has sent nothing but interim responses."""
    return _INTERIM.fullmatch(sock.recv(_PEEKED_BYTES, socket.MSG_PEEK)) is not None


def _early_response(connection: _Connection, error: OSError) -> http.client.HTTPResponse:
    """Return the refusal that a server sent before it had read the request; raise the error if there is none."""
    try:
        connection.sock.settimeout(EARLY_RESPONSE_TIMEOUT_S)
        response = connection.getresponse()
    except (OSError, http.client.HTTPException):
        raise error from None
    if response.status < MIN_ERROR_STATUS:
        response.close()
        raise error
    # The rest of the request was never sent, so the connection cannot be used again.
    response.will_close = True
    return response


def _was_read_exactly(response: http.client.HTTPResponse) -> bool:
    """Return whether the response was read to its end, and the connection holds nothing else."""
    # The length that is left is more than 0 if the connection ended before the body.
    is_complete = response.isclosed() and not response.length and not response.will_close
    return is_complete and not (isinstance(response, StrictResponse) and response.has_leftover)


def is_readable(sock: Any) -> bool:
    """Return whether a socket has bytes, or has ended."""
    # TLS may hold bytes, of which no poll knows.
    if isinstance(sock, SSLTransport):
        if sock.incoming.pending or sock.sslobj.pending():
            return True
        sock = sock.socket
    if isinstance(sock, ssl.SSLSocket) and sock.pending():
        return True
    poll = select.poll()
    poll.register(sock, select.POLLIN)
    return bool(poll.poll(0))
