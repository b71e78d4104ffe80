"""Nights, which are scheduled runs, on LocalStack and Azurite: copied, verified, accounted for, nothing sent twice."""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.errors import Cancelled
from s3_to_azure.model.limits import MIB
from s3_to_azure.planning.plan import Plan, Requests
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.report import make_report
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.stores.azure.state import AzureState
from tests.real_stores import azure_container, s3_source
from tests.runs.nights import CountingDestination, Night

ROOT = Path(__file__).resolve().parents[2]


def a_night(s3: LocalS3, azure: LocalAzure, bucket: str, container: str, run_id: str) -> Night:
    """Return a run between the local servers, with its state in the destination container."""
    destination = azure_container(azure, container)
    settings = PlanSettings(s3_prefix="data/", blob_prefix="in/", batch_bytes=32 * MIB)
    return Night(s3_source(s3), destination, state(destination, run_id), bucket, settings)


def state(destination: AzureContainer, run_id: str) -> AzureState:
    """Return the state files of a run."""
    return AzureState(destination._service, destination.container, dag_id="nightly", run_id=run_id)


@pytest.fixture
def night(s3_server: LocalS3, azure_server: LocalAzure, bucket: str, container: ContainerClient) -> Iterator[Night]:
    """Return a run from a new bucket to a new container."""
    made = a_night(s3_server, azure_server, bucket, str(container.container_name), uuid4().hex)
    destination: Any = made.destination
    source: Any = made.source
    yield made
    destination.close()
    source.close()


def fill(s3_client: Any, bucket: str, count: int, *, largest: int = 40_000) -> dict[str, bytes]:
    """Put objects of random sizes below data/; return their bytes by key without that prefix."""
    chance = random.Random(count)
    objects = {
        f"{number % 7}/{number:04} ü+%.bin": chance.randbytes(chance.randint(0, largest)) for number in range(count)
    }
    for name, data in objects.items():
        s3_client.put_object(Bucket=bucket, Key=f"data/{name}", Body=data, ChecksumAlgorithm="CRC64NVME")
    return objects


def stored(container: ContainerClient) -> dict[str, bytes]:
    """Return the blobs below in/, by name without that prefix."""
    names = list(container.list_blob_names(name_starts_with="in/"))
    return {name.removeprefix("in/"): container.download_blob(name).readall() for name in names}


def test_the_second_night_sends_nothing(night: Night, s3_client: Any, container: ContainerClient) -> None:
    """300 objects arrive, verified and counted; the next run over them makes two listings and sends not one byte."""
    objects = fill(s3_client, night.bucket, 300)
    s3_client.put_object(Bucket=night.bucket, Key="data/folder/", Body=b"")
    container.upload_blob("in/stranger", b"?")
    plan, summaries, report = night.run()
    assert len(plan.batches) > 3
    assert report.error() is None
    assert report.summary()["copied"]["objects"] == 300
    assert report.summary()["proofs"] == {"crc64nvme": 300}
    assert report.summary()["skipped"]["objects"] == 1
    assert sum(summary.bytes_sent for summary in summaries) == report.bytes_sent == sum(map(len, objects.values()))
    assert stored(container) == objects | {"stranger": b"?"}

    counting = CountingDestination(night.destination)
    destination: Any = night.destination
    second = replace(night, destination=counting, files=state(destination, uuid4().hex))
    plan, summaries, report = second.run()
    assert (plan.batches, plan.unchanged.objects, plan.only_in_destination) == ((), 300, 1)
    assert plan.planning == Requests(s3_list=1, azure_list=1)
    assert (counting.bytes_sent, counting.lookups) == (0, 0)
    assert report.summary()["unchanged"]["objects"] == 300
    print(f"second night over 301 objects: {counting.bytes_sent} bytes, requests {plan.planning}")  # noqa: T201

    s3_client.put_object(Bucket=night.bucket, Key="data/0/0000 ü+%.bin", Body=b"new", ChecksumAlgorithm="CRC64NVME")
    third = replace(second, files=state(destination, uuid4().hex))
    plan, summaries, report = third.run()
    assert (plan.copy.objects, counting.bytes_sent, report.error()) == (1, 3, None)
    assert stored(container)["0/0000 ü+%.bin"] == b"new"


KILLED = """
import itertools, json, os, sys, threading
from types import SimpleNamespace
from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.state.plan import BatchDescriptor
from tests.runs.nights import CountingDestination
from tests.runs.test_nights import a_night
given = json.loads(sys.argv[1])
servers = LocalS3(**given["s3"]), LocalAzure(**given["azure"])
night = a_night(*servers, given["bucket"], given["container"], given["run_id"])
log = os.open(given["log"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
sent = itertools.count(1)

def on_sent():
    # However late the kill is, only what is in flight by now is sent.
    if next(sent) >= given["after"]:
        threading.Event().wait()

night.destination = CountingDestination(night.destination, on_sent=on_sent, log=log)
night = night.with_settings(block_bytes=given["settings"]["block_bytes"])
night.objects_at_once = given["settings"]["objects_at_once"]
batch = BatchDescriptor.from_dict(given["batch"])
night.copy(SimpleNamespace(batches={batch.index: batch}), batch.index)
"""


