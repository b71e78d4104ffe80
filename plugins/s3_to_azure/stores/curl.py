"""Small objects on libcurl: tens of whole GETs and Put Blobs at a time from one thread.

requests and the SDK cost ten times the CPU of such a request (docs/benchmarks.md). Here only what is as expected goes
through: any other answer is handed back, and the object takes the ordinary path.
"""

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

import certifi
import pycurl

from s3_to_azure.model.errors import ConnectionFailed, TransferError, UnexpectedAnswer
from s3_to_azure.model.objects import BlobContents, Condition, ListedObject
from s3_to_azure.model.ports import Fetched, HandedBack, Stored
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.http.connections import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, HttpConnections
from s3_to_azure.stores.http.errors import AZURE, S3
from s3_to_azure.stores.s3.responses import whole_object
from s3_to_azure.stores.s3.source import S3Source

# libcurl asks for no more than this of a socket at a time, and sends no more. Each transfer keeps a buffer for that,
# outside the budget: a larger one would be faster for objects of 1 MB, and hold their bytes a second time.
_PIECE_BYTES: Final = 64 * 1024
_MOST_ANSWER_BYTES: Final = 64 * 1024
# Without a value: libcurl does not add them by itself.
_NOT_SENT: Final = ["Accept:", "Expect:", "User-Agent:"]
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")
_MOST_NAMES: Final = 1_000
_CREATED: Final = 201


def small_object_client(source: S3Source, container: AzureContainer) -> "Callable[[], CurlSmallObjectClient] | None":
    """Return what makes a lane between the two; None where a proxy is in between, which only requests knows."""
    legs = (source.http_connections, container.http_connections)
    direct = [leg.verify for leg in legs if isinstance(leg, HttpConnections)]
    return (
        partial(CurlSmallObjectClient, source, container, verify=(direct[0], direct[1]))
        if len(direct) == len(legs)
        else None
    )


class CurlSmallObjectClient:
    """One thread's transfers; keeps ``ports.SmallObjectClient``.

    Args:
        source: Signs the GETs, and says what their answers mean.
        container: Authorises the Put Blobs, and says what their answers mean.
        verify: For S3 and for Azure: True, False, or the path of a CA bundle.
    """

    def __init__(self, source: S3Source, container: AzureContainer, *, verify: tuple[bool | str, bool | str]) -> None:
        """Make no connection yet."""
        self._source = source
        self._container = container
        self._multi = pycurl.CurlMulti()
        self._verify = verify
        self._idle: tuple[list[_Transfer], list[_Transfer]] = ([], [])
        self._under_way: dict[Any, _Transfer] = {}
        self._names: set[str] = set()
        self._failed_at_once: deque[HandedBack] = deque()

    def fetch(self, tag: Any, listed: ListedObject) -> None:
        """Begin to read a whole object, pinned by its ETag."""
        try:
            url, headers = self._source.signed_whole(listed)
            self._begin(tag, listed, url, headers, most_bytes=max(listed.size_bytes, _MOST_ANSWER_BYTES))
        except TransferError as error:
            self._failed_at_once.append(HandedBack(tag, error))

    def store(
        self, tag: Any, blob: str, data: bytes, *, crc64: int, contents: BlobContents, condition: Condition
    ) -> None:
        """Begin to Put Blob, with the CRC64 along and under the condition."""
        try:
            url, headers = self._container.authorised_put_blob(blob, crc64, contents, condition)
            self._begin(tag, blob, url, headers, body=data)
        except TransferError as error:
            self._failed_at_once.append(HandedBack(tag, error))

    def finished(self, timeout_s: float) -> Sequence[Fetched | Stored | HandedBack]:
        """Move what can be moved; return what ended, if need be after waiting for it."""
        events: list[Fetched | Stored | HandedBack] = []
        while self._failed_at_once:
            events.append(self._failed_at_once.popleft())
        self._multi.perform()
        self._collect(events)
        if not events and self._under_way:
            self._multi.select(timeout_s)
            self._multi.perform()
            self._collect(events)
        return events

    def close(self) -> None:
        """Break off what is under way and close all connections."""
        for handle in self._under_way:
            self._multi.remove_handle(handle)
            handle.close()
        self._under_way.clear()
        for idle in self._idle:
            for transfer in idle:
                transfer.handle.close()
            idle.clear()
        self._multi.close()

    def _begin(
        self,
        tag: Any,
        thing: ListedObject | str,
        url: str,
        headers: Mapping[str, str],
        *,
        most_bytes: int = _MOST_ANSWER_BYTES,
        body: bytes | None = None,
    ) -> None:
        leg = 0 if body is None else 1
        idle = self._idle[leg]
        lines = self._lines(headers)
        transfer = idle.pop() if idle else _Transfer(leg, self._verify[leg])
        transfer.begin(tag, thing, url, lines, most_bytes, body)
        self._under_way[transfer.handle] = transfer
        self._multi.add_handle(transfer.handle)

    def _lines(self, headers: Mapping[str, str]) -> list[str] | list[bytes]:
        """Return the headers as libcurl takes them: a semicolon sends an empty one, which a colon would drop.

        Raises:
            UnexpectedAnswer: One of them is no header; nothing was sent.
        """
        if not headers.keys() <= self._names:
            self._learn(headers)
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers.items()]
        said = "".join(lines)
        if said.isascii() and said.isprintable():
            return lines + _NOT_SENT
        for name, value in headers.items():
            if not _HEADER_VALUE.fullmatch(value):
                raise _no_header(name)
        return [line.encode("latin-1") for line in lines + _NOT_SENT]

    def _learn(self, names: Iterable[str]) -> None:
        """Check names that were not sent yet."""
        if len(self._names) > _MOST_NAMES:
            self._names.clear()
        for name in names:
            if not _HEADER_NAME.fullmatch(name):
                raise _no_header(name)
            self._names.add(name)

    def _collect(self, events: list[Fetched | Stored | HandedBack]) -> None:
        while True:
            queued, done, failed = self._multi.info_read()
            events.extend([self._ended(handle, None) for handle in done])
            events.extend([self._ended(handle, number) for handle, number, _ in failed])
            if not queued:
                return

    def _ended(self, handle: Any, failure: int | None) -> Fetched | Stored | HandedBack:
        self._multi.remove_handle(handle)
        transfer = self._under_way.pop(handle)
        try:
            if failure is not None:
                # libcurl's text may hold the URL, and with it a SAS.
                service = (S3, AZURE)[transfer.leg]
                error = ConnectionFailed(service=service, thing="a small object", detail=f"libcurl's error {failure}")
                return HandedBack(transfer.tag, error)
            thing = transfer.thing
            return self._stored(transfer, thing) if isinstance(thing, str) else self._fetched(transfer, thing)
        except TransferError as error:
            return HandedBack(transfer.tag, error)
        finally:
            transfer.forget()
            self._idle[transfer.leg].append(transfer)

    def _fetched(self, transfer: "_Transfer", listed: ListedObject) -> Fetched:
        body = b"".join(transfer.pieces)
        version = whole_object(listed, transfer.status, transfer.headers(), body)
        return Fetched(transfer.tag, version, body)

    def _stored(self, transfer: "_Transfer", blob: str) -> Stored:
        if transfer.status != _CREATED:
            self._container.must_be_created(transfer.status, transfer.headers(), blob)
        return Stored(transfer.tag)


