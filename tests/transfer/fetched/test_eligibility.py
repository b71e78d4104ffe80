"""Which way an object's bytes take, and why not the other."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.limits import GIB, MAX_OBJECT_BYTES, MAX_SOURCE_URL_CHARACTERS, MIB
from s3_to_azure.model.objects import FetchAccess, ListedObject, ObjectVersion, SourceChecksum
from s3_to_azure.model.options import INTEGRITY, VIA
from s3_to_azure.model.reasons import (
    ARCHIVE_CLASS,
    CANNOT_PRESIGN,
    LONG_URL,
    NO_BLOCK_SIZE,
    NO_CRC64NVME,
    NOT_FETCHED,
    ONE_REQUEST,
    PRIVATE_ENDPOINT,
    REQUESTER_PAID,
    SSE_C,
    WORKER_READS,
)
from s3_to_azure.transfer.fetched.eligibility import (
    NotFetchable,
    Route,
    Routing,
    bucket_obstacle,
    fetched_block_bytes,
    fetched_checksum,
    is_public,
    planned_access,
    url_characters,
)

ACCESS = FetchAccess("https://bucket.s3.eu-central-1.amazonaws.com", query_characters=330)
TIME = datetime(2026, 1, 1, tzinfo=UTC)
CRC64 = SourceChecksum("crc64nvme", 1)
REPORTED = SourceChecksum("crc64nvme", 1, reported=True)


def version(size_bytes: int = GIB, checksum: SourceChecksum | None = CRC64, **fields: Any) -> ObjectVersion:
    """Return a version that Azure can fetch, but for what is given."""
    return ObjectVersion("bucket", fields.pop("key", "a/key"), "e", size_bytes, TIME, checksum=checksum, **fields)


def code(source: ListedObject | ObjectVersion = version(), via: Any = "auto", **rules: Any) -> str:  # noqa: B008
    """Return why Azure does not fetch the object."""
    return Routing(via, **({"access": ACCESS} | rules)).obstacle(source)


@pytest.mark.parametrize(
    ("wanted", "source", "rules"),
    [
        ("", version(), {}),
        ("", version(8 * MIB + 1), {}),
        (ONE_REQUEST, version(8 * MIB), {}),
        (ONE_REQUEST, version(16 * MIB), {"block_bytes": 16 * MIB}),
        ("", version(16 * MIB + 1), {"block_bytes": 16 * MIB}),
        ("", version(1), {"via": "azure"}),
        (NO_CRC64NVME, version(checksum=None), {}),
        (NO_CRC64NVME, version(checksum=SourceChecksum("crc32c", 1)), {}),
        (NO_CRC64NVME, version(checksum=None, weaker=(SourceChecksum("md5", 1),)), {}),
        ("", version(checksum=SourceChecksum("crc32", 1), weaker=(REPORTED,)), {}),
        (
            NO_CRC64NVME,
            version(checksum=SourceChecksum("crc32", 1), weaker=(REPORTED,)),
            {"integrity": "crc32"},
        ),
        ("", version(checksum=None, weaker=(REPORTED,)), {"integrity": "crc64nvme (report)"}),
        ("", version(), {"integrity": "crc64nvme"}),
        (ARCHIVE_CLASS, version(storage_class="GLACIER"), {}),
        (ARCHIVE_CLASS, version(storage_class="DEEP_ARCHIVE"), {}),
        ("", version(storage_class="GLACIER_IR"), {}),
        (LONG_URL, version(key="é" * 512), {}),
        ("", version(key="e" * 1_024), {}),
        (LONG_URL, version(key="e" * 1_024), {"access": replace(ACCESS, query_characters=1_100)}),
        (NO_BLOCK_SIZE, version(4 * 1024 * GIB), {}),
        (NO_BLOCK_SIZE, version(), {"budget_bytes": 32 * MIB}),
        ("", version(20 * MIB), {"budget_bytes": 32 * MIB}),
        (SSE_C, version(), {"access": replace(ACCESS, has_customer_key=True)}),
        (REQUESTER_PAID, version(), {"access": replace(ACCESS, requester_pays=True)}),
        (CANNOT_PRESIGN, version(), {"access": replace(ACCESS, can_presign=False)}),
        (PRIVATE_ENDPOINT, version(), {"access": replace(ACCESS, base_url="http://127.0.0.1:4566/bucket")}),
        (WORKER_READS, version(), {"integrity": "reread"}),
        (WORKER_READS, version(), {"integrity": "readback"}),
    ],
)
def test_why_azure_does_not_fetch(wanted: str, source: ObjectVersion, rules: dict[str, Any]) -> None:
    """Each obstacle has its code, and an object without one is fetched."""
    assert code(source, **rules) == wanted


def test_a_listed_object_is_taken_to_have_the_checksum() -> None:
    """A listing does not show which checksum S3 stores; everything else is known."""
    listed = ListedObject("bucket", "k", "e", GIB, TIME)
    assert code(listed) == ""
    assert code(replace(listed, storage_class="GLACIER")) == ARCHIVE_CLASS


def test_the_choice_of_the_user() -> None:
    """``worker`` never fetches and explains nothing; ``auto`` streams with the reason; ``azure`` fails the object."""
    bad = version(checksum=None)
    assert [Routing(via, ACCESS).route(version()).via for via in VIA] == ["worker", "azure", "azure"]
    assert Routing("worker", ACCESS).route(bad) == Route("worker")
    assert Routing("auto", ACCESS).route(bad) == Route("worker", NO_CRC64NVME)
    with pytest.raises(NotFetchable, match="stores no CRC64NVME") as caught:
        Routing("azure", ACCESS).route(bad)
    assert caught.value.as_reason().startswith("not_fetchable: ")


@pytest.mark.parametrize("via", VIA)
def test_an_empty_object_is_written_without_fetching(via: Any) -> None:
    """It has no bytes that could go any way, so it fails nowhere."""
    assert Routing(via, ACCESS).route(version(0, checksum=None)) == Route("worker")


@pytest.mark.parametrize(
    ("url", "public"),
    [
        ("https://bucket.s3.amazonaws.com", True),
        ("https://s3.eu-central-1.wasabisys.com/bucket", True),
        ("https://BUCKET.S3.AMAZONAWS.COM.", True),
        ("https://8.8.8.8/bucket", True),
        ("https://[2001:4860:4860::8888]/bucket", True),
        ("http://bucket.s3.amazonaws.com", False),
        ("https://bucket.vpce-0a1b-c2d3.s3.eu-central-1.vpce.amazonaws.com", False),
        ("https://10.0.0.1/bucket", False),
        ("https://192.168.1.1:9000/bucket", False),
        ("https://127.0.0.1/bucket", False),
        ("https://169.254.1.1/bucket", False),
        ("https://[::1]/bucket", False),
        ("https://[fd00::1]/bucket", False),
        ("https://minio:9000/bucket", False),
        ("https://localhost/bucket", False),
        ("https://s3.corp/bucket", False),
        ("https://s3.example.internal/bucket", False),
        ("https://store.local./bucket", False),
        ("https:///bucket", False),
        ("https://[bad/bucket", False),
        ("", False),
    ],
)
def test_public_endpoints(url: str, public: bool) -> None:
    """Azure reads from the Internet only."""
    assert is_public(url) == public


@given(key=st.text(min_size=1, max_size=1_024), query=st.integers(0, 2_000))
def test_the_length_of_a_url_is_that_of_its_text(key: str, query: int) -> None:
    """The estimate equals the URL that is sent, and decides at exactly 2,048 characters."""
    key = key.encode("utf-8", "replace").decode()
    access = replace(ACCESS, query_characters=query)
    url = f"{access.base_url}/{quote(key, safe='/~')}?{'q' * query}"
    assert url_characters(access, key) == len(url)
    assert (code(version(key=key), access=access) == LONG_URL) == (len(url) > MAX_SOURCE_URL_CHARACTERS)


@given(
    size=st.integers(1, MAX_OBJECT_BYTES),
    budget=st.integers(MIB, GIB),
    own=st.none() | st.integers(1, 512).map(lambda count: count * MIB),
)
def test_blocks_that_azure_fetches_keep_every_limit(size: int, budget: int, own: int | None) -> None:
    """Notes and blocks together stay far below 100,000, and streaming could hold each block in memory."""
    block = fetched_block_bytes(size, budget_bytes=budget, block_bytes=own)
    if block is not None:
        assert -(-size // block) <= 12_500
        assert min(block, size) <= min(budget, 256 * MIB)
        assert own is not None or block >= 64 * MIB
    else:
        assert min(size, max(own or 64 * MIB, -(-size // 12_500))) > min(budget, 256 * MIB) - MIB


checksums = st.builds(
    SourceChecksum,
    st.sampled_from(["crc64nvme", "crc32c", "crc32", "md5", "sha256"]),
    st.integers(0, 2**32),
    st.sampled_from([0, 0, 3]),
    st.booleans(),
)
sources = st.builds(
    version,
    st.integers(0, MAX_OBJECT_BYTES),
    st.none() | checksums,
    key=st.text(st.characters(codec="utf-8"), min_size=1, max_size=1_024),
    storage_class=st.sampled_from(["STANDARD", "GLACIER", "DEEP_ARCHIVE", "GLACIER_IR"]),
    weaker=st.lists(checksums, max_size=2).map(tuple),
)
accesses = st.builds(
    FetchAccess,
    st.sampled_from([ACCESS.base_url, "http://127.0.0.1:1/bucket", "https://minio/bucket"]),
    st.integers(0, 1_500),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@given(source=sources, access=accesses, via=st.sampled_from(VIA), integrity=st.sampled_from(INTEGRITY))
def test_every_object_gets_one_way_or_one_reason(
    source: ObjectVersion, access: FetchAccess, via: Any, integrity: str
) -> None:
    """Whatever is fetched can be proven and read; whatever is not has a code with a sentence."""
    routing = Routing(via, access, integrity)
    try:
        route = routing.route(source)
    except NotFetchable:
        assert via == "azure"
        assert routing.obstacle(source) in NOT_FETCHED
        return
    if route.via == "azure":
        proof = fetched_checksum(source, integrity)
        assert via != "worker"
        assert proof is not None
        assert (proof.algorithm, proof.parts) == ("crc64nvme", 0)
        assert not bucket_obstacle(access)
        assert url_characters(access, source.key) <= MAX_SOURCE_URL_CHARACTERS
        assert route.not_fetched == ""
    else:
        assert (route.not_fetched in NOT_FETCHED) == (via == "auto" and source.size_bytes > 0)


@pytest.mark.parametrize(
    ("bucket", "endpoint", "extra", "wanted"),
    [
        ("bucket", None, {}, ""),
        ("bucket", "", {}, ""),
        ("bucket", "https://s3.wasabisys.com/", {}, ""),
        ("bucket", "http://localhost:4566", {}, PRIVATE_ENDPOINT),
        ("bucket", None, {"RequestPayer": "requester"}, REQUESTER_PAID),
        ("bucket", None, {"SSECustomerKey": "k"}, SSE_C),
        ("bucket--euc1-az1--x-s3", None, {}, CANNOT_PRESIGN),
        ("arn:aws:s3::123456789012:accesspoint/name.mrap", None, {}, CANNOT_PRESIGN),
    ],
)
def test_what_a_plan_knows_of_the_access(bucket: str, endpoint: str | None, extra: dict[str, str], wanted: str) -> None:
    """Without credentials and without S3's SDK, the arguments of the migration tell most."""
    access = planned_access(bucket, endpoint_url=endpoint, extra_arguments=extra)
    assert bucket_obstacle(access) == wanted
    assert access.query_characters > 1_000, "a session's token counts"
