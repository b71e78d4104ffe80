"""An object that was written again with the same bytes: bring its blob's metadata and headers up to date."""

import logging
from dataclasses import dataclass, replace
from typing import Final

from s3_to_azure.engine.object_copy import ObjectCopy
from s3_to_azure.model.errors import ConditionNotMet
from s3_to_azure.model.objects import BlobState, Condition, ObjectVersion

# What the copy of the bytes recorded stays true, and is not proven anew.
_OF_THE_BYTES: Final = ("s3_checksum", "s3_verified_by")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Updated:
    """The object's version, and its blob as it was."""

    version: ObjectVersion
    blob: BlobState


def update_metadata(copy: ObjectCopy, condition: Condition) -> Updated | None:
    """Update the blob under the plan's condition; None where object or blob are no longer as planned.

    Then the object is to be copied as any other, under the same condition. Tags and tier are left as they are.

    Raises:
        TransferError: One of the services refused.
    """
    task, destination = copy.task, copy.shop.destination
    version = copy.look_at_object()
    blob = copy.look_at_blob()
    if blob is None or not blob.holds(version) or not condition.fits(blob):
        return None
    contents = copy.belongings.contents(version)
    own = {name: value for name, value in contents.metadata.items() if name not in _OF_THE_BYTES}
    kept = {name: blob.metadata[name] for name in _OF_THE_BYTES if name in blob.metadata}
    contents = replace(contents, metadata=own | kept)
    try:
        copy.retrier.call(
            f"update the metadata of {task.blob!r}", lambda: destination.update(task.blob, contents, condition)
        )
    except ConditionNotMet:
        # Written by somebody since, or by a try of ours whose answer was lost: the next plan sees which.
        found = copy.look_at_blob()
        wanted = {name.lower(): value for name, value in contents.metadata.items()}
        if found is None or not found.holds(version) or found.metadata != wanted:
            return None
    log.info("%r has the same bytes: updated the metadata of blob %r", task.key, task.blob)
    return Updated(version, blob)
