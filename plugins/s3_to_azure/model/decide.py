"""What to do with one object, decided from what both sides show; no I/O."""

from dataclasses import dataclass
from typing import Literal

from s3_to_azure.model.errors import WrongBlobType
from s3_to_azure.model.objects import BlobState, ListedObject, ObjectVersion
from s3_to_azure.model.options import ALWAYS, NEVER, Overwrite
from s3_to_azure.model.reasons import DESTINATION_EXISTS, DESTINATION_NEWER

BLOCK_BLOB = "BlockBlob"


@dataclass(frozen=True, slots=True)
class Decision:
    """Copy the object, or leave it out for a reason that goes into its receipt."""

    action: Literal["copy", "unchanged", "skip", "refuse"]
    reason: str = ""


def decide(source: ObjectVersion | ListedObject, blob: BlobState | None, overwrite: Overwrite) -> Decision:
    """Decide on one object.

    ==============================  ==============  ===========  =====================
    the blob                        if_changed      never        always
    ==============================  ==============  ===========  =====================
    is not there                    copy            copy         copy
    is a copy of this very version  unchanged       unchanged    copy
    is a copy of an older version   copy            skip exists  copy
    is a copy of a newer version    skip newer      skip exists  skip newer
    does not say what it is         copy            skip exists  copy
    is no block blob                refuse          skip exists  refuse
    ==============================  ==============  ===========  =====================

    A copy replaces what was seen, under its ETag, never what came in between.
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


def replaces_newer(source: ObjectVersion | ListedObject, blob: BlobState) -> bool:
    """Say whether the blob is a copy of a newer version of the object; an older one must never replace it."""
    recorded = blob.source_last_modified
    return recorded is not None and recorded > source.last_modified


def is_older_copy(source: ObjectVersion | ListedObject, blob: BlobState) -> bool:
    """Say whether the blob is a copy of an older version of the object, which this one may replace."""
    recorded = blob.source_last_modified
    # S3 counts in seconds: of two versions of one second nobody can say which is older, so neither may replace.
    return recorded is not None and recorded < source.last_modified and blob.source_etag != source.etag
