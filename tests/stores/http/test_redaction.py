"""Redaction: by value for the secrets that the process holds, by name and form for all others."""

import base64
import html
import json
import logging
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

import pytest

from s3_to_azure.model.errors import UsageError
from s3_to_azure.stores.http import redaction
from s3_to_azure.stores.http.redaction import (
    check_printable,
    hide,
    hide_in,
    hide_setting,
    protect_logs,
    redact,
    redacted_line,
)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch: pytest.MonkeyPatch) -> None:
    """Begin without a secret of another test."""
    monkeypatch.setattr(redaction, "_known", {})


SECRET = "SeCrEt0123456789abcdefSeCrEt0123456789abcdefSeCrEt0123456789abcd"
HEX = "0123456789abcdef" * 4


@pytest.mark.parametrize(
    "text",
    [
        f"https://a.blob.core.windows.net/c/b?sv=2025&sig={SECRET}&se=x",
        f"?sig={SECRET}",
        f"sig={SECRET}",
        f"/k?X-Amz-Signature={HEX}&X-Amz-Credential=x",
        f"https://storage.googleapis.com/b/k?X-Goog-Date=1&X-Goog-Signature={HEX}",
        f"GET /k?AWSAccessKeyId=x&Signature={SECRET}%2B%3D&Expires=1 HTTP/1.1",
        f"https://d1.cloudfront.net/k?Policy={SECRET}&Signature=x&Key-Pair-Id=y",
        f"https://d1.cloudfront.net/k?Expires=1&amp;Signature={SECRET}~&amp;Key-Pair-Id=y",
        f"GET /k?X-Amz-Security-Token={SECRET} HTTP/1.1",
        f"x-ms-copy-source:https://b.s3.amazonaws.com/k?token={SECRET}\nx-ms-date:x",
        f"{{'x-ms-copy-source': 'https://b.s3.amazonaws.com/k?Signature={SECRET}&x=y'}}",
        f"?url=https%3A%2F%2Fs3%2Fk%3FX-Amz-Algorithm%3DAWS4%26X-Amz-Signature%3D{HEX}%26x%3D1",
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
        f"https://{SECRET}@store.example:9000/bucket",
        f"X-Aws-Ec2-Metadata-Token: {SECRET}",
        f"{{'x-amz-s3session-token': '{SECRET}'}}",
        f"('X-Amz-Security-Token', '{SECRET}')",
        f"Proxy-Authorization: Basic {SECRET}",
        f"{{'Set-Cookie': 'session={SECRET}; Secure'}}",
        f"{{'x-ms-encryption-key': '{SECRET}'}}",
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
        "Correct its login, password, host or extra fields.",
        "{'x-amz-server-side-encryption-customer-key-md5': 'digest'}",
        "s3://bucket/user@example.com and az://container/a@b",
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


KNOWN = 'p/w+d & "q" <é>=='


@pytest.mark.parametrize(
    "form",
    [
        KNOWN,
        quote(KNOWN),
        quote(KNOWN, safe=""),
        quote_plus(KNOWN),
        html.escape(KNOWN),
        json.dumps(KNOWN),
        repr(KNOWN + "'"),
        base64.b64encode(KNOWN.encode()).decode(),
    ],
)
def test_a_known_secret_is_masked_in_every_form(form: str) -> None:
    """Libraries write it into URLs, forms, XML, JSON, headers and the repr of a dictionary."""
    text = f"an unknown place: {form}!"
    assert redact(text) == text
    hide(KNOWN)
    clean = redact(text)
    assert "***" in clean
    assert "w+d" not in clean
    assert "w%2Bd" not in clean


def test_short_values_are_not_hidden() -> None:
    """They occur in any text by chance."""
    hide("", "test", None, 5, "      ")
    assert redact("a test of 5") == "a test of 5"


def test_a_file_with_a_line_end_hides_the_secret_without_it() -> None:
    """Libraries quote the one or the other."""
    hide("0123456789\n")
    assert redact("key 0123456789.") == "key ***."


def test_the_last_secrets_are_known() -> None:
    """Credentials that are renewed every hour do not fill the memory."""
    hide(*(f"secret-{number:04}" for number in range(1_000)))
    assert redact("secret-0999 secret-0000") == "*** secret-0000"


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("http://corp:pass-word@proxy:3128", ["pass-word", "corp:pass-word"]),
        ("http://corp:pa/ss?wo#rd@proxy:3128", ["pa/ss?wo#rd"]),
        ("http://corp:a@b@c:pass@proxy:3128", ["a@b@c:pass"]),
        ("http://corp:%40pass%2Fword@proxy", ["%40pass%2Fword", "@pass/word"]),
        ("corp:pass-word@proxy:3128", ["pass-word"]),
        ("https://token-only@store.example", ["token-only"]),
        ("https://a.blob.core.windows.net/c?sv=1&sig=SIGNATURE%2B%3D&se=2", ["SIGNATURE%2B%3D", "SIGNATURE+="]),
        ("?sv=1&sig=SIGNATURE", ["SIGNATURE"]),
        ("AccountName=a;AccountKey=S0VZS0VZ==;BlobEndpoint=http://u:pass-word@h/a;", ["S0VZS0VZ==", "pass-word"]),
        ("BlobEndpoint=https://h;SharedAccessSignature=sv=1&sig=SIGNATURE;X=1", ["SIGNATURE"]),
    ],
)
def test_the_secret_parts_of_urls_are_hidden(url: str, secrets: list[str]) -> None:
    """Wherever they appear afterwards, alone as well."""
    hide_in(url)
    for secret in secrets:
        assert secret not in redact(f"Failed to parse: {secret}, ({secret})")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9000/bucket", "mail@example.com", "https://h/c?comp=block", "h:80", ""]
)
def test_urls_without_a_secret_hide_nothing(url: str) -> None:
    """Hosts and paths stay readable."""
    assert hide_in(url) == []
    assert redact(url) == url


