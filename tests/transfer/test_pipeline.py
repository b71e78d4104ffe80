"""The block pipeline: every block once, the first error alone, and nobody else's flight disturbed."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest

from s3_to_azure.model.checksums import CRC32C
from s3_to_azure.model.errors import Cancelled, ConnectionFailed, ObjectNotFound, TransferError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Block, ListedObject, ObjectVersion
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer.blocks import Layout, StagedBlock, parse
from s3_to_azure.transfer.buffers import BufferPool
from s3_to_azure.transfer.concurrency import ConnectionSlots
from s3_to_azure.transfer.pipeline import BlockPipeline, BlockRoute, damaged_blocks
from tests.fakes.contexts import BUCKET, QUICK, crc, some_bytes
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemoryBody, MemorySource


class Fails(MemorySource):
    """A source whose byte at ``bad`` cannot be read."""

    bad = -1

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[MemoryBody]:
        """Fail there."""
        if version.key == "bad" and end is not None and start <= self.bad < end:
            raise ObjectNotFound(bucket=BUCKET, key=version.key)
        with super().open(version, start, end) as body:
            yield body


class Rig:
    """A pump between fakes."""

    def __init__(self, connections: int = 4, budget_bytes: int = 16 * MIB) -> None:
        """Start the lanes."""
        self.source, self.destination, self.stop = Fails(BUCKET), MemoryDestination(), threading.Event()
        self.buffers = BufferPool(budget_bytes, self.stop)
        self.pipeline = BlockPipeline(
            self.source, self.destination, buffers=self.buffers, connections=connections, cancelled=self.stop
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
    """Run a pump."""
    made = Rig()
    yield made
    made.pipeline.close()


DATA = some_bytes(10 * 65_536 + 9)
BLOCKS = list(Layout(len(DATA), 65_536))


def test_every_block_is_staged_once(rig: Rig) -> None:
    """Each block's id tells its range, both digests and the version; Azure holds exactly the object's bytes."""
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


def test_no_blocks(rig: Rig) -> None:
    """Nothing to move is done at once."""
    assert rig.move(rig.source.put(BUCKET, "k", DATA), []) == []


def test_first_error_ends_the_flight(rig: Rig) -> None:
    """The error that comes out is the one that happened, not the stop that it caused in the other lanes."""
    rig.source.bad = 3 * 65_536
    version = rig.source.put(BUCKET, "bad", DATA * 20)
    with pytest.raises(ObjectNotFound):
        rig.move(version, list(Layout(len(DATA) * 20, 65_536)))
    # Only what was in flight, or waited next to it, was still begun.
    assert len(rig.source.opened) < 60


def test_another_objects_error_is_its_own(rig: Rig) -> None:
    """Two objects in one pump: one fails, the other arrives."""
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


def test_fewer_buffers_than_lanes() -> None:
    """A budget of one block serves any number of lanes."""
    rig = Rig(connections=8, budget_bytes=65_536)
    assert len(rig.move(rig.source.put(BUCKET, "k", DATA), BLOCKS)) == len(BLOCKS)
    rig.pipeline.close()


class Counting:
    """Counts how many are inside at once, and how many at most."""

    def __init__(self) -> None:
        """Begin with none."""
        self.now = self.most = 0
        self._lock = threading.Lock()

    @contextmanager
    def inside(self) -> Iterator[None]:
        """Count one in, hold it long enough to meet others, and count it out."""
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
def test_bounds_of_both_legs(connections: int, budget_blocks: int) -> None:
    """Never more reading, nor more writing connections than lanes, nor more blocks in memory than both need."""
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
    pipeline = BlockPipeline(source, destination, buffers=buffers, connections=connections, cancelled=stop)
    version = source.put(BUCKET, "k", DATA * 4)
    blocks = list(Layout(len(DATA) * 4, 65_536))
    pipeline.move(BlockRoute(version, "k", None), blocks, retrier=Retrier(QUICK, stop), on_staged=lambda _: None)
    pipeline.close()
    assert len(destination.list_staged("k")) == len(blocks)
    assert (reading.now, writing.now) == (0, 0)
    assert 1 <= reading.most <= connections
    assert 1 <= writing.most <= connections
    assert 1 <= buffers.lent.most <= min(2 * connections + ConnectionSlots.SPARE, budget_blocks)


def test_reads_on_while_blocks_are_written() -> None:
    """One lane reads the next block while it writes the one before; both legs are never each other's wait."""
    read_next = threading.Event()

    class Source(Fails):
        @contextmanager
        def open(
            self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
        ) -> Iterator[MemoryBody]:
            if start:
                read_next.set()
            with super().open(version, start, end) as body:
                yield body

    class Destination(MemoryDestination):
        def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
            assert read_next.wait(10), "the next block is not read before this one is written"
            super().stage_block(blob, block_id, data, crc64)

    source, stop = Source(BUCKET), threading.Event()
    pipeline = BlockPipeline(source, Destination(), buffers=BufferPool(MIB, stop), connections=1, cancelled=stop)
    version = source.put(BUCKET, "k", DATA)
    pipeline.move(BlockRoute(version, "k", None), BLOCKS, retrier=Retrier(QUICK, stop), on_staged=lambda _: None)
    pipeline.close()


def test_stopped_before_it_begins(rig: Rig) -> None:
    """A stopped task reads nothing more."""
    version = rig.source.put(BUCKET, "k", DATA)
    rig.stop.set()
    with pytest.raises(Cancelled):
        rig.move(version, BLOCKS)
    assert rig.source.opened == []


def test_lanes_outlive_an_error(rig: Rig) -> None:
    """After a failed object, even one that failed by a fault of ours, the same lanes serve the next."""

    class Broken(Exception):
        pass

    version = rig.source.put(BUCKET, "k", DATA)

    def broken(_: StagedBlock) -> None:
        raise Broken

    for _ in range(5):
        with pytest.raises(Broken):
            rig.pipeline.move(BlockRoute(version, "k", None), BLOCKS, retrier=rig.retrier, on_staged=broken)
    assert len(rig.move(version, BLOCKS)) == len(BLOCKS)


def test_transient_error_uses_up_its_budget(rig: Rig) -> None:
    """A block that never gets through is told as what it is."""

    class Down(MemoryDestination):
        def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
            raise ConnectionFailed(service="Azure", resource=blob, detail="reset")

    pipeline = BlockPipeline(rig.source, Down(), buffers=rig.buffers, connections=2, cancelled=rig.stop)
    version = rig.source.put(BUCKET, "k", DATA)
    with pytest.raises(ConnectionFailed):
        pipeline.move(BlockRoute(version, "k", None), BLOCKS, retrier=rig.retrier, on_staged=lambda _: None)
    pipeline.close()


@pytest.mark.parametrize("wrong", [[], [0], [10], [2, 5], list(range(11))])
def test_damaged_blocks_are_found(rig: Rig, wrong: list[int]) -> None:
    """Exactly those whose bytes are not what their id says."""
    version = rig.source.put(BUCKET, "k", DATA)
    staged = sorted(rig.move(version, BLOCKS), key=lambda block: block.start)
    lying = [replace(block, crc64=block.crc64 ^ 1) if n in wrong else block for n, block in enumerate(staged)]
    found = damaged_blocks(rig.source, version, lying, buffers=rig.buffers, retrier=rig.retrier, cancelled=rig.stop)
    assert found == [BLOCKS[n] for n in wrong]
