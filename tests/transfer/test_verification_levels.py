"""The choice of a verification level, layouts along parts, and checksums folded part by part."""

import hashlib
from dataclasses import replace
from datetime import UTC, datetime
from itertools import accumulate, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model import checksums
from s3_to_azure.model.checksums import CRC32, CRC32C, CRC64NVME, MD5, Algorithm
from s3_to_azure.model.limits import MAX_BLOCKS_PER_BLOB, MAX_OBJECT_BYTES, MIB
from s3_to_azure.model.objects import Block, ObjectVersion, PartSizes, SourceChecksum
from s3_to_azure.transfer import integrity as proof
from s3_to_azure.transfer.blocks import Layout, StagedBlock, adopt, carries, layout_for, second_digest, usable
from s3_to_azure.transfer.integrity import MAX_SERIAL_BLOCK_BYTES, VerificationLevel, choose_level, digest_stream

OBJECT = ObjectVersion("b", "k", "e", 0, datetime(2026, 1, 1, tzinfo=UTC))
MARK = b"m" * 8


def staged(data: bytes, block: Block, algorithm: Algorithm) -> StagedBlock:
    """Return the block as the pipeline stages it."""
    view = memoryview(data)[block.start : block.end]
    second = second_digest(None if algorithm is CRC64NVME else algorithm, view)
    return StagedBlock(block.start, block.end, CRC64NVME.digest(view), second, MARK)


parted = st.lists(st.binary(min_size=1, max_size=30), min_size=1, max_size=6)


@pytest.mark.parametrize("algorithm", [CRC32C, CRC32], ids=lambda a: a.name)
@given(parts=parted, block_bytes=st.integers(1, 40))
def test_fold_along_parts(algorithm: Algorithm, parts: list[bytes], block_bytes: int) -> None:
    """However parts and blocks lie, folding gives the checksum over the parts' checksums, and so does a stream."""
    data = b"".join(parts)
    sums = [algorithm.digest(memoryview(part)).to_bytes(4, "big") for part in parts]
    expected = algorithm.digest(memoryview(b"".join(sums)))
    edges = tuple(accumulate(len(part) for part in parts[:-1]))
    layout = Layout(len(data), block_bytes, edges)
    held = {block.start: staged(data, block, algorithm) for block in layout}
    version = replace(OBJECT, size_bytes=len(data), checksum=SourceChecksum(algorithm.name, expected, len(parts)))
    assert proof.fold_blocks(version, layout, held) == expected
    pieces = (memoryview(data)[start : start + 7] for start in range(0, len(data), 7))
    assert digest_stream(VerificationLevel(version.checksum, edges), pieces) == expected


@given(parts=parted)
def test_md5_of_md5s(parts: list[bytes]) -> None:
    """One block per part folds into S3's ETag of a multipart upload."""
    data = b"".join(parts)
    joined = b"".join(hashlib.md5(part).digest() for part in parts)
    etag = f"{hashlib.md5(joined).hexdigest()}-{len(parts)}"
    stored = checksums.etag_md5(etag)
    assert stored is not None
    assert checksums.to_s3(stored) == etag
    version = replace(OBJECT, size_bytes=len(data), weaker=(stored,))
    sizes = PartSizes(tuple(len(part) for part in parts), certain=True)
    level = choose_level(version, lambda: sizes)
    layout = level.layout(len(data), budget_bytes=MIB, block_bytes=MIB)
    assert [block.size_bytes for block in layout] == list(sizes.sizes)
    held = {block.start: staged(data, block, MD5) for block in layout}
    assert proof.fold_blocks(replace(version, checksum=level.checksum), layout, held) == stored.value
    assert digest_stream(level, iter([memoryview(data)])) == stored.value


@given(sizes=st.lists(st.integers(0, 40 * MIB), min_size=1, max_size=20), mib=st.integers(1, 20))
def test_no_block_straddles_a_part(sizes: list[int], mib: int) -> None:
    """The blocks cover the object in order, each lies inside one part, and the layout recognises each."""
    total, edges = sum(sizes), tuple(accumulate(sizes[:-1]))
    layout = layout_for(total, budget_bytes=256 * MIB, block_bytes=mib * MIB, edges=edges)
    blocks = list(layout)
    assert len(blocks) == len(layout)
    assert [block.start for block in blocks] == [0, *(block.end for block in blocks)][: len(blocks)]
    assert sum(block.size_bytes for block in blocks) == total
    cuts = [0, *edges, total]
    for block in blocks:
        assert any(start <= block.start < block.end <= end for start, end in pairwise(cuts))
        assert layout.has(block)
        assert not layout.has(Block(block.start, block.end + 1))


