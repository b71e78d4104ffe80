"""The plan's files: their names, the summary, and how they are read back without trust; ``plan_lines`` has the lines.

::

    plan.json                                  which plan is the run's; its batches and counts
    plan-<token>/batches.jsonl.gz              the batches one after the other, in gzip members of their own
                                               (usually one); one line an object to copy
    plan-<token>/left_out.jsonl.gz             one line an object left out, in the order of the listing
    plan-<token>/receipts/<batch>/<try>-<n>.jsonl.gz
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from s3_to_azure.engine.batches import MAX_TASKS, TOKEN, BatchDescriptor
from s3_to_azure.engine.manifest import ETAG
from s3_to_azure.engine.plan_lines import LeftOut
from s3_to_azure.engine.state_lines import typed_lines
from s3_to_azure.engine.state_rows import Row
from s3_to_azure.model.errors import BadState
from s3_to_azure.model.limits import MAX_KEY_BYTES, MIB
from s3_to_azure.model.names import blob_name
from s3_to_azure.model.ports import StateFiles

PLAN_NAME: Final = "plan.json"
_MOST_PLAN_BYTES: Final = 4 * MIB


def batches_name(token: str) -> str:
    """Return the name of the plan's batches file."""
    return f"plan-{token}/batches.jsonl.gz"


def left_out_name(token: str) -> str:
    """Return the name of the plan's file of objects left out."""
    return f"plan-{token}/left_out.jsonl.gz"


def decisions_name(token: str) -> str:
    """Return the name of the file between the plan's two passes; it is gone afterwards."""
    return f"plan-{token}/decisions.jsonl.gz"


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
