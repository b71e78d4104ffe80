"""Guesses where the next pages of a listing start, from the keys of the pages before it."""

from bisect import bisect_left
from collections.abc import Sequence
from itertools import groupby
from math import prod
from string import ascii_lowercase, ascii_uppercase, digits, hexdigits
from typing import Final

# The next page is requested a little before the end of the one before, so that there is rarely a gap between them.
_OVERLAP: Final = 0.1
# Every so many keys of a page are looked at.
_SAMPLE: Final = 25
_MAX_FOLDERS_LENGTH: Final = 200
_HEX_DIGITS: Final = frozenset(hexdigits[:16])
# Above it, stores that compare UTF-16 have another order than those that compare bytes.
LAST_COMPARABLE: Final = "\ud7ff"


class Guesses:
    """Where the pages after a page probably start.

    The keys of a page are read as numbers: those characters in which its first and last key differ are the digits. The
    next page is about as far away as these two are from each other.

    Args:
        keys: The keys of a page, at least two.

    Attributes:
        start: The position of the first digit.
    """

    _DIGITS: Final = 12

    def __init__(self, keys: Sequence[str]) -> None:
        first, last = keys[0], keys[-1]
        self.start = _common(first, last)
        sample = [*keys[::_SAMPLE], last]
        columns = [{key[at] for key in sample if at < len(key)} for at in range(self.start, self.start + self._DIGITS)]
        self._alphabets = _alphabets([column for column in columns if column])
        self._sizes = [len(alphabet) for alphabet in self._alphabets]
        distance = self._number(last) - self._number(first)
        self._distance = max(1, int(distance * len(keys) / (len(keys) - 1) * (1 - _OVERLAP)))

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


class Folders:
    """How far the names in a folder go, as the folders before it have shown: behind that, the next folder follows."""

    def __init__(self) -> None:
        # By depth: the current folder and the first name in it; the first and the last name of the one before.
        self._current: dict[int, tuple[str, str]] = {}
        self._names: dict[int, tuple[str, str]] = {}
        self._last = ""

    def learn(self, keys: Sequence[str]) -> None:
        """Look at some keys of the next page in order."""
        for key in (*keys[::_SAMPLE], *keys[-1:]):
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
    if end and text[end - 1] < LAST_COMPARABLE:
        return text[: end - 1] + chr(ord(text[end - 1]) + 1) + text[end:]
    return None


def _common(one: str, other: str) -> int:
    """Return the length of the common beginning."""
    length = min(len(one), len(other))
    return next((at for at in range(length) if one[at] != other[at]), length)
