"""S3 in memory that keeps the contract of ``ObjectSource``, with conditions and checksums."""

import hashlib
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from urllib.parse import quote

from s3_to_azure.model.checksums import ALGORITHMS
from s3_to_azure.model.errors import BucketNotFound, ObjectNotFound, SourceChanged, UnexpectedResponse
from s3_to_azure.model.names import check_key
from s3_to_azure.model.objects import (
    ContentHeaders,
    FetchAccess,
    FetchUrl,
    ListedObject,
    ObjectVersion,
    PartChecksum,
    PartSizes,
    SourceChecksum,
)

EPOCH = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class MemoryBody:
    """The open body of a GET; like a socket, it returns at most ``piece_bytes`` per read."""

    version: ObjectVersion
    data: bytes
    piece_bytes: int
    position: int = field(default=0)

    def readinto(self, view: memoryview) -> int:
        """Fill the start of the view."""
        piece = self.data[self.position : self.position + min(len(view), self.piece_bytes)]
        view[: len(piece)] = piece
        self.position += len(piece)
        return len(piece)


class MemorySource:
    """Buckets of objects, each with its current version only.

    Args:
        buckets: Names of the buckets that exist.
        piece_bytes: The most bytes that one read returns.
    """

    def __init__(self, *buckets: str, piece_bytes: int = 300_000) -> None:
        self._objects: dict[str, dict[str, tuple[ObjectVersion, bytes]]] = {name: {} for name in buckets}
        self._piece_bytes = piece_bytes
        self._lock = threading.RLock()
        self._puts = 0
        self.bytes_served = 0
        self.opened: list[tuple[str, int, int | None]] = []
        """Key, start and end of every GET that was answered with a body."""

    def put(
        self,
        bucket: str,
        key: str,
        data: bytes,
        *,
        checksum: str | None = "crc64nvme",
        metadata: Mapping[str, str] | None = None,
        headers: ContentHeaders | None = None,
        last_modified: datetime | None = None,
        etag: str | None = None,
    ) -> ObjectVersion:
        """Write an object; each is a second younger than the one before.

        Args:
            bucket: The object's bucket.
            key: The object's key.
            data: The object's bytes.
            checksum: The full-object checksum that is stored with it, or None.
            metadata: User metadata.
            headers: Content headers.
            last_modified: Replaces the next second.
            etag: Replaces the MD5.
        """
        with self._lock:
            self._puts += 1
            stored = SourceChecksum(checksum, ALGORITHMS[checksum].digest(memoryview(data))) if checksum else None
            version = ObjectVersion(
                bucket=bucket,
                key=key,
                etag=etag or hashlib.md5(data, usedforsecurity=False).hexdigest(),
                size_bytes=len(data),
                last_modified=last_modified or EPOCH + timedelta(seconds=self._puts),
                checksum=stored,
                metadata=dict(metadata or {}),
                headers=headers or ContentHeaders(content_type="binary/octet-stream"),
            )
            self._objects[bucket][key] = version, data
            return version

    def delete(self, bucket: str, key: str) -> None:
        """Delete an object, if it is there."""
        with self._lock:
            self._objects[bucket].pop(key, None)

    def listed(self, bucket: str, key: str) -> ListedObject:
        """Return an object as a listing shows it."""
        return next(item for item in self.list(bucket, key) if item.key == key)

    def served(self, key: str, start: int, data: bytes) -> bytes:
        """Return the bytes that go over the wire instead of ``data``; tests that damage or cut them override this."""
        return data

    # -- the port --------------------------------------------------------------------------------------------------

    @property
    def reads_named_version(self) -> bool:
        """Return False: only current versions are read here."""
        return False

    def check(self, bucket: str) -> None:
        if bucket not in self._objects:
            raise BucketNotFound(bucket=bucket)

    def fetch_access(self, bucket: str) -> FetchAccess:
        """Return what a public bucket of S3 has."""
        return FetchAccess(f"https://{bucket}.s3.us-east-1.amazonaws.com", query_characters=300)

    def head(self, bucket: str, key: str) -> ObjectVersion:
        check_key(key)
        return self._find(bucket, key)[0]

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        """Return None: no object here was uploaded in parts."""
        return None

    def part_checksums(self, version: ObjectVersion) -> Sequence[PartChecksum]:
        """Return none: no object here was uploaded in parts."""
        return ()

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        """Return no tags."""
        return {}

    def current_etag(self, bucket: str, key: str) -> str | None:
        with self._lock:
            found = self._objects[bucket].get(key)
        return found[0].etag if found else None

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        """Return False: no object here is archived."""
        return False

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[MemoryBody]:
        check_key(version.key)
        with self._lock:
            current, data = self._find(version.bucket, version.key)
            if current.etag != version.etag:
                raise SourceChanged(bucket=version.bucket, key=version.key, etag=version.etag)
            if end is not None and not 0 <= start < end <= len(data):
                raise UnexpectedResponse(service="S3", resource=repr(version.key), detail="status 416 (InvalidRange)")
            self.opened.append((version.key, start, end))
        sent = self.served(version.key, start, data[start:end])
        with self._lock:
            self.bytes_served += len(sent)
        # S3 sends the checksum of whole objects only.
        yield MemoryBody(replace(current, checksum=None) if end is not None else current, sent, self._piece_bytes)

    def fetch_url(self, version: ObjectVersion) -> FetchUrl | None:
        """Return a URL that names the object."""
        return FetchUrl(f"memory://{version.bucket}/{quote(version.key, safe='/~')}")

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        self.check(bucket)
        with self._lock:
            keys = sorted((key for key in self._objects[bucket] if key.startswith(prefix)), key=lambda k: k.encode())
        for key in keys[:max_keys]:
            version, _ = self._find(bucket, key)
            yield ListedObject(bucket, key, version.etag, version.size_bytes, version.last_modified)

    def _find(self, bucket: str, key: str) -> tuple[ObjectVersion, bytes]:
        self.check(bucket)
        with self._lock:
            if key not in self._objects[bucket]:
                raise ObjectNotFound(bucket=bucket, key=key)
            return self._objects[bucket][key]
