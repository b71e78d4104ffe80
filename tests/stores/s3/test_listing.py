"""Listings parsed without botocore: the same objects, and an error for every other document."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import escape

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.utils import parse_timestamp
from hypothesis import example, given
from hypothesis import strategies as st

from s3_to_azure.model.errors import TransientError, UnexpectedResponse
from s3_to_azure.model.limits import MAX_OBJECT_BYTES
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.model.reasons import code_of
from s3_to_azure.stores.s3 import listing as s3_listing
from s3_to_azure.stores.s3.errors import s3_errors
from s3_to_azure.stores.s3.headers import parse_time
from s3_to_azure.stores.s3.listing import NextPage, parse_page, take_over_parsing

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
SPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
LAST = "<IsTruncated>false</IsTruncated>"
ITEM = (
    "<Contents><Key>{key}</Key><LastModified>2026-03-01T12:00:00.000Z</LastModified><ETag>&quot;e-1&quot;</ETag>"
    "<ChecksumType>FULL_OBJECT</ChecksumType><Size>3</Size><Owner><ID>o</ID></Owner>"
    "<StorageClass>GLACIER</StorageClass></Contents>"
)
USUAL = ITEM.replace("<Owner><ID>o</ID></Owner>", "")
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class Canned:
    """A boto3 client whose every request is answered with one document and status 200.

    Args:
        takes_over: Whether the client's listings are parsed here.
    """

    def __init__(self, *, takes_over: bool) -> None:
        self.document = b""
        session = boto3.session.Session("key", "secret", region_name="us-east-1")
        self.client = session.client("s3", config=Config(retries={"total_max_attempts": 1}))
        self.client.meta.events.register("before-send.s3.*", self._answer)
        if takes_over:
            take_over_parsing(self.client)

    def _answer(self, **_: Any) -> AWSResponse:
        document = self.document

        class Raw:
            def stream(self) -> Iterator[bytes]:
                yield document

        return AWSResponse("https://s3", 200, {"Content-Type": "application/xml"}, Raw())

    def page(self, document: bytes) -> dict[str, Any]:
        """Return what the client returns for the document."""
        self.document = document
        with s3_errors(bucket="b", key=None):
            answer: dict[str, Any] = self.client.list_objects_v2(Bucket="b")
        return answer


OURS = Canned(takes_over=True)
BOTOCORES = Canned(takes_over=False)


def listing(inner: str, *, space: str = SPACE) -> bytes:
    """Return a listing's document."""
    return f"{HEAD}<ListBucketResult{space}>{inner}</ListBucketResult>".encode()


def read(document: bytes) -> tuple[list[ListedObject], NextPage | None]:
    """Parse the document."""
    return parse_page(OURS.page(document), "b")


@pytest.mark.parametrize("space", [SPACE, ""])
def test_page_with_and_without_namespace(space: str) -> None:
    """Every value and the token are read."""
    inner = f"<IsTruncated>true</IsTruncated><NextContinuationToken>1+/=</NextContinuationToken>{ITEM.format(key='k')}"
    assert read(listing(inner, space=space)) == ([ListedObject("b", "k", "e-1", 3, NOON, "GLACIER")], NextPage("1+/="))


def test_optional_elements() -> None:
    """A listing may be empty, and an object without a storage class has the standard one."""
    assert read(listing(LAST)) == ([], None)
    plain = ITEM.replace("<StorageClass>GLACIER</StorageClass>", "")
    assert [item.storage_class for item in read(listing(LAST + plain))[0]] == ["STANDARD"]


@example(keys=["%80"])
@given(
    keys=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("%+ 2f"), min_size=1), max_size=5
    )
)
@pytest.mark.parametrize("encoding", ["<EncodingType>url</EncodingType>", ""])
def test_keys_equal_botocores(encoding: str, keys: list[str]) -> None:
    """Encoded or not, for any characters; of bytes that are no UTF-8 botocore keeps only a mark."""
    inner = encoding + LAST + "".join(ITEM.format(key=escape(key)) for key in keys)
    theirs = BOTOCORES.page(listing(inner)).get("Contents", ())
    for ours, item in zip(read(listing(inner))[0], theirs, strict=True):
        assert ours.key == item["Key"] or ("\ufffd" in item["Key"] and "not UTF-8" in ours.problem)


