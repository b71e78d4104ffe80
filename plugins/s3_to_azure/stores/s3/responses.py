"""Translation of S3's responses: errors and SDK exceptions to our errors, headers to an object's version."""

import http.client
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from functools import lru_cache
from typing import Any, Final
from xml.etree import ElementTree as ET

import urllib3
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from s3_to_azure.model import checksums, errors
from s3_to_azure.model.errors import S3
from s3_to_azure.model.objects import ContentHeaders, ListedObject, ObjectVersion, SourceChecksum
from s3_to_azure.stores.http.errors import THROTTLES, network_error, redact, retry_after_s, unexpected_response
from s3_to_azure.stores.s3.headers import ContentRange, ResponseHeaders

_CREDENTIALS: Final = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidSecurity",
    "NotSignedUp",
    "AuthorizationHeaderMalformed",
}
_MAX_SHOWN_CHARACTERS: Final = 80
_MISSING: Final = {"NoSuchKey", "NoSuchVersion"}
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9._-]{1,100})</Code>")
_CHECKSUM_HEADERS: Final = {f"x-amz-checksum-{algorithm.name}": algorithm.name for algorithm in checksums.FOLDABLE}
# Objects whose ETag is not an MD5: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
_ENCRYPTION: Final = "x-amz-server-side-encryption"
_CUSTOMER_KEY: Final = "x-amz-server-side-encryption-customer-algorithm"
# https://cloud.google.com/storage/docs/xml-api/reference-headers#xgooghash: of the stored object, also with a range.
_GOOGLE_HASHES: Final = "x-goog-hash"
_DIRECTORY_BUCKET_CLASS: Final = "EXPRESS_ONEZONE"
_METADATA: Final = "x-amz-meta-"
_CONTENT_HEADERS: Final = (
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
)
NOT_SUPPORTED: Final = (405, 501)
"""Statuses of a store that does not know this kind of request."""
READ_PERMISSION: Final = "s3:GetObject and s3:ListBucket on this bucket"


def s3_error(
    status: int,
    code: str,
    *,
    bucket: str,
    key: str | None,
    etag: str = "",
    retry_after: str | None = None,
    permission: str = READ_PERMISSION,
) -> errors.TransferError:
    """Return the error that a response of S3 means.

    Args:
        status: HTTP status.
        code: The ``Code`` of S3's error document, or the status if it has none.
        bucket: The requested bucket.
        key: The requested key, or None for a request on the bucket.
        etag: The ETag that was required.
        retry_after: The response's Retry-After header.
        permission: The permission that the request needs, for the message.
    """
    resource = f"s3://{bucket}" if key is None else repr(f"s3://{bucket}/{key}")
    if code in THROTTLES or status == 429 or (status == 503 and code in ("503", "ServiceUnavailable")):
        return errors.Throttled(service=S3, code=code, retry_after_s=retry_after_s(retry_after))
    if status in NOT_SUPPORTED:
        return errors.RequestNotSupported(service=S3, resource=resource, code=code)
    if status >= 500 or code in ("RequestTimeout", "InternalError"):
        return errors.ServerFailed(service=S3, status=status, code=code, resource=resource)
    if status == 404 or code == "NoSuchBucket":
        return _not_found(code, bucket=bucket, key=key)
    if status == 412:
        return errors.SourceChanged(bucket=bucket, key=key, etag=etag)
    if code == "InvalidObjectState":
        return errors.ObjectArchived(bucket=bucket, key=key, code=code)
    if code.startswith("KMS"):
        return errors.KeyManagementDenied(resource=resource, code=code)
    if code == "InvalidRequest" and status == 400 and key is not None:
        return errors.CustomerKeyRequired(resource=resource, code=code)
    if code == "RequestTimeTooSkewed":
        return errors.ClockSkewed(service=S3, resource=resource, code=code)
    if code in _CREDENTIALS or status == 401:
        return errors.CredentialsRefused(service=S3, resource=resource, code=code)
    if status == 403:
        return errors.AccessDenied(service=S3, resource=resource, code=code, permission=permission)
    return unexpected_response(S3, resource, status, code, check="region and endpoint")


def _not_found(code: str, *, bucket: str, key: str | None) -> errors.TransferError:
    if code == "NoSuchBucket" or key is None:
        return errors.BucketNotFound(bucket=bucket)
    if code in _MISSING:
        return errors.ObjectNotFound(bucket=bucket, key=key)
    # Anything between here and S3 can answer 404, and only S3's own document says that the object does not exist.
    detail = f"status 404 ({redact(code)}) without S3's document that says NoSuchKey; check the endpoint and any proxy"
    return errors.UnexpectedResponse(service=S3, resource=repr(f"s3://{bucket}/{key}"), detail=detail)


