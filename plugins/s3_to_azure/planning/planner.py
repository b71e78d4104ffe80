"""The plan of a run, made in constant memory: join the listings, decide on each object, cut the rest into batches.

There are two passes. The first reads the manifest alongside the destination's listing. It writes each object that is
left out into one file, with the reason, and each object to copy into another, with the destination's state. After it
the totals are known, and the second pass divides the objects to copy into batches.
"""

import logging
import secrets
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime

from s3_to_azure.model.errors import Cancelled, TransferError
from s3_to_azure.model.limits import AZURE_PAGE_BLOBS, LISTING_PAGE_KEYS, MIB
from s3_to_azure.model.objects import Amount, BlobState, TaskTry
from s3_to_azure.model.options import MAP, VIA_AZURE
from s3_to_azure.model.ports import BlobDestination, StateFiles
from s3_to_azure.model.retry import Retrier, with_retries
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.planning.batching import batch_descriptor, without_uncertain_absence, write_batches
from s3_to_azure.planning.coverage import Coverage, name_check
from s3_to_azure.planning.join import Join
from s3_to_azure.planning.plan import (
    Plan,
    Requests,
)
from s3_to_azure.planning.plan_builder import PlanBuilder
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.state.entries import EntryLine, PlanEntry, read_entries
from s3_to_azure.state.lines import LinesWriter, Member
from s3_to_azure.state.manifest import ManifestPointer, read_manifest
from s3_to_azure.state.plan import (
    BatchDescriptor,
    PlanIndex,
    batches_name,
    decisions_name,
    left_out_name,
    write_plan_index,
)
from s3_to_azure.transfer.blocks import Layout, fingerprint, layout_for, most_staged_size, staged_blocks

log = logging.getLogger(__name__)


