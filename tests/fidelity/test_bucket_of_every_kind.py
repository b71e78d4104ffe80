"""A bucket with an object of every unusual kind is planned, copied, reported and assert_all_accounted_for for."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from demo.oddities import CHOICES, OBJECTS, Oddity, oddities, prepare_container
from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.errors import SomeObjectsFailed
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.metadata import metadata_from_azure, tags_from_azure
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.ports import ObjectSource
from s3_to_azure.model.record import RESERVED_NAMES
from s3_to_azure.model.settings import CopySettings, Fidelity, RetryBudget
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch import copy_batch
from s3_to_azure.runs.reconcile import reconcile
from s3_to_azure.runs.report import make_report
from s3_to_azure.state.manifest import write_manifest
from s3_to_azure.state.plan import read_plan_index
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.transfer.context import open_context
from tests.fakes.state_memory import MemoryState
from tests.real_stores import azure_container, s3_source

CONNECTIONS = 8


@pytest.fixture
def stores(
    s3_server: LocalS3, azure_server: LocalAzure, container: ContainerClient
) -> Iterator[tuple[ObjectSource, AzureContainer]]:
    """Return source and destination."""
    source, destination = s3_source(s3_server), azure_container(azure_server, container.container_name)
    yield source, destination
    source.close()
    destination.close()


def run_once(source: ObjectSource, destination: AzureContainer, bucket: str) -> dict[str, Receipt]:
    """List, plan, copy every batch and report, as a run does; return the receipts by key."""
    files = MemoryState()
    pointer = write_manifest(source.list(bucket, ""), files, bucket=bucket, prefix="")
    settings = PlanSettings(s3_prefix="", blob_prefix="", refused_names="map", batch_bytes=32 * MIB)
    plan = make_plan(files, pointer, destination, settings)
    quick = RetryBudget(attempts=2, first_wait_s=0.01, longest_wait_s=0.01)
    copying = CopySettings(
        refused_names="map", fidelity=Fidelity.of(CHOICES), connections=4, objects_at_once=CONNECTIONS, retry=quick
    )
    for batch in plan.batches:
        with open_context(source, destination, copying) as context:
            try:
                copy_batch(context, files, batch, bucket=bucket, s3_prefix="", blob_prefix="", try_number=1)
            except SomeObjectsFailed:
                pass
    receipts = {listed.key: account.receipt for listed, account in reconcile(files, pointer, read_plan_index(files))}
    report = make_report(files, pointer)
    counted = Counter(receipt.status for receipt in receipts.values())
    assert {status: report.total(status).objects for status in counted} == counted
    assert sum(counted.values()) == pointer.objects == report.listed.objects
    return receipts


def assert_receipts(expected: dict[str, Oddity], receipts: dict[str, Receipt]) -> None:
    """Assert that every receipt has the status, reason, level and blob that its object requires."""
    assert set(receipts) == set(expected)
    for key, oddity in expected.items():
        receipt = receipts[key]
        shown = (oddity.kind, receipt.status, receipt.reason.partition(":")[0])
        assert shown == (oddity.kind, oddity.status, oddity.reason), receipt
        if oddity.status == "copied":
            assert (oddity.kind, receipt.verified_by, receipt.blob) == (oddity.kind, oddity.level, oddity.blob_name)


def assert_blob(container: ContainerClient, oddity: Oddity) -> None:
    """Assert with Azure's own SDK that a blob has the object's bytes, metadata, headers, tags and tier."""
    client = container.get_blob_client(oddity.blob_name)
    assert client.download_blob(decompress=False).readall() == oddity.data, oddity.kind
    properties = client.get_blob_properties()
    own = {name: value for name, value in properties.metadata.items() if name.lower() not in RESERVED_NAMES}
    assert metadata_from_azure(own) == oddity.arguments.get("Metadata", {}), oddity.kind
    assert properties.metadata["s3_etag"] != "forged"
    assert properties.content_settings.content_encoding == oddity.arguments.get("ContentEncoding")
    if oddity.tags:
        assert tags_from_azure(client.get_blob_tags()) == oddity.tags
    if oddity.kind == "infrequent access":
        assert properties.blob_tier == "Cool"


def assert_all_accounted_for(
    objects: int, stores: tuple[ObjectSource, AzureContainer], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """Upload the objects, run twice, and assert every receipt of both runs and every blob."""
    source, destination = stores
    expected = {oddity.key: oddity for oddity in oddities(objects)}
    assert len(expected) == objects
    with ThreadPoolExecutor(CONNECTIONS) as workers:
        list(workers.map(lambda oddity: oddity.upload(s3_client, bucket), expected.values()))
    prepare_container(container, objects)
    receipts = run_once(source, destination, bucket)
    assert_receipts(expected, receipts)
    copied = [oddity for oddity in expected.values() if oddity.status == "copied"]
    with ThreadPoolExecutor(CONNECTIONS) as workers:
        list(workers.map(lambda oddity: assert_blob(container, oddity), copied))
    # The local server has finished the restores by now; nothing else is copied in the second run.
    again = run_once(source, destination, bucket)
    for key, oddity in expected.items():
        waited = oddity.reason == "waiting_for_restore"
        becomes = "copied" if waited else "unchanged" if oddity.status == "copied" else oddity.status
        assert (oddity.kind, again[key].status) == (oddity.kind, becomes), again[key]


def test_one_object_of_every_kind(
    stores: tuple[ObjectSource, AzureContainer], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """A bucket of 64 objects, with at least one of every kind, is accounted for in two runs."""
    assert_all_accounted_for(64, stores, s3_client, bucket, container)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_two_thousand_objects_are_accounted_for(
    stores: tuple[ObjectSource, AzureContainer], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """The full bucket of all kinds is accounted for in two runs."""
    assert_all_accounted_for(OBJECTS, stores, s3_client, bucket, container)


def test_every_kind_is_among_the_first() -> None:
    """The first 64 objects have every kind that the full bucket has."""
    assert {oddity.kind for oddity in oddities(64)} == {oddity.kind for oddity in oddities()}
