"""The lines of a report's receipts as other commands read them."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from s3_to_azure.model.objects import Receipt
from s3_to_azure.state.lines import as_json
from s3_to_azure.state.reported import read_reported


def test_a_receipt_is_read() -> None:
    """With the times of its copy."""
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    receipt = Receipt("b", "k", "e", 3, "c", "k", "copied", seconds=2.0, started_at=noon.isoformat())
    found = read_reported(as_json(receipt.as_dict()))
    assert found
    assert (found.key, found.etag, found.size_bytes) == ("k", "e", 3)
    assert found.times() == (noon, noon + timedelta(seconds=2))


@pytest.mark.parametrize("started_at", ["", "2026-03-01T12:00:00", "noon"])
def test_a_time_without_a_zone_is_none(started_at: str) -> None:
    """It could not be compared with another one."""
    found = read_reported(
        json.dumps({"key": "k", "status": "copied", "size_bytes": 1, "started_at": started_at}).encode()
    )
    assert found
    assert found.times() is None


def test_half_of_a_surrogate_pair_is_read() -> None:
    """JSON can hold it, and S3 too."""
    found = read_reported(b'{"key":"\\ud800","status":"copied","size_bytes":1}')
    assert found
    assert found.key == "\ud800"


@pytest.mark.parametrize(
    "line", [b"", b"{}", b"[]", b"\xff", b"[" * 60_000, b'{"key":1,"status":"copied","size_bytes":1}']
)
def test_other_lines_are_none(line: bytes) -> None:
    """Whatever a file holds."""
    assert read_reported(line) is None
