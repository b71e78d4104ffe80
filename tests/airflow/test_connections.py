"""Stores from Airflow connections: ways to sign in, settings, and what is missing."""

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from azure.storage.blob import (
    AccountSasPermissions,
    ContainerClient,
    ResourceTypes,
    generate_account_sas,
)
from botocore import UNSIGNED

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.airflow.azure_hook import azure_service
from s3_to_azure.airflow.s3_hook import s3_source
from s3_to_azure.model.errors import AccessError, ConnectionMissing, CredentialsRefused, UsageError
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.http.connections import GuardedSession
from s3_to_azure.stores.s3.options import ReadOptions


def _sas(server: LocalAzure) -> str:
    return generate_account_sas(
        server.account_name,
        server.account_key,
        resource_types=ResourceTypes(service=True, container=True, object=True),
        permission=AccountSasPermissions(read=True, write=True, list=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )


_WAYS: dict[str, Callable[[LocalAzure], dict[str, Any]]] = {
    "connection string": lambda server: {"extra": {"connection_string": server.connection_string}},
    "connection string with SAS": lambda server: {
        "extra": {"connection_string": f"BlobEndpoint={server.account_url};SharedAccessSignature={_sas(server)}"}
    },
    "account key as password": lambda server: {
        "login": server.account_name,
        "password": server.account_key,
        "host": server.account_url,
    },
    "account key as extra": lambda server: {
        "login": server.account_name,
        "host": server.account_url,
        "extra": {"shared_access_key": server.account_key},
    },
    "SAS token": lambda server: {
        "login": server.account_name,
        "host": server.account_url,
        "extra": {"sas_token": _sas(server)},
    },
}


@pytest.fixture
def set_connection(monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    """Return a function that defines a connection and gives its id."""

    def define(conn_type: str, **fields: Any) -> str:
        monkeypatch.setenv("AIRFLOW_CONN_DEFINED", json.dumps({"conn_type": conn_type, **fields}))
        return "defined"

    return define


@pytest.mark.parametrize("way", _WAYS)
def test_azure_sign_in(
    way: str, set_connection: Callable[..., str], azure_server: LocalAzure, container: ContainerClient
) -> None:
    """Each way of the hook to sign in reaches the container."""
    conn_id = set_connection("wasb", **_WAYS[way](azure_server))
    AzureContainer(azure_service(conn_id, connections=2), container.container_name).check()


def test_azure_wrong_key(
    set_connection: Callable[..., str], azure_server: LocalAzure, container: ContainerClient
) -> None:
    """A wrong account key is refused as one, not as a missing container."""
    wrong = azure_server.connection_string.replace(azure_server.account_key, "d3Jvbmc=")
    conn_id = set_connection("wasb", extra={"connection_string": wrong})
    store = AzureContainer(azure_service(conn_id, connections=2), container.container_name)
    # Azure answers AuthenticationFailed, Azurite AuthorizationFailure.
    with pytest.raises(AccessError, match=container.container_name):
        store.check()


def test_azure_settings_that_cannot_be_used(set_connection: Callable[..., str]) -> None:
    """A broken connection string is named by its connection, and not repeated."""
    conn_id = set_connection("wasb", extra={"connection_string": "AccountKey=s3cr3t"})
    with pytest.raises(ConnectionMissing, match="'defined' cannot be used") as caught:
        azure_service(conn_id, connections=2)
    assert "s3cr3t" not in str(caught.value)


def test_missing_aws_connection() -> None:
    """A connection that is not there is named, with what to do; the worker's own identity is not taken instead."""
    with pytest.raises(ConnectionMissing, match=r"'not_there' does not exist\. Create it with type aws"):
        s3_source("not_there", connections=2)


def test_missing_wasb_connection() -> None:
    """A connection that is not there is named, with what to do."""
    with pytest.raises(ConnectionMissing, match=r"'not_there' does not exist\. Create it with type wasb"):
        azure_service("not_there", connections=2)


def test_s3_wrong_secret(set_connection: Callable[..., str], rclone_server: LocalS3) -> None:
    """A wrong secret is refused as one; rclone's server checks signatures."""
    conn_id = set_connection(
        "aws",
        login=rclone_server.access_key,
        password="wrong-secret",
        extra={"endpoint_url": rclone_server.endpoint_url, "config_kwargs": {"s3": {"addressing_style": "path"}}},
    )
    with pytest.raises(CredentialsRefused):
        s3_source(conn_id, connections=2).head("any-bucket", "any-key")


def test_s3_settings(set_connection: Callable[..., str]) -> None:
    """The connection's botocore settings stay, but SigV4 signs and the SDK never retries."""
    conn_id = set_connection(
        "aws",
        login="a",
        password="b",
        extra={
            "region_name": "eu-central-1",
            "verify": "/bundle.pem",
            "config_kwargs": {
                "signature_version": "s3",
                "retries": {"max_attempts": 10},
                "proxies": {"https": "http://proxy:1"},
                "s3": {"addressing_style": "virtual"},
            },
        },
    )
    source = s3_source(conn_id, connections=3)
    meta = source._client.meta
    assert meta.config.signature_version == "s3v4"
    assert meta.config.retries["total_max_attempts"] == 1
    assert meta.config.s3["addressing_style"] == "virtual"
    assert meta.region_name == "eu-central-1"
    assert isinstance(source._http, GuardedSession)
    assert (source._http.verify, source._http.proxies) == ("/bundle.pem", {"https": "http://proxy:1"})


def test_s3_public_bucket(set_connection: Callable[..., str]) -> None:
    """Unsigned requests stay unsigned."""
    conn_id = set_connection("aws", extra={"config_kwargs": {"signature_version": "unsigned"}})
    assert s3_source(conn_id, connections=3)._client.meta.config.signature_version is UNSIGNED


@pytest.mark.parametrize(("verify", "expected"), [(None, True), (False, False), ("/other.pem", "/other.pem")])
def test_tls_is_verified(
    verify: bool | str | None, expected: bool | str, set_connection: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Certificates are verified unless it is said that they are not."""
    monkeypatch.delenv("AWS_CA_BUNDLE", raising=False)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    conn_id = set_connection("aws", login="a", password="b")
    assert s3_source(conn_id, connections=3, verify=verify)._http.verify == expected


def test_arguments_of_the_hooks_own_transfers(set_connection: Callable[..., str]) -> None:
    """Who pays and whose key decrypts hold for our reads too; what is not understood is refused rather than ignored."""
    key = base64.b64encode(b"k" * 32).decode()
    conn_id = set_connection("aws", login="a", password="b", extra={"sse_customer_key": key})
    source = s3_source(conn_id, connections=3, hook_arguments={"requester_pays": True})
    assert source._options == ReadOptions(requester_pays=True, customer_key=b"k" * 32)
    with pytest.raises(UsageError, match="ACL"):
        s3_source(conn_id, connections=3, hook_arguments={"extra_args": {"ACL": "private"}})
