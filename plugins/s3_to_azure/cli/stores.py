"""Both stores of a command, opened with the environment's credentials."""

import argparse
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.model.ports import BlobDestination, ObjectSource, SmallObjectClient
from s3_to_azure.model.progress import Progress
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.model.uris import AzureUri, S3Uri, parse_destination, parse_inventory, parse_report
from s3_to_azure.startup import gc_paused
from s3_to_azure.stores.open_files import within_open_files
from s3_to_azure.stores.presigned.url import PresignedUrl
from s3_to_azure.transfer.context import TransferContext, open_context
from s3_to_azure.transfer.watchdog import StopEvent

if TYPE_CHECKING:
    from s3_to_azure.planning.inventory import Inventory
    from s3_to_azure.state.announced import AnnouncedKeys
    from s3_to_azure.stores.azure.container import AzureContainer
    from s3_to_azure.stores.from_environment import S3Session
    from s3_to_azure.stores.presigned.source import PresignedSource
    from s3_to_azure.stores.s3.source import S3Source


Completed = Callable[[ListedObject], ListedObject]
"""Adds to a listed object the checksum that a report has of it."""


@dataclass(frozen=True, slots=True)
class Stores:
    """The source and the destination of a copy, before the first request and the first thread.

    Attributes:
        report: The report of ``--checksums-from``, if any.
        inventory: The address of ``--inventory``, if any.
        reports: Where both are.
        version_id: The version that the user named, if any.
    """

    source: ObjectSource
    destination: BlobDestination
    small_object_client: Callable[[], SmallObjectClient] | None
    report: S3Uri | None = None
    inventory: S3Uri | None = None
    reports: ObjectSource | None = None
    version_id: str | None = None

    @contextmanager
    def completed(
        self, context: TransferContext, source: S3Uri, on_text: Callable[[str], None]
    ) -> Iterator[Completed | None]:
        """Yield what adds the report's checksums to objects below SRC; None without a report.

        Args:
            context: Repeats requests.
            source: SRC.
            on_text: Receives one sentence about the report after the block.
        """
        if self.report is None or self.reports is None:
            yield None
            return
        # A command without a report does not pay for the import of planning.
        from s3_to_azure.planning.checksum_report import open_report  # noqa: PLC0415

        with open_report(
            self.report,
            self.reports,
            context.retrier,
            bucket=source.bucket,
            prefix=source.key,
            version_id=self.version_id,
        ) as found:
            yield found.complete
        on_text(f"{found.text()}.")

    @contextmanager
    def inventoried(
        self, context: TransferContext, source: S3Uri, on_text: Callable[[str], None]
    ) -> "Iterator[Inventory | None]":
        """Yield the inventory of objects below SRC; None without one.

        Args:
            context: Repeats requests.
            source: SRC.
            on_text: Receives one sentence about the inventory after the block.
        """
        if self.inventory is None or self.reports is None:
            yield None
            return
        # A command without an inventory does not pay for the import of planning.
        from s3_to_azure.planning.inventory import open_inventory  # noqa: PLC0415

        with open_inventory(
            self.inventory, self.reports, context.retrier, bucket=source.bucket, prefix=source.key
        ) as found:
            yield found
        on_text(f"{found.text()}.")

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
    options: argparse.Namespace,
    source: S3Uri,
    destination: AzureUri,
    settings: CopySettings,
    stop: StopEvent,
    urls: Sequence[PresignedUrl] = (),
) -> Iterator[Stores]:
    """Yield both stores, and close them after the block.

    Args:
        options: The command's.
        source: SRC.
        destination: DST.
        settings: How many connections are needed.
        stop: Stops the look-up of credentials.
        urls: The URLs that the objects are read by; none: they are read with the environment's credentials.

    Raises:
        UsageError: The options contradict each other, or the environment holds no credentials.
        KeyboardInterrupt: Stopped while the credentials were looked up.
    """
    if options.keys_from and not source.is_prefix:
        raise UsageError(
            detail="With --keys-from, SRC is a bucket or a prefix that ends in '/': all keys lie below it."
        )
    if options.inventory and (options.keys_from or not source.is_prefix):
        raise UsageError(detail="--inventory stands for the listing of a prefix: end SRC in '/', without --keys-from.")
    if options.version_id and source.is_prefix:
        raise UsageError(detail="--version-id names a version of one object: SRC is s3://bucket/key.")
    report = parse_report(options.checksums_from, name="--checksums-from") if options.checksums_from else None
    inventory = parse_inventory(options.inventory, name="--inventory") if options.inventory else None
    connections = settings.connections + settings.objects_at_once
    # A code of MFA is good only once.
    session = _session() if report or inventory else None
    with (
        open_urls(options, urls)
        if urls
        else open_source(options, stop, connections=connections, session=session) as objects,
        open_source(options, stop, connections=1, of_objects=False, session=session)
        if report or inventory
        else nullcontext() as reports,
        open_container(options, stop, destination, connections=connections) as container,
    ):
        if urls:
            yield Stores(objects, container, None)
            return
        with gc_paused():
            from s3_to_azure.stores.event_loop.loop import small_object_client  # noqa: PLC0415
        small_objects = small_object_client(cast("S3Source", objects), container)
        yield Stores(objects, container, small_objects, report, inventory, reports, options.version_id)


