"""The contract of ``ObjectSource``, tested on the fake and on the real store with a real server."""

import base64
import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from s3_to_azure.model.checksums import ALGORITHMS
from s3_to_azure.model.errors import (
    BucketNotFound,
    NameRefused,
    ObjectNotFound,
    PermanentError,
    SourceChanged,
    SourceError,
)
from s3_to_azure.model.objects import ContentHeaders, ListedObject, ObjectVersion, SourceChecksum
from s3_to_azure.model.ports import ObjectSource
from tests.fakes.memory_source import MemorySource
from tests.real_stores import s3_source

UNUSUAL_KEYS = [
    "plain",
    "with spaces and  two",
    "plus+and%percent",
    "already%20encoded%2Fslash",
    "question?mark=1&x",
    "hash#fragment",
    "double//slash",
    "/leading",
    "trailing/",
    "ünïcode/日本語/🙂",
    "a\u0301 is not \u00e1",
    "tab\there",
    "semi;colon,comma:colon@at!$'()*~",
    'quote"and<angle>[bracket]{brace}|^`',
    "dots..inside/.hidden/...",
    "k" * 1_000,
    "%2e%2e/%2E/escape",
]


@dataclass
class Rig:
    """A source, a bucket in it, and what a test does to that bucket.

    Attributes:
        stores_checksums: The store keeps the checksum of an object beside its ETag.
        keeps_files: The store keeps objects as files, so that ``a`` cannot exist beside ``a/b``.
    """

    source: ObjectSource
    bucket: str
    put: Callable[..., ObjectVersion]
    delete: Callable[[str], None]
    stores_checksums: bool = True
    keeps_files: bool = False

    def offers(self, version: ObjectVersion, algorithm: str, data: bytes) -> bool:
        """Return whether the version has that checksum of the bytes; where the store keeps none, their MD5 as ETag."""
        if self.stores_checksums:
            return version.checksum == SourceChecksum(algorithm, ALGORITHMS[algorithm].digest(memoryview(data)))
        md5 = SourceChecksum("md5", ALGORITHMS["md5"].digest(memoryview(data)))
        return version.checksum is None and version.weaker == (md5,)


