"""One object from S3 to Azure, read from top to bottom: look, decide, read, stage, prove, commit, receipt."""

import logging
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final, Self

from s3_to_azure.engine import blocks as cutting
from s3_to_azure.engine import checksums, proof, rungs
from s3_to_azure.engine.block_ids import NO_SECOND, StagedBlock, fingerprint, parse
from s3_to_azure.engine.blocks import Block, Layout
from s3_to_azure.engine.buffers import BufferPool
from s3_to_azure.engine.commit import Commit, LeftoverBlocks, commit
from s3_to_azure.engine.config import CopySettings
from s3_to_azure.engine.decisions import Decision, decide
from s3_to_azure.engine.errors import (
    Cancelled,
    ObjectArchived,
    RereadDiffers,
    SourceChanged,
    TransferError,
    TransientError,
    WrongBlobType,
)
from s3_to_azure.engine.fidelity import joined_metadata, tags_to_azure
from s3_to_azure.engine.limits import GIB, MIB
from s3_to_azure.engine.model import (
    BlobContents,
    BlobState,
    Condition,
    ListedObject,
    ObjectVersion,
    PartSizes,
    Receipt,
    Status,
)
from s3_to_azure.engine.names import check_blob, check_key, is_folder_marker
from s3_to_azure.engine.progress import Progress
from s3_to_azure.engine.pump import BlockRoute, Pump, damaged, fill
from s3_to_azure.engine.readback import read_back
from s3_to_azure.engine.retries import Retrier
from s3_to_azure.engine.rungs import MAX_MD5_BLOCK_BYTES, Rung
from s3_to_azure.engine.stopping import run_stoppable
from s3_to_azure.engine.throttle import Bandwidth, Gate, GatedDestination, GatedSource
from s3_to_azure.stores.ports import BlobDestination, BodyReader, ObjectSource

# How often an object that must be read twice alike is read at most.
_MOST_READINGS: Final = 3

log = logging.getLogger(__name__)


class _PartsLookedUp(Exception):
    """The parts are of other sizes than was taken for granted: cut the object anew."""


@dataclass(frozen=True, slots=True)
class CopyTask:
    """One object to copy.

    Attributes:
        listed: What the listing showed, or None: then the object is looked up first.
        condition: The destination's state as the plan saw it; None: it is read before anything else.
        within: Stage only the blocks that begin in this range (a part of a giant object); None: all, and commit.
        block_bytes: The block size that all parts of a giant object share.
    """

    bucket: str
    key: str
    blob: str
    listed: ListedObject | None = None
    condition: Condition | None = None
    within: Block | None = None
    block_bytes: int | None = None


