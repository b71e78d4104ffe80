"""Put Block From URL: what is asked, what an answer means, and that no request is sent a second time."""

import logging
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.checksums import CRC64NVME, to_azure
from s3_to_azure.model.errors import (
    AccessDenied,
    ConnectionFailed,
    FetchRefused,
    ServerFailed,
    Throttled,
    TransferError,
)
from s3_to_azure.model.objects import Block, FetchUrl, ListedBlock, ObjectVersion
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.fetching import crc64_of, fetch_error, fetch_headers
from s3_to_azure.stores.http.refusals import Refusal
from tests.fakes.fetching_azure import FetchingAzure, fetching_azure
from tests.fakes.memory_source import EPOCH
from tests.real_stores import account_sas, azure_container, fetching_container, s3_source

DATA = b"0123456789"
ID = "A" * 52
CRC = CRC64NVME.digest(memoryview(DATA[2:6]))
RANGE = Block(2, 6)


@pytest.fixture
def azure(azure_server: LocalAzure) -> Iterator[FetchingAzure]:
    """Run the fetcher."""
    with fetching_azure(azure_server.account_url) as running:
        yield running


@pytest.fixture
def store(azure_server: LocalAzure, container: ContainerClient, azure: FetchingAzure) -> Iterator[AzureContainer]:
    """Return a container of the fetcher."""
    with closing(fetching_container(azure_server, str(container.container_name), azure)) as found:
        yield found


@pytest.fixture
def url(s3_server: LocalS3, s3_client: Any, bucket: str) -> FetchUrl:
    """Return a URL of an object."""
    s3_client.put_object(Bucket=bucket, Key="k", Body=DATA)
    with closing(s3_source(s3_server)) as source:
        found = source.fetch_url(ObjectVersion(bucket, "k", "etag", len(DATA), EPOCH))
    assert found is not None
    return found


def stage(store: AzureContainer, url: FetchUrl, *, etag: str | None = None, crc64: int | None = None) -> int | None:
    """Let Azure fetch a range."""
    return store.stage_from_url("a blob", ID, url, RANGE, etag=etag, crc64=crc64)


