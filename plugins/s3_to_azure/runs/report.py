"""The report of a run: every listed object accounted for, the totals, and whether the run failed."""

import csv
import heapq
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from s3_to_azure.model.errors import CorruptState, SomeObjectsFailed
from s3_to_azure.model.formatting import duration_text, size_text
from s3_to_azure.model.objects import ListedObject, Receipt
from s3_to_azure.model.ports import StateFiles, StateWriter
from s3_to_azure.model.reasons import COPIED, FAILED, FINAL_STATUSES, code_of
from s3_to_azure.planning.plan import Amount
from s3_to_azure.runs.reconcile import Account, reconcile
from s3_to_azure.state.lines import LinesWriter
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.state.plan import PlanIndex, read_plan_index

REPORT_NAME: Final = "report.json"
CSV_NAME: Final = "report.csv"
RECEIPTS_NAME: Final = "receipts.jsonl.gz"
_FILES: Final = (REPORT_NAME, CSV_NAME, RECEIPTS_NAME)
COLUMNS: Final = tuple(field.name for field in fields(Receipt))
# What a spreadsheet takes for a formula (https://owasp.org/www-community/attacks/CSV_Injection).
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n")
_MEMBER_LINES: Final = 10_000


def safe_cell(value: object) -> object:
    """Return the value so that no spreadsheet takes a text for a formula: with an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULA) else value


class ReportRows:
    """The two files while they are written.

    Args:
        table: The CSV file.
        receipts: The JSON lines.
    """

    def __init__(self, table: StateWriter, receipts: StateWriter) -> None:
        """Write the column names."""
        self._csv = csv.writer(_Utf8(table), lineterminator="\r\n")
        self._csv.writerow(COLUMNS)
        self._lines = LinesWriter(receipts)
        self._rows = 0

    def add(self, receipt: Receipt) -> None:
        """Write one object's row."""
        values = receipt.as_dict()
        self._csv.writerow([safe_cell(values[column]) for column in COLUMNS])
        self._lines.add(values)
        self._rows += 1
        if not self._rows % _MEMBER_LINES:
            self._lines.end_member()

    def finish(self) -> None:
        """Close the last member."""
        self._lines.end_member()


@contextmanager
def report_rows(files: StateFiles) -> Iterator[ReportRows]:
    """Write both files; they are there after a clean exit."""
    with files.write(CSV_NAME) as table, files.write(RECEIPTS_NAME) as receipts:
        rows = ReportRows(table, receipts)
        yield rows
        rows.finish()


class _Utf8:
    """What ``csv`` writes text to."""

    def __init__(self, out: StateWriter) -> None:
        self._out = out

    def write(self, text: str) -> int:
        self._out.write(text.encode("utf-8"))
        return len(text)


MAX_SUMMARY_BYTES: Final = 64_000
_MOST_FAILURES: Final = 200
_FAILURES_IN_LINES: Final = 20
_STATUSES: Final = FINAL_STATUSES
_MOST_SLOWEST: Final = 10
_MOST_KEY: Final = 300
_MOST_REASON: Final = 500
# Reasons are ours and few; a damaged state file must not make them many.
_MOST_REASONS: Final = 50
_OTHER: Final = "other"


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed object, and whose log tells of it.

    Attributes:
        batch: Number of its batch; None where no batch had it.
        try_number: Which try of that batch's task.
    """

    key: str
    reason: str
    batch: int | None
    try_number: int


@dataclass(frozen=True, slots=True)
class Report:
    """A run's receipts, reconciled with its listing.

    Attributes:
        counts: Objects and bytes by status and reason code; the reason is empty where there is none.
        proofs: Copied objects by the rung that proved them.
        bytes_sent: Bytes sent by all tries.
        bytes_resumed: Bytes of copied objects that Azure held before their last try.
        retries: Requests tried again.
        seconds: From the first copy's beginning to the last one's end.
        slowest: The copies that took longest.
        failures: The first failed objects, in the order of the listing.
        plan: The plan's token, or empty where none was made.
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

    def total(self, status: str) -> Amount:
        """Return the objects and bytes of a status."""
        found = [amount for (its, _), amount in self.counts.items() if its == status]
        return Amount(sum(amount.objects for amount in found), sum(amount.size_bytes for amount in found))

    @property
    def failed(self) -> bool:
        """Whether anything failed or is missing."""
        return self.total(FAILED).objects > 0

    def error(self) -> SomeObjectsFailed | None:
        """Return the run's error, or None where all is accounted for and nothing failed."""
        if not self.failed:
            return None
        first = self.failures[0]
        return SomeObjectsFailed(
            failed=self.total(FAILED).objects, total=self.listed.objects, first=f"{first.key!r}: {first.reason}"
        )

    @property
    def bytes_per_second(self) -> int:
        """Bytes sent per second; 0 where nothing was copied."""
        return round(self.bytes_sent / self.seconds) if self.seconds else 0

    def lines(self) -> Iterator[str]:
        """Yield the report for a person: objects by status and reason, proofs, throughput, failures, files."""
        yield f"Listed:    {self.listed.text()}"
        for status in _STATUSES:
            yield f"{status.capitalize() + ':':10} {self.total(status).text()}"
            for (its, reason), amount in sorted(self.counts.items()):
                if its == status and reason:
                    yield f"           {amount.text()}: {reason}"
        if self.proofs:
            yield f"Proven:    {', '.join(f'{count:,} by {proof}' for proof, count in sorted(self.proofs.items()))}"
        yield (
            f"Sent:      {size_text(self.bytes_sent)} in {duration_text(self.seconds)} "
            f"({size_text(self.bytes_per_second)}/s); {size_text(self.bytes_resumed)} were in Azure already"
        )
        printed = self.failures[:_FAILURES_IN_LINES]
        for failure in printed:
            yield f"Failed:    {failure.key[:_MOST_KEY]!r}: {failure.reason[:_MOST_REASON]}"
        more = self.total(FAILED).objects - len(printed)
        if more:
            yield f"           and {more:,} more"
        yield f"Files:     {', '.join(_FILES)} in {self.location}"

    def summary(self) -> dict[str, Any]:
        """Return the report in at most 64 KB of JSON: of the failed objects as many as fit, and how many more."""
        values: dict[str, Any] = {
            "bucket": self.bucket,
            "prefix": self.prefix,
            "container": self.container,
            "location": self.location,
            "files": list(_FILES),
            "listed": asdict(self.listed),
            **{status: asdict(self.total(status)) for status in _STATUSES},
            "reasons": [
                {"status": status, "reason": reason, **asdict(amount)}
                for (status, reason), amount in sorted(self.counts.items())
                if reason
            ],
            "proofs": dict(sorted(self.proofs.items())),
            "bytes_sent": self.bytes_sent,
            "bytes_resumed": self.bytes_resumed,
            "retries": self.retries,
            "seconds": self.seconds,
            "bytes_per_second": self.bytes_per_second,
            "slowest": [
                {"key": receipt.key[:_MOST_KEY], "size_bytes": receipt.size_bytes, "seconds": receipt.seconds}
                for receipt in self.slowest
            ],
        }
        room = MAX_SUMMARY_BYTES - len(json.dumps(values)) - 100
        failures: list[dict[str, Any]] = []
        for failed in self.failures:
            failure = asdict(failed) | {"key": failed.key[:_MOST_KEY], "reason": failed.reason[:_MOST_REASON]}
            room -= len(json.dumps(failure)) + 2
            if room < 0:
                break
            failures.append(failure)
        more = self.total(FAILED).objects - len(failures)
        return values | {"failures": failures, "more_failures": more}


