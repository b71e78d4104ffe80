"""Why tasks of a run failed, in the tasks' own words, the first cause first. No I/O."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from s3_to_azure.model.errors import RetryableObjectsFailed, SomeObjectsFailed
from s3_to_azure.web.batch_view import is_copy, log_try
from s3_to_azure.web.queries import PLAN_TASK, REPORT_TASK, SENSORS, TaskRow
from s3_to_azure.web.values import number, text

_MOST: Final = 20
_FAILED: Final = ("failed", "up_for_retry")
# These say that objects failed, which the page shows object by object.
_OF_OBJECTS: Final = (SomeObjectsFailed.__name__, RetryableObjectsFailed.__name__)
# After every time.
_LATEST: Final = "9999"


@dataclass(frozen=True, slots=True)
class Cause:
    """Why one task failed, or several for the same reason.

    Attributes:
        map_index: The first of these tasks.
        tasks: How many there are.
        will_retry: Whether Airflow runs it again.
        error: The name of the error; empty if the task could not note any.
        message: Its sentence, which says what to do.
        subject: What the task reads; empty if that is not known.
        log_try: The try whose log has more.
    """

    task_id: str
    map_index: int
    tasks: int
    will_retry: bool
    error: str
    message: str
    subject: str
    log_try: int

    def as_dict(self) -> dict[str, Any]:
        """Return the values for the browser."""
        return {name: getattr(self, name) for name in self.__slots__}


def causes_of(tasks: Sequence[TaskRow], *, objects_are_shown: bool) -> list[Cause]:
    """Return why tasks failed, in the order of the run's tasks, each error once.

    Args:
        tasks: The run's.
        objects_are_shown: Whether the page shows failed objects, so that the tasks that failed by them need no word.
    """
    failed = [task for task in tasks if task.state in _FAILED]
    found: dict[tuple[str, str, str, bool], list[TaskRow]] = {}
    for task in sorted(failed, key=_order):
        note = _note(task)
        if objects_are_shown and (note["error"] in _OF_OBJECTS or (not note["error"] and _has_failed_objects(task))):
            continue
        key = (task.task_id, note["error"], note["message"], task.state == "up_for_retry")
        found.setdefault(key, []).append(task)
    return [
        Cause(
            task_id=task_id,
            map_index=members[0].map_index,
            tasks=len(members),
            will_retry=will_retry,
            error=error,
            message=message,
            subject=_note(members[0])["subject"],
            log_try=max(1, log_try(members[0])),
        )
        for (task_id, error, message, will_retry), members in list(found.items())[:_MOST]
    ]


def _has_failed_objects(task: TaskRow) -> bool:
    return task.task_id == REPORT_TASK or number(task.progress, "objects_failed") > 0


def _note(task: TaskRow) -> dict[str, str]:
    """Return the error that the task noted in its last try; empty texts if it could not."""
    is_last = number(task.error, "try_number") == log_try(task)
    return {name: text(task.error, name) if is_last else "" for name in ("error", "message", "subject", "at")}


def _order(task: TaskRow) -> tuple[int, str, str, int]:
    if is_copy(task):
        place = 2
    elif task.operator in SENSORS:
        place = 0
    else:
        place = {PLAN_TASK: 1, REPORT_TASK: 3}.get(task.task_id, 4)
    return place, _note(task)["at"] or _LATEST, task.task_id, task.map_index
