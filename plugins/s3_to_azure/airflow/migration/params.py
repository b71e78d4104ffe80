"""The run Params of a migration: what a user may change for one run in Airflow's trigger form, and within which limits.

What the DAG's author has set is never loosened by a run. Airflow checks a run's values against the Params' schemas when
it is created and again in each task; ``RunLimits`` is the rest, which no schema can say.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from s3_to_azure.airflow.arguments import check_names
from s3_to_azure.airflow.compat import Context, Param
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.filters import MOMENT_PATTERN, Filters, moment, read_filters
from s3_to_azure.model.limits import MAX_KEY_BYTES
from s3_to_azure.model.options import (
    AUTO,
    INTEGRITY,
    MAX_OBJECTS_AT_ONCE,
    MAX_TASKS,
    OVERWRITE,
    READBACK,
    REFUSED_NAMES,
    REREAD,
    TRANSPORT,
    VERIFICATION_LEVELS,
    VIA,
    Overwrite,
    at_least,
)
from s3_to_azure.model.settings import RATE_PATTERN, SIZE_PATTERN, parse_rate

_EMPTY: Final = "or leave it empty."
_A_SIZE: Final = f"Write a size such as 10MiB or 1.5 GB, {_EMPTY}"
_A_RATE: Final = f"Write bytes per second, such as 50 MB/s or 50MiB, {_EMPTY}"
_A_MOMENT: Final = f"Write an age such as 24h or 7d, a date such as 2026-01-31, or 2026-01-31T06:00:00+01:00, {_EMPTY}"
_A_PREFIX: Final = "Write the beginning of keys as S3 has them; . and .. are no folders there."

# A default that is not the usual one is the author's limit.
_MAXIMUMS: Final = {"max_tasks": defaults.MAX_TASKS, "objects_at_once": defaults.OBJECTS_AT_ONCE}
_RUN_FILTERS: Final = ("min_size", "max_size", "modified_after", "modified_before")
_SELECTING: Final = ("prefix", "include", "exclude", *_RUN_FILTERS, "overwrite", "refused_names")
_NULLABLE: Final = {
    "include": "array",
    "exclude": "array",
    "bandwidth_limit": "string",
    **dict.fromkeys(_RUN_FILTERS, "string"),
}
_MAX_PATTERNS: Final = 1_000
_MAX_TEXT: Final = 100
_LEVELS: Final[Mapping[str, str]] = {
    AUTO: "auto: the strongest that S3's checksums allow",
    **{level: f"{level}: at least as strong as this checksum of S3" for level in VERIFICATION_LEVELS},
    REREAD: "reread: where S3 has no checksum, read the object twice",
    TRANSPORT: "transport: proven from the worker to Azure at least",
    READBACK: "readback: as auto, then read each blob back from Azure",
}

# No name with such a segment is ever sent (model.names.check_key), so a run would copy nothing.
_NO_DOTS: Final = r"^(?!(.*/)?[.]{1,2}(/|$))"


def migration_params(  # noqa: PLR0913 - the defaults of a run
    *,
    overwrite: Overwrite,
    integrity: str,
    via: str,
    refused_names: str,
    include: Sequence[str],
    exclude: Sequence[str],
    max_tasks: int,
    objects_at_once: int,
    bandwidth_limit: str | None,
    source: str | None = None,
    destination: str | None = None,
) -> dict[str, Param]:
    """Return the Params with the migration's defaults; buckets, containers and connections are set in DAG code only.

    They have no sections: Airflow's form opens none of those, so that a person would see headings alone.
    """
    return {
        **_place_and_mode(source, destination),
        **_patterns_of_keys(include, exclude),
        **_size_and_age(),
        **_handling(overwrite, integrity, refused_names),
        **_way(via),
        **_speed(max_tasks, objects_at_once, bandwidth_limit),
    }


def _pattern(sentence: str, pattern: str) -> str:
    """Return the pattern with a comment at its begin, because a refusal shows the value and then the pattern."""
    return f"(?#{sentence}){pattern}"


def limit_params(params: Mapping[str, Any], *, own: Collection[str], pinned: Collection[str] = ()) -> dict[str, Any]:
    """Return the Params with schemas that accept nothing looser than their defaults, the migration's own values.

    Args:
        params: From ``migration_params``, perhaps with other defaults, and further ones.
        own: The names of those whose schema is from ``migration_params``.
        pinned: The names of those that no run may change; Airflow's form does not show them.

    Raises:
        UsageError: A name does not exist, or has no default to which it could be pinned.
    """
    check_names(pinned, params, what="run parameter")
    limited = dict(params)
    for name, param in params.items():
        value = _default_of(param)
        if name in pinned:
            if not _is_json(value):
                raise UsageError(detail=f"The run parameter {name!r} has no default to which it could be pinned.")
            limited[name] = _with_schema(param, value, {"const": value})
        elif name in own:
            limited[name] = _with_schema(param, value, _limits_of(name, value))
    return limited


def _limits_of(name: str, value: Any) -> dict[str, Any]:  # noqa: ANN401 - any JSON
    """Return what to add to the schema of one of the migration's own Params."""
    if name == "integrity":
        return {"enum": list(at_least(value))}
    if name in _MAXIMUMS and value != _MAXIMUMS[name]:
        return {"maximum": value}
    if name in _NULLABLE and value:
        # To leave it empty would be to do without what the migration has set.
        return {"type": _NULLABLE[name]}
    return {}


