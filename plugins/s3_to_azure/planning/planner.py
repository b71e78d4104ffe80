"""The plan of a run, made in constant memory: join the listings, decide on each object, cut the rest into batches.

There are two passes. The first reads the manifest alongside the destination's listing. It writes each object that is
left out into one file, with the reason, and each object to copy into another, with the destination's state. After it
the totals are known, and the second pass divides the objects to copy into batches.
"""

import logging
import secrets
import threading
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final

from s3_to_azure.model import reasons
from s3_to_azure.model.decide import are_different, decide
from s3_to_azure.model.errors import NameRefused
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import AZURE_PAGE_BLOBS, LISTING_PAGE_KEYS, MIB
from s3_to_azure.model.names import STATE_FOLDER, blob_name, check_blob, check_key, is_folder_marker, is_shown_only
from s3_to_azure.model.objects import BlobState, ListedObject
from s3_to_azure.model.options import MAP, NEVER, SKIP
from s3_to_azure.model.ports import BlobDestination, StateFiles
from s3_to_azure.model.reasons import FAILED, SKIPPED, UNCHANGED, code_of, explained
from s3_to_azure.model.retry import Retrier, with_retries
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.planning.batching import batch_descriptor, weight_of, without_uncertain_absence, write_batches
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

_STATE_PREFIX: Final = f"{STATE_FOLDER}/"
_MEMBER_LINES: Final = 10_000

log = logging.getLogger(__name__)


def make_plan(
    files: StateFiles,
    pointer: ManifestPointer,
    destination: BlobDestination,
    settings: PlanSettings,
    *,
    retrier: Retrier | None = None,
) -> Plan:
    """Plan the run, and record the plan as the run's current one; no object is read and no blob is changed.

    The batches are the same for the same manifest, destination and settings. A later plan replaces an earlier one,
    whose files stay until the run's files are deleted.

    Raises:
        CorruptState: The manifest does not match the pointer.
        BudgetTooSmall: The memory budget does not hold one block of an object.
    """
    retrier = retrier or Retrier(RetryBudget(), threading.Event())
    plan = _Planning(files, pointer, destination, settings, retrier).run()
    for line in plan.lines():
        log.info("%s", line)
    for warning in plan.warnings:
        log.warning("%s", warning)
    return plan


