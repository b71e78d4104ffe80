"""One object between fakes that keep the contract: every size, and every way to be interrupted."""

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
    UnexpectedResponse,
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
    """Stage a block of the version, as an earlier try would have."""
    block = StagedBlock(start, start + len(data), crc(data), NO_SECOND, fingerprint(version))
    block = replace(block, **changes)
    destination.stage_foreign("k", block.block_id.encode(), data)


@pytest.mark.parametrize("listed", [False, True], ids=["by key", "from a listing"])
@pytest.mark.parametrize("checksum", ["crc64nvme", "crc32c", "crc32", None])
@pytest.mark.parametrize("size_bytes", SIZES)
def test_every_size(
    source: MemorySource, destination: MemoryDestination, size_bytes: int, checksum: str | None, listed: bool
) -> None:
    """The blob is the object for every size, and the receipt names the verification."""
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


def test_metadata_and_headers_are_copied(source: MemorySource, destination: MemoryDestination) -> None:
    """The object's metadata and headers are copied; our own record wins where names differ by case only."""
    headers = ContentHeaders("text/x-test", "gzip", "de", "inline", "no-cache")
    source.put(BUCKET, "k", b"x", metadata={"my-key": "ü", "S3_ETag": "theirs"}, headers=headers)
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    blob = destination.blobs["k"]
    assert blob.metadata["my_x002d_key"] == "%C3%BC"
    assert blob.metadata["s3_etag"] == receipt.etag
    assert blob.headers == headers


def test_second_run_copies_nothing(source: MemorySource, destination: MemoryDestination) -> None:
    """Promise 2: blobs that hold their objects are left alone, and no byte is read."""
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
        """Stop after this many blocks."""
        super().__init__()
        self.stop = threading.Event()
        self._left = blocks

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        """Stage the block, then stop."""
        if self.stop.is_set():
            raise ConnectionFailed(service="Azure", resource=blob, detail="too late")
        super().stage_block(blob, block_id, data, crc64)
        self._left -= 1
        if self._left == 0:
            self.stop.set()


def test_resume_after_a_stop(source: MemorySource) -> None:
    """Promise 2: a later worker sends only the missing blocks and verifies the whole object."""
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
    """After a worker died between its last block and the commit, nothing is sent again."""
    data = some_bytes(2 * MIB + 5)
    version = source.put(BUCKET, "k", data)
    for start in range(0, len(data), MIB):
        stage(destination, version, start, data[start : start + MIB])
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    assert (receipt.bytes_sent, receipt.blocks_resumed, source.bytes_served) == (0, 3, 0)
    assert destination.blobs["k"].data == data


def test_another_staged_layout_is_adopted(source: MemorySource, destination: MemoryDestination) -> None:
    """A changed block size does not orphan the blocks that an earlier try staged."""
    data = some_bytes(6 * MIB)
    version = source.put(BUCKET, "k", data)
    stage(destination, version, 0, data[: 2 * MIB])
    stage(destination, version, 4 * MIB, data[4 * MIB :])
    with transfer_context(source, destination, block_bytes=MIB) as context:
        receipt = copy_object(context, task())
    assert (receipt.blocks, receipt.blocks_resumed, receipt.bytes_sent) == (3, 2, 2 * MIB)
    assert destination.blobs["k"].data == data


def test_two_crcs_at_one_offset_are_read_again(source: MemorySource, destination: MemoryDestination) -> None:
    """Of two different blocks for one range neither is trusted: the range is read again."""
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
def test_block_without_the_needed_digest_is_read_again(
    source: MemorySource, destination: MemoryDestination, second: bytes
) -> None:
    """Where S3 stores a CRC32C, a staged block without one is read again."""
    data = some_bytes(2 * MIB)
    version = source.put(BUCKET, "k", data, checksum="crc32c")
    stage(destination, version, 0, data[:MIB], second=second)
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    assert (receipt.blocks_resumed, receipt.verified_by) == (0, "crc32c")
    assert destination.blobs["k"].data == data


