"""What a plan is to be made with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from s3_to_azure.model import defaults
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.names import STATE_FOLDER, blob_name
from s3_to_azure.model.options import MAP, OVERWRITE, REFUSED_NAMES, Archived, Overwrite, RefusedNames, check_choice
from s3_to_azure.model.settings import parse_size
from s3_to_azure.planning.batching import BATCH_BYTES, SPLIT_BYTES, Sharing

_OURS: Final = f"{STATE_FOLDER}/"
_FILTERS: Final = ("min_size", "max_size", "modified_after", "modified_before", "storage_classes")


def read_filters(
    texts: Mapping[str, Any], *, include: Sequence[str] | None = (), exclude: Sequence[str] | None = ()
) -> Filters:
    """Return filters from what a person writes.

    Args:
        texts: ``min_size`` and ``max_size`` (``10MiB``), ``modified_after`` and ``modified_before`` (ISO 8601 with its
            time zone), ``storage_classes`` (a list); what is empty or left out filters nothing.
        include: Patterns of keys.
        exclude: Patterns of keys.

    Raises:
        UsageError: One is none of these, or cannot be read.
    """
    unknown = sorted(set(texts) - set(_FILTERS))
    if unknown:
        raise UsageError(what=f"The filters {unknown} are not among {', '.join(_FILTERS)}.")
    return Filters(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        min_size_bytes=_size(texts, "min_size"),
        max_size_bytes=_size(texts, "max_size"),
        modified_after=_moment(texts, "modified_after"),
        modified_before=_moment(texts, "modified_before"),
        storage_classes=texts.get("storage_classes") or (),
    )


def _size(texts: Mapping[str, Any], name: str) -> int | None:
    text = texts.get(name)
    return None if text in (None, "") else parse_size(text, name=name)


def _moment(texts: Mapping[str, Any], name: str) -> datetime | None:
    text = str(texts.get(name) or "")
    try:
        return datetime.fromisoformat(text) if text else None
    except ValueError:
        raise UsageError(what=f"{name}={text!r} is no moment. Write it as 2026-01-31T00:00:00+00:00.") from None


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """The settings of one plan.

    Attributes:
        s3_prefix: What a blob's name leaves out of the key; all keys lie below it.
        blob_prefix: What a blob's name begins with instead.
        overwrite: What to do with a blob that is there (``decisions.decide``).
        filters: What to leave out.
        refused_names: What becomes of an object whose blob Azure would refuse: ``fail`` fails the run in its report,
            after everything else was copied; ``skip`` only counts it; ``map`` copies it to a blob of another name,
            and fails where even that cannot be (``name_mapping``).
        archived: What the copies do with an object that lies in an archive; the plan only tells of it.
        max_tasks: Most batches.
        split_bytes: Objects above this size are split over several tasks.
        batch_bytes: Least work worth a task.
        memory_budget_bytes: What one task may hold of object data; it bounds the block size.
        block_bytes: The user's block size, or None.
    """

    s3_prefix: str
    blob_prefix: str
    overwrite: Overwrite = defaults.OVERWRITE
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
            UsageError: A value is none of those allowed.
        """
        check_choice(self.overwrite, OVERWRITE, name="overwrite")
        check_choice(self.refused_names, REFUSED_NAMES, name="refused_names")
        if f"{self.blob_prefix}/".startswith(_OURS):
            raise UsageError(what=f"blob_prefix={self.blob_prefix!r} lies below {_OURS}, where runs keep their state.")
        self.sharing(1)

    def blob_of(self, key: str) -> str:
        """Return the blob's name for a key."""
        return blob_name(key, s3_prefix=self.s3_prefix, blob_prefix=self.blob_prefix, mapped=self.refused_names == MAP)

    def sharing(self, total_weight: int) -> Sharing:
        """Return who gets a batch of its own."""
        return Sharing(
            total_weight, max_tasks=self.max_tasks, split_bytes=self.split_bytes, batch_bytes=self.batch_bytes
        )
