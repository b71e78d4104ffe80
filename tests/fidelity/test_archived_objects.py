"""Archived objects are skipped, fail, or are restored on request and copied by a later run."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.errors import ObjectArchived, UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.settings import CopySettings, Fidelity
from s3_to_azure.transfer.context import CopyTask, open_context
from s3_to_azure.transfer.object import copy_object
from s3_to_azure.transfer.pool import Tally, copy_many
from tests.fakes.memory_destination import MemoryDestination
from tests.fidelity.slow_archive import SlowArchive
from tests.fidelity.uploads import some_bytes
from tests.real_stores import azure_container, s3_source

SMALL, LARGE, WARM = "small", "large", "warm"


@pytest.fixture
def archive() -> SlowArchive:
    """Return a source of two archived objects, one of them of several blocks, and one that is not archived."""
    source = SlowArchive("b")
    source.put("b", SMALL, b"small")
    source.put("b", LARGE, some_bytes(3 * MIB))
    source.put("b", WARM, b"warm")
    source.archived = {SMALL, LARGE}
    return source


@pytest.fixture
def run(archive: SlowArchive) -> Callable[..., tuple[dict[str, Receipt], Tally]]:
    """Return a function that copies all three objects and returns the receipts by key."""
    destination = MemoryDestination("c")

    def once(**choices: Any) -> tuple[dict[str, Receipt], Tally]:
        settings = CopySettings(block_bytes=MIB, connections=1, fidelity=Fidelity(**choices))
        tally = Tally()
        with open_context(archive, destination, settings) as context:
            tasks = [CopyTask("b", item.key, item.key, listed=item) for item in archive.list("b", "")]
            outcomes = list(copy_many(context, tasks))
        for outcome in outcomes:
            tally.add(outcome.receipt, outcome.error)
        return {outcome.receipt.key: outcome.receipt for outcome in outcomes}, tally

    return once


def test_restore_is_requested_once_and_copied_later(archive: SlowArchive, run: Callable[..., Any]) -> None:
    """A restore is requested once, counted as waiting while it lasts, and copied by a later run."""
    for _ in range(3):
        receipts, tally = run(archived="restore", restore_days=3, restore_tier="Bulk")
        assert tally.error() is None
        for key in (SMALL, LARGE):
            assert (receipts[key].status, receipts[key].reason) == ("skipped", "waiting_for_restore")
            assert receipts[key].etag
            assert receipts[key].size_bytes
    assert sorted(archive.asked) == [(LARGE, 3, "Bulk"), (SMALL, 3, "Bulk")]
    archive.finish_restores()
    receipts, _ = run(archived="restore")
    assert {key: receipt.status for key, receipt in receipts.items()} == {
        SMALL: "copied",
        LARGE: "copied",
        WARM: "unchanged",
    }
    receipts, _ = run(archived="restore")
    assert {receipt.status for receipt in receipts.values()} == {"unchanged"}
    assert len(archive.asked) == 2


def test_skip_requests_no_restore(archive: SlowArchive, run: Callable[..., Any]) -> None:
    """With ``skip`` an archived object is skipped with its reason, and no restore is requested."""
    receipts, tally = run(archived="skip")
    assert (receipts[LARGE].status, receipts[LARGE].reason) == ("skipped", "archived")
    assert receipts[WARM].status == "copied"
    assert tally.error() is None
    assert archive.asked == []


def test_fail_is_the_default(archive: SlowArchive, run: Callable[..., Any]) -> None:
    """Without a choice an archived object fails with its reason."""
    receipts, tally = run()
    assert receipts[SMALL].status == receipts[LARGE].status == "failed"
    assert receipts[SMALL].reason.startswith("object_archived: ")
    assert tally.error() is not None
    assert archive.asked == []


def test_unknown_choices_are_refused() -> None:
    """A misspelt choice is a ``UsageError`` before any request."""
    for wrong in ({"archived": "thaw"}, {"restore_days": 0}, {"restore_tier": "Now"}, {"tiers": {"GLACIER": "Frozen"}}):
        with pytest.raises(UsageError):
            Fidelity.of(wrong)
    with pytest.raises(UsageError, match="archivd"):
        Fidelity.of({"archivd": "skip"})


class TestOnARealServer:
    """The same on LocalStack, which refuses to read archived objects and restores them at once."""

    @pytest.fixture
    def copied(
        self, s3_server: LocalS3, azure_server: LocalAzure, bucket: str, container: ContainerClient
    ) -> Iterator[Callable[..., Receipt]]:
        """Return a function that copies the object of the test."""
        source, destination = s3_source(s3_server), azure_container(azure_server, container.container_name)

        def run(**choices: Any) -> Receipt:
            with open_context(
                source, destination, CopySettings(connections=1, fidelity=Fidelity(**choices))
            ) as context:
                return copy_object(context, CopyTask(bucket, "k", "k"))

        yield run
        source.close()
        destination.close()

    @pytest.mark.parametrize("storage_class", ["GLACIER", "DEEP_ARCHIVE"])
    def test_restore_is_requested_once_and_copied_later(
        self,
        storage_class: str,
        copied: Callable[..., Receipt],
        s3_client: Any,
        bucket: str,
        container: ContainerClient,
    ) -> None:
        """An archived object is refused, then its restore is requested, then it is copied."""
        s3_client.put_object(Bucket=bucket, Key="k", Body=b"cold", StorageClass=storage_class)
        with pytest.raises(ObjectArchived):
            copied()
        assert copied(archived="skip").reason == "archived"
        assert "Restore" not in s3_client.head_object(Bucket=bucket, Key="k")
        assert copied(archived="restore").reason == "waiting_for_restore"
        assert "Restore" in s3_client.head_object(Bucket=bucket, Key="k")
        assert copied(archived="restore", tiers={storage_class: "Cool"}).status == "copied"
        assert container.download_blob("k").readall() == b"cold"
        assert container.get_blob_client("k").get_blob_properties().blob_tier == "Cool"
