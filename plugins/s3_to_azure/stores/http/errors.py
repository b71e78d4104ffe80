"""Translation of network failures and unexpected responses, and redaction of secrets in error texts and logs."""

import errno
import logging
import re
import ssl
from typing import Final

from s3_to_azure.model import errors

THROTTLES: Final = {
    "SlowDown",
    "ServerBusy",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "RequestLimitExceeded",
}
"""Error codes of either service that ask the client to slow down."""

_TOO_MANY_FILES: Final = (errno.EMFILE, errno.ENFILE)
_MASK: Final = "***"
# Names under which STS, Entra ID, botocore and the SDKs send, receive and log secrets.
_MASKED_NAMES: Final = (
    r"access_?token|account_?key|aws_?session_?token|client_?assertion|client_?secret|"
    r"external_?id|id_?token|pass(?:word|wd)|refresh_?token|saml_?assertion|sas_?token|"
    r"secret_?(?:access_?)?key|session_?token|token_?code|web_?identity_?token"
)
_PATTERNS: Final = (
    # An XML element, a member of JSON or of a dictionary's repr, a form field, a setting, and a URL's password.
    re.compile(rf"(?i)(<(?:\w+:)?(?:{_MASKED_NAMES})>)[^<]+"),
    re.compile(rf"(?i)(['\"]?\b(?:{_MASKED_NAMES})['\"]?\s*[:=]\s*b?['\"]?)[^'\"&\s,}}<]+"),
    re.compile(r"(?i)(\b[a-z][a-z0-9+.-]*://[^\s/:@'\"]*:)[^\s/'\"]*(?=@)"),
    re.compile(r"(?i)((?:[?&;,\s'\"]|^)(?:sig|x-amz-signature|x-amz-security-token|x-amz-credential)=)[^&\s'\"]+"),
    re.compile(r"(?i)(\bSignature=)[0-9a-f]{16,}"),
    re.compile(r"(?i)(Signature:\s*)[0-9a-f]{64}"),
    re.compile(r"(?i)(\b(?:AccountKey|SharedAccessSignature|SharedAccessKey|aws_secret_access_key)=)[^;\s'\"]+"),
    re.compile(r"(?i)(\bAuthorization['\"]?\s*[:,=]\s*b?['\"]?)[^'\"\r\n]+"),
    re.compile(r"(?i)(\bx-amz-security-token['\"]?\s*[:,]\s*b?['\"]?)[^'\"\s,}]+"),
    re.compile(r"(?i)(\bSharedKey [^:\s]+:)[A-Za-z0-9+/=]+"),
    re.compile(r"(?i)(\bBearer )[A-Za-z0-9._~+/=-]+"),
    re.compile(r"(?i)(x-amz-server-side-encryption-customer-key['\"]?\s*[:,]\s*b?['\"]?)[^'\"\s,}]+"),
    # botocore logs a request's parameters with repr(); the key's raw bytes may contain quotation marks.
    re.compile(r"(?s)(SSECustomerKey['\"]\s*:\s*b?['\"]).*?(?=['\"][,}])"),
)
# This logger writes every request with all its headers at INFO: two pages for each block.
_VERBOSE_LOGGER: Final = "azure.core.pipeline.policies.http_logging_policy"
_LIBRARIES: Final = ("urllib3", "azure", "botocore", "boto3", "requests", "msal")


def redact(text: str) -> str:
    """Return the text with signatures, tokens, keys and authorization headers masked."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{_MASK}", text)
    return text


class RedactingFilter(logging.Filter):
    """Masks secrets in a log record's message and traceback."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record in place; no record is dropped."""
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
    """Add the redacting filter to the HTTP libraries' loggers. Idempotent.

    A filter does not apply to a logger's children, so every existing logger gets it: call this after the libraries
    have been imported.
    """
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in _LIBRARIES]
    verbose = logging.getLogger(_VERBOSE_LOGGER)
    if verbose.level == logging.NOTSET and logging.root.getEffectiveLevel() > logging.DEBUG:
        verbose.setLevel(logging.WARNING)
    for name in {*names, *_LIBRARIES}:
        logger = logging.getLogger(name)
        if _FILTER not in logger.filters:
            logger.addFilter(_FILTER)


def network_error(service: str, resource: str, error: BaseException) -> errors.TransferError:
    """Return the error for a failure below HTTP, with a short, redacted text."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = getattr(cause, "verify_message", "") or str(cause)
            return errors.CertificateRefused(service=service, detail=redact(detail))
        if isinstance(cause, OSError) and cause.errno in _TOO_MANY_FILES:
            detail = "too many open files; raise the limit (ulimit -n), or lower objects_at_once"
            return errors.ConnectionFailed(service=service, resource=resource, detail=detail)
        inner = cause.args[0] if cause.args and isinstance(cause.args[0], BaseException) else None
        reason = getattr(cause, "reason", None)
        cause = cause.__cause__ or cause.__context__ or inner or (reason if isinstance(reason, BaseException) else None)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return errors.CertificateRefused(service=service, detail="certificate verify failed")
    return errors.ConnectionFailed(
        service=service, resource=resource, detail=f"{type(error).__name__}: {redact(str(error))[:300]}"
    )


def unexpected_response(
    service: str, resource: str, status: int, code: str, *, check: str
) -> errors.UnexpectedResponse:
    """Return the error for a status and code without a known meaning.

    Args:
        service: ``S3`` or ``AZURE``.
        resource: The object, blob, bucket or container that was requested.
        status: HTTP status.
        code: The service's error code.
        check: The settings that usually cause a redirect, for the message.
    """
    detail = f"status {status} ({redact(code)})"
    if 300 <= status < 400:
        detail = f"a redirect (status {status}), which is never followed; check {check}"
    return errors.UnexpectedResponse(service=service, resource=resource, detail=detail)


def retry_after_s(text: str | None) -> float | None:
    """Return the delay of a Retry-After header; None if it is missing or not a number of seconds."""
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None
