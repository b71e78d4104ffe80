"""A stop that does not wait for a dead socket."""

import queue
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

from s3_to_azure.model.errors import Cancelled

T = TypeVar("T")

_POLL_S: Final = 0.1
_STOP_GRACE_S: Final = 2.5


def run_stoppable(function: Callable[[], T], cancelled: threading.Event) -> T:
    """Run the function in a daemon thread and return what it returns, or raise what it raises.

    Raises:
        Cancelled: Stopped, and the function did not end by itself soon after; its thread is left behind.
    """
    ended: queue.SimpleQueue[tuple[T | None, BaseException | None]] = queue.SimpleQueue()

    def work() -> None:
        try:
            ended.put((function(), None))
        except BaseException as error:  # noqa: BLE001 - raised in the caller's thread
            ended.put((None, error))

    threading.Thread(target=work, name="object", daemon=True).start()
    deadline: float | None = None
    while True:
        try:
            result, error = ended.get(timeout=_POLL_S)
        except queue.Empty:
            if cancelled.is_set():
                deadline = deadline or time.monotonic() + _STOP_GRACE_S
                if time.monotonic() > deadline:
                    raise Cancelled.now() from None
            continue
        if error is not None:
            raise error
        return result  # type: ignore[return-value]  # the function's own
