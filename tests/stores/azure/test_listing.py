"""Listings parsed without the SDK: the same blobs, and an error for every other document."""

import io
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit
from xml.etree import ElementTree as ET
from xml.sax.saxutils import escape

import pytest
import requests
from azure.core.pipeline.policies import ContentDecodePolicy
from azure.storage.blob import BlobServiceClient, ContainerClient
from hypothesis import given, settings
from hypothesis import strategies as st
from requests.adapters import BaseAdapter
from urllib3 import HTTPResponse

from s3_to_azure.model.errors import AccessDenied, ContainerNotFound, Throttled, TransientError, UnexpectedResponse
from s3_to_azure.model.objects import BlobState, ContentHeaders
from s3_to_azure.stores.azure import listing as azure_listing
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.listing import list_page, list_side_by_side, modified_of, parse_page, state_of
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
STATE = BlobState(
    *("b", "0x8D1", 3, "BlockBlob", {"s3_etag": "e-1", "mtime": ""}, ContentHeaders("text/plain")),
    content_md5="1B2M2Y8AsgTpgAmY7PhCfg==",
    written_at="Sun, 01 Mar 2026 12:00:00 GMT",
)


class Canned(BaseAdapter):
    """A transport that answers all requests with one response, and a client that uses it."""

    def __init__(self) -> None:
        super().__init__()
        self.document = b""
        self.url = ""
        self.status = 200
        self.headers = {"Content-Type": "application/xml"}
        account = {"account_name": "a", "account_key": "a2V5"}
        client = service_client(BlobServiceClient("https://a.blob.core.windows.net", credential=account), connections=1)
        client.http.mount("https://", self)
        self.client: ContainerClient = client.get_container_client("container")

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        """Return the response."""
        self.url = request.url or ""
        response = requests.Response()
        response.status_code, response.request, response.url = self.status, request, request.url or ""
        response.headers.update(self.headers)
        response.raw = HTTPResponse(io.BytesIO(self.document), status=self.status, preload_content=False)
        return response

    def close(self) -> None:
        """Do nothing."""


CANNED = Canned()


def listing(inner: str, *, end: str = NEXT) -> bytes:
    """Return a listing's document, with the byte order mark that Azure sends."""
    root = '<EnumerationResults ServiceEndpoint="https://a.blob.core.windows.net/" ContainerName="container">'
    text = f'\ufeff<?xml version="1.0" encoding="utf-8"?>{root}<Blobs>{inner}</Blobs>{end}</EnumerationResults>'
    return text.encode()


def read(document: bytes) -> tuple[list[BlobState], str | None]:
    """Parse the document."""
    CANNED.document = document
    return list_page(CANNED.client, "", None, state_of)


def sdks(document: bytes) -> list[BlobState]:
    """Return what the SDK reads; its models contain None for an empty value."""
    CANNED.document = document
    found = [blob_state(each) for each in CANNED.client.list_blobs(include=["metadata"])]
    return [replace(each, metadata={name: text or "" for name, text in each.metadata.items()}) for each in found]


def test_page() -> None:
    """Every value and the token are read; other elements are ignored."""
    document = listing(f"<Other/>{BLOB.format(name='b')}<Other/>", end="<NextMarker>2!96!+/=</NextMarker>")
    assert read(document) == ([STATE], "2!96!+/=")


USUAL = BLOB.format(name="b")


