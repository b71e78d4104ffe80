"""What is wrong with one object, its bytes or its blob."""

from s3_to_azure.model.errors.base import PermanentError


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


class FetchRefused(SourceError):
    """Azure cannot fetch the object by itself."""

    template = "Azure could not fetch the bytes of blob {blob!r} from S3 by itself ({code}: {detail}). Nothing was committed. Copy with via=auto, which sends such bytes through the worker, or let the bucket's policy and endpoint accept Azure's requests."


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


class ConditionNotMet(DestinationError):
    """The blob is not in the state that the request requires (409 BlobAlreadyExists, 412)."""

    template = "Blob {blob!r} in container {container!r} is not as planned ({code})."


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
