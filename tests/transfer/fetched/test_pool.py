"""The pool: as many fetches at once as Azure's answers allow, in threads that are started when they are needed."""

import threading

import pytest

from s3_to_azure.model.errors import AZURE, Cancelled
from s3_to_azure.transfer.fetched.pool import FetchPool
from s3_to_azure.transfer.throttle import RequestLimiter
from tests.fakes.thread_limit import limit_threads


def pool_of(limit: int, most: int = 100) -> tuple[FetchPool, RequestLimiter]:
    """Return a pool, and what limits it."""
    limiter = RequestLimiter(AZURE, most, first=limit)
    return FetchPool(limiter, may_stream=True), limiter


def fetching_threads() -> set[threading.Thread]:
    """Return the threads of all pools."""
    return {thread for thread in threading.enumerate() if thread.name.startswith("fetch-")}


def test_no_more_than_azure_takes() -> None:
    """The next one waits; a stop ends the wait."""
    pool, limiter = pool_of(2)
    stopped = threading.Event()
    for _ in range(2):
        pool.admit(stopped)
    stopped.set()
    with pytest.raises(Cancelled):
        pool.admit(stopped)
    limiter.increase()
    pool.admit(stopped)
    pool.close()


def test_threads_are_as_many_as_were_ever_needed_at_once() -> None:
    """A thousand fetches, two at a time, need two threads."""
    pool, _ = pool_of(2)
    before, stopped, done = fetching_threads(), threading.Event(), threading.Semaphore(0)

    def job() -> None:
        pool.leave()
        done.release()

    for _ in range(1_000):
        pool.admit(stopped)
        pool.submit(job)
    for _ in range(1_000):
        assert done.acquire(timeout=20)
    started = fetching_threads() - before
    assert 1 <= len(started) <= 2
    pool.close()
    for thread in started:
        thread.join(20)
        assert not thread.is_alive()


@pytest.mark.parametrize("most", [0, 1])
def test_system_that_allows_no_further_thread(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """Every fetch is run, by the threads that there are or else by the caller's."""
    pool, _ = pool_of(4)
    stopped, done = threading.Event(), threading.Semaphore(0)

    def job() -> None:
        pool.leave()
        done.release()

    with monkeypatch.context() as limited:
        asked = limit_threads(limited, "fetch-", most)
        for _ in range(4):
            pool.admit(stopped)
        for _ in range(4):
            pool.submit(job)
    for _ in range(4):
        assert done.acquire(timeout=20)
    assert len(asked) == 4
    assert pool._threads == most
    pool.close()


def test_condition_that_azure_does_not_know() -> None:
    """Once it is known, nobody asks with it."""
    pool, _ = pool_of(1)
    assert pool.sends_condition
    pool.send_no_condition()
    assert not pool.sends_condition
