"""The interfaces to S3 and Azure, which the real stores, the fakes and the fault injectors all implement.

They raise the errors of ``model.errors`` only. Except for ``StateFiles``, no call retries by itself.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

from s3_to_azure.model.errors import TransferError
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
    TaskTry,
)


class BodyReader(Protocol):
    """The open body of a GET."""

    version: ObjectVersion
    """The version that the answer's headers describe; complete only for a GET of the whole object."""

    def readinto(self, view: memoryview) -> int:
        """Fill the front of ``view``; return the number of bytes written, 0 at the end of the body.

        Raises:
            TransientError: The connection failed; the bytes returned before are valid.
        """
        ...


class ObjectSource(Protocol):
    """Objects in S3."""

    @property
    def reads_named_version(self) -> bool:
        """Whether the user named a version, so that what ``head`` returns need not be the current one."""
        ...

    def check(self, bucket: str) -> None:
        """Raise BucketNotFound, AccessDenied or CredentialsRefused if the bucket certainly cannot be used."""
        ...

    def fetch_access(self, bucket: str) -> FetchAccess:
        """Return how somebody else reads the bucket's objects by presigned URLs, with the credentials of the moment."""
        ...

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Return the current version, with every checksum that S3 stores for it."""
        ...

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        """Return the sizes of the parts in which the version was uploaded; None if S3 does not tell them.

        Args:
            version: The version; its ETag pins the request.
            each: Look up each part; otherwise the first and the last may stand for all.
        """
        ...

    def part_checksums(self, version: ObjectVersion) -> Sequence[PartChecksum]:
        """Return the version's parts with their CRC64NVME, in order; none if S3 does not list it of each."""
        ...

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        """Return the object's tags."""
        ...

    def current_etag(self, bucket: str, key: str) -> str | None:
        """Return the ETag of the version that is current now, also if a version is named; None if there is none."""
        ...

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        """Ask S3 to restore an archived object; return False if it was asked before."""
        ...

    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> AbstractContextManager[BodyReader]:
        """GET ``[start, end)``, or the whole object without ``end``, pinned with If-Match.

        Raises:
            SourceChanged: The object is no longer this version.
        """
        ...

    def fetch_url(self, version: ObjectVersion) -> FetchUrl | None:
        """Return a URL by which Azure reads the object by itself, made for one request; None if there is none.

        The bytes that it gives are not pinned to the version.
        """
        ...

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        """Yield the objects below the prefix in the service's order; the iterator continues after an error."""
        ...


class BlobDestination(Protocol):
    """One container. Every name is checked before it is sent."""

    container: str

    def check_name(self, blob: str) -> str:
        """Return the name if the container can hold a blob of it; this may take one request in a container's life.

        Raises:
            NameRefused: It cannot; nothing was written.
        """
        ...

    def check(self, *, create: bool = False) -> None:
        """Raise ContainerNotFound, AccessDenied or CredentialsRefused; ``create`` creates a missing container."""
        ...

    def head(self, blob: str) -> BlobState | None:
        """Return the committed blob, or None if there is none."""
        ...

    def list(self, prefix: str) -> Iterator[BlobState]:
        """Yield the committed blobs below the prefix with their metadata, in the service's order."""
        ...

    def list_staged(self, blob: str) -> Sequence[ListedBlock]:
        """Return the uncommitted blocks in the order in which they were staged."""
        ...

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        """Put Block with its CRC64, so that Azure refuses a damaged block.

        Raises:
            CorruptedInTransit: Azure computed another CRC64.
            ForeignBlocks: Blocks with ids of another length are staged.
        """
        ...

    def stage_from_url(
        self, blob: str, block_id: str, url: FetchUrl, block: Block, *, etag: str | None, crc64: int | None
    ) -> int | None:
        """Put Block From URL: Azure fetches a range of the URL and stages it; sent once, whatever happens.

        Args:
            blob: The blob.
            block_id: Unless ``crc64`` is given, an id that no other request has: a late one would replace the block.
            url: Where Azure reads.
            block: The range.
            etag: The ETag that the object must have; None: any.
            crc64: The CRC64 that the bytes must have; None: any.

        Returns:
            The CRC64 of the bytes that Azure has staged; None if Azure does not say it.

        Raises:
            FetchRefused: Azure cannot read the URL, or the bytes have another CRC64.
        """
        ...

    def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
        """Put Block List; return the new ETag.

        Raises:
            ConditionNotMet: The blob does not meet the condition.
            BlockListRefused: Azure does not hold a block of the list.
        """
        ...

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        """Put Blob in one request with its CRC64; return the new ETag.

        Raises:
            ConditionNotMet: The blob does not meet the condition, or uncommitted blocks are left over.
        """
        ...

    def update(self, blob: str, contents: BlobContents, condition: Condition) -> str:
        """Replace the blob's content headers and then its metadata, but not its bytes; return the new ETag.

        If it stops in between, the old metadata remains, so the next plan repeats the update.

        Raises:
            ConditionNotMet: The blob does not meet the condition, or was written between the two requests.
        """
        ...

    def read(self, blob: str, start: int, end: int) -> bytes:
        """Return bytes ``[start, end)`` of the committed blob."""
        ...


