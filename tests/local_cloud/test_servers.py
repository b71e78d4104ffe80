"""The local servers: they answer as S3 and Azure do, share nothing, and leave no process running."""

import base64
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerClient
from botocore.config import Config
from botocore.exceptions import ClientError

from local_cloud.processes import HOST, ServerError, free_port, http_get, running
from local_cloud.servers import LocalS3, azurite, localstack

ROOT = Path(__file__).resolve().parents[2]

needs_proc = pytest.mark.skipif(not Path("/proc/self/cwd").exists(), reason="finds processes in /proc")

PARENT = """
import sys, time
from pathlib import Path
from local_cloud.servers import azurite, localstack, rclone_s3
top = Path(sys.argv[1])
with localstack(top / "s3"), azurite(top / "azure"), rclone_s3(top / "rclone", access_key="a", secret_key="b"):
    print("up", flush=True)
    time.sleep(600)
"""

# Each of these tests starts its own servers; that they start at all is shown by every other test.
pytestmark = pytest.mark.slow


def processes_in(directory: Path) -> set[int]:
    """Return the processes whose working directory lies in `directory`, as that of every server does."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                if entry.joinpath("cwd").readlink().is_relative_to(directory):
                    found.add(int(entry.name))
    return found


def wait_until_empty(directory: Path, *, timeout_s: float) -> set[int]:
    """Wait until no process runs in `directory`; return those that still do after `timeout_s`."""
    deadline = time.monotonic() + timeout_s
    while (left := processes_in(directory)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def files_in(directory: Path) -> set[Path]:
    """Return the entries of a directory, which may not exist."""
    return set(directory.iterdir()) if directory.is_dir() else set()


@pytest.fixture
def parent_of_servers(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Return a process that has started all three servers below `tmp_path`."""
    command = [sys.executable, "-c", PARENT, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        assert parent.stdout.readline() == "up\n"
        yield parent
        parent.kill()


def test_s3_keeps_an_object_and_its_checksum(s3_client: Any, bucket: str) -> None:
    """LocalStack returns the uploaded bytes, with the CRC64NVME that S3 would store."""
    s3_client.put_object(Bucket=bucket, Key="a b+ü", Body=b"123456789", ChecksumAlgorithm="CRC64NVME")
    answer = s3_client.get_object(Bucket=bucket, Key="a b+ü", ChecksumMode="ENABLED")
    assert answer["Body"].read() == b"123456789"
    assert base64.b64decode(answer["ChecksumCRC64NVME"]) == 0xAE8B14860A799888.to_bytes(8, "big")


def test_s3_checks_presigned_urls(s3_server: LocalS3, s3_client: Any, bucket: str) -> None:
    """A presigned URL with a damaged signature is refused, so signatures are checked."""
    s3_client.put_object(Bucket=bucket, Key="k", Body=b"content")
    url = s3_client.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "k"})
    path = url.removeprefix(s3_server.endpoint_url)
    port = int(s3_server.endpoint_url.rsplit(":", 1)[1])
    assert http_get(port, path) == b"content"
    damaged = http_get(port, path[:-1] + ("0" if path[-1] != "0" else "1"))
    assert damaged is not None
    assert b"SignatureDoesNotMatch" in damaged


def test_azure_refuses_a_block_whose_crc64_is_wrong(container: ContainerClient) -> None:
    """Azurite checks the CRC64 that is sent with a block, and answers 400 to a wrong one."""
    blob = container.get_blob_client("blob")
    right = base64.b64encode(0xAE8B14860A799888.to_bytes(8, "little")).decode()
    blob.stage_block("1", b"123456789", headers={"x-ms-content-crc64": right})
    with pytest.raises(HttpResponseError) as refused:
        blob.stage_block("2", b"123456780", headers={"x-ms-content-crc64": right})
    assert refused.value.status_code == 400
    assert [block.id for block in blob.get_block_list("uncommitted")[1]] == ["1"]


def test_rclone_checks_header_signatures(rclone_server: LocalS3) -> None:
    """Rclone's server refuses a wrong secret in a signed header, which LocalStack does not."""

    def client(secret_key: str) -> Any:
        return boto3.client(
            "s3",
            endpoint_url=rclone_server.endpoint_url,
            aws_access_key_id=rclone_server.access_key,
            aws_secret_access_key=secret_key,
            region_name=rclone_server.region,
            config=Config(signature_version="s3v4", s3={"addressing_style": "path"}),
        )

    client(rclone_server.secret_key).create_bucket(Bucket="bucket")
    with pytest.raises(ClientError, match="SignatureDoesNotMatch"):
        client("wrong").list_buckets()


