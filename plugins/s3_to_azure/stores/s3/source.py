"""S3 as an ``ObjectSource``: boto3 for metadata and listings, ranged GETs of our own for the bytes."""

import http.client
import logging
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote

from botocore.exceptions import ClientError

from s3_to_azure.model.errors import (
    S3,
    CredentialsRefused,
    CustomerKeyRequired,
    ObjectNotFound,
    RequestNotSupported,
    SourceChanged,
    TransferError,
    UnexpectedResponse,
    UsageError,
)
from s3_to_azure.model.names import check_key
from s3_to_azure.model.objects import FetchAccess, FetchUrl, ListedObject, ObjectVersion, PartChecksum, PartSizes
from s3_to_azure.model.uris import object_uri
from s3_to_azure.stores.http.connections import HttpConnections
from s3_to_azure.stores.http.credentials import CredentialsProvider
from s3_to_azure.stores.http.headers import ContentRange, by_lower_name
from s3_to_azure.stores.http.redaction import hide, hide_in, protect_logs
from s3_to_azure.stores.http.settings import Proxies
from s3_to_azure.stores.s3.addresses import Addresses, BucketAddress
from s3_to_azure.stores.s3.body import S3Body
from s3_to_azure.stores.s3.bucket_listings import BucketListings
from s3_to_azure.stores.s3.credentials import obtained_credentials
from s3_to_azure.stores.s3.errors import (
    REFUSES_REQUEST,
    check_documents,
    is_error_document,
    response_error,
    s3_errors,
    s3_settings_errors,
)
from s3_to_azure.stores.s3.headers import EMPTY_MD5, RAW_HEADERS, ResponseHeaders, keep_raw_headers
from s3_to_azure.stores.s3.listing import take_over_parsing
from s3_to_azure.stores.s3.options import ReadOptions
from s3_to_azure.stores.s3.parts import part_checksums, part_sizes
from s3_to_azure.stores.s3.presigning import fetch_url
from s3_to_azure.stores.s3.responses import check_body, parse_version
from s3_to_azure.stores.s3.signing import Signer, look_at_credentials
from s3_to_azure.stores.s3.transport import settings_of, use_settings

_MAX_ERROR_BYTES: Final = 64 * 1024
_CHECKSUM_MODE: Final = {"x-amz-checksum-mode": "ENABLED"}
_SUCCESS: Final = (200, 206)
_UNSATISFIABLE: Final = 416
_WHEN_REQUIRED: Final = "when_required"
# How stores refuse a header or a query that they do not know.
_REFUSALS: Final = (400, *REFUSES_REQUEST)

log = logging.getLogger(__name__)


