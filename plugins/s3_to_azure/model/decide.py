"""The decision about one object, made from the states of both sides."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from s3_to_azure.model.errors import WrongBlobType
from s3_to_azure.model.objects import BlobState, ListedObject, ObjectVersion
from s3_to_azure.model.options import ALWAYS, NEVER, Overwrite
from s3_to_azure.model.reasons import DESTINATION_EXISTS

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
    is a copy of another version   copy            skip exists  copy
    has no record of a copy        copy            skip exists  copy
    is not a block blob            refuse          skip exists  refuse
    =============================  ==============  ===========  =====================

    Dates do not decide: the version that S3 shows as current may be older than the blob's, after a rollback. The copy
    reads its version only while S3 holds it, and replaces only the blob that was seen here, under its ETag.
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
    return Decision("copy")


def are_different(one: datetime, other: datetime) -> bool:
    """Return whether the dates certainly differ, at the precision that both have."""
    return is_later(one, other) or is_later(other, one)


def is_later(one: datetime, other: datetime) -> bool:
    """Return whether ``one`` is certainly after ``other``, at the precision that both have.

    Several stores, such as Ceph, list an object's date with a fraction of a second and send whole seconds in
    ``Last-Modified``: the fraction is cut off, or rounded up.
    """
    if bool(one.microsecond) == bool(other.microsecond):
        return one > other
    return one - other >= _WHOLE_SECOND


def is_copy_of_another(source: ObjectVersion | ListedObject, blob: BlobState) -> bool:
    """Return whether the blob is recorded to be a copy of another version of the object."""
    return blob.source_etag not in (None, source.etag) and blob.source_last_modified is not None


def is_copy_of_newer(source: ObjectVersion | ListedObject, blob: BlobState) -> bool:
    """Return whether the blob is recorded to be a copy of a version with a later date."""
    recorded = blob.source_last_modified
    return recorded is not None and is_later(recorded, source.last_modified)