class TestOnTheWire:
    """Requests of the shipped client to the fetcher."""

    def test_azure_stages_the_range_and_says_its_crc64(self, store: AzureContainer, url: FetchUrl) -> None:
        """The block is listed under its id, and no byte of it has passed through this process."""
        assert stage(store, url) == CRC
        assert stage(store, url, crc64=CRC) == CRC
        assert store.list_staged("a blob") == [ListedBlock(ID.encode(), RANGE.size_bytes)]

    def test_other_bytes_than_the_known_ones_are_refused(self, store: AzureContainer, url: FetchUrl) -> None:
        """Azure stages nothing that has another CRC64 than S3 knows."""
        with pytest.raises(FetchRefused, match="do not have the checksum"):
            stage(store, url, crc64=CRC + 1)
        assert store.list_staged("a blob") == []

    @pytest.mark.parametrize("act", ["lost", "lost_before"])
    def test_a_lost_answer_is_not_asked_for_again(
        self, store: AzureContainer, azure: FetchingAzure, url: FetchUrl, act: Any
    ) -> None:
        """A second request could replace the block after its checksum was noted: also on a connection that was kept."""
        stage(store, url)
        azure.once(act)
        with pytest.raises(ConnectionFailed):
            stage(store, url)
        assert azure.counts.asked == 2

    @pytest.mark.parametrize("act", ["no_crc", "garbage"])
    def test_no_crc64_is_no_crc64(self, store: AzureContainer, azure: FetchingAzure, url: FetchUrl, act: Any) -> None:
        """What is missing or unreadable is not taken for a value."""
        azure.once(act)
        assert stage(store, url) is None

    def test_wrong_crc64_in_the_answer(self, store: AzureContainer, azure: FetchingAzure, url: FetchUrl) -> None:
        """An answer that names another CRC64 than was asked for is no success."""
        azure.once("lie")
        with pytest.raises(FetchRefused, match="OtherCrc64"):
            stage(store, url, crc64=CRC)

    @pytest.mark.parametrize("if_match", ["forward", "compare"])
    def test_another_etag(self, store: AzureContainer, azure: FetchingAzure, url: FetchUrl, if_match: Any) -> None:
        """Where Azure passes the condition on, an object that changed is refused."""
        azure.if_match = if_match
        with pytest.raises(FetchRefused, match="SourceConditionNotMet"):
            stage(store, url, etag="another")

    def test_no_log_holds_the_url(
        self, store: AzureContainer, azure: FetchingAzure, url: FetchUrl, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Nor an error: with every logger at DEBUG, also after a refusal."""
        caplog.set_level(logging.DEBUG)
        secret = url.url.partition("X-Amz-Signature=")[2][:64]
        assert len(secret) == 64
        stage(store, url)
        azure.once("fail")
        with pytest.raises(FetchRefused) as refused:
            stage(store, url)
        logging.getLogger("azure.core").debug("sent %r", {"x-ms-copy-source": url.url})
        assert secret not in caplog.text + str(refused.value) + repr(refused.value.attributes)


class TestAzuritesOwn:
    """Azurite fetches from itself only, with the account's key: its own answers, to requests as Azure gets them."""

    @pytest.fixture
    def own(self, azure_server: LocalAzure, container: ContainerClient) -> Iterator[AzureContainer]:
        """Return the container, whose requests are signed with the account's key."""
        with closing(azure_container(azure_server, str(container.container_name))) as found:
            yield found

    @pytest.fixture
    def blob_url(self, azure_server: LocalAzure, container: ContainerClient) -> FetchUrl:
        """Return the URL of a blob."""
        container.upload_blob("source", DATA)
        return FetchUrl(f"{container.url}/source?{account_sas(azure_server)}")

    def test_it_says_the_crc64(self, own: AzureContainer, blob_url: FetchUrl) -> None:
        """Of the bytes that it staged."""
        assert stage(own, blob_url) == CRC
        assert stage(own, blob_url, crc64=CRC) == CRC
        assert own.list_staged("a blob") == [ListedBlock(ID.encode(), RANGE.size_bytes)]

    def test_it_compares_the_crc64(self, own: AzureContainer, blob_url: FetchUrl) -> None:
        """And says so by the code that is expected."""
        with pytest.raises(FetchRefused, match="Crc64Mismatch"):
            stage(own, blob_url, crc64=CRC ^ 1)

    def test_it_cannot_read_what_is_not_its_own(self, own: AzureContainer) -> None:
        """Its refusal has the code that Azure's has, and another status."""
        with pytest.raises(FetchRefused, match="CannotVerifyCopySource"):
            stage(own, FetchUrl("http://127.0.0.1:1/bucket/k?X-Amz-Signature=0"))


def refusal(status: int, code: str, **headers: str) -> Refusal:
    """Return a refusal of Azure."""
    return Refusal(status, code, "", {name.replace("_", "-"): value for name, value in headers.items()})


@pytest.mark.parametrize(
    ("given", "error", "said"),
    [
        (refusal(403, "CannotVerifyCopySource"), FetchRefused, "it could not read the URL"),
        (refusal(500, "CannotVerifyCopySource"), FetchRefused, "it could not read the URL"),
        (refusal(403, "CannotVerifyCopySource", x_ms_copy_source_status_code="403"), FetchRefused, "S3 answered 403"),
        (refusal(404, "CannotVerifyCopySource", x_ms_copy_source_status_code="404"), FetchRefused, "S3 answered 404"),
        (refusal(500, "AnyCode", x_ms_copy_source_status_code="403"), FetchRefused, "AnyCode: S3 answered 403"),
        (refusal(503, "ServerBusy", x_ms_copy_source_status_code="503", retry_after="7"), Throttled, "S3 answered 503"),
        (refusal(403, "CannotVerifyCopySource", x_ms_copy_source_status_code="503"), Throttled, "S3 answered 503"),
        (refusal(412, "SourceConditionNotMet"), FetchRefused, "another ETag"),
        (refusal(400, "Crc64Mismatch"), FetchRefused, "checksum"),
        (refusal(400, "UnsupportedHeader"), FetchRefused, "header"),
        (refusal(403, "CannotVerifyCopySource", x_ms_copy_source_status_code="\x07"), FetchRefused, "read the URL"),
    ],
)
def test_refusals_of_fetches(given: Refusal, error: type[TransferError], said: str) -> None:
    """The code decides, not the status; what S3 answered Azure is told."""
    found = fetch_error(given, blob="b")
    assert type(found) is error
    assert said in str(found)


def test_wait_that_azure_asks_for() -> None:
    """It is kept."""
    found = fetch_error(refusal(503, "x", x_ms_copy_source_status_code="503", retry_after="7"), blob="b")
    assert isinstance(found, Throttled)
    assert found.retry_after_s == 7


@pytest.mark.parametrize(
    ("status", "code"), [(503, "ServerBusy"), (403, "AuthorizationFailure"), (500, "InternalError")]
)
def test_refusals_of_every_request_are_left_to_all(status: int, code: str) -> None:
    """They mean what they mean everywhere else."""
    assert fetch_error(refusal(status, code), blob="b") is None


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"status": 503, "code": "ServerBusy"}, Throttled),
        ({"status": 500, "code": "OperationTimedOut"}, ServerFailed),
        ({"status": 403, "code": "AuthorizationPermissionMismatch"}, AccessDenied),
    ],
)
def test_other_refusals(
    store: AzureContainer, azure: FetchingAzure, url: FetchUrl, values: dict[str, Any], error: type[TransferError]
) -> None:
    """Azure's other refusals of a fetch become the errors of all requests."""
    azure.once("fail", **values)
    with pytest.raises(error):
        stage(store, url)


def test_headers() -> None:
    """The range is not part of the URL, and what is not known is not asked for."""
    url = FetchUrl("https://s3/k?X-Amz-Signature=s")
    assert fetch_headers(url, Block(8, 16), etag=None, crc64=None) == {
        "x-ms-copy-source": url.url,
        "x-ms-source-range": "bytes=8-15",
    }
    more = fetch_headers(url, Block(8, 16), etag="e", crc64=1)
    assert more["x-ms-source-if-match"] == '"e"'
    assert more["x-ms-source-content-crc64"] == to_azure(1)


@pytest.mark.parametrize("text", ["", "AA==", "AAAAAAAAAAA", "AAAAAAAAAA==", "AAAAAAAAAAAAAAAA", "é"])
def test_unreadable_crc64(text: str) -> None:
    """Only eight bytes are one."""
    assert crc64_of({"x-ms-content-crc64": text}) is None


def test_crc64_is_read_in_azures_order() -> None:
    """Little-endian, as Azure writes it."""
    assert crc64_of({"x-ms-content-crc64": to_azure(CRC)}) == CRC


def test_requests_wait_longer_than_others(store: AzureContainer, azure: FetchingAzure, url: FetchUrl) -> None:
    """Azure answers only when the block is staged; the connection is kept with its own timeout."""
    connections = store.http_connections
    connections.settings.read_timeout_s = 0.2
    azure.once("delay", seconds=0.5)
    assert stage(store, url) == CRC
    kept = [connection for idle in connections._idle.values() for _, connection in idle]
    assert [connection.sock.gettimeout() for connection in kept] == [0.2]
