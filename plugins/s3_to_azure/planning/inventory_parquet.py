"""The rows of an inventory's file in Parquet, by pyarrow, which the extra ``inventory`` installs."""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import IO, Any, Final

from s3_to_azure.model.errors import UsageError
from s3_to_azure.planning.report_files import WrongRow

_ROWS_AT_ONCE: Final = 2_000
_TIME: Final = "last_modified_date"


def parquet_rows(
    file: str, pieces: Iterator[bytes], columns: Sequence[str], check: Callable[[list[str]], None]
) -> Iterator[tuple[int, list[str | None]]]:
    """Yield each row's number and values, as texts in the form that CSV has; None for a column that there is not.

    The index of such a file is at its end, so it goes into a temporary file first, which has no name.

    Args:
        file: The file's key, for errors.
        pieces: Its bytes.
        columns: The columns to read; those that the file lacks have no values.
        check: Receives the names of the file's columns; raises UsageError.

    Raises:
        UsageError: pyarrow is not installed, or the temporary directory cannot hold the file.
        WrongRow: It is no Parquet file, or a column has another type.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - inventories in CSV need none
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise UsageError(
            detail="An inventory in Parquet needs pyarrow, which is not installed: pip install "
            "'s3-to-azure[inventory]', or choose CSV in the inventory's configuration."
        ) from None
    with _spooled(pieces) as spool:
        try:
            with parquet.ParquetFile(spool) as table:
                names: list[str] = table.schema_arrow.names
                check(names)
                shown = [name for name in columns if name in names]
                number = 0
                for batch in _batches(pa, table, shown):
                    found = {name: _texts(pa, name, batch.column(name)) for name in shown}
                    nothing = [None] * batch.num_rows
                    for row in zip(*(found.get(name, nothing) for name in columns), strict=True):
                        number += 1
                        yield number, list(row)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise WrongRow(f"its file {file!r} is no Parquet file of an inventory ({str(error)[:200]})") from None


def _spooled(pieces: Iterator[bytes]) -> IO[bytes]:
    """Return a temporary file that holds the pieces."""
    try:
        with ExitStack() as opened:
            spool = opened.enter_context(tempfile.TemporaryFile())
            for piece in pieces:
                spool.write(piece)
            spool.seek(0)
            opened.pop_all()
            return spool
    except OSError as error:
        raise UsageError(
            detail=f"The temporary directory cannot hold a file of the inventory: {error.strerror}. Free space there, "
            "or set TMPDIR to a directory that is writable and has the space."
        ) from error


def _batches(pa: Any, table: Any, columns: Sequence[str]) -> Iterator[Any]:  # noqa: ANN401 - pyarrow has no types
    # One iterator over all row groups, and pyarrow's pool, would keep memory of each.
    for group in range(table.num_row_groups):
        yield from table.iter_batches(_ROWS_AT_ONCE, row_groups=[group], columns=columns, use_threads=False)
        pa.default_memory_pool().release_unused()


def _texts(pa: Any, name: str, column: Any) -> list[str]:  # noqa: ANN401 - pyarrow has no types
    if name == _TIME:
        column = column.cast(pa.timestamp("ms"), safe=False)
        return ["" if value is None else value.isoformat() for value in column.to_pylist()]
    return ["" if value is None else str(value) for value in column.to_pylist()]
