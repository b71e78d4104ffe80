"""One version in one request or in many: staged blocks, second readings, lost blocks, ranges of other tasks."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from s3_to_azure.model.checksums import CRC32C, MD5, SERIAL
from s3_to_azure.model.errors import (
    ConnectionFailed,
    DestinationConflict,
    IntegrityError,
    IntegrityUnavailable,
    ReadbackDiffers,
    RereadDiffers,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import (
    BlobContents,
    Block,
    Condition,
    ListedBlock,
    ListedObject,
    ObjectVersion,
    PartSizes,
    SourceChecksum,
)
from s3_to_azure.transfer.blocks import NO_SECOND, StagedBlock, fingerprint, second_digest
from s3_to_azure.transfer.integrity import checksum_text
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import BUCKET, crc, record_of, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.odd_sources import Differing, InParts

DATA = some_bytes(4 * MIB)
ABSENT = Condition(None)


def block(version: ObjectVersion, start: int, data: bytes, second: bytes = NO_SECOND) -> StagedBlock:
    """Return a block of the version as a worker stages it."""
    return StagedBlock(start, start + len(data), crc(data), second, fingerprint(version))


def stage(destination: MemoryDestination, staged: StagedBlock, data: bytes) -> None:
    """Stage the block as another worker would."""
    destination.stage_foreign("k", staged.block_id.encode(), data)


class Meddled(MemoryDestination):
    """A container that runs an action just before the next commit, or after some staged blocks."""

    before_commit: Callable[[], object] | None = None
    after_blocks: tuple[int, Callable[[], object]] = (0, lambda: None)

    def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
        """Run the action, then commit."""
        happens, self.before_commit = self.before_commit, None
        if happens:
            happens()
        return super().commit(blob, block_ids, contents, condition)

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        """Run the action, then write."""
        happens, self.before_commit = self.before_commit, None
        if happens:
            happens()
        return super().put_blob(blob, data, crc64, contents, condition)

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        """Stage the block, then run the action if it was the last to wait for."""
        super().stage_block(blob, block_id, data, crc64)
        left, happens = self.after_blocks
        self.after_blocks = left - 1, happens
        if left == 1:
            happens()


class TestReread:
    """``reread`` reads every block until two consecutive readings are equal."""

    def source(self, flips: dict[int, int]) -> Differing:
        """Return an object without a checksum."""
        source = Differing(BUCKET)
        source.offset, source.flips = 2 * MIB + 1, flips
        source.put(BUCKET, "k", DATA, checksum=None)
        return source

    def test_equal_readings(self) -> None:
        """Each byte is read twice and sent once."""
        source, destination = self.source({}), MemoryDestination()
        with transfer_context(source, destination, integrity="reread") as context:
            receipt = copy_object(context, task())
        assert (receipt.verified_by, receipt.bytes_sent) == ("reread", len(DATA))
        assert destination.blobs["k"].metadata["s3_verified_by"] == "reread"
        assert source.bytes_served == 2 * len(DATA)

    @pytest.mark.parametrize("flips", [{1: 1}, {2: 1}])
    def test_one_reading_differs(self, flips: dict[int, int], caplog: pytest.LogCaptureFixture) -> None:
        """Only the block that differs is staged again, and read once more."""
        source, destination = self.source(flips), MemoryDestination()
        with transfer_context(source, destination, integrity="reread") as context:
            receipt = copy_object(context, task())
        assert (receipt.verified_by, receipt.bytes_sent) == ("reread", len(DATA) + MIB)
        assert destination.blobs["k"].data == DATA
        assert source.bytes_served == 2 * len(DATA) + 2 * MIB
        assert "Two readings of 1 blocks of 'k' differ: staging them again" in caplog.messages

    def test_readings_that_always_differ(self) -> None:
        """After three comparisons the copy fails, and nothing is committed."""
        source, destination = self.source({number: number for number in range(1, 99)}), MemoryDestination()
        with (
            transfer_context(source, destination, integrity="reread") as context,
            pytest.raises(RereadDiffers) as caught,
        ):
            copy_object(context, task())
        assert caught.value.attributes["key"] == "k"
        assert source.readings == 6
        assert destination.blobs == {}

    def test_second_reading_is_retried(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """A second reading that breaks off is retried as any request, and counted."""
        source, destination = self.source({}), MemoryDestination()
        served, cuts = source.served, [1]

        def lame(key: str, start: int, data: bytes) -> bytes:
            if source.bytes_served < len(DATA) or not cuts:
                return served(key, start, data)
            cuts.pop()
            return data[:5]

        monkeypatch.setattr(source, "served", lame)
        with transfer_context(source, destination, integrity="reread") as context:
            receipt = copy_object(context, task())
        assert receipt.verified_by == "reread"
        assert receipt.retries == 1


class TestLostBlocks:
    """Azure refuses the block list: blocks that it still holds are not sent again."""

    @pytest.mark.parametrize("checksum", ["crc64nvme", "crc32c"])
    def test_lost_blocks_are_staged_again(self, checksum: str) -> None:
        """Only the lost block is sent again, and the whole object is verified."""
        source, destination = MemorySource(BUCKET), Meddled()
        source.put(BUCKET, "k", DATA, checksum=checksum)
        destination.before_commit = lambda: destination.staged["k"].pop(next(iter(destination.staged["k"])))
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task())
        assert (receipt.verified_by, receipt.bytes_sent) == (checksum, len(DATA) + MIB)
        assert destination.blobs["k"].data == DATA

    def test_block_without_the_needed_digest_is_lost(self) -> None:
        """A block of another writer without the needed digest does not replace the lost one."""
        source, destination = MemorySource(BUCKET), Meddled()
        version = source.put(BUCKET, "k", DATA, checksum="crc32c")

        def replaced() -> None:
            ours = block(version, 0, DATA[:MIB], second_digest(CRC32C, memoryview(DATA)[:MIB]))
            destination.staged["k"].pop(ours.block_id.encode())
            stage(destination, block(version, 0, DATA[:MIB]), DATA[:MIB])

        destination.before_commit = replaced
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task())
        assert (receipt.verified_by, receipt.bytes_sent) == ("crc32c", len(DATA) + MIB)

    def test_block_that_is_read_wrongly_the_second_time_is_not_committed(self) -> None:
        """What is staged again is verified again: a byte that flips in its second reading does not reach the blob."""
        source, destination = Differing(BUCKET), Meddled()
        version = source.put(BUCKET, "k", DATA)
        source.flips = {2: 1}
        first = block(version, 0, DATA[:MIB]).block_id.encode()
        destination.before_commit = lambda: destination.staged["k"].pop(first)
        with transfer_context(source, destination) as context:
            assert copy_object(context, task()).verified_by == "crc64nvme"
        assert destination.blobs["k"].data == DATA
        # The third reading finds the flipped byte, the fourth replaces it.
        assert source.readings == 4


@pytest.mark.parametrize("size_bytes", [10, 3 * MIB])
@pytest.mark.parametrize("overwrite", ["never", "if_changed"])
def test_older_copy_written_meanwhile(size_bytes: int, overwrite: str) -> None:
    """A copy of an older version is replaced unless the user chose ``never``, in one request as in many."""
    source, destination = MemorySource(BUCKET), Meddled()
    data = some_bytes(size_bytes)
    version = source.put(BUCKET, "k", data)
    older = (version.last_modified - timedelta(days=1)).isoformat()
    metadata = {"s3_etag": "older", "s3_last_modified": older}

    def older_copy() -> None:
        staged = destination.staged.get("k", {})
        destination.write("k", b"older", metadata=metadata)
        destination.staged["k"] = staged

    destination.before_commit = older_copy
    with transfer_context(source, destination, overwrite=overwrite) as context:
        if overwrite == "never":
            with pytest.raises(DestinationConflict):
                copy_object(context, task())
        else:
            copy_object(context, task())
    assert destination.blobs["k"].data == (b"older" if overwrite == "never" else data)


@pytest.mark.parametrize("size_bytes", [0, 10, 3 * MIB])
def test_read_back(size_bytes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes that Azure returns are compared block by block, and a wrong byte is an error."""
    source, destination = MemorySource(BUCKET), MemoryDestination()
    source.put(BUCKET, "k", some_bytes(size_bytes))
    with transfer_context(source, destination, integrity="readback", overwrite="always") as context:
        assert copy_object(context, task()).verified_by == "crc64nvme+readback"
        monkeypatch.setattr(destination, "read", lambda _blob, start, end: b"?" * (end - start))
        if size_bytes:
            with pytest.raises(ReadbackDiffers):
                copy_object(context, task())


