"""Checksums: one function on both sides, combination, byte orders, S3's spellings and the required level."""

import base64
import zlib
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model import checksums
from s3_to_azure.model.checksums import CRC32, CRC32C, CRC64NVME, FOLDABLE, SERIAL, Algorithm
from s3_to_azure.model.errors import IntegrityUnavailable
from s3_to_azure.model.objects import SourceChecksum
from s3_to_azure.transfer.blocks import NO_SECOND, StagedBlock, carries, fold, second_digest

CHECK = memoryview(b"123456789")
CHECK_VALUES = {CRC64NVME: 0xAE8B14860A799888, CRC32C: 0xE3069283, CRC32: 0xCBF43926}


def block(data: bytes, start: int, algorithm: Algorithm) -> StagedBlock:
    """Return the block as it is staged for a verification by this algorithm."""
    second = None if algorithm is CRC64NVME else algorithm
    view = memoryview(data)
    digest = second_digest(second, view)
    return StagedBlock(start, start + len(data), CRC64NVME.digest(view), digest, b"f" * 8)


@pytest.mark.parametrize("algorithm", FOLDABLE, ids=lambda a: a.name)
def test_algorithms_give_their_published_check_value(algorithm: Algorithm) -> None:
    """Each algorithm gives the published value of "123456789", and 0 for no bytes."""
    assert algorithm.digest(CHECK) == CHECK_VALUES[algorithm]
    assert algorithm.digest(memoryview(b"")) == 0


# "123456789" by OpenSSL, and by the xxhash package 4.1.0.
SERIAL_CHECK_VALUES = {
    "sha1": "f7c3bc1d808e04732adf679965ccc34ca7ae3441",
    "sha256": "15e2b0d3c33891ebb0f1ef609ec419420c20e320ce94c65fbc8c3312448eb225",
    "xxhash64": "8cb841db40e6ae83",
    "xxhash3": "72dcb18b67a17dff",
    "xxhash128": "33119477ede5dcd5e9716427681d5860",
}


@pytest.mark.parametrize("name", SERIAL_CHECK_VALUES)
def test_serial_hashes_give_their_published_check_value(name: str) -> None:
    """In one piece, and in two."""
    algorithm = checksums.ALGORITHMS[name]
    assert algorithm.digest(CHECK) == int(SERIAL_CHECK_VALUES[name], 16)
    assert algorithm.hasher is not None
    hasher = algorithm.hasher()
    hasher.update(CHECK[:4])
    hasher.update(CHECK[4:])
    assert hasher.digest().hex() == SERIAL_CHECK_VALUES[name]


@pytest.mark.parametrize("algorithm", SERIAL, ids=lambda a: a.name)
def test_a_serial_hash_is_read_as_s3_writes_it(algorithm: Algorithm) -> None:
    """Over the object's bytes, and over parts; other widths are none."""
    whole = SourceChecksum(algorithm.name, algorithm.digest(CHECK))
    text = checksums.to_s3(whole)
    assert checksums.serial({algorithm.name: text}) == (whole,)
    assert checksums.serial({algorithm.name: f"{text}-3"}) == (replace(whole, parts=3),)
    assert checksums.serial({algorithm.name: "AAAA"}) == ()


def test_azure_is_little_endian_and_s3_big_endian() -> None:
    """The same value in the headers of both services."""
    value = 0xAE8B14860A799888
    assert base64.b64decode(checksums.to_azure(value)) == bytes.fromhex("8898790a86148bae")
    assert checksums.to_azure(value) == "iJh5CoYUi64="
    assert checksums.to_s3(SourceChecksum("crc64nvme", value)) == "rosUhgp5mIg="
    assert checksums.to_s3(SourceChecksum("crc32", 0xCBF43926)) == "y/Q5Jg=="


