"""The retry loop: its budget, the wait that a service asks for, and cancellation."""

import logging
import threading
from collections.abc import Callable, Iterator
from itertools import chain, islice
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import (
    S3,
    AccessDenied,
    Cancelled,
    ConnectionFailed,
    ObjectNotFound,
    ServerFailed,
    Throttled,
    TransientError,
)
from s3_to_azure.model.log_lines import SHOWN
from s3_to_azure.model.retry import Retrier, with_retries
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.stores.http.pages import Pages
from tests.runs.nights import QUICK


class Clockwork(threading.Event):
    """A stop event that records the waits instead of sleeping, and can be set during the n-th."""

    def __init__(self, *, stop_at: int | None = None) -> None:
        super().__init__()
        self.waits: list[float | None] = []
        self._stop_at = stop_at

    def wait(self, timeout: float | None = None) -> bool:
        """Record the wait; return whether the event is set."""
        self.waits.append(timeout)
        if self._stop_at == len(self.waits):
            self.set()
        return self.is_set()


class Flaky:
    """A request that fails as told, and then succeeds."""

    def __init__(self, *errors: Exception) -> None:
        self._errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        """Raise the next failure, or return."""
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "done"


def reset() -> ConnectionFailed:
    """Return a transient error."""
    return ConnectionFailed(service="S3", resource="'k'", detail="reset")


def slow_down(seconds: Any) -> Throttled:
    """Return an error with the wait that the service asks for."""
    return Throttled(service="S3", code="SlowDown", retry_after_s=seconds)


BUDGET = RetryBudget(attempts=4, first_wait_s=1.0, longest_wait_s=3.0)


def test_a_call_succeeds_within_the_budget() -> None:
    """Three of four tries may fail; each retry is counted, and each wait is within its bound."""
    clock, counted = Clockwork(), list[TransientError]()
    request = Flaky(reset(), reset(), reset())
    assert Retrier(BUDGET, clock, counted.append).call("read", request) == "done"
    assert request.calls == 4
    assert len(counted) == 3
    assert len(clock.waits) == 3
    for wait_s, bound in zip(clock.waits, (1.0, 2.0, 3.0), strict=True):
        assert wait_s is not None
        assert 0 <= wait_s <= bound


def test_the_last_error_is_raised_when_the_budget_is_used_up() -> None:
    """No try is made beyond the budget."""
    last = reset()
    request = Flaky(reset(), reset(), reset(), last, reset())
    with pytest.raises(ConnectionFailed) as caught:
        Retrier(BUDGET, Clockwork()).call("read", request)
    assert caught.value is last
    assert request.calls == 4


@pytest.mark.parametrize("error", [ObjectNotFound(bucket="b", key="k"), ValueError("ours"), Cancelled.now()])
def test_other_errors_are_not_retried(error: Exception) -> None:
    """Permanent errors, bugs and a cancellation are raised at once."""
    request, clock = Flaky(error), Clockwork()
    with pytest.raises(type(error)):
        Retrier(BUDGET, clock).call("read", request)
    assert (request.calls, clock.waits) == (1, [])


@pytest.mark.parametrize(("wish", "waited"), [(7, 7.0), (0.25, 0.25), (0, 0.0), (86_400, 120.0)])
def test_retry_after_is_respected(wish: float, waited: float) -> None:
    """The wait that the service asks for may exceed the longest wait, but is bounded."""
    clock = Clockwork()
    Retrier(BUDGET, clock).call("read", Flaky(slow_down(wish)))
    assert clock.waits == [waited]
    clock = Clockwork()
    Retrier(BUDGET, clock).pause(1, slow_down(wish))
    assert clock.waits == [waited]


def test_throttling_without_retry_after_waits_as_usual() -> None:
    """The wait is random below the usual bound."""
    clock = Clockwork()
    Retrier(BUDGET, clock).call("read", Flaky(slow_down(None)))
    assert len(clock.waits) == 1
    assert 0 <= (clock.waits[0] or 0) <= 1.0


@pytest.mark.parametrize("failures", [1, 2, 3, 10, 60])
def test_a_pause_is_bounded(failures: int) -> None:
    """A wait never exceeds the longest one, after any number of failures."""
    clock = Clockwork()
    Retrier(BUDGET, clock).pause(failures, reset())
    assert 0 <= (clock.waits[0] or 0) <= min(2 ** (failures - 1), 3.0)


def test_waits_are_random() -> None:
    """Many workers must not retry at the same moment."""
    clock = Clockwork()
    for _ in range(20):
        Retrier(BUDGET, clock).pause(3, reset())
    assert len(set(clock.waits)) > 1


def test_a_cancelled_task_sends_nothing() -> None:
    """Not even the first try is made."""
    clock = Clockwork()
    clock.set()
    request = Flaky()
    with pytest.raises(Cancelled):
        Retrier(BUDGET, clock).call("read", request)
    assert request.calls == 0


def test_a_cancellation_ends_a_wait() -> None:
    """No further try is made."""
    request = Flaky(reset(), reset())
    with pytest.raises(Cancelled):
        Retrier(BUDGET, Clockwork(stop_at=1)).call("read", request)
    assert request.calls == 1
    with pytest.raises(Cancelled):
        Retrier(BUDGET, Clockwork(stop_at=1)).pause(1, reset())


