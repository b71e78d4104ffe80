"""Every error code that Azure is known to return, and the SDK's exceptions, as our errors."""

from typing import Any

import pytest
import requests
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    DeserializationError,
    SerializationError,
    ServiceRequestError,
    ServiceResponseError,
)
from azure.identity import (
    ClientAssertionCredential,
    CredentialUnavailableError,
    EnvironmentCredential,
    WorkloadIdentityCredential,
)
from azure.storage.blob import BlobServiceClient

from s3_to_azure.model import errors
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.errors import azure_error, azure_errors, refusal_of, sas_permissions
from s3_to_azure.stores.http.refusals import Refusal

CODES: list[tuple[int, str, type[errors.TransferError]]] = [
    (503, "ServerBusy", errors.Throttled),
    (503, "Service Unavailable", errors.Throttled),
    (429, "TooManyRequests", errors.Throttled),
    (500, "InternalError", errors.ServerFailed),
    (500, "OperationTimedOut", errors.ServerFailed),
    (408, "", errors.ServerFailed),
    (502, "", errors.ServerFailed),
    (421, "", errors.ServerFailed),
    (425, "", errors.ServerFailed),
    (407, "", errors.ProxyRefused),
    (404, "ContainerNotFound", errors.ContainerNotFound),
    (409, "ContainerBeingDeleted", errors.NotReady),
    (409, "AccountBeingCreated", errors.NotReady),
    (400, "BlobTypeNotSupported", errors.AccountNotSuitable),
    (403, "UnauthorizedBlobOverwrite", errors.AccessDenied),
    (403, "KeyVaultEncryptionKeyNotFound", errors.AccessDenied),
    (400, "AccountRequiresHttps", errors.AccessDenied),
    (409, "ContainerImmutabilityPolicyLocked", errors.BlobImmutable),
    (409, "BlobImmutableDueToLegalHold", errors.BlobImmutable),
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
    assert type(azure_error(Refusal(status, code), container="c", blob="b")) is kind


@pytest.mark.parametrize("raised", [ServiceRequestError("x"), ServiceResponseError("x"), AzureError("x")])
def test_azure_core_errors_are_transient(raised: Exception) -> None:
    """An error without a response may be gone with the next try."""
    with pytest.raises(errors.ConnectionFailed), azure_errors(container="c", blob="b"):
        raise raised


AUTHENTICATION_FAILED = "Server failed to authenticate the request. Make sure the value is formed correctly."
TIME_FRAME = (
    "Signature not valid in the specified time frame: Start [Fri, 01 Jan 2027 00:00:00 GMT] "
    "- Expiry [Sat, 02 Jan 2027 00:00:00 GMT]"
)
REFUSALS: list[tuple[int, str, str, type[errors.TransferError], str]] = [
    (403, "AuthorizationFailure", "This request is not authorized.", errors.AccessDenied, "firewall"),
    (403, "KeyBasedAuthenticationNotPermitted", "", errors.AccessDenied, "Microsoft Entra ID"),
    (403, "AccountIsDisabled", "", errors.AccessDenied, "enable it again"),
    (403, "InsufficientAccountPermissions", "Write operations are not allowed.", errors.AccessDenied, "read-only"),
    (403, "AuthorizationProtocolMismatch", "", errors.AccessDenied, "https only"),
    (403, "AuthorizationSourceIPMismatch", "using this source IP 1.2.3.4", errors.AccessDenied, "1.2.3.4"),
    (403, "AuthorizationResourceTypeMismatch", "", errors.AccessDenied, "srt=co"),
    (403, "AuthorizationServiceMismatch", "", errors.AccessDenied, "ss=b"),
    (403, "UnauthorizedBlobOverwrite", "", errors.AccessDenied, "overwrite=never"),
    (403, "AuthorizationPermissionMismatch", "", errors.AccessDenied, "Storage Blob Data Contributor"),
    (403, "", "", errors.AccessDenied, "a proxy, a firewall or another program gave it"),
    (409, "PublicAccessNotPermitted", "", errors.AccessDenied, "no credentials"),
    (401, "NoAuthenticationInformation", "", errors.CredentialsRefused, "no credentials"),
    (403, "AuthenticationFailed", AUTHENTICATION_FAILED, errors.CredentialsRefused, "may have been replaced"),
    (
        403,
        "AuthenticationFailed",
        f"{AUTHENTICATION_FAILED} Request date header too old: 'Thu, 01 Jan 2026 00:00:00 GMT'",
        errors.ClockSkewed,
        "clock",
    ),
    (
        403,
        "AuthenticationFailed",
        f"{AUTHENTICATION_FAILED} {TIME_FRAME} - Current [Thu, 31 Dec 2026 23:59:00 GMT]",
        errors.CredentialsRefused,
        "The SAS begins at Fri, 01 Jan 2027 00:00:00 GMT",
    ),
    (
        403,
        "AuthenticationFailed",
        f"{TIME_FRAME} - Current [Sun, 03 Jan 2027 00:00:00 GMT]",
        errors.CredentialsRefused,
        "The SAS expired at Sat, 02 Jan 2027 00:00:00 GMT",
    ),
    (
        403,
        "AuthenticationFailed",
        "Signature not valid in the specified time frame: Start [] - Expiry [soon] - Current [now]",
        errors.CredentialsRefused,
        "The SAS is not valid now",
    ),
    (
        403,
        "AuthenticationFailed",
        "Signed expiry time [Wed, 31 Aug 2022 00:00:00 GMT] has to be after signed start time [Thu, 20 Oct 2022]",
        errors.CredentialsRefused,
        "The SAS expired at Wed, 31 Aug 2022 00:00:00 GMT",
    ),
    (
        401,
        "InvalidAuthenticationInfo",
        "Lifetime validation failed. The token is expired.",
        errors.CredentialsRefused,
        "The access token has expired",
    ),
    (
        401,
        "InvalidAuthenticationInfo",
        "Issuer validation failed. Issuer did not match.",
        errors.CredentialsRefused,
        "check the tenant",
    ),
    (400, "InvalidHeaderValue", "(x-ms-version)", errors.UnexpectedResponse, "older versions of the API"),
    (400, "OutOfRangeInput", "One of the inputs is out of range.", errors.UnexpectedResponse, "inputs is out of range"),
]


@pytest.mark.parametrize(("status", "code", "message", "kind", "cure"), REFUSALS)
def test_the_services_words_decide_what_to_do(
    status: int, code: str, message: str, kind: type[errors.TransferError], cure: str
) -> None:
    """One status and one code have many causes, and each has another cure."""
    error = azure_error(Refusal(status, code, message), container="c", blob="b")
    assert type(error) is kind
    assert cure in str(error)


def test_a_sas_that_lacks_a_permission_is_told_with_its_letters() -> None:
    """Whoever made it sees which letter is missing."""
    refusal = Refusal(403, "AuthorizationPermissionMismatch")
    error = azure_error(refusal, container="c", blob="b", sas_permissions="rcl")
    assert "The SAS has the permissions 'rcl', and a copy needs r, w, c and l" in str(error)


def test_a_sas_that_may_not_create_the_container_is_not_blamed_on_the_firewall_alone() -> None:
    """Azure has one code for both."""
    error = azure_error(Refusal(403, "AuthorizationFailure"), container="c", blob="", sas_permissions="rcwl")
    assert "The SAS does not cover this request" in str(error)
    assert "firewall" in str(error)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("https://a.blob.core.windows.net/c/b?comp=block&sp=rcw&sig=x", "rcw"),
        ("https://a.blob.core.windows.net/c/b?si=policy&sig=x", None),
        ("https://a.blob.core.windows.net/c/b?comp=block", None),
    ],
)
def test_the_permissions_of_a_sas_are_read_from_the_url(url: str, expected: str | None) -> None:
    """A SAS of a stored access policy does not show them."""
    assert sas_permissions(url) == expected


