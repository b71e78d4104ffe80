"""The memory budget: its bound holds under threads, buffers are used again, a stop wakes who waits."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3_to_azure.model.errors import BudgetTooSmall, Cancelled
from s3_to_azure.model.limits import KIB, MIB
from s3_to_azure.transfer.buffers import BufferPool


def pool(budget_bytes: int) -> BufferPool:
    """Return a pool that nobody stops."""
    return BufferPool(budget_bytes, threading.Event())


@pytest.mark.parametrize("size_bytes", [0, 1, 4 * KIB - 1, 4 * KIB, 4 * KIB + 1, MIB])
def test_exact_size(size_bytes: int) -> None:
    """A view has exactly the size asked for, and can be written."""
    with pool(MIB).lend(size_bytes) as view:
        assert len(view) == size_bytes
        view[:] = b"x" * size_bytes


def test_whole_budget_and_no_byte_more() -> None:
    """A buffer of the whole budget is lent; a larger one can never be."""
    memory = pool(MIB)
    with memory.lend(MIB):
        pass
    with pytest.raises(BudgetTooSmall), memory.lend(MIB + 1):
        pass


def test_view_is_dead_after_its_return() -> None:
    """Nobody keeps writing into a buffer that another one has."""
    with pool(MIB).lend(100) as view:
        kept = view
    with pytest.raises(ValueError, match="released"):
        kept[0] = 1


def test_buffers_are_used_again() -> None:
    """The next block of that size gets the same memory, which is never faulted in again."""
    memory = pool(8 * MIB)
    with memory.lend(MIB) as view:
        view[:5] = b"first"
    with memory.lend(MIB - 5) as view:
        assert bytes(view[:5]) == b"first"
    assert memory._held == MIB


def test_small_request_takes_no_huge_buffer() -> None:
    """A buffer of more than twice the size stays free for whoever needs it."""
    memory = pool(8 * MIB)
    with memory.lend(4 * MIB):
        pass
    with memory.lend(MIB), memory.lend(4 * MIB):
        assert memory._held == 5 * MIB


def test_free_buffers_make_room() -> None:
    """Buffers of a size that nobody needs any more do not block the budget."""
    memory = pool(4 * MIB)
    for size in (MIB, 4 * MIB, 2 * MIB, 3 * MIB, 100):
        with memory.lend(size):
            assert memory._held <= 4 * MIB


def test_an_errors_traceback_keeps_no_buffer() -> None:
    """Whoever keeps the error of a failed read does not keep the pool from freeing the buffer."""
    memory = pool(2 * MIB)
    kept: list[BaseException] = []

    def read(view: memoryview) -> None:
        with view[10:20] as piece:
            raise OSError(f"reset while filling {len(piece)} bytes")

    try:
        with memory.lend(MIB) as view:
            read(view)
    except OSError as error:
        kept.append(error)
    with memory.lend(2 * MIB) as view:
        assert len(view) == 2 * MIB
    assert kept


def test_bound_holds_under_threads() -> None:
    """Many threads with mixed sizes never hold more than the budget at once, and all get their turn."""
    budget = 4 * MIB
    memory = pool(budget)
    lock = threading.Lock()
    lent = most = served = 0

    def work(seed: int) -> None:
        nonlocal lent, most, served
        chance = random.Random(seed)
        for _ in range(30):
            size = chance.choice([1, 64 * KIB, MIB, 3 * MIB, budget])
            with memory.lend(size) as view:
                with lock:
                    lent += len(view)
                    most = max(most, lent, memory._held)
                view[-1] = 1
                with lock:
                    lent -= len(view)
                    served += 1

    with ThreadPoolExecutor(12) as workers:
        list(workers.map(work, range(12)))
    assert served == 12 * 30
    assert 0 < most <= budget
    assert memory._held <= budget


def test_stop_wakes_who_waits() -> None:
    """A thread that waits for memory ends with Cancelled when the task is stopped."""
    stop = threading.Event()
    memory = BufferPool(MIB, stop)
    waiting = threading.Event()
    ended: list[BaseException] = []

    def wait() -> None:
        waiting.set()
        try:
            with memory.lend(MIB):
                pass
        except Cancelled as error:
            ended.append(error)

    with memory.lend(MIB):
        thread = threading.Thread(target=wait)
        thread.start()
        waiting.wait()
        stop.set()
        thread.join(10)
    assert len(ended) == 1


def test_buffer_comes_back_after_an_error() -> None:
    """A failed block frees its memory for the next one."""
    memory = pool(MIB)
    for _ in range(3):
        with pytest.raises(RuntimeError), memory.lend(MIB):
            raise RuntimeError("the block failed")
