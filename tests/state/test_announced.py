"""Batches of announced keys: they wait, a run takes them, its report settles them, and none is lost in between."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from s3_to_azure.state.announced import MAX_BATCH_BYTES, AnnouncedKeys, AnnouncedLine, RefusedLine
from tests.fakes.state_memory import MemoryState, MemoryStateWriter

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
LINES = [AnnouncedLine("a", "e1", "01"), AnnouncedLine("b\n", "", "")]


class Killed(BaseException):
    """The process ended here."""


class DyingState(MemoryState):
    """State files whose process ends before the request of a number."""

    def __init__(self) -> None:
        super().__init__()
        self.left: int | None = None

    @contextmanager
    def write(self, name: str, **options: Any) -> Iterator[MemoryStateWriter]:
        """Count the request when the file would become visible."""
        with super().write(name, **options) as writer:
            yield writer
            self._count()

    def delete(self, name: str) -> None:
        """Count the request."""
        self._count()
        super().delete(name)

    def _count(self) -> None:
        if self.left is not None:
            self.left -= 1
            if self.left < 0:
                raise Killed


def over(run_id: str) -> bool:
    """Tell that every run has ended."""
    return bool(run_id)


def not_over(_run_id: str) -> bool:
    """Tell that no run has ended."""
    return False


def keys(announced: AnnouncedKeys, run_id: str) -> list[str]:
    """Return the keys that a run has taken."""
    return [line.key for line in announced.lines(run_id)]


def test_a_batch_waits_is_taken_and_is_settled() -> None:
    """The lines come back as they were; the file's name has its digest."""
    files = MemoryState()
    announced = AnnouncedKeys(files)
    name = announced.add(LINES, NOW)
    assert announced.waiting() == [name]
    assert announced.take("run:1", is_over=not_over, now=NOW) == 1
    assert announced.waiting() == []
    assert list(announced.lines("run:1")) == LINES
    announced.settle("run:1", now=NOW)
    assert keys(announced, "run:1") == []
    assert list(files.files) == [f"done/run:1/{name}"]
    assert list(announced.since(NOW)) == LINES
    assert list(announced.since(NOW + timedelta(seconds=1))) == []


@pytest.mark.parametrize("requests", range(8))
def test_a_run_that_is_killed_at_any_request_finds_everything_in_its_next_try(requests: int) -> None:
    """A batch is always somewhere: the next try of the run has all of them."""
    files = DyingState()
    announced = AnnouncedKeys(files)
    announced.add([AnnouncedLine("a")], NOW)
    announced.add([AnnouncedLine("b")], NOW + timedelta(seconds=1))
    files.left = requests

    def take_and_settle() -> None:
        announced.take("run", is_over=not_over, now=NOW)
        assert keys(announced, "run") == ["a", "b"]
        announced.settle("run", now=NOW)

    with pytest.raises(Killed):
        take_and_settle()
    files.left = None
    assert {line.key for line in announced.since(NOW)} == {"a", "b"}
    announced.take("run", is_over=not_over, now=NOW)
    done = [name for name in files.files if name.startswith("done/")]
    assert len(keys(announced, "run")) + len(done) >= 2


def test_batches_of_a_run_that_ended_without_a_report_go_to_the_next_one() -> None:
    """A run that failed, or was deleted a day ago, keeps nothing; one that is running does."""
    announced = AnnouncedKeys(MemoryState())
    announced.add([AnnouncedLine("a")], NOW)
    announced.take("first", is_over=not_over, now=NOW)
    assert announced.take("second", is_over=not_over, now=NOW) == 0
    assert announced.take("third", is_over=lambda _: None, now=NOW) == 0
    assert announced.take("fourth", is_over=lambda _: None, now=NOW + timedelta(days=2)) == 1
    assert announced.take("fifth", is_over=over, now=NOW) == 1
    assert keys(announced, "fifth") == ["a"]


