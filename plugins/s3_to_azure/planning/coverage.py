"""Which part of the destination a run is about: the blobs of the keys that it lists and does not leave out."""

from datetime import UTC, datetime
from typing import Final

from s3_to_azure.model.filters import Filters
from s3_to_azure.model.names import unmap_blob
from s3_to_azure.model.objects import NO_ETAG, BlobState, ListedObject
from s3_to_azure.model.options import MAP
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.state.manifest import ManifestPointer

_NEVER: Final = datetime.fromtimestamp(0, UTC)


class Coverage:
    """Tells for a blob without an object whether the run would have copied that object, so that it is gone from S3.

    Args:
        pointer: The listing; it may be that of a narrower prefix than the migration's.
        settings: The plan's settings.

    Attributes:
        prefix: What the names of all blobs of the run begin with, unless they are mapped to others.
        is_known: Whether a blob shows it: the objects of a list of keys, or of a storage class, are not told by a name.
    """

    def __init__(self, pointer: ManifestPointer, settings: PlanSettings) -> None:
        below = pointer.prefix.removeprefix(settings.s3_prefix)
        is_below = pointer.prefix.startswith(settings.s3_prefix)
        self.prefix = settings.blob_prefix + (below if is_below else "")
        self.is_known = not pointer.looked_up and not settings.filters.storage_classes
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
