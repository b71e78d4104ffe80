"""One copy task on the Migration page, in every state of the task; no database."""

from datetime import timedelta

import pytest

from s3_to_azure.web.batch_view import batch_of, is_copy
from tests.web.airflow_rows import GIB, progress_record
from tests.web.view_rows import DESCRIPTOR, NOW, task


def test_a_batch_that_waits_has_its_size_from_the_plan() -> None:
    """Before its task begins, a batch is as large as planned."""
    batch = batch_of(task(state=None, try_number=0, progress_at=None), DESCRIPTOR, NOW)
    assert (batch.bytes_total, batch.objects_total, batch.bytes_done, batch.is_running) == (GIB, 4, 0, False)


def test_a_silent_task_has_no_rate() -> None:
    """A task that is called running but notes nothing any more is not believed to send anything."""
    live = batch_of(task(progress=progress_record()), DESCRIPTOR, NOW)
    silent = batch_of(task(progress=progress_record(), progress_at=NOW - timedelta(minutes=2)), DESCRIPTOR, NOW)
    assert (live.bytes_per_second, silent.bytes_per_second) == (1024**2, 0)


def test_a_done_batch_is_full() -> None:
    """What a successful task did not send was there or was left out for a reason; the bar is full all the same."""
    batch = batch_of(task(state="success", progress=progress_record()), DESCRIPTOR, NOW)
    assert (batch.bytes_done, batch.objects_done) == (GIB, 4)


@pytest.mark.parametrize(
    ("state", "tries", "shown"),
    [("running", 2, 2), ("up_for_retry", 1, 1), ("queued", 2, 1), ("queued", 1, 0), (None, 0, 0)],
)
def test_the_log_of_the_try_that_ran(state: str | None, tries: int, shown: int) -> None:
    """Airflow counts a try when it schedules it; there is no log of it then."""
    assert batch_of(task(state=state, try_number=tries), DESCRIPTOR, NOW).log_try == shown


def test_failures_of_an_earlier_try_are_gone() -> None:
    """When the next try has begun, what failed before is being tried again."""
    failures = [{"key": "a", "reason": "b"}]
    now = task(progress=progress_record(failures=failures))
    before = task(progress=progress_record(failures=failures), progress_at=NOW - timedelta(minutes=6), try_number=2)
    assert len(batch_of(now, DESCRIPTOR, NOW).failures) == 1
    assert batch_of(before, DESCRIPTOR, NOW).failures == ()


@pytest.mark.parametrize(("state", "will_retry"), [("running", True), ("up_for_retry", True), ("failed", False)])
def test_failures_say_whether_a_retry_may_follow(state: str, *, will_retry: bool) -> None:
    """Until the task has ended, its failed objects may still be copied."""
    row = task(state=state, progress=progress_record(failures=[{"key": "a", "reason": "b"}]), try_number=2)
    (failed,) = batch_of(row, DESCRIPTOR, NOW).failures
    assert (failed.key, failed.reason, failed.task_id, failed.map_index) == ("a", "b", "copy", 0)
    assert (failed.try_number, failed.will_retry) == (2, will_retry)


def test_bytes_sent_by_all_tries_are_counted() -> None:
    """The intervals hold what earlier tries sent, the counters only what this one did."""
    record = progress_record(bytes_sent=5, throughput=[[0, 5, 100], [5, 10, 5]])
    assert batch_of(task(progress=record), DESCRIPTOR, NOW).bytes_sent == 105
    assert batch_of(task(progress=record | {"throughput": []}), DESCRIPTOR, NOW).bytes_sent == 5


def test_a_batch_without_a_plan_is_as_large_as_its_task_says() -> None:
    """An operator in a DAG without a plan has its size from its progress, or from what it returned."""
    recorded = batch_of(task(progress=progress_record()), {}, NOW)
    returned = batch_of(task(state="success", results={"return_value": {"objects": 2, "size_bytes": 7}}), {}, NOW)
    assert (recorded.bytes_total, recorded.objects_total) == (GIB, 4)
    assert (returned.bytes_total, returned.objects_total, returned.bytes_done) == (7, 2, 7)


def test_a_label_that_is_only_the_index_is_none() -> None:
    """Airflow labels a mapped task without a label by its index."""
    assert [batch_of(task(label=label), DESCRIPTOR, NOW).label for label in (None, "0", "in/a")] == ["", "", "in/a"]


def test_copy_tasks_are_known_by_operator_or_progress() -> None:
    """A subclass of the operator has another name, but the same progress."""
    assert is_copy(task())
    assert is_copy(task(operator="MyOperator", progress=progress_record()))
    assert not is_copy(task("plan"))


def test_the_browser_gets_json_ready_values() -> None:
    """Times are ISO 8601, and the try whose log is linked is named."""
    values = batch_of(task(try_number=2, progress=progress_record()), DESCRIPTOR, NOW).as_dict()
    assert values["started_at"] == (NOW - timedelta(minutes=5)).isoformat()
    assert (values["ended_at"], values["try_number"], values["log_try"]) == (None, 2, 2)
    assert (values["bytes_done"], values["bytes_resumed"], values["objects_done"]) == (GIB // 2, GIB // 4, 2)
