"""A task's failures in its log: the first of each reason when it happens, all of them counted at the end."""

import logging
from typing import Final

from s3_to_azure.model.errors import TransferError, TransientError
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.reasons import FAILED, FailureGroups, sample_text

_CLEAR: Final = (
    "What to do: remove the causes above, then clear this task, or start a new run; either sends only what Azure does "
    "not hold"
)
_RETRY: Final = (
    "What to do: wait for the next try, which copies what failed for a reason that may pass and sends only what Azure "
    "does not hold; for the other reasons remove the causes above"
)

log = logging.getLogger(__name__)


class FailureLog:
    """Logs failures so that thousands of them take a few lines."""

    def __init__(self) -> None:
        self._groups = FailureGroups()

    def add(self, receipt: Receipt) -> None:
        """Count a receipt if its object failed; log the first one of each reason."""
        if receipt.status == FAILED and self._groups.add(receipt.key, receipt.reason):
            log.warning(
                "Failed: %s (others of this reason are counted at the end)", sample_text(receipt.key, receipt.reason)
            )

    def end(self, summary: str, error: TransferError | None = None) -> None:
        """Log how many objects failed for which reason; then, as the last line, the counts and what to do.

        Args:
            summary: The counts of the task.
            error: What the task raises next; its class tells whether Airflow tries again.
        """
        log_groups(self._groups)
        if error is None:
            log.info("%s", summary)
        else:
            log.warning("%s. %s", summary, _RETRY if isinstance(error, TransientError) else _CLEAR)


def log_groups(groups: FailureGroups) -> None:
    """Log each group in a line of its own."""
    if groups.count:
        for line in (groups.title(), *groups.lines()):
            log.warning("%s", line)
