"""An Azure container as a ``BlobDestination``."""

import base64
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, Literal
from urllib.parse import quote, urlsplit

from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceExistsError
from azure.core.pipeline import PipelineRequest, PipelineResponse
from azure.storage.blob import BlobBlock, BlobClient, ContentSettings, StandardBlobTier

from s3_to_azure.model import record
from s3_to_azure.model.checksums import to_azure
from s3_to_azure.model.errors import (
    AZURE,
    AccountNotSuitable,
    ContainerNotFound,
    ForeignBlocks,
    NameRefused,
    PermanentError,
    UnexpectedResponse,
)
from s3_to_azure.model.names import check_blob, check_container
from s3_to_azure.model.objects import BlobContents, BlobState, Block, Condition, FetchUrl, ListedBlock
from s3_to_azure.stores.azure.client import ContainerAuthorization, Response, StreamingClient
from s3_to_azure.stores.azure.download import BlobReader, BlobUrls
from s3_to_azure.stores.azure.errors import azure_error, azure_errors, refusal_of
from s3_to_azure.stores.azure.fetching import TIMEOUT_S, crc64_of, fetch_error, fetch_headers, mismatch
from s3_to_azure.stores.azure.listing import list_side_by_side
from s3_to_azure.stores.azure.records import RecordCheck
from s3_to_azure.stores.azure.responses import (
    CONTENT_CRC64,
    blob_state,
    decoded_block_id,
    is_missing_blob,
    new_request_id,
    written_etag,
)
from s3_to_azure.stores.http.connections import HttpConnections
from s3_to_azure.stores.http.redaction import protect_logs

_BLOCK_ID_CHARACTERS: Final = 52
_CREATED: Final = 201
# https://learn.microsoft.com/azure/storage/common/storage-account-overview: premium accounts of these kinds hold page
# blobs only; those for block blobs are of the kind BlockBlobStorage.
_PREMIUM_FOR_PAGE_BLOBS: Final = ("Storage", "StorageV2")
_EXISTS: Final = ("ContainerAlreadyExists", "ResourceAlreadyExists")
# The document's first element begins within these bytes, after its declaration.
_ROOT_WITHIN_BYTES: Final = 500

_Namespace = Literal["flat", "hierarchical", "unknown"]
_EMPTY_SEGMENTS: Final[Mapping[_Namespace, str]] = {
    "flat": "",
    "hierarchical": "the account's hierarchical namespace drops its empty path segments",
    "unknown": (
        "it has an empty path segment, which an account with a hierarchical namespace drops, and this identity may not "
        "ask whether the account has one (grant it Microsoft.Storage/storageAccounts/blobServices/getInfo/action, or "
        "use an account key or a SAS)"
    ),
}


