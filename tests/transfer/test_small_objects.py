"""Which objects ``SmallObjects`` copies, within which limits, and that each object has exactly one outcome."""

import gc
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3_to_azure.model.errors import (
    Cancelled,
    ConnectionFailed,
    IntegrityUnavailable,
    ObjectNotFound,
    SourceChanged,
    Throttled,
    TransferError,
    UsageError,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Block, Condition, ListedObject, ObjectVersion, PartSizes
from s3_to_azure.model.options import AUTO, VIA_WORKER
from s3_to_azure.model.ports import Fetched, HandedBack, Stored
from s3_to_azure.model.settings import Fidelity
from s3_to_azure.transfer import small_objects as module
from s3_to_azure.transfer.concurrency import ConcurrencyController
from s3_to_azure.transfer.context import CopyTask
from s3_to_azure.transfer.object import Outcome
from s3_to_azure.transfer.pool import copy_many
from s3_to_azure.transfer.small_objects import SMALL_BYTES, SmallObjects
from s3_to_azure.transfer.throttle import BandwidthLimit
from tests.fakes.contexts import BUCKET, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_small_object_client import MemorySmallObjectClient
from tests.fakes.memory_source import EPOCH, MemoryBody, MemorySource
from tests.fakes.odd_sources import InParts

AZURE = "Azure Blob Storage"
NEW = Condition(None)


def listed(key: str = "k", size_bytes: int = 10) -> ListedObject:
    """Return an object as a listing shows it."""
    return ListedObject(BUCKET, key, "etag", size_bytes, EPOCH)


def filled(count: int, size_bytes: int = 10) -> tuple[MemorySource, list[CopyTask]]:
    """Return a source with this many objects, and their tasks as a plan makes them."""
    source = MemorySource(BUCKET)
    for n in range(count):
        source.put(BUCKET, f"key {n:05}", some_bytes(size_bytes, seed=n))
    return source, [task(item.key, listed=item, condition=NEW) for item in source.list(BUCKET, "")]


def lost(where: str = "S3") -> ConnectionFailed:
    """Return the error of a connection that broke off."""
    return ConnectionFailed(service=where, resource="a small object", detail="ConnectionResetError")


# -- which objects are taken -------------------------------------------------------------------------------------------


def takes(one: CopyTask, **choices: Any) -> bool:
    """Return whether ``SmallObjects`` takes a task."""
    source, destination = MemorySource(BUCKET), MemoryDestination()
    with transfer_context(source, destination, **({"block_bytes": None} | choices)) as context:
        return SmallObjects(context, MemorySmallObjectClient(source, destination), 1).takes(one)


@pytest.mark.parametrize(
    ("size_bytes", "taken"), [(0, False), (1, True), (SMALL_BYTES, True), (SMALL_BYTES + 1, False)]
)
def test_size_limits(size_bytes: int, taken: bool) -> None:
    """Objects from 1 byte to 8 MiB are taken."""
    assert takes(task(listed=listed(size_bytes=size_bytes), condition=NEW)) is taken


@pytest.mark.parametrize("via", [VIA_WORKER, AUTO])
@pytest.mark.parametrize(("size_bytes", "taken"), [(2 * MIB, True), (2 * MIB + 1, False)])
def test_object_of_several_blocks_is_not_taken(size_bytes: int, taken: bool, via: str) -> None:
    """It is resumed block by block, or Azure fetches it, as the plan has told: so the user's block size counts."""
    one = task(listed=listed(size_bytes=size_bytes), condition=NEW)
    assert takes(one, block_bytes=2 * MIB, via=via) is taken


@pytest.mark.parametrize(("size_bytes", "taken"), [(MIB // 2, True), (MIB // 2 + 1, False)])
def test_largest_size_under_a_small_budget(size_bytes: int, taken: bool) -> None:
    """No object is taken that is larger than half of the budget."""
    one = task(listed=listed(size_bytes=size_bytes), condition=NEW)
    assert takes(one, memory_budget_bytes=MIB, block_bytes=MIB) is taken


@pytest.mark.parametrize(
    "changes",
    [
        {"listed": None},
        {"condition": None},
        {"within": Block(0, 10)},
        {"metadata_only": True},
        {"listed": listed("folder/", 0)},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_tasks_that_need_more_are_refused(changes: dict[str, Any]) -> None:
    """Objects that are not listed, not planned, a range, metadata only or a folder marker are not taken."""
    usual: dict[str, Any] = {"listed": listed(), "condition": NEW}
    assert takes(task(**usual))
    assert not takes(task(**(usual | changes)))


@pytest.mark.parametrize(
    "choices",
    [{"integrity": "reread"}, {"integrity": "readback"}, {"fidelity": Fidelity(tags=True)}],
    ids=lambda choices: next(iter(choices)),
)
def test_settings_that_need_more_requests_are_refused(choices: dict[str, Any]) -> None:
    """With a second reading, a read-back or tags, objects are copied one by one."""
    assert not takes(task(listed=listed(), condition=NEW), **choices)


# -- the copy ----------------------------------------------------------------------------------------------------------


def test_small_objects_take_two_requests_each() -> None:
    """Small objects take one GET and one Put Blob; larger ones and those without a plan are copied one by one."""
    source, tasks = filled(150)
    source.put(BUCKET, "large", some_bytes(3 * MIB))
    source.put(BUCKET, "undecided", b"u")
    others = [task(key, listed=source.listed(BUCKET, key)) for key in ("large", "undecided")]
    destination = MemoryDestination()
    client = MemorySmallObjectClient(source, destination)
    with transfer_context(source, destination, small_object_client=lambda: client) as context:
        outcomes = list(copy_many(context, [*tasks, *others], try_number=3))
        now = context.progress.snapshot()
    assert sorted(client.fetched) == sorted(client.stored) == [one.key for one in tasks]
    assert {blob: held.data for blob, held in destination.blobs.items()} == {
        key: source._objects[BUCKET][key][1] for key in source._objects[BUCKET]
    }
    assert (now.objects_done, now.bytes_sent) == (152, 150 * 10 + 3 * MIB + 1)
    small = next(outcome.receipt for outcome in outcomes if outcome.receipt.key == tasks[0].key)
    assert (small.status, small.verified_by, small.blocks, small.bytes_sent, small.try_number) == (
        "copied",
        "crc64nvme",
        1,
        10,
        3,
    )
    assert destination.blobs[small.blob].metadata["s3_etag"] == small.etag
    assert client.closed == 1


def test_invariant_3_damaged_bytes_are_not_stored() -> None:
    """An object that reads damaged is not written, but copied one by one, which reads it again."""

    class Damaged(MemorySource):
        def __init__(self) -> None:
            super().__init__(BUCKET)
            self.left = 1

        def served(self, key: str, start: int, data: bytes) -> bytes:
            self.left -= 1
            return data if self.left < 0 else b"?" + data[1:]

    source, destination = Damaged(), MemoryDestination()
    source.put(BUCKET, "k", b"0123456789")
    client = MemorySmallObjectClient(source, destination)
    with transfer_context(source, destination, small_object_client=lambda: client) as context:
        (outcome,) = copy_many(context, [task("k", listed=source.listed(BUCKET, "k"), condition=NEW)])
    assert client.stored == []
    assert destination.blobs["k"].data == b"0123456789"
    assert outcome.receipt.verified_by == "crc64nvme"


def test_a_checksum_over_parts_is_left_to_the_workers() -> None:
    """The sizes of the parts take requests for which the one thread of all small objects must not wait."""
    asked: list[str] = []

    class Parts(InParts):
        def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
            asked.append(threading.current_thread().name)
            return super().part_sizes(version, each=each)

    source, destination = Parts(BUCKET), MemoryDestination()
    source.put_parts(BUCKET, "k", some_bytes(1_000), [600, 400])
    client = MemorySmallObjectClient(source, destination)
    one = task("k", listed=source.listed(BUCKET, "k"), condition=NEW)
    with transfer_context(source, destination, small_object_client=lambda: client) as context:
        (outcome,) = copy_many(context, [one])
    assert outcome.receipt.verified_by == "crc32c_composite"
    assert (client.fetched, client.stored) == (["k"], [])
    assert "tasks" not in asked


def test_required_level_that_is_missing_fails() -> None:
    """An object without the required checksum is not written; copying it one by one gives the error."""
    source, destination = MemorySource(BUCKET), MemoryDestination()
    source.put(BUCKET, "k", b"data", checksum=None)
    client = MemorySmallObjectClient(source, destination)
    with transfer_context(source, destination, small_object_client=lambda: client, integrity="crc32c") as context:
        (outcome,) = copy_many(context, [task("k", listed=source.listed(BUCKET, "k"), condition=NEW)])
    assert isinstance(outcome.error, IntegrityUnavailable)
    assert outcome.receipt.status == "failed"
    assert (client.stored, destination.blobs) == ([], {})


FATES = ("well", "GET lost", "GET changed", "PUT lost", "answer lost", "throttled", "blob there", "gone", "damaged")


@settings(max_examples=25)
@given(st.lists(st.sampled_from(FATES), max_size=30), st.integers(1, 40))
def test_promise_4_each_task_has_one_outcome(fates: list[str], at_a_time: int) -> None:
    """Whatever ends the requests, no task is lost or reported twice, and each copied blob is its object."""
    source, tasks = filled(len(fates))
    destination = MemoryDestination()
    fate_of = {one.key: fate for one, fate in zip(tasks, fates, strict=True)}
    once = set(fate_of)

    class Client(MemorySmallObjectClient):
        def on_fetch(self, key: str) -> TransferError | None:
            once.discard(key)
            if fate_of[key] == "GET changed":
                return SourceChanged(bucket=BUCKET, key=key, etag="e")
            return lost() if fate_of[key] == "GET lost" else None

        def on_store(self, blob: str) -> TransferError | None:
            if fate_of[blob] == "throttled":
                return Throttled(service=AZURE, code="ServerBusy", retry_after_s=0.0)
            return lost(AZURE) if fate_of[blob] == "PUT lost" else None

        def on_stored(self, blob: str) -> TransferError | None:
            return lost(AZURE) if fate_of[blob] == "answer lost" else None

    for key, fate in fate_of.items():
        if fate == "blob there":
            destination.write(key, b"another tool's")
        if fate == "gone":
            source.delete(BUCKET, key)
    client = Client(source, destination, at_a_time=at_a_time)
    with transfer_context(source, destination, small_object_client=lambda: client) as context:
        outcomes = list(copy_many(context, tasks))
    assert once == set()
    assert sorted(outcome.receipt.key for outcome in outcomes) == sorted(fate_of)
    for outcome in outcomes:
        failed = fate_of[outcome.receipt.key] in ("blob there", "gone")
        assert outcome.receipt.status == ("failed" if failed else "copied"), outcome.error
    held = {blob: there.data for blob, there in destination.blobs.items()}
    assert held == {
        key: b"another tool's" if fate == "blob there" else some_bytes(10, seed=n)
        for n, (key, fate) in enumerate(fate_of.items())
        if fate != "gone"
    }


# -- limits ------------------------------------------------------------------------------------------------------------


def test_bytes_in_flight_stay_within_the_budget() -> None:
    """Bytes in flight count against the same budget as all other buffers: half of it, and what is spare of the rest."""
    source, tasks = filled(60, size_bytes=300_000)
    destination, held = MemoryDestination(), list[int]()

    class Client(MemorySmallObjectClient):
        def on_fetch(self, key: str) -> TransferError | None:
            held.append(context.buffers._held)
            return lost() if key.endswith("7") else None

    client = Client(source, destination)
    with transfer_context(
        source, destination, memory_budget_bytes=4 * MIB, small_object_client=lambda: client
    ) as context:
        assert len(list(copy_many(context, tasks))) == 60
        assert context.buffers._held == sum(map(len, context.buffers._free)), "only buffers that are kept"
    assert 2 * MIB < client.most_bytes <= 3.5 * MIB
    assert min(held) >= 2 * MIB
    assert max(held) <= 4 * MIB


def test_bytes_in_flight_leave_room_for_a_block_that_waits() -> None:
    """While a block of a large object waits for memory, small objects take no more than half of the budget."""
    source, tasks = filled(60, size_bytes=300_000)
    client = MemorySmallObjectClient(source, destination := MemoryDestination())
    with transfer_context(source, destination, memory_budget_bytes=4 * MIB) as context:
        small = SmallObjects(context, client, 1)
        assert small.has_room(tasks[0])
        small.begin(tasks[0])
        block = threading.Thread(target=lambda: context.buffers.lend(3 * MIB).__enter__(), daemon=True)
        block.start()
        end = time.monotonic() + 10
        while not context.buffers._waiting:
            assert time.monotonic() < end, "the block has its memory"
            time.sleep(0.001)
        for one in tasks[1:]:
            if small.has_room(one):
                small.begin(one)
        assert small._bytes <= 2 * MIB
        while small.busy:
            assert all(receipt for _, receipt in small.settle(0.1))
        block.join()
        assert context.buffers._held == sum(map(len, context.buffers._free)), "only buffers that are kept"
        small.close()


def test_objects_that_ended_make_room_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many objects have passed, the next ones are in flight together as the first ones were."""
    # The measured throughput changes nothing: the bytes alone bound the objects in flight.
    monkeypatch.setattr(module, "ConcurrencyController", partial(ConcurrencyController, clock=lambda: 0.0))
    source, tasks = filled(400, size_bytes=250_000)
    together: list[int] = []

    class Counting(MemorySmallObjectClient):
        def on_fetch(self, key: str) -> TransferError | None:
            together.append(len(self._sizes))
            return None

    client = Counting(source, destination := MemoryDestination())
    with transfer_context(
        source, destination, memory_budget_bytes=4 * MIB, small_object_client=lambda: client
    ) as context:
        assert {outcome.receipt.status for outcome in copy_many(context, tasks)} == {"copied"}
    assert len(client.stored) == len(tasks)
    assert max(together[:100]) == max(together[-100:]) == 3.5 * MIB // 250_000


class Time:
    """Seconds that pass only while the code waits."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Return the seconds."""
        return self.now


class Waits(threading.Event):
    """A stop event whose waits advance the clock and take no time."""

    def __init__(self, clock: Time) -> None:
        """Advance this clock."""
        super().__init__()
        self.clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        """Advance the clock."""
        self.clock.now += timeout or 0.0
        return self.is_set()


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Time:
    """Replace the clock of ``SmallObjects``."""
    made = Time()
    monkeypatch.setattr("s3_to_azure.transfer.small_objects.time", made)
    return made


def drive(small: SmallObjects, tasks: list[CopyTask]) -> int:
    """Copy the tasks in this thread, without workers; return how many were handed back."""
    left, back = list(tasks), 0
    while left or small.busy:
        while left and small.has_room(left[0]):
            small.begin(left.pop(0))
        if small.busy:
            back += sum(receipt is None for _, receipt in small.settle(0.0))
    return back


def test_an_object_leaves_nothing_to_the_garbage_collector() -> None:
    """Everything of an object is freed with its receipt, because no two of its parts reference each other."""
    source, tasks = filled(60)
    destination = MemoryDestination()
    with transfer_context(source, destination) as context:
        small = SmallObjects(context, MemorySmallObjectClient(source, destination), 1)
        assert drive(small, tasks[:10]) == 0
        gc.collect()
        gc.disable()
        try:
            assert drive(small, tasks[10:]) == 0
            assert gc.collect() < 50, "at least one unreachable object for each that was copied"
        finally:
            gc.enable()


def test_bandwidth_limit_holds(clock: Time) -> None:
    """Twenty objects of 1,000 bytes at 500 bytes per second take 40 seconds."""
    source, tasks = filled(20, size_bytes=1_000)
    destination = MemoryDestination()
    client = MemorySmallObjectClient(source, destination)
    with transfer_context(source, destination, cancelled=Waits(clock)) as context:
        limited = replace(context, bandwidth=BandwidthLimit(500, clock.monotonic))
        assert drive(SmallObjects(limited, client, 1), tasks) == 0
    assert len(client.stored) == 20
    assert 1040.0 <= clock.now < 1042.0


@pytest.mark.parametrize(("asked_s", "waited_s"), [(7.0, 7.0), (None, 0.0), (10_000.0, 120.0)])
def test_throttled_pauses_as_long_as_requested(clock: Time, asked_s: float | None, waited_s: float) -> None:
    """The pause is as long as the service asks for, at most two minutes, even where no object is in flight."""
    source, tasks = filled(2)
    destination = MemoryDestination()

    class Client(MemorySmallObjectClient):
        def on_fetch(self, key: str) -> TransferError | None:
            first = key == tasks[0].key
            return Throttled(service="S3", code="SlowDown", retry_after_s=asked_s) if first else None

    with transfer_context(source, destination, cancelled=Waits(clock)) as context:
        small = SmallObjects(context, Client(source, destination), 1)
        assert drive(small, tasks[:1]) == 1
        assert small.has_room(tasks[1]) is (asked_s is None)
        assert drive(small, tasks[1:]) == 0
        small.close()
    assert clock.now == pytest.approx(1000 + waited_s)


@pytest.mark.parametrize("service", ["S3", AZURE])
def test_throttled_lowers_the_limit_of_all_requests(service: str) -> None:
    """A throttled small object halves the limit that all requests share, and successes raise it again."""
    source, tasks = filled(40)
    destination = MemoryDestination()

    class Client(MemorySmallObjectClient):
        def on_fetch(self, key: str) -> TransferError | None:
            first = key == tasks[0].key
            return Throttled(service=service, code="SlowDown", retry_after_s=0.0) if first else None

    with transfer_context(source, destination) as context:
        small = SmallObjects(context, Client(source, destination), 1)
        assert context.limits.scaled(100) == 100
        assert drive(small, tasks[:1]) == 1
        assert context.limits.scaled(100) == 50
        assert drive(small, tasks[1:]) == 0
        assert context.limits.scaled(100) == 100
        small.close()


# -- handing back ------------------------------------------------------------------------------------------------------


def test_many_consecutive_failures_switch_it_off(caplog: pytest.LogCaptureFixture) -> None:
    """After 64 consecutive objects handed back all others are copied one by one, with one warning."""
    source, tasks = filled(300)
    destination = MemoryDestination()

    class Client(MemorySmallObjectClient):
        def on_store(self, blob: str) -> TransferError | None:
            return lost(AZURE)

    client = Client(source, destination)
    with (
        caplog.at_level(logging.WARNING),
        transfer_context(source, destination, small_object_client=lambda: client) as context,
    ):
        outcomes = list(copy_many(context, tasks))
    assert {outcome.receipt.status for outcome in outcomes} == {"copied"}
    assert len(outcomes) == len(destination.blobs) == 300
    assert 64 <= len(client.fetched) < 64 + 32 * 3
    said = [record for record in caplog.records if "one by one" in record.message]
    assert len(said) == 1
    assert "ConnectionResetError" in said[0].message


def test_small_objects_are_tried_again_after_a_rest(clock: Time) -> None:
    """A failure of the network may have passed; each rest is twice as long as the one before, until one succeeds."""
    source, tasks = filled(400)
    destination = MemoryDestination()
    works = False

    class Client(MemorySmallObjectClient):
        def on_fetch(self, key: str) -> TransferError | None:
            return None if works else lost()

    with transfer_context(source, destination, cancelled=Waits(clock)) as context:
        small = SmallObjects(context, Client(source, destination), 1)
        for begin, rest_s in ((0, 60.0), (64, 120.0)):
            assert drive(small, tasks[begin : begin + 64]) == 64
            clock.now += rest_s - 1
            assert not small.takes(tasks[-1])
            clock.now += 1
            assert small.takes(tasks[-1])
        works = True
        assert drive(small, tasks[128:129]) == 0
        works = False
        assert drive(small, tasks[129:193]) == 64
        clock.now += 60
        assert small.takes(tasks[-1])
        small.close()


def test_one_success_restarts_the_count() -> None:
    """A success in between keeps small objects together."""
    source, tasks = filled(400)
    destination = MemoryDestination()

    class Client(MemorySmallObjectClient):
        def on_store(self, blob: str) -> TransferError | None:
            return None if blob.endswith("0") else lost(AZURE)

    client = Client(source, destination, at_a_time=1)
    with transfer_context(source, destination, small_object_client=lambda: client) as context:
        assert len(list(copy_many(context, tasks))) == 400
    assert len(client.fetched) == 400


def test_errors_of_the_objects_do_not_count() -> None:
    """Objects that were deleted do not switch it off for the others."""
    source, tasks = filled(100)
    gone, there = tasks[:90], tasks[90:]
    for one in gone:
        source.delete(BUCKET, one.key)
    destination = MemoryDestination()
    client = MemorySmallObjectClient(source, destination)
    with transfer_context(source, destination, small_object_client=lambda: client) as context:
        outcomes = list(copy_many(context, tasks))
    assert sum(isinstance(outcome.error, ObjectNotFound) for outcome in outcomes) == 90
    assert client.stored == [one.blob for one in there]


class Stalled(MemorySource):
    """A source that answers no GET of a worker until the test ends."""

    def __init__(self, *buckets: str) -> None:
        super().__init__(*buckets)
        self.release = threading.Event()
        self.connections: set[int] = set()

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[MemoryBody]:
        """Wait, except in the thread that copies small objects."""
        if threading.current_thread().name != "tasks":
            self.release.wait()
        with super().open(version, start, end) as body:
            yield body


def read_until_stopped(outcomes: Iterator[Outcome]) -> None:
    """Read all outcomes."""
    with suppress(Cancelled):
        list(outcomes)


def test_tasks_handed_back_take_constant_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """While the workers are slower than objects are handed back, only as many tasks are taken as a queue holds."""
    source, destination = Stalled(BUCKET), MemoryDestination()
    source.put(BUCKET, "k", b"0123456789")
    one = task("k", listed=source.listed(BUCKET, "k"), condition=NEW)
    drawn = refusals = 0
    no_room, takes = threading.Event(), SmallObjects.takes

    class Client(MemorySmallObjectClient):
        def on_fetch(self, key: str) -> TransferError | None:
            return lost() if len(self.fetched) % 2 else None

    def tasks() -> Iterator[CopyTask]:
        nonlocal drawn, refusals
        for n in range(100_000):
            drawn, refusals = drawn + 1, 0
            yield replace(one, blob=f"{n}")
        no_room.set()

    def counted(small: SmallObjects, task: CopyTask) -> bool:
        nonlocal refusals
        # Asked again for the same task while no object is in flight: only a worker could make room, and both hang.
        refusals += not small.busy
        if refusals > 3:
            no_room.set()
        return takes(small, task)

    monkeypatch.setattr(SmallObjects, "takes", counted)
    with transfer_context(
        source, destination, objects_at_once=2, small_object_client=lambda: Client(source, destination)
    ) as context:
        outcomes = copy_many(context, tasks())
        reader = threading.Thread(target=read_until_stopped, args=(outcomes,), daemon=True)
        reader.start()
        no_room.wait()
        drawn_while_stalled = drawn
        context.cancelled.set()
        source.release.set()
        reader.join()
    assert 64 < drawn_while_stalled < 1_000


def test_cancel_stops_objects_in_flight() -> None:
    """A stop closes a client whose sockets stay silent, frees the budget and is raised."""
    source, tasks = filled(50)
    destination, cancelled = MemoryDestination(), threading.Event()

    class Silent(MemorySmallObjectClient):
        def finished(self, timeout_s: float) -> list[Fetched | Stored | HandedBack]:
            cancelled.set()
            time.sleep(timeout_s)
            return []

    client = Silent(source, destination)
    with (
        transfer_context(source, destination, cancelled=cancelled, small_object_client=lambda: client) as context,
        pytest.raises(Cancelled),
    ):
        list(copy_many(context, tasks))
    assert client.closed == 1
    assert context.buffers._held == 0
    assert destination.blobs == {}


@pytest.mark.parametrize("where", ["fetch", "store", "finished"])
def test_fault_of_this_program_is_raised(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An exception that is no ``TransferError`` ends the batch with that exception, and the client is closed."""
    source, tasks = filled(20)
    client = MemorySmallObjectClient(source, MemoryDestination())

    def fault(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(client, where, fault)
    with (
        transfer_context(source, MemoryDestination(), small_object_client=lambda: client) as context,
        pytest.raises(ZeroDivisionError),
    ):
        list(copy_many(context, tasks))
    assert client.closed == 1


def test_error_in_the_tasks_is_raised() -> None:
    """An error while the tasks are generated is raised although objects are in flight."""
    source, tasks = filled(20)
    client = MemorySmallObjectClient(source, MemoryDestination())

    def broken() -> Iterator[CopyTask]:
        yield from tasks
        raise UsageError(detail="the list is broken")

    with (
        transfer_context(source, MemoryDestination(), small_object_client=lambda: client) as context,
        pytest.raises(UsageError, match="broken"),
    ):
        list(copy_many(context, broken()))
    assert client.closed == 1
