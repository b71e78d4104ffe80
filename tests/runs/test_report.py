"""The report: listed = copied + unchanged + skipped + failed, by key, whatever happened to tasks and files."""

import gzip
import json
import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from s3_to_azure.model.errors import AccessDenied, Cancelled, CorruptState, PermanentError, TransferError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.names import REPORT_FILES
from s3_to_azure.model.objects import Amount
from s3_to_azure.model.reasons import Status
from s3_to_azure.runs.report import MAX_SUMMARY_BYTES
from s3_to_azure.state.failures import FailureLine, read_failures
from s3_to_azure.state.lines import lines
from s3_to_azure.state.plan import left_out_name
from s3_to_azure.state.receipts import folder_of
from tests.runs.planned_run import PlannedRun

START = datetime(2026, 3, 1, 2, tzinfo=UTC)


def test_a_clean_night_adds_up() -> None:
    """All statuses add up to what was listed, in the summary, the CSV and the receipts; XCom and file say the same."""
    run = PlannedRun(20, giant_bytes=6 * MIB, unchanged=5, split_bytes=2 * MIB)
    run.source.put("bucket", "folder/", b"")
    plan, _, report = replace(run.night, files=run.files).run()
    assert len([batch for batch in plan.batches if batch.kind == "range"]) == 3
    summary = report.summary()
    assert summary == json.loads(run.files.files["report.json"])
    assert (report.failed, report.error()) == (False, None)
    assert summary["listed"] == {"objects": 22, "size_bytes": 60 + 6 * MIB}
    assert summary["copied"] == {"objects": 16, "size_bytes": 45 + 6 * MIB}
    assert summary["unchanged"] == {"objects": 5, "size_bytes": 15}
    assert summary["skipped"] == {"objects": 1, "size_bytes": 0}
    assert summary["proofs"] == {"crc64nvme": 16}
    assert summary["bytes_sent"] == 45 + 6 * MIB
    assert summary["bytes_resumed"] == 0
    assert (summary["failures"], summary["more_failures"]) == ([], 0)
    assert {row["status"]: row["objects"] for row in summary["reasons"]} == {"skipped": 1}
    rows = run.rows()
    assert [row["key"] for row in rows] == [listed.key for listed in run.source.list("bucket", "")]
    stored = [json.loads(line) for line in lines([run.files.files["receipts.jsonl.gz"]], path="")]
    assert len(stored) == 22


def test_an_object_without_a_receipt_fails_the_run() -> None:
    """A task that vanished is found by the receipts that it did not write."""
    run = PlannedRun(10)
    (batch,) = run.plan.batches
    run.write_receipts(batch, *(run.receipt(f"{number:04}") for number in range(9)))
    report = run.report()
    assert report.total("failed") == Amount(1, 3)
    assert report.summary()["failures"] == [
        {"key": "0009", "reason": "no_receipt: no task wrote a receipt for it", "batch": 0, "try_number": 1}
    ]
    assert isinstance(report.error(), PermanentError)
    assert "1 of 10 objects failed; first: '0009': no_receipt: no task" in str(report.error())


def test_all_failed_objects_are_in_a_file_of_their_own() -> None:
    """Beyond what the summary holds too, in the order of the listing, with their tasks; nothing else is in it."""
    run = PlannedRun(300)
    (batch,) = run.plan.batches
    run.write_receipts(
        batch, run.receipt("0000"), *(run.receipt(f"{n:04}", "failed", reason=f"throttled: {n}") for n in range(1, 299))
    )
    report = run.report()
    assert report.summary()["more_failures"] > 0
    found = list(read_failures([run.files.files["failures.jsonl.gz"]], location=""))
    assert [failure.key for failure in found] == [f"{n:04}" for n in range(1, 300)]
    assert found[0] == FailureLine("0001", "throttled: 1", 3, 0, 1)
    assert found[-1].reason.startswith("no_receipt: ")


