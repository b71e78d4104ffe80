"""Listings of a bucket, with each page's XML parsed here instead of by botocore.

botocore signs and sends the request, and handles every other response. Its documented event ``before-parse`` takes the
document out of a successful response: botocore would parse it twice and walk a thousand objects' elements in Python.
Entries of exactly the form that S3 writes are read by a regular expression, which takes a fifth of the CPU of an XML
parser; a page with any other entry is read by the parser as a whole.

A store that does not know ListObjectsV2 answers with a page of version 1, whose next page starts after a marker.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from xml.etree import ElementTree as ET

from s3_to_azure.model.errors import S3, NameRefused, UnexpectedResponse
from s3_to_azure.model.limits import MAX_KEY_BYTES, MAX_LISTED_KEY_CHARACTERS, MAX_OBJECT_BYTES
from s3_to_azure.model.names import text_of_bytes
from s3_to_azure.model.objects import NO_ETAG, ListedObject
from s3_to_azure.model.reasons import explained
from s3_to_azure.stores.http.refusals import parsed
from s3_to_azure.stores.s3.headers import ETAG, parse_time

_DOCUMENT: Final = "ListBucketResult"
_PARSED: Final = "S3ToAzureListing"
_EMPTY_LISTING: Final = b"<ListBucketResult/>"
# The elements that are read of an object.
_FIELDS: Final = ("Key", "LastModified", "ETag", "Size", "StorageClass")
_GROUP: Final = "CommonPrefixes"
# Text without a reference is the same to the XML parser below, which keeps characters that XML does not allow.
_TEXT: Final = "[^<>&]*+"
_WORD: Final = "[!-%'-;=?-~]*+"
_QUOTE: Final = '(?:&quot;|")?+'
_ENTRY: Final = re.compile(
    f"<Contents><Key>({_TEXT})</Key><LastModified>({_WORD})</LastModified>"
    f"<ETag>{_QUOTE}([!#-%'-;=?-~]*+){_QUOTE}</ETag>(?:<ChecksumAlgorithm>{_WORD}</ChecksumAlgorithm>)*+"
    f"(?:<ChecksumType>{_WORD}</ChecksumType>)?+<Size>({_WORD})</Size><StorageClass>({_WORD})</StorageClass></Contents>"
)
_FIRST_ENTRY: Final = b"<Contents>"
_STAND_IN_ATTRIBUTES: Final = {"entries": "s3-to-azure"}
_LAST_ENTRY: Final = b"</Contents>"
_STAND_IN_ENTRY: Final = b'<Contents entries="s3-to-azure"/>'
_CLASS: Final = re.compile(r"[!-~]{1,64}")
_UNKNOWN_CLASS: Final = "UNKNOWN"
_UNKNOWN_TIME: Final = datetime.fromtimestamp(0, UTC)
_MAX_SIZE_DIGITS: Final = 19
_MAX_SHOWN_CHARACTERS: Final = 80

# Bytes that no XML document may contain stand as characters of a private area while the document is parsed.
_STAND_IN: Final = 0x10FE00
_KEY_WITH_RETURN: Final = re.compile(r"<((?:Next)?(?:Key|Marker))>[^<]*\r[^<]*</\1>")
# Those characters themselves are among them, so that each stand-in has one meaning.
_FORBIDDEN: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\udc80-\udcff\ufffe\uffff\U0010fe00-\U0010feff]")
_FORBIDDEN_REFERENCE: Final = re.compile(r"&#(?:x0*([0-9A-Fa-f]{1,2})|0*([0-9]{1,2}));")
_STOOD_IN: Final = re.compile(f"[{chr(_STAND_IN)}-{chr(_STAND_IN + 0xFF)}]")


_Texts = Sequence[str | None]
"""The texts of an entry's fields."""


@dataclass(frozen=True, slots=True)
class _Document:
    """A page's document.

    Attributes:
        root: Its root; if ``entries`` is not None, an empty ``Contents`` stands in it for all entries.
        entries: The texts of each entry, if a regular expression has read them.
        has_stand_ins: Whether characters stand in for bytes that XML does not allow.
    """

    root: ET.Element
    entries: list[_Texts] | None = None
    has_stand_ins: bool = False


@dataclass(frozen=True, slots=True)
class NextPage:
    """The start of the next page.

    Attributes:
        token: The continuation token, or with version 1 the marker.
        is_marker: Whether the store lists with version 1 only.
    """

    token: str
    is_marker: bool = False


