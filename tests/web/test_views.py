"""The pages' figures: what plan, notes and report come to in every state of a run; no database."""

import math
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from s3_to_azure.web.batch_view import batch_of
from s3_to_azure.web.history_view import history_view
from s3_to_azure.web.migration_view import migration_view
from s3_to_azure.web.queries import RunRow, TaskRow, as_report, decoded
from s3_to_azure.web.values import number, text
from tests.web.airflow_rows import GIB, note, report_summary

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
DESCRIPTOR = {"objects": 4, "size_bytes": GIB, "kind": "objects"}


def task(task_id: str = "copy", **values: Any) -> TaskRow:
    """Return a task instance; a copy at work unless it is said otherwise."""
    return TaskRow(
        **{
            "task_id": task_id,
            "map_index": 0 if task_id == "copy" else -1,
            "operator": "S3ToAzureBlobStreamOperator" if task_id == "copy" else "_PythonDecoratedOperator",
            "state": "running",
            "try_number": 1,
            "max_tries": 5,
            "started_at": NOW - timedelta(minutes=5),
            "ended_at": None,
            "label": None,
            "noted_at": NOW - timedelta(seconds=3),
            **values,
        }
    )


def planned(*descriptors: dict[str, Any], **summary: Any) -> TaskRow:
    """Return the plan's task with its results."""
    return task("plan", state="success", results={"plan": summary, "return_value": list(descriptors)})


def view(*tasks: TaskRow, state: str = "running") -> dict[str, Any]:
    """Return the Migration page's data."""
    return migration_view(RunRow("dag", "run", state, NOW - timedelta(hours=1), None), tasks, NOW)


def test_a_batch_that_waits_has_its_size_from_the_plan() -> None:
    """Before its task begins, a batch is as large as planned."""
    batch = batch_of(task(state=None, try_number=0, noted_at=None), DESCRIPTOR, NOW)
    assert (batch.bytes_total, batch.objects_total, batch.bytes_done, batch.at_work) == (GIB, 4, 0, False)


def test_a_silent_task_has_no_rate() -> None:
    """A task that is called running but notes nothing any more is not believed to send anything."""
    live = batch_of(task(note=note()), DESCRIPTOR, NOW)
    silent = batch_of(task(note=note(), noted_at=NOW - timedelta(minutes=2)), DESCRIPTOR, NOW)
    assert (live.bytes_per_second, silent.bytes_per_second) == (1024**2, 0)


def test_a_done_batch_is_full() -> None:
    """What a successful task did not send was there or was left out for a reason; the bar is full all the same."""
    batch = batch_of(task(state="success", note=note()), DESCRIPTOR, NOW)
    assert (batch.bytes_done, batch.objects_done) == (GIB, 4)


@pytest.mark.parametrize(
    ("state", "tries", "shown"),
    [("running", 2, 2), ("up_for_retry", 1, 1), ("queued", 2, 1), ("queued", 1, 0), (None, 0, 0)],
)
def test_the_log_of_the_try_that_ran(state: str | None, tries: int, shown: int) -> None:
    """Airflow counts a try when it schedules it; there is no log of it then."""
    assert batch_of(task(state=state, try_number=tries), DESCRIPTOR, NOW).shown_try == shown


def test_failures_of_an_earlier_try_are_gone() -> None:
    """When the next try has begun, what failed before is being tried again."""
    failures = [{"key": "a", "reason": "b"}]
    now = task(note=note(failures=failures))
    before = task(note=note(failures=failures), noted_at=NOW - timedelta(minutes=6), try_number=2)
    assert len(batch_of(now, DESCRIPTOR, NOW).failures) == 1
    assert batch_of(before, DESCRIPTOR, NOW).failures == ()


def test_an_object_in_parts_is_one_object() -> None:
    """The parts of a giant object count as one object, done when all of them are."""
    part = {"objects": 1, "size_bytes": GIB, "kind": "range"}
    plan = planned(part, part, DESCRIPTOR, copy={"objects": 5, "size_bytes": 3 * GIB})
    others = task(map_index=2, state="success", note=note())
    first = task(map_index=0, state="success")
    half = view(plan, first, task(map_index=1), others)["totals"]
    assert (half["objects_total"], half["objects_done"], half["bytes_total"]) == (5, 4, 3 * GIB)
    assert view(plan, first, task(map_index=1, state="success"), others)["totals"]["objects_done"] == 5


@pytest.mark.parametrize(
    ("tasks", "state", "phase"),
    [
        ((), "queued", "waiting"),
        ((task("wait_for_objects"),), "running", "waiting"),
        ((task("plan"),), "running", "planning"),
        ((task("plan", state="success"), task(state=None, map_index=-1)), "running", "copying"),
        ((task("plan", state="success"), task(state="success"), task("report")), "running", "reporting"),
        ((task("plan", state="success"), task("report", state="failed")), "failed", "ended"),
    ],
)
def test_phases(tasks: tuple[TaskRow, ...], state: str, phase: str) -> None:
    """A run waits, plans, copies, reconciles, ends."""
    assert view(*tasks, state=state)["phase"] == phase


