"""S3 as an ``ObjectSource``: boto3 to look and list, requests with SigV4 headers for the bytes."""

import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import quote, urlsplit

import requests
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError
from requests.auth import AuthBase

from s3_to_azure.engine import checksums
from s3_to_azure.engine.errors import (
    CredentialsRefused,
    ObjectNotFound,
    SourceChanged,
    TransferError,
    UnexpectedAnswer,
    WrongUse,
)
from s3_to_azure.engine.limits import LISTING_PAGE_KEYS
from s3_to_azure.engine.model import ContentHeaders, ListedObject, ObjectVersion, PartSizes, SourceChecksum
from s3_to_azure.engine.names import check_key
from s3_to_azure.stores.pages import Pages
from s3_to_azure.stores.redaction import protect_logs
from s3_to_azure.stores.requests_session import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, GuardedSession
from s3_to_azure.stores.s3_object_calls import restore, tags
from s3_to_azure.stores.s3_options import ReadOptions
from s3_to_azure.stores.s3_parts import part_sizes
from s3_to_azure.stores.sdk_errors import S3, s3_error, s3_errors

_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9._-]{1,100})</Code>")
_MOST_ERROR_BYTES: Final = 64 * 1024
_CHECKSUM_HEADERS: Final = {f"x-amz-checksum-{algorithm.name}": algorithm.name for algorithm in checksums.LADDER}
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html: whose ETag is no MD5
_ENCRYPTION: Final = "x-amz-server-side-encryption"
_CUSTOMER_KEY: Final = "x-amz-server-side-encryption-customer-algorithm"
_DIRECTORY_BUCKET_CLASS: Final = "EXPRESS_ONEZONE"
_METADATA: Final = "x-amz-meta-"


class SigV4Headers(AuthBase):
    """Signs a request in its headers at the moment it is sent, with the credentials of that moment.

    Args:
        credentials: botocore's credentials, refreshable ones included.
        region: The bucket's own region.
    """

    def __init__(self, credentials: Any, region: str) -> None:
        """Keep what signing needs; nothing is signed yet."""
        self._credentials = credentials
        self._region = region
        self.used_key: str | None = None

    def __call__(self, prepared: requests.PreparedRequest) -> requests.PreparedRequest:
        """Add the signature's headers."""
        frozen = self._credentials.get_frozen_credentials()
        self.used_key = frozen.access_key
        # Only what is S3's business: a proxy may change Connection, Accept or Accept-Encoding.
        signed = {name: value for name, value in prepared.headers.items() if _is_signed(name.lower())}
        request = AWSRequest(method=prepared.method, url=prepared.url, headers=signed)
        S3SigV4Auth(frozen, "s3", self._region).add_auth(request)
        prepared.headers.update(dict(request.headers.items()))
        return prepared


def _is_signed(name: str) -> bool:
    return name in ("range", "if-match") or name.startswith("x-amz-")


class S3Body:
    """The open body of a GET."""

    def __init__(self, response: requests.Response, version: ObjectVersion) -> None:
        """Wrap an answer whose headers were checked."""
        self.version = version
        self._response = response

    def readinto(self, view: memoryview) -> int:
        """Fill the front of ``view``; return the bytes written, 0 at the body's end."""
        with s3_errors(bucket=self.version.bucket, key=self.version.key):
            # urllib3's readinto reads into a new object and copies it; http.client's below it fills the view itself.
            body: Any = self._response.raw._fp  # noqa: SLF001
            count = int(body.readinto(view))
            if body.length == 0:
                # urllib3 did not see the body end, so it would close the connection instead of keeping it.
                self._response.raw.release_conn()
            return count


