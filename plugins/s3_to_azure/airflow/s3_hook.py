"""S3 as an Airflow connection of type ``aws`` reaches it."""

from collections.abc import Mapping
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.sdk.log import mask_secret
from botocore import UNSIGNED
from botocore.config import Config

from s3_to_azure.airflow.connections import ca_bundle, connection_of, proxies_for
from s3_to_azure.stores.http.errors import S3, protect_logs
from s3_to_azure.stores.s3.options import ReadOptions, botocore_config
from s3_to_azure.stores.s3.responses import s3_errors
from s3_to_azure.stores.s3.source import S3Source

_DEFAULT_REGION: Final = "us-east-1"
_CUSTOMER_KEY: Final = "sse_customer_key"
"""Field of an ``aws`` connection's extra: base64 of the key that decrypts the objects (SSE-C)."""


def s3_source(
    aws_conn_id: str | None,
    *,
    connections: int,
    verify: bool | str | None = None,
    hook_arguments: Mapping[str, Any] | None = None,
) -> S3Source:
    """Return S3 as the Airflow connection reaches it; no request is sent yet.

    Args:
        aws_conn_id: Id of a connection of type ``aws``; None for the worker's own identity (boto3's chain).
        connections: Connections to keep.
        verify: False accepts any certificate, a path is a CA bundle; None: as the connection says, else True.
        hook_arguments: More keyword arguments of ``S3Hook``, such as ``region_name`` or ``config``; of ``extra_args``
            RequestPayer, SSECustomerKey and VersionId (``ReadOptions``), and ``requester_pays``.

    Raises:
        ConnectionMissing: There is no such connection.
        UsageError: The connection's settings cannot be used.
    """
    protect_logs()
    arguments = dict(hook_arguments or {})
    # S3Hook takes them, but they act on its own transfers only.
    extra, requester_pays = arguments.pop("extra_args", None) or {}, bool(arguments.pop("requester_pays", False))
    key = None
    if aws_conn_id is not None:
        connection = connection_of(
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
    config = _config(hook.config, connections)
    trust = hook.verify if hook.verify is not None else ca_bundle("AWS_CA_BUNDLE")
    return S3Source(
        session,
        {
            "config": config,
            "endpoint_url": endpoint_url,
            "region_name": hook.region_name or session.region_name or _DEFAULT_REGION,
            "verify": trust,
        },
        connections=connections,
        verify=trust,
        proxies=config.proxies or proxies_for(endpoint_url or "https://s3.amazonaws.com"),
        options=ReadOptions.of(extra, requester_pays=requester_pays, key=key),
    )


def _config(given: Config, connections: int) -> Config:
    """Return the connection's own botocore settings with ours on top; a public bucket's unsigned requests stay."""
    config = botocore_config(connections, given)
    if given.signature_version is UNSIGNED:
        return config.merge(Config(signature_version=UNSIGNED))
    return config
