"""One object from S3 to Azure: look at both sides, decide, copy it the way that its size asks for, give its receipt."""

import logging
from dataclasses import dataclass, replace
from typing import Final

from s3_to_azure.model.decide import Decision, decide
from s3_to_azure.model.errors import (
    Cancelled,
    ConditionNotMet,
    ObjectArchived,
    SourceChanged,
    TransferError,
    WrongBlobType,
)
from s3_to_azure.model.names import check_blob, check_key, is_folder_marker
from s3_to_azure.model.objects import BlobState, Condition, ListedObject, ObjectVersion, Receipt
from s3_to_azure.model.options import FAIL, SKIP
from s3_to_azure.model.reasons import (
    ARCHIVED,
    DESTINATION_NEWER,
    FAILED,
    FOLDER_MARKER,
    METADATA_UPDATED,
    SKIPPED,
    WAITING_FOR_RESTORE,
)
from s3_to_azure.transfer import blocks as cutting
from s3_to_azure.transfer.attempt import ObjectCopy
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.upload import BlockCopy, PartsLookedUp, copy_empty, copy_whole
from s3_to_azure.transfer.watchdog import run_stoppable

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
    task, destination = copy.task, copy.context.destination
    version = copy.look_at_object()
    blob = copy.look_at_blob()
    if blob is None or not blob.holds(version) or not condition.fits(blob):
        return None
    contents = copy.properties.contents(version)
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


def copy_object(context: TransferContext, task: CopyTask, *, try_number: int = 1) -> Receipt:
    """Copy one object if it needs it; return the receipt once the commit is confirmed.

    Safe to repeat and to run twice at once: what Azure holds of this very version is not sent again, and a commit
    happens only under the destination's state as first seen.

    Raises:
        TransferError: Nothing was committed; the destination is as it was, staged blocks stay.
        Cancelled: Stopped, within three seconds whatever the sockets do.
    """
    outcome = run_stoppable(lambda: attempt(context, task, try_number=try_number), context.cancelled)
    if outcome.error:
        raise outcome.error
    return outcome.receipt


@dataclass(frozen=True, slots=True)
class Outcome:
    """A receipt, and for one that says ``failed`` the error behind it."""

    receipt: Receipt
    error: TransferError | None = None


def attempt(context: TransferContext, task: CopyTask, *, try_number: int = 1) -> Outcome:
    """Copy one object as ``copy_object`` does, but return its failure as a receipt.

    Raises:
        Cancelled: Stopped from outside; there is no receipt.
    """
    copy = ObjectCopy(context, task, try_number)
    try:
        return Outcome(_Transfer(copy).run())
    except Cancelled:
        raise
    except TransferError as error:
        version = ObjectVersion.of(task.listed) if task.listed else _unseen(copy)
        return Outcome(copy.stats.receipt(version, FAILED, reason=error.as_reason()), error)


