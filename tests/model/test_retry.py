"""The one retry loop: its budget, the service's own wish, and the stop."""

import logging
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import (
    AccessDenied,
    Cancelled,
    ConnectionFailed,
    ObjectNotFound,
    ServerFailed,
    Throttled,
    TransientError,
)
from s3_to_azure.model.retry import Retrier, with_retries
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.stores.http.pages import Pages
from tests.runs.nights import QUICK


class Clockwork(threading.Event):
    """A stop event that notes the waits instead of sleeping, and can be set during the n-th."""

    def __init__(self, *, stop_at: int | None = None) -> None:
        """Note nothing yet."""
        super().__init__()
        self.waits: list[float | None] = []
        self._stop_at = stop_at

    def wait(self, timeout: float | None = None) -> bool:
        """Note the wait; say whether the stop came."""
        self.waits.append(timeout)
        if self._stop_at == len(self.waits):
            self.set()
        return self.is_set()


class Flaky:
    """A request that fails so many times, then returns."""

    def __init__(self, *errors: Exception) -> None:
        """Keep the failures in order."""
        self._errors = list(errors)
        self.calls = 0

    def __call__(self) -> str:
        """Fail or return."""
        self.calls += 1
        if self._errors:
            raise self._errors.pop(0)
        return "done"


def reset() -> ConnectionFailed:
    """Return a transient error."""
    return ConnectionFailed(service="S3", resource="'k'", detail="reset")


def slow_down(seconds: Any) -> Throttled:
    """Return the service's wish to wait."""
    return Throttled(service="S3", code="SlowDown", retry_after_s=seconds)


BUDGET = RetryBudget(attempts=4, first_wait_s=1.0, longest_wait_s=3.0)


def test_succeeds_within_the_budget() -> None:
    """Three failures of four tries are survived, each counted and each wait within its bound."""
    clock, counted = Clockwork(), list[TransientError]()
    request = Flaky(reset(), reset(), reset())
    assert Retrier(BUDGET, clock, counted.append).call("read", request) == "done"
    assert request.calls == 4
    assert len(counted) == 3
    assert len(clock.waits) == 3
    for wait_s, bound in zip(clock.waits, (1.0, 2.0, 3.0), strict=True):
        assert wait_s is not None
        assert 0 <= wait_s <= bound


def test_budget_used_up() -> None:
    """The last try's own error comes out, and no try is made beyond the budget."""
    last = reset()
    request = Flaky(reset(), reset(), reset(), last, reset())
    with pytest.raises(ConnectionFailed) as caught:
        Retrier(BUDGET, Clockwork()).call("read", request)
    assert caught.value is last
    assert request.calls == 4


@pytest.mark.parametrize("error", [ObjectNotFound(bucket="b", key="k"), ValueError("ours"), Cancelled.now()])
def test_what_a_retry_cannot_help_is_not_retried(error: Exception) -> None:
    """Permanent errors, faults of ours and the stop come out at once."""
    request, clock = Flaky(error), Clockwork()
    with pytest.raises(type(error)):
        Retrier(BUDGET, clock).call("read", request)
    assert (request.calls, clock.waits) == (1, [])


@pytest.mark.parametrize(("wish", "waited"), [(7, 7.0), (0.25, 0.25), (0, 0.0), (86_400, 120.0)])
def test_retry_after_is_honoured(wish: float, waited: float) -> None:
    """The service's own wish is waited, also beyond our longest wait, but never for a day."""
    clock = Clockwork()
    Retrier(BUDGET, clock).call("read", Flaky(slow_down(wish)))
    assert clock.waits == [waited]
    clock = Clockwork()
    Retrier(BUDGET, clock).pause(1, slow_down(wish))
    assert clock.waits == [waited]


def test_throttled_without_a_wish_backs_off() -> None:
    """Without Retry-After the usual wait is drawn."""
    clock = Clockwork()
    Retrier(BUDGET, clock).call("read", Flaky(slow_down(None)))
    assert len(clock.waits) == 1
    assert 0 <= (clock.waits[0] or 0) <= 1.0


@pytest.mark.parametrize("failures", [1, 2, 3, 10, 60])
def test_pause_is_bounded(failures: int) -> None:
    """However many failures in a row, a wait stays within the longest."""
    clock = Clockwork()
    Retrier(BUDGET, clock).pause(failures, reset())
    assert 0 <= (clock.waits[0] or 0) <= min(2 ** (failures - 1), 3.0)


def test_waits_differ() -> None:
    """Waits are drawn, so that many workers do not come back in step."""
    clock = Clockwork()
    for _ in range(20):
        Retrier(BUDGET, clock).pause(3, reset())
    assert len(set(clock.waits)) > 1


