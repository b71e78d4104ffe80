"""Open both sides of a task with its Airflow connections."""

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from s3_to_azure.connections.aws import s3_source
from s3_to_azure.connections.azure import azure_service
from s3_to_azure.copying.places import Places
from s3_to_azure.model.names import check_bucket
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.stores.azure.client import StreamingClient
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.curl import small_lane
from s3_to_azure.transfer.context import Workshop


@dataclass(frozen=True, slots=True)
class Bench:
    """A workshop and the account it writes to."""

    shop: Workshop
    service: StreamingClient


@contextmanager
def bench(places: Places, settings: CopySettings, cancelled: threading.Event) -> Iterator[Bench]:
    """Open the connections; no request is sent yet.

    Raises:
        ConnectionMissing: An Airflow connection does not exist or names no account.
    """
    check_bucket(places.bucket)
    lanes = settings.lanes + settings.objects_at_once
    source = s3_source(places.aws_conn_id, lanes=lanes, **places.s3_arguments)
    service = azure_service(places.wasb_conn_id, lanes=lanes, hook_arguments=places.wasb_arguments)
    with closing(source), closing(service):
        destination = AzureContainer(service, places.container)
        lane = small_lane(source, destination)
        with Workshop(source, destination, settings, cancelled=cancelled, small_lane=lane) as shop:
            yield Bench(shop, service)