@pytest.mark.parametrize("parts", [1, 2, 10_000])
def test_largest_object_in_parts(parts: int) -> None:
    """Even with a short block at the end of each part, no object needs more than 50,000 blocks."""
    part = MAX_OBJECT_BYTES // parts
    edges = tuple(part * number for number in range(1, parts))
    layout = layout_for(MAX_OBJECT_BYTES, budget_bytes=MAX_OBJECT_BYTES, edges=edges)
    assert len(layout) <= MAX_BLOCKS_PER_BLOB


def test_other_block_size_is_adopted_along_the_parts() -> None:
    """Staged blocks of another size set the block size, and the edges of the parts stay."""
    default = Layout(40 * MIB, 8 * MIB, (20 * MIB,))
    blocks = [
        StagedBlock(start, start + 3 * MIB, 1, second_digest(CRC32C, memoryview(b"x")), MARK)
        for start in (0, 3 * MIB, 20 * MIB, 23 * MIB)
    ]
    adopted = adopt(default, blocks, budget_bytes=256 * MIB)
    assert adopted == Layout(40 * MIB, 3 * MIB, (20 * MIB,))
    assert len(usable(adopted, blocks, CRC32C)) == 4


def test_blocks_of_a_layout_without_parts_count_where_they_fit() -> None:
    """Blocks that were staged without parts count unless they straddle two."""
    plain = Layout(32 * MIB, 8 * MIB)
    second = second_digest(CRC32C, memoryview(b"x"))
    blocks = [StagedBlock(block.start, block.end, 1, second, MARK) for block in plain]
    assert (
        len(usable(adopt(Layout(32 * MIB, 8 * MIB, (16 * MIB,)), blocks, budget_bytes=MIB * 99), blocks, CRC32C)) == 4
    )
    odd = adopt(Layout(32 * MIB, 8 * MIB, (20 * MIB,)), blocks, budget_bytes=MIB * 99)
    assert sorted(usable(odd, blocks, CRC32C)) == [0, 8 * MIB]


class TestChoice:
    """``auto`` chooses the strongest level that S3's answer allows."""

    CRC = SourceChecksum("crc32", 1)
    COMPOSITE = SourceChecksum("crc32c", 2, parts=3)
    ETAG = SourceChecksum("md5", 3, parts=3)
    SIZES = PartSizes((10, 10, 5), certain=False)

    def version(self, *weaker: SourceChecksum, checksum: SourceChecksum | None = None) -> ObjectVersion:
        """Return an object of 25 bytes."""
        return replace(OBJECT, size_bytes=25, checksum=checksum, weaker=weaker)

    def test_full_object_first(self) -> None:
        """A checksum of the whole object is chosen, and the parts are not looked up."""

        def never() -> PartSizes:
            raise AssertionError("a request too many")

        assert choose_level(self.version(self.COMPOSITE, self.ETAG, checksum=self.CRC), never) == VerificationLevel(
            self.CRC
        )

    def test_partwise_before_etag(self) -> None:
        """A CRC over parts is stronger than the ETag."""
        level = choose_level(self.version(self.COMPOSITE, self.ETAG), lambda: self.SIZES)
        assert level == VerificationLevel(self.COMPOSITE, (10, 20), guessed=True)

    @pytest.mark.parametrize("sizes", [None, PartSizes((10, 15), certain=True), PartSizes((10, 10, 4), certain=True)])
    def test_part_sizes_that_do_not_match(self, sizes: PartSizes | None) -> None:
        """Without sizes that match the checksum and the object, a checksum over parts cannot be used."""
        assert choose_level(self.version(self.COMPOSITE, self.ETAG), lambda: sizes) == VerificationLevel(None)

    def test_largest_md5_block(self) -> None:
        """An object of 64 MiB is one block, and an object of one byte more has no level by its MD5."""
        etag = SourceChecksum("md5", 1)
        version = replace(OBJECT, size_bytes=MAX_SERIAL_BLOCK_BYTES, weaker=(etag,))
        assert choose_level(version, lambda: None) == VerificationLevel(etag)
        assert choose_level(replace(version, size_bytes=MAX_SERIAL_BLOCK_BYTES + 1), lambda: None) == VerificationLevel(
            None
        )

    def test_choosing_again_changes_nothing(self) -> None:
        """The choice for a version that has the checksum of its level already is the same level."""
        version = self.version(self.COMPOSITE, self.ETAG)
        level = choose_level(version, lambda: self.SIZES)
        assert choose_level(replace(version, checksum=level.checksum), lambda: self.SIZES) == level