def test_the_strongest_try_counts() -> None:
    """An object copied by any try is copied; the bytes of all tries count; resumed is what the last did not send."""
    run = PlannedRun(3)
    (batch,) = run.plan.batches
    failed = run.receipt("0000", "failed", reason="server_failed: 500", bytes_sent=2, retries=5)
    run.write_receipts(
        batch, failed, run.receipt("0001", bytes_sent=3), run.receipt("0002", "failed", reason="a: first")
    )
    run.write_receipts(
        batch,
        run.receipt("0000", bytes_sent=1, blocks_resumed=1),
        run.receipt("0001", "failed", reason="a zombie"),
        run.receipt("0002", "failed", reason="b: second"),
        try_number=2,
    )
    report = run.report()
    assert (report.total("copied").objects, report.total("failed").objects) == (2, 1)
    assert (report.bytes_sent, report.bytes_resumed, report.retries) == (6, 2, 5)
    assert report.summary()["failures"] == [{"key": "0002", "reason": "b: second", "batch": 0, "try_number": 2}]


@pytest.mark.parametrize(
    ("statuses", "expected", "reason"),
    [
        (["staged", "staged", "copied"], "copied", ""),
        (["copied", "copied", "copied"], "copied", ""),
        (["copied", "failed", None], "copied", ""),
        (["staged", "failed", "staged"], "failed", "because"),
        (["staged", None, "staged"], "failed", "no_receipt"),
        (["staged", "staged", "staged"], "failed", "not_committed"),
        (["skipped", "skipped", "staged"], "skipped", "source_deleted"),
        (["staged", "unchanged", "staged"], "unchanged", ""),
    ],
)
def test_the_parts_of_an_object_make_one_row(statuses: list[Status | None], expected: str, reason: str) -> None:
    """An object copied in parts is settled if any part settles it, and failed if none does."""
    run = PlannedRun(0, giant_bytes=6 * MIB, split_bytes=2 * MIB)
    reasons = {"failed": "because: x", "skipped": "source_deleted"}
    for batch, status in zip(run.plan.batches, statuses, strict=True):
        if status:
            run.write_receipts(batch, run.receipt("giant", status, reason=reasons.get(status, ""), bytes_sent=MIB))
    report = run.report()
    assert report.total(expected) == Amount(1, 6 * MIB)
    (row,) = run.rows()
    assert (row["status"], row["reason"].partition(":")[0]) == (expected, reason)
    assert report.bytes_sent == MIB * sum(status is not None for status in statuses)


def test_the_row_of_an_object_adds_its_parts_up() -> None:
    """Bytes, resumed blocks and retries are sums, the seconds are the slowest part's, the start is the first's."""
    run = PlannedRun(0, giant_bytes=4 * MIB, split_bytes=2 * MIB)
    one, two = run.plan.batches
    first = {
        "bytes_sent": MIB,
        "blocks_resumed": 1,
        "retries": 2,
        "seconds": 7.0,
        "started_at": "2026-03-01T02:00:00Z",
    }
    second = {
        "bytes_sent": 2 * MIB,
        "blocks_resumed": 3,
        "retries": 4,
        "seconds": 5.0,
        "started_at": "2026-03-01T03:00:00Z",
    }
    run.write_receipts(one, run.receipt("giant", "staged", **first))
    run.write_receipts(two, run.receipt("giant", "copied", **second))
    report = run.report()
    assert (report.bytes_sent, report.retries) == (3 * MIB, 6)
    (line,) = lines([run.files.files["receipts.jsonl.gz"]], path="")
    row = json.loads(line)
    assert {name: row[name] for name in first} == {
        "bytes_sent": 3 * MIB,
        "blocks_resumed": 4,
        "retries": 6,
        "seconds": 7.0,
        "started_at": "2026-03-01T02:00:00Z",
    }


