"""Rows in Airflow's database as its scheduler, its workers and this project's tasks leave them."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

from airflow.models.dag import DagModel, DagTag
from airflow.models.dagbundle import DagBundleModel
from airflow.models.dagrun import DagRun
from airflow.models.task_state_store import TaskStateStoreModel
from airflow.models.taskinstance import TaskInstance
from airflow.models.xcom import XComModel
from sqlalchemy import insert, select
from sqlalchemy.orm import Session

GIB = 1024**3
BUNDLE = "dags-folder"


def add_dag(session: Session, dag_id: str, *, tags: tuple[str, ...] = ("s3_to_azure",)) -> None:
    """Add a DAG."""
    if session.get(DagBundleModel, BUNDLE) is None:
        session.execute(insert(DagBundleModel).values(name=BUNDLE, active=True))
    if session.get(DagModel, dag_id) is not None:
        return
    session.execute(
        insert(DagModel).values(
            dag_id=dag_id,
            bundle_name=BUNDLE,
            max_active_tasks=16,
            max_consecutive_failed_dag_runs=0,
            has_task_concurrency_limits=False,
        )
    )
    for tag in tags:
        session.execute(insert(DagTag).values(dag_id=dag_id, name=tag))
    session.commit()


class RunRows:
    """One run's rows.

    Args:
        session: Of Airflow's database.
        dag_id: The run's DAG, which must be there.
        state: The run's.
        began: Hours ago.
        run_type: What has started it.
    """

    def __init__(
        self, session: Session, dag_id: str, *, state: str = "running", began: float = 1.0, run_type: str = "manual"
    ) -> None:
        """Add the run."""
        self.dag_id = dag_id
        self.run_id = f"{run_type}__{uuid4().hex}+00:00"
        self.session = session
        self._began = datetime.now(UTC) - timedelta(hours=began)
        session.execute(
            insert(DagRun).values(
                dag_id=dag_id,
                run_id=self.run_id,
                run_type=run_type,
                state=state,
                start_date=self._began,
                end_date=self._began + timedelta(minutes=10) if state in ("success", "failed") else None,
                run_after=self._began,
            )
        )
        self._id = session.scalar(select(DagRun.id).where(DagRun.run_id == self.run_id))
        session.commit()

    def task(
        self,
        task_id: str,
        operator: str,
        *,
        state: str | None = "success",
        map_index: int = -1,
        try_number: int = 1,
        label: str | None = None,
        progress: Mapping[str, Any] | None = None,
        error: Mapping[str, Any] | None = None,
        xcoms: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a task instance with its progress, its last error and its XComs."""
        where = {"dag_id": self.dag_id, "run_id": self.run_id, "task_id": task_id, "map_index": map_index}
        self.session.execute(
            # The table: the model's label is an expression.
            insert(TaskInstance.__table__).values(
                id=uuid4(),
                **where,
                state=state,
                try_number=try_number,
                max_tries=5,
                operator=operator,
                pool="default_pool",
                start_date=self._began,
                rendered_map_index=label,
            )
        )
        for key, note in (("progress", progress), ("s3_to_azure_error", error)):
            if note is None:
                continue
            self.session.execute(
                insert(TaskStateStoreModel).values(
                    **where,
                    dag_run_id=self._id,
                    key=key,
                    value=json.dumps(note),
                    updated_at=datetime.now(UTC),
                )
            )
        for key, value in (xcoms or {}).items():
            self.session.execute(
                insert(XComModel).values(**where, dag_run_id=self._id, key=key, value=json.dumps(value))
            )

    def copy(self, map_index: int, **values: Any) -> None:
        """Add a copy task."""
        self.task("copy", "S3ToAzureBlobStreamOperator", map_index=map_index, **values)

    def plan(self, batches: int, *, objects: int = 4, size_bytes: int = GIB) -> None:
        """Add the tasks before the copies: the listing and a plan of equal batches."""
        listed = {"objects": batches * objects, "size_bytes": batches * size_bytes}
        pointer = {"bucket": "source", "prefix": "nightly/", "objects": batches * objects}
        self.task("wait_for_objects", "S3ObjectsSensor", xcoms={"return_value": pointer})
        summary = {
            "batches": batches,
            "listed": listed,
            "copy": listed,
            "unchanged": {"objects": 0, "size_bytes": 0},
            "skipped": {},
            "failed": {},
            "warnings": [],
            "container": "target",
            "blob_prefix": "",
            "dry_run": False,
        }
        descriptors = [
            {
                "plan": "0" * 16,
                "index": index,
                "offset": 0,
                "length": 1,
                "sha256": "0" * 64,
                "objects": objects,
                "size_bytes": size_bytes,
                "kind": "objects",
            }
            for index in range(batches)
        ]
        self.task("plan", "_PythonDecoratedOperator", xcoms={"plan": summary, "return_value": descriptors})

    def report(self, *, state: str = "success", key: str = "return_value", **values: Any) -> None:
        """Add the report's task and its summary."""
        self.task("report", "_PythonDecoratedOperator", state=state, xcoms={key: report_summary(**values)})

    def done(self) -> "RunRows":
        """Commit."""
        self.session.commit()
        return self


def progress_record(**values: Any) -> dict[str, Any]:
    """Return the progress of a task that is halfway through one GiB of four objects."""
    return {
        "objects_total": 4,
        "objects_done": 2,
        "objects_failed": 0,
        "bytes_total": GIB,
        "bytes_sent": GIB // 4,
        "bytes_resumed": GIB // 4,
        "retries": 1,
        "slow_downs": 1,
        "seconds": 60.0,
        "bytes_per_second": 1024**2,
        "updated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "failures": [],
        "throughput": [[1_000, 1_005, GIB // 8], [1_005, 1_010, GIB // 8]],
        **values,
    }


def report_summary(**values: Any) -> dict[str, Any]:
    """Return a report's summary of six objects, of which one failed."""
    nothing = {"objects": 0, "size_bytes": 0}
    return {
        "bucket": "source",
        "prefix": "nightly/",
        "container": "target",
        "location": "target/_s3_to_azure/dag/run",
        "files": ["report.json", "report.csv", "receipts.jsonl.gz", "certificate.json"],
        "proven": "4 objects (400 bytes) of 4 in Azure: 4 by crc64nvme",
        "certificate": {"file": "certificate.json", "root": "ab" * 32, "public_key": "cd" * 32},
        "listed": {"objects": 6, "size_bytes": 600},
        "copied": {"objects": 4, "size_bytes": 400},
        "unchanged": nothing,
        "skipped": {"objects": 1, "size_bytes": 100},
        "failed": {"objects": 1, "size_bytes": 100},
        "reasons": [
            {"status": "failed", "reason": "access_denied", "objects": 1, "size_bytes": 100},
            {"status": "skipped", "reason": "excluded", "objects": 1, "size_bytes": 100},
        ],
        "proofs": {"crc64nvme": 3, "transport": 1},
        "bytes_sent": 350,
        "bytes_resumed": 50,
        "retries": 2,
        "seconds": 10.0,
        "bytes_per_second": 35,
        "slowest": [{"key": "slow", "size_bytes": 100, "seconds": 4.5}],
        "failures": [{"key": "secret", "reason": "access_denied: no", "batch": 1, "try_number": 2}],
        "more_failures": 0,
        **values,
    }
