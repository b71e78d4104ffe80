"""Mutations of XML documents in HTTP responses."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from tests.fakes.mutations import Response

_NAME: Final = b"[A-Za-z]+"


@dataclass(frozen=True)
class _Document:
    """An XML document, and one of its elements.

    Attributes:
        name: The element's name.
        text: A text for it.
    """

    body: bytes
    name: bytes
    text: bytes

    @property
    def root(self) -> bytes:
        """The name of the root."""
        found = re.search(rb"<(%s)[ >]" % _NAME, self.body)
        assert found
        return found[1]

    @property
    def made(self) -> bytes:
        """Another element of that name."""
        return b"<%s>%s</%s>" % (self.name, self.text, self.name)

    def first(self, change: Callable[[bytes], bytes], body: bytes | None = None) -> bytes:
        """Return the document with the first element of that name changed."""
        pattern = rb"<%s(?: [^>]*)?(?:/>|>.*?</%s>)" % (self.name, self.name)
        return re.sub(pattern, lambda match: change(match[0]), body or self.body, count=1, flags=re.DOTALL)

    def every(self, change: Callable[[bytes], bytes]) -> bytes:
        """Return the document with all elements of that name changed."""
        pattern = rb"<%s(?: [^>]*)?(?:/>|>.*?</%s>)" % (self.name, self.name)
        return re.sub(pattern, lambda match: change(match[0]), self.body, flags=re.DOTALL)

    def inside(self, change: Callable[[bytes], bytes]) -> bytes:
        """Return the document with what is inside its root changed."""
        start = self.body.index(b">", self.body.index(b"<" + self.root)) + 1
        end = self.body.rindex(b"</") if b"</" in self.body[start:] else len(self.body)
        return self.body[:start] + change(self.body[start:end]) + self.body[end:]

    def moved(self) -> bytes:
        """Return the document with the first element of that name moved to its end."""
        taken: list[bytes] = []

        def take(element: bytes) -> bytes:
            taken.append(element)
            return b""

        without = self.first(take)
        return replace(self, body=without).inside(lambda inner: inner + b"".join(taken))

    def with_entities(self, entities: bytes, use: bytes) -> bytes:
        """Return the document with a document type that declares entities, one of which is used in a value."""
        document = re.sub(rb"<\?xml.*?\?>", b"", self.body)
        document = re.sub(
            rb"<(Key|Name|Code|Size)>[^<]*<", lambda match: b"<%s>%s<" % (match[1], use), document, count=1
        )
        return b'<?xml version="1.0"?><!DOCTYPE %s [%s]>%s' % (self.root, entities, document)


_BOMB: Final = b'<!ENTITY a "aaaaaaaaaa">' + b"".join(
    b'<!ENTITY %s "%s">' % (bytes([98 + level]), b"&%s;" % bytes([97 + level]) * 10) for level in range(9)
)
DOCUMENTS: Final[Mapping[str, Callable[[_Document], bytes]]] = {
    "text": lambda xml: xml.first(lambda _: xml.made),
    "every text": lambda xml: xml.every(lambda _: xml.made),
    "without": lambda xml: xml.first(lambda _: b""),
    "without any": lambda xml: xml.every(lambda _: b""),
    "doubled": lambda xml: xml.first(lambda element: element * 2),
    "doubled with another": lambda xml: xml.first(lambda element: element + xml.made),
    "another first": lambda xml: xml.first(lambda element: xml.made + element),
    "renamed": lambda xml: xml.first(lambda element: element.replace(xml.name, b"Unknown")),
    "nested": lambda xml: xml.first(lambda element: b"<%s>%s</%s>" % (xml.name, element, xml.name)),
    "deep": lambda xml: xml.inside(lambda inner: b"<a>" * 20_000 + b"</a>" * 20_000 + inner),
    "huge": lambda xml: xml.first(lambda _: b"<%s>%s</%s>" % (xml.name, b"x" * 1_000_000, xml.name)),
    "moved to the end": lambda xml: xml.moved(),
    "other root": lambda xml: xml.body.replace(xml.root, b"Other"),
    "other namespace": lambda xml: re.sub(rb' xmlns="[^"]*"', b"", xml.body).replace(
        b"<" + xml.root, b'<%s xmlns="urn:other"' % xml.root, 1
    ),
    "element in another namespace": lambda xml: xml.first(
        lambda element: element.replace(b"<" + xml.name, b'<%s xmlns="urn:x"' % xml.name, 1)
    ),
    "no namespace": lambda xml: re.sub(rb' xmlns="[^"]*"', b"", xml.body),
    "prefixed": lambda xml: re.sub(rb"<(/?)(%s)" % _NAME, rb"<\1p:\2", xml.body.replace(b" xmlns=", b" xmlns:p=")),
    "bomb": lambda xml: xml.with_entities(_BOMB, b"&j;"),
    "file": lambda xml: xml.with_entities(b'<!ENTITY a SYSTEM "file:///etc/passwd">', b"&a;"),
    "comment": lambda xml: xml.inside(lambda inner: b"<!-- x -->" + inner + b"<?x y?>"),
    "cdata": lambda xml: xml.first(lambda _: b"<%s><![CDATA[%s]]></%s>" % (xml.name, xml.text, xml.name)),
    "cut": lambda xml: xml.body[: len(xml.body) * 2 // 3],
    "second root": lambda xml: xml.body + b"<More/>",
    "declared latin-1": lambda xml: re.sub(
        rb"<\?xml.*?\?>", b'<?xml version="1.0" encoding="latin-1"?>', xml.body, count=1
    ),
}


@dataclass(frozen=True)
class Xml:
    """The document is changed: the first element of a name, all of them, or the whole."""

    kind: str
    name: str = "Key"
    text: str = ""

    def __call__(self, response: Response, others: Sequence[Response]) -> Response:
        """Change the response."""
        if re.search(rb"<%s[ >]" % _NAME, response.body) is None:
            return response
        return response.with_body(
            DOCUMENTS[self.kind](_Document(response.body, self.name.encode(), self.text.encode()))
        )
