"""A copy that is killed resumes at each verification level: the next run sends the rest and verifies the whole."""

import json
import subprocess
import sys
from collections.abc import Callable
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.transfer.context import CopyTask, open_context
from s3_to_azure.transfer.object import copy_object
from tests.fidelity.uploads import some_bytes, upload_for
from tests.real_stores import azure_container, s3_source

ROOT = Path(__file__).resolve().parents[2]
DATA = some_bytes(11 * MIB + 5)
KEY = "a/b.bin"
FOREIGN = "A" * 52
SETTINGS: dict[str, Any] = {"block_bytes": MIB, "connections": 1}
# The single block that an MD5 of the whole object needs exceeds this budget, so no checksum of S3 can be used.
NO_CHECKSUM = {"memory_budget_bytes": 8 * MIB}

COPY = """
import itertools, json, os, sys, threading
from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.settings import CopySettings
from s3_to_azure.transfer.object import copy_object
from s3_to_azure.transfer.context import CopyTask, open_context
from tests.real_stores import azure_container, s3_source

given = json.loads(sys.argv[1])


class Stuck:
    # Stages a number of blocks, reports it, and then hangs before the next request.
    def __init__(self, destination):
        self._destination = destination
        self._begun, self._staged = itertools.count(), itertools.count(1)

    def __getattr__(self, name):
        return getattr(self._destination, name)

    def stage_block(self, *arguments):
        if next(self._begun) >= given["blocks"]:
            threading.Event().wait()
        self._destination.stage_block(*arguments)
        if next(self._staged) == given["blocks"]:
            os.write(1, b"staged")

    def commit(self, *arguments):
        if not given["commits"]:
            threading.Event().wait()
        etag = self._destination.commit(*arguments)
        os.write(1, b"staged")
        return etag

    def read(self, *arguments):
        threading.Event().wait()


source = s3_source(LocalS3(**given["s3"]))
destination = Stuck(azure_container(LocalAzure(**given["azure"]), given["container"]))
with open_context(source, destination, CopySettings(**given["settings"])) as context:
    copy_object(context, CopyTask(given["bucket"], given["key"], given["key"]))
"""


@pytest.fixture
def killed(
    s3_server: LocalS3, azure_server: LocalAzure, bucket: str, container: ContainerClient
) -> Callable[..., None]:
    """Return a function that starts a copy, and kills its process after some staged blocks or after the commit."""

    def run(*, settings: dict[str, Any], blocks: int, commits: bool = False) -> None:
        given = {
            "s3": asdict(s3_server),
            "azure": asdict(azure_server),
            "bucket": bucket,
            "container": container.container_name,
            "key": KEY,
            "blocks": blocks,
            "commits": commits,
            "settings": settings,
        }
        child = subprocess.Popen(
            [sys.executable, "-c", COPY, json.dumps(given)],
            cwd=ROOT,
            env={"PYTHONPATH": f"{ROOT / 'plugins'}:{ROOT}"},
            stdout=subprocess.PIPE,
        )
        with child:
            try:
                assert child.stdout is not None
                for _ in range(1 + commits):
                    assert child.stdout.read(6) == b"staged"
            finally:
                child.kill()

    return run


@pytest.fixture
def resumed(
    s3_server: LocalS3, azure_server: LocalAzure, bucket: str, container: ContainerClient
) -> Callable[..., tuple[Receipt, int]]:
    """Return a function that copies the object; it returns the receipt and the bytes that Azure held before."""

    def run(settings: dict[str, Any]) -> tuple[Receipt, int]:
        source, destination = s3_source(s3_server), azure_container(azure_server, str(container.container_name))
        with (
            closing(source),
            closing(destination),
            open_context(source, destination, CopySettings(**settings)) as context,
        ):
            return copy_object(context, CopyTask(bucket, KEY, KEY)), context.progress.snapshot().bytes_resumed

    return run


@dataclass(frozen=True)
class Death:
    """An upload, the settings of its copy, and how many blocks Azure holds when the worker is killed."""

    level: str
    blocks: int
    settings: dict[str, Any] = field(default_factory=dict)
    upload: str = ""


FOUR = 4
ALL = 12
REREAD = NO_CHECKSUM | {"integrity": "reread"}


@pytest.mark.slow
@pytest.mark.parametrize(
    "death",
    [
        Death("crc64nvme", FOUR),
        Death("crc32c", FOUR),
        Death("crc32", FOUR),
        Death("crc32c_composite", FOUR),
        Death("crc32_composite", FOUR),
        # An MD5 needs its bytes in one block: the whole object, or one part.
        Death("md5", 1),
        Death("md5_composite", 2),
        Death("transport", FOUR, NO_CHECKSUM, upload="md5"),
        Death("reread", FOUR, REREAD, upload="md5"),
        # All blocks are staged: the kill comes during the second reading or before the commit.
        Death("reread", ALL, REREAD, upload="md5"),
        Death("crc64nvme+readback", FOUR, {"integrity": "readback"}, upload="crc64nvme"),
        Death("transport+readback", FOUR, NO_CHECKSUM | {"integrity": "readback"}, upload="md5"),
    ],
    ids=lambda death: f"{death.level}, {death.blocks} staged",
)
def test_killed_copy_resumes_at_its_level(
    death: Death,
    killed: Callable[..., None],
    resumed: Callable[..., tuple[Receipt, int]],
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
) -> None:
    """Blocks that Azure confirmed before the kill are not sent again, and the level is that of an undisturbed copy."""
    upload_for(death.upload or death.level, s3_client, bucket, KEY, DATA)
    client = container.get_blob_client(KEY)
    if death.level == "md5":
        # Without leftover blocks the object would be one request, of which a kill leaves nothing or all.
        client.stage_block(FOREIGN, b"left over")
    killed(settings=SETTINGS | death.settings, blocks=death.blocks)
    assert not client.exists()
    # Not necessarily the object's first blocks: two may overtake each other.
    staged = [block.size for block in client.get_block_list("uncommitted")[1] if block.id != FOREIGN]
    assert len(staged) == death.blocks
    receipt, bytes_resumed = resumed(SETTINGS | death.settings)
    assert (receipt.status, receipt.verified_by) == ("copied", death.level)
    assert (receipt.blocks_resumed, bytes_resumed) == (death.blocks, sum(staged))
    assert receipt.bytes_sent == len(DATA) - sum(staged)
    assert bytes(container.download_blob(KEY).readall()) == DATA
    assert client.get_blob_properties().metadata["s3_verified_by"] == death.level.removesuffix("+readback")


@pytest.mark.slow
def test_killed_while_reading_back(
    killed: Callable[..., None],
    resumed: Callable[..., tuple[Receipt, int]],
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
) -> None:
    """The next try reads back what was committed, because no metadata claim a read-back that did not end."""
    upload_for("crc64nvme", s3_client, bucket, KEY, DATA)
    settings = SETTINGS | {"integrity": "readback"}
    killed(settings=settings, blocks=12, commits=True)
    receipt, _ = resumed(settings)
    assert (receipt.status, receipt.verified_by, receipt.bytes_sent) == ("copied", "crc64nvme+readback", 0)
    assert bytes(container.download_blob(KEY).readall()) == DATA
