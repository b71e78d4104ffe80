"""An Azure container as a ``BlobDestination``, through azure-storage-blob with its own retries off."""

import base64
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from urllib.parse import quote, urlsplit

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.core.pipeline import PipelineRequest
from azure.storage.blob import BlobBlock, BlobClient, ContentSettings, StandardBlobTier

from s3_to_azure.model.checksums import to_azure
from s3_to_azure.model.errors import ContainerNotFound, ForeignBlocks, NameRefused, PermanentError, UnexpectedAnswer
from s3_to_azure.model.names import check_blob, check_container
from s3_to_azure.model.objects import BlobContents, BlobState, Condition, ListedBlock
from s3_to_azure.stores.azure.client import ContainerPass, StreamingClient
from s3_to_azure.stores.azure.listing import ask_page
from s3_to_azure.stores.azure.responses import azure_error, azure_errors, blob_state, decoded_id, unquoted
from s3_to_azure.stores.http.connections import GuardedSession, HttpConnections
from s3_to_azure.stores.http.errors import AZURE, protect_logs
from s3_to_azure.stores.http.pages import Pages


def conditions(condition: Condition) -> Mapping[str, Any]:
    """Return the condition of a write."""
    if condition.etag is None:
        return {"match_condition": MatchConditions.IfMissing}
    return {"match_condition": MatchConditions.IfNotModified, "etag": f'"{condition.etag}"'}


def extras(contents: BlobContents) -> Mapping[str, Any]:
    """Return tags and tier, only where they are wanted: tags need a permission, a tier an account that has tiers."""
    found: dict[str, Any] = {}
    if contents.tags:
        found["tags"] = dict(contents.tags)
    if contents.tier:
        found["standard_blob_tier"] = StandardBlobTier(contents.tier)
    return found


def content_settings(contents: BlobContents) -> ContentSettings:
    """Return the content headers, and the MD5 where it is known."""
    headers = contents.headers
    return ContentSettings(
        content_type=headers.content_type,
        content_encoding=headers.content_encoding,
        content_language=headers.content_language,
        content_disposition=headers.content_disposition,
        cache_control=headers.cache_control,
        content_md5=bytearray(contents.content_md5) if contents.content_md5 else None,
    )


def put_blob_headers(contents: BlobContents, condition: Condition) -> dict[str, str]:
    """Return them by name; https://learn.microsoft.com/rest/api/storageservices/put-blob.

    The MD5 is left out: Azure takes none beside a CRC64, and computes and keeps the MD5 of a Put Blob itself.
    """
    given = contents.headers
    given_or_none = (
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-blob-content-type", given.content_type),
        ("x-ms-blob-content-encoding", given.content_encoding),
        ("x-ms-blob-content-language", given.content_language),
        ("x-ms-blob-content-disposition", given.content_disposition),
        ("x-ms-blob-cache-control", given.cache_control),
        ("x-ms-access-tier", contents.tier),
    )
    headers = {name: value for name, value in given_or_none if value}
    if contents.tags:
        headers["x-ms-tags"] = "&".join([f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in contents.tags.items()])
    if condition.etag is None:
        headers["If-None-Match"] = "*"
    else:
        headers["If-Match"] = f'"{condition.etag}"'
    for name, value in contents.metadata.items():
        headers[f"x-ms-meta-{name}"] = value
    return headers


_CRC64: Final = "x-ms-content-crc64"
_OURS: Final = 52
_CREATED: Final = 201
# Where a document's first element begins, behind its declaration.
_ROOT_WITHIN_BYTES: Final = 500


