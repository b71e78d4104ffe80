"""Secrets in log lines, in every form in which the libraries write them."""

import logging

import pytest

from s3_to_azure.stores.http.errors import protect_logs, redact

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
    ],
)
def test_masked(text: str) -> None:
    """The secret is gone, and something of the line is left."""
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
    ],
)
def test_left_alone(text: str) -> None:
    """What is no secret stays readable."""
    assert redact(text) == text


def test_loggers_of_the_libraries_are_protected(caplog: pytest.LogCaptureFixture) -> None:
    """Message, arguments and traceback, on the loggers that exist and on their children."""
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
