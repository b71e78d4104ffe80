"""``s3-to-azure plan``: the engine's plan in a directory that is thrown away, told to a person."""

import argparse
from collections.abc import Iterator, Mapping
from typing import Any

from s3_to_azure.cli.copy_prefix import write_listing
from s3_to_azure.cli.settings import filters_given
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.formatting import count_text, duration_text, size_text
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.planning.plan import preview
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.stores.temporary_state import SpooledState
from s3_to_azure.transfer.context import TransferContext


def plan_settings(options: argparse.Namespace, source: S3Uri, destination: AzureUri) -> PlanSettings:
    """Return the plan's settings.

    Raises:
        UsageError: SRC is one object, or a setting is wrong.
    """
    if not source.is_prefix:
        raise UsageError(what="A plan is for many objects: SRC is a bucket or a prefix that ends in '/'.")
    return PlanSettings(
        s3_prefix=source.key,
        blob_prefix=destination.prefix,
        overwrite=options.overwrite,
        filters=filters_given(options),
        refused_names=options.refused_names,
        archived=options.archived,
        max_tasks=options.max_tasks,
    )


def builder(
    context: TransferContext, source: S3Uri, settings: PlanSettings, *, keys_from: str | None, rate_bytes_s: float
) -> dict[str, Any]:
    """List both sides, plan, and return the plan's preview; nothing in S3 or Azure is changed."""
    with SpooledState() as files:
        pointer = write_listing(context, source, files, keys_from)
        plan = make_plan(files, pointer, context.destination, settings, retrier=context.retrier)
        return preview(plan, rate_bytes_s=rate_bytes_s)


def lines(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield the preview as lines: what would be copied, what not and why, what it takes and costs."""
    estimate = found["estimate"]
    yield f"listed         {_amount(found['listed'])}"
    yield f"to copy        {_amount(found['copy'])} in {count_text(found['batches'], 'task')}"
    yield f"unchanged      {_amount(found['unchanged'])}"
    for outcome in ("skipped", "failed"):
        for reason, amount in found[outcome].items():
            yield f"{outcome:14} {_amount(amount)}: {reason}"
    for name in found["refused_names"]:
        yield f"refused name   {name!r}"
    for key, blob in found["mapped_names"].items():
        yield f"mapped name    {key!r} to {blob!r}"
    for warning in found["warnings"]:
        yield f"mind           {warning}"
    if found["only_in_destination"]:
        yield f"only in Azure  {count_text(found['only_in_destination'], 'blob')}, left alone"
    told = ", ".join(f"{count:,} {kind.replace('_', ' ')}" for kind, count in estimate["requests"].items() if count)
    yield f"requests       {told or 'none'}"
    rate = size_text(estimate["at_bytes_per_second"])
    yield f"time           about {duration_text(estimate['seconds'])} at {rate}/s"
    dollars = (estimate["s3_egress_dollars"], estimate["s3_requests_dollars"])
    yield f"S3 charges     about ${dollars[0]:,} for egress and ${dollars[1]:,} for requests"
    yield f"               ({estimate['prices']})"


def _amount(amount: Mapping[str, int]) -> str:
    return f"{count_text(amount['objects'], 'object')}, {size_text(amount['size_bytes'])}"
