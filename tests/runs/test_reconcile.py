"""Reconciliation: every listed object gets one result, from the plan or from its receipts."""

import gzip
import json

import pytest

from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.reasons import Status, code_of
from s3_to_azure.runs.reconcile import ObjectResult, _PlannedObjects, reconcile
from s3_to_azure.state.lines import HEADER
from s3_to_azure.state.plan import BatchDescriptor, read_plan_index
from s3_to_azure.state.receipts import folder_of
from tests.fakes.contexts import record_of
from tests.fakes.memory_destination import MemoryDestination
from tests.runs.planned_run import PlannedRun


def test_results_follow_the_listing_whatever_sequence_holds_them() -> None:
    """Objects left out, with batches of their own and in shared batches are merged back into the listing's order."""
    run = PlannedRun(6, giant_bytes=6 * MIB, unchanged=3, split_bytes=2 * MIB)
    for batch in run.plan.batches:
        if batch.kind == "range":
            run.write_receipts(batch, run.receipt("giant", "copied" if batch.index == 2 else "staged"))
        else:
            run.write_receipts(batch, *(run.receipt(f"{number:04}") for number in range(3, 6)))
    results = run.results()
    assert list(results) == ["0000", "0001", "0002", "0003", "0004", "0005", "giant"]
    assert [result.receipt.status for result in results.values()] == ["unchanged"] * 3 + ["copied"] * 4
    assert [result.batch for result in results.values()] == [None] * 3 + [3] * 3 + [2]


def test_an_object_without_a_receipt_is_failed() -> None:
    """A planned object whose task wrote no receipt fails as ``no_receipt``, and names the task's batch."""
    run = PlannedRun(2)
    (batch,) = run.plan.batches
    run.write_receipts(batch, run.receipt("0000"))
    result = run.results()["0001"]
    assert (result.receipt.status, code_of(result.receipt.reason), result.batch) == ("failed", "no_receipt", 0)
    assert (result.receipt.blob, result.receipt.size_bytes) == ("0001", 3)


def test_without_a_plan_every_object_is_failed() -> None:
    """A listed object that no plan decided on fails as ``unplanned``."""
    run = PlannedRun(2)
    results = [result for _, result in reconcile(run.files, run.pointer, None)]
    assert [(result.receipt.status, code_of(result.receipt.reason)) for result in results] == [
        ("failed", "unplanned")
    ] * 2


def test_tries_are_added_up() -> None:
    """The stronger receipt counts, with the bytes and retries of both tries."""
    run = PlannedRun(1)
    (batch,) = run.plan.batches
    run.write_receipts(batch, run.receipt("0000", "failed", reason="x", bytes_sent=2, retries=5))
    run.write_receipts(batch, run.receipt("0000", bytes_sent=3, retries=1), try_number=2)
    result = run.results()["0000"]
    assert (result.receipt.status, result.receipt.try_number) == ("copied", 2)
    assert (result.bytes_sent, result.retries, result.batch) == (5, 6, 0)


def test_two_results_make_one() -> None:
    """The order of the tries does not matter."""

    def result(status: Status, bytes_sent: int) -> ObjectResult:
        return ObjectResult.of(Receipt("b", "k", "e", 3, "c", "k", status, bytes_sent=bytes_sent, retries=1), 7)

    failed, copied = result("failed", 2), result("copied", 3)
    for both in (failed.plus(copied), copied.plus(failed)):
        assert (both.receipt.status, both.bytes_sent, both.retries, both.batch) == ("copied", 5, 2, 7)


@pytest.mark.parametrize(
    ("statuses", "status", "code", "batch"),
    [
        (["staged", "copied"], "copied", "", 1),
        (["staged", "staged"], "failed", "not_committed", 0),
        (["staged", "failed"], "failed", "because", 1),
        (["staged", None], "failed", "no_receipt", 1),
        (["unchanged", "staged"], "unchanged", "", 0),
    ],
)
def test_parts_make_one_result(statuses: list[Status | None], status: str, code: str, batch: int) -> None:
    """A settled part settles the object; otherwise it failed, and the result names the batch to look at."""
    run = PlannedRun(0, giant_bytes=4 * MIB, split_bytes=2 * MIB)
    for descriptor, its in zip(run.plan.batches, statuses, strict=True):
        if its:
            reason = "because: x" if its == "failed" else ""
            run.write_receipts(descriptor, run.receipt("giant", its, reason=reason, bytes_sent=MIB))
    result = run.results()["giant"]
    assert (result.receipt.status, code_of(result.receipt.reason), result.batch) == (status, code, batch)
    assert result.bytes_sent == MIB * sum(its is not None for its in statuses)


@pytest.mark.parametrize("status", ["copied", "unchanged"])
@pytest.mark.parametrize(
    ("began", "expected"),
    [
        ("2026-11-28T01:00:10+00:00", True),
        ("2026-11-28T01:00:09+00:00", False),
        ("2026-11-28T00:00:00+00:00", False),
        ("", False),
    ],
)
def test_a_damaged_blob_outweighs_the_part_that_wrote_it(*, status: Status, began: str, expected: bool) -> None:
    """Tries of two tasks cannot be compared: what began before the blob was found damaged says nothing about it."""
    run = PlannedRun(0, giant_bytes=4 * MIB, split_bytes=2 * MIB)
    reason, then = "readback_differs: x", "2026-11-28T01:00:00+00:00"
    first, second = run.plan.batches
    run.write_receipts(second, run.receipt("giant", "failed", reason=reason, started_at=then, seconds=10))
    run.write_receipts(first, run.receipt("giant", status, started_at=began, seconds=1))
    result = run.results()["giant"].receipt
    assert (result.status, code_of(result.reason)) == ((status, "") if expected else ("failed", "readback_differs"))


