"""Responses without a length, with a wrong one, or changed on their way: the right bytes, or an error that names it."""

import gzip
from collections.abc import Callable
from dataclasses import replace

import pytest

from s3_to_azure.model.errors import UnexpectedResponse
from s3_to_azure.model.metadata import metadata_from_azure
from s3_to_azure.transfer.object import copy_object
from s3_to_azure.transfer.verify import verify_object
from tests.fakes.contexts import some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.odd_s3 import BUCKET, Call, OddS3, Reply, served, xml
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import Night

# An ETag that is no MD5, as that of an object with a KMS key: only the size and the bytes count.
ETAG = '"5f0c1f2e3d4c5b6a7988776655443322-2"'
SIZES = [0, 1, 5_000, 3 * 1024**2]

Change = Callable[[Call, Reply], Reply]


def only(name: str, change: Callable[[Reply], Reply]) -> Change:
    """Return a change of one kind of response."""
    return lambda call, reply: change(reply) if call.name == name else reply


def copied(s3: OddS3, key: str = "k") -> bytes:
    """Copy one object that no listing shows; return the blob."""
    destination = MemoryDestination()
    with served(s3) as source, transfer_context(source, destination) as context:
        receipt = copy_object(context, task(key))
    blob = destination.read(key, 0, receipt.size_bytes)
    assert len(blob) == receipt.size_bytes
    return blob


NO_LENGTH = only("head", lambda reply: reply.without("content-length"))
CHUNKED_HEAD = only("head", lambda reply: reply.without("content-length").with_headers(Transfer_Encoding="chunked"))
LENGTH_0 = only("head", lambda reply: reply.with_headers(Content_Length="0"))


@pytest.mark.parametrize("change", [NO_LENGTH, CHUNKED_HEAD, LENGTH_0], ids=["absent", "chunked", "zero"])
@pytest.mark.parametrize("size", SIZES)
def test_head_without_the_length_takes_it_from_a_range(size: int, change: Change) -> None:
    """Absent is not zero: an empty blob replaced yesterday's good one."""
    data = some_bytes(size)
    assert copied(OddS3({b"k": data}, {b"k": ETAG}, change)) == data


def test_head_and_range_without_the_size_name_the_header() -> None:
    """There is no further place that shows the size."""

    def no_size(call: Call, reply: Reply) -> Reply:
        return reply.without("content-length", "content-range") if call.name in ("head", "get") else reply

    with pytest.raises(UnexpectedResponse, match="the response has no Content-Length"):
        copied(OddS3({b"k": b"data"}, {b"k": ETAG}, no_size))


@pytest.mark.parametrize("name", ["ETag", "Last-Modified"])
def test_head_without_a_header_that_is_needed_names_it(name: str) -> None:
    """Neither has a default."""
    change = only("head", lambda reply: reply.without(name.lower()))
    with pytest.raises(UnexpectedResponse, match=f"has no {name}"):
        copied(OddS3({b"k": b"data"}, {b"k": ETAG}, change))


@pytest.mark.parametrize("name", ["Content-Length", "ETag", "Last-Modified"])
@pytest.mark.parametrize("value", ["", "x", "-1", "\u00e9"])
def test_head_with_an_odd_value_names_its_header(name: str, value: str) -> None:
    """The library that parses responses fails at them with errors of its own."""
    if name == "ETag" and value in ("x", "-1"):
        value = f'W/"{value}"'
    change = only("head", lambda reply: reply.with_headers(**{name.replace("-", "_"): value}))
    with pytest.raises(UnexpectedResponse, match=name):
        copied(OddS3({b"k": b"data"}, {b"k": ETAG}, change))


@pytest.mark.parametrize("change", [NO_LENGTH, LENGTH_0], ids=["absent", "zero"])
def test_listed_object_is_copied_with_its_size_and_verified(change: Change) -> None:
    """The listing and HEAD agree in the end."""
    data = some_bytes(9 * 1024**2)
    destination = MemoryDestination()
    with served(OddS3({b"k": data}, {b"k": ETAG}, change)) as source:
        report = Night(source, destination, MemoryState(), "bucket").report_of_run()
        with transfer_context(source, destination) as context:
            assert verify_object(context, task()).status == "equal"
    assert report.total("copied").size_bytes == len(data)
    assert destination.read("k", 0, len(data)) == data


def test_size_that_differs_from_the_listing_fails_the_object() -> None:
    """One of the two is wrong, and no bytes can show which."""
    change = only("head", lambda reply: reply.with_headers(Content_Length="9000000"))
    destination = MemoryDestination()
    with served(OddS3({b"k": bytes(9 * 1024**2)}, {b"k": ETAG}, change)) as source:
        report = Night(source, destination, MemoryState(), "bucket").report_of_run()
    assert report.total("failed").objects == 1
    assert destination.head("k") is None


