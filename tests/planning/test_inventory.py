"""S3 Inventory: the documented forms are read as a listing, and all else is refused by name."""

import gzip
import hashlib
import threading
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest

from s3_to_azure.model.errors import ObjectNotFound, UsageError
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.model.uris import S3Uri, parse_inventory
from s3_to_azure.planning.inventory import Inventory as Found
from s3_to_azure.planning.inventory import is_there, newest_manifest, open_inventory, watched
from tests.fakes.memory_source import MemorySource
from tests.inventories import MORE, VERSIONS, Inventory, as_csv, deleted, row

BUCKET: Final = "bucket"
NOON: Final = datetime(2026, 3, 1, 12, tzinfo=UTC)
FORMS: Final = pytest.mark.parametrize("form", ["CSV", "Parquet"])


def uploaded(*inventories: Inventory, without: str = "") -> MemorySource:
    """Return a store with the inventories, without one of their objects."""
    source = MemorySource(BUCKET, "reports")
    for inventory in inventories:
        for key, data in inventory.objects().items():
            if not without or not key.endswith(without):
                source.put("reports", key, data, checksum=None)
    return source


def retrier() -> Retrier:
    """Return one that tries once."""
    return Retrier(RetryBudget(attempts=1), threading.Event())


@contextmanager
def opened(inventory: Inventory, *, at: str = "", prefix: str = "in/", without: str = "") -> Iterator[Found]:
    """Upload an inventory and open it."""
    address = parse_inventory(at or inventory.address, name="inventory")
    source = uploaded(inventory, without=without)
    with open_inventory(address, source, retrier(), bucket=BUCKET, prefix=prefix) as found:
        yield found


def inventory_of(*rows: dict[str, Any], **arguments: Any) -> Inventory:
    """Return an inventory of one file."""
    return Inventory(BUCKET, **arguments).add("a.csv.gz", rows)


def objects(inventory: Inventory, **arguments: Any) -> list[ListedObject]:
    """Return what the inventory lists."""
    with opened(inventory, **arguments) as found:
        return list(found.objects())


@FORMS
def test_files_in_any_order_are_a_listing(form: str) -> None:
    """By the order of the keys' bytes, below the prefix, with the values that a listing has."""
    keys = [
        "in/é",
        "in/a b",
        "in/a+b",
        "in/%2F",
        "in/日本",
        'in/"q,"',
        "in/\U0001f600",
        "in/\ue000",
        "in/z",
        "elsewhere",
    ]
    inventory = Inventory(BUCKET, form=form)
    for number in range(3):
        inventory.add(f"{number}.gz", [row(BUCKET, key) for key in keys[number::3]])
    inventory.add("4.gz", [row(BUCKET, "in/4", Size=5 * 10**12, ETag='"e-2"', StorageClass="DEEP_ARCHIVE")])
    found = objects(inventory)
    assert [each.key for each in found] == sorted([*keys[:-1], "in/4"], key=str.encode)
    assert ListedObject(BUCKET, "in/4", "e-2", 5 * 10**12, NOON, "DEEP_ARCHIVE") in found
    assert ListedObject(BUCKET, "in/a b", "e1", 3, NOON) in found


@FORMS
def test_only_current_versions_are_listed(form: str) -> None:
    """No older version, and no delete marker."""
    rows = [
        row(BUCKET, "in/a", VersionId="2", ETag="new"),
        row(BUCKET, "in/a", VersionId="1", IsLatest=False),
        deleted(BUCKET, "in/b"),
        row(BUCKET, "in/b", VersionId="1", IsLatest=False),
    ]
    with opened(inventory_of(*rows, form=form, columns=VERSIONS)) as found:
        assert [(each.key, each.etag) for each in found.objects()] == [("in/a", "new")]
        assert "has 4 rows: 1 current object below the prefix, 3 other versions and delete markers" in found.text()


@FORMS
def test_what_the_inventory_tells_of_proof_and_keys(form: str) -> None:
    """Objects without a checksum, and those that only the customer's key reads."""
    rows = [
        row(BUCKET, "in/a"),
        row(BUCKET, "in/b", ChecksumAlgorithm=None),
        row(BUCKET, "in/c", ChecksumAlgorithm=None, EncryptionStatus="SSE-C"),
        row(BUCKET, "out/d", ChecksumAlgorithm=None, EncryptionStatus="SSE-C"),
    ]
    with opened(inventory_of(*rows, form=form, columns=MORE)) as found:
        assert found.text() == (
            "The inventory s3://reports/inventories/bucket/nightly/2026-11-27T01-00Z/manifest.json of "
            "2026-11-27T01:00+00:00 has 4 rows: 3 current objects below the prefix, 2 objects without a checksum that "
            "S3 stores, 1 object under SSE-C, which only a copy with the customer's key can read"
        )
        assert found.made_at == datetime(2026, 11, 27, 1, tzinfo=UTC)
    with opened(inventory_of(*rows, form=form)) as found:
        assert "checksum" not in found.text().partition("has")[2]


