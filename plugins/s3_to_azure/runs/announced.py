"""The objects that events have announced to a run, and those that a listing has found and no event announced."""

import logging
from collections.abc import Iterable, Iterator
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
    """Objects that a listing has found, was the first to copy, and of which no event told.

    Attributes:
        objects: How many there are.
        keys: The first keys.
        unchecked: More objects that were copied, of which it was not looked up whether an event told.
    """

    objects: int
    keys: tuple[str, ...]
    unchecked: int = 0

    def text(self) -> str:
        """Return a sentence, for the report."""
        if not self.objects and not self.unchecked:
            return "by no event: every object that was copied and older than 15 minutes was announced"
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
    """Finds what no event announced, among the objects that a listing has found and the run has copied.

    An object counts if it was uploaded between the previous listing and this one, was copied now, and no batch since
    then names its key with the ETag of the copied version. Memory: at most 100,000 keys.

    Args:
        announced: The batches.
        began: When this run began.
        previous: When the last run began that listed the bucket and has reported.
    """

    def __init__(self, announced: AnnouncedKeys, *, began: datetime, previous: datetime) -> None:
        self._announced = announced
        self._since = max(previous, began - _LONGEST_PERIOD)
        self._before = began - GRACE
        self._candidates: dict[tuple[str, str], None] = {}
        self._unchecked = 0

    def add(self, listed: ListedObject, receipt: Receipt) -> None:
        """Note one object of the run; one that was overwritten since the listing is too young to tell."""
        if receipt.status != COPIED or not self._since <= listed.last_modified < self._before:
            return
        if receipt.etag != listed.etag:
            return
        if len(self._candidates) < _MAX_CANDIDATES:
            self._candidates[listed.key, listed.etag] = None
        else:
            self._unchecked += 1

    def result(self) -> Missed:
        """Read the batches, and return what none of them names."""
        if self._candidates:
            for line in self._announced.since(self._since - _CLOCKS):
                self._candidates.pop((line.key, line.etag), None)
        keys = tuple(key[:_MAX_KEY_CHARACTERS] for key, _ in list(self._candidates)[:_MAX_SHOWN])
        return Missed(len(self._candidates), keys, self._unchecked)
