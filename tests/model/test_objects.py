"""Values: what a blob's metadata tells of its source, conditions, and the receipt as JSON."""

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import (
    Amount,
    AmountCounter,
    BlobState,
    Block,
    Condition,
    ListedObject,
    ObjectVersion,
    Receipt,
    TaskTry,
)
from s3_to_azure.model.record import UNPROVEN, source_id

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
LISTED = ListedObject("bucket", "a/b", "etag", 3, NOON, "STANDARD_IA")
BLOB = BlobState("a/b", "0x1", 3, "BlockBlob", {"s3_etag": "etag", "s3_last_modified": NOON.isoformat()})
RECEIPT = Receipt("bucket", "a/é", "etag", 3, "container", "b/é", "copied", "", "crc64nvme", "crc64nvme:A=", 1)


def test_a_version_has_the_fields_of_the_listing() -> None:
    """Checksums, metadata and headers are unknown until HEAD."""
    version = ObjectVersion.of(LISTED)
    assert (version.bucket, version.key, version.etag, version.size_bytes) == ("bucket", "a/b", "etag", 3)
    assert (version.last_modified, version.storage_class, version.checksum) == (NOON, "STANDARD_IA", None)
    assert (dict(version.metadata), version.weaker) == ({}, ())


@pytest.mark.parametrize("change", [{"size_bytes": 4}, {"metadata": {"s3_etag": "other"}}, {"metadata": {}}])
def test_a_copy_has_etag_and_size_of_the_version(change: dict[str, Any]) -> None:
    """The recorded ETag alone is not enough: another tool may have written other bytes below the metadata."""
    assert BLOB.holds(LISTED)
    assert BLOB.holds(ObjectVersion.of(LISTED))
    assert not replace(BLOB, **change).holds(LISTED)


@pytest.mark.parametrize(
    ("record", "of_another", "holds"),
    [
        ({}, False, True),
        ({"s3_source": source_id("bucket", "a/b")}, False, True),
        ({"s3_source": source_id("bucket", "a//b")}, True, False),
        ({"s3_source": source_id("other", "a/b")}, True, False),
        ({"s3_source": "edited by somebody"}, False, True),
    ],
)
def test_a_copy_knows_its_object(record: dict[str, str], *, of_another: bool, holds: bool) -> None:
    """A blob of before, without a source, is taken as it was; the ETag of another object is no version of this one."""
    blob = replace(BLOB, metadata={**BLOB.metadata, **record})
    assert blob.is_of_another(LISTED) is of_another
    assert blob.holds(LISTED) is blob.is_copy_of(LISTED) is holds


def test_an_object_without_a_known_bucket_is_known_by_its_version() -> None:
    """The same version is the same object; another version may be another object, whose copy is not replaced."""
    unknown = replace(LISTED, bucket="https://d1.cloudfront.net")
    blob = replace(BLOB, metadata={**BLOB.metadata, "s3_source": source_id("bucket", "a/b")})
    assert blob.is_copy_of(unknown)
    assert not blob.is_copy_of(replace(unknown, etag="other"))
    assert blob.is_of_another(unknown)


@pytest.mark.parametrize("level", UNPROVEN)
@pytest.mark.parametrize("source", ["", source_id("bucket", "a/b"), source_id("bucket", "x")])
def test_an_unproven_blob_is_no_finished_copy(level: str, source: str) -> None:
    """Whose it is decides the object that its record names; one without a name is nobody's."""
    blob = replace(BLOB, metadata={**BLOB.metadata, "s3_verified_by": level, "s3_source": source})
    assert not blob.holds(LISTED)
    assert blob.is_unproven
    assert blob.is_unproven_copy_of(LISTED) is (source == source_id("bucket", "a/b"))
    assert (blob.verified_by, blob.checksum) == ("", "")


def test_the_proof_of_a_blob_is_the_recorded_one() -> None:
    """Both halves of it, and neither where the other does not fit."""
    proven = {"s3_verified_by": "crc32c", "s3_checksum": "crc32c:yZRlqg=="}
    blob = replace(BLOB, metadata={**BLOB.metadata, **proven})
    assert (blob.verified_by, blob.checksum) == ("crc32c", "crc32c:yZRlqg==")
    assert replace(BLOB, metadata={**proven, "s3_verified_by": "crc64nvme"}).checksum == ""


@pytest.mark.parametrize(
    ("text", "recorded"),
    [
        ("2026-03-01T12:00:00+00:00", NOON),
        ("2026-03-01T13:00:00+01:00", NOON),
        ("2026-03-01T12:00:00Z", NOON),
        ("2026-03-01T12:00:00", None),
        ("yesterday", None),
        ("", None),
        (None, None),
    ],
)
def test_a_recorded_time_needs_its_time_zone(text: str | None, recorded: datetime | None) -> None:
    """Any program can write metadata, so everything else counts as not recorded."""
    metadata = {} if text is None else {"s3_last_modified": text}
    assert replace(BLOB, metadata=metadata).source_last_modified == recorded


def test_a_condition_is_met_by_the_same_state_only() -> None:
    """No blob is a state too."""
    assert Condition.of(BLOB).fits(BLOB)
    assert Condition.of(None).fits(None)
    assert not Condition.of(BLOB).fits(replace(BLOB, etag="0x2"))
    assert not Condition.of(BLOB).fits(None)
    assert not Condition.of(None).fits(BLOB)


def test_a_block_excludes_its_end() -> None:
    """Neighbouring blocks share a number and no byte."""
    assert Block(2, 5).size_bytes == 3
    assert Block(2, 2).size_bytes == 0


@pytest.mark.parametrize(
    ("listing", "number", "seconds", "is_before"),
    [
        ("one", 1, 9, True),
        ("one", 2, -9, False),
        ("one", 3, -9, False),
        ("another", 9, -1, True),
        ("another", 1, 0, False),
        ("another", 1, 1, False),
    ],
)
def test_clocks_order_tries_of_two_listings_only(listing: str, number: int, seconds: int, *, is_before: bool) -> None:
    """Airflow numbers the tries of a task, and a run that was deleted and made again begins at 1."""
    other = TaskTry("one", 2, NOON)
    assert TaskTry(listing, number, NOON + timedelta(seconds=seconds)).is_before(other) is is_before


def test_a_receipt_as_json_is_the_contract() -> None:
    """Programs read these names in this order, and the values come back from JSON."""
    names = [
        "bucket",
        "key",
        "etag",
        "size_bytes",
        "container",
        "blob",
        "status",
        "reason",
        "verified_by",
        "checksum",
        "blocks",
        "blocks_resumed",
        "bytes_sent",
        "retries",
        "seconds",
        "started_at",
        "try_number",
        "via",
        "blocks_fetched",
        "blocks_streamed",
        "not_fetched",
    ]
    receipt = replace(RECEIPT, seconds=0.125, started_at="2026-01-01T00:00:00.000+00:00", try_number=2)
    told = receipt.as_dict()
    assert list(told) == names
    assert list(json.loads(json.dumps(told)).items()) == list(told.items())
    assert Receipt(**told) == receipt


def test_an_amount_grows_by_objects() -> None:
    """Counter and value agree, and a person reads both numbers."""
    counter = AmountCounter()
    counter.add(2 * MIB)
    counter.add(0)
    assert counter.amount() == Amount().plus(2 * MIB).plus(0) == Amount(2, 2 * MIB)
    assert counter.amount().text() == "2 objects (2.0 MiB)"
