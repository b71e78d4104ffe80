"""The report of a run: every listed object accounted for, the totals, and whether the run failed."""

import heapq
import json
import logging
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from s3_to_azure.model.errors import Cancelled, CorruptState, SomeObjectsFailed, TransferError
from s3_to_azure.model.formatting import duration_text, size_text, verdict_text
from s3_to_azure.model.names import (
    REPORT_FILES,
    REPORT_NAME,
)
from s3_to_azure.model.objects import Amount, ListedObject, Receipt, TaskTry
from s3_to_azure.model.options import TRANSPORT
from s3_to_azure.model.ports import BlobDestination, IsOver, StateFiles
from s3_to_azure.model.reasons import (
    COPIED,
    FAILED,
    FINAL_STATUSES,
    SKIPPED,
    UNCHANGED,
    FailureGroups,
    sample_text,
    short_code,
    such_as,
)
from s3_to_azure.runs.announced import Missed, MissedByEvents
from s3_to_azure.runs.certificate import (
    Certificate,
    Certification,
    make_certificate,
    write_certificate,
)
from s3_to_azure.runs.proven import ProvenAmounts
from s3_to_azure.runs.reconcile import ObjectResult, reconcile_run
from s3_to_azure.runs.report_rows import report_rows
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.state.plan import PlanIndex, PlanReference, read_plan_index
from s3_to_azure.transfer.fetched.ways import Ways

