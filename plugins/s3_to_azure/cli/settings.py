"""The engine's settings as the options name them."""

import argparse
from dataclasses import replace

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.settings import CopySettings, Fidelity, parse_size
from s3_to_azure.planning.settings import read_filters


def copy_settings(options: argparse.Namespace) -> CopySettings:
    """Return the settings of a copy, or of each process where several share it.

    Raises:
        UsageError: One cannot be read, or there is not enough for each process.
    """
    return _shared(_settings(options), options.processes)


def _shared(whole: CopySettings, processes: int) -> CopySettings:
    if not 1 <= processes <= whole.objects_at_once:
        raise UsageError(
            what=f"--processes={processes} is not between 1 and --objects-at-once={whole.objects_at_once}."
        )
    limit = whole.bandwidth_bytes_s
    if processes > 1 and whole.memory_budget_bytes < processes * MIB:
        raise UsageError(what=f"--memory-budget is less than 1 MiB for each of {processes} processes.")
    if limit is not None and limit < processes:
        raise UsageError(what=f"--bandwidth-limit is less than 1 byte a second for each of {processes} processes.")
    return replace(
        whole,
        memory_budget_bytes=whole.memory_budget_bytes // processes,
        objects_at_once=-(-whole.objects_at_once // processes),
        connections=-(-whole.connections // processes),
        bandwidth_bytes_s=None if limit is None else limit // processes,
    )


def _settings(options: argparse.Namespace) -> CopySettings:
    return CopySettings(
        overwrite=options.overwrite,
        integrity=options.integrity,
        fidelity=Fidelity.of(
            {
                "archived": options.archived,
                "restore_days": options.restore_days,
                "restore_tier": options.restore_tier,
                "tags": options.tags,
                "tiers": dict(map(_tier, options.tier)),
                "oversized_metadata": options.oversized_metadata,
            }
        ),
        refused_names=options.refused_names,
        block_bytes=parse_size(options.block_size, name="--block-size") if options.block_size else None,
        memory_budget_bytes=parse_size(options.memory_budget, name="--memory-budget"),
        objects_at_once=options.objects_at_once,
        connections=options.connections,
        bandwidth_bytes_s=(
            parse_size(options.bandwidth_limit, name="--bandwidth-limit") if options.bandwidth_limit else None
        ),
    )


def filters_given(options: argparse.Namespace) -> Filters:
    """Return the filters that the options name.

    Raises:
        UsageError: One cannot be read.
    """
    texts = {
        "min_size": options.min_size,
        "max_size": options.max_size,
        "modified_after": options.modified_after,
        "modified_before": options.modified_before,
        "storage_classes": options.storage_class,
    }
    return read_filters(texts, include=options.include, exclude=options.exclude)


def _tier(text: str) -> tuple[str, str]:
    storage_class, equals, tier = text.partition("=")
    if not equals:
        raise UsageError(what=f"--tier {text!r} is not CLASS=TIER, such as STANDARD_IA=Cool.")
    return storage_class, tier
