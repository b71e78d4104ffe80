"""S3 Inventory in place of a bucket's listing: its files are verified, and their rows sorted, in bounded memory.

S3 writes an inventory each day or week: a ``manifest.json`` names files in CSV or Parquet, with their MD5, and
``manifest.checksum`` beside it has the manifest's own. The forms:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html

The rows of all files together are in no order, so they go through a temporary table. An inventory is refused as a whole
if a file is not the one that S3 wrote: a listing that lacks objects would pass for one of a smaller bucket.
"""

import logging
import re
import sqlite3
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from glob import escape
from hashlib import md5
from operator import itemgetter
from typing import Final, NamedTuple
from urllib.parse import unquote_plus

import msgspec

from s3_to_azure.model.errors import ObjectNotFound, UsageError
from s3_to_azure.model.formatting import count_text
from s3_to_azure.model.limits import MAX_KEY_BYTES, MAX_OBJECT_BYTES, MIB
from s3_to_azure.model.names import is_access_point
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.model.ports import ObjectSource
from s3_to_azure.model.retry import Retrier, with_retries
from s3_to_azure.model.uris import S3Uri
from s3_to_azure.planning.inventory_parquet import parquet_rows
from s3_to_azure.planning.report_files import ReportReader, WrongRow, csv_rows, read_manifest_text, verified, wrong_row
from s3_to_azure.planning.temporary_table import temporary_table
from s3_to_azure.state.manifest import ETAG

log = logging.getLogger(__name__)

MANIFEST: Final = "manifest.json"
SYMLINK: Final = "symlink.txt"
_CHECKSUM: Final = "manifest.checksum"
_VERSION: Final = "2016-11-30"
_CSV: Final = "CSV"
_PARQUET: Final = "Parquet"
_DATE: Final = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d-\d\d)Z/")
_HIVE_DATE: Final = re.compile(r"(?P<folder>.*/|)hive/dt=(?P<day>\d{4}-\d\d-\d\d)-(?P<time>\d\d-\d\d)/")
# The column of CSV, and that of Parquet.
_NEEDED: Final = {
    "Bucket": "bucket",
    "Key": "key",
    "Size": "size",
    "LastModifiedDate": "last_modified_date",
    "ETag": "e_tag",
}
_OPTIONAL: Final = {
    "StorageClass": "storage_class",
    "IsLatest": "is_latest",
    "IsDeleteMarker": "is_delete_marker",
    "ChecksumAlgorithm": "checksum_algorithm",
    "EncryptionStatus": "encryption_status",
}
_COLUMNS: Final = {**_NEEDED, **_OPTIONAL}
# With versions, what tells the current ones.
_LATEST: Final = {"VersionId": "IsLatest", "version_id": "is_latest"}
_CLASS: Final = re.compile(r"[!-~]{1,64}")
_SSE_C: Final = "SSE-C"
_EPOCH: Final = datetime.fromtimestamp(0, UTC)
_MAX_SIZE_DIGITS: Final = 19
_MAX_SHOWN_CHARACTERS: Final = 80
_MAX_FILES: Final = 100_000
_AGAIN: Final = "Take the inventory as S3 wrote it, or a newer one (docs/inventory.md)"


class _File(msgspec.Struct, gc=False):
    """A file of rows."""

    key: str
    md5: str = msgspec.field(name="MD5checksum")


class _Manifest(msgspec.Struct, gc=False):
    """What ``manifest.json`` holds."""

    bucket: str = msgspec.field(name="sourceBucket")
    destination: str = msgspec.field(name="destinationBucket")
    version: str
    made: str = msgspec.field(name="creationTimestamp")
    form: str = msgspec.field(name="fileFormat")
    schema: str = msgspec.field(name="fileSchema")
    files: list[_File]


class Cells(NamedTuple):
    """What a row says, as CSV has it: texts, which may be empty; None: there is no such column."""

    bucket: str | None
    key: str | None
    size: str | None
    modified: str | None
    etag: str | None
    storage_class: str | None
    is_latest: str | None
    is_delete_marker: str | None
    checksum_algorithm: str | None
    encryption: str | None


_Row = tuple[bytes, str, int, int, str]
"""Key, ETag, size, last modified in milliseconds, storage class."""

_read_manifest: Final = msgspec.json.Decoder(_Manifest)


