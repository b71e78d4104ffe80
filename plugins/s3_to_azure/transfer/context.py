"""``TransferContext`` is what all copies of a task share; ``CopyTask`` says what one copy does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_to_azure.model.objects import Block, Condition, ListedObject, value
from s3_to_azure.model.options import AUTO, VIA_WORKER
from s3_to_azure.model.ports import BlobDestination, ObjectSource, SmallObjectClient
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.transfer.buffers import BufferPool
from s3_to_azure.transfer.concurrency import BlockBacklog, ConcurrencyController, ConnectionSlots
from s3_to_azure.transfer.pipeline import BlockPipeline
from s3_to_azure.transfer.throttle import BandwidthLimit, LimitedDestination, LimitedSource, ServiceLimits

if TYPE_CHECKING:
    from s3_to_azure.transfer.fetched.pool import FetchPool


@value
class CopyTask:
    """One object to copy.

    Attributes:
        bucket: The S3 bucket that holds the object.
        key: The object's key.
        blob: The name that the copy gets in the destination's container.
        listed: The object as a listing showed it. None: the copy looks it up first.
        condition: The destination's state at plan time. None: the copy reads it before anything else.
        within: Stage only the blocks that begin in this byte range of a giant object. None: stage all and commit.
        block_bytes: The block size that all ranges of a giant object share.
        metadata_only: The blob already holds the bytes; update its metadata and headers.
        run: Identifies the run to which this copy belongs. Empty: each try is a run of its own.
    """

    bucket: str
    key: str
    blob: str
    listed: ListedObject | None = None
    condition: Condition | None = None
    within: Block | None = None
    block_bytes: int | None = None
    metadata_only: bool = False
    run: str = ""


@dataclass(frozen=True, slots=True)
class TransferContext:
    """What the copies of one task share. ``open_context`` makes it; no field is set again afterwards.

    Attributes:
        source: The objects; each request passes the request limit, each byte the bandwidth limit.
        destination: The container; each request passes the request limit.
        settings: How to copy.
        cancelled: Set it to stop every copy within three seconds; staged blocks stay.
        progress: The task's counts.
        retrier: Repeats requests that fail with a transient error; its ``lines`` log what concerns single objects.
        buffers: The memory budget.
        limits: How many requests each service accepts at present.
        bandwidth: The task's bandwidth limit.
        slots: How many blocks are in flight, and objects that are copied in one request.
        backlog: Decides when one more object begins.
        pipeline: Moves blocks.
        fetch_pool: Lets Azure fetch blocks by itself. None: all bytes go through the worker.
        small_object_client: Makes a client for small objects. None: they are copied like all others.
    """

    source: ObjectSource
    destination: BlobDestination
    settings: CopySettings
    cancelled: threading.Event
    progress: Progress
    retrier: Retrier
    buffers: BufferPool
    limits: ServiceLimits
    bandwidth: BandwidthLimit
    slots: ConnectionSlots
    backlog: BlockBacklog
    pipeline: BlockPipeline
    fetch_pool: "FetchPool | None"
    small_object_client: Callable[[], SmallObjectClient] | None

    @contextmanager
    def admitted(self, size_bytes: int) -> Iterator[memoryview]:
        """Wait until one more block, or object of one request, may be in flight, and lend a buffer for it.

        Raises:
            Cancelled: Stopped while waiting.
        """
        self.slots.admit(self.cancelled)
        try:
            with self.buffers.lend(size_bytes) as view:
                yield view
        finally:
            self.slots.leave()

    def check_access(self, bucket: str, *, create_container: bool = False) -> None:
        """Look up bucket and container, so that a wrong name or credential fails once and not once per object.

        Raises:
            PermanentError: Bucket or container cannot be used.
        """
        self.retrier.call("look up the container", lambda: self.destination.check(create=create_container))
        self.retrier.call("look up the bucket", lambda: self.source.check(bucket))


@contextmanager
def open_context(
    source: ObjectSource,
    destination: BlobDestination,
    settings: CopySettings,
    *,
    cancelled: threading.Event | None = None,
    progress: Progress | None = None,
    small_object_client: Callable[[], SmallObjectClient] | None = None,
) -> Iterator[TransferContext]:
    """Yield what a task's copies share; let the threads that move blocks end after the block.

    Args:
        source: The objects.
        destination: The container.
        settings: How to copy.
        cancelled: Set it to stop every copy within three seconds.
        progress: Counts that somebody watches.
        small_object_client: Makes a client for small objects; None: they are copied like all others.
    """
    cancelled = cancelled or threading.Event()
    limits = ServiceLimits(settings.connections + settings.objects_at_once, fetches=settings.fetches_at_once)
    bandwidth = BandwidthLimit(settings.bandwidth_bytes_s)
    limited_source = LimitedSource(source, limits.s3, bandwidth, cancelled)
    limited_destination = LimitedDestination(destination, limits.azure, cancelled)
    buffers = BufferPool(settings.memory_budget_bytes, cancelled)
    progress = progress or Progress()
    retrier = Retrier(settings.retry, cancelled)
    slots = ConnectionSlots(ConcurrencyController(settings.connections))
    pipeline = BlockPipeline(
        limited_source,
        limited_destination,
        buffers=buffers,
        slots=slots,
        cancelled=cancelled,
        arrived=progress.add_read,
    )
    fetch_pool = None
    if settings.via != VIA_WORKER:
        from s3_to_azure.transfer.fetched.pool import FetchPool  # noqa: PLC0415 - only who wants it loads it

        fetch_pool = FetchPool(limits.fetches, may_stream=settings.via == AUTO)
    try:
        yield TransferContext(
            source=limited_source,
            destination=limited_destination,
            settings=settings,
            cancelled=cancelled,
            progress=progress,
            retrier=retrier,
            buffers=buffers,
            limits=limits,
            bandwidth=bandwidth,
            slots=slots,
            backlog=BlockBacklog(slots),
            pipeline=pipeline,
            fetch_pool=fetch_pool,
            small_object_client=small_object_client,
        )
    finally:
        pipeline.close()
        if fetch_pool is not None:
            fetch_pool.close()
        retrier.lines.end()
        limits.end()
