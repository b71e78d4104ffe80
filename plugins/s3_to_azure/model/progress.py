"""Counters of a running task: many threads add, one reader takes snapshots."""

import threading
from dataclasses import dataclass, replace
from typing import Final

MOST_FAILURES: Final = 20


@dataclass(frozen=True, slots=True)
class Totals:
    """Totals since the task began.

    Attributes:
        bytes_total: Bytes of all objects to copy, as far as known.
        bytes_sent: Bytes that Azure confirmed in this try.
        bytes_resumed: Bytes that Azure held already.
    """

    objects_total: int = 0
    objects_done: int = 0
    objects_failed: int = 0
    bytes_total: int = 0
    bytes_sent: int = 0
    bytes_resumed: int = 0
    retries: int = 0


class Progress:
    """Thread-safe totals."""

    def __init__(self, *, objects_total: int = 0, bytes_total: int = 0) -> None:
        """Begin at zero of the given totals."""
        self._lock = threading.Lock()
        self._now = Totals(objects_total=objects_total, bytes_total=bytes_total)
        self._failures: list[tuple[str, str]] = []

    def add(self, **deltas: int) -> None:
        """Add to the totals, by the names of ``Totals``."""
        with self._lock:
            self._now = replace(self._now, **{name: getattr(self._now, name) + n for name, n in deltas.items()})

    def snapshot(self) -> Totals:
        """Return the totals as of now."""
        with self._lock:
            return self._now

    def add_failure(self, key: str, reason: str) -> None:
        """Keep one of the first failures, to show while the others go on; it is not counted here."""
        with self._lock:
            if len(self._failures) < MOST_FAILURES:
                self._failures.append((key, reason))

    def failures(self) -> tuple[tuple[str, str], ...]:
        """Return the keys and reasons of the first failed objects."""
        with self._lock:
            return tuple(self._failures)
