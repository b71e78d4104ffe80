"""CRC64s that S3 stores: of the object, and of any run of whole parts."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.objects import Block, PartChecksum, SourceChecksum
from s3_to_azure.transfer.fetched.known_crc64s import KnownCrc64s
from tests.fakes.contexts import crc, some_bytes

DATA = some_bytes(300)


def parts_of(sizes: list[int], data: bytes) -> list[PartChecksum]:
    """Return parts of these sizes."""
    edges = itertools.pairwise((0, *itertools.accumulate(sizes)))
    return [PartChecksum(end - start, crc(data[start:end])) for start, end in edges]


def known_of(sizes: list[int], data: bytes = DATA, **changes: int) -> KnownCrc64s:
    """Return what is known of an object in parts."""
    whole = SourceChecksum("crc64nvme", crc(data))
    return KnownCrc64s(changes.get("size_bytes", len(data)), whole, parts_of(sizes, data))


@given(st.lists(st.integers(0, 40), min_size=1, max_size=12), st.data())
def test_runs_of_whole_parts(sizes: list[int], data: st.DataObject) -> None:
    """Every run has the CRC64 of its bytes, and no other range has one."""
    sizes = sizes if sum(sizes) <= len(DATA) else [len(DATA)]
    content = DATA[: sum(sizes)]
    known, edges = known_of(sizes, content), {0, *itertools.accumulate(sizes)}
    start = data.draw(st.integers(0, len(content)))
    end = data.draw(st.integers(start, len(content)))
    expected = crc(content[start:end]) if {start, end} <= edges else None
    if start < end:
        assert known.of(Block(start, end)) == expected


def test_without_parts_only_the_whole_is_known() -> None:
    """An object of one block needs no note."""
    known = KnownCrc64s(len(DATA), SourceChecksum("crc64nvme", crc(DATA)))
    assert known.of(Block(0, len(DATA))) == crc(DATA)
    assert known.of(Block(0, 10)) is None
    assert known.of(Block(10, len(DATA))) is None


def test_parts_of_another_size_are_not_believed() -> None:
    """Nor those that combine into another checksum."""
    assert known_of([100, 100, 50]).of(Block(0, 100)) is None
    whole = SourceChecksum("crc64nvme", crc(DATA) ^ 1)
    assert KnownCrc64s(300, whole, parts_of([100, 200], DATA)).of(Block(0, 100)) is None


@pytest.mark.parametrize(
    ("sizes", "wanted", "most", "found"),
    [
        ([100, 100, 100], 100, 300, 100),
        ([100, 100, 100], 101, 300, 200),
        ([100, 100, 100], 64, 300, 100),
        ([70, 70, 70, 70, 20], 100, 300, 140),
        ([300], 64, 300, 300),
        ([100, 100, 100], 64, 99, 64),
        ([100, 80, 120], 64, 300, 64),
        ([100, 50, 150], 64, 300, 64),
        ([0, 300], 64, 300, 64),
        ([], 64, 300, 64),
    ],
)
def test_blocks_are_cut_between_parts(sizes: list[int], wanted: int, most: int, found: int) -> None:
    """Where all parts but a shorter last one are equal, and a block is not too large."""
    assert known_of(sizes).block_bytes(wanted, most=most) == found
