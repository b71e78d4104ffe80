"""The data of the Migration page: a run's totals, tasks, failures, throughput, plan and report. No I/O."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import Any, Final

from s3_to_azure.airflow.progress import WAITING_KEY
from s3_to_azure.airflow.throughput import rates
from s3_to_azure.model.reasons import FAILED, FINAL_STATUSES, NO_RECEIPT, SKIPPED, UNCHANGED, code_of
from s3_to_azure.web.batch_view import Batch, FailedObject, batch_of, is_copy
from s3_to_azure.web.queries import PLAN_TASK, REPORT_TASK, SENSORS, RunRow, TaskRow, as_mapping, as_report
from s3_to_azure.web.values import amount, iso_time, items, mapping, names, number, text, texts

_BINS: Final = 90
_MAX_FAILURES: Final = 200
_RESULT: Final = "return_value"
_ENDED: Final = ("success", "failed")
_STARTED: Final = ("running", "success", "failed", "up_for_retry", "up_for_reschedule", "deferred")


def migration_view(run: RunRow, tasks: Sequence[TaskRow], now: datetime) -> dict[str, Any]:
    """Return the data of a run's Migration page as JSON-ready values."""
    plan_task, report_task = _named(tasks, PLAN_TASK), _named(tasks, REPORT_TASK)
    plan = as_mapping(plan_task.results.get(PLAN_TASK)) if plan_task else {}
    report = _report(report_task)
    batches = _batches(tasks, plan_task, now)
    sensor = next((task for task in tasks if task.operator in SENSORS), None)
    listing = as_mapping(sensor.results.get(_RESULT)) if sensor else {}
    totals = _totals(batches, plan)
    # Airflow has a placeholder for a mapped task until it is expanded.
    shown = [batch for batch in batches if batch.task.map_index >= 0 or batch.task.state]
    running = [batch for batch in batches if batch.is_running]
    intervals = [interval for batch in batches for interval in batch.intervals]
    began_s, step_s, values = rates(intervals, bins=_BINS)
    ended = run.state in _ENDED
    rate_now = 0 if ended else sum(batch.bytes_per_second for batch in running)
    until = max((interval.end_s for interval in intervals), default=0.0) if ended else now.timestamp()
    failures = _failures(batches, report)
    return {
        "run": {
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            "state": run.state,
            "started_at": iso_time(run.started_at),
            "ended_at": iso_time(run.ended_at),
        },
        "now": iso_time(now),
        "phase": _phase(run, tasks, batches),
        "waiting": _waiting(run, sensor),
        "missing_pools": sorted({task.missing_pool[:250] for task in tasks if task.missing_pool and not ended}),
        "is_migration": bool(batches or plan or listing or any(task.operator in SENSORS for task in tasks)),
        "source": {"bucket": text(listing, "bucket"), "prefix": text(listing, "prefix")},
        "destination": {"container": text(plan, "container"), "prefix": text(plan, "blob_prefix")},
        "totals": totals,
        "bytes_per_second": rate_now,
        "mean_bytes_per_second": round(totals["bytes_sent"] / (until - began_s)) if values and until > began_s else 0,
        "seconds_left": _seconds_left(totals, rate_now, ended=ended),
        "tasks": dict(Counter(_state_group(batch) for batch in shown)),
        "batches": [batch.as_dict() for batch in shown],
        "other_tasks": [_other_task(task) for task in tasks if not is_copy(task)],
        "failures": [asdict(failed) for failed in failures[:_MAX_FAILURES]],
        "more_failures": max(0, _failed_objects(batches, report) - min(len(failures), _MAX_FAILURES)),
        "throughput": {"began_at": began_s, "step_s": step_s, "bytes_per_second": values},
        "plan": _plan_view(plan) if plan else None,
        "report": _report_view(report) if "listed" in report else None,
        "dry_run": bool(report.get("dry_run") or plan.get("dry_run") is True),
    }


def _named(tasks: Sequence[TaskRow], task_id: str) -> TaskRow | None:
    return next((task for task in tasks if task.task_id == task_id), None)


def _report(task: TaskRow | None) -> Mapping[str, Any]:
    results = task.results if task else {}
    return as_report(results.get(REPORT_TASK)) or as_report(results.get(_RESULT))


def _batches(tasks: Sequence[TaskRow], plan_task: TaskRow | None, now: datetime) -> list[Batch]:
    planned = plan_task.results.get(_RESULT) if plan_task else None
    descriptors = [as_mapping(item) for item in planned] if isinstance(planned, list) else []
    return [
        batch_of(task, descriptors[task.map_index] if 0 <= task.map_index < len(descriptors) else {}, now)
        for task in tasks
        if is_copy(task)
    ]


