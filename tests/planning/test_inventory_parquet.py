"""The rows of a file in Parquet, as CSV would have them."""

import errno
import sys
import tempfile
from typing import Any, NoReturn, Self

import pytest

from s3_to_azure.model.errors import UsageError
from s3_to_azure.planning.inventory_parquet import parquet_rows
from s3_to_azure.planning.report_files import WrongRow
from tests.inventories import COLUMNS, as_parquet, row


def test_values_are_texts() -> None:
    """Of the columns that are asked for; empty without a value, None without a column."""
    rows = [row("b", f"k{number}", Size=number, StorageClass=None) for number in range(250)]
    shown: list[list[str]] = []
    columns = ["size", "key", "storage_class", "is_latest", "last_modified_date"]
    found = list(parquet_rows("f", iter([as_parquet(rows, COLUMNS)]), columns, shown.append))
    assert [number for number, _ in found] == list(range(1, 251))
    assert found[249][1][:4] == ["249", "k249", "", None]
    assert found[0][1][4] == "2026-03-01T12:00:00"
    assert shown == [["bucket", "key", "size", "last_modified_date", "e_tag", "storage_class"]]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"PAR1" + bytes(100) + b"PAR1", b"bucket,key\n"])
def test_another_file_is_refused(data: bytes) -> None:
    """With the file's name."""
    with pytest.raises(WrongRow, match="its file 'f' is no Parquet file of an inventory"):
        list(parquet_rows("f", iter([data]), ["key"], lambda _: None))


def test_without_pyarrow_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not a part of the package."""
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UsageError, match=r"pip install 's3-to-azure\[inventory\]', or choose CSV"):
        list(parquet_rows("f", iter([b""]), ["key"], lambda _: None))


def test_full_temporary_directory_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says what to do."""

    class Full:
        def __enter__(self) -> Self:
            return self

        def __exit__(self, *_: object) -> None:
            return

        def write(self, _: Any) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    def nowhere() -> NoReturn:
        raise FileNotFoundError(errno.ENOENT, "No usable temporary directory found in ['/tmp']")

    monkeypatch.setattr(tempfile, "TemporaryFile", nowhere)
    with pytest.raises(UsageError, match=r"No usable temporary directory.*TMPDIR"):
        list(parquet_rows("f", iter([b"x"]), ["key"], lambda _: None))
    monkeypatch.setattr(tempfile, "TemporaryFile", Full)
    with pytest.raises(UsageError, match=r"No space left on device.*TMPDIR"):
        list(parquet_rows("f", iter([b"x"]), ["key"], lambda _: None))
