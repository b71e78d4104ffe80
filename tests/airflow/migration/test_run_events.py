"""What a report does with announced keys: it settles those of its run, and counts what no event announced."""

from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException
from azure.storage.blob import ContainerClient

from s3_to_azure.airflow.azure_hook import announced_keys, azure_service
from s3_to_azure.airflow.migration.dag_tasks import RunSettings, plan_run, report_run
from s3_to_azure.airflow.migration.params import RunLimits, migration_params
from s3_to_azure.airflow.migration.run_events import RunEvents
from s3_to_azure.airflow.migration.run_state import PLAN_KEY, REPORT_KEY
from s3_to_azure.state.announced import AnnouncedKeys, AnnouncedLine
from s3_to_azure.state.manifest import ManifestPointer, write_manifest
from tests.airflow.migration.test_dag_tasks import Task
from tests.fakes.state_memory import MemoryState

BEGAN = datetime(2026, 3, 2, 2, tzinfo=UTC)
DAY = timedelta(days=1)


def events_of(announced: AnnouncedKeys, *, began: datetime = BEGAN, is_listing: bool = True) -> RunEvents:
    """Return the events of a run."""
    return RunEvents(announced, "run", began, is_listing)


def test_a_listing_is_compared_with_the_events_since_the_previous_one() -> None:
    """The first one has no previous one; a report that is repeated finds the same one."""
    announced = AnnouncedKeys(MemoryState())
    first = events_of(announced)
    assert first.missed() is None
    first.settle()
    second = events_of(announced, began=BEGAN + DAY)
    for _ in range(2):
        assert second.missed() is not None
        second.settle()
    assert announced.listed_at() == BEGAN + DAY


def test_a_run_of_events_settles_what_it_took() -> None:
    """And it says nothing of listings."""
    announced = AnnouncedKeys(MemoryState())
    announced.add([AnnouncedLine("a")], BEGAN)
    announced.take("run", is_over=lambda _: False, now=BEGAN)
    events = events_of(announced, is_listing=False)
    assert events.missed() is None
    events.settle()
    assert announced.listed_at() is None
    assert list(announced.lines("run")) == []


@pytest.mark.parametrize(
    ("run_type", "changed", "looked_up", "expected"),
    [
        ("scheduled", {}, False, True),
        ("scheduled", {"prefix": "part/"}, False, True),
        ("manual", {}, False, True),
        ("manual", {"exclude": [], "max_tasks": 3}, False, True),
        ("manual", {"prefix": "part/"}, False, False),
        ("manual", {"include": ["*.csv"]}, False, False),
        ("manual", {"exclude": ["*.csv"]}, False, False),
        ("manual", {"max_size": "1KiB"}, False, False),
        ("manual", {"modified_after": "24h"}, False, False),
        ("manual", {"overwrite": "never"}, False, False),
        ("manual", {"refused_names": "skip"}, False, False),
        ("asset_triggered", {}, True, False),
    ],
)
def test_only_a_listing_of_all_is_one(
    run_type: str,
    changed: dict[str, Any],
    looked_up: bool,
    expected: bool,
    connections: dict[str, Any],
    container: ContainerClient,
) -> None:
    """A part that somebody lists by hand says nothing of the rest; what a DAG's author has set is all of it."""
    manifest = write_manifest([], MemoryState(), bucket="bucket", prefix="", looked_up=looked_up)
    usual = migration_params(
        overwrite="if_changed",
        integrity="auto",
        via="worker",
        refused_names="fail",
        include=[],
        exclude=[],
        max_tasks=500,
        objects_at_once=64,
        bandwidth_limit=None,
    )
    context = cast(
        "Context",
        {
            "ti": SimpleNamespace(dag_id="dag", run_id="run"),
            "dag_run": SimpleNamespace(run_type=run_type, start_date=BEGAN),
            "params": {name: param.value for name, param in usual.items()} | changed,
        },
    )
    with closing(azure_service(connections["wasb_conn_id"], connections=1)) as service:
        events = RunEvents.of(service, container.container_name, manifest, context, limits=RunLimits.of(usual))
    assert (events.is_listing, events.began, events.run_id) == (expected, BEGAN, "run")


def test_a_run_to_which_nothing_was_left_updates_no_asset(
    connections: dict[str, Any], container: ContainerClient
) -> None:
    """Its report is skipped, as that of a dry run, and the check of the report finds it all the same."""
    settings = RunSettings(
        s3_prefix="in/",
        container=container.container_name,
        blob_prefix="out/",
        wasb_conn_id=connections["wasb_conn_id"],
        has_events=True,
    )
    planned, reported = Task(), Task()
    with closing(azure_service(settings.wasb_conn_id, connections=1)) as service:
        files = settings.files(service, planned.context)
        pointer: ManifestPointer = write_manifest([], files, bucket="bucket", prefix="in/", looked_up=True)
        announced = announced_keys(service, container.container_name, "dag")
        announced.add([AnnouncedLine("in/gone")], BEGAN)
        announced.take("manual__1", is_over=lambda _: False, now=BEGAN)
        assert plan_run(pointer.as_dict(), settings, planned.context) == []
        with pytest.raises(AirflowSkipException):
            report_run(pointer.as_dict(), settings, reported.context, keep_state_days=None)
        assert reported.xcoms[REPORT_KEY]["plan"] == planned.xcoms[PLAN_KEY]["plan"]
        assert list(announced.lines("manual__1")) == []
        # Without events, an empty list of keys is a report like any other.
        assert report_run(
            pointer.as_dict(), replace(settings, has_events=False), reported.context, keep_state_days=None
        )
