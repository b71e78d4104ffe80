"""A bucket of real small objects in LocalStack and a container in Azurite, for ``plan_memory.py --real``."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import boto3
from azure.storage.blob import BlobServiceClient
from botocore.config import Config

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "plugins"), str(ROOT)]

from local_cloud.servers import LocalAzure, LocalS3, azurite, localstack  # noqa: E402 - the path comes first
from s3_to_azure.model.settings import CopySettings  # noqa: E402
from s3_to_azure.stores.azure.client import service_client  # noqa: E402
from s3_to_azure.stores.azure.container import AzureContainer  # noqa: E402
from s3_to_azure.stores.event_loop.loop import small_object_client  # noqa: E402
from s3_to_azure.stores.s3.options import botocore_config  # noqa: E402
from s3_to_azure.stores.s3.source import S3Source  # noqa: E402
from s3_to_azure.transfer.context import TransferContext, open_context  # noqa: E402

BUCKET: Final = "benchmark"
CONTAINER: Final = "benchmark"
_AT_ONCE: Final = 8


@dataclass(frozen=True)
class RealServers:
    """Both local servers, passed to the processes of the steps as JSON."""

    s3: LocalS3
    azure: LocalAzure

    def to_json(self) -> str:
        """Return the servers as JSON."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "RealServers":
        """Read ``to_json``."""
        values = json.loads(text)
        return cls(LocalS3(**values["s3"]), LocalAzure(**values["azure"]))

    def source(self) -> S3Source:
        """Open the bucket."""
        session = boto3.Session(self.s3.access_key, self.s3.secret_key, region_name=self.s3.region)
        options = {"endpoint_url": self.s3.endpoint_url, "config": botocore_config(_AT_ONCE)}
        return S3Source(session, options)

    def destination(self) -> AzureContainer:
        """Open the container."""
        account = {"account_name": self.azure.account_name, "account_key": self.azure.account_key}
        client = BlobServiceClient(self.azure.account_url, credential=account)
        return AzureContainer(service_client(client, connections=_AT_ONCE), CONTAINER)

    def transfer_context(self) -> AbstractContextManager[TransferContext]:
        """Open a context as a copy task does."""
        source, destination = self.source(), self.destination()
        settings = CopySettings(connections=4, objects_at_once=_AT_ONCE)
        return open_context(source, destination, settings, small_object_client=small_object_client(source, destination))


@contextmanager
def real_servers(directory: Path) -> Iterator[RealServers]:
    """Run both servers with an empty bucket and container while the block runs."""
    with localstack(directory / "s3") as s3, azurite(directory / "azure") as azure:
        BlobServiceClient.from_connection_string(azure.connection_string).create_container(CONTAINER).close()
        servers = RealServers(s3, azure)
        _client(servers).create_bucket(Bucket=BUCKET)
        yield servers


def fill(servers: RealServers, prefix: str, count: int) -> None:
    """Put ``count`` objects of some hundred bytes below the prefix."""
    client = _client(servers)

    def put(number: int) -> None:
        key = f"{prefix}events/2026/03/{number // 5_000:05}/part-{number:012}.parquet"
        body = str(number).encode() * (1 + number % 97)
        client.put_object(Bucket=BUCKET, Key=key, Body=body, ChecksumAlgorithm="CRC64NVME")

    with ThreadPoolExecutor(_AT_ONCE) as workers:
        for _ in workers.map(put, range(count)):
            pass
    client.close()


def _client(servers: RealServers) -> Any:  # noqa: ANN401 - boto3 has no types
    return boto3.client(
        "s3",
        endpoint_url=servers.s3.endpoint_url,
        aws_access_key_id=servers.s3.access_key,
        aws_secret_access_key=servers.s3.secret_key,
        region_name=servers.s3.region,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, max_pool_connections=_AT_ONCE),
    )
