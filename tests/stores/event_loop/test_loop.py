"""The event loop's client for small objects, between real servers, and against servers that violate the protocol."""

import contextlib
import re
import socket
import ssl
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import boto3
import pytest
from azure.core.credentials import AzureSasCredential
from azure.storage.blob import BlobServiceClient, ContainerClient
from botocore.config import Config
from botocore.exceptions import CredentialRetrievalError

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import (
    AccessDenied,
    ConditionNotMet,
    ConnectionFailed,
    CorruptedInTransit,
    CredentialsRefused,
    CredentialsUnavailable,
    NameRefused,
    ServerFailed,
    SourceChanged,
    Throttled,
    TransferError,
    UnexpectedResponse,
    UsageError,
)
from s3_to_azure.model.metadata import metadata_from_azure, metadata_to_azure
from s3_to_azure.model.objects import BlobContents, Condition, ContentHeaders, ListedObject
from s3_to_azure.model.ports import Fetched, HandedBack, SmallObjectClient, Stored
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.event_loop import connection as connection_module
from s3_to_azure.stores.event_loop.connection import Connection
from s3_to_azure.stores.event_loop.loop import LoopSmallObjectClient
from s3_to_azure.stores.http.settings import HttpSettings, Proxies
from s3_to_azure.stores.s3.options import ReadOptions, botocore_config
from s3_to_azure.stores.s3.source import S3Source
from tests.certificates import certified
from tests.fakes.memory_source import EPOCH
from tests.fakes.scripted_server import CLOSE, Step
from tests.fakes.wire_server import Request, wire_server
from tests.faults.faulty_proxy import Cut, FaultyProxy, Flip, FlipRequest, Forget
from tests.real_stores import azure_container, s3_client_of, s3_source

NEW = Condition(None)
NOTHING = BlobContents({}, ContentHeaders())
HOSTILE = [
    "plain",
    " outer spaces ",
    "a b+c%20d?e=f&g#h",
    "x//y///z",
    "%2e%2e/%2F",
    "ümläut/日本語/😀",
    "quotes'\"`<>[]{}|^~",
    "semi;colon:comma,at@dollar$star*(bang)!",
    "é" * 500,
]


def until(client: SmallObjectClient, count: int = 1) -> list[Fetched | Stored | HandedBack]:
    """Return the next finished transfers, at least as many as told."""
    events: list[Fetched | Stored | HandedBack] = []
    for _ in range(200):
        if len(events) >= count:
            return events
        events += client.finished(0.1)
    raise AssertionError(f"{len(events)} of {count} ended")


def refused(client: SmallObjectClient) -> TransferError:
    """Return the error with which the next object is handed back."""
    (event,) = until(client)
    assert isinstance(event, HandedBack), event
    return event.error


def crc64(data: bytes) -> int:
    """Return the bytes' CRC64."""
    return CRC64NVME.digest(memoryview(data))


@dataclass
class Between:
    """Both servers behind faulty proxies, and a client between them."""

    s3: FaultyProxy
    azure: FaultyProxy
    source: S3Source
    destination: AzureContainer
    client: SmallObjectClient
    s3_client: Any
    bucket: str
    container: ContainerClient

    def put(self, key: str, data: bytes, **more: Any) -> ListedObject:
        """Write an object, and return it as it is listed."""
        self.s3_client.put_object(Bucket=self.bucket, Key=key, Body=data, ChecksumAlgorithm="CRC64NVME", **more)
        return next(item for item in self.source.list(self.bucket, key) if item.key == key)

    def store(self, blob: str, data: bytes, condition: Condition = NEW, contents: BlobContents = NOTHING) -> None:
        """Start to write a blob."""
        self.client.store(blob, blob, data, crc64=crc64(data), contents=contents, condition=condition)


@pytest.fixture
def between(
    s3_server: LocalS3, azure_server: LocalAzure, s3_client: Any, bucket: str, container: ContainerClient
) -> Iterator[Between]:
    """Return a client between the real servers."""
    with FaultyProxy(s3_server.endpoint_url) as s3, FaultyProxy(azure_server.account_url) as azure:
        source = s3_source(s3_server, endpoint_url=s3.url)
        destination = azure_container(azure_server, str(container.container_name), account_url=azure.url)
        client = LoopSmallObjectClient(source, destination)
        yield Between(s3, azure, source, destination, client, s3_client, bucket, container)
        client.close()
        source.close()
        destination.close()


