"""The services' and SDKs' errors, translated into the engine's; nothing else knows their codes."""

import http.client
import ssl
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import requests
import urllib3
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError, ServiceRequestError
from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from s3_to_azure.engine import errors
from s3_to_azure.stores.redaction import redact

_THROTTLES: Final = {
    "SlowDown",
    "ServerBusy",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "RequestLimitExceeded",
}
_S3_CREDENTIALS: Final = {
    "InvalidAccessKeyId",
    "SignatureDoesNotMatch",
    "ExpiredToken",
    "InvalidToken",
    "TokenRefreshRequired",
    "InvalidSecurity",
    "NotSignedUp",
    "AuthorizationHeaderMalformed",
}
_AZURE_CREDENTIALS: Final = {"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"}
_AZURE_DENIALS: Final = {
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
# https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes, and recorded answers of other clients'
# tests for those that the page leaves out.
_ODDITIES: Final[Mapping[str, type[errors.DestinationError]]] = {
    "BlobArchived": errors.BlobIsArchived,
    "BlobBeingRehydrated": errors.BlobIsArchived,
    "BlobOperationNotSupported": errors.MadeThroughFiles,
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

S3: Final = "S3"
AZURE: Final = "Azure Blob Storage"
READ_PERMISSION: Final = "s3:GetObject and s3:ListBucket on this bucket"
WRITE_PERMISSION: Final = (
    "the role Storage Blob Data Contributor (or a SAS with read, write, create, list; with tags, Storage Blob Data "
    "Owner, or t in the SAS) on this container"
)


def s3_error(
    status: int,
    code: str,
    *,
    bucket: str,
    key: str | None,
    etag: str = "",
    retry_after: str | None = None,
    permission: str = READ_PERMISSION,
) -> errors.TransferError:
    """Return the engine's error for an S3 answer.

    Args:
        status: HTTP status.
        code: The ``Code`` of S3's error document, or the status where it has none.
        bucket: The bucket asked for.
        key: The key asked for, or None for a request on the bucket.
        etag: The ETag that was required.
        retry_after: The answer's Retry-After header.
        permission: What the request needs, for people.
    """
    thing = f"s3://{bucket}" if key is None else repr(f"s3://{bucket}/{key}")
    if code in _THROTTLES or status == 429 or (status == 503 and code in ("503", "ServiceUnavailable")):
        return errors.Throttled(service=S3, code=code, retry_after_s=_seconds(retry_after))
    if status >= 500 or code in ("RequestTimeout", "InternalError"):
        return errors.ServerFailed(service=S3, status=status, code=code, thing=thing)
    if code == "NoSuchBucket" or (status == 404 and key is None):
        return errors.BucketNotFound(bucket=bucket)
    if status == 404:
        return errors.ObjectNotFound(bucket=bucket, key=key)
    if status == 412:
        return errors.SourceChanged(bucket=bucket, key=key, etag=etag)
    if code == "InvalidObjectState":
        return errors.ObjectArchived(bucket=bucket, key=key, code=code)
    if code.startswith("KMS"):
        return errors.KeyManagementDenied(thing=thing, code=code)
    if code == "InvalidRequest" and status == 400 and key is not None:
        return errors.CustomerKeyWanted(thing=thing, code=code)
    if code == "RequestTimeTooSkewed":
        return errors.ClockSkewed(service=S3, thing=thing, code=code)
    if code in _S3_CREDENTIALS or status == 401:
        return errors.CredentialsRefused(service=S3, thing=thing, code=code)
    if status == 403:
        return errors.AccessDenied(service=S3, thing=thing, code=code, permission=permission)
    if 300 <= status < 400:
        return errors.UnexpectedAnswer(
            service=S3,
            thing=thing,
            detail=f"a redirect (status {status}), which is never followed; check region and endpoint",
        )
    return errors.UnexpectedAnswer(service=S3, thing=thing, detail=f"status {status} ({redact(code)})")


def azure_error(
    status: int, code: str, *, container: str, blob: str, retry_after: str | None = None
) -> errors.TransferError:
    """Return the engine's error for an answer of Azure Blob Storage.

    Args:
        status: HTTP status.
        code: The answer's ``x-ms-error-code``.
        container: The container asked for.
        blob: The blob asked for; empty for a request on the container.
        retry_after: The answer's Retry-After header.
    """
    thing = repr(f"{container}/{blob}" if blob else container)
    there: Mapping[str, object] = {"blob": blob, "container": container}
    simple: dict[str, Callable[[], errors.TransferError]] = {
        "ContainerNotFound": lambda: errors.ContainerNotFound(container=container),
        "ContainerBeingDeleted": lambda: errors.ContainerNotFound(container=container),
        "InvalidBlockList": lambda: errors.BlockListRefused(**there),
        "InvalidBlobOrBlock": lambda: errors.ForeignBlocks(**there),
        "InvalidBlockId": lambda: errors.ForeignBlocks(**there),
        "BlockCountExceedsLimit": lambda: errors.TooManyStagedBlocks(**there),
        "RequestEntityTooLargeBlockCountExceedsLimit": lambda: errors.TooManyStagedBlocks(**there),
        "Crc64Mismatch": lambda: errors.DamagedOnTheWay(blob=blob),
        "Md5Mismatch": lambda: errors.DamagedOnTheWay(blob=blob),
        "InvalidBlobType": lambda: errors.WrongBlobType(**there, blob_type="another type of blob"),
        "ResourceTypeMismatch": lambda: errors.WrongBlobType(**there, blob_type="a directory, or lies below a file"),
        "PathConflict": lambda: errors.WrongBlobType(**there, blob_type="a directory, or lies below a file"),
        "FeatureNotYetSupportedForHierarchicalNamespaceAccounts": lambda: errors.TagsRefused(
            key=blob, detail="an account with a hierarchical namespace has none"
        ),
        "InvalidResourceName": lambda: errors.NameRefused(name=blob, detail=f"Azure answered {code}"),
        "RequestTimeTooSkewed": lambda: errors.ClockSkewed(service=AZURE, thing=thing, code=code),
    }
    if code in simple:
        return simple[code]()
    if code in _ODDITIES:
        return _ODDITIES[code](**there, code=code)
    # 503 is ServerBusy also where a proxy in between dropped the code.
    if code in _THROTTLES or status in (429, 503):
        return errors.Throttled(service=AZURE, code=code, retry_after_s=_seconds(retry_after))
    if status >= 500 or status == 408:
        return errors.ServerFailed(service=AZURE, status=status, code=code, thing=thing)
    if code.startswith("LeaseId"):
        return errors.BlobLeased(**there, code=code)
    if code in _IMMUTABLE:
        return errors.BlobImmutable(**there, code=code)
    if code in _AZURE_CREDENTIALS or status == 401:
        return errors.CredentialsRefused(service=AZURE, thing=thing, code=code)
    if code in _AZURE_DENIALS or status == 403:
        return errors.AccessDenied(service=AZURE, thing=thing, code=code, permission=WRITE_PERMISSION)
    if status in (409, 412):
        return errors.ConditionNotMet(**there, code=code)
    if 300 <= status < 400:
        return errors.UnexpectedAnswer(
            service=AZURE,
            thing=thing,
            detail=f"a redirect (status {status}), which is never followed; check the endpoint",
        )
    return errors.UnexpectedAnswer(service=AZURE, thing=thing, detail=f"status {status} ({redact(code)})")


def network_error(service: str, thing: str, error: BaseException) -> errors.TransferError:
    """Return the engine's error for a failure below HTTP; its text is redacted and short."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = getattr(cause, "verify_message", "") or str(cause)
            return errors.CertificateRefused(service=service, detail=redact(detail))
        inner = cause.args[0] if cause.args and isinstance(cause.args[0], BaseException) else None
        reason = getattr(cause, "reason", None)
        cause = cause.__cause__ or cause.__context__ or inner or (reason if isinstance(reason, BaseException) else None)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return errors.CertificateRefused(service=service, detail="certificate verify failed")
    return errors.ConnectionFailed(
        service=service, thing=thing, detail=f"{type(error).__name__}: {redact(str(error))[:300]}"
    )


@contextmanager
def s3_errors(*, bucket: str, key: str | None, etag: str = "", permission: str = READ_PERMISSION) -> Iterator[None]:
    """Translate what boto3, requests and urllib3 raise; the original never travels on, since it may hold a secret."""
    thing = f"s3://{bucket}" if key is None else repr(f"s3://{bucket}/{key}")
    try:
        yield
    except botocore.ClientError as error:
        answer: Mapping[str, Any] = error.response
        meta = answer.get("ResponseMetadata", {})
        raise s3_error(
            int(meta.get("HTTPStatusCode", 0)),
            str(answer.get("Error", {}).get("Code", "")),
            bucket=bucket,
            key=key,
            etag=etag,
            retry_after=meta.get("HTTPHeaders", {}).get("retry-after"),
            permission=permission,
        ) from None
    except (botocore.NoCredentialsError, botocore.PartialCredentialsError, botocore.CredentialRetrievalError) as error:
        raise errors.ConnectionMissing(
            service=S3, detail=redact(str(error)), cure="Set the AWS connection's login and password, role or profile."
        ) from None
    except (
        requests.RequestException,
        urllib3.exceptions.HTTPError,
        botocore.ConnectionError,
        botocore.HTTPClientError,
        botocore.IncompleteReadError,
        # Bodies are read from http.client itself.
        http.client.HTTPException,
        OSError,
    ) as error:
        raise network_error(S3, thing, error) from None
    except ResponseParserError:
        # No BotoCoreError; its text quotes the whole answer.
        raise network_error(S3, thing, ValueError("the answer is cut short, or not S3's")) from None
    except botocore.BotoCoreError as error:
        raise errors.WrongUse(what=f"S3 cannot be used with this connection: {redact(str(error))}") from None


@contextmanager
def azure_errors(*, container: str, blob: str) -> Iterator[None]:
    """Translate what the Azure SDK raises; the original never travels on, since it may hold a secret."""
    thing = repr(f"{container}/{blob}" if blob else container)
    try:
        yield
    except HttpResponseError as error:
        response: Any = error.response
        if response is None:
            raise _without_answer(thing, error) from None
        if int(error.status_code or 0) < 300:
            # Success by its status, but the body broke off or cannot be read.
            raise network_error(AZURE, thing, ValueError("the answer cannot be read")) from None
        code = getattr(error, "error_code", None) or response.headers.get("x-ms-error-code") or error.reason or ""
        raise azure_error(
            int(error.status_code or 0),
            str(getattr(code, "value", code)),
            container=container,
            blob=blob,
            retry_after=response.headers.get("Retry-After"),
        ) from None
    except AzureError as error:
        raise _without_answer(thing, error) from None
    except (requests.RequestException, urllib3.exceptions.HTTPError, http.client.HTTPException, OSError) as error:
        raise network_error(AZURE, thing, error) from None
    except UnicodeDecodeError:
        raise network_error(AZURE, thing, ValueError("the answer cannot be read")) from None


def _without_answer(thing: str, error: AzureError) -> errors.TransferError:
    if isinstance(error, ClientAuthenticationError):
        return errors.CredentialsRefused(service=AZURE, thing=thing, code=redact(str(error.message))[:300])
    if isinstance(error, ServiceRequestError) or error.inner_exception is not None:
        return network_error(AZURE, thing, error.inner_exception or error)
    return network_error(AZURE, thing, error)


def _seconds(text: str | None) -> float | None:
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None
