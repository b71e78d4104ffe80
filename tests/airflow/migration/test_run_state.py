"""What the tasks of a run ask about each other, and what the last one lets pass."""

import logging
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Asset, Context
from airflow.sdk.exceptions import AirflowSkipException

from s3_to_azure.airflow.migration.run_state import (
    PLAN_KEY,
    REPORT_KEY,
    begin_run,
    check_deadline,
    check_run,
    is_over,
    mapped_plan,
    note_counts,
    report_is_final,
    reported_plan,
    run_of_tries,
)
from s3_to_azure.airflow.progress import ERROR_KEY, SETTINGS_KEY
from s3_to_azure.model.errors import CorruptState, SomeObjectsFailed, UsageError
from s3_to_azure.state.plan import BatchDescriptor, PlanReference

PLAN = {"plan": "1" * 16}


def _report(failed: int = 0, **values: Any) -> dict[str, Any]:
    counts = {status: {"objects": 0} for status in ("copied", "unchanged", "skipped")}
    failures = [{"key": f"k{number}", "reason": "name_refused: it is empty"} for number in range(failed)]
    totals = {"listed": {"objects": 7}, "failed": {"objects": failed}, "failures": failures}
    return PLAN | counts | totals | {"bytes_sent": 5, "location": "state/x"} | values


def _context(xcoms: dict[tuple[str, str], Any], *, states: Any = None, **more: Any) -> Context:
    def pull(*, task_ids: str, key: str = "return_value") -> Any:
        return xcoms.get((task_ids, key))

    instance = SimpleNamespace(dag_id="dag", run_id="run", xcom_pull=pull)
    if states is not None:
        instance.get_task_states = lambda **_: states
    return cast("Context", {"ti": instance, "params": {"dry_run": False}} | more)


def test_a_run_whose_report_accounts_for_all_passes(caplog: pytest.LogCaptureFixture) -> None:
    """The report is of the current plan, and nothing failed."""
    with caplog.at_level(logging.INFO):
        check_run(_context({("report", "return_value"): _report(), ("plan", PLAN_KEY): PLAN}))
    assert caplog.messages == ["The report accounts for all 7 objects"]


@pytest.mark.parametrize(
    "xcoms",
    [
        {},
        {("plan", PLAN_KEY): PLAN},
        {("report", "return_value"): _report()},
        {("report", "return_value"): _report(plan="2" * 16), ("plan", PLAN_KEY): PLAN},
        {("report", "return_value"): "text", ("plan", PLAN_KEY): PLAN},
        {("report", REPORT_KEY): {"dry_run": True}, ("plan", PLAN_KEY): PLAN},
        {("report", "return_value"): {}, ("plan", PLAN_KEY): {}},
    ],
    ids=["nothing", "no report", "no plan", "of another plan", "no mapping", "of a dry run", "empty"],
)
def test_a_run_without_a_report_of_its_plan_fails(xcoms: dict[tuple[str, str], Any]) -> None:
    """So it ends if somebody marks the report, or Airflow skips it."""
    with pytest.raises(CorruptState, match=r"no report of its plan.*Clear it"):
        check_run(_context(xcoms))


def test_a_run_with_failed_objects_fails_with_the_first() -> None:
    """The report that failed has left its summary under a key of its own."""
    with pytest.raises(SomeObjectsFailed, match="2 of 7 objects failed; first: 'k0': name_refused"):
        check_run(_context({("report", REPORT_KEY): _report(2), ("plan", PLAN_KEY): PLAN}))


def test_a_dry_run_has_no_report_to_check() -> None:
    """It is skipped, as its report is."""
    with pytest.raises(AirflowSkipException):
        check_run(_context({}, params={"dry_run": True}))


@pytest.mark.parametrize(
    ("state", "is_final"),
    [(None, False), ("running", False), ("up_for_retry", False), ("scheduled", False)]
    + [(state, True) for state in ("success", "failed", "skipped", "upstream_failed", "removed")],
)
def test_a_report_is_final_until_it_is_cleared(state: str | None, is_final: bool) -> None:
    """While it is still to come, it accounts for what a task does now."""
    assert report_is_final(_context({}, states={"run": {"report": state}})) is is_final
    # In 2.10 and 2.11 the run tells it.
    tasks = [SimpleNamespace(task_id="plan", state="success"), SimpleNamespace(task_id="report", state=state)]
    context = _context({})
    cast("Any", context)["dag_run"] = SimpleNamespace(get_task_instances=lambda: tasks)
    assert report_is_final(context) is is_final


def test_a_report_that_was_deleted_is_not_final() -> None:
    """Nor is that of a context without a run."""
    assert report_is_final(_context({}, states={})) is False
    assert report_is_final(_context({})) is False


BATCH = BatchDescriptor("2" * 16, 0, 0, 1, "a" * 64, 1, 1, "objects")
SUMMARY = {("plan", PLAN_KEY): PLAN | {"plan_sha256": "b" * 64}}


