"""Both stores for the command line, with credentials from the environment variables that the SDKs use."""

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Final, TypeAlias
from urllib.parse import urlsplit

import boto3
from azure.core.credentials import AzureSasCredential
from azure.storage.blob import BlobServiceClient
from botocore import UNSIGNED
from botocore.config import Config

from s3_to_azure.model.errors import AZURE, S3, ConnectionMissing, CredentialsUnavailable, UsageError
from s3_to_azure.stores.azure.accounts import account_endpoint, check_client
from s3_to_azure.stores.azure.client import StreamingClient, service_client
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.errors import azure_settings_errors
from s3_to_azure.stores.http.credentials import CredentialsProvider
from s3_to_azure.stores.http.redaction import hide_setting, protect_logs
from s3_to_azure.stores.http.settings import HttpSettings, Proxies, aws_ca_bundle, ca_bundle
from s3_to_azure.stores.s3.errors import s3_settings_errors
from s3_to_azure.stores.s3.options import ReadOptions, botocore_config
from s3_to_azure.stores.s3.source import S3Source

CUSTOMER_KEY: Final = "S3_SSE_CUSTOMER_KEY"
"""The variable of the key that decrypts the objects (SSE-C), in base64."""
_OURS: Final = ("AWS_", "AZURE_", "S3_")
_TRUE: Final = ("1", "true", "yes", "on")
_CURE: Final = (
    "Set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN, "
    "or sign in for DefaultAzureCredential."
)
_ACCOUNT_CURE: Final = (
    "Give the account's name, or the URL of its blob endpoint: https://ACCOUNT.blob.core.windows.net."
)


S3Session: TypeAlias = Any
"""boto3's session, which has no types."""


def s3_session() -> S3Session:
    """Return a session, whose credentials are obtained once however many sources have it.

    Raises:
        UsageError: The profile does not exist, for example.
    """
    with s3_settings_errors():
        return boto3.Session()


def s3_source(
    environment: Mapping[str, str],
    *,
    connections: int,
    verify: bool,
    sign: bool = True,
    requester_pays: bool = False,
    version_id: str | None = None,
    session: S3Session | None = None,
) -> S3Source:
    """Return S3 with the credentials of boto3's chain.

    Args:
        environment: Environment variables; ``S3_SSE_CUSTOMER_KEY`` is the base64 of the key that decrypts the objects.
        connections: Connections that boto3 keeps.
        verify: False to accept any certificate.
        sign: False to read without credentials, as ``AWS_NO_SIGN_REQUEST=true`` does.
        requester_pays: The bucket charges the reader.
        version_id: The version to read instead of the current one.
        session: From ``s3_session``, for sources that share credentials; None: a session of its own.

    Raises:
        ConnectionMissing: boto3 finds no credentials.
        CredentialsRefused: STS or SSO refuses to issue them.
        UsageError: A variable has a control character.
    """
    _hide_secrets(environment)
    provider = CredentialsProvider(S3)
    with s3_settings_errors():
        session = session or boto3.Session()
        signed = sign and environment.get("AWS_NO_SIGN_REQUEST", "").lower() not in _TRUE
        credentials = provider.obtain(session.get_credentials, is_proof=False) if signed else None
    if signed and credentials is None:
        raise ConnectionMissing(
            service=S3,
            detail="boto3 finds no credentials in environment, files, or instance metadata",
            cure="Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or attach a role; for a public bucket "
            "use --no-sign-request.",
        )
    if credentials is not None:
        # Not at the first request: the processes of a copy are forked before it, and each of them would ask STS, or the
        # person at the terminal for an MFA code that is good only once. An outage may have passed by then.
        with suppress(CredentialsUnavailable), s3_settings_errors():
            provider.obtain(credentials.get_frozen_credentials)
    options = {
        "config": botocore_config(connections, None if signed else Config(signature_version=UNSIGNED)),
        "verify": aws_ca_bundle(environment) if verify else False,
        "region_name": session.region_name or "us-east-1",
    }
    reading = ReadOptions.of(
        {"VersionId": version_id} if version_id else {},
        requester_pays=requester_pays,
        key=environment.get(CUSTOMER_KEY) or None,
    )
    proxies = Proxies.of_environment(environment)
    return S3Source(session, options, proxies=proxies, options=reading, provider=provider)


