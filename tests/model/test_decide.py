"""The whole table of decide(), and the comparison of dates."""

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.decide import (
    Decision,
    are_different,
    decide,
    is_copy_of_another,
    is_copy_of_newer,
    is_later,
    is_proven,
)
from s3_to_azure.model.objects import BlobState, ListedObject, ObjectVersion
from s3_to_azure.model.options import Overwrite
from s3_to_azure.model.record import source_id

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SOURCE = ObjectVersion("bucket", "key", "etag", 100, NOW)
COPY, UNCHANGED = Decision("copy"), Decision("unchanged")
EXISTS = Decision("skip", "destination_exists")
WRONG_TYPE = Decision("refuse", "wrong_blob_type")
OURS = source_id("bucket", "key")
PENDING = {"s3_source": OURS, "s3_verified_by": "readback_pending"}
OTHER = Decision(
    "refuse",
    "blob_of_another_object: the blob is a copy of another S3 object; give each migration its own blob_prefix, or "
    "replace that copy with overwrite=always",
)


def blob(**changes: Any) -> BlobState:
    """Return a blob that is a copy of the source, except for the changes."""
    metadata = {"s3_etag": "etag", "s3_last_modified": NOW.isoformat()}
    values: dict[str, Any] = {
        "name": "b",
        "etag": "0x1",
        "size_bytes": 100,
        "blob_type": "BlockBlob",
        "metadata": metadata,
    }
    return BlobState(**(values | changes))


def copy_of(etag: str, modified: datetime) -> dict[str, str]:
    """Return the metadata of a copy."""
    return {"s3_etag": etag, "s3_last_modified": modified.isoformat()}


SECOND = timedelta(seconds=1)
STATES: dict[str, BlobState | None] = {
    "absent": None,
    "this version": blob(),
    "older": blob(metadata=copy_of("old", NOW - SECOND)),
    "newer": blob(metadata=copy_of("new", NOW + SECOND)),
    "other of the same second": blob(metadata=copy_of("other", NOW)),
    "same ETag, other size": blob(size_bytes=99),
    "silent": blob(metadata={}),
    "of another object": blob(metadata={**blob().metadata, "s3_source": source_id("bucket", "other")}),
    "of another object's version": blob(metadata={"s3_etag": "x", "s3_source": source_id("other", "key")}),
    "of this object by its source": blob(metadata={**blob().metadata, "s3_source": OURS}),
    "source edited": blob(metadata={**blob().metadata, "s3_source": "me"}),
    "this version, to be read back": blob(metadata={**blob().metadata, **PENDING}),
    "older, found damaged": blob(metadata={**copy_of("old", NOW), "s3_source": OURS, "s3_verified_by": "damaged"}),
    "of another object, found damaged": blob(metadata={**blob().metadata, **PENDING, "s3_source": "0" * 32}),
    "damaged, as anybody may say": blob(metadata={"s3_verified_by": "damaged"}),
    "unreadable time": blob(metadata={"s3_etag": "other", "s3_last_modified": "yesterday"}),
    "time without zone": blob(metadata={"s3_etag": "other", "s3_last_modified": "2999-01-01T00:00:00"}),
    "append blob": blob(blob_type="AppendBlob", metadata={}),
    "page blob of a newer copy": blob(blob_type="PageBlob", metadata=copy_of("new", NOW + SECOND)),
    "append blob, this version": blob(blob_type="AppendBlob"),
    "directory": blob(blob_type="directory", size_bytes=0, metadata={}),
    "directory that calls itself this version": blob(blob_type="directory"),
}
TABLE: dict[str, tuple[Decision, Decision, Decision]] = {
    # state: if_changed, never, always
    "absent": (COPY, COPY, COPY),
    "this version": (UNCHANGED, UNCHANGED, COPY),
    "older": (COPY, EXISTS, COPY),
    "newer": (COPY, EXISTS, COPY),
    "other of the same second": (COPY, EXISTS, COPY),
    "same ETag, other size": (COPY, EXISTS, COPY),
    "silent": (COPY, EXISTS, COPY),
    "of another object": (OTHER, EXISTS, COPY),
    "of another object's version": (OTHER, EXISTS, COPY),
    "of this object by its source": (UNCHANGED, UNCHANGED, COPY),
    "source edited": (UNCHANGED, UNCHANGED, COPY),
    "this version, to be read back": (COPY, COPY, COPY),
    "older, found damaged": (COPY, COPY, COPY),
    "of another object, found damaged": (OTHER, EXISTS, COPY),
    "damaged, as anybody may say": (COPY, EXISTS, COPY),
    "unreadable time": (COPY, EXISTS, COPY),
    "time without zone": (COPY, EXISTS, COPY),
    "append blob": (WRONG_TYPE, EXISTS, WRONG_TYPE),
    "page blob of a newer copy": (WRONG_TYPE, EXISTS, WRONG_TYPE),
    "append blob, this version": (UNCHANGED, UNCHANGED, WRONG_TYPE),
    "directory": (WRONG_TYPE, WRONG_TYPE, WRONG_TYPE),
    "directory that calls itself this version": (WRONG_TYPE, WRONG_TYPE, WRONG_TYPE),
}