class TestStagedBefore:
    """Blocks that earlier tries staged, and blocks that must not be used."""

    def test_range_keeps_its_block_size(self) -> None:
        """All ranges of a giant object share one block size, whatever is staged."""
        source, destination = MemorySource(BUCKET), MemoryDestination()
        version = source.put(BUCKET, "k", DATA)
        stage(destination, block(version, 0, DATA[: 2 * MIB]), DATA[: 2 * MIB])
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task(condition=ABSENT, within=Block(0, 2 * MIB), block_bytes=MIB))
        assert (receipt.status, receipt.blocks, receipt.blocks_resumed) == ("staged", 2, 0)
        assert receipt.bytes_sent == 2 * MIB

    def test_md5_keeps_its_one_block(self) -> None:
        """An MD5 needs all bytes in one block, whatever is staged."""
        source, destination = InParts(BUCKET), MemoryDestination()
        source.put(BUCKET, "k", DATA, checksum=None)
        version = source.change(BUCKET, "k", weaker=(SourceChecksum("md5", MD5.digest(memoryview(DATA))),))
        second = second_digest(MD5, memoryview(DATA)[:MIB])
        stage(destination, block(version, 0, DATA[:MIB], second), DATA[:MIB])
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task())
        assert (receipt.verified_by, receipt.blocks, receipt.blocks_resumed) == ("md5", 1, 0)

    def test_failed_listing_is_retried(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        """The retry's log line says that the staged blocks were listed."""
        source, destination = MemorySource(BUCKET), MemoryDestination()
        source.put(BUCKET, "k", DATA)
        lost = [ConnectionFailed(service="Azure", resource="k", detail="reset")]
        listed = destination.list_staged

        def list_staged(blob: str) -> Sequence[ListedBlock]:
            if lost:
                raise lost.pop()
            return listed(blob)

        monkeypatch.setattr(destination, "list_staged", list_staged)
        with transfer_context(source, destination) as context:
            assert copy_object(context, task()).retries == 1
        assert " to list the staged blocks of 'k' failed" in caplog.text

    def test_damaged_block_is_staged_again(self, caplog: pytest.LogCaptureFixture) -> None:
        """A staged block with wrong bytes is found by reading all blocks again, and the log says so."""
        source, destination = MemorySource(BUCKET), MemoryDestination()
        version = source.put(BUCKET, "k", DATA)
        wrong = b"?" * MIB
        stage(destination, block(version, MIB, wrong), wrong)
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task())
        assert (receipt.bytes_sent, receipt.blocks_resumed) == (len(DATA), 1)
        assert destination.blobs["k"].data == DATA
        assert [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING] == [
            "The blocks of 'k' do not combine into S3's checksum: reading all of them again to find the damaged ones",
            "1 damaged blocks of 'k' found: staging them again",
        ]

    def test_block_that_stays_damaged_is_not_committed(self) -> None:
        """Promise 3: what was staged again is compared again; a byte that flips once more fails the object."""
        source, destination = Differing(BUCKET), MemoryDestination()
        source.put(BUCKET, "k", DATA)
        source.flips = {1: 1, 3: 2}
        with transfer_context(source, destination) as context, pytest.raises(IntegrityError):
            copy_object(context, task())
        assert destination.blobs == {}


