"""The result of a run or of a task in one sentence, whatever has happened."""

from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context

from s3_to_azure.airflow.migration.run_state import PLAN_KEY, REPORT_KEY
from s3_to_azure.airflow.migration.verdict import verdict
from s3_to_azure.model.errors import ContainerNotFound

PLAN = {"plan": "1" * 16}
AMOUNT = {"objects": 2, "size_bytes": 3}


def _context(
    xcoms: dict[tuple[str, str], Any] | None = None,
    *,
    task_id: str = "check_report",
    states: dict[str, str] | None = None,
    is_migration: bool = True,
    error: Exception | None = None,
) -> Context:
    def pull(*, task_ids: str, key: str = "return_value") -> Any:
        return (xcoms or {}).get((task_ids, key))

    instance = SimpleNamespace(
        dag_id="dag", run_id="run", task_id=task_id, xcom_pull=pull, get_task_states=lambda **_: {"run": states or {}}
    )
    tasks = ["wait_for_objects", "plan", "copy", "report", "check_report"] if is_migration else ["mine"]
    dag = SimpleNamespace(has_task=tasks.__contains__)
    return cast("Context", {"ti": instance, "dag": dag} | ({"exception": error} if error else {}))


@pytest.mark.parametrize("key", ["return_value", REPORT_KEY])
def test_of_a_run_with_a_report(key: str) -> None:
    """The report says it itself, also if it has failed."""
    report = PLAN | {"verdict": "248 of 2,000 objects failed, for 6 reasons; 1,752 copied and proven"}
    context = _context({("report", key): report, ("plan", PLAN_KEY): PLAN}, error=ValueError("2 failed"))
    assert verdict(context) == f"{report['verdict']}."


def test_of_a_report_of_an_earlier_version() -> None:
    """Its counts say it."""
    report: dict[str, Any] = (
        PLAN | dict.fromkeys(("copied", "unchanged", "skipped", "failed"), AMOUNT) | {"reasons": [{}, {}]}
    )
    told = verdict(_context({("report", "return_value"): report, ("plan", PLAN_KEY): PLAN}))
    assert told == "2 of 8 objects failed, for 2 reasons; 2 copied and proven, 2 unchanged, 2 skipped."


def test_of_a_dry_run() -> None:
    """The plan says what would be copied."""
    plan = PLAN | {"dry_run": True, "copy": AMOUNT, "listed": {"objects": 5}, "failed": {"name_refused": AMOUNT}}
    told = verdict(_context({("plan", PLAN_KEY): plan, ("report", REPORT_KEY): {"dry_run": True}}))
    assert told == "Dry run: 2 of 5 objects would be copied; 2 cannot be copied."


@pytest.mark.parametrize(
    ("states", "says"),
    [
        ({"plan": "failed", "check_report": "failed", "report": "failed"}, "The task plan failed, so no report"),
        ({"wait_for_objects": "failed"}, "The task wait_for_objects failed"),
        ({"copy_0": "success", "copy_12": "failed"}, "The task copy failed"),
        ({"report": "failed"}, "The run has no report"),
        ({}, "The run has no report"),
    ],
)
def test_of_a_run_without_a_report(states: dict[str, str], says: str) -> None:
    """The first task that failed is named."""
    assert verdict(_context(states=states, error=ValueError("no report"))).startswith(says)


def test_of_a_task_that_failed() -> None:
    """A task of a migration, or of another DAG: its own error in one line."""
    error = ContainerNotFound(container="archive")
    for context in (_context(task_id="plan", error=error), _context(task_id="mine", is_migration=False, error=error)):
        assert "failed: Azure container 'archive' does not exist" in verdict(context)


def test_of_a_task_that_failed_with_a_secret_in_its_error() -> None:
    """An error of a library may hold what it was given; the sentence leaves the installation."""
    string = "DefaultEndpointsProtocol=https;AccountName=archive;AccountKey=c2VjcmV0c2VjcmV0;EndpointSuffix=x"
    error = ValueError(f"cannot parse {string}")
    for context in (_context(task_id="plan", error=error), _context(task_id="mine", is_migration=False, error=error)):
        assert "AccountName=archive;AccountKey=***" in verdict(context)
    broken = _context(task_id="mine", is_migration=False)
    cast("Any", broken["ti"]).xcom_pull = lambda **_: (_ for _ in ()).throw(error)
    assert "AccountKey=***" in verdict(broken)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ({"status": "copied", "key": "a/b"}, "Copied: 'a/b'."),
        (
            {"objects": 5, "copied": 3, "unchanged": 1, "skipped": 1, "failed": 0},
            "All 5 objects are accounted for: 3 copied and proven, 1 unchanged, 1 skipped.",
        ),
        (None, "The task mine has ended."),
        ("text", "The task mine has ended."),
    ],
)
def test_of_a_task_that_succeeded(value: Any, text: str) -> None:
    """What the operator returned."""
    assert verdict(_context({("mine", "return_value"): value}, task_id="mine", is_migration=False)) == text


def test_it_never_raises() -> None:
    """Airflow would log the error, and nobody would be told anything."""
    assert verdict(cast("Context", {})) == "The result is not known: 'ti'"
    assert len(verdict(_context(task_id="plan", error=ValueError("x" * 5_000)))) == 1_000