MAX_SUMMARY_BYTES: Final = 64_000
_MAX_SAMPLE_BYTES: Final = 16_000
_MAX_FAILURES: Final = 200
_MAX_SLOWEST: Final = 10
_MAX_KEY_CHARACTERS: Final = 300
_MAX_REASON_CHARACTERS: Final = 500
_MAX_CODE_CHARACTERS: Final = 100
# There are few reasons, but a damaged state file could hold any number.
_MAX_REASONS: Final = 50
_OTHER: Final = "other"

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed object, and which task's log has the details.

    Attributes:
        batch: Index of its batch; None if no batch holds it.
        try_number: The try of that batch's task.
    """

    key: str
    reason: str
    batch: int | None
    try_number: int

    def shortened(self) -> "Failure":
        """Return the failure with key and reason cut to a length that a summary can hold."""
        reason = _one_line(self.reason, _MAX_REASON_CHARACTERS)
        return Failure(self.key[:_MAX_KEY_CHARACTERS], reason, self.batch, self.try_number)


def _one_line(text: str, characters: int) -> str:
    """Return the text as one line of at most that many characters: a state file may hold line ends."""
    return " ".join(text.split())[:characters]


@dataclass(frozen=True, slots=True)
class Report:
    """A run's receipts, reconciled with its listing.

    Attributes:
        plan: The plan's token; empty if there is no plan.
        counts: Objects and bytes by status and reason code; the code is empty where there is no reason.
        proofs: Number of copied objects by verification level.
        bytes_sent: Bytes sent by all tries.
        bytes_resumed: Bytes of copied objects that Azure already held before the last try.
        retries: Requests that were retried.
        seconds: From the start of the first copy to the end of the last.
        slowest: The copies that took longest.
        failures: The first failed objects, in the order of the listing.
        samples: The first failed object of each reason's code, in one line that says what to do.
        certificate: The certificate over all receipts; None before it is made.
        proven: What is in Azure, by verification level; None before all receipts are counted.
        missed: What no event announced; None where that is not known.
        ways: Which way the bytes of the copied objects took.
    """

    bucket: str
    prefix: str
    container: str
    plan: str
    location: str
    listed: Amount
    counts: dict[tuple[str, str], Amount]
    proofs: dict[str, int]
    bytes_sent: int
    bytes_resumed: int
    retries: int
    seconds: float
    slowest: tuple[Receipt, ...]
    failures: tuple[Failure, ...]
    samples: Mapping[str, str] = field(default_factory=dict)
    certificate: Certificate | None = None
    proven: ProvenAmounts | None = None
    missed: Missed | None = None
    ways: Ways = field(default_factory=Ways)

    def total(self, status: str) -> Amount:
        """Return the objects and bytes with a status."""
        amounts = [amount for (its, _), amount in self.counts.items() if its == status]
        return Amount(sum(amount.objects for amount in amounts), sum(amount.size_bytes for amount in amounts))

    @property
    def failed(self) -> bool:
        """Whether any object failed or has no receipt."""
        return self.total(FAILED).objects > 0

    def error(self) -> SomeObjectsFailed | None:
        """Return the run's error, or None if no object failed."""
        if not self.failed:
            return None
        first = self.failures[0]
        return SomeObjectsFailed(
            failed=self.total(FAILED).objects, total=self.listed.objects, first=sample_text(first.key, first.reason)
        )

    def verdict(self) -> str:
        """Return the run's result in one sentence."""
        totals = {status: self.total(status).objects for status in FINAL_STATUSES}
        return verdict_text(
            listed=self.listed.objects,
            copied=totals[COPIED],
            unchanged=totals[UNCHANGED],
            skipped=totals[SKIPPED],
            failed=totals[FAILED],
            reasons=sum(status == FAILED for status, _ in self.counts),
            unproven=self.proofs.get(TRANSPORT, 0),
        )

    @property
    def bytes_per_second(self) -> int:
        """Bytes sent per second; 0 if nothing was copied."""
        return round(self.bytes_sent / self.seconds) if self.seconds else 0

    def lines(self) -> Iterator[str]:
        """Yield the report for a person: what is proven, objects by status and reason, throughput, failures, files."""
        if self.proven:
            yield f"Proven:    {self.proven.text()}"
        yield f"Listed:    {self.listed.text()}"
        for status in FINAL_STATUSES:
            yield f"{status.capitalize() + ':':10} {self.total(status).text()}"
            for (its, reason), amount in sorted(self.counts.items()):
                if its == status and reason:
                    sample = self.samples.get(reason) if its == FAILED else None
                    yield f"           {amount.text()}: {reason}{such_as(sample)}"
        if self.missed:
            yield f"Missed:    {self.missed.text()}"
        if self.proofs:
            yield f"Verified:  {', '.join(f'{count:,} by {level}' for level, count in sorted(self.proofs.items()))}"
        yield from self.ways.lines()
        yield (
            f"Sent:      {size_text(self.bytes_sent)} in {duration_text(self.seconds)} "
            f"({size_text(self.bytes_per_second)}/s); {size_text(self.bytes_resumed)} were in Azure already"
        )
        yield f"Files:     {', '.join(REPORT_FILES)} in {self.location}"
        if self.certificate:
            yield f"Certified: {self.certificate.text()}"

    def summary(self) -> dict[str, Any]:
        """Return the report as at most 64 KB of JSON: the failures that fit, and the number of the others."""
        values: dict[str, Any] = {
            "plan": self.plan,
            "bucket": self.bucket,
            "prefix": self.prefix,
            "container": self.container,
            "location": self.location,
            "files": list(REPORT_FILES),
            "certificate": self.certificate.summary() if self.certificate else {},
            "proven": self.proven.text() if self.proven else "",
            "verdict": self.verdict(),
            "listed": asdict(self.listed),
            **{status: asdict(self.total(status)) for status in FINAL_STATUSES},
            "reasons": [
                {"status": status, "reason": reason, **asdict(amount)}
                for (status, reason), amount in sorted(self.counts.items())
                if reason
            ],
            "samples": self._samples_within(_MAX_SAMPLE_BYTES),
            "proofs": dict(sorted(self.proofs.items())),
            **self.ways.summary(),
            "bytes_sent": self.bytes_sent,
            "bytes_resumed": self.bytes_resumed,
            "retries": self.retries,
            "seconds": self.seconds,
            "bytes_per_second": self.bytes_per_second,
            "slowest": [
                {"key": receipt.key[:_MAX_KEY_CHARACTERS], "size_bytes": receipt.size_bytes, "seconds": receipt.seconds}
                for receipt in self.slowest
            ],
        }
        if self.missed:
            values["missed_by_events"] = self.missed.summary()
        failures = self._failures_within(MAX_SUMMARY_BYTES - len(json.dumps(values)) - 100)
        more = self.total(FAILED).objects - len(failures)
        return values | {"failures": failures, "more_failures": more}

    def _samples_within(self, size_bytes: int) -> dict[str, str]:
        """Return the samples whose JSON fits into a size."""
        samples: dict[str, str] = {}
        for code, sample in self.samples.items():
            size_bytes -= len(json.dumps(sample))
            if size_bytes >= 0:
                samples[code] = sample
        return samples

    def _failures_within(self, size_bytes: int) -> list[dict[str, Any]]:
        """Return the first failures whose JSON fits into a size."""
        failures: list[dict[str, Any]] = []
        for failure in self.failures:
            values = asdict(failure.shortened())
            size_bytes -= len(json.dumps(values)) + 2
            if size_bytes < 0:
                break
            failures.append(values)
        return failures


