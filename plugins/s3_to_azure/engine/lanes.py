"""How many blocks are in flight: found by measuring."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from s3_to_azure.engine.errors import Cancelled

_START: Final = 4
_WINDOW_S: Final = 1.0
_HOLD_S: Final = 15.0
# Less than this is noise: a lane more must earn it, a lane less must not lose it.
_GAIN: Final = 1.05
_POLL_S: Final = 0.1
# Below so many cores' work the process waits for the network: more lanes cost nothing, so it grows in leaps.
_IDLE_CORES: Final = 0.5
_IDLE_WINDOW_S: Final = 0.25


class Climb:
    """Finds the number of lanes at which throughput stops growing: more threads than needed cost throughput.

    Grows by half while a window's throughput beats the best one, and doubles while the process mostly waits; else steps
    back and holds, then tries one more and one fewer in turn, so that it follows a network that changes.

    Args:
        most: Upper bound.
        clock: Seconds, monotonic.
        first: How many to begin with.
        cpu_clock: Seconds of CPU that the process has used.
    """

    def __init__(
        self,
        most: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        first: int = _START,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        """Begin with a few lanes."""
        self.most = most
        self._clock = clock
        self._cpu_clock = cpu_clock
        self.limit = min(first, most)
        self._steady = self.limit
        self._best = 0.0
        self._probe_up = True
        self._growing = True
        self._hold_until = 0.0
        self._open_window()

    def _open_window(self) -> None:
        self._began = self._clock()
        self._cpu_began = self._cpu_clock()
        self._bytes = 0
        self._blocks = 0

    def done(self, size_bytes: int) -> None:
        """Count a block that has arrived; at a window's end, judge the present number of lanes."""
        self._bytes += size_bytes
        self._blocks += 1
        now = self._clock()
        elapsed = now - self._began
        idle = self._growing and elapsed > 0 and self._cpu_clock() - self._cpu_began < _IDLE_CORES * elapsed
        # Blocks land in bunches of as many as there are lanes: two rounds give a rate that means something, one a hint.
        if elapsed < (_IDLE_WINDOW_S if idle else _WINDOW_S) or self._blocks < (1 if idle else 2) * self.limit:
            return
        self._judge(self._bytes / elapsed, now, idle=idle)
        self._open_window()

    def _judge(self, rate: float, now: float, *, idle: bool) -> None:
        if self.limit == self._steady and not self._growing:
            self._best = rate
            if now >= self._hold_until:
                self._probe(now)
        elif self.limit < self._steady:
            # A probe with fewer lanes: keep them if nothing was lost.
            if rate * _GAIN >= self._best:
                self._steady = self.limit
            self._settle(rate, now)
        elif rate >= self._best * _GAIN:
            self._best, self._steady = rate, self.limit
            if self.limit == self.most:
                self._settle(rate, now)
            else:
                self._growing = True
                self.limit = min(self.most, self.limit + (self.limit if idle else max(1, self.limit // 2)))
        else:
            self._settle(rate, now)

    def _settle(self, rate: float, now: float) -> None:
        self._growing = False
        self._best = max(self._best, rate) if self.limit == self._steady else self._best
        self.limit = self._steady
        self._hold_until = now + _HOLD_S

    def _probe(self, now: float) -> None:
        step = 1 if self._probe_up else -1
        self._probe_up = not self._probe_up
        self.limit = min(self.most, max(1, self._steady + step))
        self._hold_until = now + _HOLD_S


class Lanes:
    """Lets as many blocks be in flight as the climb allows.

    Args:
        climb: Who decides.
    """

    def __init__(self, climb: Climb) -> None:
        """Begin with none in flight."""
        self._climb = climb
        self._inside = 0
        self._changed = threading.Condition()

    @contextmanager
    def taken(self, size_bytes: int, stopped: threading.Event) -> Iterator[None]:
        """Wait for a lane and hold it while a block of that size moves; count the block if it arrives.

        Raises:
            Cancelled: Stopped while waiting.
        """
        with self._changed:
            while self._inside >= self._climb.limit:
                if stopped.is_set():
                    raise Cancelled.now()
                self._changed.wait(_POLL_S)
            self._inside += 1
        arrived = 0
        try:
            yield
            arrived = size_bytes
        finally:
            with self._changed:
                self._inside -= 1
                if arrived:
                    self._climb.done(arrived)
                self._changed.notify_all()
