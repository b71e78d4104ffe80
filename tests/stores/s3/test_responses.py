"""Every error code that S3 is known to return, and the SDK's exceptions, as our errors."""

import botocore.exceptions
import pytest
from botocore.parsers import ResponseParserError

from s3_to_azure.model import errors
from s3_to_azure.stores.s3.responses import response_error, s3_error, s3_errors

CODES: list[tuple[int, str, type[errors.TransferError]]] = [
    (503, "SlowDown", errors.Throttled),
    (503, "503", errors.Throttled),
    (503, "ServiceUnavailable", errors.Throttled),
    (429, "429", errors.Throttled),
    (400, "RequestLimitExceeded", errors.Throttled),
    (500, "InternalError", errors.ServerFailed),
    (502, "502", errors.ServerFailed),
    (504, "504", errors.ServerFailed),
    (501, "NotImplemented", errors.RequestNotSupported),
    (405, "MethodNotAllowed", errors.RequestNotSupported),
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
    assert type(s3_error(status, code, bucket="b", key="k")) is kind


def test_missing_bucket_without_a_code() -> None:
    """A 404 on the bucket itself needs no code."""
    assert isinstance(s3_error(404, "404", bucket="b", key=None), errors.BucketNotFound)


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
    error = response_error(404, document, bucket="b", key="k", etag="e", retry_after=None)
    assert type(error) is kind
