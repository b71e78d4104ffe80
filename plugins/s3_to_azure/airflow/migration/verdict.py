"""The result of a run or of a task in one sentence, as a notification says it."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from jinja2 import pass_context

from s3_to_azure.airflow.compat import Context
from s3_to_azure.airflow.migration.dag_arguments import CHECK, PLAN, REPORT, TASKS
from s3_to_azure.airflow.migration.run_state import PLAN_KEY, failed_tasks, report_of_plan
from s3_to_azure.model.formatting import count_text, verdict_text
from s3_to_azure.model.reasons import FAILED, FINAL_STATUSES

_OF_THE_RUN: Final = (REPORT, CHECK)
"""The tasks whose result is that of the run."""

_MAX_CHARACTERS: Final = 1_000

log = logging.getLogger(__name__)


def verdict(context: Context) -> str:
    """Return the result in one sentence or a few; it never raises, because the notification would be lost.

    Args:
        context: What Airflow passes to a callback of a task.
    """
    try:
        text = _of_run(context) or _of_task(context)
    except Exception as error:
        log.warning("The result is not known", exc_info=True)
        text = f"The result is not known: {error}"
    # An error that is not ours may hold what it was given, and a notification leaves this installation.
    from s3_to_azure.stores.http.redaction import redact  # noqa: PLC0415 - not for whoever parses DAGs

    return " ".join(redact(text).split())[:_MAX_CHARACTERS]


@pass_context
def template_verdict(context: Any) -> str:  # noqa: ANN401 - Jinja's own type
    """Return the same in a template, as ``{{ verdict() }}``."""
    return verdict(context)


def _of_run(context: Context) -> str:
    """Return the result of the run of a migration; empty if the task is not one of those that account for it."""
    instance, dag = context["ti"], context["dag"]
    if not dag.has_task(CHECK) or (instance.task_id not in _OF_THE_RUN and dag.has_task(instance.task_id)):
        return ""
    report = report_of_plan(context)
    if report is not None:
        return f"{report.get('verdict') or _counted(report)}."
    plan = instance.xcom_pull(task_ids=PLAN, key=PLAN_KEY)
    if isinstance(plan, Mapping) and plan.get("dry_run"):
        refused = sum(amount["objects"] for amount in plan[FAILED].values())
        others = f"; {refused:,} cannot be copied" if refused else ""
        listed = count_text(plan["listed"]["objects"], "object")
        return f"Dry run: {plan['copy']['objects']:,} of {listed} would be copied{others}."
    cause = next(iter(failed_tasks(context, TASKS)), REPORT)
    if cause not in _OF_THE_RUN:
        return f"The task {cause} failed, so no report accounts for the objects; its log says why."
    return "The run has no report, so nothing accounts for its objects."


def _of_task(context: Context) -> str:
    """Return the result of one task."""
    instance, error = context["ti"], context.get("exception")
    if error:
        return f"The task {instance.task_id} failed: {error}"
    value = instance.xcom_pull(task_ids=instance.task_id)
    if isinstance(value, Mapping) and "objects" in value:
        return f"{_counted(value)}."
    if isinstance(value, Mapping) and "status" in value and "key" in value:
        return f"{str(value['status']).capitalize()}: {value['key']!r}."
    return f"The task {instance.task_id} has ended."


def _counted(values: Mapping[str, Any]) -> str:
    """Return the verdict of counts by status, each a number or an amount."""
    counts = {status: _number(values.get(status)) for status in FINAL_STATUSES}
    return verdict_text(listed=sum(counts.values()), **counts, reasons=max(1, len(values.get("reasons") or ())))


def _number(value: Any) -> int:  # noqa: ANN401 - any JSON
    return int(value["objects"] if isinstance(value, Mapping) else value or 0)
