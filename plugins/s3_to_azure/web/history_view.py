"""The data of the history page: the migrations' runs over time. No I/O."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from itertools import islice
from typing import Any, Final

from s3_to_azure.model.reasons import FAILED, FINAL_STATUSES
from s3_to_azure.web.queries import MAX_RUNS, RunRow, as_mapping
from s3_to_azure.web.values import amount, iso_time, items, number, text

# A report has at most some 50.
_MAX_REASONS: Final = 200
_MAX_REASON: Final = 100
# As ``runs.compare`` names them, which imports what the pages must not.
_STANDINGS: Final = ("listed", "equal", "unproven", "missing", "stale", "changed", "left_out", "extra")
_MISSED: Final = "missed_by_events"
_SUMS: Final = ("bytes_sent", "bytes_resumed", "retries")
_ENDED: Final = ("success", "failed")
# The runs that are drawn beside each migration, and those that the last one is compared with.
_TREND: Final = 14
_USUAL: Final = 7


def history_view(
    runs: Sequence[RunRow], *, days: int, now: datetime, dags: Collection[str], chosen: Collection[str]
) -> dict[str, Any]:
    """Return the data of the history page as JSON-ready values.

    Args:
        runs: The runs of the period, the newest first.
        days: The period.
        now: The time.
        dags: The migrations that the user may read.
        chosen: Those of them whose runs were read; one without any in the period is shown too.
    """
    shown = [_run(run) for run in runs]
    counted = [run for run in shown if run["has_figures"]]
    reasons = Counter[str]()
    for run in counted:
        for reason in run["failures"]:
            reasons[reason["reason"]] += reason["objects"]
    by_dag: dict[str, list[int]] = {dag_id: [] for dag_id in sorted(chosen)}
    for index, row in enumerate(runs):
        by_dag.setdefault(row.dag_id, []).append(index)
    migrations = [
        _migration(dag_id, [(runs[index], shown[index]) for index in indexes], now)
        for dag_id, indexes in by_dag.items()
    ]
    return {
        "days": days,
        "now": iso_time(now),
        "is_cut": len(runs) >= MAX_RUNS,
        "dags": sorted(dags),
        "migrations": sorted(migrations, key=_urgency),
        "runs": _by_hour(shown),
        "totals": {
            "runs": len(shown),
            "runs_failed": sum(run["state"] == "failed" for run in shown),
            **{name: sum(run[name] for run in counted) for name in _SUMS},
            **{f"objects_{status}": sum(run[status]["objects"] for run in counted) for status in FINAL_STATUSES},
        },
        "failures": [{"reason": reason, "objects": count} for reason, count in reasons.most_common(20)],
    }


def _migration(dag_id: str, runs: Sequence[tuple[RunRow, Mapping[str, Any]]], now: datetime) -> dict[str, Any]:
    """Return how a migration stands: its last run, how long ago it succeeded, and how its runs went.

    Args:
        dag_id: Its DAG.
        runs: Its runs in the period, the newest first, as they were read and as they are shown.
        now: The time.
    """
    # A dry run delivers nothing, whatever its state.
    real = [(row, shown) for row, shown in runs if not shown["dry_run"]]
    success = next((row.ended_at for row, _ in real if row.state == "success" and row.ended_at), None)
    # A run by events copies a few objects, and says nothing of the others.
    ended = [shown for row, shown in real if row.state in _ENDED and not shown["announced"]]
    sizes = [run["bytes_sent"] + run["bytes_resumed"] for run in ended if run["has_figures"]]
    usual = sum(sizes[1 : 1 + _USUAL]) / len(sizes[1 : 1 + _USUAL]) if len(sizes) > 1 else 0
    return {
        "dag_id": dag_id,
        "runs": len(runs),
        "runs_failed": sum(row.state == "failed" for row, _ in runs),
        "last": runs[0][1]["run_id"] if runs else None,
        "last_success_at": iso_time(success),
        "days_since_success": max(0, (now - success).days) if success else None,
        # The oldest first, as a chart is read.
        "trend": [
            {"state": run["state"], "bytes": run["bytes_sent"] + run["bytes_resumed"], "started_at": run["started_at"]}
            for run in reversed(ended[:_TREND])
        ],
        "change_percent": round(100 * (sizes[0] - usual) / usual) if usual else None,
    }


def _urgency(migration: Mapping[str, Any]) -> tuple[int, int, str]:
    """Order the migrations: those that have not succeeded for longest come first."""
    trend, since = migration["trend"], migration["days_since_success"]
    failed_last = bool(trend) and trend[-1]["state"] == "failed"
    return (
        0 if failed_last else 1 if since is None else 2,
        -(since if since is not None else 10**6),
        migration["dag_id"],
    )


def _run(run: RunRow) -> dict[str, Any]:
    report = run.report
    seconds = (run.ended_at - run.started_at).total_seconds() if run.started_at and run.ended_at else None
    has_report = "listed" in report
    figures = report if has_report else _sums_of(run.copies)
    return {
        "dag_id": run.dag_id,
        "run_id": run.run_id,
        "state": run.state,
        "started_at": iso_time(run.started_at),
        "seconds": seconds,
        "has_report": has_report,
        "has_figures": has_report or bool(run.copies),
        "dry_run": report.get("dry_run") is True,
        "announced": report.get("announced") is True,
        "missed": int(number(as_mapping(report.get(_MISSED)), "objects")),
        "runs": 1,
        "tasks": len(run.copies),
        "tasks_failed": sum(state == "failed" for state, _ in run.copies),
        **{status: amount(figures, status) for status in ("listed", *FINAL_STATUSES)},
        **{name: number(figures, name) for name in _SUMS},
        "bytes_per_second": number(figures, "bytes_per_second"),
        "comparison": _comparison(run.comparison) if run.comparison else None,
        "failures": [
            {"reason": text(item, "reason")[:_MAX_REASON], "objects": number(item, "objects")}
            for item in islice(items(report, "reasons"), _MAX_REASONS)
            if item.get("status") == FAILED
        ],
    }


def _comparison(summary: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: amount(summary, name) for name in _STANDINGS}
    if isinstance(summary.get(_MISSED), Mapping):
        # Only a migration with events knows.
        found[_MISSED] = {"objects": number(summary[_MISSED], "objects")}
    return found


def _by_hour(shown: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the runs, in the same order, with those by events that succeeded as one row for each DAG and hour.

    A row has the id of its newest run, the time of its oldest, and the sums of all.
    """
    found: list[dict[str, Any]] = []
    rows: dict[tuple[str, str], dict[str, Any]] = {}
    for run in shown:
        if not run["announced"] or run["state"] != "success":
            found.append(run)
            continue
        hour = run["dag_id"], str(run["started_at"])[: len("2026-01-01T00")]
        if hour not in rows:
            rows[hour] = dict(run)
            found.append(rows[hour])
            continue
        row = rows[hour]
        for name in ("runs", "seconds", "tasks", *_SUMS):
            row[name] = (row[name] or 0) + (run[name] or 0)
        for status in ("listed", *FINAL_STATUSES):
            row[status] = {part: row[status][part] + run[status][part] for part in row[status]}
        # The rate of one of them is not that of all.
        row |= {"started_at": run["started_at"], "bytes_per_second": 0}
    return found


def _sums_of(copies: Sequence[tuple[str, Mapping[str, Any]]]) -> dict[str, Any]:
    """Return the sums of what copy tasks returned: the receipt of one object, or the counts of several."""
    sums = Counter[str]()
    for _, result in copies:
        receipt_status = text(result, "status")
        for status in FINAL_STATUSES:
            sums[status] += int(receipt_status == status or number(result, status))
        for name in _SUMS:
            sums[name] += int(number(result, name))
    return {**sums, **{status: {"objects": sums[status]} for status in FINAL_STATUSES}}
