"""Many objects in one pool of workers, and the tally of their outcomes."""

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import pytest

from s3_to_azure.model.errors import (
    AccessDenied,
    Cancelled,
    ConnectionFailed,
    ObjectNotFound,
    RetryableObjectsFailed,
    SomeObjectsFailed,
    TransferError,
    UsageError,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import BlobContents, Condition, ListedObject, ObjectVersion, Receipt
from s3_to_azure.transfer import watchdog
from s3_to_azure.transfer.context import CopyTask
from s3_to_azure.transfer.object import Outcome
from s3_to_azure.transfer.pool import Tally, _WorkerPool, copy_many
from s3_to_azure.transfer.small_objects import SMALL_BYTES, SmallObjects
from tests.fakes.contexts import BUCKET, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_small_object_client import MemorySmallObjectClient
from tests.fakes.memory_source import MemoryBody, MemorySource
from tests.fakes.thread_limit import limit_threads

KEYS = [f"key {n:03}" for n in range(40)]


class Failing(MemorySource):
    """Objects of which two cannot be read."""

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[MemoryBody]:
        """Fail for these two keys."""
        if version.key == KEYS[3]:
            raise AccessDenied(service="S3", resource=version.key, code="AccessDenied", cure="Grant s3:GetObject.")
        if version.key == KEYS[5]:
            raise ConnectionFailed(service="S3", resource=version.key, detail="reset")
        with super().open(version, start, end) as body:
            yield body


def filled(kind: type[MemorySource] = MemorySource) -> MemorySource:
    """Return a source of 40 small objects, every tenth of three blocks."""
    source = kind(BUCKET)
    for n, key in enumerate(KEYS):
        source.put(BUCKET, key, some_bytes(3 * MIB if n % 10 == 0 else n, seed=n))
    return source


def test_every_object_is_copied() -> None:
    """Each object has one outcome, and each blob is its object."""
    source, destination = filled(), MemoryDestination()
    with transfer_context(source, destination) as context:
        outcomes = list(copy_many(context, [task(key, listed=source.listed(BUCKET, key)) for key in KEYS]))
        now = context.progress.snapshot()
    assert sorted(outcome.receipt.key for outcome in outcomes) == KEYS
    assert {outcome.receipt.status for outcome in outcomes} == {"copied"}
    assert {key: blob.data for key, blob in destination.blobs.items()} == {
        key: some_bytes(3 * MIB if n % 10 == 0 else n, seed=n) for n, key in enumerate(KEYS)
    }
    assert (now.objects_done, now.objects_failed) == (len(KEYS), 0)


def test_one_failure_does_not_stop_the_others() -> None:
    """Promise 4: failed objects have reasons, all others are copied, and every task has an outcome."""
    source, destination = filled(Failing), MemoryDestination()
    tally = Tally()
    tasks = [task(key) for key in [*KEYS, "not there", "a/../b"]]
    with transfer_context(source, destination, refused_names="skip") as context:
        outcomes = {outcome.receipt.key: outcome for outcome in copy_many(context, tasks)}
    for outcome in outcomes.values():
        tally.add(outcome.receipt, outcome.error)
    assert len(outcomes) == len(tasks)
    failed = {key for key, outcome in outcomes.items() if outcome.receipt.status == "failed"}
    assert failed == {KEYS[3], KEYS[5], "not there"}
    assert outcomes["a/../b"].receipt.status == "skipped"
    assert outcomes["a/../b"].receipt.reason.startswith("name_refused")
    assert outcomes[KEYS[3]].receipt.reason.startswith("access_denied: ")
    assert isinstance(outcomes["not there"].error, ObjectNotFound)
    assert len(destination.blobs) == len(KEYS) - 2
    error = tally.error()
    assert isinstance(error, RetryableObjectsFailed)
    assert "3 of 42 objects failed, 1 of them" in str(error)


def test_fewer_threads_than_wanted(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """Where the system allows two workers and one thread for blocks, these copy everything; one warning says so."""
    monkeypatch.setattr(watchdog, "_first_to_warn", threading.Lock())
    objects, blocks = (limit_threads(monkeypatch, name, most) for name, most in (("object-", 2), ("block-", 1)))
    source, destination = filled(), MemoryDestination()
    with transfer_context(source, destination) as context:
        outcomes = list(copy_many(context, [task(key) for key in KEYS]))
    assert {outcome.receipt.status for outcome in outcomes} == {"copied"}
    assert len(outcomes) == len(destination.blobs) == len(KEYS)
    assert len(objects) > 2
    assert len(blocks) > 1
    assert [record.levelname for record in caplog.records if "no further thread" in record.message] == ["WARNING"]


def test_no_thread_at_all_ends_the_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """With an error that says why: nothing could be copied."""
    limit_threads(monkeypatch, "object-", 0)
    with (
        transfer_context(filled(), MemoryDestination()) as context,
        pytest.raises(RuntimeError, match="no thread to copy"),
    ):
        list(copy_many(context, [task(key) for key in KEYS]))


def test_refused_name_fails_by_policy() -> None:
    """With ``refused_names="fail"`` a refused name is a failure."""
    with transfer_context(filled(), MemoryDestination(), refused_names="fail") as context:
        (outcome,) = copy_many(context, [task("a/../b")])
    assert outcome.receipt.status == "failed"


def test_unread_outcomes_hold_back_further_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    """While no outcome is read no further task is taken, so any number of tasks needs constant memory."""
    source, destination = filled(), MemoryDestination()
    drawn = refusals = 0
    no_room, begin = threading.Event(), _WorkerPool._begin

    def tasks() -> Iterator[CopyTask]:
        nonlocal drawn, refusals
        for _ in range(10_000):
            drawn, refusals = drawn + 1, 0
            yield task(KEYS[1])
        no_room.set()

    def counted(pool: _WorkerPool, task: CopyTask, small: SmallObjects | None) -> bool:
        nonlocal refusals
        # Refused again and again while the queue of outcomes is full: only a reader could make room.
        refusals += pool._done.full()
        if refusals > 3:
            no_room.set()
        return begin(pool, task, small)

    monkeypatch.setattr(_WorkerPool, "_begin", counted)
    with transfer_context(source, destination, objects_at_once=2) as context:
        outcomes = copy_many(context, tasks())
        for _ in range(3):
            next(outcomes)
        no_room.wait()
        drawn_while_unread = drawn
        outcomes.close()  # type: ignore[attr-defined]
    assert 8 < drawn_while_unread < 100


def test_error_in_the_tasks_is_raised() -> None:
    """An error while the tasks are generated ends the batch with that error."""

    def tasks() -> Iterator[CopyTask]:
        yield task(KEYS[1])
        raise UsageError(detail="the list is broken")

    with transfer_context(filled(), MemoryDestination()) as context, pytest.raises(UsageError, match="broken"):
        list(copy_many(context, tasks()))


def test_fault_of_this_program_is_raised() -> None:
    """An exception that is no ``TransferError`` ends the batch with that exception."""

    class Faulty(MemoryDestination):
        def head(self, blob: str) -> None:
            raise ZeroDivisionError

    with transfer_context(filled(), Faulty()) as context, pytest.raises(ZeroDivisionError):
        list(copy_many(context, [task(key) for key in KEYS]))


class Stalled(MemorySource):
    """A server that answers nothing until the test ends."""

    def __init__(self, *buckets: str) -> None:
        super().__init__(*buckets)
        self.release = threading.Event()
        self.reached = threading.Event()

    def served(self, key: str, start: int, data: bytes) -> bytes:
        """Hang."""
        self.reached.set()
        self.release.wait()
        return data


def test_stop_ends_the_batch_while_the_server_hangs() -> None:
    """A stop ends the batch although no socket ever answers; else this test would hang."""
    source = Stalled(BUCKET)
    source.put(BUCKET, "k", some_bytes(3 * MIB))
    stop = threading.Event()

    def stop_once_reached() -> None:
        source.reached.wait()
        stop.set()

    threading.Thread(target=stop_once_reached, daemon=True).start()
    with transfer_context(source, MemoryDestination(), cancelled=stop) as context, pytest.raises(Cancelled):
        list(copy_many(context, [task("k")]))
    assert not source.release.is_set()
    source.release.set()


def test_nothing_is_begun_after_the_reader_has_gone() -> None:
    """If the batch ends early, for whatever reason, its threads end too, and copy no object that waits in line."""
    read, others = threading.Event(), set(threading.enumerate())

    class Slow(MemorySource):
        @contextmanager
        def open(
            self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
        ) -> Iterator[MemoryBody]:
            if version.key == KEYS[2]:
                reached.set()
                read.wait()
            with super().open(version, start, end) as body:
                yield body

    reached = threading.Event()
    source, destination = filled(Slow), MemoryDestination()
    with transfer_context(source, destination, objects_at_once=1) as context:
        outcomes = copy_many(context, [task(key) for key in KEYS[1:]])
        assert next(outcomes).receipt.key == KEYS[1]
        reached.wait()
        workers = [thread for thread in set(threading.enumerate()) - others if not thread.name.startswith("block-")]
        outcomes.close()  # type: ignore[attr-defined]
        read.set()
        for thread in workers:
            # A thread that goes on would let the test hang.
            thread.join()
    assert {thread.name for thread in workers} == {"tasks", "object-0"}
    assert set(destination.blobs) == set(KEYS[1:3])


def many(source: MemorySource, count: int, blocks: int) -> list[CopyTask]:
    """Put objects of so many blocks, and return the tasks that copy them."""
    for key in KEYS[:count]:
        source.put(BUCKET, key, some_bytes(blocks * MIB - 1))
    return [task(key, listed=source.listed(BUCKET, key), condition=Condition(None)) for key in KEYS[:count]]


def test_objects_begin_while_others_are_committed() -> None:
    """The commits of 20 objects wait for each other: all are read meanwhile, though eight fill the connections."""
    together = threading.Barrier(20)

    class Slow(MemoryDestination):
        def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
            together.wait(60)
            return super().commit(blob, block_ids, contents, condition)

    source = MemorySource(BUCKET)
    tasks = many(source, 20, blocks=2)
    with transfer_context(source, Slow(), objects_at_once=20, connections=1) as context:
        outcomes = list(copy_many(context, tasks))
    assert {outcome.receipt.status for outcome in outcomes} == {"copied"}


def test_no_more_objects_begin_than_the_connections_need() -> None:
    """Of 30 objects eight are looked up while none has moved a block, and all are copied in the end."""
    begun: list[str] = []
    eight, nine, go_on = threading.Event(), threading.Event(), threading.Event()

    class Source(MemorySource):
        def head(self, bucket: str, key: str) -> ObjectVersion:
            begun.append(key)
            if len(begun) >= 8:
                (eight if len(begun) == 8 else nine).set()
            go_on.wait(60)
            return super().head(bucket, key)

    source = Source(BUCKET)
    tasks = many(source, 30, blocks=3)
    with transfer_context(source, MemoryDestination(), objects_at_once=30, connections=1) as context:
        outcomes: list[Outcome] = []
        reading = threading.Thread(target=lambda: outcomes.extend(copy_many(context, tasks)))
        reading.start()
        assert eight.wait(60)
        with context.backlog.changed:
            assert not context.backlog.has_room()
        # A ninth one that may begin does so within milliseconds.
        assert not nine.wait(0.3)
        assert len(begun) == 8
        go_on.set()
        reading.join(60)
    assert [outcome.receipt.status for outcome in outcomes] == ["copied"] * 30


def test_objects_of_one_request_take_connections() -> None:
    """Objects that are copied in one request are read as many at a time as blocks are."""
    lock = threading.Lock()
    now = most = 0

    class Source(MemorySource):
        @contextmanager
        def open(
            self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
        ) -> Iterator[MemoryBody]:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            with super().open(version, start, end) as body:
                time.sleep(0.002)
                yield body
            with lock:
                now -= 1

    source = Source(BUCKET)
    tasks = many(source, 40, blocks=1)
    with transfer_context(source, MemoryDestination(), objects_at_once=20, connections=1) as context:
        assert len(list(copy_many(context, tasks))) == 40
    assert most == 1


def test_large_objects_keep_no_small_ones_waiting() -> None:
    """Small objects that come after ten large ones are copied while none of the large ones makes progress."""
    small = threading.Event()

    class Source(MemorySource):
        def head(self, bucket: str, key: str) -> ObjectVersion:
            assert small.wait(60), "the small objects behind are not copied"
            return super().head(bucket, key)

    source = Source(BUCKET)
    # Too large for one request, each.
    tasks = many(source, 10, blocks=SMALL_BYTES // MIB + 1)
    source.put(BUCKET, "small", b"small")
    tasks.append(task("small", listed=source.listed(BUCKET, "small"), condition=Condition(None)))
    destination = MemoryDestination()
    with transfer_context(
        source,
        destination,
        objects_at_once=1,
        small_object_client=lambda: MemorySmallObjectClient(source, destination),
    ) as context:
        copied = []
        for outcome in copy_many(context, tasks):
            copied.append(outcome.receipt)
            small.set()
    assert copied[0].key == "small"
    assert {receipt.status for receipt in copied} == {"copied"}


@pytest.mark.parametrize("errors", [[], [None, None]])
def test_tally_of_success(errors: list[TransferError | None]) -> None:
    """Without a failure there is no error."""
    assert tally(errors).error() is None


PERMANENT = ObjectNotFound(bucket="b", key="k")
TRANSIENT = ConnectionFailed(service="S3", resource="k", detail="reset")


def tally(errors: list[TransferError | None]) -> Tally:
    """Return the tally of these outcomes."""
    found = Tally()
    for number, error in enumerate(errors):
        status = "failed" if error else "copied"
        found.add(Receipt("b", f"key-{number}", "e", 1, "c", "k", status), error)  # type: ignore[arg-type]
    return found


@pytest.mark.parametrize(
    ("errors", "kind"),
    [
        ([PERMANENT], SomeObjectsFailed),
        ([None, PERMANENT, None, PERMANENT], SomeObjectsFailed),
        ([TRANSIENT], RetryableObjectsFailed),
        ([PERMANENT, TRANSIENT, None], RetryableObjectsFailed),
        ([TRANSIENT, PERMANENT, PERMANENT], RetryableObjectsFailed),
    ],
)
def test_tally_of_failures(errors: list[TransferError | None], kind: type[TransferError]) -> None:
    """The error is retryable if any failure is, counts all failures, and names the first."""
    error = tally(errors).error()
    assert type(error) is kind
    assert error.attributes["failed"] == sum(e is not None for e in errors)
    assert error.attributes["total"] == len(errors)
    first = next(n for n, e in enumerate(errors) if e)
    assert f"'key-{first}'" in str(error)
