"""A paged listing: one page in memory, a limit, and another try after a failed page."""

import itertools
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import AZURE, UnexpectedResponse
from s3_to_azure.stores.http.pages import Pages

Fetch = Callable[[str | None], tuple[Sequence[int], str | None]]


def pages_of(fetch: Fetch, limit: int | None = None) -> Pages[int, str]:
    """Return the listing of numbers that are their own names."""
    return Pages(fetch, name_of=int, service=AZURE, resource="numbers", limit=limit)


class Listing:
    """A listing of numbers in pages of a size; ``fails`` makes the next request fail."""

    def __init__(self, count: int, page: int) -> None:
        self.requests: list[str | None] = []
        self.fails = False
        self._items = list(range(count))
        self._page = page

    def fetch(self, token: str | None) -> tuple[list[int], str | None]:
        """Return a page and the next token."""
        self.requests.append(token)
        if self.fails:
            self.fails = False
            raise ConnectionError
        start = int(token or 0)
        end = start + self._page
        return self._items[start:end], str(end) if end < len(self._items) else None


@given(count=st.integers(0, 30), page=st.integers(1, 7), limit=st.none() | st.integers(0, 40))
def test_every_item_comes_once_and_in_order(count: int, page: int, limit: int | None) -> None:
    """Up to the limit."""
    assert list(pages_of(Listing(count, page).fetch, limit)) == list(range(count))[:limit]


def test_a_page_is_requested_when_it_is_needed() -> None:
    """Nothing before the first item, nothing for the last one, and nothing beyond the limit."""
    listing = Listing(6, 2)
    pages = pages_of(listing.fetch, 4)
    assert listing.requests == []
    assert [next(pages), next(pages)] == [0, 1]
    assert listing.requests == [None]
    assert list(pages) == [2, 3]
    assert listing.requests == [None, "2"]
    assert list(pages) == []
    assert listing.requests == [None, "2"]


def test_an_empty_page_does_not_end_the_listing() -> None:
    """S3 and Azure may return an empty page with a token."""
    pages: dict[str | None, tuple[list[int], str | None]] = {None: ([], "a"), "a": ([1], "b"), "b": ([], None)}
    assert list(pages_of(lambda token: pages[token])) == [1]


def test_the_listing_continues_after_an_error() -> None:
    """The failed page is requested again, with the same token."""
    listing = Listing(3, 2)
    pages = pages_of(listing.fetch)
    assert [next(pages), next(pages)] == [0, 1]
    listing.fails = True
    with pytest.raises(ConnectionError):
        next(pages)
    assert list(pages) == [2]
    assert listing.requests == [None, "2", "2"]


def endless(page: Callable[[int], tuple[list[int], str]]) -> Pages[int, str]:
    """Return a listing whose pages follow from the number of the request."""
    numbers = itertools.count()
    return pages_of(lambda _: page(next(numbers)))


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_repeated_continuation_token_is_refused(length: int) -> None:
    """Also if other tokens are in between."""
    with pytest.raises(UnexpectedResponse, match="never end"):
        list(endless(lambda number: ([number], f"t{number % length}")))


@pytest.mark.parametrize("length", [1, 2, 3, 7])
def test_repeated_page_is_refused(length: int) -> None:
    """Also with new tokens."""
    with pytest.raises(UnexpectedResponse, match="never end"):
        list(endless(lambda number: ([number % length], f"t{number}")))


def test_empty_pages_without_end_are_refused() -> None:
    """A few are normal: S3 sends them for a prefix with many delete markers."""
    with pytest.raises(UnexpectedResponse, match="consecutive pages that are empty"):
        list(endless(lambda number: ([], f"t{number}")))


def test_long_listing_with_empty_pages_does_not_raise() -> None:
    """Pages of one item, each after several empty ones."""
    numbers = itertools.count()

    def fetch(_: str | None) -> tuple[list[int], str | None]:
        number = next(numbers)
        return ([] if number % 3 else [number]), None if number == 3_000 else f"t{number}"

    assert list(pages_of(fetch)) == list(range(0, 3_001, 3))
