"""Receipts in state files: written in chunks while a batch runs, read by its next try and by the report.

Each line has a digest over the batch's descriptor and the receipt's values. A receipt without it is not of this batch
of this plan, or an earlier version wrote it, or its values were changed: it neither spares a copy nor makes a report
succeed. The digest is no signature, because whoever can write the files can compute it.
"""

import logging
import re
import threading
from collections.abc import Callable, Iterator
from hashlib import sha256
from types import TracebackType
from typing import Annotated, Final, Self

import msgspec
from msgspec import Meta

from s3_to_azure.model.errors import ConditionNotMet, CorruptState, ReadbackDiffers, TransferError
from s3_to_azure.model.limits import MAX_BLOB_NAME_CHARACTERS, MAX_BLOCKS_PER_BLOB, MAX_KEY_BYTES, MAX_OBJECT_BYTES
from s3_to_azure.model.objects import RECEIPT_FIELDS, Receipt
from s3_to_azure.model.options import VIA_WORKER
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.reasons import COPIED, FAILED, SKIPPED, STAGED, UNCHANGED, Status, code_of
from s3_to_azure.state.lines import LinesWriter, Size, as_json, typed_lines
from s3_to_azure.state.plan import BatchDescriptor

CHUNK_RECEIPTS: Final = 1_000
CHUNK_SECONDS: Final = 30.0
_MOST_TRIES: Final = 999
_MOST_CHUNKS: Final = 99_999
_MOST_REASON: Final = 2_000
_MOST_CODE: Final = 100
_DIGEST_CHARACTERS: Final = 16
_NO_DIGEST: Final = b'"}'
_CHUNK: Final = re.compile(r"(\d{3})-(\d{5})\.jsonl\.gz")
_TOO_MANY: Final = "it holds more receipts than all tries of the batch can have written"
# Which receipt of an object decides: a confirmed copy stays one, whatever a later try reports.
_STRENGTH: Final = {COPIED: 4, UNCHANGED: 3, SKIPPED: 2, STAGED: 1, FAILED: 0}

log = logging.getLogger(__name__)


class BoundLine(msgspec.Struct, frozen=True, gc=False):
    """The fields of a receipt as version 1.0 has them, in its order, and the digest over them."""

    bucket: Annotated[str, Meta(max_length=255)]
    key: Annotated[str, Meta(max_length=MAX_KEY_BYTES)]
    etag: Annotated[str, Meta(max_length=256)]
    size_bytes: Size
    container: Annotated[str, Meta(max_length=63)]
    blob: Annotated[str, Meta(max_length=MAX_BLOB_NAME_CHARACTERS)]
    status: Status
    reason: Annotated[str, Meta(max_length=_MOST_REASON)]
    verified_by: Annotated[str, Meta(max_length=100)]
    checksum: Annotated[str, Meta(max_length=200)]
    blocks: Annotated[int, Meta(ge=0, le=MAX_BLOCKS_PER_BLOB)]
    blocks_resumed: Annotated[int, Meta(ge=0, le=MAX_BLOCKS_PER_BLOB)]
    bytes_sent: Annotated[int, Meta(ge=0, le=100 * MAX_OBJECT_BYTES)]
    retries: Annotated[int, Meta(ge=0, le=10**9)]
    seconds: Annotated[float, Meta(ge=0, le=1e9)]
    started_at: Annotated[str, Meta(max_length=40)]
    try_number: Annotated[int, Meta(ge=0, le=10**6)]
    digest: Annotated[str, Meta(max_length=_DIGEST_CHARACTERS)] = ""


class ReceiptLine(BoundLine, frozen=True, omit_defaults=True, gc=False):
    """A receipt as a line; the fields after the digest came later, and are left out where they say nothing."""

    via: Annotated[str, Meta(max_length=_MOST_CODE)] = VIA_WORKER
    blocks_fetched: Annotated[int, Meta(ge=0, le=MAX_BLOCKS_PER_BLOB)] = 0
    blocks_streamed: Annotated[int, Meta(ge=0, le=MAX_BLOCKS_PER_BLOB)] = 0
    not_fetched: Annotated[str, Meta(max_length=_MOST_CODE)] = ""

    def receipt(self) -> Receipt:
        """Return the receipt."""
        values = msgspec.structs.astuple(self)
        return Receipt(*values[:_BOUND_FIELDS], *values[_BOUND_FIELDS + 1 :])

    def bound(self) -> BoundLine:
        """Return what the digest is made of: the fields of version 1.0, without a digest."""
        return BoundLine(*msgspec.structs.astuple(self)[:_BOUND_FIELDS])


