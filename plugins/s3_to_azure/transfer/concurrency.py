"""How many blocks move at once: a level for each leg, found by measuring."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from s3_to_azure.model.errors import Cancelled

_START: Final = 1
_WINDOW_S: Final = 1.0
_IDLE_WINDOW_S: Final = 0.25
_HOLD_S: Final = 15.0
# Less than this is noise: a lane more must earn it, a lane less must not lose it.
_GAIN: Final = 1.05
# A rate below this part of the last one is another network: its level is searched at once, down and up.
_FALL: Final = 0.6
_POLL_S: Final = 0.1
# Where the process mostly waits, more lanes cost nothing: it leaps to as many as a core could feed, at least doubling.
_IDLE_CORES: Final = 0.67
_LEAST_LEAP: Final = 2.0
_MOST_LEAP: Final = 8.0
# Where it works, it grows by half.
_STEP: Final = 1.5


class ConcurrencyController:
    """Finds the number of lanes at which throughput stops growing: more threads than needed cost throughput.

    Grows by half while a window's throughput beats the best one, and in leaps while the process mostly waits; else
    steps back and holds. Then tries a quarter more and a quarter fewer in turn, and searches anew, down and up, when
    throughput falls: it follows a network that changes.

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
        """Begin with few lanes."""
        self.most = most
        self._clock = clock
        self._cpu_clock = cpu_clock
        self.limit = min(first, most)
        self._steady = self.limit
        self._best = 0.0
        self._direction = 1
        self._next_probe = 1
        self._then_up = False
        self._hold_until = 0.0
        self._open_window()

    def pause(self) -> None:
        """Stop the clocks: there is nothing to move."""
        self._paused = self._clock(), self._cpu_clock()

    def resume(self) -> None:
        """Let the clocks go on: the pause tells nothing about the network."""
        since, cpu_since = self._paused
        self._began += self._clock() - since
        self._cpu_began += self._cpu_clock() - cpu_since

    def _open_window(self) -> None:
        self._began = self._clock()
        self._cpu_began = self._cpu_clock()
        self._bytes = 0
        self._blocks = 0

    def done(self, size_bytes: int, *, blocks: int = 1) -> None:
        """Count what has arrived, a block or several; at a window's end, judge the present number of lanes."""
        self._bytes += size_bytes
        self._blocks += blocks
        now = self._clock()
        elapsed = now - self._began
        if elapsed < _IDLE_WINDOW_S or self._blocks < self.limit:
            # Before the processor's clock is read, which costs more than all else here.
            return
        cores = (self._cpu_clock() - self._cpu_began) / elapsed if elapsed > 0 else 0.0
        idle = self._direction != 0 and cores < _IDLE_CORES
        # Blocks land in bunches of as many as there are lanes: two rounds give a rate that means something, one a hint.
        if elapsed < (_IDLE_WINDOW_S if idle else _WINDOW_S) or self._blocks < (1 if idle else 2) * self.limit:
            return
        leap = min(_MOST_LEAP, max(_LEAST_LEAP, 1 / max(cores, 1e-9)))
        self._judge(self._bytes / elapsed, now, leap if idle else _STEP)
        self._open_window()

    def _judge(self, rate: float, now: float, leap: float) -> None:
        if self._direction > 0 and rate >= self._best * _GAIN:
            self._keep(rate)
            self._move(self.limit * leap, now)
        elif self._direction < 0 and rate * _GAIN >= self._best:
            self._keep(max(rate, self._best))
            self._move(self.limit / 2, now)
        elif self._direction:
            self._settle(now)
        elif rate < self._best * _FALL:
            self._best, self._direction, self._then_up = rate, -1, True
            self._move(self.limit / 2, now)
        else:
            self._best = rate
            if now >= self._hold_until:
                self._direction, self._next_probe = self._next_probe, -self._next_probe
                self._move(self.limit * (1 + self._direction / 4), now)

    def _keep(self, rate: float) -> None:
        self._best, self._steady = rate, self.limit

    def _move(self, to: float, now: float) -> None:
        """Try another level in the present direction; at the bound, settle."""
        wanted = max(self.limit + 1, int(to)) if self._direction > 0 else min(self.limit - 1, int(to))
        wanted = min(self.most, max(1, wanted))
        if wanted == self._steady:
            self._settle(now)
        else:
            self.limit = wanted

    def _settle(self, now: float) -> None:
        """Go back to the level that was best; hold it, or look above it too."""
        self.limit = self._steady
        self._hold_until = now + _HOLD_S
        self._direction = 0
        if self._then_up and self._steady < self.most:
            self._then_up, self._direction = False, 1
            self._move(self.limit * _STEP, now)


