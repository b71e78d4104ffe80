"""Transfer contexts for tests: short waits, small blocks, everything else as shipped."""

from contextlib import AbstractContextManager
from typing import Any, Final

from s3_to_azure.model.checksums import ALGORITHMS
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import ListedObject, ObjectVersion
from s3_to_azure.model.ports import BlobDestination, ObjectSource
from s3_to_azure.model.record import source_id
from s3_to_azure.model.settings import CopySettings, RetryBudget
from s3_to_azure.transfer.context import CopyTask, TransferContext, open_context

QUICK: Final = RetryBudget(attempts=4, first_wait_s=0.01, longest_wait_s=0.05)
BUCKET: Final = "bucket"


def transfer_context(
    source: ObjectSource, destination: BlobDestination, **settings: Any
) -> AbstractContextManager[TransferContext]:
    """Return a context with blocks of 1 MiB; arguments of ``open_context`` go to it, all others to the settings."""
    own = {name: settings.pop(name) for name in ("cancelled", "progress", "small_object_client") if name in settings}
    given: dict[str, Any] = {
        "retry": QUICK,
        "block_bytes": MIB,
        "memory_budget_bytes": 64 * MIB,
        "connections": 4,
        "objects_at_once": 3,
    }
    return open_context(source, destination, CopySettings(**(given | settings)), **own)


def task(key: str = "k", bucket: str = BUCKET, **changes: Any) -> CopyTask:
    """Return the task that copies an object to the blob of the same name."""
    return CopyTask(**({"bucket": bucket, "key": key, "blob": key} | changes))


def record_of(version: ObjectVersion | ListedObject, **changes: str) -> dict[str, str]:
    """Return the metadata of a finished copy, as a copy records it."""
    record = {
        "s3_etag": version.etag,
        "s3_last_modified": version.last_modified.isoformat(),
        "s3_verified_by": "transport",
        "s3_source": source_id(version.bucket, version.key),
    }
    return record | changes


def some_bytes(size_bytes: int, seed: int = 0) -> bytes:
    """Return bytes of which no two aligned 8-byte words are equal."""
    words = b"".join(((seed << 48) + n).to_bytes(8, "big") for n in range(-(-size_bytes // 8)))
    return words[:size_bytes]


def crc(data: bytes, algorithm: str = "crc64nvme") -> int:
    """Return a checksum of the bytes."""
    return ALGORITHMS[algorithm].digest(memoryview(data))
