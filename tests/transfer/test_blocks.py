"""Block ids, layouts from 0 bytes to 48.8 TiB, adoption of staged layouts, and which staged blocks are used."""

import base64
import itertools
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from s3_to_azure.model import checksums
from s3_to_azure.model.errors import BudgetTooSmall, UsageError
from s3_to_azure.model.limits import (
    GIB,
    MAX_BLOCK_BYTES,
    MAX_BLOCK_ID_BYTES,
    MAX_BLOCKS_PER_BLOB,
    MAX_OBJECT_BYTES,
    MIB,
    TIB,
)
from s3_to_azure.model.objects import Block, ListedBlock, ListedObject, ObjectVersion
from s3_to_azure.transfer.blocks import (
    ID_CHARACTERS,
    NO_SECOND,
    FetchedBlock,
    Layout,
    StagedBlock,
    adopt,
    block_bytes_for,
    fingerprint,
    in_order,
    layout_for,
    missing,
    parse,
    second_digest,
    staged_blocks,
    usable,
)

BUDGET = 256 * MIB
MARK = b"m" * 8


def staged(start: int, end: int, crc64: int = 1, second: bytes = NO_SECOND) -> StagedBlock:
    """Return a staged block."""
    return StagedBlock(start, end, crc64, second, MARK)


def held(layout: Layout) -> dict[int, StagedBlock]:
    """Return all blocks of the layout as staged."""
    return {block.start: staged(block.start, block.end) for block in layout}


sizes = st.one_of(
    st.integers(0, 64 * MIB),
    st.integers(0, MAX_OBJECT_BYTES),
    st.builds(lambda blocks, off: max(0, blocks * MIB + off), st.integers(0, 2**20), st.integers(-1, 1)),
)