@contextmanager
def s3_errors(*, bucket: str, key: str | None, etag: str = "", permission: str = READ_PERMISSION) -> Iterator[None]:
    """Translate the SDK's and the HTTP client's exceptions; the original is not chained: it may contain a secret."""
    resource = f"s3://{bucket}" if key is None else repr(f"s3://{bucket}/{key}")
    try:
        yield
    except botocore.ClientError as error:
        response: Mapping[str, Any] = error.response
        meta = response.get("ResponseMetadata", {})
        raise s3_error(
            int(meta.get("HTTPStatusCode", 0)),
            str(response.get("Error", {}).get("Code", "")),
            bucket=bucket,
            key=key,
            etag=etag,
            retry_after=meta.get("HTTPHeaders", {}).get("retry-after"),
            permission=permission,
        ) from None
    except (botocore.NoCredentialsError, botocore.PartialCredentialsError, botocore.CredentialRetrievalError) as error:
        raise errors.ConnectionMissing(
            service=S3, detail=redact(str(error)), cure="Set the AWS connection's login and password, role or profile."
        ) from None
    except (
        urllib3.exceptions.HTTPError,
        botocore.ConnectionError,
        botocore.HTTPClientError,
        botocore.IncompleteReadError,
        http.client.HTTPException,
        OSError,
    ) as error:
        raise network_error(S3, resource, error) from None
    except ResponseParserError:
        # Its text quotes the whole response. It is not a BotoCoreError.
        raise network_error(S3, resource, ValueError("the response is incomplete, or not from S3")) from None
    except botocore.BotoCoreError as error:
        raise errors.UsageError(detail=f"S3 cannot be used with this connection: {redact(str(error))}") from None
    except (ValueError, KeyError, TypeError) as error:
        # botocore converts numbers and dates of a response without checking them. Its text may quote the response.
        detail = f"it cannot be read ({type(error).__name__})"
        raise errors.UnexpectedResponse(service=S3, resource=resource, detail=detail) from None


def response_error(
    status: int, document: bytes, *, bucket: str, key: str, etag: str, retry_after: str | None
) -> errors.TransferError:
    """Return the error that an unsuccessful response means, by the code in its document."""
    match = _CODE.search(document) if status != 404 or is_error_document(document) else None
    return s3_error(
        status,
        match[1].decode("ascii") if match else str(status),
        bucket=bucket,
        key=key,
        etag=etag,
        retry_after=retry_after,
    )


def is_error_document(document: bytes) -> bool:
    """Return whether the document is S3's own: complete XML whose root is ``Error``. One with a DTD is not."""
    if b"<!DOCTYPE" in document:
        return False
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - without a DTD no entity is expanded; expat limits the rest
    try:
        parser.feed(document)
        root = parser.close()
    except ET.ParseError:
        return False
    return root.tag.rpartition("}")[2] == "Error"


def parse_whole_object(wanted: ListedObject, status: int, headers: Mapping[str, str], body: bytes) -> ObjectVersion:
    """Return the object's version from the response to a GET of the whole object.

    Args:
        wanted: The requested object.
        status: The response's status.
        headers: The response's headers by lower-case name.
        body: The whole body.

    Raises:
        TransferError: The response is an error, another version, or incomplete.
    """
    if status != 200:
        raise response_error(
            status, body, bucket=wanted.bucket, key=wanted.key, etag=wanted.etag, retry_after=headers.get("retry-after")
        )
    found = parse_version(
        wanted.bucket, wanted.key, headers, size_bytes=wanted.size_bytes, last_modified=wanted.last_modified
    )
    check_body(status, headers, wanted, found, start=0, end=None)
    if "content-length" not in headers:
        # The object is handed back: the general path counts the bytes, and says why they differ.
        raise ResponseHeaders(repr(wanted.key), headers).error("Content-Length")
    if len(body) != wanted.size_bytes:
        raise errors.ConnectionFailed(
            service=S3, resource=repr(wanted.key), detail=f"the body ended at byte {len(body)}"
        )
    return found


