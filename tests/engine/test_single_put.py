"""An object in one request: its bytes are proven in memory before a Put Blob makes them visible."""

import logging

import pytest

from s3_to_azure.model.errors import IntegrityError, RereadDiffers
from s3_to_azure.model.objects import PartSizes
from s3_to_azure.transfer.object import copy_object
from tests.engine.workshops import BUCKET, task, workshop
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.odd_sources import Differing, InParts

DATA = b"0123456789"


@pytest.fixture
def destination() -> MemoryDestination:
    """Return an empty container."""
    return MemoryDestination()


@pytest.mark.parametrize(
    ("flips", "readings"), [({}, 2), ({1: 1}, 3), ({2: 1}, 0), ({1: 1, 2: 1}, 2), ({1: 1, 2: 2, 3: 3}, 0)]
)
def test_reread(flips: dict[int, int], readings: int, destination: MemoryDestination) -> None:
    """Two readings in a row must be alike; after the third one it ends, with nothing written."""
    source = Differing(BUCKET)
    source.put(BUCKET, "k", DATA, checksum=None)
    source.flips = flips
    with workshop(source, destination, integrity="reread") as shop:
        if readings:
            assert copy_object(shop, task()).verified_by == "reread"
            assert destination.blobs["k"].metadata["s3_verified_by"] == "reread"
        else:
            with pytest.raises(RereadDiffers) as caught:
                copy_object(shop, task())
            assert caught.value.attributes["key"] == "k"
            assert destination.blobs == {}
    assert source.readings == (readings or 3)


def test_one_damaged_reading(destination: MemoryDestination, caplog: pytest.LogCaptureFixture) -> None:
    """It is read again, and the log says why."""
    source = Differing(BUCKET)
    source.put(BUCKET, "k", DATA)
    source.flips = {1: 1}
    with workshop(source, destination) as shop:
        copy_object(shop, task())
    assert destination.blobs["k"].data == DATA
    assert caplog.messages == ["The bytes of 'k' do not fit S3's checksum: reading it again"]


def test_a_second_mismatch_is_final(destination: MemoryDestination) -> None:
    """What S3 gives twice is what it holds."""
    source = Differing(BUCKET)
    source.put(BUCKET, "k", DATA)
    source.flips = {1: 1, 2: 2}
    with workshop(source, destination) as shop, pytest.raises(IntegrityError):
        copy_object(shop, task())
    assert source.readings == 2


@pytest.mark.parametrize("guess", [None, (4, 6), (5, 5)])
def test_in_parts(guess: tuple[int, ...] | None, destination: MemoryDestination) -> None:
    """Proven part by part from one reading, even where the parts are not as the first and the last suggest."""
    source = InParts(BUCKET)
    source.put_parts(BUCKET, "k", DATA, (4, 6))
    source.guess = PartSizes(guess, certain=False) if guess else None
    with workshop(source, destination) as shop:
        receipt = copy_object(shop, task(listed=source.listed(BUCKET, "k")))
    assert (receipt.status, receipt.verified_by) == ("copied", "crc32c_composite")
    assert source.bytes_served == len(DATA)


def test_blocks_left_over(destination: MemoryDestination, caplog: pytest.LogCaptureFixture) -> None:
    """They stand in the way of a Put Blob: the object goes as blocks, cut along its parts."""
    source = InParts(BUCKET)
    source.put_parts(BUCKET, "k", DATA, (4, 6))
    destination.stage_foreign("k", b"x" * 52, b"left over")
    with workshop(source, destination) as shop, caplog.at_level(logging.INFO):
        receipt = copy_object(shop, task(listed=source.listed(BUCKET, "k")))
    assert (receipt.blocks, receipt.verified_by) == (2, "crc32c_composite")
    assert destination.blobs["k"].data == DATA
    assert "Blob 'k' has uncommitted blocks left over: taking the block path" in caplog.messages
