"""A client for small objects on libcurl: one thread runs tens of whole GETs and Put Blobs at the same time.

The same requests through requests and the Azure SDK cost ten times the CPU (docs/benchmarks.md). Only expected
responses are handled here. After any other response the object is handed back, and the general path copies it.
"""

import logging
import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from s3_to_azure.model.errors import AZURE, S3, ConnectionFailed, TransferError, UnexpectedResponse
from s3_to_azure.model.objects import BlobContents, Condition, ListedObject
from s3_to_azure.model.ports import Fetched, HandedBack, Stored
from s3_to_azure.stores.azure.client import Response
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.responses import REQUEST_ID, belongs_to, new_request_id
from s3_to_azure.stores.http.response import MIN_BYTES_PER_S
from s3_to_azure.stores.http.settings import ClientCertificate, HttpSettings, ca_path
from s3_to_azure.stores.s3.responses import by_lower_name, parse_whole_object
from s3_to_azure.stores.s3.source import S3Source

if TYPE_CHECKING:
    import pycurl
else:
    try:
        import pycurl
    except ImportError:  # a platform for which there is no wheel, or whose libcurl is another one
        pycurl = None

# The most that libcurl reads from or writes to a socket at a time. Each transfer keeps buffers of this size outside the
# memory budget: larger ones would be faster for objects of 1 MB, but would hold their bytes a second time.
_BUFFER_BYTES: Final = 64 * 1024
_MAX_RESPONSE_BYTES: Final = 64 * 1024
# A header without a value keeps libcurl from adding its own.
_NOT_SENT: Final = ["Accept:", "Expect:", "User-Agent:"]
_HEADER_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_HEADER_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")
_MAX_KNOWN_NAMES: Final = 1_000
_CREATED: Final = 201
# libcurl's name, from OpenSSL.
_ALTERNATIVE_NAMES: Final = "X509v3 Subject Alternative Name"

log = logging.getLogger(__name__)


def small_object_client(source: S3Source, container: AzureContainer) -> "Callable[[], CurlSmallObjectClient] | None":
    """Return a function that makes a client for copies between the two; None if libcurl cannot keep their settings."""
    obstacle = _obstacle(source, container)
    if obstacle:
        log.info("Small objects are copied one by one, because %s", obstacle)
        return None
    return partial(CurlSmallObjectClient, source, container)


def _obstacle(source: S3Source, container: AzureContainer) -> str:
    """Return why small objects have to be copied by the other clients; nothing if they have not."""
    if pycurl is None:
        return "the package pycurl is not installed, or finds no libcurl"
    both = (source.http_connections.settings, container.http_connections.settings)
    if any(settings.forwards_https and settings.proxies for settings in both):
        return "the proxy gets requests over TLS without a tunnel (proxy_use_forwarding_for_https)"
    if not hasattr(pycurl, "PREREQFUNCTION") and any(settings.verify is not False for settings in both):
        return "this libcurl is older than 7.80, and cannot be kept from matching certificates by their common name"
    if not container.may_authorise:
        return "the account's service version (api_version) is older than the SAS that the SDK makes"
    return ""