def test_staged_block_with_wrong_bytes_is_replaced(source: MemorySource, destination: MemoryDestination) -> None:
    """Invariant 3: a staged block whose bytes are not the object's is found and staged again before the commit."""
    data = some_bytes(4 * MIB)
    version = source.put(BUCKET, "k", data)
    stage(destination, version, MIB, some_bytes(MIB, seed=3))
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    assert destination.blobs["k"].data == data
    assert receipt.blocks_resumed == 1
    assert receipt.bytes_sent == 4 * MIB


def test_blocks_of_another_version_are_ignored(source: MemorySource, destination: MemoryDestination) -> None:
    """Promise 3: two source versions are never mixed, even where both have the same size."""
    old = source.put(BUCKET, "k", some_bytes(3 * MIB, seed=1))
    stage(destination, old, 0, some_bytes(3 * MIB, seed=1)[:MIB])
    data = some_bytes(3 * MIB, seed=2)
    source.put(BUCKET, "k", data)
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task())
    assert (receipt.blocks_resumed, destination.blobs["k"].data) == (0, data)


class ChangesUnderWay(MemorySource):
    """An object that is overwritten ``changes`` times while it is read."""

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
def test_source_changed_during_the_copy(destination: MemoryDestination, changes: int) -> None:
    """Invariant 1: a changed object is copied from the start at its new ETag; the blob is one version as a whole."""
    source = ChangesUnderWay(BUCKET)
    source.put(BUCKET, "k", some_bytes(4 * MIB))
    source.changes = changes
    with transfer_context(source, destination, connections=1) as context:
        receipt = copy_object(context, task())
    assert destination.blobs["k"].data == some_bytes(4 * MIB, seed=100)
    assert receipt.etag == source.head(BUCKET, "k").etag


def test_source_that_keeps_changing_fails(destination: MemoryDestination) -> None:
    """Invariant 1: a third change fails the copy, and nothing is committed."""
    source = ChangesUnderWay(BUCKET)
    source.put(BUCKET, "k", some_bytes(4 * MIB))
    source.changes = 3
    with transfer_context(source, destination, connections=1) as context, pytest.raises(SourceChanged):
        copy_object(context, task())
    assert destination.blobs == {}


def test_object_of_another_size_than_listed_fails(source: MemorySource, destination: MemoryDestination) -> None:
    """If listing and HEAD disagree about the size of one version, either may be wrong: nothing is written."""
    listed = replace(source.listed(BUCKET, source.put(BUCKET, "k", some_bytes(3 * MIB)).key), size_bytes=4 * MIB)
    with transfer_context(source, destination) as context, pytest.raises(UnexpectedResponse, match="for the same ETag"):
        copy_object(context, task(listed=listed, condition=Condition(None)))
    assert (destination.blobs, destination.bytes_staged) == ({}, 0)


def test_range_of_a_changed_object_fails(source: MemorySource, destination: MemoryDestination) -> None:
    """Invariant 1: a range of a giant object never uses another version than the other ranges."""
    source.put(BUCKET, "k", some_bytes(4 * MIB))
    listed = source.listed(BUCKET, "k")
    source.put(BUCKET, "k", some_bytes(4 * MIB, seed=1))
    part = task(listed=listed, condition=Condition(None), within=Block(0, 2 * MIB), block_bytes=MIB)
    with transfer_context(source, destination) as context, pytest.raises(SourceChanged):
        copy_object(context, part)
    assert destination.staged == {}


def test_object_overwritten_since_the_listing(source: MemorySource, destination: MemoryDestination) -> None:
    """A small object that changed since the listing is copied in its current version."""
    source.put(BUCKET, "k", b"old")
    listed = source.listed(BUCKET, "k")
    source.put(BUCKET, "k", b"new and longer")
    with transfer_context(source, destination) as context:
        receipt = copy_object(context, task(listed=listed))
    assert destination.blobs["k"].data == b"new and longer"
    assert receipt.size_bytes == 14


