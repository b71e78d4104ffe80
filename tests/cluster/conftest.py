"""One cluster for all tests: Postgres, Redis, Airflow, two workers, and a proxy that records each block."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient
from botocore.config import Config

from local_cloud.servers import LocalAzure, LocalS3
from tests.cluster.airflow_cluster import Cluster, cluster, until
from tests.cluster.services import postgres, redis, require_tools
from tests.faults.faulty_proxy import FaultyProxy

LOST_AFTER_S = 15
"""Time without a heartbeat after which the scheduler fails a task; three heartbeats, for a busy machine."""

_ENDED = ("success", "failed")


@dataclass
class Site:
    """The cluster, and S3 and Azure between which it copies."""

    airflow: Cluster
    azure: FaultyProxy
    s3_client: Any
    bucket: str
    container: ContainerClient

    def put(self, key: str, data: bytes) -> None:
        """Upload an object."""
        self.s3_client.put_object(Bucket=self.bucket, Key=key, Body=data, ChecksumAlgorithm="CRC64NVME")

    def blob(self, name: str) -> bytes:
        """Return a committed blob's bytes."""
        return bytes(self.container.download_blob(name).readall())

    def staged(self, name: str) -> int:
        """Return how many uncommitted blocks Azure lists."""
        try:
            return len(self.container.get_blob_client(name).get_block_list("uncommitted")[1])
        except ResourceNotFoundError:
            return 0

    def arrived(self, name: str) -> list[str]:
        """Return the path, which has the id, of every block of the blob that arrived completely."""
        with self.azure.lock:
            return [one.path for one in self.azure.arrived if one.is_("put block") and f"/{name}?" in one.path]

    def commits(self, name: str) -> list[int]:
        """Return the statuses of the answers to the blob's commits."""
        with self.azure.lock:
            return [
                status for one, status in self.azure.answered if one.is_("put block list") and f"/{name}?" in one.path
            ]

    def trigger(self, dag_id: str, **params: object) -> str:
        """Start a run; return its id."""
        return self.airflow.airflow.trigger(dag_id, params)

    def task(self, dag_id: str, run_id: str, task_id: str = "copy", map_index: int = -1) -> dict[str, Any]:
        """Return a task instance."""
        tasks = self.airflow.airflow.task_instances(dag_id, run_id)
        return next((one for one in tasks if (one["task_id"], one["map_index"]) == (task_id, map_index)), {})

    def ended(self, dag_id: str, run_id: str, *, within_s: float = 120) -> str:
        """Wait for the end of the run; return its state."""

        def state() -> str:
            now = self.airflow.airflow.state(dag_id, run_id)
            return now if now in _ENDED else ""

        return str(until(f"{dag_id} has ended", state, within_s=within_s))


@pytest.fixture(scope="package")
def site(s3_server: LocalS3, azure_server: LocalAzure) -> Iterator[Site]:
    """Run the cluster for all tests of the package."""
    require_tools()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="cluster-", ignore_cleanup_errors=True)))
        for name in ("postgres", "redis"):
            (folder / name).mkdir()
        folder.chmod(0o711)
        database = stack.enter_context(postgres(folder / "postgres"))
        broker = stack.enter_context(redis(folder / "redis"))
        azure = stack.enter_context(FaultyProxy(azure_server.account_url))
        bucket, container = f"bucket-{uuid4().hex}", f"container-{uuid4().hex}"
        s3_client = boto3.client(
            "s3",
            endpoint_url=s3_server.endpoint_url,
            aws_access_key_id=s3_server.access_key,
            aws_secret_access_key=s3_server.secret_key,
            region_name=s3_server.region,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        stack.callback(s3_client.close)
        s3_client.create_bucket(Bucket=bucket)
        client = stack.enter_context(ContainerClient.from_connection_string(azure_server.connection_string, container))
        client.create_container()
        variables = _variables(s3_server, azure_server, azure.url) | {
            "CLUSTER_BUCKET": bucket,
            "CLUSTER_CONTAINER": container,
        }
        airflow = stack.enter_context(
            cluster(
                folder / "airflow",
                database=database,
                broker=broker,
                variables=variables,
                heartbeat_timeout_s=LOST_AFTER_S,
            )
        )
        ready = Site(airflow, azure, s3_client, bucket, client)
        until("the DAGs are parsed", lambda: len(airflow.airflow.get("dags")["dags"]) == 2)
        yield ready


def _variables(s3: LocalS3, azure: LocalAzure, azure_url: str) -> dict[str, str]:
    aws = {
        "conn_type": "aws",
        "login": s3.access_key,
        "password": s3.secret_key,
        "extra": {
            "endpoint_url": s3.endpoint_url,
            "region_name": s3.region,
            "config_kwargs": {"s3": {"addressing_style": "path"}},
        },
    }
    through_proxy = (
        f"DefaultEndpointsProtocol=http;AccountName={azure.account_name};"
        f"AccountKey={azure.account_key};BlobEndpoint={azure_url};"
    )
    wasb = {"conn_type": "wasb", "extra": {"connection_string": through_proxy}}
    return {"AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws), "AIRFLOW_CONN_WASB_DEFAULT": json.dumps(wasb)}
