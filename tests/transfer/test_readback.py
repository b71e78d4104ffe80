"""The read-back: nothing is taken for a copy before its bytes were compared, whatever ends the comparison."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from s3_to_azure.model.errors import (
    BlobImmutable,
    Cancelled,
    ConditionNotMet,
    ConnectionFailed,
    DestinationConflict,
    ReadbackDiffers,
    TransferError,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import BlobContents, Block, Condition, Receipt
from s3_to_azure.transfer.buffers import BufferPool
from s3_to_azure.transfer.integrity import checksum_text
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import BUCKET, QUICK, record_of, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource

SMALL, LARGE = 1_000, 3 * MIB
LOST = ConnectionFailed(service="Azure", resource="k", detail="reset")
ONE_WAY_OR_THE_OTHER = pytest.mark.parametrize("size_bytes", [SMALL, LARGE], ids=["one request", "blocks"])


class Reading(MemoryDestination):
    """A container whose reads, and updates of metadata, can fail, differ, or meet another writer."""

    def __init__(self) -> None:
        super().__init__()
        self.read_errors: list[TransferError] = []
        self.update_errors: list[TransferError] = []
        self.lost_updates = 0
        self.rotten = False
        self.on_read: Callable[[], object] = lambda: None
        self.reads = 0

    def read(self, blob: str, start: int, end: int) -> bytes:
        """Fail, or read, and let another writer write afterwards."""
        self.reads += 1
        if self.read_errors:
            raise self.read_errors.pop(0)
        data = super().read(blob, start, end)
        self.on_read()
        return bytes(len(data)) if self.rotten else data

    def update(self, blob: str, contents: BlobContents, condition: Condition) -> str:
        """Fail, or update, or fail afterwards."""
        if self.update_errors:
            raise self.update_errors.pop(0)
        etag = super().update(blob, contents, condition)
        if self.lost_updates:
            self.lost_updates -= 1
            raise LOST
        return etag


@pytest.fixture
def destination() -> Reading:
    """Return an empty container."""
    return Reading()


def source_of(size_bytes: int, **options: Any) -> MemorySource:
    """Return a bucket with one object."""
    source = MemorySource(BUCKET)
    source.put(BUCKET, "k", some_bytes(size_bytes), **options)
    return source


def copied(source: MemorySource, destination: Reading, *, try_number: int = 1, **how: Any) -> Receipt:
    """Copy the object under ``readback``, as a try of its own; ``listed`` and ``condition`` are the plan's."""
    of_task: dict[str, Any] = {name: how.pop(name) for name in ("condition", "within", "block_bytes") if name in how}
    if of_task:
        of_task["listed"] = source.listed(BUCKET, "k")
    settings = {"integrity": "readback"} | how
    with transfer_context(source, destination, **settings) as context:
        return copy_object(context, task(**of_task), try_number=try_number)


