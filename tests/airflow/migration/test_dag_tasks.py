"""The plan's and the report's task, on a local Azure, without a DAG around them."""

import json
import logging
import threading
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from unittest.mock import Mock

import pytest
from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException
from azure.storage.blob import ContainerClient
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from s3_to_azure.airflow.azure_hook import azure_service
from s3_to_azure.airflow.migration import dag_tasks
from s3_to_azure.airflow.migration.dag_tasks import RunSettings, plan_run, plan_settings, report_run, stop_of
from s3_to_azure.airflow.migration.run_state import PLAN_KEY, REPORT_KEY
from s3_to_azure.model.errors import Cancelled, ContainerNotFound, CorruptState, SomeObjectsFailed, UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.runs.certificate import read_certificate
from s3_to_azure.runs.signatures import PublicKey
from s3_to_azure.state.manifest import write_manifest
from s3_to_azure.stores.azure.state import AzureState

PARAMS: dict[str, Any] = {
    "overwrite": "if_changed",
    "integrity": "auto",
    "include": None,
    "exclude": None,
    "refused_names": "fail",
    "max_tasks": 7,
    "dry_run": False,
}


class Task:
    """A task's context, and the XComs that it leaves.

    Args:
        report: The state of the report's task.
        given: XComs of other tasks, by task and key.
        params: The run's.
    """

    def __init__(
        self, report: str | None = None, given: Mapping[tuple[str, str], Any] | None = None, **params: Any
    ) -> None:
        self.xcoms: dict[str, Any] = {}
        there = given or {}
        instance = SimpleNamespace(
            dag_id="dag",
            run_id="manual__1",
            task_id="plan",
            map_index=-1,
            try_number=1,
            xcom_push=self.xcoms.__setitem__,
            xcom_pull=lambda task_ids, key="return_value": there.get((task_ids, key)),
            task=SimpleNamespace(),
            get_task_states=lambda **_: {"manual__1": {"report": report}},
        )
        dag_run = SimpleNamespace(run_type="scheduled", start_date=datetime.now(UTC))
        self.context = cast("Context", {"ti": instance, "dag_run": dag_run, "params": PARAMS | params})


@pytest.fixture
def settings(connections: dict[str, Any], container: ContainerClient) -> RunSettings:
    """Return the settings of a run into the container."""
    return RunSettings(
        s3_prefix="in/",
        container=container.container_name,
        blob_prefix="out/",
        wasb_conn_id=connections["wasb_conn_id"],
    )


@pytest.fixture
def pointer(settings: RunSettings) -> Iterator[dict[str, Any]]:
    """Write a listing of three objects; return the pointer to it, as the sensor does."""
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    listing = [ListedObject("bucket", f"in/{name}", "e", 5, moment) for name in ("a", "b", "c.tmp")]
    service = azure_service(settings.wasb_conn_id, connections=1)
    files = settings.files(service, Task().context)
    yield write_manifest(listing, files, bucket="bucket", prefix="in/").as_dict()
    service.close()


def test_the_plan_is_returned_as_batches_and_left_as_a_summary(settings: RunSettings, pointer: dict[str, Any]) -> None:
    """Airflow maps the copies over what is returned; the Migration page shows the summary."""
    task = Task(exclude=["*.tmp"])
    (batch,) = plan_run(pointer, settings, task.context)
    assert (batch["objects"], batch["size_bytes"]) == (2, 10)
    summary = task.xcoms[PLAN_KEY]
    assert (summary["listed"]["objects"], summary["copy"]["objects"], summary["batches"]) == (3, 2, 1)
    assert (summary["container"], summary["blob_prefix"]) == (settings.container, "out/")
    assert summary["dry_run"] is False


