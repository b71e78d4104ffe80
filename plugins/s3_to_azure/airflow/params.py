"""The run Params of a migration: what a person may change for one run, in Airflow's trigger form."""

from collections.abc import Sequence
from typing import Any, Final

from airflow.sdk import Param

from s3_to_azure.model.options import (
    INTEGRITY,
    MAX_OBJECTS_AT_ONCE,
    MAX_TASKS,
    OVERWRITE,
    REFUSED_NAMES,
    Overwrite,
)

# The sizes that ``parse_size`` accepts, from one byte. It is short because the form shows it beside a refused value.
_SIZE: Final = "^(?=0*[1-9]|0+[.]0{0,2}[1-9])[0-9]{1,20}(([.][0-9]{1,20})? *[KMGTkmgt]i?| *)[Bb]?$"

_WHAT: Final = "What to copy"
_HOW: Final = "How to copy it"
_SPEED: Final = "How fast"


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
    # In Airflow's form an empty text is null, and a text that may not be null must not be empty.
    patterns: dict[str, Any] = {"type": ["null", "array"], "items": {"type": "string", "minLength": 1}}
    return {
        "prefix": Param(
            None,
            type=["null", "string"],
            title="Prefix",
            description="Copy only what lies below this prefix, itself below the source's; blobs keep their names.",
            section=_WHAT,
            examples=["2026/", "2026/11/"],
        ),
        "include": Param(
            list(include) or None,
            **patterns,
            title="Include",
            description="Copy only keys that match one of these patterns, one in a line, such as *.parquet; "
            "* matches / too.",
            section=_WHAT,
        ),
        "exclude": Param(
            list(exclude) or None,
            **patterns,
            title="Exclude",
            description="Leave out keys that match one of these patterns, one in a line; stronger than Include.",
            section=_WHAT,
        ),
        "dry_run": Param(
            False,  # noqa: FBT003 - a Param's default
            type="boolean",
            title="Dry run",
            description="Only plan, and print what would be copied.",
            section=_WHAT,
        ),
        "overwrite": Param(
            overwrite,
            type="string",
            enum=list(OVERWRITE),
            values_display={
                "if_changed": "if changed: unless the blob is a copy of this very version",
                "never": "never: what is there stays",
                "always": "always: copy again whatever is there",
            },
            title="Overwrite",
            description="Where a blob of that name is there already.",
            section=_HOW,
        ),
        "integrity": Param(
            integrity,
            type="string",
            enum=list(INTEGRITY),
            title="Integrity",
            description="The weakest proof to accept; auto takes the strongest that S3's checksums allow. "
            "reread and readback transfer everything twice.",
            section=_HOW,
        ),
        "refused_names": Param(
            refused_names,
            type="string",
            enum=list(REFUSED_NAMES),
            values_display={
                "fail": "fail the run after all else is copied",
                "skip": "skip and count them",
                "map": "map the names reversibly (docs/fidelity.md)",
            },
            title="Refused names",
            description="Objects whose names Azure refuses.",
            section=_HOW,
        ),
        "max_tasks": Param(
            max_tasks,
            type="integer",
            minimum=1,
            maximum=MAX_TASKS,
            title="Most tasks",
            description=f"Into how many tasks the work is shared out at most: 1 to {MAX_TASKS:,}.",
            section=_SPEED,
        ),
        "objects_at_once": Param(
            objects_at_once,
            type="integer",
            minimum=1,
            maximum=MAX_OBJECTS_AT_ONCE,
            title="Objects at once",
            description=f"Objects in flight inside one task, 1 to {MAX_OBJECTS_AT_ONCE:,}; "
            "they share its memory budget.",
            section=_SPEED,
        ),
        "bandwidth_limit": Param(
            bandwidth_limit,
            # The form shows the schema of a value that it refuses: a sentence in it is the only one that is read.
            cure="Write a size such as 50MiB, or leave it empty.",
            type=["null", "string"],
            pattern=_SIZE,
            title="Bandwidth limit",
            description="Most bytes a second for each task (not for the run), such as 50MiB; empty: no limit.",
            section=_SPEED,
            examples=["10MiB", "50MiB", "100MiB"],
        ),
    }
