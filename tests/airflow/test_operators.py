"""The operator in real Airflow, which copies from a local S3 to a local Azure."""

import json
import logging
import os
import re
import signal
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowTaskTimeout
from azure.storage.blob import ContainerClient

from local_cloud.servers import AZURITE_KEY
from s3_to_azure.model.errors import TransferError, UsageError
from s3_to_azure.model.names import id_of
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from tests.airflow.airflow_runs import Run, run_dag

MIB = 1024**2


def run_operator(arguments: dict[str, Any], **more: Any) -> Run:
    """Run one operator, as task ``copy`` of a DAG of its own."""
    with DAG(f"operator-{uuid4().hex}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
        S3ToAzureBlobStreamOperator(task_id="copy", **(arguments | more))
    return run_dag(dag)


@pytest.fixture
def arguments(connections: dict[str, Any], bucket: str, container: ContainerClient) -> dict[str, Any]:
    """Return the arguments that every operator here has."""
    # A temporary failure must fail the test at once, not wait for its retry.
    return connections | {"s3_bucket": bucket, "container_name": container.container_name, "retries": 0}


@pytest.fixture
def put(s3_client: Any, bucket: str) -> Any:
    """Return a function that writes an object with a checksum."""

    def write(key: str, body: bytes) -> None:
        s3_client.put_object(Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm="CRC64NVME")

    return write


@pytest.fixture
def signals() -> Iterator[None]:
    """Restore Airflow's handler of SIGTERM after the test."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def test_one_key(arguments: dict[str, Any], put: Any, container: ContainerClient) -> None:
    """One object arrives under its key, and the XCom is its receipt; the second run does not copy it again."""
    put("a/one.txt", b"hello")
    ran = run_operator(arguments, s3_key="a/one.txt")
    receipt = ran.only("copy").xcom
    assert ran.state == "success"
    assert (receipt["status"], receipt["verified_by"], receipt["blob"]) == ("copied", "crc64nvme", "a/one.txt")
    assert container.download_blob("a/one.txt").readall() == b"hello"
    again = run_operator(arguments, s3_key="a/one.txt").only("copy").xcom
    assert (again["status"], again["bytes_sent"]) == ("unchanged", 0)


def test_blob_names(arguments: dict[str, Any], put: Any, container: ContainerClient) -> None:
    """The blob has the given name; without one, the folder and the last part of the key, as Airflow has it."""
    put("a/k", b"1")
    run_operator(arguments, s3_key="a/k", blob_name="other/name")
    run_operator(arguments, s3_key="a/k", blob_prefix="p")
    assert {blob.name for blob in container.list_blobs()} == {"other/name", "p/k"}


def test_templates(arguments: dict[str, Any], put: Any, container: ContainerClient) -> None:
    """Names in the operator's arguments are templates; keys that come from S3 never are."""
    put("x/{{ dag.dag_id }}", b"1")
    run_operator(arguments, s3_prefix="x/", blob_prefix="{{ task.task_id }}/")
    assert {blob.name for blob in container.list_blobs()} == {"copy/{{ dag.dag_id }}"}


def test_prefix(arguments: dict[str, Any], put: Any, container: ContainerClient) -> None:
    """All objects below a prefix are copied; with ``skip``, one whose name Azure refuses is left out and counted."""
    arguments |= {"refused_names": "skip"}
    for key in ("in/1", "in/2/3", "in/../out", "elsewhere"):
        put(key, key.encode())
    ran = run_operator(arguments, s3_prefix="in/", blob_prefix="to/")
    summary = ran.only("copy").xcom
    assert {name: summary[name] for name in ("objects", "copied", "skipped", "failed", "reasons")} == {
        "objects": 3,
        "copied": 2,
        "skipped": 1,
        "failed": 0,
        "reasons": {"name_refused": 1},
    }
    assert {blob.name for blob in container.list_blobs()} == {"to/1", "to/2/3"}
    again = run_operator(arguments, s3_prefix="in/", blob_prefix="to/").only("copy").xcom
    assert (again["copied"], again["unchanged"], again["bytes_sent"]) == (0, 2, 0)


def test_prefix_with_state(arguments: dict[str, Any], put: Any, container: ContainerClient, blob_service: Any) -> None:
    """A state container keeps receipts and report, in a folder for each task."""
    put("in/1", b"1")
    put("in/bad.", b"2")
    state = blob_service.create_container(f"state-{uuid4().hex}")
    ran = run_operator(arguments, s3_prefix="in/", state_container=state.container_name)
    assert ran.only("copy").state == "failed"
    assert {blob.name for blob in container.list_blobs()} == {"1"}
    names = list(state.list_blob_names())
    (report,) = (name for name in names if name.endswith("/report.json"))
    assert id_of(report.split("/")[2]) == f"{ran.run_id}/copy"
    assert any("/receipts/" in name for name in names)
    counted = json.loads(state.download_blob(report).readall())
    assert (counted["copied"]["objects"], counted["failed"]["objects"]) == (1, 1)


def test_replace(arguments: dict[str, Any], put: Any, container: ContainerClient) -> None:
    """``replace=False`` keeps an existing blob, ``replace=True`` always copies."""
    put("k", b"new")
    container.upload_blob("k", b"old")
    kept = run_operator(arguments, s3_key="k", replace=False).only("copy").xcom
    assert (kept["status"], kept["reason"], container.download_blob("k").readall()) == (
        "skipped",
        "destination_exists",
        b"old",
    )
    assert run_operator(arguments, s3_key="k", replace=True).only("copy").xcom["status"] == "copied"
    assert container.download_blob("k").readall() == b"new"


def test_creates_a_missing_container(arguments: dict[str, Any], put: Any, blob_service: Any) -> None:
    """With ``create_container``, a missing container is created."""
    put("k", b"1")
    name = f"new-{uuid4().hex}"
    run_operator(arguments, s3_key="k", container_name=name, create_container=True)
    assert blob_service.get_blob_client(name, "k").download_blob().readall() == b"1"


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({}, "exactly one of s3_key, s3_prefix and batch, not none"),
        ({"s3_key": "k", "s3_prefix": "p"}, "not s3_key and s3_prefix"),
        ({"s3_key": "k", "batch": {}}, "batch can be combined with s3_prefix, but not with s3_key"),
        ({"s3_prefix": "p", "blob_name": "b"}, "blob_name needs s3_key"),
        ({"s3_key": "k", "blob_name": "b", "blob_prefix": "p"}, "cannot be combined with blob_prefix"),
        ({"s3_key": "k", "replace": True, "overwrite": "never"}, "replace or overwrite"),
        ({"s3_key": "k", "overwrite": "sometimes"}, "not one of if_changed, never, always"),
        ({"s3_key": "k", "integrity": "crc16"}, "integrity='crc16'"),
        ({"s3_key": "k", "memory_budget": "lots"}, "memory_budget='lots' is not a size"),
        ({"s3_key": "k", "block_size": "9000GiB"}, "block_size"),
        ({"s3_key": "k", "bandwidth_limit": "fast"}, "bandwidth_limit='fast' is not a size"),
        ({"s3_key": "k", "objects_at_once": 0}, "objects_at_once=0"),
        ({"s3_key": "k", "objects_at_once": "many"}, "objects_at_once='many'"),
        ({"s3_key": "k", "s3_bucket": "s3://bucket/x"}, "'s3://bucket/x' is not a bucket name"),
        ({"s3_key": "k", "s3_bucket": "arn:aws:s3:::bucket"}, "is not a bucket name"),
        ({"s3_key": "k", "s3_bucket": None}, "s3_bucket=None is not a text"),
        ({"s3_key": "k", "container_name": "https://a.blob.core.windows.net/c"}, "is not a container name"),
        ({"s3_key": "k", "container_name": "container/path"}, "'container/path' is not a container name"),
        ({"s3_key": "k", "create_container": "yes"}, "create_container='yes' is not True or False"),
        ({"s3_key": "k", "replace": "yes"}, "replace='yes' is not True or False"),
        ({"s3_key": "k", "s3_extra_args": ["x"]}, "s3_extra_args=['x'] is not a mapping"),
        ({"s3_key": "k", "fidelity": "tags"}, "fidelity='tags' is not a mapping"),
        ({"s3_key": "k", "run_timeout": 60}, "run_timeout=60 is not a timedelta"),
    ],
)
def test_usage_error_shows_when_the_dag_is_parsed(wrong: dict[str, Any], says: str) -> None:
    """Arguments that cannot be used raise an error before any task runs."""
    with pytest.raises(UsageError, match=re.escape(says)):
        S3ToAzureBlobStreamOperator(
            **({"task_id": "copy", "s3_bucket": "bucket", "container_name": "container"} | wrong)
        )


