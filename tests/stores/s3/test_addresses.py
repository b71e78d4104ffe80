"""Where and how boto3 would send a request is where and how our own requests are sent."""

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from boto3 import Session
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import NoCredentialsError

from local_cloud.servers import LocalS3
from s3_to_azure.model.errors import AccessError, BucketNotFound, ConnectionMissing, TransferError
from s3_to_azure.stores.s3.addresses import Addresses, BucketAddress
from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.source import S3Source
from tests.fakes.odd_s3 import BUCKET, Call, OddS3, Reply, error, served, xml
from tests.real_stores import s3_session

ACCOUNT = "123456789012"
EXPRESS = "logs--usw2-az1--x-s3"
DATA = b"the object"


def address(bucket: str, config: Config | None = None, *, of_store: str | None = None, **options: Any) -> BucketAddress:
    """Return a bucket's address, whose region the store has told if ``of_store`` is given."""
    given = {"region_name": "us-east-2", "config": botocore_config(1, config)} | options
    with closing(s3_session("key", "secret").client("s3", **given)) as client:
        addresses = Addresses(client, "the credentials")
        addresses._regions[bucket] = of_store
        return addresses.of(bucket, payer={})


@pytest.mark.parametrize(
    ("bucket", "s3", "options", "url"),
    [
        ("b-1", {}, {}, "https://b-1.s3.eu-west-1.amazonaws.com"),
        ("b.1", {}, {}, "https://s3.eu-west-1.amazonaws.com/b.1"),
        ("b-1", {"addressing_style": "path"}, {}, "https://s3.eu-west-1.amazonaws.com/b-1"),
        ("b-1", {"use_dualstack_endpoint": True}, {}, "https://b-1.s3.dualstack.eu-west-1.amazonaws.com"),
        ("b-1", {"use_accelerate_endpoint": True}, {}, "https://b-1.s3-accelerate.amazonaws.com"),
        ("my-point-abc-s3alias", {}, {}, "https://my-point-abc-s3alias.s3.eu-west-1.amazonaws.com"),
        ("b-1", {}, {"endpoint_url": "http://HOST:9000/s3/"}, "http://host:9000/s3/b-1"),
        ("b-1", {"addressing_style": "virtual"}, {"endpoint_url": "http://host:9000"}, "http://b-1.host:9000"),
        ("b-1", {}, {"use_ssl": False}, "http://b-1.s3.eu-west-1.amazonaws.com"),
    ],
)
def test_settings_of_the_address(bucket: str, s3: dict[str, Any], options: dict[str, Any], url: str) -> None:
    """The host is in lower case, and in the bucket's region."""
    found = address(bucket, Config(s3=s3), of_store="eu-west-1", **options)
    assert (found.base_url, found.region, found.service) == (url, "eu-west-1", "s3")
    assert found.credentials == "the credentials"


def test_fips_endpoints() -> None:
    """The connection's setting applies to our requests too."""
    found = address("b-1", Config(use_fips_endpoint=True), of_store="us-west-2")
    assert found.base_url == "https://b-1.s3-fips.us-west-2.amazonaws.com"


@pytest.mark.parametrize(
    ("token", "secret"), [(None, "wJalrXUtnFEMI/K7MDENG"), ("FwoGZXIvYXdzE+/==" * 40, "s")], ids=["key", "session"]
)
def test_the_length_of_a_presigned_query(token: str | None, secret: str) -> None:
    """It is that of boto3's own URL, but for the digits of the expiry."""
    session = Session("AKIAIOSFODNN7EXAMPLE", secret, token)
    config = Config(signature_version="s3v4")
    with closing(session.client("s3", region_name="eu-west-1", config=config)) as client:
        url = client.generate_presigned_url("get_object", {"Bucket": "b-1", "Key": "k"}, ExpiresIn=123_456)
        addresses = Addresses(client, session.get_credentials())
        addresses._regions["b-1"] = "eu-west-1"
        found = addresses.of("b-1", payer={})
    assert found.can_presign
    assert found.query_characters() == len(url.partition("?")[2])


def test_buckets_of_which_no_url_is_presigned() -> None:
    """A multi-region access point has another signature; what is read unsigned needs none."""
    points = address(f"arn:aws:s3::{ACCOUNT}:accesspoint/mfzwi23gnjvgw.mrap")
    assert not points.can_presign
    public = address("b-1", Config(signature_version=UNSIGNED))
    assert (public.can_presign, public.query_characters()) == (True, 0)
    with pytest.raises(NoCredentialsError):
        replace(address("b-1"), credentials=None).query_characters()


