"""The data of the Migration page: a run's totals, tasks, failures, throughput, plan and report. No I/O."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice
from typing import Any, Final

from s3_to_azure.airflow.progress import SETTINGS_KEY, WAITING_KEY
from s3_to_azure.airflow.throughput import rates
from s3_to_azure.model.options import VIA_AZURE, VIA_WORKER
from s3_to_azure.model.reasons import FAILED, FINAL_STATUSES, NOT_FETCHED, SKIPPED, UNCHANGED
from s3_to_azure.state.failures import FailureLine
from s3_to_azure.web.batch_view import Batch, batch_of, is_copy
from s3_to_azure.web.causes import causes_of
from s3_to_azure.web.failure_list import FailureLogs, FailureQuery, failure_groups, failure_page, recorded_failures
from s3_to_azure.web.queries import PLAN_TASK, REPORT_TASK, SENSORS, RunRow, TaskRow, as_mapping, as_report
from s3_to_azure.web.report_files import ReportUnavailable
from s3_to_azure.web.run_numbers import RunNumbers, run_numbers
from s3_to_azure.web.values import amount, iso_time, items, mapping, names, number, text, texts
from s3_to_azure.web.verdict import verdict_of

_BINS: Final = 90
_RESULT: Final = "return_value"
_MAX_SETTINGS: Final = 40
_MAX_SETTING: Final = 300
_ENDED: Final = ("success", "failed")
_STARTED: Final = ("running", "success", "failed", "up_for_retry", "up_for_reschedule", "deferred")


def migration_view(run: RunRow, tasks: Sequence[TaskRow], now: datetime) -> dict[str, Any]:
    """Return the data of a run's Migration page as JSON-ready values."""
    found = _Found.of(tasks, now)
    plan, report, batches, sensor, numbers = found.plan, found.report, found.batches, found.sensor, found.numbers
    # Airflow has a placeholder for a mapped task until it is expanded.
    shown = [batch for batch in batches if batch.task.map_index >= 0 or batch.task.state]
    intervals = [interval for batch in batches for interval in batch.intervals]
    began_s, step_s, values = rates(intervals, bins=_BINS)
    ended = run.state in _ENDED
    rate_now = 0 if ended else sum(batch.bytes_per_second for batch in batches if batch.is_running)
    until = max((interval.end_s for interval in intervals), default=0.0) if ended else now.timestamp()
    totals = _totals(numbers, batches)
    groups = failure_groups(recorded_failures(batches, report), report, numbers.failed + numbers.unplanned)
    causes = causes_of(tasks, objects_are_shown=bool(groups) or "listed" in report)
    settings = as_mapping(sensor.results.get(SETTINGS_KEY)) if sensor else {}
    dry_run = any(values.get("dry_run") is True for values in (report, plan, settings))
    phase, waiting = _phase(run, tasks, batches), _waiting(run, sensor)
    missing_pools = sorted({task.missing_pool[:250] for task in tasks if task.missing_pool and not ended})
    verdict = verdict_of(
        phase=phase,
        succeeded=run.state == "success",
        dry_run=dry_run,
        numbers=numbers,
        causes=causes,
        groups=groups,
        report=report,
        waiting=waiting,
        missing_pools=missing_pools,
    )
    return {
        "run": {
            "dag_id": run.dag_id,
            "run_id": run.run_id,
            "state": run.state,
            "started_at": iso_time(run.started_at),
            "ended_at": iso_time(run.ended_at),
        },
        "now": iso_time(now),
        "phase": phase,
        "verdict": verdict.as_dict(),
        "causes": [cause.as_dict() for cause in causes],
        "waiting": waiting,
        "missing_pools": missing_pools,
        "is_migration": bool(batches or plan or found.listing or sensor),
        "source": {"bucket": text(found.listing, "bucket"), "prefix": text(found.listing, "prefix")},
        "destination": {"container": text(plan, "container"), "prefix": text(plan, "blob_prefix")},
        "settings": _settings(settings),
        "numbers": asdict(numbers),
        "totals": totals,
        "bytes_per_second": rate_now,
        "mean_bytes_per_second": round(totals["bytes_sent"] / (until - began_s)) if values and until > began_s else 0,
        "seconds_left": _seconds_left(totals, rate_now, ended=ended),
        "tasks": dict(Counter(_state_group(batch) for batch in shown)),
        "batches": [batch.as_dict() for batch in shown],
        "other_tasks": [_other_task(task) for task in tasks if not is_copy(task)],
        "failure_groups": groups,
        "throughput": {"began_at": began_s, "step_s": step_s, "bytes_per_second": values},
        "plan": _plan_view(plan) if plan else None,
        "report": _report_view(report) if "listed" in report else None,
        "dry_run": dry_run,
    }


