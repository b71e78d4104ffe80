"""Of each bucket it is remembered whether Azure reads it: one asks, all others wait for what that shows."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3_to_azure.model.errors import Cancelled
from s3_to_azure.transfer.fetched.buckets import MOST_REFUSALS, Buckets
from tests.fakes.fetching_memory import refused


def refuse(buckets: Buckets, times: int, bucket: str = "b") -> None:
    """Note refusals."""
    for _ in range(times):
        buckets.note_refusal(bucket, refused(), "source_unreachable")


def test_third_refusal_in_a_row_closes_the_bucket(caplog: pytest.LogCaptureFixture) -> None:
    """The log says once why, and other buckets are asked on."""
    buckets = Buckets()
    refuse(buckets, MOST_REFUSALS - 1)
    assert not buckets.closed_for("b")
    refuse(buckets, 3)
    assert buckets.closed_for("b") == "source_unreachable"
    assert not buckets.closed_for("another")
    (line,) = caplog.messages
    assert "'b'" in line
    assert "CannotVerifyCopySource" in line


def test_success_forgives() -> None:
    """A refusal that passes by closes nothing, however many there are in a long run."""
    buckets = Buckets()
    for _ in range(5):
        refuse(buckets, MOST_REFUSALS - 1)
        buckets.note_read("b")
    assert not buckets.closed_for("b")


@pytest.mark.parametrize("ends", ["read", "closed"])
def test_one_asks_until_something_is_known(ends: str) -> None:
    """Hundreds of fetches of a bucket that refuses all would be refused before the third answer."""
    buckets, at_once, most = Buckets(), [0], [0]
    lock, stopped = threading.Lock(), threading.Event()
    together = threading.Barrier(4, timeout=20)

    def ask(number: int) -> None:
        with buckets.turn("b", stopped):
            is_known = bool(buckets.closed_for("b")) or number >= 4
            with lock:
                at_once[0] += 1
                most[0] = max(most[0], at_once[0])
            if not is_known and ends == "read":
                buckets.note_read("b")
            elif not is_known:
                refuse(buckets, 1)
            elif number >= 4:
                # All those that come later are let through together.
                together.wait()
            with lock:
                at_once[0] -= 1

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(ask, range(1, 4)))
        if ends == "closed":
            assert most == [1]
            assert buckets.closed_for("b")
        list(threads.map(ask, range(4, 8)))


def test_stop_ends_the_wait() -> None:
    """Nobody waits for an answer that does not come."""
    buckets, stopped = Buckets(), threading.Event()
    with buckets.turn("b", stopped):
        stopped.set()
        with ThreadPoolExecutor(1) as threads, pytest.raises(Cancelled):
            threads.submit(lambda: buckets.turn("b", stopped).__enter__()).result()
