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
)
from s3_to_azure.model.objects import BlobState, ListedObject, ObjectVersion
from s3_to_azure.model.options import Overwrite

NOW = datetime(2026, 5, 1, 12, tzinfo=UTC)
SOURCE = ObjectVersion("bucket", "key", "etag", 100, NOW)
COPY, UNCHANGED = Decision("copy"), Decision("unchanged")
EXISTS = Decision("skip", "destination_exists")
WRONG_TYPE = Decision("refuse", "wrong_blob_type")


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
    "unreadable time": blob(metadata={"s3_etag": "other", "s3_last_modified": "yesterday"}),
    "time without zone": blob(metadata={"s3_etag": "other", "s3_last_modified": "2999-01-01T00:00:00"}),
    "append blob": blob(blob_type="AppendBlob", metadata={}),
    "page blob of a newer copy": blob(blob_type="PageBlob", metadata=copy_of("new", NOW + SECOND)),
    "append blob, this version": blob(blob_type="AppendBlob"),
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
    "unreadable time": (COPY, EXISTS, COPY),
    "time without zone": (COPY, EXISTS, COPY),
    "append blob": (WRONG_TYPE, EXISTS, WRONG_TYPE),
    "page blob of a newer copy": (WRONG_TYPE, EXISTS, WRONG_TYPE),
    "append blob, this version": (UNCHANGED, UNCHANGED, WRONG_TYPE),
}
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
