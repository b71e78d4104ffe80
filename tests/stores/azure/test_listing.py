"""Listings as Azure writes them, read without the SDK's models: the same blobs, or no listing at all."""

import io
from dataclasses import replace
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from xml.sax.saxutils import escape

import pytest
import requests
from azure.core.pipeline.policies import ContentDecodePolicy
from azure.storage.blob import BlobServiceClient, ContainerClient
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from s3_to_azure.model.errors import AccessDenied, ContainerNotFound, Throttled, TransientError, UnexpectedAnswer
from s3_to_azure.model.objects import BlobState, ContentHeaders
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.listing import list_page
from s3_to_azure.stores.azure.responses import blob_state

NEXT = "<NextMarker />"
BLOB = (
    "<Blob><Name>{name}</Name><Properties><Creation-Time>Sun, 01 Mar 2026 12:00:00 GMT</Creation-Time>"
    "<Last-Modified>Sun, 01 Mar 2026 12:00:00 GMT</Last-Modified><Etag>0x8D1</Etag>"
    "<Content-Length>3</Content-Length><Content-Type>text/plain</Content-Type><Content-Encoding /><Content-Language>"
    "</Content-Language><Content-CRC64 /><Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5><BlobType>BlockBlob"
    "</BlobType><AccessTier>Hot</AccessTier><LeaseStatus>unlocked</LeaseStatus><ServerEncrypted>true</ServerEncrypted>"
    "</Properties><Metadata><S3_etag>e-1</S3_etag><mtime /></Metadata><OrMetadata /></Blob>"
)
STATE = BlobState("b", "0x8D1", 3, "BlockBlob", {"s3_etag": "e-1", "mtime": ""}, ContentHeaders("text/plain"))


class Canned(BaseAdapter):
    """Where the network would begin: one answer to all requests."""

    def __init__(self) -> None:
        """Make a client that ends here."""
        super().__init__()
        self.document = b""
        self.asked = ""
        self.status = 200
        self.headers = {"Content-Type": "application/xml"}
        account = {"account_name": "a", "account_key": "a2V5"}
        client = service_client(BlobServiceClient("https://a.blob.core.windows.net", credential=account), connections=1)
        client.http.mount("https://", self)
        self.client: ContainerClient = client.get_container_client("container")

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        """Return the answer."""
        self.asked = request.url or ""
        answer = requests.Response()
        answer.status_code, answer.request, answer.url = self.status, request, request.url or ""
        answer.headers.update(self.headers)
        answer.raw = HTTPResponse(io.BytesIO(self.document), status=self.status, preload_content=False)
        return answer

    def close(self) -> None:
        """Have nothing to close."""


CANNED = Canned()


def listing(inner: str, *, end: str = NEXT) -> bytes:
    """Return a listing's document, with the byte order mark that Azure begins with."""
    root = '<EnumerationResults ServiceEndpoint="https://a.blob.core.windows.net/" ContainerName="container">'
    text = f'\ufeff<?xml version="1.0" encoding="utf-8"?>{root}<Blobs>{inner}</Blobs>{end}</EnumerationResults>'
    return text.encode()


def read(document: bytes) -> tuple[list[BlobState], str | None]:
    """Return what the document says."""
    CANNED.document = document
    return list_page(CANNED.client, "", None)


def sdks(document: bytes) -> list[BlobState]:
    """Return what the SDK's models say; they have None for an empty value."""
    CANNED.document = document
    found = [blob_state(each) for each in CANNED.client.list_blobs(include=["metadata"])]
    return [replace(each, metadata={name: text or "" for name, text in each.metadata.items()}) for each in found]


def test_a_page() -> None:
    """Every value arrives, and so does the token; what is no blob is passed over."""
    document = listing(f"<Other/>{BLOB.format(name='b')}<Other/>", end="<NextMarker>2!96!+/=</NextMarker>")
    assert read(document) == ([STATE], "2!96!+/=")


def test_what_is_asked_for() -> None:
    """The prefix, metadata, and the page that a token stands for."""
    CANNED.document = listing("")
    list_page(CANNED.client, "a/b c", "2!96!+/=")
    asked = parse_qs(urlsplit(CANNED.asked).query)
    expected = {"prefix": ["a/b c"], "include": ["metadata"], "marker": ["2!96!+/="]}
    assert {name: asked.get(name) for name in expected} == expected
    list_page(CANNED.client, "", None)
    assert not {"prefix", "marker"} & parse_qs(urlsplit(CANNED.asked).query).keys()