def test_stop_before_the_first_try() -> None:
    """A stopped task sends nothing more."""
    clock = Clockwork()
    clock.set()
    request = Flaky()
    with pytest.raises(Cancelled):
        Retrier(BUDGET, clock).call("read", request)
    assert request.calls == 0


def test_stop_during_a_wait() -> None:
    """The stop ends a wait, and no further try is made."""
    request = Flaky(reset(), reset())
    with pytest.raises(Cancelled):
        Retrier(BUDGET, Clockwork(stop_at=1)).call("read", request)
    assert request.calls == 1
    with pytest.raises(Cancelled):
        Retrier(BUDGET, Clockwork(stop_at=1)).pause(1, reset())


def test_within_another_stop() -> None:
    """A retrier for one flight ends with that flight's stop; the counter stays."""
    counted = list[TransientError]()
    own = Clockwork(stop_at=1)
    retrier = Retrier(BUDGET, threading.Event(), counted.append).within(own)
    with pytest.raises(Cancelled):
        retrier.call("read", Flaky(reset()))
    assert len(counted) == 1


def test_each_retry_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """Who reads the log sees what failed, why, and when it is tried again; the success says nothing."""
    with caplog.at_level(logging.INFO, logger="s3_to_azure"):
        Retrier(BUDGET, Clockwork()).call("look at blob 'b'", Flaky(reset()))
        Retrier(BUDGET, Clockwork()).pause(2, reset())
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert "Try 1 of 4 to look at blob 'b' failed" in caplog.messages[0]
    assert "reset" in caplog.messages[1]


FAILED = ServerFailed(service="S3", status=500, code="InternalError", resource="a page")
DENIED = AccessDenied(service="S3", resource="a page", code="AccessDenied", permission="s3:ListBucket")


def retrier() -> Retrier:
    """Return one with three tries and no waits to speak of."""
    return Retrier(QUICK, threading.Event())


class Service:
    """Answers page by page, with the errors that are put before an answer."""

    def __init__(self, items: list[int], page: int, errors: dict[int, list[Exception]] | None = None) -> None:
        """Keep all items."""
        self.asked: list[str | None] = []
        self._items = items
        self._page = page
        self._errors = errors or {}

    def ask(self, token: str | None) -> tuple[list[int], str | None]:
        """Answer or fail."""
        self.asked.append(token)
        start = int(token or 0)
        if self._errors.get(start):
            raise self._errors[start].pop()
        end = start + self._page
        return self._items[start:end], str(end) if end < len(self._items) else None


@given(
    count=st.integers(0, 30),
    page=st.integers(1, 7),
    failures=st.dictionaries(st.integers(0, 30), st.integers(0, 3)),
    limit=st.one_of(st.none(), st.integers(0, 40)),
)
def test_failed_pages_are_asked_for_again(count: int, page: int, failures: dict[int, int], limit: int | None) -> None:
    """Whatever pages fail, up to the budget: each item comes once and in order."""
    items = list(range(count))
    service = Service(items, page, {start: [FAILED] * number for start, number in failures.items()})
    assert list(with_retries(Pages(service.ask, limit=limit), retrier(), "list")) == items[:limit]


def test_the_budget_ends() -> None:
    """A page that keeps failing fails the listing; the first failure and the budget's tries are counted."""
    service = Service([1, 2], 1, {1: [FAILED] * 50})
    with pytest.raises(ServerFailed):
        list(with_retries(Pages(service.ask), retrier(), "list"))
    assert service.asked == [None, "1", "1", "1", "1"]


def test_a_permanent_error_is_raised_at_once() -> None:
    """No retry helps a denied listing."""
    service = Service([1], 1, {0: [DENIED]})
    with pytest.raises(AccessDenied):
        list(with_retries(Pages(service.ask), retrier(), "list"))
    assert len(service.asked) == 1


def test_a_stop_ends_the_waiting() -> None:
    """A stopped task does not wait for a page."""
    stopped = threading.Event()
    stopped.set()
    service = Service([1], 1, {0: [FAILED]})
    with pytest.raises(Cancelled):
        list(with_retries(Pages(service.ask), Retrier(QUICK, stopped), "list"))


def test_a_generator_is_never_taken_for_complete() -> None:
    """A generator ends with its error; going on would end the listing as if that were all."""

    def listing() -> Iterator[int]:
        yield 1
        raise FAILED

    with pytest.raises(ServerFailed):
        list(with_retries(listing(), retrier(), "list"))


def test_pages_are_asked_for_one_by_one() -> None:
    """Only the page at hand is in memory, and the last item asks for nothing."""
    service = Service([1, 2, 3, 4], 2)
    pages = Pages(service.ask, limit=3)
    assert service.asked == []
    assert next(pages) == 1
    assert service.asked == [None]
    assert list(pages) == [2, 3]
    assert service.asked == [None, "2"]
