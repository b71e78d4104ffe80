"""Faults put into the engine by hand: each breaks a promise, and the chaos test must find it."""

import hashlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Final

import pytest

from s3_to_azure.model import decide, retry
from s3_to_azure.model.decide import Decision
from s3_to_azure.model.errors import DestinationConflict, ObjectNotFound, TransientError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.objects import BlobState, Condition, ListedObject, ObjectVersion, Receipt
from s3_to_azure.model.reasons import SKIPPED, SOURCE_DELETED
from s3_to_azure.runs import batch, reconcile
from s3_to_azure.runs.batch_slice import BatchSlice
from s3_to_azure.runs.report import Report
from s3_to_azure.state import receipts
from s3_to_azure.state.entries import PlanEntry
from s3_to_azure.state.receipts import ReceiptWriter
from s3_to_azure.transfer import blocks, commit, integrity
from s3_to_azure.transfer import object as one_object
from s3_to_azure.transfer.object import Outcome
from s3_to_azure.transfer.pipeline import BlockPipeline
from s3_to_azure.transfer.pool import Tally
from s3_to_azure.transfer.throttle import LimitedDestination, LimitedSource

Breakage = Callable[[pytest.MonkeyPatch], None]
BREAKAGES: Final[dict[str, Breakage]] = {}


def breakage(breaks: Breakage) -> Breakage:
    """Register a fault under the name of its function."""
    BREAKAGES[breaks.__name__] = breaks
    return breaks


def everywhere(patch: pytest.MonkeyPatch, original: Callable[..., Any], broken: Callable[..., Any]) -> None:
    """Replace a function in every module of the engine that has imported it."""
    for name, module in list(sys.modules.items()):
        if name.startswith("s3_to_azure.") and getattr(module, original.__name__, None) is original:
            patch.setattr(module, original.__name__, broken)


# -- the destination's condition -----------------------------------------------------------------------------------


@breakage
def commits_without_condition(patch: pytest.MonkeyPatch) -> None:
    """Commit whatever the blob has become since the plan."""
    for name in ("commit", "put_blob"):
        original = getattr(LimitedDestination, name)

        def send(self: Any, blob: str, *given: Any, original: Any = original) -> str:
            return str(original(self, blob, *given[:-1], Condition.of(self._destination._real.head(blob))))

        patch.setattr(LimitedDestination, name, send)


@breakage
def takes_any_refusal_for_done(patch: pytest.MonkeyPatch) -> None:
    """Take a refused commit for another worker's success."""
    original = commit.commit

    def broken(*given: Any, **named: Any) -> Any:
        try:
            return original(*given, **named)
        except DestinationConflict:
            return getattr(commit, "Committed", str)("etag")

    everywhere(patch, original, broken)


@breakage
def takes_a_lost_answer_for_success(patch: pytest.MonkeyPatch) -> None:
    """Do not look up what became of a commit without an answer."""
    original = commit.commit

    def broken(destination: Any, step: Any, *given: Any, **named: Any) -> Any:
        def write(condition: Condition) -> str:
            try:
                return str(step.write(condition))
            except TransientError:
                return "etag"

        return original(destination, replace(step, write=write), *given, **named)

    everywhere(patch, original, broken)


@breakage
def replaces_whatever_copy_it_finds(patch: pytest.MonkeyPatch) -> None:
    """Replace another copy without asking S3 which version is the current one."""
    patch.setattr(commit, "_is_outdated", lambda *given: True)


@breakage
def replaces_with_overwrite_never(patch: pytest.MonkeyPatch) -> None:
    """Decide as with ``if_changed``."""
    original = decide.decide

    def broken(source: Any, blob: Any, _: str, *given: Any) -> Decision:
        return original(source, blob, "if_changed", *given)

    everywhere(patch, original, broken)


# -- whose copy a blob is ------------------------------------------------------------------------------------------


@breakage
def takes_any_copy_of_the_size_for_its_own(patch: pytest.MonkeyPatch) -> None:
    """Compare sizes, not ETags."""

    def broken(self: BlobState, version: ObjectVersion | ListedObject) -> bool:
        return self.source_etag is not None and self.size_bytes == version.size_bytes

    patch.setattr(BlobState, "holds", broken)


@breakage
def takes_any_copy_for_unchanged(patch: pytest.MonkeyPatch) -> None:
    """Leave every blob alone that records a copy."""
    original = decide.decide

    def broken(source: Any, blob: Any, *given: Any) -> Decision:
        if blob is not None and blob.source_etag is not None:
            return Decision("unchanged")
        return original(source, blob, *given)

    everywhere(patch, original, broken)


# -- one version, the right bytes ----------------------------------------------------------------------------------


@breakage
def reads_whatever_version_is_there(patch: pytest.MonkeyPatch) -> None:
    """Send no If-Match with a GET."""
    original = LimitedSource.open

    @contextmanager
    def broken(self: Any, version: Any, start: int = 0, end: int | None = None) -> Iterator[Any]:
        current = self._source._source.head(version.bucket, version.key)
        end = None if end is None else min(end, current.size_bytes)
        now = replace(version, etag=current.etag) if end is None or start < end else version
        with original(self, now, start, end) as body:
            yield body

    patch.setattr(LimitedSource, "open", broken)


