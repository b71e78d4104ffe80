"""A service's refusal of a request, and the error that its words mean."""

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final
from xml.etree import ElementTree as ET

from s3_to_azure.model.errors import AccessError, RequestNotSupported, TransferError, UnexpectedResponse
from s3_to_azure.stores.http.headers import retry_after_s
from s3_to_azure.stores.http.redaction import redact

THROTTLED: Final = re.compile(
    r"429 |\d+ (?:[\w.]*Throttl\w*|SlowDown|ServerBusy|TooManyRequests|RequestLimitExceeded):"
)
"""Refusals of either service that ask the client to slow down."""

SERVER_FAILED: Final = re.compile(r"(?:5\d\d|408|421|425) ")
"""Refusals whose cause is the service itself, or a connection that another one may replace."""

NOT_SUPPORTED: Final = re.compile(r"(?:405|501) |\d+ NotImplemented:")
"""Refusals of a service that does not know this kind of request."""

PROXY_REFUSED: Final = re.compile(r"407 ")
"""Refusals of a proxy that forwards requests to either service."""

_MAX_MESSAGE_CHARACTERS: Final = 300
# They say no more than the code.
_EMPTY_WORDS: Final = {"", "access denied", "access denied.", "forbidden", "bad request", "not found", "unauthorized"}
# Its length hides the rest, and it repeats the request.
_STRING_TO_SIGN: Final = re.compile(r"(?i)[^.]*\bstring to sign\b.*|[^.]*\bMAC signature found\b.*", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Refusal:
    """An unsuccessful response.

    Attributes:
        status: HTTP status.
        code: The service's own code; empty if the response has none, so that something else may have sent it.
        message: The service's own words.
        headers: The response's headers by lower-case name.
    """

    status: int
    code: str = ""
    message: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Make a bounded line of the words, without secrets and control characters."""
        words = " ".join(_STRING_TO_SIGN.sub("", self.message).split())
        readable = "".join(character for character in words if character.isprintable())
        object.__setattr__(self, "message", redact(readable)[:_MAX_MESSAGE_CHARACTERS])
        object.__setattr__(self, "code", redact(self.code)[:_MAX_MESSAGE_CHARACTERS])

    @property
    def text(self) -> str:
        """Status, code and words, as the patterns of causes match them."""
        return f"{self.status} {self.code}: {self.message}"

    @property
    def said(self) -> str:
        """The code, and the words if they say more."""
        code = self.code or str(self.status)
        return code if self.message.lower() in _EMPTY_WORDS else f"{code}: {self.message}"

    @property
    def retry_after_s(self) -> float | None:
        """The delay that the Retry-After header asks for; None if it is missing or not valid."""
        return retry_after_s(self.headers)


@dataclass(frozen=True, slots=True)
class Cause:
    """What a service's words mean.

    Attributes:
        pattern: Matches the beginning of ``Refusal.text``.
        error: The error's class.
        values: Attributes of the error beside those of the request: texts that may name groups of the pattern in
            braces, or functions that make a text from the match.
    """

    pattern: re.Pattern[str]
    error: type[TransferError]
    values: Mapping[str, str | Callable[[re.Match[str]], str]] = field(default_factory=dict)


def codes(*names: str) -> re.Pattern[str]:
    """Return a pattern for these codes, which are patterns themselves."""
    return re.compile(rf"\d+ (?:{'|'.join(names)}):")


def words(pattern: str) -> re.Pattern[str]:
    """Return a pattern for words anywhere in a refusal."""
    return re.compile(rf"(?is).*?(?:{pattern})")


def parsed(document: bytes) -> ET.Element | None:
    """Return the root of an XML document without a DTD; None if it is incomplete, or no XML."""
    parser = ET.XMLParser(encoding="utf-8")  # noqa: S314 - without a DTD no entity is expanded; expat limits the rest
    try:
        parser.feed(document)
        return parser.close()
    except ET.ParseError:
        return None


def error_document(document: bytes) -> Mapping[str, str] | None:
    """Return the texts of a service's own error document by their elements' names; None if it is another document.

    The service's own is complete XML whose root is ``Error``. One with a DTD is not.
    """
    root = None if b"<!DOCTYPE" in document else parsed(document)
    if root is None or root.tag.rpartition("}")[2] != "Error":
        return None
    return {child.tag.rpartition("}")[2]: child.text or "" for child in root}


def error_of(refusal: Refusal, causes: Iterable[Cause], request: Mapping[str, object]) -> TransferError | None:
    """Return the error of the first cause that matches; None if none does.

    Args:
        refusal: The response.
        causes: In the order in which they are tried.
        request: Attributes of errors that the request decides, such as ``resource``.
    """
    for cause in causes:
        match = cause.pattern.match(refusal.text)
        if match:
            return _made(cause, match, refusal, request)
    return None


def _made(cause: Cause, match: re.Match[str], refusal: Refusal, request: Mapping[str, object]) -> TransferError:
    shows_words = issubclass(cause.error, (AccessError, RequestNotSupported))
    status = str(refusal.status)
    code = refusal.said if shows_words else refusal.code or status
    if code == status and "status" in cause.error.fields():
        code = "no error code"
    values: dict[str, object] = {
        "status": refusal.status,
        "code": code,
        "retry_after_s": refusal.retry_after_s,
        **request,
    }
    for name, value in cause.values.items():
        values[name] = value(match) if callable(value) else value.format_map(match.groupdict())
    return cause.error(**{name: values[name] for name in cause.error.fields()})


def unexpected_response(
    service: str, resource: str, refusal: Refusal, *, check: str, hint: str = ""
) -> UnexpectedResponse:
    """Return the error for a refusal without a known meaning.

    Args:
        service: ``S3`` or ``AZURE``.
        resource: The object, blob, bucket or container that was requested.
        refusal: The response.
        check: The settings that usually cause a redirect, for the message.
        hint: What else the refusal may mean.
    """
    status = str(refusal.status)
    has_words = refusal.said != status
    detail = f"status {status}{f' ({refusal.said})' if has_words else ''}{hint}"
    if 300 <= refusal.status < 400:
        told = f"status {status}, {refusal.said}" if has_words else f"status {status}"
        detail = f"a redirect ({told}), which is never followed; check {check}"
    return UnexpectedResponse(service=service, resource=resource, detail=detail)
