"""The signatures are those that botocore would make."""

import hashlib
import hmac
import re
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from boto3 import Session
from botocore.auth import S3ExpressAuth, S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import NoCredentialsError
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import example, given, settings
from hypothesis import strategies as st

from s3_to_azure.model.errors import UsageError
from s3_to_azure.stores.http.redaction import redact
from s3_to_azure.stores.s3.signing import SigV4, signer_for
from s3_to_azure.stores.s3.source import S3Source

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=80)
VISIBLE = st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=80)
VALUES = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=60).map(str.strip)
HEADERS = st.dictionaries(st.from_regex(r"x-amz-[a-z]{1,12}(-[a-z0-9]{1,8})?", fullmatch=True), VALUES, max_size=4)
ENDPOINTS = st.sampled_from(
    [
        "https://bucket.s3.eu-central-1.amazonaws.com",
        "https://s3.amazonaws.com:443/bucket",
        "http://127.0.0.1:9000/bucket",
        "http://minio:80/bucket",
        "http://minio:443/bucket",
        "https://minio:80/a/path/bucket",
        "http://[::1]:9000/bucket",
        "https://s3.cn-north-1.amazonaws.com.cn/bucket.with.dots",
    ]
)
MOMENTS = st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1)).map(lambda moment: moment.replace(tzinfo=UTC))  # noqa: DTZ001 - made aware at once


def by_botocore(credentials: Any, region: str, url: str, headers: dict[str, str], moment: datetime) -> dict[str, str]:
    """Return the headers that botocore signs at this time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("botocore.auth.get_current_datetime", lambda: moment.replace(tzinfo=None), raising=True)
        request = AWSRequest(method="GET", url=url, headers=headers)
        S3SigV4Auth(credentials.get_frozen_credentials(), "s3", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def fast(credentials: Any, region: str, url: str, headers: dict[str, str], moment: datetime) -> dict[str, str]:
    """Return the headers that are signed here at this time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s3_to_azure.stores.s3.signing.time.time", moment.timestamp)
        shared = {name: value for name, value in headers.items() if name.startswith("x-amz-")}
        return SigV4(credentials, region).sign_pinned_get(
            url, if_match=headers["if-match"], shared=shared, byte_range=headers.get("range")
        )


@settings(max_examples=60)
@given(
    endpoint=ENDPOINTS,
    key=KEYS,
    version=st.none() | KEYS,
    etag=VISIBLE,
    byte_range=st.none() | st.builds("bytes={}-{}".format, st.integers(min_value=0), st.integers(min_value=0)),
    headers=HEADERS,
    credentials=st.builds(Credentials, st.just("AKID"), VISIBLE.filter(bool), st.none() | VISIBLE.filter(bool)),
    region=st.sampled_from(["us-east-1", "eu-central-1"]),
    moment=MOMENTS,
)
@example(
    endpoint="http://127.0.0.1:9000/b",
    key="a//b +%?#~ü",
    version=None,
    etag="e",
    byte_range="bytes=0-9",
    headers={"x-amz-a": "two  spaces"},
    credentials=Credentials("AKID", "secret", "token"),
    region="us-east-1",
    moment=datetime(2026, 1, 1, tzinfo=UTC),
)
def test_same_signature_as_botocore(
    *,
    endpoint: str,
    key: str,
    version: str | None,
    etag: str,
    byte_range: str | None,
    headers: dict[str, str],
    credentials: Credentials,
    region: str,
    moment: datetime,
) -> None:
    """For any key, version, ETag, range, header, token, port and time."""
    url = f"{endpoint}/{quote(key, safe='/~')}" + (f"?versionId={quote(version, safe='~')}" if version else "")
    signed = {"if-match": f'"{etag}"', "x-amz-checksum-mode": "ENABLED", **headers}
    if byte_range is not None:
        signed["range"] = byte_range
    ours = fast(credentials, region, url, signed, moment)
    assert ours == by_botocore(credentials, region, url, signed, moment)


