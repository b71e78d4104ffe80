"""The work of copy tasks: what they return, and the log of each try as a person reads it."""

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from s3_to_azure.airflow.jobs import BatchJob, Endpoints, ObjectJob, open_transfer, receipt_line, summary_line
from s3_to_azure.model.errors import PermanentError, RetryableObjectsFailed, ServerFailed
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import ListedObject, ObjectVersion, Receipt
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.stores.http import hosts
from tests.fakes.contexts import some_bytes, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemoryBody, MemorySource
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import Night

ENDPOINTS = Endpoints("bucket", "container", aws_conn_id=None, wasb_conn_id="w", s3_arguments={})


class LameSource(MemorySource):
    """Gives no byte of the second half while it is lame."""

    lame = True

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator[MemoryBody]:
        """Fail, or open."""
        if self.lame and start >= 2 * MIB:
            raise ServerFailed(service="S3", status=500, code="InternalError", resource=version.key)
        with super().open(version, start, end) as body:
            yield body


def _log_of_try(night: Night, plan: Plan, try_number: int, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    labels = list[str]()
    with night.context() as context, caplog.at_level(logging.INFO, logger="s3_to_azure"):
        job = BatchJob(
            context,
            ENDPOINTS,
            night.files,
            plan.batches[0],
            s3_prefix="in/",
            blob_prefix="out/",
            try_number=try_number,
            on_label=labels.append,
        )
        if try_number == 1:
            with pytest.raises(RetryableObjectsFailed):
                job.run()
        else:
            job.run()
    assert job.one_object == ("in/big", "out/big")
    assert labels == ["in/big"]
    return caplog.messages


def test_each_try_tells_its_whole_story(caplog: pytest.LogCaptureFixture) -> None:
    """What, how large, the plan of blocks, what is there, each retry's cause, and the counts: in a retry's log too."""
    source = LameSource("bucket")
    source.put("bucket", "in/big", some_bytes(4 * MIB))
    settings = PlanSettings(s3_prefix="in/", blob_prefix="out/", block_bytes=MIB)
    night = Night(source, MemoryDestination(), MemoryState(), "bucket", settings)
    plan = night.plan(night.make_manifest())

    first = _log_of_try(night, plan, 1, caplog)
    assert first[0].startswith("Copying batch 0: 'in/big' (4.0 MiB), from S3 bucket bucket to Azure container ")
    assert any(", next try in " in line and "S3 failed with status 500 (InternalError)" in line for line in first)
    assert first[-1].startswith("1 object: 0 copied, 0 unchanged, 0 skipped, 1 failed; ")

    source.lame = False
    second = _log_of_try(night, plan, 2, caplog)
    assert second[0].startswith("Copying batch 0, try 2: 'in/big' (4.0 MiB), from S3 bucket ")
    assert "'in/big': 4.0 MiB, cut into 4 blocks of at most 1.0 MiB" in second
    assert any(line.startswith("'in/big': ") and " of 4 blocks (" in line for line in second)
    assert second[-1].startswith("1 object: 1 copied, 0 unchanged, 0 skipped, 0 failed; ")


@pytest.mark.parametrize(("try_number", "text"), [(1, ""), (2, ", try 2")])
def test_one_objects_log_says_which_try_it_is(try_number: int, text: str, caplog: pytest.LogCaptureFixture) -> None:
    """The first line names object, size, try, source and destination; the last one the result."""
    source = MemorySource("bucket")
    source.put("bucket", "in/k", b"123")
    caplog.set_level(logging.INFO, logger="s3_to_azure")
    with transfer_context(source, MemoryDestination()) as context:
        job = ObjectJob(context, ENDPOINTS, key="in/k", blob="k", try_number=try_number)
        receipt = job.run()
        again = ObjectJob(context, ENDPOINTS, key="in/k", blob="k", try_number=try_number).run()
    first, last, *_, unchanged = [line for line in caplog.messages if "in/k" in line and "cut into" not in line]
    container = context.destination.container
    assert first == f"Copying 'in/k' (3 bytes){text}, from S3 bucket bucket to 'k' in Azure container {container}"
    assert last.startswith("Copied 'in/k': 3 bytes sent in ")
    assert last.endswith(f", 0 of 1 block already in Azure, verified by {receipt['verified_by']}")
    assert (receipt["status"], receipt["try_number"], job.one_object) == ("copied", try_number, ("in/k", "k"))
    assert (again["status"], unchanged) == ("unchanged", "Unchanged: 'in/k'")


@pytest.mark.parametrize(("key", "blob"), [("", "b"), ("k", ""), ("k", "x" * 1_025)])
def test_names_are_checked_before_anything_is_sent(key: str, blob: str) -> None:
    """A name that a service refuses fails its task at once."""
    with transfer_context(MemorySource("bucket"), MemoryDestination()) as context, pytest.raises(PermanentError):
        ObjectJob(context, ENDPOINTS, key=key, blob=blob, try_number=1)


SUMMARY = {
    "objects": 1_204,
    "copied": 1_200,
    "unchanged": 0,
    "skipped": 4,
    "failed": 0,
    "bytes_sent": 10 * MIB,
    "bytes_resumed": 0,
    "seconds": 10.0,
}


def test_summary_line() -> None:
    """The four results are always there, everything else only if there is any."""
    assert summary_line(SUMMARY) == (
        "1,204 objects: 1,200 copied, 0 unchanged, 4 skipped, 0 failed; 10.0 MiB sent in 10 s (1.0 MiB/s)"
    )
    more = SUMMARY | {"reasons": {"excluded": 4}, "bytes_resumed": MIB, "staged": 2, "done_before": 3}
    assert summary_line(more) == (
        "1,204 objects: 1,200 copied, 0 unchanged, 4 skipped, 0 failed, 2 staged, 3 done by an earlier try "
        "(4 excluded); 10.0 MiB sent in 10 s (1.0 MiB/s), 1.0 MiB already in Azure"
    )
    assert "(0 bytes/s)" in summary_line(SUMMARY | {"seconds": 0.0})


def test_receipt_line() -> None:
    """An object that was not copied has its reason, quoted like any key."""
    receipt = Receipt(
        bucket="bucket",
        key="a\nb",
        etag="",
        size_bytes=1,
        container="c",
        blob="b",
        status="skipped",
        reason="destination_exists",
    )
    assert receipt_line(receipt) == r"Skipped: 'a\nb' (destination_exists)"
    copied = replace(receipt, status="copied", bytes_sent=5, seconds=1.0, blocks=1, verified_by="crc64nvme")
    assert " 5 bytes sent in 1.0 s " in receipt_line(copied)
    fetched = replace(copied, via="azure")
    assert " 5 bytes fetched by Azure in 1.0 s " in receipt_line(fetched)
    assert receipt_line(fetched).endswith("verified by crc64nvme")
    assert receipt_line(replace(copied, not_fetched="long_url")).endswith("crc64nvme. Not by Azure: long_url")
    assert receipt_line(replace(fetched, not_fetched="no_crc_returned")).endswith(". Not all by Azure: no_crc_returned")


def test_a_transfer_has_the_stores_of_its_connections(connections: dict[str, Any]) -> None:
    """The operator gets the context to copy with, and the account for state files and lineage; nothing is sent."""
    endpoints = Endpoints(
        "no-such-bucket-here", "no-such-container", s3_arguments={"verify": None, "hook_arguments": None}, **connections
    )
    cancelled = threading.Event()
    with open_transfer(endpoints, CopySettings(), cancelled) as opened:
        assert opened.context.destination.container == "no-such-container"
        assert opened.context.cancelled is cancelled
        assert opened.service.account_name == "devstoreaccount1"


@pytest.mark.parametrize("worked_before", [True, False])
def test_hosts_of_an_earlier_try_are_known_to_exist(
    connections: dict[str, Any], monkeypatch: pytest.MonkeyPatch, worked_before: bool
) -> None:
    """A name that cannot be found for a moment does not end the run: it was found by that try."""
    known = threading.Event()
    monkeypatch.setattr(hosts, "_any_reached", known)
    endpoints = Endpoints("bucket", "container", s3_arguments={}, **connections)
    with open_transfer(endpoints, CopySettings(), threading.Event(), worked_before=worked_before):
        assert known.is_set() is worked_before


def test_a_bucket_name_is_checked_before_a_connection_is_opened() -> None:
    """Connections that do not exist would be the next error."""
    endpoints = Endpoints("Not A Bucket", "c", aws_conn_id="none", wasb_conn_id="none", s3_arguments={})
    with (
        pytest.raises(PermanentError, match="Not A Bucket"),
        open_transfer(endpoints, CopySettings(), threading.Event()),
    ):
        pass
