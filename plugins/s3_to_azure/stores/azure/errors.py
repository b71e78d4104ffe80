"""Translation of Azure's refusals, and of every exception of a request to Azure, to our errors."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    HttpResponseError,
    ServiceRequestError,
    ServiceResponseError,
)

from s3_to_azure.model import errors
from s3_to_azure.model.errors import AZURE
from s3_to_azure.stores.http.errors import network_error, translated, unreadable, was_raised_in
from s3_to_azure.stores.http.headers import http_date
from s3_to_azure.stores.http.redaction import redacted_line
from s3_to_azure.stores.http.refusals import (
    NOT_SUPPORTED,
    PROXY_REFUSED,
    SERVER_FAILED,
    THROTTLED,
    Cause,
    Refusal,
    codes,
    error_document,
    error_of,
    unexpected_response,
    words,
)

WRITE_PERMISSION: Final = (
    "the role Storage Blob Data Contributor (or a SAS with read, write, create, list; with tags, Storage Blob Data "
    "Owner, or t in the SAS) on this container"
)
ENTRA: Final = "Microsoft Entra ID"

_BOM: Final = b"\xef\xbb\xbf"
_CREDENTIAL_MODULES: Final = ("azure.identity", "msal")
# https://learn.microsoft.com/rest/api/storageservices/create-container: the name is free after 30 seconds or more.
_CONTAINER_RETRY_S: Final = 10.0
# What Entra ID and the metadata service say of a failure that may pass.
_MAY_PASS: Final = re.compile(r"(?i)AADSTS900(?:24|33)\b|temporar|transient|try again|timed? ?out|too many requests")
_NO_CREDENTIAL_FOUND: Final = "failed to retrieve a token from the included credentials"
_CREDENTIALS_CURE: Final = "Check the key or token of this connection; if it has expired, renew it."


_FIREWALL_CURE: Final = (
    "Most likely the storage account's firewall does not allow this machine's network: allow its address, subnet or "
    "private endpoint there (Networking)."
)
_SAS_CURE: Final = (
    "The SAS does not cover this request (one of a container cannot create it, for example), or the storage account's "
    "firewall does not allow this machine's network."
)


def _time_frame_cure(match: re.Match[str]) -> str:
    """Return what to do about a SAS outside of its time frame."""
    start, expiry, now = (http_date(match[name]) for name in ("start", "expiry", "now"))
    if now and expiry and now >= expiry:
        return f"The SAS expired at {match['expiry']}: make a new one."
    if now and start and now < start:
        return f"The SAS begins at {match['start']}: wait, or check the clock of the machine that made it."
    return "The SAS is not valid now: make a new one, and check the clock of the machine that makes it."


def _denied(pattern: re.Pattern[str], cure: str) -> Cause:
    return Cause(pattern, errors.AccessDenied, {"cure": cure})


def _refused_credentials(pattern: re.Pattern[str], cure: str) -> Cause:
    return Cause(pattern, errors.CredentialsRefused, {"cure": cure})


# https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes and common-rest-api-error-codes; codes
# that these pages leave out are from responses recorded in other clients' tests and in public reports. The first cause
# that matches counts.
_CAUSES: Final = (
    Cause(codes("ContainerNotFound"), errors.ContainerNotFound),
    Cause(codes("ContainerBeingDeleted"), errors.NotReady, {"detail": "the container is being deleted"}),
    Cause(
        codes("AccountBeingCreated", r"StorageAccount\w*(?:Created|InProgress)"),
        errors.NotReady,
        {"detail": "the storage account is being created or changed"},
    ),
    Cause(codes("InvalidBlockList"), errors.BlockListRefused),
    Cause(codes("InvalidBlobOrBlock", "InvalidBlockId"), errors.ForeignBlocks),
    Cause(
        codes("BlockCountExceedsLimit", "RequestEntityTooLargeBlockCountExceedsLimit"),
        errors.TooManyStagedBlocks,
    ),
    Cause(codes("Crc64Mismatch", "Md5Mismatch"), errors.CorruptedInTransit),
    Cause(codes("InvalidBlobType"), errors.WrongBlobType, {"blob_type": "another type of blob"}),
    Cause(
        codes("ResourceTypeMismatch", "PathConflict", "OperationNotSupportedOnDirectory"),
        errors.WrongBlobType,
        {"blob_type": "a directory, or lies below a file"},
    ),
    Cause(
        codes("FeatureNotYetSupportedForHierarchicalNamespaceAccounts"),
        errors.TagsRefused,
        {"detail": "an account with a hierarchical namespace has none"},
    ),
    Cause(codes("InvalidResourceName"), errors.NameRefused, {"detail": "Azure answered InvalidResourceName"}),
    Cause(codes("RequestTimeTooSkewed"), errors.ClockSkewed),
    Cause(codes("BlobTypeNotSupported"), errors.AccountNotSuitable),
    Cause(codes("BlobArchived", "BlobBeingRehydrated"), errors.BlobArchived),
    Cause(codes("BlobOperationNotSupported"), errors.WrittenThroughDatalakeApi),
    Cause(
        codes(
            "BlobUsesCustomerSpecifiedEncryption",
            "BlobDoesNotUseCustomerSpecifiedEncryption",
            "BlobCustomerSpecifiedEncryptionMismatch",
            "RequestForbiddenBy(?:Container|Account)EncryptionPolicy",
        ),
        errors.EncryptionRefused,
    ),
    Cause(
        codes(
            "BlobAccessTierNotSupportedForAccountType",
            "AccessTierNotSupportedForBlobType",
            "InvalidBlobTier",
            "BlobTierInadequateForContentLength",
        ),
        errors.TierRefused,
    ),
    Cause(THROTTLED, errors.Throttled),
    Cause(PROXY_REFUSED, errors.ProxyRefused, {"detail": "it asks for credentials (status 407)"}),
    # A proxy may have dropped the code: 503 then means ServerBusy.
    Cause(re.compile(r"503 "), errors.Throttled),
    Cause(NOT_SUPPORTED, errors.RequestNotSupported),
    Cause(SERVER_FAILED, errors.ServerFailed),
    Cause(codes(r"Lease(?!AlreadyPresent)\w+"), errors.BlobLeased),
    Cause(
        codes("BlobImmutableDueTo(?:Policy|LegalHold)", "ContainerImmutabilityPolicyLocked", "ContainerHasLegalHold"),
        errors.BlobImmutable,
    ),
    _denied(
        codes("UnauthorizedBlobOverwrite"),
        "This identity may create blobs, but not replace them: give the SAS the permission w, or choose "
        "overwrite=never.",
    ),
    _denied(
        codes("KeyBasedAuthenticationNotPermitted"),
        "The account allows no shared key, and no SAS that is signed with one: use Microsoft Entra ID (a managed "
        "identity or a service principal) in this connection.",
    ),
    _denied(codes("AccountIsDisabled", "ContainerDisabled"), "It is disabled: its owner has to enable it again."),
    _denied(
        codes("InsufficientAccountPermissions"),
        "The account, or its subscription, is read-only or disabled: its owner has to lift that.",
    ),
    _denied(codes("AccountRequiresHttps"), "The account takes no plain http: use its https:// endpoint."),
    _denied(codes("AuthorizationProtocolMismatch"), "The SAS is for https only: use the https:// endpoint."),
    _denied(
        codes("AuthorizationSourceIPMismatch"),
        "The SAS is for other IP addresses: make one that allows this machine's public address, or any.",
    ),
    _denied(
        codes("AuthorizationResourceTypeMismatch"),
        "The SAS does not cover containers and objects: make one with the resource types c and o (srt=co).",
    ),
    _denied(codes("AuthorizationServiceMismatch"), "The SAS is not for blobs: make one for the blob service (ss=b)."),
    _denied(codes("PublicAccessNotPermitted"), "The request carried no credentials: set those of this connection."),
    _denied(
        codes(r"KeyVault\w+"),
        "The account encrypts with a key in Key Vault that it cannot use: check that key and the account's access to "
        "it.",
    ),
    Cause(words(r"date header (?:is )?too old|request date header|x-ms-date"), errors.ClockSkewed),
    _refused_credentials(
        words(r"Signed expiry time \[(?P<expiry>[^\]]*)\] (?:has to|must) be after"),
        "The SAS expired at {expiry}: make a new one.",
    ),
    Cause(
        words(r"time frame: Start \[(?P<start>[^\]]*)\] - Expiry \[(?P<expiry>[^\]]*)\] - Current \[(?P<now>[^\]]*)\]"),
        errors.CredentialsRefused,
        {"cure": _time_frame_cure},
    ),
    _refused_credentials(
        words(r"lifetime validation failed|token (?:is|has) expired|ExpiredAuthenticationToken"),
        "The access token has expired: renew it. A managed identity or a service principal renews itself.",
    ),
    _refused_credentials(
        words(r"(?:issuer|audience) validation failed"),
        "The token is for another tenant or another service: check the tenant of this connection.",
    ),
    _refused_credentials(
        codes("NoAuthenticationInformation"), "The request carried no credentials: set those of this connection."
    ),
    _refused_credentials(
        words(r"^\d+ AuthenticationFailed:|server failed to authenticate"),
        "Check the account's name and its key, which may have been replaced, or that the SAS is complete.",
    ),
    _denied(codes("AuthorizationFailure"), _FIREWALL_CURE),
    _refused_credentials(re.compile(r"401 |\d+ InvalidAuthenticationInfo:"), _CREDENTIALS_CURE),
    _denied(
        re.compile(r"403 :"),
        "The answer is not Azure's own: a proxy, a firewall or another program gave it.",
    ),
    Cause(re.compile(r"403 |\d+ AuthorizationPermissionMismatch:"), errors.AccessDenied),
    Cause(re.compile(r"409 |412 "), errors.ConditionNotMet),
)
_OLD_API: Final = codes("InvalidHeaderValue", "InvalidVersionHeader", "UnsupportedHeader", "FeatureVersionMismatch")


def azure_error(
    refusal: Refusal, *, container: str, blob: str, sas_permissions: str | None = None
) -> errors.TransferError:
    """Return the error that a refusal means.

    Args:
        refusal: Azure's response.
        container: The requested container.
        blob: The requested blob; empty for a request on the container.
        sas_permissions: The letters of the SAS that the request carried; None if it carried none that shows them.
    """
    resource = _path(container, blob)
    if sas_permissions is None:
        cure = f"Grant the identity of this connection {WRITE_PERMISSION}."
    else:
        cure = (
            f"The SAS has the permissions {sas_permissions!r}, and a copy needs r, w, c and l on the whole container "
            "(sr=c), with tags also t, and to delete old state d: make a new one."
        )
    request: dict[str, object] = {
        "service": AZURE,
        "resource": resource,
        "container": container,
        "blob": blob,
        "name": blob,
        "key": blob,
        "cure": cure,
    }
    if refusal.code == "ContainerBeingDeleted" and refusal.retry_after_s is None:
        request["retry_after_s"] = _CONTAINER_RETRY_S
    found = error_of(refusal, _CAUSES, request)
    if isinstance(found, errors.AccessDenied) and found.attributes["cure"] == _FIREWALL_CURE and sas_permissions:
        return errors.AccessDenied(**{**found.attributes, "cure": _SAS_CURE})
    if found is not None:
        return found
    hint = "; this endpoint may know only older versions of the API (x-ms-version)"
    return unexpected_response(
        AZURE, resource, refusal, check="the endpoint", hint=hint if _OLD_API.match(refusal.text) else ""
    )


@contextmanager
def azure_errors(*, container: str, blob: str) -> Iterator[None]:
    """Translate every exception of a request; the original is not chained, since it may contain a secret."""
    try:
        yield
    except errors.TransferError:
        raise
    except Exception as error:  # noqa: BLE001 - whatever the SDK raises about a response or a setting
        raise _translated(error, container, blob) from None


@contextmanager
def azure_settings_errors(subject: str, cure: str, *untouched: type[Exception]) -> Iterator[None]:
    """Translate every exception that is raised while the user's settings become a client.

    Args:
        subject: What holds the settings, for the error.
        cure: What the user can do; ends the error.
        untouched: Exceptions that have other causes, and are not translated.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (errors.TransferError, *untouched)):
            raise
        if was_raised_in(error, *_CREDENTIAL_MODULES):
            raise credentials_error(error, "the account") from None
        # The name of this class says nothing.
        text = redacted_line(error) if type(error) is ValueError else f"{type(error).__name__}: {redacted_line(error)}"
        raise errors.ConnectionMissing(service=AZURE, detail=f"{subject} cannot be used ({text})", cure=cure) from None