class S3Source:
    """Objects of any bucket that one connection reaches.

    Args:
        session: boto3 session, for its credentials and clients.
        client_options: Keyword arguments of ``session.client("s3", …)``: endpoint_url, config, verify, region_name.
        lanes: Connections to keep.
        verify: True, False or a CA bundle, for the bytes' connections.
        proxies: Scheme to proxy URL.
        options: Who pays, whose key decrypts, which version.
    """

    def __init__(
        self,
        session: Any,
        client_options: Mapping[str, Any],
        *,
        lanes: int,
        verify: bool | str = True,
        proxies: dict[str, str] | None = None,
        options: ReadOptions | None = None,
    ) -> None:
        """Make the client; no request is sent yet."""
        self._options = options or ReadOptions()
        with s3_errors(bucket="", key=None):
            self._client = session.client("s3", **client_options)
        self._credentials = session.get_credentials()
        self._http = GuardedSession(pool=lanes, verify=verify, proxies=proxies)
        self._regions: dict[str, str] = {}
        self._lock = threading.Lock()
        protect_logs()

    def check(self, bucket: str) -> None:
        """Look the bucket up once; raise where it is certainly unusable."""
        if self._credentials is None:
            with s3_errors(bucket=bucket, key=None):
                self._client.head_bucket(Bucket=bucket)
        self._region_of(bucket)

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Return the object's current version, with every checksum that S3 offers for it."""
        check_key(key)
        try:
            with s3_errors(bucket=bucket, key=key):
                answer = self._client.head_object(
                    Bucket=bucket, Key=key, ChecksumMode="ENABLED", **self._options.reading()
                )
        except TransferError as error:
            # A HEAD's answer has no body, so its cause is unknown; a GET of one byte names it.
            if isinstance(error, (ObjectNotFound, UnexpectedAnswer)) or error.attributes.get("code") in (
                "400",
                "403",
                "Bad Request",
                "Forbidden",
            ):
                raise self._explained(bucket, key, error) from None
            raise
        headers = {name.lower(): value for name, value in answer["ResponseMetadata"]["HTTPHeaders"].items()}
        return _version(bucket, key, headers)

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        """Return the sizes in which the version was uploaded; None where S3 does not tell."""
        check_key(version.key)
        return part_sizes(self._client, version, self._options.reading(), each=each)

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        """Return the object's tags."""
        return tags(self._client, bucket, check_key(key), self._options)

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        """Ask for an archived object to be restored; False where that was asked for before."""
        return restore(self._client, bucket, check_key(key), self._options, days=days, tier=tier)

    @contextmanager
    def open(self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None) -> Iterator[S3Body]:
        """GET ``[start, end)`` of the version, or all of it without ``end``; the answer's headers are checked."""
        check_key(version.key)
        wanted = {"Accept-Encoding": "identity", "If-Match": f'"{version.etag}"'}
        if end is None:
            wanted["x-amz-checksum-mode"] = "ENABLED"
        else:
            wanted["Range"] = f"bytes={start}-{end - 1}"
        response = self._get(version.bucket, version.key, wanted, etag=version.etag)
        try:
            read = _version(version.bucket, version.key, response.headers)
            _check_answer(response, version, read, start, end)
            yield S3Body(response, replace(read, size_bytes=version.size_bytes))
        finally:
            # Returns a drained connection to the pool, closes any other.
            response.close()

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        """Yield the objects below the prefix, a page of 1,000 at a time."""
        if self._options.version_id:
            raise WrongUse(what="A version (VersionId) goes with one key; what lies below a prefix has other versions.")

        def ask(token: str | None) -> tuple[list[ListedObject], str | None]:
            going_on = {"ContinuationToken": token} if token else {}
            page_keys = min(LISTING_PAGE_KEYS, max_keys or LISTING_PAGE_KEYS)
            with s3_errors(bucket=bucket, key=None):
                page = self._client.list_objects_v2(
                    Bucket=bucket, Prefix=prefix, MaxKeys=page_keys, **self._options.payer(), **going_on
                )
            if "IsTruncated" not in page:
                # Empty, or another document: never to be read as "there is nothing more".
                raise UnexpectedAnswer(service=S3, thing=f"s3://{bucket}", detail="no listing")
            found = [
                ListedObject(
                    bucket=bucket,
                    key=item["Key"],
                    etag=item["ETag"].strip('"'),
                    size_bytes=item["Size"],
                    last_modified=item["LastModified"],
                    storage_class=item.get("StorageClass", "STANDARD"),
                )
                for item in page.get("Contents", ())
            ]
            return found, page["NextContinuationToken"] if page["IsTruncated"] else None

        return Pages(ask, most=max_keys)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
        self._client.close()

    def _get(self, bucket: str, key: str, headers: Mapping[str, str], *, etag: str) -> requests.Response:
        """Send one GET; a signature that expired between signing and arrival is made anew once."""
        last: TransferError | None = None
        for _ in range(2):
            auth = SigV4Headers(self._credentials, self._region_of(bucket)) if self._credentials else None
            with s3_errors(bucket=bucket, key=key, etag=etag):
                response = self._http.request(
                    "GET",
                    self._url(bucket, key),
                    headers=dict(headers) | self._options.headers(),
                    auth=auth,
                    stream=True,
                    timeout=(CONNECT_TIMEOUT_S, READ_TIMEOUT_S),
                )
            if response.status_code in (200, 206):
                return response
            last = _error_of(response, bucket, key, etag)
            if not (isinstance(last, CredentialsRefused) and auth and auth.used_key != self._key_now()):
                raise last
        raise last or AssertionError("unreachable")

    def _key_now(self) -> str | None:
        return str(self._credentials.get_frozen_credentials().access_key)

    def _explained(self, bucket: str, key: str, error: TransferError) -> TransferError:
        self._regions.pop(bucket, None)
        try:
            self._region_of(bucket)
            self._get(bucket, key, {"Range": "bytes=0-0", "Accept-Encoding": "identity"}, etag="").close()
        except TransferError as explained:
            # 416: the object is there and empty, so the refusal was about the HEAD alone.
            return error if isinstance(explained, UnexpectedAnswer) else explained
        return error

    def _region_of(self, bucket: str) -> str:
        """Return the bucket's own region: S3 does not follow a signature across regions."""
        with self._lock:
            if bucket not in self._regions:
                self._regions[bucket] = self._look_up_region(bucket)
            return self._regions[bucket]

    def _look_up_region(self, bucket: str) -> str:
        default = self._client.meta.region_name or "us-east-1"
        with s3_errors(bucket=bucket, key=None):
            try:
                answer: Mapping[str, Any] = self._client.head_bucket(Bucket=bucket)
            except ClientError as error:
                # Who may read objects often may not look at the bucket; the answer names the region all the same.
                answer = error.response
                if answer.get("ResponseMetadata", {}).get("HTTPStatusCode") not in (301, 307, 400, 403):
                    raise
        headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        return str(headers.get("x-amz-bucket-region") or default)

    def _url(self, bucket: str, key: str) -> str:
        """Return the object's URL in the client's own addressing style, the key quoted once."""
        version = self._options.version_id
        query = f"?versionId={quote(version, safe='~')}" if version else ""
        return f"{self._base(bucket)}/{quote(key, safe='/~')}{query}"

    def _base(self, bucket: str) -> str:
        region = self._region_of(bucket)
        endpoint = urlsplit(self._client.meta.endpoint_url)
        host = endpoint.netloc
        if host.endswith(".amazonaws.com") and region != self._client.meta.region_name:
            host = host.replace(str(self._client.meta.region_name), region)
            if host == "s3.amazonaws.com":
                host = f"s3.{region}.amazonaws.com"
        style = (self._client.meta.config.s3 or {}).get("addressing_style", "auto")
        own_host = "." not in bucket and host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        if style == "virtual" or (style == "auto" and own_host):
            return f"{endpoint.scheme}://{bucket}.{host}{endpoint.path.rstrip('/')}"
        return f"{endpoint.scheme}://{host}{endpoint.path.rstrip('/')}/{bucket}"


