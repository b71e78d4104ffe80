"""The data of one copy task on the Migration page. No I/O."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from s3_to_azure.airflow.throughput import Interval, read_intervals
from s3_to_azure.web.queries import COPY_OPERATOR, TaskRow
from s3_to_azure.web.values import iso_time, items, number, text

# Progress is recorded every 5 seconds; a running task without any for this long is shown without a rate.
_FRESH: Final = timedelta(seconds=30)
_WAITING: Final = (None, "none", "scheduled", "queued", "deferred", "up_for_reschedule")
_UNDECIDED: Final = (*_WAITING, "running", "restarting", "up_for_retry")


@dataclass(frozen=True, slots=True)
class FailedObject:
    """A failed object, and the task whose log says why. ``map_index`` is None if no copy task had the object."""

    key: str
    reason: str
    task_id: str
    map_index: int | None
    try_number: int
    will_retry: bool = False
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """One copy task as the Migration page shows it: its Airflow task, and the progress that it recorded.

    A row of the page is a mapped task, which copies one batch of the plan, or a single task of the operator.

    Attributes:
        label: The batch's name for people; empty if Airflow shows only the map index.
        bytes_done: Bytes in Azure, sent by this try or by an earlier one.
        bytes_sent: Bytes sent by all tries, as far as recorded.
        bytes_resumed: Bytes that the last try did not have to send again.
        bytes_in_flight: Bytes that have arrived from S3, and that Azure has not confirmed yet.
        is_range: Whether it copies one range of an object whose other ranges are copied by other tasks.
        intervals: Bytes sent over time, for the chart.
    """

    task: TaskRow
    label: str
    objects_total: int
    objects_done: int
    objects_failed: int
    bytes_total: int
    bytes_done: int
    bytes_sent: int
    bytes_resumed: int
    bytes_in_flight: int
    retries: int
    slow_downs: int
    bytes_per_second: int
    is_range: bool
    intervals: tuple[Interval, ...]
    failures: tuple[FailedObject, ...]

    @property
    def is_running(self) -> bool:
        """Whether it copies now."""
        return self.task.state in ("running", "restarting")

    @property
    def log_try(self) -> int:
        """The last try that has a log; 0 before the first."""
        return log_try(self.task)

    def as_dict(self) -> dict[str, Any]:
        """Return the values for the browser."""
        return {
            "task_id": self.task.task_id,
            "map_index": self.task.map_index,
            "label": self.label,
            "state": self.task.state,
            "try_number": self.task.try_number,
            "log_try": self.log_try,
            "started_at": iso_time(self.task.started_at),
            "ended_at": iso_time(self.task.ended_at),
            "objects_total": self.objects_total,
            "objects_done": self.objects_done,
            "objects_failed": self.objects_failed,
            "bytes_total": self.bytes_total,
            "bytes_done": self.bytes_done,
            "bytes_resumed": self.bytes_resumed,
            "bytes_per_second": self.bytes_per_second,
            "retries": self.retries,
        }


def is_copy(task: TaskRow) -> bool:
    """Return whether it is a copy task; one of a subclass of the operator is recognised by its progress."""
    return task.operator == COPY_OPERATOR or "bytes_total" in task.progress


def batch_of(task: TaskRow, descriptor: Mapping[str, Any], now: datetime) -> Batch:
    """Return the task as a batch.

    Args:
        task: A copy task.
        descriptor: The plan's descriptor of the batch, or empty.
        now: The time.
    """
    progress, summary = task.progress, task.results.get("return_value")
    summary = summary if isinstance(summary, dict) else {}

    # As planned, else as recorded while it ran, else as returned at its end.
    bytes_total = number(descriptor, "size_bytes") or number(progress, "bytes_total") or number(summary, "size_bytes")
    objects_total = number(descriptor, "objects") or number(progress, "objects_total") or number(summary, "objects")
    bytes_resumed = number(progress, "bytes_resumed") or number(summary, "bytes_resumed")
    bytes_sent = number(progress, "bytes_sent") or number(summary, "bytes_sent")
    intervals = read_intervals(progress.get("throughput"))
    is_fresh = task.progress_at is not None and now - task.progress_at < _FRESH
    is_done = task.state == "success"
    return Batch(
        task=task,
        # Airflow labels a task by its index if it has no label.
        label="" if task.label in (None, str(task.map_index)) else str(task.label),
        objects_total=int(objects_total),
        objects_done=int(objects_total if is_done else min(objects_total, number(progress, "objects_done"))),
        objects_failed=0 if _is_of_earlier_try(task) else int(number(progress, "objects_failed")),
        bytes_total=int(bytes_total),
        # What a task that succeeded did not send was in Azure already or left out for a reason, so it is done.
        bytes_done=int(bytes_total if is_done else min(bytes_total, bytes_sent + bytes_resumed)),
        bytes_sent=max(int(bytes_sent), sum(interval.size_bytes for interval in intervals)),
        bytes_resumed=int(bytes_resumed),
        bytes_in_flight=max(0, int(number(progress, "bytes_read") - bytes_sent)) if task.state == "running" else 0,
        retries=int(number(progress, "retries") or number(summary, "retries")),
        slow_downs=int(number(progress, "slow_downs") or number(summary, "slow_downs")),
        bytes_per_second=int(number(progress, "bytes_per_second")) if task.state == "running" and is_fresh else 0,
        is_range=descriptor.get("kind") == "range",
        intervals=tuple(intervals),
        failures=tuple(_failures(task)),
    )


def _failures(task: TaskRow) -> list[FailedObject]:
    if task.state == "success" or not task.progress_at or _is_of_earlier_try(task):
        return []
    return [
        FailedObject(
            key=text(item, "key"),
            reason=text(item, "reason"),
            task_id=task.task_id,
            map_index=task.map_index,
            try_number=max(1, log_try(task)),
            will_retry=task.state in _UNDECIDED,
        )
        for item in items(task.progress, "failures")
    ]


def _is_of_earlier_try(task: TaskRow) -> bool:
    """Return whether the progress is an earlier try's: this one tries its failed objects again."""
    return bool(task.started_at and task.progress_at and task.progress_at < task.started_at)


def log_try(task: TaskRow) -> int:
    """Return the last try that has a log, or 0: Airflow counts a try when it schedules it, before it runs."""
    return max(0, task.try_number - 1) if task.state in _WAITING else task.try_number
