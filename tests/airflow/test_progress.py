"""The watched transfer: what is told of it, and how it is stopped."""

import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.airflow import progress as watch
from s3_to_azure.airflow.progress import (
    MOST_STRETCHES,
    PROGRESS_KEY,
    ProgressReporter,
    ProgressSnapshot,
    Stretch,
    Throughput,
    progress_line,
    rates,
    read_stretches,
)
from s3_to_azure.model.errors import Cancelled, ObjectNotFound
from s3_to_azure.model.progress import Progress, Totals
from s3_to_azure.transfer.watchdog import run_stoppable

MIB = 1024**2
T = TypeVar("T")


class MemoryTaskStateStore:
    """A state store that keeps what it is given."""

    def __init__(self) -> None:
        """Begin empty."""
        self.values: dict[str, Any] = {}
        self.asked = 0

    def get(self, key: str) -> object:
        """Return it."""
        self.asked += 1
        return self.values.get(key)

    def set(self, key: str, value: Any) -> None:
        """Keep it."""
        self.values[key] = value


class BrokenTaskStateStore:
    """A state store whose server is away."""

    def __init__(self) -> None:
        """Begin unasked."""
        self.asked = 0

    def get(self, key: str) -> object:
        """Fail."""
        self.asked += 1
        raise ConnectionError("no API server")

    def set(self, key: str, value: Any) -> None:
        """Fail."""
        self.asked += 1
        raise ConnectionError("no API server")


def watched(work: Callable[[], T], *, reporter: ProgressReporter, cancelled: threading.Event) -> T:
    """Run the work as the operator does, but look often and wait briefly."""
    return run_stoppable(work, cancelled, grace_s=0.2, poll_s=0.01, on_poll=reporter.tell, on_end=reporter.close)


def test_line_of_one_object() -> None:
    """One object's line has no count of objects."""
    totals = Totals(objects_total=1, bytes_total=100 * MIB, bytes_sent=25 * MIB)
    assert (
        progress_line(ProgressSnapshot(totals, 10, 5 * MIB))
        == "25.0 MiB of 100.0 MiB (25%); 5.0 MiB/s; 75.0 MiB left, about 15 s"
    )


def test_line_of_many_objects() -> None:
    """A batch's line says all that there is to say."""
    totals = Totals(10, 3, 1, 100 * MIB, 20 * MIB, 30 * MIB, 2)
    assert progress_line(ProgressSnapshot(totals, 10, 0)) == (
        "4 of 10 objects; 50.0 MiB of 100.0 MiB (50%); 0 bytes/s; 50.0 MiB left; 30.0 MiB were in Azure already; "
        "2 retries; 1 failed"
    )


def test_line_while_listing() -> None:
    """While the listing goes on, nothing is said about what is left."""
    totals = Totals(objects_total=10_000, objects_done=7, bytes_total=100 * MIB, bytes_sent=MIB)
    line = progress_line(ProgressSnapshot(totals, 10, MIB, listing=True))
    assert line == "7 of 10,000 or more objects; 1.0 MiB of 100.0 MiB; 1.0 MiB/s"


def test_notes_are_for_the_web_page() -> None:
    """The last note holds the final counts, under the documented key."""
    progress, notes = Progress(), MemoryTaskStateStore()
    result = watched(
        lambda: progress.add(objects_total=1, objects_done=1, bytes_sent=5),
        reporter=ProgressReporter(progress, notes=notes),
        cancelled=threading.Event(),
    )
    assert result is None
    note = notes.values[PROGRESS_KEY]
    assert (note["objects_done"], note["bytes_sent"]) == (1, 5)
    assert {"bytes_per_second", "seconds", "updated_at", "retries", "bytes_resumed"} <= set(note)


@pytest.mark.parametrize(("try_number", "stretches"), [(1, 1), (2, 2)])
def test_a_retry_asks_what_was_noted_before(try_number: int, stretches: int) -> None:
    """A first try has nothing to ask for; each question is a request to the API server."""
    notes = MemoryTaskStateStore()
    notes.values[PROGRESS_KEY] = {"throughput": [[0, 5, 7]]}
    progress = Progress()
    progress.add(bytes_sent=9)
    ProgressReporter(progress, notes=notes, try_number=try_number).close()
    assert len(notes.values[PROGRESS_KEY]["throughput"]) == stretches
    assert notes.asked == try_number - 1


def test_broken_notes_never_hurt(caplog: pytest.LogCaptureFixture) -> None:
    """A state store that fails is told about once, then left alone."""
    notes = BrokenTaskStateStore()
    reporter = ProgressReporter(Progress(), notes=notes)
    with caplog.at_level(logging.WARNING):
        reporter.tell()
        reporter.tell()
        reporter.close()
    assert notes.asked == 1
    assert [record.message for record in caplog.records] == [
        "Progress cannot be shown in the web UI (no API server); the transfer goes on"
    ]


