"""The whole migration in real Airflow."""

from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk import DAG
from azure.storage.blob import ContainerClient

from s3_to_azure.dag import migration_dag
from tests.airflow_layer.airflow_runs import run_dag

_ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def migrate(connections: dict[str, str], bucket: str, container: ContainerClient) -> Any:
    """Return a function that makes the migration's DAG; made twice with the same id, it is the same migration."""
    dag_id = f"migration-{uuid4().hex}"

    def make(**more: Any) -> DAG:
        place = {"source": f"s3://{bucket}/in/", "destination": f"az://{container.container_name}/out"}
        # A failing task must fail its test, not wait for its retry.
        return migration_dag(dag_id, **(place | connections | {"retries": 0} | more))

    return make


def _fill(s3_client: Any, bucket: str) -> None:
    for key, body in {"in/a.txt": b"a", "in/b/{{ ds }}.txt": b"bb", "in/empty": b"", "in/../x": b"never"}.items():
        s3_client.put_object(Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm="CRC64NVME")


def test_two_nights(migrate: Any, s3_client: Any, bucket: str, container: ContainerClient) -> None:
    """The first night copies everything, the second one nothing; both account for every object."""
    _fill(s3_client, bucket)
    first = run_dag(migrate(), {"refused_names": "skip"})
    assert first.state == "success"
    report = first.only("report").xcom
    assert {name: report[name]["objects"] for name in ("listed", "copied", "unchanged", "skipped", "failed")} == {
        "listed": 4,
        "copied": 3,
        "unchanged": 0,
        "skipped": 1,
        "failed": 0,
    }
    blobs = {blob.name for blob in container.list_blobs(name_starts_with="out/")}
    assert blobs == {"out/a.txt", "out/b/{{ ds }}.txt", "out/empty"}
    second = run_dag(migrate(), {"refused_names": "skip"})
    assert (second.state, second.only("copy").state) == ("success", "skipped")
    report = second.only("report").xcom
    assert (report["unchanged"]["objects"], report["copied"]["objects"], report["bytes_sent"]) == (3, 0, 0)
