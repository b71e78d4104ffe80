"""The blocks of one object: which come back to the worker, why, and how often the object is looked up."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from s3_to_azure.model.errors import ForeignBlocks, SourceChanged
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Block, FetchUrl, ObjectVersion
from s3_to_azure.transfer.attempt import Attempt
from s3_to_azure.transfer.blocks import FetchedBlock, StagedBlock, fingerprint, staged_blocks
from s3_to_azure.transfer.fetched.object_fetches import LOOK_EVERY_S, ObjectFetches
from s3_to_azure.transfer.throttle import RequestLimiter
from tests.fakes.contexts import BUCKET, crc, task, transfer_context
from tests.fakes.fetching_memory import FetchingMemory, refused
from tests.fakes.memory_source import MemorySource

DATA = bytes(range(256)) * (4 * MIB // 256)
BLOCKS = [Block(start, start + MIB) for start in range(0, len(DATA), MIB)]


class Rig:
    """Fetches of one object."""

    def __init__(
        self,
        fetches: ObjectFetches,
        azure: FetchingMemory,
        source: MemorySource,
        version: ObjectVersion,
        limiter: RequestLimiter,
    ) -> None:
        self.fetches, self.azure, self.source, self.version = fetches, azure, source, version
        self.limiter = limiter
        self.staged: list[StagedBlock] = []

    def fetch(self, *blocks: Block) -> list[Block]:
        """Let Azure fetch; return what the worker has to send."""
        return self.fetches.fetch(blocks or BLOCKS, self.staged.append)


@contextmanager
def rig(*, clock: Callable[[], float] = lambda: 0.0, known: int | None = None) -> Iterator[Rig]:
    """Return fetches of an object of four blocks."""
    source = MemorySource(BUCKET)
    version = source.put(BUCKET, "k", DATA)
    azure = FetchingMemory(source)
    with transfer_context(source, azure, via="auto") as context:
        assert context.fetch_pool is not None
        attempt = Attempt(context, task(), 1, context.backlog.begin())
        fetches = ObjectFetches(context.fetch_pool, attempt, version, known_crc64=lambda _: known, clock=clock)
        yield Rig(fetches, azure, source, version, context.limits.fetches)


def test_each_block_is_noted_before_it_counts() -> None:
    """What ``on_staged`` is told, a later worker finds."""
    with rig() as it:
        assert it.fetch() == []
        found = staged_blocks(it.azure.list_staged("k"), fingerprint(it.version))
        assert set(found) == set(it.staged)
        assert {block.crc64 for block in found} == {crc(DATA[:MIB])}


def test_known_bytes_need_no_note() -> None:
    """Azure has compared them, and the id of version 1 says so."""
    with rig(known=crc(DATA[:MIB])) as it:
        assert it.fetch() == []
        assert not any(isinstance(block, FetchedBlock) for block in it.staged)
        assert len(it.azure.list_staged("k")) == len(BLOCKS)


def test_what_is_left_is_in_order() -> None:
    """The worker sends blocks as it sends all others, and the receipt says why."""
    with rig() as it:

        def around(block: Block, fetch: Callable[[], int | None]) -> int | None:
            if block in (BLOCKS[0], BLOCKS[2]):
                raise refused()
            return fetch()

        it.azure.around = around
        assert it.fetch() == [BLOCKS[0], BLOCKS[2]]
        assert it.fetches.left_for == "source_unreachable"
        assert {block.start for block in it.staged} == {MIB, 3 * MIB}


def test_failed_note_is_not_left_out() -> None:
    """A block without a note would be fetched again by a later worker, without anybody knowing why."""
    with rig() as it:

        def around(block: Block, fetch: Callable[[], int | None]) -> int | None:
            found = fetch()
            it.azure.stage_foreign("k", b"another tool's", b"x")
            return found

        it.azure.around = around
        with pytest.raises(ForeignBlocks):
            it.fetch(BLOCKS[0])
        assert it.staged == []


def test_object_is_looked_up_now_and_then() -> None:
    """Not for each block, and a change ends the fetching."""
    now = [0.0]
    with rig(clock=lambda: now[0]) as it:
        heads: list[str] = []
        real = it.source.head

        def head(bucket: str, key: str) -> ObjectVersion:
            heads.append(key)
            return real(bucket, key)

        it.source.head = head  # type: ignore[method-assign]  # to count
        assert it.fetch() == []
        assert heads == []
        now[0] = LOOK_EVERY_S
        assert it.fetch() == []
        assert heads == ["k"], "one of four blocks looks"
        it.source.put(BUCKET, "k", b"another version")
        now[0] *= 2
        with pytest.raises(SourceChanged):
            it.fetch()


def test_source_without_urls() -> None:
    """Credentials that were replaced meanwhile may make the URL too long."""
    with rig() as it:
        it.source.fetch_url = lambda version: None  # type: ignore[method-assign]  # as of long keys
        assert it.fetch() == BLOCKS
        assert it.azure.fetched == []


def test_url_is_made_when_its_turn_has_come() -> None:
    """A URL that waits while Azure throttles would expire."""
    with rig() as it:
        running, most, lock, first = [0], [0], threading.Lock(), [True]
        real = it.source.fetch_url

        def fetch_url(version: ObjectVersion) -> FetchUrl | None:
            with lock:
                running[0] += 1
                most[0] = max(most[0], running[0])
            return real(version)

        def around(_block: Block, fetch: Callable[[], int | None]) -> int | None:
            if first:
                # While the others wait for what this one shows, Azure begins to throttle.
                first.clear()
                it.limiter._clock = iter(range(10, 1_000, 10)).__next__
                for _ in range(9):
                    it.limiter.decrease()
            try:
                return fetch()
            finally:
                with lock:
                    running[0] -= 1

        it.source.fetch_url = fetch_url  # type: ignore[method-assign]  # to count
        it.azure.around = around
        assert it.fetch() == []
        # The first success lets a second one in; all four have been admitted before.
        assert most[0] <= 2
