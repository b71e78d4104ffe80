"""One mapped task: it copies its slice and nothing else, and a retry copies only the rest."""

import gzip
import itertools
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest
from msgspec import structs

from s3_to_azure.model.errors import (
    AccessDenied,
    Cancelled,
    CorruptState,
    RetryableObjectsFailed,
    ServerFailed,
    SomeObjectsFailed,
    Throttled,
    TransferError,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import BlobContents, BlobState, Condition, ListedObject, ObjectVersion, Receipt
from s3_to_azure.model.reasons import Status
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch import BatchSummary, copy_batch
from s3_to_azure.state.lines import HEADER
from s3_to_azure.state.plan import BatchDescriptor, batches_name
from s3_to_azure.state.receipts import ReceiptWriter, folder_of, read_receipts
from s3_to_azure.transfer.integrity import checksum_text
from tests.fakes.contexts import record_of
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemoryBody, MemorySource
from tests.fakes.state_memory import MemoryState, MemoryStateWriter
from tests.runs.nights import Night


class RecordingDestination(MemoryDestination):
    """A destination that records requests, and calls a hook after each Put Blob."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[str] = []
        self.after_put: Any = None
        self.listing_fails = False

    def head(self, blob: str) -> BlobState | None:
        """Record and look."""
        self.requests.append(f"head {blob}")
        return super().head(blob)

    def list(self, prefix: str) -> Iterator[BlobState]:
        """Record and list, or fail."""
        self.requests.append(f"list {prefix}")
        if self.listing_fails:
            raise ServerFailed(service="Azure", status=500, code="InternalError", resource=prefix)
        return super().list(prefix)

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        """Record and write, and call the hook."""
        self.requests.append(f"put {blob}")
        etag = super().put_blob(blob, data, crc64, contents, condition)
        if self.after_put:
            self.after_put()
        return etag


class FlakySource(MemorySource):
    """A source that denies or fails chosen keys, and the first requests of all with chosen errors."""

    refused: frozenset[str] = frozenset()
    failing: frozenset[str] = frozenset()
    first: Iterator[TransferError] = iter(())

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[MemoryBody]:
        """Fail, or open."""
        if version.key in self.refused:
            raise AccessDenied(service="S3", resource=version.key, code="AccessDenied", cure="Grant s3:GetObject.")
        if version.key in self.failing:
            raise ServerFailed(service="S3", status=500, code="InternalError", resource=version.key)
        if error := next(self.first, None):
            raise error
        with super().open(version, start, end) as body:
            yield body


class ForgetfulState(MemoryState):
    """State files that lose all receipts, as those of a killed process are lost, while ``forgets`` is set."""

    forgets = True

    @contextmanager
    def write(self, name: str, **options: Any) -> Iterator[MemoryStateWriter]:
        """Write everything but receipts."""
        if self.forgets and "/receipts/" in name:
            yield MemoryStateWriter()
            return
        with super().write(name, **options) as out:
            yield out


def night_of(
    count: int, *, files: MemoryState | None = None, **options: Any
) -> tuple[Night, FlakySource, RecordingDestination]:
    """Return a run over ``count`` objects of 1,000 bytes, with its stores."""
    source, destination = FlakySource("bucket"), RecordingDestination()
    for number in range(count):
        source.put("bucket", f"in/{number:04}", number.to_bytes(2, "big") * 500)
    settings = PlanSettings(**({"s3_prefix": "in/", "blob_prefix": "out/"} | options))
    return Night(source, destination, files or MemoryState(), "bucket", settings), source, destination


def test_a_batch_copies_all_with_two_requests_each() -> None:
    """One GET and one Put Blob for a small object: no HEAD on either side."""
    night, source, destination = night_of(30)
    plan = night.plan(night.make_manifest())
    destination.requests.clear()
    labels: list[str] = []
    summary = night.copy(plan, 0, on_label=labels.append)
    assert labels == ["30 objects, 29.3 KiB"]
    assert (summary.copied, summary.bytes_sent, summary.done_before) == (30, 30_000, 0)
    assert sorted(destination.requests) == [f"put out/{number:04}" for number in range(30)]
    assert len(source.opened) == 30
    assert {name: blob.data for name, blob in destination.blobs.items()} == {
        f"out/{number:04}": number.to_bytes(2, "big") * 500 for number in range(30)
    }


def test_retries_of_throttled_requests_are_counted_apart() -> None:
    """The summary tells how often a service asked for fewer requests."""
    night, source, _ = night_of(2)
    plan = night.plan(night.make_manifest())
    throttled = Throttled(service="S3", code="SlowDown", retry_after_s=0)
    source.first = iter((throttled, ServerFailed(service="S3", status=500, code="InternalError", resource="in/0000")))
    summary = night.copy(plan, 0)
    assert (summary.copied, summary.retries, summary.slow_downs) == (2, 2, 1)


def test_a_task_reads_only_its_slice() -> None:
    """Of the plan's file, a task reads its own member."""
    night, *_ = night_of(40, batch_bytes=4 * MIB)
    plan = night.plan(night.make_manifest())
    assert len(plan.batches) > 2
    assert isinstance(night.files, MemoryState)
    night.files.reads.clear()
    night.copy(plan, 1)
    batch = plan.batches[1]
    assert night.files.reads == [(batches_name(plan.token), batch.offset, batch.offset + batch.length)]


def test_one_failure_does_not_stop_the_others_and_is_named() -> None:
    """All others are copied, the error counts the failures and is permanent, and the summary is passed on."""
    night, source, destination = night_of(20)
    source.refused = frozenset({"in/0003"})
    plan = night.plan(night.make_manifest())
    summaries: list[BatchSummary] = []
    with pytest.raises(SomeObjectsFailed, match="1 of 20 objects failed; first: 'in/0003'"):
        night.copy(plan, 0, on_end=summaries.append)
    assert [(summary.copied, summary.failed) for summary in summaries] == [(19, 1)]
    assert len(destination.blobs) == 19
    failed = [receipt for receipt in read_receipts(night.files, plan.batches[0]) if receipt.status == "failed"]
    assert [receipt.reason.partition(":")[0] for receipt in failed] == ["access_denied"]


def test_a_retry_copies_only_what_failed() -> None:
    """With the first try's receipts, a retry makes one listing and the failed object's own requests, and no more."""
    night, source, destination = night_of(20)
    source.failing = frozenset({"in/0003"})
    plan = night.plan(night.make_manifest())
    with pytest.raises(RetryableObjectsFailed):
        night.copy(plan, 0)
    source.failing = frozenset()
    destination.requests.clear()
    source.opened.clear()
    assert not any("/tries/" in name for name in night.files.names())
    summary = night.copy(plan, 0, try_number=2)
    # The run goes on, as its files show before any receipt does.
    assert f"plan-{plan.token}/tries/00000-002" in night.files.names()
    assert destination.requests == ["list out/0003", "put out/0003"]
    assert source.opened == [("in/0003", 0, None)]
    assert (summary.done_before, summary.copied, summary.bytes_sent) == (19, 1, 1_000)


def _stop_after(night: Night, destination: RecordingDestination, count: int) -> tuple[Any, int]:
    """Plan, and run a first try that is stopped after ``count`` blobs; return the plan and the bytes sent."""
    plan = night.plan(night.make_manifest())
    cancelled = threading.Event()
    puts = itertools.count(1)

    def after_put() -> None:
        if next(puts) == count:
            cancelled.set()

    destination.after_put = after_put
    with pytest.raises(Cancelled):
        night.copy(plan, 0, cancelled=cancelled)
    destination.after_put = None
    return plan, destination.bytes_staged


@pytest.mark.parametrize("state", [MemoryState, ForgetfulState])
def test_a_retry_after_a_stop_sends_only_the_rest(state: type[MemoryState]) -> None:
    """After a stop half-way, with or without its receipts, no byte is sent twice."""
    night, source, destination = night_of(200, files=state())
    plan, sent = _stop_after(night, destination, 100)
    assert 100_000 <= sent < 110_000
    destination.requests.clear()
    summary = night.copy(plan, 0, try_number=2)
    assert destination.bytes_staged == 200_000
    assert summary.done_before + summary.copied == 200
    others = [request.split()[0] for request in destination.requests if not request.startswith("put")]
    assert others == ["list"]
    assert source.bytes_served <= 200_000 + night.objects_at_once * 1_000


def test_the_retry_of_a_killed_batch_accounts_for_all() -> None:
    """Objects that the killed try copied get receipts from the destination, with the verification recorded there."""
    files = ForgetfulState()
    night, _, destination = night_of(50, files=files)
    plan = _stop_after(night, destination, 25)[0]
    files.forgets = False
    night.copy(plan, 0, try_number=2)
    receipts = list(read_receipts(files, plan.batches[0]))
    assert len(receipts) == 50
    found = {receipt.key: receipt for receipt in receipts if receipt.reason == "by_earlier_try"}
    assert 25 <= len(found) < 30
    assert {(item.status, item.verified_by, item.bytes_sent) for item in found.values()} == {("copied", "crc64nvme", 0)}


def test_a_retry_without_a_listing_copies_no_object_twice() -> None:
    """If the destination cannot be listed, each copy's condition shows what is done already."""
    night, _, destination = night_of(50, files=ForgetfulState())
    plan = _stop_after(night, destination, 25)[0]
    destination.listing_fails = True
    summary = night.copy(plan, 0, try_number=2)
    assert (summary.copied, summary.done_before) == (50, 0)
    assert len(destination.blobs) == 50


def test_overwrite_always_copies_each_object_once_per_run() -> None:
    """With overwrite=always, a blob that holds the version counts as done only if this run wrote it."""
    night, source, destination = night_of(20)
    night.run()
    again = replace(night.with_settings(overwrite="always"), files=ForgetfulState())
    plan = _stop_after(again, destination, 10)[0]
    source.opened.clear()
    summary = again.copy(plan, 0, try_number=2)
    assert summary.done_before + summary.copied == 20
    assert 20 - 10 - again.objects_at_once <= len(source.opened) <= 10


def test_with_readback_a_record_alone_finishes_no_object() -> None:
    """A retry compares what it finds, however good its record is: only a read-back shows damage that came later."""
    night, source, destination = night_of(3, files=ForgetfulState(), integrity="readback")
    plan = night.plan(night.make_manifest())
    version = source.head("bucket", "in/0001")
    proof = {"s3_verified_by": "crc64nvme", "s3_checksum": checksum_text(version)}
    destination.write("out/0001", bytes(1_000), metadata=record_of(version, **proof))
    with pytest.raises(RetryableObjectsFailed, match="Azure returns other bytes"):
        night.copy(plan, 0, try_number=2)
    assert night.copy(plan, 0, try_number=3).failed == 0
    assert destination.blobs["out/0001"].data == (1).to_bytes(2, "big") * 500


def test_an_object_deleted_since_the_listing_is_skipped() -> None:
    """There is nothing to copy, which is no failure but a receipt with its own reason."""
    night, source, _ = night_of(5)
    plan = night.plan(night.make_manifest())
    source.delete("bucket", "in/0002")
    summary = night.copy(plan, 0)
    assert (summary.copied, summary.skipped, summary.failed) == (4, 1, 0)
    skipped = [receipt for receipt in read_receipts(night.files, plan.batches[0]) if receipt.status == "skipped"]
    assert [(receipt.key, receipt.reason) for receipt in skipped] == [("in/0002", "source_deleted")]


def test_an_object_changed_since_the_listing_is_copied_in_its_new_version() -> None:
    """A small object that changed after the plan is still copied under the planned condition."""
    night, source, destination = night_of(5)
    plan = night.plan(night.make_manifest())
    source.put("bucket", "in/0002", b"new bytes")
    assert night.copy(plan, 0).copied == 5
    assert destination.blobs["out/0002"].data == b"new bytes"


def test_the_label_of_one_object_is_its_key() -> None:
    """A person sees which object a task copies, and which part of it."""
    night, source, _ = night_of(0, split_bytes=2 * MIB, block_bytes=MIB)
    source.put("bucket", "in/" + "k" * 300, bytes(4 * MIB))
    plan = night.plan(night.make_manifest())
    labels: list[str] = []
    for index in (0, 1):
        night.copy(plan, index, on_label=labels.append)
    assert [len(label) for label in labels] == [250, 250]
    assert labels[0].endswith("kkk [0 bytes to 2.0 MiB]")
    assert labels[1].endswith("kkk [2.0 MiB to 4.0 MiB]")


def rewritten(night: Night, descriptor: BatchDescriptor, rows: list[Any], **changes: Any) -> BatchDescriptor:
    """Replace the plan's batches file by these rows; return a descriptor that matches it, except for the changes."""
    data = gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows))
    assert isinstance(night.files, MemoryState)
    night.files.files[batches_name(descriptor.plan)] = data
    fitting: dict[str, Any] = {
        "offset": 0,
        "length": len(data),
        "sha256": sha256(data).hexdigest(),
        "objects": len(rows),
    }
    return structs.replace(descriptor, **(fitting | {"size_bytes": 3 * len(rows)} | changes))


