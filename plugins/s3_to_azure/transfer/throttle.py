"""Holding back where a service or the user asks for it: wrappers that keep the stores' ports."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from s3_to_azure.model.errors import Cancelled, Throttled
from s3_to_azure.model.objects import (
    BlobContents,
    BlobState,
    Condition,
    ListedBlock,
    ListedObject,
    ObjectVersion,
    PartSizes,
)
from s3_to_azure.model.ports import BlobDestination, BodyReader, ObjectSource

_POLL_S: Final = 0.1
_BACKOFF_S: Final = 1.0

log = logging.getLogger(__name__)


class RequestLimiter:
    """How many requests one service gets at once: additive up, multiplicative down.

    Args:
        service: Its name, for the log.
        most: Upper bound, and the start: a service that never throttles is never held back.
        clock: Seconds, monotonic.
    """

    def __init__(self, service: str, most: int, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin wide open."""
        self._service = service
        self._most = most
        self._clock = clock
        self._limit = float(most)
        self._inside = 0
        self._quiet_until = 0.0
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """Requests allowed at once."""
        return max(1, int(self._limit))

    @contextmanager
    def passing(self, stopped: threading.Event) -> Iterator[None]:
        """Wait for room, and hold it during the block; a success widens the gate a little.

        Raises:
            Cancelled: Stopped while waiting.
        """
        with self._changed:
            while self._inside >= self.limit:
                if stopped.is_set():
                    raise Cancelled.now()
                self._changed.wait(_POLL_S)
            self._inside += 1
        widen = False
        try:
            yield
            widen = True
        except Throttled:
            self.narrow()
            raise
        finally:
            with self._changed:
                self._inside -= 1
                if widen:
                    self._widen()
                self._changed.notify_all()

    @property
    def share(self) -> float:
        """How far the gate is open: 1 for as far as it goes."""
        return self._limit / self._most

    def widen(self) -> None:
        """Widen the gate a little, after a request that did not pass through it."""
        if self._limit < self._most:
            with self._changed:
                self._widen()

    def _widen(self) -> None:
        self._limit = min(self._most, self._limit + 1 / self._limit)

    def narrow(self) -> None:
        """Halve the gate because the service said so; many such answers at once count as one."""
        with self._changed:
            now = self._clock()
            if now < self._quiet_until:
                return
            self._quiet_until = now + _BACKOFF_S
            self._limit = max(1.0, self._limit / 2)
            log.warning("%s throttles: at most %d requests at once for now", self._service, self.limit)


class Bandwidth:
    """Keeps a task below a number of bytes a second.

    Args:
        bytes_per_s: The limit, or None for none.
        clock: Seconds, monotonic.
    """

    def __init__(self, bytes_per_s: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        """Begin with nothing owed."""
        self._rate = bytes_per_s
        self._clock = clock
        self._free_at = clock()
        self._lock = threading.Lock()

    def take(self, size_bytes: int, stopped: threading.Event) -> None:
        """Wait until the limit has had room for these bytes.

        Raises:
            Cancelled: Stopped while waiting.
        """
        if not self._rate:
            return
        until = self._clock() + self.book(size_bytes)
        while (left_s := until - self._clock()) > 0:
            if stopped.wait(left_s):
                raise Cancelled.now()

    def book(self, size_bytes: int) -> float:
        """Count bytes that are to move; return in how many seconds the limit has room for them."""
        if not self._rate:
            return 0.0
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now) + size_bytes / self._rate
            return self._free_at - now


class _MeteredBody:
    """A body whose bytes count against the bandwidth."""

    def __init__(self, body: BodyReader, bandwidth: Bandwidth, stopped: threading.Event) -> None:
        self.version = body.version
        self._body = body
        self._bandwidth = bandwidth
        self._stopped = stopped

    def readinto(self, view: memoryview) -> int:
        count = self._body.readinto(view)
        self._bandwidth.take(count, self._stopped)
        return count


class LimitedSource:
    """A source behind a gate and a bandwidth limit; keeps the port's contract."""

    def __init__(
        self, source: ObjectSource, limiter: RequestLimiter, bandwidth: Bandwidth, stopped: threading.Event
    ) -> None:
        """Stand before the source."""
        self._source = source
        self._limiter = limiter
        self._bandwidth = bandwidth
        self._stopped = stopped

    def check(self, bucket: str) -> None:
        """See the port."""
        self._source.check(bucket)

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """See the port."""
        with self._limiter.passing(self._stopped):
            return self._source.head(bucket, key)

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        """See the port."""
        with self._limiter.passing(self._stopped):
            return self._source.part_sizes(version, each=each)

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        """See the port."""
        with self._limiter.passing(self._stopped):
            return self._source.tags(bucket, key)

    def current_etag(self, bucket: str, key: str) -> str | None:
        """See the port."""
        with self._limiter.passing(self._stopped):
            return self._source.current_etag(bucket, key)

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        """See the port."""
        with self._limiter.passing(self._stopped):
            return self._source.restore(bucket, key, days=days, tier=tier)

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[BodyReader]:
        """See the port."""
        with self._limiter.passing(self._stopped), self._source.open(version, start, end) as body:
            yield _MeteredBody(body, self._bandwidth, self._stopped)

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        """See the port."""
        return self._source.list(bucket, prefix, max_keys=max_keys)


class LimitedDestination:
    """A destination behind a gate; keeps the port's contract."""

    def __init__(self, destination: BlobDestination, limiter: RequestLimiter, stopped: threading.Event) -> None:
        """Stand before the destination."""
        self.container = destination.container
        self._destination = destination
        self._limiter = limiter
        self._stopped = stopped

    def check(self, *, create: bool = False) -> None:
        """See the port."""
        self._destination.check(create=create)

    def head(self, blob: str) -> BlobState | None:
        """See the port."""
        with self._limiter.passing(self._stopped):
            return self._destination.head(blob)

    def list(self, prefix: str) -> Iterator[BlobState]:
        """See the port."""
        return self._destination.list(prefix)

    def list_staged(self, blob: str) -> Sequence[ListedBlock]:
        """See the port."""
        with self._limiter.passing(self._stopped):
            return self._destination.list_staged(blob)

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        """See the port."""
        with self._limiter.passing(self._stopped):
            self._destination.stage_block(blob, block_id, data, crc64)

    def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
        """See the port."""
        with self._limiter.passing(self._stopped):
            return self._destination.commit(blob, block_ids, contents, condition)

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        """See the port."""
        with self._limiter.passing(self._stopped):
            return self._destination.put_blob(blob, data, crc64, contents, condition)

    def update(self, blob: str, contents: BlobContents, condition: Condition) -> str:
        """See the port."""
        with self._limiter.passing(self._stopped):
            return self._destination.update(blob, contents, condition)

    def read(self, blob: str, start: int, end: int) -> bytes:
        """See the port."""
        with self._limiter.passing(self._stopped):
            return self._destination.read(blob, start, end)
