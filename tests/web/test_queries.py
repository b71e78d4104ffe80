"""The pages' queries on Airflow's own database, and what they make of the values there."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.models.taskinstance import TaskInstance
from sqlalchemy import select

from s3_to_azure.airflow.links import MigrationPageLink
from s3_to_azure.events import S3EventsSensor
from s3_to_azure.sensors import S3ObjectsSensor
from s3_to_azure.web import queries
from s3_to_azure.web.queries import (
    COPY_OPERATOR,
    LINK_KEY,
    as_mapping,
    as_report,
    decoded,
    migrations,
    read_history,
    read_run,
)
from tests.web.airflow_rows import GIB, RunRows, add_dag, progress_record, report_summary

IN_HISTORY = {
    name: value
    for name, value in report_summary().items()
    if name not in ("bucket", "prefix", "container", "location", "files")
    and name not in ("proofs", "seconds", "slowest", "failures", "more_failures", "proven", "certificate")
}


def _since(hours: float) -> datetime:
    return datetime.now(UTC) - timedelta(hours=hours)


def test_a_run_has_its_tasks_with_progress_and_results(session: Any) -> None:
    """One row per task instance, in order, with the XComs that the pages need."""
    add_dag(session, "queried")
    run = RunRows(session, "queried")
    run.plan(2)
    run.copy(1, state="running", progress=progress_record(), try_number=2, label="in/a")
    run.copy(0, xcoms={"return_value": {"objects": 4}, "other": 1})
    found = read_run(session, "queried", run.done().run_id)
    assert found is not None
    row, tasks = found
    assert (row.dag_id, row.run_id, row.state, row.ended_at) == ("queried", run.run_id, "running", None)
    assert [(task.task_id, task.map_index) for task in tasks] == [
        ("copy", 0),
        ("copy", 1),
        ("plan", -1),
        ("wait_for_objects", -1),
    ]
    done, running, plan, wait = tasks
    assert done.results == {"return_value": {"objects": 4}}
    assert (done.progress, done.progress_at) == ({}, None)
    assert (running.state, running.try_number, running.label) == ("running", 2, "in/a")
    assert running.progress["bytes_total"] == GIB
    assert running.progress_at is not None
    assert set(plan.results) == {"plan", "return_value"}
    assert wait.results["return_value"]["bucket"] == "source"


def test_progress_is_in_an_xcom_where_airflow_has_no_task_state_store(
    session: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow 3.0 to 3.2: each task's progress is read from its own XCom, and is no result."""
    monkeypatch.setattr(queries, "TaskStateStoreModel", None)
    add_dag(session, "queried")
    run = RunRows(session, "queried")
    record = progress_record()
    run.copy(0, xcoms={"return_value": {"objects": 4}, "progress": record})
    run.copy(1, state="running", xcoms={"progress": record})
    run.copy(2, state="running", progress=record)
    found = read_run(session, "queried", run.done().run_id)
    assert found is not None
    done, running, none = (task for task in found[1] if task.task_id == "copy")
    assert (done.results, done.progress) == ({"return_value": {"objects": 4}}, record)
    assert (running.results, running.progress) == ({}, record)
    assert running.progress_at is not None
    assert (none.progress, none.progress_at) == ({}, None)


def test_a_task_whose_pool_does_not_exist_names_it(session: Any) -> None:
    """A pool that exists is not mentioned."""
    add_dag(session, "queried")
    run = RunRows(session, "queried")
    run.copy(0, state="scheduled")
    run.copy(1, state="scheduled")
    instance = session.scalars(select(TaskInstance).where(TaskInstance.run_id == run.run_id)).first()
    instance.pool = "is_not_there"
    session.commit()
    found = read_run(session, "queried", run.done().run_id)
    assert found is not None
    assert sorted(task.missing_pool for task in found[1]) == ["", "is_not_there"]


def test_a_run_without_tasks_or_without_itself(session: Any) -> None:
    """A run that has just been created has no tasks; one that does not exist is None."""
    add_dag(session, "queried")
    run = RunRows(session, "queried").done()
    found = read_run(session, "queried", run.run_id)
    assert found is not None
    assert found[1] == []
    assert read_run(session, "queried", "none") is None


