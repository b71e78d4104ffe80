"""The commit under its condition, and the meaning of each answer that is not a success."""

from collections.abc import Callable
from dataclasses import dataclass

from s3_to_azure.model import record
from s3_to_azure.model.decide import is_copy_of_another, is_copy_of_newer, is_of_the_same_time, is_proven
from s3_to_azure.model.errors import (
    BlobImmutable,
    BlobLeased,
    BlobOfAnotherObject,
    BlockListRefused,
    ConditionNotMet,
    DestinationConflict,
    TransferError,
    TransientError,
)
from s3_to_azure.model.objects import BlobContents, BlobState, Condition, ObjectVersion
from s3_to_azure.model.ports import BlobDestination
from s3_to_azure.model.retry import Retrier


class LeftoverBlocks(ConditionNotMet):
    """Put Blob was refused because of leftover uncommitted blocks; the object must be uploaded as blocks."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One write that makes the blob visible.

    Attributes:
        contents: What the write gives the blob beside its bytes; its metadata is the record of this copy.
        write: Sends the write under the given condition; returns the new ETag.
        restage: Lists the staged blocks and stages again what Azure no longer holds. None for Put Blob, which stages
            nothing.
        current_etag: Returns the ETag of S3's current version. The commit may replace a copy of another version that
            was written meanwhile if its own version is that one.
        may_replace: False for ``overwrite="never"``: no blob is replaced but one that a copy left unproven.
    """

    version: ObjectVersion
    blob: str
    contents: BlobContents
    write: Callable[[Condition], str]
    restage: Callable[[], None] | None
    current_etag: Callable[[], str | None]
    may_replace: bool = True

    def is_done(self, found: BlobState) -> bool:
        """Return whether the blob is what this commit writes, by the whole record that the commit writes itself.

        Where the user asked that every blob be written again, this run must have written it. A blob that is to be read
        back is not proven before that, by whatever copy it was written.
        """
        own = self.contents.metadata
        level, run = own[record.VERIFIED_BY], own.get(record.RUN)
        if level != record.READBACK_PENDING:
            checksum = own.get(record.CHECKSUM, "")
            return is_proven(self.version, found, level=level, checksum=checksum, run=run)
        if run not in (None, found.metadata.get(record.RUN)):
            return False
        is_damaged = found.metadata.get(record.VERIFIED_BY) == record.DAMAGED
        return found.is_copy_of(self.version) and is_of_the_same_time(self.version, found) and not is_damaged


@dataclass(frozen=True, slots=True)
class Committed:
    """A blob that holds the version.

    Attributes:
        etag: The blob's ETag.
        by_another: No write of this commit can have made it.
    """

    etag: str
    by_another: bool = False


def commit(destination: BlobDestination, step: Commit, condition: Condition, retrier: Retrier) -> Committed:
    """Write under the condition captured at the start; after an unclear answer, look up the blob.

    Idempotent: a second commit of the same version finds that version there, which counts as success.

    Raises:
        DestinationConflict: Someone else wrote the blob.
        BlobOfAnotherObject: The copy of another object wrote it.
        LeftoverBlocks: Put Blob was refused although the blob does not exist.
        TransientError: All tries failed.
    """
    attempts = _Attempts(destination, step, retrier)
    while True:
        try:
            return Committed(step.write(condition))
        except (ConditionNotMet, BlockListRefused, BlobImmutable, BlobLeased, TransientError) as error:
            found = retrier.call(f"look up blob {step.blob!r}", lambda: destination.head(step.blob))
            attempts.note(error)
            # A copy of this version that still has the earlier ETag is the one to be replaced: nothing was written.
            if found is not None and not condition.fits(found) and step.is_done(found):
                retrier.lines.info(
                    "Blob %r already holds this version: an answer was lost, or another worker committed it",
                    step.blob,
                )
                return Committed(found.etag, by_another=not attempts.maybe_written)
            condition = attempts.next_condition(error, condition, found)


