"""The progress of a running task, for its log and for the Migration page."""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, Protocol, cast

from s3_to_azure.airflow.compat import MIGRATION_PAGE
from s3_to_azure.airflow.throughput import Interval, Throughput, read_intervals
from s3_to_azure.model.formatting import duration_text, size_text
from s3_to_azure.model.progress import Progress, Totals

PROGRESS_KEY: Final = "progress"
"""Key in Airflow's ``task_state_store``, or of an XCom; its value is what ``progress_record`` returns."""

WAITING_KEY: Final = "waiting"
"""XCom key under which a waiting sensor says what for, and until when; the Migration page shows it."""

SETTINGS_KEY: Final = "settings"
"""XCom key under which the first task of a migration leaves the run's Params."""

ERROR_KEY: Final = "s3_to_azure_error"
"""Key in the same places: the last error of a task, as ``task_errors.error_record`` returns it."""

_WRITE_EVERY_S: Final = 5.0
_FIRST_LINE_S: Final = 5.0
_MAX_LINE_INTERVAL_S: Final = 60.0
_RATE_WINDOW_S: Final = 30.0
_MAX_TEXT: Final = 300

log = logging.getLogger(__name__)


class TaskStateStore(Protocol):
    """Airflow's ``task_state_store``: small JSON values stored with the task."""

    def get(self, key: str) -> object:
        """Return a value, possibly written by an earlier try; each call is a request to the API server."""
        ...

    def set(self, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Write a value; each call is a request to the API server."""
        ...


class XComStore:
    """The same for an Airflow without ``task_state_store``: one XCom of the task for each key, written again and again.

    Airflow deletes a task's XComs when its next try begins, so there is nothing of earlier tries to read.
    """

    def __init__(self, instance: Any) -> None:  # noqa: ANN401 - a task instance of any version
        self._instance = instance

    def get(self, key: str) -> object:  # noqa: ARG002 - the same as above
        """Return None."""
        return None

    def set(self, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Write the XCom."""
        self._instance.xcom_push(key=key, value=value)


def progress_store(context: Mapping[str, Any]) -> TaskStateStore | None:
    """Return where a running task leaves its progress for the Migration page; None where there is no page."""
    store, instance = cast("Any", context.get("task_state_store")), context.get("ti")
    if store is None and instance is not None and MIGRATION_PAGE:
        return XComStore(instance)
    return cast("TaskStateStore | None", store)


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """The progress of a transfer at one moment.

    Attributes:
        seconds: Time since the task started to copy.
        bytes_per_second: Moved over the last half minute.
        is_listing: Whether the totals still grow.
    """

    totals: Totals
    seconds: float
    bytes_per_second: float
    is_listing: bool = False

    @property
    def bytes_done(self) -> int:
        """Bytes in Azure, sent by this try or by an earlier one."""
        return self.totals.bytes_sent + self.totals.bytes_resumed

    @property
    def bytes_left(self) -> int:
        """Bytes still to send, as far as known."""
        return max(0, self.totals.bytes_total - self.bytes_done)

    @property
    def seconds_left(self) -> float | None:
        """How long that takes, if what has arrived from S3 needs no more time; None if that cannot be said."""
        if not self.bytes_left or not self.bytes_per_second:
            return None
        return max(0, self.bytes_left - self.totals.bytes_in_flight) / self.bytes_per_second


def progress_line(snapshot: ProgressSnapshot) -> str:
    """Return the line for the log: how much is done, how fast, how much is left, how long that takes."""
    totals = snapshot.totals
    parts = []
    if totals.objects_total > 1 or snapshot.is_listing:
        known = f"{totals.objects_total:,}" + (" or more" if snapshot.is_listing else "")
        parts.append(f"{totals.objects_done + totals.objects_failed:,} of {known} objects")
    has_share = totals.bytes_total and not snapshot.is_listing
    share = f" ({snapshot.bytes_done / totals.bytes_total:.0%})" if has_share else ""
    parts.append(f"{size_text(snapshot.bytes_done)} of {size_text(totals.bytes_total)}{share}")
    parts.append(f"{size_text(snapshot.bytes_per_second)}/s")
    if not snapshot.is_listing:
        left_s = snapshot.seconds_left
        about = "" if left_s is None else f", about {duration_text(left_s)}"
        parts.append(f"{size_text(snapshot.bytes_left)} left{about}")
    if totals.bytes_resumed:
        parts.append(f"{size_text(totals.bytes_resumed)} already in Azure")
    if totals.retries:
        parts.append(totals.retries_text())
    if totals.objects_failed:
        parts.append(f"{totals.objects_failed:,} failed")
    return "; ".join(parts)


def progress_record(
    snapshot: ProgressSnapshot, failures: Iterable[tuple[str, str]] = (), throughput: Sequence[Sequence[float]] = ()
) -> dict[str, Any]:
    """Return what the Migration page shows, at most some 16 KB: the fields of ``Totals`` and more."""
    return asdict(snapshot.totals) | {
        "seconds": round(snapshot.seconds, 1),
        "bytes_per_second": round(snapshot.bytes_per_second),
        "updated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "failures": [{"key": key[:_MAX_TEXT], "reason": reason[:_MAX_TEXT]} for key, reason in failures],
        "throughput": list(throughput),
    }


class ProgressReporter:
    """Writes progress to the log at growing intervals, and to Airflow's ``task_state_store`` every few seconds.

    Args:
        progress: The counts.
        store: Airflow's ``task_state_store``, or None. It is only for display: if it fails, that is logged once, and
            the transfer goes on without it.
        try_number: From the second try on, the throughput that earlier tries recorded is continued.
        is_listing: Returns whether the totals still grow.
        limit: The task's bandwidth limit in bytes per second; None: no limit.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        store: TaskStateStore | None,
        try_number: int = 1,
        is_listing: Callable[[], bool] = lambda: False,
        limit: int | None = None,
    ) -> None:
        self._limit = limit
        self._progress = progress
        self._store = store
        self._is_listing = is_listing
        self._try_number = try_number
        self._began = time.monotonic()
        self._samples: deque[tuple[float, int]] = deque([(self._began, 0)])
        self._line_interval_s = _FIRST_LINE_S
        self._next_line = self._began + self._line_interval_s
        self._next_write = self._began
        self._throughput: Throughput | None = None

    def snapshot(self) -> ProgressSnapshot:
        """Return the progress now."""
        now, totals = time.monotonic(), self._progress.snapshot()
        self._samples.append((now, totals.bytes_moved))
        while now - self._samples[0][0] > _RATE_WINDOW_S:
            self._samples.popleft()
        then, moved = self._samples[0]
        rate = (totals.bytes_moved - moved) / (now - then) if now > then else 0.0
        # The window may begin in the middle of a piece, which is counted at its end.
        rate = rate if self._limit is None else min(rate, self._limit)
        return ProgressSnapshot(totals, now - self._began, rate, self._is_listing())

    def report(self) -> None:
        """Write to the log and to the ``task_state_store`` what is due."""
        now, snapshot = time.monotonic(), self.snapshot()
        if now >= self._next_line:
            log.info("%s", progress_line(snapshot))
            self._line_interval_s = min(2 * self._line_interval_s, _MAX_LINE_INTERVAL_S)
            self._next_line = now + self._line_interval_s
        if now >= self._next_write:
            self._write(snapshot)
            self._next_write = now + _WRITE_EVERY_S

    def close(self) -> None:
        """Write the final state to the ``task_state_store``."""
        self._write(self.snapshot())

    def _write(self, snapshot: ProgressSnapshot) -> None:
        if self._store is None:
            return
        try:
            if self._throughput is None:
                # Nothing was recorded before a first try: it saves the request to the API server.
                earlier = _recorded_throughput(self._store) if self._try_number > 1 else ()
                self._throughput = Throughput(time.time() - snapshot.seconds, earlier, limit=self._limit)
            self._throughput.add(time.time(), snapshot.totals.bytes_moved)
            record = progress_record(snapshot, self._progress.failures(), self._throughput.as_lists())
            self._store.set(PROGRESS_KEY, record)
        except Exception as error:  # noqa: BLE001 - no failure to display progress may stop the transfer
            self._store = None
            log.warning("Progress cannot be shown in the web UI (%.120s); the transfer continues", error)


def _recorded_throughput(store: TaskStateStore) -> list[Interval]:
    record = store.get(PROGRESS_KEY)
    return read_intervals(record.get("throughput")) if isinstance(record, dict) else []
