"""Two real servers behind faulty proxies, and the stores and the command line between them."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Receipt
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.s3.source import S3Source
from s3_to_azure.transfer.context import TransferContext
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import some_bytes, task, transfer_context
from tests.fakes.mutated_command import MutatedCommand
from tests.faults.faulty_proxy import Answer, FaultyProxy, Request
from tests.real_stores import azure_container, s3_source

ROOT = Path(__file__).resolve().parents[2]
CONNECTIONS = 4


@dataclass
class Clouds:
    """S3 and Azure, each behind a proxy; tests look at the servers directly."""

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
        """Return whether the blob is committed."""
        return bool(self.container.get_blob_client(name).exists())

    def staged(self, name: str = "k") -> list[int]:
        """Return the sizes of the staged blocks."""
        return staged_sizes(self.container, name)

    def transfer_context(self, **settings: Any) -> AbstractContextManager[TransferContext]:
        """Return a transfer context between the proxies."""
        return transfer_context(self.source, self.destination, **settings)

    def copy(self, key: str = "k", **settings: Any) -> Receipt:
        """Copy an object through the proxies."""
        with self.transfer_context(**settings) as context:
            return copy_object(context, task(key, self.bucket))


def staged_sizes(container: ContainerClient, name: str = "k") -> list[int]:
    """Return the sizes of a blob's staged blocks."""
    try:
        return [int(block.size or 0) for block in container.get_blob_client(name).get_block_list("uncommitted")[1]]
    except ResourceNotFoundError:
        return []


def refusing_all_but_one_block(container: ContainerClient, answer: Answer) -> Callable[[Request], Answer | None]:
    """Return a plan that refuses all blocks but the one that is asked for first, and those only once that is staged.

    It may be any block. Whoever copies reads one block at a time (``connections=1``).
    """
    asked: list[str] = []

    def plan(request: Request) -> Answer | None:
        wanted = request.headers.get("range", "bytes=0-0")
        if request.method != "GET" or wanted == "bytes=0-0":
            return None
        asked.append(wanted)
        if wanted == asked[0]:
            return None
        while not staged_sizes(container):
            time.sleep(0.01)
        return answer

    return plan


class CommandLine:
    """``s3-to-azure copy`` as a process between the proxies.

    Attributes:
        arguments: Source, destination and options; by default they copy the object ``k``.
        program: Python's arguments before them.
    """

    def __init__(self, clouds: Clouds, directory: Path) -> None:
        self.arguments = [
            f"s3://{clouds.bucket}/k",
            f"az://{clouds.container.container_name}/k",
            *("--block-size", "1MiB", "--connections", str(CONNECTIONS)),
        ]
        self.program = ["-m", "s3_to_azure"]
        self._log = directory / "stderr.log"
        self.running: list[subprocess.Popen[str]] = []
        server = clouds.azure_server
        self._environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(directory),
            "PYTHONPATH": str(ROOT / "plugins"),
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
            "AWS_ENDPOINT_URL": clouds.s3.url,
            "AZURE_STORAGE_CONNECTION_STRING": (
                f"DefaultEndpointsProtocol=http;AccountName={server.account_name};"
                f"AccountKey={server.account_key};BlobEndpoint={clouds.azure.url};"
            ),
        }

    def start_without_disk(self) -> subprocess.Popen[str]:
        """Start a copy that can write no byte to any file, in a directory that accepts no file."""
        program = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); "
        program += "runpy.run_module('s3_to_azure', run_name='__main__')"
        nowhere = {"HOME": "/proc", "TMPDIR": "/proc", "TEMP": "/proc", "TMP": "/proc"}
        process = subprocess.Popen(
            [sys.executable, "-c", program, *self._command()],
            env=self._environment | nowhere,
            cwd="/proc",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.running.append(process)
        return process

    def _command(self) -> list[str]:
        return ["copy", *self.arguments, "--json", "--progress", "none", "--verbose"]

    def start(self, *, open_files: int | None = None) -> subprocess.Popen[str]:
        """Start a copy, which may open this many files."""
        command = [sys.executable, *self.program, *self._command()]
        if open_files is not None:
            command = ["sh", "-c", f'ulimit -n {open_files}; exec "$@"', "sh", *command]
        with self._log.open("w") as log:
            process = subprocess.Popen(
                command, env=self._environment, cwd=ROOT, stdout=subprocess.PIPE, stderr=log, text=True
            )
        self.running.append(process)
        return process

    def finish(self, process: subprocess.Popen[str]) -> dict[str, Any]:
        """Wait for the process; return its receipt."""
        output, _ = process.communicate()
        assert process.returncode == 0, self.log()
        receipt: dict[str, Any] = json.loads(output)
        return receipt

    def log(self) -> str:
        """Return what the last process logged."""
        return self._log.read_text()

    def close(self) -> None:
        """End every process."""
        for process in self.running:
            process.kill()
            process.wait()
            for stream in (process.stdout, process.stderr):
                if stream:
                    stream.close()


# Let few objects be enough for as many processes as --processes says, on any machine.
SEVERAL_PROCESSES: Final = (
    "import runpy; from s3_to_azure.cli import copy_prefix; from s3_to_azure.cli.processes import count, workers; "
    "count.usable_cores = lambda: 8; count.FreeCores.count = lambda _self, most: most; "
    "workers._TASKS_OF_WORKER, workers._TASKS_IN_GROUP = 60, 30; "
    "copy_prefix.may_use_several = lambda _: True; "
    "copy_prefix.useful_processes = lambda _copied, _largest, most, **_: most; "
    "runpy.run_module('s3_to_azure', run_name='__main__')"
)

DATA = some_bytes(5 * MIB + 17)


@pytest.fixture
def clouds(
    s3_server: LocalS3, azure_server: LocalAzure, s3_client: Any, bucket: str, container: ContainerClient
) -> Iterator[Clouds]:
    """Return both servers behind proxies without faults."""
    with FaultyProxy(s3_server.endpoint_url) as s3, FaultyProxy(azure_server.account_url) as azure:
        source = s3_source(s3_server, endpoint_url=s3.url)
        destination = azure_container(azure_server, str(container.container_name), account_url=azure.url)
        yield Clouds(s3, azure, source, destination, s3_client, bucket, container, s3_server, azure_server)
        source.close()
        destination.close()


@pytest.fixture
def data(clouds: Clouds) -> bytes:
    """Return the bytes of the object ``k`` in the bucket, which has six blocks."""
    clouds.put(DATA)
    return DATA


@pytest.fixture
def command_line(clouds: Clouds, tmp_path: Path) -> Iterator[CommandLine]:
    """Return the command line, and end its processes afterwards."""
    commands = CommandLine(clouds, tmp_path)
    yield commands
    commands.close()


@pytest.fixture
def mutated_command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> MutatedCommand:
    """Return what runs the command line between services whose responses are mutated."""
    return MutatedCommand(monkeypatch, capsys)
