"""The log of each try, as whoever opens one of them reads it."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from s3_to_azure.airflow.jobs import BatchJob, Endpoints, ObjectJob
from s3_to_azure.airflow.prefix_job import PrefixJob
from s3_to_azure.model.errors import RetryableObjectsFailed, ServerFailed
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import ListedObject, ObjectVersion
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.settings import PlanSettings
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
            raise ServerFailed(service="S3", status=500, code="InternalError", thing=version.key)
        with super().open(version, start, end) as body:
            yield body


def _log_of_try(night: Night, plan: Plan, try_number: int, caplog: pytest.LogCaptureFixture) -> list[str]:
    caplog.clear()
    with night.context() as context, caplog.at_level(logging.INFO, logger="s3_to_azure"):
        job = BatchJob(
            context,
            ENDPOINTS,
            night.files,
            plan.batches[0],
            s3_prefix="in/",
            blob_prefix="out/",
            try_number=try_number,
            on_label=lambda _: None,
        )
        if try_number == 1:
            with pytest.raises(RetryableObjectsFailed):
                job.run()
        else:
            job.run()
    assert job.one_object == ("in/big", "out/big")
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


@pytest.mark.parametrize(("try_number", "told"), [(1, ""), (2, ", try 2")])
def test_a_task_without_a_plan_tells_its_try(try_number: int, told: str, caplog: pytest.LogCaptureFixture) -> None:
    """One object's task, and a prefix's, say which try of theirs the log is of."""
    source = MemorySource("bucket")
    source.put("bucket", "in/k", b"123")
    caplog.set_level(logging.INFO, logger="s3_to_azure")
    with transfer_context(source, MemoryDestination()) as context:
        PrefixJob(context, ENDPOINTS, None, prefix="in/", blob_prefix="out/", try_number=try_number).run()
        ObjectJob(context, ENDPOINTS, key="in/k", blob="k", try_number=try_number).run()
    begun = [line for line in caplog.messages if line.startswith("Copying ")]
    where = f"S3 bucket bucket to {'{!r}'} in Azure container {context.destination.container}"
    assert begun == [
        f"Copying 1 object (3 bytes) of 1{told}, below 'in/' in {where.format('out/')}",
        f"Copying 'in/k' (3 bytes){told}, from {where.format('k')}",
    ]
