"""One object from S3 to Azure, read from top to bottom: look, decide, read, stage, prove, commit, receipt."""

import logging
import threading
from dataclasses import dataclass, replace
from typing import Final

from s3_to_azure.engine import blocks as cutting
from s3_to_azure.engine import checksums, proof
from s3_to_azure.engine.belongings import Belongings
from s3_to_azure.engine.block_ids import NO_SECOND, StagedBlock, fingerprint, parse
from s3_to_azure.engine.blocks import Block, Layout
from s3_to_azure.engine.commit import Commit, LeftoverBlocks, commit
from s3_to_azure.engine.decisions import Decision, decide
from s3_to_azure.engine.errors import (
    Cancelled,
    ObjectArchived,
    RereadDiffers,
    SourceChanged,
    TransferError,
    WrongBlobType,
)
from s3_to_azure.engine.evidence import Evidence
from s3_to_azure.engine.ledger import Ledger
from s3_to_azure.engine.limits import GIB, MIB
from s3_to_azure.engine.metadata_update import update_metadata
from s3_to_azure.engine.model import (
    BlobState,
    Condition,
    ListedObject,
    ObjectVersion,
    Receipt,
)
from s3_to_azure.engine.names import check_blob, check_key, is_folder_marker
from s3_to_azure.engine.pump import BlockRoute, damaged, fill
from s3_to_azure.engine.rungs import Rung
from s3_to_azure.engine.stopping import run_stoppable
from s3_to_azure.engine.workshop import CopyTask, Workshop
from s3_to_azure.stores.ports import BodyReader

# How often an object that must be read twice alike is read at most.
_MOST_READINGS: Final = 3

log = logging.getLogger(__name__)


class _PartsLookedUp(Exception):
    """The parts are of other sizes than was taken for granted: cut the object anew."""


def copy_object(shop: Workshop, task: CopyTask, *, try_number: int = 1) -> Receipt:
    """Copy one object if it needs it; return the receipt once the commit is confirmed.

    Safe to repeat and to run twice at once: what Azure holds of this very version is not sent again, and a commit
    happens only under the destination's state as first seen.

    Raises:
        TransferError: Nothing was committed; the destination is as it was, staged blocks stay.
        Cancelled: Stopped, within three seconds whatever the sockets do.
    """
    outcome = run_stoppable(lambda: attempt(shop, task, try_number=try_number), shop.cancelled)
    if outcome.error:
        raise outcome.error
    return outcome.receipt


@dataclass(frozen=True, slots=True)
class Outcome:
    """A receipt, and for one that says ``failed`` the error behind it."""

    receipt: Receipt
    error: TransferError | None = None


def attempt(shop: Workshop, task: CopyTask, *, try_number: int = 1) -> Outcome:
    """Copy one object as ``copy_object`` does, but return its failure as a receipt.

    Raises:
        Cancelled: Stopped from outside; there is no receipt.
    """
    copy = _Copy(shop, task, try_number)
    try:
        return Outcome(copy.run())
    except Cancelled:
        raise
    except TransferError as error:
        return Outcome(copy.failed(error), error)


