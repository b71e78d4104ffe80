"""Azure fetches by itself, and everything goes wrong that can: the invariants of the server-side path hold."""

import itertools
import json
import logging
import random
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import ResourceNotFoundError
from azure.storage.blob import ContainerClient

from local_cloud.servers import LocalAzure, LocalS3
from s3_to_azure.model.errors import CredentialsRefused, FetchRefused, IntegrityError
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import FetchUrl, ObjectVersion, Receipt
from s3_to_azure.stores.azure.container import AzureContainer
from s3_to_azure.transfer import upload
from s3_to_azure.transfer.blocks import NO_SECOND, FetchedBlock, fingerprint, parse
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import QUICK, crc, some_bytes, task, transfer_context
from tests.fakes.fetching_azure import FetchingAzure, fetching_azure
from tests.fakes.public_source import PublicSource
from tests.faults.fetching_worker import STEPS
from tests.real_stores import account_sas, fetching_container, public_source

ROOT = Path(__file__).resolve().parents[2]
BLOCKS = 6
DATA = some_bytes(BLOCKS * MIB - 17)
OTHER = some_bytes(len(DATA), 7)
LAST = BLOCKS - 1


@dataclass
class Sky:
    """Both clouds, with a fetcher between them, and one object."""

    azure: FetchingAzure
    source: PublicSource
    destination: AzureContainer
    s3_client: Any
    bucket: str
    container: ContainerClient
    s3_server: LocalS3
    azure_server: LocalAzure

    def put(self, data: bytes = DATA) -> ObjectVersion:
        """Write the object."""
        self.s3_client.put_object(Bucket=self.bucket, Key="k", Body=data, ChecksumAlgorithm="CRC64NVME")
        return self.source.head(self.bucket, "k")

    def blob(self) -> bytes | None:
        """Return the committed blob's bytes; None if there is none."""
        try:
            return bytes(self.container.download_blob("k").readall())
        except ResourceNotFoundError:
            return None

    def copy(self, via: str = "auto", **settings: Any) -> Receipt:
        """Copy the object."""
        with transfer_context(self.source, self.destination, via=via, **settings) as context:
            return copy_object(context, task("k", self.bucket))

    def once_asked(self, happens: dict[int, Callable[[], object]]) -> None:
        """Let something happen just before the fetches of these numbers, one after the other."""
        real, lock, numbers = self.azure.fault_for, threading.Lock(), itertools.count(1)

        def fault_for(start: int) -> Any:
            with lock:
                happens.get(next(numbers), bool)()
            return real(start)

        self.azure.fault_for = fault_for  # type: ignore[method-assign]  # until the test ends

    def stage(self, block: FetchedBlock, data: bytes, *crc64s: int) -> None:
        """Stage a block as an earlier try let Azure fetch it, with notes of these CRC64s."""
        self.destination.stage_block("k", block.block_id, memoryview(data), crc(data))
        for crc64 in crc64s:
            note = replace(block, crc64=crc64).note_id
            self.destination.stage_block("k", note, memoryview(b"\0"), crc(b"\0"))


@pytest.fixture
def sky(
    s3_server: LocalS3, azure_server: LocalAzure, s3_client: Any, bucket: str, container: ContainerClient
) -> Iterator[Sky]:
    """Return both clouds with the object in S3."""
    with fetching_azure(azure_server.account_url) as azure, closing(public_source(s3_server)) as source:
        destination = fetching_container(azure_server, str(container.container_name), azure)
        made = Sky(azure, source, destination, s3_client, bucket, container, s3_server, azure_server)
        made.put()
        yield made
        destination.close()


def earlier(version: ObjectVersion, number: int, nonce: bytes) -> FetchedBlock:
    """Return a block of an earlier try."""
    start, end = number * MIB, min((number + 1) * MIB, len(DATA))
    return FetchedBlock(start, end, crc(DATA[start:end]), NO_SECOND, fingerprint(version), nonce)


def test_no_byte_through_the_worker_and_every_byte_proven(sky: Sky) -> None:
    """The whole path on real servers: presigned, fetched, noted, folded, committed."""
    receipt = sky.copy()
    assert sky.blob() == DATA
    assert (receipt.via, receipt.verified_by, receipt.blocks_fetched) == ("azure", "crc64nvme", BLOCKS)
    assert (sky.azure.counts.fetched, sky.azure.counts.notes, sky.azure.counts.commits) == (BLOCKS, BLOCKS, 1)


