"""Translation of S3's refusals, and of every exception of a request to S3, to our errors."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any, Final

from botocore import exceptions as botocore
from botocore.parsers import ResponseParserError

from s3_to_azure.model import errors
from s3_to_azure.model.errors import S3
from s3_to_azure.model.uris import object_uri
from s3_to_azure.stores.http.errors import network_error, translated, unreadable, was_raised_in
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
    parsed,
    unexpected_response,
    words,
)

READ_PERMISSION: Final = "s3:GetObject and s3:ListBucket on this bucket"
SQS: Final = "Amazon SQS"
"""The queue's name in errors."""

REFUSES_REQUEST: Final = (405, 501)
"""Statuses of a store that does not know this kind of request."""

_QUEUE_RIGHTS: Final = "sqs:ReceiveMessage and sqs:DeleteMessage on this queue"
_NO_QUEUE: Final = re.compile(r"NonExistentQueue|QueueDoesNotExist")
_MISSING: Final = {"NoSuchKey", "NoSuchVersion"}
_CODE: Final = re.compile(rb"<Code>([A-Za-z0-9._-]{1,100})</Code>")
# botocore's name of a program that issues credentials.
_PROGRAM: Final = "custom-process"
_CREDENTIALS_SERVICE: Final = "AWS's credential service"
# The modules that call STS, SSO, the metadata service or a program.
_CREDENTIAL_MODULES: Final = ("botocore.credentials", "botocore.tokens")
_POLICY: Final = r"(?:identity|resource|session|service control|resource control|VPC endpoint)[ -](?:based )?policy"
_CREDENTIALS_CURE: Final = "Check the key or token of this connection; if it has expired, renew it."
_EXPIRED_CURE: Final = (
    "The session has expired: renew its token. A role or a profile that renews itself does not have this problem."
)

# Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html and, for policies,
# https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html; those of other stores are from
# public reports. The first cause that matches counts.
_CAUSES: Final = (
    Cause(THROTTLED, errors.Throttled),
    Cause(PROXY_REFUSED, errors.ProxyRefused, {"detail": "it asks for credentials (status 407)"}),
    Cause(re.compile(r"503 (?:503|ServiceUnavailable)?:"), errors.Throttled),
    Cause(NOT_SUPPORTED, errors.RequestNotSupported),
    Cause(SERVER_FAILED, errors.ServerFailed),
    Cause(
        codes("InternalError", "LambdaResponseNotReceived", "LambdaTimeout", "OperationAborted", "RequestTimeout"),
        errors.ServerFailed,
    ),
    Cause(re.compile(r"412 "), errors.SourceChanged),
    Cause(codes("InvalidObjectState"), errors.ObjectArchived),
    Cause(codes(r"(?:XMinio)?KMS[\w.]*"), errors.KeyManagementDenied),
    Cause(words(r"to perform: kms:|ciphertext refers to a|customer master key"), errors.KeyManagementDenied),
    Cause(
        re.compile(r"(?i)400 InvalidRequest:(?! .*not applicable)(?: $| .*(?:server.side.encryption|SSE))"),
        errors.CustomerKeyRequired,
    ),
    Cause(codes("RequestTimeTooSkewed", "RequestExpired"), errors.ClockSkewed),
    Cause(words(r"signature (?:expired|not yet current)"), errors.ClockSkewed),
    Cause(
        re.compile(r"\d+ AuthorizationHeaderMalformed:.*expecting '(?P<region>[a-z0-9-]+)'"),
        errors.CredentialsRefused,
        {"cure": "Set the region of this connection (region_name, or AWS_DEFAULT_REGION) to {region}."},
    ),
    Cause(
        codes("ExpiredToken(?:Exception)?", "TokenRefreshRequired"), errors.CredentialsRefused, {"cure": _EXPIRED_CURE}
    ),
    Cause(
        codes("InvalidToken", "InvalidClientTokenId", "UnrecognizedClientException"),
        errors.CredentialsRefused,
        {"cure": "The session token is not valid here: it must be complete, and belong to the access key beside it."},
    ),
    Cause(
        codes("InvalidAccessKeyId"),
        errors.CredentialsRefused,
        {"cure": "This endpoint knows no such access key: check the key, and that the endpoint is the right one."},
    ),
    Cause(
        codes("SignatureDoesNotMatch"),
        errors.CredentialsRefused,
        {"cure": "Check the secret key of this connection, and that no proxy changes requests."},
    ),
    Cause(
        codes("AuthorizationHeaderMalformed", "InvalidSecurity", "NotSignedUp"),
        errors.CredentialsRefused,
        {"cure": _CREDENTIALS_CURE},
    ),
    Cause(re.compile(r"401 "), errors.CredentialsRefused, {"cure": _CREDENTIALS_CURE}),
    Cause(
        words(rf"explicit deny in an? (?P<policy>{_POLICY}|permissions boundary)"),
        errors.AccessDenied,
        {"cure": "A {policy} denies this explicitly, so that no grant helps: change that policy."},
    ),
    Cause(
        words(r"because no (?P<policy>VPC endpoint policy|session policy|\w+ control policy|permissions boundary)"),
        errors.AccessDenied,
        {"cure": "The {policy} does not allow this: change it, besides what the identity itself is granted."},
    ),
    Cause(
        words(r"requester.?pays|^\d+ UserProjectMissing"),
        errors.AccessDenied,
        {"cure": "The bucket charges the reader: allow that with requester_pays or --request-payer."},
    ),
    Cause(
        words(r"cap exceeded|quota (?:is )?exceeded|^\d+ QuotaExceeded"),
        errors.AccessDenied,
        {"cure": "A limit of the source account is used up: raise it there, or run again when it is counted anew."},
    ),
    Cause(
        codes("AccountProblem", "AllAccessDisabled", "UserSuspended"),
        errors.AccessDenied,
        {"cure": "The provider has disabled this account or bucket: ask it why."},
    ),
    Cause(
        codes(r"Lambda\w+"),
        errors.AccessDenied,
        {"cure": "The function of this S3 Object Lambda access point failed: see its log, or copy from the bucket."},
    ),
    Cause(
        re.compile(r"403 :"),
        errors.AccessDenied,
        {"cure": "The answer is not S3's own: a proxy, a firewall or another program gave it."},
    ),
    Cause(re.compile(r"403 "), errors.AccessDenied),
)

