"""The throughput of a task: few intervals that hold all bytes, and the rates that a page draws from them."""

from hypothesis import example, given
from hypothesis import strategies as st

from s3_to_azure.airflow.throughput import MAX_INTERVALS, Interval, Throughput, rates, read_intervals


@given(st.lists(st.integers(0, 1 << 40), min_size=1, max_size=300))
def test_no_byte_is_lost(amounts: list[int]) -> None:
    """However often bytes are added, few intervals remain, and they hold all bytes."""
    throughput, sent = Throughput(1_000.0), 0
    for number, amount in enumerate(amounts, 1):
        sent += amount
        throughput.add(1_000.0 + 5 * number, sent)
    kept = throughput.as_lists()
    assert len(kept) <= MAX_INTERVALS
    assert sum(size for _, _, size in kept) == sent
    assert (kept[0][0], kept[-1][1]) == (1_000, 1_000 + 5 * len(amounts))


# An interval of half a second does not overlap the next one.
@example([(1.5, 0), (0.5, 60_002), (1.0, 3_000_000)])
@example([(0.5, 9_000_000)])
@given(st.lists(st.tuples(st.floats(0.5, 20), st.integers(0, 50_000_000)), min_size=1, max_size=200))
def test_no_rate_is_above_the_limit(steps: list[tuple[float, int]]) -> None:
    """Pieces are counted at their ends; what exceeds an interval is drawn in the next, and no bar is too high."""
    limit = 3_000_000
    throughput = Throughput(0, limit=limit)
    now, total = 0.0, 0
    for seconds, size_bytes in steps:
        now += seconds
        total += size_bytes
        throughput.add(now, total)
    found = read_intervals(throughput.as_lists())
    assert sum(interval.size_bytes for interval in found) <= total
    # Times are written in thousandths of a second.
    assert max(rates(found, bins=90)[2]) <= 1.01 * limit


def test_what_exceeds_an_interval_is_in_the_next() -> None:
    """A block's end may fall into the interval after the one in which most of it moved."""
    throughput = Throughput(0, limit=100)
    for now, total in ((5, 600), (10, 800), (15, 1_300)):
        throughput.add(now, total)
    assert [size for _, _, size in throughput.as_lists()] == [500, 300, 500]


def test_intervals_stay_about_equally_long() -> None:
    """After hours no interval is a large part of the time."""
    throughput = Throughput(0.0)
    for number in range(1, 5_000):
        throughput.add(5.0 * number, number)
    lengths = [end - start for start, end, _ in throughput.as_lists()]
    assert max(lengths) <= 4 * 25_000 / MAX_INTERVALS


def test_a_retry_continues_the_record_of_the_earlier_try() -> None:
    """What an earlier try recorded comes first."""
    first = Throughput(100.0)
    first.add(105.0, 7)
    second = Throughput(200.0, read_intervals(first.as_lists()))
    second.add(205.0, 9)
    assert second.as_lists() == [[100, 105, 7], [200, 205, 9]]


def test_reads_only_what_it_wrote() -> None:
    """Anything else in the state store is left out, never an error."""
    wrong: list[object] = [None, {}, "x", [1], [[1, 2]], [["a", 2, 3]], [[3, 2, 1]], [[1, 2, -1]], [[-1, 2, 1]]]
    for value in [*wrong, [[1, 2, 3.5]]]:
        assert read_intervals(value) == []
    assert read_intervals([[1, 2, 3]]) == [(1, 2, 3)]


@given(
    st.lists(st.tuples(st.integers(0, 5_000), st.integers(0, 5_000), st.integers(0, 1 << 40)), min_size=1, max_size=30)
)
def test_rates_hold_all_bytes(values: list[tuple[int, int, int]]) -> None:
    """The area below the drawn rates is what was sent."""
    intervals = [Interval(start, start + length, size) for start, length, size in values]
    start_s, width_s, found = rates(intervals, bins=60)
    sent = sum(interval.size_bytes for interval in intervals)
    assert 1 <= len(found) <= 60
    assert start_s == min(interval.start_s for interval in intervals)
    # Each rate is rounded.
    assert abs(sum(found) * width_s - sent) <= 60 * width_s + sent * 1e-9


def test_no_rates_of_nothing() -> None:
    """Without intervals there is nothing to draw."""
    assert rates([], bins=60) == (0.0, 0.0, [])
