"""A transfer in a thread of its own, and the task's main thread that watches it, tells of it and stops it.

The main thread stays free for what Airflow does to it: SIGTERM calls ``on_kill``, ``execution_timeout`` raises in it.
"""

import logging
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple, Protocol

from s3_to_azure.model.formatting import duration_text, size_text
from s3_to_azure.model.progress import Progress, Totals

MOST_STRETCHES: Final = 48


class Stretch(NamedTuple):
    """Bytes that were sent in ``[start_s, end_s)``, seconds of the epoch."""

    start_s: float
    end_s: float
    size_bytes: int


class Throughput:
    """What a task sent, tries before this one included; the resolution falls as the time grows.

    Args:
        now_s: Seconds of the epoch.
        earlier: What an earlier try noted.
    """

    def __init__(self, now_s: float, earlier: Iterable[Stretch] = ()) -> None:
        """Begin with nothing sent in this try."""
        self._stretches = list(earlier)[-MOST_STRETCHES:]
        self._last_s = now_s
        self._last_bytes = 0

    def add(self, now_s: float, bytes_sent: int) -> None:
        """Take what has been sent by now.

        Args:
            now_s: Seconds of the epoch.
            bytes_sent: Total of this try.
        """
        if now_s <= self._last_s:
            return
        self._stretches.append(Stretch(self._last_s, now_s, max(0, bytes_sent - self._last_bytes)))
        self._last_s, self._last_bytes = now_s, bytes_sent
        while len(self._stretches) > MOST_STRETCHES:
            self._join_shortest()

    def as_lists(self) -> list[list[float]]:
        """Return JSON-ready values, in whole seconds."""
        return [[round(stretch.start_s), round(stretch.end_s), stretch.size_bytes] for stretch in self._stretches]

    def _join_shortest(self) -> None:
        """Join the two neighbours that together are shortest: so all stay about equally long."""
        pairs = range(len(self._stretches) - 1)
        at = min(pairs, key=lambda index: self._stretches[index + 1].end_s - self._stretches[index].start_s)
        first, second = self._stretches[at : at + 2]
        joined = Stretch(first.start_s, second.end_s, first.size_bytes + second.size_bytes)
        self._stretches[at : at + 2] = [joined]


def read_stretches(values: object) -> list[Stretch]:
    """Read what ``as_lists`` wrote; whatever is not that is left out, for it is for display only."""
    if not isinstance(values, list):
        return []
    found = []
    for value in values[:MOST_STRETCHES]:
        match value:
            case [int() | float() as start_s, int() | float() as end_s, int() as size_bytes]:
                if 0 <= start_s <= end_s and size_bytes >= 0:
                    found.append(Stretch(start_s, end_s, size_bytes))
    return found


def rates(stretches: Sequence[Stretch], *, bins: int) -> tuple[float, float, list[int]]:
    """Return the bytes per second of all stretches together, over time.

    Args:
        stretches: Of any number of tasks, in any order.
        bins: Into how many equal parts the time is cut.

    Returns:
        When the first part begins (seconds of the epoch), how long each is, and the rates; no rates without stretches.
    """
    if not stretches:
        return 0.0, 0.0, []
    start_s = min(stretch.start_s for stretch in stretches)
    total_s = max(_end_s(stretch) for stretch in stretches) - start_s
    bins = min(bins, int(total_s))
    width_s = total_s / bins
    sums = [0.0] * bins
    for stretch in stretches:
        end_s = _end_s(stretch)
        for index in range(int((stretch.start_s - start_s) / width_s), bins):
            left_s = max(stretch.start_s, start_s + index * width_s)
            right_s = min(end_s, start_s + (index + 1) * width_s)
            sums[index] += stretch.size_bytes * max(0.0, right_s - left_s) / (end_s - stretch.start_s)
            if right_s >= end_s:
                break
    return start_s, width_s, [round(total / width_s) for total in sums]


def _end_s(stretch: Stretch) -> float:
    """Times are noted in whole seconds: what began and ended in one took a second."""
    return max(stretch.end_s, stretch.start_s + 1)


PROGRESS_KEY: Final = "progress"
"""Key of the task's state store; its value is ``progress_note``'s."""

POLL_S: Final = 0.5
"""How often a task looks for progress to report."""

_NOTE_EVERY_S: Final = 5.0
_FIRST_LINE_S: Final = 5.0
_LONGEST_SILENCE_S: Final = 60.0
_RATE_WINDOW_S: Final = 30.0
_MOST_TEXT: Final = 300

log = logging.getLogger(__name__)


class TaskStateStore(Protocol):
    """Airflow's ``task_state_store``: small JSON values beside the task."""

    def get(self, key: str) -> object:
        """Read one value, also an earlier try's; each call goes to the API server."""
        ...

    def set(self, key: str, value: Any) -> None:  # noqa: ANN401 - any JSON
        """Write one value; each call goes to the API server."""
        ...


@dataclass(frozen=True, slots=True)
class ProgressSnapshot:
    """What is seen of a running transfer at one moment.

    Attributes:
        bytes_per_second: Sent to Azure over the last half minute.
        listing: Whether the totals still grow.
    """

    totals: Totals
    seconds: float
    bytes_per_second: float
    listing: bool = False

    @property
    def bytes_done(self) -> int:
        """Bytes that are in Azure, sent now or held before."""
        return self.totals.bytes_sent + self.totals.bytes_resumed

    @property
    def bytes_left(self) -> int:
        """Bytes still to send, as far as known."""
        return max(0, self.totals.bytes_total - self.bytes_done)