class AzureContainer:
    """One container of a storage account.

    Args:
        client: From ``service_client``; this object closes it.
        container: The container's name.
    """

    def __init__(self, client: StreamingClient, container: str) -> None:
        self.container = check_container(container)
        self._namespace: _Namespace | None = None
        self._namespace_lock = threading.Lock()
        self._service = client
        self._client = client.get_container_client(container)
        self._requests = client.signed
        self._reader = BlobReader(client, container)
        self._authorization = ContainerAuthorization(client, container, scope=client.scope)
        self._urls = BlobUrls(self._client.url)
        self._records = RecordCheck(container, self.head)
        protect_logs()

    @property
    def endpoint_url(self) -> str:
        """The container's URL."""
        return str(self._client.url)

    @property
    def http_connections(self) -> HttpConnections:
        """The connections that send the blocks."""
        return self._requests.http_connections

    @property
    def may_authorise(self) -> bool:
        """Whether ``authorised_put_blob`` can be used."""
        return self._authorization.is_understood()

    def check(self, *, create: bool = False) -> None:
        """Check that the container can be used; with ``create``, create it if it is missing."""
        try:
            with azure_errors(container=self.container, blob=""):
                # Listing needs no permission that a copy does not need; container properties would.
                next(iter(self._client.list_blob_names(results_per_page=1)), None)
        except ContainerNotFound:
            if not create:
                raise
            with azure_errors(container=self.container, blob=""):
                try:
                    self._client.create_container()
                except ResourceExistsError as error:
                    # The SDK raises this also while a container that was deleted still holds the name.
                    if getattr(error, "error_code", None) not in _EXISTS:
                        raise

    def head(self, blob: str) -> BlobState | None:
        """Return the committed blob, or None if there is none."""
        client = self._blob(blob)
        resource_types: list[str | None] = []

        def keep(response: PipelineResponse[Any, Any]) -> None:
            resource_types.append(response.http_response.headers.get("x-ms-resource-type"))

        with azure_errors(container=self.container, blob=blob):
            try:
                properties = client.get_blob_properties(raw_response_hook=keep, **self._guard(blob))
                return blob_state(properties, resource_type=resource_types[-1])
            except HttpResponseError as error:
                if is_missing_blob(error):
                    return None
                raise

    def list(self, prefix: str) -> Iterator[BlobState]:
        """Yield the committed blobs below the prefix with their metadata."""
        return list_side_by_side(self._client, prefix)

    def list_staged(self, blob: str) -> Sequence[ListedBlock]:
        """Return the uncommitted blocks in staging order; other tools' ids may be any bytes."""
        client = self._blob(blob)
        found: list[ListedBlock] = []

        def keep(response: Any, listing: Any, _headers: object) -> Any:
            if b"<BlockList" not in response.http_response.body()[:_ROOT_WITHIN_BYTES]:
                # An empty or foreign document must not be taken for "nothing is staged".
                raise UnexpectedResponse(
                    service=AZURE, resource=repr(f"{self.container}/{blob}"), detail="the response is not a block list"
                )
            # The SDK decodes every id as UTF-8, which fails on other tools' binary ids.
            blocks = listing.uncommitted_blocks or ()
            found.extend(ListedBlock(decoded_block_id(block.name), int(block.size)) for block in blocks)
            listing.uncommitted_blocks = listing.committed_blocks = None
            return listing

        with azure_errors(container=self.container, blob=blob):
            try:
                client.get_block_list("uncommitted", cls=keep, **self._guard(blob))
            except HttpResponseError as error:
                if is_missing_blob(error):
                    return []
                raise
        return found

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        """Put Block with the block's CRC64."""
        url = self._block_url(blob, block_id)
        self._records.require(blob)
        try:
            with azure_errors(container=self.container, blob=blob):
                response = self._requests.put(url, {CONTENT_CRC64: to_azure(crc64)}, data)
            self._raise_unless_created(response, blob)
        except UnexpectedResponse as error:
            # For an id of another length, emulators and older clusters answer only "invalid query parameter".
            if any(len(block.block_id) != _BLOCK_ID_CHARACTERS for block in self.list_staged(blob)):
                raise ForeignBlocks(blob=blob, container=self.container) from None
            raise self._refused_by_account() or error from None

    def stage_from_url(
        self, blob: str, block_id: str, url: FetchUrl, block: Block, *, etag: str | None, crc64: int | None
    ) -> int | None:
        """Put Block From URL, sent once; return the CRC64 that Azure computed."""
        headers = fetch_headers(url, block, etag=etag, crc64=crc64)
        with azure_errors(container=self.container, blob=blob):
            response = self._requests.put_once(self._block_url(blob, block_id), headers, timeout_s=TIMEOUT_S)
        if response.status != _CREATED:
            refusal = refusal_of(response.status, response.headers, response.body)
            refused = fetch_error(refusal, blob=blob)
            if refused is not None:
                raise refused
        self._raise_unless_created(response, blob)
        found = crc64_of(response.headers)
        if crc64 is not None and found not in (None, crc64):
            raise mismatch(blob)
        return found

    def _block_url(self, blob: str, block_id: str) -> str:
        self.check_name(blob)
        name = base64.b64encode(block_id.encode("ascii")).decode("ascii")
        return self._urls.of(blob, f"comp=block&blockid={quote(name, safe='')}")

    def _raise_unless_created(self, response: Response, blob: str) -> None:
        """Raise the error that a write's response means unless it is 201."""
        if response.status != _CREATED:
            raise azure_error(
                refusal_of(response.status, response.headers, response.body),
                container=self.container,
                blob=blob,
                sas_permissions=response.sas_permissions,
            )

    def created_etag(self, response: Response, blob: str, *, has_record: bool) -> str:
        """Return the new ETag of a blob that Put Blob wrote.

        Args:
            response: The response.
            blob: The blob's name.
            has_record: Whether the request had the record of a copy.

        Raises:
            TransferError: The response says, or leaves open, that nothing was written; or the blob has no record.
        """
        self._raise_unless_created(response, blob)
        etag, modified = response.headers.get("etag"), response.headers.get("last-modified")
        etag = written_etag(etag, modified, container=self.container, blob=blob)
        return self._records.after_write(blob, etag, has_record=has_record)

    def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
        """Put Block List under the condition, and return the new ETag."""
        client = self._blob(blob)
        self._records.require(blob)
        with azure_errors(container=self.container, blob=blob):
            response = client.commit_block_list(
                [BlobBlock(block_id) for block_id in block_ids],
                content_settings=_content_settings(contents),
                metadata=dict(contents.metadata),
                **_tags_and_tier(contents),
                **_match_conditions(condition),
                **self._guard(blob),
            )
        return self._records.after_write(blob, self._written_etag(response, blob), has_record=_has_record(contents))

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        """Put Blob with its CRC64 under the condition, and return the new ETag."""
        self.check_name(blob)
        self._records.require(blob)
        headers = _put_blob_headers(contents, condition) | {CONTENT_CRC64: to_azure(crc64)}
        with azure_errors(container=self.container, blob=blob):
            response = self._requests.put(self._urls.of(blob, ""), headers, data)
        return self.created_etag(response, blob, has_record=_has_record(contents))

    def authorised_put_blob(
        self, blob: str, crc64: int, contents: BlobContents, condition: Condition
    ) -> tuple[str, Mapping[str, str]]:
        """Return the URL and all headers except Content-Length of a Put Blob that another client sends."""
        self.check_name(blob)
        self._records.require(blob)
        try:
            query, authorised = self._authorization.current()
        except Exception:
            # Entered only here: for each object the context manager would cost more than the call.
            with azure_errors(container=self.container, blob=blob):
                raise
        return self._urls.of(blob, query), {
            **_put_blob_headers(contents, condition),
            CONTENT_CRC64: to_azure(crc64),
            **authorised,
        }

    def update(self, blob: str, contents: BlobContents, condition: Condition) -> str:
        """Set Blob Properties, then Set Blob Metadata, each under the ETag before it, and return the new ETag."""
        client = self._blob(blob)
        self._records.require(blob)
        with azure_errors(container=self.container, blob=blob):
            current = client.get_blob_properties(**_match_conditions(condition), **self._guard(blob))
            settings = _content_settings(contents)
            # A header that is not named is removed, and the bytes' MD5 is still valid.
            settings.content_md5 = current.content_settings.content_md5
            response = client.set_http_headers(settings, **_match_conditions(condition), **self._guard(blob))
            unchanged = Condition(self._written_etag(response, blob))
            response = client.set_blob_metadata(
                dict(contents.metadata), **_match_conditions(unchanged), **self._guard(blob)
            )
        return self._records.after_write(blob, self._written_etag(response, blob), has_record=_has_record(contents))

    def _written_etag(self, response: Mapping[str, Any], blob: str) -> str:
        return written_etag(response.get("etag"), response.get("last_modified"), container=self.container, blob=blob)

    def read(self, blob: str, start: int, end: int) -> bytes:
        """Return bytes ``[start, end)`` of the committed blob."""
        if start >= end:
            return b""
        self.check_name(blob)
        found = self._reader.read(blob, start, end)
        if found is None or len(found) < end - start:
            detail = "no such blob (BlobNotFound)" if found is None else f"it ends at byte {start + len(found)}"
            raise UnexpectedResponse(service=AZURE, resource=repr(f"{self.container}/{blob}"), detail=detail)
        return found

    def close(self) -> None:
        """Close all connections."""
        self._service.close()

    def check_name(self, blob: str) -> str:
        """Return the name if this container can hold a blob of it; ask for the account's namespace where that decides.

        Raises:
            NameRefused: It cannot, or this identity may not ask.
        """
        check_blob(blob)
        if "//" in blob or blob.startswith("/"):
            # A hierarchical namespace stores "a//b" as "a/b", which is another key's blob.
            problem = _EMPTY_SEGMENTS[self._namespace_of_account()]
            if problem:
                raise NameRefused(name=blob, detail=problem)
        return blob

    def _namespace_of_account(self) -> "_Namespace":
        """Return the account's kind of namespace, which is looked up once."""
        with self._namespace_lock:
            if self._namespace is None:
                self._namespace = self._look_up_namespace()
            return self._namespace

    def _look_up_namespace(self) -> "_Namespace":
        hierarchical = self._look_up_account().get("is_hns_enabled")
        if hierarchical is None:
            return "unknown"
        return "hierarchical" if hierarchical else "flat"

    def _look_up_account(self) -> Mapping[str, Any]:
        """Return what Azure says of the account; nothing if this identity may not ask."""
        # A SAS of the container authorises no request to the account; emulators answer only those.
        for client in (self._service, self._client):
            try:
                with azure_errors(container=self.container, blob=""):
                    found: Mapping[str, Any] = client.get_account_information()
            except PermanentError:
                continue
            if found.get("is_hns_enabled") is not None:
                return found
        return {}

    def _refused_by_account(self) -> AccountNotSuitable | None:
        """Return the error of an account that can hold no block blobs; its refusal of a block does not say so."""
        account = self._look_up_account()
        kind, sku = account.get("account_kind"), str(account.get("sku_name") or "")
        if kind in _PREMIUM_FOR_PAGE_BLOBS and sku.startswith("Premium"):
            return AccountNotSuitable(container=self.container, code=f"{sku}, {kind}")
        return None

    def _blob(self, blob: str) -> BlobClient:
        return self._client.get_blob_client(self.check_name(blob))

    def _guard(self, blob: str) -> Mapping[str, Any]:
        """Return the SDK's options for a request about a blob: nothing is sent to another path, and the id is ours.

        The SDK would ask libuuid for an id, which may leave a file open in each thread that has asked.
        """
        base = urlsplit(self._client.url).path.rstrip("/")
        intended = f"{base}/{quote(blob, safe='/~')}"

        def check(request: PipelineRequest[Any]) -> None:
            actual = urlsplit(request.http_request.url).path
            if actual != intended:
                raise UnexpectedResponse(
                    service=f"the {AZURE} client",
                    resource=repr(intended),
                    detail="it would send another path; nothing was sent",
                )

        return {"raw_request_hook": check, "client_request_id": new_request_id()}


