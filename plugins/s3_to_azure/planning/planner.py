"""The plan of a run, made in constant memory: join the listings, decide on each object, cut the rest into batches.

Two passes. The first reads the manifest beside the destination's listing; what is left out goes into one file with
its reason, what is to be copied into another with the destination's state. Then the totals are known, and the second
pass shares those out.
"""

import logging
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from s3_to_azure.model.decide import Decision, decide
from s3_to_azure.model.errors import NameRefused
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import AZURE_PAGE_BLOBS, LISTING_PAGE_KEYS, MIB
from s3_to_azure.model.names import STATE_FOLDER, blob_name, check_blob, check_key, is_folder_marker
from s3_to_azure.model.objects import BlobState, ListedObject
from s3_to_azure.model.ports import BlobDestination, StateFiles
from s3_to_azure.model.retry import Retrier, with_retries
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.planning.batching import descriptor_of, weight_of, with_known_absence, write_batches
from s3_to_azure.planning.join import Join
from s3_to_azure.planning.plan import (
    ARCHIVE_CLASSES,
    MAX_EXAMPLES,
    METADATA_UPDATE_REQUESTS,
    AmountCounter,
    Plan,
    Requests,
    requests_for,
)
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.state.lines import LinesWriter, Member
from s3_to_azure.state.manifest import ManifestPointer, read_manifest
from s3_to_azure.state.plan import (
    BatchDescriptor,
    EntryLine,
    LeftOut,
    LeftOutStatus,
    PlanEntry,
    PlanIndex,
    batches_name,
    decisions_name,
    entry_line,
    left_out_name,
    read_entries,
    write_plan_index,
)
from s3_to_azure.transfer import blocks
from s3_to_azure.transfer.blocks import Layout, block_bytes_for, fingerprint, layout_for, parse

_OURS: Final = f"{STATE_FOLDER}/"
_MEMBER_LINES: Final = 10_000


