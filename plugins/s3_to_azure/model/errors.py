"""The error tree: each error says what failed, on what, and what to do about it.

::

    TransferError
    ├── Cancelled                      stopped from outside; staged blocks stay
    ├── TransientError                 may pass by itself: retried here, then by Airflow
    │   ├── Throttled                  503 SlowDown, 503 ServerBusy, 429
    │   ├── ServerFailed               any other 5xx
    │   ├── ConnectionFailed           refused, reset, timed out, ended early
    │   ├── CredentialsUnavailable     the source of credentials did not answer
    │   ├── NotReady                   a container being deleted, an account being created
    │   ├── CorruptedInTransit         Azure refused a block: its CRC64 does not match
    │   ├── ReadbackDiffers            Azure returns other bytes than were sent: the next try copies again
    │   ├── ProcessEnded               one of several processes of a copy ended early
    │   └── RetryableObjectsFailed     a batch in which a retry may help
    └── PermanentError                 a retry cannot help
        ├── UsageError                 an argument or a setting
        │   ├── BudgetTooSmall
        │   └── ConnectionMissing
        ├── CorruptState               a manifest, plan or receipt is missing, damaged or invalid
        ├── UnsupportedStateFormat     a manifest, plan or receipt of another major version
        ├── AccessError
        │   ├── AccessDenied           the identity lacks a permission
        │   ├── CredentialsRefused     a wrong or expired key, token or signature
        │   ├── KeyManagementDenied    the object's KMS key
        │   ├── CustomerKeyRequired    the object is encrypted with a key of its owner (SSE-C)
        │   ├── CertificateRefused     TLS
        │   ├── ProxyRefused           407, 403 of a proxy in between
        │   └── ClockSkewed
        ├── SourceError
        │   ├── BucketNotFound
        │   ├── ObjectNotFound
        │   ├── ObjectArchived
        │   └── SourceChanged
        ├── DestinationError
        │   ├── ContainerNotFound
        │   ├── DestinationConflict
        │   ├── BlobOfAnotherObject
        │   ├── WrongBlobType
        │   ├── BlobLeased
        │   ├── BlobImmutable
        │   ├── BlobArchived
        │   ├── WrittenThroughDatalakeApi    a file of the Data Lake API, which takes no blocks
        │   ├── EncryptionRefused      a customer-provided key or an encryption scope is required
        │   ├── TierRefused
        │   ├── AccountNotSuitable     an account for page blobs only
        │   ├── ForeignBlocks
        │   ├── TooManyStagedBlocks
        │   ├── BlockListRefused       (internal: ends as DestinationConflict)
        │   └── ConditionNotMet        (internal: the copy looks up the blob and decides what it means)
        │       └── LeftoverBlocks     (internal, in commit: Put Blob met uncommitted blocks)
        ├── MetadataTooLarge           more than Azure allows
        ├── TagsRefused                tags that a blob, or the account, cannot have
        ├── NameRefused
        ├── RequestNotSupported        the service does not know this kind of request (405, 501)
        ├── UnexpectedResponse           the server broke the protocol: redirect, ignored Range, unknown status
        ├── IntegrityError
        ├── RereadDiffers              two readings of the object gave different bytes
        ├── IntegrityUnavailable       S3 stores no checksum as strong as the required level
        └── SomeObjectsFailed          a batch or run in which no retry can help

The class decides whether a retry can help, never the text.
"""

from collections.abc import Mapping
from functools import partial
from string import Formatter
from typing import ClassVar, Final, Self

from s3_to_azure.model.reasons import explained

S3: Final = "S3"
"""The source's name in errors and logs."""

AZURE: Final = "Azure Blob Storage"
"""The destination's name in errors and logs."""


