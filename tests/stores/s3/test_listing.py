"""Listings parsed without botocore: the same objects, and an error for every other document."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

import boto3
import pytest
from botocore.awsrequest import AWSResponse
from botocore.config import Config
from botocore.utils import parse_timestamp
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import TransientError, UnexpectedAnswer
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.stores.s3.listing import parse_page, parse_time, take_over_parsing
from s3_to_azure.stores.s3.responses import s3_errors

HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
SPACE = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
LAST = "<IsTruncated>false</IsTruncated>"
ITEM = (
    "<Contents><Key>{key}</Key><LastModified>2026-03-01T12:00:00.000Z</LastModified><ETag>&quot;e-1&quot;</ETag>"
    "<ChecksumType>FULL_OBJECT</ChecksumType><Size>3</Size><Owner><ID>o</ID></Owner>"
    "<StorageClass>GLACIER</StorageClass></Contents>"
)
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


def read(document: bytes) -> tuple[list[ListedObject], str | None]:
    """Parse the document."""
    return parse_page(OURS.page(document), "b")


@pytest.mark.parametrize("space", [SPACE, ""])
def test_page_with_and_without_namespace(space: str) -> None:
    """Every value and the token are read."""
    inner = f"<IsTruncated>true</IsTruncated><NextContinuationToken>1+/=</NextContinuationToken>{ITEM.format(key='k')}"
    assert read(listing(inner, space=space)) == ([ListedObject("b", "k", "e-1", 3, NOON, "GLACIER")], "1+/=")


def test_optional_elements() -> None:
    """A listing may be empty, and an object without a storage class has the standard one."""
    assert read(listing(LAST)) == ([], None)
    plain = ITEM.replace("<StorageClass>GLACIER</StorageClass>", "")
    assert [item.storage_class for item in read(listing(LAST + plain))[0]] == ["STANDARD"]


@given(
    keys=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("%+ 2f"), min_size=1), max_size=5
    )
)
@pytest.mark.parametrize("encoding", ["<EncodingType>url</EncodingType>", ""])
def test_keys_equal_botocores(encoding: str, keys: list[str]) -> None:
    """Encoded or not, for any characters."""
    inner = encoding + LAST + "".join(ITEM.format(key=escape(key)) for key in keys)
    theirs = BOTOCORES.page(listing(inner))
    assert [item.key for item in read(listing(inner))[0]] == [item["Key"] for item in theirs.get("Contents", ())]


def without(name: str) -> Callable[[str], str]:
    """Return a function that removes an element."""
    return lambda text: text.replace(f"<{name}>", "<Other>").replace(f"</{name}>", "</Other>")


@pytest.mark.parametrize(
    "document",
    [
        *(listing(LAST + without(name)(ITEM.format(key="k"))) for name in ("Key", "ETag", "Size", "LastModified")),
        listing(LAST + ITEM.format(key="")),
        listing(LAST + ITEM.format(key="k").replace(">3<", ">-3<")),
        listing(LAST + ITEM.format(key="k").replace(">2026-", ">yesterday-")),
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
    with pytest.raises((TransientError, UnexpectedAnswer)):
        read(document)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_document_with_entities_is_refused(encoding: str) -> None:
    """No entity is expanded or fetched."""
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/hostname">]>'
    text = f'<?xml version="1.0" encoding="{encoding}"?>{bomb}<ListBucketResult>{LAST}' + ITEM.format(key="&a;&b;")
    with pytest.raises((TransientError, UnexpectedAnswer)):
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
