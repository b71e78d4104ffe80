"""The work of a task that copies all objects below a prefix."""

import logging
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import Any

from s3_to_azure.airflow.failure_log import FailureLog
from s3_to_azure.airflow.jobs import Endpoints, summary_line, try_text
from s3_to_azure.airflow.metrics import Measured
from s3_to_azure.model.errors import TransferError
from s3_to_azure.model.formatting import count_text, size_text
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.reasons import FAILED, FINAL_STATUSES, code_of, short_code
from s3_to_azure.planning.plan import Plan
from s3_to_azure.runs.prefix import copy_in_this_process, plan_and_copy, prefix_plan_settings
from s3_to_azure.runs.report import make_report
from s3_to_azure.state.manifest import write_manifest
from s3_to_azure.state.plan import PlanReference
from s3_to_azure.stores.temporary_state import TemporaryState
from s3_to_azure.transfer.context import TransferContext

log = logging.getLogger(__name__)


class PrefixJob:
    """Lists, plans, copies and reports all objects below a prefix in one task, without a DAG around it.

    A blob's name is ``blob_prefix`` + the key without ``prefix``.

    Args:
        context: The stores, the settings and the counts.
        endpoints: The bucket and the container.
        files: The run's state files, which keep manifest, plan, receipts and report; None: they are temporary, and
            only the blobs are written to Azure.
        prefix: What the keys begin with.
        blob_prefix: What the blobs' names begin with.
        try_number: For the receipts.
        run: The same for all tries of the task, as ``run_state.run_of_tries`` returns it.
    """

    def __init__(
        self,
        context: TransferContext,
        endpoints: Endpoints,
        files: StateFiles | None,
        *,
        prefix: str,
        blob_prefix: str,
        try_number: int,
        run: str = "",
    ) -> None:
        self.is_listing = True
        self.one_object: tuple[str, str] | None = None
        self.measured: Measured | None = None
        self._context = context
        self._endpoints = endpoints
        self._files = files
        self._prefix = prefix
        self._blob_prefix = blob_prefix
        self._try_number = try_number
        self._run = run
        self._plan: PlanReference | None = None

    def run(self) -> dict[str, Any]:
        """Copy the objects; return the counts by status and reason.

        Raises:
            SomeObjectsFailed: No retry can help the objects that failed; all others are done.
            RetryableObjectsFailed: A retry may help at least one object; it does not copy again what is done.
        """
        began = time.monotonic()
        self._context.check_access(self._endpoints.bucket, create_container=self._endpoints.create_container)
        log.info(
            "Looking at all objects below %r in S3 bucket %s, to copy them to %r in Azure container %s",
            self._prefix,
            self._endpoints.bucket,
            self._blob_prefix,
            self._context.destination.container,
        )
        counts = _ReceiptCounts()
        with ExitStack() as stack:
            error = self._copy(self._files or stack.enter_context(TemporaryState()), counts)
        summary = self._summary(counts, time.monotonic() - began)
        self.measured = Measured(
            objects=counts.statuses,
            size_bytes=counts.size_bytes,
            failures=counts.failed,
            **{name: summary[name] for name in ("bytes_sent", "bytes_resumed", "retries", "seconds")},
        )
        counts.failures.end(summary_line(summary), error)
        if error:
            raise error
        return summary

    def _copy(self, files: StateFiles, counts: "_ReceiptCounts") -> TransferError | None:
        """List, plan, copy and report; return the error of the objects that failed."""
        context, bucket = self._context, self._endpoints.bucket
        listing = context.source.list(bucket, self._prefix)
        pointer = write_manifest(listing, files, bucket=bucket, prefix=self._prefix, retrier=context.retrier)
        settings = prefix_plan_settings(
            context, pointer, s3_prefix=self._prefix, blob_prefix=self._blob_prefix, run=self._run
        )
        copy_batches = partial(
            copy_in_this_process,
            context,
            files,
            bucket,
            settings,
            try_number=self._try_number,
            keep_receipts=self._files is not None,
        )
        error = plan_and_copy(
            context,
            files,
            pointer,
            settings,
            copy_batches=copy_batches,
            try_number=self._try_number,
            on_plan=self._start,
            on_receipt=counts.add,
        )
        if self._files:
            report = make_report(
                files, pointer, destination=context.destination, plan=self._plan, try_number=self._try_number
            )
            log.info("Receipts and report: %s", report.location)
        return error

    def _start(self, plan: Plan) -> None:
        self.is_listing = False
        self._plan = plan.reference
        log.info(
            "Copying %s (%s) of %s%s, below %r in S3 bucket %s to %r in Azure container %s",
            count_text(plan.copy.objects, "object"),
            size_text(plan.copy.size_bytes),
            f"{plan.listed.objects:,}",
            try_text(self._try_number),
            self._prefix,
            self._endpoints.bucket,
            self._blob_prefix,
            self._context.destination.container,
        )

    def _summary(self, counts: "_ReceiptCounts", seconds: float) -> dict[str, Any]:
        totals = self._context.progress.snapshot()
        return {
            "bucket": self._endpoints.bucket,
            "prefix": self._prefix,
            "container": self._context.destination.container,
            "blob_prefix": self._blob_prefix,
            "objects": counts.statuses.total(),
            **{status: counts.statuses[status] for status in FINAL_STATUSES},
            "reasons": dict(counts.reasons),
            "verified_by": dict(counts.levels),
            "bytes_sent": totals.bytes_sent,
            "bytes_resumed": totals.bytes_resumed,
            "retries": totals.retries,
            "slow_downs": totals.slow_downs,
            "seconds": round(seconds, 3),
            "try_number": self._try_number,
        }


class _ReceiptCounts:
    """Counts receipts by status, by reason, and by verification level; logs failures."""

    def __init__(self) -> None:
        self.statuses = Counter[str]()
        self.reasons = Counter[str]()
        self.levels = Counter[str]()
        self.failed = Counter[str]()
        self.size_bytes = Counter[str]()
        self.failures = FailureLog()

    def add(self, receipt: Receipt) -> None:
        self.failures.add(receipt)
        self.statuses[receipt.status] += 1
        self.size_bytes[receipt.status] += receipt.size_bytes
        if receipt.status == FAILED:
            self.failed[short_code(receipt.reason)] += 1
        if receipt.reason:
            self.reasons[code_of(receipt.reason)] += 1
        if receipt.verified_by:
            self.levels[receipt.verified_by] += 1
