"""The decision about one object, made from the states of both sides."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from s3_to_azure.model.errors import WrongBlobType
from s3_to_azure.model.objects import BlobState, ListedObject, ObjectVersion
from s3_to_azure.model.options import ALWAYS, NEVER, Overwrite
from s3_to_azure.model.reasons import DESTINATION_EXISTS, DESTINATION_NEWER

BLOCK_BLOB = "BlockBlob"
_WHOLE_SECOND: Final = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Decision:
    """Copy the object, or leave it out; the reason goes into its receipt."""

    action: Literal["copy", "unchanged", "skip", "refuse"]
    reason: str = ""


def decide(source: ObjectVersion | ListedObject, blob: BlobState | None, overwrite: Overwrite) -> Decision:
    """Decide on one object.

    =============================  ==============  ===========  =====================
    the blob                       if_changed      never        always
    =============================  ==============  ===========  =====================
    does not exist                 copy            copy         copy
    is a copy of this version      unchanged       unchanged    copy
    is a copy of an older version  copy            skip exists  copy
    is a copy of a newer version   skip newer      skip exists  skip newer
    has no record of a copy        copy            skip exists  copy
    is not a block blob            refuse          skip exists  refuse
    =============================  ==============  ===========  =====================

    The copy later replaces only the blob that was seen here, under its ETag.
    """
    if blob is None:
        return Decision("copy")
    is_copy = blob.holds(source)
    if is_copy and overwrite != ALWAYS:
        return Decision("unchanged")
    if overwrite == NEVER:
        return Decision("skip", DESTINATION_EXISTS)
    if blob.blob_type != BLOCK_BLOB:
        return Decision("refuse", WrongBlobType.reason())
    if not is_copy and replaces_newer(source, blob):
        return Decision("skip", DESTINATION_NEWER)
    return Decision("copy")


def is_later(one: datetime, other: datetime) -> bool:
    """Return whether ``one`` is certainly after ``other``, at the precision that both have.

    Several stores, such as Ceph, list an object's date with a fraction of a second and send whole seconds in
    ``Last-Modified``: the fraction is cut off, or rounded up.
    """
    if bool(one.microsecond) == bool(other.microsecond):
        return one > other
    return one - other >= _WHOLE_SECOND


def replaces_newer(source: ObjectVersion | ListedObject, blob: BlobState) -> bool:
    """Return whether the blob is a copy of a newer version, which an older one must never replace."""
    recorded = blob.source_last_modified
    return recorded is not None and is_later(recorded, source.last_modified)


def is_older_copy(source: ObjectVersion | ListedObject, blob: BlobState) -> bool:
    """Return whether the blob is a copy of an older version, which this one may replace."""
    recorded = blob.source_last_modified
    # S3 records seconds: which of two versions of the same second is older is unknown, so neither replaces the other.
    return recorded is not None and is_later(source.last_modified, recorded) and blob.source_etag != source.etag
