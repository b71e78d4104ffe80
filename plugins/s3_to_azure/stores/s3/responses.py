"""What an answer of S3 says: the object's version from its headers, and whether it is what was asked for."""

import http.client
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any, Final

import requests
import urllib3
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from s3_to_azure.model import checksums, errors
from s3_to_azure.model.errors import ConnectionFailed, SourceChanged, TransferError, UnexpectedAnswer
from s3_to_azure.model.objects import ContentHeaders, ListedObject, ObjectVersion, SourceChecksum
from s3_to_azure.stores.http.errors import S3, THROTTLES, network_error, redact, seconds_of, unexpected_answer

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
    """Return the engine's error for an S3 answer.

    Args:
        status: HTTP status.
        code: The ``Code`` of S3's error document, or the status where it has none.
        bucket: The bucket asked for.
        key: The key asked for, or None for a request on the bucket.
        etag: The ETag that was required.
        retry_after: The answer's Retry-After header.
        permission: What the request needs, for people.
    """
    thing = f"s3://{bucket}" if key is None else repr(f"s3://{bucket}/{key}")
    if code in THROTTLES or status == 429 or (status == 503 and code in ("503", "ServiceUnavailable")):
        return errors.Throttled(service=S3, code=code, retry_after_s=seconds_of(retry_after))
    if status >= 500 or code in ("RequestTimeout", "InternalError"):
        return errors.ServerFailed(service=S3, status=status, code=code, thing=thing)
    if code == "NoSuchBucket" or (status == 404 and key is None):
        return errors.BucketNotFound(bucket=bucket)
    if status == 404:
        return errors.ObjectNotFound(bucket=bucket, key=key)
    if status == 412:
        return errors.SourceChanged(bucket=bucket, key=key, etag=etag)
    if code == "InvalidObjectState":
        return errors.ObjectArchived(bucket=bucket, key=key, code=code)
    if code.startswith("KMS"):
        return errors.KeyManagementDenied(thing=thing, code=code)
    if code == "InvalidRequest" and status == 400 and key is not None:
        return errors.CustomerKeyRequired(thing=thing, code=code)
    if code == "RequestTimeTooSkewed":
        return errors.ClockSkewed(service=S3, thing=thing, code=code)
    if code in _CREDENTIALS or status == 401:
        return errors.CredentialsRefused(service=S3, thing=thing, code=code)
    if status == 403:
        return errors.AccessDenied(service=S3, thing=thing, code=code, permission=permission)
    return unexpected_answer(S3, thing, status, code, check="region and endpoint")


@contextmanager
def s3_errors(*, bucket: str, key: str | None, etag: str = "", permission: str = READ_PERMISSION) -> Iterator[None]:
    """Translate what boto3, requests and urllib3 raise; the original never travels on, since it may hold a secret."""
    thing = f"s3://{bucket}" if key is None else repr(f"s3://{bucket}/{key}")
    try:
        yield
    except botocore.ClientError as error:
        answer: Mapping[str, Any] = error.response
        meta = answer.get("ResponseMetadata", {})
        raise s3_error(
            int(meta.get("HTTPStatusCode", 0)),
            str(answer.get("Error", {}).get("Code", "")),
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
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        botocore.ConnectionError,
        botocore.HTTPClientError,
        botocore.IncompleteReadError,
        # Bodies are read from http.client itself.
        http.client.HTTPException,
        OSError,
    ) as error:
        raise network_error(S3, thing, error) from None
    except ResponseParserError:
        # No BotoCoreError; its text quotes the whole answer.
        raise network_error(S3, thing, ValueError("the answer is cut short, or not S3's")) from None
    except botocore.BotoCoreError as error:
        raise errors.UsageError(what=f"S3 cannot be used with this connection: {redact(str(error))}") from None


_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9._-]{1,100})</Code>")
_MOST_ERROR_BYTES: Final = 64 * 1024
_CHECKSUM_HEADERS: Final = {f"x-amz-checksum-{algorithm.name}": algorithm.name for algorithm in checksums.FOLDABLE}
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html: whose ETag is no MD5
_ENCRYPTION: Final = "x-amz-server-side-encryption"
_CUSTOMER_KEY: Final = "x-amz-server-side-encryption-customer-algorithm"
_DIRECTORY_BUCKET_CLASS: Final = "EXPRESS_ONEZONE"
_METADATA: Final = "x-amz-meta-"
_CONTENT_HEADERS: Final = (
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
)


def error_of(answer: http.client.HTTPResponse, bucket: str, key: str, etag: str) -> TransferError:
    """Return the engine's error for an answer that is no success; reads its document."""
    with s3_errors(bucket=bucket, key=key, etag=etag):
        document = answer.read(_MOST_ERROR_BYTES)
    return refusal(
        answer.status, document, bucket=bucket, key=key, etag=etag, retry_after=answer.headers.get("Retry-After")
    )


