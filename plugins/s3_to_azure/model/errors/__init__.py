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
        │   ├── UrlRefused             a presigned URL that has expired, or was changed
        │   ├── KeyManagementDenied    the object's KMS key
        │   ├── CustomerKeyRequired    the object is encrypted with a key of its owner (SSE-C)
        │   ├── CertificateRefused     TLS
        │   ├── ProxyRefused           407, 403 of a proxy in between
        │   └── ClockSkewed
        ├── SourceError
        │   ├── BucketNotFound
        │   ├── ObjectNotFound
        │   ├── ObjectArchived
        │   ├── SourceChanged
        │   └── FetchRefused           Azure cannot fetch the object by itself
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

from s3_to_azure.model.errors.access import (
    AccessDenied,
    AccessError,
    CertificateRefused,
    ClockSkewed,
    CredentialsRefused,
    CustomerKeyRequired,
    KeyManagementDenied,
    ProxyRefused,
    UrlRefused,
)
from s3_to_azure.model.errors.base import (
    AZURE,
    S3,
    BudgetTooSmall,
    Cancelled,
    ConnectionFailed,
    ConnectionMissing,
    CorruptedInTransit,
    CorruptState,
    CredentialsUnavailable,
    NotReady,
    PermanentError,
    ProcessEnded,
    ReadbackDiffers,
    RetryableObjectsFailed,
    ServerFailed,
    Throttled,
    TransferError,
    TransientError,
    UnsupportedStateFormat,
    UsageError,
)
from s3_to_azure.model.errors.objects import (
    AccountNotSuitable,
    BlobArchived,
    BlobImmutable,
    BlobLeased,
    BlobOfAnotherObject,
    BlockListRefused,
    BucketNotFound,
    ConditionNotMet,
    ContainerNotFound,
    DestinationConflict,
    DestinationError,
    EncryptionRefused,
    FetchRefused,
    ForeignBlocks,
    IntegrityError,
    IntegrityUnavailable,
    MetadataTooLarge,
    NameRefused,
    ObjectArchived,
    ObjectNotFound,
    RequestNotSupported,
    RereadDiffers,
    SomeObjectsFailed,
    SourceChanged,
    SourceError,
    TagsRefused,
    TierRefused,
    TooManyStagedBlocks,
    UnexpectedResponse,
    WrittenThroughDatalakeApi,
    WrongBlobType,
)

__all__ = [
    "AZURE",
    "S3",
    "AccessDenied",
    "AccessError",
    "AccountNotSuitable",
    "BlobArchived",
    "BlobImmutable",
    "BlobLeased",
    "BlobOfAnotherObject",
    "BlockListRefused",
    "BucketNotFound",
    "BudgetTooSmall",
    "Cancelled",
    "CertificateRefused",
    "ClockSkewed",
    "ConditionNotMet",
    "ConnectionFailed",
    "ConnectionMissing",
    "ContainerNotFound",
    "CorruptState",
    "CorruptedInTransit",
    "CredentialsRefused",
    "CredentialsUnavailable",
    "CustomerKeyRequired",
    "DestinationConflict",
    "DestinationError",
    "EncryptionRefused",
    "FetchRefused",
    "ForeignBlocks",
    "IntegrityError",
    "IntegrityUnavailable",
    "KeyManagementDenied",
    "MetadataTooLarge",
    "NameRefused",
    "NotReady",
    "ObjectArchived",
    "ObjectNotFound",
    "PermanentError",
    "ProcessEnded",
    "ProxyRefused",
    "ReadbackDiffers",
    "RequestNotSupported",
    "RereadDiffers",
    "RetryableObjectsFailed",
    "ServerFailed",
    "SomeObjectsFailed",
    "SourceChanged",
    "SourceError",
    "TagsRefused",
    "Throttled",
    "TierRefused",
    "TooManyStagedBlocks",
    "TransferError",
    "TransientError",
    "UnexpectedResponse",
    "UnsupportedStateFormat",
    "UrlRefused",
    "UsageError",
    "WrittenThroughDatalakeApi",
    "WrongBlobType",
]
