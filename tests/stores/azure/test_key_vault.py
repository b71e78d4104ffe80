"""A key in Key Vault: what it signs is checked without it, and each refusal is one sentence."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from azure.core.credentials import AccessToken
from azure.storage.blob import BlobServiceClient

from s3_to_azure.model import errors
from s3_to_azure.model.errors import TransferError, UsageError
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.runs.signatures import ES256, check_signer, public_key_of, sign
from s3_to_azure.stores.azure import key_vault as module
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.key_vault import VaultKey
from s3_to_azure.stores.http.settings import HttpSettings
from tests.certificates import certified
from tests.fakes.key_services import VERSION, Vault, key_vault


class Identity:
    """A credential of Entra ID that notes what its tokens are for."""

    def __init__(self) -> None:
        self.scopes: list[str] = []

    def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """Return a token."""
        self.scopes += scopes
        return AccessToken("token-of-a-test", 2**40)

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the vault's certificate, which signs itself."""
    return certified(tmp_path_factory.mktemp("vault") / "vault.pem")


@pytest.fixture
def vault(certificate: Path) -> Iterator[Vault]:
    """Run a vault."""
    with key_vault(certificate) as running:
        yield running


@contextmanager
def key_in(
    vault: Vault, certificate: Path | None, suffix: str = "", *, credential: Any = None, address: str = ""
) -> Iterator[VaultKey]:
    """Open a key, whose requests are tried twice."""
    credential = credential or Identity()
    account = BlobServiceClient("https://account.blob.core.windows.net", credential=credential)
    settings = HttpSettings(verify=str(certificate) if certificate else True)
    retrier = Retrier(RetryBudget(attempts=2, first_wait_s=0, longest_wait_s=0), threading.Event())
    with (
        closing(service_client(account, connections=1, settings=settings)) as service,
        closing(VaultKey(service, address or vault.address + suffix, retrier)) as key,
    ):
        yield key


@pytest.mark.parametrize("suffix", ["", f"/{VERSION}"])
def test_a_signature_is_checked_with_the_public_key_alone(vault: Vault, certificate: Path, suffix: str) -> None:
    """It has the form of ES256; the version is that of the public key, also if the address names none."""
    identity = Identity()
    with key_in(vault, certificate, suffix, credential=identity) as key:
        check_signer(key)
        public = public_key_of(key)
        signature = sign(key, public, b"data" * 10_000)
    assert (public.algorithm, len(signature), len(public.data)) == (ES256, 64, 65)
    assert public.has_signed(b"data" * 10_000, signature)
    assert not public.has_signed(b"other", signature)
    assert vault.requests == ["get", "sign", "get", "sign"]
    assert set(vault.tokens) == {"Bearer token-of-a-test"}
    # Of the vault's own domain, so that no other service accepts the token.
    assert set(identity.scopes) == {"https://0.0.1/.default"}


def refusal(code: str, inner: str = "", message: str = "words") -> dict[str, Any]:
    """Return an error's document."""
    return {"error": {"code": code, "message": message} | ({"innererror": {"code": inner}} if inner else {})}


@pytest.mark.parametrize(
    ("operation", "status", "document", "kind", "text"),
    [
        ("sign", 403, refusal("Forbidden", "ForbiddenByRbac"), errors.AccessDenied, "Key Vault Crypto User"),
        ("get", 403, refusal("Forbidden", "ForbiddenByPolicy"), errors.AccessDenied, "an access policy with Get and"),
        ("get", 403, refusal("Forbidden", "ForbiddenByFirewall"), errors.AccessDenied, "firewall does not allow"),
        ("sign", 403, refusal("Forbidden", "KeyDisabled"), UsageError, "is disabled (KeyDisabled: words)"),
        (
            *("sign", 403, refusal("Forbidden", message="Operation sign is not allowed on a disabled key.")),
            *(UsageError, "is disabled (Forbidden: Operation sign"),
        ),
        ("get", 404, refusal("KeyNotFound"), UsageError, "does not exist (KeyNotFound: words). Check vault, name"),
        ("sign", 400, refusal("BadParameter"), UsageError, "the curve P-256"),
        ("get", 401, refusal("Unauthorized"), errors.CredentialsRefused, "of the vault's tenant"),
        ("get", 404, b"<html>", errors.UnexpectedResponse, "Azure Key Vault gave an answer that cannot be trusted"),
        ("get", 302, b"", errors.UnexpectedResponse, "a redirect"),
    ],
)
def test_each_refusal_is_one_permanent_sentence(
    vault: Vault, certificate: Path, operation: str, status: int, document: Any, kind: type[TransferError], text: str
) -> None:
    """It says what to do, and is not tried again."""
    vault.refusals[operation] = [(status, document)]
    with key_in(vault, certificate) as key, pytest.raises(kind) as caught:
        check_signer(key)
    assert text in str(caught.value)
    assert "token-of-a-test" not in str(caught.value)
    assert vault.requests.count(operation) == 1
    assert not isinstance(caught.value, errors.TransientError)