class TestRangesOfOtherTasks:
    """A range task stages its own blocks, and looks at what the other ranges did."""

    FIRST = Block(0, 2 * MIB)

    def test_range_counts_its_own_blocks(self) -> None:
        """A range that does not complete the object reports ``staged`` with its own blocks."""
        source, destination = MemorySource(BUCKET), MemoryDestination()
        source.put(BUCKET, "k", DATA)
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task(condition=ABSENT, within=self.FIRST, block_bytes=MIB))
        assert (receipt.status, receipt.blocks, receipt.etag) == ("staged", 2, source.head(BUCKET, "k").etag)

    def test_blocks_of_other_ranges_are_not_its_own(self) -> None:
        """Blocks that the other ranges have staged are counted by their receipts, and not once more by this one."""
        source, destination = MemorySource(BUCKET), MemoryDestination()
        version = source.put(BUCKET, "k", DATA)
        for start in range(MIB, 4 * MIB, MIB):
            stage(destination, block(version, start, DATA[start : start + MIB]), DATA[start : start + MIB])
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task(condition=ABSENT, within=self.FIRST, block_bytes=MIB))
            assert context.progress.snapshot().bytes_resumed == MIB
        assert (receipt.status, receipt.blocks_resumed, receipt.bytes_sent) == ("copied", 1, MIB)
        assert destination.blobs["k"].data == DATA

    @pytest.mark.parametrize("blocks", [0, 2])
    def test_another_range_committed_meanwhile(self, blocks: int) -> None:
        """A commit before this range's first block, or after its last, is reported as ``copied``."""
        source, destination = MemorySource(BUCKET), Meddled()
        version = source.put(BUCKET, "k", DATA)

        def committed() -> None:
            proof = {"s3_verified_by": "crc64nvme", "s3_checksum": checksum_text(version)}
            destination.write("k", DATA, metadata=record_of(version, **proof))

        if blocks:
            destination.after_blocks = blocks, committed
        else:
            committed()
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task(condition=ABSENT, within=self.FIRST, block_bytes=MIB))
            snapshot = context.progress.snapshot()
        assert (receipt.status, receipt.blocks, receipt.etag) == ("copied", 4, version.etag)
        assert receipt.bytes_sent == blocks * MIB
        # The progress counts this range, and not the object once more for each range.
        assert snapshot.bytes_sent + snapshot.bytes_resumed == self.FIRST.size_bytes
        assert (receipt.verified_by, destination.commits) == ("crc64nvme", 0)

    def test_block_without_the_needed_digest_is_missing(self) -> None:
        """A block of another range without the needed digest leaves the set incomplete."""
        source, destination = MemorySource(BUCKET), MemoryDestination()
        version = source.put(BUCKET, "k", DATA, checksum="crc32c")
        for start in (2 * MIB, 3 * MIB):
            stage(destination, block(version, start, DATA[start : start + MIB]), DATA[start : start + MIB])
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task(condition=ABSENT, within=self.FIRST, block_bytes=MIB))
        assert (receipt.status, destination.blobs) == ("staged", {})