class _Transfer:
    """A libcurl handle, set up once for one leg, and the request that it is on.

    Attributes:
        thing: The object that is read, or the blob that is written.
    """

    def __init__(self, leg: int, verify: bool | str) -> None:
        self.leg = leg
        self.handle = handle = pycurl.Curl()
        self.tag: Any = None
        self.thing: ListedObject | str = ""
        self.pieces: list[bytes] = []
        self._lines: list[bytes] = []
        self._left = 0
        handle.setopt(pycurl.NOSIGNAL, 1)
        # Sent as it was built: no path squashed, no redirect, no proxy of the environment, no other protocol.
        handle.setopt(pycurl.PATH_AS_IS, 1)
        handle.setopt(pycurl.FOLLOWLOCATION, 0)
        handle.setopt(pycurl.PROXY, "")
        handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        handle.setopt(pycurl.CONNECTTIMEOUT, int(CONNECT_TIMEOUT_S))
        handle.setopt(pycurl.LOW_SPEED_LIMIT, 1)
        handle.setopt(pycurl.LOW_SPEED_TIME, int(READ_TIMEOUT_S))
        handle.setopt(pycurl.BUFFERSIZE, _PIECE_BYTES)
        handle.setopt(pycurl.UPLOAD_BUFFERSIZE, _PIECE_BYTES)
        handle.setopt(pycurl.WRITEFUNCTION, self._take)
        handle.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        if verify is False:
            handle.setopt(pycurl.SSL_VERIFYPEER, 0)
            handle.setopt(pycurl.SSL_VERIFYHOST, 0)
        else:
            trusted = verify if isinstance(verify, str) else certifi.where()
            handle.setopt(pycurl.CAPATH if Path(trusted).is_dir() else pycurl.CAINFO, trusted)

    def begin(
        self,
        tag: Any,
        thing: ListedObject | str,
        url: str,
        lines: list[str] | list[bytes],
        most_bytes: int,
        body: bytes | None,
    ) -> None:
        self.tag = tag
        self.thing = thing
        self._left = most_bytes
        handle = self.handle
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.HTTPHEADER, lines)
        if body is not None:
            handle.setopt(pycurl.POSTFIELDS, body)
            handle.setopt(pycurl.CUSTOMREQUEST, "PUT")

    def _take(self, piece: bytes) -> int | None:
        self._left -= len(piece)
        if self._left < 0:
            return -1
        self.pieces.append(piece)
        return None

    @property
    def status(self) -> int:
        return int(self.handle.getinfo(pycurl.RESPONSE_CODE))

    def headers(self) -> dict[str, str]:
        """Return the answer's headers, names in lower case; of the last answer, where a 1xx came before."""
        found: dict[str, str] = {}
        for line in self._lines:
            if line[:5] == b"HTTP/":
                found.clear()
                continue
            name, _, value = line.decode("latin-1").partition(":")
            # HTTP's own white space alone: a value may end in a byte that Python takes for a space.
            found[name.lower()] = value.strip(" \t\r\n")
        return found

    def forget(self) -> None:
        self.tag = None
        self.thing = ""
        self.pieces = []
        self._lines.clear()
        if self.leg:
            # libcurl's handle would keep the body until its next one, outside any budget.
            self.handle.setopt(pycurl.POSTFIELDS, b"")


def _no_header(name: str) -> UnexpectedAnswer:
    return UnexpectedAnswer(service="the HTTP client", thing=repr(name), detail="it is no header; nothing was sent")