def test_the_history_has_migrations_only(session: Any) -> None:
    """A migration has the tag; whatever another DAG stores under the same names is not read."""
    for dag_id, tags in (("tagged", ("mine", "s3_to_azure")), ("foreign", ("s3",))):
        add_dag(session, dag_id, tags=tags)
    reported = RunRows(session, "tagged", state="failed", began=1)
    reported.report(key="report", state="failed")
    reported.done()
    foreign = RunRows(session, "foreign", state="success")
    foreign.report()
    foreign.done()
    assert migrations(session, {"tagged", "foreign", "none"}) == {"tagged"}
    (run,) = read_history(session, migrations(session, {"tagged", "foreign"}), _since(3))
    assert run.run_id == reported.run_id
    assert run.report == IN_HISTORY


def test_a_dag_with_the_operator_is_in_the_history(session: Any) -> None:
    """It has no tag: what its ended copy tasks have left tells; a run without report has its tasks' results."""
    assert MigrationPageLink().xcom_key == LINK_KEY
    for dag_id in ("bare", "mapped", "begun", "unrelated"):
        add_dag(session, dag_id, tags=())
    bare, mapped = RunRows(session, "bare", state="failed"), RunRows(session, "mapped", state="success", began=2)
    receipt = {"status": "copied", "bytes_sent": 7}
    bare.task("archive", COPY_OPERATOR, xcoms={"return_value": receipt, LINK_KEY: "/dags/bare"})
    bare.task("archive_more", COPY_OPERATOR, state="failed", xcoms={LINK_KEY: "/dags/bare"})
    bare.task("load", "BashOperator", xcoms={"return_value": {"status": "copied"}})
    for index in range(3):
        mapped.copy(index, xcoms={LINK_KEY: "/dags/mapped"})
    begun, unrelated = RunRows(session, "begun"), RunRows(session, "unrelated")
    begun.copy(0, state=None)
    unrelated.task("load", "BashOperator", xcoms={"_link_Other": "/"})
    unrelated.done()
    assert migrations(session, {"bare", "mapped", "begun", "unrelated"}) == {"bare", "mapped"}
    assert migrations(session, {"mapped"}) == {"mapped"}
    one, other = read_history(session, {"bare", "mapped"}, _since(3))
    assert (one.run_id, one.report, one.copies) == (bare.run_id, {}, [("success", receipt), ("failed", {})])
    assert (other.run_id, [state for state, _ in other.copies]) == (mapped.run_id, ["success"] * 3)


