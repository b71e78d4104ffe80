"""``PlanBuilder`` decides on each listed object of a run, writes its line, and counts."""

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from s3_to_azure.model.decide import are_different, decide
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.names import blob_name, is_shown_only
from s3_to_azure.model.objects import AmountCounter, BlobState, ListedObject
from s3_to_azure.model.options import MAP, NEVER, SKIP, VIA_AZURE
from s3_to_azure.model.reasons import FAILED, SKIPPED, UNCHANGED, FailureGroups, code_of
from s3_to_azure.planning.batching import weight_of
from s3_to_azure.planning.coverage import Coverage, reason_to_skip, refused_name
from s3_to_azure.planning.join import Join
from s3_to_azure.planning.plan import (
    MAX_EXAMPLES,
    METADATA_UPDATE_REQUESTS,
    Plan,
    Requests,
    fetched_requests_for,
    requests_for,
)
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.state.entries import EntryLine, entry_line
from s3_to_azure.state.lines import LinesWriter
from s3_to_azure.state.plan import BatchDescriptor, LeftOut, LeftOutStatus
from s3_to_azure.transfer.blocks import block_bytes_for, layout_for
from s3_to_azure.transfer.fetched.eligibility import ARCHIVE_CLASSES, Routing

_MEMBER_LINES: Final = 10_000


class PlanBuilder:
    """Decides on one listed object after the other, writes the decisions, and counts them.

    Args:
        settings: The plan's settings.
        join: Finds blobs in the destination's listing.
        coverage: Which part of that listing the run is about.
        look_at_blob: Returns a blob's state by a request of its own.
        check_name: Raises NameRefused if the container cannot hold a blob of that name.
        routing: Decides on the way of each object's bytes; None: all go through the worker.
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
        coverage: Coverage,
        look_at_blob: Callable[[str], BlobState | None],
        check_name: Callable[[str], object],
        *,
        routing: Routing | None,
        to_copy: LinesWriter,
        left_out: LinesWriter,
    ) -> None:
        self.join = join
        self.copy = AmountCounter()
        self.weight = 0
        self.largest_bytes = 0
        self.blob_lookups = 0
        self._coverage = coverage
        self._settings = settings
        self._look_at_blob = look_at_blob
        self._check_name = check_name
        self._routing = routing
        self._to_copy = to_copy
        self._left_out = left_out
        self._filters = settings.filters if settings.filters != Filters() else None
        self._maps_names = settings.refused_names == MAP
        self._listed = AmountCounter()
        self._unchanged = AmountCounter()
        self._skipped: dict[str, AmountCounter] = defaultdict(AmountCounter)
        self._failed: dict[str, AmountCounter] = defaultdict(AmountCounter)
        self._replaces_others = 0
        self._rewritten = 0
        self._archived = 0
        self._refused_names: list[str] = []
        self._samples = FailureGroups()
        self._mapped = 0
        self._mapped_names: list[tuple[str, str]] = []
        self._mapped_existing = 0
        # Nearly all objects fit into one block. Their requests are equal, so the objects are counted, by whether the
        # destination's state is known, and their requests are added up once.
        self._one_block_bytes = settings.block_bytes or block_bytes_for(0)
        self._one_block_objects = {True: 0, False: 0}
        self._other_requests = Requests()
        self._fetched = AmountCounter()
        self._not_fetched: dict[str, AmountCounter] = defaultdict(AmountCounter)
        # Of the objects that Azure fetches: the requests to fetch and to stream them.
        self._fetching = self._instead = Requests()

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
        self._mapped_existing += mapped and existing is not None and blob.startswith(self._coverage.prefix)
        decision = decide(listed, existing, settings.overwrite, settings.integrity, run=settings.run)
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
        in_order, streamed = self.join.in_order, self._streamed_requests()
        return Plan(
            token=token,
            batches=tuple(batches),
            listed=self._listed.amount(),
            copy=self.copy.amount(),
            unchanged=self._unchanged.amount(),
            skipped={reason: count.amount() for reason, count in self._skipped.items()},
            failed={reason: count.amount() for reason, count in self._failed.items()},
            only_in_destination=(
                self.join.only_there - self._mapped_existing if in_order and self._coverage.is_known else None
            ),
            joined=in_order,
            replaces_others=self._replaces_others,
            rewritten=self._rewritten,
            archived=self._archived,
            on_archived=self._settings.archived,
            refused_names=tuple(self._refused_names),
            mapped=self._mapped,
            mapped_names=tuple(self._mapped_names),
            planning=planning,
            copying=streamed.plus(self._fetching),
            samples=self._samples.samples(),
            via=self._settings.via,
            fetched=self._fetched.amount(),
            not_fetched={code: count.amount() for code, count in self._not_fetched.items()},
            all_streamed=streamed.plus(self._instead),
        )

    def _is_left_out_unseen(self, listed: ListedObject, blob: str) -> bool:
        """Leave the object out without regard to the destination: a problem in the list of keys, a filter, its name.

        Returns whether it was left out.
        """
        if listed.problem:
            self._leave_out_problem(listed)
            return True
        reason = reason_to_skip(listed, blob, self._filters)
        if reason is not None:
            self._leave_out(listed, SKIPPED, reason)
            return True
        refused = refused_name(listed.key, blob, self._check_name)
        if refused is not None:
            self._leave_out_name(listed, refused)
        return refused is not None

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
        self._replaces_others += existing is not None and existing.is_of_another(listed)
        # If the order breaks at a later object, each copy so far costs up to one HEAD more than counted here.
        known = self.join.in_order
        if self._is_fetched(listed):
            self._instead = self._instead.plus(self._streaming(listed, known=known))
        elif listed.size_bytes <= self._one_block_bytes:
            self._one_block_objects[known] += 1
        else:
            self._other_requests = self._other_requests.plus(self._streaming(listed, known=known))
        self._write_entry(entry_line(listed, existing))

    def _streaming(self, listed: ListedObject, *, known: bool) -> Requests:
        return requests_for(listed.size_bytes, block_bytes=self._settings.block_bytes, destination_known=known)

    def _is_fetched(self, listed: ListedObject) -> bool:
        """Return whether Azure is expected to fetch the object; count it by its way."""
        if self._routing is None:
            return False
        route = self._routing.expected(listed)
        if route.not_fetched:
            self._not_fetched[route.not_fetched].add(listed.size_bytes)
        if route.via != VIA_AZURE:
            return False
        self._fetched.add(listed.size_bytes)
        requests = fetched_requests_for(listed.size_bytes, block_bytes=self._routing.block_bytes_for(listed.size_bytes))
        self._fetching = self._fetching.plus(requests)
        return True

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
                verified_by=existing.verified_by,
                checksum=existing.checksum,
            )
        )

    def _leave_out(self, listed: ListedObject, status: LeftOutStatus, reason: str) -> None:
        counters = self._failed if status == FAILED else self._skipped
        counters[code_of(reason)].add(listed.size_bytes)
        if status == FAILED:
            self._samples.add(listed.key, reason)
        self._write_left_out(LeftOut(listed.key, listed.etag, listed.size_bytes, status, reason))

    def _write_left_out(self, left_out: LeftOut) -> None:
        self._left_out.add(left_out)
        if not (self._listed.objects - self.copy.objects) % _MEMBER_LINES:
            self._left_out.end_member()

    def _streamed_requests(self) -> Requests:
        total = self._other_requests
        for known, count in self._one_block_objects.items():
            each = requests_for(0, block_bytes=self._one_block_bytes, destination_known=known)
            total = total.plus(each.times(count))
        return total
