"""Open both sides with the environment's credentials."""

import argparse
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.ports import BlobDestination, ObjectSource, SmallObjectClient
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.model.uris import AzureUri, S3Uri
from s3_to_azure.startup import collector_at_rest
from s3_to_azure.transfer.context import TransferContext, open_context


@dataclass(frozen=True, slots=True)
class Stores:
    """Both sides of a copy; no request was sent yet, and no thread was started."""

    source: ObjectSource
    destination: BlobDestination
    small_object_client: Callable[[], SmallObjectClient] | None

    def transfer_context(
        self, settings: CopySettings, progress: Progress, stop: threading.Event
    ) -> AbstractContextManager[TransferContext]:
        """Return a workshop between them."""
        return open_context(
            self.source,
            self.destination,
            settings,
            cancelled=stop,
            progress=progress,
            small_object_client=self.small_object_client,
        )


@contextmanager
def opened(
    options: argparse.Namespace, source: S3Uri, destination: AzureUri, settings: CopySettings
) -> Iterator[Stores]:
    """Yield both sides, and close them after the block.

    Raises:
        UsageError: The options do not go together, or name no credentials.
    """
    if options.keys_from and not source.is_prefix:
        raise UsageError(what="With --keys-from, SRC is a bucket or a prefix ending in '/', below which the keys lie.")
    # The SDKs cost most of the start; --help and wrong arguments need none of them.
    with collector_at_rest():
        from s3_to_azure.stores import from_environment as environment  # noqa: PLC0415
        from s3_to_azure.stores.curl import small_object_client  # noqa: PLC0415

    connections = settings.connections + settings.objects_at_once
    verify_tls = not options.no_verify_tls
    variables = environment.current()
    bucket = environment.s3_source(
        variables,
        connections=connections,
        verify=verify_tls,
        requester_pays=options.request_payer,
        version_id=options.version_id,
    )
    with closing(bucket):
        container = environment.azure_container(
            variables,
            destination.container,
            account_url=destination.account_url,
            connections=connections,
            verify=verify_tls,
        )
        with closing(container):
            yield Stores(bucket, container, small_object_client(bucket, container))
