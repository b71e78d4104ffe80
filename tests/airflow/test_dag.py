"""The whole migration in real Airflow."""

import json
import logging
import os
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar
from uuid import uuid4

import pytest
from airflow.models.pool import Pool
from airflow.sdk import BaseNotifier, Context
from airflow.sdk.exceptions import ParamValidationError
from airflow.serialization.serialized_objects import DagSerialization
from azure.storage.blob import ContainerClient

from s3_to_azure.airflow.links import SourceLink, s3_console_url
from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import OK
from s3_to_azure.dag import migration_dag
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.metadata import metadata_from_azure
from tests.airflow.airflow_runs import Run, asset_counts, asset_events, link_of, run_dag
from tests.checksum_reports import Report, result, row
from tests.fidelity.uploads import put_parts

_PAGE = Path(__file__).parents[2] / "docs/ui.md"
_STATUSES = ("listed", "copied", "unchanged", "skipped", "failed")


@pytest.fixture
def migrate(connections: dict[str, Any], bucket: str, container: ContainerClient) -> Any:
    """Return a function that runs the migration of a test, as often as it is called."""
    dag_id = f"migration-{uuid4().hex}"

    def run(conf: dict[str, Any] | None = None, **more: Any) -> Run:
        place = {"source": f"s3://{bucket}/in/", "destination": f"az://{container.container_name}/out"}
        # A task that fails must fail its test, not wait for its retry.
        return run_dag(migration_dag(dag_id, **(place | connections | {"retries": 0} | more)), conf)

    return run


class Told(BaseNotifier):
    """A notifier as those of Slack and mail are, which keeps its texts."""

    template_fields = ("text",)
    texts: ClassVar[list[str]] = []

    def __init__(self, text: str) -> None:
        """Take the template."""
        super().__init__()
        self.text = text

    def notify(self, context: Context) -> None:
        """Keep the rendered text."""
        assert context["dag"]
        self.texts.append(self.text)


@pytest.fixture
def telling() -> Iterator[dict[str, Any]]:
    """Return arguments of a migration that tells its result to ``Told``, as docs/operations.md shows it."""
    kinds = ("on_success_callback", "on_failure_callback", "on_skipped_callback")
    Told.texts.clear()
    # A notifier renders its own fields, once.
    yield {"task_arguments": {"check_report": {kind: Told("{{ verdict() }}") for kind in kinds}}}
    Told.texts.clear()


@pytest.fixture
def fill(s3_client: Any, bucket: str) -> Any:
    """Return a function that writes objects."""

    def write(**bodies: bytes) -> None:
        for key, body in bodies.items():
            s3_client.put_object(Bucket=bucket, Key=key, Body=body, ChecksumAlgorithm="CRC64NVME")

    return write


def _blobs(container: ContainerClient) -> set[str]:
    return {name for name in container.list_blob_names() if not name.startswith("_s3_to_azure/")}


def _counts(report: dict[str, Any]) -> dict[str, int]:
    return {status: report[status]["objects"] for status in _STATUSES}


def test_two_nights(migrate: Any, fill: Any, container: ContainerClient, telling: dict[str, Any]) -> None:
    """The first night copies everything, the second one nothing; both account for every object, and tell it."""
    fill(**{"in/a.txt": b"a", "in/b/{{ ds }}.txt": b"bb", "in/empty": b"", "in/../x": b"never"})
    first = migrate({"refused_names": "skip"}, **telling)
    assert first.state == "success"
    assert _counts(first.only("report").xcom) == {
        "listed": 4,
        "copied": 3,
        "unchanged": 0,
        "skipped": 1,
        "failed": 0,
    }
    assert _blobs(container) == {"out/a.txt", "out/b/{{ ds }}.txt", "out/empty"}
    assert first.only("copy").label == "3 objects, 3 bytes"
    # This event starts the DAGs that wait for the data.
    assert asset_events(first) == [f"x-az://{container.container_name}/out"]
    (counts,) = asset_counts(first)
    assert {name: counts[name] for name in _STATUSES} == _counts(first.only("report").xcom)
    assert Told.texts == ["All 4 objects are accounted for: 3 copied and proven, 1 skipped."]
    assert counts["verdict"] == Told.texts[0].rstrip(".")
    second = migrate({"refused_names": "skip"})
    assert (second.state, second.only("copy").state) == ("success", "skipped")
    report = second.only("report").xcom
    assert (report["unchanged"]["objects"], report["copied"]["objects"], report["bytes_sent"]) == (3, 0, 0)


