"""What an answer of S3 says: the object's version from its headers, and whether it is what was asked for."""

import http.client
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from s3_to_azure.model import checksums
from s3_to_azure.model.errors import ConnectionFailed, SourceChanged, TransferError, UnexpectedAnswer
from s3_to_azure.model.objects import ContentHeaders, ListedObject, ObjectVersion, SourceChecksum
from s3_to_azure.stores.s3_errors import s3_error, s3_errors
from s3_to_azure.stores.service_errors import S3

_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9._-]{1,100})</Code>")
_MOST_ERROR_BYTES: Final = 64 * 1024
_CHECKSUM_HEADERS: Final = {f"x-amz-checksum-{algorithm.name}": algorithm.name for algorithm in checksums.LADDER}
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
