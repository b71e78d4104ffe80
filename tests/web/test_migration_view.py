"""The Migration page's data in every state of a run; no database."""

import json
from datetime import timedelta
from typing import Any

import pytest

from s3_to_azure.model.reasons import NOT_FETCHED
from s3_to_azure.state.failures import FailureLine
from s3_to_azure.web.failure_list import FailureQuery
from s3_to_azure.web.migration_view import failures_view, migration_view, utc_now
from s3_to_azure.web.queries import RunRow, TaskRow, as_mapping, as_report
from s3_to_azure.web.report_files import ReportUnavailable
from tests.web.airflow_rows import GIB, progress_record, report_summary
from tests.web.hostile_values import HOSTILE
from tests.web.view_rows import DESCRIPTOR, NOW, history_view, planned, task


def view(*tasks: TaskRow, state: str = "running") -> dict[str, Any]:
    """Return the Migration page's data."""
    return migration_view(RunRow("dag", "run", state, NOW - timedelta(hours=1), None), tasks, NOW)


def listed(*tasks: TaskRow, query: FailureQuery | None = None) -> dict[str, Any]:
    """Return the first page of the failed objects, without access to the report's file."""

    def unavailable(_: object) -> list[FailureLine]:
        raise ReportUnavailable(404, "Not here.")

    return failures_view(tasks, NOW, query or FailureQuery(), lines=unavailable)


def test_an_object_in_parts_is_one_object() -> None:
    """The parts of a giant object count as one object, done when all of them are."""
    part = {"objects": 1, "size_bytes": GIB, "kind": "range"}
    plan = planned(part, part, DESCRIPTOR, copy={"objects": 5, "size_bytes": 3 * GIB})
    others = task(map_index=2, state="success", progress=progress_record())
    first = task(map_index=0, state="success")
    half = view(plan, first, task(map_index=1), others)["totals"]
    assert (half["objects_total"], half["objects_done"], half["bytes_total"]) == (5, 4, 3 * GIB)
    assert view(plan, first, task(map_index=1, state="success"), others)["totals"]["objects_done"] == 5


def test_retries_and_those_that_a_service_asked_for_are_sums_over_the_tasks() -> None:
    """While a task runs its progress tells them, and after its end what it returned, too."""
    running = task(map_index=0, progress=progress_record(retries=3, slow_downs=2))
    ended = task(map_index=1, state="success", results={"return_value": {"retries": 4, "slow_downs": 1}})
    totals = view(planned(DESCRIPTOR, DESCRIPTOR), running, ended)["totals"]
    assert (totals["retries"], totals["slow_downs"]) == (7, 3)


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


def test_a_waiting_run_says_what_for_and_until_when() -> None:
    """The address is the rendered one; nothing is said once the sensor or the run has ended."""
    waiting = {
        "source": "s3://bucket/typo/",
        "found": "0 of 1 object",
        "until": "2026-11-23T18:00:00+00:00",
        "next_look": "2026-11-23T06:05:00+00:00",
    }
    sensor: dict[str, Any] = {"operator": "S3ObjectsSensor", "results": {"waiting": waiting}}
    rescheduled = task("wait_for_objects", state="up_for_reschedule", **sensor)
    assert view(rescheduled)["waiting"] == waiting
    assert view(rescheduled, state="failed")["waiting"] is None
    assert view(task("wait_for_objects", state="success", **sensor))["waiting"] is None
    assert view(task("wait_for_objects", operator="S3ObjectsSensor"))["waiting"] is None


def test_a_pool_that_does_not_exist_is_named() -> None:
    """Airflow never starts its tasks, and says so in the scheduler's log alone."""
    copies = [task(state="scheduled", map_index=number, missing_pool="transfers") for number in range(2)]
    assert view(*copies)["missing_pools"] == ["transfers"]
    assert view(*copies, state="failed")["missing_pools"] == []
    assert view(task())["missing_pools"] == []


