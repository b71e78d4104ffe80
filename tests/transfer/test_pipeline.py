"""The block pipeline moves every block once, raises the first error, and keeps objects apart."""

import itertools
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from s3_to_azure.model.checksums import CRC32C
from s3_to_azure.model.errors import Cancelled, ConnectionFailed, ObjectNotFound, Throttled, TransferError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Block, ListedObject, ObjectVersion
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer.blocks import Layout, StagedBlock, parse
from s3_to_azure.transfer.buffers import BufferPool
from s3_to_azure.transfer.concurrency import ConcurrencyController, ConnectionSlots
from s3_to_azure.transfer.pipeline import BlockPipeline, BlockRoute, damaged_blocks
from tests.fakes.contexts import BUCKET, QUICK, crc, some_bytes
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemoryBody, MemorySource
from tests.fakes.thread_limit import limit_threads


class Fails(MemorySource):
    """A source whose byte at ``bad`` cannot be read; ``on_next_block`` is called before each block after the first."""

    bad = -1
    on_next_block: Callable[[], object] = bool

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[MemoryBody]:
        """Fail where the range holds that byte."""
        if start:
            self.on_next_block()
        if version.key == "bad" and end is not None and start <= self.bad < end:
            raise ObjectNotFound(bucket=BUCKET, key=version.key)
        with super().open(version, start, end) as body:
            yield body


def slots(connections: int) -> ConnectionSlots:
    """Return slots for at most so many connections."""
    return ConnectionSlots(ConcurrencyController(connections))


class Rig:
    """A pipeline between fakes."""

    def __init__(self, connections: int = 4, budget_bytes: int = 16 * MIB) -> None:
        self.source, self.destination, self.stop = Fails(BUCKET), MemoryDestination(), threading.Event()
        self.buffers = BufferPool(budget_bytes, self.stop)
        self.pipeline = BlockPipeline(
            self.source, self.destination, buffers=self.buffers, slots=slots(connections), cancelled=self.stop
        )
        self.retrier = Retrier(QUICK, self.stop)

    def move(self, version: ObjectVersion, blocks: list[Block]) -> list[StagedBlock]:
        """Move the blocks; return those that were staged."""
        staged: list[StagedBlock] = []
        route = BlockRoute(version, version.key, CRC32C)
        self.pipeline.move(route, blocks, retrier=self.retrier, on_staged=staged.append)
        return staged


@pytest.fixture
def rig() -> Iterator[Rig]:
    """Return a pipeline, and end its threads afterwards."""
    made = Rig()
    yield made
    made.pipeline.close()


DATA = some_bytes(10 * 65_536 + 9)
BLOCKS = list(Layout(len(DATA), 65_536))


def test_every_block_is_staged_once(rig: Rig) -> None:
    """Each block's id has its range, both digests and the version, and Azure holds exactly the object's bytes."""
    version = rig.source.put(BUCKET, "k", DATA)
    staged = rig.move(version, BLOCKS)
    assert sorted((block.start, block.end) for block in staged) == [(block.start, block.end) for block in BLOCKS]
    for block in staged:
        piece = DATA[block.start : block.end]
        assert block.crc64 == crc(piece)
        assert int.from_bytes(block.second[8:], "big") == crc(piece, "crc32c")
    listed = rig.destination.list_staged("k")
    assert {parse(item, staged[0].fingerprint) for item in listed} == set(staged)
    assert rig.destination.bytes_staged == rig.source.bytes_served == len(DATA)


def test_a_block_counts_once_azure_has_confirmed_it(rig: Rig) -> None:
    """Whoever is told that a block is staged finds it in Azure: a block that is still on its way would be missing."""

    class Unsure(MemoryDestination):
        failed = False

        def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
            if not self.failed:
                self.failed = True
                raise ConnectionFailed(service="Azure", resource=blob, detail="reset")
            super().stage_block(blob, block_id, data, crc64)

    destination = Unsure()
    pipeline = BlockPipeline(rig.source, destination, buffers=rig.buffers, slots=slots(2), cancelled=rig.stop)
    version = rig.source.put(BUCKET, "k", DATA)
    early: list[StagedBlock] = []

    def on_staged(block: StagedBlock) -> None:
        if block.block_id.encode("ascii") not in destination.staged.get("k", {}):
            early.append(block)

    pipeline.move(BlockRoute(version, "k", None), BLOCKS, retrier=rig.retrier, on_staged=on_staged)
    pipeline.close()
    assert early == []
    assert len(destination.list_staged("k")) == len(BLOCKS)


