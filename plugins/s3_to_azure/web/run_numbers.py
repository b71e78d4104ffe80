"""The numbers of a run, derived in one place, so that all that the Migration page shows adds up. No I/O."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from s3_to_azure.model.reasons import COPIED, FAILED, SKIPPED, UNCHANGED, UNPLANNED
from s3_to_azure.web.batch_view import Batch
from s3_to_azure.web.values import amount, items, mapping, names, number, text

PARTS: Final = (COPIED, UNCHANGED, SKIPPED, FAILED, UNPLANNED, "pending")


@dataclass(frozen=True, slots=True)
class RunNumbers:
    """The objects of a run; ``listed`` is the sum of all others.

    Attributes:
        copied: In Azure by this run: of the report, or as far as the tasks have come.
        failed: Not in Azure, for a reason of their own.
        unplanned: Not tried, because there was no plan: no failure of the object.
        pending: Not decided yet; in a run that has ended, never reached.
        bytes_total: Bytes to copy.
        bytes_done: Bytes of these in Azure, sent by this try or by an earlier one.
    """

    listed: int = 0
    copied: int = 0
    unchanged: int = 0
    skipped: int = 0
    failed: int = 0
    unplanned: int = 0
    pending: int = 0
    bytes_total: int = 0
    bytes_done: int = 0

    @property
    def to_copy(self) -> int:
        """The objects that are neither unchanged nor left out."""
        return self.listed - self.unchanged - self.skipped


def run_numbers(
    batches: Sequence[Batch], *, listing: Mapping[str, Any], plan: Mapping[str, Any], report: Mapping[str, Any]
) -> RunNumbers:
    """Return the numbers of a run.

    Args:
        batches: The copy tasks.
        listing: The sensor's pointer to the listing; empty without one.
        plan: The plan's summary; empty without one.
        report: The report's summary; empty without one.
    """
    if "listed" in report:
        return _of_report(report)
    to_copy = _objects(plan, "copy") if "copy" in plan else sum(batch.objects_total for batch in batches)
    given = {
        UNCHANGED: _objects(plan, UNCHANGED),
        SKIPPED: sum(_objects(mapping(plan, SKIPPED), reason) for reason in names(plan, SKIPPED)),
        FAILED: sum(_objects(mapping(plan, FAILED), reason) for reason in names(plan, FAILED)),
    }
    listed = _objects(plan, "listed") or max(int(number(listing, "objects")), to_copy + sum(given.values()))
    done = min(to_copy, _done(batches, to_copy))
    given[COPIED] = done
    given[FAILED] += min(to_copy - done, _failed(batches))
    bytes_total = int(amount(plan, "copy")["bytes"]) or sum(batch.bytes_total for batch in batches)
    bytes_done = min(bytes_total, sum(batch.bytes_done for batch in batches))
    return _adding_up(listed, given, bytes_total=bytes_total, bytes_done=bytes_done)


def _of_report(report: Mapping[str, Any]) -> RunNumbers:
    given = {status: _objects(report, status) for status in (COPIED, UNCHANGED, SKIPPED, FAILED)}
    unplanned = sum(
        int(number(item, "objects"))
        for item in items(report, "reasons")
        if (text(item, "status"), text(item, "reason")) == (FAILED, UNPLANNED)
    )
    given[UNPLANNED] = min(unplanned, given[FAILED])
    given[FAILED] -= given[UNPLANNED]
    copied, failed = int(amount(report, COPIED)["bytes"]), int(amount(report, FAILED)["bytes"])
    return _adding_up(_objects(report, "listed"), given, bytes_total=copied + failed, bytes_done=copied)


def _adding_up(listed: int, given: Mapping[str, int], **sizes: int) -> RunNumbers:
    """Return numbers that add up to ``listed``: what is left is pending, and nothing counts twice."""
    left, parts = listed, {}
    for name in PARTS[:-1]:
        parts[name] = min(left, given.get(name, 0))
        left -= parts[name]
    return RunNumbers(listed=listed, **parts, pending=left, **sizes)


def _objects(values: Mapping[str, Any], name: str) -> int:
    return int(amount(values, name)["objects"])


def _failed(batches: Sequence[Batch]) -> int:
    """Return how many objects have failed in the tasks; of a task with one object, that is the task itself."""
    return sum(
        max(batch.objects_failed, int(batch.task.state == "failed" and batch.objects_total == 1))
        for batch in batches
        if batch.task.state != "success" and not batch.is_range
    ) + int(any(batch.task.state == "failed" for batch in batches if batch.is_range))


def _done(batches: Sequence[Batch], to_copy: int) -> int:
    whole, parts = [b for b in batches if not b.is_range], [b for b in batches if b.is_range]
    done = sum(batch.objects_done for batch in whole)
    if parts:
        # An object in parts is done when all its parts are. Which parts belong together is not known here, so the
        # objects count as done in the proportion of the parts.
        split = max(1, to_copy - sum(batch.objects_total for batch in whole))
        done += split * sum(part.task.state == "success" for part in parts) // len(parts)
    return done
