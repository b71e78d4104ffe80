"""The plan of a run, made in constant memory: join the listings, decide on each object, cut the rest into batches.

Two passes. The first reads the manifest beside the destination's listing; what is left out goes into one file with
its reason, what is to be copied into another with the destination's state. Then the totals are known, and the second
pass shares those out.
"""

import logging
import secrets
import threading
from collections.abc import Iterator

from s3_to_azure.engine.joining import Join
from s3_to_azure.engine.plan import Plan, Requests
from s3_to_azure.engine.plan_decisions import Survey
from s3_to_azure.engine.plan_settings import PlanSettings
from s3_to_azure.model.limits import AZURE_PAGE_BLOBS, LISTING_PAGE_KEYS, MIB
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.model.ports import BlobDestination, StateFiles
from s3_to_azure.model.retry import Retrier, patiently
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.planning.batching import descriptor_of, with_known_absence, write_batches
from s3_to_azure.state.lines import LinesWriter, Member
from s3_to_azure.state.manifest import ManifestPointer, read_manifest
from s3_to_azure.state.plan import (
    BatchDescriptor,
    EntryLine,
    PlanEntry,
    PlanIndex,
    batches_name,
    decisions_name,
    left_out_name,
    read_entries,
    write_plan_index,
)
from s3_to_azure.transfer import blocks
from s3_to_azure.transfer.blocks import Layout, fingerprint, parse

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
        BadState: The manifest is not what the pointer says.
        BudgetTooSmall: The memory budget does not hold one block of an object.
    """
    retrier = retrier or Retrier(RetryBudget(), threading.Event())
    token = secrets.token_hex(8)
    # What goes to one task needs no second pass: its batch is what the first one wrote.
    for_one_task = settings.max_tasks == 1
    decided = batches_name(token) if for_one_task else decisions_name(token)
    survey, join, whole = _decide(files, pointer, destination, settings, (decided, left_out_name(token)), retrier)
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
    if for_one_task and join.in_order and survey.copy.objects:
        sharing = settings.sharing(survey.weight)
        batches = [descriptor_of(token, 0, whole, survey.copy.objects, survey.copy.size_bytes, "objects")]
        own = int(sharing.parts(survey.largest_bytes) > 0)
    else:
        with files.write(batches_name(token)) as out:
            if survey.copy.objects:
                batches, own = write_batches(
                    token,
                    LinesWriter(out),
                    entries,
                    sharing=settings.sharing(survey.weight),
                    layout_of=layout_of,
                    largest_bytes=survey.largest_bytes,
                )
    if not for_one_task:
        files.delete(decided)
    plan = Plan(
        token=token,
        batches=tuple(batches),
        listed=survey.listed.amount(),
        copy=survey.copy.amount(),
        unchanged=survey.unchanged.amount(),
        skipped={reason: count.amount() for reason, count in survey.skipped.items()},
        failed={reason: count.amount() for reason, count in survey.failed.items()},
        only_in_destination=join.only_there - survey.mapped_there if join.in_order else None,
        joined=join.in_order,
        rewritten=survey.rewritten,
        archived=survey.archived,
        on_archived=settings.archived,
        refused_names=tuple(survey.refused_names),
        mapped=survey.mapped,
        mapped_names=tuple(survey.mapped_names),
        planning=Requests(
            s3_list=0 if pointer.looked_up else -(-pointer.objects // LISTING_PAGE_KEYS) or 1,
            s3_get=pointer.objects if pointer.looked_up else 0,
            azure_list=max(1, -(-join.seen // AZURE_PAGE_BLOBS)) if pointer.ordered else 0,
            azure_read=survey.looks + looks,
        ),
        copying=survey.copying,
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
    for warning in plan.warnings:
        log.warning("%s", warning)
    log.info(
        "%s objects listed: %s to copy (%s bytes) in %s batches, %s unchanged, %s skipped, %s refused",
        *(
            f"{count:,}"
            for count in (
                plan.listed.objects,
                plan.copy.objects,
                plan.copy.size_bytes,
                len(plan.batches),
                plan.unchanged.objects,
                sum(amount.objects for amount in plan.skipped.values()),
                sum(amount.objects for amount in plan.failed.values()),
            )
        ),
    )
    return plan


def _decide(
    files: StateFiles,
    pointer: ManifestPointer,
    destination: BlobDestination,
    settings: PlanSettings,
    names: tuple[str, str],
    retrier: Retrier,
) -> tuple[Survey, Join, Member]:
    """Decide on all objects, write those to copy and those left out into the files named so.

    Returns the counts, the join, and the place of the former: all of their file.
    """
    decided, left_out = names
    there = patiently(destination.list(settings.blob_prefix), retrier, f"list {destination.container}")
    join = Join(there, ordered=pointer.ordered)
    with files.write(decided) as to_copy, files.write(left_out) as others:
        writer = LinesWriter(to_copy)
        survey = Survey(
            settings,
            join,
            lambda blob: retrier.call(f"look at blob {blob!r}", lambda: destination.head(blob)),
            to_copy=writer,
            left_out=LinesWriter(others),
        )
        for listed in read_manifest(files, pointer):
            survey.add(listed)
        survey.finish()
    return survey, join, Member(0, writer.length, writer.sha256())


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