def test_of_two_current_versions_the_later_one_is_listed() -> None:
    """The object was written while S3 made the inventory."""
    later = row(BUCKET, "in/a", ETag="later", LastModifiedDate=NOON + timedelta(seconds=1))
    assert [each.etag for each in objects(inventory_of(row(BUCKET, "in/a"), later, row(BUCKET, "in/a")))] == ["later"]


def test_storage_class_may_be_missing() -> None:
    """Then it is the standard one; the copy notices an archived object."""
    found = objects(inventory_of(row(BUCKET, "in/a", StorageClass="GLACIER"), columns=MORE[:5]))
    assert [each.storage_class for each in found] == ["STANDARD"]


def test_file_of_several_gzip_members() -> None:
    """As concatenated."""
    inventory = inventory_of(row(BUCKET, "in/a"))
    (key,) = inventory.files
    inventory.files[key] += as_csv([row(BUCKET, "in/b")], inventory.columns)
    assert [each.key for each in objects(inventory)] == ["in/a", "in/b"]


@pytest.mark.parametrize("form", ["manifest", "folder", "symlink"])
def test_each_address_names_the_inventory(form: str) -> None:
    """Of a folder, the newest that S3 has finished."""
    older = inventory_of(row(BUCKET, "in/old"), made_at=datetime(2026, 11, 26, 23, tzinfo=UTC))
    newer = inventory_of(row(BUCKET, "in/new"))
    unfinished = inventory_of(row(BUCKET, "in/unfinished"), made_at=datetime(2026, 11, 28, 1, tzinfo=UTC))
    source = uploaded(older, newer)
    source.put("reports", unfinished.manifest_key, b"{", checksum=None)
    key = {"manifest": newer.manifest_key, "folder": newer.folder, "symlink": newer.symlink_key}[form]
    at = parse_inventory(f"s3://reports/{key}", name="inventory")
    assert newest_manifest(at, source, retrier()) == S3Uri("reports", newer.manifest_key)
    with open_inventory(at, source, retrier(), bucket=BUCKET, prefix="") as found:
        assert [each.key for each in found.objects()] == ["in/new"]
    assert is_there(at, source, retrier())
    assert not is_there(at, MemorySource(BUCKET, "reports"), retrier())
    bucket, prefix, patterns = watched(at)
    assert bucket == "reports"
    assert newer.manifest_key.replace("manifest.json", "manifest.checksum").startswith(prefix)
    assert len(patterns) == 1


@pytest.mark.parametrize(
    "address", ["s3://reports", "s3://reports/a/data.csv.gz", "/tmp/manifest.json", "https://h/manifest.json"]
)
def test_other_addresses_are_refused(address: str) -> None:
    """With the forms that there are."""
    with pytest.raises(UsageError, match=r"manifest\.json"):
        parse_inventory(address, name="inventory")


def test_symlink_elsewhere_is_refused() -> None:
    """Its manifest cannot be found."""
    with pytest.raises(UsageError, match=r"is not below hive/dt="):
        newest_manifest(S3Uri("reports", "a/symlink.txt"), uploaded(), retrier())


def changed(**changes: Any) -> Inventory:
    """Return an inventory whose manifest says something else."""
    inventory = inventory_of(row(BUCKET, "in/a"))
    inventory.changes |= changes
    return inventory


def with_file(**changes: Any) -> Inventory:
    """Return an inventory whose manifest says something else of its file."""
    inventory = inventory_of(row(BUCKET, "in/a"))
    return changed(files=[inventory.manifest()["files"][0] | changes])


def with_data(change: Callable[[bytes], bytes], *, matching: bool = False, form: str = "CSV") -> Inventory:
    """Return an inventory whose file was changed, with its MD5 or without."""
    inventory = inventory_of(*(row(BUCKET, f"in/{number}") for number in range(500)), form=form)
    (key,) = inventory.files
    files = [dict(inventory.manifest()["files"][0])]
    inventory.files[key] = change(inventory.files[key])
    if not matching:
        inventory.changes["files"] = files
    return inventory


def with_text(change: Callable[[bytes], bytes]) -> Inventory:
    """Return an inventory whose rows were changed, with the MD5."""
    return with_data(lambda data: gzip.compress(change(gzip.decompress(data))), matching=True)


