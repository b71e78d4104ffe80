"""The files of a plan: their names, their lines, and how they are written and validated.

::

    plan.json                                  the run's current plan, its batches and its summary
    plan-<token>/plan.json                     the same, of each plan
    plan-<token>/batches.jsonl.gz              one gzip member per batch; one line per object to copy
    plan-<token>/left_out.jsonl.gz             one line per object left out, in the order of the listing
    plan-<token>/receipts/<batch>/<try>-<n>.jsonl.gz
    plan-<token>/tries/<batch>-<try>           empty; a later try has begun
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, structs

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import (
    MAX_LISTED_KEY_CHARACTERS,
    MAX_OBJECT_BYTES,
    MIB,
)
from s3_to_azure.model.names import blob_name
from s3_to_azure.model.objects import TaskTry
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
from s3_to_azure.state.manifest import ETAG, Digest, ManifestPointer

MAX_MEMBER_BYTES: Final = 512 * MIB
MAX_BATCH_OBJECTS: Final = 50_000_000

BatchKind = Literal["objects", "range"]

LeftOutStatus = Literal["unchanged", "skipped", "failed"]


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
        plan_sha256: Digest of the plan's own file, with the first batch only; empty with all others.
    """

    plan: Token
    index: Annotated[int, Meta(ge=0, lt=MAX_TASKS)]
    offset: Annotated[int, Meta(ge=0, le=MAX_MEMBER_BYTES * MAX_TASKS)]
    length: Annotated[int, Meta(ge=1, le=MAX_MEMBER_BYTES)]
    sha256: Sha256
    objects: Annotated[int, Meta(ge=1, le=MAX_BATCH_OBJECTS)]
    size_bytes: Annotated[int, Meta(ge=0, le=MAX_OBJECT_BYTES * MAX_TASKS)]
    kind: BatchKind
    plan_sha256: OptionalSha256 = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the descriptor as JSON-ready values."""
        values = structs.asdict(self)
        if not self.plan_sha256:
            del values["plan_sha256"]
        return with_version(values)

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


def plan_name(token: str) -> str:
    """Return the name of a plan's own file, which no other plan replaces."""
    return f"plan-{token}/{PLAN_NAME}"


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


@dataclass(frozen=True, slots=True)
class PlanReference:
    """One of a run's plans, as Airflow keeps it with the batches that it maps.

    Attributes:
        sha256: Digest of the plan's file; empty: unknown.
    """

    token: str
    sha256: str = ""


def mapped_batches(batches: Sequence[BatchDescriptor], reference: PlanReference) -> list[dict[str, Any]]:
    """Return the batches as Airflow maps them; the first one refers to its plan."""
    first = [structs.replace(batch, plan_sha256=reference.sha256) for batch in batches[:1]]
    return [batch.as_dict() for batch in (*first, *batches[1:])]


def reference_of(batches: Sequence[object]) -> PlanReference | None:
    """Return which plan Airflow has mapped; None if these are no batches of a plan.

    Raises:
        CorruptState: The first batch is invalid.
    """
    if not batches:
        return None
    first = BatchDescriptor.from_dict(batches[0])
    return PlanReference(first.plan, first.plan_sha256)


def write_plan_index(
    files: StateFiles, index: PlanIndex, summary: Mapping[str, Any], by: TaskTry | None = None
) -> PlanReference:
    """Write the plan's own file, and make it the current plan of the run unless a later try has planned already.

    Args:
        files: The run's files.
        index: The plan.
        summary: Its counts, for display.
        by: The try that plans; None: no other one does.
    """
    values = structs.asdict(index) | {
        "batches": [batch.as_dict() for batch in index.batches],
        "pointer": index.pointer.as_dict() if index.pointer else None,
        "summary": summary,
    }
    text = json.dumps(with_version(values), indent=1).encode("ascii")
    with files.write(plan_name(index.token)) as out:
        out.write(text)
    with files.write(PLAN_NAME, by=by) as out:
        out.write(text)
    return PlanReference(index.token, sha256(text).hexdigest())


@dataclass(frozen=True, slots=True)
class StoredPlan:
    """A plan as its file holds it.

    Attributes:
        reference: Without a digest if an earlier version made the plan, which then has no file of its own.
        summary: For display only; empty if there is none.
    """

    index: PlanIndex
    reference: PlanReference
    summary: Mapping[str, Any]


def read_plan(files: StateFiles, which: PlanReference | None = None) -> StoredPlan | None:
    """Return a plan of the run; None if there is none.

    Args:
        files: The run's files.
        which: The plan; None: the current one.

    Raises:
        CorruptState: It is invalid, or it is not the plan that the reference describes.
        UnsupportedStateFormat: It has another major version.
    """
    name, digest = (plan_name(which.token) if which else PLAN_NAME), ""
    text = _read_plan(files, name)
    if text is not None:
        digest = sha256(text).hexdigest()
    elif which:
        text = _read_plan(files, PLAN_NAME)
    if text is None and not which:
        return None
    path = f"{files.location}/{name}"
    if text is None:
        raise CorruptState(path=path, detail="it does not exist")
    values = _decoded(text, path)
    index, summary = _parsed_plan(values, path), values.get("summary")
    if which and (index.token != which.token or which.sha256 not in ("", digest)):
        raise CorruptState(path=path, detail="it is not the plan that Airflow has mapped")
    return StoredPlan(index, PlanReference(index.token, digest), summary if isinstance(summary, dict) else {})


def read_plan_index(files: StateFiles, which: PlanReference | None = None) -> PlanIndex | None:
    """Return what ``read_plan`` returns, without the summary."""
    found = read_plan(files, which)
    return found.index if found else None


def _parsed_plan(values: dict[str, Any], path: str) -> PlanIndex:
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


def _read_plan(files: StateFiles, name: str) -> bytes | None:
    """Return the text of a plan, at most 1 MiB; None without a plan."""
    if name not in files.names(name):
        return None
    text = bytearray()
    for chunk in files.chunks(name):
        text += chunk
        if len(text) > _MAX_PLAN_BYTES:
            raise CorruptState(path=f"{files.location}/{name}", detail="it is too long")
    return bytes(text)


def _decoded(text: bytes, path: str) -> dict[str, Any]:
    """Return the fields of a plan, which are still to be checked."""
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
