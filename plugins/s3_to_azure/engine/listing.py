"""Long listings: one bad answer among a hundred thousand costs a request, not the listing."""

from collections.abc import Generator, Iterable, Iterator
from typing import TypeVar

from s3_to_azure.engine.errors import TransientError
from s3_to_azure.engine.retries import Retrier

T = TypeVar("T")


def patiently(items: Iterable[T], retrier: Retrier, what: str) -> Iterator[T]:
    """Yield the items; where the next one fails for now, ask again within the budget of one request.

    Args:
        items: A listing of a store, which goes on after an error. A generator cannot: its error is raised at once.
        retrier: Tries and waits.
        what: The act, for the log: "list 'a/b'".
    """
    listing = iter(items)
    if isinstance(listing, Generator):
        yield from listing
        return
    end = object()

    def draw() -> T | object:
        return next(listing, end)

    while True:
        try:
            # The retry loop costs as much as an item: only what failed goes through it.
            item = next(listing, end)
        except TransientError as error:
            retrier.pause(1, error)
            item = retrier.call(what, draw)
        if item is end:
            return
        yield item  # type: ignore[misc]  # all but the end are items