def test_another_event_can_end_the_waits() -> None:
    """The retrier of one transfer ends with the transfer; retries are counted as before."""
    counted = list[TransientError]()
    own = Clockwork(stop_at=1)
    retrier = Retrier(BUDGET, threading.Event(), counted.append).within(own)
    with pytest.raises(Cancelled):
        retrier.call("read", Flaky(reset()))
    assert len(counted) == 1


def test_each_retry_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """The log names the action, the error and the next try; a success is not logged."""
    with caplog.at_level(logging.INFO, logger="s3_to_azure"):
        Retrier(BUDGET, Clockwork()).call("look at blob 'b'", Flaky(reset()))
        Retrier(BUDGET, Clockwork()).pause(2, reset())
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "Try 1 of 4 to look at blob 'b' failed" in caplog.messages[0]
    assert "reset" in caplog.messages[1]


def test_thousands_of_retries_take_few_lines(caplog: pytest.LogCaptureFixture) -> None:
    """The first ones of each cause in full, and then their number: of all retriers that were made of one."""
    retrier = Retrier(BUDGET, Clockwork())
    counted = list[TransientError]()
    for _ in range(500):
        retrier.counting(counted.append).call("read a block", Flaky(reset()))
        retrier.within(Clockwork()).call("read a block", Flaky(reset()))
    retrier.lines.end()
    assert len(counted) == 500
    assert len(caplog.messages) == SHOWN + 2
    assert caplog.messages[-1].startswith("980 more lines like this: Try 1 of 4 to read a block failed, next in ")


FAILED = ServerFailed(service="S3", status=500, code="InternalError", resource="a page")
DENIED = AccessDenied(service="S3", resource="a page", code="AccessDenied", cure="Grant s3:ListBucket.")


def retrier() -> Retrier:
    """Return a retrier with three tries and almost no waits."""
    return Retrier(QUICK, threading.Event())


class Service:
    """Yields items page by page, with errors before some pages."""

    def __init__(self, items: list[int], page: int, errors: dict[int, list[Exception]] | None = None) -> None:
        self.asked: list[str | None] = []
        self._items = items
        self._page = page
        self._errors = errors or {}

    def ask(self, token: str | None) -> tuple[list[int], str | None]:
        """Return a page, or raise."""
        self.asked.append(token)
        start = int(token or 0)
        if self._errors.get(start):
            raise self._errors[start].pop()
        end = start + self._page
        return self._items[start:end], str(end) if end < len(self._items) else None

    def pages(self, limit: int | None = None) -> Pages[int, str]:
        """Return the listing."""
        return Pages(self.ask, name_of=int, service=S3, resource="numbers", limit=limit)


@given(
    count=st.integers(0, 30),
    page=st.integers(1, 7),
    failures=st.dictionaries(st.integers(0, 30), st.integers(0, 3)),
    limit=st.one_of(st.none(), st.integers(0, 40)),
)
def test_failed_pages_are_requested_again(count: int, page: int, failures: dict[int, int], limit: int | None) -> None:
    """Each item comes once and in order, whichever pages fail within the budget."""
    items = list(range(count))
    service = Service(items, page, {start: [FAILED] * number for start, number in failures.items()})
    assert list(with_retries(service.pages(limit), retrier(), "list")) == items[:limit]


def test_a_listing_fails_when_the_budget_is_used_up() -> None:
    """The first failure and the tries of the budget are counted."""
    service = Service([1, 2], 1, {1: [FAILED] * 50})
    with pytest.raises(ServerFailed):
        list(with_retries(service.pages(), retrier(), "list"))
    assert service.asked == [None, "1", "1", "1", "1"]


def test_a_permanent_error_is_raised_at_once() -> None:
    """A retry cannot help a denied listing."""
    service = Service([1], 1, {0: [DENIED]})
    with pytest.raises(AccessDenied):
        list(with_retries(service.pages(), retrier(), "list"))
    assert len(service.asked) == 1


def test_a_cancelled_task_waits_for_no_page() -> None:
    """The cancellation ends the wait."""
    stopped = threading.Event()
    stopped.set()
    service = Service([1], 1, {0: [FAILED]})
    with pytest.raises(Cancelled):
        list(with_retries(service.pages(), Retrier(QUICK, stopped), "list"))


@pytest.mark.parametrize(
    "wrapped",
    [iter, lambda listing: map(str, listing), lambda listing: filter(None, listing), chain, lambda it: islice(it, 9)],
)
def test_the_error_of_what_ends_with_it_is_raised(wrapped: Callable[[Iterator[int]], Iterator[Any]]) -> None:
    """A generator ends with its error, and so does what reads it; to continue would look like the listing's end."""

    def listing() -> Iterator[int]:
        yield 1
        raise FAILED

    with pytest.raises(ServerFailed):
        list(with_retries(wrapped(listing()), retrier(), "list"))


def test_pages_are_requested_one_by_one() -> None:
    """Only the current page is in memory, and nothing is requested after the last item."""
    service = Service([1, 2, 3, 4], 2)
    pages = service.pages(3)
    assert service.asked == []
    assert next(pages) == 1
    assert service.asked == [None]
    assert list(pages) == [2, 3]
    assert service.asked == [None, "2"]
