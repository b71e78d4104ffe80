"""Whatever happens to any fetch, in any order, over tries that end early: the blob is the object, or there is none."""

import base64
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from s3_to_azure.model.errors import ConnectionFailed, ServerFailed, Throttled, TransferError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Block
from s3_to_azure.model.options import Via
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import BUCKET, QUICK, task, transfer_context
from tests.fakes.fetching_memory import FetchingMemory, refused
from tests.fakes.memory_source import MemorySource

VERSIONS = [bytes([number]) * (4 * MIB - number) for number in range(1, 4)]
FAULTS = (
    "none",
    "none",
    "corrupt",
    "short",
    "lie",
    "no crc",
    "refused",
    "busy",
    "timeout",
    "lost",
    "late",
    "change",
    "die",
)


class Died(BaseException):
    """The worker's process ends."""


class World:
    """S3, Azure, and what happens to the fetches."""

    def __init__(self, faults: Iterator[str]) -> None:
        self.source = MemorySource(BUCKET)
        self.azure = FetchingMemory(self.source, self.around)
        self.azure.fetch = self.read
        self.faults = faults
        self.lock = threading.RLock()
        self.fault = "none"
        self.late: list[tuple[str, bytes]] = []
        self.current = 0
        self.source.put(BUCKET, "k", VERSIONS[0])

    def read(self, url: str, block: Block) -> bytes:
        """Read as Azure does."""
        data = self.azure.read_source(url, block)
        if self.fault == "corrupt":
            return b"x" * len(data)
        return data[: len(data) // 2] if self.fault == "short" else data

    def around(self, block: Block, fetch: Callable[[], int | None]) -> int | None:
        """Let something happen to a fetch."""
        with self.lock:
            self.fault = next(self.faults, "none")
            if self.fault == "change":
                self.current = (self.current + 1) % len(VERSIONS)
                self.source.put(BUCKET, "k", VERSIONS[self.current])
            if self.fault == "die":
                raise Died
            if self.fault == "late":
                self.late.append((self.azure.now.block_id, self.read("memory://bucket/k", block)))
            before: dict[str, TransferError] = {
                "refused": refused(),
                "busy": Throttled(service="Azure", code="ServerBusy", retry_after_s=0),
                "timeout": ServerFailed(service="Azure", status=500, code="OperationTimedOut", resource="k"),
                "late": ConnectionFailed(service="Azure", resource="k", detail="lost"),
            }
            if self.fault in before:
                raise before[self.fault]
            found = fetch()
            self.arrive_late()
            if self.fault == "lost":
                raise ConnectionFailed(service="Azure", resource="k", detail="lost")
            return {"lie": 7, "no crc": None}.get(self.fault, found)

    def arrive_late(self) -> None:
        """Stage what requests of before have fetched."""
        for name, data in self.late[:1]:
            self.azure.stage_foreign("k", name.encode(), data)
        del self.late[:1]

    def try_once(self, via: Via) -> bool:
        """Copy; return whether the try succeeded."""
        try:
            with transfer_context(self.source, self.azure, via=via, retry=replace(QUICK, first_wait_s=0)) as context:
                copy_object(context, task())
        except (TransferError, Died):
            return False
        return True


@settings(max_examples=60)
@given(
    faults=st.lists(st.sampled_from(FAULTS), max_size=30),
    ways=st.lists(st.sampled_from(["auto", "azure", "worker"]), min_size=1, max_size=4),
)
def test_the_blob_is_the_object_or_there_is_none(faults: list[str], ways: list[Via]) -> None:
    """Tries of any way follow each other, until one finds no fault."""
    world = World(iter(faults))
    for via in ways:
        ended = world.try_once(via)
        blob = world.azure.blobs.get("k")
        if blob is not None:
            assert blob.data in VERSIONS, "a mix of versions, or damaged bytes"
            assert all(base64.urlsafe_b64decode(name)[0] in (1, 2) for name in blob.blocks)
        if ended:
            assert blob is not None
    world.faults = iter(())
    assert world.try_once("auto")
    assert world.azure.blobs["k"].data == VERSIONS[world.current]
    assert len(set(world.azure.ids)) == len(world.azure.ids)
