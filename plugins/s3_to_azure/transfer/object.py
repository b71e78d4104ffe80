"""One object from S3 to Azure: look up both sides, decide, upload it as its size requires, return its receipt."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from s3_to_azure.model import record
from s3_to_azure.model.decide import Decision, decide, is_copy_of_another, is_copy_of_newer
from s3_to_azure.model.errors import (
    S3,
    BlobOfAnotherObject,
    Cancelled,
    ConditionNotMet,
    ObjectArchived,
    SourceChanged,
    TransferError,
    UnexpectedResponse,
    WrongBlobType,
)
from s3_to_azure.model.names import check_key, is_folder_marker, is_reserved
from s3_to_azure.model.objects import BlobContents, BlobState, Condition, ListedObject, ObjectVersion, Receipt
from s3_to_azure.model.options import FAIL, SKIP, VIA_AZURE
from s3_to_azure.model.reasons import (
    ARCHIVED,
    DESTINATION_NEWER,
    FAILED,
    FOLDER_MARKER,
    METADATA_UPDATED,
    RESERVED_NAME,
    SKIPPED,
    UNCHANGED,
    WAITING_FOR_RESTORE,
    code_of,
)
from s3_to_azure.transfer.attempt import Attempt
from s3_to_azure.transfer.blocks import block_bytes_for
from s3_to_azure.transfer.concurrency import ObjectBacklog
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.integrity import VerificationLevel
from s3_to_azure.transfer.upload import BlockUpload, PartsLookedUp, upload_empty, upload_whole
from s3_to_azure.transfer.watchdog import run_stoppable


def copy_object(context: TransferContext, task: CopyTask, *, try_number: int = 1) -> Receipt:
    """Copy one object if it needs it; return the receipt once the commit is confirmed.

    Safe to repeat and to run twice at once: blocks that Azure holds of this very version are not sent again, and a
    commit happens only under the destination's state as first seen.

    Raises:
        TransferError: Nothing was committed; the destination is as it was, staged blocks stay.
        Cancelled: Stopped, within three seconds whatever the sockets do.
    """
    outcome = run_stoppable(lambda: try_copy(context, task, try_number=try_number), context.cancelled)
    if outcome.error:
        raise outcome.error
    return outcome.receipt


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of one object: its receipt, and the error if the receipt says ``failed``.

    The error's class tells whether a retry may help; the receipt holds only its reason as text.
    """

    receipt: Receipt
    error: TransferError | None = None


def try_copy(
    context: TransferContext, task: CopyTask, *, try_number: int = 1, backlog: ObjectBacklog | None = None
) -> Outcome:
    """Copy one object as ``copy_object`` does, but return a failure as a receipt.

    Args:
        context: What all copies of the task share.
        task: What to copy.
        try_number: Airflow's number of this try.
        backlog: The object's own, where it was counted before this call.

    Raises:
        Cancelled: Stopped from outside; there is no receipt.
    """
    backlog = backlog or context.backlog.begin()
    attempt = Attempt(context, task, try_number, backlog)
    try:
        return Outcome(_ObjectCopy(attempt).run())
    except Cancelled:
        raise
    except TransferError as error:
        version = ObjectVersion.of(task.listed) if task.listed else _unknown_version(attempt)
        return Outcome(attempt.stats.receipt(version, FAILED, reason=error.as_reason()), error)
    finally:
        backlog.end()


