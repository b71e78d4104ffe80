"""The S3 source: signatures, addresses, regions, and responses that are not what was requested."""

import threading
from collections.abc import Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.credentials import Credentials

from local_cloud.servers import LocalS3, rclone_s3
from s3_to_azure.model.errors import (
    AccessError,
    ConnectionFailed,
    CredentialsRefused,
    NameRefused,
    ObjectArchived,
    ServerFailed,
    SourceChanged,
    Throttled,
    TransientError,
    UnexpectedResponse,
)
from s3_to_azure.model.objects import ListedObject, ObjectVersion
from s3_to_azure.stores.s3.options import ReadOptions, botocore_config
from s3_to_azure.stores.s3.signing import SigV4
from s3_to_azure.stores.s3.source import S3Source
from tests.fakes.memory_source import EPOCH
from tests.real_stores import s3_client_of, s3_source


@pytest.fixture
def signed_bucket(rclone_server: LocalS3) -> Iterator[tuple[LocalS3, str]]:
    """Return a bucket with one object ``k`` on the server that checks header signatures."""
    client = s3_client_of(rclone_server)
    name = f"bucket-{uuid4().hex}"
    client.create_bucket(Bucket=name)
    client.put_object(Bucket=name, Key="k", Body=b"0123456789")
    yield rclone_server, name
    client.close()


def listed(source: S3Source, bucket: str, key: str) -> ListedObject:
    """Return one object as it is listed."""
    return next(item for item in source.list(bucket, key) if item.key == key)


def read(source: S3Source, version: ObjectVersion | ListedObject, *span: int) -> bytes:
    """Read a body to its end."""
    with source.open(version, *span) as body:
        buffer = bytearray(version.size_bytes + 1)
        return bytes(buffer[: body.readinto(memoryview(buffer))])


def test_right_signature(signed_bucket: tuple[LocalS3, str]) -> None:
    """Header signatures are accepted by a server that checks them, whole and in ranges."""
    server, bucket = signed_bucket
    source = s3_source(server)
    item = listed(source, bucket, "k")
    assert read(source, item, 2, 5) == b"234"
    assert read(source, item) == b"0123456789"
    source.close()


@pytest.mark.parametrize("key", ["a b", "a+b", "a%20b", "a?b=c&d", "a#b", "ü/日本", "a~b!$'()*", "=@:;,", "x" * 200])
def test_hostile_keys_are_signed_as_they_are_sent(signed_bucket: tuple[LocalS3, str], key: str) -> None:
    """For any key, the signed path is the path that is sent."""
    server, bucket = signed_bucket
    source = s3_source(server)
    source._client.put_object(Bucket=bucket, Key=key, Body=b"hostile")
    assert read(source, listed(source, bucket, key), 1, 4) == b"ost"
    source.close()


@pytest.mark.parametrize("wrong", ["secret", "key id"])
def test_wrong_credentials(signed_bucket: tuple[LocalS3, str], wrong: str) -> None:
    """A wrong secret and an unknown key id are permanent errors that name the bucket and quote no secret."""
    server, bucket = signed_bucket
    good = s3_source(server)
    item = listed(good, bucket, "k")
    if wrong == "secret":
        source = s3_source(server, secret_key="very-wrong-secret")
    else:
        source = s3_source(server, access_key="AKUNKNOWN")
    acts: list[Any] = [
        lambda: read(source, item, 0, 1),
        lambda: source.head(bucket, "k"),
        lambda: list(source.list(bucket, "")),
    ]
    for act in acts:
        with pytest.raises(AccessError) as caught:
            act()
        assert isinstance(caught.value, CredentialsRefused), caught.value
        assert bucket in str(caught.value)
        assert "very-wrong-secret" not in str(caught.value)
        assert caught.value.__cause__ is None
    source.close()
    good.close()


class Rotating:
    """Credentials that are replaced between two requests; the last pair stays."""

    def __init__(self, *pairs: tuple[str, str]) -> None:
        self._pairs = list(pairs)

    def get_frozen_credentials(self) -> Any:
        """Return the current pair."""
        pair = self._pairs.pop(0) if len(self._pairs) > 1 else self._pairs[0]
        return Credentials(*pair).get_frozen_credentials()


