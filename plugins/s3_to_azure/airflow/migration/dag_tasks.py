"""The tasks of a migration around its copies: the plan before them, the report after them.

Imported when one of these tasks runs, never when a DAG is parsed, because the SDKs are slow to import.
"""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager, ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any, Final

from s3_to_azure.airflow.azure_hook import azure_service, run_files
from s3_to_azure.airflow.compat import AirflowSkipException, Context, is_missing_pool
from s3_to_azure.airflow.connections import CUSTOMER_KEY, find_connection
from s3_to_azure.airflow.metrics import Measured, send
from s3_to_azure.airflow.migration.dag_arguments import REPORT, STATE_CONNECTION, STATE_CONTAINER
from s3_to_azure.airflow.migration.params import RunLimits
from s3_to_azure.airflow.migration.run_events import RunEvents
from s3_to_azure.airflow.migration.run_state import (
    PLAN_DIGEST,
    PLAN_KEY,
    REPORT_KEY,
    WHICH_PLAN,
    check_deadline,
    copies_have_run,
    is_over,
    mapped_plan,
    note_counts,
    report_is_final,
    reported_plan,
    try_number_of,
)
from s3_to_azure.airflow.migration.signing_key import opened_signer
from s3_to_azure.airflow.task_errors import raises_task_errors
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import CorruptState, UsageError
from s3_to_azure.model.filters import read_filters
from s3_to_azure.model.formatting import count_text
from s3_to_azure.model.names import folder_name
from s3_to_azure.model.objects import Amount, FetchAccess
from s3_to_azure.model.options import VIA_WORKER
from s3_to_azure.model.ports import Signer
from s3_to_azure.model.reasons import FAILED
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import Fidelity, RetryBudget, parse_size
from s3_to_azure.planning.overlap import MAPPINGS, NameMapping, planned_overlaps
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.certificate import Certification
from s3_to_azure.runs.report import Report, make_report
from s3_to_azure.runs.signatures import check_signer
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.state.plan import mapped_batches, read_plan
from s3_to_azure.stores.azure.client import StreamingClient
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.state import AzureState
from s3_to_azure.transfer.fetched.eligibility import planned_access
from s3_to_azure.transfer.watchdog import TASK_GRACE_S, StopEvent, TaskStop, run_stoppable

_AFTER_FAILURES: Final = (
    " What to do: remove the causes above, then clear the failed copy tasks with their downstream tasks, or start a "
    "new run; either sends only what Azure does not hold. The file report.csv has every failed object"
)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What the DAG's author has set for all runs; the templates in it are rendered.

    Attributes:
        state_container: Container of the run's state files; empty: the destination's container.
        run_timeout: A run that is older is not planned; None: no limit.
        limits: What a run cannot loosen.
        pool: The copies' pool; empty: Airflow's default, which always exists.
        signing_key: Signs the certificate, as ``opened_signer`` reads it; None: it is unsigned.
        aws_conn_id: Connection of type ``aws``, with which a key in KMS signs; a plan looks at its endpoint.
        s3_verify: As for ``s3_source``.
        has_events: Some runs copy what events announce.
        s3_extra_args: How objects are read.
    """

    s3_prefix: str
    container: str
    blob_prefix: str
    wasb_conn_id: str
    state_container: str = ""
    create_container: bool = False
    memory_budget: str | int = defaults.MEMORY_BUDGET
    block_size: str | int | None = None
    split_size: str | int = defaults.SPLIT_SIZE
    task_size: str | int = defaults.TASK_SIZE
    fidelity: Mapping[str, Any] | None = None
    filters: Mapping[str, Any] | None = None
    run_timeout: timedelta | None = None
    limits: RunLimits = field(default_factory=RunLimits)
    pool: str = ""
    signing_key: str | None = None
    aws_conn_id: str | None = defaults.AWS_CONN_ID
    s3_verify: bool | str | None = None
    has_events: bool = False
    s3_extra_args: Mapping[str, Any] | None = None

    def service(self, context: Context) -> StreamingClient:
        """Return a client of the storage account."""
        return azure_service(self.wasb_conn_id, connections=1, worked_before=try_number_of(context) > 1)

    def files(self, service: StreamingClient, context: Context) -> AzureState:
        """Return the run's state files."""
        return run_files(service, self.state_container or self.container, context)

    def signer(self, service: StreamingClient, stop: StopEvent) -> AbstractContextManager[Signer | None]:
        """Open what signs the run's certificate; None without a key."""
        return opened_signer(
            self.signing_key, service, aws_conn_id=self.aws_conn_id, s3_verify=self.s3_verify, stop=stop
        )