def test_the_tasks_of_few_runs_are_read(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of the newest runs without report; a report has the figures already."""
    monkeypatch.setattr(queries, "_MAX_UNREPORTED", 1)
    add_dag(session, "few")
    for hours in (3, 2, 1):
        run = RunRows(session, "few", state="success", began=hours)
        if hours == 1:
            run.report()
        run.copy(0, xcoms={"return_value": {"copied": 4}})
        run.done()
    runs = read_history(session, {"few"}, _since(4))
    assert [len(run.copies) for run in runs] == [0, 1, 0]


def test_the_history_begins_at_a_time_and_holds_the_named_dags_only(session: Any) -> None:
    """Older runs, and DAGs that the user may not read, are not in it."""
    add_dag(session, "timed")
    old, new = RunRows(session, "timed", began=5).done(), RunRows(session, "timed", began=1).done()
    ids = [run.run_id for run in read_history(session, {"timed"}, _since(3))]
    assert new.run_id in ids
    assert old.run_id not in ids
    assert read_history(session, {"another"}, _since(9)) == []


def test_a_failed_report_task_has_its_summary_under_its_own_key(session: Any) -> None:
    """Of two values of one run, the one that is a report counts."""
    add_dag(session, "twice")
    run = RunRows(session, "twice", state="failed")
    run.task("report", "_PythonDecoratedOperator", xcoms={"report": report_summary(), "return_value": None})
    run.done()
    (row,) = [row for row in read_history(session, {"twice"}, _since(3)) if row.run_id == run.run_id]
    assert row.report == IN_HISTORY


def test_a_comparison_is_read_beside_the_report(session: Any) -> None:
    """In any order of both tasks; a value under another key is none."""
    add_dag(session, "compared")
    both, alone = RunRows(session, "compared", began=1), RunRows(session, "compared", began=2)
    both.report()
    both.task("compare", "_PythonDecoratedOperator", xcoms={"compare": {"equal": 1}, "return_value": {"equal": 2}})
    alone.task("compare", "_PythonDecoratedOperator", xcoms={"compare": "text"})
    both.done()
    rows = {row.run_id: row for row in read_history(session, {"compared"}, _since(3))}
    assert (rows[both.run_id].report, rows[both.run_id].comparison) == (IN_HISTORY, {"equal": 1})
    assert (rows[alone.run_id].report, rows[alone.run_id].comparison) == ({}, {})


def test_xcoms_are_json_in_json() -> None:
    """What cannot be read is nothing."""
    assert (decoded("{"), decoded('{"a": 1}'), decoded({"a": 1})) == (None, {"a": 1}, {"a": 1})
    assert (decoded("[" * 100_000), decoded("9" * 10_000)) == (None, None)
    assert (as_mapping('{"a": 1}'), as_mapping("[1]"), as_mapping(None)) == ({"a": 1}, {}, {})


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"listed": 1}, {"listed": {}, "copied": {}}])
def test_what_is_not_a_report_is_empty(value: Any) -> None:
    """A report has amounts for what was listed, copied and failed, or says that the run was a dry run."""
    assert as_report(value) == {}
    assert as_report(report_summary()) == report_summary()
    assert as_report({"dry_run": True, "x": 1}) == {"dry_run": True}


def test_a_report_that_is_longer_than_any_report_is_not_read(session: Any) -> None:
    """A migration's own task may store anything too: the run is shown without a report."""
    add_dag(session, "long")
    longest, longer = RunRows(session, "long", began=2), RunRows(session, "long", began=1)
    longest.report(failures=["x" * 60_000])
    longest.done()
    longer.report(failures=["x" * 130_000])
    longer.done()
    runs = read_history(session, {"long"}, _since(3))
    assert [bool(run.report) for run in runs] == [False, True]
    tasks = [read_run(session, "long", run.run_id)[1] for run in (longer, longest)]  # type: ignore[index]
    assert [list(report.results) for (report,) in tasks] == [[], ["return_value"]]


def test_a_page_reads_a_bounded_number_of_characters(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once it has read them, the other runs and tasks are shown without their values."""
    add_dag(session, "many")
    for hours in (3, 2, 1):
        run = RunRows(session, "many", began=hours)
        run.report()
        for index in range(3):
            run.copy(index, progress=progress_record(), xcoms={"return_value": {"objects": 4}})
        run.done()
    monkeypatch.setattr(queries, "_MAX_CHARACTERS", 3_000)
    assert [bool(run.report) for run in read_history(session, {"many"}, _since(4))] == [True, True, False]
    monkeypatch.setattr(queries, "_MAX_CHARACTERS", 1_000)
    _, tasks = read_run(session, "many", run.run_id) or (None, [])
    assert len(tasks) == 4
    assert 0 < sum(bool(task.progress) for task in tasks) < 3


def test_a_page_has_a_bounded_number_of_tasks(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a migration come first, in a DAG that does other things too."""
    monkeypatch.setattr(queries, "MAX_TASKS", 4)
    add_dag(session, "wide")
    run = RunRows(session, "wide")
    for index in range(9):
        run.task("another", "BashOperator", map_index=index)
    run.plan(1)
    run.copy(0)
    _, tasks = read_run(session, "wide", run.done().run_id) or (None, [])
    assert [task.task_id for task in tasks] == ["another", "copy", "plan", "wait_for_objects"]


def test_progress_that_is_longer_than_any_is_not_read(session: Any) -> None:
    """Any task may use the key."""
    add_dag(session, "noted")
    run = RunRows(session, "noted")
    run.copy(0, progress=progress_record(failures=["x" * 70_000]))
    run.copy(1, progress=progress_record())
    _, tasks = read_run(session, "noted", run.done().run_id) or (None, [])
    assert [bool(task.progress) for task in tasks] == [False, True]


def test_runs_by_events_push_no_night_out_of_the_history(session: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """There may be one each minute; the newest of them are shown beside the nights."""
    monkeypatch.setattr(queries, "MAX_RUNS", 3)
    add_dag(session, "stream")
    night = RunRows(session, "stream", state="success", began=2).done()
    by_events = [
        RunRows(session, "stream", state="success", began=hours, run_type="asset_triggered").done().run_id
        for hours in (0.1, 0.2, 0.3, 0.4)
    ]
    ids = [run.run_id for run in read_history(session, {"stream"}, _since(3))]
    assert ids == [*by_events[:2], night.run_id]


def test_both_sensors_are_read(session: Any) -> None:
    """A migration with events waits by another one."""
    add_dag(session, "announced")
    run = RunRows(session, "announced")
    run.task("wait_for_objects", S3EventsSensor.__name__, xcoms={"return_value": {"objects": 1}})
    found = read_run(session, "announced", run.done().run_id)
    assert found is not None
    (wait,) = found[1]
    assert wait.results == {"return_value": {"objects": 1}}
    assert {S3EventsSensor.__name__, S3ObjectsSensor.__name__} == set(queries.SENSORS)
