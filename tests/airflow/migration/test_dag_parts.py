"""The addresses of a migration, and the asset of its destination; test_dag.py runs the tasks."""

from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, AssetOrTimeSchedule
from airflow.serialization.serialized_objects import DagSerialization

from s3_to_azure.airflow.event_trigger import S3EventsTrigger
from s3_to_azure.airflow.migration.dag_arguments import WAIT
from s3_to_azure.airflow.migration.dag_parts import parse_addresses
from s3_to_azure.dag import migration_dag
from s3_to_azure.events import S3EventsSensor
from s3_to_azure.model.errors import NameRefused, UsageError

QUEUE = "https://sqs.us-east-1.amazonaws.com/123456789012/q"


def dag_of(**arguments: Any) -> DAG:
    """Return a migration with events."""
    return migration_dag("announced", "s3://bucket/in/", "az://container/out", events=QUEUE, **arguments)


def trigger_of(dag: DAG) -> Any:
    """Return the only trigger that watches an asset of the DAG's schedule."""
    (asset,) = dag.timetable.asset_condition.objects  # type: ignore[union-attr]
    (watcher,) = asset.watchers
    return watcher.trigger


def test_both_addresses_are_needed() -> None:
    """Without one of them there is no migration; its DAG says so when it runs."""
    assert parse_addresses(None, "az://container/x") is None
    assert parse_addresses("s3://bucket/x/", "") is None


def test_the_destination_is_an_asset_unless_its_name_is_made_later() -> None:
    """The asset's name must be known when the DAG is parsed."""
    found = parse_addresses("s3://bucket/in/", "az://container/out")
    assert found is not None
    assert [asset.uri for asset in found.assets] == ["x-az://container/out"]
    templated = parse_addresses("s3://bucket/in/", "az://container/{{ ds }}/")
    assert templated is not None
    assert templated.assets == []


@pytest.mark.parametrize(
    ("source", "destination"), [("s3://b/../x/", "az://container/x"), ("s3://bucket/", "az://c/../")]
)
def test_addresses_that_nothing_can_be_copied_from_or_to_are_refused(source: str, destination: str) -> None:
    """Before any run."""
    with pytest.raises((UsageError, NameRefused)):
        parse_addresses(source, destination)


def test_events_start_runs_beside_the_schedule() -> None:
    """The trigger knows which keys count, where they wait, and for which DAG; Airflow can store all of it."""
    dag = dag_of(schedule="@daily", state_container="state", aws_conn_id="aws", wasb_conn_id="wasb")
    assert isinstance(dag.timetable, AssetOrTimeSchedule)
    assert dag.timetable.timetable.expression == "0 0 * * *"  # type: ignore[attr-defined]
    path, arguments = trigger_of(dag).serialize()
    assert path == f"{S3EventsTrigger.__module__}.{S3EventsTrigger.__name__}"
    assert arguments == {
        "queue_url": QUEUE,
        "bucket_name": "bucket",
        "prefix": "in/",
        "dag_id": "announced",
        "state_container": "state",
        "aws_conn_id": "aws",
        "wasb_conn_id": "wasb",
        "s3_verify": None,
    }
    assert isinstance(dag.get_task(WAIT), S3EventsSensor)
    assert DagSerialization.to_dict(dag)["dag"]["timetable"]


def test_without_a_schedule_only_events_start_runs() -> None:
    """Their keys wait in the destination's container if there is no other."""
    assert trigger_of(dag_of()).state_container == "container"


def test_without_a_triggerer_each_run_reads_the_queue() -> None:
    """The schedule is the only thing that starts runs, and a wait lasts at least until the next listing."""
    dag = dag_of(schedule="*/5 * * * *", list_every=timedelta(days=1), wait_timeout=timedelta(hours=1))
    assert not isinstance(dag.timetable, AssetOrTimeSchedule)
    wait = dag.get_task(WAIT)
    assert isinstance(wait, S3EventsSensor)
    assert (wait.queue_url, wait.list_every) == (QUEUE, timedelta(days=1))
    assert wait.timeout >= timedelta(days=2).total_seconds()
