"""The task `compare` of a migration, in real Airflow, and when it is due."""

import logging
import threading
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from azure.storage.blob import ContainerClient

from s3_to_azure.airflow.azure_hook import announced_keys, azure_service
from s3_to_azure.airflow.migration import compare_task
from s3_to_azure.airflow.migration.compare_task import CompareSettings, LastComparison, compare_run
from s3_to_azure.airflow.migration.dag_tasks import RunSettings
from s3_to_azure.dag import migration_dag
from s3_to_azure.model.errors import Cancelled, PermanentError, UsageError
from s3_to_azure.runs import announced
from tests.airflow.airflow_runs import Run, run_dag
from tests.airflow.migration.test_dag_tasks import Task
from tests.fakes.state_memory import MemoryState

WEEK = timedelta(days=7)
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


def nights_that_compare(nights: list[datetime], every: timedelta, *, failed: Collection[int] = ()) -> list[int]:
    """Return the numbers of the nights in which a comparison is due; some of these comparisons fail."""
    last, due = LastComparison(MemoryState()), []
    for number, began in enumerate(nights):
        if last.is_due(f"run {number}", began, every):
            due.append(number)
            if number not in failed:
                last.write(f"run {number}", began)
    return due


def test_the_first_run_of_a_period_compares() -> None:
    """Nightly runs compare once a week; so does the first run at all, and each run whose period is a minute."""
    nights = [MONDAY + timedelta(days=number) for number in range(21)]
    first, *others = nights_that_compare(nights, WEEK)
    assert first == 0
    assert len(others) in (2, 3)
    assert len({number % 7 for number in others}) == 1
    assert nights_that_compare(nights[:3], timedelta(minutes=1)) == [0, 1, 2]


def test_a_failed_comparison_is_repeated() -> None:
    """By the next run, in the same period."""
    hours = [MONDAY + timedelta(hours=number) for number in range(5)]
    assert nights_that_compare(hours, WEEK, failed={0, 1}) == [0, 1, 2]


def test_a_run_that_is_cleared_compares_again() -> None:
    """Airflow gives it another start; and a note that cannot be read is none."""
    files = MemoryState()
    last = LastComparison(files)
    last.write("run", MONDAY)
    assert last.is_due("run", MONDAY + timedelta(hours=1), WEEK)
    assert not last.is_due("other", MONDAY + timedelta(hours=1), WEEK)
    assert last.is_due("other", None, WEEK)
    for content in (b"", b"[]", b"{}", b'{"began": 1, "run_id": "run"}', b'{"began": "then"}', b"\xff"):
        files.files["last.json"] = content
        assert last.is_due("other", MONDAY, WEEK)


def test_a_list_of_keys_is_not_compared() -> None:
    """All other objects would be missing."""
    with pytest.raises(UsageError, match="leave out keys_from"):
        migration_dag("m", "s3://bucket/p/", "az://container/p", keys_from="s3://bucket/list.txt", compare_every=WEEK)


def test_arguments_of_a_task_that_is_not_there_are_refused() -> None:
    """They would be ignored."""
    with pytest.raises(UsageError, match="compare_every"):
        migration_dag("m", "s3://bucket/p/", "az://container/p", task_arguments={"compare": {"queue": "x"}})


def test_without_a_period_there_is_no_task() -> None:
    """The usual migration has five tasks."""
    assert "compare" not in migration_dag("m", "s3://bucket/p/", "az://container/p").task_ids
    assert "compare" in migration_dag("m", "s3://bucket/p/", "az://container/p", compare_every=WEEK).task_ids


@pytest.fixture
def migrate(connections: dict[str, Any], s3_client: Any, bucket: str, container: ContainerClient) -> Any:
    """Return a function that runs a migration which compares each time."""
    dag_id = f"compared-{uuid4().hex}"
    for key in ("a", "b", "c"):
        s3_client.put_object(Bucket=bucket, Key=f"in/{key}", Body=key.encode(), ChecksumAlgorithm="CRC64NVME")

    def run(conf: dict[str, Any] | None = None, **more: Any) -> Run:
        place = {"source": f"s3://{bucket}/in/", "destination": f"az://{container.container_name}/out"}
        every = {"compare_every": timedelta(seconds=1), "retries": 0}
        return run_dag(migration_dag(dag_id, **(place | connections | every | more)), conf)

    return run


def test_a_comparison_ends_when_it_is_killed(
    connections: dict[str, Any], container: ContainerClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever its requests wait for, as the plan and the report do."""
    killed = Task()
    cast("Any", killed.context)["dag_run"] = SimpleNamespace(start_date=MONDAY)

    def hang(*_: Any, **__: Any) -> None:
        cast("Any", killed.context["ti"]).task.on_kill()
        threading.Event().wait()

    monkeypatch.setattr(compare_task, "write_manifest", hang)
    monkeypatch.setattr(compare_task, "TASK_GRACE_S", 0.01)
    settings = RunSettings("in/", container.container_name, "out/", connections["wasb_conn_id"])
    compare = CompareSettings(WEEK, "bucket", connections["aws_conn_id"], {})
    with pytest.raises(Cancelled):
        compare_run(settings, compare, killed.context)


def test_two_nights(migrate: Any, container: ContainerClient, caplog: pytest.LogCaptureFixture) -> None:
    """After copies, and without any; a changed blob fails the run, and a dry run compares nothing."""
    first = migrate()
    assert first.state == "success"
    assert first.only("compare").xcom["equal"] == {"objects": 3, "size_bytes": 3}
    container.upload_blob("out/extra", b"x")
    blob = container.get_blob_client("out/b")
    metadata = blob.get_blob_properties().metadata
    blob.upload_blob(b"changed", overwrite=True, metadata=metadata)
    with caplog.at_level(logging.INFO):
        second = migrate(overwrite="never")
    assert (second.only("report").state, second.only("compare").state, second.state) == ("success", "failed", "failed")
    assert any(line.startswith("changed 'in/b': the blob has 7 bytes") for line in caplog.messages)
    assert migrate({"dry_run": True}).only("compare").state == "skipped"


def test_what_no_event_announced_is_counted(
    connections: dict[str, Any],
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """From the migration's own folder of the state container, for the history; it fails nothing by itself."""
    monkeypatch.setattr(announced, "GRACE", -timedelta(hours=1))
    s3_client.put_object(Bucket=bucket, Key="in/a", Body=b"a", ChecksumAlgorithm="CRC64NVME")
    task = Task(prefix=None)
    cast("Any", task.context)["dag_run"].start_date = datetime.now(UTC) + timedelta(minutes=1)
    service = azure_service(connections["wasb_conn_id"], connections=1)
    announced_keys(service, container.container_name, "dag").note_listing(datetime.now(UTC) - timedelta(days=1))
    service.close()
    settings = RunSettings("in/", container.container_name, "out/", connections["wasb_conn_id"], has_events=True)
    compare = CompareSettings(WEEK, bucket, connections["aws_conn_id"], {})
    with pytest.raises(PermanentError, match="1 of 1 objects are missing"):
        compare_run(settings, compare, task.context)
    assert task.xcoms["compare"]["missed_by_events"] == {"objects": 1, "unchecked": 0, "first": ["in/a"]}
