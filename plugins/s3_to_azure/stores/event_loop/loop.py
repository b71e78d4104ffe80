"""The client for small objects: starts exchanges, waits for all of their sockets, and reads the results.

A body is received into the buffer that it is sent from, and sent with its headers in one call. Only expected responses
are handled here. After any other response the object is handed back, and the general path copies it.
"""

import http.client
import logging
import selectors
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from urllib3.exceptions import HTTPError

from s3_to_azure.model.errors import AZURE, S3, ConnectionFailed, TransferError
from s3_to_azure.model.objects import BlobContents, Condition, ListedObject
from s3_to_azure.model.ports import Fetched, HandedBack, Stored
from s3_to_azure.stores.azure.client import Response
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.responses import RECORD_HEADER, REQUEST_ID, belongs_to, new_request_id
from s3_to_azure.stores.event_loop.addresses import Addresses, Host
from s3_to_azure.stores.event_loop.buffers import Buffers
from s3_to_azure.stores.event_loop.connection import Connection
from s3_to_azure.stores.event_loop.exchange import HEADROOM_BYTES, Exchange
from s3_to_azure.stores.http.connections import STALE
from s3_to_azure.stores.http.errors import translated
from s3_to_azure.stores.http.heads import MIN_ERROR_STATUS
from s3_to_azure.stores.s3.responses import parse_whole_object
from s3_to_azure.stores.s3.source import S3Source

_RESOURCE = "a small object"
_CHECK_EVERY_S = 1.0
# What a connection fails with, or a host's name.
_FAILURES = (OSError, http.client.HTTPException, HTTPError, ValueError)

Event = Fetched | Stored | HandedBack

log = logging.getLogger(__name__)


def small_object_client(source: S3Source, container: AzureContainer) -> "Callable[[], LoopSmallObjectClient] | None":
    """Return a function that makes a client for copies between the two; None if it cannot keep their settings."""
    obstacle = _obstacle(source, container)
    if obstacle:
        log.info("Small objects are copied one by one, because %s", obstacle)
        return None
    return partial(LoopSmallObjectClient, source, container)


def _obstacle(source: S3Source, container: AzureContainer) -> str:
    """Return why small objects have to be copied by the other clients; nothing if they have not."""
    for service, store in ((S3, source), (AZURE, container)):
        if store.http_connections.settings.proxies.for_url(store.endpoint_url):
            return f"{service} is reached through a proxy"
    if not container.may_authorise:
        return "the account's service version (api_version) is older than the SAS that the SDK makes"
    return ""


