"""Counters of a running task: many threads add to them, and one reader takes snapshots."""

import threading
from dataclasses import dataclass, replace
from typing import Final

from s3_to_azure.model.formatting import count_text

MAX_FAILURES: Final = 20


@dataclass(frozen=True, slots=True)
class Totals:
    """The counts of a task since the start of its present try.

    Attributes:
        objects_total: Objects known so far: all that the task must account for.
        objects_done: Objects that were copied, or need no copy.
        objects_failed: Objects that failed.
        bytes_total: Bytes of the objects to copy that are known so far.
        bytes_sent: Bytes that Azure confirmed in this try.
        bytes_resumed: Bytes that Azure held before this try, so they were not sent again.
        retries: Requests that were repeated.
        bytes_read: Bytes to copy that have arrived from S3 in this try: what moves now, before its block is whole.
        slow_downs: Those retries that a service asked for, because it got too many requests.
    """

    objects_total: int = 0
    objects_done: int = 0
    objects_failed: int = 0
    bytes_total: int = 0
    bytes_sent: int = 0
    bytes_resumed: int = 0
    retries: int = 0
    bytes_read: int = 0
    slow_downs: int = 0

    @property
    def bytes_moved(self) -> int:
        """Bytes that have moved, for rates: under a limit a block takes minutes, and Azure confirms it at once."""
        return max(self.bytes_read, self.bytes_sent)

    @property
    def bytes_in_flight(self) -> int:
        """Bytes that have arrived, and that Azure has not confirmed yet."""
        return self.bytes_moved - self.bytes_sent

    def retries_text(self) -> str:
        """Return the retries for a person: ``3 retries, 2 of them throttled``."""
        throttled = f", {self.slow_downs:,} of them throttled" if self.slow_downs else ""
        return count_text(self.retries, "retry", "retries") + throttled


class Progress:
    """Thread-safe totals."""

    def __init__(self, *, objects_total: int = 0, bytes_total: int = 0) -> None:
        self._lock = threading.Lock()
        self._now = Totals(objects_total=objects_total, bytes_total=bytes_total)
        self._failures: list[tuple[str, str]] = []

    def add(self, **deltas: int) -> None:
        """Add to the totals; the names are the fields of ``Totals``."""
        with self._lock:
            self._now = replace(self._now, **{name: getattr(self._now, name) + n for name, n in deltas.items()})

    def add_read(self, size_bytes: int) -> None:
        """Count bytes that have arrived."""
        self.add(bytes_read=size_bytes)

    def snapshot(self) -> Totals:
        """Return the current totals."""
        with self._lock:
            return self._now

    def add_failure(self, key: str, reason: str) -> None:
        """Keep a failure to show while the copy goes on, up to ``MAX_FAILURES``; the totals do not change."""
        with self._lock:
            if len(self._failures) < MAX_FAILURES:
                self._failures.append((key, reason))

    def failures(self) -> tuple[tuple[str, str], ...]:
        """Return the keys and reasons of the first failed objects."""
        with self._lock:
            return tuple(self._failures)
