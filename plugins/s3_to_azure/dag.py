"""``migration_dag``: one migration as a DAG of five tasks; a DAG file needs a few lines for each.

::

    wait_for_objects >> plan >> copy (mapped over the plan's batches) >> report >> check_report

Airflow decides by ``copy`` and ``check_report`` whether the run succeeded. ``report`` and ``check_report`` are
teardowns, which Airflow runs even after somebody has marked the run. So no order of marking and clearing hides a failed
copy, and none makes a run succeed whose objects nothing accounts for.
"""
# ruff: noqa: ANN401 - DAG's keywords are Any; the SDKs are imported when a task runs, never at parse

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any

from s3_to_azure.airflow.compat import (
    DAG,
    BaseOperator,
    Context,
    Param,
)
from s3_to_azure.airflow.migration.dag_arguments import (
    CHECK,
    COMPARE,
    COPY,
    PLAN,
    REPORT,
    RETRIES_BY_DEFAULT,
    TASKS,
    WAIT,
    check_migration,
    dag_arguments_for,
    merged_params,
    task_defaults,
)
from s3_to_azure.airflow.migration.dag_parts import (
    Addresses,
    check_task,
    compare_task,
    parse_addresses,
    plan_task,
    report_task,
    schedule_with_events,
)
from s3_to_azure.airflow.migration.params import RunLimits, limit_params, migration_params
from s3_to_azure.airflow.migration.run_state import begin_run
from s3_to_azure.airflow.migration.verdict import template_verdict
from s3_to_azure.airflow.task_errors import raises_task_errors
from s3_to_azure.events import S3EventsSensor
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.options import Overwrite
from s3_to_azure.operators import MAP_INDEX_TEMPLATE, S3ToAzureBlobStreamOperator
from s3_to_azure.planning.overlap import warn_of_overlaps
from s3_to_azure.sensors import S3ObjectsSensor


