"""Both stores in memory, and a record of everything that ever happened to them: what the promises are checked against.

The record is written on the stores' side of each request. Nothing that the engine says goes into it.
"""

import hashlib
import math
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import accumulate, pairwise
from typing import Protocol, TypeVar

from s3_to_azure.model import checksums
from s3_to_azure.model.checksums import ALGORITHMS
from s3_to_azure.model.errors import TransferError
from s3_to_azure.model.objects import ObjectVersion, PartSizes, SourceChecksum
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource

T = TypeVar("T")


@dataclass(slots=True)
class Version:
    """One version of an object, and from when until when S3 held it as the current one.

    Attributes:
        until: The tick of its end; infinite while it is current.
    """

    object: ObjectVersion
    data: bytes
    since: int
    until: float = math.inf

    def lived(self, start: float, end: float = math.inf) -> bool:
        """Return whether it was current at some time between the two ticks."""
        return self.since <= end and start <= self.until


@dataclass(frozen=True, slots=True)
class BlobImage:
    """A blob from one tick until its next image.

    Attributes:
        etag: None: there is no blob.
        bytes_since: The tick at which the bytes were written; an edit of metadata leaves them.
        by: Who made it so: the name of a try, or of somebody else.
        origin: The bucket and key whose copy it is; None: somebody else wrote its bytes.
        damaged: Azure has damaged its bytes.
    """

    since: int
    etag: str | None
    data: bytes = b""
    metadata: Mapping[str, str] = field(default_factory=dict)
    by: str = ""
    origin: tuple[str, str] | None = None
    damaged: bool = False
    bytes_since: int = 0


class Writer(Protocol):
    """Who changes a blob."""

    name: str

    def origin_of(self, blob: str) -> tuple[str, str] | None:
        """Return the bucket and key whose copy the writer makes there; None: it copies nothing."""
        ...

    def wrote(self, blob: str, before: BlobImage, after: BlobImage) -> None:
        """Judge the change."""
        ...


class ObjectsInParts(MemorySource):
    """S3, with objects that were uploaded in parts."""

    def __init__(self, *buckets: str) -> None:
        super().__init__(*buckets)
        self._parts: dict[tuple[str, str], PartSizes] = {}

    def put_parts(self, version: ObjectVersion, sizes: tuple[int, ...], algorithm: str) -> ObjectVersion:
        """Turn the object into one that was uploaded in parts of these sizes, with a checksum over the parts."""
        with self._lock:
            data = self._objects[version.bucket][version.key][1]
            cuts = list(pairwise((0, *accumulate(sizes))))
            digest = ALGORITHMS[algorithm].digest
            parts = [digest(memoryview(data)[start:end]) for start, end in cuts]
            value = checksums.over_parts(parts, ALGORITHMS[algorithm])
            etag = hashlib.md5(repr((parts, version.etag)).encode(), usedforsecurity=False).hexdigest()
            changed = replace(
                version,
                etag=f"{etag}-{len(sizes)}",
                checksum=None,
                weaker=(SourceChecksum(algorithm, value, parts=len(sizes)),),
            )
            self._objects[version.bucket][version.key] = changed, data
            self._parts[version.key, changed.etag] = PartSizes(sizes, certain=True)
            return changed

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        """Return the sizes of an object that was uploaded in parts."""
        return self._parts.get((version.key, version.etag))


