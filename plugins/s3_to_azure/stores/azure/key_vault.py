"""A key in Azure Key Vault or in a managed HSM that signs certificates, as a ``Signer``; by the REST API.

https://learn.microsoft.com/rest/api/keyvault/keys
"""

import base64
import json
import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from hashlib import sha256
from http import HTTPStatus
from typing import Any, Final, TypeVar

from azure.identity import DefaultAzureCredential
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, EllipticCurvePublicNumbers
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from s3_to_azure.model import errors
from s3_to_azure.model.errors import TransferError, UsageError
from s3_to_azure.model.retry import Retrier
from s3_to_azure.stores.azure.client import StreamingClient
from s3_to_azure.stores.azure.credentials import watch_credential
from s3_to_azure.stores.http.errors import translated, unreadable
from s3_to_azure.stores.http.refusals import (
    PROXY_REFUSED,
    SERVER_FAILED,
    THROTTLED,
    Cause,
    Refusal,
    error_of,
    unexpected_response,
    words,
)

KEY_VAULT: Final = "Azure Key Vault"
"""The service's name in errors."""

ADDRESS: Final = re.compile(
    r"https://(?P<host>[a-z0-9-]+\.(?P<domain>[a-z0-9.-]+)(?::\d+)?)/keys/(?P<name>[A-Za-z0-9-]{1,127})(?:/(?P<version>[0-9a-f]{1,64}))?",
    re.IGNORECASE,
)
"""The identifier of a key, with a version or without; the newest one is used then."""

T = TypeVar("T")
_API_VERSION: Final = "7.4"
_ALGORITHM: Final = "ES256"
_CURVE: Final = "P-256"
_KINDS: Final = ("EC", "EC-HSM")
_NUMBER_BYTES: Final = 32
_TIMEOUTS_S: Final = (10, 60)
_MAX_BYTES: Final = 64 * 1024
_NEEDS: Final = f"Certificates need a key of the type EC with the curve {_CURVE}."
_CREDENTIALS_CURE: Final = "Check that the identity is of the vault's tenant, and that its token is not expired."
_CAUSES: Final = (
    Cause(THROTTLED, errors.Throttled),
    Cause(PROXY_REFUSED, errors.ProxyRefused, {"detail": "it asks for credentials (status 407)"}),
    Cause(SERVER_FAILED, errors.ServerFailed),
    Cause(re.compile(r"401 "), errors.CredentialsRefused, {"cure": _CREDENTIALS_CURE}),
    Cause(
        words(r"ForbiddenByFirewall|client address is not authorized|public network access is disabled"),
        errors.AccessDenied,
        {"cure": "The vault's firewall does not allow this machine's network: allow it there (Networking)."},
    ),
    Cause(re.compile(r"403 "), errors.AccessDenied),
)


