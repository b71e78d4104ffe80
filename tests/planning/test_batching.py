"""Batches: every object exactly once, balanced, at most ``max_tasks``, the same for the same input."""

from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import GIB, MIB, TIB
from s3_to_azure.model.objects import ListedObject, SourceChecksum
from s3_to_azure.planning.batching import (
    OBJECT_WEIGHT,
    BatchPolicy,
    EvenCut,
    ranges,
    weight_of,
    without_uncertain_absence,
    write_batches,
)
from s3_to_azure.state.entries import ABSENT, EntryLine, PlanEntry, entry_line, read_entries
from s3_to_azure.state.lines import LinesWriter
from s3_to_azure.state.plan import BatchDescriptor
from s3_to_azure.transfer.blocks import Layout

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SIZES = st.lists(st.one_of(st.just(0), st.integers(0, 4 * MIB), st.integers(0, 40 * MIB), st.integers(0, 2 * TIB)))


@dataclass
class Bytes:
    """A state file in memory."""

    data: bytearray = field(default_factory=bytearray)

    def write(self, data: bytes) -> None:
        """Append."""
        self.data += data


def entries_of(sizes: list[int]) -> list[EntryLine]:
    """Return objects of these sizes in key order."""
    return [
        entry_line(ListedObject("bucket", f"{number:06}", "etag", size, NOON), None)
        for number, size in enumerate(sizes)
    ]