def test_a_failure_in_parts_names_the_part_that_failed() -> None:
    """The failure names the batch whose task's log has the details."""
    run = PlannedRun(0, giant_bytes=4 * MIB, split_bytes=2 * MIB)
    one, two = run.plan.batches
    run.write_receipts(one, run.receipt("giant", "staged"))
    run.write_receipts(two, run.receipt("giant", "failed", reason="because"))
    (failure,) = run.report().summary()["failures"]
    assert (failure["key"], failure["batch"]) == ("giant", two.index)


def test_an_object_without_a_receipt_has_a_whole_row() -> None:
    """A row made from the listing alone holds the version, and the blob that would have been written."""
    run = PlannedRun(2)
    listed = {one.key: one for one in run.source.list("bucket", "")}
    run.report()
    row = run.rows()[1]
    wanted = {"bucket": "bucket", "key": "0001", "etag": listed["0001"].etag, "size_bytes": "3", "blob": "0001"}
    assert {name: row[name] for name in wanted} == wanted


def test_the_tries_of_a_part_are_joined_too() -> None:
    """A part killed and retried counts once, with all its bytes."""
    run = PlannedRun(0, giant_bytes=4 * MIB, split_bytes=2 * MIB)
    one, two = run.plan.batches
    run.write_receipts(one, run.receipt("giant", "failed", reason="x", bytes_sent=MIB))
    run.write_receipts(one, run.receipt("giant", "staged", bytes_sent=MIB), try_number=2)
    run.write_receipts(two, run.receipt("giant", "copied", bytes_sent=2 * MIB))
    report = run.report()
    assert report.total("copied") == Amount(1, 4 * MIB)
    assert report.bytes_sent == 4 * MIB


@settings(max_examples=80)
@given(
    seed=st.integers(0, 10**6),
    count=st.integers(0, 30),
    unchanged=st.integers(0, 10),
    giant=st.sampled_from([0, 6 * MIB]),
)
def test_every_object_is_one_row_whatever_tasks_wrote(seed: int, count: int, unchanged: int, giant: int) -> None:
    """With receipts lost, doubled, contradictory or in any order, each listed key is in the report exactly once."""
    choose = random.Random(seed)
    run = PlannedRun(count, giant_bytes=giant, unchanged=unchanged, split_bytes=2 * MIB)
    statuses: tuple[Status, ...] = ("copied", "unchanged", "skipped", "failed", "staged")
    keys = [listed.key for listed in run.source.list("bucket", "")]
    for batch in run.plan.batches:
        for try_number in range(1, choose.randint(1, 3)):
            receipts = [run.receipt(choose.choice(keys), choose.choice(statuses)) for _ in range(choose.randint(0, 20))]
            run.write_receipts(batch, *receipts, try_number=try_number)
    report = run.report()
    assert [row["key"] for row in run.rows()] == keys
    assert {row["status"] for row in run.rows()} <= {"copied", "unchanged", "skipped", "failed"}
    totals = [report.total(status) for status in ("copied", "unchanged", "skipped", "failed")]
    assert sum(total.objects for total in totals) == len(keys)
    assert sum(total.size_bytes for total in totals) == run.pointer.bytes_total
    assert report.failed == any(row["status"] == "failed" for row in run.rows())


def test_without_a_plan_every_object_is_failed() -> None:
    """If the plan failed, each listed object fails as ``unplanned``."""
    run = PlannedRun(3)
    run.files.delete("plan.json")
    assert run.report().summary()["reasons"] == [
        {"status": "failed", "reason": "unplanned", "objects": 3, "size_bytes": 9}
    ]


def test_a_plan_of_an_earlier_listing_does_not_count() -> None:
    """A sensor that ran again with a plan task that did not is no finished run."""
    run = PlannedRun(3)
    run.pointer = run.night.make_manifest()
    assert run.report().total("failed").objects == 3


