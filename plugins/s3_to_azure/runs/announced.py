"""The objects that events have announced to a run, and those that a listing has found and no event announced."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from s3_to_azure.model.formatting import count_text
from s3_to_azure.model.objects import ListedObject, Receipt
from s3_to_azure.model.ports import ObjectSource
from s3_to_azure.model.reasons import COPIED
from s3_to_azure.model.retry import Retrier
from s3_to_azure.planning.key_list import JSON_LINES, MISSING, keys_of, look_up
from s3_to_azure.state.announced import AnnouncedKeys, AnnouncedLine
from s3_to_azure.state.lines import as_json

GRACE: Final = timedelta(minutes=15)
"""An object that was uploaded so short before a listing is not called missed: its event may still be on its way."""

_LONGEST_PERIOD: Final = timedelta(days=7)
_CLOCKS: Final = timedelta(hours=1)
_MAX_CANDIDATES: Final = 100_000
# Each reads all batches of a week.
_MAX_LOOK_UPS: Final = 100
_MAX_SHOWN: Final = 20
_MAX_KEY_CHARACTERS: Final = 300

log = logging.getLogger(__name__)


class AnnouncedObjects:
    """The announced objects as a listing would show them, in the order of their keys, each once; iterate it once.

    An object that does not exist is counted and left out: it was deleted after its event. Memory: as ``keys_of``.

    Args:
        lines: What was announced.
        source: Where each key is looked up.
        retrier: Retries each request.
        bucket: The bucket.
        prefix: Keys that are not below it are left out.
        at_once: The maximum number of requests in flight.
    """

    def __init__(
        self,
        lines: Iterable[AnnouncedLine],
        source: ObjectSource,
        retrier: Retrier,
        *,
        bucket: str,
        prefix: str,
        at_once: int,
    ) -> None:
        self.gone = 0
        pieces = (as_json(line.key) + b"\n" for line in lines if line.key.startswith(prefix))
        keys = keys_of(pieces, name=f"announced{JSON_LINES}", prefix=prefix)
        self._found = look_up(keys, source, retrier, bucket=bucket, at_once=at_once)

    def __iter__(self) -> Iterator[ListedObject]:
        """Yield the objects that exist."""
        for listed in self._found:
            if listed.problem == MISSING:
                self.gone += 1
            else:
                yield listed


@dataclass(frozen=True, slots=True)
class Missed:
    """Objects that a listing has found and of which no event told.

    Attributes:
        objects: How many there are.
        keys: The first keys.
        unchecked: More objects, of which it was not looked up whether an event told.
    """

    objects: int
    keys: tuple[str, ...]
    unchecked: int = 0

    def text(self) -> str:
        """Return a sentence, for the report."""
        if not self.objects and not self.unchecked:
            return "no object by events: every object of the period was announced"
        more = f", and {self.unchecked:,} more were not looked up" if self.unchecked else ""
        shown = ", ".join(repr(key) for key in self.keys[:3])
        return (
            f"{count_text(self.objects, 'object')} by events{more}; first: {shown}. If this repeats, check the "
            "bucket's notification and the queue (docs/events.md)"
        )

    def summary(self) -> dict[str, Any]:
        """Return the counts as JSON-ready values."""
        return {"objects": self.objects, "unchecked": self.unchecked, "first": list(self.keys)}


class MissedByEvents:
    """Finds what no event announced, among the objects that a listing has found.

    An object counts if it was uploaded between an earlier listing and this one, and no batch since then names its key
    with its ETag. Memory: at most 100,000 keys; whenever there are so many, all batches are read.

    Args:
        announced: The batches.
        began: When this listing began.
        previous: When the earlier one began.
        on_missed: Receives key, ETag and size of each such object.
    """

    def __init__(
        self,
        announced: AnnouncedKeys,
        *,
        began: datetime,
        previous: datetime,
        on_missed: Callable[[str, str, int], None] | None = None,
    ) -> None:
        self._announced = announced
        self._since = max(previous, began - _LONGEST_PERIOD)
        self._before = began - GRACE
        self._on_missed = on_missed
        self._candidates: dict[tuple[str, str], int] = {}
        self._look_ups = 0
        self._objects = 0
        self._first: list[str] = []
        self._unchecked = 0

    def add(self, listed: ListedObject) -> None:
        """Note one object of the listing."""
        if not self._since <= listed.last_modified < self._before:
            return
        if len(self._candidates) >= _MAX_CANDIDATES and self._look_ups < _MAX_LOOK_UPS - 1:
            self._look_up()
        if len(self._candidates) < _MAX_CANDIDATES:
            self._candidates[listed.key, listed.etag] = listed.size_bytes
        else:
            self._unchecked += 1

    def add_copied(self, listed: ListedObject, receipt: Receipt) -> None:
        """Note one object of a run if the run has copied it; one that was overwritten since is too young to tell."""
        if receipt.status == COPIED and receipt.etag == listed.etag:
            self.add(listed)

    def result(self) -> Missed:
        """Return what no batch names."""
        self._look_up()
        return Missed(self._objects, tuple(self._first), self._unchecked)

    def _look_up(self) -> None:
        """Read the batches, and count the candidates that none of them names."""
        if not self._candidates:
            return
        self._look_ups += 1
        for line in self._announced.since(self._since - _CLOCKS):
            self._candidates.pop((line.key, line.etag), None)
        for (key, etag), size_bytes in self._candidates.items():
            self._objects += 1
            if len(self._first) < _MAX_SHOWN:
                self._first.append(key[:_MAX_KEY_CHARACTERS])
            if self._on_missed:
                self._on_missed(key, etag, size_bytes)
        self._candidates.clear()