@raises_task_errors
def plan_run(pointer: Mapping[str, Any] | None, settings: RunSettings, context: Context) -> list[dict[str, Any]]:
    """Plan the run; return the batches to map over, none for a dry run or if there is nothing to copy.

    Once the run's report is final, its plan stands: objects of another plan would be copied, or not, and no report
    would say so.

    Args:
        pointer: The sensor's XCom, which points to the listing.
        settings: The migration's.
        context: The task's.

    Raises:
        CorruptState: There is no listing, or it does not match its pointer.
        UsageError: The run is too old, or is asked for something that the migration does not allow.
    """
    check_deadline(context, settings.run_timeout)
    settings.limits.check(context)
    with closing(settings.service(context)) as service:
        stop = stop_of(context)
        with settings.signer(service, stop) as signer:
            if signer:
                # Before hours of copying: a key that is missing, or must not be used, would fail the report.
                run_stoppable(partial(check_signer, signer), stop, grace_s=TASK_GRACE_S)
        how = plan_settings(settings, context["params"], began=getattr(context.get("dag_run"), "start_date", None))
        files = settings.files(service, context)
        stands = read_plan(files, reported_plan(context)) if report_is_final(context) else None
        if stands is not None:
            log.warning("The run's report is final, so its plan stands. To plan again, clear %s too", REPORT)
            summary, reference, batches = stands.summary, stands.reference, stands.index.batches
        else:
            manifest, destination = _manifest_pointer(pointer, files), AzureContainer(service, settings.container)
            log.info("Planning the copy of %s", _what(manifest, settings))
            if how.via != VIA_WORKER:
                how = replace(how, access=_access(settings, manifest.bucket))
            retrier = Retrier(RetryBudget(), stop)

            def make() -> tuple[Plan, list[str]]:
                retrier.call("look at the container", lambda: destination.check(create=settings.create_container))
                plan = make_plan(files, manifest, destination, how, retrier=retrier, try_number=try_number_of(context))
                return plan, _overlaps(settings, manifest.bucket, service, context)

            plan, overlaps = run_stoppable(make, stop, grace_s=TASK_GRACE_S)
            summary, reference, batches = plan.summary(), plan.reference, plan.batches
            summary["warnings"] += overlaps
    is_dry_run = bool(context["params"]["dry_run"])
    names = {
        "container": settings.container,
        "blob_prefix": settings.blob_prefix,
        STATE_CONNECTION: settings.wasb_conn_id,
        STATE_CONTAINER: settings.state_container or settings.container,
        WHICH_PLAN: reference.token,
        PLAN_DIGEST: reference.sha256,
    }
    context["ti"].xcom_push(PLAN_KEY, {**summary, **names, "dry_run": is_dry_run})
    if is_dry_run:
        log.info("Dry run: nothing is copied")
        log.info("What to do: read the plan above, then start a run without Dry run, which copies")
        return []
    _say_what_is_next(len(batches), sum(amount["objects"] for amount in summary[FAILED].values()))
    if batches and settings.pool not in ("", "default_pool"):
        _check_pool(settings.pool, context)
    return mapped_batches(batches, reference)


