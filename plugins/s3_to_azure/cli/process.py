"""One of the processes that share a plan's batches: it copies what comes through its pipe, and tells through it."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final, Self

from s3_to_azure.cli.opening import Sides
from s3_to_azure.model.errors import TransferError
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.progress import Progress, Snapshot
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.prefix import copy_here
from s3_to_azure.state.plan import BatchDescriptor, batches_name
from s3_to_azure.stores.temporary_state import SpooledState
from s3_to_azure.transfer.context import Workshop

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
        counts: What the totals grew by, by the names of ``Snapshot``.
        ended: The batch is done; None: it goes on.
    """

    receipts: list[Receipt] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    ended: Ended | None = None


def serve(
    pipe: "Connection[Told, Job | None]",
    inherited: Sequence["Connection[Any, Any]"],
    sides: Sides,
    settings: CopySettings,
    first: int,
) -> None:
    """Copy batches until None comes instead of one, or SIGTERM, or nobody listens any more.

    Args:
        pipe: Where batches come from and receipts go.
        inherited: Ends of pipes that are not for this process: while it holds them, none of them ends.
        sides: Where it reads and writes.
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
    with sides.workshop(settings, Progress(), stop) as shop:
        while not stop.is_set():
            if pipe.poll(_TELL_EVERY_S):
                try:
                    job = pipe.recv()
                except (EOFError, OSError):
                    return
                if job is None:
                    return
                with _Teller(pipe, shop.progress, first, stop) as teller:
                    teller.ended = _copy(shop, job, teller.add)


def _copy(shop: Workshop, job: Job, on_receipt: Callable[[Receipt], None]) -> Ended:
    with SpooledState() as files:
        with files.write(batches_name(job.batch.plan)) as out:
            out.write(job.data)
        try:
            return Ended(copy_here(shop, files, job.bucket, job.settings, [job.batch], on_receipt, keep_receipts=False))
        except TransferError as error:
            return Ended(error=error)


class _Teller:
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
        self._clock = threading.Thread(target=self._run_clock, name="teller", daemon=True)

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


def _growth(before: Snapshot, now: Snapshot) -> dict[str, int]:
    earlier = asdict(before)
    grown = {name: count - earlier[name] for name, count in asdict(now).items() if name not in _TOTALS}
    return {name: count for name, count in grown.items() if count}
