"""The request limit follows what a service accepts, and the bandwidth limit holds."""

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final

import pytest

from s3_to_azure.model.errors import AZURE, S3, Cancelled, ServerFailed, Throttled
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.log_lines import SHOWN
from s3_to_azure.model.objects import (
    BlobContents,
    Block,
    Condition,
    ContentHeaders,
    FetchUrl,
    ListedObject,
    ObjectVersion,
)
from s3_to_azure.model.ports import BlobDestination, ObjectSource
from s3_to_azure.transfer import throttle
from s3_to_azure.transfer.throttle import (
    BandwidthLimit,
    LimitedDestination,
    LimitedSource,
    RequestLimiter,
    ServiceLimits,
)
from tests.fakes.contexts import BUCKET, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH, MemoryBody, MemorySource


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


@pytest.mark.parametrize(("rate", "piece"), [(None, None), (1, 4_096), (3 * MIB, 3 * MIB // 4), (1 << 40, 1 << 38)])
def test_a_limited_body_arrives_steadily(rate: int | None, piece: int | None) -> None:
    """A read of 1 MiB at a low limit would count nothing for seconds, and then all at once."""
    assert BandwidthLimit(rate).piece_bytes == piece


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


def test_idle_time_is_not_saved_up() -> None:
    """After a pause the limit is that of before: bytes that were not read are not made up for by a burst."""
    clock = Clock()
    bandwidth = BandwidthLimit(1_000_000, clock=clock)
    clock.now = 100
    bandwidth.wait_for(5_000_000, Waits(clock))
    assert clock.now == pytest.approx(105)


@pytest.mark.parametrize("service", [S3, AZURE])
def test_small_objects_follow_the_service_that_throttles(service: str) -> None:
    """A client that counts its own requests sends as few to both services as the one allows that throttles."""
    limits = ServiceLimits(16)
    limits.throttled(Throttled(service=service, code="SlowDown", retry_after_s=None))
    assert limits.scaled(64) == 32
    for _ in range(200):
        limits.request_succeeded()
    assert limits.scaled(64) == 64


def test_halvings_that_are_not_logged_are_counted_at_the_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A night of throttling has a few lines in the log, and the last of them says how many more there were."""
    monkeypatch.setattr(throttle, "_BACKOFF_S", 0.0)
    caplog.set_level("WARNING")
    with transfer_context(MemorySource(BUCKET), MemoryDestination()) as context:
        for _ in range(SHOWN + 7):
            context.limits.throttled(throttled())
    assert caplog.messages[-1].startswith("7 more lines like this: S3 throttles")


class Counted(RequestLimiter):
    """A limiter that shows whether a request is counted right now."""

    def __init__(self) -> None:
        super().__init__("any", 4)
        self.counts = False

    @contextmanager
    def request(self, stopped: threading.Event) -> Iterator[None]:
        """Count."""
        self.counts = True
        with super().request(stopped):
            yield
        self.counts = False


class Store:
    """A store whose every request notes its name, and whether the limiter counts it."""

    container = "container"

    def __init__(self, limiter: Counted) -> None:
        self.limiter = limiter
        self.noted: dict[str, bool] = {}

    def __getattr__(self, name: str) -> Callable[..., None]:
        """Return any request."""

        def request(*_: object, **__: object) -> None:
            self.noted[name] = self.limiter.counts

        return request

    @contextmanager
    def open(self, *_: object) -> Iterator[MemoryBody]:
        """Note the request that opens a body."""
        self.noted["open"] = self.limiter.counts
        yield MemoryBody(ObjectVersion.of(LISTED), b"x", 1)


LISTED: Final = ListedObject(BUCKET, "k", "etag", 1, EPOCH)
CONTENTS: Final = BlobContents({}, ContentHeaders())
ARGUMENTS: Final[dict[str, tuple[tuple[Any, ...], dict[str, Any]]]] = {
    "head": ((BUCKET, "k"), {}),
    "part_sizes": ((LISTED,), {"each": True}),
    "part_checksums": ((LISTED,), {}),
    "tags": ((BUCKET, "k"), {}),
    "current_etag": ((BUCKET, "k"), {}),
    "restore": ((BUCKET, "k"), {"days": 1, "tier": "Bulk"}),
}
"""Of each request to S3 but ``open``."""
BLOB_ARGUMENTS: Final[dict[str, tuple[Any, ...]]] = {
    "head": ("k",),
    "list_staged": ("k",),
    "stage_block": ("k", "id", memoryview(b"x"), 1),
    "commit": ("k", ["id"], CONTENTS, Condition(None)),
    "put_blob": ("k", memoryview(b"x"), 1, CONTENTS, Condition(None)),
    "update": ("k", CONTENTS, Condition("etag")),
    "read": ("k", 0, 1),
}
# A listing sends a request for each page, while its caller does other things; the others are sent once for a task, or
# send none.
UNLIMITED: Final = {"check", "check_name", "list", "reads_named_version", "fetch_url", "fetch_access"}


def methods(port: type) -> set[str]:
    """Return what a port has, without what is never limited."""
    return {name for name in vars(port) if not name.startswith("_")} - UNLIMITED


def test_every_request_to_s3_is_limited() -> None:
    """No request of the port passes by the limit."""
    limiter, stopped = Counted(), threading.Event()
    store: Any = Store(limiter)
    limited = LimitedSource(store, limiter, BandwidthLimit(None), stopped)
    for name, (given, named) in ARGUMENTS.items():
        getattr(limited, name)(*given, **named)
    with limited.open(LISTED):
        assert limiter.counts, "the limit is free again before the body is read"
    assert store.noted == dict.fromkeys(methods(ObjectSource), True)


def test_every_request_to_azure_is_limited() -> None:
    """No request of the port passes by the limit."""
    limiter, stopped = Counted(), threading.Event()
    store: Any = Store(limiter)
    limited = LimitedDestination(store, limiter, stopped)
    for name, given in BLOB_ARGUMENTS.items():
        getattr(limited, name)(*given)
    assert store.noted == dict.fromkeys(methods(BlobDestination) - {"container", "stage_from_url"}, True)


def test_bytes_that_are_read_count_against_the_bandwidth() -> None:
    """Whoever reads a body waits until the limit has room for its bytes."""
    clock, source = Clock(), MemorySource(BUCKET)
    source.put(BUCKET, "k", bytes(5_000))
    waits = Waits(clock)
    limited = LimitedSource(source, RequestLimiter(S3, 4), BandwidthLimit(1_000, clock=clock), waits)
    with limited.open(source.listed(BUCKET, "k")) as body, memoryview(bytearray(5_000)) as view:
        # In pieces, each of which waits for its own time.
        assert body.readinto(view) == 4_096
        assert clock.now == pytest.approx(4.096)
        assert body.readinto(view[4_096:]) == 904
    assert clock.now == pytest.approx(5)


def test_fetches_begin_few_and_double_until_azure_throttles() -> None:
    """Azure's answers alone set the level: it grows fast until the first refusal, and slowly afterwards."""
    clock = Clock()
    limiter = RequestLimiter(AZURE, 100, clock, first=4, halved_by=(Throttled, ServerFailed))
    for _ in range(4):
        with limiter.request(threading.Event()):
            pass
    assert limiter.limit == 8
    with pytest.raises(ServerFailed), limiter.request(threading.Event()):
        raise ServerFailed(service=AZURE, status=500, code="OperationTimedOut", resource="'b'")
    assert limiter.limit == 4
    for _ in range(4):
        limiter.increase()
    assert limiter.limit == 4, "one more for a round of successes"


def test_blocks_that_azure_fetches_take_no_request_from_the_worker() -> None:
    """Hundreds of them have a level of their own, for which they wait before their URL is made."""
    limiter = Counted()
    store: Any = Store(limiter)
    limited = LimitedDestination(store, limiter, threading.Event())
    limited.stage_from_url("k", "id", FetchUrl("https://s3/k"), Block(0, 1), etag=None, crc64=None)
    assert store.noted == {"stage_from_url": False}