class VaultKey:
    """A key of Key Vault; the private part never leaves it.

    The identity is that of the storage account's connection if it is one of Microsoft Entra ID, else the machine's own.

    Args:
        service: The storage account's client, whose HTTP session and identity are used.
        address: The key's identifier.
        retrier: Repeats each request.
    """

    def __init__(self, service: StreamingClient, address: str, retrier: Retrier) -> None:
        match = ADDRESS.fullmatch(address)
        if match is None:
            raise UsageError(
                detail=f"{address!r} is no identifier of a key in Key Vault, such as "
                "https://VAULT.vault.azure.net/keys/NAME, or …/keys/NAME/VERSION."
            )
        self.name = f"the Key Vault key {address!r}"
        self._address = address
        self._of_all_versions = f"https://{match['host']}/keys/{match['name']}/".lower()
        # The vault's own domain: no other service accepts a token that is sent there.
        self._scope = f"https://{match['domain']}/.default"
        self._session = service.http
        self._retrier = retrier
        self._credential: Any = service.credential
        if not hasattr(self._credential, "get_token"):
            self._credential = DefaultAzureCredential()
            watch_credential(self._credential)

    def public_key(self) -> bytes:
        """Return the public key."""
        found = self._call("read", "GET", self._address)
        if _value(found, "attributes", "enabled") is False:
            raise UsageError(detail=f"{self.name} is disabled. Enable it, or name another one.")
        kind, curve = _value(found, "key", "kty"), _value(found, "key", "crv")
        if kind not in _KINDS or curve != _CURVE:
            raise UsageError(detail=f"{self.name} is of the type {kind} {curve or ''}. {_NEEDS}")
        identifier = str(_value(found, "key", "kid"))
        x, y = (_decoded(_value(found, "key", name)) for name in ("x", "y"))
        if not identifier.lower().startswith(self._of_all_versions) or not ADDRESS.fullmatch(identifier):
            raise self._unreadable()
        # From now on this version, also if a newer one comes.
        self._address = identifier
        try:
            numbers = EllipticCurvePublicNumbers(int.from_bytes(x), int.from_bytes(y), SECP256R1())
            return numbers.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        except ValueError:
            raise self._unreadable() from None

    def sign(self, data: bytes) -> bytes:
        """Return the signature."""
        digest = base64.urlsafe_b64encode(sha256(data).digest()).rstrip(b"=").decode()
        found = self._call("sign with", "POST", f"{self._address}/sign", {"alg": _ALGORITHM, "value": digest})
        return _decoded(found.get("value"))

    def close(self) -> None:
        """Close the credential, if it is the machine's own; the session belongs to the storage account's client."""
        if isinstance(self._credential, DefaultAzureCredential):
            self._credential.close()

    def _call(self, action: str, method: str, url: str, values: Mapping[str, str] | None = None) -> Mapping[str, Any]:
        return self._retrier.call(f"{action} {self.name}", partial(self._once, method, url, values))

    def _once(self, method: str, url: str, values: Mapping[str, str] | None) -> Mapping[str, Any]:
        """Send a request; return the document of a response of success."""
        token = self._guarded(lambda: self._credential.get_token(self._scope).token)

        def send() -> tuple[int, Mapping[str, str], bytes]:
            with self._session.request(
                method,
                f"{url}?api-version={_API_VERSION}",
                json=values,
                headers={"Authorization": f"Bearer {token}", "Accept": "application/json"},
                timeout=_TIMEOUTS_S,
                stream=True,
            ) as response:
                return response.status_code, response.headers, response.raw.read(_MAX_BYTES, decode_content=True)

        status, headers, body = self._guarded(send)
        document = _document(body)
        if status != HTTPStatus.OK:
            raise _error(_refusal(status, document or {}, headers), name=self.name)
        if document is None:
            raise self._unreadable()
        return document

    def _guarded(self, function: Callable[[], T]) -> T:
        try:
            return function()
        except TransferError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever the SDK or the session raises
            raise translated(KEY_VAULT, self.name, error) from None

    def _unreadable(self) -> TransferError:
        return unreadable(KEY_VAULT, self.name)


def _document(body: bytes) -> dict[str, Any] | None:
    with suppress(ValueError, RecursionError):
        document = json.loads(body)
        if isinstance(document, dict):
            return document
    return None


def _value(document: Mapping[str, Any], *names: str) -> Any:
    """Return a value in a document; None if it is not there."""
    found: Any = document
    for name in names:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def _decoded(text: object) -> bytes:
    """Return the bytes of base64url without padding; none if it is something else."""
    with suppress(ValueError):
        return base64.urlsafe_b64decode(f"{text}{'=' * (-len(str(text)) % 4)}")
    return b""


def _refusal(status: int, document: Mapping[str, Any], headers: Mapping[str, str]) -> Refusal:
    codes = [_value(document, "error", "innererror", "code"), _value(document, "error", "innerError", "code")]
    code = next((str(each) for each in (*codes, _value(document, "error", "code")) if each), "")
    message = str(_value(document, "error", "message") or "")
    return Refusal(status, code, message, {name.lower(): value for name, value in headers.items()})


def _error(refusal: Refusal, *, name: str) -> TransferError:
    """Return the error that a refusal of Key Vault means."""
    subject = name[0].upper() + name[1:]
    if refusal.code == "KeyDisabled" or (refusal.status == 403 and "disabled key" in refusal.message):
        return UsageError(detail=f"{subject} is disabled ({refusal.said}). Enable it, or name another one.")
    if refusal.status == 404 and refusal.code:
        return UsageError(detail=f"{subject} does not exist ({refusal.said}). Check vault, name and version.")
    if refusal.status == 400 and refusal.code:
        return UsageError(detail=f"{subject} cannot sign ({refusal.said}). {_NEEDS}")
    cure = (
        "Grant the identity keys/get and keys/sign on it: the role Key Vault Crypto User, or an access policy with Get "
        "and Sign."
    )
    found = error_of(refusal, _CAUSES, {"service": KEY_VAULT, "resource": name, "cure": cure})
    return found or unexpected_response(KEY_VAULT, name, refusal, check="the vault's address")
