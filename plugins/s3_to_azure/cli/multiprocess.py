"""A plan's batches, shared among forked processes: Python lets one process use little more than one core.

Each copies whole batches as a mapped task of Airflow does, with its part of the budget; receipts and counts come back
through a pipe, and only the first process prints. They are forked before the first thread starts and before a store is
asked for anything: all that is imported and opened by then costs nothing more.
"""

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from multiprocessing.connection import Connection, wait
from typing import Any, Final, Self

from s3_to_azure.cli.stores import Stores
from s3_to_azure.model.errors import Cancelled, ProcessEnded, TransferError, UsageError
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.progress import Progress, Totals
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.prefix import copy_here
from s3_to_azure.state.plan import BatchDescriptor, batches_name
from s3_to_azure.stores.temporary_state import SpooledState
from s3_to_azure.transfer.context import TransferContext

_TELL_EVERY_S: Final = 0.2
_TELL_RECEIPTS: Final = 200
# The first process knows the totals before any batch begins.
_TOTALS: Final = ("objects_total", "bytes_total")


@dataclass(frozen=True, slots=True)
class Job:
    """A batch, and where it goes.

    Attributes:
        batch: Its descriptor; the slice begins at 0.
        data: Its slice of the plan.
        settings: The plan's.
    """

    batch: BatchDescriptor
    data: bytes
    bucket: str
    settings: PlanSettings


@dataclass(frozen=True, slots=True)
class Ended:
    """How a batch ended.

    Attributes:
        transient: Failed objects that a retry may help.
        error: What kept the batch from being copied to its end.
    """

    transient: int = 0
    error: TransferError | None = None


@dataclass(frozen=True, slots=True)
class Told:
    """What a process has to tell since it told last.

    Attributes:
        counts: What the totals grew by, by the names of ``Totals``.
        ended: The batch is done; None: it goes on.
    """

    receipts: list[Receipt] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    ended: Ended | None = None


def serve(
    pipe: "Connection[Told, Job | None]",
    inherited: Sequence["Connection[Any, Any]"],
    stores: Stores,
    settings: CopySettings,
    first: int,
) -> None:
    """Copy batches until None comes instead of one, or SIGTERM, or nobody listens any more.

    Args:
        pipe: Where batches come from and receipts go.
        inherited: Ends of pipes that are not for this process: while it holds them, none of them ends.
        stores: Where it reads and writes.
        settings: What it may take.
        first: The process that forked it.
    """
    for other in inherited:
        other.close()
    stop = threading.Event()
    # The terminal's Ctrl-C goes to all; the first process decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    # In a thread: the signal may come while this one holds the event's lock.
    signal.signal(signal.SIGTERM, lambda _number, _frame: threading.Thread(target=stop.set, daemon=True).start())
    with stores.transfer_context(settings, Progress(), stop) as context:
        while not stop.is_set():
            if pipe.poll(_TELL_EVERY_S):
                try:
                    job = pipe.recv()
                except (EOFError, OSError):
                    return
                if job is None:
                    return
                with _ResultSender(pipe, context.progress, first, stop) as reporter:
                    reporter.ended = _copy(context, job, reporter.add)


def _copy(context: TransferContext, job: Job, on_receipt: Callable[[Receipt], None]) -> Ended:
    with SpooledState() as files:
        with files.write(batches_name(job.batch.plan)) as out:
            out.write(job.data)
        try:
            return Ended(
                copy_here(context, files, job.bucket, job.settings, [job.batch], on_receipt, keep_receipts=False)
            )
        except TransferError as error:
            return Ended(error=error)


class _ResultSender:
    """Tells receipts and counts in bunches, at least every fifth of a second, and last how the batch ended."""

    def __init__(
        self, pipe: "Connection[Told, Job | None]", progress: Progress, first: int, stop: threading.Event
    ) -> None:
        self.ended: Ended | None = None
        self._pipe = pipe
        self._progress = progress
        self._stop = stop
        self._first = first
        self._told = progress.snapshot()
        self._waiting: list[Receipt] = []
        self._lock = threading.Lock()
        self._over = threading.Event()
        self._clock = threading.Thread(target=self._run_clock, name="reporter", daemon=True)

    def __enter__(self) -> Self:
        self._clock.start()
        return self

    def add(self, receipt: Receipt) -> None:
        with self._lock:
            self._waiting.append(receipt)
            if len(self._waiting) >= _TELL_RECEIPTS:
                self._tell()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # The end is told once, and nothing after it.
        self._clock.join()
        with self._lock:
            self._tell(self.ended)

    def _run_clock(self) -> None:
        while not self._over.wait(_TELL_EVERY_S):
            if os.getppid() != self._first:
                # There may be nothing to tell for long, and so no pipe that breaks.
                self._stop.set()
            with self._lock:
                self._tell()

    def _tell(self, ended: Ended | None = None) -> None:
        now = self._progress.snapshot()
        counts = _growth(self._told, now)
        if self._waiting or counts or ended:
            try:
                self._pipe.send(Told(self._waiting, counts, ended))
            except OSError:
                # Nobody listens any more.
                self._stop.set()
        self._told, self._waiting = now, []


def _growth(before: Totals, now: Totals) -> dict[str, int]:
    earlier = asdict(before)
    grown = {name: count - earlier[name] for name, count in asdict(now).items() if name not in _TOTALS}
    return {name: count for name, count in grown.items() if count}


# A batch for each would wait for the slowest; with many more, each batch begins and ends too often.
_BATCHES_EACH: Final = 2
_POLL_S: Final = 0.1
# A process stops within three seconds.
_STOP_GRACE_S: Final = 5.0


