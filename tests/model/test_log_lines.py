"""Lines that thousands of objects may cause take few lines, and none is forgotten."""

import logging
import threading

import pytest

from s3_to_azure.model.errors import ServerFailed, Throttled
from s3_to_azure.model.log_lines import COUNTED_EVERY_S, SHOWN, LineLimit


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def test_few_lines_are_logged_as_they_are(caplog: pytest.LogCaptureFixture) -> None:
    """And nothing is counted at the end."""
    lines = LineLimit()
    for number in range(SHOWN - 1):
        lines.warning("Line %d", number)
    lines.end()
    assert caplog.messages == [f"Line {number}" for number in range(SHOWN - 1)]


def test_many_lines_are_counted_each_minute_and_at_the_end(caplog: pytest.LogCaptureFixture) -> None:
    """The first ones in full; then the numbers add up, each with the last line in full."""
    caplog.set_level(logging.INFO, "s3_to_azure")
    clock = Clock()
    lines = LineLimit(clock)
    for number in range(10_000):
        lines.info("Line %d", number)
        clock.now += 0.06
    lines.end()
    lines.end()
    shown, note, counts = caplog.messages[:SHOWN], caplog.messages[SHOWN], caplog.messages[SHOWN + 1 :]
    assert shown == [f"Line {number}" for number in range(SHOWN)]
    assert note == f"More lines like the last {SHOWN} are counted once a minute"
    assert len(counts) == int(10_000 * 0.06 / COUNTED_EVERY_S)
    assert sum(int(line.partition(" more lines")[0].replace(",", "")) for line in counts) == 10_000 - SHOWN
    assert counts[-1].endswith(": Line 9999")


def test_each_kind_has_its_own_first_lines(caplog: pytest.LogCaptureFixture) -> None:
    """By the text and by the class of an error in it, so that a new cause is seen among thousands of another."""
    lines = LineLimit()
    for _ in range(1_000):
        lines.warning("Failed: %s", Throttled(service="S3", code="SlowDown", retry_after_s=None))
    lines.warning("Failed: %s", ServerFailed(service="S3", status=500, code="x", resource="y"))
    assert "failed with status 500" in caplog.messages[-1]
    lines.end()
    assert caplog.messages[-1].startswith("980 more lines like this: Failed: S3 asked this program to slow down")
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_threads_share_it(caplog: pytest.LogCaptureFixture) -> None:
    """No line is lost, and none is counted twice."""
    lines = LineLimit()

    def log_many() -> None:
        for _ in range(500):
            lines.warning("Line %s", "%s 100%")

    threads = [threading.Thread(target=log_many) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines.end()
    assert sum(message.startswith("Line") for message in caplog.messages) == SHOWN
    assert caplog.messages[-1] == f"{4 * 500 - SHOWN:,} more lines like this: Line %s 100%"
