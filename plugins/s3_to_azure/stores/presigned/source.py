"""URLs as an ``ObjectSource``: ranged GETs pinned by the ETag, without a key, a HEAD or any other request.

A presigned URL allows one method, so what HEAD tells of an object comes from a GET of its first byte. Its checksums
come with a GET of the whole object only, of which no more than the headers is read.
"""

import http.client
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from s3_to_azure.model.errors import (
    S3,
    AccessError,
    ObjectNotFound,
    RequestNotSupported,
    SourceChanged,
    UnexpectedResponse,
    UsageError,
)
from s3_to_azure.model.limits import MAX_SOURCE_URL_CHARACTERS
from s3_to_azure.model.objects import FetchAccess, FetchUrl, ListedObject, ObjectVersion, PartChecksum, PartSizes
from s3_to_azure.stores.http.connections import HttpConnections
from s3_to_azure.stores.http.headers import ContentRange, by_lower_name
from s3_to_azure.stores.http.redaction import protect_logs
from s3_to_azure.stores.http.settings import HttpSettings, Proxies, ca_bundle
from s3_to_azure.stores.presigned.errors import expired, url_error
from s3_to_azure.stores.presigned.url import CHECKSUM_MODE, PresignedUrl
from s3_to_azure.stores.s3.body import S3Body
from s3_to_azure.stores.s3.errors import is_error_document, refusal_of, s3_errors
from s3_to_azure.stores.s3.headers import ETAG, ResponseHeaders
from s3_to_azure.stores.s3.responses import check_body, parse_version

_MAX_ERROR_BYTES: Final = 64 * 1024
_IDENTITY: Final = {"Accept-Encoding": "identity"}
_ASK: Final = {CHECKSUM_MODE: "ENABLED"}
_OK: Final = 200
_PARTIAL: Final = 206
_UNSATISFIABLE: Final = 416
_PAGE: Final = "text/html"
_OF_STORES: Final = ("x-amz-request-id", "x-amz-cf-id", "x-goog-hash")
# What a service answers to a header that the URL does not sign.
_REFUSALS: Final = (AccessError, RequestNotSupported, UnexpectedResponse)

log = logging.getLogger(__name__)


