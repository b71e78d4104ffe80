"""An Azure container in memory that fetches blocks by itself from S3 in memory."""

import threading
from collections.abc import Callable
from urllib.parse import unquote, urlsplit

from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import FetchRefused
from s3_to_azure.model.objects import Block, FetchUrl
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource

Around = Callable[[Block, Callable[[], int | None]], int | None]


class _Now(threading.local):
    """What the present thread asks for."""

    block_id = ""
    etag: str | None = None
    crc64: int | None = None


class FetchingMemory(MemoryDestination):
    """Fetches from a source in memory; ``around`` is called with each fetch, and may fail, change or delay it."""

    def __init__(self, source: MemorySource, around: Around | None = None) -> None:
        super().__init__()
        self.source = source
        self.around = around
        self.fetch = self.read_source
        self.fetched: list[Block] = []
        """The range of every fetch that was asked for, in order."""
        self.ids: list[str] = []
        self.conditions: list[str | None] = []
        self.checked: list[int | None] = []
        self._asked = threading.Lock()
        self.now = _Now()

    def read_source(self, url: str, block: Block) -> bytes:
        """Return a range of an object, whatever its version, as a presigned URL gives it."""
        parts = urlsplit(url)
        _, data = self.source._find(parts.netloc, unquote(parts.path[1:]))
        return data[block.start : block.end]

    def stage_unchecked(self, block: Block) -> int:
        """Stage the block that this thread asks for, whatever its CRC64 is, and return that."""
        version = next(iter(self.source.list("bucket", "k")))
        data = self.source._find("bucket", version.key)[1][block.start : block.end]
        with self._lock:
            self._stage("k", self.now.block_id, data)
        return CRC64NVME.digest(memoryview(data))

    def stage_from_url(
        self, blob: str, block_id: str, url: FetchUrl, block: Block, *, etag: str | None, crc64: int | None
    ) -> int | None:
        """Note what is asked for, and fetch."""
        with self._asked:
            self.fetched.append(block)
            self.ids.append(block_id)
            self.conditions.append(etag)
            self.checked.append(crc64)
        self.now.block_id, self.now.etag, self.now.crc64 = block_id, etag, crc64

        def fetch() -> int | None:
            return super(FetchingMemory, self).stage_from_url(blob, block_id, url, block, etag=etag, crc64=crc64)

        return self.around(block, fetch) if self.around else fetch()


def refused(code: str = "CannotVerifyCopySource") -> FetchRefused:
    """Return Azure's refusal of a fetch."""
    return FetchRefused(blob="k", code=code, detail="S3 answered 403")
