"""Clients of one storage account: the Azure SDK with our own HTTP session, and PUTs that bypass the SDK's pipeline."""

import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

import requests
from azure.core.credentials import AzureSasCredential
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.policies import AzureSasCredentialPolicy, BearerTokenCredentialPolicy
from azure.core.pipeline.transport import HttpRequest, RequestsTransport
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas
from requests.adapters import HTTPAdapter

from s3_to_azure.model.errors import UnexpectedResponse, UsageError
from s3_to_azure.model.limits import MAX_BLOCK_BYTES
from s3_to_azure.stores.azure.credentials import watch_credential
from s3_to_azure.stores.azure.errors import sas_permissions
from s3_to_azure.stores.azure.responses import REQUEST_ID, belongs_to, new_request_id
from s3_to_azure.stores.azure.shared_key import SharedKeySigner
from s3_to_azure.stores.http.connections import HttpConnections
from s3_to_azure.stores.http.redaction import hide, hide_in
from s3_to_azure.stores.http.response import STRICT_POOLS
from s3_to_azure.stores.http.settings import HttpSettings

AUDIENCE: Final = "https://storage.azure.com"
_ANY_KEY: Final = "AA=="
_MAX_RESPONSE_BYTES: Final = 64 * 1024
_NOT_IN_SAS: Final = re.compile(r"[\s\"']|://")
_MIN_ERROR_STATUS: Final = 400
_NOT_OURS: Final = "the response belongs to another request"
_SAS_LIFETIME_S: Final = 3600
# A SAS is renewed this long before it expires, so that no request arrives after it.
_RENEW_SAS_BEFORE_S: Final = 900
# The SDK's own margin: asked earlier, the credential only returns the same token again.
_RENEW_TOKEN_BEFORE_S: Final = 300


def _scope(audience: str) -> str:
    return f"{audience.rstrip('/')}/.default"


class StreamingClient(BlobServiceClient):
    """An account's SDK client with ``SignedRequests`` beside it. Made by ``service_client``."""

    http: "GuardedSession"
    signed: "SignedRequests"
    scope: str

    @property
    def account_url(self) -> str:
        """The account's endpoint, without a SAS."""
        return str(self.url).partition("?")[0].rstrip("/")

    def close(self) -> None:
        """Close all connections; the SDK does not close a session that it was given."""
        super().close()
        self.http.close()
        self.signed.close()


def service_client(
    client: BlobServiceClient,
    *,
    connections: int,
    settings: HttpSettings | None = None,
    audience: str = AUDIENCE,
    credentials_worked_before: bool = False,
) -> StreamingClient:
    """Return a client for the same account and credential, with our own HTTP session and without retries.

    Args:
        client: Made from the credentials by an Airflow hook or the command line. Its service version is kept.
        connections: Connections that the SDK keeps; its default of 10 makes more threads reconnect.
        settings: What all requests to the account have in common.
        audience: What a credential's tokens are requested for.
        credentials_worked_before: Failures to obtain a token may pass from the beginning (``CredentialsProvider``).

    Raises:
        UsageError: The SAS is not one, or every request would fail with these settings.
    """
    _check_sas(client.credential)
    hide_in(client.url, getattr(client.credential, "signature", None))
    hide(getattr(client.credential, "account_key", None))
    watch_credential(client.credential, worked_before=credentials_worked_before)
    settings = settings or HttpSettings()
    settings.check(client.url)
    session = GuardedSession(pool=connections, settings=settings)
    timeouts: dict[str, Any] = {
        "connection_timeout": settings.connect_timeout_s,
        "read_timeout": settings.read_timeout_s,
    }
    transport = RequestsTransport(session=session, session_owner=False, use_env_settings=False, **timeouts)
    made = StreamingClient(
        client.url,
        credential=client.credential,
        transport=transport,
        api_version=client.api_version,
        audience=audience,
        **timeouts,
        # A redirect could send data and signature to another host.
        permit_redirects=False,
        retry_total=0,
        retry_connect=0,
        retry_read=0,
        retry_status=0,
        max_single_put_size=MAX_BLOCK_BYTES,
    )
    made.http = session
    made.scope = _scope(audience)
    made.signed = SignedRequests(made, settings)
    return made


def _check_sas(credential: Any) -> None:
    """Refuse a SAS that was not copied alone: Azure would only say that it cannot authenticate the request."""
    if isinstance(credential, AzureSasCredential) and _NOT_IN_SAS.search(credential.signature):
        raise UsageError(
            detail="The SAS has a space, a quotation mark or the beginning of a URL: pass only what follows the "
            "question mark of the URL, as it is."
        )


