"""The parts of a migration's DAG that are neither its sensor nor its copies: addresses, plan, report, comparison."""
# ruff: noqa: ANN401, PLC0415 - a task's output is Any; the SDKs are imported when a task runs, never at parse

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from s3_to_azure.airflow.compat import DAG, Asset, AssetOrTimeSchedule, get_current_context, task
from s3_to_azure.airflow.migration.dag_arguments import CHECK, COMPARE, PLAN, REPORT, START
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.names import check_blob_prefix, dot_segment
from s3_to_azure.model.uris import AzureUri, S3Uri, is_template, parse_destination_prefix, parse_source_prefix
from s3_to_azure.planning.overlap import NameMapping
from s3_to_azure.startup import gc_paused


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where a migration reads and writes; the prefixes may hold templates."""

    source: S3Uri
    destination: AzureUri

    @property
    def names(self) -> dict[str, Any]:
        """The names as the plan's and the report's arguments, where Airflow renders templates; not in a closure."""
        return {
            "s3_prefix": self.source.key,
            "container": self.destination.container,
            "blob_prefix": self.destination.prefix,
        }

    def mapping(self, owner: str, wasb_conn_id: str) -> NameMapping:
        """Return what the migration copies where, to compare it with others."""
        source, written = self.source, self.destination
        return NameMapping(owner, source.bucket, source.key, wasb_conn_id, written.container, written.prefix)

    @property
    def assets(self) -> list[Asset]:
        """The destination as an asset; none if its address holds templates."""
        address = f"{self.destination.container}/{self.destination.prefix}".rstrip("/")
        # Airflow imports no provider at parse for a scheme that begins with x-, as it would for az.
        return [] if is_template(address) else [Asset(f"x-az://{address}")]


def parse_addresses(source: str | None, destination: str | None) -> Addresses | None:
    """Return the parsed addresses, or None if one is missing."""
    if not source or not destination:
        return None
    written = parse_destination_prefix(destination, name="destination")
    check_blob_prefix(written.prefix)
    read = parse_source_prefix(source, name="source")
    if dot_segment(read.key):
        raise UsageError(detail=f"source {source!r} has a path segment '.' or '..'. No key that has one is copied.")
    return Addresses(read, written)


def schedule_with_events(schedule: Any, migration: Addresses, dag_id: str, trigger: Mapping[str, Any]) -> Any:
    """Return a schedule that also starts a run when a queue announces objects; Airflow 3 only.

    Args:
        schedule: The schedule of the listings; None: nothing else starts a run.
        migration: Where the objects are.
        dag_id: The DAG's.
        trigger: More arguments of ``S3EventsTrigger``.
    """
    from airflow.sdk import AssetWatcher

    from s3_to_azure.airflow.event_trigger import S3EventsTrigger

    watcher = S3EventsTrigger(
        bucket_name=migration.source.bucket, prefix=migration.source.key, dag_id=dag_id, **trigger
    )
    asset = Asset(
        name=f"{dag_id} events",
        uri=f"x-s3-events://{dag_id}",
        watchers=[AssetWatcher(name=f"{dag_id} queue", trigger=watcher)],
    )
    if schedule is None:
        return [asset]
    # The DAG knows how this Airflow reads a schedule.
    timetable: Any = DAG(dag_id, schedule=schedule, start_date=START).timetable
    return AssetOrTimeSchedule(timetable=timetable, assets=[asset])


def plan_task(
    migration: Addresses,
    pointer: Any,
    settings: Mapping[str, Any],
    filters: Mapping[str, Any],
    arguments: Mapping[str, Any],
) -> Any:
    """Return the task that plans; its output is the list of batches."""

    @task(task_id=PLAN, **({"show_return_value_in_logs": False} | dict(arguments)))
    def plan(pointer: dict[str, Any] | None, names: dict[str, Any], filters: dict[str, Any]) -> list[dict[str, Any]]:
        with gc_paused():
            from s3_to_azure.airflow.migration.dag_tasks import RunSettings, plan_run

        return plan_run(pointer, RunSettings(**names, **settings, filters=filters), get_current_context())

    return plan(pointer, migration.names, dict(filters))


def report_task(
    migration: Addresses,
    pointer: Any,
    settings: Mapping[str, Any],
    keep_state_days: int | None,
    arguments: Mapping[str, Any],
) -> Any:
    """Return the task that reports; its success updates the destination's asset."""
    # The asset belongs to this task: a DAG that waits for the data must start when all of it is verified.
    outlets = [*migration.assets, *arguments.get("outlets", ())]

    @task(task_id=REPORT, **({"show_return_value_in_logs": False} | dict(arguments) | {"outlets": outlets}))
    def report(pointer: dict[str, Any] | None, names: dict[str, Any]) -> dict[str, Any]:
        with gc_paused():
            from s3_to_azure.airflow.migration.dag_tasks import RunSettings, report_run

        return report_run(
            pointer, RunSettings(**names, **settings), get_current_context(), keep_state_days=keep_state_days
        )

    # A teardown that does not fail the run by itself: so Airflow looks at the copies before it too.
    return report(pointer, migration.names).as_teardown()


def check_task(arguments: Mapping[str, Any]) -> Any:
    """Return the task that fails the run unless its report accounts for every object."""

    @task(task_id=CHECK, **arguments)
    def check_report() -> None:
        with gc_paused():
            from s3_to_azure.airflow.migration.run_state import check_run

        check_run(get_current_context())

    return check_report().as_teardown(on_failure_fail_dagrun=True)


def compare_task(
    migration: Addresses,
    settings: Mapping[str, Any],
    compare: Mapping[str, Any],
    filters: Mapping[str, Any],
    checksums_from: str,
    arguments: Mapping[str, Any],
) -> Any:
    """Return the task that compares both sides after the copies, if there were any and none failed."""
    own: dict[str, Any] = {"trigger_rule": "none_failed", "show_return_value_in_logs": False}

    @task(task_id=COMPARE, **(own | dict(arguments)))
    def compare_sides(
        bucket: str, names: dict[str, Any], filters: dict[str, Any], checksums_from: str
    ) -> dict[str, Any]:
        with gc_paused():
            from s3_to_azure.airflow.migration.compare_task import CompareSettings, compare_run
            from s3_to_azure.airflow.migration.dag_tasks import RunSettings

        run = RunSettings(**names, **settings, filters=filters)
        settings_of_it = CompareSettings(bucket=bucket, checksums_from=checksums_from, **compare)
        return compare_run(run, settings_of_it, get_current_context())

    return compare_sides(migration.source.bucket, migration.names, dict(filters), checksums_from)
