"""The last step before a commit: what it refuses, it names."""

from datetime import UTC, datetime

import pytest

from s3_to_azure.engine import checksums
from s3_to_azure.engine.errors import IntegrityError
from s3_to_azure.engine.model import ObjectVersion, SourceChecksum
from s3_to_azure.engine.proof import compare, fits


def version(value: int | None) -> ObjectVersion:
    """Return a version whose checksum S3 stores, or none."""
    stored = None if value is None else SourceChecksum("crc64nvme", value)
    return ObjectVersion("bucket", "a/key", "e", 10, datetime(2026, 1, 1, tzinfo=UTC), checksum=stored)


def test_invariant_3_a_mismatch_names_object_and_both_checksums() -> None:
    """The error says which object, what S3 vouches for, and what was read."""
    with pytest.raises(IntegrityError) as caught:
        compare(version(1), 2)
    attributes = caught.value.attributes
    assert attributes["key"] == "a/key"
    assert attributes["expected"] == checksums.to_s3(SourceChecksum("crc64nvme", 1))
    assert attributes["actual"] == checksums.to_s3(SourceChecksum("crc64nvme", 2))


@pytest.mark.parametrize(("stored", "actual", "equal"), [(7, 7, True), (7, 8, False), (None, 0, True)])
def test_equal_or_without_a_checksum_fits(stored: int | None, actual: int, equal: bool) -> None:
    """Only what differs from a stored checksum is refused."""
    assert fits(version(stored), actual) is equal
    if equal:
        compare(version(stored), actual)
