"""The sensor in real Airflow."""

import logging
import re
import threading
from contextlib import closing
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import pytest
from airflow.sdk import DAG
from azure.storage.blob import BlobServiceClient, ContainerClient

from s3_to_azure.airflow.progress import WAITING_KEY
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.names import id_of
from s3_to_azure.sensors import S3ObjectsSensor
from s3_to_azure.state.manifest import ManifestPointer, read_manifest
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.state import AzureState
from tests.airflow.airflow_runs import Run, run_dag
from tests.inventories import Inventory, row


@pytest.fixture
def sense(connections: dict[str, Any], bucket: str) -> Any:
    """Return a function that runs one sensor, as task ``wait`` of a DAG of its own; by default it pokes once."""

    def run(**arguments: Any) -> Run:
        usual: dict[str, Any] = {"bucket_name": bucket, "prefix": "in/", "timeout": 0, "retries": 0, "mode": "poke"}
        with DAG(f"sensor-{uuid4().hex}", schedule=None, start_date=datetime(2026, 1, 1, tzinfo=UTC)) as dag:
            S3ObjectsSensor(task_id="wait", **(connections | usual | arguments))
        return run_dag(dag)

    return run


@pytest.fixture
def fill(s3_client: Any, bucket: str) -> Any:
    """Return a function that writes objects."""

    def write(*keys: str) -> None:
        for key in keys:
            s3_client.put_object(Bucket=bucket, Key=key, Body=key.encode())

    return write


def test_writes_the_listing_once_it_is_there(
    sense: Any, fill: Any, bucket: str, container: ContainerClient, blob_service: BlobServiceClient
) -> None:
    """The XCom points to a listing of all objects below the prefix, in the run's state files."""
    fill("in/a", "in/b", "in/../c", "out/d")
    ran = sense(state_container=container.container_name)
    pointer = ManifestPointer.from_dict(ran.only("wait").xcom)
    assert (pointer.bucket, pointer.prefix, pointer.objects) == (bucket, "in/", 3)
    folder = next(iter(container.list_blob_names())).split("/")[1:3]
    dag_id, run_id = (id_of(part) for part in folder)
    with closing(service_client(blob_service, connections=1)) as service:
        state = AzureState(service, container.container_name, dag_id=dag_id, run_id=run_id)
        assert sorted(listed.key for listed in read_manifest(state, pointer)) == ["in/../c", "in/a", "in/b"]


def test_without_state_it_only_waits(sense: Any, fill: Any) -> None:
    """Without a state container it needs no Azure connection."""
    fill("in/a")
    task = sense(wasb_conn_id="not_there").only("wait")
    assert (task.state, task.xcom) == ("success", None)


@pytest.mark.parametrize(("min_objects", "state"), [(1, "success"), (2, "success"), (3, "failed")])
def test_waits_for_enough(min_objects: int, state: str, sense: Any, fill: Any) -> None:
    """It waits while there are fewer than ``min_objects``, until the timeout."""
    fill("in/a", "in/b", "out/c")
    assert sense(min_objects=min_objects).only("wait").state == state


