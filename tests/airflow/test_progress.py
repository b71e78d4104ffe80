"""The progress of a task: its lines in the log, its record in the state store, and how a stop ends it."""

import json
import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from s3_to_azure.airflow import progress as progress_module
from s3_to_azure.airflow.progress import (
    PROGRESS_KEY,
    ProgressReporter,
    ProgressSnapshot,
    XComStore,
    progress_line,
    progress_record,
    progress_store,
)
from s3_to_azure.model.errors import Cancelled, ObjectNotFound
from s3_to_azure.model.progress import Progress, Totals
from s3_to_azure.transfer.watchdog import run_stoppable

MIB = 1024**2
T = TypeVar("T")


class MemoryTaskStateStore:
    """A state store that keeps what it is given."""

    def __init__(self) -> None:
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
        self.asked = 0

    def get(self, key: str) -> object:
        """Fail."""
        self.asked += 1
        raise ConnectionError("no API server")

    def set(self, key: str, value: Any) -> None:
        """Fail."""
        self.asked += 1
        raise ConnectionError("no API server")


def run_watched(work: Callable[[], T], *, reporter: ProgressReporter, cancelled: threading.Event) -> T:
    """Run the work as the operator does, but look often and wait briefly."""
    return run_stoppable(work, cancelled, grace_s=0.2, poll_s=0.01, on_poll=reporter.report, on_end=reporter.close)


def test_line_of_one_object() -> None:
    """One object's line has no count of objects."""
    totals = Totals(objects_total=1, bytes_total=100 * MIB, bytes_sent=25 * MIB)
    assert (
        progress_line(ProgressSnapshot(totals, 10, 5 * MIB))
        == "25.0 MiB of 100.0 MiB (25%); 5.0 MiB/s; 75.0 MiB left, about 15 s"
    )


def test_line_of_many_objects() -> None:
    """A batch's line has every part that can be known."""
    totals = Totals(10, 3, 1, 100 * MIB, 20 * MIB, 30 * MIB, 2)
    assert progress_line(ProgressSnapshot(totals, 10, 0)) == (
        "4 of 10 objects; 50.0 MiB of 100.0 MiB (50%); 0 bytes/s; 50.0 MiB left; 30.0 MiB already in Azure; "
        "2 retries; 1 failed"
    )


def test_line_while_listing() -> None:
    """While the listing goes on, nothing is said about what is left."""
    totals = Totals(objects_total=10_000, objects_done=7, bytes_total=100 * MIB, bytes_sent=MIB)
    line = progress_line(ProgressSnapshot(totals, 10, MIB, is_listing=True))
    assert line == "7 of 10,000 or more objects; 1.0 MiB of 100.0 MiB; 1.0 MiB/s"


def test_the_last_record_holds_the_final_counts() -> None:
    """The Migration page reads them under the documented key."""
    progress, store = Progress(), MemoryTaskStateStore()
    result = run_watched(
        lambda: progress.add(objects_total=1, objects_done=1, bytes_sent=5),
        reporter=ProgressReporter(progress, store=store),
        cancelled=threading.Event(),
    )
    assert result is None
    record = store.values[PROGRESS_KEY]
    assert (record["objects_done"], record["bytes_sent"]) == (1, 5)
    assert {"bytes_per_second", "seconds", "updated_at", "retries", "bytes_resumed"} <= set(record)


@pytest.mark.parametrize(("try_number", "intervals"), [(1, 1), (2, 2)])
def test_only_a_retry_reads_what_was_recorded_before(try_number: int, intervals: int) -> None:
    """Nothing was recorded before a first try, and each read is a request to the API server."""
    store = MemoryTaskStateStore()
    store.values[PROGRESS_KEY] = {"throughput": [[0, 5, 7]]}
    progress = Progress()
    progress.add(bytes_sent=9)
    ProgressReporter(progress, store=store, try_number=try_number).close()
    assert len(store.values[PROGRESS_KEY]["throughput"]) == intervals
    assert store.asked == try_number - 1


def test_a_broken_state_store_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    """A state store that fails is not used again, and stops nothing."""
    store = BrokenTaskStateStore()
    reporter = ProgressReporter(Progress(), store=store)
    with caplog.at_level(logging.WARNING):
        reporter.report()
        reporter.report()
        reporter.close()
    assert store.asked == 1
    assert [record.message for record in caplog.records] == [
        "Progress cannot be shown in the web UI (no API server); the transfer continues"
    ]


