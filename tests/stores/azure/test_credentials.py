"""Failures to obtain Azure's tokens: permanent if none was ever obtained, and transient afterwards."""

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest
from azure.core.credentials import AccessToken, AccessTokenInfo, AzureNamedKeyCredential, AzureSasCredential
from azure.core.exceptions import (
    ClientAuthenticationError,
    HttpResponseError,
)
from azure.identity import CredentialUnavailableError
from azure.storage.blob import BlobServiceClient

from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import (
    ConnectionFailed,
    CredentialsRefused,
    CredentialsUnavailable,
)
from s3_to_azure.model.objects import BlobContents, Condition, ContentHeaders
from s3_to_azure.model.retry import Retrier
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.credentials import watch_credential
from s3_to_azure.stores.azure.state import AzureState
from tests.fakes.contexts import QUICK

SECRET = "client_secret=SeCrEtSeCrEtSeCrEt"


def of_entra(status: int, message: str, kind: type[HttpResponseError] = ClientAuthenticationError) -> Exception:
    """Return an exception that carries the token endpoint's response, as azure-identity raises it."""
    response = SimpleNamespace(status_code=status, reason="x", headers={}, internal_response=None, request=None)
    return kind(message, response=cast("Any", response))


OUTAGES: list[Exception] = [
    CredentialUnavailableError(message="ManagedIdentityCredential authentication unavailable, no response from IMDS."),
    ClientAuthenticationError(message="Authentication failed: AADSTS90033: A transient error has occurred."),
    of_entra(400, "temporarily_unavailable"),
    of_entra(500, "server_error"),
    of_entra(429, "too many requests"),
]
REFUSALS: list[Exception] = [
    ClientAuthenticationError(message=f"Azure CLI failed: {SECRET}"),
    of_entra(401, "invalid_client"),
]
BLIPS = [*OUTAGES, *REFUSALS, ValueError("the answer is not JSON")]


class Tokens:
    """A credential that fails as told, and provides a token otherwise; each expires at once."""

    def __init__(self, *outcomes: Exception | None) -> None:
        """Fail as told; then succeed."""
        self.outcomes = list(outcomes)

    def get_token(self, *_scopes: str, **_options: Any) -> AccessToken:
        """Return a token, or fail."""
        outcome = self.outcomes.pop(0) if self.outcomes else None
        if outcome:
            raise outcome
        return AccessToken("token", int((datetime.now(UTC) + timedelta(seconds=1)).timestamp()))


class InfoTokens(Tokens):
    """A credential of the SDK's newer kind."""

    def get_token_info(self, *_scopes: str, options: Any = None) -> AccessTokenInfo:
        """Return a token, or fail."""
        token = self.get_token()
        return AccessTokenInfo(token.token, token.expires_on)


NOWHERE = "https://127.0.0.1:1"
NEW_BLOB = BlobContents({}, ContentHeaders())


def write_block(container: AzureContainer) -> None:
    """Put a block, by our own client."""
    data = memoryview(b"x")
    container.stage_block("b", "A" * 52, data, CRC64NVME.digest(data))


ACTS: dict[str, Callable[[AzureContainer], object]] = {
    "look": lambda container: container.head("b"),
    "list": lambda container: list(container.list("")),
    "block": write_block,
    "small object": lambda container: container.authorised_put_blob("b", 0, NEW_BLOB, Condition(None)),
}


def container_of(tokens: Tokens, *, worked_before: bool = False) -> AzureContainer:
    """Return a container of an account that does not answer, with this credential."""
    client = service_client(
        BlobServiceClient(NOWHERE, credential=tokens), connections=1, credentials_worked_before=worked_before
    )
    return AzureContainer(client, "container")


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("kind", [Tokens, InfoTokens])
@pytest.mark.parametrize("refusal", REFUSALS, ids=lambda error: type(error).__name__)
def test_refusal_of_a_credential_that_never_worked_is_permanent(
    refusal: Exception, kind: type[Tokens], act: str
) -> None:
    """The connection is wrong, in every kind of request."""
    container = container_of(kind(refusal))
    with pytest.raises(CredentialsRefused) as caught:
        ACTS[act](container)
    assert "SeCrEt" not in str(caught.value)
    container.close()


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("outage", OUTAGES, ids=lambda error: type(error).__name__)
def test_outage_before_the_first_request_is_transient(outage: Exception, act: str) -> None:
    """A pod's identity is often late, and Entra ID says when it is busy."""
    container = container_of(Tokens(outage))
    with pytest.raises(CredentialsUnavailable):
        ACTS[act](container)
    container.close()


@pytest.mark.parametrize("act", ACTS)
@pytest.mark.parametrize("worked", ["in this process", "before"])
@pytest.mark.parametrize("blip", BLIPS, ids=lambda error: type(error).__name__)
def test_failure_of_a_credential_that_worked_is_transient(blip: Exception, worked: str, act: str) -> None:
    """Whichever request needs a new token, it may be repeated."""
    tokens = Tokens()
    container = container_of(tokens, worked_before=worked == "before")
    if worked != "before":
        # The account does not answer, but the token was obtained.
        with pytest.raises(ConnectionFailed):
            container.head("b")
    tokens.outcomes = [blip]
    with pytest.raises(CredentialsUnavailable) as caught:
        ACTS[act](container)
    assert "SeCrEt" not in str(caught.value)
    container.close()


def test_state_files_survive_a_blip() -> None:
    """They are written with the same credential; the request is repeated until the account's own answer decides."""
    tokens = Tokens()
    client = service_client(
        BlobServiceClient(NOWHERE, credential=tokens), connections=1, credentials_worked_before=True
    )
    state = AzureState(client, "state", dag_id="d", run_id="r", retrier=Retrier(QUICK, threading.Event()))
    tokens.outcomes = [BLIPS[0]]
    with pytest.raises(ConnectionFailed):
        list(state.names())
    assert tokens.outcomes == []
    client.close()


@pytest.mark.parametrize(
    "credential", [None, "key", AzureSasCredential("?sig=x"), AzureNamedKeyCredential("account", "key")]
)
def test_other_credentials_are_left_as_they_are(credential: Any) -> None:
    """Keys and SAS are not obtained from anywhere."""
    before = dict(vars(credential)) if hasattr(credential, "__dict__") else None
    watch_credential(credential)
    assert before is None or vars(credential) == before


def test_credential_is_watched_once() -> None:
    """A client that is made from another one keeps its memory."""
    tokens = Tokens()
    watch_credential(tokens)
    method = tokens.get_token
    watch_credential(tokens)
    assert tokens.get_token is method