class LoopSmallObjectClient:
    """The transfers of one thread: a ``SmallObjectClient``.

    Args:
        source: Signs the GETs.
        container: Authorises the Put Blobs.
    """

    def __init__(self, source: S3Source, container: AzureContainer) -> None:
        self._source = source
        self._container = container
        self._settings = {S3: source.http_connections.settings, AZURE: container.http_connections.settings}
        self._selector = selectors.DefaultSelector()
        self._addresses = Addresses()
        self._selector.register(self._addresses.ready, selectors.EVENT_READ, None)
        self._looked_up: defaultdict[Host, list[Exchange]] = defaultdict(list)
        self._connections: set[Connection] = set()
        self._idle: defaultdict[tuple[str, Host], list[Connection]] = defaultdict(list)
        self._buffers = Buffers()
        self._in_flight = 0
        self._ended: list[Event] = []
        self._check_at = time.monotonic() + _CHECK_EVERY_S

    def fetch(self, tag: Any, listed: ListedObject) -> None:
        """Start a GET of a whole object, pinned by its ETag."""
        self._begin(S3, tag, listed, lambda: self._source.signed_get(listed), listed.size_bytes + HEADROOM_BYTES)

    def store(
        self,
        tag: Any,
        blob: str,
        data: bytes | memoryview,
        *,
        crc64: int,
        contents: BlobContents,
        condition: Condition,
    ) -> None:
        """Start a Put Blob with its CRC64 under the condition; a view that ``fetch`` made is released afterwards."""

        def request() -> tuple[str, Mapping[str, str]]:
            url, headers = self._container.authorised_put_blob(blob, crc64, contents, condition)
            return url, {**headers, REQUEST_ID: new_request_id(), "Content-Length": str(len(data))}

        if isinstance(data, memoryview) and isinstance(data.obj, bytearray):
            self._buffers.remember(data.obj)
        self._begin(AZURE, tag, blob, request, HEADROOM_BYTES, data)

    def finished(self, timeout_s: float) -> Sequence[Event]:
        """Advance all transfers and return those that ended; wait up to ``timeout_s`` if none has."""
        if self._in_flight:
            for key, events in self._selector.select(0 if self._ended else timeout_s):
                if key.data is None:
                    self._go_on_with_looked_up()
                # An earlier one of these events may have closed it.
                elif key.data in self._connections:
                    self._advance(key.data, events)
            if time.monotonic() >= self._check_at:
                self._check_rates()
        found, self._ended = self._ended, []
        if not self._in_flight:
            self._buffers.clear()
        return found

    def close(self) -> None:
        """Abort the transfers in flight and close all connections."""
        for connection in list(self._connections):
            self._drop(connection)
        self._looked_up.clear()
        self._in_flight = 0
        self._selector.close()
        self._addresses.close()

    # -- connections -------------------------------------------------------------------------------------------------

    def _begin(
        self,
        service: str,
        tag: Any,
        target: ListedObject | str,
        request: Callable[[], tuple[str, Mapping[str, str]]],
        room_bytes: int,
        data: bytes | memoryview | None = None,
    ) -> None:
        buffer = self._buffers.take(room_bytes)
        self._in_flight += 1
        try:
            url, headers = request()
            exchange = Exchange(service, tag, target, url, headers, data, buffer)
        except (TransferError, ValueError) as error:
            self._end(HandedBack(tag, translated(service, _RESOURCE, error)), buffer, data)
        else:
            self._start(exchange)

    def _start(self, exchange: Exchange) -> None:
        """Send a request on an idle connection, or on a new one."""
        idle = self._idle[exchange.service, exchange.host]
        while idle:
            connection = idle.pop()
            if connection.is_clean():
                connection.begin(exchange)
                self._send(connection, exchange)
                return
            self._drop(connection)
        host, settings = exchange.host, self._settings[exchange.service]
        try:
            if settings.proxies.for_url(host.url):
                raise _failed(exchange.service, "its host is reached through a proxy")
            addresses = self._addresses.of(host)
            if addresses is None:
                self._looked_up[host].append(exchange)
                return
            tls = settings.tls_context() if host.scheme == "https" else None
            connection = Connection(exchange.service, host, addresses, tls)
            self._connections.add(connection)
            connection.begin(exchange)
            self._connect(connection, exchange)
        except (*_FAILURES, TransferError) as error:
            self._fail(exchange, error)

    def _go_on_with_looked_up(self) -> None:
        for host, failure in self._addresses.ended():
            for exchange in self._looked_up.pop(host, ()):
                if failure is None:
                    self._start(exchange)
                else:
                    self._fail(exchange, failure)

    def _connect(self, connection: Connection, exchange: Exchange, failure: Exception | None = None) -> None:
        """Connect to the next address; drop the connection and raise if there is none."""
        connection.unwatch(self._selector)
        exchange.begin_waiting()
        try:
            connection.connect(failure)
        except OSError:
            self._drop(connection)
            raise
        connection.watch(self._selector)

    def _drop(self, connection: Connection) -> None:
        connection.unwatch(self._selector)
        self._connections.discard(connection)
        idle = self._idle[connection.service, connection.host]
        if connection in idle:
            idle.remove(connection)
        connection.close()

    # -- one step ----------------------------------------------------------------------------------------------------

    def _advance(self, connection: Connection, events: int) -> None:
        exchange = connection.exchange
        if exchange is None:
            # Bytes that nobody asked for, or the end of the connection.
            self._drop(connection)
            return
        try:
            if not connection.is_open:
                self._open(connection, exchange)
            elif events & selectors.EVENT_READ:
                self._receive(connection, exchange)
            else:
                self._send(connection, exchange)
        except _FAILURES as failure:
            error = exchange.refused_by or failure
            self._drop(connection)
            if isinstance(error, STALE) and not connection.is_new and not exchange.received_bytes:
                # The server has closed the idle connection meanwhile.
                exchange.restart()
                self._start(exchange)
            else:
                self._fail(exchange, error)

    def _open(self, connection: Connection, exchange: Exchange) -> None:
        try:
            is_open = connection.open()
        except OSError as error:
            if connection.has_connected:
                raise
            self._connect(connection, exchange, error)
            return
        if is_open:
            self._addresses.prefer(connection.host, connection.address)
            exchange.begin_waiting()
            self._send(connection, exchange)
        else:
            connection.watch(self._selector)

    def _send(self, connection: Connection, exchange: Exchange) -> None:
        connection.send(exchange)
        connection.watch(self._selector)

    def _receive(self, connection: Connection, exchange: Exchange) -> None:
        is_open = connection.receive(exchange)
        if not exchange.is_complete():
            if is_open and exchange.is_sending:
                # Nothing has arrived but interim responses, or what TLS sends by itself.
                self._send(connection, exchange)
                return
            if is_open:
                connection.wait_for_response()
                connection.watch(self._selector)
                return
            exchange.ended()
        event: Event
        is_ours = True
        try:
            event = self._result(exchange)
        except TransferError as error:
            event = HandedBack(exchange.tag, error)
            # Behind the response to another request, more of them would come.
            is_ours = exchange.status >= MIN_ERROR_STATUS and not isinstance(error, ConnectionFailed)
        connection.end()
        if is_open and is_ours and exchange.keeps_connection:
            self._idle[connection.service, connection.host].append(connection)
        else:
            self._drop(connection)
        self._end(event, exchange.buffer, exchange.data)

    def _check_rates(self) -> None:
        """Give up transfers that move less than the minimum rate, and addresses that do not answer."""
        now = time.monotonic()
        self._check_at = now + _CHECK_EVERY_S
        for connection in list(self._connections):
            exchange = connection.exchange
            if exchange is None:
                continue
            settings = self._settings[exchange.service]
            try:
                if connection.is_open:
                    exchange.check_rate(now, settings.read_timeout_s)
                elif exchange.waited_s(now) >= settings.connect_timeout_s:
                    failure = TimeoutError(f"no connection within {settings.connect_timeout_s:.0f} seconds")
                    if connection.has_connected:
                        raise failure
                    self._connect(connection, exchange, failure)
            except _FAILURES as error:
                self._drop(connection)
                self._fail(exchange, error)

    # -- results -----------------------------------------------------------------------------------------------------

    def _result(self, exchange: Exchange) -> Fetched | Stored:
        target, status, headers = exchange.target, exchange.status, exchange.received
        if exchange.is_early_success:
            raise _failed(exchange.service, "the server responded before it had read the body")
        if not isinstance(target, str):
            # The document of an error may be kept.
            body = exchange.body() if status == http.client.OK else bytes(exchange.body())
            return Fetched(exchange.tag, parse_whole_object(target, status, headers, body), body)
        if not belongs_to(exchange.headers, headers):
            raise _failed(exchange.service, "the response belongs to another request")
        response, has_record = Response(status, headers, bytes(exchange.body())), RECORD_HEADER in exchange.headers
        self._container.created_etag(response, target, has_record=has_record)
        return Stored(exchange.tag)

    def _fail(self, exchange: Exchange, error: Exception) -> None:
        event = HandedBack(exchange.tag, translated(exchange.service, _RESOURCE, error))
        self._end(event, exchange.buffer, exchange.data)

    def _end(self, event: Event, buffer: bytearray, data: bytes | memoryview | None) -> None:
        """Record a result, and take back the buffers that nobody reads any more."""
        self._in_flight -= 1
        self._ended.append(event)
        if isinstance(event, Fetched) and isinstance(event.body, memoryview):
            self._buffers.forget(buffer)
        else:
            self._buffers.give_back(buffer)
        if isinstance(data, memoryview):
            owner = data.obj
            data.release()
            if isinstance(owner, bytearray):
                self._buffers.give_back(owner)


def _failed(service: str, detail: str) -> ConnectionFailed:
    return ConnectionFailed(service=service, resource=_RESOURCE, detail=detail)
