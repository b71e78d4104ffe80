"""What a task's copies share, and what one of them is to do."""

import threading
from dataclasses import dataclass
from typing import Self

from s3_to_azure.engine.blocks import Block
from s3_to_azure.engine.buffers import BufferPool
from s3_to_azure.engine.config import CopySettings
from s3_to_azure.engine.model import Condition, ListedObject
from s3_to_azure.engine.progress import Progress
from s3_to_azure.engine.pump import Pump
from s3_to_azure.engine.retries import Retrier
from s3_to_azure.engine.throttle import Bandwidth, Gate, GatedDestination, GatedSource
from s3_to_azure.stores.ports import BlobDestination, ObjectSource


@dataclass(frozen=True, slots=True)
class CopyTask:
    """One object to copy.

    Attributes:
        listed: What the listing showed, or None: then the object is looked up first.
        condition: The destination's state as the plan saw it; None: it is read before anything else.
        within: Stage only the blocks that begin in this range (a part of a giant object); None: all, and commit.
        block_bytes: The block size that all parts of a giant object share.
    """

    bucket: str
    key: str
    blob: str
    listed: ListedObject | None = None
    condition: Condition | None = None
    within: Block | None = None
    block_bytes: int | None = None


class Workshop:
    """What every copy of a task shares: the stores, the lanes, the memory budget, the counts, the stop.

    Args:
        source: Objects.
        destination: The container.
        settings: How to copy.
        cancelled: Set it to stop everything within three seconds; staged blocks stay.
        progress: Counts for whoever watches.
    """

    def __init__(
        self,
        source: ObjectSource,
        destination: BlobDestination,
        settings: CopySettings,
        *,
        cancelled: threading.Event | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Start the lanes; close the workshop to end them."""
        self.settings = settings
        self.cancelled = cancelled or threading.Event()
        most = settings.lanes + settings.objects_at_once
        bandwidth = Bandwidth(settings.bandwidth_bytes_s)
        self.source: ObjectSource = GatedSource(source, Gate("S3", most), bandwidth, self.cancelled)
        self.destination: BlobDestination = GatedDestination(
            destination, Gate("Azure Blob Storage", most), self.cancelled
        )
        self.progress = progress or Progress()
        self.buffers = BufferPool(settings.memory_budget_bytes, self.cancelled)
        self.retrier = Retrier(settings.retry, self.cancelled)
        self.pump = Pump(
            self.source, self.destination, buffers=self.buffers, lanes=settings.lanes, cancelled=self.cancelled
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

    def __exit__(self, *_: object) -> None:
        """Let the lanes end."""
        self.pump.close()
