"""A paged listing: one page in memory, a limit, and another try after a failed page."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.stores.http.pages import Pages


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
    assert list(Pages(Listing(count, page).fetch, limit=limit)) == list(range(count))[:limit]


def test_a_page_is_requested_when_it_is_needed() -> None:
    """Nothing before the first item, nothing for the last one, and nothing beyond the limit."""
    listing = Listing(6, 2)
    pages = Pages(listing.fetch, limit=4)
    assert listing.requests == []
    assert [next(pages), next(pages)] == [0, 1]
    assert listing.requests == [None]
    assert list(pages) == [2, 3]
    assert listing.requests == [None, "2"]
    assert list(pages) == []
    assert listing.requests == [None, "2"]


def test_an_empty_page_does_not_end_the_listing() -> None:
    """S3 and Azure may return an empty page with a token."""
    pages = {None: ([], "a"), "a": ([1], "b"), "b": ([], None)}
    assert list(Pages(lambda token: pages[token])) == [1]


def test_the_listing_continues_after_an_error() -> None:
    """The failed page is requested again, with the same token."""
    listing = Listing(3, 2)
    pages = Pages(listing.fetch)
    assert [next(pages), next(pages)] == [0, 1]
    listing.fails = True
    with pytest.raises(ConnectionError):
        next(pages)
    assert list(pages) == [2]
    assert listing.requests == [None, "2", "2"]