@pytest.mark.parametrize(
    "blob",
    [
        *(
            BLOB.format(name=name)
            for name in ("a&amp;b", "&#13;", "\x01", "\r", "\n", "\x7f", "é", "\U0001f600", ">", "")
        ),
        *(USUAL.replace("e-1", text) for text in ("a&amp;b", "", " ", "<x/>", "<![CDATA[t]]>", "<!-- -->", "\ufffe")),
        *(USUAL.replace("text/plain", text) for text in ("a&amp;b", "", "<x/>", "\r\n")),
        f"<!--{USUAL}-->",
        f"<Other>{USUAL}</Other>",
        f"{USUAL}<!-- -->{USUAL}",
        f"{USUAL}text{USUAL}",
        f"{USUAL}<BlobPrefix><Name>p/</Name></BlobPrefix>{USUAL}",
        f"{USUAL}<Blob/>",
        f"<!--{USUAL}--><Blob><Name>c</Name></Blob>",
        USUAL.replace("<Etag>", "<Etag>first</Etag><Etag>"),
        USUAL.replace("<AccessTier>", "<Etag>last</Etag><AccessTier>"),
        USUAL.replace("<Etag>0x8D1</Etag>", ""),
        USUAL.replace("<AccessTier>Hot</AccessTier>", "<AccessTier>Hot</Other>"),
        USUAL.replace("<AccessTier>Hot</AccessTier>", "<ResourceType>directory</ResourceType>"),
        USUAL.replace("<mtime />", "<mtime/>"),
        USUAL.replace("<mtime />", "<mtime />" * 2),
        USUAL.replace("<mtime />", "<S3_etag>e-2</S3_etag>"),
        USUAL.replace("<mtime />", '<mtime x="1" />'),
        USUAL.replace("<mtime />", "<é>t</é>"),
        USUAL.replace("<mtime />", "<a>t</b>"),
        USUAL.replace("<Metadata>", "<Metadata><Metadata /></Metadata><Metadata>"),
        USUAL.replace("<S3_etag>e-1</S3_etag><mtime />", ""),
        USUAL.replace("<Metadata><S3_etag>e-1</S3_etag><mtime /></Metadata>", "<Metadata />"),
        USUAL.replace("<OrMetadata />", ""),
        USUAL.replace("<Name>", '<Name Encoded="true">'),
        USUAL.replace("<Blob>", "<Blob><Snapshot>s</Snapshot>"),
    ],
)
@pytest.mark.parametrize("end", [NEXT, "<NextMarker>t</NextMarker>", ""])
def test_the_regular_expression_reads_what_the_parser_reads(blob: str, end: str) -> None:
    """Or it reads nothing, and the parser does."""

    def result(parse: Callable[[], tuple[list[BlobState], str | None]]) -> object:
        try:
            return parse()
        except (ValueError, ET.ParseError) as error:
            return type(error)

    body = listing(USUAL + blob, end=end)
    text = body.decode().removeprefix("\ufeff")
    parsed = result(lambda: azure_listing._parsed_page(text, state_of))
    assert result(lambda: parse_page(body, state_of)) == parsed


def test_usual_blobs_are_read_by_the_regular_expression() -> None:
    """With metadata and without, a checksum or none."""
    plain = USUAL.replace("<Content-MD5>1B2M2Y8AsgTpgAmY7PhCfg==</Content-MD5>", "").replace("<Content-Encoding />", "")
    inner = USUAL + plain + USUAL.replace("<Metadata><S3_etag>e-1</S3_etag><mtime /></Metadata>", "<Metadata />")
    found = azure_listing._usual_page(listing(inner).decode().removeprefix("\ufeff"))
    assert found is not None
    assert [state_of(entry) for entry in found[0]] == [
        STATE,
        replace(STATE, content_md5=""),
        replace(STATE, metadata={}),
    ]


def test_query() -> None:
    """The prefix, metadata, and the page of a token are requested."""
    CANNED.document = listing("")
    list_page(CANNED.client, "a/b c", "2!96!+/=", state_of)
    query = parse_qs(urlsplit(CANNED.url).query)
    expected = {"prefix": ["a/b c"], "include": ["metadata"], "marker": ["2!96!+/="]}
    assert {name: query.get(name) for name in expected} == expected
    list_page(CANNED.client, "", None, state_of)
    assert not {"prefix", "marker"} & parse_qs(urlsplit(CANNED.url).query).keys()


def test_metadata_named_like_elements_of_the_listing() -> None:
    """An element has its meaning only in its place."""
    odd = {name: f"<Blob>{name}" for name in ("blob", "blobs", "name", "properties", "etag", "nextmarker", "metadata")}
    named = {name: (name.title(), escape(text)) for name, text in odd.items()}
    inner = "".join(f"<{title}>{text}</{title}>" for title, text in named.values())
    blob = BLOB.format(name="b").replace("<S3_etag>e-1</S3_etag><mtime />", inner)
    for document in (listing(blob + blob, end="<NextMarker>t</NextMarker>"), listing(blob + blob)):
        assert [each.metadata for each in read(document)[0]] == [odd, odd]


