"""Copy a plan's batches in several forked processes, because one Python process uses little more than one core.

Each worker process copies whole batches, as a mapped task of Airflow does, with its share of every limit. Receipts and
counts come back through a pipe, and only the parent prints. The workers are forked before the parent starts a thread or
sends a request, so that they share the modules already imported and no lock that another thread holds.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any, Final, Self

from msgspec import structs

from s3_to_azure.cli.stores import Stores
from s3_to_azure.model.errors import Cancelled, ProcessEnded, TransferError, UsageError
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.progress import Progress, Totals
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.prefix import copy_in_this_process
from s3_to_azure.state.plan import BatchDescriptor, batches_name
from s3_to_azure.stores.temporary_state import TemporaryState
from s3_to_azure.transfer.context import TransferContext
from s3_to_azure.transfer.watchdog import BATCH_GRACE_S, PROCESS_GRACE_S, StopEvent, run_stoppable

# With one batch per worker the copy lasts as long as the slowest; with many, starting and ending them costs time.
_BATCHES_PER_WORKER: Final = 2
_POLL_S: Final = 0.1
# An idle worker ends at once.
_END_GRACE_S: Final = 0.5
_UPDATE_EVERY_S: Final = 0.2
_UPDATE_RECEIPTS: Final = 200
# The parent counts the totals before it hands out the first batch.
_COUNTED_BY_PARENT: Final = ("objects_total", "bytes_total")


@dataclass(frozen=True, slots=True)
class BatchMessage:
    """One batch for a worker, sent by the parent.

    Attributes:
        batch: The descriptor; its offset is 0.
        data: The batch's slice of the plan file.
        bucket: The source bucket.
        settings: The plan's settings.
    """

    batch: BatchDescriptor
    data: bytes
    bucket: str
    settings: PlanSettings


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The end of a batch.

    Attributes:
        retryable: How many objects failed for a reason that a retry may help.
        error: The error that stopped the batch before its last object.
    """

    retryable: int = 0
    error: TransferError | None = None


@dataclass(frozen=True, slots=True)
class BatchUpdate:
    """A worker's report to the parent since its last one.

    Attributes:
        receipts: New receipts.
        counts: Growth of the totals, by the names of ``Totals``.
        result: None while the batch goes on.
    """

    receipts: list[Receipt] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    result: BatchResult | None = None


# The parent's side.


@contextmanager
def worker_processes(count: int, stores: Stores, settings: CopySettings) -> Iterator["WorkerProcesses | None"]:
    """Yield the worker processes of a copy and end them after the block; None for a count of one.

    Raises:
        UsageError: This system has no safe fork, or refuses more processes.
    """
    if count == 1:
        yield None
        return
    if sys.platform != "linux":
        raise UsageError(detail="--processes needs Linux: other systems have no safe fork.")
    workers = WorkerProcesses(count, stores, settings)
    try:
        yield workers
    finally:
        workers.close()


class WorkerProcesses:
    """The worker processes of one copy. They wait for batches, and end when the parent does.

    Attributes:
        count: The number of processes.
        min_batches: The number of batches that a plan for them should have at least.

    Args:
        count: The number of processes.
        stores: Both stores, opened, without a thread or a request.
        settings: The limits of each process.

    Raises:
        UsageError: The system refuses more processes.
    """

    def __init__(self, count: int, stores: Stores, settings: CopySettings) -> None:
        self.count, self.min_batches = count, _BATCHES_PER_WORKER * count
        self._workers: list[_WorkerProcess] = []
        try:
            for _ in range(count):
                self._workers.append(_WorkerProcess(self._workers, stores, settings))
        except OSError as error:
            self.close()
            raise UsageError(detail=f"--processes={count}: the system refuses more processes: {error}.") from error

    def close(self) -> None:
        """End all workers, whatever they are doing."""
        for worker in self._workers:
            worker.send(None)
            # A worker that is sending must not wait for a reader.
            worker.pipe.close()
            worker.process.terminate()
        deadline = time.monotonic() + _END_GRACE_S
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.exitcode is None:
                worker.process.kill()
                worker.process.join()

    def copy(
        self,
        context: TransferContext,
        files: StateFiles,
        bucket: str,
        settings: PlanSettings,
        batches: Sequence[BatchDescriptor],
        on_receipt: Callable[[Receipt], None],
    ) -> int:
        """Copy the batches as ``runs.prefix.copy_in_this_process`` does; the context's event stops all workers.

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

    def _assign(self, messages: Iterator[BatchMessage]) -> list["_WorkerProcess"]:
        """Give a batch to each idle worker while there are any; return the busy workers."""
        for worker in self._workers:
            if not worker.busy and (message := next(messages, None)):
                worker.start(message)
        return [worker for worker in self._workers if worker.busy]


def _messages(
    files: StateFiles, bucket: str, settings: PlanSettings, batches: Sequence[BatchDescriptor]
) -> Generator[BatchMessage]:
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
        settings: Its limits.
    """

    def __init__(self, earlier: Sequence["_WorkerProcess"], stores: Stores, settings: CopySettings) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, worker_end = context.Pipe()
        parent_ends = [*(worker.pipe for worker in earlier), self.pipe]
        self.process = context.Process(
            target=run_worker,
            args=(worker_end, parent_ends, stores, settings, os.getpid()),
            name=f"s3-to-azure-{len(parent_ends)}",
            daemon=True,
        )
        self.process.start()
        # While the parent holds a copy of it, the pipe does not end when the worker does.
        worker_end.close()
        self.busy = False
        self.remaining = 0

    def start(self, message: BatchMessage) -> None:
        self.busy, self.remaining = True, message.batch.objects
        self.send(message)

    def send(self, message: BatchMessage | None) -> None:
        # Where the worker has ended, receiving from it says so.
        with suppress(OSError):
            self.pipe.send(message)

    def receive(self, progress: Progress, on_receipt: Callable[[Receipt], None]) -> BatchResult | None:
        """Pass one update on; return its result."""
        update = self._receive()
        self.remaining -= len(update.receipts)
        progress.add(**update.counts)
        for receipt in update.receipts:
            on_receipt(receipt)
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


