"""Checksum reports of S3 Batch Operations: read, checked, and looked up for each listed object in bounded memory.

A job of the operation *Compute checksum* reads objects at rest, and its completion report has the checksum of each: a
``manifest.json`` names CSV files with one row per object, and their MD5. The forms, and an example of a row:

- https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-compute-checksums.html
- https://docs.aws.amazon.com/AmazonS3/latest/userguide/batch-ops-examples-reports.html

A row counts for a listed object of its key and ETag, and of its version where the user named one. An access point does
not tell its bucket, so a report for it may be of any one bucket: the bytes that are copied must have the checksum, so
that of another bucket proves nothing wrong. The report is refused
as a whole if a file is not the one that S3 wrote, or a row is not what such a job writes: a report that is wrong
in one place proves nothing in another.
"""

import logging
import sqlite3
from base64 import b64decode
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Final
from urllib.parse import unquote_plus

import msgspec

from s3_to_azure.model.formatting import count_text
from s3_to_azure.model.names import is_access_point
from s3_to_azure.model.objects import NO_ETAG, ListedObject, SourceChecksum
from s3_to_azure.model.options import WIDTHS
from s3_to_azure.model.ports import ObjectSource
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.uris import S3Uri
from s3_to_azure.planning.report_files import ReportReader, csv_rows, read_manifest_text, verified, wrong_row
from s3_to_azure.planning.temporary_table import temporary_table
from s3_to_azure.state.manifest import ETAG

log = logging.getLogger(__name__)

_FORMAT: Final = "Report_CSV_20180820"
_COLUMNS: Final = ["Bucket", "Key", "VersionId", "TaskStatus", "ErrorCode", "HTTPStatusCode", "ResultMessage"]
_SUCCEEDED: Final = "succeeded"
_FAILED: Final = "failed"
_FULL_OBJECT: Final = "FULL_OBJECT"
_MAX_SHOWN_CHARACTERS: Final = 80
_GZIP: Final = b"\x1f\x8b"
_ALGORITHMS: Final = tuple(WIDTHS)
_AGAIN: Final = "Take the report as the job wrote it, or make a new job (docs/checksum-reports.md)"


class _File(msgspec.Struct, gc=False):
    """A file of rows."""

    status: str = msgspec.field(name="TaskExecutionStatus")
    bucket: str = msgspec.field(name="Bucket")
    md5: str = msgspec.field(name="MD5Checksum")
    key: str = msgspec.field(name="Key")


class _Manifest(msgspec.Struct, gc=False):
    """What ``manifest.json`` holds."""

    form: str = msgspec.field(name="Format")
    files: list[_File] = msgspec.field(name="Results")
    schema: str = msgspec.field(name="ReportSchema")


class _Result(msgspec.Struct, gc=False):
    """The message of a task that succeeded."""

    base64: str = msgspec.field(name="checksum_base64")
    etag: str
    algorithm: str = msgspec.field(name="checksumAlgorithm")
    kind: str = msgspec.field(name="checksumType")
    hex: str = msgspec.field(name="checksum_hex", default="")


_read_manifest: Final = msgspec.json.Decoder(_Manifest)
_read_result: Final = msgspec.json.Decoder(_Result)


class ChecksumReport:
    """The rows of a report, in a temporary table with an index by key.

    Attributes:
        name: The report's address.
        bucket: The bucket of the rows, where the listing is of an access point, which does not tell it.
        rows: All rows of the report.
        failed: Rows of objects whose checksum the job could not compute.
        proven: Listed objects that a row has the checksum of.
        stale: Listed objects whose rows all are of other versions, and prove nothing.
    """

    def __init__(
        self,
        name: str,
        database: sqlite3.Connection,
        version_id: str | None,
        *,
        bucket: str | None,
        rows: int,
        failed: int,
    ) -> None:
        self.name = name
        self.bucket = bucket
        self.rows = rows
        self.failed = failed
        self.proven = self.stale = 0
        self._database = database
        self._version_id = version_id

    def complete(self, listed: ListedObject) -> ListedObject:
        """Return a listed object with the checksum that the report has of this very version, if it has one."""
        if listed.problem or listed.etag == NO_ETAG:
            return listed
        found = self._database.execute(
            "SELECT etag, version, algorithm, value FROM listed WHERE key = ? ORDER BY etag, version, algorithm",
            (listed.key.encode(errors="surrogatepass"),),
        ).fetchall()
        fitting = [
            (algorithm, value)
            for etag, version, algorithm, value in found
            if etag == listed.etag and (self._version_id is None or version in ("", self._version_id))
        ]
        if not fitting:
            self.stale += bool(found)
            return listed
        self.proven += 1
        algorithm, value = min(fitting)
        checksum = SourceChecksum(_ALGORITHMS[algorithm], int.from_bytes(value, "big"), reported=True)
        return replace(listed, reported=checksum)

    def text(self) -> str:
        """Return one sentence for a person."""
        stale, of_bucket = (
            count_text(self.stale, "listed object"),
            f" of the bucket {self.bucket}" if self.bucket else "",
        )
        return (
            f"The checksum report {self.name} has {count_text(self.rows, 'row')}{of_bucket}: {self.proven:,} of listed "
            f"objects, {self.failed:,} of objects that the job failed on; {stale} only in other versions, which proves "
            "nothing"
        )