def _error_of(response: requests.Response, bucket: str, key: str, etag: str) -> TransferError:
    with s3_errors(bucket=bucket, key=key, etag=etag):
        body = response.raw.read(_MOST_ERROR_BYTES) or b""
        response.close()
    match = _CODE.search(body)
    return s3_error(
        response.status_code,
        match[1].decode("ascii") if match else str(response.status_code),
        bucket=bucket,
        key=key,
        etag=etag,
        retry_after=response.headers.get("Retry-After"),
    )


def _version(bucket: str, key: str, headers: Mapping[str, str]) -> ObjectVersion:
    """Read an object's version from the headers of a GET or HEAD (names in lower case or case-insensitive)."""
    return ObjectVersion(
        bucket=bucket,
        key=key,
        etag=headers.get("etag", "").strip('"'),
        size_bytes=_number(headers.get("content-length")),
        last_modified=_moment(headers.get("last-modified")),
        checksum=_checksum(headers),
        weaker=_weaker(headers),
        metadata={
            name.lower().removeprefix(_METADATA): value
            for name, value in headers.items()
            if name.lower().startswith(_METADATA)
        },
        headers=ContentHeaders(
            content_type=headers.get("content-type"),
            content_encoding=_stored_encoding(headers.get("content-encoding")),
            content_language=headers.get("content-language"),
            content_disposition=headers.get("content-disposition"),
            cache_control=headers.get("cache-control"),
        ),
        storage_class=headers.get("x-amz-storage-class", "STANDARD"),
    )


