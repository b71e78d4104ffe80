"""The arguments of ``migration_dag``: checked when the DAG is parsed, and passed on to the DAG and its tasks."""

import inspect
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from s3_to_azure.airflow.arguments import (
    COUNT,
    DURATION,
    FLAG,
    MAPPING,
    RETRIES,
    SIZE,
    TEXT,
    TEXTS,
    VERIFY,
    Kind,
    check_kinds,
    check_names,
    is_known,
)
from s3_to_azure.airflow.compat import (
    DAG,
    HAS_EVENT_TRIGGERS,
    RETRY_BACKOFF,
    START_IS_OPTIONAL,
    BaseOperator,
    BaseSensorOperator,
    Param,
    retry_arguments,
)
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.filters import read_filters
from s3_to_azure.model.names import check_container
from s3_to_azure.model.options import did_you_mean
from s3_to_azure.model.settings import CopySettings, Fidelity, check_batching, parse_rate, parse_size
from s3_to_azure.model.uris import is_template, queue_endpoint

WAIT: Final = "wait_for_objects"
PLAN: Final = "plan"
COPY: Final = "copy"
REPORT: Final = "report"
CHECK: Final = "check_report"
COMPARE: Final = "compare"
TASKS: Final = (WAIT, PLAN, COPY, REPORT, CHECK, COMPARE)
"""The ids of a migration's tasks, in their order; the last one only with ``compare_every``."""

STATE_CONNECTION: Final = "wasb_conn_id"
"""Name in the plan's summary: the Airflow connection of the account with the run's state files."""

STATE_CONTAINER: Final = "state_container"
"""Name in the plan's summary: the container of the run's state files."""

RETRIES_BY_DEFAULT: Final[Mapping[str, Any]] = {
    "retries": 5,
    "retry_delay": timedelta(minutes=1),
    "max_retry_delay": timedelta(minutes=30),
}
"""The defaults of ``migration_dag``; ``default_args`` take precedence over them, and arguments over both."""

_KINDS: Final[Mapping[str, Kind]] = {
    "source": TEXT.or_none,
    "destination": TEXT.or_none,
    "aws_conn_id": TEXT.or_none,
    "wasb_conn_id": TEXT,
    "state_container": TEXT.or_none,
    "create_container": FLAG,
    "keys_from": TEXT.or_none,
    "checksums_from": TEXT.or_none,
    "inventory": TEXT.or_none,
    "events": TEXT.or_none,
    "list_every": DURATION.or_none,
    "pool": TEXT.or_none,
    "max_active_tis_per_dagrun": COUNT.or_none,
    "memory_budget": SIZE,
    "block_size": SIZE.or_none,
    "split_size": SIZE,
    "task_size": SIZE,
    "s3_verify": VERIFY.or_none,
    "s3_extra_args": MAPPING.or_none,
    "min_objects": COUNT,
    "allow_empty": FLAG,
    "deferrable": FLAG,
    "poke_interval": DURATION,
    "wait_timeout": DURATION,
    "dagrun_timeout": DURATION.or_none,
    "retries": RETRIES,
    "retry_delay": DURATION,
    "max_retry_delay": DURATION,
    "keep_state_days": COUNT.or_none,
    "signing_key": TEXT.or_none,
    "compare_every": DURATION.or_none,
    "overwrite": TEXT,
    "integrity": TEXT,
    "via": TEXT,
    "refused_names": TEXT,
    "fidelity": MAPPING.or_none,
    "include": TEXTS,
    "exclude": TEXTS,
    "filters": MAPPING.or_none,
    "max_tasks": COUNT,
    "objects_at_once": COUNT,
    "bandwidth_limit": SIZE.or_none,
    "params": MAPPING.or_none,
    "pinned": TEXTS,
    "default_args": MAPPING.or_none,
    "task_arguments": MAPPING.or_none,
    "catchup": FLAG,
    "max_active_runs": COUNT,
}
# What wires the tasks.
_WIRING: Final = frozenset({"self", "kwargs", "task_id", "dag", "task_group", "trigger_rule", "default_args", "params"})


START: Final = datetime(2026, 1, 1, tzinfo=UTC)
"""The start of DAGs that need one."""

