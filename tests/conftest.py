"""The local servers, and empty buckets and containers in them; each server starts when a test first needs it."""

import hashlib
import tempfile
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

import boto3
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient
from botocore.config import Config
from hypothesis import settings

from local_cloud.servers import LocalAzure, LocalS3, azurite, localstack, rclone_s3
from s3_to_azure.cli.processes import count
from s3_to_azure.stores.http import hosts

# Azure's SDK makes a time-based id for each request. libuuid, where it may write its clock, leaves a file open in each
# thread that has made one; a test run has thousands of threads.
vars(uuid)["_generate_time_safe"] = None

# A slow example on a busy machine is no failure; pytest's timeout ends what hangs.
settings.register_profile("untimed", deadline=None)
# make test and make test-all: the same examples for the same code.
settings.register_profile("repeatable", deadline=None, derandomize=True)
# make soak: other examples each time, and many.
settings.register_profile("exploring", deadline=None, max_examples=1_000)
settings.load_profile("untimed")

_LONGEST_ID: Final = 200


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name a long parameter by its length and digest: pytest would write all of it into the id, in each report."""
    data = val.encode("utf-8", "surrogatepass") if isinstance(val, str) else val
    if not isinstance(data, bytes) or len(data) <= _LONGEST_ID:
        return None
    return f"{argname}-{len(data)}-{hashlib.sha256(data).hexdigest()[:8]}"


@pytest.fixture(autouse=True)
def _nothing_reached(monkeypatch: pytest.MonkeyPatch) -> None:
    """Forget which hosts earlier tests have reached: it decides whether a name without an address is an error."""
    monkeypatch.setattr(hosts, "_reached", set())
    monkeypatch.setattr(hosts, "_any_reached", threading.Event())


@pytest.fixture(autouse=True)
def _one_core(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let no command fork this process, which has threads; what several processes do is tested by name."""
    monkeypatch.setattr(count, "usable_cores", lambda: 1)


@contextmanager
def _server_directory(name: str) -> Iterator[Path]:
    """Yield a directory and delete it afterwards: pytest's own would keep the gigabytes of the last three runs."""
    with tempfile.TemporaryDirectory(prefix=f"{name}-", ignore_cleanup_errors=True) as directory:
        yield Path(directory)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[LocalS3]:
    """Run LocalStack: it has versions, checksums and conditions, and does not check header signatures."""
    with _server_directory("localstack") as directory, localstack(directory) as server:
        yield server


@pytest.fixture(scope="session")
def azure_server() -> Iterator[LocalAzure]:
    """Run Azurite: it has blocks with checksums, uncommitted lists, conditions and leases."""
    with _server_directory("azurite") as directory, azurite(directory) as server:
        yield server


@pytest.fixture(scope="session")
def rclone_server() -> Iterator[LocalS3]:
    """Run rclone's S3 server: it checks header signatures, and has no versions, checksums or If-Match."""
    keys = {"access_key": f"AK{uuid4().hex}", "secret_key": uuid4().hex}
    with _server_directory("rclone") as directory, rclone_s3(directory, **keys) as server:
        yield server


@pytest.fixture(scope="session")
def _boto3_session() -> boto3.Session:
    """Cache the parsed service model, which is most of a client's cost."""
    return boto3.Session()


@pytest.fixture
def s3_client(s3_server: LocalS3, _boto3_session: boto3.Session) -> Iterator[Any]:
    """Return a boto3 client of the local S3."""
    client = _boto3_session.client(
        "s3",
        endpoint_url=s3_server.endpoint_url,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name=s3_server.region,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"mode": "standard"}),
    )
    yield client
    client.close()


@pytest.fixture
def bucket(s3_client: Any) -> str:
    """Return the name of a new, empty bucket."""
    name = f"bucket-{uuid4().hex}"
    s3_client.create_bucket(Bucket=name)
    return name


@pytest.fixture
def sqs_client(s3_server: LocalS3, _boto3_session: boto3.Session) -> Iterator[Any]:
    """Return a boto3 client of the local SQS."""
    client = _boto3_session.client(
        "sqs",
        endpoint_url=s3_server.endpoint_url,
        aws_access_key_id=s3_server.access_key,
        aws_secret_access_key=s3_server.secret_key,
        region_name=s3_server.region,
    )
    yield client
    client.close()


@pytest.fixture
def announced_bucket(s3_client: Any, sqs_client: Any, bucket: str) -> tuple[str, str]:
    """Return the name of a new bucket that announces its objects, and the name of the queue in which it does."""
    url = sqs_client.create_queue(QueueName=f"events-{uuid4().hex}")["QueueUrl"]
    arn = sqs_client.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]
    events = {"QueueArn": arn, "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"]}
    s3_client.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [events]}
    )
    return bucket, arn.rpartition(":")[2]


@pytest.fixture
def blob_service(azure_server: LocalAzure) -> Iterator[BlobServiceClient]:
    """Return an Azure client of the local account with the SDK's defaults."""
    with BlobServiceClient.from_connection_string(azure_server.connection_string) as service:
        yield service


@pytest.fixture
def container(blob_service: BlobServiceClient) -> ContainerClient:
    """Return a new, empty container."""
    return blob_service.create_container(f"container-{uuid4().hex}")
