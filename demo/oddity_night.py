"""The demo's night of oddities: 2,000 objects of every odd kind, accounted for to the last one."""

import json
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

from azure.storage.blob import BlobServiceClient, ContainerClient
from rich.console import Console
from rich.table import Table

from demo.airflow_instance import Airflow
from demo.airflow_runs import DemoError, followed, receipts_of, wait_for_dag
from demo.migration import s3_client
from demo.oddities import CHOICES, OBJECTS, Oddity, oddities, prepare_container
from local_cloud.servers import LocalAzure, LocalS3

ODDITIES_DAG_ID: Final = "every_oddity"
_BUCKET: Final = "demo-oddities"
_CONTAINER: Final = "demo-oddities"
_STATE_CONTAINER: Final = "demo-oddities-state"
_AT_ONCE: Final = 8


class OddityNight:
    """The oddities' way from the local S3 to the local Azure.

    Args:
        s3: The local S3.
        azure: The local Azure.
        console: Where to tell of it.
    """

    def __init__(self, s3: LocalS3, azure: LocalAzure, console: Console) -> None:
        """Keep the servers; nothing is sent yet."""
        self._s3 = s3
        self._service = BlobServiceClient.from_connection_string(azure.connection_string)
        self._console = console
        self._oddities: dict[str, Oddity] = {oddity.key: oddity for oddity in oddities()}

    def prepare(self) -> None:
        """Fill the bucket, and the container with what stands in the way."""
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
        """Return the variables by which the demo's second DAG file finds its migration."""
        return {
            "DEMO_ODDITIES_SOURCE": f"s3://{_BUCKET}/",
            "DEMO_ODDITIES_DESTINATION": f"az://{_CONTAINER}",
            "DEMO_ODDITIES_STATE": _STATE_CONTAINER,
            "DEMO_ODDITIES_FIDELITY": json.dumps(CHOICES),
        }

    def run(self, airflow: Airflow) -> None:
        """Run the DAG and account for every object.

        Raises:
            DemoError: An object is not where it must be, not proven as it can be, or not accounted for.
        """
        self._console.rule("A night of oddities")
        wait_for_dag(airflow, ODDITIES_DAG_ID)
        # Some must fail: their run ends as failed, after all else was copied.
        run_id = followed(airflow, self._console, ODDITIES_DAG_ID, {}, state="failed")
        receipts = receipts_of(self._container(_STATE_CONTAINER), ODDITIES_DAG_ID, run_id)
        self._show(receipts)
        self._check(receipts)
        copied = [oddity for oddity in self._oddities.values() if oddity.status == "copied"]
        container = self._container(_CONTAINER)
        with ThreadPoolExecutor(_AT_ONCE) as workers:
            list(workers.map(lambda oddity: _compare(container, oddity), copied))
        self._console.print(f"{len(copied):,} blobs read back: all equal, byte for byte.")

    def _show(self, receipts: list[dict[str, Any]]) -> None:
        """Print one row for each kind and outcome, and the sum that must come out even."""
        table = Table("what is odd", "objects", "became", "why", "proven by", title="Accounted for")
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
        told = " + ".join(f"{counts[status]:,} {status}" for status in ("copied", "unchanged", "skipped", "failed"))
        self._console.print(f"[bold]{OBJECTS:,} in the bucket = {len(receipts):,} listed = {told}[/]")

    def _check(self, receipts: list[dict[str, Any]]) -> None:
        found = {receipt["key"]: receipt for receipt in receipts}
        if len(receipts) != len(found) or set(found) != set(self._oddities):
            raise DemoError("the receipts do not name every object once")
        for key, oddity in self._oddities.items():
            receipt = found[key]
            shown = [receipt["status"], receipt["reason"].partition(":")[0]]
            wanted = [oddity.status, oddity.reason]
            if oddity.status == "copied":
                shown += [receipt["verified_by"], receipt["blob"]]
                wanted += [oddity.level, oddity.blob_name]
            if shown != wanted:
                raise DemoError(f"{key!r} ({oddity.kind}) became {shown}, must become {wanted}")

    def _container(self, name: str) -> ContainerClient:
        return self._service.get_container_client(name)


def _compare(container: ContainerClient, oddity: Oddity) -> None:
    if container.download_blob(oddity.blob_name, decompress=False).readall() != oddity.data:
        raise DemoError(f"blob {oddity.blob_name!r} is not equal to its object")
