"""Rows as the queries return them, without a database."""

from datetime import UTC, datetime, timedelta
from typing import Any

from s3_to_azure.web.queries import TaskRow
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
