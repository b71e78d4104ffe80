"""Reads the pages' data from Airflow's database, with one query for each page.

Any task may store anything in XCom and in its state store. So the queries leave out values that are longer than those
of a migration, and a page reads no more than a number of characters altogether, whatever there is.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from sqlalchemy import Text, and_, case, cast, func, or_, select, union
from sqlalchemy.orm import Session

from s3_to_azure.airflow.progress import ERROR_KEY, PROGRESS_KEY, SETTINGS_KEY, WAITING_KEY
from s3_to_azure.model.reasons import COPIED, FAILED, FINAL_STATUSES
from s3_to_azure.web.airflow_internals import DagRun, DagTag, Pool, TaskInstance, TaskStateStoreModel, XComModel

if TYPE_CHECKING:  # SQLAlchemy 1.4, which Airflow 3.0 has, keeps them elsewhere
    from sqlalchemy import ColumnElement, Subquery

COPY_OPERATOR: Final = "S3ToAzureBlobStreamOperator"
SENSORS: Final = ("S3ObjectsSensor", "S3EventsSensor")
PLAN_TASK: Final = "plan"
REPORT_TASK: Final = "report"
COMPARE_TASK: Final = "compare"
DAG_TAG: Final = "s3_to_azure"
LINK_KEY: Final = "_link_MigrationPageLink"
"""Key of the XCom that Airflow writes for the link to the Migration page, when a copy task ends."""

MAX_RUNS: Final = 1_000
MAX_TASKS: Final = 5_000
_RESULT: Final = "return_value"
_BY_EVENTS: Final = "asset_triggered"

# JSON within JSON doubles quotes and backslashes.
_MAX_REPORT: Final = 2 * 64_000
# 1,000 batch descriptors.
_MAX_PLAN: Final = 1_000_000
_MAX_VALUE: Final = 64_000
_MAX_CHARACTERS: Final = 32_000_000
_ROWS_AT_ONCE: Final = 50
# Their copy tasks are read, where a run has a report its summary.
_MAX_UNREPORTED: Final = 200

# XComs are JSON, which is parsed here instead of by the database's driver: it may be of any depth.
_XCOM: Final = cast(XComModel.value, Text)
_RUN_COLUMNS: Final[tuple[Any, ...]] = (DagRun.state, DagRun.start_date, DagRun.end_date)
_TASK_COLUMNS: Final[tuple[Any, ...]] = (
    *(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.operator, TaskInstance.state),
    *(TaskInstance.try_number, TaskInstance.max_tries, TaskInstance.start_date, TaskInstance.end_date),
    TaskInstance.rendered_map_index,
    case((Pool.pool.is_(None), TaskInstance.pool), else_="").label("missing_pool"),
)
_NOTE_COLUMNS: Final = ("key", "value", "updated_at")
_HISTORY_COLUMNS: Final[tuple[Any, ...]] = (
    *(DagRun.id, DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date),
)
_SHOWN_IN_HISTORY: Final = (
    *("listed", *FINAL_STATUSES, "dry_run", "reasons"),
    *("bytes_sent", "bytes_resumed", "retries", "bytes_per_second"),
    *("announced", "missed_by_events"),
)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task instance, its progress and its XComs.

    Attributes:
        progress: The last ``airflow.progress.progress_record``, possibly of an earlier try; empty without one.
        progress_at: When the API server stored it.
        error: The last ``airflow.task_errors.error_record``, possibly of an earlier try; empty without one.
        results: XComs by key.
        missing_pool: The task's pool if it does not exist, so that Airflow never starts the task.
    """

    task_id: str
    map_index: int
    operator: str
    state: str | None
    try_number: int
    max_tries: int
    started_at: datetime | None
    ended_at: datetime | None
    label: str | None
    missing_pool: str = ""
    progress: Mapping[str, Any] = field(default_factory=dict)
    progress_at: datetime | None = None
    error: Mapping[str, Any] = field(default_factory=dict)
    results: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A DAG run.

    Attributes:
        report: The report's summary; ``{"dry_run": True}`` for a dry run; empty if the run has none.
        comparison: The comparison's summary; empty if the run made none.
        copies: The state and the result of each copy task, of a run without report.
    """

    dag_id: str
    run_id: str
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    report: Mapping[str, Any] = field(default_factory=dict)
    comparison: Mapping[str, Any] = field(default_factory=dict)
    copies: Sequence[tuple[str, Mapping[str, Any]]] = ()


def read_run(session: Session, dag_id: str, run_id: str) -> tuple[RunRow, list[TaskRow]] | None:
    """Return a run and its task instances in order, at most ``MAX_TASKS``; None if the run does not exist."""
    is_ours = or_(
        TaskInstance.operator.in_((COPY_OPERATOR, *SENSORS)), TaskInstance.task_id.in_((PLAN_TASK, REPORT_TASK))
    )
    tasks = (
        select(*_TASK_COLUMNS)
        .outerjoin(Pool, Pool.pool == TaskInstance.pool)
        .where(TaskInstance.dag_id == dag_id, TaskInstance.run_id == run_id)
        .order_by(case((is_ours, 0), else_=1), TaskInstance.task_id, TaskInstance.map_index)
        .limit(MAX_TASKS)
        .subquery()
    )
    stored, xcom = _stored_notes(), XComModel
    rows = session.execute(
        select(
            *_RUN_COLUMNS,
            tasks,
            # SQLAlchemy 1.4, which Airflow 3.0 has, takes one name at a time.
            *(stored.c[name] for name in _NOTE_COLUMNS),
            xcom.key.label("xcom_key"),
            _XCOM.label("xcom"),
        )
        .select_from(DagRun)
        .outerjoin(tasks, DagRun.dag_id == dag_id)
        .outerjoin(
            stored,
            and_(
                stored.c.dag_run_id == DagRun.id,
                stored.c.task_id == tasks.c.task_id,
                stored.c.map_index == tasks.c.map_index,
            ),
        )
        .outerjoin(
            xcom,
            and_(
                xcom.dag_run_id == DagRun.id,
                xcom.task_id == tasks.c.task_id,
                xcom.map_index == tasks.c.map_index,
                or_(
                    and_(xcom.task_id == PLAN_TASK, xcom.key.in_((PLAN_TASK, _RESULT)), _is_at_most(_MAX_PLAN)),
                    and_(xcom.task_id == REPORT_TASK, xcom.key.in_((REPORT_TASK, _RESULT)), _is_at_most(_MAX_REPORT)),
                    and_(
                        tasks.c.operator.in_((COPY_OPERATOR, *SENSORS)),
                        xcom.key.in_((_RESULT, WAITING_KEY, SETTINGS_KEY)),
                        _is_at_most(_MAX_VALUE),
                    ),
                ),
            ),
        )
        .where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        .order_by(tasks.c.task_id, tasks.c.map_index),
        execution_options={"yield_per": _ROWS_AT_ONCE},
    )
    run: RunRow | None = None
    found: dict[tuple[str, int], TaskRow] = {}
    reader = _Reader()
    for state, start, end, task_id, map_index, *columns, note, note_value, at, key, value in rows:
        run = run or RunRow(dag_id, run_id, str(state), start, end)
        if task_id is None:
            continue
        task = found.setdefault((task_id, map_index), _task_row(task_id, map_index, columns))
        # A task with both notes has two rows for each of its XComs.
        if note == PROGRESS_KEY and not task.progress:
            task = replace(task, progress=as_mapping(reader.read(note_value)), progress_at=at)
        elif note == ERROR_KEY and not task.error:
            task = replace(task, error=as_mapping(reader.read(note_value)))
        if key is not None and key not in task.results:
            task.results[key] = reader.read(value)
        found[task_id, map_index] = task
    return (run, list(found.values())) if run else None


def _stored_notes() -> "Subquery":
    """Return the tasks' progress and errors: from their XComs where Airflow has no task state store (3.0 to 3.2)."""
    keys = (PROGRESS_KEY, ERROR_KEY)
    if TaskStateStoreModel is None:
        written = (XComModel.dag_run_id, XComModel.task_id, XComModel.map_index, XComModel.key)
        return (
            select(*written, _XCOM.label("value"), XComModel.timestamp.label("updated_at"))
            .where(XComModel.key.in_(keys), _is_at_most(_MAX_VALUE))
            .subquery()
        )
    stored = TaskStateStoreModel
    return (
        select(stored.dag_run_id, stored.task_id, stored.map_index, stored.key, stored.value, stored.updated_at)
        .where(stored.key.in_(keys), func.length(stored.value) <= _MAX_VALUE)
        .subquery()
    )


