"""Which errors fail a task at once and which are retried, with Airflow's retry policies and without."""

from collections.abc import Iterator

import pytest
from airflow.sdk import RetryAction
from airflow.sdk.exceptions import AirflowFailException

from s3_to_azure.airflow import compat
from s3_to_azure.airflow.compat import RETRY_POLICY, retry_arguments, task_error
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