def one(**changes: Any) -> Inventory:
    """Return an inventory of one row."""
    return inventory_of(row(BUCKET, "in/a", **changes), columns=VERSIONS)


def flipped(data: bytes) -> bytes:
    """Return the bytes with one bit changed in the middle."""
    middle = len(data) // 2
    return data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1 :]


TAMPERED: Final[dict[str, tuple[Callable[[], Inventory], str]]] = {
    "manifest's MD5": (lambda: Inventory(BUCKET, checksum="0" * 32).add("a", []), "its MD5 is not that of manifest"),
    "wrong MD5": (lambda: with_file(MD5checksum="0" * 32), "is not the one that S3 wrote: its MD5 is"),
    "MD5 of another form": (lambda: with_file(MD5checksum="x"), "is not the one that S3 wrote"),
    "one bit": (lambda: with_data(flipped), "is not the one that S3 wrote"),
    "one bit, Parquet": (lambda: with_data(flipped, form="Parquet"), "is not the one that S3 wrote"),
    "truncated": (lambda: with_data(lambda data: data[:-9]), "is not the one that S3 wrote"),
    "truncated Parquet": (lambda: with_data(lambda data: data[:-9], form="Parquet"), "is not the one that S3 wrote"),
    "truncated gzip, with its MD5": (lambda: with_data(lambda data: data[:-9], matching=True), "ends early"),
    "truncated Parquet, with its MD5": (
        lambda: with_data(lambda data: data[:-9], matching=True, form="Parquet"),
        "is no Parquet file",
    ),
    "no gzip": (lambda: with_data(gzip.decompress, matching=True), "is no gzip file"),
    "an empty file": (lambda: with_data(lambda _: b"", matching=True), "ends early"),
    "more behind the end": (lambda: with_data(lambda data: data + b"x" * 40, matching=True), "is no gzip file"),
    "no UTF-8": (lambda: with_text(lambda text: text.replace(b"in/7", b"in/\xff")), "is no CSV in UTF-8"),
    "a key that is not UTF-8": (lambda: with_text(lambda text: text.replace(b"in/7", b"in/%FF")), "is not UTF-8"),
    "endless line": (lambda: with_text(lambda text: text + b"x" * 9_000_000), "more than 65,536 bytes"),
    "truncated row": (lambda: with_text(lambda text: text[:-9]), "is no CSV in UTF-8"),
    "foreign columns": (lambda: with_text(lambda text: text.replace(b'"STANDARD"', b'"STANDARD",""', 1)), "7 columns"),
    "other bucket": (lambda: changed(sourceBucket="theirs"), "is of the bucket 'theirs' instead of 'bucket'"),
    "files in another bucket": (lambda: changed(destinationBucket="arn:aws:s3:::theirs"), "are in another bucket"),
    "rows of another bucket": (lambda: one(Bucket="theirs"), "line 1 .* is of the bucket 'theirs'"),
    "missing file": (lambda: with_file(key="inventories/gone.csv.gz"), "'inventories/gone.csv.gz' does not exist"),
    "no files": (lambda: changed(files=[]), "names 0 files"),
    "ORC": (lambda: changed(fileFormat="ORC"), "fileFormat is 'ORC': choose CSV or Parquet"),
    "another version": (lambda: changed(version="2030-01-01"), "version is '2030-01-01' instead of 2016-11-30"),
    "no time": (lambda: changed(creationTimestamp="yesterday"), "creationTimestamp is 'yesterday'"),
    "no manifest": (lambda: changed(files="x"), "is no manifest.json of an inventory"),
    "no size and no ETag": (
        lambda: inventory_of(row(BUCKET, "a"), columns=("Bucket", "Key", "LastModifiedDate")),
        "has no Size and no ETag: add these fields",
    ),
    "no size in Parquet": (
        lambda: inventory_of(row(BUCKET, "a"), columns=("Bucket", "Key", "LastModifiedDate", "ETag"), form="Parquet"),
        "has no size: add these fields",
    ),
    "versions without IsLatest": (
        lambda: inventory_of(row(BUCKET, "a"), columns=(*VERSIONS[:3], *VERSIONS[5:])),
        "has versions and no IsLatest",
    ),
    "size": (lambda: one(Size=-1), "has the size '-1'"),
    "no size of an object": (lambda: one(Size=None), "has the size ''"),
    "time": (lambda: one(LastModifiedDate="noon"), "has the LastModifiedDate 'noon'"),
    "no ETag of an object": (lambda: one(ETag=None), "has the ETag ''"),
    "ETag with a quote": (lambda: one(ETag='a"b'), "has the ETag"),
    "storage class": (lambda: one(StorageClass="a b"), "has the storage class 'a b'"),
    "no key": (lambda: one(Key=""), "has the key"),
    "long key": (lambda: one(Key="k" * 1_025), "has the key"),
    "neither true nor false": (lambda: one(IsLatest="maybe"), "has 'maybe' for IsLatest or IsDeleteMarker"),
    "outside of the prefix too": (
        lambda: inventory_of(row(BUCKET, "elsewhere", ETag=None)),
        "has the ETag ''",
    ),
}


