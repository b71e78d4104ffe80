"""Keeps secrets out of logs and error texts."""

import logging
import re
import ssl
from typing import Final

from s3_to_azure.model import errors

_MASK: Final = "***"
_PATTERNS: Final = (
    re.compile(r"(?i)((?:[?&;,\s'\"]|^)(?:sig|x-amz-signature|x-amz-security-token|x-amz-credential)=)[^&\s'\"]+"),
    re.compile(r"(?i)(\bSignature=)[0-9a-f]{16,}"),
    re.compile(r"(?i)(Signature:\s*)[0-9a-f]{64}"),
    re.compile(r"(?i)(\b(?:AccountKey|SharedAccessSignature|SharedAccessKey|aws_secret_access_key)=)[^;\s'\"]+"),
    re.compile(r"(?i)(\bAuthorization['\"]?\s*[:,=]\s*b?['\"]?)[^'\"\r\n]+"),
    re.compile(r"(?i)(\bx-amz-security-token['\"]?\s*[:,]\s*b?['\"]?)[^'\"\s,}]+"),
    re.compile(r"(?i)(\bSharedKey [^:\s]+:)[A-Za-z0-9+/=]+"),
    re.compile(r"(?i)(\bBearer )[A-Za-z0-9._~+/=-]+"),
    re.compile(r"(?i)(x-amz-server-side-encryption-customer-key['\"]?\s*[:,]\s*b?['\"]?)[^'\"\s,}]+"),
    # As botocore logs its parameters; raw bytes may hold quotes of their own.
    re.compile(r"(?s)(SSECustomerKey['\"]\s*:\s*b?['\"]).*?(?=['\"][,}])"),
)
# Logs every request with all its headers at INFO: two pages for each block.
_CHATTY: Final = "azure.core.pipeline.policies.http_logging_policy"
_LOGGERS: Final = ("urllib3", "azure", "botocore", "boto3", "requests", "msal")


def redact(text: str) -> str:
    """Return the text with signatures, tokens, keys and authorization headers masked."""
    for pattern in _PATTERNS:
        text = pattern.sub(rf"\1{_MASK}", text)
    return text


class RedactingFilter(logging.Filter):
    """Masks secrets in a record's finished message, and drops its traceback's text if it holds one."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the record in place; always keep it."""
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
    """Put the filter on the HTTP libraries' loggers; call it once their modules are imported.

    A filter does not reach a logger's children, so each one that exists gets it. Idempotent.
    """
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in _LOGGERS]
    chatty = logging.getLogger(_CHATTY)
    if chatty.level == logging.NOTSET and logging.root.getEffectiveLevel() > logging.DEBUG:
        chatty.setLevel(logging.WARNING)
    for name in {*names, *_LOGGERS}:
        logger = logging.getLogger(name)
        if _FILTER not in logger.filters:
            logger.addFilter(_FILTER)


S3: Final = "S3"
AZURE: Final = "Azure Blob Storage"

THROTTLES: Final = {
    "SlowDown",
    "ServerBusy",
    "Throttling",
    "ThrottlingException",
    "TooManyRequests",
    "RequestLimitExceeded",
}


def network_error(service: str, thing: str, error: BaseException) -> errors.TransferError:
    """Return the engine's error for a failure below HTTP; its text is redacted and short."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = getattr(cause, "verify_message", "") or str(cause)
            return errors.CertificateRefused(service=service, detail=redact(detail))
        inner = cause.args[0] if cause.args and isinstance(cause.args[0], BaseException) else None
        reason = getattr(cause, "reason", None)
        cause = cause.__cause__ or cause.__context__ or inner or (reason if isinstance(reason, BaseException) else None)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return errors.CertificateRefused(service=service, detail="certificate verify failed")
    return errors.ConnectionFailed(
        service=service, thing=thing, detail=f"{type(error).__name__}: {redact(str(error))[:300]}"
    )


def unexpected_answer(service: str, thing: str, status: int, code: str, *, check: str) -> errors.UnexpectedAnswer:
    """Return the error for an answer that means nothing known; ``check`` is where a redirect would come from."""
    detail = f"status {status} ({redact(code)})"
    if 300 <= status < 400:
        detail = f"a redirect (status {status}), which is never followed; check {check}"
    return errors.UnexpectedAnswer(service=service, thing=thing, detail=detail)


def seconds_of(text: str | None) -> float | None:
    """Return the wait that a Retry-After header asks for; None where it holds no number of seconds."""
    try:
        return max(0.0, float(text)) if text else None
    except ValueError:
        return None