def proven(level: str, checksum: str = "", **more: str) -> BlobState:
    """Return a copy of the source with this proof."""
    return blob(metadata={**blob().metadata, "s3_verified_by": level, "s3_checksum": checksum, **more})


@pytest.mark.parametrize(
    ("there", "integrity", "enough"),
    [
        (proven("crc32c", "crc32c:yZRlqg=="), "auto", True),
        (proven("crc32c", "crc32c:yZRlqg=="), "readback", True),
        (proven("crc32c", "crc32c:yZRlqg=="), "crc32c", True),
        (proven("crc32c", "crc32c:yZRlqg=="), "md5", True),
        (proven("crc32c", "crc32c:yZRlqg=="), "crc64nvme", False),
        (proven("transport"), "transport", True),
        (proven("transport"), "reread", False),
        (proven("reread"), "reread", True),
        (proven("crc64nvme"), "crc32c", False),
        (proven("checked by me"), "transport", False),
        (proven("checked by me"), "auto", True),
        (blob(), "auto", True),
        (blob(), "transport", False),
    ],
)
def test_a_required_level_holds_for_what_is_unchanged(there: BlobState, integrity: str, *, enough: bool) -> None:
    """A copy whose record proves less is copied again, or left where nothing may be replaced."""
    assert decide(SOURCE, there, "if_changed", integrity) == (UNCHANGED if enough else COPY)
    assert decide(SOURCE, there, "never", integrity) == (UNCHANGED if enough else EXISTS)
    assert decide(SOURCE, there, "always", integrity) == COPY


@pytest.mark.parametrize(
    ("there", "run", "expected"),
    [
        (proven("crc32c", "crc32c:yZRlqg==", s3_run="r1"), "r1", UNCHANGED),
        (proven("crc32c", "crc32c:yZRlqg==", s3_run="r1"), "r2", COPY),
        (proven("crc32c", "crc32c:yZRlqg==", s3_run="r1"), "", COPY),
        (proven("crc32c", "crc32c:yZRlqg=="), "r1", COPY),
        (proven("transport", s3_run="r1"), "r1", COPY),
        (proven("readback_pending", s3_run="r1"), "r1", COPY),
        (proven("crc32c", "crc32c:yZRlqg==", s3_run="r1", s3_etag="other"), "r1", COPY),
        (proven("crc32c", "crc32c:yZRlqg==", s3_run="r1", s3_last_modified=(NOW - SECOND).isoformat()), "r1", COPY),
        (None, "r1", COPY),
    ],
)
def test_always_copies_once_in_a_run(there: BlobState | None, run: str, expected: Decision) -> None:
    """A retry leaves what an earlier try of its run has written, and proven as much as it needs."""
    assert decide(SOURCE, there, "always", "crc32c", run=run) == expected


CRC32C = "crc32c:yZRlqg=="


@pytest.mark.parametrize(
    ("there", "is_it"),
    [
        (proven("crc32c", CRC32C), True),
        (proven("crc32c", CRC32C, s3_source=OURS), True),
        (proven("crc32c", CRC32C, s3_source="0" * 32), False),
        (proven("crc32c", "crc32c:AAAAAA=="), False),
        (proven("transport"), False),
        (proven("crc32c", CRC32C, s3_etag="other"), False),
        (proven("crc32c", CRC32C, s3_last_modified=(NOW - SECOND).isoformat()), False),
        (proven("crc32c", CRC32C, s3_last_modified=(NOW + SECOND).isoformat()), False),
        (proven("crc32c", CRC32C, s3_last_modified=""), False),
        (proven("readback_pending", CRC32C, s3_source=OURS), False),
        (blob(), False),
    ],
)
def test_a_blob_is_a_copys_work_by_its_whole_record(there: BlobState, *, is_it: bool) -> None:
    """Object, version, time, level and checksum are those that the copy would have written itself."""
    assert is_proven(SOURCE, there, level="crc32c", checksum=CRC32C) is is_it