def _with_schema(param: Any, value: Any, more: Mapping[str, Any]) -> Param:  # noqa: ANN401 - a Param or any JSON
    if not isinstance(param, Param):
        return Param(value, **more)
    return Param(value, description=param.description, schema={**param.schema, **more})


def _default_of(param: Any) -> Any:  # noqa: ANN401 - a Param or any JSON
    return param.value if isinstance(param, Param) else param


def _is_json(value: object) -> bool:
    # Airflow's value for no default is of a class of its own.
    return value is None or isinstance(value, bool | int | float | str | list | dict)


def _patterns(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, list) else ()


@dataclass(frozen=True, slots=True)
class RunLimits:
    """What the migration's author has set and a run cannot loosen, beyond what the Params' schemas say.

    Attributes:
        names: The run Params that exist; empty: any.
        include: A key must match one of these patterns, whatever the run includes; empty: any key.
        exclude: Keys that match one of these patterns are left out, whatever the run excludes.
        bandwidth_limit: The highest limit of a run; None: a run need not have one.
        filters: Sizes and dates that an object must have, whatever the run asks for.
        selection: The defaults of the Params that say which objects are copied.
    """

    names: tuple[str, ...] = ()
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    bandwidth_limit: str | None = None
    filters: tuple[tuple[str, str], ...] = ()
    selection: tuple[tuple[str, Any], ...] = ()

    @classmethod
    def of(cls, params: Mapping[str, Any]) -> "RunLimits":
        """Return the limits that the defaults of the Params are."""
        values = {name: _default_of(param) for name, param in params.items()}
        most = values["bandwidth_limit"]
        return cls(
            names=tuple(values),
            include=_patterns(values["include"]),
            exclude=_patterns(values["exclude"]),
            bandwidth_limit=most if isinstance(most, str) else None,
            filters=tuple((name, values[name]) for name in _RUN_FILTERS if isinstance(values.get(name), str)),
            selection=tuple((name, values[name]) for name in _SELECTING if name in values),
        )

    def is_of_all(self, params: Mapping[str, Any]) -> bool:
        """Return whether a run of these Params copies what the migration copies by itself, and no part of it."""
        # A form sends null for what is empty.
        return all((params.get(name) or None) == (usual or None) for name, usual in self.selection)

    def check(self, context: Context) -> None:
        """Check the configuration with which a run was started.

        Raises:
            UsageError: A name does not exist: what it asks for would not be done. Or a value is above its limit.
        """
        given: Mapping[str, Any] = getattr(context.get("dag_run"), "conf", None) or {}
        if self.names:
            check_names(given, self.names, what="run parameter")
        self.filters_of(context["params"])
        wanted = context["params"].get("bandwidth_limit")
        if self.bandwidth_limit and wanted:
            most = parse_rate(self.bandwidth_limit, name="bandwidth_limit")
            if parse_rate(wanted, name="bandwidth_limit") > most:
                raise UsageError(
                    detail=f"bandwidth_limit={wanted!r} is above {self.bandwidth_limit}, the limit of this migration. "
                    "Start the run with a lower one, or change the migration."
                )

    def filters_of(self, params: Mapping[str, Any], *, began: datetime | None = None) -> Filters:
        """Return the run's sizes and dates, within the migration's defaults of them.

        Args:
            params: The run's.
            began: When the run began: ages count back from it, so that they mean the same in each try.

        Raises:
            UsageError: A text cannot be read, or nothing can pass.
        """
        return _filters(params, began).narrowed(_filters(dict(self.filters), began))


def _filters(texts: Mapping[str, Any], began: datetime | None) -> Filters:
    """Return the filters that a person has typed: a date alone means its begin in UTC, as on the command line."""
    dates = {name: moment(texts.get(name), name=name, now=began) for name in ("modified_after", "modified_before")}
    return read_filters({name: texts.get(name) for name in ("min_size", "max_size")} | dates)


