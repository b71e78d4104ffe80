"""Objects that are not copied, or not now: what their receipts, the log and the progress say."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from s3_to_azure.model.errors import ObjectArchived, ObjectNotFound, WrongBlobType
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Condition, ListedObject, ObjectVersion
from s3_to_azure.model.options import Archived
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import Fidelity
from s3_to_azure.transfer.object import copy_object, try_copy
from tests.fakes.contexts import BUCKET, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH, MemoryBody, MemorySource


class Archive(MemorySource):
    """Gives no object's bytes; restores each on request, once."""

    def __init__(self, *buckets: str) -> None:
        """Nothing is asked for yet."""
        super().__init__(*buckets)
        self.asked: list[tuple[str, str, int, str]] = []

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[MemoryBody]:
        """Refuse."""
        raise ObjectArchived(bucket=version.bucket, key=version.key, code="InvalidObjectState")
        yield

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        """Say whether this was the first request."""
        self.asked.append((bucket, key, days, tier))
        return len(self.asked) == 1


class TestArchived:
    """An object that S3 gives only after a restore."""

    @pytest.fixture
    def source(self) -> Archive:
        """Return an archive of one object."""
        source = Archive(BUCKET)
        source.put(BUCKET, "k", b"12345")
        return source

    @pytest.mark.parametrize("listed", [True, False])
    @pytest.mark.parametrize(("archived", "reason"), [("skip", "archived"), ("restore", "waiting_for_restore")])
    def test_left_out(self, source: Archive, archived: Archived, reason: str, listed: bool) -> None:
        """The receipt says why and of which version; the progress no longer waits for its bytes."""
        choices = Fidelity(archived=archived, restore_days=3, restore_tier="Bulk")
        progress = Progress()
        todo = task(listed=source.listed(BUCKET, "k") if listed else None)
        with transfer_context(source, MemoryDestination(), fidelity=choices, progress=progress) as context:
            progress.add(bytes_total=5 if listed else 0)
            receipt = copy_object(context, todo)
        version = source.head(BUCKET, "k")
        assert (receipt.status, receipt.reason) == ("skipped", reason)
        assert (receipt.key, receipt.etag, receipt.size_bytes) == ("k", version.etag, 5)
        assert progress.snapshot().bytes_total == 0
        assert source.asked == ([(BUCKET, "k", 3, "Bulk")] if archived == "restore" else [])

    def test_the_log_tells_the_first_request_from_the_next(
        self, source: Archive, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A restore takes hours: the next run's log says that it is under way."""
        caplog.set_level(logging.INFO)
        with transfer_context(source, MemoryDestination(), fidelity=Fidelity(archived="restore")) as context:
            copy_object(context, task())
            copy_object(context, task())
        assert [line for line in caplog.messages if "archived" in line] == [
            "'k' is archived: asked S3 to restore it",
            "'k' is archived: its restore is in progress",
        ]

    def test_failed(self, source: Archive) -> None:
        """Where the user wants to hear of it."""
        choices = Fidelity(archived="fail")
        with transfer_context(source, MemoryDestination(), fidelity=choices) as context, pytest.raises(ObjectArchived):
            copy_object(context, task())
        assert source.asked == []


def test_an_object_that_nobody_has_seen() -> None:
    """Its failure's receipt names it, and claims nothing else."""
    with transfer_context(MemorySource(BUCKET), MemoryDestination()) as context:
        outcome = try_copy(context, task("gone", blob="b/gone"), try_number=2)
    receipt = outcome.receipt
    assert isinstance(outcome.error, ObjectNotFound)
    assert (receipt.bucket, receipt.key, receipt.blob, receipt.status) == (BUCKET, "gone", "b/gone", "failed")
    assert (receipt.etag, receipt.size_bytes, receipt.try_number) == ("", 0, 2)
    assert receipt.reason.startswith(f"{outcome.error.reason()}: ")
    assert receipt.reason.endswith(str(outcome.error))


def test_try_number_is_one_unless_told() -> None:
    """In a receipt of either function."""
    source = MemorySource(BUCKET)
    source.put(BUCKET, "k", b"1")
    with transfer_context(source, MemoryDestination()) as context:
        assert copy_object(context, task()).try_number == 1
        assert try_copy(context, task()).receipt.try_number == 1


@pytest.mark.parametrize("size_bytes", [5, 3 * MIB])
@pytest.mark.parametrize("blob_type", ["AppendBlob", "BlockBlob"])
def test_what_is_left_out_is_no_longer_waited_for(size_bytes: int, blob_type: str) -> None:
    """A blob of another type is named with its type; a copy of this version is left alone."""
    source, destination, progress = MemorySource(BUCKET), MemoryDestination(), Progress()
    version = source.put(BUCKET, "k", some_bytes(size_bytes))
    record = {"s3_etag": version.etag} if blob_type == "BlockBlob" else {}
    destination.write("k", some_bytes(size_bytes), blob_type=blob_type, metadata=record)
    with transfer_context(source, destination, progress=progress) as context:
        if blob_type == "BlockBlob":
            assert copy_object(context, task()).status == "unchanged"
        else:
            with pytest.raises(WrongBlobType) as caught:
                copy_object(context, task())
            assert caught.value.attributes == {"blob": "k", "container": "container", "blob_type": "AppendBlob"}
    assert progress.snapshot().bytes_total == 0


class TestMetadataOnly:
    """An object that was written again with the same bytes."""

    def updated(self, *, holds: bool, progress: Progress) -> tuple[str, str, str, int]:
        """Copy it where the blob holds this version, or another; return status, reason, proof and bytes sent."""
        source, destination = MemorySource(BUCKET), MemoryDestination()
        version = source.put(BUCKET, "k", b"12345", metadata={"name": "new"}, last_modified=EPOCH)
        record = {"s3_etag": version.etag if holds else "x", "s3_verified_by": "crc32c", "s3_checksum": "crc32c:a"}
        condition = Condition(destination.write("k", b"12345", metadata=record))
        todo = task(listed=source.listed(BUCKET, "k"), condition=condition, metadata_only=True)
        with transfer_context(source, destination, progress=progress) as context:
            receipt = copy_object(context, todo)
        assert destination.blobs["k"].metadata["name"] == "new"
        return receipt.status, receipt.reason, receipt.verified_by, receipt.bytes_sent

    def test_updated(self) -> None:
        """Its bytes are not sent, and their proof stays the recorded one."""
        progress = Progress()
        assert self.updated(holds=True, progress=progress) == ("unchanged", "metadata_updated", "crc32c", 0)
        assert progress.snapshot().bytes_total == 0

    def test_copied_after_all(self) -> None:
        """Where the blob is no longer as planned; the progress then counts its bytes."""
        progress = Progress()
        assert self.updated(holds=False, progress=progress) == ("copied", "", "crc64nvme", 5)
        assert progress.snapshot().bytes_total == 5