def test_refreshed_credentials_are_used_at_once() -> None:
    """From the next request on; and each day has a signing key of its own."""

    class Refreshed:
        def get_frozen_credentials(self) -> Any:
            return Credentials(f"AKID{len(made)}", f"secret {len(made)}").get_frozen_credentials()

    made: list[dict[str, str]] = []
    signer = Refreshed()
    moments = [datetime(2026, 1, day, 12, tzinfo=UTC) for day in (1, 1, 2)]
    for moment in moments:
        url = "http://127.0.0.1:9000/b/k"
        expected = by_botocore(signer, "us-east-1", url, {"if-match": '"e"'}, moment)
        made.append(fast(signer, "us-east-1", url, {"if-match": '"e"'}, moment))
        assert made[-1] == expected
    assert len({headers["authorization"] for headers in made}) == 3


def test_whole_objects_and_ranges_are_not_mixed_up() -> None:
    """Requests of the same second share prepared parts, which differ with and without a range."""
    signer = SigV4(Credentials("AKID", "secret"), "us-east-1")
    url, moment = "http://127.0.0.1:9000/b/k", datetime(2026, 1, 1, tzinfo=UTC)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("s3_to_azure.stores.s3.signing.time.time", moment.timestamp)
        for byte_range in (None, "bytes=0-1", "bytes=2-3", None):
            headers = {"if-match": '"e"'} | ({"range": byte_range} if byte_range else {})
            ours = signer.sign_pinned_get(url, if_match='"e"', shared={}, byte_range=byte_range)
            assert ours == by_botocore(Credentials("AKID", "secret"), "us-east-1", url, headers, moment)
    assert not signer.is_outdated()


def test_get_is_signed_as_botocore_signs_it() -> None:
    """With and without ETag and range; headers that a proxy may change are sent unsigned."""
    credentials = Credentials("AKID", "secret", "token")
    url, moment = "http://127.0.0.1:9000/b/k?versionId=v", datetime(2026, 1, 1, tzinfo=UTC)
    etag, part, mode = {"If-Match": '"e"'}, {"Range": "bytes=0-1"}, {"x-amz-checksum-mode": "ENABLED"}
    for covered in (etag, etag | part, etag | mode, part, part | mode):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("s3_to_azure.stores.s3.signing.time.time", moment.timestamp)
            patch.setattr("botocore.auth.get_current_datetime", lambda: moment.replace(tzinfo=None))
            signer = SigV4(credentials, "us-east-1")
            ours = {n.lower(): v for n, v in signer.sign_get(url, {"Accept-Encoding": "identity"} | covered).items()}
        assert ours.pop("accept-encoding") == "identity"
        assert ours == by_botocore(credentials, "us-east-1", url, covered, moment)
        assert not signer.is_outdated()


def test_sessions_of_directory_buckets_are_signed_as_botocore_signs_them() -> None:
    """With the session's own header, and for the service's own name."""
    credentials = Credentials("SESSION", "secret", "token")
    url, moment = "http://127.0.0.1:9000/b/k", datetime(2026, 1, 1, tzinfo=UTC)
    for covered in ({"If-Match": '"e"', "x-amz-checksum-mode": "ENABLED"}, {"Range": "bytes=0-1"}):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("s3_to_azure.stores.s3.signing.time.time", moment.timestamp)
            patch.setattr("botocore.auth.get_current_datetime", lambda: moment.replace(tzinfo=None))
            signer = signer_for("v4-s3express", credentials, region="us-west-2", service="s3express")
            ours = signer.sign_get(url, covered)
            request = AWSRequest(method="GET", url=url, headers=covered)
            frozen = credentials.get_frozen_credentials()
            S3ExpressAuth(frozen, "s3express", "us-west-2", identity_cache=None).add_auth(request)
        assert {n.lower(): v for n, v in ours.items()} == {n.lower(): v for n, v in request.headers.items()}
        assert ours["x-amz-s3session-token"] == "token"


