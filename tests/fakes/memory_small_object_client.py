"""A client for small objects in memory that keeps the contract of ``SmallObjectClient``."""

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
    """Copies between a source and a destination in memory.

    Args:
        source: Where the objects are.
        destination: Where the blobs are.
        at_a_time: How many requests end between two calls.
    """

    def __init__(self, source: MemorySource, destination: MemoryDestination, *, at_a_time: int = 7) -> None:
        self._source = source
        self._destination = destination
        self._at_a_time = at_a_time
        self._in_flight: deque[Callable[[], Event]] = deque()
        self._sizes: dict[int, int] = {}
        self.fetched: list[str] = []
        """The key of each GET."""
        self.stored: list[str] = []
        """The name of each Put Blob."""
        self.most_bytes = 0
        """The most bytes of listed objects that were in flight at once."""
        self.closed = 0

    # -- what tests override ---------------------------------------------------------------------------------------

    def on_fetch(self, key: str) -> TransferError | None:
        """Return the error with which a GET is handed back; None to answer it."""
        return None

    def on_store(self, blob: str) -> TransferError | None:
        """Return the error with which a Put Blob is handed back before it is sent; None to send it."""
        return None

    def on_stored(self, blob: str) -> TransferError | None:
        """Return the error of a Put Blob whose answer is lost; None to return the answer."""
        return None

    # -- the port --------------------------------------------------------------------------------------------------

    def fetch(self, tag: Any, listed: ListedObject) -> None:
        self.fetched.append(listed.key)
        self._sizes[id(tag)] = listed.size_bytes
        self.most_bytes = max(self.most_bytes, sum(self._sizes.values()))
        self._in_flight.append(lambda: self._get(tag, listed))

    def store(
        self, tag: Any, blob: str, data: bytes, *, crc64: int, contents: BlobContents, condition: Condition
    ) -> None:
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

        self._in_flight.append(put)

    def finished(self, timeout_s: float) -> Sequence[Event]:
        """End the oldest requests."""
        if not self._in_flight:
            time.sleep(timeout_s)
        return [self._in_flight.popleft()() for _ in range(min(self._at_a_time, len(self._in_flight)))]

    def close(self) -> None:
        self.closed += 1
        self._in_flight.clear()

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
