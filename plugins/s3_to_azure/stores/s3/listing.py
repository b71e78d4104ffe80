"""ListObjectsV2, with each page's XML parsed here instead of by botocore.

botocore signs and sends the request, and handles every other response. Its documented event ``before-parse`` takes the
document out of a successful response: botocore would parse it twice and walk a thousand objects' elements in Python.
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
_PARSED: Final = "S3ToAzureListing"
_EMPTY_LISTING: Final = b"<ListBucketResult/>"


def take_over_parsing(client: Any) -> None:
    """Make the client's ``list_objects_v2`` return the document that ``parse_page`` reads."""
    # The wildcard comes first, so this runs before botocore's own handler, which looks for an error in the document.
    client.meta.events.register_first("before-parse.*.ListObjectsV2", _parse, unique_id=_PARSED)


def parse_page(page: dict[str, Any], bucket: str) -> tuple[list[ListedObject], str | None]:
    """Return a page's objects and the next page's token, None after the last page.

    Raises:
        UnexpectedAnswer: The response is empty or another document, which must not be taken for the end of the listing.
    """
    root = page.get(_PARSED)
    try:
        if root is None:
            raise ValueError("the response is not a listing")
        namespace = root.tag.removesuffix(_DOCUMENT)
        found = _objects(root, namespace, bucket)
        token = root.findtext(f"{namespace}NextContinuationToken")
        truncated = root.findtext(f"{namespace}IsTruncated")
        if truncated not in ("true", "false") or (truncated == "true" and not token):
            raise ValueError("the response is not a listing: it does not say whether there are more pages")
    except ValueError as error:
        raise UnexpectedAnswer(service=S3, resource=f"s3://{bucket}", detail=str(error)) from None
    return found, token if truncated == "true" else None


def _parse(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Parse a listing and leave botocore an empty one; leave every other response to botocore."""
    if response_dict["status_code"] != 200:
        return
    root = _root(response_dict["body"])
    if root is not None and root.tag.rpartition("}")[2] == _DOCUMENT:
        customized_response_dict[_PARSED] = root
        response_dict["body"] = _EMPTY_LISTING


def _root(body: bytes) -> ET.Element | None:
    # A listing has no DTD, and without one no entity can be expanded or fetched.
    if b"<!DOCTYPE" in body:
        return None
    # UTF-8, whatever encoding the document declares, so that the search for a DTD sees what the parser sees.
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - see above; expat limits the rest
    try:
        parser.feed(body)
        return parser.close()
    except ET.ParseError:
        return None


def _objects(root: ET.Element, namespace: str, bucket: str) -> list[ListedObject]:
    """Return the objects of a page; ``namespace`` precedes the name of each element."""
    contents = f"{namespace}Contents"
    names = [f"{namespace}{name}" for name in ("Key", "ETag", "Size", "LastModified", "StorageClass")]
    key_name, etag_name, size_name, time_name, class_name = names
    is_encoded = root.findtext(f"{namespace}EncodingType") == "url"
    found = []
    for item in root:
        if item.tag != contents:
            continue
        texts = {child.tag: child.text for child in item}
        key, etag, size, time = texts.get(key_name), texts.get(etag_name), texts.get(size_name), texts.get(time_name)
        if not (key and etag and size and time and size.isdecimal()):
            raise ValueError("an object without key, ETag, size or time")
        if is_encoded and ("%" in key or "+" in key):
            key = unquote_plus(key)
        storage_class = texts.get(class_name) or "STANDARD"
        found.append(ListedObject(bucket, key, etag.strip('"'), int(size), parse_time(time), storage_class))
    return found


def parse_time(text: str) -> datetime:
    """Parse a timestamp of a document: S3's own format fast, all others with botocore.

    Raises:
        ValueError: The text is not a timestamp.
    """
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        time = parse_timestamp(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)
