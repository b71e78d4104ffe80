"""Lines of state files: written in UTF-8, read in every spelling of JSON, refused without telling what they hold."""

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
    """Return what a file of that one line holds."""
    data = gzip.compress(json.dumps(row, ensure_ascii=escaped).encode() + b"\n")
    return list(typed_lines(ManifestLine, [data], path="file"))


@given(key=st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40), problem=st.text(max_size=9))
def test_lines_come_back(key: str, problem: str) -> None:
    """Any text and moment, written by this version."""
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
    """A run that an earlier version began can be gone on with: its files have escapes and +00:00."""
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
def test_a_refusal_tells_where_and_not_what(row: Mapping[str, object]) -> None:
    """The error names the file and the value that is wrong, never what stands there: it goes into logs."""
    with pytest.raises(CorruptState, match="file") as caught:
        read(row)
    assert "secret" not in str(caught.value)


def test_the_longest_receipt_is_a_line() -> None:
    """No receipt that can be written is refused for its length, whatever its names cost in bytes."""
    worst = "\u0001"
    receipt = Receipt(
        "b" * 63, worst * MAX_KEY_BYTES, worst * 256, 1, "c" * 63, worst * MAX_KEY_BYTES, "failed", worst * 2_000
    )
    assert len(as_json(receipt)) < MAX_LINE_BYTES


def test_half_a_surrogate_pair() -> None:
    """It is told as JSON can tell it, and refused where it is read as a line."""
    text = as_json(ManifestLine("p/\udcff", "e", 3, NOON, "STANDARD"))
    assert json.loads(text)["key"] == "p/\udcff"
    with pytest.raises(CorruptState):
        list(typed_lines(ManifestLine, [gzip.compress(text + b"\n")], path="file"))
