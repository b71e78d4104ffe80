"""``migration_dag``: one migration as a DAG of four tasks; a DAG file needs a few lines for each.

::

    wait_for_objects >> plan >> copy (mapped over the plan's batches) >> report
"""
# ruff: noqa: ANN401, PLC0415 - DAG's keywords are Any; the SDKs are imported when a task runs, never at parse

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from airflow.sdk import DAG, Asset, BaseOperator, Context, get_current_context, task

from s3_to_azure.airflow.params import migration_params
from s3_to_azure.airflow.retry_policy import RETRY_POLICY
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.options import Overwrite
from s3_to_azure.model.uris import is_template, parse_destination_prefix, parse_source_prefix
from s3_to_azure.operators import MAP_INDEX_TEMPLATE, S3ToAzureBlobStreamOperator
from s3_to_azure.sensors import S3ObjectsSensor
from s3_to_azure.startup import collector_at_rest

if TYPE_CHECKING:
    from s3_to_azure.airflow.dag_tasks import Route

_START: Final = datetime(2026, 1, 1, tzinfo=UTC)
_DOC: Final = """\
Copies what is new or changed below `{source}` to `{destination}`: streamed through the workers' memory, each object
proven by its checksum. A retry, and the next run, send only what Azure does not hold yet. The task `report` fails the
run when anything is not accounted for; its log, and the report in the state container, name every object that failed.
"""


