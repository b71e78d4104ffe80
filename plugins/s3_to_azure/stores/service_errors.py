"""What errors of both services have in common: their names, codes that ask for patience, failures below HTTP."""

import ssl
from typing import Final

from s3_to_azure.model import errors
from s3_to_azure.stores.redaction import redact

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
