"""Every code that the services are known to answer, and what it means to the engine."""

import http.client
import ssl

import botocore.exceptions
import pytest
import requests
import urllib3
from azure.core.exceptions import AzureError, ServiceRequestError, ServiceResponseError
from botocore.parsers import ResponseParserError

from s3_to_azure.engine import errors
from s3_to_azure.stores.sdk_errors import azure_error, azure_errors, s3_error, s3_errors

S3_CODES: list[tuple[int, str, type[errors.TransferError]]] = [
    (503, "SlowDown", errors.Throttled),
    (503, "503", errors.Throttled),
    (503, "ServiceUnavailable", errors.Throttled),
    (429, "429", errors.Throttled),
    (400, "RequestLimitExceeded", errors.Throttled),
    (500, "InternalError", errors.ServerFailed),
    (502, "502", errors.ServerFailed),
    (504, "504", errors.ServerFailed),
    (501, "NotImplemented", errors.ServerFailed),
    (400, "RequestTimeout", errors.ServerFailed),
    (404, "NoSuchBucket", errors.BucketNotFound),
    (404, "NoSuchKey", errors.ObjectNotFound),
    (404, "404", errors.ObjectNotFound),
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
    (301, "PermanentRedirect", errors.UnexpectedAnswer),
    (307, "TemporaryRedirect", errors.UnexpectedAnswer),
    (416, "InvalidRange", errors.UnexpectedAnswer),
    (418, "Teapot", errors.UnexpectedAnswer),
    (0, "", errors.UnexpectedAnswer),
]

AZURE_CODES: list[tuple[int, str, type[errors.TransferError]]] = [
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
    (400, "Crc64Mismatch", errors.DamagedOnTheWay),
    (400, "Md5Mismatch", errors.DamagedOnTheWay),
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
    (307, "", errors.UnexpectedAnswer),
    (418, "Teapot", errors.UnexpectedAnswer),
]


@pytest.mark.parametrize(("status", "code", "kind"), S3_CODES)
def test_s3_codes(status: int, code: str, kind: type[errors.TransferError]) -> None:
    """Each answer is the class that says whether a retry helps."""
    assert type(s3_error(status, code, bucket="b", key="k")) is kind


@pytest.mark.parametrize(("status", "code", "kind"), AZURE_CODES)
def test_azure_codes(status: int, code: str, kind: type[errors.TransferError]) -> None:
    """Each answer is the class that says whether a retry helps."""
    assert type(azure_error(status, code, container="c", blob="b")) is kind


def test_missing_bucket_without_a_code() -> None:
    """A 404 on the bucket itself needs no code."""
    assert isinstance(s3_error(404, "404", bucket="b", key=None), errors.BucketNotFound)


@pytest.mark.parametrize(
    ("text", "wish"), [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), (None, None)]
)
def test_retry_after(text: str | None, wish: float | None) -> None:
    """Seconds are honoured; a date or noise is no wish."""
    for error in (
        s3_error(503, "SlowDown", bucket="b", key="k", retry_after=text),
        azure_error(503, "ServerBusy", container="c", blob="b", retry_after=text),
    ):
        assert isinstance(error, errors.Throttled)
        assert error.retry_after_s == wish


SECRET = "http://h/c/b?comp=block&sig=SECRET%2Bsig"


@pytest.mark.parametrize(
    "raised",
    [
        requests.ConnectionError(SECRET),
        requests.ReadTimeout(SECRET),
        urllib3.exceptions.ProtocolError(SECRET),
        http.client.IncompleteRead(b"abc", 3),
        http.client.BadStatusLine(SECRET),
        ConnectionResetError(SECRET),
        TimeoutError(SECRET),
        OSError(SECRET),
    ],
    ids=lambda error: type(error).__name__,
)
def test_network_errors_are_transient_and_redacted(raised: Exception) -> None:
    """Whatever layer they come from; the original does not travel on."""
    with pytest.raises(errors.ConnectionFailed) as from_s3, s3_errors(bucket="b", key="k"):
        raise raised
    with pytest.raises(errors.ConnectionFailed) as from_azure, azure_errors(container="c", blob="b"):
        raise raised
    for caught in (from_s3, from_azure):
        assert "SECRET" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


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
    """Botocore's tree has several roots; each of them may pass by itself."""
    with pytest.raises(errors.TransientError) as caught, s3_errors(bucket="b", key="k"):
        raise raised
    assert "<Secret>" not in str(caught.value)


@pytest.mark.parametrize("raised", [ServiceRequestError("x"), ServiceResponseError("x"), AzureError("x")])
def test_azure_core_errors_are_transient(raised: Exception) -> None:
    """An error without an answer may pass by itself."""
    with pytest.raises(errors.ConnectionFailed), azure_errors(container="c", blob="b"):
        raise raised


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_certificates_are_found_below_other_errors(depth: int) -> None:
    """A refused certificate is permanent however deep the libraries have wrapped it."""
    error: BaseException = ssl.SSLCertVerificationError(1, "certificate verify failed")
    for _ in range(depth):
        wrapped = requests.exceptions.SSLError(error)
        wrapped.__context__ = error
        error = wrapped
    with pytest.raises(errors.CertificateRefused), s3_errors(bucket="b", key="k"):
        raise error


def test_missing_credentials() -> None:
    """No credentials at all is a connection that is missing, with its cure."""
    with pytest.raises(errors.ConnectionMissing), s3_errors(bucket="b", key="k"):
        raise botocore.exceptions.NoCredentialsError


def test_our_own_errors_pass() -> None:
    """What is the engine's already is not translated again."""
    for edge in (s3_errors(bucket="b", key="k"), azure_errors(container="c", blob="b")):
        with pytest.raises(errors.BlobLeased), edge:
            raise errors.BlobLeased(blob="b", container="c", code="x")
