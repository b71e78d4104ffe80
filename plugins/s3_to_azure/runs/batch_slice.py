"""A batch's slice of the plan: read by offset and length, checked against its digest, then line by line."""

from collections.abc import Callable, Iterator
from hashlib import sha256
from itertools import islice
from os.path import commonprefix
from typing import Final, Literal

from msgspec import UNSET

from s3_to_azure.model.decide import is_proven
from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.formatting import count_text, size_text
from s3_to_azure.model.names import blob_name
from s3_to_azure.model.objects import BlobState, Receipt
from s3_to_azure.model.options import ALWAYS, READBACK, Overwrite
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.reasons import BY_EARLIER_TRY, COPIED, UNCHANGED
from s3_to_azure.state.entries import EntryLine, PlanEntry, read_entries
from s3_to_azure.state.plan import BatchDescriptor, batches_name
from s3_to_azure.transfer.context import CopyTask

MAX_LABEL_CHARACTERS: Final = 250  # Airflow keeps no more of a mapped task's name
# To find finished copies, at most this many blobs that are not the batch's own are listed: some 200 requests.
_MAX_OTHER_BLOBS: Final = 1_000_000


class BatchSlice:
    """The lines of a batch, held as compressed bytes and parsed again on each pass.

    Args:
        files: The run's files.
        descriptor: The batch.
        bucket: The source bucket.
        s3_prefix: The prefix that all keys have.
        blob_prefix: The prefix that the blobs' names have instead.
        mapped_names: Blob names that Azure would refuse are mapped to others.
        run: The run to which the copies belong; empty: they are the plan's.

    Raises:
        CorruptState: The bytes do not match the descriptor's digest.
    """

    def __init__(
        self,
        files: StateFiles,
        descriptor: BatchDescriptor,
        *,
        bucket: str,
        s3_prefix: str,
        blob_prefix: str,
        mapped_names: bool = False,
        run: str = "",
    ) -> None:
        name = batches_name(descriptor.plan)
        self._path = f"{files.location}/{name}"
        self.descriptor = descriptor
        self._bucket = bucket
        self._s3_prefix = s3_prefix
        self._blob_prefix = blob_prefix
        self._mapped_names = mapped_names
        self._run = run or descriptor.plan
        self._data = files.read(name, descriptor.offset, descriptor.offset + descriptor.length)
        if sha256(self._data).hexdigest() != descriptor.sha256:
            raise CorruptState(path=self._path, detail="the batch does not match the digest in its descriptor")

    def entries(self) -> Iterator[PlanEntry]:
        """Yield the batch's entries.

        Raises:
            CorruptState: A line is invalid, or names a key outside the prefix.
        """
        for line in self._lines():
            yield PlanEntry.of_line(line, bucket=self._bucket)

    def _lines(self) -> Iterator[EntryLine]:
        return read_entries([self._data], prefix=self._s3_prefix, path=self._path)

    def check(self) -> None:
        """Check all lines, before anything is copied.

        Raises:
            CorruptState: A line is invalid, or the totals do not match the descriptor.
        """
        objects = size_bytes = parts = 0
        for line in islice(self._lines(), self.descriptor.objects + 1):
            objects += 1
            size_bytes += line.copied_bytes
            parts += line.block_bytes is not UNSET
        expected = self.descriptor
        is_range = expected.kind == "range"
        if (objects, size_bytes, parts) != (expected.objects, expected.size_bytes, int(is_range)):
            raise CorruptState(path=self._path, detail="the batch does not match its descriptor")

    def blob_of(self, entry: PlanEntry) -> str:
        """Return the name of an object's blob."""
        return self._blob_of_key(entry.listed.key)

    def _blob_of_key(self, key: str) -> str:
        return blob_name(key, s3_prefix=self._s3_prefix, blob_prefix=self._blob_prefix, mapped=self._mapped_names)

    def is_from_here_to(self, container: str, receipt: Receipt) -> bool:
        """Return whether a receipt is of the bucket and the blobs that this batch is about; its key may be any."""
        return (receipt.bucket, receipt.container, receipt.blob) == (
            self._bucket,
            container,
            self._blob_of_key(receipt.key),
        )

    def find_copies(
        self,
        wanted: Callable[[PlanEntry], bool],
        list_blobs: Callable[[str], Iterator[BlobState]],
        *,
        container: str,
        overwrite: Overwrite,
        integrity: str,
        try_number: int,
    ) -> Iterator[tuple[PlanEntry, Receipt]]:
        """Find the objects that an earlier try finished in one listing of the destination.

        Args:
            wanted: Whether an entry is looked for.
            list_blobs: Lists the blobs below a prefix.
            container: The destination, for the receipts.
            overwrite: With ``always``, a blob counts only if it was written by this batch's run.
            integrity: The level that a blob's record must prove; with ``readback``, no record proves enough.
            try_number: For the receipts.
        """
        if integrity == READBACK:
            return
        run = self._run if overwrite == ALWAYS else None
        left = {self.blob_of(entry): entry for entry in self.entries() if wanted(entry)}
        if not left:
            return
        first, last = min(left), max(left)
        for blob in islice(list_blobs(commonprefix((first, last))), len(left) + _MAX_OTHER_BLOBS):
            entry = left.get(blob.name)
            if entry is not None and (status := _status(entry, blob, integrity, run)):
                yield entry, _receipt_of(entry, blob, status, container, try_number)
            if blob.name >= last:
                return

    def task(self, entry: PlanEntry) -> CopyTask:
        """Return the copy task of an entry."""
        return CopyTask(
            bucket=self._bucket,
            key=entry.listed.key,
            blob=self.blob_of(entry),
            listed=entry.listed,
            condition=entry.condition,
            within=entry.within,
            block_bytes=entry.block_bytes,
            metadata_only=entry.metadata_only,
            run=self._run,
        )

    def label(self) -> str:
        """Return the batch's name for people: the key of its only object, or its number of objects and bytes."""
        if self.descriptor.objects > 1:
            return f"{count_text(self.descriptor.objects, 'object')}, {size_text(self.descriptor.size_bytes)}"
        entry = next(self.entries())
        part = f" [{size_text(entry.within.start)} to {size_text(entry.within.end)}]" if entry.within else ""
        return entry.listed.key[: MAX_LABEL_CHARACTERS - len(part)] + part


def _status(
    entry: PlanEntry, blob: BlobState, integrity: str, run: str | None
) -> Literal["copied", "unchanged"] | None:
    # The whole record, since a metadata update that went half-way leaves the old one.
    if not is_proven(entry.listed, blob, level=integrity, run=run):
        return None
    if entry.condition is None:
        return COPIED if run else UNCHANGED
    if entry.condition.fits(blob):
        # The blob is still as the plan saw it.
        return None
    return UNCHANGED if entry.metadata_only else COPIED


def _receipt_of(
    entry: PlanEntry, blob: BlobState, status: Literal["copied", "unchanged"], container: str, try_number: int
) -> Receipt:
    return Receipt(
        bucket=entry.listed.bucket,
        key=entry.listed.key,
        etag=entry.listed.etag,
        size_bytes=entry.listed.size_bytes,
        container=container,
        blob=blob.name,
        status=status,
        reason=BY_EARLIER_TRY if status == COPIED else "",
        verified_by=blob.verified_by,
        checksum=blob.checksum,
        try_number=try_number,
    )
