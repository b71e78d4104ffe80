"""Reads the pages' data from Airflow's database, with one query for each page."""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from s3_to_azure.airflow.progress import PROGRESS_KEY
from s3_to_azure.model.reasons import COPIED, FAILED
from s3_to_azure.web.airflow_internals import DagRun, DagTag, TaskInstance, TaskStateStoreModel, XComModel

COPY_OPERATOR: Final = "S3ToAzureBlobStreamOperator"
SENSOR: Final = "S3ObjectsSensor"
PLAN_TASK: Final = "plan"
REPORT_TASK: Final = "report"
DAG_TAG: Final = "s3_to_azure"
MAX_RUNS: Final = 1_000
_RESULT: Final = "return_value"

_RUN_COLUMNS: Final[tuple[Any, ...]] = (
    *(DagRun.state, DagRun.start_date, DagRun.end_date),
    *(TaskInstance.task_id, TaskInstance.map_index, TaskInstance.operator, TaskInstance.state),
    *(TaskInstance.try_number, TaskInstance.max_tries, TaskInstance.start_date, TaskInstance.end_date),
    TaskInstance.rendered_map_index,
    *(TaskStateStoreModel.value, TaskStateStoreModel.updated_at),
    *(XComModel.key, XComModel.value),
)
_HISTORY_COLUMNS: Final[tuple[Any, ...]] = (
    *(DagRun.dag_id, DagRun.run_id, DagRun.state, DagRun.start_date, DagRun.end_date),
    XComModel.value,
)


@dataclass(frozen=True, slots=True)
class TaskRow:
    """A task instance, its progress and its XComs.

    Attributes:
        progress: The last ``airflow.progress.progress_record``, possibly of an earlier try; empty without one.
        progress_at: When the API server stored it.
        results: XComs by key.
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
    progress: Mapping[str, Any] = field(default_factory=dict)
    progress_at: datetime | None = None
    results: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RunRow:
    """A DAG run.

    Attributes:
        report: The report's summary; ``{"dry_run": True}`` for a dry run; empty if the run has none.
    """

    dag_id: str
    run_id: str
    state: str
    started_at: datetime | None
    ended_at: datetime | None
    report: Mapping[str, Any] = field(default_factory=dict)


def read_run(session: Session, dag_id: str, run_id: str) -> tuple[RunRow, list[TaskRow]] | None:
    """Return a run and its task instances in order, or None if the run does not exist."""
    same_task = (
        TaskInstance.dag_id == XComModel.dag_id,
        TaskInstance.task_id == XComModel.task_id,
        TaskInstance.run_id == XComModel.run_id,
        TaskInstance.map_index == XComModel.map_index,
    )
    ours = or_(
        and_(XComModel.task_id.in_((PLAN_TASK, REPORT_TASK)), XComModel.key.in_((PLAN_TASK, REPORT_TASK, _RESULT))),
        and_(TaskInstance.operator.in_((COPY_OPERATOR, SENSOR)), XComModel.key == _RESULT),
    )
    rows = session.execute(
        select(*_RUN_COLUMNS)
        .select_from(DagRun)
        .outerjoin(TaskInstance, and_(TaskInstance.dag_id == DagRun.dag_id, TaskInstance.run_id == DagRun.run_id))
        .outerjoin(
            TaskStateStoreModel,
            and_(
                TaskStateStoreModel.dag_run_id == DagRun.id,
                TaskStateStoreModel.task_id == TaskInstance.task_id,
                TaskStateStoreModel.map_index == TaskInstance.map_index,
                TaskStateStoreModel.key == PROGRESS_KEY,
            ),
        )
        .outerjoin(XComModel, and_(*same_task, ours))
        .where(DagRun.dag_id == dag_id, DagRun.run_id == run_id)
        .order_by(TaskInstance.task_id, TaskInstance.map_index)
    ).all()
    if not rows:
        return None
    state, start, end = rows[0][:3]
    return RunRow(dag_id, run_id, str(state), start, end), _task_rows(rows)


def _task_rows(rows: Sequence[Any]) -> list[TaskRow]:
    """Return the task instances; the query has one row for each XCom of a task instance, or one without XCom."""
    tasks: dict[tuple[str, int], TaskRow] = {}
    for (
        *_,
        task_id,
        map_index,
        operator,
        state,
        try_number,
        max_tries,
        start,
        end,
        label,
        progress,
        at,
        key,
        xcom,
    ) in rows:
        if task_id is None:
            continue
        task = tasks.get((task_id, map_index))
        if task is None:
            task = tasks[task_id, map_index] = TaskRow(
                task_id=task_id,
                map_index=map_index,
                operator=operator or "",
                state=state,
                try_number=try_number,
                max_tries=max_tries,
                started_at=start,
                ended_at=end,
                label=label,
                progress=as_mapping(progress),
                progress_at=at,
            )
        if key is not None:
            task.results[key] = decoded(xcom)
    return list(tasks.values())


def read_history(session: Session, dag_ids: Collection[str], since: datetime) -> list[RunRow]:
    """Return the migrations' runs that began since then, the newest first, at most ``MAX_RUNS``.

    Args:
        session: A session of Airflow's database.
        dag_ids: The DAGs to look at; a run of theirs is a migration's if the DAG has the tag or the run has a report.
        since: The time.
    """
    tagged = select(DagTag.dag_id).where(DagTag.name == DAG_TAG)
    rows = session.execute(
        select(*_HISTORY_COLUMNS, DagRun.dag_id.in_(tagged))
        .select_from(DagRun)
        .outerjoin(
            XComModel,
            and_(
                XComModel.dag_run_id == DagRun.id,
                XComModel.task_id == REPORT_TASK,
                XComModel.map_index == -1,
                XComModel.key.in_((REPORT_TASK, _RESULT)),
            ),
        )
        .where(
            DagRun.dag_id.in_(dag_ids),
            DagRun.start_date >= since,
            or_(DagRun.dag_id.in_(tagged), XComModel.key.is_not(None)),
        )
        .order_by(DagRun.start_date.desc(), DagRun.id.desc())
        # A run may have a report under both keys.
        .limit(2 * MAX_RUNS)
    ).all()
    runs: dict[tuple[str, str], RunRow] = {}
    for dag_id, run_id, state, start, end, value, is_tagged in rows:
        report = as_report(decoded(value))
        # Any DAG may have a task of that name, and a run of ours may have two values, one of them the report.
        if report or (is_tagged and (dag_id, run_id) not in runs):
            runs[dag_id, run_id] = RunRow(dag_id, run_id, str(state), start, end, report)
    return list(runs.values())[:MAX_RUNS]


def decoded(value: object) -> object:
    """Return the value of an XCom, which Airflow stores as JSON text in a JSON column; None if it is not JSON."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError:
        return None


def as_mapping(value: object) -> Mapping[str, Any]:
    """Return the JSON object; empty for any other value."""
    found = decoded(value)
    return found if isinstance(found, dict) else {}


def as_report(value: object) -> Mapping[str, Any]:
    """Return the report's summary; empty for any other value."""
    found = as_mapping(value)
    if found.get("dry_run") is True:
        return {"dry_run": True}
    return found if all(isinstance(found.get(name), dict) for name in ("listed", COPIED, FAILED)) else {}