@given(sizes)
@example(0)
@example(1)
@example(8 * MIB)
@example(GIB)
@example(GIB + 1)
@example(16 * MIB * MAX_BLOCKS_PER_BLOB)
@example(16 * MIB * MAX_BLOCKS_PER_BLOB + 1)
@example(MAX_OBJECT_BYTES)
def test_layout_keeps_azures_limits(size_bytes: int) -> None:
    """Any object that S3 can hold is at most 50,000 blocks of at most 4,000 MiB, in whole MiB."""
    layout = layout_for(size_bytes, budget_bytes=MAX_BLOCK_BYTES)
    assert len(layout) <= MAX_BLOCKS_PER_BLOB
    assert layout.block_bytes <= MAX_BLOCK_BYTES
    assert layout.block_bytes % MIB == 0
    assert len(layout) == -(-size_bytes // layout.block_bytes)
    last_start = (len(layout) - 1) * layout.block_bytes
    assert size_bytes == 0 or 0 < size_bytes - last_start <= layout.block_bytes


@given(st.integers(0, 40 * MIB), st.integers(1, 5))
def test_blocks_cover_the_object(size_bytes: int, mib: int) -> None:
    """The blocks in order are the object without gap or overlap, and the layout recognises each."""
    layout = layout_for(size_bytes, budget_bytes=BUDGET, block_bytes=mib * MIB)
    blocks = list(layout)
    assert [block.start for block in blocks] == [0, *(block.end for block in blocks)][: len(blocks)]
    assert sum(block.size_bytes for block in blocks) == size_bytes
    assert all(layout.has(block) for block in blocks)


@pytest.mark.parametrize(
    ("size_bytes", "block_bytes"),
    [
        (0, 8 * MIB),
        (1, 8 * MIB),
        (GIB, 8 * MIB),
        (MAX_BLOCKS_PER_BLOB * 8 * MIB, 8 * MIB),
        (MAX_BLOCKS_PER_BLOB * 8 * MIB + 1, 9 * MIB),
        (5 * TIB, 105 * MIB),
        (MAX_OBJECT_BYTES, 1024 * MIB),
    ],
)
def test_block_size_by_object_size(size_bytes: int, block_bytes: int) -> None:
    """The block size depends on the object's size only, and may not change: staged blocks have that size."""
    assert block_bytes_for(size_bytes) == block_bytes


@pytest.mark.parametrize(("size_bytes", "count"), [(8 * MIB - 1, 1), (8 * MIB, 1), (8 * MIB + 1, 2), (16 * MIB + 1, 3)])
def test_number_of_blocks_around_a_block_size(size_bytes: int, count: int) -> None:
    """One byte below, at and above a multiple of the block size."""
    assert len(layout_for(size_bytes, budget_bytes=BUDGET)) == count


def test_object_larger_than_s3_allows_is_refused() -> None:
    """An object larger than S3 can hold is refused, whatever the block size."""
    with pytest.raises(UsageError):
        layout_for(MAX_OBJECT_BYTES + 1, budget_bytes=MAX_BLOCK_BYTES)
    with pytest.raises(UsageError):
        layout_for(MAX_OBJECT_BYTES + 1, budget_bytes=MAX_BLOCK_BYTES, block_bytes=MAX_BLOCK_BYTES)


@pytest.mark.parametrize("block_bytes", [0, 1, MIB - 1, MAX_BLOCK_BYTES + 1])
def test_block_size_outside_the_limits_is_refused(block_bytes: int) -> None:
    """A block size below 1 MiB or above Azure's maximum is a ``UsageError``."""
    with pytest.raises(UsageError, match="block_size"):
        layout_for(1, budget_bytes=BUDGET, block_bytes=block_bytes)


def test_default_budget_holds_12_tib() -> None:
    """256 MiB holds blocks of objects up to 12.2 TiB; for one byte more the error says how much memory is needed."""
    most = 256 * MIB * MAX_BLOCKS_PER_BLOB
    assert layout_for(most, budget_bytes=BUDGET).block_bytes == 256 * MIB
    with pytest.raises(BudgetTooSmall) as caught:
        layout_for(most + 1, budget_bytes=BUDGET)
    assert caught.value.attributes["needs"] == 257 * MIB


def test_budget_of_a_small_object_is_its_size() -> None:
    """An object smaller than a block needs memory for its own size only."""
    assert len(layout_for(MIB, budget_bytes=MIB)) == 1
    with pytest.raises(BudgetTooSmall):
        layout_for(MIB + 1, budget_bytes=MIB)


class TestAdoption:
    """The staged blocks decide the layout, so that a changed setting does not orphan them."""

    TOTAL = 40 * MIB + 5
    DEFAULT = Layout(TOTAL, 8 * MIB)

    def test_nothing_staged_keeps_the_default(self) -> None:
        """Without staged blocks the default layout is used."""
        assert adopt(self.DEFAULT, [], budget_bytes=BUDGET) == self.DEFAULT

    def test_other_block_size_is_adopted(self) -> None:
        """The size of the staged blocks becomes the layout's block size."""
        blocks = [staged(0, 3 * MIB), staged(6 * MIB, 9 * MIB)]
        assert adopt(self.DEFAULT, blocks, budget_bytes=BUDGET) == Layout(self.TOTAL, 3 * MIB)

    def test_most_bytes_win(self) -> None:
        """Of two staged layouts, the one with more bytes is adopted, not the one with more blocks."""
        blocks = [staged(n * MIB, (n + 1) * MIB) for n in range(5)] + [staged(16 * MIB, 32 * MIB)]
        assert adopt(self.DEFAULT, blocks, budget_bytes=BUDGET) == Layout(self.TOTAL, 16 * MIB)

    def test_default_wins_a_tie(self) -> None:
        """The default layout is used where as many bytes of it are staged as of another."""
        blocks = [staged(0, 16 * MIB), staged(16 * MIB, 24 * MIB), staged(24 * MIB, 32 * MIB)]
        assert adopt(self.DEFAULT, blocks, budget_bytes=BUDGET) == self.DEFAULT

    def test_last_block_counts_for_its_layout(self) -> None:
        """The shorter last block counts as staged, and is not read as a layout of tiny blocks."""
        tail = staged(40 * MIB, self.TOTAL)
        assert adopt(self.DEFAULT, [tail], budget_bytes=BUDGET) == self.DEFAULT
        assert usable(self.DEFAULT, [tail], None) == {40 * MIB: tail}

    def test_same_range_twice_counts_once(self) -> None:
        """Two ids for one range count its bytes once."""
        blocks = [staged(0, 16 * MIB, 1), staged(0, 16 * MIB, 2), staged(0, 8 * MIB), staged(8 * MIB, 16 * MIB)]
        assert adopt(self.DEFAULT, [*blocks, staged(16 * MIB, 24 * MIB)], budget_bytes=BUDGET) == self.DEFAULT

    def test_block_size_above_the_budget_is_not_adopted(self) -> None:
        """A layout whose blocks do not fit into the memory budget is not adopted."""
        blocks = [staged(0, 32 * MIB)]
        assert adopt(self.DEFAULT, blocks, budget_bytes=16 * MIB) == self.DEFAULT

    def test_block_size_at_the_bounds_is_adopted(self) -> None:
        """A block as large as the budget, and a layout of exactly 50,000 blocks, are adopted."""
        assert adopt(self.DEFAULT, [staged(0, 16 * MIB)], budget_bytes=16 * MIB) == Layout(self.TOTAL, 16 * MIB)
        total = MAX_BLOCKS_PER_BLOB * MIB
        assert adopt(Layout(total, 8 * MIB), [staged(0, MIB)], budget_bytes=BUDGET) == Layout(total, MIB)

    def test_last_block_decides_between_equals(self) -> None:
        """Of two layouts with equally many bytes in full blocks, the one whose last block is staged has more bytes."""
        default = Layout(self.TOTAL, 16 * MIB)
        blocks = [staged(0, 16 * MIB), staged(0, 8 * MIB), staged(8 * MIB, 16 * MIB)]
        assert adopt(default, blocks, budget_bytes=BUDGET) == default
        tail = staged(40 * MIB, self.TOTAL)
        assert adopt(default, [*blocks, tail], budget_bytes=BUDGET) == Layout(self.TOTAL, 8 * MIB)

    @pytest.mark.parametrize("start", [4 * MIB, 12 * MIB, 36 * MIB, 40 * MIB])
    def test_blocks_outside_the_grid_do_not_count(self, start: int) -> None:
        """A block that straddles a layout's blocks, or exceeds the object, adds no bytes to that layout."""
        default = Layout(self.TOTAL, 16 * MIB)
        blocks = [staged(0, 16 * MIB), staged(0, 8 * MIB), staged(8 * MIB, 16 * MIB), staged(start, start + 8 * MIB)]
        assert adopt(default, blocks, budget_bytes=BUDGET) == default

    def test_too_many_blocks_are_not_adopted(self) -> None:
        """A layout of more than 50,000 blocks is not adopted, since it could not be committed."""
        default = Layout(MAX_BLOCKS_PER_BLOB * 2 * MIB, 8 * MIB)
        assert adopt(default, [staged(0, MIB)], budget_bytes=BUDGET) == default

    @given(st.data())
    def test_always_a_layout_of_this_object(self, data: st.DataObject) -> None:
        """Whatever is staged, the result is a layout of this object that can be committed within the budget."""
        total = data.draw(st.integers(1, 50 * MIB))
        default = layout_for(total, budget_bytes=BUDGET)
        starts = st.integers(0, 60 * MIB)
        blocks = data.draw(
            st.lists(st.builds(lambda start, size: staged(start, start + size), starts, st.integers(1, 20 * MIB)))
        )
        layout = adopt(default, blocks, budget_bytes=16 * MIB)
        assert layout.size_bytes == total
        assert len(layout) <= MAX_BLOCKS_PER_BLOB
        assert layout.block_bytes <= 16 * MIB
        count = usable(layout, blocks, None)
        assert all(layout.has(block) for block in count.values())


class TestUsable:
    """Which staged blocks may be committed without reading them again."""

    LAYOUT = Layout(20, 8)

    def test_whole_layout_in_any_order(self) -> None:
        """All blocks of the layout count, in any order of listing."""
        blocks = [staged(16, 20), staged(0, 8), staged(8, 16)]
        found = usable(self.LAYOUT, blocks, None)
        assert in_order(self.LAYOUT, found) == [blocks[1], blocks[2], blocks[0]]
        assert missing(self.LAYOUT, found) == []

    @pytest.mark.parametrize(
        "odd",
        [staged(0, 7), staged(1, 9), staged(8, 17), staged(16, 24), staged(16, 19), staged(24, 32), staged(20, 28)],
    )
    def test_ranges_outside_the_layout_do_not_count(self, odd: StagedBlock) -> None:
        """A block that is not exactly one block of the layout never counts."""
        assert usable(self.LAYOUT, [odd], None) == {}
        assert usable(self.LAYOUT, [odd, staged(0, 8)], None) == {0: staged(0, 8)}

    @pytest.mark.parametrize("order", [(1, 2), (2, 1), (1, 2, 1), (1, 1, 2), (2, 1, 1)])
    def test_two_crcs_at_one_start_are_read_again(self, order: tuple[int, ...]) -> None:
        """Of two blocks with different CRC64s at one offset neither is used, and the range is read again."""
        blocks = [staged(0, 8, crc64) for crc64 in order]
        assert usable(self.LAYOUT, blocks, None) == {}
        assert missing(self.LAYOUT, usable(self.LAYOUT, blocks, None))[0] == Block(0, 8)

    def test_same_crc_twice_counts(self) -> None:
        """Two listed blocks with the same id are one block."""
        assert usable(self.LAYOUT, [staged(0, 8, 5), staged(0, 8, 5)], None) == {0: staged(0, 8, 5)}

    def test_needed_second_digest(self) -> None:
        """Where the verification needs a CRC32C, a block without one, or with a CRC32 instead, is read again."""
        second = second_digest(checksums.CRC32C, memoryview(b"12345678"))
        other = second_digest(checksums.CRC32, memoryview(b"12345678"))
        good = staged(0, 8, 1, second)
        assert usable(self.LAYOUT, [good], checksums.CRC32C) == {0: good}
        assert usable(self.LAYOUT, [staged(0, 8)], checksums.CRC32C) == {}
        assert usable(self.LAYOUT, [staged(0, 8, 1, other)], checksums.CRC32C) == {}

    @pytest.mark.parametrize("with_second_first", [True, False])
    def test_same_bytes_with_and_without_second_digest(self, with_second_first: bool) -> None:
        """Of two ids with equal CRC64 the one with the needed second digest is used, in either order of listing."""
        good = staged(0, 8, 1, second_digest(checksums.CRC32, memoryview(b"12345678")))
        blocks = [good, staged(0, 8)] if with_second_first else [staged(0, 8), good]
        assert usable(self.LAYOUT, blocks, checksums.CRC32) == {0: good}
        assert 0 in usable(self.LAYOUT, blocks, None)


def test_missing_blocks_of_a_range() -> None:
    """A range of a giant object includes the blocks that begin inside it."""
    layout = Layout(20, 4)
    present = {4: staged(4, 8)}
    assert [block.start for block in missing(layout, present)] == [0, 8, 12, 16]
    assert [block.start for block in missing(layout, present, Block(4, 12))] == [8]
    assert [block.start for block in missing(layout, {}, Block(5, 13))] == [8, 12]


@given(st.integers(1, 2_000), st.integers(1, 100), st.data())
def test_ranges_share_the_object_without_gap(size_bytes: int, block_bytes: int, data: st.DataObject) -> None:
    """Ranges that cut an object anywhere assign each block to exactly one range."""
    layout = Layout(size_bytes, block_bytes)
    cuts = sorted(data.draw(st.sets(st.integers(1, size_bytes), max_size=5)) | {0, size_bytes})
    parts = [missing(layout, {}, Block(start, end)) for start, end in itertools.pairwise(cuts)]
    assert [block for part in parts for block in part] == list(layout)


def test_in_order_needs_every_block() -> None:
    """With one block missing there is no complete sequence to commit."""
    layout = Layout(20, 8)
    full = held(layout)
    assert in_order(layout, full) is not None
    for start in (0, 8, 16):
        assert in_order(layout, {k: v for k, v in full.items() if k != start}) is None
    assert in_order(Layout(0, 8), {}) == []


VERSION = ObjectVersion("bucket", "a/key", "0123abcd", 12_345, datetime(2026, 1, 1, tzinfo=UTC))

blocks_of_any = st.builds(
    lambda start, size, crc64, second, mark: StagedBlock(start, start + size, crc64, second, mark),
    st.integers(0, MAX_OBJECT_BYTES - 1),
    st.integers(1, 4_000 * 2**20),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=8, max_size=8),
)


