"""Settings and filters from the options of a command."""

import argparse
from dataclasses import replace

from s3_to_azure.cli.values import filter_file
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.filters import Filters, moment, read_filters
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.settings import CopySettings, Fidelity, parse_rate, parse_size


def copy_settings(options: argparse.Namespace) -> CopySettings:
    """Return the settings of each process of a copy.

    Raises:
        UsageError: An option has a wrong value, or the limits are too small for that many processes.
    """
    return _share(_settings(options), options.processes)


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


def _settings(options: argparse.Namespace) -> CopySettings:
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


def _tier(text: str) -> tuple[str, str]:
    storage_class, equals, tier = text.partition("=")
    if not equals:
        raise UsageError(detail=f"--tier {text!r} is not CLASS=TIER, such as STANDARD_IA=Cool.")
    return storage_class, tier


def _share(total: CopySettings, processes: int) -> CopySettings:
    """Return each process's share of the limits: bytes are rounded down, counts up."""
    if not 1 <= processes <= total.objects_at_once:
        raise UsageError(
            detail=f"--processes={processes} is not between 1 and --objects-at-once={total.objects_at_once}."
        )
    limit = total.bandwidth_bytes_s
    if processes > 1 and total.memory_budget_bytes < processes * MIB:
        raise UsageError(detail=f"--memory-budget is less than 1 MiB for each of {processes} processes.")
    if limit is not None and limit < processes:
        raise UsageError(detail=f"--bandwidth-limit is less than 1 byte per second for each of {processes} processes.")
    return replace(
        total,
        memory_budget_bytes=total.memory_budget_bytes // processes,
        objects_at_once=-(-total.objects_at_once // processes),
        connections=-(-total.connections // processes),
        bandwidth_bytes_s=None if limit is None else limit // processes,
    )
