"""Worker processes as their parent sees them."""

import os
import select
import signal
import threading
from collections.abc import Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest

from s3_to_azure.cli.processes import workers
from s3_to_azure.cli.processes.worker import BatchMessage, BatchResult, BatchUpdate
from s3_to_azure.cli.processes.workers import (
    WorkerProcesses,
    _exit_text,
    _WorkerProcess,
    worker_processes,
)
from s3_to_azure.cli.stores import Stores
from s3_to_azure.model.errors import (
    BudgetTooSmall,
    Cancelled,
    CorruptState,
    ObjectNotFound,
    ProcessEnded,
    TransferError,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.transfer.context import CopyTask
from tests.fakes.contexts import BUCKET, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.pipes import BrokenPipe, Pipe


def receipt(number: int) -> Receipt:
    """Return an object's receipt."""
    return Receipt("bucket", f"{number}", "etag", 1, "container", f"{number}", "copied")


def worker(pipe: Any = None, *, exit_code: int | None = None) -> _WorkerProcess:
    """Return a worker without a process."""
    made = object.__new__(_WorkerProcess)
    made.process = SimpleNamespace(name="it", exitcode=exit_code, join=lambda _timeout: None)  # type: ignore[assignment]
    made.pipe = pipe
    made.busy, made.remaining = True, 2
    return made


def test_updates_are_passed_on() -> None:
    """Receipts, counts and the result reach the parent's callers; the number of remaining objects falls."""
    error = ObjectNotFound(bucket="bucket", key="1")
    update = BatchUpdate([(receipt(1), error)], {"objects_done": 1, "bytes_sent": 7}, BatchResult(retryable=1))
    progress, told = Progress(), list[tuple[Receipt, TransferError | None]]()
    there = worker(Pipe(update))

    def tell(receipt: Receipt, error: TransferError | None) -> None:
        told.append((receipt, error))

    assert there.receive(progress, tell) == BatchResult(retryable=1)
    assert (there.remaining, told) == (1, [(receipt(1), error)])
    assert (progress.snapshot().objects_done, progress.snapshot().bytes_sent) == (1, 7)


@pytest.mark.parametrize(
    ("exit_code", "how"),
    [(-9, "killed by signal 9 (Killed)"), (1, "exit status 1"), (None, "it does not answer")],
)
def test_end_of_the_pipe_is_the_end_of_the_worker(exit_code: int | None, how: str) -> None:
    """The error says how the worker ended."""
    assert _exit_text(exit_code) == how
    result = worker(Pipe(), exit_code=exit_code).receive(Progress(), lambda *_: None)
    assert result
    assert isinstance(result.error, ProcessEnded)
    assert how in str(result.error)


CORRUPT = CorruptState(path="plan", detail="damaged")


@pytest.mark.parametrize(
    ("remaining", "result", "stopping", "expected"),
    [
        (0, BatchResult(), False, None),
        (2, BatchResult(), False, ProcessEnded),
        (2, BatchResult(error=Cancelled.now()), False, ProcessEnded),
        (2, BatchResult(error=Cancelled.now()), True, Cancelled),
        (2, BatchResult(error=CORRUPT), False, CorruptState),
        (2, BatchResult(), True, None),
    ],
)
def test_batch_without_all_receipts_is_an_error(
    remaining: int, result: BatchResult, stopping: bool, expected: type[TransferError] | None
) -> None:
    """A batch counts as done only with a receipt for each of its objects, or with the error that stopped it."""
    there = worker()
    there.remaining = remaining
    found = there.finish(result, stopping=stopping)
    assert not there.busy
    assert type(found) is (expected or type(None))


def test_send_to_an_ended_worker_does_not_raise() -> None:
    """Receiving from it tells the error."""
    batch: Any = SimpleNamespace(objects=1)
    settings: Any = SimpleNamespace()
    job = BatchMessage(batch, b"", "bucket", settings)
    there = worker(BrokenPipe())
    there.start(job)
    assert (there.busy, there.remaining) == (True, 1)


def test_one_process_is_the_parent_itself() -> None:
    """Nothing is forked."""
    stores: Any = None
    with worker_processes(1, stores, CopySettings()) as made:
        assert made is None


@pytest.mark.parametrize(("forked", "most"), [(0, None), (1, None), (2, 2)])
def test_refused_fork_leaves_fewer_processes(monkeypatch: pytest.MonkeyPatch, forked: int, most: int | None) -> None:
    """A limit of processes, such as a container's, slows a copy down and does not fail it; none is left behind."""
    ended: list[_WorkerProcess] = []
    there = [worker() for _ in range(forked)]
    made = iter(there)

    def fork(*_: object) -> _WorkerProcess:
        for each in made:
            return each
        raise BlockingIOError(11, "Resource temporarily unavailable")

    def end(self: WorkerProcesses, *, all_but: int = 0) -> None:
        ended.extend(self._workers[all_but:])

    monkeypatch.setattr(workers, "_WorkerProcess", fork)
    monkeypatch.setattr(WorkerProcesses, "end", end)
    stores: Any = None
    with worker_processes(3, stores, CopySettings()) as several:
        assert (several.most if several else None) == most
    assert ended == there


@pytest.fixture
def source() -> MemorySource:
    """Return a bucket with ten objects."""
    made = MemorySource(BUCKET)
    for number in range(10):
        made.put(BUCKET, f"d/{number}", b"data")
    return made


@pytest.fixture
def several(source: MemorySource) -> Iterator[WorkerProcesses]:
    """Return three worker processes, which see the bucket as it is now, and an empty container of their own."""
    stores = Stores(source, MemoryDestination("container"), None)
    with worker_processes(3, stores, CopySettings(objects_at_once=8)) as made:
        assert made
        yield made


def tasks(*numbers: int) -> Iterator[CopyTask]:
    """Yield the tasks of objects that were named one by one."""
    return (CopyTask(BUCKET, f"d/{number}", f"{number}") for number in numbers)


@pytest.mark.parametrize(("each", "processes"), [(5, 2), (3, 3), (6, 0)])
def test_named_objects_are_divided(
    monkeypatch: pytest.MonkeyPatch, source: MemorySource, several: WorkerProcesses, each: int, processes: int
) -> None:
    """As many processes copy them as have enough to do: none but the parent, if that is less than two."""
    monkeypatch.setattr(workers, "_TASKS_OF_WORKER", each)
    monkeypatch.setattr(workers, "_TASKS_IN_GROUP", 2)
    told: dict[str, TransferError | None] = {}
    with transfer_context(source, MemoryDestination("container")) as context:
        several.copy_tasks(context, tasks(*range(10), 99), lambda each, error: told.update({each.key: error}))
        totals = context.progress.snapshot()
    assert several.most == processes
    assert told.keys() == {f"d/{number}" for number in (*range(10), 99)}
    assert {key: type(error) for key, error in told.items() if error} == {"d/99": ObjectNotFound}
    assert (totals.objects_done, totals.objects_failed, totals.bytes_total) == (10, 1, 40)


def test_object_that_needs_more_than_a_share_is_copied_with_the_whole_budget(
    monkeypatch: pytest.MonkeyPatch, source: MemorySource
) -> None:
    """The parent copies it after all others, and only what the whole budget cannot hold either has failed."""
    monkeypatch.setattr(workers, "_TASKS_OF_WORKER", 3)
    monkeypatch.setattr(workers, "_TASKS_IN_GROUP", 2)
    source.put(BUCKET, "d/2", bytes(2 * MIB))
    source.put(BUCKET, "d/4", bytes(4 * MIB))
    settings: dict[str, Any] = {
        "memory_budget_bytes": 3 * MIB,
        "block_bytes": 4 * MIB,
        "objects_at_once": 2,
        "connections": 2,
    }
    destination, told = MemoryDestination("container"), list[tuple[str, TransferError | None]]()
    with (
        worker_processes(2, Stores(source, destination, None), CopySettings(**settings)) as several,
        transfer_context(source, destination, **settings) as context,
    ):
        assert several
        several.copy_tasks(context, tasks(*range(10)), lambda each, error: told.append((each.key, error)))
        totals = context.progress.snapshot()
    assert sorted(key for key, _ in told) == [f"d/{number}" for number in range(10)]
    assert {key: type(error) for key, error in told if error} == {"d/4": BudgetTooSmall}
    assert {key for key, _ in told[-2:]} == {"d/2", "d/4"}
    assert (totals.objects_done, totals.objects_failed) == (9, 1)
    # The others are in the memory of the processes.
    assert destination.blobs.keys() == {"2"}


def test_processes_get_their_shares(monkeypatch: pytest.MonkeyPatch, several: WorkerProcesses) -> None:
    """The shares are those of the processes that copy, and not of those that were forked."""
    sent: list[object] = []
    monkeypatch.setattr(_WorkerProcess, "send", lambda _self, message: sent.append(message))
    monkeypatch.setattr(WorkerProcesses, "_assign", lambda *_: [])
    context: Any = SimpleNamespace(cancelled=SimpleNamespace(is_set=lambda: False))
    nothing: Any = iter(())
    several._copy(2, context, nothing, lambda *_: None)
    assert [each.objects_at_once for each in sent] == [4, 4]  # type: ignore[attr-defined]


def test_end_waits_for_no_worker_that_was_stopped(several: WorkerProcesses) -> None:
    """It reads nothing, so its pipe is full, and it ignores SIGTERM; a stop of the copy must end all the same."""
    stopped = several._workers[0]
    os.kill(int(stopped.process.pid or 0), signal.SIGSTOP)
    batch: Any = b"batch" * 1_000_000

    def send() -> None:
        # The pipe is closed meanwhile. A command that was stopped no longer waits for the thread that sends.
        with suppress(TypeError):
            stopped.send(batch)

    sending = threading.Thread(target=send, daemon=True)
    sending.start()
    while select.select([], [stopped.pipe], [], 0)[1]:
        assert sending.is_alive()
    several.end()
    assert stopped.process.exitcode == -signal.SIGKILL
    sending.join()
