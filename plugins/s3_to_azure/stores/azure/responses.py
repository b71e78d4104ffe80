"""Translation of Azure's responses: error codes and SDK exceptions to our errors, SDK models to our values."""

import base64
import binascii
import http.client
import itertools
import re
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import requests
import urllib3
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ServiceRequestError
from azure.storage.blob import BlobProperties

from s3_to_azure.model import errors
from s3_to_azure.model.errors import AZURE
from s3_to_azure.model.objects import BlobState, ContentHeaders
from s3_to_azure.stores.http.errors import THROTTLES, network_error, redact, retry_after_s, unexpected_response

_CREDENTIALS: Final = {"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"}
_DENIALS: Final = {
    "AuthorizationFailure",
    "AuthorizationPermissionMismatch",
    "AuthorizationProtocolMismatch",
    "AuthorizationServiceMismatch",
    "AuthorizationResourceTypeMismatch",
    "AuthorizationSourceIPMismatch",
    "InsufficientAccountPermissions",
    "AccountIsDisabled",
    "PublicAccessNotPermitted",
    "KeyBasedAuthenticationNotPermitted",
}
_IMMUTABLE: Final = {
    "BlobImmutableDueToPolicy",
    "BlobImmutableDueToLegalHold",
    "ContainerImmutabilityPolicyLocked",
    "ContainerHasLegalHold",
    "UnauthorizedBlobOverwrite",
}
# https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes; codes that the page leaves out are from
# responses recorded in other clients' tests.
_BLOB_STATES: Final[Mapping[str, type[errors.DestinationError]]] = {
    "BlobArchived": errors.BlobArchived,
    "BlobBeingRehydrated": errors.BlobArchived,
    "BlobOperationNotSupported": errors.WrittenThroughDatalakeApi,
    "BlobUsesCustomerSpecifiedEncryption": errors.EncryptionRefused,
    "BlobDoesNotUseCustomerSpecifiedEncryption": errors.EncryptionRefused,
    "BlobCustomerSpecifiedEncryptionMismatch": errors.EncryptionRefused,
    "RequestForbiddenByContainerEncryptionPolicy": errors.EncryptionRefused,
    "RequestForbiddenByAccountEncryptionPolicy": errors.EncryptionRefused,
    "BlobAccessTierNotSupportedForAccountType": errors.TierRefused,
    "AccessTierNotSupportedForBlobType": errors.TierRefused,
    "InvalidBlobTier": errors.TierRefused,
    "BlobTierInadequateForContentLength": errors.TierRefused,
}
WRITE_PERMISSION: Final = (
    "the role Storage Blob Data Contributor (or a SAS with read, write, create, list; with tags, Storage Blob Data "
    "Owner, or t in the SAS) on this container"
)


def azure_error(
    status: int, code: str, *, container: str, blob: str, retry_after: str | None = None
) -> errors.TransferError:
    """Return the error that a response of Azure Blob Storage means.

    Args:
        status: HTTP status.
        code: The response's ``x-ms-error-code``.
        container: The requested container.
        blob: The requested blob; empty for a request on the container.
        retry_after: The response's Retry-After header.
    """
    resource = repr(f"{container}/{blob}" if blob else container)
    location: Mapping[str, object] = {"blob": blob, "container": container}
    by_code: dict[str, Callable[[], errors.TransferError]] = {
        "ContainerNotFound": lambda: errors.ContainerNotFound(container=container),
        "ContainerBeingDeleted": lambda: errors.ContainerNotFound(container=container),
        "InvalidBlockList": lambda: errors.BlockListRefused(**location),
        "InvalidBlobOrBlock": lambda: errors.ForeignBlocks(**location),
        "InvalidBlockId": lambda: errors.ForeignBlocks(**location),
        "BlockCountExceedsLimit": lambda: errors.TooManyStagedBlocks(**location),
        "RequestEntityTooLargeBlockCountExceedsLimit": lambda: errors.TooManyStagedBlocks(**location),
        "Crc64Mismatch": lambda: errors.CorruptedInTransit(blob=blob),
        "Md5Mismatch": lambda: errors.CorruptedInTransit(blob=blob),
        "InvalidBlobType": lambda: errors.WrongBlobType(**location, blob_type="another type of blob"),
        "ResourceTypeMismatch": lambda: errors.WrongBlobType(**location, blob_type="a directory, or lies below a file"),
        "PathConflict": lambda: errors.WrongBlobType(**location, blob_type="a directory, or lies below a file"),
        "FeatureNotYetSupportedForHierarchicalNamespaceAccounts": lambda: errors.TagsRefused(
            key=blob, detail="an account with a hierarchical namespace has none"
        ),
        "InvalidResourceName": lambda: errors.NameRefused(name=blob, detail=f"Azure answered {code}"),
        "RequestTimeTooSkewed": lambda: errors.ClockSkewed(service=AZURE, resource=resource, code=code),
    }
    if code in by_code:
        return by_code[code]()
    if code in _BLOB_STATES:
        return _BLOB_STATES[code](**location, code=code)
    # A proxy may have dropped the code: 503 then means ServerBusy.
    if code in THROTTLES or status in (429, 503):
        return errors.Throttled(service=AZURE, code=code, retry_after_s=retry_after_s(retry_after))
    if status in (405, 501):
        return errors.RequestNotSupported(service=AZURE, resource=resource, code=code)
    if status >= 500 or status == 408:
        return errors.ServerFailed(service=AZURE, status=status, code=code, resource=resource)
    if code.startswith("LeaseId"):
        return errors.BlobLeased(**location, code=code)
    if code in _IMMUTABLE:
        return errors.BlobImmutable(**location, code=code)
    if code in _CREDENTIALS or status == 401:
        return errors.CredentialsRefused(service=AZURE, resource=resource, code=code)
    if code in _DENIALS or status == 403:
        return errors.AccessDenied(service=AZURE, resource=resource, code=code, permission=WRITE_PERMISSION)
    if status in (409, 412):
        return errors.ConditionNotMet(**location, code=code)
    return unexpected_response(AZURE, resource, status, code, check="the endpoint")


