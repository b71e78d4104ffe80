"""How much was sent when, in a few dozen numbers however long it takes: kept by a task, drawn by the web page."""

from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

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
