"""Receipts in state files: written in time, whatever happens, and validated when they are read."""

import gzip
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from s3_to_azure.model.errors import Cancelled, CorruptState, ReadbackDiffers, ServerFailed
from s3_to_azure.model.objects import RECEIPT_FIELDS, Receipt
from s3_to_azure.state.lines import HEADER, LinesWriter
from s3_to_azure.state.plan import BatchDescriptor
from s3_to_azure.state.receipts import (
    CHUNK_RECEIPTS,
    ReceiptLine,
    ReceiptWriter,
    folder_of,
    note_try,
    read_receipts,
    settles,
    stronger,
    was_found_damaged,
)
from tests.fakes.state_memory import MemoryState, MemoryStateWriter

BATCH = BatchDescriptor("0123456789abcdef", 7, 0, 1, "a" * 64, 1, 1, "objects")
RECEIPT = Receipt("bucket", "a/é", "etag", 3, "container", "b/é", "copied", "", "crc64nvme", "crc64nvme:A=", 1)


class FailingState(MemoryState):
    """Fails the next writes, as many as ``failures``."""

    failures = 0

    @contextmanager
    def write(self, name: str, **options: Any) -> Iterator[MemoryStateWriter]:
        """Raise, or write."""
        if self.failures:
            self.failures -= 1
            raise ServerFailed(service="Azure", status=500, code="InternalError", resource=name)
        with super().write(name, **options) as out:
            yield out


def names(files: MemoryState) -> list[str]:
    """Return the names of the chunks without their folder."""
    return [name.removeprefix(folder_of(BATCH)) for name in files.names()]


def test_receipts_come_back_as_written() -> None:
    """All values come back, a long reason is shortened, and the receipts of all tries are read."""
    files = MemoryState()
    long = replace(RECEIPT, status="failed", reason="x" * 5_000, try_number=2)
    for try_number, receipt in ((1, RECEIPT), (2, long)):
        with ReceiptWriter(files, BATCH, try_number) as receipts:
            receipts.add(receipt)
    assert names(files) == ["001-00001.jsonl.gz", "002-00001.jsonl.gz"]
    assert list(read_receipts(files, BATCH)) == [RECEIPT, replace(long, reason="x" * 2_000)]
    assert list(read_receipts(files, structs.replace(BATCH, index=8))) == []


def test_a_chunk_is_written_after_a_thousand_receipts() -> None:
    """A killed task loses fewer than a thousand receipts."""
    files = MemoryState()
    with ReceiptWriter(files, BATCH, 1) as receipts:
        for number in range(CHUNK_RECEIPTS * 2 + 1):
            receipts.add(replace(RECEIPT, key=str(number)))
            assert len(files.files) == (number + 1) // CHUNK_RECEIPTS
    assert names(files) == [f"001-{number:05}.jsonl.gz" for number in (1, 2, 3)]
    assert len(list(read_receipts(files, BATCH))) == CHUNK_RECEIPTS * 2 + 1


def test_a_chunk_is_written_after_a_while() -> None:
    """A slow object does not delay the receipts of the objects before it."""
    files, written = MemoryState(), threading.Event()

    class Watched(MemoryState):
        @contextmanager
        def write(self, name: str, **options: Any) -> Iterator[MemoryStateWriter]:
            with files.write(name, **options) as out:
                yield out
            written.set()

    with ReceiptWriter(Watched(), BATCH, 1, chunk_seconds=0.01) as receipts:
        receipts.add(RECEIPT)
        assert written.wait(60)
    assert list(read_receipts(files, BATCH)) == [RECEIPT]


@pytest.mark.parametrize("error", [Cancelled.now(), RuntimeError("a bug"), KeyboardInterrupt()])
def test_receipts_are_written_whatever_ends_the_batch(error: BaseException) -> None:
    """The next try knows what was done; the error of the batch is raised."""
    files = MemoryState()

    def batch() -> None:
        with ReceiptWriter(files, BATCH, 1) as receipts:
            receipts.add(RECEIPT)
            raise error

    with pytest.raises(type(error)):
        batch()
    assert list(read_receipts(files, BATCH)) == [RECEIPT]


