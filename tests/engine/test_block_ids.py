"""The block id: frozen form, round trip, and nobody else's ids taken for ours."""

import base64
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.limits import MAX_BLOCK_ID_BYTES, MAX_OBJECT_BYTES
from s3_to_azure.model.objects import ListedBlock, ListedObject, ObjectVersion
from s3_to_azure.transfer.blocks import ID_CHARACTERS, NO_SECOND, StagedBlock, fingerprint, parse

VERSION = ObjectVersion("bucket", "a/key", "0123abcd", 12_345, datetime(2026, 1, 1, tzinfo=UTC))

staged_blocks = st.builds(
    lambda start, size, crc64, second, mark: StagedBlock(start, start + size, crc64, second, mark),
    st.integers(0, MAX_OBJECT_BYTES - 1),
    st.integers(1, 4_000 * 2**20),
    st.integers(0, 2**64 - 1),
    st.binary(min_size=16, max_size=16),
    st.binary(min_size=8, max_size=8),
)


def test_format_is_frozen() -> None:
    """A change of the id's form would orphan every staged block: this exact id must come out for ever."""
    block = StagedBlock(0x010203040506, 0x010203040507, 0xAE8B14860A799888, bytes(range(16)), b"\xf0" * 8)
    assert block.block_id == "AfDw8PDw8PDwAQIDBAUGrosUhgp5mIgAAQIDBAUGBwgJCgsMDQ4P"


def test_fingerprint_is_frozen() -> None:
    """The fingerprint of a source version must never change either."""
    assert fingerprint(VERSION).hex() == "a29131e511646c36"


@given(staged_blocks)
def test_round_trip(block: StagedBlock) -> None:
    """What a worker writes into an id, a later one reads out of the listing."""
    text = block.block_id
    assert len(text) == ID_CHARACTERS <= MAX_BLOCK_ID_BYTES
    assert text.isascii()
    listed = ListedBlock(text.encode("ascii"), block.size_bytes)
    assert parse(listed, block.fingerprint) == block


@pytest.mark.parametrize("start", [2**40 - 1, 2**40, MAX_OBJECT_BYTES - 1])
def test_blocks_beyond_a_tebibyte_are_found_again(start: int) -> None:
    """Every byte of the offset counts: what is staged far into a giant is not sent twice."""
    block = StagedBlock(start, start + 1, 2**63, bytes(range(16)), b"12345678")
    assert parse(ListedBlock(block.block_id.encode("ascii"), 1), b"12345678") == block


@given(st.binary(max_size=80), st.integers(-1, 10))
def test_any_bytes_are_read_or_ignored(name: bytes, size_bytes: int) -> None:
    """Another tool's id, whatever its bytes, is ignored and never an error."""
    block = parse(ListedBlock(name, size_bytes), fingerprint(VERSION))
    assert block is None or block.block_id.encode("ascii") == name


@given(staged_blocks, st.integers(0, ID_CHARACTERS - 1), st.integers(0, 255))
def test_another_id_is_another_block(block: StagedBlock, index: int, byte: int) -> None:
    """No id is read as a block whose own id is another: Azure could not commit it."""
    changed = bytearray(block.block_id.encode("ascii"))
    changed[index] = byte
    read = parse(ListedBlock(bytes(changed), block.size_bytes), block.fingerprint)
    assert read is None or read.block_id.encode("ascii") == bytes(changed)


def test_standard_base64_of_our_bytes_is_foreign() -> None:
    """The same 39 bytes in the other base64 alphabet are another id in Azure's eyes."""
    block = StagedBlock(0, 5, 2**64 - 1, b"\xff" * 16, b"\xff" * 8)
    standard = base64.b64encode(base64.urlsafe_b64decode(block.block_id))
    assert standard != block.block_id.encode()
    assert parse(ListedBlock(standard, 5), block.fingerprint) is None


def test_ids_of_others_are_ignored() -> None:
    """Another fingerprint, another format version, no bytes: not ours."""
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
def test_fingerprint_tells_versions_apart(other: ObjectVersion) -> None:
    """Bucket, key, ETag and size make the fingerprint."""
    assert fingerprint(other) != fingerprint(VERSION)


def test_fingerprint_depends_on_nothing_else() -> None:
    """Settings, metadata, time and storage class must not orphan staged blocks; listing and HEAD agree."""
    other = replace(
        VERSION, metadata={"a": "b"}, storage_class="GLACIER", last_modified=datetime(1999, 1, 1, tzinfo=UTC)
    )
    listed = ListedObject("bucket", "a/key", "0123abcd", 12_345, datetime(2020, 1, 1, tzinfo=UTC))
    assert fingerprint(other) == fingerprint(VERSION) == fingerprint(listed)


@given(st.tuples(st.text(), st.text(), st.text()), st.tuples(st.text(), st.text(), st.text()))
def test_fingerprint_has_no_ambiguous_joints(one: tuple[str, str, str], two: tuple[str, str, str]) -> None:
    """No two different (bucket, key, ETag) run together into the same identity."""
    first, second = (ObjectVersion(*names, 1, VERSION.last_modified) for names in (one, two))
    assert (fingerprint(first) == fingerprint(second)) == (one == two)
