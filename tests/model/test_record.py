"""The record of a copy: what a copy could have written counts, and nothing else."""

import hashlib
import json
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model import checksums
from s3_to_azure.model.checksums import ALGORITHMS
from s3_to_azure.model.objects import SourceChecksum
from s3_to_azure.model.options import REREAD, TRANSPORT, VERIFICATION_LEVELS
from s3_to_azure.model.record import (
    DAMAGED,
    READBACK_PENDING,
    UNPROVEN,
    recorded_last_modified,
    recorded_proof,
    recorded_source,
    source_id,
)


def test_a_source_is_a_bucket_and_a_key() -> None:
    """Neither the one alone nor both run together identify an object; the bytes are frozen with the metadata's."""
    assert source_id("bucket", "k") == "c8764b011d2de4813860362da365d58e"
    others = [("bucke", "tk"), ("bucketk", ""), ("", "bucketk"), ("bucket", "K"), ('bucket", "k', ""), ("k", "bucket")]
    assert len({source_id(*each) for each in [("bucket", "k"), *others]}) == len(others) + 1
    assert recorded_source({"s3_source": source_id("bücket", "ключ/日本")}) == source_id("bücket", "ключ/日本")


def test_an_object_without_a_known_bucket_is_not_recorded() -> None:
    """Only the host of its URL is known, and another URL of the same object may have another."""
    assert not source_id("https://d1.cloudfront.net", "k")
    assert recorded_source({"s3_source": source_id("https://d1.cloudfront.net", "k")}) is None


@pytest.mark.parametrize("text", ["", "x", "C8764B011D2DE4813860362DA365D58E", "c8764b011d2de481", "0" * 33, "\n" * 32])
def test_other_texts_are_no_source(text: str) -> None:
    """A blob with such a text is treated as one without: anyone can write it."""
    assert recorded_source({"s3_source": text}) is None
    assert recorded_source({}) is None


@given(
    st.sampled_from(sorted(ALGORITHMS)),
    st.integers(0, 2**32 - 1),
    st.integers(0, 10_000).filter(lambda parts: parts != 1),
    st.booleans(),
)
def test_every_proof_that_a_copy_writes_counts(algorithm: str, value: int, parts: int, reported: bool) -> None:
    """For each algorithm, over the object or over its parts, stored with the object or reported."""
    is_whole = reported or algorithm not in ("crc32c", "crc32", "md5")
    checksum = SourceChecksum(algorithm, value, 0 if is_whole else parts, reported)
    level, text = checksums.proven_by(checksum), f"{algorithm}:{checksums.to_s3(checksum)}"
    assert recorded_proof({"s3_verified_by": level, "s3_checksum": text}) == (level, text)


@pytest.mark.parametrize("level", [TRANSPORT, REREAD])
def test_levels_without_a_checksum_count(level: str) -> None:
    """S3 stores no checksum for such an object."""
    assert recorded_proof({"s3_verified_by": level}) == (level, "")
    assert recorded_proof({"s3_verified_by": level, "s3_checksum": "crc32c:yZRlqg=="}) == ("", "")


@pytest.mark.parametrize(
    ("level", "checksum"),
    [
        ("checked by " + "x" * 150, ""),
        ("crc64nvme", ""),
        ("crc64nvme", "crc32c:yZRlqg=="),
        ("crc32c", "crc32c:yZRlqg==-3"),
        ("crc32c_composite", "crc32c:yZRlqg=="),
        ("crc32c", "crc32c:" + "y" * 300),
        ("crc32c", "crc32c:yZ\n"),
        ("crc32c", "crc32c:日本"),
        ("sha1", "sha1:yZRlqg=="),
        ("crc64nvme_composite", "crc64nvme:yZRlqg==-2"),
        ("", "crc32c:yZRlqg=="),
        (DAMAGED, "crc32c:yZRlqg=="),
        (READBACK_PENDING, "crc32c:yZRlqg=="),
        ("auto", ""),
        ("readback", ""),
    ],
)
def test_an_edited_proof_does_not_count(level: str, checksum: str) -> None:
    """A level that no copy writes, and a checksum that is not of its level, are as good as none."""
    assert recorded_proof({"s3_verified_by": level, "s3_checksum": checksum}) == ("", "")


@given(st.dictionaries(st.sampled_from(["s3_verified_by", "s3_checksum", "s3_source", "s3_last_modified"]), st.text()))
def test_any_metadata_is_read_in_bounds(metadata: dict[str, str]) -> None:
    """Whatever is there, the result is short, printable and no error."""
    level, checksum = recorded_proof(metadata)
    assert level in ("", *VERIFICATION_LEVELS)
    assert len(checksum) <= 100
    assert checksum.isascii()
    recorded_source(metadata)
    recorded_last_modified(metadata)


def test_a_recorded_time_is_read_with_its_zone() -> None:
    """Without one it could be any of 24."""
    assert recorded_last_modified({"s3_last_modified": "2026-01-01T00:00:00+00:00"}) == datetime(2026, 1, 1, tzinfo=UTC)
    assert recorded_last_modified({"s3_last_modified": "2026-01-01T00:00:00"}) is None


def test_an_unproven_blob_has_a_level_of_its_own() -> None:
    """No copy can be verified by it."""
    assert not set(UNPROVEN) & set(VERIFICATION_LEVELS)


@given(st.text(st.characters(), max_size=20), st.text(st.characters(), max_size=20))
def test_an_identity_is_that_of_the_json_array(bucket: str, key: str) -> None:
    """Whatever the characters; it is a part of the format."""
    text = json.dumps([bucket, key], ensure_ascii=True)
    expected = "" if "://" in bucket else hashlib.sha256(text.encode("ascii")).hexdigest()[:32]
    assert source_id(bucket, key) == expected
