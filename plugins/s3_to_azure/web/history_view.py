"""The data of the history page: the migrations' runs over time. No I/O."""

from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from s3_to_azure.model.reasons import FAILED, FINAL_STATUSES
from s3_to_azure.web.queries import MAX_RUNS, RunRow
from s3_to_azure.web.values import amount, iso_time, items, number, text

# A report has at most some 50.
_MAX_REASONS: Final = 200
_MAX_REASON: Final = 100
# As ``runs.compare`` names them, which imports what the pages must not.
_STANDINGS: Final = ("listed", "equal", "unproven", "missing", "stale", "changed", "left_out", "extra")
_SUMS: Final = ("bytes_sent", "bytes_resumed", "retries")


def history_view(runs: Sequence[RunRow], *, days: int) -> dict[str, Any]:
    """Return the data of the history page as JSON-ready values; the newest run first."""
    shown = [_run(run) for run in runs]
    reported = [run for run in shown if run["has_report"]]
    reasons = Counter[str]()
    for run in reported:
        for reason in run["failures"]:
            reasons[reason["reason"]] += reason["objects"]
    return {
        "days": days,
        "is_cut": len(runs) >= MAX_RUNS,
        "dags": sorted({run.dag_id for run in runs}),
        "runs": shown,
        "totals": {
            "runs": len(shown),
            "runs_failed": sum(run["state"] == "failed" for run in shown),
            **{name: sum(run[name] for run in reported) for name in _SUMS},
            **{f"objects_{status}": sum(run[status]["objects"] for run in reported) for status in FINAL_STATUSES},
        },
        "failures": [{"reason": reason, "objects": count} for reason, count in reasons.most_common(20)],
    }


def _run(run: RunRow) -> dict[str, Any]:
    report = run.report
    seconds = (run.ended_at - run.started_at).total_seconds() if run.started_at and run.ended_at else None
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "state": run.state,
        "started_at": iso_time(run.started_at),
        "seconds": seconds,
        "has_report": "listed" in report,
        "dry_run": report.get("dry_run") is True,
        **{status: amount(report, status) for status in ("listed", *FINAL_STATUSES)},
        **{name: number(report, name) for name in _SUMS},
        "bytes_per_second": number(report, "bytes_per_second"),
        "comparison": {name: amount(run.comparison, name) for name in _STANDINGS} if run.comparison else None,
        "failures": [
            {"reason": text(item, "reason")[:_MAX_REASON], "objects": number(item, "objects")}
            for item in islice(items(report, "reasons"), _MAX_REASONS)
            if item.get("status") == FAILED
        ],
    }