@contextmanager
def open_report(
    at: S3Uri, source: ObjectSource, retrier: Retrier, *, bucket: str, prefix: str, version_id: str | None = None
) -> Iterator[ChecksumReport]:
    """Read a report and yield its rows; the temporary table ends with the block.

    Memory: 2 * 8 MiB and the manifest, however many rows there are. Beyond some 8 MiB the rows are in temporary files,
    of about twice the size of their keys and 150 bytes each.

    Args:
        at: The report's ``manifest.json``.
        source: Where it is; not one that reads a named version.
        retrier: Repeats requests.
        bucket: The bucket of the listing, or an access point.
        prefix: The prefix of the listing; rows of other keys are checked, and not kept.
        version_id: The version that the user named, if any.

    Raises:
        UsageError: It is not the report of a job that computed full-object checksums of this bucket, or not as the job
            wrote it, or the temporary directory cannot hold its rows.
    """
    reader = _Reader(at, source, retrier, bucket=bucket, prefix=prefix)
    columns = (
        "key BLOB NOT NULL, etag TEXT NOT NULL, version TEXT NOT NULL, algorithm INT NOT NULL, value BLOB NOT NULL"
    )
    with temporary_table(columns, name=reader.name) as database:
        database.executemany("INSERT INTO listed VALUES (?, ?, ?, ?, ?)", reader.rows())
        # One external merge sort. The index holds all columns, so that looking up never goes back to the table.
        database.execute("CREATE INDEX temp.by_key ON listed (key, etag, version, algorithm, value)")
        twice = database.execute(
            "SELECT key, etag FROM listed GROUP BY key, etag, version, algorithm HAVING min(value) <> max(value) "
            "LIMIT 1"
        ).fetchone()
        if twice:
            reader.refuse(f"it has two different checksums of {twice[0].decode(errors='replace')!r}, ETag {twice[1]}")
        of_bucket = reader.bucket if is_access_point(bucket) else None
        yield ChecksumReport(
            reader.name, database, version_id, bucket=of_bucket, rows=reader.count, failed=reader.failed
        )