def take_over_parsing(client: Any) -> None:
    """Make the client's ``list_objects_v2`` and ``list_objects`` return the document that ``parse_page`` reads."""
    # The wildcard comes first, so this runs before botocore's own handler, which looks for an error in the document.
    for operation in ("ListObjectsV2", "ListObjects"):
        client.meta.events.register_first(f"before-parse.*.{operation}", _parse, unique_id=f"{_PARSED}{operation}")


def parse_page(
    page: Mapping[str, Any],
    bucket: str,
    *,
    prefix: str = "",
    plus_is_space: Callable[[bytes], bool] = lambda _key: True,
) -> tuple[list[ListedObject], NextPage | None]:
    """Return a page's objects and the start of the next page, None after the last page.

    An object whose entry cannot be used has a ``problem``; it never hides the others.

    Args:
        page: The response of the client.
        bucket: The listed bucket.
        prefix: The listed prefix.
        plus_is_space: Says of a URL-encoded key whether its ``+`` is an encoded space; asked only if the page itself
            does not show it.

    Raises:
        UnexpectedResponse: The response is empty, another document, or another listing, which must not be taken for
            the end of this one; it has fewer entries than it says; or an entry has no key, so that its object cannot
            be named.
    """
    document = page.get(_PARSED)
    try:
        if document is None:
            raise ValueError("the response is not a listing")
        reader = _PageReader(document, bucket, plus_is_space)
        found = reader.objects()
        reader.check_prefix(prefix, found)
        return found, reader.next_page()
    except ValueError as error:
        raise UnexpectedResponse(service=S3, resource=f"s3://{bucket}", detail=str(error)) from None


def probe_plus(encoded_key: bytes, bucket: str, list_first: Callable[[str], Mapping[str, Any]]) -> bool:
    """Return whether a ``+`` of a URL-encoded key is a space: the store lists no such key with a real ``+``.

    Args:
        encoded_key: The key as its page shows it.
        bucket: The listed bucket.
        list_first: Requests the first object below a prefix.
    """
    prefix = unquote_to_bytes(encoded_key).decode("utf-8", "ignore")
    asked: list[bytes] = []

    def plus_stays(key: bytes) -> bool:
        asked.append(key)
        return False

    found, _ = parse_page(list_first(prefix), bucket, prefix=prefix, plus_is_space=plus_stays)
    # Not asked: the store encodes each ``+``, so one that it left is a space.
    return not (asked and any(listed.key == prefix for listed in found))


def _parse(response_dict: dict[str, Any], customized_response_dict: dict[str, Any], **_: Any) -> None:
    """Parse a listing and leave botocore an empty one; leave every other response to botocore."""
    if response_dict["status_code"] != 200:
        return
    document = _document(response_dict["body"])
    if document is not None and document.root.tag.rpartition("}")[2] == _DOCUMENT:
        customized_response_dict[_PARSED] = document
        response_dict["body"] = _EMPTY_LISTING


def _document(body: bytes) -> _Document | None:
    # A listing has no DTD, and without one no entity can be expanded or fetched.
    if b"<!DOCTYPE" in body:
        return None
    return _with_usual_entries(body) or _parsed_document(body)


def _with_usual_entries(body: bytes) -> _Document | None:
    """Return the document of a page whose entries all have the form that S3 writes, else None."""
    start, end = body.find(_FIRST_ENTRY), body.rfind(_LAST_ENTRY) + len(_LAST_ENTRY)
    if start < 0 or end <= start:
        return None
    try:
        pieces = _ENTRY.split(body[start:end].decode())
    except UnicodeDecodeError:
        return None
    stride = _ENTRY.groups + 1
    # Nothing may be before, between and behind the entries.
    if any(pieces[::stride]):
        return None
    rest = body[:start] + _STAND_IN_ENTRY + body[end:]
    root = None if _has_return(rest) else parsed(rest)
    # The entries must be the root's, and not in a comment or another element.
    found = () if root is None else root.findall(f"{root.tag.removesuffix(_DOCUMENT)}Contents")
    if root is None or [item.attrib for item in found] != [_STAND_IN_ATTRIBUTES]:
        return None
    return _Document(root, list(zip(*(pieces[at::stride] for at in range(1, stride)), strict=True)))


def _parsed_document(body: bytes) -> _Document | None:
    root = None if _has_return(body) else parsed(body)
    if root is not None:
        return _Document(root)
    root = parsed(_with_stand_ins(body))
    return None if root is None else _Document(root, has_stand_ins=True)


def _has_return(body: bytes) -> bool:
    """Return whether a key or marker has a carriage return: a parser reads it as a line feed, which is another key."""
    return b"\r" in body and _KEY_WITH_RETURN.search(body.decode("utf-8", "replace")) is not None