@pytest.mark.parametrize("algorithm", FOLDABLE, ids=lambda a: a.name)
@given(data=st.binary(max_size=400), cuts=st.lists(st.integers(1, 399), max_size=6))
def test_combined_blocks_give_the_objects_checksum(algorithm: Algorithm, data: bytes, cuts: list[int]) -> None:
    """The combined digests of the blocks are the digest of the object, for every layout."""
    edges = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
    blocks = [block(data[start:end], start, algorithm) for start, end in pairwise(edges)]
    assert fold(blocks, algorithm) == algorithm.digest(memoryview(data))


def test_combined_crc32_is_zlibs() -> None:
    """Another implementation gives the same value."""
    data = bytes(range(256)) * 5
    blocks = [block(data[i : i + 100], i, CRC32) for i in range(0, len(data), 100)]
    assert fold(blocks, CRC32) == zlib.crc32(data)


@given(st.lists(st.binary(min_size=1, max_size=40), min_size=2, max_size=5), st.randoms(use_true_random=False))
def test_combination_notices_order_and_damage(pieces: list[bytes], random: object) -> None:
    """Blocks in another order, or one flipped bit, give another value unless the bytes are the same."""
    whole = b"".join(pieces)
    swapped = [pieces[1], pieces[0], *pieces[2:]]
    starts = [sum(map(len, swapped[:i])) for i in range(len(swapped))]
    folded = fold([block(p, s, CRC64NVME) for p, s in zip(swapped, starts, strict=True)], CRC64NVME)
    assert (folded == CRC64NVME.digest(memoryview(whole))) == (b"".join(swapped) == whole)
    flipped = bytes([pieces[0][0] ^ 1]) + pieces[0][1:]
    damaged = [block(p, s, CRC64NVME) for p, s in zip([flipped, *pieces[1:]], [0] * len(pieces), strict=True)]
    assert fold(damaged, CRC64NVME) != CRC64NVME.digest(memoryview(whole))


class TestSecondDigest:
    """The 16 bytes of a block id for a digest besides the CRC64."""

    def test_it_names_its_algorithm(self) -> None:
        """A CRC32 is never read as a CRC32C, and a value of zero is not read as absent."""
        zero = memoryview(b"\x9d\x0a\xd9\x6d")
        assert CRC32.digest(zero) == 0
        second = second_digest(CRC32, zero)
        assert second != NO_SECOND
        staged = StagedBlock(0, 4, 0, second, b"f" * 8)
        assert carries(staged, CRC32)
        assert not carries(staged, CRC32C)
        assert carries(staged, None)

    @pytest.mark.parametrize("algorithm", [CRC32, CRC32C], ids=lambda a: a.name)
    @given(data=st.binary(max_size=50))
    def test_it_has_sixteen_bytes(self, algorithm: Algorithm, data: bytes) -> None:
        """It always has 16 bytes; the value is in the last eight."""
        second = second_digest(algorithm, memoryview(data))
        assert len(second) == 16
        assert int.from_bytes(second[8:], "big") == algorithm.digest(memoryview(data))

    def test_it_exists_only_if_the_verification_needs_it(self) -> None:
        """CRC64NVME needs none, and neither does an object without a checksum."""
        assert checksums.second_of(None) is None
        assert checksums.second_of(SourceChecksum("crc64nvme", 1)) is None
        assert checksums.second_of(SourceChecksum("crc32", 1)) is CRC32
        assert second_digest(None, CHECK) == NO_SECOND


@pytest.mark.parametrize("algorithm", FOLDABLE, ids=lambda a: a.name)
@given(data=st.data())
def test_s3s_text_comes_back(algorithm: Algorithm, data: st.DataObject) -> None:
    """A checksum that S3 writes is read and written back unchanged."""
    value = data.draw(st.integers(0, 2 ** (8 * algorithm.width_bytes) - 1))
    checksum = SourceChecksum(algorithm.name, value)
    assert checksums.from_s3(algorithm.name, checksums.to_s3(checksum)) == checksum


@pytest.mark.parametrize("text", ["", "y/Q5Jg==-3", "y/Q5Jg", "AAAA", "rosUhgp5mIg=", "é", "y/Q5 Jg=="])
def test_other_texts_are_no_full_object_checksum(text: str) -> None:
    """A composite checksum, another length or noise is None, and never an error."""
    assert checksums.from_s3("crc32", text) is None