def test_optional_elements() -> None:
    """A listing may be empty, and a blob may have no metadata."""
    assert read(listing("")) == ([], None)
    plain, _, rest = BLOB.format(name="b").partition("<Metadata>")
    assert read(listing(plain + rest.partition("</Metadata>")[2])) == ([replace(STATE, metadata={})], None)


def test_directory() -> None:
    """In a hierarchical namespace it is an empty block blob that Azure calls so, or whose metadata marks it."""
    named = BLOB.format(name="d").replace("<BlobType>", "<ResourceType>directory</ResourceType><BlobType>")
    empty = BLOB.format(name="d").replace(">3<", ">0<").replace("<S3_etag>e-1</S3_etag>", "")
    marked = empty.replace("<mtime />", "<hdi_isfolder>true</hdi_isfolder>")
    assert [each.blob_type for each in read(listing(named + marked))[0]] == ["directory"] * 2


def test_metadata_makes_no_directory_of_a_blob() -> None:
    """Anyone can set it: a blob with bytes, a copy of an object and what Azure calls a file stay what they are."""
    marked = BLOB.format(name="d").replace("<mtime />", "<hdi_isfolder>true</hdi_isfolder>")
    of_bytes = marked.replace("<S3_etag>e-1</S3_etag>", "")
    of_object = marked.replace(">3<", ">0<")
    a_file = of_bytes.replace(">3<", ">0<").replace("<BlobType>", "<ResourceType>file</ResourceType><BlobType>")
    assert [each.blob_type for each in read(listing(of_bytes + of_object + a_file))[0]] == ["BlockBlob"] * 3


def test_name_with_characters_that_xml_does_not_allow() -> None:
    """It is percent-encoded and says so; in any other name a percent sign is literal."""
    encoded = BLOB.format(name="b%EF%BF%BE%20%25+").replace("<Name>", '<Name Encoded="{}">')
    blobs = [encoded.format(value) for value in ("true", "True", "1", "false")] + [BLOB.format(name="b%20")]
    names = ["b\ufffe %+", "b\ufffe %+", "b\ufffe %+", "b%EF%BF%BE%20%25+", "b%20"]
    assert [each.name for each in read(listing("".join(blobs)))[0]] == names


PLAIN = st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff") | st.sampled_from("%+ &<\t\n")
HEADERS = ["Content-Type", "Content-Encoding", "Content-Language", "Content-Disposition", "Cache-Control"]
IDENTIFIERS = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)


@st.composite
def blobs(draw: st.DrawFn) -> str:
    """Generate a blob's element."""
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
    values = draw(st.dictionaries(IDENTIFIERS | st.just("hdi_isfolder"), st.just("true") | st.text(PLAIN), max_size=4))
    metadata = "".join(f"<{key}>{escape(text)}</{key}>" for key, text in values.items())
    shuffled = "".join(draw(st.permutations(properties)))
    return f"<Blob>{name}<Properties>{shuffled}</Properties><Metadata>{metadata}</Metadata></Blob>"


@settings(max_examples=30, deadline=None)
@given(made=st.lists(blobs(), max_size=5), chunk_characters=st.integers(1, 400))
def test_blobs_equal_the_sdks(made: list[str], chunk_characters: int) -> None:
    """For any page, wherever it is cut for the parser."""
    document = listing("".join(made))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s3_to_azure.stores.azure.listing._CHUNK_CHARACTERS", chunk_characters)
        assert read(document) == (sdks(document), None)


def test_full_page() -> None:
    """None of 5,000 blobs is lost where the document is cut, and their order is kept."""
    names = [f"{number:05}" for number in range(5_000)]
    assert [each.name for each in read(listing("".join(BLOB.format(name=name) for name in names)))[0]] == names


def without(name: str) -> str:
    """Return a blob without an element."""
    return BLOB.format(name="b").replace(f"<{name}>", "<Other>").replace(f"</{name}>", "</Other>")


