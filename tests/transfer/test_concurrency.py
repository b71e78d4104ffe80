"""The number of connections follows the throughput of the network, up and down."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress

import pytest

from s3_to_azure.model.errors import Cancelled
from s3_to_azure.transfer.concurrency import BlockBacklog, ConcurrencyController, ConnectionSlots

BLOCK_BYTES = 16 * 1024 * 1024


def limit_after(
    seconds: float, rate: Callable[[int], float], *, most: int = 32, controller: ConcurrencyController | None = None
) -> int:
    """Return the limit after some time on a simulated network.

    Args:
        seconds: Simulated time.
        rate: Bytes per second that the network moves with so many connections.
        most: Upper bound of the connections.
        controller: Continues an earlier simulation; its clock must be ``clock`` below.
    """
    controller = controller or ConcurrencyController(most, clock=clock, cpu_clock=clock)
    ends = clock() + seconds
    while clock() < ends:
        clock.now += BLOCK_BYTES / rate(controller.limit)
        controller.done(BLOCK_BYTES)
    return controller.limit


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return seconds."""
        return self.now


clock = Clock()


def test_grows_while_each_connection_is_slow() -> None:
    """Where every connection has its own share, all are used within seconds."""
    assert limit_after(30, lambda connections: connections * 90e6) == 32


def test_leaps_while_the_process_waits() -> None:
    """A distant network is filled within a few windows; with a busy processor the limit grows step by step."""
    waiting = ConcurrencyController(64, clock=clock, cpu_clock=lambda: 0.1 * clock())
    assert limit_after(2.5, lambda connections: connections * 40e6, controller=waiting) == 64
    working = ConcurrencyController(64, clock=clock, cpu_clock=clock)
    assert limit_after(2.5, lambda connections: connections * 40e6, controller=working) < 16


@pytest.mark.parametrize("busy_cores", [0.1, 1.0])
@pytest.mark.parametrize("saturation", [1, 3, 8])
def test_stays_near_the_saturation_point(saturation: int, busy_cores: float) -> None:
    """Where more connections bring no throughput, hardly more than needed are used."""
    controller = ConcurrencyController(32, clock=clock, cpu_clock=lambda: busy_cores * clock())
    assert limit_after(60, lambda connections: min(connections, saturation) * 200e6, controller=controller) <= max(
        8, 2 * saturation
    )


@pytest.mark.parametrize("busy_cores", [0.1, 1.0])
def test_surplus_connections_are_given_up(busy_cores: float) -> None:
    """On a network that became slow the limit is halved until throughput falls."""
    controller = ConcurrencyController(32, clock=clock, cpu_clock=lambda: busy_cores * clock())
    assert limit_after(30, lambda connections: connections * 90e6, controller=controller) == 32
    assert limit_after(30, lambda connections: min(connections, 4) * 90e6, controller=controller) in range(4, 9)


def test_stall_lowers_the_limit_briefly() -> None:
    """After a service answered nothing for seconds, all connections are used again within seconds."""
    controller = ConcurrencyController(32, clock=clock, cpu_clock=lambda: 0.1 * clock())
    limit_after(30, lambda connections: connections * 90e6, controller=controller)
    clock.now += 20
    assert limit_after(15, lambda connections: connections * 90e6, controller=controller) == 32


def test_faster_network_is_noticed() -> None:
    """On a network that became fast, a probe that gains throughput raises the limit to its bound."""
    controller = ConcurrencyController(32, clock=clock, cpu_clock=lambda: 0.3 * clock())
    assert limit_after(30, lambda connections: min(connections, 4) * 90e6, controller=controller) < 16
    assert limit_after(60, lambda connections: connections * 90e6, controller=controller) == 32


def test_short_objects_add_up() -> None:
    """Objects that take less than a window each raise the limit as one large object does."""
    controller = ConcurrencyController(32, clock=clock, cpu_clock=clock)
    slots, running = ConnectionSlots(controller), threading.Event()
    for _ in range(100):
        clock.now += 100
        slots.admit(running)
        with slots.writing(BLOCK_BYTES, running):
            clock.now += 0.5 / controller.limit
        slots.leave()
    assert controller.limit > 4