def _say_what_is_next(batches: int, refused: int) -> None:
    """Log the last line of a plan: which tasks follow, and that the run fails if something cannot be copied."""
    tasks = (
        f"{count_text(batches, 'copy task')}, then the report" if batches else "the report, as there is no copy task"
    )
    if refused:
        log.warning(
            "Next: %s, which fails the run, as %s cannot be copied. To let such a run succeed, remove the causes "
            "above, or exclude these objects",
            tasks,
            count_text(refused, "object"),
        )
    else:
        log.info("Next: %s", tasks)


def _check_pool(pool: str, context: Context) -> None:
    """Tell of a pool that does not exist: Airflow leaves the copies ``scheduled``, and no task's log says why.

    Raises:
        UsageError: It does not exist.
    """
    cure = f'`airflow pools set {pool} 8 "copies to Azure"` creates it'
    if is_missing_pool(pool):
        raise UsageError(detail=f"There is no pool {pool!r}, so no copy would start. {cure}; then clear this task.")

    # Airflow 3 does not answer a task: it can only know that the pool has served a copy.
    has_served = copies_have_run(context)
    log.log(
        logging.INFO if has_served else logging.WARNING,
        "The copies wait for slots of the pool %r%s. If none starts, see whether it exists: the run's Migration page "
        "says so, and %s",
        pool,
        "" if has_served else ", in which no copy of this migration has run yet",
        cure,
    )


def _overlaps(settings: RunSettings, bucket: str, service: StreamingClient, context: Context) -> list[str]:
    """Return, and log, a warning if the run and another DAG's latest can write the same blobs."""
    dag_id, container = context["ti"].dag_id, settings.container
    files = AzureState(service, settings.state_container or container, dag_id=MAPPINGS, run_id=container)
    # The state container is in the same account.
    mapping = NameMapping(dag_id, bucket, settings.s3_prefix, "", container, settings.blob_prefix)
    found = planned_overlaps(files, f"{folder_name(dag_id)}.json", mapping)
    for warning in found:
        log.warning("%s", warning)
    return found


def _access(settings: RunSettings, bucket: str) -> FetchAccess:
    """Return how Azure would read the bucket, as far as the migration's settings and its connection tell."""
    connection = find_connection(settings.aws_conn_id) if settings.aws_conn_id else None
    own = connection.extra_dejson if connection else {}
    given = dict(settings.s3_extra_args or {})
    reading = dict(given.get("extra_args") or {})
    if given.get("requester_pays"):
        reading["RequestPayer"] = "requester"
    reading.setdefault("SSECustomerKey", own.get(CUSTOMER_KEY))
    service = (own.get("service_config") or {}).get("s3") or {}
    return planned_access(
        bucket, endpoint_url=service.get("endpoint_url") or own.get("endpoint_url"), extra_arguments=reading
    )


def plan_settings(settings: RunSettings, params: Mapping[str, Any], *, began: datetime | None = None) -> PlanSettings:
    """Return the settings of the plan: the migration's own, and the run's Params.

    Args:
        settings: The migration's.
        params: The run's.
        began: When the run began: ages such as ``24h`` count back from it, so that they mean the same in each try.
    """
    own = read_filters(settings.filters or {}, include=params["include"], now=began)
    return PlanSettings(
        s3_prefix=settings.s3_prefix,
        blob_prefix=settings.blob_prefix,
        overwrite=params["overwrite"],
        integrity=params["integrity"],
        via=params.get("via", defaults.VIA),
        filters=replace(
            own.narrowed(settings.limits.filters_of(params, began=began)),
            within=settings.limits.include,
            exclude=(*settings.limits.exclude, *(params["exclude"] or ())),
        ),
        refused_names=params["refused_names"],
        archived=Fidelity.of(settings.fidelity).archived,
        max_tasks=int(params["max_tasks"]),
        split_bytes=parse_size(settings.split_size, name="split_size"),
        batch_bytes=parse_size(settings.task_size, name="task_size"),
        memory_budget_bytes=parse_size(settings.memory_budget, name="memory_budget"),
        block_bytes=parse_size(settings.block_size, name="block_size") if settings.block_size else None,
    )


