"""What the tasks of a run leave for each other in Airflow, and what they ask it about each other."""

import json
import logging
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, Final

from s3_to_azure.airflow.compat import AirflowSkipException, Context
from s3_to_azure.airflow.migration.dag_arguments import COPY, PLAN, REPORT
from s3_to_azure.airflow.migration.params import RunLimits
from s3_to_azure.airflow.progress import SETTINGS_KEY
from s3_to_azure.airflow.task_errors import raises_task_errors
from s3_to_azure.model.errors import CorruptState, SomeObjectsFailed, UsageError
from s3_to_azure.model.reasons import FAILED, FINAL_STATUSES, sample_text
from s3_to_azure.state.plan import PlanReference, reference_of

PLAN_KEY: Final = "plan"
"""XCom key of the plan's summary, which the Migration page shows."""

REPORT_KEY: Final = "report"
"""XCom key of the report's summary if the report task fails or is skipped; otherwise the task returns it."""

COMPARE_KEY: Final = "compare"
"""XCom key of a comparison's summary, which the history page shows."""

WHICH_PLAN: Final = "plan"
"""Name in both summaries: which plan of the run it is."""

PLAN_DIGEST: Final = "plan_sha256"
"""Name in the plan's summary: the digest of the plan's file."""

_IN_EVENTS: Final = ("verdict", "bytes_sent", "location")
_UNFINISHED: Final = ("queued", "running")
_FINAL_STATES: Final = ("success", "failed", "skipped", "upstream_failed", "removed")

_STARTED_STATES: Final = ("running", "success", "failed", "up_for_retry")

log = logging.getLogger(__name__)


def try_number_of(context: Context) -> int:
    """Return the number of the task's try; 1 without a task, as in a unit test of a DAG."""
    return int(getattr(context.get("ti"), "try_number", 1))


def run_of_tries(context: Context) -> str:
    """Return a text that is the same for all tries of a task in one run, until the run or its task is cleared.

    With ``overwrite="always"`` a try replaces no blob that an earlier one has written. Empty without a task.
    """
    instance = context.get("ti")
    if instance is None:
        return ""
    cleared = int(getattr(instance, "max_tries", 0) or 0)
    began = getattr(context.get("dag_run"), "start_date", None)
    names = (instance.dag_id, instance.run_id, instance.task_id, instance.map_index, cleared, str(began))
    return sha256(json.dumps(names).encode()).hexdigest()[:16]


def begin_run(limits: RunLimits, names: Sequence[str]) -> Callable[[Context], None]:
    """Return what a migration's first task does before its work: it checks the run's Params, and shows them.

    Args:
        limits: What a run cannot loosen.
        names: The Params to show on the Migration page.
    """

    @raises_task_errors
    def begin(context: Context) -> None:
        limits.check(context)
        params = context["params"]
        context["ti"].xcom_push(SETTINGS_KEY, {name: params[name] for name in names if name in params})

    return begin


def report_is_final(context: Context) -> bool:
    """Return whether the run's report has ended, and nobody has cleared it: it will not look at this task's work."""
    instance: Any = context["ti"]
    if hasattr(instance, "get_task_states"):
        asked = instance.get_task_states(dag_id=instance.dag_id, task_ids=[REPORT], run_ids=[instance.run_id])
        state = asked.get(instance.run_id, {}).get(REPORT)
    else:  # 2.10, 2.11: tasks read the database
        instances: Any = getattr(context.get("dag_run"), "get_task_instances", tuple)()
        state = next((one.state for one in instances if one.task_id == REPORT), None)
    return str(getattr(state, "value", state)) in _FINAL_STATES


def copies_have_run(context: Context) -> bool:
    """Return whether a copy of this run or an earlier one has ever started, so that its pool exists, or has existed."""
    instance = context["ti"]
    ask = getattr(instance, "get_ti_count", None)
    return ask is not None and ask(dag_id=instance.dag_id, task_ids=[COPY], states=list(_STARTED_STATES)) > 0


def mapped_plan(context: Context) -> PlanReference | None:
    """Return the plan whose batches Airflow has mapped; None if it keeps none.

    The state location may show another one as the current plan: that of a task that was taken for dead, or that ran
    twice.

    Raises:
        CorruptState: What Airflow keeps is no plan's.
    """
    instance = context["ti"]
    batches = instance.xcom_pull(task_ids=PLAN)
    found = reference_of(batches) if isinstance(batches, list) else None
    if found is not None:
        return found
    summary = instance.xcom_pull(task_ids=PLAN, key=PLAN_KEY)
    token = summary.get(WHICH_PLAN) if isinstance(summary, Mapping) else None
    return PlanReference(str(token), str(summary.get(PLAN_DIGEST) or "")) if token else None


def reported_plan(context: Context) -> PlanReference | None:
    """Return the plan of the run's report; None without a report."""
    instance = context["ti"]
    report = instance.xcom_pull(task_ids=REPORT) or instance.xcom_pull(task_ids=REPORT, key=REPORT_KEY)
    token = report.get(WHICH_PLAN) if isinstance(report, Mapping) else None
    return PlanReference(str(token)) if token else None