def test_a_container_that_is_being_deleted_sets_its_own_pace() -> None:
    """Its name is free again after half a minute or more, so tries follow each other slowly."""
    error = azure_error(Refusal(409, "ContainerBeingDeleted"), container="c", blob="")
    assert isinstance(error, errors.NotReady)
    assert error.retry_after_s == 10
    assert "being deleted" in str(error)


DOCUMENT = (
    b'\xef\xbb\xbf<?xml version="1.0" encoding="utf-8"?><Error><Code>AuthenticationFailed</Code><Message>It failed.\n'
    b"RequestId:1\nTime:2026</Message><AuthenticationErrorDetail>Why</AuthenticationErrorDetail></Error>"
)


@pytest.mark.parametrize(
    ("headers", "document", "expected"),
    [
        ({"x-ms-error-code": "AuthenticationFailed"}, DOCUMENT, "AuthenticationFailed: It failed. Why"),
        ({}, DOCUMENT, "AuthenticationFailed: It failed. Why"),
        ({"x-ms-error-code": "Code"}, b"", "Code"),
        ({"x-ms-request-id": "1"}, b"", "403"),
        ({}, b"<!DOCTYPE html><Error><Code>x</Code></Error>", "403"),
        ({}, b"<html/>", "403"),
    ],
)
def test_a_refusal_is_read_from_headers_and_document(headers: dict[str, str], document: bytes, expected: str) -> None:
    """A HEAD has no document; request id and time are no words."""
    refusal = refusal_of(403, headers, document)
    assert refusal.said == expected
    assert bool(refusal.code) == (expected != "403" or bool(headers))


