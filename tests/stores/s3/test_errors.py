"""Every error code that S3 is known to return, and the SDK's exceptions, as our errors."""

from types import SimpleNamespace
from typing import Any

import boto3
import botocore.exceptions
import pytest
from botocore.credentials import AssumeRoleCredentialFetcher, Credentials, ProcessProvider
from botocore.parsers import ResponseParserError

from s3_to_azure.model import errors
from s3_to_azure.stores.http.refusals import Refusal
from s3_to_azure.stores.s3.errors import (
    check_documents,
    response_error,
    s3_error,
    s3_errors,
    s3_settings_errors,
)
from s3_to_azure.stores.s3.options import botocore_config
from tests.fakes.scripted_server import scripted_server

KEYS: Any = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "config": botocore_config(1)}

CODES: list[tuple[int, str, type[errors.TransferError]]] = [
    (503, "SlowDown", errors.Throttled),
    (503, "503", errors.Throttled),
    (503, "ServiceUnavailable", errors.Throttled),
    (429, "429", errors.Throttled),
    (400, "RequestLimitExceeded", errors.Throttled),
    (500, "InternalError", errors.ServerFailed),
    (502, "502", errors.ServerFailed),
    (421, "421", errors.ServerFailed),
    (425, "425", errors.ServerFailed),
    (407, "407", errors.ProxyRefused),
    (504, "504", errors.ServerFailed),
    (501, "NotImplemented", errors.RequestNotSupported),
    (405, "MethodNotAllowed", errors.RequestNotSupported),
    (400, "NotImplemented", errors.RequestNotSupported),
    (409, "OperationAborted", errors.ServerFailed),
    (400, "KMS.ThrottlingException", errors.Throttled),
    (400, "KMS.KMSInvalidStateException", errors.KeyManagementDenied),
    (400, "RequestTimeout", errors.ServerFailed),
    (404, "NoSuchBucket", errors.BucketNotFound),
    (404, "NoSuchKey", errors.ObjectNotFound),
    (404, "404", errors.UnexpectedResponse),
    (404, "NotFound", errors.UnexpectedResponse),
    (404, "NoSuchVersion", errors.ObjectNotFound),
    (412, "PreconditionFailed", errors.SourceChanged),
    (403, "InvalidObjectState", errors.ObjectArchived),
    (400, "KMS.DisabledException", errors.KeyManagementDenied),
    (403, "RequestTimeTooSkewed", errors.ClockSkewed),
    (403, "InvalidAccessKeyId", errors.CredentialsRefused),
    (403, "SignatureDoesNotMatch", errors.CredentialsRefused),
    (400, "ExpiredToken", errors.CredentialsRefused),
    (400, "InvalidToken", errors.CredentialsRefused),
    (401, "401", errors.CredentialsRefused),
    (403, "AccessDenied", errors.AccessDenied),
    (403, "403", errors.AccessDenied),
    (403, "AllAccessDisabled", errors.AccessDenied),
    (301, "PermanentRedirect", errors.UnexpectedResponse),
    (307, "TemporaryRedirect", errors.UnexpectedResponse),
    (416, "InvalidRange", errors.UnexpectedResponse),
    (418, "Teapot", errors.UnexpectedResponse),
    (0, "", errors.UnexpectedResponse),
]


@pytest.mark.parametrize(("status", "code", "kind"), CODES)
def test_codes(status: int, code: str, kind: type[errors.TransferError]) -> None:
    """The error's class decides whether a retry can help."""
    assert type(s3_error(Refusal(status, code), bucket="b", key="k")) is kind


def test_condition_of_a_request_without_one_is_no_change_of_an_object() -> None:
    """No request about a bucket has a condition, so something else answered 412."""
    error = s3_error(Refusal(412, "PreconditionFailed"), bucket="b", key=None)
    assert isinstance(error, errors.UnexpectedResponse)
    assert "None" not in str(error)


def test_missing_bucket_without_a_code() -> None:
    """A 404 on the bucket itself needs no code."""
    assert isinstance(s3_error(Refusal(404, "404"), bucket="b", key=None), errors.BucketNotFound)


