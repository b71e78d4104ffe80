"""The request limit follows what a service accepts, and the bandwidth limit holds."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3_to_azure.model.errors import Cancelled, ServerFailed, Throttled
from s3_to_azure.transfer.throttle import BandwidthLimit, RequestLimiter


class Clock:
    """A clock that the test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        """Return seconds."""
        return self.now


class Waits(threading.Event):
    """An event whose waits advance a clock and take no time."""

    def __init__(self, clock: Clock) -> None:
        """Advance this clock."""
        super().__init__()
        self._clock = clock

    def wait(self, timeout: float | None = None) -> bool:
        """Advance the clock."""
        self._clock.now += timeout or 0.0
        return self.is_set()


def fail(limiter: RequestLimiter, error: Exception) -> None:
    """Let one request fail."""
    with pytest.raises(type(error)), limiter.request(threading.Event()):
        raise error


def throttled() -> Throttled:
    """Return the error of a service that throttles."""
    return Throttled(service="S3", code="SlowDown", retry_after_s=None)


def test_burst_of_throttled_answers_halves_the_limit_once() -> None:
    """Several throttled answers within a second count as one; those of the next second count again."""
    clock = Clock()
    limiter = RequestLimiter("S3", 16, clock=clock)
    clock.now = 10
    for _ in range(5):
        fail(limiter, throttled())
    assert limiter.limit == 8
    clock.now = 12
    fail(limiter, throttled())
    assert limiter.limit == 4


def test_limit_is_at_least_one() -> None:
    """However often a service throttles, one request is allowed."""
    clock = Clock()
    limiter = RequestLimiter("S3", 4, clock=clock)
    for second in range(10, 100, 2):
        clock.now = second
        fail(limiter, throttled())
    assert limiter.limit == 1


def test_success_raises_the_limit_up_to_its_maximum() -> None:
    """About as many successes as the limit raise it by one, up to its maximum."""
    clock = Clock()
    limiter = RequestLimiter("S3", 4, clock=clock)
    clock.now = 10
    fail(limiter, throttled())
    for _ in range(40):
        with limiter.request(threading.Event()):
            pass
    assert limiter.limit == 4


def test_other_failures_keep_the_limit() -> None:
    """A 500 does not mean that the service throttles."""
    limiter = RequestLimiter("S3", 4)
    fail(limiter, ServerFailed(service="S3", status=500, code="InternalError", resource="'k'"))
    assert limiter.limit == 4


def test_limit_holds_under_threads() -> None:
    """No more requests are sent at once than the limit allows."""
    limiter = RequestLimiter("S3", 3)
    inside, most, lock = [0], [0], threading.Lock()
    # Three requests meet before any of them ends.
    meeting = threading.Barrier(3)

    def request(_: int) -> None:
        with limiter.request(threading.Event()):
            with lock:
                inside[0] += 1
                most[0] = max(most[0], inside[0])
            meeting.wait(100)
            with lock:
                inside[0] -= 1

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(request, range(60)))
    assert most[0] == 3


def test_stop_ends_a_wait_for_a_request() -> None:
    """A request that waits for the limit raises Cancelled when it is stopped."""
    limiter = RequestLimiter("S3", 1)
    stopped = threading.Event()
    with limiter.request(stopped):
        stopped.set()
        with pytest.raises(Cancelled), limiter.request(stopped):
            pytest.fail("the limit was reached")


@pytest.mark.parametrize("piece", [1_000, 100_000, 1_000_000])
def test_bandwidth_limit_holds(piece: int) -> None:
    """Ten million bytes at a million per second take ten seconds, whatever the size of the pieces."""
    clock = Clock()
    bandwidth = BandwidthLimit(1_000_000, clock=clock)
    waits = Waits(clock)
    for _ in range(10_000_000 // piece):
        bandwidth.wait_for(piece, waits)
    assert clock.now == pytest.approx(10, rel=0.01)


def test_no_bandwidth_limit_never_waits() -> None:
    """Without a limit no read waits."""
    clock = Clock()
    BandwidthLimit(None, clock=clock).wait_for(10**12, Waits(clock))
    assert clock.now == 0


def test_stop_ends_a_wait_for_bandwidth() -> None:
    """A read that waits for bandwidth raises Cancelled when it is stopped."""
    stopped = threading.Event()
    stopped.set()
    with pytest.raises(Cancelled):
        BandwidthLimit(1).wait_for(1_000_000, stopped)