@pytest.mark.parametrize(
    "inner",
    [
        *(
            USUAL.format(key=key)
            for key in ("a&amp;b", "&#13;", "&#1;", "\r", "\x01", "\n", "\uffff", "\U0010fe41", ">")
        ),
        *(USUAL.format(key=key) for key in ("<![CDATA[k]]>", "k<!-- -->", "]]>", "\x7f", "é", "\uf8ff", " k ", "")),
        f"<!--{USUAL}-->",
        f"<Other>{USUAL}</Other>",
        f"{USUAL}<!-- -->{USUAL}",
        f"{USUAL}<CommonPrefixes><Prefix>p</Prefix></CommonPrefixes>{USUAL}",
        f"{USUAL}text{USUAL}",
        f"{USUAL}{USUAL}<Contents>",
        f"{USUAL}<Contents/>",
        f"{USUAL}<Contents />{USUAL}",
        f"<!--{USUAL}--><Contents/>",
        USUAL.replace("<Size>3</Size>", ""),
        USUAL.replace("<Size>", "<Size>3</Size><Size>"),
        USUAL.replace("<Size>3", "<Size>x"),
        USUAL.replace("e-1", "&amp;"),
        USUAL.replace("GLACIER", ""),
        USUAL.replace("<Key>", '<Key xmlns="other">'),
        "<EncodingType>url</EncodingType>" + USUAL.format(key="%41+%2B") + USUAL.format(key="a+b"),
    ],
)
def test_the_regular_expression_reads_what_the_parser_reads(inner: str) -> None:
    """Or it reads nothing, and the parser does."""

    def result(document: Any) -> object:
        try:
            return parse_page({s3_listing._PARSED: document}, "b")
        except UnexpectedResponse as error:
            return str(error)

    body = listing(LAST + inner)
    assert result(s3_listing._document(body)) == result(s3_listing._parsed_document(body))


def test_a_return_in_a_marker_starts_the_next_page_at_that_key() -> None:
    """A parser would read it as a line feed, which is another key; also where the entries are usual ones."""
    inner = "<Marker></Marker><NextMarker>a\rb</NextMarker><IsTruncated>true</IsTruncated>" + USUAL.format(key="a")
    (found,), following = read(listing(inner))
    assert (found.key, following) == ("a", NextPage("a\rb", is_marker=True))


def test_usual_entries_are_read_by_the_regular_expression() -> None:
    """Those that S3 writes: with a checksum or without, whatever the class."""
    algorithm = "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm>"
    entries = (USUAL, USUAL.replace("<ChecksumType>", f"{algorithm}<ChecksumType>"), USUAL.replace("&quot;", '"'))
    inner = LAST + "".join(entry.format(key=key) for entry, key in zip(entries, "abc", strict=True))
    document = s3_listing._document(listing(inner))
    assert document is not None
    assert document.entries is not None
    assert len(document.entries) == len(document.root.findall("{*}Contents")) + 2
    assert read(listing(inner))[0] == [ListedObject("b", key, "e-1", 3, NOON, "GLACIER") for key in "abc"]


def without(name: str) -> Callable[[str], str]:
    """Return a function that removes an element."""
    return lambda text: text.replace(f"<{name}>", "<Other>").replace(f"</{name}>", "</Other>")


@pytest.mark.parametrize(
    "document",
    [
        listing(LAST + without("Key")(ITEM.format(key="k"))),
        listing(LAST + ITEM.format(key="")),
        listing("<IsTruncated>true</IsTruncated><Marker/>"),
        listing(ITEM.format(key="k")),
        listing("<IsTruncated>perhaps</IsTruncated>"),
        listing("<IsTruncated>true</IsTruncated>" + ITEM.format(key="k")),
        listing(LAST)[:-5],
        b"<Error><Code>InternalError</Code></Error>",
        b"<Other/>",
        b"",
    ],
)
def test_other_documents_are_refused(document: bytes) -> None:
    """None of them is taken for the end of a listing."""
    with pytest.raises((TransientError, UnexpectedResponse)):
        read(document)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_document_with_entities_is_refused(encoding: str) -> None:
    """No entity is expanded or fetched."""
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/hostname">]>'
    text = f'<?xml version="1.0" encoding="{encoding}"?>{bomb}<ListBucketResult>{LAST}' + ITEM.format(key="&a;&b;")
    with pytest.raises((TransientError, UnexpectedResponse)):
        read(f"{text}</ListBucketResult>".encode(encoding))


