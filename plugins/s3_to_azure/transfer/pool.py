"""Copies many objects, several at a time; the failure of one never stops the others."""

import queue
import threading
import time
from collections import deque
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
from s3_to_azure.model.options import SKIP, VIA_AZURE
from s3_to_azure.model.reasons import FAILED, SKIPPED, sample_text
from s3_to_azure.transfer.blocks import block_bytes_for
from s3_to_azure.transfer.concurrency import ObjectBacklog
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.object import Outcome, try_copy
from s3_to_azure.transfer.small_objects import SmallObjects
from s3_to_azure.transfer.watchdog import OBJECT_GRACE_S, start_thread

_POLL_S: Final = 0.1
# The longest time that small objects in flight keep the next task waiting.
_SETTLE_S: Final = 0.05
_GROUP: Final = 100
# How many tasks of either kind are taken ahead, for each of ``objects_at_once``: as many objects of one kind in a row
# keep none of the other kind waiting.
_AHEAD: Final = 16


def copy_many(context: TransferContext, tasks: Iterable[CopyTask], *, try_number: int = 1) -> Iterator[Outcome]:
    """Copy the objects, many at a time; yield each outcome as soon as it is known, in any order.

    Tasks are taken a bounded number ahead of their copies, so any number of tasks needs constant memory.

    Raises:
        Cancelled: Stopped; outcomes not yet yielded are lost, the work done is not.
    """
    yield from _WorkerPool(context, iter(tasks), try_number).outcomes()