class Workshop:
    """What every copy of a task shares: the stores, the lanes, the memory budget, the counts, the stop.

    Args:
        source: Objects.
        destination: The container.
        settings: How to copy.
        cancelled: Set it to stop everything within three seconds; staged blocks stay.
        progress: Counts for whoever watches.
    """

    def __init__(
        self,
        source: ObjectSource,
        destination: BlobDestination,
        settings: CopySettings,
        *,
        cancelled: threading.Event | None = None,
        progress: Progress | None = None,
    ) -> None:
        """Start the lanes; close the workshop to end them."""
        self.settings = settings
        self.cancelled = cancelled or threading.Event()
        most = settings.lanes + settings.objects_at_once
        bandwidth = Bandwidth(settings.bandwidth_bytes_s)
        self.source: ObjectSource = GatedSource(source, Gate("S3", most), bandwidth, self.cancelled)
        self.destination: BlobDestination = GatedDestination(
            destination, Gate("Azure Blob Storage", most), self.cancelled
        )
        self.progress = progress or Progress()
        self.buffers = BufferPool(settings.memory_budget_bytes, self.cancelled)
        self.retrier = Retrier(settings.retry, self.cancelled)
        self.pump = Pump(
            self.source, self.destination, buffers=self.buffers, lanes=settings.lanes, cancelled=self.cancelled
        )

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def check(self, bucket: str, *, create_container: bool = False) -> None:
        """Look bucket and container up, so that a wrong name or credential fails once, not once an object.

        Raises:
            PermanentError: One of them is certainly unusable.
        """
        self.retrier.call("look at the container", lambda: self.destination.check(create=create_container))
        self.retrier.call("look at the bucket", lambda: self.source.check(bucket))

    def __exit__(self, *_: object) -> None:
        """Let the lanes end."""
        self.pump.close()


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
        self._try_number = try_number
        self._started = datetime.now(UTC)
        self._clock = time.monotonic()
        self._retries = 0
        self._bytes_sent = 0
        self._blocks_resumed = 0
        self._size_known = False
        self._parts: tuple[str, PartSizes | None] | None = None
        self._was_reread = self._was_read_back = self._metadata_dropped = False
        self._tags: tuple[str, Mapping[str, str]] | None = None
        self._seen: ObjectVersion | None = _version_of(task.listed) if task.listed else None
        self._lock = threading.Lock()
        self._retrier = shop.retrier.counting(self._count_retry)

    def run(self) -> Receipt:
        task, shop = self._task, self._shop
        if task.listed is not None and is_folder_marker(task.listed):
            return self._receipt(_version_of(task.listed), "skipped", blocks=0, reason="folder_marker")
        check_key(task.key)
        check_blob(task.blob)
        condition, blob = task.condition, None
        if condition is None:
            blob = self._look_at_blob()
            condition = Condition.of(blob)
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

    def _copy_version(self, listed: ListedObject | None, condition: Condition, blob: BlobState | None) -> Receipt:
        shop = self._shop
        if listed is not None and 0 < listed.size_bytes <= self._one_block_bytes(listed.size_bytes):
            decision = decide(listed, blob, shop.settings.overwrite)
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
        decision = decide(version, blob, shop.settings.overwrite)
        if decision.action != "copy":
            return self._left_out(version, decision, blob)
        version, rung = self._on_its_rung(version)
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

    def _one_block_bytes(self, size_bytes: int) -> int:
        """Return up to which size an object goes in one request; 0 for a part of an object."""
        if self._task.within is not None:
            return 0
        return self._shop.settings.block_bytes or cutting.block_bytes_for(size_bytes)

    # -- what the object is proven by --------------------------------------------------------------------------------

    def _on_its_rung(self, version: ObjectVersion) -> tuple[ObjectVersion, Rung]:
        """Return the version with the checksum that it will be proven by.

        Raises:
            IntegrityUnavailable: The user requires a stronger one.
        """
        settings = self._shop.settings
        rung = rungs.choose(
            version,
            lambda: self._part_sizes(version),
            largest_block_bytes=min(MAX_MD5_BLOCK_BYTES, settings.memory_budget_bytes),
        )
        checksums.require(settings.integrity, rung.checksum, key=version.key)
        return replace(version, checksum=rung.checksum), rung

    def _part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        if each or self._parts is None or self._parts[0] != version.etag:
            found = self._retrier.call(
                f"look up the parts of {version.key!r}", lambda: self._shop.source.part_sizes(version, each=each)
            )
            self._parts = (version.etag, found)
        return self._parts[1]

    def _guessed_wrong(self, version: ObjectVersion) -> bool:
        """After a mismatch: look at every part, if that was not done, and say whether they are not as was thought."""
        if version.checksum is None or version.checksum.parts < 2:  # noqa: PLR2004 - one part is the whole
            return False
        before = self._part_sizes(version)
        return (
            before is not None
            and not before.certain
            and self._part_sizes(version, each=True) != replace(before, certain=True)
        )

    def _must_reread(self, version: ObjectVersion) -> bool:
        return version.checksum is None and self._shop.settings.integrity == checksums.REREAD

    def _rung_name(self, version: ObjectVersion) -> str:
        return checksums.REREAD if self._was_reread else checksums.proven_by(version.checksum)

    def _read_back(self, sent: Iterable[StagedBlock]) -> None:
        shop = self._shop
        if shop.settings.integrity == checksums.READBACK:
            read_back(shop.destination, self._task.blob, sent, buffers=shop.buffers, retrier=self._retrier)
            self._was_read_back = True

    # -- one request: empty objects and objects of one block ---------------------------------------------------------

    def _copy_empty(self, version: ObjectVersion, rung: Rung, condition: Condition) -> Receipt:
        nothing = memoryview(b"")
        proof.compare(version, rung.value_of(nothing))
        try:
            self._put(version, nothing, 0, condition)
        except LeftoverBlocks:
            # Nothing can be staged for an empty object; an empty block list makes the empty blob.
            self._commit_list(version, Layout(0, MIB), {}, condition)
        return self._copied(version, blocks=0)

    def _copy_small(self, version: ObjectVersion, condition: Condition) -> Receipt:
        shop = self._shop
        with shop.buffers.lend(version.size_bytes) as view:
            version, crc64 = self._read_proven(version, view)
            try:
                self._put(version, view, crc64, condition)
            except LeftoverBlocks:
                pass
            else:
                return self._copied(version, blocks=1)
        log.info("Blob %r has uncommitted blocks left over: taking the block path", self._task.blob)
        _, rung = self._on_its_rung(version)
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
            read, rung = self._on_its_rung(seen[0])
            crc64 = checksums.CRC64NVME.digest(view)
            actual = rung.value_of(view)
            if not proof.fits(read, actual) and self._guessed_wrong(read):
                read, rung = self._on_its_rung(seen[0])
                actual = rung.value_of(view)
            if self._must_reread(read):
                self._was_reread = crc64 == before
                if self._was_reread:
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
        contents = self._contents(version)
        step = Commit(
            version,
            blob,
            lambda condition: destination.put_blob(blob, view, crc64, contents, condition),
            restage=None,
            may_replace=self._shop.settings.overwrite != "never",
        )
        commit(destination, step, condition, self._retrier)
        self._sent(version.size_bytes)
        self._read_back([StagedBlock(0, version.size_bytes, crc64, NO_SECOND, fingerprint(version))])

    # -- many requests: staged blocks --------------------------------------------------------------------------------

    def _copy_blocks(self, version: ObjectVersion, layout: Layout, condition: Condition) -> Receipt:
        # Before anything is sent: what the blob cannot have is found out now, not after terabytes.
        self._contents(version)
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
        self._blocks_resumed = len(found)
        self._shop.progress.add(bytes_resumed=resumed)
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
            self._sent(block.size_bytes)

        route = BlockRoute(version, self._task.blob, checksums.second_of(version.checksum))
        self._shop.pump.move(route, blocks, retrier=self._retrier, on_staged=on_staged)

    def _prove(self, version: ObjectVersion, layout: Layout, held: dict[int, StagedBlock]) -> None:
        """Compare the fold with S3's checksum; cure damaged blocks once.

        Raises:
            IntegrityError: The bytes that S3 gives do not fit the checksum that S3 stores.
            RereadDiffers: S3 stores none, and readings differ.
        """
        if self._must_reread(version):
            self._reread(version, layout, held)
            return
        if proof.fits(version, proof.folded(version, layout, held)):
            return
        if self._guessed_wrong(version):
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
                self._was_reread = True
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
        contents = self._contents(version)

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
        self._read_back(cutting.in_order(layout, held) or ())

    def _is_done(self, version: ObjectVersion, condition: Condition) -> bool:
        """Say whether an earlier try, or the task of another part, has committed this version since the plan."""
        blob = self._look_at_blob()
        return blob is not None and blob.holds(version) and not condition.fits(blob)

    def _part_done(self, version: ObjectVersion, layout: Layout, condition: Condition) -> Receipt:
        """Give the receipt of a part whose siblings are not done, or are done and have committed already."""
        if self._is_done(version, condition):
            return self._copied(version, blocks=len(layout))
        return self._receipt(version, "staged", blocks=len(cutting.missing(layout, {}, self._task.within)))

    def _contents(self, version: ObjectVersion) -> BlobContents:
        own = {
            "s3_etag": version.etag,
            "s3_last_modified": version.last_modified.astimezone(UTC).isoformat(),
            "s3_checksum": proof.checksum_text(version),
            "s3_verified_by": self._rung_name(version),
        }
        named = {name: value for name, value in own.items() if value}
        choices = self._shop.settings.fidelity
        metadata, self._metadata_dropped = joined_metadata(
            named, version.metadata, key=version.key, oversized=choices.oversized_metadata
        )
        return BlobContents(
            metadata,
            version.headers,
            proof.content_md5(version),
            tags=self._blob_tags(version) if choices.tags else None,
            tier=choices.tiers.get(version.storage_class, ""),
        )

    def _blob_tags(self, version: ObjectVersion) -> Mapping[str, str]:
        if self._tags is None or self._tags[0] != version.etag:
            found = self._retrier.call(
                f"look up the tags of {version.key!r}", lambda: self._shop.source.tags(version.bucket, version.key)
            )
            self._tags = (version.etag, tags_to_azure(found, key=version.key))
        return self._tags[1]

    # -- what both ways share ----------------------------------------------------------------------------------------

    def _look_at_blob(self) -> BlobState | None:
        return self._retrier.call(
            f"look at blob {self._task.blob!r}", lambda: self._shop.destination.head(self._task.blob)
        )

    def _count_retry(self, _error: TransientError) -> None:
        with self._lock:
            self._retries += 1
        self._shop.progress.add(retries=1)

    def _sent(self, size_bytes: int) -> None:
        with self._lock:
            self._bytes_sent += size_bytes
        self._shop.progress.add(bytes_sent=size_bytes)

    def _left_out(self, version: ObjectVersion, decision: Decision, blob: BlobState | None) -> Receipt:
        self._shop.progress.add(bytes_total=-version.size_bytes)
        if decision.action == "refuse":
            raise WrongBlobType(
                blob=self._task.blob,
                container=self._shop.destination.container,
                blob_type=blob.blob_type if blob else "unknown",
            )
        if decision.action == "unchanged":
            receipt = self._receipt(version, "unchanged", blocks=0)
            recorded = blob.metadata if blob else {}
            return replace(
                receipt,
                verified_by=recorded.get("s3_verified_by", ""),
                checksum=recorded.get("s3_checksum", ""),
            )
        return self._receipt(version, "skipped", blocks=0, reason=decision.reason)

    def _archived(self) -> Receipt:
        """Leave out an object that cannot be read yet; ask for it to be restored, where that is wanted."""
        seen, choices, task = self._seen, self._shop.settings.fidelity, self._task
        version = seen or ObjectVersion(task.bucket, task.key, "", 0, self._started)
        self._shop.progress.add(bytes_total=-version.size_bytes)
        if choices.archived == "skip":
            return self._receipt(version, "skipped", blocks=0, reason="archived")
        asked = self._retrier.call(
            f"ask S3 to restore {task.key!r}",
            lambda: self._shop.source.restore(
                task.bucket, task.key, days=choices.restore_days, tier=choices.restore_tier
            ),
        )
        log.info("%r is archived: %s", task.key, "asked S3 to restore it" if asked else "its restore is in progress")
        return self._receipt(version, "skipped", blocks=0, reason="waiting_for_restore")

    def failed(self, error: TransferError) -> Receipt:
        """Give the receipt of a copy that ended with this error."""
        task, listed = self._task, self._task.listed
        nothing = ObjectVersion(task.bucket, task.key, "", 0, self._started)
        version = _version_of(listed) if listed else nothing
        return self._receipt(version, "failed", blocks=0, reason=f"{error.reason()}: {error}")

    def _copied(self, version: ObjectVersion, *, blocks: int) -> Receipt:
        reason = "metadata_dropped" if self._metadata_dropped else ""
        return self._receipt(version, "copied", blocks=blocks, reason=reason)

    def _receipt(self, version: ObjectVersion, status: Status, *, blocks: int, reason: str = "") -> Receipt:
        proven = status == "copied"
        return Receipt(
            bucket=version.bucket,
            key=version.key,
            etag=version.etag,
            size_bytes=version.size_bytes,
            container=self._shop.destination.container,
            blob=self._task.blob,
            status=status,
            reason=reason,
            verified_by=(self._rung_name(version) + ("+readback" if self._was_read_back else "")) if proven else "",
            checksum=proof.checksum_text(version) if proven else "",
            blocks=blocks,
            blocks_resumed=self._blocks_resumed,
            bytes_sent=self._bytes_sent,
            retries=self._retries,
            seconds=round(time.monotonic() - self._clock, 3),
            started_at=self._started.isoformat(timespec="milliseconds"),
            try_number=self._try_number,
        )


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
