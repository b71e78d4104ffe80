"""The files of a report with a row for each object: a table, the receipts, and the failures."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Final

import msgspec

from s3_to_azure.model.names import REPORT_CSV_NAME, REPORT_FAILURES_NAME, REPORT_RECEIPTS_NAME
from s3_to_azure.model.objects import ListedObject, Receipt, TaskTry
from s3_to_azure.model.ports import StateFiles, StateWriter
from s3_to_azure.model.reasons import FAILED
from s3_to_azure.runs.certificate import ReceiptSums
from s3_to_azure.runs.reconcile import ObjectResult
from s3_to_azure.state.failures import FailureLine, add_failure
from s3_to_azure.state.lines import LinesWriter, as_json

COLUMNS: Final = tuple(field.name for field in fields(Receipt))
# A spreadsheet evaluates text that starts with one of these (https://owasp.org/www-community/attacks/CSV_Injection),
# or with its full-width form, in some settings behind white space too.
_FORMULA_STARTS: Final = ("=", "+", "-", "@", "\uff1d", "\uff0b", "\uff0d", "\uff20")
_CONTROLS: Final = ("\t", "\r", "\n")
_WHITE_SPACE: Final = "".join(map(chr, range(33))) + "\u00a0\u3000\ufeff"
_MEMBER_LINES: Final = 10_000


def safe_cell(value: object) -> object:
    """Return the value so that no spreadsheet evaluates it as a formula: with an apostrophe in front."""
    if not isinstance(value, str):
        return value
    shown = value.lstrip(_WHITE_SPACE)
    return f"'{value}" if shown.startswith(_FORMULA_STARTS) or value.startswith(_CONTROLS) else value


@contextmanager
def report_rows(files: StateFiles, by: TaskTry | None) -> Iterator["ReportRows"]:
    """Open the files with a row for each object; they become visible after a clean exit."""
    with (
        files.write(REPORT_CSV_NAME, by=by) as table,
        files.write(REPORT_RECEIPTS_NAME, by=by) as receipts,
        files.write(REPORT_FAILURES_NAME, by=by) as failures,
    ):
        rows = ReportRows(table, receipts, failures)
        yield rows
        rows.finish()


class ReportRows:
    """Writes one row per object into the CSV file and the JSON lines, and one line per failed object."""

    def __init__(self, table: StateWriter, receipts: StateWriter, failures: StateWriter) -> None:
        self._csv = csv.writer(_TextWriter(table), lineterminator="\r\n", quoting=csv.QUOTE_ALL)
        self._csv.writerow(COLUMNS)
        self._lines = LinesWriter(receipts, header=b"")
        self._failures = LinesWriter(failures)
        self._rows = 0
        self.sums = ReceiptSums()

    def add(self, listed: ListedObject, result: ObjectResult) -> None:
        """Write the object's row."""
        receipt = result.receipt
        values = receipt.as_dict()
        self._csv.writerow([safe_cell(values[column]) for column in COLUMNS])
        line = as_json(values)
        self._lines.add(msgspec.Raw(line))
        self.sums.add(line)
        if receipt.status == FAILED:
            failure = FailureLine(receipt.key, receipt.reason, listed.size_bytes, result.batch, receipt.try_number)
            add_failure(self._failures, failure)
        self._rows += 1
        if not self._rows % _MEMBER_LINES:
            self._lines.end_member()

    def finish(self) -> None:
        """End the files; no row follows."""
        self._lines.end_member()
        self._failures.end_member()


class _TextWriter:
    """Encodes the text that ``csv`` writes."""

    def __init__(self, out: StateWriter) -> None:
        self._out = out

    def write(self, text: str) -> int:
        self._out.write(text.encode("utf-8"))
        return len(text)