# https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/CommonErrors.html and those that both have.
_OF_OBJECTS: Final = {
    errors.CustomerKeyRequired,
    errors.KeyManagementDenied,
    errors.ObjectArchived,
    errors.SourceChanged,
}
SERVICE_CAUSES: Final = tuple(cause for cause in _CAUSES if cause.error not in _OF_OBJECTS)
"""What the refusals mean that AWS's other services have too."""

_QUEUE_CAUSES: Final = (
    Cause(codes("RequestThrottled", "OverLimit", r"K[mM][sS]\.?Throttl\w*"), errors.Throttled),
    Cause(
        codes(r"K[mM][sS][\w.]*"),
        errors.AccessDenied,
        {"cure": "Grant the identity of this connection kms:Decrypt on the queue's KMS key."},
    ),
    Cause(codes("AccessDenied(?:Exception)?"), errors.AccessDenied),
    *SERVICE_CAUSES,
)


def s3_error(
    refusal: Refusal, *, bucket: str, key: str | None, etag: str = "", permission: str = READ_PERMISSION
) -> errors.TransferError:
    """Return the error that a refusal means.

    Args:
        refusal: S3's response; the code of one without a document is empty, or of a HEAD the status.
        bucket: The requested bucket.
        key: The requested key, or None for a request on the bucket.
        etag: The ETag that was required.
        permission: The permission that the request needs, for the message.
    """
    resource = _uri(bucket, key)
    if refusal.status == 404 or refusal.code == "NoSuchBucket":
        return _not_found(refusal, bucket=bucket, key=key)
    if refusal.status == 405 and key is not None and refusal.headers.get("x-amz-delete-marker") == "true":
        return errors.ObjectNotFound(bucket=bucket, key=key)
    request = {
        "service": S3,
        "resource": resource,
        "bucket": bucket,
        "key": key,
        "etag": etag,
        "cure": f"Grant the identity of this connection {permission}.",
    }
    if refusal.status == 412 and key is None:
        # A request about a bucket has no condition.
        return unexpected_response(S3, resource, refusal, check="the endpoint")
    region = refusal.headers.get("x-amz-bucket-region")
    check = f"the region (the bucket is in {region}) and the endpoint" if region else "region and endpoint"
    return error_of(refusal, _CAUSES, request) or unexpected_response(S3, resource, refusal, check=check)


def _not_found(refusal: Refusal, *, bucket: str, key: str | None) -> errors.TransferError:
    if refusal.code == "NoSuchBucket" or key is None:
        return errors.BucketNotFound(bucket=bucket)
    if refusal.code in _MISSING:
        return errors.ObjectNotFound(bucket=bucket, key=key)
    # Anything between here and S3 can answer 404, and only S3's own document says that the object does not exist.
    detail = f"status 404 ({refusal.said}) without S3's document that says NoSuchKey; check the endpoint and any proxy"
    return errors.UnexpectedResponse(service=S3, resource=_uri(bucket, key), detail=detail)


