"""A connection without blocking: connect to one address after the other, TLS, send, receive."""

import errno
import os
import socket
import ssl
import time
from collections.abc import Iterator
from selectors import EVENT_READ, EVENT_WRITE, BaseSelector
from typing import Any, Final

from s3_to_azure.stores.event_loop.addresses import Address, Host
from s3_to_azure.stores.event_loop.exchange import Exchange
from s3_to_azure.stores.http.connections import is_readable
from s3_to_azure.stores.http.heads import MAX_IDLE_S
from s3_to_azure.stores.http.hosts import note_reached

# Under TLS a piece counts as sent only as a whole: it has to be sent within the timeout, and costs one call.
_SEND_TLS_BYTES: Final = 256 * 1024
# The first piece has the head and as much of the body as fits into one record.
_TLS_RECORD_BYTES: Final = 16 * 1024
_WOULD_BLOCK: Final = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)
_IN_PROGRESS: Final = (0, errno.EINPROGRESS, errno.EWOULDBLOCK)


class Connection:
    """A connection and the exchange that uses it.

    Args:
        service: Whose settings it has: no request to another service is sent on it.
        host: Where it leads to.
        addresses: The host's, in the order in which they are tried.
        tls: The settings of TLS; None without TLS.

    Attributes:
        exchange: The one in progress; None while the connection is idle.
        is_open: Requests can be sent.
        address: The address of the last attempt.
        is_new: No exchange has ended on it yet.
    """

    def __init__(self, service: str, host: Host, addresses: list[Address], tls: ssl.SSLContext | None) -> None:
        self.service = service
        self.host = host
        self.sock: Any = None
        self.exchange: Exchange | None = None
        self.is_open = False
        self.address: Address | None = None
        self.is_new = True
        # What the selector should watch for, and what it watches for; 0: it does not watch the socket.
        self._events = EVENT_WRITE
        self._watched = 0
        self._addresses: Iterator[Address] = iter(list(addresses))
        self._tls = tls
        self._used_at = time.monotonic()

    @property
    def has_connected(self) -> bool:
        """Whether the host has answered, so that no other address is tried."""
        return self.is_open or isinstance(self.sock, ssl.SSLSocket)

    def begin(self, exchange: Exchange) -> None:
        """Take an exchange."""
        self.exchange = exchange

    def end(self) -> None:
        """Become idle after a complete exchange."""
        self.exchange, self.is_new = None, False
        self._used_at = time.monotonic()

    def watch(self, selector: BaseSelector) -> None:
        """Let the selector watch for what the connection waits for."""
        if not self._watched:
            selector.register(self.sock, self._events, self)
        elif self._watched != self._events:
            selector.modify(self.sock, self._events, self)
        self._watched = self._events

    def unwatch(self, selector: BaseSelector) -> None:
        """Let the selector forget the socket."""
        if self._watched:
            selector.unregister(self.sock)
            self._watched = 0

    def connect(self, failure: Exception | None = None) -> None:
        """Begin to connect to the next address.

        Args:
            failure: Why the one before it failed; raised if there is no other.
        """
        for address in self._addresses:
            self.close()
            self.address, self._events = address, EVENT_WRITE
            try:
                self.sock = socket.socket(*address[:3])
                self.sock.settimeout(0)
                self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                problem = self.sock.connect_ex(address[4])
                if problem in _IN_PROGRESS:
                    return
                raise OSError(problem, os.strerror(problem))
            except OSError as error:
                failure = error
        raise failure or OSError("the host has no address")

    def open(self) -> bool:
        """Continue to connect; return whether requests can be sent.

        Raises:
            OSError: This address cannot be reached, or TLS was refused.
        """
        if not self.has_connected:
            problem = self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if problem:
                raise OSError(problem, os.strerror(problem))
            note_reached(self.host.name)
            if self._tls is not None:
                self.sock = self._tls.wrap_socket(
                    self.sock, server_hostname=self.host.name, do_handshake_on_connect=False
                )
        if self._tls is not None:
            try:
                self.sock.do_handshake()
            except ssl.SSLWantReadError:
                self._events = EVENT_READ
                return False
            except ssl.SSLWantWriteError:
                self._events = EVENT_WRITE
                return False
        self.is_open = True
        return True

    def is_clean(self) -> bool:
        """Return whether nothing has arrived that nobody asked for, and the connection has not ended or grown old."""
        return time.monotonic() <= self._used_at + MAX_IDLE_S and not is_readable(self.sock)

    def send(self, exchange: Exchange) -> None:
        """Send as much of the request as the socket takes."""
        try:
            while not exchange.is_sent:
                at = exchange.sent_bytes - len(exchange.head)
                if self._tls is not None:
                    exchange.count_sent(self.sock.send(_piece(exchange, at)))
                elif at < 0:
                    with memoryview(exchange.head)[at:] as head:
                        exchange.count_sent(self.sock.sendmsg([head, exchange.data or b""]))
                else:
                    with memoryview(exchange.data)[at:] as rest:
                        exchange.count_sent(self.sock.send(rest))
        except _WOULD_BLOCK:
            pass
        except OSError as error:
            # The server may have said why.
            exchange.refuse(error)
        self._events = EVENT_READ | EVENT_WRITE if exchange.is_sending else EVENT_READ

    def receive(self, exchange: Exchange) -> bool:
        """Receive what has arrived of the response; return whether the connection is still open."""
        start, end, view = exchange.received_bytes, exchange.most_bytes, exchange.view
        at = start
        try:
            if self._tls is None:
                # A socket that has more is reported again.
                count: int = self.sock.recv_into(view[at:end])
                at += count
                return count > 0
            # TLS may hold bytes that the socket no longer reports. It delivers 16 KiB at a time: each call costs.
            read = self.sock.read
            while at < end:
                count = read(end - at, view[at:end])
                if not count:
                    return False
                at += count
        except _WOULD_BLOCK:
            pass
        finally:
            exchange.count_received(at - start)
        return True

    def wait_for_response(self) -> None:
        """Send no more."""
        self._events = EVENT_READ

    def close(self) -> None:
        """Close the socket."""
        if self.sock is not None:
            self.sock.close()
            self.sock = None


def _piece(exchange: Exchange, at: int) -> Any:
    """Return what TLS sends next; if it is not taken, the same has to be sent again."""
    data = exchange.data or b""
    if at < 0:
        with memoryview(data)[: max(0, _TLS_RECORD_BYTES - len(exchange.head))] as begin:
            return exchange.head[at:] + begin
    return memoryview(data)[at : at + _SEND_TLS_BYTES]