@contextmanager
def forked(count: int, stores: Stores, settings: CopySettings) -> Iterator["Processes | None"]:
    """Yield the processes of a copy, and end them after the block; None where one is enough: this one.

    Raises:
        UsageError: This system has no safe fork.
    """
    if count == 1:
        yield None
        return
    if sys.platform != "linux":
        raise UsageError(what="--processes needs Linux: elsewhere a process cannot be copied safely.")
    processes = Processes(count, stores, settings)
    try:
        yield processes
    finally:
        processes.close()


class Processes:
    """The processes of one copy.

    Attributes:
        count: How many there are.
        batches: How many of those there should be for them at least.

    Args:
        count: How many.
        stores: Where they read and write.
        settings: What each may take.
    """

    def __init__(self, count: int, stores: Stores, settings: CopySettings) -> None:
        """Fork them. They wait for work, and end when this process does."""
        self.count, self.batches = count, _BATCHES_EACH * count
        self._members: list[_Member] = []
        try:
            for _ in range(count):
                self._members.append(_Member(self._members, stores, settings))
        except OSError as error:
            self.close()
            raise UsageError(what=f"--processes={count}: this system gives no more of them: {error}.") from error

    def close(self) -> None:
        """End them, whatever they do."""
        for member in self._members:
            member.send(None)
            # Whoever has much to tell must not wait until it is heard.
            member.pipe.close()
            member.process.terminate()
        deadline = time.monotonic() + _STOP_GRACE_S
        for member in self._members:
            member.process.join(max(0.0, deadline - time.monotonic()))
            if member.process.exitcode is None:
                member.process.kill()
                member.process.join()

    def copy(
        self,
        context: TransferContext,
        files: StateFiles,
        bucket: str,
        settings: PlanSettings,
        batches: Sequence[BatchDescriptor],
        on_receipt: Callable[[Receipt], None],
    ) -> int:
        """Copy the batches, as ``one_task.copy_here`` does; the workshop's event stops all processes.

        Raises:
            Cancelled: Stopped; the receipts of what was done have come.
            ProcessEnded: One was killed, or failed by a fault of ours.
            CorruptState: The plan is damaged.
        """
        context.progress.add(
            objects_total=sum(batch.objects for batch in batches),
            bytes_total=sum(batch.size_bytes for batch in batches),
        )
        jobs = (
            Job(
                replace(batch, offset=0),
                files.read(batches_name(batch.plan), batch.offset, batch.offset + batch.length),
                bucket,
                settings,
            )
            for batch in batches
        )
        transient = 0
        failure: TransferError | None = None
        deadline: float | None = None
        while busy := self._begin(jobs):
            for member in self._that_tell(busy):
                told = member.take()
                member.left -= len(told.receipts)
                context.progress.add(**told.counts)
                for receipt in told.receipts:
                    on_receipt(receipt)
                if told.ended:
                    transient += told.ended.transient
                    failure = failure or member.end(
                        told.ended, stopping=deadline is not None or context.cancelled.is_set()
                    )
            if deadline is None and (failure or context.cancelled.is_set()):
                jobs.close()
                deadline = time.monotonic() + _STOP_GRACE_S
                for member in busy:
                    member.process.terminate()
            if deadline is not None and time.monotonic() > deadline:
                break
        if context.cancelled.is_set():
            raise Cancelled.now()
        if failure:
            raise failure
        return transient

    def _begin(self, jobs: Iterator[Job]) -> list["_Member"]:
        """Give work to whoever has none; return those that work."""
        for member in self._members:
            if not member.busy and (job := next(jobs, None)):
                member.begin(job)
        return [member for member in self._members if member.busy]

    @staticmethod
    def _that_tell(busy: Sequence["_Member"]) -> list["_Member"]:
        ready = wait([member.pipe for member in busy], _POLL_S)
        return [member for member in busy if member.pipe in ready]


class _Member:
    """A process and our end of its pipe."""

    def __init__(self, earlier: Sequence["_Member"], stores: Stores, settings: CopySettings) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        ours = [*(member.pipe for member in earlier), self.pipe]
        name = f"s3-to-azure-{len(ours)}"
        self.process = context.Process(
            target=serve, args=(theirs, ours, stores, settings, os.getpid()), name=name, daemon=True
        )
        self.process.start()
        # With this copy of it open, the end of the process would not be the end of the pipe.
        theirs.close()
        self.busy = False
        self.left = 0

    def begin(self, job: Job) -> None:
        self.busy, self.left = True, job.batch.objects
        self.send(job)

    def end(self, ended: Ended, *, stopping: bool) -> TransferError | None:
        """Note that its batch ended; return what is wrong with that."""
        self.busy = False
        if stopping:
            return ended.error
        if isinstance(ended.error, Cancelled):
            return ProcessEnded(name=self.process.name, how="something else told it to stop")
        if self.left and not ended.error:
            return ProcessEnded(name=self.process.name, how=f"it told nothing of {self.left:,} objects")
        return ended.error

    def send(self, job: Job | None) -> None:
        # If it is gone: whoever listens to it hears so.
        with suppress(OSError):
            self.pipe.send(job)

    def take(self) -> Told:
        try:
            told: Told = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join(_STOP_GRACE_S)
            error = ProcessEnded(name=self.process.name, how=_how(self.process.exitcode))
            return Told(ended=Ended(error=error))
        return told


def _how(exit_code: int | None) -> str:
    if exit_code is None:
        return "it does not answer"
    if exit_code < 0:
        return f"killed by signal {-exit_code} ({signal.strsignal(-exit_code)})"
    return f"exit status {exit_code}"