class TransferError(Exception):
    """An error with named attributes and a message made from them.

    Args:
        attributes: Exactly the names in braces in ``template``, and those in ``extra``.

    Raises:
        TypeError: An attribute is missing or unknown.
    """

    template: ClassVar[str] = "{detail}"
    extra: ClassVar[frozenset[str]] = frozenset()

    def __init__(self, **attributes: object) -> None:
        wanted = self.fields()
        if wanted != set(attributes):
            raise TypeError(f"{type(self).__name__} takes {sorted(wanted)}, not {sorted(attributes)}")
        self.attributes: Mapping[str, object] = attributes
        super().__init__(self.template.format_map(attributes))

    @classmethod
    def fields(cls) -> set[str]:
        """Return the names of all attributes."""
        return {name for _, name, _, _ in Formatter().parse(cls.template) if name} | cls.extra

    def __reduce__(self) -> tuple[object, ...]:
        """Pickle by the attributes, so that an error can pass between processes."""
        return partial(type(self), **self.attributes), ()

    @classmethod
    def reason(cls) -> str:
        """Return the code of a receipt's reason: ``object_not_found`` for ``ObjectNotFound``."""
        name = cls.__name__
        return "".join(f"_{c.lower()}" if c.isupper() and i else c.lower() for i, c in enumerate(name))

    def as_reason(self) -> str:
        """Return a receipt's reason: the code and the message."""
        return explained(self.reason(), str(self))


class Cancelled(TransferError):
    """The copy was stopped from outside."""

    template = "Stopped on request. The staged blocks stay in Azure, and the next try sends only what is missing."

    @classmethod
    def now(cls) -> Self:
        """Return the error, which has no attributes."""
        return cls()


class TransientError(TransferError):
    """The failure may pass by itself."""

    @property
    def retry_after_s(self) -> float | None:
        """The wait in seconds before the next try, or None if it is not known."""
        value = self.attributes.get("retry_after_s")
        return value if isinstance(value, (int, float)) else None


class Throttled(TransientError):
    """The service asks for fewer requests; ``retry_after_s`` is the wait in seconds that it asks for, or None."""

    template = "{service} asked this program to slow down ({code}). If this lasts, lower the parallelism or set a bandwidth_limit."
    extra = frozenset({"retry_after_s"})


class ServerFailed(TransientError):
    """The service answered with a 5xx status that is not throttling."""

    template = "{service} failed with status {status} ({code}) on {resource}. The request is retried; if this lasts, look at the service's health page."


class ConnectionFailed(TransientError):
    """The connection was refused, reset, timed out or ended early."""

    template = "The connection to {service} failed on {resource}: {detail}. The request is retried; if this lasts, check the network, the proxy and the endpoint."


class CredentialsUnavailable(TransientError):
    """The metadata service, STS, Entra ID or a program did not give the credentials that are due."""

    template = "The credentials for {service} could not be obtained: {detail}. The request is retried; if this lasts, check the role, identity or profile of this connection, and the network to the service that issues its credentials."


class NotReady(TransientError):
    """The service is still creating or deleting what the request needs; ``retry_after_s`` is a wait in seconds."""

    template = "{service} is not ready for {resource}: {detail} ({code}). The request is retried; if this lasts, run again in some minutes."
    extra = frozenset({"retry_after_s"})


class CorruptedInTransit(TransientError):
    """Azure computed another CRC64 for a block than the one sent with it."""

    template = "A block of blob {blob!r} arrived damaged, and Azure refused it. The block is sent again; if this lasts, check this machine's memory and network card."


class ReadbackDiffers(TransientError):
    """Azure returns other bytes than were sent."""

    template = "Blob {blob!r} in container {container!r} was written, but Azure returns other bytes than were sent between {start} and {end}. It is marked as damaged where that is possible, and the next try or run copies it again; if this lasts, check this machine's memory and any proxy in between."


class ProcessEnded(TransientError):
    """One of the processes that share a copy ended before its work was done."""

    template = "The process {name} ended before its work was done: {how}. What it had copied stays copied; run the same command again for the rest. If the system killed it because memory was short, use fewer processes or a smaller memory budget."


class RetryableObjectsFailed(TransientError):
    """Objects of a batch failed, and a retry may help at least one of them."""

    template = "{failed} of {total} objects failed, {transient} of them for a reason that may pass; first: {first}"


class PermanentError(TransferError):
    """A retry cannot help."""


class UsageError(PermanentError):
    """An argument or a setting is wrong."""


class BudgetTooSmall(UsageError):
    """The memory budget is smaller than one block of the object."""

    template = "An object of {size_bytes} bytes needs blocks of {needs} bytes, more than memory_budget={budget} bytes can hold. Raise memory_budget to at least {needs} bytes."


class ConnectionMissing(UsageError):
    """An Airflow connection, or the environment's credentials, are missing."""

    template = "No usable credentials for {service}: {detail}. {cure}"


class CorruptState(PermanentError):
    """A manifest, plan or receipt in the state location is missing, damaged or invalid."""

    template = "The state file {path!r} cannot be used: {detail}. Nothing was copied from it; start a new run."