@raises_task_errors
def report_run(
    pointer: Mapping[str, Any] | None, settings: RunSettings, context: Context, *, keep_state_days: int | None
) -> dict[str, Any]:
    """Reconcile the run's receipts with its listing; return the report's summary.

    Args:
        pointer: The sensor's XCom, which points to the listing.
        settings: The migration's.
        context: The task's.
        keep_state_days: The state files of runs that ended longer ago are deleted; None: none are.

    Raises:
        SomeObjectsFailed: An object failed, or is not accounted for.
        AirflowSkipException: The run is a dry run, or no event has announced anything to it.
        CorruptState: The run has no listing.
    """
    with ExitStack() as stack:
        service = stack.enter_context(closing(settings.service(context)))
        files = settings.files(service, context)
        manifest = _manifest_pointer(pointer, files)
        if context["params"]["dry_run"]:
            context["ti"].xcom_push(REPORT_KEY, {"dry_run": True})
            # Skipped, because a success would update the asset and start the DAGs that wait for the data.
            raise AirflowSkipException(
                "Dry run: nothing was copied, so there is no report; the plan is in the log of the task plan"
            )
        log.info("Reporting on the copy of %s", _what(manifest, settings))
        stop = stop_of(context)
        certification = Certification(stack.enter_context(settings.signer(service, stop)), service.account_url)
        plan, told = mapped_plan(context), is_over(context)
        container = settings.state_container or settings.container
        events = (
            RunEvents.of(service, container, manifest, context, limits=settings.limits) if settings.has_events else None
        )

        def make() -> Report:
            report = make_report(
                files,
                manifest,
                destination=AzureContainer(service, settings.container),
                plan=plan,
                try_number=try_number_of(context),
                keep_days=keep_state_days,
                is_over=told,
                certification=certification,
                missed=events.missed() if events else None,
            )
            if events:
                events.settle()
            return report

        report = run_stoppable(make, stop, grace_s=TASK_GRACE_S)
    summary = report.summary()
    if events and manifest.looked_up:
        # The history groups these runs.
        summary["announced"] = True
    note_counts(context, summary)
    send(Measured.of_report(summary), context)
    for line in report.lines():
        log.info("%s", line)
    error = report.error()
    log.log(logging.WARNING if error else logging.INFO, "%s.%s", report.verdict(), _AFTER_FAILURES if error else "")
    if error:
        # A failed task returns no value, and the report of a failed run matters most.
        context["ti"].xcom_push(REPORT_KEY, summary)
        raise error
    if events and manifest.looked_up and not manifest.objects:
        context["ti"].xcom_push(REPORT_KEY, summary)
        # A success would update the asset.
        raise AirflowSkipException("Another run has copied what the events announced, or it exists no longer")
    return summary


def stop_of(context: Context) -> StopEvent:
    """Return the event that the task's ``on_kill`` sets; as a decorated function it has no such method of its own."""
    operator = getattr(context["ti"], "task", None)
    stop = getattr(getattr(operator, "on_kill", None), "__self__", None)
    if not isinstance(stop, TaskStop):
        stop = TaskStop()
        if operator is not None:
            operator.on_kill = stop.stop
    return stop.begin()


def _what(manifest: ManifestPointer, settings: RunSettings) -> str:
    """Return the source, the destination and the amount as the end of a sentence."""
    listed = Amount(manifest.objects, manifest.bytes_total)
    return (
        f"s3://{manifest.bucket}/{manifest.prefix} to az://{settings.container}/{settings.blob_prefix}: "
        f"{listed.text()} listed"
    )


def _manifest_pointer(values: Mapping[str, Any] | None, files: AzureState) -> ManifestPointer:
    if values is None:
        raise CorruptState(
            path=files.location, detail="this run has no listing; the log of the task wait_for_objects says why"
        )
    return ManifestPointer.from_dict(values)
