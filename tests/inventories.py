"""S3 inventories in the documented forms, made of rows.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html
"""

import csv
import gzip
import hashlib
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import quote_plus

import pyarrow as pa
from pyarrow import parquet

COLUMNS: Final = ("Bucket", "Key", "Size", "LastModifiedDate", "ETag", "StorageClass")
VERSIONS: Final = ("Bucket", "Key", "VersionId", "IsLatest", "IsDeleteMarker", *COLUMNS[2:])
MORE: Final = (*COLUMNS, "IsMultipartUploaded", "EncryptionStatus", "ChecksumAlgorithm")
_NAMES: Final = {
    "Bucket": ("bucket", "string"),
    "Key": ("key", "string"),
    "VersionId": ("version_id", "string"),
    "IsLatest": ("is_latest", "bool"),
    "IsDeleteMarker": ("is_delete_marker", "bool"),
    "Size": ("size", "int64"),
    "LastModifiedDate": ("last_modified_date", "timestamp"),
    "ETag": ("e_tag", "string"),
    "StorageClass": ("storage_class", "string"),
    "IsMultipartUploaded": ("is_multipart_uploaded", "bool"),
    "EncryptionStatus": ("encryption_status", "string"),
    "ChecksumAlgorithm": ("checksum_algorithm", "string"),
}

Row = Mapping[str, Any]


def row(bucket: str, key: str, **changes: Any) -> dict[str, Any]:
    """Return a row: Python's values, None for an empty cell."""
    usual = {
        "Bucket": bucket,
        "Key": key,
        "VersionId": None,
        "IsLatest": True,
        "IsDeleteMarker": False,
        "Size": 3,
        "LastModifiedDate": datetime(2026, 3, 1, 12, tzinfo=UTC),
        "ETag": "e1",
        "StorageClass": "STANDARD",
        "IsMultipartUploaded": False,
        "EncryptionStatus": "SSE-S3",
        "ChecksumAlgorithm": "CRC64NVME",
    }
    return usual | changes


def deleted(bucket: str, key: str) -> dict[str, Any]:
    """Return the row of a current delete marker."""
    return row(bucket, key, IsDeleteMarker=True, Size=None, ETag=None, StorageClass=None)


def _cell(name: str, value: Any) -> str:
    if value is None:
        return ""
    if name == "Key":
        return quote_plus(value, safe="/")
    if isinstance(value, datetime):
        return value.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    return str(value).lower() if isinstance(value, bool) else str(value)


def as_csv(rows: Iterable[Row], columns: Sequence[str]) -> bytes:
    """Return rows as S3 writes them: no header, every cell in quotes, compressed."""
    out = io.StringIO()
    table = csv.writer(out, lineterminator="\n", quoting=csv.QUOTE_ALL)
    table.writerows([_cell(name, each[name]) for name in columns] for each in rows)
    return gzip.compress(out.getvalue().encode())


def as_parquet(rows: Iterable[Row], columns: Sequence[str]) -> bytes:
    """Return rows as a file in Parquet, with some row groups."""
    types = {"string": pa.string(), "bool": pa.bool_(), "int64": pa.int64(), "timestamp": pa.timestamp("ms", "UTC")}
    kept = list(rows)
    arrays = {_NAMES[name][0]: pa.array([each[name] for each in kept], types[_NAMES[name][1]]) for name in columns}
    out = io.BytesIO()
    parquet.write_table(pa.table(arrays), out, row_group_size=100)
    return out.getvalue()


@dataclass
class Inventory:
    """An inventory before it is uploaded; a test may change any of it.

    Args:
        source: The listed bucket.
        bucket: Where it is.
        form: ``CSV`` or ``Parquet``.
        columns: Its fields.
        made_at: When S3 began to make it.
    """

    source: str
    bucket: str = "reports"
    form: str = "CSV"
    columns: Sequence[str] = COLUMNS
    made_at: datetime = datetime(2026, 11, 27, 1, tzinfo=UTC)
    files: dict[str, bytes] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)
    checksum: str | None = None

    @property
    def folder(self) -> str:
        """The configuration's folder."""
        return f"inventories/{self.source}/nightly/"

    @property
    def manifest_key(self) -> str:
        """The manifest's key."""
        return f"{self.folder}{self.made_at:%Y-%m-%dT%H-%MZ}/manifest.json"

    @property
    def symlink_key(self) -> str:
        """The key of the list for Hive."""
        return f"{self.folder}hive/dt={self.made_at:%Y-%m-%d-%H-%M}/symlink.txt"

    @property
    def address(self) -> str:
        """The manifest's address."""
        return f"s3://{self.bucket}/{self.manifest_key}"

    def add(self, name: str, rows: Iterable[Row]) -> "Inventory":
        """Add a file."""
        write = as_csv if self.form == "CSV" else as_parquet
        self.files[f"{self.folder}data/{name}"] = write(rows, self.columns)
        return self

    def manifest(self) -> dict[str, Any]:
        """Return the manifest."""
        parquets = "message s3.inventory {  required binary bucket (UTF8);  required binary key (UTF8);}"
        return {
            "sourceBucket": self.source,
            "destinationBucket": f"arn:aws:s3:::{self.bucket}",
            "version": "2016-11-30",
            "creationTimestamp": str(round(self.made_at.timestamp() * 1_000)),
            "fileFormat": self.form,
            "fileSchema": ", ".join(self.columns) if self.form == "CSV" else parquets,
            "files": [
                {"key": key, "size": len(data), "MD5checksum": hashlib.md5(data).hexdigest()}
                for key, data in self.files.items()
            ],
        } | self.changes

    def objects(self) -> dict[str, bytes]:
        """Return what S3 writes, by key."""
        text = json.dumps(self.manifest(), indent=2).encode()
        checksum = self.checksum or hashlib.md5(text).hexdigest()
        links = "\n".join(f"s3://{self.bucket}/{key}" for key in self.files)
        return {
            **self.files,
            self.manifest_key: text,
            self.manifest_key.replace("manifest.json", "manifest.checksum"): checksum.encode(),
            self.symlink_key: links.encode(),
        }
