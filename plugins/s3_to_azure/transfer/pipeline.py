"""The block pipeline reads a range from S3 into a buffer, digests it and stages it in Azure, many blocks at once."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final, Protocol

from s3_to_azure.model.checksums import CRC64NVME, Algorithm
from s3_to_azure.model.errors import S3, Cancelled, ConnectionFailed, TransientError
from s3_to_azure.model.objects import Block, ObjectVersion
from s3_to_azure.model.ports import BlobDestination, BodyReader, ObjectSource
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer.blocks import StagedBlock, fingerprint, second_digest
from s3_to_azure.transfer.buffers import BufferPool
from s3_to_azure.transfer.concurrency import ConnectionSlots
from s3_to_azure.transfer.watchdog import BLOCKS_GRACE_S, StopEvent, start_thread

_POLL_S: Final = 0.1
# One read asks for this many bytes: few enough that a stop is noticed at once, and that an HTTP client's own copy of
# a piece does not count against the budget.
_PIECE_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BlockRoute:
    """Where the blocks of one object come from and go to.

    Attributes:
        second: The algorithm whose digest the verification needs beside the CRC64, or None.
    """

    version: ObjectVersion
    blob: str
    second: Algorithm | None


def fill(  # noqa: PLR0913 - what to read, where to, and who is told
    source: ObjectSource,
    version: ObjectVersion,
    start: int,
    view: memoryview,
    *,
    retrier: Retrier,
    cancelled: threading.Event,
    arrived: Callable[[int], None] = lambda _: None,
    opened: Callable[[BodyReader], None] | None = None,
    whole: bool = False,
) -> None:
    """Fill ``view`` with the object's bytes from ``start``; after a body that ends early, request the rest.

    Args:
        source: The object's store.
        version: The version to read; each GET is pinned to its ETag.
        start: Offset in the object.
        view: The memory to fill.
        retrier: Waits between tries. The count of failures restarts whenever a further ``1 / resumes`` of the bytes
            has arrived, so a source that cuts every answer after some bytes still comes to an end.
        cancelled: Stops between pieces.
        arrived: Called with the size of each piece.
        opened: Called with each body as it opens; its headers describe the object.
        whole: Read the whole object without a Range while nothing is read yet: only then does S3 send its checksum.

    Raises:
        TransientError: As many tries as the budget allows failed without that progress.
        SourceChanged: The object is no longer this version.
    """
    done = failures = counted_from = 0
    size = len(view)
    progress_bytes = -(-size // retrier.budget.resumes)
    while done < size or whole:
        try:
            ranged = None if whole and not done else start + size
            with source.open(version, start + done, ranged) as body:
                if opened:
                    opened(body)
                whole = False
                while done < size:
                    if cancelled.is_set():
                        raise Cancelled.now()
                    # Released at once: a traceback that kept the piece alive would pin the buffer.
                    with view[done : done + _PIECE_BYTES] as piece:
                        count = body.readinto(piece)
                    if not count:
                        raise ConnectionFailed(
                            service=S3, resource=repr(version.key), detail=f"the body ended at byte {start + done}"
                        )
                    done += count
                    arrived(count)
        except TransientError as error:
            if done - counted_from >= progress_bytes:
                failures, counted_from = 0, done
            failures += 1
            if failures >= retrier.budget.attempts:
                raise
            retrier.pause(failures, error)


class BlockPipeline:
    """Moves blocks of any number of objects within one memory budget, several at once from S3 and to Azure.

    Its threads are daemons: a thread stuck in a dead socket never keeps the process from ending.

    Args:
        source: The store that blocks are read from.
        destination: The container that blocks are staged in.
        buffers: The memory budget, shared with everything else that holds object data.
        slots: Decides how many blocks are in flight.
        cancelled: Stops everything; staged blocks stay.
        arrived: Called with the size of each piece that is read.
    """

    def __init__(
        self,
        source: ObjectSource,
        destination: BlobDestination,
        *,
        buffers: BufferPool,
        slots: ConnectionSlots,
        cancelled: threading.Event,
        arrived: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._source = source
        self._arrived = arrived
        self._destination = destination
        self._buffers = buffers
        self._slots = slots
        self._cancelled = cancelled
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads = self._in_flight = 0
        # Whether one has ever been started: those that are being started may not be.
        self._has_threads = False

    def close(self) -> None:
        """Let the threads end; do not wait for a thread that hangs."""
        with self._lock:
            for _ in range(self._threads):
                self._work.put(None)

    def move(
        self,
        route: BlockRoute,
        blocks: Iterable[Block],
        *,
        retrier: Retrier,
        on_staged: Callable[[StagedBlock], None],
    ) -> None:
        """Copy the blocks; return when Azure has confirmed each of them.

        Args:
            route: The object's version and blob.
            blocks: Byte ranges, in the order in which to begin them.
            retrier: Repeats each single request.
            on_staged: Called in a block's thread after each 201.

        Raises:
            TransferError: The first error; no further block is begun, and the blocks in flight are awaited.
            Cancelled: Stopped, within about two seconds whatever the sockets do.
        """
        in_flight = BlocksInFlight(self._cancelled, self._slots)
        for block in blocks:
            if not in_flight.begin():
                break
            job = partial(self._stage, route, block, retrier.within(in_flight.stopped), on_staged, in_flight.stopped)
            self._begin(partial(in_flight.run, job))
        in_flight.finish()

    def _begin(self, job: Callable[[], None]) -> None:
        with self._lock:
            self._in_flight += 1
            is_new = self._in_flight > self._threads
            self._threads += is_new
        # Without the lock, for which threads wait that have nothing to do.
        if is_new:
            if start_thread(self._serve, f"block-{self._threads}"):
                self._has_threads = True
            else:
                with self._lock:
                    self._threads -= 1
        if self._has_threads:
            self._work.put(job)
        else:
            self._run(job)

    def _run(self, job: Callable[[], None]) -> None:
        job()
        with self._lock:
            self._in_flight -= 1

    def _serve(self) -> None:
        while (job := self._work.get()) is not None:
            self._run(job)

    def _stage(
        self,
        route: BlockRoute,
        block: Block,
        retrier: Retrier,
        on_staged: Callable[[StagedBlock], None],
        stopped: threading.Event,
    ) -> None:
        with self._buffers.lend(block.size_bytes) as view:
            with self._slots.reading(block.size_bytes, stopped):
                fill(
                    self._source,
                    route.version,
                    block.start,
                    view,
                    retrier=retrier,
                    cancelled=stopped,
                    arrived=self._arrived,
                )
            staged = StagedBlock(
                start=block.start,
                end=block.end,
                crc64=CRC64NVME.digest(view),
                second=second_digest(route.second, view),
                fingerprint=fingerprint(route.version),
            )
            with self._slots.writing(block.size_bytes, stopped), _stopping(stopped):
                retrier.call(
                    f"stage bytes {block.start} to {block.end} of {route.blob!r}",
                    lambda: self._destination.stage_block(route.blob, staged.block_id, view, staged.crc64),
                )
        on_staged(staged)


@contextmanager
def _stopping(stopped: threading.Event) -> Iterator[None]:
    """Stop the object's other blocks where this one fails, before its slot is free: none of them is written then."""
    try:
        yield
    except BaseException:
        stopped.set()
        raise