@pytest.mark.parametrize(
    ("variable", "value", "url"),
    [
        ("AWS_ENDPOINT_URL", "http://minio:9000", "http://minio:9000/b-1"),
        ("AWS_ENDPOINT_URL_S3", "http://minio:9000", "http://minio:9000/b-1"),
        ("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "regional", "https://b-1.s3.us-east-1.amazonaws.com"),
        ("AWS_S3_US_EAST_1_REGIONAL_ENDPOINT", "legacy", "https://b-1.s3.amazonaws.com"),
        ("AWS_USE_DUALSTACK_ENDPOINT", "true", "https://b-1.s3.dualstack.us-east-1.amazonaws.com"),
        ("AWS_USE_FIPS_ENDPOINT", "true", "https://b-1.s3-fips.us-east-1.amazonaws.com"),
    ],
)
@pytest.mark.parametrize("ignored", [False, True])
def test_settings_of_the_environment(
    variable: str, value: str, url: str, ignored: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """boto3 reads them, also those that make it ignore others."""
    monkeypatch.setenv(variable, value)
    monkeypatch.setenv("AWS_IGNORE_CONFIGURED_ENDPOINT_URLS", str(ignored).lower())
    plain = "https://b-1.s3.amazonaws.com"
    expected = plain if ignored and "minio" in value else url
    assert address("b-1", region_name="us-east-1").base_url == expected


def test_without_a_region_the_global_endpoint_is_asked() -> None:
    """The bucket's own region follows from its answer."""
    assert address("b-1", region_name=None).base_url == "https://b-1.s3.amazonaws.com"
    assert address("b-1", region_name=None).region == "us-east-1"
    assert address("b-1", region_name=None, of_store="eu-west-1").base_url == "https://b-1.s3.eu-west-1.amazonaws.com"


@pytest.mark.parametrize(
    ("bucket", "url", "signature"),
    [
        (
            f"arn:aws:s3:eu-west-1:{ACCOUNT}:accesspoint/my",
            f"https://my-{ACCOUNT}.s3-accesspoint.eu-west-1.amazonaws.com",
            ("v4", "eu-west-1", "s3"),
        ),
        (
            f"arn:aws:s3::{ACCOUNT}:accesspoint/mfzwi23gnjvgw.mrap",
            "https://mfzwi23gnjvgw.mrap.accesspoint.s3-global.amazonaws.com",
            ("v4a", "*", "s3"),
        ),
        (
            f"arn:aws:s3-outposts:us-west-2:{ACCOUNT}:outpost:op-01234567890123456:accesspoint:my",
            f"https://my-{ACCOUNT}.op-01234567890123456.s3-outposts.us-west-2.amazonaws.com",
            ("v4a", "*", "s3-outposts"),
        ),
        (
            f"arn:aws:s3-object-lambda:us-west-2:{ACCOUNT}:accesspoint/my",
            f"https://my-{ACCOUNT}.s3-object-lambda.us-west-2.amazonaws.com",
            ("v4", "us-west-2", "s3-object-lambda"),
        ),
    ],
)
def test_access_points(bucket: str, url: str, signature: tuple[str, str, str]) -> None:
    """An ARN names host, region and service; no request looks them up."""
    with closing(s3_session("key", "secret").client("s3", config=botocore_config(1))) as client:
        found = Addresses(client, None).of(bucket, payer={})
    scheme = str(found.scheme).removeprefix("s3")
    assert (found.base_url, (scheme, found.region, found.service)) == (url, signature)


@pytest.mark.parametrize("given", [None, "s3v4", "v4", "s3"])
def test_a_named_signature_does_not_apply_where_it_cannot_be_used(given: str | None) -> None:
    """boto3 would use it for each bucket, also for those that accept only another one."""
    assert address("b-1", Config(signature_version=given)).scheme == "s3v4"
    arn = f"arn:aws:s3::{ACCOUNT}:accesspoint/mfzwi23gnjvgw.mrap"
    assert address(arn, Config(signature_version=given)).scheme == "s3v4a"


# -- the bucket's region -----------------------------------------------------------------------------------------------


def region_of(call: Call) -> str | None:
    """Return the region that a request is signed for."""
    scope = call.headers.get("authorization", "").partition("Credential=")[2].split("/")
    return scope[2] if len(scope) > 2 else None


def only_in(region: str, refusal: dict[str, Reply]) -> OddS3:
    """Return a server that refuses signatures for other regions: HEAD bucket, listings and others as given."""

    def change(call: Call, reply: Reply) -> Reply:
        if region_of(call) != region:
            wrong = refusal.get(call.name, refusal["else"])
            return Reply(wrong.status, wrong.headers) if call.name.startswith("head") else wrong
        return reply.without("x-amz-bucket-region")

    return OddS3({b"k": DATA}, change=change)


def malformed(region: str) -> Reply:
    """Return S3's answer to a signature for another region."""
    return xml(
        400,
        "<Error><Code>AuthorizationHeaderMalformed</Code><Message>The region 'us-east-1' is wrong; expecting "
        f"'{region}'</Message><Region>{region}</Region></Error>",
    )


@pytest.mark.parametrize(
    ("head", "listing"),
    [
        # A store of one fixed region, such as Garage: a HEAD has no document that names it.
        (400, malformed("eu-west-1")),
        (301, error(301, "PermanentRedirect").with_headers(x_amz_bucket_region="eu-west-1")),
        (307, malformed("eu-west-1")),
    ],
    ids=["malformed", "permanent redirect", "temporary redirect"],
)
def test_region_that_only_a_document_names(head: int, listing: Reply) -> None:
    """It is learned from a listing's refusal, before the first HEAD of an object."""
    s3 = only_in("eu-west-1", {"head bucket": Reply(head), "else": listing})
    with served(s3) as source:
        version = source.head(BUCKET, "k")
        with source.open(version) as body:
            assert body.version.etag == version.etag
        assert source._address_of(BUCKET).region == "eu-west-1"
        assert [found.key for found in source.list(BUCKET, "")] == ["k"]
    objects = [call for call in s3.calls if call.key]
    assert {region_of(call) for call in objects} == {"eu-west-1"}


@pytest.mark.parametrize("status", [200, 301, 307, 400, 403])
def test_region_that_a_header_names(status: int) -> None:
    """One request is enough, also if this identity may not ask about the bucket."""

    def change(call: Call, reply: Reply) -> Reply:
        if call.name == "head bucket" and region_of(call) != "eu-west-1":
            return Reply(status, (("x-amz-bucket-region", "eu-west-1"), ("Content-Length", "0")))
        return reply.with_headers(x_amz_bucket_region="eu-west-1")

    s3 = OddS3({b"k": DATA}, change=change)
    with served(s3) as source:
        assert [found.key for found in source.list(BUCKET, "")] == ["k"]
        source.check(BUCKET)
        assert source.head(BUCKET, "k").size_bytes == len(DATA)
    assert {region_of(call) for call in s3.calls if call.key} == {"eu-west-1"}


def test_region_that_is_none_is_ignored() -> None:
    """A header of a store is data: the client's own region stays."""
    s3 = OddS3({b"k": DATA}, change=lambda _, reply: reply.with_headers(x_amz_bucket_region="US Standard!"))
    with served(s3) as source:
        assert source._address_of(BUCKET).region == "us-east-1"
        assert source.head(BUCKET, "k").size_bytes == len(DATA)


def test_identity_that_may_only_read_objects() -> None:
    """The bucket is not certainly unusable: HEAD and listing are refused, and the object is read."""
    denied = {"head bucket": 403, "list": 403}
    s3 = OddS3(
        {b"k": DATA},
        change=lambda call, reply: error(denied[call.name], "AccessDenied") if call.name in denied else reply,
    )
    with served(s3) as source:
        source.check(BUCKET)
        assert source.head(BUCKET, "k").size_bytes == len(DATA)


def test_region_that_nobody_names_is_an_error_about_the_region() -> None:
    """The listing's own refusal is reported, not that of an object."""
    s3 = only_in("eu-west-1", {"head bucket": Reply(400), "else": error(400, "AuthorizationHeaderMalformed")})
    with served(s3) as source, pytest.raises(AccessError, match=r"region|AuthorizationHeaderMalformed"):
        source.check(BUCKET)


def test_missing_bucket() -> None:
    """It is certainly unusable."""
    missing = OddS3({}, change=lambda _call, _reply: error(404, "NoSuchBucket"))
    with served(missing) as source, pytest.raises(BucketNotFound):
        source.check(BUCKET)


def test_bucket_that_moved_is_looked_up_again() -> None:
    """After a refusal: it was deleted, and created in another region."""
    region = "us-east-1"

    def change(call: Call, reply: Reply) -> Reply:
        if region_of(call) == region:
            return reply.with_headers(x_amz_bucket_region=region)
        refusal = malformed(region)
        return Reply(400, (("x-amz-bucket-region", region),)) if call.name.startswith("head") else refusal

    with served(OddS3({b"k": DATA}, change=change)) as source:
        source.head(BUCKET, "k")
        region = "eu-west-1"
        try:
            source.head(BUCKET, "k")
        except TransferError:
            pass
        assert source.head(BUCKET, "k").size_bytes == len(DATA)
        assert source._address_of(BUCKET).region == "eu-west-1"


# -- signatures --------------------------------------------------------------------------------------------------------


def reading(url: str, config: Config, session: Any = None) -> S3Source:
    """Return a source at a server, with settings."""
    options = {"endpoint_url": url, "region_name": "us-east-1", "config": botocore_config(2, config)}
    return S3Source(session or s3_session("access", "secret"), options)


def read(source: S3Source, bucket: str) -> bytes:
    """List, look up, and read an object in both ways; return its bytes."""
    source.check(bucket)
    (listed,) = source.list(bucket, "")
    version = source.head(bucket, "k")
    buffer = bytearray(len(DATA))
    with source.open(version, 0, len(DATA)) as body:
        assert body.readinto(memoryview(buffer)) == len(DATA)
    source.signed_get(listed)
    return bytes(buffer)


def server_of(source: S3Source) -> LocalS3:
    """Return the address of a served source."""
    return LocalS3(source._client.meta.endpoint_url, "test", "test", "us-east-1")


def test_unsigned_requests_have_no_signature_at_all() -> None:
    """The identity of a worker, which may not read the public bucket, signs neither boto3's requests nor ours."""

    def change(call: Call, reply: Reply) -> Reply:
        return error(403, "AccessDenied") if "authorization" in call.headers else reply

    s3 = OddS3({b"k": DATA}, change=change)
    with served(s3) as other, closing(reading(server_of(other).endpoint_url, Config(signature_version=UNSIGNED))) as it:
        assert read(it, BUCKET) == DATA
        (listed,) = it.list(BUCKET, "")
        _, headers = it.signed_get(listed)
    assert not [call for call in s3.calls if "authorization" in call.headers]
    assert not {"authorization", "x-amz-date"} & {name.lower() for name in headers}


def test_missing_credentials_are_no_unsigned_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the setting makes requests unsigned."""
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    s3 = OddS3({b"k": DATA})
    with served(s3) as other, closing(reading(server_of(other).endpoint_url, Config(), s3_session())) as source:
        for act in (lambda: source.check(BUCKET), lambda: source.head(BUCKET, "k")):
            with pytest.raises(ConnectionMissing):
                act()
    assert s3.calls == []


SESSION = (
    "<CreateSessionResult><Credentials><SessionToken>TOKEN</SessionToken><SecretAccessKey>S</SecretAccessKey>"
    "<AccessKeyId>SESSIONKEY</AccessKeyId><Expiration>2099-01-01T00:00:00Z</Expiration></Credentials>"
    "</CreateSessionResult>"
)


@pytest.mark.parametrize("given", [None, "s3v4"])
def test_directory_buckets_are_read_with_a_session(given: str | None) -> None:
    """S3 Express: one session signs all requests for objects, boto3's and ours."""

    def change(call: Call, reply: Reply) -> Reply:
        return xml(200, SESSION) if "session" in call.query else reply

    s3 = OddS3({b"k": DATA}, change=change)
    with (
        served(s3) as other,
        closing(reading(server_of(other).endpoint_url, Config(signature_version=given))) as source,
    ):
        assert read(source, EXPRESS) == DATA
        _, headers = source.signed_get(next(iter(source.list(EXPRESS, ""))))
    sessions = [call for call in s3.calls if "session" in call.query]
    assert len(sessions) == 1
    for call in [call for call in s3.calls if call.key]:
        assert "Credential=SESSIONKEY/" in call.headers["authorization"]
        assert "/us-east-1/s3express/aws4_request" in call.headers["authorization"]
        assert call.headers["x-amz-s3session-token"] == "TOKEN"
        assert "x-amz-security-token" not in call.headers
    assert headers["x-amz-s3session-token"] == "TOKEN"


def test_directory_buckets_without_a_session() -> None:
    """The setting ``disable_s3_express_session_auth`` makes the long-term key sign, for the service's own name."""
    s3 = OddS3({b"k": DATA})
    config = Config(s3={"disable_s3_express_session_auth": True})
    with served(s3) as other, closing(reading(server_of(other).endpoint_url, config)) as source:
        assert read(source, EXPRESS) == DATA
    for call in s3.calls:
        assert "Credential=access/" in call.headers["authorization"]
        assert "/us-east-1/s3express/aws4_request" in call.headers["authorization"]