def is_over(context: Context) -> Callable[[str], bool | None]:
    """Return a function that tells whether the run of an id has ended; None if Airflow has no such run of this DAG."""
    instance = context["ti"]

    def told(run_id: str) -> bool | None:
        state = _state_of_run(instance, run_id)
        return None if state is None else state not in _UNFINISHED

    return told


def _state_of_run(instance: Any, run_id: str) -> str | None:  # noqa: ANN401 - a task instance of any version
    """Return the state of a run of the task's DAG; None if Airflow has no such run, or does not tell."""
    try:
        if hasattr(instance, "get_dagrun_state"):
            state = instance.get_dagrun_state(dag_id=instance.dag_id, run_id=run_id)
        else:  # 2.10, 2.11: tasks read the database
            from airflow.models import DagRun  # noqa: PLC0415 - not allowed in a task of 3.0 and later

            state = next((run.state for run in DagRun.find(dag_id=instance.dag_id, run_id=run_id)), None)
    except Exception:
        log.debug("Airflow does not tell the state of the run %r", run_id, exc_info=True)
        return None
    return None if state is None else str(getattr(state, "value", state))


def failed_tasks(context: Context, task_ids: Iterable[str]) -> list[str]:
    """Return those of the tasks that have failed in the run, in the given order."""
    instance: Any = context["ti"]
    if hasattr(instance, "get_task_states"):
        states = instance.get_task_states(dag_id=instance.dag_id, run_ids=[instance.run_id]).get(instance.run_id, {})
    else:  # 2.10, 2.11: tasks read the database
        run: Any = context["dag_run"]
        states = {one.task_id: one.state for one in run.get_task_instances(state=["failed"])}
    failed = {name for name, state in states.items() if str(getattr(state, "value", state)) == "failed"}
    # The index of a mapped task follows its id.
    return [task_id for task_id in task_ids if any(re.fullmatch(f"{task_id}(_[0-9]+)?", name) for name in failed)]


def check_deadline(context: Context, run_timeout: timedelta | None) -> float | None:
    """Return how many seconds the run has left; None without a limit.

    Raises:
        UsageError: It has none left.
    """
    started = context["dag_run"].start_date if run_timeout is not None else None
    if run_timeout is None or started is None:
        return None
    left_s = (started + run_timeout - datetime.now(UTC)).total_seconds()
    if left_s <= 0:
        raise UsageError(
            detail=f"The run is older than its dagrun_timeout of {run_timeout}. What was copied stays, and so do the "
            "staged blocks: the next run sends only what is missing."
        )
    return left_s


def report_of_plan(context: Context) -> Mapping[str, Any] | None:
    """Return the summary of the report of the run's current plan; None if there is none."""
    instance = context["ti"]
    report = instance.xcom_pull(task_ids=REPORT) or instance.xcom_pull(task_ids=REPORT, key=REPORT_KEY)
    plan = instance.xcom_pull(task_ids=PLAN, key=PLAN_KEY)
    if not isinstance(report, Mapping) or not isinstance(plan, Mapping):
        return None
    return report if report.get(WHICH_PLAN) == plan.get(WHICH_PLAN) else None


@raises_task_errors
def check_run(context: Context) -> None:
    """Fail the run unless its report accounts for every object of its plan.

    A report that was marked by hand, or skipped by Airflow, has left nothing; one of an earlier plan names that plan.

    Raises:
        AirflowSkipException: The run is a dry run.
        CorruptState: There is no report of the run's current plan.
        SomeObjectsFailed: An object failed, or is not accounted for.
    """
    if context["params"]["dry_run"]:
        raise AirflowSkipException("Dry run: nothing was copied, so there is no report to check")
    instance, report = context["ti"], report_of_plan(context)
    if report is None:
        raise CorruptState(
            path=f"{instance.dag_id}/{instance.run_id}",
            detail="the run has no report of its plan: the task report was skipped, was marked by hand, or ran for an "
            "earlier plan. Clear it together with its downstream task",
        )
    failed, listed = report[FAILED]["objects"], report["listed"]["objects"]
    if failed:
        log.warning("%s. The log of the task %s has a sample of each reason", report.get("verdict", ""), REPORT)
        first = next(iter(report["failures"]), {"key": "", "reason": ""})
        raise SomeObjectsFailed(failed=failed, total=listed, first=sample_text(first["key"], first["reason"]))
    log.info("The report accounts for all %s objects", f"{listed:,}")


def note_counts(context: Context, report: Mapping[str, Any]) -> None:
    """Put the report's verdict and counts into the events of the assets that this task's success updates."""
    counts = {status: report[status]["objects"] for status in ("listed", *FINAL_STATUSES)}
    extra = counts | {name: report[name] for name in _IN_EVENTS if name in report}
    for outlet in getattr(context.get("task"), "outlets", ()):
        context["outlet_events"][outlet].extra = dict(extra)


def run_type_of(context: Context) -> str:
    """Return what has started the run: ``manual``, ``scheduled``, ``asset_triggered``, ``backfill`` and others."""
    found = context["dag_run"].run_type
    return str(getattr(found, "value", found))


def is_started_by_hand(context: Context) -> bool:
    """Return whether somebody has started the run."""
    return run_type_of(context) == "manual"