@pytest.mark.parametrize(
    ("status", "document"), [(429, refusal("Throttled")), (503, b""), (200, b"{"), (200, b"[]"), (200, b"x" * 100_000)]
)
def test_a_failure_that_may_pass_is_tried_again(vault: Vault, certificate: Path, status: int, document: Any) -> None:
    """Also an answer that is not complete, or none of Key Vault's."""
    vault.refusals["sign"] = [(status, document)]
    with key_in(vault, certificate) as key:
        check_signer(key)
    assert vault.requests == ["get", "sign", "sign"]


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"key": {"kty": "RSA", "kid": "x"}}, "is of the type RSA . Certificates need a key of the type EC"),
        ({"key": {"kty": "EC", "crv": "P-384"}}, "is of the type EC P-384"),
        ({"attributes": {"enabled": False}}, "is disabled. Enable it"),
    ],
)
def test_another_kind_of_key_is_refused(vault: Vault, certificate: Path, changes: Any, text: str) -> None:
    """Before anything is signed."""
    vault.changes = changes
    with key_in(vault, certificate) as key, pytest.raises(UsageError) as caught:
        check_signer(key)
    assert text in str(caught.value)
    assert vault.requests == ["get"]


@pytest.mark.parametrize("name", ["kid", "x", "y"])
def test_a_key_of_another_vault_is_not_used(vault: Vault, certificate: Path, name: str) -> None:
    """The token would go to an address that an answer names; a point that is none of the curve is no key."""
    key_of_it = vault.document("get", {})["key"]
    vault.changes = {"key": key_of_it | {name: "https://elsewhere.vault.azure.net/keys/Audit/0"}}
    with key_in(vault, certificate) as key, pytest.raises(errors.TransientError, match="cannot be read"):
        check_signer(key)
    assert "sign" not in vault.requests


def test_a_signature_by_another_key_is_refused(vault: Vault, certificate: Path) -> None:
    """Nobody could check the certificate."""
    with key_in(vault, certificate) as key:
        public = public_key_of(key)
        vault.key = Vault().key
        with pytest.raises(errors.PermanentError, match="no signature by its own public key"):
            sign(key, public, b"data")
        vault.changes = {"value": "?"}
        with pytest.raises(errors.PermanentError, match="no signature by its own public key"):
            sign(key, public, b"data")


def test_a_certificate_that_is_not_trusted_gets_no_token(vault: Vault) -> None:
    """TLS is verified as for the storage account."""
    with key_in(vault, None) as key, pytest.raises(errors.CertificateRefused):
        check_signer(key)
    assert vault.tokens == []


def test_without_an_identity_of_entra_the_machines_own_is_used(
    vault: Vault, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shared key opens no vault; what the machine's identity says is translated."""
    monkeypatch.setattr(module, "DefaultAzureCredential", Identity)
    with key_in(vault, certificate, credential="a2V5") as key:
        check_signer(key)
    assert vault.requests == ["get", "sign"]


@pytest.mark.parametrize(
    "address",
    [
        "https://vault.azure.net",
        "https://v.vault.azure.net/secrets/Audit",
        "https://v.vault.azure.net/keys/Audit/0/sign",
        "https://v.vault.azure.net/keys/../Audit",
        "https://user@v.vault.azure.net/keys/Audit",
        "https://v.vault.azure.net/keys/Audit?x=y",
    ],
)
def test_what_is_no_identifier_of_a_key_is_refused(vault: Vault, address: str) -> None:
    """Before a token is asked for."""
    with (
        pytest.raises(UsageError, match="is no identifier of a key in Key Vault"),
        key_in(vault, None, address=address),
    ):
        pass
