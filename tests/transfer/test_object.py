"""One object from a source to a destination that keep the contract: every size, every way to be interrupted."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from s3_to_azure.model.errors import (
    Cancelled,
    ConnectionFailed,
    CorruptedInTransit,
    DestinationConflict,
    ForeignBlocks,
    IntegrityError,
    IntegrityUnavailable,
    NameRefused,
    ObjectNotFound,
    SourceChanged,
    TransferError,
    WrongBlobType,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import (
    BlobContents,
    Block,
    Condition,
    ContentHeaders,
    ListedBlock,
    ListedObject,
    ObjectVersion,
)
from s3_to_azure.transfer.blocks import NO_SECOND, StagedBlock, fingerprint
from s3_to_azure.transfer.object import copy_object
from s3_to_azure.transfer.pool import copy_many
from tests.fakes.contexts import BUCKET, crc, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemoryBody, MemorySource

SIZES = [0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB, 5 * MIB + 17]


@pytest.fixture
def source() -> MemorySource:
    """Return a source with one empty bucket."""
    return MemorySource(BUCKET)


@pytest.fixture
def destination() -> MemoryDestination:
    """Return an empty container."""
    return MemoryDestination()


def stage(destination: MemoryDestination, version: ObjectVersion, start: int, data: bytes, **changes: Any) -> None:
    """Stage a block of the version as an earlier try would have."""
    block = StagedBlock(start, start + len(data), crc(data), NO_SECOND, fingerprint(version))
    block = replace(block, **changes)
    destination.stage_foreign("k", block.block_id.encode(), data)


@pytest.mark.parametrize("listed", [False, True], ids=["by key", "from a listing"])
@pytest.mark.parametrize("checksum", ["crc64nvme", "crc32c", "crc32", None])
@pytest.mark.parametrize("size_bytes", SIZES)
def test_every_size(
    source: MemorySource, destination: MemoryDestination, size_bytes: int, checksum: str | None, listed: bool
) -> None:
    """Empty, one byte, around a block, several blocks: the blob is the object, and the receipt says how it is known."""
    data = some_bytes(size_bytes)
    version = source.put(BUCKET, "k", data, checksum=checksum)
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task(listed=source.listed(BUCKET, "k") if listed else None))
    blob = destination.blobs["k"]
    assert blob.data == data
    assert (receipt.status, receipt.size_bytes, receipt.bytes_sent) == ("copied", size_bytes, size_bytes)
    assert (receipt.etag, receipt.verified_by) == (version.etag, checksum or "transport")
    assert receipt.blocks == -(-size_bytes // MIB)
    assert receipt.blocks_resumed == 0
    assert blob.metadata["s3_etag"] == version.etag
    assert blob.metadata["s3_verified_by"] == (checksum or "transport")
    assert ("s3_checksum" in blob.metadata) == (checksum is not None)
    assert destination.staged == {}


def test_metadata_and_headers_arrive(source: MemorySource, destination: MemoryDestination) -> None:
    """The object's own metadata and headers go along; ours win where names are equal without case."""
    headers = ContentHeaders("text/x-test", "gzip", "de", "inline", "no-cache")
    source.put(BUCKET, "k", b"x", metadata={"my-key": "ü", "S3_ETag": "theirs"}, headers=headers)
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    blob = destination.blobs["k"]
    assert blob.metadata["my_x002d_key"] == "%C3%BC"
    assert blob.metadata["s3_etag"] == receipt.etag
    assert blob.headers == headers


def test_second_night_copies_nothing(source: MemorySource, destination: MemoryDestination) -> None:
    """Promise 2: what is there is left alone, and not a byte is read."""
    for key, size in (("small", 10), ("large", 3 * MIB), ("empty", 0)):
        source.put(BUCKET, key, some_bytes(size))
    for night in (1, 2):
        served = source.bytes_served
        with transfer_context(source, destination) as context:
            receipts = [copy_object(context, task(key)) for key in ("small", "large", "empty")]
        assert {receipt.status for receipt in receipts} == ({"copied"} if night == 1 else {"unchanged"})
    assert source.bytes_served == served
    assert receipts[0].verified_by == "crc64nvme"
    assert destination.commits == 3