def test_botocore_parses_an_empty_document(monkeypatch: pytest.MonkeyPatch) -> None:
    """So do its handlers that look for an error in the document: parsing takes most of a listing's CPU."""
    parsed: list[bytes] = []
    client = Canned(takes_over=True)
    client.client.meta.events.register_last(
        "before-parse.s3.*", lambda response_dict, **_: parsed.append(response_dict["body"])
    )
    looked = "botocore.handlers._looks_like_special_case_error"
    monkeypatch.setattr(looked, lambda _status, body: parsed.append(body))
    assert parse_page(client.page(listing(LAST + ITEM.format(key="k"))), "b")[0]
    assert parsed == [b"<ListBucketResult/>"] * 2


@given(
    moment=st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - the text names the zone
    fraction=st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]),
    zone=st.sampled_from(["Z", "+00:00", "+05:30", "-08:00"]),
)
def test_times_equal_botocores(moment: datetime, fraction: str, zone: str) -> None:
    """In every format that S3 servers write."""
    text = moment.isoformat(timespec=fraction) + zone
    assert parse_time(text) == parse_timestamp(text)


def test_other_formats_of_time() -> None:
    """Botocore parses the format of HTTP headers; a time without a zone is UTC, as all times of S3 are."""
    assert parse_time("Sun, 01 Mar 2026 12:00:00 GMT") == NOON
    assert parse_time("2026-03-01T12:00:00") == NOON


@pytest.mark.parametrize("text", ["9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00"])
def test_time_that_utc_does_not_have_is_none(text: str) -> None:
    """Only one object has it: no later step fails when it converts the time."""
    with pytest.raises(ValueError, match="beyond the times of UTC"):
        parse_time(text)


ODD_VALUES = [
    *((without(name), name) for name in ("ETag", "Size", "LastModified")),
    *(
        (lambda text, size=size: text.replace(">3<", f">{size}<"), "Size")
        for size in ("-3", "", "3.0", "\u0663", "9" * 30)
    ),
    (lambda text: text.replace(">3<", f">{MAX_OBJECT_BYTES + 1}<"), "Size"),
    *(
        (lambda text, time=time: text.replace("2026-03-01T12:00:00.000Z", time), "LastModified")
        for time in ("", "yesterday", "2026-13-01T12:00:00Z", "9" * 400, "9999-12-31T23:59:59-12:00")
    ),
    *(
        (lambda text, etag=etag: text.replace("&quot;e-1&quot;", etag), "ETag")
        for etag in ("", "&quot;&quot;", "W/&quot;e-1&quot;", "W/e-1", "e 1", "\u00e9", "e" * 300)
    ),
]


@pytest.mark.parametrize(("change", "name"), ODD_VALUES)
def test_object_with_an_odd_value_fails_alone(change: Callable[[str], str], name: str) -> None:
    """Its problem names the value; the object beside it is listed as always."""
    document = listing(LAST + change(ITEM.format(key="odd")) + ITEM.format(key="plain"))
    odd, plain = read(document)[0]
    assert (odd.key, plain) == ("odd", ListedObject("b", "plain", "e-1", 3, NOON, "GLACIER"))
    assert odd.problem.startswith("unexpected_response: the listing shows ")
    assert odd.problem.endswith(f" {name} of this object")


@pytest.mark.parametrize("name", ["WARM-MINIO-1", "Standard", "cold"])
def test_unknown_storage_class_is_kept(name: str) -> None:
    """A storage class only selects objects, so one that AWS does not know is no problem."""
    (found,), _ = read(listing(LAST + ITEM.format(key="k").replace("GLACIER", name)))
    assert (found.storage_class, found.problem) == (name, "")


def test_storage_class_that_is_no_word_is_unknown() -> None:
    """It is not written into any state file."""
    (found,), _ = read(listing(LAST + ITEM.format(key="k").replace("GLACIER", "x" * 65)))
    assert (found.storage_class, found.problem) == ("UNKNOWN", "")


URL = "<EncodingType>url</EncodingType>"


@pytest.mark.parametrize(
    "document",
    [
        listing(URL + LAST + ITEM.format(key="caf%E8") + ITEM.format(key="caf%E9") + ITEM.format(key="caf%C3%A9")),
        listing(LAST + "".join(ITEM.format(key=key) for key in ("1", "2", "3")))
        .replace(b"<Key>1", b"<Key>caf\xe8")
        .replace(b"<Key>2", b"<Key>caf\xe9")
        .replace(b"<Key>3", b"<Key>caf\xc3\xa9"),
    ],
)
def test_keys_that_are_not_utf8_keep_their_bytes(document: bytes) -> None:
    """Two of them never become one name, and neither hides an object beside them."""
    found, _ = read(document)
    assert [item.key for item in found] == ["caf\ufffd%E8", "caf\ufffd%E9", "caf\u00e9"]
    assert [code_of(item.problem) for item in found] == ["name_refused", "name_refused", ""]


