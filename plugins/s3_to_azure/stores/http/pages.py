"""A paged listing that can continue after a page has failed."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Self, TypeVar

T = TypeVar("T")
Token = TypeVar("Token")


class Pages(Generic[T, Token]):
    """Iterates over the items of a listing, with one page in memory.

    Unlike a generator it can continue after an error: the next call requests the failed page again.

    Args:
        fetch_page: Requests the page that a continuation token names, None for the first; returns its items and the
            next page's token, None after the last page.
        limit: Stop after this many items.
    """

    def __init__(
        self, fetch_page: Callable[[Token | None], tuple[Sequence[T], Token | None]], *, limit: int | None = None
    ) -> None:
        self._fetch_page = fetch_page
        self._left = limit
        self._page: Iterator[T] = iter(())
        self._token: Token | None = None
        self._ended = False

    def __iter__(self) -> Self:
        """Return the listing itself."""
        return self

    def __next__(self) -> T:
        """Return the next item, and request the next page when this one is used up."""
        while self._left is None or self._left > 0:
            for item in self._page:
                if self._left is not None:
                    self._left -= 1
                return item
            if self._ended:
                break
            items, self._token = self._fetch_page(self._token)
            self._page = iter(items)
            self._ended = self._token is None
        raise StopIteration
