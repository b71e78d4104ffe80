"""URLs of objects: what they name, until when they are valid, and what is said of one that cannot be used."""

from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.uris import S3Uri
from s3_to_azure.stores.presigned.url import PresignedUrl, is_url, parse_url, parse_url_prefix

SIGNATURE: Final = "5ec4e7" * 11
KEY_ID: Final = "AKIAIOSFODNN7EXAMPLE"
V4: Final = (
    f"X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential={KEY_ID}%2F20260131%2Feu-west-1%2Fs3%2Faws4_request"
    f"&X-Amz-Date=20260131T060000Z&X-Amz-Expires=3600&X-Amz-SignedHeaders=host&X-Amz-Signature={SIGNATURE}"
)
V2: Final = f"AWSAccessKeyId={KEY_ID}&Signature={SIGNATURE}%3D&Expires=1769842800"
CLOUDFRONT: Final = f"Expires=1769842800&Signature={SIGNATURE}__&Key-Pair-Id={KEY_ID}"
VALID_UNTIL: Final = datetime(2026, 1, 31, 7, tzinfo=UTC)
AWS: Final = "https://bucket.s3.eu-west-1.amazonaws.com"


def read(text: str) -> PresignedUrl:
    """Read a URL that can be used."""
    return parse_url(text, name="SRC")


def refused(text: str) -> str:
    """Return what is said of a URL that cannot be used; never a part of its query."""
    with pytest.raises(UsageError) as raised:
        read(text)
    said = str(raised.value)
    assert SIGNATURE not in said
    assert KEY_ID not in said
    return said


@pytest.mark.parametrize(
    ("address", "bucket", "key"),
    [
        (f"{AWS}/a%20b/c%2Bd.txt", "bucket", "a b/c+d.txt"),
        (f"{AWS}/%C3%BC/a+b", "bucket", "ü/a+b"),
        ("https://bucket.s3.amazonaws.com/k", "bucket", "k"),
        ("https://BUCKET.S3.AMAZONAWS.COM/k", "bucket", "k"),
        ("https://bucket.s3.eu-west-1.amazonaws.com:443/k", "bucket", "k"),
        ("https://my.dotted.bucket.s3.eu-west-1.amazonaws.com/k", "my.dotted.bucket", "k"),
        ("https://s3.bucket.s3-eu-west-1.amazonaws.com/k", "s3.bucket", "k"),
        ("https://bucket.s3.dualstack.eu-west-1.amazonaws.com/k", "bucket", "k"),
        ("https://bucket.s3-fips.us-gov-west-1.amazonaws.com/k", "bucket", "k"),
        ("https://bucket.s3-accelerate.amazonaws.com/k", "bucket", "k"),
        ("https://bucket.s3.cn-north-1.amazonaws.com.cn/k", "bucket", "k"),
        ("https://b--use1-az5--x-s3.s3express-use1-az5.us-east-1.amazonaws.com/k", "b--use1-az5--x-s3", "k"),
        ("https://s3.eu-west-1.amazonaws.com/bucket/a/k", "bucket", "a/k"),
        ("https://s3.amazonaws.com/bucket//k", "bucket", "/k"),
        ("https://bucket.fra1.digitaloceanspaces.com/k", "bucket", "k"),
        ("https://fra1.digitaloceanspaces.com/bucket/k", "bucket", "k"),
        ("https://account.r2.cloudflarestorage.com/bucket/k", "bucket", "k"),
        ("https://bucket.account.r2.cloudflarestorage.com/k", "bucket", "k"),
        ("https://storage.googleapis.com/bucket/k", "bucket", "k"),
        ("https://bucket.storage.googleapis.com/k", "bucket", "k"),
        ("https://s3.wasabisys.com/bucket/k", "bucket", "k"),
        ("http://127.0.0.1:9000/bucket/k", "bucket", "k"),
        ("http://minio:9000/bucket/k", "bucket", "k"),
        ("https://10.0.0.7/bucket/k", "bucket", "k"),
        ("https://[fd00::7]:9000/bucket/k", "bucket", "k"),
    ],
)
def test_bucket_and_key_are_those_of_a_copy_with_credentials(address: str, bucket: str, key: str) -> None:
    """In both styles of S3, and of the stores like it."""
    found = read(f"{address}?{V4}")
    assert (found.bucket, found.key, found.is_s3) == (bucket, key, True)