class StopsAfter(MemoryDestination):
    """A container whose n-th staged block sets a stop."""

    def __init__(self, blocks: int) -> None:
        """Count from there."""
        super().__init__()
        self.stop = threading.Event()
        self._left = blocks

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        """Stage, then stop."""
        if self.stop.is_set():
            raise ConnectionFailed(service="Azure", resource=blob, detail="too late")
        super().stage_block(blob, block_id, data, crc64)
        self._left -= 1
        if self._left == 0:
            self.stop.set()


def test_resume_after_a_stop(source: MemorySource) -> None:
    """Promise 2: a later worker sends only what is missing, proves the whole, and the receipt says so."""
    data = some_bytes(6 * MIB)
    source.put(BUCKET, "k", data)
    destination = StopsAfter(3)
    with (
        transfer_context(source, destination, cancelled=destination.stop, connections=1) as context,
        pytest.raises(Cancelled),
    ):
        copy_object(context, task())
    assert "k" not in destination.blobs
    held = len(destination.staged["k"])
    assert held >= 3
    destination.stop.clear()
    destination._left, served = -1, source.bytes_served
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task(), try_number=2)
    assert destination.blobs["k"].data == data
    assert (receipt.blocks, receipt.blocks_resumed) == (6, held)
    assert receipt.bytes_sent == (6 - held) * MIB == source.bytes_served - served
    assert (receipt.verified_by, receipt.try_number) == ("crc64nvme", 2)


def test_all_staged_and_killed_before_the_commit(source: MemorySource, destination: MemoryDestination) -> None:
    """A worker that died between its last block and the commit left nothing to send."""
    data = some_bytes(2 * MIB + 5)
    version = source.put(BUCKET, "k", data)
    for start in range(0, len(data), MIB):
        stage(destination, version, start, data[start : start + MIB])
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    assert (receipt.bytes_sent, receipt.blocks_resumed, source.bytes_served) == (0, 3, 0)
    assert destination.blobs["k"].data == data


def test_another_staged_layout_is_adopted(source: MemorySource, destination: MemoryDestination) -> None:
    """A changed block size does not orphan what an earlier try staged."""
    data = some_bytes(6 * MIB)
    version = source.put(BUCKET, "k", data)
    stage(destination, version, 0, data[: 2 * MIB])
    stage(destination, version, 4 * MIB, data[4 * MIB :])
    with transfer_context(source, destination, block_bytes=MIB) as context:
        receipt = copy_object(context, task())
    assert (receipt.blocks, receipt.blocks_resumed, receipt.bytes_sent) == (3, 2, 2 * MIB)
    assert destination.blobs["k"].data == data


def test_two_crcs_at_one_offset(source: MemorySource, destination: MemoryDestination) -> None:
    """Of two blocks for one range nobody knows the right one: it is read again, and the wrong one never committed."""
    data = some_bytes(3 * MIB)
    version = source.put(BUCKET, "k", data)
    wrong = some_bytes(MIB, seed=9)
    stage(destination, version, 0, wrong)
    stage(destination, version, 0, data[:MIB])
    stage(destination, version, MIB, data[MIB : 2 * MIB])
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    assert (receipt.blocks_resumed, receipt.bytes_sent) == (1, 2 * MIB)
    assert destination.blobs["k"].data == data