def _place_and_mode(source: str | None, destination: str | None) -> dict[str, Param]:
    copies = f"This DAG copies from {source} to {destination}. " if source and destination else ""
    return {
        "prefix": Param(
            None,
            type=["null", "string"],
            maxLength=MAX_KEY_BYTES,
            pattern=_pattern(_A_PREFIX, _NO_DOTS),
            title="Prefix",
            description=f"{copies}Copy only objects below this prefix, which is relative to the source's prefix. "
            "The names of the blobs do not change.",
            examples=["2026/", "2026/11/"],
        ),
        "dry_run": Param(
            False,  # noqa: FBT003 - a Param's default
            type="boolean",
            title="Dry run",
            description="Only make the plan, and write to the log what would be copied.",
        ),
        "wait": Param(
            False,  # noqa: FBT003 - a Param's default
            type="boolean",
            title="Wait",
            description="Wait for objects as a scheduled run does; otherwise a run that is started by hand looks once.",
        ),
    }


def _patterns_of_keys(include: Sequence[str], exclude: Sequence[str]) -> dict[str, Param]:
    # Airflow's form sends null for an empty text, and does not accept an empty text where null is not allowed.
    patterns: dict[str, Any] = {
        "type": ["null", "array"],
        "items": {"type": "string", "minLength": 1, "maxLength": MAX_KEY_BYTES},
        "maxItems": _MAX_PATTERNS,
    }
    return {
        "include": Param(
            list(include) or None,
            **patterns,
            title="Include",
            description="Copy only keys that match one of these patterns, one per line, such as *.parquet; "
            "* also matches /. The migration's own patterns apply as well.",
        ),
        "exclude": Param(
            list(exclude) or None,
            **patterns,
            title="Exclude",
            description="Leave out keys that match one of these patterns, one per line; takes precedence over Include. "
            "The migration's own patterns apply as well.",
        ),
    }


def _size_and_age() -> dict[str, Param]:
    text: dict[str, Any] = {"type": ["null", "string"], "maxLength": _MAX_TEXT}
    size = text | {"pattern": _pattern(_A_SIZE, SIZE_PATTERN), "examples": ["1KiB", "10MiB", "1GiB"]}
    age = text | {"pattern": _pattern(_A_MOMENT, MOMENT_PATTERN), "examples": ["24h", "7d", "2026-01-31"]}
    return {
        "min_size": Param(
            None,
            **size,
            title="Minimum size",
            description="Copy only objects of at least this size, such as 10MiB or 1.5 GB. The migration's own filters "
            "apply as well.",
        ),
        "max_size": Param(None, **size, title="Maximum size", description="Copy only objects of at most this size."),
        "modified_after": Param(
            None,
            **age,
            title="Modified after",
            description="Copy only objects that were modified after this time: an age, counted back from the start of "
            "the run, such as 24h or 7d, a date (UTC), or 2026-01-31T06:00:00+01:00.",
        ),
        "modified_before": Param(
            None,
            **age,
            title="Modified before",
            description="Copy only objects that were modified before this time.",
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
        ),
        "integrity": Param(
            integrity,
            type="string",
            enum=list(INTEGRITY),
            values_display=_LEVELS,
            title="Integrity",
            description="The weakest verification level to accept.",
        ),
        "refused_names": Param(
            refused_names,
            type="string",
            enum=list(REFUSED_NAMES),
            values_display={
                "fail": "fail: copy everything else, then fail the run",
                "skip": "skip: leave these objects out and count them",
                "map": "map: copy under a changed name, which the command s3-to-azure key turns back",
            },
            title="Refused names",
            description="What to do with objects whose names Azure does not accept.",
        ),
    }


def _way(via: str) -> dict[str, Param]:
    return {
        "via": Param(
            via,
            type="string",
            enum=list(VIA),
            values_display={
                "worker": "worker: stream every object through the workers",
                "azure": "azure: Azure fetches every object from S3, and those that it cannot fetch fail",
                "auto": "auto: Azure fetches what it can, and the workers stream the rest",
            },
            title="Via",
            description="The way of the bytes. Azure fetches by presigned URLs from public endpoints.",
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
        ),
        "objects_at_once": Param(
            objects_at_once,
            type="integer",
            minimum=1,
            maximum=MAX_OBJECTS_AT_ONCE,
            title="Objects at once",
            description=f"The most objects that each task copies at the same time, 1 to {MAX_OBJECTS_AT_ONCE:,}; "
            "they share its memory budget.",
        ),
        "bandwidth_limit": Param(
            None if bandwidth_limit is None else str(bandwidth_limit),
            type=["null", "string"],
            pattern=_pattern(_A_RATE, RATE_PATTERN),
            title="Bandwidth limit",
            description="Bytes per second of each task (not of the whole run), such as 50 MB/s or 50MiB; empty: no "
            "limit.",
            examples=["10 MB/s", "50 MB/s", "100 MB/s"],
        ),
    }