def cut(sizes: list[int], **settings: int) -> tuple[list[BatchDescriptor], list[list[PlanEntry]], int, BatchPolicy]:
    """Cut objects of these sizes; return the batches, their entries, how many belong to one object, and the policy."""
    entries = entries_of(sizes)
    policy = BatchPolicy(sum(map(weight_of, sizes)), **({"max_tasks": 500} | settings))
    out = Bytes()
    batches, own = write_batches(
        "0" * 16,
        LinesWriter(out),
        lambda: entries,
        policy=policy,
        layout_of=lambda entry: Layout(entry.size_bytes, max(MIB, -(-entry.size_bytes // 40_000))),
        largest_bytes=max(sizes, default=0),
    )
    held = []
    for batch in batches:
        member = bytes(out.data[batch.offset : batch.offset + batch.length])
        lines = list(read_entries([member], prefix="", path="batches"))
        rows = [PlanEntry.of_line(line, bucket="bucket") for line in lines]
        assert batch.objects == len(rows)
        assert batch.size_bytes == sum(line.copied_bytes for line in lines)
        held.append(rows)
    return batches, held, own, policy


@given(
    sizes=SIZES.filter(bool),
    max_tasks=st.integers(1, 30),
    split_bytes=st.sampled_from([2 * MIB, 10 * MIB, 64 * GIB]),
    batch_bytes=st.sampled_from([1, 3 * MIB, 256 * MIB]),
)
def test_every_byte_of_every_object_is_in_one_batch(
    sizes: list[int], max_tasks: int, split_bytes: int, batch_bytes: int
) -> None:
    """Whole objects come once, parts cover their object without a gap, and batches keep the order of the listing."""
    batches, held, own, policy = cut(sizes, max_tasks=max_tasks, split_bytes=split_bytes, batch_bytes=batch_bytes)
    assert 1 <= len(batches) <= max_tasks
    assert [batch.index for batch in batches] == list(range(len(batches)))
    covered: dict[str, int] = {}
    for batch, rows in zip(batches, held, strict=True):
        for row in rows:
            start = row.within.start if row.within else 0
            assert covered.get(row.listed.key, 0) == start
            assert (row.within is not None) == (batch.kind == "range")
            covered[row.listed.key] = row.within.end if row.within else row.listed.size_bytes
    assert covered == {entry.key: entry.size_bytes for entry in entries_of(sizes)}
    for part in (held[:own], held[own:]):
        keys = [row.listed.key for rows in part for row in rows]
        assert keys == sorted(keys)
    _check_balance(held[own:], policy)


def _check_balance(shared: list[list[PlanEntry]], policy: BatchPolicy) -> None:
    weights = [[weight_of(row.listed.size_bytes) for row in rows] for rows in shared]
    if not weights:
        return
    total = sum(map(sum, weights))
    shares = policy.shared_batches(total, 0)
    largest = max(map(max, weights))
    # An object in a shared batch weighs less than one task's share, or less than the minimum of a batch.
    assert largest < max(policy.batch_bytes, -(-policy.total_weight // policy.max_tasks) + 1)
    fair = total / len(weights)
    assert shares >= len(weights)
    for weight in map(sum, weights):
        assert weight <= fair + largest


@given(sizes=SIZES.filter(bool), max_tasks=st.integers(1, 30))
def test_the_same_objects_give_the_same_batches(sizes: list[int], max_tasks: int) -> None:
    """Planning again gives the same members, digests included."""
    assert cut(sizes, max_tasks=max_tasks)[0] == cut(sizes, max_tasks=max_tasks)[0]


@given(weights=st.lists(st.integers(0, 10 * MIB), min_size=1), batches=st.integers(1, 50))
def test_shares_ascend_and_are_nearly_equal(weights: list[int], batches: int) -> None:
    """Shares ascend from object to object, and none exceeds the mean by more than the largest object."""
    total = sum(map(weight_of, weights))
    shared = EvenCut(total, batches)
    places = [shared.next_share(size) for size in weights]
    assert places == sorted(places)
    assert all(place in range(batches) for place in places)
    for share in set(places):
        weight = sum(weight_of(size) for size, place in zip(weights, places, strict=True) if place == share)
        assert weight <= total / batches + max(map(weight_of, weights))


def test_ten_tiny_objects_make_one_batch() -> None:
    """Work below the minimum of a batch is not spread over several tasks."""
    batches, *_ = cut([1_000] * 10)
    assert [batch.objects for batch in batches] == [10]


def test_a_large_object_is_a_batch_of_its_own() -> None:
    """A large object among small ones does not delay them, and they do not delay it."""
    batches, *_ = cut([1_000, 3 * GIB, 1_000])
    assert [(batch.objects, batch.size_bytes) for batch in batches] == [(1, 3 * GIB), (2, 2_000)]


def test_a_million_small_objects_fill_the_tasks() -> None:
    """Many small objects are balanced by count, since their requests weigh more than their bytes."""
    policy = BatchPolicy(1_000_000 * weight_of(1_000), max_tasks=500)
    assert policy.own_batches(1_000) == 0
    assert policy.shared_batches(1_000_000 * weight_of(1_000), 0) == 500


@pytest.mark.parametrize(("max_tasks", "parts"), [(500, 160), (100, 100), (2, 2), (1, 1)])
def test_an_object_of_10_tb_is_split_as_far_as_there_are_tasks(max_tasks: int, parts: int) -> None:
    """A giant object is split into ranges of 64 GiB, but not into more than ``max_tasks``."""
    size = 10 * TIB
    batches, *_ = cut([size], max_tasks=max_tasks)
    assert len(batches) == parts
    assert {batch.kind for batch in batches} == ({"range"} if parts > 1 else {"objects"})


def test_each_part_has_the_reported_checksum() -> None:
    """Whichever task finds the set complete compares the whole with it."""
    reported = SourceChecksum("crc64nvme", 7, reported=True)
    listed = ListedObject("bucket", "k", "etag", 8 * MIB, NOON, reported=reported)
    out = Bytes()
    batches, _ = write_batches(
        "0" * 16,
        LinesWriter(out),
        lambda: [entry_line(listed, None)],
        policy=BatchPolicy(weight_of(8 * MIB), max_tasks=20, split_bytes=2 * MIB, batch_bytes=1),
        layout_of=lambda entry: Layout(entry.size_bytes, MIB),
    )
    members = [bytes(out.data[batch.offset : batch.offset + batch.length]) for batch in batches]
    lines = [line for member in members for line in read_entries([member], prefix="", path="batches")]
    assert len(lines) == 4
    assert all(PlanEntry.of_line(line, bucket="bucket").listed == listed for line in lines)


def test_an_object_without_a_condition_is_not_split() -> None:
    """Each part's task would look at the blob itself, and commit under a condition of its own."""
    known, unknown = entries_of([8 * MIB, 8 * MIB])
    entries = [known, replace(unknown, destination_etag=None)]
    batches, own = write_batches(
        "0" * 16,
        LinesWriter(Bytes()),
        lambda: entries,
        policy=BatchPolicy(2 * weight_of(8 * MIB), max_tasks=20, split_bytes=2 * MIB, batch_bytes=1),
        layout_of=lambda entry: Layout(entry.size_bytes, MIB),
    )
    assert [batch.kind for batch in batches] == ["range"] * 4 + ["objects"]
    assert own == len(batches)


def test_only_an_absence_that_no_request_has_shown_is_uncertain() -> None:
    """A blob that the join has found exists, and one above the limit was looked up by a request of its own."""
    small, found, large = entries_of([MIB, MIB, MIB + 1])
    entries = [small, replace(found, destination_etag="0x8D1"), large]
    certain = without_uncertain_absence(entries, looked_up_above=MIB)
    assert [entry.destination_etag for entry in certain] == [None, "0x8D1", ABSENT]


def test_more_large_objects_than_tasks_share_them() -> None:
    """1,000 objects of 1 GiB are cut into ``max_tasks`` batches of two or three objects each."""
    batches, *_ = cut([GIB] * 1_000, max_tasks=400)
    assert len(batches) == 400
    assert {batch.objects for batch in batches} == {2, 3}


@given(size=st.integers(1, 200 * MIB), block_bytes=st.integers(MIB, 9 * MIB), parts=st.integers(1, 60))
def test_ranges_lie_on_block_borders_and_cover_the_object(size: int, block_bytes: int, parts: int) -> None:
    """Ranges cover the object from 0 to its end, differ by one block at most, and none is empty."""
    layout = Layout(size, block_bytes)
    found = ranges(layout, parts)
    assert len(found) == min(parts, len(layout))
    assert [block.start for block in found] == [0, *(block.end for block in found[:-1])]
    assert found[-1].end == size
    assert all(block.start % block_bytes == 0 and block.size_bytes > 0 for block in found)
    counts = [-(-block.size_bytes // block_bytes) for block in found]
    assert max(counts) - min(counts) <= 1


@pytest.mark.parametrize("settings", [{"max_tasks": 0}, {"max_tasks": 1_001}, {"split_bytes": MIB - 1}])
def test_impossible_settings_are_refused(settings: dict[str, int]) -> None:
    """No tasks, more tasks than Airflow maps, or parts below 1 MiB are usage errors."""
    with pytest.raises(UsageError):
        BatchPolicy(1, **({"max_tasks": 1} | settings))


def test_an_empty_object_has_weight() -> None:
    """An object without bytes costs requests too."""
    assert weight_of(0) == OBJECT_WEIGHT > 0
