"""Make the plan of ``s3-to-azure plan`` in temporary state files, and put it into words."""

import argparse
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Final, cast

from s3_to_azure.cli.copy_prefix import write_listing
from s3_to_azure.cli.settings import filters_from
from s3_to_azure.cli.stores import Completed
from s3_to_azure.model.errors import ContainerNotFound
from s3_to_azure.model.objects import BlobState, ListedBlock
from s3_to_azure.model.options import MAP, VIA_WORKER
from s3_to_azure.model.ports import BlobDestination, StateFiles
from s3_to_azure.model.reasons import FILTERED
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.planning.plan import Plan, preview, preview_lines
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch_slice import BatchSlice
from s3_to_azure.state.plan import read_left_out
from s3_to_azure.stores.temporary_state import TemporaryState
from s3_to_azure.transfer.context import TransferContext
from s3_to_azure.transfer.fetched.eligibility import Route

if TYPE_CHECKING:
    # A command without an inventory does not pay for the import.
    from s3_to_azure.planning.inventory import Inventory

COPY: Final = "copy"
UPDATE: Final = "update"


def plan_settings(options: argparse.Namespace, source: S3Uri, destination: AzureUri) -> PlanSettings:
    """Return the plan's settings.

    Raises:
        UsageError: An option has a wrong value.
    """
    mapped = options.refused_names == MAP
    return PlanSettings(
        s3_prefix=source.key,
        # The name of one object's blob is its whole key's, which leaves nothing to add.
        blob_prefix=destination.prefix if source.is_prefix else destination.blob_for(source, source.key, mapped=mapped),
        overwrite=options.overwrite,
        integrity=options.integrity,
        via=options.via,
        filters=filters_from(options),
        refused_names=options.refused_names,
        archived=options.archived,
        max_tasks=options.max_tasks,
    )


def make_temporary_plan(
    context: TransferContext,
    source: S3Uri,
    settings: PlanSettings,
    *,
    keys: Iterable[str] | None = None,
    completed: Completed | None = None,
    inventory: "Inventory | None" = None,
    create_container: bool = False,
    on_object: Callable[["PlannedObject"], None] | None = None,
) -> Plan:
    """List both sides and plan the copy; nothing in S3 or Azure is changed.

    Args:
        context: Stores, settings, progress.
        source: What is to be copied.
        settings: The plan's settings.
        keys: The keys of the objects, sorted, instead of a listing.
        completed: Adds the checksums of a report to listed objects.
        inventory: The objects below SRC, in place of a listing.
        create_container: A missing container would be created, so plan as if it were empty.
        on_object: Receives each object, first those to copy.
    """
    destination = context.destination
    try:
        context.check_access(source.bucket)
    except ContainerNotFound:
        if not create_container:
            raise
        destination = cast(BlobDestination, _MissingContainer(destination))
    if settings.via != VIA_WORKER:
        settings = replace(settings, access=context.source.fetch_access(source.bucket))
    with TemporaryState() as files:
        pointer = write_listing(context, source, files, keys, completed, inventory)
        plan = make_plan(files, pointer, destination, settings, retrier=context.retrier)
        if on_object:
            for planned in _planned_objects(files, plan, settings, source.bucket):
                on_object(planned)
        return plan


def plan_text(plan: Plan, *, rate_bytes_s: float, as_json: bool) -> str:
    """Return the plan with its estimates, as lines for people or as one JSON document."""
    if as_json:
        return json.dumps(preview(plan, rate_bytes_s=rate_bytes_s), ensure_ascii=False) + "\n"
    return "".join(f"{line}\n" for line in preview_lines(plan, rate_bytes_s=rate_bytes_s))


def matches_nothing(plan: Plan) -> bool:
    """Return whether there is no object, or the filters leave all of them out."""
    left_out = sum(amount.objects for reason, amount in plan.skipped.items() if reason in FILTERED)
    return plan.listed.objects == left_out


@dataclass(frozen=True, slots=True)
class PlannedObject:
    """One object and what a copy would do with it.

    Attributes:
        status: ``copy``, ``update`` for its metadata alone, or the status of its receipt if nothing is to be sent.
        via: ``azure`` if Azure is expected to fetch its bytes, else ``worker``.
        not_fetched: Code of why Azure cannot fetch it.
    """

    status: str
    key: str
    blob: str
    size_bytes: int
    reason: str = ""
    verified_by: str = ""
    via: str = VIA_WORKER
    not_fetched: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def _planned_objects(files: StateFiles, plan: Plan, settings: PlanSettings, bucket: str) -> Iterator[PlannedObject]:
    last, routing = "", settings.routing(bucket)
    for descriptor in plan.batches:
        batch = BatchSlice(
            files,
            descriptor,
            bucket=bucket,
            s3_prefix=settings.s3_prefix,
            blob_prefix=settings.blob_prefix,
            mapped_names=settings.refused_names == MAP,
        )
        for entry in batch.entries():
            listed = entry.listed
            # The parts of a giant object follow each other.
            if listed.key != last:
                status = UPDATE if entry.metadata_only else COPY
                route = routing.expected(listed) if routing and status == COPY else Route(VIA_WORKER)
                yield PlannedObject(
                    status,
                    listed.key,
                    batch.blob_of(entry),
                    listed.size_bytes,
                    via=route.via,
                    not_fetched=route.not_fetched,
                )
            last = listed.key
    for item in read_left_out(files, plan.token):
        blob = settings.blob_of(item.key)
        yield PlannedObject(item.status, item.key, blob, item.size_bytes, item.reason, item.verified_by)


class _MissingContainer:
    """A container that is not there yet: empty, with the rules for names of its account."""

    def __init__(self, destination: BlobDestination) -> None:
        self.container = destination.container
        self.check_name = destination.check_name

    def head(self, _blob: str) -> BlobState | None:
        return None

    def list(self, _prefix: str) -> Iterator[BlobState]:
        return iter(())

    def list_staged(self, _blob: str) -> Sequence[ListedBlock]:
        return ()