@pytest.mark.parametrize(
    ("extra", "given", "code"),
    [
        ({}, {}, ""),
        ({"endpoint_url": "http://10.0.0.1:9000"}, {}, "private_endpoint"),
        ({"service_config": {"s3": {"endpoint_url": "https://minio:9000"}}}, {}, "private_endpoint"),
        ({"sse_customer_key": "AAAA"}, {}, "sse_c"),
        ({}, {"requester_pays": True}, "requester_paid"),
        ({}, {"extra_args": {"SSECustomerKey": "AAAA"}}, "sse_c"),
    ],
)
def test_the_plan_says_what_azure_can_fetch(
    extra: dict[str, Any],
    given: dict[str, Any],
    code: str,
    settings: RunSettings,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It reads the connection of S3 and the migration's arguments, without S3's SDK and without a request to it."""
    monkeypatch.setenv("AIRFLOW_CONN_FAR", json.dumps({"conn_type": "aws", "extra": extra}))
    service = azure_service(settings.wasb_conn_id, connections=1)
    task = Task(via="auto")
    listing = [ListedObject("bucket", "in/a", "e", 100 * MIB, datetime(2026, 1, 1, tzinfo=UTC))]
    manifest = write_manifest(listing, settings.files(service, task.context), bucket="bucket", prefix="in/")
    plan_run(manifest.as_dict(), replace(settings, aws_conn_id="far", s3_extra_args=given), task.context)
    summary = task.xcoms[PLAN_KEY]
    assert summary["via"] == "auto"
    assert summary["fetched"]["objects"] == (not code)
    assert summary["not_fetched"] == ({code: {"objects": 1, "size_bytes": 100 * MIB}} if code else {})
    service.close()


def test_a_plan_stands_once_the_report_is_final(
    settings: RunSettings, pointer: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A plan task that alone is cleared would plan objects that no task copies and no report mentions."""
    first, again, cleared = Task(), Task(report="success"), Task(report=None, exclude=["*.tmp"])
    batches = plan_run(pointer, settings, first.context)
    assert plan_run(None, settings, again.context) == batches
    assert again.xcoms == first.xcoms
    assert "To plan again, clear report too" in caplog.text
    assert plan_run(pointer, settings, cleared.context) != batches
    assert cleared.xcoms[PLAN_KEY]["plan"] != first.xcoms[PLAN_KEY]["plan"]


@pytest.mark.parametrize(("started", "level"), [(0, logging.WARNING), (3, logging.INFO)])
def test_the_plan_warns_of_a_pool_that_has_served_no_copy(
    started: int, level: int, settings: RunSettings, pointer: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Airflow 3 tells no task whether a pool exists, and no task's log why a copy does not start."""
    task = Task()
    ask = Mock(return_value=started)
    task.context["ti"].get_ti_count = ask  # type: ignore[method-assign]
    with caplog.at_level(logging.INFO):
        plan_run(pointer, replace(settings, pool="transfers"), task.context)
        (told,) = [record for record in caplog.records if "airflow pools set transfers" in record.getMessage()]
        caplog.clear()
        plan_run(pointer, settings, task.context)
        plan_run(pointer, replace(settings, pool="default_pool"), task.context)
        plan_run(pointer, replace(settings, pool="transfers"), Task(exclude=["*"]).context)
    assert told.levelno == level
    ask.assert_called_with(dag_id="dag", task_ids=["copy"], states=["running", "success", "failed", "up_for_retry"])
    assert "pool" not in caplog.text


def test_the_plan_fails_if_the_pool_does_not_exist(
    settings: RunSettings, pointer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow 2 tells a task; the copies would wait for ever. A dry run needs no pool."""
    monkeypatch.setattr(dag_tasks, "is_missing_pool", lambda name: name == "transfers")
    with pytest.raises(UsageError, match=r"There is no pool 'transfers'.*airflow pools set transfers 8.*clear this"):
        plan_run(pointer, replace(settings, pool="transfers"), Task().context)
    assert plan_run(pointer, replace(settings, pool="other"), Task().context)
    assert plan_run(pointer, replace(settings, pool="transfers"), Task(dry_run=True).context) == []


def test_the_plan_warns_of_another_dag_that_writes_the_same_blobs(
    settings: RunSettings, pointer: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever files the DAGs are in; the Migration page shows it too, and both are planned."""
    first, second = Task(), Task()
    second.context["ti"].dag_id = "other.dag"
    listed = ListedObject("bucket", "d", "e", 5, datetime(2026, 1, 1, tzinfo=UTC))
    with closing(azure_service(settings.wasb_conn_id, connections=1)) as service:
        files = settings.files(service, second.context)
        listing = write_manifest([listed], files, bucket="bucket", prefix="").as_dict()
    plan_run(pointer, settings, first.context)
    assert plan_run(listing, replace(settings, s3_prefix=""), second.context)
    (warning,) = second.xcoms[PLAN_KEY]["warnings"]
    assert warning.startswith("'other.dag' ('s3://bucket/' to 'az://")
    assert "can write the same blobs as 'dag': 's3://bucket/in/' to 'az://" in warning
    assert warning in caplog.text
    assert first.xcoms[PLAN_KEY]["warnings"] == []


def test_without_a_plan_the_first_one_is_made_whatever_became_of_the_report(
    settings: RunSettings, pointer: dict[str, Any]
) -> None:
    """The report of a run whose plan failed is final too."""
    assert plan_run(pointer, settings, Task(report="failed").context)


def test_a_run_that_is_too_old_is_not_planned(settings: RunSettings, pointer: dict[str, Any]) -> None:
    """What its copies would do would end at once."""
    task = Task()
    task.context["dag_run"] = cast("Any", SimpleNamespace(start_date=datetime(2026, 1, 1, tzinfo=UTC)))
    with pytest.raises(UsageError, match="dagrun_timeout"):
        plan_run(pointer, replace(settings, run_timeout=timedelta(days=1)), task.context)


def test_a_dry_run_returns_no_batch(
    settings: RunSettings, pointer: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """Its plan is in the log and in the summary."""
    task = Task(dry_run=True)
    with caplog.at_level(logging.INFO):
        assert plan_run(pointer, settings, task.context) == []
    assert task.xcoms[PLAN_KEY]["dry_run"] is True
    assert task.xcoms[PLAN_KEY]["copy"]["objects"] == 3
    assert "Dry run: nothing is copied" in caplog.messages


def test_a_dry_run_has_no_report(settings: RunSettings, pointer: dict[str, Any]) -> None:
    """It is skipped, not successful: its success would say that the data has arrived."""
    task = Task(dry_run=True)
    with pytest.raises(AirflowSkipException, match="the plan is in the log of the task plan"):
        report_run(pointer, settings, task.context, keep_state_days=None)
    assert task.xcoms == {REPORT_KEY: {"dry_run": True}}


def test_the_report_of_a_failed_run_is_left_as_a_summary(
    settings: RunSettings, pointer: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """A failed task returns nothing. Here no copy has run, so no object has a receipt."""
    plan_run(pointer, settings, Task().context)
    task = Task()
    with caplog.at_level(logging.INFO), pytest.raises(SomeObjectsFailed):
        report_run(pointer, settings, task.context, keep_state_days=30)
    summary = task.xcoms[REPORT_KEY]
    assert (summary["listed"]["objects"], summary["failed"]["objects"]) == (3, 3)
    assert "Listed:    3 objects (15 bytes)" in caplog.messages
    assert any("such as 'in/a': no_receipt" in line for line in caplog.messages)


def test_the_report_is_of_the_plan_that_was_mapped(settings: RunSettings, pointer: dict[str, Any]) -> None:
    """A plan that was taken for dead, and goes on, makes itself the current one; Airflow keeps that of the next try."""
    mapped, zombie = Task(), Task(exclude=["a"])
    batches = plan_run(pointer, settings, mapped.context)
    plan_run(pointer, settings, zombie.context)
    report = Task(given={("plan", "return_value"): batches})
    with pytest.raises(SomeObjectsFailed):
        report_run(pointer, settings, report.context, keep_state_days=None)
    assert report.xcoms[REPORT_KEY]["failed"]["objects"] == 3
    assert report.xcoms[REPORT_KEY]["plan"] == mapped.xcoms[PLAN_KEY]["plan"]
    # The report's plan stands, whichever is the current one.
    again = Task(report="failed", given={("report", REPORT_KEY): report.xcoms[REPORT_KEY]})
    assert plan_run(pointer, settings, again.context) == batches
    assert again.xcoms == mapped.xcoms


def test_two_deployments_with_the_same_ids_do_not_mix_their_runs(settings: RunSettings) -> None:
    """They share a state container, so both runs have one folder: each counts what its own tasks were told."""
    service = azure_service(settings.wasb_conn_id, connections=1)
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    runs = []
    for count in (1, 2):
        listing = [ListedObject("bucket", f"in/{number}", "e", 5, moment) for number in range(count)]
        files = settings.files(service, Task().context)
        runs.append(write_manifest(listing, files, bucket="bucket", prefix="in/").as_dict())
    batches = [plan_run(pointer, settings, Task().context) for pointer in runs]
    for index in (0, 1):
        report = Task(given={("plan", "return_value"): batches[index]})
        with pytest.raises(SomeObjectsFailed):
            report_run(runs[index], settings, report.context, keep_state_days=None)
        summary = report.xcoms[REPORT_KEY]
        assert (summary["listed"]["objects"], summary["plan"]) == (index + 1, batches[index][0]["plan"])
    service.close()


def test_old_runs_are_deleted_unless_airflow_calls_them_unfinished(
    settings: RunSettings, pointer: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A copy of days writes no file meanwhile."""
    asked: list[bool | None] = []

    def delete(_: AzureState, moment: datetime, *, is_over: Any) -> int:
        assert moment < datetime.now(UTC) - timedelta(days=29)
        asked.extend(is_over(run_id) for run_id in ("running", "success"))
        return 0

    monkeypatch.setattr(AzureState, "delete_runs_before", delete)
    plan_run(pointer, settings, Task().context)
    task = Task()
    cast("Any", task.context["ti"]).get_dagrun_state = lambda *, dag_id, run_id: run_id
    with pytest.raises(SomeObjectsFailed):
        report_run(pointer, settings, task.context, keep_state_days=30)
    assert asked == [False, True]


@pytest.mark.parametrize(
    ("name", "run"),
    [("make_plan", plan_run), ("make_report", lambda *arguments: report_run(*arguments, keep_state_days=None))],
)
def test_a_plan_and_a_report_end_when_they_are_killed(
    settings: RunSettings, pointer: dict[str, Any], monkeypatch: pytest.MonkeyPatch, name: str, run: Any
) -> None:
    """Whatever their requests wait for: Airflow calls ``on_kill`` in a signal handler."""
    killed = Task()

    def hang(*_: Any, **__: Any) -> None:
        cast("Any", killed.context["ti"]).task.on_kill()
        threading.Event().wait()

    monkeypatch.setattr(dag_tasks, name, hang)
    monkeypatch.setattr(dag_tasks, "TASK_GRACE_S", 0.01)
    with pytest.raises(Cancelled):
        run(pointer, settings, killed.context)


def test_the_report_of_a_good_run_is_returned(settings: RunSettings, container: ContainerClient) -> None:
    """A run without objects accounts for all of them."""
    service = azure_service(settings.wasb_conn_id, connections=1)
    pointer = write_manifest([], settings.files(service, Task().context), bucket="bucket", prefix="in/").as_dict()
    service.close()
    task = Task()
    assert plan_run(pointer, settings, task.context) == []
    summary = report_run(pointer, settings, task.context, keep_state_days=None)
    assert (summary["listed"]["objects"], summary["failed"]["objects"]) == (0, 0)
    assert REPORT_KEY not in task.xcoms
    assert any(name.endswith("/report.json") for name in container.list_blob_names())


def test_the_certificate_is_signed_by_the_migrations_key(
    settings: RunSettings, pointer: dict[str, Any], container: ContainerClient, tmp_path: Path
) -> None:
    """It names the account without a secret; a plan whose key cannot be read copies nothing."""
    key = Ed25519PrivateKey.generate()
    path = tmp_path / "signing.pem"
    signed = replace(settings, signing_key=str(path))
    with pytest.raises(UsageError, match="cannot read the signing key"):
        plan_run(pointer, signed, Task().context)
    assert not any("/plan" in name for name in container.list_blob_names())
    path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    plan_run(pointer, signed, Task().context)
    with pytest.raises(SomeObjectsFailed):
        report_run(pointer, signed, Task().context, keep_state_days=None)
    (name,) = (name for name in container.list_blob_names() if name.endswith("/certificate.json"))
    found = read_certificate(container.download_blob(name).readall(), PublicKey.of(key.public_key()))
    assert found.values["account"] in container.url
    assert (found.values["source"], found.receipts) == ("s3://bucket/in/", 3)


def test_a_kill_between_two_parts_of_a_task_is_remembered() -> None:
    """The second part does not begin."""
    task = Task()
    assert not stop_of(task.context).is_set()
    cast("Any", task.context["ti"]).task.on_kill()
    assert stop_of(task.context).is_set()


@pytest.mark.parametrize("run", [plan_run, lambda *arguments: report_run(*arguments, keep_state_days=None)])
def test_a_run_without_a_listing_names_the_task_to_look_at(run: Any, settings: RunSettings) -> None:
    """Airflow runs the report after a sensor that failed, too."""
    with pytest.raises(CorruptState, match="the log of the task wait_for_objects says why"):
        run(None, settings, Task().context)


def test_a_missing_container_is_named(settings: RunSettings, pointer: dict[str, Any]) -> None:
    """The plan looks before anything else is done."""
    missing = RunSettings("in/", "no-such-container", "out/", settings.wasb_conn_id, settings.container)
    with pytest.raises(ContainerNotFound, match="no-such-container"):
        plan_run(pointer, missing, Task().context)


def test_a_state_container_of_its_own(settings: RunSettings) -> None:
    """Without one, the state files are in the destination's container."""
    service = azure_service(settings.wasb_conn_id, connections=1)
    own = RunSettings("in/", "target", "out/", settings.wasb_conn_id, state_container="state")
    assert own.files(service, Task().context).location.startswith("state/")
    assert settings.files(service, Task().context).location.startswith(f"{settings.container}/")
    service.close()


def test_the_plans_settings_are_the_migrations_and_the_runs() -> None:
    """Sizes are read from text; patterns come from the Params, sizes and dates from the migration."""
    run = RunSettings(
        *("in/", "target", "out/", "wasb"),
        memory_budget="64MiB",
        block_size="8MiB",
        split_size="1GiB",
        task_size="2MiB",
        fidelity={"archived": "restore"},
        filters={"min_size": "3"},
    )
    plan = plan_settings(
        run,
        PARAMS
        | {"overwrite": "never", "include": ["*.csv"], "refused_names": "map", "integrity": "md5", "via": "auto"},
    )
    assert plan.via == "auto"
    assert plan_settings(run, PARAMS).via == "worker", "as runs of before this Param are planned"
    assert (plan.s3_prefix, plan.blob_prefix, plan.overwrite, plan.refused_names) == ("in/", "out/", "never", "map")
    assert plan.integrity == "md5"
    assert (plan.memory_budget_bytes, plan.block_bytes) == (64 * MIB, 8 * MIB)
    assert (plan.split_bytes, plan.batch_bytes, plan.max_tasks) == (1024 * MIB, 2 * MIB, 7)
    assert (plan.archived, plan.filters.include, plan.filters.min_size_bytes) == ("restore", ("*.csv",), 3)
    assert plan_settings(RunSettings("in/", "target", "out/", "wasb"), PARAMS).block_bytes is None
    with pytest.raises(UsageError, match="split_size"):
        plan_settings(RunSettings("in/", "target", "out/", "wasb", split_size="much"), PARAMS)