def test_a_failed_chunk_is_written_with_the_next_one() -> None:
    """A failed write before the end is no error."""
    files = FailingState()
    files.failures = 1
    with ReceiptWriter(files, BATCH, 1) as receipts:
        for number in range(CHUNK_RECEIPTS + 1):
            receipts.add(replace(RECEIPT, key=str(number)))
    assert len(list(read_receipts(files, BATCH))) == CHUNK_RECEIPTS + 1


def test_a_batch_whose_receipts_cannot_be_written_fails() -> None:
    """Without receipts its objects would not be accounted for."""
    files = FailingState()
    files.failures = 1
    with pytest.raises(ServerFailed), ReceiptWriter(files, BATCH, 1) as receipts:
        receipts.add(RECEIPT)


def test_a_repeated_try_number_overwrites_nothing() -> None:
    """A cleared task may start again with try 1."""
    files = MemoryState()
    for key in ("a", "b"):
        with ReceiptWriter(files, BATCH, 1) as receipts:
            receipts.add(replace(RECEIPT, key=key))
    assert [receipt.key for receipt in read_receipts(files, BATCH)] == ["a", "b"]


def test_a_try_that_runs_twice_overwrites_nothing() -> None:
    """Its queue delivered it again, or its worker was taken for dead: both write, one after the other."""
    files = MemoryState()
    with ReceiptWriter(files, BATCH, 1) as one, ReceiptWriter(files, BATCH, 1) as other:
        for number in range(CHUNK_RECEIPTS):
            one.add(replace(RECEIPT, key=f"a{number}"))
            other.add(replace(RECEIPT, key=f"b{number}"))
        one.add(replace(RECEIPT, key="a"))
        other.add(replace(RECEIPT, key="b"))
    assert names(files) == [f"001-{number:05}.jsonl.gz" for number in (1, 2, 3, 4)]
    assert len({receipt.key for receipt in read_receipts(files, BATCH)}) == 2 * CHUNK_RECEIPTS + 2


def test_a_later_try_shows_that_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    """No receipt may follow for hours. A state location that fails does not fail the try."""
    files = FailingState()
    note_try(files, BATCH, 2)
    assert list(files.files.values()) == [b""]
    assert list(read_receipts(files, BATCH)) == []
    files.failures = 1
    note_try(files, BATCH, 3)
    assert "does not show yet that this try has begun" in caplog.text


def test_a_confirmed_copy_decides() -> None:
    """A copied receipt wins over every other; of two equal ones the later wins."""
    copied, failed = replace(RECEIPT, try_number=1), replace(RECEIPT, status="failed", try_number=2)
    assert stronger(copied, failed) is copied
    assert stronger(failed, copied) is copied
    assert stronger(None, failed) is failed
    later = replace(failed, try_number=3)
    assert stronger(failed, later) is later
    assert stronger(later, failed) is later
    again = replace(later)
    assert stronger(later, again) is again
    assert [settles(replace(RECEIPT, status=status)) for status in ("copied", "unchanged", "skipped")] == [True] * 3
    assert not settles(failed)
    assert not settles(replace(RECEIPT, status="staged"))


def test_damage_outweighs_every_copy_but_a_later_trys() -> None:
    """A worker that proved it and one that did not may both have run the same try."""
    damaged = replace(RECEIPT, status="failed", reason=f"{ReadbackDiffers.reason()}: bytes 0 to 3", try_number=2)
    earlier, same, later = (replace(RECEIPT, try_number=number) for number in (1, 2, 3))
    for one, other, decides in ((damaged, earlier, damaged), (damaged, same, damaged), (damaged, later, later)):
        assert stronger(one, other) is decides
        assert stronger(other, one) is decides
    again = replace(damaged)
    assert stronger(damaged, again) is again
    assert was_found_damaged(damaged)
    assert not was_found_damaged(replace(damaged, status="copied"))
    assert not was_found_damaged(replace(damaged, reason="source_changed"))


