"""One request and its response, whichever connection they are on."""

import re
import time
from collections.abc import Mapping
from http.client import HTTPException, RemoteDisconnected
from typing import Any, Final

from s3_to_azure.model.objects import ListedObject
from s3_to_azure.stores.event_loop.addresses import host_of
from s3_to_azure.stores.http.headers import by_lower_name, check_headers
from s3_to_azure.stores.http.heads import (
    EARLY_RESPONSE_TIMEOUT_S,
    MIN_ERROR_STATUS,
    check_rate,
    framing,
    is_interim,
    parse_headers,
    parse_status_line,
)

HEADROOM_BYTES: Final = 16 * 1024
"""For the heads of a response, and for the document of an error. One with more is left to the general path."""

# Scheme, host with port, path with query. No control character may get into the request's first line.
_URL: Final = re.compile(r"(https?)://([^/?#\s]+)([!-\"$-~]*)", re.IGNORECASE)
_END_OF_HEAD: Final = re.compile(rb"\r?\n\r?\n")
_CHUNK_SIZE: Final = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\n]*)?\r?\n")


class Exchange:
    """A request, and what has arrived of its response.

    Args:
        service: ``S3`` or ``AZURE``.
        tag: The caller's.
        target: The object that is read, or the blob that is written.
        url: Percent-encoded; path and query are sent unchanged.
        headers: All headers except Host.
        data: The body of a PUT; None: a GET.
        buffer: Receives the response, head and body.

    Attributes:
        host: Where it is sent.
        head: The request's first line and headers.
        headers: The request's.
        sent_bytes: How much of head and body has been sent.
        status: The response's status; 0 before its headers are complete.
        received: The response's headers by lower-case name.
        is_early: The final response began before the request was sent.
        refused_by: What sending failed with; a response may say why.
    """

    def __init__(
        self,
        service: str,
        tag: Any,
        target: ListedObject | str,
        url: str,
        headers: Mapping[str, str],
        data: Any,
        buffer: bytearray,
    ) -> None:
        check_headers(headers)
        # urlsplit costs more than all else here.
        parts = _URL.fullmatch(url)
        if parts is None:
            raise ValueError("not the percent-encoded URL of a host")
        self.host = host_of(parts[1], parts[2])
        path = parts[3] if parts[3][:1] == "/" else f"/{parts[3]}"
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        method = "GET" if data is None else "PUT"
        self.head = f"{method} {path} HTTP/1.1\r\nHost: {self.host.header}\r\n{lines}\r\n".encode("latin-1")
        self.size_bytes = len(self.head) + len(data or b"")
        self.service = service
        self.tag = tag
        self.target = target
        self.headers = headers
        self.data = data
        self.buffer = buffer
        self.restart()

    def restart(self) -> None:
        """Forget what was sent and received."""
        self.view = memoryview(self.buffer)
        self.sent_bytes = self.received_bytes = 0
        self.status = 0
        self.received: Mapping[str, str] = {}
        self.is_early = False
        self.refused_by: Exception | None = None
        self.ends_with_connection = False
        self._keeps = False
        self._interim = 0
        # Where the next part that is to be parsed begins, and where the response ends.
        self._at = 0
        self._end: int | None = None
        self._chunks: list[bytes] | None = None
        self.begin_waiting()

    @property
    def is_sent(self) -> bool:
        """Whether the whole request was sent."""
        return self.sent_bytes == self.size_bytes

    @property
    def most_bytes(self) -> int:
        """Where the response ends, if that is known; else how much the buffer holds."""
        return len(self.buffer) if self._end is None else self._end

    @property
    def is_sending(self) -> bool:
        """Whether more of the request is to be sent."""
        return not self.is_early and self.sent_bytes < self.size_bytes

    @property
    def keeps_connection(self) -> bool:
        """Whether the next request may use the connection after this complete exchange."""
        return self._keeps and self.is_sent and not self.is_early and self.received_bytes == self._end

    @property
    def is_early_success(self) -> bool:
        """Whether the server claims success without having read the request."""
        return self.is_early and self.status < MIN_ERROR_STATUS

    def count_sent(self, count: int) -> None:
        """Count bytes that the socket has taken."""
        self.sent_bytes += count

    def count_received(self, count: int) -> None:
        """Count bytes that have arrived in the buffer."""
        self.received_bytes += count

    # -- time --------------------------------------------------------------------------------------------------------

    def begin_waiting(self) -> None:
        """Measure the rate from now on."""
        self._since, self._counted = time.monotonic(), self.sent_bytes + self.received_bytes

    def waited_s(self, now: float) -> float:
        """Return for how many seconds the rate has been measured."""
        return now - self._since

    def check_rate(self, now: float, timeout_s: float) -> None:
        """Check that bytes have moved at the minimum rate.

        Args:
            now: The time.
            timeout_s: Over which the rate is an average.

        Raises:
            TimeoutError: They have not.
        """
        waited_s = self.waited_s(now)
        if self.is_early and waited_s >= EARLY_RESPONSE_TIMEOUT_S:
            raise self.refused_by or TimeoutError("the response that the server began early did not end")
        if waited_s >= timeout_s:
            check_rate(self.sent_bytes + self.received_bytes - self._counted, waited_s)
            self.begin_waiting()

    def refuse(self, error: OSError) -> None:
        """Stop sending, because it failed; the server may have said why."""
        self.refused_by, self.is_early = error, True
        self.begin_waiting()

    # -- the response ------------------------------------------------------------------------------------------------

    def ended(self) -> None:
        """Take the end of the connection for the end of the body, where the response says so.

        Raises:
            HTTPException: The response is incomplete.
        """
        if not self.ends_with_connection:
            detail = "the connection ended before the response"
            raise HTTPException(detail) if self.received_bytes else RemoteDisconnected(detail)
        self._end = self.received_bytes

    def is_complete(self) -> bool:
        """Parse what has arrived; return whether the response is complete.

        Raises:
            HTTPException: It is no response, or one that is not expected here.
        """
        while not self.status:
            most = self._at + HEADROOM_BYTES
            found = _END_OF_HEAD.search(self.buffer, self._at, min(self.received_bytes, most))
            if found is None and self.received_bytes >= most:
                raise HTTPException("the response's headers are longer than expected")
            if found is None:
                return False
            self._read_head(str(self.view[self._at : found.start()], "latin-1"), found.end())
        if self._chunks is not None and self._end is None:
            self._read_chunks(self._chunks)
        if self._end is None and self.received_bytes == len(self.buffer):
            raise HTTPException("the response is longer than expected")
        return self._end is not None and self.received_bytes >= self._end

    def body(self) -> Any:
        """Return the body: a view of the buffer, or bytes."""
        if self._chunks is not None:
            return b"".join(self._chunks)
        return self.view[self._at : self._end]

    def _read_head(self, text: str, body_at: int) -> None:
        first, *lines = text.replace("\r\n", "\n").split("\n")
        version, status, _ = parse_status_line(first)
        headers = parse_headers(lines)
        self._at = body_at
        if is_interim(status, self._interim):
            self._interim += 1
            return
        self.received = by_lower_name(headers)
        found = framing(status, version, self.received, None)
        self.status = status
        self._keeps = found.keeps
        if not self.is_sent:
            self.is_early = True
            self.begin_waiting()
        if found.is_chunked:
            self._chunks = []
        elif found.length is None:
            self.ends_with_connection = True
        else:
            self._end = body_at + found.length
            if self._end > len(self.buffer):
                raise HTTPException("the response is longer than expected")

    def _read_chunks(self, chunks: list[bytes]) -> None:
        while (size := _CHUNK_SIZE.match(self.buffer, self._at, self.received_bytes)) is not None:
            length = int(size[1], 16)
            if not length:
                # After the trailer's lines, if there are any.
                end = _END_OF_HEAD.search(self.buffer, size.end() - 2, self.received_bytes)
                self._end = end.end() if end else None
                return
            end_at = size.end() + length
            if end_at + 2 > self.received_bytes:
                return
            if self.buffer[end_at : end_at + 2] != b"\r\n":
                raise HTTPException("a chunk does not end where it should")
            chunks.append(bytes(self.view[size.end() : end_at]))
            self._at = end_at + 2
        if self.buffer.find(b"\n", self._at, self.received_bytes) >= 0:
            raise HTTPException("a chunk has no length")
