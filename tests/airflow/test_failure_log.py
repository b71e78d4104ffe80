"""A task's failures in its log: few lines, whatever their number."""

import logging
from dataclasses import replace

import pytest

from s3_to_azure.airflow.failure_log import FailureLog
from s3_to_azure.model.errors import RetryableObjectsFailed, SomeObjectsFailed, TransferError
from s3_to_azure.model.objects import Receipt

COPIED = Receipt("bucket", "key", "etag", 3, "container", "blob", "copied")


@pytest.mark.parametrize(
    ("error", "says"),
    [
        (SomeObjectsFailed(failed=248, total=2_000, first=""), "then clear this task, or start a new run"),
        (RetryableObjectsFailed(failed=248, total=2_000, transient=1, first=""), "wait for the next try"),
    ],
)
def test_many_failures_take_few_lines(error: TransferError, says: str, caplog: pytest.LogCaptureFixture) -> None:
    """The first of each reason at once, then counts by reason, then what to do."""
    failures = FailureLog()
    failures.add(COPIED)
    for number in range(248):
        reason = f"reason_{number % 6}: {'Something is wrong. ' * 50}"
        failures.add(replace(COPIED, key=f"k{number}", status="failed", reason=reason))
    at_once = caplog.messages[:]
    failures.end("2,000 objects: 248 failed", error)
    title, *groups, last = caplog.messages[len(at_once) :]
    assert [line.partition(":")[0] for line in at_once] == ["Failed"] * 6
    assert title == "248 failures, by reason:"
    assert [line.split()[0] for line in groups] == ["42", "42", "41", "41", "41", "41"]
    assert last.startswith("2,000 objects: 248 failed. What to do: ")
    assert says in last
    assert sum(map(len, caplog.messages)) < 7_000
    assert {record.levelno for record in caplog.records} == {logging.WARNING}


def test_without_failures_the_last_line_is_the_counts(caplog: pytest.LogCaptureFixture) -> None:
    """Nothing is to be done."""
    caplog.set_level(logging.INFO, logger="s3_to_azure")
    failures = FailureLog()
    failures.add(COPIED)
    failures.end("1 object: 1 copied")
    assert caplog.messages == ["1 object: 1 copied"]
