"""The plan's first pass: join the listings and decide on each object; what is left out is written with its reason."""

from collections import defaultdict
from collections.abc import Callable
from typing import Final

from s3_to_azure.engine.joining import Join
from s3_to_azure.engine.plan import ARCHIVE_CLASSES, MOST_EXAMPLES, UPDATE_REQUESTS, Count, Requests, requests_for
from s3_to_azure.engine.plan_settings import PlanSettings
from s3_to_azure.model.decide import Decision, decide
from s3_to_azure.model.errors import NameRefused
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.names import STATE_FOLDER, blob_name, check_blob, check_key, is_folder_marker
from s3_to_azure.model.objects import BlobState, ListedObject
from s3_to_azure.planning.batching import weight_of
from s3_to_azure.state.lines import LinesWriter
from s3_to_azure.state.plan import EntryLine, LeftOut, LeftOutStatus, entry_line
from s3_to_azure.transfer.blocks import block_bytes_for, layout_for

_OURS: Final = f"{STATE_FOLDER}/"
_MEMBER_LINES: Final = 10_000


class Survey:
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
        self.listed = Count()
        self.copy = Count()
        self.unchanged = Count()
        self.skipped: dict[str, Count] = defaultdict(Count)
        self.failed: dict[str, Count] = defaultdict(Count)
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
            total = total.plus(requests_for(0, block_bytes=self._block_bytes, looked=looked).times(count))
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
            if len(self.refused_names) < MOST_EXAMPLES:
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
        self._copying = self._copying.plus(UPDATE_REQUESTS)
        self._plan(entry_line(listed, there, metadata_only=True))

    def _count_mapped(self, key: str, blob: str) -> None:
        self.mapped += 1
        if len(self.mapped_names) < MOST_EXAMPLES:
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
            requests = requests_for(listed.size_bytes, block_bytes=settings.block_bytes, looked=looked)
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