def make_report(
    files: StateFiles, pointer: ManifestPointer, *, keep_days: int | None = None, now: datetime | None = None
) -> Report:
    """Reconcile the run's receipts with its listing, and write ``report.json``, ``report.csv`` and all receipts.

    Safe to repeat. It does not raise for failed objects: ask ``error()`` once everything else is done.

    Args:
        files: The run's files.
        pointer: The manifest.
        keep_days: Delete the state of this DAG's other runs that ended longer ago; None keeps all.
        now: For tests.

    Raises:
        CorruptState: A state file is not what it must be.
    """
    index = read_plan_index(files)
    if index is not None and index.manifest != pointer.token:
        # A plan of an earlier listing: the sensor was cleared and ran again, the plan did not.
        index = None
    totals = _Totals()
    with report_rows(files) as rows:
        for listed, account in reconcile(files, pointer, index):
            rows.add(account.receipt)
            totals.add(listed, account)
    if totals.listed != Amount(pointer.objects, pointer.bytes_total):
        raise CorruptState(path=f"{files.location}/{pointer.name}", detail="not every listed object is accounted for")
    report = totals.report(pointer, index, files.location)
    with files.write(REPORT_NAME) as out:
        out.write(json.dumps(report.summary(), indent=1).encode("ascii"))
    if keep_days is not None:
        files.delete_runs_before((now or datetime.now(UTC)) - timedelta(days=keep_days))
    return report


class _Totals:
    """Counts over all accounts, in constant memory."""

    def __init__(self) -> None:
        self.listed = Amount()
        self._counts: dict[tuple[str, str], Amount] = {}
        self._proofs: dict[str, int] = {}
        self._sent = self._resumed = self._retries = 0
        self._first = self._last = 0.0
        self._slowest: list[tuple[float, int, Receipt]] = []
        self._failures: list[Failure] = []

    def add(self, listed: ListedObject, account: Account) -> None:
        """Count one object, with the size that was listed: the version copied may be a newer one."""
        receipt = account.receipt
        self.listed = self.listed.plus(listed.size_bytes)
        name = (receipt.status, code_of(receipt.reason))
        if name not in self._counts and len(self._counts) >= _MOST_REASONS:
            name = (receipt.status, _OTHER)
        self._counts[name] = self._counts.get(name, Amount()).plus(listed.size_bytes)
        self._sent += account.bytes_sent
        self._retries += account.retries
        self._clock(receipt)
        if receipt.status == COPIED:
            self._copied(receipt)
        if receipt.status == FAILED and len(self._failures) < _MOST_FAILURES:
            self._failures.append(Failure(receipt.key, receipt.reason, account.batch, receipt.try_number))

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
            bytes_sent=self._sent,
            bytes_resumed=self._resumed,
            retries=self._retries,
            seconds=round(self._last - self._first, 3),
            slowest=tuple(receipt for _, _, receipt in sorted(self._slowest, reverse=True)),
            failures=tuple(self._failures),
        )

    def _copied(self, receipt: Receipt) -> None:
        proof = receipt.verified_by or "unknown"
        if proof not in self._proofs and len(self._proofs) >= _MOST_REASONS:
            proof = _OTHER
        self._proofs[proof] = self._proofs.get(proof, 0) + 1
        self._resumed += max(0, receipt.size_bytes - receipt.bytes_sent)
        # The number breaks ties: receipts do not compare.
        heapq.heappush(self._slowest, (receipt.seconds, -self.listed.objects, receipt))
        if len(self._slowest) > _MOST_SLOWEST:
            heapq.heappop(self._slowest)

    def _clock(self, receipt: Receipt) -> None:
        try:
            began = datetime.fromisoformat(receipt.started_at).timestamp()
        except ValueError:
            return
        self._first = min(self._first or began, began)
        self._last = max(self._last, began + receipt.seconds)
