"""Which objects a run leaves out whatever is in Azure, and which part of the destination it is about."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from s3_to_azure.model.errors import NameRefused, TransientError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.names import check_key, is_folder_marker, is_reserved, unmap_blob
from s3_to_azure.model.objects import NO_ETAG, BlobState, ListedObject
from s3_to_azure.model.options import MAP
from s3_to_azure.model.ports import BlobDestination
from s3_to_azure.model.reasons import FOLDER_MARKER, RESERVED_NAME, explained
from s3_to_azure.model.retry import Retrier
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.state.manifest import ManifestPointer

_NEVER: Final = datetime.fromtimestamp(0, UTC)


def reason_to_skip(listed: ListedObject, blob: str, filters: Filters | None) -> str | None:
    """Return why no copy takes the object, whatever its blob is; None if a copy may.

    Args:
        listed: The object.
        blob: The name of its blob.
        filters: The run's; None: there are none.
    """
    reason = filters.reason_to_skip(listed) if filters else None
    if reason is None and is_reserved(blob):
        return RESERVED_NAME
    if reason is None and is_folder_marker(listed):
        return FOLDER_MARKER
    return reason


def refused_name(key: str, blob: str, check_name: Callable[[str], object]) -> str | None:
    """Return the reason of an object whose key or blob name cannot be used; None if both can."""
    try:
        check_key(key)
        check_name(blob)
    except NameRefused as error:
        return explained(error.reason(), str(error.attributes["detail"]))
    return None


def name_check(destination: BlobDestination, retrier: Retrier) -> Callable[[str], None]:
    """Return the destination's check of a blob's name, repeated after a temporary failure."""

    def check(blob: str) -> None:
        try:
            # The retry loop costs more than a check, so only a failed one goes through it.
            destination.check_name(blob)
        except TransientError as error:
            retrier.pause(1, error)
            retrier.call(f"check the name {blob!r}", lambda: destination.check_name(blob))

    return check


class Coverage:
    """Tells for a blob without an object whether the run would have copied that object, so that it is gone from S3.

    Args:
        pointer: The listing; it may be that of a narrower prefix than the migration's.
        settings: The plan's settings.

    Attributes:
        prefix: What the names of all blobs of the run begin with, unless they are mapped to others.
        is_known: Whether a blob shows it: the objects of a list of keys, or of a storage class, are not told by a name,
            and an inventory lacks what is newer than itself.
    """

    def __init__(self, pointer: ManifestPointer, settings: PlanSettings) -> None:
        below = pointer.prefix.removeprefix(settings.s3_prefix)
        is_below = pointer.prefix.startswith(settings.s3_prefix)
        self.prefix = settings.blob_prefix + (below if is_below else "")
        self.is_known = not (pointer.looked_up or pointer.inventoried_at or settings.filters.storage_classes)
        self._bucket = pointer.bucket
        self._settings = settings
        self._filters = settings.filters if settings.filters != Filters() else None

    def includes(self, blob: BlobState) -> bool:
        """Return whether the object would have been copied; its size and date are those that the copy recorded."""
        settings = self._settings
        name = unmap_blob(blob.name) if settings.refused_names == MAP else blob.name
        key = settings.s3_prefix + name.removeprefix(settings.blob_prefix)
        filters = self._filters
        modified = blob.source_last_modified
        if filters and modified is None and (filters.modified_after or filters.modified_before):
            return False
        listed = ListedObject(self._bucket, key, NO_ETAG, blob.size_bytes, modified or _NEVER)
        if blob.is_of_another(listed):
            return False
        return filters is None or filters.reason_to_skip(listed) is None
