"""The plan's files: what each line and the summary hold, and how they are read back without trust.

::

    plan.json                                  which plan is the run's; its batches and counts
    plan-<token>/batches.jsonl.gz              one gzip member a batch, one line an object to copy
    plan-<token>/left_out.jsonl.gz             one line an object left out, in the order of the listing
    plan-<token>/receipts/<batch>/<try>-<n>.jsonl.gz
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from s3_to_azure.engine.batches import MAX_TASKS, TOKEN, BatchDescriptor
from s3_to_azure.engine.blocks import Block
from s3_to_azure.engine.limits import MAX_BLOCK_BYTES, MAX_BLOCKS_PER_BLOB, MAX_KEY_BYTES, MAX_OBJECT_BYTES, MIB
from s3_to_azure.engine.manifest import ETAG, listed_of, row_of
from s3_to_azure.engine.model import Condition, ListedObject
from s3_to_azure.engine.names import blob_name
from s3_to_azure.engine.state_lines import Row, lines
from s3_to_azure.stores.ports import StateFiles

PLAN_NAME: Final = "plan.json"
_MOST_PLAN_BYTES: Final = 4 * MIB
_STATUSES: Final = re.compile("unchanged|skipped|failed")
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

    def row(self) -> dict[str, object]:
        """Return the entry as a line's values; ``""`` as destination's ETag means that there is no blob."""
        etag = None if self.condition is None else self.condition.etag or _ABSENT
        values = row_of(self.listed) | {"destination_etag": etag}
        if self.within is not None:
            values |= {"start": self.within.start, "end": self.within.end, "block_bytes": self.block_bytes}
        return values | {"metadata_only": True} if self.metadata_only else values

    @classmethod
    def from_row(cls, row: Row, *, bucket: str) -> "PlanEntry":
        """Read an entry.

        Raises:
            BadState: A value is missing, too many, or not what it must be.
        """
        listed = listed_of(row, bucket=bucket)
        etag = row.optional_text("destination_etag", most=256, pattern=_ETAG_OR_ABSENT)
        condition = None if etag is None else Condition(etag or None)
        within, block_bytes = None, None
        if row.has("block_bytes"):
            # Without a condition of their own, the tasks of several parts could commit under different ones.
            if condition is None or not listed.size_bytes:
                raise row.bad("a part has no condition, or its object no bytes")
            block_bytes = row.number("block_bytes", least=MIB, most=MAX_BLOCK_BYTES)
            start = row.number("start", most=listed.size_bytes - 1)
            end = row.number("end", least=start + 1, most=listed.size_bytes)
            if start % block_bytes or (end % block_bytes and end != listed.size_bytes):
                raise row.bad("a part does not lie on the blocks' borders")
            if -(-listed.size_bytes // block_bytes) > MAX_BLOCKS_PER_BLOB:
                raise row.bad("block_bytes makes too many blocks")
            within = Block(start, end)
        metadata_only = row.flag("metadata_only") if row.has("metadata_only") else False
        if metadata_only and (condition is None or condition.etag is None or within):
            raise row.bad("metadata_only goes with a blob that is there, and not with a part")
        row.end()
        return cls(listed, condition, within, block_bytes, metadata_only)


_ETAG_OR_ABSENT: Final = re.compile(f"|{ETAG.pattern}")


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An object that the plan leaves out.

    Attributes:
        reason: Why, as its receipt says it; empty for ``unchanged``.
        verified_by: For ``unchanged``: the proof that the blob records of its copy.
        checksum: For ``unchanged``: the checksum that the blob records.
    """

    key: str
    etag: str
    size_bytes: int
    status: LeftOutStatus
    reason: str = ""
    verified_by: str = ""
    checksum: str = ""

    def row(self) -> dict[str, object]:
        """Return it as a line's values."""
        values: dict[str, object] = {"key": self.key, "etag": self.etag, "size_bytes": self.size_bytes}
        values["status"] = self.status
        return values | {
            name: value
            for name, value in (
                ("reason", self.reason),
                ("verified_by", self.verified_by),
                ("checksum", self.checksum),
            )
            if value
        }

    @classmethod
    def from_row(cls, row: Row) -> "LeftOut":
        """Read one.

        Raises:
            BadState: A value is missing, too many, or not what it must be.
        """
        status = row.text("status", most=9, pattern=_STATUSES)
        left_out = cls(
            key=row.text("key", most=MAX_KEY_BYTES),
            etag=row.text("etag", most=256, pattern=ETAG),
            size_bytes=row.number("size_bytes", most=MAX_OBJECT_BYTES),
            status="unchanged" if status == "unchanged" else "skipped" if status == "skipped" else "failed",
            reason=row.text("reason", most=1_000) if row.has("reason") else "",
            verified_by=row.text("verified_by", most=100) if row.has("verified_by") else "",
            checksum=row.text("checksum", most=200) if row.has("checksum") else "",
        )
        row.end()
        return left_out


def read_left_out(files: StateFiles, token: str) -> Iterator[LeftOut]:
    """Yield the objects that the plan left out, in the order of the listing."""
    name = left_out_name(token)
    path = f"{files.location}/{name}"
    for line in lines(files.chunks(name), path=path):
        yield LeftOut.from_row(Row(line, path))


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
