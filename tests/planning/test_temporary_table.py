"""A temporary table of SQLite: empty at first, and what cannot be written is an error of the disk with its cure."""

import sqlite3

import pytest

from s3_to_azure.model.errors import UsageError
from s3_to_azure.planning.temporary_table import temporary_table


def test_rows_are_sorted_by_their_bytes() -> None:
    """And the table is gone afterwards."""
    with temporary_table("key BLOB NOT NULL", name="keys") as database:
        database.executemany("INSERT INTO listed VALUES (?)", [(b"b",), (b"\xff",), (b"A",)])
        found = [key for (key,) in database.execute("SELECT key FROM listed ORDER BY key")]
    assert found == [b"A", b"b", b"\xff"]
    with pytest.raises(sqlite3.ProgrammingError):
        database.execute("SELECT 1")


def test_a_full_disk_is_told_with_its_cure() -> None:
    """Whatever the statement was."""
    with (
        pytest.raises(UsageError, match=r"^report is too long .*: disk I/O error\. .* set TMPDIR to a directory"),
        temporary_table("key BLOB NOT NULL", name="report"),
    ):
        raise sqlite3.OperationalError("disk I/O error")
