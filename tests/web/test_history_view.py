"""The history page's sums; no database."""

from datetime import timedelta
from typing import Any

import pytest

from s3_to_azure.runs.standing import EXTRA, OF_OBJECTS
from s3_to_azure.web.queries import MAX_RUNS, RunRow
from tests.web.airflow_rows import report_summary
from tests.web.view_rows import NOW, history_view


def night(ago: int, state: str = "success", *, sent: int = 100, dag_id: str = "a", **report: Any) -> RunRow:
    """Return a run that ended so many days ago."""
    at = NOW - timedelta(days=ago)
    values = report or report_summary(bytes_sent=sent, bytes_resumed=0)
    return RunRow(dag_id, str(ago), state, at - timedelta(minutes=3), at, values)


def test_history_sums_what_was_reported() -> None:
    """Runs without a report count as runs, and add nothing else."""
    end = NOW + timedelta(minutes=3)
    runs = [
        RunRow("a", "3", "running", NOW, None),
        RunRow("a", "2", "success", NOW, end, {"dry_run": True}),
        RunRow("b", "1", "failed", NOW, end, report_summary()),
        RunRow("b", "0", "failed", NOW, end, report_summary()),
    ]
    history = history_view(runs)
    assert history["dags"] == ["a", "b"]
    totals = history["totals"]
    assert (totals["runs"], totals["runs_failed"], totals["bytes_sent"], totals["objects_copied"]) == (4, 2, 700, 8)
    assert history["failures"] == [{"reason": "access_denied", "objects": 2}]
    assert [run["seconds"] for run in history["runs"]] == [None, 180, 180, 180]
    assert [run["dry_run"] for run in history["runs"]] == [False, True, False, False]


def test_a_run_has_its_figures_from_its_report() -> None:
    """A run without a report has none; reasons of skipped objects are no failures."""
    with_report, without = history_view(
        [RunRow("a", "2", "failed", NOW, NOW, report_summary()), RunRow("a", "1", "running", NOW, None)]
    )["runs"]
    assert (with_report["has_report"], without["has_report"]) == (True, False)
    assert with_report["copied"] == {"objects": 4, "bytes": 400}
    assert with_report["failures"] == [{"reason": "access_denied", "objects": 1}]
    assert (without["copied"], without["seconds"]) == ({"objects": 0, "bytes": 0}, None)


def test_the_page_says_that_it_is_cut() -> None:
    """A history of as many runs as are read at most may have more."""
    run = RunRow("a", "1", "success", NOW, NOW)
    assert history_view([run] * MAX_RUNS)["is_cut"]
    assert not history_view([run] * (MAX_RUNS - 1))["is_cut"]


def test_failures_are_sorted_by_how_many_objects_failed() -> None:
    """The most frequent reason comes first, over all runs."""
    rows = [{"status": "failed", "reason": reason, "objects": n} for reason, n in (("a", 1), ("b", 5), ("c", 3))]
    history = history_view([RunRow("a", "1", "failed", NOW, NOW, report_summary(reasons=rows))] * 2)
    assert [(row["reason"], row["objects"]) for row in history["failures"]] == [("b", 10), ("c", 6), ("a", 2)]


def test_a_comparison_has_a_row() -> None:
    """Each standing with its objects; a run without one has none, whatever was stored."""
    compared = RunRow("a", "2", "failed", NOW, NOW, {}, {"changed": {"objects": 3, "size_bytes": 30}, "equal": "x"})
    with_one, without = history_view([compared, RunRow("a", "1", "success", NOW, NOW)])["runs"]
    assert with_one["comparison"]["changed"] == {"objects": 3, "bytes": 30}
    assert with_one["comparison"]["equal"] == {"objects": 0, "bytes": 0}
    assert set(with_one["comparison"]) == {"listed", *OF_OBJECTS, EXTRA}
    assert without["comparison"] is None


def test_a_comparison_of_a_migration_with_events_tells_what_was_missed() -> None:
    """Also that nothing was; without events it is not known."""
    summaries: list[dict[str, Any]] = [
        {"missed_by_events": {"objects": 2, "unchecked": 0, "first": ["k"]}},
        {"missed_by_events": {}},
    ]
    rows = [RunRow("a", f"{index}", "success", NOW, NOW, {}, values) for index, values in enumerate(summaries)]
    found = [run["comparison"]["missed_by_events"] for run in history_view(rows)["runs"]]
    assert found == [{"objects": 2}, {"objects": 0}]