class World:
    """S3, one Azure container, and their record.

    Attributes:
        now: Counts all requests and events; the only clock.
        broken: The promises that were broken, in words.
        trace: What happened, for people.
        last_read: The bucket and key of which bytes were requested last.
        hierarchical: The account has a hierarchical namespace: it drops empty path segments and lists by folders.
    """

    def __init__(self, *buckets: str, hierarchical: bool = False) -> None:
        self.hierarchical = hierarchical
        self.lock = threading.RLock()
        self.now = 0
        self.source = ObjectsInParts(*buckets)
        self.destination = MemoryDestination()
        self.destination.hierarchical = hierarchical
        self.broken: list[str] = []
        self.trace: list[str] = []
        self.last_read: tuple[str, str] | None = None
        self._versions: dict[tuple[str, str], list[Version]] = defaultdict(list)
        self._images: dict[str, list[BlobImage]] = defaultdict(list)
        self._late: list[tuple[int, Callable[[], object]]] = []
        self._disturbed: dict[str, int] = {}

    def note(self, text: str) -> None:
        """Add a line to the trace."""
        self.trace.append(f"{self.now:5} {text}")

    def break_promise(self, text: str) -> None:
        """Record that a promise is broken."""
        self.note(f"BROKEN: {text}")
        self.broken.append(text)

    def tick(self) -> int:
        """Let one unit of time pass; requests that were held up in the network arrive when they are due."""
        with self.lock:
            self.now += 1
            due = [item for item in self._late if item[0] <= self.now]
            self._late = [item for item in self._late if item[0] > self.now]
            for _, send in due:
                try:
                    send()
                except TransferError as error:
                    self.note(f"arrived late and was refused: {type(error).__name__}")
            return self.now

    def arrive_later(self, ticks: int, send: Callable[[], object]) -> None:
        """Send the request after so many ticks; nobody waits for its answer."""
        with self.lock:
            self._late.append((self.now + ticks, send))

    def let_all_arrive(self) -> None:
        """Let every request arrive that is still held up."""
        with self.lock:
            while self._late:
                self.now = max(self.now, min(due for due, _ in self._late))
                self.tick()

    # -- S3 --------------------------------------------------------------------------------------------------------

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        checksum: str | None,
        parts: tuple[int, ...] = (),
        metadata: Mapping[str, str] | None = None,
        last_modified: datetime | None = None,
    ) -> None:
        """Write an object; with ``parts``, ``checksum`` is over the parts."""
        with self.lock:
            self.tick()
            version = self.source.put(
                bucket,
                key,
                data,
                checksum=None if parts else checksum,
                metadata=metadata,
                last_modified=last_modified,
            )
            if parts and checksum:
                version = self.source.put_parts(version, parts, checksum)
            self._end_version(bucket, key)
            self._versions[bucket, key].append(Version(version, data, self.now))
            self.note(f"S3: put {key!r}, {len(data)} bytes, {version.etag[:6]}")

    def put_again(self, version: Version) -> None:
        """Make an earlier version the current one again, with its date, as when a newer version is deleted."""
        with self.lock:
            self.tick()
            bucket, key = version.object.bucket, version.object.key
            self.source._objects[bucket][key] = version.object, version.data
            self._end_version(bucket, key)
            self._versions[bucket, key].append(Version(version.object, version.data, self.now))
            self.note(f"S3: {key!r} is {version.object.etag[:6]} again")

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object."""
        with self.lock:
            self.tick()
            self.source.delete(bucket, key)
            self._end_version(bucket, key)
            self.note(f"S3: delete {key!r}")

    def _end_version(self, bucket: str, key: str) -> None:
        versions = self._versions[bucket, key]
        if versions and versions[-1].until == math.inf:
            versions[-1].until = self.now

    def versions(self, bucket: str, key: str, etag: str | None = None) -> list[Version]:
        """Return all versions that a key ever had, oldest first; only those with an ETag if it is given."""
        return [each for each in self._versions[bucket, key] if etag is None or each.object.etag == etag]

    def current(self, bucket: str) -> dict[str, Version]:
        """Return the objects that a bucket holds."""
        return {
            key: versions[-1]
            for (its, key), versions in self._versions.items()
            if its == bucket and versions and versions[-1].until == math.inf
        }

    # -- Azure -----------------------------------------------------------------------------------------------------

    def image(self, blob: str) -> BlobImage:
        """Return the blob as it is now."""
        images = self._images.get(blob)
        return images[-1] if images else BlobImage(0, None)

    def images(self, blob: str, start: float, end: float) -> Iterator[BlobImage]:
        """Yield every image that the blob had between two ticks."""
        found = self._images.get(blob) or [BlobImage(0, None)]
        for image, following in pairwise([*found, BlobImage(2**62, None)]):
            if image.since <= end and following.since >= start:
                yield image

    def disturb(self, blob: str) -> None:
        """Record that somebody has done something to the blob, its blocks or its lease."""
        self._disturbed[blob] = self.tick()
        self.note(f"Azure: somebody disturbs {blob!r}")

    def was_disturbed(self, blob: str, since: int) -> bool:
        """Return whether somebody has done something to the blob after a tick."""
        return self._disturbed.get(blob, -1) > since

    def change(self, writer: Writer, blob: str, request: Callable[[], T], *, damages: bool = False) -> T:
        """Send a request that may change a blob; record the change and let the writer judge it.

        Args:
            writer: Who sends it.
            blob: The blob.
            request: The request to the fake.
            damages: Azure damages the bytes that it writes.
        """
        with self.lock:
            self.tick()
            before = self.image(blob)
            try:
                return request()
            finally:
                held = self.destination.blobs.get(blob)
                if (held.etag if held else None) != before.etag:
                    self._record(writer, blob, before, damages=damages)

    def _record(self, writer: Writer, blob: str, before: BlobImage, *, damages: bool) -> None:
        held = self.destination.blobs.get(blob)
        if held is None:
            after = BlobImage(self.now, None, by=writer.name)
        else:
            damages = damages and bool(held.data)
            if damages:
                held.data = bytes([held.data[0] ^ 1]) + held.data[1:]
            # A metadata update leaves the very same bytes.
            same = before.etag is not None and held.data is before.data
            origin = before.origin if same else writer.origin_of(blob)
            damaged = damages or (same and before.damaged)
            since = before.bytes_since if same else self.now
            after = BlobImage(self.now, held.etag, held.data, dict(held.metadata), writer.name, origin, damaged, since)
        self._images[blob].append(after)
        self.note(
            f"Azure: {blob!r} by {writer.name}: {after.etag and after.metadata.get('s3_etag', '')[:6]!r}"
            + (", DAMAGED" if after.damaged else "")
        )
        writer.wrote(blob, before, after)
