"""Redaction: no secret appears in a log or an error.

A secret that this process holds is masked by its value, in every form in which libraries write it. Others, such as
those in a response that brings new credentials, are masked by the names of headers, elements, members and parameters.
"""

import base64
import html
import json
import logging
import re
import threading
from collections.abc import Iterator, Mapping
from typing import Final
from urllib.parse import quote, quote_plus, unquote

from s3_to_azure.model.errors import UsageError

_MASK: Final = "***"
# A shorter text occurs by chance; the patterns below mask it in its place.
_MIN_CHARACTERS: Final = 8
# A role's credentials change every hour.
_MAX_SECRETS: Final = 200

# Names under which STS, Entra ID, botocore and the SDKs send, receive and log secrets.
_NAMES: Final = (
    r"access[-_]?token|account[-_]?key|aws[-_]?session[-_]?token|client[-_]?assertion|client[-_]?secret|"
    r"ec2-metadata-token|encryption-key|external[-_]?id|id[-_]?token|pass(?:word|wd)|refresh[-_]?token|"
    r"saml[-_]?assertion|sas[-_]?token|secret[-_]?(?:access[-_]?)?key|security-token|"
    r"server-side-encryption-customer-key|(?:s3)?session[-_]?token|token[-_]?code|web[-_]?identity[-_]?token"
)
_PATTERNS: Final = (
    # An XML element; a header, a member of JSON or of a dictionary's repr, a form field, a setting.
    re.compile(rf"(?i)(<(?:\w+:)?(?:{_NAMES})>)[^<]+"),
    re.compile(rf"(?i)((?<![a-z0-9])(?:{_NAMES})['\"]?\s*[:=]\s*b?['\"]?)[^'\"&\s,}}<]+"),
    # A header as a pair.
    re.compile(rf"(?i)((?:{_NAMES})['\"],\s*b?['\"])[^'\"]+"),
    re.compile(r"(?i)(\b(?:proxy-)?authorization['\"]?\s*[:,=]\s*b?['\"]?)[^'\"\r\n]+"),
    re.compile(r"(?i)(\b(?:set-)?cookie['\"]?\s*[:,=]\s*b?['\"]?)[^'\"\r\n]+"),
    # A URL that Azure is to read: whoever has it may read the object.
    re.compile(r"(?i)(\bcopy-source['\"]?\s*[:,=]\s*b?['\"]?)[^'\"\s]+"),
    # The user name and the password of a URL: either may be a token.
    re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://)[^\s/'\"<>]+(?=@)"),
    re.compile(r"(?i)((?:[?&;,\s'\"]|^)(?:sig|x-(?:amz|goog)-(?:signature|security-token|credential))=)[^&\s'\"]+"),
    # The query of a presigned URL, of SigV2 or CloudFront.
    re.compile(r"(?i)([?&;](?:signature|policy|key-pair-id|awsaccesskeyid|googleaccessid)=)[^&\s'\"<>]+"),
    # The same in a URL that is a parameter of another one.
    re.compile(r"(?i)((?:%26|%3F)x-amz-(?:signature|security-token|credential)%3D)[^&\s'\"]+?(?=%26|[&\s'\"]|$)"),
    re.compile(r"(?i)(\bSignature=)[0-9a-f]{16,}"),
    re.compile(r"(?i)(Signature:\s*)[0-9a-f]{64}"),
    re.compile(r"(?i)(\b(?:AccountKey|SharedAccessSignature|SharedAccessKey)=)[^;\s'\"]+"),
    re.compile(r"(?i)(\bSharedKey [^:\s]+:)[A-Za-z0-9+/=]+"),
    re.compile(r"(?i)(\bBearer )[A-Za-z0-9._~+/=-]+"),
    # botocore logs a request's parameters with repr(); the key's raw bytes may contain quotation marks.
    re.compile(r"(?s)(SSECustomerKey['\"]\s*:\s*b?['\"]).*?(?=['\"][,}])"),
)
# This logger writes every request with all its headers at INFO: two pages for each block.
_VERBOSE_LOGGER: Final = "azure.core.pipeline.policies.http_logging_policy"
_LIBRARIES: Final = (
    *("urllib3", "azure", "botocore", "boto3", "requests", "msal"),
    *("aiobotocore", "aiohttp", "s3transfer"),
)

_SECRET_PART: Final = re.compile(r"(?i)(?:^|[?&;])(?:AccountKey|SharedAccessKey|sig)=([^;&\s]+)")
_SECRET_NAME: Final = re.compile(r"(?i)(?:key|secret|token|pass|passwd|password|connection_string)$")
_CHECKED_NAME: Final = re.compile(rf"(?i){_SECRET_NAME.pattern.removeprefix('(?i)')}|access_key_id$")
_URL_NAME: Final = re.compile(r"(?i)(?:url|uri|host|endpoint\w*|proxy|proxies\.\w+)$")
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f\x85\u2028\u2029]")
_PEM: Final = "-----BEGIN "