@pytest.mark.parametrize("size_bytes", [10, 3 * MIB])
def test_object_deleted_since_the_listing_fails(
    source: MemorySource, destination: MemoryDestination, size_bytes: int
) -> None:
    """An object that is gone fails as not found, and nothing is written."""
    source.put(BUCKET, "k", some_bytes(size_bytes))
    listed = source.listed(BUCKET, "k")
    source.delete(BUCKET, "k")
    with transfer_context(source, destination) as context, pytest.raises(ObjectNotFound):
        copy_object(context, task(listed=listed))
    assert destination.blobs == {}


class Flipping(MemorySource):
    """A connection that flips one byte of the first ``flips`` bodies that hold the offset."""

    flips = 0
    offset = 0

    def served(self, key: str, start: int, data: bytes) -> bytes:
        """Flip a bit of the byte."""
        if self.flips and start <= self.offset < start + len(data):
            self.flips -= 1
            at = self.offset - start
            return data[:at] + bytes([data[at] ^ 0x40]) + data[at + 1 :]
        return data


@pytest.mark.parametrize("checksum", ["crc64nvme", "crc32c", "crc32"])
@pytest.mark.parametrize(("size_bytes", "offset"), [(1, 0), (MIB, 77), (4 * MIB, 2 * MIB + 1), (4 * MIB + 1, 4 * MIB)])
def test_flipped_byte_from_the_source_is_read_again(
    destination: MemoryDestination, checksum: str, size_bytes: int, offset: int
) -> None:
    """Promise 3: a byte that is flipped between S3 and the worker never gets into a blob."""
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
def test_source_that_stays_damaged_fails(
    destination: MemoryDestination, checksum: str, size_bytes: int, offset: int
) -> None:
    """Promise 3: an object that reads damaged every time is an ``IntegrityError``, and the old blob stays."""
    source = Flipping(BUCKET)
    source.put(BUCKET, "k", some_bytes(size_bytes), checksum=checksum)
    source.flips, source.offset = 1_000, offset
    destination.write("k", b"the previous good blob")
    with transfer_context(source, destination) as context, pytest.raises(IntegrityError) as caught:
        copy_object(context, task())
    assert destination.blobs["k"].data == b"the previous good blob"
    assert caught.value.attributes["algorithm"] == checksum


