"""The blocks of one object that Azure fetches by itself: each request once, its CRC64 noted, the object watched."""

import logging
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import Cancelled, FetchRefused, SourceChanged, TransferError, TransientError
from s3_to_azure.model.objects import Block, FetchUrl, ObjectVersion
from s3_to_azure.model.reasons import LONG_URL, NO_CRC_RETURNED, SOURCE_UNREACHABLE
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer.attempt import Attempt
from s3_to_azure.transfer.blocks import (
    NO_SECOND,
    NONCE_BYTES,
    NOTE_BODY,
    FetchedBlock,
    StagedBlock,
    fingerprint,
)
from s3_to_azure.transfer.fetched.buckets import said
from s3_to_azure.transfer.fetched.pool import FetchPool
from s3_to_azure.transfer.pipeline import BlocksInFlight

log = logging.getLogger(__name__)

LOOK_EVERY_S: Final = 30.0
"""How often the object is looked up while Azure fetches: what is fetched of another version is fetched for nothing."""

# Where nothing may be streamed, a refusal that passes by must not fail the object.
_TRIES: Final = 3
_NO_URL: Final = "NoUrl"
_NO_CRC: Final = "NoCrc64"
_MISMATCH: Final = "Crc64Mismatch"
_NOT_COMPARED: Final = "OtherCrc64"
# Why the worker sends a block where it is not that Azure cannot read the bucket.
_OWN_REASONS: Final = {_NO_URL: LONG_URL, _NO_CRC: NO_CRC_RETURNED}
# Of no single byte.
_WRONG_CRC64: Final = 1
_HEADER_REFUSED: Final = ("UnsupportedHeader", "InvalidHeaderValue")