@pytest.fixture(params=["memory", "localstack"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Run each test on every source."""
    if request.param == "memory":
        memory = MemorySource("bucket", "other-bucket", piece_bytes=1_000)
        yield Rig(
            memory,
            "bucket",
            lambda key, data, **options: memory.put("bucket", key, data, **options),
            lambda key: memory.delete("bucket", key),
        )
        return
    client, bucket = request.getfixturevalue("s3_client"), request.getfixturevalue("bucket")
    source = s3_source(request.getfixturevalue("s3_server"))
    yield Rig(
        source,
        bucket,
        lambda key, data, **options: _put(client, source, bucket, key, data, **options),
        lambda key: client.delete_object(Bucket=bucket, Key=key),
    )
    source.close()


def _put(
    client: Any,
    source: ObjectSource,
    bucket: str,
    key: str,
    data: bytes,
    *,
    checksum: str | None = "crc64nvme",
    metadata: dict[str, str] | None = None,
    headers: ContentHeaders | None = None,
) -> ObjectVersion:
    options: dict[str, Any] = {"Metadata": metadata or {}}
    if checksum:
        options["ChecksumAlgorithm"] = checksum.upper()
    names = {"content_type": "ContentType", "content_encoding": "ContentEncoding", "cache_control": "CacheControl"}
    names |= {"content_language": "ContentLanguage", "content_disposition": "ContentDisposition"}
    for field, name in names.items():
        if headers and getattr(headers, field):
            options[name] = getattr(headers, field)
    client.put_object(Bucket=bucket, Key=key, Body=data, **options)
    return source.head(bucket, key)


def read(source: ObjectSource, version: ObjectVersion | ListedObject, *span: int) -> bytes:
    """Read a body to its end in small pieces."""
    found = bytearray()
    with source.open(version, *span) as body:
        buffer = bytearray(777)
        while count := body.readinto(memoryview(buffer)):
            found += buffer[:count]
    return bytes(found)


@pytest.mark.parametrize("key", UNUSUAL_KEYS, ids=lambda key: key[:20])
def test_unusual_keys(rig: Rig, key: str) -> None:
    """Any key that S3 accepts is looked up, read whole and in ranges, and listed exactly as it is written."""
    data = f"content of {key}".encode()
    version = rig.put(key, data)
    assert (version.bucket, version.key, version.size_bytes) == (rig.bucket, key, len(data))
    assert read(rig.source, version) == data
    assert read(rig.source, version, 3, 9) == data[3:9]
    assert [item.key for item in rig.source.list(rig.bucket, key)] == [key]


@pytest.mark.parametrize("key", ["..", "a/../b", "./a", "x/.", "a/./b", "../other-bucket/x", ""])
def test_dot_segments_are_refused(rig: Rig, key: str) -> None:
    """Invariant 8: a key with a dot segment is refused, because HTTP clients would request another object."""
    version = replace(rig.put("honest", b"x"), key=key)
    with pytest.raises(NameRefused):
        rig.source.head(rig.bucket, key)
    with pytest.raises(NameRefused):
        read(rig.source, version)


@pytest.mark.parametrize("span", [(0, 1), (0, 10_000), (9_999, 10_000), (1, 9_999), (4_000, 4_777)])
def test_ranges(rig: Rig, span: tuple[int, int]) -> None:
    """A GET returns exactly the bytes ``[start, end)``."""
    data = bytes(i * 7 % 251 for i in range(10_000))
    assert read(rig.source, rig.put("k", data), *span) == data[slice(*span)]


def test_whole_object_has_its_checksum(rig: Rig) -> None:
    """A GET without a range returns all that HEAD returns; one with a range returns the version's ETag."""
    version = rig.put("k", b"123456789", metadata={"a": "b"})
    with rig.source.open(version) as body:
        assert body.version == version
        assert rig.offers(body.version, "crc64nvme", b"123456789")
    with rig.source.open(version, 0, 4) as body:
        assert body.version.size_bytes in (4, 9)
        assert body.version.etag == version.etag


@pytest.mark.parametrize("algorithm", ["crc64nvme", "crc32c", "crc32"])
def test_checksums(rig: Rig, algorithm: str) -> None:
    """HEAD returns the stored checksum, which is that of the bytes."""
    data = b"some bytes" * 99
    assert rig.offers(rig.put("k", data, checksum=algorithm), algorithm, data)


def test_etag_is_unquoted_and_the_same_everywhere(rig: Rig) -> None:
    """HEAD, GET and listing return the same ETag without quotes."""
    version = rig.put("k", b"abc")
    assert version.etag == hashlib.md5(b"abc", usedforsecurity=False).hexdigest()
    with rig.source.open(version) as body:
        assert body.version.etag == version.etag
    (listed,) = rig.source.list(rig.bucket, "k")
    assert (listed.etag, listed.size_bytes, listed.bucket) == (version.etag, 3, rig.bucket)
    assert abs((listed.last_modified - version.last_modified).total_seconds()) < 1
    assert version.last_modified.tzinfo is not None


def test_metadata_and_headers(rig: Rig) -> None:
    """HEAD returns the object's metadata and headers unchanged, and the bytes are not decoded."""
    headers = ContentHeaders("text/x-test; charset=utf-8", "gzip", "de", 'attachment; filename="a b.gz"', "max-age=60")
    stored = rig.put("k", b"\x1f\x8bnot really", metadata={"my-key": "some value", "other": ""}, headers=headers)
    assert stored.headers == headers
    assert stored.metadata == {"my-key": "some value", "other": ""}
    assert read(rig.source, stored) == b"\x1f\x8bnot really"


def test_empty_object(rig: Rig) -> None:
    """An object of no bytes has a version, a checksum and an empty body."""
    version = rig.put("k", b"")
    assert version.size_bytes == 0
    assert rig.offers(version, "crc64nvme", b"")
    assert read(rig.source, version) == b""


def test_changed_object_is_never_read(rig: Rig) -> None:
    """Invariant 1: after an overwrite a GET of the old version is ``SourceChanged``, whole or ranged."""
    old = rig.put("k", b"old bytes")
    new = rig.put("k", b"new bytes")
    assert old.etag != new.etag
    for span in ((), (0, 3)):
        with pytest.raises(SourceChanged):
            read(rig.source, old, *span)
    assert read(rig.source, new) == b"new bytes"


def test_listed_object_is_pinned(rig: Rig) -> None:
    """A listed object is read in the listed version, or not at all."""
    rig.put("k", b"old bytes")
    (listed,) = rig.source.list(rig.bucket, "k")
    assert read(rig.source, listed, 0, 3) == b"old"
    rig.put("k", b"new bytes")
    with pytest.raises(SourceChanged):
        read(rig.source, listed, 0, 3)


def test_open_body_keeps_its_version(rig: Rig) -> None:
    """An open body never returns bytes of a newer version."""
    data = bytes(200_000)
    version = rig.put("k", data)
    with rig.source.open(version) as body:
        rig.put("k", b"\1" * len(data))
        buffer = bytearray(len(data))
        assert body.readinto(memoryview(buffer)) > 0
        assert not any(buffer)


def test_missing_object(rig: Rig) -> None:
    """HEAD and GET of a missing object name bucket and key."""
    version = rig.put("k", b"x")
    rig.delete("k")
    for act in (lambda: rig.source.head(rig.bucket, "k"), lambda: read(rig.source, version)):
        with pytest.raises(ObjectNotFound) as caught:
            act()
        assert caught.value.attributes == {"bucket": rig.bucket, "key": "k"}


def test_missing_bucket(rig: Rig) -> None:
    """Every request to a missing bucket has the same error."""
    version = replace(rig.put("k", b"x"), bucket="no-such-bucket-here")
    for act in (
        lambda: rig.source.check("no-such-bucket-here"),
        lambda: rig.source.head("no-such-bucket-here", "k"),
        lambda: list(rig.source.list("no-such-bucket-here", "")),
        lambda: read(rig.source, version),
    ):
        with pytest.raises(BucketNotFound):
            act()


def test_check_of_an_existing_bucket_does_not_raise(rig: Rig) -> None:
    """The check of an existing bucket returns without an error."""
    rig.source.check(rig.bucket)


def test_range_beyond_the_object(rig: Rig) -> None:
    """A range beyond the object is a permanent error, and no other bytes are returned."""
    version = replace(rig.put("k", b"12345"), size_bytes=100)
    with pytest.raises((PermanentError, SourceError)):
        read(rig.source, version, 50, 60)
    with pytest.raises(PermanentError):
        read(rig.source, version, 3, 60)


def test_listing(rig: Rig) -> None:
    """A listing has exactly the keys below the prefix in byte order; ``max_keys`` ends it early."""
    keys = [*(() if rig.keeps_files else ("a",)), "a/1", "a/2", "a/b/3", "a0", "b", "a/ü", "A/1"]
    for key in keys:
        rig.put(key, b"x")
    assert [item.key for item in rig.source.list(rig.bucket, "a/")] == ["a/1", "a/2", "a/b/3", "a/ü"]
    assert [item.key for item in rig.source.list(rig.bucket, "")] == sorted(keys, key=lambda key: key.encode())
    assert [item.key for item in rig.source.list(rig.bucket, "a", max_keys=2)] == sorted(keys)[1:3]
    assert list(rig.source.list(rig.bucket, "nothing/")) == []
    assert list(rig.source.list(rig.bucket, "", max_keys=0)) == []


@pytest.mark.slow
def test_listing_of_several_pages(s3_server: Any, s3_client: Any, bucket: str) -> None:
    """More than 1,000 keys are listed completely, and ``max_keys`` counts over pages."""
    keys = [f"k{n:05}" for n in range(2_345)]
    for key in keys:
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"")
    source = s3_source(s3_server)
    assert [item.key for item in source.list(bucket, "")] == keys
    assert [item.key for item in source.list(bucket, "", max_keys=1_001)] == keys[:1_001]
    source.close()


def test_composite_checksum_is_not_offered_as_full(s3_server: Any, s3_client: Any, bucket: str) -> None:
    """A checksum over part checksums is not returned as that of the whole object."""
    upload = s3_client.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32")
    ids = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    parts = []
    for number, data in enumerate([bytes(5 * 2**20), b"tail"], start=1):
        part = s3_client.upload_part(**ids, PartNumber=number, Body=data, ChecksumAlgorithm="CRC32")
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]})
    s3_client.complete_multipart_upload(**ids, MultipartUpload={"Parts": parts})
    source = s3_source(s3_server)
    version = source.head(bucket, "k")
    assert version.etag.endswith("-2")
    assert version.checksum is None
    assert read(source, version, 5 * 2**20 - 1, version.size_bytes) == b"\0tail"
    source.close()


def test_multipart_full_object_checksum(s3_server: Any, s3_client: Any, bucket: str) -> None:
    """A multipart upload with CRC64NVME has a checksum of the whole object."""
    upload = s3_client.create_multipart_upload(
        Bucket=bucket, Key="k", ChecksumAlgorithm="CRC64NVME", ChecksumType="FULL_OBJECT"
    )
    ids = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    parts = []
    for number, data in enumerate([bytes(5 * 2**20), b"tail"], start=1):
        part = s3_client.upload_part(**ids, PartNumber=number, Body=data, ChecksumAlgorithm="CRC64NVME")
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC64NVME": part["ChecksumCRC64NVME"]})
    s3_client.complete_multipart_upload(**ids, MultipartUpload={"Parts": parts}, ChecksumType="FULL_OBJECT")
    source = s3_source(s3_server)
    checksum = source.head(bucket, "k").checksum
    assert checksum is not None
    expected = ALGORITHMS["crc64nvme"].digest(memoryview(bytes(5 * 2**20) + b"tail"))
    assert base64.b64encode(checksum.value.to_bytes(8, "big")) == base64.b64encode(expected.to_bytes(8, "big"))
    source.close()
