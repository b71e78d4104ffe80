"""The storage account from an Airflow connection: ways to sign in, settings, errors, and the run's state files."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast
from uuid import uuid4

import pytest
from airflow.sdk import Context
from azure.storage.blob import (
    AccountSasPermissions,
    BlobServiceClient,
    ContainerClient,
    ResourceTypes,
    generate_account_sas,
)

from local_cloud.servers import LocalAzure
from s3_to_azure.airflow.azure_hook import azure_service, run_files, task_files
from s3_to_azure.model.errors import AccessError, ConnectionMissing, UsageError
from s3_to_azure.model.names import id_of
from s3_to_azure.stores.azure.container import AzureContainer
from tests.certificates import certified


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


@pytest.mark.parametrize("way", _WAYS)
def test_check_with_each_azure_credential_does_not_raise(
    way: str, set_connection: Callable[..., str], azure_server: LocalAzure, container: ContainerClient
) -> None:
    """Each authentication method of the hook gives access to the container."""
    conn_id = set_connection("wasb", **_WAYS[way](azure_server))
    AzureContainer(azure_service(conn_id, connections=2), container.container_name).check()


def test_azure_wrong_key(
    set_connection: Callable[..., str], azure_server: LocalAzure, container: ContainerClient
) -> None:
    """A wrong account key is reported as such, not as a missing container."""
    wrong = azure_server.connection_string.replace(azure_server.account_key, "d3Jvbmc=")
    conn_id = set_connection("wasb", extra={"connection_string": wrong})
    store = AzureContainer(azure_service(conn_id, connections=2), container.container_name)
    # Azure answers AuthenticationFailed, Azurite AuthorizationFailure.
    with pytest.raises(AccessError, match=container.container_name):
        store.check()


def test_azure_settings_that_cannot_be_used(set_connection: Callable[..., str]) -> None:
    """The error names the connection, but does not repeat its broken connection string."""
    conn_id = set_connection("wasb", extra={"connection_string": "AccountKey=s3cr3t"})
    with pytest.raises(ConnectionMissing, match="'defined' cannot be used") as caught:
        azure_service(conn_id, connections=2)
    assert "s3cr3t" not in str(caught.value)


@pytest.mark.parametrize(
    "settings",
    [
        {"login": "https://acc.blob.core.windows.net"},
        {"login": "acc.blob.core.windows.net"},
        {"login": "my acc"},
        {"login": "acc", "host": "https://acc.dfs.core.windows.net"},
    ],
    ids=str,
)
def test_account_that_cannot_be_one_is_refused(set_connection: Callable[..., str], settings: dict[str, str]) -> None:
    """The hook would make a host of whatever it is, which does not exist."""
    conn_id = set_connection("wasb", extra={"sas_token": "sv=1&sig=x"}, **settings)
    with pytest.raises(ConnectionMissing, match=r"the Airflow connection 'defined' cannot be used .* the login"):
        azure_service(conn_id, connections=1)


@pytest.mark.parametrize(
    "extra", [{"sas_token": 5}, {"read_timeout": "soon"}, {"proxies": "http://p:1"}, {"api_version": "1999"}]
)
def test_odd_extra_fields_are_an_error_of_ours(set_connection: Callable[..., str], extra: dict[str, Any]) -> None:
    """No traceback of a library."""
    conn_id = set_connection("wasb", login="acc", password="QUJD", extra=extra)
    with pytest.raises((ConnectionMissing, UsageError)):
        azure_service(conn_id, connections=1)


def test_settings_of_the_connection_reach_all_clients(
    set_connection: Callable[..., str], azure_server: LocalAzure, tmp_path: Path
) -> None:
    """Certificate, proxies, timeouts, service version and audience."""
    certificate = str(certified(tmp_path / "client.pem"))
    extra = {
        "connection_string": azure_server.connection_string,
        "connection_cert": [certificate, certificate],
        "proxies": {"https": "http://p:1", "no_proxy": "inside"},
        "connection_timeout": 3,
        "read_timeout": 4,
        "api_version": "2021-12-02",
        "audience": "https://other.example/",
    }
    service = azure_service(set_connection("wasb", extra=extra), connections=1)
    settings = service.http.settings
    assert service.signed.http_connections.settings is settings
    assert settings.client_certificate == (certificate, certificate)
    assert (settings.proxies.for_url("https://a/"), settings.proxies.for_url("https://inside/")) == ("http://p:1", None)
    assert (settings.connect_timeout_s, settings.read_timeout_s) == (3, 4)
    assert (service.api_version, service.scope) == ("2021-12-02", "https://other.example/.default")


def test_missing_wasb_connection() -> None:
    """The error names the missing connection and what to do."""
    with pytest.raises(ConnectionMissing, match=r"'not_there' does not exist\. Create it with type wasb"):
        azure_service("not_there", connections=2)


@pytest.mark.parametrize(
    ("verify", "expected"), [({}, "/bundle.pem"), ({"connection_verify": False}, False)], ids=["default", "connection"]
)
def test_ca_bundle_of_the_environment(
    verify: dict[str, Any],
    expected: bool | str,
    set_connection: Callable[..., str],
    azure_server: LocalAzure,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The bundle is used unless the connection says otherwise."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/bundle.pem")
    conn_id = set_connection("wasb", extra={"connection_string": azure_server.connection_string, **verify})
    assert azure_service(conn_id, connections=1).http.settings.verify == expected


def _context(map_index: int | None = None) -> Context:
    instance = SimpleNamespace(dag_id="dag", run_id="manual__1", task_id="copy", map_index=map_index)
    return cast("Context", {"ti": instance})


@pytest.mark.parametrize(
    ("files", "map_index", "folder"),
    [
        (run_files, 3, "manual__1"),
        (task_files, None, "manual__1/copy"),
        (task_files, -1, "manual__1/copy"),
        (task_files, 0, "manual__1/copy/0"),
    ],
)
def test_state_files_lie_in_the_runs_or_the_tasks_folder(
    files: Any, map_index: int | None, folder: str, connections: dict[str, Any], container: ContainerClient
) -> None:
    """The tasks of a migration share the run's folder; a task without a plan has its own, and each mapped one too."""
    service = azure_service(connections["wasb_conn_id"], connections=1)
    with files(service, container.container_name, _context(map_index)).write("x.json") as out:
        out.write(b"{}")
    (name,) = container.list_blob_names()
    root, dag_id, run_id, file = name.split("/")
    assert (root, id_of(dag_id), id_of(run_id), file) == ("_s3_to_azure", "dag", folder, "x.json")


def test_a_missing_state_container_is_created_on_request(
    connections: dict[str, Any], blob_service: BlobServiceClient
) -> None:
    """Without ``create`` no request is sent."""
    service = azure_service(connections["wasb_conn_id"], connections=1)
    name = f"new-{uuid4().hex}"
    run_files(service, name, _context())
    assert not blob_service.get_container_client(name).exists()
    run_files(service, name, _context(), create=True)
    assert blob_service.get_container_client(name).exists()