def s3_errors(
    *, bucket: str, key: str | None, etag: str = "", permission: str = READ_PERMISSION
) -> AbstractContextManager[None]:
    """Translate every exception of a request; the original is not chained, since it may contain a secret."""
    meaning = partial(s3_error, bucket=bucket, key=key, etag=etag, permission=permission)
    return request_errors(meaning, partial(_uri, bucket, key), S3)


def queue_errors(name: str) -> AbstractContextManager[None]:
    """Translate every exception of a request to SQS; the original is not chained, since it may contain a secret."""
    return request_errors(partial(_queue_error, name=name), lambda: name, SQS)


@contextmanager
def request_errors(
    meaning: Callable[[Refusal], errors.TransferError], resource: Callable[[], str], service: str
) -> Iterator[None]:
    """Translate every exception of a request by botocore; the original is not chained: it may contain a secret.

    Args:
        meaning: Returns the error that a refusal means.
        resource: What was requested.
        service: The service's name in errors.
    """
    try:
        yield
    except errors.TransferError:
        raise
    except botocore.ClientError as error:
        refusal = _refusal(error)
        if was_raised_in(error, *_CREDENTIAL_MODULES):
            raise _credentials_error(refusal) from None
        raise meaning(refusal) from None
    except Exception as error:  # noqa: BLE001 - whatever botocore raises about a response or a setting
        raise _translated(error, resource(), service) from None


def _queue_error(refusal: Refusal, *, name: str) -> errors.TransferError:
    if _NO_QUEUE.search(refusal.code):
        return errors.UsageError(
            detail=f"There is no {name} at this endpoint. Check its URL, and the region and account of the AWS "
            "connection."
        )
    request = {"service": SQS, "resource": name, "cure": f"Grant the identity of this connection {_QUEUE_RIGHTS}."}
    found = error_of(refusal, _QUEUE_CAUSES, request)
    return found or unexpected_response(SQS, name, refusal, check="the queue's URL")


