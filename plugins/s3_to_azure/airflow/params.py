"""The run Params of a migration: what a user may change for one run, in Airflow's trigger form."""

from collections.abc import Sequence
from typing import Any, Final

from s3_to_azure.airflow.compat import Param
from s3_to_azure.model.options import (
    INTEGRITY,
    MAX_OBJECTS_AT_ONCE,
    MAX_TASKS,
    OVERWRITE,
    REFUSED_NAMES,
    Overwrite,
)

# What model.settings.parse_size accepts: one byte or more, fractions only with a unit. The form shows the pattern to
# a user whose value it refuses, so it is kept short.
_SIZE: Final = "^(?=0*[1-9]|0+[.]0{0,2}[1-9])[0-9]{1,20}(([.][0-9]{1,20})? *[KMGTkmgt]i?| *)[Bb]?$"

_WHAT_TO_COPY: Final = "What to copy"
_HOW_TO_COPY: Final = "How to copy"
_SPEED: Final = "Speed"


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
    """Return the Params with the migration's defaults; buckets, containers and connections are set in DAG code only."""
    return {
        **_selection(include, exclude),
        **_handling(overwrite, integrity, refused_names),
        **_speed(max_tasks, objects_at_once, bandwidth_limit),
    }


def _selection(include: Sequence[str], exclude: Sequence[str]) -> dict[str, Param]:
    # Airflow's form sends null for an empty text, and does not accept an empty text where null is not allowed.
    patterns: dict[str, Any] = {"type": ["null", "array"], "items": {"type": "string", "minLength": 1}}
    return {
        "prefix": Param(
            None,
            type=["null", "string"],
            title="Prefix",
            description="Copy only objects below this prefix, which is relative to the source's prefix. "
            "The names of the blobs do not change.",
            section=_WHAT_TO_COPY,
            examples=["2026/", "2026/11/"],
        ),
        "include": Param(
            list(include) or None,
            **patterns,
            title="Include",
            description="Copy only keys that match one of these patterns, one per line, such as *.parquet; "
            "* also matches /.",
            section=_WHAT_TO_COPY,
        ),
        "exclude": Param(
            list(exclude) or None,
            **patterns,
            title="Exclude",
            description="Leave out keys that match one of these patterns, one per line; takes precedence over Include.",
            section=_WHAT_TO_COPY,
        ),
        "wait": Param(
            False,  # noqa: FBT003 - a Param's default
            type="boolean",
            title="Wait",
            description="Wait for objects as a scheduled run does; otherwise a run that is started by hand looks once.",
            section=_WHAT_TO_COPY,
        ),
        "dry_run": Param(
            False,  # noqa: FBT003 - a Param's default
            type="boolean",
            title="Dry run",
            description="Only make the plan, and write to the log what would be copied.",
            section=_WHAT_TO_COPY,
        ),
    }


def _handling(overwrite: Overwrite, integrity: str, refused_names: str) -> dict[str, Param]:
    return {
        "overwrite": Param(
            overwrite,
            type="string",
            enum=list(OVERWRITE),
            values_display={
                "if_changed": "if changed: copy again if the blob is not a copy of the object's current version",
                "never": "never: keep the existing blob",
                "always": "always: copy again, changed or not",
            },
            title="Overwrite",
            description="What to do if a blob of that name exists.",
            section=_HOW_TO_COPY,
        ),
        "integrity": Param(
            integrity,
            type="string",
            enum=list(INTEGRITY),
            title="Integrity",
            description="The weakest verification level to accept; auto uses the strongest that S3's checksums allow. "
            "reread and readback transfer everything twice.",
            section=_HOW_TO_COPY,
        ),
        "refused_names": Param(
            refused_names,
            type="string",
            enum=list(REFUSED_NAMES),
            values_display={
                "fail": "fail: copy everything else, then fail the run",
                "skip": "skip: leave these objects out and count them",
                "map": "map: change the names reversibly (docs/fidelity.md)",
            },
            title="Refused names",
            description="What to do with objects whose names Azure does not accept.",
            section=_HOW_TO_COPY,
        ),
    }


def _speed(max_tasks: int, objects_at_once: int, bandwidth_limit: str | None) -> dict[str, Param]:
    return {
        "max_tasks": Param(
            max_tasks,
            type="integer",
            minimum=1,
            maximum=MAX_TASKS,
            title="Maximum tasks",
            description=f"The largest number of copy tasks to divide the work into, 1 to {MAX_TASKS:,}.",
            section=_SPEED,
        ),
        "objects_at_once": Param(
            objects_at_once,
            type="integer",
            minimum=1,
            maximum=MAX_OBJECTS_AT_ONCE,
            title="Objects at once",
            description=f"How many objects each task copies at the same time, 1 to {MAX_OBJECTS_AT_ONCE:,}; "
            "they share its memory budget.",
            section=_SPEED,
        ),
        "bandwidth_limit": Param(
            bandwidth_limit,
            # The form shows the schema of a value that it refuses, so this sentence reaches the user.
            cure="Write a size such as 50MiB, or leave it empty.",
            type=["null", "string"],
            pattern=_SIZE,
            title="Bandwidth limit",
            description="Bytes per second of each task (not of the whole run), such as 50MiB; empty: no limit.",
            section=_SPEED,
            examples=["10MiB", "50MiB", "100MiB"],
        ),
    }