def test_each_migration_has_its_last_run_its_last_success_and_its_trend() -> None:
    """A dry run is the last run, but neither a success nor a part of the trend."""
    runs = [
        night(0, dry_run=True),
        night(1, "failed", sent=30),
        RunRow("a", "1.5", "running", NOW, None),
        night(2, sent=200),
        night(3, sent=100),
    ]
    (migration,) = history_view(runs, ["a"])["migrations"]
    assert (migration["last"], migration["runs"], migration["runs_failed"]) == ("0", 5, 1)
    assert (migration["days_since_success"], migration["last_success_at"]) == (2, "2026-11-21T06:00:00+00:00")
    assert [(run["state"], run["bytes"]) for run in migration["trend"]] == [
        ("success", 100),
        ("success", 200),
        ("failed", 30),
    ]
    assert migration["change_percent"] == -80


def test_a_migration_that_did_not_run_is_in_the_list() -> None:
    """Those that need attention come first: failed, never succeeded, then by how long ago."""
    runs = [night(0, dag_id="fresh"), night(1, "failed", dag_id="broken"), night(3, dag_id="stale")]
    history = history_view(runs, ["fresh", "stale", "broken", "silent"])
    assert [migration["dag_id"] for migration in history["migrations"]] == ["broken", "silent", "stale", "fresh"]
    silent = history["migrations"][1]
    assert (silent["last"], silent["days_since_success"], silent["trend"]) == (None, None, [])
    assert history["dags"] == ["broken", "fresh", "silent", "stale"]


def test_one_run_is_no_trend() -> None:
    """Nothing to compare with, or nothing sent before."""
    for runs in ([night(0)], [night(0), night(1, sent=0)], [night(0, dry_run=True)], []):
        assert history_view(runs, ["a"])["migrations"][0]["change_percent"] is None


@pytest.mark.parametrize("states", [("success", "failed"), ("success", None)])
def test_a_run_without_report_has_the_figures_of_its_tasks(states: tuple[str, str]) -> None:
    """The operator alone returns a receipt for one object, and counts for a prefix."""
    receipt = {"status": "copied", "size_bytes": 70, "bytes_sent": 70, "retries": 1}
    counts = {"objects": 3, "copied": 1, "unchanged": 2, "skipped": 0, "failed": 0, "bytes_sent": 5, "bytes_resumed": 4}
    copies: list[tuple[str, dict[str, Any]]] = [("success", receipt), ("success", counts), (str(states[1]), {})]
    with_tasks, without = (RunRow("a", "1", "failed", NOW, NOW, copies=rows) for rows in (copies, ()))
    run, empty = history_view([with_tasks, without])["runs"]
    assert (run["has_report"], run["has_figures"], run["tasks"]) == (False, True, 3)
    assert run["tasks_failed"] == states.count("failed")
    assert (run["copied"]["objects"], run["unchanged"]["objects"], run["failed"]["objects"]) == (2, 2, 0)
    assert (run["bytes_sent"], run["bytes_resumed"], run["retries"]) == (75, 4, 1)
    assert (empty["has_figures"], empty["tasks"]) == (False, 0)


def by_events(minutes: int, state: str = "success", *, dag_id: str = "a", **report: Any) -> RunRow:
    """Return a run by events that began so many minutes after seven, and took one."""
    at = NOW.replace(hour=7, minute=0) + timedelta(minutes=minutes)
    values = report_summary(bytes_sent=10, bytes_resumed=0, announced=True) | report
    return RunRow(dag_id, f"{minutes}", state, at, at + timedelta(minutes=1), values)


def test_runs_by_events_are_one_row_for_each_hour() -> None:
    """With the sums of all, the time of the first and a link to the last; a failed one keeps its own row."""
    rows = [by_events(70), by_events(59), by_events(31, "failed"), by_events(30), by_events(1), night(1)]
    history = history_view([*rows, by_events(0, dag_id="b")])
    found = [(run["run_id"], run["runs"], run["state"], run["bytes_sent"], run["seconds"]) for run in history["runs"]]
    assert found == [
        ("70", 1, "success", 10, 60),
        ("59", 3, "success", 30, 180),
        ("31", 1, "failed", 10, 60),
        ("1", 1, "success", 100, 180),
        ("0", 1, "success", 10, 60),
    ]
    hour = history["runs"][1]
    assert hour["started_at"] == history_view([by_events(1)])["runs"][0]["started_at"]
    assert hour["copied"]["objects"] == 3 * history["runs"][0]["copied"]["objects"]
    assert history["totals"]["runs"] == 7
    # How a migration's nights went is not hidden by them.
    trend = {migration["dag_id"]: len(migration["trend"]) for migration in history["migrations"]}
    assert trend == {"a": 1, "b": 0}


def test_what_no_event_told_is_shown() -> None:
    """So that somebody notices a notification that is gone."""
    rows = [night(0, **report_summary(missed_by_events={"objects": 3, "unchecked": 0, "first": ["k"]})), night(1)]
    assert [run["missed"] for run in history_view(rows)["runs"]] == [3, 0]
