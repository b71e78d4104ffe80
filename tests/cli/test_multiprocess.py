"""One of several processes: what it tells, with a pipe that only notes."""

import os
import threading
from types import SimpleNamespace
from typing import Any

import pytest

from s3_to_azure.cli import multiprocess as process
from s3_to_azure.cli.multiprocess import Ended, Told, _Member, _ResultSender
from s3_to_azure.model.errors import Cancelled, CorruptState, ProcessEnded
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.progress import Progress


class Pipe:
    """Keeps what is sent."""

    def __init__(self) -> None:
        """Begin empty."""
        self.told: list[Told] = []

    def send(self, told: Told) -> None:
        """Keep it."""
        self.told.append(told)


class Broken(Pipe):
    """Nobody is at its other end."""

    def send(self, told: Told) -> None:
        """Refuse it."""
        raise BrokenPipeError


def receipt(number: int) -> Receipt:
    """Return an object's receipt."""
    return Receipt("bucket", f"{number}", "etag", 1, "container", f"{number}", "copied")


def test_a_batch_ends_once_and_last(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whenever the clock ticks: a second end would take the next batch for done. All receipts come before it, once."""
    monkeypatch.setattr(process, "_TELL_EVERY_S", 0.0001)
    progress = Progress()
    for _ in range(300):
        pipe: Any = Pipe()
        with _ResultSender(pipe, progress, os.getppid(), threading.Event()) as reporter:
            for number in range(10):
                progress.add(objects_total=1, objects_done=1, bytes_sent=2)
                reporter.add(receipt(number))
            reporter.ended = Ended(transient=3)
        assert [told.ended for told in pipe.told if told.ended] == [Ended(transient=3)]
        assert pipe.told[-1].ended
        assert [each.key for told in pipe.told for each in told.receipts] == [f"{n}" for n in range(10)]
        grown = {name: sum(told.counts.get(name, 0) for told in pipe.told) for name in ("objects_done", "bytes_sent")}
        assert grown == {"objects_done": 10, "bytes_sent": 20}
        assert all("objects_total" not in told.counts for told in pipe.told)


def test_nobody_listens() -> None:
    """What is under way is stopped: its receipts would be lost."""
    pipe: Any = Broken()
    stop = threading.Event()
    with _ResultSender(pipe, Progress(), os.getppid(), stop) as reporter:
        reporter.ended = Ended()
    assert stop.is_set()


def test_the_first_process_is_another_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """It died, and somebody else became the parent."""
    monkeypatch.setattr(process, "_TELL_EVERY_S", 0.0001)
    pipe: Any = Pipe()
    stop = threading.Event()
    with _ResultSender(pipe, Progress(), os.getppid() + 1, stop):
        assert stop.wait(60)


def test_an_end_that_leaves_objects_out_is_none() -> None:
    """A batch counts as done only with a receipt for each of its objects, or with the error that stopped it."""
    member = object.__new__(_Member)
    member.process = SimpleNamespace(name="it")  # type: ignore[assignment]
    bad = CorruptState(path="plan", detail="damaged")
    for left, ended, stopping, expected in [
        (0, Ended(), False, None),
        (2, Ended(), False, ProcessEnded),
        (2, Ended(error=Cancelled.now()), False, ProcessEnded),
        (2, Ended(error=Cancelled.now()), True, Cancelled),
        (2, Ended(error=bad), False, CorruptState),
        (2, Ended(), True, None),
    ]:
        member.busy, member.left = True, left
        found = member.end(ended, stopping=stopping)
        assert not member.busy
        assert type(found) is (expected or type(None))