_known: dict[str, tuple[str, ...]] = {}
_lock: Final = threading.Lock()


def hide(*secrets: object) -> None:
    """Mask these values from now on, wherever they appear; a value that is no text, or too short, is left out."""
    for secret in secrets:
        if isinstance(secret, str):
            for text in {secret.strip(), *secret.split()}:
                if len(text) >= _MIN_CHARACTERS and text not in _known:
                    _remember(text)


def hide_in(*urls: object) -> list[str]:
    """Mask the secret parts of URLs and shared access signatures from now on; return them."""
    parts = (part for url in urls if isinstance(url, str) for part in (*_SECRET_PART.findall(url), *_user_info(url)))
    found = list(dict.fromkeys(parts))
    hide(*found)
    return found


def hide_setting(name: str, value: object, *, owner: str = "") -> list[str]:
    """Mask a setting's value if its name says that it is secret, and the secret parts of a URL; return the secrets.

    Args:
        name: The setting's name.
        value: Its value; those of a mapping are settings too.
        owner: What the setting belongs to, for the error.

    Raises:
        UsageError: A secret has a control character, such as the line end of a file that was mounted.
    """
    found: list[str] = []
    if isinstance(value, Mapping):
        for inner, inner_value in value.items():
            found += hide_setting(f"{name}.{inner}" if name else str(inner), inner_value, owner=owner)
    if not isinstance(value, str):
        return found
    if _URL_NAME.search(name) or "://" in value or "=" in value:
        found += hide_in(value)
    if _SECRET_NAME.search(name):
        hide(value)
        found.append(value)
    if _CHECKED_NAME.search(name) and _PEM not in value:
        check_printable(f"{owner}{name}", value)
    return found


def check_printable(name: str, value: str) -> None:
    """Raise UsageError if a secret has a control character, which no request can carry."""
    if _CONTROL.search(value):
        raise UsageError(
            detail=f"{name} has a line end or another control character, which no key or token has. Many files and "
            "secret stores add one at the end: remove it."
        )


def redact(text: str) -> str:
    """Return the text with known secrets, signatures, tokens, keys and authorization headers masked."""
    for forms in tuple(_known.values()):
        for form in forms:
            if form in text:
                text = text.replace(form, _MASK)
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{_MASK}", text)
    return text


def redacted_line(text: object, characters: int = 300) -> str:
    """Return what a library says, such as an exception's text, as one line without secrets, cut to a length."""
    return " ".join(redact(str(text)).split())[:characters]


class RedactingFilter(logging.Filter):
    """Masks secrets in a log record's message and traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place; no record is dropped."""
        if isinstance(record.msg, dict):
            # structlog's events.
            record.msg = {name: redact(item) if isinstance(item, str) else item for name, item in record.msg.items()}
            return True
        message = record.getMessage()
        clean = redact(message)
        if clean != message:
            record.msg, record.args = clean, None
        if record.exc_info and record.exc_info[1] is not None:
            text = logging.Formatter().formatException(record.exc_info)
            record.exc_text, record.exc_info = redact(text), None
        return True


_FILTER: Final = RedactingFilter()


def protect_logs() -> None:
    """Add the redacting filter to the root's handlers and to the HTTP libraries' loggers. Idempotent.

    A filter does not apply to a logger's children, so every existing logger gets it; the handlers get what loggers
    write that are made later.
    """
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in _LIBRARIES]
    verbose = logging.getLogger(_VERBOSE_LOGGER)
    if verbose.level == logging.NOTSET and logging.root.getEffectiveLevel() > logging.DEBUG:
        verbose.setLevel(logging.WARNING)
    for owner in (*map(logging.getLogger, {*names, *_LIBRARIES}), *logging.root.handlers):
        if _FILTER not in owner.filters:
            owner.addFilter(_FILTER)


def _remember(secret: str) -> None:
    encoded = base64.b64encode(secret.encode("utf-8", "surrogateescape")).decode("ascii")
    forms = {
        *(secret, quote(secret, safe=""), quote(secret), quote_plus(secret), unquote(secret), encoded),
        *(html.escape(secret), json.dumps(secret)[1:-1], repr(secret)[1:-1]),
    }
    with _lock:
        # The longest first: what is left of a longer form when a shorter one is masked would show a part.
        _known[secret] = tuple(sorted((form for form in forms if len(form) >= _MIN_CHARACTERS), key=len, reverse=True))
        while len(_known) > _MAX_SECRETS:
            del _known[next(iter(_known))]


def _user_info(url: str) -> Iterator[str]:
    """Yield the passwords of URLs; a user name without one is a token. It ends at the last @, whatever is before."""
    _, *rests = url.split("://")
    for rest in rests or [url]:
        user, _, password = rest.rpartition("@")[0].partition(":")
        if password:
            yield from (password, unquote(password), f"{user}:{password}")
        elif user and rests:
            yield from (user, unquote(user))
