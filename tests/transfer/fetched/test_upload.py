"""A version that Azure fetches: the proof, the resume, the cure, and streaming as its net."""

import base64
import itertools
import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from s3_to_azure.model.errors import (
    FetchRefused,
    IntegrityError,
    ObjectNotFound,
    ServerFailed,
    SourceChanged,
    Throttled,
    TooManyStagedBlocks,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Block, ObjectVersion, PartChecksum, Receipt
from s3_to_azure.transfer.blocks import NO_SECOND, FetchedBlock, StagedBlock, fingerprint
from s3_to_azure.transfer.fetched import upload
from s3_to_azure.transfer.fetched.eligibility import NotFetchable
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import BUCKET, crc, some_bytes, task, transfer_context
from tests.fakes.fetching_memory import FetchingMemory, refused
from tests.fakes.memory_source import MemorySource

BLOCKS = 12
DATA = some_bytes(BLOCKS * MIB - 17)
WRONG = 1
"""The CRC64 with which Azure is asked whether it compares any."""


@pytest.fixture
def source() -> MemorySource:
    """Return S3 with one object."""
    source = MemorySource(BUCKET)
    source.put(BUCKET, "k", DATA)
    return source


@pytest.fixture
def azure(source: MemorySource) -> FetchingMemory:
    """Return Azure, which reads that S3."""
    return FetchingMemory(source)


def copy(source: MemorySource, azure: FetchingMemory, via: str = "auto", **settings: Any) -> Receipt:
    """Copy the object."""
    with transfer_context(source, azure, via=via, **settings) as context:
        return copy_object(context, task())


def versions_of(azure: FetchingMemory) -> list[int]:
    """Return the format versions of the ids that were committed."""
    return [base64.urlsafe_b64decode(name)[0] for name in azure.blobs["k"].blocks]


def stage(azure: FetchingMemory, block: FetchedBlock, *, note: bool = True) -> None:
    """Stage a block that an earlier try let Azure fetch."""
    azure.stage_foreign("k", block.block_id.encode(), DATA[block.start : block.end])
    if note:
        azure.stage_foreign("k", block.note_id.encode(), b"\0")


def earlier(version: ObjectVersion, number: int, crc64: int | None = None, nonce: bytes = b"n" * 16) -> FetchedBlock:
    """Return a block of an earlier try."""
    start, end = number * MIB, min((number + 1) * MIB, len(DATA))
    known = crc(DATA[start:end]) if crc64 is None else crc64
    return FetchedBlock(start, end, known, NO_SECOND, fingerprint(version), nonce)


class TestNothingGoesWrong:
    """Azure fetches, the worker proves."""

    @pytest.mark.parametrize("via", ["auto", "azure"])
    def test_no_byte_passes_through_the_worker(self, source: MemorySource, azure: FetchingMemory, via: str) -> None:
        """The blob is proven by S3's own checksum all the same."""
        receipt = copy(source, azure, via)
        assert azure.blobs["k"].data == DATA
        assert (source.bytes_served, azure.bytes_staged) == (0, BLOCKS), "one byte for each note"
        assert (receipt.status, receipt.verified_by) == ("copied", "crc64nvme")
        assert (receipt.via, receipt.blocks_fetched, receipt.blocks_streamed) == ("azure", BLOCKS, 0)
        assert (receipt.blocks, receipt.bytes_sent, receipt.not_fetched) == (BLOCKS, len(DATA), "")

    def test_notes_are_never_committed(self, source: MemorySource, azure: FetchingMemory) -> None:
        """Only data is."""
        copy(source, azure)
        assert versions_of(azure) == [2] * BLOCKS

    def test_no_id_is_used_twice(self, source: MemorySource, azure: FetchingMemory) -> None:
        """Not even by the retry of a request whose answer was lost: the lost one may arrive late."""
        failures = itertools.count()

        def around(_: Block, fetch: Callable[[], int | None]) -> int | None:
            if next(failures) % 3 == 1:
                fetch()
                raise ServerFailed(service="Azure", status=500, code="OperationTimedOut", resource="k")
            return fetch()

        azure.around = around
        copy(source, azure)
        assert azure.blobs["k"].data == DATA
        assert len(azure.ids) > BLOCKS
        assert len(set(azure.ids)) == len(azure.ids)

    def test_object_of_one_block_needs_no_note(self, source: MemorySource, azure: FetchingMemory) -> None:
        """S3's checksum is the block's: Azure checks it before it stages anything."""
        source.put(BUCKET, "k", DATA[: MIB - 3])
        receipt = copy(source, azure, "azure")
        assert (receipt.blocks_fetched, azure.bytes_staged) == (1, 0)
        assert azure.checked == [WRONG, crc(DATA[: MIB - 3])]
        assert versions_of(azure) == [1]

    def test_azure_is_asked_to_check_the_etag(self, source: MemorySource, azure: FetchingMemory) -> None:
        """As every GET of the worker is."""
        copy(source, azure)
        assert set(azure.conditions) == {source.head(BUCKET, "k").etag}

    def test_azure_that_knows_no_condition(self, source: MemorySource, azure: FetchingMemory) -> None:
        """It is asked without one from then on; the proof finds a change all the same."""

        def around(_: Block, fetch: Callable[[], int | None]) -> int | None:
            if azure.now.etag is not None:
                raise refused("UnsupportedHeader")
            return fetch()

        azure.around = around
        receipt = copy(source, azure)
        assert receipt.blocks_fetched == BLOCKS
        assert azure.conditions.count(None) == BLOCKS
        assert len(set(azure.ids)) == len(azure.ids)


class TestResume:
    """A later worker finds what Azure has staged."""

    def test_noted_blocks_are_not_fetched_again(self, source: MemorySource, azure: FetchingMemory) -> None:
        """Blocks with notes, and streamed ones, are adopted."""
        version = source.head(BUCKET, "k")
        for number in (0, 5):
            stage(azure, earlier(version, number))
        streamed = StagedBlock(MIB, 2 * MIB, crc(DATA[MIB : 2 * MIB]), NO_SECOND, fingerprint(version))
        azure.stage_foreign("k", streamed.block_id.encode(), DATA[MIB : 2 * MIB])
        receipt = copy(source, azure)
        assert azure.blobs["k"].data == DATA
        assert (receipt.blocks_resumed, receipt.blocks_fetched) == (3, BLOCKS - 3)
        assert sorted(versions_of(azure)) == [1] + [2] * (BLOCKS - 1)

    def test_streaming_adopts_fetched_blocks(self, source: MemorySource, azure: FetchingMemory) -> None:
        """Whoever changes via to worker sends only what is missing."""
        stage(azure, earlier(source.head(BUCKET, "k"), 3))
        receipt = copy(source, azure, "worker")
        assert azure.blobs["k"].data == DATA
        assert (receipt.blocks_resumed, receipt.bytes_sent) == (1, len(DATA) - MIB)
        assert (receipt.via, azure.fetched) == ("worker", [])

    @pytest.mark.parametrize("other", [5, None])
    def test_doubtful_blocks_are_fetched_again(
        self, source: MemorySource, azure: FetchingMemory, other: int | None
    ) -> None:
        """Without a note, or with notes that differ, a block counts as not staged."""
        block = earlier(source.head(BUCKET, "k"), 2)
        stage(azure, block, note=other is not None)
        if other is not None:
            azure.stage_foreign("k", replace(block, crc64=other).note_id.encode(), b"\0")
        receipt = copy(source, azure)
        assert (receipt.blocks_resumed, receipt.blocks_fetched) == (0, BLOCKS)
        assert azure.blobs["k"].data == DATA

    def test_late_request_replaces_nothing(self, source: MemorySource, azure: FetchingMemory) -> None:
        """A request of an earlier try that arrives at last, with other bytes, has an id of its own."""
        late = earlier(source.head(BUCKET, "k"), 4, nonce=b"l" * 16)

        def around(block: Block, fetch: Callable[[], int | None]) -> int | None:
            found = fetch()
            azure.stage_foreign("k", late.block_id.encode(), b"x" * late.size_bytes)
            return found

        azure.around = around
        copy(source, azure)
        assert azure.blobs["k"].data == DATA

    def test_many_blocks_of_an_earlier_layout_are_streamed(
        self, source: MemorySource, azure: FetchingMemory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """More blocks than may be noted, as streaming cuts them, would fill what Azure holds for a blob."""
        monkeypatch.setattr(upload, "MOST_BLOCKS", BLOCKS - 1)
        stage(azure, earlier(source.head(BUCKET, "k"), 0))
        receipt = copy(source, azure)
        assert azure.blobs["k"].data == DATA
        assert (receipt.blocks_fetched, receipt.not_fetched) == (0, "no_block_size")


class TestCure:
    """What Azure says of a block may be wrong: the fold finds out, and fetching again mends it."""

    @pytest.mark.parametrize("number", [0, 5, BLOCKS - 1])
    @pytest.mark.parametrize("lies", [False, True])
    def test_one_wrong_block(self, source: MemorySource, azure: FetchingMemory, number: int, lies: bool) -> None:
        """Windows are fetched again in order, until the fold fits: at most one more object."""
        first = [True]

        def is_first(block: Block) -> bool:
            return block.start == number * MIB and bool(first and first.pop())

        def around(block: Block, fetch: Callable[[], int | None]) -> int | None:
            found = fetch()
            return 7 if is_first(block) else found

        def read(url: str, block: Block) -> bytes:
            return b"x" * block.size_bytes if is_first(block) else azure.read_source(url, block)

        if lies:
            azure.around = around
        else:
            azure.fetch = read
        receipt = copy(source, azure, connections=1)
        assert azure.blobs["k"].data == DATA
        again = (number // 4 + 1) * 4
        assert receipt.blocks_fetched == BLOCKS + again
        assert receipt.verified_by == "crc64nvme"

    def test_always_wrong(self, source: MemorySource, azure: FetchingMemory) -> None:
        """After one more object the copy fails, and nothing is committed."""

        def around(block: Block, fetch: Callable[[], int | None]) -> int | None:
            found = fetch()
            return 7 if block.start == 2 * MIB else found

        azure.around = around
        with pytest.raises(IntegrityError):
            copy(source, azure)
        assert azure.blobs == {}
        assert len(azure.fetched) == 2 * BLOCKS

    def test_changed_object_is_not_fetched_again(self, source: MemorySource, azure: FetchingMemory) -> None:
        """A mix of two versions may be staged, never committed: the copy starts again with the new version."""
        other, fetches = some_bytes(len(DATA), 5), itertools.count(1)

        def around(_: Block, fetch: Callable[[], int | None]) -> int | None:
            if next(fetches) == 6:
                source.put(BUCKET, "k", other)
            return fetch()

        azure.around = around
        receipt = copy(source, azure)
        assert azure.blobs["k"].data == other
        assert receipt.etag == source.head(BUCKET, "k").etag
        assert receipt.blocks_fetched == 2 * BLOCKS

    def test_a_b_a(self, source: MemorySource, azure: FetchingMemory) -> None:
        """The object was another one for a while, and has its ETag again: blocks of the other are mended."""
        other = some_bytes(len(DATA), 5)

        def read(url: str, block: Block) -> bytes:
            is_other = 3 <= len(azure.fetched) < 7
            return other[block.start : block.end] if is_other else azure.read_source(url, block)

        azure.fetch = read
        copy(source, azure, connections=1)
        assert azure.blobs["k"].data == DATA


class TestNet:
    """What Azure cannot fetch the worker sends, in the same commit, under the same proof."""

    def test_refused_for_ever(self, source: MemorySource, azure: FetchingMemory, caplog: Any) -> None:
        """After three times the bucket is streamed, for all objects, and the log says it once."""
        source.put(BUCKET, "k2", DATA)

        def around(_: Block, __: Callable[[], int | None]) -> int | None:
            raise refused()

        azure.around = around
        with transfer_context(source, azure, via="auto") as context:
            receipts = [copy_object(context, task(key)) for key in ("k", "k2")]
        assert azure.blobs["k"].data == azure.blobs["k2"].data == DATA
        assert len(azure.fetched) == 3
        for receipt in receipts:
            assert (receipt.via, receipt.blocks_fetched, receipt.blocks_streamed) == ("worker", 0, BLOCKS)
            assert receipt.not_fetched == "source_unreachable"
            assert receipt.verified_by == "crc64nvme"
        assert sum("go through the worker from now on" in line for line in caplog.messages) == 1

    def test_streamed_objects_are_cut_as_always(self, source: MemorySource, azure: FetchingMemory) -> None:
        """Large blocks are for fetching: they would fill the memory budget, and stream more slowly."""

        def around(_: Block, __: Callable[[], int | None]) -> int | None:
            raise refused()

        azure.around = around
        with transfer_context(source, azure, via="auto", block_bytes=None) as context:
            receipts = [copy_object(context, task()) for _ in range(1)]
            source.put(BUCKET, "k2", DATA)
            receipts.append(copy_object(context, task("k2")))
        assert [receipt.blocks for receipt in receipts] == [2, 2]
        assert azure.blobs["k"].data == azure.blobs["k2"].data == DATA

    def test_some_refused(self, source: MemorySource, azure: FetchingMemory) -> None:
        """A refusal that passes by costs only its block."""

        def around(block: Block, fetch: Callable[[], int | None]) -> int | None:
            if block.start in (3 * MIB, 8 * MIB):
                raise refused()
            return fetch()

        azure.around = around
        receipt = copy(source, azure)
        assert azure.blobs["k"].data == DATA
        assert (receipt.via, receipt.blocks_fetched, receipt.blocks_streamed) == ("azure", BLOCKS - 2, 2)
        assert sorted(versions_of(azure)) == [1, 1] + [2] * (BLOCKS - 2)

    def test_no_crc64_in_the_answer(self, source: MemorySource, azure: FetchingMemory) -> None:
        """What cannot be proven is not committed."""

        def around(_: Block, fetch: Callable[[], int | None]) -> int | None:
            fetch()
            return None

        azure.around = around
        receipt = copy(source, azure)
        assert azure.blobs["k"].data == DATA
        assert (receipt.via, receipt.not_fetched) == ("worker", "no_crc_returned")
        assert versions_of(azure) == [1] * BLOCKS

    def test_known_bytes_that_azure_does_not_get(self, source: MemorySource, azure: FetchingMemory) -> None:
        """An object of one block whose bytes Azure reads wrongly is streamed."""
        azure.fetch = lambda _, block: b"x" * block.size_bytes
        receipt = copy(source, azure, block_bytes=None)
        assert azure.checked == [WRONG, crc(DATA)]
        assert azure.blobs["k"].data == DATA
        assert (receipt.verified_by, receipt.blocks_fetched) == ("crc64nvme", 0)

    def test_azure_alone_fails(self, source: MemorySource, azure: FetchingMemory) -> None:
        """With via=azure nothing is streamed: three tries, and the object fails with the reason."""

        def around(_: Block, __: Callable[[], int | None]) -> int | None:
            raise refused()

        azure.around = around
        with pytest.raises(FetchRefused, match="via=auto"):
            copy(source, azure, "azure")
        # Another block may be asked for before the first one's error has stopped the copy.
        first, *others = Counter(azure.fetched).values()
        assert first == 3
        assert len(others) <= 1
        assert (source.bytes_served, azure.blobs) == (0, {})

    def test_azure_alone_keeps_the_budget_of_a_request(self, source: MemorySource, azure: FetchingMemory) -> None:
        """What passes by is repeated by the retrier, and by nobody else: as often as for any request."""

        def around(_: Block, __: Callable[[], int | None]) -> int | None:
            raise Throttled(service="Azure", code="ServerBusy", retry_after_s=0)

        azure.around = around
        with pytest.raises(Throttled), transfer_context(source, azure, via="azure") as context:
            copy_object(context, task())
        asked = Counter(block.start for block in azure.fetched)
        assert max(asked.values()) == context.retrier.budget.attempts

    def test_azure_alone_streams_no_blocks_of_an_earlier_layout(
        self, source: MemorySource, azure: FetchingMemory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """More blocks than may be noted: the object fails, and the worker sends nothing."""
        monkeypatch.setattr(upload, "MOST_BLOCKS", BLOCKS - 1)
        stage(azure, earlier(source.head(BUCKET, "k"), 0))
        with pytest.raises(NotFetchable):
            copy(source, azure, "azure")
        assert (source.bytes_served, azure.blobs) == (0, {})

    def test_an_object_without_a_url_says_nothing_of_its_bucket(
        self, source: MemorySource, azure: FetchingMemory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Its own URL cannot be made; the next object of the bucket is fetched."""
        made = source.fetch_url
        monkeypatch.setattr(source, "fetch_url", lambda version: made(version) if version.key == "k2" else None)
        source.put(BUCKET, "k2", DATA)
        with transfer_context(source, azure, via="auto") as context:
            without, fetched = (copy_object(context, task(key)) for key in ("k", "k2"))
        assert (without.via, without.not_fetched) == ("worker", "long_url")
        assert (fetched.via, fetched.blocks_fetched, fetched.not_fetched) == ("azure", BLOCKS, "")
        assert azure.blobs["k"].data == azure.blobs["k2"].data == DATA

    def test_azure_alone_takes_no_other_way(self, source: MemorySource, azure: FetchingMemory) -> None:
        """An object that cannot be fetched fails, however small it is."""
        source.put(BUCKET, "k", b"small", checksum="crc32c")
        with pytest.raises(NotFetchable):
            copy(source, azure, "azure")
        assert azure.blobs == {}

    def test_throttled_for_ever(self, source: MemorySource, azure: FetchingMemory) -> None:
        """Azure is asked as often as the budget allows, and then the worker sends."""

        def around(_: Block, __: Callable[[], int | None]) -> int | None:
            raise Throttled(service="Azure", code="ServerBusy", retry_after_s=0)

        azure.around = around
        receipt = copy(source, azure)
        assert azure.blobs["k"].data == DATA
        assert (receipt.via, receipt.retries) == ("worker", 9)

    def test_object_that_is_gone(self, source: MemorySource, azure: FetchingMemory) -> None:
        """What is wrong with the object says more than that Azure could not read it."""

        def around(_: Block, __: Callable[[], int | None]) -> int | None:
            source.delete(BUCKET, "k")
            raise refused()

        azure.around = around
        with pytest.raises(ObjectNotFound):
            copy(source, azure)

    def test_object_that_changed(self, source: MemorySource, azure: FetchingMemory) -> None:
        """A refusal because of another ETag begins again at once."""
        other, fetches = some_bytes(len(DATA), 9), itertools.count(1)

        def around(_: Block, fetch: Callable[[], int | None]) -> int | None:
            if azure.now.etag != source.head(BUCKET, "k").etag:
                raise refused("SourceConditionNotMet")
            if next(fetches) == 4:
                source.put(BUCKET, "k", other)
            return fetch()

        azure.around = around
        assert copy(source, azure).via == "azure"
        assert azure.blobs["k"].data == other


class Parts(MemorySource):
    """S3 that lists the CRC64NVME of each part of an object that was uploaded in parts."""

    sizes: tuple[int, ...] = ()
    lies = False

    def put_parts(self, *sizes: int) -> ObjectVersion:
        """Write the object in parts of these sizes."""
        self.sizes = sizes
        return self.put(BUCKET, "k", DATA, etag=f"{32 * 'a'}-{len(sizes)}")

    def part_checksums(self, version: ObjectVersion) -> list[PartChecksum]:
        """List the parts."""
        edges = [0, *itertools.accumulate(self.sizes)]
        crc64s = [crc(DATA[start:end]) for start, end in itertools.pairwise(edges)]
        return [PartChecksum(size, crc64 + self.lies) for size, crc64 in zip(self.sizes, crc64s, strict=True)]


class TestParts:
    """Where S3 stores the CRC64s of parts, Azure refuses other bytes before it stages anything."""

    @pytest.fixture
    def source(self) -> Parts:
        """Return S3 with one object in parts of 1 MiB."""
        source = Parts(BUCKET)
        source.put_parts(*[MIB] * (BLOCKS - 1), len(DATA) - (BLOCKS - 1) * MIB)
        return source

    def test_no_block_needs_a_note(self, source: Parts, azure: FetchingMemory) -> None:
        """Each has an id of version 1."""
        receipt = copy(source, azure)
        assert azure.blobs["k"].data == DATA
        assert (azure.bytes_staged, receipt.blocks_fetched) == (0, BLOCKS)
        assert versions_of(azure) == [1] * BLOCKS
        assert None not in azure.checked

    def test_blocks_of_several_parts(self, source: Parts, azure: FetchingMemory) -> None:
        """Their CRC64s combine."""
        copy(source, azure, block_bytes=5 * MIB)
        assert azure.blobs["k"].data == DATA
        assert azure.checked[0] == WRONG
        # In any order: they are fetched at once.
        checked = dict(zip(azure.fetched[1:], azure.checked[1:], strict=True))
        blocks = [Block(start, min(start + 5 * MIB, len(DATA))) for start in range(0, len(DATA), 5 * MIB)]
        assert checked == {block: crc(DATA[block.start : block.end]) for block in blocks}
        assert len(azure.checked) == 1 + len(blocks)

    def test_wrong_bytes_are_refused_at_once(self, source: Parts, azure: FetchingMemory) -> None:
        """The worker sends that block; nothing else is fetched again."""
        azure.fetch = lambda url, block: (
            b"x" * block.size_bytes if block.start == MIB else azure.read_source(url, block)
        )
        receipt = copy(source, azure)
        assert azure.blobs["k"].data == DATA
        assert (receipt.blocks_fetched, receipt.blocks_streamed) == (BLOCKS - 1, 1)

    def test_parts_that_do_not_add_up(self, source: Parts, azure: FetchingMemory) -> None:
        """What does not combine into the object's checksum is not believed: notes, as without parts."""
        source.lies = True
        copy(source, azure)
        assert azure.blobs["k"].data == DATA
        assert azure.checked == [None] * BLOCKS


class TestAzureThatComparesNothing:
    """It is not known whether Azure compares a CRC64 that it is told: it is asked, once for a task."""

    @pytest.mark.parametrize("answers", [True, False])
    def test_known_blocks_are_noted_then(self, source: MemorySource, azure: FetchingMemory, answers: bool) -> None:
        """An id of version 1 would say that somebody has compared the bytes."""

        def around(block: Block, fetch: Callable[[], int | None]) -> int | None:
            asked = azure.now.crc64
            found = azure.stage_unchecked(block)
            if answers and asked not in (None, found):
                raise refused("OtherCrc64")
            return found

        azure.around = around
        receipt = copy(source, azure, block_bytes=None)
        assert azure.blobs["k"].data == DATA
        assert azure.checked == [WRONG, None]
        assert (receipt.blocks_fetched, versions_of(azure)) == (1, [2])

    def test_asked_once(self, source: MemorySource, azure: FetchingMemory) -> None:
        """Not for each object."""
        source.put(BUCKET, "k2", DATA)
        with transfer_context(source, azure, via="auto", block_bytes=None) as context:
            for key in ("k", "k2"):
                copy_object(context, task(key))
        assert azure.checked == [WRONG, crc(DATA), crc(DATA)]
        assert azure.blobs["k2"].data == DATA


class TestRanges:
    """Several tasks let Azure fetch ranges of one giant object."""

    def copy_range(self, source: MemorySource, azure: FetchingMemory, start: int, end: int, **settings: Any) -> Receipt:
        """Copy the blocks that begin in a range."""
        with transfer_context(source, azure, via="auto", **settings) as context:
            return copy_object(context, task(within=Block(start, end), block_bytes=MIB))

    def test_the_last_task_commits(self, source: MemorySource, azure: FetchingMemory) -> None:
        """It believes the notes of the other tasks, and proves the whole."""
        first = self.copy_range(source, azure, 0, 5 * MIB)
        assert (first.status, first.blocks_fetched) == ("staged", 5)
        second = self.copy_range(source, azure, 5 * MIB, len(DATA))
        assert (second.status, second.blocks_fetched, second.verified_by) == ("copied", BLOCKS - 5, "crc64nvme")
        assert azure.blobs["k"].data == DATA
        assert versions_of(azure) == [2] * BLOCKS

    @pytest.mark.parametrize("block_bytes", [None, MIB])
    def test_range_that_is_streamed(self, source: MemorySource, azure: FetchingMemory, block_bytes: int | None) -> None:
        """The worker sends the blocks of its range, cut as the other tasks cut theirs."""

        def around(_: Block, __: Callable[[], int | None]) -> int | None:
            raise refused()

        azure.around = around
        with transfer_context(source, azure, via="auto") as context:
            for start in (0, 2 * MIB):
                within = Block(start, start + 2 * MIB)
                receipt = copy_object(context, task(within=within, block_bytes=block_bytes))
                assert (receipt.status, receipt.blocks, receipt.blocks_streamed) == ("staged", 2, 2)
        assert len(azure.staged["k"]) == 4

    def test_all_ranges_are_cut_alike(self, source: MemorySource, azure: FetchingMemory) -> None:
        """The plan cuts an object into blocks that are too small to note: each task makes the same of them."""
        source.put(BUCKET, "k", DATA * 11)
        for start, end in ((0, 70 * MIB), (70 * MIB, 11 * len(DATA))):
            receipt = self.copy_range(source, azure, start, end, block_bytes=None, memory_budget_bytes=128 * MIB)
        assert (receipt.status, receipt.blocks) == ("copied", 3)
        assert azure.blobs["k"].data == DATA * 11


class TestBounds:
    """How many blocks Azure holds, and how long a stop takes."""

    def test_blob_with_as_many_blocks_as_azure_holds(
        self, source: MemorySource, azure: FetchingMemory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Blocks, notes and what was fetched again count together; the error says what to do."""
        monkeypatch.setattr("tests.fakes.memory_destination.MAX_STAGED_BLOCKS", 2 * BLOCKS - 1)
        with pytest.raises(TooManyStagedBlocks):
            copy(source, azure)
        assert azure.blobs == {}
        monkeypatch.setattr("tests.fakes.memory_destination.MAX_STAGED_BLOCKS", 2 * BLOCKS + 1)
        assert copy(source, azure).blocks_resumed >= BLOCKS - 2
        assert azure.blobs["k"].data == DATA

    def test_object_is_looked_up_while_azure_fetches(
        self, source: MemorySource, azure: FetchingMemory, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What is fetched of an object that changed is fetched for nothing."""
        monkeypatch.setattr("s3_to_azure.transfer.fetched.object_fetches.LOOK_EVERY_S", -1)
        version = source.head(BUCKET, "k")

        def around(block: Block, fetch: Callable[[], int | None]) -> int | None:
            source.put(BUCKET, "k", bytes([len(azure.fetched)]) * len(DATA))
            return fetch()

        azure.around = around
        with pytest.raises(SourceChanged):
            copy(source, azure, connections=1)
        # Two changes are followed, the third is not; without the look each version would be fetched whole.
        assert len(azure.fetched) < 3 * BLOCKS
        assert version.etag != source.head(BUCKET, "k").etag

    def test_stop_does_not_wait_for_azure(self, source: MemorySource, azure: FetchingMemory) -> None:
        """A fetch that hangs is abandoned."""
        stopped, hangs = threading.Event(), threading.Event()

        def around(block: Block, fetch: Callable[[], int | None]) -> int | None:
            if block.start == 3 * MIB:
                stopped.set()
                hangs.wait()
            return fetch()

        azure.around = around
        with pytest.raises(Exception, match="Stopped on request"):
            copy(source, azure, cancelled=stopped)
        hangs.set()
        assert azure.blobs == {}
