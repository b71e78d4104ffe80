"""Redaction in every form in which the libraries log secrets, and translation of network errors for both services."""

import errno
import http.client
import logging
import os
import ssl

import pytest
import requests
import urllib3

from s3_to_azure.model import errors
from s3_to_azure.stores.azure.responses import azure_error, azure_errors
from s3_to_azure.stores.http.errors import network_error, protect_logs, redact
from s3_to_azure.stores.s3.responses import s3_error, s3_errors

SECRET = "SeCrEt0123456789abcdefSeCrEt0123456789abcdefSeCrEt0123456789abcd"
HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text",
    [
        f"https://a.blob.core.windows.net/c/b?sv=2025&sig={SECRET}&se=x",
        f"?sig={SECRET}",
        f"sig={SECRET}",
        f"/k?X-Amz-Signature={HEX}&X-Amz-Credential=x",
        f"GET /k?X-Amz-Security-Token={SECRET} HTTP/1.1",
        f"AWS4-HMAC-SHA256 Credential=AK/2026, SignedHeaders=host, Signature={HEX}",
        f"Calculated signature: Signature:\n{HEX}",
        f"DefaultEndpointsProtocol=https;AccountName=a;AccountKey={SECRET}==;EndpointSuffix=x",
        f"BlobEndpoint=x;SharedAccessSignature=sv=1&sig={SECRET}",
        f"{{'Authorization': 'SharedKey account:{SECRET}='}}",
        f"{{'Authorization': b'AWS4-HMAC-SHA256 Credential=x, Signature={HEX}'}}",
        f"Authorization: Bearer {SECRET}",
        f"header: SharedKey account:{SECRET}=",
        f"{{'X-Amz-Security-Token': '{SECRET}'}}",
        f"x-amz-security-token:{SECRET}\n",
        f"aws_secret_access_key={SECRET}",
        f"<AssumeRoleResult><Credentials><SecretAccessKey>{SECRET}</SecretAccessKey><Expiration>2030</Expiration>",
        f"b'<sts:SessionToken>{SECRET}//==</sts:SessionToken>'",
        f"body={{'Action': 'AssumeRole', 'ExternalId': '{SECRET}', 'Version': '2011-06-15'}}",
        f"Action=AssumeRoleWithWebIdentity&WebIdentityToken={SECRET}&Version=2011-06-15",
        f'{{"access_token":"{SECRET}","expires_in":3599}}',
        f"{{'client_secret': '{SECRET}', 'grant_type': 'client_credentials'}}",
        f"aws_session_token = {SECRET}",
        f"Connecting to proxy http://user:{SECRET}@proxy.example:3128",
        f"https://user:pa#{SECRET}@store.example:9000/bucket",
    ],
)
def test_secrets_are_masked(text: str) -> None:
    """The secret is removed, and the rest of the line is kept."""
    clean = redact(text)
    assert SECRET not in clean
    assert HEX not in clean
    assert "***" in clean
    assert redact(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "'a/b': 9,812 of 25,600 blocks (76.6 GiB) are already in Azure; 123.4 GiB to send",
        "PUT /container/blob?comp=block&blockid=QWZEdzhQRHc%3D HTTP/1.1 201 0",
        "signature does not match",
        "design=1&assign=2",
        "GET http://127.0.0.1:9000/bucket/user@example.com HTTP/1.1",
        "token bucket: passwords are not shown, secret keys neither",
    ],
)
def test_other_text_is_unchanged(text: str) -> None:
    """Text that only resembles a secret stays readable."""
    assert redact(text) == text


def test_loggers_of_the_libraries_are_protected(caplog: pytest.LogCaptureFixture) -> None:
    """Message, arguments and traceback, on existing loggers and on their children."""
    child = logging.getLogger("urllib3.connectionpool")
    protect_logs()
    protect_logs()
    assert sum("Redacting" in type(item).__name__ for item in child.filters) == 1
    with caplog.at_level(logging.DEBUG):
        child.debug('%s "%s %s HTTP/1.1" %s', "http://h", "GET", f"/k?sig={SECRET}", 200)
        try:
            raise ValueError(f"failed: ?sig={SECRET}")
        except ValueError:
            child.exception("it failed")
    text = caplog.text
    assert SECRET not in text
    assert '"GET /k?sig=*** HTTP/1.1" 200' in text
    assert "ValueError: failed" in text


@pytest.mark.parametrize(
    ("text", "expected"), [("3", 3.0), ("0.5", 0.5), ("-1", 0.0), ("Wed, 21 Oct 2026 07:28:00 GMT", None), (None, None)]
)
def test_retry_after_is_a_number_of_seconds(text: str | None, expected: float | None) -> None:
    """A date, or no number, is ignored."""
    for error in (
        s3_error(503, "SlowDown", bucket="b", key="k", retry_after=text),
        azure_error(503, "ServerBusy", container="c", blob="b", retry_after=text),
    ):
        assert isinstance(error, errors.Throttled)
        assert error.retry_after_s == expected


SECRET_TEXT = "http://h/c/b?comp=block&sig=SECRET_TEXT%2Bsig"


@pytest.mark.parametrize(
    "raised",
    [
        requests.ConnectionError(SECRET_TEXT),
        requests.ReadTimeout(SECRET_TEXT),
        urllib3.exceptions.ProtocolError(SECRET_TEXT),
        http.client.IncompleteRead(b"abc", 3),
        http.client.BadStatusLine(SECRET_TEXT),
        ConnectionResetError(SECRET_TEXT),
        TimeoutError(SECRET_TEXT),
        OSError(SECRET_TEXT),
    ],
    ids=lambda error: type(error).__name__,
)
def test_network_errors_are_transient_and_redacted(raised: Exception) -> None:
    """From whichever library; the original exception is not chained."""
    with pytest.raises(errors.ConnectionFailed) as from_s3, s3_errors(bucket="b", key="k"):
        raise raised
    with pytest.raises(errors.ConnectionFailed) as from_azure, azure_errors(container="c", blob="b"):
        raise raised
    for caught in (from_s3, from_azure):
        assert "SECRET_TEXT" not in str(caught.value)
        assert caught.value.__cause__ is None
        assert caught.value.__suppress_context__


@pytest.mark.parametrize("depth", [0, 1, 3])
def test_refused_certificate_is_found_below_other_errors(depth: int) -> None:
    """It is permanent, however deeply the libraries have wrapped it."""
    error: BaseException = ssl.SSLCertVerificationError(1, "certificate verify failed")
    for _ in range(depth):
        wrapped = requests.exceptions.SSLError(error)
        wrapped.__context__ = error
        error = wrapped
    with pytest.raises(errors.CertificateRefused), s3_errors(bucket="b", key="k"):
        raise error


def test_our_own_errors_are_not_translated() -> None:
    """They pass both translations unchanged."""
    for edge in (s3_errors(bucket="b", key="k"), azure_errors(container="c", blob="b")):
        with pytest.raises(errors.BlobLeased), edge:
            raise errors.BlobLeased(blob="b", container="c", code="x")


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_are_named(number: int) -> None:
    """The error says which limit to raise, however deep a library has wrapped it, and a retry may help."""
    cause = OSError(number, os.strerror(number))
    wrapped = requests.ConnectionError(urllib3.exceptions.NewConnectionError(None, "failed"))  # type: ignore[arg-type]
    wrapped.__cause__ = cause
    for error in (cause, wrapped):
        found = network_error("S3", "'k'", error)
        assert isinstance(found, errors.ConnectionFailed)
        assert "too many open files; raise the limit (ulimit -n), or lower objects_at_once" in str(found)
