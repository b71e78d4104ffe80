"""The work of a copy task: open the stores from Airflow connections, copy one object or one batch of a plan."""

import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final, Protocol

from s3_to_azure.airflow.azure_hook import azure_service
from s3_to_azure.airflow.connections import environment
from s3_to_azure.airflow.failure_log import FailureLog
from s3_to_azure.airflow.metrics import Measured
from s3_to_azure.airflow.s3_hook import s3_source
from s3_to_azure.model.errors import Cancelled, RetryableObjectsFailed, SomeObjectsFailed, TransferError
from s3_to_azure.model.formatting import count_text, duration_text, size_text
from s3_to_azure.model.names import check_blob, check_bucket, check_key
from s3_to_azure.model.objects import ListedObject, Receipt
from s3_to_azure.model.options import VIA_AZURE
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.reasons import COPIED, FINAL_STATUSES, STAGED
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.runs.batch import copy_batch
from s3_to_azure.state.plan import BatchDescriptor
from s3_to_azure.stores.azure.client import StreamingClient
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.event_loop.loop import small_object_client
from s3_to_azure.stores.http.hosts import note_all_reached
from s3_to_azure.stores.open_files import within_open_files
from s3_to_azure.stores.presigned.source import PresignedSource
from s3_to_azure.stores.presigned.url import PresignedUrl
from s3_to_azure.stores.s3.source import S3Source
from s3_to_azure.transfer.context import CopyTask, TransferContext, open_context
from s3_to_azure.transfer.object import copy_object

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """The bucket that a task reads, the container that it writes, and how to connect to both.

    Attributes:
        bucket: The bucket, or what stands for it where ``url`` does not tell it.
        s3_arguments: Keyword arguments of ``s3_source`` except the connection's id and ``connections``.
        wasb_arguments: Keyword arguments of ``WasbHook``.
        url: The URL that the only object is read by, without a connection.
    """

    bucket: str
    container: str
    aws_conn_id: str | None
    wasb_conn_id: str
    s3_arguments: Mapping[str, Any]
    wasb_arguments: Mapping[str, Any] | None = None
    create_container: bool = False
    url: PresignedUrl | None = None


@dataclass(frozen=True, slots=True)
class OpenTransfer:
    """The open connections of one task; ``open_transfer`` makes it and closes them after its block.

    Attributes:
        context: The stores, the settings and the counts: all that a copy needs.
        service: The client of the whole storage account. The operator opens the run's state files with it, in the
            destination's container or in another one, and reads the account's name for the lineage.
    """

    context: TransferContext
    service: StreamingClient


@contextmanager
def open_transfer(
    endpoints: Endpoints, settings: CopySettings, cancelled: threading.Event, *, worked_before: bool = False
) -> Iterator[OpenTransfer]:
    """Open the stores from their Airflow connections; no request is sent yet.

    Args:
        endpoints: Both sides.
        settings: How to copy.
        cancelled: Set it to stop every copy within three seconds.
        worked_before: As for ``s3_source``.

    Raises:
        ConnectionMissing: An Airflow connection does not exist or names no account.
    """
    settings = within_open_files(settings)
    connections = settings.connections + settings.objects_at_once
    source = _source(endpoints, connections=connections, worked_before=worked_before)
    service = azure_service(
        endpoints.wasb_conn_id,
        connections=connections,
        worked_before=worked_before,
        hook_arguments=endpoints.wasb_arguments,
    )
    with closing(source), closing(service):
        destination = AzureContainer(service, endpoints.container)
        client = small_object_client(source, destination) if isinstance(source, S3Source) else None
        with open_context(source, destination, settings, cancelled=cancelled, small_object_client=client) as context:
            yield OpenTransfer(context, service)


def _source(endpoints: Endpoints, *, connections: int, worked_before: bool) -> S3Source | PresignedSource:
    if endpoints.url is not None:
        if worked_before:
            note_all_reached()
        return PresignedSource.with_environment(
            [endpoints.url], environment(), verify=endpoints.s3_arguments.get("verify")
        )
    check_bucket(endpoints.bucket)
    return s3_source(
        endpoints.aws_conn_id, connections=connections, worked_before=worked_before, **endpoints.s3_arguments
    )