_BOUND_FIELDS: Final = len(msgspec.structs.fields(BoundLine)) - 1
_LATER_FIELDS: Final = RECEIPT_FIELDS[_BOUND_FIELDS:]
_DEFAULTS: Final = {field.name: field.default for field in msgspec.structs.fields(ReceiptLine)}


class _Binding:
    """Makes and checks the digests that bind receipts to a batch.

    Fields that a receipt got after version 1.0 are left out of the digest: its first readers must be able to check it.
    """

    def __init__(self, batch: BatchDescriptor) -> None:
        self._batch = sha256(f"{batch.plan} {batch.index} {batch.sha256} ".encode())

    def line(self, receipt: Receipt) -> msgspec.Raw:
        """Return the receipt as a line of this batch; a long reason is shortened."""
        values = receipt.as_dict()
        values["reason"] = receipt.reason[:_MOST_REASON]
        # As it is read: a whole number would be written without a decimal point.
        values["seconds"] = float(receipt.seconds)
        later = {name: values.pop(name) for name in _LATER_FIELDS}
        line = as_json(BoundLine(**values))
        text = line.removesuffix(_NO_DIGEST) + self._digest(line).encode() + b'"}'
        said = {name: value for name, value in later.items() if value != _DEFAULTS[name]}
        return msgspec.Raw(text[:-1] + b"," + as_json(said)[1:] if said else text)

    def holds(self, line: ReceiptLine) -> bool:
        """Return whether the line was made for this batch."""
        return line.digest == self._digest(as_json(line.bound()))

    def _digest(self, line: bytes) -> str:
        digest = self._batch.copy()
        digest.update(line)
        return digest.hexdigest()[:_DIGEST_CHARACTERS]


def folder_of(batch: BatchDescriptor) -> str:
    """Return the folder of the batch's receipts."""
    return f"plan-{batch.plan}/receipts/{batch.index:05d}/"


def note_try(files: StateFiles, batch: BatchDescriptor, try_number: int) -> None:
    """Leave a file as a later try begins: the run goes on, however long this try writes no receipt."""
    try:
        with files.write(f"plan-{batch.plan}/tries/{batch.index:05d}-{min(try_number, _MOST_TRIES):03d}"):
            pass
    except TransferError as error:
        log.warning("The state location does not show yet that this try has begun: %s", error)


def settles(receipt: Receipt) -> bool:
    """Return whether the receipt is final: the object is copied, unchanged or skipped, so no later try copies it."""
    return receipt.status in (COPIED, UNCHANGED, SKIPPED)


def was_found_damaged(receipt: Receipt) -> bool:
    """Return whether a read-back proved that the blob is damaged."""
    return receipt.status == FAILED and code_of(receipt.reason) == ReadbackDiffers.reason()


def stronger(one: Receipt | None, other: Receipt) -> Receipt:
    """Return which of two receipts of an object counts.

    The order is copied, unchanged, skipped, staged, failed: a confirmed copy counts even if a later try failed. Of two
    receipts with the same status, the later try's counts. A damaged blob outweighs every copy but a later try's.
    """
    if one is None:
        return other
    damaged = was_found_damaged(one), was_found_damaged(other)
    if any(damaged):
        return one if (one.try_number, damaged[0]) > (other.try_number, damaged[1]) else other
    ranks = (_STRENGTH[one.status], one.try_number), (_STRENGTH[other.status], other.try_number)
    return one if ranks[0] > ranks[1] else other


