"""The history page's sums; no database."""

from datetime import timedelta

from s3_to_azure.runs.standing import EXTRA, OF_OBJECTS
from s3_to_azure.web.history_view import history_view
from s3_to_azure.web.queries import MAX_RUNS, RunRow
from tests.web.airflow_rows import report_summary
from tests.web.view_rows import NOW


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


def test_a_run_has_its_figures_from_its_report() -> None:
    """A run without a report has none; reasons of skipped objects are no failures."""
    with_report, without = history_view(
        [RunRow("a", "2", "failed", NOW, NOW, report_summary()), RunRow("a", "1", "running", NOW, None)], days=7
    )["runs"]
    assert (with_report["has_report"], without["has_report"]) == (True, False)
    assert with_report["copied"] == {"objects": 4, "bytes": 400}
    assert with_report["failures"] == [{"reason": "access_denied", "objects": 1}]
    assert (without["copied"], without["seconds"]) == ({"objects": 0, "bytes": 0}, None)


def test_the_page_says_that_it_is_cut() -> None:
    """A history of as many runs as are read at most may have more."""
    run = RunRow("a", "1", "success", NOW, NOW)
    assert history_view([run] * MAX_RUNS, days=7)["is_cut"]
    assert not history_view([run] * (MAX_RUNS - 1), days=7)["is_cut"]


def test_failures_are_sorted_by_how_many_objects_failed() -> None:
    """The most frequent reason comes first, over all runs."""
    rows = [{"status": "failed", "reason": reason, "objects": n} for reason, n in (("a", 1), ("b", 5), ("c", 3))]
    history = history_view([RunRow("a", "1", "failed", NOW, NOW, report_summary(reasons=rows))] * 2, days=7)
    assert [(row["reason"], row["objects"]) for row in history["failures"]] == [("b", 10), ("c", 6), ("a", 2)]


def test_a_comparison_has_a_row() -> None:
    """Each standing with its objects; a run without one has none, whatever was stored."""
    compared = RunRow("a", "2", "failed", NOW, NOW, {}, {"changed": {"objects": 3, "size_bytes": 30}, "equal": "x"})
    with_one, without = history_view([compared, RunRow("a", "1", "success", NOW, NOW)], days=7)["runs"]
    assert with_one["comparison"]["changed"] == {"objects": 3, "bytes": 30}
    assert with_one["comparison"]["equal"] == {"objects": 0, "bytes": 0}
    assert set(with_one["comparison"]) == {"listed", *OF_OBJECTS, EXTRA}
    assert without["comparison"] is None