@pytest.mark.parametrize(
    "if_match", ["ignore", *(pytest.param(mode, marks=pytest.mark.slow) for mode in ("compare", "forward", "reject"))]
)
def test_invariant_1_a_mix_of_versions_is_never_committed(sky: Sky, if_match: Any) -> None:
    """The object is overwritten halfway: staged blocks may be of two versions, the blob is of one."""
    sky.azure.if_match = if_match
    sky.once_asked({3: lambda: sky.put(OTHER)})
    receipt = sky.copy(connections=1)
    assert sky.blob() == OTHER
    assert receipt.etag == sky.source.head(sky.bucket, "k").etag


@pytest.mark.slow
def test_known_bytes_are_compared_by_azure(sky: Sky) -> None:
    """An object of one block: Azure is asked whether it compares, is told S3's checksum, and no note is needed."""
    data = some_bytes(9 * MIB)
    sky.put(data)
    receipt = sky.copy(block_bytes=None)
    assert sky.blob() == data
    assert (receipt.via, receipt.blocks_fetched) == ("azure", 1)
    assert (sky.azure.counts.asked, sky.azure.counts.staged, sky.azure.counts.notes) == (2, 1, 0)


@pytest.mark.slow
@pytest.mark.parametrize("if_match", ["ignore", "forward"])
def test_invariant_1_a_version_that_came_back(sky: Sky, if_match: Any) -> None:
    """A, then B, then A again with the same ETag: the blocks of B are found and fetched again."""
    sky.azure.if_match = if_match
    sky.once_asked({2: lambda: sky.put(OTHER), 5: sky.put})
    sky.copy(connections=1)
    assert sky.blob() == DATA


@pytest.mark.slow
@pytest.mark.parametrize("act", ["lost", "lost_before"])
def test_invariant_2_lost_answers(sky: Sky, act: Any) -> None:
    """A request whose answer is lost is asked for again, under another id."""
    sky.azure.once(act, start=0)
    sky.azure.once(act, start=LAST * MIB)
    sky.copy()
    assert sky.blob() == DATA
    assert len(sky.azure.counts.ids) == BLOCKS + 2
    assert len(set(sky.azure.counts.ids)) == BLOCKS + 2