def test_a_part_that_was_staged_alone_is_failed() -> None:
    """A receipt ``staged`` in a shared batch settles nothing: no other task completes that object."""
    run = PlannedRun(1)
    (batch,) = run.plan.batches
    run.write_receipts(batch, run.receipt("0000", "staged"))
    assert code_of(run.results()["0000"].receipt.reason) == "not_committed"


def test_an_object_left_out_in_another_version_is_corrupt_state() -> None:
    """The plan must have been made from this very listing, object by object."""
    run = PlannedRun(2, unchanged=2)
    run.source.put("bucket", "0001", b"other")
    run.pointer = run.night.make_manifest()
    with pytest.raises(CorruptState, match="another ETag or size"):
        run.results()


def forge(run: PlannedRun, batch: BatchDescriptor, *receipts: Receipt) -> None:
    """Write receipts as somebody does who can write the state container and does not know the digest."""
    text = HEADER + b"".join(json.dumps(receipt.as_dict()).encode() + b"\n" for receipt in receipts)
    run.files.files[f"{folder_of(batch)}001-00009.jsonl.gz"] = gzip.compress(text)


@pytest.mark.parametrize("status", ["copied", "unchanged", "skipped"])
@pytest.mark.parametrize("looks", [True, False])
def test_a_forged_receipt_makes_no_object_succeed(status: Status, *, looks: bool) -> None:
    """The blobs decide, if the destination can be asked; an object without one has failed."""
    run = PlannedRun(3)
    (batch,) = run.plan.batches
    run.write_receipts(batch, run.receipt("0000", "failed", reason="access_denied: no"))
    forge(run, batch, *(run.receipt(f"{number:04}", status) for number in range(3)))
    (listed,) = (found for found in run.source.list("bucket", "0001"))
    run.destination.write("0001", b"abc", metadata=record_of(listed))
    run.destination.write("0002", b"abc", metadata={"s3_etag": "of another version"})
    results = run.results(run.destination if looks else None)
    assert [(result.receipt.status, code_of(result.receipt.reason)) for result in results.values()] == [
        ("failed", "access_denied"),
        ("copied", "by_earlier_try") if looks else ("failed", "no_receipt"),
        ("failed", "no_receipt"),
    ]
    assert results["0001"].receipt.verified_by == ("transport" if looks else "")


def test_a_forged_receipt_of_a_part_makes_no_object_succeed() -> None:
    """The same for an object that several batches copy."""
    run = PlannedRun(0, giant_bytes=4 * MIB, split_bytes=2 * MIB)
    first, second = run.plan.batches
    run.write_receipts(first, run.receipt("giant", "staged"))
    forge(run, second, run.receipt("giant", "copied"))
    assert run.results(run.destination)["giant"].receipt.status == "failed"
    (listed,) = run.source.list("bucket", "giant")
    run.destination.write("giant", bytes(4 * MIB), metadata=record_of(listed))
    assert run.results(run.destination)["giant"].receipt.status == "copied"


def test_the_blobs_of_another_container_confirm_nothing() -> None:
    """plan.json may name a container in which such blobs exist; the task's own arguments decide where they must be."""
    run = PlannedRun(1)
    (batch,) = run.plan.batches
    forge(run, batch, run.receipt("0000"))
    (listed,) = run.source.list("bucket", "")
    elsewhere = MemoryDestination("elsewhere")
    elsewhere.write("0000", b"abc", metadata=record_of(listed))
    assert run.results(elsewhere)["0000"].receipt.status == "failed"


def test_a_forged_failure_hides_no_copy() -> None:
    """Receipts that are bound to the batch count before all others."""
    run = PlannedRun(2)
    (batch,) = run.plan.batches
    run.write_receipts(batch, run.receipt("0000"))
    forged = [run.receipt(f"{number:04}", "failed", reason="because: x", bytes_sent=7) for number in range(2)]
    forge(run, batch, *forged)
    results = run.results()
    assert [(result.receipt.status, result.bytes_sent) for result in results.values()] == [("copied", 0), ("failed", 7)]


@pytest.mark.parametrize("bound", [True, False])
def test_receipts_of_other_keys_are_not_kept(*, bound: bool) -> None:
    """Memory and counts are bounded by the number of objects that the descriptor promises."""
    run = PlannedRun(2)
    (batch,) = run.plan.batches
    run.write_receipts(batch, run.receipt("0000"), run.receipt("0001"))
    others = [run.receipt(f"other {number}", "failed", bytes_sent=7) for number in range(2_000)]
    if bound:
        run.write_receipts(batch, *others)
    else:
        forge(run, batch, *others)
    report = run.report()
    assert (report.total("copied").objects, report.listed.objects, report.bytes_sent) == (2, 2, 0)
    planned = _PlannedObjects(run.files, run.pointer, read_plan_index(run.files), None)
    assert len(planned._results(batch)) <= 2 * batch.objects
