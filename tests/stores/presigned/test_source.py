"""Objects by their URLs: against a store that checks presigned signatures, and against answers that no store gives."""

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from botocore.config import Config
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud.servers import LocalS3
from s3_to_azure.model.errors import (
    ObjectArchived,
    ObjectNotFound,
    SourceChanged,
    Throttled,
    TransferError,
    UnexpectedResponse,
    UrlRefused,
    UsageError,
)
from s3_to_azure.model.limits import MAX_SOURCE_URL_CHARACTERS
from s3_to_azure.model.objects import FetchAccess, FetchUrl, ObjectVersion
from s3_to_azure.stores.http.settings import HttpSettings
from s3_to_azure.stores.presigned.source import PresignedSource
from s3_to_azure.stores.presigned.url import PresignedUrl, parse_url
from tests.fakes.memory_source import EPOCH
from tests.fakes.presigned_urls import expired_url
from tests.fakes.scripted_server import CLOSE, Script, ScriptedServer, scripted_server
from tests.real_stores import s3_client_of

DATA: Final = bytes(range(256)) * 40
CHANGES: Final = st.fixed_dictionaries(
    {},
    optional={
        "ETag": st.sampled_from((None, b'"e2"', b'W/"e1"', b"", b'"', b"e1, e2")),
        "Last_Modified": st.sampled_from((None, b"yesterday", b"2026-01-31T06:00:00Z")),
        "Content_Length": st.sampled_from((None, b"1", b"99", b"-1", b"ten")),
        "Content_Range": st.sampled_from((b"bytes 0-0/10", b"bytes 0-0/*", b"bytes */0", b"bytes 0-9/10", b"none")),
        "Content_Type": st.sampled_from((None, b"text/html", b"application/xml")),
        "x_amz_checksum_crc64nvme": st.sampled_from((b"AAAAAAAAAAA=", b"!")),
        "Content_Encoding": st.sampled_from((b"gzip",)),
    },
)
USUAL: Final = {b"ETag": b'"e1"', b"Last-Modified": b"Sat, 31 Jan 2026 06:00:00 GMT", b"Content-Type": b"text/plain"}


def presigned(s3_client: Any, bucket: str, key: str, **more: str) -> PresignedUrl:
    """Return a URL that boto3 has presigned."""
    request = {"Bucket": bucket, "Key": key, **more}
    return parse_url(s3_client.generate_presigned_url("get_object", Params=request, ExpiresIn=60), name="SRC")


@contextmanager
def source_of(*urls: PresignedUrl, at: datetime | None = None) -> Iterator[PresignedSource]:
    """Open a source."""
    with closing(PresignedSource(urls, HttpSettings(), clock=lambda: at or datetime.now(UTC))) as source:
        yield source


def read(source: PresignedSource, version: ObjectVersion, *span: int) -> bytes:
    """Read a body to its end."""
    found = bytearray()
    with source.open(version, *span) as body, memoryview(bytearray(4096)) as view:
        while count := body.readinto(view):
            found += view[:count]
    return bytes(found)


# -- a store that checks signatures --------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["k", "a b/c+d", "ü/日本", "a%20b", "a?b=c&d", "a#b", "x~!$'()*,;=:@"])
def test_an_object_is_read_whole_and_in_ranges(s3_client: Any, bucket: str, key: str) -> None:
    """Its version is that of the store, with the date; keys of any characters arrive as they were signed."""
    s3_client.put_object(Bucket=bucket, Key=key, Body=DATA, Metadata={"a": "b"}, ContentType="text/csv")
    shown = s3_client.head_object(Bucket=bucket, Key=key)
    with source_of(presigned(s3_client, bucket, key)) as source:
        version = source.head(bucket, key)
        assert (version.key, version.etag, version.size_bytes) == (key, shown["ETag"].strip('"'), len(DATA))
        assert version.last_modified == shown["LastModified"]
        assert (version.metadata, version.headers.content_type) == ({"a": "b"}, "text/csv")
        assert read(source, version) == DATA
        assert read(source, version, 100, 300) == DATA[100:300]
        assert source.current_etag(bucket, key) == version.etag