def test_bytes_headers_and_metadata_arrive_under_any_key(between: Between) -> None:
    """One GET and one Put Blob for each object, whatever its key; Azure's SDK reads the same back."""
    content_headers = {
        "ContentType": 'text/plain; charset="utf-8"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "ContentDisposition": 'attachment; filename="a b;c.txt"',
        "CacheControl": "max-age=1, private",
    }
    user = {"empty": "", "plain": "a b", "percent": "100% %41", "under_score": "x" * 500, "dash-ed": "1"}
    objects = {key: bytes([n]) * (1 + 7_000 * n) for n, key in enumerate(HOSTILE)}
    for key, data in objects.items():
        between.client.fetch(key, between.put(key, data, Metadata=user, **content_headers))
    left = len(objects)
    while left:
        for event in until(between.client):
            assert not isinstance(event, HandedBack), event
            if isinstance(event, Stored):
                left -= 1
                continue
            version = event.version
            assert version.metadata == user
            assert version.checksum
            assert version.checksum.value == crc64(event.body)
            contents = BlobContents(metadata_to_azure(version.metadata), version.headers)
            between.store(event.tag, event.body, contents=contents)
    for key, data in objects.items():
        blob = between.container.get_blob_client(key)
        assert blob.download_blob(decompress=False).readall() == data
        properties = blob.get_blob_properties()
        settings = properties.content_settings
        assert metadata_from_azure(properties.metadata) == user
        assert (
            settings.content_type,
            settings.content_encoding,
            settings.content_language,
            settings.content_disposition,
            settings.cache_control,
        ) == tuple(content_headers.values())
    assert between.s3.count("get whole") == between.azure.count("put blob") == len(objects)
    paths = {unquote(request.path).partition("/")[2] for request in between.s3.seen if request.is_("get whole")}
    assert paths == {f"{between.bucket}/{key}" for key in objects}
    # One name has empty segments, which asks once for the kind of the account.
    assert len(between.azure.seen) == len(objects) + 1


def test_invariant_1_object_that_changed_is_handed_back(between: Between) -> None:
    """The GET is pinned; if the server ignores that, the response's ETag is compared."""
    listed = between.put("k", b"first")
    between.put("k", b"other")
    between.client.fetch("k", listed)
    assert isinstance(refused(between.client), SourceChanged)
    assert between.s3.seen[-1].headers["if-match"] == f'"{listed.etag}"'
    assert between.s3.answered[-1][1] == 412
    between.s3.always("get whole", Forget(("if-match",)))
    between.client.fetch("k", listed)
    assert isinstance(refused(between.client), SourceChanged)


def test_invariant_4_put_blob_is_under_its_condition(between: Between) -> None:
    """If the blob must not exist, or must have this ETag, and the condition is not met, nothing is replaced."""
    blob = between.container.get_blob_client("k")
    between.store("k", b"first")
    assert until(between.client) == [Stored("k")]
    etag = str(blob.get_blob_properties().etag).strip('"')
    for condition in (NEW, Condition("0x8D0000000000000")):
        between.store("k", b"second", condition)
        assert isinstance(refused(between.client), ConditionNotMet)
    assert blob.download_blob().readall() == b"first"
    between.store("k", b"third", Condition(etag))
    assert until(between.client) == [Stored("k")]
    assert blob.download_blob().readall() == b"third"
    between.store("not there", b"x", Condition(etag))
    assert isinstance(refused(between.client), ConditionNotMet)


def test_flipped_byte_is_noticed_when_reading_and_when_writing(between: Between) -> None:
    """By the checksum in the response when reading, and by Azure when writing."""
    data = b"0123456789" * 100
    listed = between.put("k", data)
    between.s3.always("get whole", Flip(500))
    between.client.fetch("k", listed)
    (event,) = until(between.client)
    assert isinstance(event, Fetched)
    assert event.version.checksum
    assert event.version.checksum.value == crc64(data) != crc64(event.body)
    between.azure.always("put blob", FlipRequest(500))
    between.store("k", data)
    assert isinstance(refused(between.client), CorruptedInTransit)
    assert not between.container.get_blob_client("k").exists()


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
def test_incomplete_response_is_handed_back(between: Between, reset: bool) -> None:
    """Half a body is not accepted, and the next request uses a new connection."""
    listed = between.put("k", b"x" * 200_000)
    between.s3.fail("get whole", Cut(100_000, reset))
    between.client.fetch("k", listed)
    assert isinstance(refused(between.client), ConnectionFailed)
    between.client.fetch("k", listed)
    (event,) = until(between.client)
    assert isinstance(event, Fetched)
    assert len(event.body) == 200_000


