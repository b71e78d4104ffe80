"""A temporary table of SQLite, which sorts more rows than fit in memory."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Final

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import KIB, MIB

# SQLite takes this much for the rows that it stores, and as much again to sort them.
_CACHE_BYTES: Final = 8 * MIB


@contextmanager
def temporary_table(columns: str, *, name: str) -> Iterator[sqlite3.Connection]:
    """Yield a database whose only table, ``listed``, is empty and temporary. Memory: 2 * 8 MiB, however long it gets.

    SQLite creates the table's file when the table outgrows its cache, unlinks the file as soon as it is open, and never
    syncs it. So a short list needs no disk, and a process that is killed leaves no keys behind.

    Args:
        columns: The columns' definitions.
        name: What is sorted, for the error.

    Raises:
        UsageError: The temporary directory cannot hold the rows.
    """
    try:
        # A generator may be resumed, or closed by the garbage collector, in another thread than that which started it.
        with closing(sqlite3.connect(":memory:", check_same_thread=False)) as database:
            database.executescript(f"""
                PRAGMA temp_store = FILE;
                PRAGMA cache_size = -{_CACHE_BYTES // KIB};  -- bounds the memory of a sort
                PRAGMA temp.cache_size = -{_CACHE_BYTES // KIB};
                PRAGMA temp.journal_mode = OFF;  -- nothing is ever rolled back
                CREATE TEMP TABLE listed ({columns});  -- BLOBs compare byte by byte
            """)
            yield database
    except sqlite3.OperationalError as error:
        raise UsageError(
            detail=f"{name} is too long to be sorted in memory, and SQLite cannot sort it in temporary files: {error}. "
            "They take two to three times the size of the list, in the directory that TMPDIR names, or else "
            "in /var/tmp or /tmp. Free space there, or set TMPDIR to a directory that is writable and has the space."
        ) from error