def test_the_operator_alone() -> None:
    """A DAG that uses the operator without plan and report has a page too."""
    page = view(task("to_azure", operator="MyStreamOperator", progress=progress_record()))
    assert page["is_migration"]
    assert (page["totals"]["bytes_total"], page["totals"]["objects_total"]) == (GIB, 4)
    assert page["report"] is None
    assert not view(task("bash", operator="BashOperator"))["is_migration"]


def test_a_failure_of_the_report_links_to_the_log_of_its_task() -> None:
    """The link leads to the batch and the try that had the object, if one had it; otherwise to the report's log."""
    failures = [
        {"key": "a", "reason": "access_denied: no", "batch": 0, "try_number": 1},
        {"key": "b", "reason": "no_receipt: no task wrote a receipt for it", "batch": 0, "try_number": 1},
        {"key": "c", "reason": "name_refused: no", "batch": None, "try_number": 1},
        {"key": "d", "reason": "x", "batch": 7, "try_number": 1},
    ]
    summary = report_summary(
        failures=failures, listed={"objects": 14, "size_bytes": 509}, failed={"objects": 9, "size_bytes": 9}
    )
    tasks = (task(state="failed", try_number=3), task("report", state="failed", results={"report": summary}))
    page, rows = view(*tasks, state="failed"), listed(*tasks)
    assert [(f["task_id"], f["map_index"], f["try_number"]) for f in rows["rows"]] == [
        ("copy", 0, 1),
        ("copy", 0, 3),
        ("report", None, 1),
        ("report", None, 1),
    ]
    assert rows["note"] == "Airflow's database has 4 of 9 failed objects. Not here."
    assert page["report"]["levels"] == [{"level": "crc64nvme", "objects": 3}, {"level": "transport", "objects": 1}]


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
def test_values_of_other_shapes_show_as_nothing(rubbish: Any) -> None:
    """Whatever a task left as XCom or progress, it never breaks a page."""
    page = view(
        task("plan", state="success", results={"plan": rubbish, "return_value": rubbish}),
        task("report", state="success", results={"report": rubbish, "return_value": rubbish}),
        task("wait", operator="S3ObjectsSensor", results={"return_value": rubbish}),
        task(progress=rubbish if isinstance(rubbish, dict) else {}, results={"return_value": rubbish}),
        task(
            map_index=1,
            progress={
                "bytes_total": -1,
                "bytes_sent": "1",
                "failures": [rubbish, {"key": 1, "reason": None}],
                "throughput": rubbish,
            },
        ),
    )
    assert page["totals"]["bytes_done"] == 0
    history = history_view(
        [RunRow("d", "r", "success", NOW, NOW, as_report(rubbish), copies=[("failed", as_mapping(rubbish))])]
    )
    assert history["totals"]["bytes_sent"] == 0