class _ObjectCopy:
    """Runs one attempt from the first request to the receipt.

    It starts again with the object's new version when S3 reports a change, and with the parts' real sizes when the
    guessed ones were wrong.
    """

    def __init__(self, attempt: Attempt) -> None:
        self._attempt = attempt
        self._lines = attempt.retrier.lines
        self._task = attempt.task
        self._context = attempt.context
        self._within = attempt.task.within
        self._total_counted = attempt.task.listed is not None
        self._seen: ObjectVersion | None = ObjectVersion.of(attempt.task.listed) if attempt.task.listed else None

    def run(self) -> Receipt:
        attempt, task = self._attempt, self._task
        if task.listed is not None and is_folder_marker(task.listed):
            return attempt.stats.receipt(ObjectVersion.of(task.listed), SKIPPED, reason=FOLDER_MARKER)
        if is_reserved(task.blob):
            version = ObjectVersion.of(task.listed) if task.listed else _unknown_version(attempt)
            return self._not_copied(version, Decision("skip", RESERVED_NAME), None)
        check_key(task.key)
        attempt.check_name()
        condition, blob = self._first_condition()
        if task.metadata_only and (receipt := self._update_metadata()):
            return receipt
        listed = task.listed
        changes = 0
        while True:
            try:
                return self._copy_version(listed, condition, blob)
            except SourceChanged:
                changes += 1
                if self._within is not None or changes > self._context.retrier.budget.source_changes:
                    raise
                self._lines.warning(
                    "S3 object %r changed during the copy: starting again with its new version", task.key
                )
                listed = None
            except ObjectArchived:
                if self._context.settings.fidelity.archived == FAIL:
                    raise
                return self._archived()
            except PartsLookedUp:
                self._lines.info("The parts of %r have different sizes: cutting it along them", task.key)
                # The tasks of the other ranges use another layout, so this one copies whatever is missing of the whole.
                self._within = None

    def _first_condition(self) -> tuple[Condition, BlobState | None]:
        """Return the condition of every write, and the blob if it had to be looked up for that."""
        if self._task.condition is not None:
            return self._task.condition, None
        blob = self._attempt.look_up_blob()
        return Condition.of(blob), blob

    # -- one version ---------------------------------------------------------------------------------------------

    def _copy_version(self, listed: ListedObject | None, condition: Condition, blob: BlobState | None) -> Receipt:
        attempt = self._attempt
        if listed is not None and 0 < listed.size_bytes <= self._one_request_bytes(listed.size_bytes):
            decision = self._decide(listed, blob)
            if decision.action != "copy":
                return self._not_copied(ObjectVersion.of(listed), decision, blob)
            attempt.stats.is_one_request()
            return upload_whole(attempt, ObjectVersion.of(listed), condition)
        # The first block's GET cannot stand for this HEAD: S3 sends the whole object's checksum with no range of it,
        # and the checksum decides how the object is cut and which digests its block ids carry.
        version = attempt.look_up_object()
        self._seen = version
        if listed is not None and version.etag != listed.etag and self._within is not None:
            raise SourceChanged(key=version.key, bucket=version.bucket, etag=listed.etag)
        if listed is not None:
            check_size(listed, version)
        if blob is None and (listed is None or version.etag != listed.etag):
            # The plan decided on another version, so this one may have been copied since.
            blob = self._planned_blob(condition)
        if not self._total_counted:
            self._total_counted = True
            self._context.progress.add(bytes_total=version.size_bytes)
        decision = self._decide(version, blob)
        if decision.action != "copy":
            return self._not_copied(version, decision, blob)
        return self._upload(version, condition)

    def _planned_blob(self, condition: Condition) -> BlobState | None:
        """Return the blob that the plan saw, or None if there was none or it has changed since."""
        blob = self._attempt.look_up_blob() if condition.etag is not None else None
        return blob if condition.fits(blob) else None

    def _upload(self, version: ObjectVersion, condition: Condition) -> Receipt:
        attempt, settings = self._attempt, self._context.settings
        version, level = attempt.integrity.at_its_level(version)
        if version.size_bytes == 0:
            return upload_empty(attempt, version, level, condition)
        if self._context.fetch_pool is not None:
            from s3_to_azure.transfer.fetched.upload import fetched_upload  # noqa: PLC0415 - only who wants it loads it

            upload = fetched_upload(attempt, version, self._context.fetch_pool, within=self._within)
            if upload is not None:
                return upload.run(condition)
        layout = level.layout(
            version.size_bytes,
            budget_bytes=settings.memory_budget_bytes,
            block_bytes=self._task.block_bytes or settings.block_bytes,
        )
        if len(layout) == 1 and self._reads_whole(level):
            return upload_whole(attempt, version, condition)
        return BlockUpload(attempt, version, layout, level, within=self._within).run(condition)

    def _reads_whole(self, level: VerificationLevel) -> bool:
        """Return whether this task reads all of an object of one block; the tasks of its other ranges stage nothing."""
        return self._within is None or (level.is_beyond_block_ids and self._within.start == 0)

    def _one_request_bytes(self, size_bytes: int) -> int:
        """Return the largest size that is copied in one request; 0 for a range of an object."""
        settings = self._context.settings
        if self._within is not None or size_bytes > settings.memory_budget_bytes or settings.via == VIA_AZURE:
            return 0
        return settings.block_bytes or block_bytes_for(size_bytes)

    def _decide(self, source: ObjectVersion | ListedObject, blob: BlobState | None) -> Decision:
        task = self._task
        settings = self._context.settings
        decision = decide(source, blob, settings.overwrite, settings.integrity, run=task.run)
        if decision.action != "copy" or blob is None or not is_copy_of_another(source, blob):
            return decision
        if self._context.source.reads_named_version:
            # The date alone is not enough: it counts in seconds.
            if is_copy_of_newer(source, blob) or self._attempt.current_etag() == blob.source_etag:
                return Decision("skip", DESTINATION_NEWER)
        elif is_copy_of_newer(source, blob):
            self._lines.info(
                "Blob %r is a copy of a later version than S3's current one, and is replaced by that", task.blob
            )
        return decision

    # -- objects that are not copied -----------------------------------------------------------------------------

    def _not_copied(self, version: ObjectVersion, decision: Decision, blob: BlobState | None) -> Receipt:
        attempt = self._attempt
        self._context.progress.add(bytes_total=-version.size_bytes)
        if decision.action == "refuse":
            where = {"blob": self._task.blob, "container": self._context.destination.container}
            if code_of(decision.reason) == BlobOfAnotherObject.reason():
                raise BlobOfAnotherObject(**where)
            raise WrongBlobType(**where, blob_type=blob.blob_type if blob else "unknown")
        if decision.action == UNCHANGED:
            return attempt.unchanged(version, blob)
        return attempt.stats.receipt(version, SKIPPED, reason=decision.reason)

    def _archived(self) -> Receipt:
        """Skip an object that cannot be read yet; ask S3 to restore it where the user wants that."""
        attempt, chosen, task = self._attempt, self._context.settings.fidelity, self._task
        version = self._seen or _unknown_version(attempt)
        self._context.progress.add(bytes_total=-version.size_bytes)
        if chosen.archived == SKIP:
            return attempt.stats.receipt(version, SKIPPED, reason=ARCHIVED)
        started = attempt.retrier.call(
            f"ask S3 to restore {task.key!r}",
            lambda: self._context.source.restore(
                task.bucket, task.key, days=chosen.restore_days, tier=chosen.restore_tier
            ),
        )
        self._lines.info(
            "%r is archived: %s", task.key, "asked S3 to restore it" if started else "its restore is in progress"
        )
        return attempt.stats.receipt(version, SKIPPED, reason=WAITING_FOR_RESTORE)

    # -- the same bytes, other metadata --------------------------------------------------------------------------

    def _update_metadata(self) -> Receipt | None:
        """Update metadata and headers of a blob that holds these bytes; None where the object must be copied after all.

        That is so where the blob no longer holds the object's version. Tags and tier are left as they are.

        Raises:
            TransferError: One of the services refused.
        """
        attempt, task, destination = self._attempt, self._task, self._context.destination
        version = attempt.look_up_object()
        refused = False
        for _ in range(1 + attempt.retrier.budget.commit_rounds):
            blob = attempt.look_up_blob()
            if blob is None or not blob.holds(version):
                break
            contents = self._updated_contents(version, blob)
            if _has_contents(blob, contents):
                return attempt.unchanged(version, blob, reason=METADATA_UPDATED if refused else "")
            try:
                attempt.retrier.call(
                    f"update the metadata of {task.blob!r}",
                    partial(destination.update, task.blob, contents, Condition.of(blob)),
                )
            except ConditionNotMet:
                # Somebody wrote the blob, or an answer was lost to this attempt, perhaps between the update's two
                # requests: the blob itself shows what is left to do.
                refused = True
                continue
            self._lines.info("%r has the same bytes: updated the metadata of blob %r", task.key, task.blob)
            return attempt.unchanged(version, blob, reason=METADATA_UPDATED)
        # The plan counted no bytes for this object.
        self._context.progress.add(bytes_total=task.listed.size_bytes if task.listed else 0)
        return None

    def _updated_contents(self, version: ObjectVersion, blob: BlobState) -> BlobContents:
        """Return the blob's new metadata and headers, with the recorded proof: the bytes are not verified again."""
        contents = self._attempt.contents(version)
        proof = {record.VERIFIED_BY: blob.verified_by, record.CHECKSUM: blob.checksum}
        own = {name: text for name, text in contents.metadata.items() if name not in proof}
        return replace(contents, metadata=own | {name: text for name, text in proof.items() if text})


def _has_contents(blob: BlobState, contents: BlobContents) -> bool:
    return blob.metadata == _lower_names(contents.metadata) and blob.headers == contents.headers


def _lower_names(metadata: Mapping[str, str]) -> dict[str, str]:
    return {name.lower(): text for name, text in metadata.items()}


def check_size(listed: ListedObject, version: ObjectVersion) -> None:
    """Raise if HEAD shows the listed version with another size.

    Raises:
        UnexpectedResponse: It does: one of the two is wrong.
    """
    if version.etag == listed.etag and version.size_bytes != listed.size_bytes:
        detail = f"HEAD shows {version.size_bytes} bytes, and the listing {listed.size_bytes} for the same ETag"
        raise UnexpectedResponse(service=S3, resource=repr(f"s3://{version.bucket}/{version.key}"), detail=detail)


def _unknown_version(attempt: Attempt) -> ObjectVersion:
    """Return what a receipt says of an object that was never looked up."""
    return ObjectVersion(attempt.task.bucket, attempt.task.key, "", 0, attempt.stats.started_at)
