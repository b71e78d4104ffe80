"""The storage account behind an Airflow connection of type ``wasb``, and the state files that a run keeps there."""

from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from threading import Event
from typing import Any

from airflow.providers.microsoft.azure.hooks.wasb import WasbHook

from s3_to_azure.airflow.compat import AIRFLOW_FAILURES, Context
from s3_to_azure.airflow.connections import environment, get_connection, unknown_argument
from s3_to_azure.model.errors import AZURE
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.state.announced import EVENTS, AnnouncedKeys
from s3_to_azure.stores.azure.accounts import check_client
from s3_to_azure.stores.azure.client import AUDIENCE, StreamingClient, service_client
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.errors import azure_settings_errors
from s3_to_azure.stores.azure.state import AzureState
from s3_to_azure.stores.http.hosts import note_all_reached
from s3_to_azure.stores.http.redaction import protect_logs
from s3_to_azure.stores.http.settings import HttpSettings, Proxies, ca_bundle


def azure_service(
    wasb_conn_id: str,
    *,
    connections: int,
    hook_arguments: Mapping[str, Any] | None = None,
    worked_before: bool = False,
) -> StreamingClient:
    """Return a client of the storage account, with an HTTP session of its own; no request is sent yet.

    Args:
        wasb_conn_id: Id of a connection of type ``wasb``.
        connections: How many HTTP connections to keep open.
        hook_arguments: More keyword arguments of ``WasbHook``.
        worked_before: As for ``s3_source``.

    Raises:
        ConnectionMissing: The Airflow connection does not exist, or cannot be used.
    """
    protect_logs()
    if worked_before:
        note_all_reached()
    connection = get_connection(
        wasb_conn_id, AZURE, "wasb", "best with connection_string, or with the account as login"
    )
    cure = (
        "Correct its login, password, host or extra fields: the account's name is the login, or its URL the host "
        "(https://ACCOUNT.blob.core.windows.net)."
    )
    with azure_settings_errors(f"the Airflow connection {wasb_conn_id!r}", cure, *AIRFLOW_FAILURES):
        try:
            hook = WasbHook(wasb_conn_id=wasb_conn_id, **(hook_arguments or {}))
        except TypeError as error:
            raise unknown_argument(error, argument="wasb_extra_args", hook="WasbHook") from None
        client = hook.get_conn()
        check_client(client)
        extra = connection.extra_dejson
        return service_client(
            client,
            connections=connections,
            settings=_http_settings(extra),
            audience=str(extra.get("audience") or AUDIENCE),
            credentials_worked_before=worked_before,
        )


def _http_settings(extra: Mapping[str, Any]) -> HttpSettings:
    """Return the settings that the connection gives the SDK, and those of the environment for the rest."""
    verify, certificate, proxies = extra.get("connection_verify"), extra.get("connection_cert"), extra.get("proxies")
    return HttpSettings(
        verify=ca_bundle(environment()) if verify in (None, True) else verify,
        client_certificate=tuple(certificate) if isinstance(certificate, list) else certificate,
        proxies=Proxies.of_environment(environment()) if proxies is None else Proxies.of_mapping(proxies),
        connect_timeout_s=extra.get("connection_timeout"),
        read_timeout_s=extra.get("read_timeout"),
    )


@contextmanager
def read_only_files(
    wasb_conn_id: str, container: str, *, dag_id: str, run_id: str, budget: RetryBudget
) -> Iterator[AzureState]:
    """Open the state files of a run for somebody who only reads them, and waits for the answer.

    Args:
        wasb_conn_id: Id of a connection of type ``wasb``.
        container: The state container.
        dag_id: The run's DAG.
        run_id: The run.
        budget: How patient each request is.

    Raises:
        TransferError: The connection is missing or cannot be used.
    """
    with closing(azure_service(wasb_conn_id, connections=1)) as service:
        retrier = Retrier(budget, Event())
        yield AzureState(service, container, dag_id=dag_id, run_id=run_id, retrier=retrier)


def run_files(service: StreamingClient, container: str, context: Context, *, create: bool = False) -> AzureState:
    """Return the state files of the DAG run.

    Args:
        service: From ``azure_service``.
        container: The state container.
        context: The task's.
        create: Check that the container exists, and create it if it does not.

    Raises:
        ContainerNotFound: The container does not exist and could not be created.
    """
    if create:
        AzureContainer(service, container).check(create=True)
    instance = context["ti"]
    return AzureState(service, container, dag_id=instance.dag_id, run_id=instance.run_id)


def announced_keys(service: StreamingClient, container: str, dag_id: str) -> AnnouncedKeys:
    """Return the keys that events have announced to a DAG.

    Args:
        service: From ``azure_service``.
        container: The state container.
        dag_id: The DAG.
    """
    return AnnouncedKeys(AzureState(service, container, dag_id=EVENTS, run_id=dag_id))


def task_files(service: StreamingClient, container: str, context: Context) -> AzureState:
    """Return the state files of one task that plans and reports by itself; a DAG run may have several of them."""
    instance = context["ti"]
    folder = f"{instance.run_id}/{instance.task_id}"
    if instance.map_index is not None and instance.map_index >= 0:
        folder += f"/{instance.map_index}"
    return AzureState(service, container, dag_id=instance.dag_id, run_id=folder)