def test_block_id_format_is_frozen() -> None:
    """A change of the id's format would orphan every staged block, so this exact id must never change."""
    block = StagedBlock(0x010203040506, 0x010203040507, 0xAE8B14860A799888, bytes(range(16)), b"\xf0" * 8)
    assert block.block_id == "AfDw8PDw8PDwAQIDBAUGrosUhgp5mIgAAQIDBAUGBwgJCgsMDQ4P"


def test_fingerprint_is_frozen() -> None:
    """The fingerprint of a source version must never change."""
    assert fingerprint(VERSION).hex() == "a29131e511646c36"


@given(blocks_of_any)
def test_id_is_parsed_as_it_was_written(block: StagedBlock) -> None:
    """A later worker reads from the listed id exactly what the earlier one wrote into it."""
    text = block.block_id
    assert len(text) == ID_CHARACTERS <= MAX_BLOCK_ID_BYTES
    assert text.isascii()
    listed = ListedBlock(text.encode("ascii"), block.size_bytes)
    assert parse(listed, block.fingerprint) == block


@pytest.mark.parametrize("start", [2**40 - 1, 2**40, MAX_OBJECT_BYTES - 1])
def test_offsets_above_a_tebibyte_are_parsed(start: int) -> None:
    """All six bytes of the offset count, so blocks at the end of a giant object are found again."""
    block = StagedBlock(start, start + 1, 2**63, bytes(range(16)), b"12345678")
    assert parse(ListedBlock(block.block_id.encode("ascii"), 1), b"12345678") == block


