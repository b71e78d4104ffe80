"""One version of an object into Azure: in one request, or as blocks."""

import logging
import threading
from collections.abc import Sequence

from s3_to_azure.model import checksums
from s3_to_azure.model.errors import RereadDiffers
from s3_to_azure.model.formatting import size_text
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Block, Condition, ObjectVersion, Receipt
from s3_to_azure.model.ports import BodyReader
from s3_to_azure.model.reasons import STAGED
from s3_to_azure.transfer import blocks as cutting
from s3_to_azure.transfer import integrity as proof
from s3_to_azure.transfer.attempt import ObjectCopy
from s3_to_azure.transfer.blocks import NO_SECOND, Layout, StagedBlock, fingerprint, parse
from s3_to_azure.transfer.commit import Commit, LeftoverBlocks, commit
from s3_to_azure.transfer.integrity import MOST_READINGS, VerificationLevel
from s3_to_azure.transfer.pipeline import BlockRoute, damaged, fill

log = logging.getLogger(__name__)


class PartsLookedUp(Exception):
    """The parts are of other sizes than was taken for granted: cut the object anew."""


class BlockCopy:
    """One version of an object as blocks, which Azure keeps until they are committed.

    Args:
        copy: Whose object.
        version: With the checksum that it is proven by.
        layout: How to cut it if nothing of it is staged yet.
    """

    def __init__(self, copy: ObjectCopy, version: ObjectVersion, layout: Layout) -> None:
        """Begin with no block known to be staged."""
        self._copy = copy
        self._version = version
        self._layout = layout
        self._second = checksums.second_of(version.checksum)
        # By start; the lanes add what Azure has confirmed.
        self._held: dict[int, StagedBlock] = {}
        self._lock = threading.Lock()

    def run(self, condition: Condition) -> Receipt:
        """Copy the blocks that Azure does not hold; commit, unless parts of other tasks are still missing.

        Raises:
            PartsLookedUp: Nothing was committed; the object must be cut along its parts.
            TransferError: Nothing was committed; staged blocks stay.
        """
        copy, version, within = self._copy, self._version, self._copy.task.within
        # Before anything is sent: what the blob cannot have is found out now, not after terabytes.
        copy.properties.contents(version)
        self._find_staged()
        wanted = cutting.missing(self._layout, self._held, within)
        if wanted and copy.task.condition is not None and self._is_done(condition):
            return copy.copied(version, blocks=len(self._layout))
        self._stage(wanted)
        if within is not None:
            # Others stage the rest; whoever finds the set complete after its own last block commits.
            self._held = cutting.usable(self._layout, self._list_staged(), self._second) | self._held
            if self._chain() is None:
                return self._part_done(condition)
        self._prove()
        self.commit(condition)
        return copy.copied(version, blocks=len(self._layout))

    def commit(self, condition: Condition) -> None:
        """Make the blob of all blocks under the condition, and read it back where that was asked for."""
        copy, version = self._copy, self._version
        destination, blob = copy.context.destination, copy.task.blob
        contents = copy.properties.contents(version)

        def write(condition: Condition) -> str:
            chain = self._chain()
            if chain is None:
                raise AssertionError("only a complete chain is committed")
            return destination.commit(blob, [block.block_id for block in chain], contents, condition)

        def restage() -> None:
            self._held = cutting.usable(self._layout, self._list_staged(), self._second)
            self._stage(cutting.missing(self._layout, self._held))
            self._prove()

        may_replace = copy.context.settings.overwrite != "never"
        commit(destination, Commit(version, blob, write, restage, may_replace), condition, copy.retrier)
        copy.integrity.read_back(self._chain() or ())

    # -- staging -----------------------------------------------------------------------------------------------------

    def _chain(self) -> Sequence[StagedBlock] | None:
        """Return the blocks in offset order, or None while any is missing."""
        return cutting.in_order(self._layout, self._held)

    def _list_staged(self) -> list[StagedBlock]:
        copy, mark = self._copy, fingerprint(self._version)
        blob = copy.task.blob
        listed = copy.retrier.call(
            f"list the staged blocks of {blob!r}", lambda: copy.context.destination.list_staged(blob)
        )
        return [block for item in listed if (block := parse(item, mark))]

    def _find_staged(self) -> None:
        """Take what earlier tries staged, and cut the rest as they did."""
        copy, staged = self._copy, self._list_staged()
        if copy.task.block_bytes is None and self._second is not checksums.MD5:
            self._layout = cutting.adopt(self._layout, staged, budget_bytes=copy.context.settings.memory_budget_bytes)
        self._held = cutting.usable(self._layout, staged, self._second)
        # A part counts its own range only: its siblings' receipts count the rest.
        mine = cutting.missing(self._layout, {}, copy.task.within)
        found = [block for block in mine if block.start in self._held]
        resumed = sum(block.size_bytes for block in found)
        log.info(
            "%r: %s, cut into %s blocks of at most %s",
            self._version.key,
            size_text(self._layout.size_bytes),
            f"{len(self._layout):,}",
            size_text(self._layout.block_bytes),
        )
        copy.stats.resumed(len(found), resumed)
        log.info(
            "%r: %s of %s blocks (%s) are already in Azure; %s to send",
            self._version.key,
            f"{len(found):,}",
            f"{len(mine):,}",
            size_text(resumed),
            size_text(sum(block.size_bytes for block in mine) - resumed),
        )

    def _stage(self, blocks: list[Block]) -> None:
        copy = self._copy

        def on_staged(block: StagedBlock) -> None:
            with self._lock:
                self._held[block.start] = block
            copy.stats.sent(block.size_bytes)

        route = BlockRoute(self._version, copy.task.blob, self._second)
        copy.context.pipeline.move(route, blocks, retrier=copy.retrier, on_staged=on_staged)

    def _is_done(self, condition: Condition) -> bool:
        """Say whether an earlier try, or the task of another part, has committed this version since the plan."""
        blob = self._copy.look_at_blob()
        return blob is not None and blob.holds(self._version) and not condition.fits(blob)

    def _part_done(self, condition: Condition) -> Receipt:
        """Give the receipt of a part whose siblings are not done, or are done and have committed already."""
        copy = self._copy
        if self._is_done(condition):
            return copy.copied(self._version, blocks=len(self._layout))
        mine = cutting.missing(self._layout, {}, copy.task.within)
        return copy.stats.receipt(self._version, STAGED, blocks=len(mine))

    # -- the proof ---------------------------------------------------------------------------------------------------

    def _prove(self) -> None:
        """Compare the fold with S3's checksum; cure damaged blocks once.

        Raises:
            IntegrityError: The bytes that S3 gives do not fit the checksum that S3 stores.
            RereadDiffers: S3 stores none, and readings differ.
        """
        version, integrity = self._version, self._copy.integrity
        if integrity.must_reread(version):
            self._reread()
            return
        if proof.fits(version, self._folded()):
            return
        if integrity.guessed_wrong(version):
            raise PartsLookedUp
        log.warning("The blocks of %r do not fold into S3's checksum: reading all to find the bad one", version.key)
        wrong = self._damaged(self._chain() or ())
        log.warning("%d damaged blocks of %r found: staging them again", len(wrong), version.key)
        self._stage(wrong)
        proof.compare(version, self._folded())

    def _reread(self) -> None:
        """Read every block again until two readings in a row are alike."""
        key = self._version.key
        doubtful = self._chain() or ()
        for reading in range(MOST_READINGS):
            wrong = self._damaged(doubtful)
            if not wrong:
                self._copy.integrity.was_reread = True
                return
            if reading + 1 < MOST_READINGS:
                log.warning("%d blocks of %r were not read alike twice: staging them again", len(wrong), key)
                self._stage(wrong)
                doubtful = [self._held[block.start] for block in wrong]
        raise RereadDiffers(key=key)

    def _folded(self) -> int:
        return proof.folded(self._version, self._layout, self._held)

    def _damaged(self, blocks: Sequence[StagedBlock]) -> list[Block]:
        """Read the blocks again and return those whose bytes are not what their id says."""
        context = self._copy.context
        return damaged(
            context.source,
            self._version,
            blocks,
            buffers=context.buffers,
            retrier=self._copy.retrier,
            cancelled=context.cancelled,
        )


