"""Listings of several pages from the real servers: one page fails and is requested again."""

import threading
from collections.abc import Callable
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.errors import ServerFailed
from s3_to_azure.model.retry import Retrier, with_retries
from s3_to_azure.stores.azure.state import AzureState
from tests.real_stores import azure_container, s3_source
from tests.runs.nights import QUICK

NAMES = [f"{number:02}" for number in range(7)]


def failing_once(act: Callable[..., Any], *, call: int) -> Callable[..., Any]:
    """Return the function with its n-th call failing."""
    calls: list[None] = []

    def flaky(*args: Any, **kwargs: Any) -> Any:
        calls.append(None)
        if len(calls) == call:
            raise ServerFailed(service="the service", status=500, code="InternalError", resource="a page")
        return act(*args, **kwargs)

    return flaky


@pytest.mark.parametrize("call", [1, 2, 4])
def test_s3_continues_after_a_failed_page(
    s3_server: LocalS3, s3_client: Any, bucket: str, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """All seven objects are listed, in pages of two."""
    for name in NAMES:
        s3_client.put_object(Bucket=bucket, Key=name, Body=b"")
    source = s3_source(s3_server)
    monkeypatch.setattr("s3_to_azure.stores.s3.bucket_listings.LISTING_PAGE_KEYS", 2)
    monkeypatch.setattr(source._client, "list_objects_v2", failing_once(source._client.list_objects_v2, call=call))
    listed = with_retries(source.list(bucket, ""), Retrier(QUICK, threading.Event()), "list")
    assert [item.key for item in listed] == NAMES
    source.close()


@pytest.mark.parametrize("call", [1, 2, 4])
def test_azure_continues_after_a_failed_page(
    azure_server: LocalAzure, container: ContainerClient, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """All seven blobs, and all seven state files, are listed, in pages of two."""
    destination = azure_container(azure_server, str(container.container_name))
    state = AzureState(destination._service, destination.container, dag_id="dag", run_id="run")
    for name in NAMES:
        container.upload_blob(f"data/{name}", b"")
        with state.write(name) as out:
            out.write(b"x")
    for client in (destination._client, state._client):
        flaky = failing_once(client.list_blobs, call=call)
        monkeypatch.setattr(client, "list_blobs", lambda flaky=flaky, **given: flaky(results_per_page=2, **given))
    listed = with_retries(destination.list("data/"), Retrier(QUICK, threading.Event()), "list")
    assert [blob.name for blob in listed] == [f"data/{name}" for name in NAMES]
    monkeypatch.setattr("s3_to_azure.model.retry.Retrier._sleep", lambda *_: None)
    assert list(state.names()) == NAMES
    destination.close()
