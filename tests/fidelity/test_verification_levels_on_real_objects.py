"""Each rung of the ladder on an object in a real S3 that allows just that one, and the flipped byte that it catches."""

import hashlib
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.errors import Cancelled, IntegrityError, IntegrityUnavailable, RereadDiffers
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.ports import ObjectSource
from s3_to_azure.model.settings import CopySettings, RetryBudget
from s3_to_azure.transfer.context import CopyTask, open_context
from s3_to_azure.transfer.object import copy_object
from s3_to_azure.transfer.verify import verify_object
from tests.fidelity.faulty_source import FlippingSource
from tests.fidelity.uploads import put_parts, some_bytes, upload_for
from tests.real_stores import azure_container, s3_source

VERIFICATION_LEVELS = ["crc64nvme", "crc32c", "crc32", "crc32c_composite", "crc32_composite", "md5", "md5_composite"]
FOLDED = [level for level in VERIFICATION_LEVELS if level != "md5"]
"""Those whose objects are staged in several blocks; an MD5 of the whole object needs one."""
DATA = some_bytes(11 * MIB + 5)
FLIPPED = 6 * MIB + 1
KEY = "a/b.bin"
QUICK = RetryBudget(first_wait_s=0.01, longest_wait_s=0.02)


@pytest.fixture
def source(s3_server: LocalS3) -> Iterator[ObjectSource]:
    """Return the local S3 as a source."""
    with_connections = s3_source(s3_server)
    yield with_connections
    with_connections.close()


@pytest.fixture
def copied(
    source: ObjectSource, azure_server: LocalAzure, bucket: str, container: ContainerClient
) -> Callable[..., Receipt]:
    """Return a function that copies the test's one object."""

    def run(*, through: ObjectSource | None = None, stop: threading.Event | None = None, **settings: Any) -> Receipt:
        destination = azure_container(azure_server, container.container_name)
        chosen = CopySettings(**{"block_bytes": MIB, "connections": 1, "retry": QUICK, **settings})
        try:
            with open_context(through or source, destination, chosen, cancelled=stop) as context:
                return copy_object(context, CopyTask(bucket, KEY, KEY))
        finally:
            destination.close()

    return run


def blob_bytes(container: ContainerClient) -> bytes:
    """Return the blob, read by Azure's own SDK."""
    return bytes(container.download_blob(KEY).readall())


def is_there(container: ContainerClient) -> bool:
    """Say whether anything was committed."""
    return bool(container.get_blob_client(KEY).exists())