class S3Source:
    """The objects of all buckets that one connection can read.

    Args:
        session: A boto3 session, for its credentials and clients.
        client_options: Keyword arguments of ``session.client("s3", …)``: endpoint_url, config, verify, region_name.
            Trust, certificates, proxies and timeouts apply to the connections that read objects, too.
        proxies: Those of the environment, used unless ``config`` names others.
        options: How objects are read: requester pays, customer key, version.
        provider: Remembers whether the session's credentials were ever obtained; None: they were not.
    """

    def __init__(
        self,
        session: Any,
        client_options: Mapping[str, Any],
        *,
        proxies: Proxies | None = None,
        options: ReadOptions | None = None,
        provider: CredentialsProvider | None = None,
    ) -> None:
        self._options = options or ReadOptions()
        with s3_settings_errors():
            self._client = session.client("s3", **client_options)
            credentials = obtained_credentials(session, self._client, provider or CredentialsProvider(S3))
        settings = settings_of(self._client, proxies or Proxies())
        use_settings(self._client, settings)
        take_over_parsing(self._client)
        keep_raw_headers(self._client)
        check_documents(self._client)
        self._addresses = Addresses(self._client, credentials)
        self._http = HttpConnections(settings)
        self._signers: dict[str, Signer | None] = {}
        self._lock = threading.Lock()
        self._logged: set[str] = set()
        # boto3's own setting, for stores that refuse the header (AWS_RESPONSE_CHECKSUM_VALIDATION).
        self._asks_for_checksums = self._client.meta.config.response_checksum_validation != _WHEN_REQUIRED
        self._whole_object_headers = (_CHECKSUM_MODE if self._asks_for_checksums else {}) | self._options.headers()
        self._listings = BucketListings(self._client, self._options.payer(), log_once=self._log_once)
        self._client.meta.events.register_first("before-sign.s3", look_at_credentials)
        hide_in(self._client.meta.endpoint_url)
        hide(*self._options.headers().values())
        protect_logs()

    @property
    def endpoint_url(self) -> str:
        """Where requests without a bucket of their own host are sent."""
        return str(self._client.meta.endpoint_url)

    @property
    def http_connections(self) -> HttpConnections:
        """The connections that send the GETs."""
        return self._http

    @property
    def reads_named_version(self) -> bool:
        """Whether the user named a version."""
        return self._options.version_id is not None

    def check(self, bucket: str) -> None:
        """Raise if the bucket is certainly unusable; only the first call for a bucket sends a request."""
        self._address_of(bucket)

    def fetch_access(self, bucket: str) -> FetchAccess:
        """Return how somebody else reads the bucket's objects by presigned URLs."""
        address, options = self._address_of(bucket), self._options
        with s3_errors(bucket=bucket, key=None):
            query = address.query_characters() if address.can_presign else 0
        if options.version_id:
            query += len("&versionId=") + len(quote(options.version_id, safe="~"))
        return FetchAccess(
            address.base_url,
            query,
            requester_pays=options.requester_pays,
            has_customer_key=options.customer_key is not None,
            can_presign=address.can_presign,
        )

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Return the object's current version with every checksum that S3 provides."""
        check_key(key)
        self._address_of(bucket)
        try:
            with s3_errors(bucket=bucket, key=key):
                response = self._head({"Bucket": bucket, "Key": key, **self._options.reading()})
        except TransferError as error:
            # A HEAD response has no body that names the cause; the response to a GET of one byte has.
            if isinstance(error, (ObjectNotFound, UnexpectedResponse)) or error.attributes.get("code") in (
                "400",
                "403",
                "Bad Request",
                "Forbidden",
            ):
                raise self._explained(bucket, key, error) from None
            raise
        headers = ResponseHeaders(_uri(bucket, key), by_lower_name(response[RAW_HEADERS]))
        size_bytes = headers.content_length()
        # A proxy may drop the length of a HEAD, or say 0 for the body that a HEAD does not have.
        if size_bytes is None or (size_bytes == 0 and headers.etag() != EMPTY_MD5):
            size_bytes = self._size_by_range(bucket, key, headers)
        return parse_version(bucket, key, headers.values, size_bytes=size_bytes)

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        """Return the sizes of the parts in which the version was uploaded; None if S3 does not reveal them."""
        check_key(version.key)
        try:
            found = part_sizes(self._client, version, self._options.reading(), each=each)
        except (RequestNotSupported, UnexpectedResponse):
            # The refusal may have another cause, such as expired credentials; then this request is refused too.
            if self.head(version.bucket, version.key).etag != version.etag:
                raise SourceChanged(bucket=version.bucket, key=version.key, etag=version.etag) from None
            found = None
        if found is None:
            self._log_once(
                "The store does not reveal the parts of an object: objects uploaded in parts without a checksum of the "
                "whole are verified by their transfer only (verified_by=transport)"
            )
        return found

    def part_checksums(self, version: ObjectVersion) -> Sequence[PartChecksum]:
        """Return the version's parts with their CRC64NVME, as GetObjectAttributes lists them."""
        check_key(version.key)
        return part_checksums(self._client, version, self._options.reading())

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        """Return the object's tags."""
        check_key(key)
        try:
            with s3_errors(bucket=bucket, key=key, permission="s3:GetObjectTagging on this bucket"):
                response = self._client.get_object_tagging(Bucket=bucket, Key=key, **self._options.version())
                # A response without the set is not one that says that there are none.
                return {tag["Key"]: tag["Value"] for tag in response["TagSet"]}
        except RequestNotSupported:
            self._log_once("The store does not support tags: objects are copied without them")
            return {}

    def current_etag(self, bucket: str, key: str) -> str | None:
        """Return the current version's ETag, or None if it was deleted."""
        check_key(key)
        current = replace(self._options, version_id=None)
        with s3_errors(bucket=bucket, key=key):
            try:
                response = self._client.head_object(Bucket=bucket, Key=key, **current.reading())
            except ClientError as error:
                # S3 answers 405 if the current version is a delete marker.
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (404, 405):
                    return None
                raise
        return ResponseHeaders(_uri(bucket, key), by_lower_name(response[RAW_HEADERS])).etag()

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        """Request that an archived object is restored; False if a restore is in progress already.

        Args:
            bucket: The object's bucket.
            key: The object's key.
            days: Lifetime of the restored copy.
            tier: S3's retrieval tier.
        """
        check_key(key)
        with s3_errors(bucket=bucket, key=key):
            head = self._client.head_object(Bucket=bucket, Key=key, **self._options.reading())
        if 'ongoing-request="true"' in str(head.get("Restore", "")):
            return False
        request: dict[str, Any] = {"GlacierJobParameters": {"Tier": tier}}
        if head.get("StorageClass") != "INTELLIGENT_TIERING":
            # Intelligent-Tiering restores an object permanently, and rejects a number of days.
            request["Days"] = days
        with s3_errors(bucket=bucket, key=key, permission="s3:RestoreObject on this bucket"):
            try:
                self._client.restore_object(Bucket=bucket, Key=key, RestoreRequest=request, **self._options.version())
            except ClientError as error:
                if error.response.get("Error", {}).get("Code") != "RestoreAlreadyInProgress":
                    raise
                return False
        return True

    def signed_get(self, listed: ListedObject) -> tuple[str, Mapping[str, str]]:
        """Return the URL and the signed headers of a GET of the whole object that another client sends."""
        url = self._url(listed.bucket, check_key(listed.key))
        if_match = f'"{listed.etag}"'
        if listed.bucket not in self._signers:
            self._signers[listed.bucket] = self._address_of(listed.bucket).signer()
        signer = self._signers[listed.bucket]
        if signer is None:
            return url, {"if-match": if_match, "Accept-Encoding": "identity", **self._whole_object_headers}
        try:
            headers = signer.sign_pinned_get(url, if_match=if_match, shared=self._whole_object_headers)
        except Exception:
            # Entered only here: for each object the context manager would cost as much as the signature.
            with s3_errors(bucket=listed.bucket, key=listed.key):
                raise
        headers["Accept-Encoding"] = "identity"
        return url, headers

    @contextmanager
    def open(self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None) -> Iterator[S3Body]:
        """GET ``[start, end)`` of the version, or all of it without ``end``, and check the response's headers."""
        check_key(version.key)
        headers = {"Accept-Encoding": "identity", "If-Match": f'"{version.etag}"'}
        with ExitStack() as opened:
            if end is None:
                response = self._get_whole(opened, version, headers)
            else:
                headers["Range"] = f"bytes={start}-{end - 1}"
                response = opened.enter_context(self._get(version.bucket, version.key, headers, etag=version.etag))
            received = by_lower_name(response.headers.items())
            found = parse_version(
                version.bucket,
                version.key,
                received,
                size_bytes=version.size_bytes,
                last_modified=version.last_modified,
            )
            check_body(response.status, received, version, found, start=start, end=end)
            length = (version.size_bytes if end is None else end) - start
            yield S3Body(response, found, ResponseHeaders(_uri(version.bucket, version.key), received), length)

    def fetch_url(self, version: ObjectVersion) -> FetchUrl | None:
        """Return a URL that reads the object; None where a request must say more than a URL can."""
        check_key(version.key)
        if self._options.headers():
            return None
        with s3_errors(bucket=version.bucket, key=version.key):
            return fetch_url(self._address_of(version.bucket), self._url(version.bucket, version.key))

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        """Yield the objects below the prefix in the order of the store."""
        if self._options.version_id:
            raise UsageError(
                detail="VersionId can be used with one key only: objects below a prefix have other versions."
            )
        return self._listings.list(bucket, prefix, max_keys=max_keys)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
        self._client.close()

    def _head(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        """Send a HEAD that asks for checksums; without asking from the moment that the store turns out to refuse it."""
        if not self._asks_for_checksums:
            response: Mapping[str, Any] = self._client.head_object(**request)
            return response
        with_checksums = {**request, "ChecksumMode": "ENABLED"}
        try:
            response = self._client.head_object(**with_checksums)
        except ClientError as error:
            if _status(error) not in _REFUSALS:
                raise
            try:
                without: Mapping[str, Any] = self._client.head_object(**request)
            except ClientError:
                raise error from None
        else:
            return response
        # Credentials that were replaced between the two requests, for example, must not cost the checksums.
        try:
            response = self._client.head_object(**with_checksums)
        except ClientError as error:
            if _status(error) not in _REFUSALS:
                raise
        else:
            return response
        self._asks_for_checksums = False
        self._whole_object_headers = self._options.headers()
        self._log_once(
            "The store refuses requests for checksums (x-amz-checksum-mode): copies are verified by the ETag if that "
            "is an MD5, else by their transfer only"
        )
        return without

    def _get_whole(
        self, opened: ExitStack, version: ObjectVersion | ListedObject, headers: Mapping[str, str]
    ) -> http.client.HTTPResponse:
        """Send a GET of the whole object that asks for its checksums, unless the store refuses that."""
        bucket, key, etag = version.bucket, version.key, version.etag
        if self._asks_for_checksums:
            try:
                return opened.enter_context(self._get(bucket, key, {**headers, **_CHECKSUM_MODE}, etag=etag))
            except (RequestNotSupported, UnexpectedResponse, CustomerKeyRequired):
                self.head(bucket, key)
                if self._asks_for_checksums:
                    raise
        return opened.enter_context(self._get(bucket, key, headers, etag=etag))

    def _log_once(self, message: str) -> None:
        with self._lock:
            is_new = message not in self._logged
            self._logged.add(message)
        if is_new:
            log.warning(message)

    @contextmanager
    def _get(
        self,
        bucket: str,
        key: str,
        headers: Mapping[str, str],
        *,
        etag: str,
        statuses: tuple[int, ...] = _SUCCESS,
    ) -> Iterator[http.client.HTTPResponse]:
        """Send a GET; sign it again, once, if the credentials were replaced after it was signed.

        Every status but those in ``statuses`` is an error.
        """
        with s3_errors(bucket=bucket, key=key):
            url = self._url(bucket, key)
        unsigned = {**headers, **self._options.headers()}
        signer = self._address_of(bucket).signer()
        for is_last in (False, True):
            with ExitStack() as opened:
                with s3_errors(bucket=bucket, key=key, etag=etag):
                    signed = signer.sign_get(url, unsigned) if signer else unsigned
                    response = opened.enter_context(self._http.request("GET", url, signed))
                if response.status in statuses:
                    yield response
                    return
                with s3_errors(bucket=bucket, key=key, etag=etag):
                    document = response.read(_MAX_ERROR_BYTES)
                received = by_lower_name(response.headers.items())
                error = response_error(response.status, document, received, bucket=bucket, key=key, etag=etag)
            if is_last or not (isinstance(error, CredentialsRefused) and signer and signer.is_outdated()):
                raise error

    def _size_by_range(self, bucket: str, key: str, head: ResponseHeaders) -> int:
        """Return the object's size from the response to a GET of its first byte.

        Raises:
            UnexpectedResponse: The response does not give it either.
        """
        etag = head.etag()
        request = {"Range": "bytes=0-0", "Accept-Encoding": "identity", "If-Match": f'"{etag}"'}
        with self._get(bucket, key, request, etag=etag, statuses=(*_SUCCESS, _UNSATISFIABLE)) as response:
            headers = ResponseHeaders(head.resource, by_lower_name(response.headers.items()))
            found = headers.content_range()
            if response.status == _UNSATISFIABLE:
                with s3_errors(bucket=bucket, key=key, etag=etag):
                    document = response.read(_MAX_ERROR_BYTES)
                # Only an empty object has no first byte.
                if found == ContentRange(0, 0, 0) or is_error_document(document):
                    return 0
                raise headers.error("Content-Range")
            if headers.etag() != etag:
                raise SourceChanged(bucket=bucket, key=key, etag=etag)
            headers.refuse_decompressed()
            if found is not None and found.start == 0 and found.total is not None:
                return found.total
            if head.content_length() == headers.content_length() == 0:
                return 0
            raise (head if head.content_length() is None else headers).error(
                "Content-Length" if head.content_length() is None else "Content-Range"
            )

    def _explained(self, bucket: str, key: str, error: TransferError) -> TransferError:
        """Return the error that a GET of one byte gives instead of a HEAD's, and forget the bucket's region."""
        self._addresses.forget(bucket)
        self._signers.pop(bucket, None)
        try:
            with self._get(bucket, key, {"Range": "bytes=0-0", "Accept-Encoding": "identity"}, etag=""):
                pass
        except TransferError as explained:
            # 416 means an empty object: only the HEAD was refused.
            return error if isinstance(explained, UnexpectedResponse) else explained
        return error

    def _address_of(self, bucket: str) -> BucketAddress:
        return self._addresses.of(bucket, payer=self._options.payer())

    def _url(self, bucket: str, key: str) -> str:
        """Return the object's URL, with the key percent-encoded once."""
        version = self._options.version_id
        query = f"?versionId={quote(version, safe='~')}" if version else ""
        return f"{self._address_of(bucket).base_url}/{quote(key, safe='/~')}{query}"


def _uri(bucket: str, key: str) -> str:
    return repr(object_uri(bucket, key))


def _status(error: ClientError) -> int:
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