class AzureContainer:
    """One container.

    Args:
        client: From ``azure_client.service_client``.
        container: Its name.
    """

    def __init__(self, client: StreamingClient, container: str) -> None:
        """Keep the client; no request is sent yet."""
        self.container = check_container(container)
        self._hierarchical = False
        self._service = client
        self._client = client.get_container_client(container)
        self._writer = client.writer
        self._pass = ContainerPass(client, container)
        parts = urlsplit(self._client.url)
        self._base = (f"{parts.scheme}://{parts.netloc}{parts.path.rstrip('/')}", parts.query)
        protect_logs()

    @property
    def http_connections(self) -> HttpConnections | GuardedSession:
        """What sends the blocks."""
        return self._writer.http_connections

    def check(self, *, create: bool = False) -> None:
        """Look the container up; with ``create`` make a missing one."""
        self._hierarchical = self._has_hierarchical_namespace()
        try:
            with azure_errors(container=self.container, blob=""):
                # A listing of one needs no more than the copy itself; container properties need another permission.
                next(iter(self._client.list_blob_names(results_per_page=1)), None)
        except ContainerNotFound:
            if not create:
                raise
            with azure_errors(container=self.container, blob=""):
                try:
                    self._client.create_container()
                except ResourceExistsError:
                    pass

    def head(self, blob: str) -> BlobState | None:
        """Return the committed blob, or None."""
        client = self._blob(blob)
        with azure_errors(container=self.container, blob=blob):
            try:
                return blob_state(client.get_blob_properties(**self._guard(blob)))
            except HttpResponseError as error:
                # A HEAD's answer may lack its code; a missing container shows in every other request.
                code = getattr(error, "error_code", None)
                if error.status_code == 404 and code != "ContainerNotFound":
                    return None
                raise

    def list(self, prefix: str) -> Iterator[BlobState]:
        """Yield the committed blobs below the prefix, metadata included, a page at a time."""
        return Pages(lambda token: ask_page(self._client, prefix, token))

    def list_staged(self, blob: str) -> Sequence[ListedBlock]:
        """Return the uncommitted blocks in staging order; ids of other tools may be any bytes."""
        client = self._blob(blob)
        found: list[ListedBlock] = []

        def keep(response: Any, listing: Any, _headers: object) -> Any:
            if b"<BlockList" not in response.http_response.body()[:_ROOT_WITHIN_BYTES]:
                # Empty, or another document: never to be read as "nothing is staged".
                raise UnexpectedAnswer(service=AZURE, thing=repr(f"{self.container}/{blob}"), detail="no block list")
            # The SDK's own conversion decodes every id as UTF-8 and fails on other tools' binary ones.
            blocks = listing.uncommitted_blocks or ()
            found.extend(ListedBlock(decoded_id(block.name), int(block.size)) for block in blocks)
            listing.uncommitted_blocks = listing.committed_blocks = None
            return listing

        with azure_errors(container=self.container, blob=blob):
            try:
                client.get_block_list("uncommitted", cls=keep, **self._guard(blob))
            except HttpResponseError as error:
                if error.status_code == 404 and getattr(error, "error_code", None) == "BlobNotFound":
                    return []
                raise
        return found

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        """Put Block with its CRC64."""
        self._check_name(blob)
        name = base64.b64encode(block_id.encode("ascii")).decode("ascii")
        url = self._url(blob, f"comp=block&blockid={quote(name, safe='')}")
        try:
            with azure_errors(container=self.container, blob=blob):
                answer = self._writer.put(url, {_CRC64: to_azure(crc64)}, data)
            self.must_be_created(answer.status, answer.headers, blob)
        except UnexpectedAnswer as error:
            # Emulators and older stamps say only "invalid query parameter" for an id of another length.
            if any(len(block.block_id) != _OURS for block in self.list_staged(blob)):
                raise ForeignBlocks(blob=blob, container=self.container) from None
            raise error from None

    def _url(self, blob: str, query: str) -> str:
        """Return the URL of a request that the writer sends; a SAS that is part of the account's URL goes along."""
        base, sas = self._base
        query = "&".join(filter(None, (query, sas)))
        return f"{base}/{quote(blob, safe='/~')}?{query}"

    def must_be_created(self, status: int, headers: Mapping[str, str], blob: str) -> None:
        """Raise what the answer to a write means, unless it is 201; header names in lower case."""
        if status != _CREATED:
            raise azure_error(
                status,
                headers.get("x-ms-error-code", str(status)),
                container=self.container,
                blob=blob,
                retry_after=headers.get("retry-after"),
            )

    def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
        """Put Block List under the condition; return the new ETag."""
        client = self._blob(blob)
        with azure_errors(container=self.container, blob=blob):
            answer = client.commit_block_list(
                [BlobBlock(block_id) for block_id in block_ids],
                content_settings=content_settings(contents),
                metadata=dict(contents.metadata),
                **extras(contents),
                **conditions(condition),
                **self._guard(blob),
            )
        return unquoted(answer["etag"])

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        """Put Blob in one request under the condition, with its CRC64; return the new ETag."""
        self._check_name(blob)
        headers = put_blob_headers(contents, condition) | {_CRC64: to_azure(crc64)}
        with azure_errors(container=self.container, blob=blob):
            answer = self._writer.put(self._url(blob, ""), headers, data)
        self.must_be_created(answer.status, answer.headers, blob)
        return unquoted(answer.headers.get("etag"))

    def authorised_put_blob(
        self, blob: str, crc64: int, contents: BlobContents, condition: Condition
    ) -> tuple[str, Mapping[str, str]]:
        """Return the URL and all headers of a Put Blob but its length, for ``small_object_client``."""
        self._check_name(blob)
        try:
            query, authorised = self._pass.of_now()
        except Exception:
            # Not around the call: to enter it for each object would cost more than that.
            with azure_errors(container=self.container, blob=blob):
                raise
        return self._url(blob, query), {
            **put_blob_headers(contents, condition),
            _CRC64: to_azure(crc64),
            **authorised,
        }

    def update(self, blob: str, contents: BlobContents, condition: Condition) -> str:
        """Set Blob Properties and Set Blob Metadata, each under the ETag before it; return the new ETag."""
        client = self._blob(blob)
        with azure_errors(container=self.container, blob=blob):
            there = client.get_blob_properties(**conditions(condition), **self._guard(blob))
            settings = content_settings(contents)
            # What is not named is taken away, and the bytes' own MD5 still holds.
            settings.content_md5 = there.content_settings.content_md5
            answer = client.set_http_headers(settings, **conditions(condition), **self._guard(blob))
            under = Condition(unquoted(answer["etag"]))
            answer = client.set_blob_metadata(dict(contents.metadata), **conditions(under), **self._guard(blob))
        return unquoted(answer["etag"])

    def read(self, blob: str, start: int, end: int) -> bytes:
        """Return bytes ``[start, end)`` of the committed blob."""
        client = self._blob(blob)
        if start >= end:
            return b""
        with azure_errors(container=self.container, blob=blob):
            # The bytes as they are stored: the SDK would unpack a blob whose Content-Encoding says gzip.
            reading = client.download_blob(
                offset=start, length=end - start, max_concurrency=1, decompress=False, **self._guard(blob)
            )
            return bytes(reading.readall())

    def close(self) -> None:
        """Close all connections."""
        self._service.close()

    def _has_hierarchical_namespace(self) -> bool:
        """Ask what kind of account it is; one that does not tell this identity is taken for a flat one."""
        try:
            with azure_errors(container=self.container, blob=""):
                return bool(self._service.get_account_information().get("is_hns_enabled"))
        except PermanentError:
            return False

    def _blob(self, blob: str) -> BlobClient:
        return self._client.get_blob_client(self._check_name(blob))

    def _check_name(self, blob: str) -> str:
        if self._hierarchical and "" in blob.split("/"):
            # It would become the blob of another key: "a//b" is stored as "a/b".
            raise NameRefused(name=blob, detail="the account's hierarchical namespace drops empty path segments")
        return check_blob(blob)

    def _guard(self, blob: str) -> Mapping[str, Any]:
        """Return the option that refuses to send any path but this blob's."""
        base = urlsplit(self._client.url).path.rstrip("/")
        intended = f"{base}/{quote(blob, safe='/~')}"

        def check(request: PipelineRequest[Any]) -> None:
            actual = urlsplit(request.http_request.url).path
            if actual != intended:
                raise UnexpectedAnswer(
                    service=f"the {AZURE} client",
                    thing=repr(intended),
                    detail="it would send another path; nothing was sent",
                )

        return {"raw_request_hook": check}
