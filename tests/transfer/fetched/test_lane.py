"""The lane: as many fetches at once as Azure's answers allow, in threads that are started when they are needed."""

import threading

import pytest

from s3_to_azure.model.errors import AZURE, Cancelled
from s3_to_azure.transfer.fetched.lane import FetchLane
from s3_to_azure.transfer.throttle import RequestLimiter


def lane_of(limit: int, most: int = 100) -> tuple[FetchLane, RequestLimiter]:
    """Return a lane, and what limits it."""
    limiter = RequestLimiter(AZURE, most, first=limit)
    return FetchLane(limiter, may_stream=True), limiter


def names() -> list[str]:
    """Return the names of the lanes' threads."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("fetch-")]


def test_no_more_than_azure_takes() -> None:
    """The next one waits; a stop ends the wait."""
    lane, limiter = lane_of(2)
    stopped = threading.Event()
    for _ in range(2):
        lane.admit(stopped)
    stopped.set()
    with pytest.raises(Cancelled):
        lane.admit(stopped)
    limiter.increase()
    lane.admit(stopped)
    lane.close()


def test_threads_are_as_many_as_were_ever_needed_at_once() -> None:
    """A thousand fetches, two at a time, need two threads."""
    lane, _ = lane_of(2)
    before, stopped, done = len(names()), threading.Event(), threading.Semaphore(0)
    assert not before

    def job() -> None:
        lane.leave()
        done.release()

    for _ in range(1_000):
        lane.admit(stopped)
        lane.submit(job)
    for _ in range(1_000):
        assert done.acquire(timeout=20)
    assert 1 <= len(names()) <= 2
    lane.close()
    for thread in threading.enumerate():
        if thread.name.startswith("fetch-"):
            thread.join(20)
    assert names() == []


def test_condition_that_azure_does_not_know() -> None:
    """Once it is known, nobody asks with it."""
    lane, _ = lane_of(1)
    assert lane.sends_condition
    lane.send_no_condition()
    assert not lane.sends_condition