@pytest.mark.parametrize(
    "contents",
    [
        BlobContents({"a": "x\r\nx-ms-evil: 1"}, ContentHeaders()),
        BlobContents({"a\r\nx-ms-evil": "1"}, ContentHeaders()),
        BlobContents({"ü": "1"}, ContentHeaders()),
        BlobContents({"a": "日"}, ContentHeaders()),
        BlobContents({"a": "nul\0"}, ContentHeaders()),
        BlobContents({}, ContentHeaders(content_type="text/plain\nx-ms-evil: 1")),
    ],
)
def test_invalid_header_is_never_sent(between: Between, contents: BlobContents) -> None:
    """An object's metadata cannot add a header to our requests."""
    between.store("k", b"x", contents=contents)
    assert isinstance(refused(between.client), UnexpectedResponse)
    between.client.fetch("k", ListedObject(between.bucket, "k", 'e"\r\nx-evil: "', 1, EPOCH))
    assert isinstance(refused(between.client), UnexpectedResponse)
    assert between.azure.seen == []
    assert between.s3.count("get whole") == 0


@pytest.mark.parametrize("name", ["a/../b", "..", "./a"])
def test_invariant_8_dot_segments_are_never_sent(between: Between, name: str) -> None:
    """Neither for a key nor for a blob's name is a request sent."""
    between.client.fetch("k", ListedObject(between.bucket, name, "e", 1, EPOCH))
    assert isinstance(refused(between.client), NameRefused)
    between.store(name, b"x")
    assert isinstance(refused(between.client), NameRefused)
    assert between.azure.seen == []
    assert between.s3.count("get whole") == 0


def test_body_is_released_when_it_was_sent(between: Between) -> None:
    """An idle connection keeps no body, since the memory budget no longer counts it."""
    data = uuid4().bytes * 1000
    before = sys.getrefcount(data)
    between.store("k", data)
    assert sys.getrefcount(data) > before
    assert until(between.client) == [Stored("k")]
    assert sys.getrefcount(data) == before


def test_credentials_that_cannot_be_renewed_are_handed_back(between: Between) -> None:
    """As an error of the object, not of the whole batch."""

    class Gone:
        def get_frozen_credentials(self) -> None:
            raise CredentialRetrievalError(provider="iam-role", error_msg="the metadata service is away")

    listed = between.put("k", b"x")
    between.source._addresses._credentials = Gone()
    between.client.fetch("k", listed)
    assert isinstance(refused(between.client), CredentialsUnavailable)


# -- header signatures -------------------------------------------------------------------------------------------------


def test_signatures_are_accepted_by_a_server_that_checks_them(rclone_server: LocalS3, azure_server: LocalAzure) -> None:
    """Also for hostile keys, a host in capitals and more signed headers; those of another secret are refused."""
    client = s3_client_of(rclone_server)
    bucket = f"bucket-{uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    keys = ["plain", "a b+c%20d?e=f&g#h", "ü/日本~", "semi;colon,at@dollar$(bang)!"]
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=key.encode())
    client.close()
    destination = azure_container(azure_server, "container")
    capitals = rclone_server.endpoint_url.replace("127.0.0.1", "LOCALHOST")
    for secret, endpoint in ((None, None), (None, capitals), ("another", None)):
        source = s3_source(
            rclone_server, secret_key=secret, endpoint_url=endpoint, reading=ReadOptions(requester_pays=True)
        )
        source._addresses._regions[bucket] = rclone_server.region
        client = LoopSmallObjectClient(source, destination)
        for key in keys:
            etag = next(item for item in s3_source(rclone_server).list(bucket, key) if item.key == key).etag
            client.fetch(key, ListedObject(bucket, key, etag, len(key.encode()), EPOCH))
        for event in until(client, len(keys)):
            if secret:
                assert isinstance(event, HandedBack)
                assert isinstance(event.error, CredentialsRefused)
            else:
                assert isinstance(event, Fetched), event
                assert event.body == event.tag.encode()
        client.close()
        source.close()
    destination.close()


# -- servers that violate the protocol ---------------------------------------------------------------------------------


@contextlib.contextmanager
def closed_port() -> Iterator[int]:
    """Return a port that refuses connections."""
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


class RawServer:
    """A server that answers every request with the same bytes; without bytes it does not answer."""

    def __init__(self, answer: bytes, *, hang_up: bool = False) -> None:
        self.answer = answer
        self.hang_up = hang_up
        self.requests: list[bytes] = []
        self.ended = threading.Semaphore(0)
        """Released once for each connection that the client closed."""
        self.connected = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                self.connected += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            stream = connection.makefile("rb")
            while True:
                head = b""
                while not head.endswith(b"\r\n\r\n"):
                    line = stream.readline()
                    if not line:
                        self.ended.release()
                        return
                    head += line
                length = re.search(rb"(?i)\r\ncontent-length: (\d+)", head)
                body = stream.read(int(length[1])) if length else b""
                self.requests.append(head + body)
                connection.sendall(self.answer)
                if self.hang_up:
                    return

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()


