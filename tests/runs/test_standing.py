"""How an object and its blob stand: one case for each sentence that a comparison can say."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest

from s3_to_azure.model.objects import BlobState, ListedObject, SourceChecksum
from s3_to_azure.runs.standing import DRIFT, OF_OBJECTS, Sample, by_stored_checksums, standing
from s3_to_azure.state.reported import ReportedReceipt
from tests.fakes.contexts import record_of

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
OBJECT = ListedObject("bucket", "k", "e", 3, NOON)
CHECKSUM = "crc64nvme:/yfikpaCHTs="
RECORD = record_of(OBJECT, s3_verified_by="crc64nvme", s3_checksum=CHECKSUM)
BLOB = BlobState("k", "0x1", 3, "BlockBlob", RECORD)
RECEIPT = ReportedReceipt("k", "copied", 3, "e", CHECKSUM, "crc64nvme", NOON.isoformat(), 60.0)
MD5: dict[str, Any] = {"s3_verified_by": "md5", "s3_checksum": "md5:d41d8cd98f00b204e9800998ecf8427e"}


def blob_with(size_bytes: int = 3, content_md5: str = "", written_at: str = "", **record: str | None) -> BlobState:
    """Return the blob with other metadata; None removes a name."""
    metadata = {name: text for name, text in (RECORD | record).items() if text is not None}
    return replace(BLOB, size_bytes=size_bytes, content_md5=content_md5, written_at=written_at, metadata=metadata)


EMPTY_MD5 = SourceChecksum("md5", 0xD41D8CD98F00B204E9800998ECF8427E)


@pytest.mark.parametrize(
    ("stored", "status"),
    [
        ([EMPTY_MD5], "equal"),
        ([replace(EMPTY_MD5, value=1)], "changed"),
        ([replace(EMPTY_MD5, parts=2)], "unproven"),
        ([SourceChecksum("crc32c", 1)], "unproven"),
        ([SourceChecksum("crc32c", 1), replace(EMPTY_MD5, reported=True)], "equal"),
        ([], "unproven"),
    ],
)
def test_both_sides_md5_tells_of_a_blob_without_a_record(stored: list[SourceChecksum], status: str) -> None:
    """Another program copied it; the two services store an MD5 each."""
    blob = blob_with(s3_etag=None, content_md5="1B2M2Y8AsgTpgAmY7PhCfg==")
    found = standing(OBJECT, blob)
    assert found.status == "unproven"
    assert by_stored_checksums(found, blob, stored).status == status


@pytest.mark.parametrize(
    ("reported", "status"),
    [
        (SourceChecksum("crc64nvme", 0xFF27E29296821D3B, reported=True), "equal"),
        (SourceChecksum("crc64nvme", 1, reported=True), "changed"),
        (SourceChecksum("crc32c", 1, reported=True), "equal"),
    ],
)
def test_a_report_is_compared_with_the_record(reported: SourceChecksum, status: str) -> None:
    """Where both have the same algorithm."""
    found = standing(replace(OBJECT, reported=reported), BLOB)
    assert found.status == status
    assert ("the report has AAAAAAAAAAE= of the object" in found.reason) == (status == "changed")


def http_date(after: timedelta) -> str:
    """Return a time after the receipt's end as Azure writes it."""
    return format_datetime(NOON + timedelta(seconds=60) + after, usegmt=True)