def test_the_time_left_is_at_the_current_rate() -> None:
    """An ended run has neither; a run that sends nothing has no time left to tell."""
    running = view(planned(DESCRIPTOR), task(progress=progress_record()))
    assert (running["bytes_per_second"], running["seconds_left"]) == (1024**2, GIB // 2 // 1024**2)
    silent = view(planned(DESCRIPTOR), task(progress=progress_record(bytes_per_second=0)))
    assert (silent["bytes_per_second"], silent["seconds_left"]) == (0, None)
    ended = view(planned(DESCRIPTOR), task(progress=progress_record()), state="failed")
    assert (ended["bytes_per_second"], ended["seconds_left"]) == (0, None)


def test_the_placeholder_of_a_mapped_task_is_not_shown() -> None:
    """Airflow has one until the plan is made."""
    assert view(task(map_index=-1, state=None, progress_at=None))["batches"] == []


def test_the_plan_names_what_is_left_out() -> None:
    """Reasons become rows, and warnings sentences."""
    plan = planned(skipped={"excluded": {"objects": 2, "size_bytes": 3}}, warnings=["look out", 7])
    page = view(plan)["plan"]
    assert page["skipped"] == [{"reason": "excluded", "objects": 2, "bytes": 3}]
    assert (page["failed"], page["warnings"]) == ([], ["look out"])


def test_the_way_of_the_bytes_is_told_where_azure_fetches() -> None:
    """A plan has it before the copies, the report with the blocks of each way; one through workers neither."""
    fetched = {"objects": 2, "size_bytes": 3, "blocks_fetched": 4, "blocks_streamed": 1}
    ended = {"no_crc_returned": {"objects": 1, "size_bytes": 1}}
    others = {"sse_c": {"objects": 1, "size_bytes": 5}, "x" * 200: {"objects": "many"}}
    told = {"fetched": fetched, "not_fetched": others, "ended_streamed": ended}
    page = view(
        planned(via="azure", **told), task("report", state="success", results={"return_value": report_summary(**told)})
    )
    ways = page["report"]["ways"]
    assert ways["fetched"] == {"objects": 2, "bytes": 3}
    assert (ways["blocks_fetched"], ways["blocks_streamed"]) == (4, 1)
    assert [(item["reason"], item["objects"]) for item in ways["ended_streamed"]] == [("no_crc_returned", 1)]
    assert ways["not_fetched"] == [
        {"reason": "sse_c", "sentence": NOT_FETCHED["sse_c"], "objects": 1, "bytes": 5},
        {"reason": "x" * 100, "sentence": "", "objects": 0, "bytes": 0},
    ]
    assert (page["plan"]["ways"]["others_fail"], ways["others_fail"]) == (True, False)
    worker = {"via": "worker", "fetched": {"objects": 0, "size_bytes": 0}, "not_fetched": {}}
    page = view(planned(**worker), task("report", state="success", results={"return_value": report_summary()}))
    assert (page["plan"]["ways"], page["report"]["ways"]) == (None, None)


def test_other_tasks_are_listed_with_their_states() -> None:
    """The page links to the log of a task that failed before anything was copied."""
    (other,) = view(task("plan", state="failed", try_number=0))["other_tasks"]
    assert (other["task_id"], other["map_index"], other["state"], other["try_number"]) == ("plan", -1, "failed", 1)


def test_now_has_a_time_zone() -> None:
    """Airflow's times have one, and Python compares no others with them."""
    assert utc_now().utcoffset() == timedelta(0)


WHOLE: dict[str, dict[str, Any]] = {
    "progress": progress_record(),
    "report": report_summary(),
    "result": {"objects": 4, "size_bytes": GIB, "bytes_sent": 1, "bytes_resumed": 1, "retries": 1},
    "descriptor": {**DESCRIPTOR},
    "listing": {"bucket": "b", "prefix": "p"},
    "plan": {
        **{name: {"objects": 1, "size_bytes": 1} for name in ("listed", "copy", "unchanged")},
        "batches": 1,
        "skipped": {"excluded": {"objects": 1, "size_bytes": 1}},
        "failed": {},
        "warnings": ["w"],
        "container": "target",
        "blob_prefix": "",
        "dry_run": False,
    },
}


@pytest.mark.parametrize("kind", WHOLE)
@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_no_value_in_any_place_breaks_the_pages(kind: str, hostile: object) -> None:
    """Both pages' data are finite numbers, texts, lists and objects, whatever any field holds."""
    for changed in (hostile, *(WHOLE[kind] | {name: hostile} for name in WHOLE[kind])):
        found: dict[str, Any] = WHOLE | {kind: changed}
        tasks = [
            task(state="failed", progress=as_mapping(found["progress"]), results={"return_value": found["result"]}),
            task("wait", operator="S3ObjectsSensor", results={"return_value": found["listing"]}),
            task("plan", results={"plan": found["plan"], "return_value": [found["descriptor"]]}),
            task("report", results={"report": found["report"]}),
        ]
        page = view(*tasks, state="failed")
        history = history_view(
            [
                RunRow(
                    "a",
                    "1",
                    "failed",
                    NOW,
                    NOW,
                    as_report(found["report"]),
                    copies=[("failed", as_mapping(found["result"]))],
                )
            ]
        )
        json.dumps([page, history], allow_nan=False)
        assert all(rate >= 0 for rate in page["throughput"]["bytes_per_second"])
