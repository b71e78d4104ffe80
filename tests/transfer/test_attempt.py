"""``CopyStats`` counts what one copy does, and makes its receipt."""

from collections.abc import Iterator
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from s3_to_azure.model.errors import ConnectionFailed, Throttled
from s3_to_azure.model.objects import ObjectVersion, Receipt, SourceChecksum
from s3_to_azure.model.progress import Progress
from s3_to_azure.transfer import attempt as module
from s3_to_azure.transfer.attempt import CopyStats
from s3_to_azure.transfer.context import TransferContext
from tests.fakes.contexts import BUCKET, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH, MemorySource

VERSION = ObjectVersion(BUCKET, "a/key", "etag", 12, EPOCH, checksum=SourceChecksum("crc32c", 7))
LOST = ConnectionFailed(service="Azure", resource="b", detail="reset")


@pytest.fixture
def context() -> Iterator[TransferContext]:
    """Return a context with a progress to read."""
    with transfer_context(MemorySource(BUCKET), MemoryDestination(), progress=Progress()) as opened:
        yield opened


def test_receipt_has_every_field(context: TransferContext, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every field of a receipt comes from the counts or from the version that was copied."""
    clock = iter([100.0, 102.3456])
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    stats = CopyStats(context, task("a/key", blob="b/lob"), 3)
    stats.started_at = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
    for _ in range(2):
        stats.add_retry(LOST)
        stats.add_sent(4)
    stats.add_resumed(5, 6)
    receipt = stats.receipt(VERSION, "copied", blocks=8, reason="metadata_dropped", verified_by="crc32c")
    assert receipt == Receipt(
        bucket=BUCKET,
        key="a/key",
        etag="etag",
        size_bytes=12,
        container=context.destination.container,
        blob="b/lob",
        status="copied",
        reason="metadata_dropped",
        verified_by="crc32c",
        checksum="crc32c:AAAABw==",
        blocks=8,
        blocks_resumed=5,
        bytes_sent=8,
        retries=2,
        seconds=2.346,
        started_at="2026-01-02T03:04:05.678+00:00",
        try_number=3,
    )


def test_receipt_without_any_work_claims_nothing(context: TransferContext) -> None:
    """A receipt of an object that was not verified has no checksum, and its counts are zero."""
    before = datetime.now(UTC)
    receipt = CopyStats(context, task("a/key"), 1).receipt(VERSION, "skipped")
    assert (receipt.reason, receipt.verified_by, receipt.checksum) == ("", "", "")
    assert (receipt.blocks, receipt.blocks_resumed, receipt.bytes_sent, receipt.retries) == (0, 0, 0, 0)
    assert before.replace(microsecond=0) <= datetime.fromisoformat(receipt.started_at) <= datetime.now(UTC)


def test_progress_counts_retries_sent_and_resumed(context: TransferContext) -> None:
    """A copy adds to the task's progress, except for bytes that a batch adds to it in one sum."""
    stats = CopyStats(context, task("a/key"), 1)
    for _ in range(2):
        stats.add_retry(LOST)
        stats.add_sent(4)
        stats.add_sent_without_progress(100)
    stats.add_resumed(1, 30)
    seen = context.progress.snapshot()
    assert (seen.retries, seen.slow_downs, seen.bytes_sent, seen.bytes_resumed) == (2, 0, 8, 30)
    stats.add_retry(Throttled(service="Azure", code="ServerBusy", retry_after_s=None))
    seen = context.progress.snapshot()
    assert (seen.retries, seen.slow_downs, seen.retries_text()) == (3, 1, "3 retries, 1 of them throttled")
    assert stats.receipt(VERSION, "copied").bytes_sent == 208


def test_blocks_of_both_ways_are_counted_once_azure_fetches(context: TransferContext) -> None:
    """A streamed copy counts none; one that begins fetched and ends streamed counts both, with the reason."""
    stats = CopyStats(context, task("a/key"), 1)
    stats.add_sent(4)
    plain = stats.receipt(VERSION, "copied")
    assert (plain.via, plain.blocks_fetched, plain.blocks_streamed, plain.not_fetched) == ("worker", 0, 0, "")
    stats.begin_fetching()
    assert stats.receipt(VERSION, "copied").via == "azure", "all blocks may have been in Azure already"
    stats.is_streamed("source_unreachable")
    assert stats.receipt(VERSION, "copied").via == "worker"
    stats.add_fetched(5)
    stats.add_sent(3)
    receipt = stats.receipt(VERSION, "copied")
    assert (receipt.via, receipt.blocks_fetched, receipt.blocks_streamed) == ("azure", 1, 1)
    assert (receipt.not_fetched, receipt.bytes_sent) == ("source_unreachable", 12)
    assert context.progress.snapshot().bytes_sent == 12
    assert context.progress.snapshot().bytes_read == 5, "what a worker reads, its pipeline counts"
