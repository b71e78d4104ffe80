"""What both services' errors have in common: waits asked for, failures below HTTP, secrets that stay behind."""

import http.client
import ssl

import pytest
import requests
import urllib3

from s3_to_azure.model import errors
from s3_to_azure.stores.azure.responses import azure_error, azure_errors
from s3_to_azure.stores.s3.responses import s3_error, s3_errors


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


def test_our_own_errors_pass() -> None:
    """What is the engine's already is not translated again."""
    for edge in (s3_errors(bucket="b", key="k"), azure_errors(container="c", blob="b")):
        with pytest.raises(errors.BlobLeased), edge:
            raise errors.BlobLeased(blob="b", container="c", code="x")
