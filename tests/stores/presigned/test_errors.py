"""What refusals mean to somebody who has nothing but a URL."""

from datetime import UTC, datetime

import pytest

from s3_to_azure.model import errors
from s3_to_azure.stores.http.refusals import Refusal
from s3_to_azure.stores.presigned.errors import expired, url_error
from s3_to_azure.stores.presigned.url import PresignedUrl

BEFORE = datetime(2026, 1, 31, 6, tzinfo=UTC)
EXPIRY = datetime(2026, 1, 31, 7, tzinfo=UTC)
URL = PresignedUrl("bucket", "k", "https://bucket.s3.amazonaws.com/k?X-Amz-Signature=5ec4e75ec4e7", expires_at=EXPIRY)
PUBLIC = PresignedUrl("bucket", "k", "https://bucket.s3.amazonaws.com/k", is_signed=False)


def error_of(refusal: Refusal, url: PresignedUrl = URL, now: datetime = BEFORE) -> errors.TransferError:
    """Return the error of a refusal; its text never has the query."""
    found = url_error(refusal, url, etag="e", now=now)
    assert "Signature=" not in str(found)
    return found


@pytest.mark.parametrize(
    ("refusal", "kind", "says"),
    [
        (Refusal(403, "AccessDenied", "Request has expired"), errors.UrlRefused, "The URL has expired"),
        (Refusal(400, "ExpiredToken", "The provided token has expired."), errors.UrlRefused, "has expired"),
        (Refusal(403, "AccessDenied", "Request is not yet valid"), errors.UrlRefused, "is not valid yet"),
        (Refusal(403, "SignatureDoesNotMatch"), errors.UrlRefused, "presigned for another method than GET"),
        (Refusal(400, "AuthorizationQueryParametersError"), errors.UrlRefused, "was changed or cut off"),
        (
            Refusal(400, "AuthorizationQueryParametersError", "the region 'us-east-1' is wrong; expecting 'eu-west-1'"),
            errors.UrlRefused,
            "ask for one that is made for eu-west-1",
        ),
        (Refusal(403, "MissingKey"), errors.UrlRefused, "was changed or cut off"),
        (Refusal(403, "InvalidAccessKeyId"), errors.UrlRefused, "The key that signed the URL"),
        (Refusal(403, "AccessDenied", "Access Denied"), errors.AccessDenied, "Whoever made the URL may not read"),
        (Refusal(403), errors.AccessDenied, "Whoever made the URL may not read"),
        (Refusal(401), errors.UrlRefused, "asks for a sign-in"),
        (Refusal(403, "InvalidObjectState"), errors.ObjectArchived, "is archived"),
        (Refusal(404, "NoSuchKey"), errors.ObjectNotFound, "does not exist"),
        (Refusal(404), errors.UnexpectedResponse, "status 404"),
        (Refusal(412), errors.SourceChanged, "changed during the copy"),
        (Refusal(405), errors.RequestNotSupported, "does not support"),
        (Refusal(503, "SlowDown"), errors.Throttled, "slow down"),
        (Refusal(500), errors.ServerFailed, "failed with status 500"),
        (Refusal(302), errors.UnexpectedResponse, "a redirect (status 302), which is never followed"),
        (
            Refusal(307, headers={"x-amz-bucket-region": "eu-west-1"}),
            errors.UnexpectedResponse,
            "the bucket's own region, which is 'eu-west-1'",
        ),
    ],
)
def test_a_refusal_says_what_to_ask_for(refusal: Refusal, kind: type[errors.TransferError], says: str) -> None:
    """Each cause has its own sentence, and the service's own errors keep theirs."""
    found = error_of(refusal)
    assert type(found) is kind
    assert says in str(found)


def test_a_url_after_its_expiry_has_expired_whatever_is_said() -> None:
    """CloudFront and proxies answer 403 without a reason; a changed signature keeps its own sentence."""
    assert "The URL has expired" in str(error_of(Refusal(403, "AccessDenied", "Access denied"), now=EXPIRY))
    assert "The URL has expired" in str(error_of(Refusal(403), now=EXPIRY))
    assert "was changed" in str(error_of(Refusal(403, "SignatureDoesNotMatch"), now=EXPIRY))


def test_a_url_without_a_signature_may_be_cut_off() -> None:
    """It reads public objects only."""
    found = error_of(Refusal(403, "AccessDenied", "Access Denied"), PUBLIC)
    assert "it may be cut off at its question mark" in str(found)


def test_expiry_by_the_urls_own_date_is_permanent() -> None:
    """Its sentence has the time, and its reason a code of its own."""
    found = expired(URL)
    assert "valid until 2026-01-31 07:00:00 UTC" in str(found)
    assert isinstance(found, errors.PermanentError)
    assert found.reason() == "url_refused"
