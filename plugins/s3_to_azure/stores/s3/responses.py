"""An object's version from the headers of S3's responses."""

import re
from collections.abc import Mapping
from datetime import datetime
from email.errors import HeaderParseError
from email.header import decode_header
from functools import lru_cache
from typing import Final

from s3_to_azure.model import checksums, errors
from s3_to_azure.model.errors import S3
from s3_to_azure.model.objects import ContentHeaders, ListedObject, ObjectVersion, SourceChecksum
from s3_to_azure.model.uris import object_uri
from s3_to_azure.stores.http.headers import ContentRange
from s3_to_azure.stores.s3.errors import response_error
from s3_to_azure.stores.s3.headers import ResponseHeaders

_MAX_SHOWN_CHARACTERS: Final = 80
_CHECKSUM_HEADERS: Final = {f"x-amz-checksum-{name}": name for name in checksums.ALGORITHMS}
# Objects whose ETag is not an MD5: https://docs.aws.amazon.com/AmazonS3/latest/API/API_Object.html
_ENCRYPTION: Final = "x-amz-server-side-encryption"
_CUSTOMER_KEY: Final = "x-amz-server-side-encryption-customer-algorithm"
# https://cloud.google.com/storage/docs/xml-api/reference-headers#xgooghash: of the stored object, also with a range.
_GOOGLE_HASHES: Final = "x-goog-hash"
_DIRECTORY_BUCKET_CLASS: Final = "EXPRESS_ONEZONE"
_METADATA: Final = "x-amz-meta-"
# RFC 2047; only a value that consists of nothing else is decoded.
_ENCODED_WORDS: Final = re.compile(r"=\?[!->@-~]+\?[BbQq]\?[!->@-~]*\?=(?: +=\?[!->@-~]+\?[BbQq]\?[!->@-~]*\?=)*")
_CONTENT_HEADERS: Final = (
    "content-type",
    "content-encoding",
    "content-language",
    "content-disposition",
    "cache-control",
)


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
        raise response_error(status, body, headers, bucket=wanted.bucket, key=wanted.key, etag=wanted.etag)
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
    read = ResponseHeaders(repr(object_uri(bucket, key)), headers)
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
        weaker=(
            *checksums.partwise(stored),
            *_etag_md5(headers),
            *[found for found in checksums.serial(stored) if found.parts or is_full_object],
        ),
        metadata={
            utf8_text(name[len(_METADATA) :]): _metadata_text(value)
            for name, value in headers.items()
            if name.startswith(_METADATA)
        },
        headers=_content_headers(*[headers.get(name) for name in _CONTENT_HEADERS]),
        storage_class=headers.get("x-amz-storage-class", "STANDARD"),
        metadata_missing=read.count("x-amz-missing-meta") or 0,
    )


def utf8_text(text: str) -> str:
    """Return the text of UTF-8 bytes that an HTTP client has decoded as Latin-1, as HTTP once defined it."""
    if text.isascii():
        return text
    try:
        return text.encode("latin-1").decode()
    except UnicodeError:
        return text


def _metadata_text(value: str) -> str:
    """Return a metadata value as it was given to the store, which may send UTF-8, or encoded words as S3 does."""
    if _ENCODED_WORDS.fullmatch(value):
        try:
            words = decode_header(value)
            # S3 itself encodes the Latin-1 reading of UTF-8 bytes:
            # https://docs.aws.amazon.com/AmazonS3/latest/userguide/UsingMetadata.html
            value = "".join(
                word if isinstance(word, str) else word.decode(charset or "ascii") for word, charset in words
            )
        except (LookupError, ValueError, HeaderParseError):
            return value
    return utf8_text(value)


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
    read = ResponseHeaders(repr(object_uri(wanted.bucket, wanted.key)), headers)
    if found.etag != wanted.etag:
        raise errors.SourceChanged(bucket=wanted.bucket, key=wanted.key, etag=wanted.etag)
    read.refuse_decompressed()
    if isinstance(wanted, ObjectVersion) and wanted.headers.content_encoding and not found.headers.content_encoding:
        detail = (
            f"the object has Content-Encoding {wanted.headers.content_encoding}, and this response has none: a gateway "
            "decompresses responses, although identity was asked for; switch that off for this endpoint"
        )
        raise errors.UnexpectedResponse(service=S3, resource=read.resource, detail=detail)
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