ONE_BLOCK = b"0123456789"


@pytest.fixture
def destination() -> MemoryDestination:
    """Return an empty container."""
    return MemoryDestination()


@pytest.mark.parametrize(
    ("flips", "readings"), [({}, 2), ({1: 1}, 3), ({2: 1}, 0), ({1: 1, 2: 1}, 2), ({1: 1, 2: 2, 3: 3}, 0)]
)
def test_reread_of_one_block(flips: dict[int, int], readings: int, destination: MemoryDestination) -> None:
    """Two consecutive readings must be equal; after the third one the copy fails, and nothing is written."""
    source = Differing(BUCKET)
    source.put(BUCKET, "k", ONE_BLOCK, checksum=None)
    source.flips = flips
    with transfer_context(source, destination, integrity="reread") as context:
        if readings:
            assert copy_object(context, task()).verified_by == "reread"
            assert destination.blobs["k"].metadata["s3_verified_by"] == "reread"
        else:
            with pytest.raises(RereadDiffers) as caught:
                copy_object(context, task())
            assert caught.value.attributes["key"] == "k"
            assert destination.blobs == {}
    assert source.readings == (readings or 3)


def test_damaged_reading_is_repeated(destination: MemoryDestination, caplog: pytest.LogCaptureFixture) -> None:
    """Bytes that do not match are read again, and the log says why."""
    source = Differing(BUCKET)
    source.put(BUCKET, "k", ONE_BLOCK)
    source.flips = {1: 1}
    with transfer_context(source, destination) as context:
        copy_object(context, task())
    assert destination.blobs["k"].data == ONE_BLOCK
    assert caplog.messages == ["The bytes of 'k' do not match S3's checksum: reading the object again"]


def test_second_mismatch_is_final(destination: MemoryDestination) -> None:
    """Bytes that do not match twice are an ``IntegrityError``."""
    source = Differing(BUCKET)
    source.put(BUCKET, "k", ONE_BLOCK)
    source.flips = {1: 1, 2: 2}
    with transfer_context(source, destination) as context, pytest.raises(IntegrityError):
        copy_object(context, task())
    assert source.readings == 2


