"""What the ways of copying one object share: both stores, its counts, its proof, and what goes with its bytes."""

import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from s3_to_azure.model.errors import TransientError
from s3_to_azure.model.objects import BlobContents, BlobState, ObjectVersion, Receipt
from s3_to_azure.model.reasons import COPIED, METADATA_DROPPED, UNCHANGED, Status
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import joined_metadata, tags_to_azure
from s3_to_azure.transfer import integrity as proof
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.integrity import IntegrityCheck


class CopyStats:
    """What one copy did; many threads add.

    Args:
        context: Whose progress counts along.
        task: What is copied.
        try_number: Airflow's number of this try.
    """

    def __init__(self, context: TransferContext, task: CopyTask, try_number: int) -> None:
        """Begin now, at zero."""
        self._context = context
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
        self._context.progress.add(retries=1)

    def sent(self, size_bytes: int) -> None:
        """Count bytes that Azure confirmed."""
        with self._lock:
            self._bytes_sent += size_bytes
        self._context.progress.add(bytes_sent=size_bytes)

    def sent_alone(self, size_bytes: int) -> None:
        """Count them for the receipt; whoever calls counts them for the task's progress."""
        self._bytes_sent += size_bytes

    def resumed(self, blocks: int, size_bytes: int) -> None:
        """Count blocks that Azure held already."""
        self._blocks_resumed = blocks
        self._context.progress.add(bytes_resumed=size_bytes)

    def receipt(
        self, version: ObjectVersion, status: Status, *, blocks: int = 0, reason: str = "", verified_by: str = ""
    ) -> Receipt:
        """Return the receipt as of now; it names the checksum where something was proven."""
        return Receipt(
            bucket=version.bucket,
            key=version.key,
            etag=version.etag,
            size_bytes=version.size_bytes,
            container=self._context.destination.container,
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


class BlobProperties:
    """The belongings of one object's copy.

    Args:
        context: Source and settings.
        integrity: Knows what the copy is proven by.
        retrier: The copy's own, which counts.
    """

    def __init__(self, context: TransferContext, integrity: IntegrityCheck, retrier: Retrier) -> None:
        """Begin with nothing looked up."""
        self._context = context
        self._integrity = integrity
        self._retrier = retrier
        self._tags: tuple[str, Mapping[str, str]] | None = None
        self.metadata_dropped = False

    def contents(self, version: ObjectVersion) -> BlobContents:
        """Return what the commit gives the blob beside its bytes.

        Raises:
            PermanentError: Azure cannot hold it, and the user did not say what to drop.
        """
        own = {
            "s3_etag": version.etag,
            "s3_last_modified": version.last_modified.astimezone(UTC).isoformat(),
            "s3_checksum": proof.checksum_text(version),
            "s3_verified_by": self._integrity.level_name(version),
        }
        named = {name: value for name, value in own.items() if value}
        choices = self._context.settings.fidelity
        metadata, self.metadata_dropped = joined_metadata(
            named, version.metadata, key=version.key, oversized=choices.oversized_metadata
        )
        return BlobContents(
            metadata,
            version.headers,
            proof.content_md5(version),
            tags=self._blob_tags(version) if choices.tags else None,
            tier=choices.tiers.get(version.storage_class, ""),
        )

    def _blob_tags(self, version: ObjectVersion) -> Mapping[str, str]:
        if self._tags is None or self._tags[0] != version.etag:
            found = self._retrier.call(
                f"look up the tags of {version.key!r}", lambda: self._context.source.tags(version.bucket, version.key)
            )
            self._tags = (version.etag, tags_to_azure(found, key=version.key))
        return self._tags[1]


class ObjectCopy:
    """One try to copy one object.

    Args:
        context: Stores, settings, buffers.
        task: What to copy.
        try_number: Airflow's number of this try.
    """

    def __init__(self, context: TransferContext, task: CopyTask, try_number: int) -> None:
        """Begin with nothing looked at."""
        self.context = context
        self.task = task
        self.stats = CopyStats(context, task, try_number)
        self.retrier = context.retrier.counting(self.stats.count_retry)
        self.integrity = IntegrityCheck(context, task.blob, self.retrier)
        self.properties = BlobProperties(context, self.integrity, self.retrier)

    def look_at_object(self) -> ObjectVersion:
        """Return the object's current version, or the one that the user named."""
        task, source = self.task, self.context.source
        return self.retrier.call(f"look at object {task.key!r}", lambda: source.head(task.bucket, task.key))

    def look_at_blob(self) -> BlobState | None:
        """Return the committed blob, or None."""
        blob, destination = self.task.blob, self.context.destination
        return self.retrier.call(f"look at blob {blob!r}", lambda: destination.head(blob))

    def copied(self, version: ObjectVersion, *, blocks: int) -> Receipt:
        """Return the receipt of a version whose commit is confirmed."""
        reason = METADATA_DROPPED if self.properties.metadata_dropped else ""
        verified_by = self.integrity.verified_by(version)
        return self.stats.receipt(version, COPIED, blocks=blocks, reason=reason, verified_by=verified_by)

    def unchanged(self, version: ObjectVersion, blob: BlobState | None, *, reason: str = "") -> Receipt:
        """Return the receipt of a version that the blob holds already, with the proof that the blob records."""
        recorded = blob.metadata if blob else {}
        return replace(
            self.stats.receipt(version, UNCHANGED, reason=reason),
            verified_by=recorded.get("s3_verified_by", ""),
            checksum=recorded.get("s3_checksum", ""),
        )
