"""The look at the first blob that was written: a gateway may have dropped its metadata without a word."""

from collections.abc import Iterator

import pytest
from azure.core.credentials import AzureSasCredential
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure
from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import AccessDenied, ConnectionFailed, TransferError, UnexpectedResponse
from s3_to_azure.model.objects import BlobContents, BlobState, Condition, ContentHeaders
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.records import RecordCheck
from s3_to_azure.transfer.blocks import NO_SECOND, StagedBlock
from tests.faults.faulty_proxy import FaultyProxy, Forget, Request
from tests.real_stores import account_sas, azure_container

DATA = memoryview(b"0123456789")
CRC = CRC64NVME.digest(DATA)
BLOCK = StagedBlock(0, 10, CRC, NO_SECOND, b"fingrprt")
CONTENTS = BlobContents({"s3_etag": "e", "owner": "me"}, ContentHeaders())
NEW = Condition(None)


class Blobs:
    """What lookups find: a blob with its metadata, nothing, or an error."""

    def __init__(self, *found: dict[str, str] | TransferError | None, etag: str = "new") -> None:
        self.left = list(found)
        self._etag = etag

    def look_up(self, blob: str) -> BlobState | None:
        """Return the next one."""
        found = self.left.pop(0)
        if isinstance(found, TransferError):
            raise found
        return None if found is None else BlobState(blob, self._etag, 1, "BlockBlob", found)


def test_one_look_is_enough() -> None:
    """The first blob that has its record speaks for all that follow; one that was to have none says nothing."""
    blobs = Blobs({"s3_etag": "e"})
    check = RecordCheck("c", blobs.look_up)
    assert check.after_write("a", "new", has_record=False) == "new"
    assert len(blobs.left) == 1
    for name in "bcd":
        assert check.after_write(name, "new", has_record=True) == "new"
    check.require("e")
    assert not blobs.left


def test_a_lost_record_fails_the_first_blob_and_every_write_after_it() -> None:
    """The error says what to do; nothing more is written."""
    check = RecordCheck("c", Blobs({"owner": "me"}).look_up)
    with pytest.raises(UnexpectedResponse, match=r"'c/a'.*underscores_in_headers on"):
        check.after_write("a", "new", has_record=True)
    with pytest.raises(UnexpectedResponse, match="'c/b'"):
        check.require("b")


@pytest.mark.parametrize(
    "found",
    [
        None,
        ConnectionFailed(service="Azure", resource="a", detail="reset"),
        AccessDenied(service="Azure", resource="a", code="403", cure="Grant it."),
    ],
    ids=["deleted meanwhile", "lost", "may not look"],
)
def test_a_look_that_tells_nothing_fails_nothing(found: TransferError | None) -> None:
    """The blob is written all the same; the next one is looked at."""
    blobs = Blobs(found, {"s3_etag": "e"})
    check = RecordCheck("c", blobs.look_up)
    assert check.after_write("a", "new", has_record=True) == "new"
    assert check.after_write("b", "new", has_record=True) == "new"
    assert not blobs.left


def test_a_blob_of_another_writer_tells_nothing() -> None:
    """It has replaced the one that was written, and need have no record."""
    check = RecordCheck("c", Blobs({}, etag="theirs").look_up)
    assert check.after_write("a", "new", has_record=True) == "new"
    check.require("b")


# -- behind a gateway that drops headers with an underscore -----------------------------------------------------------


@pytest.fixture
def store(azure_server: LocalAzure, container: ContainerClient) -> Iterator[AzureContainer]:
    """Return an empty container behind the gateway; a SAS covers no header."""

    def drop(request: Request) -> Forget:
        return Forget(tuple(name for name in request.headers if "_" in name))

    with FaultyProxy(azure_server.account_url) as proxy:
        proxy.plan = drop
        sas = AzureSasCredential(account_sas(azure_server))
        made = azure_container(azure_server, str(container.container_name), account_url=proxy.url, credential=sas)
        yield made
        made.close()


def test_put_blob_is_refused_without_its_record(store: AzureContainer, container: ContainerClient) -> None:
    """Before, the copy was called verified, its metadata was lost, and each run made it again."""
    with pytest.raises(UnexpectedResponse, match="underscore"):
        store.put_blob("a", DATA, CRC, CONTENTS, NEW)
    with pytest.raises(UnexpectedResponse, match="underscore"):
        store.authorised_put_blob("b", CRC, CONTENTS, NEW)
    with pytest.raises(UnexpectedResponse, match="underscore"):
        store.stage_block("c", BLOCK.block_id, DATA, CRC)
    assert list(container.list_blob_names()) == ["a"]


def test_put_block_list_is_refused_without_its_record(store: AzureContainer) -> None:
    """So is a commit of blocks."""
    store.stage_block("a", BLOCK.block_id, DATA, CRC)
    with pytest.raises(UnexpectedResponse, match="underscore"):
        store.commit("a", [BLOCK.block_id], CONTENTS, NEW)


def test_an_update_is_refused_without_its_record(store: AzureContainer, container: ContainerClient) -> None:
    """And one of the metadata alone, which has removed the blob's own."""
    etag = str(container.upload_blob("a", b"x", metadata={"s3_etag": "e"}).get_blob_properties().etag)
    with pytest.raises(UnexpectedResponse, match="underscore"):
        store.update("a", CONTENTS, Condition(etag.strip('"')))