def test_blocks_that_fail_are_no_throughput() -> None:
    """A service that refuses everything at once is not taken for a fast one."""
    controller = ConcurrencyController(32, clock=clock, cpu_clock=clock)
    slots, running = ConnectionSlots(controller), threading.Event()
    for _ in range(100):
        slots.admit(running)
        with suppress(ConnectionError), slots.writing(BLOCK_BYTES, running):
            clock.now += 0.5 / controller.limit
            raise ConnectionError
        slots.leave()
    assert controller.limit == 1


def test_limit_stays_within_its_bounds() -> None:
    """The limit is at least one and at most the bound, whatever is measured."""
    assert limit_after(100, lambda connections: 1e6 / connections, most=6) in range(1, 7)
    assert limit_after(100, lambda connections: connections * 1e9, most=6) == 6
    assert limit_after(100, lambda _: 1e8, most=1) == 1


@pytest.mark.parametrize("slot", [ConnectionSlots.reading, ConnectionSlots.writing])
def test_stop_ends_a_wait_for_a_slot(
    slot: Callable[[ConnectionSlots, int, threading.Event], AbstractContextManager[None]],
) -> None:
    """A read or a write that waits for a slot raises Cancelled when it is stopped."""
    slots, stopped = ConnectionSlots(ConcurrencyController(1)), threading.Event()
    with slot(slots, 1, stopped):
        stopped.set()
        with pytest.raises(Cancelled), slot(slots, 1, stopped):
            pytest.fail("there was no slot")


def test_stop_ends_a_wait_for_admission() -> None:
    """A block that ends makes room for one; a stop ends the wait of the next."""
    slots, stopped = ConnectionSlots(ConcurrencyController(1)), threading.Event()
    for _ in range(2 + ConnectionSlots.SPARE):
        slots.admit(stopped)
    slots.leave()
    slots.admit(stopped)
    stopped.set()
    with pytest.raises(Cancelled):
        slots.admit(stopped)


def test_readers_and_writers_do_not_wait_for_each_other() -> None:
    """While every write slot is taken a block can be read, and the other way round; a second one has no slot."""
    slots, stopped = ConnectionSlots(ConcurrencyController(1)), threading.Event()
    # A block without a slot must raise at once and not wait.
    stopped.set()
    for first, second in ((slots.writing, slots.reading), (slots.reading, slots.writing)):
        got_both = False
        with first(1, stopped), second(1, stopped):
            got_both = True
        assert got_both
        with first(1, stopped), pytest.raises(Cancelled), first(1, stopped):
            pytest.fail("there was no slot")


class TestBacklog:
    """One more object begins while the objects in flight have too few blocks to keep the connections busy."""

    def test_a_few_objects_begin_in_any_case(self) -> None:
        """An object of many blocks that makes no progress keeps no other from beginning."""
        backlog = BlockBacklog(ConnectionSlots(ConcurrencyController(1)))
        begun = 0
        while backlog.has_room():
            backlog.begin(1_000)
            begun += 1
        assert begun == 8

    def test_small_objects_begin_until_the_connections_have_enough(self) -> None:
        """Objects of one block begin until there are two for each block that may be in flight, and more as it grows."""
        controller = ConcurrencyController(10)
        slots = ConnectionSlots(controller)
        backlog = BlockBacklog(slots)
        for limit in (3, 10):
            controller.limit = limit
            while backlog.has_room():
                backlog.begin()
            assert backlog._blocks == 2 * slots.most_admitted

    def test_object_without_further_blocks_makes_room(self) -> None:
        """A block that has moved makes room, and an object that waits for its commit has none left."""
        backlog = BlockBacklog(ConnectionSlots(ConcurrencyController(1)))
        objects = [backlog.begin(4) for _ in range(8)]
        for one in objects:
            one.expect(3)
        assert not backlog.has_room()
        for one in objects:
            for _ in range(3):
                one.moved()
        assert backlog.has_room()
        assert backlog._blocks == 0

    def test_counts_return_to_nothing(self) -> None:
        """Whatever an object has moved, more often than expected or not at all, its end takes all of it back."""
        backlog = BlockBacklog(ConnectionSlots(ConcurrencyController(1)))
        for moved in range(5):
            one = backlog.begin(2)
            for _ in range(moved):
                one.moved()
            one.end()
        assert (backlog._blocks, backlog._objects) == (0, 0)
