"""The settings of a plan, and the filters as a user writes them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from s3_to_azure.model import defaults
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.names import STATE_FOLDER, blob_name, is_reserved
from s3_to_azure.model.options import (
    INTEGRITY,
    MAP,
    OVERWRITE,
    REFUSED_NAMES,
    Archived,
    Overwrite,
    RefusedNames,
    check_choice,
)
from s3_to_azure.model.settings import parse_size
from s3_to_azure.planning.batching import BATCH_BYTES, SPLIT_BYTES, BatchPolicy

_FILTERS: Final = ("min_size", "max_size", "modified_after", "modified_before", "storage_classes")


def read_filters(
    texts: Mapping[str, Any], *, include: Sequence[str] | None = (), exclude: Sequence[str] | None = ()
) -> Filters:
    """Return the filters that a user wrote as texts.

    Args:
        texts: ``min_size`` and ``max_size`` (``10MiB``), ``modified_after`` and ``modified_before`` (ISO 8601 with a
            time zone), ``storage_classes`` (a list). A text that is empty or missing does not filter.
        include: Patterns of keys to copy.
        exclude: Patterns of keys to skip.

    Raises:
        UsageError: A name is not the name of a filter, or its text cannot be parsed.
    """
    unknown = sorted(set(texts) - set(_FILTERS))
    if unknown:
        raise UsageError(detail=f"The filters {unknown} are not among {', '.join(_FILTERS)}.")
    return Filters(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        min_size_bytes=_size(texts, "min_size"),
        max_size_bytes=_size(texts, "max_size"),
        modified_after=_timestamp(texts, "modified_after"),
        modified_before=_timestamp(texts, "modified_before"),
        storage_classes=texts.get("storage_classes") or (),
    )


def _size(texts: Mapping[str, Any], name: str) -> int | None:
    text = texts.get(name)
    return None if text in (None, "") else parse_size(text, name=name)


def _timestamp(texts: Mapping[str, Any], name: str) -> datetime | None:
    text = str(texts.get(name) or "")
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(
            detail=f"{name}={text!r} is not an ISO 8601 timestamp. Write it as 2026-01-31T00:00:00+00:00."
        ) from None


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """The settings of one plan.

    Attributes:
        s3_prefix: The prefix that all keys have and that the blobs' names leave out.
        blob_prefix: The prefix that the blobs' names have instead.
        overwrite: What to do with a blob that exists, as ``model.decide`` defines it.
        integrity: The weakest verification level to accept, also of a blob that is unchanged.
        filters: Which objects to skip.
        refused_names: What to do with an object whose blob name Azure would refuse. ``fail`` fails the run in its
            report, after all other objects were copied; ``skip`` skips it; ``map`` copies it under another blob name,
            and fails where no mapped name is possible either.
        archived: What the copies do with objects in an archive storage class; the plan only warns about them.
        max_tasks: Maximum number of batches.
        split_bytes: Objects above this size are split into several batches.
        batch_bytes: Minimum work of a batch.
        memory_budget_bytes: Maximum object data that one task holds in memory; it limits the block size.
        block_bytes: The user's block size, or None.
    """

    s3_prefix: str
    blob_prefix: str
    overwrite: Overwrite = defaults.OVERWRITE
    integrity: str = defaults.INTEGRITY
    filters: Filters = field(default_factory=Filters)
    refused_names: RefusedNames = defaults.REFUSED_NAMES
    archived: Archived = defaults.ARCHIVED
    max_tasks: int = defaults.MAX_TASKS
    split_bytes: int = SPLIT_BYTES
    batch_bytes: int = BATCH_BYTES
    memory_budget_bytes: int = parse_size(defaults.MEMORY_BUDGET, name="memory_budget")
    block_bytes: int | None = None

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UsageError: A value is not allowed.
        """
        check_choice(self.overwrite, OVERWRITE, name="overwrite")
        check_choice(self.integrity, INTEGRITY, name="integrity")
        check_choice(self.refused_names, REFUSED_NAMES, name="refused_names")
        if is_reserved(f"{self.blob_prefix}/"):
            raise UsageError(
                detail=f"blob_prefix={self.blob_prefix!r} is below {STATE_FOLDER}/, where runs keep their state."
            )
        # Checks its part of the values.
        self.batch_policy(1)

    def blob_of(self, key: str) -> str:
        """Return the name of a key's blob."""
        return blob_name(key, s3_prefix=self.s3_prefix, blob_prefix=self.blob_prefix, mapped=self.refused_names == MAP)

    def batch_policy(self, total_weight: int) -> BatchPolicy:
        """Return the policy that divides objects of this total weight into batches."""
        return BatchPolicy(
            total_weight, max_tasks=self.max_tasks, split_bytes=self.split_bytes, batch_bytes=self.batch_bytes
        )