class Inventory:
    """The current objects of an inventory below the prefix.

    Attributes:
        name: The address of its ``manifest.json``.
        made_at: When S3 began to make it.
    """

    def __init__(self, reader: "_Reader", made_at: datetime, database: sqlite3.Connection) -> None:
        self.name = reader.name
        self.made_at = made_at
        self._reader = reader
        self._database = database

    def objects(self) -> Iterator[ListedObject]:
        """Yield the objects in the order of their keys, as a listing does."""
        bucket = self._reader.bucket
        # Of two current versions, the later one was written while the inventory was made.
        rows = self._database.execute("SELECT * FROM listed ORDER BY key, modified DESC")
        last = b""
        for key, etag, size, modified, storage_class in rows:
            if key != last:
                time = _EPOCH + timedelta(milliseconds=modified)
                yield ListedObject(bucket, key.decode(), etag, size, time, storage_class)
            last = key

    def text(self) -> str:
        """Return one sentence for a person."""
        reader = self._reader
        others = count_text(reader.others, "other version or delete marker", "other versions and delete markers")
        parts = [f"{count_text(reader.kept, 'current object')} below the prefix"]
        parts += [others] if reader.others else []
        for count, what in (
            (reader.unproven, "without a checksum that S3 stores"),
            (reader.sse_c, "under SSE-C, which only a copy with the customer's key can read"),
        ):
            parts += [f"{count_text(count, 'object')} {what}"] if count else []
        return (
            f"The inventory {self.name} of {self.made_at.isoformat(timespec='minutes')} has "
            f"{count_text(reader.count, 'row')}: {', '.join(parts)}"
        )


@contextmanager
def open_inventory(
    at: S3Uri, source: ObjectSource, retrier: Retrier, *, bucket: str, prefix: str
) -> Iterator[Inventory]:
    """Read an inventory and yield it; the temporary table ends with the block.

    Memory: 2 * 8 MiB and the manifest, however many rows there are, and with Parquet a row group. Beyond some 8 MiB the
    rows are in temporary files, of about twice the size of their keys and 60 bytes each.

    Args:
        at: Its ``manifest.json`` or ``symlink.txt``, or its configuration's folder, whose newest inventory is read.
        source: Where it is; not one that reads a named version.
        retrier: Repeats requests.
        bucket: The bucket of the listing.
        prefix: The prefix of the listing; rows of other keys are checked, and not kept.

    Raises:
        ObjectNotFound: There is no such inventory.
        UsageError: It is not an inventory of this bucket, lacks a field, or is not as S3 wrote it, or the temporary
            directory cannot hold its rows.
    """
    reader = _Reader(at, source, retrier, bucket=bucket, prefix=prefix)
    columns = "key BLOB NOT NULL, etag TEXT NOT NULL, size INT NOT NULL, modified INT NOT NULL, class TEXT NOT NULL"
    with temporary_table(columns, name=reader.name) as database:
        manifest = reader.manifest()
        database.executemany("INSERT INTO listed VALUES (?, ?, ?, ?, ?)", reader.rows(manifest))
        yield Inventory(reader, reader.made_at(manifest), database)


def newest_manifest(at: S3Uri, source: ObjectSource, retrier: Retrier) -> S3Uri:
    """Return the address of the ``manifest.json`` that an address means; a folder is listed, its newest one is taken.

    Raises:
        ObjectNotFound: The folder holds no complete inventory.
    """
    if not at.is_prefix:
        return _manifest_of(at)
    newest = ""
    # Each inventory's folder is named by its date, in this millennium; beside them are the data of all of them.
    dated = with_retries(source.list(at.bucket, f"{at.key}2"), retrier, f"list s3://{at.bucket}/{at.key}")
    for listed in dated:
        folder, _, name = listed.key.removeprefix(at.key).rpartition("/")
        if name == _CHECKSUM and _DATE.fullmatch(f"{folder}/"):
            newest = max(newest, folder)
    if not newest:
        raise ObjectNotFound(bucket=at.bucket, key=f"{at.key}…/{MANIFEST}")
    return S3Uri(at.bucket, f"{at.key}{newest}/{MANIFEST}")


def _manifest_of(at: S3Uri) -> S3Uri:
    """Return the manifest that an address names, or that S3 writes with the ``symlink.txt`` that it names."""
    if not at.key.endswith(SYMLINK):
        return at
    found = _HIVE_DATE.match(at.key)
    if not found:
        raise UsageError(detail=f"s3://{at.bucket}/{at.key} is not below hive/dt=…/, where S3 writes it.")
    return S3Uri(at.bucket, f"{found['folder']}{found['day']}T{found['time']}Z/{MANIFEST}")


def _checksum_of(manifest: S3Uri) -> str:
    return manifest.key.removesuffix(MANIFEST) + _CHECKSUM


def watched(at: S3Uri) -> tuple[str, str, list[str]]:
    """Return the bucket, the prefix and the pattern of the keys whose existence means that there is an inventory."""
    if at.is_prefix:
        return at.bucket, f"{at.key}2", [f"{escape(at.key)}2*/{_CHECKSUM}"]
    checksum = _checksum_of(_manifest_of(at))
    return at.bucket, checksum, [escape(checksum)]


