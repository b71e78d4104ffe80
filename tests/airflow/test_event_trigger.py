"""The trigger of announced objects, as the triggerer runs it, against LocalStack's queue and Azurite."""

import asyncio
import threading
from contextlib import closing
from datetime import UTC, datetime
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from local_cloud.servers import LocalS3
from s3_to_azure.airflow import event_trigger
from s3_to_azure.airflow.azure_hook import announced_keys
from s3_to_azure.airflow.event_trigger import S3EventsTrigger, _Watch
from s3_to_azure.model.errors import ConnectionFailed, ContainerNotFound, TransferError
from s3_to_azure.stores.azure.client import service_client


def trigger_of(bucket: str = "bucket", container: str = "container", **changes: Any) -> S3EventsTrigger:
    """Return a trigger."""
    arguments = {
        "queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/q",
        "bucket_name": bucket,
        "prefix": "in/",
        "dag_id": "dag",
        "state_container": container,
        "aws_conn_id": "aws_local",
        "wasb_conn_id": "wasb_local",
        "s3_verify": None,
    }
    return S3EventsTrigger(**(arguments | changes))


def test_the_triggerer_creates_it_again_from_its_arguments() -> None:
    """Nothing else is kept of it."""
    trigger = trigger_of(aws_conn_id=None, s3_verify=False)
    path, arguments = trigger.serialize()
    assert path.rpartition(".")[2] == "S3EventsTrigger"
    assert S3EventsTrigger(**arguments).serialize() == trigger.serialize()


class ScriptedWatch:
    """A watch whose steps a test has written down: a failure, nothing, or what to tell Airflow."""

    def __init__(self, *steps: Exception | dict[str, Any] | None) -> None:
        self.steps = list(steps)
        self.opened = self.closed = 0
        self.threads: set[str] = set()

    def open(self) -> "ScriptedWatch":
        """Open it."""
        self.opened += 1
        return self

    def step(self) -> dict[str, Any] | None:
        """Return or raise the next step."""
        self.threads.add(threading.current_thread().name)
        found = self.steps.pop(0)
        if isinstance(found, Exception):
            raise found
        return found

    def close(self) -> None:
        """Close it."""
        self.closed += 1


def test_a_failure_ends_nothing(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Queue or state container are away, and come back; nothing blocks the triggerer meanwhile."""
    lost = ConnectionFailed(service="Amazon SQS", resource="queue", detail="reset")
    watch = ScriptedWatch(lost, ValueError("any"), None, {"batches": 1}, None, {"batches": 2})
    pauses = []

    async def note(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(asyncio, "sleep", note)
    trigger = trigger_of()
    monkeypatch.setattr(trigger, "_open", watch.open)

    async def two_events() -> list[Any]:
        events = trigger.run()
        found = [(await anext(events)).payload for _ in range(2)]
        await trigger.cleanup()
        await events.aclose()  # type: ignore[attr-defined]
        return found

    assert asyncio.run(two_events()) == [{"batches": 1}, {"batches": 2}]
    assert pauses == [1.0, 2.0]
    assert (watch.opened, watch.closed) == (3, 2)
    assert all(name.startswith("s3-events") for name in watch.threads)
    assert "is not read at present, next try in 1 s: ConnectionFailed" in capsys.readouterr().out


def test_announced_objects_wait_and_start_one_run(
    connections: dict[str, Any],
    announced_bucket: tuple[str, str],
    s3_server: LocalS3,
    s3_client: Any,
    blob_service: BlobServiceClient,
    container: ContainerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """After a run has taken them, the next ones start the next run; a new watch starts one for what still waits."""
    monkeypatch.setattr(event_trigger, "_WAIT_S", 1)
    bucket, queue = announced_bucket
    url = f"{s3_server.endpoint_url}/000000000000/{queue}"
    trigger = trigger_of(bucket, container.container_name, queue_url=url, **connections)

    def put_and_step(watch: _Watch, key: str) -> dict[str, Any] | None:
        s3_client.put_object(Bucket=bucket, Key=f"in/{key}", Body=b"x")
        for _ in range(10):
            before = len(list(container.list_blob_names()))
            found = watch.step()
            if found or len(list(container.list_blob_names())) > before:
                return found
        return None

    watch = _Watch(trigger, threading.Event())
    first = put_and_step(watch, "a")
    assert first is not None
    assert first["batches"] == 1
    assert put_and_step(watch, "b") is None
    watch.close()
    with closing(service_client(blob_service, connections=1)) as service:
        announced = announced_keys(service, container.container_name, "dag")
        again = _Watch(trigger, threading.Event())
        woken = again.step()
        assert woken is not None
        assert woken["newest"] == announced.waiting()[-1]
        announced.take("run", is_over=lambda _: False, now=datetime.now(UTC))
        assert {line.key for line in announced.lines("run")} == {"in/a", "in/b"}
        assert put_and_step(again, "c") is not None
        again.close()


def test_no_message_is_received_that_could_not_be_written(connections: dict[str, Any]) -> None:
    """The state container is looked at first."""
    with pytest.raises(TransferError) as raised:
        _Watch(trigger_of(container="not-there", **connections), threading.Event())
    assert isinstance(raised.value, ContainerNotFound)
