"""The number of lanes: it follows what a network gives, up and down."""

import threading
from collections.abc import Callable

import pytest

from s3_to_azure.engine.errors import Cancelled
from s3_to_azure.engine.lanes import Climb, Lanes

BLOCK_BYTES = 16 * 1024 * 1024


def limit_after(seconds: float, rate: Callable[[int], float], *, most: int = 32, climb: Climb | None = None) -> int:
    """Return where the climb stands after so long on a network whose rate depends on the lanes at work.

    Args:
        seconds: Simulated time.
        rate: Lanes to bytes a second.
        most: Upper bound of lanes.
        climb: One to go on with; its clock must be ``clock`` below.
    """
    climb = climb or Climb(most, clock=clock, cpu_clock=clock)
    ends = clock() + seconds
    while clock() < ends:
        clock.now += BLOCK_BYTES / rate(climb.limit)
        climb.done(BLOCK_BYTES)
    return climb.limit


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
    assert limit_after(30, lambda lanes: lanes * 90e6) == 32


def test_doubles_while_the_process_waits() -> None:
    """A network far away is filled within a few rounds; one that keeps the processor busy is felt out step by step."""
    waiting = Climb(64, clock=clock, cpu_clock=lambda: 0.1 * clock())
    assert limit_after(2.5, lambda lanes: lanes * 40e6, climb=waiting) == 64
    working = Climb(64, clock=clock, cpu_clock=clock)
    assert limit_after(2.5, lambda lanes: lanes * 40e6, climb=working) < 16


@pytest.mark.parametrize("busy_cores", [0.1, 1.0])
@pytest.mark.parametrize("knee", [1, 3, 8])
def test_stays_near_the_knee(knee: int, busy_cores: float) -> None:
    """Where more lanes bring nothing, few more than needed are used."""
    climb = Climb(32, clock=clock, cpu_clock=lambda: busy_cores * clock())
    assert limit_after(60, lambda lanes: min(lanes, knee) * 200e6, climb=climb) <= max(8, 2 * knee)


def test_more_lanes_than_needed_are_given_up() -> None:
    """A network that became slow is found out: probes with fewer lanes lose nothing, so they stay."""
    climb = Climb(32, clock=clock, cpu_clock=clock)
    wide = limit_after(30, lambda lanes: lanes * 90e6, climb=climb)
    narrow = limit_after(1200, lambda lanes: min(lanes, 4) * 90e6, climb=climb)
    assert narrow < wide


def test_never_leaves_its_bounds() -> None:
    """At least one lane, at most the bound, whatever is measured."""
    assert limit_after(100, lambda lanes: 1e6 / lanes, most=6) in range(1, 7)
    assert limit_after(100, lambda lanes: lanes * 1e9, most=6) == 6
    assert limit_after(100, lambda _: 1e8, most=1) == 1


def test_a_waiting_lane_is_stopped() -> None:
    """A stop ends the wait for a lane."""
    lanes = Lanes(Climb(1))
    stopped = threading.Event()
    with lanes.taken(1, stopped):
        stopped.set()
        with pytest.raises(Cancelled), lanes.taken(1, stopped):
            pytest.fail("there was no lane")
