"""A limit for log lines that thousands of objects may cause: the first of each kind in full, then counts."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Final

SHOWN: Final = 20
"""How many lines of one kind are logged in full."""

COUNTED_EVERY_S: Final = 60.0
"""How often the others of a kind are counted in one line."""


# Above ``_Kind.add``, ``LineLimit._add`` and the method that was called.
_CALLER: Final = 4
_NOTE: Final = f"More lines like the last {SHOWN} are counted once a minute"


log = logging.getLogger(__name__)


class _Kind:
    """The lines of one kind."""

    def __init__(self) -> None:
        self._seen = self._left_out = 0
        self._last: tuple[int, str, tuple[object, ...]] | None = None
        self._counted_at = 0.0

    def add(self, level: int, text: str, values: tuple[object, ...], now: float) -> None:
        self._seen += 1
        if self._seen <= SHOWN:
            log.log(level, text, *values, stacklevel=_CALLER)
            if self._seen == SHOWN:
                log.log(level, _NOTE)
                self._counted_at = now
            return
        self._left_out += 1
        self._last = level, text, values
        if now - self._counted_at >= COUNTED_EVERY_S:
            self._counted_at = now
            self.count()

    def count(self) -> None:
        """Log how many lines were left out since the last count, with the last of them."""
        if self._last is None:
            return
        level, text, values = self._last
        log.log(level, f"%s more lines like this: {text}", f"{self._left_out:,}", *values)  # noqa: G004 - see values
        self._left_out, self._last = 0, None


class LineLimit:
    """Logs the lines of a task; the receipts have what is left out. Threads may share it.

    A kind is a line's text before its values are filled in, with the class of an error among them.

    Args:
        clock: Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.RLock()
        self._kinds: dict[tuple[object, ...], _Kind] = {}

    def info(self, text: str, *values: object) -> None:
        """Log a line, or count it."""
        self._add(logging.INFO, text, values)

    def warning(self, text: str, *values: object) -> None:
        """Log a warning, or count it."""
        self._add(logging.WARNING, text, values)

    def end(self) -> None:
        """Count what was left out since the last count."""
        with self._lock:
            for kind in list(self._kinds.values()):
                kind.count()

    def _add(self, level: int, text: str, values: tuple[object, ...]) -> None:
        errors = (type(each) for each in values if isinstance(each, BaseException))
        with self._lock:
            kind = self._kinds.setdefault((text, *errors), _Kind())
            kind.add(level, text, values, self._clock())
