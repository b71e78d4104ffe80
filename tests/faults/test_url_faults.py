"""A source that is only a presigned URL, on a bad network, under overwriting, and with Azure that fetches by itself."""

import itertools
import random
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any

import pytest
from azure.storage.blob import ContainerClient
from botocore.config import Config

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.errors import Throttled
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import FetchAccess, Receipt
from s3_to_azure.stores.http.settings import HttpSettings
from s3_to_azure.stores.presigned.source import PresignedSource
from s3_to_azure.stores.presigned.url import parse_url
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import QUICK, some_bytes, task, transfer_context
from tests.fakes.fetching_azure import fetching_azure
from tests.faults.conftest import refusing_all_but_one_block
from tests.faults.faulty_proxy import Answer, Cut, FaultyProxy, Lose, Request
from tests.real_stores import azure_container, fetching_container, s3_client_of

DATA = some_bytes(6 * MIB - 17)
SLOW_DOWN = Answer(503, body=b"<Error><Code>SlowDown</Code></Error>")


@pytest.fixture
def proxy(s3_server: LocalS3) -> Iterator[FaultyProxy]:
    """Run a bad network before S3."""
    with FaultyProxy(s3_server.endpoint_url) as proxy:
        yield proxy


@contextmanager
def presigning(server: LocalS3, endpoint_url: str, version: str = "s3v4") -> Iterator[Callable[[str], str]]:
    """Yield a function that presigns URLs of the bucket's object ``k``, which ask for its checksum."""
    config = Config(signature_version=version, s3={"addressing_style": "path"})
    client = s3_client_of(server, endpoint_url=endpoint_url, config=config)
    with closing(client):
        yield lambda bucket: str(
            client.generate_presigned_url(
                "get_object", Params={"Bucket": bucket, "Key": "k", "ChecksumMode": "ENABLED"}, ExpiresIn=600
            )
        )


@pytest.fixture
def copy(
    s3_server: LocalS3,
    azure_server: LocalAzure,
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
    proxy: FaultyProxy,
) -> Iterator[Callable[..., Receipt]]:
    """Return a function that copies the object by its URL, through the proxy."""
    s3_client.put_object(Bucket=bucket, Key="k", Body=DATA, ChecksumAlgorithm="CRC64NVME")
    with presigning(s3_server, proxy.url) as presign:
        url = parse_url(presign(bucket), name="SRC")
        destination = azure_container(azure_server, str(container.container_name))
        with closing(PresignedSource([url], HttpSettings())) as source, closing(destination):

            def run(**settings: Any) -> Receipt:
                with transfer_context(source, destination, **settings) as context:
                    return copy_object(context, task("k", bucket))

            yield run


def test_promise_3_storm_on_a_url(copy: Callable[..., Receipt], proxy: FaultyProxy, container: ContainerClient) -> None:
    """Three in ten requests fail; each block is sent once, and the checksum proves the whole."""
    choose = random.Random(7)
    faults = (SLOW_DOWN, Cut(100_000), Cut(200_000, reset=True), Lose())
    proxy.plan = lambda _: choose.choice(faults) if choose.random() < 0.3 else None
    receipt = copy(retry=replace(QUICK, attempts=12))
    assert container.download_blob("k").readall() == DATA
    assert (receipt.verified_by, receipt.bytes_sent) == ("crc64nvme", len(DATA))
    assert receipt.retries > 0


def test_promise_2_a_url_that_is_throttled_for_ever_keeps_staged_blocks(
    copy: Callable[..., Receipt], proxy: FaultyProxy, container: ContainerClient
) -> None:
    """The error is transient, and the next try sends the rest."""
    proxy.plan = refusing_all_but_one_block(container, SLOW_DOWN)
    with pytest.raises(Throttled):
        copy(connections=1)
    proxy.plan = lambda _: None
    receipt = copy()
    assert container.download_blob("k").readall() == DATA
    assert (receipt.blocks_resumed, receipt.bytes_sent) == (1, len(DATA) - MIB)


def test_invariant_1_an_object_behind_a_url_is_overwritten_midway(
    copy: Callable[..., Receipt], proxy: FaultyProxy, s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """The same URL reads the new version: the copy starts again with it, and mixes nothing."""
    other = some_bytes(len(DATA), 7)
    requests = itertools.count(1)

    def plan(_: Request) -> None:
        if next(requests) == 5:
            s3_client.put_object(Bucket=bucket, Key="k", Body=other, ChecksumAlgorithm="CRC64NVME")

    proxy.plan = plan
    receipt = copy(connections=1)
    assert container.download_blob("k").readall() == other
    assert (receipt.status, receipt.verified_by) == ("copied", "crc64nvme")


def test_azure_fetches_from_a_url_as_it_is(
    s3_server: LocalS3,
    azure_server: LocalAzure,
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where its query asks for the checksum, so that nothing but the host is signed."""
    s3_client.put_object(Bucket=bucket, Key="k", Body=DATA, ChecksumAlgorithm="CRC64NVME")
    find_access = PresignedSource._find_access

    def public(source: PresignedSource, bucket: str) -> FetchAccess:
        # Of the local server it is known that Azure cannot reach it.
        return replace(find_access(source, bucket), base_url="https://bucket.s3.amazonaws.com")

    monkeypatch.setattr(PresignedSource, "_find_access", public)
    with (
        presigning(s3_server, s3_server.endpoint_url, "s3") as presign,
        fetching_azure(azure_server.account_url) as azure,
        closing(PresignedSource([parse_url(presign(bucket), name="SRC")], HttpSettings())) as source,
        closing(fetching_container(azure_server, str(container.container_name), azure)) as destination,
        transfer_context(source, destination, via="azure") as context,
    ):
        receipt = copy_object(context, task("k", bucket))
        fetched = azure.counts.fetched
    assert container.download_blob("k").readall() == DATA
    assert (receipt.via, receipt.verified_by, receipt.blocks_fetched) == ("azure", "crc64nvme", fetched)
    assert fetched == 6
