"""The ways of a run's bytes, counted from receipts."""

import json
from dataclasses import replace

import pytest

from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.reasons import NOT_FETCHED, STATUSES, Status
from s3_to_azure.transfer.fetched.ways import Ways

STREAMED = Receipt("bucket", "k", "e", 1_024, "container", "k", "copied", blocks=1)
FETCHED = replace(STREAMED, via="azure", blocks=3, blocks_fetched=3)
MIXED = replace(FETCHED, blocks_fetched=1, blocks_streamed=2, not_fetched="source_unreachable")


def ways(*receipts: Receipt) -> Ways:
    """Count the receipts."""
    counted = Ways()
    for receipt in receipts:
        counted.add(receipt)
    return counted


def test_a_run_through_the_workers_tells_of_no_way() -> None:
    """Its report is the one that people know."""
    plain = ways(STREAMED, replace(STREAMED, status="failed"))
    assert not plain
    assert list(plain.lines()) == []
    assert plain.summary() == {}


def test_objects_and_blocks_of_each_way() -> None:
    """Each object counts once, and each reason is told in words once; a mixed object is fetched, with its reason."""
    small = replace(STREAMED, not_fetched="one_request", size_bytes=1)
    unreachable = replace(STREAMED, not_fetched="source_unreachable")
    counted = ways(FETCHED, MIXED, small, small, unreachable)
    unreachable_text = NOT_FETCHED["source_unreachable"]
    assert list(counted.lines()) == [
        "Fetched:   2 objects (2.0 KiB) by Azure, in 4 blocks, and 2 blocks through the worker",
        f"           1 object (1.0 KiB) of these ended through the worker: source_unreachable: {unreachable_text}",
        f"Streamed:  2 objects (2 bytes): one_request: {NOT_FETCHED['one_request']}",
        "Streamed:  1 object (1.0 KiB): source_unreachable",
    ]
    assert json.loads(json.dumps(counted.summary())) == {
        "fetched": {"objects": 2, "size_bytes": 2_048, "blocks_fetched": 4, "blocks_streamed": 2},
        "ended_streamed": {"source_unreachable": {"objects": 1, "size_bytes": 1_024}},
        "not_fetched": {
            "one_request": {"objects": 2, "size_bytes": 2},
            "source_unreachable": {"objects": 1, "size_bytes": 1_024},
        },
    }
    assert list(ways(FETCHED).lines()) == ["Fetched:   1 object (1.0 KiB) by Azure, in 3 blocks"]


@pytest.mark.parametrize("status", [status for status in STATUSES if status != "copied"])
def test_only_copies_count(status: Status) -> None:
    """What was not copied has taken no way."""
    assert not ways(replace(MIXED, status=status))


def test_a_damaged_receipt_adds_no_code() -> None:
    """The summary stays small, whatever text a state file holds."""
    counted = ways(*(replace(STREAMED, not_fetched=f"{number} " * 20) for number in range(100)))
    assert counted.summary()["not_fetched"] == {"other": {"objects": 100, "size_bytes": 102_400}}
    assert list(counted.lines())[1] == "Streamed:  100 objects (100.0 KiB): other"
