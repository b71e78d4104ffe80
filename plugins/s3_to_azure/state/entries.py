"""The lines of objects to copy: how they are written into a plan's batches, and validated when they are read."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final

from msgspec import UNSET, Meta, UnsetType

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import MAX_BLOCK_BYTES, MAX_BLOCKS_PER_BLOB, MIB
from s3_to_azure.model.objects import BlobState, Block, Condition, ListedObject, value
from s3_to_azure.state.lines import Size, typed_lines
from s3_to_azure.state.manifest import ETAG, ObjectLine, ReportedText, check_line, reported_checksum, reported_text

ABSENT: Final = ""
_NO_BLOB: Final = Condition(None)


class EntryLine(ObjectLine, frozen=True):
    """A line of an object to copy, or of a part of one.

    Attributes:
        destination_etag: ETag of the blob as the plan saw it; empty: there is no blob; None: the copy looks it up.
        start: First byte of the part; not set for a whole object.
        end: The byte after its last.
        block_bytes: The block size that all parts share.
        metadata_only: The blob holds these bytes already; only metadata and headers may have changed.
    """

    destination_etag: Annotated[str, Meta(max_length=256)] | None
    start: Size | UnsetType = UNSET
    end: Size | UnsetType = UNSET
    block_bytes: Annotated[int, Meta(ge=MIB, le=MAX_BLOCK_BYTES)] | UnsetType = UNSET
    metadata_only: bool = False
    reported: ReportedText = ""

    @property
    def work_bytes(self) -> int:
        """Bytes to copy of the whole object, even if the line is a part of it."""
        return 0 if self.metadata_only else self.size_bytes

    @property
    def copied_bytes(self) -> int:
        """Bytes to copy."""
        if self.start is not UNSET and self.end is not UNSET:
            return self.end - self.start
        return self.work_bytes


@value
class PlanEntry:
    """One object to copy, or a part of one.

    Attributes:
        condition: The destination as the plan saw it; None: the copy looks it up.
        within: The range of the part; None: the whole object.
        block_bytes: The block size that all parts share; None for a whole object.
        metadata_only: The blob holds these bytes already; only metadata and headers may have changed.
    """

    listed: ListedObject
    condition: Condition | None = None
    within: Block | None = None
    block_bytes: int | None = None
    metadata_only: bool = False

    @classmethod
    def of_line(cls, line: EntryLine, *, bucket: str) -> "PlanEntry":
        """Return the entry of a validated line; the bucket is the caller's."""
        listed = ListedObject(
            bucket,
            line.key,
            line.etag,
            line.size_bytes,
            line.last_modified,
            line.storage_class,
            reported=reported_checksum(line.reported, path="plan") if line.reported else None,
        )
        etag = line.destination_etag
        condition = None if etag is None else Condition(etag) if etag else _NO_BLOB
        if line.block_bytes is UNSET or line.start is UNSET or line.end is UNSET:
            return cls(listed, condition, metadata_only=line.metadata_only)
        return cls(listed, condition, Block(line.start, line.end), line.block_bytes)


def entry_line(listed: ListedObject, there: BlobState | None, *, metadata_only: bool = False) -> EntryLine:
    """Return the line of a whole object to copy, under the condition that the blob is unchanged."""
    return EntryLine(
        listed.key,
        listed.etag,
        listed.size_bytes,
        listed.last_modified,
        listed.storage_class,
        there.etag if there else ABSENT,
        metadata_only=metadata_only,
        reported=reported_text(listed.reported) if listed.reported else "",
    )


def read_entries(chunks: Iterable[bytes], *, prefix: str, path: str) -> Iterator[EntryLine]:
    """Yield the validated lines of objects to copy.

    Raises:
        CorruptState: A line is invalid, or its key is not below the prefix.
    """
    for line in typed_lines(EntryLine, chunks, path=path):
        check_line(line, prefix=prefix, path=path)
        etag = line.destination_etag
        if etag and not ETAG.fullmatch(etag):
            raise CorruptState(path=path, detail="a destination_etag has characters that are not allowed")
        if line.block_bytes is not UNSET or line.start is not UNSET or line.end is not UNSET:
            _check_part(line, path)
        if line.metadata_only and (not etag or line.block_bytes is not UNSET):
            raise CorruptState(path=path, detail="metadata_only is set without a blob, or for a part")
        yield line


def _check_part(line: EntryLine, path: str) -> None:
    start, end, block_bytes, size_bytes = line.start, line.end, line.block_bytes, line.size_bytes
    # Without one condition in the plan, the tasks of several parts could commit under different conditions.
    if line.destination_etag is None:
        raise CorruptState(path=path, detail="a part has no condition")
    if start is UNSET or end is UNSET or block_bytes is UNSET or not start < end <= size_bytes:
        raise CorruptState(path=path, detail="start, end or block_bytes of a part is missing or outside its object")
    if start % block_bytes or (end % block_bytes and end != size_bytes):
        raise CorruptState(path=path, detail="a part does not begin and end at the edge of a block")
    if -(-size_bytes // block_bytes) > MAX_BLOCKS_PER_BLOB:
        raise CorruptState(path=path, detail="block_bytes gives too many blocks")
