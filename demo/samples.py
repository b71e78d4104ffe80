"""The objects of the demo's bucket, whose content is a function of their keys."""

import gzip
import hashlib
import io
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from boto3.s3.transfer import TransferConfig

MIB: Final = 1024 * 1024
_BLOCK_BYTES: Final = 8 * MIB
_LARGE_BYTES: Final = 320 * MIB
_CHUNK_BYTES: Final = 4 * MIB
_SMALL_ONES: Final = 12


@dataclass(frozen=True, slots=True)
class Sample:
    """One object to upload.

    Attributes:
        size_bytes: The length of its content.
        content: The content; None for pseudo-random bytes.
        headers: S3 upload arguments (ContentType, Metadata, …).
        checksum: S3's checksum algorithm, or empty for none beyond S3's default.
        refused: It cannot be copied, because its name cannot be sent.
    """

    key: str
    size_bytes: int
    content: bytes | None = None
    headers: Mapping[str, Any] = field(default_factory=dict)
    checksum: str = "CRC64NVME"
    refused: bool = False

    def chunks(self) -> Iterator[bytes]:
        """Yield the content, the same in every call."""
        if self.content is not None:
            yield self.content
            return
        generator = random.Random(self.key)  # noqa: S311 - samples, not secrets
        left = self.size_bytes
        while left:
            size = min(left, _CHUNK_BYTES)
            yield generator.randbytes(size)
            left -= size

    def sha256(self) -> str:
        """Return the content's SHA-256 in hex."""
        digest = hashlib.sha256()
        for chunk in self.chunks():
            digest.update(chunk)
        return digest.hexdigest()


def samples(prefix: str = "") -> list[Sample]:
    """Return the demo's objects.

    Args:
        prefix: The start of every key.
    """
    text = b"This text was compressed before the upload, and must arrive compressed.\n" * 2_000
    packed = gzip.compress(text, mtime=0)
    found = [
        Sample("empty.bin", 0),
        Sample("one-byte.bin", 1),
        Sample("block/just-below.bin", _BLOCK_BYTES - 1),
        Sample("block/exactly.bin", _BLOCK_BYTES, checksum="CRC32C"),
        Sample("block/just-above.bin", _BLOCK_BYTES + 1, checksum="CRC32"),
        Sample(
            "logs/compressed.log",
            len(packed),
            content=packed,
            headers={"ContentType": "text/plain", "ContentEncoding": "gzip", "CacheControl": "max-age=60"},
        ),
        Sample("names/with space, 100% + more/ümläut 日本 ?#&=.txt", 2_048, headers={"ContentType": "text/plain"}),
        Sample("names/../never-sent.txt", 64, refused=True),
        Sample("large/backup.tar", _LARGE_BYTES, headers={"ContentType": "application/x-tar"}),
    ]
    found += [
        Sample(
            f"small/report-{number:02}.csv",
            1_000 * number + 7,
            headers={
                "ContentType": "text/csv",
                "ContentDisposition": f'attachment; filename="report-{number:02}.csv"',
                "Metadata": {"owner": "finance", "cost-center": f"{4711 + number}"},
            },
        )
        for number in range(_SMALL_ONES)
    ]
    return [Sample(prefix + s.key, s.size_bytes, s.content, s.headers, s.checksum, s.refused) for s in found]


def upload(client: Any, bucket: str, wanted: list[Sample]) -> None:  # noqa: ANN401 - boto3 has no types
    """Create the bucket and upload the objects, large ones in parts.

    Args:
        client: A boto3 S3 client.
        bucket: The name of the bucket.
        wanted: The objects.
    """
    client.create_bucket(Bucket=bucket)
    for sample in wanted:
        body = io.BytesIO(b"".join(sample.chunks()))
        arguments = {"ChecksumAlgorithm": sample.checksum, **sample.headers}
        client.upload_fileobj(
            body, bucket, sample.key, ExtraArgs=arguments, Config=TransferConfig(multipart_threshold=64 * MIB)
        )
