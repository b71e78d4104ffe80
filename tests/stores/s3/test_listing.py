"""Listings as S3 writes them, read without botocore's parser: the same objects, or no listing at all."""

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
    """A client that any request answers with one document, at status 200."""

    def __init__(self, *, taken: bool) -> None:
        """Make the client."""
        self.document = b""
        session = boto3.session.Session("key", "secret", region_name="us-east-1")
        self.client = session.client("s3", config=Config(retries={"total_max_attempts": 1}))
        self.client.meta.events.register("before-send.s3.*", self._answer)
        if taken:
            take_over_parsing(self.client)

    def _answer(self, **_: Any) -> AWSResponse:
        document = self.document

        class Raw:
            def stream(self) -> Iterator[bytes]:
                yield document

        return AWSResponse("https://s3", 200, {"Content-Type": "application/xml"}, Raw())

    def page(self, document: bytes) -> dict[str, Any]:
        """Return the client's answer to the document."""
        self.document = document
        with s3_errors(bucket="b", key=None):
            answer: dict[str, Any] = self.client.list_objects_v2(Bucket="b")
        return answer


OURS = Canned(taken=True)
BOTOCORES = Canned(taken=False)


def listing(inner: str, *, space: str = SPACE) -> bytes:
    """Return a listing's document."""
    return f"{HEAD}<ListBucketResult{space}>{inner}</ListBucketResult>".encode()


def read(document: bytes) -> tuple[list[ListedObject], str | None]:
    """Return what the document says."""
    return parse_page(OURS.page(document), "b")


@pytest.mark.parametrize("space", [SPACE, ""])
def test_a_page(space: str) -> None:
    """Every value arrives, with S3's name space and without one, and so does the token."""
    inner = f"<IsTruncated>true</IsTruncated><NextContinuationToken>1+/=</NextContinuationToken>{ITEM.format(key='k')}"
    assert read(listing(inner, space=space)) == ([ListedObject("b", "k", "e-1", 3, NOON, "GLACIER")], "1+/=")


def test_what_a_listing_may_leave_out() -> None:
    """No object at all; and an object without a storage class is in the standard one."""
    assert read(listing(LAST)) == ([], None)
    plain = ITEM.replace("<StorageClass>GLACIER</StorageClass>", "")
    assert [item.storage_class for item in read(listing(LAST + plain))[0]] == ["STANDARD"]


@given(
    keys=st.lists(
        st.text(st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("%+ 2f"), min_size=1), max_size=5
    )
)
@pytest.mark.parametrize("encoding", ["<EncodingType>url</EncodingType>", ""])
def test_keys_are_botocores(encoding: str, keys: list[str]) -> None:
    """Whatever stands in a document, encoded or not, its keys are those that botocore would have read."""
    inner = encoding + LAST + "".join(ITEM.format(key=escape(key)) for key in keys)
    theirs = BOTOCORES.page(listing(inner))
    assert [item.key for item in read(listing(inner))[0]] == [item["Key"] for item in theirs.get("Contents", ())]


def without(name: str) -> Callable[[str], str]:
    """Return a function that takes an element away."""
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
def test_what_is_no_listing(document: bytes) -> None:
    """It is refused, or asked for again, and never read as a listing of nothing more."""
    with pytest.raises((TransientError, UnexpectedAnswer)):
        read(document)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_a_document_that_declares_entities(encoding: str) -> None:
    """No entity is expanded or fetched: a listing declares none."""
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b SYSTEM "file:///etc/hostname">]>'
    text = f'<?xml version="1.0" encoding="{encoding}"?>{bomb}<ListBucketResult>{LAST}' + ITEM.format(key="&a;&b;")
    with pytest.raises((TransientError, UnexpectedAnswer)):
        read(f"{text}</ListBucketResult>".encode(encoding))


def test_botocore_reads_no_listing_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its own look for an error in the document, and its parser, get an empty one: most of a listing's CPU."""
    parsed: list[bytes] = []
    taken = Canned(taken=True)
    taken.client.meta.events.register_last(
        "before-parse.s3.*", lambda response_dict, **_: parsed.append(response_dict["body"])
    )
    looked = "botocore.handlers._looks_like_special_case_error"
    monkeypatch.setattr(looked, lambda _status, body: parsed.append(body))
    assert parse_page(taken.page(listing(LAST + ITEM.format(key="k"))), "b")[0]
    assert parsed == [b"<ListBucketResult/>"] * 2


@given(
    moment=st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30)),  # noqa: DTZ001 - the text names the zone
    fraction=st.sampled_from(["auto", "seconds", "milliseconds", "microseconds"]),
    zone=st.sampled_from(["Z", "+00:00", "+05:30", "-08:00"]),
)
def test_moments_are_botocores(moment: datetime, fraction: str, zone: str) -> None:
    """The same in every form of a date and time that S3 servers write."""
    text = moment.isoformat(timespec=fraction) + zone
    assert parse_time(text) == parse_timestamp(text)


def test_other_moments() -> None:
    """A header's form is botocore's to read; a time without a zone is Greenwich's, as all of S3's are."""
    assert parse_time("Sun, 01 Mar 2026 12:00:00 GMT") == NOON
    assert parse_time("2026-03-01T12:00:00") == NOON