def migration_dag(  # noqa: PLR0913 - what a migration may say, all but the first four with defaults
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
    pool: str = "default_pool",
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
    retries: int = 5,
    retry_delay: timedelta = timedelta(minutes=1),
    max_retry_delay: timedelta = timedelta(minutes=30),
    keep_state_days: int | None = defaults.KEEP_STATE_DAYS,
    overwrite: Overwrite = defaults.OVERWRITE,
    integrity: str = defaults.INTEGRITY,
    refused_names: str = defaults.REFUSED_NAMES,
    fidelity: Mapping[str, Any] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    filters: Mapping[str, Any] | None = None,
    max_tasks: int = defaults.MAX_TASKS,
    objects_at_once: int = defaults.OBJECTS_AT_ONCE,
    bandwidth_limit: str | None = None,
    **dag_arguments: Any,
) -> DAG:
    """Return the DAG of one migration. Call it at the top level of a DAG file; nothing is connected there.

    Args:
        dag_id: Id of the DAG.
        source: ``s3://bucket/prefix/``: all below is copied. The prefix may hold templates, such as ``{{ ds }}/``.
        destination: ``az://container/prefix``. A blob's name is the prefix and the key without the source's prefix.
            Without source or destination the DAG has no schedule, and one task that says what is missing.
        schedule: When it runs, as for any DAG.
        aws_conn_id: Connection of type ``aws``; None: the workers' own identity.
        wasb_conn_id: Connection of type ``wasb``.
        state_container: Where listing, plan, receipts and report are kept; None: the destination's container. Give
            it one of its own in production: who can write there could steer a copy.
        create_container: Make missing containers.
        keys_from: ``s3://bucket/key`` of a list of keys in the source's bucket; only these are copied (see
            ``S3ObjectsSensor``). It may hold templates, such as ``{{ ds }}``.
        pool: Limits the copies of all migrations that share it; it must exist.
        max_active_tis_per_dagrun: Most copies of one run at once.
        memory_budget: Most object data in one task's memory.
        block_size: Size such as ``32MiB``; None: by the object's size.
        split_size: Objects above this size are split over several tasks.
        task_size: Less work than this is not worth a task of its own.
        s3_verify: False accepts any certificate, a path is a CA bundle; None: as the connection says, else verified.
        s3_extra_args: More keyword arguments of ``S3Hook``, for buckets that charge whoever reads, or a customer key.
        min_objects: How many objects a run waits for.
        allow_empty: Do not wait for any.
        deferrable: Wait in the triggerer; needs one that runs, and no ``s3_extra_args``.
        poke_interval: How often to look for them.
        wait_timeout: How long a run waits before it fails.
        retries: How often Airflow runs a task again after a failure that may pass.
        retry_delay: Wait before the first retry; it doubles each time.
        max_retry_delay: Longest wait.
        keep_state_days: State of runs that ended longer ago is deleted; None: never.
        overwrite: Default of the run's Param.
        integrity: Default of the run's Param.
        refused_names: Default of the run's Param.
        fidelity: What becomes of tags, tiers, archived objects and oversized metadata (docs/fidelity.md).
        include: Default of the run's Param.
        exclude: Default of the run's Param.
        filters: What else to leave out: ``min_size``, ``max_size``, ``modified_after``, ``modified_before`` (ISO 8601
            with a time zone; may hold templates, such as ``{{ data_interval_start }}``), ``storage_classes``.
        max_tasks: Default of the run's Param.
        objects_at_once: Default of the run's Param.
        bandwidth_limit: Default of the run's Param.
        dag_arguments: More arguments of ``DAG``, such as ``tags`` or ``start_date``.

    Raises:
        UsageError: An address is none.
    """
    with DAG(
        dag_id,
        schedule=schedule if source and destination else None,
        catchup=False,
        max_active_runs=1,
        default_args={
            "retries": retries,
            "retry_delay": retry_delay,
            "retry_exponential_backoff": 2,
            "max_retry_delay": max_retry_delay,
            "retry_policy": RETRY_POLICY,
        },
        params=migration_params(
            overwrite=overwrite,
            integrity=integrity,
            refused_names=refused_names,
            include=include,
            exclude=exclude,
            max_tasks=max_tasks,
            objects_at_once=objects_at_once,
            bandwidth_limit=bandwidth_limit,
        ),
        **{
            "start_date": _START,
            "doc_md": _DOC.format(source=source, destination=destination),
            "tags": ["s3_to_azure"],
            **dag_arguments,
        },
    ) as dag:
        if not source or not destination:
            _NotConfigured(task_id="not_configured", retries=0)
            return dag
        there = parse_source_prefix(source, name="source")
        here = parse_destination_prefix(destination, name="destination")
        wait = S3ObjectsSensor(
            task_id="wait_for_objects",
            bucket_name=there.bucket,
            prefix=there.key + "{{ params.prefix or '' }}",
            keys_from=keys_from,
            min_objects=min_objects,
            allow_empty=allow_empty,
            deferrable=deferrable,
            aws_conn_id=aws_conn_id,
            wasb_conn_id=wasb_conn_id,
            state_container=state_container or here.container,
            create_container=create_container,
            s3_verify=s3_verify,
            s3_extra_args=s3_extra_args,
            poke_interval=poke_interval,
            timeout=wait_timeout,
        )

        def route(
            s3_prefix: str, container: str, blob_prefix: str, filters: Mapping[str, Any] | None = None
        ) -> "Route":
            from s3_to_azure.airflow.dag_tasks import Route

            return Route(
                s3_prefix=s3_prefix,
                container=container,
                blob_prefix=blob_prefix,
                wasb_conn_id=wasb_conn_id,
                state_container=state_container or "",
                create_container=create_container,
                memory_budget=memory_budget,
                block_size=block_size,
                split_size=split_size,
                task_size=task_size,
                fidelity=fidelity,
                filters=filters,
            )

        # The names go through the arguments because Airflow renders templates there, and nowhere in a closure.
        names = {"s3_prefix": there.key, "container": here.container, "blob_prefix": here.prefix}

        @task(task_id="plan", show_return_value_in_logs=False)
        def plan(
            pointer: dict[str, Any] | None,
            s3_prefix: str,
            container: str,
            blob_prefix: str,
            filters: dict[str, Any],
        ) -> list[dict[str, Any]]:
            with collector_at_rest():
                from s3_to_azure.airflow.dag_tasks import plan_run

            return plan_run(pointer, route(s3_prefix, container, blob_prefix, filters), get_current_context())

        # Whoever waits for the data starts when all of it is proven to be there, not when some of it is.
        # An x- scheme is the only one for which Airflow does not import every provider when the DAG is parsed.
        written = [] if is_template(destination) else [Asset(f"x-az://{here.container}/{here.prefix}".rstrip("/"))]

        @task(task_id="report", trigger_rule="all_done", show_return_value_in_logs=False, outlets=written)
        def report(pointer: dict[str, Any] | None, s3_prefix: str, container: str, blob_prefix: str) -> dict[str, Any]:
            with collector_at_rest():
                from s3_to_azure.airflow.dag_tasks import report_run

            return report_run(
                pointer,
                route(s3_prefix, container, blob_prefix),
                get_current_context(),
                keep_state_days=keep_state_days,
            )

        # Airflow hands over the value that the sensor returned, where an XComArg stands for it.
        pointer: Any = wait.output
        batches = plan(pointer, **names, filters=dict(filters or {}))
        copies = S3ToAzureBlobStreamOperator.partial(
            task_id="copy",
            s3_bucket=there.bucket,
            s3_prefix=there.key,
            container_name=here.container,
            blob_prefix=here.prefix,
            aws_conn_id=aws_conn_id,
            wasb_conn_id=wasb_conn_id,
            state_container=state_container,
            overwrite="{{ params.overwrite }}",
            integrity="{{ params.integrity }}",
            objects_at_once="{{ params.objects_at_once }}",
            bandwidth_limit="{{ params.bandwidth_limit or '' }}",
            refused_names="{{ params.refused_names }}",
            fidelity=fidelity,
            memory_budget=memory_budget,
            block_size=block_size,
            s3_verify=s3_verify,
            s3_extra_args=s3_extra_args,
            pool=pool,
            max_active_tis_per_dagrun=max_active_tis_per_dagrun,
            map_index_template=MAP_INDEX_TEMPLATE,
        ).expand(batch=batches)
        copies >> report(pointer, **names)
    return dag


class _NotConfigured(BaseOperator):
    """Says that the migration has no source or no destination."""

    def execute(self, context: Context) -> None:
        raise UsageError(
            what=f"DAG {context['dag'].dag_id} has no source or no destination. Give migration_dag both; for the "
            "example DAG set S3_TO_AZURE_SOURCE=s3://bucket/prefix/ and S3_TO_AZURE_DESTINATION=az://container/prefix "
            "where Airflow's DAG processor and workers run."
        )
