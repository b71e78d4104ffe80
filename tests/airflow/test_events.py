"""The sensor of announced objects in real Airflow, against LocalStack's queue and Azurite."""

import json
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.sdk import DAG, Context
from azure.storage.blob import BlobServiceClient, ContainerClient

from local_cloud.servers import LocalS3
from s3_to_azure import events
from s3_to_azure.airflow.azure_hook import announced_keys
from s3_to_azure.events import S3EventsSensor, is_listing_due
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.names import REPORT_NAME, id_of
from s3_to_azure.runs import drain
from s3_to_azure.runs.drain import MAX_MESSAGES, Drained
from s3_to_azure.state.announced import AnnouncedLine
from s3_to_azure.state.manifest import ManifestPointer, read_manifest
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.state import AzureState
from tests.airflow.airflow_runs import Run, run_dag

DAY = timedelta(days=1)
NOW = datetime.now(UTC)


class Sensed:
    """A sensor of its own DAG, whose runs count as started by a schedule or by an asset event."""

    def __init__(self, arguments: dict[str, Any], service: BlobServiceClient, container: str) -> None:
        self.dag_id = f"events-{uuid4().hex}"
        self._arguments = arguments
        self._service = service
        self._container = container

    def announced(self, act: Callable[[Any], Any]) -> Any:
        """Return what a function returns of the DAG's announced keys."""
        with closing(service_client(self._service, connections=1)) as service:
            return act(announced_keys(service, self._container, self.dag_id))

    def run(self, **arguments: Any) -> Run:
        """Poke once."""
        with DAG(self.dag_id, schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
            S3EventsSensor(task_id="wait", **(self._arguments | arguments))
        return run_dag(dag)

    def clear(self, run: Run, run_type: str, **arguments: Any) -> tuple[ManifestPointer, list[str]]:
        """Let the run have reported; poke again as if somebody had cleared it, and return the same as ``listed``."""
        with closing(service_client(self._service, connections=1)) as service:
            state = AzureState(service, self._container, dag_id=self.dag_id, run_id=run.run_id)
            with state.write(REPORT_NAME) as out:
                out.write(b"{}")
            self.announced(lambda announced: announced.settle(run.run_id, now=datetime.now(UTC)))
            instance = SimpleNamespace(dag_id=self.dag_id, run_id=run.run_id, try_number=2, xcom_push=lambda *_: None)
            context = {"ti": instance, "dag_run": SimpleNamespace(run_type=run_type)}
            sensor = S3EventsSensor(task_id="wait", **(self._arguments | arguments))
            pointer = ManifestPointer.from_dict(cast("Any", sensor.poke(cast("Context", context))).xcom_value)
            return pointer, [listed.key for listed in read_manifest(state, pointer)]

    def listed(self, run: Run) -> tuple[ManifestPointer, list[str]]:
        """Return the pointer that a run returned, and the keys of its listing."""
        pointer = ManifestPointer.from_dict(run.only("wait").xcom)
        with closing(service_client(self._service, connections=1)) as service:
            state = AzureState(service, self._container, dag_id=self.dag_id, run_id=run.run_id)
            return pointer, [listed.key for listed in read_manifest(state, pointer)]


@pytest.fixture
def sensed(
    connections: dict[str, Any],
    announced_bucket: tuple[str, str],
    s3_server: LocalS3,
    blob_service: BlobServiceClient,
    container: ContainerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> Sensed:
    """Return a sensor of a bucket that announces its objects; its runs do not count as started by hand."""
    monkeypatch.setattr(events, "is_started_by_hand", lambda _: False)
    bucket, queue = announced_bucket
    arguments = {
        "bucket_name": bucket,
        "prefix": "in/",
        "queue_url": f"{s3_server.endpoint_url}/000000000000/{queue}",
        "state_container": container.container_name,
        "timeout": 0,
        "retries": 0,
        "mode": "poke",
    }
    return Sensed(connections | arguments, blob_service, container.container_name)


def test_a_scheduled_run_empties_the_queue_by_itself(
    sensed: Sensed, s3_client: Any, announced_bucket: tuple[str, str]
) -> None:
    """It looks up what was announced, leaves out what is gone, and waits once the queue is empty."""
    bucket, _ = announced_bucket
    sensed.announced(lambda announced: announced.note_listing(datetime.now(UTC)))
    for key in ("in/a b", "in/ü+%", "in/gone", "out/c"):
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"x")
    s3_client.put_object(Bucket=bucket, Key="in/ü+%", Body=b"newer")
    s3_client.delete_object(Bucket=bucket, Key="in/gone")
    run = sensed.run(list_every=DAY)
    pointer, keys = sensed.listed(run)
    assert keys == ["in/a b", "in/ü+%"]
    assert (pointer.looked_up, pointer.bytes_total) == (True, len(b"x") + len(b"newer"))
    sensed.announced(lambda announced: announced.settle(run.run_id, now=datetime.now(UTC)))
    # Nothing is left, so the next run waits; its timeout is over at once.
    assert sensed.run(list_every=DAY).only("wait").state == "failed"


def test_the_first_run_of_a_period_lists(sensed: Sensed, s3_client: Any, announced_bucket: tuple[str, str]) -> None:
    """So what no event announced is found; the queue's messages stay for the next run."""
    s3_client.put_object(Bucket=announced_bucket[0], Key="in/a", Body=b"x")
    pointer, keys = sensed.listed(sensed.run(list_every=DAY))
    assert (pointer.looked_up, keys) == (False, ["in/a"])


def test_a_run_by_an_asset_event_takes_what_the_trigger_has_written(
    sensed: Sensed, s3_client: Any, announced_bucket: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reads no queue. A second one that finds nothing lists nothing; the batches of a run that failed go to it."""
    s3_client.put_object(Bucket=announced_bucket[0], Key="in/a", Body=b"x")
    monkeypatch.setattr(events, "run_type_of", lambda _: "asset_triggered")
    lines = [AnnouncedLine("in/a"), AnnouncedLine("elsewhere")]
    sensed.announced(lambda announced: announced.add(lines, datetime.now(UTC)))
    queue = {"queue_url": "https://sqs.us-east-1.amazonaws.com/123456789012/not-read"}
    first = sensed.run(**queue)
    assert sensed.listed(first)[1] == ["in/a"]
    assert sensed.announced(lambda announced: announced.waiting()) == []
    # Airflow says that the first run has ended, and it has made no report.
    assert sensed.listed(sensed.run(**queue))[1] == ["in/a"]
    sensed.announced(lambda announced: announced.settle(first.run_id, now=datetime.now(UTC)))


def test_a_run_by_an_asset_event_that_is_cleared_takes_the_same_again(
    sensed: Sensed, s3_client: Any, announced_bucket: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its report has settled all of it, failures too: without them it would succeed with nothing."""
    s3_client.put_object(Bucket=announced_bucket[0], Key="in/a", Body=b"x")
    monkeypatch.setattr(events, "run_type_of", lambda _: "asset_triggered")
    sensed.announced(lambda announced: announced.add([AnnouncedLine("in/a")], datetime.now(UTC)))
    first = sensed.run()
    for _ in range(2):
        pointer, keys = sensed.clear(first, "asset_triggered")
        assert (pointer.looked_up, keys) == (True, ["in/a"])
    # Where its batches are too old to be there, it looks at all objects.
    sensed.announced(lambda announced: announced.settle(first.run_id, now=datetime.now(UTC) + 9 * DAY))
    pointer, keys = sensed.clear(first, "asset_triggered")
    assert (pointer.looked_up, keys) == (False, ["in/a"])


def test_a_listing_that_is_cleared_lists_again(
    sensed: Sensed, s3_client: Any, announced_bucket: tuple[str, str]
) -> None:
    """Though its report has noted that the period's listing is done: what failed is announced no more."""
    s3_client.put_object(Bucket=announced_bucket[0], Key="in/a", Body=b"x")
    first = sensed.run(list_every=DAY)
    sensed.announced(lambda announced: announced.note_listing(datetime.now(UTC)))
    sensed.announced(lambda announced: announced.add([AnnouncedLine("in/b")], datetime.now(UTC)))
    pointer, keys = sensed.clear(first, "scheduled", list_every=DAY)
    assert (pointer.looked_up, keys) == (False, ["in/a"])
    assert len(sensed.announced(lambda announced: announced.waiting())) == 1


def test_a_queue_that_fills_as_fast_as_it_is_emptied_does_not_keep_a_run(
    sensed: Sensed, s3_client: Any, announced_bucket: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next run takes what comes later."""
    s3_client.put_object(Bucket=announced_bucket[0], Key="in/a", Body=b"x")
    sensed.announced(lambda announced: announced.note_listing(datetime.now(UTC)))
    drained: list[int] = []

    def never_the_last(_: object, announced: Any, *__: object, **___: object) -> Drained:
        drained.append(1)
        assert len(drained) < 10
        announced.add([AnnouncedLine("in/a")], datetime.now(UTC))
        return Drained(messages=MAX_MESSAGES)

    monkeypatch.setattr(drain, "drain", never_the_last)
    monkeypatch.setattr(events, "_MAX_DRAIN_S", 0)
    assert sensed.listed(sensed.run(list_every=DAY))[1] == ["in/a"]
    assert len(drained) == 1


def test_a_run_that_is_scheduled_lists_if_a_trigger_reads_the_queue(
    sensed: Sensed, s3_client: Any, announced_bucket: tuple[str, str]
) -> None:
    """The nightly listing stays the net."""
    s3_client.put_object(Bucket=announced_bucket[0], Key="in/a", Body=b"x")
    pointer, keys = sensed.listed(sensed.run())
    assert (pointer.looked_up, keys) == (False, ["in/a"])


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ({"state_container": None}, "needs a state_container"),
        ({"keys_from": "s3://bucket/keys"}, "excludes keys_from"),
        ({"list_every": DAY, "deferrable": True}, "needs no triggerer"),
        ({"list_every": 5}, "list_every"),
    ],
)
def test_arguments_that_exclude_each_other_are_refused(arguments: dict[str, Any], text: str) -> None:
    """When the DAG is parsed."""
    usual = {"bucket_name": "bucket", "state_container": "state", "queue_url": "https://sqs/123456789012/q"}
    with pytest.raises(UsageError, match=text):
        S3EventsSensor(task_id="wait", **(usual | arguments))


@pytest.mark.parametrize(
    ("ago", "expected"), [(None, True), (timedelta(hours=1), False), (timedelta(hours=13), True), (DAY, True)]
)
def test_a_listing_is_due_once_in_each_period(ago: timedelta | None, expected: bool) -> None:
    """A day begins at midnight UTC, whenever the last run was."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    assert is_listing_due(None if ago is None else noon - ago, DAY, noon) is expected


def test_the_folder_of_announced_keys_is_no_run(sensed: Sensed, container: ContainerClient) -> None:
    """It lies beside the DAGs' folders, so no deletion of old runs takes it."""
    sensed.announced(lambda announced: announced.add([AnnouncedLine("in/a")], NOW))
    (name,) = container.list_blob_names()
    root, folder, dag_id, waiting, batch = name.split("/")
    assert (root, folder, id_of(dag_id), waiting) == ("_s3_to_azure", "~events", sensed.dag_id, "waiting")
    assert json.dumps(batch).isascii()
