"""A run over objects of which Azure can fetch some: each takes its way, and plan and report say which and why."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Amount, Block
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch import copy_batch
from tests.fakes.contexts import BUCKET, some_bytes
from tests.fakes.fetching_memory import FetchingMemory, refused
from tests.fakes.memory_small_object_client import MemorySmallObjectClient
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import Night

LARGE = some_bytes(3 * MIB)
LONG = f"long/{'é' * 500}"
SETTINGS = PlanSettings(s3_prefix="", blob_prefix="", via="auto", block_bytes=MIB)


@pytest.fixture
def source() -> MemorySource:
    """Return two objects that Azure can fetch, and one for each reason why it cannot."""
    source = MemorySource(BUCKET)
    for key in ("fetched/1", "fetched/2", LONG):
        source.put(BUCKET, key, LARGE)
    source.put(BUCKET, "md5/old", LARGE, checksum=None)
    source.put(BUCKET, "small/1", b"s")
    source.put(BUCKET, "small/empty", b"")
    return source


def night(source: MemorySource, **settings: object) -> tuple[Night, FetchingMemory]:
    """Return a run into an account that fetches by itself."""
    azure = FetchingMemory(source)
    return Night(source, azure, MemoryState(), BUCKET, replace(SETTINGS, **settings)), azure  # type: ignore[arg-type]


def blobs(azure: FetchingMemory) -> dict[str, bytes]:
    """Return the bytes of all blobs."""
    return {name: blob.data for name, blob in azure.blobs.items()}


def test_each_object_takes_its_way(source: MemorySource) -> None:
    """Plan and report agree but for the checksum, which no listing shows; all bytes are proven, whatever their way."""
    run, azure = night(source)
    plan, _, report = run.run()
    assert plan.fetched == Amount(3, 9 * MIB)
    assert plan.not_fetched == {"long_url": Amount(1, 3 * MIB), "one_request": Amount(1, 1)}
    summary = report.summary()
    assert summary["fetched"] == {"objects": 2, "size_bytes": 6 * MIB, "blocks_fetched": 6, "blocks_streamed": 0}
    assert summary["not_fetched"] == {
        "long_url": {"objects": 1, "size_bytes": 3 * MIB},
        "no_crc64nvme": {"objects": 1, "size_bytes": 3 * MIB},
        "one_request": {"objects": 1, "size_bytes": 1},
    }
    assert (report.failed, summary["copied"]["objects"]) == (False, 6)
    assert {key for key, *_ in source.opened} == {LONG, "md5/old", "small/1"}, "no other byte passed the worker"
    assert blobs(azure) == {
        **dict.fromkeys(("fetched/1", "fetched/2", LONG, "md5/old"), LARGE),
        "small/1": b"s",
        "small/empty": b"",
    }
    lines = list(report.lines())
    assert "Fetched:   2 objects (6.0 MiB) by Azure, in 6 blocks" in lines
    assert sum("no_crc64nvme" in line for line in lines) == 1


def test_azure_alone_fails_what_it_cannot_fetch(source: MemorySource) -> None:
    """Small objects are fetched too; the others fail with the sentence, and nothing of them was read."""
    run, azure = night(source, via="azure")
    report = run.report_of_run()
    assert {failure.key: failure.reason.partition(":")[0] for failure in report.failures} == {
        LONG: "not_fetchable",
        "md5/old": "not_fetchable",
    }
    assert source.opened == []
    assert blobs(azure) == {
        **dict.fromkeys(("fetched/1", "fetched/2"), LARGE),
        "small/1": b"s",
        "small/empty": b"",
    }


def test_the_worker_alone_asks_azure_for_nothing(source: MemorySource) -> None:
    """The default is the way of before, and its report is that of before."""
    run, azure = night(source, via="worker")
    _, _, report = run.run()
    assert azure.fetched == []
    assert "fetched" not in report.summary()
    assert len(azure.blobs) == 6


def test_a_bucket_that_azure_cannot_read_is_streamed_and_said_once(source: MemorySource) -> None:
    """After three refusals the rest of the run is streamed; the report has one line for all of it."""
    run, azure = night(source)

    def refuse(_: Block, __: Callable[[], int | None]) -> int | None:
        raise refused()

    azure.around = refuse
    _, _, report = run.run()
    summary = report.summary()
    assert summary["fetched"]["objects"] == 0
    assert summary["not_fetched"]["source_unreachable"] == {"objects": 2, "size_bytes": 6 * MIB}
    assert len([line for line in report.lines() if "source_unreachable" in line]) == 1
    assert summary["ended_streamed"] == {}
    assert not report.failed


def test_one_object_that_ends_streamed_counts_once(source: MemorySource) -> None:
    """It is fetched, and the report says that the worker ended it, and why."""
    run, azure = night(source)
    azure.around = lambda block, fetch: None if block.start == MIB and fetch() else fetch()
    _, _, report = run.run()
    summary = report.summary()
    counted = summary["fetched"]["objects"] + sum(item["objects"] for item in summary["not_fetched"].values())
    assert counted == summary["copied"]["objects"] - 1, "an empty object has no bytes"
    assert summary["ended_streamed"]["no_crc_returned"]["objects"] >= 1
    assert summary["fetched"]["blocks_streamed"] >= 1


def test_small_objects_have_their_reason_in_the_fast_path_too(source: MemorySource) -> None:
    """It makes receipts of its own."""
    run, azure = night(source)
    plan = run.plan(run.make_manifest())
    receipts = {}
    with run.context() as context:
        fast = replace(context, small_object_client=lambda: MemorySmallObjectClient(source, azure))
        copy_batch(
            fast,
            run.files,
            plan.batches[0],
            bucket=BUCKET,
            s3_prefix="",
            blob_prefix="",
            try_number=1,
            on_receipt=lambda receipt: receipts.update({receipt.key: receipt}),
        )
    assert (receipts["small/1"].via, receipts["small/1"].not_fetched) == ("worker", "one_request")
    assert receipts["small/empty"].not_fetched == ""
