"""Runs work in a daemon thread, and gives up on it soon after a stop, whatever its sockets do."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Final, TypeVar

from s3_to_azure.model.errors import Cancelled

T = TypeVar("T")

# The grace periods nest: each layer waits a little longer for the layer below it than that one waits itself, so that
# the innermost layer that can end in time reports why, and only a layer that hangs is abandoned. With the outermost the
# process has ended within three seconds, and Airflow sends SIGKILL five seconds after SIGTERM.
BLOCKS_GRACE_S: Final = 1.5
"""How long an object waits for its blocks in flight after a stop."""

OBJECT_GRACE_S: Final = 2.0
"""How long a task waits for its objects after a stop."""

BATCH_GRACE_S: Final = 2.15
"""How long one of several processes waits for its batch after a stop."""

PROCESS_GRACE_S: Final = 2.35
"""How long the parent waits for these processes after a stop."""

TASK_GRACE_S: Final = 2.6
"""How long the main thread waits for its task, or for its command, after a stop."""

_POLL_S: Final = 0.1

# Taken for good by the thread that warns of the limit of threads.
_first_to_warn = threading.Lock()

log = logging.getLogger(__name__)


class StopEvent(threading.Event):
    """An event that a signal handler may set.

    ``threading.Event.set`` takes a lock. A handler runs in the main thread, between any two of its steps: if that
    thread is in the middle of ``wait``, it holds this lock, and the handler would wait for it for ever. Here ``set``
    takes none, and waiting threads notice it within 0.1 s.

    Attributes:
        interrupts: The main thread is in code that cannot look at the event, such as an SDK's, so the handler raises
            KeyboardInterrupt too.
    """

    def __init__(self) -> None:
        super().__init__()
        self._is_stopped = False
        self.interrupts = False

    @contextmanager
    def interrupting(self) -> Iterator[None]:
        """Let a stop interrupt the block."""
        self.interrupts = True
        try:
            yield
        finally:
            self.interrupts = False

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_stopped

    def set(self) -> None:
        """Set it, without a lock."""
        self._is_stopped = True

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until it is set, at most ``timeout`` seconds; return whether it is."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while not self.is_set():
            left_s = _POLL_S if deadline is None else deadline - time.monotonic()
            if left_s <= 0:
                return False
            time.sleep(min(left_s, _POLL_S))
        return True


class TaskStop:
    """What ``on_kill`` of an Airflow task stops: its present work, and what it begins later.

    There is no event before the work begins, because Airflow copies operators, and an event cannot be copied.
    """

    def __init__(self) -> None:
        self._is_stopped = False
        self._event: StopEvent | None = None

    @property
    def event(self) -> StopEvent:
        """The event of the present work."""
        return self._event or self.begin()

    def begin(self) -> StopEvent:
        """Begin work; return its event, which is set if the task was stopped before."""
        event = self._event = StopEvent()
        if self._is_stopped:
            event.set()
        return event

    def stop(self) -> None:
        """Stop the task. It may run in a signal handler, since it takes no lock."""
        self._is_stopped = True
        if self._event is not None:
            self._event.set()


@contextmanager
def threads_for_results(count: int, cancelled: threading.Event) -> Iterator[ThreadPoolExecutor]:
    """Yield threads whose results the block reads; if it ends with an error, they are stopped, and not waited for.

    Each may be reading a blob of hundreds of GB. Nobody reads the results after the first error, such as that of a
    standard output whose reader has gone, which would be told only after all of them.

    Args:
        count: The number of threads.
        cancelled: What stops the work.
    """
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        cancelled.set()
        raise
    pool.shutdown()


def start_thread(target: Callable[[], object], name: str) -> bool:
    """Start a daemon thread; return False where this process may have no more of them, which is logged once.

    The limits of a user or a container count the threads of other tasks too, so no number of threads is sure to fit.
    """
    try:
        threading.Thread(target=target, name=name, daemon=True).start()
    except RuntimeError:
        _warn_of_limit()
        return False
    return True


def _warn_of_limit() -> None:
    if _first_to_warn.acquire(blocking=False):
        log.warning(
            "The system allows this process no further thread, so that fewer objects and blocks are copied at once. "
            "Raise the limit (ulimit -u, or the pids of the container), or lower objects_at_once"
        )


def run_stoppable(
    work: Callable[[], T],
    cancelled: threading.Event,
    *,
    grace_s: float = OBJECT_GRACE_S,
    poll_s: float = _POLL_S,
    on_poll: Callable[[], None] = lambda: None,
    on_end: Callable[[], None] = lambda: None,
) -> T:
    """Run the work in a daemon thread; return what it returns, or raise what it raises.

    Args:
        work: It should end soon after ``cancelled`` is set.
        cancelled: Set from outside, or here when the calling thread is interrupted. If a signal handler sets it, it is
            a ``StopEvent``.
        grace_s: How long to wait for the work after a stop; its thread is abandoned afterwards.
        poll_s: How often to look for a stop.
        on_poll: Called in the calling thread at each of these times.
        on_end: Called in the calling thread once the work has ended by itself, also with an error.

    Raises:
        Cancelled: Stopped, and the work did not end within the grace period.
        BaseException: Raised in the calling thread meanwhile, such as a timeout that a signal handler raises; the
            work is stopped first, and has the grace period to end.
    """
    # A SimpleQueue, unlike a lock held by the waiting thread, cannot deadlock with a signal handler.
    ended: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            ended.put((work(), None))
        except BaseException as error:  # noqa: BLE001 - raised in the calling thread
            ended.put((None, error))

    # A daemon: one request that hangs must not keep the process of a stopped task alive.
    threading.Thread(target=run, name="stoppable", daemon=True).start()
    try:
        outcome = _outcome(ended, cancelled, grace_s=grace_s, poll_s=poll_s, on_poll=on_poll)
    except BaseException:
        cancelled.set()
        with suppress(queue.Empty):
            ended.get(timeout=grace_s)
        raise
    if outcome is None:
        raise Cancelled.now()
    on_end()
    result, error = outcome
    if error is not None:
        raise error
    return result  # type: ignore[return-value]  # the work's own


def _outcome(
    ended: "queue.SimpleQueue[tuple[T | None, BaseException | None]]",
    cancelled: threading.Event,
    *,
    grace_s: float,
    poll_s: float,
    on_poll: Callable[[], None],
) -> tuple[T | None, BaseException | None] | None:
    """Return the result or the error of the work, or None if it did not end in time after a stop."""
    while True:
        with suppress(queue.Empty):
            return ended.get(timeout=poll_s)
        on_poll()
        if cancelled.is_set():
            with suppress(queue.Empty):
                return ended.get(timeout=grace_s)
            return None