def _session() -> "S3Session":
    with gc_paused():
        from s3_to_azure.stores import from_environment  # noqa: PLC0415
    return from_environment.s3_session()


@contextmanager
def open_source(
    options: argparse.Namespace,
    stop: StopEvent,
    *,
    connections: int,
    of_objects: bool = True,
    session: "S3Session | None" = None,
) -> "Iterator[S3Source]":
    """Yield S3 with the environment's credentials, and close it after the block.

    Args:
        options: The command's.
        stop: Stops the look-up of the credentials.
        connections: Number of connections.
        of_objects: Whether the objects are read, whose version or customer key the user may have named.
        session: What sources share that ask for credentials once; None: one of its own.

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
        variables = from_environment.current()
        bucket = from_environment.s3_source(
            variables if of_objects else {**variables, from_environment.CUSTOMER_KEY: ""},
            connections=connections,
            verify=not options.no_verify_tls,
            sign=not options.no_sign_request,
            requester_pays=options.request_payer,
            version_id=options.version_id if of_objects else None,
            session=session,
        )
    with closing(bucket):
        yield bucket


@contextmanager
def open_urls(options: argparse.Namespace, urls: Sequence[PresignedUrl]) -> "Iterator[PresignedSource]":
    """Yield the objects that URLs name, which need no credentials, and close their connections after the block.

    Raises:
        UsageError: The environment's proxies or certificates cannot be used.
    """
    # botocore is most of the start-up time.
    with gc_paused():
        from s3_to_azure.stores.presigned.source import PresignedSource  # noqa: PLC0415
    verify = False if options.no_verify_tls else None
    with closing(PresignedSource.with_environment(urls, os.environ, verify=verify)) as source:
        yield source


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


@contextmanager
def open_announced(
    options: argparse.Namespace, stop: StopEvent, destination: AzureUri
) -> "Iterator[AnnouncedKeys | None]":
    """Yield what events have announced to the migration that ``--events`` names; None without it.

    Raises:
        UsageError: ``--events`` names no state container and DAG.
    """
    if options.events is None:
        yield None
        return
    with gc_paused():
        from s3_to_azure.state.announced import EVENTS, AnnouncedKeys  # noqa: PLC0415
        from s3_to_azure.stores import from_environment  # noqa: PLC0415
        from s3_to_azure.stores.azure.state import AzureState  # noqa: PLC0415
    state = parse_destination(options.events, name="--events")
    dag_id = state.path.removesuffix("/")
    if not dag_id or "/" in dag_id:
        raise UsageError(detail=f"--events={options.events!r} names no DAG. Write az://STATE-CONTAINER/DAG-ID.")
    with stop.interrupting():
        service = from_environment.azure_service(
            from_environment.current(),
            account_url=state.account_url or destination.account_url,
            connections=1,
            verify=not options.no_verify_tls,
        )
    with closing(service):
        yield AnnouncedKeys(AzureState(service, state.container, dag_id=EVENTS, run_id=dag_id))
