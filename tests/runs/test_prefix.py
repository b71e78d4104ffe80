"""A whole run in one task: its requests, its receipts and its error."""

from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from benchmarks.local_state import LocalState
from s3_to_azure.model.errors import SomeObjectsFailed
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import MAX_OBJECT_BYTES, MIB
from s3_to_azure.model.objects import BlobState, ContentHeaders, ObjectVersion, Receipt
from s3_to_azure.model.settings import CopySettings, Fidelity
from s3_to_azure.runs.prefix import copy_in_this_process, plan_and_copy, prefix_plan_settings
from s3_to_azure.runs.report import make_report
from s3_to_azure.state.manifest import write_manifest
from s3_to_azure.transfer.context import open_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import QUICK


def test_a_plan_has_the_settings_of_its_copies() -> None:
    """A plan that decided by other settings than its copies would leave out what they should write again."""
    settings = CopySettings(
        overwrite="always",
        integrity="reread",
        refused_names="map",
        fidelity=Fidelity(archived="skip"),
        memory_budget_bytes=32 * MIB,
        block_bytes=2 * MIB,
    )
    pointer = write_manifest([], MemoryState(), bucket="bucket", prefix="in/")
    filters = Filters(exclude=("*.tmp",))
    with open_context(MemorySource("bucket"), MemoryDestination(), settings) as context:
        plan = prefix_plan_settings(context, pointer, s3_prefix="in/", blob_prefix="out/", filters=filters, batches=3)
    assert (plan.s3_prefix, plan.blob_prefix, plan.filters, plan.max_tasks) == ("in/", "out/", filters, 3)
    assert (plan.overwrite, plan.integrity, plan.refused_names, plan.archived) == ("always", "reread", "map", "skip")
    assert (plan.memory_budget_bytes, plan.block_bytes) == (32 * MIB, 2 * MIB)
    # One process copies it: parts of an object would only be copied one after the other.
    assert plan.split_bytes > MAX_OBJECT_BYTES