def test_templates_are_checked_when_they_are_rendered(arguments: dict[str, Any], failure: list[TransferError]) -> None:
    """A template is checked when the task runs, not when the DAG is parsed."""
    ran = run_operator(arguments, s3_key="k", overwrite="{{ 'sometimes' }}")
    assert ran.only("copy").state == "failed"
    assert "overwrite='sometimes'" in str(failure[0])


@pytest.fixture
def failure(monkeypatch: pytest.MonkeyPatch) -> list[TransferError]:
    """Return a list to which the errors of the operator are added."""
    caught: list[TransferError] = []
    execute = S3ToAzureBlobStreamOperator.execute

    def recorded(self: S3ToAzureBlobStreamOperator, context: Any) -> dict[str, Any]:
        try:
            return execute(self, context)
        except TransferError as error:
            caught.append(error)
            raise

    monkeypatch.setattr(S3ToAzureBlobStreamOperator, "execute", recorded)
    return caught


_SECRET = f"aws-secret-{uuid4().hex}"


def _broken_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    wasb = json.loads(os.environ["AIRFLOW_CONN_WASB_LOCAL"])
    text = wasb["extra"]["connection_string"].replace(AZURITE_KEY, "d3Jvbmcga2V5IGZvciBhIHRlc3Q=")
    monkeypatch.setenv("AIRFLOW_CONN_BROKEN", json.dumps({"conn_type": "wasb", "extra": {"connection_string": text}}))


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"s3_bucket": "no-such-bucket-here"}, "BucketNotFound", "S3 bucket 'no-such-bucket-here' does not exist"),
        ({"container_name": "no-such-container"}, "ContainerNotFound", "'no-such-container' does not exist"),
        ({"s3_key": "no/such/key"}, "ObjectNotFound", "S3 object 'no/such/key' does not exist in bucket"),
        ({"aws_conn_id": "not_there"}, "ConnectionMissing", "Airflow connection 'not_there' does not exist"),
        ({"wasb_conn_id": "not_there"}, "ConnectionMissing", "Airflow connection 'not_there' does not exist"),
        ({"wasb_conn_id": "broken"}, "CredentialsRefused", "Azure Blob Storage refused the credentials for"),
    ],
)
def test_permanent_failures(
    change: dict[str, Any],
    error: str,
    says: str,
    arguments: dict[str, Any],
    put: Any,
    failure: list[TransferError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The error is one paragraph that names what is missing or denied, and the task is not retried."""
    put("there", b"1")
    _broken_connection(monkeypatch)
    ran = run_operator(arguments | {"s3_key": "there", "retries": 3}, **change)
    task = ran.only("copy")
    assert (task.state, task.try_number) == ("failed", 1)
    assert type(failure[0]).__name__ == error
    assert says in str(failure[0])
    assert "\n" not in str(failure[0])


def test_no_secret_in_the_logs(
    arguments: dict[str, Any],
    put: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """At DEBUG the libraries log every request, but neither key nor signature, in success and in failure."""
    aws = json.loads(os.environ["AIRFLOW_CONN_AWS_LOCAL"]) | {"password": _SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_LOCAL", json.dumps(aws))
    put("big", os.urandom(17 * MIB))
    _broken_connection(monkeypatch)
    with caplog.at_level(logging.DEBUG):
        assert run_operator(arguments, s3_key="big").state == "success"
        assert run_operator(arguments, s3_key="big", s3_bucket="no-such-bucket-here").state == "failed"
        assert run_operator(arguments, s3_key="big", wasb_conn_id="broken", blob_name="b").state == "failed"
    logged = "\n".join(record.getMessage() for record in caplog.records) + "".join(capfd.readouterr())
    loggers = {record.name.partition(".")[0] for record in caplog.records if record.levelno == logging.DEBUG}
    assert {"botocore", "urllib3"} <= loggers
    for secret in (_SECRET, AZURITE_KEY, "d3Jvbmcga2V5IGZvciBhIHRlc3Q="):
        assert secret not in logged
    assert not re.search(r"Signature[=:]\s*[0-9a-f]{64}", logged)
    assert not re.search(r"SharedKey \w+:[A-Za-z0-9+/=]{20,}", logged)


def _once_staged(container: ContainerClient, blob: str, act: Any) -> threading.Thread:
    """Start a thread that calls ``act`` once Azure holds a staged block of the blob."""

    def wait() -> None:
        client = container.get_blob_client(blob)
        pause = threading.Event()
        while not pause.wait(0.1):
            try:
                if client.get_block_list("uncommitted")[1]:
                    act()
                    return
            except Exception as error:
                if getattr(error, "status_code", None) != 404:
                    raise

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def test_sigterm_keeps_staged_blocks(
    arguments: dict[str, Any], put: Any, container: ContainerClient, failure: list[TransferError], signals: None
) -> None:
    """A task that is stopped leaves its blocks in Azure, and its next try sends only the others."""
    put("big", os.urandom(24 * MIB))
    _once_staged(container, "big", lambda: os.kill(os.getpid(), signal.SIGTERM))
    # Slow enough that the signal arrives in the middle.
    stopped = run_operator(arguments, s3_key="big", block_size="1MiB", bandwidth_limit="2MiB")
    assert stopped.only("copy").state == "failed"
    assert type(failure[0]).__name__ == "Cancelled"
    assert not container.get_blob_client("big").exists()
    held = len(container.get_blob_client("big").get_block_list("uncommitted")[1])
    assert 0 < held < 24
    resumed = run_operator(arguments, s3_key="big", block_size="1MiB").only("copy").xcom
    assert (resumed["status"], resumed["blocks_resumed"]) == ("copied", held)
    assert resumed["bytes_sent"] == (24 - held) * MIB


@pytest.mark.slow
def test_the_age_of_the_run_stops_the_transfer(
    arguments: dict[str, Any], put: Any, container: ContainerClient, failure: list[TransferError]
) -> None:
    """A run that becomes too old copies no further, is not retried, and leaves its blocks in Azure."""
    put("big", os.urandom(24 * MIB))
    limits = {"bandwidth_limit": "1MiB", "run_timeout": timedelta(seconds=8), "retries": 3}
    ran = run_operator(arguments | limits, s3_key="big", block_size="1MiB")
    task = ran.only("copy")
    assert (task.state, task.try_number) == ("failed", 1)
    assert "older than its dagrun_timeout" in str(failure[0])
    assert container.get_blob_client("big").get_block_list("uncommitted")[1]
    assert not container.get_blob_client("big").exists()


def test_execution_timeout_stops_the_transfer(
    arguments: dict[str, Any], put: Any, container: ContainerClient, signals: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow's own timeout ends the task, and leaves the blocks in Azure."""
    seen: list[BaseException] = []
    execute = S3ToAzureBlobStreamOperator.execute

    def recorded(self: S3ToAzureBlobStreamOperator, context: Any) -> dict[str, Any]:
        try:
            return execute(self, context)
        except BaseException as error:
            seen.append(error)
            raise

    monkeypatch.setattr(S3ToAzureBlobStreamOperator, "execute", recorded)
    put("big", os.urandom(24 * MIB))
    ran = run_operator(
        arguments, s3_key="big", block_size="1MiB", bandwidth_limit="1MiB", execution_timeout=timedelta(seconds=4)
    )
    assert ran.only("copy").state == "failed"
    assert isinstance(seen[0], AirflowTaskTimeout)
    assert container.get_blob_client("big").get_block_list("uncommitted")[1]
    assert not container.get_blob_client("big").exists()


@pytest.mark.parametrize(
    ("what", "worked"), [({"s3_key": "k"}, False), ({"s3_prefix": "p/"}, False), ({"batch": {"plan": "0" * 16}}, True)]
)
def test_a_batch_knows_that_its_connections_have_worked(
    monkeypatch: pytest.MonkeyPatch, what: dict[str, Any], worked: bool
) -> None:
    """The plan was made with them, so a blip of a credential source or of DNS may pass."""
    given: list[bool] = []

    def open_transfer(*_: object, worked_before: bool) -> object:
        given.append(worked_before)
        raise UsageError(detail="Enough.")

    monkeypatch.setattr("s3_to_azure.airflow.jobs.open_transfer", open_transfer)
    operator = S3ToAzureBlobStreamOperator(
        task_id="copy", s3_bucket="bucket", container_name="container", state_container="state", **what
    )
    with pytest.raises(Exception, match=r"Enough\."):
        operator.execute(cast("Any", {}))
    assert given == [worked]