BODY = b"0123456789"
WANTED = ListedObject("bucket", "k", "e", len(BODY), EPOCH)
HEAD = b'ETag: "e"\r\nLast-Modified: Thu, 01 Jan 2026 00:00:00 GMT\r\n'
SIZED = HEAD + b"Content-Length: 10\r\n"


@contextlib.contextmanager
def against(
    server: LocalAzure, answer: bytes, *, hang_up: bool = False
) -> Iterator[tuple[RawServer, SmallObjectClient]]:
    """Return a client for which both services are such a server."""
    raw = RawServer(answer, hang_up=hang_up)
    nowhere = LocalS3(raw.url, "access", "secret", "us-east-1")
    source = s3_source(nowhere)
    source._addresses._regions["bucket"] = "us-east-1"
    destination = azure_container(server, "container", account_url=f"{raw.url}/account")
    client = LoopSmallObjectClient(source, destination)
    try:
        yield raw, client
    finally:
        client.close()
        source.close()
        destination.close()
        raw.close()


ANSWERS: dict[str, tuple[bytes, type[TransferError] | None]] = {
    "valid": (b"HTTP/1.1 200 OK\r\n" + SIZED + b"\r\n" + BODY, None),
    "bytes after its length": (b"HTTP/1.1 200 OK\r\n" + SIZED + b"\r\n" + BODY + b"more", None),
    "early hints before it": (
        b'HTTP/1.1 103 Early Hints\r\nETag: "other"\r\nx-amz-meta-a: no\r\n\r\n'
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + SIZED + b"\r\n" + BODY,
        None,
    ),
    "too long": (b"HTTP/1.1 200 OK\r\n" + HEAD + b"Content-Length: 11\r\n\r\n" + BODY + b"x", UnexpectedResponse),
    "far too long": (
        b"HTTP/1.1 200 OK\r\n" + HEAD + b"Content-Length: 900000\r\n\r\n" + bytes(900_000),
        ConnectionFailed,
    ),
    "too short": (b"HTTP/1.1 200 OK\r\n" + HEAD + b"Content-Length: 9\r\n\r\n" + BODY[:9], UnexpectedResponse),
    "ends early": (b"HTTP/1.1 200 OK\r\n" + SIZED + b"\r\n" + BODY[:9], ConnectionFailed),
    "in chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + HEAD + b"\r\na\r\n" + BODY + b"\r\n0\r\n\r\n",
        UnexpectedResponse,
    ),
    "chunks with another length": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n" + SIZED + b"\r\n5\r\n01234\r\n0\r\n\r\n",
        ConnectionFailed,
    ),
    "no length": (b"HTTP/1.1 200 OK\r\n" + HEAD + b"\r\n" + BODY, UnexpectedResponse),
    "206": (b"HTTP/1.1 206 Partial Content\r\n" + SIZED + b"\r\n" + BODY, UnexpectedResponse),
    "another version": (b'HTTP/1.1 200 OK\r\nETag: "f"\r\nContent-Length: 10\r\n\r\n' + BODY, SourceChanged),
    "412": (b"HTTP/1.1 412 Precondition Failed\r\nContent-Length: 0\r\n\r\n", SourceChanged),
    "503": (b"HTTP/1.1 503 Slow\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", Throttled),
    "500": (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", ServerFailed),
    "redirect": (b"HTTP/1.1 307 Away\r\nLocation: /elsewhere\r\n" + SIZED + b"\r\n" + BODY, UnexpectedResponse),
    "permanent redirect": (b"HTTP/1.1 301 Away\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", UnexpectedResponse),
    "not HTTP": (b"0123456789", ConnectionFailed),
    "nothing": (b"", ConnectionFailed),
}


@pytest.mark.parametrize("name", ANSWERS)
def test_only_a_valid_response_is_accepted(azure_server: LocalAzure, name: str) -> None:
    """With any other one the object is handed back, after one request: nothing is followed, decoded or retried."""
    answer, expected = ANSWERS[name]
    with against(azure_server, answer, hang_up=True) as (raw, client):
        client.fetch("t", WANTED)
        if expected is None:
            (event,) = until(client)
            assert isinstance(event, Fetched)
            assert (event.tag, event.body, event.version.etag, event.version.metadata) == ("t", BODY, "e", {})
        else:
            error = refused(client)
            assert type(error) is expected
            assert error.attributes.get("retry_after_s") == (7.0 if name == "503" else None)
        assert len(raw.requests) == 1
        assert raw.requests[0].startswith(b"GET /bucket/k HTTP/1.1\r\n")