@pytest.mark.parametrize("name", TAMPERED)
def test_what_s3_did_not_write_is_refused_by_name(name: str) -> None:
    """As a whole, permanently, with what to do."""
    make, text = TAMPERED[name]
    with pytest.raises(UsageError, match=text) as caught, opened(make()):
        pass
    assert str(caught.value).startswith("The inventory s3://reports/inventories/bucket/nightly/2026-11-27T01-00Z/")
    assert "or a newer one (docs/inventory.md)" in str(caught.value)
    assert len(str(caught.value)) < 900


def test_symlink_that_names_other_files_is_refused() -> None:
    """It has no checksum of its own."""
    inventory = inventory_of(row(BUCKET, "in/a"))
    source = uploaded(inventory)
    source.put("reports", inventory.symlink_key, b"s3://reports/other.csv.gz", checksum=None)
    at = S3Uri("reports", inventory.symlink_key)
    with (
        pytest.raises(UsageError, match="names other files than its manifest"),
        open_inventory(at, source, retrier(), bucket=BUCKET, prefix=""),
    ):
        pass


ACCESS_POINT: Final = "arn:aws:s3:eu-central-1:111122223333:accesspoint/theirs"


def test_source_that_is_an_access_point() -> None:
    """Its name does not tell the bucket: all rows are of that of the manifest."""
    inventory = inventory_of(row(BUCKET, "in/a"))
    at, source = parse_inventory(inventory.address, name="inventory"), uploaded(inventory)
    with open_inventory(at, source, retrier(), bucket=ACCESS_POINT, prefix="in/") as found:
        assert [(each.bucket, each.key) for each in found.objects()] == [(ACCESS_POINT, "in/a")]
    mixed = inventory_of(row(BUCKET, "in/a"), row("theirs", "in/b"))
    for bucket, made, text in (
        (ACCESS_POINT, mixed, "line 2 .* is of the bucket 'theirs' instead of 'bucket'"),
        (ACCESS_POINT.replace(":s3:", ":s3-object-lambda:"), inventory, "whose function may change the objects"),
    ):
        with (
            pytest.raises(UsageError, match=text),
            open_inventory(at, uploaded(made), retrier(), bucket=bucket, prefix=""),
        ):
            pass


def test_an_inventory_that_does_not_exist_is_named() -> None:
    """The address is wrong, or S3 has not made one yet."""
    inventory = inventory_of(row(BUCKET, "in/a"))
    with pytest.raises(ObjectNotFound, match=r"manifest\.json"), opened(inventory, without="manifest.json"):
        pass
    with (
        pytest.raises(ObjectNotFound, match="nightly"),
        opened(inventory, at=f"s3://reports/{inventory.folder}", without="manifest.checksum"),
    ):
        pass
    with pytest.raises(UsageError, match=r"manifest\.checksum' does not exist"), opened(inventory, without="checksum"):
        pass


@FORMS
def test_memory_does_not_grow_with_the_inventory(form: str) -> None:
    """Eight times the rows take no more of Python's memory."""

    def peak(count: int) -> int:
        rows = (row(BUCKET, f"in/{number * 7_919 % count:0400}") for number in range(count))
        source = uploaded(inventory_of(*rows, form=form))
        at = parse_inventory(Inventory(BUCKET).address, name="inventory")
        tracemalloc.start()
        try:
            with open_inventory(at, source, retrier(), bucket=BUCKET, prefix="in/") as found:
                assert sum(1 for _ in found.objects()) == count
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(10)
    assert peak(8_000) < 1.3 * peak(1_000) + 4_000_000


def test_a_file_that_expands_without_end_takes_little_memory() -> None:
    """It is refused at its first line that is too long."""
    inventory = inventory_of()
    (key,) = inventory.files
    inventory.files[key] = gzip.compress(bytes(200_000_000), compresslevel=1)
    assert hashlib.md5(inventory.files[key]).hexdigest() in str(inventory.manifest())
    tracemalloc.start()
    try:
        with pytest.raises(UsageError, match="more than 65,536 bytes"), opened(inventory):
            pass
        assert tracemalloc.get_traced_memory()[1] < 20_000_000
    finally:
        tracemalloc.stop()
