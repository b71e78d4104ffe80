"""Each verification level on an object in a real server that allows only that level, and the damage that it finds."""

import base64
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
from s3_to_azure.model.settings import CopySettings, Fidelity, RetryBudget
from s3_to_azure.transfer.context import CopyTask, open_context
from s3_to_azure.transfer.object import copy_object
from s3_to_azure.transfer.verify import verify_object
from tests.fidelity.faulty_source import FlippingSource
from tests.fidelity.uploads import put, put_parts, some_bytes, upload_for
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
    """Return a function that copies the object of the test."""

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
    """Return whether the blob is committed."""
    return bool(container.get_blob_client(KEY).exists())


@pytest.mark.parametrize("level", VERIFICATION_LEVELS)
def test_strongest_level_of_the_object(
    level: str, copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """The copy is equal, and receipt and blob name the level."""
    upload_for(level, s3_client, bucket, KEY, DATA)
    receipt = copied(integrity=level)
    assert (receipt.status, receipt.verified_by) == ("copied", level)
    assert receipt.checksum.startswith(level.removesuffix("_composite") + ":")
    assert blob_bytes(container) == DATA
    properties = container.get_blob_client(KEY).get_blob_properties()
    assert properties.metadata["s3_verified_by"] == level
    assert properties.metadata["s3_checksum"] == receipt.checksum


@pytest.mark.parametrize("level", ["sha256", "sha1"])
def test_the_hash_of_an_object_whose_etag_is_no_md5(
    level: str, copied: Callable[..., Receipt], source: ObjectSource, s3_client: Any, bucket: str, container: Any
) -> None:
    """As an upload under SSE-KMS: its hash verifies the copy, and bytes that are damaged for good are refused."""
    put(s3_client, bucket, KEY, DATA, ChecksumAlgorithm=level.upper())
    no_md5 = {"fidelity": Fidelity(etag_is_md5="no"), "integrity": level}
    with pytest.raises(IntegrityError, match=level):
        copied(through=FlippingSource(source, at=FLIPPED, times=99), **no_md5)
    assert not is_there(container)
    receipt = copied(**no_md5)
    assert (receipt.status, receipt.verified_by, receipt.blocks) == ("copied", level, 1)
    assert receipt.checksum == f"{level}:{base64.b64encode(hashlib.new(level, DATA).digest()).decode()}"
    properties = container.get_blob_client(KEY).get_blob_properties()
    assert properties.metadata["s3_verified_by"] == level
    assert blob_bytes(container) == DATA


@pytest.mark.parametrize("level", VERIFICATION_LEVELS)
def test_byte_flipped_once_is_read_again(
    level: str, copied: Callable[..., Receipt], source: ObjectSource, s3_client: Any, bucket: str, container: Any
) -> None:
    """A byte that is damaged once between S3 and the worker is found and read again."""
    upload_for(level, s3_client, bucket, KEY, DATA)
    receipt = copied(through=FlippingSource(source, at=FLIPPED, times=1))
    assert (receipt.status, receipt.verified_by) == ("copied", level)
    assert blob_bytes(container) == DATA


@pytest.mark.parametrize("level", VERIFICATION_LEVELS)
def test_byte_flipped_always_is_refused(
    level: str, copied: Callable[..., Receipt], source: ObjectSource, s3_client: Any, bucket: str, container: Any
) -> None:
    """Bytes that are damaged at every reading are never committed."""
    upload_for(level, s3_client, bucket, KEY, DATA)
    with pytest.raises(IntegrityError, match=level):
        copied(through=FlippingSource(source, at=FLIPPED, times=99))
    assert not is_there(container)


@pytest.mark.parametrize("level", FOLDED)
def test_byte_flipped_before_a_resume_is_found(
    level: str, copied: Callable[..., Receipt], source: ObjectSource, s3_client: Any, bucket: str, container: Any
) -> None:
    """A damaged block of an earlier try is found by the try that resumes."""
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


def test_md5_of_one_block_becomes_content_md5(
    copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """Content-MD5 is set where the MD5 was computed from the bytes of the single block."""
    upload_for("md5", s3_client, bucket, KEY, DATA)
    client = container.get_blob_client(KEY)
    client.stage_block("A" * 52, b"left over")
    receipt = copied()
    assert receipt.verified_by == "md5"
    settings = client.get_blob_properties().content_settings
    assert bytes(settings.content_md5 or b"") == hashlib.md5(DATA).digest()


def test_no_content_md5_from_parts(
    copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """Without an MD5 of the whole object no Content-MD5 is set."""
    upload_for("md5_composite", s3_client, bucket, KEY, DATA)
    copied()
    assert not container.get_blob_client(KEY).get_blob_properties().content_settings.content_md5


@pytest.mark.parametrize("sizes", [[5 * MIB, 5 * MIB + 7, 5 * MIB], [6 * MIB, 7 * MIB, 5 * MIB]])
def test_parts_of_different_sizes(
    sizes: list[int], copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """An object is verified even where the first and the last part suggest wrong sizes for the others."""
    data = some_bytes(sum(sizes) + MIB)
    put_parts(s3_client, bucket, KEY, data, sizes, ChecksumAlgorithm="SHA256", ChecksumType="COMPOSITE")
    receipt = copied()
    assert receipt.verified_by == "md5_composite"
    assert blob_bytes(container) == data


def test_small_object_of_two_parts(
    copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """An object of one request is verified along its parts."""
    data = some_bytes(6 * MIB)
    put_parts(s3_client, bucket, KEY, data, [5 * MIB], ChecksumAlgorithm="CRC32C", ChecksumType="COMPOSITE")
    receipt = copied(block_bytes=None)
    assert receipt.verified_by == "crc32c_composite"
    assert blob_bytes(container) == data


@pytest.mark.parametrize("size_bytes", [0, 1])
def test_object_of_one_part(
    size_bytes: int, copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: ContainerClient
) -> None:
    """A single part, even an empty one, has a composite checksum."""
    data = some_bytes(size_bytes)
    put_parts(s3_client, bucket, KEY, data, [], ChecksumAlgorithm="CRC32", ChecksumType="COMPOSITE")
    assert copied().verified_by == "crc32_composite"
    assert blob_bytes(container) == data


def test_required_level_is_missing(copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: Any) -> None:
    """A required level that S3 cannot give fails the copy before anything is written."""
    upload_for("md5_composite", s3_client, bucket, KEY, DATA)
    with pytest.raises(IntegrityUnavailable, match="md5_composite"):
        copied(integrity="crc32")
    assert not is_there(container)


def test_too_large_for_an_md5(copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: Any) -> None:
    """An object that exceeds the budget cannot be verified by its MD5, and its receipt says ``transport``."""
    upload_for("md5", s3_client, bucket, KEY, DATA)
    receipt = copied(memory_budget_bytes=8 * MIB)
    assert (receipt.verified_by, receipt.checksum) == ("transport", "")
    assert blob_bytes(container) == DATA


class TestReread:
    """``integrity=reread`` for an object without a usable checksum."""

    BUDGET = 8 * MIB

    def test_two_equal_readings(
        self, copied: Callable[..., Receipt], s3_client: Any, bucket: str, container: Any
    ) -> None:
        """Receipt and blob say that two readings were equal."""
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
        """A byte that differs between two readings is read until two are equal."""
        upload_for("md5", s3_client, bucket, KEY, DATA)
        through = FlippingSource(source, at=FLIPPED, times=times)
        if times == 2:
            # Damaged alike twice: only a checksum could find that.
            assert copied(through=through, memory_budget_bytes=self.BUDGET, integrity="reread").status == "copied"
            assert blob_bytes(container) != DATA
        else:
            copied(through=through, memory_budget_bytes=self.BUDGET, integrity="reread")
            assert blob_bytes(container) == DATA

    def test_checksum_needs_no_second_reading(
        self, copied: Callable[..., Receipt], s3_client: Any, bucket: str
    ) -> None:
        """Where S3 stores a checksum, the copy is verified by it."""
        upload_for("crc32", s3_client, bucket, KEY, DATA)
        assert copied(integrity="reread").verified_by == "crc32"


class TestReadback:
    """``integrity=readback`` compares what Azure returns, too."""

    @pytest.mark.parametrize("block_bytes", [MIB, 16 * MIB])
    def test_readback_is_named_in_the_receipt(
        self, block_bytes: int, copied: Callable[..., Receipt], s3_client: Any, bucket: str
    ) -> None:
        """The receipt names the level and the read-back."""
        upload_for("crc32c", s3_client, bucket, KEY, DATA)
        assert copied(integrity="readback", block_bytes=block_bytes).verified_by == "crc32c+readback"


@pytest.mark.parametrize("level", VERIFICATION_LEVELS)
def test_verify_reaches_the_same_level(
    level: str,
    copied: Callable[..., Receipt],
    source: ObjectSource,
    azure_server: LocalAzure,
    s3_client: Any,
    bucket: str,
    container: ContainerClient,
) -> None:
    """``verify_object`` compares by the same checksum, and finds a blob of other bytes."""
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


def test_readings_that_always_differ(
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