@pytest.mark.parametrize(
    ("address", "host"),
    [
        ("https://d111111abcdef8.cloudfront.net/dir/k", "https://d111111abcdef8.cloudfront.net"),
        ("https://minio.example.com/dir/k", "https://minio.example.com"),
        ("https://point-123456789012.s3-accesspoint.eu-west-1.amazonaws.com/dir/k", None),
        ("https://No_Bucket!.s3.amazonaws.com/dir/k", None),
    ],
)
def test_a_host_that_does_not_tell_the_bucket_stands_for_it(address: str, host: str | None) -> None:
    """The whole path is the key then."""
    found = read(f"{address}?{CLOUDFRONT}")
    assert found.bucket == (host or address.removesuffix("/dir/k").lower())
    assert (found.key, found.is_s3) == ("dir/k", False)
    # The kind of the signature says what answers there.
    assert read(f"{address}?{V4}").is_s3
    assert read(f"{address}?{V2}").is_s3


@pytest.mark.parametrize("query", [V4, V2, CLOUDFRONT, V4.replace("X-Amz-", "X-Goog-")])
def test_the_time_of_expiry_is_read(query: str) -> None:
    """Of every kind of signature; at that second the URL has expired."""
    found = read(f"{AWS}/k?{query}")
    assert found.expires_at == VALID_UNTIL
    assert found.is_expired(VALID_UNTIL)
    assert not found.is_expired(VALID_UNTIL.replace(hour=6))


def test_cloudfront_with_a_policy_does_not_tell_its_expiry() -> None:
    """It is inside the policy, and CloudFront itself checks it."""
    found = read(f"https://d1.cloudfront.net/k?Policy=eyJ&Signature={SIGNATURE}&Key-Pair-Id={KEY_ID}")
    assert found.expires_at is None
    assert not found.is_expired(datetime.max.replace(tzinfo=UTC))


@pytest.mark.parametrize("query", ["", "?versionId=v1", "?response-content-type=text%2Fplain"])
def test_a_url_without_a_signature_reads_a_public_object(query: str) -> None:
    """It has no expiry."""
    found = read(f"{AWS}/k{query}")
    assert not found.is_signed
    assert found.expires_at is None


def test_version_and_checksums_are_read() -> None:
    """Of the query, where SDKs move headers to."""
    found = read(f"{AWS}/k?versionId=v1&x-amz-checksum-mode=ENABLED&{V4}")
    assert found.version_id == "v1"
    assert found.asks_for_checksums
    assert not read(f"{AWS}/k?{V4}").asks_for_checksums


def test_signed_headers_with_one_value_are_sent() -> None:
    """Those that boto3 signs for ChecksumMode and RequestPayer."""
    query = V4.replace("SignedHeaders=host", "SignedHeaders=host%3Bx-amz-checksum-mode%3Bx-amz-request-payer")
    assert read(f"{AWS}/k?{query}").headers == {"x-amz-checksum-mode": "ENABLED", "x-amz-request-payer": "requester"}


@pytest.mark.parametrize("missing", ["Credential", "Date", "Expires", "SignedHeaders", "Signature"])
def test_a_url_that_is_cut_off_says_what_is_missing(missing: str) -> None:
    """As when a shell takes an ampersand for the end of a command."""
    said = refused(f"{AWS}/k?{V4.partition('&X-Amz-' + missing)[0]}")
    assert said.startswith("SRC is cut off: ")
    assert f"x-amz-{missing.lower()}" in said
    assert "single quotes" in said


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (f"{AWS}/k?AWSAccessKeyId={KEY_ID}", "cut off: signature, expires is missing"),
        (f"{AWS}/k?Expires=1769842800", "cut off: signature, key-pair-id is missing"),
        (f"{AWS}/k?Policy=eyJ", "cut off: signature, key-pair-id is missing"),
        (f"{AWS}/k?{V4.replace('&', '&amp;')}", "has &amp; instead of &"),
        (f"{AWS}/k?{quote(V4)}", "is percent-encoded as a whole"),
        (f"{AWS}/{quote('k?' + V4)}", "is percent-encoded as a whole"),
        (f"{AWS}/{quote(quote('k?' + V4))}", "is percent-encoded as a whole"),
        (f'"{AWS}/k?{V4}"', "begins or ends with a quotation mark"),
        (f"<{AWS}/k?{V4}>", "begins or ends with a quotation mark"),
        (f"{AWS}/k?{V4}'", "begins or ends with a quotation mark"),
        (f"{AWS}/k?{V4}\n", "begins or ends with a quotation mark, a bracket or a space"),
        (f"{AWS}/k?{V4}".replace("&", "\\&"), "has a backslash"),
        (f"{AWS}/k?{V4}#fragment", "has a fragment"),
        (f"{AWS}/a key?{V4}", "is not a URL"),
        (f"{AWS}/ü?{V4}", "is not a URL"),
        (f"{AWS}/100%?{V4}", "is not a URL"),
        (f"HTTPS://bucket.s3.amazonaws.com/k?{V4}", "is not a URL"),
        (f"https://?{V4}", "has no usable host"),
        (f"https://user:{SIGNATURE}@bucket.s3.amazonaws.com/k?{V4}", "has no usable host"),
        (f"https://[fd00::7/bucket/k?{V4}", "has no usable host"),
        (f"https://host:x/bucket/k?{V4}", "has no usable host"),
        (f"http://bucket.s3.amazonaws.com/k?{V4}", "begins with http://"),
        (f"http://169.254.169.254/latest/k?{V4}", "begins with http://"),
        (f"{AWS}/?{V4}", "names no object"),
        (f"{AWS}?{V4}", "names no object"),
        (f"{AWS}/folder/?{V4}", "names no object"),
        (f"{AWS}/a/../k?{V4}", "a path segment is '.' or '..'"),
        (f"{AWS}/a/%2e%2e/k?{V4}", "a path segment is '.' or '..'"),
        (f"{AWS}/%ff?{V4}", "not UTF-8"),
        (f"{AWS}/k?{V4}&X-Amz-Expires=9", "has the parameter 'X-Amz-Expires' twice"),
        (f"{AWS}/k?{V4}".replace("=3600", "=1h"), "x-amz-expires is not a number of seconds"),
        (f"{AWS}/k?{V4}".replace("=20260131T060000Z", "=today"), "x-amz-date is not a time"),
        (f"{AWS}/k?{V4}".replace("=20260131T060000Z", "=99991231T235959Z"), "x-amz-date is not a time"),
        (f"{AWS}/k?{V2}".replace("=1769842800", "=soon"), "expires is not a number of seconds"),
        (f"{AWS}/k?{V4}&x-id=PutObject", "is signed for PutObject, not for reading"),
        (f"{AWS}/k?{V4}".replace("=host", "=host%3Brange"), "signs the header 'range'"),
        (
            f"{AWS}/k?{V4}".replace("=host", "=host%3Bx-amz-server-side-encryption-customer-key"),
            "signs the header 'x-amz-server-side-encryption-customer-key'",
        ),
    ],
)
def test_a_url_that_cannot_be_used_says_why(text: str, says: str) -> None:
    """Each fault has its own sentence, and none shows the query."""
    assert says in refused(text)


