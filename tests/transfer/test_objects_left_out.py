"""Receipts, log lines and progress of objects that are not copied, or not yet."""

import logging
import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import partial

import pytest

from s3_to_azure.model import log_lines
from s3_to_azure.model.errors import ConditionNotMet, ObjectArchived, ObjectNotFound, WrongBlobType
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.log_lines import SHOWN
from s3_to_azure.model.names import STATE_FOLDER
from s3_to_azure.model.objects import BlobContents, Condition, ListedObject, ObjectVersion
from s3_to_azure.model.options import Archived
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import Fidelity
from s3_to_azure.transfer.object import copy_object, try_copy
from s3_to_azure.transfer.pool import copy_many
from s3_to_azure.transfer.verify import verify_object
from tests.fakes.contexts import BUCKET, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_small_object_client import MemorySmallObjectClient
from tests.fakes.memory_source import EPOCH, MemoryBody, MemorySource


class Archive(MemorySource):
    """Refuses to return any object's bytes; the first request to restore one starts its restore."""

    def __init__(self, *buckets: str) -> None:
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
        """Return whether this is the first request."""
        self.asked.append((bucket, key, days, tier))
        return len(self.asked) == 1


class TestArchived:
    """An object that S3 returns only after a restore."""

    @pytest.fixture
    def source(self) -> Archive:
        """Return an archive of one object."""
        source = Archive(BUCKET)
        source.put(BUCKET, "k", b"12345")
        return source

    @pytest.mark.parametrize("listed", [True, False])
    @pytest.mark.parametrize(("archived", "reason"), [("skip", "archived"), ("restore", "waiting_for_restore")])
    def test_archived_object_is_skipped(self, source: Archive, archived: Archived, reason: str, listed: bool) -> None:
        """The receipt has reason and version, and the progress no longer includes its bytes."""
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

    def test_log_tells_the_first_restore_request_from_the_next(
        self, source: Archive, caplog: pytest.LogCaptureFixture
    ) -> None:
        """The log says whether a restore was requested or is in progress."""
        caplog.set_level(logging.INFO)
        with transfer_context(source, MemoryDestination(), fidelity=Fidelity(archived="restore")) as context:
            copy_object(context, task())
            copy_object(context, task())
        assert [line for line in caplog.messages if "archived" in line] == [
            "'k' is archived: asked S3 to restore it",
            "'k' is archived: its restore is in progress",
        ]

    def test_thousands_of_restores_take_few_lines(
        self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The first ones in full and the number of the others; each receipt has its reason."""
        caplog.set_level(logging.INFO, "s3_to_azure")
        # However long a busy machine takes.
        monkeypatch.setattr(log_lines, "COUNTED_EVERY_S", math.inf)
        source = Archive(BUCKET)
        for number in range(1_000):
            source.put(BUCKET, f"{number}", b"12345")
        with transfer_context(source, MemoryDestination(), fidelity=Fidelity(archived="restore")) as context:
            receipts = [try_copy(context, task(f"{number}")).receipt for number in range(1_000)]
        assert {receipt.reason for receipt in receipts} == {"waiting_for_restore"}
        assert len(source.asked) == 1_000
        archived = [line for line in caplog.messages if "archived" in line]
        assert len(archived) == SHOWN + 1
        assert archived[-1] == "980 more lines like this: '999' is archived: its restore is in progress"

    def test_archived_object_fails_on_request(self, source: Archive) -> None:
        """With ``archived="fail"`` an archived object fails, and no restore is requested."""
        choices = Fidelity(archived="fail")
        with transfer_context(source, MemoryDestination(), fidelity=choices) as context, pytest.raises(ObjectArchived):
            copy_object(context, task())
        assert source.asked == []


def test_object_never_seen_has_a_receipt() -> None:
    """The receipt of a failed lookup names the object, and has neither ETag nor size."""
    with transfer_context(MemorySource(BUCKET), MemoryDestination()) as context:
        outcome = try_copy(context, task("gone", blob="b/gone"), try_number=2)
    receipt = outcome.receipt
    assert isinstance(outcome.error, ObjectNotFound)
    assert (receipt.bucket, receipt.key, receipt.blob, receipt.status) == (BUCKET, "gone", "b/gone", "failed")
    assert (receipt.etag, receipt.size_bytes, receipt.try_number) == ("", 0, 2)
    assert receipt.reason.startswith(f"{outcome.error.reason()}: ")
    assert receipt.reason.endswith(str(outcome.error))


def test_try_number_defaults_to_one() -> None:
    """Receipts of both functions have try number 1 by default."""
    source = MemorySource(BUCKET)
    source.put(BUCKET, "k", b"1")
    with transfer_context(source, MemoryDestination()) as context:
        assert copy_object(context, task()).try_number == 1
        assert try_copy(context, task()).receipt.try_number == 1


@pytest.mark.parametrize("size_bytes", [5, 3 * MIB])
@pytest.mark.parametrize("blob_type", ["AppendBlob", "BlockBlob"])
def test_progress_excludes_objects_left_out(size_bytes: int, blob_type: str) -> None:
    """The bytes of an unchanged object, and of one that is refused, no longer count in the total."""
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


@pytest.mark.parametrize("listed", [False, True])
@pytest.mark.parametrize("small", [False, True])
def test_no_copy_is_made_into_the_state_folder(*, listed: bool, small: bool) -> None:
    """Without a plan too, as from a list of keys: whoever can write there can change what the next task copies."""
    source, destination, progress = MemorySource(BUCKET), MemoryDestination(), Progress()
    source.put(BUCKET, "plan.json", b"{}")
    blob = f"{STATE_FOLDER}/dag/run/plan.json"
    todo = task("plan.json", blob=blob, listed=source.listed(BUCKET, "plan.json") if listed else None)
    if small:
        todo = replace(todo, condition=Condition(None))
    client = partial(MemorySmallObjectClient, source, destination)
    with transfer_context(source, destination, progress=progress, small_object_client=client) as context:
        progress.add(bytes_total=2 if listed else 0)
        (outcome,) = copy_many(context, [todo])
        assert verify_object(context, todo).reason == "reserved_name"
    assert (outcome.receipt.status, outcome.receipt.reason) == ("skipped", "reserved_name")
    assert progress.snapshot().bytes_total == 0
    assert destination.blobs == {}


class TestMetadataOnly:
    """An object that was uploaded again with the same bytes."""

    def updated(self, *, holds: bool, progress: Progress) -> tuple[str, str, str, int]:
        """Update the blob of this version, or of another; return the receipt's status, reason, level and bytes sent."""
        source, destination = MemorySource(BUCKET), MemoryDestination()
        version = source.put(BUCKET, "k", b"12345", metadata={"name": "new"}, last_modified=EPOCH)
        record = {"s3_etag": version.etag if holds else "x", "s3_verified_by": "crc32c", "s3_checksum": "crc32c:a"}
        condition = Condition(destination.write("k", b"12345", metadata=record))
        todo = task(listed=source.listed(BUCKET, "k"), condition=condition, metadata_only=True)
        with transfer_context(source, destination, progress=progress) as context:
            receipt = copy_object(context, todo)
        assert destination.blobs["k"].metadata["name"] == "new"
        assert destination.blobs["k"].metadata["s3_verified_by"] == receipt.verified_by
        return receipt.status, receipt.reason, receipt.verified_by, receipt.bytes_sent

    def test_metadata_is_updated_without_sending_bytes(self) -> None:
        """The bytes are not sent, and the recorded verification is kept."""
        progress = Progress()
        assert self.updated(holds=True, progress=progress) == ("unchanged", "metadata_updated", "crc32c", 0)
        assert progress.snapshot().bytes_total == 0

    def test_equal_metadata_is_not_written(self) -> None:
        """A store that lists another date than it answers does not cost a write in every run."""
        source, destination = MemorySource(BUCKET), MemoryDestination()
        version = source.put(BUCKET, "k", b"12345", metadata={"name": "same"})
        with transfer_context(source, destination) as context:
            copy_object(context, task())
            etag = destination.blobs["k"].etag
            listed = replace(source.listed(BUCKET, "k"), last_modified=version.last_modified + timedelta(days=1))
            receipt = copy_object(context, task(listed=listed, condition=Condition(etag), metadata_only=True))
        assert (receipt.status, receipt.reason, destination.blobs["k"].etag) == ("unchanged", "", etag)

    @pytest.mark.parametrize("lost", [False, True])
    def test_other_metadata_under_equal_headers_is_written(self, *, lost: bool) -> None:
        """Where the answer to the update was lost, the retry is refused, and the blob itself shows that it is done."""

        class Losing(MemoryDestination):
            def update(self, blob: str, contents: BlobContents, condition: Condition) -> str:
                etag = super().update(blob, contents, condition)
                if lost:
                    raise ConditionNotMet(blob=blob, container=self.container, code="ConditionNotMet")
                return etag

        source, destination = MemorySource(BUCKET), Losing()
        source.put(BUCKET, "k", b"12345", metadata={"name": "old"})
        with transfer_context(source, destination) as context:
            copy_object(context, task())
            source.put(BUCKET, "k", b"12345", metadata={"name": "new"}, last_modified=EPOCH)
            condition = Condition(destination.blobs["k"].etag)
            todo = task(listed=source.listed(BUCKET, "k"), condition=condition, metadata_only=True)
            receipt = copy_object(context, todo)
        assert (receipt.status, receipt.reason) == ("unchanged", "metadata_updated")
        assert (receipt.verified_by, receipt.bytes_sent) == ("crc64nvme", 0)
        assert destination.blobs["k"].metadata["name"] == "new"

    def test_changed_blob_is_copied_after_all(self) -> None:
        """A blob that is no longer as planned is copied, and the progress counts its bytes."""
        progress = Progress()
        assert self.updated(holds=False, progress=progress) == ("copied", "", "crc64nvme", 5)
        assert progress.snapshot().bytes_total == 5
