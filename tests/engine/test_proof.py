"""The last step before a commit: what it refuses, it names."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from s3_to_azure.model import checksums
from s3_to_azure.model.errors import IntegrityError
from s3_to_azure.model.objects import ObjectVersion, SourceChecksum
from s3_to_azure.transfer.blocks import NO_SECOND, Layout, StagedBlock
from s3_to_azure.transfer.integrity import checksum_text, compare, content_md5, fits, folded


def version(value: int | None) -> ObjectVersion:
    """Return a version whose checksum S3 stores, or none."""
    stored = None if value is None else SourceChecksum("crc64nvme", value)
    return ObjectVersion("bucket", "a/key", "e", 10, datetime(2026, 1, 1, tzinfo=UTC), checksum=stored)


def of(stored: SourceChecksum | None) -> ObjectVersion:
    """Return a version with that checksum."""
    return replace(version(None), checksum=stored)


def test_invariant_3_a_mismatch_names_object_and_both_checksums() -> None:
    """The error says which object, what S3 vouches for, and what was read."""
    with pytest.raises(IntegrityError) as caught:
        compare(version(1), 2)
    attributes = caught.value.attributes
    assert (attributes["key"], attributes["algorithm"]) == ("a/key", "crc64nvme")
    assert attributes["expected"] == checksums.to_s3(SourceChecksum("crc64nvme", 1))
    assert attributes["actual"] == checksums.to_s3(SourceChecksum("crc64nvme", 2))


@pytest.mark.parametrize(("stored", "actual", "equal"), [(7, 7, True), (7, 8, False), (None, 0, True)])
def test_equal_or_without_a_checksum_fits(stored: int | None, actual: int, equal: bool) -> None:
    """Only what differs from a stored checksum is refused."""
    assert fits(version(stored), actual) is equal
    if equal:
        compare(version(stored), actual)


def test_a_checksum_as_people_see_it() -> None:
    """Its name and S3's own spelling; nothing where there is none."""
    assert checksum_text(of(SourceChecksum("crc32c", 7))) == "crc32c:AAAABw=="
    assert checksum_text(of(None)) == ""


@pytest.mark.parametrize(
    ("stored", "md5"),
    [
        (SourceChecksum("md5", 0x0102), b"\0" * 14 + b"\1\2"),
        (SourceChecksum("md5", 0x0102, parts=2), None),
        (SourceChecksum("crc64nvme", 0x0102), None),
        (None, None),
    ],
)
def test_the_md5_of_the_bytes(stored: SourceChecksum | None, md5: bytes | None) -> None:
    """Only where the whole object was proven by it; an MD5 of parts' MD5s is no MD5 of the bytes."""
    assert content_md5(of(stored)) == md5


def test_what_the_blocks_fold_into() -> None:
    """Nothing where S3 stores nothing; an incomplete set is a fault of ours, never a checksum."""
    layout = Layout(2, 1)
    held = {start: StagedBlock(start, start + 1, 9, NO_SECOND, b"m" * 8) for start in (0, 1)}
    assert folded(of(None), layout, held) == 0
    with pytest.raises(AssertionError, match="only a complete chain is folded"):
        folded(of(None), layout, {0: held[0]})
