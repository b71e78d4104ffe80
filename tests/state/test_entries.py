"""The lines of objects to copy: written, read back, and refused when they are damaged."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

import pytest
from msgspec import UNSET, structs

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import BlobState, Block, Condition, ListedObject, SourceChecksum
from s3_to_azure.state.entries import EntryLine, PlanEntry, entry_line, read_entries
from s3_to_azure.state.lines import LinesWriter
from tests.fakes.state_memory import MemoryState

LISTED = ListedObject("bucket", "in/a", "etag", 3 * MIB, datetime(2026, 3, 1, 12, tzinfo=UTC))
BLOB = BlobState("out/a", "0x8D1", 1, "BlockBlob", {})
REPORTED = replace(LISTED, reported=SourceChecksum("crc64nvme", 0xAE8B14860A799888, reported=True))


def written(lines: list[EntryLine], files: MemoryState, name: str) -> None:
    """Write lines into a state file."""
    with files.write(name) as out:
        writer = LinesWriter(out)
        for line in lines:
            writer.add(line)
        writer.end_member()


@pytest.mark.parametrize(
    ("line", "entry"),
    [
        (entry_line(LISTED, None), PlanEntry(LISTED, Condition(None))),
        (entry_line(LISTED, BLOB), PlanEntry(LISTED, Condition("0x8D1"))),
        (entry_line(REPORTED, None), PlanEntry(REPORTED, Condition(None))),
        (
            entry_line(LISTED, BLOB, metadata_only=True),
            PlanEntry(LISTED, Condition("0x8D1"), metadata_only=True),
        ),
        (
            EntryLine("in/a", "etag", 3 * MIB, LISTED.last_modified, "STANDARD", None),
            PlanEntry(LISTED, None),
        ),
        (
            EntryLine(
                "in/a", "etag", 3 * MIB, LISTED.last_modified, "STANDARD", "", start=MIB, end=3 * MIB, block_bytes=MIB
            ),
            PlanEntry(LISTED, Condition(None), Block(MIB, 3 * MIB), MIB),
        ),
    ],
)
def test_an_entry_comes_back_as_written(line: EntryLine, entry: PlanEntry) -> None:
    """Condition, range, block size and metadata flag survive the file; the bucket comes from the reader."""
    files = MemoryState()
    written([line], files, "entries")
    (read,) = read_entries(files.chunks("entries"), prefix="in/", path="entries")
    assert PlanEntry.of_line(read, bucket="bucket") == entry


def test_an_entry_counts_the_bytes_to_copy() -> None:
    """A part copies its range of the object; an update of metadata copies nothing."""
    whole = entry_line(LISTED, BLOB)
    part = EntryLine("in/a", "e", 3 * MIB, LISTED.last_modified, "STANDARD", "", start=MIB, end=3 * MIB)
    update = entry_line(LISTED, BLOB, metadata_only=True)
    assert [(line.work_bytes, line.copied_bytes) for line in (whole, part, update)] == [
        (3 * MIB, 3 * MIB),
        (3 * MIB, 2 * MIB),
        (0, 0),
    ]


PART: Final[dict[str, Any]] = {"destination_etag": "", "start": MIB, "end": 2 * MIB, "block_bytes": MIB}
"""The second of three blocks of an object that Azure does not hold."""


def read_again(line: EntryLine) -> list[EntryLine]:
    """Write the line, and read it."""
    files = MemoryState()
    written([line], files, "entries")
    return list(read_entries(files.chunks("entries"), prefix="in/", path="entries"))


OUTSIDE: Final = "start, end or block_bytes of a part is missing or outside its object"
CUT: Final = "a part does not begin and end at the edge of a block"
MARKED: Final = "metadata_only is set without a blob, or for a part"


@pytest.mark.parametrize(
    ("change", "detail"),
    [
        ({"destination_etag": None}, "a part has no condition"),
        ({"destination_etag": "0x8D1 <b>"}, "a destination_etag has characters that are not allowed"),
        ({"start": MIB // 2}, CUT),
        ({"end": MIB + 1}, CUT),
        ({"end": MIB}, OUTSIDE),
        ({"end": 4 * MIB}, OUTSIDE),
        ({"start": UNSET}, OUTSIDE),
        ({"end": UNSET}, OUTSIDE),
        ({"block_bytes": UNSET}, OUTSIDE),
        ({"start": UNSET, "end": UNSET}, OUTSIDE),
        ({"start": UNSET, "block_bytes": UNSET}, OUTSIDE),
        ({"end": UNSET, "block_bytes": UNSET}, OUTSIDE),
        ({"metadata_only": True, "destination_etag": "0x8D1"}, MARKED),
        ({"metadata_only": True, "start": UNSET, "end": UNSET, "block_bytes": UNSET}, MARKED),
    ],
    ids=str,
)
def test_a_part_that_fits_no_other_is_corrupt_state(change: dict[str, Any], detail: str) -> None:
    """Parts have one condition, and begin and end where blocks do: their tasks never see each other."""
    line = EntryLine("in/a", "etag", 3 * MIB, LISTED.last_modified, "STANDARD", **PART)
    assert read_again(line) == [line]
    with pytest.raises(CorruptState, match=detail) as caught:
        read_again(structs.replace(line, **change))
    assert caught.value.attributes == {"path": "entries", "detail": detail}


def test_blocks_that_no_blob_can_hold_are_corrupt_state() -> None:
    """50,000 blocks are the most, the last one shorter or not."""
    part = EntryLine("in/a", "etag", 50_000 * MIB, LISTED.last_modified, "STANDARD", **PART)
    shorter = structs.replace(part, size_bytes=50_000 * MIB - 1)
    assert [read_again(part), read_again(shorter)] == [[part], [shorter]]
    with pytest.raises(CorruptState, match="block_bytes gives too many blocks"):
        read_again(structs.replace(part, size_bytes=50_000 * MIB + 1))


def test_what_the_plan_saw_is_in_the_line() -> None:
    """Each value of the object, the blob's ETag, and the checksum of a report."""
    listed = replace(REPORTED, storage_class="GLACIER_IR")
    line = entry_line(listed, BLOB)
    assert read_again(line) == [line]
    assert PlanEntry.of_line(line, bucket="bucket") == PlanEntry(listed, Condition("0x8D1"))
    assert PlanEntry.of_line(entry_line(LISTED, None), bucket="bucket") == PlanEntry(LISTED, Condition(None))


def test_an_entry_outside_the_prefix_is_corrupt_state() -> None:
    """A plan cannot name an object elsewhere."""
    files = MemoryState()
    written([entry_line(LISTED, None)], files, "entries")
    with pytest.raises(CorruptState):
        list(read_entries(files.chunks("entries"), prefix="elsewhere/", path="entries"))


@pytest.mark.parametrize(
    "text",
    ["crc64nvme", "crc64nvme:", "crc64nvme:ae8b", "crc32:AE8B1486", "sha3:ae8b14860a799888", "crc32:ae8b14860a799888"],
)
def test_an_edited_checksum_is_corrupt_state(text: str) -> None:
    """An algorithm that no report has, another length, or no number."""
    files = MemoryState()
    line = EntryLine("in/a", "etag", 3 * MIB, LISTED.last_modified, "STANDARD", None, reported=text)
    written([line], files, "entries")
    with pytest.raises(CorruptState, match="reported checksum"):
        [PlanEntry.of_line(line, bucket="b") for line in read_entries(files.chunks("entries"), prefix="", path="e")]
