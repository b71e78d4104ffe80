"""Azure's responses as our values: the SDK's models, ETags, request ids and block ids."""

import base64
import binascii
import itertools
import re
import uuid
from collections.abc import Mapping
from email.utils import format_datetime
from typing import Any, Final

from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobProperties

from s3_to_azure.model import errors, record
from s3_to_azure.model.errors import AZURE
from s3_to_azure.model.objects import DIRECTORY, BlobState, ContentHeaders


def blob_state(properties: BlobProperties, *, resource_type: str | None = None) -> BlobState:
    """Return a blob's state from the SDK's model and the response's ``x-ms-resource-type``.

    Raises:
        UnexpectedResponse: The response has no ETag, type or length: an absent one is no default.
    """
    etag = str(properties.etag or "")
    missing = "" if _ETAG.fullmatch(etag) else "ETag"
    missing = missing or ("" if properties.blob_type else "x-ms-blob-type")
    missing = missing or ("Content-Length" if properties.size is None else "")
    if missing:
        resource, detail = repr(f"{properties.container}/{properties.name}"), f"the response has no valid {missing}"
        raise errors.UnexpectedResponse(service=AZURE, resource=resource, detail=detail)
    settings = properties.content_settings
    metadata = {name.lower(): value for name, value in (properties.metadata or {}).items()}
    blob_type = str(getattr(properties.blob_type, "value", properties.blob_type) or "")
    size_bytes = int(properties.size)
    return BlobState(
        name=properties.name or "",
        etag=unquoted(properties.etag),
        size_bytes=size_bytes,
        blob_type=blob_type_of(blob_type, metadata, size_bytes=size_bytes, resource_type=resource_type),
        metadata=metadata,
        headers=ContentHeaders(
            content_type=settings.content_type,
            content_encoding=settings.content_encoding,
            content_language=settings.content_language,
            content_disposition=settings.content_disposition,
            cache_control=settings.cache_control,
        ),
        content_md5=base64.b64encode(settings.content_md5).decode() if settings.content_md5 else "",
        written_at=format_datetime(properties.last_modified, usegmt=True) if properties.last_modified else "",
    )


def is_missing_blob(error: HttpResponseError) -> bool:
    """Return whether Azure says that the blob does not exist; anything between here and Azure can answer 404."""
    response: Any = error.response
    if error.status_code != 404 or response is None:
        return False
    code = getattr(error, "error_code", None)
    return code == "BlobNotFound" or (code is None and "x-ms-request-id" in response.headers)


def blob_type_of(blob_type: str, metadata: Mapping[str, str], *, size_bytes: int, resource_type: str | None) -> str:
    """Return a blob's type; in a hierarchical namespace a directory is shown as an empty block blob.

    Azure says which it is; where it does not, ``hdi_isfolder`` marks one. Anyone can set that on a blob, so a
    blob that has bytes, or is a copy of an object, is none.
    """
    if resource_type:
        return DIRECTORY if resource_type.lower() == DIRECTORY else blob_type
    is_marked = metadata.get(record.DIRECTORY_MARK) == "true" and not size_bytes and record.ETAG not in metadata
    return DIRECTORY if is_marked else blob_type


REQUEST_ID: Final = "x-ms-client-request-id"
"""A request's own id, which Azure repeats in the response."""

CONTENT_CRC64: Final = "x-ms-content-crc64"
"""The CRC64 of a request's body."""

RECORD_HEADER: Final = f"x-ms-meta-{record.ETAG}"
"""A header of each request that writes the record of a copy."""

_REQUEST_IDS = itertools.count()
_REQUEST_ID_PREFIX: Final = uuid.uuid4().hex
_ETAG: Final = re.compile(r'"?[!#-~]{1,256}"?')


def new_request_id() -> str:
    """Return an id that no other request has."""
    return f"{_REQUEST_ID_PREFIX}-{next(_REQUEST_IDS):x}"


def belongs_to(sent: Mapping[str, str], received: Mapping[str, str]) -> bool:
    """Return whether a response may be the one to a request: what a connection delivers may be late, or not Azure's.

    Azure repeats a request's id, and the CRC64 of the bytes that it received. A response without them is accepted,
    since a gateway may have removed them.

    Args:
        sent: The request's headers.
        received: The response's headers, by lower-case name or without regard to case.
    """
    return all(received.get(name, sent[name]) == sent[name] for name in (REQUEST_ID, CONTENT_CRC64) if name in sent)


def written_etag(etag: object, last_modified: object, *, container: str, blob: str) -> str:
    """Return the new ETag of a blob, unquoted, from the response to Put Blob or Put Block List.

    Raises:
        ConnectionFailed: The response has no ETag or no date, so Azure did not make it. The caller looks up the blob.
    """
    if not etag or not last_modified or not _ETAG.fullmatch(str(etag)):
        raise errors.ConnectionFailed(
            service=AZURE,
            resource=repr(f"{container}/{blob}"),
            detail="the response to the write has no ETag or no date, so something else than Azure sent it",
        )
    return unquoted(etag)


def unquoted(etag: object) -> str:
    """Return an ETag without its quotation marks."""
    return str(etag or "").strip('"')


def decoded_block_id(name: object) -> bytes:
    """Decode a listed block id from base64; other tools' ids may be any bytes."""
    raw = name if isinstance(name, bytes) else str(name or "").encode("ascii", "replace")
    try:
        return base64.b64decode(raw)
    except binascii.Error:
        return raw
