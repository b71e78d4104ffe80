"""A paged listing that can continue after a page has failed, and that comes to an end."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Final, Generic, Self, TypeVar

from s3_to_azure.model.errors import UnexpectedResponse

T = TypeVar("T")
Token = TypeVar("Token", bound=Hashable)

_MAX_EMPTY_PAGES: Final = 1_000


class Pages(Generic[T, Token]):
    """Iterates over the items of a listing, with one page in memory.

    Unlike a generator it can continue after an error: the next call requests the failed page again.

    Args:
        fetch_page: Requests the page that a continuation token names, None for the first; returns its items and the
            next page's token, None after the last page.
        name_of: Returns an item's name.
        service: ``S3`` or ``AZURE``, for errors.
        resource: What is listed, for errors.
        limit: Stop after this many items.
    """

    continues_after_errors: Final = True

    def __init__(
        self,
        fetch_page: Callable[[Token | None], tuple[Sequence[T], Token | None]],
        *,
        name_of: Callable[[T], Hashable],
        service: str,
        resource: str,
        limit: int | None = None,
    ) -> None:
        self._fetch_page = fetch_page
        self._name_of = name_of
        self._guard = _EndlessListingGuard(service, resource)
        self._left = limit
        self._page: Iterator[T] = iter(())
        self._token: Token | None = None
        self._ended = False

    def __iter__(self) -> Self:
        """Return the listing itself."""
        return self

    def __next__(self) -> T:
        """Return the next item, and request the next page when this one is used up.

        Raises:
            UnexpectedResponse: The listing would never end.
        """
        while self._left is None or self._left > 0:
            for item in self._page:
                if self._left is not None:
                    self._left -= 1
                return item
            if self._ended:
                break
            items, token = self._fetch_page(self._token)
            if token is not None:
                names = (self._name_of(items[0]), self._name_of(items[-1]), len(items)) if items else None
                self._guard.check(names, token)
            self._token = token
            self._page = iter(items)
            self._ended = token is None
        raise StopIteration


class _EndlessListingGuard:
    """Refuses a listing that repeats itself, or that shows no item for too many pages. Memory is constant."""

    def __init__(self, service: str, resource: str) -> None:
        self._service = service
        self._resource = resource
        self._pages = 0
        self._empty_pages = 0
        # Brent's algorithm: a cycle of any length comes back to the page that is kept at each power of two.
        self._kept_at = 1
        self._kept: set[Hashable] = set()

    def check(self, names: Hashable | None, token: Hashable) -> None:
        """Check a page that has a next one.

        Args:
            names: What identifies the page's items; None for an empty page.
            token: The next page's token.

        Raises:
            UnexpectedResponse: The service repeats a page or a continuation token, or sends empty pages without end.
        """
        self._pages += 1
        self._empty_pages = self._empty_pages + 1 if names is None else 0
        marks = {token} if names is None else {token, names}
        if marks & self._kept:
            raise self._refused("the listing repeats a page or its continuation token, so it would never end")
        if self._empty_pages >= _MAX_EMPTY_PAGES:
            raise self._refused(f"the listing has {_MAX_EMPTY_PAGES:,} consecutive pages that are empty")
        if self._pages >= self._kept_at:
            self._kept, self._kept_at = marks, 2 * self._pages

    def _refused(self, detail: str) -> UnexpectedResponse:
        return UnexpectedResponse(service=self._service, resource=self._resource, detail=detail)