@pytest.mark.parametrize(
    ("xcoms", "expected"),
    [
        ({("plan", "return_value"): [BATCH.as_dict() | {"plan_sha256": "c" * 64}]}, PlanReference("2" * 16, "c" * 64)),
        ({("plan", "return_value"): [BATCH.as_dict()]} | SUMMARY, PlanReference("2" * 16)),
        ({("plan", "return_value"): []} | SUMMARY, PlanReference("1" * 16, "b" * 64)),
        ({("plan", PLAN_KEY): PLAN}, PlanReference("1" * 16)),
        ({("plan", PLAN_KEY): {"plan": ""}}, None),
        ({("plan", PLAN_KEY): "text"}, None),
        ({}, None),
    ],
    ids=["batches", "both", "no batch", "of an earlier version", "empty", "no mapping", "nothing"],
)
def test_the_plan_that_airflow_has_mapped(xcoms: dict[tuple[str, str], Any], expected: PlanReference | None) -> None:
    """The batches tell; a run that copies nothing has none, and the plan's summary tells."""
    assert mapped_plan(_context(xcoms)) == expected


def test_batches_that_are_none_are_corrupt_state() -> None:
    """No other plan is reported in their place."""
    with pytest.raises(CorruptState):
        mapped_plan(_context({("plan", "return_value"): ["x"]} | SUMMARY))


@pytest.mark.parametrize("key", ["return_value", REPORT_KEY])
def test_the_plan_of_the_report(key: str) -> None:
    """Of one that failed too."""
    assert reported_plan(_context({("report", key): _report()})) == PlanReference("1" * 16)
    assert reported_plan(_context({("report", key): {"dry_run": True}})) is None
    assert reported_plan(_context({})) is None


@pytest.mark.parametrize(
    ("state", "expected"),
    [("queued", False), ("running", False), ("success", True), ("failed", True), (None, None)],
)
def test_whether_another_run_is_over(state: str | None, *, expected: bool | None) -> None:
    """Airflow is asked for a run of the same DAG; without an answer it is unknown."""

    def get_dagrun_state(*, dag_id: str, run_id: str) -> str:
        assert (dag_id, run_id) == ("dag", "another")
        if state is None:
            raise RuntimeError("there is no such run")
        return state

    context = _context({})
    cast("Any", context["ti"]).get_dagrun_state = get_dagrun_state
    assert is_over(context)("another") is expected


def test_the_deadline_of_a_run() -> None:
    """It counts from the run's start, which Airflow sets anew when an ended run is cleared."""
    started = datetime.now(UTC) - timedelta(hours=2)
    context = _context({}, dag_run=SimpleNamespace(start_date=started))
    assert check_deadline(context, None) is None
    left_s = check_deadline(context, timedelta(hours=3))
    assert left_s is not None
    assert 0 < left_s <= 3_600
    with pytest.raises(UsageError, match="older than its dagrun_timeout of 2:00:00"):
        check_deadline(context, timedelta(hours=2))


def test_a_run_of_tries_ends_when_it_is_cleared() -> None:
    """A retry is of the same run; Airflow raises the limit of tries of a task that is cleared."""
    names = {"dag_id": "dag", "run_id": "run", "task_id": "copy", "map_index": -1, "max_tries": 5, "try_number": 1}

    def run_of(*, began: datetime = datetime(2026, 3, 1, tzinfo=UTC), **changed: Any) -> str:
        context = {"ti": SimpleNamespace(**(names | changed)), "dag_run": SimpleNamespace(start_date=began)}
        return run_of_tries(cast("Context", context))

    assert len(run_of()) == 16
    assert run_of() == run_of(try_number=2)
    others = [run_of(max_tries=7), run_of(map_index=0), run_of(task_id="other"), run_of(began=datetime.now(UTC))]
    assert len({run_of(), *others}) == 5
    assert run_of_tries(cast("Context", {})) == ""


def test_the_counts_are_in_the_assets_events() -> None:
    """Whoever waits for the data sees how much there is."""
    asset = Asset("x-az://container/out")
    events = {asset: SimpleNamespace(extra={})}
    note_counts(_context({}, task=SimpleNamespace(outlets=[asset]), outlet_events=events), _report(verdict="All"))
    counts = {"listed": 7, "copied": 0, "unchanged": 0, "skipped": 0, "failed": 0}
    assert events[asset].extra == counts | {"verdict": "All", "bytes_sent": 5, "location": "state/x"}


def test_a_run_begins_by_checking_and_showing_its_params() -> None:
    """Only the migration's own: others of the DAG's author may be nobody else's business."""
    pushed: dict[str, Any] = {}
    instance = SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}), try_number=1)
    params = {"prefix": "a/", "dry_run": True, "token": "of another task"}
    limits = SimpleNamespace(check=lambda _: None)
    begin_run(cast("Any", limits), ("prefix", "dry_run", "gone"))(cast("Context", {"ti": instance, "params": params}))
    assert pushed == {SETTINGS_KEY: {"prefix": "a/", "dry_run": True}}


def test_a_run_that_asks_for_too_much_shows_why() -> None:
    """The error is noted for the Migration page, and nothing else is."""
    kept: dict[str, Any] = {}

    def refuse(_: object) -> None:
        raise UsageError(detail="There is no run parameter 'dryrun'.")

    context: Any = {
        "ti": SimpleNamespace(try_number=1),
        "params": {},
        "task_state_store": SimpleNamespace(set=kept.__setitem__),
    }
    with pytest.raises(UsageError):
        begin_run(cast("Any", SimpleNamespace(check=refuse)), ())(context)
    assert kept[ERROR_KEY]["message"] == "There is no run parameter 'dryrun'."