def asymmetric_key(credentials: Credentials) -> ec.EllipticCurvePublicKey:
    """Derive the public key of a secret key: a counter-mode KDF (NIST SP 800-108), until the result is a scalar.

    See https://github.com/awslabs/aws-c-auth/blob/main/source/key_derivation.c.
    """
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for counter in range(1, 255):
        context = credentials.access_key.encode() + bytes([counter])
        message = (1).to_bytes(4, "big") + b"AWS4-ECDSA-P256-SHA256" + b"\0" + context + (256).to_bytes(4, "big")
        candidate = int.from_bytes(hmac.digest(f"AWS4A{credentials.secret_key}".encode(), message, "sha256"), "big")
        if candidate <= order - 2:
            return ec.derive_private_key(candidate + 1, ec.SECP256R1()).public_key()
    raise AssertionError("no key")


def test_multi_region_access_points_are_signed_for_all_regions() -> None:
    """The asymmetric signature over the headers that are sent verifies with the key that belongs to the secret."""
    credentials = Credentials("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "token")
    signer = signer_for("s3v4a", credentials, region="*", service="s3")
    shared = {"x-amz-checksum-mode": "ENABLED"}
    sent = signer.sign_pinned_get("https://alias.mrap/a%20b", if_match='"e"', shared=shared, byte_range="bytes=0-1")
    assert not signer.is_outdated()
    headers = {name.lower(): value for name, value in sent.items()}
    assert (headers["x-amz-region-set"], headers["if-match"], headers["range"]) == ("*", '"e"', "bytes=0-1")
    # HTTP clients add the host themselves.
    assert "host" not in headers
    scope, names, signature = re.fullmatch(
        r"AWS4-ECDSA-P256-SHA256 Credential=AKIDEXAMPLE/(\S+), SignedHeaders=(\S+), Signature=([0-9a-f]+)",
        headers["authorization"],
    ).groups()  # type: ignore[union-attr]  # an AttributeError fails the test as well
    assert {"if-match", "range", "x-amz-checksum-mode", "x-amz-security-token"} <= set(names.split(";"))
    lines = [f"{name}:{headers.get(name, 'alias.mrap')}" for name in names.split(";")]
    canonical = "\n".join(["GET", "/a%20b", "", *lines, "", names, headers["x-amz-content-sha256"]])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    text = "\n".join(["AWS4-ECDSA-P256-SHA256", headers["x-amz-date"], scope, digest])
    asymmetric_key(credentials).verify(bytes.fromhex(signature), text.encode(), ec.ECDSA(hashes.SHA256()))


@pytest.mark.parametrize("scheme", ["s3v4", "s3v4a"])
def test_missing_credentials_sign_nothing(scheme: str) -> None:
    """Botocore's own error is raised, which ``s3_errors`` translates."""
    with pytest.raises(NoCredentialsError):
        signer_for(scheme, None, region="us-east-1", service="s3").sign_get("http://host/b/k", {"If-Match": '"e"'})


@pytest.mark.parametrize("which", [0, 1, 2])
def test_credentials_with_a_line_end_sign_nothing(which: int) -> None:
    """A program or a profile may issue them; a library that meets them quotes them."""
    values = ["AKID", "secret-of-a-program", "token-of-a-program"]
    values[which] += "\n"
    name = ("access key", "secret key", "session token")[which]
    signer = SigV4(Credentials(*values), "us-east-1")
    with pytest.raises(UsageError, match=f"The {name} for S3 has a line end") as caught:
        signer.sign_pinned_get("https://h/b/k", if_match='"e"', shared={})
    assert "of-a-program" not in str(caught.value)


def test_new_credentials_are_masked_as_soon_as_they_are_used() -> None:
    """Those of a role change every hour."""
    credentials = Credentials("AKID", "first-secret-key", "first-session-token")
    SigV4(credentials, "us-east-1").sign_pinned_get("https://h/b/k", if_match='"e"', shared={})
    assert redact("first-secret-key first-session-token") == "*** ***"


def test_boto3s_own_requests_look_at_the_credentials_too() -> None:
    """A listing is signed by botocore: nothing is sent with a token that has a line end."""
    session = Session("AKID", "a-secret-key", "a-session-token\r\n", region_name="us-east-1")
    source = S3Source(session, {"endpoint_url": "http://127.0.0.1:1"})
    with pytest.raises(UsageError, match="session token for S3 has a line end"):
        list(source.list("bucket", ""))
    source.close()
    assert redact("a-session-token") == "***"
