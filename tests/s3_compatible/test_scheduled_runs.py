"""Two scheduled runs from a real S3-compatible store, and a copy that is killed and resumed."""

import json
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure
from s3_to_azure.model.limits import MIB
from s3_to_azure.planning.plan import Requests
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.state import AzureState
from tests.fidelity.uploads import put_parts, some_bytes
from tests.real_stores import azure_container
from tests.runs.nights import CountingDestination, Night
from tests.s3_compatible.conftest import Store, start_copy

IN_PARTS = some_bytes(11 * MIB + 5)
# What each store allows for an object uploaded in parts. Swift refuses part numbers, Ceph 16 ignores them,
# and rclone keeps one file with its MD5.
LEVELS = {"ceph": {"transport", "md5_composite"}, "swift": {"transport"}, "rclone": {"md5"}}
SMALL_BLOCKS = ("--block-size", "1MiB", "--memory-budget", "16MiB")

pytestmark = pytest.mark.slow


@pytest.fixture
def destination(azure_server: LocalAzure, container: ContainerClient) -> Iterator[AzureContainer]:
    """Return a new container as a destination."""
    made = azure_container(azure_server, str(container.container_name))
    yield made
    made.close()


def test_the_second_run_sends_and_rewrites_nothing(
    store: Store, destination: AzureContainer, container: ContainerClient
) -> None:
    """Everything arrives and is accounted for; the next run makes two listings, no look-up and no write."""
    objects = {f"data/{number % 3}/{number:03} ü+%.bin": some_bytes(number * 977, seed=number) for number in range(40)}
    for key, data in objects.items():
        # Without a body boto3 sends no "Expect: 100-continue", which rclone answers twice.
        body = {"Body": data} if data else {}
        store.client.put_object(
            Bucket=store.bucket, Key=key, Metadata={"owner": "me"}, ContentType="text/x-test", **body
        )
    put_parts(store.client, store.bucket, "data/parts", IN_PARTS, [5 * MIB, 5 * MIB])
    objects["data/parts"] = IN_PARTS

    def state() -> AzureState:
        return AzureState(destination._service, destination.container, dag_id="nightly", run_id=uuid4().hex)

    settings = PlanSettings(s3_prefix="data/", blob_prefix="data/", block_bytes=MIB)
    night = Night(store.source, destination, state(), store.bucket, settings)
    _, _, report = night.run()
    assert report.error() is None
    assert report.summary()["copied"]["objects"] == len(objects)
    assert set(report.summary()["proofs"]) <= {"md5", *LEVELS[store.name]}
    assert {name: container.download_blob(name).readall() for name in objects} == objects
    properties = container.get_blob_client("data/parts").get_blob_properties()
    assert properties.metadata["s3_verified_by"] in LEVELS[store.name]
    before = {blob.name: blob.etag for blob in container.list_blobs(name_starts_with="data/")}

    counting = CountingDestination(destination)
    plan, _, report = replace(night, destination=counting, files=state()).run()
    assert (plan.batches, plan.rewritten, plan.unchanged.objects) == ((), 0, len(objects))
    assert plan.planning == Requests(s3_list=1, azure_list=1)
    assert (counting.bytes_sent, counting.commits, counting.lookups) == (0, 0, 0)
    assert report.summary()["unchanged"]["objects"] == len(objects)
    assert {blob.name: blob.etag for blob in container.list_blobs(name_starts_with="data/")} == before

    store.client.put_object(Bucket=store.bucket, Key="data/parts", Body=b"new")
    plan, _, report = replace(night, files=state()).run()
    assert (plan.copy.objects, report.error()) == (1, None)
    assert container.download_blob("data/parts").readall() == b"new"


def test_a_copy_is_killed_and_resumed(
    store: Store, azure_server: LocalAzure, container: ContainerClient, tmp_path: Path
) -> None:
    """After SIGKILL the next run sends only the blocks that Azure does not hold, and proves the whole object."""
    data = some_bytes(23 * MIB + 5)
    put_parts(store.client, store.bucket, "large", data, [5 * MIB] * 4)
    blob = container.get_blob_client("large")

    def staged() -> list[int]:
        try:
            return [int(block.size or 0) for block in blob.get_block_list("uncommitted")[1]]
        except ResourceNotFoundError:
            return []

    addresses = [f"s3://{store.bucket}/large", f"az://{container.container_name}/large"]

    def copy(*options: str) -> subprocess.Popen[str]:
        return start_copy(store, azure_server, tmp_path, *addresses, *SMALL_BLOCKS, *options)

    # About eight seconds for the whole object, so that the kill finds it unfinished.
    process = copy("--bandwidth-limit", "3MiB", "--connections", "2")
    _until(lambda: len(staged()) >= 2, process)
    process.kill()
    process.communicate()
    held = staged()
    assert not blob.exists()
    assert 2 <= len(held) < 24

    process = copy()
    output, log = process.communicate()
    assert process.returncode == 0, log
    receipt = json.loads(output)
    # A last request of the killed process may have arrived after the list.
    assert receipt["blocks_resumed"] >= len(held)
    assert 0 < receipt["bytes_sent"] <= len(data) - sum(held)
    assert receipt["status"] == "copied"
    # An MD5 of the whole would need it in one block, which this memory budget does not allow.
    assert receipt["verified_by"] in LEVELS[store.name] - {"md5"} | {"transport"}
    assert bytes(container.download_blob("large").readall()) == data


def _until(reached: Callable[[], Any], process: subprocess.Popen[str]) -> None:
    while not reached():
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.02)
