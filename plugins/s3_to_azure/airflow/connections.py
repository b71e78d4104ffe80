"""What both sides look up: the Airflow connection, and what the worker's environment says of TLS and proxies."""

import os

import requests.utils
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from s3_to_azure.model.errors import ConnectionMissing


def connection_of(conn_id: str, service: str, conn_type: str, hint: str) -> Connection:
    """Return an Airflow connection.

    Args:
        conn_id: Its id.
        service: Who is meant, for people.
        conn_type: The type that it should have.
        hint: How else to go on; ends the error's sentence.

    Raises:
        ConnectionMissing: There is no such connection.
    """
    try:
        return BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise ConnectionMissing(
            service=service,
            detail=f"the Airflow connection {conn_id!r} does not exist",
            cure=(
                f"Create it with type {conn_type} (Admin > Connections, or the environment variable "
                f"AIRFLOW_CONN_{conn_id.upper()}), {hint}."
            ),
        ) from None


def ca_bundle(*variables: str) -> bool | str:
    """Return the CA bundle that the first of these variables, or REQUESTS_CA_BUNDLE, names; else True."""
    for variable in (*variables, "REQUESTS_CA_BUNDLE"):
        if os.environ.get(variable):
            return os.environ[variable]
    return True


def proxies_for(url: str) -> dict[str, str]:
    """Return the environment's proxies for the URL."""
    return dict(requests.utils.get_environ_proxies(url))
