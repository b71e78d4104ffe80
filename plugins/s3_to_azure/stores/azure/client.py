"""The Azure SDK's client of an account, on connections of our own and with its own retries off."""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import formatdate
from functools import lru_cache
from typing import Any, Final

from azure.core.credentials import AzureSasCredential
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.policies import AzureSasCredentialPolicy, BearerTokenCredentialPolicy
from azure.core.pipeline.transport import HttpRequest, RequestsTransport
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from s3_to_azure.model.limits import MAX_BLOCK_BYTES
from s3_to_azure.stores.http.connections import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, GuardedSession, open_connections

SCOPE: Final = "https://storage.azure.com/.default"
_MOST_ANSWER_BYTES: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Answer:
    """A complete answer.

    Attributes:
        headers: Names in lower case.
        body: Its first 64 KiB.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes


class BlockWriter:
    """Connections to one account.

    Args:
        client: Knows the account, the credential and the service version.
        connections: Connections to keep.
        verify: True, False or a CA bundle.
        proxies: Scheme to proxy URL.
    """

    def __init__(
        self, client: BlobServiceClient, *, connections: int, verify: bool | str, proxies: dict[str, str] | None = None
    ) -> None:
        """Make no connection yet."""
        self.http_connections = open_connections(pool=connections, verify=verify, proxies=proxies)
        self._version = client.api_version
        self._signer = _signer(client.credential)

    def put(self, url: str, headers: Mapping[str, str], body: memoryview) -> Answer:
        """PUT the body to a URL whose path and query are encoded already; return whatever answer comes.

        Raises:
            OSError: The connection failed.
            http.client.HTTPException: The answer was none.
            requests.RequestException: Either, behind a proxy.
        """
        signed_url, signed = self._signed(url, headers, len(body))
        with self.http_connections.answer("PUT", signed_url, signed, body) as response:
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(_MOST_ANSWER_BYTES),
            )

    def close(self) -> None:
        """Close the idle connections."""
        self.http_connections.close()

    def _signed(self, url: str, headers: Mapping[str, str], length: int) -> tuple[str, Mapping[str, str]]:
        """Return the URL to send to, and all headers, signed at this moment."""
        request = HttpRequest(
            "PUT",
            url,
            headers={
                **headers,
                "Content-Length": str(length),
                "Content-Type": "application/octet-stream",
                "x-ms-date": formatdate(usegmt=True),
                "x-ms-version": self._version,
            },
        )
        if self._signer is not None:
            self._signer.on_request(PipelineRequest(request, PipelineContext(None)))
        return request.url, dict(request.headers)


def _signer(credential: Any) -> Any:
    """Return the SDK's policy that signs with this credential; None where the URL itself holds a SAS."""
    if credential is None:
        return None
    if hasattr(credential, "get_token"):
        return BearerTokenCredentialPolicy(credential, SCOPE)
    if isinstance(credential, AzureSasCredential):
        return AzureSasCredentialPolicy(credential)
    # A shared key: the client has made its policy already.
    return credential


_LIFE_S: Final = 3600
# Renewed this long before its end, so that no request arrives after it.
_EARLY_S: Final = 900
# As the SDK does: asked for earlier, the credential only gives the same token again.
_TOKEN_EARLY_S: Final = 300


class ContainerPass:
    """Query and headers that go along with each Put Blob.

    Args:
        client: Knows the account, the credential and the service version.
        container: The one container that it opens, for writing alone.
    """

    def __init__(self, client: BlobServiceClient, container: str) -> None:
        """Ask for nothing yet."""
        self._credential: Any = client.credential
        self._container = container
        self._fixed = {"x-ms-version": client.api_version, "Content-Type": "application/octet-stream"}
        self._kept = ("", "", 0.0)
        self._lock = threading.Lock()

    def of_now(self) -> tuple[str, Mapping[str, str]]:
        """Return the query, empty where there is none, and the headers of a request that is sent now.

        Raises:
            AzureError: There is no token to be had.
        """
        with self._lock:
            query, bearer, renew_at = self._kept
            if time.time() >= renew_at:
                query, bearer, renew_at = self._kept = self._renewed()
        headers = {**self._fixed, "x-ms-date": _date(int(time.time()))}
        if bearer:
            headers["Authorization"] = bearer
        return query, headers

    def _renewed(self) -> tuple[str, str, float]:
        credential, now = self._credential, time.time()
        if credential is None:
            # The account's URL holds a SAS.
            return "", "", now + _LIFE_S
        if hasattr(credential, "get_token"):
            token = credential.get_token(SCOPE)
            return "", f"Bearer {token.token}", float(token.expires_on) - _TOKEN_EARLY_S
        if isinstance(credential, AzureSasCredential):
            # Read anew each time: whoever made it may put a fresh one in.
            return credential.signature.lstrip("?"), "", 0.0
        sas = generate_container_sas(
            account_name=credential.account_name,
            container_name=self._container,
            account_key=credential.account_key,
            permission=ContainerSasPermissions(write=True, create=True),
            expiry=datetime.fromtimestamp(now + _LIFE_S, UTC),
        )
        return sas, "", now + _LIFE_S - _EARLY_S


@lru_cache(maxsize=2)
def _date(second: int) -> str:
    return formatdate(second, usegmt=True)


def service_client(
    client: BlobServiceClient, *, connections: int, verify: bool | str = True, proxies: dict[str, str] | None = None
) -> "StreamingClient":
    """Return the client with the same account and credential, on a session of our own and without retries.

    Args:
        client: Made by whoever knows the credentials (an Airflow hook, the command line).
        connections: Connections to keep; the SDK's default of 10 makes more threads reconnect.
        verify: True, False or a CA bundle.
        proxies: Scheme to proxy URL.
    """
    session = GuardedSession(pool=connections, verify=verify, proxies=proxies)
    transport = RequestsTransport(
        session=session,
        session_owner=False,
        use_env_settings=False,
        connection_verify=verify,
        connection_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
    )
    made = StreamingClient(
        client.url,
        credential=client.credential,
        transport=transport,
        connection_verify=verify,
        connection_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
        # A redirect could carry data and signature to another host.
        permit_redirects=False,
        retry_total=0,
        retry_connect=0,
        retry_read=0,
        retry_status=0,
        max_single_put_size=MAX_BLOCK_BYTES,
    )
    made.http = session
    made.writer = BlockWriter(made, connections=connections, verify=verify, proxies=proxies)
    return made


class StreamingClient(BlobServiceClient):
    """An account's client: the SDK for everything rare, a writer for blocks. Made by ``service_client``."""

    http: GuardedSession
    writer: BlockWriter

    def close(self) -> None:
        """Close all connections; the SDK leaves those of a session that is not its own."""
        super().close()
        self.http.close()
        self.writer.close()