class _StrictAdapter(HTTPAdapter):
    """Connects and reads responses as ``HttpConnections`` does."""

    def __init__(self, settings: HttpSettings, *, pool: int, tls: bool) -> None:
        self._settings = settings
        self._tls: dict[str, Any] = {"ssl_context": settings.tls_context()} if tls else {}
        super().__init__(pool_connections=4, pool_maxsize=pool, max_retries=0, pool_block=False)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **(kwargs | self._tls))
        self.poolmanager.pool_classes_by_scheme = STRICT_POOLS

    def proxy_manager_for(self, proxy: str, **kwargs: Any) -> Any:
        if proxy.startswith("https:"):
            kwargs["proxy_ssl_context"] = self._settings.proxy_tls_context()
        manager = super().proxy_manager_for(proxy, **(kwargs | self._tls))
        manager.pool_classes_by_scheme = STRICT_POOLS
        return manager

    def build_connection_pool_key_attributes(self, request: Any, verify: Any, cert: Any = None) -> Any:
        host, _ = super().build_connection_pool_key_attributes(request, verify, cert)
        return host, {}

    def cert_verify(self, conn: Any, url: Any, verify: Any, cert: Any) -> None:
        """Leave the connections as the TLS settings make them."""


class GuardedSession(requests.Session):
    """The SDK's transport session: it sends a URL exactly as it was built, or not at all.

    HTTP clients normalise ``.`` and ``..`` segments; such a request could reach another container.

    Args:
        pool: Connections kept for each host; as many as there are threads.
        settings: What the service's other clients follow too; the environment is not read.
    """

    def __init__(self, *, pool: int, settings: HttpSettings) -> None:
        super().__init__()
        self.trust_env = False
        self.settings = settings
        self._lock = threading.Lock()
        self._pool = pool
        self.mount("http://", _StrictAdapter(settings, pool=pool, tls=False))

    def get_adapter(self, url: str) -> Any:
        """Return the adapter for a URL; the first URL over TLS loads the CA bundle."""
        with self._lock:
            # The adapter that every session of requests begins with.
            if type(super().get_adapter(url)) is HTTPAdapter:
                self.mount("https://", _StrictAdapter(self.settings, pool=self._pool, tls=True))
            return super().get_adapter(url)

    def prepare_request(self, request: requests.Request) -> requests.PreparedRequest:
        """Prepare the request, and compare its path with the intended one.

        Raises:
            UnexpectedResponse: requests changed the path; nothing was sent.
        """
        prepared = super().prepare_request(request)
        intended = urlsplit(str(request.url)).path
        actual = urlsplit(str(prepared.url)).path
        if (actual or "/") != (intended or "/"):
            raise UnexpectedResponse(
                service="the HTTP client",
                resource=repr(intended),
                detail="it would send another path; nothing was sent",
            )
        return prepared

    def request(self, method: str | bytes, url: str | bytes, *args: Any, **kwargs: Any) -> requests.Response:
        """Send a request; a redirect is returned, never followed."""
        kwargs["allow_redirects"] = False
        return super().request(method, url, *args, **kwargs)

    def send(self, request: requests.PreparedRequest, **kwargs: Any) -> requests.Response:
        """Send a prepared request through its proxy, and check that the response belongs to it."""
        proxy = self.settings.proxies.for_url(str(request.url))
        kwargs["proxies"] = {urlsplit(str(request.url)).scheme: proxy} if proxy else {}
        is_read_later = kwargs.pop("stream", False)
        response = super().send(request, stream=True, **kwargs)
        if not belongs_to(request.headers, response.headers):
            # Unread, so that its connection is closed: behind it, more responses to other requests would come.
            response.close()
            raise requests.ConnectionError(_NOT_OURS)
        if not is_read_later:
            _ = response.content
        return response