ROW = {
    "key": "in/a",
    "etag": "etag",
    "size_bytes": 3,
    "last_modified": "2026-03-01T12:00:00+00:00",
    "storage_class": "STANDARD",
    "destination_etag": "",
}
PART = ROW | {"size_bytes": 3 * MIB, "start": 0, "end": MIB, "block_bytes": MIB}


@pytest.mark.parametrize(
    ("rows", "changes"),
    [
        ([ROW | {"key": "elsewhere/a"}], {}),
        ([ROW | {"key": ""}], {}),
        ([ROW | {"bucket": "another"}], {}),
        ([ROW | {"blob": "another"}], {}),
        ([ROW | {"destination_etag": 'x"y'}], {}),
        ([ROW | {"destination_etag": 5}], {}),
        ([{name: value for name, value in ROW.items() if name != "destination_etag"}], {}),
        ([ROW | {"etag": "e\r\nx-ms-version: 1"}], {}),
        ([ROW, None], {}),
        ([ROW, ROW], {"objects": 1}),
        ([ROW], {"size_bytes": 4}),
        ([ROW], {"kind": "range"}),
        ([ROW], {"sha256": "0" * 64}),
        ([ROW], {"length": 10}),
        ([ROW], {"length": 10**6}),
        ([ROW], {"offset": 1}),
        ([PART], {"size_bytes": MIB}),
        ([PART | {"destination_etag": None}], {"size_bytes": MIB, "kind": "range"}),
        ([PART | {"start": 5}], {"size_bytes": MIB - 5, "kind": "range"}),
        ([PART | {"end": MIB + 1}], {"size_bytes": MIB + 1, "kind": "range"}),
        ([PART | {"end": 4 * MIB}], {"size_bytes": 4 * MIB, "kind": "range"}),
        ([PART | {"start": MIB, "end": MIB}], {"size_bytes": 0, "kind": "range"}),
        ([PART | {"block_bytes": 1}], {"size_bytes": MIB, "kind": "range"}),
        ([PART | {"size_bytes": 1 << 46}], {"size_bytes": MIB, "kind": "range"}),
        ([PART | {"size_bytes": 60_000 * MIB}], {"size_bytes": MIB, "kind": "range"}),
        ([PART, PART], {"size_bytes": 2 * MIB, "kind": "range"}),
    ],
)
def test_a_manipulated_batch_copies_nothing(rows: list[Any], changes: dict[str, Any]) -> None:
    """A writer of the plan cannot steer a copy, since every line is checked before the first request."""
    night, source, destination = night_of(3)
    plan = night.plan(night.make_manifest())
    descriptor = rewritten(night, plan.batches[0], rows, **changes)
    destination.requests.clear()
    with night.context() as context, pytest.raises(CorruptState):
        copy_batch(context, night.files, descriptor, bucket="bucket", s3_prefix="in/", blob_prefix="out/", try_number=1)
    assert source.opened == []
    assert destination.requests == []


