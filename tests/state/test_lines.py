"""Lines of state files: written in UTF-8, read in every spelling of JSON, and never quoted in an error."""

import gzip
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import MAX_KEY_BYTES
from s3_to_azure.model.objects import Receipt
from s3_to_azure.state.lines import MAX_LINE_BYTES, LinesWriter, as_json, typed_lines
from s3_to_azure.state.manifest import ManifestLine
from tests.fakes.state_memory import MemoryState

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
GOOD = {
    "key": "p/a",
    "etag": "e",
    "size_bytes": 3,
    "last_modified": "2026-03-01T12:00:00Z",
    "storage_class": "STANDARD",
}


def read(row: Mapping[str, object], *, escaped: bool = True) -> list[ManifestLine]:
    """Return the lines of a file with one row."""
    data = gzip.compress(json.dumps(row, ensure_ascii=escaped).encode() + b"\n")
    return list(typed_lines(ManifestLine, [data], path="file"))


@given(key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), problem=st.text(max_size=9))
def test_lines_come_back(key: str, problem: str) -> None:
    """Any text and time that this version writes."""
    line = ManifestLine(key, "e", 3, NOON.astimezone(timezone(timedelta(hours=5, minutes=30))), "STANDARD", problem)
    files = MemoryState()
    with files.write("file") as out:
        writer = LinesWriter(out)
        writer.add(line)
        writer.end_member()
    assert list(typed_lines(ManifestLine, files.chunks("file"), path="file")) == [line]


@pytest.mark.parametrize("escaped", [True, False])
@pytest.mark.parametrize("moment", ["2026-03-01T12:00:00+00:00", "2026-03-01T12:00:00Z", "2026-03-01T12:00:00.000000Z"])
def test_earlier_spellings_are_read(moment: str, *, escaped: bool) -> None:
    """A run of an earlier version can continue: its files have escapes and +00:00."""
    (line,) = read(GOOD | {"key": "p/\u00fc\U0001f600", "last_modified": moment}, escaped=escaped)
    assert (line.key, line.last_modified) == ("p/\u00fc\U0001f600", NOON)


@pytest.mark.parametrize(
    "row",
    [
        GOOD | {"secret": 1},
        GOOD | {"key": ["secret"]},
        GOOD | {"last_modified": "secret"},
        GOOD | {"etag": "secret" * 100},
        {"key": "secret"},
    ],
)
def test_an_error_names_the_place_and_not_the_value(row: Mapping[str, object]) -> None:
    """Errors go into logs, and a value may be anything."""
    with pytest.raises(CorruptState, match="file") as caught:
        read(row)
    assert "secret" not in str(caught.value)


def test_the_longest_receipt_fits_into_a_line() -> None:
    """Every receipt that is written can be read, even if each character of its names is escaped."""
    worst = "\u0001"
    receipt = Receipt(
        "b" * 63, worst * MAX_KEY_BYTES, worst * 256, 1, "c" * 63, worst * MAX_KEY_BYTES, "failed", worst * 2_000
    )
    assert len(as_json(receipt)) < MAX_LINE_BYTES


def test_half_of_a_surrogate_pair_is_refused_by_the_reader() -> None:
    """The writer escapes it, because it has no UTF-8."""
    text = as_json(ManifestLine("p/\udcff", "e", 3, NOON, "STANDARD"))
    assert json.loads(text)["key"] == "p/\udcff"
    with pytest.raises(CorruptState):
        list(typed_lines(ManifestLine, [gzip.compress(text + b"\n")], path="file"))
