"""Batches: how the objects to copy are shared out, and the descriptor that names one batch; no I/O.

The weight of an object is its bytes and a constant for the requests that even an empty one costs, so batches are
balanced by bytes and by count. With ``total`` the weight of all objects to copy and ``max_tasks`` the most batches:

- an object whose weight is at least ``total / max_tasks`` (and at least ``batch_bytes``) is a batch of its own;
- such an object above ``split_bytes`` becomes several batches, each a range of its blocks;
- all others are cut, in the order of the listing, into batches of nearly equal weight, none of which exceeds its
  share by more than one object.

The parts of an object number at most its weight in shares of ``total / max_tasks``, rounded down. So all parts
leave room for at least one batch of the others, and there are never more than ``max_tasks``.
"""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

from s3_to_azure.engine.state_rows import Row
from s3_to_azure.model.errors import WrongUse
from s3_to_azure.model.limits import GIB, KIB, MAX_OBJECT_BYTES, MIB
from s3_to_azure.model.objects import Block
from s3_to_azure.transfer.blocks import Layout

MAX_TASKS: Final = 1_000  # Airflow maps 1,024 at most by default ([core] max_map_length)
MAX_MEMBER_BYTES: Final = 512 * MIB
MAX_BATCH_OBJECTS: Final = 50_000_000

# What the requests for one small object cost, as bytes of a large one in the same time (about 300 objects/s
# against 150 MiB/s in one task; docs/scale.md).
OBJECT_WEIGHT: Final = 512 * KIB
# Starting a mapped task costs seconds: less work than this is not worth one.
BATCH_BYTES: Final = 256 * MIB
SPLIT_BYTES: Final = 64 * GIB

TOKEN: Final = re.compile(r"[0-9a-f]{16}")
SHA256: Final = re.compile(r"[0-9a-f]{64}")
_KINDS: Final = re.compile("objects|range")

BatchKind = Literal["objects", "range"]


def weight_of(size_bytes: int) -> int:
    """Return an object's share of work, in bytes of a large object."""
    return size_bytes + OBJECT_WEIGHT


@dataclass(frozen=True, slots=True)
class BatchDescriptor:
    """One batch's place in the plan. Airflow stores, shows and renders it, so no text of a user is in it.

    Attributes:
        plan: Which plan; 16 hex digits.
        index: Number of the batch in the plan, from 0.
        offset: Where the batch's gzip member begins in the plan's file.
        length: The member's bytes.
        sha256: The member's digest.
        objects: Objects in the batch; a range counts as one.
        size_bytes: Bytes to copy.
        kind: ``objects``, or ``range``: blocks of one giant object.
    """

    plan: str
    index: int
    offset: int
    length: int
    sha256: str
    objects: int
    size_bytes: int
    kind: BatchKind

    def as_dict(self) -> dict[str, Any]:
        """Return the descriptor as JSON-ready values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> "BatchDescriptor":
        """Read a descriptor.

        Raises:
            BadState: A value is missing, too many, or not what it must be.
        """
        return cls.from_row(Row.of(values, "batch descriptor"))

    @classmethod
    def from_row(cls, row: Row) -> "BatchDescriptor":
        """Read a descriptor from a state file's row.

        Raises:
            BadState: A value is missing, too many, or not what it must be.
        """
        descriptor = cls(
            plan=row.text("plan", most=16, pattern=TOKEN),
            index=row.number("index", most=MAX_TASKS - 1),
            offset=row.number("offset", most=MAX_MEMBER_BYTES * MAX_TASKS),
            length=row.number("length", least=1, most=MAX_MEMBER_BYTES),
            sha256=row.text("sha256", most=64, pattern=SHA256),
            objects=row.number("objects", least=1, most=MAX_BATCH_OBJECTS),
            size_bytes=row.number("size_bytes", most=MAX_OBJECT_BYTES * MAX_TASKS),
            kind="range" if row.text("kind", most=7, pattern=_KINDS) == "range" else "objects",
        )
        row.end()
        return descriptor


@dataclass(frozen=True, slots=True)
class Sharing:
    """Who gets a batch of its own, decided from the totals alone.

    Attributes:
        total_weight: Weight of all objects to copy.
        max_tasks: Most batches.
        split_bytes: Objects above this size are split, as far as there are batches for it.
        batch_bytes: Least weight worth a batch.
    """

    total_weight: int
    max_tasks: int
    split_bytes: int = SPLIT_BYTES
    batch_bytes: int = BATCH_BYTES

    def __post_init__(self) -> None:
        """Check the bounds.

        Raises:
            WrongUse: There must be at least one batch, and not more than Airflow maps.
        """
        if not 1 <= self.max_tasks <= MAX_TASKS:
            raise WrongUse(what=f"max_tasks={self.max_tasks} is not between 1 and {MAX_TASKS:,}.")
        if self.split_bytes < MIB or self.batch_bytes < 1:
            raise WrongUse(what=f"split_bytes={self.split_bytes} is below 1 MiB, or batch_bytes below 1.")

    def parts(self, size_bytes: int) -> int:
        """Return into how many batches of its own an object goes; 0: it shares one with others."""
        weight = weight_of(size_bytes)
        shares = weight * self.max_tasks // self.total_weight
        if not shares:
            return 0
        if size_bytes > self.split_bytes:
            return min(-(-size_bytes // self.split_bytes), shares)
        return 1 if weight >= self.batch_bytes else 0

    def shared_batches(self, weight: int, own: int) -> int:
        """Return how many batches the objects without their own get.

        Args:
            weight: Weight of those objects together.
            own: Batches of all other objects.
        """
        if not weight:
            return 0
        return max(1, min(-(-weight // self.batch_bytes), self.max_tasks - own))


class SharedCut:
    """Cuts a sequence of objects of known total weight into batches: contiguous, nearly equal, at most ``batches``.

    An object belongs to the batch in whose share its middle lies, so a batch differs from its share by at most half
    an object at either end.

    Args:
        total_weight: Weight of all objects that will come.
        batches: How many shares to make; a share may stay empty where one object outweighs it.
    """

    def __init__(self, total_weight: int, batches: int) -> None:
        """Begin at the first object."""
        self._total = total_weight
        self._batches = batches
        self._before = 0

    def place(self, size_bytes: int) -> int:
        """Return the share of the next object; shares never go back."""
        weight = weight_of(size_bytes)
        middle = 2 * self._before + weight
        self._before += weight
        return min(middle * self._batches // (2 * self._total), self._batches - 1)


def ranges(layout: Layout, parts: int) -> list[Block]:
    """Cut an object into at most ``parts`` ranges of whole blocks, equal but for one block."""
    count = len(layout)
    parts = min(parts, count)
    starts = [count * part // parts * layout.block_bytes for part in range(parts)]
    return [Block(start, end) for start, end in zip(starts, [*starts[1:], layout.size_bytes], strict=True)]
