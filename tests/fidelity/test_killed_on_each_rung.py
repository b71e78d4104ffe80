"""SIGKILL in the middle of a copy, on each rung of the ladder: the next run sends the rest, and proves the whole."""

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.engine.config import CopySettings
from s3_to_azure.engine.limits import MIB
from s3_to_azure.engine.transfer import copy_object
from s3_to_azure.engine.workshop import CopyTask, Workshop
from tests.fidelity.uploads import some_bytes, upload_for
from tests.real_stores import azure_container, s3_source

ROOT = Path(__file__).resolve().parents[2]
DATA = some_bytes(11 * MIB + 5)
KEY = "a/b.bin"
SETTINGS = {"block_bytes": MIB, "lanes": 1}

COPY = """
import json, os, sys, threading
from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.engine.config import CopySettings
from s3_to_azure.engine.transfer import copy_object
from s3_to_azure.engine.workshop import CopyTask, Workshop
from tests.real_stores import azure_container, s3_source

told = json.loads(sys.argv[1])


class Stuck:
    # Stages so many blocks, says so, and then waits for its end before the next request.
    def __init__(self, destination):
        self._destination = destination
        self._left = told["blocks"]

    def __getattr__(self, name):
        return getattr(self._destination, name)

    def stage_block(self, *arguments):
        if not self._left:
            threading.Event().wait()
        self._destination.stage_block(*arguments)
        self._left -= 1
        if not self._left:
            os.write(1, b"staged")

    def commit(self, *arguments):
        threading.Event().wait()


source = s3_source(LocalS3(**told["s3"]))
destination = Stuck(azure_container(LocalAzure(**told["azure"]), told["container"]))
with Workshop(source, destination, CopySettings(**told["settings"])) as shop:
    copy_object(shop, CopyTask(told["bucket"], told["key"], told["key"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("rung", "blocks", "size_bytes"),
    [
        ("crc64nvme", 4, 4 * MIB),
        ("crc32c", 4, 4 * MIB),
        ("crc32", 4, 4 * MIB),
        ("crc32c_composite", 4, 4 * MIB),
        ("crc32_composite", 4, 4 * MIB),
        # An MD5 needs its bytes in one block: the whole object, or a part of it.
        ("md5", 1, len(DATA)),
        ("md5_composite", 2, 10 * MIB),
    ],
)
def test_killed_and_resumed(
    rung: str,
    blocks: int,
    size_bytes: int,
    s3_server: LocalS3,
    azure_server: LocalAzure,
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
) -> None:
    """What Azure confirmed before the kill is not sent again, and the proof is the one that the object allows."""
    upload_for(rung, s3_client, bucket, KEY, DATA)
    client = container.get_blob_client(KEY)
    if rung == "md5":
        # Otherwise the object would go in one request, of which a kill leaves nothing or all.
        client.stage_block("A" * 52, b"left over")
    told = {
        "s3": asdict(s3_server),
        "azure": asdict(azure_server),
        "bucket": bucket,
        "container": container.container_name,
        "key": KEY,
        "blocks": blocks,
        "settings": SETTINGS,
    }
    child = subprocess.Popen(
        [sys.executable, "-c", COPY, json.dumps(told)],
        cwd=ROOT,
        env={"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"},
        stdout=subprocess.PIPE,
    )
    with child:
        try:
            assert child.stdout is not None
            assert child.stdout.read(6) == b"staged"
        finally:
            child.kill()
    assert not client.exists()
    source, destination = s3_source(s3_server), azure_container(azure_server, str(container.container_name))
    with Workshop(source, destination, CopySettings(block_bytes=MIB, lanes=1)) as shop:
        receipt = copy_object(shop, CopyTask(bucket, KEY, KEY))
        resumed = shop.progress.snapshot().bytes_resumed
    source.close()
    destination.close()
    assert (receipt.status, receipt.verified_by) == ("copied", rung)
    assert (receipt.blocks_resumed, resumed) == (blocks, size_bytes)
    assert receipt.bytes_sent == len(DATA) - size_bytes
    assert bytes(container.download_blob(KEY).readall()) == DATA
    assert client.get_blob_properties().metadata["s3_verified_by"] == rung