def test_header_values_and_body_are_kept_byte_for_byte(azure_server: LocalAzure) -> None:
    """UTF-8 in a header may end in a byte that Python regards as space; a body is never decoded."""
    value = "voilà".encode()
    assert value.endswith(b"\xa0")
    more = b"Content-Encoding: gzip\r\nx-amz-meta-a: \t" + value + b" \r\nX-Amz-Meta-B:\r\n"
    with against(azure_server, b"HTTP/1.1 200 OK\r\n" + more + SIZED + b"\r\n" + BODY) as (_, client):
        client.fetch("t", WANTED)
        (event,) = until(client)
    assert isinstance(event, Fetched)
    assert event.version.metadata == {"a": value.decode(), "b": ""}
    assert event.version.headers.content_encoding == "gzip"
    assert event.body == BODY


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (b"HTTP/1.1 201 Created\r\n" + HEAD + b"Content-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\n" + HEAD + b"Content-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 201 Created\r\n" + HEAD + b"Content-Length: 0\r\n\r\n", None),
        (b"HTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", ServerFailed),
        (b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n", ConnectionFailed),
        (b'HTTP/1.1 201 Created\r\nETag: "e"\r\nContent-Length: 0\r\n\r\n', ConnectionFailed),
        (
            b"HTTP/1.1 201 Created\r\nx-ms-client-request-id: other\r\n" + HEAD + b"Content-Length: 0\r\n\r\n",
            ConnectionFailed,
        ),
        (
            b"HTTP/1.1 201 Created\r\nx-ms-content-crc64: AQIDBAUGBwg=\r\n" + HEAD + b"Content-Length: 0\r\n\r\n",
            ConnectionFailed,
        ),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", UnexpectedResponse),
        (b"HTTP/1.1 202 Accepted\r\nContent-Length: 0\r\n\r\n", UnexpectedResponse),
        (b"HTTP/1.1 307 Away\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n", UnexpectedResponse),
        (b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\nRetry-After: 7\r\n\r\n", Throttled),
        (b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n", ServerFailed),
        (b"HTTP/1.1 201 Created\r\nContent-Length: 5\r\n\r\nab", ConnectionFailed),
        (b"", ConnectionFailed),
    ],
)
def test_only_201_means_stored(azure_server: LocalAzure, answer: bytes, expected: type[TransferError] | None) -> None:
    """With any other response the object is handed back, after one request."""
    with against(azure_server, answer, hang_up=True) as (raw, client):
        client.store("t", "b", BODY, crc64=crc64(BODY), contents=NOTHING, condition=NEW)
        if expected is None:
            assert until(client) == [Stored("t")]
        else:
            assert type(refused(client)) is expected
    assert len(raw.requests) == 1
    assert raw.requests[0].startswith(b"PUT /account/container/b?")
    assert raw.requests[0].endswith(b"\r\n\r\n" + BODY)


@pytest.mark.parametrize("status", [201, 403])
def test_early_response_is_no_success(azure_server: LocalAzure, status: int) -> None:
    """A server that did not read the body cannot have stored it; its refusal is read."""
    early = b"HTTP/1.1 %d x\r\n" % status + HEAD + b"Content-Length: 0\r\nConnection: close\r\n\r\n"
    with wire_server(lambda _: [], early=lambda _: [early, CLOSE]) as url:
        destination = azure_container(azure_server, "container", account_url=f"{url}/account")
        source = s3_source(LocalS3(url, "access", "secret", "us-east-1"))
        client = LoopSmallObjectClient(source, destination)
        body = bytes(64 << 20)
        client.store("t", "b", body, crc64=crc64(body), contents=NOTHING, condition=NEW)
        assert type(refused(client)) is (ConnectionFailed if status == 201 else AccessDenied)
        client.close()
        source.close()
        destination.close()


def test_only_host_and_content_length_are_added(azure_server: LocalAzure) -> None:
    """No other header, such as a User-Agent."""

    def names(request: bytes) -> set[str]:
        head = request.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")[1:]
        return {line.partition(":")[0].lower() for line in head}

    with against(azure_server, b"HTTP/1.1 201 OK\r\nContent-Length: 0\r\n\r\n") as (raw, client):
        client.fetch("t", WANTED)
        until(client)
        client.store("t", "b", BODY, crc64=1, contents=NOTHING, condition=Condition("0x1"))
        until(client)
    assert names(raw.requests[0]) == {
        "host",
        "accept-encoding",
        "authorization",
        "if-match",
        "x-amz-checksum-mode",
        "x-amz-content-sha256",
        "x-amz-date",
    }
    assert names(raw.requests[1]) == {
        "host",
        "content-length",
        "content-type",
        "if-match",
        "x-ms-blob-type",
        "x-ms-client-request-id",
        "x-ms-content-crc64",
        "x-ms-date",
        "x-ms-version",
    }


def test_connections_are_reused(azure_server: LocalAzure) -> None:
    """A hundred requests, four at a time, use four connections; a server that closes them costs new ones."""
    good = ANSWERS["valid"][0]
    with against(azure_server, good) as (raw, client):
        for _ in range(25):
            for tag in range(4):
                client.fetch(tag, WANTED)
            assert all(isinstance(event, Fetched) for event in until(client, 4))
        assert (len(raw.requests), raw.connected) == (100, 4)
    with against(azure_server, good, hang_up=True) as (raw, client):
        for _ in range(5):
            client.fetch("t", WANTED)
            assert isinstance(until(client)[0], Fetched)
        assert len(raw.requests) == 5


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_close_aborts_transfers_in_flight(azure_server: LocalAzure, method: str) -> None:
    """Every connection is closed, and every body released."""
    data = uuid4().bytes * 1000
    before = sys.getrefcount(data)
    with against(azure_server, b"") as (raw, client):
        for tag in range(3):
            if method == "GET":
                client.fetch(tag, WANTED)
            else:
                client.store(tag, "b", data, crc64=1, contents=NOTHING, condition=NEW)
        while len(raw.requests) < 3:
            assert client.finished(0.05) == []
        client.close()
        for _ in range(3):
            assert raw.ended.acquire(timeout=10)
    assert sys.getrefcount(data) == before


def test_refused_connection_is_reported_without_its_url(azure_server: LocalAzure) -> None:
    """The URL contains the SAS."""
    nowhere = replace(azure_server, account_url="http://127.0.0.1:1/account")
    destination = azure_container(nowhere, "container", credential=AzureSasCredential("sv=1&sig=verysecret"))
    source = s3_source(LocalS3("http://127.0.0.1:1", "access", "secret", "us-east-1"))
    source._addresses._regions["bucket"] = "us-east-1"
    client = LoopSmallObjectClient(source, destination)
    client.fetch("t", WANTED)
    client.store("t", "b", BODY, crc64=1, contents=NOTHING, condition=NEW)
    for event in until(client, 2):
        assert isinstance(event, HandedBack)
        assert isinstance(event.error, ConnectionFailed)
        said = f"{event.error}{event.error.attributes}{event.error.__cause__!r}"
        assert "ConnectionRefusedError" in said
        assert not re.search("http:|sig|verysecret|Signature", said)
    client.close()
    source.close()
    destination.close()


def test_silent_server_times_out(azure_server: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the read timeout, as in the other clients."""
    monkeypatch.setattr("s3_to_azure.stores.s3.options.READ_TIMEOUT_S", 1.0)
    with against(azure_server, b"") as (_, client):
        client.fetch("t", WANTED)
        error = refused(client)
    assert isinstance(error, ConnectionFailed)
    assert "TimeoutError" in str(error)


def test_environment_is_not_read(azure_server: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the entry points read environment variables, such as those that name a proxy."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    with against(azure_server, ANSWERS["valid"][0]) as (_, client):
        client.fetch("t", WANTED)
        assert isinstance(until(client)[0], Fetched)


# -- connections -------------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def client_of(server: LocalAzure, url: str, **settings: Any) -> Iterator[LoopSmallObjectClient]:
    """Return a client for which both services are at the URL."""
    session = boto3.Session("access", "secret", region_name="us-east-1")
    config = botocore_config(
        1, Config(read_timeout=settings.get("read_timeout_s"), connect_timeout=settings.get("connect_timeout_s"))
    )
    source = S3Source(
        session,
        {"endpoint_url": url, "verify": settings.get("verify", True), "config": config},
        proxies=settings.get("proxies"),
    )
    source._addresses._regions["bucket"] = "us-east-1"
    account = BlobServiceClient(f"{url}/account", credential=AzureSasCredential("sig=x"))
    service = service_client(account, connections=1, settings=HttpSettings(**settings))
    with (
        contextlib.closing(source),
        contextlib.closing(AzureContainer(service, "container")) as destination,
        contextlib.closing(LoopSmallObjectClient(source, destination)) as client,
    ):
        yield client


def put(client: SmallObjectClient, data: Any = BODY, tag: str = "t") -> None:
    """Begin to write a blob."""
    client.store(tag, "b", data, crc64=crc64(bytes(data)), contents=NOTHING, condition=NEW)


CREATED = b"HTTP/1.1 201 Created\r\n" + HEAD + b"Content-Length: 0\r\n\r\n"
FOUND = b"HTTP/1.1 200 OK\r\n" + SIZED + b"\r\n" + BODY


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    """Return a server's certificate, which is its own issuer."""
    return certified(tmp_path / "both.pem")


def tls_of(certificate: Path, over_tls: bool) -> ssl.SSLContext | None:
    """Return the settings of a server."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context if over_tls else None


@pytest.mark.parametrize("over_tls", [False, True])
@pytest.mark.parametrize("pause_s", [0.0, 0.1])
def test_bytes_that_nobody_asked_for_end_the_connection(
    azure_server: LocalAzure, certificate: Path, *, over_tls: bool, pause_s: float
) -> None:
    """A second response behind the first, at once or later, is never taken for that to the next request."""
    stray: list[Any] = [CREATED, pause_s, CREATED] if pause_s else [CREATED + CREATED]
    refusal = b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n"
    with (
        wire_server(
            lambda request: stray if request.number == 0 else [refusal], tls=tls_of(certificate, over_tls)
        ) as url,
        client_of(azure_server, url, verify=str(certificate)) as client,
    ):
        put(client)
        assert until(client) == [Stored("t")]
        # The client does not look at its idle connections meanwhile.
        time.sleep(3 * pause_s)
        put(client)
        assert isinstance(refused(client), ServerFailed)


@pytest.mark.parametrize("over_tls", [False, True])
@pytest.mark.parametrize("status", [201, 403])
def test_response_before_the_body_was_read(
    azure_server: LocalAzure, certificate: Path, *, over_tls: bool, status: int
) -> None:
    """A refusal is read; a success is none; interim responses leave the request as it is."""
    early = b"HTTP/1.1 %d x\r\n" % status + HEAD + b"Content-Length: 0\r\n\r\n"
    interim = b"HTTP/1.1 103 Hints\r\n\r\n"
    with (
        wire_server(lambda _: [], early=lambda _: [interim, 0.1, early, 5.0], tls=tls_of(certificate, over_tls)) as url,
        client_of(azure_server, url, verify=str(certificate)) as client,
    ):
        put(client, bytes(32 << 20))
        assert type(refused(client)) is (ConnectionFailed if status == 201 else AccessDenied)


def test_interim_response_does_not_end_a_body(azure_server: LocalAzure) -> None:
    """The rest of the body is sent after it."""
    body = bytes(range(256)) * 100_000
    received: list[bytes] = []

    def respond(request: Request) -> list[Step]:
        received.append(request.body)
        return [CREATED]

    with (
        wire_server(respond, interim=[b"HTTP/1.1 102 Processing\r\n\r\n", 0.1]) as url,
        client_of(azure_server, url) as client,
    ):
        put(client, body)
        assert until(client) == [Stored("t")]
    assert received == [body]


@pytest.mark.parametrize("over_tls", [False, True])
def test_trickle_is_given_up(azure_server: LocalAzure, certificate: Path, *, over_tls: bool) -> None:
    """A byte now and then, each long before the timeout."""
    trickle = [b"HTTP/1.1 200 OK\r\n" + HEAD + b"Content-Length: 100000\r\n\r\n", *[b"x", 0.2] * 100]
    with (
        wire_server(lambda _: trickle, tls=tls_of(certificate, over_tls)) as url,
        client_of(azure_server, url, verify=str(certificate), read_timeout_s=1.0) as client,
    ):
        client.fetch("t", replace(WANTED, size_bytes=100_000))
        error = refused(client)
    assert isinstance(error, ConnectionFailed)
    assert re.search(r"only \d+ bytes", str(error))


def test_silent_handshake_is_given_up(azure_server: LocalAzure) -> None:
    """After the timeout for connections; no other address is tried."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        client_of(azure_server, f"https://127.0.0.1:{listener.getsockname()[1]}", connect_timeout_s=1.0) as client,
    ):
        client.fetch("t", WANTED)
        error = refused(client)
    assert isinstance(error, ConnectionFailed)
    assert "no connection within 1 seconds" in str(error)


def test_all_addresses_of_a_host_are_tried(azure_server: LocalAzure, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one that answers is tried first from then on."""
    with closed_port() as dead, wire_server(lambda _: [FOUND, CLOSE]) as url:
        alive = int(url.rpartition(":")[2])
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (dead, alive)]
        connected: list[Any] = []
        begin = Connection.connect

        def connect(connection: Connection, failure: Exception | None = None) -> None:
            begin(connection, failure)
            connected.append(connection.address)

        with client_of(azure_server, "http://s3.example.com") as client:
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: list(rows))
            monkeypatch.setattr(Connection, "connect", connect)
            for tag in range(2):
                client.fetch(tag, WANTED)
                (event,) = until(client)
                assert isinstance(event, Fetched), event
            monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: rows[:1])
            client._addresses._known.clear()
            client.fetch("t", WANTED)
            assert isinstance(refused(client), ConnectionFailed)
    assert connected == [rows[0], rows[1], rows[1], rows[0]]


def test_connections_that_the_server_has_closed_are_replaced(azure_server: LocalAzure) -> None:
    """Several idle ones may be gone; a request that fails on a new one is handed back."""
    closed = threading.Event()

    def respond(request: Request) -> Iterator[Any]:
        yield CREATED
        if request.number < 3:
            closed.wait(10)
            yield CLOSE

    with wire_server(respond) as url, client_of(azure_server, url) as client:
        for tag in "abc":
            put(client, tag=tag)
        until(client, 3)
        closed.set()
        put(client)
        assert until(client) == [Stored("t")]
    with wire_server(lambda _: [CLOSE]) as url, client_of(azure_server, url) as client:
        put(client)
        assert isinstance(refused(client), ConnectionFailed)


REFUSAL = b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"
THEIRS = b"HTTP/1.1 201 Created\r\nx-ms-client-request-id: theirs\r\n" + HEAD + b"Content-Length: 0\r\n\r\n"


@pytest.mark.parametrize(
    ("found", "stored", "is_kept"),
    [(FOUND.replace(b'"e"', b'"other"'), THEIRS, False), (REFUSAL, REFUSAL, True)],
    ids=["of another request", "refusal"],
)
def test_response_to_another_request_costs_its_connection(
    azure_server: LocalAzure, found: bytes, stored: bytes, *, is_kept: bool
) -> None:
    """What a connection delivers behind it belongs to other requests, too; a refusal is an answer like any other."""
    with against(azure_server, found) as (raw, client):
        for _ in range(3):
            client.fetch("t", WANTED)
            refused(client)
        assert raw.connected == (1 if is_kept else 3)
        raw.answer = stored
        for _ in range(3):
            put(client)
            refused(client)
        assert raw.connected == (2 if is_kept else 6)


def test_connection_that_was_idle_for_long_is_not_used_again(
    azure_server: LocalAzure, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A firewall may have forgotten it, and the request would wait for its whole timeout."""
    with against(azure_server, FOUND) as (raw, client):
        for connections in (1, 1, 2):
            monkeypatch.setattr(connection_module, "MAX_IDLE_S", 60.0 if connections == 1 else -1.0)
            client.fetch("t", WANTED)
            until(client)
            assert raw.connected == connections


def test_host_that_needs_a_proxy_is_left_to_the_other_clients(azure_server: LocalAzure) -> None:
    """Also where only one of several hosts needs it."""
    with client_of(azure_server, "http://127.0.0.1:1", proxies=Proxies({"all": "http://127.0.0.1:1"})) as client:
        client.fetch("t", WANTED)
        assert "proxy" in str(refused(client))
        put(client)
        assert "proxy" in str(refused(client))


def test_buffers_are_used_again_and_dropped_at_the_end(azure_server: LocalAzure) -> None:
    """A body goes out of the buffer that it came into, and nothing is kept when nothing is in flight."""
    answers = {"GET": FOUND, "PUT": CREATED}
    with (
        wire_server(lambda request: [answers[request.method]]) as url,
        client_of(azure_server, url) as client,
    ):
        buffers = set[int]()
        for _ in range(5):
            client.fetch("busy", WANTED)
            client.fetch("t", WANTED)
            for event in until(client, 2):
                assert isinstance(event, Fetched)
                assert isinstance(event.body, memoryview)
                buffers.add(id(event.body.obj))
                put(client, event.body)
            assert until(client, 2) == [Stored("t")] * 2
            assert client._buffers._used_bytes == client._buffers._kept_bytes == 0
    assert len(buffers) <= 10


def test_connections_of_one_service_send_nothing_to_another(azure_server: LocalAzure) -> None:
    """Certificates and trust may differ, even for the same host."""
    answers = {"GET": FOUND, "PUT": CREATED}
    with (
        wire_server(lambda request: [answers[request.method]]) as url,
        client_of(azure_server, url) as client,
    ):
        for _ in range(2):
            client.fetch("t", WANTED)
            until(client)
            put(client)
            until(client)
        assert len(client._connections) == 2


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "http://a..b"])
def test_address_that_is_not_valid_is_handed_back(
    azure_server: LocalAzure, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """As a setting that has to be corrected, and without a crash."""
    with client_of(azure_server, "http://127.0.0.1:1") as client:
        monkeypatch.setattr(client._source, "signed_get", lambda _: (f"{url}/k", {}))
        client.fetch("t", WANTED)
        assert isinstance(refused(client), UsageError)
        assert client._buffers._used_bytes == 0
