"""Migrations in real Airflow whose bytes Azure fetches from S3 by itself, where it can."""

import base64
import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure
from s3_to_azure.airflow.migration.run_state import PLAN_KEY
from s3_to_azure.dag import migration_dag
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import MIB
from s3_to_azure.operators import S3ToAzureBlobStreamOperator
from s3_to_azure.state.lines import lines
from s3_to_azure.transfer.fetched import eligibility
from tests.airflow.airflow_runs import Run, run_dag, xcom_of
from tests.fakes.contexts import some_bytes
from tests.fakes.fetching_azure import FetchingAzure, fetching_azure
from tests.real_stores import account_sas

LARGE = some_bytes(3 * MIB)
LONG = f"in/{'é' * 340}"
CUSTOMER_KEY = bytes(range(32))


@pytest.fixture
def azure(
    azure_server: LocalAzure,
    connections: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[FetchingAzure]:
    """Let the connection lead to a fetcher before Azurite, and take the local S3 for a public one."""
    monkeypatch.setattr(eligibility, "is_public", lambda _: True)
    eligibility.bucket_obstacle.cache_clear()
    with fetching_azure(azure_server.account_url) as fetcher:
        text = f"BlobEndpoint={fetcher.url};SharedAccessSignature={account_sas(azure_server)}"
        wasb = {"conn_type": "wasb", "extra": {"connection_string": text}}
        monkeypatch.setenv(f"AIRFLOW_CONN_{connections['wasb_conn_id'].upper()}", json.dumps(wasb))
        yield fetcher
    eligibility.bucket_obstacle.cache_clear()


@pytest.fixture
def migrate(connections: dict[str, Any], bucket: str, container: ContainerClient) -> Any:
    """Return a function that runs a migration."""

    def run(conf: dict[str, Any] | None = None, **more: Any) -> Run:
        place = {"source": f"s3://{bucket}/in/", "destination": f"az://{container.container_name}/out"}
        given = {"retries": 0, "block_size": "1MiB", "fidelity": {"archived": "skip"}}
        return run_dag(migration_dag(f"ways-{uuid4().hex}", **(place | connections | given | more)), conf)

    return run


@pytest.fixture
def fill(s3_client: Any, bucket: str) -> Any:
    """Return a function that writes an object."""

    def write(key: str, body: bytes, **options: Any) -> None:
        s3_client.put_object(Bucket=bucket, Key=key, Body=body, **({"ChecksumAlgorithm": "CRC64NVME"} | options))

    return write


def receipts_of(container: ContainerClient) -> dict[str, dict[str, Any]]:
    """Return the receipts of the run's report, by key."""
    (name,) = [
        name
        for name in container.list_blob_names(name_starts_with="_s3_to_azure/")
        if name.endswith("/receipts.jsonl.gz")
    ]
    found = map(json.loads, lines([container.download_blob(name).readall()], path=name))
    return {receipt["key"]: receipt for receipt in found}


def test_a_misspelt_way_is_told_the_nearest_when_the_dag_is_parsed() -> None:
    """No run has to fail for it."""
    with pytest.raises(UsageError, match=r"via='azur' is not one of worker, azure, auto\. Did you mean azure\?"):
        migration_dag("misspelt", "s3://bucket/in/", "az://container/out", via="azur")
    with pytest.raises(UsageError, match="Did you mean auto"):
        S3ToAzureBlobStreamOperator(task_id="t", s3_bucket="bucket", container_name="container", s3_key="k", via="Auto")


def test_the_author_may_pin_the_way() -> None:
    """Then a run has no choice, and the form no field."""
    dag = migration_dag("pinned", "s3://bucket/in/", "az://container/out", via="auto", pinned=["via"])
    assert dag.params.get_param("via").schema["const"] == "auto"
    copy: Any = dag.get_task("copy")
    assert copy.partial_kwargs["via"] == "{{ params.via }}"


@pytest.mark.slow
def test_a_mixed_bucket_is_accounted_for_with_each_way_where_it_should_be(
    migrate: Any, fill: Any, azure: FetchingAzure, container: ContainerClient
) -> None:
    """Azure fetches what it can; long keys, other checksums, small and archived objects go the worker's way."""
    fill("in/fetched/1", LARGE)
    fill("in/fetched/2", LARGE[: MIB + 1])
    fill("in/one", b"small")
    fill("in/crc32", LARGE, ChecksumAlgorithm="CRC32")
    fill(LONG, LARGE)
    fill("in/archived", LARGE, StorageClass="GLACIER")
    fill("in/empty", b"")
    ran = migrate(via="auto")
    report = ran.only("report").xcom
    assert ran.state == "success"
    assert {name: report[name]["objects"] for name in ("listed", "copied", "skipped", "failed")} == {
        "listed": 7,
        "copied": 6,
        "skipped": 1,
        "failed": 0,
    }
    receipts = receipts_of(container)
    assert {key: (each["via"], each["not_fetched"]) for key, each in receipts.items()} == {
        "in/fetched/1": ("azure", ""),
        "in/fetched/2": ("azure", ""),
        "in/one": ("worker", "one_request"),
        "in/crc32": ("worker", "no_crc64nvme"),
        LONG: ("worker", "long_url"),
        "in/archived": ("worker", "archive_class"),
        "in/empty": ("worker", ""),
    }
    assert all(
        each["verified_by"].startswith("crc")
        for each in receipts.values()
        if each["status"] == "copied" and each["size_bytes"]
    )
    assert azure.counts.staged == 5
    assert report["fetched"] == {
        "objects": 2,
        "size_bytes": len(LARGE) + MIB + 1,
        "blocks_fetched": 5,
        "blocks_streamed": 0,
    }
    plan = xcom_of(ran, "plan", PLAN_KEY)
    assert (plan["via"], plan["fetched"]["objects"]) == ("auto", 3)
    assert set(plan["not_fetched"]) == {"one_request", "long_url", "archive_class"}
    for key, body in {"out/fetched/1": LARGE, "out/crc32": LARGE, LONG.replace("in", "out", 1): LARGE}.items():
        assert container.download_blob(key).readall() == body


@pytest.mark.slow
def test_azure_cannot_send_a_customers_key(
    migrate: Any, fill: Any, azure: FetchingAzure, container: ContainerClient
) -> None:
    """Where the migration reads with a key, the worker copies everything, and the report says why once."""
    fill("in/secret", LARGE, SSECustomerAlgorithm="AES256", SSECustomerKey=CUSTOMER_KEY)
    reading = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": base64.b64encode(CUSTOMER_KEY).decode()}
    report = migrate(via="auto", s3_extra_args={"extra_args": reading}).only("report").xcom
    assert (report["copied"]["objects"], report["failed"]["objects"]) == (1, 0)
    assert report["not_fetched"] == {"sse_c": {"objects": 1, "size_bytes": len(LARGE)}}
    assert azure.counts.asked == 0
    assert container.download_blob("out/secret").readall() == LARGE
