"""Two real servers behind faulty proxies, and the shipped code between them."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.engine.limits import MIB
from s3_to_azure.engine.model import Receipt
from s3_to_azure.engine.transfer import copy_object
from s3_to_azure.engine.workshop import Workshop
from s3_to_azure.stores.azure import AzureContainer
from s3_to_azure.stores.s3 import S3Source
from tests.engine.workshops import some_bytes, task, workshop
from tests.faults.faulty_proxy import FaultyProxy
from tests.real_stores import azure_container, s3_source


@dataclass
class Clouds:
    """S3 and Azure, each behind a proxy; tests look at the servers behind the proxies' backs."""

    s3: FaultyProxy
    azure: FaultyProxy
    source: S3Source
    destination: AzureContainer
    s3_client: Any
    bucket: str
    container: ContainerClient
    s3_server: LocalS3
    azure_server: LocalAzure

    def put(self, data: bytes, key: str = "k", checksum: str = "CRC64NVME") -> None:
        """Write an object."""
        self.s3_client.put_object(Bucket=self.bucket, Key=key, Body=data, ChecksumAlgorithm=checksum)

    def blob(self, name: str = "k") -> bytes:
        """Return a committed blob's bytes."""
        return bytes(self.container.download_blob(name).readall())

    def is_there(self, name: str = "k") -> bool:
        """Say whether the blob is committed."""
        return bool(self.container.get_blob_client(name).exists())

    def staged(self, name: str = "k") -> list[int]:
        """Return the sizes of the staged blocks."""
        blob = self.container.get_blob_client(name)
        try:
            return [int(block.size or 0) for block in blob.get_block_list("uncommitted")[1]]
        except ResourceNotFoundError:
            return []

    def workshop(self, **settings: Any) -> Workshop:
        """Return a workshop between the proxies."""
        return workshop(self.source, self.destination, **settings)

    def copy(self, key: str = "k", **settings: Any) -> Receipt:
        """Copy an object through the proxies."""
        with self.workshop(**settings) as shop:
            return copy_object(shop, task(key, self.bucket))


DATA = some_bytes(5 * MIB + 17)


@pytest.fixture
def clouds(
    s3_server: LocalS3, azure_server: LocalAzure, s3_client: Any, bucket: str, container: ContainerClient
) -> Iterator[Clouds]:
    """Give both servers behind proxies that do no harm yet."""
    with FaultyProxy(s3_server.endpoint_url) as s3, FaultyProxy(azure_server.account_url) as azure:
        source = s3_source(s3_server, endpoint_url=s3.url)
        destination = azure_container(azure_server, str(container.container_name), account_url=azure.url)
        yield Clouds(s3, azure, source, destination, s3_client, bucket, container, s3_server, azure_server)
        source.close()
        destination.close()


@pytest.fixture
def data(clouds: Clouds) -> bytes:
    """Return the bytes of the object ``k`` in the bucket: five blocks and a bit."""
    clouds.put(DATA)
    return DATA
