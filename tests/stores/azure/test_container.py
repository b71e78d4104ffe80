"""The Azure container beyond its port's contract: unusable responses, foreign blocks, headers, and connections."""

import threading
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure
from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import ConnectionFailed, ForeignBlocks, TransientError, UnexpectedResponse, UsageError
from s3_to_azure.model.objects import BlobContents, Condition, ContentHeaders
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.transfer.blocks import NO_SECOND, StagedBlock
from tests.faults.faulty_proxy import Answer, FaultyProxy, Shorten
from tests.real_stores import azure_container

DATA = memoryview(b"0123456789")
CRC = CRC64NVME.digest(DATA)
BLOCK_ID = StagedBlock(0, 10, CRC, NO_SECOND, b"fingrprt").block_id


@pytest.fixture
def proxy(azure_server: LocalAzure) -> Iterator[FaultyProxy]:
    """Run Azurite behind a proxy."""
    with FaultyProxy(azure_server.account_url) as made:
        yield made


@pytest.fixture
def store(azure_server: LocalAzure, container: ContainerClient, proxy: FaultyProxy) -> Iterator[AzureContainer]:
    """Return an empty container behind the proxy."""
    made = azure_container(azure_server, str(container.container_name), account_url=proxy.url)
    yield made
    made.close()


@pytest.mark.parametrize("body", [b"", b"<BlockList><Uncommit", b"<html></html>", b"\0\xff"])
def test_broken_block_list_is_never_an_empty_one(store: AzureContainer, proxy: FaultyProxy, body: bytes) -> None:
    """An incomplete or foreign document must not make a worker send everything again."""
    store.stage_block("b", BLOCK_ID, DATA, CRC)
    proxy.always("get block list", Answer(200, {"Content-Type": "application/xml"}, body))
    with pytest.raises((TransientError, UnexpectedResponse)):
        store.list_staged("b")


@pytest.mark.parametrize("body", [b"", b"<EnumerationResults><Blobs><Bl", b"<html></html>", b"\0\xff"])
def test_broken_listing_is_never_an_empty_one(store: AzureContainer, proxy: FaultyProxy, body: bytes) -> None:
    """An unreadable listing must not be taken for an empty container."""
    proxy.plan = lambda request: (
        Answer(200, {"Content-Type": "application/xml"}, body) if "comp=list" in request.path else None
    )
    with pytest.raises((TransientError, UnexpectedResponse)):
        list(store.list(""))