OTHER_DOCUMENTS = {
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


@pytest.mark.parametrize("document", OTHER_DOCUMENTS)
def test_other_documents_are_refused(document: bytes) -> None:
    """None of them is taken for the end of a listing."""
    with pytest.raises(UnexpectedResponse, match=OTHER_DOCUMENTS[document]):
        read(document)


@pytest.mark.parametrize(
    "document",
    [
        listing(BLOB.format(name="b"))[:-5],
        listing(BLOB.format(name="b")).replace(b"text/plain", b"text/\xff"),
        listing(BLOB.format(name="b")).decode().encode("utf-16"),
        # The SDK would read this as an empty listing.
        b'{"Segment":{"BlobItems":[]}}',
        b"\xef\xbb\xbf",
        b"",
    ],
)
def test_incomplete_documents_are_transient(document: bytes) -> None:
    """None of them is taken for the end of a listing."""
    with pytest.raises(TransientError, match="cannot be read"):
        read(document)


@pytest.mark.parametrize("kind", ["text/html", "application/json", None])
def test_other_content_types_are_refused(monkeypatch: pytest.MonkeyPatch, kind: str | None) -> None:
    """Even if the document is a listing."""
    monkeypatch.setattr(CANNED, "headers", {"Content-Type": kind} if kind else {})
    with pytest.raises(UnexpectedResponse, match="not XML"):
        read(listing(BLOB.format(name="b")))


def test_content_type_is_case_insensitive(monkeypatch: pytest.MonkeyPatch) -> None:
    """And may be followed by the encoding."""
    monkeypatch.setattr(CANNED, "headers", {"Content-Type": "Application/XML; charset=utf-8"})
    assert read(listing(BLOB.format(name="b"))) == ([STATE], None)


@pytest.mark.parametrize("name", ["&a;", "&b;", "b"])
def test_document_with_entities_is_refused(name: str) -> None:
    """No entity is expanded or fetched."""
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/hostname">]>'
    document = listing(BLOB.format(name=name)).replace(b"?>", b"?>" + bomb.encode(), 1)
    with pytest.raises(UnexpectedResponse, match="document type"):
        read(document)


def test_sdk_parses_an_empty_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its parser and models take nearly all of a listing's CPU."""
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
def test_error_responses_are_left_to_the_sdk(
    monkeypatch: pytest.MonkeyPatch, status: int, code: str, error: type[Exception]
) -> None:
    """A response with another status is translated as usual."""
    monkeypatch.setattr(CANNED, "status", status)
    monkeypatch.setattr(CANNED, "headers", {"Content-Type": "application/xml", "x-ms-error-code": code})
    with pytest.raises(error):
        read(f"<Error><Code>{code}</Code><Message>No.</Message></Error>".encode())


def test_listing_of_another_prefix_is_refused() -> None:
    """It is another request's response."""
    CANNED.document = listing(BLOB.format(name="p/a") + BLOB.format(name="q/b"))
    assert len(list_page(CANNED.client, "", None, state_of)[0]) == 2
    with pytest.raises(UnexpectedResponse, match="listing of another prefix"):
        list_page(CANNED.client, "p/", None, state_of)


def test_names_are_listed_with_their_dates() -> None:
    """Also those of blobs without any other property."""
    CANNED.document = listing(BLOB.format(name="b"))
    expected = [("b", datetime(2026, 3, 1, 12, tzinfo=UTC))]
    assert list_page(CANNED.client, "", None, modified_of) == (expected, None)


@pytest.mark.parametrize("text", ["", "yesterday", "2026-03-01T12:00:00Z"])
def test_name_without_a_date_is_refused(text: str) -> None:
    """A file that looks old would be deleted."""
    CANNED.document = listing(
        BLOB.format(name="b").replace("<Last-Modified>Sun, 01 Mar 2026 12:00:00 GMT", f"<Last-Modified>{text}")
    )
    with pytest.raises(UnexpectedResponse, match="without date"):
        list_page(CANNED.client, "", None, modified_of)


# -- side by side ----------------------------------------------------------------------------------------------------


def by_bytes(name: str) -> Any:
    """The order of a flat account."""
    return name.encode()


def by_folders(name: str) -> Any:
    """The order of an account with a hierarchical namespace."""
    return name.split("/")


class Container:
    """Answers List Blobs as an account does: pages of five blobs, startFrom included.

    Args:
        names: The blobs' names.
        order: The account's order.
        knows_start: Whether it knows startFrom; None: it refuses it.
    """

    def __init__(
        self, names: Iterable[str], *, order: Callable[[str], Any] = by_bytes, knows_start: bool | None = True
    ) -> None:
        self.names = sorted(names, key=order)
        self.queries: list[dict[str, str]] = []
        self._order = order
        self._knows_start = knows_start
        self._lock = threading.Lock()

    def send(self, request: requests.PreparedRequest, *_: object, **__: object) -> requests.Response:
        """Return a page."""
        query = {name: values[0] for name, values in parse_qs(urlsplit(request.url or "").query).items()}
        with self._lock:
            self.queries.append(query)
        response = requests.Response()
        response.request, response.url, response.status_code = request, request.url or "", 200
        response.headers.update({"Content-Type": "application/xml"})
        start = query.get("startFrom")
        if start is not None and self._knows_start is None:
            response.status_code = 400
            response.headers["x-ms-error-code"] = "InvalidQueryParameterValue"
            body = b"<Error><Code>InvalidQueryParameterValue</Code><Message>startFrom</Message></Error>"
        else:
            body = self._page(query, start if self._knows_start else None)
        response.raw = HTTPResponse(io.BytesIO(body), status=response.status_code, preload_content=False)
        return response

    def _page(self, query: dict[str, str], start: str | None) -> bytes:
        names = [name for name in self.names if name.startswith(query.get("prefix", ""))]
        names = [name for name in names if start is None or self._order(name) >= self._order(start)]
        first = names.index(query["marker"]) if query.get("marker") else 0
        more = f"<NextMarker>{names[first + 5]}</NextMarker>" if first + 5 < len(names) else NEXT
        return listing("".join(BLOB.format(name=name) for name in names[first : first + 5]), end=more)


def listed(container: Container, monkeypatch: pytest.MonkeyPatch, prefix: str = "") -> list[str]:
    """Return the names that the listing yields."""
    monkeypatch.setattr(CANNED, "send", container.send)
    return [blob.name for blob in list_side_by_side(CANNED.client, prefix)]


MANY = [f"logs/{number // 50}/{number % 50:04}" for number in range(500)]


def test_long_listing_is_requested_side_by_side(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every blob comes once and in order; most pages are started at a text, and none outside of the prefix."""
    container = Container([*MANY, "a", "z"])
    assert listed(container, monkeypatch, "logs/") == sorted(MANY)
    starts = [query["startFrom"] for query in container.queries if "startFrom" in query]
    assert len(starts) > 80
    assert all(start.startswith("logs/") for start in starts)
    assert len(container.queries) < 200


def test_listing_of_one_page_takes_one_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """As most do."""
    container = Container(MANY[:5])
    assert (listed(container, monkeypatch), len(container.queries)) == (MANY[:5], 1)


@pytest.mark.parametrize("knows_start", [False, None])
def test_account_that_cannot_start_at_a_text_is_listed_plainly(
    monkeypatch: pytest.MonkeyPatch, *, knows_start: bool | None
) -> None:
    """It ignores the parameter, or refuses it: page after page costs one more request."""
    container = Container(MANY, knows_start=knows_start)
    assert listed(container, monkeypatch) == sorted(MANY)
    assert len(container.queries) == 101


def test_older_version_of_the_api_is_listed_plainly(monkeypatch: pytest.MonkeyPatch) -> None:
    """It has no such parameter, nor has its SDK."""
    container = Container(MANY)
    monkeypatch.setattr(CANNED.client._client._config, "version", "2025-11-05")
    assert listed(container, monkeypatch) == sorted(MANY)
    assert len(container.queries) == 100
    assert not any("startFrom" in query for query in container.queries)


def test_order_of_folders_loses_no_blob(monkeypatch: pytest.MonkeyPatch) -> None:
    """An account with a hierarchical namespace lists a folder before its neighbours that sort before its slash."""
    names = [f"{folder}{mark}{number:02}" for folder in "abc" for mark in ("/", "-", "!/", "") for number in range(40)]
    container = Container(names, order=by_folders)
    assert listed(container, monkeypatch) == sorted(names, key=by_folders)


def test_guess_that_is_refused_ends_the_guessing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is listed page after page."""
    container = Container(MANY)
    real = container._page

    def page(query: dict[str, str], start: str | None) -> bytes:
        if start is not None and start not in MANY:
            return b"<Error>an odd text</Error>"
        return real(query, start)

    monkeypatch.setattr(container, "_page", page)
    assert listed(container, monkeypatch) == sorted(MANY)
