"""Limits how many blocks are read and written at once, to the number at which the measured throughput is best.

As many objects are in flight as keep those blocks coming.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

from s3_to_azure.model.errors import Cancelled

_START: Final = 1
_WINDOW_S: Final = 1.0
_IDLE_WINDOW_S: Final = 0.1
_HOLD_S: Final = 15.0
# A smaller change of the throughput is noise: one more connection must gain this much, one fewer must not lose it.
_GAIN: Final = 1.05
# A throughput below this fraction of the last one means that the network changed: search again at once, down and up.
_FALL: Final = 0.6
_POLL_S: Final = 0.1
# So many objects are in flight in any case, so that one that makes no progress keeps no other from beginning.
_FEW_OBJECTS: Final = 8
# While the process mostly waits, more connections cost nothing: leap to as many as one core could serve, at least twice
# as many.
_IDLE_CORES: Final = 0.67
_LEAST_LEAP: Final = 2.0
_MOST_LEAP: Final = 8.0
# While the process is busy, grow by half.
_STEP: Final = 1.5


class ConcurrencyController:
    """Finds the smallest number of connections that reaches the best throughput; more than needed reduce it.

    Throughput is measured in windows of about a second, a tenth of a second while the process mostly waits:

    - As long as a window beats the best one so far by 5 %, the limit grows: by half, or by a larger factor while the
      process mostly waits for the network.
    - When it does not, the limit returns to the best one and stays there for 15 seconds.
    - Then a quarter more and a quarter fewer are tried in turn.
    - When throughput falls below 60 % of the last one, the network has changed: the search starts again, first
      downwards, then upwards.

    Args:
        maximum: Upper bound.
        clock: Seconds, monotonic.
        first: The number to begin with.
        cpu_clock: CPU seconds that the process has used.
    """

    def __init__(
        self,
        maximum: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        first: int = _START,
        cpu_clock: Callable[[], float] = time.process_time,
    ) -> None:
        self.maximum = maximum
        self._clock = clock
        self._cpu_clock = cpu_clock
        self.limit = min(first, maximum)
        self._steady = self.limit
        self._best = 0.0
        self._direction = 1
        self._next_probe = 1
        self._then_up = False
        self._hold_until = 0.0
        self._open_window()

    def pause(self) -> None:
        """Stop the clocks while there is nothing to move."""
        self._paused = self._clock(), self._cpu_clock()

    def resume(self) -> None:
        """Restart the clocks after ``pause``; the time between is left out of the measured throughput."""
        since, cpu_since = self._paused
        self._began += self._clock() - since
        self._cpu_began += self._cpu_clock() - cpu_since

    def _open_window(self) -> None:
        self._began = self._clock()
        self._cpu_began = self._cpu_clock()
        self._bytes = 0
        self._blocks = 0

    def done(self, size_bytes: int, *, blocks: int = 1) -> None:
        """Count one or several blocks that arrived; at the end of a window, judge the present number of connections."""
        self._bytes += size_bytes
        self._blocks += blocks
        now = self._clock()
        elapsed = now - self._began
        if elapsed < _IDLE_WINDOW_S or self._blocks < self.limit:
            # Checked before the CPU clock is read, which costs more than everything else here.
            return
        cores = (self._cpu_clock() - self._cpu_began) / elapsed if elapsed > 0 else 0.0
        idle = self._direction != 0 and cores < _IDLE_CORES
        # Blocks arrive in groups, one block per connection: two groups give a reliable rate, one group gives a hint.
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
        """Try another limit in the present direction; at the bound, settle."""
        wanted = max(self.limit + 1, int(to)) if self._direction > 0 else min(self.limit - 1, int(to))
        wanted = min(self.maximum, max(1, wanted))
        if wanted == self._steady:
            self._settle(now)
        else:
            self.limit = wanted

    def _settle(self, now: float) -> None:
        """Go back to the best limit; hold it, or search above it too."""
        self.limit = self._steady
        self._hold_until = now + _HOLD_S
        self._direction = 0
        if self._then_up and self._steady < self.maximum:
            self._then_up, self._direction = False, 1
            self._move(self.limit * _STEP, now)


class ConnectionSlots:
    """Slots for blocks that are read and slots for blocks that are written, as many of each as the controller allows.

    A block is admitted, read and written; it holds its buffer from before the read until after the write. With a limit
    of ``n`` connections, at most ``n`` blocks are being read, ``n`` written, and ``2 n + SPARE`` admitted, so that a
    full buffer waits for each writer and a slow service does not pile up buffers. A block that holds a write slot
    already holds its buffer, so neither service can starve the other.

    The model: where each connection moves ``c`` bytes per second after ``t`` seconds, blocks of ``b`` bytes move at ::

        rate = n x b / (t + b / c)      while the budget holds 2 n blocks, and until the processor is the limit

    Args:
        controller: Decides the limit.
    """

    SPARE: Final = 2

    def __init__(self, controller: ConcurrencyController) -> None:
        controller.pause()
        self._controller = controller
        self._lock = threading.Lock()
        self._admitted = Slots(self._lock, lambda: self.most_admitted)
        self._readers = Slots(self._lock, lambda: controller.limit)
        self._writers = Slots(self._lock, lambda: controller.limit)

    @property
    def most_admitted(self) -> int:
        """How many blocks may be in flight at present."""
        return 2 * self._controller.limit + self.SPARE

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
        """Count an admitted block out, whether it was staged or not."""
        with self._lock:
            self._admitted.give()
            if not self._admitted.taken:
                self._controller.pause()

    @contextmanager
    def reading(self, size_bytes: int, stopped: threading.Event) -> Iterator[None]:
        """Hold a read slot during the block; count the bytes if they arrive.

        Raises:
            Cancelled: Stopped while waiting.
        """
        with self._hold(self._readers, size_bytes, stopped):
            yield

    @contextmanager
    def writing(self, size_bytes: int, stopped: threading.Event) -> Iterator[None]:
        """Hold a write slot during the block; count the bytes if they arrive.

        Raises:
            Cancelled: Stopped while waiting.
        """
        with self._hold(self._writers, size_bytes, stopped):
            yield

    @contextmanager
    def _hold(self, slots: "Slots", size_bytes: int, stopped: threading.Event) -> Iterator[None]:
        with self._lock:
            slots.take(stopped)
        arrived = 0
        try:
            yield
            arrived = size_bytes
        finally:
            with self._lock:
                slots.give()
                if arrived:
                    self._count(arrived)

    def _count(self, size_bytes: int) -> None:
        before = self._controller.limit
        self._controller.done(size_bytes)
        if self._controller.limit > before:
            for slots in (self._admitted, self._readers, self._writers):
                slots.changed.notify_all()


class Slots:
    """A limited number of slots. The limit may change; call every method with the lock held.

    Args:
        lock: Guards everything here.
        limit: Returns how many there are at present.

    Attributes:
        taken: How many are taken.
        changed: Notified when one may be free.
    """

    def __init__(self, lock: threading.Lock, limit: Callable[[], int]) -> None:
        self.taken = 0
        self.changed = threading.Condition(lock)
        self._limit = limit

    def take(self, stopped: threading.Event) -> None:
        """Wait for a slot, and take it; ``give`` must follow.

        Raises:
            Cancelled: Stopped while waiting.
        """
        while self.taken >= self._limit():
            if stopped.is_set():
                raise Cancelled.now()
            self.changed.wait(_POLL_S)
        self.taken += 1

    def give(self) -> None:
        """Give a slot back."""
        self.taken -= 1
        self.changed.notify()


class BlockBacklog:
    """The blocks that the objects in flight still have to move: while they are few, one more object should begin.

    An object moves nothing while its first requests and its commit wait for their answers. The farther the services
    are, the more objects it takes to keep all connections busy meanwhile.

    Args:
        slots: How many blocks may be in flight at present.

    Attributes:
        changed: Guards everything here; notified when there may be room for one more object.
    """

    def __init__(self, slots: ConnectionSlots) -> None:
        self.changed = threading.Condition()
        self._slots = slots
        self._objects = 0
        self._blocks = 0

    def has_room(self) -> bool:
        """Return whether one more object should begin; call it with ``changed`` held.

        An object may take as long to begin as its blocks take to move, so twice the blocks in flight are needed.
        """
        return self._objects < _FEW_OBJECTS or self._blocks < 2 * self._slots.most_admitted

    def begin(self, blocks: int = 1) -> "ObjectBacklog":
        """Count one more object, with the blocks that it seems to have; its ``end`` must follow."""
        with self.changed:
            self._objects += 1
            self._blocks += blocks
        return ObjectBacklog(self, blocks)

    def add(self, *, blocks: int, objects: int = 0) -> None:
        """Change the counts."""
        with self.changed:
            self._objects += objects
            self._blocks += blocks
            if blocks < 0 or objects < 0:
                self.changed.notify()


class ObjectBacklog:
    """The blocks that one object still has to move. Any thread may call it.

    Args:
        backlog: That of all objects.
        blocks: What ``backlog`` has counted for this one.
    """

    def __init__(self, backlog: BlockBacklog, blocks: int) -> None:
        self._backlog = backlog
        self._blocks = blocks
        self._lock = threading.Lock()

    def expect(self, blocks: int) -> None:
        """Set how many blocks are left."""
        with self._lock:
            growth, self._blocks = blocks - self._blocks, blocks
        self._backlog.add(blocks=growth)

    def moved(self) -> None:
        """Count a block that has moved."""
        with self._lock:
            if not self._blocks:
                return
            self._blocks -= 1
        self._backlog.add(blocks=-1)

    def end(self) -> None:
        """Count the object out, whatever has become of it."""
        with self._lock:
            left, self._blocks = self._blocks, 0
        self._backlog.add(blocks=-left, objects=-1)