@given(st.binary(max_size=80), st.integers(-1, 10))
def test_any_bytes_are_parsed_or_ignored(name: bytes, size_bytes: int) -> None:
    """Another tool's id is ignored and never an error, whatever its bytes."""
    block = parse(ListedBlock(name, size_bytes), fingerprint(VERSION))
    assert block is None or block.block_id.encode("ascii") == name


@given(blocks_of_any, st.integers(0, ID_CHARACTERS - 1), st.integers(0, 255))
def test_changed_id_is_never_parsed_as_the_original(block: StagedBlock, index: int, byte: int) -> None:
    """An id with one changed byte is either ignored or parsed as the block that has this changed id."""
    changed = bytearray(block.block_id.encode("ascii"))
    changed[index] = byte
    read = parse(ListedBlock(bytes(changed), block.size_bytes), block.fingerprint)
    assert read is None or read.block_id.encode("ascii") == bytes(changed)


def test_id_in_standard_base64_is_ignored() -> None:
    """The same 39 bytes in the standard base64 alphabet are another id to Azure."""
    block = StagedBlock(0, 5, 2**64 - 1, b"\xff" * 16, b"\xff" * 8)
    standard = base64.b64encode(base64.urlsafe_b64decode(block.block_id))
    assert standard != block.block_id.encode()
    assert parse(ListedBlock(standard, 5), block.fingerprint) is None