@ONE_WAY_OR_THE_OTHER
def test_bytes_that_are_read_back_count_in_the_budget(
    size_bytes: int, destination: Reading, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Promise 1: while a piece is held, as many bytes of the budget are lent."""
    lend, lent, uncounted = BufferPool.lend, [0], []

    @contextmanager
    def counted(pool: BufferPool, count: int) -> Iterator[memoryview]:
        with lend(pool, count) as view:
            lent[0] += count
            yield view
            lent[0] -= count

    def on_read() -> None:
        if lent[0] < min(size_bytes, MIB):
            uncounted.append(lent[0])

    monkeypatch.setattr(BufferPool, "lend", counted)
    destination.on_read = on_read
    assert copied(source_of(size_bytes), destination).verified_by.endswith("+readback")
    assert destination.reads
    assert uncounted == []


@pytest.mark.parametrize("rotten", [False, True])
def test_another_workers_blob_is_read_back_before_it_counts(destination: Reading, rotten: bool) -> None:
    """A worker that finds a finished copy where none was planned has not compared its bytes, so it does that first."""
    source = source_of(LARGE)
    version = source.head(BUCKET, "k")
    data = some_bytes(LARGE)
    record = record_of(version, s3_verified_by="crc64nvme", s3_checksum=checksum_text(version))
    destination.write("k", bytes(LARGE) if rotten else data, metadata=record)
    assert copied(source, destination, condition=Condition(None)).verified_by == "crc64nvme+readback"
    assert destination.blobs["k"].data == data
    assert destination.commits == (1 if rotten else 0)


@ONE_WAY_OR_THE_OTHER
def test_another_programs_blob_is_left_alone(size_bytes: int, destination: Reading) -> None:
    """A blob that is no copy, written during the comparison, gets neither our record nor a mark, and is a conflict."""

    def write_once() -> None:
        destination.on_read = lambda: None
        destination.write("k", b"theirs")

    destination.on_read = write_once
    with pytest.raises(DestinationConflict):
        copied(source_of(size_bytes), destination)
    assert (destination.blobs["k"].data, destination.blobs["k"].metadata) == (b"theirs", {})


def level(destination: MemoryDestination) -> str:
    """Return the level that the blob records."""
    return destination.blobs["k"].metadata["s3_verified_by"]


PLANNED = pytest.mark.parametrize("planned", [{}, {"condition": Condition(None)}], ids=["by key", "by plan"])


@ONE_WAY_OR_THE_OTHER
def test_the_level_is_recorded_after_the_comparison(destination: Reading, size_bytes: int) -> None:
    """Until then the blob says that it is to be read back."""
    seen: list[str] = []
    destination.on_read = lambda: seen.append(level(destination))
    receipt = copied(source_of(size_bytes), destination)
    assert set(seen) == {"readback_pending"}
    assert (receipt.verified_by, level(destination)) == ("crc64nvme+readback", "crc64nvme")
    assert destination.commits == 1


@ONE_WAY_OR_THE_OTHER
@PLANNED
def test_what_was_found_damaged_is_copied_again(destination: Reading, size_bytes: int, planned: dict[str, Any]) -> None:
    """It is marked, and the next try neither takes it for a copy nor sends the object in vain."""
    source = source_of(size_bytes)
    destination.rotten = True
    for number in (1, 2):
        with pytest.raises(ReadbackDiffers, match="next try"):
            copied(source, destination, try_number=number, **planned)
        assert level(destination) == "damaged"
    destination.rotten = False
    receipt = copied(source, destination, try_number=3, **planned)
    assert (receipt.status, receipt.verified_by, receipt.bytes_sent) == ("copied", "crc64nvme+readback", size_bytes)
    assert level(destination) == "crc64nvme"


@ONE_WAY_OR_THE_OTHER
@pytest.mark.parametrize("overwrite", ["if_changed", "never", "always"])
def test_damage_counts_where_the_blob_cannot_be_marked(
    destination: Reading, size_bytes: int, overwrite: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The blob never said that it is verified: no mark is needed for it not to be taken for a copy."""
    source = source_of(size_bytes)
    destination.rotten = True
    destination.update_errors = [BlobImmutable(blob="k", container="container", code="c")]
    with pytest.raises(ReadbackDiffers):
        copied(source, destination, overwrite=overwrite)
    assert level(destination) == "readback_pending"
    assert "Blob 'k' was found damaged, and could not be marked so" in caplog.text
    with pytest.raises(ReadbackDiffers):
        copied(source, destination, overwrite=overwrite, try_number=2)


@ONE_WAY_OR_THE_OTHER
@PLANNED
@pytest.mark.parametrize("error", [LOST, Cancelled.now()], ids=["for now", "killed"])
@pytest.mark.parametrize("checksum", ["crc64nvme", None])
def test_a_read_back_that_ended_early_is_made_up_for(
    destination: Reading, size_bytes: int, planned: dict[str, Any], error: TransferError, checksum: str | None
) -> None:
    """The next try reads the blob back before it reports a copy; blocks are not sent again for that."""
    source = source_of(size_bytes, checksum=checksum)
    destination.read_errors = [error] * QUICK.attempts
    with pytest.raises(type(error)):
        copied(source, destination, **planned)
    assert level(destination) == "readback_pending"
    destination.read_errors, reads = [], destination.reads
    receipt = copied(source, destination, try_number=2, **planned)
    assert destination.reads == reads + 1
    assert receipt.verified_by == f"{checksum or 'transport'}+readback"
    assert level(destination) == (checksum or "transport")
    if size_bytes == LARGE:
        assert (receipt.status, receipt.reason, receipt.bytes_sent) == ("copied", "by_earlier_try", 0)


def test_a_run_without_read_back_finishes_one_too(destination: Reading) -> None:
    """Whatever the next run asks for: the blob is no finished copy, and reading it is cheaper than sending it."""
    source = source_of(LARGE)
    destination.read_errors = [LOST] * QUICK.attempts
    with pytest.raises(ConnectionFailed):
        copied(source, destination)
    receipt = copied(source, destination, integrity="auto")
    assert (receipt.verified_by, receipt.bytes_sent, level(destination)) == ("crc64nvme+readback", 0, "crc64nvme")


def test_always_writes_a_pending_blob_of_before_again(destination: Reading) -> None:
    """Only a blob that was written since the plan needs no second write."""
    source = source_of(LARGE)
    destination.read_errors = [LOST] * QUICK.attempts
    with pytest.raises(ConnectionFailed):
        copied(source, destination)
    planned = Condition(destination.blobs["k"].etag)
    receipt = copied(source, destination, integrity="auto", overwrite="always", condition=planned)
    assert (receipt.bytes_sent, receipt.verified_by) == (LARGE, "crc64nvme")


def test_damage_that_is_found_later_is_copied_again_at_once(
    destination: Reading, caplog: pytest.LogCaptureFixture
) -> None:
    """A try that makes up for a read-back, and finds the blob damaged, says so and sends the object."""
    source = source_of(LARGE)
    destination.read_errors = [LOST] * QUICK.attempts
    with pytest.raises(ConnectionFailed):
        copied(source, destination)
    destination.read_errors = []
    destination.blobs["k"].data = bytes(LARGE)
    receipt = copied(source, destination, try_number=2, condition=Condition(None))
    assert (receipt.bytes_sent, receipt.verified_by) == (LARGE, "crc64nvme+readback")
    assert destination.blobs["k"].data == some_bytes(LARGE)
    assert ReadbackDiffers(blob="k", container="container", start=0, end=LARGE).args[0] in caplog.messages


@ONE_WAY_OR_THE_OTHER
def test_another_program_that_writes_during_the_read_back_is_a_conflict(destination: Reading, size_bytes: int) -> None:
    """What was read is not what is there: neither is the blob proven nor is it called damaged."""
    destination.on_read = lambda: destination.write("k", b"theirs")
    with pytest.raises(DestinationConflict, match="while it was read back"):
        copied(source_of(size_bytes), destination)
    assert destination.blobs["k"].data == b"theirs"


@ONE_WAY_OR_THE_OTHER
@pytest.mark.parametrize("right", [True, False])
def test_another_worker_that_writes_the_same_version_meanwhile(
    destination: Reading, size_bytes: int, right: bool
) -> None:
    """Its blob is read from the start: the bytes that count are those of one ETag."""
    source = source_of(size_bytes)
    version = source.head(BUCKET, "k")

    def writes_once() -> None:
        destination.on_read = lambda: None
        data = some_bytes(size_bytes) if right else bytes(size_bytes)
        destination.write("k", data, metadata=record_of(version, s3_verified_by="readback_pending"))

    destination.on_read = writes_once
    if right:
        assert copied(source, destination).verified_by == "crc64nvme+readback"
        assert level(destination) == "crc64nvme"
    else:
        with pytest.raises(ReadbackDiffers):
            copied(source, destination)
        assert level(destination) == "damaged"


@ONE_WAY_OR_THE_OTHER
def test_a_copy_of_the_same_bytes_put_later_keeps_its_record(destination: Reading, size_bytes: int) -> None:
    """Another worker writes it meanwhile; its metadata may be others."""
    source = source_of(size_bytes)
    version = source.head(BUCKET, "k")
    later = replace(version, last_modified=version.last_modified + timedelta(seconds=1))
    record = record_of(later, s3_verified_by="readback_pending")

    def writes_once() -> None:
        destination.on_read = lambda: None
        destination.write("k", some_bytes(size_bytes), metadata=record)

    destination.on_read = writes_once
    with pytest.raises(DestinationConflict, match="while it was read back"):
        copied(source, destination)
    assert destination.blobs["k"].metadata == record


def test_a_blob_that_is_written_all_the_time_is_a_conflict(destination: Reading) -> None:
    """After four comparisons."""
    source = source_of(SMALL)
    version = source.head(BUCKET, "k")
    record = record_of(version, s3_verified_by="readback_pending")
    destination.on_read = lambda: destination.write("k", some_bytes(SMALL), metadata=record)
    with pytest.raises(DestinationConflict, match="again and again"):
        copied(source, destination)
    assert destination.reads == 1 + QUICK.commit_rounds


@pytest.mark.parametrize("lost", [1, 2])
def test_a_lost_answer_to_the_record_is_looked_up(destination: Reading, lost: int) -> None:
    """The blob shows that it was written; it is not read a second time."""
    destination.lost_updates = lost
    assert copied(source_of(SMALL), destination).verified_by == "crc64nvme+readback"
    assert (level(destination), destination.reads) == ("crc64nvme", 1)


def test_a_record_that_was_refused_is_written_after_another_comparison(destination: Reading) -> None:
    """Somebody wrote the blob between the comparison and the record."""
    destination.update_errors = [ConditionNotMet(blob="k", container="container", code="c")]
    assert copied(source_of(SMALL), destination).verified_by == "crc64nvme+readback"
    assert (level(destination), destination.reads) == ("crc64nvme", 2)


def test_a_record_that_a_policy_forbids_is_no_failure(destination: Reading, caplog: pytest.LogCaptureFixture) -> None:
    """The bytes are right; the next run reads them back again, because no record says so."""
    source = source_of(LARGE)
    destination.update_errors = [BlobImmutable(blob="k", container="container", code="c")] * 2
    for sent in (LARGE, 0):
        receipt = copied(source, destination)
        assert (receipt.status, receipt.verified_by, receipt.bytes_sent) == ("copied", "crc64nvme+readback", sent)
    assert "the next run reads it back again" in caplog.text


def test_a_stop_during_the_record_is_a_stop(destination: Reading) -> None:
    """The next try completes it."""
    destination.update_errors = [Cancelled.now()]
    with pytest.raises(Cancelled):
        copied(source_of(SMALL), destination)
    assert level(destination) == "readback_pending"


@pytest.mark.parametrize("rotten", [False, True])
def test_only_the_range_that_reads_the_blob_back_calls_it_copied(destination: Reading, *, rotten: bool) -> None:
    """The other one finds the blob committed by the time it ends, and cannot know whether it is right."""
    source, lists = source_of(2 * MIB), list[str]()
    of_plan: dict[str, Any] = {"condition": Condition(None), "block_bytes": MIB}
    list_staged, ended = destination.list_staged, list[str]()

    def other_ends() -> None:
        destination.rotten = rotten
        try:
            ended.append(copied(source, destination, within=Block(MIB, 2 * MIB), **of_plan).verified_by)
        except ReadbackDiffers as error:
            ended.append(error.reason())
        destination.rotten = False

    def listing(blob: str) -> Any:
        found = list_staged(blob)
        lists.append(blob)
        if len(lists) == 2:
            other_ends()
        return found

    destination.list_staged = listing  # type: ignore[method-assign]
    assert copied(source, destination, within=Block(0, MIB), **of_plan).status == "staged"
    assert ended == ["readback_differs" if rotten else "crc64nvme+readback"]
    again = copied(source, destination, try_number=2, within=Block(0, MIB), **of_plan)
    assert again.verified_by == "crc64nvme+readback"


def test_every_byte_of_every_block_is_compared(destination: Reading) -> None:
    """Damage in the last byte of the last block, which is not full, is found, and the error names that block."""
    size_bytes = LARGE + 5
    source = source_of(size_bytes)
    blob = some_bytes(size_bytes)
    destination.on_read = lambda: None
    read = destination.read

    def damaged(name: str, start: int, end: int) -> bytes:
        data = read(name, start, end)
        return data[:-1] + b"?" if end == size_bytes else data

    destination.read = damaged  # type: ignore[method-assign, assignment]
    with pytest.raises(ReadbackDiffers) as caught:
        copied(source, destination)
    assert (caught.value.attributes["start"], caught.value.attributes["end"]) == (LARGE, size_bytes)
    assert destination.blobs["k"].data == blob


class TestRanges:
    """A giant object in range tasks: the task that commits reads back, and no other one answers for it."""

    RANGES = (Block(0, 2 * MIB), Block(2 * MIB, LARGE))

    def part(self, source: MemorySource, destination: Reading, number: int, *, try_number: int = 1) -> Receipt:
        """Copy one range."""
        span = self.RANGES[number]
        return copied(
            source, destination, condition=Condition(None), within=span, block_bytes=MIB, try_number=try_number
        )

    def test_a_part_does_not_answer_for_a_read_back(self, destination: Reading) -> None:
        """While the blob is unproven, the task of another range reports its own part only, also if it starts late."""
        source = source_of(LARGE)
        assert self.part(source, destination, 0).status == "staged"
        destination.read_errors = [LOST] * QUICK.attempts
        with pytest.raises(ConnectionFailed):
            self.part(source, destination, 1)
        late = self.part(source, destination, 0)
        assert (late.status, late.bytes_sent) == ("staged", 0)
        made_up = self.part(source, destination, 1, try_number=2)
        assert (made_up.status, made_up.verified_by, made_up.bytes_sent) == ("copied", "crc64nvme+readback", 0)

    def test_a_part_that_finds_damage_copies_the_whole_again(self, destination: Reading) -> None:
        """The other ranges are committed and no longer staged, and their tasks have ended."""
        source = source_of(LARGE)
        self.part(source, destination, 0)
        destination.rotten = True
        with pytest.raises(ReadbackDiffers):
            self.part(source, destination, 1)
        destination.rotten = False
        receipt = self.part(source, destination, 1, try_number=2)
        assert (receipt.status, receipt.verified_by, receipt.bytes_sent) == ("copied", "crc64nvme+readback", LARGE)
        assert level(destination) == "crc64nvme"

    def test_what_an_earlier_run_left_unread_is_copied_again(self, destination: Reading) -> None:
        """The blob is still as the plan saw it, so no task of these ranges has committed it and none reads it back."""
        source = source_of(LARGE)
        record = record_of(source.head(BUCKET, "k"), s3_verified_by="readback_pending")
        planned = Condition(destination.write("k", bytes(LARGE), metadata=record))
        receipts = [
            copied(source, destination, integrity="auto", condition=planned, within=span, block_bytes=MIB)
            for span in self.RANGES
        ]
        assert [receipt.status for receipt in receipts] == ["staged", "copied"]
        assert destination.blobs["k"].data == some_bytes(LARGE)
        assert level(destination) == "crc64nvme"
