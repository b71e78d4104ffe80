"""Reads ranges of a blob, each in one request whose response is checked."""

from collections.abc import Mapping
from typing import Final
from urllib.parse import quote, urlsplit

from s3_to_azure.model.errors import AZURE, ConnectionFailed, UnexpectedResponse
from s3_to_azure.model.names import check_blob
from s3_to_azure.stores.azure.client import Response, StreamingClient
from s3_to_azure.stores.azure.errors import azure_error, azure_errors, refusal_of
from s3_to_azure.stores.http.headers import content_range

_PARTIAL: Final = 206
_MAX_SHOWN_CHARACTERS: Final = 80


class BlobUrls:
    """The URLs of a container's blobs.

    Args:
        container_url: The container's URL, with the SAS of the account's URL if there is one.
    """

    def __init__(self, container_url: str) -> None:
        parts = urlsplit(container_url)
        self._base = f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}"
        self._sas = parts.query

    def of(self, blob: str, query: str = "") -> str:
        """Return the URL of a blob."""
        query = "&".join(filter(None, (query, self._sas)))
        return f"{self._base}/{quote(blob, safe='/~')}?{query}"


class BlobReader:
    """Reads the blobs of one container.

    Args:
        client: From ``service_client``.
        container: The container's name.
    """

    def __init__(self, client: StreamingClient, container: str) -> None:
        self._requests = client.signed
        self._container = container
        self._urls = BlobUrls(client.get_container_client(container).url)

    def read(self, blob: str, start: int, end: int, *, etag: str | None = None) -> bytes | None:
        """Return bytes ``[start, end)`` of the committed blob, fewer where it ends; None if there is no such blob.

        Args:
            blob: The blob's name.
            start: First byte.
            end: Byte after the last one.
            etag: The ETag that the blob must have.

        Raises:
            ConditionNotMet: The blob has another ETag.
            TransferError: Azure refused, or the response is not that range.
        """
        url = self._urls.of(check_blob(blob))
        condition: Mapping[str, str] = {} if etag is None else {"If-Match": f'"{etag}"'}
        with azure_errors(container=self._container, blob=blob):
            response = self._requests.get(
                url, {"x-ms-range": f"bytes={start}-{end - 1}", **condition}, max_bytes=end - start + 1
            )
        if response.status >= 300:
            return self._without_bytes(response, blob)
        return self._checked(response, blob, start, end)

    def _without_bytes(self, response: Response, blob: str) -> bytes | None:
        refusal = refusal_of(response.status, response.headers, response.body)
        if refusal.code == "BlobNotFound":
            return None
        if refusal.code == "InvalidRange":
            return b""
        raise azure_error(refusal, container=self._container, blob=blob, sas_permissions=response.sas_permissions)

    def _checked(self, response: Response, blob: str, start: int, end: int) -> bytes:
        resource = repr(f"{self._container}/{blob}")
        text, length = response.headers.get("content-range", ""), len(response.body)
        if text.endswith("/0") and not length:
            # Azurite's answer for an empty blob has no valid range; Azure's is InvalidRange.
            return b""
        found = content_range(text)
        if response.status != _PARTIAL or found is None or found.total is None or found.start != start:
            detail = f"status {response.status}, {text[:_MAX_SHOWN_CHARACTERS]!r} instead of bytes {start}-{end - 1}"
            raise UnexpectedResponse(service=AZURE, resource=resource, detail=detail)
        if not found.end - start == min(end, found.total) - start == length:
            detail = f"{length} bytes came of {text[:_MAX_SHOWN_CHARACTERS]!r}, and {end - start} were asked for"
            raise ConnectionFailed(service=AZURE, resource=resource, detail=detail)
        return response.body