class PresignedSource:
    """The objects that some URLs name, each by the bucket and the key that ``PresignedUrl`` has.

    Args:
        urls: The URLs; of several for one object the last counts.
        settings: Trust, certificates, proxies and timeouts of the connections.
        clock: Returns the time.
    """

    def __init__(
        self,
        urls: Iterable[PresignedUrl],
        settings: HttpSettings,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._urls = {(url.bucket, url.key): url for url in urls}
        self._names_versions = any(url.version_id is not None for url in self._urls.values())
        # Asked for each object.
        self._access = lru_cache(maxsize=8)(self._find_access)
        self._http = HttpConnections(settings)
        self._clock = clock
        # Hosts that refuse a request for checksums where the URL does not sign its header, as AWS does.
        self._without_checksums: set[str] = set()
        self._lock = threading.Lock()
        protect_logs()
        for url in self._urls.values():
            settings.check(url.url)

    @classmethod
    def with_environment(
        cls, urls: Iterable[PresignedUrl], environment: Mapping[str, str], *, verify: bool | str | None = None
    ) -> "PresignedSource":
        """Return the source with the proxies and the trusted certificates of the environment, as for S3 itself.

        Args:
            urls: The URLs.
            environment: Environment variables.
            verify: False accepts any certificate, a path is a CA bundle; None or True: what the environment says.
        """
        named = environment.get("AWS_CA_BUNDLE") or ca_bundle(environment)
        trusted = verify if verify is False or isinstance(verify, str) else named
        return cls(urls, HttpSettings(verify=trusted, proxies=Proxies.of_environment(environment)))

    @property
    def reads_named_version(self) -> bool:
        """Whether URLs name versions."""
        return self._names_versions

    def check(self, bucket: str) -> None:
        """Send nothing: a URL says nothing about its bucket."""

    def fetch_access(self, bucket: str) -> FetchAccess:
        """Return how Azure reads the objects that the URLs of a bucket name: by the URLs themselves."""
        return self._access(bucket)

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Return the version that the URL reads, with every checksum that an answer carries.

        Raises:
            UrlRefused: The URL has expired; by its own date no request is sent.
        """
        url = self._url(bucket, key)
        if url.is_expired(self._clock()):
            raise expired(url)
        version = self._first_byte(url)
        if version is None:
            # An empty object has no first byte.
            with ExitStack() as opened:
                return self._version(url, self._get_whole(opened, url, _IDENTITY, etag=""))
        if not _asks(url) and (not url.is_s3 or url.host in self._without_checksums):
            return version
        with ExitStack() as opened:
            headers = {**_IDENTITY, "If-Match": f'"{version.etag}"'}
            response = self._get_whole(opened, url, headers, etag=version.etag)
            found = self._version(url, response, size_bytes=version.size_bytes)
        if (found.etag, found.size_bytes) != (version.etag, version.size_bytes):
            raise SourceChanged(bucket=bucket, key=key, etag=version.etag)
        return found

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:  # noqa: ARG002 - the port's
        """Return None: a presigned URL does not list parts."""
        return None

    def part_checksums(self, version: ObjectVersion) -> Sequence[PartChecksum]:  # noqa: ARG002 - the port's
        """Return none: a presigned URL does not list parts."""
        return ()

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        """Raise UsageError: a presigned URL does not read tags."""
        raise UsageError(detail=f"{self._url(bucket, key).shown!r} is a URL, which gives no tags: copy without tags.")

    def current_etag(self, bucket: str, key: str) -> str | None:
        """Return the current version's ETag; None if there is none, or the URL names a version and does not tell."""
        if self._url(bucket, key).version_id is not None:
            return None
        try:
            return self.head(bucket, key).etag
        except ObjectNotFound:
            return None

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:  # noqa: ARG002 - the port's
        """Raise UsageError: a presigned URL does not restore."""
        shown = self._url(bucket, key).shown
        raise UsageError(detail=f"{shown!r} is a URL, by which no object can be restored: ask its owner to do it.")

    @contextmanager
    def open(self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None) -> Iterator[S3Body]:
        """GET ``[start, end)`` of the version, or all of it without ``end``, and check the response's headers."""
        url = self._url(version.bucket, version.key)
        headers = {**_IDENTITY, "If-Match": f'"{version.etag}"'}
        with ExitStack() as opened:
            if end is None:
                response = self._get_whole(opened, url, headers, etag=version.etag)
            else:
                headers["Range"] = f"bytes={start}-{end - 1}"
                response = opened.enter_context(self._get(url, headers, etag=version.etag))
            received = by_lower_name(response.headers.items())
            if end is not None and response.status == _OK and "content-range" not in received:
                raise _answer(
                    url,
                    "it ignores ranges and sends the whole object, so that only an object of one block can be copied "
                    f"from it; this one has {version.size_bytes:,} bytes (a larger block_size allows more)",
                )
            found = parse_version(
                version.bucket,
                version.key,
                received,
                size_bytes=version.size_bytes,
                last_modified=version.last_modified,
            )
            check_body(response.status, received, version, found, start=start, end=end)
            length = (version.size_bytes if end is None else end) - start
            yield S3Body(response, found, ResponseHeaders(repr(url.shown), received), length)

    def fetch_url(self, version: ObjectVersion) -> FetchUrl | None:
        """Return the URL as it is; None where it signs a header that Azure does not send, or is too long for Azure."""
        url = self._url(version.bucket, version.key)
        if url.headers or len(url.url) > MAX_SOURCE_URL_CHARACTERS:
            return None
        return FetchUrl(url.url)

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:  # noqa: ARG002 - the port's
        """Raise UsageError: a presigned URL does not list."""
        raise UsageError(detail="A URL names one object, and lists none: name more with --urls-from.")

    def close(self) -> None:
        """Close all connections."""
        self._http.close()

    def _find_access(self, bucket: str) -> FetchAccess:
        urls = [url for url in self._urls.values() if url.bucket == bucket]
        return FetchAccess(
            urls[0].host,
            max(len(url.url.partition("?")[2]) for url in urls),
            can_presign=not any(url.headers for url in urls),
        )

    def _url(self, bucket: str, key: str) -> PresignedUrl:
        return self._urls[bucket, key]

    def _first_byte(self, url: PresignedUrl) -> ObjectVersion | None:
        """Return the object's version from a GET of its first byte, without its checksums; None if it is empty."""
        request = {**_IDENTITY, "Range": "bytes=0-0"}
        with self._get(url, request, etag="", statuses=(_OK, _PARTIAL, _UNSATISFIABLE)) as response:
            headers = ResponseHeaders(repr(url.shown), by_lower_name(response.headers.items()))
            found = headers.content_range()
            if response.status == _UNSATISFIABLE:
                if found == ContentRange(0, 0, 0) or is_error_document(self._document(url, response)):
                    return None
                raise headers.error("Content-Range")
            # Some S3 servers, such as rclone's, send a range with status 200.
            if response.status == _OK and found is None:
                return self._version(url, response)
            with self._errors(url):
                response.read(1)
        if found is None or found.start != 0 or found.total is None:
            raise headers.error("Content-Range")
        headers.refuse_decompressed()
        _require_etag(url, headers.values)
        return parse_version(url.bucket, url.key, headers.values, size_bytes=found.total)

    def _version(
        self, url: PresignedUrl, response: http.client.HTTPResponse, *, size_bytes: int | None = None
    ) -> ObjectVersion:
        """Return the object's version from the headers of a GET of the whole object.

        Args:
            url: The requested URL.
            response: The response.
            size_bytes: The object's size, for a response without a length.

        Raises:
            UnexpectedResponse: It is a page, or its headers do not describe an object.
        """
        received = by_lower_name(response.headers.items())
        headers = ResponseHeaders(repr(url.shown), received)
        if response.status != _OK:
            raise _answer(url, f"status {response.status} to a request for the whole object")
        is_of_store = any(name in received for name in _OF_STORES)
        if received.get("content-type", "").lower().startswith(_PAGE) and not is_of_store:
            raise _answer(url, "a page (text/html) instead of an object: the URL may need a sign-in, or have expired")
        headers.refuse_decompressed()
        _require_etag(url, received)
        length = headers.content_length()
        return parse_version(url.bucket, url.key, received, size_bytes=size_bytes if length is None else length)

    def _get_whole(
        self, opened: ExitStack, url: PresignedUrl, headers: Mapping[str, str], *, etag: str
    ) -> http.client.HTTPResponse:
        """Send a GET of the whole object that asks for its checksums, unless the host refuses that."""
        asks = url.is_s3 and not _asks(url) and url.host not in self._without_checksums
        if asks:
            try:
                return opened.enter_context(self._get(url, {**headers, **_ASK}, etag=etag))
            except _REFUSALS:
                # The refusal may have another cause: then this request is refused too.
                pass
        response = opened.enter_context(self._get(url, headers, etag=etag))
        if asks:
            self._note_without_checksums(url)
        return response

    def _note_without_checksums(self, url: PresignedUrl) -> None:
        with self._lock:
            is_new = url.host not in self._without_checksums
            self._without_checksums.add(url.host)
        if is_new:
            log.info(
                "%s refuses to send checksums, because its URLs do not sign x-amz-checksum-mode: copies are verified "
                "by the ETag if that is an MD5, else by their transfer only",
                url.host,
            )

    @contextmanager
    def _get(
        self,
        url: PresignedUrl,
        headers: Mapping[str, str],
        *,
        etag: str,
        statuses: tuple[int, ...] = (_OK, _PARTIAL),
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a GET; every status but those in ``statuses`` is an error."""
        with ExitStack() as opened:
            with self._errors(url, etag=etag):
                response = opened.enter_context(self._http.request("GET", url.url, {**headers, **url.headers}))
            if response.status not in statuses:
                document = self._document(url, response, etag=etag)
                refusal = refusal_of(response.status, document, by_lower_name(response.headers.items()))
                raise url_error(refusal, url, etag=etag, now=self._clock())
            yield response

    def _document(self, url: PresignedUrl, response: http.client.HTTPResponse, *, etag: str = "") -> bytes:
        with self._errors(url, etag=etag):
            return response.read(_MAX_ERROR_BYTES)

    def _errors(self, url: PresignedUrl, *, etag: str = "") -> AbstractContextManager[None]:
        return s3_errors(bucket=url.bucket, key=url.key, etag=etag)


def _asks(url: PresignedUrl) -> bool:
    """Return whether every request by the URL asks for checksums, because it signs that."""
    return url.asks_for_checksums or CHECKSUM_MODE in url.headers


def _require_etag(url: PresignedUrl, received: Mapping[str, str]) -> None:
    if not ETAG.fullmatch(received.get("etag", "").strip('"')):
        raise _answer(url, "it has no strong ETag, which alone shows that all parts of a copy are of one version")


def _answer(url: PresignedUrl, detail: str) -> UnexpectedResponse:
    return UnexpectedResponse(service=S3, resource=repr(url.shown), detail=detail)