def test_a_poke_lists_no_more_than_it_needs(sense: Any, fill: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A poke requests as many keys as it has to count, and no second page."""
    fill(*(f"in/{number}" for number in range(5)))
    with caplog.at_level(logging.DEBUG, logger="urllib3.connectionpool"):
        sense(min_objects=2)
    listings = [record.getMessage() for record in caplog.records if "list-type=2" in record.getMessage()]
    assert len(listings) == 1
    assert "max-keys=2" in listings[0]


def test_patterns_say_what_counts(sense: Any, fill: Any) -> None:
    """Objects that the patterns leave out are not counted."""
    fill("in/a.csv", "in/b.tmp")
    assert sense(include=["*.csv"]).only("wait").state == "success"
    assert sense(include=["*.csv"], min_objects=2).only("wait").state == "failed"
    assert sense(exclude=["*.tmp"], min_objects=2).only("wait").state == "failed"


def test_a_list_of_keys(sense: Any, fill: Any, s3_client: Any, bucket: str, container: ContainerClient) -> None:
    """It waits for the list; the listing holds every key of the list, also those that do not exist."""
    place: dict[str, Any] = {"keys_from": f"s3://{bucket}/lists/{{{{ 1 + 1 }}}}.txt"}
    fill("in/a", "in/b", "lists/2.txt.old")
    assert sense(**place).only("wait").state == "failed"
    s3_client.put_object(Bucket=bucket, Key="lists/2.txt", Body=b"in/b\nin/gone\nin/b\n")
    task = sense(**place, state_container=container.container_name).only("wait")
    assert (task.state, task.xcom["objects"], task.xcom["ordered"], task.xcom["looked_up"]) == (
        "success",
        2,
        True,
        True,
    )


def test_a_list_deferred(
    sense: Any, fill: Any, fill_while_deferred: Any, bucket: str, container: ContainerClient
) -> None:
    """The trigger waits for the key of the list, not for another one that begins with it."""
    fill("in/a", "lists/k[1].txt.old")
    fill_while_deferred("lists/k[1].txt")
    place: dict[str, Any] = {"keys_from": f"s3://{bucket}/lists/k[1].txt", "prefix": "", "allow_empty": False}
    task = sense(
        **place, deferrable=True, poke_interval=0.5, timeout=60, state_container=container.container_name
    ).only("wait")
    assert (task.state, task.xcom["objects"]) == ("success", 1)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"keys_from": "s3://other/keys.txt"}, "own bucket"),
        ({"keys_from": "keys.txt"}, "is not an S3 address"),
        ({"keys_from": "s3://bucket/lists/"}, "is not an object in the source's own bucket"),
        ({"keys_from": "s3://bucket/keys.txt", "min_objects": 2}, "cannot be combined with min_objects"),
    ],
)
def test_wrong_lists(wrong: dict[str, Any], says: str) -> None:
    """The list must be an object in the bucket that is copied from."""
    with pytest.raises(UsageError, match=says):
        S3ObjectsSensor(task_id="wait", bucket_name="bucket", **wrong)


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"checksums_from": "s3://reports/job/manifest.json"}, "pass state_container too"),
        ({"checksums_from": "s3://reports/job/", "state_container": "state"}, "Name the manifest.json"),
        ({"checksums_from": "manifest.json", "state_container": "state"}, "is not an S3 address"),
        ({"checksums_from": 3, "state_container": "state"}, "is not a text"),
    ],
)
def test_wrong_reports(wrong: dict[str, Any], says: str) -> None:
    """When the DAG is parsed; a template is checked when it is rendered."""
    with pytest.raises(UsageError, match=says):
        S3ObjectsSensor(task_id="wait", bucket_name="bucket", **wrong)
    S3ObjectsSensor(task_id="wait", bucket_name="bucket", checksums_from="{{ ds }}", state_container="state")


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"inventory": "s3://reports/c/"}, "pass state_container too"),
        ({"inventory": "s3://reports/a.csv", "state_container": "state"}, "is not the address of an S3 Inventory"),
        ({"inventory": "s3://reports/c/", "keys_from": "s3://bucket/k"}, "inventory cannot be combined with keys_from"),
        ({"inventory": "s3://reports/c/", "include": ["*.csv"]}, "inventory cannot be combined with min_objects"),
    ],
)
def test_wrong_inventories(wrong: dict[str, Any], says: str) -> None:
    """When the DAG is parsed; a template is checked when it is rendered."""
    with pytest.raises(UsageError, match=says):
        S3ObjectsSensor(task_id="wait", bucket_name="bucket", **wrong)
    S3ObjectsSensor(task_id="wait", bucket_name="bucket", inventory="{{ ds }}", state_container="state")


@pytest.fixture
def inventory(s3_client: Any, bucket: str) -> Any:
    """Return an inventory of two objects that S3 is still writing, and what finishes it."""
    made = Inventory(bucket, bucket).add("a.csv.gz", [row(bucket, "in/a"), row(bucket, "in/b")])
    *others, last = sorted(made.objects().items(), key=lambda item: item[0].endswith("manifest.checksum"))
    for key, data in others:
        s3_client.put_object(Bucket=bucket, Key=key, Body=data)
    return made, lambda: s3_client.put_object(Bucket=bucket, Key=last[0], Body=last[1])


def test_an_inventory_is_read_instead_of_a_listing(
    sense: Any, inventory: Any, bucket: str, container: ContainerClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Its time goes with the listing; the source is not listed."""
    made, finish = inventory
    finish()
    place = {"inventory": f"s3://{bucket}/{made.folder}", "state_container": container.container_name}
    with caplog.at_level(logging.DEBUG, logger="urllib3.connectionpool"):
        task = sense(**place).only("wait")
    assert (task.state, task.xcom["objects"], task.xcom["looked_up"]) == ("success", 2, False)
    assert task.xcom["inventoried_at"] == "2026-11-27T01:00:00+00:00"
    listings = [record.getMessage() for record in caplog.records if "list-type=2" in record.getMessage()]
    assert listings
    assert all("prefix=inventories" in listing for listing in listings)
    assert any("has 2 rows: 2 current objects below the prefix" in message for message in caplog.messages)


def test_an_inventory_that_is_not_finished_is_not_an_empty_one(
    sense: Any, inventory: Any, bucket: str, container: ContainerClient
) -> None:
    """The sensor waits for it, also where it accepts an empty listing."""
    made, finish = inventory
    place = {"inventory": f"s3://{bucket}/{made.folder}", "state_container": container.container_name}
    assert sense(**place, allow_empty=True, soft_fail=True).only("wait").state == "skipped"
    finish()
    task = sense(**place, allow_empty=True).only("wait")
    assert (task.state, task.xcom["objects"]) == ("success", 2)


def test_an_inventory_deferred(
    sense: Any, inventory: Any, bucket: str, container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The trigger waits until S3 has finished it."""
    made, finish = inventory
    defer = S3ObjectsSensor._defer

    def finish_and_defer(self: S3ObjectsSensor) -> None:
        threading.Timer(1.0, finish).start()
        defer(self)

    monkeypatch.setattr(S3ObjectsSensor, "_defer", finish_and_defer)
    place = {"inventory": f"s3://{bucket}/{made.folder}", "state_container": container.container_name}
    task = sense(**place, deferrable=True, poke_interval=0.5, timeout=60).only("wait")
    assert (task.state, task.xcom["objects"]) == ("success", 2)


@pytest.mark.parametrize("waits", ["{{ 1 == 2 }}", False])
def test_a_run_that_is_started_by_hand_can_look_once(waits: Any, sense: Any, fill: Any) -> None:
    """A prefix typed wrong fails at once instead of waiting, and is not retried; a right one is listed."""
    fill("in/a")
    patient = {"timeout": 3_600, "poke_interval": 600, "retries": 3, "manual_runs_wait": waits}
    task = sense(prefix="typo/", **patient).only("wait")
    assert (task.state, task.try_number) == ("failed", 1)
    assert sense(prefix="typo/", deferrable=True, **patient).only("wait").state == "failed"
    assert sense(min_objects=2, **patient).only("wait").state == "failed"
    assert sense(**patient).only("wait").state == "success"
    assert sense(prefix="typo/", allow_empty=True, **patient).only("wait").state == "success"


def test_looking_once_names_the_prefix_and_how_to_wait(connections: dict[str, Any], bucket: str) -> None:
    """Only a run that was started by hand looks once."""
    sensor = S3ObjectsSensor(
        task_id="wait", bucket_name=bucket, prefix="typo/", manual_runs_wait=False, mode="poke", **connections
    )
    context: Any = {"ti": _Instance(), "dag_run": SimpleNamespace(run_type="manual")}
    with pytest.raises(UsageError, match=rf"0 of 1 object below 'typo/' in S3 bucket {bucket}.*tick Wait"):
        sensor.poke(context)
    context["dag_run"].run_type = "scheduled"
    assert sensor.poke(context) is False


def test_a_waiting_sensor_shows_what_for_and_until_when(connections: dict[str, Any], bucket: str) -> None:
    """The Migration page has it from there: the rendered address, and the time at which the sensor gives up."""
    sensor = S3ObjectsSensor(task_id="wait", bucket_name=bucket, prefix="in/", timeout=60, **connections)
    instance = _Instance(since=datetime(2026, 1, 1, tzinfo=UTC))
    context: Any = {"ti": instance, "dag_run": SimpleNamespace(run_type="scheduled")}
    assert sensor.poke(context) is False
    waiting = instance.xcoms[WAITING_KEY]
    next_look_s = (datetime.fromisoformat(waiting.pop("next_look")) - datetime.now(UTC)).total_seconds()
    assert 0 < next_look_s <= sensor.poke_interval
    assert waiting == {
        "source": f"s3://{bucket}/in/",
        "found": "0 of 1 object",
        "until": "2026-01-01T00:01:00+00:00",
    }


def test_a_sensor_that_waits_for_an_inventory_shows_its_address(connections: dict[str, Any], bucket: str) -> None:
    """It is what has to come; the bucket may have any number of objects."""
    inventory = f"s3://{bucket}/inventories/nightly/"
    named: dict[str, Any] = {
        "task_id": "wait",
        "bucket_name": bucket,
        "inventory": inventory,
        "state_container": "state",
    }
    sensor = S3ObjectsSensor(**named, **connections)
    instance = _Instance(since=datetime(2026, 1, 1, tzinfo=UTC))
    context: Any = {"ti": instance, "dag_run": SimpleNamespace(run_type="scheduled")}
    assert sensor.poke(context) is False
    waiting = instance.xcoms[WAITING_KEY]
    assert (waiting["source"], waiting["found"]) == (inventory, "")


class _Instance:
    """A task instance of the sensor, and what it leaves."""

    def __init__(self, since: datetime | None = None) -> None:
        self.xcoms: dict[str, Any] = {}
        self.try_number = 1
        self.start_date: datetime | None = None
        self._since = since

    def get_first_reschedule_date(self, _context: Any) -> datetime | None:
        """Return when the first poke was."""
        return self._since

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep the value."""
        self.xcoms[key] = value


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"bucket_name": "s3://bucket"}, "'s3://bucket' is not a bucket name"),
        ({"bucket_name": 7}, "bucket_name=7 is not a text"),
        ({"state_container": "az://c"}, "'az://c' is not a container name"),
        ({"include": "*.csv"}, "include='*.csv' is not a list of texts"),
        ({"prefix": None}, "prefix=None is not a text"),
        ({"allow_empty": "yes"}, "allow_empty='yes' is not True or False"),
        ({"min_objects": "2"}, "min_objects='2' is not a whole number"),
        ({"deferrable": 1}, "deferrable=1 is not True or False"),
    ],
)
def test_a_wrong_argument_shows_when_the_dag_is_parsed(wrong: dict[str, Any], says: str) -> None:
    """No run has to start first."""
    with pytest.raises(UsageError, match=re.escape(says)):
        S3ObjectsSensor(**({"task_id": "wait", "bucket_name": "bucket"} | wrong))


