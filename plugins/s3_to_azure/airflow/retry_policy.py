"""Decides by an error's class whether Airflow retries the task."""

from airflow.sdk import ExceptionRetryPolicy, RetryAction, RetryRule

from s3_to_azure.model.errors import Cancelled, PermanentError, TransientError

RETRY_POLICY = ExceptionRetryPolicy(
    rules=[
        RetryRule(
            exception=PermanentError,
            action=RetryAction.FAIL,
            reason="A retry cannot help; the error message says what to do",
        ),
        RetryRule(
            exception=TransientError,
            action=RetryAction.RETRY,
            reason="The failure may be temporary; the next try sends only what Azure does not hold yet",
        ),
        RetryRule(
            exception=Cancelled,
            action=RetryAction.RETRY,
            reason="Stopped from outside; the next try sends only what Azure does not hold yet",
        ),
    ],
)
"""Permanent errors fail the task at once, transient ones use its ``retries``; Airflow decides about all others."""