def test_credentials_replaced_after_signing(signed_bucket: tuple[LocalS3, str]) -> None:
    """A request refused with credentials that have been replaced meanwhile is signed again, once."""
    server, bucket = signed_bucket
    source = s3_source(server)
    item = listed(source, bucket, "k")

    def sign_with(*pairs: tuple[str, str]) -> None:
        source._addresses._found[bucket] = replace(source._address_of(bucket), credentials=Rotating(*pairs))

    sign_with(("AKOLD", "expired"), (server.access_key, server.secret_key))
    assert read(source, item, 0, 3) == b"012"
    sign_with(("AKOLD", "expired"))
    with pytest.raises(CredentialsRefused):
        read(source, item, 0, 3)
    source.close()


def test_headers_that_a_proxy_may_change_are_not_signed() -> None:
    """Connection, Accept and Accept-Encoding are sent, but not covered by the signature."""
    url = "http://host/bucket/key"
    headers = {"Range": "bytes=0-1", "If-Match": '"e"', "Accept-Encoding": "identity", "Connection": "keep-alive"}
    sent = SigV4(Credentials("AK", "secret", "session"), "eu-west-1").sign_get(url, headers)
    assert {name.lower(): value for name, value in headers.items()}.items() <= {
        name.lower(): value for name, value in sent.items()
    }.items()
    authorization = sent["authorization"]
    signed = authorization.split("SignedHeaders=")[1].split(",", maxsplit=1)[0].split(";")
    assert set(signed) == {"host", "if-match", "range", "x-amz-content-sha256", "x-amz-date", "x-amz-security-token"}
    assert "eu-west-1/s3/aws4_request" in authorization


def test_region_of_the_bucket(s3_server: LocalS3, s3_client: Any) -> None:
    """The signature is made for the bucket's own region."""
    name = f"bucket-{uuid4().hex}"
    s3_client.create_bucket(Bucket=name, CreateBucketConfiguration={"LocationConstraint": "eu-central-1"})
    s3_client.put_object(Bucket=name, Key="k", Body=b"x")
    source = s3_source(s3_server)
    assert read(source, source.head(name, "k")) == b"x"
    assert source._address_of(name).region == "eu-central-1"
    source.close()


@pytest.mark.parametrize(
    ("options", "bucket", "region", "url"),
    [
        ({}, "plain-bucket", "us-east-1", "https://plain-bucket.s3.amazonaws.com"),
        ({}, "plain-bucket", "eu-west-1", "https://plain-bucket.s3.eu-west-1.amazonaws.com"),
        ({}, "dotted.bucket", "eu-west-1", "https://s3.eu-west-1.amazonaws.com/dotted.bucket"),
        ({"region_name": "eu-west-1"}, "b-b", "eu-west-1", "https://b-b.s3.eu-west-1.amazonaws.com"),
        ({"region_name": "eu-west-1"}, "b-b", "us-east-2", "https://b-b.s3.us-east-2.amazonaws.com"),
        ({"region_name": "cn-north-1"}, "b-b", "cn-north-1", "https://b-b.s3.cn-north-1.amazonaws.com.cn"),
        ({"endpoint_url": "http://minio:9000"}, "b-b", "us-east-1", "http://minio:9000/b-b"),
        ({"endpoint_url": "http://gw/path/"}, "b-b", "us-east-1", "http://gw/path/b-b"),
    ],
)
def test_addresses(options: dict[str, str], bucket: str, region: str, url: str) -> None:
    """Virtual hosts at AWS; paths elsewhere, and for names that AWS's certificate does not cover."""
    given = {"region_name": "us-east-1", "config": botocore_config(1), **options}
    source = S3Source(boto3.Session("AK", "secret"), given)
    source._addresses._regions[bucket] = region
    assert source._url(bucket, "a b/c") == f"{url}/a%20b/c"
    source.close()


