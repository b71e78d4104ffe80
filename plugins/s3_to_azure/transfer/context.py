"""What a task's copies share, and what one of them is to do."""

import threading
from collections.abc import Callable
from typing import Self

from s3_to_azure.model.errors import Throttled
from s3_to_azure.model.objects import Block, Condition, ListedObject, value
from s3_to_azure.model.ports import BlobDestination, ObjectSource, SmallObjectClient
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.transfer.buffers import BufferPool
from s3_to_azure.transfer.pipeline import BlockPipeline
from s3_to_azure.transfer.throttle import Bandwidth, LimitedDestination, LimitedSource, RequestLimiter


@value
class CopyTask:
    """One object to copy.

    Attributes:
        listed: What the listing showed, or None: then the object is looked up first.
        condition: The destination's state as the plan saw it; None: it is read before anything else.
        within: Stage only the blocks that begin in this range (a part of a giant object); None: all, and commit.
        block_bytes: The block size that all parts of a giant object share.
        metadata_only: The blob holds the bytes already; bring its metadata and headers up to date.
    """

    bucket: str
    key: str
    blob: str
    listed: ListedObject | None = None
    condition: Condition | None = None
    within: Block | None = None
    block_bytes: int | None = None
    metadata_only: bool = False


class TransferContext:
    """What every copy of a task shares: the stores, the lanes, the memory budget, the counts, the stop.

    Args:
        source: Objects.
        destination: The container.
        settings: How to copy.
        cancelled: Set it to stop everything within three seconds; staged blocks stay.
        progress: Counts for whoever watches.
        small_object_client: Makes a lane for small objects; None: they go like all others.
    """

    def __init__(
        self,
        source: ObjectSource,
        destination: BlobDestination,
        settings: CopySettings,
        *,
        cancelled: threading.Event | None = None,
        progress: Progress | None = None,
        small_object_client: Callable[[], SmallObjectClient] | None = None,
    ) -> None:
        """Start the lanes; close the workshop to end them."""
        self.settings = settings
        self.small_object_client = small_object_client
        self.cancelled = cancelled or threading.Event()
        most = settings.connections + settings.objects_at_once
        self.bandwidth = Bandwidth(settings.bandwidth_bytes_s)
        self._limiters = {
            "S3": RequestLimiter("S3", most),
            "Azure Blob Storage": RequestLimiter("Azure Blob Storage", most),
        }
        source_limiter, destination_limiter = self._limiters.values()
        self.source: ObjectSource = LimitedSource(source, source_limiter, self.bandwidth, self.cancelled)
        self.destination: BlobDestination = LimitedDestination(destination, destination_limiter, self.cancelled)
        self.progress = progress or Progress()
        self.buffers = BufferPool(settings.memory_budget_bytes, self.cancelled)
        self.retrier = Retrier(settings.retry, self.cancelled)
        self.pipeline = BlockPipeline(
            self.source,
            self.destination,
            buffers=self.buffers,
            connections=settings.connections,
            cancelled=self.cancelled,
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def check(self, bucket: str, *, create_container: bool = False) -> None:
        """Look bucket and container up, so that a wrong name or credential fails once, not once an object.

        Raises:
            PermanentError: One of them is certainly unusable.
        """
        self.retrier.call("look at the container", lambda: self.destination.check(create=create_container))
        self.retrier.call("look at the bucket", lambda: self.source.check(bucket))

    def allowed_at_once(self, most: int) -> int:
        """Return how many of ``most`` requests the services take at present, for what passes no gate by itself."""
        return max(1, int(most * min(limiter.share for limiter in self._limiters.values())))

    def went_well(self) -> None:
        """Note a success of what passes no gate by itself."""
        for limiter in self._limiters.values():
            limiter.widen()

    def throttled(self, error: Throttled) -> None:
        """Hold back because a service said so."""
        limiter = self._limiters.get(str(error.attributes.get("service")))
        if limiter:
            limiter.narrow()

    def __exit__(self, *_: object) -> None:
        """Let the lanes end."""
        self.pipeline.close()
