"""A complete installation for the browser tests: bucket, container, and Airflow with one migration, on loopback."""

import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote
from uuid import uuid4

import boto3
from azure.storage.blob import BlobServiceClient

from demo.airflow_instance import Airflow, AirflowError, running
from local_cloud.servers import LocalAzure, LocalS3

DAG_ID = "nightly_reports"
BARE_DAG_ID = "archive_one_table"
"""A DAG that uses the operator, and is no migration."""
LOST_DAG_ID = "lost_reports"
"""A migration to a container that does not exist."""
MIB = 1024**2
EVIL_KEY = "nightly/archive/<img src=x onerror=\"document.title='owned'\">.tar"
ADMIN = {"username": "admin", "password": "for-these-tests"}
READER = {"username": "reader", "password": "for-these-tests-too"}
"""A user who may read everything, and change nothing."""
SLOW_TASK = 0
"""The task of the largest object; objects with a task of their own come first."""

# Airflow looks only into files in which both its name and the word "dag" are written.
_DAG = """\
# A migration for Airflow, and another DAG with the operator alone
from datetime import timedelta

from airflow.sdk import DAG

from s3_to_azure.dag import migration_dag
from s3_to_azure.operators import S3ToAzureBlobStreamOperator

dag = migration_dag(
    {dag_id!r},
    "s3://{bucket}/nightly/",
    "az://{container}/reports/",
    task_size="24MiB",
    retry_delay=timedelta(seconds=5),
)
lost = migration_dag({lost_dag_id!r}, "s3://{bucket}/nightly/", "az://not-there/reports/")

with DAG({bare_dag_id!r}):
    S3ToAzureBlobStreamOperator(
        task_id="archive",
        s3_bucket={bucket!r},
        s3_key="nightly/tables/part-000.parquet",
        container_name={container!r},
        blob_prefix="bare",
        retries=0,
    )
"""


@dataclass(frozen=True)
class Site:
    """The running Airflow and its source."""

    airflow: Airflow
    s3: Any
    bucket: str

    def put(self, key: str, size_bytes: int, **arguments: str) -> None:
        """Put an object of random bytes below the migration's prefix."""
        self.s3.put_object(Bucket=self.bucket, Key=f"nightly/{key}", Body=os.urandom(size_bytes), **arguments)

    def clear_task(self, run_id: str, map_index: int) -> None:
        """Clear one copy task, as a person does in the UI: Airflow kills it and runs it again."""
        body = {
            "dry_run": False,
            "only_failed": False,
            "dag_run_id": unquote(run_id),
            "task_ids": [["copy", map_index]],
        }
        for patience_s in (1, 2, 4, None):
            try:
                self.airflow._request("POST", f"dags/{DAG_ID}/clearTaskInstances", json=body)
            except AirflowError:
                # SQLite is locked while the scheduler writes.
                if patience_s is None:
                    raise
                time.sleep(patience_s)
            else:
                return

    def newest_run(self) -> dict[str, Any]:
        """Return the run that was triggered last, as the API shows it."""
        runs = self.airflow.get(f"dags/{DAG_ID}/dagRuns", order_by="-run_after", limit=1)["dag_runs"]
        return dict(runs[0])

    def wait_for_end(self, run_id: str, dag_id: str = DAG_ID) -> None:
        """Wait until the run has ended."""
        for _ in range(240):
            if self.airflow.state(dag_id, run_id) in ("success", "failed"):
                return
            time.sleep(1)
        raise TimeoutError(run_id)


@contextmanager
def site(home: Path, s3_server: LocalS3, azure_server: LocalAzure) -> Iterator[Site]:
    """Fill a bucket and run Airflow beside it, while the block runs."""
    bucket, container = f"reports-{uuid4().hex[:8]}", f"archive-{uuid4().hex[:8]}"
    s3 = boto3.client(
        "s3",
        endpoint_url=s3_server.endpoint_url,
        region_name=s3_server.region,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
    )
    s3.create_bucket(Bucket=bucket)
    with BlobServiceClient.from_connection_string(azure_server.connection_string) as service:
        service.create_container(container)
    dags = home / "dags"
    dags.mkdir(parents=True)
    names = {"dag_id": DAG_ID, "bare_dag_id": BARE_DAG_ID, "lost_dag_id": LOST_DAG_ID}
    (dags / "nightly_reports.py").write_text(_DAG.format(**names, bucket=bucket, container=container))
    aws = {
        "conn_type": "aws",
        "login": s3_server.access_key,
        "password": s3_server.secret_key,
        "extra": {
            "endpoint_url": s3_server.endpoint_url,
            "region_name": s3_server.region,
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    }
    wasb = {"conn_type": "wasb", "extra": {"connection_string": azure_server.connection_string}}
    variables = {
        "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
        "AIRFLOW_CONN_WASB_DEFAULT": json.dumps(wasb),
        "AIRFLOW__S3_TO_AZURE__REPORT_CONNECTIONS": "wasb_default",
        "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,reader:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(home / "passwords.json"),
    }
    passwords = {user["username"]: user["password"] for user in (ADMIN, READER)}
    (home / "passwords.json").write_text(json.dumps(passwords))
    with running(home / "airflow", variables, login=ADMIN) as airflow:
        _wait_for_dag(airflow)
        there = Site(airflow, s3, bucket)
        there.put("backup/database.dump", 96 * MIB, ChecksumAlgorithm="CRC64NVME")
        for number in range(3):
            there.put(f"media/video-{number}.mp4", 32 * MIB, ChecksumAlgorithm="CRC32C")
        for number in range(40):
            there.put(f"tables/part-{number:03}.parquet", 100_000 + number)
        there.s3.put_object(Bucket=bucket, Key=EVIL_KEY, Body=b"old", StorageClass="GLACIER")
        yield there
    s3.close()


def _wait_for_dag(airflow: Airflow) -> None:
    for _ in range(120):
        if len(airflow.get("dags", dag_id_pattern="_reports")["dags"]) == len((DAG_ID, LOST_DAG_ID)):
            return
        time.sleep(1)
    raise TimeoutError(airflow.get("importErrors"))
