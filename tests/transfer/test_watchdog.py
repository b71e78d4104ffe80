"""``run_stoppable``: the work's outcome, and what a stop or an interruption does to it."""

import copy
import sys
import threading
import time

import pytest

from s3_to_azure.model.errors import Cancelled, ObjectNotFound
from s3_to_azure.transfer.watchdog import (
    BATCH_GRACE_S,
    BLOCKS_GRACE_S,
    OBJECT_GRACE_S,
    PROCESS_GRACE_S,
    TASK_GRACE_S,
    StopEvent,
    TaskStop,
    run_stoppable,
    threads_for_results,
)

GRACE_S = 0.2
POLL_S = 0.01


class Interrupted(BaseException):
    """Stands for an exception that a signal handler raises, such as Airflow's timeout."""


def _interrupt() -> None:
    raise Interrupted


def test_returns_what_the_work_returns() -> None:
    """The work runs in a daemon thread, and its result is returned to the caller."""
    assert run_stoppable(lambda: threading.current_thread().daemon, threading.Event()) is True
    assert run_stoppable(lambda: None, threading.Event()) is None


def test_raises_what_the_work_raises() -> None:
    """An exception in the thread is raised in the caller's thread, even one that is no ``Exception``."""

    def fail() -> None:
        raise ObjectNotFound(key="k", bucket="b")

    with pytest.raises(ObjectNotFound):
        run_stoppable(fail, threading.Event())
    with pytest.raises(Interrupted):
        run_stoppable(_interrupt, threading.Event())


def test_a_stop_waits_for_the_work_to_end() -> None:
    """Work that ends within the grace period after a stop decides what is returned or raised."""
    cancelled = threading.Event()

    def stop_and_fail() -> None:
        cancelled.set()
        time.sleep(3 * POLL_S)
        raise ObjectNotFound(key="k", bucket="b")

    with pytest.raises(ObjectNotFound):
        run_stoppable(stop_and_fail, cancelled, grace_s=5, poll_s=POLL_S)


def test_a_stop_does_not_wait_longer_than_the_grace_period() -> None:
    """Work that hangs is abandoned after the grace period, and its end is not reported."""
    cancelled, hanging, ends = threading.Event(), threading.Event(), list[str]()
    cancelled.set()
    began = time.monotonic()
    try:
        with pytest.raises(Cancelled):
            run_stoppable(
                lambda: hanging.wait(60), cancelled, grace_s=GRACE_S, poll_s=POLL_S, on_end=lambda: ends.append("end")
            )
    finally:
        hanging.set()
    assert GRACE_S <= time.monotonic() - began < 10
    assert ends == []


def test_an_interruption_stops_the_work() -> None:
    """An exception in the waiting thread stops the work, waits the grace period for it, and is raised."""
    cancelled, ended = threading.Event(), threading.Event()

    def work() -> None:
        if cancelled.wait(60):
            time.sleep(3 * POLL_S)
            ended.set()

    with pytest.raises(Interrupted):
        run_stoppable(work, cancelled, grace_s=5, poll_s=POLL_S, on_poll=_interrupt)
    assert ended.is_set()


def test_an_interruption_does_not_wait_longer_than_the_grace_period() -> None:
    """Work that hangs delays the exception in the waiting thread by no more than the grace period."""
    hanging = threading.Event()
    began = time.monotonic()
    try:
        with pytest.raises(Interrupted):
            run_stoppable(
                lambda: hanging.wait(60), threading.Event(), grace_s=GRACE_S, poll_s=POLL_S, on_poll=_interrupt
            )
    finally:
        hanging.set()
    assert GRACE_S <= time.monotonic() - began < 10


