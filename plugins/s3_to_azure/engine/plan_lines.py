"""What each line of a plan's files holds, and what makes it one that cannot be."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from s3_to_azure.engine.manifest import ETAG, ObjectLine, check_line
from s3_to_azure.engine.state_lines import ETagText, Size, typed_lines
from s3_to_azure.model.errors import BadState
from s3_to_azure.model.limits import MAX_BLOCK_BYTES, MAX_BLOCKS_PER_BLOB, MAX_KEY_BYTES, MIB
from s3_to_azure.model.objects import BlobState, Block, Condition, ListedObject, value

ABSENT: Final = ""
_NO_BLOB: Final = Condition(None)

LeftOutStatus = Literal["unchanged", "skipped", "failed"]


class EntryLine(ObjectLine, frozen=True):
    """A line of an object to copy, or of a part of one.

    Attributes:
        destination_etag: The blob's as the plan saw it; empty: there is no blob; None: the copy looks itself.
        start: The part's first byte; nothing for a whole object.
        end: The byte behind its last.
        block_bytes: The block size that all parts share.
        metadata_only: The blob holds these bytes; only what belongs to them may have changed.
    """

    destination_etag: Annotated[str, Meta(max_length=256)] | None
    start: Size | UnsetType = UNSET
    end: Size | UnsetType = UNSET
    block_bytes: Annotated[int, Meta(ge=MIB, le=MAX_BLOCK_BYTES)] | UnsetType = UNSET
    metadata_only: bool = False

    @property
    def work_bytes(self) -> int:
        """Bytes to copy of the whole object."""
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
        condition: The destination as the plan saw it; None: the copy looks itself.
        within: The part's bytes; None: the whole object.
        block_bytes: The block size that all parts share; None for a whole object.
        metadata_only: The blob holds these bytes; only what belongs to them may have changed.
    """

    listed: ListedObject
    condition: Condition | None = None
    within: Block | None = None
    block_bytes: int | None = None
    metadata_only: bool = False

    @classmethod
    def of_line(cls, line: EntryLine, *, bucket: str) -> "PlanEntry":
        """Return the entry of a line that was checked; the bucket is the caller's."""
        listed = ListedObject(bucket, line.key, line.etag, line.size_bytes, line.last_modified, line.storage_class)
        etag = line.destination_etag
        condition = None if etag is None else Condition(etag) if etag else _NO_BLOB
        if line.block_bytes is UNSET or line.start is UNSET or line.end is UNSET:
            return cls(listed, condition, metadata_only=line.metadata_only)
        return cls(listed, condition, Block(line.start, line.end), line.block_bytes)


def entry_line(listed: ListedObject, there: BlobState | None, *, metadata_only: bool = False) -> EntryLine:
    """Return the line of an object to copy as a whole, under the condition that the blob is what was seen."""
    return EntryLine(
        listed.key,
        listed.etag,
        listed.size_bytes,
        listed.last_modified,
        listed.storage_class,
        there.etag if there else ABSENT,
        metadata_only=metadata_only,
    )


def read_entries(chunks: Iterable[bytes], *, prefix: str, path: str) -> Iterator[EntryLine]:
    """Yield the lines of objects to copy, checked.

    Raises:
        BadState: A line is not what it must be, or names a key outside the prefix.
    """
    for line in typed_lines(EntryLine, chunks, path=path):
        check_line(line, prefix=prefix, path=path)
        etag = line.destination_etag
        if etag and not ETAG.fullmatch(etag):
            raise BadState(path=path, detail="destination_etag has characters that it cannot have")
        if line.block_bytes is not UNSET or line.start is not UNSET or line.end is not UNSET:
            _check_part(line, path)
        if line.metadata_only and (not etag or line.block_bytes is not UNSET):
            raise BadState(path=path, detail="metadata_only goes with a blob that is there, and not with a part")
        yield line


def _check_part(line: EntryLine, path: str) -> None:
    start, end, block_bytes, size_bytes = line.start, line.end, line.block_bytes, line.size_bytes
    # Without a condition of their own, the tasks of several parts could commit under different ones.
    if line.destination_etag is None:
        raise BadState(path=path, detail="a part has no condition")
    if start is UNSET or end is UNSET or block_bytes is UNSET or not start < end <= size_bytes:
        raise BadState(path=path, detail="a part's start, end or block_bytes is missing, or outside its object")
    if start % block_bytes or (end % block_bytes and end != size_bytes):
        raise BadState(path=path, detail="a part does not lie on the blocks' borders")
    if -(-size_bytes // block_bytes) > MAX_BLOCKS_PER_BLOB:
        raise BadState(path=path, detail="block_bytes makes too many blocks")


class LeftOut(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, gc=False):
    """An object that the plan leaves out, as its line says it.

    Attributes:
        reason: Why, as its receipt says it; empty for ``unchanged``.
        verified_by: For ``unchanged``: the proof that the blob records of its copy.
        checksum: For ``unchanged``: the checksum that the blob records.
    """

    key: Annotated[str, Meta(max_length=MAX_KEY_BYTES)]
    etag: ETagText
    size_bytes: Size
    status: LeftOutStatus
    reason: Annotated[str, Meta(max_length=1_000)] = ""
    verified_by: Annotated[str, Meta(max_length=100)] = ""
    checksum: Annotated[str, Meta(max_length=200)] = ""