class Admission(Protocol):
    """Decides how many blocks may be in flight."""

    def admit(self, stopped: threading.Event) -> None:
        """Wait until one more may be; ``leave`` must follow.

        Raises:
            Cancelled: Stopped while waiting.
        """
        ...

    def leave(self) -> None:
        """Count an admitted block out."""
        ...


class BlocksInFlight:
    """The blocks that one call moves: how many are in flight, and the first error.

    Args:
        cancelled: Stops all blocks of the task.
        slots: Decides how many may be in flight.
    """

    def __init__(self, cancelled: threading.Event, slots: Admission) -> None:
        self.stopped = _EitherEvent(cancelled)
        self._cancelled = cancelled
        self._slots = slots
        self._lock = threading.Lock()
        self._all_done = threading.Condition(self._lock)
        self._in_flight = 0
        self._error: BaseException | None = None

    def begin(self) -> bool:
        """Wait until one more block may be in flight; return False after an error or a stop."""
        try:
            self._slots.admit(self.stopped)
        except Cancelled:
            return False
        if self.stopped.is_set():
            self._slots.leave()
            return False
        with self._lock:
            self._in_flight += 1
        return True

    def run(self, job: Callable[[], None]) -> None:
        """Run one block's job unless an error or a stop came first; never raises."""
        try:
            if not self.stopped.is_set():
                job()
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            with self._lock:
                # A block that stops because another one failed raises Cancelled: the other's error is the cause.
                if self._error is None or isinstance(self._error, Cancelled):
                    self._error = error
            self.stopped.set()
        finally:
            self._slots.leave()
            with self._all_done:
                self._in_flight -= 1
                self._all_done.notify_all()

    def finish(self) -> None:
        """Wait until no block is in flight; raise the first error."""
        deadline: float | None = None
        with self._all_done:
            while self._in_flight:
                self._all_done.wait(_POLL_S)
                if self._cancelled.is_set():
                    deadline = deadline or time.monotonic() + BLOCKS_GRACE_S
                    if time.monotonic() > deadline:
                        raise Cancelled.now()
            if self._error:
                raise self._error
        if self._cancelled.is_set():
            raise Cancelled.now()


class _EitherEvent(StopEvent):
    """The stop of one ``move``: set by its own first error, or while the whole task's event is set.

    An error of one object must stop its own blocks only, but a stop of the task must stop the blocks of all objects.
    """

    def __init__(self, outer: threading.Event) -> None:
        super().__init__()
        self._outer = outer

    def is_set(self) -> bool:
        return super().is_set() or self._outer.is_set()


def damaged_blocks(
    source: ObjectSource,
    version: ObjectVersion,
    blocks: Sequence[StagedBlock],
    *,
    buffers: BufferPool,
    retrier: Retrier,
    cancelled: threading.Event,
) -> list[Block]:
    """Read the blocks of an object again and return those whose bytes do not match the CRC64 in their id."""
    damaged: list[Block] = []
    for block in blocks:
        with buffers.lend(block.size_bytes) as view:
            fill(source, version, block.start, view, retrier=retrier, cancelled=cancelled)
            if CRC64NVME.digest(view) != block.crc64:
                damaged.append(Block(block.start, block.end))
    return damaged