@needs_proc
def test_two_azurites_at_once_share_nothing(tmp_path: Path) -> None:
    """A container in one Azurite does not exist in the other, and both are gone after their blocks."""
    with azurite(tmp_path / "one") as one, azurite(tmp_path / "two") as two:
        first = BlobServiceClient.from_connection_string(one.connection_string)
        second = BlobServiceClient.from_connection_string(two.connection_string)
        first.create_container("only-here")
        assert [container.name for container in first.list_containers()] == ["only-here"]
        assert list(second.list_containers()) == []
        assert len(processes_in(tmp_path)) == 2
    assert not processes_in(tmp_path)


@needs_proc
def test_server_is_stopped_after_an_error(tmp_path: Path) -> None:
    """The error reaches the caller, and no server runs on."""
    with pytest.raises(KeyError), azurite(tmp_path):
        raise KeyError
    assert not processes_in(tmp_path)


@needs_proc
@pytest.mark.skipif(sys.platform != "linux", reason="only Linux kills children with their parent")
def test_servers_are_killed_with_their_parent(parent_of_servers: subprocess.Popen[str], tmp_path: Path) -> None:
    """SIGKILL gives the parent no time to stop them."""
    assert len(processes_in(tmp_path)) == 3
    parent_of_servers.kill()
    assert wait_until_empty(tmp_path, timeout_s=5) == set()


@needs_proc
def test_command_prints_variables_and_leaves_nothing(tmp_path: Path) -> None:
    """`python -m local_cloud` prints lines for a shell, and SIGTERM ends it like Ctrl-C: servers and files are gone."""
    environment = os.environ | {"TMPDIR": str(tmp_path)}
    command = [sys.executable, "-m", "local_cloud", "s3://samples/daily/"]
    with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().removeprefix("export ").strip() for _ in range(5)]
        names = [line.partition("=")[0] for line in lines]
        listed = http_get(int(lines[0].rpartition(":")[2]), "/samples?list-type=2") or b""
        assert b"<Key>daily/customers.csv</Key>" in listed
        assert len(processes_in(tmp_path)) == 2
        process.send_signal(signal.SIGTERM)
        assert process.wait(timeout=15) == 0
    assert names[0] == "AWS_ENDPOINT_URL"
    assert names[-1] == "AZURE_STORAGE_CONNECTION_STRING"
    assert processes_in(tmp_path) == set()
    assert files_in(tmp_path) == set()


def test_localstack_writes_only_into_its_directory(tmp_path: Path) -> None:
    """LocalStack's objects, caches and certificates are written into the given directory only."""
    usual_places = [Path("/tmp/localstack"), Path("/tmp/localstack-s3-storage"), Path("/var/lib/localstack")]
    before = [files_in(place) for place in usual_places]
    with localstack(tmp_path) as server:
        client = boto3.client(
            "s3",
            endpoint_url=server.endpoint_url,
            aws_access_key_id=server.access_key,
            aws_secret_access_key=server.secret_key,
            region_name=server.region,
        )
        client.create_bucket(Bucket="large-object-goes-to-a-file")
        client.put_object(Bucket="large-object-goes-to-a-file", Key="k", Body=bytes(1024 * 1024))
        assert (tmp_path / "objects" / "large-object-goes-to-a-file").is_dir()
    assert [files_in(place) for place in usual_places] == before


def test_error_of_a_server_that_exits_ends_with_its_log(tmp_path: Path) -> None:
    """The message names the server and its exit code too."""
    command = [sys.executable, "-c", "print('no such option'); raise SystemExit(3)"]
    log = tmp_path / "broken.log"
    with (
        pytest.raises(ServerError, match=r"(?s)broken ended with exit code 3 .*no such option"),
        running(command, directory=tmp_path, log=log, environment={}, is_up=lambda: False, start_timeout_s=30),
    ):
        pass


@needs_proc
def test_server_that_never_answers_is_killed(tmp_path: Path) -> None:
    """A server that ignores SIGTERM and answers no request is an error, and does not run on."""
    deaf = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('hm', flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", deaf]
    port = free_port()
    with (
        pytest.raises(ServerError, match=r"(?s)did not answer within 1 s.*hm"),
        running(
            command,
            directory=tmp_path,
            log=tmp_path / "deaf.log",
            environment={},
            is_up=lambda: http_get(port, "/") is not None,
            start_timeout_s=1,
            stop_grace_s=0.5,
        ),
    ):
        pass
    assert not processes_in(tmp_path)


def test_servers_do_not_see_the_callers_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A wrong NODE_OPTIONS of the caller would keep Node from starting."""
    monkeypatch.setitem(os.environ, "NODE_OPTIONS", "--no-such-option")
    with azurite(tmp_path) as server:
        assert server.account_url.startswith("http://127.0.0.1:")


def test_a_free_port_is_kept_for_the_server_that_binds_it() -> None:
    """A server that starts takes seconds to bind it by its number; no other socket must get it meanwhile."""
    port = free_port()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind((HOST, port))
    socket.create_server((HOST, port)).close()
