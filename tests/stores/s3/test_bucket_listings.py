"""How a bucket is listed: with several requests at the same time, where the store can."""

from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from local_cloud.servers import LocalS3
from s3_to_azure.stores.http.pages import Pages
from s3_to_azure.stores.http.parallel_listing import ParallelListing
from s3_to_azure.stores.s3 import bucket_listings
from tests.real_stores import s3_client_of, s3_source

USUAL = [f"logs/2026-11-{day:02}/part-{number}.gz" for day in range(1, 9) for number in range(5)]
ODD = [f"{name}{number}" for name in ("plus+", "a b", "ü/日本-", "\U0001f600/") for number in range(6)]


# LocalStack compares names as they are URL-encoded: there any second page, also a plain one, leaves out odd keys.
@pytest.mark.parametrize(("name", "keys"), [("s3_server", USUAL), ("rclone_server", USUAL + ODD)])
def test_every_key_of_a_real_server_comes_once_and_in_its_order(
    name: str, keys: list[str], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With pages of three keys, so that it takes many requests."""
    server: LocalS3 = request.getfixturevalue(name)
    client = s3_client_of(server)
    bucket = f"bucket-{uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    for key in keys:
        client.put_object(Bucket=bucket, Key=key, Body=b"x")
    source = s3_source(server)
    plain = [listed.key for listed in source.list(bucket, "", max_keys=1_000)]
    monkeypatch.setattr(bucket_listings, "LISTING_PAGE_KEYS", 3)
    assert [listed.key for listed in source.list(bucket, "")] == plain
    assert [listed.key for listed in source.list(bucket, "logs/2026-11-0")] == [k for k in plain if k[:5] == "logs/"]
    assert sorted(plain) == sorted(keys)
    source.close()
    client.close()


@settings(max_examples=20)
@given(max_keys=st.one_of(st.none(), st.integers(1, 5_000)), is_directory=st.booleans())
def test_a_count_and_a_directory_bucket_are_listed_page_after_page(max_keys: int | None, *, is_directory: bool) -> None:
    """Who counts stops as early as before; S3 Express lists in no order."""
    listings = bucket_listings.BucketListings(object(), {}, log_once=print)
    bucket = "bucket--use1-az4--x-s3" if is_directory else "bucket"
    found = listings.list(bucket, "", max_keys=max_keys)
    assert isinstance(found, Pages if max_keys or is_directory else ParallelListing)