class WorkerPool:
    """Readers and writers apart, as many of each as the climb allows.

    A block is admitted, read, and written; its buffer is lent from before the reading until after the writing. With
    ``n`` lanes at most ``n`` blocks are being read, ``n`` written, and ``2 n + SPARE`` admitted in all, so that a full
    buffer waits for each writer, and no slow leg piles up buffers. Who holds a writer's place holds its buffer already:
    no leg can starve the other.

    The model: where each connection gives ``c`` bytes a second after ``t`` seconds, blocks of ``b`` bytes move at ::

        rate = n x b / (t + b / c)      while the budget holds 2 n blocks, and until the processor is the limit

    Args:
        controller: Who decides.
    """

    SPARE: Final = 2

    def __init__(self, controller: ConcurrencyController) -> None:
        """Begin with none in flight."""
        controller.pause()
        self._controller = controller
        self._lock = threading.Lock()
        self._admitted = _Places(self._lock, lambda: 2 * controller.limit + self.SPARE)
        self._readers = _Places(self._lock, lambda: controller.limit)
        self._writers = _Places(self._lock, lambda: controller.limit)

    def admit(self, stopped: threading.Event) -> None:
        """Wait until one more block may be in flight; ``leave`` must follow.

        Raises:
            Cancelled: Stopped while waiting.
        """
        with self._lock:
            self._admitted.take(stopped)
            if self._admitted.taken == 1:
                self._controller.resume()

    def leave(self) -> None:
        """Count an admitted block out, whatever became of it."""
        with self._lock:
            self._admitted.give()
            if not self._admitted.taken:
                self._controller.pause()

    @contextmanager
    def reading(self, size_bytes: int, stopped: threading.Event) -> Iterator[None]:
        """Hold a reader's place; count the bytes if they arrive.

        Raises:
            Cancelled: Stopped while waiting.
        """
        with self._leg(self._readers, size_bytes, stopped):
            yield

    @contextmanager
    def writing(self, size_bytes: int, stopped: threading.Event) -> Iterator[None]:
        """Hold a writer's place; count the bytes if they arrive.

        Raises:
            Cancelled: Stopped while waiting.
        """
        with self._leg(self._writers, size_bytes, stopped):
            yield

    @contextmanager
    def _leg(self, places: "_Places", size_bytes: int, stopped: threading.Event) -> Iterator[None]:
        with self._lock:
            places.take(stopped)
        arrived = 0
        try:
            yield
            arrived = size_bytes
        finally:
            with self._lock:
                places.give()
                if arrived:
                    self._count(arrived)

    def _count(self, size_bytes: int) -> None:
        before = self._controller.limit
        self._controller.done(size_bytes)
        if self._controller.limit > before:
            for places in (self._admitted, self._readers, self._writers):
                places.changed.notify_all()


class _Places:
    """A number of places that may change; all methods want the lock held."""

    def __init__(self, lock: threading.Lock, most: Callable[[], int]) -> None:
        self.taken = 0
        self.changed = threading.Condition(lock)
        self._most = most

    def take(self, stopped: threading.Event) -> None:
        while self.taken >= self._most():
            if stopped.is_set():
                raise Cancelled.now()
            self.changed.wait(_POLL_S)
        self.taken += 1

    def give(self) -> None:
        self.taken -= 1
        self.changed.notify()
