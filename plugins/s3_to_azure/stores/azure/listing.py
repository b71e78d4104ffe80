"""List Blobs, with each page's XML parsed here instead of by the SDK.

The SDK authorises and sends the request, and handles every error. Its documented ``raw_response_hook`` takes the
document out of a successful response: the SDK would parse it twice and build some twenty models for each blob.
Blobs of exactly the form that Azure writes are read by a regular expression, which takes a third of the CPU of an XML
parser; a page with any other blob is read by the parser as a whole.
"""

import codecs
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from functools import lru_cache, partial
from operator import attrgetter
from typing import Any, Final, NamedTuple, TypeVar
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from azure.core.exceptions import DecodeError
from azure.core.pipeline import PipelineResponse
from azure.storage.blob import ContainerClient

from s3_to_azure.model.errors import AZURE, UnexpectedResponse
from s3_to_azure.model.limits import AZURE_LISTING_REQUESTS
from s3_to_azure.model.objects import DIRECTORY, BlobState, ContentHeaders
from s3_to_azure.stores.azure.errors import azure_errors
from s3_to_azure.stores.azure.responses import blob_type_of, unquoted
from s3_to_azure.stores.http.headers import http_date
from s3_to_azure.stores.http.pages import Pages
from s3_to_azure.stores.http.parallel_listing import ParallelListing

_DOCUMENT: Final = "EnumerationResults"
_EMPTY_LISTING: Final = "<EnumerationResults><Blobs/></EnumerationResults>"
# Parsed at a time: the elements of a whole page take 20 MiB, and the garbage collector's passes double the CPU.
_CHUNK_CHARACTERS: Final = 16 * 1024
# The version of the API that has startFrom: https://learn.microsoft.com/rest/api/storageservices/list-blobs
_STARTS_AT_A_TEXT: Final = "2026-02-06"
_BLOB_START: Final = "<Blob><Name>"
_BLOB_END: Final = "</Blob>"
# Text without a reference, and without a character that XML does not allow or a parser changes.
_PLAIN: Final = "[^<>&\x00-\x08\x0b-\x1f\ufffe\uffff]"
_FIELD: Final = re.compile(f"<(?P<name>[A-Za-z_][A-Za-z0-9_.-]*+)(?:>({_PLAIN}*+)</(?P=name)>| ?/>)")
# In the order of Azure. Others may follow, except for ResourceType: accounts with a hierarchical namespace have it.
_PROPERTIES: Final = (
    *("Last-Modified", "Etag", "Content-Length", "Content-Type", "Content-Encoding", "Content-Language"),
    *("Content-MD5", "Cache-Control", "Content-Disposition", "BlobType"),
)
_REQUIRED: Final = ("Last-Modified", "Etag", "Content-Length", "BlobType")
_BEFORE: Final = {"Last-Modified": "Creation-Time", "Content-MD5": "Content-CRC64"}
_OTHER: Final = f"(?!(?:{'|'.join(_PROPERTIES)}|ResourceType)[ />])[A-Za-z0-9-]++"
_BLOB: Final = re.compile(
    f"<Blob><Name>({_PLAIN}++)</Name><Properties>"
    + "".join(
        (f"(?:<{other}(?:>{_PLAIN}*+</{other}>| ?/>))?+" if (other := _BEFORE.get(name)) else "")
        + f"(?:<{name}(?:>({_PLAIN}*+)</{name}>| ?/>)){'' if name in _REQUIRED else '?+'}"
        for name in _PROPERTIES
    )
    + f"(?:<(?P<other>{_OTHER})(?:>{_PLAIN}*+</(?P=other)>| ?/>))*+</Properties>"
    f"(?:<Metadata>((?:<[A-Za-z0-9_.-]++(?:>{_PLAIN}*+</[A-Za-z0-9_.-]++>| ?/>))*+)</Metadata>|<Metadata ?/>)?+"
    "(?:<OrMetadata ?/>)?+</Blob>"
)
_STAND_IN: Final = '<Blob entries="s3-to-azure"/>'
_STAND_IN_ATTRIBUTES: Final = {"entries": "s3-to-azure"}
_TRUE: Final = ("true", "1")
# In the order of the fields of ``ContentHeaders``.
_HEADERS: Final = ("Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control")

T = TypeVar("T")

# One page at a time: parsing holds the interpreter's lock anyway, and takes several times the memory of its result.
_PARSING = threading.Lock()


class Entry(NamedTuple):
    """What a listing says of one blob.

    Attributes:
        properties: The text of each property; None or empty if it has none.
        metadata: The blob's metadata, by the names as they are written.
    """

    name: str
    properties: Mapping[str, str | None]
    metadata: Mapping[str, str | None]


class PageToken(NamedTuple):
    """Names a page of a listing.

    Attributes:
        marker: What the page before names it; None for the first page.
        start_from: The text that the listing starts at; None: it starts at the first blob.
    """

    marker: str | None
    start_from: str | None = None


