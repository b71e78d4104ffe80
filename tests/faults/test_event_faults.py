"""Whoever reads a queue of events is killed between its steps, as a triggerer may be: no announced key is lost."""

import subprocess
import sys
import threading
import time
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import boto3
import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.airflow.azure_hook import announced_keys
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.runs.drain import drain
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.s3 import queue as queue_module
from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.queue import SqsQueue
from tests.docs.pages import ROOT

pytestmark = pytest.mark.slow

HIDDEN_S = 2
OBJECTS = 25
READER = """
import os, signal, sys, threading
import boto3
from azure.storage.blob import BlobServiceClient
from s3_to_azure.airflow.azure_hook import announced_keys
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.runs.drain import drain
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.state import AzureState
from s3_to_azure.stores.s3 import queue as queue_module
from s3_to_azure.stores.s3.queue import SqsQueue

url, bucket, connection_string, container, step, hidden_s = sys.argv[1:]
queue_module.HIDDEN_S = int(hidden_s)
session = boto3.Session(aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1")
queue = SqsQueue(session, {}, url)
service = service_client(BlobServiceClient.from_connection_string(connection_string), connections=1)

def killed_at(owner, name, number):
    whole, calls = getattr(owner, name), []
    def call(*arguments, **options):
        calls.append(name)
        if len(calls) == number:
            os.kill(os.getpid(), signal.SIGKILL)
        return whole(*arguments, **options)
    setattr(owner, name, call)

owner, name, number = {
    "write": (AzureState, "put", 1),
    "deleted some": (queue, "delete", 2),
}[step]
killed_at(owner, name, number)
retrier = Retrier(RetryBudget(), threading.Event())
drain(queue, announced_keys(service, container, "dag"), retrier, bucket=bucket, prefix="", wait_s=2)
"""


@pytest.mark.parametrize("step", ["write", "deleted some"])
def test_a_reader_that_is_killed_loses_no_key(
    step: str,
    announced_bucket: tuple[str, str],
    s3_server: LocalS3,
    azure_server: LocalAzure,
    s3_client: Any,
    blob_service: BlobServiceClient,
    container: ContainerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """SIGKILL before the batch is written, and between the deletions; test_drain.py has every other moment."""
    bucket, name = announced_bucket
    keys = {f"{number:02}" for number in range(OBJECTS)}
    for key in sorted(keys):
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"x")
    url = f"{s3_server.endpoint_url}/000000000000/{name}"
    arguments = [url, bucket, azure_server.connection_string, container.container_name, step, str(HIDDEN_S)]
    done = subprocess.run(
        [sys.executable, "-c", READER, *arguments],
        env={"PYTHONPATH": str(ROOT / "plugins"), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -9, done.stderr
    monkeypatch.setattr(queue_module, "HIDDEN_S", HIDDEN_S)
    session = boto3.Session(aws_access_key_id=s3_server.access_key, aws_secret_access_key=s3_server.secret_key)
    options = {"config": botocore_config(1), "region_name": s3_server.region}
    retrier = Retrier(RetryBudget(), threading.Event())
    deadline = time.monotonic() + 60
    with (
        closing(SqsQueue(session, options, url)) as queue,
        closing(service_client(blob_service, connections=1)) as service,
    ):
        announced = announced_keys(service, container.container_name, "dag")
        found: set[str] = set()
        is_empty = False
        # What the dead reader had received shows again after its time.
        while not (found == keys and is_empty) and time.monotonic() < deadline:
            is_empty = not drain(queue, announced, retrier, bucket=bucket, prefix="", wait_s=HIDDEN_S + 1).messages
            found = {line.key for line in announced.since(datetime(2000, 1, 1, tzinfo=UTC))}
    assert found == keys
    assert is_empty