OVERWRITES: tuple[Overwrite, ...] = ("if_changed", "never", "always")


def test_table_is_complete() -> None:
    """Every state has a row, and every value of ``overwrite`` a column."""
    assert set(TABLE) == set(STATES)
    assert get_args(Overwrite) == OVERWRITES


@pytest.mark.parametrize(("state", "overwrite"), list(product(STATES, OVERWRITES)))
def test_truth_table(state: str, overwrite: Overwrite) -> None:
    """One cell of the table; an object of a listing is decided like the answer of a HEAD."""
    expected = TABLE[state][OVERWRITES.index(overwrite)]
    assert decide(SOURCE, STATES[state], overwrite) == expected
    listed = ListedObject(SOURCE.bucket, SOURCE.key, SOURCE.etag, SOURCE.size_bytes, SOURCE.last_modified)
    assert decide(listed, STATES[state], overwrite) == expected


@given(
    st.sampled_from(OVERWRITES),
    st.datetimes(timezones=st.just(UTC)),
    st.datetimes(timezones=st.sampled_from([UTC, None])),
)
def test_dates_decide_nothing(overwrite: Overwrite, ours: datetime, theirs: datetime) -> None:
    """What S3 shows as current replaces a copy of any other version: after a rollback it is the older one."""
    source = ObjectVersion("bucket", "key", "etag", 100, ours)
    decision = decide(source, blob(metadata=copy_of("other", theirs)), overwrite)
    assert decision == (EXISTS if overwrite == "never" else COPY)


def test_a_copy_of_another_version_has_a_whole_record() -> None:
    """ETag and date are recorded together: a blob with one of them is not known to be a copy."""
    assert is_copy_of_another(SOURCE, blob(metadata=copy_of("other", NOW)))
    assert not is_copy_of_another(SOURCE, blob())
    assert not is_copy_of_another(SOURCE, blob(metadata={"s3_etag": "other"}))
    own, foreign = source_id(SOURCE.bucket, SOURCE.key), source_id(SOURCE.bucket, "another")
    assert is_copy_of_another(SOURCE, blob(metadata=copy_of("other", NOW) | {"s3_source": own}))
    assert not is_copy_of_another(SOURCE, blob(metadata=copy_of("other", NOW) | {"s3_source": foreign}))
    assert not is_copy_of_another(SOURCE, blob(metadata={"s3_last_modified": NOW.isoformat()}))


def test_a_copy_of_a_newer_version_has_a_later_date() -> None:
    """The recorded date tells, if it has a time zone."""
    assert is_copy_of_newer(SOURCE, blob(metadata=copy_of("new", NOW + SECOND)))
    assert not is_copy_of_newer(SOURCE, blob(metadata=copy_of("other", NOW)))
    assert not is_copy_of_newer(SOURCE, STATES["time without zone"] or blob())


@pytest.mark.parametrize(
    ("one_ms", "other_ms", "later"),
    [
        (1_000, 0, True),
        (0, 0, False),
        (500, 400, True),
        (400, 400, False),
        # A listing with a fraction of a second, beside a Last-Modified without: cut off, or rounded up.
        (999, 0, False),
        (1_000, 1, False),
        (1_001, 0, True),
        (2_000, 999, True),
    ],
)
def test_dates_are_compared_at_the_precision_that_both_have(one_ms: int, other_ms: int, *, later: bool) -> None:
    """A fraction of a second that only one side has is no difference; a whole second, or two fractions, are."""
    one, other = (NOW + timedelta(milliseconds=each) for each in (one_ms, other_ms))
    assert is_later(one, other) is later
    assert not is_later(other, one) or not later
    assert are_different(one, other) is are_different(other, one) is (later or is_later(other, one))


@given(st.datetimes(timezones=st.just(UTC)), st.datetimes(timezones=st.just(UTC)))
def test_a_difference_of_a_second_always_counts(one: datetime, other: datetime) -> None:
    """Whatever the fractions, at least a second apart is later, and never both ways."""
    if one - other >= SECOND:
        assert is_later(one, other)
    assert not (is_later(one, other) and is_later(other, one))
