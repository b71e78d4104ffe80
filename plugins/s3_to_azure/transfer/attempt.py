"""The state of one try to copy one object: counts, retries, verification, the blob's metadata and tags, receipts."""

import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from s3_to_azure.model import record
from s3_to_azure.model.errors import Throttled, TransientError
from s3_to_azure.model.metadata import joined_metadata, tags_to_azure
from s3_to_azure.model.objects import BlobContents, BlobState, ObjectVersion, Receipt, value
from s3_to_azure.model.options import ALWAYS, AUTO, VIA_AZURE, VIA_WORKER
from s3_to_azure.model.reasons import (
    BY_EARLIER_TRY,
    COPIED,
    METADATA_DROPPED,
    METADATA_INCOMPLETE,
    ONE_REQUEST,
    UNCHANGED,
    Status,
    explained,
)
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer.concurrency import ObjectBacklog
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.integrity import IntegrityCheck, checksum_text, content_md5


class CopyStats:
    """The counts of one copy; any number of threads may add to them.

    Args:
        context: The task's progress counts along.
        task: What is copied.
        try_number: Airflow's number of this try.
    """

    def __init__(self, context: TransferContext, task: CopyTask, try_number: int) -> None:
        self._context = context
        self._task = task
        self._try_number = try_number
        self._clock = time.monotonic()
        self._retries = 0
        self._bytes_sent = 0
        self._blocks_resumed = 0
        self._is_fetching = False
        self._blocks_fetched = self._blocks_streamed = 0
        self._not_fetched = ""
        self._lock = threading.Lock()
        self.started_at = datetime.now(UTC)

    def add_retry(self, error: TransientError) -> None:
        """Count a request that is tried again after an error."""
        with self._lock:
            self._retries += 1
        self._context.progress.add(retries=1, slow_downs=int(isinstance(error, Throttled)))

    def add_sent(self, size_bytes: int) -> None:
        """Count a block of these bytes that the worker sent and Azure confirmed."""
        with self._lock:
            self._bytes_sent += size_bytes
            self._blocks_streamed += self._is_fetching
        self._context.progress.add(bytes_sent=size_bytes)

    def begin_fetching(self) -> None:
        """Note that Azure fetches the object: from now on, the blocks of both ways are counted."""
        with self._lock:
            self._is_fetching = True

    def add_fetched(self, size_bytes: int) -> None:
        """Count a block of these bytes that Azure fetched and confirmed."""
        with self._lock:
            self._bytes_sent += size_bytes
            self._blocks_fetched += 1
        # It has arrived and is confirmed in one, so that the rate and what is in flight are right beside streaming.
        self._context.progress.add(bytes_sent=size_bytes, bytes_read=size_bytes)

    def is_one_request(self) -> None:
        """Note that the worker sends the object in one request, for which Azure would need more."""
        if self._context.settings.via == AUTO:
            self._not_fetched = ONE_REQUEST

    def is_streamed(self, not_fetched: str) -> None:
        """Note why bytes that Azure might have fetched are streamed, by a code of ``reasons.NOT_FETCHED``."""
        with self._lock:
            self._not_fetched = not_fetched

    def add_sent_without_progress(self, size_bytes: int) -> None:
        """Count bytes for the receipt only; the caller adds them to the task's progress."""
        self._bytes_sent += size_bytes

    def add_found(self, size_bytes: int) -> None:
        """Count bytes that another worker has sent meanwhile; what this one sent was refused."""
        self._context.progress.add(bytes_resumed=size_bytes)

    def add_resumed(self, blocks: int, size_bytes: int) -> None:
        """Count blocks that Azure held before this try."""
        self._blocks_resumed = blocks
        self._context.progress.add(bytes_resumed=size_bytes)

    def receipt(
        self, version: ObjectVersion, status: Status, *, blocks: int = 0, reason: str = "", verified_by: str = ""
    ) -> Receipt:
        """Return the receipt with the counts so far; it names the checksum where something was verified."""
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
            checksum=checksum_text(version) if verified_by else "",
            blocks=blocks,
            blocks_resumed=self._blocks_resumed,
            bytes_sent=self._bytes_sent,
            retries=self._retries,
            seconds=round(time.monotonic() - self._clock, 3),
            started_at=self.started_at.isoformat(timespec="milliseconds"),
            try_number=self._try_number,
            via=VIA_AZURE if self._blocks_fetched or (self._is_fetching and not self._not_fetched) else VIA_WORKER,
            blocks_fetched=self._blocks_fetched,
            blocks_streamed=self._blocks_streamed,
            not_fetched=self._not_fetched,
        )


@value
class PreparedContents:
    """What a commit gives a blob beside its bytes.

    Attributes:
        reason: The receipt's: what became of metadata that the blob does not get; empty if it gets all.
    """

    contents: BlobContents
    reason: str


