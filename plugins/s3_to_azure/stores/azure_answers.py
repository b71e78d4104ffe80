"""Azure's answers in the engine's words."""

import base64
import binascii
from collections.abc import Mapping

from azure.storage.blob import BlobProperties

from s3_to_azure.model.objects import BlobState, ContentHeaders


def blob_state(properties: BlobProperties) -> BlobState:
    """Return a blob as HEAD or a listing shows it."""
    settings = properties.content_settings
    metadata = {name.lower(): value for name, value in (properties.metadata or {}).items()}
    blob_type = str(getattr(properties.blob_type, "value", properties.blob_type) or "")
    return BlobState(
        name=properties.name or "",
        etag=unquoted(properties.etag),
        size_bytes=int(properties.size or 0),
        blob_type=told_type(blob_type, metadata),
        metadata=metadata,
        headers=ContentHeaders(
            content_type=settings.content_type,
            content_encoding=settings.content_encoding,
            content_language=settings.content_language,
            content_disposition=settings.content_disposition,
            cache_control=settings.cache_control,
        ),
    )


def told_type(blob_type: str, metadata: Mapping[str, str]) -> str:
    """Return a blob's type; a directory of a hierarchical namespace shows as an empty block blob."""
    return "directory" if metadata.get("hdi_isfolder") == "true" else blob_type


def unquoted(etag: object) -> str:
    """Return an ETag without its quotation marks."""
    return str(etag or "").strip('"')


def decoded_id(name: object) -> bytes:
    """Return a block id as it was before the service's base64; other tools' ids may be any bytes."""
    raw = name if isinstance(name, bytes) else str(name or "").encode("ascii", "replace")
    try:
        return base64.b64decode(raw)
    except binascii.Error:
        return raw
