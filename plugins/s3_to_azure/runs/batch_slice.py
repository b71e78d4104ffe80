"""A batch's slice of the plan: read by its place, compared with its digest, and checked line by line."""

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

MOST_LABEL: Final = 250  # characters that Airflow keeps of a mapped task's name


class BatchSlice:
    """A batch's lines, held as compressed bytes and parsed anew each time.

    Args:
        files: The run's files.
        descriptor: Which batch.
        bucket: The source bucket.
        s3_prefix: All keys lie below it.
        blob_prefix: What takes its place in the blobs' names.
        mapped_names: Names that Azure refuses are mapped.

    Raises:
        CorruptState: The slice is not what the descriptor says.
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
        """Read the slice and compare its digest."""
        name = batches_name(descriptor.plan)
        self._path = f"{files.location}/{name}"
        self.descriptor = descriptor
        self._bucket = bucket
        self._s3_prefix = s3_prefix
        self._blob_prefix = blob_prefix
        self._mapped_names = mapped_names
        self._data = files.read(name, descriptor.offset, descriptor.offset + descriptor.length)
        if sha256(self._data).hexdigest() != descriptor.sha256:
            raise CorruptState(path=self._path, detail="the batch is not the one that its descriptor names")

    def entries(self) -> Iterator[PlanEntry]:
        """Yield the objects.

        Raises:
            CorruptState: A line is not what it must be, or names a key outside the prefix.
        """
        for line in self._lines():
            yield PlanEntry.of_line(line, bucket=self._bucket)

    def _lines(self) -> Iterator[EntryLine]:
        return read_entries([self._data], prefix=self._s3_prefix, path=self._path)

    def check(self) -> None:
        """Read all lines once, before anything is copied.

        Raises:
            CorruptState: A line is not what it must be, or their totals are not the descriptor's.
        """
        objects = size_bytes = parts = 0
        for line in self._lines():
            objects += 1
            size_bytes += line.copied_bytes
            parts += line.block_bytes is not UNSET
        wanted = self.descriptor
        is_range = wanted.kind == "range"
        if (objects, size_bytes, parts) != (wanted.objects, wanted.size_bytes, int(is_range)):
            raise CorruptState(path=self._path, detail="the batch does not hold what its descriptor says")

    def blob_of(self, entry: PlanEntry) -> str:
        """Return the blob's name for an object."""
        return blob_name(
            entry.listed.key, s3_prefix=self._s3_prefix, blob_prefix=self._blob_prefix, mapped=self._mapped_names
        )

    def task(self, entry: PlanEntry) -> CopyTask:
        """Return what the copy of an object is to do."""
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
        """Return the key of a batch of one, else how much it is."""
        if self.descriptor.objects > 1:
            return f"{count_text(self.descriptor.objects, 'object')}, {size_text(self.descriptor.size_bytes)}"
        entry = next(self.entries())
        part = f" [{size_text(entry.within.start)} to {size_text(entry.within.end)}]" if entry.within else ""
        return entry.listed.key[: MOST_LABEL - len(part)] + part