def test_how_somebody_else_reads_a_bucket() -> None:
    """The URL, and what a URL cannot carry: a customer's key, and the consent of a requester who pays."""
    plain = S3Source(boto3.Session("AK", "secret"), {"region_name": "us-east-1", "endpoint_url": "http://minio:9000"})
    odd = S3Source(
        boto3.Session("AK", "secret"),
        {"region_name": "us-east-1", "endpoint_url": "http://minio:9000"},
        options=ReadOptions(requester_pays=True, customer_key=bytes(32), version_id="v+1"),
    )
    for source in (plain, odd):
        source._addresses._regions["b-b"] = "us-east-1"
    seen, other = plain.fetch_access("b-b"), odd.fetch_access("b-b")
    assert (seen.base_url, seen.can_presign) == ("http://minio:9000/b-b", True)
    assert (seen.requester_pays, seen.has_customer_key) == (False, False)
    assert (other.requester_pays, other.has_customer_key) == (True, True)
    assert other.query_characters - seen.query_characters == len("&versionId=v%2B1")
    plain.close()
    odd.close()


class OddServer:
    """A server that answers every GET and HEAD of an object as a test sets it."""

    def __init__(self) -> None:
        """Listen on loopback."""
        self.status = 200
        self.headers: dict[str, str] = {}
        self.body = b""
        self.paths: list[str] = []
        odd = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_HEAD(self) -> None:
                # The bucket exists; only its objects are odd.
                self._answer(200 if self.path.count("/") < 2 else odd.status, b"")

            def do_GET(self) -> None:
                self._answer(odd.status, odd.body)

            def _answer(self, status: int, body: bytes) -> None:
                odd.paths.append(self.path)
                self.send_response(status)
                for name, value in ({"Content-Length": str(len(body))} | odd.headers).items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.local = LocalS3(f"http://127.0.0.1:{self._server.server_port}", "test", "test", "us-east-1")
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def close(self) -> None:
        """Stop listening."""
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def odd() -> Iterator[OddServer]:
    """Run the server."""
    server = OddServer()
    yield server
    server.close()


VERSION = ObjectVersion("bucket", "k", "abc", 10, EPOCH)
GOOD = {"ETag": '"abc"', "Last-Modified": "Thu, 01 Jan 2026 00:00:00 GMT"}


@pytest.mark.parametrize(
    ("status", "headers", "body", "span", "error"),
    [
        (200, GOOD, b"0123456789", (0, 4), UnexpectedResponse),  # ignores Range
        (206, GOOD, b"0123", (0, 4), UnexpectedResponse),  # no Content-Range
        (206, GOOD | {"Content-Range": "bytes 1-4/10"}, b"1234", (0, 4), UnexpectedResponse),  # another range
        (206, GOOD | {"Content-Range": "bytes 0-3/11"}, b"0123", (0, 4), UnexpectedResponse),  # another size
        (206, GOOD | {"Content-Range": "bytes 0-3/10", "ETag": '"xyz"'}, b"0123", (0, 4), SourceChanged),
        (206, {"Content-Range": "bytes 0-3/10"}, b"0123", (0, 4), UnexpectedResponse),  # no ETag
        (200, GOOD | {"ETag": '"xyz"'}, b"0123456789", (), SourceChanged),  # ignores If-Match
        (200, GOOD, b"012345678", (), UnexpectedResponse),  # shorter
        (206, GOOD | {"Content-Range": "bytes 0-9/10"}, b"0123456789", (), UnexpectedResponse),
        (204, GOOD, b"", (), UnexpectedResponse),
        (301, GOOD | {"Location": "http://127.0.0.1:1/elsewhere"}, b"", (0, 4), UnexpectedResponse),
        (307, GOOD | {"Location": "http://127.0.0.1:1/elsewhere"}, b"", (), UnexpectedResponse),
        (503, {"Retry-After": "3"}, b"<Error><Code>SlowDown</Code></Error>", (0, 4), Throttled),
        (503, {}, b"<html>no document</html>", (0, 4), Throttled),
        (429, {}, b"", (0, 4), Throttled),
        (500, {}, b"<Error><Code>InternalError</Code></Error>", (0, 4), ServerFailed),
        (502, {}, b"<html>", (0, 4), ServerFailed),
        (400, {}, b"<Error><Code>RequestTimeout</Code></Error>", (0, 4), ServerFailed),
        (400, {}, b"<Error><Code>ExpiredToken</Code></Error>", (0, 4), CredentialsRefused),
        (403, {}, b"<Error><Code>InvalidObjectState</Code></Error>", (0, 4), ObjectArchived),
        (412, {}, b"<Error><Code>PreconditionFailed</Code></Error>", (0, 4), SourceChanged),
        (418, {}, b"\xff\xfe", (0, 4), UnexpectedResponse),
    ],
)
def test_response_that_was_not_requested_is_refused(
    odd: OddServer, status: int, headers: dict[str, str], body: bytes, span: tuple[int, ...], error: type[Exception]
) -> None:
    """No byte is read unless the response is the requested range of the requested version."""
    odd.status, odd.headers, odd.body = status, headers, body
    source = s3_source(odd.local)
    with pytest.raises(error) as caught, source.open(VERSION, *span):
        pytest.fail("the body was opened")
    if isinstance(caught.value, Throttled):
        assert caught.value.retry_after_s == (float(headers["Retry-After"]) if headers else None)
    source.close()


