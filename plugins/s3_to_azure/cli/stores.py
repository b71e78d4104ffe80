"""Both stores of a command, opened with the environment's credentials."""

import argparse
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import dataclass

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.ports import BlobDestination, ObjectSource, SmallObjectClient
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.startup import gc_paused
from s3_to_azure.stores.open_files import within_open_files
from s3_to_azure.transfer.context import TransferContext, open_context
from s3_to_azure.transfer.watchdog import StopEvent


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
    # The SDKs are most of the start-up time, and --help and wrong arguments need neither.
    with gc_paused():
        from s3_to_azure.stores import from_environment  # noqa: PLC0415
        from s3_to_azure.stores.curl import small_object_client  # noqa: PLC0415

    connections = settings.connections + settings.objects_at_once
    verify_tls = not options.no_verify_tls
    variables = from_environment.current()

    with ExitStack() as opened:
        # A credential program, or a metadata service, may take any time. It is not run in another thread: worker
        # processes are forked next, and a lock that OpenSSL holds while that thread ends would stay held in them.
        with stop.interrupting():
            bucket = from_environment.s3_source(
                variables,
                connections=connections,
                verify=verify_tls,
                sign=not options.no_sign_request,
                requester_pays=options.request_payer,
                version_id=options.version_id,
            )
            opened.enter_context(closing(bucket))
            container = from_environment.azure_container(
                variables,
                destination.container,
                account_url=destination.account_url,
                connections=connections,
                verify=verify_tls,
            )
            opened.enter_context(closing(container))
        yield Stores(bucket, container, small_object_client(bucket, container))
