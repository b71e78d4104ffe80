"""The migration's own tasks: plan before the copies, report after them.

Heavy to import (the SDKs come with the connections): imported when they run, never when a DAG is parsed.
"""

import logging
import threading
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, Final

from airflow.sdk import Context
from airflow.sdk.exceptions import AirflowSkipException

from s3_to_azure.airflow.azure_hook import azure_service, run_files
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
"""XCom key under which the plan task leaves the plan's summary, for the web page."""

REPORT_KEY: Final = "report"
"""XCom key under which the report task leaves its summary when it fails or is skipped; else it returns it."""

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Route:
    """From where to where one run copies, rendered; all of it from DAG code.

    Attributes:
        state_container: Empty: the destination's.
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


def plan_run(pointer: Mapping[str, Any] | None, route: Route, context: Context) -> list[dict[str, Any]]:
    """Plan the run; return the batches to map over: none on a dry run, or when there is nothing to copy.

    Raises:
        CorruptState: There is no listing, or it is not what its pointer says.
    """
    with closing(azure_service(route.wasb_conn_id, connections=1)) as service:
        return _plan(service, pointer, route, context)


def _plan(
    service: StreamingClient, pointer: Mapping[str, Any] | None, route: Route, context: Context
) -> list[dict[str, Any]]:
    params = context["params"]
    settings = PlanSettings(
        s3_prefix=route.s3_prefix,
        blob_prefix=route.blob_prefix,
        overwrite=params["overwrite"],
        filters=read_filters(route.filters or {}, include=params["include"], exclude=params["exclude"]),
        refused_names=params["refused_names"],
        archived=Fidelity.of(route.fidelity).archived,
        max_tasks=params["max_tasks"],
        split_bytes=parse_size(route.split_size, name="split_size"),
        batch_bytes=parse_size(route.task_size, name="task_size"),
        memory_budget_bytes=parse_size(route.memory_budget, name="memory_budget"),
        block_bytes=parse_size(route.block_size, name="block_size") if route.block_size else None,
    )
    destination = AzureContainer(service, route.container)
    retrier = Retrier(RetryBudget(), threading.Event())
    retrier.call("look at the container", lambda: destination.check(create=route.create_container))
    files = run_files(service, route.state_container or route.container, context)
    plan = make_plan(files, _pointer(pointer, files), destination, settings, retrier=retrier)
    summary = plan.summary()
    known = {"container": route.container, "blob_prefix": route.blob_prefix, "dry_run": bool(params["dry_run"])}
    context["ti"].xcom_push(PLAN_KEY, summary | known)
    if params["dry_run"]:
        log.info("Dry run: nothing is copied")
        return []
    return [batch.as_dict() for batch in plan.batches]


def report_run(
    pointer: Mapping[str, Any] | None, route: Route, context: Context, *, keep_state_days: int | None
) -> dict[str, Any]:
    """Reconcile the run's receipts with its listing; return the report's summary.

    Raises:
        SomeObjectsFailed: Something failed, or is not accounted for.
        AirflowSkipException: It is a dry run.
        CorruptState: The run has no listing.
    """
    with closing(azure_service(route.wasb_conn_id, connections=1)) as service:
        return _report(service, pointer, route, context, keep_state_days)


def _report(
    service: StreamingClient,
    pointer: Mapping[str, Any] | None,
    route: Route,
    context: Context,
    keep_state_days: int | None,
) -> dict[str, Any]:
    files = run_files(service, route.state_container or route.container, context)
    known = _pointer(pointer, files)
    if context["params"]["dry_run"]:
        context["ti"].xcom_push(REPORT_KEY, {"dry_run": True})
        # Not a success: that would say to whoever waits for the data that it is there.
        raise AirflowSkipException(
            "Dry run: nothing was copied, so there is nothing to report; the plan is in the log of task plan"
        )
    report = make_report(files, known, keep_days=keep_state_days)
    summary = report.summary()
    for line in report.lines():
        log.info("%s", line)
    error = report.error()
    if error:
        # A failed task has no return value, and this report is the one that is looked for.
        context["ti"].xcom_push(REPORT_KEY, summary)
        raise error
    return summary


def _pointer(values: Mapping[str, Any] | None, files: AzureState) -> ManifestPointer:
    if values is None:
        raise CorruptState(path=files.location, detail="this run has no listing; see the log of the task that waits")
    return ManifestPointer.from_dict(values)
