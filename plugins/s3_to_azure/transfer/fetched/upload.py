"""One version of an object as blocks that Azure fetches by itself, and that the worker sends where Azure cannot."""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from s3_to_azure.model.objects import Block, ObjectVersion, PartChecksum
from s3_to_azure.model.options import VIA_AZURE
from s3_to_azure.model.reasons import NO_BLOCK_SIZE, NOT_FETCHED
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.transfer.attempt import Attempt
from s3_to_azure.transfer.blocks import Layout, StagedBlock, layout_for
from s3_to_azure.transfer.context import CopyTask
from s3_to_azure.transfer.fetched.eligibility import (
    LEAST_BLOCK_BYTES,
    MOST_BLOCK_BYTES,
    MOST_BLOCKS,
    NotFetchable,
    Routing,
    fetched_checksum,
)
from s3_to_azure.transfer.fetched.known_crc64s import KnownCrc64s
from s3_to_azure.transfer.fetched.object_fetches import ObjectFetches
from s3_to_azure.transfer.fetched.pool import FetchPool
from s3_to_azure.transfer.integrity import VerificationLevel, matches
from s3_to_azure.transfer.upload import BlockUpload

# The ETag of an object that was uploaded in parts.
_IN_PARTS: Final = re.compile(r"-[0-9]{1,5}$")
# Blocks that are fetched again between two comparisons: a damaged one is most likely alone.
_WINDOW_BLOCKS: Final = 4


def fetched_upload(
    attempt: Attempt, version: ObjectVersion, pool: FetchPool, *, within: Block | None = None
) -> "FetchedUpload | None":
    """Return the upload of a version that Azure fetches; None if the worker has to send it.

    Args:
        attempt: The try to copy the object.
        version: With every checksum that S3 offers, or a report has.
        pool: What the task's copies share to let Azure fetch.
        within: Stage only the blocks that begin in this range. None: all.

    Raises:
        NotFetchable: It cannot be fetched, and may not be streamed.
    """
    context, settings, task = attempt.context, attempt.context.settings, attempt.task
    routing = Routing(
        settings.via,
        context.source.fetch_access(version.bucket),
        integrity=settings.integrity,
        budget_bytes=settings.memory_budget_bytes,
        block_bytes=_block_bytes(task, settings),
    )
    route = routing.route(version)
    if route.via != VIA_AZURE:
        attempt.stats.is_streamed(route.not_fetched)
        return None
    attempt.stats.begin_fetching()
    if task.block_bytes is None and within is None and (code := pool.buckets.closed_for(version.bucket)):
        attempt.stats.is_streamed(code)
        return None
    version = replace(version, checksum=fetched_checksum(version, settings.integrity))
    known = _known_crc64s(attempt, version)
    block_bytes = routing.block_bytes_for(version.size_bytes)
    if routing.block_bytes is None:
        block_bytes = known.block_bytes(block_bytes, most=min(MOST_BLOCK_BYTES, routing.budget_bytes))
    layout = layout_for(version.size_bytes, budget_bytes=routing.budget_bytes, block_bytes=block_bytes)
    streamed = None
    if task.block_bytes is None and within is None:
        streamed = layout_for(version.size_bytes, budget_bytes=routing.budget_bytes, block_bytes=settings.block_bytes)
    return FetchedUpload(attempt, version, layout, pool, known, streamed=streamed, within=within)


def _known_crc64s(attempt: Attempt, version: ObjectVersion) -> KnownCrc64s:
    """Return the CRC64s that S3 stores of the version and its parts."""
    if version.checksum is None:
        raise AssertionError("only a version with a CRC64NVME is fetched")
    parts: Sequence[PartChecksum] = ()
    if _IN_PARTS.search(version.etag):
        source = attempt.context.source
        parts = attempt.retrier.call(f"look up the parts of {version.key!r}", lambda: source.part_checksums(version))
    return KnownCrc64s(version.size_bytes, version.checksum, parts)


def _block_bytes(task: CopyTask, settings: CopySettings) -> int | None:
    """Return the block size that is wished for; all ranges of a giant object must find the same one."""
    if task.block_bytes is None:
        return settings.block_bytes
    return settings.block_bytes or task.block_bytes * -(-LEAST_BLOCK_BYTES // task.block_bytes)


class FetchedUpload(BlockUpload):
    """Stages what is missing by letting Azure fetch it; the proof and the commit are those of every upload.

    Args:
        attempt: The try to copy the object.
        version: With the CRC64NVME that verifies it.
        layout: How to cut it if nothing of it is staged yet.
        pool: What the task's copies share to let Azure fetch.
        known: The CRC64s that S3 stores.
        streamed: How to cut it if Azure cannot fetch any of it: smaller blocks stream faster. None: as ``layout``,
            since the tasks of other ranges share it.
        within: Stage only the blocks that begin in this range. None: all.
    """

    def __init__(
        self,
        attempt: Attempt,
        version: ObjectVersion,
        layout: Layout,
        pool: FetchPool,
        known: KnownCrc64s,
        *,
        streamed: Layout | None = None,
        within: Block | None = None,
    ) -> None:
        super().__init__(attempt, version, layout, VerificationLevel(version.checksum), within=within)
        self._streamed = streamed
        self._may_stream = pool.may_stream
        self._fetches = ObjectFetches(pool, attempt, version, known_crc64=known.of)

    def _stage(self, blocks: list[Block]) -> None:
        stats = self._attempt.stats
        if len(self._layout) > MOST_BLOCKS:
            # An earlier try has cut it into more blocks than may be noted.
            if not self._may_stream:
                raise NotFetchable(key=self._version.key, why=NOT_FETCHED[NO_BLOCK_SIZE])
            stats.is_streamed(NO_BLOCK_SIZE)
            super()._stage(blocks)
            return
        # Azure moves them, so that this object's blocks keep no connection of the worker busy.
        self._attempt.backlog.expect(0)
        left = self._fetches.fetch(blocks, self._on_fetched)
        if left and not self._held and self._streamed is not None:
            self._layout = self._streamed
            left = list(self._layout)
        if left:
            stats.is_streamed(self._fetches.left_for)
            super()._stage(left)

    def _on_fetched(self, block: StagedBlock) -> None:
        with self._lock:
            self._held[block.start] = block
        self._attempt.stats.add_fetched(block.size_bytes)

    def _mend(self) -> None:
        """Fetch the blocks again, a few at a time, until they combine into S3's checksum.

        A block's CRC64 is Azure's word for what it read, so which one is wrong shows only when it is read again. Of an
        object that changed in between, no block needs to be.
        """
        key = self._version.key
        self._lines.warning(
            "The blocks of %r do not combine into S3's checksum: fetching them again, a few at a time", key
        )
        self._fetches.look()
        chain = self._chain() or ()
        for start in range(0, len(chain), _WINDOW_BLOCKS):
            window: Sequence[StagedBlock] = chain[start : start + _WINDOW_BLOCKS]
            self._stage([Block(block.start, block.end) for block in window])
            if matches(self._compared, self._folded()):
                self._lines.warning("%r is right after %d of %d blocks", key, start + len(window), len(chain))
                return
