"""Airflow's database, the logs and the state files of a failed run hold no secret."""

import gzip
import json
import logging
import os
import sqlite3
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import AZURITE_KEY
from s3_to_azure.dag import migration_dag
from tests.airflow.airflow_runs import run_dag

SECRET = f"aws-secret-{uuid4().hex}"


def whole_database() -> str:
    """Return the whole of Airflow's database: XComs, state store, rendered templates, serialised DAGs and more."""
    with sqlite3.connect(os.environ["AIRFLOW__DATABASE__SQL_ALCHEMY_CONN"].removeprefix("sqlite:///")) as connection:
        dump = "\n".join(connection.iterdump())
    connection.close()
    return dump


def _state(container: ContainerClient) -> str:
    """Return the state files: manifest, plan, receipts and report."""
    texts = []
    for name in container.list_blob_names(name_starts_with="_s3_to_azure/"):
        data = bytes(container.download_blob(name, decompress=False).readall())
        texts.append((gzip.decompress(data) if data[:2] == b"\x1f\x8b" else data).decode(errors="replace"))
    return "\n".join(texts)


def test_invariant_9_a_failing_run_leaves_no_secret_anywhere(
    connections: dict[str, Any],
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """XCom, state store, rendered templates, receipts, report, logs: none holds a key or a signature."""
    aws = json.loads(os.environ["AIRFLOW_CONN_AWS_LOCAL"]) | {"password": SECRET}
    monkeypatch.setenv("AIRFLOW_CONN_AWS_LOCAL", json.dumps(aws))
    for key in ("in/fine", "in/taken"):
        s3_client.put_object(Bucket=bucket, Key=key, Body=b"x", ChecksumAlgorithm="CRC64NVME")
    container.get_blob_client("out/taken").create_append_blob()
    dag_id = f"leaks-{uuid4().hex}"
    destination = f"az://{container.container_name}/out"
    dag = migration_dag(dag_id, f"s3://{bucket}/in/", destination, retries=0, **connections)
    with caplog.at_level(logging.DEBUG):
        ran = run_dag(dag)
    assert ran.state == "failed"
    database, state = whole_database(), _state(container)
    # Both hold traces of this run, so the search below can find something.
    assert dag_id in database
    assert "in/taken" in state
    everything = database + state + "\n".join(record.getMessage() for record in caplog.records)
    everything += "".join(capfd.readouterr())
    assert [secret for secret in (SECRET, AZURITE_KEY) if secret in everything] == []
    assert "X-Amz-Signature" not in database + state
    assert "sig=" not in database + state