def _is_at_most(characters: int) -> "ColumnElement[bool]":
    return func.length(_XCOM) <= characters


def _task_row(task_id: str, map_index: int, columns: Sequence[Any]) -> TaskRow:
    operator, state, try_number, max_tries, start, end, label, missing_pool = columns
    return TaskRow(
        task_id=task_id,
        map_index=map_index,
        operator=operator or "",
        state=state,
        try_number=try_number,
        max_tries=max_tries,
        started_at=start,
        ended_at=end,
        label=label,
        missing_pool=missing_pool or "",
    )


def migrations(session: Session, dag_ids: Collection[str]) -> set[str]:
    """Return which of the DAGs are migrations, by their tag, or have the operator, by what it has left.

    The operator of a task instance would say it too, but has no index: in a large installation the database would read
    all task instances. The key of an XCom has one. One task of each run is enough.
    """
    tagged = select(DagTag.dag_id).where(DagTag.name == DAG_TAG)
    linked = select(XComModel.dag_id).where(XComModel.key == LINK_KEY, XComModel.map_index <= 0)
    return set(session.scalars(union(tagged, linked))) & set(dag_ids)


def read_history(session: Session, dag_ids: Collection[str], since: datetime) -> list[RunRow]:
    """Return the runs that began since then, the newest first, at most ``MAX_RUNS``; those by events count last.

    Args:
        session: A session of Airflow's database.
        dag_ids: The migrations to look at, from ``migrations``.
        since: The time.
    """
    runs = (
        select(*_HISTORY_COLUMNS)
        .where(DagRun.dag_id.in_(dag_ids), DagRun.start_date >= since)
        # Events may start a run each minute, which must not push the nights out.
        .order_by(case((DagRun.run_type == _BY_EVENTS, 1), else_=0), DagRun.start_date.desc(), DagRun.id.desc())
        .limit(MAX_RUNS)
        .subquery()
    )
    rows = session.execute(
        select(runs, XComModel.task_id.label("xcom_task"), _XCOM.label("xcom"))
        .select_from(runs)
        .outerjoin(
            XComModel,
            and_(
                XComModel.dag_run_id == runs.c.id,
                XComModel.map_index == -1,
                or_(
                    and_(XComModel.task_id == REPORT_TASK, XComModel.key.in_((REPORT_TASK, _RESULT))),
                    and_(XComModel.task_id == COMPARE_TASK, XComModel.key == COMPARE_TASK),
                ),
                _is_at_most(_MAX_REPORT),
            ),
        )
        .order_by(runs.c.start_date.desc(), runs.c.id.desc()),
        execution_options={"yield_per": _ROWS_AT_ONCE},
    )
    reader = _Reader()
    found: dict[int, RunRow] = {}
    for number, dag_id, run_id, state, start, end, task_id, value in rows:
        run = found.setdefault(number, RunRow(dag_id, run_id, str(state), start, end))
        if task_id == COMPARE_TASK:
            found[number] = replace(run, comparison=as_mapping(reader.read(value)))
            continue
        # A run may have values under both keys, one of them the report.
        if report := as_report(reader.read(value)):
            shown = {name: report[name] for name in _SHOWN_IN_HISTORY if name in report}
            found[number] = replace(run, report=shown)
    unreported = [number for number, run in found.items() if not run.report][:_MAX_UNREPORTED]
    for number, copies in _read_copies(session, unreported, reader).items():
        found[number] = replace(found[number], copies=copies)
    return list(found.values())


