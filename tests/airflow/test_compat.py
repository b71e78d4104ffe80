"""Which errors fail a task at once and which are retried, with Airflow's retry policies and without."""

import ast
import re
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowFailException

import s3_to_azure
from s3_to_azure.airflow import compat
from s3_to_azure.airflow.compat import AIRFLOW_FAILURES, RETRY_POLICY, retry_arguments, task_error
from s3_to_azure.airflow.migration.dag_tasks import plan_run, report_run
from s3_to_azure.airflow.task_errors import raises_task_errors
from s3_to_azure.model.errors import Cancelled, PermanentError, TransferError, TransientError


def _tree(root: type[TransferError]) -> Iterator[type[TransferError]]:
    yield root
    for branch in root.__subclasses__():
        yield from _tree(branch)


def _decided(error: type[TransferError]) -> RetryAction:
    attributes = dict.fromkeys(error.fields(), "x")
    action: RetryAction = RETRY_POLICY.evaluate(error(**attributes), try_number=1, max_tries=5).action
    return action


@pytest.mark.parametrize("error", [*_tree(PermanentError)])
def test_permanent_errors_end_the_task(error: type[TransferError]) -> None:
    """A permanent error is never retried."""
    assert _decided(error) is RetryAction.FAIL


@pytest.mark.parametrize("error", [*_tree(TransientError), Cancelled])
def test_temporary_errors_are_retried(error: type[TransferError]) -> None:
    """Transient errors and a stop from outside use the task's retries."""
    assert _decided(error) is RetryAction.RETRY


def test_any_other_error_is_left_to_airflow() -> None:
    """For a bug of ours or of a library, Airflow decides as usual."""
    assert RETRY_POLICY.evaluate(ValueError("?"), try_number=1, max_tries=5).action is RetryAction.DEFAULT


def test_the_policy_survives_serialisation() -> None:
    """Airflow stores DAGs as JSON; the deserialised rules name the same classes."""
    again = type(RETRY_POLICY).deserialize(RETRY_POLICY.serialize())
    assert again.evaluate(PermanentError(detail="x"), try_number=1, max_tries=5).action is RetryAction.FAIL


def test_without_retry_policies_a_permanent_error_ends_the_retries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Airflow before 3.3 has no policies: the task raises Airflow's own exception, which names the error."""
    monkeypatch.setattr(compat, "RETRY_POLICY", None)
    assert retry_arguments() == {}
    raised = task_error(PermanentError(detail="no such key"))
    assert isinstance(raised, AirflowFailException)
    assert "PermanentError" in str(raised)
    assert "no such key" in str(raised)
    transient = TransientError(detail="later")
    assert task_error(transient) is transient


def test_a_given_policy_is_kept() -> None:
    """The author's own policy replaces ours."""
    given = object()
    assert retry_arguments(given) == {"retry_policy": given}
    assert retry_arguments() == {"retry_policy": RETRY_POLICY}


def test_expected_errors_lose_their_frames_and_their_context() -> None:
    """Airflow logs the traceback of a failed task: the message must not be buried in it."""

    def deep(depth: int) -> int:
        if depth:
            return deep(depth - 1)
        try:
            raise KeyError("a detail of an SDK")
        except KeyError:
            raise TransientError(detail="A sentence.")  # noqa: B904 - the context is what must not be shown

    with pytest.raises(TransientError) as caught:
        raises_task_errors(deep)(20)
    shown = "".join(traceback.format_exception(caught.value))
    assert "in deep" not in shown
    assert "KeyError" not in shown
    assert shown.endswith("TransientError: A sentence.\n")


def test_other_errors_keep_their_frames() -> None:
    """They are faults of this program, and the frames are needed to find them."""

    def fail() -> None:
        raise ZeroDivisionError("x")

    with pytest.raises(ZeroDivisionError) as caught:
        raises_task_errors(fail)()
    assert "in fail" in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize("function", [plan_run, report_run])
def test_the_tasks_around_the_copies_end_so_too(function: Any) -> None:
    """With retry policies and without them."""
    assert function.__code__.co_name == "raising"


def test_failures_of_airflow_itself_say_nothing_about_a_connection() -> None:
    """A hook reads the connection from Airflow, which may be away for a moment: the task is retried."""
    assert AIRFLOW_FAILURES
    assert not any(issubclass(kind, (ValueError, LookupError, TypeError)) for kind in AIRFLOW_FAILURES)


def test_what_differs_between_airflows_stays_small() -> None:
    """What is more belongs to the module that needs it."""
    assert len(Path(compat.__file__).read_text(encoding="utf-8").splitlines()) < 150


def _asks_for_a_version(module: ast.Module) -> bool:
    """Whether the module looks at a version, or goes on where an import from Airflow fails."""
    for node in ast.walk(module):
        if isinstance(node, ast.Try):
            imported = ast.unparse(ast.Module([n for n in node.body if isinstance(n, ast.Import | ast.ImportFrom)], []))
            caught = " ".join(ast.unparse(handler.type or ast.Name("all")) for handler in node.handlers)
            if "airflow" in imported and re.search(r"ImportError|ModuleNotFoundError|AttributeError", caught):
                return True
        elif isinstance(node, ast.Import | ast.ImportFrom):
            if re.search(
                r"airflow\.version|airflow import .*__version__|importlib\.metadata|packaging", ast.unparse(node)
            ):
                return True
        elif isinstance(node, ast.Attribute) and node.attr == "__version__":
            return True
    return False


def test_no_other_module_asks_which_airflow_it_runs_on() -> None:
    """The web server's own tables and dependencies have a module like it, which a worker never imports."""
    root = Path(s3_to_azure.__file__).parent
    asking = {
        str(path.relative_to(root))
        for path in root.rglob("*.py")
        if _asks_for_a_version(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert asking == {"airflow/compat.py", "web/airflow_internals.py"}