def is_there(at: S3Uri, source: ObjectSource, retrier: Retrier) -> bool:
    """Return whether the inventory exists, and S3 has finished it."""
    try:
        manifest = newest_manifest(at, source, retrier)
        checksum = _checksum_of(manifest)
        retrier.call(f"look at {checksum!r}", lambda: source.head(manifest.bucket, checksum))
    except ObjectNotFound:
        return False
    return True


class _Reader(ReportReader):
    """Reads the files of an inventory and checks each row.

    Attributes:
        name: The address of its ``manifest.json``.
        bucket: The bucket of the listing.
        count: Rows so far.
        kept: Rows of current objects below the prefix.
        others: Rows of other versions, and of delete markers.
        unproven: Current objects below the prefix for which S3 stores no checksum, as far as the inventory tells.
        sse_c: Those that only the customer's key can read, as far as the inventory tells.
    """

    def __init__(self, at: S3Uri, source: ObjectSource, retrier: Retrier, *, bucket: str, prefix: str) -> None:
        super().__init__(newest_manifest(at, source, retrier), source, retrier, kind="inventory", again=_AGAIN)
        self._symlink = at.key if at.key.endswith(SYMLINK) else None
        self.bucket = bucket
        self.count = self.kept = self.others = self.unproven = self.sse_c = 0
        self._prefix = prefix.encode()
        self._of_bucket = ""
        self.refuse_changing(bucket)

    def manifest(self) -> _Manifest:
        """Return the checked manifest."""
        text = read_manifest_text(self.pieces(self._at.key), self.refuse)
        stated = read_manifest_text(self.pieces(_checksum_of(self._at)), self.refuse).strip().lower()
        if md5(text, usedforsecurity=False).hexdigest().encode() != stated:
            self.refuse(f"its manifest.json is not the one that S3 wrote: its MD5 is not that of {_CHECKSUM}")
        manifest = self.decoded(_read_manifest, text, of="an inventory")
        if manifest.version != _VERSION:
            self.refuse(f"its version is {manifest.version[:_MAX_SHOWN_CHARACTERS]!r} instead of {_VERSION}")
        # The name of an access point does not tell its bucket.
        if manifest.bucket != self.bucket and not is_access_point(self.bucket):
            self.refuse(f"it is of the bucket {manifest.bucket[:63]!r} instead of {self.bucket!r}")
        self._of_bucket = manifest.bucket
        if manifest.destination.rpartition(":")[2] != self._at.bucket:
            self.refuse(f"its files are in another bucket, {manifest.destination[:100]!r}")
        if manifest.form not in (_CSV, _PARQUET):
            form = manifest.form[:_MAX_SHOWN_CHARACTERS]
            self.refuse(f"its fileFormat is {form!r}: choose CSV or Parquet in the inventory's configuration")
        if not manifest.files or len(manifest.files) > _MAX_FILES:
            self.refuse(f"it names {len(manifest.files):,} files")
        if self._symlink is not None:
            self._compare_symlink(self._symlink, manifest)
        log.info("Reading %s of the inventory %s", count_text(len(manifest.files), "file"), self.name)
        return manifest

    def made_at(self, manifest: _Manifest) -> datetime:
        """Return when S3 began to make it."""
        try:
            return datetime.fromtimestamp(int(manifest.made) / 1_000, UTC)
        except (ValueError, OverflowError, OSError):
            self.refuse(f"its creationTimestamp is {manifest.made[:_MAX_SHOWN_CHARACTERS]!r}")

    def rows(self, manifest: _Manifest) -> Iterator[_Row]:
        """Yield each current object below the prefix."""
        self.made_at(manifest)
        if manifest.form == _CSV:
            read = self._reader_of_csv([column.strip() for column in manifest.schema.split(",")])
        else:
            read = self._read_parquet
        for file in manifest.files:

            def rows(pieces: Iterator[bytes], file: str = file.key) -> Iterator[_Row]:
                for number, cells in read(file, pieces):
                    self.count += 1
                    row = self._row(file, number, cells)
                    if row is not None:
                        yield row

            yield from verified(self.pieces(file.key), rows, file=file.key, md5=file.md5, refuse=self.refuse)

    def _compare_symlink(self, key: str, manifest: _Manifest) -> None:
        """Refuse a ``symlink.txt`` that names other files; it has neither their MD5 nor their columns itself."""
        text = read_manifest_text(self.pieces(key), self.refuse).decode("utf-8", "replace")
        if sorted(text.split()) != sorted(f"s3://{self._at.bucket}/{file.key}" for file in manifest.files):
            self.refuse(f"{key!r} names other files than its manifest.json")

    def _check_columns(self, columns: list[str], needed: Iterable[str]) -> None:
        missing = [name for name in needed if name not in columns]
        if missing:
            self.refuse(
                f"it has no {' and no '.join(missing)}: add these fields to the inventory's configuration, and wait "
                "for the next one"
            )
        for version, latest in _LATEST.items():
            if version in columns and latest not in columns:
                self.refuse(f"it has versions and no {latest}, so nothing tells the current ones")

    def _reader_of_csv(self, columns: list[str]) -> Callable[[str, Iterator[bytes]], Iterator[tuple[int, Cells]]]:
        self._check_columns(columns, _NEEDED)
        # Columns that are not there take the value behind the row's own.
        cells_of = itemgetter(*(columns.index(name) if name in columns else len(columns) for name in _COLUMNS))
        at_key = columns.index("Key")

        def read(file: str, pieces: Iterator[bytes]) -> Iterator[tuple[int, Cells]]:
            for number, row in csv_rows(file, _unzipped(file, pieces), columns=len(columns)):
                try:
                    row[at_key] = unquote_plus(row[at_key], errors="strict")
                except UnicodeDecodeError:
                    raise wrong_row(file, number, f"has the key {row[at_key][:100]!r}, which is not UTF-8") from None
                yield number, Cells._make(cells_of([*row, None]))

        return read

    def _read_parquet(self, file: str, pieces: Iterator[bytes]) -> Iterator[tuple[int, Cells]]:
        def check(columns: list[str]) -> None:
            self._check_columns(columns, _NEEDED.values())

        for number, row in parquet_rows(file, pieces, list(_COLUMNS.values()), check):
            yield number, Cells._make(row)

    def _row(self, file: str, number: int, cells: Cells) -> _Row | None:
        """Return the row of a current object below the prefix; None for another."""
        if cells.bucket != self._of_bucket:
            shown = str(cells.bucket)[:63]
            raise wrong_row(file, number, f"is of the bucket {shown!r} instead of {self._of_bucket[:63]!r}")
        key = (cells.key or "").encode()
        if not key or len(key) > MAX_KEY_BYTES:
            raise wrong_row(file, number, f"has the key {key[:100]!r}")
        if _flag(file, number, cells.is_delete_marker, default=False) or not _flag(
            file, number, cells.is_latest, default=True
        ):
            self.others += 1
            return None
        size, etag, storage_class = cells.size or "", (cells.etag or "").strip('"'), cells.storage_class or "STANDARD"
        if not (size.isascii() and size.isdigit() and len(size) <= _MAX_SIZE_DIGITS and int(size) <= MAX_OBJECT_BYTES):
            raise wrong_row(file, number, f"has the size {size[:_MAX_SHOWN_CHARACTERS]!r}")
        if not ETAG.fullmatch(etag):
            raise wrong_row(file, number, f"has the ETag {etag[:_MAX_SHOWN_CHARACTERS]!r}")
        if not _CLASS.fullmatch(storage_class):
            raise wrong_row(file, number, f"has the storage class {storage_class[:_MAX_SHOWN_CHARACTERS]!r}")
        modified = _milliseconds(file, number, cells.modified or "")
        if not key.startswith(self._prefix):
            return None
        self.kept += 1
        self.unproven += cells.checksum_algorithm == ""
        self.sse_c += cells.encryption == _SSE_C
        return key, etag, int(size), modified, storage_class


def _flag(file: str, number: int, text: str | None, *, default: bool) -> bool:
    if not text:
        return default
    if text.lower() not in ("true", "false"):
        raise wrong_row(file, number, f"has {text[:_MAX_SHOWN_CHARACTERS]!r} for IsLatest or IsDeleteMarker")
    return text.lower() == "true"


def _milliseconds(file: str, number: int, text: str) -> int:
    try:
        moment = datetime.fromisoformat(text)
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1_000)
    except (ValueError, OverflowError):
        raise wrong_row(file, number, f"has the LastModifiedDate {text[:_MAX_SHOWN_CHARACTERS]!r}") from None


def _unzipped(file: str, pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Yield the bytes of a gzip file of any number of members, some at a time however much they expand."""
    unzip = zlib.decompressobj(wbits=31)
    try:
        for piece in pieces:
            rest = piece
            while rest:
                if unzip.eof:
                    unzip = zlib.decompressobj(wbits=31)
                yield unzip.decompress(rest, MIB)
                rest = unzip.unused_data or unzip.unconsumed_tail
    except zlib.error as error:
        raise WrongRow(f"its file {file!r} is no gzip file ({error})") from None
    if not unzip.eof:
        raise WrongRow(f"its file {file!r} ends early")