def list_side_by_side(client: ContainerClient, prefix: str) -> Iterator[BlobState]:
    """Yield the blobs below a prefix; with several requests at the same time if the service can start at a text."""

    def fetch_page(after: str | None, token: PageToken | None) -> tuple[list[BlobState], PageToken | None]:
        if after is not None and after > prefix and not after.startswith(prefix):
            # All names below the prefix come before it.
            return [], None
        token = token or PageToken(None, after)
        found, marker = list_page(client, prefix, token.marker, state_of, start_from=token.start_from)
        if found and found[0].name == after:
            # Azure includes the blob that it starts at.
            del found[0]
        return found, token._replace(marker=marker) if marker else None

    name_of, resource = attrgetter("name"), repr(client.container_name)
    if client.api_version < _STARTS_AT_A_TEXT:
        return Pages(partial(fetch_page, None), name_of=name_of, service=AZURE, resource=resource)
    return ParallelListing(
        fetch_page,
        name_of=name_of,
        service=AZURE,
        resource=resource,
        at_once=AZURE_LISTING_REQUESTS,
        max_waiting=AZURE_LISTING_REQUESTS + 2,
    )


def list_page(
    client: ContainerClient,
    prefix: str,
    marker: str | None,
    read: Callable[[Entry], T],
    *,
    start_from: str | None = None,
) -> tuple[list[T], str | None]:
    """Return a page's blobs, and the next page's marker, None after the last page.

    Args:
        client: Lists its container.
        prefix: Only blobs whose names begin with it.
        marker: The page's marker, None for the first page.
        read: Makes a value of a blob, or raises ValueError if a property is missing: ``state_of`` or ``modified_of``.
        start_from: The text that the listing starts at, None for the first blob; not every version of the API has it.

    Raises:
        UnexpectedResponse: The response is another document, which must not be taken for the end of the listing; or it
            is the listing of another prefix.
        TransientError: The response is incomplete or not XML.
    """
    container = client.container_name
    pages: list[tuple[list[T], str | None]] = []

    def read_checked(entry: Entry) -> T:
        if not entry.name.startswith(prefix):
            raise ValueError("the response is the listing of another prefix")
        return read(entry)

    def parse(pipeline_response: PipelineResponse[Any, Any]) -> None:
        """Parse a listing and leave the SDK an empty one; leave an error response to the SDK."""
        response = pipeline_response.http_response
        if response.status_code != 200:
            return
        try:
            if "xml" not in (response.content_type or "").lower():
                raise ValueError("the response is not a listing: it is not XML")
            with _PARSING:
                pages.append(parse_page(response.body(), read_checked))
        except (ET.ParseError, UnicodeDecodeError):
            # The SDK raises the same for an incomplete response.
            raise DecodeError("XML is invalid", response=response) from None
        except ValueError as error:
            raise UnexpectedResponse(service=AZURE, resource=repr(container), detail=str(error)) from None
        pipeline_response.http_response = _WithEmptyListing(response)

    # Older SDKs know no such argument.
    start: dict[str, Any] = {} if start_from is None else {"start_from": start_from}
    with azure_errors(container=container, blob=""):
        listing = client.list_blobs(
            name_starts_with=prefix or None, include=["metadata"], raw_response_hook=parse, **start
        )
        next(listing.by_page(marker))
    # The SDK's iterator refers to itself and to ``parse``: what is left here stays until the garbage collector comes.
    return pages.pop()


def parse_page(body: bytes, read: Callable[[Entry], T]) -> tuple[list[T], str | None]:
    """Parse a page's XML document, as ``list_page`` does.

    Raises:
        ValueError: The document is not a listing.
        ParseError: The document is not XML.
        UnicodeDecodeError: The document is not UTF-8.
    """
    # UTF-8, whatever encoding the document declares, so that the search for a DTD sees what the parser sees.
    # With the mark in it, each character of the text would take two bytes.
    text = body.removeprefix(codecs.BOM_UTF8).decode()
    # A listing has no DTD, and without one no entity can be expanded or fetched.
    if "<!DOCTYPE" in text:
        raise ValueError("the response is not a listing: it has a document type declaration")
    usual = _usual_page(text)
    if usual is not None:
        entries, marker_text = usual
        return [read(entry) for entry in entries], marker_text
    return _parsed_page(text, read)


def _usual_page(text: str) -> tuple[Iterator[Entry], str | None] | None:
    """Return the blobs of a page that all have the form that Azure writes, and the next page's marker; else None.

    The blobs are made one by one, for the garbage collector walks all that are there.
    """
    start, end = text.find(_BLOB_START), text.rfind(_BLOB_END) + len(_BLOB_END)
    if start < 0 or end <= start:
        return None
    pieces = _BLOB.split(text[start:end])
    between, names, *properties, _, metadata = (pieces[at :: _BLOB.groups + 1] for at in range(_BLOB.groups + 1))
    # Nothing may be before, between and behind the blobs.
    if any(between):
        return None
    try:
        fields = [_fields(written or "") for written in metadata]
        root = ET.fromstring(text[:start] + _STAND_IN + text[end:])  # noqa: S314 - no DTD
    except (ValueError, ET.ParseError):
        return None
    blobs, marker = root.find("Blobs"), root.find("NextMarker")
    if root.tag != _DOCUMENT or blobs is None or marker is None:
        return None
    # The blobs must be the list's, and not in a comment or another element.
    if [item.attrib for item in blobs if item.tag == "Blob"] != [_STAND_IN_ATTRIBUTES]:
        return None
    entries = (
        Entry(name, dict(zip(_PROPERTIES, texts, strict=True)), named)
        for name, named, *texts in zip(names, fields, *properties, strict=True)
    )
    return entries, marker.text


