"""The numbers of a run add up, whatever its tasks have recorded, and the whole page shows the same ones."""

from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.web.migration_view import migration_view
from s3_to_azure.web.queries import RunRow, TaskRow
from s3_to_azure.web.run_numbers import PARTS
from tests.web.airflow_rows import progress_record, report_summary
from tests.web.view_rows import NOW, planned, task

COUNTS = st.integers(0, 60)
STATES = st.sampled_from([None, "scheduled", "running", "success", "failed", "up_for_retry", "upstream_failed"])


def amount(objects: int) -> dict[str, int]:
    """Return an amount of objects of ten bytes each."""
    return {"objects": objects, "size_bytes": 10 * objects}


@st.composite
def copies(draw: st.DrawFn) -> list[tuple[TaskRow, dict[str, Any]]]:
    """Return copy tasks in any state, with the descriptors of their batches."""
    found = []
    for index in range(draw(st.integers(0, 6))):
        objects, done, failed = draw(COUNTS), draw(COUNTS), draw(COUNTS)
        progress = progress_record(
            objects_total=objects,
            objects_done=done,
            objects_failed=failed,
            bytes_total=10 * objects,
            bytes_sent=draw(st.integers(0, 700)),
            bytes_resumed=draw(st.integers(0, 700)),
            bytes_read=draw(st.integers(0, 900)),
            failures=[{"key": f"k{n}", "reason": f"reason_{n % 3}: no"} for n in range(min(failed, 20))],
        )
        kind = draw(st.sampled_from(["objects", "objects", "range"]))
        row = task(map_index=index, state=draw(STATES), progress=draw(st.sampled_from([progress, {}])))
        found.append((row, amount(1 if kind == "range" else objects) | {"kind": kind}))
    return found


@st.composite
def runs(draw: st.DrawFn) -> dict[str, Any]:
    """Return the page of a run in any state, with or without listing, plan and report."""
    tasks: list[TaskRow] = []
    rows = draw(copies())
    left_out, failed = draw(COUNTS), draw(COUNTS)
    if draw(st.booleans()):
        listing = {"bucket": "b", "prefix": "", "objects": draw(COUNTS)}
        tasks.append(task("wait", operator="S3ObjectsSensor", state="success", results={"return_value": listing}))
    if draw(st.booleans()):
        copied = sum(descriptor["objects"] for _, descriptor in rows)
        unchanged = draw(COUNTS)
        # A value that is damaged or of another time may not fit the others.
        listed = max(1, copied + unchanged + left_out + failed + draw(st.sampled_from([0, 0, 3, -7])))
        plan = {
            "listed": amount(listed),
            "copy": amount(copied),
            "unchanged": amount(unchanged),
            "skipped": {"excluded": amount(left_out)},
            "failed": {"name_refused": amount(failed)},
        }
        tasks.append(planned(*(descriptor for _, descriptor in rows), **plan))
    tasks += [row for row, _ in rows]
    state = draw(st.sampled_from(["running", "success", "failed"]))
    if draw(st.booleans()):
        parts = {name: draw(COUNTS) for name in ("copied", "unchanged", "skipped", "failed")}
        unplanned = draw(st.integers(0, parts["failed"]))
        reasons = [("failed", "unplanned", unplanned), ("failed", "access_denied", parts["failed"] - unplanned)]
        summary = report_summary(
            listed=amount(sum(parts.values())),
            **{name: amount(count) for name, count in parts.items()},
            reasons=[{"status": status, "reason": code, **amount(count)} for status, code, count in reasons if count],
            failures=[],
        )
        tasks.append(task("report", state="failed", results={"report": summary}))
    return migration_view(RunRow("dag", "run", state, NOW - timedelta(hours=1), NOW), tasks, NOW)


@given(runs())
def test_all_numbers_of_a_page_add_up(view: dict[str, Any]) -> None:
    """Listed is the sum of its parts; bars, figures, groups and report use the same numbers; nothing is negative."""
    numbers, totals = view["numbers"], view["totals"]
    assert numbers["listed"] == sum(numbers[part] for part in PARTS)
    assert all(value >= 0 for value in (*numbers.values(), *totals.values()))
    assert totals["objects_done"] == numbers["copied"]
    assert totals["objects_failed"] == numbers["failed"]
    assert totals["objects_total"] == numbers["listed"] - numbers["unchanged"] - numbers["skipped"]
    assert totals["objects_done"] + totals["objects_failed"] <= totals["objects_total"]
    assert totals["bytes_done"] <= totals["bytes_total"]
    groups = view["failure_groups"]
    assert sum(group["objects"] for group in groups) == numbers["failed"] + numbers["unplanned"]
    assert all(group["objects"] > 0 for group in groups)
    assert sum(view["tasks"].values()) == len(view["batches"])
    if view["report"]:
        for part in ("copied", "unchanged", "skipped"):
            assert view["report"][part]["objects"] == numbers[part]
        assert view["report"]["failed"]["objects"] == numbers["failed"] + numbers["unplanned"]
        assert numbers["pending"] == 0
    text = view["verdict"]["text"]
    assert text.endswith(".")
    assert "%" not in text


def test_an_object_that_fails_in_a_task_of_its_own_counts() -> None:
    """A bare operator's task is its object; parts of a giant object are one."""

    def failed(*tasks: TaskRow) -> int:
        return int(migration_view(RunRow("d", "r", "failed", NOW, NOW), tasks, NOW)["numbers"]["failed"])

    one = progress_record(objects_total=1, objects_done=0, bytes_total=5)
    assert failed(task(map_index=-1, state="failed", progress=one)) == 1
    part = {"objects": 1, "size_bytes": 5, "kind": "range"}
    parts = [task(map_index=index, state="failed", progress=one) for index in range(2)]
    assert failed(planned(part, part, listed=amount(1), copy=amount(1)), *parts) == 1
