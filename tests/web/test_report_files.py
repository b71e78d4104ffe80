"""The API server's way to a run's report: closed by default, open for the connections that its setting names."""

import json
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from local_cloud.servers import LocalAzure
from s3_to_azure.stores.azure.state import AzureState
from s3_to_azure.web import report_files
from s3_to_azure.web.report_files import ReportLocation, ReportUnavailable, open_report, report_chunks, report_location

ALLOWED = "AIRFLOW__S3_TO_AZURE__REPORT_CONNECTIONS"


@pytest.fixture
def place(
    monkeypatch: pytest.MonkeyPatch, azure_server: LocalAzure, blob_service: BlobServiceClient, container: Any
) -> ReportLocation:
    """Return a report in a container, and allow its connection."""
    wasb = {"conn_type": "wasb", "extra": {"connection_string": azure_server.connection_string}}
    monkeypatch.setenv("AIRFLOW_CONN_STATE", json.dumps(wasb))
    monkeypatch.setenv(ALLOWED, "other, state")
    assert isinstance(container, ContainerClient)
    place = report_location("mine", "run/1", {"wasb_conn_id": "state", "state_container": container.container_name})
    files = AzureState(blob_service, place.container, dag_id="mine", run_id="run/1")
    with files.write("report.csv") as out:
        out.write(b"x" * 5_000_000)
    return place


def free_readers() -> int:
    """Return how many reports may be opened now."""
    return report_files._READERS._value


def test_a_report_is_read_in_pieces(place: ReportLocation) -> None:
    """The file arrives whole, and the reader's place is free afterwards."""
    chunks = list(report_chunks(place, "report.csv"))
    assert b"".join(chunks) == b"x" * 5_000_000
    assert max(map(len, chunks)) <= 4 * 1024**2
    assert free_readers() == 4


def test_a_reader_that_leaves_frees_its_place(place: ReportLocation) -> None:
    """A browser may close the connection before the first piece, or after it."""
    for taken in (0, 1):
        chunks = report_chunks(place, "report.csv")
        assert free_readers() == 3
        for _ in range(taken):
            next(chunks)
        del chunks
        assert free_readers() == 4


@pytest.mark.parametrize("allowed", ["", "other", "state_of_another,st*te", "stat"])
def test_the_setting_must_name_the_connection(
    place: ReportLocation, monkeypatch: pytest.MonkeyPatch, allowed: str
) -> None:
    """Without it nothing is opened, and the sentence names the setting."""
    monkeypatch.setenv(ALLOWED, allowed)
    with pytest.raises(ReportUnavailable, match=r"'state' in its setting \[s3_to_azure\] report_connections") as found:
        report_chunks(place, "report.csv")
    assert found.value.status == 404


@pytest.mark.parametrize("plan", [{}, {"wasb_conn_id": ["state"]}, {"wasb_conn_id": "state", "state_container": 7}])
def test_a_run_without_a_place(place: ReportLocation, plan: dict[str, Any]) -> None:
    """A run without a plan, or with something else in its place, opens nothing."""
    with pytest.raises(ReportUnavailable, match="no place for its report"):
        report_chunks(report_location(place.dag_id, place.run_id, plan), "report.csv")


def test_what_cannot_be_read_is_said_before_the_response(
    place: ReportLocation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing file, container or connection is an error with a sentence, and no place stays taken."""
    monkeypatch.setenv(ALLOWED, "state,gone,unreachable")
    refused = {"conn_type": "wasb", "extra": {"connection_string": _unreachable()}}
    monkeypatch.setenv("AIRFLOW_CONN_UNREACHABLE", json.dumps(refused))
    ids = (place.dag_id, place.run_id)
    for location, name, status in (
        (place, "report.json", 404),
        (ReportLocation("mine", "run/2", "state", place.container), "report.csv", 404),
        (ReportLocation(*ids, "state", "not-there"), "report.csv", 503),
        (ReportLocation(*ids, "state", "NOT/a/container"), "report.csv", 503),
        (ReportLocation(*ids, "gone", place.container), "report.csv", 503),
        (ReportLocation(*ids, "unreachable", place.container), "report.csv", 503),
    ):
        with pytest.raises(ReportUnavailable, match="The report cannot be read") as found:
            report_chunks(location, name)
        assert (found.value.status, location) == (status, location)
    assert free_readers() == 4


def test_a_busy_server_says_so(place: ReportLocation, monkeypatch: pytest.MonkeyPatch) -> None:
    """More readers than places wait for a while, and are then told to come back."""
    monkeypatch.setattr(report_files, "_PATIENCE_S", 0.01)
    held = [report_chunks(place, "report.csv") for _ in range(4)]
    with pytest.raises(ReportUnavailable, match="reads other reports") as found, open_report(place):
        pass
    assert found.value.status == 503
    held.clear()
    assert free_readers() == 4


def _unreachable() -> str:
    return "DefaultEndpointsProtocol=http;AccountName=a;AccountKey=YWFh;BlobEndpoint=http://127.0.0.1:9/a;"
