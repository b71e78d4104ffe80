"""The pages' queries on Airflow's own database, and what they make of the values there."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from s3_to_azure.web.queries import as_mapping, as_report, decoded, read_history, read_run
from tests.web.airflow_rows import GIB, RunRows, add_dag, progress_record, report_summary


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


def test_a_run_without_tasks_or_without_itself(session: Any) -> None:
    """A run that has just been created has no tasks; one that does not exist is None."""
    add_dag(session, "queried")
    run = RunRows(session, "queried").done()
    found = read_run(session, "queried", run.run_id)
    assert found is not None
    assert found[1] == []
    assert read_run(session, "queried", "none") is None


def test_the_history_has_tagged_dags_and_runs_with_a_report(session: Any) -> None:
    """A DAG without the tag is in it once it has a report; another task's value under these keys is not one."""
    for dag_id, tags in (("tagged", ("s3_to_azure",)), ("reports", ()), ("foreign", ())):
        add_dag(session, dag_id, tags=tags)
    RunRows(session, "tagged", began=2).done()
    reported = RunRows(session, "reports", state="failed", began=1)
    reported.report(key="report", state="failed")
    reported.done()
    foreign = RunRows(session, "foreign", state="success")
    foreign.task("report", "BashOperator", xcoms={"return_value": "done"})
    foreign.done()
    runs = read_history(session, {"tagged", "reports", "foreign"}, _since(3))
    assert runs[0].run_id == reported.run_id
    assert {run.dag_id for run in runs} == {"tagged", "reports"}
    assert next(run for run in runs if run.run_id == reported.run_id).report == report_summary()


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
    assert row.report == report_summary()


def test_xcoms_are_json_in_json() -> None:
    """What cannot be read is nothing."""
    assert (decoded("{"), decoded('{"a": 1}'), decoded({"a": 1})) == (None, {"a": 1}, {"a": 1})
    assert (as_mapping('{"a": 1}'), as_mapping("[1]"), as_mapping(None)) == ({"a": 1}, {}, {})


@pytest.mark.parametrize("value", [None, 1, "x", [], {}, {"listed": 1}, {"listed": {}, "copied": {}}])
def test_what_is_not_a_report_is_empty(value: Any) -> None:
    """A report has amounts for what was listed, copied and failed, or says that the run was a dry run."""
    assert as_report(value) == {}
    assert as_report(report_summary()) == report_summary()
    assert as_report({"dry_run": True, "x": 1}) == {"dry_run": True}