def copy_empty(copy: ObjectCopy, version: ObjectVersion, level: VerificationLevel, condition: Condition) -> Receipt:
    """Copy an object of no bytes, which cannot be read in ranges."""
    nothing = memoryview(b"")
    proof.compare(version, level.value_of(nothing))
    try:
        _put(copy, version, nothing, 0, condition)
    except LeftoverBlocks:
        # Nothing can be staged for an empty object; an empty block list makes the empty blob.
        BlockCopy(copy, version, Layout(0, MIB)).commit(condition)
    else:
        _read_back(copy, version, 0)
    return copy.copied(version, blocks=0)


def copy_whole(copy: ObjectCopy, version: ObjectVersion, condition: Condition) -> Receipt:
    """Copy an object of one block; where blocks left over stand in the way, as a staged block."""
    with copy.context.buffers.lend(version.size_bytes) as view:
        version, crc64 = _read_proven(copy, version, view)
        try:
            _put(copy, version, view, crc64, condition)
        except LeftoverBlocks:
            in_blocks = True
        else:
            in_blocks = False
    # Without its buffer from here on, which others may wait for.
    if not in_blocks:
        _read_back(copy, version, crc64)
        return copy.copied(version, blocks=1)
    log.info("Blob %r has uncommitted blocks left over: taking the block path", copy.task.blob)
    _, level = copy.integrity.at_its_level(version)
    return BlockCopy(copy, version, Layout(version.size_bytes, version.size_bytes, level.edges)).run(condition)


