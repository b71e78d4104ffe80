"""The retry loop: a request that failed with a transient error is repeated within a budget."""

import random
import threading
from collections.abc import Callable, Iterable, Iterator
from typing import Final, TypeVar

import tenacity

from s3_to_azure.model.errors import Cancelled, TransferError, TransientError
from s3_to_azure.model.log_lines import LineLimit
from s3_to_azure.model.settings import RetryBudget

T = TypeVar("T")
_MAX_RETRY_AFTER_S: Final = 120.0


class Retrier:
    """Repeats a request until it succeeds, fails permanently, or the budget is used up.

    Attributes:
        lines: Logs the retries, and what else concerns single objects.

    Args:
        budget: Tries and waits.
        cancelled: Ends a wait immediately.
        on_retry: Called before each retry.
        lines: Those of another retrier; None: its own.
    """

    def __init__(
        self,
        budget: RetryBudget,
        cancelled: threading.Event,
        on_retry: Callable[[TransientError], None] | None = None,
        lines: LineLimit | None = None,
    ) -> None:
        self._budget = budget
        self._cancelled = cancelled
        self._on_retry = on_retry
        self.lines = lines or LineLimit()

    @property
    def budget(self) -> RetryBudget:
        """Tries and waits."""
        return self._budget

    def counting(self, on_retry: Callable[[TransientError], None]) -> "Retrier":
        """Return a copy that calls another function before each retry."""
        return Retrier(self._budget, self._cancelled, on_retry, self.lines)

    def within(self, cancelled: threading.Event) -> "Retrier":
        """Return a copy whose waits another event ends."""
        return Retrier(self._budget, cancelled, self._on_retry, self.lines)

    def call(self, action: str, function: Callable[[], T]) -> T:
        """Call ``function`` until it returns.

        Args:
            action: What it does, for the log: "stage block 17 of 'a/b'".
            function: Sends one request; it must be safe to repeat.

        Raises:
            Cancelled: Stopped from outside.
            TransientError: The budget is used up; this is the last error.
            PermanentError: The first one.
        """
        retrying = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(self._budget.attempts),
            retry=tenacity.retry_if_exception_type(TransientError),
            wait=self._wait,
            sleep=self._sleep,
            before_sleep=lambda state: self._log_retry(action, state),
            reraise=True,
        )
        self.check_stop()
        return retrying(function)

    def check_stop(self) -> None:
        """Raise Cancelled if stopped from outside."""
        if self._cancelled.is_set():
            raise Cancelled.now()

    def pause(self, failures: int, error: TransferError) -> None:
        """Wait as before try ``failures + 1``, in a loop that cannot be one repeated function.

        Raises:
            Cancelled: Stopped while waiting.
        """
        wait_s = self._seconds_before_retry(failures, error)
        self.lines.warning("Failure %d in a row, next try in %.1f s: %s", failures, wait_s, error)
        if self._on_retry and isinstance(error, TransientError):
            self._on_retry(error)
        self._sleep(wait_s)

    def _wait(self, state: tenacity.RetryCallState) -> float:
        return self._seconds_before_retry(state.attempt_number, state.outcome.exception() if state.outcome else None)

    def _seconds_before_retry(self, failures: int, error: BaseException | None) -> float:
        if isinstance(error, TransientError) and error.retry_after_s is not None:
            return min(error.retry_after_s, _MAX_RETRY_AFTER_S)
        bound = min(self._budget.first_wait_s * 2 ** (failures - 1), self._budget.longest_wait_s)
        # Random, so that many workers do not retry at the same moment.
        return random.uniform(0, bound)  # noqa: S311 - not a secret

    def _sleep(self, seconds: float) -> None:
        if self._cancelled.wait(seconds):
            raise Cancelled.now()

    def _log_retry(self, action: str, state: tenacity.RetryCallState) -> None:
        error = state.outcome.exception() if state.outcome else None
        wait_s = state.next_action.sleep if state.next_action else 0.0
        self.lines.warning(
            "Try %d of %d to %s failed, next in %.1f s: %s",
            state.attempt_number,
            self._budget.attempts,
            action,
            wait_s,
            error,
        )
        if self._on_retry and isinstance(error, TransientError):
            self._on_retry(error)


def with_retries(items: Iterable[T], retrier: Retrier, action: str) -> Iterator[T]:
    """Yield the items; if the next one fails with a transient error, request it again within the budget.

    Args:
        items: A listing of a store, which says by ``continues_after_errors`` that it does. Of all others the first
            error is raised. A generator is at its end after an error, and so is what reads one, such as ``map``: to go
            on would look like the end of the listing, and lose the rest without a word.
        retrier: Tries and waits.
        action: What the listing does, for the log: "list 'a/b'".

    Raises:
        Cancelled: Stopped from outside.
    """
    listing = iter(items)
    can_continue = getattr(listing, "continues_after_errors", False)
    end = object()

    def take_next() -> T | object:
        return next(listing, end)

    while True:
        retrier.check_stop()
        try:
            # The retry loop costs as much time as an item, so only a failed item goes through it.
            item = next(listing, end)
        except TransientError as error:
            if not can_continue:
                raise
            retrier.pause(1, error)
            item = retrier.call(action, take_next)
        if item is end:
            return
        yield item  # type: ignore[misc]  # anything but the end is an item
