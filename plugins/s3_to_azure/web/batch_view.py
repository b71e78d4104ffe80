"""One copy task as the Migration page shows it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from s3_to_azure.airflow.progress import Stretch, read_stretches
from s3_to_azure.web.queries import COPY_OPERATOR, TaskRow
from s3_to_azure.web.values import items, moment, number, text

# TaskStateStore come every 5 seconds; after this time a task that is called running is not believed to send anything.
_FRESH: Final = timedelta(seconds=30)
_WAITING: Final = (None, "none", "scheduled", "queued", "deferred", "up_for_reschedule")
_UNDECIDED: Final = (*_WAITING, "running", "restarting", "up_for_retry")


@dataclass(frozen=True, slots=True)
class Failed:
    """A failed object, and whose log tells of it. ``map_index`` is None where no copy task had it."""

    key: str
    reason: str
    task_id: str
    map_index: int | None
    try_number: int
    will_retry: bool = False


@dataclass(frozen=True, slots=True)
class Batch:
    """One copy task.

    Attributes:
        bytes_done: In Azure: sent now, or held before.
        bytes_sent: Sent by all its tries, as far as noted.
        bytes_resumed: What its last try did not send again.
        is_range: It copies blocks of one object that other tasks share.
        stretches: What was sent when.
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
    retries: int
    bytes_per_second: int
    is_range: bool
    stretches: tuple[Stretch, ...]
    failures: tuple[Failed, ...]

    @property
    def at_work(self) -> bool:
        """Whether it copies now."""
        return self.task.state in ("running", "restarting")

    @property
    def shown_try(self) -> int:
        """The last try whose log there is, 0 before the first: Airflow counts a try when it schedules it."""
        return _tried(self.task)

    def as_dict(self) -> dict[str, Any]:
        """Return what the browser gets."""
        return {
            "task_id": self.task.task_id,
            "map_index": self.task.map_index,
            "label": self.label,
            "state": self.task.state,
            "try_number": self.task.try_number,
            "shown_try": self.shown_try,
            "started_at": moment(self.task.started_at),
            "ended_at": moment(self.task.ended_at),
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
    """Say whether the task copies; a subclass of the operator is known by its notes."""
    return task.operator == COPY_OPERATOR or "bytes_total" in task.note


def batch_of(task: TaskRow, descriptor: Mapping[str, Any], now: datetime) -> Batch:
    """Return the task as a batch.

    Args:
        task: A copy task.
        descriptor: The plan's, or empty.
        now: The time.
    """
    note, summary = task.note, task.results.get("return_value")
    summary = summary if isinstance(summary, dict) else {}
    bytes_total = int(number(descriptor, "size_bytes") or number(note, "bytes_total") or number(summary, "size_bytes"))
    objects_total = int(number(descriptor, "objects") or number(note, "objects_total") or number(summary, "objects"))
    resumed = int(number(note, "bytes_resumed") or number(summary, "bytes_resumed"))
    stretches = read_stretches(note.get("throughput"))
    sent_now = int(number(note, "bytes_sent") or number(summary, "bytes_sent"))
    fresh = task.noted_at is not None and now - task.noted_at < _FRESH
    at_work = task.state == "running" and fresh
    done = task.state == "success"
    return Batch(
        task=task,
        # Airflow calls a task without a label by its number.
        label="" if task.label in (None, str(task.map_index)) else str(task.label),
        objects_total=objects_total,
        objects_done=objects_total if done else min(objects_total, int(number(note, "objects_done"))),
        objects_failed=int(number(note, "objects_failed")),
        bytes_total=bytes_total,
        # What a task that succeeded did not send was there, or was left out for a reason: it is done all the same.
        bytes_done=bytes_total if done else min(bytes_total, sent_now + resumed),
        bytes_sent=max(sent_now, sum(stretch.size_bytes for stretch in stretches)),
        bytes_resumed=resumed,
        retries=int(number(note, "retries") or number(summary, "retries")),
        bytes_per_second=int(number(note, "bytes_per_second")) if at_work else 0,
        is_range=descriptor.get("kind") == "range",
        stretches=tuple(stretches),
        failures=tuple(_failures(task)),
    )


def _failures(task: TaskRow) -> list[Failed]:
    if task.state == "success" or not task.noted_at:
        return []
    if task.started_at and task.noted_at < task.started_at:
        # An earlier try's: these objects are being tried again.
        return []
    return [
        Failed(
            key=text(item, "key"),
            reason=text(item, "reason"),
            task_id=task.task_id,
            map_index=task.map_index,
            try_number=max(1, _tried(task)),
            will_retry=task.state in _UNDECIDED,
        )
        for item in items(task.note, "failures")
    ]


def _tried(task: TaskRow) -> int:
    return max(0, task.try_number - 1) if task.state in _WAITING else task.try_number
