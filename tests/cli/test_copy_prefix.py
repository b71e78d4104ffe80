"""Copying below a prefix, and the keys of ``--keys-from``, with stores in memory."""

import io
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from s3_to_azure.cli.copy_prefix import copy_prefix, keys_from_file, write_listing
from s3_to_azure.cli.processes import count
from s3_to_azure.model.errors import (
    S3,
    BudgetTooSmall,
    ConnectionFailed,
    RetryableObjectsFailed,
    SomeObjectsFailed,
    UsageError,
)
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.objects import ObjectVersion, Receipt
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.runs import prefix
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


def test_key_that_cannot_be_looked_up_fails_the_listing(
    monkeypatch: pytest.MonkeyPatch, context: TransferContext, source: MemorySource
) -> None:
    """With a report too, it is not the end of the list: a plan without the rest would pass for the whole."""
    head = source.head

    def failing(bucket: str, key: str) -> ObjectVersion:
        if key == "d/one":
            raise ConnectionFailed(service=S3, resource=key, detail="reset")
        return head(bucket, key)

    monkeypatch.setattr(source, "head", failing)
    with pytest.raises(ConnectionFailed):
        write_listing(context, SOURCE, MemoryState(), iter(["d/one", "d/two"]), lambda listed: listed)


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

    most = 2

    def __init__(self) -> None:
        """Begin with two, which wait."""
        self.processes = self.batches = 0
        self.ended = False

    def end(self) -> None:
        """Note it."""
        self.ended = True

    def copy_batches(
        self, count: int, _context: object, _files: Any, bucket: str, _settings: object, batches: Any, on_receipt: Any
    ) -> int:
        """Count the batches; one object fails, and a retry may help."""
        self.processes, self.batches = count, len(batches)
        on_receipt(Receipt(bucket, "d/one", "etag", 1, "container", "to/one", "failed", reason="throttled"))
        return 1


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return two workers, for which any object is enough work, on an idle machine."""
    monkeypatch.setattr(count, "_LEAST_WINDOW_S", 1e9)
    monkeypatch.setattr(count, "_LEAST_S", 1e-9)
    return Workers()


def test_copy_in_workers(context: TransferContext, source: MemorySource, workers: Any) -> None:
    """They get the plan's batches, and their count of retryable failures makes the error retryable."""
    for number in range(100):
        source.put(BUCKET, f"d/{number}", b"data")
    receipts: list[Receipt] = []
    error = copy_prefix(context, SOURCE, DESTINATION, Filters(), receipts.append, workers)
    assert isinstance(error, RetryableObjectsFailed)
    assert (workers.processes, workers.batches, workers.ended) == (2, 4, False)
    assert [receipt.key for receipt in receipts] == ["d/one"]


def copied_here(context: TransferContext, workers: Any) -> int:
    """Copy; return how many objects this process has copied, all of them in one batch."""
    receipts: list[Receipt] = []
    assert copy_prefix(context, SOURCE, DESTINATION, Filters(), receipts.append, workers) is None
    assert (workers.processes, workers.ended) == (0, True)
    return sum(receipt.status == "copied" for receipt in receipts)


def test_few_objects_are_copied_in_this_process(context: TransferContext) -> None:
    """The workers end before the plan is made."""
    assert copied_here(context, Workers()) == 2


def test_few_changed_objects_are_copied_in_this_process(
    context: TransferContext, source: MemorySource, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the plan leaves out is no work, however much is listed."""
    for number in range(100):
        source.put(BUCKET, f"d/{number}", b"data")
    monkeypatch.setattr(count, "_LEAST_S", 10 * count._OBJECT_S)
    assert copy_prefix(context, SOURCE, DESTINATION, Filters(), lambda _: None, None) is None
    for number in range(19):
        source.put(BUCKET, f"d/{number}", b"changed")
    assert copied_here(context, workers) == 19


def test_large_object_keeps_all_limits(context: TransferContext, source: MemorySource, workers: Any) -> None:
    """Beside small ones, it would outlast them in a process that has a share of the limits."""
    source.put(BUCKET, "d/large", bytes(1_000))
    assert copied_here(context, workers) == 3


def test_busy_machine_gets_no_second_process(
    context: TransferContext, source: MemorySource, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several processes would only take turns on one core."""
    source.put(BUCKET, "d/six", b"d/six")
    monkeypatch.setattr(count.FreeCores, "count", lambda _self, _most: 1)
    assert copied_here(context, workers) == 3


def test_object_that_needs_the_whole_budget_gets_it(
    context: TransferContext, workers: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan for several processes finds that a share of the budget holds none of its blocks."""
    budgets: list[int] = []

    def made(files: Any, pointer: Any, destination: Any, settings: Any, **options: Any) -> Any:
        budgets.append(settings.memory_budget_bytes)
        if len(budgets) == 1:
            raise BudgetTooSmall(size_bytes=1 << 40, needs=1 << 25, budget=1 << 20)
        return make_plan(files, pointer, destination, settings, **options)

    monkeypatch.setattr(prefix, "make_plan", made)
    assert copied_here(context, workers) == 2
    assert budgets == [context.settings.memory_budget_bytes // 2, context.settings.memory_budget_bytes]
