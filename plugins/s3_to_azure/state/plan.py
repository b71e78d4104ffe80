"""The files of a plan: their names, their lines, and how they are written and validated.

::

    plan.json                                  the run's current plan, its batches and its summary
    plan-<token>/batches.jsonl.gz              one gzip member per batch; one line per object to copy
    plan-<token>/left_out.jsonl.gz             one line per object left out, in the order of the listing
    plan-<token>/receipts/<batch>/<try>-<n>.jsonl.gz
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType, structs

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import (
    MAX_BLOCK_BYTES,
    MAX_BLOCKS_PER_BLOB,
    MAX_LISTED_KEY_CHARACTERS,
    MAX_OBJECT_BYTES,
    MIB,
)
from s3_to_azure.model.names import blob_name
from s3_to_azure.model.objects import BlobState, Block, Condition, ListedObject, value
from s3_to_azure.model.options import MAX_TASKS
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.state.formats import (
    FIELD,
    OptionalSha256,
    Prefix,
    Sha256,
    Text,
    Token,
    has_version,
    read_values,
    with_version,
)
from s3_to_azure.state.lines import ETagText, Size, typed_lines
from s3_to_azure.state.manifest import ETAG, Digest, ManifestPointer, ObjectLine, check_line

MAX_MEMBER_BYTES: Final = 512 * MIB
MAX_BATCH_OBJECTS: Final = 50_000_000

BatchKind = Literal["objects", "range"]

ABSENT: Final = ""
_NO_BLOB: Final = Condition(None)

LeftOutStatus = Literal["unchanged", "skipped", "failed"]


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
        listed = ListedObject(bucket, line.key, line.etag, line.size_bytes, line.last_modified, line.storage_class)
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


class LeftOut(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """A line of an object that the plan leaves out.

    Attributes:
        reason: The reason of its receipt; empty for ``unchanged``.
        verified_by: For ``unchanged``: the verification level that the blob's metadata records.
        checksum: For ``unchanged``: the checksum that the blob's metadata records.
    """

    key: Annotated[str, Meta(max_length=MAX_LISTED_KEY_CHARACTERS)]
    etag: ETagText
    size_bytes: Size
    status: LeftOutStatus
    reason: Annotated[str, Meta(max_length=1_000)] = ""
    verified_by: Annotated[str, Meta(max_length=100)] = ""
    checksum: Annotated[str, Meta(max_length=200)] = ""


class BatchDescriptor(msgspec.Struct, frozen=True, gc=False):
    """The place of one batch in the plan. Airflow stores, shows and renders it, so it holds no text of a user.

    Attributes:
        plan: Token of the plan; 16 hex digits.
        index: Number of the batch in the plan, from 0.
        offset: Where the batch's gzip member begins in the batches file.
        length: Size of the member in bytes.
        sha256: Digest of the member.
        objects: Objects in the batch; a range counts as one.
        size_bytes: Bytes to copy.
        kind: ``objects``, or ``range``: blocks of one giant object.
    """

    plan: Token
    index: Annotated[int, Meta(ge=0, lt=MAX_TASKS)]
    offset: Annotated[int, Meta(ge=0, le=MAX_MEMBER_BYTES * MAX_TASKS)]
    length: Annotated[int, Meta(ge=1, le=MAX_MEMBER_BYTES)]
    sha256: Sha256
    objects: Annotated[int, Meta(ge=1, le=MAX_BATCH_OBJECTS)]
    size_bytes: Annotated[int, Meta(ge=0, le=MAX_OBJECT_BYTES * MAX_TASKS)]
    kind: BatchKind

    def as_dict(self) -> dict[str, Any]:
        """Return the descriptor as JSON-ready values."""
        return with_version(structs.asdict(self))

    @classmethod
    def from_dict(cls, values: object, *, path: str = "batch descriptor") -> "BatchDescriptor":
        """Read a descriptor.

        Args:
            values: The result of ``as_dict``.
            path: Where the values come from, for the error.

        Raises:
            CorruptState: A field is missing, unknown or invalid.
            UnsupportedStateFormat: It has another major version.
        """
        return read_values(cls, values, path=path)


PLAN_NAME: Final = "plan.json"
# The descriptors of 1,000 batches take some 400 KB. JSON of this size takes at most 30 MB in memory, whatever it holds.
_MAX_PLAN_BYTES: Final = 1 * MIB


def batches_name(token: str) -> str:
    """Return the name of the plan's file of batches."""
    return f"plan-{token}/batches.jsonl.gz"


def left_out_name(token: str) -> str:
    """Return the name of the plan's file of objects left out."""
    return f"plan-{token}/left_out.jsonl.gz"


def decisions_name(token: str) -> str:
    """Return the name of the temporary file between the two passes of planning."""
    return f"plan-{token}/decisions.jsonl.gz"