@pytest.mark.parametrize("guess", [None, (4, 6), (5, 5)])
def test_object_in_parts_is_read_once(guess: tuple[int, ...] | None, destination: MemoryDestination) -> None:
    """An object in parts is verified from one reading, even where its parts' sizes were guessed wrong."""
    source = InParts(BUCKET)
    source.put_parts(BUCKET, "k", ONE_BLOCK, (4, 6))
    source.guess = PartSizes(guess, certain=False) if guess else None
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task(listed=source.listed(BUCKET, "k")))
    assert (receipt.status, receipt.verified_by) == ("copied", "crc32c_composite")
    assert source.bytes_served == len(ONE_BLOCK)


def test_an_empty_object_that_another_worker_has_committed() -> None:
    """The receipt does not claim a blob that this try did not write."""
    source, destination = MemorySource(BUCKET), Meddled()
    version = source.put(BUCKET, "k", b"", checksum=None)
    destination.before_commit = lambda: destination.write("k", b"", metadata=record_of(version))
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    assert (receipt.status, receipt.reason, destination.commits) == ("copied", "by_earlier_try", 0)


def test_leftover_blocks_refuse_put_blob(destination: MemoryDestination, caplog: pytest.LogCaptureFixture) -> None:
    """Where leftover blocks make Azure refuse Put Blob, the object is staged as blocks, cut along its parts."""
    source = InParts(BUCKET)
    source.put_parts(BUCKET, "k", ONE_BLOCK, (4, 6))
    destination.stage_foreign("k", b"x" * 52, b"left over")
    with transfer_context(source, destination) as context, caplog.at_level(logging.INFO):
        receipt = copy_object(context, task(listed=source.listed(BUCKET, "k")))
    assert (receipt.blocks, receipt.verified_by) == (2, "crc32c_composite")
    assert destination.blobs["k"].data == ONE_BLOCK
    assert "Blob 'k' has leftover uncommitted blocks: staging a block instead of Put Blob" in caplog.messages


@pytest.mark.parametrize("name", [each.name for each in SERIAL])
def test_a_serial_hash_is_proven_over_leftover_blocks(name: str, destination: MemoryDestination) -> None:
    """No block id has room for it: the staged block is compared with the CRC64 of the bytes that have the hash."""
    source = MemorySource(BUCKET)
    source.put(BUCKET, "k", DATA, checksum=name)
    destination.stage_foreign("k", b"x" * 52, b"left over")
    with transfer_context(source, destination, block_bytes=8 * MIB) as context:
        receipt = copy_object(context, task())
    assert (receipt.status, receipt.verified_by) == ("copied", name)
    assert receipt.checksum.startswith(f"{name}:")
    assert destination.blobs["k"].data == DATA
    assert destination.blobs["k"].metadata["s3_verified_by"] == name


@pytest.mark.parametrize("times", [1, 99])
def test_damage_after_the_serial_hash_was_proven(times: int, destination: MemoryDestination) -> None:
    """The block that is read again is compared too: damage once is cured, damage for good is refused."""
    source = FlippingLater(BUCKET, times=times)
    source.put(BUCKET, "k", DATA, checksum="sha256")
    destination.stage_foreign("k", b"x" * 52, b"left over")
    with transfer_context(source, destination, block_bytes=8 * MIB) as context:
        if times == 1:
            assert copy_object(context, task()).verified_by == "sha256"
            assert destination.blobs["k"].data == DATA
        else:
            with pytest.raises(IntegrityError):
                copy_object(context, task())
            assert "k" not in destination.blobs


def test_ranges_of_an_object_with_a_serial_hash(destination: MemoryDestination) -> None:
    """It is one block: the first range's task copies it, and the others stage nothing."""
    source = MemorySource(BUCKET)
    source.put(BUCKET, "k", DATA, checksum="sha256")
    listed = source.listed(BUCKET, "k")
    ranges = [Block(0, 2 * MIB), Block(2 * MIB, 4 * MIB)]
    given: dict[str, Any] = {"listed": listed, "condition": ABSENT, "block_bytes": MIB}
    with transfer_context(source, destination) as context:
        receipts = [copy_object(context, task(within=within, **given)) for within in reversed(ranges)]
    assert [receipt.status for receipt in receipts] == ["staged", "copied"]
    assert receipts[1].verified_by == "sha256"
    assert destination.blobs["k"].data == DATA


