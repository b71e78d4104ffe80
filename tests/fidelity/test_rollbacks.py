"""What S3 holds as an object's current version is copied, also if Azure has a copy of a later one."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3, rclone_s3
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.options import Overwrite
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.s3.source import S3Source
from s3_to_azure.transfer.context import CopyTask, open_context
from s3_to_azure.transfer.object import copy_object
from tests.fakes.state_memory import MemoryState
from tests.fidelity.uploads import some_bytes
from tests.real_stores import azure_container, s3_source
from tests.runs.nights import Night

OBJECTS = {"small": b"good", "large": some_bytes(2 * MIB)}
BROKEN = {"small": b"broken", "large": some_bytes(2 * MIB, seed=1)}


@pytest.fixture
def destination(azure_server: LocalAzure, container: ContainerClient) -> Iterator[AzureContainer]:
    """Return a new container as a destination."""
    made = azure_container(azure_server, str(container.container_name))
    yield made
    made.close()


def contents(container: ContainerClient) -> dict[str, bytes]:
    """Return all blobs."""
    return {name: container.download_blob(name).readall() for name in container.list_blob_names()}


def night(source: S3Source, destination: AzureContainer, bucket: str, overwrite: Overwrite = "if_changed") -> None:
    """Make one scheduled run, in which everything is copied or unchanged."""
    settings = PlanSettings(s3_prefix="", blob_prefix="", overwrite=overwrite, block_bytes=MIB)
    _, _, report = Night(source, destination, MemoryState(), bucket, settings).run()
    assert report.error() is None
    assert set(report.summary()) >= {"copied", "unchanged"}


@pytest.mark.parametrize("overwrite", ["if_changed", "always"])
def test_deleting_the_current_version_rolls_the_blob_back(
    overwrite: Overwrite,
    s3_server: LocalS3,
    s3_client: Any,
    bucket: str,
    destination: AzureContainer,
    container: ContainerClient,
) -> None:
    """AWS's own way to roll back is followed by the next run, and by a copy of that key without a plan."""
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    for key, data in OBJECTS.items():
        s3_client.put_object(Bucket=bucket, Key=key, Body=data)
    source = s3_source(s3_server)
    broken = {key: s3_client.put_object(Bucket=bucket, Key=key, Body=data) for key, data in BROKEN.items()}
    night(source, destination, bucket)
    assert contents(container) == BROKEN
    for key, put in broken.items():
        # Both versions may have been put within one second.
        blob = container.get_blob_client(key)
        metadata = blob.get_blob_properties().metadata
        blob.set_blob_metadata({**metadata, "s3_last_modified": "2099-01-01T00:00:00+00:00"})
        s3_client.delete_object(Bucket=bucket, Key=key, VersionId=put["VersionId"])
    night(source, destination, bucket, overwrite)
    assert contents(container) == OBJECTS
    container.get_blob_client("small").upload_blob(
        b"broken", overwrite=True, metadata={"s3_etag": "x", "s3_last_modified": "2099-01-01T00:00:00+00:00"}
    )
    with open_context(source, destination, CopySettings(overwrite=overwrite, connections=1)) as context:
        assert copy_object(context, CopyTask(bucket, "small", "small")).status == "copied"
    assert contents(container) == OBJECTS
    source.close()


def test_file_put_back_with_its_old_date_is_copied(
    tmp_path: Path, destination: AzureContainer, container: ContainerClient
) -> None:
    """A store on files lists a file's own date: one from a backup is older than the one that it replaces."""
    folder = tmp_path / "buckets" / "bucket"
    folder.mkdir(parents=True)

    def put(objects: dict[str, bytes], time: int) -> None:
        for key, data in objects.items():
            (folder / key).write_bytes(data)
            os.utime(folder / key, (time, time))

    put(BROKEN, 1_760_000_000)
    with rclone_s3(tmp_path, access_key=f"AK{uuid4().hex}", secret_key=uuid4().hex) as server:
        source = s3_source(server)
        night(source, destination, "bucket")
        assert contents(container) == BROKEN
        put(OBJECTS, 1_750_000_000)
        night(source, destination, "bucket")
        source.close()
    assert contents(container) == OBJECTS