def failures_view(
    tasks: Sequence[TaskRow],
    now: datetime,
    query: FailureQuery,
    *,
    lines: Callable[[Mapping[str, Any]], Iterable[FailureLine]],
) -> dict[str, Any]:
    """Return one page of a run's failed objects as JSON-ready values.

    Args:
        tasks: The run's.
        now: The time.
        query: Which failed objects.
        lines: Opens the report's file of failed objects, given the plan's summary; raises ``ReportUnavailable``.
    """
    found = _Found.of(tasks, now)
    failed = found.numbers.failed + found.numbers.unplanned
    recorded = recorded_failures(found.batches, found.report)
    note = ""
    if failed and "listed" in found.report:
        # Airflow's database has the first of them, with keys cut and without sizes.
        try:
            rows = FailureLogs(found.batches).of_file(lines(found.plan))
            return failure_page(rows, query) | {"failed": failed, "note": ""}
        except ReportUnavailable as error:
            note = error.detail
    if len(recorded) < failed:
        note = f"Airflow's database has {len(recorded):,} of {failed:,} failed objects. {note}".rstrip()
    return failure_page(recorded, query) | {"failed": failed, "note": note}


@dataclass(frozen=True, slots=True)
class _Found:
    """What the tasks of a run have left in Airflow's database."""

    plan: Mapping[str, Any]
    report: Mapping[str, Any]
    listing: Mapping[str, Any]
    sensor: TaskRow | None
    batches: Sequence[Batch]
    numbers: RunNumbers

    @classmethod
    def of(cls, tasks: Sequence[TaskRow], now: datetime) -> "_Found":
        plan_task = _named(tasks, PLAN_TASK)
        plan = as_mapping(plan_task.results.get(PLAN_TASK)) if plan_task else {}
        report = _report(_named(tasks, REPORT_TASK))
        sensor = next((task for task in tasks if task.operator in SENSORS), None)
        listing = as_mapping(sensor.results.get(_RESULT)) if sensor else {}
        batches = _batches(tasks, plan_task, now)
        numbers = run_numbers(batches, listing=listing, plan=plan, report=report)
        return cls(plan, report, listing, sensor, batches, numbers)


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


def _totals(numbers: RunNumbers, batches: Sequence[Batch]) -> dict[str, int]:
    return {
        "objects_total": numbers.to_copy,
        "objects_done": numbers.copied,
        "objects_failed": numbers.failed,
        "bytes_total": numbers.bytes_total,
        "bytes_done": numbers.bytes_done,
        "bytes_in_flight": sum(batch.bytes_in_flight for batch in batches),
        "bytes_sent": sum(batch.bytes_sent for batch in batches),
        "bytes_resumed": sum(batch.bytes_resumed for batch in batches),
        "retries": sum(batch.retries for batch in batches),
        "slow_downs": sum(batch.slow_downs for batch in batches),
    }


def _seconds_left(totals: Mapping[str, int], rate: int, *, ended: bool) -> int | None:
    # What has arrived from S3 needs no more of the time that S3's rate tells of.
    left = totals["bytes_total"] - totals["bytes_done"] - totals["bytes_in_flight"]
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
    return {name: text(waiting, name) for name in ("source", "found", "until", "next_look")}


def _other_task(task: TaskRow) -> dict[str, Any]:
    return {
        "task_id": task.task_id,
        "map_index": task.map_index,
        "state": task.state,
        "try_number": max(1, task.try_number),
        "started_at": iso_time(task.started_at),
        "ended_at": iso_time(task.ended_at),
    }


def _settings(settings: Mapping[str, Any]) -> list[dict[str, str]]:
    """Return the run's settings as names and texts, without those that are empty."""
    found = []
    for name, value in islice(settings.items(), _MAX_SETTINGS):
        if value is None or value in ("", [], False):
            continue
        shown = ", ".join(str(item) for item in value[:_MAX_SETTINGS]) if isinstance(value, list) else value
        found.append({"name": str(name)[:_MAX_SETTING], "value": "yes" if value is True else str(shown)[:_MAX_SETTING]})
    return found


def _plan_view(plan: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "batches": number(plan, "batches"),
        **{name: amount(plan, name) for name in ("listed", "copy", UNCHANGED)},
        **{
            name: [{"reason": reason[:200], **amount(mapping(plan, name), reason)} for reason in names(plan, name)]
            for name in (SKIPPED, FAILED)
        },
        "warnings": texts(plan, "warnings"),
        "ways": _ways_view(plan),
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
        "ways": _ways_view(report),
        **{name: number(report, name) for name in ("bytes_sent", "bytes_resumed", "retries", "seconds")},
        "bytes_per_second": number(report, "bytes_per_second"),
        "proven": text(report, "proven"),
        "location": text(report, "location"),
        "files": texts(report, "files"),
        "certificate": {name: text(mapping(report, "certificate"), name) for name in ("file", "root", "public_key")},
    }


def _ways_view(summary: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return what Azure fetches, and why it does not fetch the rest; None where all goes through the workers."""
    if "fetched" not in summary or summary.get("via") == VIA_WORKER:
        return None
    fetched = mapping(summary, "fetched")
    return {
        "fetched": amount(summary, "fetched"),
        **{name: number(fetched, name) for name in ("blocks_fetched", "blocks_streamed")},
        **{
            group: [
                {"reason": code[:100], "sentence": NOT_FETCHED.get(code, ""), **amount(mapping(summary, group), code)}
                for code in names(summary, group)
            ]
            for group in ("ended_streamed", "not_fetched")
        },
        # A plan with this choice fails them; a report counts the copied ones only.
        "others_fail": summary.get("via") == VIA_AZURE,
    }


def utc_now() -> datetime:
    """Return the time now, in UTC."""
    return datetime.now(UTC)
