"""A task of one batch of the plan."""

import logging
from collections.abc import Callable
from typing import Any

from s3_to_azure.copying.lines import summary_line, which_try
from s3_to_azure.copying.places import Places
from s3_to_azure.model.formatting import size_text
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.runs.batch import copy_batch
from s3_to_azure.state.plan import BatchDescriptor
from s3_to_azure.transfer.context import Workshop

log = logging.getLogger(__name__)


class BatchJob:
    """One batch of the run's plan.

    Args:
        shop: Stores, settings, counts.
        places: Bucket and container.
        files: The run's state, where the batch is.
        descriptor: Which batch.
        s3_prefix: What the blobs' names leave out of the keys.
        blob_prefix: Where the blobs go.
        try_number: Earlier tries' receipts are looked up from the second on.
        on_label: Takes what the batch holds, for people.
    """

    def __init__(
        self,
        shop: Workshop,
        places: Places,
        files: StateFiles,
        descriptor: BatchDescriptor,
        *,
        s3_prefix: str,
        blob_prefix: str,
        try_number: int,
        on_label: Callable[[str], None],
    ) -> None:
        """Nothing is read yet."""
        self.listing = False
        self.one: tuple[str, str] | None = None
        self._shop = shop
        self._places = places
        self._files = files
        self._descriptor = descriptor
        self._s3_prefix = s3_prefix
        self._blob_prefix = blob_prefix
        self._try_number = try_number
        self._on_label = on_label

    def run(self) -> dict[str, Any]:
        """Copy what is left of it; return its counts.

        Raises:
            BadState: The batch is not what its descriptor says; nothing was copied.
            SomeObjectsFailed: No retry can help those that failed; all others are done.
            SomeObjectsFailedForNow: A retry may help at least one.
        """
        return copy_batch(
            self._shop,
            self._files,
            self._descriptor,
            bucket=self._places.bucket,
            s3_prefix=self._s3_prefix,
            blob_prefix=self._blob_prefix,
            try_number=self._try_number,
            on_label=self._begin,
            on_receipt=self._keep,
            on_end=lambda summary: log.info("%s", summary_line(summary.as_dict())),
        ).as_dict()

    def _begin(self, label: str) -> None:
        self._on_label(label)
        # Quoted: a key may read like a sentence of ours, or hold what some viewers take for a line's end.
        what = f"{label!r} ({size_text(self._descriptor.size_bytes)})" if self._descriptor.objects == 1 else label
        log.info(
            "Copying batch %d%s: %s, from S3 bucket %s to Azure container %s",
            self._descriptor.index,
            which_try(self._try_number),
            what,
            self._places.bucket,
            self._shop.destination.container,
        )

    def _keep(self, receipt: Receipt) -> None:
        if self._descriptor.objects == 1:
            self.one = (receipt.key, receipt.blob)