class UnsupportedStateFormat(PermanentError):
    """A manifest, plan or receipt has a format that this version cannot read."""

    template = "The state file {path!r} has format {found}, and this version reads format {supported}. A newer version of s3-to-azure wrote it: upgrade this worker, then clear the task."


class AccessError(PermanentError):
    """Credentials, permissions, certificates or clocks."""


class AccessDenied(AccessError):
    """The identity is known and lacks a permission."""

    template = "{service} denied access to {resource} ({code}). {cure}"


class CredentialsRefused(AccessError):
    """The service does not accept the key, token or signature."""

    template = "{service} refused the credentials for {resource} ({code}). {cure}"


class KeyManagementDenied(AccessError):
    """The identity may not use the object's KMS key."""

    template = "S3 could not decrypt {resource} ({code}). Grant the identity of this connection kms:Decrypt on the object's KMS key, and check that the key is enabled and not scheduled for deletion."


class CustomerKeyRequired(AccessError):
    """The object can only be read with the key of its owner (SSE-C)."""

    template = "S3 refused to read {resource} without an encryption key ({code}). The object is most likely encrypted with a key that its owner keeps (SSE-C): put that key into the connection's extra field sse_customer_key, or into S3_SSE_CUSTOMER_KEY."


class CertificateRefused(AccessError):
    """The server's TLS certificate is not trusted."""

    template = "The TLS certificate of {service} is not trusted ({detail}). Set the connection's verify setting to the right CA bundle."


class ProxyRefused(AccessError):
    """A proxy between this machine and the service refused to forward requests."""

    template = "The proxy refused the connection to {service} for {resource}: {detail}. Check the proxy's address and credentials, and whether it allows this host."


class ClockSkewed(AccessError):
    """This machine's clock differs too much from the server's."""

    template = "{service} refused the time of the request for {resource} ({code}). Set this machine's clock (NTP)."


class SourceError(PermanentError):
    """The object in S3, or its bucket."""


class BucketNotFound(SourceError):
    """The bucket does not exist."""

    template = "S3 bucket {bucket!r} does not exist at this endpoint. Check the bucket's name, and the endpoint and account of the AWS connection."


class ObjectNotFound(SourceError):
    """The object does not exist."""

    template = "S3 object {key!r} does not exist in bucket {bucket!r}. It may have been deleted since it was listed, or a delete marker hides it; check the key."


class ObjectArchived(SourceError):
    """The object is in an archive tier and cannot be read."""

    template = "S3 object {key!r} in bucket {bucket!r} is archived and cannot be read ({code}). Restore it first (S3 RestoreObject), or wait until a restore in progress has ended; then run again."


class SourceChanged(SourceError):
    """The object is no longer the version that was being copied."""

    template = "S3 object {key!r} in bucket {bucket!r} changed during the copy (its ETag was {etag}). Nothing was committed; the next run copies the new version."


class DestinationError(PermanentError):
    """The blob in Azure, or its container."""


class ContainerNotFound(DestinationError):
    """The container does not exist."""

    template = "Azure container {container!r} does not exist in this account. Create it, or let the copy create it (create_container=True, --create-container)."


class DestinationConflict(DestinationError):
    """Another writer changed the blob since the plan."""

    template = "Blob {blob!r} in container {container!r} was written by another program during this copy ({detail}). The blob was left unchanged; run again to decide anew."


class BlobOfAnotherObject(DestinationError):
    """The blob is a copy of another S3 object, as when two migrations write to the same names."""

    template = "Blob {blob!r} in container {container!r} is a copy of another S3 object, so it was left unchanged. If two migrations write to the same names, give each its own blob_prefix. If the object has moved, or that copy is not needed, copy once with overwrite=always."


class WrongBlobType(DestinationError):
    """An append blob, a page blob or a directory has the blob's name."""

    template = "Blob {blob!r} in container {container!r} exists as {blob_type}, which a block blob cannot replace. Delete or rename it first."


class BlobLeased(DestinationError):
    """Another program holds a lease on the blob."""

    template = "Blob {blob!r} in container {container!r} is leased ({code}). End or break the lease, then run again."


class BlobImmutable(DestinationError):
    """An immutability policy or a legal hold protects the blob."""

    template = "Blob {blob!r} in container {container!r} is protected by an immutability policy or legal hold ({code}). Choose another name or container."


