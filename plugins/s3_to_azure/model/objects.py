"""The values that pass between the packages, all immutable."""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any, Final, TypeVar, dataclass_transform

from s3_to_azure.model.reasons import Status

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def value(cls: type[T]) -> type[T]:
    """Make a dataclass whose fields nothing may set again; the type checker sees to that.

    A frozen dataclass sees to it at run time, in its own constructor too, and takes four times as long to make.
    """
    return dataclass(slots=True, unsafe_hash=True)(cls)


NO_ETAG: Final = "-"
"""Stands for the ETag of an object that was asked for by its key and not seen."""


@value
class SourceChecksum:
    """A checksum that S3 stores for an object.

    Attributes:
        algorithm: ``crc64nvme``, ``crc32c``, ``crc32`` or ``md5`` (the ETag of an object that has one).
        value: The checksum as an unsigned integer.
        parts: Made over the checksums of this many parts, put end to end; 0: over the object's bytes.
    """

    algorithm: str
    value: int
    parts: int = 0


@value
class ContentHeaders:
    """The content headers that S3 and Azure have in common; None where the object has none."""

    content_type: str | None = None
    content_encoding: str | None = None
    content_language: str | None = None
    content_disposition: str | None = None
    cache_control: str | None = None


@value
class ListedObject:
    """An object as a listing shows it. ``etag`` is unquoted.

    Attributes:
        problem: Why it cannot be copied: it was asked for by its key, and S3 did not show it. Empty for all others.
    """

    bucket: str
    key: str
    etag: str
    size_bytes: int
    last_modified: datetime
    storage_class: str = "STANDARD"
    problem: str = ""


@value
class ObjectVersion:
    """One version of an object: what a GET pins with If-Match. ``etag`` is unquoted.

    Attributes:
        checksum: The one that a copy is proven by. As a store reads it: the strongest over the object's bytes.
        weaker: What S3 offers beside it, strongest first: checksums over parts, and the ETag where that is an MD5.
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

    @classmethod
    def of(cls, listed: ListedObject) -> "ObjectVersion":
        """Return as much of the version as a listing shows."""
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
    """The sizes in which an object was uploaded.

    Attributes:
        sizes: In bytes, in order; together the object's size.
        certain: Each was looked up. Otherwise the first and the last were, and the others are taken to be like the
            first, as nearly every tool uploads.
    """

    sizes: tuple[int, ...]
    certain: bool


@value
class BlobState:
    """A committed blob as HEAD or a listing shows it. Metadata names are lower case."""

    name: str
    etag: str
    size_bytes: int
    blob_type: str
    metadata: Mapping[str, str]
    headers: ContentHeaders = field(default_factory=ContentHeaders)

    @property
    def source_etag(self) -> str | None:
        """ETag of the object that this blob says it is a copy of, or None."""
        return self.metadata.get("s3_etag")

    @property
    def source_last_modified(self) -> datetime | None:
        """When that object was last modified, or None where the blob does not say, or not with its time zone."""
        text = self.metadata.get("s3_last_modified")
        try:
            recorded = datetime.fromisoformat(text) if text else None
        except ValueError:
            return None
        return recorded if recorded and recorded.tzinfo else None

    def holds(self, version: ObjectVersion | ListedObject) -> bool:
        """Say whether this blob is a committed copy of exactly that version."""
        return self.source_etag == version.etag and self.size_bytes == version.size_bytes


@value
class Condition:
    """The state of the destination under which a commit may happen: this ETag, or (None) no blob at all."""

    etag: str | None

    @classmethod
    def of(cls, blob: BlobState | None) -> "Condition":
        """Return the condition that the blob is still what was just seen."""
        return cls(blob.etag if blob else None)

    def fits(self, blob: BlobState | None) -> bool:
        """Say whether the blob is still as the condition names it."""
        return self.etag == (blob.etag if blob else None)


@value
class ListedBlock:
    """An uncommitted block as Get Block List shows it; ``block_id`` before the service's base64."""

    block_id: bytes
    size_bytes: int


@value
class BlobContents:
    """What a commit gives a blob beside its bytes.

    Attributes:
        content_md5: The blob's Content-MD5: only where it was computed from the bytes.
        tags: Its blob tags; None leaves them alone, which needs no permission.
        tier: Its access tier; empty for the account's default.
    """

    metadata: Mapping[str, str]
    headers: ContentHeaders
    content_md5: bytes | None = None
    tags: Mapping[str, str] | None = None
    tier: str = ""


@value
class Receipt:
    """What became of one object. Field names are part of the public contract (docs/design.md)."""

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

    def as_dict(self) -> dict[str, Any]:
        """Return the receipt as JSON-ready values, in the contract's order."""
        # Not asdict, which copies each value: this runs for every object.
        return {name: getattr(self, name) for name in RECEIPT_FIELDS}


RECEIPT_FIELDS: Final = tuple(each.name for each in fields(Receipt))
"""The contract's order."""


@dataclass(frozen=True, slots=True)
class Block:
    """The byte range ``[start, end)`` of an object."""

    start: int
    end: int

    @property
    def size_bytes(self) -> int:
        """Length in bytes."""
        return self.end - self.start
