"""Checksum reports in the documented form of S3 Batch Operations, made from objects' bytes.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-examples-reports.html
"""

import base64
import csv
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote_plus

from s3_to_azure.model.checksums import ALGORITHMS

SCHEMA: Final = "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage"


def result(data: bytes, *, etag: str, algorithm: str = "CRC64NVME", **changes: Any) -> dict[str, Any]:
    """Return the message of a task that has computed a checksum."""
    hashed = ALGORITHMS[algorithm.lower()]
    value = hashed.digest(memoryview(data)).to_bytes(hashed.width_bytes, "big")
    return {
        "checksum_base64": base64.b64encode(value).decode(),
        "etag": etag,
        "checksumAlgorithm": algorithm,
        "checksumType": "FULL_OBJECT",
        "checksum_hex": value.hex().upper(),
    } | changes


def message_text(message: Mapping[str, Any]) -> str:
    """Return a message as the job writes it, with its equals signs escaped."""
    return json.dumps(message, separators=(",", ":")).replace("=", "\\u003d")


def row(bucket: str, key: str, message: Mapping[str, Any], *, version: str = "") -> list[str]:
    """Return the row of a task that succeeded; the job has the status code before the error code."""
    return [bucket, quote_plus(key, safe="/"), version, "succeeded", "200", "", message_text(message)]


def failed_row(bucket: str, key: str) -> list[str]:
    """Return the row of a task that failed."""
    text = 'error details: {"failureMessage":"Task 2845ca0d Key not found", "errorCode": "404"}'
    return [bucket, quote_plus(key, safe="/"), "", "failed", "200", "PermanentFailure", text]


def as_csv(rows: Iterable[list[str]]) -> bytes:
    """Return rows as the job writes them: no header, quotes where they are needed."""
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows(rows)
    return out.getvalue().encode()


@dataclass
class Report:
    """A report before it is uploaded; a test may change any of it.

    Attributes:
        files: The files' contents, by the key's last part.
        manifest: What ``manifest.json`` holds, complete after ``finish``.
    """

    bucket: str
    folder: str = "reports/job-f8fb9d89/"
    files: dict[str, bytes] = field(default_factory=dict)
    manifest: dict[str, Any] = field(default_factory=dict)

    def add(self, name: str, rows: Iterable[list[str]], *, status: str = "succeeded") -> "Report":
        """Add a file of rows."""
        self.files[name] = as_csv(rows)
        self.manifest.setdefault("Results", []).append(
            {
                "TaskExecutionStatus": status,
                "Bucket": self.bucket,
                "MD5Checksum": hashlib.md5(self.files[name]).hexdigest(),
                "Key": f"{self.folder}results/{name}",
            }
        )
        return self

    def objects(self) -> dict[str, bytes]:
        """Return the bytes of all objects of the report, by key."""
        manifest = {
            "Format": "Report_CSV_20180820",
            "ReportCreationDate": "2026-11-28T17:48:39.725Z",
            "Results": [],
            "ReportSchema": SCHEMA,
        } | self.manifest
        files = {f"{self.folder}results/{name}": data for name, data in self.files.items()}
        return {self.manifest_key: json.dumps(manifest, indent=4).encode(), **files}

    @property
    def manifest_key(self) -> str:
        """The key of ``manifest.json``."""
        return f"{self.folder}manifest.json"

    @property
    def address(self) -> str:
        """What ``checksums_from`` names."""
        return f"s3://{self.bucket}/{self.manifest_key}"