_NEED_A_START: Final = ("@once", "@continuous")
_DOC: Final = """\
Copies new and changed objects from `{source}` to `{destination}`. The data is streamed through the workers' memory, and
each object is verified by its checksum. A retry, and the next run, send only what Azure does not hold yet. The task
`report` fails the run if an object is not accounted for; its log says why objects failed, and the report in the state
container names every one of them.
"""


def check_migration(arguments: Mapping[str, Any]) -> None:
    """Check the arguments of ``migration_dag``, except its addresses, which are checked where they are read.

    Args:
        arguments: All of them by name, and as ``dag_arguments`` those for ``DAG``.

    Raises:
        UsageError: A name does not exist, or a value cannot be used.
    """
    owner = arguments["dag_id"]
    own = set(arguments) - {"dag_arguments"}
    check_names(arguments["dag_arguments"], own | _parameters(DAG), what="argument of migration_dag")
    check_kinds(owner, arguments, _KINDS)
    tags = arguments["dag_arguments"].get("tags")
    if isinstance(tags, str):
        raise UsageError(detail=f"{owner}: tags={tags!r} is a text. Write a list of tags.")
    if not arguments["wasb_conn_id"]:
        raise UsageError(detail=f"{owner}: wasb_conn_id is empty. Azure needs a connection, such as wasb_default.")
    _check_task_arguments(arguments["task_arguments"] or {})
    _check_default_args(arguments["default_args"] or {})
    if arguments["state_container"] and is_known(arguments["state_container"]):
        check_container(arguments["state_container"])
    _check_settings(arguments)


def _check_settings(arguments: Mapping[str, Any]) -> None:
    """Read the settings as the tasks will read them."""
    sizes = {
        name: parse_size(arguments[name], name=name) if arguments[name] is not None else None
        for name in ("memory_budget", "block_size", "split_size", "task_size")
    }
    limit = arguments["bandwidth_limit"]
    CopySettings(
        overwrite=arguments["overwrite"],
        integrity=arguments["integrity"],
        via=arguments["via"],
        refused_names=arguments["refused_names"],
        fidelity=Fidelity.of(arguments["fidelity"]),
        block_bytes=sizes["block_size"],
        memory_budget_bytes=sizes["memory_budget"] or 0,
        objects_at_once=arguments["objects_at_once"],
        bandwidth_bytes_s=None if limit is None else parse_rate(limit, name="bandwidth_limit"),
    )
    check_batching(
        max_tasks=arguments["max_tasks"], split_bytes=sizes["split_size"] or 0, batch_bytes=sizes["task_size"] or 0
    )
    if COMPARE in (arguments["task_arguments"] or {}) and not arguments["compare_every"]:
        raise UsageError(detail="task_arguments has the task compare, which needs compare_every, such as a week.")
    if arguments["compare_every"] and arguments["keys_from"]:
        raise UsageError(detail="compare_every compares all objects below the source's prefix: leave out keys_from.")
    _check_events(arguments)
    filters = arguments["filters"] or {}
    read_filters({name: text if is_known(text) else None for name, text in filters.items()})


def _check_events(arguments: Mapping[str, Any]) -> None:
    """Refuse what cannot be combined with events."""
    if not arguments["events"]:
        if arguments["list_every"]:
            raise UsageError(
                detail="list_every needs events, the URL of a queue. Without events each run lists the bucket."
            )
        return
    queue_endpoint(arguments["events"])
    source, given = arguments["source"] or "", arguments["schedule"]
    for name in ("keys_from", "inventory"):
        if arguments[name]:
            raise UsageError(detail=f"events cannot be combined with {name}.")
    if is_template(source):
        raise UsageError(
            detail=f"events cannot be combined with source={source!r}: they come at any time, when no run has rendered "
            "its template. Name a prefix without one."
        )
    if ":" in source.removeprefix("s3://"):
        raise UsageError(detail="events need the bucket's name in source: they name it, and no access point.")
    if arguments["list_every"] is None and not HAS_EVENT_TRIGGERS:
        raise UsageError(
            detail="This Airflow starts no DAG by events. Pass list_every, such as timedelta(days=1), and a schedule "
            "of minutes: then each run empties the queue, and the first of each such period lists the bucket."
        )
    if arguments["list_every"] is None and not (given is None or isinstance(given, (str, timedelta))):
        raise UsageError(detail=f"events need a schedule of time, such as @daily, or None; not {given!r}.")
    if arguments["list_every"] is not None and (given is None or arguments["deferrable"]):
        raise UsageError(
            detail="list_every needs a schedule, such as '*/5 * * * *', and excludes deferrable=True: it is for an "
            "Airflow without a triggerer."
        )


