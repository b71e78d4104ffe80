"""A batch's slice of the plan: read by its descriptor, and trusted only after every check."""

from datetime import UTC, datetime
from typing import Any

import pytest
from msgspec.structs import replace

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import BlobState, Block, Condition, ListedObject
from s3_to_azure.planning.batching import batch_descriptor
from s3_to_azure.runs.batch_slice import MAX_LABEL_CHARACTERS, BatchSlice
from s3_to_azure.state.entries import EntryLine, entry_line
from s3_to_azure.state.lines import LinesWriter
from s3_to_azure.state.plan import BatchDescriptor, batches_name
from tests.fakes.state_memory import MemoryState

TOKEN = "0" * 16
NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
BLOB = BlobState("out/b", "0x8D1", 1, "BlockBlob", {})


def listed(key: str, size_bytes: int = 5) -> ListedObject:
    """Return a listed object."""
    return ListedObject("bucket", key, "etag", size_bytes, NOON)


def part(key: str, start: int, end: int) -> EntryLine:
    """Return a part of an object of 4 MiB."""
    return EntryLine(key, "etag", 4 * MIB, NOON, "STANDARD", "", start=start, end=end, block_bytes=MIB)


def written(files: MemoryState, *entries: EntryLine) -> BatchDescriptor:
    """Write a batch behind another one; return its descriptor."""
    with files.write(batches_name(TOKEN)) as out:
        writer = LinesWriter(out)
        writer.add(entry_line(listed("in/of another batch"), None))
        writer.end_member()
        for entry in entries:
            writer.add(entry)
        member = writer.end_member()
    size_bytes = sum(entry.copied_bytes for entry in entries)
    kind: Any = "range" if isinstance(entries[0].start, int) else "objects"
    return batch_descriptor(TOKEN, 1, member, len(entries), size_bytes, kind)


def opened(files: MemoryState, descriptor: BatchDescriptor, **options: Any) -> BatchSlice:
    """Return the slice of a descriptor."""
    return BatchSlice(files, descriptor, bucket="bucket", s3_prefix="in/", blob_prefix="out/", **options)


def test_a_slice_holds_its_own_entries() -> None:
    """Only the descriptor's bytes are read, any number of times, and each entry becomes a copy task."""
    files = MemoryState()
    descriptor = written(files, entry_line(listed("in/a"), None), entry_line(listed("in/b"), BLOB, metadata_only=True))
    batch = opened(files, descriptor)
    batch.check()
    assert files.reads == [(batches_name(TOKEN), descriptor.offset, descriptor.offset + descriptor.length)]
    tasks = [batch.task(entry) for entry in batch.entries()]
    assert [(task.bucket, task.key, task.blob, task.condition, task.metadata_only) for task in tasks] == [
        ("bucket", "in/a", "out/a", Condition(None), False),
        ("bucket", "in/b", "out/b", Condition("0x8D1"), True),
    ]
    assert [task.listed for task in tasks] == [listed("in/a"), listed("in/b")]


def test_a_part_becomes_a_task_for_its_range() -> None:
    """Range and block size reach the copy."""
    files = MemoryState()
    batch = opened(files, written(files, part("in/giant", MIB, 3 * MIB)))
    batch.check()
    (task,) = (batch.task(entry) for entry in batch.entries())
    assert (task.within, task.block_bytes) == (Block(MIB, 3 * MIB), MIB)


@pytest.mark.parametrize(("mapped", "blob"), [(False, "out/dot."), (True, "out/dot~2E")])
def test_names_are_mapped_where_the_run_maps_them(mapped: bool, blob: str) -> None:
    """The blob's name depends on the caller's setting, not on the plan."""
    files = MemoryState()
    batch = opened(files, written(files, entry_line(listed("in/dot."), None)), mapped_names=mapped)
    assert [batch.blob_of(entry) for entry in batch.entries()] == [blob]


@pytest.mark.parametrize("change", [{"sha256": "0" * 64}, {"offset": 0}, {"length": 10}])
def test_a_slice_with_another_digest_is_corrupt_state(change: dict[str, Any]) -> None:
    """The bytes are compared with the descriptor before a line is parsed."""
    files = MemoryState()
    descriptor = replace(written(files, entry_line(listed("in/a"), None)), **change)
    with pytest.raises(CorruptState):
        opened(files, descriptor)


@pytest.mark.parametrize("change", [{"objects": 2}, {"size_bytes": 6}, {"kind": "range"}])
def test_a_slice_with_other_totals_is_corrupt_state(change: dict[str, Any]) -> None:
    """Objects, bytes and kind must be those of the descriptor."""
    files = MemoryState()
    batch = opened(files, replace(written(files, entry_line(listed("in/a"), None)), **change))
    with pytest.raises(CorruptState, match="does not match its descriptor"):
        batch.check()


def test_a_slice_with_far_more_lines_is_refused_at_the_first() -> None:
    """A few bytes of gzip can hold millions of lines."""
    files = MemoryState()
    lines = [entry_line(listed(key), None) for key in ("in/a", "in/b", "would be refused if it were read")]
    batch = opened(files, replace(written(files, *lines), objects=1))
    with pytest.raises(CorruptState, match="does not match its descriptor"):
        batch.check()


def test_a_key_outside_the_prefix_is_corrupt_state() -> None:
    """A plan cannot make a task copy an object elsewhere."""
    files = MemoryState()
    batch = opened(files, written(files, entry_line(listed("elsewhere/a"), None)))
    with pytest.raises(CorruptState):
        batch.check()


def test_the_label_counts_objects_or_names_the_only_one() -> None:
    """Airflow shows the number of objects and their bytes, or the key, with its range if it is a part."""
    files = MemoryState()
    two = opened(files, written(files, entry_line(listed("in/a"), None), entry_line(listed("in/b", 3_000), None)))
    assert two.label() == "2 objects, 2.9 KiB"
    assert opened(files, written(files, entry_line(listed("in/a"), None))).label() == "in/a"
    long = opened(files, written(files, part("in/" + "k" * 300, 0, 2 * MIB))).label()
    assert len(long) == MAX_LABEL_CHARACTERS
    assert long.endswith("kkk [0 bytes to 2.0 MiB]")