def refusal(
    status: int, document: bytes, *, bucket: str, key: str, etag: str, retry_after: str | None
) -> TransferError:
    """Return the engine's error for an answer that is no success, from its document."""
    match = _CODE.search(document)
    return s3_error(
        status,
        match[1].decode("ascii") if match else str(status),
        bucket=bucket,
        key=key,
        etag=etag,
        retry_after=retry_after,
    )


def whole_object(wanted: ListedObject, status: int, headers: Mapping[str, str], body: bytes) -> ObjectVersion:
    """Return what the answer to a GET of a whole object says of it.

    Args:
        wanted: What was asked for.
        status: The answer's.
        headers: The answer's, names in lower case.
        body: All of it.

    Raises:
        TransferError: It is not that object, or not all of it.
    """
    if status != 200:
        raise refusal(
            status, body, bucket=wanted.bucket, key=wanted.key, etag=wanted.etag, retry_after=headers.get("retry-after")
        )
    read = version_of(wanted.bucket, wanted.key, headers)
    check_answer(status, None, wanted, read, start=0, end=None)
    if len(body) != wanted.size_bytes:
        raise ConnectionFailed(service=S3, thing=repr(wanted.key), detail=f"the body ended at byte {len(body)}")
    return read


def version_of(bucket: str, key: str, headers: Mapping[str, str]) -> ObjectVersion:
    """Read an object's version from the headers of a GET or HEAD (names in lower case)."""
    stored = {name: headers[header] for header, name in _CHECKSUM_HEADERS.items() if header in headers}
    over_bytes = headers.get("x-amz-checksum-type", "FULL_OBJECT") == "FULL_OBJECT"
    return ObjectVersion(
        bucket=bucket,
        key=key,
        etag=headers.get("etag", "").strip('"'),
        size_bytes=_number(headers.get("content-length")),
        last_modified=_moment(headers.get("last-modified")),
        checksum=checksums.strongest(stored) if over_bytes else None,
        weaker=(*checksums.partwise(stored), *_etag_md5(headers)),
        metadata={name[len(_METADATA) :]: value for name, value in headers.items() if name.startswith(_METADATA)},
        headers=_content_headers(*[headers.get(name) for name in _CONTENT_HEADERS]),
        storage_class=headers.get("x-amz-storage-class", "STANDARD"),
    )


# Most objects below a prefix have the same.
@lru_cache(maxsize=256)
def _content_headers(
    kind: str | None, encoding: str | None, language: str | None, disposition: str | None, caching: str | None
) -> ContentHeaders:
    return ContentHeaders(kind, _stored_encoding(encoding), language, disposition, caching)


def _number(text: str | None) -> int:
    """Read a length; what is none fits no size, so that the answer is refused."""
    return int(text) if text and len(text) < 20 and text.isascii() and text.isdigit() else 0


@lru_cache(maxsize=4096)
def _moment(text: str | None) -> datetime:
    try:
        moment = parsedate_to_datetime(text or "")
    except ValueError:
        return datetime.fromtimestamp(0, UTC)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _stored_encoding(value: str | None) -> str | None:
    """Drop ``aws-chunked``, which names the upload's framing, not the stored bytes."""
    if not value:
        return None
    names = [name.strip() for name in value.split(",")]
    return ", ".join(name for name in names if name and name != "aws-chunked") or None


def _etag_md5(headers: Mapping[str, str]) -> tuple[SourceChecksum, ...]:
    """Return the ETag where it is an MD5: not under a KMS or customer key, not in a directory bucket."""
    if headers.get(_ENCRYPTION, "AES256") != "AES256" or _CUSTOMER_KEY in headers:
        return ()
    if headers.get("x-amz-storage-class") == _DIRECTORY_BUCKET_CLASS:
        return ()
    found = checksums.etag_md5(headers.get("etag", "").strip('"'))
    return (found,) if found else ()


def check_answer(
    status: int,
    content_range: str | None,
    wanted: ObjectVersion | ListedObject,
    read: ObjectVersion,
    *,
    start: int,
    end: int | None,
) -> None:
    """Refuse an answer that is not the range asked for, of the version asked for."""
    thing = repr(f"s3://{wanted.bucket}/{wanted.key}")
    if read.etag != wanted.etag:
        raise SourceChanged(bucket=wanted.bucket, key=wanted.key, etag=wanted.etag)
    if end is None:
        if status != 200 or read.size_bytes != wanted.size_bytes:
            raise UnexpectedAnswer(
                service=S3, thing=thing, detail=f"{read.size_bytes} bytes instead of {wanted.size_bytes}"
            )
        return
    expected = f"bytes {start}-{end - 1}/{wanted.size_bytes}"
    got = content_range or "no Content-Range"
    # Some S3 servers (rclone's) send the range under status 200; range and length leave no doubt.
    if status not in (200, 206) or got != expected or read.size_bytes != end - start:
        detail = f"status {status}, {got!r}, {read.size_bytes} bytes instead of {expected!r}"
        raise UnexpectedAnswer(service=S3, thing=thing, detail=detail)
