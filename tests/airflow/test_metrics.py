"""The counts of a run as metrics: their names, what they count, and that they fail and cost nothing."""

import logging
import re
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest
from airflow.sdk import Context

from s3_to_azure.airflow import metrics
from s3_to_azure.airflow.metrics import Measured, failure_codes, send
from s3_to_azure.model import errors, reasons
from tests.docs.pages import text_of

CONTEXT = cast("Context", {"ti": SimpleNamespace(dag_id="dag", task_id="task")})
RECEIPT = {
    "status": "copied",
    "size_bytes": 30,
    "bytes_sent": 20,
    "blocks_resumed": 1,
    "retries": 2,
    "seconds": 1.5,
}


def _sent(received: list[str]) -> dict[str, str]:
    """Return the values by name, of those that this package sends."""
    pairs = [line.removeprefix("airflow.s3_to_azure.").split(":") for line in received if "s3_to_azure" in line]
    assert len(dict(pairs)) == len(pairs)
    return dict(pairs)


def test_a_server_receives_all_counts(statsd: Callable[[], list[str]]) -> None:
    """Counters by status and by reason, and the duration in milliseconds."""
    send(Measured.of_receipt(RECEIPT), CONTEXT)
    sent = _sent(statsd())
    assert sent["objects.copied"] == "1|c"
    assert sent["objects.failed"] == "0|c"
    assert sent["bytes.copied"] == "30|c"
    assert (sent["bytes_sent"], sent["bytes_resumed"], sent["retries"]) == ("20|c", "10|c", "2|c")
    assert sent["duration"] == "1500.000000|ms"


def test_an_object_that_failed_is_counted_by_its_reason(statsd: Callable[[], list[str]]) -> None:
    """It has no duration."""
    send(Measured.of_error(errors.ObjectNotFound(key="secret/key", bucket="bucket")), CONTEXT)
    sent = _sent(statsd())
    assert (sent["objects.failed"], sent["failures.object_not_found"]) == ("1|c", "1|c")
    assert "duration" not in sent
    assert not any("secret" in line or "bucket" in line for line in statsd())


def test_no_text_of_data_is_in_a_name(statsd: Callable[[], list[str]]) -> None:
    """A damaged state file may hold any reason; all that no version knows are one."""
    failures = {"a/key:1|c": 2, "x" * 500: 3, "no_receipt": 4}
    send(Measured(objects={"failed": 9}, size_bytes={}, failures=failures), CONTEXT)
    sent = _sent(statsd())
    assert {name: value for name, value in sent.items() if name.startswith("failures.")} == {
        "failures.other": "5|c",
        "failures.no_receipt": "4|c",
    }


def test_every_name_is_one_that_all_backends_accept() -> None:
    """Airflow refuses others, and OpenTelemetry those above 63 characters with Airflow's prefix."""
    codes = failure_codes()
    assert set(reasons.REASONS["failed"]) | {"object_not_found", "blob_leased", "some_objects_failed"} <= set(codes)
    for code in [*codes, metrics.OTHER]:
        name = f"airflow.{metrics.PREFIX}.failures.{code}"
        assert re.fullmatch(r"[a-z0-9_.]{1,63}", name), name


@pytest.mark.parametrize("switch", ["", "STATSD_ON"])
def test_metrics_that_are_off_or_broken_change_nothing(
    switch: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Switched off, not even Airflow's module for them is asked; a failure is logged."""

    def ask() -> Any:
        raise OSError("no such host")

    if switch:
        monkeypatch.setenv(f"AIRFLOW__METRICS__{switch}", "True")
    monkeypatch.setattr(metrics, "stats", ask)
    with caplog.at_level(logging.WARNING):
        send(Measured.of_receipt(RECEIPT), CONTEXT)
    assert caplog.messages == (["The metrics could not be sent (no such host)"] if switch else [])


def test_the_page_names_every_metric() -> None:
    """With its type, as a reader of a dashboard needs it."""
    measured = Measured.of_receipt(RECEIPT)
    names = {name.partition(".")[0] for name, _ in metrics._counters(measured)} | {"failures", "duration"}
    text = text_of("docs/operations.md")
    for name in names:
        assert f"`s3_to_azure.{name}" in text, name
