"""The number of lanes: it follows what a network gives, up and down."""

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest

from s3_to_azure.model.errors import Cancelled
from s3_to_azure.transfer.concurrency import ConcurrencyController, ConnectionSlots

BLOCK_BYTES = 16 * 1024 * 1024


def limit_after(
    seconds: float, rate: Callable[[int], float], *, most: int = 32, controller: ConcurrencyController | None = None
) -> int:
    """Return where the climb stands after so long on a network whose rate depends on the lanes at work.

    Args:
        seconds: Simulated time.
        rate: ConnectionSlots to bytes a second.
        most: Upper bound of lanes.
        controller: One to go on with; its clock must be ``clock`` below.
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
        """Begin at zero."""
        self.now = 0.0

    def __call__(self) -> float:
        """Return seconds."""
        return self.now


clock = Clock()


def test_grows_while_each_connection_is_slow() -> None:
    """Where every connection gets its own share, all lanes are used within seconds."""
    assert limit_after(30, lambda connections: connections * 90e6) == 32


def test_leaps_while_the_process_waits() -> None:
    """A network far away is filled within a few rounds; one that keeps the processor busy is felt out step by step."""
    waiting = ConcurrencyController(64, clock=clock, cpu_clock=lambda: 0.1 * clock())
    assert limit_after(2.5, lambda connections: connections * 40e6, controller=waiting) == 64
    working = ConcurrencyController(64, clock=clock, cpu_clock=clock)
    assert limit_after(2.5, lambda connections: connections * 40e6, controller=working) < 16


@pytest.mark.parametrize("busy_cores", [0.1, 1.0])
@pytest.mark.parametrize("knee", [1, 3, 8])
def test_stays_near_the_knee(knee: int, busy_cores: float) -> None:
    """Where more lanes bring nothing, few more than needed are used."""
    controller = ConcurrencyController(32, clock=clock, cpu_clock=lambda: busy_cores * clock())
    assert limit_after(60, lambda connections: min(connections, knee) * 200e6, controller=controller) <= max(
        8, 2 * knee
    )


@pytest.mark.parametrize("busy_cores", [0.1, 1.0])
def test_more_lanes_than_needed_are_given_up(busy_cores: float) -> None:
    """A network that became slow is noticed: half as many lanes, and half of those, lose nothing there."""
    controller = ConcurrencyController(32, clock=clock, cpu_clock=lambda: busy_cores * clock())
    assert limit_after(30, lambda connections: connections * 90e6, controller=controller) == 32
    assert limit_after(30, lambda connections: min(connections, 4) * 90e6, controller=controller) in range(4, 9)


def test_a_pause_costs_no_lanes_for_long() -> None:
    """After a service stood still for seconds, all lanes are at work again within seconds."""
    controller = ConcurrencyController(32, clock=clock, cpu_clock=lambda: 0.1 * clock())
    limit_after(30, lambda connections: connections * 90e6, controller=controller)
    clock.now += 20
    assert limit_after(15, lambda connections: connections * 90e6, controller=controller) == 32


def test_a_faster_network_is_noticed() -> None:
    """From a few lanes on a slow network to many on one that became fast: a probe that earns something goes on."""
    controller = ConcurrencyController(32, clock=clock, cpu_clock=lambda: 0.3 * clock())
    assert limit_after(30, lambda connections: min(connections, 4) * 90e6, controller=controller) < 16
    assert limit_after(60, lambda connections: connections * 90e6, controller=controller) == 32


def test_short_objects_add_up() -> None:
    """Objects that move in less than a window, one after the other, let the level grow as a large one does."""
    controller = ConcurrencyController(32, clock=clock, cpu_clock=clock)
    connections, running = ConnectionSlots(controller), threading.Event()
    for _ in range(100):
        clock.now += 100
        connections.admit(running)
        with connections.writing(BLOCK_BYTES, running):
            clock.now += 0.5 / controller.limit
        connections.leave()
    assert controller.limit > 4


def test_never_leaves_its_bounds() -> None:
    """At least one lane, at most the bound, whatever is measured."""
    assert limit_after(100, lambda connections: 1e6 / connections, most=6) in range(1, 7)
    assert limit_after(100, lambda connections: connections * 1e9, most=6) == 6
    assert limit_after(100, lambda _: 1e8, most=1) == 1


@pytest.mark.parametrize("leg", [ConnectionSlots.reading, ConnectionSlots.writing])
def test_a_waiting_leg_is_stopped(
    leg: Callable[[ConnectionSlots, int, threading.Event], AbstractContextManager[None]],
) -> None:
    """A stop ends the wait for a place."""
    connections, stopped = ConnectionSlots(ConcurrencyController(1)), threading.Event()
    with leg(connections, 1, stopped):
        stopped.set()
        with pytest.raises(Cancelled), leg(connections, 1, stopped):
            pytest.fail("there was no place")


def test_a_waiting_admission_is_stopped() -> None:
    """A stop ends the wait of whoever hands out blocks; one that landed makes room."""
    connections, stopped = ConnectionSlots(ConcurrencyController(1)), threading.Event()
    for _ in range(2 + ConnectionSlots.SPARE):
        connections.admit(stopped)
    connections.leave()
    connections.admit(stopped)
    stopped.set()
    with pytest.raises(Cancelled):
        connections.admit(stopped)


def test_readers_and_writers_do_not_wait_for_each_other() -> None:
    """While every writer's place is taken a block can be read, and the other way round."""
    connections, running = ConnectionSlots(ConcurrencyController(1)), threading.Event()
    with connections.writing(1, running), connections.reading(1, running):
        pass
    with connections.reading(1, running), connections.writing(1, running):
        pass
