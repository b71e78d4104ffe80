"""A task of all objects below a prefix."""

import logging
import time
from collections import Counter
from contextlib import ExitStack
from functools import partial
from typing import Any

from s3_to_azure.airflow.jobs import Places, summary_line, which_try
from s3_to_azure.model.formatting import count_text, size_text
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.reasons import FINAL_STATUSES, code_of
from s3_to_azure.planning.plan import Plan
from s3_to_azure.runs.prefix import copy_in_this_process, plan_and_copy, prefix_plan_settings
from s3_to_azure.runs.report import make_report
from s3_to_azure.state.manifest import write_manifest
from s3_to_azure.stores.temporary_state import SpooledState
from s3_to_azure.transfer.context import TransferContext

log = logging.getLogger(__name__)


class PrefixJob:
    """All objects below a prefix, each to ``blob_prefix`` and its key without ``prefix``.

    Args:
        context: Stores, settings, counts.
        places: Bucket and container.
        files: The run's state, with manifest, plan, receipts and report afterwards; None: it is gone
            afterwards, and nothing but the blobs is in Azure.
        prefix: Where the objects are.
        blob_prefix: Where the blobs go.
        try_number: For the receipts.
    """

    def __init__(
        self,
        context: TransferContext,
        places: Places,
        files: StateFiles | None,
        *,
        prefix: str,
        blob_prefix: str,
        try_number: int,
    ) -> None:
        """Nothing is listed yet."""
        self.listing = True
        self.one: tuple[str, str] | None = None
        self._context = context
        self._places = places
        self._files = files
        self._prefix = prefix
        self._blob_prefix = blob_prefix
        self._try_number = try_number

    def run(self) -> dict[str, Any]:
        """Copy them; return the counts by status and reason.

        Raises:
            SomeObjectsFailed: No retry can help those that failed; all others are done.
            RetryableObjectsFailed: A retry may help at least one; it does not copy again what is there.
        """
        began = time.monotonic()
        context, bucket = self._context, self._places.bucket
        context.check_access(bucket, create_container=self._places.create_container)
        statuses, reasons, proofs = Counter[str](), Counter[str](), Counter[str]()

        def count(receipt: Receipt) -> None:
            statuses[receipt.status] += 1
            if receipt.reason:
                reasons[code_of(receipt.reason)] += 1
            if receipt.verified_by:
                proofs[receipt.verified_by] += 1

        with ExitStack() as stack:
            files = self._files or stack.enter_context(SpooledState())
            listing = context.source.list(bucket, self._prefix)
            pointer = write_manifest(listing, files, bucket=bucket, prefix=self._prefix, retrier=context.retrier)
            settings = prefix_plan_settings(context, pointer, s3_prefix=self._prefix, blob_prefix=self._blob_prefix)
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
                context, files, pointer, settings, copy_batches=copy_batches, on_plan=self._begin, on_receipt=count
            )
            if self._files:
                log.info("Receipts and report: %s", make_report(files, pointer).location)
        totals = context.progress.snapshot()
        summary: dict[str, Any] = {
            "bucket": bucket,
            "prefix": self._prefix,
            "container": context.destination.container,
            "blob_prefix": self._blob_prefix,
            "objects": statuses.total(),
            **{status: statuses[status] for status in FINAL_STATUSES},
            "reasons": dict(reasons),
            "verified_by": dict(proofs),
            "bytes_sent": totals.bytes_sent,
            "bytes_resumed": totals.bytes_resumed,
            "retries": totals.retries,
            "seconds": round(time.monotonic() - began, 3),
            "try_number": self._try_number,
        }
        log.info("%s", summary_line(summary))
        if error:
            raise error
        return summary

    def _begin(self, plan: Plan) -> None:
        self.listing = False
        log.info(
            "Copying %s (%s) of %s%s, below %r in S3 bucket %s to %r in Azure container %s",
            count_text(plan.copy.objects, "object"),
            size_text(plan.copy.size_bytes),
            f"{plan.listed.objects:,}",
            which_try(self._try_number),
            self._prefix,
            self._places.bucket,
            self._blob_prefix,
            self._context.destination.container,
        )