def _check_task_arguments(task_arguments: Mapping[str, Any]) -> None:
    check_names(task_arguments, TASKS, what="task")
    for task_id, given in task_arguments.items():
        if not MAPPING.accepts(given):
            raise UsageError(detail=f"task_arguments[{task_id!r}]={given!r} is not {MAPPING.expected}.")
        known = _parameters(BaseOperator.__init__)
        if task_id == WAIT:
            known |= _parameters(BaseSensorOperator.__init__)
        check_names(given, known, what=f"argument of the task {task_id}")


def _check_default_args(default_args: Mapping[str, Any]) -> None:
    """Refuse what is misspelt; other names may be meant for operators of other DAGs, and Airflow ignores them."""
    known = _parameters(BaseOperator.__init__) | _parameters(BaseSensorOperator.__init__)
    for name in default_args:
        near = did_you_mean(name, known, cutoff=0.75) if name not in known else ""
        if near:
            raise UsageError(detail=f"There is no task argument {name!r}, which is in default_args.{near}")


def _parameters(function: Any) -> set[str]:  # noqa: ANN401 - a class or a function
    return set(inspect.signature(function).parameters) - _WIRING


def task_defaults(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the DAG's ``default_args``: how often and when to retry, and the caller's."""
    passed = {name: arguments[name] for name, usual in RETRIES_BY_DEFAULT.items() if arguments[name] != usual}
    policy = {"retry_exponential_backoff": RETRY_BACKOFF, **retry_arguments()}
    return dict(RETRIES_BY_DEFAULT) | policy | dict(arguments["default_args"] or {}) | passed


def merged_params(own: Mapping[str, Param], given: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the run's Params: the migration's own with other defaults, and the caller's.

    Args:
        own: The migration's.
        given: The caller's: a value for one of the migration's is its default, anything else is added.

    Raises:
        UsageError: A default does not fit the Param, or a name is misspelt.
    """
    merged: dict[str, Any] = dict(own)
    for name, value in (given or {}).items():
        near = did_you_mean(name, own, cutoff=0.9) if name not in own and not isinstance(value, Param) else ""
        if near:
            # A run that is not dry would be the worst way to learn it.
            raise UsageError(detail=f"There is no run Param {name!r}.{near} Pass one of your own as a Param.")
        if name not in own or isinstance(value, Param):
            merged[name] = value
            continue
        merged[name] = Param(value, description=own[name].description, **own[name].schema)
        try:
            merged[name].resolve()
        except Exception as error:  # noqa: BLE001 - Airflow's versions have different classes for it
            raise UsageError(detail=f"params[{name!r}]={value!r} is refused: {error}") from None
    return merged


def dag_arguments_for(
    source: str | None,
    destination: str | None,
    given: Mapping[str, Any],
    *,
    macros: Mapping[str, Any],
    schedule: object,
    catchup: bool,
) -> dict[str, Any]:
    """Return more arguments of ``DAG``: the caller's, and what they leave out. The tag is always there."""
    return {
        # Without a start, Airflow makes up for no interval when a new DAG is unpaused, for example for a dry run; but
        # two schedules never run without one.
        "start_date": START if catchup or not START_IS_OPTIONAL or schedule in _NEED_A_START else None,
        "doc_md": _DOC.format(source=source, destination=destination),
        **given,
        "user_defined_macros": {**macros, **(given.get("user_defined_macros") or {})},
        # The history page finds migrations by it.
        # A list: Airflow 2.10 takes no set.
        "tags": sorted({"s3_to_azure", *(given.get("tags") or ())}),
    }
