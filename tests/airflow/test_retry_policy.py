"""The retry policy: which errors fail a task at once, and which are retried."""

from collections.abc import Iterator

import pytest
from airflow.sdk import RetryAction

from s3_to_azure.airflow.retry_policy import RETRY_POLICY
from s3_to_azure.model.errors import Cancelled, PermanentError, TransferError, TransientError


def _tree(root: type[TransferError]) -> Iterator[type[TransferError]]:
    yield root
    for branch in root.__subclasses__():
        yield from _tree(branch)


def _decided(error: type[TransferError]) -> RetryAction:
    attributes = dict.fromkeys(error.fields(), "x")
    return RETRY_POLICY.evaluate(error(**attributes), try_number=1, max_tries=5).action


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
