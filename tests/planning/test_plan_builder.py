"""Decisions that rest on what a blob's metadata says: only a record that fits counts, and nobody is locked out."""

from datetime import timedelta

import pytest

from s3_to_azure.model.errors import BlobOfAnotherObject
from s3_to_azure.model.limits import MIB
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.state.plan import LeftOut, read_left_out
from tests.fakes.contexts import BUCKET
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH, MemorySource
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import Night


@pytest.fixture
def night() -> Night:
    """Return a run over two folders into the same one."""
    source = MemorySource(BUCKET)
    source.put(BUCKET, "2025/index.csv", b"all of 2025", last_modified=EPOCH)
    source.put(BUCKET, "2026/index.csv", b"all of 2026!", last_modified=EPOCH + timedelta(days=1))
    settings = PlanSettings(s3_prefix="2025/", blob_prefix="in/")
    return Night(source, MemoryDestination(), MemoryState(), BUCKET, settings)


def left_out(night: Night, token: str) -> dict[str, LeftOut]:
    """Return what a plan left out, by key."""
    return {item.key: item for item in read_left_out(night.files, token)}


@pytest.mark.parametrize("size_bytes", [12, 3 * MIB], ids=["small", "split"])
def test_another_objects_blob_is_not_an_older_version(night: Night, size_bytes: int) -> None:
    """Two migrations into one prefix do not take each other's objects: the second fails in words, and loses nothing."""
    assert isinstance(night.source, MemorySource)
    night.source.put(BUCKET, "2026/index.csv", bytes(size_bytes), last_modified=EPOCH + timedelta(days=1))
    night.run()
    second = night.with_settings(s3_prefix="2026/", split_bytes=MIB, batch_bytes=MIB, block_bytes=MIB)
    second.files = MemoryState()
    plan, _, report = second.run()
    item = left_out(second, plan.token)["2026/index.csv"]
    assert item.reason.startswith(f"{BlobOfAnotherObject.reason()}: the blob is a copy of another S3 object")
    assert any("two migrations write to the same names" in warning for warning in plan.warnings)
    assert report.failed
    night.files = MemoryState()
    _, _, report = night.run()
    assert report.total("unchanged").objects == 1
    assert isinstance(night.destination, MemoryDestination)
    assert night.destination.blobs["in/index.csv"].data == b"all of 2025"


def test_always_replaces_another_objects_blob(night: Night) -> None:
    """What the user asks for by name happens, as for a bucket that has moved."""
    night.run()
    moved = night.with_settings(s3_prefix="2026/", overwrite="always")
    moved.files = MemoryState()
    plan, _, report = moved.run()
    assert report.total("copied").objects == 1
    (warning,) = plan.warnings
    assert warning.startswith(
        "1 object whose blob is a copy of another S3 object and is replaced, because of overwrite"
    )
    assert isinstance(night.destination, MemoryDestination)
    assert night.destination.blobs["in/index.csv"].data == b"all of 2026!"


def test_an_edited_record_neither_counts_nor_breaks_the_run(night: Night) -> None:
    """Whatever text the record holds: the object is unchanged, without a proof, and the report is written."""
    night.run()
    assert isinstance(night.destination, MemoryDestination)
    metadata = night.destination.blobs["in/index.csv"].metadata
    metadata |= {"s3_verified_by": "checked by " + "x" * 150, "s3_checksum": "y" * 300, "s3_source": "\n"}
    night.files = MemoryState()
    plan, _, report = night.run()
    item = left_out(night, plan.token)["2025/index.csv"]
    assert (item.status, item.verified_by, item.checksum) == ("unchanged", "", "")
    assert report.total("unchanged").objects == 1


def test_a_required_level_copies_a_weaker_blob_again(night: Night) -> None:
    """A record that proves less than this run requires, or was edited, is no reason to leave the object out."""
    night.run()
    strict = night.with_settings(integrity="crc64nvme")
    for verified_by, copied in (("crc64nvme", 0), ("transport", 1), ("my tool", 1)):
        assert isinstance(night.destination, MemoryDestination)
        night.destination.blobs["in/index.csv"].metadata["s3_verified_by"] = verified_by
        strict.files = MemoryState()
        plan, _, report = strict.run()
        assert (plan.copy.objects, report.total("copied").objects) == (copied, copied)
        assert night.destination.blobs["in/index.csv"].metadata["s3_verified_by"] == "crc64nvme"


@pytest.mark.parametrize("level", ["damaged", "readback_pending"])
@pytest.mark.parametrize("overwrite", ["if_changed", "never", "always"])
def test_an_unproven_blob_is_copied_again(night: Night, level: str, overwrite: str) -> None:
    """A copy's own unfinished work is finished, by any policy: no reader has been promised that blob."""
    night.run()
    assert isinstance(night.destination, MemoryDestination)
    night.destination.blobs["in/index.csv"].metadata["s3_verified_by"] = level
    again = night.with_settings(overwrite=overwrite)
    again.files = MemoryState()
    _, _, report = again.run()
    assert report.total("copied").objects == 1
    assert night.destination.blobs["in/index.csv"].metadata["s3_verified_by"] == "crc64nvme"
