"""Long listings: a page that fails is asked for again, and nothing is lost or doubled."""

import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import AccessDenied, Cancelled, ServerFailed
from s3_to_azure.model.retry import Retrier, patiently
from s3_to_azure.stores.http.pages import Pages
from tests.engine.nights import QUICK

FAILED = ServerFailed(service="S3", status=500, code="InternalError", thing="a page")
DENIED = AccessDenied(service="S3", thing="a page", code="AccessDenied", permission="s3:ListBucket")


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
    most=st.one_of(st.none(), st.integers(0, 40)),
)
def test_failed_pages_are_asked_for_again(count: int, page: int, failures: dict[int, int], most: int | None) -> None:
    """Whatever pages fail, up to the budget: each item comes once and in order."""
    items = list(range(count))
    service = Service(items, page, {start: [FAILED] * number for start, number in failures.items()})
    assert list(patiently(Pages(service.ask, most=most), retrier(), "list")) == items[:most]


def test_the_budget_ends() -> None:
    """A page that keeps failing fails the listing; the first failure and the budget's tries are counted."""
    service = Service([1, 2], 1, {1: [FAILED] * 50})
    with pytest.raises(ServerFailed):
        list(patiently(Pages(service.ask), retrier(), "list"))
    assert service.asked == [None, "1", "1", "1", "1"]


def test_a_permanent_error_is_raised_at_once() -> None:
    """No retry helps a denied listing."""
    service = Service([1], 1, {0: [DENIED]})
    with pytest.raises(AccessDenied):
        list(patiently(Pages(service.ask), retrier(), "list"))
    assert len(service.asked) == 1


def test_a_stop_ends_the_waiting() -> None:
    """A stopped task does not wait for a page."""
    stopped = threading.Event()
    stopped.set()
    service = Service([1], 1, {0: [FAILED]})
    with pytest.raises(Cancelled):
        list(patiently(Pages(service.ask), Retrier(QUICK, stopped), "list"))


def test_a_generator_is_never_taken_for_complete() -> None:
    """A generator ends with its error; going on would end the listing as if that were all."""

    def listing() -> Iterator[int]:
        yield 1
        raise FAILED

    with pytest.raises(ServerFailed):
        list(patiently(listing(), retrier(), "list"))


def test_pages_are_asked_for_one_by_one() -> None:
    """Only the page at hand is in memory, and the last item asks for nothing."""
    service = Service([1, 2, 3, 4], 2)
    pages = Pages(service.ask, most=3)
    assert service.asked == []
    assert next(pages) == 1
    assert service.asked == [None]
    assert list(pages) == [2, 3]
    assert service.asked == [None, "2"]
