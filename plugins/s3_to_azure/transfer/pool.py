"""Many objects through one workshop: some at a time, one's failure never stops the others."""

import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Final

from s3_to_azure.model.errors import (
    Cancelled,
    NameRefused,
    RetryableObjectsFailed,
    SomeObjectsFailed,
    TransferError,
    TransientError,
)
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.options import SKIP
from s3_to_azure.model.reasons import SKIPPED
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.object import Outcome, attempt
from s3_to_azure.transfer.small_objects import SmallObjects
from s3_to_azure.transfer.watchdog import OBJECT_GRACE_S

_POLL_S: Final = 0.1
# At most so long does the lane of small objects keep the next task waiting.
_SETTLE_S: Final = 0.05
_BUNCH: Final = 100
_BACKLOG: Final = 32

log = logging.getLogger(__name__)


def copy_many(context: TransferContext, tasks: Iterable[CopyTask], *, try_number: int = 1) -> Iterator[Outcome]:
    """Copy the objects, ``objects_at_once`` at a time; yield each outcome as it is there, in no order.

    The tasks are drawn one by one as there is room, so any number of them takes constant memory.

    Raises:
        Cancelled: Stopped; outcomes not yet yielded are lost, the work done is not.
    """
    workers = _ObjectWorkers(context, iter(tasks), try_number)
    yield from workers.outcomes()


class _ObjectWorkers:
    """Daemon threads: one that draws the tasks and moves small objects, the others copy one object each at a time."""

    def __init__(self, context: TransferContext, tasks: Iterator[CopyTask], try_number: int) -> None:
        self._context = context
        self._tasks = tasks
        self._try_number = try_number
        self._workers = context.settings.objects_at_once
        self._ordinary: queue.SimpleQueue[CopyTask | None] = queue.SimpleQueue()
        # Bounded: who reads the outcomes slowly slows the copying instead of filling the memory.
        self._done: queue.Queue[Sequence[Outcome] | BaseException | None] = queue.Queue(maxsize=4 * self._workers)
        self._abandoned = threading.Event()
        self._drew = threading.Condition()
        self._waiting = 0
        self._settled: list[Outcome] = []
        self._bunch_began = 0.0

    def outcomes(self) -> Iterator[Outcome]:
        threads = [threading.Thread(target=self._draw, name="draw", daemon=True)]
        threads += [
            threading.Thread(target=self._work, name=f"object-{index}", daemon=True) for index in range(self._workers)
        ]
        for thread in threads:
            thread.start()
        working = len(threads)
        deadline: float | None = None
        try:
            while working:
                try:
                    item = self._done.get(timeout=_POLL_S)
                except queue.Empty:
                    if self._context.cancelled.is_set():
                        deadline = deadline or time.monotonic() + OBJECT_GRACE_S
                        if time.monotonic() > deadline:
                            raise Cancelled.now() from None
                    continue
                if item is None:
                    working -= 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield from item
        finally:
            self._abandoned.set()
        if self._context.cancelled.is_set():
            raise Cancelled.now()

    def _draw(self) -> None:
        """Draw tasks as there is room for them: small objects go their own way, all others to the workers."""
        try:
            with ExitStack() as opened:
                small = None
                if self._context.small_object_client:
                    small = SmallObjects(self._context, self._context.small_object_client(), self._try_number)
                    opened.callback(small.close)
                self._share_out(small)
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            # Not one object's failure but a fault of ours, or of the plan: the batch must not go on as if nothing was.
            self._hand_over(error)
        finally:
            for _ in range(self._workers):
                self._ordinary.put(None)
            self._hand_over(None)

    def _share_out(self, small: SmallObjects | None) -> None:
        task = next(self._tasks, None)
        while not self._over() and (task or (small and small.busy)):
            while task and self._begin(task, small):
                task = next(self._tasks, None)
            if small and small.busy:
                self._settle(small)
            else:
                with self._drew:
                    self._drew.wait_for(lambda: self._waiting < self._workers, _POLL_S)

    def _begin(self, task: CopyTask, small: SmallObjects | None) -> bool:
        """Begin a task or hand it to the workers; False where there is no room yet."""
        if small and small.takes(task):
            # What is handed back waits for the workers, who are slower: their queue must not grow without end.
            if self._waiting >= _BACKLOG * self._workers or not small.has_room(task):
                return False
            small.begin(task)
            return True
        if self._waiting >= self._workers:
            return False
        self._hand_to_workers(task)
        return True

    def _settle(self, small: SmallObjects) -> None:
        for task, receipt in small.settle(_SETTLE_S):
            if receipt is None:
                self._hand_to_workers(task)
            else:
                self._settled.append(Outcome(receipt))
        # In bunches: to wake the reader for each would cost more than to make the receipt.
        if len(self._settled) >= _BUNCH or time.monotonic() > self._bunch_began + _POLL_S or not small.busy:
            if self._settled:
                self._hand_over(self._settled)
            self._settled, self._bunch_began = [], time.monotonic()

    def _hand_to_workers(self, task: CopyTask) -> None:
        with self._drew:
            self._waiting += 1
        self._ordinary.put(task)

    def _over(self) -> bool:
        return self._abandoned.is_set() or self._context.cancelled.is_set()

    def _work(self) -> None:
        try:
            while (task := self._ordinary.get()) is not None and not self._over():
                with self._drew:
                    self._waiting -= 1
                    self._drew.notify_all()
                outcome = self._by_policy(attempt(self._context, task, try_number=self._try_number))
                failed = outcome.error is not None
                if failed:
                    log.warning("%r failed: %s", task.key, outcome.error)
                    self._context.progress.add_failure(task.key, str(outcome.error))
                self._context.progress.add(objects_done=not failed, objects_failed=failed)
                self._hand_over([outcome])
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            # Not one object's failure but a fault of ours: the batch must not go on as if nothing was.
            self._hand_over(error)
        finally:
            self._hand_over(None)

    def _by_policy(self, outcome: Outcome) -> Outcome:
        """Turn the refusal of a name into a skip, where that is the policy."""
        if isinstance(outcome.error, NameRefused) and self._context.settings.refused_names == SKIP:
            return Outcome(replace(outcome.receipt, status=SKIPPED))
        return outcome

    def _hand_over(self, item: Sequence[Outcome] | BaseException | None) -> None:
        while not self._abandoned.is_set():
            try:
                self._done.put(item, timeout=_POLL_S)
            except queue.Full:
                continue
            return


class Tally:
    """Counts objects and failures, and tells whether any failed and whether a retry may help."""

    def __init__(self) -> None:
        self._total = 0
        self._failed = 0
        self._retryable = 0
        self._first = ""

    def add(self, receipt: Receipt, error: TransferError | None = None) -> None:
        """Count one object; ``error`` is the cause of a failure, where it is known."""
        self._total += 1
        if receipt.status != "failed":
            return
        self._failed += 1
        self._retryable += isinstance(error, TransientError)
        self._first = self._first or f"{receipt.key!r}: {error or receipt.reason}"

    def add_retryable(self, count: int) -> None:
        """Record that a retry may help ``count`` of the failures that were added without their errors."""
        self._retryable += count

    def error(self) -> TransferError | None:
        """Return the error for all failures together, or None; it is retryable if any failure is."""
        if not self._failed:
            return None
        if self._retryable:
            return RetryableObjectsFailed(
                failed=self._failed, total=self._total, transient=self._retryable, first=self._first
            )
        return SomeObjectsFailed(failed=self._failed, total=self._total, first=self._first)