def test_the_checksum_comes_where_the_url_signs_for_it(s3_client: Any, bucket: str) -> None:
    """S3 refuses the unsigned header; the copy goes on without it, and the ETag's MD5 is left."""
    s3_client.put_object(Bucket=bucket, Key="k", Body=DATA, ChecksumAlgorithm="CRC64NVME")
    with source_of(presigned(s3_client, bucket, "k", ChecksumMode="ENABLED")) as source:
        found = source.head(bucket, "k")
        assert found.checksum is not None
        assert found.checksum.algorithm == "crc64nvme"
        assert read(source, found, 0, 10) == DATA[:10]
    with source_of(presigned(s3_client, bucket, "k")) as source:
        found = source.head(bucket, "k")
        assert found.checksum is None
        assert [item.algorithm for item in found.weaker] == ["md5"]
        assert read(source, found) == DATA


def test_a_signature_of_version_2_is_read(s3_server: LocalS3, s3_client: Any, bucket: str) -> None:
    """It is what boto3 makes by default in us-east-1."""
    s3_client.put_object(Bucket=bucket, Key="k", Body=DATA)
    client = s3_client_of(s3_server, config=Config(signature_version="s3", s3={"addressing_style": "path"}))
    with closing(client), source_of(presigned(client, bucket, "k")) as source:
        assert read(source, source.head(bucket, "k")) == DATA


def test_an_empty_object_is_known_to_be_empty(s3_client: Any, bucket: str) -> None:
    """It has no first byte, so that S3 refuses the range."""
    s3_client.put_object(Bucket=bucket, Key="k", Body=b"")
    with source_of(presigned(s3_client, bucket, "k")) as source:
        assert source.head(bucket, "k").size_bytes == 0


def test_a_named_version_is_read(s3_client: Any, bucket: str) -> None:
    """What is current beside it cannot be asked by such a URL."""
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    first = s3_client.put_object(Bucket=bucket, Key="k", Body=b"first")["VersionId"]
    s3_client.put_object(Bucket=bucket, Key="k", Body=b"second")
    with source_of(presigned(s3_client, bucket, "k", VersionId=first)) as source:
        assert source.reads_named_version
        assert read(source, source.head(bucket, "k")) == b"first"
        assert source.current_etag(bucket, "k") is None
    with source_of(presigned(s3_client, bucket, "k")) as source:
        assert not source.reads_named_version


def test_an_overwritten_object_is_another_version(s3_client: Any, bucket: str) -> None:
    """Every range is pinned by the ETag."""
    s3_client.put_object(Bucket=bucket, Key="k", Body=DATA)
    with source_of(presigned(s3_client, bucket, "k")) as source:
        version = source.head(bucket, "k")
        s3_client.put_object(Bucket=bucket, Key="k", Body=DATA[::-1])
        with pytest.raises(SourceChanged):
            read(source, version, 0, 10)


def test_refusals_of_the_store_have_their_own_sentences(s3_server: LocalS3, s3_client: Any, bucket: str) -> None:
    """Of a URL for PUT, a changed one, an expired one, and one of an object that does not exist."""
    s3_client.put_object(Bucket=bucket, Key="k", Body=DATA)
    put = s3_client.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "k"}, ExpiresIn=60)
    changed = presigned(s3_client, bucket, "k").url.replace("X-Amz-Expires=60", "X-Amz-Expires=600")
    expired = expired_url(s3_server, bucket, "k")
    early = datetime(2000, 1, 1, tzinfo=UTC)
    for url, says in (
        (parse_url(put, name="SRC"), "another method than GET"),
        (parse_url(changed, name="SRC"), "changed or cut off"),
        (parse_url(expired, name="SRC"), "The URL has expired"),
    ):
        with source_of(url, at=early) as source, pytest.raises(UrlRefused, match=says):
            source.head(bucket, "k")
    with source_of(presigned(s3_client, bucket, "none")) as source, pytest.raises(ObjectNotFound):
        source.head(bucket, "none")


# -- answers that no store gives -----------------------------------------------------------------------------------


