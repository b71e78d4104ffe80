"""The values that pass between the folders: objects, blobs, checksums, conditions, receipts, amounts."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from datetime import datetime
from typing import Any, Final, TypeVar, dataclass_transform

from s3_to_azure.model import record
from s3_to_azure.model.formatting import count_text, size_text
from s3_to_azure.model.reasons import Status

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """Make a dataclass that the type checker treats as frozen; at run time nothing prevents setting a field.

    It replaces ``dataclass(frozen=True)`` where millions of values are made: the check at run time would make the
    constructor four times slower.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


@value
class TaskTry:
    """The try of a task that writes a file of a run which other tries write too.

    Attributes:
        listing: Token of the listing that the task works on; a run that is planned again has another one.
        number: Airflow's number of the try.
        started_at: When it started, by the clock of its worker.
    """

    listing: str
    number: int
    started_at: datetime

    def is_before(self, other: "TaskTry") -> bool:
        """Return whether the other try is the later one. Clocks are compared only where the numbers tell nothing."""
        if self.listing == other.listing:
            return self.number < other.number
        return self.started_at < other.started_at


DIRECTORY: Final = "directory"
"""The type of a blob that is a directory of a hierarchical namespace."""

NO_ETAG: Final = "-"
"""The ETag of an object that a list of keys names and S3 does not hold."""


@value
class SourceChecksum:
    """A checksum that S3 stores for an object.

    Attributes:
        algorithm: One of ``checksums.ALGORITHMS``, such as ``crc64nvme``; ``md5`` also if the ETag is an MD5.
        value: The checksum as an unsigned integer.
        parts: Number of parts whose checksums it covers, joined in order; 0: it covers the object's bytes.
        reported: A report of S3 Batch Operations has it; the object itself need not store it.
    """

    algorithm: str
    value: int
    parts: int = 0
    reported: bool = False


@value
class ContentHeaders:
    """The content headers that S3 and Azure have in common; None: the object has no such header."""

    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    content_disposition: str | None = None
    cache_control: str | None = None


@value
class ListedObject:
    """An object as a listing shows it. ``etag`` is unquoted.

    Attributes:
        problem: Why an object that a listing or a list of keys names cannot be copied; empty for all others.
        reported: The checksum that a report of S3 Batch Operations has of exactly this version.
    """

    bucket: str
    key: str
    etag: str
    size_bytes: int
    last_modified: datetime
    storage_class: str = "STANDARD"
    problem: str = ""
    reported: SourceChecksum | None = None

    def and_reported(self, version: "ObjectVersion") -> "ObjectVersion":
        """Return a version that S3 described with the reported checksum as the last of its checksums.

        It is bound to the ETag: another version is returned as it is.
        """
        if self.reported is None or version.etag != self.etag or self.reported in version.weaker:
            return version
        return replace(version, weaker=(*version.weaker, self.reported))


@value
class ObjectVersion:
    """One version of an object, which a GET pins with If-Match. ``etag`` is unquoted.

    Attributes:
        checksum: The checksum that verifies the copy. A store sets it to the strongest one over the object's bytes.
        weaker: S3's other checksums, strongest first: those over parts, and the ETag if it is an MD5.
        metadata_missing: How many entries of the object's metadata S3 holds and cannot send as headers.
    """

    bucket: str
    key: str
    etag: str
    size_bytes: int
    last_modified: datetime
    checksum: SourceChecksum | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    headers: ContentHeaders = field(default_factory=ContentHeaders)
    storage_class: str = "STANDARD"
    weaker: tuple[SourceChecksum, ...] = ()
    metadata_missing: int = 0

    @classmethod
    def of(cls, listed: ListedObject) -> "ObjectVersion":
        """Return the version with the fields that a listing shows."""
        return cls(
            bucket=listed.bucket,
            key=listed.key,
            etag=listed.etag,
            size_bytes=listed.size_bytes,
            last_modified=listed.last_modified,
            storage_class=listed.storage_class,
        )


@value
class PartSizes:
    """The sizes of the parts in which an object was uploaded.

    Attributes:
        sizes: Bytes of each part in order; their sum is the object's size.
        certain: Whether each part was looked up. Otherwise only the first and the last were, and the others are
            assumed to be as large as the first, because nearly every tool uploads that way.
    """

    sizes: tuple[int, ...]
    certain: bool


@value
class PartChecksum:
    """One part of an object, with the CRC64NVME that S3 stores for it."""

    size_bytes: int
    crc64: int


@value
class FetchAccess:
    """How somebody else reads the objects of a bucket by presigned URLs.

    Attributes:
        base_url: The bucket's URL, without a slash at its end.
        query_characters: Length of a presigned URL's query, with a session's token and the version's id.
        requester_pays: The bucket charges the reader.
        has_customer_key: The objects are encrypted with a key that each request must carry (SSE-C).
        can_presign: URLs can be presigned for the bucket.
    """

    base_url: str
    query_characters: int = 0
    requester_pays: bool = False
    has_customer_key: bool = False
    can_presign: bool = True


