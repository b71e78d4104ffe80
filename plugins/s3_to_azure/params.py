"""The run Params of a migration: what a person may change for one run, in Airflow's trigger form."""

from collections.abc import Sequence
from typing import Any, Final

from airflow.sdk import Param

from s3_to_azure.engine.model import Overwrite

# engine.checksums.INTEGRITY and engine.batches.MAX_TASKS, which cost more to import than a DAG file may.
_PROOFS: Final = (
    "auto",
    "crc64nvme",
    "crc32c",
    "crc32",
    "crc32c_composite",
    "crc32_composite",
    "md5",
    "md5_composite",
    "reread",
    "transport",
    "readback",
)
_MOST_TASKS: Final = 1_000
_MOST_AT_ONCE: Final = 1_000


def migration_params(
    *,
    overwrite: Overwrite,
    integrity: str,
    refused_names: str,
    include: Sequence[str],
    exclude: Sequence[str],
    max_tasks: int,
    objects_at_once: int,
    bandwidth_limit: str | None,
) -> dict[str, Param]:
    """Return the Params with the migration's defaults; buckets, containers and connections are DAG code, not Params."""
    patterns: dict[str, Any] = {"type": "array", "items": {"type": "string", "minLength": 1}}
    return {
        "prefix": Param(
            "",
            type="string",
            title="Prefix",
            description="Copy only what lies below this prefix, itself below the source's; blobs keep their names.",
        ),
        "include": Param(
            list(include),
            **patterns,
            title="Include",
            description="Copy only keys that match one of these patterns, such as *.parquet; * matches / too.",
        ),
        "exclude": Param(
            list(exclude),
            **patterns,
            title="Exclude",
            description="Leave out keys that match one of these patterns; stronger than Include.",
        ),
        "overwrite": Param(
            overwrite,
            type="string",
            enum=["if_changed", "never", "always"],
            title="Overwrite",
            description="Where a blob is there already: copy unless it is this very version, never, or always.",
        ),
        "integrity": Param(
            integrity,
            type="string",
            enum=list(_PROOFS),
            title="Integrity",
            description="The weakest proof to accept; auto takes the strongest that S3's checksums allow. "
            "reread and readback transfer everything twice.",
        ),
        "refused_names": Param(
            refused_names,
            type="string",
            enum=["fail", "skip", "map"],
            title="Refused names",
            description="Objects whose names Azure refuses: fail the run after all else is copied, only count them, "
            "or map the names reversibly (see docs/fidelity.md).",
        ),
        "dry_run": Param(
            False,  # noqa: FBT003 - a Param's default
            type="boolean",
            title="Dry run",
            description="Only plan, and print what would be copied.",
        ),
        "max_tasks": Param(
            max_tasks,
            type="integer",
            minimum=1,
            maximum=_MOST_TASKS,
            title="Most tasks",
            description="Into how many tasks the work is shared out at most.",
        ),
        "objects_at_once": Param(
            objects_at_once,
            type="integer",
            minimum=1,
            maximum=_MOST_AT_ONCE,
            title="Objects at once",
            description="Objects in flight inside one task; they share its memory budget.",
        ),
        "bandwidth_limit": Param(
            bandwidth_limit,
            type=["null", "string"],
            title="Bandwidth limit",
            description="Most bytes a second for each task (not for the run), such as 50MiB; empty: no limit.",
        ),
    }