class ReceiptWriter:
    """Writes the receipts of a try after each 1,000 receipts or 30 seconds, and when the try ends for any reason.

    A chunk that cannot be written is kept for the next attempt; only the failure of the last one is an error.

    Args:
        files: The run's files.
        batch: The batch that the receipts belong to.
        try_number: Number of the try; each try has files of its own, and so has a try that runs twice.
    """

    def __init__(
        self, files: StateFiles, batch: BatchDescriptor, try_number: int, *, chunk_seconds: float = CHUNK_SECONDS
    ) -> None:
        self._files = files
        self._binding = _Binding(batch)
        self._prefix = f"{folder_of(batch)}{min(try_number, _MOST_TRIES):03d}-"
        self._chunk_seconds = chunk_seconds
        self._waiting: list[Receipt] = []
        self._chunks = 0
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._clock = threading.Thread(target=self._run_clock, name="receipts", daemon=True)

    def __enter__(self) -> Self:
        """Start the clock; continue after the chunks of a cleared try that had the same number."""
        for name in self._files.names(self._prefix):
            match = _CHUNK.fullmatch(name.rpartition("/")[2])
            self._chunks = max(self._chunks, int(match[2]) if match else 0)
        self._clock.start()
        return self

    def add(self, receipt: Receipt) -> None:
        """Add a receipt to the next chunk."""
        with self._lock:
            self._waiting.append(receipt)
            if len(self._waiting) >= CHUNK_RECEIPTS and not len(self._waiting) % CHUNK_RECEIPTS:
                self._try_to_write()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Write the rest, whether the batch succeeded, failed or was stopped."""
        self._ended.set()
        with self._lock:
            if error is None:
                self._write()
            else:
                self._try_to_write()

    def _run_clock(self) -> None:
        while not self._ended.wait(self._chunk_seconds):
            with self._lock:
                self._try_to_write()

    def _try_to_write(self) -> None:
        try:
            self._write()
        except TransferError as error:
            log.warning("%d receipts could not be written yet: %s", len(self._waiting), error)

    def _write(self) -> None:
        if not self._waiting:
            return
        number = self._chunks + 1
        while not self._write_chunk(number):
            number += 1
        self._chunks = number
        self._waiting = []

    def _write_chunk(self, number: int) -> bool:
        """Write the waiting receipts; return False if there is such a chunk already."""
        try:
            with self._files.write(f"{self._prefix}{number:05d}.jsonl.gz", is_new=True) as out:
                self._write_lines(LinesWriter(out))
        except ConditionNotMet:
            # The same try runs twice: its queue delivered it again, or its worker was taken for dead.
            if number >= _MOST_CHUNKS:
                raise
            return False
        return True

    def _write_lines(self, writer: LinesWriter) -> None:
        for receipt in self._waiting:
            writer.add(self._binding.line(receipt))
        writer.end_member()


def read_receipts(
    files: StateFiles, batch: BatchDescriptor, *, on_unbound: Callable[[Receipt], None] = lambda _: None
) -> Iterator[Receipt]:
    """Yield the receipts of a batch, try by try; an object may have several.

    Args:
        files: The run's files.
        batch: The batch.
        on_unbound: Receives the receipts that are not bound to the batch.

    Raises:
        CorruptState: A chunk is invalid, or there are more receipts than all tries of the batch can have written.
        UnsupportedStateFormat: A chunk has another major version.
    """
    folder, binding = folder_of(batch), _Binding(batch)
    location = f"{files.location}/{folder.rstrip('/')}"
    most = 2 * (_MOST_TRIES + 1) * batch.objects + CHUNK_RECEIPTS
    receipts = 0
    for chunks, name in enumerate(files.names(folder)):
        path = f"{files.location}/{name}"
        if not _CHUNK.fullmatch(name.removeprefix(folder)):
            raise CorruptState(path=path, detail="it is not named like a chunk of receipts")
        for line in typed_lines(ReceiptLine, files.chunks(name), path=path):
            receipts += 1
            if receipts > most:
                raise CorruptState(path=location, detail=_TOO_MANY)
            receipt = line.receipt()
            if binding.holds(line):
                yield receipt
            else:
                on_unbound(receipt)
        if chunks > most:
            raise CorruptState(path=location, detail=_TOO_MANY)
