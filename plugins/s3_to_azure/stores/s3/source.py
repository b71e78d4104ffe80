"""S3 as an ``ObjectSource``: boto3 to look and list, GETs signed in their headers for the bytes."""

import http.client
import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any, Final
from urllib.parse import quote, urlsplit

from botocore.exceptions import ClientError

from s3_to_azure.model.errors import (
    CredentialsRefused,
    ObjectNotFound,
    PermanentError,
    SourceChanged,
    TransferError,
    UnexpectedAnswer,
    UsageError,
)
from s3_to_azure.model.limits import LISTING_PAGE_KEYS, MAX_PARTS
from s3_to_azure.model.names import check_key
from s3_to_azure.model.objects import ListedObject, ObjectVersion, PartSizes
from s3_to_azure.stores.http.connections import GuardedSession, HttpConnections, open_connections
from s3_to_azure.stores.http.errors import protect_logs
from s3_to_azure.stores.http.pages import Pages
from s3_to_azure.stores.s3.listing import objects_of, take_listings
from s3_to_azure.stores.s3.options import ReadOptions
from s3_to_azure.stores.s3.responses import check_answer, error_of, s3_errors, version_of
from s3_to_azure.stores.s3.signing import SigV4

_IN_PROGRESS: Final = 'ongoing-request="true"'
_ALREADY: Final = "RestoreAlreadyInProgress"


def restore(client: Any, bucket: str, key: str, options: ReadOptions, *, days: int, tier: str) -> bool:
    """Ask once for an archived object to be restored; False where that was asked for before.

    Args:
        client: boto3's.
        bucket: Where it is.
        key: Its key.
        options: Who pays, which version.
        days: How long the restored copy stays.
        tier: How fast.
    """
    with s3_errors(bucket=bucket, key=key):
        head = client.head_object(Bucket=bucket, Key=key, **options.reading())
    if _IN_PROGRESS in str(head.get("Restore", "")):
        return False
    request: dict[str, Any] = {"GlacierJobParameters": {"Tier": tier}}
    if head.get("StorageClass") != "INTELLIGENT_TIERING":
        # Intelligent-Tiering brings an object back for good, and refuses a number of days.
        request["Days"] = days
    with s3_errors(bucket=bucket, key=key, permission="s3:RestoreObject on this bucket"):
        try:
            client.restore_object(Bucket=bucket, Key=key, RestoreRequest=request, **options.version())
        except ClientError as error:
            if error.response.get("Error", {}).get("Code") != _ALREADY:
                raise
            return False
    return True


def current_etag(client: Any, bucket: str, key: str, options: ReadOptions) -> str | None:
    """Return the ETag of the key's current version where another one may be read; else, or where it is gone, None."""
    if not options.version_id:
        return None
    with s3_errors(bucket=bucket, key=key):
        try:
            answer = client.head_object(Bucket=bucket, Key=key, **replace(options, version_id=None).reading())
        except ClientError as error:
            # The current version may be a delete marker.
            if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (404, 405):
                return None
            raise
    return str(answer["ETag"]).strip('"')


def tags(client: Any, bucket: str, key: str, options: ReadOptions) -> dict[str, str]:
    """Return an object's tags."""
    with s3_errors(bucket=bucket, key=key, permission="s3:GetObjectTagging on this bucket"):
        answer = client.get_object_tagging(Bucket=bucket, Key=key, **options.version())
    return {tag["Key"]: tag["Value"] for tag in answer.get("TagSet", ())}


_PAGE_PARTS: Final = 1_000


def part_sizes(client: Any, version: ObjectVersion, options: Mapping[str, Any], *, each: bool) -> PartSizes | None:
    """Return the sizes of the version's parts; None where S3 does not tell.

    GetObjectAttributes lists the parts, but only where they have checksums of their own and the identity may call it.
    Otherwise the first and the last part are looked at, which is enough where all but the last are equal.

    Args:
        client: boto3's.
        version: Of which object.
        options: More arguments of every request.
        each: Take no part's size from another's: ask for each.
    """
    if any(checksum.parts and checksum.algorithm != "md5" for checksum in version.weaker):
        listed = _listed(client, version, options)
        if listed:
            return PartSizes(listed, certain=True)
    first, count = _look(client, version, 1, options)
    if not 1 <= count <= MAX_PARTS:
        return None
    if count == 1:
        return PartSizes((first,), certain=True)
    last, _ = _look(client, version, count, options)
    if not each and first * (count - 1) + last == version.size_bytes:
        return PartSizes((*[first] * (count - 1), last), certain=count == 2)
    between = (_look(client, version, number, options)[0] for number in range(2, count))
    return PartSizes((first, *between, last), certain=True)


