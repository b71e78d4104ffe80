"""Translation of network failures and unexpected responses."""

import errno
import http.client
import logging
import re
import ssl
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

import requests
import urllib3

from s3_to_azure.model import errors
from s3_to_azure.stores.http.hosts import name_error
from s3_to_azure.stores.http.redaction import redact, redacted_line

# How http.client, urllib3 and our own connections say that a proxy refused: not for 408 and 429, which may pass.
_PROXY_REFUSED: Final = re.compile(
    r"(?:Tunnel connection failed: |the proxy answered CONNECT with status )(4(?!08|29)\d\d)"
)
_NOT_VALID: Final = (
    http.client.InvalidURL,
    requests.exceptions.InvalidURL,
    requests.exceptions.InvalidHeader,
    requests.exceptions.InvalidSchema,
    requests.exceptions.MissingSchema,
    urllib3.exceptions.LocationValueError,
    urllib3.exceptions.URLSchemeUnknown,
    urllib3.exceptions.ProxySchemeUnknown,
)
# requests checks the files of a connection itself, and names them only in its text.
_NO_FILE: Final = re.compile(r"Could not find .*, invalid path:")
# ValueError comes from these where a URL or a header is not valid, and from parsers of responses elsewhere.
_SENDERS: Final = ("encodings.idna", "http.client", "socket", "urllib.parse")
_LIBRARIES_OF_FILES: Final = ("X509", "PEM", "ASN1", "X509 V3", "PKCS12")

log = logging.getLogger(__name__)

_TOO_MANY_FILES: Final = (errno.EMFILE, errno.ENFILE)


def translated(service: str, resource: str, error: BaseException) -> errors.TransferError:
    """Return the error that any exception of a request means, other than a response of the service.

    Args:
        service: ``S3`` or ``AZURE``.
        resource: What was requested.
        error: The exception, which must not be chained: its text may contain a secret.
    """
    if isinstance(error, errors.TransferError):
        return error
    if isinstance(error, EOFError):
        # getpass() at the end of the input.
        return errors.UsageError(
            detail=f"The credentials for {service} need an answer from a person, such as an MFA code, and nobody can "
            "give it here. Use a profile or a role without one."
        )
    if isinstance(error, (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError)):
        return network_error(service, resource, error)
    if isinstance(error, (ValueError, OverflowError)) and was_raised_in(error, *_SENDERS):
        return _not_valid(service, resource)
    log.debug("%s in %s", type(error).__name__, _origin(error))
    # Its text may quote the response.
    detail = f"it cannot be read ({type(error).__name__})"
    return errors.UnexpectedResponse(service=service, resource=resource, detail=detail)


def network_error(service: str, resource: str, error: BaseException) -> errors.TransferError:
    """Return the error for a failure below HTTP, with a short, redacted text."""
    chain = list(_chain(error))
    for cause in chain:
        if isinstance(cause, ssl.SSLCertVerificationError):
            detail = getattr(cause, "verify_message", "") or str(cause)
            return errors.CertificateRefused(service=service, detail=redact(detail))
        if isinstance(cause, OSError) and cause.errno in _TOO_MANY_FILES:
            detail = "too many open files; raise the limit (ulimit -n), or lower objects_at_once"
            return errors.ConnectionFailed(service=service, resource=resource, detail=detail)
        if refused := _PROXY_REFUSED.search(str(cause)):
            detail = f"it answered CONNECT with status {refused[1]}"
            return errors.ProxyRefused(service=service, resource=resource, detail=detail)
    if "CERTIFICATE_VERIFY_FAILED" in str(error):
        return errors.CertificateRefused(service=service, detail="certificate verify failed")
    return (
        name_error(service, chain)
        or _settings_error(service, resource, chain)
        or errors.ConnectionFailed(service=service, resource=resource, detail=_innermost(chain))
    )


def _innermost(chain: Sequence[BaseException]) -> str:
    """Return the text of the failure itself: what wraps it says less, and names classes of the libraries."""
    failures = [cause for cause in chain if isinstance(cause, (OSError, http.client.HTTPException))] or chain
    cause = failures[-1]
    text = redacted_line(cause)
    host = next(filter(None, map(_host, chain)), "")
    return type(cause).__name__ + (f": {text}" if text else "") + (f" ({host})" if host else "")


def _host(error: BaseException) -> str:
    """Return the host that an exception of botocore or urllib3 is about."""
    asked: Mapping[str, object] = getattr(error, "kwargs", {})
    if "endpoint_url" in asked:
        return urlsplit(str(asked["endpoint_url"])).netloc.rpartition("@")[2]
    connection = getattr(error, "conn", None) or getattr(error, "pool", None)
    host, port = getattr(connection, "host", ""), getattr(connection, "port", None)
    return f"{host}:{port}" if host else ""


def _settings_error(service: str, resource: str, chain: Sequence[BaseException]) -> errors.UsageError | None:
    """Return the error of a request that could not be sent because of a setting, or None."""
    # http.client wraps what it could not read of a response into an error of its own.
    of_a_response = (http.client.HTTPException, urllib3.exceptions.ProtocolError)
    was_sending = not any(isinstance(cause, of_a_response) for cause in chain)
    for cause in chain:
        if isinstance(cause, _NOT_VALID) or (was_sending and isinstance(cause, (ValueError, OverflowError))):
            return _not_valid(service, resource)
        if isinstance(cause, OSError) and _is_about_a_file(cause):
            return errors.UsageError(detail=f"A file that {service} needs cannot be read: {redact(str(cause))[:300]}.")
        if isinstance(cause, ssl.SSLError) and cause.library in _LIBRARIES_OF_FILES:
            text = redact(str(cause))[:300]
            return errors.UsageError(detail=f"CA bundle or client certificate for {service} is not valid: {text}.")
    return None


def _is_about_a_file(error: OSError) -> bool:
    is_named = error.filename is not None or _NO_FILE.search(str(error)) is not None
    return is_named or isinstance(error, (FileNotFoundError, IsADirectoryError, NotADirectoryError))


def _not_valid(service: str, resource: str) -> errors.UsageError:
    # The exception's text quotes the value, which may be a secret.
    return errors.UsageError(
        detail=f"The request for {resource} cannot be sent to {service}: its URL or a header is not valid. "
        "Check endpoint, proxy and credentials for line ends, spaces and quotation marks."
    )


def unreadable(service: str, resource: str) -> errors.ConnectionFailed:
    """Return the error for a response that is cut short, or that the service did not make."""
    detail = f"the response cannot be read: it is incomplete, or not from {service}"
    return errors.ConnectionFailed(service=service, resource=resource, detail=detail)


def was_raised_in(error: BaseException, *packages: str) -> bool:
    """Return whether the exception came through a function of these packages."""
    names = (frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__))
    return any(name == package or name.startswith(f"{package}.") for name in names for package in packages)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield the exception and those that it wraps."""
    cause: BaseException | None = error
    seen: set[int] = set()
    while cause is not None and id(cause) not in seen:
        seen.add(id(cause))
        yield cause
        inner = cause.args[0] if cause.args and isinstance(cause.args[0], BaseException) else None
        reason = getattr(cause, "reason", None)
        cause = cause.__cause__ or cause.__context__ or inner or (reason if isinstance(reason, BaseException) else None)


def _origin(error: BaseException) -> str:
    """Return the line that raised the exception; unlike its text, it contains no secret."""
    lines = [f"{frame.f_code.co_filename}:{line}" for frame, line in traceback.walk_tb(error.__traceback__)]
    return lines[-1] if lines else "an unknown line"
