"""Verification after the copy: read a blob back from Azure and compare it with S3's checksum, or with the object."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from s3_to_azure.model import checksums
from s3_to_azure.model.errors import Cancelled, NameRefused, TransferError
from s3_to_azure.model.names import check_key, is_folder_marker, is_reserved
from s3_to_azure.model.objects import DIRECTORY, BlobState, ObjectVersion, PartSizes, SourceChecksum
from s3_to_azure.model.options import NO, REREAD, SKIP
from s3_to_azure.model.reasons import FAILED, FOLDER_MARKER, RESERVED_NAME, SKIPPED
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.integrity import VerificationLevel, choose_level, digest_stream
from s3_to_azure.transfer.object import check_size
from s3_to_azure.transfer.readback import blob_pieces, object_pieces

Outcome = Literal["equal", "different", "missing", "skipped", "failed"]


@dataclass(frozen=True, slots=True)
class Verification:
    """The result of comparing one blob with its object.

    Attributes:
        verified_by: The checksum of S3 that the blob's bytes were compared with; ``reread`` where both sides were read.
    """

    bucket: str
    key: str
    etag: str
    size_bytes: int
    container: str
    blob: str
    status: Outcome
    reason: str = ""
    verified_by: str = ""
    checksum: str = ""

    def as_dict(self) -> dict[str, Any]:
        """Return JSON-ready values."""
        return asdict(self)


def verify_object(context: TransferContext, task: CopyTask) -> Verification:
    """Read the blob back and compare it with the object's checksum, or with the object itself where S3 stores none.

    Raises:
        Cancelled: Stopped from outside.
    """
    left_out = _left_out(task)
    if left_out:
        return _not_compared(context, task, *left_out)
    try:
        check_key(task.key)
        context.retrier.call(f"check the name {task.blob!r}", lambda: context.destination.check_name(task.blob))
        version = context.retrier.call(
            f"look up object {task.key!r}", lambda: context.source.head(task.bucket, task.key)
        )
        if task.listed is not None:
            check_size(task.listed, version)
            version = task.listed.and_reported(version)
        blob = _look_up_blob(context, task)
        if blob is None:
            return _result(context, task, version, "missing", "there is no such blob")
        if blob.blob_type == DIRECTORY:
            return _result(context, task, version, "missing", "a directory has its name")
        if blob.size_bytes != version.size_bytes:
            sizes = f"the blob has {blob.size_bytes} bytes, the object {version.size_bytes}"
            return _result(context, task, version, "different", sizes)
        return _compare(context, task, version, blob)
    except Cancelled:
        raise
    except TransferError as error:
        may_skip = isinstance(error, NameRefused) and context.settings.refused_names == SKIP
        status: Outcome = SKIPPED if may_skip else FAILED
        return _not_compared(context, task, status, error.as_reason())


def _left_out(task: CopyTask) -> tuple[Outcome, str] | None:
    """Return result and reason of an object that no copy takes and that needs no request; None for all others."""
    if task.listed is not None and is_folder_marker(task.listed):
        return SKIPPED, FOLDER_MARKER
    if is_reserved(task.blob):
        return SKIPPED, RESERVED_NAME
    if task.listed is not None and task.listed.problem:
        return FAILED, task.listed.problem
    return None


def _compare(context: TransferContext, task: CopyTask, version: ObjectVersion, blob: BlobState) -> Verification:
    level = _level(context, version, each=False)
    actual = digest_stream(level, blob_pieces(context, context.retrier, task.blob, 0, blob.size_bytes))
    if level.guessed and level.checksum and actual != level.checksum.value:
        # The parts may have other sizes than the first and the last part suggest.
        level = _level(context, version, each=True)
        actual = digest_stream(level, blob_pieces(context, context.retrier, task.blob, 0, blob.size_bytes))
    stored = level.checksum or SourceChecksum(
        checksums.CRC64NVME.name, digest_stream(level, object_pieces(context, context.retrier, version))
    )
    proven_by = checksums.proven_by(level.checksum) if level.checksum else REREAD
    if _look_up_blob(context, task) != blob:
        return _result(context, task, version, FAILED, "the blob was written while it was read; verify again")
    text = _text(replace(stored, value=actual))
    if actual != stored.value:
        return _result(context, task, version, "different", f"S3 has {_text(stored)}", proven_by, text)
    return _result(context, task, version, "equal", "", proven_by, text)


def _level(context: TransferContext, version: ObjectVersion, *, each: bool) -> VerificationLevel:
    def part_sizes() -> PartSizes | None:
        return context.retrier.call(
            f"look up the parts of {version.key!r}", lambda: context.source.part_sizes(version, each=each)
        )

    # No block size limits a serial hash here: it is computed while the bytes stream.
    return choose_level(
        version,
        part_sizes,
        largest_block_bytes=version.size_bytes,
        etag_is_md5=context.settings.fidelity.etag_is_md5 != NO,
        in_order=True,
    )


def _text(checksum: SourceChecksum) -> str:
    return f"{checksum.algorithm}:{checksums.to_s3(checksum)}"


def _look_up_blob(context: TransferContext, task: CopyTask) -> BlobState | None:
    return context.retrier.call(f"look up blob {task.blob!r}", lambda: context.destination.head(task.blob))


def _not_compared(context: TransferContext, task: CopyTask, status: Outcome, reason: str) -> Verification:
    listed = task.listed
    return Verification(
        bucket=task.bucket,
        key=task.key,
        etag=listed.etag if listed else "",
        size_bytes=listed.size_bytes if listed else 0,
        container=context.destination.container,
        blob=task.blob,
        status=status,
        reason=reason,
    )


def _result(
    context: TransferContext,
    task: CopyTask,
    version: ObjectVersion,
    status: Outcome,
    reason: str,
    *proof: str,
) -> Verification:
    verified_by, checksum = proof or ("", "")
    return Verification(
        bucket=version.bucket,
        key=version.key,
        etag=version.etag,
        size_bytes=version.size_bytes,
        container=context.destination.container,
        blob=task.blob,
        status=status,
        reason=reason,
        verified_by=verified_by,
        checksum=checksum,
    )