def _number(text: str | None) -> int:
    """Read a length; what is none fits no size, so that the answer is refused."""
    return int(text) if text and len(text) < 20 and text.isascii() and text.isdigit() else 0


def _moment(text: str | None) -> datetime:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _stored_encoding(value: str | None) -> str | None:
    """Drop ``aws-chunked``, which names the upload's framing, not the stored bytes."""
    names = [name.strip() for name in (value or "").split(",")]
    return ", ".join(name for name in names if name and name != "aws-chunked") or None


def _checksum(headers: Mapping[str, str]) -> SourceChecksum | None:
    if headers.get("x-amz-checksum-type", "FULL_OBJECT") != "FULL_OBJECT":
        return None
    return checksums.strongest(_stored(headers))


def _weaker(headers: Mapping[str, str]) -> tuple[SourceChecksum, ...]:
    return (*checksums.partwise(_stored(headers)), *_etag_md5(headers))


def _stored(headers: Mapping[str, str]) -> dict[str, str]:
    return {name: headers[header] for header, name in _CHECKSUM_HEADERS.items() if header in headers}


def _etag_md5(headers: Mapping[str, str]) -> tuple[SourceChecksum, ...]:
    """Return the ETag where it is an MD5: not under a KMS or customer key, not in a directory bucket."""
    if headers.get(_ENCRYPTION, "AES256") != "AES256" or _CUSTOMER_KEY in headers:
        return ()
    if headers.get("x-amz-storage-class") == _DIRECTORY_BUCKET_CLASS:
        return ()
    found = checksums.etag_md5(headers.get("etag", "").strip('"'))
    return (found,) if found else ()


def _check_answer(
    response: requests.Response,
    wanted: ObjectVersion | ListedObject,
    read: ObjectVersion,
    start: int,
    end: int | None,
) -> None:
    """Refuse an answer that is not the range asked for, of the version asked for."""
    thing = repr(f"s3://{wanted.bucket}/{wanted.key}")
    if read.etag != wanted.etag:
        raise SourceChanged(bucket=wanted.bucket, key=wanted.key, etag=wanted.etag)
    if end is None:
        if response.status_code != 200 or read.size_bytes != wanted.size_bytes:
            raise UnexpectedAnswer(
                service=S3, thing=thing, detail=f"{read.size_bytes} bytes instead of {wanted.size_bytes}"
            )
        return
    expected = f"bytes {start}-{end - 1}/{wanted.size_bytes}"
    got = response.headers.get("Content-Range", "no Content-Range")
    # Some S3 servers (rclone's) send the range under status 200; range and length leave no doubt.
    if response.status_code not in (200, 206) or got != expected or read.size_bytes != end - start:
        detail = f"status {response.status_code}, {got!r}, {read.size_bytes} bytes instead of {expected!r}"
        raise UnexpectedAnswer(service=S3, thing=thing, detail=detail)
