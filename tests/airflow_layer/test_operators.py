"""The operator in real Airflow, from a local S3 to a local Azure."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

from airflow.sdk import DAG
from azure.storage.blob import ContainerClient

from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from tests.airflow_layer.airflow_runs import Run, run_dag


def run_operator(arguments: dict[str, Any], **more: Any) -> Run:
    """Run one operator, as task ``copy`` of a DAG of its own."""
    with DAG(f"operator-{uuid4().hex}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        S3ToAzureBlobStreamOperator(task_id="copy", **arguments, **more)
    return run_dag(dag)


def test_one_key(connections: dict[str, str], s3_client: Any, bucket: str, container: ContainerClient) -> None:
    """One object arrives under its key, and the XCom is its receipt."""
    s3_client.put_object(Bucket=bucket, Key="a/one.txt", Body=b"hello", ChecksumAlgorithm="CRC64NVME")
    ran = run_operator(connections, s3_bucket=bucket, s3_key="a/one.txt", container_name=container.container_name)
    receipt = ran.only("copy").xcom
    assert ran.state == "success"
    assert (receipt["status"], receipt["verified_by"], receipt["blob"]) == ("copied", "crc64nvme", "a/one.txt")
    assert container.download_blob("a/one.txt").readall() == b"hello"
