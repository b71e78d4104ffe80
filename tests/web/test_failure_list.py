"""The list of failed objects: searched, sorted and paged in bounded memory."""

import tracemalloc
from collections.abc import Iterator

import pytest

from s3_to_azure.web import failure_list
from s3_to_azure.web.batch_view import FailedObject
from s3_to_azure.web.failure_list import PAGE_ROWS, FailureQuery, failure_page


def rows(count: int) -> Iterator[FailedObject]:
    """Yield failed objects of two reasons."""
    for number in range(count):
        reason = "access_denied: no" if number % 3 else f"throttled: after {number}"
        yield FailedObject(f"Key-{number:06}", reason, "copy", number % 5, 1, size_bytes=(number * 7919) % count)


def keys(query: FailureQuery, count: int = 10_000) -> list[str]:
    """Return the keys of a page."""
    return [row["key"] for row in failure_page(rows(count), query)["rows"]]


def test_all_pages_together_have_each_object_once() -> None:
    """In the order of the listing; 10,000 objects have 200 pages."""
    found = [key for page in range(1, 22) for key in keys(FailureQuery(page=page), 1_010)]
    assert found == [row.key for row in rows(1_010)]
    last = failure_page(rows(10_000), FailureQuery(page=200))
    assert (last["pages"], last["first"], last["matching"], last["is_cut"]) == (200, 9_951, 10_000, False)
    assert failure_page(rows(10_000), FailureQuery(page=201))["rows"] == []


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("order", ["key", "reason", "size"])
def test_sorted_pages_are_those_of_the_sorted_list(order: str, descending: bool) -> None:
    """Whatever the column and the direction."""
    by = {
        "key": lambda row: row.key,
        "reason": lambda row: (row.reason, row.key),
        "size": lambda row: (row.size_bytes, row.key),
    }[order]
    whole = [row.key for row in sorted(rows(1_000), key=by, reverse=descending)]
    for page in (1, 2, 20):
        query = FailureQuery(order=order, descending=descending, page=page)  # type: ignore[arg-type]
        assert keys(query, 1_000) == whole[(page - 1) * PAGE_ROWS : page * PAGE_ROWS]


def test_search_and_reason_choose() -> None:
    """Case does not matter; both choose together, and all that match are counted."""
    assert keys(FailureQuery(search="key-00001")) == [f"Key-{number:06}" for number in range(10, 20)]
    found = failure_page(rows(900), FailureQuery(reason="throttled"))
    assert (found["matching"], found["pages"]) == (300, 6)
    both = FailureQuery(reason="throttled", search="AFTER 12")
    assert keys(both, 200) == [f"Key-{number:06}" for number in (12, 120, 123, 126, 129)]
    assert failure_page(rows(9), FailureQuery(search="nothing"))["rows"] == []


def test_a_file_of_any_length_costs_bounded_time_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is beyond the limit is not read, and the page says so."""
    monkeypatch.setattr(failure_list, "MOST_READ", 5_000)
    found = failure_page(rows(20_000), FailureQuery(order="size"))
    assert (found["read"], found["matching"], found["is_cut"]) == (5_000, 5_000, True)
    monkeypatch.setattr(failure_list, "MOST_READ", 100_000)
    tracemalloc.start()
    failure_page(rows(20_000), FailureQuery(order="size", page=3))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    # 20,000 rows would take 6 MB.
    assert peak < 1_000_000
