"""Buffers that are used again, within the most that was in use."""

from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.stores.event_loop.buffers import Buffers


def held(buffers: Buffers) -> int:
    """Return the bytes in use and kept."""
    return buffers._used_bytes + buffers._kept_bytes


def test_buffer_is_used_again() -> None:
    """For the same size, or a little less."""
    buffers = Buffers()
    first = buffers.take(1_000_000)
    assert 1_000_000 <= len(first) <= 1_125_000
    buffers.give_back(first)
    assert buffers.take(999_000) is first
    assert buffers.take(1_000_000) is not first


def test_sizes_that_are_no_longer_used_are_dropped() -> None:
    """Whatever sizes follow each other, no more memory is kept than was in use at once."""
    buffers = Buffers()
    for size_bytes in range(100_000, 8_000_000, 100_000):
        buffers.give_back(buffers.take(size_bytes))
        assert held(buffers) <= 9_000_000
    buffers.clear()
    assert held(buffers) == 0


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(1, 1 << 23)), max_size=40))
def test_most_in_use_is_the_most_held(steps: list[tuple[int, int]]) -> None:
    """Also for buffers that leave and come back with a body, and for those that never come back."""
    buffers, used, away, most = Buffers(), list[bytearray](), list[bytearray](), 0
    for step, size_bytes in steps:
        if step == 0 or not used:
            used.append(buffers.take(size_bytes))
        elif step == 1:
            buffers.give_back(used.pop())
        elif step == 2:
            away.append(used.pop(0))
            buffers.forget(away[-1])
        elif away:
            used.append(away.pop())
            buffers.remember(used[-1])
        most = max(most, sum(map(len, used)))
        assert buffers._used_bytes == sum(map(len, used))
        assert buffers._kept_bytes == sum(len(buffer) for kept in buffers._kept.values() for buffer in kept)
        assert held(buffers) <= most