def _with_stand_ins(body: bytes) -> bytes:
    """Return the document without the bytes and character references that XML does not allow but keys may have."""
    text = body.decode("utf-8", "surrogateescape")
    text = _FORBIDDEN.sub(lambda match: _stand_ins(match[0].encode("utf-8", "surrogateescape")), text)
    text = _KEY_WITH_RETURN.sub(lambda match: match[0].replace("\r", _stand_ins(b"\r")), text)
    return _FORBIDDEN_REFERENCE.sub(_reference, text).encode()


def _reference(match: re.Match[str]) -> str:
    code = int(match[1], 16) if match[1] else int(match[2])
    return _stand_ins(bytes([code])) if code < 0x20 else match[0]


def _stand_ins(data: bytes) -> str:
    return "".join(chr(_STAND_IN + byte) for byte in data)


class _PageReader:
    """The values of one page's document."""

    def __init__(self, document: _Document, bucket: str, plus_is_space: Callable[[bytes], bool]) -> None:
        self._root = document.root
        self._entries = document.entries
        self._bucket = bucket
        self._namespace = self._root.tag.removesuffix(_DOCUMENT)
        self._contents = f"{self._namespace}Contents"
        self._is_encoded = self._text("EncodingType") == "url"
        self._has_stand_ins = document.has_stand_ins
        self._ask = plus_is_space
        self._plus: bytes | None = None
        self._last_key: bytes = b""

    def objects(self) -> list[ListedObject]:
        """Return the page's objects.

        Raises:
            ValueError: An entry has no key, or the page says that it has more entries than it shows.
        """
        found = [self._object(texts) for texts in self._entries] if self._entries is not None else self._parsed()
        counted = self._text("KeyCount") or ""
        shown = len(found) + len(self._root.findall(f"{self._namespace}{_GROUP}"))
        if len(counted) <= _MAX_SIZE_DIGITS and counted.isascii() and counted.isdigit() and int(counted) > shown:
            raise ValueError(f"the listing says that it has {int(counted):,} entries, and shows {shown:,}")
        return found

    def _parsed(self) -> list[ListedObject]:
        names = [f"{self._namespace}{name}" for name in _FIELDS]
        found = []
        for item in self._root:
            if item.tag == self._contents:
                texts = {child.tag: child.text for child in item}
                repeated = _repeated(item, names) if len(texts) < len(item) else ""
                found.append(self._object([texts.get(name) for name in names], repeated))
        return found

    def check_prefix(self, prefix: str, found: list[ListedObject]) -> None:
        """Check that the page is the listing of the prefix that was asked for.

        A store that does not know prefixes names none, and shows all its objects.

        Raises:
            ValueError: The page names another prefix, or shows an object outside of its own.
        """
        named = self._original(self._text("Prefix") or "")
        if not named:
            return
        is_ours = prefix.encode() in (named, unquote_to_bytes(named), unquote_to_bytes(named.replace(b"+", b" ")))
        are_below = all(listed.key.startswith(prefix) for listed in found)
        if not is_ours and not (prefix and found and are_below):
            raise ValueError(f"the response is the listing of another prefix ({named[:_MAX_SHOWN_CHARACTERS]!r})")
        if not are_below:
            raise ValueError("the listing shows an object outside of its prefix")

    def next_page(self) -> NextPage | None:
        """Return the start of the next page.

        Raises:
            ValueError: The page does not say whether there is one, or where it starts.
        """
        truncated, token = self._text("IsTruncated"), self._text("NextContinuationToken")
        if truncated == "false":
            # A page that says both is followed: nothing may be lost, and the last page of some stores does so.
            return NextPage(token) if token and self._root.find(self._contents) is not None else None
        if truncated == "true":
            if token:
                return NextPage(token)
            marker = self._text("NextMarker")
            if marker or self._root.find(f"{self._namespace}Marker") is not None:
                after = self._decoded(self._original(marker)) if marker else self._last_key
                if after:
                    return NextPage(self._marker(after), is_marker=True)
        raise ValueError("the response is not a listing: it does not say whether there are more pages")

    def _original(self, text: str) -> bytes:
        """Return the bytes that the store sent for a text of the document."""
        if not self._has_stand_ins:
            return text.encode()
        return b"".join(
            bytes([ord(character) - _STAND_IN]) if _STOOD_IN.match(character) else character.encode()
            for character in text
        )

    def _text(self, name: str) -> str | None:
        return self._root.findtext(f"{self._namespace}{name}")

    def _marker(self, key: bytes) -> str:
        try:
            return key.decode()
        except UnicodeDecodeError:
            raise ValueError("the next page starts after a key that is not UTF-8, which cannot be requested") from None

    def _object(self, texts: _Texts, repeated: str = "") -> ListedObject:
        key_text, time_text, etag_text, size_text, class_text = texts
        if not key_text or repeated == "Key":
            raise ValueError(f"the listing has an object {'with several keys' if repeated else 'without a key'}")
        encoded = self._original(key_text)
        if self._is_encoded and (b"%" in encoded or b"+" in encoded):
            encoded = self._decoded(encoded)
        self._last_key = encoded
        key, problem = _key_of(encoded)
        etag = (etag_text or "").strip('"')
        size = _size_of(size_text)
        time = _time_of(time_text)
        if not problem and (size is None or time is None or not ETAG.fullmatch(etag)):
            problem = _problem_of_values(etag_text, size_text, time_text, size=size, time=time)
        if repeated and not problem:
            detail = f"the listing shows several values as {repeated} of this object"
            problem = explained(UnexpectedResponse.reason(), detail)
        storage_class = class_text or "STANDARD"
        if not _CLASS.fullmatch(storage_class):
            storage_class = _UNKNOWN_CLASS
        if problem:
            etag = etag if ETAG.fullmatch(etag) else NO_ETAG
            return ListedObject(self._bucket, key, etag, size or 0, time or _UNKNOWN_TIME, storage_class, problem)
        return ListedObject(self._bucket, key, etag, size or 0, time or _UNKNOWN_TIME, storage_class)

    def _decoded(self, encoded: bytes) -> bytes:
        """Undo the encoding of a key: S3 encodes a space as ``+``, other stores encode it as ``%20`` and keep ``+``."""
        if not self._is_encoded:
            return encoded
        if b"+" in encoded:
            if self._plus is None:
                self._plus = b" " if self._plus_is_space(encoded) else b"+"
            encoded = encoded.replace(b"+", self._plus)
        return unquote_to_bytes(encoded)

    def _plus_is_space(self, encoded: bytes) -> bool:
        texts = (
            (item.text for item in self._root.iter(f"{self._namespace}Key"))
            if self._entries is None
            else (entry[0] for entry in self._entries)
        )
        keys = [text for text in texts if text]
        if any("%2B" in key or "%2b" in key for key in keys):
            return True
        if any("%20" in key for key in keys):
            return False
        return self._ask(encoded)


