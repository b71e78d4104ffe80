"""The demo's night of odd objects: 2,000 objects of every odd kind, each with its expected result."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from azure.storage.blob import BlobServiceClient, ContainerClient
from rich.console import Console
from rich.table import Table

from demo.airflow_instance import Airflow
from demo.airflow_runs import DemoError, receipts_of, run_dag, wait_for_dag
from demo.migration import s3_client
from demo.oddities import CHOICES, OBJECTS, Oddity, oddities, prepare_container
from local_cloud.servers import LocalAzure, LocalS3

ODDITIES_DAG_ID: Final = "every_oddity"
_BUCKET: Final = "demo-oddities"
_CONTAINER: Final = "demo-oddities"
_STATE_CONTAINER: Final = "demo-oddities-state"
_AT_ONCE: Final = 8


class OddityNight:
    """The migration of odd objects from the local S3 to the local Azure.

    Args:
        s3: The local S3.
        azure: The local Azure.
        console: The console to print to.
    """

    def __init__(self, s3: LocalS3, azure: LocalAzure, console: Console) -> None:
        self._s3 = s3
        self._service = BlobServiceClient.from_connection_string(azure.connection_string)
        self._console = console
        self._oddities: dict[str, Oddity] = {oddity.key: oddity for oddity in oddities()}

    def prepare(self) -> None:
        """Fill the bucket, and the container with blobs that are in the way."""
        client = s3_client(self._s3, connections=_AT_ONCE)
        client.create_bucket(Bucket=_BUCKET)
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            list(workers.map(lambda oddity: oddity.upload(client, _BUCKET), self._oddities.values()))
        client.close()
        container = self._container(_CONTAINER)
        container.create_container()
        prepare_container(container, OBJECTS)
        kinds = len({oddity.kind for oddity in self._oddities.values()})
        self._console.print(f"Filled s3://{_BUCKET}/ with {OBJECTS:,} objects of {kinds} odd kinds.")

    def environment(self) -> dict[str, str]:
        """Return the variables of the demo's second DAG."""
        return {
            "DEMO_ODDITIES_SOURCE": f"s3://{_BUCKET}/",
            "DEMO_ODDITIES_DESTINATION": f"az://{_CONTAINER}",
            "DEMO_ODDITIES_STATE": _STATE_CONTAINER,
            "DEMO_ODDITIES_FIDELITY": json.dumps(CHOICES),
        }

    def run(self, airflow: Airflow) -> None:
        """Run the DAG and check the result of every object.

        Raises:
            DemoError: An object has another status, reason, verification level or blob than expected.
        """
        self._console.rule("A night of odd objects")
        wait_for_dag(airflow, ODDITIES_DAG_ID)
        refused = sum(oddity.status == "failed" for oddity in self._oddities.values())
        self._console.print(
            f"{refused:,} of these objects cannot be copied: this run is meant to end red, after all others are copied."
        )
        run_id = run_dag(airflow, self._console, ODDITIES_DAG_ID, {}, state="failed")
        receipts = receipts_of(self._container(_STATE_CONTAINER), ODDITIES_DAG_ID, run_id)
        self._show(receipts)
        self._check(receipts)
        copied = [oddity for oddity in self._oddities.values() if oddity.status == "copied"]
        container = self._container(_CONTAINER)
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            list(workers.map(lambda oddity: _compare(container, oddity), copied))
        self._console.print(f"{len(copied):,} blobs read back: all are equal to their objects, byte for byte.")

    def _show(self, receipts: list[dict[str, Any]]) -> None:
        """Print one row per kind and result, and the sum of all."""
        table = Table("kind", "objects", "status", "reason", "verified by", title="Results")
        rows = Counter(
            (
                self._oddities[receipt["key"]].kind,
                receipt["status"],
                receipt["reason"].partition(":")[0],
                receipt["verified_by"],
            )
            for receipt in receipts
        )
        colours = {"copied": "green", "skipped": "yellow", "failed": "red"}
        for (kind, status, reason, proof), count in rows.items():
            table.add_row(kind, f"{count:,}", f"[{colours.get(status, 'white')}]{status}[/]", reason, proof)
        self._console.print(table)
        counts = Counter(receipt["status"] for receipt in receipts)
        statuses = " + ".join(f"{counts[status]:,} {status}" for status in ("copied", "unchanged", "skipped", "failed"))
        self._console.print(f"[bold]{OBJECTS:,} in the bucket = {len(receipts):,} listed = {statuses}[/]")

    def _check(self, receipts: list[dict[str, Any]]) -> None:
        found = {receipt["key"]: receipt for receipt in receipts}
        if len(receipts) != len(found) or set(found) != set(self._oddities):
            raise DemoError("The receipts do not name every object once.")
        for key, oddity in self._oddities.items():
            receipt = found[key]
            actual = [receipt["status"], receipt["reason"].partition(":")[0]]
            expected = [oddity.status, oddity.reason]
            if oddity.status == "copied":
                actual += [receipt["verified_by"], receipt["blob"]]
                expected += [oddity.level, oddity.blob_name]
            if actual != expected:
                raise DemoError(f"{key!r} ({oddity.kind}) has the result {actual}, expected {expected}.")

    def _container(self, name: str) -> ContainerClient:
        return self._service.get_container_client(name)


def _compare(container: ContainerClient, oddity: Oddity) -> None:
    if container.download_blob(oddity.blob_name, decompress=False).readall() != oddity.data:
        raise DemoError(f"The blob {oddity.blob_name!r} differs from its object.")
