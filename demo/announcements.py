"""The demo's last act: a bucket announces its objects in a queue, and each is in Azure within a minute."""

import time
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import boto3
from azure.storage.blob import BlobServiceClient, ContainerClient
from rich.console import Console

from demo.airflow_instance import Airflow
from demo.airflow_runs import DemoError, receipts_of, wait_for_dag
from demo.migration import s3_client
from local_cloud.servers import LocalAzure, LocalS3

ANNOUNCED_DAG_ID: Final = "announced"
_BUCKET: Final = "demo-announced"
_CONTAINER: Final = "demo-announced"
_QUEUE: Final = "demo-announced"
_PREFIX: Final = "finished/"
_FIRST: Final = "order 1.pdf"
_KEYS: Final = ("invoice 1.pdf", "invoice 2.pdf", "übersicht+summe.csv")
_AT_ONCE: Final = 8
_WAIT_S: Final = 240.0
_POLL_S: Final = 0.5


class Announcements:
    """A bucket whose events go to a queue that a migration's trigger reads.

    Args:
        s3: The local S3, with its queues.
        azure: The local Azure.
        console: The console to print to.
    """

    def __init__(self, s3: LocalS3, azure: LocalAzure, console: Console) -> None:
        self._s3 = s3
        self._console = console
        self._service = BlobServiceClient.from_connection_string(azure.connection_string)

    @property
    def container(self) -> ContainerClient:
        """The destination."""
        return self._service.get_container_client(_CONTAINER)

    def prepare(self) -> None:
        """Create the queue, the bucket with its notification, and the container."""
        queues: Any = boto3.client(
            "sqs",
            endpoint_url=self._s3.endpoint_url,
            aws_access_key_id=self._s3.access_key,
            aws_secret_access_key=self._s3.secret_key,
            region_name=self._s3.region,
        )
        url = queues.create_queue(QueueName=_QUEUE)["QueueUrl"]
        arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
        queues.close()
        client = s3_client(self._s3)
        client.create_bucket(Bucket=_BUCKET)
        events = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
        client.put_bucket_notification_configuration(
            Bucket=_BUCKET, NotificationConfiguration={"QueueConfigurations": [events]}
        )
        client.close()
        self.container.create_container()

    def environment(self) -> dict[str, str]:
        """Return the variables of the demo's last DAG."""
        return {
            "DEMO_ANNOUNCED_SOURCE": f"s3://{_BUCKET}/{_PREFIX}",
            "DEMO_ANNOUNCED_DESTINATION": f"az://{_CONTAINER}",
            # Its own address needs a name server that knows LocalStack's domain.
            "DEMO_ANNOUNCED_QUEUE": f"{self._s3.endpoint_url}/000000000000/{_QUEUE}",
        }

    def run(self, airflow: Airflow) -> None:
        """Upload objects, and show when their blobs appear.

        Raises:
            DemoError: A blob does not appear, or differs from its object.
        """
        self._console.rule("As S3 announces them")
        wait_for_dag(airflow, ANNOUNCED_DAG_ID)
        # Airflow starts the watcher of a DAG that was paused when it next parses the file.
        self._console.print("Uploading a first object, and waiting until Airflow has started the DAG's watcher …")
        self.upload([_FIRST])
        self.wait([_FIRST], airflow)
        self._console.print(f"Uploading {len(_KEYS)} objects; nobody starts a run …")
        uploaded = self.upload(_KEYS)
        self.wait(_KEYS, airflow)
        for name, seconds in self.seconds_to_blobs(uploaded).items():
            body = self.container.download_blob(name).readall()
            if body != _body(name):
                raise DemoError(f"The blob {name!r} differs from its object.")
            self._console.print(f"  {name}: a blob after {seconds:.0f} s")
        self._console.print(f"{len(_KEYS)} blobs read back: all are equal to their objects.")

    def upload(self, names: Iterable[str]) -> dict[str, float]:
        """Upload objects; return when each upload ended, by the blob's name."""
        client, ended = s3_client(self._s3), {}

        def put(name: str) -> None:
            client.put_object(Bucket=_BUCKET, Key=_PREFIX + name, Body=_body(name))
            ended[name] = time.time()

        with ThreadPoolExecutor(_AT_ONCE) as pool:
            list(pool.map(put, names))
        client.close()
        return ended

    def wait(self, names: Iterable[str], airflow: Airflow, seconds: float = _WAIT_S) -> None:
        """Wait until all blobs are there.

        Raises:
            DemoError: They do not appear in time.
        """
        missing, deadline = set(names), time.monotonic() + seconds
        while missing:
            missing -= set(self.container.list_blob_names())
            if missing and time.monotonic() > deadline:
                raise DemoError(f"{len(missing)} blobs are missing after {seconds:.0f} s (log: {airflow.log})")
            time.sleep(_POLL_S)

    def seconds_to_blobs(self, ended: dict[str, float]) -> dict[str, float]:
        """Return the seconds from each upload's end to its blob's commit, which Azurite tells to the second."""
        blobs = {blob.name: blob.last_modified.timestamp() for blob in self.container.list_blobs()}
        return {name: max(0.0, blobs[name] - at) for name, at in ended.items()}

    def receipts(self, airflow: Airflow) -> list[list[dict[str, Any]]]:
        """Return the receipts of each run that has ended."""
        runs = airflow.get(f"dags/{ANNOUNCED_DAG_ID}/dagRuns", limit=1000)["dag_runs"]
        ended = [run["dag_run_id"] for run in runs if run["state"] == "success"]
        return [receipts_of(self.container, ANNOUNCED_DAG_ID, run_id) for run_id in ended]


def _body(name: str) -> bytes:
    return f"The content of {name}.\n".encode()
