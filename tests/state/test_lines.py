"""Lines of state files: written in UTF-8, read in every spelling of JSON, and never quoted in an error."""

import gzip
import itertools
import json
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import KIB, MAX_KEY_BYTES, MIB
from s3_to_azure.model.objects import Receipt
from s3_to_azure.state.lines import MAX_LINE_BYTES, LinesWriter, as_json, lines, typed_lines
from s3_to_azure.state.manifest import ManifestLine
from s3_to_azure.state.plan import LeftOut
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


SHORTEST = gzip.compress(as_json(LeftOut("k", "e", 0, "skipped")) + b"\n")
NAMED = SHORTEST[:3] + b"\x08" + SHORTEST[4:10]


def pieces(*repeated: bytes) -> Iterator[bytes]:
    """Yield the pieces again and again, and fail if more than some megabytes of them are taken."""
    taken = 0
    for piece in itertools.cycle(repeated):
        taken += len(piece)
        assert taken < 4 * MIB, "the file is read to its end"
        yield piece


@pytest.mark.parametrize(
    "chunks",
    [pytest.param([gzip.compress(b"")], id="empty members"), pytest.param([NAMED, b"n" * KIB], id="a long header")],
)
def test_an_endless_file_without_lines_is_corrupt_state(chunks: list[bytes]) -> None:
    """Gzip can hold any number of bytes that become nothing."""
    first, *others = chunks
    endless = itertools.chain([first], pieces(*(others or [first])))
    with pytest.raises(CorruptState, match="longer than its lines"):
        list(lines(endless, path="file"))


def test_lines_that_gzip_cannot_make_shorter_are_read() -> None:
    """A member for each short line, and lines of random text."""
    assert len(list(lines(itertools.repeat(SHORTEST, 50_000), path="file"))) == 50_000
    text = random.Random(1).randbytes(3 * MIB).replace(b"\n", b" ")
    rows = b"".join(text[start : start + KIB] + b"\n" for start in range(0, len(text), KIB))
    assert b"".join(line + b"\n" for line in lines([gzip.compress(rows)], path="file")) == rows