def refusal_of(status: int, headers: Mapping[str, str], document: bytes) -> Refusal:
    """Return the refusal that a response is.

    Args:
        status: HTTP status.
        headers: The headers by lower-case name.
        document: The body, or its beginning; empty after a HEAD.
    """
    told = {name.lower(): text for name, text in (error_document(document.removeprefix(_BOM)) or {}).items()}
    code = headers.get("x-ms-error-code") or told.get("code", "")
    if not code and "x-ms-request-id" in headers:
        code = str(status)
    message = told.get("message", "").partition("\nRequestId:")[0]
    detail, header = told.get("authenticationerrordetail", ""), told.get("headername", "")
    parts = (message, detail, header and f"({header})")
    return Refusal(status, code, " ".join(part for part in parts if part), headers)


def sas_permissions(url: str) -> str | None:
    """Return the permissions of the SAS in a request's URL; None if there is none, or if it does not show them."""
    query = parse_qs(urlsplit(url).query)
    return query["sp"][0] if "sig" in query and "sp" in query else None


def invalid_account_key() -> errors.UsageError:
    """Return the error of an account key that is not base64."""
    return errors.UsageError(detail="The account key of this connection is not valid: it must be base64, complete.")


def _translated(error: Exception, container: str, blob: str) -> errors.TransferError:
    resource = _path(container, blob)
    if was_raised_in(error, "azure.storage.blob._shared.authentication"):
        return invalid_account_key()
    from_storage = hasattr(error, "error_code")
    if was_raised_in(error, *_CREDENTIAL_MODULES) or (
        isinstance(error, ClientAuthenticationError) and not from_storage
    ):
        return credentials_error(error, resource)
    response: Any = getattr(error, "response", None) if isinstance(error, HttpResponseError) else None
    if response is not None and int(response.status_code or 0) >= 300:
        headers = {name.lower(): value for name, value in response.headers.items()}
        refusal = refusal_of(int(response.status_code), headers, _body(response))
        return azure_error(
            refusal, container=container, blob=blob, sas_permissions=sas_permissions(str(response.request.url))
        )
    if isinstance(error, (HttpResponseError, UnicodeDecodeError)):
        # The status says success, but the body is incomplete or unreadable.
        return unreadable(AZURE, resource)
    if isinstance(error, AzureError):
        return network_error(AZURE, resource, error.inner_exception or error)
    return translated(AZURE, resource, error)