def test_invariant_2_late_request_replaces_nothing(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that Azure finishes after its connection broke, with bytes of another version, stays an orphan.

    With one id for both requests, the wrong bytes would be committed under a proof that passed.
    """
    late = sky.azure.once("late", start=2 * MIB)
    real = sky.azure.counts
    done = sky.destination.commit

    def commit(*arguments: Any) -> str:
        # The first request is staged at last, after the second one and its note.
        before = real.staged
        late.gate.set()
        while real.staged == before:
            time.sleep(0.01)
        return done(*arguments)

    monkeypatch.setattr(sky.destination, "commit", commit)
    sky.copy()
    assert sky.blob() == DATA
    assert real.staged == BLOCKS + 1


@pytest.mark.slow
def test_invariant_2_old_nonces_and_conflicting_notes(sky: Sky) -> None:
    """Of what earlier tries staged only blocks with exactly one CRC64 are used."""
    version = sky.source.head(sky.bucket, "k")
    good, doubtful, orphan, short = (earlier(version, number, bytes([number]) * 16) for number in range(1, 5))
    sky.stage(good, DATA[good.start : good.end], good.crc64)
    sky.stage(doubtful, DATA[doubtful.start : doubtful.end], doubtful.crc64, 5)
    sky.stage(orphan, OTHER[: orphan.size_bytes])
    sky.stage(short, OTHER[:100], short.crc64)
    receipt = sky.copy()
    assert sky.blob() == DATA
    assert receipt.blocks_resumed == 1
    assert sorted(sky.azure.counts.starts) == [number * MIB for number in (0, 2, 3, 4, 5)]


@pytest.mark.parametrize("act", ["corrupt", *(pytest.param(act, marks=pytest.mark.slow) for act in ("lie", "short"))])
@pytest.mark.parametrize(
    "number", [0, pytest.param(3, marks=pytest.mark.slow), pytest.param(LAST, marks=pytest.mark.slow)]
)
def test_invariant_3_wrong_block_is_found_and_fetched_again(sky: Sky, act: Any, number: int) -> None:
    """Damaged on Azure's way, or described by a wrong CRC64, or cut short: the fold does not fit until it is mended."""
    sky.azure.once(act, start=number * MIB)
    receipt = sky.copy()
    assert sky.blob() == DATA
    assert receipt.verified_by == "crc64nvme"
    assert BLOCKS < receipt.blocks_fetched <= 2 * BLOCKS


@pytest.mark.slow
def test_invariant_3_what_stays_wrong_is_not_committed(sky: Sky) -> None:
    """The blob of before stays as it was (invariant 5); at most one more object is fetched."""
    sky.container.upload_blob("k", b"the blob of before")
    sky.azure.always("corrupt", start=MIB)
    with pytest.raises(IntegrityError):
        sky.copy()
    assert sky.blob() == b"the blob of before"
    assert sky.azure.counts.fetched <= 2 * BLOCKS


@pytest.mark.slow
def test_invariant_4_two_runs_at_once(sky: Sky) -> None:
    """Both fetch, one commits; neither commits a block of the other that it has not proven."""
    sky.azure.always("delay", seconds=0.05)
    receipts: list[Receipt] = []
    runs = [threading.Thread(target=lambda: receipts.append(sky.copy())) for _ in range(2)]
    for run in runs:
        run.start()
    for run in runs:
        run.join()
    assert sky.blob() == DATA
    assert [receipt.status for receipt in receipts] == ["copied", "copied"]


@pytest.mark.slow
def test_successor_of_an_earlier_version(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker of 0.1 knows version 1 of the ids only: it copies the whole object, beside blocks and notes of ours."""
    version = sky.source.head(sky.bucket, "k")
    for number in range(3):
        block = earlier(version, number, bytes([number]) * 16)
        sky.stage(block, OTHER[: block.size_bytes], block.crc64)
    monkeypatch.setattr(upload, "staged_blocks", lambda listed, of: [found for x in listed if (found := parse(x, of))])
    receipt = sky.copy("worker")
    assert sky.blob() == DATA
    assert receipt.blocks_resumed == 0


@pytest.mark.parametrize(
    "values",
    [
        {"status": 403, "source_status": 403},
        pytest.param({"status": 500}, marks=pytest.mark.slow),
        pytest.param({"status": 400, "code": "InvalidHeaderValue"}, marks=pytest.mark.slow),
        pytest.param({"status": 501, "code": "NotImplemented"}, marks=pytest.mark.slow),
    ],
)
def test_streaming_is_the_net(sky: Sky, values: dict[str, Any], caplog: pytest.LogCaptureFixture) -> None:
    """Azure never can fetch: three requests, one line, and the worker sends everything under the same proof."""
    sky.azure.always("fail", **values)
    receipt = sky.copy()
    assert sky.blob() == DATA
    assert (receipt.via, receipt.blocks_fetched, receipt.verified_by) == ("worker", 0, "crc64nvme")
    # One of them may have been asked a second time, without the condition.
    assert sky.azure.counts.asked in (3, 4)
    assert sum("go through the worker from now on" in line for line in caplog.messages) == 1
    with pytest.raises(FetchRefused if values["status"] != 501 else Exception):
        sky.copy("azure", overwrite="always")


@pytest.mark.slow
def test_no_crc64_in_any_answer(sky: Sky) -> None:
    """Fetched and staged, but not proven: the worker sends all, and commits none of those blocks."""
    sky.azure.always("no_crc")
    receipt = sky.copy()
    assert sky.blob() == DATA
    assert (receipt.via, receipt.not_fetched) == ("worker", "no_crc_returned")


@pytest.mark.slow
@pytest.mark.parametrize(
    "values",
    [
        {"act": "fail", "status": 503, "code": "ServerBusy", "retry_after": "0"},
        {"act": "timeout", "seconds": 0.05},
    ],
)
def test_storm_of_refusals(sky: Sky, values: dict[str, Any]) -> None:
    """Azure is busy for a while: fewer requests at once, and every block is fetched at last."""
    sky.azure.always(times=2 * BLOCKS, **values)
    receipt = sky.copy(retry=replace(QUICK, attempts=20))
    assert sky.blob() == DATA
    assert (receipt.blocks_fetched, receipt.blocks_streamed) == (BLOCKS, 0)
    assert receipt.retries == 2 * BLOCKS


@pytest.mark.slow
def test_credentials_that_azure_may_not_use(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the URLs are refused by S3, whose requests in headers still pass: those blocks are streamed."""
    real, numbers = sky.source.fetch_url, itertools.count(1)

    def fetch_url(version: ObjectVersion) -> FetchUrl | None:
        found = real(version)
        return replace(found, url=f"{found.url}0") if found and next(numbers) % 2 == 0 else found

    monkeypatch.setattr(sky.source, "fetch_url", fetch_url)
    receipt = sky.copy()
    assert sky.blob() == DATA
    assert receipt.blocks_fetched + receipt.blocks_streamed == BLOCKS
    assert receipt.blocks_streamed


@pytest.mark.slow
def test_expired_credentials_are_named(sky: Sky, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 refuses Azure and the worker alike: the error is the worker's own, which says what to do."""
    sky.azure.always("fail", source_status=403)
    real = sky.source.head
    looked: list[int] = []

    def head(bucket: str, key: str) -> ObjectVersion:
        looked.append(1)
        if len(looked) > 1:
            raise CredentialsRefused(service="S3", resource="k", code="ExpiredToken", cure="It has expired: renew it.")
        return real(bucket, key)

    monkeypatch.setattr(sky.source, "head", head)
    with pytest.raises(CredentialsRefused, match="expired"):
        sky.copy()


def test_invariant_9_no_url_in_any_log_error_or_receipt(sky: Sky, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at DEBUG, through refusals and lost answers."""
    caplog.set_level(logging.DEBUG)
    sky.azure.once("lost", start=0)
    sky.azure.once("fail", start=MIB, source_status=403)
    told = [json.dumps(sky.copy().as_dict())]
    sky.azure.always("fail")
    with pytest.raises(FetchRefused) as refused:
        sky.copy("azure", overwrite="always")
    told += [str(refused.value), repr(refused.value.attributes), caplog.text]
    assert len(sky.source.urls) > BLOCKS
    for url in sky.source.urls:
        (signature,) = re.findall("X-Amz-Signature=([0-9a-f]{64})", url)
        assert not any(signature in text for text in told)


class TestKilled:
    """The worker dies at any moment; the next one goes on, and proves what it finds."""

    def run(self, sky: Sky, die: str, after: int) -> subprocess.Popen[str]:
        """Start a worker that dies at a step."""
        given = {
            "s3": asdict(sky.s3_server),
            "azure": asdict(replace(sky.azure_server, account_url=sky.azure.url)),
            "sas": account_sas(sky.azure_server),
            "bucket": sky.bucket,
            "container": sky.container.container_name,
            "die": die,
            "after": after,
        }
        command = [sys.executable, "-m", "tests.faults.fetching_worker", json.dumps(given)]
        return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @pytest.mark.slow
    @pytest.mark.parametrize("step", STEPS)
    def test_at_every_step(self, sky: Sky, step: str) -> None:
        """What was noted is not fetched again, what was only fetched is."""
        after = 3 if "commit" not in step else 1
        killed = self.run(sky, step, after)
        assert killed.wait() == -9, killed.communicate()[1]
        killed.communicate()
        assert (sky.blob() is not None) == (step == "after the commit")
        receipt = sky.copy()
        assert sky.blob() == DATA
        if step == "after the commit":
            assert receipt.status == "unchanged"
        else:
            assert receipt.status == "copied"
            assert receipt.blocks_resumed >= {"before the fetch": 1, "before the commit": BLOCKS}.get(step, 2)
            assert receipt.blocks_resumed + receipt.blocks_fetched == BLOCKS

    @pytest.mark.soak
    @pytest.mark.timeout(1_800)
    def test_fifty_times_at_random(self, sky: Sky) -> None:
        """The blob is equal, and each kill costs at most the fetches in flight."""
        chance, blocks = random.Random(50), 60
        data = some_bytes(blocks * MIB - 17)
        sky.put(data)
        sky.azure.always("delay", seconds=0.05)
        for _ in range(50):
            killed = self.run(sky, chance.choice(STEPS[:3]), chance.randint(1, 4))
            killed.communicate()
        sky.copy()
        assert sky.blob() == data
        most_in_flight = 8
        assert sky.azure.counts.fetched <= blocks + 50 * most_in_flight
