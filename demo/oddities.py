"""Objects of every odd kind, each with its expected result, for the tests and the demo.

The expectations hold for a copy with ``refused_names=map``, ``archived=restore``, tags copied, STANDARD_IA mapped to
Cool and oversized metadata failing, into a container that ``prepare_container`` has filled.
"""
# ruff: noqa: ANN401 - boto3's clients and arguments have no types

import hashlib
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count, cycle, islice
from typing import Any, Final

from azure.storage.blob import ContainerClient

OBJECTS: Final = 2_000
CHOICES: Final[Mapping[str, Any]] = {"archived": "restore", "tags": True, "tiers": {"STANDARD_IA": "Cool"}}

_PART_BYTES: Final = 5 * 1024 * 1024
_CUSTOMER_KEY: Final = hashlib.sha256(b"customer's key").digest()
_SEVERAL_PARTS: Final = 6


@dataclass(frozen=True, slots=True)
class Oddity:
    """One object.

    Attributes:
        kind: The name of its kind.
        arguments: Further arguments of boto3's upload.
        parts: The size of the parts that it is uploaded in; 0 for one request.
        tags: Set after the upload, because the header of the upload takes fewer characters.
        status: Its expected status in the first run.
        reason: The expected reason, or empty.
        level: The expected verification level of a copy.
        blob: The blob's name, where it differs from the key.
    """

    kind: str
    key: str
    data: bytes
    arguments: Mapping[str, Any] = field(default_factory=dict)
    parts: int = 0
    tags: Mapping[str, str] = field(default_factory=dict)
    status: str = "copied"
    reason: str = ""
    level: str = "crc64nvme"
    blob: str = ""

    @property
    def blob_name(self) -> str:
        """The blob's name."""
        return self.blob or self.key

    def upload(self, client: Any, bucket: str) -> None:
        """Upload it."""
        if self.parts:
            self._upload_parts(client, bucket)
        else:
            arguments = {"ChecksumAlgorithm": "CRC64NVME"} | dict(self.arguments)
            client.put_object(Bucket=bucket, Key=self.key, Body=self.data, **arguments)
        if self.tags:
            tag_set = [{"Key": name, "Value": value} for name, value in self.tags.items()]
            client.put_object_tagging(Bucket=bucket, Key=self.key, Tagging={"TagSet": tag_set})

    def _upload_parts(self, client: Any, bucket: str) -> None:
        where = {"Bucket": bucket, "Key": self.key}
        upload = client.create_multipart_upload(**where, **self.arguments)["UploadId"]
        parts = []
        for number, start in enumerate(range(0, len(self.data), self.parts), start=1):
            answer = client.upload_part(
                **where,
                UploadId=upload,
                PartNumber=number,
                Body=self.data[start : start + self.parts],
                ChecksumAlgorithm=self.arguments["ChecksumAlgorithm"],
            )
            sums = {name: value for name, value in answer.items() if name.startswith("Checksum")}
            parts.append({"PartNumber": number, "ETag": answer["ETag"]} | sums)
        client.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": parts})


def oddities(objects: int = OBJECTS) -> Iterator[Oddity]:
    """Yield ``objects`` objects, the same in every call; each kind is among the first hundred."""
    number = count()
    kinds = cycle((*_NAMES, *_UPLOADS, *_PROPERTIES, *_PLACES, *[_plain] * 12))
    for position in range(_SEVERAL_PARTS):
        yield _several_parts(position)
    for kind in islice(kinds, objects - _SEVERAL_PARTS):
        yield kind(next(number))


def prepare_container(container: ContainerClient, objects: int = OBJECTS) -> None:
    """Fill the container with blobs that are in the way of some objects."""
    for oddity in oddities(objects):
        client = container.get_blob_client(oddity.blob_name)
        if oddity.reason == "wrong_blob_type":
            client.create_append_blob()
        elif oddity.kind == "copy of a later version":
            client.upload_blob(b"newer", metadata={"s3_etag": "newer", "s3_last_modified": "2999-01-01T00:00:00+00:00"})
        elif oddity.reason == "blob_leased":
            client.upload_blob(b"leased")
            client.acquire_lease()
        elif oddity.kind == "leftover blocks":
            client.stage_block("A" * 52, b"left over")
        elif oddity.kind == "unrelated blob":
            client.upload_blob(b"unrelated")


def _bytes(number: int, size_bytes: int = 300) -> bytes:
    return random.Random(number).randbytes(size_bytes)  # noqa: S311 - samples, not secrets


def _plain(number: int) -> Oddity:
    return Oddity("plain", f"plain/{number:05d}", _bytes(number, 1 + number % 700))


def _named(kind: str, key: str, blob: str = "", **expected: Any) -> Callable[[int], Oddity]:
    """Return a maker of objects whose key has ``{n}`` where the number goes."""

    def make(number: int) -> Oddity:
        return Oddity(
            kind, key.replace("{n}", str(number)), _bytes(number), blob=blob.replace("{n}", str(number)), **expected
        )

    return make