def _totals(batches: Sequence[Batch], plan: Mapping[str, Any]) -> dict[str, int]:
    whole, parts = [b for b in batches if not b.is_range], [b for b in batches if b.is_range]
    planned = amount(plan, "copy")
    objects_total = int(planned["objects"]) or sum(batch.objects_total for batch in batches)
    objects_done = sum(batch.objects_done for batch in whole)
    if parts:
        # An object in parts is done when all its parts are. Which parts belong together is not known here, so the
        # objects count as done in the proportion of the parts.
        split = max(1, objects_total - sum(batch.objects_total for batch in whole))
        objects_done += split * sum(part.task.state == "success" for part in parts) // len(parts)
    return {
        "objects_total": objects_total,
        "objects_done": min(objects_done, objects_total),
        "objects_failed": sum(batch.objects_failed for batch in batches if batch.task.state != "success"),
        "bytes_total": int(planned["bytes"]) or sum(batch.bytes_total for batch in batches),
        "bytes_done": sum(batch.bytes_done for batch in batches),
        "bytes_sent": sum(batch.bytes_sent for batch in batches),
        "bytes_resumed": sum(batch.bytes_resumed for batch in batches),
        "retries": sum(batch.retries for batch in batches),
    }


def _seconds_left(totals: Mapping[str, int], rate: int, *, ended: bool) -> int | None:
    left = totals["bytes_total"] - totals["bytes_done"]
    if ended or rate <= 0 or left <= 0:
        return None
    return round(left / rate)


def _state_group(batch: Batch) -> str:
    match batch.task.state:
        case "running" | "restarting":
            return "running"
        case "success":
            return "done"
        case "failed" | "upstream_failed" | "removed":
            return "failed"
        case "up_for_retry":
            return "waiting_to_retry"
        case "skipped":
            return "skipped"
        case _:
            return "waiting"


def _phase(run: RunRow, tasks: Sequence[TaskRow], batches: Sequence[Batch]) -> str:
    """Return ``waiting``, ``planning``, ``copying``, ``reporting`` or ``ended``."""
    if run.state in _ENDED:
        return "ended"
    states = {task.task_id: task.state for task in tasks if not is_copy(task)}
    if states.get(REPORT_TASK) in _STARTED:
        return "reporting"
    if states.get(PLAN_TASK) == "success" or any(batch.task.state in _STARTED for batch in batches):
        return "copying"
    return "planning" if states.get(PLAN_TASK) in _STARTED else "waiting"


def _waiting(run: RunRow, sensor: TaskRow | None) -> dict[str, str] | None:
    """Return what the run's sensor waits for, and until when; None if it does not wait."""
    waiting = as_mapping(sensor.results.get(WAITING_KEY)) if sensor else {}
    if run.state in _ENDED or not waiting or not sensor or sensor.state in _ENDED:
        return None
    return {"source": text(waiting, "source"), "until": text(waiting, "until")}


def _other_task(task: TaskRow) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "map_index": task.map_index,
        "state": task.state,
        "try_number": max(1, task.try_number),
        "started_at": iso_time(task.started_at),
        "ended_at": iso_time(task.ended_at),
    }


def _failures(batches: Sequence[Batch], report: Mapping[str, Any]) -> list[FailedObject]:
    """Return the failed objects: those of the report, or until it exists those that the tasks recorded."""
    recorded = [failed for batch in batches for failed in batch.failures]
    if "listed" not in report:
        return recorded
    copy_task = next((batch.task.task_id for batch in batches), "")
    tries = {batch.task.map_index: batch.log_try for batch in batches}
    found = []
    for item in items(report, "failures"):
        index = item.get("batch")
        failed = FailedObject(
            key=text(item, "key"), reason=text(item, "reason"), task_id=REPORT_TASK, map_index=None, try_number=1
        )
        if isinstance(index, int) and index in tries:
            # An object without a receipt has no try, so its last log is the one to read.
            latest = tries[index]
            tried = int(number(item, "try_number")) if code_of(failed.reason) != NO_RECEIPT else latest
            failed = replace(failed, task_id=copy_task, map_index=index, try_number=max(1, min(tried, latest)))
        found.append(failed)
    return found


def _failed_objects(batches: Sequence[Batch], report: Mapping[str, Any]) -> int:
    if "listed" in report:
        return int(amount(report, FAILED)["objects"])
    return sum(batch.objects_failed for batch in batches if batch.failures)


def _plan_view(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "batches": number(plan, "batches"),
        **{name: amount(plan, name) for name in ("listed", "copy", UNCHANGED)},
        **{
            name: [{"reason": reason[:200], **amount(mapping(plan, name), reason)} for reason in names(plan, name)]
            for name in (SKIPPED, FAILED)
        },
        "warnings": texts(plan, "warnings"),
    }


def _report_view(report: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **{name: amount(report, name) for name in ("listed", *FINAL_STATUSES)},
        "reasons": [
            {
                "status": text(item, "status"),
                "reason": text(item, "reason"),
                "objects": number(item, "objects"),
                "bytes": number(item, "size_bytes"),
            }
            for item in items(report, "reasons")
        ],
        "levels": [
            {"level": level[:100], "objects": number(mapping(report, "proofs"), level)}
            for level in names(report, "proofs")
        ],
        "slowest": [
            {"key": text(item, "key"), "bytes": number(item, "size_bytes"), "seconds": number(item, "seconds")}
            for item in items(report, "slowest")
        ],
        **{name: number(report, name) for name in ("bytes_sent", "bytes_resumed", "retries", "seconds")},
        "bytes_per_second": number(report, "bytes_per_second"),
        "proven": text(report, "proven"),
        "location": text(report, "location"),
        "files": texts(report, "files"),
        "certificate": {name: text(mapping(report, "certificate"), name) for name in ("file", "root", "public_key")},
    }


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)