@dataclass(frozen=True, slots=True)
class Response:
    """A response whose body was read.

    Attributes:
        headers: By lower-case name.
        body: Its first bytes, at most as many as the request allows.
        sas_permissions: Those of the SAS that the request carried, if it carried one.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes = b""
    sas_permissions: str | None = None


class SignedRequests:
    """Sends Put Block, Put Blob and Get Blob to one account, without the SDK's pipeline.

    The SDK costs a millisecond for each request, and a read of a blob has retries of its own below ours.

    Args:
        client: Provides account, credential, scope and service version.
        settings: What the SDK's requests follow too.
    """

    def __init__(self, client: StreamingClient, settings: HttpSettings) -> None:
        self.http_connections = HttpConnections(settings)
        self._version = client.api_version
        self._signer = _signer(client.credential, client.scope)

    def put(self, url: str, headers: Mapping[str, str], body: memoryview) -> Response:
        """PUT the body to a percent-encoded URL and return the response, whatever its status.

        Raises:
            OSError: The connection failed.
            http.client.HTTPException: The response is not HTTP.
            requests.ConnectionError: The response belongs to another request.
        """
        described = {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        return self._sent("PUT", url, {**headers, **described}, body, max_bytes=_MAX_RESPONSE_BYTES)

    def put_once(self, url: str, headers: Mapping[str, str], *, timeout_s: float) -> Response:
        """PUT without a body, and never send the request a second time. Raises as ``put`` does.

        Args:
            url: Percent-encoded.
            headers: All but those of every request.
            timeout_s: How long the service may work before it answers.
        """
        empty = {"Content-Length": "0"}
        return self._sent(
            "PUT", url, {**headers, **empty}, None, max_bytes=_MAX_RESPONSE_BYTES, once_within_s=timeout_s
        )

    def get(self, url: str, headers: Mapping[str, str], *, max_bytes: int) -> Response:
        """GET a percent-encoded URL and return the response, whatever its status. Raises as ``put`` does."""
        return self._sent("GET", url, headers, None, max_bytes=max(max_bytes, _MAX_RESPONSE_BYTES))

    def _sent(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: memoryview | None,
        *,
        max_bytes: int,
        once_within_s: float | None = None,
    ) -> Response:
        headers = {**headers, REQUEST_ID: new_request_id()}
        signed_url, signed = self._signed(method, url, headers)
        with self.http_connections.request(method, signed_url, signed, body, once_within_s=once_within_s) as response:
            received = {name.lower(): value for name, value in response.getheaders()}
            if not belongs_to(headers, received):
                raise requests.ConnectionError(_NOT_OURS)
            document = response.read(max_bytes)
            granted = sas_permissions(signed_url) if response.status >= _MIN_ERROR_STATUS else None
            return Response(response.status, received, document, granted)

    def close(self) -> None:
        """Close the idle connections."""
        self.http_connections.close()

    def _signed(self, method: str, url: str, headers: Mapping[str, str]) -> tuple[str, Mapping[str, str]]:
        """Return the URL and all headers, signed now."""
        versioned = {**headers, "x-ms-date": _date(int(time.time())), "x-ms-version": self._version}
        if isinstance(self._signer, SharedKeySigner):
            return url, {**versioned, "Authorization": self._signer.authorization(method, url, versioned)}
        request = HttpRequest(method, url, headers=versioned)
        if self._signer is not None:
            self._signer.on_request(PipelineRequest(request, PipelineContext(None)))
        return request.url, dict(request.headers)


def _signer(credential: Any, scope: str) -> Any:
    """Return what signs with this credential; None if the account's URL contains a SAS."""
    if credential is None:
        return None
    if hasattr(credential, "get_token"):
        return BearerTokenCredentialPolicy(credential, scope)
    if isinstance(credential, AzureSasCredential):
        return AzureSasCredentialPolicy(credential)
    # For a shared key the client has replaced the credential with its signing policy.
    return SharedKeySigner(credential)


class ContainerAuthorization:
    """The query and headers that authorise Put Blob in one container, renewed before they expire.

    One SAS or token serves many requests, where signing each one costs more than the rest of a small object.

    Args:
        client: Provides account, credential and service version.
        container: The only container that a SAS made here may write to.
        scope: What a credential's tokens are requested for.
    """

    def __init__(self, client: BlobServiceClient, container: str, *, scope: str = _scope(AUDIENCE)) -> None:
        self._credential: Any = client.credential
        self._scope = scope
        self._container = container
        self._fixed = {"x-ms-version": client.api_version, "Content-Type": "application/octet-stream"}
        self._current = ("", "", 0.0)
        self._lock = threading.Lock()

    def current(self) -> tuple[str, Mapping[str, str]]:
        """Return the query, which may be empty, and the headers of a request that is sent now.

        Raises:
            AzureError: The credential provides no token.
        """
        with self._lock:
            query, bearer, renew_at = self._current
            if time.time() >= renew_at:
                query, bearer, renew_at = self._current = self._renewed()
        headers = {**self._fixed, "x-ms-date": _date(int(time.time()))}
        if bearer:
            headers["Authorization"] = bearer
        return query, headers

    def _renewed(self) -> tuple[str, str, float]:
        """Return query, Authorization header and the time of the next renewal."""
        credential, now = self._credential, time.time()
        if credential is None:
            # The account's URL contains a SAS.
            return "", "", now + _SAS_LIFETIME_S
        if hasattr(credential, "get_token"):
            token = credential.get_token(self._scope)
            return "", f"Bearer {token.token}", float(token.expires_on) - _RENEW_TOKEN_BEFORE_S
        if isinstance(credential, AzureSasCredential):
            # Its owner may replace the SAS at any time, so it is read for each request.
            return credential.signature.lstrip("?"), "", 0.0
        return self._sas(now, credential.account_key), "", now + _SAS_LIFETIME_S - _RENEW_SAS_BEFORE_S

    def is_understood(self) -> bool:
        """Return whether the service version in use knows the SAS that the SDK would make from a shared key."""
        credential = self._credential
        if credential is None or hasattr(credential, "get_token") or isinstance(credential, AzureSasCredential):
            return True
        # The key of the connection may not be valid, which the first request reports.
        return bool(parse_qs(self._sas(time.time(), _ANY_KEY))["sv"][0] <= self._fixed["x-ms-version"])

    def _sas(self, now: float, account_key: str) -> str:
        return generate_container_sas(
            account_name=self._credential.account_name,
            container_name=self._container,
            account_key=account_key,
            permission=ContainerSasPermissions(write=True, create=True),
            expiry=datetime.fromtimestamp(now + _SAS_LIFETIME_S, UTC),
        )


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)
