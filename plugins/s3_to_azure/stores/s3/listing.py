"""A page of an S3 listing, read by the XML parser in C instead of botocore's shape by shape.

botocore signs, sends and retries the request as ever, and reads every answer that is no listing. From one that is, its
documented event ``before-parse`` takes the document away; botocore would parse it twice, and walk the elements of a
thousand objects in Python.
"""

from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import unquote_plus
from xml.etree import ElementTree as ET

from botocore.utils import parse_timestamp

from s3_to_azure.model.errors import UnexpectedAnswer
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.stores.http.errors import S3

_DOCUMENT: Final = "ListBucketResult"
_LISTING: Final = "S3ToAzureListing"
_READ_ALREADY: Final = b"<ListBucketResult/>"


def take_listings(client: Any) -> None:
    """Let a client's ``list_objects_v2`` answer with what ``objects_of`` reads."""
    # Under a wildcard in the service's place, so before botocore's own look for an error, which has one behind it.
    client.meta.events.register_first("before-parse.*.ListObjectsV2", _take, unique_id=_LISTING)


def objects_of(page: dict[str, Any], bucket: str) -> tuple[list[ListedObject], str | None]:
    """Return a page's objects and the next page's token, None after the last.

    Raises:
        UnexpectedAnswer: It is empty, or another document: never to be read as "there is nothing more".
    """
    root = page.get(_LISTING)
    try:
        if root is None:
            raise ValueError("no listing")
        space = root.tag.removesuffix(_DOCUMENT)
        found = _objects(root, space, bucket)
        token = root.findtext(f"{space}NextContinuationToken")
        truncated = root.findtext(f"{space}IsTruncated")
        if truncated not in ("true", "false") or (truncated == "true" and not token):
            raise ValueError("no listing: it does not say whether there is more")
    except ValueError as error:
        raise UnexpectedAnswer(service=S3, thing=f"s3://{bucket}", detail=str(error)) from None
    return found, token if truncated == "true" else None


def _take(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Parse a listing and leave botocore an empty one; leave it everything else as it is."""
    if response_dict["status_code"] != 200:
        return
    root = _parsed(response_dict["body"])
    if root is not None and root.tag.rpartition("}")[2] == _DOCUMENT:
        customized_response_dict[_LISTING] = root
        response_dict["body"] = _READ_ALREADY


def _parsed(body: bytes) -> ET.Element | None:
    # A listing declares nothing; and without a DTD there is no entity to expand or to fetch.
    if b"<!DOCTYPE" in body:
        return None
    # Whatever the document says of itself, so that the bytes looked for are the parser's.
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - see above; expat limits the rest
    try:
        parser.feed(body)
        return parser.close()
    except ET.ParseError:
        return None


def _objects(root: ET.Element, space: str, bucket: str) -> list[ListedObject]:
    """Return the objects of a page; ``space`` comes before each name of an element."""
    contents = f"{space}Contents"
    names = [f"{space}{name}" for name in ("Key", "ETag", "Size", "LastModified", "StorageClass")]
    key_name, etag_name, size_name, time_name, class_name = names
    quoted = root.findtext(f"{space}EncodingType") == "url"
    found = []
    for item in root:
        if item.tag != contents:
            continue
        texts = {child.tag: child.text for child in item}
        key, etag, size, moment = texts.get(key_name), texts.get(etag_name), texts.get(size_name), texts.get(time_name)
        if not (key and etag and size and moment and size.isdecimal()):
            raise ValueError("an object without key, ETag, size or time")
        if quoted and ("%" in key or "+" in key):
            key = unquote_plus(key)
        storage_class = texts.get(class_name) or "STANDARD"
        found.append(ListedObject(bucket, key, etag.strip('"'), int(size), moment_of(moment), storage_class))
    return found


def moment_of(text: str) -> datetime:
    """Read a time as S3 writes it in a document; botocore reads all other forms.

    Raises:
        ValueError: It is none.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        moment = parse_timestamp(text)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)
