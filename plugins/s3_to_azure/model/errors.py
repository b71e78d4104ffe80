"""The error tree: what went wrong, about what, and what to do.

::

    TransferError
    ├── Cancelled                      stopped from outside; staged blocks stay
    ├── TransientError                 may pass by itself: retried here, then by Airflow
    │   ├── Throttled                  503 SlowDown, 503 ServerBusy, 429
    │   ├── ServerFailed               any other 5xx
    │   ├── ConnectionFailed           refused, reset, timed out, ended early
    │   ├── CorruptedInTransit            Azure refused a block: its CRC64 did not fit
    │   ├── ProcessEnded               one of several that copied was killed
    │   └── RetryableObjectsFailed    a batch in which a retry may help
    └── PermanentError                 a retry cannot help
        ├── UsageError                   an argument or a setting
        │   ├── BudgetTooSmall
        │   └── ConnectionMissing
        ├── CorruptState                   a manifest, plan or batch that is not what its descriptor says
        ├── UnsupportedStateFormat    a manifest, plan or batch of a newer version
        ├── AccessError
        │   ├── AccessDenied           the identity may not
        │   ├── CredentialsRefused     the identity is not one: wrong key, expired for good
        │   ├── KeyManagementDenied    the KMS key of the object
        │   ├── CustomerKeyRequired      the object is under a key of its owner's (SSE-C)
        │   ├── CertificateRefused     TLS
        │   └── ClockSkewed
        ├── SourceError
        │   ├── BucketNotFound
        │   ├── ObjectNotFound
        │   ├── ObjectArchived
        │   └── SourceChanged
        ├── DestinationError
        │   ├── ContainerNotFound
        │   ├── DestinationConflict
        │   ├── WrongBlobType
        │   ├── BlobLeased
        │   ├── BlobImmutable
        │   ├── BlobArchived
        │   ├── WrittenThroughDataLakeApi       a file of the Data Lake interface, which refuses blocks
        │   ├── EncryptionRefused      a customer-provided key or an encryption scope that is not ours
        │   ├── TierRefused
        │   ├── ForeignBlocks
        │   ├── TooManyStagedBlocks
        │   ├── BlockListRefused       (within the engine; ends as DestinationConflict)
        │   └── ConditionNotMet        (within the engine, which looks at the blob and decides what it means)
        │       └── LeftoverBlocks     (in commit: Put Blob met uncommitted blocks)
        ├── MetadataTooLarge           more than Azure holds
        ├── TagsRefused                tags that a blob, or the account, cannot have
        ├── NameRefused
        ├── UnexpectedAnswer           the server broke the protocol: redirect, ignored Range, odd status
        ├── IntegrityError
        ├── RereadDiffers              two readings of the object were not the same
        ├── ReadbackDiffers            Azure gives back other bytes than were sent
        ├── IntegrityUnavailable       S3 stores no checksum as strong as the one required
        └── SomeObjectsFailed          a batch or run in which no retry can help

Whether a retry can help is the class, never the text.
"""

from collections.abc import Mapping
from string import Formatter
from typing import ClassVar, Self

from s3_to_azure.model.reasons import explained


def _rebuild(cls: "type[TransferError]", attributes: Mapping[str, object]) -> "TransferError":
    return cls(**attributes)


class TransferError(Exception):
    """An error with named attributes and a sentence made from them.

    Args:
        attributes: Exactly the names in braces in ``says``, and those in ``carries``.

    Raises:
        TypeError: When an attribute of the sentence is missing or one too many is given.
    """

    says: ClassVar[str] = "{what}"
    carries: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, **attributes: object) -> None:
        """Take the sentence's attributes by name."""
        wanted = self.fields()
        if wanted != set(attributes):
            raise TypeError(f"{type(self).__name__} takes {sorted(wanted)}, not {sorted(attributes)}")
        self.attributes: Mapping[str, object] = attributes
        super().__init__(self.says.format_map(attributes))

    @classmethod
    def fields(cls) -> set[str]:
        """Return the names of the attributes: those of the sentence and those that it leaves unsaid."""
        return {name for _, name, _, _ in Formatter().parse(cls.says) if name} | cls.carries

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by attributes, so that an error survives a process boundary."""
        return _rebuild, (type(self), dict(self.attributes))

    @classmethod
    def reason(cls) -> str:
        """Return the error's name as receipts carry it: ``ObjectNotFound`` is ``object_not_found``."""
        name = cls.__name__
        return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))

    def as_reason(self) -> str:
        """Return the reason of a receipt: the error's name and its sentence."""
        return explained(self.reason(), str(self))


class Cancelled(TransferError):
    """Stopped from outside."""

    says = "Stopped on request. The blocks already staged stay in Azure; the next try sends only what is missing."

    @classmethod
    def now(cls) -> Self:
        """Return the error; it has no attributes."""
        return cls()


class TransientError(TransferError):
    """May pass by itself."""


