"""How soon an announced object is a proven blob: ``python -m benchmarks.events``, in real Airflow on this machine.

Uploads objects one at a time, then a burst, to a bucket whose events a DAG's trigger reads, and waits for the blobs.
Prints the seconds from the end of each upload to the commit of its blob, and the requests to the queue.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from azure.storage.blob import BlobServiceClient, ContainerClient

from benchmarks.machine import about, sentence
from demo.airflow_instance import Airflow, running
from demo.airflow_runs import receipts_of, wait_for_dag
from demo.migration import s3_client
from local_cloud.servers import LocalAzure, LocalS3, azurite, localstack

DAG_ID: Final = "announced"
BUCKET: Final = "announced"
CONTAINER: Final = "announced"
_WAIT_S: Final = 150.0
_DAG: Final = """\
# Airflow looks for this word in a file that defines a DAG.
from s3_to_azure.dag import migration_dag

dag = migration_dag({dag_id!r}, {source!r}, {destination!r}, "@yearly", events={queue!r})
"""


@dataclass(frozen=True)
class Announced:
    """A bucket whose events go to a queue, and a container."""

    s3: LocalS3
    azure: LocalAzure
    queue_url: str

    @property
    def container(self) -> ContainerClient:
        """The container."""
        service = BlobServiceClient.from_connection_string(self.azure.connection_string)
        return service.get_container_client(CONTAINER)

    def environment(self, dags: Path) -> dict[str, str]:
        """Return the variables of an Airflow with both connections and the DAG."""
        aws = {
            "conn_type": "aws",
            "login": self.s3.access_key,
            "password": self.s3.secret_key,
            "extra": {
                "endpoint_url": self.s3.endpoint_url,
                "region_name": self.s3.region,
                "config_kwargs": {"s3": {"addressing_style": "path"}},
            },
        }
        wasb = {"conn_type": "wasb", "extra": {"connection_string": self.azure.connection_string}}
        dags.mkdir(parents=True, exist_ok=True)
        (dags / "announced.py").write_text(
            _DAG.format(
                dag_id=DAG_ID, source=f"s3://{BUCKET}/in/", destination=f"az://{CONTAINER}/", queue=self.queue_url
            )
        )
        return {
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
            "AIRFLOW_CONN_WASB_DEFAULT": json.dumps(wasb),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags),
        }

    def put(self, keys: Sequence[str], body: bytes = b"announced") -> dict[str, float]:
        """Upload objects; return when each upload ended, by the blob's name."""
        client, ended = s3_client(self.s3), {}

        def put_one(key: str) -> None:
            client.put_object(Bucket=BUCKET, Key=f"in/{key}", Body=body)
            ended[key] = time.time()

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(put_one, keys))
        return ended

    def wait(self, names: Sequence[str], airflow: Airflow) -> None:
        """Wait until all blobs are there."""
        missing, deadline = set(names), time.monotonic() + _WAIT_S
        while missing:
            missing -= set(self.container.list_blob_names())
            if time.monotonic() > deadline:
                raise TimeoutError(f"{len(missing)} blobs are missing after {_WAIT_S:.0f} s; see {airflow.log}")
            time.sleep(0.5)


def announce(s3: LocalS3, azure: LocalAzure) -> Announced:
    """Create the bucket with its notification, the queue, and the container."""
    options = {
        "endpoint_url": s3.endpoint_url,
        "aws_access_key_id": s3.access_key,
        "aws_secret_access_key": s3.secret_key,
        "region_name": s3.region,
    }
    queues: Any = boto3.client("sqs", **options)
    url = queues.create_queue(QueueName="announced")["QueueUrl"]
    arn = queues.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    client = s3_client(s3)
    client.create_bucket(Bucket=BUCKET)
    events = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*"]}
    client.put_bucket_notification_configuration(
        Bucket=BUCKET, NotificationConfiguration={"QueueConfigurations": [events]}
    )
    BlobServiceClient.from_connection_string(azure.connection_string).create_container(CONTAINER)
    return Announced(s3, azure, f"{s3.endpoint_url}/000000000000/announced")


def seconds_to_blobs(announced: Announced, ended: dict[str, float]) -> list[float]:
    """Return the seconds from each upload's end to its blob's, which Azurite tells to the second."""
    blobs = {blob.name: blob.last_modified.timestamp() for blob in announced.container.list_blobs()}
    return [max(0.0, blobs[name] - at) for name, at in ended.items()]


def statuses(announced: Announced, airflow: Airflow) -> tuple[int, Counter[str]]:
    """Return how many runs there were, and the receipts of all of them by status."""
    runs = airflow.get(f"dags/{DAG_ID}/dagRuns", limit=1000)["dag_runs"]
    found: Counter[str] = Counter()
    for run in runs:
        if run["state"] == "success":
            found.update(receipt["status"] for receipt in receipts_of(announced.container, DAG_ID, run["dag_run_id"]))
    return len(runs), found


def main() -> None:
    """Measure, and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--single", type=int, default=10, help="objects that are uploaded one at a time")
    parser.add_argument("--pause", type=float, default=15.0, help="seconds between them")
    parser.add_argument("--burst", type=int, default=1_000, help="objects that are uploaded at once")
    chosen = parser.parse_args()
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="announced-", ignore_cleanup_errors=True)))
        s3 = stack.enter_context(localstack(home / "s3"))
        announced = announce(s3, stack.enter_context(azurite(home / "azure")))
        airflow = stack.enter_context(running(home / "airflow", announced.environment(home / "dags")))
        wait_for_dag(airflow, DAG_ID)
        ended: dict[str, float] = {}
        for number in range(chosen.single):
            ended |= announced.put([f"single-{number:05}"])
            time.sleep(chosen.pause)
        announced.wait(list(ended), airflow)
        single = seconds_to_blobs(announced, ended)
        burst = announced.put([f"burst-{number:05}" for number in range(chosen.burst)])
        announced.wait(list(burst), airflow)
        many = seconds_to_blobs(announced, burst)
        time.sleep(5)
        runs, found = statuses(announced, airflow)
        log = airflow.log.read_text(errors="replace")
    print(sentence(about("benchmarks.events")))
    for name, seconds in (("one at a time", single), ("in a burst", many)):
        if seconds:
            print(
                f"{name}: {len(seconds)} objects, median {statistics.median(seconds):.0f} s, worst {max(seconds):.0f} s"
            )
    print(f"{runs} runs: {dict(found)}; batches in the log: {log.count('announced')}")


if __name__ == "__main__":
    main()
