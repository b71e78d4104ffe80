"""What a task sent and when: recorded by the task in few values, drawn by the Migration page."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

MAX_INTERVALS: Final = 48
# The end of the year 9999; browsers know no later time.
_MAX_S: Final = 253_402_300_800
_MAX_BYTES: Final = 2**63


class Interval(NamedTuple):
    """Bytes sent in ``[start_s, end_s)``, in seconds since the epoch."""

    start_s: float
    end_s: float
    size_bytes: int


class Throughput:
    """The bytes that a task sent over time, earlier tries included, in at most ``MAX_INTERVALS`` intervals.

    Args:
        now_s: Seconds since the epoch.
        earlier: The intervals that an earlier try recorded.
        limit: Bytes per second that the task may move; None: no limit.
    """

    def __init__(self, now_s: float, earlier: Iterable[Interval] = (), *, limit: int | None = None) -> None:
        self._limit = limit
        self._intervals = list(earlier)[-MAX_INTERVALS:]
        self._last_s = now_s
        self._last_bytes = 0

    def add(self, now_s: float, bytes_moved: int) -> None:
        """Record the bytes that have moved up to now.

        Args:
            now_s: Seconds since the epoch.
            bytes_moved: The total of this try.
        """
        if now_s <= self._last_s:
            return
        size_bytes = max(0, bytes_moved - self._last_bytes)
        if self._limit is not None:
            # A piece is counted when its last byte may move: what began earlier than this interval belongs to the next.
            size_bytes = min(size_bytes, int(self._limit * (now_s - self._last_s)))
        self._intervals.append(Interval(self._last_s, now_s, size_bytes))
        self._last_s, self._last_bytes = now_s, self._last_bytes + size_bytes
        while len(self._intervals) > MAX_INTERVALS:
            self._merge_shortest()

    def as_lists(self) -> list[list[float]]:
        """Return JSON-ready values."""
        # In whole seconds an interval of 5.4 s would be one of 5 s, and its rate a tenth too high.
        return [[round(start_s, 3), round(end_s, 3), size_bytes] for start_s, end_s, size_bytes in self._intervals]

    def _merge_shortest(self) -> None:
        """Merge the two neighbours that are shortest together, so that all intervals stay about equally long."""
        pairs = range(len(self._intervals) - 1)
        index = min(pairs, key=lambda at: self._intervals[at + 1].end_s - self._intervals[at].start_s)
        first, second = self._intervals[index : index + 2]
        merged = Interval(first.start_s, second.end_s, first.size_bytes + second.size_bytes)
        self._intervals[index : index + 2] = [merged]


def read_intervals(values: object) -> list[Interval]:
    """Read what ``Throughput.as_lists`` returned; anything else is left out, because it is only displayed."""
    if not isinstance(values, list):
        return []
    intervals = []
    for value in values[:MAX_INTERVALS]:
        match value:
            case [int() | float() as start_s, int() | float() as end_s, int() as size_bytes]:
                if 0 <= start_s <= end_s < _MAX_S and 0 <= size_bytes < _MAX_BYTES:
                    intervals.append(Interval(start_s, end_s, size_bytes))
    return intervals


def rates(intervals: Sequence[Interval], *, bins: int) -> tuple[float, float, list[int]]:
    """Return the bytes per second of all intervals together, over time.

    Args:
        intervals: Those of any number of tasks, in any order.
        bins: The number of equal parts that the time is divided into.

    Returns:
        When the first part begins (seconds since the epoch), how long each part is in seconds, and the rate of each;
        no rates without intervals.
    """
    if not intervals:
        return 0.0, 0.0, []
    start_s = min(interval.start_s for interval in intervals)
    total_s = max(_end_s(interval) for interval in intervals) - start_s
    bins = max(1, min(bins, int(total_s)))
    width_s = total_s / bins
    sums = [0.0] * bins
    for interval in intervals:
        end_s = _end_s(interval)
        for index in range(int((interval.start_s - start_s) / width_s), bins):
            left_s = max(interval.start_s, start_s + index * width_s)
            right_s = min(end_s, start_s + (index + 1) * width_s)
            sums[index] += interval.size_bytes * max(0.0, right_s - left_s) / (end_s - interval.start_s)
            if right_s >= end_s:
                break
    return start_s, width_s, [round(total / width_s) for total in sums]


def _end_s(interval: Interval) -> float:
    """Return the end; a second after the start for an interval that rounding made empty."""
    return interval.end_s if interval.end_s > interval.start_s else interval.start_s + 1
