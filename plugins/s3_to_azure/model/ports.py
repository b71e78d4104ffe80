"""What the engine asks of S3 and of Azure; fakes, fault injectors and the real stores all keep these contracts."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from s3_to_azure.model.errors import TransferError
from s3_to_azure.model.objects import (
    BlobContents,
    BlobState,
    Condition,
    ListedBlock,
    ListedObject,
    ObjectVersion,
    PartSizes,
)


class BodyReader(Protocol):
    """The open body of a GET."""

    version: ObjectVersion
    """What the answer's headers say of the object; complete only for a whole-object GET."""

    def readinto(self, view: memoryview) -> int:
        """Fill the front of ``view``; return the bytes written, 0 at the body's end.

        Raises:
            TransientError: The connection failed; the bytes returned so far are good.
        """
        ...


class ObjectSource(Protocol):
    """Objects in S3. Errors are the engine's (``engine.errors``); no call retries by itself."""

    def check(self, bucket: str) -> None:
        """Raise BucketNotFound, AccessDenied or CredentialsRefused if the bucket is certainly unusable."""
        ...

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Return the current version, with every checksum that S3 offers for it."""
        ...

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        """Return the sizes in which the version was uploaded; None where S3 does not tell.

        Args:
            version: Of which object; its ETag pins it.
            each: Look at each part; else the first and the last may stand for all.
        """
        ...

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        """Return the object's tags."""
        ...

    def current_etag(self, bucket: str, key: str) -> str | None:
        """Return the ETag of the key's current version if another one may be read here; else None, unasked."""
        ...

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        """Ask for an archived object to be restored; False where that was asked for before."""
        ...

    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> AbstractContextManager[BodyReader]:
        """GET ``[start, end)``, or the whole object without ``end``, pinned with If-Match.

        Raises:
            SourceChanged: The object is no longer this version.
        """
        ...

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        """Yield the objects below the prefix in the service's order, page by page; it goes on after an error."""
        ...


class BlobDestination(Protocol):
    """One container. Errors are the engine's; no call retries by itself; every name is checked before it is sent."""

    container: str

    def check(self, *, create: bool = False) -> None:
        """Raise ContainerNotFound, AccessDenied or CredentialsRefused; with ``create`` make a missing container."""
        ...

    def head(self, blob: str) -> BlobState | None:
        """Return the committed blob, or None where there is none."""
        ...

    def list(self, prefix: str) -> Iterator[BlobState]:
        """Yield the committed blobs below the prefix, metadata included, in the service's order, as S3's objects."""
        ...

    def list_staged(self, blob: str) -> Sequence[ListedBlock]:
        """Return the uncommitted blocks in staging order; empty where there are none."""
        ...

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        """Put Block with the CRC64 along, so that Azure refuses a damaged block.

        Raises:
            CorruptedInTransit: The CRC64 that Azure computed differs.
            ForeignBlocks: Blocks with ids of another length are staged.
        """
        ...

    def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
        """Put Block List; return the new ETag.

        Raises:
            ConditionNotMet: The blob is not as the condition names it.
            BlockListRefused: A named block is not there.
        """
        ...

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        """Put Blob in one request, with the CRC64 along; return the new ETag.

        Raises:
            ConditionNotMet: The blob is not as the condition names it, or uncommitted blocks are left over.
        """
        ...

    def update(self, blob: str, contents: BlobContents, condition: Condition) -> str:
        """Replace the blob's content headers and then its metadata, not its bytes; return the new ETag.

        Stopped in between it leaves the old metadata, so that the next plan does it again.

        Raises:
            ConditionNotMet: The blob is not as the condition names it, or was written in between.
        """
        ...

    def read(self, blob: str, start: int, end: int) -> bytes:
        """Return bytes ``[start, end)`` of the committed blob (for read-back proofs and state files)."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole object is here: what its answer says of it, and its bytes, not compared with anything yet."""

    tag: Any
    version: ObjectVersion
    body: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """Azure has confirmed the blob."""

    tag: Any


@dataclass(frozen=True, slots=True)
class HandedBack:
    """Anything else: whether the blob was written is unknown."""

    tag: Any
    error: TransferError


class SmallObjectClient(Protocol):
    """Whole small objects, many at a time, driven by one thread. No call retries; what is unexpected is handed back."""

    def fetch(self, tag: Any, listed: ListedObject) -> None:
        """Begin to read a whole object, pinned with If-Match; ``tag`` comes back with its end."""
        ...

    def store(
        self,
        tag: Any,
        blob: str,
        data: bytes,
        *,
        crc64: int,
        contents: BlobContents,
        condition: Condition,
    ) -> None:
        """Begin to Put Blob, with the CRC64 along and under the condition."""
        ...

    def finished(self, timeout_s: float) -> Sequence[Fetched | Stored | HandedBack]:
        """Move what can be moved; return what ended, waiting up to ``timeout_s`` where nothing has."""
        ...

    def close(self) -> None:
        """Break off what is under way and close all connections."""
        ...


class StateWriter(Protocol):
    """A state file while it is written."""

    def write(self, data: bytes) -> None:
        """Append the bytes."""
        ...


class StateFiles(Protocol):
    """The files of one run: manifest, plan, receipts, report. Each request is tried again within the store's budget.

    Errors are the engine's (``engine.errors``). Names are made by the engine, with ``/`` between their parts.
    """

    location: str
    """Where the files are, as people read it, such as ``container/_s3_to_azure/dag/run``."""

    def write(self, name: str) -> AbstractContextManager[StateWriter]:
        """Write a file in constant memory; it is there, whole, after a clean exit, and not touched otherwise."""
        ...

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        """Return bytes ``[start, end)``, or to the file's end.

        Raises:
            CorruptState: There is no such file, or it ends before ``end``.
        """
        ...

    def chunks(self, name: str) -> Iterator[bytes]:
        """Yield the file's bytes in pieces of a few MiB.

        Raises:
            CorruptState: There is no such file, or it changed meanwhile.
        """
        ...

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names of the files whose name begins so, in the service's order."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file; one that is not there is no error."""
        ...

    def delete_runs_before(self, moment: datetime) -> int:
        """Delete the other runs of the same DAG whose newest file is older than that; return how many."""
        ...