def _repeated(item: ET.Element, names: list[str]) -> str:
    """Return the first of the fields that an entry has more than once; empty if it has none."""
    tags = [child.tag for child in item]
    return next((field for field, name in zip(_FIELDS, names, strict=True) if tags.count(name) > 1), "")


def _key_of(encoded: bytes) -> tuple[str, str]:
    """Return a key's text, and the problem with it or an empty text."""
    try:
        key, problem = encoded.decode(), ""
    except UnicodeDecodeError:
        key = text_of_bytes(encoded)
        problem = explained(
            NameRefused.reason(), "its bytes are not UTF-8, so no request can carry it; here each such byte is �%XX"
        )
    if len(encoded) > MAX_KEY_BYTES and not problem:
        problem = explained(
            NameRefused.reason(), f"it has {len(encoded):,} bytes, and a key may have {MAX_KEY_BYTES:,} of them"
        )
    if len(key) > MAX_LISTED_KEY_CHARACTERS:
        digest = f"…(SHA-256 {sha256(encoded).hexdigest()})"
        key = key[: MAX_LISTED_KEY_CHARACTERS - len(digest)] + digest
    return key, problem


def _size_of(text: str | None) -> int | None:
    """Return a size that an object can have, else None."""
    if not text or len(text) > _MAX_SIZE_DIGITS or not (text.isascii() and text.isdigit()):
        return None
    size = int(text)
    return size if size <= MAX_OBJECT_BYTES else None


def _time_of(text: str | None) -> datetime | None:
    try:
        return parse_time(text) if text else None
    except (ValueError, OverflowError):
        return None


def _problem_of_values(
    etag_text: str | None, size_text: str | None, time_text: str | None, *, size: int | None, time: datetime | None
) -> str:
    name, text = (
        ("Size", size_text) if size is None else ("LastModified", time_text) if time is None else ("ETag", etag_text)
    )
    shown = "no" if text is None else f"an unusable value ({text[:_MAX_SHOWN_CHARACTERS]!r}) as"
    return explained(UnexpectedResponse.reason(), f"the listing shows {shown} {name} of this object")