@contextmanager
def s3_settings_errors(*untouched: type[Exception]) -> Iterator[None]:
    """Translate every exception that is raised while the user's settings become a session or a client.

    Args:
        untouched: Exceptions that have other causes, and are not translated.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, (errors.TransferError, *untouched)):
            raise
        if isinstance(error, botocore.ClientError):
            raise _credentials_error(_refusal(error)) from None
        found = _translated(error, "the connection")
        if isinstance(found, errors.ConnectionFailed):
            # No request to S3 has been sent: only the service that issues credentials can have been asked.
            found = errors.CredentialsUnavailable(service=S3, detail=found.attributes["detail"])
        elif isinstance(found, errors.UnexpectedResponse):
            found = errors.UsageError(
                detail=f"S3 cannot be used with these settings ({type(error).__name__}: {redacted_line(error)}). Check "
                "the connection, the profile and the AWS_ environment variables."
            )
        raise found from None


def _refusal(error: botocore.ClientError) -> Refusal:
    response: Mapping[str, Any] = error.response
    meta, told = response.get("ResponseMetadata", {}), response.get("Error", {})
    status, code = int(meta.get("HTTPStatusCode", 0)), str(told.get("Code", ""))
    if code.isdigit() and not error.operation_name.startswith("Head"):
        # botocore puts the status where the response has no document of S3.
        code = ""
    return Refusal(status, code, str(told.get("Message", "")), meta.get("HTTPHeaders", {}))


def _credentials_error(refusal: Refusal) -> errors.TransferError:
    """Return the error that a refusal of STS or SSO means."""
    for is_transient in (THROTTLED, SERVER_FAILED):
        if is_transient.match(refusal.text):
            return errors.CredentialsUnavailable(service=S3, detail=f"status {refusal.status} ({refusal.said})")
    if re.search(r"(?i)expired", refusal.text):
        cure = _EXPIRED_CURE
    else:
        cure = "Check that this identity may assume the role, and that the role's trust policy names the identity."
    return errors.CredentialsRefused(service=_CREDENTIALS_SERVICE, resource="the role", code=refusal.said, cure=cure)


def _translated(error: Exception, resource: str, service: str = S3) -> errors.TransferError:
    """Return the error that an exception of boto3 or of our own requests means."""
    found = next((make(error, resource, service) for kinds, make in _EXCEPTIONS if isinstance(error, kinds)), None)
    if found is None:
        found = translated(service, resource, error)
    if not was_raised_in(error, *_CREDENTIAL_MODULES):
        return found
    if isinstance(found, errors.ConnectionFailed):
        return errors.CredentialsUnavailable(service=service, detail=found.attributes["detail"])
    if isinstance(found, errors.UnexpectedResponse):
        return errors.UsageError(
            detail=f"The credentials for {service} cannot be used ({type(error).__name__}). Check the profile, and "
            "the output of its credential_process."
        )
    return found


def _no_credentials(error: Exception, _resource: str, service: str) -> errors.TransferError:
    cure = "Set the AWS connection's login and password, role or profile."
    return errors.ConnectionMissing(service=service, detail=redacted_line(error), cure=cure)


def _signed_out(error: Exception, _resource: str, service: str) -> errors.TransferError:
    cure = "Sign in again (aws sso login), or use a role that needs no person."
    return errors.ConnectionMissing(service=service, detail=redacted_line(error), cure=cure)


def _unavailable(error: Exception) -> str:
    if getattr(error, "kwargs", {}).get("provider") == _PROGRAM:
        # botocore quotes all that it wrote to stderr, which may be what it should have written to stdout.
        return "the program of the profile's credential_process failed (run it by hand to see why)"
    return redacted_line(error)


# Older botocores know no `aws login`, and none of its errors.
_LOGIN_ERROR: Final[type[Exception]] = getattr(botocore, "LoginError", botocore.SSOError)

# The first kind that matches counts. A ResponseParserError is not a BotoCoreError; its text quotes the whole response.
_Make = Callable[[Exception, str, str], errors.TransferError]
_EXCEPTIONS: Final[tuple[tuple[tuple[type[Exception], ...], _Make], ...]] = (
    (
        (botocore.NoCredentialsError, botocore.PartialCredentialsError, botocore.NoAuthTokenError),
        _no_credentials,
    ),
    ((botocore.SSOError, _LOGIN_ERROR, botocore.TokenRetrievalError), _signed_out),
    (
        (botocore.CredentialRetrievalError, botocore.MetadataRetrievalError),
        lambda error, _, service: errors.CredentialsUnavailable(service=service, detail=_unavailable(error)),
    ),
    (
        (ResponseParserError, botocore.ChecksumError, botocore.FlexibleChecksumError),
        lambda _, resource, service: unreadable(service, resource),
    ),
    (
        (botocore.ConnectionError, botocore.HTTPClientError, botocore.IncompleteReadError),
        lambda error, resource, service: network_error(service, resource, error),
    ),
    (
        (botocore.BotoCoreError,),
        lambda error, _, service: errors.UsageError(
            detail=f"{service} cannot be used with this connection: {redacted_line(error)}"
        ),
    ),
)


def response_error(
    status: int, document: bytes, headers: Mapping[str, str], *, bucket: str, key: str, etag: str
) -> errors.TransferError:
    """Return the error that an unsuccessful response means, by its document.

    Args:
        status: HTTP status.
        document: The body, or its beginning.
        headers: The headers by lower-case name.
        bucket: The requested bucket.
        key: The requested key.
        etag: The ETag that was required.
    """
    return s3_error(refusal_of(status, document, headers), bucket=bucket, key=key, etag=etag)


def refusal_of(status: int, document: bytes, headers: Mapping[str, str]) -> Refusal:
    """Return what an unsuccessful response says; of a document that cannot be parsed, its code.

    Args:
        status: HTTP status.
        document: The body, or its beginning.
        headers: The headers by lower-case name.
    """
    told = error_document(document)
    if told is None:
        match = _CODE.search(document) if status != 404 else None
        told = {"Code": match[1].decode("ascii")} if match else {}
    return Refusal(status, told.get("Code", ""), told.get("Message", ""), headers)


def check_documents(client: Any) -> None:
    """Make a client see no document in a refusal that is not S3's: it fails at documents that it does not expect.

    A document that is cut short is a lost connection; the client itself would take it for S3's failure with status 500.
    """
    # The wildcard comes before botocore's own handler, and after that of a listing, whose keys need not be XML.
    client.meta.events.register_first("before-parse.*", _check_document, unique_id="S3ToAzureDocuments")


def _check_document(response_dict: dict[str, Any], **_: Any) -> None:
    body = response_dict["body"]
    if response_dict["status_code"] >= 300:
        response_dict["body"] = body if is_error_document(body) else b""
    elif body and b"<!DOCTYPE" not in body and parsed(body) is None:
        raise ResponseParserError


def is_error_document(document: bytes) -> bool:
    """Return whether the document is S3's own: complete XML whose root is ``Error``. One with a DTD is not."""
    return error_document(document) is not None


def _uri(bucket: str, key: str | None) -> str:
    return object_uri(bucket) if key is None else repr(object_uri(bucket, key))