def test_a_sensor_that_ran_again_alone_changes_nothing_that_is_planned() -> None:
    """The plan's own listing counts; only what came later, or changed, is unplanned."""
    run = PlannedRun(3)
    (batch,) = run.plan.batches
    run.write_receipts(batch, *(run.receipt(f"{number:04}") for number in range(3)))
    planned = run.pointer
    run.pointer = run.night.make_manifest()
    report = run.report()
    assert (report.total("copied").objects, report.total("failed").objects, report.plan) == (3, 0, run.plan.token)
    for key in ("0001", "0002a", "0009"):
        run.source.put("bucket", key, b"later")
    run.source.delete("bucket", "0002")
    run.pointer = run.night.make_manifest()
    report = run.report()
    assert (report.total("copied").objects, report.total("failed").objects) == (3, 3)
    assert [(failure.key, failure.reason.partition(":")[0]) for failure in report.failures] == [
        (key, "unplanned") for key in ("0001", "0002a", "0009")
    ]
    assert len(run.rows()) == planned.objects + 3


def test_a_version_that_was_copied_is_no_new_one_after_another_listing() -> None:
    """A copy takes S3's current version, which the sensor lists when it runs again: that object is accounted for."""
    run = PlannedRun(2)
    version = run.source.put("bucket", "0001", b"newer")
    (batch,) = run.plan.batches
    newer = replace(run.receipt("0001"), etag=version.etag, size_bytes=5)
    run.write_receipts(batch, run.receipt("0000"), newer)
    run.pointer = run.night.make_manifest()
    report = run.report()
    assert (report.total("copied").objects, report.total("failed").objects) == (2, 0)
    run = PlannedRun(2)
    (batch,) = run.plan.batches
    run.write_receipts(batch, run.receipt("0000"), replace(newer, status="failed", reason="throttled"))
    run.source.put("bucket", "0001", b"newer")
    run.pointer = run.night.make_manifest()
    assert run.report().total("failed").objects == 2


def test_without_order_two_listings_cannot_be_compared() -> None:
    """So every object of the later one is unplanned."""
    run = PlannedRun(3)
    run.pointer = structs.replace(run.night.make_manifest(), ordered=False)
    assert run.report().total("failed").objects == 3


def test_receipts_of_an_earlier_plan_do_not_count() -> None:
    """A cleared run is planned again, and receipts of the earlier plan say nothing about the new batches."""
    run = PlannedRun(3)
    (batch,) = run.plan.batches
    run.write_receipts(batch, *(run.receipt(f"{number:04}") for number in range(3)))
    run.plan = run.night.plan(run.pointer)
    assert run.report().total("failed").objects == 3


def test_an_empty_listing_is_a_report() -> None:
    """A run with nothing to do is no failure."""
    report = PlannedRun(0).report()
    assert (report.failed, report.listed, report.seconds) == (False, Amount(), 0.0)


def test_a_summary_of_a_million_failures_fits_into_xcom() -> None:
    """Failures are listed as far as they fit, with a count of the rest; the longest keys and reasons are cut."""
    run = PlannedRun(0)
    for number in range(300):
        run.source.put("bucket", f"{number:04}" + "\U0001d11e" * 250, b"abc")
    run.pointer = run.night.make_manifest()
    run.plan = run.night.plan(run.pointer)
    (batch,) = run.plan.batches
    run.write_receipts(
        batch,
        *(
            run.receipt(listed.key, "failed", reason="broken: " + "\U0001d11e" * 1_900)
            for listed in run.source.list("bucket", "")
        ),
    )
    summary = run.report().summary()
    assert len(json.dumps(summary)) <= MAX_SUMMARY_BYTES
    assert summary["failures"]
    assert len(summary["failures"]) + summary["more_failures"] == 300


