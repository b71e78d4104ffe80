"""The demo's two nights: fill the bucket, run the real DAG, show what it did, prove every blob."""

import gzip
import hashlib
import json
import time
from typing import Any, Final

import boto3
from azure.storage.blob import BlobServiceClient, ContainerClient
from botocore.config import Config
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn
from rich.table import Table

from demo.airflow_instance import Airflow
from demo.samples import Sample, samples, upload
from local_cloud.servers import LocalAzure, LocalS3

DAG_ID: Final = "s3_to_azure_migration"
_BUCKET: Final = "demo-source"
_PREFIX: Final = "nightly/"
_CONTAINER: Final = "demo-destination"
_STATE: Final = "_s3_to_azure/"
_PARSE_S: Final = 60.0
_NIGHT_S: Final = 240.0
_POLL_S: Final = 1.0
_ENDED: Final = ("success", "failed")


class DemoError(RuntimeError):
    """The demo did not show what it promises."""


class Migration:
    """The samples' way from the local S3 to the local Azure.

    Args:
        s3: The local S3.
        azure: The local Azure.
        console: Where to tell of it.
    """

    def __init__(self, s3: LocalS3, azure: LocalAzure, console: Console) -> None:
        """Keep the servers; nothing is sent yet."""
        self._s3 = s3
        self._azure = azure
        self._console = console
        self._samples: list[Sample] = samples(_PREFIX)

    def prepare(self) -> None:
        """Fill the bucket and make an empty container."""
        client = boto3.client(
            "s3",
            endpoint_url=self._s3.endpoint_url,
            region_name=self._s3.region,
            aws_access_key_id=self._s3.access_key,
            aws_secret_access_key=self._s3.secret_key,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )
        upload(client, _BUCKET, self._samples)
        self._container().create_container()
        total = sum(sample.size_bytes for sample in self._samples)
        self._console.print(f"Filled s3://{_BUCKET}/{_PREFIX} with {len(self._samples)} objects, {total:,} bytes.")

    def environment(self) -> dict[str, str]:
        """Return the variables by which Airflow finds both servers and the DAG its migration."""
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
            "S3_TO_AZURE_SOURCE": f"s3://{_BUCKET}/{_PREFIX}",
            "S3_TO_AZURE_DESTINATION": f"az://{_CONTAINER}/",
            # With a schedule, Airflow would make up for last night as soon as the DAG is unpaused.
            "S3_TO_AZURE_SCHEDULE": "",
        }

    def first_night(self, airflow: Airflow) -> None:
        """Run the DAG and show a receipt for each object.

        Raises:
            DemoError: An object is not accounted for as it must be.
        """
        self._console.rule("First night")
        self._wait_for_dag(airflow)
        receipts = self._receipts(self._night(airflow))
        self._show(receipts)
        expected = {s.key: "skipped" if s.refused else "copied" for s in self._samples}
        actual = {receipt["key"]: receipt["status"] for receipt in receipts}
        if actual != expected:
            different = {
                key: (actual.get(key), wanted) for key, wanted in expected.items() if actual.get(key) != wanted
            }
            raise DemoError(f"these objects are not accounted for as they must be (is, must be): {different}")

    def second_night(self, airflow: Airflow) -> None:
        """Run the DAG again and show that no byte is sent.

        Raises:
            DemoError: A byte was sent, or a blob was written.
        """
        self._console.rule("Second night")
        before = self._etags()
        receipts = self._receipts(self._night(airflow))
        sent = sum(receipt["bytes_sent"] for receipt in receipts)
        unchanged = sum(receipt["status"] == "unchanged" for receipt in receipts)
        self._console.print(f"{unchanged} objects unchanged; [bold]{sent} bytes sent[/].")
        wanted = sum(not sample.refused for sample in self._samples)
        if sent or unchanged != wanted or self._etags() != before:
            raise DemoError("the second night copied something that had not changed")

    def prove(self) -> None:
        """Read every blob back from Azure and compare it with the content that was generated.

        Raises:
            DemoError: A blob differs, is missing, or is one too many.
        """
        self._console.rule("Proof")
        container = self._container()
        names = {name for name in container.list_blob_names() if not name.startswith(_STATE)}
        wanted = {sample.key.removeprefix(_PREFIX): sample for sample in self._samples if not sample.refused}
        if names != set(wanted):
            raise DemoError(
                f"missing blobs: {sorted(set(wanted) - names)}, blobs too many: {sorted(names - set(wanted))}"
            )
        for name, sample in wanted.items():
            download = container.download_blob(name, decompress=False)
            digest = hashlib.sha256()
            for chunk in download.chunks():
                digest.update(chunk)
            if digest.hexdigest() != sample.sha256():
                raise DemoError(f"blob {name!r} is not equal to its object")
            settings = download.properties.content_settings
            headers = (settings.content_type, settings.content_encoding, settings.content_disposition)
            sent = tuple(sample.headers.get(n) for n in ("ContentType", "ContentEncoding", "ContentDisposition"))
            if any(there != here for there, here in zip(headers, sent, strict=True) if here):
                raise DemoError(f"blob {name!r} has other content headers than its object: {headers}")
        self._console.print(f"{len(wanted)} blobs read back: all equal, byte for byte, content headers too.")

    def _wait_for_dag(self, airflow: Airflow) -> None:
        deadline = time.monotonic() + _PARSE_S
        while not any(dag["dag_id"] == DAG_ID for dag in airflow.get("dags")["dags"]):
            if time.monotonic() > deadline:
                raise DemoError(f"Airflow does not show the DAG {DAG_ID}: {airflow.get('importErrors')}")
            time.sleep(_POLL_S)
        airflow.unpause(DAG_ID)

    def _night(self, airflow: Airflow) -> str:
        """Trigger a run, follow it to its end, and return its id."""
        run_id = airflow.trigger(DAG_ID, {"refused_names": "skip"})
        self._console.print(f"Triggered {DAG_ID}: {run_id}")
        total = sum(sample.size_bytes for sample in self._samples if not sample.refused)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(binary_units=True),
            TransferSpeedColumn(),
        )
        deadline = time.monotonic() + _NIGHT_S
        told = ""
        with Progress(*columns, console=self._console, transient=True) as bar:
            shown = bar.add_task("", total=total)
            while (state := airflow.state(DAG_ID, run_id)) not in _ENDED:
                if time.monotonic() > deadline:
                    raise DemoError(f"the run is still {state} after {_NIGHT_S:.0f} s (log: {airflow.log})")
                tasks = airflow.task_instances(DAG_ID, run_id)
                words = _words(tasks)
                bar.update(shown, description=words, completed=self._bytes_there(airflow, run_id, tasks))
                if words != told and not self._console.is_terminal:
                    self._console.print(f"  {words}")
                told = words
                time.sleep(_POLL_S)
        if state != "success":
            raise DemoError(f"the run ended as {state}: {_words(airflow.task_instances(DAG_ID, run_id))}")
        return run_id

    def _bytes_there(self, airflow: Airflow, run_id: str, tasks: list[dict[str, Any]]) -> int:
        return sum(
            note.get("bytes_sent", 0) + note.get("bytes_resumed", 0)
            for task in tasks
            if task["task_id"] == "copy" and task["map_index"] >= 0
            for note in [airflow.note(DAG_ID, run_id, "copy", task["map_index"], "progress")]
        )

    def _receipts(self, run_id: str) -> list[dict[str, Any]]:
        """Return the run's receipts as the report left them in the state location."""
        container = self._container()
        folder = f"{_STATE}{DAG_ID}/"
        for name in container.list_blob_names(name_starts_with=folder):
            if name.endswith("/receipts.jsonl.gz") and self._is_of(name, run_id):
                lines = gzip.decompress(container.download_blob(name).readall()).splitlines()
                return [json.loads(line) for line in lines]
        raise DemoError(f"the run {run_id} left no receipts below {folder}")

    def _is_of(self, name: str, run_id: str) -> bool:
        from s3_to_azure.stores.azure_state import id_of  # noqa: PLC0415 - the SDKs are loaded by now

        return id_of(name.split("/")[2]) == run_id

    def _show(self, receipts: list[dict[str, Any]]) -> None:
        table = Table("object", "bytes", "status", "proof", "blocks", "seconds", "why", title="Receipts")
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
        return {blob.name: blob.etag for blob in blobs if not blob.name.startswith(_STATE)}

    def _container(self) -> ContainerClient:
        service = BlobServiceClient.from_connection_string(self._azure.connection_string)
        return service.get_container_client(_CONTAINER)


def _words(tasks: list[dict[str, Any]]) -> str:
    """Say how far a run is: each task's state, the mapped one's counted."""
    told = []
    for task_id in ("wait_for_objects", "plan", "copy", "report"):
        mine = [task for task in tasks if task["task_id"] == task_id]
        if len(mine) > 1:
            done = sum(task["state"] == "success" for task in mine)
            told.append(f"{task_id} {done}/{len(mine)}")
        else:
            told.append(f"{task_id} {(mine[0]['state'] if mine else None) or '-'}")
    return " · ".join(told)
