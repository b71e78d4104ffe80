"""The plan's files: what each line and the summary hold, and how they are read back without trust.

::

    plan.json                                  which plan is the run's; its batches and counts
    plan-<token>/batches.jsonl.gz              one gzip member a batch, one line an object to copy
    plan-<token>/left_out.jsonl.gz             one line an object left out, in the order of the listing
    plan-<token>/receipts/<batch>/<try>-<n>.jsonl.gz
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from s3_to_azure.engine.batches import MAX_TASKS, TOKEN, BatchDescriptor
from s3_to_azure.engine.blocks import Block
from s3_to_azure.engine.errors import BadState
from s3_to_azure.engine.limits import MAX_BLOCK_BYTES, MAX_BLOCKS_PER_BLOB, MAX_KEY_BYTES, MIB
from s3_to_azure.engine.manifest import ETAG, ObjectLine, check_line
from s3_to_azure.engine.model import Condition, ListedObject
from s3_to_azure.engine.names import blob_name
from s3_to_azure.engine.state_lines import ETagText, Size, typed_lines
from s3_to_azure.engine.state_rows import Row
from s3_to_azure.stores.ports import StateFiles

PLAN_NAME: Final = "plan.json"
_MOST_PLAN_BYTES: Final = 4 * MIB
_ABSENT: Final = ""

LeftOutStatus = Literal["unchanged", "skipped", "failed"]


def batches_name(token: str) -> str:
    """Return the name of the plan's batches file."""
    return f"plan-{token}/batches.jsonl.gz"


def left_out_name(token: str) -> str:
    """Return the name of the plan's file of objects left out."""
    return f"plan-{token}/left_out.jsonl.gz"


def decisions_name(token: str) -> str:
    """Return the name of the file between the plan's two passes; it is gone afterwards."""
    return f"plan-{token}/decisions.jsonl.gz"


class EntryLine(ObjectLine, frozen=True):
    """A line of an object to copy, or of a part of one."""

    destination_etag: Annotated[str, Meta(max_length=256)] | None
    start: Size | UnsetType = UNSET
    end: Size | UnsetType = UNSET
    block_bytes: Annotated[int, Meta(ge=MIB, le=MAX_BLOCK_BYTES)] | UnsetType = UNSET
    metadata_only: bool = False

    @property
    def copied_bytes(self) -> int:
        """Bytes to copy."""
        if self.start is not UNSET and self.end is not UNSET:
            return self.end - self.start
        return 0 if self.metadata_only else self.size_bytes


@dataclass(frozen=True, slots=True)
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

    @property
    def work_bytes(self) -> int:
        """Bytes to copy of the whole object."""
        return 0 if self.metadata_only else self.listed.size_bytes

    @property
    def size_bytes(self) -> int:
        """Bytes to copy."""
        return self.within.size_bytes if self.within else self.work_bytes

    def line(self) -> EntryLine:
        """Return the entry as a line; ``""`` as destination's ETag means that there is no blob."""
        listed, condition, within = self.listed, self.condition, self.within
        etag = None if condition is None else condition.etag or _ABSENT
        return EntryLine(
            listed.key,
            listed.etag,
            listed.size_bytes,
            listed.last_modified,
            listed.storage_class,
            etag,
            within.start if within else UNSET,
            within.end if within else UNSET,
            UNSET if self.block_bytes is None else self.block_bytes,
            self.metadata_only,
        )

    @classmethod
    def of_line(cls, line: EntryLine, *, bucket: str) -> "PlanEntry":
        """Return the entry of a line that was checked; the bucket is the caller's."""
        listed = ListedObject(bucket, line.key, line.etag, line.size_bytes, line.last_modified, line.storage_class)
        condition = None if line.destination_etag is None else Condition(line.destination_etag or None)
        if line.block_bytes is UNSET or line.start is UNSET or line.end is UNSET:
            return cls(listed, condition, metadata_only=line.metadata_only)
        return cls(listed, condition, Block(line.start, line.end), line.block_bytes)


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


def read_left_out(files: StateFiles, token: str) -> Iterator[LeftOut]:
    """Yield the objects that the plan left out, in the order of the listing."""
    name = left_out_name(token)
    path = f"{files.location}/{name}"
    for left_out in typed_lines(LeftOut, files.chunks(name), path=path):
        if not ETAG.fullmatch(left_out.etag):
            raise BadState(path=path, detail="etag has characters that it cannot have")
        yield left_out


@dataclass(frozen=True, slots=True)
class PlanIndex:
    """What ``plan.json`` says: which plan is the run's, where it goes, and its batches.

    Attributes:
        token: The plan.
        manifest: The token of the manifest that it was made from.
        mapped_names: Names that Azure refuses are mapped.
        own_batches: So many batches at the front hold one object each, or a part of one.
    """

    token: str
    manifest: str
    container: str
    s3_prefix: str
    blob_prefix: str
    own_batches: int
    mapped_names: bool
    batches: tuple[BatchDescriptor, ...]

    def blob_of(self, key: str) -> str:
        """Return the blob's name for a key, for display."""
        return blob_name(key, s3_prefix=self.s3_prefix, blob_prefix=self.blob_prefix, mapped=self.mapped_names)


def write_plan_index(files: StateFiles, index: PlanIndex, summary: Mapping[str, Any]) -> None:
    """Make this plan the run's."""
    values = {
        "token": index.token,
        "manifest": index.manifest,
        "container": index.container,
        "s3_prefix": index.s3_prefix,
        "blob_prefix": index.blob_prefix,
        "own_batches": index.own_batches,
        "mapped_names": int(index.mapped_names),
        "batches": [batch.as_dict() for batch in index.batches],
        "summary": json.dumps(summary),
    }
    with files.write(PLAN_NAME) as out:
        out.write(json.dumps(values, indent=1).encode("ascii"))


def read_plan_index(files: StateFiles) -> PlanIndex | None:
    """Return the run's plan, or None where none was made.

    Raises:
        BadState: It is not what a plan writes.
    """
    if PLAN_NAME not in files.names(PLAN_NAME):
        return None
    path = f"{files.location}/{PLAN_NAME}"
    text = files.read(PLAN_NAME)
    row = Row(text if len(text) <= _MOST_PLAN_BYTES else b"", path)
    index = PlanIndex(
        token=row.text("token", most=16, pattern=TOKEN),
        manifest=row.text("manifest", most=16, pattern=TOKEN),
        container=row.text("container", most=63),
        s3_prefix=row.text("s3_prefix", most=MAX_KEY_BYTES),
        blob_prefix=row.text("blob_prefix", most=MAX_KEY_BYTES),
        own_batches=row.number("own_batches", most=MAX_TASKS),
        mapped_names=bool(row.number("mapped_names", most=1)),
        batches=tuple(BatchDescriptor.from_row(batch) for batch in row.rows("batches", most=MAX_TASKS)),
    )
    row.text("summary", most=_MOST_PLAN_BYTES)
    row.end()
    if [(batch.plan, batch.index) for batch in index.batches] != [
        (index.token, number) for number in range(len(index.batches))
    ]:
        raise row.bad("its batches are not numbered in order")
    return index