class CurlSmallObjectClient:
    """The transfers of one thread: a ``SmallObjectClient``.

    Args:
        source: Signs the GETs.
        container: Authorises the Put Blobs.
    """

    def __init__(self, source: S3Source, container: AzureContainer) -> None:
        self._source = source
        self._container = container
        self._multi = pycurl.CurlMulti()
        self._settings = {S3: source.http_connections.settings, AZURE: container.http_connections.settings}
        self._idle: dict[str, list[_Transfer]] = {S3: [], AZURE: []}
        self._in_flight: dict[Any, _Transfer] = {}
        self._known_names: set[str] = set()
        self._not_sent: deque[HandedBack] = deque()

    def fetch(self, tag: Any, listed: ListedObject) -> None:
        """Start a GET of a whole object, pinned by its ETag."""
        try:
            url, headers = self._source.signed_get(listed)
            self._start(S3, tag, listed, url, headers, max_bytes=max(listed.size_bytes, _MAX_RESPONSE_BYTES))
        except TransferError as error:
            self._not_sent.append(HandedBack(tag, error))

    def store(
        self, tag: Any, blob: str, data: bytes, *, crc64: int, contents: BlobContents, condition: Condition
    ) -> None:
        """Start a Put Blob with its CRC64 under the condition."""
        try:
            url, headers = self._container.authorised_put_blob(blob, crc64, contents, condition)
            self._start(AZURE, tag, blob, url, {**headers, REQUEST_ID: new_request_id()}, body=data)
        except TransferError as error:
            self._not_sent.append(HandedBack(tag, error))

    def finished(self, timeout_s: float) -> Sequence[Fetched | Stored | HandedBack]:
        """Advance all transfers and return those that ended; wait up to ``timeout_s`` if none has."""
        events: list[Fetched | Stored | HandedBack] = []
        while self._not_sent:
            events.append(self._not_sent.popleft())
        self._multi.perform()
        self._collect(events)
        if not events and self._in_flight:
            self._multi.select(timeout_s)
            self._multi.perform()
            self._collect(events)
        return events

    def close(self) -> None:
        """Abort the transfers in flight and close all connections."""
        for handle in self._in_flight:
            self._multi.remove_handle(handle)
            handle.close()
        self._in_flight.clear()
        for idle in self._idle.values():
            for transfer in idle:
                transfer.handle.close()
            idle.clear()
        self._multi.close()

    def _start(
        self,
        service: str,
        tag: Any,
        target: ListedObject | str,
        url: str,
        headers: Mapping[str, str],
        *,
        max_bytes: int = _MAX_RESPONSE_BYTES,
        body: bytes | None = None,
    ) -> None:
        lines = self._lines(headers)
        idle = self._idle[service]
        transfer = idle.pop() if idle else _Transfer(service, self._settings[service])
        transfer.prepare(tag, target, url, headers, lines, max_bytes, body)
        self._in_flight[transfer.handle] = transfer
        self._multi.add_handle(transfer.handle)

    def _lines(self, headers: Mapping[str, str]) -> list[str] | list[bytes]:
        """Return the headers as libcurl expects them: an empty one ends in a semicolon, with a colon it is not sent.

        Raises:
            UnexpectedResponse: A header is not valid in HTTP; nothing was sent.
        """
        if not headers.keys() <= self._known_names:
            self._check_names(headers)
        lines = [f"{name}: {value}" if value else f"{name};" for name, value in headers.items()]
        text = "".join(lines)
        if text.isascii() and text.isprintable():
            return lines + _NOT_SENT
        for name, value in headers.items():
            if not _HEADER_VALUE.fullmatch(value):
                raise _invalid_header(name)
        return [line.encode("latin-1") for line in lines + _NOT_SENT]

    def _check_names(self, names: Iterable[str]) -> None:
        if len(self._known_names) > _MAX_KNOWN_NAMES:
            self._known_names.clear()
        for name in names:
            if not _HEADER_NAME.fullmatch(name):
                raise _invalid_header(name)
            self._known_names.add(name)

    def _collect(self, events: list[Fetched | Stored | HandedBack]) -> None:
        while True:
            queued, done, failed = self._multi.info_read()
            events.extend([self._ended(handle, None) for handle in done])
            events.extend([self._ended(handle, number) for handle, number, _ in failed])
            if not queued:
                return

    def _ended(self, handle: Any, failure: int | None) -> Fetched | Stored | HandedBack:
        self._multi.remove_handle(handle)
        transfer = self._in_flight.pop(handle)
        try:
            if failure is not None:
                # libcurl's text may contain the URL, and with it a SAS.
                detail = f"libcurl's error {failure}"
                error = ConnectionFailed(service=transfer.service, resource="a small object", detail=detail)
                return HandedBack(transfer.tag, error)
            target = transfer.target
            return self._stored(transfer, target) if isinstance(target, str) else self._fetched(transfer, target)
        except TransferError as error:
            return HandedBack(transfer.tag, error)
        finally:
            transfer.reset()
            self._idle[transfer.service].append(transfer)

    def _fetched(self, transfer: "_Transfer", listed: ListedObject) -> Fetched:
        body = b"".join(transfer.chunks)
        version = parse_whole_object(listed, transfer.status, transfer.headers(), body)
        return Fetched(transfer.tag, version, body)

    def _stored(self, transfer: "_Transfer", blob: str) -> Stored:
        headers = transfer.headers()
        if not belongs_to(transfer.sent, headers):
            detail = "the response belongs to another request"
            raise ConnectionFailed(service=AZURE, resource="a small object", detail=detail)
        self._container.created_etag(Response(transfer.status, headers), blob)
        if transfer.handle.getinfo(pycurl.SIZE_UPLOAD_T) < transfer.body_bytes:
            detail = "the server responded before it had read the body"
            raise ConnectionFailed(service=AZURE, resource="a small object", detail=detail)
        return Stored(transfer.tag)