@pytest.mark.parametrize(
    "raised",
    [
        botocore.exceptions.EndpointConnectionError(endpoint_url="http://h"),
        botocore.exceptions.ReadTimeoutError(endpoint_url="http://h"),
        botocore.exceptions.ConnectionClosedError(endpoint_url="http://h"),
        botocore.exceptions.IncompleteReadError(actual_bytes=1, expected_bytes=2),
        ResponseParserError("<Secret>"),
    ],
    ids=lambda error: type(error).__name__,
)
def test_botocore_network_errors_are_transient(raised: Exception) -> None:
    """Botocore's exceptions have several base classes."""
    with pytest.raises(errors.TransientError) as caught, s3_errors(bucket="b", key="k"):
        raise raised
    assert "<Secret>" not in str(caught.value)


def test_missing_credentials() -> None:
    """The error says what to set."""
    with pytest.raises(errors.ConnectionMissing), s3_errors(bucket="b", key="k"):
        raise botocore.exceptions.NoCredentialsError


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        (b"<Error><Code>NoSuchKey</Code></Error>", errors.ObjectNotFound),
        (b'<?xml version="1.0"?><Error xmlns="urn:x"><Code>NoSuchVersion</Code></Error>', errors.ObjectNotFound),
        (b"", errors.UnexpectedResponse),
        (b"404 page not found\n", errors.UnexpectedResponse),
        (b"<html><h1>Not Found</h1></html>", errors.UnexpectedResponse),
        (b"<html><Code>NoSuchKey</Code></html>", errors.UnexpectedResponse),
        (b"<Error><Code>NoSuchKey</Code>", errors.UnexpectedResponse),
        (b"<!DOCTYPE x><Error><Code>NoSuchKey</Code></Error>", errors.UnexpectedResponse),
        (b"<Error><Code>NoSuchUpload</Code></Error>", errors.UnexpectedResponse),
    ],
)
def test_only_s3s_own_document_says_that_an_object_does_not_exist(
    document: bytes, kind: type[errors.TransferError]
) -> None:
    """Every balancer answers 404 for a backend that it does not know."""
    error = response_error(404, document, {}, bucket="b", key="k", etag="e")
    assert type(error) is kind


