"""A lane of small objects in memory: keeps the contract of ``SmallObjectClient``."""

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from s3_to_azure.model.errors import TransferError
from s3_to_azure.model.objects import BlobContents, Condition, ListedObject
from s3_to_azure.model.ports import Fetched, HandedBack, Stored
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource

Event = Fetched | Stored | HandedBack


class MemorySmallObjectClient:
    """Between a source and a destination in memory.

    Args:
        source: Where the objects are.
        destination: Where the blobs are.
        at_a_time: How many requests end between two calls.
    """

    def __init__(self, source: MemorySource, destination: MemoryDestination, *, at_a_time: int = 7) -> None:
        """Begin with nothing under way."""
        self._source = source
        self._destination = destination
        self._at_a_time = at_a_time
        self._under_way: deque[Callable[[], Event]] = deque()
        self._sizes: dict[int, int] = {}
        self.fetched: list[str] = []
        """The key of each GET."""
        self.stored: list[str] = []
        """The name of each Put Blob."""
        self.most_bytes = 0
        """Most bytes of listed objects that were under way at once."""
        self.closed = 0

    # -- what tests override ---------------------------------------------------------------------------------------

    def on_fetch(self, key: str) -> TransferError | None:
        """Return why a GET is handed back; None where it is not."""
        return None

    def on_store(self, blob: str) -> TransferError | None:
        """Return why a Put Blob is handed back before it is sent; None where it is not."""
        return None

    def on_stored(self, blob: str) -> TransferError | None:
        """Return why the answer to a Put Blob was lost; None where it was not."""
        return None

    # -- the port --------------------------------------------------------------------------------------------------

    def fetch(self, tag: Any, listed: ListedObject) -> None:
        """See the port."""
        self.fetched.append(listed.key)
        self._sizes[id(tag)] = listed.size_bytes
        self.most_bytes = max(self.most_bytes, sum(self._sizes.values()))
        self._under_way.append(lambda: self._get(tag, listed))

    def store(
        self, tag: Any, blob: str, data: bytes, *, crc64: int, contents: BlobContents, condition: Condition
    ) -> None:
        """See the port."""
        self.stored.append(blob)

        def put() -> Event:
            try:
                if error := self.on_store(blob):
                    raise error
                self._destination.put_blob(blob, memoryview(data), crc64, contents, condition)
                if error := self.on_stored(blob):
                    raise error
            except TransferError as error:
                return self._ended(HandedBack(tag, error))
            return self._ended(Stored(tag))

        self._under_way.append(put)

    def finished(self, timeout_s: float) -> Sequence[Event]:
        """See the port; the oldest end first."""
        if not self._under_way:
            time.sleep(timeout_s)
        return [self._under_way.popleft()() for _ in range(min(self._at_a_time, len(self._under_way)))]

    def close(self) -> None:
        """See the port."""
        self.closed += 1
        self._under_way.clear()

    # --------------------------------------------------------------------------------------------------------------

    def _get(self, tag: Any, listed: ListedObject) -> Event:
        try:
            if error := self.on_fetch(listed.key):
                raise error
            with self._source.open(listed) as body:
                return Fetched(tag, body.version, body.data)
        except TransferError as error:
            return self._ended(HandedBack(tag, error))

    def _ended(self, event: Event) -> Event:
        del self._sizes[id(event.tag)]
        return event
