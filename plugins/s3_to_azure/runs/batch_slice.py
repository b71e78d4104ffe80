"""A batch's slice of the plan: read by offset and length, checked against its digest, then line by line."""

from collections.abc import Iterator
from hashlib import sha256
from typing import Final

from msgspec import UNSET

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.formatting import count_text, size_text
from s3_to_azure.model.names import blob_name
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.state.plan import BatchDescriptor, EntryLine, PlanEntry, batches_name, read_entries
from s3_to_azure.transfer.context import CopyTask

MAX_LABEL_CHARACTERS: Final = 250  # Airflow keeps no more of a mapped task's name


class BatchSlice:
    """The lines of a batch, held as compressed bytes and parsed again on each pass.

    Args:
        files: The run's files.
        descriptor: The batch.
        bucket: The source bucket.
        s3_prefix: The prefix that all keys have.
        blob_prefix: The prefix that the blobs' names have instead.
        mapped_names: Blob names that Azure would refuse are mapped to others.

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
    ) -> None:
        name = batches_name(descriptor.plan)
        self._path = f"{files.location}/{name}"
        self.descriptor = descriptor
        self._bucket = bucket
        self._s3_prefix = s3_prefix
        self._blob_prefix = blob_prefix
        self._mapped_names = mapped_names
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
        for line in self._lines():
            objects += 1
            size_bytes += line.copied_bytes
            parts += line.block_bytes is not UNSET
        expected = self.descriptor
        is_range = expected.kind == "range"
        if (objects, size_bytes, parts) != (expected.objects, expected.size_bytes, int(is_range)):
            raise CorruptState(path=self._path, detail="the batch does not match its descriptor")

    def blob_of(self, entry: PlanEntry) -> str:
        """Return the name of an object's blob."""
        return blob_name(
            entry.listed.key, s3_prefix=self._s3_prefix, blob_prefix=self._blob_prefix, mapped=self._mapped_names
        )

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
        )

    def label(self) -> str:
        """Return the batch's name for people: the key of its only object, or its number of objects and bytes."""
        if self.descriptor.objects > 1:
            return f"{count_text(self.descriptor.objects, 'object')}, {size_text(self.descriptor.size_bytes)}"
        entry = next(self.entries())
        part = f" [{size_text(entry.within.start)} to {size_text(entry.within.end)}]" if entry.within else ""
        return entry.listed.key[: MAX_LABEL_CHARACTERS - len(part)] + part