@pytest.mark.parametrize(
    ("etag", "parts"),
    [
        ("d41d8cd98f00b204e9800998ecf8427e", 0),
        ("d41d8cd98f00b204e9800998ecf8427e-1", 1),
        ("d41d8cd98f00b204e9800998ecf8427e-10000", 10_000),
        ("d41d8cd98f00b204e9800998ecf8427e-10001", None),
        ("d41d8cd98f00b204e9800998ecf8427e-0", None),
        ("D41D8CD98F00B204E9800998ECF8427E", None),
        ("d41d8cd98f00b204e9800998ecf8427", None),
        ("", None),
    ],
)
def test_etag_forms(etag: str, parts: int | None) -> None:
    """Only the forms in which S3 writes an MD5 are read as one."""
    found = checksums.etag_md5(etag)
    assert (found.parts if found else None) == parts


@pytest.mark.parametrize(
    "text", ["yZRlqg==", "yZRlqg==-", "yZRlqg==-0", "yZRlqg==-x", "yZRlqg==-10001", "-3", "yZRl-3"]
)
def test_text_that_is_no_partwise_checksum(text: str) -> None:
    """A checksum of a whole object, and noise, are not a checksum over parts, and no error."""
    assert checksums.partwise({"crc32c": text}) == ()


def test_block_with_a_crc_carries_no_md5() -> None:
    """A block that carries a CRC, or no second digest, does not carry an MD5."""
    data = memoryview(b"123456789")
    assert carries(StagedBlock(0, 9, 1, second_digest(MD5, data), MARK), MD5)
    for other in (CRC32, CRC32C, None):
        assert not carries(StagedBlock(0, 9, 1, second_digest(other, data), MARK), MD5)


class TestSerialHashes:
    """SHA-256 and its like, which need their bytes in order."""

    WHOLE = SourceChecksum("sha256", 1)
    PARTS = SourceChecksum("sha256", 1, parts=2)

    def test_one_block_is_the_limit(self) -> None:
        """Blocks are read in parallel, so what is larger has no such level."""
        version = replace(OBJECT, size_bytes=MAX_SERIAL_BLOCK_BYTES, weaker=(self.WHOLE,))
        level = choose_level(version, lambda: None)
        assert (level.checksum, level.one_block_per_part, level.is_beyond_block_ids) == (self.WHOLE, True, True)
        assert len(level.layout(version.size_bytes, budget_bytes=256 * MIB, block_bytes=MIB)) == 1
        larger = replace(version, size_bytes=MAX_SERIAL_BLOCK_BYTES + 1)
        assert choose_level(larger, lambda: None).checksum is None
        whole = choose_level(larger, lambda: None, largest_block_bytes=larger.size_bytes, in_order=True)
        assert whole.checksum == self.WHOLE

    def test_parts_are_for_those_who_read_in_order(self) -> None:
        """No block id has room for the hash of a part."""
        data = b"abcdefg"
        sizes = PartSizes((3, 4), certain=True)
        joined = hashlib.sha256(hashlib.sha256(data[:3]).digest() + hashlib.sha256(data[3:]).digest()).digest()
        stored = replace(self.PARTS, value=int.from_bytes(joined, "big"))
        version = replace(OBJECT, size_bytes=len(data), weaker=(stored,))
        assert choose_level(version, lambda: sizes).checksum is None
        level = choose_level(version, lambda: sizes, in_order=True)
        assert digest_stream(level, iter([memoryview(data)[:2], memoryview(data)[2:]])) == stored.value

    def test_a_reported_md5_is_no_etag(self) -> None:
        """So it counts where ETags in the form of an MD5 do not."""
        reported = SourceChecksum("md5", 1, reported=True)
        version = replace(OBJECT, size_bytes=5, weaker=(replace(reported, reported=False), reported))
        assert choose_level(version, lambda: None, etag_is_md5=False).checksum == reported