def test_metadata_that_is_named_like_the_listings_own() -> None:
    """A name means what it does only in its place."""
    odd = {name: f"<Blob>{name}" for name in ("blob", "blobs", "name", "properties", "etag", "nextmarker", "metadata")}
    named = {name: (name.title(), escape(text)) for name, text in odd.items()}
    inner = "".join(f"<{title}>{text}</{title}>" for title, text in named.values())
    blob = BLOB.format(name="b").replace("<S3_etag>e-1</S3_etag><mtime />", inner)
    for document in (listing(blob + blob, end="<NextMarker>t</NextMarker>"), listing(blob + blob)):
        assert [each.metadata for each in read(document)[0]] == [odd, odd]


def test_what_a_listing_may_leave_out() -> None:
    """No blob at all; and a blob without metadata."""
    assert read(listing("")) == ([], None)
    plain, _, rest = BLOB.format(name="b").partition("<Metadata>")
    assert read(listing(plain + rest.partition("</Metadata>")[2])) == ([replace(STATE, metadata={})], None)


def test_a_directory() -> None:
    """One of a hierarchical namespace is told by its metadata, and is no block blob."""
    directory = BLOB.format(name="d").replace("<mtime />", "<hdi_isfolder>true</hdi_isfolder>")
    assert [each.blob_type for each in read(listing(directory))[0]] == ["directory"]


def test_a_name_that_xml_cannot_hold() -> None:
    """It comes percent-encoded, and only then is a percent sign more than that."""
    encoded = BLOB.format(name="b%EF%BF%BE%20%25+").replace("<Name>", '<Name Encoded="{}">')
    blobs = [encoded.format(said) for said in ("true", "True", "1", "false")] + [BLOB.format(name="b%20")]
    names = ["b\ufffe %+", "b\ufffe %+", "b\ufffe %+", "b%EF%BF%BE%20%25+", "b%20"]
    assert [each.name for each in read(listing("".join(blobs)))[0]] == names


PLAIN = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("%+ &<\t\n")
HEADERS = ["Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control"]
IDENTIFIERS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@st.composite
def blobs(draw: st.DrawFn) -> str:
    """Make a blob's element."""
    if draw(st.booleans()):
        name = (
            f'<Name Encoded="true">{quote(draw(st.text(st.characters(exclude_categories=["Cs"]), min_size=1)))}</Name>'
        )
    else:
        name = f"<Name>{escape(draw(st.text(PLAIN, min_size=1)))}</Name>"
    etag = draw(st.sampled_from(["0x8D1", '"0x8D1"']))
    blob_type = draw(st.sampled_from(["BlockBlob", "PageBlob", "AppendBlob"]))
    properties = [f"<Etag>{etag}</Etag>", f"<Content-Length>{draw(st.integers(0, 2**48))}</Content-Length>"]
    properties.append(f"<BlobType>{blob_type}</BlobType>")
    headers = draw(st.dictionaries(st.sampled_from(HEADERS), st.text(PLAIN, max_size=9)))
    properties += [f"<{header}>{escape(text)}</{header}>" for header, text in headers.items()]
    recorded = draw(
        st.dictionaries(IDENTIFIERS | st.just("hdi_isfolder"), st.just("true") | st.text(PLAIN), max_size=4)
    )
    metadata = "".join(f"<{key}>{escape(text)}</{key}>" for key, text in recorded.items())
    shuffled = "".join(draw(st.permutations(properties)))
    return f"<Blob>{name}<Properties>{shuffled}</Properties><Metadata>{metadata}</Metadata></Blob>"


@settings(max_examples=30, deadline=None)
@given(made=st.lists(blobs(), max_size=5), piece_characters=st.integers(1, 400))
def test_blobs_are_the_sdks(made: list[str], piece_characters: int) -> None:
    """Whatever stands in a page, and wherever it is cut for the parser, the SDK would have read the same blobs."""
    document = listing("".join(made))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s3_to_azure.stores.azure.listing._CHUNK_CHARACTERS", piece_characters)
        assert read(document) == (sdks(document), None)


def test_a_full_page() -> None:
    """None of 5,000 blobs is lost where the document is cut, and they stay in order."""
    names = [f"{number:05}" for number in range(5_000)]
    assert [each.name for each in read(listing("".join(BLOB.format(name=name) for name in names)))[0]] == names