def test_ids_of_others_are_ignored() -> None:
    """An id with another fingerprint or another format version, and an empty block, are ignored."""
    block = StagedBlock(0, 5, 1, NO_SECOND, fingerprint(VERSION))
    own = block.block_id.encode()
    newer = base64.urlsafe_b64encode(b"\x02" + base64.urlsafe_b64decode(own)[1:])
    assert parse(ListedBlock(own, 5), fingerprint(VERSION)) == block
    assert parse(ListedBlock(own, 5), b"\0" * 8) is None
    assert parse(ListedBlock(newer, 5), fingerprint(VERSION)) is None
    assert parse(ListedBlock(own, 0), fingerprint(VERSION)) is None


@pytest.mark.parametrize(
    "other",
    [
        replace(VERSION, bucket="bucket2"),
        replace(VERSION, key="a/key2"),
        replace(VERSION, etag="0123abce"),
        replace(VERSION, size_bytes=12_346),
        replace(VERSION, bucket="bucket\x00a", key="key"),
    ],
)
def test_fingerprint_differs_between_versions(other: ObjectVersion) -> None:
    """Bucket, key, ETag and size each change the fingerprint."""
    assert fingerprint(other) != fingerprint(VERSION)


def test_fingerprint_depends_on_nothing_else() -> None:
    """Metadata, time and storage class do not change the fingerprint, and a listing gives the same one as HEAD."""
    other = replace(
        VERSION, metadata={"a": "b"}, storage_class="GLACIER", last_modified=datetime(1999, 1, 1, tzinfo=UTC)
    )
    listed = ListedObject("bucket", "a/key", "0123abcd", 12_345, datetime(2020, 1, 1, tzinfo=UTC))
    assert fingerprint(other) == fingerprint(VERSION) == fingerprint(listed)


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_fingerprint_separates_its_fields(one: tuple[str, str, str], two: tuple[str, str, str]) -> None:
    """No two different triples of bucket, key and ETag give the same fingerprint."""
    first, second = (ObjectVersion(*names, 1, VERSION.last_modified) for names in (one, two))
    assert (fingerprint(first) == fingerprint(second)) == (one == two)


