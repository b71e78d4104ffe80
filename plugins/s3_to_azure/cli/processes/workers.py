"""Copy in several forked processes, because one Python process uses little more than one core.

Each worker process copies whole batches of a plan, as a mapped task of Airflow does, or groups of objects that were
named one by one, with its share of every limit. Receipts and counts come back through a pipe, and only the parent
prints. The workers are forked before the parent starts a thread or sends a request, so that they share the modules
already imported and no lock that another thread holds. How many of them are needed is known only later, so the parent
ends those that are not.
"""

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import chain, islice
from multiprocessing.connection import wait
from typing import Final

from msgspec import structs

from s3_to_azure.cli.processes.count import share_of
from s3_to_azure.cli.processes.worker import (
    BatchMessage,
    BatchResult,
    BatchUpdate,
    Message,
    OnReceipt,
    TasksMessage,
    run_worker,
)
from s3_to_azure.cli.stores import Stores
from s3_to_azure.model.errors import BudgetTooSmall, Cancelled, ProcessEnded, TransferError
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.state.plan import BatchDescriptor, batches_name
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.pool import copy_many
from s3_to_azure.transfer.watchdog import PROCESS_GRACE_S

BATCHES_PER_WORKER: Final = 2
"""With one batch per worker the copy lasts as long as the slowest; with many, starting and ending them costs time."""

# Objects that were named one by one cost several requests each: so many are worth a process.
_TASKS_OF_WORKER: Final = 250
_TASKS_IN_GROUP: Final = _TASKS_OF_WORKER // BATCHES_PER_WORKER
_POLL_S: Final = 0.1
# An idle worker ends at once.
_END_GRACE_S: Final = 0.5

log = logging.getLogger(__name__)


@contextmanager
def worker_processes(most: int, stores: Stores, settings: CopySettings) -> Iterator["WorkerProcesses | None"]:
    """Yield the worker processes of a copy and end them after the block; None where one process is enough.

    Args:
        most: The most processes that the copy may use.
        stores: Both stores, opened, without a thread or a request.
        settings: The limits of the whole copy.
    """
    if most == 1:
        yield None
        return
    workers = WorkerProcesses(most, stores, settings)
    try:
        yield workers if workers.most > 1 else None
    finally:
        workers.end()


class WorkerProcesses:
    """The worker processes of one copy. They wait for work, and end when the parent does.

    Args:
        most: The number of processes; fewer are made where the system refuses more.
        stores: Both stores, opened, without a thread or a request.
        settings: The limits of the whole copy.

    Attributes:
        settings: The limits of the whole copy.
    """

    def __init__(self, most: int, stores: Stores, settings: CopySettings) -> None:
        self.settings = settings
        self._workers: list[_WorkerProcess] = []
        try:
            for _ in range(most):
                self._workers.append(_WorkerProcess(self._workers, stores))
        except OSError as error:
            log.info("The system refuses more than %d processes: %s", len(self._workers), error)

    @property
    def most(self) -> int:
        """The most processes that the copy may use."""
        return len(self._workers)

    def end(self, *, all_but: int = 0) -> None:
        """End all workers but some, whatever they are doing."""
        self._workers, ended = self._workers[:all_but], self._workers[all_but:]
        for worker in ended:
            # The end of its pipe ends a worker that waits, and one that sends. To send it a word could last for ever:
            # a worker that was stopped (SIGSTOP) does not read, and its pipe may be full.
            worker.pipe.close()
            worker.process.terminate()
        deadline = time.monotonic() + _END_GRACE_S
        for worker in ended:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()

    def copy_batches(
        self,
        count: int,
        context: TransferContext,
        files: StateFiles,
        bucket: str,
        settings: PlanSettings,
        batches: Sequence[BatchDescriptor],
        on_receipt: Callable[[Receipt], None],
    ) -> int:
        """Copy the batches in ``count`` processes as ``runs.prefix.copy_in_this_process`` does in one.

        The context's event stops all of them.

        Raises:
            Cancelled: The copy was stopped; the receipts of all finished objects were passed on.
            ProcessEnded: A worker was killed, or failed with an unexpected error.
            CorruptState: The plan is damaged.
        """
        context.progress.add(
            objects_total=sum(batch.objects for batch in batches),
            bytes_total=sum(batch.size_bytes for batch in batches),
        )
        messages = _messages(files, bucket, settings, batches)
        return self._copy(count, context, messages, lambda receipt, _: on_receipt(receipt))

    def copy_tasks(self, context: TransferContext, tasks: Iterable[CopyTask], on_receipt: OnReceipt) -> None:
        """Copy the objects as ``transfer.pool.copy_many`` does, in as many processes as they are worth.

        An object that needs more memory than a process's share is copied here, after all others: nobody knows the sizes
        before. Memory: a group's tasks for each process, and such objects.

        Raises:
            Cancelled: The copy was stopped; the receipts of all finished objects were passed on.
            ProcessEnded: A worker was killed, or failed with an unexpected error.
        """
        tasks = iter(tasks)
        first = list(islice(tasks, self.most * _TASKS_OF_WORKER))
        count = len(first) // _TASKS_OF_WORKER
        left = self._copy_groups(count, context, chain(first, tasks), on_receipt) if count > 1 else first
        if left:
            self.end()
            for outcome in copy_many(context, left):
                on_receipt(outcome.receipt, outcome.error)

    def _copy_groups(
        self, count: int, context: TransferContext, tasks: Iterator[CopyTask], on_receipt: OnReceipt
    ) -> list[CopyTask]:
        """Copy the objects in ``count`` processes; return those that need more memory than the share of one."""
        in_flight: dict[str, CopyTask] = {}
        too_large: list[CopyTask] = []

        def groups() -> Generator[Message]:
            while group := tuple(islice(tasks, _TASKS_IN_GROUP)):
                in_flight.update((task.key, task) for task in group)
                yield TasksMessage(group)

        def pass_on(receipt: Receipt, error: TransferError | None) -> None:
            task = in_flight.pop(receipt.key)
            if isinstance(error, BudgetTooSmall):
                too_large.append(task)
                context.progress.add(objects_failed=-1)
            else:
                on_receipt(receipt, error)

        self._copy(count, context, groups(), pass_on)
        return too_large

    def _copy(
        self,
        count: int,
        context: TransferContext,
        messages: Generator[Message],
        on_receipt: OnReceipt,
    ) -> int:
        self.end(all_but=count)
        for worker in self._workers:
            worker.send(share_of(self.settings, count))
        retryable = 0
        failure: TransferError | None = None
        deadline: float | None = None
        while busy := self._assign(messages):
            for worker in _ready(busy):
                result = worker.receive(context.progress, on_receipt)
                if result:
                    retryable += result.retryable
                    stopping = deadline is not None or context.cancelled.is_set()
                    failure = failure or worker.finish(result, stopping=stopping)
            if deadline is None and (failure or context.cancelled.is_set()):
                messages.close()
                deadline = time.monotonic() + PROCESS_GRACE_S
                for worker in busy:
                    worker.process.terminate()
            if deadline is not None and time.monotonic() > deadline:
                break
        if context.cancelled.is_set():
            raise Cancelled.now()
        if failure:
            raise failure
        return retryable

    def _assign(self, messages: Iterator[Message]) -> list["_WorkerProcess"]:
        """Give each idle worker something to do while there is any; return the busy workers."""
        for worker in self._workers:
            if not worker.busy and (message := next(messages, None)):
                worker.start(message)
        return [worker for worker in self._workers if worker.busy]