def _read_proven(copy: ObjectCopy, version: ObjectVersion, view: memoryview) -> tuple[ObjectVersion, int]:
    """Read the whole object until its bytes fit its checksum; a second mismatch is final.

    Where it must be read twice and has none: until two readings in a row are alike.
    """
    integrity = copy.integrity
    seen: list[ObjectVersion] = []
    before: int | None = None

    def opened(body: BodyReader) -> None:
        seen.append(body.version)

    for reading in range(1, MOST_READINGS + 1):
        seen.clear()
        fill(
            copy.context.source,
            version,
            0,
            view,
            retrier=copy.retrier,
            cancelled=copy.context.cancelled,
            opened=opened,
            whole=True,
        )
        # The first body is the whole object's, so its headers hold all; later ones only resume it.
        read, level = integrity.at_its_level(seen[0])
        crc64 = checksums.CRC64NVME.digest(view)
        actual = level.value_of(view)
        if not proof.fits(read, actual) and integrity.guessed_wrong(read):
            read, level = integrity.at_its_level(seen[0])
            actual = level.value_of(view)
        if integrity.must_reread(read):
            integrity.was_reread = crc64 == before
            if integrity.was_reread:
                return read, crc64
            before = crc64
            continue
        if reading > 1:
            proof.compare(read, actual)
        if proof.fits(read, actual):
            return read, crc64
        log.warning("The bytes of %r do not fit S3's checksum: reading it again", version.key)
    raise RereadDiffers(key=version.key)


def _put(copy: ObjectCopy, version: ObjectVersion, view: memoryview, crc64: int, condition: Condition) -> None:
    destination, blob = copy.context.destination, copy.task.blob
    contents = copy.properties.contents(version)
    step = Commit(
        version,
        blob,
        lambda condition: destination.put_blob(blob, view, crc64, contents, condition),
        restage=None,
        may_replace=copy.context.settings.overwrite != "never",
    )
    commit(destination, step, condition, copy.retrier)
    copy.stats.sent(version.size_bytes)


def _read_back(copy: ObjectCopy, version: ObjectVersion, crc64: int) -> None:
    copy.integrity.read_back([StagedBlock(0, version.size_bytes, crc64, NO_SECOND, fingerprint(version))])
