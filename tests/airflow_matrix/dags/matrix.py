"""The airflow dags that each version of the matrix runs, as users write them: one bucket, one container."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from s3_to_azure.dag import migration_dag
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from s3_to_azure.sensors import S3ObjectsSensor

try:
    from airflow.sdk import DAG
    from airflow.sdk.bases.notifier import BaseNotifier

    HAS_EVENTS = True
except ImportError:  # 2.10, 2.11
    from airflow import DAG
    from airflow.notifications.basenotifier import BaseNotifier  # type: ignore[import-not-found, no-redef]

    HAS_EVENTS = False

NAME = os.environ["MATRIX_NAME"]
ENDPOINTS: dict[str, Any] = {"s3_bucket": NAME, "container_name": NAME}
DAY = timedelta(days=1)
START = datetime(2026, 1, 1, tzinfo=UTC)


class Told(BaseNotifier):
    """A notifier as those of Slack and mail are, which writes its text into a file."""

    template_fields = ("text",)

    def __init__(self, text: str) -> None:
        """Take the template."""
        super().__init__()
        self.text = text

    def notify(self, context: Any) -> None:
        """Append the rendered text."""
        with Path(os.environ["AIRFLOW_HOME"], "told.txt").open("a") as file:
            file.write(f"{self.text}\n")


def once(dag_id: str) -> DAG:
    """Return a DAG that runs once where a scheduler runs, and when asked to elsewhere."""
    return DAG(dag_id, start_date=START, schedule=os.environ.get("MATRIX_ONCE"), catchup=False)


with once("one_key"):
    S3ToAzureBlobStreamOperator(task_id="copy", s3_key="in/a.txt", blob_name="one_key.txt", **ENDPOINTS)

with once("prefix"):
    S3ToAzureBlobStreamOperator(task_id="copy", s3_prefix="in/", blob_prefix="prefix/", **ENDPOINTS)

with once("mapped"):
    S3ToAzureBlobStreamOperator.partial(task_id="copy", blob_prefix="mapped", **ENDPOINTS).expand(
        s3_key=["in/a.txt", "in/b.txt"]
    )

with once("missing_key"):
    S3ToAzureBlobStreamOperator(
        task_id="copy", s3_key="in/missing.txt", retries=2, retry_delay=timedelta(seconds=1), **ENDPOINTS
    )

# Not each 2 s: Airflow 3 fails a task that it starts again before its executor told that its last process ended.
with once("sensor"):
    S3ObjectsSensor(task_id="wait", bucket_name=NAME, prefix="late/", poke_interval=20, timeout=300)

with once("sensor_deferrable"):
    S3ObjectsSensor(task_id="wait", bucket_name=NAME, prefix="late/", poke_interval=2, timeout=300, deferrable=True)

nights = migration_dag(
    "nights",
    f"s3://{NAME}/in/",
    f"az://{NAME}/nights",
    schedule=os.environ.get("MATRIX_NIGHTS"),
    catchup=True,
    start_date=START,
    # A scheduler runs two nights, and no third that keeps the machine busy.
    end_date=START + DAY if "MATRIX_NIGHTS" in os.environ else None,
    poke_interval=timedelta(seconds=2),
    task_arguments={"check_report": {"on_success_callback": Told("{{ dag.dag_id }}: {{ verdict() }}")}},
)

if queue := os.environ.get("MATRIX_QUEUE"):
    # Elsewhere the first run lists and the next ones empty the queue.
    reading: dict[str, Any] = {"schedule": "@once"} if HAS_EVENTS else {"schedule": "@continuous", "list_every": DAY}
    announced = migration_dag(
        "announced",
        f"s3://{NAME}/announced/",
        f"az://{NAME}/announced",
        events=queue,
        poke_interval=timedelta(seconds=2),
        **reading,
    )
