"""The settings of a plan."""

from dataclasses import dataclass, field

from s3_to_azure.model import defaults
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.names import blob_name, check_blob_prefix
from s3_to_azure.model.objects import FetchAccess
from s3_to_azure.model.options import (
    INTEGRITY,
    MAP,
    OVERWRITE,
    REFUSED_NAMES,
    VIA,
    VIA_WORKER,
    Archived,
    Overwrite,
    RefusedNames,
    Via,
    check_choice,
)
from s3_to_azure.model.settings import parse_size
from s3_to_azure.planning.batching import BATCH_BYTES, SPLIT_BYTES, BatchPolicy
from s3_to_azure.transfer.fetched.eligibility import Routing, planned_access


@dataclass(frozen=True, slots=True)
class PlanSettings:
    """The settings of one plan.

    Attributes:
        s3_prefix: The prefix that all keys have and that the blobs' names leave out.
        blob_prefix: The prefix that the blobs' names have instead.
        overwrite: What to do with a blob that exists, as ``model.decide`` defines it.
        run: The run whose earlier tries may have written blobs, as ``model.decide`` needs it; empty: the plan's own.
        integrity: The weakest verification level to accept, also of a blob that is unchanged.
        via: Which way the bytes of the copies take; the plan says how many can take which.
        access: How Azure would read the bucket; None: nothing is known of it.
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
    via: Via = defaults.VIA
    access: FetchAccess | None = None
    filters: Filters = field(default_factory=Filters)
    refused_names: RefusedNames = defaults.REFUSED_NAMES
    archived: Archived = defaults.ARCHIVED
    max_tasks: int = defaults.MAX_TASKS
    split_bytes: int = SPLIT_BYTES
    batch_bytes: int = BATCH_BYTES
    memory_budget_bytes: int = parse_size(defaults.MEMORY_BUDGET, name="memory_budget")
    block_bytes: int | None = None
    run: str = ""

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UsageError: A value is not allowed.
        """
        check_choice(self.overwrite, OVERWRITE, name="overwrite")
        check_choice(self.integrity, INTEGRITY, name="integrity")
        check_choice(self.via, VIA, name="via")
        check_choice(self.refused_names, REFUSED_NAMES, name="refused_names")
        check_blob_prefix(self.blob_prefix)
        # Checks its part of the values.
        self.batch_policy(1)

    def blob_of(self, key: str) -> str:
        """Return the name of a key's blob."""
        return blob_name(key, s3_prefix=self.s3_prefix, blob_prefix=self.blob_prefix, mapped=self.refused_names == MAP)

    def routing(self, bucket: str) -> Routing | None:
        """Return what decides on the way of each object's bytes; None if all go through the worker."""
        if self.via == VIA_WORKER:
            return None
        return Routing(
            self.via,
            self.access or planned_access(bucket),
            self.integrity,
            budget_bytes=self.memory_budget_bytes,
            block_bytes=self.block_bytes,
        )

    def batch_policy(self, total_weight: int) -> BatchPolicy:
        """Return the policy that divides objects of this total weight into batches."""
        return BatchPolicy(
            total_weight, max_tasks=self.max_tasks, split_bytes=self.split_bytes, batch_bytes=self.batch_bytes
        )