class PlanBuilder:
    """Decides on one listed object after the other, and counts.

    Args:
        settings: The plan's.
        join: The destination's listing.
        look: Gives a blob's state by a request; asked for giant objects only.
        to_copy: Takes the objects to copy, with the destination's state.
        left_out: Takes all others.
    """

    def __init__(
        self,
        settings: PlanSettings,
        join: Join,
        look: Callable[[str], BlobState | None],
        *,
        to_copy: LinesWriter,
        left_out: LinesWriter,
    ) -> None:
        """Begin with nothing counted."""
        self.listed = AmountCounter()
        self.copy = AmountCounter()
        self.unchanged = AmountCounter()
        self.skipped: dict[str, AmountCounter] = defaultdict(AmountCounter)
        self.failed: dict[str, AmountCounter] = defaultdict(AmountCounter)
        self.weight = 0
        self.largest_bytes = 0
        self.rewritten = 0
        self.archived = 0
        self.looks = 0
        self.mapped_there = 0
        self.refused_names: list[str] = []
        self.mapped = 0
        self.mapped_names: list[tuple[str, str]] = []
        self._settings = settings
        self._join = join
        self._look = look
        self._to_copy = to_copy
        self._left_out = left_out
        self._filters = settings.filters if settings.filters != Filters() else None
        self._maps_names = settings.refused_names == "map"
        # Nearly all objects are of one block: their requests are counted, and added up once.
        self._block_bytes = settings.block_bytes or block_bytes_for(0)
        self._of_one_block = {True: 0, False: 0}
        self._copying = Requests()

    @property
    def copying(self) -> Requests:
        """Requests that the copies will make."""
        total = self._copying
        for looked, count in self._of_one_block.items():
            total = total.plus(requests_for(0, block_bytes=self._block_bytes, destination_known=looked).times(count))
        return total

    def add(self, listed: ListedObject) -> None:
        """Decide on the next object of the listing.

        Raises:
            BudgetTooSmall: The memory budget does not hold one block of it.
        """
        self.listed.add(listed.size_bytes)
        settings = self._settings
        blob = plain = blob_name(listed.key, s3_prefix=settings.s3_prefix, blob_prefix=settings.blob_prefix)
        if self._maps_names:
            blob = settings.blob_of(listed.key)
        # A mapped name is out of the listing's order: only a request of its own can find it.
        mapped = blob != plain
        there = None if mapped else self._join.find(blob)
        if self._out_by_itself(listed, blob):
            return
        if mapped or (listed.size_bytes > settings.split_bytes and there is None):
            # Its parts must commit under one condition, and it is worth a request of its own.
            self.looks += 1
            there = self._look(blob)
        self.mapped_there += mapped and there is not None
        decision = decide(listed, there, settings.overwrite)
        if decision.action == "unchanged" and there is not None and self._was_rewritten(listed, there):
            self._update(listed, there)
        elif decision.action == "copy":
            if mapped:
                self._count_mapped(listed.key, blob)
            self._copy(listed, there)
        else:
            self._decided_out(listed, there, decision)

    def finish(self) -> None:
        """Close both files."""
        self._join.finish()
        self._to_copy.end_member()
        self._left_out.end_member()

    def _out_by_itself(self, listed: ListedObject, blob: str) -> bool:
        """Leave the object out where no look at the destination is needed for it."""
        if listed.problem:
            self._leave(listed, "failed", listed.problem)
            return True
        reason = self._filters.reason_to_skip(listed) if self._filters else None
        if reason is None and blob.startswith(_OURS):
            reason = "reserved_name"
        if reason is None and is_folder_marker(listed):
            reason = "folder_marker"
        if reason is not None:
            self._leave(listed, "skipped", reason)
            return True
        try:
            check_key(listed.key)
            check_blob(blob)
        except NameRefused as error:
            if len(self.refused_names) < MAX_EXAMPLES:
                self.refused_names.append(listed.key)
            status: LeftOutStatus = "skipped" if self._settings.refused_names == "skip" else "failed"
            self._leave(listed, status, f"{error.reason()}: {error.attributes['detail']}")
            return True
        return False

    def _decided_out(self, listed: ListedObject, there: BlobState | None, decision: Decision) -> None:
        if decision.action != "unchanged" or there is None:
            self._leave(listed, "failed" if decision.action == "refuse" else "skipped", decision.reason)
            return
        self.unchanged.add(listed.size_bytes)
        self._write(
            LeftOut(
                listed.key,
                listed.etag,
                listed.size_bytes,
                "unchanged",
                verified_by=there.metadata.get("s3_verified_by", "")[:100],
                checksum=there.metadata.get("s3_checksum", "")[:200],
            )
        )

    def _was_rewritten(self, listed: ListedObject, there: BlobState) -> bool:
        """Say whether S3 received the same bytes again since the copy: a listing does not show what came with them."""
        copied = there.source_last_modified
        return self._settings.overwrite != "never" and copied is not None and copied < listed.last_modified

    def _update(self, listed: ListedObject, there: BlobState) -> None:
        self.rewritten += 1
        self._copying = self._copying.plus(METADATA_UPDATE_REQUESTS)
        self._plan(entry_line(listed, there, metadata_only=True))

    def _count_mapped(self, key: str, blob: str) -> None:
        self.mapped += 1
        if len(self.mapped_names) < MAX_EXAMPLES:
            self.mapped_names.append((key, blob))

    def _copy(self, listed: ListedObject, there: BlobState | None) -> None:
        settings = self._settings
        if listed.size_bytes > settings.memory_budget_bytes:
            layout_for(listed.size_bytes, budget_bytes=settings.memory_budget_bytes, block_bytes=settings.block_bytes)
        self.archived += listed.storage_class in ARCHIVE_CLASSES
        # Where the order breaks later, up to one HEAD for each object comes on top.
        looked = self._join.in_order
        if listed.size_bytes <= self._block_bytes:
            self._of_one_block[looked] += 1
        else:
            requests = requests_for(listed.size_bytes, block_bytes=settings.block_bytes, destination_known=looked)
            self._copying = self._copying.plus(requests)
        self._plan(entry_line(listed, there))

    def _plan(self, entry: EntryLine) -> None:
        work_bytes = entry.work_bytes
        self.copy.add(work_bytes)
        self.weight += weight_of(work_bytes)
        self.largest_bytes = max(self.largest_bytes, work_bytes)
        self._to_copy.add(entry)
        if not self.copy.objects % _MEMBER_LINES:
            self._to_copy.end_member()

    def _leave(self, listed: ListedObject, status: LeftOutStatus, reason: str) -> None:
        counts = self.failed if status == "failed" else self.skipped
        code = reason.partition(":")[0]
        counts[code].add(listed.size_bytes)
        self._write(LeftOut(listed.key, listed.etag, listed.size_bytes, status, reason))

    def _write(self, left_out: LeftOut) -> None:
        self._left_out.add(left_out)
        if not (self.listed.objects - self.copy.objects) % _MEMBER_LINES:
            self._left_out.end_member()


__all__ = ["PlanSettings", "make_plan"]

log = logging.getLogger(__name__)


