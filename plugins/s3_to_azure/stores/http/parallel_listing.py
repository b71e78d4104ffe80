"""A listing whose pages are requested side by side, and whose items come in the order of their names, called keys here.

S3 returns 1,000 keys a page, Azure 5,000, and each page names the next: one after the other, a hundred million keys
take hours. But a listing can also start at any text. So the pages that come next are requested at the same time, from
where they probably start: as far from each other as the keys of the pages before. A guess that is wrong costs a
request, never a key: what was received covers the keys from its start to its last key, and only what is covered without
a gap is yielded.

Nothing is taken on trust. If a page does not ascend from its start, or if two pages that overlap differ and the store
does not explain it by a change, the rest is listed page after page from the last item on.
"""

import logging
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import islice
from operator import attrgetter, lt
from typing import Final, Generic, Self

from s3_to_azure.model.errors import TransientError, UnexpectedResponse
from s3_to_azure.stores.http.key_guesses import LAST_COMPARABLE, Folders, Guesses
from s3_to_azure.stores.http.pages import Pages, T, Token

_MAX_EMPTY_PAGES: Final = 1_000
_MAX_ACROSS: Final = 3
_NO_PLACE: Final = chr(ord(LAST_COMPARABLE) + 1)

log = logging.getLogger(__name__)


@dataclass(eq=False, frozen=True, slots=True)
class _Stretch(Generic[T]):
    """All items after ``after`` and up to ``end``; without an end up to the last one of all."""

    after: str
    end: str | None
    items: Sequence[T]
    keys: Sequence[str]
    guesses: Guesses | None = None

    def reaches_beyond(self, key: str) -> bool:
        return self.end is None or self.end > key

    def between(self, after: str, until: str | None) -> Sequence[str]:
        """Return its keys after one key and up to another."""
        stop = None if until is None else bisect_right(self.keys, until)
        return self.keys[bisect_right(self.keys, after) : stop]


@dataclass(eq=False, frozen=True, slots=True)
class _Request(Generic[T]):
    """A page that was requested; ``end`` is where it probably ends, None if nothing can be said."""

    after: str
    end: str | None
    page: Future[_Stretch[T]]
    guesses: None = None


class _StartRefused(Exception):
    """The service does not answer the request for the page after a text as it should."""


