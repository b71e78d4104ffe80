"""The plan of ``s3-to-azure plan``, made in temporary state files."""

import argparse

from s3_to_azure.cli.copy_prefix import write_listing
from s3_to_azure.cli.settings import filters_given
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.planning.plan import Plan
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


def make(context: TransferContext, source: S3Uri, settings: PlanSettings, *, keys_from: str | None) -> Plan:
    """List both sides and plan the copy; nothing in S3 or Azure is changed."""
    with SpooledState() as files:
        pointer = write_listing(context, source, files, keys_from)
        return make_plan(files, pointer, context.destination, settings, retrier=context.retrier)
