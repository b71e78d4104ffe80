"""The services' limits, each one constant with its source."""

from typing import Final

KIB: Final = 1024
MIB: Final = 1024 * KIB
GIB: Final = 1024 * MIB
TIB: Final = 1024 * GIB

# https://learn.microsoft.com/azure/storage/blobs/scalability-targets
MAX_BLOCKS_PER_BLOB: Final = 50_000
# https://learn.microsoft.com/rest/api/storageservices/put-block
MAX_BLOCK_BYTES: Final = 4_000 * MIB
MAX_BLOCK_ID_BYTES: Final = 64
MAX_STAGED_BLOCKS: Final = 100_000
# https://learn.microsoft.com/rest/api/storageservices/put-block-from-url
MAX_SOURCE_URL_CHARACTERS: Final = 2_048
# https://learn.microsoft.com/rest/api/storageservices/put-blob
MAX_PUT_BLOB_BYTES: Final = 5_000 * MIB
# https://learn.microsoft.com/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
MAX_BLOB_NAME_CHARACTERS: Final = 1_024
MAX_BLOB_PATH_SEGMENTS: Final = 254
MAX_METADATA_BYTES: Final = 8 * KIB
# https://learn.microsoft.com/rest/api/storageservices/set-blob-tags
MAX_TAGS: Final = 10
MAX_TAG_KEY: Final = 128
MAX_TAG_VALUE: Final = 256

# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html (50 TB, as S3 counts: 48.8 TiB)
MAX_OBJECT_BYTES: Final = 50_000 * GIB
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/object-keys.html
MAX_KEY_BYTES: Final = 1_024
# Ours: how much of a longer key, which some stores accept, is kept to account for its object.
MAX_LISTED_KEY_CHARACTERS: Final = 4_096
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
MAX_PARTS: Final = 10_000
# https://docs.aws.amazon.com/AmazonS3/latest/API/API_ListObjectsV2.html
LISTING_PAGE_KEYS: Final = 1_000
# https://learn.microsoft.com/rest/api/storageservices/list-blobs
AZURE_PAGE_BLOBS: Final = 5_000

# A page of Azure holds five times the keys, each with its metadata, and some 1 KB of memory for each: with these, the
# pages arrive as fast as they are parsed.
AZURE_LISTING_REQUESTS: Final = 4
"""Pages of a listing of blobs that are requested at the same time."""

LISTING_REQUESTS: Final = 24
"""Pages of one listing that are requested at the same time: below one prefix S3 takes 5,500 requests a second."""
