"""The shipped stores on the local servers, made as an entry point makes them."""

from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any

import boto3
import botocore.session
from azure.core.credentials import AzureSasCredential
from azure.storage.blob import AccountSasPermissions, BlobServiceClient, ResourceTypes, generate_account_sas

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.stores.azure.client import service_client
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.http.settings import HttpSettings
from s3_to_azure.stores.s3.options import ReadOptions, botocore_config
from s3_to_azure.stores.s3.source import S3Source
from tests.fakes.fetching_azure import FetchingAzure
from tests.fakes.public_source import PublicSource


@cache
def _parsed_models() -> Any:
    """Return one loader for all sessions, because parsing S3's model is most of a client's cost."""
    return botocore.session.Session().get_component("data_loader")


def s3_session(access_key: str | None = None, secret_key: str | None = None, region: str | None = None) -> Any:
    """Return a boto3 session that is made in a fraction of the time."""
    core = botocore.session.Session()
    core.register_component("data_loader", _parsed_models())
    return boto3.Session(access_key, secret_key, region_name=region, botocore_session=core)


def s3_client_of(server: LocalS3, **options: Any) -> Any:
    """Return a boto3 client of the server; options replace those that the server's address and keys make."""
    made = s3_session(server.access_key, server.secret_key, server.region)
    return made.client("s3", **({"endpoint_url": server.endpoint_url} | options))


def s3_source(
    server: LocalS3,
    *,
    endpoint_url: str | None = None,
    access_key: str | None = None,
    secret_key: str | None = None,
    connections: int = 8,
    verify: bool | str = True,
    reading: ReadOptions | None = None,
    kind: type[S3Source] = S3Source,
) -> S3Source:
    """Return S3 at the server, or at a proxy before it."""
    session = s3_session(access_key or server.access_key, secret_key or server.secret_key, server.region)
    options: dict[str, Any] = {
        "endpoint_url": endpoint_url or server.endpoint_url,
        "config": botocore_config(connections),
        "verify": verify,
        "region_name": server.region,
    }
    return kind(session, options, options=reading)


def public_source(server: LocalS3) -> PublicSource:
    """Return S3 at the server as if it were a public one."""
    made = s3_source(server, kind=PublicSource)
    assert isinstance(made, PublicSource)
    return made


def account_sas(server: LocalAzure) -> str:
    """Return a SAS for everything that a copy does."""
    return generate_account_sas(
        server.account_name,
        server.account_key,
        ResourceTypes(service=True, container=True, object=True),
        AccountSasPermissions(read=True, write=True, list=True, create=True, delete=True, add=True),
        datetime.now(UTC) + timedelta(hours=1),
    )


def fetching_container(server: LocalAzure, container: str, azure: FetchingAzure) -> AzureContainer:
    """Return a container whose blocks Azure's fetcher fetches: with a SAS, which it sends on for the block."""
    sas = account_sas(server)
    return azure_container(server, container, account_url=azure.url, credential=AzureSasCredential(sas))


def azure_container(
    server: LocalAzure,
    container: str,
    *,
    account_url: str | None = None,
    credential: Any = None,
    connections: int = 8,
    verify: bool | str = True,
) -> AzureContainer:
    """Return a container at the server, or at a proxy before it."""
    url = account_url or server.account_url
    named = {"account_name": server.account_name, "account_key": server.account_key}
    client = BlobServiceClient(url, credential=credential or named)
    return AzureContainer(
        service_client(client, connections=connections, settings=HttpSettings(verify=verify)), container
    )
