"""A run is green for what is proven, and for nothing that a blob only says of itself."""

import threading
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import Any

import pytest

from s3_to_azure.model.errors import (
    AccessDenied,
    Cancelled,
    ConnectionFailed,
    RetryableObjectsFailed,
    ServerFailed,
    SomeObjectsFailed,
    TransferError,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import BlobContents, Condition, Receipt
from s3_to_azure.model.reasons import Status
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch import BatchSummary, copy_batch
from s3_to_azure.runs.report import Report, make_report
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.state.receipts import ReceiptWriter, read_receipts
from s3_to_azure.transfer.blocks import NO_SECOND, StagedBlock, fingerprint
from s3_to_azure.transfer.context import open_context
from tests.fakes.contexts import BUCKET, crc, some_bytes
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_small_object_client import MemorySmallObjectClient
from tests.fakes.memory_source import EPOCH, MemorySource
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import Night


class Azure(MemoryDestination):
    """A container that some requests do not get through to, or come back from."""

    def __init__(self) -> None:
        super().__init__()
        self.rotten: frozenset[str] = frozenset()
        self.before_commit: list[TransferError] = []
        self.half_updates: list[TransferError] = []
        self.unmarkable = False
        self.stop_at_read: threading.Event | None = None

    def read(self, blob: str, start: int, end: int) -> bytes:
        """Stop, or return other bytes for a rotten blob."""
        if self.stop_at_read:
            self.stop_at_read.set()
            raise Cancelled.now()
        data = super().read(blob, start, end)
        return bytes(len(data)) if blob in self.rotten else data

    def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
        """Fail before the commit, or commit."""
        if self.before_commit:
            raise self.before_commit.pop(0)
        return super().commit(blob, block_ids, contents, condition)

    def update(self, blob: str, contents: BlobContents, condition: Condition) -> str:
        """Write the headers alone, or all."""
        if self.unmarkable:
            raise ServerFailed(service="Azure", status=500, code="InternalError", resource=blob)
        if self.half_updates:
            held = self.blobs[blob]
            super().update(blob, replace(contents, metadata=held.metadata), condition)
            raise self.half_updates.pop()
        return super().update(blob, contents, condition)


class Rig:
    """A run over objects in memory: plan once, try batches as often as a test wants, report."""

    def __init__(self, **settings: Any) -> None:
        self.source, self.azure = MemorySource(BUCKET), Azure()
        chosen: dict[str, Any] = {"s3_prefix": "", "blob_prefix": "", "max_tasks": 1}
        self.night = Night(self.source, self.azure, MemoryState(), BUCKET, PlanSettings(**chosen | settings))
        self.plan: Plan
        self._pointer: ManifestPointer

    def begin(self, **settings: Any) -> Plan:
        """Plan a run."""
        self.night = self.night.with_settings(**settings)
        self.night.files = MemoryState()
        self._pointer = self.night.make_manifest()
        self.plan = self.night.plan(self._pointer)
        return self.plan

    def copy(self, *, try_number: int = 1, index: int = 0) -> BatchSummary | None:
        """Try a batch; return None if objects failed."""
        try:
            return self.night.copy(self.plan, index, try_number=try_number)
        except (SomeObjectsFailed, RetryableObjectsFailed):
            return None

    def forget_receipts(self) -> None:
        """Lose the receipts, as those of a killed task are lost."""
        assert isinstance(self.night.files, MemoryState)
        for name in [name for name in self.night.files.files if "/receipts/" in name]:
            del self.night.files.files[name]

    def add_receipt(self, key: str, status: Status, reason: str = "", *, try_number: int = 1) -> None:
        """Write a receipt as another worker of a try does."""
        version = self.source.head(BUCKET, key)
        receipt = Receipt(
            *(BUCKET, key, version.etag, version.size_bytes, "container", key, status, reason), try_number=try_number
        )
        with ReceiptWriter(self.night.files, self.plan.batches[0], try_number) as writer:
            writer.add(receipt)

    def report(self) -> Report:
        """Report the run."""
        return make_report(self.night.files, self._pointer)

    def receipts(self) -> list[Receipt]:
        """Return all receipts of the only batch."""
        return list(read_receipts(self.night.files, self.plan.batches[0]))

    def data(self, blob: str) -> bytes:
        """Return a blob's bytes."""
        return self.azure.blobs[blob].data

    def touch(self, blob: str, **metadata: str) -> None:
        """Edit a blob's metadata as another program does, which gives it a new ETag."""
        held = self.azure.blobs[blob]
        data = held.data
        self.azure.write(blob, data, metadata={**held.metadata, **metadata})


class TestReadBack:
    """``integrity="readback"``: what it found wrong, or has not found right, is never a success."""

    @pytest.mark.parametrize("unmarkable", [False, True])
    @pytest.mark.parametrize("forgotten", [False, True])
    def test_a_damaged_blob_does_not_become_a_copy_at_the_retry(self, unmarkable: bool, forgotten: bool) -> None:
        """Neither the receipts nor the blob launder it, and the next run copies it again."""
        rig = Rig(integrity="readback")
        rig.source.put(BUCKET, "bad", b"x" * 1_000)
        rig.source.put(BUCKET, "good", b"y" * 1_000)
        rig.begin()
        rig.azure.rotten, rig.azure.unmarkable = frozenset({"bad"}), unmarkable
        for try_number in (1, 2, 3):
            assert rig.copy(try_number=try_number) is None
            report = rig.report()
            assert (report.total("copied").objects, report.total("failed").objects) == (1, 1)
            assert report.failures[0].reason.startswith("readback_differs: ")
            if forgotten:
                rig.forget_receipts()
        rig.azure.rotten, rig.azure.unmarkable = frozenset(), False
        plan = rig.begin(integrity="auto")
        assert (plan.copy.objects, plan.unchanged.objects) == ((2, 0) if unmarkable else (1, 1))
        rig.copy()
        assert not rig.report().failed

    def test_what_is_right_again_is_copied_at_the_retry(self) -> None:
        """The bytes are sent again, and the run is green."""
        rig = Rig(integrity="readback")
        rig.source.put(BUCKET, "bad", b"x" * 1_000)
        rig.begin()
        rig.azure.rotten = frozenset({"bad"})
        rig.copy()
        rig.azure.rotten = frozenset()
        summary = rig.copy(try_number=2)
        assert summary is not None
        assert (summary.copied, summary.bytes_sent) == (1, 1_000)
        assert not rig.report().failed

    def test_a_run_that_ended_before_the_read_back_is_finished_by_the_next(self) -> None:
        """The plan does not take the blob for a copy, whatever level the next run asks for."""
        rig = Rig(integrity="readback")
        rig.source.put(BUCKET, "k", b"x" * 1_000)
        rig.begin()
        rig.azure.stop_at_read = threading.Event()
        with pytest.raises(Cancelled):
            rig.night.copy(rig.plan, 0, cancelled=rig.azure.stop_at_read)
        rig.azure.stop_at_read = None
        assert rig.begin(integrity="auto").copy.objects == 1
        rig.copy()
        assert rig.azure.blobs["k"].metadata["s3_verified_by"] == "crc64nvme"
        assert rig.begin().copy.objects == 0

    @pytest.mark.parametrize("damaged_first", [True, False])
    def test_one_worker_that_found_damage_outweighs_one_that_did_not(self, damaged_first: bool) -> None:
        """Two workers of one try disagree: the object has failed, and the next try copies it."""
        rig = Rig(integrity="readback")
        rig.source.put(BUCKET, "k", b"x" * 1_000)
        rig.begin()
        said: list[tuple[Status, str]] = [("failed", "readback_differs: no"), ("copied", "")]
        for status, reason in said if damaged_first else reversed(said):
            rig.add_receipt("k", status, reason)
        assert rig.report().failed
        summary = rig.copy(try_number=2)
        assert summary is not None
        assert (summary.done_before, summary.copied) == (0, 1)
        assert not rig.report().failed
        summary = rig.copy(try_number=3)
        assert summary is not None
        assert (summary.done_before, summary.copied) == (1, 0)


class TestAlways:
    """``overwrite="always"``: an edit of a blob's metadata does not stand for the write that the user asked for."""

    @pytest.mark.parametrize("size_bytes", [15, 3 * MIB], ids=["one request", "blocks"])
    @pytest.mark.parametrize("retry", [False, True])
    @pytest.mark.parametrize("by_client", [False, True])
    def test_damaged_bytes_are_replaced(self, size_bytes: int, retry: bool, by_client: bool) -> None:
        """In the first try, in a retry without receipts, and where the client for small objects hands back."""
        rig = Rig(block_bytes=MIB)
        rig.source.put(BUCKET, "k", some_bytes(size_bytes))
        rig.begin()
        rig.copy()
        rig.azure.blobs["k"].data = bytes(size_bytes)
        rig.begin(overwrite="always")
        rig.touch("k", catalogued="yes")
        client = partial(MemorySmallObjectClient, rig.source, rig.azure) if by_client else None
        settings = rig.night.copy_settings()
        with open_context(rig.source, rig.azure, settings, small_object_client=client) as context:
            summary = copy_batch(
                context,
                rig.night.files,
                rig.plan.batches[0],
                bucket=BUCKET,
                s3_prefix="",
                blob_prefix="",
                try_number=2 if retry else 1,
            )
        assert (summary.copied, summary.bytes_sent) == (1, size_bytes)
        assert rig.data("k") == some_bytes(size_bytes)

    def test_what_this_run_wrote_is_not_written_again(self) -> None:
        """A retry without receipts, and a blob that was touched after the write: promise 2 holds for ``always`` too."""
        rig = Rig()
        rig.source.put(BUCKET, "k", b"right")
        rig.begin()
        rig.copy()
        rig.begin(overwrite="always")
        rig.copy()
        rig.forget_receipts()
        rig.touch("k", catalogued="yes")
        summary = rig.copy(try_number=2)
        assert summary is not None
        assert (summary.done_before, summary.bytes_sent) == (1, 0)
        assert rig.azure.blobs["k"].metadata["s3_run"] == rig.plan.token

    def test_only_always_needs_to_know_the_run(self) -> None:
        """All other copies of a version are alike, and their metadata too."""
        rig = Rig()
        rig.source.put(BUCKET, "k", b"right")
        rig.begin()
        rig.copy()
        assert "s3_run" not in rig.azure.blobs["k"].metadata

    def test_each_run_writes_again(self) -> None:
        """The blob of the run before is another run's."""
        rig = Rig(overwrite="always")
        rig.source.put(BUCKET, "k", b"right")
        for _ in range(2):
            rig.begin()
            summary = rig.copy()
            assert summary is not None
            assert (summary.copied, summary.bytes_sent) == (1, 5)


class TestMetadataUpdates:
    """The same bytes with other metadata: the update of two requests is done when both are."""

    def rig(self) -> Rig:
        """Return a run over an object that was put again with other metadata."""
        rig = Rig()
        rig.source.put(BUCKET, "k", b"bytes", metadata={"name": "old"})
        rig.begin()
        rig.copy()
        rig.source.put(BUCKET, "k", b"bytes", metadata={"name": "new"}, last_modified=EPOCH + timedelta(days=1))
        rig.begin()
        return rig

    @pytest.mark.parametrize("halves", [1, 2])
    def test_an_update_that_went_half_way_is_completed(self, halves: int) -> None:
        """No byte is sent, and the new metadata is there."""
        rig = self.rig()
        rig.azure.half_updates = [ConnectionFailed(service="Azure", resource="k", detail="reset")] * halves
        summary = rig.copy()
        assert summary is not None
        assert (summary.unchanged, summary.bytes_sent) == (1, 0)
        assert rig.azure.blobs["k"].metadata["name"] == "new"

    def test_a_retry_does_not_take_half_an_update_for_a_whole_one(self) -> None:
        """The first try ended between the two requests, and its blob has a new ETag and the old metadata."""
        rig = self.rig()
        rig.azure.half_updates = [AccessDenied(service="Azure", resource="k", code="c", cure="Grant it.")]
        assert rig.copy() is None
        summary = rig.copy(try_number=2)
        assert summary is not None
        assert (summary.unchanged, summary.done_before, summary.bytes_sent) == (1, 0, 0)
        assert rig.azure.blobs["k"].metadata["name"] == "new"

    def test_a_blob_that_was_touched_since_the_plan_gets_the_new_metadata(self) -> None:
        """It still holds the bytes; before, it was reported as copied with the old metadata."""
        rig = self.rig()
        rig.touch("k", catalogued="yes")
        summary = rig.copy()
        assert summary is not None
        assert (summary.unchanged, summary.bytes_sent) == (1, 0)
        assert rig.azure.blobs["k"].metadata["name"] == "new"

    def test_a_finished_update_is_found_at_the_retry(self) -> None:
        """Its receipt was lost, and its record has the object's new time."""
        rig = self.rig()
        rig.copy()
        rig.forget_receipts()
        summary = rig.copy(try_number=2)
        assert summary is not None
        assert (summary.done_before, summary.unchanged) == (1, 0)


def test_a_forged_metadata_edit_does_not_replace_a_write() -> None:
    """Between plan and copy somebody gives an older copy the ETag of the new version: the bytes are written."""
    rig = Rig()
    rig.source.put(BUCKET, "k", b"old bytes")
    rig.begin()
    rig.copy()
    version = rig.source.put(BUCKET, "k", b"new bytes")
    rig.begin()
    rig.touch("k", s3_etag=version.etag, s3_last_modified=version.last_modified.isoformat())
    summary = rig.copy()
    assert summary is not None
    assert (summary.copied, summary.bytes_sent, rig.data("k")) == (1, 9, b"new bytes")


def test_bytes_that_were_refused_are_not_counted_as_sent() -> None:
    """Another worker has committed the object meanwhile: this one has sent it in vain."""
    rig = Rig()
    rig.source.put(BUCKET, "k", b"bytes")
    plan = rig.begin()
    rig.copy()
    rig.forget_receipts()
    summary = rig.night.copy(plan, 0)
    assert (summary.copied, summary.bytes_sent, summary.bytes_resumed) == (1, 0, 5)
    (receipt,) = rig.receipts()
    assert (receipt.status, receipt.reason, receipt.bytes_sent) == ("copied", "by_earlier_try", 0)


SPLIT: dict[str, Any] = {"split_bytes": 4 * MIB, "batch_bytes": MIB, "max_tasks": 10, "block_bytes": MIB}


class TestSplitObjects:
    """Blocks of a split object that are staged in two ways never lock it up."""

    def stage(self, rig: Rig, start: int, data: bytes) -> None:
        """Stage a block as a task of an earlier run does."""
        version = rig.source.head(BUCKET, "giant")
        block = StagedBlock(start, start + len(data), crc(data), NO_SECOND, fingerprint(version))
        rig.azure.stage_foreign("giant", block.block_id.encode(), data)

    @pytest.mark.parametrize("starts", [[0], [7], [0, 5], [1, 2, 6, 7], list(range(8))])
    @pytest.mark.parametrize("good_too", [True, False])
    def test_two_blocks_at_one_start_are_read_again_by_the_last_task(self, starts: list[int], good_too: bool) -> None:
        """Whoever staged them and in whatever ranges they lie: the first run commits."""
        rig = Rig(**SPLIT)
        data = some_bytes(8 * MIB)
        rig.source.put(BUCKET, "giant", data)
        for number in starts:
            start = number * MIB
            self.stage(rig, start, some_bytes(MIB, seed=99))
            self.stage(rig, start, data[start : start + MIB] if good_too else some_bytes(MIB, seed=98))
        plan = rig.begin()
        assert len(plan.batches) == 2
        for batch in plan.batches:
            rig.copy(index=batch.index)
        assert not rig.report().failed
        assert rig.data("giant") == data

    def test_damage_on_the_way_and_a_failed_commit(self) -> None:
        """The natural cause: each range has read one block damaged, and Azure failed the only commit."""

        class Flipping(MemorySource):
            flips = frozenset({0, 5 * MIB})

            def served(self, key: str, start: int, data: bytes) -> bytes:
                if start in self.flips:
                    self.flips = self.flips - {start}
                    return bytes([data[0] ^ 1]) + data[1:]
                return data

        rig = Rig(**SPLIT)
        rig.night.source = rig.source = Flipping(BUCKET)
        rig.source.put(BUCKET, "giant", some_bytes(8 * MIB))
        rig.begin()
        rig.azure.before_commit = [ServerFailed(service="Azure", status=500, code="c", resource="giant")] * 3
        assert [rig.copy(index=index) is None for index in (0, 1)] == [False, True]
        assert rig.copy(index=1, try_number=2) is not None
        assert not rig.report().failed
        assert rig.data("giant") == some_bytes(8 * MIB)

    def test_a_range_that_misses_other_blocks_reads_nothing_in_vain(self) -> None:
        """While another task still has blocks to send, it will read its own doubtful ones."""
        rig = Rig(**SPLIT)
        data = some_bytes(8 * MIB)
        rig.source.put(BUCKET, "giant", data)
        for seed in (98, 99):
            self.stage(rig, 5 * MIB, some_bytes(MIB, seed=seed))
        rig.begin()
        summary = rig.copy(index=0)
        assert summary is not None
        assert (summary.staged, summary.bytes_sent) == (1, 4 * MIB)