@given(st.text(max_size=20))
def test_any_header_is_a_checksum_or_none(text: str) -> None:
    """No text of a server raises an error."""
    for name in checksums.ALGORITHMS:
        found = checksums.from_s3(name, text)
        assert found is None or found.algorithm == name


def test_the_strongest_usable_checksum_is_taken() -> None:
    """A stronger one that cannot be read is passed over."""
    offered = {"crc32": "y/Q5Jg==", "crc32c": "4waSgw==", "crc64nvme": "rosUhgp5mIg="}
    assert checksums.strongest(offered) == SourceChecksum("crc64nvme", 0xAE8B14860A799888)
    assert checksums.strongest(offered | {"crc64nvme": "junk"}) == SourceChecksum("crc32c", 0xE3069283)
    assert checksums.strongest({"crc32": "y/Q5Jg==-2"}) is None
    assert checksums.strongest({}) is None


LEVEL_ORDER = ["crc64nvme", "crc32c", "crc32", "transport"]


@pytest.mark.parametrize("minimum", LEVEL_ORDER)
@pytest.mark.parametrize("offered", LEVEL_ORDER)
def test_a_level_suffices_if_it_is_the_minimum_or_stronger(minimum: str, offered: str) -> None:
    """A weaker level raises IntegrityUnavailable."""
    checksum = None if offered == "transport" else SourceChecksum(offered, 1)
    if LEVEL_ORDER.index(offered) <= LEVEL_ORDER.index(minimum):
        checksums.require(minimum, checksum, key="k")
    else:
        with pytest.raises(IntegrityUnavailable, match=offered):
            checksums.require(minimum, checksum, key="k")
    checksums.require("auto", checksum, key="k")


@pytest.mark.parametrize("parts", [1, 2, 9_999, 10_000])
def test_composite_checksums_are_read_with_their_parts(parts: int) -> None:
    """``<base64>-<parts>``, for objects of 1 to 10,000 parts, strongest first; other algorithms are ignored."""
    text = base64.b64encode(CHECK_VALUES[CRC32].to_bytes(4, "big")).decode()
    stronger = base64.b64encode(CHECK_VALUES[CRC32C].to_bytes(4, "big")).decode()
    found = checksums.partwise({"crc32": f"{text}-{parts}", "crc32c": f"{stronger}-{parts}", "sha1": f"x-{parts}"})
    assert found == (
        SourceChecksum("crc32c", CHECK_VALUES[CRC32C], parts=parts),
        SourceChecksum("crc32", CHECK_VALUES[CRC32], parts=parts),
    )
    assert [checksums.proven_by(checksum) for checksum in found] == ["crc32c_composite", "crc32_composite"]
    assert [checksums.to_s3(checksum) for checksum in found] == [f"{stronger}-{parts}", f"{text}-{parts}"]


def test_the_weaker_of_two_composite_checksums_counts_alone() -> None:
    """An object that was uploaded with CRC32 only has no CRC32C."""
    text = checksums.to_s3(SourceChecksum("crc32", 7))
    assert checksums.partwise({"crc32": f"{text}-3"}) == (SourceChecksum("crc32", 7, parts=3),)


@pytest.mark.parametrize("count", ["", "0", "10001", "100000", "1x", "-1", "٣"])
def test_other_counts_are_no_composite_checksum(count: str) -> None:
    """A text without a count, or with one that S3 never gives, is None."""
    text = base64.b64encode(bytes(4)).decode()
    assert checksums.partwise({"crc32": f"{text}-{count}"}) == ()
    assert checksums.partwise({"crc32": text}) == ()


def test_the_error_names_the_required_level_and_the_object() -> None:
    """The reader of a report needs both."""
    with pytest.raises(IntegrityUnavailable) as refused:
        checksums.require("crc64nvme", None, key="a/b")
    assert (refused.value.attributes["required"], refused.value.attributes["key"]) == ("crc64nvme", "a/b")