def test_listing_starts_at_a_text(store: AzureContainer, proxy: FaultyProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Azurite includes the blob of that very name, as Azure does: each blob comes once, whichever page shows it."""
    names = [f"n/{number:03}" for number in range(60)]
    for name in names:
        store.put_blob(name, DATA, CRC, BlobContents({}, ContentHeaders()), Condition(None))
    pages = partial(store._client.list_blobs, results_per_page=4)
    monkeypatch.setattr(store._client, "list_blobs", pages)
    assert [blob.name for blob in store.list("n/")] == names
    starts = [request.path for request in proxy.seen if "startFrom=" in request.path]
    assert len(starts) > 10


def test_shortened_read_back_is_noticed(store: AzureContainer, proxy: FaultyProxy) -> None:
    """Too few bytes do not equal the blob."""
    store.put_blob("b", DATA, CRC, BlobContents({}, ContentHeaders()), Condition(None))
    proxy.plan = lambda request: Shorten(1) if request.method == "GET" else None
    try:
        assert store.read("b", 0, 10) != bytes(DATA)
    except (TransientError, UnexpectedResponse):
        pass


@pytest.mark.parametrize("code", ["InvalidQueryParameterValue", "InvalidBlobOrBlock", "InvalidBlockId"])
def test_every_code_for_foreign_blocks(
    store: AzureContainer, proxy: FaultyProxy, container: ContainerClient, code: str
) -> None:
    """Azure and its emulators use different codes for an id of another length."""
    container.get_blob_client("b").stage_block("short", b"foreign")
    proxy.always("put block", Answer(400, {"x-ms-error-code": code}))
    with pytest.raises(ForeignBlocks):
        store.stage_block("b", BLOCK_ID, DATA, CRC)


def test_the_same_code_without_foreign_blocks(store: AzureContainer, proxy: FaultyProxy) -> None:
    """Then the code has another cause, and is reported."""
    proxy.always("put block", Answer(400, {"x-ms-error-code": "InvalidQueryParameterValue"}))
    with pytest.raises(UnexpectedResponse, match="InvalidQueryParameterValue"):
        store.stage_block("b", BLOCK_ID, DATA, CRC)


@pytest.mark.parametrize("disposition", ['attachment; filename="a b.txt"', "attachment; filename*=UTF-8''%e2%82%ac"])
def test_headers_are_signed_as_they_are_sent(store: AzureContainer, disposition: str) -> None:
    """Content headers are part of the signature; unusual ones must not break it."""
    contents = BlobContents({"s3_etag": "e"}, ContentHeaders("text/plain", content_disposition=disposition))
    store.put_blob("b", DATA, CRC, contents, Condition(None))
    state = store.head("b")
    assert state is not None
    assert state.headers.content_disposition == disposition


@pytest.mark.parametrize("write", ["put blob", "put block list", "update"])
def test_headers_beyond_ascii_are_signed_as_they_are_sent(store: AzureContainer, write: str) -> None:
    """S3 returns a header that was uploaded as UTF-8 byte by byte; the shared key signs these bytes."""
    name = "attachment; filename=voilà"
    contents = BlobContents({}, ContentHeaders("text/plain", content_disposition=name.encode().decode("latin-1")))
    if write == "put block list":
        store.stage_block("b", BLOCK_ID, DATA, CRC)
        store.commit("b", [BLOCK_ID], contents, Condition(None))
    else:
        first = contents if write == "put blob" else BlobContents({}, ContentHeaders())
        etag = store.put_blob("b", DATA, CRC, first, Condition(None))
        if write == "update":
            store.update("b", contents, Condition(etag))
    state = store.head("b")
    assert state is not None
    # The emulator decodes what it stores.
    assert state.headers.content_disposition == name


@pytest.mark.parametrize("name", ["UPPER", "a", "with/slash", "..", "$other"])
def test_container_names_are_checked(azure_server: LocalAzure, name: str) -> None:
    """An invalid name is refused before any connection."""
    with pytest.raises(UsageError):
        azure_container(azure_server, name)


def test_connections_are_reused(store: AzureContainer, proxy: FaultyProxy, monkeypatch: Any) -> None:
    """The threads use one connection each, not a new one for each block."""
    accepted = 0
    original = proxy._server.get_request

    def counted() -> Any:
        nonlocal accepted
        accepted += 1
        return original()

    monkeypatch.setattr(proxy._server, "get_request", counted)

    def stage_ten() -> None:
        for _ in range(10):
            store.stage_block("b", BLOCK_ID, DATA, CRC)

    threads = [threading.Thread(target=stage_ten) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert proxy.count("put block") == 30
    assert accepted <= 4


def test_connection_refused_is_transient(azure_server: LocalAzure) -> None:
    """For each kind of request: the server may be up again soon."""
    store = azure_container(azure_server, "container", account_url="http://127.0.0.1:1/devstoreaccount1")
    contents = BlobContents({}, ContentHeaders())
    for act in (
        store.check,
        lambda: store.head("b"),
        lambda: store.list_staged("b"),
        lambda: list(store.list("")),
        lambda: store.stage_block("b", BLOCK_ID, DATA, CRC),
        lambda: store.commit("b", [], contents, Condition(None)),
        lambda: store.put_blob("b", DATA, CRC, contents, Condition(None)),
        lambda: store.read("b", 0, 1),
    ):
        with pytest.raises(ConnectionFailed):
            act()
    store.close()


@pytest.mark.parametrize(
    ("headers", "is_missing"),
    [({"x-ms-error-code": "BlobNotFound"}, True), ({"x-ms-request-id": "1"}, True), ({}, False), ({"Via": "x"}, False)],
)
def test_only_azures_own_404_means_that_there_is_no_blob(
    store: AzureContainer, proxy: FaultyProxy, headers: dict[str, str], *, is_missing: bool
) -> None:
    """Every balancer answers 404 for a backend that it does not know."""
    proxy.plan = lambda _: Answer(404, headers)
    if is_missing:
        assert store.head("b") is None
        assert store.list_staged("b") == []
        return
    for ask in (store.head, store.list_staged):
        with pytest.raises(UnexpectedResponse, match="404"):
            ask("b")


def test_metadata_that_somebody_else_confirms_is_not_written(store: AzureContainer, proxy: FaultyProxy) -> None:
    """Azure returns the ETag that the next write has as its condition."""
    etag = store.put_blob("b", DATA, CRC, BlobContents({}, ContentHeaders()), Condition(None))
    proxy.plan = lambda request: Answer(200) if "comp=properties" in request.path else None
    with pytest.raises(ConnectionFailed, match="no ETag"):
        store.update("b", BlobContents({"a": "b"}, ContentHeaders()), Condition(etag))


def test_requests_about_a_blob_carry_ids_of_our_own(store: AzureContainer, monkeypatch: pytest.MonkeyPatch) -> None:
    """A time-based id of the SDK can leave a file open in each thread, and each object has threads of its own."""
    monkeypatch.setattr(uuid, "uuid1", None)
    contents = BlobContents({}, ContentHeaders())
    assert store.head("b") is None
    store.stage_block("b", BLOCK_ID, DATA, CRC)
    assert len(store.list_staged("b")) == 1
    etag = store.commit("b", [BLOCK_ID], contents, Condition(None))
    store.update("b", contents, Condition(etag))
    assert store.read("b", 0, 10) == bytes(DATA)
