"""``fill`` resumes a read at the byte where an answer was cut, and ends whatever the source does."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import ConnectionFailed
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.transfer.pipeline import fill
from tests.fakes.contexts import BUCKET, some_bytes
from tests.fakes.memory_source import MemorySource

SIZE = 100_000
BUDGET = RetryBudget(attempts=4, first_wait_s=0.0, longest_wait_s=0.0, resumes=4)
DATA = some_bytes(SIZE)


class CutAfter(MemorySource):
    """Ends each answer after ``cut_bytes``."""

    cut_bytes = SIZE

    def served(self, key: str, start: int, data: bytes) -> bytes:
        """Cut the answer."""
        return data[: self.cut_bytes]


def read(cut_bytes: int, budget: RetryBudget = BUDGET) -> tuple[bytes, int]:
    """Return the bytes that were read, or none after a failure, and the number of GETs."""
    source = CutAfter(BUCKET)
    source.cut_bytes = cut_bytes
    version = source.put(BUCKET, "k", DATA)
    view = memoryview(bytearray(SIZE))
    stop = threading.Event()
    try:
        fill(source, version, 0, view, retrier=Retrier(budget, stop), cancelled=stop)
    except ConnectionFailed:
        return b"", len(source.opened)
    return bytes(view), len(source.opened)


@pytest.mark.parametrize("cut_bytes", [SIZE, SIZE // 2, SIZE // 4, SIZE // 4 + 1, SIZE // 12 + 1])
def test_answers_with_progress_are_resumed_to_the_end(cut_bytes: int) -> None:
    """Each further quarter of the bytes restarts the count of failures."""
    assert read(cut_bytes)[0] == DATA


@pytest.mark.parametrize("cut_bytes", [1, 500, SIZE // 20])
def test_answers_without_progress_use_up_the_tries(cut_bytes: int) -> None:
    """A source that returns a few bytes per connection fails after the tries of one request."""
    assert read(cut_bytes) == (b"", BUDGET.attempts)


@given(st.integers(1, SIZE), st.integers(1, 8), st.integers(1, 8))
def test_number_of_requests_has_a_bound(cut_bytes: int, attempts: int, resumes: int) -> None:
    """Whatever each answer brings, a read takes at most ``attempts x (1 + resumes)`` requests."""
    budget = RetryBudget(attempts=attempts, first_wait_s=0.0, longest_wait_s=0.0, resumes=resumes)
    data, requests = read(cut_bytes, budget)
    assert requests <= attempts * (1 + resumes)
    assert data in (b"", DATA)
