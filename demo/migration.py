"""The demo's two nights: fill the bucket, run the real DAG, show its receipts, compare every blob."""

import hashlib
import json
from typing import Any, Final

import boto3
from azure.storage.blob import BlobServiceClient, ContainerClient
from botocore.config import Config
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from demo.airflow_instance import ROOT, Airflow
from demo.airflow_runs import STATE, DemoError, Tasks, receipts_of, run_dag, wait_for_dag
from demo.samples import Sample, samples, upload
from local_cloud.servers import LocalAzure, LocalS3

DAG_ID: Final = "s3_to_azure_migration"
_BUCKET: Final = "demo-source"
_PREFIX: Final = "nightly/"
SOURCE: Final = f"s3://{_BUCKET}/{_PREFIX}"
_CONTAINER: Final = "demo-destination"
_LOCAL: Final = "airflow.dag_processing.bundles.local.LocalDagBundle"
_BUNDLES: Final = [
    {"name": "dags-folder", "classpath": _LOCAL, "kwargs": {}},
    {"name": "demo", "classpath": _LOCAL, "kwargs": {"path": str(ROOT / "demo" / "dags")}},
]


class Migration:
    """The migration of the samples from the local S3 to the local Azure.

    Args:
        s3: The local S3.
        azure: The local Azure.
        console: The console to print to.
    """

    def __init__(self, s3: LocalS3, azure: LocalAzure, console: Console) -> None:
        self._s3 = s3
        self._azure = azure
        self._console = console
        self._samples: list[Sample] = samples(_PREFIX)

    def prepare(self) -> None:
        """Fill the bucket and create an empty container."""
        upload(s3_client(self._s3), _BUCKET, self._samples)
        self._container().create_container()
        total = sum(sample.size_bytes for sample in self._samples)
        self._console.print(f"Filled {SOURCE} with {len(self._samples)} objects, {total:,} bytes.")

    def environment(self) -> dict[str, str]:
        """Return the variables of Airflow's connections and of the DAG."""
        aws = {
            "conn_type": "aws",
            "login": self._s3.access_key,
            "password": self._s3.secret_key,
            "extra": {
                "endpoint_url": self._s3.endpoint_url,
                "region_name": self._s3.region,
                "config_kwargs": {"s3": {"addressing_style": "path"}},
            },
        }
        wasb = {"conn_type": "wasb", "extra": {"connection_string": self._azure.connection_string}}
        return {
            "AIRFLOW_CONN_AWS_DEFAULT": json.dumps(aws),
            "AIRFLOW_CONN_WASB_DEFAULT": json.dumps(wasb),
            "S3_TO_AZURE_SOURCE": SOURCE,
            "S3_TO_AZURE_DESTINATION": f"az://{_CONTAINER}/",
            # With a schedule, Airflow would start a run for last night as soon as the DAG is unpaused.
            "S3_TO_AZURE_SCHEDULE": "",
            "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps(_BUNDLES),
        }

    def first_night(self, airflow: Airflow) -> None:
        """Run the DAG and show a receipt for each object.

        Raises:
            DemoError: An object has another status than expected.
        """
        self._console.rule("First night")
        wait_for_dag(airflow, DAG_ID)
        receipts = receipts_of(self._container(), DAG_ID, self._night(airflow))
        self._show(receipts)
        expected = {s.key: "skipped" if s.refused else "copied" for s in self._samples}
        actual = {receipt["key"]: receipt["status"] for receipt in receipts}
        if actual != expected:
            different = {
                key: (actual.get(key), status) for key, status in expected.items() if actual.get(key) != status
            }
            raise DemoError(f"These objects have a wrong status (actual, expected): {different}")

    def second_night(self, airflow: Airflow) -> None:
        """Run the DAG again and show that it sends no byte.

        Raises:
            DemoError: A byte was sent, or a blob was written.
        """
        self._console.rule("Second night")
        before = self._etags()
        receipts = receipts_of(self._container(), DAG_ID, self._night(airflow))
        sent = sum(receipt["bytes_sent"] for receipt in receipts)
        unchanged = sum(receipt["status"] == "unchanged" for receipt in receipts)
        self._console.print(f"{unchanged} objects unchanged; [bold]{sent} bytes sent[/].")
        expected = sum(not sample.refused for sample in self._samples)
        if sent or unchanged != expected or self._etags() != before:
            raise DemoError("The second night copied an object that had not changed.")

    def compare(self) -> None:
        """Read every blob back from Azure and compare it with the generated content.

        Raises:
            DemoError: A blob differs, is missing, or has no object.
        """
        self._console.rule("Comparison")
        container = self._container()
        names = {name for name in container.list_blob_names() if not name.startswith(STATE)}
        expected = {sample.key.removeprefix(_PREFIX): sample for sample in self._samples if not sample.refused}
        if names != set(expected):
            missing, unexpected = sorted(set(expected) - names), sorted(names - set(expected))
            raise DemoError(f"Missing blobs: {missing}; blobs without an object: {unexpected}.")
        for name, sample in expected.items():
            download = container.download_blob(name, decompress=False)
            digest = hashlib.sha256()
            for chunk in download.chunks():
                digest.update(chunk)
            if digest.hexdigest() != sample.sha256():
                raise DemoError(f"The blob {name!r} differs from its object.")
            settings = download.properties.content_settings
            headers = (settings.content_type, settings.content_encoding, settings.content_disposition)
            sent = tuple(sample.headers.get(n) for n in ("ContentType", "ContentEncoding", "ContentDisposition"))
            if any(there != here for there, here in zip(headers, sent, strict=True) if here):
                raise DemoError(f"The blob {name!r} has other content headers than its object: {headers}.")
        self._console.print(
            f"{len(expected)} blobs read back: all are equal to their objects, content headers included."
        )

    def _night(self, airflow: Airflow) -> str:
        """Trigger a run, wait for its end, and return its id."""
        total = sum(sample.size_bytes for sample in self._samples if not sample.refused)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
        )
        with Progress(*columns, console=self._console, transient=True) as bar:
            shown = bar.add_task("", total=total)

            def show(run_id: str, summary: str, tasks: Tasks) -> None:
                bar.update(shown, description=summary, completed=self._bytes_done(airflow, run_id, tasks))

            return run_dag(airflow, self._console, DAG_ID, {"refused_names": "skip"}, show=show)

    def _bytes_done(self, airflow: Airflow, run_id: str, tasks: Tasks) -> int:
        return sum(
            state.get("bytes_sent", 0) + state.get("bytes_resumed", 0)
            for task in tasks
            if task["task_id"] == "copy" and task["map_index"] >= 0
            for state in [airflow.task_state(DAG_ID, run_id, "copy", task["map_index"], "progress")]
        )

    def _show(self, receipts: list[dict[str, Any]]) -> None:
        table = Table("object", "bytes", "status", "verified by", "blocks", "seconds", "reason", title="Receipts")
        for receipt in receipts:
            table.add_row(
                receipt["key"].removeprefix(_PREFIX),
                f"{receipt['size_bytes']:,}",
                receipt["status"],
                receipt["verified_by"],
                str(receipt["blocks"]),
                f"{receipt['seconds']:.2f}",
                receipt["reason"].partition(":")[0],
            )
        self._console.print(table)

    def _etags(self) -> dict[str, str]:
        blobs = self._container().list_blobs()
        return {blob.name: blob.etag for blob in blobs if not blob.name.startswith(STATE)}

    def _container(self) -> ContainerClient:
        service = BlobServiceClient.from_connection_string(self._azure.connection_string)
        return service.get_container_client(_CONTAINER)


def s3_client(s3: LocalS3, connections: int = 10) -> Any:  # noqa: ANN401 - boto3 has no types
    """Return a boto3 client of the local S3."""
    return boto3.client(
        "s3",
        endpoint_url=s3.endpoint_url,
        region_name=s3.region,
        aws_access_key_id=s3.access_key,
        aws_secret_access_key=s3.secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=connections),
    )
