"""The S3 store behind an Airflow connection of type ``aws``."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from s3_to_azure.airflow.compat import AIRFLOW_FAILURES
from s3_to_azure.airflow.connections import environment, find_connection, get_connection, unknown_argument
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import S3
from s3_to_azure.stores.http.credentials import CredentialsProvider
from s3_to_azure.stores.http.hosts import note_all_reached
from s3_to_azure.stores.http.redaction import protect_logs
from s3_to_azure.stores.http.settings import Proxies, aws_ca_bundle
from s3_to_azure.stores.s3.errors import s3_settings_errors
from s3_to_azure.stores.s3.options import ReadOptions, botocore_config
from s3_to_azure.stores.s3.source import S3Source

log = logging.getLogger(__name__)

_DEFAULT_REGION: Final = "us-east-1"
_CUSTOMER_KEY: Final = "sse_customer_key"
"""Extra field of an ``aws`` connection: the key that decrypts the objects (SSE-C), in base64."""


def s3_source(
    aws_conn_id: str | None,
    *,
    connections: int,
    verify: bool | str | None = None,
    hook_arguments: Mapping[str, Any] | None = None,
    worked_before: bool = False,
) -> S3Source:
    """Return the S3 store, with an HTTP session of its own; no request is sent yet.

    Args:
        aws_conn_id: Id of a connection of type ``aws``; None: the worker's own identity (boto3's credential chain),
            which is used with a warning if ``aws_default`` does not exist.
        connections: How many HTTP connections to keep open.
        verify: False accepts any certificate, a path is a CA bundle; None: the connection's setting, else True.
        hook_arguments: More keyword arguments of ``S3Hook``, such as ``region_name`` or ``config``. Of ``extra_args``,
            RequestPayer, SSECustomerKey and VersionId apply to every read (``ReadOptions``), as ``requester_pays``.
        worked_before: The credentials worked earlier, in an earlier try or poke or in the run's plan: a failure to
            obtain them, or to find a host's address, may pass.

    Raises:
        ConnectionMissing: The Airflow connection does not exist.
        UsageError: The connection's settings cannot be used.
    """
    protect_logs()
    if worked_before:
        note_all_reached()
    arguments = dict(hook_arguments or {})
    # S3Hook accepts these two, but applies them only to its own transfers.
    extra, requester_pays = arguments.pop("extra_args", None) or {}, bool(arguments.pop("requester_pays", False))
    connection = None
    if aws_conn_id == defaults.AWS_CONN_ID:
        connection = find_connection(aws_conn_id)
        if connection is None:
            # As Airflow's own hooks do it; another id that does not exist is more likely misspelt.
            log.warning(
                "The Airflow connection %r does not exist, so the worker's own AWS identity reads S3. Pass "
                "aws_conn_id=None to say so, or create the connection.",
                aws_conn_id,
            )
            aws_conn_id = None
    elif aws_conn_id is not None:
        connection = get_connection(
            aws_conn_id, S3, "aws", "or pass aws_conn_id=None to use the worker's own AWS identity"
        )
    key = connection.extra_dejson.get(_CUSTOMER_KEY) if connection else None
    with s3_settings_errors(*AIRFLOW_FAILURES):
        try:
            hook = S3Hook(aws_conn_id=aws_conn_id, verify=verify, **arguments)
        except TypeError as error:
            raise unknown_argument(error, argument="s3_extra_args", hook="S3Hook") from None
        provider = CredentialsProvider(S3, worked_before=worked_before)
        # A role is assumed here.
        session = provider.obtain(lambda: hook.get_session(region_name=hook.region_name), is_proof=False)
        endpoint_url = hook.conn_config.get_service_endpoint_url("s3")
    config = botocore_config(connections, hook.config)
    return S3Source(
        session,
        {
            "config": config,
            "endpoint_url": endpoint_url,
            "region_name": hook.region_name or session.region_name or _DEFAULT_REGION,
            "verify": hook.verify if hook.verify is not None else aws_ca_bundle(environment()),
        },
        proxies=Proxies.of_environment(environment()),
        options=ReadOptions.of(extra, requester_pays=requester_pays, key=key),
        provider=provider,
    )
