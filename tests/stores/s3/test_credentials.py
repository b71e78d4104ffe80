"""Failures to obtain S3's credentials: permanent if they were never obtained, and transient afterwards."""

from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3
import botocore.session
import pytest
from botocore import UNSIGNED, exceptions
from botocore.credentials import RefreshableCredentials

from s3_to_azure.model.errors import S3, ConnectionMissing, CredentialsUnavailable, PermanentError, TransferError
from s3_to_azure.stores.http.credentials import CredentialsProvider
from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.source import S3Source
from tests.fakes.odd_s3 import BUCKET, OddS3, served
from tests.real_stores import s3_session

SECRET = "aws_secret_access_key=SeCrEtSeCrEtSeCrEt"


def of_sts(status: int, code: str) -> exceptions.ClientError:
    """Return the refusal of STS that boto3 raises."""
    response: Any = {"Error": {"Code": code, "Message": "no"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return exceptions.ClientError(response, "AssumeRole")


# As botocore and Airflow's hook raise them: for IMDS, the container's endpoint, a credential program, and a network
# that is down. They may pass even if the credentials were never obtained.
OUTAGES: list[Exception] = [
    exceptions.CredentialRetrievalError(provider="iam-role", error_msg="timed out"),
    exceptions.CredentialRetrievalError(provider="custom-process", error_msg=SECRET),
    exceptions.MetadataRetrievalError(error_msg="Received non 200 response 503"),
    exceptions.EndpointConnectionError(endpoint_url="https://sts.amazonaws.com"),
    exceptions.ConnectTimeoutError(endpoint_url="http://169.254.169.254"),
    OSError("no route to the host"),
    of_sts(400, "Throttling"),
    of_sts(500, "InternalFailure"),
]
# Those of STS and SSO refuse: the role, or its policy, or the person's session.
REFUSALS: list[Exception] = [
    exceptions.TokenRetrievalError(provider="sso", error_msg="timed out"),
    exceptions.UnauthorizedSSOTokenError(),
    of_sts(403, "AccessDenied"),
    of_sts(400, "ExpiredTokenException"),
    of_sts(400, "IDPCommunicationError"),
]
BLIPS = [*OUTAGES, *REFUSALS, RuntimeError("Credentials were refreshed, but the refreshed ones are still expired.")]


class Role:
    """A role whose credentials expire at once, so that each request obtains new ones."""

    def __init__(self, *outcomes: Exception | None) -> None:
        """Fail as told; then succeed."""
        self.outcomes = list(outcomes)

    def credentials(self) -> Any:
        """Return botocore's credentials of this role, which have expired."""
        past = datetime.now(UTC) - timedelta(hours=1)
        return RefreshableCredentials("key", "secret", "token", past, self.refresh, "test")

    def refresh(self) -> dict[str, str]:
        """Return credentials that are good for as long as it takes to sign a request, or fail."""
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome:
            raise outcome
        soon = (datetime.now(UTC) + timedelta(seconds=30)).isoformat()
        return {"access_key": "key", "secret_key": "secret", "token": "token", "expiry_time": soon}


def list_all(source: S3Source) -> None:
    """List the bucket."""
    assert len(list(source.list(BUCKET, ""))) == 1


ACTS: list[Callable[[S3Source], object]] = [
    lambda source: source.check(BUCKET),
    lambda source: list(source.list(BUCKET, "")),
    lambda source: source.head(BUCKET, "k"),
]


def source_of(role: Role, url: str, *, worked_before: bool = False) -> S3Source:
    """Return S3 read with the role's credentials."""
    session = s3_session(region="us-east-1")
    session._session._credentials = role.credentials()
    options = {"endpoint_url": url, "config": botocore_config(1), "region_name": "us-east-1"}
    return S3Source(session, options, provider=CredentialsProvider(S3, worked_before=worked_before))


@pytest.fixture(scope="module")
def url() -> Any:
    """Run a server that holds one object, and return its address."""
    with served(OddS3({b"k": b"data"})) as source:
        yield source._client.meta.endpoint_url


@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: f"{type(error).__name__}")
def test_refusal_of_credentials_that_never_worked_is_permanent(url: str, refusal: Exception) -> None:
    """The connection is wrong, and a retry would only ask again."""
    source = source_of(Role(*[refusal] * len(ACTS)), url)
    for act in ACTS:
        with pytest.raises(PermanentError):
            act(source)
    source.close()


@pytest.mark.parametrize("outage", OUTAGES, ids=lambda error: f"{type(error).__name__}")
def test_outage_before_the_first_request_is_transient(url: str, outage: Exception) -> None:
    """The metadata service of a container that has just started is often late."""
    source = source_of(Role(outage), url)
    with pytest.raises(CredentialsUnavailable):
        list_all(source)
    list_all(source)
    source.close()


@pytest.mark.parametrize("blip", BLIPS, ids=lambda error: f"{type(error).__name__}")
def test_failure_of_credentials_that_worked_is_transient(url: str, blip: Exception) -> None:
    """Whichever request needs new ones, it may be repeated, and then succeeds."""
    role = Role()
    source = source_of(role, url)
    for act in (list_all, *ACTS):
        role.outcomes = [blip] if act != list_all else []
        if role.outcomes:
            with pytest.raises(CredentialsUnavailable) as caught:
                act(source)
            assert not isinstance(caught.value, PermanentError)
            assert "SeCrEt" not in str(caught.value)
        act(source)
    source.close()


def test_failure_of_credentials_that_worked_in_an_earlier_try_is_transient(url: str) -> None:
    """An outage longer than one try must not end the task for good."""
    source = source_of(Role(*[REFUSALS[0]] * len(ACTS)), url, worked_before=True)
    for act in ACTS:
        with pytest.raises(CredentialsUnavailable):
            act(source)
    source.close()


def test_our_own_requests_survive_a_blip_too(url: str) -> None:
    """GETs of objects, which are signed here and not by boto3, in both clients."""
    role = Role()
    source = source_of(role, url)
    listed = next(iter(source.list(BUCKET, "k")))
    for read in (lambda: source.signed_get(listed), lambda: source.open(listed, 0, 2).__enter__()):
        with suppress(TransferError):
            read()
        role.outcomes = [exceptions.CredentialRetrievalError(provider="iam-role", error_msg="timed out")]
        with pytest.raises(CredentialsUnavailable, match="timed out"):
            read()
    source.close()


class NoSession:
    """A boto3 session whose credentials are None, or cannot be loaded."""

    def __init__(self, error: Exception | None = None) -> None:
        """Raise this error, if one is given, when the credentials are loaded."""
        self._session = s3_session(region="us-east-1")
        self._error = error

    def client(self, *arguments: Any, **options: Any) -> Any:
        """Return a client of a session without credentials."""
        return self._session.client(*arguments, **options)

    def get_credentials(self) -> None:
        """Return none."""
        if self._error:
            raise self._error


@pytest.mark.parametrize("worked_before", [False, True])
def test_failure_while_a_session_is_opened(worked_before: bool) -> None:
    """In a later try of a task it is transient; boto3's exception never reaches the caller."""
    with pytest.raises(CredentialsUnavailable if worked_before else ConnectionMissing):
        S3Source(
            NoSession(exceptions.UnauthorizedSSOTokenError()),
            {"config": botocore_config(1), "region_name": "us-east-1"},
            provider=CredentialsProvider(S3, worked_before=worked_before),
        )


def test_session_without_credentials_is_transient_where_they_worked_before() -> None:
    """The metadata service did not answer; without credentials the requests would be unsigned, and denied."""
    options = {"config": botocore_config(1), "region_name": "us-east-1"}
    with pytest.raises(CredentialsUnavailable):
        S3Source(NoSession(), options, provider=CredentialsProvider(S3, worked_before=True))
    S3Source(NoSession(), options).close()


def test_what_was_only_opened_has_not_worked(url: str) -> None:
    """A role of a profile is assumed when its first request is signed, and not before."""
    session = s3_session(region="us-east-1")
    session._session._credentials = Role(BLIPS[0]).credentials()
    provider = CredentialsProvider(S3)
    S3Source(session, {"endpoint_url": url, "region_name": "us-east-1"}, provider=provider).close()
    assert not provider.has_worked


def test_unsigned_requests_need_no_credentials() -> None:
    """A public bucket is read without any, in every try."""
    provider = CredentialsProvider(S3, worked_before=True)
    config = botocore_config(1).merge(boto3.session.Config(signature_version=UNSIGNED))
    source = S3Source(
        NoSession(),
        {"config": config, "region_name": "us-east-1"},
        provider=provider,
    )
    source.close()
    assert provider.has_worked


def test_botocore_signs_with_the_object_that_is_watched() -> None:
    """Botocore's internals are used here: its signer calls this method of this object."""
    session = botocore.session.Session()
    session._credentials = Role().credentials()
    client = session.create_client("s3", region_name="us-east-1")
    assert client._request_signer._credentials is session.get_credentials()
