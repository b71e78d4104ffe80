"""A planned run whose copy tasks are simulated by the receipts that a test writes."""

import csv
import io
from dataclasses import replace
from typing import Any

from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.reasons import Status
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.reconcile import ObjectResult, reconcile
from s3_to_azure.runs.report import Report, make_report
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.state.plan import BatchDescriptor, read_plan_index
from s3_to_azure.state.receipts import ReceiptWriter
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import Night


class PlannedRun:
    """A bucket that was listed and planned.

    Args:
        count: Objects of 3 bytes.
        giant_bytes: Size of one more object, ``giant``; 0 for none.
        unchanged: How many of the objects are in the destination already.
    """

    def __init__(self, count: int, *, giant_bytes: int = 0, unchanged: int = 0, **options: Any) -> None:
        self.source, self.destination, self.files = MemorySource("bucket"), MemoryDestination(), MemoryState()
        for number in range(count):
            version = self.source.put("bucket", f"{number:04}", b"abc")
            if number < unchanged:
                self.destination.write(f"{number:04}", b"abc", metadata={"s3_etag": version.etag})
        if giant_bytes:
            self.source.put("bucket", "giant", bytes(giant_bytes))
        chosen = PlanSettings(s3_prefix="", blob_prefix="", block_bytes=MIB, **options)
        self.night = Night(self.source, self.destination, self.files, "bucket", chosen)
        self.pointer: ManifestPointer = self.night.make_manifest()
        self.plan: Plan = self.night.plan(self.pointer)

    def receipt(self, key: str, status: Status = "copied", **values: Any) -> Receipt:
        """Return a receipt of an object."""
        proof = "crc64nvme" if status == "copied" else ""
        return Receipt("bucket", key, "etag", 3, "container", key, status, verified_by=proof, **values)

    def write_receipts(self, batch: BatchDescriptor, *receipts: Receipt, try_number: int = 1) -> None:
        """Write the receipts of one try of a batch."""
        with ReceiptWriter(self.files, batch, try_number) as writer:
            for receipt in receipts:
                writer.add(replace(receipt, try_number=try_number))

    def results(self, destination: MemoryDestination | None = None) -> dict[str, ObjectResult]:
        """Reconcile; return the results by key, in the order of the listing."""
        found = list(reconcile(self.files, self.pointer, read_plan_index(self.files), destination))
        results = {listed.key: result for listed, result in found}
        assert len(results) == len(found)
        return results

    def report(self, **options: Any) -> Report:
        """Make the report."""
        return make_report(self.files, self.pointer, **options)

    def rows(self) -> list[dict[str, str]]:
        """Return the rows of the report's CSV file."""
        return list(csv.DictReader(io.StringIO(self.files.files["report.csv"].decode(), newline="")))