@pytest.mark.parametrize("second", [NO_SECOND, b"crc32\0\0\0" + bytes(8), b"\xff" * 16])
def test_block_without_the_digest_that_the_proof_needs(
    source: MemorySource, destination: MemoryDestination, second: bytes
) -> None:
    """Where S3 stores a CRC32C, a staged block without one cannot be proven: it is read again."""
    data = some_bytes(2 * MIB)
    version = source.put(BUCKET, "k", data, checksum="crc32c")
    stage(destination, version, 0, data[:MIB], second=second)
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    assert (receipt.blocks_resumed, receipt.verified_by) == (0, "crc32c")
    assert destination.blobs["k"].data == data


def test_staged_block_that_lies(source: MemorySource, destination: MemoryDestination) -> None:
    """Invariant 3: a block with other bytes than the object's is found and staged again before the commit."""
    data = some_bytes(4 * MIB)
    version = source.put(BUCKET, "k", data)
    stage(destination, version, MIB, some_bytes(MIB, seed=3))
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    assert destination.blobs["k"].data == data
    assert receipt.blocks_resumed == 1
    assert receipt.bytes_sent == 4 * MIB


def test_blocks_of_another_version_are_left_out(source: MemorySource, destination: MemoryDestination) -> None:
    """Promise 3: never a mix of two source versions, also where both have the same size."""
    old = source.put(BUCKET, "k", some_bytes(3 * MIB, seed=1))
    stage(destination, old, 0, some_bytes(3 * MIB, seed=1)[:MIB])
    data = some_bytes(3 * MIB, seed=2)
    source.put(BUCKET, "k", data)
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    assert (receipt.blocks_resumed, destination.blobs["k"].data) == (0, data)


class ChangesUnderWay(MemorySource):
    """An object that somebody overwrites while it is read, so many times."""

    changes = 0

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[MemoryBody]:
        """Overwrite the object before the second read of its current version."""
        if self.changes and start > 0 and version.etag == self.head(BUCKET, version.key).etag:
            self.changes -= 1
            self.put(BUCKET, version.key, some_bytes(version.size_bytes, seed=100 + self.changes))
        with super().open(version, start, end) as body:
            yield body


@pytest.mark.parametrize("changes", [1, 2])
def test_source_changed_under_way(destination: MemoryDestination, changes: int) -> None:
    """Invariant 1: a changed object starts again at its new ETag; the blob is one version, as a whole."""
    source = ChangesUnderWay(BUCKET)
    source.put(BUCKET, "k", some_bytes(4 * MIB))
    source.changes = changes
    with transfer_context(source, destination, connections=1) as context:
        receipt = copy_object(context, task())
    assert destination.blobs["k"].data == some_bytes(4 * MIB, seed=100)
    assert receipt.etag == source.head(BUCKET, "k").etag


def test_source_that_keeps_changing(destination: MemoryDestination) -> None:
    """Twice at most: an object that changes for ever fails, and nothing is committed."""
    source = ChangesUnderWay(BUCKET)
    source.put(BUCKET, "k", some_bytes(4 * MIB))
    source.changes = 3
    with transfer_context(source, destination, connections=1) as context, pytest.raises(SourceChanged):
        copy_object(context, task())
    assert destination.blobs == {}


def test_part_of_a_changed_object(source: MemorySource, destination: MemoryDestination) -> None:
    """Invariant 1: a part of a giant object never goes on with another version than its siblings'."""
    source.put(BUCKET, "k", some_bytes(4 * MIB))
    listed = source.listed(BUCKET, "k")
    source.put(BUCKET, "k", some_bytes(4 * MIB, seed=1))
    part = task(listed=listed, condition=Condition(None), within=Block(0, 2 * MIB), block_bytes=MIB)
    with transfer_context(source, destination) as context, pytest.raises(SourceChanged):
        copy_object(context, part)
    assert destination.staged == {}


def test_listed_object_was_overwritten(source: MemorySource, destination: MemoryDestination) -> None:
    """A small object that changed since the listing is copied as it is now."""
    source.put(BUCKET, "k", b"old")
    listed = source.listed(BUCKET, "k")
    source.put(BUCKET, "k", b"new and longer")
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task(listed=listed))
    assert destination.blobs["k"].data == b"new and longer"
    assert receipt.size_bytes == 14