# The worker's side.


def run_worker(
    pipe: "Connection[BatchUpdate, BatchMessage | None]",
    parent_ends: Sequence["Connection[Any, Any]"],
    stores: Stores,
    settings: CopySettings,
    parent: int,
) -> None:
    """Copy batches from the pipe until None comes, SIGTERM comes, or the parent has ended.

    Args:
        pipe: The worker's end of its pipe.
        parent_ends: Inherited ends of pipes that only the parent uses; a pipe ends once all its copies are closed.
        stores: Both stores.
        settings: The worker's limits.
        parent: The parent's process id.
    """
    for other in parent_ends:
        other.close()
    stop = StopEvent()
    # A terminal sends Ctrl-C to all processes; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    with stores.transfer_context(settings, Progress(), stop) as context:
        while not stop.is_set():
            if pipe.poll(_UPDATE_EVERY_S):
                try:
                    message = pipe.recv()
                except (EOFError, OSError):
                    return
                if message is None:
                    return
                with _UpdateSender(pipe, context.progress, parent, stop) as sender:
                    sender.end_with(_copy(context, message, sender.add))


def _copy(context: TransferContext, message: BatchMessage, on_receipt: Callable[[Receipt], None]) -> BatchResult:
    with TemporaryState() as files:
        with files.write(batches_name(message.batch.plan)) as out:
            out.write(message.data)

        def copy() -> int:
            return copy_in_this_process(
                context, files, message.bucket, message.settings, [message.batch], on_receipt, keep_receipts=False
            )

        try:
            retryable = run_stoppable(copy, context.cancelled, grace_s=BATCH_GRACE_S)
        except TransferError as error:
            return BatchResult(error=error)
        return BatchResult(retryable)


class _UpdateSender:
    """Sends receipts and counts of one batch in groups, at least every 0.2 s, and its result last.

    Args:
        pipe: The worker's end of its pipe.
        progress: The worker's totals.
        parent: The parent's process id.
        stop: Set when the parent no longer reads.
    """

    def __init__(
        self,
        pipe: "Connection[BatchUpdate, BatchMessage | None]",
        progress: Progress,
        parent: int,
        stop: threading.Event,
    ) -> None:
        self._result: BatchResult | None = None
        self._pipe = pipe
        self._progress = progress
        self._parent = parent
        self._stop = stop
        self._sent = progress.snapshot()
        self._receipts: list[Receipt] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._timer = threading.Thread(target=self._run_timer, name="updates", daemon=True)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def add(self, receipt: Receipt) -> None:
        with self._lock:
            self._receipts.append(receipt)
            if len(self._receipts) >= _UPDATE_RECEIPTS:
                self._send()

    def end_with(self, result: BatchResult) -> None:
        """Send this result last, when the block ends."""
        self._result = result

    def __exit__(self, *_: object) -> None:
        self._closed.set()
        # The timer must send nothing after the result.
        self._timer.join()
        with self._lock:
            self._send(self._result)

    def _run_timer(self) -> None:
        while not self._closed.wait(_UPDATE_EVERY_S):
            # A long time without news is a long time without a broken pipe.
            if os.getppid() != self._parent:
                self._stop.set()
            with self._lock:
                self._send()

    def _send(self, result: BatchResult | None = None) -> None:
        totals = self._progress.snapshot()
        counts = _growth(self._sent, totals)
        if self._receipts or counts or result:
            try:
                self._pipe.send(BatchUpdate(self._receipts, counts, result))
            except OSError:
                # The parent has ended, or closed its end.
                self._stop.set()
        self._sent, self._receipts = totals, []


def _growth(before: Totals, after: Totals) -> dict[str, int]:
    earlier = asdict(before)
    grown = {name: n - earlier[name] for name, n in asdict(after).items() if name not in _COUNTED_BY_PARENT}
    return {name: n for name, n in grown.items() if n}
