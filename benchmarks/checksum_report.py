"""A checksum report of generated objects, in a file, and the listing that takes its checksums."""

import csv
import hashlib
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, Final

from s3_to_azure.model.objects import ListedObject, ObjectVersion
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.model.uris import S3Uri
from s3_to_azure.planning.checksum_report import open_report
from s3_to_azure.state.manifest import write_manifest

_BUCKET: Final = "reports"
_SCHEMA: Final = "Bucket, Key, VersionId, TaskStatus, ErrorCode, HTTPStatusCode, ResultMessage"
_NOW: Final = datetime(2026, 3, 1, tzinfo=UTC)

Listing = Callable[[], Iterator[ListedObject]]


class Files:
    """A directory as a bucket."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Return the size."""
        return ObjectVersion(bucket, key, "etag", (self._directory / key).stat().st_size, _NOW)

    @contextmanager
    def open(self, version: ObjectVersion, start: int, _end: int) -> Iterator[BinaryIO]:
        """Open the file at a place."""
        with (self._directory / version.key).open("rb") as file:
            file.seek(start)
            yield file


def write_report(objects: Listing, directory: Path) -> None:
    """Write a report of all objects, in another order than the listing's."""
    listed = list(objects())
    with (directory / "rows.csv").open("w", newline="", encoding="utf-8") as out:
        table = csv.writer(out, lineterminator="\n")
        for each in reversed(listed):
            message = {
                "checksum_base64": "rosUhgp5mIg=",
                "etag": each.etag,
                "checksumAlgorithm": "CRC64NVME",
                "checksumType": "FULL_OBJECT",
                "checksum_hex": "AE8B14860A799888",
            }
            table.writerow([each.bucket, each.key, "", "succeeded", "200", "", json.dumps(message)])
    with (directory / "rows.csv").open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest() if hasattr(hashlib, "file_digest") else ""
    result = {"TaskExecutionStatus": "succeeded", "Bucket": _BUCKET, "MD5Checksum": digest, "Key": "rows.csv"}
    manifest = {"Format": "Report_CSV_20180820", "Results": [result], "ReportSchema": _SCHEMA}
    (directory / "manifest.json").write_text(json.dumps(manifest))


def list_with_report(objects: Listing, bucket: str, files: StateFiles, directory: Path) -> dict[str, Any]:
    """Write a listing with the checksums of the report; return the counts.

    Raises:
        AssertionError: An object lacks its checksum.
    """
    source: Any = Files(directory)
    retrier = Retrier(RetryBudget(), threading.Event())
    with open_report(S3Uri(_BUCKET, "manifest.json"), source, retrier, bucket=bucket, prefix="") as report:
        pointer = write_manifest(objects(), files, bucket=bucket, prefix="", completed=report.complete)
    assert report.proven == pointer.objects
    return {"objects": pointer.objects, "rows": report.rows}