class Job(Protocol):
    """The work of one copy task; the operator runs it in a thread and reports its progress meanwhile.

    ``ObjectJob`` copies one object, ``BatchJob`` one batch of a plan, ``PrefixJob`` all objects below a prefix.
    """

    is_listing: bool
    """Whether the job still lists, so that the totals of the progress grow."""

    one_object: tuple[str, str] | None
    """Key and blob of the only object, once known; None if there are several."""

    measured: Measured | None
    """What the metrics say of the job at its end; None: nothing, as the run's report counts its objects."""

    def run(self) -> dict[str, Any]:
        """Copy; return the task's XCom."""
        ...


class ObjectJob:
    """Copies one object.

    Args:
        context: The stores, the settings and the counts.
        endpoints: The bucket and the container.
        key: The object.
        blob: The name of its blob.
        try_number: For the receipt.
        run: As for ``PrefixJob``.
    """

    def __init__(
        self,
        context: TransferContext,
        endpoints: Endpoints,
        *,
        key: str,
        blob: str,
        try_number: int,
        run: str = "",
    ) -> None:
        self.is_listing = False
        self.one_object: tuple[str, str] | None = (key, blob)
        self.measured: Measured | None = None
        self._context = context
        self._endpoints = endpoints
        self._key = check_key(key)
        self._blob = check_blob(blob)
        self._try_number = try_number
        self._run = run

    def run(self) -> dict[str, Any]:
        """Copy the object; return its receipt.

        Raises:
            TransferError: Nothing was committed.
        """
        try:
            receipt = self._copy()
        except Cancelled:
            raise
        except TransferError as error:
            self.measured = Measured.of_error(error)
            raise
        self.measured = Measured.of_receipt(receipt)
        return receipt

    def _copy(self) -> dict[str, Any]:
        context, bucket, key = self._context, self._endpoints.bucket, self._key
        context.check_access(bucket, create_container=self._endpoints.create_container)
        version = context.retrier.call(f"look at {key!r}", lambda: context.source.head(bucket, key))
        listed = ListedObject(
            bucket, key, version.etag, version.size_bytes, version.last_modified, version.storage_class
        )
        context.progress.add(objects_total=1, bytes_total=listed.size_bytes)
        log.info(
            "Copying %r (%s)%s, from S3 bucket %s to %r in Azure container %s",
            key,
            size_text(listed.size_bytes),
            try_text(self._try_number),
            bucket,
            self._blob,
            context.destination.container,
        )
        task = CopyTask(bucket, key, self._blob, listed=listed, run=self._run)
        receipt = copy_object(context, task, try_number=self._try_number)
        context.progress.add(objects_done=1)
        log.info("%s", receipt_line(receipt))
        return receipt.as_dict()