NOTHING_FOUND = (
    "DefaultAzureCredential failed to retrieve a token from the included credentials.\nAttempted credentials:\n"
    "\tManagedIdentityCredential: the request timed out"
)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (CredentialUnavailableError(message="no response from the IMDS endpoint"), errors.CredentialsUnavailable),
        (
            ClientAuthenticationError(message="AADSTS90033: A transient error has occurred."),
            errors.CredentialsUnavailable,
        ),
        (ClientAuthenticationError(message="AADSTS7000215: Invalid client secret."), errors.CredentialsRefused),
        (ClientAuthenticationError(message=NOTHING_FOUND), errors.CredentialsRefused),
        (DecodeError(message="x"), errors.ConnectionFailed),
        (SerializationError("x"), errors.UnexpectedResponse),
        (DeserializationError("x"), errors.UnexpectedResponse),
        (ServiceRequestError("x", error=requests.exceptions.InvalidURL("x")), errors.UsageError),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_every_exception_of_the_sdks_is_one_of_ours(raised: Exception, kind: type[errors.TransferError]) -> None:
    """Those of azure-core, azure-identity and the generated code."""
    with pytest.raises(errors.TransferError) as caught, azure_errors(container="c", blob="b"):
        raise raised
    assert type(caught.value) is kind


def test_an_account_key_that_is_not_base64_is_a_usage_error() -> None:
    """It fails when the first request is signed."""
    client = BlobServiceClient(
        "https://a.blob.core.windows.net", credential={"account_name": "a", "account_key": "abc"}
    )
    with pytest.raises(errors.UsageError, match="account key"), azure_errors(container="c", blob=""):
        client.get_account_information()


def test_the_shipped_client_refuses_such_a_key_too() -> None:
    """Our own signer reads the key when the client is made."""
    client = BlobServiceClient(
        "https://a.blob.core.windows.net", credential={"account_name": "a", "account_key": "abcde"}
    )
    with pytest.raises(errors.UsageError, match="account key of this connection is not valid"):
        service_client(client, connections=2)


def _no_assertion() -> str:
    raise KeyError("assertion")


@pytest.mark.parametrize(
    ("credential", "kind"),
    [
        (WorkloadIdentityCredential(tenant_id="t", client_id="c", token_file_path="/nowhere/token"), errors.UsageError),
        (ClientAssertionCredential("tenant", "client", _no_assertion), errors.UsageError),
        (EnvironmentCredential(), errors.CredentialsUnavailable),
    ],
    ids=lambda value: type(value).__name__,
)
def test_credentials_that_fail_are_no_answer_of_the_account(credential: Any, kind: type[errors.TransferError]) -> None:
    """Where the exception was raised says whose fault it is: tokens are also renewed in the middle of a copy."""
    with pytest.raises(errors.TransferError) as caught, azure_errors(container="c", blob="b"):
        credential.get_token("https://storage.azure.com/.default")
    assert type(caught.value) is kind
    assert "endpoint" not in str(caught.value)