class ObjectFetches:
    """Lets Azure fetch blocks of one version of an object.

    Args:
        pool: What the task's copies share.
        attempt: The try to copy the object.
        version: The object.
        known_crc64: Returns the CRC64 that S3 stores for exactly this block, or None.
        clock: Seconds, monotonic.

    Attributes:
        left_for: The code of ``reasons.NOT_FETCHED`` why the worker has to send blocks; empty if it has none to send.
    """

    def __init__(
        self,
        pool: FetchPool,
        attempt: Attempt,
        version: ObjectVersion,
        *,
        known_crc64: Callable[[Block], int | None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._pool = pool
        self._attempt = attempt
        self._version = version
        self._known_crc64 = known_crc64
        self._clock = clock
        self._look_at = clock() + LOOK_EVERY_S
        self._lock = threading.Lock()
        self.left_for = ""

    def fetch(self, blocks: Sequence[Block], on_staged: Callable[[StagedBlock], None]) -> list[Block]:
        """Let Azure fetch the blocks; return those that the worker has to send.

        Args:
            blocks: In the order in which to begin them.
            on_staged: Called in a fetch's thread for each block that Azure has staged, and whose CRC64 is noted.

        Raises:
            TransferError: The first error; no further block is begun, and those in flight are awaited.
            Cancelled: Stopped, within about two seconds whatever the sockets do.
        """
        attempt, pool = self._attempt, self._pool
        in_flight = BlocksInFlight(attempt.context.cancelled, pool)
        retrier = attempt.retrier.within(in_flight.stopped)
        left: list[Block] = []
        for number, block in enumerate(blocks):
            if code := pool.buckets.closed_for(self._version.bucket):
                self.left_for = code
                left.extend(blocks[number:])
                break
            if not in_flight.begin():
                break
            job = partial(self._fetch_or_leave, block, retrier, in_flight.stopped, on_staged, left.append)
            pool.submit(partial(in_flight.run, job))
        in_flight.finish()
        return sorted(left, key=lambda block: block.start)

    def look(self) -> None:
        """Look the object up.

        Raises:
            SourceChanged: It is no longer this version.
            TransferError: It is gone, or the worker cannot read it either.
        """
        version = self._version
        if self._attempt.look_up_object().etag != version.etag:
            raise SourceChanged(key=version.key, bucket=version.bucket, etag=version.etag)

    def _look_if_due(self) -> None:
        with self._lock:
            now = self._clock()
            if now < self._look_at:
                return
            self._look_at = now + LOOK_EVERY_S
        self.look()

    def _fetch_or_leave(
        self,
        block: Block,
        retrier: Retrier,
        stopped: threading.Event,
        on_staged: Callable[[StagedBlock], None],
        leave: Callable[[Block], None],
    ) -> None:
        buckets, bucket = self._pool.buckets, self._version.bucket
        with buckets.turn(bucket, stopped):
            code = buckets.closed_for(bucket)
            staged = None if code else self._fetched(block, retrier, stopped)
        if staged is None:
            self.left_for = code or self.left_for
            leave(block)
            return
        if isinstance(staged, FetchedBlock):
            self._note(staged, retrier)
        on_staged(staged)

    def _fetched(self, block: Block, retrier: Retrier, stopped: threading.Event) -> StagedBlock | None:
        """Return the block once Azure has staged it; None if the worker has to send it.

        Raises:
            TransferError: The object's own error, or Azure's where nothing may be streamed.
        """
        pool, bucket = self._pool, self._version.bucket
        action = f"let Azure fetch bytes {block.start} to {block.end} of {self._attempt.task.blob!r}"
        for tried in range(1, _TRIES + 1):
            self._look_if_due()
            try:
                staged = retrier.call(action, partial(self._fetch_once, block, stopped))
            except Cancelled:
                raise
            except TransferError as error:
                # What is wrong with the object itself says more than that Azure could not read it.
                self.look()
                if pool.may_stream:
                    self._note_left(block, error, retrier)
                    return None
                # The retrier has repeated what passes by, and without a URL nothing was sent.
                if tried == _TRIES or isinstance(error, TransientError) or _code(error) == _NO_URL:
                    raise
                retrier.pause(tried, error)
            else:
                pool.buckets.note_read(bucket)
                return staged
        raise AssertionError("the last try returns or raises")

    def _note_left(self, block: Block, error: TransferError, retrier: Retrier) -> None:
        """Note why the worker sends a block, and what that says of the bucket."""
        code, buckets, bucket = _code(error), self._pool.buckets, self._version.bucket
        retrier.lines.info("The worker sends bytes %d to %d itself: %s", block.start, block.end, said(error))
        self.left_for = _OWN_REASONS.get(code, SOURCE_UNREACHABLE)
        if code == _MISMATCH:
            # Azure has read the bucket, though other bytes.
            buckets.note_read(bucket)
        elif code != _NO_URL:
            buckets.note_refusal(bucket, error, self.left_for)

    def _fetch_once(self, block: Block, stopped: threading.Event) -> StagedBlock:
        """Let Azure fetch a block in one request, as soon as it takes one; the URL is not older than the request."""
        with self._pool.request(stopped):
            return self._requested(block)

    def _requested(self, block: Block) -> StagedBlock:
        """Let Azure fetch a block, under an id that no other request has unless its bytes are known."""
        version, blob = self._version, self._attempt.task.blob
        url = self._attempt.context.source.fetch_url(version)
        if url is None:
            raise FetchRefused(blob=blob, code=_NO_URL, detail="no URL can be presigned for the object")
        known = self._known_crc64(block)
        if known is not None and not self._pool.compares_crc64s(lambda: self._refuses_other_bytes(url, block)):
            # A block that Azure has not compared must not have an id that says so.
            known = None
        if known is None:
            staged: StagedBlock = self._with_nonce(block)
        else:
            staged = StagedBlock(block.start, block.end, known, NO_SECOND, fingerprint(version))
        etag = version.etag if self._pool.sends_condition else None
        try:
            crc64 = self._attempt.context.destination.stage_from_url(
                blob, staged.block_id, url, block, etag=etag, crc64=known
            )
        except FetchRefused as error:
            if etag is None or error.attributes["code"] not in _HEADER_REFUSED:
                raise
            self._pool.send_no_condition()
            return self._requested(block)
        if crc64 is None:
            raise FetchRefused(blob=blob, code=_NO_CRC, detail="its answer has no CRC64 of the bytes")
        return replace(staged, crc64=crc64)

    def _with_nonce(self, block: Block) -> FetchedBlock:
        """Return a block whose CRC64 is not known yet, for one request."""
        nonce = secrets.token_bytes(NONCE_BYTES)
        return FetchedBlock(block.start, block.end, 0, NO_SECOND, fingerprint(self._version), nonce)

    def _refuses_other_bytes(self, url: FetchUrl, block: Block) -> bool:
        """Ask Azure for one byte of a wrong CRC64; return whether it refuses that. What it stages nobody uses."""
        blob, byte = self._attempt.task.blob, Block(block.start, block.start + 1)
        block_id = self._with_nonce(byte).block_id
        destination = self._attempt.context.destination
        try:
            destination.stage_from_url(blob, block_id, url, byte, etag=None, crc64=_WRONG_CRC64)
        except FetchRefused as error:
            if error.attributes["code"] == _MISMATCH:
                return True
            if error.attributes["code"] != _NOT_COMPARED:
                raise
        log.warning("Azure does not compare the CRC64s that it is told: they are noted, and compared by this worker")
        return False

    def _note(self, block: FetchedBlock, retrier: Retrier) -> None:
        """Stage the note that tells a later worker the block's CRC64."""
        destination, blob = self._attempt.context.destination, self._attempt.task.blob
        body = memoryview(NOTE_BODY)
        retrier.call(
            f"note the CRC64 of bytes {block.start} to {block.end} of {blob!r}",
            lambda: destination.stage_block(blob, block.note_id, body, CRC64NVME.digest(body)),
        )


def _code(error: TransferError) -> str:
    """Return the service's code of an error, if it has one."""
    return str(error.attributes.get("code", ""))