@pytest.mark.parametrize(
    "change",
    [
        {"status": "done"},
        {"status": None},
        {"more": 1},
        {"key": 3},
        {"size_bytes": -1},
        {"bytes_sent": 1.5},
        {"seconds": float("nan")},
        {"seconds": "1"},
        {"reason": "x" * 2_001},
        {"try_number": True},
        {"blob": "\udcff"},
    ],
)
def test_an_invalid_receipt_is_corrupt_state(change: dict[str, Any]) -> None:
    """Receipts are validated like every state file."""
    files = MemoryState()
    row = RECEIPT.as_dict() | change
    files.files[f"{folder_of(BATCH)}001-00001.jsonl.gz"] = gzip.compress(json.dumps(row).encode() + b"\n")
    with pytest.raises(CorruptState):
        list(read_receipts(files, BATCH))


def test_another_file_among_receipts_is_corrupt_state() -> None:
    """A file that no try wrote is not ignored."""
    files = MemoryState()
    files.files[f"{folder_of(BATCH)}notes.txt"] = b""
    with pytest.raises(CorruptState):
        list(read_receipts(files, BATCH))


FIRST_CHUNK = "001-00001.jsonl.gz"


def written(*receipts: Receipt, batch: BatchDescriptor = BATCH) -> list[dict[str, Any]]:
    """Return the lines that a try of a batch writes."""
    files = MemoryState()
    with ReceiptWriter(files, batch, 1) as writer:
        for receipt in receipts:
            writer.add(receipt)
    text = gzip.decompress(files.files[folder_of(batch) + FIRST_CHUNK])
    return [json.loads(line) for line in text.splitlines()[1:]]


def read_back(rows: list[dict[str, Any]]) -> tuple[list[Receipt], list[Receipt]]:
    """Return the receipts of a chunk with these lines, and those among them that are not bound to the batch."""
    files, unbound = MemoryState(), list[Receipt]()
    text = HEADER + b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    files.files[folder_of(BATCH) + FIRST_CHUNK] = gzip.compress(text)
    return list(read_receipts(files, BATCH, on_unbound=unbound.append)), unbound


OTHERS: dict[str, Any] = {
    "bucket": "another",
    "key": "another",
    "etag": "another",
    "size_bytes": 4,
    "container": "another",
    "blob": "another",
    "status": "skipped",
    "reason": "source_deleted",
    "verified_by": "md5",
    "checksum": "md5:A=",
    "blocks": 2,
    "blocks_resumed": 1,
    "bytes_sent": 1,
    "retries": 1,
    "seconds": 1.5,
    "started_at": "2026-03-01T02:00:00Z",
    "try_number": 2,
}


@pytest.mark.parametrize("name", RECEIPT_FIELDS[:17])
def test_a_receipt_that_was_changed_is_not_bound(name: str) -> None:
    """A failed receipt edited into a copied one, or given to another object, proves nothing."""
    (row,) = written(RECEIPT)
    assert read_back([row]) == ([RECEIPT], [])
    assert read_back([row | {name: OTHERS[name]}]) == ([], [replace(RECEIPT, **{name: OTHERS[name]})])


@pytest.mark.parametrize("change", [{"plan": "f" * 16}, {"index": 8}, {"sha256": "b" * 64}])
def test_a_receipt_of_another_batch_is_not_bound(change: dict[str, Any]) -> None:
    """A batch of another plan, another batch of the same plan, or other lines under the same number."""
    rows = written(RECEIPT, batch=structs.replace(BATCH, **change))
    assert read_back(rows) == ([], [RECEIPT])


