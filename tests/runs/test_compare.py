"""A comparison finds every injected difference, without a byte of a body and without a request for what is equal."""

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NoReturn

import pytest

from s3_to_azure.model.errors import AccessDenied, Cancelled, ServerFailed
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.objects import BlobState
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs import compare
from s3_to_azure.runs.compare import Comparison, compare_listings
from s3_to_azure.runs.standing import Difference, Sample
from s3_to_azure.state.announced import AnnouncedKeys, AnnouncedLine
from s3_to_azure.state.manifest import write_manifest
from s3_to_azure.state.reported import ReportedReceipt
from s3_to_azure.transfer.context import CopyTask, TransferContext
from tests.fakes.contexts import record_of, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState

BUCKET: Final = "bucket"
DATA: Final = b"abc"
CHECKSUM: Final = "crc64nvme:/yfikpaCHTs="
SETTINGS: Final = PlanSettings(s3_prefix="in/", blob_prefix="out/")


class CountingDestination(MemoryDestination):
    """A container that counts requests and bytes."""

    def __init__(self) -> None:
        super().__init__()
        self.heads: list[str] = []
        self.bytes_read = 0
        self.is_reversed = False

    def head(self, blob: str) -> BlobState | None:
        """Look a blob up."""
        self.heads.append(blob)
        return super().head(blob)

    def list(self, prefix: str) -> Iterator[BlobState]:
        """List, in any order."""
        found = list(super().list(prefix))
        yield from reversed(found) if self.is_reversed else found

    def read(self, blob: str, start: int, end: int) -> bytes:
        """Read bytes."""
        self.bytes_read += end - start
        return super().read(blob, start, end)


@dataclass
class Sides:
    """Both sides, equal at first."""

    source: MemorySource
    destination: CountingDestination

    def put(self, key: str, **record: str) -> None:
        """Put an object, and a proven copy of it."""
        version = self.source.put(BUCKET, f"in/{key}", DATA)
        metadata = record_of(version, s3_verified_by="crc64nvme", s3_checksum=CHECKSUM) | record
        self.destination.write(f"out/{key}", DATA, metadata=metadata)

    def compare(
        self,
        settings: PlanSettings = SETTINGS,
        *,
        receipts: Any = (),
        sample: Sample | None = None,
        announced: AnnouncedKeys | None = None,
    ) -> tuple[Comparison, list[Difference]]:
        """Compare; return the result and all differences."""
        files, found = MemoryState(), list[Difference]()
        with transfer_context(self.source, self.destination) as context:
            pointer = write_manifest(self.source.list(BUCKET, "in/"), files, bucket=BUCKET, prefix="in/")
            result = compare_listings(
                context,
                files,
                pointer,
                settings,
                receipts=receipts,
                sample=sample,
                announced=announced,
                on_difference=found.append,
            )
        assert result.listed.objects == pointer.objects
        assert result.listed.size_bytes == pointer.bytes_total
        return result, found


@pytest.fixture
def sides() -> Sides:
    """Return both sides with thirty equal objects."""
    both = Sides(MemorySource(BUCKET), CountingDestination())
    for number in range(30):
        both.put(f"{number:04}")
    return both


def counts(result: Comparison) -> dict[str, int]:
    """Return the number of objects with each standing that has any."""
    return {status: amount.objects for status, amount in result.amounts.items() if amount.objects}


def test_equal_sides_cost_two_listings(sides: Sides) -> None:
    """No request for an object, no byte."""
    result, found = sides.compare()
    assert (counts(result), found) == ({"equal": 30}, [])
    assert not result.has_drift
    assert (sides.destination.heads, sides.source.opened, sides.destination.bytes_read) == ([], [], 0)
    assert (result.blobs, result.lookups) == (30, 0)


