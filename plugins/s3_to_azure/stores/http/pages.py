"""A listing that comes in pages, and survives a page that fails."""

from collections.abc import Callable, Iterator, Sequence
from typing import Generic, Self, TypeVar

T = TypeVar("T")


class Pages(Generic[T]):
    """The items of a listing, a page in memory at a time.

    Unlike a generator it can go on after an error: the next call asks for the page that failed once more.

    Args:
        ask: Asks for the page that a token continues with, None for the first; returns its items and the next page's
            token, None after the last.
        most: End after so many items.
    """

    def __init__(self, ask: Callable[[str | None], tuple[Sequence[T], str | None]], *, most: int | None = None) -> None:
        """Keep the question; nothing is asked yet."""
        self._ask = ask
        self._left = most
        self._page: Iterator[T] = iter(())
        self._token: str | None = None
        self._ended = False

    def __iter__(self) -> Self:
        """Return itself."""
        return self

    def __next__(self) -> T:
        """Return the next item; ask for the next page where this one is at its end."""
        while self._left is None or self._left > 0:
            for item in self._page:
                if self._left is not None:
                    self._left -= 1
                return item
            if self._ended:
                break
            items, self._token = self._ask(self._token)
            self._page = iter(items)
            self._ended = self._token is None
        raise StopIteration