def test_a_task_of_one_object_is_labelled_with_its_key(
    migrate: Any, fill: Any, bucket: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The key is never rendered as a template, is quoted in the log, and the task links to the object."""
    key = "in/{{ 7 * 7 }}\u2028 ü.bin"
    fill(**{key: os.urandom(9 * MIB)})
    with caplog.at_level(logging.INFO):
        ran = migrate()
    assert ran.state == "success"
    assert ran.only("copy").label == key
    (line,) = [line for line in caplog.messages if line.startswith("Copying batch 0: ")]
    assert repr(key) in line
    assert link_of(ran, "copy", SourceLink()) == s3_console_url(bucket, key=key)


def test_several_tasks(migrate: Any, fill: Any, container: ContainerClient) -> None:
    """The work is divided into tasks, each with a label; a limit of concurrent tasks does not change the result."""
    fill(**{f"in/{name}": os.urandom(1 * MIB) for name in "abc"})
    ran = migrate(max_active_tis_per_dagrun=2, task_size=1, deferrable=True)
    assert ran.state == "success"
    assert [task.label for task in ran.tasks["copy"]] == ["in/a", "in/b", "in/c"]
    assert _blobs(container) == {"out/a", "out/b", "out/c"}


def test_a_failed_object_fails_the_run(
    migrate: Any,
    fill: Any,
    container: ContainerClient,
    caplog: pytest.LogCaptureFixture,
    telling: dict[str, Any],
    statsd: Callable[[], list[str]],
) -> None:
    """All other objects are copied; the report fails the run, names what failed, counts it, and somebody is told."""
    container.get_blob_client("out/taken").create_append_blob()
    fill(**{"in/fine": b"1", "in/taken": b"2", "in/bad/../name": b"3"})
    with caplog.at_level(logging.INFO):
        ran = migrate(**telling)
    assert ran.state == "failed"
    assert Told.texts == ["2 of 3 objects failed, for 2 reasons; 1 copied and proven."]
    # Each object is counted once, by the report, although a task has copied it.
    sent = [line for line in statsd() if line.startswith("airflow.s3_to_azure.")]
    for name, count in {
        "objects.copied": 1,
        "objects.failed": 2,
        "bytes.failed": 2,
        "failures.wrong_blob_type": 1,
        "failures.name_refused": 1,
        "bytes_sent": 1,
    }.items():
        assert [line for line in sent if f".{name}:" in line] == [f"airflow.s3_to_azure.{name}:{count}|c"]
    assert (ran.only("report").state, ran.only("check_report").state) == ("failed", "failed")
    assert asset_events(ran) == []
    assert _blobs(container) == {"out/fine", "out/taken"}
    assert any("such as 'in/taken'" in line for line in caplog.messages)
    assert any("such as 'in/bad/../name'" in line for line in caplog.messages)


def test_dry_run_copies_nothing(
    migrate: Any, fill: Any, container: ContainerClient, caplog: pytest.LogCaptureFixture, telling: dict[str, Any]
) -> None:
    """A dry run logs the plan and succeeds."""
    fill(**{"in/a": b"12345"})
    with caplog.at_level(logging.INFO):
        ran = migrate({"dry_run": True}, **telling)
    assert (ran.state, ran.only("copy").state) == ("success", "skipped")
    assert Told.texts == ["Dry run: 1 of 1 object would be copied."]
    # A success would start the DAGs that wait for the destination's asset.
    assert asset_events(ran) == []
    assert ran.only("report").state == "skipped"
    assert _blobs(container) == set()
    assert "To copy:   1 object (5 bytes) in 1 task" in caplog.messages
    assert "Dry run: nothing is copied" in caplog.messages


def test_params_of_a_run(migrate: Any, fill: Any, container: ContainerClient) -> None:
    """The Params of a run can select fewer objects; the blobs have the same names as in every run."""
    fill(**{"in/x/a.csv": b"1", "in/x/b.tmp": b"2", "in/x/c.csv": b"3", "in/y/d.csv": b"4"})
    ran = migrate({"prefix": "x/", "include": ["*.csv"], "exclude": ["*/c.*"], "objects_at_once": 2})
    assert ran.state == "success"
    assert _counts(ran.only("report").xcom) == {"listed": 3, "copied": 1, "unchanged": 0, "skipped": 2, "failed": 0}
    assert _blobs(container) == {"out/x/a.csv"}
    again = migrate({"prefix": "x/", "include": ["*.csv"], "exclude": ["*/c.*"], "overwrite": "always"})
    assert _counts(again.only("report").xcom)["copied"] == 1


def test_keys_from_a_list(
    migrate: Any, fill: Any, bucket: str, container: ContainerClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Only the keys of the list are copied; a missing object fails the report, a key outside the prefix the sensor."""
    fill(**{"in/a": b"1", "in/b": b"2", "in/list.txt": b"in/a\nin/gone\n", "in/bad.txt": b"in/a\nout/x\n"})
    ran = migrate(keys_from=f"s3://{bucket}/in/list.txt")
    assert (ran.state, ran.only("copy").state, ran.only("report").state) == ("failed", "success", "failed")
    assert _blobs(container) == {"out/a"}
    assert any("such as 'in/gone': missing_in_source" in line for line in caplog.messages)
    steered = migrate(keys_from=f"s3://{bucket}/in/bad.txt", retries=3)
    assert (steered.only("wait_for_objects").state, steered.only("wait_for_objects").try_number) == ("failed", 1)
    assert _blobs(container) == {"out/a"}


def test_checksums_from_a_report(
    migrate: Any, s3_client: Any, bucket: str, container: ContainerClient, caplog: pytest.LogCaptureFixture
) -> None:
    """What had only its transport as proof is proven; the listing and `compare` read the report."""
    for key in ("in/a", "in/b"):
        put_parts(s3_client, bucket, key, key.encode(), [], ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")
    etag = s3_client.head_object(Bucket=bucket, Key="in/a")["ETag"].strip('"')
    report = Report(bucket, "reports/7/").add("a", [row(bucket, "in/a", result(b"in/a", etag=etag))])
    for key, data in report.objects().items():
        s3_client.put_object(Bucket=bucket, Key=key, Body=data)
    more: dict[str, Any] = {
        "checksums_from": f"s3://{bucket}/reports/{{{{ 3 + 4 }}}}/manifest.json",
        "fidelity": {"etag_is_md5": "no"},
        "compare_every": timedelta(days=7),
    }
    with caplog.at_level(logging.INFO):
        ran = migrate(**more)
    assert ran.state == "success"
    levels = {name: container.get_blob_client(f"out/{name}").get_blob_properties().metadata for name in "ab"}
    assert [levels[name]["s3_verified_by"] for name in "ab"] == ["crc64nvme (report)", "transport"]
    assert "1 by crc64nvme (report)" in ran.only("report").xcom["proven"]
    # The sensor and the comparison.
    assert sum("has 1 row: 1 of listed objects" in message for message in caplog.messages) == 2


def test_fidelity_of_a_run(
    migrate: Any, s3_client: Any, bucket: str, container: ContainerClient, capsys: pytest.CaptureFixture[str]
) -> None:
    """Mapped names, tags, tiers and metadata are copied, and the mapping of the names can be reversed."""
    keys = {"in/dot./x.": b"1", "in/tab\there": b"2", "in/back\\slash": b"3", "in/full/": b"4", "in/plain": b"5"}
    for key, body in keys.items():
        s3_client.put_object(
            Bucket=bucket,
            Key=key,
            Body=body,
            Metadata={"my-key": "1 2"},
            Tagging="team=data",
            StorageClass="STANDARD_IA",
        )
    s3_client.put_object(Bucket=bucket, Key="in/frozen", Body=b"6", StorageClass="GLACIER")
    choices = {"tags": True, "tiers": {"STANDARD_IA": "Cool"}, "archived": "restore"}
    first = migrate({"refused_names": "map"}, fidelity=choices)
    assert first.state == "success"
    assert _counts(first.only("report").xcom) == {"listed": 6, "copied": 5, "unchanged": 0, "skipped": 1, "failed": 0}
    names = sorted(_blobs(container))
    capsys.readouterr()
    assert main(["key", *(name.removeprefix("out/") for name in names)]) == OK
    printed = [json.loads(line) if line.startswith('"') else line for line in capsys.readouterr().out.splitlines()]
    assert dict(zip(printed, names, strict=True)).keys() == {key.removeprefix("in/") for key in keys}
    for key, name in zip(printed, names, strict=True):
        blob = container.get_blob_client(name)
        properties = blob.get_blob_properties()
        assert blob.download_blob().readall() == keys[f"in/{key}"]
        assert properties.blob_tier == "Cool"
        assert blob.get_blob_tags() == {"team": "data"}
        assert metadata_from_azure(properties.metadata)["my-key"] == "1 2"
    # The local S3 restores at once: the run after it copies what waited, and nothing else.
    second = migrate({"refused_names": "map"}, fidelity=choices)
    assert _counts(second.only("report").xcom) == {"listed": 6, "copied": 1, "unchanged": 5, "skipped": 0, "failed": 0}


def test_filters_of_a_migration(migrate: Any, fill: Any, container: ContainerClient) -> None:
    """Filters by size and age are arguments of the migration; times may be templates."""
    fill(**{"in/small": b"1", "in/right": b"22", "in/large": b"333"})
    filters = {"min_size": "2", "max_size": 2, "modified_before": "{{ '2999' }}-01-01T00:00:00+00:00"}
    report = migrate(filters=filters).only("report").xcom
    assert _counts(report) == {"listed": 3, "copied": 1, "unchanged": 0, "skipped": 2, "failed": 0}
    assert {row["reason"] for row in report["reasons"]} == {"too_small", "too_large"}
    assert _blobs(container) == {"out/right"}


def test_a_wrong_param_fails_at_once(migrate: Any, fill: Any, container: ContainerClient) -> None:
    """A value that the form refuses does not start a run through the API either."""
    fill(**{"in/a": b"1"})
    with pytest.raises(ParamValidationError, match="bandwidth_limit"):
        migrate({"bandwidth_limit": "0.1B"})
    assert _blobs(container) == set()


def test_a_run_copies_nothing_that_the_author_has_excluded(migrate: Any, fill: Any, container: ContainerClient) -> None:
    """The patterns of a run narrow those of the migration, whatever they are."""
    fill(**{f"in/{name}": b"x" for name in ("a.txt", "b.txt", "c.key", "secrets/d.txt", "e.csv")})
    author = {"include": ["*.txt", "*.key"], "exclude": ["*.key", "in/secrets/*"]}
    ran = migrate({"include": ["*"], "exclude": ["*b.txt"]}, **author)
    assert ran.state == "success"
    assert _blobs(container) == {"out/a.txt"}


def test_an_unknown_name_in_the_configuration_fails_the_run_at_once(
    migrate: Any, fill: Any, container: ContainerClient
) -> None:
    """Before it waits, lists or copies: a run with a misspelt dry_run would copy."""
    fill(**{"in/a.txt": b"a"})
    ran = migrate({"dryrun": True})
    assert (ran.state, ran.only("wait_for_objects").state) == ("failed", "failed")
    assert ran.only("plan").state == "upstream_failed"
    assert _blobs(container) == set()


def test_addresses_may_hold_templates(migrate: Any, fill: Any, bucket: str, container: ContainerClient) -> None:
    """Source and destination may hold templates, for example the folder of the day."""
    fill(**{"in/day-1/a": b"1", "in/day-2/b": b"2"})
    ran = migrate(
        source=f"s3://{bucket}/in/day-{{{{ 1 + 1 }}}}/", destination=f"az://{container.container_name}/{{{{ 'to' }}}}"
    )
    assert ran.state == "success"
    assert _blobs(container) == {"to/b"}


def test_nothing_to_copy(migrate: Any) -> None:
    """With ``allow_empty``, a run without objects succeeds."""
    ran = migrate(allow_empty=True)
    assert (ran.state, ran.only("copy").state) == ("success", "skipped")
    assert _counts(ran.only("report").xcom) == dict.fromkeys(_STATUSES, 0)


def test_nothing_arrives(migrate: Any) -> None:
    """A run that waits in vain fails, and so does its report."""
    ran = migrate(wait_timeout=timedelta(0), poke_interval=timedelta(0))
    assert (ran.only("wait_for_objects").state, ran.only("report").state) == ("failed", "failed")


def test_a_separate_state_container(migrate: Any, fill: Any, container: ContainerClient, blob_service: Any) -> None:
    """The state files may be in another container, created on request; the destination then holds only blobs."""
    fill(**{"in/a": b"1"})
    state = f"state-{uuid4().hex}"
    ran = migrate(state_container=state, create_container=True)
    assert ran.state == "success"
    assert set(container.list_blob_names()) == {"out/a"}
    names = list(blob_service.get_container_client(state).list_blob_names())
    assert any(name.endswith("/report.json") for name in names)


def test_a_run_that_is_started_by_hand_looks_once(migrate: Any, fill: Any) -> None:
    """A prefix typed wrong ends the run at once; with *Wait* it waits."""
    fill(**{"in/a": b"1"})
    patient = {"wait_timeout": timedelta(hours=12), "retries": 3}
    ran = migrate({"prefix": "typo/"}, **patient)
    assert (ran.state, ran.only("wait_for_objects").state, ran.only("wait_for_objects").try_number) == (
        *("failed", "failed"),
        1,
    )
    waited = migrate({"prefix": "typo/", "wait": True}, wait_timeout=timedelta(0), poke_interval=timedelta(0))
    assert waited.state == "failed"


def test_the_plan_warns_of_the_pool_until_a_copy_has_run_in_it(
    migrate: Any, fill: Any, caplog: pytest.LogCaptureFixture
) -> None:
    """Airflow 3 does not tell a task whether a pool exists, but how many copies have run."""
    Pool.create_or_update_pool("transfers", slots=4, description="", include_deferred=False)
    levels = []
    for night in ("first", "second"):
        fill(**{f"in/{night}": b"1"})
        caplog.clear()
        with caplog.at_level(logging.INFO, logger="s3_to_azure"):
            assert migrate(pool="transfers").state == "success"
        levels += [record.levelname for record in caplog.records if "airflow pools set" in record.getMessage()]
    assert levels == ["WARNING", "INFO"]


def test_without_source_it_says_what_is_missing(connections: dict[str, Any]) -> None:
    """A migration without addresses has no schedule, and one task that fails."""
    dag = migration_dag(f"migration-{uuid4().hex}", None, "az://container", "0 2 * * *", **connections)
    assert dag.schedule is None
    assert run_dag(dag).only("not_configured").state == "failed"


@pytest.mark.parametrize("schedule", ["@once", "@continuous"])
def test_schedules_that_never_run_without_a_start_get_one(schedule: str) -> None:
    """Airflow 3.0 and 3.1 make no run of them without; 3.3 makes one of ``@continuous`` and no second one."""
    dag = migration_dag("migration", "s3://bucket/a/", "az://container/b", schedule)
    assert dag.start_date is not None
    assert migration_dag("nightly", "s3://bucket/a/", "az://container/b", "@daily").start_date is None


def test_wiring_and_defaults() -> None:
    """Runs do not overlap, missed ones are not made up for, and retries back off."""
    dag = migration_dag("migration", "s3://bucket/a/", "az://container/b", "0 2 * * *", pool="transfers")
    assert (str(dag.schedule), dag.catchup, dag.max_active_runs) == ("0 2 * * *", False, 1)
    assert dag.task_ids == ["wait_for_objects", "plan", "copy", "report", "check_report"]
    copy = dag.get_task("copy")
    assert (copy.pool, copy.retries, copy.retry_exponential_backoff) == ("transfers", 5, 2)
    assert all(dag.get_task(task_id).retry_policy for task_id in dag.task_ids)
    # Airflow decides by the copies and by the last task, and runs the last two whatever became of the others.
    assert [task_id for task_id in dag.task_ids if dag.get_task(task_id).is_teardown] == ["report", "check_report"]
    assert [task_id for task_id in dag.task_ids if dag.get_task(task_id).on_failure_fail_dagrun] == ["check_report"]
    assert copy.downstream_task_ids == {"report"}
    (asset,) = dag.get_task("report").outlets
    assert asset.uri == "x-az://container/b"
    assert f'Asset("{asset.uri.removesuffix("b")}prefix")' in _PAGE.read_text()
    assert set(dag.params) >= {"prefix", "include", "exclude", "overwrite", "integrity", "dry_run", "max_tasks"}


def test_unpausing_starts_no_run() -> None:
    """A dry run comes first: the first scheduled run of a new DAG is the next one, not the one that was missed."""
    dag = migration_dag("new", "s3://bucket/a/", "az://container/b", "0 2 * * *")
    stored = DagSerialization.from_dict(DagSerialization.to_dict(dag))
    first = stored.next_dagrun_info(last_automated_run_info=None)
    assert first is not None
    assert first.run_after > datetime.now(UTC)


@pytest.mark.parametrize("wrong", ["bucket/x/", "s3://", "s3:///x/", "az://bucket/x/", "s3://bucket/x", "s3://b_/x/"])
def test_wrong_sources(wrong: str) -> None:
    """An address that nothing can be copied from is refused when the DAG is parsed."""
    with pytest.raises(UsageError):
        migration_dag("any", wrong, "az://container/b")


@pytest.mark.parametrize("wrong", ["container/x", "az://", "s3://container/x", "az://Container/x"])
def test_wrong_destinations(wrong: str) -> None:
    """An address that nothing can be copied to is refused when the DAG is parsed."""
    with pytest.raises(UsageError):
        migration_dag("any", "s3://bucket/a/", wrong)


def test_the_history_finds_every_migration() -> None:
    """The tag by which the page finds migrations is there whatever tags the author passes."""
    for tags in (None, [], ["mine"], {"mine", "s3_to_azure"}):
        given: dict[str, Any] = {} if tags is None else {"tags": tags}
        dag = migration_dag("tagged", "s3://bucket/p/", "az://container", **given)
        assert dag.tags == {"s3_to_azure", *(tags or ())}
