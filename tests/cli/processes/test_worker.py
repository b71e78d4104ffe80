"""What a worker process sends to its parent."""

import os
import threading
from typing import Any

import pytest

from s3_to_azure.cli.processes import worker
from s3_to_azure.cli.processes.worker import BatchResult, _UpdateSender
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.progress import Progress
from tests.fakes.pipes import BrokenPipe, Pipe


def receipt(number: int) -> Receipt:
    """Return an object's receipt."""
    return Receipt("bucket", f"{number}", "etag", 1, "container", f"{number}", "copied")


def test_result_is_sent_once_and_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """A second result would end the next batch. All receipts are sent before it, each once, whenever the timer runs."""
    monkeypatch.setattr(worker, "_UPDATE_EVERY_S", 0.0001)
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
        assert [each.key for update in pipe.sent for each, _ in update.receipts] == [f"{n}" for n in range(10)]
        grown = {
            name: sum(update.counts.get(name, 0) for update in pipe.sent) for name in ("objects_done", "bytes_sent")
        }
        assert grown == {"objects_done": 10, "bytes_sent": 20}
        assert all("objects_total" not in update.counts for update in pipe.sent)


def test_many_receipts_do_not_wait_for_the_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    """A group is sent as soon as it is full, so that the memory for receipts has a bound."""
    monkeypatch.setattr(worker, "_UPDATE_EVERY_S", 60)
    pipe: Any = Pipe()
    with _UpdateSender(pipe, Progress(), os.getppid(), threading.Event()) as sender:
        for number in range(worker._UPDATE_RECEIPTS):
            sender.add(receipt(number))
        assert [len(update.receipts) for update in pipe.sent] == [worker._UPDATE_RECEIPTS]


def test_broken_pipe_stops_the_worker() -> None:
    """Receipts of further copies would be lost."""
    pipe: Any = BrokenPipe()
    stop = threading.Event()
    with _UpdateSender(pipe, Progress(), os.getppid(), stop) as sender:
        sender.end_with(BatchResult())
    assert stop.is_set()


def test_another_parent_stops_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    """The parent was killed, and another process adopted the worker."""
    monkeypatch.setattr(worker, "_UPDATE_EVERY_S", 0.0001)
    pipe: Any = Pipe()
    stop = threading.Event()
    with _UpdateSender(pipe, Progress(), os.getppid() + 1, stop):
        assert stop.wait(60)


def test_totals_of_named_objects_are_sent_too() -> None:
    """Only the worker learns how large they are; the parent counts those of a plan itself."""
    pipe: Any = Pipe()
    progress = Progress()
    with _UpdateSender(pipe, progress, os.getppid(), threading.Event(), counted=()) as sender:
        progress.add(bytes_total=5)
        sender.end_with(BatchResult())
    assert sum(update.counts.get("bytes_total", 0) for update in pipe.sent) == 5
