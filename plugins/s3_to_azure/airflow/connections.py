"""Airflow connections and the worker's environment, for the hooks of both stores."""

import os
from collections.abc import Mapping
from typing import Final

from s3_to_azure.airflow.compat import AirflowNotFoundException, BaseHook, Connection, mask_secret
from s3_to_azure.model.errors import ConnectionMissing, UsageError
from s3_to_azure.stores.http.redaction import hide_setting, redact

CUSTOMER_KEY: Final = "sse_customer_key"
"""Name in the extra of a connection of type ``aws``: the customer's key (SSE-C) as base64."""


def get_connection(conn_id: str, service: str, conn_type: str, hint: str) -> Connection:
    """Return an Airflow connection.

    Args:
        conn_id: The connection's id.
        service: The service's name, for the error.
        conn_type: The type that the connection should have, for the error.
        hint: What else the user can do; ends the error's last sentence.

    Raises:
        ConnectionMissing: The connection does not exist.
    """
    connection = find_connection(conn_id)
    if connection is None:
        raise ConnectionMissing(
            service=service,
            detail=f"the Airflow connection {conn_id!r} does not exist",
            cure=(
                f"Create it with type {conn_type} (Admin > Connections, or the environment variable "
                f"AIRFLOW_CONN_{conn_id.upper()}), {hint}."
            ),
        )
    return connection


def find_connection(conn_id: str) -> Connection | None:
    """Return an Airflow connection, or None if it does not exist.

    Raises:
        ConnectionMissing: The secrets backend does not let this task read it.
        UsageError: A secret in it has a control character.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        return None
    except PermissionError as error:
        text = redact(str(error))[:300]
        raise ConnectionMissing(
            service="this task",
            detail=f"the secrets backend denies access to the Airflow connection {conn_id!r} ({text})",
            cure="Let the workers read it.",
        ) from None
    _hide_secrets(connection)
    return connection


def _hide_secrets(connection: Connection) -> None:
    """Mask in logs and errors what is secret in a connection; refuse what no request can carry.

    Airflow masks the password, and fields whose names it knows as secrets; not the keys in a connection string.
    """
    settings = {"password": connection.password, "host": connection.host, "extra": connection.extra_dejson}
    for secret in hide_setting("", settings, owner=f"The Airflow connection {connection.conn_id!r}: "):
        mask_secret(secret)


def unknown_argument(error: TypeError, *, argument: str, hook: str) -> UsageError:
    """Return the error of an extra argument that a hook does not accept."""
    return UsageError(detail=f"{argument}: {hook} does not accept it ({redact(str(error))[:300]}).")


def environment() -> Mapping[str, str]:
    """Return the worker's environment variables."""
    return os.environ