class CountedSource(MemorySource):
    """A source that counts the requests for single objects."""

    requests = 0

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Count."""
        self.requests += 1
        return super().head(bucket, key)

    def open(self, *arguments: Any, **more: Any) -> Any:
        """Count."""
        self.requests += 1
        return super().open(*arguments, **more)


class CountedDestination(MemoryDestination):
    """A destination that counts the requests for single blobs, and can let another writer win before an update."""

    requests = 0
    overwrite_before_update = False

    def update(self, blob: str, *arguments: Any) -> str:
        """Count."""
        self.requests += 1
        if self.overwrite_before_update:
            self.write(blob, b"a stranger's")
        return super().update(blob, *arguments)

    def head(self, blob: str) -> BlobState | None:
        """Count."""
        self.requests += 1
        return super().head(blob)

    def put_blob(self, *arguments: Any, **more: Any) -> Any:
        """Count."""
        self.requests += 1
        return super().put_blob(*arguments, **more)


@pytest.fixture
def source() -> CountedSource:
    """Return a bucket of 50 objects."""
    made = CountedSource("bucket")
    for number in range(50):
        made.put("bucket", f"in/{number:03}", bytes([number]) * (number + 1))
    return made


def run(
    source: MemorySource, destination: MemoryDestination, directory: Path, **settings: Any
) -> tuple[list[Receipt], Any]:
    """Copy all objects below in/ to out/; return the receipts and the error."""
    receipts: list[Receipt] = []
    files = LocalState(directory)
    with open_context(
        source, destination, CopySettings(connections=2, objects_at_once=4, retry=QUICK, **settings)
    ) as context:
        pointer = write_manifest(context.source.list("bucket", "in/"), files, bucket="bucket", prefix="in/")
        chosen = prefix_plan_settings(context, pointer, s3_prefix="in/", blob_prefix="out/")
        copy_batches = partial(copy_in_this_process, context, files, pointer.bucket, chosen)
        error = plan_and_copy(context, files, pointer, chosen, copy_batches=copy_batches, on_receipt=receipts.append)
        snapshot = context.progress.snapshot()
        assert snapshot.objects_total == snapshot.objects_done + snapshot.objects_failed == pointer.objects
        report = make_report(files, pointer)
    assert report.listed.objects == len({receipt.key for receipt in receipts}) == len(receipts)
    assert {s: report.total(s).objects for s in Counter(r.status for r in receipts)} == Counter(
        receipt.status for receipt in receipts
    )
    return receipts, error


def test_a_second_run_only_lists(source: CountedSource, tmp_path: Path) -> None:
    """The first run makes one GET and one Put Blob for each object, and the second none at all."""
    destination = CountedDestination()
    receipts, error = run(source, destination, tmp_path / "1")
    assert (error, {receipt.status for receipt in receipts}) == (None, {"copied"})
    assert (source.requests, destination.requests) == (50, 50)
    receipts, error = run(source, destination, tmp_path / "2")
    assert (error, {(receipt.status, receipt.verified_by) for receipt in receipts}) == (
        None,
        {("unchanged", "crc64nvme")},
    )
    assert (source.requests, destination.requests) == (50, 50)
    source.put("bucket", "in/007", b"new")
    receipts, error = run(source, destination, tmp_path / "3")
    assert Counter(receipt.status for receipt in receipts) == {"unchanged": 49, "copied": 1}
    assert (source.requests, destination.requests) == (51, 51)


def test_failures_come_after_everything_else(source: CountedSource, tmp_path: Path) -> None:
    """Objects that the plan refuses and copies that fail are in one error, and all others are copied."""
    destination = CountedDestination()
    destination.write("out/001", b"", blob_type="AppendBlob")
    source.put("bucket", "in/bad.", b"name")
    destination.leased.add("out/002")
    receipts, error = run(source, destination, tmp_path)
    assert isinstance(error, SomeObjectsFailed)
    assert (error.attributes["failed"], error.attributes["total"]) == (3, 51)
    failed = {receipt.key: receipt.reason.partition(":")[0] for receipt in receipts if receipt.status == "failed"}
    assert failed == {"in/001": "wrong_blob_type", "in/bad.": "name_refused", "in/002": "blob_leased"}


def test_refused_names_may_be_skipped_or_mapped(source: CountedSource, tmp_path: Path) -> None:
    """The policy for refused names comes from the copy settings."""
    source.put("bucket", "in/bad.", b"name")
    receipts, error = run(source, MemoryDestination(), tmp_path / "skip", refused_names="skip")
    assert error is None
    assert Counter(receipt.status for receipt in receipts) == {"copied": 50, "skipped": 1}
    destination = MemoryDestination()
    receipts, error = run(source, destination, tmp_path / "map", refused_names="map")
    assert (error, len(receipts), "out/bad~2E" in destination.blobs) == (None, 51, True)


def test_rewritten_bytes_update_metadata_only(source: CountedSource, tmp_path: Path) -> None:
    """An object written again with the same bytes updates metadata and headers; the run after that changes nothing."""
    destination = CountedDestination()
    run(source, destination, tmp_path / "1")
    blob = destination.blobs["out/007"]
    proof = {name: blob.metadata[name] for name in ("s3_checksum", "s3_verified_by")}
    headers = ContentHeaders(content_type="text/csv")
    # The object's other checksum says nothing about the bytes that were copied before.
    source.put("bucket", "in/007", bytes([7]) * 8, metadata={"owner": "new"}, headers=headers, checksum="crc32c")
    before = destination.bytes_staged
    receipts, error = run(source, destination, tmp_path / "2")
    (receipt,) = (receipt for receipt in receipts if receipt.reason)
    assert (error, receipt.key, receipt.status, receipt.reason) == (None, "in/007", "unchanged", "metadata_updated")
    assert (receipt.bytes_sent, destination.bytes_staged) == (0, before)
    assert (blob.metadata["owner"], blob.headers, blob.data) == ("new", headers, bytes([7]) * 8)
    assert {name: blob.metadata[name] for name in proof} == proof
    assert receipt.verified_by == proof["s3_verified_by"]
    requests = source.requests, destination.requests
    receipts, error = run(source, destination, tmp_path / "3")
    assert {receipt.reason for receipt in receipts} == {""}
    assert (source.requests, destination.requests) == requests


def test_metadata_is_never_put_on_a_foreign_blob(source: CountedSource, tmp_path: Path) -> None:
    """A blob that another writer replaced between plan and update stays unchanged, and its object fails."""
    destination = CountedDestination()
    run(source, destination, tmp_path / "1")
    source.put("bucket", "in/007", bytes([7]) * 8, metadata={"owner": "new"})
    destination.overwrite_before_update = True
    _, error = run(source, destination, tmp_path / "2")
    assert error is not None
    assert "written by another program" in str(error)
    assert (destination.blobs["out/007"].data, destination.blobs["out/007"].metadata) == (b"a stranger's", {})
