"""Hosts without an address: an error that names the setting, on each client; a host that was reached is tried again."""

import socket
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest

from local_cloud.servers import AZURITE_KEY, LocalAzure, LocalS3
from s3_to_azure.model.errors import AZURE, S3, ConnectionFailed, TransferError, UsageError
from s3_to_azure.stores.http import hosts
from s3_to_azure.stores.http.connections import HttpConnections
from s3_to_azure.stores.http.errors import network_error, translated
from s3_to_azure.stores.http.hosts import note_all_reached, note_reached
from s3_to_azure.stores.http.settings import HttpSettings, Proxies
from s3_to_azure.stores.s3.options import botocore_config
from s3_to_azure.stores.s3.source import S3Source
from tests.fakes.scripted_server import scripted_server
from tests.real_stores import azure_container, s3_session, s3_source

HOST = "nothing.example.com"


@pytest.fixture(autouse=True)
def resolve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int | None], None]]:
    """Return a function that sets how each look-up fails; at first as that of a name that does not exist."""
    failures: list[int | None] = [socket.EAI_NONAME]
    real = socket.getaddrinfo

    def look_up(*arguments: Any, **named: Any) -> Any:
        if failures[-1] is None:
            return real(*arguments, **named)
        raise socket.gaierror(failures[-1], "it failed")

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    yield failures.append
    failures.append(None)


def list_s3(endpoint: str = f"https://{HOST}") -> None:
    """Send a request by boto3."""
    with closing(s3_source(LocalS3(endpoint, "access", "secret", "us-east-1"))) as source:
        next(iter(source.list("bucket", "")), None)


def look_at_azure() -> None:
    """Send a request by Azure's SDK."""
    account = LocalAzure("", f"https://{HOST}", "account", AZURITE_KEY)
    with closing(azure_container(account, "container")) as container:
        container.head("blob")


def connect(service: str = S3, proxy: str = "", url: str = f"https://{HOST}/b") -> None:
    """Send a request by our own connections."""
    settings = HttpSettings(proxies=Proxies({"https": proxy, "http": proxy}))
    with closing(HttpConnections(settings)) as connections:
        try:
            with connections.request("GET", url, {}) as response:
                response.read()
        except Exception as error:  # noqa: BLE001 - as the stores translate it
            raise translated(service, "b", error) from None


def connect_to_azure() -> None:
    """Send a request to Azure by our own connections."""
    connect(AZURE)


CLIENTS = {
    "boto3": (list_s3, "AWS_ENDPOINT_URL"),
    "SDK": (look_at_azure, "storage account"),
    "connections to S3": (connect, "AWS_ENDPOINT_URL"),
    "connections to Azure": (connect_to_azure, "storage account"),
}


@pytest.mark.parametrize("client", CLIENTS)
def test_host_that_does_not_exist_is_an_error_of_a_setting(client: str) -> None:
    """A retry cannot help, so there is none."""
    request, setting = CLIENTS[client]
    with pytest.raises(UsageError, match=rf"{HOST}'.*no address.*{setting}"):
        request()


@pytest.mark.parametrize("client", CLIENTS)
def test_host_that_was_reached_is_tried_again(client: str) -> None:
    """A name that vanishes in the middle of a run comes back."""
    note_reached(HOST.upper())
    with pytest.raises(ConnectionFailed, match="it failed"):
        CLIENTS[client][0]()


@pytest.mark.parametrize("client", CLIENTS)
def test_host_that_an_earlier_process_reached_is_tried_again(client: str) -> None:
    """A task of a migration runs in a process of its own, and the plan before it has used the same hosts."""
    note_all_reached()
    with pytest.raises(ConnectionFailed, match="it failed"):
        CLIENTS[client][0]()


@pytest.mark.parametrize("client", CLIENTS)
def test_resolver_that_does_not_answer_is_tried_again(client: str, resolve: Callable[[int], None]) -> None:
    """It says nothing about the name."""
    resolve(socket.EAI_AGAIN)
    with pytest.raises(ConnectionFailed, match="it failed"):
        CLIENTS[client][0]()


@pytest.mark.parametrize("client", ["boto3", "connections"])
def test_connection_notes_its_host(client: str, resolve: Callable[[int | None], None]) -> None:
    """Whatever comes over it."""
    resolve(None)
    with scripted_server(lambda _: [b"HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n"]) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        if client == "boto3":
            with pytest.raises(TransferError):
                list_s3(endpoint=url)
        else:
            connect(url=url)
    assert hosts._reached == {"localhost"}


def test_proxy_that_does_not_exist_is_named() -> None:
    """Not the host behind it, whose name the proxy looks up."""
    with pytest.raises(UsageError, match=r"proxy's host 'proxy\.example\.com'"):
        connect(proxy="http://user:secret@proxy.example.com:3128")


def test_directory_bucket_of_another_region_is_named_with_its_zone() -> None:
    """Its host has the zone and the region, and there is one only where both belong together."""
    session, options = s3_session("access", "secret", "us-east-1"), {"config": botocore_config(1)}
    with (
        closing(S3Source(session, {**options, "region_name": "us-east-1"})) as source,
        pytest.raises(UsageError, match=r"'data--usw2-az1--x-s3' is in the zone usw2-az1, and the region us-east-1"),
    ):
        next(iter(source.list("data--usw2-az1--x-s3", "")), None)


def test_other_failures_are_not_about_a_name() -> None:
    """The chain of exceptions is the usual one."""
    assert isinstance(network_error(S3, "b", ConnectionRefusedError(111, "refused")), ConnectionFailed)
