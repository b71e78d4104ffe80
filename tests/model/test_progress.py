"""Progress: counters that many threads add to, and the failures to show."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from s3_to_azure.model.progress import Progress, Totals


def test_no_addition_is_lost() -> None:
    """Many threads add at once; the totals are exact."""
    progress = Progress(objects_total=4, bytes_total=100)
    with ThreadPoolExecutor(8) as workers:
        list(workers.map(lambda _: progress.add(bytes_sent=3, retries=1), range(2_000)))
    assert progress.snapshot() == Totals(objects_total=4, bytes_total=100, bytes_sent=6_000, retries=2_000)


def test_a_snapshot_does_not_change() -> None:
    """A reader sees the totals of one moment."""
    progress = Progress()
    before = progress.snapshot()
    progress.add(objects_done=1)
    assert before.objects_done == 0


def test_an_unknown_counter_is_refused() -> None:
    """A misspelt counter raises at once."""
    with pytest.raises(AttributeError):
        Progress().add(objects_dnoe=1)