@pytest.mark.parametrize("digest", [None, "", "0" * 16])
def test_a_receipt_without_the_right_digest_is_not_bound(digest: str | None) -> None:
    """Earlier versions wrote none."""
    row = RECEIPT.as_dict() if digest is None else RECEIPT.as_dict() | {"digest": digest}
    assert read_back([row]) == ([], [RECEIPT])


def test_a_field_of_a_later_minor_version_leaves_a_receipt_bound() -> None:
    """Workers of both versions share a run."""
    (row,) = written(RECEIPT)
    assert read_back([row | {"later": 1}]) == ([RECEIPT], [])


def test_a_whole_number_of_seconds_leaves_a_receipt_bound() -> None:
    """JSON has one kind of number, Python two."""
    (row,) = written(replace(RECEIPT, seconds=2))
    assert read_back([row]) == ([replace(RECEIPT, seconds=2.0)], [])


def test_the_receipt_has_the_fields_of_the_line_around_the_digest() -> None:
    """Lines become receipts by position; what came after version 1.0 follows its digest."""
    assert ReceiptLine.__struct_fields__ == (*RECEIPT_FIELDS[:17], "digest", *RECEIPT_FIELDS[17:])


FETCHED = replace(RECEIPT, via="azure", blocks=40, blocks_fetched=9, blocks_streamed=29, not_fetched="no_crc_returned")


def test_the_way_of_the_bytes_comes_back() -> None:
    """It is written where it says something, and an earlier reader finds the receipt bound without it."""
    (row,) = written(FETCHED)
    assert all(row[name] == FETCHED.as_dict()[name] for name in RECEIPT_FIELDS[17:])
    assert read_back([row]) == ([FETCHED], [])
    (plain,) = written(RECEIPT)
    assert set(RECEIPT_FIELDS[17:]).isdisjoint(plain)
    seen_by_version_1_0 = {name: value for name, value in row.items() if name in plain}
    assert read_back([seen_by_version_1_0]) == ([replace(RECEIPT, blocks=40)], [])


@pytest.mark.parametrize("change", [{"via": 1}, {"blocks_fetched": -1}, {"blocks_streamed": 50_001}])
def test_an_invalid_way_of_the_bytes_is_corrupt_state(change: dict[str, Any]) -> None:
    """The later fields are validated like the others."""
    with pytest.raises(CorruptState):
        read_back([written(FETCHED)[0] | change])


def endless(rows: int) -> bytes:
    """Return a chunk with many receipts of different keys."""
    files = MemoryState()
    with files.write("chunk") as out:
        writer = LinesWriter(out)
        for number in range(rows):
            writer.add(replace(RECEIPT, key=str(number)))
        writer.end_member()
    return files.files["chunk"]


def test_more_receipts_than_all_tries_can_have_written_are_corrupt_state() -> None:
    """The descriptor says how many objects there are, and so bounds what is read."""
    files, seen = MemoryState(), list[Receipt]()
    files.files[folder_of(BATCH) + FIRST_CHUNK] = endless(10_000)
    with pytest.raises(CorruptState, match="more receipts than all tries"):
        list(read_receipts(files, BATCH, on_unbound=seen.append))
    assert len(seen) == 3_000


def test_the_bound_grows_with_the_objects_of_the_batch() -> None:
    """Each object may have two receipts of each try."""
    files, batch, seen = MemoryState(), structs.replace(BATCH, objects=2), list[Receipt]()
    files.files[folder_of(batch) + FIRST_CHUNK] = endless(3_500)
    assert list(read_receipts(files, batch, on_unbound=seen.append)) == []
    assert len(seen) == 3_500


def test_more_chunks_than_all_tries_can_have_written_are_corrupt_state() -> None:
    """Each costs a request, even an empty one."""
    files = MemoryState()
    for number in range(4_000):
        files.files[f"{folder_of(BATCH)}001-{number:05}.jsonl.gz"] = b""
    with pytest.raises(CorruptState, match="more receipts than all tries"):
        list(read_receipts(files, BATCH))