@contextmanager
def azure_errors(*, container: str, blob: str) -> Iterator[None]:
    """Translate the SDK's exceptions; the original is not chained, since it may contain a secret."""
    resource = repr(f"{container}/{blob}" if blob else container)
    try:
        yield
    except HttpResponseError as error:
        response: Any = error.response
        if response is None:
            raise _without_response(resource, error) from None
        if int(error.status_code or 0) < 300:
            # The status says success, but the body is incomplete or unreadable.
            raise network_error(AZURE, resource, ValueError("the answer cannot be read")) from None
        code = getattr(error, "error_code", None) or response.headers.get("x-ms-error-code") or error.reason or ""
        raise azure_error(
            int(error.status_code or 0),
            str(getattr(code, "value", code)),
            container=container,
            blob=blob,
            retry_after=response.headers.get("Retry-After"),
        ) from None
    except AzureError as error:
        raise _without_response(resource, error) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        raise network_error(AZURE, resource, error) from None
    except UnicodeDecodeError:
        raise network_error(AZURE, resource, ValueError("the answer cannot be read")) from None


def _without_response(resource: str, error: AzureError) -> errors.TransferError:
    """Return the error for a request that got no response."""
    if isinstance(error, ClientAuthenticationError):
        return errors.CredentialsRefused(service=AZURE, resource=resource, code=redact(str(error.message))[:300])
    if isinstance(error, ServiceRequestError) or error.inner_exception is not None:
        return network_error(AZURE, resource, error.inner_exception or error)
    return network_error(AZURE, resource, error)


def blob_state(properties: BlobProperties) -> BlobState:
    """Return a blob's state from the SDK's model."""
    settings = properties.content_settings
    metadata = {name.lower(): value for name, value in (properties.metadata or {}).items()}
    blob_type = str(getattr(properties.blob_type, "value", properties.blob_type) or "")
    return BlobState(
        name=properties.name or "",
        etag=unquoted(properties.etag),
        size_bytes=int(properties.size or 0),
        blob_type=blob_type_of(blob_type, metadata),
        metadata=metadata,
        headers=ContentHeaders(
            content_type=settings.content_type,
            content_encoding=settings.content_encoding,
            content_language=settings.content_language,
            content_disposition=settings.content_disposition,
            cache_control=settings.cache_control,
        ),
    )


def blob_type_of(blob_type: str, metadata: Mapping[str, str]) -> str:
    """Return a blob's type; in a hierarchical namespace a directory is listed as an empty block blob."""
    return "directory" if metadata.get("hdi_isfolder") == "true" else blob_type


REQUEST_ID: Final = "x-ms-client-request-id"
"""A request's own id, which Azure repeats in the response."""

_REQUEST_IDS = itertools.count()
_REQUEST_ID_PREFIX: Final = uuid.uuid4().hex
_ETAG: Final = re.compile(r'"?[!#-~]{1,256}"?')


def new_request_id() -> str:
    """Return an id that no other request has."""
    return f"{_REQUEST_ID_PREFIX}-{next(_REQUEST_IDS):x}"


def check_request_id(sent: str | None, received: str | None) -> None:
    """Refuse the response to another request: what a connection delivers may be late, or not from Azure.

    A response without an id is accepted, since a gateway may have removed it.

    Raises:
        requests.ConnectionError: The id is another request's. The request is repeated on a new connection.
    """
    if sent and received and sent != received:
        raise requests.ConnectionError("the response belongs to another request")


def written_etag(etag: object, last_modified: object, *, container: str, blob: str) -> str:
    """Return the new ETag of a blob, unquoted, from the response to Put Blob or Put Block List.

    Raises:
        ConnectionFailed: The response has no ETag or no date, so Azure did not make it. The caller looks up the blob.
    """
    if not etag or not last_modified or not _ETAG.fullmatch(str(etag)):
        raise errors.ConnectionFailed(
            service=AZURE,
            resource=repr(f"{container}/{blob}"),
            detail="the response to the write has no ETag or no date, so something else than Azure sent it",
        )
    return unquoted(etag)


def unquoted(etag: object) -> str:
    """Return an ETag without its quotation marks."""
    return str(etag or "").strip('"')


def decoded_block_id(name: object) -> bytes:
    """Decode a listed block id from base64; other tools' ids may be any bytes."""
    raw = name if isinstance(name, bytes) else str(name or "").encode("ascii", "replace")
    try:
        return base64.b64decode(raw)
    except binascii.Error:
        return raw