@pytest.mark.parametrize("size_bytes", [10, 3 * MIB])
def test_object_deleted_since_the_listing(
    source: MemorySource, destination: MemoryDestination, size_bytes: int
) -> None:
    """It fails by name; nothing is written."""
    source.put(BUCKET, "k", some_bytes(size_bytes))
    listed = source.listed(BUCKET, "k")
    source.delete(BUCKET, "k")
    with transfer_context(source, destination) as context, pytest.raises(ObjectNotFound):
        copy_object(context, task(listed=listed))
    assert destination.blobs == {}


class Flipping(MemorySource):
    """A wire that flips one byte of the first ``flips`` bodies that hold the offset."""

    flips = 0
    offset = 0

    def served(self, key: str, start: int, data: bytes) -> bytes:
        """Flip."""
        if self.flips and start <= self.offset < start + len(data):
            self.flips -= 1
            at = self.offset - start
            return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]
        return data


@pytest.mark.parametrize("checksum", ["crc64nvme", "crc32c", "crc32"])
@pytest.mark.parametrize(("size_bytes", "offset"), [(1, 0), (MIB, 77), (4 * MIB, 2 * MIB + 1), (4 * MIB + 1, 4 * MIB)])
def test_flipped_byte_from_the_source_is_cured(
    destination: MemoryDestination, checksum: str, size_bytes: int, offset: int
) -> None:
    """Promise 3: a byte flipped on the way in never ends in a blob; a second reading cures it."""
    source = Flipping(BUCKET)
    data = some_bytes(size_bytes)
    source.put(BUCKET, "k", data, checksum=checksum)
    source.flips, source.offset = 1, offset
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    assert source.flips == 0
    assert destination.blobs["k"].data == data
    assert receipt.verified_by == checksum
    assert destination.commits == 1


@pytest.mark.parametrize("checksum", ["crc64nvme", "crc32c", "crc32"])
@pytest.mark.parametrize(("size_bytes", "offset"), [(1, 0), (MIB, 77), (4 * MIB, 2 * MIB + 1)])
def test_flipped_byte_that_stays(destination: MemoryDestination, checksum: str, size_bytes: int, offset: int) -> None:
    """Promise 3: an object that reads damaged every time is an IntegrityError; what was there before stays whole."""
    source = Flipping(BUCKET)
    source.put(BUCKET, "k", some_bytes(size_bytes), checksum=checksum)
    source.flips, source.offset = 1_000, offset
    destination.write("k", b"the previous good blob")
    with transfer_context(source, destination) as context, pytest.raises(IntegrityError) as caught:
        copy_object(context, task())
    assert destination.blobs["k"].data == b"the previous good blob"
    assert caught.value.attributes["algorithm"] == checksum