def test_lines_come_less_and_less_often(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The first line comes soon, then ever later, at last one a minute: ten hours are 600 lines, not 7,200."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(watch, "time", SimpleNamespace(monotonic=lambda: clock.now))
    reporter, told = ProgressReporter(Progress(), notes=None), []
    with caplog.at_level(logging.INFO):
        for second in range(400):
            clock.now = float(second)
            before = len(caplog.messages)
            reporter.tell()
            told += [second] * (len(caplog.messages) - before)
    assert told == [5, 15, 35, 75, 135, 195, 255, 315, 375]


def test_the_works_error_is_raised() -> None:
    """What fails in the thread fails in the task."""

    def work() -> None:
        raise ObjectNotFound(key="k", bucket="b")

    with pytest.raises(ObjectNotFound):
        watched(work, reporter=ProgressReporter(Progress(), notes=None), cancelled=threading.Event())


def test_a_stop_waits_for_the_work_to_end() -> None:
    """The event that on_kill sets ends the work, whose own error is what counts."""
    cancelled = threading.Event()

    def work() -> None:
        cancelled.set()
        raise Cancelled.now()

    with pytest.raises(Cancelled):
        watched(work, reporter=ProgressReporter(Progress(), notes=None), cancelled=cancelled)


def test_a_stop_does_not_wait_forever() -> None:
    """Work that hangs is left behind."""
    cancelled, hanging = threading.Event(), threading.Event()
    cancelled.set()
    try:
        with pytest.raises(Cancelled):
            watched(lambda: hanging.wait(60), reporter=ProgressReporter(Progress(), notes=None), cancelled=cancelled)
    finally:
        hanging.set()


def test_an_interruption_stops_the_work() -> None:
    """What Airflow raises in the main thread stops the transfer, and is raised on."""
    cancelled, seen = threading.Event(), threading.Event()

    class Interrupted(ProgressReporter):
        """Stands for Airflow's alarm signal."""

        def tell(self) -> None:
            raise AirflowTaskTimeout

    def work() -> None:
        if cancelled.wait(60):
            seen.set()

    with pytest.raises(AirflowTaskTimeout):
        watched(work, reporter=Interrupted(Progress(), notes=None), cancelled=cancelled)
    assert seen.wait(5)


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=300))
def test_no_byte_is_lost(amounts: list[int]) -> None:
    """However often it is told, few stretches remain, and they hold all bytes."""
    throughput, sent = Throughput(1_000.0), 0
    for number, amount in enumerate(amounts, 1):
        sent += amount
        throughput.add(1_000.0 + 5 * number, sent)
    kept = throughput.as_lists()
    assert len(kept) <= MOST_STRETCHES
    assert sum(size for _, _, size in kept) == sent
    assert (kept[0][0], kept[-1][1]) == (1_000, 1_000 + 5 * len(amounts))


def test_stretches_stay_about_equally_long() -> None:
    """After hours no stretch is a large part of the time."""
    throughput = Throughput(0.0)
    for number in range(1, 5_000):
        throughput.add(5.0 * number, number)
    lengths = [end - start for start, end, _ in throughput.as_lists()]
    assert max(lengths) <= 4 * 25_000 / MOST_STRETCHES


def test_an_earlier_try_goes_on() -> None:
    """What an earlier try noted comes first."""
    first = Throughput(100.0)
    first.add(105.0, 7)
    second = Throughput(200.0, read_stretches(first.as_lists()))
    second.add(205.0, 9)
    assert second.as_lists() == [[100, 105, 7], [200, 205, 9]]


def test_reads_only_what_it_wrote() -> None:
    """Anything else in the state store is left out, never an error."""
    wrong: list[object] = [None, {}, "x", [1], [[1, 2]], [["a", 2, 3]], [[3, 2, 1]], [[1, 2, -1]], [[-1, 2, 1]]]
    for value in [*wrong, [[1, 2, 3.5]]]:
        assert read_stretches(value) == []
    assert read_stretches([[1, 2, 3]]) == [(1, 2, 3)]


@given(
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(0, 1 << 40)), min_size=1, max_size=30)
)
def test_rates_hold_all_bytes(values: list[tuple[int, int, int]]) -> None:
    """The area below the drawn rates is what was sent."""
    stretches = [Stretch(start, start + length, size) for start, length, size in values]
    start_s, width_s, found = rates(stretches, bins=60)
    sent = sum(stretch.size_bytes for stretch in stretches)
    assert 1 <= len(found) <= 60
    assert start_s == min(stretch.start_s for stretch in stretches)
    # Each rate is rounded.
    assert abs(sum(found) * width_s - sent) <= 60 * width_s + sent * 1e-9


def test_no_rates_of_nothing() -> None:
    """Before anything was sent there is nothing to draw."""
    assert rates([], bins=60) == (0.0, 0.0, [])
