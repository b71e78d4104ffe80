"""The tasks of a migration around its copies: the plan before them, the report after them.

Imported when one of these tasks runs, never when a DAG is parsed, because the SDKs are slow to import.
"""

import logging
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from s3_to_azure.airflow.azure_hook import azure_service, run_files
from s3_to_azure.airflow.compat import AirflowSkipException, Context, raises_task_errors
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import Fidelity, RetryBudget, parse_size
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings, read_filters
from s3_to_azure.runs.report import make_report
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.stores.azure.client import StreamingClient
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.state import AzureState

PLAN_KEY: Final = "plan"
"""XCom key of the plan's summary, which the Migration page shows."""

REPORT_KEY: Final = "report"
"""XCom key of the report's summary if the report task fails or is skipped; otherwise the task returns it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class RunSettings:
    """What the DAG's author has set for all runs; the templates in it are rendered.

    Attributes:
        state_container: Container of the run's state files; empty: the destination's container.
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

    def service(self, context: Context) -> StreamingClient:
        """Return a client of the storage account."""
        return azure_service(self.wasb_conn_id, connections=1, worked_before=context["ti"].try_number > 1)

    def files(self, service: StreamingClient, context: Context) -> AzureState:
        """Return the run's state files."""
        return run_files(service, self.state_container or self.container, context)


@raises_task_errors
def plan_run(pointer: Mapping[str, Any] | None, settings: RunSettings, context: Context) -> list[dict[str, Any]]:
    """Plan the run; return the batches to map over, none for a dry run or if there is nothing to copy.

    Args:
        pointer: The sensor's XCom, which points to the listing.
        settings: The migration's.
        context: The task's.

    Raises:
        CorruptState: There is no listing, or it does not match its pointer.
    """
    with closing(settings.service(context)) as service:
        how = plan_settings(settings, context["params"])
        destination = AzureContainer(service, settings.container)
        retrier = Retrier(RetryBudget(), threading.Event())
        retrier.call("look at the container", lambda: destination.check(create=settings.create_container))
        files = settings.files(service, context)
        plan = make_plan(files, _manifest_pointer(pointer, files), destination, how, retrier=retrier)
    summary = plan.summary()
    is_dry_run = bool(context["params"]["dry_run"])
    destination_names = {"container": settings.container, "blob_prefix": settings.blob_prefix}
    context["ti"].xcom_push(PLAN_KEY, summary | destination_names | {"dry_run": is_dry_run})
    if is_dry_run:
        log.info("Dry run: nothing is copied")
        return []
    return [batch.as_dict() for batch in plan.batches]


def plan_settings(settings: RunSettings, params: Mapping[str, Any]) -> PlanSettings:
    """Return the settings of the plan: the migration's own, and the run's Params."""
    return PlanSettings(
        s3_prefix=settings.s3_prefix,
        blob_prefix=settings.blob_prefix,
        overwrite=params["overwrite"],
        integrity=params["integrity"],
        filters=read_filters(settings.filters or {}, include=params["include"], exclude=params["exclude"]),
        refused_names=params["refused_names"],
        archived=Fidelity.of(settings.fidelity).archived,
        max_tasks=params["max_tasks"],
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
        AirflowSkipException: The run is a dry run.
        CorruptState: The run has no listing.
    """
    with closing(settings.service(context)) as service:
        files = settings.files(service, context)
        manifest = _manifest_pointer(pointer, files)
        if context["params"]["dry_run"]:
            context["ti"].xcom_push(REPORT_KEY, {"dry_run": True})
            # Skipped, because a success would update the asset and start the DAGs that wait for the data.
            raise AirflowSkipException(
                "Dry run: nothing was copied, so there is no report; the plan is in the log of the task plan"
            )
        report = make_report(
            files, manifest, destination=AzureContainer(service, settings.container), keep_days=keep_state_days
        )
    summary = report.summary()
    for line in report.lines():
        log.info("%s", line)
    error = report.error()
    if error:
        # A failed task returns no value, and the report of a failed run matters most.
        context["ti"].xcom_push(REPORT_KEY, summary)
        raise error
    return summary


def _manifest_pointer(values: Mapping[str, Any] | None, files: AzureState) -> ManifestPointer:
    if values is None:
        raise CorruptState(
            path=files.location, detail="this run has no listing; the log of the task wait_for_objects says why"
        )
    return ManifestPointer.from_dict(values)
