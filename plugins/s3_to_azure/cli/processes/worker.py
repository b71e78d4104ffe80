"""One of several processes of a copy: the messages that it gets and sends, and its work."""

import os
import signal
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from multiprocessing.connection import Connection
from typing import Any, Final, Self

from s3_to_azure.cli.stores import Stores
from s3_to_azure.model.errors import TransferError
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.progress import Progress, Totals
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.prefix import copy_in_this_process
from s3_to_azure.state.plan import BatchDescriptor, batches_name
from s3_to_azure.stores.temporary_state import TemporaryState
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.pool import copy_many
from s3_to_azure.transfer.watchdog import BATCH_GRACE_S, StopEvent, run_stoppable

_UPDATE_EVERY_S: Final = 0.2
_UPDATE_RECEIPTS: Final = 200
# The parent counts the totals of a plan before it hands out the first batch.
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

    @property
    def objects(self) -> int:
        """The number of receipts that must come."""
        return self.batch.objects


@dataclass(frozen=True, slots=True)
class TasksMessage:
    """A group of objects for a worker that were named one by one, sent by the parent."""

    tasks: tuple[CopyTask, ...]

    @property
    def objects(self) -> int:
        """The number of receipts that must come."""
        return len(self.tasks)


Message = BatchMessage | TasksMessage
OnReceipt = Callable[[Receipt, TransferError | None], None]


@dataclass(frozen=True, slots=True)
class BatchResult:
    """The end of a batch, or of a group of objects.

    Attributes:
        retryable: How many objects of a batch failed for a reason that a retry may help.
        error: The error that stopped the batch before its last object.
    """

    retryable: int = 0
    error: TransferError | None = None


@dataclass(frozen=True, slots=True)
class BatchUpdate:
    """A worker's report to the parent since its last one.

    Attributes:
        receipts: New receipts, each with its error; those of a batch come without, and the result counts them.
        counts: Growth of the totals, by the names of ``Totals``.
        result: None while the batch goes on.
    """

    receipts: list[tuple[Receipt, TransferError | None]] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    result: BatchResult | None = None


def run_worker(
    pipe: "Connection[BatchUpdate, Message | CopySettings]",
    parent_ends: Sequence["Connection[Any, Any]"],
    stores: Stores,
    parent: int,
) -> None:
    """Copy what comes from the pipe, after this worker's limits, until the pipe ends or SIGTERM comes.

    Args:
        pipe: The worker's end of its pipe.
        parent_ends: Inherited ends of pipes that only the parent uses; a pipe ends once all its copies are closed.
        stores: Both stores.
        parent: The parent's process id.
    """
    for other in parent_ends:
        other.close()
    stop = StopEvent()
    # A terminal sends Ctrl-C to all processes; the parent decides.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda _number, _frame: stop.set())
    settings = _received(pipe, stop)
    if not isinstance(settings, CopySettings):
        return
    with stores.transfer_context(settings, Progress(), stop) as context:
        while isinstance(message := _received(pipe, stop), BatchMessage | TasksMessage):
            counted = _COUNTED_BY_PARENT if isinstance(message, BatchMessage) else ()
            with _UpdateSender(pipe, context.progress, parent, stop, counted=counted) as sender:
                sender.end_with(_copy(context, message, sender.add))


def _received(
    pipe: "Connection[BatchUpdate, Message | CopySettings]", stop: threading.Event
) -> Message | CopySettings | None:
    """Return what the parent sends next; None at the end of the pipe, or at a stop."""
    while not stop.is_set():
        if pipe.poll(_UPDATE_EVERY_S):
            try:
                return pipe.recv()
            except (EOFError, OSError):
                return None
    return None


def _copy(context: TransferContext, message: Message, on_receipt: OnReceipt) -> BatchResult:
    with TemporaryState() as files:

        def copy() -> int:
            if isinstance(message, BatchMessage):
                return _copy_batch(context, message, files, on_receipt)
            for outcome in copy_many(context, message.tasks):
                on_receipt(outcome.receipt, outcome.error)
            return 0

        try:
            return BatchResult(run_stoppable(copy, context.cancelled, grace_s=BATCH_GRACE_S))
        except TransferError as error:
            return BatchResult(error=error)


def _copy_batch(context: TransferContext, message: BatchMessage, files: StateFiles, on_receipt: OnReceipt) -> int:
    with files.write(batches_name(message.batch.plan)) as out:
        out.write(message.data)
    return copy_in_this_process(
        context,
        files,
        message.bucket,
        message.settings,
        [message.batch],
        lambda receipt: on_receipt(receipt, None),
        keep_receipts=False,
    )


class _UpdateSender:
    """Sends receipts and counts of one message in groups, at least every 0.2 s, and its result last.

    Args:
        pipe: The worker's end of its pipe.
        progress: The worker's totals.
        parent: The parent's process id.
        stop: Set when the parent no longer reads.
        counted: The names of ``Totals`` that the parent counts itself.
    """

    def __init__(
        self,
        pipe: "Connection[BatchUpdate, Message | CopySettings]",
        progress: Progress,
        parent: int,
        stop: threading.Event,
        *,
        counted: Sequence[str] = _COUNTED_BY_PARENT,
    ) -> None:
        self._result: BatchResult | None = None
        self._pipe = pipe
        self._progress = progress
        self._parent = parent
        self._stop = stop
        self._counted = counted
        self._sent = progress.snapshot()
        self._receipts: list[tuple[Receipt, TransferError | None]] = []
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._timer = threading.Thread(target=self._run_timer, name="updates", daemon=True)

    def __enter__(self) -> Self:
        self._timer.start()
        return self

    def add(self, receipt: Receipt, error: TransferError | None = None) -> None:
        with self._lock:
            self._receipts.append((receipt, error))
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
        counts = {name: n for name, n in _growth(self._sent, totals).items() if name not in self._counted}
        if self._receipts or counts or result:
            try:
                self._pipe.send(BatchUpdate(self._receipts, counts, result))
            except OSError:
                # The parent has ended, or closed its end.
                self._stop.set()
        self._sent, self._receipts = totals, []


def _growth(before: Totals, after: Totals) -> dict[str, int]:
    earlier = asdict(before)
    grown = {name: n - earlier[name] for name, n in asdict(after).items()}
    return {name: n for name, n in grown.items() if n}
