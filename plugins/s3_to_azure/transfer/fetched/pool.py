"""The pool: the threads that wait for Azure while it fetches blocks by itself, and what a task's copies share there."""

import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from s3_to_azure.transfer.concurrency import Slots
from s3_to_azure.transfer.fetched.buckets import Buckets
from s3_to_azure.transfer.throttle import RequestLimiter
from s3_to_azure.transfer.watchdog import start_thread


class FetchPool:
    """Runs fetches of any number of objects, as many at once as Azure's answers allow.

    Its threads are daemons, and are started as they are needed: each waits for one answer.

    Args:
        limiter: How many fetches Azure takes at present.
        may_stream: Whether the worker sends what Azure cannot fetch.

    Attributes:
        buckets: Which buckets Azure reads.
        sends_condition: Ask Azure to check the object's ETag; False once it turned out not to know that header.
    """

    def __init__(self, limiter: RequestLimiter, *, may_stream: bool) -> None:
        self.may_stream = may_stream
        self.buckets = Buckets()
        self.sends_condition = True
        self._limiter = limiter
        self._asking = threading.Lock()
        self._compares: bool | None = None
        self._lock = threading.Lock()
        self._slots = Slots(self._lock, lambda: limiter.limit)
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = 0

    def admit(self, stopped: threading.Event) -> None:
        """Wait until one more fetch may be in flight; ``leave`` must follow.

        Raises:
            Cancelled: Stopped while waiting.
        """
        with self._lock:
            self._slots.take(stopped)
            if self._slots.taken > self._threads and start_thread(self._serve, f"fetch-{self._threads + 1}"):
                self._threads += 1

    def leave(self) -> None:
        """Count an admitted fetch out."""
        with self._lock:
            self._slots.give()

    def request(self, stopped: threading.Event) -> AbstractContextManager[None]:
        """Wait until Azure takes one more fetch, and count it during the block.

        Raises:
            Cancelled: Stopped while waiting.
        """
        return self._limiter.request(stopped)

    def submit(self, job: Callable[[], None]) -> None:
        """Run an admitted fetch in one of the threads; without any, in the caller's."""
        if self._threads:
            self._work.put(job)
        else:
            job()

    def compares_crc64s(self, ask: Callable[[], bool]) -> bool:
        """Return whether Azure refuses bytes of another CRC64 than it is told; ``ask`` finds out, once for a task."""
        with self._asking:
            if self._compares is None:
                self._compares = ask()
            return self._compares

    def send_no_condition(self) -> None:
        """Never ask Azure again to check an object's ETag; the proof finds a change without that."""
        self.sends_condition = False

    def close(self) -> None:
        """Let the threads end; do not wait for one that hangs."""
        for _ in range(self._threads):
            self._work.put(None)

    def _serve(self) -> None:
        while (job := self._work.get()) is not None:
            job()