def make_plan(
    files: StateFiles,
    pointer: ManifestPointer,
    destination: BlobDestination,
    settings: PlanSettings,
    *,
    retrier: Retrier | None = None,
    try_number: int | None = None,
    tasks_for: Callable[[Amount, int], int] | None = None,
) -> Plan:
    """Plan the run, and record the plan as the run's current one; no object is read and no blob is changed.

    The batches are the same for the same manifest, destination and settings. A later plan replaces an earlier one as
    the current one, but not its files, which stay until the run's files are deleted.

    Args:
        files: The run's files.
        pointer: The manifest.
        destination: The container.
        settings: How to plan.
        retrier: Tries and waits.
        try_number: Number of the try that plans; None: no other one does.
        tasks_for: Returns the maximum number of batches for the objects to copy, and the size of the largest of them,
            once they are known. It replaces ``settings.max_tasks``, if that is not 1.

    Raises:
        CorruptState: The manifest does not match the pointer.
        BudgetTooSmall: The memory budget does not hold one block of an object.
    """
    retrier = retrier or Retrier(RetryBudget(), threading.Event())
    by = None if try_number is None else TaskTry(pointer.token, try_number, datetime.now(UTC))
    plan = _Planning(files, pointer, destination, settings, retrier, by, tasks_for).run()
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
        by: TaskTry | None,
        tasks_for: Callable[[Amount, int], int] | None,
    ) -> None:
        self._files = files
        self._pointer = pointer
        self._destination = destination
        self._settings = settings
        self._retrier = retrier
        self._by = by
        self._tasks_for = tasks_for
        self._token = secrets.token_hex(8)
        # A single task needs no second pass: the first one writes its batch.
        self._one_task = settings.max_tasks == 1
        self._to_copy_name = batches_name(self._token) if self._one_task else decisions_name(self._token)
        self._layout_lookups = 0
        self._left_out_sha256 = ""

    def run(self) -> Plan:
        builder, to_copy = self._decide_on_all()
        if self._tasks_for and not self._one_task:
            max_tasks = self._tasks_for(builder.copy.amount(), builder.largest_bytes)
            self._settings = replace(self._settings, max_tasks=max_tasks)
        if self._one_task and builder.join.in_order and builder.copy.objects:
            batches, own = self._one_batch(builder, to_copy)
        else:
            batches, own = self._cut_into_batches(builder)
        if not self._one_task:
            self._delete_decisions()
        made = builder.plan(self._token, batches, self._planning_requests(builder))
        plan = replace(made, inventory_age_s=self._inventory_age_s())
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
            pointer=self._pointer,
        )
        reference = write_plan_index(self._files, index, plan.summary(), self._by)
        return replace(plan, sha256=reference.sha256)

    def _decide_on_all(self) -> tuple[PlanBuilder, Member]:
        """Make the first pass; return its counts, and the whole file of objects to copy as one member."""
        container = self._destination.container
        coverage = Coverage(self._pointer, self._settings)
        listing = with_retries(self._destination.list(coverage.prefix), self._retrier, f"list {container}")
        join = Join(listing, ordered=self._pointer.ordered, is_counted=coverage.includes)
        with (
            self._files.write(self._to_copy_name) as to_copy_file,
            self._files.write(left_out_name(self._token)) as left_out_file,
        ):
            to_copy, left_out = LinesWriter(to_copy_file), LinesWriter(left_out_file)
            builder = PlanBuilder(
                self._settings,
                join,
                coverage,
                self._look_at_blob,
                name_check(self._destination, self._retrier),
                routing=self._settings.routing(self._pointer.bucket),
                to_copy=to_copy,
                left_out=left_out,
            )
            for listed in read_manifest(self._files, self._pointer):
                builder.add(listed)
            builder.finish()
        self._left_out_sha256 = left_out.sha256()
        return builder, Member(0, to_copy.length, to_copy.sha256())

    def _delete_decisions(self) -> None:
        """Delete the first pass's file, which nobody needs any more; an identity that deletes nothing can plan too."""
        try:
            self._files.delete(self._to_copy_name)
        except Cancelled:
            raise
        except TransferError as error:
            log.info("The file %r is kept until the run's files are deleted: %s", self._to_copy_name, error)

    def _look_at_blob(self, blob: str) -> BlobState | None:
        return self._retrier.call(f"look at blob {blob!r}", lambda: self._destination.head(blob))

    def _one_batch(self, builder: PlanBuilder, to_copy: Member) -> tuple[list[BatchDescriptor], int]:
        """Return the file of the first pass as the only batch, and 1 if it belongs to one object alone, else 0."""
        batch = batch_descriptor(self._token, 0, to_copy, builder.copy.objects, builder.copy.size_bytes, "objects")
        own_batches = self._settings.batch_policy(builder.weight).own_batches(builder.largest_bytes)
        return [batch], int(own_batches > 0)

    def _cut_into_batches(self, builder: PlanBuilder) -> tuple[list[BatchDescriptor], int]:
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
        routing, block_bytes = self._settings.routing(self._pointer.bucket), self._settings.block_bytes
        if routing and routing.expected(listed).via == VIA_AZURE:
            block_bytes = routing.block_bytes_for(listed.size_bytes)
        usual = layout_for(listed.size_bytes, budget_bytes=budget, block_bytes=block_bytes)
        source = fingerprint(listed)
        found = self._retrier.call(f"list the staged blocks of {blob!r}", lambda: self._destination.list_staged(blob))
        staged = staged_blocks(found, source)
        # The plan's lines accept no block size below 1 MiB; the end of an object, or of a part, may be shorter.
        block_bytes = most_staged_size(usual, staged, smallest_bytes=MIB, budget_bytes=budget)
        return Layout(listed.size_bytes, block_bytes)

    def _planning_requests(self, builder: PlanBuilder) -> Requests:
        pointer = self._pointer
        return Requests(
            s3_list=0 if pointer.looked_up or pointer.inventoried_at else -(-pointer.objects // LISTING_PAGE_KEYS) or 1,
            s3_get=pointer.objects if pointer.looked_up else 0,
            azure_list=max(1, -(-builder.join.seen // AZURE_PAGE_BLOBS)) if pointer.ordered else 0,
            azure_read=builder.blob_lookups + self._layout_lookups,
        )

    def _inventory_age_s(self) -> float | None:
        made_at = self._pointer.inventoried_at
        return (datetime.now(UTC) - datetime.fromisoformat(made_at)).total_seconds() if made_at else None