def without(name: str) -> str:
    """Return a blob that lacks an element."""
    return BLOB.format(name="b").replace(f"<{name}>", "<Other>").replace(f"</{name}>", "</Other>")


NO_LISTINGS = {
    **{listing(without(name)): "without name" for name in ("Name", "Properties")},
    **{listing(without(name)): "without ETag" for name in ("Etag", "Content-Length", "BlobType")},
    listing(BLOB.format(name="")): "without name",
    listing(BLOB.format(name="b").replace(">3<", ">-3<")): "without ETag, size",
    listing(BLOB.format(name="b").replace(">0x8D1<", '>""<')): "without ETag",
    listing(BLOB.format(name="b"), end=""): "whether there are more pages",
    listing(BLOB.format(name="b")).replace(b"EnumerationResults", b"Results"): "not a listing",
    listing(BLOB.format(name="b")).replace(b"Blobs>", b"Containers>"): "not a listing",
    b"<Error><Code>InternalError</Code></Error>": "not a listing",
    b"<Other/>": "not a listing",
}


@pytest.mark.parametrize("document", NO_LISTINGS)
def test_what_is_no_listing(document: bytes) -> None:
    """It is refused, and never read as a listing of nothing more."""
    with pytest.raises(UnexpectedAnswer, match=NO_LISTINGS[document]):
        read(document)


@pytest.mark.parametrize(
    "document",
    [
        listing(BLOB.format(name="b"))[:-5],
        listing(BLOB.format(name="b")).replace(b"text/plain", b"text/\xff"),
        listing(BLOB.format(name="b")).decode().encode("utf-16"),
        # The SDK would read this as a listing of nothing.
        b'{"Segment":{"BlobItems":[]}}',
        b"\xef\xbb\xbf",
        b"",
    ],
)
def test_what_broke_off(document: bytes) -> None:
    """It is asked for again, and never read as a listing of nothing more."""
    with pytest.raises(TransientError, match="cannot be read"):
        read(document)


@pytest.mark.parametrize("kind", ["text/html", "application/json", None])
def test_what_calls_itself_something_else(monkeypatch: pytest.MonkeyPatch, kind: str | None) -> None:
    """It is refused, whatever stands in it."""
    monkeypatch.setattr(CANNED, "headers", {"Content-Type": kind} if kind else {})
    with pytest.raises(UnexpectedAnswer, match="not XML"):
        read(listing(BLOB.format(name="b")))


def test_the_type_may_be_written_otherwise(monkeypatch: pytest.MonkeyPatch) -> None:
    """Types are no matter of case, and the encoding is none of the type."""
    monkeypatch.setattr(CANNED, "headers", {"Content-Type": "Application/XML; charset=utf-8"})
    assert read(listing(BLOB.format(name="b"))) == ([STATE], None)


@pytest.mark.parametrize("name", ["&a;", "&b;", "b"])
def test_a_document_that_declares_entities(name: str) -> None:
    """No entity is expanded or fetched: a listing declares none."""
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/hostname">]>'
    document = listing(BLOB.format(name=name)).replace(b"?>", b"?>" + bomb.encode(), 1)
    with pytest.raises(UnexpectedAnswer, match="document type"):
        read(document)


def test_the_sdk_reads_no_listing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parser and its models get an empty one: nearly all of a listing's CPU."""
    parsed: list[Any] = []
    original = ContentDecodePolicy.deserialize_from_text

    def seen(data: Any, *args: Any, **kwargs: Any) -> Any:
        parsed.append(data)
        return original(data, *args, **kwargs)

    monkeypatch.setattr(ContentDecodePolicy, "deserialize_from_text", seen)
    assert read(listing(BLOB.format(name="b")))[0] == [STATE]
    assert parsed == ["<EnumerationResults><Blobs/></EnumerationResults>"]


@pytest.mark.parametrize(
    ("status", "code", "error"),
    [
        (404, "ContainerNotFound", ContainerNotFound),
        (403, "AuthorizationPermissionMismatch", AccessDenied),
        (503, "ServerBusy", Throttled),
    ],
)
def test_refusals_are_the_sdks(monkeypatch: pytest.MonkeyPatch, status: int, code: str, error: type[Exception]) -> None:
    """An answer of another status means what it always did."""
    monkeypatch.setattr(CANNED, "status", status)
    monkeypatch.setattr(CANNED, "headers", {"Content-Type": "application/xml", "x-ms-error-code": code})
    with pytest.raises(error):
        read(f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode())
