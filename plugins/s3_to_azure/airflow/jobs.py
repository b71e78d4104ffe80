"""What a task copies: one object, or a batch of a plan; opened from its connections."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from s3_to_azure.airflow.azure_hook import azure_service
from s3_to_azure.airflow.s3_hook import s3_source
from s3_to_azure.model.formatting import count_text, duration_text, size_text
from s3_to_azure.model.names import check_blob, check_bucket, check_key
from s3_to_azure.model.objects import ListedObject, Receipt
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.reasons import COPIED, STATUSES
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.runs.batch import copy_batch
from s3_to_azure.state.plan import BatchDescriptor
from s3_to_azure.stores.azure.client import StreamingClient
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.curl import small_object_client
from s3_to_azure.transfer.context import CopyTask, TransferContext, open_context
from s3_to_azure.transfer.object import copy_object


class Job(Protocol):
    """What a task copies."""

    listing: bool
    """Whether it is not known yet how much there is."""

    one: tuple[str, str] | None
    """Key and blob of the only object, as far as known; None where there are more."""

    def run(self) -> dict[str, Any]:
        """Copy; return what XCom shall hold."""
        ...


@dataclass(frozen=True, slots=True)
class Places:
    """Where a task reads and writes, and with whose rights.

    Attributes:
        s3_arguments: Keyword arguments of ``connections.aws.s3_source`` beside id and lanes.
        wasb_arguments: Those of ``WasbHook``.
    """

    bucket: str
    container: str
    aws_conn_id: str | None
    wasb_conn_id: str
    s3_arguments: Mapping[str, Any]
    wasb_arguments: Mapping[str, Any] | None = None
    create_container: bool = False


def summary_line(summary: Mapping[str, Any]) -> str:
    """Return the closing line of a prefix or a batch."""
    seconds = summary["seconds"]
    rate = summary["bytes_sent"] / seconds if seconds else 0
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(summary.get("reasons", {}).items()))
    statuses = (*STATUSES, "done_before")
    counts = ", ".join(
        f"{summary[status]:,} {status.replace('_', ' ')}"
        for status in statuses
        if summary.get(status) or status in statuses[:4]
    )
    return (
        f"{count_text(summary['objects'], 'object')}: {counts}"
        + (f" ({reasons})" if reasons else "")
        + f"; {size_text(summary['bytes_sent'])} sent in {duration_text(seconds)} ({size_text(rate)}/s)"
        + (f", {size_text(summary['bytes_resumed'])} were in Azure already" if summary["bytes_resumed"] else "")
    )


def receipt_line(receipt: Receipt) -> str:
    """Return what became of the only object."""
    if receipt.status != COPIED:
        return f"{receipt.key!r} is {receipt.status}" + (f": {receipt.reason}" if receipt.reason else "")
    rate = receipt.bytes_sent / receipt.seconds if receipt.seconds else 0
    return (
        f"Copied {receipt.key!r}: {size_text(receipt.bytes_sent)} sent in {duration_text(receipt.seconds)} "
        f"({size_text(rate)}/s), {receipt.blocks_resumed:,} of {count_text(receipt.blocks, 'block')} were in Azure "
        f"already, verified by {receipt.verified_by}"
    )


def which_try(number: int) -> str:
    """Return the try's number as a part of a sentence; nothing for the first one."""
    return f", try {number}" if number > 1 else ""


@dataclass(frozen=True, slots=True)
class OpenTransfer:
    """A workshop and the account it writes to."""

    context: TransferContext
    service: StreamingClient


@contextmanager
def open_transfer(places: Places, settings: CopySettings, cancelled: threading.Event) -> Iterator[OpenTransfer]:
    """Open the connections; no request is sent yet.

    Raises:
        ConnectionMissing: An Airflow connection does not exist or names no account.
    """
    check_bucket(places.bucket)
    connections = settings.connections + settings.objects_at_once
    source = s3_source(places.aws_conn_id, connections=connections, **places.s3_arguments)
    service = azure_service(places.wasb_conn_id, connections=connections, hook_arguments=places.wasb_arguments)
    with closing(source), closing(service):
        destination = AzureContainer(service, places.container)
        client = small_object_client(source, destination)
        with open_context(source, destination, settings, cancelled=cancelled, small_object_client=client) as context:
            yield OpenTransfer(context, service)


log = logging.getLogger(__name__)


class ObjectJob:
    """One object.

    Args:
        context: Stores, settings, counts.
        places: Bucket and container.
        key: The object.
        blob: The blob's name.
        try_number: For the receipt.
    """

    def __init__(self, context: TransferContext, places: Places, *, key: str, blob: str, try_number: int) -> None:
        """Check the names; nothing is sent yet."""
        self.listing = False
        self.one: tuple[str, str] | None = (key, blob)
        self._context = context
        self._places = places
        self._key = check_key(key)
        self._blob = check_blob(blob)
        self._try_number = try_number

    def run(self) -> dict[str, Any]:
        """Copy it; return its receipt.

        Raises:
            TransferError: Nothing was committed.
        """
        context, bucket, key = self._context, self._places.bucket, self._key
        context.check_access(bucket, create_container=self._places.create_container)
        version = context.retrier.call(f"look at {key!r}", lambda: context.source.head(bucket, key))
        listed = ListedObject(
            bucket, key, version.etag, version.size_bytes, version.last_modified, version.storage_class
        )
        context.progress.add(objects_total=1, bytes_total=listed.size_bytes)
        log.info(
            "Copying %r (%s)%s, from S3 bucket %s to %r in Azure container %s",
            key,
            size_text(listed.size_bytes),
            which_try(self._try_number),
            bucket,
            self._blob,
            context.destination.container,
        )
        task = CopyTask(bucket, key, self._blob, listed=listed)
        receipt = copy_object(context, task, try_number=self._try_number)
        context.progress.add(objects_done=1)
        log.info("%s", receipt_line(receipt))
        return receipt.as_dict()


class BatchJob:
    """One batch of the run's plan.

    Args:
        context: Stores, settings, counts.
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
        context: TransferContext,
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
        self._context = context
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
            CorruptState: The batch is not what its descriptor says; nothing was copied.
            SomeObjectsFailed: No retry can help those that failed; all others are done.
            RetryableObjectsFailed: A retry may help at least one.
        """
        return copy_batch(
            self._context,
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
            self._context.destination.container,
        )

    def _keep(self, receipt: Receipt) -> None:
        if self._descriptor.objects == 1:
            self.one = (receipt.key, receipt.blob)
