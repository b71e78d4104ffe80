"""Put Block on the standard library's HTTP client: the hot request, signed by the SDK, sent without its pipeline.

The SDK's way costs more CPU for each block than all of reading it (docs/benchmarks.md). Everything rare stays with it.
"""

import http.client
import queue
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final
from urllib.parse import urlsplit

from azure.core.credentials import AzureSasCredential
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.policies import AzureSasCredentialPolicy, BearerTokenCredentialPolicy
from azure.core.pipeline.transport import HttpRequest
from azure.storage.blob import BlobServiceClient

from s3_to_azure.stores.requests_session import CONNECT_TIMEOUT_S, READ_TIMEOUT_S

_SCOPE: Final = "https://storage.azure.com/.default"
_MOST_ANSWER_BYTES: Final = 64 * 1024
# What an idle connection does when the server has closed it: safe to send again, since a block's write is idempotent.
_STALE: Final = (http.client.RemoteDisconnected, BrokenPipeError, ConnectionResetError, ConnectionAbortedError)


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
        verify: True, False or a CA bundle.
    """

    def __init__(self, client: BlobServiceClient, *, verify: bool | str) -> None:
        """Make no connection yet."""
        parts = urlsplit(client.url)
        self._host, self._port = str(parts.hostname), parts.port
        self._context = _tls(verify) if parts.scheme == "https" else None
        self._version = client.api_version
        self._signer = _signer(client.credential)
        self._idle: queue.LifoQueue[http.client.HTTPConnection] = queue.LifoQueue()

    def put(self, url: str, headers: Mapping[str, str], body: memoryview) -> Answer:
        """PUT the body to a URL whose path and query are encoded already; return whatever answer comes.

        Raises:
            OSError: The connection failed.
            http.client.HTTPException: The answer was none.
        """
        target, signed = self._signed(url, headers, len(body))
        try:
            connection, fresh = self._idle.get_nowait(), False
        except queue.Empty:
            connection, fresh = self._connect(), True
        try:
            return self._exchange(connection, target, signed, body)
        except _STALE:
            connection.close()
            if fresh:
                raise
        except BaseException:
            connection.close()
            raise
        again = self._connect()
        try:
            return self._exchange(again, target, signed, body)
        except BaseException:
            again.close()
            raise

    def close(self) -> None:
        """Close the idle connections."""
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    def _connect(self) -> http.client.HTTPConnection:
        connection: http.client.HTTPConnection
        if self._context:
            connection = http.client.HTTPSConnection(
                self._host, self._port, timeout=CONNECT_TIMEOUT_S, context=self._context
            )
        else:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=CONNECT_TIMEOUT_S)
        connection.connect()
        connection.sock.settimeout(READ_TIMEOUT_S)
        return connection

    def _exchange(
        self, connection: http.client.HTTPConnection, target: str, headers: Mapping[str, str], body: memoryview
    ) -> Answer:
        connection.putrequest("PUT", target, skip_accept_encoding=True)
        for name, value in headers.items():
            connection.putheader(name, value)
        connection.endheaders()
        connection.send(body)
        response = connection.getresponse()
        answer = Answer(
            response.status,
            {name.lower(): value for name, value in response.getheaders()},
            response.read(_MOST_ANSWER_BYTES),
        )
        if response.isclosed() and not response.will_close:
            self._idle.put(connection)
        else:
            connection.close()
        return answer

    def _signed(self, url: str, headers: Mapping[str, str], length: int) -> tuple[str, Mapping[str, str]]:
        """Return the path and query to send, and all headers, signed at this moment."""
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
        parts = urlsplit(request.url)
        return f"{parts.path}?{parts.query}", dict(request.headers)


def _signer(credential: Any) -> Any:
    """Return the SDK's policy that signs with this credential; None where the URL itself holds a SAS."""
    if credential is None:
        return None
    if hasattr(credential, "get_token"):
        return BearerTokenCredentialPolicy(credential, _SCOPE)
    if isinstance(credential, AzureSasCredential):
        return AzureSasCredentialPolicy(credential)
    # A shared key: the client has made its policy already.
    return credential


def _tls(verify: bool | str) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=verify if isinstance(verify, str) else None)
    if verify is False:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
