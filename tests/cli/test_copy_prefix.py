"""Copying below a prefix, and the keys of ``--keys-from``, with stores in memory."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from s3_to_azure.cli.copy_prefix import copy_prefix, keys_from_file, write_listing
from s3_to_azure.model.errors import BudgetTooSmall, RetryableObjectsFailed, SomeObjectsFailed, UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.state.manifest import read_manifest
from s3_to_azure.transfer.context import TransferContext
from tests.fakes.contexts import BUCKET, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState

SOURCE = S3Uri(BUCKET, "d/")
DESTINATION = AzureUri("container", "to")


@pytest.fixture
def source() -> MemorySource:
    """Return a bucket with three objects, of which one lies elsewhere."""
    made = MemorySource(BUCKET)
    for key in ("d/one", "d/two", "elsewhere"):
        made.put(BUCKET, key, key.encode())
    return made


@pytest.fixture
def destination() -> MemoryDestination:
    """Return an empty container."""
    return MemoryDestination("container")


@pytest.fixture
def context(source: MemorySource, destination: MemoryDestination) -> Iterator[TransferContext]:
    """Return a context between both."""
    with transfer_context(source, destination) as made:
        yield made


def test_keys_are_sorted_without_duplicates(tmp_path: Path) -> None:
    """The order of the file does not matter."""
    path = tmp_path / "keys.txt"
    path.write_bytes(b"d/two\nd/one\r\n\nd/two\n")
    assert list(keys_from_file(str(path), SOURCE)) == ["d/one", "d/two"]


def test_keys_from_json_lines(tmp_path: Path) -> None:
    """The ending of the file's name selects the format."""
    path = tmp_path / "keys.jsonl"
    path.write_text('"d/line\\nbreak"\n')
    assert list(keys_from_file(str(path), SOURCE)) == ["d/line\nbreak"]


def test_keys_from_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    """A single - stands for it, and errors call it so."""
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"d/one\n")))
    assert list(keys_from_file("-", SOURCE)) == ["d/one"]
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b"d/one\nelsewhere\n")))
    with pytest.raises(UsageError, match="Line 2 of standard input"):
        list(keys_from_file("-", SOURCE))


@pytest.mark.parametrize(("name", "says"), [("none", "No such file or directory"), (".", "Is a directory")])
def test_unreadable_file_is_a_usage_error(tmp_path: Path, name: str, says: str) -> None:
    """The sentence names the option, the file and the reason."""
    path = str(tmp_path / name)
    with pytest.raises(UsageError) as raised:
        list(keys_from_file(path, SOURCE))
    assert str(raised.value) == f"--keys-from {path!r} cannot be read: {says}."


def test_listing_of_a_prefix(context: TransferContext) -> None:
    """The manifest holds the objects below SRC."""
    files = MemoryState()
    pointer = write_listing(context, SOURCE, files, None)
    assert [each.key for each in read_manifest(files, pointer)] == ["d/one", "d/two"]
    assert not pointer.looked_up


def test_listing_of_a_key_list(context: TransferContext, tmp_path: Path) -> None:
    """The manifest holds the objects of the list."""
    path = tmp_path / "keys.txt"
    path.write_text("d/two\n")
    files = MemoryState()
    pointer = write_listing(context, SOURCE, files, keys_from_file(str(path), SOURCE))
    assert [each.key for each in read_manifest(files, pointer)] == ["d/two"]
    assert pointer.looked_up


def test_copy_in_this_process(context: TransferContext, destination: MemoryDestination) -> None:
    """Each listed object has one receipt, and the second copy sends nothing."""
    for status in ("copied", "unchanged"):
        receipts: list[Receipt] = []
        assert copy_prefix(context, SOURCE, DESTINATION, Filters(), receipts.append, None) is None
        assert {receipt.blob: receipt.status for receipt in receipts} == {"to/one": status, "to/two": status}
    assert destination.blobs["to/one"].data == b"d/one"


def test_filters_leave_objects_out(context: TransferContext) -> None:
    """A filtered object has a receipt with the reason."""
    receipts: list[Receipt] = []
    assert copy_prefix(context, SOURCE, DESTINATION, Filters(exclude=("*two",)), receipts.append, None) is None
    assert {receipt.key: (receipt.status, receipt.reason) for receipt in receipts} == {
        "d/one": ("copied", ""),
        "d/two": ("skipped", "excluded"),
    }


def test_failed_objects_are_the_returned_error(context: TransferContext, source: MemorySource) -> None:
    """Everything else is copied."""
    source.put(BUCKET, "d/bad.", b"x")
    receipts: list[Receipt] = []
    error = copy_prefix(context, SOURCE, DESTINATION, Filters(), receipts.append, None)
    assert isinstance(error, SomeObjectsFailed)
    assert "1 of 3 objects failed" in str(error)
    assert sorted(receipt.status for receipt in receipts) == ["copied", "copied", "failed"]


class Workers:
    """Stands for worker processes."""

    count = 2
    min_batches = 4

    def __init__(self, error: Exception | None = None) -> None:
        """Fail every copy with the error, where there is one."""
        self.error = error
        self.batches = 0

    def copy(self, _context: object, files: Any, bucket: str, _settings: object, batches: Any, on_receipt: Any) -> int:
        """Count the batches; one object fails, and a retry may help."""
        if self.error:
            raise self.error
        self.batches = len(batches)
        on_receipt(Receipt(bucket, "d/one", "etag", 1, "container", "to/one", "failed", reason="throttled"))
        return 1


def test_copy_in_workers(context: TransferContext) -> None:
    """They get the plan's batches, and their count of retryable failures makes the error retryable."""
    workers: Any = Workers()
    receipts: list[Receipt] = []
    error = copy_prefix(context, SOURCE, DESTINATION, Filters(), receipts.append, workers)
    assert isinstance(error, RetryableObjectsFailed)
    assert workers.batches == 1
    assert [receipt.key for receipt in receipts] == ["d/one"]


def test_budget_error_says_that_workers_share_it(context: TransferContext) -> None:
    """The user gave one budget for all of them."""
    workers: Any = Workers(BudgetTooSmall(size_bytes=1 << 40, needs=1 << 25, budget=1 << 20))
    with pytest.raises(UsageError, match=r"each of 2 processes, which share --memory-budget"):
        copy_prefix(context, SOURCE, DESTINATION, Filters(), lambda _: None, workers)