def make_plan(
    files: StateFiles,
    pointer: ManifestPointer,
    destination: BlobDestination,
    settings: PlanSettings,
    *,
    retrier: Retrier | None = None,
) -> Plan:
    """Plan the run and make the plan the run's; no object is read and no blob is touched.

    The batches are the same for the same manifest, destination and settings. Made again, a plan replaces the earlier
    one, whose files stay until the run's are deleted.

    Raises:
        CorruptState: The manifest is not what the pointer says.
        BudgetTooSmall: The memory budget does not hold one block of an object.
    """
    retrier = retrier or Retrier(RetryBudget(), threading.Event())
    token = secrets.token_hex(8)
    # What goes to one task needs no second pass: its batch is what the first one wrote.
    for_one_task = settings.max_tasks == 1
    decided = batches_name(token) if for_one_task else decisions_name(token)
    builder, join, whole = _decide(files, pointer, destination, settings, (decided, left_out_name(token)), retrier)
    looks = 0

    def layout_of(entry: EntryLine) -> Layout:
        nonlocal looks
        looks += 1
        listed = PlanEntry.of_line(entry, bucket=pointer.bucket).listed
        return _shared_layout(listed, destination, settings, retrier)

    def entries() -> Iterator[EntryLine]:
        # Each key was checked against the prefix when the manifest was read.
        read = read_entries(files.chunks(decided), prefix="", path=f"{files.location}/{decided}")
        return with_known_absence(read, in_order=join.in_order, looked_above=settings.split_bytes)

    batches: list[BatchDescriptor] = []
    own = 0
    if for_one_task and join.in_order and builder.copy.objects:
        sharing = settings.sharing(builder.weight)
        batches = [descriptor_of(token, 0, whole, builder.copy.objects, builder.copy.size_bytes, "objects")]
        own = int(sharing.parts(builder.largest_bytes) > 0)
    else:
        with files.write(batches_name(token)) as out:
            if builder.copy.objects:
                batches, own = write_batches(
                    token,
                    LinesWriter(out),
                    entries,
                    sharing=settings.sharing(builder.weight),
                    layout_of=layout_of,
                    largest_bytes=builder.largest_bytes,
                )
    if not for_one_task:
        files.delete(decided)
    plan = Plan(
        token=token,
        batches=tuple(batches),
        listed=builder.listed.amount(),
        copy=builder.copy.amount(),
        unchanged=builder.unchanged.amount(),
        skipped={reason: count.amount() for reason, count in builder.skipped.items()},
        failed={reason: count.amount() for reason, count in builder.failed.items()},
        only_in_destination=join.only_there - builder.mapped_there if join.in_order else None,
        joined=join.in_order,
        rewritten=builder.rewritten,
        archived=builder.archived,
        on_archived=settings.archived,
        refused_names=tuple(builder.refused_names),
        mapped=builder.mapped,
        mapped_names=tuple(builder.mapped_names),
        planning=Requests(
            s3_list=0 if pointer.looked_up else -(-pointer.objects // LISTING_PAGE_KEYS) or 1,
            s3_get=pointer.objects if pointer.looked_up else 0,
            azure_list=max(1, -(-join.seen // AZURE_PAGE_BLOBS)) if pointer.ordered else 0,
            azure_read=builder.looks + looks,
        ),
        copying=builder.copying,
    )
    index = PlanIndex(
        token=token,
        manifest=pointer.token,
        container=destination.container,
        s3_prefix=settings.s3_prefix,
        blob_prefix=settings.blob_prefix,
        mapped_names=settings.refused_names == "map",
        own_batches=own,
        batches=plan.batches,
    )
    write_plan_index(files, index, plan.summary())
    for line in plan.lines():
        log.info("%s", line)
    for warning in plan.warnings:
        log.warning("%s", warning)
    return plan


def _decide(
    files: StateFiles,
    pointer: ManifestPointer,
    destination: BlobDestination,
    settings: PlanSettings,
    names: tuple[str, str],
    retrier: Retrier,
) -> tuple[PlanBuilder, Join, Member]:
    """Decide on all objects, write those to copy and those left out into the files named so.

    Returns the counts, the join, and the place of the former: all of their file.
    """
    decided, left_out = names
    there = with_retries(destination.list(settings.blob_prefix), retrier, f"list {destination.container}")
    join = Join(there, ordered=pointer.ordered)
    with files.write(decided) as to_copy, files.write(left_out) as others:
        writer = LinesWriter(to_copy)
        builder = PlanBuilder(
            settings,
            join,
            lambda blob: retrier.call(f"look at blob {blob!r}", lambda: destination.head(blob)),
            to_copy=writer,
            left_out=LinesWriter(others),
        )
        for listed in read_manifest(files, pointer):
            builder.add(listed)
        builder.finish()
    return builder, join, Member(0, writer.length, writer.sha256())


def _shared_layout(
    listed: ListedObject, destination: BlobDestination, settings: PlanSettings, retrier: Retrier
) -> Layout:
    """Return the layout that all parts of a giant object use: the one staged already, or the usual one."""
    blob = settings.blob_of(listed.key)
    budget = settings.memory_budget_bytes
    usual = blocks.layout_for(listed.size_bytes, budget_bytes=budget, block_bytes=settings.block_bytes)
    mark = fingerprint(listed)
    found = retrier.call(f"list the staged blocks of {blob!r}", lambda: destination.list_staged(blob))
    staged = [block for item in found if (block := parse(item, mark))]
    layout = blocks.adopt(usual, staged, budget_bytes=budget)
    # A part's block size passes through the plan, which takes none below a MiB.
    return layout if layout.block_bytes >= MIB else usual