class _Reader(ReportReader):
    """Reads the files of a report and checks each row.

    Attributes:
        name: The report's address.
        bucket: The bucket of all rows; None until an access point's first row tells.
        count: Rows so far.
        failed: Rows of tasks that failed.
    """

    def __init__(self, at: S3Uri, source: ObjectSource, retrier: Retrier, *, bucket: str, prefix: str) -> None:
        super().__init__(at, source, retrier, kind="checksum report", again=_AGAIN)
        self.count = self.failed = 0
        self.bucket = None if is_access_point(bucket) else bucket
        self._prefix = prefix
        self.refuse_changing(bucket)

    def rows(self) -> Iterator[tuple[bytes, str, str, int, bytes]]:
        """Yield key, ETag, version, place of the algorithm, and value of each object below the prefix."""
        for file in self._manifest().files:
            if file.bucket != self._at.bucket:
                self.refuse(f"its file {file.key!r} is in another bucket, {file.bucket!r}")
            if file.status not in (_SUCCEEDED, _FAILED):
                self.refuse(f"its file {file.key!r} has the status {file.status[:_MAX_SHOWN_CHARACTERS]!r}")
            yield from self._rows_of(file)

    def _manifest(self) -> _Manifest:
        text = read_manifest_text(self.pieces(self._at.key), self.refuse)
        manifest = self.decoded(_read_manifest, text, of="a completion report")
        if manifest.form != _FORMAT:
            self.refuse(f"its Format is {manifest.form[:_MAX_SHOWN_CHARACTERS]!r} instead of {_FORMAT}")
        if [column.strip() for column in manifest.schema.split(",")] != _COLUMNS:
            self.refuse(f"its ReportSchema is {manifest.schema[:200]!r} instead of {', '.join(_COLUMNS)!r}")
        if not manifest.files:
            self.refuse("it names no file: no task of the job succeeded, or the job was made without a report")
        log.info("Reading %s of the checksum report %s", count_text(len(manifest.files), "file"), self.name)
        return manifest

    def _rows_of(self, file: _File) -> Iterator[tuple[bytes, str, str, int, bytes]]:
        def checked(pieces: Iterator[bytes]) -> Iterator[tuple[bytes, str, str, int, bytes]]:
            return self._checked(file, pieces)

        return verified(self.pieces(file.key), checked, file=file.key, md5=file.md5, refuse=self.refuse)

    def _checked(self, file: _File, pieces: Iterable[bytes]) -> Iterator[tuple[bytes, str, str, int, bytes]]:
        for number, row in csv_rows(file.key, _plain(file, pieces), columns=len(_COLUMNS)):
            self.count += 1
            # Rows have the status and the error code in another order than ReportSchema; neither is needed.
            bucket, key, version, status, _, _, message = row
            self.bucket = self.bucket or bucket
            if bucket != self.bucket:
                raise wrong_row(file.key, number, f"is of the bucket {bucket[:63]!r} instead of {self.bucket[:63]!r}")
            if status == _FAILED:
                self.failed += 1
                continue
            if status != _SUCCEEDED:
                raise wrong_row(file.key, number, f"has the status {status[:_MAX_SHOWN_CHARACTERS]!r}")
            try:
                etag, algorithm, value = _parse_result(message)
            except ValueError as error:
                raise wrong_row(file.key, number, str(error)) from None
            for name in _keys(key):
                if name.startswith(self._prefix):
                    yield name.encode(), etag, "" if version == "null" else version, algorithm, value


def _plain(file: _File, pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield the pieces of a file that is not compressed."""
    start = b""
    for piece in pieces:
        if not start and piece.startswith(_GZIP):
            raise wrong_row(file.key, 1, "is compressed, and a job writes plain CSV")
        start = start or piece
        yield piece


def _keys(text: str) -> Iterator[str]:
    """Yield the keys that a row may be of.

    The manifest of a job has URL-encoded keys, and its report shows them so. A key that another manifest gave as it is
    has the same text: the ETag decides, which a row of another object does not have.
    """
    try:
        decoded = unquote_plus(text, errors="strict")
    except UnicodeDecodeError:
        decoded = text
    yield decoded
    if text != decoded:
        yield text


def _parse_result(message: str) -> tuple[str, int, bytes]:
    """Return ETag, place of the algorithm, and value.

    Raises:
        ValueError: The message is not that of such a task, or its checksum is not of the object's bytes.
    """
    try:
        result = _read_result.decode(message)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise ValueError(f"has a ResultMessage that is not of a job of Compute checksum ({error})") from None
    algorithm = result.algorithm.lower()
    if algorithm not in WIDTHS:
        raise ValueError(f"has the unknown algorithm {result.algorithm[:_MAX_SHOWN_CHARACTERS]!r}")
    if result.kind != _FULL_OBJECT:
        raise ValueError(
            f"has a checksum of the type {result.kind[:_MAX_SHOWN_CHARACTERS]!r}, which is not over the object's "
            f"bytes: a job with the type {_FULL_OBJECT} is needed"
        )
    try:
        value = b64decode(result.base64, validate=True)
    except ValueError:
        value = b""
    if len(value) != WIDTHS[algorithm]:
        raise ValueError(f"has {result.base64[:_MAX_SHOWN_CHARACTERS]!r}, which is no {result.algorithm} in base64")
    if result.hex and result.hex.lower() != value.hex():
        raise ValueError(f"has different checksums in base64 and in hex, {result.hex[:_MAX_SHOWN_CHARACTERS]!r}")
    etag = result.etag.strip('"')
    if not ETAG.fullmatch(etag):
        raise ValueError("has no ETag")
    return etag, _ALGORITHMS.index(algorithm), value