def test_the_query_is_shown_nowhere() -> None:
    """Neither in the repr, nor in the text for people."""
    found = read(f"{AWS}/k?{V4}")
    assert found.shown == f"{AWS}/k"
    assert found.host == AWS
    assert SIGNATURE not in repr(found)
    assert SIGNATURE not in str(found)


@given(st.text(max_size=60))
@example("?a&b=c")
@example(f"k?{V4}")
@example("[")
@example("//user:password@host/")
def test_any_text_is_read_or_refused_with_a_sentence(text: str) -> None:
    """Nothing else is raised, and what is read is sent as it was given."""
    try:
        found = read(f"https://bucket.s3.amazonaws.com/{text}")
    except UsageError:
        return
    assert found.url == f"https://bucket.s3.amazonaws.com/{text}"
    assert found.key


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40))
def test_a_key_is_read_back(key: str) -> None:
    """Percent-encoded once, any key that can be requested at all is the one that was presigned."""
    try:
        found = read(f"{AWS}/{quote(key, safe='/~')}?{V4}")
    except UsageError as error:
        assert any(text in str(error) for text in ("path segment", "names no object", "percent-encoded"))  # noqa: PT017
        return
    assert found.key == key


@pytest.mark.parametrize("text", ["https://h/k", " 'https://h/k'", "HTTP://h/k"])
def test_a_url_is_told_from_other_addresses(text: str) -> None:
    """Also one that is refused later."""
    assert is_url(text)
    assert not is_url("s3://bucket/https://k")


def test_a_prefix_is_read() -> None:
    """What all URLs of a list begin with."""
    assert parse_url_prefix(f"{AWS}/a%20b/", name="SRC") == S3Uri("bucket", "a b/")
    assert parse_url_prefix(f"{AWS}/", name="SRC") == S3Uri("bucket", "")
    assert parse_url_prefix("https://s3.amazonaws.com/bucket/", name="SRC") == S3Uri("bucket", "")


@pytest.mark.parametrize("text", [f"{AWS}/k", f"{AWS}/a/?{V4}", f"{AWS}", "https://"])
def test_what_is_no_prefix_is_refused(text: str) -> None:
    """A URL of one object, or with a query."""
    with pytest.raises(UsageError):
        parse_url_prefix(text, name="SRC")


def test_any_host_may_do_without_tls_where_the_user_says_so() -> None:
    """Such as a store in a company's own network, by its address."""
    assert "begins with http://" in refused("http://10.0.0.7:9000/bucket/k")
    assert parse_url("http://10.0.0.7:9000/bucket/k", name="SRC", without_tls=True).bucket == "bucket"
    assert parse_url_prefix("http://10.0.0.7/bucket/d/", name="SRC", without_tls=True) == S3Uri("bucket", "d/")