@pytest.mark.parametrize(
    ("blob", "status", "reason"),
    [
        (BLOB, "equal", ""),
        (blob_with(s3_source=None), "equal", ""),
        (blob_with(content_md5="1B2M2Y8AsgTpgAmY7PhCfg==", **MD5), "equal", ""),
        (blob_with(content_md5="another"), "equal", ""),
        (None, "missing", "there is no such blob"),
        (replace(BLOB, blob_type="directory"), "missing", "a directory has its name"),
        (BlobState("k", "0x1", 3, "directory", {}), "missing", "a directory has its name"),
        (blob_with(s3_etag="older"), "stale", "a copy of the version with ETag older"),
        (blob_with(s3_last_modified="2026-02-01T00:00:00+00:00"), "stale", "the same bytes again later"),
        (blob_with(size_bytes=4), "changed", "the blob has 4 bytes"),
        (blob_with(s3_source="0" * 32), "changed", "a copy of another object"),
        (blob_with(s3_etag=None, size_bytes=4), "changed", "no record of a copy, and the blob has 4 bytes"),
        (blob_with(content_md5="another", **MD5), "changed", "its Content-MD5 is not that of the copied bytes"),
        (blob_with(s3_etag=None), "unproven", "no record of a copy"),
        (blob_with(s3_verified_by="transport", s3_checksum=None), "unproven", "S3 stored no checksum"),
        (blob_with(s3_verified_by="invented"), "unproven", "no level is recorded"),
        (blob_with(s3_verified_by="readback_pending"), "unproven", "its read-back is readback_pending"),
        (blob_with(s3_verified_by="damaged"), "unproven", "its read-back is damaged"),
    ],
)
def test_by_listings_and_records(blob: BlobState | None, status: str, reason: str) -> None:
    """Without a receipt, only what both listings show counts."""
    found = standing(OBJECT, blob)
    assert found.status == status
    assert reason in found.reason
    assert bool(found.reason) == (status != "equal")
    assert (found.key, found.etag, found.size_bytes) == ("k", "e", 3)


@pytest.mark.parametrize(
    ("blob", "status", "reason"),
    [
        (BLOB, "equal", ""),
        (blob_with(written_at=http_date(timedelta(minutes=14))), "equal", ""),
        (blob_with(written_at="yesterday"), "equal", ""),
        (blob_with(written_at="Sun, 01 Mar 2026 12:17:00 -0000"), "changed", "it was written at 2026-03-01T12:17:00"),
        (blob_with(written_at="Fri, 31 Dec 9999 23:59:59 -1200"), "equal", ""),
        (None, "missing", "it was deleted after its receipt"),
        (blob_with(s3_etag=None), "changed", "the record of its copy is gone"),
        (blob_with(s3_etag=None, size_bytes=4), "changed", "the record of its copy is gone"),
        (blob_with(s3_checksum="crc64nvme:AAAAAAAAAAA="), "changed", "its receipt has crc64nvme:/yfikpaCHTs="),
        (blob_with(s3_checksum=None), "changed", "its recorded checksum is gone"),
        (blob_with(written_at=http_date(timedelta(minutes=16))), "changed", "it was written at 2026-03-01T12:17:00"),
        (blob_with(s3_etag="older"), "stale", "a copy of the version with ETag older"),
    ],
)
def test_by_the_receipt_too(blob: BlobState | None, status: str, reason: str) -> None:
    """A receipt shows what another program has done to the blob since."""
    found = standing(OBJECT, blob, RECEIPT)
    assert found.status == status
    assert reason in found.reason


@pytest.mark.parametrize(
    "changes",
    [{"etag": "older"}, {"status": "failed"}, {"status": "skipped"}, {"started_at": "", "status": "unchanged"}],
)
def test_a_receipt_of_another_version_says_nothing(changes: dict[str, Any]) -> None:
    """Nor one of a copy that failed; one that copied nothing knows no time."""
    receipt = ReportedReceipt(**{name: getattr(RECEIPT, name) for name in RECEIPT.__struct_fields__} | changes)
    assert standing(OBJECT, blob_with(written_at=http_date(timedelta(days=1))), receipt).status == "equal"


def test_a_sample_is_chosen_by_its_seed() -> None:
    """The same seed takes the same keys, another one others; the share is that of the keys."""
    keys = [f"{number:05}" for number in range(10_000)]
    taken = [[key for key in keys if Sample(0.1, seed).takes(key)] for seed in (1, 1, 2)]
    assert taken[0] == taken[1] != taken[2]
    assert 900 < len(taken[0]) < 1_100
    assert all(Sample(1.0, 3).takes(key) for key in keys)
    assert not any(Sample().takes(key) for key in keys)
    assert Sample(1.0).takes("\ud800")


def test_the_equation_has_every_standing_of_an_object() -> None:
    """A blob without an object is no object of the listing."""
    assert set(DRIFT) - set(OF_OBJECTS) == {"extra"}