@value
class BlobState:
    """A committed blob as HEAD or a listing shows it. Metadata names are lower case.

    Attributes:
        content_md5: Its Content-MD5 in base64; empty if it has none.
        written_at: When its bytes, metadata or headers were last written, as an HTTP date; empty if it is not known.
    """

    name: str
    etag: str
    size_bytes: int
    blob_type: str
    metadata: Mapping[str, str]
    headers: ContentHeaders = field(default_factory=ContentHeaders)
    content_md5: str = ""
    written_at: str = ""

    @property
    def source_etag(self) -> str | None:
        """ETag of the object version that this blob is recorded to be a copy of, or None."""
        return self.metadata.get(record.ETAG)

    @property
    def source_last_modified(self) -> datetime | None:
        """When that version was last modified; None if it is not recorded with its time zone."""
        return record.recorded_last_modified(self.metadata)

    @property
    def verified_by(self) -> str:
        """The verification level of the copy; empty if none is recorded that a copy could have written."""
        return record.recorded_proof(self.metadata)[0]

    @property
    def checksum(self) -> str:
        """The checksum that the copy was verified by; empty if none is recorded that a copy could have written."""
        return record.recorded_proof(self.metadata)[1]

    def is_of_another(self, source: ObjectVersion | ListedObject) -> bool:
        """Return whether this blob is recorded to be a copy of another object, whatever the version."""
        recorded = record.recorded_source(self.metadata)
        return recorded is not None and recorded != record.source_id(source.bucket, source.key)

    @property
    def is_unproven(self) -> bool:
        """Whether a copy wrote this blob and did not finish its read-back, or found it damaged."""
        return self.metadata.get(record.VERIFIED_BY) in record.UNPROVEN

    def is_unproven_copy_of(self, source: ObjectVersion | ListedObject) -> bool:
        """Return whether a copy of this object, whatever the version, left the blob unproven."""
        if not self.is_unproven:
            return False
        return record.recorded_source(self.metadata) == record.source_id(source.bucket, source.key)

    def is_copy_of(self, version: ObjectVersion | ListedObject) -> bool:
        """Return whether this blob is recorded to be a copy of exactly that version, proven or not."""
        if self.source_etag != version.etag or self.size_bytes != version.size_bytes:
            return False
        # An object whose bucket is not known cannot be told from others but by its version.
        is_known = bool(record.source_id(version.bucket, version.key))
        return not is_known or not self.is_of_another(version)

    def holds(self, version: ObjectVersion | ListedObject) -> bool:
        """Return whether this blob is recorded to be a finished copy of exactly that version."""
        return self.is_copy_of(version) and not self.is_unproven


@value
class Condition:
    """The state of the destination that a write requires: this ETag, or None for no blob at all."""

    etag: str | None

    @classmethod
    def of(cls, blob: BlobState | None) -> "Condition":
        """Return the condition that the blob is unchanged."""
        return cls(blob.etag if blob else None)

    def fits(self, blob: BlobState | None) -> bool:
        """Return whether the blob meets the condition."""
        return self.etag == (blob.etag if blob else None)


@dataclass(frozen=True, slots=True)
class FetchUrl:
    """A URL by which somebody else reads an object. Whoever has it may read, so it is written nowhere.

    Attributes:
        url: Percent-encoded; a GET with any Range reads it.
    """

    url: str = field(repr=False)


@value
class ListedBlock:
    """An uncommitted block as Get Block List shows it; ``block_id`` is decoded from the service's base64."""

    block_id: bytes
    size_bytes: int


@value
class BlobContents:
    """What a commit writes besides the bytes.

    Attributes:
        content_md5: The blob's Content-MD5; None unless it was computed from the bytes.
        tags: The blob's tags; None: they are left unchanged, which needs no permission.
        tier: The blob's access tier; empty: the account's default.
    """

    metadata: Mapping[str, str]
    headers: ContentHeaders
    content_md5: bytes | None = None
    tags: Mapping[str, str] | None = None
    tier: str = ""


@value
class Receipt:
    """The result of one object. The names of the fields are a public contract (docs/reference/receipt.md).

    Attributes:
        via: ``azure`` if Azure fetched bytes of the object in this try, else ``worker``.
        blocks_fetched: Blocks that Azure fetched in this try.
        blocks_streamed: Blocks that the worker sent in this try; counted only where Azure was to fetch.
        not_fetched: Code of ``reasons.NOT_FETCHED``: why bytes that Azure might have fetched were streamed.
    """

    bucket: str
    key: str
    etag: str
    size_bytes: int
    container: str
    blob: str
    status: Status
    reason: str = ""
    verified_by: str = ""
    checksum: str = ""
    blocks: int = 0
    blocks_resumed: int = 0
    bytes_sent: int = 0
    retries: int = 0
    seconds: float = 0.0
    started_at: str = ""
    try_number: int = 1
    via: str = "worker"
    blocks_fetched: int = 0
    blocks_streamed: int = 0
    not_fetched: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return the receipt as JSON-ready values, in the contract's order."""
        # This runs for every object, and asdict would copy each value.
        return {name: getattr(self, name) for name in RECEIPT_FIELDS}


RECEIPT_FIELDS: Final = tuple(each.name for each in fields(Receipt))
"""The fields in the order of the contract."""


@dataclass(frozen=True, slots=True)
class Amount:
    """A number of objects and their bytes."""

    objects: int = 0
    size_bytes: int = 0

    def plus(self, size_bytes: int) -> "Amount":
        """Return the amount with one more object."""
        return Amount(self.objects + 1, self.size_bytes + size_bytes)

    def text(self) -> str:
        """Return the amount for a person: ``3 objects (4.0 MiB)``."""
        return f"{count_text(self.objects, 'object')} ({size_text(self.size_bytes)})"


class AmountCounter:
    """Counts objects and bytes in place, which is faster than a new ``Amount`` for each object."""

    __slots__ = ("objects", "size_bytes")

    def __init__(self) -> None:
        self.objects = self.size_bytes = 0

    def add(self, size_bytes: int) -> None:
        """Count one more object."""
        self.objects += 1
        self.size_bytes += size_bytes

    def amount(self) -> Amount:
        """Return the current amount."""
        return Amount(self.objects, self.size_bytes)


@dataclass(frozen=True, slots=True)
class Block:
    """The byte range ``[start, end)`` of an object."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Length in bytes."""
        return self.end - self.start