def test_log_lines_come_at_growing_intervals(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    """The first line comes after 5 seconds, the intervals double up to a minute: 600 lines in ten hours, not 7,200."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    reporter, logged_at = ProgressReporter(Progress(), store=None), []
    with caplog.at_level(logging.INFO):
        for second in range(400):
            clock.now = float(second)
            before = len(caplog.messages)
            reporter.report()
            logged_at += [second] * (len(caplog.messages) - before)
    assert logged_at == [5, 15, 35, 75, 135, 195, 255, 315, 375]


def test_an_error_of_the_transfer_is_raised() -> None:
    """What fails in the thread fails in the task."""

    def work() -> None:
        raise ObjectNotFound(key="k", bucket="b")

    with pytest.raises(ObjectNotFound):
        run_watched(work, reporter=ProgressReporter(Progress(), store=None), cancelled=threading.Event())


def test_a_stop_waits_for_the_work_to_end() -> None:
    """The event that on_kill sets ends the work, whose own error is raised."""
    cancelled = threading.Event()

    def work() -> None:
        cancelled.set()
        raise Cancelled.now()

    with pytest.raises(Cancelled):
        run_watched(work, reporter=ProgressReporter(Progress(), store=None), cancelled=cancelled)


def test_a_stop_does_not_wait_forever() -> None:
    """Work that hangs is abandoned."""
    cancelled, hanging = threading.Event(), threading.Event()
    reporter = ProgressReporter(Progress(), store=None)
    cancelled.set()
    try:
        with pytest.raises(Cancelled):
            run_watched(lambda: hanging.wait(60), reporter=reporter, cancelled=cancelled)
    finally:
        hanging.set()


def test_an_interruption_stops_the_work() -> None:
    """What Airflow raises in the main thread stops the transfer, and is raised on."""
    cancelled, seen = threading.Event(), threading.Event()

    class Interrupted(ProgressReporter):
        """Stands for Airflow's alarm signal."""

        def report(self) -> None:
            raise AirflowTaskTimeout

    def work() -> None:
        if cancelled.wait(60):
            seen.set()

    with pytest.raises(AirflowTaskTimeout):
        run_watched(work, reporter=Interrupted(Progress(), store=None), cancelled=cancelled)
    assert seen.wait(60)


def test_a_record_is_bounded() -> None:
    """Keys and reasons are cut: the record is stored in Airflow's database every few seconds."""
    record = progress_record(
        ProgressSnapshot(Totals(bytes_sent=5), 1.26, 2.6), [("k" * 1_000, "r" * 1_000)] * 20, [[1, 2, 3]] * 48
    )
    assert (record["seconds"], record["bytes_per_second"], record["bytes_sent"]) == (1.3, 3, 5)
    assert record["throughput"] == [[1, 2, 3]] * 48
    assert {(len(failure["key"]), len(failure["reason"])) for failure in record["failures"]} == {(300, 300)}
    assert len(json.dumps(record)) < 16 * 1024


def test_rate_and_time_left_follow_what_arrives(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a limit the blocks of a minute end together: the rate is that of their bytes, and never above the limit."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    progress = Progress(bytes_total=10_000)
    reporter = ProgressReporter(progress, store=None, limit=100)
    for second in range(1, 61):
        clock.now = float(second)
        progress.add_read(100)
        if second % 30 == 0:
            progress.add(bytes_sent=3_000)
        found = reporter.snapshot()
        assert found.bytes_per_second == 100
        # 100 bytes arrive each second, whatever Azure has confirmed.
        assert found.seconds_left == 100 - second
    progress.add_read(500)
    assert reporter.snapshot().bytes_per_second == 100


def test_the_rate_is_that_of_the_last_half_minute(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pause lowers the rate within half a minute, however much was sent before."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(progress_module, "time", SimpleNamespace(monotonic=lambda: clock.now))
    progress = Progress()
    reporter = ProgressReporter(progress, store=None)
    progress.add(bytes_sent=1_000)
    clock.now = 10.0
    assert reporter.snapshot().bytes_per_second == 100
    clock.now = 50.0
    assert reporter.snapshot().bytes_per_second == 0


def test_progress_is_left_where_this_airflow_keeps_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the task's state store; without one in an XCom of the task; nowhere where no page shows it."""
    pushed: list[dict[str, Any]] = []
    instance = SimpleNamespace(xcom_push=lambda **given: pushed.append(given))
    kept = object()
    assert progress_store({"ti": instance, "task_state_store": kept}) is kept
    store = progress_store({"ti": instance})
    assert isinstance(store, XComStore)
    store.set(PROGRESS_KEY, {"bytes_sent": 1})
    assert pushed == [{"key": PROGRESS_KEY, "value": {"bytes_sent": 1}}]
    assert store.get(PROGRESS_KEY) is None
    assert progress_store({}) is None
    monkeypatch.setattr(progress_module, "MIGRATION_PAGE", "")
    assert progress_store({"ti": instance}) is None