class _Transfer:
    """One object's way from the first look to its receipt."""

    def __init__(self, copy: ObjectCopy) -> None:
        self._copy = copy
        self._context = copy.context
        self._size_known = False
        self._seen: ObjectVersion | None = ObjectVersion.of(copy.task.listed) if copy.task.listed else None

    def run(self) -> Receipt:
        copy, task = self._copy, self._copy.task
        if task.listed is not None and is_folder_marker(task.listed):
            return copy.stats.receipt(ObjectVersion.of(task.listed), SKIPPED, reason=FOLDER_MARKER)
        check_key(task.key)
        check_blob(task.blob)
        condition, blob = self._condition()
        if task.metadata_only and (updated := self._updated(condition)):
            return updated
        listed = task.listed
        changes = 0
        while True:
            try:
                return self._copy_version(listed, condition, blob)
            except SourceChanged:
                changes += 1
                if copy.task.within is not None or changes > self._context.retrier.budget.source_changes:
                    raise
                log.warning("S3 object %r changed during the copy: starting again with its new version", task.key)
                listed = None
            except ObjectArchived:
                if self._context.settings.fidelity.archived == FAIL:
                    raise
                return self._archived()
            except PartsLookedUp:
                log.info("The parts of %r have sizes of their own: cutting it along them", task.key)
                # Its siblings cut it otherwise, so this one copies what is missing of the whole.
                copy.task = replace(copy.task, within=None)

    def _condition(self) -> tuple[Condition, BlobState | None]:
        """Return the condition of every write, and the blob if it had to be looked at for that."""
        if self._copy.task.condition is not None:
            return self._copy.task.condition, None
        blob = self._copy.look_at_blob()
        return Condition.of(blob), blob

    def _updated(self, condition: Condition) -> Receipt | None:
        """Bring the blob's metadata up to date; None where the object is to be copied after all."""
        found = update_metadata(self._copy, condition)
        if found is None:
            listed = self._copy.task.listed
            self._context.progress.add(bytes_total=listed.size_bytes if listed else 0)
            return None
        return self._copy.unchanged(found.version, found.blob, reason=METADATA_UPDATED)

    def _copy_version(self, listed: ListedObject | None, condition: Condition, blob: BlobState | None) -> Receipt:
        copy, context, task = self._copy, self._context, self._copy.task
        if listed is not None and 0 < listed.size_bytes <= self._one_block_bytes(listed.size_bytes):
            decision = self._decide(listed, blob)
            if decision.action != "copy":
                return self._left_out(ObjectVersion.of(listed), decision, blob)
            return copy_whole(copy, ObjectVersion.of(listed), condition)
        version = copy.look_at_object()
        self._seen = version
        if listed is not None and version.etag != listed.etag and task.within is not None:
            raise SourceChanged(key=version.key, bucket=version.bucket, etag=listed.etag)
        if task.listed is None and not self._size_known:
            self._size_known = True
            context.progress.add(bytes_total=version.size_bytes)
        decision = self._decide(version, blob)
        if decision.action != "copy":
            return self._left_out(version, decision, blob)
        version, level = copy.integrity.at_its_level(version)
        if version.size_bytes == 0:
            return copy_empty(copy, version, level, condition)
        layout = level.layout(
            version.size_bytes,
            budget_bytes=context.settings.memory_budget_bytes,
            block_bytes=task.block_bytes or context.settings.block_bytes,
        )
        if len(layout) == 1 and task.within is None:
            return copy_whole(copy, version, condition)
        return BlockCopy(copy, version, layout).run(condition)

    def _one_block_bytes(self, size_bytes: int) -> int:
        """Return up to which size an object goes in one request; 0 for a part of an object."""
        settings = self._context.settings
        if self._copy.task.within is not None or size_bytes > settings.memory_budget_bytes:
            return 0
        return settings.block_bytes or cutting.block_bytes_for(size_bytes)

    def _decide(self, source: ObjectVersion | ListedObject, blob: BlobState | None) -> Decision:
        task = self._copy.task
        decision = decide(source, blob, self._context.settings.overwrite)
        if decision.action == "copy" and blob is not None and blob.source_etag not in (None, source.etag):
            # A named version may be older than one of the same second, and dates count in seconds.
            current = self._copy.retrier.call(
                f"look at {task.key!r}", lambda: self._context.source.current_etag(task.bucket, task.key)
            )
            if current == blob.source_etag:
                return Decision("skip", DESTINATION_NEWER)
        return decision

    def _left_out(self, version: ObjectVersion, decision: Decision, blob: BlobState | None) -> Receipt:
        copy = self._copy
        self._context.progress.add(bytes_total=-version.size_bytes)
        if decision.action == "refuse":
            raise WrongBlobType(
                blob=copy.task.blob,
                container=self._context.destination.container,
                blob_type=blob.blob_type if blob else "unknown",
            )
        if decision.action == "unchanged":
            return copy.unchanged(version, blob)
        return copy.stats.receipt(version, SKIPPED, reason=decision.reason)

    def _archived(self) -> Receipt:
        """Leave out an object that cannot be read yet; ask for it to be restored, where that is wanted."""
        copy, choices, task = self._copy, self._context.settings.fidelity, self._copy.task
        version = self._seen or _unseen(copy)
        self._context.progress.add(bytes_total=-version.size_bytes)
        if choices.archived == SKIP:
            return copy.stats.receipt(version, SKIPPED, reason=ARCHIVED)
        asked = copy.retrier.call(
            f"ask S3 to restore {task.key!r}",
            lambda: self._context.source.restore(
                task.bucket, task.key, days=choices.restore_days, tier=choices.restore_tier
            ),
        )
        log.info("%r is archived: %s", task.key, "asked S3 to restore it" if asked else "its restore is in progress")
        return copy.stats.receipt(version, SKIPPED, reason=WAITING_FOR_RESTORE)


def _unseen(copy: ObjectCopy) -> ObjectVersion:
    """Return what a receipt says of an object that nobody has looked at."""
    return ObjectVersion(copy.task.bucket, copy.task.key, "", 0, copy.stats.started)
