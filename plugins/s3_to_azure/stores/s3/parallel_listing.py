"""A listing whose pages are requested side by side, and whose objects come in the order of their keys.

S3 returns 1,000 keys a page, and each page names the next: one after the other, a hundred million keys take hours. But
a listing can also start after any text. So the pages that come next are requested at the same time, from where they
probably start: as far from each other as the keys of the pages before. A guess that is wrong costs a request, never a
key: what was received covers the keys from its start to its last key, and only what is covered without a gap is
yielded.

Nothing is taken on trust. If a page does not ascend from its start, or if two pages that overlap differ and the store
does not explain it by a change, the rest is listed page after page from the last object on.
"""

import logging
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from itertools import groupby
from math import prod
from operator import attrgetter
from string import ascii_lowercase, ascii_uppercase, digits, hexdigits
from typing import Final, Self

from s3_to_azure.model.errors import S3, TransientError, UnexpectedResponse
from s3_to_azure.model.limits import LISTING_REQUESTS
from s3_to_azure.model.names import is_shown_only
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.stores.http.pages import Pages
from s3_to_azure.stores.s3.listing import NextPage

# Pages that wait for their turn. Those that were guessed too far ahead are given up, and requested again later.
_MAX_WAITING: Final = 3 * LISTING_REQUESTS
_MAX_EMPTY_PAGES: Final = 1_000
# The next page is requested a little before the end of the one before, so that there is rarely a gap between them.
_OVERLAP: Final = 0.1
# Every so many keys of a page are looked at.
_SAMPLE: Final = 25
_MAX_FOLDERS_LENGTH: Final = 200
_MAX_ACROSS: Final = 3
_HEX_DIGITS: Final = frozenset(hexdigits[:16])
# Above it, stores that compare UTF-16 have another order than those that compare bytes.
_LAST_COMPARABLE: Final = "\ud7ff"

Page = tuple[Sequence[ListedObject], NextPage | None]
FetchPage = Callable[[str | None, NextPage | None], Page]

log = logging.getLogger(__name__)
_key_of = attrgetter("key")


@dataclass(eq=False, frozen=True, slots=True)
class _Stretch:
    """All keys after ``after`` and up to ``end``; without an end up to the last key of all."""

    after: str
    end: str | None
    objects: Sequence[ListedObject]
    guesses: "_Guesses | None" = None

    def reaches_beyond(self, key: str) -> bool:
        return self.end is None or self.end > key

    def keys(self, after: str, until: str | None) -> list[str]:
        """Return its keys after one key and up to another."""
        start = bisect_right(self.objects, after, key=_key_of)
        stop = None if until is None else bisect_right(self.objects, until, key=_key_of)
        return [listed.key for listed in self.objects[start:stop]]


@dataclass(eq=False, frozen=True, slots=True)
class _Request:
    """A page that was requested; ``end`` is where it probably ends, None if nothing can be said."""

    after: str
    end: str | None
    page: "Future[_Stretch]"
    guesses: None = None