class _Planning:
    """The two passes of one plan."""

    def __init__(
        self,
        files: StateFiles,
        pointer: ManifestPointer,
        destination: BlobDestination,
        settings: PlanSettings,
        retrier: Retrier,
    ) -> None:
        self._files = files
        self._pointer = pointer
        self._destination = destination
        self._settings = settings
        self._retrier = retrier
        self._token = secrets.token_hex(8)
        # A single task needs no second pass: the first one writes its batch.
        self._one_task = settings.max_tasks == 1
        self._to_copy_name = batches_name(self._token) if self._one_task else decisions_name(self._token)
        self._layout_lookups = 0
        self._left_out_sha256 = ""

    def run(self) -> Plan:
        builder, to_copy = self._decide_on_all()
        if self._one_task and builder.join.in_order and builder.copy.objects:
            batches, own = self._one_batch(builder, to_copy)
        else:
            batches, own = self._cut_into_batches(builder)
        if not self._one_task:
            self._files.delete(self._to_copy_name)
        plan = builder.plan(self._token, batches, self._planning_requests(builder))
        index = PlanIndex(
            token=self._token,
            manifest=self._pointer.token,
            container=self._destination.container,
            s3_prefix=self._settings.s3_prefix,
            blob_prefix=self._settings.blob_prefix,
            mapped_names=self._settings.refused_names == MAP,
            own_batches=own,
            batches=plan.batches,
            left_out_sha256=self._left_out_sha256,
        )
        write_plan_index(self._files, index, plan.summary())
        return plan

    def _decide_on_all(self) -> tuple["PlanBuilder", Member]:
        """Make the first pass; return its counts, and the whole file of objects to copy as one member."""
        container = self._destination.container
        listing = self._destination.list(self._settings.blob_prefix)
        join = Join(with_retries(listing, self._retrier, f"list {container}"), ordered=self._pointer.ordered)
        with (
            self._files.write(self._to_copy_name) as to_copy_file,
            self._files.write(left_out_name(self._token)) as left_out_file,
        ):
            to_copy, left_out = LinesWriter(to_copy_file), LinesWriter(left_out_file)
            builder = PlanBuilder(self._settings, join, self._look_at_blob, to_copy=to_copy, left_out=left_out)
            for listed in read_manifest(self._files, self._pointer):
                builder.add(listed)
            builder.finish()
        self._left_out_sha256 = left_out.sha256()
        return builder, Member(0, to_copy.length, to_copy.sha256())

    def _look_at_blob(self, blob: str) -> BlobState | None:
        return self._retrier.call(f"look at blob {blob!r}", lambda: self._destination.head(blob))

    def _one_batch(self, builder: "PlanBuilder", to_copy: Member) -> tuple[list[BatchDescriptor], int]:
        """Return the file of the first pass as the only batch, and 1 if it belongs to one object alone, else 0."""
        batch = batch_descriptor(self._token, 0, to_copy, builder.copy.objects, builder.copy.size_bytes, "objects")
        own_batches = self._settings.batch_policy(builder.weight).own_batches(builder.largest_bytes)
        return [batch], int(own_batches > 0)

    def _cut_into_batches(self, builder: "PlanBuilder") -> tuple[list[BatchDescriptor], int]:
        """Make the second pass; return the batches, and how many at their front belong to one object alone."""
        with self._files.write(batches_name(self._token)) as out:
            if not builder.copy.objects:
                return [], 0
            return write_batches(
                self._token,
                LinesWriter(out, header_in_each_member=True),
                lambda: self._entries(in_order=builder.join.in_order),
                policy=self._settings.batch_policy(builder.weight),
                layout_of=self._layout_of_parts,
                largest_bytes=builder.largest_bytes,
            )

    def _entries(self, *, in_order: bool) -> Iterator[EntryLine]:
        chunks = self._files.chunks(self._to_copy_name)
        # The prefix was checked for each key when the manifest was read.
        entries = read_entries(chunks, prefix="", path=f"{self._files.location}/{self._to_copy_name}")
        return (
            iter(entries)
            if in_order
            else without_uncertain_absence(entries, looked_up_above=self._settings.split_bytes)
        )

    def _layout_of_parts(self, entry: EntryLine) -> Layout:
        """Return the block layout that all parts of an object share: the one that is staged already, or the usual."""
        self._layout_lookups += 1
        listed = PlanEntry.of_line(entry, bucket=self._pointer.bucket).listed
        blob = self._settings.blob_of(listed.key)
        budget = self._settings.memory_budget_bytes
        usual = layout_for(listed.size_bytes, budget_bytes=budget, block_bytes=self._settings.block_bytes)
        source = fingerprint(listed)
        found = self._retrier.call(f"list the staged blocks of {blob!r}", lambda: self._destination.list_staged(blob))
        staged = [block for item in found if (block := parse(item, source))]
        layout = blocks.adopt(usual, staged, budget_bytes=budget)
        # The plan's lines accept no block size below 1 MiB.
        return layout if layout.block_bytes >= MIB else usual

    def _planning_requests(self, builder: "PlanBuilder") -> Requests:
        pointer = self._pointer
        return Requests(
            s3_list=0 if pointer.looked_up else -(-pointer.objects // LISTING_PAGE_KEYS) or 1,
            s3_get=pointer.objects if pointer.looked_up else 0,
            azure_list=max(1, -(-builder.join.seen // AZURE_PAGE_BLOBS)) if pointer.ordered else 0,
            azure_read=builder.blob_lookups + self._layout_lookups,
        )


class PlanBuilder:
    """Decides on one listed object after the other, writes the decisions, and counts them.

    Args:
        settings: The plan's settings.
        join: Finds blobs in the destination's listing.
        look_at_blob: Returns a blob's state by a request of its own.
        to_copy: Receives the objects to copy, with the destination's state.
        left_out: Receives all other objects, with their reasons.

    Attributes:
        copy: Objects to copy.
        weight: Their weight together, as ``batching`` defines it.
        largest_bytes: The most bytes to copy of one object.
        blob_lookups: Requests for single blobs.
    """

    def __init__(
        self,
        settings: PlanSettings,
        join: Join,
        look_at_blob: Callable[[str], BlobState | None],
        *,
        to_copy: LinesWriter,
        left_out: LinesWriter,
    ) -> None:
        self.join = join
        self.copy = AmountCounter()
        self.weight = 0
        self.largest_bytes = 0
        self.blob_lookups = 0
        self._settings = settings
        self._look_at_blob = look_at_blob
        self._to_copy = to_copy
        self._left_out = left_out
        self._filters = settings.filters if settings.filters != Filters() else None
        self._maps_names = settings.refused_names == MAP
        self._listed = AmountCounter()
        self._unchanged = AmountCounter()
        self._skipped: dict[str, AmountCounter] = defaultdict(AmountCounter)
        self._failed: dict[str, AmountCounter] = defaultdict(AmountCounter)
        self._rewritten = 0
        self._archived = 0
        self._refused_names: list[str] = []
        self._mapped = 0
        self._mapped_names: list[tuple[str, str]] = []
        self._mapped_existing = 0
        # Nearly all objects fit into one block. Their requests are equal, so the objects are counted, by whether the
        # destination's state is known, and their requests are added up once.
        self._one_block_bytes = settings.block_bytes or block_bytes_for(0)
        self._one_block_objects = {True: 0, False: 0}
        self._other_requests = Requests()

    def add(self, listed: ListedObject) -> None:
        """Decide on the next object of the listing.

        Raises:
            BudgetTooSmall: The memory budget does not hold one block of the object.
        """
        self._listed.add(listed.size_bytes)
        settings = self._settings
        blob = unmapped = blob_name(listed.key, s3_prefix=settings.s3_prefix, blob_prefix=settings.blob_prefix)
        if self._maps_names:
            blob = settings.blob_of(listed.key)
        mapped = blob != unmapped
        # Mapped names do not follow the listing's order, so only a request can find their blobs.
        existing = None if mapped or is_shown_only(listed) else self.join.find(blob)
        if self._is_left_out_unseen(listed, blob):
            return
        if mapped or (listed.size_bytes > settings.split_bytes and existing is None):
            # The parts of a split object must commit under one condition, so the plan must know the blob's state.
            self.blob_lookups += 1
            existing = self._look_at_blob(blob)
        self._mapped_existing += mapped and existing is not None
        decision = decide(listed, existing, settings.overwrite)
        if decision.action == "copy":
            if mapped:
                self._count_mapped_name(listed.key, blob)
            self._add_copy(listed, existing)
        elif decision.action == "unchanged" and existing is not None:
            if self._was_rewritten(listed, existing):
                self._add_metadata_update(listed, existing)
            else:
                self._add_unchanged(listed, existing)
        else:
            self._leave_out(listed, FAILED if decision.action == "refuse" else SKIPPED, decision.reason)

    def finish(self) -> None:
        """Read the destination's listing to its end, and complete both files."""
        self.join.finish()
        self._to_copy.end_member()
        self._left_out.end_member()

    def plan(self, token: str, batches: list[BatchDescriptor], planning: Requests) -> Plan:
        """Return the plan of all objects added.

        Args:
            token: Identifies the plan's files.
            batches: The batches that hold the objects to copy.
            planning: The requests that were made for the plan.
        """
        in_order = self.join.in_order
        return Plan(
            token=token,
            batches=tuple(batches),
            listed=self._listed.amount(),
            copy=self.copy.amount(),
            unchanged=self._unchanged.amount(),
            skipped={reason: count.amount() for reason, count in self._skipped.items()},
            failed={reason: count.amount() for reason, count in self._failed.items()},
            only_in_destination=self.join.only_there - self._mapped_existing if in_order else None,
            joined=in_order,
            rewritten=self._rewritten,
            archived=self._archived,
            on_archived=self._settings.archived,
            refused_names=tuple(self._refused_names),
            mapped=self._mapped,
            mapped_names=tuple(self._mapped_names),
            planning=planning,
            copying=self._copying_requests(),
        )

    def _is_left_out_unseen(self, listed: ListedObject, blob: str) -> bool:
        """Leave the object out without regard to the destination: a problem in the list of keys, a filter, its name.

        Returns whether it was left out.
        """
        if listed.problem:
            self._leave_out_problem(listed)
            return True
        reason = self._filters.reason_to_skip(listed) if self._filters else None
        if reason is None and blob.startswith(_STATE_PREFIX):
            reason = reasons.RESERVED_NAME
        if reason is None and is_folder_marker(listed):
            reason = reasons.FOLDER_MARKER
        if reason is not None:
            self._leave_out(listed, SKIPPED, reason)
            return True
        try:
            check_key(listed.key)
            check_blob(blob)
        except NameRefused as error:
            self._leave_out_name(listed, explained(error.reason(), str(error.attributes["detail"])))
            return True
        return False

    def _leave_out_problem(self, listed: ListedObject) -> None:
        """Leave out an object that cannot be requested; the filters by key apply, its other values are unknown."""
        reason = self._filters.reason_to_skip_key(listed.key) if self._filters else None
        if reason is not None:
            self._leave_out(listed, SKIPPED, reason)
        elif is_shown_only(listed):
            self._leave_out_name(listed, listed.problem)
        else:
            self._leave_out(listed, FAILED, listed.problem)

    def _leave_out_name(self, listed: ListedObject, reason: str) -> None:
        """Leave out an object whose name is refused, by the policy for such names."""
        if len(self._refused_names) < MAX_EXAMPLES:
            self._refused_names.append(listed.key)
        status: LeftOutStatus = SKIPPED if self._settings.refused_names == SKIP else FAILED
        self._leave_out(listed, status, reason)

    def _was_rewritten(self, listed: ListedObject, existing: BlobState) -> bool:
        """Return whether S3 received the same bytes at another time, perhaps with other metadata."""
        copied = existing.source_last_modified
        return self._settings.overwrite != NEVER and copied is not None and are_different(listed.last_modified, copied)

    def _count_mapped_name(self, key: str, blob: str) -> None:
        self._mapped += 1
        if len(self._mapped_names) < MAX_EXAMPLES:
            self._mapped_names.append((key, blob))

    def _add_copy(self, listed: ListedObject, existing: BlobState | None) -> None:
        settings = self._settings
        if listed.size_bytes > settings.memory_budget_bytes:
            # Raises BudgetTooSmall where a block of it does not fit.
            layout_for(listed.size_bytes, budget_bytes=settings.memory_budget_bytes, block_bytes=settings.block_bytes)
        self._archived += listed.storage_class in ARCHIVE_CLASSES
        # If the order breaks at a later object, each copy so far costs up to one HEAD more than counted here.
        known = self.join.in_order
        if listed.size_bytes <= self._one_block_bytes:
            self._one_block_objects[known] += 1
        else:
            requests = requests_for(listed.size_bytes, block_bytes=settings.block_bytes, destination_known=known)
            self._other_requests = self._other_requests.plus(requests)
        self._write_entry(entry_line(listed, existing))

    def _add_metadata_update(self, listed: ListedObject, existing: BlobState) -> None:
        self._rewritten += 1
        self._other_requests = self._other_requests.plus(METADATA_UPDATE_REQUESTS)
        self._write_entry(entry_line(listed, existing, metadata_only=True))

    def _write_entry(self, entry: EntryLine) -> None:
        work_bytes = entry.work_bytes
        self.copy.add(work_bytes)
        self.weight += weight_of(work_bytes)
        self.largest_bytes = max(self.largest_bytes, work_bytes)
        self._to_copy.add(entry)
        if not self.copy.objects % _MEMBER_LINES:
            self._to_copy.end_member()

    def _add_unchanged(self, listed: ListedObject, existing: BlobState) -> None:
        self._unchanged.add(listed.size_bytes)
        self._write_left_out(
            LeftOut(
                listed.key,
                listed.etag,
                listed.size_bytes,
                UNCHANGED,
                verified_by=existing.metadata.get("s3_verified_by", "")[:100],
                checksum=existing.metadata.get("s3_checksum", "")[:200],
            )
        )

    def _leave_out(self, listed: ListedObject, status: LeftOutStatus, reason: str) -> None:
        counters = self._failed if status == FAILED else self._skipped
        counters[code_of(reason)].add(listed.size_bytes)
        self._write_left_out(LeftOut(listed.key, listed.etag, listed.size_bytes, status, reason))

    def _write_left_out(self, left_out: LeftOut) -> None:
        self._left_out.add(left_out)
        if not (self._listed.objects - self.copy.objects) % _MEMBER_LINES:
            self._left_out.end_member()

    def _copying_requests(self) -> Requests:
        total = self._other_requests
        for known, count in self._one_block_objects.items():
            each = requests_for(0, block_bytes=self._one_block_bytes, destination_known=known)
            total = total.plus(each.times(count))
        return total