class BatchJob:
    """Copies one batch of the run's plan.

    Args:
        context: The stores, the settings and the counts.
        endpoints: The bucket and the container.
        files: The run's state files, which hold the batch.
        descriptor: Which batch.
        s3_prefix: The part of the keys that the blobs' names leave out.
        blob_prefix: What the blobs' names begin with instead.
        try_number: From the second try on, the receipts of earlier tries are read.
        on_label: Called with the content of the batch, as people read it.
    """

    def __init__(
        self,
        context: TransferContext,
        endpoints: Endpoints,
        files: StateFiles,
        descriptor: BatchDescriptor,
        *,
        s3_prefix: str,
        blob_prefix: str,
        try_number: int,
        on_label: Callable[[str], None],
    ) -> None:
        self.is_listing = False
        self.one_object: tuple[str, str] | None = None
        self.measured: Measured | None = None
        self._context = context
        self._endpoints = endpoints
        self._files = files
        self._descriptor = descriptor
        self._s3_prefix = s3_prefix
        self._blob_prefix = blob_prefix
        self._try_number = try_number
        self._on_label = on_label
        self._failures = FailureLog()

    def run(self) -> dict[str, Any]:
        """Copy what earlier tries have left of the batch; return its counts.

        Raises:
            CorruptState: The batch does not match its descriptor; nothing was copied.
            SomeObjectsFailed: No retry can help the objects that failed; all others are done.
            RetryableObjectsFailed: A retry may help at least one object.
        """
        lines: list[str] = []
        try:
            summary = copy_batch(
                self._context,
                self._files,
                self._descriptor,
                bucket=self._endpoints.bucket,
                s3_prefix=self._s3_prefix,
                blob_prefix=self._blob_prefix,
                try_number=self._try_number,
                on_label=self._start,
                on_receipt=self._note_object,
                on_end=lambda summary: lines.append(summary_line(summary.as_dict())),
            )
        except (SomeObjectsFailed, RetryableObjectsFailed) as error:
            self._failures.end("".join(lines), error)
            raise
        self._failures.end("".join(lines))
        return summary.as_dict()

    def _start(self, label: str) -> None:
        self._on_label(label)
        # Quoted, because a key may look like one of our sentences, or hold what some viewers take for a line break.
        is_one = self._descriptor.objects == 1
        content = f"{label!r} ({size_text(self._descriptor.size_bytes)})" if is_one else label
        log.info(
            "Copying batch %d%s: %s, from S3 bucket %s to Azure container %s",
            self._descriptor.index,
            try_text(self._try_number),
            content,
            self._endpoints.bucket,
            self._context.destination.container,
        )

    def _note_object(self, receipt: Receipt) -> None:
        self._failures.add(receipt)
        if self._descriptor.objects == 1:
            self.one_object = (receipt.key, receipt.blob)


_SHOWN_IF_ANY: Final = {STAGED: "staged", "done_before": "done by an earlier try"}


def summary_line(summary: Mapping[str, Any]) -> str:
    """Return the last line of the log of a prefix or a batch: the counts, the reasons, how much and how fast."""
    seconds = summary["seconds"]
    rate = summary["bytes_sent"] / seconds if seconds else 0
    counts = [f"{summary[status]:,} {status}" for status in FINAL_STATUSES]
    counts += [f"{summary[status]:,} {words}" for status, words in _SHOWN_IF_ANY.items() if summary.get(status)]
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in sorted(summary.get("reasons", {}).items()))
    return (
        f"{count_text(summary['objects'], 'object')}: {', '.join(counts)}"
        + (f" ({reasons})" if reasons else "")
        + f"; {size_text(summary['bytes_sent'])} sent in {duration_text(seconds)} ({size_text(rate)}/s)"
        + (f", {size_text(summary['bytes_resumed'])} already in Azure" if summary["bytes_resumed"] else "")
    )


def receipt_line(receipt: Receipt) -> str:
    """Return the last line of the log of a single object: its result, how much and how fast."""
    if receipt.status != COPIED:
        return f"{receipt.status.capitalize()}: {receipt.key!r}" + (f" ({receipt.reason})" if receipt.reason else "")
    rate = receipt.bytes_sent / receipt.seconds if receipt.seconds else 0
    is_fetched = receipt.via == VIA_AZURE
    moved = "fetched by Azure" if is_fetched else "sent"
    return (
        f"Copied {receipt.key!r}: {size_text(receipt.bytes_sent)} {moved} in {duration_text(receipt.seconds)} "
        f"({size_text(rate)}/s), {receipt.blocks_resumed:,} of {count_text(receipt.blocks, 'block')} already in Azure, "
        f"verified by {receipt.verified_by}"
        + (f". {'Not all' if is_fetched else 'Not'} by Azure: {receipt.not_fetched}" if receipt.not_fetched else "")
    )


def try_text(try_number: int) -> str:
    """Return the number of the try as a part of a sentence; nothing for the first one."""
    return f", try {try_number}" if try_number > 1 else ""