def answer(status: int, body: bytes = b"", **changes: bytes | None) -> bytes:
    """Return a response; the keywords change its usual headers, and None takes one away."""
    named = {name.replace("_", "-").encode(): value for name, value in changes.items()}
    headers = {b"Content-Length": str(len(body)).encode(), **USUAL, **named}
    lines = [b"%s: %s" % pair for pair in headers.items() if pair[1] is not None]
    return b"\r\n".join([b"HTTP/1.1 %d Said" % status, *lines, b"", body])


def first_byte(**changes: bytes | None) -> bytes:
    """Return the response to a GET of the first byte of ten."""
    return answer(206, b"0", **{"Content_Range": b"bytes 0-0/10", **changes})


def always(*responses: bytes) -> Script:
    """Return a script that gives each response once, and then the last one."""
    return lambda number: [responses[min(number, len(responses) - 1)]]


@contextmanager
def forged(script: Script, query: str = "") -> Iterator[tuple[PresignedSource, PresignedUrl, ScriptedServer]]:
    """Run a server, and open the URL of its object ``k`` in bucket ``bucket``."""
    with scripted_server(script) as server:
        url = parse_url(f"{server.url}/bucket/k{query}", name="SRC")
        with source_of(url) as source:
            yield source, url, server


@pytest.mark.parametrize(
    ("status", "code", "rest", "kind"),
    [
        (403, "InvalidObjectState", "<Key>\x01</Key>", ObjectArchived),
        (400, "SlowDown", "<Key>\x01</Key>", Throttled),
        (403, "SignatureDoesNotMatch", f"<StringToSign>{'a' * 70_000}</StringToSign>", UrlRefused),
    ],
)
def test_a_refusal_that_cannot_be_parsed_is_read_by_its_code(
    status: int, code: str, rest: str, kind: type[TransferError]
) -> None:
    """As for S3's own client: a document that is long, or has a key with bytes that XML does not allow."""
    body = f"<Error><Code>{code}</Code>{rest}</Error>".encode()
    with forged(always(answer(status, body))) as (source, url, _), pytest.raises(kind):
        source.head(url.bucket, url.key)


def test_an_object_that_is_gone_has_no_current_etag() -> None:
    """As the port says."""
    with forged(always(answer(404, b"<Error><Code>NoSuchKey</Code></Error>"))) as (source, url, _):
        assert source.current_etag(url.bucket, url.key) is None


@pytest.mark.parametrize(
    ("responses", "kind", "says"),
    [
        ([first_byte(ETag=None)], UnexpectedResponse, "no strong ETag"),
        ([first_byte(ETag=b'W/"e1"')], UnexpectedResponse, "no strong ETag"),
        ([first_byte(Content_Range=None)], UnexpectedResponse, "Content-Range"),
        ([first_byte(Content_Range=b"bytes 0-0/*")], UnexpectedResponse, "Content-Range"),
        ([first_byte(Content_Range=b"bytes 1-1/10")], UnexpectedResponse, "Content-Range"),
        ([first_byte(Last_Modified=None)], UnexpectedResponse, "no Last-Modified"),
        ([answer(200, b"<html>", Content_Type=b"text/html; charset=utf-8")], UnexpectedResponse, "a page (text/html)"),
        ([answer(200, b"<html>", ETag=None, Content_Type=b"text/html")], UnexpectedResponse, "a page (text/html)"),
        ([answer(200, b"0" * 10, ETag=None)], UnexpectedResponse, "no strong ETag"),
        ([answer(416)], UnexpectedResponse, "Content-Range"),
        ([answer(302, Location=b"https://elsewhere/?sig=x")], UnexpectedResponse, "a redirect"),
        ([answer(204)], UnexpectedResponse, "status 204"),
        ([first_byte(), answer(200, b"0" * 10, ETag=b'"e2"')], SourceChanged, "changed"),
        ([first_byte(), answer(200, b"0" * 11)], SourceChanged, "changed"),
        ([first_byte(), answer(206, b"0" * 10)], UnexpectedResponse, "status 206 to a request for the whole object"),
    ],
)
def test_an_answer_that_is_no_objects_is_refused(responses: list[bytes], kind: type[TransferError], says: str) -> None:
    """Nothing is assumed of what an answer does not say."""
    with forged(always(*responses)) as (source, url, _), pytest.raises(kind) as raised:
        source.head(url.bucket, url.key)
    assert says in str(raised.value)