def test_settings_are_hidden_by_their_names() -> None:
    """Environment variables and the fields of a connection, at any depth; secrets are returned."""
    extra = {"role_arn": "arn:aws:iam::1:role/r", "nested": {"aws_session_token": "TOKEN-TOKEN"}, "number": 5}
    extra["proxies"] = {"http": "http://u:pass-word@proxy"}
    found = [
        *hide_setting("AZURE_STORAGE_KEY", "KEYKEYKEY"),
        *hide_setting("AWS_REGION", "us-east-1"),
        *hide_setting("AWS_ACCESS_KEY_ID", "AKIAVISIBLE"),
        *hide_setting("extra", extra),
    ]
    assert [secret for secret in found if len(secret) > 7] == [
        "KEYKEYKEY",
        "TOKEN-TOKEN",
        "pass-word",
        "u:pass-word",
    ]
    text = "us-east-1 AKIAVISIBLE arn:aws:iam::1:role/r KEYKEYKEY TOKEN-TOKEN pass-word"
    assert redact(text) == "us-east-1 AKIAVISIBLE arn:aws:iam::1:role/r *** *** ***"


@pytest.mark.parametrize("end", ["\n", "\r\n", "\t", "\x00", "\x7f", "\u2028"])
def test_a_secret_with_a_control_character_is_refused_without_being_quoted(end: str) -> None:
    """Libraries quote it in their errors."""
    for name in ("AWS_SESSION_TOKEN", "AWS_ACCESS_KEY_ID", "AZURE_STORAGE_CONNECTION_STRING", "password"):
        with pytest.raises(UsageError, match=f"^The connection's {name} has a line end") as caught:
            hide_setting(name, f"VALUE-VALUE{end}", owner="The connection's ")
        assert "VALUE-VALUE" not in str(caught.value)
    hide_setting("private_key", f"-----BEGIN PRIVATE KEY-----{end}x")
    hide_setting("AWS_REGION", f"us-east-1{end}")
    check_printable("key", "with spaces and é")


class Later(logging.Handler):
    """Keeps what a handler at the root writes."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text."""
        self.lines.append(self.format(record))


@pytest.fixture
def root_handler() -> Iterator[Later]:
    """Return a handler of the root."""
    handler = Later()
    logging.root.addHandler(handler)
    yield handler
    logging.root.removeHandler(handler)


@pytest.mark.parametrize("name", ["botocore.made.later", "another.library", "s3_to_azure.any", "root"])
def test_loggers_that_are_made_later_are_protected(root_handler: Later, name: str) -> None:
    """The handlers have the filter, and so does the package's own log."""
    protect_logs()
    logger = logging.getLogger(f"{name}.{id(root_handler)}")
    logger.error("sig=%s", SECRET, exc_info=ValueError(f"?sig={SECRET}"))
    (line,) = root_handler.lines
    assert SECRET not in line
    assert "ValueError" in line


def test_events_of_structlog_stay_events() -> None:
    """Airflow's logs are dictionaries."""
    message: Any = {"event": f"?sig={SECRET}", "number": 1}
    record = logging.LogRecord("any", logging.INFO, "", 0, message, None, None)
    redaction.RedactingFilter().filter(record)
    assert record.msg == {"event": "?sig=***", "number": 1}


def test_redacted_line_is_one_line_without_secrets_and_bounded() -> None:
    """An exception's text may quote a request over several lines."""
    error = ValueError("refused:\n  password=abcdefgh12345678\n  at line 5")
    assert redacted_line(error) == "refused: password=*** at line 5"
    assert redacted_line(error, 8) == "refused:"
    assert redacted_line("x" * 400) == "x" * 300
