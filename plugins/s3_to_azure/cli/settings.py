"""Settings and filters from the options of a command."""

import argparse

from s3_to_azure.cli.values import filter_file
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.filters import Filters, moment, read_filters
from s3_to_azure.model.settings import CopySettings, Fidelity, parse_rate, parse_size


def copy_settings(options: argparse.Namespace) -> CopySettings:
    """Return the settings of a copy.

    Raises:
        UsageError: An option has a wrong value.
    """
    return CopySettings(
        overwrite=options.overwrite,
        integrity=options.integrity,
        via=options.via,
        fidelity=Fidelity.of(
            {
                "archived": options.archived,
                "restore_days": options.restore_days,
                "restore_tier": options.restore_tier,
                "tags": options.tags,
                "tiers": dict(map(_tier, options.tier)),
                "oversized_metadata": options.oversized_metadata,
                "etag_is_md5": options.etag_is_md5,
            }
        ),
        refused_names=options.refused_names,
        block_bytes=parse_size(options.block_size, name="--block-size") if options.block_size else None,
        memory_budget_bytes=parse_size(options.memory_budget, name="--memory-budget"),
        objects_at_once=options.objects_at_once,
        connections=options.connections,
        bandwidth_bytes_s=(
            parse_rate(options.bandwidth_limit, name="--bandwidth-limit") if options.bandwidth_limit else None
        ),
    )


def filters_from(options: argparse.Namespace) -> Filters:
    """Return the filters.

    Raises:
        UsageError: An option has a wrong value.
    """
    included, excluded = filter_file(options.filter_from) if options.filter_from else ([], [])
    texts = {
        "min_size": options.min_size,
        "max_size": options.max_size,
        "modified_after": moment(options.modified_after, name="--modified-after"),
        "modified_before": moment(options.modified_before, name="--modified-before"),
        "storage_classes": options.storage_class,
    }
    return read_filters(texts, include=[*options.include, *included], exclude=[*options.exclude, *excluded])


def _tier(text: str) -> tuple[str, str]:
    storage_class, equals, tier = text.partition("=")
    if not equals:
        raise UsageError(detail=f"--tier {text!r} is not CLASS=TIER, such as STANDARD_IA=Cool.")
    return storage_class, tier