def test_the_operator_alone() -> None:
    """A DAG that uses the operator without plan and report has a page too."""
    page = view(task("to_azure", operator="MyStreamOperator", note=note()))
    assert page["is_migration"]
    assert (page["totals"]["bytes_total"], page["totals"]["objects_total"]) == (GIB, 4)
    assert page["report"] is None
    assert not view(task("bash", operator="BashOperator"))["is_migration"]


def test_the_report_names_whose_log_tells() -> None:
    """A failure's link leads to its batch and try, where there was one; else to the report's log."""
    failures = [
        {"key": "a", "reason": "access_denied: no", "batch": 0, "try_number": 1},
        {"key": "b", "reason": "no_receipt: no task wrote a receipt for it", "batch": 0, "try_number": 1},
        {"key": "c", "reason": "name_refused: no", "batch": None, "try_number": 1},
        {"key": "d", "reason": "x", "batch": 7, "try_number": 1},
    ]
    summary = report_summary(failures=failures, failed={"objects": 9, "size_bytes": 9})
    page = view(
        task(state="failed", try_number=3),
        task("report", state="failed", results={"report": summary}),
        state="failed",
    )
    assert [(f["task_id"], f["map_index"], f["try_number"]) for f in page["failures"]] == [
        ("copy", 0, 1),
        ("copy", 0, 3),
        ("report", None, 1),
        ("report", None, 1),
    ]
    assert page["more_failures"] == 5
    assert page["report"]["proofs"] == [{"level": "crc64nvme", "objects": 3}, {"level": "transport", "objects": 1}]


def test_a_dry_run_says_so() -> None:
    """A dry run has a plan and no report."""
    page = view(
        planned(dry_run=True, copy={"objects": 1, "size_bytes": 5}),
        task("report", state="skipped", results={"report": {"dry_run": True}}),
        state="success",
    )
    assert page["dry_run"]
    assert page["report"] is None
    assert page["plan"]["copy"] == {"objects": 1, "bytes": 5}


@pytest.mark.parametrize(
    "rubbish",
    [None, 1, "x", [], {}, {"listed": 1}, {"listed": {}, "copied": {}, "failed": {}}, {"plan": [1]}, [[1], "x", None]],
)
def test_whatever_a_task_left(rubbish: Any) -> None:
    """Values of other shapes show as nothing; they never break the page."""
    page = view(
        task("plan", state="success", results={"plan": rubbish, "return_value": rubbish}),
        task("report", state="success", results={"report": rubbish, "return_value": rubbish}),
        task("wait", operator="S3ObjectsSensor", results={"return_value": rubbish}),
        task(note=rubbish if isinstance(rubbish, dict) else {}, results={"return_value": rubbish}),
        task(
            map_index=1,
            note={
                "bytes_total": -1,
                "bytes_sent": "1",
                "failures": [rubbish, {"key": 1, "reason": None}],
                "throughput": rubbish,
            },
        ),
    )
    assert page["totals"]["bytes_done"] == 0
    history = history_view([RunRow("d", "r", "success", NOW, NOW, as_report(rubbish))], days=30)
    assert history["totals"]["bytes_sent"] == 0


def test_values_out_of_json() -> None:
    """Numbers are finite and not negative, texts are cut; what is not JSON is nothing."""
    assert [number({"n": n}, "n") for n in (3, 2.5, -1, math.inf, math.nan, True, "3", None)] == [
        3,
        2.5,
        0,
        0,
        0,
        0,
        0,
        0,
    ]
    assert len(text({"t": "x" * 5_000}, "t")) == 1_024
    assert (decoded("{"), decoded('{"a": 1}'), decoded({"a": 1})) == (None, {"a": 1}, {"a": 1})


def test_history_sums_what_was_reported() -> None:
    """Runs without a report count as runs, and add nothing else."""
    end = NOW + timedelta(minutes=3)
    runs = [
        RunRow("a", "3", "running", NOW, None),
        RunRow("a", "2", "success", NOW, end, {"dry_run": True}),
        RunRow("b", "1", "failed", NOW, end, report_summary()),
        RunRow("b", "0", "failed", NOW, end, report_summary()),
    ]
    history = history_view(runs, days=7)
    assert history["dags"] == ["a", "b"]
    totals = history["totals"]
    assert (totals["runs"], totals["runs_failed"], totals["bytes_sent"], totals["objects_copied"]) == (4, 2, 700, 8)
    assert history["failures"] == [{"reason": "access_denied", "objects": 2}]
    assert [run["seconds"] for run in history["runs"]] == [None, 180, 180, 180]
    assert [run["dry_run"] for run in history["runs"]] == [False, True, False, False]