def make_report(  # noqa: PLR0913 - what is reported, by whom, and what is deleted
    files: StateFiles,
    pointer: ManifestPointer,
    *,
    destination: BlobDestination | None = None,
    plan: PlanReference | None = None,
    try_number: int | None = None,
    keep_days: int | None = None,
    is_over: IsOver | None = None,
    certification: Certification | None = None,
    missed: MissedByEvents | None = None,
    now: datetime | None = None,
) -> Report:
    """Reconcile the run's receipts with its listing, and write the report, all receipts, and their certificate.

    Safe to repeat, and to run twice: what a later try has written stays. Failed objects raise no error here: the caller
    raises ``Report.error()`` when all else is done.

    Args:
        files: The run's files.
        pointer: The manifest.
        destination: Shows which objects are copied whose receipts are not bound to the plan.
        plan: The plan whose batches were copied; None: the run's current one.
        try_number: Number of the try that reports; None: no other one does.
        keep_days: Delete the state of this DAG's other runs that ended longer ago; None keeps all.
        is_over: Tells which of them have ended, as for ``StateFiles.delete_runs_before``.
        certification: What the certificate says besides the receipts; None: it is unsigned.
        missed: Finds what no event announced; None: there are no events.
        now: The current time, for tests.

    Raises:
        CorruptState: A state file is damaged.
    """
    by = None if try_number is None else TaskTry(pointer.token, try_number, datetime.now(UTC))
    index = read_plan_index(files, plan)
    totals = _Totals()
    with report_rows(files, by) as rows:
        for listed, result in reconcile_run(files, pointer, index, destination):
            rows.add(listed, result)
            totals.add(listed, result)
            if missed:
                missed.add_copied(listed, result.receipt)
    is_planned = index is None or index.manifest == pointer.token
    if is_planned and totals.listed != Amount(pointer.objects, pointer.bytes_total):
        raise CorruptState(path=f"{files.location}/{pointer.name}", detail="not every listed object is accounted for")
    certificate = make_certificate(
        rows.sums, pointer, index, run=files.location, certification=certification or Certification(), now=now
    )
    write_certificate(files, certificate, by)
    report = replace(
        totals.report(pointer, index, files.location),
        certificate=certificate,
        proven=rows.sums.proven,
        missed=missed.result() if missed else None,
    )
    with files.write(REPORT_NAME, by=by) as out:
        out.write(json.dumps(report.summary(), indent=1).encode("ascii"))
    if keep_days is not None:
        _delete_old_runs(files, (now or datetime.now(UTC)) - timedelta(days=keep_days), is_over)
    return report


def _delete_old_runs(files: StateFiles, moment: datetime, is_over: IsOver | None) -> None:
    """Delete the state of old runs; that of a run whose objects are all accounted for does not fail it."""
    try:
        files.delete_runs_before(moment, is_over=is_over)
    except Cancelled:
        raise
    except TransferError as error:
        log.warning("The state of runs that ended before %s is not deleted completely: %s", f"{moment:%Y-%m-%d}", error)


class _Totals:
    """Counts all results in constant memory."""

    def __init__(self) -> None:
        self.listed = Amount()
        self._counts: dict[tuple[str, str], Amount] = {}
        self._proofs: dict[str, int] = {}
        self._bytes_sent = self._bytes_resumed = self._retries = 0
        self._first_start = self._last_end = 0.0
        self._slowest: list[tuple[float, int, Receipt]] = []
        self._failures: list[Failure] = []
        self._groups = FailureGroups()
        self._ways = Ways()

    def add(self, listed: ListedObject, result: ObjectResult) -> None:
        """Count one object with its listed size: the copied version may be newer and of another size."""
        receipt = result.receipt
        self.listed = self.listed.plus(listed.size_bytes)
        name = (receipt.status, short_code(receipt.reason))
        if name not in self._counts and len(self._counts) >= _MAX_REASONS:
            name = (receipt.status, _OTHER)
        self._counts[name] = self._counts.get(name, Amount()).plus(listed.size_bytes)
        self._bytes_sent += result.bytes_sent
        self._retries += result.retries
        self._extend_duration(receipt)
        self._ways.add(receipt)
        if receipt.status == COPIED:
            self._add_copied(receipt)
        if receipt.status == FAILED:
            self._groups.add(receipt.key, receipt.reason)
            if len(self._failures) < _MAX_FAILURES:
                self._failures.append(Failure(receipt.key, receipt.reason, result.batch, receipt.try_number))

    def report(self, pointer: ManifestPointer, index: PlanIndex | None, location: str) -> Report:
        return Report(
            bucket=pointer.bucket,
            prefix=pointer.prefix,
            container=index.container if index else "",
            plan=index.token if index else "",
            location=location,
            listed=self.listed,
            counts=self._counts,
            proofs=self._proofs,
            bytes_sent=self._bytes_sent,
            bytes_resumed=self._bytes_resumed,
            retries=self._retries,
            seconds=round(self._last_end - self._first_start, 3),
            slowest=tuple(receipt for _, _, receipt in sorted(self._slowest, reverse=True)),
            failures=tuple(self._failures),
            samples=self._groups.samples(),
            ways=self._ways,
        )

    def _add_copied(self, receipt: Receipt) -> None:
        level = _one_line(receipt.verified_by, _MAX_CODE_CHARACTERS) or "unknown"
        if level not in self._proofs and len(self._proofs) >= _MAX_REASONS:
            level = _OTHER
        self._proofs[level] = self._proofs.get(level, 0) + 1
        self._bytes_resumed += max(0, receipt.size_bytes - receipt.bytes_sent)
        # The number of the object breaks ties, since receipts cannot be compared.
        heapq.heappush(self._slowest, (receipt.seconds, -self.listed.objects, receipt))
        if len(self._slowest) > _MAX_SLOWEST:
            heapq.heappop(self._slowest)

    def _extend_duration(self, receipt: Receipt) -> None:
        try:
            start = datetime.fromisoformat(receipt.started_at).timestamp()
        except ValueError:
            return
        self._first_start = min(self._first_start or start, start)
        self._last_end = max(self._last_end, start + receipt.seconds)
