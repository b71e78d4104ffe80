"""The verdict on a run: what it says in each state, and that no object is blamed for the failure of a task."""

from datetime import timedelta
from typing import Any

import pytest

from s3_to_azure.web.migration_view import migration_view
from s3_to_azure.web.queries import RunRow, TaskRow
from tests.web.airflow_rows import progress_record, report_summary
from tests.web.view_rows import NOW, planned, task

FOUR = {"objects": 4, "size_bytes": 8}
POINTER = {"bucket": "exports", "prefix": "nightly/", "objects": 307}


def page(*tasks: TaskRow, state: str = "failed") -> dict[str, Any]:
    """Return the page of a run."""
    return migration_view(RunRow("dag", "run", state, NOW - timedelta(hours=1), NOW), tasks, NOW)


def sensor(**values: Any) -> TaskRow:
    """Return the sensor's task, by default after its listing."""
    given = {"operator": "S3ObjectsSensor", "state": "success", "results": {"return_value": POINTER}, **values}
    return task("wait_for_objects", **given)


def error(name: str, message: str, *, try_number: int = 1, **values: Any) -> dict[str, Any]:
    """Return the note of an error."""
    return {"error": name, "message": message, "subject": "", "try_number": try_number, "at": "2026", **values}


def test_a_plan_that_failed_is_no_failure_of_its_objects() -> None:
    """The container does not exist: the plan says so, and its objects were not tried."""
    nothing = {"objects": 0, "size_bytes": 0}
    report = report_summary(
        listed={"objects": 307, "size_bytes": 307},
        copied=nothing,
        skipped=nothing,
        failed={"objects": 307, "size_bytes": 307},
        reasons=[{"status": "failed", "reason": "unplanned", "objects": 307, "size_bytes": 307}],
        failures=[{"key": "k", "reason": "unplanned: the run has no plan", "batch": None, "try_number": 0}],
    )
    view = page(
        sensor(),
        task("plan", state="failed", error=error("ContainerNotFound", "Container 'archive' does not exist.")),
        task(state="upstream_failed", map_index=-1),
        task("report", state="failed", error=error("SomeObjectsFailed", "307 of 307"), results={"report": report}),
        task("check_report", state="failed", error=error("CorruptState", "no report of its plan")),
    )
    assert view["verdict"] == {
        "text": "The task plan failed; none of 307 listed objects was copied.",
        "state": "Failed",
        "tone": "bad",
    }
    assert (view["numbers"]["failed"], view["numbers"]["unplanned"]) == (0, 307)
    first, then = view["causes"]
    assert (first["task_id"], first["message"]) == ("plan", "Container 'archive' does not exist.")
    assert then["task_id"] == "check_report"


@pytest.mark.parametrize(
    ("task_id", "operator"), [("wait_for_objects", "S3ObjectsSensor"), ("not_configured", "_NotConfigured")]
)
def test_what_fails_before_anything_is_listed(task_id: str, operator: str) -> None:
    """A missing connection, a misspelt filter, a DAG without a source."""
    note = error("UsageError", "There is no filter 'min_sise'.")
    # A DAG without a source has this task alone, of no operator that the page knows.
    view = page(task(task_id, operator=operator, state="failed", error=note))
    assert view["verdict"]["text"].startswith(f"The task {task_id} failed")
    assert view["causes"][0]["message"] == "There is no filter 'min_sise'."


def test_a_bare_operator_names_its_key() -> None:
    """Its task is the whole run."""
    note = error("ConnectionMissing", "the Airflow connection 'aws_x' does not exist", subject="s3://exports/a.csv")
    view = page(task("copy_one", operator="S3ToAzureBlobStreamOperator", map_index=-1, state="failed", error=note))
    assert view["verdict"]["text"] == "The task copy_one failed on s3://exports/a.csv."
    assert view["causes"][0]["subject"] == "s3://exports/a.csv"


def test_a_task_that_is_tried_again_says_why() -> None:
    """The run is not red yet."""
    note = error("ServerFailed", "Azure answered 503.")
    view = page(sensor(), task("plan", state="up_for_retry", error=note), state="running")
    assert view["verdict"]["text"] == "The task plan failed and will be tried again."
    assert (view["verdict"]["tone"], view["causes"][0]["will_retry"]) == ("warn", True)


def test_failed_objects_are_counted_and_their_tasks_need_no_word() -> None:
    """The sentence of the report; the tasks that failed by objects are no causes of their own."""
    view = page(
        sensor(),
        planned(copy={"objects": 5, "size_bytes": 5}),
        task(state="failed", error=error("SomeObjectsFailed", "1 of 5 objects failed")),
        task("report", state="failed", results={"report": report_summary()}),
    )
    assert view["verdict"]["text"].startswith("1 of 6 objects failed, for 1 reason; 4 copied")
    assert view["causes"] == []


def test_states_of_a_run_that_goes_on() -> None:
    """What it waits for, what it has planned, how far it is; a dry run says that it is one."""
    waiting = {"source": "s3://exports/nightly/", "found": "0 of 1 object", "until": "x", "next_look": "x"}
    poking = sensor(state="up_for_reschedule", results={"waiting": waiting})
    verdicts = {
        "Waiting": page(poking, state="running"),
        "Planning": page(sensor(), task("plan"), state="running"),
        "Copying": page(
            sensor(),
            planned(FOUR, listed=FOUR, copy=FOUR),
            task(progress=progress_record(objects_done=2, objects_failed=1)),
            state="running",
        ),
        "Stuck": page(sensor(), planned(), task(state="scheduled", missing_pool="azure"), state="running"),
    }
    texts = {
        "Waiting": "Waiting for objects in s3://exports/nightly/: 0 of 1 object so far.",
        "Planning": "Planning the copy of 307 objects.",
        "Copying": "2 of 4 objects to copy are in Azure; 1 failed so far.",
        "Stuck": "Nothing starts: its tasks wait for a pool that does not exist.",
    }
    for state, view in verdicts.items():
        assert (view["verdict"]["state"], view["verdict"]["text"]) == (state, texts[state])
    dry = sensor(state="up_for_reschedule", results={"waiting": waiting, "settings": {"dry_run": True}})
    view = page(dry, state="running")
    assert view["dry_run"]
    assert view["verdict"]["text"].startswith("Dry run, which copies nothing: waiting for objects in")


def test_the_settings_of_the_run_are_shown() -> None:
    """Those that say something, as texts."""
    settings = {"prefix": "a/", "include": ["*.csv", "*.json"], "dry_run": True, "wait": False, "bandwidth_limit": None}
    found = page(sensor(results={"settings": settings}), state="running")["settings"]
    assert found == [
        {"name": "prefix", "value": "a/"},
        {"name": "include", "value": "*.csv, *.json"},
        {"name": "dry_run", "value": "yes"},
    ]


def test_a_run_that_says_nothing_is_said_to() -> None:
    """A task that was killed leaves no note."""
    view = page(sensor(), planned(), task(state="success"))
    assert "no task has noted why" in view["verdict"]["text"]