def parse_version(
    bucket: str,
    key: str,
    headers: Mapping[str, str],
    *,
    size_bytes: int | None = None,
    last_modified: datetime | None = None,
) -> ObjectVersion:
    """Return the object's version from the headers of a GET or HEAD.

    Args:
        bucket: The object's bucket.
        key: The object's key.
        headers: The headers by lower-case name.
        size_bytes: The object's size; None: Content-Length is.
        last_modified: Its date where the response gives none: the date that another response gave for the same ETag.

    Raises:
        UnexpectedResponse: ETag, size or date is absent or not valid.
    """
    read = ResponseHeaders(repr(f"s3://{bucket}/{key}"), headers)
    etag = read.etag()
    size_bytes = read.content_length() if size_bytes is None else size_bytes
    if size_bytes is None:
        raise read.error("Content-Length")
    last_modified = read.last_modified() or last_modified
    if last_modified is None:
        raise read.error("Last-Modified")
    stored = {name: headers[header] for header, name in _CHECKSUM_HEADERS.items() if header in headers}
    if _GOOGLE_HASHES in headers:
        stored = _google_crc32c(headers[_GOOGLE_HASHES]) | stored
    is_full_object = headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT"
    return ObjectVersion(
        bucket=bucket,
        key=key,
        etag=etag,
        size_bytes=size_bytes,
        last_modified=last_modified,
        checksum=checksums.strongest(stored) if is_full_object else None,
        weaker=(*checksums.partwise(stored), *_etag_md5(headers)),
        metadata={name[len(_METADATA) :]: value for name, value in headers.items() if name.startswith(_METADATA)},
        headers=_content_headers(*[headers.get(name) for name in _CONTENT_HEADERS]),
        storage_class=headers.get("x-amz-storage-class", "STANDARD"),
    )


def by_lower_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name; of those that Google repeats, the values are joined by commas."""
    found: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        found[lower] = f"{found[lower]},{value}" if lower == _GOOGLE_HASHES and lower in found else value
    return found


def _google_crc32c(text: str) -> dict[str, str]:
    hashes = dict(item.strip().partition("=")[::2] for item in text.split(","))
    return {checksums.CRC32C.name: hashes["crc32c"]} if "crc32c" in hashes else {}


# Most objects below a prefix have the same content headers.
@lru_cache(maxsize=256)
def _content_headers(
    kind: str | None, encoding: str | None, language: str | None, disposition: str | None, caching: str | None
) -> ContentHeaders:
    return ContentHeaders(kind, _stored_encoding(encoding), language, disposition, caching)


def _stored_encoding(value: str | None) -> str | None:
    """Remove ``aws-chunked``, which describes the upload's framing, not the stored bytes."""
    if not value:
        return None
    names = [name.strip() for name in value.split(",")]
    return ", ".join(name for name in names if name and name != "aws-chunked") or None


def _etag_md5(headers: Mapping[str, str]) -> tuple[SourceChecksum, ...]:
    """Return the ETag if it is an MD5: not with a KMS or customer key, and not in a directory bucket."""
    if headers.get(_ENCRYPTION, "AES256") != "AES256" or _CUSTOMER_KEY in headers:
        return ()
    if headers.get("x-amz-storage-class") == _DIRECTORY_BUCKET_CLASS:
        return ()
    found = checksums.etag_md5(headers.get("etag", "").strip('"'))
    return (found,) if found else ()


def check_body(
    status: int,
    headers: Mapping[str, str],
    wanted: ObjectVersion | ListedObject,
    found: ObjectVersion,
    *,
    start: int,
    end: int | None,
) -> None:
    """Raise unless the response is the requested range of the requested version.

    A response without a length, such as a chunked one, is accepted: whoever reads the body must count its bytes.

    Args:
        status: The response's status.
        headers: The response's headers by lower-case name.
        wanted: The requested version.
        found: The version that the response's headers describe.
        start: First byte of the range.
        end: Byte after the range; None if the whole object was requested.
    """
    read = ResponseHeaders(repr(f"s3://{wanted.bucket}/{wanted.key}"), headers)
    if found.etag != wanted.etag:
        raise errors.SourceChanged(bucket=wanted.bucket, key=wanted.key, etag=wanted.etag)
    read.refuse_decompressed()
    length = read.content_length()
    content_range = read.content_range()
    if end is None:
        # Some S3 servers send a Content-Range with the whole object too.
        is_range = content_range in (None, ContentRange(0, wanted.size_bytes, wanted.size_bytes))
        is_wanted = status == 200 and is_range and length in (None, wanted.size_bytes)
        expected = f"{wanted.size_bytes} bytes"
    else:
        # Some S3 servers, such as rclone's, send a range with status 200; Content-Range and length are sufficient.
        is_range = content_range == ContentRange(start, end, wanted.size_bytes)
        is_wanted = status in (200, 206) and is_range and length in (None, end - start)
        expected = f"bytes {start}-{end - 1}/{wanted.size_bytes}"
    if not is_wanted:
        received = headers.get("content-range", "no Content-Range")[:_MAX_SHOWN_CHARACTERS]
        size = "no Content-Length" if length is None else f"{length} bytes"
        detail = f"status {status}, {received!r}, {size} instead of {expected!r}"
        changed = read.changed_encoding()
        raise errors.UnexpectedResponse(
            service=S3, resource=read.resource, detail=f"{detail}; {changed}" if changed else detail
        )