@given(names=st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=4, unique=True))
def test_different_names_are_listed_as_different_keys(names: list[bytes]) -> None:
    """Whatever bytes a store accepts as a name."""
    found, _ = read(listing(URL + LAST + "".join(ITEM.format(key=quote(name)) for name in names)))
    assert len({item.key for item in found}) == len(names)
    usable = {item.key.encode() for item in found if not item.problem}
    assert usable == {name for name in names if is_utf8(name)}


def is_utf8(name: bytes) -> bool:
    """Return whether the bytes are valid UTF-8."""
    try:
        name.decode()
    except UnicodeDecodeError:
        return False
    return True


@pytest.mark.parametrize("character", ["\x01", "\x1f", "&#1;", "&#x1F;", "\r", "&#13;", "\n", "\t", "\x7f", "\uffff"])
def test_control_characters_in_a_key_that_is_not_encoded(character: str) -> None:
    """XML allows no such character, and a parser reads a carriage return as a line feed; some stores send both."""
    (found,), _ = read(listing(LAST + ITEM.format(key=f"a{character}b")))
    assert found.key == f"a{unescape(character)}b"


@pytest.mark.parametrize("beside", ["plain", "\x01", "\r"])
def test_key_of_the_private_area_is_read_as_it_is(beside: str) -> None:
    """Whether or not characters of that area stand for others while the document is parsed."""
    found, _ = read(listing(LAST + ITEM.format(key="a\U0010fe01b") + ITEM.format(key=beside)))
    assert [item.key for item in found] == ["a\U0010fe01b", beside]


def unescape(text: str) -> str:
    """Return the character of a reference."""
    return {"&#1;": "\x01", "&#x1F;": "\x1f", "&#13;": "\r"}.get(text, text)


@pytest.mark.parametrize(
    ("keys", "expected"),
    [
        (["a+b", "c%2Bd"], ["a b", "c+d"]),
        (["a+b", "c%20d"], ["a+b", "c d"]),
    ],
)
def test_plus_in_an_encoded_key(keys: list[str], expected: list[str]) -> None:
    """S3 encodes a space as a plus; a store that encodes it as %20 means a plus."""
    found, _ = read(listing(URL + LAST + "".join(ITEM.format(key=key) for key in keys)))
    assert [item.key for item in found] == expected


@pytest.mark.parametrize("is_space", [True, False])
def test_plus_that_the_page_does_not_explain_is_asked_about(*, is_space: bool) -> None:
    """Once for a page."""
    asked: list[bytes] = []

    def answer(key: bytes) -> bool:
        asked.append(key)
        return is_space

    document = listing(URL + LAST + ITEM.format(key="a+b") + ITEM.format(key="a+c"))
    found, _ = parse_page(OURS.page(document), "b", plus_is_space=answer)
    assert [item.key for item in found] == (["a b", "a c"] if is_space else ["a+b", "a+c"])
    assert asked == [b"a+b"]


@pytest.mark.parametrize("size", [1_025, 4_096, 9_000])
def test_key_that_is_too_long_fails_alone(size: int) -> None:
    """The key is shown, cut where the state files end; two long keys never become one."""
    found, _ = read(listing(LAST + "".join(ITEM.format(key="k" * size + end) for end in ("", "1", "2"))))
    assert [code_of(item.problem) for item in found] == ["name_refused"] * 3
    assert len({item.key for item in found}) == 3
    assert max(len(item.key) for item in found) <= 4_096


TRUNCATED = "<IsTruncated>true</IsTruncated>"


@pytest.mark.parametrize(
    ("inner", "marker"),
    [
        ("<Marker/><NextMarker>k2</NextMarker>", "k2"),
        ("<Marker/>" + ITEM.format(key="k1") + ITEM.format(key="k2"), "k2"),
        (URL + "<NextMarker>a+b%2B</NextMarker>", "a b+"),
    ],
)
def test_page_of_version_1_continues_after_its_marker(inner: str, marker: str) -> None:
    """A store that knows only ListObjects ignores list-type=2 and sends no continuation token."""
    assert read(listing(TRUNCATED + inner))[1] == NextPage(marker, is_marker=True)