def test_a_large_object_with_a_serial_hash_alone(destination: MemoryDestination) -> None:
    """Its bytes are read in parallel, so no level is claimed that was not computed."""
    source = MemorySource(BUCKET)
    source.put(BUCKET, "k", DATA, checksum="sha256")
    with transfer_context(source, destination, memory_budget_bytes=3 * MIB) as context:
        receipt = copy_object(context, task())
    assert (receipt.verified_by, receipt.checksum) == ("transport", "")


class TestReported:
    """The checksum that a report of S3 Batch Operations has of the object."""

    @pytest.mark.parametrize("size", [3, 4 * MIB])
    def test_it_proves_what_had_only_the_transport(self, size: int, destination: MemoryDestination) -> None:
        """In one request, and in blocks."""
        source, listed = self._reported(DATA[:size], crc(DATA[:size]))
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task(listed=listed, condition=ABSENT))
        assert (receipt.status, receipt.verified_by) == ("copied", "crc64nvme (report)")
        assert receipt.checksum.startswith("crc64nvme:")
        blob = destination.blobs["k"]
        assert (blob.metadata["s3_verified_by"], blob.metadata["s3_checksum"]) == (
            "crc64nvme (report)",
            receipt.checksum,
        )
        state = destination.head("k")
        assert state is not None
        assert (state.verified_by, state.checksum) == (receipt.verified_by, receipt.checksum)

    @pytest.mark.parametrize("size", [3, 4 * MIB])
    def test_other_bytes_are_refused(self, size: int, destination: MemoryDestination) -> None:
        """The level is named."""
        source, listed = self._reported(DATA[:size], crc(DATA[:size]) ^ 1)
        with (
            transfer_context(source, destination) as context,
            pytest.raises(IntegrityError, match=r"crc64nvme \(report\)"),
        ):
            copy_object(context, task(listed=listed, condition=ABSENT))
        assert "k" not in destination.blobs

    @pytest.mark.parametrize("size", [3, 4 * MIB])
    def test_it_is_bound_to_the_etag(self, size: int, destination: MemoryDestination) -> None:
        """The object was overwritten after the listing: its new version has no checksum, and its receipt says so."""
        source, listed = self._reported(DATA[:size], crc(DATA[:size]))
        new = some_bytes(size, seed=2)
        source.put(BUCKET, "k", new, checksum=None)
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task(listed=listed, condition=ABSENT))
        assert (receipt.status, receipt.verified_by) == ("copied", "transport")
        assert destination.blobs["k"].data == new

    def test_a_stored_checksum_comes_first(self, destination: MemoryDestination) -> None:
        """A report is what lifts an object that has nothing else."""
        source = MemorySource(BUCKET)
        source.put(BUCKET, "k", DATA, checksum="crc32")
        reported = SourceChecksum("crc64nvme", crc(DATA), reported=True)
        listed = replace(source.listed(BUCKET, "k"), reported=reported)
        with transfer_context(source, destination) as context:
            assert copy_object(context, task(listed=listed, condition=ABSENT)).verified_by == "crc32"

    def test_it_meets_what_the_user_requires(self, destination: MemoryDestination) -> None:
        """It is weaker than all that S3 stores, and stronger than two readings."""
        source, listed = self._reported(DATA, crc(DATA))
        with transfer_context(source, destination, integrity="reread") as context:
            assert copy_object(context, task(listed=listed, condition=ABSENT)).verified_by == "crc64nvme (report)"
        with (
            transfer_context(source, destination, integrity="md5_composite", overwrite="always") as context,
            pytest.raises(IntegrityUnavailable, match=r"crc64nvme \(report\)"),
        ):
            copy_object(context, task(listed=listed))

    @staticmethod
    def _reported(data: bytes, value: int) -> tuple[MemorySource, ListedObject]:
        source = MemorySource(BUCKET)
        source.put(BUCKET, "k", data, checksum=None)
        reported = SourceChecksum("crc64nvme", value, reported=True)
        return source, replace(source.listed(BUCKET, "k"), reported=reported)


class FlippingLater(MemorySource):
    """Damages bodies after the first one, so many times."""

    def __init__(self, bucket: str, *, times: int) -> None:
        super().__init__(bucket)
        self._times = times

    def served(self, key: str, start: int, data: bytes) -> bytes:
        """Flip the first byte."""
        if len(self.opened) < 2 or not self._times:
            return data
        self._times -= 1
        return bytes([data[0] ^ 1]) + data[1:]