def test_a_deleted_plan_is_corrupt_state() -> None:
    """A task whose state was deleted names the missing file."""
    night, *_ = night_of(1)
    plan = night.plan(night.make_manifest())
    night.files.delete(batches_name(plan.token))
    with pytest.raises(CorruptState, match="it is not there"):
        night.copy(plan, 0)


def forged(night: Night, batch: BatchDescriptor, *receipts: Receipt) -> None:
    """Write receipts as somebody does who can write the state container and does not know the digest."""
    assert isinstance(night.files, MemoryState)
    text = HEADER + b"".join(json.dumps(receipt.as_dict()).encode() + b"\n" for receipt in receipts)
    night.files.files[f"{folder_of(batch)}001-00009.jsonl.gz"] = gzip.compress(text)


def receipt_of(number: int, status: Status = "copied", **changes: Any) -> Receipt:
    """Return the receipt that a copy of an object would get."""
    return replace(
        Receipt("bucket", f"in/{number:04}", "etag", 1_000, "container", f"out/{number:04}", status), **changes
    )


@pytest.mark.parametrize("status", ["copied", "unchanged", "skipped"])
def test_a_forged_receipt_spares_no_copy(status: Status) -> None:
    """Only receipts that are bound to the batch do."""
    night, _, destination = night_of(3)
    plan = night.plan(night.make_manifest())
    forged(night, plan.batches[0], *(receipt_of(number, status) for number in range(3)))
    summary = night.copy(plan, 0, try_number=2)
    assert (summary.done_before, summary.copied) == (0, 3)
    assert len(destination.blobs) == 3


@pytest.mark.parametrize("change", [{"bucket": "other"}, {"container": "other"}, {"blob": "other"}])
def test_a_receipt_of_another_blob_spares_no_copy(change: dict[str, Any]) -> None:
    """The migration was changed to another destination while the run was going on, and the task cleared."""
    night, _, destination = night_of(1)
    plan = night.plan(night.make_manifest())
    with ReceiptWriter(night.files, plan.batches[0], 1) as writer:
        writer.add(receipt_of(0, **change))
    assert night.copy(plan, 0, try_number=2).copied == 1
    assert len(destination.blobs) == 1


def test_receipts_of_other_keys_are_not_counted() -> None:
    """What an earlier try finished is at most what the batch holds."""
    night, *_ = night_of(3)
    plan = night.plan(night.make_manifest())
    with ReceiptWriter(night.files, plan.batches[0], 1) as writer:
        writer.add(receipt_of(1, size_bytes=10**12))
        writer.add(receipt_of(7, size_bytes=10**12))
    summary = night.copy(plan, 0, try_number=2)
    assert (summary.done_before, summary.copied, summary.bytes_resumed) == (1, 2, 0)