def test_an_error_does_not_wait_for_blobs_that_are_read(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk of the CSV file is full: nobody reads what the sample still finds, which may take hours."""
    sides.destination.blobs["out/0002"].metadata["s3_etag"] = "older"

    def endless(context: TransferContext, _task: CopyTask) -> NoReturn:
        while not context.cancelled.wait(0.01):
            pass
        raise Cancelled.now()

    def full(_difference: Difference) -> NoReturn:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(compare, "verify_object", endless)
    # Of the first ones, only that which differs is not read.
    monkeypatch.setattr(Sample, "takes", lambda _, key: key > "in/0002")
    files = MemoryState()
    pointer = write_manifest(sides.source.list(BUCKET, "in/"), files, bucket=BUCKET, prefix="in/")
    with transfer_context(sides.source, sides.destination) as context, pytest.raises(OSError, match="No space left"):
        compare_listings(context, files, pointer, SETTINGS, sample=Sample(1.0), on_difference=full)


def inject(sides: Sides, chance: random.Random, count: int) -> dict[str, str]:
    """Put objects, many of them with a difference; return the standing by key, or by blob where there is no object."""
    expected = {}
    for number in range(count):
        key = f"drift/{number:06}"
        what = chance.choice(["equal"] * 6 + ["missing", "extra", "stale", "size", "record", "transport", "gone"])
        sides.put(key)
        blob, name = sides.destination.blobs[f"out/{key}"], f"in/{key}"
        if what == "missing":
            del sides.destination.blobs[f"out/{key}"]
        elif what == "extra":
            sides.source.delete(BUCKET, name)
            expected[f"out/{key}"] = "extra"
            continue
        elif what == "stale":
            blob.metadata["s3_etag"] = "older"
        elif what == "size":
            blob.data += b"d"
        elif what == "record":
            blob.metadata["s3_source"] = "0" * 32
        elif what == "transport":
            blob.metadata |= {"s3_verified_by": "transport"}
            del blob.metadata["s3_checksum"]
        elif what == "gone":
            blob.metadata.clear()
        words = {"size": "changed", "record": "changed", "transport": "unproven", "gone": "unproven"}
        expected[name] = words.get(what, what)
    return expected


@pytest.mark.parametrize("count", [400, pytest.param(20_000, marks=pytest.mark.slow)])
def test_every_injected_difference_is_found(sides: Sides, count: int) -> None:
    """Each by its key, and nothing else; only what has no blob costs a request."""
    expected = inject(sides, random.Random(count), count)
    result, found = sides.compare()
    told = {each.key or each.blob: each.status for each in found}
    assert len(told) == len(found)
    assert told == {key: status for key, status in expected.items() if status != "equal"}
    assert counts(result) == Counter(expected.values()) + Counter(equal=30)
    missing = [f"out/{key.removeprefix('in/')}" for key, status in expected.items() if status == "missing"]
    assert sorted(sides.destination.heads) == missing
    assert (sides.source.opened, sides.destination.bytes_read, result.lookups) == ([], 0, len(missing))
    assert result.has_drift


def test_receipts_show_what_was_changed_since(sides: Sides) -> None:
    """In the order of their keys; those of other keys are passed, and those out of order at the end say nothing."""
    receipts = [
        ReportedReceipt(f"in/{number:04}{suffix}", "copied", 3, listed.etag, CHECKSUM, "crc64nvme")
        for number in range(30)
        for listed in [sides.source.listed(BUCKET, f"in/{number:04}")]
        for suffix in ("", "-deleted-since")
    ]
    receipts.append(ReportedReceipt("in/0000", "failed", 3))
    sides.destination.blobs["out/0004"].metadata.clear()
    sides.destination.blobs["out/0029"].metadata["s3_checksum"] = "crc64nvme:AAAAAAAAAAA="
    del sides.destination.blobs["out/0011"]
    assert counts(sides.compare()[0]) == {"equal": 28, "missing": 1, "unproven": 1}
    result, found = sides.compare(receipts=receipts)
    assert result.warnings == ()
    assert counts(result) == {"equal": 27, "missing": 1, "changed": 2}
    assert {each.key for each in found if each.status == "changed"} == {"in/0004", "in/0029"}


def test_limits_of_a_comparison_are_warnings(sides: Sides) -> None:
    """Receipts in another order, and filters by what no blob tells."""
    receipts = [ReportedReceipt(f"in/{key}", "copied", 3) for key in ("0005", "0002", "0007")]
    settings = PlanSettings(s3_prefix="in/", blob_prefix="out/", filters=Filters(storage_classes=("STANDARD",)))
    result, _ = sides.compare(settings, receipts=receipts)
    assert counts(result) == {"equal": 30}
    text = "\n".join(result.lines())
    assert "warning: the receipts are not in the order of their keys" in text
    assert "warning: blobs do not tell the storage class" in text
    assert len(result.summary()["warnings"]) == 2


def test_a_sample_is_read_back(sides: Sides) -> None:
    """Bytes that differ under agreeing records are found where they are read, and only there."""
    sides.destination.blobs["out/0007"].data = b"abX"
    assert not sides.compare()[0].has_drift
    result, (changed,) = sides.compare(sample=Sample(1.0, 1))
    assert (changed.key, changed.status) == ("in/0007", "changed")
    assert changed.reason.startswith("read back: S3 has crc64nvme:")
    assert (result.sampled.objects, result.sample_differs, sides.destination.bytes_read) == (30, 1, 90)
    assert result.has_drift
    some = [sides.compare(sample=Sample(0.3, seed))[0].sampled.objects for seed in range(4)]
    assert all(0 < count < 30 for count in some)
    assert "30.0000% by --seed 3" in "\n".join(sides.compare(sample=Sample(0.3, 3))[0].lines())


def test_a_listing_out_of_order_makes_nothing_missing(sides: Sides) -> None:
    """Then each blob is looked up, and blobs without an object are known only before the break."""
    sides.destination.is_reversed = True
    sides.destination.write("out/extra", DATA)
    del sides.destination.blobs["out/0003"]
    sides.destination.write("out/0000-extra", DATA)
    result, found = sides.compare()
    assert {(each.key or each.blob, each.status) for each in found} == {("in/0003", "missing"), ("out/extra", "extra")}
    assert counts(result) == {"equal": 29, "missing": 1, "extra": 1}
    assert "blobs without an object are not known" in "\n".join(result.lines())


def test_what_no_copy_takes_is_left_out(sides: Sides) -> None:
    """Folder markers, excluded keys and names that Azure refuses; their blobs are not extra."""
    sides.source.put(BUCKET, "in/folder/", b"")
    sides.source.put(BUCKET, "in/bad.", DATA)
    settings = PlanSettings(s3_prefix="in/", blob_prefix="out/", filters=Filters(exclude=("*/0001",)))
    result, found = sides.compare(settings)
    assert counts(result) == {"equal": 29, "left_out": 3}
    assert {each.reason.partition(":")[0] for each in found} == {"folder_marker", "excluded", "name_refused"}
    assert not result.has_drift


def test_mapped_names_are_looked_up(sides: Sides) -> None:
    """A mapped blob has its object; one whose object is gone is extra."""
    settings = PlanSettings(s3_prefix="in/", blob_prefix="out/", refused_names="map")
    for key in ("in/a.", "in/b."):
        version = sides.source.put(BUCKET, key, DATA)
        record = record_of(version, s3_verified_by="crc64nvme", s3_checksum=CHECKSUM)
        sides.destination.write(settings.blob_of(key), DATA, metadata=record)
    sides.source.delete(BUCKET, "in/b.")
    result, (extra,) = sides.compare(settings)
    assert (extra.status, extra.blob) == ("extra", settings.blob_of("in/b."))
    assert counts(result) == {"equal": 31, "extra": 1}


def test_many_blobs_without_an_object_are_told_one_by_one() -> None:
    """An emptied bucket: nothing is collected on the way."""
    both = Sides(MemorySource(BUCKET), CountingDestination())
    for number in range(50):
        both.destination.write(f"out/{number}", DATA, metadata={"s3_etag": "e"} if number else {})
    result, found = both.compare()
    assert counts(result) == {"extra": 50} == Counter(each.status for each in found)
    assert {each.reason for each in found} == {"its object is gone from S3", "no record of a copy"}


def test_a_refused_lookup_ends_the_comparison(sides: Sides, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no `missing`."""
    del sides.destination.blobs["out/0003"]

    def refuse(_: str) -> None:
        raise AccessDenied(service="Azure", resource="x", code="403", cure="")

    monkeypatch.setattr(sides.destination, "head", refuse)
    with pytest.raises(AccessDenied):
        sides.compare()


def test_lines_and_summary_add_up(sides: Sides) -> None:
    """The equation of the listed objects, and that agreeing records are not read bytes."""
    del sides.destination.blobs["out/0003"]
    sides.destination.write("out/x", DATA)
    result, _ = sides.compare()
    lines = list(result.lines())
    assert lines[0] == (
        "Listed:    30 = 29 equal by record + 0 unproven + 1 missing + 0 stale + 0 changed + 0 left out"
    )
    assert lines[1] == "Blobs:     30, of which 1 without an object"
    assert "no byte was read" in lines[-1]
    summary = result.summary()
    assert summary["missing"] == {"objects": 1, "size_bytes": 3}
    assert (summary["drift"], summary["extra"]["objects"], summary["lookups"]) == (True, 1, 1)


def test_a_name_that_cannot_be_checked_for_a_moment_is_checked_again(
    sides: Sides, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check may ask the account, and its failure would end a comparison of hours."""
    fails = [ServerFailed(service="Azure", resource="account", code="InternalError", status=500)]
    check_name = sides.destination.check_name

    def check(blob: str) -> str:
        if fails:
            raise fails.pop()
        return check_name(blob)

    monkeypatch.setattr(sides.destination, "check_name", check)
    result, found = sides.compare()
    assert (result.amounts["equal"].objects, found, fails) == (30, [], [])


def put_announced(sides: Sides, announced: AnnouncedKeys, key: str, *, hours_ago: float, is_told: bool) -> None:
    """Put a copied object whose event is told, or lost."""
    at = datetime.now(UTC) - timedelta(hours=hours_ago)
    version = sides.source.put(BUCKET, f"in/{key}", DATA, last_modified=at)
    metadata = record_of(version, s3_verified_by="crc64nvme", s3_checksum=CHECKSUM)
    sides.destination.write(f"out/{key}", DATA, metadata=metadata)
    if is_told:
        announced.add([AnnouncedLine(version.key, version.etag)], at)


def test_objects_that_no_event_announced_are_counted_beside_their_standing(sides: Sides) -> None:
    """Copied by a listing or not at all; neither older ones, nor those whose event may yet come, nor filtered ones."""
    announced = AnnouncedKeys(MemoryState())
    announced.note_listing(datetime.now(UTC) - timedelta(days=2))
    announced.note_listing(datetime.now(UTC) - timedelta(hours=1))
    for key, hours_ago, is_told in (
        ("told", 5, True),
        ("by a listing", 5, False),
        ("not at all", 6, False),
        ("young", 0.1, False),
        ("before events", 49, False),
        ("filtered.tmp", 5, False),
    ):
        put_announced(sides, announced, key, hours_ago=hours_ago, is_told=is_told)
    del sides.destination.blobs["out/not at all"]
    settings = PlanSettings(s3_prefix="in/", blob_prefix="out/", filters=Filters(exclude=("*.tmp",)))
    result, found = sides.compare(settings, announced=announced)
    assert counts(result) == {"equal": 34, "missing": 1, "left_out": 1}
    assert result.summary()["missed_by_events"] == {
        "objects": 2,
        "unchecked": 0,
        "first": ["in/by a listing", "in/not at all"],
    }
    assert any(line.startswith("Missed:    2 objects by events; first: ") for line in result.lines())
    rows = [(each.key, each.blob, each.size_bytes) for each in found if each.status == "missed_by_events"]
    assert rows == [("in/by a listing", "out/by a listing", 3), ("in/not at all", "out/not at all", 3)]
    # An object that is equal is no drift, whatever has brought it.
    sides.source.delete(BUCKET, "in/not at all")
    assert not sides.compare(settings, announced=announced)[0].has_drift


def test_before_the_first_listing_nothing_is_known_of_events(sides: Sides) -> None:
    """A wrong DAG id looks the same: a warning, and no zero."""
    result, _ = sides.compare(announced=AnnouncedKeys(MemoryState()))
    assert any("not known since when S3 announces objects" in warning for warning in result.warnings)
    assert "missed_by_events" not in result.summary()
    assert "missed_by_events" not in sides.compare()[0].summary()