USER = "User: arn:aws:sts::111122223333:assumed-role/airflow/worker is not authorized to perform:"
REFUSALS: list[tuple[int, str, str, type[errors.TransferError], str]] = [
    (403, "AccessDenied", f"{USER} kms:Decrypt on resource: arn:aws:kms:key/1", errors.KeyManagementDenied, "kms:Decr"),
    (
        403,
        "AccessDenied",
        "The ciphertext refers to a customer master key that does not exist, does not exist in this region, or ...",
        errors.KeyManagementDenied,
        "is enabled",
    ),
    (
        400,
        "KMS.KMSInvalidStateException",
        "arn:aws:kms:key/1 is pending deletion.",
        errors.KeyManagementDenied,
        "is pending deletion",
    ),
    (
        403,
        "AccessDenied",
        f'{USER} s3:GetObject on resource: "arn:aws:s3:::b/kms:k" because no identity-based policy allows the action',
        errors.AccessDenied,
        "Grant the identity of this connection s3:GetObject",
    ),
    (
        403,
        "AccessDenied",
        f"{USER} s3:GetObject with an explicit deny in a service control policy",
        errors.AccessDenied,
        "A service control policy denies this explicitly",
    ),
    (
        403,
        "AccessDenied",
        f"{USER} s3:GetObject with an explicit deny in a resource-based policy",
        errors.AccessDenied,
        "change that policy",
    ),
    (
        403,
        "AccessDenied",
        f"{USER} s3:GetObject because no VPC endpoint policy allows the s3:GetObject action",
        errors.AccessDenied,
        "The VPC endpoint policy does not allow this",
    ),
    (
        403,
        "AccessDenied",
        f"{USER} s3:GetObject because no permissions boundary allows the s3:GetObject action",
        errors.AccessDenied,
        "The permissions boundary does not allow this",
    ),
    (
        400,
        "UserProjectMissing",
        "Bucket is a requester pays bucket but no user project provided.",
        errors.AccessDenied,
        "--request-payer",
    ),
    (
        403,
        "AccessDenied",
        "Cannot download file, download bandwidth or transaction (Class B) cap exceeded.",
        errors.AccessDenied,
        "A limit of the source account is used up",
    ),
    (403, "AllAccessDisabled", "All access to this object has been disabled", errors.AccessDenied, "ask it why"),
    (403, "LambdaPermissionError", "The caller is not authorized", errors.AccessDenied, "Object Lambda access point"),
    (400, "LambdaTimeout", "", errors.ServerFailed, "retried"),
    (403, "AccessDenied", "Access Denied", errors.AccessDenied, "Grant the identity of this connection"),
    (403, "", "", errors.AccessDenied, "a proxy, a firewall or another program gave it"),
    (400, "ExpiredToken", "The provided token has expired.", errors.CredentialsRefused, "renew its token"),
    (403, "ExpiredTokenException", "", errors.CredentialsRefused, "renew its token"),
    (400, "InvalidToken", "The provided token is malformed", errors.CredentialsRefused, "must be complete"),
    (403, "InvalidAccessKeyId", "", errors.CredentialsRefused, "knows no such access key"),
    (403, "SignatureDoesNotMatch", "", errors.CredentialsRefused, "Check the secret key"),
    (
        400,
        "AuthorizationHeaderMalformed",
        "The authorization header is malformed; the region 'us-east-1' is wrong; expecting 'eu-west-1'",
        errors.CredentialsRefused,
        "Set the region of this connection (region_name, or AWS_DEFAULT_REGION) to eu-west-1.",
    ),
    (
        403,
        "SignatureDoesNotMatch",
        "Signature expired: 20260101T000000Z is now earlier than 20260101T010000Z",
        errors.ClockSkewed,
        "clock",
    ),
    (
        400,
        "InvalidRequest",
        "The object was stored using a form of Server Side Encryption. The correct parameters must be provided.",
        errors.CustomerKeyRequired,
        "sse_customer_key",
    ),
    (
        400,
        "InvalidRequest",
        "The encryption parameters are not applicable to this object.",
        errors.UnexpectedResponse,
        "not applicable to this object",
    ),
    (400, "InvalidRequest", "TLS 1.2 is required.", errors.UnexpectedResponse, "TLS 1.2 is required"),
]


@pytest.mark.parametrize(("status", "code", "message", "kind", "cure"), REFUSALS)
def test_the_services_words_decide_what_to_do(
    status: int, code: str, message: str, kind: type[errors.TransferError], cure: str
) -> None:
    """One status and one code have many causes, and each has another cure."""
    error = s3_error(Refusal(status, code, message), bucket="b", key="k")
    assert type(error) is kind
    assert cure in str(error)


def test_a_redirect_names_the_region_of_the_bucket() -> None:
    """It is the setting to change."""
    refusal = Refusal(301, "PermanentRedirect", headers={"x-amz-bucket-region": "eu-west-1"})
    assert "the bucket is in eu-west-1" in str(s3_error(refusal, bucket="b", key="k"))


@pytest.mark.parametrize(("marker", "kind"), [("true", errors.ObjectNotFound), ("", errors.RequestNotSupported)])
def test_a_delete_marker_is_a_missing_object(marker: str, kind: type[errors.TransferError]) -> None:
    """S3 answers 405 for a version that is a delete marker; other stores answer 405 for what they cannot do."""
    refusal = Refusal(405, "MethodNotAllowed", headers={"x-amz-delete-marker": marker})
    assert type(s3_error(refusal, bucket="b", key="k")) is kind


def test_the_document_of_a_response_gives_code_and_words() -> None:
    """Also with a namespace; a document cut short still gives its code."""
    document = b'<Error xmlns="urn:x"><Code>AccessDenied</Code><Message>to perform: kms:Decrypt</Message></Error>'
    kinds = [
        type(response_error(403, body, {}, bucket="b", key="k", etag="e"))
        for body in (document, b"<Error><Code>InvalidAccessKeyId</Code><Mess", b"<html>Forbidden</html>")
    ]
    assert kinds == [errors.KeyManagementDenied, errors.CredentialsRefused, errors.AccessDenied]