def _uploaded(kind: str, *, level: str = "crc64nvme", parts: int = 0, **arguments: Any) -> Callable[[int], Oddity]:
    def make(number: int) -> Oddity:
        key = f"uploaded/{kind}/{number}"
        return Oddity(kind, key, _bytes(number), arguments=arguments, level=level, parts=parts)

    return make


def _with_properties(kind: str, arguments: Mapping[str, Any], **more: Any) -> Callable[[int], Oddity]:
    def make(number: int) -> Oddity:
        return Oddity(kind, f"properties/{kind}/{number}", _bytes(number), arguments=arguments, **more)

    return make


def _folder_marker(number: int) -> Oddity:
    return Oddity("folder marker", f"folders/{number}/", b"", status="skipped", reason="folder_marker")


def _long_name(number: int) -> Oddity:
    key = f"long/{number}/".ljust(1_024, "n")
    return Oddity("1,024 bytes", key, _bytes(number))


def _too_long_once_mapped(number: int) -> Oddity:
    key = f"long/{number}\\".ljust(1_024, "n")
    return Oddity("too long once mapped", key, _bytes(number), status="failed", reason="name_refused")


def _empty(number: int) -> Oddity:
    return Oddity("empty", f"empty/{number}", b"")


def _several_parts(number: int) -> Oddity:
    by = ("CRC32C", "SHA256")[number % 2]
    level = ("crc32c_composite", "md5_composite")[number % 2]
    arguments = {"ChecksumAlgorithm": by, "ChecksumType": "COMPOSITE"}
    data = _bytes(number, _PART_BYTES + 1_000 + number)
    return Oddity("several parts", f"parts/{number}", data, arguments=arguments, parts=_PART_BYTES, level=level)


_NAMES: Final = (
    _named("backslash", "names/{n}\\b", "names/{n}~5Cb"),
    _named("name like a mapped one", "names/{n}~5Cb", "names/{n}~7E5Cb"),
    _named("dot at the end of a segment", "names/{n}./b.", "names/{n}~2E/b~2E"),
    _named("folder with content", "names/{n}/full/", "names/{n}/full~2F"),
    _named("tab and delete", "names/{n}\tt\x7f", "names/{n}~09t~7F"),
    _named("unicode", "names/{n} ä 日本 🙂 e\u0301"),
    _named("percent and plus", "names/{n}%20+%2F?x=1&y#z"),
    _named("double slash", "names//{n}//b"),
    _named("leading slash", "/names/{n}"),
    _named("spaces", "names/ {n}  b "),
    _named("harmless dots", "names/.{n}/..b/c..d"),
    _folder_marker,
    _long_name,
    _too_long_once_mapped,
)
_UPLOADS: Final = (
    _uploaded("crc32", level="crc32", ChecksumAlgorithm="CRC32"),
    _uploaded("crc32c", level="crc32c", ChecksumAlgorithm="CRC32C"),
    _uploaded("sha256", level="md5", ChecksumAlgorithm="SHA256"),
    _uploaded("sha1", level="md5", ChecksumAlgorithm="SHA1"),
    _uploaded("one part crc32", level="crc32_composite", parts=_PART_BYTES, ChecksumAlgorithm="CRC32"),
    _uploaded("one part sha256", level="md5_composite", parts=_PART_BYTES, ChecksumAlgorithm="SHA256"),
    _empty,
)
_PROPERTIES: Final = (
    _with_properties("metadata names", {"Metadata": {"my-key": "1", "1st": "2", "a.b": "3", "_x002d_": "4"}}),
    _with_properties("metadata values", {"Metadata": {"a": "50% + ~", "s3_etag": "forged", "empty": ""}}),
    _with_properties(
        "oversized metadata", {"Metadata": {"-" * 1_200: "x"}}, status="failed", reason="metadata_too_large"
    ),
    _with_properties("headers", {"ContentType": "text/csv", "ContentEncoding": "gzip", "CacheControl": "no-store"}),
    _with_properties("tags", {}, tags={"team": "data", "größe": "a@b"}),
    _with_properties("tags too long", {}, tags={"é" * 100: "x"}, status="failed", reason="tags_refused"),
    _with_properties("infrequent access", {"StorageClass": "STANDARD_IA"}),
    _with_properties("glacier", {"StorageClass": "GLACIER"}, status="skipped", reason="waiting_for_restore"),
    _with_properties("deep archive", {"StorageClass": "DEEP_ARCHIVE"}, status="skipped", reason="waiting_for_restore"),
    _with_properties(
        "customer's key",
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": _CUSTOMER_KEY},
        status="failed",
        reason="customer_key_required",
    ),
)
_PLACES: Final = (
    _named("append blob at the destination", "places/{n}/append", status="failed", reason="wrong_blob_type"),
    _named("copy of a later version", "places/{n}/rolled back"),
    _named("leased blob at the destination", "places/{n}/leased", status="failed", reason="blob_leased"),
    _named("leftover blocks", "places/{n}/blocks"),
    _named("unrelated blob", "places/{n}/stranger"),
)
