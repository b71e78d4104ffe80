"""What the copies of one task share: made once, never changed, its threads ended afterwards."""

import dataclasses
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from s3_to_azure.model.errors import BucketNotFound, BudgetTooSmall, ConnectionFailed, ContainerNotFound
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import ListedObject, ObjectVersion
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.transfer.context import TransferContext, open_context
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import BUCKET, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_small_object_client import MemorySmallObjectClient
from tests.fakes.memory_source import MemoryBody, MemorySource


@pytest.fixture
def context() -> Iterator[TransferContext]:
    """Return the context of an empty bucket and an empty container."""
    with transfer_context(MemorySource(BUCKET), MemoryDestination()) as opened:
        yield opened


@pytest.mark.parametrize("field", [field.name for field in dataclasses.fields(TransferContext)])
def test_no_field_of_a_context_can_be_set(context: TransferContext, field: str) -> None:
    """What all copies share is fixed when they start: no copy can change it for the others."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(context, field, getattr(context, field))


def test_a_context_takes_no_further_attribute(context: TransferContext) -> None:
    """Nothing can be left on a context for another copy to find."""
    with pytest.raises((AttributeError, TypeError)):
        context.found_by_one_copy = 1  # type: ignore[attr-defined]
    assert not hasattr(context, "__dict__")


class TestCheckAccess:
    """A wrong name or credential fails once, before any object is copied."""

    def test_both_are_there_does_not_raise(self, context: TransferContext) -> None:
        """Bucket and container exist."""
        context.check_access(BUCKET)

    def test_missing_bucket(self, context: TransferContext) -> None:
        """The bucket's own error is raised."""
        with pytest.raises(BucketNotFound):
            context.check_access("another")

    def test_missing_container_is_made_only_on_request(self) -> None:
        """A typing error must not make a container."""
        destination = MemoryDestination(exists=False)
        with transfer_context(MemorySource(BUCKET), destination) as context:
            with pytest.raises(ContainerNotFound):
                context.check_access(BUCKET)
            assert not destination.exists
            context.check_access(BUCKET, create_container=True)
            assert destination.exists

    def test_transient_errors_are_repeated(self) -> None:
        """One lost connection at the start does not fail a task."""

        class Lossy(MemorySource):
            losses = 2

            def check(self, bucket: str) -> None:
                if self.losses:
                    self.losses -= 1
                    raise ConnectionFailed(service="S3", resource=bucket, detail="reset")
                super().check(bucket)

        source = Lossy(BUCKET)
        with transfer_context(source, MemoryDestination()) as context:
            context.check_access(BUCKET)
        assert source.losses == 0


