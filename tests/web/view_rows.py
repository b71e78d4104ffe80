"""Rows as the queries return them, without a database."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from s3_to_azure.web import history_view as module
from s3_to_azure.web.queries import RunRow, TaskRow
from tests.web.airflow_rows import GIB

NOW = datetime(2026, 11, 23, 6, tzinfo=UTC)
DESCRIPTOR = {"objects": 4, "size_bytes": GIB, "kind": "objects"}


def task(task_id: str = "copy", **values: Any) -> TaskRow:
    """Return a task instance, by default a running copy task."""
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
            "progress_at": NOW - timedelta(seconds=3),
            **values,
        }
    )


def planned(*descriptors: dict[str, Any], **summary: Any) -> TaskRow:
    """Return the plan's task with its results."""
    return task("plan", state="success", results={"plan": summary, "return_value": list(descriptors)})


def history_view(runs: Sequence[RunRow], dags: Sequence[str] = ("a", "b")) -> dict[str, Any]:
    """Return the history of a week for a user who may read these DAGs."""
    return module.history_view(runs, days=7, now=NOW, dags=dags, chosen=dags)