def migration_dag(  # noqa: PLR0913 - the settings of a migration; all but the first three have defaults
    dag_id: str,
    source: str | None,
    destination: str | None,
    schedule: str | None = None,
    *,
    aws_conn_id: str | None = defaults.AWS_CONN_ID,
    wasb_conn_id: str = defaults.WASB_CONN_ID,
    state_container: str | None = None,
    create_container: bool = False,
    keys_from: str | None = None,
    checksums_from: str | None = None,
    inventory: str | None = None,
    events: str | None = None,
    list_every: timedelta | None = None,
    pool: str | None = None,
    max_active_tis_per_dagrun: int | None = None,
    memory_budget: str | int = defaults.MEMORY_BUDGET,
    block_size: str | int | None = None,
    split_size: str | int = defaults.SPLIT_SIZE,
    task_size: str | int = defaults.TASK_SIZE,
    s3_verify: bool | str | None = None,
    s3_extra_args: Mapping[str, Any] | None = None,
    min_objects: int = defaults.MIN_OBJECTS,
    allow_empty: bool = False,
    deferrable: bool = False,
    poke_interval: timedelta = timedelta(minutes=5),
    wait_timeout: timedelta = timedelta(hours=12),
    dagrun_timeout: timedelta | None = None,
    retries: int = RETRIES_BY_DEFAULT["retries"],
    retry_delay: timedelta = RETRIES_BY_DEFAULT["retry_delay"],
    max_retry_delay: timedelta = RETRIES_BY_DEFAULT["max_retry_delay"],
    keep_state_days: int | None = defaults.KEEP_STATE_DAYS,
    signing_key: str | None = None,
    compare_every: timedelta | None = None,
    overwrite: Overwrite = defaults.OVERWRITE,
    integrity: str = defaults.INTEGRITY,
    via: str = defaults.VIA,
    refused_names: str = defaults.REFUSED_NAMES,
    fidelity: Mapping[str, Any] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    filters: Mapping[str, Any] | None = None,
    max_tasks: int = defaults.MAX_TASKS,
    objects_at_once: int = defaults.OBJECTS_AT_ONCE,
    bandwidth_limit: str | None = None,
    params: Mapping[str, Any] | None = None,
    pinned: Sequence[str] = (),
    default_args: Mapping[str, Any] | None = None,
    task_arguments: Mapping[str, Mapping[str, Any]] | None = None,
    catchup: bool = False,
    max_active_runs: int = 1,
    **dag_arguments: Any,
) -> DAG:
    """Return the DAG of one migration. Call it at the top level of a DAG file; no connection is opened there.

    Args:
        dag_id: Id of the DAG.
        source: ``s3://bucket/prefix/``: all objects below are copied. The prefix may hold templates, such as
            ``{{ ds }}/``.
        destination: ``az://container/prefix``. A blob's name is this prefix + the key without the source's prefix.
            Without source or destination the DAG has no schedule, and one task that says what is missing.
        schedule: When it runs, as for any DAG.
        aws_conn_id: Connection of type ``aws``; None: the workers' own identity.
        wasb_conn_id: Connection of type ``wasb``.
        state_container: Container for listing, plan, receipts and report; None: the destination's container. Use a
            separate one in production, because anyone who can write there can change what is copied.
        create_container: Create missing containers.
        keys_from: ``s3://bucket/key`` of a list of keys in the source's bucket; only these are copied (see
            ``S3ObjectsSensor``). It may hold templates, such as ``{{ ds }}``.
        checksums_from: ``s3://bucket/.../manifest.json`` of a job of S3 Batch Operations that computed checksums; they
            verify objects for which S3 stores none (docs/checksum-reports.md). It may hold templates.
        inventory: An S3 Inventory to read instead of listing the source: the address of its ``manifest.json`` or
            ``symlink.txt``, or its configuration's folder for the newest (docs/inventory.md). It may hold templates.
        events: URL of an SQS queue in which S3 announces objects: a run copies them as they come, besides those that
            the schedule starts to list the bucket. In Airflow 3 a trigger reads the queue (docs/events.md).
        list_every: With ``events`` on Airflow 2 or without a triggerer: each scheduled run empties the queue by
            itself, except for the first of each period of this length, such as ``timedelta(days=1)``, which lists.
        pool: Limits the copies of all migrations that share it; it must exist. None: that of ``default_args``, else
            ``default_pool``.
        max_active_tis_per_dagrun: Maximum number of copy tasks of one run that run at once.
        memory_budget: Maximum size of object data in one task's memory.
        block_size: Size such as ``32MiB``; None: chosen by the object's size.
        split_size: Objects above this size are split over several tasks.
        task_size: A task of its own needs at least this much to copy.
        s3_verify: False accepts any certificate, a path is a CA bundle; None: the connection's setting, else verified.
        s3_extra_args: More keyword arguments of ``S3Hook``, for requester-pays buckets or a customer key.
        min_objects: How many objects a run waits for.
        allow_empty: Do not wait; a run without objects succeeds.
        deferrable: Wait in the triggerer, which must be running; not possible with ``s3_extra_args``.
        poke_interval: Time between two checks for objects.
        wait_timeout: How long a run waits before it fails.
        dagrun_timeout: A run that is older copies no further and fails, with a report. Airflow's own timeout of this
            name is not set, because it would skip the report.
        retries: How often Airflow retries a task after a failure that may be temporary. ``default_args`` may have
            another default for this and for both delays.
        retry_delay: Wait before the first retry; it doubles each time.
        max_retry_delay: Longest wait between retries.
        keep_state_days: The state files of runs that ended longer ago are deleted; None: never.
        signing_key: Signs the certificate of each run: path of an Ed25519 private key on the workers, such as
            ``/run/secrets/signing.pem``; id of an Airflow connection with the key as its password; ARN of a key in AWS
            KMS; or identifier of a key in Azure Key Vault. None: it is unsigned (docs/certificates.md).
        compare_every: Add a task ``compare``, which compares both sides once in each period of this length, such as
            ``timedelta(days=7)``, after the copies: by listings and records, without reading objects (docs/drift.md).
        overwrite: Default of the run's Param.
        integrity: Default of the run's Param; a run may only ask for a stronger verification.
        via: Default of the run's Param: ``worker``, ``azure`` or ``auto``, the way of the bytes (docs/which-path.md).
        refused_names: Default of the run's Param.
        fidelity: What to do with tags, tiers, archived objects, oversized metadata, and ETags that are not MD5s
            (docs/fidelity.md).
        include: Only keys that match one of these patterns are copied; a run may narrow it by its Param.
        exclude: Keys that match one of these patterns are left out; a run may add more by its Param.
        filters: What else to leave out: ``min_size``, ``max_size``, ``modified_after``, ``modified_before`` (an age
            such as ``24h``, or ISO 8601 with a time zone; may hold templates), ``storage_classes``. A run may
            narrow sizes and dates by its Params.
        max_tasks: Default of the run's Param, and its maximum if it is not 500.
        objects_at_once: Default of the run's Param, and its maximum if it is not 64.
        bandwidth_limit: Default of the run's Param, and its maximum.
        params: More run Params, and other defaults for the migration's own, such as ``{"dry_run": True}``.
        pinned: Names of run Params that no run may change, such as ``["overwrite", "dry_run"]``.
        default_args: Arguments of all five tasks, such as ``owner``, ``queue`` or ``on_failure_callback``.
        task_arguments: Arguments of single tasks by their id, such as
            ``{"copy": {"queue": "large", "executor_config": {...}, "execution_timeout": timedelta(hours=6)}}``.
        catchup: Make up for missed intervals, one run for each.
        max_active_runs: How many runs may be active at once; backfills have a limit of their own.
        dag_arguments: More arguments of ``DAG``, such as ``start_date``, ``fail_fast`` or ``tags``, to which
            ``s3_to_azure`` is added.

    Raises:
        UsageError: An argument cannot be used.
    """
    arguments = dict(locals())
    check_migration(arguments)
    migration = parse_addresses(source, destination)
    tasks = {task_id: dict((task_arguments or {}).get(task_id, {})) for task_id in TASKS}
    stores = {
        "aws_conn_id": aws_conn_id,
        "wasb_conn_id": wasb_conn_id,
        "s3_verify": s3_verify,
        "s3_extra_args": s3_extra_args,
    }
    memory = {"memory_budget": memory_budget, "block_size": block_size}
    own_params = migration_params(
        source=source,
        destination=destination,
        overwrite=overwrite,
        integrity=integrity,
        via=via,
        refused_names=refused_names,
        include=include,
        exclude=exclude,
        max_tasks=max_tasks,
        objects_at_once=objects_at_once,
        bandwidth_limit=bandwidth_limit,
    )
    own = [name for name in own_params if not isinstance((params or {}).get(name), Param)]
    run_params = limit_params(merged_params(own_params, params), own=own, pinned=pinned)
    # Now, because Airflow changes the Params' own values to those of a run.
    limits = RunLimits.of(run_params)
    with DAG(
        dag_id,
        schedule=_schedule(migration, arguments) if migration else None,
        catchup=catchup,
        max_active_runs=max_active_runs,
        default_args=task_defaults(arguments),
        params=run_params,
        **dag_arguments_for(
            source,
            destination,
            dag_arguments,
            macros={"verdict": template_verdict},
            schedule=schedule,
            catchup=catchup,
        ),
    ) as dag:
        if migration is None:
            _NotConfigured(task_id="not_configured", retries=0)
            return dag
        warn_of_overlaps(dag, migration.mapping(dag_id, wasb_conn_id))
        wait = _wait_task(
            migration,
            arguments,
            **stores
            | {
                "keys_from": keys_from,
                "checksums_from": checksums_from,
                "inventory": inventory,
                "min_objects": min_objects,
                "allow_empty": allow_empty,
                "deferrable": deferrable,
                "state_container": state_container or migration.destination.container,
                "create_container": create_container,
                "poke_interval": poke_interval,
                "timeout": _wait_timeout(arguments),
                # Before it waits, perhaps for hours.
                "pre_execute": begin_run(limits, tuple(own_params)),
            }
            | tasks[WAIT],
        )
        # Airflow replaces it by the value that the sensor returned.
        pointer: Any = wait.output
        settings = {
            "wasb_conn_id": wasb_conn_id,
            "state_container": state_container or "",
            "create_container": create_container,
            "split_size": split_size,
            "task_size": task_size,
            "fidelity": fidelity,
            "run_timeout": dagrun_timeout,
            "limits": limits,
            "signing_key": signing_key,
            "aws_conn_id": aws_conn_id,
            "s3_verify": s3_verify,
            "has_events": bool(events),
            "s3_extra_args": s3_extra_args,
            "pool": tasks[COPY].get("pool") or pool or (default_args or {}).get("pool") or "",
            **memory,
        }
        copies = _copy_tasks(
            migration,
            plan_task(migration, pointer, settings, filters or {}, tasks[PLAN]),
            **stores
            | memory
            | ({"pool": pool} if pool else {})
            | {
                "state_container": state_container,
                "fidelity": fidelity,
                "max_active_tis_per_dagrun": max_active_tis_per_dagrun,
                "run_timeout": dagrun_timeout,
            }
            | tasks[COPY],
        )
        report = report_task(migration, pointer, settings, keep_state_days, tasks[REPORT])
        copies >> report >> check_task(tasks[CHECK])
        if compare_every:
            compare = {
                "every": compare_every,
                "aws_conn_id": aws_conn_id,
                "s3_arguments": {"verify": s3_verify, "hook_arguments": s3_extra_args},
            }
            copies >> compare_task(migration, settings, compare, filters or {}, checksums_from or "", tasks[COMPARE])
    return dag