class Throttled(TransientError):
    """The service asks to slow down; ``retry_after_s`` is its own wish in seconds, or None."""

    says = "{service} asked to slow down ({code}). Lower the parallelism or bandwidth_limit if this lasts."
    carries = frozenset({"retry_after_s"})

    @property
    def retry_after_s(self) -> float | None:
        """Seconds that the service asked for, or None."""
        value = self.attributes["retry_after_s"]
        return value if isinstance(value, (int, float)) else None


class ServerFailed(TransientError):
    """A 5xx that is no throttling."""

    says = "{service} failed with status {status} ({code}) on {thing}. It is retried; if it lasts, look at the service's health page."


class ConnectionFailed(TransientError):
    """The connection was refused, reset, timed out or ended early."""

    says = "The connection to {service} failed on {thing}: {detail}. It is retried; if it lasts, check network, proxy and endpoint."


class CorruptedInTransit(TransientError):
    """Azure computed another CRC64 than the one sent along."""

    says = "A block of blob {blob!r} arrived damaged and was refused by Azure. It is sent again; if it lasts, suspect this machine's memory or network card."


class ProcessEnded(TransientError):
    """One of the processes that share a copy ended before its work did."""

    says = "The process {name} ended in the middle of its work: {how}. What was copied is copied; run the same command again for the rest. If it was killed for want of memory, take fewer processes or a smaller memory budget."


class RetryableObjectsFailed(TransientError):
    """A batch has failures, and for at least one of them a retry may help."""

    says = "{failed} of {total} objects failed, {transient} of them for a reason that may pass; first: {first}"


class PermanentError(TransferError):
    """A retry cannot help."""


class UsageError(PermanentError):
    """An argument or a setting is wrong."""


class BudgetTooSmall(UsageError):
    """The memory budget does not hold one block of the object."""

    says = "An object of {size_bytes} bytes needs blocks of {needs} bytes, more than memory_budget={budget} bytes holds. Raise memory_budget to at least {needs} bytes."


class ConnectionMissing(UsageError):
    """An Airflow connection or the environment's credentials are missing."""

    says = "No usable credentials for {service}: {detail}. {cure}"


class CorruptState(PermanentError):
    """A manifest, plan or receipt in the state location is not what it must be."""

    says = "The state file {path!r} cannot be used: {detail}. Start a new run; nothing was copied from it."


class UnsupportedStateFormat(PermanentError):
    """A manifest, plan or receipt has a format that this version cannot read."""

    says = "The state file {path!r} has format {found}, and this version reads format {supported}. A newer version of s3-to-azure wrote it: upgrade this worker, then clear the task."


class AccessError(PermanentError):
    """Credentials, permissions, certificates, clocks."""


class AccessDenied(AccessError):
    """The identity is known and may not do this."""

    says = "{service} denied access to {thing} ({code}). Grant the identity of this connection {permission}."


class CredentialsRefused(AccessError):
    """The key, token or signature is not accepted."""

    says = "{service} refused the credentials for {thing} ({code}). Check the key or token of this connection; if it has expired, renew it."


class KeyManagementDenied(AccessError):
    """The object's KMS key cannot be used."""

    says = "S3 could not decrypt {thing} ({code}). Grant the identity of this connection kms:Decrypt on the object's KMS key, and check that the key is enabled."


class CustomerKeyRequired(AccessError):
    """The object cannot be read without the key that its owner keeps."""

    says = "S3 refused to read {thing} as it was asked for ({code}). It is most likely encrypted with a key that its owner keeps (SSE-C): put that key into the connection's extra field sse_customer_key, or S3_SSE_CUSTOMER_KEY."


class CertificateRefused(AccessError):
    """The server's certificate is not trusted."""

    says = "The TLS certificate of {service} was refused ({detail}). Point the connection's verify setting at the right CA bundle."


class ClockSkewed(AccessError):
    """The request's time is too far from the server's."""

    says = "{service} refused the request's time for {thing} ({code}). Set this machine's clock (NTP)."


class SourceError(PermanentError):
    """Something about the object in S3."""


class BucketNotFound(SourceError):
    """No such bucket."""

    says = "S3 bucket {bucket!r} does not exist at this endpoint. Check the bucket's name, and the endpoint and account of the AWS connection."


class ObjectNotFound(SourceError):
    """No such key."""

    says = "S3 object {key!r} does not exist in bucket {bucket!r}. It may have been deleted since the listing; check the key."


class ObjectArchived(SourceError):
    """The object is in an archive tier."""

    says = "S3 object {key!r} in bucket {bucket!r} is archived and cannot be read ({code}). Restore it first (S3 RestoreObject), then run again."


class SourceChanged(SourceError):
    """The object is no longer the version that this copy began with."""

    says = "S3 object {key!r} in bucket {bucket!r} changed while it was copied (was ETag {etag}). Nothing was committed; the next run copies the new version."


class DestinationError(PermanentError):
    """Something about the blob or its container."""


class ContainerNotFound(DestinationError):
    """No such container."""

    says = "Azure container {container!r} does not exist in this account. Create it, or pass create_container=True."


