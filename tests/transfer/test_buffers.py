"""The memory budget holds under threads, buffers are reused, and a stop ends every wait."""

import random
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3_to_azure.model.errors import BudgetTooSmall, Cancelled
from s3_to_azure.model.limits import KIB, MIB
from s3_to_azure.transfer.buffers import BufferPool


def pool(budget_bytes: int) -> BufferPool:
    """Return a pool that is never stopped."""
    return BufferPool(budget_bytes, threading.Event())


def wait_for_waiting(pool: BufferPool, count: int) -> None:
    """Wait until so many threads wait for memory."""
    end = time.monotonic() + 10
    while len(pool._waiting) < count:
        assert time.monotonic() < end, "nobody waits"
        time.sleep(0.001)


@pytest.mark.parametrize("size_bytes", [0, 1, 4 * KIB - 1, 4 * KIB, 4 * KIB + 1, MIB])
def test_view_has_the_exact_size(size_bytes: int) -> None:
    """A view has exactly the requested size and can be written."""
    with pool(MIB).lend(size_bytes) as view:
        assert len(view) == size_bytes
        view[:] = b"x" * size_bytes


def test_whole_budget_and_no_byte_more() -> None:
    """A buffer of the whole budget is lent; a larger one is refused at once."""
    memory = pool(MIB)
    with memory.lend(MIB):
        pass
    with pytest.raises(BudgetTooSmall), memory.lend(MIB + 1):
        pass


def test_buffers_leave_a_part_of_the_budget_to_threads() -> None:
    """Blocks that would fill the budget to its last byte leave one out."""
    pool = BufferPool(32 * MIB, threading.Event())
    with pool.lend(16 * MIB), pool.lend(15 * MIB):
        assert pool._allocate(MIB) is None


def test_view_is_dead_after_its_return() -> None:
    """A view that was given back cannot be written any more."""
    with pool(MIB).lend(100) as view:
        kept = view
    with pytest.raises(ValueError, match="released"):
        kept[0] = 1


def test_buffers_are_reused() -> None:
    """The next block of about that size gets the same memory, which causes no page faults."""
    memory = pool(8 * MIB)
    with memory.lend(MIB) as view:
        view[:5] = b"first"
    with memory.lend(MIB - 5) as view:
        assert bytes(view[:5]) == b"first"
    assert memory._held == MIB


def test_small_request_takes_no_large_buffer() -> None:
    """A buffer of more than twice the requested size stays free."""
    memory = pool(8 * MIB)
    with memory.lend(4 * MIB):
        pass
    with memory.lend(MIB), memory.lend(4 * MIB):
        assert memory._held == 5 * MIB


def test_free_buffers_make_room() -> None:
    """Free buffers of another size are dropped when the budget has no room."""
    memory = pool(4 * MIB)
    for size in (MIB, 4 * MIB, 2 * MIB, 3 * MIB, 100):
        with memory.lend(size):
            assert memory._held <= 4 * MIB


def test_traceback_keeps_no_buffer() -> None:
    """A kept error of a failed read does not keep its buffer in memory."""
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
    """Many threads with mixed sizes never hold more than the budget at once, and all are served."""
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


def test_large_buffer_is_not_overtaken() -> None:
    """A thread that waits for the whole budget gets it before threads that come later and need little."""
    memory = pool(4 * MIB)
    order: list[int] = []
    first = memory.lend(2 * MIB)
    first.__enter__()

    def take(size_bytes: int) -> None:
        with memory.lend(size_bytes):
            order.append(size_bytes)

    waiting = []
    for size_bytes in (4 * MIB, MIB, MIB):
        waiting.append(threading.Thread(target=take, args=(size_bytes,), daemon=True))
        waiting[-1].start()
        wait_for_waiting(memory, len(waiting))
    first.__exit__(None, None, None)
    for thread in waiting:
        thread.join(60)
    assert order == [4 * MIB, MIB, MIB]


def test_stop_ends_a_wait_for_memory() -> None:
    """A thread that waits for memory raises Cancelled when the task is stopped."""
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
        thread.join()
    assert len(ended) == 1


def test_buffer_is_returned_after_an_error() -> None:
    """A failed block returns its memory."""
    memory = pool(MIB)
    for _ in range(3):
        with pytest.raises(RuntimeError), memory.lend(MIB):
            raise RuntimeError("the block failed")


def test_reserved_bytes_are_not_lent() -> None:
    """Reserved bytes count against the budget until they are given back."""
    pool = BufferPool(4 * MIB, threading.Event())
    with pool.reserve(3 * MIB):
        assert pool._allocate(2 * MIB) is None
        with pool.lend(MIB // 2):
            assert pool._held == 3 * MIB + MIB // 2
    assert pool._allocate(2 * MIB) is not None


def test_stop_ends_a_wait_for_a_reservation() -> None:
    """A reservation that waits for room raises Cancelled when the task is stopped."""
    stopped = threading.Event()
    pool = BufferPool(4 * MIB, stopped)
    with pool.lend(2 * MIB):
        stopped.set()
        with pytest.raises(Cancelled), pool.reserve(3 * MIB):
            pytest.fail("there was no room")


def test_spare_bytes_are_what_nobody_has_keeps_or_waits_for() -> None:
    """Only they can be reserved at once, and they come back."""
    pool = BufferPool(32 * MIB, threading.Event())
    with pool.lend(8 * MIB):
        pass
    assert not pool.reserve_spare(24 * MIB), "the buffer that is kept, and a part that is never lent"
    assert pool.reserve_spare(16 * MIB)
    waiting = threading.Thread(target=lambda: pool.lend(16 * MIB).__enter__(), daemon=True)
    waiting.start()
    wait_for_waiting(pool, 1)
    assert not pool.reserve_spare(1), "a buffer is waited for"
    pool.give_back(16 * MIB)
    waiting.join()
    assert pool._held == 16 * MIB
