"""No path of a copy writes a name whose empty segments the account drops: ``a//b`` and ``a/b`` stay apart."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress

import pytest

from s3_to_azure.airflow.jobs import BatchJob, Endpoints
from s3_to_azure.cli import copy_prefix as prefix
from s3_to_azure.cli.copy_prefix import copy_prefix
from s3_to_azure.cli.processes.count import FreeCores
from s3_to_azure.cli.processes.workers import worker_processes
from s3_to_azure.cli.stores import Stores
from s3_to_azure.model.errors import NameRefused, SomeObjectsFailed
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Condition, Receipt
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.report import make_report
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.transfer.context import CopyTask, open_context
from s3_to_azure.transfer.pool import copy_many
from s3_to_azure.transfer.verify import verify_object
from tests.fakes.contexts import BUCKET, QUICK, task
from tests.fakes.hierarchical_azure import HierarchicalAccount, hierarchical_azure
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState
from tests.real_stores import azure_container
from tests.runs.nights import Night

WITH_EMPTY, WITHOUT = b"the bytes of a//b", b"THE BYTES OF a/b"
SETTINGS = CopySettings(retry=QUICK, objects_at_once=2, connections=2)

Copy = Callable[[MemorySource, AzureContainer], dict[str, str]]


@pytest.fixture
def source() -> MemorySource:
    """Return a bucket with two objects whose names differ by an empty segment."""
    made = MemorySource(BUCKET)
    made.put(BUCKET, "a//b", WITH_EMPTY)
    made.put(BUCKET, "a/b", WITHOUT)
    return made


@pytest.fixture(params=[True, False], ids=["may ask", "may not ask"])
def account(request: pytest.FixtureRequest) -> Iterator[HierarchicalAccount]:
    """Run the account for an identity that may look up its kind, and for one that may not."""
    with hierarchical_azure(may_ask=request.param) as made:
        yield made


def by_mapped_task(source: MemorySource, destination: AzureContainer) -> dict[str, str]:
    """Copy a batch that was planned for an account of which nothing was known, as an older plan task did."""
    files = MemoryState()
    night = Night(source, MemoryDestination(), files, BUCKET, PlanSettings(s3_prefix="", blob_prefix="", max_tasks=1))
    pointer = night.make_manifest()
    plan = night.plan(pointer)
    endpoints = Endpoints(BUCKET, "container", None, "wasb_default", {})
    with open_context(source, destination, SETTINGS) as context, pytest.raises(SomeObjectsFailed):
        BatchJob(
            context,
            endpoints,
            files,
            plan.batches[0],
            s3_prefix="",
            blob_prefix="",
            try_number=1,
            on_label=lambda _: None,
        ).run()
    report = make_report(files, pointer)
    assert report.failed
    return {failure.key: failure.reason for failure in report.failures}


def by_key(source: MemorySource, destination: AzureContainer) -> dict[str, str]:
    """Copy both keys without a plan, as ``--keys-from`` does."""
    with open_context(source, destination, SETTINGS) as context:
        outcomes = [*copy_many(context, [task("a//b"), task("a/b")])]
    return {outcome.receipt.key: outcome.receipt.reason for outcome in outcomes if outcome.error}


def by_prefix(source: MemorySource, destination: AzureContainer, processes: int = 1) -> dict[str, str]:
    """Copy all objects below a prefix, as the command line does."""
    stores = Stores(source, destination, None)
    receipts: list[Receipt] = []
    with (
        worker_processes(processes, stores, SETTINGS) as workers,
        stores.transfer_context(SETTINGS, Progress(), threading.Event()) as context,
    ):
        error = copy_prefix(context, S3Uri(BUCKET, ""), AzureUri("container", ""), Filters(), receipts.append, workers)
    assert isinstance(error, SomeObjectsFailed)
    return {receipt.key: receipt.reason for receipt in receipts if receipt.status == "failed"}


def by_processes(source: MemorySource, destination: AzureContainer) -> dict[str, str]:
    """Copy in processes that were forked before the first request."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(FreeCores, "count", lambda _self, most: most)
        patch.setattr(prefix, "may_use_several", lambda _: True)
        patch.setattr(prefix, "useful_processes", lambda *_, **__: 2)
        return by_prefix(source, destination, processes=2)


@pytest.mark.parametrize("copy", [by_mapped_task, by_key, by_prefix, by_processes])
def test_every_path_keeps_the_two_keys_apart(source: MemorySource, account: HierarchicalAccount, copy: Copy) -> None:
    """Only the name that the account keeps is written; the other object fails, and its reason says why."""
    with closing(azure_container(account.server, "container")) as destination:
        failed = copy(source, destination)
    assert account.data == {"a/b": WITHOUT}
    assert failed.keys() == {"a//b"}
    code, _, sentence = failed["a//b"].partition(": ")
    assert code == NameRefused.reason()
    assert ("drops" if account.may_ask else "may not ask") in sentence


def test_the_account_is_asked_once_and_only_where_it_matters(account: HierarchicalAccount) -> None:
    """Names without empty segments cost no request; all others together cost one, or two where the first is refused."""
    with closing(azure_container(account.server, "container")) as destination:
        destination.check()
        for name in ("a/b", "c", "d.e/f"):
            assert destination.check_name(name) == name
        assert account.asked == 0
        for name in ("a//b", "/a", "//", "a///b"):
            with suppress(NameRefused):
                destination.check_name(name)
        assert account.asked == (1 if account.may_ask else 2)


def test_verify_refuses_the_name_too(source: MemorySource, account: HierarchicalAccount) -> None:
    """``a//b`` is never compared with the blob of ``a/b``."""
    with (
        closing(azure_container(account.server, "container")) as destination,
        open_context(source, destination, SETTINGS) as context,
    ):
        by_key(source, destination)
        assert verify_object(context, task("a//b")).status == "failed"


@pytest.mark.parametrize("size_bytes", [10, 3 * MIB])
def test_a_plan_leaves_the_name_out_and_goes_on(size_bytes: int) -> None:
    """A name that only this account refuses fails alone, a giant's too, whose blob the plan looks up."""
    source, destination = MemorySource(BUCKET), MemoryDestination()
    destination.hierarchical = True
    for key in ("a//b", "a/b"):
        source.put(BUCKET, key, bytes(size_bytes))
    settings = PlanSettings(s3_prefix="", blob_prefix="", split_bytes=MIB, batch_bytes=MIB, block_bytes=MIB)
    night = Night(source, destination, MemoryState(), BUCKET, settings)
    plan = night.plan(night.make_manifest())
    assert (plan.copy.objects, {code: amount.objects for code, amount in plan.failed.items()}) == (
        1,
        {"name_refused": 1},
    )


def test_a_name_is_checked_before_its_blob_is_looked_up() -> None:
    """A copy without a plan refuses the name before it takes the blob of another key for its own."""
    source, destination = MemorySource(BUCKET), MemoryDestination()
    destination.hierarchical = True
    source.put(BUCKET, "a//b", b"x")
    with open_context(source, destination, SETTINGS) as context:
        listed = source.listed(BUCKET, "a//b")
        planned = CopyTask(BUCKET, "a//b", "a//b", listed=listed, condition=Condition(None))
        (outcome,) = copy_many(context, [planned])
    assert isinstance(outcome.error, NameRefused)
    assert destination.blobs == {}