@pytest.mark.parametrize("value", ["x", "-5", "1e3"])
def test_invalid_length_is_refused(odd: OddServer, value: str) -> None:
    """As any other unusable response, without a crash."""
    odd.headers = GOOD | {"Content-Length": value}
    source = s3_source(odd.local)
    with pytest.raises((UnexpectedResponse, TransientError)), source.open(VERSION):
        pytest.fail("the body was opened")
    source.close()


@pytest.mark.parametrize("value", ["yesterday", "", "Thu, 99 Jan 2026 00:00:00 GMT"])
def test_invalid_date_is_refused_or_replaced(odd: OddServer, value: str) -> None:
    """Without a crash, and never as a time without a zone."""
    odd.headers, odd.body = GOOD | {"Last-Modified": value}, b"0123456789"
    source = s3_source(odd.local)
    try:
        with source.open(VERSION) as body:
            assert body.version.last_modified.tzinfo
    except UnexpectedResponse:
        pass
    source.close()


@pytest.mark.parametrize("body", [b"", b"<ListBucketResult><Contents><Key>a</K", b"\0\0 not xml", b"<html></html>"])
def test_broken_listing_is_never_an_empty_one(odd: OddServer, body: bytes) -> None:
    """An incomplete or foreign document is an error."""
    odd.body = body
    source = s3_source(odd.local)
    with pytest.raises((TransientError, UnexpectedResponse)):
        list(source.list("bucket", ""))
    source.close()


def test_connection_refused_is_transient() -> None:
    """For each kind of request: the server may be up again soon."""
    source = s3_source(LocalS3("http://127.0.0.1:1", "test", "test", "us-east-1"))
    acts: list[Any] = [
        lambda: source.head("bucket", "k"),
        lambda: read(source, VERSION, 0, 1),
        lambda: list(source.list("bucket", "")),
        lambda: source.check("bucket"),
    ]
    for act in acts:
        with pytest.raises(ConnectionFailed):
            act()
    source.close()


def test_refused_name_makes_no_request(odd: OddServer) -> None:
    """Invariant 8: a name with a dot segment is not sent."""
    source = s3_source(odd.local)
    for key in ("..", "a/../b", "a/./b"):
        with pytest.raises(NameRefused):
            source.head("bucket", key)
    assert odd.paths == []
    source.close()


def test_rclone_server_refuses_another_secret(tmp_path: Path) -> None:
    """So the tests above can fail."""
    with rclone_s3(tmp_path, access_key="one", secret_key="two") as server:
        source = s3_source(server, secret_key="three")
        with pytest.raises(CredentialsRefused):
            list(source.list("any", ""))
        source.close()
