"""A page of a container's listing, read by the XML parser in C instead of the SDK's models blob by blob.

The SDK authorises and sends the request as ever, and reads every refusal. From a listing its documented
``raw_response_hook`` takes the document away; the SDK would parse it twice, and make some twenty models of each blob.
"""

from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote
from xml.etree import ElementTree as ET

from azure.core.exceptions import DecodeError
from azure.core.pipeline import PipelineResponse
from azure.storage.blob import ContainerClient

from s3_to_azure.model.errors import UnexpectedAnswer
from s3_to_azure.model.objects import BlobState, ContentHeaders
from s3_to_azure.stores.azure.responses import azure_errors, told_type, unquoted
from s3_to_azure.stores.http.errors import AZURE

_DOCUMENT: Final = "EnumerationResults"
_READ_ALREADY: Final = "<EnumerationResults><Blobs/></EnumerationResults>"
# Parsed at a time: the elements of a whole page take 20 MiB and, for the garbage collector's walks, as much CPU again.
_PIECE_CHARACTERS: Final = 16 * 1024
_TRUE: Final = ("true", "1")
# In the order of ``ContentHeaders``.
_HEADERS: Final = ("Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control")

Page = tuple[list[BlobState], str | None]


def ask_page(client: ContainerClient, prefix: str, token: str | None) -> Page:
    """Return a page's blobs, metadata included, and the next page's token, None after the last.

    Raises:
        UnexpectedAnswer: It is another document: never to be read as "there is nothing more".
        TransientError: It is none; or what the answer says.
    """
    container = client.container_name
    pages: list[Page] = []

    def take(answer: PipelineResponse[Any, Any]) -> None:
        """Read a listing and leave the SDK an empty one; leave it every refusal as it is."""
        response = answer.http_response
        if response.status_code != 200:
            return
        try:
            if "xml" not in (response.content_type or "").lower():
                raise ValueError("no listing: it is no XML")
            pages.append(page_of(response.body()))
        except (ET.ParseError, UnicodeDecodeError):
            # What the SDK says of an answer that broke off.
            raise DecodeError("XML is invalid", response=response) from None
        except ValueError as error:
            raise UnexpectedAnswer(service=AZURE, thing=repr(container), detail=str(error)) from None
        answer.http_response = _Read(response)

    with azure_errors(container=container, blob=""):
        listing = client.list_blobs(name_starts_with=prefix or None, include=["metadata"], raw_response_hook=take)
        next(listing.by_page(token))
    return pages[-1]


def page_of(body: bytes) -> Page:
    """Read a page's document.

    Raises:
        ValueError: It is no listing.
        ParseError, UnicodeDecodeError: It is no XML.
    """
    # Whatever it says of itself, so that the characters looked for are the parser's.
    text = body.decode()
    # A listing declares nothing; and without a DTD there is no entity to expand or to fetch.
    if "<!DOCTYPE" in text:
        raise ValueError("no listing: it declares a document type")
    parser: Any = ET.XMLPullParser(["start"])
    found: list[BlobState] = []
    root: Any = None
    for start in range(0, len(text), _PIECE_CHARACTERS):
        parser.feed(text[start : start + _PIECE_CHARACTERS])
        for _, element in parser.read_events():
            root = element if root is None else root
        blobs = None if root is None else root.find("Blobs")
        if blobs is not None:
            # All but the last, which may be half a blob yet.
            found += _states(blobs[:-1])
            del blobs[:-1]
    parser.close()
    blobs = None if root is None or root.tag != _DOCUMENT else root.find("Blobs")
    if blobs is None:
        raise ValueError("no listing")
    found += _states(blobs)
    # Empty after the last page: https://learn.microsoft.com/rest/api/storageservices/enumerating-blob-resources
    marker = root.find("NextMarker")
    if marker is None:
        raise ValueError("no listing: it does not say whether there is more")
    return found, marker.text


def _states(items: Any) -> list[BlobState]:
    return [_state(item) for item in items if item.tag == "Blob"]


def _state(item: ET.Element) -> BlobState:
    """Return a complete element's blob; a name that XML cannot hold is percent-encoded."""
    name, properties, metadata = item.find("Name"), item.find("Properties"), item.find("Metadata")
    if name is None or not name.text or properties is None:
        raise ValueError("a blob without name or properties")
    told = properties.findtext
    etag, size, blob_type = unquoted(told("Etag")), told("Content-Length"), told("BlobType")
    if not (etag and blob_type and size and size.isdecimal()):
        raise ValueError("a blob without ETag, size or type")
    recorded = {} if metadata is None else {child.tag.lower(): child.text or "" for child in metadata}
    return BlobState(
        name=unquote(name.text) if name.get("Encoded", "").lower() in _TRUE else name.text,
        etag=etag,
        size_bytes=int(size),
        blob_type=told_type(blob_type, recorded),
        metadata=recorded,
        headers=_headers(*map(told, _HEADERS)),
    )


@lru_cache(maxsize=128)
def _headers(*texts: str | None) -> ContentHeaders:
    """Return the blob's headers; most blobs of a page have the same."""
    return ContentHeaders(*(text or None for text in texts))


class _Read:
    """An answer whose document was taken away: an empty listing stands in its place.

    Args:
        answer: Says everything else.
    """

    def __init__(self, answer: Any) -> None:
        self._answer = answer

    def __getattr__(self, name: str) -> Any:
        return getattr(self._answer, name)

    def text(self, encoding: str | None = None) -> str:  # noqa: ARG002 - the SDK's signature
        """Return the empty listing."""
        return _READ_ALREADY
