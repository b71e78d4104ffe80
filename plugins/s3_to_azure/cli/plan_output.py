"""Make the plan of ``s3-to-azure plan`` in temporary state files, and put it into words."""

import argparse
import json

from s3_to_azure.cli.copy_prefix import write_listing
from s3_to_azure.cli.settings import filters_from
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.planning.plan import Plan, preview, preview_lines
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.stores.temporary_state import TemporaryState
from s3_to_azure.transfer.context import TransferContext


def plan_settings(options: argparse.Namespace, source: S3Uri, destination: AzureUri) -> PlanSettings:
    """Return the plan's settings.

    Raises:
        UsageError: SRC is one object, or an option has a wrong value.
    """
    if not source.is_prefix:
        raise UsageError(detail="A plan is for many objects: SRC is a bucket or a prefix that ends in '/'.")
    return PlanSettings(
        s3_prefix=source.key,
        blob_prefix=destination.prefix,
        overwrite=options.overwrite,
        integrity=options.integrity,
        filters=filters_from(options),
        refused_names=options.refused_names,
        archived=options.archived,
        max_tasks=options.max_tasks,
    )


def make_temporary_plan(
    context: TransferContext, source: S3Uri, settings: PlanSettings, *, keys_from: str | None
) -> Plan:
    """List both sides and plan the copy; nothing in S3 or Azure is changed."""
    with TemporaryState() as files:
        pointer = write_listing(context, source, files, keys_from)
        return make_plan(files, pointer, context.destination, settings, retrier=context.retrier)


def plan_text(plan: Plan, *, rate_bytes_s: float, as_json: bool) -> str:
    """Return the plan with its estimates, as lines for people or as one JSON document."""
    if as_json:
        return json.dumps(preview(plan, rate_bytes_s=rate_bytes_s), ensure_ascii=False) + "\n"
    return "".join(f"{line}\n" for line in preview_lines(plan, rate_bytes_s=rate_bytes_s))