def test_a_run_that_is_cleared_after_its_report_takes_the_same_again() -> None:
    """Some of the objects may have failed, and the report has settled them all; other runs get nothing of it."""
    announced = AnnouncedKeys(MemoryState())
    announced.add([AnnouncedLine("a")], NOW)
    announced.take("first", is_over=over, now=NOW)
    announced.settle("first", now=NOW)
    announced.add([AnnouncedLine("b")], NOW + timedelta(seconds=1))
    assert (announced.holds("first"), announced.holds("second")) == (True, False)
    assert announced.take("second", is_over=over, now=NOW) == 1
    for _ in range(2):
        assert announced.take("first", is_over=not_over, now=NOW) == 1
        assert keys(announced, "first") == ["a"]
        announced.settle("first", now=NOW)
    assert keys(announced, "second") == ["b"]
    assert announced.holds("second")


def test_a_damaged_batch_stops_nothing(caplog: pytest.LogCaptureFixture) -> None:
    """Its objects are found by the next listing, and the log says so."""
    files = MemoryState()
    announced = AnnouncedKeys(files)
    name = announced.add([AnnouncedLine("a")], NOW)
    announced.add([AnnouncedLine("b")], NOW + timedelta(seconds=1))
    files.files[f"waiting/{name}"] = files.files[f"waiting/{name}"][:-3]
    files.files["waiting/stranger"] = b"x"
    assert announced.take("run", is_over=over, now=NOW) == 2
    with caplog.at_level(logging.WARNING):
        assert keys(announced, "run") == ["b"]
    assert "next listing" in caplog.text
    announced.settle("run", now=NOW)
    assert [line.key for line in announced.since(NOW)] == ["b"]


def test_a_file_that_is_too_long_is_not_read_to_its_end() -> None:
    """Whoever can write there cannot fill a worker's memory."""
    files = MemoryState(piece_bytes=1 << 20)
    announced = AnnouncedKeys(files)
    name = announced.add([AnnouncedLine("a")], NOW)
    files.files[f"waiting/{name}"] = bytes(3 * MAX_BATCH_BYTES)
    announced.take("run", is_over=over, now=NOW)
    assert len(files.files[f"taken/run/{name}"]) < 2 * MAX_BATCH_BYTES
    assert keys(announced, "run") == []


def test_old_batches_and_notes_are_deleted_with_a_report() -> None:
    """They are kept for longer than a week, and then no longer."""
    files = MemoryState()
    announced = AnnouncedKeys(files)
    for days, run in ((9, "z"), (0, "a"), (9, "b")):
        announced.add([AnnouncedLine(f"{days} {run}")], NOW - timedelta(days=days))
        announced.note([RefusedLine("id", ("not JSON",), "0" * 64, "hello")], NOW - timedelta(days=days))
        announced.take(run, is_over=not_over, now=NOW)
    for run in ("z", "a", "b"):
        announced.settle(run, now=NOW)
    assert {name.partition("T")[0] for name in files.files} == {"done/a/20260301", "refused/20260301"}


def test_the_last_listing_is_remembered() -> None:
    """Anything else in its place counts as none."""
    files = MemoryState()
    announced = AnnouncedKeys(files)
    assert announced.listed_at() is None
    announced.note_listing(NOW)
    assert announced.listed_at() == NOW
    assert announced.listed_before(NOW) is None
    later = NOW + timedelta(days=1)
    for _ in range(2):
        # A report that is repeated finds the same listing before its own.
        assert announced.listed_before(later) == NOW
        announced.note_listing(later)
    # Events are set up before the first one, which stays known.
    latest = later + timedelta(days=1)
    announced.note_listing(latest)
    assert (announced.listed_at(), announced.listed_before(latest)) == (latest, later)
    assert announced.listed_first() == NOW
    for content in (b"", b"[]", b'{"began": 1}', b'{"began": "2026-01-01T00:00:00"}', b"\xff"):
        files.files["listed.json"] = content
        assert announced.listed_at() is None
        assert announced.listed_first() is None
