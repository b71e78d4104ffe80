"""An S3 Inventory of generated objects, in one file, and the listing that is read from it."""

import csv
import gzip
import hashlib
import json
import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any, Final

from benchmarks.checksum_report import Files, Listing
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.model.uris import S3Uri
from s3_to_azure.planning.inventory import open_inventory
from s3_to_azure.state.manifest import write_manifest

CSV: Final = "CSV"
PARQUET: Final = "Parquet"
_BUCKET: Final = "reports"
_COLUMNS: Final = ("Bucket", "Key", "Size", "LastModifiedDate", "ETag", "StorageClass")
_NAMES: Final = ("bucket", "key", "size", "last_modified_date", "e_tag", "storage_class")
_GROUP_ROWS: Final = 100_000


def write_inventory(objects: Listing, form: str, directory: Path) -> None:
    """Write an inventory of all objects, in another order than the listing's."""
    listed = reversed(list(objects()))
    path = directory / form
    if form == CSV:
        with gzip.open(path, "wt", compresslevel=1, encoding="utf-8", newline="") as out:
            table = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\n")
            for each in listed:
                table.writerow([*_row(each)[:3], each.last_modified.isoformat(), *_row(each)[4:]])
    else:
        # A program that reads CSV does not import pyarrow.
        from pyarrow import parquet  # noqa: PLC0415

        with parquet.ParquetWriter(path, _table([]).schema) as out:
            while group := list(islice(listed, _GROUP_ROWS)):
                out.write_table(_table(group))
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "md5").hexdigest()
    manifest = {
        "sourceBucket": "benchmark",
        "destinationBucket": f"arn:aws:s3:::{_BUCKET}",
        "version": "2016-11-30",
        "creationTimestamp": "1772323200000",
        "fileFormat": form,
        "fileSchema": ", ".join(_COLUMNS),
        "files": [{"key": form, "size": path.stat().st_size, "MD5checksum": digest}],
    }
    text = json.dumps(manifest).encode()
    (directory / "manifest.json").write_bytes(text)
    (directory / "manifest.checksum").write_text(hashlib.md5(text).hexdigest())


def list_by_inventory(bucket: str, files: StateFiles, directory: Path) -> dict[str, Any]:
    """Write a listing from the inventory; return the counts.

    Raises:
        AssertionError: The listing is in another order than that of the keys.
    """
    source: Any = Files(directory)
    retrier = Retrier(RetryBudget(), threading.Event())
    with open_inventory(S3Uri(_BUCKET, "manifest.json"), source, retrier, bucket=bucket, prefix="") as inventory:
        pointer = write_manifest(inventory.objects(), files, bucket=bucket, prefix="")
    assert pointer.ordered
    return {"objects": pointer.objects}


def _row(each: ListedObject) -> tuple[Any, ...]:
    return each.bucket, each.key, each.size_bytes, each.last_modified, each.etag, each.storage_class


def _table(group: list[ListedObject]) -> Any:  # noqa: ANN401 - pyarrow has no types
    import pyarrow as pa  # noqa: PLC0415

    types = [pa.string(), pa.string(), pa.int64(), pa.timestamp("ms", "UTC"), pa.string(), pa.string()]
    columns: Iterator[tuple[Any, ...]] = zip(*map(_row, group), strict=True) if group else iter([()] * len(types))
    return pa.table({name: pa.array(column, kind) for name, column, kind in zip(_NAMES, columns, types, strict=True)})