def _schedule(migration: Addresses, given: Mapping[str, Any]) -> Any:
    """Return when the migration runs: by its schedule, and by events if a trigger reads them."""
    if not given["events"] or given["list_every"]:
        return given["schedule"]
    trigger = {name: given[name] for name in ("aws_conn_id", "wasb_conn_id", "s3_verify")}
    trigger |= {
        "queue_url": given["events"],
        "state_container": given["state_container"] or migration.destination.container,
    }
    return schedule_with_events(given["schedule"], migration, given["dag_id"], trigger)


def _wait_timeout(given: Mapping[str, Any]) -> timedelta:
    """Return how long a run waits: for events, at least until the next listing is due."""
    wait: timedelta = max(given["wait_timeout"], 2 * (given["list_every"] or timedelta()))
    return min(wait, given["dagrun_timeout"] or wait)


def _wait_task(migration: Addresses, given: Mapping[str, Any], **arguments: Any) -> S3ObjectsSensor:
    """Return the task that waits for objects and lists them, or takes those that were announced."""
    sensor = partial(S3EventsSensor, queue_url=given["events"], list_every=given["list_every"])
    return (sensor if given["events"] else S3ObjectsSensor)(
        task_id=WAIT,
        bucket_name=migration.source.bucket,
        prefix=migration.source.key + "{{ params.prefix or '' }}",
        manual_runs_wait="{{ params.wait }}",
        **arguments,
    )


