"""Real S3-compatible stores on loopback: Ceph's object gateway, OpenStack Swift, rclone's server."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config

from local_cloud import ceph, swift
from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.stores.s3.source import S3Source
from tests.real_stores import s3_source
from tests.required_tools import missing_tools, require_tools

ROOT = Path(__file__).resolve().parents[2]
STORES = ("ceph", "swift", "rclone")


@dataclass(frozen=True)
class Store:
    """One store, a new bucket in it, and the ways in that a test needs."""

    name: str
    server: LocalS3
    client: Any
    source: S3Source
    bucket: str

    @property
    def keeps_files(self) -> bool:
        """Whether a key is a path below a directory, which may not pass through a file."""
        return self.name == "rclone"


def start_copy(store: Store, azure: LocalAzure, directory: Path, *arguments: str) -> subprocess.Popen[str]:
    """Start ``s3-to-azure copy`` with these arguments and nothing of the caller's settings."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(directory),
        "PYTHONPATH": str(ROOT / "plugins"),
        "AWS_ACCESS_KEY_ID": store.server.access_key,
        "AWS_SECRET_ACCESS_KEY": store.server.secret_key,
        "AWS_DEFAULT_REGION": store.server.region,
        "AWS_ENDPOINT_URL": store.server.endpoint_url,
        "AZURE_STORAGE_CONNECTION_STRING": azure.connection_string,
    }
    command = [sys.executable, "-m", "s3_to_azure", "copy", *arguments, "--json"]
    return subprocess.Popen(
        command, env=environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


@contextmanager
def _running(
    start: Callable[[Path], AbstractContextManager[LocalS3]], name: str, tools: tuple[str, ...]
) -> Iterator[LocalS3]:
    require_tools(missing_tools(tools))
    with (
        tempfile.TemporaryDirectory(prefix=f"{name}-", ignore_cleanup_errors=True) as directory,
        start(Path(directory)) as server,
    ):
        yield server


@pytest.fixture(scope="session")
def ceph_server() -> Iterator[LocalS3]:
    """Run Ceph's object gateway: it checks header signatures, and knows parts but no checksums."""
    with _running(ceph.ceph_rgw, "ceph", ceph.TOOLS) as server:
        yield server


@pytest.fixture(scope="session")
def swift_server() -> Iterator[LocalS3]:
    """Run Swift: it checks header signatures, and knows neither checksums nor the parts of an object."""
    with _running(swift.swift_s3, "swift", swift.TOOLS) as server:
        yield server


@pytest.fixture(params=STORES)
def store(request: pytest.FixtureRequest) -> Iterator[Store]:
    """Give each test every store in turn, with a new bucket."""
    with _store(request.param, request.getfixturevalue(f"{request.param}_server")) as opened:
        yield opened


@pytest.fixture
def ceph_store(ceph_server: LocalS3) -> Iterator[Store]:
    """Give Ceph alone, with a new bucket."""
    with _store("ceph", ceph_server) as opened:
        yield opened


@contextmanager
def _store(name: str, server: LocalS3) -> Iterator[Store]:
    client = boto3.client(
        "s3",
        endpoint_url=server.endpoint_url,
        aws_access_key_id=server.access_key,
        aws_secret_access_key=server.secret_key,
        region_name=server.region,
        config=Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            # None of these stores keeps the checksums that boto3 adds by itself.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
            # What a store refuses with a 500 would be sent again four times, with pauses.
            retries={"total_max_attempts": 1},
        ),
    )
    source = s3_source(server)
    bucket = f"bucket-{uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    yield Store(name, server, client, source, bucket)
    source.close()
    client.close()
