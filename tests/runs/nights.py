"""A night, which is one scheduled run, without Airflow: list, plan, copy all batches, report."""

import os
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from typing import Any

from s3_to_azure.model.errors import RetryableObjectsFailed, SomeObjectsFailed
from s3_to_azure.model.objects import BlobContents, BlobState, Condition
from s3_to_azure.model.ports import BlobDestination, ObjectSource, StateFiles
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import CopySettings, RetryBudget
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch import BatchSummary, copy_batch
from s3_to_azure.runs.report import Report, make_report
from s3_to_azure.state.manifest import ManifestPointer, write_manifest
from s3_to_azure.transfer.context import TransferContext, open_context

QUICK = RetryBudget(attempts=3, first_wait_s=0.001, longest_wait_s=0.002)


@dataclass
class Night:
    """One scheduled run over stores and state files that a test chooses.

    Attributes:
        settings: The plan's settings; the copies take overwrite, budget and block size from them.
    """

    source: ObjectSource
    destination: BlobDestination
    files: StateFiles
    bucket: str
    settings: PlanSettings = field(default_factory=lambda: PlanSettings(s3_prefix="", blob_prefix=""))
    objects_at_once: int = 4

    def make_manifest(self) -> ManifestPointer:
        """List the bucket into a manifest."""
        listing = self.source.list(self.bucket, self.settings.s3_prefix)
        quick = Retrier(QUICK, threading.Event())
        return write_manifest(listing, self.files, bucket=self.bucket, prefix=self.settings.s3_prefix, retrier=quick)

    def plan(self, pointer: ManifestPointer) -> Plan:
        """Plan the copies."""
        return make_plan(self.files, pointer, self.destination, self.settings)

    def copy_settings(self) -> CopySettings:
        """Return the settings of a copy task."""
        return CopySettings(
            overwrite=self.settings.overwrite,
            integrity=self.settings.integrity,
            via=self.settings.via,
            memory_budget_bytes=self.settings.memory_budget_bytes,
            block_bytes=self.settings.block_bytes,
            objects_at_once=self.objects_at_once,
            connections=4,
            retry=QUICK,
        )

    def context(self, cancelled: threading.Event | None = None) -> AbstractContextManager[TransferContext]:
        """Open the transfer context of one copy task."""
        return open_context(self.source, self.destination, self.copy_settings(), cancelled=cancelled)

    def copy(
        self, plan: Plan, index: int, *, try_number: int = 1, cancelled: threading.Event | None = None, **options: Any
    ) -> BatchSummary:
        """Copy one batch as a mapped task does."""
        with self.context(cancelled) as context:
            return copy_batch(
                context,
                self.files,
                plan.batches[index],
                bucket=self.bucket,
                s3_prefix=self.settings.s3_prefix,
                blob_prefix=self.settings.blob_prefix,
                try_number=try_number,
                **options,
            )

    def run(self) -> tuple[Plan, list[BatchSummary], Report]:
        """List, plan, copy and report."""
        return self.run_from(self.make_manifest())

    def run_from(self, pointer: ManifestPointer) -> tuple[Plan, list[BatchSummary], Report]:
        """Plan, copy and report."""
        plan = self.plan(pointer)
        summaries = [self.copy(plan, batch.index) for batch in plan.batches]
        return plan, summaries, make_report(self.files, pointer)

    def report_of_run(self) -> Report:
        """List, plan, copy and report, whether or not all objects are copied."""
        return self.report_of(self.make_manifest())

    def report_of(self, pointer: ManifestPointer) -> Report:
        """Plan, copy and report, whether or not all objects are copied."""
        plan = self.plan(pointer)
        for batch in plan.batches:
            with suppress(SomeObjectsFailed, RetryableObjectsFailed):
                self.copy(plan, batch.index)
        return make_report(self.files, pointer)

    def with_settings(self, **changes: Any) -> "Night":
        """Return the same run with other plan settings."""
        return replace(self, settings=replace(self.settings, **changes))


class CountingDestination:
    """Wraps a destination, and counts the bytes sent to it, before each request, and its commits and lookups.

    Args:
        destination: The destination to wrap.
        on_sent: Called after each successful Put Block and Put Blob.
        log: A file descriptor that receives the size of each request, for a process that will be killed.
    """

    def __init__(
        self, destination: BlobDestination, *, on_sent: Callable[[], None] = lambda: None, log: int | None = None
    ) -> None:
        self.container = destination.container
        self.bytes_sent = self.commits = self.lookups = 0
        self._destination = destination
        self._on_sent = on_sent
        self._log = log
        self._lock = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        """Return any other attribute of the wrapped destination."""
        return getattr(self._destination, name)

    def head(self, blob: str) -> BlobState | None:
        """Count the lookup, and look."""
        self.lookups += 1
        return self._destination.head(blob)

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        """Count and send."""
        self._count(len(data))
        self._destination.stage_block(blob, block_id, data, crc64)
        self._on_sent()

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        """Count and send."""
        self._count(len(data))
        etag = self._destination.put_blob(blob, data, crc64, contents, condition)
        self._on_sent()
        return etag

    def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
        """Commit, and count it if it was accepted."""
        etag = self._destination.commit(blob, block_ids, contents, condition)
        with self._lock:
            self.commits += 1
        return etag

    def _count(self, size_bytes: int) -> None:
        with self._lock:
            self.bytes_sent += size_bytes
            if self._log is not None:
                os.write(self._log, f"{size_bytes}\n".encode())