class _Copy:
    """The state of one object's copy: what was seen of both sides, and the counts for the receipt."""

    def __init__(self, shop: Workshop, task: CopyTask, try_number: int) -> None:
        self._shop = shop
        self._task = task
        self._size_known = False
        self._seen: ObjectVersion | None = _version_of(task.listed) if task.listed else None
        self._lock = threading.Lock()
        self._ledger = Ledger(shop, task, try_number)
        self._retrier = shop.retrier.counting(self._ledger.count_retry)
        self._evidence = Evidence(shop, task.blob, self._retrier)
        self._belongings = Belongings(shop, self._evidence, self._retrier)

    def run(self) -> Receipt:
        task, shop = self._task, self._shop
        if task.listed is not None and is_folder_marker(task.listed):
            return self._ledger.receipt(_version_of(task.listed), "skipped", reason="folder_marker")
        check_key(task.key)
        check_blob(task.blob)
        condition, blob = self._condition()
        if task.metadata_only and (updated := self._updated(condition)):
            return updated
        listed = task.listed
        changes = 0
        while True:
            try:
                return self._copy_version(listed, condition, blob)
            except SourceChanged:
                changes += 1
                if task.within is not None or changes > shop.retrier.budget.source_changes:
                    raise
                log.warning("S3 object %r changed during the copy: starting again with its new version", task.key)
                listed = None
            except ObjectArchived:
                if shop.settings.fidelity.archived == "fail":
                    raise
                return self._archived()
            except _PartsLookedUp:
                log.info("The parts of %r have sizes of their own: cutting it along them", task.key)
                # Its siblings cut it otherwise, so this one copies what is missing of the whole.
                task = self._task = replace(task, within=None)

    def _condition(self) -> tuple[Condition, BlobState | None]:
        """Return the condition of every write, and the blob if it had to be looked at for that."""
        if self._task.condition is not None:
            return self._task.condition, None
        blob = self._look_at_blob()
        return Condition.of(blob), blob

    def _updated(self, condition: Condition) -> Receipt | None:
        """Bring the blob's metadata up to date; None where the object is to be copied after all."""
        found = update_metadata(self._shop, self._task, condition, self._belongings, self._retrier)
        if found is None:
            self._shop.progress.add(bytes_total=self._task.listed.size_bytes if self._task.listed else 0)
            return None
        return self._unchanged(found.version, found.blob, reason="metadata_updated")

    def _copy_version(self, listed: ListedObject | None, condition: Condition, blob: BlobState | None) -> Receipt:
        shop = self._shop
        if listed is not None and 0 < listed.size_bytes <= self._one_block_bytes(listed.size_bytes):
            decision = self._decide(listed, blob)
            if decision.action != "copy":
                return self._left_out(_version_of(listed), decision, blob)
            return self._copy_small(_version_of(listed), condition)
        version = self._retrier.call(
            f"look at object {self._task.key!r}", lambda: shop.source.head(self._task.bucket, self._task.key)
        )
        self._seen = version
        if listed is not None and version.etag != listed.etag and self._task.within is not None:
            raise SourceChanged(key=version.key, bucket=version.bucket, etag=listed.etag)
        if self._task.listed is None and not self._size_known:
            self._size_known = True
            shop.progress.add(bytes_total=version.size_bytes)
        decision = self._decide(version, blob)
        if decision.action != "copy":
            return self._left_out(version, decision, blob)
        version, rung = self._evidence.on_its_rung(version)
        if version.size_bytes == 0:
            return self._copy_empty(version, rung, condition)
        layout = rung.layout(
            version.size_bytes,
            budget_bytes=shop.settings.memory_budget_bytes,
            block_bytes=self._task.block_bytes or shop.settings.block_bytes,
        )
        if len(layout) == 1 and self._task.within is None:
            return self._copy_small(version, condition)
        return self._copy_blocks(version, layout, condition)

    def _decide(self, source: ObjectVersion | ListedObject, blob: BlobState | None) -> Decision:
        shop, task = self._shop, self._task
        decision = decide(source, blob, shop.settings.overwrite)
        if decision.action == "copy" and blob is not None and blob.source_etag not in (None, source.etag):
            # A named version may be older than one of the same second, and dates count in seconds.
            current = self._retrier.call(
                f"look at {task.key!r}", lambda: shop.source.current_etag(task.bucket, task.key)
            )
            if current == blob.source_etag:
                return Decision("skip", "destination_newer")
        return decision

    def _one_block_bytes(self, size_bytes: int) -> int:
        """Return up to which size an object goes in one request; 0 for a part of an object."""
        if self._task.within is not None or size_bytes > self._shop.settings.memory_budget_bytes:
            return 0
        return self._shop.settings.block_bytes or cutting.block_bytes_for(size_bytes)

    # -- one request: empty objects and objects of one block ---------------------------------------------------------

    def _copy_empty(self, version: ObjectVersion, rung: Rung, condition: Condition) -> Receipt:
        nothing = memoryview(b"")
        proof.compare(version, rung.value_of(nothing))
        try:
            self._put(version, nothing, 0, condition)
        except LeftoverBlocks:
            # Nothing can be staged for an empty object; an empty block list makes the empty blob.
            self._commit_list(version, Layout(0, MIB), {}, condition)
        else:
            self._read_back_whole(version, 0)
        return self._copied(version, blocks=0)

    def _copy_small(self, version: ObjectVersion, condition: Condition) -> Receipt:
        shop = self._shop
        with shop.buffers.lend(version.size_bytes) as view:
            version, crc64 = self._read_proven(version, view)
            try:
                self._put(version, view, crc64, condition)
            except LeftoverBlocks:
                in_blocks = True
            else:
                in_blocks = False
        if not in_blocks:
            self._read_back_whole(version, crc64)
            return self._copied(version, blocks=1)
        log.info("Blob %r has uncommitted blocks left over: taking the block path", self._task.blob)
        _, rung = self._evidence.on_its_rung(version)
        return self._copy_blocks(version, Layout(version.size_bytes, version.size_bytes, rung.edges), condition)

    def _read_proven(self, version: ObjectVersion, view: memoryview) -> tuple[ObjectVersion, int]:
        """Read the whole object until its bytes fit its checksum; a second mismatch is final.

        Where it must be read twice and has none: until two readings in a row are alike.
        """
        seen: list[ObjectVersion] = []
        before: int | None = None

        def opened(body: BodyReader) -> None:
            seen.append(body.version)

        for reading in range(1, _MOST_READINGS + 1):
            seen.clear()
            fill(
                self._shop.source,
                version,
                0,
                view,
                retrier=self._retrier,
                cancelled=self._shop.cancelled,
                opened=opened,
                whole=True,
            )
            # The first body is the whole object's, so its headers hold all; later ones only resume it.
            read, rung = self._evidence.on_its_rung(seen[0])
            crc64 = checksums.CRC64NVME.digest(view)
            actual = rung.value_of(view)
            if not proof.fits(read, actual) and self._evidence.guessed_wrong(read):
                read, rung = self._evidence.on_its_rung(seen[0])
                actual = rung.value_of(view)
            if self._evidence.must_reread(read):
                self._evidence.was_reread = crc64 == before
                if self._evidence.was_reread:
                    return read, crc64
                before = crc64
                continue
            if reading > 1:
                proof.compare(read, actual)
            if proof.fits(read, actual):
                return read, crc64
            log.warning("The bytes of %r do not fit S3's checksum: reading it again", version.key)
        raise RereadDiffers(key=version.key)

    def _put(self, version: ObjectVersion, view: memoryview, crc64: int, condition: Condition) -> None:
        destination, blob = self._shop.destination, self._task.blob
        contents = self._belongings.contents(version)
        step = Commit(
            version,
            blob,
            lambda condition: destination.put_blob(blob, view, crc64, contents, condition),
            restage=None,
            may_replace=self._shop.settings.overwrite != "never",
        )
        commit(destination, step, condition, self._retrier)
        self._ledger.sent(version.size_bytes)

    def _read_back_whole(self, version: ObjectVersion, crc64: int) -> None:
        """Read the blob back where that was asked for; not while its buffer is held, which others may wait for."""
        self._evidence.read_back([StagedBlock(0, version.size_bytes, crc64, NO_SECOND, fingerprint(version))])

    # -- many requests: staged blocks --------------------------------------------------------------------------------

    def _copy_blocks(self, version: ObjectVersion, layout: Layout, condition: Condition) -> Receipt:
        # Before anything is sent: what the blob cannot have is found out now, not after terabytes.
        self._belongings.contents(version)
        second = checksums.second_of(version.checksum)
        layout, held = self._find_staged(version, layout)
        self._resumed(version, layout, held)
        wanted = cutting.missing(layout, held, self._task.within)
        if wanted and self._task.condition is not None and self._is_done(version, condition):
            return self._copied(version, blocks=len(layout))
        self._stage(version, wanted, held)
        if self._task.within is not None:
            # Others stage the rest; whoever finds the set complete after its own last block commits.
            held |= cutting.usable(layout, self._list_staged(version), second) | held
            if cutting.in_order(layout, held) is None:
                return self._part_done(version, layout, condition)
        self._prove(version, layout, held)
        self._commit_list(version, layout, held, condition)
        return self._copied(version, blocks=len(layout))

    def _list_staged(self, version: ObjectVersion) -> list[StagedBlock]:
        mark = fingerprint(version)
        listed = self._retrier.call(
            f"list the staged blocks of {self._task.blob!r}",
            lambda: self._shop.destination.list_staged(self._task.blob),
        )
        return [block for item in listed if (block := parse(item, mark))]

    def _find_staged(self, version: ObjectVersion, default: Layout) -> tuple[Layout, dict[int, StagedBlock]]:
        staged = self._list_staged(version)
        layout = default
        second = checksums.second_of(version.checksum)
        if self._task.block_bytes is None and second is not checksums.MD5:
            layout = cutting.adopt(default, staged, budget_bytes=self._shop.settings.memory_budget_bytes)
        return layout, cutting.usable(layout, staged, second)

    def _resumed(self, version: ObjectVersion, layout: Layout, held: dict[int, StagedBlock]) -> None:
        # A part counts its own range only: its siblings' receipts count the rest.
        mine = cutting.missing(layout, {}, self._task.within)
        found = [block for block in mine if block.start in held]
        resumed = sum(block.size_bytes for block in found)
        log.info(
            "%s: %s, cut into %s blocks of at most %s",
            repr(version.key),
            _human(layout.size_bytes),
            f"{len(layout):,}",
            _human(layout.block_bytes),
        )
        self._ledger.resumed(len(found), resumed)
        log.info(
            "%s: %s of %s blocks (%s) are already in Azure; %s to send",
            repr(version.key),
            f"{len(found):,}",
            f"{len(mine):,}",
            _human(resumed),
            _human(sum(block.size_bytes for block in mine) - resumed),
        )

    def _stage(self, version: ObjectVersion, blocks: list[Block], held: dict[int, StagedBlock]) -> None:
        def on_staged(block: StagedBlock) -> None:
            with self._lock:
                held[block.start] = block
            self._ledger.sent(block.size_bytes)

        route = BlockRoute(version, self._task.blob, checksums.second_of(version.checksum))
        self._shop.pump.move(route, blocks, retrier=self._retrier, on_staged=on_staged)

    def _prove(self, version: ObjectVersion, layout: Layout, held: dict[int, StagedBlock]) -> None:
        """Compare the fold with S3's checksum; cure damaged blocks once.

        Raises:
            IntegrityError: The bytes that S3 gives do not fit the checksum that S3 stores.
            RereadDiffers: S3 stores none, and readings differ.
        """
        if self._evidence.must_reread(version):
            self._reread(version, layout, held)
            return
        if proof.fits(version, proof.folded(version, layout, held)):
            return
        if self._evidence.guessed_wrong(version):
            raise _PartsLookedUp
        log.warning("The blocks of %r do not fold into S3's checksum: reading all to find the bad one", version.key)
        chain = cutting.in_order(layout, held) or ()
        shop = self._shop
        wrong = damaged(
            shop.source, version, chain, buffers=shop.buffers, retrier=self._retrier, cancelled=shop.cancelled
        )
        log.warning("%d damaged blocks of %r found: staging them again", len(wrong), version.key)
        self._stage(version, wrong, held)
        proof.compare(version, proof.folded(version, layout, held))

    def _reread(self, version: ObjectVersion, layout: Layout, held: dict[int, StagedBlock]) -> None:
        """Read every block again until two readings in a row are alike."""
        shop = self._shop
        doubtful = list(cutting.in_order(layout, held) or ())
        for reading in range(_MOST_READINGS):
            wrong = damaged(
                shop.source, version, doubtful, buffers=shop.buffers, retrier=self._retrier, cancelled=shop.cancelled
            )
            if not wrong:
                self._evidence.was_reread = True
                return
            if reading + 1 < _MOST_READINGS:
                log.warning("%d blocks of %r were not read alike twice: staging them again", len(wrong), version.key)
                self._stage(version, wrong, held)
                doubtful = [held[block.start] for block in wrong]
        raise RereadDiffers(key=version.key)

    def _commit_list(
        self, version: ObjectVersion, layout: Layout, held: dict[int, StagedBlock], condition: Condition
    ) -> None:
        destination, blob = self._shop.destination, self._task.blob
        contents = self._belongings.contents(version)

        def write(condition: Condition) -> str:
            chain = cutting.in_order(layout, held)
            if chain is None:
                raise AssertionError("only a complete chain is committed")
            return destination.commit(blob, [block.block_id for block in chain], contents, condition)

        def restage() -> None:
            held.clear()
            held.update(cutting.usable(layout, self._list_staged(version), checksums.second_of(version.checksum)))
            self._stage(version, cutting.missing(layout, held), held)
            self._prove(version, layout, held)

        may_replace = self._shop.settings.overwrite != "never"
        commit(destination, Commit(version, blob, write, restage, may_replace), condition, self._retrier)
        self._evidence.read_back(cutting.in_order(layout, held) or ())

    def _is_done(self, version: ObjectVersion, condition: Condition) -> bool:
        """Say whether an earlier try, or the task of another part, has committed this version since the plan."""
        blob = self._look_at_blob()
        return blob is not None and blob.holds(version) and not condition.fits(blob)

    def _part_done(self, version: ObjectVersion, layout: Layout, condition: Condition) -> Receipt:
        """Give the receipt of a part whose siblings are not done, or are done and have committed already."""
        if self._is_done(version, condition):
            return self._copied(version, blocks=len(layout))
        return self._ledger.receipt(version, "staged", blocks=len(cutting.missing(layout, {}, self._task.within)))

    # -- what both ways share ----------------------------------------------------------------------------------------

    def _look_at_blob(self) -> BlobState | None:
        return self._retrier.call(
            f"look at blob {self._task.blob!r}", lambda: self._shop.destination.head(self._task.blob)
        )

    def _left_out(self, version: ObjectVersion, decision: Decision, blob: BlobState | None) -> Receipt:
        self._shop.progress.add(bytes_total=-version.size_bytes)
        if decision.action == "refuse":
            raise WrongBlobType(
                blob=self._task.blob,
                container=self._shop.destination.container,
                blob_type=blob.blob_type if blob else "unknown",
            )
        if decision.action == "unchanged":
            return self._unchanged(version, blob)
        return self._ledger.receipt(version, "skipped", reason=decision.reason)

    def _unchanged(self, version: ObjectVersion, blob: BlobState | None, *, reason: str = "") -> Receipt:
        recorded = blob.metadata if blob else {}
        return replace(
            self._ledger.receipt(version, "unchanged", reason=reason),
            verified_by=recorded.get("s3_verified_by", ""),
            checksum=recorded.get("s3_checksum", ""),
        )

    def _archived(self) -> Receipt:
        """Leave out an object that cannot be read yet; ask for it to be restored, where that is wanted."""
        seen, choices, task = self._seen, self._shop.settings.fidelity, self._task
        version = seen or ObjectVersion(task.bucket, task.key, "", 0, self._ledger.started)
        self._shop.progress.add(bytes_total=-version.size_bytes)
        if choices.archived == "skip":
            return self._ledger.receipt(version, "skipped", reason="archived")
        asked = self._retrier.call(
            f"ask S3 to restore {task.key!r}",
            lambda: self._shop.source.restore(
                task.bucket, task.key, days=choices.restore_days, tier=choices.restore_tier
            ),
        )
        log.info("%r is archived: %s", task.key, "asked S3 to restore it" if asked else "its restore is in progress")
        return self._ledger.receipt(version, "skipped", reason="waiting_for_restore")

    def failed(self, error: TransferError) -> Receipt:
        """Give the receipt of a copy that ended with this error."""
        task, listed = self._task, self._task.listed
        nothing = ObjectVersion(task.bucket, task.key, "", 0, self._ledger.started)
        version = _version_of(listed) if listed else nothing
        return self._ledger.receipt(version, "failed", reason=f"{error.reason()}: {error}")

    def _copied(self, version: ObjectVersion, *, blocks: int) -> Receipt:
        reason = "metadata_dropped" if self._belongings.metadata_dropped else ""
        verified_by = self._evidence.verified_by(version)
        return self._ledger.receipt(version, "copied", blocks=blocks, reason=reason, verified_by=verified_by)


def _version_of(listed: ListedObject) -> ObjectVersion:
    return ObjectVersion(
        bucket=listed.bucket,
        key=listed.key,
        etag=listed.etag,
        size_bytes=listed.size_bytes,
        last_modified=listed.last_modified,
        storage_class=listed.storage_class,
    )


def _human(size_bytes: int) -> str:
    for unit, name in ((GIB, "GiB"), (MIB, "MiB")):
        if size_bytes >= unit:
            return f"{size_bytes / unit:,.1f} {name}"
    return f"{size_bytes:,} bytes"