def credentials_error(error: Exception, resource: str) -> errors.TransferError:
    """Return the error of a token that could not be obtained."""
    text = redacted_line(getattr(error, "message", error), 500)
    response: Any = getattr(error, "response", None)
    status = int(getattr(response, "status_code", None) or 0)
    # Its module takes long to import, and is there only if it was raised.
    is_unavailable = any(cls.__name__ == "CredentialUnavailableError" for cls in type(error).__mro__)
    if isinstance(error, (ServiceRequestError, ServiceResponseError)) or status >= 500 or status == 429:
        is_unavailable = True
    # A chain that found nothing lists every credential that it tried, and what each one said.
    if is_unavailable or (_MAY_PASS.search(text) and _NO_CREDENTIAL_FOUND not in text):
        return errors.CredentialsUnavailable(service=AZURE, detail=text)
    if isinstance(error, ClientAuthenticationError):
        return errors.CredentialsRefused(
            service=ENTRA,
            resource=resource,
            code=text,
            cure="Check tenant, client and secret of this connection, or the identity that it names.",
        )
    found = translated(AZURE, resource, error)
    if isinstance(found, errors.ConnectionFailed):
        return errors.CredentialsUnavailable(service=AZURE, detail=found.attributes["detail"])
    if isinstance(found, errors.UnexpectedResponse):
        return errors.UsageError(detail=f"The credentials for {AZURE} cannot be used: {text}.")
    return found


def _body(response: Any) -> bytes:
    try:
        return bytes(response.body())
    except Exception:  # noqa: BLE001 - the body only adds words
        # It was not read, or its connection failed; the headers are sufficient.
        return b""


def _path(container: str, blob: str) -> str:
    return repr(f"{container}/{blob}" if blob else container)
