"""The listing of a run: where a report is read, and what never reaches it."""

import logging
import threading
from typing import Any

import pytest

from s3_to_azure.airflow import listing
from s3_to_azure.airflow.listing import LOOKUPS_AT_ONCE, ListedPlace, ReportPlace, write_listing
from s3_to_azure.model.errors import S3, ConnectionFailed, UsageError
from s3_to_azure.model.objects import ObjectVersion
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.sensors import _LOOKUPS_AT_ONCE
from s3_to_azure.state.manifest import read_manifest
from tests.checksum_reports import Report, result, row
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState

PLACE = ListedPlace("bucket", "in/")


class Closable(MemorySource):
    """A source that can be closed."""

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def source() -> Closable:
    """Return a bucket with two objects, and a report of one of them."""
    source = Closable("bucket", "reports")
    version = source.put("bucket", "in/a", b"one", checksum=None)
    source.put("bucket", "in/b", b"two", checksum=None)
    report = Report("reports").add("a.csv", [row("bucket", "in/a", result(b"one", etag=version.etag))])
    for key, data in report.objects().items():
        source.put("reports", key, data, checksum=None)
    return source


def test_the_report_is_read_without_what_reads_one_object(
    source: Closable, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """A named version and a customer key are the objects'; who pays is the same. The log says what was found."""
    given: dict[str, Any] = {}
    monkeypatch.setattr(listing, "s3_source", lambda _, **arguments: given.update(arguments) or source)
    extra = {"VersionId": "v1", "SSECustomerKey": "key", "RequestPayer": "requester"}
    place = ReportPlace(Report("reports").address, "aws", "ca.pem", {"extra_args": extra, "region_name": "eu-west-1"})
    files = MemoryState()
    with caplog.at_level(logging.INFO):
        pointer = write_listing(source, PLACE, place, files, threading.Event())  # type: ignore[arg-type]
    reported = {each.key: each.reported is not None for each in read_manifest(files, pointer)}
    assert reported == {"in/a": True, "in/b": False}
    assert given["hook_arguments"] == {"extra_args": {"RequestPayer": "requester"}, "region_name": "eu-west-1"}
    assert (given["verify"], given["connections"]) == ("ca.pem", 1)
    assert any("has 1 row: 1 of listed objects" in message for message in caplog.messages)


def test_without_a_report_nothing_is_read(source: Closable) -> None:
    """And an address of something else is refused."""
    files = MemoryState()
    pointer = write_listing(source, PLACE, ReportPlace("", None, None, {}), files, threading.Event())  # type: ignore[arg-type]
    assert pointer.objects == 2
    retrier = Retrier(RetryBudget(), threading.Event())
    with (
        pytest.raises(UsageError, match=r"^checksums_from .* is a prefix"),
        ReportPlace("s3://reports/job/", None, None, {}).opened(retrier, bucket="bucket", prefix=""),
    ):
        pass


class Unreachable(Closable):
    """A source that answers no request about one object."""

    def head(self, bucket: str, key: str) -> ObjectVersion:
        """Fail for that one."""
        if key == "in/b":
            raise ConnectionFailed(service=S3, resource=key, detail="reset")
        return super().head(bucket, key)


class WithoutWaits(threading.Event):
    """A stop that nobody asks for, and that lets nobody wait."""

    def wait(self, timeout: float | None = None) -> bool:
        """Return at once."""
        return False


@pytest.mark.parametrize("with_report", [True, False])
def test_a_key_that_cannot_be_looked_up_fails_the_listing(
    source: Closable, monkeypatch: pytest.MonkeyPatch, *, with_report: bool
) -> None:
    """It must not end there as if the list did: the run would copy what comes before, and succeed."""
    monkeypatch.setattr(listing, "s3_source", lambda *_, **__: source)
    unreachable = Unreachable("bucket")
    for key in ("in/a", "in/b", "in/c"):
        unreachable.put("bucket", key, b"one", checksum=None)
    unreachable.put("bucket", "in/keys", b"in/a\nin/b\nin/c\n", checksum=None)
    place = ListedPlace("bucket", "in/", keys_from="s3://bucket/in/keys", list_key="in/keys")
    report = ReportPlace(Report("reports").address if with_report else "", None, None, {})
    files = MemoryState()
    with pytest.raises(ConnectionFailed):
        write_listing(unreachable, place, report, files, WithoutWaits())  # type: ignore[arg-type]
    assert not list(files.names("manifest"))


def test_the_sensor_has_connections_for_all_lookups() -> None:
    """It knows their number without the imports of the listing."""
    assert _LOOKUPS_AT_ONCE == LOOKUPS_AT_ONCE
