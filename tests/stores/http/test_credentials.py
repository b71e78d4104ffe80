"""The memory of whether credentials were ever obtained."""

import pytest

from s3_to_azure.model.errors import S3, AccessDenied, CredentialsUnavailable
from s3_to_azure.stores.http.credentials import CredentialsProvider


def fail() -> str:
    """Fail with a text that holds a secret."""
    raise OSError("the program printed\nclient_secret=SeCrEtSeCrEt and ended")


def test_failure_before_the_first_success_is_raised_as_it_is() -> None:
    """What it means is for the caller to say."""
    with pytest.raises(OSError, match="the program printed"):
        CredentialsProvider(S3).obtain(fail)


def test_failure_after_a_success_may_pass() -> None:
    """One line, without the secret and without the exception that holds it."""
    provider = CredentialsProvider(S3)
    assert provider.obtain(lambda: "credentials") == "credentials"
    with pytest.raises(CredentialsUnavailable, match="the program printed client_secret=") as caught:
        provider.obtain(fail)
    assert "SeCrEt" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert provider.obtain(lambda: "again") == "again"


def test_success_in_an_earlier_try_counts() -> None:
    """An outage longer than a try does not end the task for good."""
    with pytest.raises(CredentialsUnavailable):
        CredentialsProvider(S3, worked_before=True).obtain(fail)


def test_only_credentials_are_a_proof() -> None:
    """A session is opened without asking anybody for credentials."""
    provider = CredentialsProvider(S3)
    provider.obtain(lambda: "session", is_proof=False)
    with pytest.raises(OSError, match="the program printed"):
        provider.obtain(fail)


def test_our_own_errors_are_passed_on() -> None:
    """They say already what failed."""

    def refuse() -> None:
        raise AccessDenied(service=S3, resource="x", code="403", cure="")

    with pytest.raises(AccessDenied):
        CredentialsProvider(S3, worked_before=True).obtain(refuse)