def test_no_length_is_refused_where_nothing_else_tells_the_size() -> None:
    """A server that ignores ranges must say how much it sends."""
    response = answer(200, Content_Length=None, Transfer_Encoding=b"chunked") + b"a\r\n0123456789\r\n0\r\n\r\n"
    with forged(always(response)) as (source, url, _), pytest.raises(UnexpectedResponse, match="no Content-Length"):
        source.head(url.bucket, url.key)


def test_the_range_tells_the_size_where_the_whole_has_no_length() -> None:
    """As where a proxy compresses or chunks what it forwards."""
    whole = answer(200, Content_Length=None, Transfer_Encoding=b"chunked") + b"a\r\n0123456789\r\n0\r\n\r\n"
    with forged(always(first_byte(), whole)) as (source, url, _):
        assert source.head(url.bucket, url.key).size_bytes == 10


def test_a_range_with_status_200_is_a_range() -> None:
    """As rclone's server sends it: the length is the range's, and Content-Range has the object's size."""
    ranged = answer(200, b"0", Content_Range=b"bytes 0-0/10")
    with forged(always(ranged, answer(200, b"0123456789"))) as (source, url, _):
        version = source.head(url.bucket, url.key)
        assert version.size_bytes == 10
        assert read(source, version) == b"0123456789"


def test_a_page_of_a_store_is_an_object() -> None:
    """HTML is copied like anything else where the answer is a store's."""
    page = answer(200, b"<html>", Content_Type=b"text/html", x_amz_request_id=b"1")
    with forged(always(page)) as (source, url, _):
        assert source.head(url.bucket, url.key).headers.content_type == "text/html"


def test_a_server_without_ranges_serves_objects_of_one_block() -> None:
    """The whole object is read by one GET; a part of it is refused, and the sentence says why."""
    with forged(always(answer(200, b"0123456789"))) as (source, url, _):
        version = source.head(url.bucket, url.key)
        assert read(source, version) == b"0123456789"
        with pytest.raises(UnexpectedResponse, match="it ignores ranges"):
            read(source, version, 0, 5)


def test_expiry_by_its_own_date_sends_no_request() -> None:
    """The sentence comes at once."""
    query = (
        "?X-Amz-Algorithm=a&X-Amz-Credential=c&X-Amz-Date=20200101T000000Z&X-Amz-Expires=60&X-Amz-SignedHeaders=host"
        "&X-Amz-Signature=0123456789abcdef"
    )
    with forged(always(first_byte()), query) as (source, url, server):
        with pytest.raises(UrlRefused, match="valid until 2020-01-01 00:01:00 UTC"):
            source.head(url.bucket, url.key)
        assert not server.requests


def test_the_url_is_sent_as_it_is_and_no_header_is_added() -> None:
    """A presigned URL is valid for exactly these bytes; If-Match and Range need no signature."""
    query = "?b=%7e&a=1+2&c"
    with forged(always(first_byte(), answer(200, b"0" * 10), first_byte()), query) as (source, url, server):
        version = source.head(url.bucket, url.key)
        read(source, version, 0, 1)
        heads = [head.decode().split("\r\n") for head in server.requests]
    assert {head[0] for head in heads} == {"GET /bucket/k?b=%7e&a=1+2&c HTTP/1.1"}
    sent = [{line.partition(": ")[0] for line in head[1:]} for head in heads]
    assert sent == [
        {"Host", "Accept-Encoding", "Range"},
        {"Host", "Accept-Encoding", "If-Match", "x-amz-checksum-mode"},
        {"Host", "Accept-Encoding", "If-Match", "Range"},
    ]