class BlobArchived(DestinationError):
    """The existing blob is in Azure's archive tier."""

    template = "Blob {blob!r} in container {container!r} is in Azure's archive tier and cannot be written ({code}). Rehydrate or delete it first."


class WrittenThroughDatalakeApi(DestinationError):
    """The existing blob was written through the Data Lake API, which does not take blocks."""

    template = "Blob {blob!r} in container {container!r} was written through Azure's Data Lake API and takes no blocks ({code}). Delete or rename it first."


class EncryptionRefused(DestinationError):
    """The blob or the container requires an encryption key or scope that the request does not carry."""

    template = "Blob {blob!r} in container {container!r} requires a customer-provided key or an encryption scope, which this copy does not send ({code}). Delete the blob, or choose another container."


class TierRefused(DestinationError):
    """The account does not support the access tier."""

    template = "The storage account of container {container!r} does not support the access tier chosen for blob {blob!r} ({code}). Remove the storage class from tiers."


class AccountNotSuitable(DestinationError):
    """The storage account cannot hold block blobs."""

    template = "The storage account of container {container!r} cannot hold block blobs ({code}). Copy to a general-purpose v2 account or a premium account for block blobs."


class ForeignBlocks(DestinationError):
    """Uncommitted blocks of another tool, with ids of another length, prevent the upload."""

    template = "Blob {blob!r} in container {container!r} has uncommitted blocks of another tool, so Azure refuses the blocks of this copy. Wait a week until Azure drops them, write the blob once with that tool, or delete the blob if it is not needed."


class TooManyStagedBlocks(DestinationError):
    """Azure holds its maximum of uncommitted blocks for the blob."""

    template = "Blob {blob!r} in container {container!r} has as many uncommitted blocks as Azure allows. Wait a week until Azure drops them, or delete the blob if it is not needed."


class BlockListRefused(DestinationError):
    """Azure does not hold a block that the block list names."""

    template = "Azure no longer holds every staged block of blob {blob!r} in container {container!r}."


class MetadataTooLarge(PermanentError):
    """The object's metadata, as Azure spells it, does not fit into a blob."""

    template = "The metadata of {key!r} takes {size} bytes in Azure, which allows {limit}. Shorten it in S3, or let it be dropped (oversized_metadata=drop)."


class TagsRefused(PermanentError):
    """The object's tags cannot be tags of a blob."""

    template = "The tags of {key!r} cannot be copied to a blob: {detail}. Change them in S3, or copy without tags."


class NameRefused(PermanentError):
    """The name is not allowed in Azure, or cannot be sent safely."""

    template = "The name {name!r} cannot be used for a blob: {detail}. Rename the object, or exclude it by a filter."


class RequestNotSupported(PermanentError):
    """The service does not know this kind of request (405, 501)."""

    template = "{service} does not support this request for {resource} ({code}). Leave out the setting that needs it, or check the endpoint and any proxy in between."


class UnexpectedResponse(PermanentError):
    """The server broke the protocol: a redirect, an ignored range, an unknown status."""

    template = "{service} gave an answer that cannot be trusted for {resource}: {detail}. Check the endpoint and any proxy in between."


class IntegrityError(PermanentError):
    """The bytes do not match the checksum that S3 stores."""

    template = "The bytes of {key!r} do not match the {algorithm} that S3 stores (expected {expected}, got {actual}), even after reading them again. Nothing was committed. The object may be damaged in S3: download it and compare. If the algorithm is md5 and the store's ETags are not MD5s, set etag_is_md5=no."


class RereadDiffers(PermanentError):
    """Two readings of the object gave different bytes."""

    template = "Two readings of {key!r} gave different bytes, and S3 stores no checksum to tell which are right. Nothing was committed. Check this machine's memory, any proxy in between, and the endpoint."


class IntegrityUnavailable(PermanentError):
    """S3 stores no checksum as strong as the required verification level."""

    template = "integrity={required!r} is required, but for {key!r} S3 offers only {offered!r}. Lower integrity, or upload the object again with a checksum."


class SomeObjectsFailed(PermanentError):
    """Objects of a batch or run failed, and a retry helps none of them."""

    template = "{failed} of {total} objects failed; first: {first}"


class ConditionNotMet(DestinationError):
    """The blob is not in the state that the request requires (409 BlobAlreadyExists, 412)."""

    template = "Blob {blob!r} in container {container!r} is not as planned ({code})."