class BlobProperties:
    """Builds what a blob gets beside its bytes: the record of the copy, metadata, headers, tags, tier.

    Args:
        context: Source and settings.
        integrity: Knows by what the copy is verified.
        retrier: The attempt's own, which counts retries.
        run: The run to which the copy belongs; empty: it is one of its own.
    """

    def __init__(self, context: TransferContext, integrity: IntegrityCheck, retrier: Retrier, *, run: str) -> None:
        self._context = context
        # Only where every blob is to be written again does it matter which run wrote it.
        self._run = (run or secrets.token_hex(8)) if context.settings.overwrite == ALWAYS else ""
        self._integrity = integrity
        self._retrier = retrier
        # The ETag whose tags were looked up, and those tags.
        self._tags: tuple[str, Mapping[str, str]] | None = None

    def prepare(self, version: ObjectVersion) -> PreparedContents:
        """Return what the commit gives the blob beside its bytes.

        Raises:
            PermanentError: Azure cannot hold it, and the user did not say what to drop.
        """
        own = {
            record.ETAG: version.etag,
            record.LAST_MODIFIED: version.last_modified.astimezone(UTC).isoformat(),
            record.CHECKSUM: checksum_text(version),
            record.VERIFIED_BY: self._level(version),
            record.SOURCE: record.source_id(version.bucket, version.key),
            record.RUN: self._run,
        }
        chosen = self._context.settings.fidelity
        metadata, dropped = joined_metadata(
            {name: text for name, text in own.items() if text},
            version.metadata,
            key=version.key,
            oversized=chosen.oversized_metadata,
        )
        contents = BlobContents(
            metadata,
            version.headers,
            content_md5(version),
            tags=self._blob_tags(version) if chosen.tags else None,
            tier=chosen.tiers.get(version.storage_class, ""),
        )
        return PreparedContents(contents, METADATA_DROPPED if dropped else _incomplete(version))

    def _level(self, version: ObjectVersion) -> str:
        if self._integrity.needs_read_back(version):
            return record.READBACK_PENDING
        return self._integrity.level_name(version)

    def _blob_tags(self, version: ObjectVersion) -> Mapping[str, str]:
        if self._tags is None or self._tags[0] != version.etag:
            found = self._retrier.call(
                f"look up the tags of {version.key!r}", lambda: self._context.source.tags(version.bucket, version.key)
            )
            self._tags = (version.etag, tags_to_azure(found, key=version.key))
        return self._tags[1]


def _incomplete(version: ObjectVersion) -> str:
    """Return the receipt's reason for metadata that S3 did not send; nothing if it sent all."""
    missing = version.metadata_missing
    if not missing:
        return ""
    entries = "1 entry" if missing == 1 else f"{missing:,} entries"
    return explained(METADATA_INCOMPLETE, f"S3 holds {entries} of its metadata that no header can carry")


class Attempt:
    """One try to copy one object.

    It holds the state that is not shared with other copies: the counts, the retrier, the part sizes and tags that were
    looked up. The modules ``object`` and ``upload`` decide what is done, and use it for their requests and receipts.

    Args:
        context: What all copies of the task share.
        task: What to copy.
        try_number: Airflow's number of this try.
        backlog: The blocks that the object still has to move.
    """

    def __init__(self, context: TransferContext, task: CopyTask, try_number: int, backlog: ObjectBacklog) -> None:
        self.context = context
        self.task = task
        self.backlog = backlog
        self.is_first_try = try_number == 1
        self.stats = CopyStats(context, task, try_number)
        self.retrier = context.retrier.counting(self.stats.add_retry)
        self.integrity = IntegrityCheck(context, self.retrier, task.listed)
        self._properties = BlobProperties(context, self.integrity, self.retrier, run=task.run)
        self._reason = ""

    def check_name(self) -> None:
        """Raise NameRefused if the container cannot hold a blob of this name."""
        blob, destination = self.task.blob, self.context.destination
        self.retrier.call(f"check the name {blob!r}", lambda: destination.check_name(blob))

    def look_up_object(self) -> ObjectVersion:
        """Return the object's current version, or the version that the user named."""
        task, source = self.task, self.context.source
        return self.retrier.call(f"look up object {task.key!r}", lambda: source.head(task.bucket, task.key))

    def current_etag(self) -> str | None:
        """Return the ETag of the object's current version, or None if it was deleted."""
        task, source = self.task, self.context.source
        return self.retrier.call(f"look up object {task.key!r}", lambda: source.current_etag(task.bucket, task.key))

    def look_up_blob(self) -> BlobState | None:
        """Return the committed blob, or None."""
        blob, destination = self.task.blob, self.context.destination
        return self.retrier.call(f"look up blob {blob!r}", lambda: destination.head(blob))

    def contents(self, version: ObjectVersion) -> BlobContents:
        """Return what the commit gives the blob beside its bytes, and note for the receipt what it does not get.

        Raises:
            PermanentError: Azure cannot hold it, and the user did not say what to drop.
        """
        prepared = self._properties.prepare(version)
        self._reason = prepared.reason
        return prepared.contents

    def copied(self, version: ObjectVersion, *, blocks: int, by_another: bool = False) -> Receipt:
        """Return the receipt of a version whose commit is confirmed, be it this one's or another worker's."""
        reason = BY_EARLIER_TRY if by_another else self._reason
        return self.stats.receipt(
            version, COPIED, blocks=blocks, reason=reason, verified_by=self.integrity.verified_by(version)
        )

    def unchanged(self, version: ObjectVersion, blob: BlobState | None, *, reason: str = "") -> Receipt:
        """Return the receipt of a version that the blob holds already, with the verification that the blob records."""
        receipt = self.stats.receipt(version, UNCHANGED, reason=reason)
        return replace(receipt, verified_by=blob.verified_by, checksum=blob.checksum) if blob else receipt
