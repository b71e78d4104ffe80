"""The counts of one object's copy, and the receipt made from them."""

import threading
import time
from datetime import UTC, datetime

from s3_to_azure.engine import proof
from s3_to_azure.engine.workshop import CopyTask, Workshop
from s3_to_azure.model.errors import TransientError
from s3_to_azure.model.objects import ObjectVersion, Receipt, Status


class Ledger:
    """What one copy did; many threads add.

    Args:
        shop: Whose progress counts along.
        task: What is copied.
        try_number: Airflow's number of this try.
    """

    def __init__(self, shop: Workshop, task: CopyTask, try_number: int) -> None:
        """Begin now, at zero."""
        self._shop = shop
        self._task = task
        self._try_number = try_number
        self._clock = time.monotonic()
        self._retries = 0
        self._bytes_sent = 0
        self._blocks_resumed = 0
        self._lock = threading.Lock()
        self.started = datetime.now(UTC)

    def count_retry(self, _error: TransientError) -> None:
        """Count a request that was tried again."""
        with self._lock:
            self._retries += 1
        self._shop.progress.add(retries=1)

    def sent(self, size_bytes: int) -> None:
        """Count bytes that Azure confirmed."""
        with self._lock:
            self._bytes_sent += size_bytes
        self._shop.progress.add(bytes_sent=size_bytes)

    def sent_alone(self, size_bytes: int) -> None:
        """Count them for the receipt; whoever calls counts them for the task's progress."""
        self._bytes_sent += size_bytes

    def resumed(self, blocks: int, size_bytes: int) -> None:
        """Count blocks that Azure held already."""
        self._blocks_resumed = blocks
        self._shop.progress.add(bytes_resumed=size_bytes)

    def receipt(
        self, version: ObjectVersion, status: Status, *, blocks: int = 0, reason: str = "", verified_by: str = ""
    ) -> Receipt:
        """Return the receipt as of now; it names the checksum where something was proven."""
        return Receipt(
            bucket=version.bucket,
            key=version.key,
            etag=version.etag,
            size_bytes=version.size_bytes,
            container=self._shop.destination.container,
            blob=self._task.blob,
            status=status,
            reason=reason,
            verified_by=verified_by,
            checksum=proof.checksum_text(version) if verified_by else "",
            blocks=blocks,
            blocks_resumed=self._blocks_resumed,
            bytes_sent=self._bytes_sent,
            retries=self._retries,
            seconds=round(time.monotonic() - self._clock, 3),
            started_at=self.started.isoformat(timespec="milliseconds"),
            try_number=self._try_number,
        )
