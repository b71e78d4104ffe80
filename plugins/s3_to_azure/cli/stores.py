"""Both stores of a command, opened with the environment's credentials."""

import argparse
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.ports import BlobDestination, ObjectSource, SmallObjectClient
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.startup import gc_paused
from s3_to_azure.stores.open_files import within_open_files
from s3_to_azure.transfer.context import TransferContext, open_context
from s3_to_azure.transfer.watchdog import StopEvent

if TYPE_CHECKING:
    from s3_to_azure.stores.azure.container import AzureContainer
    from s3_to_azure.stores.s3.source import S3Source


@dataclass(frozen=True, slots=True)
class Stores:
    """The source and the destination of a copy, before the first request and the first thread."""

    source: ObjectSource
    destination: BlobDestination
    small_object_client: Callable[[], SmallObjectClient] | None

    def transfer_context(
        self, settings: CopySettings, progress: Progress, stop: threading.Event
    ) -> AbstractContextManager[TransferContext]:
        """Open a context for transfers between both stores."""
        return open_context(
            self.source,
            self.destination,
            within_open_files(settings),
            cancelled=stop,
            progress=progress,
            small_object_client=self.small_object_client,
        )


@contextmanager
def open_stores(
    options: argparse.Namespace, source: S3Uri, destination: AzureUri, settings: CopySettings, stop: StopEvent
) -> Iterator[Stores]:
    """Yield both stores, and close them after the block.

    Raises:
        UsageError: The options contradict each other, or the environment holds no credentials.
        KeyboardInterrupt: Stopped while the credentials were looked up.
    """
    if options.keys_from and not source.is_prefix:
        raise UsageError(
            detail="With --keys-from, SRC is a bucket or a prefix that ends in '/': all keys lie below it."
        )
    connections = settings.connections + settings.objects_at_once
    with (
        open_source(options, stop, connections=connections) as bucket,
        open_container(options, stop, destination, connections=connections) as container,
    ):
        with gc_paused():
            from s3_to_azure.stores.curl import small_object_client  # noqa: PLC0415
        yield Stores(bucket, container, small_object_client(bucket, container))


@contextmanager
def open_source(options: argparse.Namespace, stop: StopEvent, *, connections: int) -> "Iterator[S3Source]":
    """Yield S3 with the environment's credentials, and close it after the block.

    Raises:
        UsageError: The environment holds no credentials.
        KeyboardInterrupt: Stopped while the credentials were looked up.
    """
    # The SDKs are most of the start-up time, and --help and wrong arguments need neither.
    with gc_paused():
        from s3_to_azure.stores import from_environment  # noqa: PLC0415
    # A credential program, or a metadata service, may take any time. It is not run in another thread: worker
    # processes are forked next, and a lock that OpenSSL holds while that thread ends would stay held in them.
    with stop.interrupting():
        bucket = from_environment.s3_source(
            from_environment.current(),
            connections=connections,
            verify=not options.no_verify_tls,
            sign=not options.no_sign_request,
            requester_pays=options.request_payer,
            version_id=options.version_id,
        )
    with closing(bucket):
        yield bucket


@contextmanager
def open_container(
    options: argparse.Namespace, stop: StopEvent, destination: AzureUri, *, connections: int
) -> "Iterator[AzureContainer]":
    """Yield the container with the environment's credentials, and close it after the block.

    Raises:
        UsageError: The environment holds no credentials.
        KeyboardInterrupt: Stopped while the credentials were looked up.
    """
    with gc_paused():
        from s3_to_azure.stores import from_environment  # noqa: PLC0415
    with stop.interrupting():
        container = from_environment.azure_container(
            from_environment.current(),
            destination.container,
            account_url=destination.account_url,
            connections=connections,
            verify=not options.no_verify_tls,
        )
    with closing(container):
        yield container