def fetched(start: int = 0, end: int = 8, crc64: int = 5, nonce: int = 1) -> FetchedBlock:
    """Return a block that Azure fetched."""
    return FetchedBlock(start, end, crc64, NO_SECOND, MARK, bytes([nonce]) * 16)


def data_of(block: StagedBlock) -> ListedBlock:
    """Return a block as Azure lists it."""
    return ListedBlock(block.block_id.encode(), block.size_bytes)


def note_of(block: FetchedBlock, size_bytes: int = 1) -> ListedBlock:
    """Return a block's note as Azure lists it."""
    return ListedBlock(block.note_id.encode(), size_bytes)


class TestFetchedBlocks:
    """A fetched block counts with exactly one CRC64 in the notes of its one request."""

    def test_order_does_not_matter(self) -> None:
        """Notes and blocks come in any order, as threads stage them."""
        first, second = fetched(), fetched(8, 16, 6, 2)
        listed = [data_of(first), note_of(second), note_of(first), data_of(second)]
        for order in itertools.permutations(listed):
            assert set(staged_blocks(order, MARK)) == {first, second}

    def test_without_a_note_nobody_saw_it_staged(self) -> None:
        """A worker that was killed before the note left only the block; a late request leaves only a block, too."""
        assert staged_blocks([data_of(fetched())], MARK) == []

    def test_note_without_a_block_is_nothing(self) -> None:
        """A note is never committed."""
        assert staged_blocks([note_of(fetched())], MARK) == []

    def test_notes_that_differ(self) -> None:
        """Of two CRC64s neither is known to be right."""
        block = fetched()
        assert staged_blocks([data_of(block), note_of(block), note_of(replace(block, crc64=6))], MARK) == []

    def test_equal_notes_are_one(self) -> None:
        """A list may show a note twice; it says the same."""
        assert staged_blocks([data_of(fetched()), note_of(fetched()), note_of(fetched())], MARK) == [fetched()]

    @pytest.mark.parametrize(
        "other", [fetched(nonce=2), fetched(start=8, end=16), replace(fetched(), fingerprint=b"other ob")]
    )
    def test_note_of_another_request(self, other: FetchedBlock) -> None:
        """Nonce, start and fingerprint must all be the block's own."""
        assert staged_blocks([data_of(fetched()), note_of(other)], MARK) == []

    @pytest.mark.parametrize("size_bytes", [0, 2, 8])
    def test_note_is_one_byte(self, size_bytes: int) -> None:
        """A block of another size is no note of ours."""
        assert staged_blocks([data_of(fetched()), note_of(fetched(), size_bytes)], MARK) == []

    def test_id_with_a_crc64_is_not_of_this_version(self) -> None:
        """What should be zero is zero, or another program wrote it."""
        odd = base64.urlsafe_b64encode(b"\x02" + MARK + bytes(6) + b"\0" * 7 + b"\x05" + b"\x01" * 16)
        assert staged_blocks([ListedBlock(odd, 8), note_of(fetched())], MARK) == []

    @pytest.mark.parametrize("other", [staged(0, 8, 6), fetched(crc64=6, nonce=2)])
    def test_another_crc64_at_the_start(self, other: StagedBlock) -> None:
        """Streamed or fetched: of two different CRC64s the range is fetched again; of two equal ones either will do."""
        layout = Layout(16, 8)
        assert usable(layout, [fetched(), other], None) == {}
        assert usable(layout, [fetched(), replace(other, crc64=5)], None).keys() == {0}

    @given(st.integers(0, 2**48 - 9), st.integers(0, 2**64 - 1), st.binary(min_size=16, max_size=16))
    def test_round_trip(self, start: int, crc64: int, nonce: bytes) -> None:
        """Ids are as long as those of version 1, and read back as they were written."""
        block = FetchedBlock(start, start + 8, crc64, NO_SECOND, MARK, nonce)
        assert len(block.block_id) == len(block.note_id) == ID_CHARACTERS
        assert staged_blocks([data_of(block), note_of(block)], MARK) == [block]