class TestOpen:
    """``open_context`` makes every part from the settings."""

    def test_parts_follow_the_settings(self) -> None:
        """Budget, connections and objects at once are the settings' own."""
        with transfer_context(
            MemorySource(BUCKET), MemoryDestination(), memory_budget_bytes=32 * MIB, connections=5, objects_at_once=2
        ) as context:
            assert context.buffers.budget_bytes == 32 * MIB
            assert (context.limits.s3.limit, context.limits.azure.limit) == (7, 7)
            with pytest.raises(BudgetTooSmall), context.buffers.lend(32 * MIB + 1):
                pytest.fail("the budget has no room for it")

    def test_defaults(self) -> None:
        """Without arguments nothing is cancelled, nothing is counted yet, and small objects have no client."""
        with open_context(MemorySource(BUCKET), MemoryDestination(), CopySettings()) as context:
            assert not context.cancelled.is_set()
            assert context.progress.snapshot() == Progress().snapshot()
            assert context.small_object_client is None

    def test_what_is_given_is_used(self) -> None:
        """The caller's stop, counts and client are the context's."""
        source, destination = MemorySource(BUCKET), MemoryDestination()
        stop, progress = threading.Event(), Progress()
        client = MemorySmallObjectClient(source, destination)
        with transfer_context(
            source, destination, cancelled=stop, progress=progress, small_object_client=lambda: client
        ) as context:
            assert context.cancelled is stop
            assert context.progress is progress
            assert context.small_object_client is not None
            assert context.small_object_client() is client

    def test_requests_pass_the_limits(self) -> None:
        """A request waits while its service's limit is used up; the other service is not held back."""
        source, entered = MemorySource(BUCKET), threading.Event()
        source.put(BUCKET, "k", b"data")
        with transfer_context(source, MemoryDestination(), connections=1, objects_at_once=1) as context:

            def look_up() -> None:
                context.source.head(BUCKET, "k")
                entered.set()

            ask = threading.Thread(target=look_up, daemon=True)
            with context.limits.s3.request(context.cancelled), context.limits.s3.request(context.cancelled):
                ask.start()
                assert context.destination.head("k") is None
                assert not entered.is_set()
            ask.join(60)
        assert entered.is_set()

    @pytest.mark.parametrize("fails", [False, True])
    def test_block_threads_end_afterwards(self, *, fails: bool) -> None:
        """The threads that move blocks end after the block of ``with``, also where it raises."""
        before = set(threading.enumerate())
        started = set[threading.Thread]()
        source = MemorySource(BUCKET)
        source.put(BUCKET, "k", some_bytes(3 * MIB))
        with suppress(ZeroDivisionError), transfer_context(source, MemoryDestination()) as context:
            copy_object(context, task("k"))
            started = {thread for thread in set(threading.enumerate()) - before if thread.name.startswith("block-")}
            assert started
            if fails:
                raise ZeroDivisionError
        for thread in started:
            thread.join(60)
        assert not any(thread.is_alive() for thread in started)


class HalfABlock:
    """A body of which half a block arrives, and the rest after an event."""

    def __init__(self, body: MemoryBody, event: threading.Event) -> None:
        self.version = body.version
        self._body, self._event, self._has_begun = body, event, False

    def readinto(self, view: memoryview) -> int:
        """Fill half a block."""
        if self._has_begun:
            self._event.wait(60)
        self._has_begun = True
        return self._body.readinto(view[: MIB // 2])


@pytest.mark.parametrize("blocks", [1, 3])
def test_bytes_are_counted_as_they_arrive(blocks: int) -> None:
    """A block takes minutes under a low limit: what has arrived of it counts before Azure confirms the block."""

    class Stalls(MemorySource):
        """Every body stops after its first piece, until the test has looked."""

        @contextmanager
        def open(self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None) -> Iterator[Any]:
            with super().open(version, start, end) as body:
                yield HalfABlock(body, looked)

    looked = threading.Event()
    source, progress = Stalls(BUCKET), Progress()
    source.put(BUCKET, "k", some_bytes(blocks * MIB))
    with transfer_context(source, MemoryDestination(), progress=progress) as context:
        copying = threading.Thread(target=copy_object, args=(context, task("k")))
        copying.start()
        for _ in range(1_000):
            if progress.snapshot().bytes_read:
                break
            looked.wait(0.01)
        found = progress.snapshot()
        assert 0 < found.bytes_read < blocks * MIB
        assert (found.bytes_sent, found.bytes_in_flight) == (0, found.bytes_read)
        looked.set()
        copying.join()
    assert (progress.snapshot().bytes_read, progress.snapshot().bytes_sent) == (blocks * MIB, blocks * MIB)


def test_streamed_copies_load_nothing_of_the_fetched_ones() -> None:
    """Only who lets Azure fetch pays for it: threads, sockets and modules."""
    program = (
        "import sys; from tests.fakes.contexts import *; from tests.fakes.memory_source import MemorySource; "
        "from tests.fakes.memory_destination import MemoryDestination; "
        "from s3_to_azure.transfer.object import copy_object; source = MemorySource(BUCKET); "
        "source.put(BUCKET, 'k', bytes(3 << 20))\n"
        "with transfer_context(source, MemoryDestination()) as context: copy_object(context, task())\n"
        "sys.exit(' '.join(name for name in sys.modules if '.fetched.' in name) or None)"
    )
    ended = subprocess.run(
        [sys.executable, "-c", program], cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert (ended.returncode, ended.stderr) == (0, "")
