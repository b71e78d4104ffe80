"""The operator between services whose responses are mutated: right bytes and true results, or a clear error."""

import json
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.errors import TransferError
from s3_to_azure.model.limits import MIB
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.stores.azure.state import AzureState
from tests.fakes.mutated_stores import (
    ANY,
    BLOCK_SIZE,
    CONTAINER,
    KEYS,
    NEW,
    OBJECTS,
    PREFIX,
    STATE,
    Kind,
    MutatedStores,
    Ran,
    Scenario,
    check_blobs,
    check_copied,
    check_examples,
    hurry,
    run,
)
from tests.fakes.odd_azure import ACCOUNT, KEY
from tests.real_stores import azure_container, s3_source
from tests.runs.nights import Night

S3_KINDS = (
    Kind("list", ("prefix", "prefix with state"), ANY),
    Kind("head", ("prefix", "key small", "key large", "key empty"), ANY),
    Kind("get", ("prefix", "batch", "key small")),
    Kind("part", ("prefix", "batch")),
    Kind("attributes", ("prefix", "key crc of parts")),
    Kind("head bucket", ("prefix", "key small")),
)
AZURE_KINDS = (
    Kind("head", ("prefix", "key small", "key large"), ANY),
    Kind("get block list", ("prefix", "key large")),
    Kind("put block", ("prefix with state", "key large")),
    Kind("put block list", ("prefix with state", "key large")),
    Kind("put blob", ("prefix with state", "batch")),
    Kind("set metadata", ("prefix",), ("dated",)),
    Kind("set properties", ("prefix",), ("dated",)),
    Kind("get", ("batch", "retry of a batch", "prefix with state")),
    Kind("list", ("prefix with state", "retry of a batch"), NEW),
    Kind("account", ("prefix",)),
)
KINDS = {"s3": S3_KINDS, "azure": AZURE_KINDS}

Operator = Callable[[Scenario], MutatedStores]


class TaskInstance:
    """What the operator asks of a task instance."""

    dag_id = "dag"
    run_id = "run"
    task_id = "copy"
    map_index = -1

    def __init__(self, try_number: int) -> None:
        self.try_number = try_number


def plan_batch(stores: MutatedStores) -> dict[str, Any]:
    """Plan a run with the state files in Azure; return the descriptor of its only batch."""
    account = LocalAzure("", stores.azure_url, ACCOUNT, KEY)
    with (
        closing(s3_source(LocalS3(stores.s3_url, "test", "test", "us-east-1"))) as source,
        closing(azure_container(account, CONTAINER)) as destination,
    ):
        files = AzureState(destination._service, STATE, dag_id=TaskInstance.dag_id, run_id=TaskInstance.run_id)
        settings = PlanSettings(s3_prefix=PREFIX, blob_prefix=PREFIX, block_bytes=MIB, max_tasks=1)
        night = Night(source, destination, files, "bucket", settings=settings)
        (batch,) = night.plan(night.make_manifest()).batches
    return batch.as_dict()


def arguments_of(command: str, stores: MutatedStores) -> dict[str, Any]:
    """Return the operator's arguments for a command."""
    if command.startswith("key "):
        return {"s3_key": PREFIX + command.removeprefix("key ")}
    of_prefix = {"s3_prefix": PREFIX, "blob_prefix": PREFIX}
    if command == "prefix":
        return of_prefix
    if command == "prefix with state":
        return {**of_prefix, "state_container": STATE}
    return {**of_prefix, "state_container": STATE, "batch": plan_batch(stores)}


@pytest.fixture
def operator(monkeypatch: pytest.MonkeyPatch) -> Operator:
    """Return a function that executes a scenario's operator, and checks its result and the blobs."""
    hurry(monkeypatch)

    def check(scenario: Scenario) -> MutatedStores:
        with MutatedStores.served(scenario) as stores:
            extra = {"endpoint_url": stores.s3_url, "region_name": "us-east-1"}
            aws = {"conn_type": "aws", "login": "test", "password": "test", "extra": extra}
            wasb = {"conn_type": "wasb", "extra": {"connection_string": stores.connection_string}}
            monkeypatch.setenv("AIRFLOW_CONN_AWS_MUTATED", json.dumps(aws))
            monkeypatch.setenv("AIRFLOW_CONN_WASB_MUTATED", json.dumps(wasb))
            task = S3ToAzureBlobStreamOperator(
                task_id="copy",
                s3_bucket="bucket",
                container_name=CONTAINER,
                aws_conn_id="aws_mutated",
                wasb_conn_id="wasb_mutated",
                block_size=BLOCK_SIZE,
                memory_budget="16MiB",
                **arguments_of(scenario.command, stores),
            )
            stores.mutate(scenario)
            context: Any = {"ti": TaskInstance(2 if scenario.command == "retry of a batch" else 1)}
            ran = run(lambda: task.execute(context))
        check_blobs(stores)
        check_result(scenario, stores, ran)
        return stores

    return check


def check_result(scenario: Scenario, stores: MutatedStores, ran: Ran) -> None:
    """Check that the result accounts for each object, or that the error is one of ours and has a sentence."""
    if isinstance(ran.result, BaseException):
        assert isinstance(ran.result, TransferError), repr(ran.result)
        assert ran.result.__cause__ is None
        assert str(ran.result)
        return
    if scenario.command.startswith("key "):
        check_copied(stores, ran.result)
        assert ran.result["status"] != "failed"
        return
    counts = {name: ran.result.get(name, 0) for name in ("copied", "unchanged", "done_before", "skipped", "failed")}
    assert ran.result["objects"] == sum(counts.values()) == len(KEYS)
    assert counts["failed"] == 0
    right = [key for key in KEYS if stores.blobs().get(key) == OBJECTS[key]]
    assert len(right) == len(KEYS) - counts["skipped"]


@pytest.mark.parametrize("service", KINDS)
def test_mutated_responses_in_a_sample(service: str, operator: Operator) -> None:
    """Five mutations of each service's responses."""
    check_examples(service, KINDS[service], 5, operator)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("service", KINDS)
def test_mutated_responses(service: str, operator: Operator) -> None:
    """Each gives right bytes and a true result, or an error of ours: no hang, no object unaccounted for."""
    check_examples(service, KINDS[service], 200, operator)
