"""URLs by which somebody else reads an object: what they say, who accepts them, and where there is none."""

import urllib.request
from contextlib import closing
from typing import Any
from urllib.error import HTTPError
from urllib.parse import parse_qs, urlsplit

import pytest
from botocore.credentials import Credentials, ReadOnlyCredentials

from local_cloud.servers import LocalS3
from s3_to_azure.model.limits import MAX_SOURCE_URL_CHARACTERS
from s3_to_azure.model.objects import FetchUrl, ObjectVersion
from s3_to_azure.stores.s3.addresses import BucketAddress
from s3_to_azure.stores.s3.options import ReadOptions
from s3_to_azure.stores.s3.presigning import VALID_S, fetch_url
from tests.fakes.memory_source import EPOCH
from tests.real_stores import s3_source

URL = "https://b.s3.eu-west-1.amazonaws.com/a%20key"


def address(scheme: str | None = "s3v4", *, token: str | None = None, credentials: Any = None) -> BucketAddress:
    """Return a bucket's address."""
    held = credentials or Credentials("AKIDEXAMPLE", "a secret key", token)
    return BucketAddress("https://b.s3.eu-west-1.amazonaws.com", "eu-west-1", scheme, "s3", held)


def made(*arguments: Any) -> FetchUrl:
    """Return a URL that must exist."""
    found = fetch_url(*arguments)
    assert found is not None
    return found


def query_of(found: FetchUrl) -> dict[str, str]:
    """Return the parameters of a URL."""
    return {name: values[0] for name, values in parse_qs(urlsplit(found.url).query).items()}


def test_only_the_host_is_signed() -> None:
    """One URL serves any range, and Azure needs to send no header of ours; it is short-lived, and holds the token."""
    found = made(address(token="the session's token"), URL)
    query = query_of(found)
    assert query["X-Amz-SignedHeaders"] == "host"
    assert query["X-Amz-Expires"] == str(VALID_S)
    assert query["X-Amz-Security-Token"] == "the session's token"
    assert found.url.startswith(f"{URL}?")


def test_credentials_of_the_moment() -> None:
    """Credentials that were renewed sign the next URL."""

    class Renewed:
        names = iter(("FIRST", "SECOND"))

        def get_frozen_credentials(self) -> ReadOnlyCredentials:
            return ReadOnlyCredentials(next(self.names), "a secret key", None)

    bucket = address(credentials=Renewed())
    found = [query_of(made(bucket, URL))["X-Amz-Credential"].partition("/")[0] for _ in range(2)]
    assert found == ["FIRST", "SECOND"]


@pytest.mark.parametrize("scheme", ["v4-s3express", "v4a", "s3"])
def test_other_signatures_have_no_url(scheme: str) -> None:
    """A session of S3 Express, or a signature for many regions, is not made in a query here."""
    assert fetch_url(address(scheme), URL) is None


def test_unsigned_requests_need_no_signature() -> None:
    """An object that everybody may read is read by its own URL, which does not expire."""
    assert fetch_url(address(None), URL) == FetchUrl(URL)


def test_length_is_that_of_the_url() -> None:
    """Azure accepts 2,048 characters; one more, such as of a session's token, and there is no URL."""
    room = MAX_SOURCE_URL_CHARACTERS - len(made(address(token="x"), URL).url)
    assert len(made(address(token="x" * (room + 1)), URL).url) == MAX_SOURCE_URL_CHARACTERS
    assert fetch_url(address(token="x" * (room + 2)), URL) is None


def test_a_url_is_not_shown() -> None:
    """Whoever has it may read, so no ``repr`` has it."""
    assert "Signature" not in repr(made(address(), URL))


def version(bucket: str, key: str) -> ObjectVersion:
    """Return a version of which only the name matters."""
    return ObjectVersion(bucket, key, "etag", 10, EPOCH)


@pytest.mark.parametrize("key", ["k", "a//b c+d%2F/ü", "tab\there", "k" * 900])
def test_s3_accepts_it_for_any_range(s3_server: LocalS3, s3_client: Any, bucket: str, key: str) -> None:
    """The server checks the signature of a URL, and none of its ranges."""
    s3_client.put_object(Bucket=bucket, Key=key, Body=b"0123456789")
    with closing(s3_source(s3_server)) as source:
        found = source.fetch_url(version(bucket, key))
        assert found is not None
        request = urllib.request.Request(found.url, headers={"Range": "bytes=2-4"})
        with urllib.request.urlopen(request) as response:
            assert (response.status, response.read()) == (206, b"234")
        with pytest.raises(HTTPError) as refused:
            urllib.request.urlopen(found.url[:-1] + ("0" if found.url[-1] != "0" else "1"))
        refused.value.close()
        assert refused.value.code == 403


def test_named_version_is_read(s3_server: LocalS3, s3_client: Any, bucket: str) -> None:
    """The URL of a version that the user named reads that version, not the current one."""
    s3_client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    older = s3_client.put_object(Bucket=bucket, Key="k", Body=b"older")["VersionId"]
    s3_client.put_object(Bucket=bucket, Key="k", Body=b"newer")
    with closing(s3_source(s3_server, reading=ReadOptions(version_id=older))) as source:
        found = source.fetch_url(version(bucket, "k"))
    assert found is not None
    with urllib.request.urlopen(found.url) as response:
        assert response.read() == b"older"


@pytest.mark.parametrize("reading", [ReadOptions(requester_pays=True), ReadOptions(customer_key=bytes(32))])
def test_what_needs_a_header_has_no_url(s3_server: LocalS3, bucket: str, reading: ReadOptions) -> None:
    """The key of an object's owner, and the consent to pay, are headers that Azure would not send."""
    with closing(s3_source(s3_server, reading=reading)) as source:
        assert source.fetch_url(version(bucket, "k")) is None