def _look(client: Any, version: ObjectVersion, number: int, options: Mapping[str, Any]) -> tuple[int, int]:
    """Return the size of a part, and the number of parts; 0 where the server does not know parts."""
    with s3_errors(bucket=version.bucket, key=version.key, etag=version.etag):
        answer = client.head_object(
            Bucket=version.bucket, Key=version.key, PartNumber=number, IfMatch=f'"{version.etag}"', **options
        )
    return int(answer["ContentLength"]), int(answer.get("PartsCount", 0))


def _listed(client: Any, version: ObjectVersion, options: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the sizes that GetObjectAttributes lists; nothing where it lists none or may not be called."""
    try:
        return tuple(_pages(client, version, options))
    except SourceChanged:
        raise
    except PermanentError:
        return ()


def _pages(client: Any, version: ObjectVersion, options: Mapping[str, Any]) -> Iterator[int]:
    marker = 0
    while True:
        with s3_errors(bucket=version.bucket, key=version.key, etag=version.etag):
            answer = client.get_object_attributes(
                Bucket=version.bucket,
                Key=version.key,
                ObjectAttributes=["ETag", "ObjectParts"],
                MaxParts=_PAGE_PARTS,
                PartNumberMarker=marker,
                **options,
            )
        if answer["ETag"].strip('"') != version.etag:
            raise SourceChanged(bucket=version.bucket, key=version.key, etag=version.etag)
        page = answer.get("ObjectParts", {})
        yield from (int(part["Size"]) for part in page.get("Parts", ()))
        if not page.get("IsTruncated"):
            return
        marker = page["NextPartNumberMarker"]


class S3Body:
    """The open body of a GET."""

    def __init__(self, body: http.client.HTTPResponse, version: ObjectVersion) -> None:
        """Wrap an answer whose headers were checked."""
        self.version = version
        self._body = body

    def readinto(self, view: memoryview) -> int:
        """Fill the front of ``view``; return the bytes written, 0 at the body's end."""
        with s3_errors(bucket=self.version.bucket, key=self.version.key):
            return self._body.readinto(view)


class S3Source:
    """Objects of any bucket that one connection reaches.

    Args:
        session: boto3 session, for its credentials and clients.
        client_options: Keyword arguments of ``session.client("s3", …)``: endpoint_url, config, verify, region_name.
        connections: Connections to keep.
        verify: True, False or a CA bundle, for the bytes' connections.
        proxies: Scheme to proxy URL.
        options: Who pays, whose key decrypts, which version.
    """

    def __init__(
        self,
        session: Any,
        client_options: Mapping[str, Any],
        *,
        connections: int,
        verify: bool | str = True,
        proxies: dict[str, str] | None = None,
        options: ReadOptions | None = None,
    ) -> None:
        """Make the client; no request is sent yet."""
        self._options = options or ReadOptions()
        with s3_errors(bucket="", key=None):
            self._client = session.client("s3", **client_options)
        take_listings(self._client)
        self._credentials = session.get_credentials()
        self._http = open_connections(pool=connections, verify=verify, proxies=proxies)
        self._regions: dict[str, str] = {}
        self._bases: dict[str, str] = {}
        self._signers: dict[str, SigV4] = {}
        self._whole = {"x-amz-checksum-mode": "ENABLED", **self._options.headers()}
        self._lock = threading.Lock()
        protect_logs()

    @property
    def http_connections(self) -> HttpConnections | GuardedSession:
        """What sends the GETs."""
        return self._http

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
        return version_of(bucket, key, headers)

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        """Return the sizes in which the version was uploaded; None where S3 does not tell."""
        check_key(version.key)
        return part_sizes(self._client, version, self._options.reading(), each=each)

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        """Return the object's tags."""
        return tags(self._client, bucket, check_key(key), self._options)

    def current_etag(self, bucket: str, key: str) -> str | None:
        """Return the current version's ETag where a version was named, which may be another one."""
        return current_etag(self._client, bucket, check_key(key), self._options)

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        """Ask for an archived object to be restored; False where that was asked for before."""
        return restore(self._client, bucket, check_key(key), self._options, days=days, tier=tier)

    def signed_whole(self, listed: ListedObject) -> tuple[str, Mapping[str, str]]:
        """Return the URL and the signed headers of a GET of the whole object, for ``small_object_client``."""
        url = self._url(listed.bucket, check_key(listed.key))
        if_match = f'"{listed.etag}"'
        if not self._credentials:
            return url, {"if-match": if_match, "Accept-Encoding": "identity", **self._whole}
        signer = self._signers.get(listed.bucket)
        if signer is None:
            signer = self._signers[listed.bucket] = SigV4(self._credentials, self._region_of(listed.bucket))
        try:
            headers = signer.signed_fast(url, if_match=if_match, others=self._whole)
        except Exception:
            # Not around the signature: to enter it for each object would cost as much as that.
            with s3_errors(bucket=listed.bucket, key=listed.key):
                raise
        headers["Accept-Encoding"] = "identity"
        return url, headers

    @contextmanager
    def open(self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None) -> Iterator[S3Body]:
        """GET ``[start, end)`` of the version, or all of it without ``end``; the answer's headers are checked."""
        check_key(version.key)
        wanted = {"Accept-Encoding": "identity", "If-Match": f'"{version.etag}"'}
        if end is None:
            wanted["x-amz-checksum-mode"] = "ENABLED"
        else:
            wanted["Range"] = f"bytes={start}-{end - 1}"
        with self._get(version.bucket, version.key, wanted, etag=version.etag) as answer:
            headers = {name.lower(): value for name, value in answer.headers.items()}
            read = version_of(version.bucket, version.key, headers)
            check_answer(answer.status, headers.get("content-range"), version, read, start=start, end=end)
            yield S3Body(answer, replace(read, size_bytes=version.size_bytes))

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        """Yield the objects below the prefix, a page of 1,000 at a time."""
        if self._options.version_id:
            raise UsageError(
                what="A version (VersionId) goes with one key; what lies below a prefix has other versions."
            )

        def ask(token: str | None) -> tuple[list[ListedObject], str | None]:
            going_on = {"ContinuationToken": token} if token else {}
            page_keys = min(LISTING_PAGE_KEYS, max_keys or LISTING_PAGE_KEYS)
            with s3_errors(bucket=bucket, key=None):
                page = self._client.list_objects_v2(
                    Bucket=bucket, Prefix=prefix, MaxKeys=page_keys, **self._options.payer(), **going_on
                )
            return objects_of(page, bucket)

        return Pages(ask, most=max_keys)

    def close(self) -> None:
        """Close all connections."""
        self._http.close()
        self._client.close()

    @contextmanager
    def _get(
        self, bucket: str, key: str, headers: Mapping[str, str], *, etag: str
    ) -> Iterator[http.client.HTTPResponse]:
        """Send one GET; a signature that expired between signing and arrival is made anew once."""
        url = self._url(bucket, key)
        unsigned = {**headers, **self._options.headers()}
        signer = SigV4(self._credentials, self._region_of(bucket)) if self._credentials else None
        for is_last in (False, True):
            with ExitStack() as opened:
                with s3_errors(bucket=bucket, key=key, etag=etag):
                    signed = signer.signed_get(url, unsigned) if signer else unsigned
                    answer = opened.enter_context(self._http.answer("GET", url, signed))
                if answer.status in (200, 206):
                    yield answer
                    return
                error = error_of(answer, bucket, key, etag)
            if is_last or not (isinstance(error, CredentialsRefused) and signer and signer.is_outdated()):
                raise error

    def _explained(self, bucket: str, key: str, error: TransferError) -> TransferError:
        self._regions.pop(bucket, None)
        self._bases.pop(bucket, None)
        self._signers.pop(bucket, None)
        try:
            self._region_of(bucket)
            with self._get(bucket, key, {"Range": "bytes=0-0", "Accept-Encoding": "identity"}, etag=""):
                pass
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
        if bucket not in self._bases:
            self._bases[bucket] = self._base_in(bucket, self._region_of(bucket))
        return self._bases[bucket]

    def _base_in(self, bucket: str, region: str) -> str:
        endpoint = urlsplit(self._client.meta.endpoint_url)
        # As SigV4 signs it: libcurl sends it as it is written.
        host = endpoint.netloc.lower()
        if host.endswith(".amazonaws.com") and region != self._client.meta.region_name:
            host = host.replace(str(self._client.meta.region_name), region)
            if host == "s3.amazonaws.com":
                host = f"s3.{region}.amazonaws.com"
        style = (self._client.meta.config.s3 or {}).get("addressing_style", "auto")
        own_host = "." not in bucket and host.endswith((".amazonaws.com", ".amazonaws.com.cn"))
        if style == "virtual" or (style == "auto" and own_host):
            return f"{endpoint.scheme}://{bucket}.{host}{endpoint.path.rstrip('/')}"
        return f"{endpoint.scheme}://{host}{endpoint.path.rstrip('/')}/{bucket}"