def test_the_summary_has_the_slowest_ten_and_the_rate() -> None:
    """The summary names the slowest copies, and the rate from the first start to the last end."""
    run = PlannedRun(20)
    (batch,) = run.plan.batches
    run.write_receipts(
        batch,
        *(
            run.receipt(
                f"{number:04}",
                bytes_sent=100,
                seconds=float(number),
                started_at=(START + timedelta(seconds=number)).isoformat(),
            )
            for number in range(20)
        ),
    )
    summary = run.report().summary()
    assert [slow["key"] for slow in summary["slowest"]] == [f"{number:04}" for number in range(19, 9, -1)]
    assert (summary["seconds"], summary["bytes_per_second"]) == (38.0, round(2_000 / 38))


@pytest.mark.parametrize("name", ["manifest", "plan.json", "batches", "left_out", "receipts/00000"])
def test_a_damaged_state_file_is_corrupt_state(name: str) -> None:
    """A report over damaged files fails with the file's name; it never guesses."""
    run = PlannedRun(5, unchanged=2)
    (batch,) = run.plan.batches
    run.write_receipts(batch, *(run.receipt(f"{number:04}") for number in range(2, 5)))
    assert not run.report().failed
    # The plan of each token is there too, beside the current one.
    (found,) = [file for file in run.files.files if name in file and not file.endswith("/plan.json")]
    run.files.files[found] = run.files.files[found][:-9]
    with pytest.raises(CorruptState):
        run.report()


def test_a_planned_object_that_was_not_listed_is_corrupt_state() -> None:
    """The plan may hold listed objects only, each once."""
    run = PlannedRun(5, unchanged=5)
    name = f"plan-{run.plan.token}/left_out.jsonl.gz"
    header, *rows = gzip.decompress(run.files.files[name]).splitlines(keepends=True)
    run.files.files[name] = gzip.compress(b"".join([header, *rows, *rows]))
    with pytest.raises(CorruptState, match="not listed"):
        run.report()


def test_an_object_left_out_under_another_status_is_corrupt_state() -> None:
    """What the plan could not copy does not become a skipped object in its file."""
    run = PlannedRun(1)
    run.source.put("bucket", "refused.", b"abc")
    run.pointer = run.night.make_manifest()
    plan, _, report = run.night.run_from(run.pointer)
    assert report.total("failed").objects == 1
    name = left_out_name(plan.token)
    text = gzip.decompress(run.files.files[name])
    assert text.count(b'"failed"') == 1
    run.files.files[name] = gzip.compress(text.replace(b'"failed"', b'"skipped"'))
    with pytest.raises(CorruptState, match="not the file that the plan wrote"):
        run.report()


def test_old_runs_are_deleted_as_asked() -> None:
    """``keep_days`` deletes older runs; without it nothing is deleted."""
    run = PlannedRun(0)
    run.report()
    assert run.files.deleted_before is None
    run.report(keep_days=30, now=START)
    assert run.files.deleted_before == START - timedelta(days=30)


