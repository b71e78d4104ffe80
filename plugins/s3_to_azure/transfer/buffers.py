"""The memory budget: reused buffers that never hold more bytes than the budget."""

import mmap
import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final, TypeVar

from s3_to_azure.model.errors import BudgetTooSmall, Cancelled

_CANCEL_POLL_S: Final = 0.2

# This fraction of the budget is not lent, except to a single buffer that needs it: threads and TLS hold bytes as well.
_UNLENT_FRACTION: Final = 32

_Taken = TypeVar("_Taken")


class BufferPool:
    """Lends buffers of one budget to any number of threads.

    Bound: bytes lent + bytes kept for reuse <= 31/32 of ``budget_bytes``, or one buffer of up to ``budget_bytes``.
    Buffers are anonymous mappings, on huge pages where the kernel has them; a reused buffer causes no page faults.

    Args:
        budget_bytes: The bound.
        cancelled: Ends the wait of every thread with Cancelled when it is set.
    """

    def __init__(self, budget_bytes: int, cancelled: threading.Event) -> None:
        self._budget = budget_bytes
        self._lendable = budget_bytes - budget_bytes // _UNLENT_FRACTION
        self._cancelled = cancelled
        self._free: list[mmap.mmap] = []
        self._held = 0
        self._lock = threading.Lock()
        # One condition for each thread that waits, in the order of their coming: a return wakes one thread and not all,
        # and a large buffer is not overtaken by small ones for ever.
        self._waiting: deque[threading.Condition] = deque()

    @property
    def budget_bytes(self) -> int:
        """The bound."""
        return self._budget

    @contextmanager
    def lend(self, size_bytes: int) -> Iterator[memoryview]:
        """Lend a view of exactly ``size_bytes``, waiting until the budget has room.

        Raises:
            BudgetTooSmall: The budget can never have room.
            Cancelled: Stopped while waiting.
        """
        buffer = self._take(max(size_bytes, 1))
        view = memoryview(buffer)
        lent = view[:size_bytes]
        try:
            yield lent
        finally:
            lent.release()
            view.release()
            self._give(buffer)

    @contextmanager
    def reserve(self, size_bytes: int) -> Iterator[None]:
        """Reserve bytes of the budget during the block, for a client that allocates its own memory.

        Raises:
            BudgetTooSmall: The budget can never have room.
            Cancelled: Stopped while waiting.
        """
        if size_bytes > self._budget:
            raise BudgetTooSmall(size_bytes=size_bytes, needs=size_bytes, budget=self._budget)
        with self._lock:
            self._wait_for(lambda: self._make_room(size_bytes) or None)
            self._held += size_bytes
        try:
            yield
        finally:
            self.give_back(size_bytes)

    def reserve_spare(self, size_bytes: int) -> bool:
        """Reserve bytes if nobody waits for them or keeps them for reuse; return whether ``give_back`` must follow."""
        with self._lock:
            is_spare = not self._waiting and self._held + size_bytes <= self._lendable
            if is_spare:
                self._held += size_bytes
            return is_spare

    def give_back(self, size_bytes: int) -> None:
        """Give back reserved bytes."""
        with self._lock:
            self._held -= size_bytes
            self._wake_first()

    def _take(self, size_bytes: int) -> mmap.mmap:
        capacity = -(-size_bytes // mmap.PAGESIZE) * mmap.PAGESIZE
        if size_bytes > self._budget:
            raise BudgetTooSmall(size_bytes=size_bytes, needs=size_bytes, budget=self._budget)
        capacity = min(capacity, max(self._budget, mmap.PAGESIZE))
        with self._lock:
            return self._wait_for(lambda: self._reuse(size_bytes) or self._allocate(max(capacity, size_bytes)))

    def _wait_for(self, taken: Callable[[], _Taken | None]) -> _Taken:
        """Return what ``taken`` returns, once it is this thread's turn and the result is not None.

        Raises:
            Cancelled: Stopped while waiting.
        """
        turn = threading.Condition(self._lock)
        self._waiting.append(turn)
        try:
            while not self._cancelled.is_set():
                if self._waiting[0] is turn and (found := taken()) is not None:
                    return found
                turn.wait(_CANCEL_POLL_S)
            raise Cancelled.now()
        finally:
            self._waiting.remove(turn)
            self._wake_first()

    def _wake_first(self) -> None:
        if self._waiting:
            self._waiting[0].notify()

    def _reuse(self, size_bytes: int) -> mmap.mmap | None:
        """Take the smallest free buffer that fits and is at most twice as large; of equal ones the most recently used.

        So surplus buffers are never touched, and the processor's cache may still hold a part of the buffer.
        """
        fitting = [b for b in reversed(self._free) if size_bytes <= len(b) <= max(2 * size_bytes, mmap.PAGESIZE)]
        if not fitting:
            return None
        buffer = min(fitting, key=len)
        self._free.remove(buffer)
        return buffer

    def _allocate(self, capacity: int) -> mmap.mmap | None:
        if not self._make_room(capacity):
            return None
        buffer = mmap.mmap(-1, capacity)
        if hasattr(mmap, "MADV_HUGEPAGE"):
            buffer.madvise(mmap.MADV_HUGEPAGE)
        self._held += capacity
        return buffer

    def _make_room(self, size_bytes: int) -> bool:
        """Drop free buffers until the budget has room; return whether it has."""
        while self._held + size_bytes > self._lendable and self._free:
            dropped = self._free.pop(0)
            self._held -= len(dropped)
            dropped.close()
        return not self._held or self._held + size_bytes <= self._lendable

    def _give(self, buffer: mmap.mmap) -> None:
        with self._lock:
            self._free.append(buffer)
            self._wake_first()
