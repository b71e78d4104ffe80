"""An ETag that looks like an MD5 and is none: it fails the object by default, and ``etag_is_md5="no"`` ignores it."""

from dataclasses import replace

import pytest

from s3_to_azure.model.checksums import CRC32C
from s3_to_azure.model.errors import IntegrityError, IntegrityUnavailable, UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import PartSizes, SourceChecksum
from s3_to_azure.model.settings import Fidelity
from s3_to_azure.transfer.object import copy_object
from s3_to_azure.transfer.verify import verify_object
from tests.fakes.contexts import BUCKET, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.odd_sources import InParts

DATA = some_bytes(3 * MIB + 1)
SMALL = some_bytes(1_000)
IGNORED = Fidelity(etag_is_md5="no")


def store_with(data: bytes, *, parts: int) -> InParts:
    """Return a store whose object has an ETag of that form, which is no MD5 of its bytes."""
    source = InParts(BUCKET)
    source.sizes = (2 * MIB, len(data) - 2 * MIB) if parts else (len(data),)
    source.put(BUCKET, "k", data, checksum=None)
    source.change(BUCKET, "k", weaker=(SourceChecksum("md5", 1234, parts=parts),))
    return source


@pytest.mark.parametrize(("data", "parts"), [(SMALL, 0), (DATA, 0), (DATA, 2)], ids=["small", "large", "in parts"])
def test_ignored_etags_fail_nothing(data: bytes, parts: int) -> None:
    """The copy is verified by its transfer, and the error of before names the setting."""
    source, destination = store_with(data, parts=parts), MemoryDestination()
    with transfer_context(source, destination) as context, pytest.raises(IntegrityError, match="etag_is_md5=no"):
        copy_object(context, task())
    assert not destination.blobs
    with transfer_context(source, destination, fidelity=IGNORED) as context:
        receipt = copy_object(context, task())
    assert (receipt.status, receipt.verified_by, receipt.checksum) == ("copied", "transport", "")
    assert destination.blobs["k"].data == data
    assert destination.blobs["k"].metadata["s3_verified_by"] == "transport"


def test_parts_are_not_looked_up_for_an_ignored_etag() -> None:
    """The look-up would serve nothing."""

    class Silent(InParts):
        def part_sizes(self, *_: object, **__: object) -> PartSizes | None:
            raise AssertionError

    source = Silent(BUCKET)
    source.put(BUCKET, "k", DATA, checksum=None)
    source.change(BUCKET, "k", weaker=(SourceChecksum("md5", 1234, parts=2),))
    with transfer_context(source, MemoryDestination(), fidelity=IGNORED) as context:
        assert copy_object(context, task()).verified_by == "transport"


def test_other_checksums_still_count() -> None:
    """Only the ETag is ignored: a checksum of the bytes is compared, and a required level is required."""
    source = store_with(DATA, parts=0)
    crc = SourceChecksum("crc32c", CRC32C.digest(memoryview(DATA)))
    source.change(BUCKET, "k", checksum=crc)
    with transfer_context(source, MemoryDestination(), fidelity=IGNORED) as context:
        assert copy_object(context, task()).verified_by == "crc32c"
    source.change(BUCKET, "k", checksum=replace(crc, value=crc.value ^ 1))
    with transfer_context(source, MemoryDestination(), fidelity=IGNORED) as context, pytest.raises(IntegrityError):
        copy_object(context, task())
    source.change(BUCKET, "k", checksum=None)
    required = {"fidelity": IGNORED, "integrity": "md5"}
    with transfer_context(source, MemoryDestination(), **required) as context, pytest.raises(IntegrityUnavailable):
        copy_object(context, task())


def test_a_second_reading_takes_the_place_of_an_ignored_etag() -> None:
    """``integrity="reread"`` verifies such objects."""
    with transfer_context(
        store_with(SMALL, parts=0), MemoryDestination(), fidelity=IGNORED, integrity="reread"
    ) as context:
        assert copy_object(context, task()).verified_by == "reread"


def test_verify_reads_both_sides_for_an_ignored_etag() -> None:
    """By default the ETag makes an equal blob ``different``."""
    source, destination = store_with(SMALL, parts=0), MemoryDestination()
    with transfer_context(source, destination, fidelity=IGNORED) as context:
        copy_object(context, task())
        result = verify_object(context, task())
    assert (result.status, result.verified_by) == ("equal", "reread")
    with transfer_context(source, destination) as context:
        assert verify_object(context, task()).status == "different"


def test_other_values_are_refused() -> None:
    """The error names the choice and its values."""
    with pytest.raises(UsageError, match=r"etag_is_md5='yes' is not one of auto, no"):
        Fidelity.of({"etag_is_md5": "yes"})