class _Transfer:
    """A libcurl handle, set up once for one service, and its current request.

    Args:
        service: ``S3`` or ``AZURE``.
        settings: What the service's other clients follow too.

    Attributes:
        target: The object that is read, or the blob that is written.
        sent: The headers of the request.
        body_bytes: The size of its body.
    """

    def __init__(self, service: str, settings: HttpSettings) -> None:
        self.service = service
        self._proxies = settings.proxies
        self._proxy: str | None = None
        self.handle = handle = pycurl.Curl()
        self.tag: Any = None
        self.sent: Mapping[str, str] = {}
        self.body_bytes = 0
        self.target: ListedObject | str = ""
        self.chunks: list[bytes] = []
        self._lines: list[bytes] = []
        self._bytes_left = 0
        handle.setopt(pycurl.NOSIGNAL, 1)
        # A request is sent as it was built: no path is normalised, no redirect followed, no environment variable read.
        handle.setopt(pycurl.PATH_AS_IS, 1)
        handle.setopt(pycurl.PROTOCOLS, pycurl.PROTO_HTTP | pycurl.PROTO_HTTPS)
        handle.setopt(pycurl.FOLLOWLOCATION, 0)
        handle.setopt(pycurl.PROXY, "")
        handle.setopt(pycurl.NOPROXY, "")
        handle.setopt(pycurl.HTTP_VERSION, pycurl.CURL_HTTP_VERSION_1_1)
        handle.setopt(pycurl.CONNECTTIMEOUT_MS, int(settings.connect_timeout_s * 1000))
        handle.setopt(pycurl.LOW_SPEED_LIMIT, MIN_BYTES_PER_S)
        handle.setopt(pycurl.LOW_SPEED_TIME, max(1, int(settings.read_timeout_s)))
        handle.setopt(pycurl.BUFFERSIZE, _BUFFER_BYTES)
        handle.setopt(pycurl.UPLOAD_BUFFERSIZE, _BUFFER_BYTES)
        handle.setopt(pycurl.WRITEFUNCTION, self._receive)
        handle.setopt(pycurl.HEADERFUNCTION, self._lines.append)
        self._set_tls(settings)

    def _set_tls(self, settings: HttpSettings) -> None:
        handle = self.handle
        handle.setopt(pycurl.SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        handle.setopt(pycurl.PROXY_SSLVERSION, pycurl.SSLVERSION_TLSv1_2)
        if settings.verify is False:
            handle.setopt(pycurl.SSL_VERIFYPEER, 0)
            handle.setopt(pycurl.SSL_VERIFYHOST, 0)
        else:
            trusted = ca_path(settings.verify)
            handle.setopt(pycurl.CAPATH if Path(trusted).is_dir() else pycurl.CAINFO, trusted)
            # libcurl would also match the common name of a certificate without alternative names.
            handle.setopt(pycurl.OPT_CERTINFO, 1)
            handle.setopt(pycurl.PREREQFUNCTION, self._check_certificate)
        if settings.proxy_verify is False:
            handle.setopt(pycurl.PROXY_SSL_VERIFYPEER, 0)
            handle.setopt(pycurl.PROXY_SSL_VERIFYHOST, 0)
        else:
            trusted = ca_path(settings.proxy_verify)
            handle.setopt(pycurl.PROXY_CAPATH if Path(trusted).is_dir() else pycurl.PROXY_CAINFO, trusted)
        self._show(settings.client_certificate, pycurl.SSLCERT, pycurl.SSLKEY, pycurl.KEYPASSWD)
        self._show(settings.proxy_client_certificate, pycurl.PROXY_SSLCERT, pycurl.PROXY_SSLKEY, pycurl.PROXY_KEYPASSWD)

    def _show(self, certificate: ClientCertificate | None, cert_option: int, key_option: int, password: int) -> None:
        """Set a client certificate and its key."""
        if certificate is None:
            return
        cert, key = (certificate, certificate) if isinstance(certificate, str) else certificate
        self.handle.setopt(cert_option, cert)
        self.handle.setopt(key_option, key)
        # Otherwise OpenSSL would ask for it on a terminal.
        self.handle.setopt(password, "")

    def _check_certificate(self, *_: Any) -> int:
        """Allow a request, unless the connection is new and its certificate has no alternative names."""
        chain = self.handle.getinfo(pycurl.INFO_CERTINFO)
        # A connection that an earlier request has opened was checked then.
        if not chain or any(name == _ALTERNATIVE_NAMES for name, _ in chain[0]):
            return int(pycurl.PREREQFUNC_OK)
        return int(pycurl.PREREQFUNC_ABORT)

    def prepare(
        self,
        tag: Any,
        target: ListedObject | str,
        url: str,
        headers: Mapping[str, str],
        lines: list[str] | list[bytes],
        max_bytes: int,
        body: bytes | None,
    ) -> None:
        self.sent = headers
        self.body_bytes = len(body or b"")
        self.tag = tag
        self.target = target
        self._bytes_left = max_bytes
        handle = self.handle
        proxy = self._proxies.for_url(url)
        if proxy != self._proxy:
            handle.setopt(pycurl.PROXY, proxy or "")
            self._proxy = proxy
        handle.setopt(pycurl.URL, url)
        handle.setopt(pycurl.HTTPHEADER, lines)
        if body is not None:
            handle.setopt(pycurl.POSTFIELDS, body)
            handle.setopt(pycurl.CUSTOMREQUEST, "PUT")

    def _receive(self, chunk: bytes) -> int | None:
        self._bytes_left -= len(chunk)
        if self._bytes_left < 0:
            return -1
        self.chunks.append(chunk)
        return None

    @property
    def status(self) -> int:
        return int(self.handle.getinfo(pycurl.RESPONSE_CODE))

    def headers(self) -> dict[str, str]:
        """Return the last response's headers by lower-case name, without those of a 1xx before it."""
        found: list[tuple[str, str]] = []
        for line in self._lines:
            if line[:5] == b"HTTP/":
                found.clear()
                continue
            name, _, value = line.decode("latin-1").partition(":")
            # Only HTTP's white space: a value may end in a byte that Python also regards as space.
            found.append((name, value.strip(" \t\r\n")))
        return by_lower_name(found)

    def reset(self) -> None:
        self.tag = None
        self.target = ""
        self.chunks = []
        self._lines.clear()
        if self.service == AZURE:
            # The handle would keep the body until its next request, outside the memory budget.
            self.handle.setopt(pycurl.POSTFIELDS, b"")


def _invalid_header(name: str) -> UnexpectedResponse:
    detail = "it is not a valid header; nothing was sent"
    return UnexpectedResponse(service="the HTTP client", resource=repr(name), detail=detail)