def _client_error(operation: str, code: str, message: str, status: int) -> botocore.exceptions.ClientError:
    response = {"Error": {"Code": code, "Message": message}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return botocore.exceptions.ClientError(response, operation)


@pytest.mark.parametrize(("operation", "cure"), [("ListObjectsV2", "a proxy"), ("HeadObject", "Grant the identity")])
def test_a_403_with_another_document_is_not_s3s(operation: str, cure: str) -> None:
    """Only a HEAD has no document."""
    with pytest.raises(errors.AccessDenied, match=cure), s3_errors(bucket="b", key="k"):
        raise _client_error(operation, "403", "Forbidden", 403)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (botocore.exceptions.ParamValidationError(report="x"), errors.UsageError),
        (botocore.exceptions.ProfileNotFound(profile="x"), errors.UsageError),
        (botocore.exceptions.ConfigParseError(path="x", error="x"), errors.UsageError),
        (botocore.exceptions.InvalidRegionError(region_name="us east"), errors.UsageError),
        (botocore.exceptions.EndpointProviderError(msg="x"), errors.UsageError),
        (botocore.exceptions.InfiniteLoopConfigError(source_profile="a", visited_profiles=["b"]), errors.UsageError),
        (botocore.exceptions.InvalidProxiesConfigError(), errors.UsageError),
        (botocore.exceptions.PartialCredentialsError(provider="x", cred_var="y"), errors.ConnectionMissing),
        (botocore.exceptions.SSOTokenLoadError(error_msg="expired"), errors.ConnectionMissing),
        (botocore.exceptions.UnauthorizedSSOTokenError(), errors.ConnectionMissing),
        (botocore.exceptions.TokenRetrievalError(provider="sso", error_msg="x"), errors.ConnectionMissing),
        (
            botocore.exceptions.CredentialRetrievalError(provider="iam-role", error_msg="x"),
            errors.CredentialsUnavailable,
        ),
        (botocore.exceptions.MetadataRetrievalError(error_msg="503"), errors.CredentialsUnavailable),
        (botocore.exceptions.FlexibleChecksumError(error_msg="x"), errors.ConnectionFailed),
        (botocore.exceptions.ReadTimeoutError(endpoint_url="http://h"), errors.ConnectionFailed),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value.__name__,
)
def test_every_exception_of_botocore_is_one_of_ours(raised: Exception, kind: type[errors.TransferError]) -> None:
    """During a request, and while the settings are read, when only the source of credentials can have been asked."""
    with pytest.raises(errors.TransferError) as caught, s3_errors(bucket="b", key="k"):
        raise raised
    assert type(caught.value) is kind
    with pytest.raises(errors.TransferError) as caught, s3_settings_errors():
        raise raised
    assert type(caught.value) is (errors.CredentialsUnavailable if kind is errors.ConnectionFailed else kind)


def test_a_header_with_a_line_end_is_a_usage_error_that_does_not_quote_it() -> None:
    """Botocore wraps the HTTP client's exception, whose text quotes the value."""

    def send() -> None:
        try:
            raise ValueError("Invalid header value b'SECRET_TEXT\\n'")
        except ValueError as error:
            raise botocore.exceptions.HTTPClientError(error=error)  # noqa: B904 - as botocore does

    with pytest.raises(errors.UsageError, match="line ends") as caught, s3_errors(bucket="b", key="k"):
        send()
    assert "SECRET_TEXT" not in str(caught.value)


@pytest.mark.parametrize(
    "raised", [KeyError("conn"), ValueError("x"), AttributeError("x"), RuntimeError("x")], ids=repr
)
def test_what_goes_wrong_while_settings_are_read_is_a_usage_error(raised: Exception) -> None:
    """No request was sent, so no response can be the cause."""
    with pytest.raises(errors.UsageError, match=type(raised).__name__), s3_settings_errors():
        raise raised


def test_exceptions_with_other_causes_pass_the_reading_of_settings() -> None:
    """Airflow's own failures are no fault of the connection."""
    with pytest.raises(LookupError), s3_settings_errors(LookupError):
        raise LookupError


def _credentials_from(program: str) -> Any:
    """Load credentials from a program as a profile names it."""
    provider = ProcessProvider("p", lambda: {"profiles": {"p": {"credential_process": program}}})
    return provider.load()