def test_a_host_that_refuses_checksums_is_asked_once() -> None:
    """Later objects of the same host cost no refused request."""
    refused = answer(403, b"<Error><Code>AccessDenied</Code></Error>")

    def script(number: int) -> list[bytes]:
        return [[first_byte(), refused, answer(200, b"0" * 10), first_byte()][min(number, 3)]]

    with forged(script) as (source, url, server):
        source.head(url.bucket, url.key)
        source.head(url.bucket, url.key)
        asked = [b"checksum-mode" in head for head in server.requests]
    assert asked == [False, True, False, False]


def test_a_url_offers_itself_to_azure() -> None:
    """As it is, unless it signs a header that Azure does not send, or is longer than Azure takes."""
    address, version = "https://bucket.s3.amazonaws.com/k", ObjectVersion("bucket", "k", "e1", 10, EPOCH)
    with source_of(PresignedUrl("bucket", "k", f"{address}?s")) as source:
        assert source.fetch_url(version) == FetchUrl(f"{address}?s")
        assert source.fetch_access("bucket") == FetchAccess("https://bucket.s3.amazonaws.com", 1)
    for url in (
        PresignedUrl("bucket", "k", address, headers={"x-amz-checksum-mode": "ENABLED"}),
        PresignedUrl("bucket", "k", f"{address}?{'s' * MAX_SOURCE_URL_CHARACTERS}"),
    ):
        with source_of(url) as source:
            assert source.fetch_url(version) is None
            access = source.fetch_access("bucket")
            assert access.can_presign is not bool(url.headers)
            assert access.query_characters == len(url.url.partition("?")[2])


@pytest.mark.parametrize(
    "call",
    [
        lambda source: source.tags("bucket", "k"),
        lambda source: source.restore("bucket", "k", days=1, tier="Bulk"),
        lambda source: source.list("bucket", ""),
    ],
)
def test_what_no_url_can_do_is_refused(call: Callable[[PresignedSource], object]) -> None:
    """With a sentence, and without a request."""
    with source_of(PresignedUrl("bucket", "k", "https://bucket.s3.amazonaws.com/k?secret")) as source:
        with pytest.raises(UsageError) as raised:
            call(source)
        assert "secret" not in str(raised.value)
        assert source.part_sizes(ObjectVersion("bucket", "k", "e1", 10, EPOCH)) is None


def test_proxies_and_trust_are_those_of_the_environment() -> None:
    """As for S3 itself: NO_PROXY counts, and a CA bundle that is named."""
    url = PresignedUrl("bucket", "k", "http://127.0.0.1:1/bucket/k")
    environment = {"HTTP_PROXY": "http://127.0.0.1:9", "NO_PROXY": "direct.example"}
    with closing(PresignedSource.with_environment([url], environment, verify=False)) as source:
        settings = source._http.settings
        assert settings.proxies.for_url("http://other.example/k") == "http://127.0.0.1:9"
        assert settings.proxies.for_url("http://direct.example/k") is None
        assert settings.verify is False
    bundle = {"AWS_CA_BUNDLE": "/nowhere/bundle.pem"}
    secure = PresignedUrl("bucket", "k", "https://bucket.s3.amazonaws.com/k")
    with pytest.raises(UsageError, match="bundle"):
        PresignedSource.with_environment([secure], bundle)


@given(
    first=st.tuples(st.sampled_from((200, 206, 204, 301, 400, 403, 404, 412, 416, 500, 503)), CHANGES),
    then=st.tuples(st.sampled_from((200, 206, 403, 412, 416, 500)), CHANGES),
    body=st.sampled_from(
        (b"", b"0", b"0123456789", b"<Error><Code>AccessDenied</Code></Error>", b"<Error", b"\xff" * 20)
    ),
)
@settings(max_examples=60)
def test_whatever_is_answered_ends_in_a_version_or_an_error_of_ours(
    first: tuple[int, dict[str, bytes | None]], then: tuple[int, dict[str, bytes | None]], body: bytes
) -> None:
    """No answer raises anything else, and what is read has the size that was said."""
    responses = [answer(status, body, **changes) for status, changes in (first, then)]
    with forged(lambda number: [responses[number > 0], CLOSE]) as (source, url, _), suppress(TransferError):
        version = source.head(url.bucket, url.key)
        assert len(read(source, version)) == version.size_bytes
