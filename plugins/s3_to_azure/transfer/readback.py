"""The read-back: a committed blob is read from Azure again, and says that it is verified only after that.

A blob that is to be read back is committed with the level ``readback_pending``, which no run takes for a finished copy.
So whatever ends a read-back early, a retry or a later run makes up for it. A blob that was found damaged is not taken
for a copy either, even where it cannot be marked.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Final

from s3_to_azure.model import record
from s3_to_azure.model.decide import is_copy_of_newer
from s3_to_azure.model.errors import Cancelled, ConditionNotMet, DestinationConflict, ReadbackDiffers, TransferError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Block, Condition, ObjectVersion
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer.attempt import Attempt
from s3_to_azure.transfer.blocks import StagedBlock
from s3_to_azure.transfer.context import TransferContext
from s3_to_azure.transfer.integrity import VerificationLevel, digest_stream
from s3_to_azure.transfer.pipeline import fill

_PIECE_BYTES: Final = 8 * MIB
_CRC64: Final = VerificationLevel(None)

FindDifference = Callable[[], Block | None]
"""Reads a blob, and returns a range that differs from the object, or None."""


def confirm(attempt: Attempt, version: ObjectVersion, etag: str, find_difference: FindDifference) -> None:
    """Read the committed blob back, and record the result in its metadata.

    Args:
        attempt: The try to copy the object.
        version: What the blob must hold.
        etag: The blob's ETag after the commit. Where another worker has written the same version since, that blob
            counts, and is read as a whole.
        find_difference: Compares the blob.

    Raises:
        ReadbackDiffers: Azure returns other bytes; the blob is marked as damaged, where that is possible.
        DestinationConflict: Somebody else has written the blob.
        TransferError: The blob cannot be read at present; it stays unproven.
    """
    for _ in range(1 + attempt.retrier.budget.commit_rounds):
        difference = find_difference()
        found = attempt.look_up_blob()
        # Equal bytes that were put again later may have other metadata, which this copy must not replace.
        if found is None or not found.is_copy_of(version) or is_copy_of_newer(version, found):
            raise _conflict(attempt, "it was written by another program while it was read back")
        if found.etag != etag:
            etag = found.etag
            continue
        if difference:
            _mark_as_damaged(attempt, version, etag)
            where = {"blob": attempt.task.blob, "container": attempt.context.destination.container}
            raise ReadbackDiffers(**where, start=difference.start, end=difference.end)
        if not found.is_unproven or _complete_record(attempt, version, etag):
            attempt.integrity.record_read_back()
            return
    raise _conflict(attempt, "it was written again and again while it was read back")


def _complete_record(attempt: Attempt, version: ObjectVersion, etag: str) -> bool:
    """Write the verification level into the blob's record; return False where the blob has changed meanwhile."""
    level = attempt.integrity.level_name(version)
    try:
        _write_level(attempt, version, level, etag)
    except ConditionNotMet:
        # Somebody wrote the blob, or this attempt did and its answer was lost: the blob itself shows which.
        found = attempt.look_up_blob()
        return found is not None and found.is_copy_of(version) and found.verified_by == level
    except Cancelled:
        raise
    except TransferError as error:
        attempt.retrier.lines.warning(
            "Blob %r was read back and is right, but its record cannot say so, so the next run reads it back again: %s",
            attempt.task.blob,
            error,
        )
    return True


def _mark_as_damaged(attempt: Attempt, version: ObjectVersion, etag: str) -> None:
    try:
        _write_level(attempt, version, record.DAMAGED, etag)
    except TransferError as error:
        # It stays unproven, and is copied again all the same.
        attempt.retrier.lines.warning(
            "Blob %r was found damaged, and could not be marked so: %s", attempt.task.blob, error
        )


def _write_level(attempt: Attempt, version: ObjectVersion, level: str, etag: str) -> None:
    blob, destination = attempt.task.blob, attempt.context.destination
    contents = attempt.contents(version)
    contents = replace(contents, metadata={**contents.metadata, record.VERIFIED_BY: level})
    attempt.retrier.call(
        f"record the read-back of {blob!r}", lambda: destination.update(blob, contents, Condition(etag))
    )


def _conflict(attempt: Attempt, detail: str) -> DestinationConflict:
    return DestinationConflict(blob=attempt.task.blob, container=attempt.context.destination.container, detail=detail)


# -- comparisons ---------------------------------------------------------------------------------------------------


def difference_from_blocks(attempt: Attempt, sent: Iterable[StagedBlock]) -> Block | None:
    """Return the first block that Azure returns with another CRC64 than was sent."""
    context, blob = attempt.context, attempt.task.blob
    for block in sent:
        pieces = blob_pieces(context, attempt.retrier, blob, block.start, block.end)
        if digest_stream(_CRC64, pieces) != block.crc64:
            return Block(block.start, block.end)
    return None


def difference_from_object(attempt: Attempt, version: ObjectVersion, level: VerificationLevel) -> Block | None:
    """Return the whole range if the blob does not have S3's checksum, or, where S3 stores none, the object's bytes."""
    context, retrier = attempt.context, attempt.retrier
    actual = digest_stream(level, blob_pieces(context, retrier, attempt.task.blob, 0, version.size_bytes))
    if level.checksum:
        expected = level.checksum.value
    else:
        expected = digest_stream(level, object_pieces(context, retrier, version))
    return None if actual == expected else Block(0, version.size_bytes)


def blob_pieces(context: TransferContext, retrier: Retrier, blob: str, start: int, end: int) -> Iterator[memoryview]:
    """Yield bytes ``[start, end)`` of a blob, piece by piece; each counts in the memory budget while it is used."""
    step = min(_PIECE_BYTES, context.settings.memory_budget_bytes)
    for piece_start in range(start, end, step):
        piece_end = min(piece_start + step, end)
        with context.buffers.lend(piece_end - piece_start):
            yield memoryview(_read(context, retrier, blob, piece_start, piece_end))


def _read(context: TransferContext, retrier: Retrier, blob: str, start: int, end: int) -> bytes:
    return retrier.call(
        f"read bytes {start} to {end} of blob {blob!r}", lambda: context.destination.read(blob, start, end)
    )


def object_pieces(context: TransferContext, retrier: Retrier, version: ObjectVersion) -> Iterator[memoryview]:
    """Yield the object's bytes, piece by piece."""
    step = min(_PIECE_BYTES, context.settings.memory_budget_bytes)
    for start in range(0, version.size_bytes, step):
        with context.buffers.lend(min(step, version.size_bytes - start)) as view:
            fill(context.source, version, start, view, retrier=retrier, cancelled=context.cancelled)
            yield view