def test_soft_fail_skips_at_the_timeout(sense: Any) -> None:
    """``soft_fail`` and ``timeout`` work as in every Airflow sensor."""
    assert sense(soft_fail=True).only("wait").state == "skipped"


def test_an_empty_listing(sense: Any, container: ContainerClient) -> None:
    """With ``allow_empty`` it does not wait, and the listing is empty."""
    task = sense(allow_empty=True, state_container=container.container_name).only("wait")
    assert (task.state, task.xcom["objects"]) == ("success", 0)


def test_wrong_bucket_fails_at_once(sense: Any) -> None:
    """Neither waiting nor a retry helps if the bucket does not exist."""
    task = sense(bucket_name="no-such-bucket-here", timeout=60, retries=3).only("wait")
    assert (task.state, task.try_number) == ("failed", 1)


def test_reschedules(sense: Any, fill: Any) -> None:
    """By default it frees its worker slot between pokes."""
    threading.Timer(1.0, fill, ["in/late"]).start()
    task = sense(mode="reschedule", poke_interval=1, timeout=60).only("wait")
    assert (task.state, task.try_number) == ("success", 1)


@pytest.fixture
def fill_while_deferred(fill: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that has objects written two seconds after the sensor defers."""

    def later(*keys: str) -> None:
        defer = S3ObjectsSensor._defer

        def fill_and_defer(self: S3ObjectsSensor) -> None:
            threading.Timer(2.0, fill, keys).start()
            defer(self)

        monkeypatch.setattr(S3ObjectsSensor, "_defer", fill_and_defer)

    return later


def test_defers(
    sense: Any, fill_while_deferred: Any, container: ContainerClient, caplog: pytest.LogCaptureFixture
) -> None:
    """A deferred sensor waits in the triggerer, which only counts; afterwards the task makes the listing."""
    fill_while_deferred("in/a.tmp", "in/b.csv", "in/c.csv")
    with caplog.at_level(logging.INFO):
        ran = sense(
            deferrable=True,
            include=["*.csv"],
            min_objects=2,
            poke_interval=0.5,
            timeout=60,
            state_container=container.container_name,
        )
    task = ran.only("wait")
    assert (task.state, task.xcom["objects"]) == ("success", 3)
    assert any(
        record.name.startswith("airflow.sdk") and "trigger in line" in record.message for record in caplog.records
    )


def test_deferred_errors_are_named_by_the_task(sense: Any, monkeypatch: pytest.MonkeyPatch, bucket: str) -> None:
    """If the triggerer cannot read from S3, the task tries, so that its log has the usual error."""
    looks = iter([False])
    poke = S3ObjectsSensor.poke

    def first_in_vain(self: S3ObjectsSensor, context: Any) -> Any:
        return next(looks, True) and poke(self, context)

    monkeypatch.setattr(S3ObjectsSensor, "poke", first_in_vain)
    task = sense(bucket_name="no-such-bucket-here", deferrable=True, poke_interval=0.1, timeout=60, retries=3).only(
        "wait"
    )
    assert (task.state, task.try_number) == ("failed", 1)


def test_usage_error_shows_when_the_dag_is_parsed() -> None:
    """Each error names the argument and, where there is one, the alternative."""
    with pytest.raises(UsageError, match="allow_empty=True"):
        S3ObjectsSensor(task_id="wait", bucket_name="bucket", min_objects=0)
    with pytest.raises(UsageError, match="s3_extra_args"):
        S3ObjectsSensor(task_id="wait", bucket_name="bucket", deferrable=True, s3_extra_args={"region_name": "x"})
    assert S3ObjectsSensor(task_id="wait", bucket_name="bucket").mode == "reschedule"
