"""Many objects through one workshop: some at a time, one's failure never stops the others."""

import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Final

from s3_to_azure.engine.errors import (
    Cancelled,
    NameRefused,
    SomeObjectsFailed,
    SomeObjectsFailedForNow,
    TransferError,
    TransientError,
)
from s3_to_azure.engine.transfer import Outcome, attempt
from s3_to_azure.engine.workshop import CopyTask, Workshop

_POLL_S: Final = 0.1
_STOP_GRACE_S: Final = 2.5

log = logging.getLogger(__name__)


def copy_many(shop: Workshop, tasks: Iterable[CopyTask], *, try_number: int = 1) -> Iterator[Outcome]:
    """Copy the objects, ``objects_at_once`` at a time; yield each outcome as it is there, in no order.

    The tasks are drawn one by one as there is room, so any number of them takes constant memory.

    Raises:
        Cancelled: Stopped; outcomes not yet yielded are lost, the work done is not.
    """
    crew = _Crew(shop, iter(tasks), try_number)
    yield from crew.outcomes()


class _Crew:
    """Daemon threads that each copy one object at a time."""

    def __init__(self, shop: Workshop, tasks: Iterator[CopyTask], try_number: int) -> None:
        self._shop = shop
        self._tasks = tasks
        self._try_number = try_number
        self._drawing = threading.Lock()
        # Bounded: who reads the outcomes slowly slows the copying instead of filling the memory.
        self._done: queue.Queue[Outcome | BaseException | None] = queue.Queue(maxsize=4 * shop.settings.objects_at_once)
        self._abandoned = threading.Event()

    def outcomes(self) -> Iterator[Outcome]:
        count = self._shop.settings.objects_at_once
        for index in range(count):
            threading.Thread(target=self._work, name=f"object-{index}", daemon=True).start()
        working = count
        deadline: float | None = None
        try:
            while working:
                try:
                    item = self._done.get(timeout=_POLL_S)
                except queue.Empty:
                    if self._shop.cancelled.is_set():
                        deadline = deadline or time.monotonic() + _STOP_GRACE_S
                        if time.monotonic() > deadline:
                            raise Cancelled.now() from None
                    continue
                if item is None:
                    working -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield item
        finally:
            self._abandoned.set()
        if self._shop.cancelled.is_set():
            raise Cancelled.now()

    def _work(self) -> None:
        try:
            while (task := self._draw()) is not None:
                outcome = self._by_policy(attempt(self._shop, task, try_number=self._try_number))
                failed = outcome.error is not None
                if failed:
                    log.warning("%r failed: %s", task.key, outcome.error)
                    self._shop.progress.add_failure(task.key, str(outcome.error))
                self._shop.progress.add(objects_done=not failed, objects_failed=failed)
                self._hand_over(outcome)
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            # Not one object's failure but a fault of ours: the batch must not go on as if nothing was.
            self._hand_over(error)
        finally:
            self._hand_over(None)

    def _by_policy(self, outcome: Outcome) -> Outcome:
        """Turn the refusal of a name into a skip, where that is the policy."""
        if isinstance(outcome.error, NameRefused) and self._shop.settings.refused_names == "skip":
            return Outcome(replace(outcome.receipt, status="skipped"))
        return outcome

    def _draw(self) -> CopyTask | None:
        with self._drawing:
            if self._abandoned.is_set() or self._shop.cancelled.is_set():
                return None
            return next(self._tasks, None)

    def _hand_over(self, item: Outcome | BaseException | None) -> None:
        while not self._abandoned.is_set():
            try:
                self._done.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return


class Tally:
    """Counts the outcomes of a batch, and says in the end whether it failed and whether a retry may help."""

    def __init__(self) -> None:
        """Begin at nothing."""
        self.total = 0
        self._failures = 0
        self._transient = 0
        self._first = ""

    def add(self, outcome: Outcome) -> None:
        """Count one."""
        self.total += 1
        if outcome.error is None:
            return
        self._failures += 1
        self._transient += isinstance(outcome.error, TransientError)
        self._first = self._first or f"{outcome.receipt.key!r}: {outcome.error}"

    def error(self) -> TransferError | None:
        """Return the batch's error, or None when every object succeeded; transient while any failure is."""
        if not self._failures:
            return None
        if self._transient:
            return SomeObjectsFailedForNow(
                failed=self._failures, total=self.total, transient=self._transient, first=self._first
            )
        return SomeObjectsFailed(failed=self._failures, total=self.total, first=self._first)