def _has_record(contents: BlobContents) -> bool:
    return record.ETAG in contents.metadata


def _match_conditions(condition: Condition) -> Mapping[str, Any]:
    """Return a write's condition as SDK options."""
    if condition.etag is None:
        return {"match_condition": MatchConditions.IfMissing}
    return {"match_condition": MatchConditions.IfNotModified, "etag": f'"{condition.etag}"'}


def _tags_and_tier(contents: BlobContents) -> Mapping[str, Any]:
    """Return tags and tier if set: tags need a permission of their own, and not every account has tiers."""
    options: dict[str, Any] = {}
    if contents.tags:
        options["tags"] = dict(contents.tags)
    if contents.tier:
        options["standard_blob_tier"] = StandardBlobTier(contents.tier)
    return options


def _content_settings(contents: BlobContents) -> ContentSettings:
    """Return the content headers, and the MD5 if it is known."""
    headers = contents.headers
    return ContentSettings(
        content_type=headers.content_type,
        content_encoding=headers.content_encoding,
        content_language=headers.content_language,
        content_disposition=headers.content_disposition,
        cache_control=headers.cache_control,
        content_md5=bytearray(contents.content_md5) if contents.content_md5 else None,
    )


def _put_blob_headers(contents: BlobContents, condition: Condition) -> dict[str, str]:
    """Return the headers of a Put Blob; https://learn.microsoft.com/rest/api/storageservices/put-blob.

    The MD5 is left out: Azure accepts none beside a CRC64, and stores an MD5 that it computes itself.
    """
    given = contents.headers
    optional = (
        ("x-ms-blob-type", "BlockBlob"),
        ("x-ms-blob-content-type", given.content_type),
        ("x-ms-blob-content-encoding", given.content_encoding),
        ("x-ms-blob-content-language", given.content_language),
        ("x-ms-blob-content-disposition", given.content_disposition),
        ("x-ms-blob-cache-control", given.cache_control),
        ("x-ms-access-tier", contents.tier),
    )
    headers = {name: value for name, value in optional if value}
    if contents.tags:
        headers["x-ms-tags"] = "&".join([f"{quote(n, safe='')}={quote(v, safe='')}" for n, v in contents.tags.items()])
    if condition.etag is None:
        headers["If-None-Match"] = "*"
    else:
        headers["If-Match"] = f'"{condition.etag}"'
    for name, value in contents.metadata.items():
        headers[f"x-ms-meta-{name}"] = value
    return headers