CHUNKED_GET = only("get", lambda reply: reply.without("content-length").with_headers(Transfer_Encoding="chunked"))
UNTIL_CLOSED = only("get", lambda reply: reply.without("content-length"))


@pytest.mark.parametrize("change", [CHUNKED_GET, UNTIL_CLOSED], ids=["chunked", "until closed"])
@pytest.mark.parametrize("size", SIZES)
def test_get_without_a_length_is_read_and_counted(size: int, change: Change) -> None:
    """Gateways that compute while they send know no length."""
    data = some_bytes(size)
    assert copied(OddS3({b"k": data}, {b"k": ETAG}, change)) == data


@pytest.mark.parametrize("framing", [CHUNKED_GET, UNTIL_CLOSED], ids=["chunked", "until closed"])
@pytest.mark.parametrize("size", SIZES[1:])
def test_get_without_a_length_and_with_more_bytes_is_refused(size: int, framing: Change) -> None:
    """The surplus is not cut off in silence."""
    longer = only("get", lambda reply: replace(reply, body=reply.body + b"x"))
    with pytest.raises(UnexpectedResponse, match="more bytes than were requested"):
        copied(OddS3({b"k": some_bytes(size)}, {b"k": ETAG}, lambda call, reply: framing(call, longer(call, reply))))


@pytest.mark.parametrize("data", [bytes(5_000), some_bytes(3 * 1024**2)], ids=["shrinks", "in blocks"])
def test_compressed_response_is_refused_in_words(data: bytes) -> None:
    """A gateway compresses although identity was asked for; such a copy would be the compressed bytes."""

    def compress(reply: Reply) -> Reply:
        packed = replace(reply.without("content-length"), body=gzip.compress(reply.body))
        return packed.with_headers(Content_Encoding="gzip", Transfer_Encoding="chunked")

    with pytest.raises(UnexpectedResponse, match="a gateway compresses or decompresses responses"):
        copied(OddS3({b"k": data}, {b"k": ETAG}, only("get", compress)))


TITLE = "Größe 日本 Å…"


@pytest.mark.parametrize("size", SIZES)
def test_metadata_beyond_ascii_arrives_and_what_is_missing_is_told(size: int) -> None:
    """Raw UTF-8 in a header is not read as Latin-1, and the receipt says what S3 could not send."""

    def odd(call: Call, reply: Reply) -> Reply:
        return reply.with_headers(x_amz_meta_title=TITLE, x_amz_missing_meta="2") if call.key else reply

    destination = MemoryDestination()
    with (
        served(OddS3({b"k": some_bytes(size)}, {b"k": ETAG}, odd)) as source,
        transfer_context(source, destination) as context,
    ):
        receipt = copy_object(context, task("k"))
    blob = destination.head("k")
    assert blob is not None
    assert metadata_from_azure(blob.metadata)["title"] == TITLE
    assert receipt.reason == "metadata_incomplete: S3 holds 2 entries of its metadata that no header can carry"


def test_decompressed_response_is_refused_in_words() -> None:
    """A gateway decompresses what HEAD shows as stored with gzip."""
    data = some_bytes(5_000)

    def decompress(call: Call, reply: Reply) -> Reply:
        if call.name == "head":
            return reply.with_headers(Content_Encoding="gzip")
        return replace(reply.without("content-length"), body=data).with_headers(Transfer_Encoding="chunked")

    with pytest.raises(UnexpectedResponse, match="a gateway decompresses responses"):
        copied(OddS3({b"k": gzip.compress(data)}, {b"k": ETAG}, decompress))


@pytest.mark.parametrize("document", ["<Tagging/>", "<Tagging><Other/></Tagging>"])
def test_tags_that_are_not_said_are_not_taken_for_none(document: str) -> None:
    """A response without the set of tags says nothing about them."""

    def odd(call: Call, reply: Reply) -> Reply:
        return xml(200, document) if call.name == "tags" else reply

    with served(OddS3({b"k": b"data"}, change=odd)) as source, pytest.raises(UnexpectedResponse):
        source.tags(BUCKET, "k")
    with served(OddS3({b"k": b"data"})) as source:
        assert source.tags(BUCKET, "k") == {}


def test_object_that_is_stored_compressed_is_copied_as_it_is() -> None:
    """Its Content-Encoding is its own."""
    data = gzip.compress(some_bytes(5_000))

    def stored(call: Call, reply: Reply) -> Reply:
        return reply.with_headers(Content_Encoding="gzip") if call.name in ("head", "get") else reply

    assert copied(OddS3({b"k": data}, {b"k": ETAG}, stored)) == data
