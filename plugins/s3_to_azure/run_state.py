"""Where a run keeps its state: found from the task's context, never from what an earlier task wrote."""

from airflow.sdk import Context

from s3_to_azure.stores.azure.client import StreamingClient
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.state import AzureState


def files(service: StreamingClient, container: str, context: Context, *, create: bool = False) -> AzureState:
    """Return the run's state files.

    Args:
        service: From ``connections.azure.azure_service``.
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