@pytest.mark.parametrize(
    ("counted", "is_refused"), [("2", True), ("1", False), ("0", False), ("", False), ("x", False)]
)
def test_page_with_fewer_entries_than_it_says_is_refused(counted: str, *, is_refused: bool) -> None:
    """An entry that was lost on the way would be an object that nobody copies."""
    document = listing(LAST + f"<KeyCount>{counted}</KeyCount>" + ITEM.format(key="k"))
    if is_refused:
        with pytest.raises(UnexpectedResponse, match="has 2 entries, and shows 1"):
            read(document)
    else:
        assert len(read(document)[0]) == 1


def test_entry_in_another_namespace_is_not_overlooked() -> None:
    """It is no object of this document, and the count shows that one is missing."""
    strange = ITEM.format(key="a").replace("<Contents>", '<Contents xmlns="urn:x">')
    with pytest.raises(UnexpectedResponse, match="has 2 entries, and shows 1"):
        read(listing(LAST + "<KeyCount>2</KeyCount>" + strange + ITEM.format(key="b")))


def in_prefix(prefix: str, named: str, *keys: str) -> list[str]:
    """Return the keys of a page that names a prefix."""
    inner = LAST + f"<Prefix>{named}</Prefix>" + "".join(ITEM.format(key=key) for key in keys)
    found, _ = parse_page(OURS.page(listing(inner)), "b", prefix=prefix)
    return [item.key for item in found]


@pytest.mark.parametrize(
    ("prefix", "named"), [("p/", "p/"), ("p/", "p%2F"), ("a b/", "a+b/"), ("ü/", "%C3%BC/"), ("", "")]
)
def test_page_of_the_prefix_is_read(prefix: str, named: str) -> None:
    """However the store encodes the prefix."""
    assert in_prefix(prefix, named) == []
    assert in_prefix(prefix, named, f"{prefix}k") == [f"{prefix}k"]


def test_page_that_names_the_prefix_oddly_is_read() -> None:
    """All its objects are below the prefix."""
    assert in_prefix("p/", "/bucket/p/", "p/k") == ["p/k"]


def test_page_of_a_store_that_ignores_prefixes_is_read() -> None:
    """It names none; the caller takes the objects below the prefix."""
    assert in_prefix("p/", "", "a", "p/k") == ["a", "p/k"]


@pytest.mark.parametrize(
    ("prefix", "named", "keys"),
    [("p/", "q/", ()), ("p/", "q/", ("q/k",)), ("", "q/", ("q/k",)), ("p/", "p/", ("p/k", "q"))],
)
def test_page_of_another_prefix_is_refused(prefix: str, named: str, keys: tuple[str, ...]) -> None:
    """It is another request's response, or shows objects in the place of others."""
    with pytest.raises(UnexpectedResponse, match="prefix"):
        in_prefix(prefix, named, *keys)


def test_page_that_is_the_last_and_has_a_next_one_is_followed() -> None:
    """Nothing may be lost; some stores send the token with their last page, which the empty page after it ends."""
    token = "<NextContinuationToken>t</NextContinuationToken>"
    assert read(listing(LAST + token + ITEM.format(key="k")))[1] == NextPage("t")
    assert read(listing(LAST + token))[1] is None


@pytest.mark.parametrize("name", ["ETag", "Size", "LastModified", "StorageClass"])
def test_object_with_two_values_fails_alone(name: str) -> None:
    """Neither is more likely than the other."""
    doubled = ITEM.format(key="a").replace(f"<{name}>", f"<{name}>1</{name}><{name}>")
    first, second = read(listing(LAST + doubled + ITEM.format(key="b")))[0]
    assert first.key == "a"
    assert f"several values as {name}" in first.problem
    assert not second.problem


def test_object_with_two_keys_is_refused() -> None:
    """It cannot be named."""
    with pytest.raises(UnexpectedResponse, match="several keys"):
        read(listing(LAST + ITEM.format(key="a").replace("<Key>", "<Key>b</Key><Key>")))


def test_other_repeated_elements_are_normal() -> None:
    """S3 lists each algorithm of an object's checksums."""
    more = "<ChecksumAlgorithm>CRC32</ChecksumAlgorithm><ChecksumAlgorithm>CRC32C</ChecksumAlgorithm>"
    (found,) = read(listing(LAST + ITEM.format(key="a").replace("<Size>", more + "<Size>")))[0]
    assert not found.problem
