"""Proof after the fact: read a blob back from Azure and compare it with what S3 vouches for."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, Literal

from s3_to_azure.model import checksums
from s3_to_azure.model.errors import Cancelled, NameRefused, TransferError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.names import check_blob, check_key, is_folder_marker
from s3_to_azure.model.objects import BlobState, ObjectVersion, PartSizes, SourceChecksum
from s3_to_azure.transfer.context import CopyTask, Workshop
from s3_to_azure.transfer.integrity import Rung, choose, digest_stream
from s3_to_azure.transfer.pipeline import fill

Outcome = Literal["equal", "different", "missing", "skipped", "failed"]

_PIECE_BYTES: Final = 8 * MIB


@dataclass(frozen=True, slots=True)
class Verification:
    """What a read-back of one blob showed.

    Attributes:
        verified_by: The checksum of S3 that the blob's bytes were compared with, or ``reread``: both sides were read.
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
        """Return it as JSON-ready values."""
        return asdict(self)


def verify_object(shop: Workshop, task: CopyTask) -> Verification:
    """Read the blob back and compare it with the object's checksum; without one, with the object read again.

    Raises:
        Cancelled: Stopped from outside.
    """
    if task.listed is not None and is_folder_marker(task.listed):
        return _unseen(shop, task, "skipped", "folder_marker")
    try:
        check_key(task.key)
        check_blob(task.blob)
        version = shop.retrier.call(f"look at object {task.key!r}", lambda: shop.source.head(task.bucket, task.key))
        blob = _look(shop, task)
        if blob is None:
            return _result(shop, task, version, "missing", "there is no such blob")
        if blob.size_bytes != version.size_bytes:
            sizes = f"the blob has {blob.size_bytes} bytes, the object {version.size_bytes}"
            return _result(shop, task, version, "different", sizes)
        return _compare(shop, task, version, blob)
    except Cancelled:
        raise
    except TransferError as error:
        status: Outcome = "skipped" if isinstance(error, NameRefused) else "failed"
        return _unseen(shop, task, status, f"{error.reason()}: {error}")


def _compare(shop: Workshop, task: CopyTask, version: ObjectVersion, blob: BlobState) -> Verification:
    rung = _rung(shop, version, each=False)
    actual = digest_stream(rung, _blob_pieces(shop, task, blob))
    if rung.guessed and rung.checksum and actual != rung.checksum.value:
        # The parts may be of other sizes than the first and the last suggest.
        rung = _rung(shop, version, each=True)
        actual = digest_stream(rung, _blob_pieces(shop, task, blob))
    stored = rung.checksum or SourceChecksum(
        checksums.CRC64NVME.name, digest_stream(rung, _object_pieces(shop, version))
    )
    proven_by = checksums.proven_by(rung.checksum) if rung.checksum else checksums.REREAD
    if _look(shop, task) != blob:
        return _result(shop, task, version, "failed", "the blob was written while it was read; verify again")
    text = _text(replace(stored, value=actual))
    if actual != stored.value:
        return _result(shop, task, version, "different", f"S3 has {_text(stored)}", proven_by, text)
    return _result(shop, task, version, "equal", "", proven_by, text)


def _rung(shop: Workshop, version: ObjectVersion, *, each: bool) -> Rung:
    def part_sizes() -> PartSizes | None:
        return shop.retrier.call(
            f"look up the parts of {version.key!r}", lambda: shop.source.part_sizes(version, each=each)
        )

    # Nothing is cut into blocks here: an MD5 of any size is computed as the bytes come.
    return choose(version, part_sizes, largest_block_bytes=version.size_bytes)


def _text(checksum: SourceChecksum) -> str:
    return f"{checksum.algorithm}:{checksums.to_s3(checksum)}"


def _look(shop: Workshop, task: CopyTask) -> BlobState | None:
    return shop.retrier.call(f"look at blob {task.blob!r}", lambda: shop.destination.head(task.blob))


def _blob_pieces(shop: Workshop, task: CopyTask, blob: BlobState) -> Iterator[memoryview]:
    for start in range(0, blob.size_bytes, _PIECE_BYTES):
        end = min(start + _PIECE_BYTES, blob.size_bytes)
        yield memoryview(_read(shop, task.blob, start, end))


def _read(shop: Workshop, blob: str, start: int, end: int) -> bytes:
    return shop.retrier.call(
        f"read bytes {start} to {end} of blob {blob!r}", lambda: shop.destination.read(blob, start, end)
    )


def _object_pieces(shop: Workshop, version: ObjectVersion) -> Iterator[memoryview]:
    for start in range(0, version.size_bytes, _PIECE_BYTES):
        with shop.buffers.lend(min(_PIECE_BYTES, version.size_bytes - start)) as view:
            fill(shop.source, version, start, view, retrier=shop.retrier, cancelled=shop.cancelled)
            yield view


def _unseen(shop: Workshop, task: CopyTask, status: Outcome, reason: str) -> Verification:
    listed = task.listed
    return Verification(
        bucket=task.bucket,
        key=task.key,
        etag=listed.etag if listed else "",
        size_bytes=listed.size_bytes if listed else 0,
        container=shop.destination.container,
        blob=task.blob,
        status=status,
        reason=reason,
    )


def _result(
    shop: Workshop,
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
        container=shop.destination.container,
        blob=task.blob,
        status=status,
        reason=reason,
        verified_by=verified_by,
        checksum=checksum,
    )
