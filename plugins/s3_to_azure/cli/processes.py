"""A plan's batches, shared among forked processes: Python lets one process use little more than one core.

Each copies whole batches as a mapped task of Airflow does, with its part of the budget; receipts and counts come back
through a pipe, and only the first process prints. They are forked before the first thread starts and before a store is
asked for anything: all that is imported and opened by then costs nothing more.
"""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from multiprocessing.connection import wait
from typing import Final

from s3_to_azure.cli.opening import Sides
from s3_to_azure.cli.process import Ended, Job, Told, serve
from s3_to_azure.model.errors import Cancelled, ProcessEnded, TransferError, WrongUse
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.state.plan import BatchDescriptor, batches_name
from s3_to_azure.transfer.context import Workshop

# A batch for each would wait for the slowest; with many more, each batch begins and ends too often.
_BATCHES_EACH: Final = 2
_POLL_S: Final = 0.1
# A process stops within three seconds.
_STOP_GRACE_S: Final = 5.0


@contextmanager
def forked(count: int, sides: Sides, settings: CopySettings) -> Iterator["Processes | None"]:
    """Yield the processes of a copy, and end them after the block; None where one is enough: this one.

    Raises:
        WrongUse: This system has no safe fork.
    """
    if count == 1:
        yield None
        return
    if sys.platform != "linux":
        raise WrongUse(what="--processes needs Linux: elsewhere a process cannot be copied safely.")
    processes = Processes(count, sides, settings)
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
        sides: Where they read and write.
        settings: What each may take.
    """

    def __init__(self, count: int, sides: Sides, settings: CopySettings) -> None:
        """Fork them. They wait for work, and end when this process does."""
        self.count, self.batches = count, _BATCHES_EACH * count
        self._members: list[_Member] = []
        try:
            for _ in range(count):
                self._members.append(_Member(self._members, sides, settings))
        except OSError as error:
            self.close()
            raise WrongUse(what=f"--processes={count}: this system gives no more of them: {error}.") from error

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
        shop: Workshop,
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
            BadState: The plan is damaged.
        """
        shop.progress.add(
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
                shop.progress.add(**told.counts)
                for receipt in told.receipts:
                    on_receipt(receipt)
                if told.ended:
                    transient += told.ended.transient
                    failure = failure or member.end(
                        told.ended, stopping=deadline is not None or shop.cancelled.is_set()
                    )
            if deadline is None and (failure or shop.cancelled.is_set()):
                jobs.close()
                deadline = time.monotonic() + _STOP_GRACE_S
                for member in busy:
                    member.process.terminate()
            if deadline is not None and time.monotonic() > deadline:
                break
        if shop.cancelled.is_set():
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

    def __init__(self, earlier: Sequence["_Member"], sides: Sides, settings: CopySettings) -> None:
        context = multiprocessing.get_context("fork")
        self.pipe, theirs = context.Pipe()
        ours = [*(member.pipe for member in earlier), self.pipe]
        name = f"s3-to-azure-{len(ours)}"
        self.process = context.Process(
            target=serve, args=(theirs, ours, sides, settings, os.getpid()), name=name, daemon=True
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
