"""The report's files: a row for each listed object, for people (CSV) and for programs (JSON lines)."""

import csv
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from typing import Final

from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.ports import StateFiles, StateWriter
from s3_to_azure.state.lines import LinesWriter

REPORT_NAME: Final = "report.json"
CSV_NAME: Final = "report.csv"
RECEIPTS_NAME: Final = "receipts.jsonl.gz"
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
