"""An Azure container in memory that keeps the contract of ``BlobDestination``, uncommitted lists included."""

import itertools
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import (
    AZURE,
    BlobLeased,
    BlockListRefused,
    ConditionNotMet,
    ContainerNotFound,
    CorruptedInTransit,
    FetchRefused,
    ForeignBlocks,
    NameRefused,
    TooManyStagedBlocks,
    UnexpectedResponse,
    WrongBlobType,
)
from s3_to_azure.model.limits import MAX_STAGED_BLOCKS
from s3_to_azure.model.names import check_blob
from s3_to_azure.model.objects import (
    BlobContents,
    BlobState,
    Block,
    Condition,
    ContentHeaders,
    FetchUrl,
    ListedBlock,
)


@dataclass
class MemoryBlob:
    """A committed blob and its blocks."""

    data: bytes
    etag: str
    metadata: dict[str, str] = field(default_factory=dict)
    headers: ContentHeaders = field(default_factory=ContentHeaders)
    blob_type: str = "BlockBlob"
    blocks: dict[bytes, bytes] = field(default_factory=dict)
    content_md5: str = ""
    written_at: str = ""


class MemoryDestination:
    """One container.

    Args:
        container: Its name.
        exists: Whether it exists from the start.
    """

    def __init__(self, container: str = "container", *, exists: bool = True) -> None:
        self.container = container
        self.exists = exists
        self.hierarchical = False
        """Whether the account drops empty path segments."""
        self.blobs: dict[str, MemoryBlob] = {}
        self.staged: dict[str, dict[bytes, bytes]] = {}
        """Uncommitted blocks by blob and id, in staging order."""
        self.leased: set[str] = set()
        self.fetch: Callable[[str, Block], bytes] | None = None
        """Reads a range of a URL, as Azure does for Put Block From URL; None: this container cannot fetch."""
        self.bytes_staged = 0
        self.commits = 0
        self._etags = itertools.count(1)
        self._lock = threading.RLock()

    # -- what other tools do ---------------------------------------------------------------------------------------

    def write(
        self, blob: str, data: bytes, *, metadata: dict[str, str] | None = None, blob_type: str = "BlockBlob"
    ) -> str:
        """Write a blob as another tool would; return its ETag."""
        with self._lock:
            self.blobs[blob] = MemoryBlob(data, self._new_etag(), dict(metadata or {}), blob_type=blob_type)
            self.staged.pop(blob, None)
            return self.blobs[blob].etag

    def stage_foreign(self, blob: str, block_id: bytes, data: bytes) -> None:
        """Stage a block as another tool would."""
        with self._lock:
            self.staged.setdefault(blob, {})[block_id] = data

    # -- the port --------------------------------------------------------------------------------------------------

    def check_name(self, blob: str) -> str:
        if self.hierarchical and "" in blob.split("/"):
            raise NameRefused(name=blob, detail="the account's hierarchical namespace drops its empty path segments")
        return check_blob(blob)

    def check(self, *, create: bool = False) -> None:
        self.exists = self.exists or create
        self._require_container()

    def head(self, blob: str) -> BlobState | None:
        self.check_name(blob)
        with self._lock:
            self._require_container()
            return self._state(blob) if blob in self.blobs else None

    def list(self, prefix: str) -> Iterator[BlobState]:
        with self._lock:
            self._require_container()
            found = [self._state(name) for name in sorted(self.blobs) if name.startswith(prefix)]
        yield from found

    def list_staged(self, blob: str) -> Sequence[ListedBlock]:
        self.check_name(blob)
        with self._lock:
            self._require_container()
            return [ListedBlock(name, len(data)) for name, data in self.staged.get(blob, {}).items()]

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        received = bytes(data)
        if CRC64NVME.digest(memoryview(received)) != crc64:
            raise CorruptedInTransit(blob=blob)
        with self._lock:
            self._stage(blob, block_id, received)
            self.bytes_staged += len(received)

    def stage_from_url(
        self, blob: str, block_id: str, url: FetchUrl, block: Block, *, etag: str | None, crc64: int | None
    ) -> int | None:
        if self.fetch is None:
            raise FetchRefused(blob=blob, code="CannotVerifyCopySource", detail="this container cannot fetch")
        fetched = self.fetch(url.url, block)
        computed = CRC64NVME.digest(memoryview(fetched))
        if crc64 not in (None, computed):
            raise FetchRefused(blob=blob, code="Crc64Mismatch", detail="other bytes")
        with self._lock:
            self._stage(blob, block_id, fetched)
        return computed

    def _stage(self, blob: str, block_id: str, data: bytes) -> None:
        self.check_name(blob)
        name = block_id.encode("ascii")
        with self._lock:
            self._require_container()
            self._require_writable(blob)
            blocks = self.staged.get(blob, {})
            if any(len(other) != len(name) for other in blocks):
                raise ForeignBlocks(blob=blob, container=self.container)
            if len(blocks) >= MAX_STAGED_BLOCKS:
                raise TooManyStagedBlocks(blob=blob, container=self.container)
            blocks.pop(name, None)
            blocks[name] = data
            self.staged[blob] = blocks

    def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
        self.check_name(blob)
        with self._lock:
            self._require_container()
            self._require_writable(blob)
            self._require_condition(blob, condition)
            committed = self.blobs[blob].blocks if blob in self.blobs else {}
            latest = committed | self.staged.get(blob, {})
            names = [block_id.encode("ascii") for block_id in block_ids]
            if any(name not in latest for name in names):
                raise BlockListRefused(blob=blob, container=self.container)
            data = b"".join(latest[name] for name in names)
            return self._replace(blob, data, contents, {name: latest[name] for name in names})

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        self.check_name(blob)
        received = bytes(data)
        with self._lock:
            self._require_container()
            self._require_writable(blob)
            self._require_condition(blob, condition)
            if condition.etag is None and self.staged.get(blob):
                raise ConditionNotMet(blob=blob, container=self.container, code="BlobAlreadyExists")
            if CRC64NVME.digest(memoryview(received)) != crc64:
                raise CorruptedInTransit(blob=blob)
            self.bytes_staged += len(received)
            return self._replace(blob, received, contents, {})

    def update(self, blob: str, contents: BlobContents, condition: Condition) -> str:
        self.check_name(blob)
        with self._lock:
            self._require_container()
            self._require_writable(blob)
            self._require_condition(blob, condition)
            held = self.blobs[blob]
            held.metadata, held.headers = _lower_names(contents), contents.headers
            held.etag = self._new_etag()
            return held.etag

    def read(self, blob: str, start: int, end: int) -> bytes:
        self.check_name(blob)
        with self._lock:
            self._require_container()
            if blob not in self.blobs:
                raise UnexpectedResponse(service=AZURE, resource=repr(blob), detail="status 404 (BlobNotFound)")
            return self.blobs[blob].data[start:end]

    # --------------------------------------------------------------------------------------------------------------

    def _require_container(self) -> None:
        if not self.exists:
            raise ContainerNotFound(container=self.container)

    def _require_writable(self, blob: str) -> None:
        if blob in self.leased:
            raise BlobLeased(blob=blob, container=self.container, code="LeaseIdMissing")
        held = self.blobs.get(blob)
        if held and held.blob_type != "BlockBlob":
            raise WrongBlobType(blob=blob, container=self.container, blob_type=held.blob_type)

    def _require_condition(self, blob: str, condition: Condition) -> None:
        held = self.blobs.get(blob)
        if condition.etag != (held.etag if held else None):
            code = "BlobAlreadyExists" if condition.etag is None else "ConditionNotMet"
            raise ConditionNotMet(blob=blob, container=self.container, code=code)

    def _replace(self, blob: str, data: bytes, contents: BlobContents, blocks: dict[bytes, bytes]) -> str:
        # A commit drops every staged block that it does not name.
        self.staged.pop(blob, None)
        self.blobs[blob] = MemoryBlob(data, self._new_etag(), _lower_names(contents), contents.headers, blocks=blocks)
        self.commits += 1
        return self.blobs[blob].etag

    def _state(self, blob: str) -> BlobState:
        held = self.blobs[blob]
        return BlobState(
            *(blob, held.etag, len(held.data), held.blob_type, dict(held.metadata), held.headers),
            content_md5=held.content_md5,
            written_at=held.written_at,
        )

    def _new_etag(self) -> str:
        return f"0x8D{next(self._etags):012X}"


def _lower_names(contents: BlobContents) -> dict[str, str]:
    return {name.lower(): value for name, value in contents.metadata.items()}
