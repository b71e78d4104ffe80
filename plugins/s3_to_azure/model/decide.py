"""The decision about one object, made from the states of both sides."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Literal

from s3_to_azure.model import record
from s3_to_azure.model.errors import BlobOfAnotherObject, WrongBlobType
from s3_to_azure.model.objects import DIRECTORY, BlobState, ListedObject, ObjectVersion
from s3_to_azure.model.options import ALWAYS, AUTO, NEVER, Overwrite, is_as_strong
from s3_to_azure.model.reasons import DESTINATION_EXISTS, explained

BLOCK_BLOB = "BlockBlob"
_WHOLE_SECOND: Final = timedelta(seconds=1)
_OF_ANOTHER_OBJECT: Final = explained(
    BlobOfAnotherObject.reason(),
    "the blob is a copy of another S3 object; give each migration its own blob_prefix, or replace that copy with "
    "overwrite=always",
)


@dataclass(frozen=True, slots=True)
class Decision:
    """Copy the object, or leave it out; the reason goes into its receipt."""

    action: Literal["copy", "unchanged", "skip", "refuse"]
    reason: str = ""


def decide(
    source: ObjectVersion | ListedObject,
    blob: BlobState | None,
    overwrite: Overwrite,
    integrity: str = AUTO,
    *,
    run: str = "",
) -> Decision:
    """Decide on one object.

    ====================================  ==============  ===========  =====================
    the blob                              if_changed      never        always
    ====================================  ==============  ===========  =====================
    does not exist                        copy            copy         copy
    is a copy of this version             unchanged       unchanged    copy
    the same, below the required level    copy            skip exists  copy
    is a copy whose proof is not done     copy            copy         copy
    is a copy of another version          copy            skip exists  copy
    is a copy of another object           refuse          skip exists  copy
    has no record of a copy               copy            skip exists  copy
    is an append or page blob             refuse          skip exists  refuse
    is a directory                        refuse          refuse       refuse
    ====================================  ==============  ===========  =====================

    Dates do not decide: the version that S3 shows as current may be older than the blob's, after a rollback. The copy
    reads its version only while S3 holds it, and replaces only the blob that was seen here, under its ETag.

    With ``always``, a blob that an earlier try of the same ``run`` has written is unchanged.
    """
    if blob is None:
        return Decision("copy")
    # A directory holds no bytes that overwrite=never could protect: the object would be left out, run after run.
    is_file = blob.blob_type != DIRECTORY
    if overwrite == ALWAYS:
        is_there = bool(run) and is_proven(source, blob, level=integrity, run=run)
    else:
        is_there = blob.holds(source) and is_as_strong(blob.verified_by, integrity)
    if is_file and is_there:
        return Decision("unchanged")
    if is_file and overwrite == NEVER and not blob.is_unproven_copy_of(source):
        return Decision("skip", DESTINATION_EXISTS)
    if blob.blob_type != BLOCK_BLOB:
        return Decision("refuse", WrongBlobType.reason())
    if overwrite != ALWAYS and blob.is_of_another(source):
        return Decision("refuse", _OF_ANOTHER_OBJECT)
    return Decision("copy")


def is_proven(
    source: ObjectVersion | ListedObject,
    blob: BlobState,
    *,
    level: str,
    checksum: str | None = None,
    run: str | None = None,
) -> bool:
    """Return whether the blob is a finished copy of this version, and its record holds at least this proof.

    Args:
        source: The version, with the time that it was last modified: the same bytes of another time may have other
            metadata.
        blob: The blob.
        level: The verification level that the copy needs, or one of ``options.INTEGRITY``.
        checksum: The checksum that the copy is verified by, as the record writes it; None: any.
        run: The run that must have written the blob; None: any.
    """
    if not blob.holds(source) or not is_of_the_same_time(source, blob):
        return False
    if run is not None and blob.metadata.get(record.RUN) != run:
        return False
    return bool(blob.verified_by) and is_as_strong(blob.verified_by, level) and checksum in (None, blob.checksum)


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


def is_of_the_same_time(source: ObjectVersion | ListedObject, blob: BlobState) -> bool:
    """Return whether the blob's version is of this version's time: equal bytes put later may have other metadata."""
    recorded = blob.source_last_modified
    return recorded is not None and not are_different(recorded, source.last_modified)


def is_copy_of_another(source: ObjectVersion | ListedObject, blob: BlobState) -> bool:
    """Return whether the blob is recorded to be a copy of another version of the object."""
    if blob.source_etag in (None, source.etag) or blob.source_last_modified is None:
        return False
    return not blob.is_of_another(source)


def is_copy_of_newer(source: ObjectVersion | ListedObject, blob: BlobState) -> bool:
    """Return whether the blob is recorded to be a copy of a version with a later date."""
    recorded = blob.source_last_modified
    return recorded is not None and is_later(recorded, source.last_modified)
