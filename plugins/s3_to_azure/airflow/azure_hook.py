"""The storage account behind an Airflow connection of type ``wasb``, and the state files that a run keeps there."""

from collections.abc import Mapping
from typing import Any

from airflow.providers.microsoft.azure.hooks.wasb import WasbHook
from airflow.sdk import Context
from azure.core.exceptions import AzureError

from s3_to_azure.airflow.connections import ca_bundle, connection_of, proxies_for
from s3_to_azure.model.errors import ConnectionMissing
from s3_to_azure.stores.azure.client import StreamingClient, service_client
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.state import AzureState
from s3_to_azure.stores.http.errors import AZURE, protect_logs, redact


def azure_service(
    wasb_conn_id: str, *, connections: int, hook_arguments: Mapping[str, Any] | None = None
) -> StreamingClient:
    """Return the account as the Airflow connection reaches it, on a session of our own; no request is sent yet.

    Args:
        wasb_conn_id: Id of a connection of type ``wasb``.
        connections: Connections to keep.
        hook_arguments: More keyword arguments of ``WasbHook``.

    Raises:
        ConnectionMissing: There is no such connection, or it names no account.
    """
    protect_logs()
    connection = connection_of(wasb_conn_id, AZURE, "wasb", "best with connection_string, or with the account as login")
    try:
        client = WasbHook(wasb_conn_id=wasb_conn_id, **(hook_arguments or {})).get_conn()
    except (AzureError, TypeError, ValueError) as error:
        raise ConnectionMissing(
            service=AZURE,
            detail=f"the Airflow connection {wasb_conn_id!r} cannot be used ({redact(str(error))[:300]})",
            cure="Mend its login, password, host or extra fields.",
        ) from None
    extra = connection.extra_dejson
    verify = extra.get("connection_verify", True)
    return service_client(
        client,
        connections=connections,
        verify=ca_bundle() if verify is True else verify,
        proxies=extra.get("proxies") or proxies_for(client.url.partition("?")[0]),
    )


def run_files(service: StreamingClient, container: str, context: Context, *, create: bool = False) -> AzureState:
    """Return the run's state files.

    Args:
        service: From ``azure_service``.
        container: The state container.
        context: The task's.
        create: Look the container up, and make a missing one.

    Raises:
        ContainerNotFound: The container could not be made.
    """
    if create:
        AzureContainer(service, container).check(create=True)
    instance = context["ti"]
    return AzureState(service, container, dag_id=instance.dag_id, run_id=instance.run_id)


def task_files(service: StreamingClient, container: str, context: Context) -> AzureState:
    """Return the state files of one task that is a whole run by itself; a DAG may have several."""
    instance = context["ti"]
    place = f"{instance.run_id}/{instance.task_id}"
    mapped = f"/{instance.map_index}" if instance.map_index is not None and instance.map_index >= 0 else ""
    return AzureState(service, container, dag_id=instance.dag_id, run_id=place + mapped)