@dataclass(frozen=True, slots=True)
class Fetched:
    """A whole object was read: the version that its answer describes, and its bytes, which are not verified yet."""

    tag: Any
    version: ObjectVersion
    body: bytes


@dataclass(frozen=True, slots=True)
class Stored:
    """Azure confirmed the blob."""

    tag: Any


@dataclass(frozen=True, slots=True)
class HandedBack:
    """Anything else happened; whether the blob was written is unknown."""

    tag: Any
    error: TransferError


class SmallObjectClient(Protocol):
    """Copies small objects, many at a time, driven by one thread; hands back every unexpected answer."""

    def fetch(self, tag: Any, listed: ListedObject) -> None:
        """Begin to read a whole object, pinned with If-Match; the result carries ``tag``."""
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
        """Begin to Put Blob with its CRC64 under the condition; the result carries ``tag``."""
        ...

    def finished(self, timeout_s: float) -> Sequence[Fetched | Stored | HandedBack]:
        """Continue all transfers; return those that ended, after waiting up to ``timeout_s`` for the first."""
        ...

    def close(self) -> None:
        """Abort all transfers and close all connections."""
        ...


@dataclass(frozen=True, slots=True)
class QueueMessage:
    """A message that is hidden from other readers of the queue for a while.

    Attributes:
        handle: Deletes this delivery of the message.
    """

    message_id: str
    handle: str = field(repr=False)
    body: str = field(repr=False)


class EventQueue(Protocol):
    """A queue of messages, each of which is delivered at least once, in any order."""

    name: str
    """The queue, for people."""

    def receive(self, *, wait_s: int) -> Sequence[QueueMessage]:
        """Return at most ten messages; none if there are none after ``wait_s``."""
        ...

    def delete(self, messages: Sequence[QueueMessage]) -> int:
        """Delete at most ten messages; return how many could not be deleted, and will be delivered again."""
        ...


class Signer(Protocol):
    """A private key that signs certificates, wherever it is kept."""

    name: str
    """What it is, for errors."""

    def public_key(self) -> bytes:
        """Return the public key as DER (SubjectPublicKeyInfo)."""
        ...

    def sign(self, data: bytes) -> bytes:
        """Return a signature of 64 bytes: of Ed25519, or the numbers r and s of ECDSA with P-256 and SHA-256."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class StateWriter(Protocol):
    """A state file while it is written."""

    def write(self, data: bytes) -> None:
        """Append the bytes."""
        ...


IsOver = Callable[[str], bool | None]
"""Tells for a run's id whether the run has ended, or None if that is unknown."""


class StateFiles(Protocol):
    """The files of one run: manifest, plan, receipts, report. Requests are retried within the store's budget.

    The parts of a name are separated by ``/``.
    """

    location: str
    """Where the files are, such as ``container/_s3_to_azure/dag/run``; shown to people."""

    def write(
        self, name: str, *, is_new: bool = False, by: TaskTry | None = None
    ) -> AbstractContextManager[StateWriter]:
        """Write a file in constant memory; it appears whole after a clean exit, and is unchanged after an error.

        Args:
            name: The file's name.
            is_new: Replace no file.
            by: Replace no file that a later try wrote: then nothing is written, and the log says so.

        Raises:
            ConditionNotMet: The file exists, and ``is_new`` is set.
        """
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
            CorruptState: There is no such file, or it changed during the reading.
        """
        ...

    def names(self, prefix: str = "") -> Iterator[str]:
        """Yield the names that begin with the prefix, in the service's order."""
        ...

    def delete(self, name: str) -> None:
        """Delete a file if it exists."""
        ...

    def delete_runs_before(self, moment: datetime, *, is_over: IsOver | None = None) -> int:
        """Delete the other runs of the same DAG that are over and whose newest file is older; return their number.

        Args:
            moment: Younger runs are kept.
            is_over: Tells which runs have ended. One of which it tells nothing is over once its report is younger than
                all its other files.
        """
        ...
