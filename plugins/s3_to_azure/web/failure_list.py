"""The failed objects of a run: in groups by reason, and as a list that is searched, sorted and paged. No I/O."""

import heapq
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import Any, Final, Literal

from s3_to_azure.model.reasons import FAILED, NO_RECEIPT, code_of, sample_text, short_code
from s3_to_azure.state.failures import FailureLine
from s3_to_azure.web.batch_view import Batch, FailedObject
from s3_to_azure.web.queries import REPORT_TASK
from s3_to_azure.web.values import items, mapping, number, text

PAGE_ROWS: Final = 50
MAX_PAGE: Final = 20_000
MOST_READ: Final = 500_000
"""How many failures a page is searched in; the report's CSV has all."""

# Sorting keeps all rows up to the page in memory.
_MOST_SORTED: Final = 20_000
_MAX_GROUPS: Final = 60

Order = Literal["listing", "key", "reason", "size"]
_KEYS: Final[Mapping[str, Callable[[FailedObject], Any]]] = {
    "key": lambda row: row.key,
    "reason": lambda row: (row.reason, row.key),
    "size": lambda row: (row.size_bytes, row.key),
}


@dataclass(frozen=True, slots=True)
class FailureQuery:
    """Which failed objects to show.

    Attributes:
        reason: The code of their reason; empty: any.
        search: A part of their key or reason, whatever its case; empty: any.
        order: ``listing`` is the order in which they are read.
        page: 1 for the first.
    """

    reason: str = ""
    search: str = ""
    order: Order = "listing"
    descending: bool = False
    page: int = 1

    def takes(self, row: FailedObject) -> bool:
        """Return whether the row is one of them."""
        if self.reason and short_code(row.reason) != self.reason:
            return False
        wanted = self.search.casefold()
        return not wanted or wanted in row.key.casefold() or wanted in row.reason.casefold()


def failure_page(rows: Iterable[FailedObject], query: FailureQuery) -> dict[str, Any]:
    """Return one page of the failed objects as JSON-ready values; memory is bounded by the page's number."""
    counting = _Counting(rows, query)
    begin = (query.page - 1) * PAGE_ROWS
    sort_by = _KEYS.get(query.order)
    if sort_by is None:
        shown = list(islice(counting, begin, begin + PAGE_ROWS))
        for _ in counting:
            pass
    else:
        end = min(begin + PAGE_ROWS, _MOST_SORTED)
        best = (heapq.nlargest if query.descending else heapq.nsmallest)(max(end, 1), counting, key=sort_by)
        shown = best[begin:end]
    last = counting.matching if sort_by is None else min(counting.matching, _MOST_SORTED)
    return {
        "rows": [asdict(row) for row in shown],
        "page": query.page,
        "pages": max(1, -(-last // PAGE_ROWS)),
        "first": begin + 1 if shown else 0,
        "matching": counting.matching,
        "read": counting.read,
        "is_cut": counting.is_cut,
    }


@dataclass(slots=True)
class _Counting:
    """Yields the rows of a query, and counts what it reads."""

    rows: Iterable[FailedObject]
    query: FailureQuery
    read: int = 0
    matching: int = 0
    is_cut: bool = False
    _iterator: Iterator[FailedObject] = field(init=False)

    def __post_init__(self) -> None:
        self._iterator = self._take()

    def __iter__(self) -> Iterator[FailedObject]:
        return self._iterator

    def _take(self) -> Iterator[FailedObject]:
        for row in self.rows:
            if self.read >= MOST_READ:
                self.is_cut = True
                return
            self.read += 1
            if self.query.takes(row):
                self.matching += 1
                yield row


class FailureLogs:
    """Finds the task whose log tells of an object of the report.

    Args:
        batches: The copy tasks.
    """

    def __init__(self, batches: Sequence[Batch]) -> None:
        self._copy_task = next((batch.task.task_id for batch in batches), "")
        self._tries = {batch.task.map_index: batch.log_try for batch in batches}

    def failed(self, key: str, reason: str, size_bytes: int, batch: object, try_number: int) -> FailedObject:
        """Return the failed object with its log; without a batch, the report's."""
        if not isinstance(batch, int) or batch not in self._tries:
            return FailedObject(key, reason, task_id=REPORT_TASK, map_index=None, try_number=1, size_bytes=size_bytes)
        latest = self._tries[batch]
        # An object without a receipt has no try, so its last log is the one to read.
        tried = try_number if code_of(reason) != NO_RECEIPT else latest
        return FailedObject(
            key,
            reason,
            task_id=self._copy_task,
            map_index=batch,
            try_number=max(1, min(tried, latest)),
            size_bytes=size_bytes,
        )

    def of_file(self, lines: Iterable[FailureLine]) -> Iterator[FailedObject]:
        """Yield the failed objects of the report's file."""
        for line in lines:
            yield self.failed(line.key, line.reason, line.size_bytes, line.batch, line.try_number)


def recorded_failures(batches: Sequence[Batch], report: Mapping[str, Any]) -> list[FailedObject]:
    """Return the failed objects that Airflow's database holds: of the report, or until then those of the tasks."""
    if "listed" not in report:
        return [failed for batch in batches for failed in batch.failures]
    logs = FailureLogs(batches)
    return [
        logs.failed(
            text(item, "key"),
            text(item, "reason"),
            int(number(item, "size_bytes")),
            item.get("batch"),
            int(number(item, "try_number")),
        )
        for item in items(report, "failures")
    ]


def failure_groups(recorded: Sequence[FailedObject], report: Mapping[str, Any], failed: int) -> list[dict[str, Any]]:
    """Return the reasons with their numbers of objects, which add up to all failed ones, the most frequent first.

    Args:
        recorded: From ``recorded_failures``.
        report: The report's summary; empty without one.
        failed: All failed objects, those without a plan included.
    """
    samples = {code: text(mapping(report, "samples"), code) for code in mapping(report, "samples")}
    counts: dict[str, int] = {}
    for item in items(report, "reasons"):
        if text(item, "status") == FAILED:
            code = short_code(text(item, "reason"))
            counts[code] = counts.get(code, 0) + int(number(item, "objects"))
    for row in recorded:
        code = short_code(row.reason)
        samples[code] = samples.get(code) or sample_text(row.key, row.reason)
        if "listed" not in report:
            counts[code] = counts.get(code, 0) + 1
    groups, left = [], failed
    for code, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:_MAX_GROUPS]:
        objects = min(left, count)
        left -= objects
        if objects:
            groups.append({"reason": code, "objects": objects, "sample": samples.get(code, "")})
    if left:
        # A task notes a few failures while it copies, and the number of all.
        groups.append({"reason": "", "objects": left, "sample": ""})
    return groups