@breakage
def mixes_blocks_of_two_versions(patch: pytest.MonkeyPatch) -> None:
    """Make the fingerprint of a block without the ETag."""

    def broken(version: ObjectVersion | ListedObject) -> bytes:
        return hashlib.sha256(repr((version.bucket, version.key, version.size_bytes)).encode()).digest()[:8]

    everywhere(patch, blocks.fingerprint, broken)
    everywhere(patch, integrity.matches, lambda version, actual: True)


@breakage
def verifies_nothing(patch: pytest.MonkeyPatch) -> None:
    """Commit without comparing checksums."""
    everywhere(patch, integrity.matches, lambda version, actual: True)


@breakage
def takes_one_reading_for_two(patch: pytest.MonkeyPatch) -> None:
    """Say ``reread`` after one reading."""
    level_name = integrity.IntegrityCheck.level_name

    def twice(self: Any, version: ObjectVersion) -> str:
        asked = version.checksum is None and self._context.settings.integrity == "reread"
        return "reread" if asked else level_name(self, version)

    patch.setattr(integrity.IntegrityCheck, "level_name", twice)
    patch.setattr(integrity.IntegrityCheck, "needs_second_reading", lambda self, version: False)


@breakage
def records_the_version_that_was_listed(patch: pytest.MonkeyPatch) -> None:
    """Write the receipt of another version than the one that was copied."""
    original = one_object._ObjectCopy.run

    def broken(self: Any) -> Receipt:
        receipt = original(self)
        listed = self._attempt.task.listed
        return replace(receipt, etag=listed.etag, size_bytes=listed.size_bytes)

    patch.setattr(one_object._ObjectCopy, "run", broken)


@breakage
def counts_blocks_before_the_answer(patch: pytest.MonkeyPatch) -> None:
    """Count a block as staged although the request failed, and commit what Azure holds of it."""
    original = BlockPipeline._stage

    def broken(self: Any, route: Any, block: Any, retrier: Any, on_staged: Any, stopped: Any) -> None:
        try:
            original(self, route, block, retrier, on_staged, stopped)
        except TransientError:
            return

    patch.setattr(BlockPipeline, "_stage", broken)


# -- the accounts --------------------------------------------------------------------------------------------------


@breakage
def drops_receipts(patch: pytest.MonkeyPatch) -> None:
    """Lose the receipt of every third key."""
    original = ReceiptWriter.add

    def broken(self: Any, receipt: Receipt) -> None:
        if len(receipt.key) % 3:
            original(self, receipt)

    patch.setattr(ReceiptWriter, "add", broken)


@breakage
def takes_failed_objects_for_finished(patch: pytest.MonkeyPatch) -> None:
    """Copy nothing again that has a receipt."""
    everywhere(patch, receipts.settles, lambda receipt: True)


@breakage
def hides_failed_objects_from_airflow(patch: pytest.MonkeyPatch) -> None:
    """Let the task succeed."""
    patch.setattr(Tally, "error", lambda self: None)


@breakage
def leaves_the_last_object_of_a_batch_out(patch: pytest.MonkeyPatch) -> None:
    """Copy all but one of a batch."""
    original = BatchSlice.entries

    def broken(self: Any) -> Iterator[PlanEntry]:
        found = list(original(self))
        return iter(found[:-1] if len(found) > 1 else found)

    patch.setattr(BatchSlice, "entries", broken)


@breakage
def reports_every_run_as_green(patch: pytest.MonkeyPatch) -> None:
    """Raise no error for failed objects."""
    patch.setattr(Report, "error", lambda self: None)


@breakage
def reports_missing_receipts_as_unchanged(patch: pytest.MonkeyPatch) -> None:
    """Take an object without a receipt for one that needed nothing."""
    original = reconcile._PlannedObjects._receipt

    def broken(self: Any, listed: Any, status: Any, reason: str) -> Receipt:
        missing = reason in (reconcile.NO_RECEIPT, reconcile.UNPLANNED)
        return original(self, listed, "unchanged" if missing else status, reason)

    patch.setattr(reconcile._PlannedObjects, "_receipt", broken)


@breakage
def takes_every_404_for_a_deletion(patch: pytest.MonkeyPatch) -> None:
    """Do not ask whether the object is still listed."""

    def broken(context: Any, outcome: Outcome) -> Outcome:
        if not isinstance(outcome.error, ObjectNotFound):
            return outcome
        return Outcome(replace(outcome.receipt, status=SKIPPED, reason=SOURCE_DELETED))

    patch.setattr(batch, "_deleted_since_listing", broken)


@breakage
def ends_a_listing_at_its_first_error(patch: pytest.MonkeyPatch) -> None:
    """Take a failed page for the end."""

    def broken(items: Any, *_: Any) -> Iterator[Any]:
        try:
            yield from items
        except TransientError:
            return

    everywhere(patch, retry.with_retries, broken)


# -- nothing else is touched ---------------------------------------------------------------------------------------


@breakage
def copies_what_the_filters_leave_out(patch: pytest.MonkeyPatch) -> None:
    """Ignore the filters."""
    patch.setattr(Filters, "reason_to_skip", lambda self, listed: None)


@breakage
def forgets_the_prefix_of_the_blobs(patch: pytest.MonkeyPatch) -> None:
    """Name blobs as keys."""
    patch.setattr(BatchSlice, "blob_of", lambda self, entry: entry.listed.key)