class Killer:
    """Copies batches in processes of their own, and kills them on the way."""

    def __init__(self, s3: LocalS3, azure: LocalAzure, directory: Path) -> None:
        self._servers = {"s3": asdict(s3), "azure": asdict(azure)}
        self._log = directory / "sent"

    def kill(self, night: Night, plan: Plan, index: int, run_id: str, *, after: int) -> int:
        """Kill the copy of a batch after ``after`` requests with data; return the bytes that it sent at most."""
        arguments = self._servers | {
            "bucket": night.bucket,
            "container": night.destination.container,
            "settings": {"objects_at_once": night.objects_at_once, "block_bytes": night.settings.block_bytes},
            "run_id": run_id,
            "log": str(self._log),
            "after": after,
            "batch": plan.batches[index].as_dict(),
        }
        paths = os.pathsep.join(str(ROOT / name) for name in ("plugins", "."))
        child = subprocess.Popen(
            [sys.executable, "-c", KILLED, json.dumps(arguments)], cwd=ROOT, env=os.environ | {"PYTHONPATH": paths}
        )
        try:
            while not self._log.exists() or len(self._log.read_bytes().splitlines()) < after:
                assert child.poll() is None
                time.sleep(0.005)
        finally:
            child.kill()
            child.wait()
        return sum(map(int, self._log.read_text().split()))


@pytest.fixture
def killer(s3_server: LocalS3, azure_server: LocalAzure, tmp_path: Path) -> Killer:
    """Return a killer of copies between the local servers."""
    return Killer(s3_server, azure_server, tmp_path)


def test_a_killed_task_sends_only_what_was_in_flight_again(
    night: Night, s3_client: Any, container: ContainerClient, killer: Killer
) -> None:
    """After SIGKILL half-way, the two tries together send no more than the data and what was in flight."""
    objects = fill(s3_client, night.bucket, 400)
    destination: Any = night.destination
    run_id = uuid4().hex
    night = replace(night, files=state(destination, run_id)).with_settings(batch_bytes=1024 * MIB)
    pointer = night.make_manifest()
    plan = night.plan(pointer)
    assert len(plan.batches) == 1
    first = killer.kill(night, plan, 0, run_id, after=200)
    assert 0 < len(list(container.list_blob_names(name_starts_with="in/"))) < 400
    counting = CountingDestination(night.destination)
    summary = replace(night, destination=counting).copy(plan, 0, try_number=2)
    assert summary.done_before >= 200 - night.objects_at_once
    total = sum(map(len, objects.values()))
    assert total <= first + counting.bytes_sent <= total + night.objects_at_once * 40_000
    assert stored(container) == objects
    report = make_report(night.files, pointer)
    assert report.error() is None
    assert report.summary()["copied"]["objects"] == 400


@pytest.mark.parametrize(
    ("size_mib", "block_mib", "fate"),
    [
        (64, 1, "all finish"),
        (64, 1, "one is stopped"),
        (64, 1, "one is killed"),
        pytest.param(512, 8, "one is killed", marks=[pytest.mark.slow, pytest.mark.timeout(600)]),
    ],
)
def test_a_giant_is_copied_by_four_tasks_and_committed_once(
    night: Night,
    s3_client: Any,
    container: ContainerClient,
    killer: Killer,
    size_mib: int,
    block_mib: int,
    fate: str,
) -> None:
    """Four tasks copy ranges of one object at once; a task that ends mid-range and is retried sends only the rest."""
    size, part_bytes = size_mib * MIB, size_mib * MIB // 4
    data = random.Random(size).randbytes(size // 16) * 16
    s3_client.put_object(Bucket=night.bucket, Key="data/giant", Body=data, ChecksumAlgorithm="CRC64NVME")
    destination: Any = night.destination
    run_id = uuid4().hex
    night = replace(night, files=state(destination, run_id))
    night = night.with_settings(split_bytes=part_bytes, block_bytes=block_mib * MIB)
    pointer = night.make_manifest()
    plan = night.plan(pointer)
    assert [(batch.kind, batch.size_bytes) for batch in plan.batches] == [("range", part_bytes)] * 4
    sent: list[int] = []
    commits: list[int] = []

    def attempt(index: int, try_number: int, cancelled: threading.Event | None = None) -> tuple[str, int]:
        counting = CountingDestination(night.destination, on_sent=cancelled.set if cancelled else lambda: None)
        try:
            summary = replace(night, destination=counting).copy(plan, index, try_number=try_number, cancelled=cancelled)
        finally:
            sent.append(counting.bytes_sent)
            commits.append(counting.commits)
        return "copied" if summary.copied else "staged", counting.bytes_sent

    def part(index: int) -> str:
        if index != 1 or fate == "all finish":
            return attempt(index, 1)[0]
        if fate == "one is killed":
            sent.append(killer.kill(night, plan, index, run_id, after=6))
        else:
            with pytest.raises(Cancelled):
                attempt(index, 1, threading.Event())
        status, again = attempt(index, 2)
        assert 0 < again < part_bytes
        return status

    began = time.monotonic()
    with ThreadPoolExecutor(4) as tasks:
        statuses = list(tasks.map(part, range(4)))
    seconds = time.monotonic() - began
    assert "copied" in statuses
    assert sum(commits) == 1
    assert stored(container) == {"giant": data}
    in_flight = 0 if fate == "all finish" else 4 * block_mib * MIB
    assert size <= sum(sent) <= size + in_flight
    report = make_report(night.files, pointer)
    assert report.error() is None
    assert report.summary()["copied"] == {"objects": 1, "size_bytes": size}
    print(f"{size_mib} MiB by 4 tasks, {fate}: {seconds:.1f} s, {sum(sent) / MIB:.0f} MiB sent")  # noqa: T201
