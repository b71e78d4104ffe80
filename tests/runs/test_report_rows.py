"""The rows of a report: one for each object, which no spreadsheet evaluates."""

import csv
import json
import re

import pytest

from s3_to_azure.runs.report_rows import COLUMNS, safe_cell
from s3_to_azure.state.lines import lines
from tests.runs.planned_run import PlannedRun


@pytest.mark.parametrize(
    "start", ["=", "+", "-", "@", "\t", "\r", "\n", " =", "\x00=", "\u00a0@", "\ufeff+", "\uff1d", "\uff20"]
)
def test_no_cell_is_a_formula(start: str) -> None:
    """A key that a spreadsheet would evaluate gets an apostrophe in the CSV, and is unchanged in the receipts."""
    assert safe_cell(f"{start}cmd|' /C calc'!A0") == f"'{start}cmd|' /C calc'!A0"
    assert safe_cell("a=1") == "a=1"
    assert safe_cell(-1) == -1
    run = PlannedRun(0)
    key = f'{start}1,2"3'
    run.source.put("bucket", key, b"abc")
    run.night.run()
    (row,) = run.rows()
    assert row["key"] == f"'{key}"
    assert tuple(row) == COLUMNS
    (line,) = lines([run.files.files["receipts.jsonl.gz"]], path="")
    assert json.loads(line)["key"] == key


def test_every_cell_is_quoted() -> None:
    """Programs that split lines at another separator, such as a semicolon, find one cell."""
    run = PlannedRun(2)
    run.source.put("bucket", 'a;=1,b\t"c"', b"abc")
    run.night.run()
    header, *rows = run.files.files["report.csv"].decode().split("\r\n")[:-1]
    assert header == ",".join(f'"{column}"' for column in COLUMNS)
    assert len(rows) == 3
    for row in rows:
        assert re.fullmatch(r'"(?:[^"]|"")*"(?:,"(?:[^"]|"")*")*', row)
        assert len(next(csv.reader([row]))) == len(COLUMNS)