def test_old_runs_that_cannot_be_deleted_do_not_fail_the_report(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """All objects are accounted for by then, and the log says what is kept; a stop is a stop."""
    run = PlannedRun(0)
    error: TransferError = AccessDenied(service="Azure", resource="state", code="403", cure="Grant it.")

    def refuse(*_: Any, **__: Any) -> int:
        raise error

    monkeypatch.setattr(run.files, "delete_runs_before", refuse)
    run.report(keep_days=30, now=START)
    assert "ended before 2026-01-30" in caplog.text
    assert str(error) in caplog.text
    error = Cancelled.now()
    with pytest.raises(Cancelled):
        run.report(keep_days=30, now=START)


def test_a_report_that_was_given_up_replaces_none() -> None:
    """Its task was taken for dead, and goes on after the next try has reported; a later try replaces it."""
    run = PlannedRun(2)
    run.report(try_number=2)
    names = ("report.json", "report.csv", "receipts.jsonl.gz", "certificate.json")
    counts = {name: run.files.files[name] for name in names}
    run.write_receipts(run.plan.batches[0], run.receipt("0000"))
    assert run.report(try_number=1).total("copied").objects == 1
    assert {name: run.files.files[name] for name in names} == counts
    run.report(try_number=3)
    assert json.loads(run.files.files["report.json"])["copied"]["objects"] == 1
    assert all(run.files.files[name] != counts[name] for name in names)


def test_the_report_is_of_the_plan_that_was_asked_for() -> None:
    """Another try may have made another plan the current one, whose objects no task has copied."""
    run = PlannedRun(2)
    run.write_receipts(run.plan.batches[0], run.receipt("0000"), run.receipt("0001"))
    zombie = run.night.plan(run.pointer)
    assert zombie.token != run.plan.token
    assert run.report().total("failed").objects == 2
    report = run.report(plan=run.plan.reference)
    assert (report.total("copied").objects, report.plan) == (2, run.plan.token)


def test_a_report_can_be_made_again() -> None:
    """A retried report task writes the same report."""
    run = PlannedRun(5)
    run.night.run()
    first = run.report().summary()
    assert run.report().summary() == first
    assert folder_of(run.plan.batches[0])


def test_the_lines_account_for_everything() -> None:
    """A person reads amounts by status and reason, proofs, throughput, the failures and where the files are."""
    run = PlannedRun(4, unchanged=1)
    (batch,) = run.plan.batches
    copied = run.receipt("0001", bytes_sent=3, seconds=2.0, started_at=START.isoformat())
    run.write_receipts(batch, copied, run.receipt("0002", "failed", reason="access_denied: because"))
    assert list(run.report().lines()) == [
        f"Proven:    {run.report().summary()['proven']}",
        "Listed:    4 objects (12 bytes)",
        "Copied:    1 object (3 bytes)",
        "Unchanged: 1 object (3 bytes)",
        "Skipped:   0 objects (0 bytes)",
        "Failed:    2 objects (6 bytes)",
        "           1 object (3 bytes): access_denied, such as '0002': access_denied: because",
        f"           1 object (3 bytes): no_receipt, such as {run.report().samples['no_receipt']}",
        "Verified:  1 by crc64nvme",
        "Sent:      3 bytes in 2.0 s (2 bytes/s); 0 bytes were in Azure already",
        f"Files:     {', '.join(REPORT_FILES)} in {run.files.location}",
        f"Certified: certificate.json, root {json.loads(run.files.files['certificate.json'])['root']}, unsigned",
    ]


def test_the_lines_have_one_sample_of_each_reason() -> None:
    """A log with thousands of failures stays readable, and the CSV file has them all."""
    run = PlannedRun(25)
    report = run.report()
    (line,) = [line for line in report.lines() if "no_receipt" in line]
    assert line.startswith("           25 objects (75 bytes): no_receipt, such as '0000': no_receipt: no task wrote")
    assert report.verdict() == "25 of 25 objects failed, for 1 reason; nothing was copied"
    summary = report.summary()
    assert summary["verdict"] == report.verdict()
    assert summary["samples"] == report.samples
    assert report.samples["no_receipt"].endswith("Clear the copy task that ended early, or start a new run.")


def test_no_reason_adds_a_line_to_the_log_or_outgrows_the_summary() -> None:
    """A state file may hold any text."""
    run = PlannedRun(100)
    (batch,) = run.plan.batches
    evil = "\U0001f600" * 1_900 + "\nFailed:    0 objects\r\u2028y"
    forged = (run.receipt(f"{n:04}", "failed", reason=f"{n}{evil}") for n in range(50))
    proofs = (run.receipt(f"{n:04}") for n in range(50, 100))
    run.write_receipts(batch, *forged, *(replace(receipt, verified_by=f"a\nb{receipt.key}") for receipt in proofs))
    report = run.report()
    assert all(len(line.splitlines()) == 1 for line in report.lines())
    assert len(json.dumps(report.summary())) < MAX_SUMMARY_BYTES
