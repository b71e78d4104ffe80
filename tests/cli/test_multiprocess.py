"""Worker processes: what they send to the parent, and what the parent makes of it."""

import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from s3_to_azure.cli import multiprocess
from s3_to_azure.cli.multiprocess import (
    BatchMessage,
    BatchResult,
    BatchUpdate,
    WorkerProcesses,
    _exit_text,
    _UpdateSender,
    _WorkerProcess,
    worker_processes,
)
from s3_to_azure.model.errors import Cancelled, CorruptState, ProcessEnded, TransferError, UsageError
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import CopySettings


class Pipe:
    """Keeps what is sent, and gives what is there to receive."""

    def __init__(self, *incoming: BatchUpdate) -> None:
        """Start with the updates to receive."""
        self.sent: list[BatchUpdate] = []
        self.incoming = list(incoming)

    def send(self, update: BatchUpdate) -> None:
        """Keep it."""
        self.sent.append(update)

    def recv(self) -> BatchUpdate:
        """Return the next update; the pipe ends after the last."""
        if not self.incoming:
            raise EOFError
        return self.incoming.pop(0)


class BrokenPipe(Pipe):
    """A pipe without a reader."""

    def send(self, update: BatchUpdate) -> None:
        """Refuse it."""
        raise BrokenPipeError


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


def test_result_is_sent_once_and_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second result would end the next batch. All receipts are sent before it, each once, whenever the timer runs."""
    monkeypatch.setattr(multiprocess, "_UPDATE_EVERY_S", 0.0001)
    progress = Progress()
    for _ in range(300):
        pipe: Any = Pipe()
        with _UpdateSender(pipe, progress, os.getppid(), threading.Event()) as sender:
            for number in range(10):
                progress.add(objects_total=1, objects_done=1, bytes_sent=2)
                sender.add(receipt(number))
            sender.end_with(BatchResult(retryable=3))
        assert [update.result for update in pipe.sent if update.result] == [BatchResult(retryable=3)]
        assert pipe.sent[-1].result
        assert [each.key for update in pipe.sent for each in update.receipts] == [f"{n}" for n in range(10)]
        grown = {
            name: sum(update.counts.get(name, 0) for update in pipe.sent) for name in ("objects_done", "bytes_sent")
        }
        assert grown == {"objects_done": 10, "bytes_sent": 20}
        assert all("objects_total" not in update.counts for update in pipe.sent)


def test_many_receipts_do_not_wait_for_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group is sent as soon as it is full, so that the memory for receipts has a bound."""
    monkeypatch.setattr(multiprocess, "_UPDATE_EVERY_S", 60)
    pipe: Any = Pipe()
    with _UpdateSender(pipe, Progress(), os.getppid(), threading.Event()) as sender:
        for number in range(multiprocess._UPDATE_RECEIPTS):
            sender.add(receipt(number))
        assert [len(update.receipts) for update in pipe.sent] == [multiprocess._UPDATE_RECEIPTS]


def test_broken_pipe_stops_the_worker() -> None:
    """Receipts of further copies would be lost."""
    pipe: Any = BrokenPipe()
    stop = threading.Event()
    with _UpdateSender(pipe, Progress(), os.getppid(), stop) as sender:
        sender.end_with(BatchResult())
    assert stop.is_set()


def test_another_parent_stops_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent was killed, and another process adopted the worker."""
    monkeypatch.setattr(multiprocess, "_UPDATE_EVERY_S", 0.0001)
    pipe: Any = Pipe()
    stop = threading.Event()
    with _UpdateSender(pipe, Progress(), os.getppid() + 1, stop):
        assert stop.wait(60)


def test_updates_are_passed_on() -> None:
    """Receipts, counts and the result reach the parent's callers; the number of remaining objects falls."""
    update = BatchUpdate([receipt(1)], {"objects_done": 1, "bytes_sent": 7}, BatchResult(retryable=1))
    progress, receipts = Progress(), list[Receipt]()
    there = worker(Pipe(update))
    assert there.receive(progress, receipts.append) == BatchResult(retryable=1)
    assert (there.remaining, receipts) == (1, [receipt(1)])
    assert (progress.snapshot().objects_done, progress.snapshot().bytes_sent) == (1, 7)


@pytest.mark.parametrize(
    ("exit_code", "how"),
    [(-9, "killed by signal 9 (Killed)"), (1, "exit status 1"), (None, "it does not answer")],
)
def test_end_of_the_pipe_is_the_end_of_the_worker(exit_code: int | None, how: str) -> None:
    """The error says how the worker ended."""
    assert _exit_text(exit_code) == how
    result = worker(Pipe(), exit_code=exit_code).receive(Progress(), lambda _: None)
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
    job: Any = BatchMessage(SimpleNamespace(objects=1), b"", "bucket", SimpleNamespace())  # type: ignore[arg-type]
    there = worker(BrokenPipe())
    there.start(job)
    assert (there.busy, there.remaining) == (True, 1)


def test_one_process_is_the_parent_itself() -> None:
    """Nothing is forked."""
    stores: Any = None
    with worker_processes(1, stores, CopySettings()) as workers:
        assert workers is None


def test_other_systems_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fork is safe on Linux only."""
    monkeypatch.setattr("sys.platform", "darwin")
    stores: Any = None
    with pytest.raises(UsageError, match="--processes needs Linux"), worker_processes(2, stores, CopySettings()):
        pass


def test_refused_fork_ends_the_workers_before_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error names the option, and no process is left."""
    closed = []
    monkeypatch.setattr(WorkerProcesses, "close", lambda self: closed.append(len(self._workers)))
    made = iter([worker()])

    def fork(*_: object) -> _WorkerProcess:
        for each in made:
            return each
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(multiprocess, "_WorkerProcess", fork)
    stores: Any = None
    with pytest.raises(UsageError, match="--processes=2: the system refuses more processes"):
        WorkerProcesses(2, stores, CopySettings())
    assert closed == [1]
