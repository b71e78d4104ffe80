"""The package works with the oldest Airflow, the newest, and one between; `make airflow-matrix` runs them all."""

import subprocess
import sys
from pathlib import Path
from typing import Final

import pytest

from tests.airflow_matrix.rows import LOCKS, ROWS, Row
from tests.airflow_matrix.run import locked, table

ROOT: Final = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(900)
@pytest.mark.parametrize("row", [row for row in ROWS if row.is_short], ids=lambda row: row.name)
def test_package_works_with_an_airflow(row: Row) -> None:
    """Import, parsing, copies, two nights, sensors, and where the row says so a real scheduler."""
    command = [sys.executable, "-m", "tests.airflow_matrix.run", "--row", row.name, "--no-events"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def test_every_row_has_its_lock_and_no_lock_is_without_a_row() -> None:
    """The locks are those of the rows, with the Airflow that the row names."""
    assert {row.lock for row in ROWS} == set(LOCKS.glob("*.txt"))
    assert [locked(row.lock, ["apache-airflow"]) for row in ROWS] == [[row.airflow] for row in ROWS]


def test_table_says_what_failed() -> None:
    """A failed check is a bold no; a check that the row does not make is an empty cell."""
    first, second = ROWS[0], ROWS[1]
    lines = table(
        {first.name: {"import": "ok"}, second.name: {"import": "ImportError", "scheduler": "ok"}}
    ).splitlines()
    assert lines[0].endswith("| import | scheduler |")
    assert lines[2].endswith("| yes |  |")
    assert lines[3].endswith("| **no** | yes |")