@pytest.mark.parametrize("fails", [False, True])
def test_callbacks_run_in_the_waiting_thread(*, fails: bool) -> None:
    """``on_poll`` is called repeatedly while the work runs, ``on_end`` once after it, failed or not."""
    calls = list[tuple[str, bool]]()
    polled = threading.Event()
    here = threading.current_thread()

    def on_poll() -> None:
        calls.append(("poll", threading.current_thread() is here))
        if len(calls) > 2:
            polled.set()

    def work() -> None:
        assert polled.wait(60)
        if fails:
            raise ObjectNotFound(key="k", bucket="b")

    def run() -> None:
        run_stoppable(
            work,
            threading.Event(),
            poll_s=POLL_S,
            on_poll=on_poll,
            on_end=lambda: calls.append(("end", threading.current_thread() is here)),
        )

    if fails:
        with pytest.raises(ObjectNotFound):
            run()
    else:
        run()
    assert [name for name, _ in calls].count("end") == 1
    assert calls[-1] == ("end", True)
    assert set(calls[:-1]) == {("poll", True)}


def test_grace_periods_nest() -> None:
    """Each layer waits longer than the one below it, and all end within three seconds."""
    assert BLOCKS_GRACE_S < OBJECT_GRACE_S < BATCH_GRACE_S < PROCESS_GRACE_S < TASK_GRACE_S < 3


@pytest.mark.parametrize("timeout_s", [60.0, None])
def test_signal_handler_may_set_the_event_that_its_thread_waits_on(timeout_s: float | None) -> None:
    """The handler runs inside of ``wait``, at each of its steps, and neither waits for the other."""
    stop = StopEvent()
    steps = iter(range(3))

    def handler(_frame: object, event: str, _argument: object) -> None:
        # A profiler is called between the steps of this thread, as a signal handler is.
        if event == "c_call" and next(steps, None) == 1:
            stop.set()

    sys.setprofile(handler)
    try:
        assert stop.wait(timeout_s)
    finally:
        sys.setprofile(None)


def test_stop_event_needs_no_lock() -> None:
    """It is set although the lock of ``threading.Event`` is taken, as it may be where a signal interrupts a wait."""
    stop = StopEvent()
    with stop._cond:  # type: ignore[attr-defined]
        stop.set()
    assert stop.is_set()


def test_stop_event_wakes_a_waiting_thread() -> None:
    """A wait ends soon after the event is set, and at its timeout otherwise."""
    stop, ended = StopEvent(), list[bool]()
    assert not stop.wait(0.001)
    thread = threading.Thread(target=lambda: ended.append(stop.wait()))
    thread.start()
    stop.set()
    thread.join(60)
    assert ended == [True]


def test_a_task_is_stopped_before_and_after_its_work_begins() -> None:
    """Airflow may call ``on_kill`` at any time; a later part of the same task does not begin either."""
    task = TaskStop()
    first = task.begin()
    assert not first.is_set()
    assert task.event is first
    second = task.begin()
    task.stop()
    assert second.is_set()
    assert task.begin().is_set()
    assert task.event.is_set()
    early = TaskStop()
    early.stop()
    with pytest.raises(Cancelled):
        run_stoppable(threading.Event().wait, early.begin(), grace_s=GRACE_S, poll_s=POLL_S)


def test_a_task_is_copied_before_its_work_begins() -> None:
    """Airflow copies operators; what stops one copy stops no other."""
    task = TaskStop()
    other = copy.deepcopy(task)
    other.stop()
    assert not task.begin().is_set()


def test_threads_are_stopped_where_nobody_reads_their_results() -> None:
    """The error is raised while they still work; what had not begun never does."""
    cancelled, ended = threading.Event(), threading.Event()
    begun: list[int] = []

    def work(number: int) -> None:
        begun.append(number)
        cancelled.wait()
        ended.wait()

    def fail() -> None:
        with threads_for_results(1, cancelled) as pool:
            for number in range(9):
                pool.submit(work, number)
            while not begun:
                time.sleep(POLL_S)
            raise BrokenPipeError

    with pytest.raises(BrokenPipeError):
        fail()
    assert cancelled.is_set()
    ended.set()
    assert begun == [0]


def test_threads_finish_their_work_after_all_results_are_read() -> None:
    """Nothing is stopped."""
    cancelled = threading.Event()
    with threads_for_results(2, cancelled) as pool:
        found = [pool.submit(abs, number) for number in range(9)]
        assert [future.result() for future in found] == list(range(9))
    assert not cancelled.is_set()
