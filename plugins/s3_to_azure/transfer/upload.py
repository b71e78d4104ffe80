"""One version of an object into Azure: in one request, or as blocks."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from s3_to_azure.model import checksums, record
from s3_to_azure.model.errors import ReadbackDiffers, RereadDiffers
from s3_to_azure.model.formatting import size_text
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import (
    BlobContents,
    BlobState,
    Block,
    Condition,
    ObjectVersion,
    Receipt,
    SourceChecksum,
)
from s3_to_azure.model.options import ALWAYS, NEVER
from s3_to_azure.model.ports import BodyReader
from s3_to_azure.model.reasons import STAGED
from s3_to_azure.transfer.attempt import Attempt
from s3_to_azure.transfer.blocks import (
    NO_SECOND,
    Layout,
    StagedBlock,
    adopt,
    doubtful,
    fingerprint,
    in_order,
    missing,
    staged_blocks,
    usable,
)
from s3_to_azure.transfer.commit import Commit, Committed, LeftoverBlocks, commit
from s3_to_azure.transfer.integrity import MAX_READINGS, VerificationLevel, fold_blocks, matches, require_match
from s3_to_azure.transfer.pipeline import BlockRoute, damaged_blocks, fill
from s3_to_azure.transfer.readback import confirm, difference_from_blocks, difference_from_object

# -- one request ---------------------------------------------------------------------------------------------------


def upload_empty(attempt: Attempt, version: ObjectVersion, level: VerificationLevel, condition: Condition) -> Receipt:
    """Copy an object of no bytes, which cannot be read in ranges."""
    nothing = memoryview(b"")
    require_match(version, level.digest(nothing))
    try:
        committed = _put_blob(attempt, version, nothing, 0, condition)
    except LeftoverBlocks:
        # An empty object has no block to stage; committing an empty block list makes the empty blob.
        committed = BlockUpload(attempt, version, Layout(0, MIB), level).commit(condition)
    return attempt.copied(version, blocks=0, by_another=committed.by_another)


def upload_whole(attempt: Attempt, version: ObjectVersion, condition: Condition) -> Receipt:
    """Copy an object of one block with Put Blob; as a staged block where leftover blocks make Azure refuse that."""
    committed: Committed | None = None
    context, size_bytes = attempt.context, version.size_bytes
    with context.admitted(size_bytes) as view:
        with context.slots.reading(size_bytes, context.cancelled):
            version, crc64 = _read_verified(attempt, version, view)
        try:
            with context.slots.writing(size_bytes, context.cancelled):
                committed = _put_blob(attempt, version, view, crc64, condition)
        except LeftoverBlocks:
            attempt.retrier.lines.info(
                "Blob %r has leftover uncommitted blocks: staging a block instead of Put Blob", attempt.task.blob
            )
    # The buffer is given back by now: other copies may wait for it.
    if committed is None:
        _, level = attempt.integrity.at_its_level(version)
        layout = Layout(size_bytes, size_bytes, level.edges)
        return BlockUpload(attempt, version, layout, level, crc64=crc64).run(condition)
    _read_back(attempt, version, committed, [StagedBlock(0, size_bytes, crc64, NO_SECOND, fingerprint(version))])
    return attempt.copied(version, blocks=1, by_another=committed.by_another)


def _read_verified(attempt: Attempt, version: ObjectVersion, view: memoryview) -> tuple[ObjectVersion, int]:
    """Read the whole object until its bytes match its checksum; return the version and the CRC64 of the bytes.

    A second mismatch is final. An object without a checksum that needs a second reading is read until two consecutive
    readings are equal.
    """
    integrity = attempt.integrity
    versions: list[ObjectVersion] = []
    previous_crc64: int | None = None

    def opened(body: BodyReader) -> None:
        versions.append(body.version)

    for reading in range(1, MAX_READINGS + 1):
        versions.clear()
        fill(
            attempt.context.source,
            version,
            0,
            view,
            retrier=attempt.retrier,
            cancelled=attempt.context.cancelled,
            # A second reading is no progress.
            arrived=attempt.context.progress.add_read if reading == 1 else lambda _: None,
            opened=opened,
            whole=True,
        )
        # The first body is the whole object's, so its headers have the checksums; later bodies only resume it.
        read, level = integrity.at_its_level(versions[0])
        crc64 = checksums.CRC64NVME.digest(view)
        actual = level.digest(view)
        if not matches(read, actual) and integrity.parts_were_guessed_wrong(read):
            read, level = integrity.at_its_level(versions[0])
            actual = level.digest(view)
        if integrity.needs_second_reading(read):
            if crc64 == previous_crc64:
                return read, crc64
            previous_crc64 = crc64
            continue
        if reading > 1:
            require_match(read, actual)
        if matches(read, actual):
            return read, crc64
        attempt.retrier.lines.warning(
            "The bytes of %r do not match S3's checksum: reading the object again", version.key
        )
    raise RereadDiffers(key=version.key)


def _put_blob(
    attempt: Attempt, version: ObjectVersion, view: memoryview, crc64: int, condition: Condition
) -> Committed:
    destination, blob = attempt.context.destination, attempt.task.blob
    contents = attempt.contents(version)

    def write(condition: Condition) -> str:
        return destination.put_blob(blob, view, crc64, contents, condition)

    committed = commit(destination, _step(attempt, version, contents, write), condition, attempt.retrier)
    if committed.by_another:
        attempt.stats.add_found(version.size_bytes)
    else:
        attempt.stats.add_sent(version.size_bytes)
    return committed


def _step(
    attempt: Attempt,
    version: ObjectVersion,
    contents: BlobContents,
    write: Callable[[Condition], str],
    restage: Callable[[], None] | None = None,
) -> Commit:
    """Return the commit of a version."""
    may_replace = attempt.context.settings.overwrite != NEVER
    return Commit(version, attempt.task.blob, contents, write, restage, attempt.current_etag, may_replace)


def _read_back(attempt: Attempt, version: ObjectVersion, committed: Committed, sent: Sequence[StagedBlock]) -> None:
    """Read the blob back where the user asked for that."""
    if attempt.integrity.needs_read_back(version):
        confirm(attempt, version, committed.etag, lambda: difference_from_blocks(attempt, sent))


# -- blocks --------------------------------------------------------------------------------------------------------


class PartsLookedUp(Exception):
    """The object's parts have other sizes than were guessed; their real sizes are looked up by now.

    Not an error: ``BlockUpload`` raises it before anything is committed. ``object._ObjectCopy.run`` catches it and
    starts the upload again with a layout along the real parts.
    """


class BlockUpload:
    """One version of an object as blocks: find what is staged, stage the rest, verify the whole, commit.

    Args:
        attempt: The try to copy the object.
        version: With the checksum that verifies it.
        layout: How to cut it if nothing of it is staged yet.
        level: How the whole is verified.
        within: Stage only the blocks that begin in this range. None: all.
        crc64: The CRC64 of bytes that have the version's checksum, where they were read before. A serial hash that no
            block id has room for is compared by it.
    """

    def __init__(
        self,
        attempt: Attempt,
        version: ObjectVersion,
        layout: Layout,
        level: VerificationLevel,
        *,
        within: Block | None = None,
        crc64: int | None = None,
    ) -> None:
        self._attempt = attempt
        self._lines = attempt.retrier.lines
        self._version = version
        # What the folded blocks are compared with.
        self._compared = version
        if crc64 is not None and level.is_beyond_block_ids:
            self._compared = replace(version, checksum=SourceChecksum(checksums.CRC64NVME.name, crc64))
        self._layout = layout
        self._level = level
        self._within = within
        self._second = checksums.second_of(self._compared.checksum)
        # By start. The pipeline's threads add each block that Azure has confirmed.
        self._held: dict[int, StagedBlock] = {}
        self._lock = threading.Lock()
        # Before anything is sent: what the blob cannot have is found now and not after terabytes.
        self._step = self._commit_step()

    def run(self, condition: Condition) -> Receipt:
        """Stage the blocks that Azure does not hold; commit, unless ranges of other tasks are still missing.

        Raises:
            PartsLookedUp: Nothing was committed; the object must be cut along its parts.
            TransferError: Nothing was committed; staged blocks stay.
        """
        attempt, version = self._attempt, self._version
        self._find_staged()
        if missing(self._layout, self._held, self._within) and (receipt := self._already_committed(condition)):
            return receipt
        self._stage(missing(self._layout, self._held, self._within))
        if self._within is not None:
            self._take_other_ranges()
            if self._chain() is None:
                return self._range_receipt(condition)
        self._verify()
        committed = self.commit(condition)
        return attempt.copied(version, blocks=len(self._layout), by_another=committed.by_another)

    def commit(self, condition: Condition) -> Committed:
        """Commit all blocks under the condition, and read the blob back where the user asked for that."""
        attempt, version = self._attempt, self._version
        committed = commit(attempt.context.destination, self._step, condition, attempt.retrier)
        _read_back(attempt, version, committed, self._chain() or ())
        return committed

    def _commit_step(self) -> Commit:
        attempt, version, blob = self._attempt, self._version, self._attempt.task.blob
        contents = attempt.contents(version)

        def write(condition: Condition) -> str:
            chain = self._chain()
            if chain is None:
                raise AssertionError("only a complete chain is committed")
            block_ids = [block.block_id for block in chain]
            return attempt.context.destination.commit(blob, block_ids, contents, condition)

        def restage() -> None:
            self._held = usable(self._layout, self._list_staged(), self._second)
            self._stage(missing(self._layout, self._held))
            self._verify()

        return _step(attempt, version, contents, write, restage)

    def _take_other_ranges(self) -> None:
        """Add what the tasks of the other ranges have staged; a task that finds the set complete commits.

        Of two different blocks at one start neither is known to be right, not even after the task of that range has
        read it again: only the worker that reads it knows. So the one that misses nothing else reads them all.
        """
        staged = self._list_staged()
        self._held = usable(self._layout, staged, self._second) | self._held
        gaps = missing(self._layout, self._held)
        if gaps and {block.start for block in gaps} <= doubtful(self._layout, staged):
            self._lines.warning("%d blocks of %r differ as staged: reading them again", len(gaps), self._version.key)
            self._stage(gaps)

    def _chain(self) -> Sequence[StagedBlock] | None:
        """Return the blocks in offset order, or None while any is missing."""
        return in_order(self._layout, self._held)

    def _list_staged(self) -> list[StagedBlock]:
        attempt, blob = self._attempt, self._attempt.task.blob
        own = fingerprint(self._version)
        listed = attempt.retrier.call(
            f"list the staged blocks of {blob!r}", lambda: attempt.context.destination.list_staged(blob)
        )
        return staged_blocks(listed, own)

    def _find_staged(self) -> None:
        """Take over what earlier tries staged, and cut the rest as they did."""
        attempt, staged = self._attempt, self._list_staged()
        if attempt.task.block_bytes is None and self._second is not checksums.MD5:
            budget_bytes = attempt.context.settings.memory_budget_bytes
            self._layout = adopt(self._layout, staged, budget_bytes=budget_bytes)
        self._held = usable(self._layout, staged, self._second)
        # A range counts its own blocks only: the receipts of the other ranges count theirs.
        mine = missing(self._layout, {}, self._within)
        found = [block for block in mine if block.start in self._held]
        resumed_bytes = sum(block.size_bytes for block in found)
        self._lines.info(
            "%r: %s, cut into %s blocks of at most %s",
            self._version.key,
            size_text(self._layout.size_bytes),
            f"{len(self._layout):,}",
            size_text(self._layout.block_bytes),
        )
        attempt.stats.add_resumed(len(found), resumed_bytes)
        self._lines.info(
            "%r: %s of %s blocks (%s) are already in Azure; %s to send",
            self._version.key,
            f"{len(found):,}",
            f"{len(mine):,}",
            size_text(resumed_bytes),
            size_text(sum(block.size_bytes for block in mine) - resumed_bytes),
        )

    def _stage(self, blocks: list[Block]) -> None:
        attempt = self._attempt

        def on_staged(block: StagedBlock) -> None:
            with self._lock:
                self._held[block.start] = block
            attempt.stats.add_sent(block.size_bytes)
            attempt.backlog.moved()

        attempt.backlog.expect(len(blocks))
        route = BlockRoute(self._version, attempt.task.blob, self._second)
        attempt.context.pipeline.move(route, blocks, retrier=attempt.retrier, on_staged=on_staged)

    def _already_committed(self, condition: Condition) -> Receipt | None:
        """Return the receipt of a version that another try or task has committed; None if it must be committed here."""
        attempt, version = self._attempt, self._version
        if attempt.task.condition is None and condition.etag is None:
            # This try has seen already that there is no blob.
            return None
        blob = attempt.look_up_blob()
        if blob is None or not blob.is_copy_of(version):
            return None
        if blob.metadata.get(record.VERIFIED_BY) == record.DAMAGED and not attempt.is_first_try:
            self._copy_the_whole()
        standing = self._standing(blob, condition)
        if standing == "unread" and self._within is not None and attempt.is_first_try:
            # The task that committed it reads it back.
            return self._staged()
        return self._copied_before() if standing == "done" or (standing == "unread" and self._is_right(blob)) else None

    def _standing(self, blob: BlobState, condition: Condition) -> Literal["done", "unread", "not done"]:
        """Return whether a blob that calls itself a copy of this version is one, or must be read to know."""
        written_since = not condition.fits(blob)
        if blob.metadata.get(record.VERIFIED_BY) == record.READBACK_PENDING:
            # Nobody reads for the tasks of ranges what an earlier run has left unread: they copy it again.
            is_wanted = self._attempt.context.settings.overwrite != ALWAYS and self._within is None
            return "unread" if written_since or is_wanted else "not done"
        if not written_since or not self._step.is_done(blob):
            return "not done"
        return "unread" if self._attempt.integrity.needs_read_back(self._version) else "done"

    def _is_right(self, blob: BlobState) -> bool:
        """Return whether the committed blob holds the object's bytes, by reading it back."""
        attempt, version = self._attempt, self._version
        try:
            confirm(attempt, version, blob.etag, self._difference_from_object)
        except ReadbackDiffers as error:
            self._lines.warning("%s", error)
            self._copy_the_whole()
            return False
        return True

    def _copy_the_whole(self) -> None:
        """Copy the other ranges too: they are committed, and no longer staged, and their tasks have ended."""
        self._within = None

    def _difference_from_object(self) -> Block | None:
        attempt, version = self._attempt, self._version
        difference = difference_from_object(attempt, version, self._level)
        if difference and attempt.integrity.parts_were_guessed_wrong(version):
            raise PartsLookedUp
        return difference

    def _copied_before(self) -> Receipt:
        within = self._within
        size_bytes = within.size_bytes if within else self._version.size_bytes
        self._attempt.context.progress.add(bytes_resumed=size_bytes)
        return self._attempt.copied(self._version, blocks=len(self._layout), by_another=True)

    def _range_receipt(self, condition: Condition) -> Receipt:
        """Return the receipt of a range while other ranges are missing, or after another task has committed."""
        attempt, version = self._attempt, self._version
        if attempt.integrity.needs_read_back(version):
            # Only the task that reads the blob back knows whether it is right.
            return self._staged()
        blob = attempt.look_up_blob()
        if blob is not None and not condition.fits(blob) and blob.holds(version) and self._step.is_done(blob):
            return attempt.copied(version, blocks=len(self._layout))
        return self._staged()

    def _staged(self) -> Receipt:
        mine = missing(self._layout, {}, self._within)
        return self._attempt.stats.receipt(self._version, STAGED, blocks=len(mine))

    def _verify(self) -> None:
        """Compare the combined digests with S3's checksum; stage damaged blocks again, once.

        Raises:
            IntegrityError: The bytes that S3 returns do not match the checksum that S3 stores.
            RereadDiffers: S3 stores no checksum, and readings differ.
        """
        version, integrity = self._version, self._attempt.integrity
        if integrity.needs_second_reading(version):
            self._reread()
            return
        if matches(self._compared, self._folded()):
            return
        if integrity.parts_were_guessed_wrong(version):
            raise PartsLookedUp
        self._mend()
        require_match(self._compared, self._folded())

    def _mend(self) -> None:
        """Read all blocks again to find the damaged ones, and stage those again."""
        text = "The blocks of %r do not combine into S3's checksum: reading all of them again to find the damaged ones"
        self._lines.warning(text, self._version.key)
        damaged = self._damaged(self._chain() or ())
        self._lines.warning("%d damaged blocks of %r found: staging them again", len(damaged), self._version.key)
        self._stage(damaged)

    def _reread(self) -> None:
        """Read every block again until two consecutive readings are equal."""
        key = self._version.key
        unconfirmed = self._chain() or ()
        for reading in range(MAX_READINGS):
            differing = self._damaged(unconfirmed)
            if not differing:
                return
            if reading + 1 < MAX_READINGS:
                self._lines.warning("Two readings of %d blocks of %r differ: staging them again", len(differing), key)
                self._stage(differing)
                unconfirmed = [self._held[block.start] for block in differing]
        raise RereadDiffers(key=key)

    def _folded(self) -> int:
        return fold_blocks(self._compared, self._layout, self._held)

    def _damaged(self, blocks: Sequence[StagedBlock]) -> list[Block]:
        """Read the blocks again and return those whose bytes do not match the CRC64 in their id."""
        context = self._attempt.context
        return damaged_blocks(
            context.source,
            self._version,
            blocks,
            buffers=context.buffers,
            retrier=self._attempt.retrier,
            cancelled=context.cancelled,
        )