def _fields(text: str) -> dict[str, str | None]:
    """Return the texts of elements without attributes and children.

    Raises:
        ValueError: There is anything else.
    """
    pieces = _FIELD.split(text)
    if any(pieces[::3]):
        raise ValueError("not only elements without attributes and children")
    return dict(zip(pieces[1::3], pieces[2::3], strict=True))


def _parsed_page(text: str, read: Callable[[Entry], T]) -> tuple[list[T], str | None]:
    parser: Any = ET.XMLPullParser(["start"])
    found: list[T] = []
    root: Any = None
    for start in range(0, len(text), _CHUNK_CHARACTERS):
        parser.feed(text[start : start + _CHUNK_CHARACTERS])
        for _, element in parser.read_events():
            root = element if root is None else root
        blobs = None if root is None else root.find("Blobs")
        if blobs is not None:
            # The last element may be incomplete.
            found += _values(blobs[:-1], read)
            del blobs[:-1]
    parser.close()
    blobs = None if root is None or root.tag != _DOCUMENT else root.find("Blobs")
    if blobs is None:
        raise ValueError("the response is not a listing")
    found += _values(blobs, read)
    # The marker is empty after the last page: https://learn.microsoft.com/rest/api/storageservices/enumerating-blob-resources
    marker = root.find("NextMarker")
    if marker is None:
        raise ValueError("the response is not a listing: it does not say whether there are more pages")
    return found, marker.text


def _values(items: Iterable[ET.Element], read: Callable[[Entry], T]) -> list[T]:
    return [read(_entry(item)) for item in items if item.tag == "Blob"]


def _entry(item: ET.Element) -> Entry:
    """Return the blob of a complete element; a name with characters that XML does not allow is percent-encoded."""
    name, properties = item.find("Name"), item.find("Properties")
    if name is None or not name.text or properties is None:
        raise ValueError("a blob without name or properties")
    is_encoded = name.get("Encoded", "").lower() in _TRUE
    # Of two elements of one name the first counts.
    texts = {child.tag: child.text for child in reversed(properties)}
    metadata = item.find("Metadata")
    named = {} if metadata is None else {child.tag: child.text for child in metadata}
    return Entry(unquote(name.text) if is_encoded else name.text, texts, named)


def state_of(entry: Entry) -> BlobState:
    """Return a blob's state.

    Raises:
        ValueError: A property is missing.
    """
    text_of = entry.properties.get
    etag, size, blob_type = unquoted(text_of("Etag")), text_of("Content-Length"), text_of("BlobType")
    if not (etag and blob_type and size and size.isdecimal()):
        raise ValueError("a blob without ETag, size or type")
    metadata_of_blob = {_lower(name): text or "" for name, text in entry.metadata.items()}
    return BlobState(
        name=entry.name,
        etag=etag,
        size_bytes=int(size),
        blob_type=blob_type_of(
            blob_type, metadata_of_blob, size_bytes=int(size), resource_type=text_of("ResourceType")
        ),
        metadata=metadata_of_blob,
        headers=_headers(*map(text_of, _HEADERS)),
        content_md5=text_of("Content-MD5") or "",
        written_at=text_of("Last-Modified") or "",
    )


def modified_of(entry: Entry) -> tuple[str, datetime]:
    """Return a blob's name, and when it was last modified; the name of a directory with a slash at its end.

    Raises:
        ValueError: There is no valid date.
    """
    time = http_date(entry.properties.get("Last-Modified"))
    if time is None:
        raise ValueError("a blob without date")
    is_directory = (entry.properties.get("ResourceType") or "").lower() == DIRECTORY
    return f"{entry.name}/" if is_directory else entry.name, time


@lru_cache(maxsize=1_024)
def _lower(name: str) -> str:
    """Return a name of metadata in small letters: one text for all blobs."""
    return name.lower()


@lru_cache(maxsize=128)
def _headers(*texts: str | None) -> ContentHeaders:
    """Return the content headers; most blobs of a page have the same."""
    return ContentHeaders(*(text or None for text in texts))


class _WithEmptyListing:
    """A response whose document is replaced by an empty listing."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def __getattr__(self, name: str) -> Any:
        return getattr(self._response, name)

    def text(self, encoding: str | None = None) -> str:  # noqa: ARG002 - the SDK's signature
        """Return the empty listing."""
        return _EMPTY_LISTING
