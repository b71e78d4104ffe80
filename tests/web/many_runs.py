"""A history of many runs, as large installations have it: five migrations over a quarter of a year."""

from datetime import UTC, datetime, timedelta
from typing import Any

from s3_to_azure.web.history_view import history_view
from s3_to_azure.web.queries import RunRow
from tests.web.airflow_rows import GIB, report_summary

DAYS = 90
DAG_IDS = (
    "nightly_reports",
    "warehouse_archive",
    "media_masters",
    "clickstream_hourly",
    "backup_of_the_old_data_center",
)
BARE = "clickstream_hourly"
BROKEN = "warehouse_archive"
SILENT = "quarterly_close"


def many_runs(count: int, now: datetime) -> list[RunRow]:
    """Return so many runs, the newest first: each with a report, without one, or of the operator alone."""
    return [_run(index, now - timedelta(days=(DAYS - 1) * index / count, minutes=90)) for index in range(count)]


def _run(index: int, at: datetime) -> RunRow:
    dag_id = DAG_IDS[index % len(DAG_IDS)]
    ends = at + timedelta(minutes=10 + index * 7 % 6)
    run_id = f"scheduled__{at.isoformat()}"
    nothing = {"objects": 0, "size_bytes": 0}
    if dag_id == BARE:
        copies: list[tuple[str, dict[str, Any]]] = [("success", {"status": "copied", "bytes_sent": 9 * GIB})] * 3
        return RunRow(dag_id, run_id, "success", at, ends, copies=copies)
    if index % 31 == 17:
        return RunRow(dag_id, run_id, "failed", at, ends)
    size = (60 + index * 37 % 23) * GIB
    if (dag_id == BROKEN and index < 15) or index % 29 == 11:
        failed = {"objects": 3 + index * 13 % 90, "size_bytes": GIB}
        reasons = [{"status": "failed", "reason": "object_archived", **failed}]
        report = report_summary(
            bytes_sent=size // 8, bytes_per_second=size // 6_000, bytes_resumed=0, failed=failed, reasons=reasons
        )
        return RunRow(dag_id, run_id, "failed", at, ends, report)
    copied = {"objects": 1_000 + index * 311 % 3_000, "size_bytes": size}
    resumed = size // 3 if index % 13 == 3 else 0
    report = report_summary(
        bytes_sent=size - resumed,
        bytes_resumed=resumed,
        bytes_per_second=size // 700,
        copied=copied,
        failed=nothing,
        reasons=[],
    )
    compared = {"listed": copied, "equal": copied, "changed": {"objects": index // 50, "size_bytes": 1}}
    return RunRow(dag_id, run_id, "success", at, ends, report, compared if index % 50 == 0 else {})


def many_runs_view(count: int) -> dict[str, Any]:
    """Return the history page's data of them."""
    now = datetime.now(UTC)
    dags = {*DAG_IDS, SILENT}
    return history_view(many_runs(count, now), days=DAYS, now=now, dags=dags, chosen=dags)