def azure_container(
    environment: Mapping[str, str], container: str, *, account_url: str | None, connections: int, verify: bool
) -> AzureContainer:
    """Return a container with the environment's credentials.

    Args:
        environment: As for ``azure_service``.
        container: The container's name.
        account_url: As for ``azure_service``.
        connections: As for ``azure_service``.
        verify: As for ``azure_service``.

    Raises:
        ConnectionMissing: As for ``azure_service``.
        UsageError: As for ``azure_service``.
    """
    service = azure_service(environment, account_url=account_url, connections=connections, verify=verify)
    return AzureContainer(service, container)


def azure_service(
    environment: Mapping[str, str], *, account_url: str | None, connections: int, verify: bool
) -> StreamingClient:
    """Return a client of the storage account with the environment's credentials.

    Args:
        environment: Environment variables.
        account_url: The account's blob endpoint if the destination was given as a URL, else None.
        connections: Connections that the SDK keeps.
        verify: False to accept any certificate.

    Raises:
        ConnectionMissing: No variable names the account.
        UsageError: The credentials are invalid, or belong to another account.
    """
    _hide_secrets(environment)
    client = _client(environment, account_url)
    own_url = client.url.partition("?")[0]
    if account_url and _endpoint(own_url) != _endpoint(account_url):
        raise UsageError(
            detail=f"The destination's account {account_url!r} is not the account of AZURE_STORAGE_CONNECTION_STRING, "
            f"which is {own_url!r}. With a connection string, write the destination as az://container/path."
        )
    settings = HttpSettings(
        verify=ca_bundle(environment) if verify else False, proxies=Proxies.of_environment(environment)
    )
    return service_client(client, connections=connections, settings=settings)


def _client(environment: Mapping[str, str], account_url: str | None) -> BlobServiceClient:
    connection_string = environment.get("AZURE_STORAGE_CONNECTION_STRING")
    if connection_string:
        with azure_settings_errors("AZURE_STORAGE_CONNECTION_STRING", _CURE):
            client = BlobServiceClient.from_connection_string(connection_string)
            check_client(client)
            return client
    account = environment.get("AZURE_STORAGE_ACCOUNT")
    if not account and not account_url:
        raise ConnectionMissing(service=AZURE, detail="no variable names the account", cure=_CURE)
    with azure_settings_errors("AZURE_STORAGE_ACCOUNT", _ACCOUNT_CURE):
        own_url = account_endpoint(account) if account else None
    url = str(account_url or own_url)
    with azure_settings_errors("the credentials in the environment", _CURE):
        client = BlobServiceClient(url, credential=_credential(environment, _account_of(own_url or url)))
    with azure_settings_errors("the address of the destination", _ACCOUNT_CURE):
        check_client(client)
    return client


def _endpoint(url: str) -> tuple[str, str, str]:
    """Return what two addresses of one account have in common."""
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower(), parts.path.strip("/")


def _account_of(url: str) -> str:
    """Return the account that a URL names: by its path at an emulator, else by the first label of its host."""
    parts = urlsplit(url)
    return parts.path.strip("/") or str(parts.hostname).partition(".")[0]


def _credential(environment: Mapping[str, str], account: str) -> Any:
    key = environment.get("AZURE_STORAGE_KEY")
    if key:
        # With the key alone, the SDK would look for the account's name in the host.
        return {"account_name": account, "account_key": key}
    token = environment.get("AZURE_STORAGE_SAS_TOKEN")
    if token:
        return AzureSasCredential(token.lstrip("?"))
    # Slow to import, and needed for this credential only.
    from azure.identity import DefaultAzureCredential  # noqa: PLC0415

    return DefaultAzureCredential()


def _hide_secrets(environment: Mapping[str, str]) -> None:
    """Mask in logs and errors what the SDKs read as secret; refuse what no request can carry."""
    protect_logs()
    for name, value in environment.items():
        if name.startswith(_OURS) or name.upper().endswith("_PROXY"):
            hide_setting(name, value)


def current() -> Mapping[str, str]:
    """Return the process's environment variables."""
    return os.environ