def _messages(
    files: StateFiles, bucket: str, settings: PlanSettings, batches: Sequence[BatchDescriptor]
) -> Generator[Message]:
    for batch in batches:
        data = files.read(batches_name(batch.plan), batch.offset, batch.offset + batch.length)
        yield BatchMessage(structs.replace(batch, offset=0), data, bucket, settings)


def _ready(busy: Sequence["_WorkerProcess"]) -> list["_WorkerProcess"]:
    readable = wait([worker.pipe for worker in busy], _POLL_S)
    return [worker for worker in busy if worker.pipe in readable]


class _WorkerProcess:
    """One worker, and the parent's end of its pipe.

    Args:
        earlier: The workers forked before it.
        stores: Both stores.
    """

    def __init__(self, earlier: Sequence["_WorkerProcess"], stores: Stores) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, worker_end = context.Pipe()
        parent_ends = [*(worker.pipe for worker in earlier), self.pipe]
        self.process = context.Process(
            target=run_worker,
            args=(worker_end, parent_ends, stores, os.getpid()),
            name=f"s3-to-azure-{len(parent_ends)}",
            daemon=True,
        )
        self.process.start()
        # While the parent holds a copy of it, the pipe does not end when the worker does.
        worker_end.close()
        self.busy = False
        self.remaining = 0

    def start(self, message: Message) -> None:
        self.busy, self.remaining = True, message.objects
        self.send(message)

    def send(self, message: Message | CopySettings) -> None:
        # Where the worker has ended, receiving from it says so.
        with suppress(OSError):
            self.pipe.send(message)

    def receive(self, progress: Progress, on_receipt: OnReceipt) -> BatchResult | None:
        """Pass one update on; return its result."""
        update = self._receive()
        self.remaining -= len(update.receipts)
        progress.add(**update.counts)
        for receipt, error in update.receipts:
            on_receipt(receipt, error)
        return update.result

    def _receive(self) -> BatchUpdate:
        try:
            update: BatchUpdate = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(_END_GRACE_S)
            error = ProcessEnded(name=self.process.name, how=_exit_text(self.process.exitcode))
            return BatchUpdate(result=BatchResult(error=error))
        return update

    def finish(self, result: BatchResult, *, stopping: bool) -> TransferError | None:
        """Mark the worker as idle; return the error of its batch, where it has one."""
        self.busy = False
        if stopping:
            return result.error
        if isinstance(result.error, Cancelled):
            return ProcessEnded(name=self.process.name, how="something else told it to stop")
        if self.remaining and not result.error:
            return ProcessEnded(name=self.process.name, how=f"it sent no receipt for {self.remaining:,} objects")
        return result.error


def _exit_text(exit_code: int | None) -> str:
    if exit_code is None:
        return "it does not answer"
    if exit_code < 0:
        return f"killed by signal {-exit_code} ({signal.strsignal(-exit_code)})"
    return f"exit status {exit_code}"