class ParallelListing(Generic[T, Token]):
    """Iterates over the items below a prefix in the order of their keys; continues after an error.

    A listing of one page costs one request, and starts no thread.

    Args:
        fetch_page: Requests a page: the first, the one after a key, or the one that a page's token names; returns its
            items and the next page's token, None after the last page. It is called from several threads.
        name_of: Returns an item's key.
        service: ``S3`` or ``AZURE``, for errors.
        resource: What is listed, for errors and the log.
        at_once: Requests at the same time.
        max_waiting: Pages in memory. Those that were guessed too far ahead are given up, and requested again later.
        is_named: Whether an item's key is its whole name; others have no place in the order of keys.
        can_start: Whether the service that gives such a token may start after a key. One that cannot is not asked to.
    """

    continues_after_errors: Final = True

    def __init__(
        self,
        fetch_page: Callable[[str | None, Token | None], tuple[Sequence[T], Token | None]],
        *,
        name_of: Callable[[T], str],
        service: str,
        resource: str,
        at_once: int,
        max_waiting: int,
        is_named: Callable[[T], bool] = lambda _: True,
        can_start: Callable[[Token], bool] = lambda _: True,
    ) -> None:
        self._fetch_page = fetch_page
        self._name_of = name_of
        self._is_named = is_named
        self._can_start = can_start
        self._service = service
        self._resource = resource
        self._most = self._at_once = at_once
        self._max_waiting = max_waiting
        self._page: Iterator[T] = iter(())
        self._plain: Iterator[T] | None = None
        self._first: tuple[Sequence[T], Token | None] | None = None
        # The stretch that is being yielded: all before its end is done once ``_page`` is used up.
        self._current: _Stretch[T] | None = None
        self._known: list[_Stretch[T]] = []
        self._requests: list[_Request[T]] = []
        self._guesses: Guesses | None = None
        self._across = 0
        self._folders = Folders()
        # How much of a page was new, of late.
        self._worth = 1.0
        self._threads: ThreadPoolExecutor | None = None

    def __iter__(self) -> Self:
        """Return the listing itself."""
        return self

    def __next__(self) -> T:
        """Return the next item.

        Raises:
            TransferError: A page cannot be had. After a transient error the next call asks for it again.
        """
        while self._plain is None:
            for item in self._page:
                return item
            if self._current is None:
                self._begin()
            elif self._current.end is None:
                self._stop()
                raise StopIteration
            else:
                done = self._current.end
                try:
                    self._go_on(self._current, done)
                except _StartRefused as refused:
                    self._distrust(str(refused), done)
        return next(self._plain)

    def _begin(self) -> None:
        """Request the first page; if there are more, find out whether the store can start after a key."""
        if self._first is None:
            self._first = self._fetch_page(None, None)
        items, following = self._first
        keys = self._keys_of(items)
        if following is None or not self._can_start(following) or len(keys) < 2 or not _can_be_trusted("", keys):
            self._list_plainly(None)
            return
        before, last = keys[-2:]
        try:
            second = self._fetch(before)
        except _StartRefused:
            self._list_plainly(None)
            return
        if not second.keys or second.keys[0] != last or not _can_be_trusted(before, second.keys):
            self._list_plainly(None)
            return
        self._threads = ThreadPoolExecutor(self._most, thread_name_prefix="list")
        self._known.append(second)
        self._take(_Stretch("", last, items, keys, Guesses(keys)), "")

    def _list_plainly(self, after: str | None) -> None:
        """List the rest page after page, from a key on or from the first page."""
        first = self._first if after is None else None

        def fetch_page(start: Token | None) -> tuple[Sequence[T], Token | None]:
            if start is None:
                return first or self._fetch_page(after, None)
            return self._fetch_page(None, start)

        self._plain = Pages(fetch_page, name_of=self._name_of, service=self._service, resource=self._resource)
        self._stop()

    def _distrust(self, reason: str, done: str) -> None:
        log.warning("%s is listed page after page from here on: %s", self._resource, reason)
        self._list_plainly(done)

    def _stop(self) -> None:
        self._known.clear()
        self._requests.clear()
        if self._threads is not None:
            self._threads.shutdown(wait=False, cancel_futures=True)

    # -- side by side ------------------------------------------------------------------------------------------------

    def _go_on(self, current: _Stretch[T], done: str) -> None:
        """Go on behind ``done``, the last key that was yielded."""
        self._collect(done)
        if self._plain is not None:
            return
        for stretch in [stretch for stretch in self._known if stretch.after <= done]:
            if not _agree(current, stretch):
                again = self._fetch(current.after), self._fetch(stretch.after)
                if not _agree(*again):
                    # No key that was added or deleted explains it.
                    self._distrust("its pages contradict each other", done)
                    return
            self._known.remove(stretch)
            known = bisect_right(stretch.keys, done)
            self._worth += 0.1 * (1 - known / max(1, len(stretch.keys)) - self._worth)
            if stretch.reaches_beyond(done):
                self._take(stretch, done)
                return
        self._request(done, is_needed=not any(request.after <= done for request in self._requests))
        wait([request.page for request in self._requests], return_when=FIRST_COMPLETED)

    def _take(self, stretch: _Stretch[T], done: str) -> None:
        """Yield what a stretch has behind a key."""
        self._current = stretch
        self._page = iter(stretch.items[bisect_right(stretch.keys, done) :])
        self._learn(stretch.guesses)
        self._folders.learn(stretch.keys)
        if stretch.end is not None:
            self._request(stretch.end)

    def _learn(self, guesses: Guesses | None) -> None:
        """Take a page's guesses. One that goes from one folder to the next says little about the pages in a folder."""
        is_across = guesses is not None and self._guesses is not None and guesses.start < self._guesses.start
        self._across = self._across + 1 if is_across else 0
        if guesses is not None and (not is_across or self._across >= _MAX_ACROSS):
            self._guesses, self._across = guesses, 0

    def _request(self, done: str, *, is_needed: bool = False) -> None:
        """Request the pages behind a key, as many at the same time as are allowed, from the next gap on.

        Args:
            done: All keys up to this one are known.
            is_needed: The page behind it is wanted now, however many others wait.
        """
        position: str | None = done
        guesses = self._guesses
        covering: list[_Stretch[T] | _Request[T]] = sorted(
            (*self._known, *self._requests), key=attrgetter("after"), reverse=True
        )
        waiting = 0
        while position is not None:
            # What is known, or on its way.
            reaches = position
            while covering and covering[-1].after <= position:
                item = covering.pop()
                waiting += 1
                if item.end is None:
                    return
                if item.end > reaches:
                    reaches = item.end
                    if item.guesses is not None and guesses is not None and item.guesses.start >= guesses.start:
                        guesses = item.guesses
            if reaches > position:
                position = reaches
                continue
            if not is_needed and (len(self._requests) >= self._allowed() or waiting >= self._max_waiting):
                return
            is_needed = False
            waiting += 1
            guess = guesses.after(position) if guesses else None
            end = self._folders.next_after(position, guess, guesses.start) if guesses and guess else None
            self._requests.append(_Request(position, end, self._submitted(position)))
            position = end

    def _submitted(self, after: str) -> Future[_Stretch[T]]:
        """Request the page after a key in a thread; in this one if the system allows this process no further thread."""
        assert self._threads is not None
        try:
            return self._threads.submit(self._fetch, after)
        except RuntimeError:
            page: Future[_Stretch[T]] = Future()
            try:
                page.set_result(self._fetch(after))
            except Exception as error:  # noqa: BLE001 - raised where the page is collected
                page.set_exception(error)
            return page

    def _allowed(self) -> int:
        """Return how many requests may run: fewer while most of them bring what is known already."""
        return max(2, min(self._at_once, round(self._at_once * 2 * self._worth**2)))

    def _collect(self, done: str) -> None:
        """Take what has arrived.

        Raises:
            TransferError: The page that is wanted next cannot be had, or one that no retry can help.
        """
        failure: TransientError | None = None
        for request in [request for request in self._requests if request.page.done()]:
            self._requests.remove(request)
            try:
                stretch = request.page.result()
            except TransientError as error:
                self._at_once = max(1, self._at_once // 2)
                failure = error if request.after <= done else failure
                continue
            self._at_once = min(self._most, self._at_once + 1)
            comparable = next((at for at, key in enumerate(stretch.keys) if not _is_comparable(key)), None)
            if comparable is not None:
                # Nobody can say on which side of a text such a key is. What is before it is known.
                if not comparable and request.after == done:
                    self._list_plainly(done)
                    return
                items, keys = stretch.items[:comparable], stretch.keys[:comparable]
                stretch = _Stretch(stretch.after, keys[-1] if keys else stretch.after, items, keys)
            if not _is_in_order(request.after, stretch.keys):
                self._distrust("its keys do not ascend", done)
                return
            self._known.append(stretch)
        self._known.sort(key=attrgetter("after"))
        del self._known[self._max_waiting :]
        if failure is not None:
            raise failure

    def _fetch(self, after: str) -> _Stretch[T]:
        """Request the page after a key, and those that follow it as long as they are empty."""
        try:
            items, following = self._fetch_page(after, None)
        except UnexpectedResponse as error:
            raise _StartRefused(str(error)) from error
        for _ in range(_MAX_EMPTY_PAGES):
            if items or following is None:
                keys = self._keys_of(items)
                guesses = Guesses(keys) if len(keys) > 1 else None
                return _Stretch(after, keys[-1] if keys and following is not None else None, items, keys, guesses)
            items, following = self._fetch_page(None, following)
        detail = f"the listing has {_MAX_EMPTY_PAGES:,} consecutive pages that are empty"
        raise UnexpectedResponse(service=self._service, resource=self._resource, detail=detail)

    def _keys_of(self, items: Sequence[T]) -> list[str]:
        """Return the items' keys; that of an item which has no place in their order is one that cannot be compared."""
        return [self._name_of(item) if self._is_named(item) else _NO_PLACE for item in items]


def _agree(one: _Stretch[T], other: _Stretch[T]) -> bool:
    """Return whether two stretches show the same keys where both know all."""
    after = max(one.after, other.after)
    until = min((stretch.end for stretch in (one, other) if stretch.end is not None), default=None)
    return one.between(after, until) == other.between(after, until)


def _can_be_trusted(after: str, keys: Sequence[str]) -> bool:
    return _is_in_order(after, keys) and all(map(_is_comparable, keys))


def _is_in_order(after: str, keys: Sequence[str]) -> bool:
    return (not keys or after < keys[0]) and all(map(lt, keys, islice(keys, 1, None)))


def _is_comparable(key: str) -> bool:
    return key.isascii() or max(key) <= LAST_COMPARABLE