class DamagesOnTheWay(MemoryDestination):
    """A wire that flips one byte of what is sent, so many times."""

    flips = 0

    def _wire(self, data: memoryview) -> memoryview:
        if not self.flips:
            return data
        self.flips -= 1
        damaged = bytearray(data)
        damaged[len(damaged) // 2] ^= 1
        return memoryview(bytes(damaged))

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        """Stage what arrives."""
        super().stage_block(blob, block_id, self._wire(data), crc64)

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        """Put what arrives."""
        return super().put_blob(blob, self._wire(data), crc64, contents, condition)


@pytest.mark.parametrize("size_bytes", [1, MIB, 4 * MIB])
@pytest.mark.parametrize("flips", [1, 2, 1_000])
def test_flipped_byte_to_azure(source: MemorySource, size_bytes: int, flips: int) -> None:
    """Promise 3: a byte flipped on the way out is refused by the CRC64 sent along, sent again, never committed."""
    destination = DamagesOnTheWay()
    destination.flips = flips
    data = some_bytes(size_bytes)
    source.put(BUCKET, "k", data, checksum=None)
    with transfer_context(source, destination, connections=1) as context:
        if flips < 1_000:
            receipt = copy_object(context, task())
            assert destination.blobs["k"].data == data
            assert receipt.retries == flips
        else:
            with pytest.raises(CorruptedInTransit):
                copy_object(context, task())
            assert destination.blobs == {}
            assert destination.staged.get("k", {}) == {}


class TestIntegrityMinimum:
    """What the user requires is required."""

    @pytest.mark.parametrize("size_bytes", [0, 5, 3 * MIB])
    @pytest.mark.parametrize("listed", [False, True])
    @pytest.mark.parametrize(("minimum", "stored"), [("crc64nvme", "crc32c"), ("crc32c", "crc32"), ("crc32", None)])
    def test_weaker_is_refused(
        self,
        source: MemorySource,
        destination: MemoryDestination,
        size_bytes: int,
        listed: bool,
        minimum: str,
        stored: str | None,
    ) -> None:
        """An object with a weaker checksum is not committed, whichever way it would take."""
        source.put(BUCKET, "k", some_bytes(size_bytes), checksum=stored)
        item = source.listed(BUCKET, "k") if listed else None
        with transfer_context(source, destination, integrity=minimum) as context, pytest.raises(IntegrityUnavailable):
            copy_object(context, task(listed=item))
        assert destination.blobs == {}

    @pytest.mark.parametrize("size_bytes", [0, 5, 3 * MIB])
    def test_as_strong_is_enough(self, source: MemorySource, destination: MemoryDestination, size_bytes: int) -> None:
        """The rung itself passes."""
        source.put(BUCKET, "k", some_bytes(size_bytes), checksum="crc32c")
        with transfer_context(source, destination, integrity="crc32c") as context:
            assert copy_object(context, task()).status == "copied"


@pytest.mark.parametrize("size_bytes", [0, 5, 3 * MIB])
class TestOverwrite:
    """What is there stays or goes as a whole, as the user says."""

    def test_never(self, source: MemorySource, destination: MemoryDestination, size_bytes: int) -> None:
        """With never, an existing blob is skipped with its reason."""
        destination.write("k", b"theirs")
        source.put(BUCKET, "k", some_bytes(size_bytes))
        with transfer_context(source, destination, overwrite="never") as context:
            receipt = copy_object(context, task())
        assert (receipt.status, receipt.reason, source.bytes_served) == ("skipped", "destination_exists", 0)
        assert destination.blobs["k"].data == b"theirs"

    def test_always(self, source: MemorySource, destination: MemoryDestination, size_bytes: int) -> None:
        """With always, an equal blob is written anew."""
        source.put(BUCKET, "k", some_bytes(size_bytes))
        with transfer_context(source, destination, overwrite="always") as context:
            before = copy_object(context, task()) and destination.blobs["k"].etag
            assert copy_object(context, task()).status == "copied"
        assert destination.blobs["k"].etag != before

    def test_newer_copy_stays(self, source: MemorySource, destination: MemoryDestination, size_bytes: int) -> None:
        """Invariant 4: an older source never replaces a newer one, not even with always."""
        version = source.put(BUCKET, "k", some_bytes(size_bytes))
        newer = (version.last_modified + timedelta(seconds=1)).isoformat()
        destination.write("k", b"newer", metadata={"s3_etag": "newer", "s3_last_modified": newer})
        with transfer_context(source, destination, overwrite="always") as context:
            receipt = copy_object(context, task())
        assert (receipt.status, receipt.reason) == ("skipped", "destination_newer")
        assert destination.blobs["k"].data == b"newer"

    def test_append_blob(self, source: MemorySource, destination: MemoryDestination, size_bytes: int) -> None:
        """A blob of another type is refused by name."""
        destination.write("k", b"log", blob_type="AppendBlob")
        source.put(BUCKET, "k", some_bytes(size_bytes))
        with transfer_context(source, destination) as context, pytest.raises(WrongBlobType, match="AppendBlob"):
            copy_object(context, task())

    def test_leftover_blocks(self, source: MemorySource, destination: MemoryDestination, size_bytes: int) -> None:
        """Foreign leftovers of our id length neither stop the copy nor get into the blob."""
        destination.stage_foreign("k", b"x" * 52, b"foreign")
        data = some_bytes(size_bytes)
        source.put(BUCKET, "k", data)
        with transfer_context(source, destination) as context:
            assert copy_object(context, task()).status == "copied"
        assert destination.blobs["k"].data == data

    def test_wrong_plan(self, source: MemorySource, destination: MemoryDestination, size_bytes: int) -> None:
        """A blob that appeared since the plan is a conflict; it stays as it is."""
        source.put(BUCKET, "k", some_bytes(size_bytes))
        planned = Condition(None)
        destination.write("k", b"theirs")
        with transfer_context(source, destination) as context, pytest.raises(DestinationConflict):
            copy_object(context, task(listed=source.listed(BUCKET, "k"), condition=planned))
        assert destination.blobs["k"].data == b"theirs"

    def test_earlier_try_had_committed(
        self, source: MemorySource, destination: MemoryDestination, size_bytes: int
    ) -> None:
        """A try after one whose commit was never reported finds its work done: copied, once."""
        source.put(BUCKET, "k", some_bytes(size_bytes))
        planned = task(listed=source.listed(BUCKET, "k"), condition=Condition(None))
        with transfer_context(source, destination) as context:
            for _ in range(2):
                assert copy_object(context, planned).status == "copied"
        assert destination.commits == 1
        assert destination.blobs["k"].data == some_bytes(size_bytes)


def test_foreign_blocks_of_another_length(source: MemorySource, destination: MemoryDestination) -> None:
    """Invariant 7: a permanent error that names the blob; the foreign blocks stay."""
    destination.stage_foreign("k", b"short", b"foreign")
    source.put(BUCKET, "k", some_bytes(3 * MIB))
    with transfer_context(source, destination) as context, pytest.raises(ForeignBlocks, match="'k'"):
        copy_object(context, task())
    assert list(destination.staged["k"]) == [b"short"]


@pytest.mark.parametrize(("key", "blob"), [("a/../b", "fine"), ("fine", "a/../b"), (".", "fine"), ("fine", "a/.")])
def test_dot_segments(source: MemorySource, destination: MemoryDestination, key: str, blob: str) -> None:
    """Invariant 8: refused before anything is looked at."""
    source.put(BUCKET, key, b"x")
    with transfer_context(source, destination) as context, pytest.raises(NameRefused):
        copy_object(context, task(key, blob=blob))
    assert source.opened == []


class Cutting(MemorySource):
    """A wire that ends each of the first ``cuts`` bodies early."""

    cuts = 0

    def served(self, key: str, start: int, data: bytes) -> bytes:
        """Cut in the middle."""
        if self.cuts and len(data) > 1:
            self.cuts -= 1
            return data[: len(data) // 2]
        return data


@pytest.mark.parametrize("size_bytes", [1_000, MIB, 3 * MIB])
def test_body_that_ends_early(destination: MemoryDestination, size_bytes: int) -> None:
    """It is resumed at its byte, pinned to the version, and never accepted as the whole."""
    source = Cutting(BUCKET)
    data = some_bytes(size_bytes)
    source.put(BUCKET, "k", data)
    source.cuts = 3
    with transfer_context(source, destination, connections=1) as context:
        receipt = copy_object(context, task())
    assert destination.blobs["k"].data == data
    assert source.bytes_served == size_bytes
    assert receipt.retries == 3


class NeverEnds(MemorySource):
    """A wire that gives no byte at all."""

    def served(self, key: str, start: int, data: bytes) -> bytes:
        """Give nothing."""
        return b""


@pytest.mark.parametrize("size_bytes", [10, 3 * MIB])
def test_body_that_brings_nothing(destination: MemoryDestination, size_bytes: int) -> None:
    """Tries without a byte use up the budget; the error is transient."""
    source = NeverEnds(BUCKET)
    source.put(BUCKET, "k", some_bytes(size_bytes))
    with (
        transfer_context(source, destination, connections=1) as context,
        pytest.raises(ConnectionFailed, match="ended at byte 0"),
    ):
        copy_object(context, task())


class TestParts:
    """A giant object in range tasks: each stages its own, whoever finds the set complete commits."""

    DATA = some_bytes(6 * MIB + 3)
    RANGES = (Block(0, 2 * MIB), Block(2 * MIB, 4 * MIB), Block(4 * MIB, 6 * MIB + 3))

    def parts(self, source: MemorySource, condition: Condition) -> list[Any]:
        """Return the parts' tasks."""
        listed = source.listed(BUCKET, "k")
        return [task(listed=listed, condition=condition, within=span, block_bytes=MIB) for span in self.RANGES]

    def test_last_one_commits(self, source: MemorySource, destination: MemoryDestination) -> None:
        """All but the last report staged, with their own blocks and bytes only; the last one commits the whole."""
        source.put(BUCKET, "k", self.DATA)
        with transfer_context(source, destination) as context:
            receipts = [copy_object(context, part) for part in self.parts(source, Condition(None))]
        assert [receipt.status for receipt in receipts] == ["staged", "staged", "copied"]
        assert [receipt.bytes_sent for receipt in receipts] == [2 * MIB, 2 * MIB, 2 * MIB + 3]
        assert [receipt.blocks_resumed for receipt in receipts] == [0, 0, 0]
        assert destination.blobs["k"].data == self.DATA

    def test_part_again_after_the_commit(self, source: MemorySource, destination: MemoryDestination) -> None:
        """A retry of a part whose siblings have committed looks at the blob first, and sends nothing."""
        source.put(BUCKET, "k", self.DATA)
        parts = self.parts(source, Condition(None))
        with transfer_context(source, destination) as context:
            for part in parts:
                copy_object(context, part)
            served = source.bytes_served
            assert [copy_object(context, part).status for part in parts] == ["copied"] * 3
        assert source.bytes_served == served
        assert destination.commits == 1

    def test_parts_at_once(self, source: MemorySource, destination: MemoryDestination) -> None:
        """All at the same time: one right blob, and at least one of them says copied."""
        source.put(BUCKET, "k", self.DATA)
        condition = Condition(destination.write("k", b"before"))
        results: list[str] = []

        def work(part: Any) -> None:
            with transfer_context(source, destination) as context:
                results.append(copy_object(context, part).status)

        threads = [threading.Thread(target=work, args=(part,)) for part in self.parts(source, condition)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 3
        assert "copied" in results
        assert destination.blobs["k"].data == self.DATA
        assert destination.commits == 1


@pytest.mark.parametrize("size_bytes", [0, 5, 4 * MIB])
@pytest.mark.parametrize("writers", [2, 4])
def test_several_copies_at_once(
    source: MemorySource, destination: MemoryDestination, size_bytes: int, writers: int
) -> None:
    """Two tries, two runs, a zombie: all end well, in one right blob, committed once."""
    data = some_bytes(size_bytes)
    source.put(BUCKET, "k", data)
    start = threading.Barrier(writers)
    results: list[str | TransferError] = []

    def work() -> None:
        with transfer_context(source, destination) as context:
            start.wait()
            try:
                results.append(copy_object(context, task()).status)
            except TransferError as error:
                results.append(error)

    threads = [threading.Thread(target=work) for _ in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(results) <= {"copied", "unchanged"}, results
    assert len(results) == writers
    assert destination.blobs["k"].data == data
    assert destination.commits == 1


class Zombie(MemoryDestination):
    """After each commit a worker that should be dead stages a block of the same version."""

    def list_staged(self, blob: str) -> Sequence[ListedBlock]:
        """List, then let the zombie stage."""
        found = super().list_staged(blob)
        self.stage_foreign(blob, b"A" * 52, b"late")
        return found


def test_zombie_stages_on(source: MemorySource) -> None:
    """Invariant 2: late blocks of a zombie do no harm, during the copy or after it."""
    destination = Zombie()
    source.put(BUCKET, "k", some_bytes(3 * MIB))
    with transfer_context(source, destination) as context:
        assert copy_object(context, task()).status == "copied"
        destination.stage_foreign("k", b"B" * 52, b"later")
        source.put(BUCKET, "k", some_bytes(3 * MIB, seed=5))
        assert copy_object(context, task()).status == "copied"
    assert destination.blobs["k"].data == some_bytes(3 * MIB, seed=5)


def test_log_says_what_was_found(
    source: MemorySource, destination: MemoryDestination, caplog: pytest.LogCaptureFixture
) -> None:
    """Who reads the log of a retry sees the whole plan of blocks, and how much it need not send."""
    data = some_bytes(4 * MIB)
    version = source.put(BUCKET, "k", data)
    stage(destination, version, MIB, data[MIB : 2 * MIB])
    with caplog.at_level("INFO", logger="s3_to_azure"), transfer_context(source, destination) as context:
        copy_object(context, task())
    assert "'k': 4.0 MiB, cut into 4 blocks of at most 1.0 MiB" in caplog.messages
    assert "'k': 1 of 4 blocks (1.0 MiB) are already in Azure; 3.0 MiB to send" in caplog.messages


def test_progress_adds_up(source: MemorySource, destination: MemoryDestination) -> None:
    """What is sent and what was there already make the total."""
    data = some_bytes(4 * MIB)
    version = source.put(BUCKET, "k", data)
    stage(destination, version, MIB, data[MIB : 2 * MIB])
    with transfer_context(source, destination) as context:
        copy_object(context, task())
        now = context.progress.snapshot()
    assert (now.bytes_total, now.bytes_sent, now.bytes_resumed) == (4 * MIB, 3 * MIB, MIB)


@pytest.mark.parametrize("size_bytes", [0, 1, MIB, 2 * MIB, 3 * MIB])
def test_readback_of_many_within_a_small_budget(
    source: MemorySource, destination: MemoryDestination, size_bytes: int
) -> None:
    """Objects that are read back never wait for memory that only they themselves could free."""
    keys = [f"key-{n}" for n in range(6)]
    for number, key in enumerate(keys):
        source.put(BUCKET, key, some_bytes(size_bytes, seed=number))
    with transfer_context(
        source, destination, integrity="readback", block_bytes=2 * MIB, memory_budget_bytes=4 * MIB
    ) as context:
        outcomes = list(copy_many(context, [task(key) for key in keys]))
    assert {outcome.receipt.verified_by for outcome in outcomes} == {"crc64nvme+readback"}
    assert {key: blob.data for key, blob in destination.blobs.items()} == {
        key: some_bytes(size_bytes, seed=number) for number, key in enumerate(keys)
    }


@pytest.mark.parametrize("budget_mib", [1, 2])
def test_object_as_large_as_the_budget(source: MemorySource, destination: MemoryDestination, budget_mib: int) -> None:
    """A block that fills the budget, or half of it, is copied all the same."""
    data = some_bytes(MIB)
    source.put(BUCKET, "k", data)
    with transfer_context(source, destination, memory_budget_bytes=budget_mib * MIB) as context:
        for listed in (None, source.listed(BUCKET, "k")):
            assert copy_object(context, task(listed=listed)).status in ("copied", "unchanged")
    assert destination.blobs["k"].data == data
