"""Part sizes: how many requests they take, and when S3 does not reveal them."""

from itertools import zip_longest
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local_cloud.servers import LocalS3
from s3_to_azure.model.errors import SourceChanged
from s3_to_azure.model.limits import MAX_PARTS, MIB
from s3_to_azure.model.objects import ObjectVersion, PartChecksum, PartSizes, SourceChecksum
from s3_to_azure.stores.s3 import parts
from s3_to_azure.stores.s3.headers import RAW_HEADERS
from s3_to_azure.stores.s3.parts import part_checksums, part_sizes
from tests.fakes.memory_source import EPOCH
from tests.real_stores import s3_source

WITH_MD5 = SourceChecksum("md5", 0, parts=3)
WITH_CRC = SourceChecksum("crc32", 0, parts=3)


class Client:
    """boto3's calls for an object of parts, as S3 documents them.

    Args:
        sizes: The parts' sizes.
        listed: Whether GetObjectAttributes lists the parts.
        denied: Whether GetObjectAttributes is not permitted.
    """

    checksums: tuple[str, ...] = ()

    def __init__(self, *sizes: int, listed: bool = True, denied: bool = False) -> None:
        self.calls: list[str] = []
        self.etag = "e"
        self._sizes = sizes
        self._listed = listed
        self._denied = denied

    def head_object(self, *, PartNumber: int, IfMatch: str, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        """Return a part's size."""
        assert IfMatch == '"e"'
        self.calls.append(f"part {PartNumber}")
        size, count = str(self._sizes[PartNumber - 1]), str(len(self._sizes))
        return {RAW_HEADERS: [("Content-Length", size), ("x-amz-mp-parts-count", count)]}

    def get_object_attributes(self, *, PartNumberMarker: int, MaxParts: int, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        """Return a page of parts."""
        self.calls.append(f"attributes after {PartNumberMarker}")
        if self._denied:
            answer = {"Error": {"Code": "AccessDenied"}, "ResponseMetadata": {"HTTPStatusCode": 403}}
            raise ClientError(answer, "GetObjectAttributes")
        if not self._listed:
            return {"ETag": self.etag}
        end = PartNumberMarker + MaxParts
        page = [
            {"Size": size, **({"ChecksumCRC64NVME": text} if text else {})}
            for size, text in zip_longest(self._sizes[PartNumberMarker:end], self.checksums)
        ]
        return {
            "ETag": self.etag,
            "ObjectParts": {"Parts": page, "IsTruncated": end < len(self._sizes), "NextPartNumberMarker": end},
        }


def version(*sizes: int, checksum: SourceChecksum = WITH_MD5) -> ObjectVersion:
    """Return the version of an object of these parts."""
    return ObjectVersion("bucket", "k", "e", sum(sizes), EPOCH, weaker=(checksum,))


@pytest.mark.parametrize(
    ("sizes", "requests", "certain"),
    [
        ((5,), ["part 1"], True),
        ((5, 3), ["part 1", "part 2"], True),
        ((5, 5, 5, 2), ["part 1", "part 4"], False),
        ((5, 4, 6, 2), ["part 1", "part 4"], False),
        ((5, 9, 5, 2), ["part 1", "part 4", "part 2", "part 3"], True),
    ],
)
def test_first_and_last_part_are_enough_if_the_sizes_add_up(
    sizes: tuple[int, ...], requests: list[str], *, certain: bool
) -> None:
    """Sizes derived from the first part are not certain: 4 and 6 add up as 5 and 5 do."""
    client = Client(*sizes)
    found = part_sizes(client, version(*sizes), {}, each=False)
    assert found
    assert found.certain is certain
    assert sum(found.sizes) == sum(sizes)
    assert (found.sizes == sizes) or not certain
    assert client.calls == requests


def test_each_part_is_requested_if_told() -> None:
    """No size is derived from another one."""
    sizes = (5, 4, 6, 2)
    client = Client(*sizes)
    assert part_sizes(client, version(*sizes), {}, each=True) == PartSizes(sizes, certain=True)
    assert client.calls == ["part 1", "part 4", "part 2", "part 3"]


def test_parts_with_checksums_are_listed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Page by page, without a request for each part."""
    monkeypatch.setattr(parts, "_PAGE_PARTS", 2)
    sizes = (5, 4, 6, 2, 1)
    client = Client(*sizes)
    assert part_sizes(client, version(*sizes, checksum=WITH_CRC), {}, each=False) == PartSizes(sizes, certain=True)
    assert client.calls == ["attributes after 0", "attributes after 2", "attributes after 4"]


@pytest.mark.parametrize("client", [Client(5, 2, listed=False), Client(5, 2, denied=True)], ids=["unlisted", "denied"])
def test_parts_that_are_not_listed_are_requested(client: Client) -> None:
    """A server may list no parts, and an identity may lack the permission."""
    sizes = version(5, 2, checksum=WITH_CRC)
    assert part_sizes(client, sizes, {}, each=False) == PartSizes((5, 2), certain=True)
    assert client.calls == ["attributes after 0", "part 1", "part 2"]


def test_listed_parts_of_another_version_are_refused() -> None:
    """GetObjectAttributes takes no If-Match, so its ETag is compared."""
    client = Client(5, 2)
    client.etag = "another"
    with pytest.raises(SourceChanged):
        part_sizes(client, version(5, 2, checksum=WITH_CRC), {}, each=False)


@pytest.mark.parametrize(
    "odd",
    [
        {"ObjectParts": {"Parts": [{"Size": 7}]}},
        {"ETag": '"e"', "ObjectParts": {"Parts": [{}]}},
        {"ETag": '"e"', "ObjectParts": {"Parts": [{"Size": 7}], "IsTruncated": True}},
        {"ETag": '"e"', "ObjectParts": {"Parts": [], "IsTruncated": True, "NextPartNumberMarker": 0}},
    ],
    ids=["no ETag", "no size", "no marker", "the same marker"],
)
def test_odd_lists_of_parts_are_done_without(odd: dict[str, Any]) -> None:
    """A list that lacks what it must say, or never ends, reveals nothing; the parts are looked up one by one."""

    class Odd(Client):
        def get_object_attributes(self, **_: Any) -> dict[str, Any]:
            return odd

    client = Odd(5, 2)
    assert part_sizes(client, version(5, 2, checksum=WITH_CRC), {}, each=False) == PartSizes((5, 2), certain=True)
    assert client.calls == ["part 1", "part 2"]


def test_server_that_does_not_know_parts_reveals_none() -> None:
    """Without PartsCount there is no answer."""

    class WithoutParts(Client):
        def head_object(self, **_: Any) -> dict[str, Any]:
            return {RAW_HEADERS: [("Content-Length", "7")]}

    assert part_sizes(WithoutParts(), version(7), {}, each=False) is None


def test_real_multipart_upload(s3_server: LocalS3, s3_client: Any, bucket: str) -> None:
    """Against a server: two parts, one request each."""
    upload = s3_client.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    uploaded = [
        {
            "PartNumber": number,
            "ETag": s3_client.upload_part(
                Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=bytes(size_bytes)
            )["ETag"],
        }
        for number, size_bytes in ((1, 5 * MIB), (2, 1))
    ]
    s3_client.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": uploaded})
    source = s3_source(s3_server)
    assert source.part_sizes(source.head(bucket, "k")) == PartSizes((5 * MIB, 1), certain=True)
    source.close()


class EndlessParts(Client):
    """Says on each page that there are more parts."""

    def get_object_attributes(self, *, PartNumberMarker: int, **_: Any) -> dict[str, Any]:  # noqa: N803 - boto3's names
        """Return an empty page, with a marker that rises."""
        assert PartNumberMarker <= MAX_PARTS
        self.calls.append("attributes")
        parts = {"Parts": [], "IsTruncated": True, "NextPartNumberMarker": PartNumberMarker + 1_000}
        return {"ETag": self.etag, "ObjectParts": parts}


def test_list_of_parts_without_end_is_not_used() -> None:
    """The parts are requested one by one instead."""
    client = EndlessParts(5, 2)
    assert part_sizes(client, version(5, 2, checksum=WITH_CRC), {}, each=False) == PartSizes((5, 2), certain=True)
    assert client.calls[-2:] == ["part 1", "part 2"]


class TestChecksums:
    """The CRC64NVME of each part, in one request."""

    ONE, TWO = "AAAAAAAAAAE=", "AAAAAAAAAAI="

    def listed(self, client: Client, *checksums: str) -> list[PartChecksum]:
        """Return what is listed of two parts."""
        client.checksums = checksums
        return list(part_checksums(client, version(5, 4), {}))

    def test_listed(self) -> None:
        """As S3 writes them: base64 of the big-endian bytes."""
        client = Client(5, 4)
        assert self.listed(client, self.ONE, self.TWO) == [PartChecksum(5, 1), PartChecksum(4, 2)]
        assert client.calls == ["attributes after 0"]

    @pytest.mark.parametrize("checksums", [(), ("", TWO), (ONE, ""), (ONE, "not base64"), (ONE, "AAAA")])
    def test_not_of_each_part(self, checksums: tuple[str, ...]) -> None:
        """Half of them prove nothing."""
        assert self.listed(Client(5, 4), *checksums) == []

    @pytest.mark.parametrize("client", [Client(5, 4, listed=False), Client(5, 4, denied=True)])
    def test_not_revealed(self, client: Client) -> None:
        """Without them each block is noted."""
        assert self.listed(client, self.ONE, self.TWO) == []

    def test_of_another_version(self) -> None:
        """Those of the current version are not those of the one that is copied."""
        client = Client(5, 4)
        client.etag = "other"
        with pytest.raises(SourceChanged):
            self.listed(client, self.ONE, self.TWO)
