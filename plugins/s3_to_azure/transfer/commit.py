"""The commit under its condition, and the meaning of each answer that is not a success."""

import logging
from collections.abc import Callable
from dataclasses import dataclass

from s3_to_azure.model.decide import is_copy_of_another, is_copy_of_newer
from s3_to_azure.model.errors import BlockListRefused, ConditionNotMet, DestinationConflict, TransientError
from s3_to_azure.model.objects import BlobState, Condition, ObjectVersion
from s3_to_azure.model.ports import BlobDestination
from s3_to_azure.model.retry import Retrier

log = logging.getLogger(__name__)


class LeftoverBlocks(ConditionNotMet):
    """Put Blob was refused because of leftover uncommitted blocks; the object must be uploaded as blocks."""


@dataclass(frozen=True, slots=True)
class Commit:
    """One write that makes the blob visible.

    Attributes:
        write: Sends the write under the given condition; returns the new ETag.
        restage: Lists the staged blocks and stages again what Azure no longer holds. None for Put Blob, which stages
            nothing.
        current_etag: Returns the ETag of S3's current version. The commit may replace a copy of another version that
            was written meanwhile if its own version is that one. None for ``overwrite="never"``: no copy is replaced.
    """

    version: ObjectVersion
    blob: str
    write: Callable[[Condition], str]
    restage: Callable[[], None] | None
    current_etag: Callable[[], str | None] | None = None


def commit(destination: BlobDestination, step: Commit, condition: Condition, retrier: Retrier) -> str:
    """Write under the condition captured at the start; after an unclear answer, look up the blob. Return its ETag.

    Idempotent: a second commit of the same version finds that version there, which counts as success.

    Raises:
        DestinationConflict: Someone else wrote the blob.
        LeftoverBlocks: Put Blob was refused although the blob does not exist.
        TransientError: All tries failed.
    """
    failures = rounds = 0
    replaced_another = False
    while True:
        try:
            return step.write(condition)
        except (ConditionNotMet, BlockListRefused, TransientError) as error:
            found = retrier.call(f"look up blob {step.blob!r}", lambda: destination.head(step.blob))
            # A copy of this version that still has the earlier ETag is the one to be replaced: nothing was written.
            if found is not None and found.holds(step.version) and not condition.fits(found):
                log.info(
                    "Blob %r already holds this version: an answer was lost, or another worker committed it", step.blob
                )
                return found.etag
            if condition.fits(found):
                if isinstance(error, BlockListRefused) and step.restage and rounds < retrier.budget.commit_rounds:
                    rounds += 1
                    log.warning("Azure no longer holds every block of %r: staging again, round %d", step.blob, rounds)
                    step.restage()
                    continue
                if isinstance(error, ConditionNotMet) and found is None and step.restage is None:
                    raise LeftoverBlocks(**error.attributes) from error
                if isinstance(error, TransientError) and failures + 1 < retrier.budget.attempts:
                    failures += 1
                    retrier.pause(failures, error)
                    continue
                if isinstance(error, TransientError):
                    raise
                raise _conflict(destination, step.blob, error.reason()) from error
            if found is not None and not replaced_another and _is_outdated(found, step):
                replaced_another = True
                log.warning(
                    "Blob %r was written from a version that is not the object's current one: replacing that copy",
                    step.blob,
                )
                condition = Condition.of(found)
                continue
            raise _conflict(destination, step.blob, _describe(step.version, found)) from error


def _is_outdated(found: BlobState, step: Commit) -> bool:
    """Return whether the blob is a copy of another version, and S3's current version is the one to commit.

    S3 is asked after the blob was looked up: a version that becomes current later changes the blob's ETag when it is
    copied, so that it is never replaced.
    """
    if step.current_etag is None or not is_copy_of_another(step.version, found):
        return False
    return step.current_etag() == step.version.etag


def _describe(version: ObjectVersion, found: BlobState | None) -> str:
    if found is None:
        return "it was deleted"
    if is_copy_of_newer(version, found):
        return "it holds a newer version of the object"
    return "it holds something else now"


def _conflict(destination: BlobDestination, blob: str, detail: str) -> DestinationConflict:
    return DestinationConflict(blob=blob, container=destination.container, detail=detail)
