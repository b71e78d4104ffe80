"""From Airflow connection ids to the stores: every auth method of the hooks, nothing of their transfers.

Only the hooks' session and client are taken, so whatever they can sign in with works here. Heavy to import (both
SDKs): operators and sensors import it when they run, never when a DAG is parsed.
"""

import os
from collections.abc import Mapping
from typing import Any, Final

import requests.utils
from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.microsoft.azure.hooks.wasb import WasbHook
from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret
from azure.core.exceptions import AzureError
from botocore import UNSIGNED
from botocore.config import Config

from s3_to_azure.engine.errors import ConnectionMissing
from s3_to_azure.stores.azure_client import StreamingClient, service_client
from s3_to_azure.stores.environment import botocore_config
from s3_to_azure.stores.redaction import protect_logs, redact
from s3_to_azure.stores.s3 import S3Source
from s3_to_azure.stores.s3_options import ReadOptions
from s3_to_azure.stores.sdk_errors import AZURE, S3, s3_errors

_DEFAULT_REGION: Final = "us-east-1"
_CUSTOMER_KEY: Final = "sse_customer_key"
"""Field of an ``aws`` connection's extra: base64 of the key that decrypts the objects (SSE-C)."""


def s3_source(
    aws_conn_id: str | None,
    *,
    lanes: int,
    verify: bool | str | None = None,
    hook_arguments: Mapping[str, Any] | None = None,
) -> S3Source:
    """Return S3 as the Airflow connection reaches it; no request is sent yet.

    Args:
        aws_conn_id: Id of a connection of type ``aws``; None for the worker's own identity (boto3's chain).
        lanes: Connections to keep.
        verify: False accepts any certificate, a path is a CA bundle; None: as the connection says, else True.
        hook_arguments: More keyword arguments of ``S3Hook``, such as ``region_name`` or ``config``; of ``extra_args``
            RequestPayer, SSECustomerKey and VersionId (``ReadOptions``), and ``requester_pays``.

    Raises:
        ConnectionMissing: There is no such connection.
        WrongUse: The connection's settings cannot be used.
    """
    protect_logs()
    arguments = dict(hook_arguments or {})
    # S3Hook takes them, but they act on its own transfers only.
    extra, requester_pays = arguments.pop("extra_args", None) or {}, bool(arguments.pop("requester_pays", False))
    key = None
    if aws_conn_id is not None:
        connection = _connection(
            aws_conn_id, S3, "aws", "or pass aws_conn_id=None to use the worker's own AWS identity"
        )
        key = connection.extra_dejson.get(_CUSTOMER_KEY)
        if key:
            # Airflow hides only fields whose names sound like secrets.
            mask_secret(key)
    with s3_errors(bucket="", key=None):
        hook = S3Hook(aws_conn_id=aws_conn_id, verify=verify, **arguments)
        session = hook.get_session(region_name=hook.region_name)
        endpoint_url = hook.conn_config.get_service_endpoint_url("s3")
    config = _config(hook.config, lanes)
    trust = hook.verify if hook.verify is not None else _ca_bundle("AWS_CA_BUNDLE")
    return S3Source(
        session,
        {
            "config": config,
            "endpoint_url": endpoint_url,
            "region_name": hook.region_name or session.region_name or _DEFAULT_REGION,
            "verify": trust,
        },
        lanes=lanes,
        verify=trust,
        proxies=config.proxies or _proxies(endpoint_url or "https://s3.amazonaws.com"),
        options=ReadOptions.of(extra, requester_pays=requester_pays, key=key),
    )


def azure_service(wasb_conn_id: str, *, lanes: int, hook_arguments: Mapping[str, Any] | None = None) -> StreamingClient:
    """Return the account as the Airflow connection reaches it, on a session of our own; no request is sent yet.

    Args:
        wasb_conn_id: Id of a connection of type ``wasb``.
        lanes: Connections to keep.
        hook_arguments: More keyword arguments of ``WasbHook``.

    Raises:
        ConnectionMissing: There is no such connection, or it names no account.
    """
    protect_logs()
    connection = _connection(wasb_conn_id, AZURE, "wasb", "best with connection_string, or with the account as login")
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
        lanes=lanes,
        verify=_ca_bundle() if verify is True else verify,
        proxies=extra.get("proxies") or _proxies(client.url.partition("?")[0]),
    )


def _connection(conn_id: str, service: str, conn_type: str, hint: str) -> Connection:
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


def _config(given: Config, lanes: int) -> Config:
    """Return the connection's own botocore settings with ours on top; a public bucket's unsigned requests stay."""
    config = botocore_config(lanes, given)
    if given.signature_version is UNSIGNED:
        return config.merge(Config(signature_version=UNSIGNED))
    return config


def _ca_bundle(*variables: str) -> bool | str:
    for variable in (*variables, "REQUESTS_CA_BUNDLE"):
        if os.environ.get(variable):
            return os.environ[variable]
    return True


def _proxies(url: str) -> dict[str, str]:
    return dict(requests.utils.get_environ_proxies(url))
