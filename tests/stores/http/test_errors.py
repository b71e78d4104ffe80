"""Translation of network errors for both services."""

import errno
import http.client
import json
import os
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
import requests
import urllib3

from s3_to_azure.model import errors
from s3_to_azure.stores.azure.errors import azure_errors
from s3_to_azure.stores.http.errors import network_error
from s3_to_azure.stores.s3.errors import s3_errors
from s3_to_azure.stores.s3.options import botocore_config

KEYS = {"aws_access_key_id": "a", "aws_secret_access_key": "b", "config": botocore_config(1)}
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


def test_a_failed_connection_is_told_by_its_cause_and_its_host() -> None:
    """What the libraries wrap around it names their classes, and hides both."""
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    url = f"http://127.0.0.1:{port}/c?sig=SECRET_TEXT"
    raised = _raised(lambda: requests.get(url, timeout=5))
    with pytest.raises(errors.ConnectionFailed) as caught, azure_errors(container="c", blob="b"):
        raise raised
    assert f"ConnectionRefusedError: [Errno 111] Connection refused (127.0.0.1:{port})." in str(caught.value)
    client = boto3.client("s3", "us-east-1", endpoint_url=url.partition("/c")[0], **KEYS)
    with pytest.raises(errors.ConnectionFailed) as caught, s3_errors(bucket="b", key=None):
        client.list_buckets()
    assert f"ConnectionRefusedError: [Errno 111] Connection refused (127.0.0.1:{port})." in str(caught.value)


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


def _raised(function: Callable[[], object]) -> Exception:
    try:
        function()
    except Exception as error:  # noqa: BLE001 - whatever the library raises is what the test needs
        return error
    raise AssertionError("nothing was raised")


@pytest.mark.parametrize(
    "raised",
    [
        requests.exceptions.InvalidURL("http://[broken SECRET_TEXT"),
        requests.exceptions.InvalidHeader("SECRET_TEXT\n"),
        requests.exceptions.InvalidProxyURL("SECRET_TEXT"),
        requests.exceptions.MissingSchema("SECRET_TEXT"),
        urllib3.exceptions.LocationParseError("SECRET_TEXT"),
        http.client.InvalidURL("SECRET_TEXT\n"),
        _raised(lambda: socket.create_connection(("SECRET_TEXT" + "x" * 70, 80))),
        _raised(lambda: urlsplit("http://h:SECRET_TEXT/").port),
    ],
    ids=repr,
)
def test_what_can_never_be_sent_is_a_usage_error_that_quotes_nothing(raised: Exception) -> None:
    """A retry cannot help, and the value may be a credential with a line end."""
    for edge in (s3_errors(bucket="b", key="k"), azure_errors(container="c", blob="b")):
        with pytest.raises(errors.UsageError, match="line ends") as caught, edge:
            raise raised
        assert "SECRET_TEXT" not in str(caught.value)


def _unreadable_bundle(tmp_path: Path, text: str | None) -> Path:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    return path


@pytest.mark.parametrize(
    "text", [None, "", "no certificate", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----"]
)
def test_a_ca_bundle_that_cannot_be_used_is_a_usage_error(tmp_path: Path, text: str | None) -> None:
    """It is missing, empty, or something else: for our own connections and for those of the SDKs."""
    path = _unreadable_bundle(tmp_path, text)
    by_ssl = _raised(lambda: ssl.create_default_context(cafile=str(path)))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"https://127.0.0.1:{listening.getsockname()[1]}"
        by_requests = _raised(lambda: requests.get(url, verify=str(path), timeout=5))
    for raised in (by_ssl, by_requests):
        for edge in (s3_errors(bucket="b", key="k"), azure_errors(container="c", blob="b")):
            with pytest.raises(errors.UsageError), edge:
                raise raised


@pytest.mark.parametrize(
    "text",
    ["Tunnel connection failed: 407 Proxy Authentication Required", "the proxy answered CONNECT with status 403"],
)
def test_a_proxys_refusal_is_permanent(text: str) -> None:
    """Credentials or rules of the proxy are wrong, which no retry changes."""
    for edge in (s3_errors(bucket="b", key="k"), azure_errors(container="c", blob="b")):
        with pytest.raises(errors.ProxyRefused, match=r"40[37]"), edge:
            raise OSError(text)


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
def test_a_busy_proxy_is_transient(status: int) -> None:
    """It may forward the next request."""
    with pytest.raises(errors.ConnectionFailed), s3_errors(bucket="b", key="k"):
        raise OSError(f"the proxy answered CONNECT with status {status}")


@pytest.mark.parametrize("broken", [http.client.IncompleteRead(b""), urllib3.exceptions.ProtocolError("ended")])
def test_a_broken_chunk_is_transient_although_a_value_error_is_below_it(broken: Exception) -> None:
    """http.client and urllib3 raise these while they handle the ValueError of a chunk's length."""
    broken.__context__ = ValueError("invalid literal for int() with base 16: b'x'")
    with pytest.raises(errors.ConnectionFailed), s3_errors(bucket="b", key="k"):
        raise broken


@pytest.mark.parametrize(
    "raised",
    [
        KeyError("ETag"),
        ValueError("SECRET_TEXT"),
        TypeError("x"),
        AttributeError("x"),
        IndexError("x"),
        RecursionError("x"),
        json.JSONDecodeError("x", "SECRET_TEXT", 0),
        OverflowError("date value out of range"),
        StopIteration(),
    ],
    ids=lambda error: type(error).__name__,
)
def test_any_other_exception_about_a_response_becomes_an_error(raised: Exception) -> None:
    """Neither SDK checks all that it reads: nothing leaves the stores as a traceback."""
    for edge in (s3_errors(bucket="b", key="k"), azure_errors(container="c", blob="b")):
        with pytest.raises(errors.UnexpectedResponse, match=type(raised).__name__) as caught, edge:
            raise raised
        assert "SECRET_TEXT" not in str(caught.value)
        assert caught.value.__suppress_context__


def test_a_question_that_nobody_answers_is_a_usage_error() -> None:
    """getpass() raises EOFError where a profile asks for an MFA code."""
    with pytest.raises(errors.UsageError, match="MFA"), s3_errors(bucket="b", key="k"):
        raise EOFError


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
