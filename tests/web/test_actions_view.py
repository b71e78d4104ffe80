"""What the Migration page offers to do with a run; no database."""

from dataclasses import replace

from s3_to_azure.web.actions_view import actions_view
from tests.web.view_rows import planned, task

MAY = {"clear": True, "trigger": False}


def test_the_failed_copies_are_retried_and_what_depends_on_them_follows() -> None:
    """The report failed because of them, and Airflow clears it with them; a task of another kind is left alone."""
    tasks = [
        *(task(map_index=index, state=state) for index, state in enumerate(("success", "failed", "running", "failed"))),
        planned(),
        task("report", state="failed"),
        task("check_report", state="failed"),
        task("load", state="failed"),
    ]
    actions = actions_view(tasks, MAY)
    assert actions["retry"] == [["copy", 1], ["copy", 3]]
    assert actions["may"] == MAY


def test_a_failed_plan_or_listing_is_retried_by_its_name() -> None:
    """The copies are failed by it, not by themselves; a sensor is recognised by its kind."""
    waiting = replace(task("look", state="failed"), operator="S3ObjectsSensor")
    tasks = [waiting, task("plan", state="failed"), task(map_index=-1, state="upstream_failed"), task("report")]
    assert actions_view(tasks, MAY)["retry"] == ["look", "plan"]


def test_a_run_without_a_failed_task_has_nothing_to_retry() -> None:
    """So the page shows no button."""
    assert actions_view([task(state="success"), task("report", state="failed")], MAY)["retry"] == []


def test_the_logs_are_in_the_order_of_the_tasks() -> None:
    """A task that has not begun has none; a task that waits for its next try has that of the one before."""
    tasks = [
        task("check_report", state=None, try_number=0),
        task("plan", state="up_for_reschedule", try_number=2),
        task("report", state="failed", try_number=3),
        replace(task("wait_for_objects", state="success"), operator="S3ObjectsSensor"),
        task(),
        task("load", state="success"),
    ]
    logs = [(log["task_id"], log["try_number"]) for log in actions_view(tasks, MAY)["logs"]]
    assert logs == [("wait_for_objects", 1), ("plan", 1), ("report", 3)]