class CorruptsInTransit(MemoryDestination):
    """A connection that flips one byte of the first ``flips`` bodies that are sent."""

    flips = 0

    def _wire(self, data: memoryview) -> memoryview:
        if not self.flips:
            return data
        self.flips -= 1
        damaged = bytearray(data)
        damaged[len(damaged) // 2] ^= 1
        return memoryview(bytes(damaged))

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        """Stage the bytes that arrive."""
        super().stage_block(blob, block_id, self._wire(data), crc64)

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        """Write the bytes that arrive."""
        return super().put_blob(blob, self._wire(data), crc64, contents, condition)


@pytest.mark.parametrize("size_bytes", [1, MIB, 4 * MIB])
@pytest.mark.parametrize("flips", [1, 2, 1_000])
def test_flipped_byte_to_azure_is_sent_again(source: MemorySource, size_bytes: int, flips: int) -> None:
    """Promise 3: a byte flipped between worker and Azure is refused by its CRC64, sent again and never committed."""
    destination = CorruptsInTransit()
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
    """The user's minimum level is enforced."""

    @pytest.mark.parametrize("size_bytes", [0, 5, 3 * MIB])
    @pytest.mark.parametrize("listed", [False, True])
    @pytest.mark.parametrize(("minimum", "stored"), [("crc64nvme", "crc32c"), ("crc32c", "crc32"), ("crc32", None)])
    def test_weaker_checksum_is_refused(
        self,
        source: MemorySource,
        destination: MemoryDestination,
        size_bytes: int,
        listed: bool,
        minimum: str,
        stored: str | None,
    ) -> None:
        """An object with a weaker checksum is not committed, whether it takes one request or many."""
        source.put(BUCKET, "k", some_bytes(size_bytes), checksum=stored)
        item = source.listed(BUCKET, "k") if listed else None
        with transfer_context(source, destination, integrity=minimum) as context, pytest.raises(IntegrityUnavailable):
            copy_object(context, task(listed=item))
        assert destination.blobs == {}

    @pytest.mark.parametrize("size_bytes", [0, 5, 3 * MIB])
    def test_equal_level_is_accepted(
        self, source: MemorySource, destination: MemoryDestination, size_bytes: int
    ) -> None:
        """An object with exactly the required checksum is copied."""
        source.put(BUCKET, "k", some_bytes(size_bytes), checksum="crc32c")
        with transfer_context(source, destination, integrity="crc32c") as context:
            assert copy_object(context, task()).status == "copied"


@pytest.mark.parametrize("size_bytes", [0, 5, 3 * MIB])
class TestOverwrite:
    """An existing blob is kept or replaced as a whole, as the user chose."""

    def test_never_skips_an_existing_blob(
        self, source: MemorySource, destination: MemoryDestination, size_bytes: int
    ) -> None:
        """With ``never``, an existing blob is skipped with its reason."""
        destination.write("k", b"theirs")
        source.put(BUCKET, "k", some_bytes(size_bytes))
        with transfer_context(source, destination, overwrite="never") as context:
            receipt = copy_object(context, task())
        assert (receipt.status, receipt.reason, source.bytes_served) == ("skipped", "destination_exists", 0)
        assert destination.blobs["k"].data == b"theirs"

    def test_always_replaces_an_equal_blob(
        self, source: MemorySource, destination: MemoryDestination, size_bytes: int
    ) -> None:
        """With ``always``, an equal blob is written again."""
        source.put(BUCKET, "k", some_bytes(size_bytes))
        with transfer_context(source, destination, overwrite="always") as context:
            before = copy_object(context, task()) and destination.blobs["k"].etag
            assert copy_object(context, task()).status == "copied"
        assert destination.blobs["k"].etag != before

    @pytest.mark.parametrize("overwrite", ["if_changed", "always"])
    @pytest.mark.parametrize("planned", [False, True])
    def test_current_version_replaces_a_copy_of_a_later_one(
        self, source: MemorySource, destination: MemoryDestination, size_bytes: int, planned: bool, overwrite: str
    ) -> None:
        """Invariant 4: what S3 holds now is copied, also if it is older than the blob's version: a rollback."""
        data = some_bytes(size_bytes)
        version = source.put(BUCKET, "k", data)
        newer = (version.last_modified + timedelta(seconds=1)).isoformat()
        etag = destination.write("k", b"newer", metadata={"s3_etag": "newer", "s3_last_modified": newer})
        of_plan: dict[str, Any] = (
            {"listed": source.listed(BUCKET, "k"), "condition": Condition(etag)} if planned else {}
        )
        with transfer_context(source, destination, overwrite=overwrite) as context:
            assert copy_object(context, task(**of_plan)).status == "copied"
        assert destination.blobs["k"].data == data
        assert destination.blobs["k"].metadata["s3_etag"] == version.etag

    def test_older_listing_does_not_replace_a_newer_copy(
        self, source: MemorySource, destination: MemoryDestination, size_bytes: int
    ) -> None:
        """Invariant 4: S3 decides when the copy is made. A copy of its current version is kept without a write."""
        source.put(BUCKET, "k", some_bytes(size_bytes))
        listed = source.listed(BUCKET, "k")
        current = source.put(BUCKET, "k", some_bytes(size_bytes + 1, seed=1))
        record = {"s3_etag": current.etag, "s3_last_modified": current.last_modified.isoformat()}
        etag = destination.write("k", some_bytes(size_bytes + 1, seed=1), metadata=record)
        with transfer_context(source, destination) as context:
            receipt = copy_object(context, task(listed=listed, condition=Condition(etag)))
        assert (receipt.status, receipt.etag) == ("unchanged", current.etag)
        assert destination.blobs["k"].etag == etag

    @pytest.mark.parametrize("rolled_back", [False, True])
    def test_late_copy_of_an_older_plan_does_not_replace_another(
        self, source: MemorySource, destination: MemoryDestination, size_bytes: int, rolled_back: bool
    ) -> None:
        """Invariant 4: a copy that was read before S3 changed, and committed after the next run, changes nothing."""
        size_bytes = max(size_bytes, 1)
        first = source.put(BUCKET, "k", some_bytes(size_bytes))
        second = source.put(BUCKET, "k", some_bytes(size_bytes, seed=1))
        ours, theirs = (second, first) if rolled_back else (first, second)
        record = {"s3_etag": theirs.etag, "s3_last_modified": theirs.last_modified.isoformat()}

        # Blocks may be read in any order: the last to be read need not be the last of the object.
        sizes_read: list[int] = []

        class Late(MemorySource):
            def head(self, bucket: str, key: str) -> ObjectVersion:
                return ours

            @contextmanager
            def open(self, version: Any, start: int = 0, end: int | None = None) -> Iterator[MemoryBody]:
                with super().open(version, start, end) as body:
                    yield body
                sizes_read.append((size_bytes if end is None else end) - start)
                if sum(sizes_read) == size_bytes:
                    destination.write("k", b"theirs", metadata=record)
                    self.put(BUCKET, "k", b"theirs", etag=theirs.etag, last_modified=theirs.last_modified)

        late = Late(BUCKET)
        late.put(BUCKET, "k", some_bytes(size_bytes, 1 if rolled_back else 0), last_modified=ours.last_modified)
        planned = task(listed=late.listed(BUCKET, "k"), condition=Condition(None))
        with transfer_context(late, destination, connections=1) as context, pytest.raises(DestinationConflict):
            copy_object(context, planned)
        assert destination.blobs["k"].data == b"theirs"

    def test_append_blob_is_refused(
        self, source: MemorySource, destination: MemoryDestination, size_bytes: int
    ) -> None:
        """A blob of another type is refused with an error that names the type."""
        destination.write("k", b"log", blob_type="AppendBlob")
        source.put(BUCKET, "k", some_bytes(size_bytes))
        with transfer_context(source, destination) as context, pytest.raises(WrongBlobType, match="AppendBlob"):
            copy_object(context, task())

    def test_leftover_blocks_are_not_committed(
        self, source: MemorySource, destination: MemoryDestination, size_bytes: int
    ) -> None:
        """Another tool's leftover blocks of our id length neither stop the copy nor get into the blob."""
        destination.stage_foreign("k", b"x" * 52, b"foreign")
        data = some_bytes(size_bytes)
        source.put(BUCKET, "k", data)
        with transfer_context(source, destination) as context:
            assert copy_object(context, task()).status == "copied"
        assert destination.blobs["k"].data == data

    def test_blob_that_appeared_since_the_plan_is_a_conflict(
        self, source: MemorySource, destination: MemoryDestination, size_bytes: int
    ) -> None:
        """A blob that was written since the plan is kept."""
        source.put(BUCKET, "k", some_bytes(size_bytes))
        planned = Condition(None)
        destination.write("k", b"theirs")
        with transfer_context(source, destination) as context, pytest.raises(DestinationConflict):
            copy_object(context, task(listed=source.listed(BUCKET, "k"), condition=planned))
        assert destination.blobs["k"].data == b"theirs"

    def test_earlier_try_had_committed(
        self, source: MemorySource, destination: MemoryDestination, size_bytes: int
    ) -> None:
        """A try after an unreported commit finds its work done: it reports ``copied``, and nothing is written twice."""
        source.put(BUCKET, "k", some_bytes(size_bytes))
        planned = task(listed=source.listed(BUCKET, "k"), condition=Condition(None))
        with transfer_context(source, destination) as context:
            for _ in range(2):
                assert copy_object(context, planned).status == "copied"
        assert destination.commits == 1
        assert destination.blobs["k"].data == some_bytes(size_bytes)


def test_foreign_blocks_of_another_length_are_kept(source: MemorySource, destination: MemoryDestination) -> None:
    """Invariant 7: a permanent error names the blob, and the foreign blocks stay."""
    destination.stage_foreign("k", b"short", b"foreign")
    source.put(BUCKET, "k", some_bytes(3 * MIB))
    with transfer_context(source, destination) as context, pytest.raises(ForeignBlocks, match="'k'"):
        copy_object(context, task())
    assert list(destination.staged["k"]) == [b"short"]


@pytest.mark.parametrize(("key", "blob"), [("a/../b", "fine"), ("fine", "a/../b"), (".", "fine"), ("fine", "a/.")])
def test_dot_segments_are_refused(source: MemorySource, destination: MemoryDestination, key: str, blob: str) -> None:
    """Invariant 8: a name with a dot segment is refused before any request."""
    source.put(BUCKET, key, b"x")
    with transfer_context(source, destination) as context, pytest.raises(NameRefused):
        copy_object(context, task(key, blob=blob))
    assert source.opened == []


class Cutting(MemorySource):
    """A connection that ends each of the first ``cuts`` bodies early."""

    cuts = 0

    def served(self, key: str, start: int, data: bytes) -> bytes:
        """Cut the body in the middle."""
        if self.cuts and len(data) > 1:
            self.cuts -= 1
            return data[: len(data) // 2]
        return data


@pytest.mark.parametrize("size_bytes", [1_000, MIB, 3 * MIB])
def test_body_that_ends_early_is_resumed(destination: MemoryDestination, size_bytes: int) -> None:
    """A body that ends early is resumed at its byte, pinned to the version."""
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
    """A connection that returns no byte at all."""

    def served(self, key: str, start: int, data: bytes) -> bytes:
        """Return nothing."""
        return b""


@pytest.mark.parametrize("size_bytes", [10, 3 * MIB])
def test_body_without_bytes_uses_up_the_budget(destination: MemoryDestination, size_bytes: int) -> None:
    """Tries that bring no byte use up the retry budget; the error is transient."""
    # Several blocks are read at once: the error is that of the block which gave up first.
    starts = "|".join(str(start) for start in range(0, size_bytes, MIB))
    source = NeverEnds(BUCKET)
    source.put(BUCKET, "k", some_bytes(size_bytes))
    with (
        transfer_context(source, destination, connections=1) as context,
        pytest.raises(ConnectionFailed, match=rf"ended at byte ({starts})\."),
    ):
        copy_object(context, task())


class TestRanges:
    """A giant object in range tasks: each stages its own range, and the one that finds the set complete commits."""

    DATA = some_bytes(6 * MIB + 3)
    RANGES = (Block(0, 2 * MIB), Block(2 * MIB, 4 * MIB), Block(4 * MIB, 6 * MIB + 3))

    def ranges(self, source: MemorySource, condition: Condition) -> list[Any]:
        """Return the tasks of the ranges."""
        listed = source.listed(BUCKET, "k")
        return [task(listed=listed, condition=condition, within=span, block_bytes=MIB) for span in self.RANGES]

    def test_last_range_commits(self, source: MemorySource, destination: MemoryDestination) -> None:
        """All but the last range report ``staged`` with their own blocks and bytes; the last one commits the object."""
        source.put(BUCKET, "k", self.DATA)
        with transfer_context(source, destination) as context:
            receipts = [copy_object(context, part) for part in self.ranges(source, Condition(None))]
        assert [receipt.status for receipt in receipts] == ["staged", "staged", "copied"]
        assert [receipt.bytes_sent for receipt in receipts] == [2 * MIB, 2 * MIB, 2 * MIB + 3]
        assert [receipt.blocks_resumed for receipt in receipts] == [0, 0, 0]
        assert destination.blobs["k"].data == self.DATA

    def test_range_again_after_the_commit_sends_nothing(
        self, source: MemorySource, destination: MemoryDestination
    ) -> None:
        """A retry after the commit looks at the blob first, and reads no byte."""
        source.put(BUCKET, "k", self.DATA)
        ranges = self.ranges(source, Condition(None))
        with transfer_context(source, destination) as context:
            for part in ranges:
                copy_object(context, part)
            served = source.bytes_served
            assert [copy_object(context, part).status for part in ranges] == ["copied"] * 3
        assert source.bytes_served == served
        assert destination.commits == 1

    def test_ranges_at_once(self, source: MemorySource, destination: MemoryDestination) -> None:
        """Ranges that run at the same time make one correct blob, and at least one reports ``copied``."""
        source.put(BUCKET, "k", self.DATA)
        condition = Condition(destination.write("k", b"before"))
        results: list[str] = []

        def work(part: Any) -> None:
            with transfer_context(source, destination) as context:
                results.append(copy_object(context, part).status)

        threads = [threading.Thread(target=work, args=(part,)) for part in self.ranges(source, condition)]
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
    """Two tries, two runs and a zombie all succeed with one correct blob, committed once."""
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
    """A container in which a zombie worker stages a block after each listing."""

    def list_staged(self, blob: str) -> Sequence[ListedBlock]:
        """List the staged blocks, then stage one more."""
        found = super().list_staged(blob)
        self.stage_foreign(blob, b"A" * 52, b"late")
        return found


def test_blocks_of_a_zombie_are_ignored(source: MemorySource) -> None:
    """Invariant 2: late blocks of a zombie worker do no harm, neither during the copy nor after it."""
    destination = Zombie()
    source.put(BUCKET, "k", some_bytes(3 * MIB))
    with transfer_context(source, destination) as context:
        assert copy_object(context, task()).status == "copied"
        destination.stage_foreign("k", b"B" * 52, b"later")
        source.put(BUCKET, "k", some_bytes(3 * MIB, seed=5))
        assert copy_object(context, task()).status == "copied"
    assert destination.blobs["k"].data == some_bytes(3 * MIB, seed=5)


def test_log_says_how_much_is_staged(
    source: MemorySource, destination: MemoryDestination, caplog: pytest.LogCaptureFixture
) -> None:
    """The log of a retry has the layout, and the bytes that need not be sent again."""
    data = some_bytes(4 * MIB)
    version = source.put(BUCKET, "k", data)
    stage(destination, version, MIB, data[MIB : 2 * MIB])
    with caplog.at_level("INFO", logger="s3_to_azure"), transfer_context(source, destination) as context:
        copy_object(context, task())
    assert "'k': 4.0 MiB, cut into 4 blocks of at most 1.0 MiB" in caplog.messages
    assert "'k': 1 of 4 blocks (1.0 MiB) are already in Azure; 3.0 MiB to send" in caplog.messages


def test_progress_adds_up(source: MemorySource, destination: MemoryDestination) -> None:
    """Bytes sent and bytes resumed add up to the total."""
    data = some_bytes(4 * MIB)
    version = source.put(BUCKET, "k", data)
    stage(destination, version, MIB, data[MIB : 2 * MIB])
    with transfer_context(source, destination) as context:
        copy_object(context, task())
        now = context.progress.snapshot()
    assert (now.bytes_total, now.bytes_sent, now.bytes_resumed) == (4 * MIB, 3 * MIB, MIB)


@pytest.mark.parametrize("size_bytes", [0, 1, MIB, 2 * MIB, 3 * MIB])
def test_readback_within_a_small_budget(source: MemorySource, destination: MemoryDestination, size_bytes: int) -> None:
    """Objects that are read back never wait for memory that only they could free."""
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
    """A block that fills the budget, or half of it, is copied."""
    data = some_bytes(MIB)
    source.put(BUCKET, "k", data)
    with transfer_context(source, destination, memory_budget_bytes=budget_mib * MIB) as context:
        for listed in (None, source.listed(BUCKET, "k")):
            assert copy_object(context, task(listed=listed)).status in ("copied", "unchanged")
    assert destination.blobs["k"].data == data