@pytest.mark.parametrize("level", VERIFICATION_LEVELS)
def test_strongest_rung_of_the_object(
    level: str, copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """The copy is equal, and receipt and blob say by what it is proven."""
    upload_for(level, s3_client, bucket, KEY, DATA)
    receipt = copied(integrity=level)
    assert (receipt.status, receipt.verified_by) == ("copied", level)
    assert receipt.checksum.startswith(level.removesuffix("_composite") + ":")
    assert blob_bytes(container) == DATA
    properties = container.get_blob_client(KEY).get_blob_properties()
    assert properties.metadata["s3_verified_by"] == level
    assert properties.metadata["s3_checksum"] == receipt.checksum


@pytest.mark.parametrize("level", VERIFICATION_LEVELS)
def test_flipped_once_is_cured(
    level: str, copied: Callable[..., Receipt], source: ObjectSource, s3_client: Any, bucket: str, container: Any
) -> None:
    """A byte damaged between S3 and the worker is noticed, and read again."""
    upload_for(level, s3_client, bucket, KEY, DATA)
    receipt = copied(through=FlippingSource(source, at=FLIPPED, times=1))
    assert (receipt.status, receipt.verified_by) == ("copied", level)
    assert blob_bytes(container) == DATA


@pytest.mark.parametrize("level", VERIFICATION_LEVELS)
def test_flipped_for_good_is_refused(
    level: str, copied: Callable[..., Receipt], source: ObjectSource, s3_client: Any, bucket: str, container: Any
) -> None:
    """Bytes that are damaged each time are never committed."""
    upload_for(level, s3_client, bucket, KEY, DATA)
    with pytest.raises(IntegrityError, match=level):
        copied(through=FlippingSource(source, at=FLIPPED, times=99))
    assert not is_there(container)


@pytest.mark.parametrize("level", FOLDED)
def test_flipped_before_a_resume(
    level: str, copied: Callable[..., Receipt], source: ObjectSource, s3_client: Any, bucket: str, container: Any
) -> None:
    """A block that an earlier try staged damaged is found by the try that resumes, which sends only the rest."""
    upload_for(level, s3_client, bucket, KEY, DATA)
    stop = threading.Event()
    stage = 2 if level == "md5_composite" else 8

    def staged() -> int:
        try:
            return len(container.get_blob_client(KEY).get_block_list("uncommitted")[1])
        except ResourceNotFoundError:
            return 0

    def all_are_staged() -> None:
        while staged() < stage:
            time.sleep(0.02)

    stopping = FlippingSource(source, at=FLIPPED, times=1, stop=stop, stop_after=stage, before_stop=all_are_staged)
    with pytest.raises(Cancelled):
        copied(through=stopping, stop=stop)
    assert not is_there(container)
    receipt = copied()
    assert receipt.verified_by == level
    assert receipt.blocks_resumed == stage
    assert receipt.bytes_sent < len(DATA)
    assert blob_bytes(container) == DATA


def test_md5_of_one_block_is_the_blobs_own(
    copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """Content-MD5 is set where it was computed from the bytes, in one request or in one block."""
    upload_for("md5", s3_client, bucket, KEY, DATA)
    client = container.get_blob_client(KEY)
    client.stage_block("A" * 52, b"left over")
    receipt = copied()
    assert receipt.verified_by == "md5"
    settings = client.get_blob_properties().content_settings
    assert bytes(settings.content_md5 or b"") == hashlib.md5(DATA).digest()


def test_no_content_md5_elsewhere(
    copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """Where no MD5 of the whole was computed, none is claimed."""
    upload_for("md5_composite", s3_client, bucket, KEY, DATA)
    copied()
    assert not container.get_blob_client(KEY).get_blob_properties().content_settings.content_md5


@pytest.mark.parametrize("sizes", [[5 * MIB, 5 * MIB + 7, 5 * MIB], [6 * MIB, 7 * MIB, 5 * MIB]])
def test_parts_of_odd_sizes(
    sizes: list[int], copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """Where the first and the last part tell nothing about the others, or mislead, the proof holds all the same."""
    data = some_bytes(sum(sizes) + MIB)
    put_parts(s3_client, bucket, KEY, data, sizes, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")
    receipt = copied()
    assert receipt.verified_by == "md5_composite"
    assert blob_bytes(container) == data


def test_small_object_of_two_parts(
    copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """An object that goes in one request is proven part by part too."""
    data = some_bytes(6 * MIB)
    put_parts(s3_client, bucket, KEY, data, [5 * MIB], ChecksumAlgorithm="CRC32C", ChecksumType="COMPOSITE")
    receipt = copied(block_bytes=None)
    assert receipt.verified_by == "crc32c_composite"
    assert blob_bytes(container) == data


@pytest.mark.parametrize("size_bytes", [0, 1])
def test_one_part(
    size_bytes: int, copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """A single part, even an empty one, has a composite checksum all the same."""
    data = some_bytes(size_bytes)
    put_parts(s3_client, bucket, KEY, data, [], ChecksumAlgorithm="CRC32", ChecksumType="COMPOSITE")
    assert copied().verified_by == "crc32_composite"
    assert blob_bytes(container) == data


def test_required_rung_is_missing(copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: Any) -> None:
    """A required minimum that S3 cannot give fails before anything is copied."""
    upload_for("md5_composite", s3_client, bucket, KEY, DATA)
    with pytest.raises(IntegrityUnavailable, match="md5_composite"):
        copied(integrity="crc32")
    assert not is_there(container)


def test_too_large_for_an_md5(copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: Any) -> None:
    """An object larger than one block may be has no MD5 to be proven by: the receipt says transport."""
    upload_for("md5", s3_client, bucket, KEY, DATA)
    receipt = copied(memory_budget_bytes=8 * MIB)
    assert (receipt.verified_by, receipt.checksum) == ("transport", "")
    assert blob_bytes(container) == DATA


class TestReread:
    """``integrity=reread``: for an object of which S3 keeps nothing to compare."""

    BUDGET = 8 * MIB

    def test_two_readings(self, copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: Any) -> None:
        """The receipt says that it was read twice alike."""
        upload_for("md5", s3_client, bucket, KEY, DATA)
        receipt = copied(memory_budget_bytes=self.BUDGET, integrity="reread")
        assert receipt.verified_by == "reread"
        assert container.get_blob_client(KEY).get_blob_properties().metadata["s3_verified_by"] == "reread"
        assert blob_bytes(container) == DATA

    @pytest.mark.parametrize("times", [1, 2])
    def test_flipped_byte(
        self,
        times: int,
        copied: Callable[..., Receipt],
        source: ObjectSource,
        s3_client: Any,
        bucket: str,
        container: Any,
    ) -> None:
        """A byte that differs between two readings is read until two agree."""
        upload_for("md5", s3_client, bucket, KEY, DATA)
        through = FlippingSource(source, at=FLIPPED, times=times)
        if times == 2:
            # Damaged alike twice: no second reading can tell; only a checksum could.
            assert copied(through=through, memory_budget_bytes=self.BUDGET, integrity="reread").status == "copied"
            assert blob_bytes(container) != DATA
        else:
            copied(through=through, memory_budget_bytes=self.BUDGET, integrity="reread")
            assert blob_bytes(container) == DATA

    def test_not_needed(self, copied: Callable[..., Receipt], s3_client: Any, bucket: str) -> None:
        """Where S3 keeps a checksum, that is stronger, and nothing is read twice."""
        upload_for("crc32", s3_client, bucket, KEY, DATA)
        assert copied(integrity="reread").verified_by == "crc32"


class TestReadback:
    """``integrity=readback``: what Azure gives back is compared too."""

    @pytest.mark.parametrize("block_bytes", [MIB, 16 * MIB])
    def test_said_in_the_receipt(
        self, block_bytes: int, copied: Callable[..., Receipt], s3_client: Any, bucket: str
    ) -> None:
        """Beside the rung that S3 allows."""
        upload_for("crc32c", s3_client, bucket, KEY, DATA)
        assert copied(integrity="readback", block_bytes=block_bytes).verified_by == "crc32c+readback"


@pytest.mark.parametrize("level", VERIFICATION_LEVELS)
def test_verify_reaches_the_same_rung(
    level: str,
    copied: Callable[..., Receipt],
    source: ObjectSource,
    azure_server: LocalAzure,
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
) -> None:
    """Reading the blob back proves it by the same checksum, and a blob of other bytes is different."""
    upload_for(level, s3_client, bucket, KEY, DATA)
    copied()
    destination = azure_container(azure_server, container.container_name)
    with open_context(source, destination, CopySettings(connections=1, retry=QUICK)) as context:
        equal = verify_object(context, CopyTask(bucket, KEY, KEY))
        container.upload_blob(KEY, DATA[:-1] + bytes([DATA[-1] ^ 1]), overwrite=True)
        different = verify_object(context, CopyTask(bucket, KEY, KEY))
    destination.close()
    assert (equal.status, equal.verified_by) == ("equal", level)
    assert (different.status, different.verified_by) == ("different", level)


def test_readings_never_alike(
    copied: Callable[..., Receipt], source: ObjectSource, s3_client: Any, bucket: str, container: Any
) -> None:
    """Bytes that differ at each reading are never committed."""

    class Flickering(FlippingSource):
        """Flips another byte each time."""

        def open(self, *arguments: Any) -> Any:
            self._at, self._times = self._at + 1, 99
            return super().open(*arguments)

    upload_for("md5", s3_client, bucket, KEY, DATA)
    with pytest.raises(RereadDiffers):
        copied(through=Flickering(source, at=5, times=99), memory_budget_bytes=8 * MIB, integrity="reread")
    assert not is_there(container)
