"""Every error code that Azure is known to return, and the SDK's exceptions, as our errors."""

import pytest
from azure.core.exceptions import AzureError, ServiceRequestError, ServiceResponseError

from s3_to_azure.model import errors
from s3_to_azure.stores.azure.responses import azure_error, azure_errors

CODES: list[tuple[int, str, type[errors.TransferError]]] = [
    (503, "ServerBusy", errors.Throttled),
    (503, "Service Unavailable", errors.Throttled),
    (429, "TooManyRequests", errors.Throttled),
    (500, "InternalError", errors.ServerFailed),
    (500, "OperationTimedOut", errors.ServerFailed),
    (408, "", errors.ServerFailed),
    (502, "", errors.ServerFailed),
    (404, "ContainerNotFound", errors.ContainerNotFound),
    (409, "ContainerBeingDeleted", errors.ContainerNotFound),
    (400, "InvalidBlockList", errors.BlockListRefused),
    (400, "InvalidBlobOrBlock", errors.ForeignBlocks),
    (400, "InvalidBlockId", errors.ForeignBlocks),
    (409, "BlockCountExceedsLimit", errors.TooManyStagedBlocks),
    (400, "Crc64Mismatch", errors.CorruptedInTransit),
    (400, "Md5Mismatch", errors.CorruptedInTransit),
    (409, "InvalidBlobType", errors.WrongBlobType),
    (400, "InvalidResourceName", errors.NameRefused),
    (412, "LeaseIdMissing", errors.BlobLeased),
    (412, "LeaseIdMismatchWithBlobOperation", errors.BlobLeased),
    (409, "BlobImmutableDueToPolicy", errors.BlobImmutable),
    (403, "AuthenticationFailed", errors.CredentialsRefused),
    (401, "InvalidAuthenticationInfo", errors.CredentialsRefused),
    (403, "AuthorizationPermissionMismatch", errors.AccessDenied),
    (403, "AuthorizationFailure", errors.AccessDenied),
    (403, "", errors.AccessDenied),
    (409, "BlobAlreadyExists", errors.ConditionNotMet),
    (412, "ConditionNotMet", errors.ConditionNotMet),
    (412, "TargetConditionNotMet", errors.ConditionNotMet),
    (307, "", errors.UnexpectedResponse),
    (418, "Teapot", errors.UnexpectedResponse),
]


@pytest.mark.parametrize(("status", "code", "kind"), CODES)
def test_codes(status: int, code: str, kind: type[errors.TransferError]) -> None:
    """The error's class decides whether a retry can help."""
    assert type(azure_error(status, code, container="c", blob="b")) is kind


@pytest.mark.parametrize("raised", [ServiceRequestError("x"), ServiceResponseError("x"), AzureError("x")])
def test_azure_core_errors_are_transient(raised: Exception) -> None:
    """An error without a response may be gone with the next try."""
    with pytest.raises(errors.ConnectionFailed), azure_errors(container="c", blob="b"):
        raise raised
