"""A source that flips a byte between S3 and the copy, and otherwise passes every call on."""

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from s3_to_azure.model.objects import FetchUrl, ListedObject, ObjectVersion, PartChecksum, PartSizes
from s3_to_azure.model.ports import BodyReader, ObjectSource


class FlippedBody:
    """A body in which one byte is flipped."""

    def __init__(self, body: BodyReader, at: int) -> None:
        """Flip the byte ``at``, counted from the body's start; none where it is negative."""
        self.version = body.version
        self._body = body
        self._left = at

    def readinto(self, view: memoryview) -> int:
        count = self._body.readinto(view)
        if 0 <= self._left < count:
            view[self._left] ^= 0x01
        self._left -= count
        return count


class FlippingSource:
    """Flips the object's byte ``at`` in its first ``times`` readings.

    Args:
        source: The real source.
        at: Offset in the object.
        times: How many readings of that byte are damaged.
        stop: Set once ``stop_after`` bodies have been opened.
        stop_after: The number of bodies after which ``stop`` is set.
        before_stop: Called before ``stop`` is set, to wait until the blocks that were read are staged.
    """

    def __init__(
        self,
        source: ObjectSource,
        *,
        at: int,
        times: int,
        stop: threading.Event | None = None,
        stop_after: int = 0,
        before_stop: Callable[[], None] | None = None,
    ) -> None:
        self._source = source
        self._at = at
        self._times = times
        self._stop = stop
        self._stop_after = stop_after
        self._before_stop = before_stop
        self._opened = 0

    def check(self, bucket: str) -> None:
        self._source.check(bucket)

    @property
    def reads_named_version(self) -> bool:
        return self._source.reads_named_version

    def head(self, bucket: str, key: str) -> ObjectVersion:
        return self._source.head(bucket, key)

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        return self._source.part_sizes(version, each=each)

    def part_checksums(self, version: ObjectVersion) -> Sequence[PartChecksum]:
        return self._source.part_checksums(version)

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        return self._source.tags(bucket, key)

    def current_etag(self, bucket: str, key: str) -> str | None:
        return self._source.current_etag(bucket, key)

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        return self._source.restore(bucket, key, days=days, tier=tier)

    def fetch_url(self, version: ObjectVersion) -> FetchUrl | None:
        return self._source.fetch_url(version)

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[BodyReader]:
        self._opened += 1
        if self._stop and self._opened > self._stop_after:
            if self._before_stop:
                self._before_stop()
            self._stop.set()
        inside = start <= self._at < (version.size_bytes if end is None else end)
        damaged = inside and self._times > 0
        self._times -= damaged
        with self._source.open(version, start, end) as body:
            yield FlippedBody(body, self._at - start if damaged else -1)

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        return self._source.list(bucket, prefix, max_keys=max_keys)