def test_threads_are_used_again(rig: Rig) -> None:
    """Promise 1: objects of many blocks need no more threads than blocks in flight, and each ends with the pipeline."""
    threads: set[threading.Thread] = set()

    class Watched(MemoryDestination):
        def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
            threads.add(threading.current_thread())
            super().stage_block(blob, block_id, data, crc64)

    pieces: list[int] = []
    one = slots(1)
    pipeline = BlockPipeline(
        rig.source, Watched(), buffers=rig.buffers, slots=one, cancelled=rig.stop, arrived=pieces.append
    )
    version = rig.source.put(BUCKET, "k", DATA * 10)
    route, blocks = BlockRoute(version, "k", None), list(Layout(len(DATA) * 10, 65_536))
    for _ in range(2):
        pipeline.move(route, blocks, retrier=rig.retrier, on_staged=lambda _: None)
    # A thread that has left its slot may not have taken the next block yet.
    assert len(threads) <= 2 * one.most_admitted < len(blocks)
    assert all(thread.daemon for thread in threads)
    assert sum(pieces) == 2 * len(DATA) * 10
    pipeline.close()
    for thread in threads:
        thread.join(30)
    assert not [thread.name for thread in threads if thread.is_alive()]


@pytest.mark.parametrize("most", [0, 1])
def test_system_that_allows_no_further_thread(rig: Rig, monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Every block is moved by the threads that there are, or else by the caller's; a later move may have more."""
    version = rig.source.put(BUCKET, "k", DATA)
    with monkeypatch.context() as limited:
        asked = limit_threads(limited, "block-", most)
        assert len(rig.move(version, BLOCKS)) == len(BLOCKS)
    assert len(asked) > most
    assert rig.pipeline._threads == most
    assert rig.pipeline._in_flight == 0
    assert len(rig.move(version, BLOCKS)) == len(BLOCKS)
    assert rig.pipeline._threads > most


def test_no_blocks(rig: Rig) -> None:
    """Moving no blocks returns at once."""
    assert rig.move(rig.source.put(BUCKET, "k", DATA), []) == []


def test_first_error_is_raised(rig: Rig) -> None:
    """The raised error is the cause, and not the stop that it caused for the other blocks."""
    rig.source.bad = 3 * 65_536
    version = rig.source.put(BUCKET, "bad", DATA * 20)
    with pytest.raises(ObjectNotFound):
        rig.move(version, list(Layout(len(DATA) * 20, 65_536)))
    # Only blocks that were in flight or queued at that time were still begun.
    assert len(rig.source.opened) < 60


def test_an_error_ends_the_waits_of_the_other_blocks(rig: Rig) -> None:
    """A block that waits before its next try, here for 100 seconds, is not tried again after another one failed."""
    waits = threading.Event()
    tries = 0

    class Busy(MemoryDestination):
        def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
            nonlocal tries
            tries += 1
            waits.set()
            raise Throttled(service="Azure", code="ServerBusy", retry_after_s=100.0)

    source = Fails(BUCKET)
    source.bad, source.on_next_block = 65_536, waits.wait
    version = source.put(BUCKET, "bad", DATA)
    # Both blocks are read at once: the one that fails waits, with its connection, for the other one.
    two = ConnectionSlots(ConcurrencyController(2, first=2))
    pipeline = BlockPipeline(source, Busy(), buffers=rig.buffers, slots=two, cancelled=rig.stop)
    with pytest.raises(ObjectNotFound):
        pipeline.move(BlockRoute(version, "bad", None), BLOCKS[:2], retrier=rig.retrier, on_staged=lambda _: None)
    pipeline.close()
    assert tries == 1


def test_no_block_is_written_after_one_was_refused(rig: Rig) -> None:
    """A block that waits for the refused one's slot is stopped, even if it gets the slot before anything else."""
    both_read, other_ended, reads, tries = threading.Event(), threading.Event(), itertools.count(1), list[str]()

    class Slots(ConnectionSlots):
        @contextmanager
        def reading(self, size_bytes: int, stopped: threading.Event) -> Iterator[None]:
            with super().reading(size_bytes, stopped):
                yield
            if next(reads) == 2:
                both_read.set()

        @contextmanager
        def writing(self, size_bytes: int, stopped: threading.Event) -> Iterator[None]:
            try:
                with super().writing(size_bytes, stopped):
                    yield
            except ObjectNotFound:
                # The slot is free: the other block goes on first.
                assert other_ended.wait(60)
                raise
            finally:
                other_ended.set()

    class Refuses(MemoryDestination):
        def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
            tries.append(block_id)
            if len(tries) == 1:
                assert both_read.wait(60)
                raise ObjectNotFound(bucket=BUCKET, key=blob)

    version = rig.source.put(BUCKET, "k", DATA)
    one = Slots(ConcurrencyController(1))
    pipeline = BlockPipeline(rig.source, Refuses(), buffers=rig.buffers, slots=one, cancelled=rig.stop)
    with pytest.raises(ObjectNotFound):
        pipeline.move(BlockRoute(version, "k", None), BLOCKS[:2], retrier=rig.retrier, on_staged=lambda _: None)
    pipeline.close()
    assert len(tries) == 1


def test_error_stays_with_its_object(rig: Rig) -> None:
    """Of two objects in one pipeline, one fails and the other is staged."""
    rig.source.bad = 3 * 65_536
    bad, good = rig.source.put(BUCKET, "bad", DATA), rig.source.put(BUCKET, "good", DATA)
    ended: list[TransferError] = []

    def fail() -> None:
        try:
            rig.move(bad, BLOCKS)
        except TransferError as error:
            ended.append(error)

    thread = threading.Thread(target=fail)
    thread.start()
    assert len(rig.move(good, BLOCKS)) == len(BLOCKS)
    thread.join()
    assert [type(error) for error in ended] == [ObjectNotFound]


def test_fewer_buffers_than_connections() -> None:
    """A budget of one block serves any number of connections."""
    rig = Rig(connections=8, budget_bytes=65_536)
    assert len(rig.move(rig.source.put(BUCKET, "k", DATA), BLOCKS)) == len(BLOCKS)
    rig.pipeline.close()


class Counting:
    """Counts how many threads are inside at once, and the most ever."""

    def __init__(self) -> None:
        self.now = self.most = 0
        self._lock = threading.Lock()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Count a thread in, and out again."""
        with self._lock:
            self.now += 1
            self.most = max(self.most, self.now)
        try:
            yield
        finally:
            with self._lock:
                self.now -= 1


@pytest.mark.parametrize("connections", [1, 2, 3])
@pytest.mark.parametrize("budget_blocks", [1, 2, 100])
def test_limits_of_reads_writes_and_buffers(connections: int, budget_blocks: int) -> None:
    """No more blocks are read, written or held at once than the connections and the budget allow."""
    reading, writing = Counting(), Counting()

    class Source(Fails):
        @contextmanager
        def open(
            self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
        ) -> Iterator[MemoryBody]:
            with reading.inside(), super().open(version, start, end) as body:
                time.sleep(0.002)
                yield body

    class Destination(MemoryDestination):
        def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
            with writing.inside():
                time.sleep(0.002)
                super().stage_block(blob, block_id, data, crc64)

    class Buffers(BufferPool):
        lent = Counting()

        @contextmanager
        def lend(self, size_bytes: int) -> Iterator[memoryview]:
            with super().lend(size_bytes) as view, self.lent.inside():
                yield view

    source, destination, stop = Source(BUCKET), Destination(), threading.Event()
    buffers = Buffers(budget_blocks * 65_536, stop)
    buffers.lent = Counting()
    pipeline = BlockPipeline(source, destination, buffers=buffers, slots=slots(connections), cancelled=stop)
    version = source.put(BUCKET, "k", DATA * 4)
    blocks = list(Layout(len(DATA) * 4, 65_536))
    pipeline.move(BlockRoute(version, "k", None), blocks, retrier=Retrier(QUICK, stop), on_staged=lambda _: None)
    pipeline.close()
    assert len(destination.list_staged("k")) == len(blocks)
    assert (reading.now, writing.now) == (0, 0)
    assert 1 <= reading.most <= connections
    assert 1 <= writing.most <= connections
    assert 1 <= buffers.lent.most <= min(2 * connections + ConnectionSlots.SPARE, budget_blocks)


def test_next_block_is_read_while_one_is_written() -> None:
    """With one connection to each service, the next block is read while the one before is written."""
    read_next = threading.Event()

    class Destination(MemoryDestination):
        def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
            assert read_next.wait(100), "the next block is not read before this one is written"
            super().stage_block(blob, block_id, data, crc64)

    source, stop = Fails(BUCKET), threading.Event()
    source.on_next_block = read_next.set
    pipeline = BlockPipeline(source, Destination(), buffers=BufferPool(MIB, stop), slots=slots(1), cancelled=stop)
    version = source.put(BUCKET, "k", DATA)
    pipeline.move(BlockRoute(version, "k", None), BLOCKS, retrier=Retrier(QUICK, stop), on_staged=lambda _: None)
    pipeline.close()


def test_a_stop_does_not_wait_for_a_block_that_hangs(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dead socket tells nobody: the caller looks for the stop itself, and leaves the block behind."""
    monkeypatch.setattr("s3_to_azure.transfer.pipeline.BLOCKS_GRACE_S", 0.01)
    released = threading.Event()

    class Hanging(MemoryDestination):
        def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
            rig.stop.set()
            released.wait(20)

    pipeline = BlockPipeline(rig.source, Hanging(), buffers=rig.buffers, slots=slots(1), cancelled=rig.stop)
    rescue = threading.Timer(10, released.set)
    rescue.start()
    version = rig.source.put(BUCKET, "k", DATA)
    with pytest.raises(Cancelled):
        pipeline.move(BlockRoute(version, "k", None), BLOCKS, retrier=rig.retrier, on_staged=lambda _: None)
    assert not released.is_set()
    rescue.cancel()
    released.set()
    pipeline.close()


def test_stopped_pipeline_reads_nothing(rig: Rig) -> None:
    """A pipeline that is stopped before it begins sends no request."""
    version = rig.source.put(BUCKET, "k", DATA)
    rig.stop.set()
    with pytest.raises(Cancelled):
        rig.move(version, BLOCKS)
    assert rig.source.opened == []


def test_threads_outlive_an_error(rig: Rig) -> None:
    """After failed objects, even through a fault of this program, the same threads move the next one."""

    class Broken(Exception):
        pass

    version = rig.source.put(BUCKET, "k", DATA)

    def broken(_: StagedBlock) -> None:
        raise Broken

    for _ in range(5):
        with pytest.raises(Broken):
            rig.pipeline.move(BlockRoute(version, "k", None), BLOCKS, retrier=rig.retrier, on_staged=broken)
    assert len(rig.move(version, BLOCKS)) == len(BLOCKS)


def test_transient_error_is_raised_after_its_budget(rig: Rig) -> None:
    """A block that fails at every try raises its own error."""

    class Down(MemoryDestination):
        def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
            raise ConnectionFailed(service="Azure", resource=blob, detail="reset")

    pipeline = BlockPipeline(rig.source, Down(), buffers=rig.buffers, slots=slots(2), cancelled=rig.stop)
    version = rig.source.put(BUCKET, "k", DATA)
    with pytest.raises(ConnectionFailed):
        pipeline.move(BlockRoute(version, "k", None), BLOCKS, retrier=rig.retrier, on_staged=lambda _: None)
    pipeline.close()


@pytest.mark.parametrize("wrong", [[], [0], [10], [2, 5], list(range(11))])
def test_damaged_blocks_are_found(rig: Rig, wrong: list[int]) -> None:
    """Exactly the blocks are returned whose bytes do not match the CRC64 in their id."""
    version = rig.source.put(BUCKET, "k", DATA)
    staged = sorted(rig.move(version, BLOCKS), key=lambda block: block.start)
    lying = [replace(block, crc64=block.crc64 ^ 1) if n in wrong else block for n, block in enumerate(staged)]
    found = damaged_blocks(rig.source, version, lying, buffers=rig.buffers, retrier=rig.retrier, cancelled=rig.stop)
    assert found == [BLOCKS[n] for n in wrong]
