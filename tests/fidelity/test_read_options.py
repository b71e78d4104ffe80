"""Requester pays, customer keys and named versions are sent and signed with every request, and never logged."""

import base64
import http.server
import logging
import threading
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.errors import CustomerKeyRequired, UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.options import Overwrite
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.stores.s3.options import ReadOptions
from s3_to_azure.transfer.context import CopyTask, open_context
from s3_to_azure.transfer.object import copy_object
from tests.fidelity.uploads import CUSTOMER_KEY, customer_key_arguments, put_parts, some_bytes
from tests.real_stores import azure_container, s3_source

BOTH = ReadOptions(requester_pays=True, customer_key=CUSTOMER_KEY)
KEY_TEXT = base64.b64encode(CUSTOMER_KEY).decode()


class Recorder(http.server.BaseHTTPRequestHandler):
    """Answers every request as S3 does for an empty listing or a small object, and records it."""

    protocol_version = "HTTP/1.1"
    seen: ClassVar[list[tuple[str, str, dict[str, str]]]] = []

    def answer(self) -> None:
        """Record method, path and headers; answer."""
        self.seen.append((self.command, self.path, {name.lower(): value for name, value in self.headers.items()}))
        body = b"x" if self.command == "GET" else b""
        if "list-type" in self.path:
            body = b"<ListBucketResult><IsTruncated>false</IsTruncated></ListBucketResult>"
        self.send_response(200)
        self.send_header("ETag", '"e"')
        self.send_header("Last-Modified", "Fri, 02 Jan 2026 03:04:05 GMT")
        self.send_header("Content-Length", "1" if self.command == "HEAD" else str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = answer  # noqa: N815 - the standard library's names

    def log_message(self, *_arguments: object) -> None:
        """Log nothing."""


@pytest.fixture
def recorder() -> Iterator[str]:
    """Run the recorder; return its address."""
    Recorder.seen.clear()
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Recorder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def test_headers_are_sent_and_signed(recorder: str, s3_server: LocalS3) -> None:
    """HEAD and GET of the object have payer, key and version, and sign the headers."""
    reading = ReadOptions(requester_pays=True, customer_key=CUSTOMER_KEY, version_id="a/b+c")
    source = s3_source(s3_server, endpoint_url=recorder, reading=reading)
    version = source.head("bucket", "k")
    with source.open(version) as body:
        body.readinto(memoryview(bytearray(1)))
    source.close()
    about_the_object = [seen for seen in Recorder.seen if "/k" in seen[1]]
    assert [command for command, _, _ in about_the_object] == ["HEAD", "GET"]
    for _, path, headers in about_the_object:
        signed = headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        for name, value in reading.headers().items():
            assert headers[name] == value
            assert name in signed
        assert path.endswith("versionId=a%2Fb%2Bc")


def test_listing_has_the_payer_and_no_key(recorder: str, s3_server: LocalS3) -> None:
    """A listing agrees to pay, and does not send the customer key."""
    source = s3_source(s3_server, endpoint_url=recorder, reading=BOTH)
    list(source.list("bucket", "p/"))
    source.close()
    (headers,) = (headers for _, path, headers in Recorder.seen if "list-type" in path)
    assert headers["x-amz-request-payer"] == "requester"
    assert not any("customer" in name for name in headers)


def test_listing_with_a_version_is_refused(s3_server: LocalS3) -> None:
    """A version belongs to one key, so a listing with one is a ``UsageError``."""
    source = s3_source(s3_server, reading=ReadOptions(version_id="v"))
    with pytest.raises(UsageError, match="one key"):
        next(source.list("bucket", "p/"))
    source.close()


@pytest.mark.parametrize("parts", [False, True], ids=["one request", "blocks"])
def test_customer_key(
    parts: bool,
    s3_server: LocalS3,
    azure_server: LocalAzure,
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An object under a customer key is copied with it, refused without it, and the key is not logged."""
    caplog.set_level(logging.DEBUG)
    data = some_bytes(2 * MIB + 1 if parts else 10)
    key = {**customer_key_arguments(), "SSECustomerKey": CUSTOMER_KEY}
    del key["SSECustomerKeyMD5"]
    s3_client.put_object(Bucket=bucket, Key="k", Body=data, ChecksumAlgorithm="SHA256", **key)
    caplog.clear()
    destination = azure_container(azure_server, container.container_name)
    for reading in (None, ReadOptions.of({"SSECustomerKey": KEY_TEXT})):
        source = s3_source(s3_server, reading=reading)
        with open_context(source, destination, CopySettings(block_bytes=MIB, connections=1)) as context:
            task = CopyTask(bucket, "k", "k")
            if reading is None:
                with pytest.raises(CustomerKeyRequired, match="sse_customer_key"):
                    copy_object(context, task)
            else:
                receipt = copy_object(context, task)
        source.close()
    destination.close()
    # S3's ETag is no MD5 under a customer key; SHA-256 proves an object of one block.
    assert receipt.verified_by == "sha256"
    assert container.download_blob("k").readall() == data
    assert "x-amz-server-side-encryption-customer-key" in caplog.text
    assert KEY_TEXT not in caplog.text
    assert repr(CUSTOMER_KEY) not in caplog.text


def test_named_version_is_copied(
    s3_server: LocalS3, azure_server: LocalAzure, s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """The named version is copied and verified along its parts, although another one is current."""
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    data = some_bytes(6 * MIB)
    put_parts(s3_client, bucket, "k", data, [5 * MIB], ChecksumAlgorithm="CRC32C", ChecksumType="COMPOSITE")
    wanted = s3_client.head_object(Bucket=bucket, Key="k")["VersionId"]
    s3_client.put_object(Bucket=bucket, Key="k", Body=b"newer")
    source = s3_source(s3_server, reading=ReadOptions(version_id=wanted))
    destination = azure_container(azure_server, container.container_name)
    with open_context(source, destination, CopySettings(block_bytes=MIB, connections=1)) as context:
        receipt = copy_object(context, CopyTask(bucket, "k", "k"))
    source.close()
    destination.close()
    assert receipt.verified_by == "crc32c_composite"
    assert container.download_blob("k").readall() == data


@pytest.mark.parametrize("overwrite", ["if_changed", "always"])
def test_named_version_replaces_no_newer_copy(
    overwrite: Overwrite,
    s3_server: LocalS3,
    azure_server: LocalAzure,
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
) -> None:
    """A copy of the current version is kept, even where both versions have the same second."""
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    older = s3_client.put_object(Bucket=bucket, Key="k", Body=b"older")["VersionId"]
    s3_client.put_object(Bucket=bucket, Key="k", Body=b"newer")
    destination = azure_container(azure_server, container.container_name)
    current, named = s3_source(s3_server), s3_source(s3_server, reading=ReadOptions(version_id=older))
    with open_context(current, destination, CopySettings(connections=1)) as context:
        assert copy_object(context, CopyTask(bucket, "k", "k")).status == "copied"
    client = container.get_blob_client("k")
    metadata = dict(client.get_blob_properties().metadata)
    same_second = named.head(bucket, "k").last_modified.isoformat()
    client.set_blob_metadata(metadata | {"s3_last_modified": same_second})
    with open_context(named, destination, CopySettings(overwrite=overwrite, connections=1)) as context:
        receipt = copy_object(context, CopyTask(bucket, "k", "k"))
        assert (receipt.status, receipt.reason) == ("skipped", "destination_newer")
        # A copy of neither version is replaced.
        client.set_blob_metadata(metadata | {"s3_last_modified": same_second, "s3_etag": "another"})
        assert copy_object(context, CopyTask(bucket, "k", "k")).status == "copied"
        s3_client.delete_object(Bucket=bucket, Key="k")
        assert named.current_etag(bucket, "k") is None
    assert container.download_blob("k").readall() == b"older"
    for store in (current, named, destination):
        store.close()


class TestOptions:
    """Options that are not understood are refused, because ignoring them would change what is read."""

    def test_key_is_not_shown(self) -> None:
        """Neither ``repr`` nor an error shows the customer key."""
        assert "customer_key" not in repr(ReadOptions(customer_key=CUSTOMER_KEY))
        with pytest.raises(UsageError) as caught:
            ReadOptions.of({"SSECustomerKey": "not~base64"})
        assert "not~base64" not in str(caught.value)

    @pytest.mark.parametrize("arguments", [{"SSECustomerKey": b"short"}, {"ACL": "private"}])
    def test_invalid_arguments_are_refused(self, arguments: dict[str, Any]) -> None:
        """A key of another length and an argument of another request are a ``UsageError``."""
        with pytest.raises(UsageError):
            ReadOptions.of(arguments)

    def test_arguments_as_airflow_names_them(self) -> None:
        """The hook's arguments are understood, and override the key of the connection."""
        assert ReadOptions.of({"RequestPayer": "requester"}).requester_pays
        assert ReadOptions.of({}, requester_pays=True, key=KEY_TEXT) == BOTH
        assert ReadOptions.of({"SSECustomerKey": b"k" * 32}, key=KEY_TEXT).customer_key == b"k" * 32
