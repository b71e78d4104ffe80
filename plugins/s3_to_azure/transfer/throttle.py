"""Limits on requests and bandwidth: wrappers around the stores that keep the ports' contracts."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Final

from s3_to_azure.model.errors import AZURE, S3, Cancelled, ServerFailed, Throttled, TransientError
from s3_to_azure.model.limits import KIB
from s3_to_azure.model.log_lines import LineLimit
from s3_to_azure.model.objects import (
    BlobContents,
    BlobState,
    Block,
    Condition,
    FetchAccess,
    FetchUrl,
    ListedBlock,
    ListedObject,
    ObjectVersion,
    PartChecksum,
    PartSizes,
)
from s3_to_azure.model.ports import BlobDestination, BodyReader, ObjectSource

_POLL_S: Final = 0.1
_BACKOFF_S: Final = 1.0
_PIECES_PER_S: Final = 4
_LEAST_PIECE_BYTES: Final = 4 * KIB
_FIRST_FETCHES: Final = 16

log = logging.getLogger(__name__)


class RequestLimiter:
    """How many requests one service gets at once: additive increase, multiplicative decrease.

    Args:
        service: The service's name, for the log.
        maximum: Upper bound, and the start: a service that never throttles is never held back.
        clock: Seconds, monotonic.
        first: The start where it is not the upper bound; until the service first throttles, the limit then doubles
            with each round of requests.
        halved_by: The errors that halve the limit.
    """

    def __init__(
        self,
        service: str,
        maximum: int,
        clock: Callable[[], float] = time.monotonic,
        *,
        first: int | None = None,
        halved_by: tuple[type[TransientError], ...] = (Throttled,),
    ) -> None:
        self._service = service
        self._maximum = maximum
        self._clock = clock
        self._lines = LineLimit(clock)
        self._limit = float(min(first or maximum, maximum))
        self._is_starting = True
        self._halved_by = halved_by
        self._active = 0
        self._ignore_until = 0.0
        self._changed = threading.Condition()

    @property
    def limit(self) -> int:
        """Requests allowed at once, at least 1."""
        return max(1, int(self._limit))

    @property
    def share(self) -> float:
        """The limit as a fraction of its upper bound."""
        return self._limit / self._maximum

    @contextmanager
    def request(self, stopped: threading.Event) -> Iterator[None]:
        """Wait until one more request is allowed and count it during the block; a success raises the limit a little.

        Raises:
            Cancelled: Stopped while waiting.
        """
        with self._changed:
            while self._active >= self.limit:
                if stopped.is_set():
                    raise Cancelled.now()
                self._changed.wait(_POLL_S)
            self._active += 1
        succeeded = False
        try:
            yield
            succeeded = True
        except self._halved_by:
            self.decrease()
            raise
        finally:
            with self._changed:
                self._active -= 1
                if succeeded:
                    self._increase()
                self._changed.notify_all()

    def increase(self) -> None:
        """Raise the limit a little, after the success of a request that ``request`` did not count."""
        if self._limit < self._maximum:
            with self._changed:
                self._increase()

    def _increase(self) -> None:
        self._limit = min(self._maximum, self._limit + (1 if self._is_starting else 1 / self._limit))

    def end(self) -> None:
        """Count the lines that were left out of the log."""
        self._lines.end()

    def decrease(self) -> None:
        """Halve the limit because the service throttles; several such answers within a second count as one."""
        with self._changed:
            now = self._clock()
            if now < self._ignore_until:
                return
            self._ignore_until = now + _BACKOFF_S
            self._is_starting = False
            self._limit = max(1.0, self._limit / 2)
            self._lines.warning("%s throttles: at most %d requests at once for now", self._service, self.limit)


class ServiceLimits:
    """The request limits of both services.

    Args:
        maximum: Upper bound of the requests to each service.
        fetches: Upper bound of the blocks that Azure fetches by itself at once. They take nothing of this machine, so
            Azure's answers alone set their level: a 500, such as its own timeout, halves it too.
    """

    def __init__(self, maximum: int, *, fetches: int = 1) -> None:
        self.s3 = RequestLimiter(S3, maximum)
        self.azure = RequestLimiter(AZURE, maximum)
        self.fetches = RequestLimiter(
            f"{AZURE} (fetching)", fetches, first=_FIRST_FETCHES, halved_by=(Throttled, ServerFailed)
        )
        self._by_service = {S3: self.s3, AZURE: self.azure}

    def scaled(self, count: int) -> int:
        """Return how many of ``count`` requests are allowed at present, for a client that counts its own requests."""
        return max(1, int(count * min(self.s3.share, self.azure.share)))

    def request_succeeded(self) -> None:
        """Note a success of a client that counts its own requests."""
        self.s3.increase()
        self.azure.increase()

    def end(self) -> None:
        """Count the lines that were left out of the log."""
        for limiter in (self.s3, self.azure, self.fetches):
            limiter.end()

    def throttled(self, error: Throttled) -> None:
        """Halve the limit of the service that throttles."""
        limiter = self._by_service.get(str(error.attributes.get("service")))
        if limiter:
            limiter.decrease()


class BandwidthLimit:
    """Keeps a task below a number of bytes per second.

    Args:
        bytes_per_s: The limit; None for no limit.
        clock: Seconds, monotonic.
    """

    def __init__(self, bytes_per_s: int | None, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = bytes_per_s
        self._clock = clock
        self._free_at = clock()
        self._lock = threading.Lock()

    @property
    def piece_bytes(self) -> int | None:
        """How much to read at once, so that bytes arrive steadily and not once in many seconds; None for no limit."""
        return max(_LEAST_PIECE_BYTES, self._rate // _PIECES_PER_S) if self._rate else None

    def wait_for(self, size_bytes: int, stopped: threading.Event) -> None:
        """Count bytes that have moved, and wait until the limit has had room for them.

        Raises:
            Cancelled: Stopped while waiting.
        """
        if not self._rate:
            return
        until = self._clock() + self.reserve(size_bytes)
        while (left_s := until - self._clock()) > 0:
            if stopped.wait(left_s):
                raise Cancelled.now()

    def reserve(self, size_bytes: int) -> float:
        """Count bytes that are to move; return the seconds until the limit has room for them."""
        if not self._rate:
            return 0.0
        with self._lock:
            now = self._clock()
            self._free_at = max(self._free_at, now) + size_bytes / self._rate
            return self._free_at - now


class _MeteredBody:
    """A body whose bytes count against the bandwidth limit."""

    def __init__(self, body: BodyReader, bandwidth: BandwidthLimit, stopped: threading.Event) -> None:
        self.version = body.version
        self._body = body
        self._bandwidth = bandwidth
        self._stopped = stopped

    def readinto(self, view: memoryview) -> int:
        piece = self._bandwidth.piece_bytes
        if piece is None or piece >= len(view):
            count = self._body.readinto(view)
        else:
            with view[:piece] as part:
                count = self._body.readinto(part)
        self._bandwidth.wait_for(count, self._stopped)
        return count


class LimitedSource:
    """A source behind a request limit and a bandwidth limit."""

    def __init__(
        self, source: ObjectSource, limiter: RequestLimiter, bandwidth: BandwidthLimit, stopped: threading.Event
    ) -> None:
        self._source = source
        self._limiter = limiter
        self._bandwidth = bandwidth
        self._stopped = stopped

    def check(self, bucket: str) -> None:
        self._source.check(bucket)

    @property
    def reads_named_version(self) -> bool:
        return self._source.reads_named_version

    def fetch_access(self, bucket: str) -> FetchAccess:
        return self._source.fetch_access(bucket)

    def head(self, bucket: str, key: str) -> ObjectVersion:
        with self._limiter.request(self._stopped):
            return self._source.head(bucket, key)

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        with self._limiter.request(self._stopped):
            return self._source.part_sizes(version, each=each)

    def part_checksums(self, version: ObjectVersion) -> Sequence[PartChecksum]:
        with self._limiter.request(self._stopped):
            return self._source.part_checksums(version)

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        with self._limiter.request(self._stopped):
            return self._source.tags(bucket, key)

    def current_etag(self, bucket: str, key: str) -> str | None:
        with self._limiter.request(self._stopped):
            return self._source.current_etag(bucket, key)

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        with self._limiter.request(self._stopped):
            return self._source.restore(bucket, key, days=days, tier=tier)

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[BodyReader]:
        with self._limiter.request(self._stopped), self._source.open(version, start, end) as body:
            yield _MeteredBody(body, self._bandwidth, self._stopped)

    def fetch_url(self, version: ObjectVersion) -> FetchUrl | None:
        return self._source.fetch_url(version)

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        return self._source.list(bucket, prefix, max_keys=max_keys)


class LimitedDestination:
    """A destination behind a request limit.

    Args:
        destination: The destination.
        limiter: Limits all requests but fetches, which have a limit of their own (``ServiceLimits.fetches``).
        stopped: Ends every wait.
    """

    def __init__(
        self,
        destination: BlobDestination,
        limiter: RequestLimiter,
        stopped: threading.Event,
    ) -> None:
        self.container = destination.container
        self._destination = destination
        self._limiter = limiter
        self._stopped = stopped

    def check(self, *, create: bool = False) -> None:
        self._destination.check(create=create)

    def check_name(self, blob: str) -> str:
        return self._destination.check_name(blob)

    def head(self, blob: str) -> BlobState | None:
        with self._limiter.request(self._stopped):
            return self._destination.head(blob)

    def list(self, prefix: str) -> Iterator[BlobState]:
        return self._destination.list(prefix)

    def list_staged(self, blob: str) -> Sequence[ListedBlock]:
        with self._limiter.request(self._stopped):
            return self._destination.list_staged(blob)

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        with self._limiter.request(self._stopped):
            self._destination.stage_block(blob, block_id, data, crc64)

    def stage_from_url(
        self, blob: str, block_id: str, url: FetchUrl, block: Block, *, etag: str | None, crc64: int | None
    ) -> int | None:
        # Whoever asks has waited before, so that the URL was made when its turn had come.
        return self._destination.stage_from_url(blob, block_id, url, block, etag=etag, crc64=crc64)

    def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
        with self._limiter.request(self._stopped):
            return self._destination.commit(blob, block_ids, contents, condition)

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        with self._limiter.request(self._stopped):
            return self._destination.put_blob(blob, data, crc64, contents, condition)

    def update(self, blob: str, contents: BlobContents, condition: Condition) -> str:
        with self._limiter.request(self._stopped):
            return self._destination.update(blob, contents, condition)

    def read(self, blob: str, start: int, end: int) -> bytes:
        with self._limiter.request(self._stopped):
            return self._destination.read(blob, start, end)