class _WorkerPool:
    """The daemon threads of one ``copy_many``, connected by two queues.

    One thread takes the tasks. It copies the small objects itself (fast path) and puts all others, and those that are
    handed back, into ``_general``. Each of at most ``objects_at_once`` other threads copies one object of that queue at
    a time (general path), and begins with the next one when the context's backlog has room. All put their outcomes into
    ``_done``, which the caller's thread reads.
    """

    def __init__(self, context: TransferContext, tasks: Iterator[CopyTask], try_number: int) -> None:
        self._context = context
        self._tasks = tasks
        self._try_number = try_number
        self._backlog = context.backlog
        self._most_workers = context.settings.objects_at_once
        self._workers = 0
        self._ahead = _AHEAD * self._most_workers
        # Guarded, as ``_all_given``, by the backlog's condition, on which the workers wait.
        self._general: deque[CopyTask] = deque()
        self._all_given = False
        # Bounded: a slow reader of the outcomes slows the copying instead of filling the memory.
        self._done: queue.Queue[Sequence[Outcome] | BaseException | None] = queue.Queue(maxsize=4 * self._most_workers)
        self._abandoned = threading.Event()
        self._taken = threading.Event()
        # Small objects that wait for room, and others if the queue is full.
        self._held: deque[CopyTask] = deque()
        self._settled: list[Outcome] = []
        self._group_began = 0.0

    def outcomes(self) -> Iterator[Outcome]:
        threading.Thread(target=self._take_tasks, name="tasks", daemon=True).start()
        ended = 0
        deadline: float | None = None
        try:
            # Only the thread that takes the tasks starts workers, and it is counted as ended after that.
            while ended < 1 + self._workers:
                if self._context.cancelled.is_set() and deadline is None:
                    deadline = time.monotonic() + OBJECT_GRACE_S
                    self._wake_workers()
                try:
                    item = self._done.get(timeout=_POLL_S)
                except queue.Empty:
                    if deadline is not None and time.monotonic() > deadline:
                        raise Cancelled.now() from None
                    continue
                if item is None:
                    ended += 1
                elif isinstance(item, BaseException):
                    raise item
                else:
                    yield from item
        finally:
            self._abandoned.set()
            self._wake_workers()
        if self._context.cancelled.is_set():
            raise Cancelled.now()

    def _take_tasks(self) -> None:
        """Take tasks while there is room: copy small objects in this thread, give all others to the workers."""
        try:
            with ExitStack() as opened:
                small = None
                if self._context.small_object_client and self._context.settings.via != VIA_AZURE:
                    small = SmallObjects(self._context, self._context.small_object_client(), self._try_number)
                    opened.callback(small.close)
                self._distribute(small)
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            # A fault of this program or of the plan, not of one object: the batch must not go on.
            self._hand_over(error)
        finally:
            self._all_given = True
            self._wake_workers()
            self._hand_over(None)

    def _distribute(self, small: SmallObjects | None) -> None:
        more = True
        while not self._over() and (more or self._held or (small and small.busy)):
            while self._held and self._begin(self._held[0], small):
                self._held.popleft()
            while more and len(self._held) < self._ahead:
                task = next(self._tasks, None)
                if task is None:
                    more = False
                # Small objects begin in their order: the bandwidth limit counts the first one that waits.
                elif (self._held and small and small.takes(task)) or not self._begin(task, small):
                    self._held.append(task)
            if small and small.busy:
                self._settle(small)
            elif len(self._general) >= self._ahead:
                self._taken.wait(_POLL_S)
                self._taken.clear()

    def _begin(self, task: CopyTask, small: SmallObjects | None) -> bool:
        """Begin a task or give it to the workers; return False while there is no room."""
        is_full = len(self._general) >= self._ahead
        if small and small.takes(task):
            # Objects handed back wait for the workers, which are slower: their queue must stay bounded.
            if is_full or not small.has_room(task):
                return False
            small.begin(task)
            return True
        if not is_full:
            self._give_to_workers(task)
        return not is_full

    def _settle(self, small: SmallObjects) -> None:
        for task, receipt in small.settle(_SETTLE_S):
            if receipt is None:
                self._give_to_workers(task)
            else:
                self._settled.append(Outcome(receipt))
        # In groups: waking the reader for each outcome would cost more than making the receipt.
        if len(self._settled) >= _GROUP or time.monotonic() > self._group_began + _POLL_S or not small.busy:
            if self._settled:
                self._hand_over(self._settled)
            self._settled, self._group_began = [], time.monotonic()

    def _give_to_workers(self, task: CopyTask) -> None:
        with self._backlog.changed:
            self._general.append(task)
            self._backlog.changed.notify()
        if self._workers < self._most_workers:
            if start_thread(self._work, f"object-{self._workers}"):
                self._workers += 1
            elif not self._workers:
                raise RuntimeError("the system allows this process no thread to copy an object in")

    def _wake_workers(self) -> None:
        """Let the workers see that there are no more tasks, or that the copy is over."""
        with self._backlog.changed:
            self._backlog.changed.notify_all()

    def _next_task(self) -> tuple[CopyTask, ObjectBacklog] | None:
        """Wait until one more object should begin, and return it; None after the last one."""
        backlog = self._backlog
        with backlog.changed:
            while not self._over() and (self._general or not self._all_given):
                if self._general and backlog.has_room():
                    task = self._general.popleft()
                    self._taken.set()
                    # Another worker finds out whether there is room for yet one more.
                    backlog.changed.notify()
                    return task, backlog.begin(self._blocks_of(task))
                backlog.changed.wait()
            # The next worker has nothing to wait for either.
            backlog.changed.notify()
            return None

    def _blocks_of(self, task: CopyTask) -> int:
        """Return how many blocks the object seems to have; the copy finds out how many of them are left to move."""
        seen = task.within or task.listed
        size_bytes = seen.size_bytes if seen else 0
        block_bytes = task.block_bytes or self._context.settings.block_bytes or block_bytes_for(size_bytes)
        return max(1, -(-size_bytes // block_bytes))

    def _over(self) -> bool:
        return self._abandoned.is_set() or self._context.cancelled.is_set()

    def _work(self) -> None:
        try:
            while found := self._next_task():
                task, backlog = found
                outcome = self._apply_name_policy(
                    try_copy(self._context, task, try_number=self._try_number, backlog=backlog)
                )
                failed = outcome.error is not None
                if outcome.error is not None:
                    self._context.progress.add_failure(task.key, outcome.error.as_reason())
                self._context.progress.add(objects_done=not failed, objects_failed=failed)
                self._hand_over([outcome])
        except Cancelled:
            pass
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            # A fault of this program, not of one object: the batch must not go on.
            self._hand_over(error)
        finally:
            self._hand_over(None)

    def _apply_name_policy(self, outcome: Outcome) -> Outcome:
        """Turn the refusal of a name into a skip where the user chose that."""
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
        if receipt.status != FAILED:
            return
        self._failed += 1
        self._retryable += isinstance(error, TransientError)
        self._first = self._first or sample_text(receipt.key, str(error or receipt.reason))

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