class DestinationConflict(DestinationError):
    """Another writer changed the blob since the plan."""

    says = "Blob {blob!r} in container {container!r} was written by someone else during this copy ({detail}). It was left as it is; run again to decide anew."


class WrongBlobType(DestinationError):
    """An append or page blob of that name exists."""

    says = "Blob {blob!r} in container {container!r} exists as {blob_type}, which a block blob cannot replace. Delete or rename it first."


class BlobLeased(DestinationError):
    """Somebody holds a lease."""

    says = "Blob {blob!r} in container {container!r} is leased ({code}). Break or end the lease, then run again."


class BlobImmutable(DestinationError):
    """An immutability policy or legal hold protects the blob."""

    says = "Blob {blob!r} in container {container!r} is protected by an immutability policy or legal hold ({code}). Choose another name or container."


class BlobArchived(DestinationError):
    """The blob that is there lies in Azure's archive tier."""

    says = "Blob {blob!r} in container {container!r} lies in Azure's archive tier, where nothing can be written to it ({code}). Rehydrate or delete it first."


class WrittenThroughDataLakeApi(DestinationError):
    """The blob was made through the Data Lake (file) interface."""

    says = "Blob {blob!r} in container {container!r} was made through Azure's Data Lake (file) interface, which takes no blocks ({code}). Delete or rename it first."


class EncryptionRefused(DestinationError):
    """The blob or the container wants a key or a scope that our requests do not carry."""

    says = "Blob {blob!r} in container {container!r} is under a customer-provided key or an encryption scope that this copy does not have ({code}). Delete the blob, or choose a container without."


class TierRefused(DestinationError):
    """The account has no such access tier."""

    says = "Container {container!r} is in an account that does not take the access tier wanted for blob {blob!r} ({code}). Leave the storage class out of tiers."


class ForeignBlocks(DestinationError):
    """Uncommitted blocks of another tool, with ids of another length, block this blob."""

    says = "Blob {blob!r} in container {container!r} has uncommitted blocks of another tool, so Azure refuses ours. Wait a week until Azure drops them, or write the blob once with that tool, or delete the blob if it may go."


class TooManyStagedBlocks(DestinationError):
    """Azure holds its maximum of uncommitted blocks for this blob."""

    says = "Blob {blob!r} in container {container!r} holds the most uncommitted blocks that Azure allows. Wait a week until Azure drops them, or delete the blob if it may go."


class BlockListRefused(DestinationError):
    """Azure does not hold a block that the list names."""

    says = "Azure no longer holds every staged block of blob {blob!r} in container {container!r}."


class MetadataTooLarge(PermanentError):
    """The object's metadata, as Azure spells it, is more than a blob holds."""

    says = "The metadata of {key!r} takes {size} bytes in Azure, which holds {limit}. Shorten it in S3, or allow it to be dropped (oversized_metadata=drop)."


class TagsRefused(PermanentError):
    """The object's tags cannot be a blob's."""

    says = "The tags of {key!r} cannot be a blob's: {detail}. Change them in S3, or copy without tags."


class NameRefused(PermanentError):
    """A name that must not be sent, or that Azure does not accept."""

    says = "The name {name!r} cannot be used as a blob: {detail}. Rename the object, or leave it out by a filter."


class UnexpectedAnswer(PermanentError):
    """The server did not keep the protocol."""

    says = "{service} gave an answer that cannot be trusted for {thing}: {detail}. Check the endpoint and any proxy in between."


class IntegrityError(PermanentError):
    """The bytes are not the ones that S3 vouches for."""

    says = "The bytes of {key!r} do not fit the {algorithm} that S3 stores (expected {expected}, got {actual}), also after reading them again. Nothing was committed. The object may be damaged in S3."


class RereadDiffers(PermanentError):
    """Reading the object several times gave different bytes."""

    says = "Reading {key!r} several times gave different bytes each time, and S3 stores no checksum that says which are right. Nothing was committed. Suspect this machine's memory, a proxy in between, or the endpoint."


class ReadbackDiffers(PermanentError):
    """Azure gives back other bytes than were sent."""

    says = "Blob {blob!r} in container {container!r} was written, but Azure gives back other bytes than were sent between {start} and {end}. Copy it again with overwrite=always; if it lasts, suspect this machine's memory or a proxy in between."


class IntegrityUnavailable(PermanentError):
    """S3 stores no checksum as strong as the required verification level."""

    says = "integrity={required!r} is required, but for {key!r} S3 offers only {offered!r}. Lower integrity, or upload the object again with a checksum."


class SomeObjectsFailed(PermanentError):
    """A batch or run has failures that no retry can help."""

    says = "{failed} of {total} objects failed; first: {first}"


class ConditionNotMet(DestinationError):
    """The blob is not in the state that the request's condition names (409 BlobAlreadyExists, 412)."""

    says = "Blob {blob!r} in container {container!r} is not as planned ({code})."
