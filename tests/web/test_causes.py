"""Why tasks failed: the first cause first, each error once, and no note of an earlier try."""

from typing import Any

from s3_to_azure.web.causes import Cause, causes_of
from s3_to_azure.web.queries import TaskRow
from tests.web.view_rows import task


def failed(task_id: str = "copy", error: str = "AccessDenied", at: str = "2026", **values: Any) -> TaskRow:
    """Return a task that failed in its first try with a note of its error."""
    note = {"error": error, "message": f"{error}.", "subject": "", "try_number": 1, "at": at}
    return task(task_id, **{"state": "failed", "error": note, **values})


def causes(*tasks: TaskRow, shown: bool = False) -> list[Cause]:
    """Return the causes of a run."""
    return causes_of(tasks, objects_are_shown=shown)


def test_tasks_that_fail_for_one_reason_are_one_cause() -> None:
    """300 batches that cannot write say so once."""
    (cause,) = causes(*(failed(map_index=index) for index in range(300)))
    assert (cause.tasks, cause.map_index, cause.message) == (300, 0, "AccessDenied.")


def test_the_first_cause_comes_first() -> None:
    """In the order of the run's tasks, and among the copies by time."""
    found = causes(
        failed("check_report", at="1"),
        failed("report", at="2"),
        failed(error="Late", at="9", map_index=0),
        failed(error="Early", at="8", map_index=1),
        failed("plan", at="7"),
        failed("wait_for_events", operator="S3EventsSensor", at="6"),
    )
    assert [cause.task_id for cause in found] == ["wait_for_events", "plan", "copy", "copy", "report", "check_report"]
    assert [cause.error for cause in found[2:4]] == ["Early", "Late"]


def test_the_note_of_an_earlier_try_is_not_this_ones() -> None:
    """A try that was killed says nothing; what the try before it said would mislead."""
    (cause,) = causes(failed(try_number=2))
    assert (cause.error, cause.message, cause.log_try) == ("", "", 2)


def test_tasks_that_failed_by_their_objects_need_no_word() -> None:
    """The page shows the objects; an older worker leaves no note, but the number of its failed objects."""
    told = [failed(error="SomeObjectsFailed"), failed(error="RetryableObjectsFailed"), failed("report", error="")]
    silent = failed(error="", progress={"objects_failed": 3})
    assert causes(*told, silent, shown=True) == []
    assert len(causes(*told, silent)) == 4
    # One that was killed is told.
    assert len(causes(failed(error="", progress={"objects_failed": 0}), shown=True)) == 1


def test_causes_are_few() -> None:
    """A page shows the first of a run whose tasks all fail for reasons of their own."""
    assert len(causes(*(failed(error=f"Error{index}", map_index=index) for index in range(100)))) == 20


def test_tasks_that_did_not_fail_have_no_cause() -> None:
    """Whatever an earlier try has noted."""
    for state in ("success", "running", "upstream_failed", "skipped", None):
        assert causes(failed(state=state)) == []
    assert causes(failed(state="up_for_retry"))[0].will_retry