@pytest.mark.parametrize(
    ("program", "kind"),
    [
        ("/nowhere/get-keys", errors.UsageError),
        ("/bin/echo please sign in", errors.UsageError),
        ("/bin/echo '{}'", errors.CredentialsUnavailable),
        ("/bin/echo []", errors.UsageError),
        ("/bin/echo '{\"Version\": 1}'", errors.CredentialsUnavailable),
        ("/bin/false", errors.CredentialsUnavailable),
    ],
)
def test_a_credential_program_that_fails_is_no_answer_of_s3(program: str, kind: type[errors.TransferError]) -> None:
    """Where the exception was raised says whose fault it is: credentials are also renewed in the middle of a copy."""
    with pytest.raises(errors.TransferError) as caught, s3_errors(bucket="b", key="k"):
        _credentials_from(program)
    assert type(caught.value) is kind
    assert "endpoint" not in str(caught.value)


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (403, "AccessDenied", errors.CredentialsRefused),
        (400, "ExpiredTokenException", errors.CredentialsRefused),
        (400, "Throttling", errors.CredentialsUnavailable),
        (503, "ServiceUnavailable", errors.CredentialsUnavailable),
    ],
)
def test_a_role_that_cannot_be_assumed_is_not_blamed_on_the_bucket(
    status: int, code: str, kind: type[errors.TransferError]
) -> None:
    """STS is called from within a request to S3."""

    def refuse(**_: Any) -> Any:
        raise _client_error("AssumeRole", code, "x", status)

    fetcher = AssumeRoleCredentialFetcher(
        lambda *_args, **_kwargs: SimpleNamespace(assume_role=refuse), Credentials("a", "b"), "arn:aws:iam::1:role/r"
    )
    with pytest.raises(errors.TransferError) as caught, s3_errors(bucket="b", key="k"):
        fetcher.fetch_credentials()
    assert type(caught.value) is kind
    assert "s3:GetObject" not in str(caught.value)


def test_what_a_program_wrote_to_stderr_is_not_quoted() -> None:
    """It may have written the credentials there."""
    error = botocore.exceptions.CredentialRetrievalError(provider="custom-process", error_msg="SECRET-SECRET is wrong")
    with pytest.raises(errors.CredentialsUnavailable, match="run it by hand") as caught, s3_errors(bucket="b", key="k"):
        raise error
    assert "SECRET-SECRET" not in str(caught.value)


@pytest.mark.parametrize(
    "document",
    [
        b"<html><p>a</p><p>b</p></html>",
        b"<ListBucketResult><Contents/><Contents/></ListBucketResult>",
        b"<a>" * 5_000 + b"</a>" * 5_000,
        b"{}",
        b"busy",
        b"",
    ],
    ids=lambda document: document[:20].decode(),
)
def test_refusal_with_another_document_counts_by_its_status(document: bytes) -> None:
    """Botocore fails at documents that it does not expect; a balancer's page is still a 503."""
    reply = b"HTTP/1.1 503 Busy\r\nContent-Length: %d\r\n\r\n%s" % (len(document), document)
    with scripted_server(lambda _: [reply]) as server:
        client = boto3.client("s3", "us-east-1", endpoint_url=server.url, **KEYS)
        check_documents(client)
        for send in (client.list_objects_v2, client.list_objects, client.get_bucket_acl):
            with pytest.raises(errors.Throttled), s3_errors(bucket="b", key=None):
                send(Bucket="b")


@pytest.mark.parametrize("document", [b"<ListBucketResult><Contents>", b"<html><br></html>", b"busy"])
def test_document_that_is_cut_short_is_a_lost_connection(document: bytes) -> None:
    """Botocore makes a failure of S3 of it, with status 500."""
    reply = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(document), document)
    with scripted_server(lambda _: [reply]) as server:
        client = boto3.client("s3", "us-east-1", endpoint_url=server.url, **KEYS)
        check_documents(client)
        for send in (client.list_objects_v2, client.get_bucket_acl):
            with (
                pytest.raises(errors.ConnectionFailed, match="incomplete, or not from S3"),
                s3_errors(bucket="b", key=None),
            ):
                send(Bucket="b")
