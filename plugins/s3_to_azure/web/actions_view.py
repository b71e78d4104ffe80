"""What the Migration page offers to do with a run. No I/O: the browser asks Airflow's own API to do it."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from s3_to_azure.web.batch_view import is_copy, log_try
from s3_to_azure.web.queries import COMPARE_TASK, PLAN_TASK, REPORT_TASK, SENSORS, TaskRow

_CHECK_TASK: Final = "check_report"
# They depend on the copies, so Airflow clears them together with these.
_AFTER_THE_COPIES: Final = (REPORT_TASK, _CHECK_TASK)
_ORDER: Final = (PLAN_TASK, *_AFTER_THE_COPIES, COMPARE_TASK)


def actions_view(tasks: Sequence[TaskRow], may: Mapping[str, bool]) -> dict[str, Any]:
    """Return the actions as JSON-ready values.

    Args:
        tasks: The run's task instances.
        may: What Airflow lets the user do, as ``airflow_internals.may_act`` returns it.

    Returns:
        ``retry`` has the failed tasks as Airflow's API names them, without those that depend on them; ``logs`` has the
        tasks other than copies that have a log, in the order in which they run.
    """
    ours = [task for task in tasks if is_copy(task) or task.operator in SENSORS or task.task_id in _ORDER]
    failed = [task for task in ours if task.state == "failed" and task.task_id not in _AFTER_THE_COPIES]
    with_logs = [task for task in ours if not is_copy(task) and log_try(task)]
    return {
        "may": dict(may),
        "retry": [[task.task_id, task.map_index] if task.map_index >= 0 else task.task_id for task in failed],
        "logs": [
            {"task_id": task.task_id, "map_index": task.map_index, "try_number": log_try(task)}
            for task in sorted(with_logs, key=_order)
        ],
    }


def _order(task: TaskRow) -> int:
    return _ORDER.index(task.task_id) if task.task_id in _ORDER else -1
