"""What refusals mean to somebody who has nothing but a URL: each sentence says what to ask for."""

import re
from datetime import datetime
from typing import Final

from s3_to_azure.model import errors
from s3_to_azure.model.errors import S3
from s3_to_azure.stores.http.refusals import Cause, Refusal, codes, error_of, words
from s3_to_azure.stores.presigned.url import PresignedUrl
from s3_to_azure.stores.s3.errors import s3_error

_EXPIRED: Final = {
    "cure": "The URL has expired: run again with a new URL of the same object. Only what Azure does not hold yet is "
    "sent then."
}
_NO_SIGNATURE: Final = {
    "cure": "The URL has no signature, so it reads public objects only: it may be cut off at its question mark."
}
_MAYBE_EXPIRED: Final = re.compile(r"(?is)40[013] .*(?:\bexpired|ExpiredToken|RequestExpired|ExpiredRequest)")

# Codes: https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html, and CloudFront's. The first cause counts.
_CAUSES: Final = (
    Cause(_MAYBE_EXPIRED, errors.UrlRefused, _EXPIRED),
    Cause(
        re.compile(r"(?is)403 .*not (?:yet valid|valid yet)"),
        errors.UrlRefused,
        {"cure": "The URL is not valid yet: the clock of the machine that made it may be wrong."},
    ),
    Cause(
        codes("SignatureDoesNotMatch", "InvalidSignature"),
        errors.UrlRefused,
        {
            "cure": "The URL was changed or cut off, or it is presigned for another method than GET, such as PUT: copy "
            "it again, or ask for one that is presigned for GetObject."
        },
    ),
    Cause(
        words(r"^40[03] .*expecting '(?P<region>[a-z0-9-]+)'"),
        errors.UrlRefused,
        {"cure": "The URL is presigned for another region than the bucket's: ask for one that is made for {region}."},
    ),
    Cause(
        codes("AuthorizationQueryParametersError", "MissingKey", "MissingSecurityHeader", "MalformedPolicy"),
        errors.UrlRefused,
        {"cure": "The URL was changed or cut off: copy it again."},
    ),
    Cause(
        codes("InvalidAccessKeyId", "InvalidKey", "InvalidToken"),
        errors.UrlRefused,
        {"cure": "The key that signed the URL is not valid here any more: ask for a new URL."},
    ),
    Cause(
        re.compile(r"401 "),
        errors.UrlRefused,
        {"cure": "The server asks for a sign-in, which this URL does not carry: ask for a presigned URL."},
    ),
    Cause(
        codes("AccessDenied", "Forbidden", ""),
        errors.AccessDenied,
        {
            "cure": "Whoever made the URL may not read this object, or not from this network, or the object does not "
            "exist; CloudFront answers so for an expired URL too. Ask for a new URL."
        },
    ),
)
_OF_SIGNATURES: Final = (400, 401, 403)
_LAST_REDIRECT: Final = 399


def expired(url: PresignedUrl) -> errors.UrlRefused:
    """Return the error of a URL that has expired before any request was sent."""
    code = f"valid until {url.expires_at:%Y-%m-%d %H:%M:%S} UTC by this machine's clock" if url.expires_at else ""
    return errors.UrlRefused(service=S3, resource=repr(url.shown), code=code, **_EXPIRED)


def url_error(refusal: Refusal, url: PresignedUrl, *, etag: str, now: datetime) -> errors.TransferError:
    """Return the error that a refusal means.

    Args:
        refusal: The response.
        url: The requested URL.
        etag: The ETag that was required.
        now: The time of this machine.
    """
    request: dict[str, object] = {"service": S3, "resource": repr(url.shown)}
    if refusal.status in _OF_SIGNATURES:
        if url.is_expired(now) and refusal.code in ("", "AccessDenied", "Forbidden"):
            return errors.UrlRefused(**request, code=refusal.said, **_EXPIRED)
        found = error_of(refusal, _CAUSES, request)
        if isinstance(found, errors.AccessDenied) and not url.is_signed:
            return errors.AccessDenied(**request, code=refusal.said, **_NO_SIGNATURE)
        if found is not None:
            return found
    if 300 <= refusal.status <= _LAST_REDIRECT:
        region = refusal.headers.get("x-amz-bucket-region")
        where = f", which is {region[:40]!r}" if region else ""
        detail = (
            f"a redirect (status {refusal.status}), which is never followed; ask for a URL that is made for the "
            f"bucket's own region{where}"
        )
        return errors.UnexpectedResponse(service=S3, resource=repr(url.shown), detail=detail)
    return s3_error(refusal, bucket=url.bucket, key=url.key, etag=etag)
