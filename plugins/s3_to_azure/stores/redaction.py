"""Keeps secrets out of logs and error texts."""

import logging
import re
from typing import Final

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