def _read_copies(
    session: Session, runs: Sequence[int], reader: "_Reader"
) -> dict[int, list[tuple[str, Mapping[str, Any]]]]:
    """Return the state and the result of each copy task of the runs, at most ``MAX_TASKS``."""
    found: dict[int, list[tuple[str, Mapping[str, Any]]]] = {}
    if not runs:
        return found
    task, xcom = TaskInstance, XComModel
    rows = session.execute(
        select(DagRun.id, task.state, _XCOM)
        .select_from(DagRun)
        .join(task, and_(task.dag_id == DagRun.dag_id, task.run_id == DagRun.run_id))
        .outerjoin(
            xcom,
            and_(
                xcom.dag_run_id == DagRun.id,
                xcom.task_id == task.task_id,
                xcom.map_index == task.map_index,
                xcom.key == _RESULT,
                _is_at_most(_MAX_VALUE),
            ),
        )
        .where(DagRun.id.in_(runs), task.operator == COPY_OPERATOR, task.state.is_not(None))
        .order_by(DagRun.id.desc(), task.task_id, task.map_index)
        .limit(MAX_TASKS)
    )
    for number, state, value in rows:
        found.setdefault(number, []).append((str(state), as_mapping(reader.read(value))))
    return found


class _Reader:
    """Parses the values of one page, until they are too long altogether; all after that are None."""

    def __init__(self) -> None:
        self._left = _MAX_CHARACTERS

    def read(self, text: str | None) -> object:
        self._left -= len(text or "")
        # Airflow stores JSON as text in a JSON column.
        return decoded(decoded(text)) if self._left >= 0 else None


def decoded(value: object) -> object:
    """Return the value of JSON text; None if it is not JSON; any other value as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return None


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return the JSON object; empty for any other value."""
    found = decoded(value)
    return found if isinstance(found, dict) else {}


def plan_of(tasks: Sequence[TaskRow]) -> Mapping[str, Any]:
    """Return the plan's summary; empty before there is one."""
    plan = next((task for task in tasks if task.task_id == PLAN_TASK), None)
    return as_mapping(plan.results.get(PLAN_TASK)) if plan else {}


def as_report(value: object) -> Mapping[str, Any]:
    """Return the report's summary; empty for any other value."""
    found = as_mapping(value)
    if found.get("dry_run") is True:
        return {"dry_run": True}
    return found if all(isinstance(found.get(name), dict) for name in ("listed", COPIED, FAILED)) else {}