class ParallelListing:
    """Iterates over the objects below a prefix in the order of their keys; continues after an error.

    A listing of one page costs one request, and starts no thread.

    Args:
        fetch_page: Requests a page: the first, the one after a key, or the one that the page before it names. It is
            called from several threads.
        resource: What is listed, for errors and the log.
        at_once: Requests at the same time.
    """

    def __init__(self, fetch_page: FetchPage, *, resource: str, at_once: int = LISTING_REQUESTS) -> None:
        self._fetch_page = fetch_page
        self._resource = resource
        self._most = self._at_once = at_once
        self._page: Iterator[ListedObject] = iter(())
        self._plain: Iterator[ListedObject] | None = None
        self._first: Page | None = None
        # The stretch that is being yielded: all before its end is done once ``_page`` is used up.
        self._current: _Stretch | None = None
        self._known: list[_Stretch] = []
        self._requests: list[_Request] = []
        self._guesses: _Guesses | None = None
        self._across = 0
        self._folders = _Folders()
        # How much of a page was new, of late.
        self._worth = 1.0
        self._threads: ThreadPoolExecutor | None = None

    def __iter__(self) -> Self:
        """Return the listing itself."""
        return self

    def __next__(self) -> ListedObject:
        """Return the next object.

        Raises:
            TransferError: A page cannot be had. After a transient error the next call asks for it again.
        """
        while self._plain is None:
            for listed in self._page:
                return listed
            if self._current is None:
                self._begin()
            elif self._current.end is None:
                self._stop()
                raise StopIteration
            else:
                self._go_on(self._current, self._current.end)
        return next(self._plain)

    def _begin(self) -> None:
        """Request the first page; if there are more, find out whether the store can start after a key."""
        if self._first is None:
            self._first = self._fetch_page(None, None)
        objects, following = self._first
        if following is None or following.is_marker or len(objects) < 2 or not _is_in_order("", objects):
            self._list_plainly(None)
            return
        before, last = objects[-2].key, objects[-1].key
        second = self._fetch(before)
        if not second.objects or second.objects[0].key != last or not _is_in_order(before, second.objects):
            self._list_plainly(None)
            return
        self._threads = ThreadPoolExecutor(self._most, thread_name_prefix="list")
        self._known.append(second)
        self._take(_Stretch("", last, objects, _Guesses(objects)), "")

    def _list_plainly(self, after: str | None) -> None:
        """List the rest page after page, from a key on or from the first page."""
        first = self._first if after is None else None

        def fetch_page(start: NextPage | None) -> Page:
            if start is None:
                return first or self._fetch_page(after, None)
            return self._fetch_page(None, start)

        self._plain = Pages(fetch_page, name_of=_key_of, service=S3, resource=self._resource)
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

    def _go_on(self, current: _Stretch, done: str) -> None:
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
            known = bisect_right(stretch.objects, done, key=_key_of)
            self._worth += 0.1 * (1 - known / max(1, len(stretch.objects)) - self._worth)
            if stretch.reaches_beyond(done):
                self._take(stretch, done)
                return
        self._request(done, is_needed=not any(request.after <= done for request in self._requests))
        wait([request.page for request in self._requests], return_when=FIRST_COMPLETED)

    def _take(self, stretch: _Stretch, done: str) -> None:
        """Yield what a stretch has behind a key."""
        self._current = stretch
        self._page = iter(stretch.objects[bisect_right(stretch.objects, done, key=_key_of) :])
        self._learn(stretch.guesses)
        self._folders.learn(stretch.objects)
        if stretch.end is not None:
            self._request(stretch.end)

    def _learn(self, guesses: "_Guesses | None") -> None:
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
        assert self._threads is not None
        position: str | None = done
        guesses = self._guesses
        covering: list[_Stretch | _Request] = sorted(
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
            if not is_needed and (len(self._requests) >= self._allowed() or waiting >= _MAX_WAITING):
                return
            is_needed = False
            waiting += 1
            guess = guesses.after(position) if guesses else None
            end = self._folders.next_after(position, guess, guesses.start) if guesses and guess else None
            self._requests.append(_Request(position, end, self._threads.submit(self._fetch, position)))
            position = end

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
            comparable = next((at for at, it in enumerate(stretch.objects) if not _is_comparable(it)), None)
            if comparable is not None:
                # Nobody can say on which side of a text such a key is. What is before it is known.
                objects = stretch.objects[:comparable]
                if not objects and request.after == done:
                    self._list_plainly(done)
                    return
                stretch = _Stretch(stretch.after, objects[-1].key if objects else stretch.after, objects)
            if not _is_in_order(request.after, stretch.objects):
                self._distrust("its keys do not ascend", done)
                return
            self._known.append(stretch)
        self._known.sort(key=attrgetter("after"))
        del self._known[_MAX_WAITING:]
        if failure is not None:
            raise failure

    def _fetch(self, after: str) -> _Stretch:
        """Request the page after a key, and those that follow it as long as they are empty."""
        objects, following = self._fetch_page(after, None)
        for _ in range(_MAX_EMPTY_PAGES):
            if objects or following is None:
                guesses = _Guesses(objects) if len(objects) > 1 else None
                return _Stretch(after, objects[-1].key if objects and following else None, objects, guesses)
            objects, following = self._fetch_page(None, following)
        detail = f"the listing has {_MAX_EMPTY_PAGES:,} consecutive pages that are empty"
        raise UnexpectedResponse(service=S3, resource=self._resource, detail=detail)


class _Guesses:
    """Where the pages after a page probably start.

    The keys of a page are read as numbers: those characters in which its first and last key differ are the digits. The
    next page is about as far away as these two are from each other.

    Args:
        objects: The page.

    Attributes:
        start: The position of the first digit.
    """

    _DIGITS: Final = 12

    def __init__(self, objects: Sequence[ListedObject]) -> None:
        first, last = objects[0].key, objects[-1].key
        self.start = _common(first, last)
        keys = [listed.key for listed in objects[::_SAMPLE]] + [last]
        columns = [{key[at] for key in keys if at < len(key)} for at in range(self.start, self.start + self._DIGITS)]
        self._alphabets = _alphabets([column for column in columns if column])
        self._sizes = [len(alphabet) for alphabet in self._alphabets]
        distance = self._number(last) - self._number(first)
        self._distance = max(1, int(distance * len(objects) / (len(objects) - 1) * (1 - _OVERLAP)))

    def after(self, key: str) -> str | None:
        """Return where the page that starts after a key probably ends, or None if nothing can be said."""
        rest = self._number(key) + self._distance
        overflow, rest = divmod(rest, prod(self._sizes))
        characters = []
        for alphabet in reversed(self._alphabets):
            rest, index = divmod(rest, len(alphabet))
            characters.append(alphabet[index])
        beginning: str | None = key[: self.start]
        if overflow:
            beginning = _counted_on(key[: self.start], self._alphabets[0])
        if beginning is None:
            return None
        guess = beginning + "".join(reversed(characters))
        return guess if guess > key else None

    def _number(self, key: str) -> int:
        number = 0
        for at, alphabet in enumerate(self._alphabets, self.start):
            index = bisect_left(alphabet, key[at]) if at < len(key) else 0
            number = number * len(alphabet) + min(index, len(alphabet) - 1)
        return number


class _Folders:
    """How far the names in a folder go, as the folders before it have shown: behind that, the next folder follows."""

    def __init__(self) -> None:
        # By depth: the current folder and the first name in it; the first and the last name of the one before.
        self._current: dict[int, tuple[str, str]] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._last = ""

    def learn(self, objects: Sequence[ListedObject]) -> None:
        """Look at some keys of the next page in order."""
        for listed in (*objects[::_SAMPLE], *objects[-1:]):
            key = listed.key
            for depth, length in enumerate(_folders_of(key)):
                folder, first = self._current.get(depth, ("", ""))
                if folder == key[:length]:
                    continue
                if folder and self._last.startswith(folder):
                    self._names[depth] = (first, self._last[len(folder) :])
                self._current[depth] = (key[:length], key[length:])
            self._last = key

    def next_after(self, key: str, guess: str, common: int) -> str | None:
        """Return the guess, or where the next folder probably starts if the guess is behind the end of the key's.

        Args:
            key: Where a page starts.
            guess: Where it probably ends.
            common: The length of the name that its keys have in common: they are in one folder of those in it.
        """
        for depth, length in reversed(list(enumerate(_folders_of(key[:common])))):
            folder = key[:length]
            first, last = self._names.get(depth, ("", ""))
            if last and guess > folder + last:
                following = _increased(folder)
                guess = following + first if following else guess
        return guess if guess > key else None


def _folders_of(key: str) -> list[int]:
    """Return the lengths of the key's folders, each with its slash."""
    return [at + 1 for at, character in enumerate(key[:_MAX_FOLDERS_LENGTH]) if character == "/"]


def _alphabets(columns: list[set[str]]) -> list[list[str]]:
    """Return the characters that probably stand where these do, in order.

    A column that shows digits only is hexadecimal if one beside it is.
    """
    found: list[list[str]] = []
    for is_hexadecimal, group in groupby(columns, _HEX_DIGITS.issuperset):
        together = list(group)
        has_letters = is_hexadecimal and any(len(column) > 1 and not column <= set(digits) for column in together)
        found += [_alphabet(column, _HEX_DIGITS if has_letters else frozenset()) for column in together]
    return found


def _alphabet(seen: set[str], least: frozenset[str]) -> list[str]:
    if len(seen) == 1:
        return list(seen)
    if least:
        return sorted(least)
    kinds = [kind for kind in (digits, ascii_uppercase, ascii_lowercase) if not seen.isdisjoint(kind)]
    return sorted(seen.union(*kinds))


def _counted_on(text: str, alphabet: list[str]) -> str | None:
    """Return the text whose last number in these digits is one larger, or else ``_increased`` of it."""
    at = len(text) - 1
    while at >= 0 and text[at] == alphabet[-1]:
        at -= 1
    if len(alphabet) > 1 and at >= 0 and text[at] in alphabet:
        following = alphabet[alphabet.index(text[at]) + 1]
        return text[:at] + following + alphabet[0] * (len(text) - at - 1)
    return _increased(text)


def _increased(text: str) -> str | None:
    """Return the text whose last number is one larger, or whose last character is the next one; None if none is."""
    at = len(text) - 1
    while at >= 0 and not text[at].isalnum():
        at -= 1
    end = at + 1
    while at >= 0 and text[at] == "9":
        at -= 1
    if at >= 0 and text[at] in digits:
        return text[:at] + chr(ord(text[at]) + 1) + "0" * (end - at - 1) + text[end:]
    if end and text[end - 1] < _LAST_COMPARABLE:
        return text[: end - 1] + chr(ord(text[end - 1]) + 1) + text[end:]
    return None


def _agree(one: _Stretch, other: _Stretch) -> bool:
    """Return whether two stretches show the same keys where both know all."""
    after = max(one.after, other.after)
    until = min((stretch.end for stretch in (one, other) if stretch.end is not None), default=None)
    return one.keys(after, until) == other.keys(after, until)


def _is_in_order(after: str, objects: Sequence[ListedObject]) -> bool:
    for listed in objects:
        if listed.key <= after:
            return False
        after = listed.key
    return True


def _is_comparable(listed: ListedObject) -> bool:
    key = listed.key
    return key.isascii() or not (is_shown_only(listed) or max(key) > _LAST_COMPARABLE)


def _common(one: str, other: str) -> int:
    """Return the length of the common beginning."""
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)