def progress_line(snapshot: ProgressSnapshot) -> str:
    """Return the log's line: what, how much, how fast, what is left, how long."""
    totals = snapshot.totals
    parts = []
    if totals.objects_total > 1 or snapshot.listing:
        known = f"{totals.objects_total:,}" + (" or more" if snapshot.listing else "")
        parts.append(f"{totals.objects_done + totals.objects_failed:,} of {known} objects")
    share = f" ({snapshot.bytes_done / totals.bytes_total:.0%})" if totals.bytes_total and not snapshot.listing else ""
    parts.append(f"{size_text(snapshot.bytes_done)} of {size_text(totals.bytes_total)}{share}")
    parts.append(f"{size_text(snapshot.bytes_per_second)}/s")
    if not snapshot.listing:
        wait = snapshot.bytes_left / snapshot.bytes_per_second if snapshot.bytes_per_second else None
        about = f", about {duration_text(wait)}" if wait is not None and snapshot.bytes_left else ""
        parts.append(f"{size_text(snapshot.bytes_left)} left{about}")
    if totals.bytes_resumed:
        parts.append(f"{size_text(totals.bytes_resumed)} were in Azure already")
    if totals.retries:
        parts.append("1 retry" if totals.retries == 1 else f"{totals.retries:,} retries")
    if totals.objects_failed:
        parts.append(f"{totals.objects_failed:,} failed")
    return "; ".join(parts)


def progress_note(
    snapshot: ProgressSnapshot, failures: Iterable[tuple[str, str]] = (), throughput: Sequence[Sequence[float]] = ()
) -> dict[str, Any]:
    """Return what the web page shows, at most some 16 KB: the names of ``Totals``, and more beside them."""
    return asdict(snapshot.totals) | {
        "seconds": round(snapshot.seconds, 1),
        "bytes_per_second": round(snapshot.bytes_per_second),
        "updated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "failures": [{"key": key[:_MOST_TEXT], "reason": reason[:_MOST_TEXT]} for key, reason in failures],
        "throughput": list(throughput),
    }


class ProgressReporter:
    """Writes progress to the log at growing intervals, and to the state store every few seconds.

    Args:
        progress: The counts.
        notes: The task's state store, or None. For display only: its failure is told once and changes nothing.
        listing: Whether the totals still grow.
        try_number: From the second on, the throughput that the earlier ones noted goes on.
    """

    def __init__(
        self,
        progress: Progress,
        *,
        notes: TaskStateStore | None,
        try_number: int = 1,
        listing: Callable[[], bool] = lambda: False,
    ) -> None:
        """Begin now."""
        self._progress = progress
        self._notes = notes
        self._listing = listing
        self._try_number = try_number
        self._began = time.monotonic()
        self._seen: deque[tuple[float, int]] = deque([(self._began, 0)])
        self._silence_s = _FIRST_LINE_S
        self._next_line = self._began + self._silence_s
        self._next_note = self._began
        self._throughput: Throughput | None = None

    def look(self) -> ProgressSnapshot:
        """Return what is seen now."""
        now, totals = time.monotonic(), self._progress.snapshot()
        self._seen.append((now, totals.bytes_sent))
        while now - self._seen[0][0] > _RATE_WINDOW_S:
            self._seen.popleft()
        then, sent = self._seen[0]
        rate = (totals.bytes_sent - sent) / (now - then) if now > then else 0.0
        return ProgressSnapshot(totals, now - self._began, rate, self._listing())

    def tell(self) -> None:
        """Log and note what is due."""
        now, snapshot = time.monotonic(), self.look()
        if now >= self._next_line:
            log.info("%s", progress_line(snapshot))
            self._silence_s = min(2 * self._silence_s, _LONGEST_SILENCE_S)
            self._next_line = now + self._silence_s
        if now >= self._next_note:
            self._note(snapshot)
            self._next_note = now + _NOTE_EVERY_S

    def close(self) -> None:
        """Note the last state."""
        self._note(self.look())

    def _note(self, snapshot: ProgressSnapshot) -> None:
        if self._notes is None:
            return
        try:
            if self._throughput is None:
                # A first try has nothing to ask the API server for.
                earlier = self._earlier_throughput(self._notes) if self._try_number > 1 else ()
                self._throughput = Throughput(time.time() - snapshot.seconds, earlier)
            self._throughput.add(time.time(), snapshot.totals.bytes_sent)
            self._notes.set(
                PROGRESS_KEY, progress_note(snapshot, self._progress.failures(), self._throughput.as_lists())
            )
        except Exception as error:  # noqa: BLE001 - whatever it is, the transfer is worth more than its display
            self._notes = None
            log.warning("Progress cannot be shown in the web UI (%.120s); the transfer goes on", error)

    @staticmethod
    def _earlier_throughput(notes: TaskStateStore) -> list[Stretch]:
        earlier = notes.get(PROGRESS_KEY)
        return read_stretches(earlier.get("throughput")) if isinstance(earlier, dict) else []