def read_left_out(files: StateFiles, token: str, digest: str = "") -> Iterator[LeftOut]:
    """Yield the objects that the plan leaves out, in the order of the listing.

    The file is compared with its SHA-256, if that is known, at its end.

    Raises:
        CorruptState: It is not the plan's file, or is invalid.
    """
    name = left_out_name(token)
    path = f"{files.location}/{name}"
    found = Digest(files.chunks(name))
    for left_out in typed_lines(LeftOut, found, path=path):
        if not ETAG.fullmatch(left_out.etag):
            raise CorruptState(path=path, detail="an etag has characters that are not allowed")
        yield left_out
    if digest and found.hexdigest() != digest:
        raise CorruptState(path=path, detail="it is not the file that the plan wrote")


class PlanIndex(msgspec.Struct, frozen=True, gc=False):
    """The contents of ``plan.json``: the run's current plan, its destination and its batches.

    Attributes:
        token: Identifies the plan.
        manifest: Token of the manifest that it was made from.
        own_batches: Number of batches at the front that hold one object each, or a part of one.
        mapped_names: Whether names that Azure refuses are mapped.
        left_out_sha256: Digest of the file of objects left out; empty if an earlier version made the plan.
        pointer: The manifest that it was made from; None if an earlier version made the plan.
    """

    token: Token
    manifest: Token
    container: Annotated[Text, Meta(max_length=63)]
    s3_prefix: Prefix
    blob_prefix: Prefix
    own_batches: Annotated[int, Meta(ge=0, le=MAX_TASKS)]
    mapped_names: bool
    batches: Annotated[tuple[BatchDescriptor, ...], Meta(max_length=MAX_TASKS)]
    left_out_sha256: OptionalSha256 = ""
    pointer: ManifestPointer | None = None

    def blob_of(self, key: str) -> str:
        """Return the blob's name for a key, for display."""
        return blob_name(key, s3_prefix=self.s3_prefix, blob_prefix=self.blob_prefix, mapped=self.mapped_names)


def write_plan_index(files: StateFiles, index: PlanIndex, summary: Mapping[str, Any]) -> None:
    """Make this plan the current one of the run."""
    values = structs.asdict(index) | {
        "batches": [batch.as_dict() for batch in index.batches],
        "pointer": index.pointer.as_dict() if index.pointer else None,
        "summary": summary,
    }
    with files.write(PLAN_NAME) as out:
        out.write(json.dumps(with_version(values), indent=1).encode("ascii"))


def read_plan_index(files: StateFiles) -> PlanIndex | None:
    """Return the run's current plan, or None if there is none.

    Raises:
        CorruptState: It is invalid.
        UnsupportedStateFormat: It has another major version.
    """
    path = f"{files.location}/{PLAN_NAME}"
    values = _read_plan(files, path)
    if values is None:
        return None
    if not has_version(values.get(FIELD), path=path):
        values = _from_version_0(values)
    batches = values.get("batches")
    if isinstance(batches, list):
        values["batches"] = tuple(BatchDescriptor.from_dict(batch, path=path) for batch in batches[: MAX_TASKS + 1])
    if values.get("pointer") is not None:
        values["pointer"] = ManifestPointer.from_dict(values["pointer"])
    index = read_values(PlanIndex, values, path=path)
    if [(batch.plan, batch.index) for batch in index.batches] != [
        (index.token, number) for number in range(len(index.batches))
    ]:
        raise CorruptState(path=path, detail="its batches are not numbered in order")
    return index


def read_plan_summary(files: StateFiles) -> dict[str, Any]:
    """Return the summary of the run's current plan, which is for display only; empty without a plan.

    Raises:
        CorruptState: The plan is invalid.
    """
    summary = (_read_plan(files, f"{files.location}/{PLAN_NAME}") or {}).get("summary")
    return summary if isinstance(summary, dict) else {}


def _read_plan(files: StateFiles, path: str) -> dict[str, Any] | None:
    """Return the fields of the run's current plan, which are still to be checked; None without a plan."""
    if PLAN_NAME not in files.names(PLAN_NAME):
        return None
    text = bytearray()
    for chunk in files.chunks(PLAN_NAME):
        text += chunk
        if len(text) > _MAX_PLAN_BYTES:
            raise CorruptState(path=path, detail="it is too long")
    try:
        return msgspec.json.decode(text, type=dict[str, Any])
    except (msgspec.DecodeError, ValueError, RecursionError):
        raise CorruptState(path=path, detail="it is not a JSON object") from None


def _from_version_0(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of version 0, whose summary was a text and whose mapped_names was 0 or 1, as those of 1.0."""
    known = dict(values)
    if isinstance(known.get("summary"), str):
        del known["summary"]
    if type(known.get("mapped_names")) is int and known["mapped_names"] in (0, 1):
        known["mapped_names"] = bool(known["mapped_names"])
    return known
