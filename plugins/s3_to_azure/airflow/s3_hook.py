"""The S3 store, the queue of its events, and a key of KMS, behind an Airflow connection of type ``aws``."""

import logging
from collections.abc import Mapping
from typing import Any, Final

from airflow.providers.amazon.aws.hooks.s3 import S3Hook

from s3_to_azure.airflow.compat import AIRFLOW_FAILURES, Connection
from s3_to_azure.airflow.connections import CUSTOMER_KEY, environment, find_connection, get_connection, unknown_argument
from s3_to_azure.model import defaults
from s3_to_azure.model.errors import S3
from s3_to_azure.model.retry import Retrier
from s3_to_azure.stores.http.credentials import CredentialsProvider
from s3_to_azure.stores.http.hosts import note_all_reached
from s3_to_azure.stores.http.redaction import protect_logs
from s3_to_azure.stores.http.settings import Proxies, aws_ca_bundle
from s3_to_azure.stores.s3.errors import s3_settings_errors
from s3_to_azure.stores.s3.kms import KmsKey
from s3_to_azure.stores.s3.options import ReadOptions, botocore_config
from s3_to_azure.stores.s3.queue import SqsQueue
from s3_to_azure.stores.s3.source import S3Source

log = logging.getLogger(__name__)

_DEFAULT_REGION: Final = "us-east-1"
_OF_READS: Final = ("extra_args", "requester_pays")


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
    aws_conn_id, connection = _connection(aws_conn_id)
    key = connection.extra_dejson.get(CUSTOMER_KEY) if connection else None
    provider = CredentialsProvider(S3, worked_before=worked_before)
    session, client_options = _session(
        aws_conn_id, "s3", provider, connections=connections, verify=verify, arguments=arguments
    )
    return S3Source(
        session,
        client_options,
        proxies=Proxies.of_environment(environment()),
        options=ReadOptions.of(extra, requester_pays=requester_pays, key=key),
        provider=provider,
    )


def sqs_queue(
    aws_conn_id: str | None,
    url: str,
    *,
    verify: bool | str | None = None,
    hook_arguments: Mapping[str, Any] | None = None,
    worked_before: bool = False,
) -> SqsQueue:
    """Return the queue in which S3 announces objects; no request is sent yet.

    Args:
        aws_conn_id: As for ``s3_source``; the connection's identity needs rights on the queue too.
        url: The queue's URL, whose host is asked unless the connection has an endpoint.
        verify: As for ``s3_source``.
        hook_arguments: As for ``s3_source``; those that only apply to reading objects are ignored.
        worked_before: As for ``s3_source``.

    Raises:
        ConnectionMissing: The Airflow connection does not exist.
        UsageError: The connection's settings, or the URL, cannot be used.
    """
    protect_logs()
    arguments = {name: value for name, value in (hook_arguments or {}).items() if name not in _OF_READS}
    aws_conn_id, _ = _connection(aws_conn_id)
    provider = CredentialsProvider(S3, worked_before=worked_before)
    session, client_options = _session(aws_conn_id, "sqs", provider, connections=1, verify=verify, arguments=arguments)
    return SqsQueue(session, client_options, url)


def kms_key(
    aws_conn_id: str | None,
    arn: str,
    retrier: Retrier,
    *,
    verify: bool | str | None = None,
) -> KmsKey:
    """Return a key of KMS that signs certificates; no request is sent yet.

    Args:
        aws_conn_id: As for ``s3_source``; the connection's identity needs rights on the key too.
        arn: The key's ARN, whose region is asked.
        retrier: Repeats each request.
        verify: As for ``s3_source``.

    Raises:
        ConnectionMissing: The Airflow connection does not exist.
        UsageError: The connection's settings, or the ARN, cannot be used.
    """
    protect_logs()
    aws_conn_id, _ = _connection(aws_conn_id)
    session, client_options = _session(
        aws_conn_id, "kms", CredentialsProvider(S3), connections=1, verify=verify, arguments={}
    )
    return KmsKey(session, client_options, arn, retrier)


def _connection(aws_conn_id: str | None) -> tuple[str | None, Connection | None]:
    """Return the id of the connection to use, and the connection; None and None for the worker's own identity.

    Raises:
        ConnectionMissing: The Airflow connection does not exist.
    """
    if aws_conn_id == defaults.AWS_CONN_ID:
        connection = find_connection(aws_conn_id)
        if connection is None:
            # As Airflow's own hooks do it; another id that does not exist is more likely misspelt.
            log.warning(
                "The Airflow connection %r does not exist, so the worker's own AWS identity is used. Pass "
                "aws_conn_id=None to say so, or create the connection.",
                aws_conn_id,
            )
            return None, None
        return aws_conn_id, connection
    if aws_conn_id is None:
        return None, None
    cure = "or pass aws_conn_id=None to use the worker's own AWS identity"
    return aws_conn_id, get_connection(aws_conn_id, S3, "aws", cure)


def _session(
    aws_conn_id: str | None,
    service: str,
    provider: CredentialsProvider,
    *,
    connections: int,
    verify: bool | str | None,
    arguments: Mapping[str, Any],
) -> tuple[Any, dict[str, Any]]:
    """Return a boto3 session, and the keyword arguments of a client of the service."""
    with s3_settings_errors(*AIRFLOW_FAILURES):
        try:
            hook = S3Hook(aws_conn_id=aws_conn_id, verify=verify, **arguments)
        except TypeError as error:
            raise unknown_argument(error, argument="s3_extra_args", hook="S3Hook") from None
        # A role is assumed here.
        session = provider.obtain(lambda: hook.get_session(region_name=hook.region_name), is_proof=False)
        endpoint_url = hook.conn_config.get_service_endpoint_url(service)
    return session, {
        "config": botocore_config(connections, hook.config),
        "endpoint_url": endpoint_url,
        "region_name": hook.region_name or session.region_name or _DEFAULT_REGION,
        "verify": hook.verify if hook.verify is not None else aws_ca_bundle(environment()),
    }
