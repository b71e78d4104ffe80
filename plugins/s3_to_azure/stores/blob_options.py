"""What a write gives a blob beside its bytes, and its condition, as the Azure SDK's options name them."""

from collections.abc import Mapping
from typing import Any

from azure.core import MatchConditions
from azure.storage.blob import ContentSettings, StandardBlobTier

from s3_to_azure.model.objects import BlobContents, Condition


def conditions(condition: Condition) -> Mapping[str, Any]:
    """Return the condition of a write."""
    if condition.etag is None:
        return {"match_condition": MatchConditions.IfMissing}
    return {"match_condition": MatchConditions.IfNotModified, "etag": f'"{condition.etag}"'}


def extras(contents: BlobContents) -> Mapping[str, Any]:
    """Return tags and tier, only where they are wanted: tags need a permission, a tier an account that has tiers."""
    found: dict[str, Any] = {}
    if contents.tags:
        found["tags"] = dict(contents.tags)
    if contents.tier:
        found["standard_blob_tier"] = StandardBlobTier(contents.tier)
    return found


def content_settings(contents: BlobContents) -> ContentSettings:
    """Return the content headers, and the MD5 where it is known."""
    headers = contents.headers
    return ContentSettings(
        content_type=headers.content_type,
        content_encoding=headers.content_encoding,
        content_language=headers.content_language,
        content_disposition=headers.content_disposition,
        cache_control=headers.cache_control,
        content_md5=bytearray(contents.content_md5) if contents.content_md5 else None,
    )
