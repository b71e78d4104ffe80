"""Which failures Airflow tries again: decided by the error's class, never by its text."""

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from s3_to_azure.model.errors import Cancelled, PermanentError, TransientError

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=PermanentError,
            action=RetryAction.FAIL,
            reason="A retry cannot help; the message above says what to do",
        ),
        RetryRule(
            exception=TransientError,
            action=RetryAction.RETRY,
            reason="The failure may pass; the next try sends only what Azure does not hold yet",
        ),
        RetryRule(
            exception=Cancelled,
            action=RetryAction.RETRY,
            reason="Stopped from outside; the next try sends only what Azure does not hold yet",
        ),
    ],
)
"""Permanent errors end the task at once, transient ones use its ``retries``; any other error is Airflow's to decide."""
