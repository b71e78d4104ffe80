"""The verification of one copy: its level, the parts, the second reading, the comparison, the blob read back."""

import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from s3_to_azure.model import checksums
from s3_to_azure.model.errors import (
    ConnectionFailed,
    IntegrityError,
    IntegrityUnavailable,
    TransientError,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import ObjectVersion, PartSizes, SourceChecksum
from s3_to_azure.transfer.blocks import NO_SECOND, Layout, StagedBlock
from s3_to_azure.transfer.context import TransferContext
from s3_to_azure.transfer.integrity import (
    MAX_SERIAL_BLOCK_BYTES,
    IntegrityCheck,
    checksum_text,
    content_md5,
    fold_blocks,
    matches,
    require_match,
)
from tests.fakes.contexts import BUCKET, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH, MemorySource

WHOLE = SourceChecksum("crc64nvme", 1)
COMPOSITE = SourceChecksum("crc32c", 1, parts=2)
OF_TWO_PARTS = ObjectVersion(BUCKET, "k", "etag", 10, EPOCH, checksum=COMPOSITE)
GUESSED = PartSizes((5, 5), certain=False)


class Parts(MemorySource):
    """Reports part sizes, and records how it was asked for them."""

    def __init__(self, quick: PartSizes | None, each: PartSizes | None = None) -> None:
        """Report ``quick`` as the usual answer, and ``each`` where every part is looked up."""
        super().__init__(BUCKET)
        self._answers = {False: quick, True: each}
        self.asked: list[tuple[str, bool]] = []
        self.failures: list[TransientError] = []

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        """Return the answer, or raise the next failure."""
        self.asked.append((version.etag, each))
        if self.failures:
            raise self.failures.pop()
        return self._answers[each]


@pytest.fixture
def context() -> Iterator[TransferContext]:
    """Return the context of an empty bucket and an empty container."""
    with transfer_context(MemorySource(BUCKET), MemoryDestination()) as opened:
        yield opened


def check_of(context: TransferContext) -> IntegrityCheck:
    """Return the check of a copy that has just begun."""
    return IntegrityCheck(context, context.retrier)


def test_version_gets_the_checksum_of_its_level(context: TransferContext) -> None:
    """Without its parts' sizes the strongest checksum cannot be used, so the next one verifies the copy."""
    offered = replace(OF_TWO_PARTS, weaker=(SourceChecksum("md5", 7),))
    version, level = check_of(context).at_its_level(offered)
    assert version.checksum == level.checksum == SourceChecksum("md5", 7)
    assert replace(version, checksum=COMPOSITE) == offered


def test_required_level_names_the_object() -> None:
    """A copy whose checksum is weaker than the user requires is refused."""
    with transfer_context(Parts(None), MemoryDestination(), integrity="crc32c") as context:
        assert check_of(context).at_its_level(replace(OF_TWO_PARTS, checksum=WHOLE))[1].checksum == WHOLE
        with pytest.raises(IntegrityUnavailable) as caught:
            check_of(context).at_its_level(OF_TWO_PARTS)
    assert caught.value.attributes["key"] == "k"


@pytest.mark.parametrize(
    ("budget_bytes", "size_bytes", "proven"),
    [
        (8 * MIB, 8 * MIB, True),
        (8 * MIB, 8 * MIB + 1, False),
        (MAX_SERIAL_BLOCK_BYTES + MIB, MAX_SERIAL_BLOCK_BYTES, True),
        (MAX_SERIAL_BLOCK_BYTES + MIB, MAX_SERIAL_BLOCK_BYTES + 1, False),
    ],
)
def test_md5_needs_the_object_in_memory(budget_bytes: int, size_bytes: int, proven: bool) -> None:
    """An MD5 verifies no object larger than the budget or than 64 MiB."""
    md5 = SourceChecksum("md5", 7)
    with transfer_context(MemorySource(BUCKET), MemoryDestination(), memory_budget_bytes=budget_bytes) as context:
        given = replace(OF_TWO_PARTS, size_bytes=size_bytes, checksum=None, weaker=(md5,))
        assert check_of(context).at_its_level(given)[0].checksum == (md5 if proven else None)


def test_parts_are_looked_up_once_per_version() -> None:
    """The sizes of the parts are kept until the object has a new version."""
    source = Parts(GUESSED)
    with transfer_context(source, MemoryDestination()) as context:
        gathered = check_of(context)
        assert gathered.at_its_level(OF_TWO_PARTS)[1].edges == (5,)
        assert gathered.at_its_level(OF_TWO_PARTS)[1].guessed
        gathered.at_its_level(replace(OF_TWO_PARTS, etag="another"))
    assert source.asked == [("etag", False), ("another", False)]


def test_failed_lookup_of_parts_is_repeated(caplog: pytest.LogCaptureFixture) -> None:
    """The retry's log line says that the parts were looked up."""
    source = Parts(GUESSED)
    source.failures = [ConnectionFailed(service="S3", resource="k", detail="reset")]
    with transfer_context(source, MemoryDestination()) as context, caplog.at_level(logging.WARNING):
        check_of(context).at_its_level(OF_TWO_PARTS)
    assert len(source.asked) == 2
    assert " to look up the parts of 'k' failed" in caplog.text


class TestGuessedWrong:
    """After a mismatch: whether the guessed sizes of the parts were wrong."""

    @pytest.mark.parametrize(
        ("quick", "each", "wrong"),
        [
            (GUESSED, PartSizes((4, 6), certain=True), True),
            (GUESSED, PartSizes((5, 5), certain=True), False),
            (GUESSED, None, True),
            (PartSizes((5, 5), certain=True), None, False),
            (None, None, False),
        ],
    )
    def test_object_in_parts(self, quick: PartSizes | None, each: PartSizes | None, wrong: bool) -> None:
        """Every part is looked up only where the sizes were guessed."""
        source = Parts(quick, each)
        with transfer_context(source, MemoryDestination()) as context:
            assert check_of(context).parts_were_guessed_wrong(OF_TWO_PARTS) is wrong
        looked = quick is not None and not quick.certain
        assert source.asked == [("etag", False)] + [("etag", True)] * looked

    @pytest.mark.parametrize("checksum", [None, WHOLE, replace(COMPOSITE, parts=1)])
    def test_object_without_parts_needs_no_lookup(self, checksum: SourceChecksum | None) -> None:
        """An object in one part has nothing to guess, and no request is sent."""
        source = Parts(GUESSED, PartSizes((4, 6), certain=True))
        with transfer_context(source, MemoryDestination()) as context:
            assert not check_of(context).parts_were_guessed_wrong(replace(OF_TWO_PARTS, checksum=checksum))
        assert source.asked == []

    def test_looked_up_sizes_are_kept(self) -> None:
        """After the lookup the level has the real edges."""
        source = Parts(GUESSED, PartSizes((4, 6), certain=True))
        with transfer_context(source, MemoryDestination()) as context:
            gathered = check_of(context)
            assert gathered.parts_were_guessed_wrong(OF_TWO_PARTS)
            level = gathered.at_its_level(OF_TWO_PARTS)[1]
            assert (level.edges, level.guessed) == ((4,), False)
            assert not gathered.parts_were_guessed_wrong(OF_TWO_PARTS)


@pytest.mark.parametrize(
    ("integrity", "checksum", "needed"),
    [("reread", None, True), ("reread", WHOLE, False), ("auto", None, False), ("transport", None, False)],
)
def test_second_reading_only_on_request(integrity: str, checksum: SourceChecksum | None, needed: bool) -> None:
    """A second reading is needed only where S3 stores no checksum and the user asks for it."""
    with transfer_context(MemorySource(BUCKET), MemoryDestination(), integrity=integrity) as context:
        assert check_of(context).needs_second_reading(replace(OF_TWO_PARTS, checksum=checksum)) is needed


@pytest.mark.parametrize(
    ("integrity", "of_parts", "without"),
    [
        ("auto", "crc32c_composite", "transport"),
        ("reread", "crc32c_composite", "reread"),
        ("readback", "crc32c_composite", "transport"),
    ],
)
def test_names_in_receipt_and_metadata(integrity: str, of_parts: str, without: str) -> None:
    """Both name the level or the second reading; only the receipt adds the read-back, once it was made."""
    plain = replace(OF_TWO_PARTS, checksum=None)
    with transfer_context(MemorySource(BUCKET), MemoryDestination(), integrity=integrity) as context:
        gathered = check_of(context)
        assert gathered.verified_by(OF_TWO_PARTS) == gathered.level_name(OF_TWO_PARTS) == of_parts
        assert gathered.verified_by(plain) == gathered.level_name(plain) == without
        assert gathered.needs_read_back(plain) is (integrity == "readback")
        empty = replace(plain, size_bytes=0)
        assert not gathered.needs_read_back(empty)
        assert gathered.verified_by(empty) == (f"{without}+readback" if integrity == "readback" else without)
        gathered.record_read_back()
        assert gathered.verified_by(plain) == f"{without}+readback"
        assert gathered.level_name(plain) == without


def version(value: int | None) -> ObjectVersion:
    """Return a version whose crc64nvme S3 stores, or none."""
    stored = None if value is None else SourceChecksum("crc64nvme", value)
    return ObjectVersion("bucket", "a/key", "e", 10, datetime(2026, 1, 1, tzinfo=UTC), checksum=stored)


def of(stored: SourceChecksum | None) -> ObjectVersion:
    """Return a version with this checksum."""
    return replace(version(None), checksum=stored)


def test_invariant_3_mismatch_names_object_and_both_checksums() -> None:
    """The error has the key, the checksum that S3 stores, and that of the bytes that were read."""
    with pytest.raises(IntegrityError) as caught:
        require_match(version(1), 2)
    attributes = caught.value.attributes
    assert (attributes["key"], attributes["algorithm"]) == ("a/key", "crc64nvme")
    assert attributes["expected"] == checksums.to_s3(SourceChecksum("crc64nvme", 1))
    assert attributes["actual"] == checksums.to_s3(SourceChecksum("crc64nvme", 2))


@pytest.mark.parametrize(("stored", "actual", "equal"), [(7, 7, True), (7, 8, False), (None, 0, True)])
def test_match_or_missing_checksum_is_accepted(stored: int | None, actual: int, equal: bool) -> None:
    """Only bytes that differ from a stored checksum are refused."""
    assert matches(version(stored), actual) is equal
    if equal:
        require_match(version(stored), actual)


def test_checksum_text() -> None:
    """The text is the checksum's name and S3's own encoding, or empty."""
    assert checksum_text(of(SourceChecksum("crc32c", 7))) == "crc32c:AAAABw=="
    assert checksum_text(of(None)) == ""


@pytest.mark.parametrize(
    ("stored", "md5"),
    [
        (SourceChecksum("md5", 0x0102), b"\0" * 14 + b"\1\2"),
        (SourceChecksum("md5", 0x0102, parts=2), None),
        (SourceChecksum("crc64nvme", 0x0102), None),
        (None, None),
    ],
)
def test_content_md5(stored: SourceChecksum | None, md5: bytes | None) -> None:
    """The MD5 of the bytes is known only where it verified the whole object; an MD5 over parts is another value."""
    assert content_md5(of(stored)) == md5


def test_fold_without_checksum_and_of_incomplete_blocks() -> None:
    """Without a stored checksum the fold is 0; an incomplete set is a fault of this program."""
    layout = Layout(2, 1)
    held = {start: StagedBlock(start, start + 1, 9, NO_SECOND, b"m" * 8) for start in (0, 1)}
    assert fold_blocks(of(None), layout, held) == 0
    with pytest.raises(AssertionError, match="only a complete chain is combined"):
        fold_blocks(of(None), layout, {0: held[0]})
