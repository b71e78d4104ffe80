"""Put Block and Put Blob: the hot requests, signed by the SDK's policies, sent without its pipeline."""

from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import formatdate
from typing import Any, Final

from azure.core.credentials import AzureSasCredential
from azure.core.pipeline import PipelineContext, PipelineRequest
from azure.core.pipeline.policies import AzureSasCredentialPolicy, BearerTokenCredentialPolicy
from azure.core.pipeline.transport import HttpRequest
from azure.storage.blob import BlobServiceClient

from s3_to_azure.stores.http_connections import connections

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
        lanes: Connections to keep.
        verify: True, False or a CA bundle.
        proxies: Scheme to proxy URL.
    """

    def __init__(
        self, client: BlobServiceClient, *, lanes: int, verify: bool | str, proxies: dict[str, str] | None = None
    ) -> None:
        """Make no connection yet."""
        self.connections = connections(pool=lanes, verify=verify, proxies=proxies)
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
        with self.connections.answer("PUT", signed_url, signed, body) as response:
            return Answer(
                response.status,
                {name.lower(): value for name, value in response.getheaders()},
                response.read(_MOST_ANSWER_BYTES),
            )

    def close(self) -> None:
        """Close the idle connections."""
        self.connections.close()

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