def _copy_tasks(migration: Addresses, batches: Any, **arguments: Any) -> Any:
    """Return the copy tasks, one for each batch."""
    return S3ToAzureBlobStreamOperator.partial(
        task_id=COPY,
        s3_bucket=migration.source.bucket,
        s3_prefix=migration.source.key,
        container_name=migration.destination.container,
        blob_prefix=migration.destination.prefix,
        overwrite="{{ params.overwrite }}",
        integrity="{{ params.integrity }}",
        via="{{ params.via }}",
        objects_at_once="{{ params.objects_at_once | int }}",
        bandwidth_limit="{{ params.bandwidth_limit or '' }}",
        refused_names="{{ params.refused_names }}",
        **({"map_index_template": MAP_INDEX_TEMPLATE} | arguments),
    ).expand(batch=batches)


class _NotConfigured(BaseOperator):
    """Fails, and says that the migration has no source or no destination."""

    @raises_task_errors
    def execute(self, context: Context) -> None:
        raise UsageError(
            detail=f"DAG {context['dag'].dag_id} has no source or no destination. Pass both to migration_dag; for the "
            "example DAG set S3_TO_AZURE_SOURCE=s3://bucket/prefix/ and S3_TO_AZURE_DESTINATION=az://container/prefix "
            "in the environment of Airflow's DAG processor and workers."
        )
