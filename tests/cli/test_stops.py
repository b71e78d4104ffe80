"""A stop ends each command in time, whatever it is doing."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from operator import attrgetter
from typing import Any, NoReturn

import pytest

from s3_to_azure.cli import commands, compare, listing
from s3_to_azure.cli.main import main
from s3_to_azure.cli.output import FAILED, ResultPrinter
from s3_to_azure.cli.stores import Stores
from s3_to_azure.model.errors import S3, Cancelled
from s3_to_azure.model.objects import BlobState, ListedObject, ObjectVersion
from s3_to_azure.stores.http.pages import Pages
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.verify import Verification
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH, MemorySource

BUCKET = "bucket"
ADDRESSES = ("s3://bucket/", "az://container/")


class Hanging:
    """A service that never answers one kind of request, or lists without end, and asks for a stop meanwhile."""

    def __init__(self, kind: str, number: int) -> None:
        """Let ``kind`` hang."""
        self.kind = kind
        self.released = threading.Event()
        self._number = number

    def answer(self, kind: str) -> None:
        """Hang if this is the kind."""
        if kind == self.kind:
            self.signal()
            self.released.wait(60)

    def signal(self) -> None:
        """Ask this process to stop."""
        os.kill(os.getpid(), self._number)

    def endless_pages(self) -> Iterator[ListedObject]:
        """List without end, at once; ask for a stop after some pages."""
        numbers = iter(range(10**9))

        def page(_token: int | None) -> tuple[list[ListedObject], int]:
            number = next(numbers)
            if number == 3:
                self.signal()
            keys = (f"{number:09}-{index}" for index in range(10))
            return [ListedObject(BUCKET, key, "etag", 1, EPOCH) for key in keys], number

        return Pages(page, name_of=attrgetter("key"), service=S3, resource=BUCKET)


class Source(MemorySource):
    """S3 that may hang."""

    def __init__(self, hanging: Hanging) -> None:
        """Hold one object."""
        super().__init__(BUCKET)
        self.put(BUCKET, "key", b"data")
        self._hanging = hanging

    def check(self, bucket: str) -> None:
        """Answer, or hang."""
        self._hanging.answer("check")

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Answer, or hang."""
        self._hanging.answer("head")
        return super().head(bucket, key)

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        """List, hang, or list without end."""
        self._hanging.answer("list")
        return self._hanging.endless_pages() if self._hanging.kind == "pages" else super().list(bucket, prefix)


class Destination(MemoryDestination):
    """Azure that may hang."""

    def __init__(self, hanging: Hanging) -> None:
        """Hold a copy of another object of that name."""
        super().__init__("container")
        self._hanging = hanging

    def list(self, prefix: str) -> Iterator[BlobState]:
        """List, or hang."""
        self._hanging.answer("list blobs")
        return super().list(prefix)

    def head(self, blob: str) -> BlobState | None:
        """Answer, or hang."""
        self._hanging.answer("head blob")
        return super().head(blob)


@pytest.fixture
def signals() -> Iterator[None]:
    """Restore the handlers of signals after the test."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    ("command", "kind"),
    [
        ("copy", "check"),
        ("copy", "list"),
        ("copy", "pages"),
        ("copy", "list blobs"),
        ("plan", "check"),
        ("plan", "list"),
        ("plan", "pages"),
        ("plan", "list blobs"),
        ("verify", "list"),
        ("verify", "pages"),
        ("verify", "head"),
        ("verify", "head blob"),
        ("compare", "list"),
        ("compare", "list blobs"),
    ],
)
def test_stop_ends_the_command(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    command: str,
    kind: str,
    number: signal.Signals,
) -> None:
    """Whatever hangs or never ends, the command ends with a sentence, and with the status of the signal."""
    hanging = Hanging(kind, number)

    @contextmanager
    def open_stores(*_: object) -> Iterator[Stores]:
        yield Stores(Source(hanging), Destination(hanging), None)

    module = compare if command == "compare" else commands
    monkeypatch.setattr(module, "open_stores", open_stores)
    # The time that requests in flight are given is part of the tests of ``run_stoppable``.
    monkeypatch.setattr(module, "TASK_GRACE_S", 0.1)
    try:
        assert main([command, *ADDRESSES, *(["--quiet"] if command == "copy" else [])]) == 128 + number
    finally:
        hanging.released.set()
    told = capsys.readouterr().err
    assert "Stopped on request" in told
    assert "Traceback" not in told


def test_results_until_the_stop_are_printed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], signals: None
) -> None:
    """What was copied before a request hung is accounted for on stdout."""
    hanging = Hanging("none", signal.SIGTERM)
    source: Any = Source(hanging)
    source.put(BUCKET, "second", b"other data")

    def served(key: str, _start: int, data: bytes) -> bytes:
        if key == "second":
            hanging.signal()
            hanging.released.wait(60)
        return data

    source.served = served

    @contextmanager
    def open_stores(*_: object) -> Iterator[Stores]:
        yield Stores(source, Destination(hanging), None)

    monkeypatch.setattr(commands, "open_stores", open_stores)
    monkeypatch.setattr("s3_to_azure.transfer.pool.OBJECT_GRACE_S", 0.1)
    try:
        assert main(["copy", *ADDRESSES, "--objects-at-once", "1", "--progress", "none"]) == 128 + signal.SIGTERM
    finally:
        hanging.released.set()
    assert "copied" in capsys.readouterr().out


@pytest.mark.usefixtures("signals")
def test_verify_ends_with_the_reader_of_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    """``verify | head`` does not read all blobs that it has begun: each may have hundreds of GB."""
    destination = Destination(Hanging("none", signal.SIGTERM))
    source: Any = Source(Hanging("none", signal.SIGTERM))

    def verified(context: TransferContext, task: CopyTask) -> Verification:
        if task.key == "key":
            return Verification(BUCKET, task.key, "etag", 4, "container", task.blob, "equal")
        while not context.cancelled.wait(0.01):
            pass
        raise Cancelled.now()

    @contextmanager
    def open_stores(*_: object) -> Iterator[Stores]:
        yield Stores(source, destination, None)

    def broken(*_: object) -> NoReturn:
        raise BrokenPipeError

    for number in range(20):
        source.put(BUCKET, f"large/{number}", b"data")
    monkeypatch.setattr(commands, "open_stores", open_stores)
    monkeypatch.setattr(commands, "verify_object", verified)
    monkeypatch.setattr(ResultPrinter, "print", broken)
    assert main(["verify", *ADDRESSES]) == FAILED


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("s3://bucket/", "check"),
        ("s3://bucket/", "list"),
        ("s3://bucket/", "pages"),
        ("az://container/", "list blobs"),
    ],
)
def test_stop_ends_a_listing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], address: str, kind: str
) -> None:
    """``ls`` has one side only, and obeys as the others do."""
    hanging = Hanging(kind, signal.SIGTERM)

    @contextmanager
    def opened(*_: object, **__: object) -> Iterator[object]:
        yield Source(hanging) if address.startswith("s3") else Destination(hanging)

    monkeypatch.setattr(listing, "open_source", opened)
    monkeypatch.setattr(listing, "open_container", opened)
    monkeypatch.setattr(listing, "TASK_GRACE_S", 0.1)
    try:
        assert main(["ls", address]) == 128 + signal.SIGTERM
    finally:
        hanging.released.set()
    assert "Stopped on request" in capsys.readouterr().err
