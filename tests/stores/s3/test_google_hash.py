"""Google's ``x-goog-hash``: its CRC32C of the whole object is read from HEAD, GET and the client of small objects."""

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.checksums import CRC32C, to_s3
from s3_to_azure.model.objects import ListedObject, SourceChecksum
from s3_to_azure.model.ports import Fetched
from s3_to_azure.stores.event_loop.loop import LoopSmallObjectClient
from s3_to_azure.stores.http.headers import by_lower_name
from s3_to_azure.stores.s3.responses import parse_version
from s3_to_azure.stores.s3.source import S3Source
from tests.fakes.memory_source import EPOCH
from tests.real_stores import azure_container, s3_source

DATA = b"0123456789"
CHECKSUM = SourceChecksum("crc32c", CRC32C.digest(memoryview(DATA)))
CRC = f"crc32c={to_s3(CHECKSUM)}"
MD5 = "md5=eB5eJF1ptWaXm4bijSPyxw=="
# Of a composite object: no MD5.
ETAG = "CKjt0K3jnZADEAE"


@pytest.fixture(params=["one line", "two lines", "CRC32C alone"])
def store(request: pytest.FixtureRequest) -> Iterator[S3Source]:
    """Return a store that answers as Google does, with the hashes in each of their forms."""
    lines = {"one line": [f"{CRC},{MD5}"], "two lines": [CRC, MD5], "CRC32C alone": [CRC]}[request.param]

    class Google(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            is_object = self.path.endswith("/k")
            body = DATA if is_object else b""
            self.send_response(200)
            for line in lines if is_object else ():
                self.send_header("x-goog-hash", line)
            self.send_header("ETag", f'"{ETAG}"')
            self.send_header("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Google) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = s3_source(LocalS3(f"http://127.0.0.1:{server.server_address[1]}", "key", "secret", "auto"))
        yield source
        source.close()
        server.shutdown()


def test_head_and_get(store: S3Source) -> None:
    """Both offer the CRC32C; the ETag of a composite object is no MD5."""
    version = store.head("bucket", "k")
    assert (version.etag, version.checksum, version.weaker) == (ETAG, CHECKSUM, ())
    with store.open(version) as body:
        assert body.version.checksum == CHECKSUM


def test_small_objects(store: S3Source, azure_server: LocalAzure) -> None:
    """The client of small objects reads it too."""
    destination = azure_container(azure_server, "container")
    client = LoopSmallObjectClient(store, destination)
    client.fetch("tag", ListedObject("bucket", "k", ETAG, len(DATA), EPOCH))
    events: list[Any] = []
    while not events:
        events = list(client.finished(5.0))
    client.close()
    destination.close()
    (event,) = events
    assert isinstance(event, Fetched)
    assert bytes(event.body) == DATA
    assert event.version.checksum == CHECKSUM


OTHERS = {"etag": '"e"', "content-length": "1", "last-modified": "Fri, 02 Jan 2026 03:04:05 GMT"}


@pytest.mark.parametrize("text", ["", MD5, "crc32c=", "crc32c=AAA=", "crc32c=%%%", ",,=", "crc32c"])
def test_other_texts_offer_no_checksum(text: str) -> None:
    """A hash that is not a CRC32C is no reason to fail."""
    assert parse_version("b", "k", OTHERS | {"x-goog-hash": text}).checksum is None


def test_a_checksum_of_s3_takes_precedence() -> None:
    """A store that sends both is believed on its own."""
    own = SourceChecksum("crc32c", 7)
    headers = by_lower_name([("X-Goog-Hash", CRC), ("x-amz-checksum-crc32c", to_s3(own))])
    assert parse_version("b", "k", OTHERS | headers).checksum == own
