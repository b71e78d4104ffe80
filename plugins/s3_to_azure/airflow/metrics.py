"""The counts of a run, or of a task of its own, as metrics of Airflow: StatsD or OpenTelemetry, whichever is set up.

A name holds a status or a reason's code, and never a key, a bucket or another text of data.
"""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

from s3_to_azure.airflow.compat import Context, conf, stats
from s3_to_azure.model.errors import TransferError
from s3_to_azure.model.reasons import FAILED, FINAL_STATUSES, REASONS, short_code

PREFIX: Final = "s3_to_azure"
OTHER: Final = "other"
_SWITCHES: Final = ("statsd_on", "statsd_datadog_enabled", "otel_on")

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Measured:
    """What is counted.

    Attributes:
        objects: Objects by status.
        size_bytes: Bytes by status.
        failures: Failed objects by reason's code.
        seconds: From the first copy to the end of the last.
    """

    objects: Mapping[str, int]
    size_bytes: Mapping[str, int]
    failures: Mapping[str, int] = field(default_factory=dict)
    bytes_sent: int = 0
    bytes_resumed: int = 0
    retries: int = 0
    seconds: float = 0.0

    @classmethod
    def of_report(cls, summary: Mapping[str, Any]) -> "Measured":
        """Return the counts of a report's summary."""
        return cls(
            objects={status: summary[status]["objects"] for status in FINAL_STATUSES},
            size_bytes={status: summary[status]["size_bytes"] for status in FINAL_STATUSES},
            failures={entry["reason"]: entry["objects"] for entry in summary["reasons"] if entry["status"] == FAILED},
            bytes_sent=summary["bytes_sent"],
            bytes_resumed=summary["bytes_resumed"],
            retries=summary["retries"],
            seconds=summary["seconds"],
        )

    @classmethod
    def of_error(cls, error: TransferError) -> "Measured":
        """Return the counts of one object that failed."""
        return cls(objects={FAILED: 1}, size_bytes={}, failures={error.reason(): 1})

    @classmethod
    def of_receipt(cls, receipt: Mapping[str, Any]) -> "Measured":
        """Return the counts of one object."""
        status, size_bytes, sent = receipt["status"], receipt["size_bytes"], receipt["bytes_sent"]
        return cls(
            objects={status: 1},
            size_bytes={status: size_bytes},
            bytes_sent=sent,
            bytes_resumed=max(0, size_bytes - sent) if receipt["blocks_resumed"] else 0,
            retries=receipt["retries"],
            seconds=receipt["seconds"],
        )


def send(measured: Measured, context: Context) -> None:
    """Send the counts, if Airflow's metrics are on; a failure to do so is logged and changes nothing."""
    try:
        if not any(conf.getboolean("metrics", switch, fallback=False) for switch in _SWITCHES):
            return
        instance = context.get("ti")
        tags = {name: getattr(instance, name, "") for name in ("dag_id", "task_id")}
        airflow_stats = stats()
        for name, count in _counters(measured):
            airflow_stats.incr(f"{PREFIX}.{name}", count, tags=tags)
        if measured.seconds:
            airflow_stats.timing(f"{PREFIX}.duration", timedelta(seconds=measured.seconds), tags=tags)
    except Exception as error:  # noqa: BLE001 - a metric that is lost must not fail a copy
        log.warning("The metrics could not be sent (%.200s)", error)


def _counters(measured: Measured) -> Iterator[tuple[str, int]]:
    for status in FINAL_STATUSES:
        yield f"objects.{status}", measured.objects.get(status, 0)
        yield f"bytes.{status}", measured.size_bytes.get(status, 0)
    known = set(failure_codes())
    codes: dict[str, int] = {}
    for reason, count in measured.failures.items():
        code = short_code(reason)
        name = code if code in known else OTHER
        codes[name] = codes.get(name, 0) + count
    yield from ((f"failures.{code}", count) for code, count in sorted(codes.items()))
    yield "bytes_sent", measured.bytes_sent
    yield "bytes_resumed", measured.bytes_resumed
    yield "retries", measured.retries


def failure_codes() -> list[str]:
    """Return every code that a failed object can have; all others, which no version knows, are ``other``."""
    codes, classes = list(REASONS[FAILED]), [TransferError]
    while classes:
        error = classes.pop()
        codes.append(error.reason())
        classes += error.__subclasses__()
    return sorted(codes)