class _Attempts:
    """What a commit has tried, and what it may still try after an answer that is not a success.

    Attributes:
        maybe_written: An answer was lost, so one of the writes may have happened.
    """

    def __init__(self, destination: BlobDestination, step: Commit, retrier: Retrier) -> None:
        self.maybe_written = False
        self._destination = destination
        self._step = step
        self._retrier = retrier
        self._lines = retrier.lines
        self._failures = self._rounds = self._taken = 0
        self._replaced_another = False

    def note(self, error: TransferError) -> None:
        """Note an answer that is not a success."""
        self.maybe_written |= isinstance(error, TransientError)

    def next_condition(self, error: TransferError, condition: Condition, found: BlobState | None) -> Condition:
        """Prepare the next write, and return its condition.

        Raises:
            TransferError: No further write can help.
        """
        if isinstance(error, (BlobImmutable, BlobLeased)):
            raise error
        if condition.fits(found):
            self._prepare_again(error, found)
            return condition
        if found is not None and self._may_replace(found):
            return Condition.of(found)
        raise _refusal(self._destination, self._step, found) from error

    def _prepare_again(self, error: TransferError, found: BlobState | None) -> None:
        """Do what lets the same write succeed: nothing was written, and the blob is as expected."""
        step, budget = self._step, self._retrier.budget
        if isinstance(error, TransientError):
            self._failures += 1
            if self._failures >= budget.attempts:
                raise error
            self._retrier.pause(self._failures, error)
            return
        if isinstance(error, BlockListRefused) and step.restage and self._rounds < budget.commit_rounds:
            self._rounds += 1
            self._lines.warning(
                "Azure no longer holds every block of %r: staging again, round %d", step.blob, self._rounds
            )
            step.restage()
            return
        if isinstance(error, ConditionNotMet) and found is None and step.restage is None:
            raise LeftoverBlocks(**error.attributes) from error
        raise _conflict(self._destination, step.blob, error.reason()) from error

    def _may_replace(self, found: BlobState) -> bool:
        """Return whether a blob that was written meanwhile is to be replaced, under its own ETag."""
        step = self._step
        if _is_unreliable(found, step) and self._taken < self._retrier.budget.commit_rounds:
            self._taken += 1
            self._lines.warning("Blob %r calls itself this copy, and does not prove it: writing it again", step.blob)
            return True
        if not self._replaced_another and _is_outdated(found, step):
            self._replaced_another = True
            self._lines.warning(
                "Blob %r was written from a version that is not the object's current one: replacing that copy",
                step.blob,
            )
            return True
        return False


def _is_unreliable(found: BlobState, step: Commit) -> bool:
    """Return whether the blob calls itself a copy of this version, and what it says is no proof of that.

    One of a later date is a copy of another version: equal bytes have equal ETags, also when they were put again.
    """
    if is_copy_of_newer(step.version, found):
        return False
    if found.is_unproven_copy_of(step.version):
        return True
    return step.may_replace and found.is_copy_of(step.version)


def _is_outdated(found: BlobState, step: Commit) -> bool:
    """Return whether the blob is a copy of another version, and S3's current version is the one to commit.

    S3 is asked after the blob was looked up: a version that becomes current later changes the blob's ETag when it is
    copied, so that it is never replaced.
    """
    if not step.may_replace or not is_copy_of_another(step.version, found):
        return False
    return step.current_etag() == step.version.etag


def _refusal(destination: BlobDestination, step: Commit, found: BlobState | None) -> TransferError:
    if found is None:
        return _conflict(destination, step.blob, "it was deleted")
    if found.is_of_another(step.version):
        return BlobOfAnotherObject(blob=step.blob, container=destination.container)
    is_newer = is_copy_of_newer(step.version, found)
    detail = "it holds a newer version of the object" if is_newer else "it holds something else now"
    return _conflict(destination, step.blob, detail)


def _conflict(destination: BlobDestination, blob: str, detail: str) -> DestinationConflict:
    return DestinationConflict(blob=blob, container=destination.container, detail=detail)
