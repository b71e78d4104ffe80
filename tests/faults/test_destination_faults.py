"""Azure fails in every way: existing blobs stay, and a committed blob is the object."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from s3_to_azure.model.errors import (
    BlobLeased,
    ContainerNotFound,
    CorruptedInTransit,
    DestinationConflict,
    ForeignBlocks,
    TransferError,
    TransientError,
    UnexpectedResponse,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Condition
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import QUICK, some_bytes, task, transfer_context
from tests.faults.conftest import Clouds
from tests.faults.faulty_proxy import Answer, Cut, CutRequest, Fault, FlipRequest, Lose, Request, Stall
from tests.real_stores import azure_container

SMALL = 100_000
# Long enough for an answer of a server on a busy machine.
SHORT_TIMEOUT_S = 4.0
BUSY = Answer(503, {"x-ms-error-code": "ServerBusy", "Retry-After": "0"})
BROKEN = Answer(500, {"x-ms-error-code": "InternalError"})
SIZES = [(SMALL, "put blob"), (3 * MIB, "put block")]


@pytest.mark.parametrize(("size_bytes", "kind"), SIZES)
@pytest.mark.parametrize(
    "fault",
    [CutRequest(0), CutRequest(50_000), Lose(), BUSY, BROKEN, Answer(503), FlipRequest(500)],
    ids=["RST at once", "RST midway", "answer lost", "ServerBusy", "InternalError", "proxy's 503", "flipped byte"],
)
def test_promise_3_failed_write_is_repeated(clouds: Clouds, size_bytes: int, kind: str, fault: Fault) -> None:
    """After any failure of the first write the blob is the object."""
    data = some_bytes(size_bytes)
    clouds.put(data)
    clouds.azure.fail(kind, fault)
    receipt = clouds.copy(connections=1)
    assert clouds.azure.faults == 1
    assert clouds.blob() == data
    assert (receipt.status, receipt.verified_by) == ("copied", "crc64nvme")


@pytest.mark.parametrize(("size_bytes", "kind"), SIZES)
def test_promise_3_damaged_writes_are_never_committed(clouds: Clouds, size_bytes: int, kind: str) -> None:
    """Azure refuses each damaged write by its CRC64, and the existing blob stays (invariant 5)."""
    clouds.put(some_bytes(size_bytes))
    clouds.container.upload_blob("k", b"the previous good blob")
    clouds.azure.always(kind, FlipRequest(500))
    with pytest.raises(CorruptedInTransit):
        clouds.copy(connections=1)
    assert clouds.blob() == b"the previous good blob"
    assert clouds.staged() == []


@pytest.mark.parametrize("there", [False, True], ids=["new", "over another"])
@pytest.mark.parametrize("fault", [Lose(), BROKEN, BUSY, CutRequest(10)], ids=["lost", "500", "503", "RST"])
def test_invariant_6_answer_of_the_commit_is_looked_up(clouds: Clouds, data: bytes, fault: Fault, there: bool) -> None:
    """A commit without an answer is looked up with HEAD, and repeated only if it did not happen."""
    if there:
        clouds.container.upload_blob("k", b"before")
    clouds.azure.fail("put block list", fault)
    receipt = clouds.copy()
    assert clouds.blob() == data
    assert receipt.status == "copied"
    assert clouds.azure.count("put block list") == (1 if isinstance(fault, Lose) else 2)


def test_promise_2_storm_on_every_kind_of_request(clouds: Clouds, data: bytes) -> None:
    """With three in ten requests failing, a block is sent again only if its own request failed."""
    chance, lock = random.Random(4), threading.Lock()
    lost = 0

    def plan(request: Request) -> Fault | None:
        nonlocal lost
        with lock:
            if chance.random() > 0.3:
                return None
            faults: list[Fault] = [BUSY, BROKEN, Lose(), CutRequest(0)]
            fault = chance.choice(faults)
            lost += request.is_("put block")
            return fault

    clouds.azure.plan = plan
    receipt = clouds.copy(retry=QUICK.__class__(attempts=12, first_wait_s=0.01, longest_wait_s=0.05))
    assert clouds.blob() == data
    assert clouds.azure.count("put block") == 6 + lost
    assert receipt.bytes_sent == len(data)


def test_retry_after_is_honoured(clouds: Clouds, caplog: pytest.LogCaptureFixture) -> None:
    """The wait before the retry is the one that the service asks for."""
    clouds.put(b"x")
    clouds.azure.fail("put blob", Answer(503, {"x-ms-error-code": "ServerBusy", "Retry-After": "1"}))
    with caplog.at_level("WARNING", logger="s3_to_azure"):
        clouds.copy()
    assert any("next try in 1.0 s" in message and "ServerBusy" in message for message in caplog.messages)


def test_promise_2_throttled_azure_slows_no_reads(clouds: Clouds, data: bytes) -> None:
    """A 503 of Azure lowers the request limit of Azure only, and the copy succeeds."""
    clouds.azure.fail("put block", *[BUSY] * 3)
    with clouds.transfer_context() as context:
        receipt = copy_object(context, task("k", clouds.bucket))
        shares = context.limits.s3.share, context.limits.azure.share
    assert receipt.retries == 3
    assert shares[0] == 1
    assert shares[1] < 1
    assert clouds.blob() == data


@pytest.mark.parametrize("kind", ["head", "get block list"])
@pytest.mark.parametrize(
    "fault",
    [
        pytest.param(Cut(20), id="FIN"),
        pytest.param(Lose(), id="lost"),
        pytest.param(Cut(20, reset=True), id="RST", marks=pytest.mark.slow),
        pytest.param(BUSY, id="503", marks=pytest.mark.slow),
    ],
)
def test_failed_checkpoint_reads_are_repeated(clouds: Clouds, data: bytes, kind: str, fault: Fault) -> None:
    """HEAD and Get Block List are repeated, and an incomplete list is never used."""
    with clouds.transfer_context() as context:
        clouds.s3.plan = lambda request: (
            Answer(403) if request.is_("get range") and "bytes=4194304" in request.headers["range"] else None
        )
        with pytest.raises(TransferError):
            copy_object(context, task("k", clouds.bucket))
    staged = len(clouds.staged())
    assert staged
    clouds.s3.plan = lambda _: None
    clouds.azure.fail(kind, fault)
    receipt = clouds.copy()
    assert clouds.azure.faults == 1
    assert clouds.blob() == data
    assert receipt.blocks_resumed == staged


def test_promise_2_stalled_put_is_given_up(clouds: Clouds, data: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A Put Block without an answer ends at the read timeout, and the block is staged again."""
    monkeypatch.setattr("s3_to_azure.stores.http.settings.READ_TIMEOUT_S", SHORT_TIMEOUT_S)
    name = str(clouds.container.container_name)
    short_timeout = azure_container(clouds.azure_server, name, account_url=clouds.azure.url)
    clouds.azure.fail("put block", Stall())
    with transfer_context(clouds.source, short_timeout, connections=2) as context:
        receipt = copy_object(context, task("k", clouds.bucket))
    assert clouds.blob() == data
    assert receipt.retries == 1
    short_timeout.close()


@pytest.mark.parametrize(("size_bytes", "kind"), SIZES)
def test_container_deleted_midway(clouds: Clouds, size_bytes: int, kind: str) -> None:
    """The error names the container, and the write is not repeated."""
    clouds.put(some_bytes(size_bytes))

    def plan(request: Request) -> Fault | None:
        if request.is_(kind) and not clouds.azure.faults:
            clouds.container.delete_container()
            return Answer(404, {"x-ms-error-code": "ContainerNotFound"})
        return None

    clouds.azure.plan = plan
    with pytest.raises(ContainerNotFound, match=str(clouds.container.container_name)):
        clouds.copy(connections=1)
    assert clouds.azure.count(kind) == 1


@pytest.mark.parametrize("size_bytes", [0, SMALL, 3 * MIB])
def test_invariant_5_lease_held(clouds: Clouds, size_bytes: int) -> None:
    """A leased blob is a permanent error with the cure, and the blob stays."""
    clouds.put(some_bytes(size_bytes))
    clouds.container.upload_blob("k", b"before").acquire_lease()
    with pytest.raises(BlobLeased, match="End or break the lease"):
        clouds.copy()
    assert clouds.blob() == b"before"


@pytest.mark.parametrize("size_bytes", [0, SMALL, 3 * MIB])
def test_invariant_7_foreign_blocks_of_our_length(clouds: Clouds, size_bytes: int) -> None:
    """Another tool's blocks with ids of our length are ignored and never committed."""
    data = some_bytes(size_bytes)
    clouds.put(data)
    clouds.container.get_blob_client("k").stage_block("f" * 52, b"foreign")
    assert clouds.copy().status == "copied"
    assert clouds.blob() == data


@pytest.mark.parametrize("size_bytes", [SMALL, 3 * MIB])
def test_invariant_7_foreign_blocks_of_another_length(clouds: Clouds, size_bytes: int) -> None:
    """Another tool's blocks with other ids are a permanent error that names the blob, and they stay."""
    clouds.put(some_bytes(size_bytes))
    clouds.container.get_blob_client("k").stage_block("short", b"foreign")
    with pytest.raises(ForeignBlocks, match=r"'k'.*another tool"):
        clouds.copy()
    assert clouds.staged() == [7]
    assert clouds.azure.count("put block") <= 4


def test_invariant_4_staged_blocks_vanish_before_the_commit(clouds: Clouds, data: bytes) -> None:
    """Blocks that Azure dropped before the commit are listed and staged again, then committed."""

    def plan(request: Request) -> Fault | None:
        if request.is_("put block list") and clouds.azure.count("put block list") == 1:
            # A commit that names no block drops what was staged.
            clouds.container.get_blob_client("k").commit_block_list([])
            clouds.container.delete_blob("k")
        return None

    clouds.azure.plan = plan
    receipt = clouds.copy()
    assert clouds.blob() == data
    assert receipt.bytes_sent == 2 * len(data)


def test_promise_2_staged_blocks_vanish_between_tries(clouds: Clouds, data: bytes) -> None:
    """The second try relies on Azure's list, and stages again what was dropped."""
    clouds.azure.always("put block list", Answer(403, {"x-ms-error-code": "AuthorizationFailure"}))
    with pytest.raises(TransferError):
        clouds.copy()
    assert len(clouds.staged()) == 6
    clouds.container.get_blob_client("k").commit_block_list([])
    clouds.container.delete_blob("k")
    clouds.azure.plan = lambda _: None
    receipt = clouds.copy()
    assert clouds.blob() == data
    assert (receipt.blocks_resumed, receipt.bytes_sent) == (0, len(data))


@pytest.mark.parametrize("size_bytes", [0, SMALL, 3 * MIB])
def test_invariant_4_blob_changed_between_plan_and_commit(clouds: Clouds, size_bytes: int) -> None:
    """A blob that was written since the plan is a conflict and stays."""
    clouds.put(some_bytes(size_bytes))
    clouds.container.upload_blob("k", b"before")
    before = clouds.destination.head("k")
    clouds.container.upload_blob("k", b"theirs", overwrite=True)
    with clouds.transfer_context() as context, pytest.raises(DestinationConflict):
        copy_object(context, task("k", clouds.bucket, condition=Condition.of(before)))
    assert clouds.blob() == b"theirs"


@pytest.mark.parametrize("kind", ["get range", "put block", "put block list"])
def test_invariant_5_existing_blob_stays_whole_during_a_failed_overwrite(
    clouds: Clouds, data: bytes, kind: str
) -> None:
    """Readers see the old blob as a whole until the new one is verified."""
    old = some_bytes(2 * MIB, seed=8)
    clouds.container.upload_blob("k", old)
    seen: list[bool] = []

    def plan(request: Request) -> Fault | None:
        if request.is_(kind):
            seen.append(clouds.blob() == old)
            return Answer(403, {"x-ms-error-code": "AuthorizationFailure"})
        return None

    clouds.azure.plan = clouds.s3.plan = plan
    with pytest.raises(TransferError) as caught:
        clouds.copy(connections=1)
    assert not isinstance(caught.value, TransientError)
    assert seen
    assert all(seen)
    assert clouds.blob() == old


@pytest.mark.parametrize("size_bytes", [SMALL, 3 * MIB])
@pytest.mark.parametrize("status", [301, 307, *(pytest.param(code, marks=pytest.mark.slow) for code in (302, 308))])
def test_invariant_9_redirects_are_refused(clouds: Clouds, size_bytes: int, status: int) -> None:
    """Neither bytes nor signatures are sent to the target of a redirect."""
    clouds.put(some_bytes(size_bytes))
    location = {"Location": f"{clouds.s3.url}/trap/k"}
    clouds.azure.plan = lambda request: Answer(status, location) if request.method == "PUT" else None
    with pytest.raises(UnexpectedResponse, match="redirect"):
        clouds.copy()
    assert not any("trap" in request.path for request in clouds.s3.seen)


@pytest.mark.parametrize("size_bytes", [0, SMALL, 5 * MIB])
def test_two_copies_at_once(clouds: Clouds, size_bytes: int) -> None:
    """A task that outlived its worker and its own retry both succeed, with one correct blob."""
    data = some_bytes(size_bytes)
    clouds.put(data)
    barrier = threading.Barrier(2)

    def work(_: int) -> str:
        barrier.wait()
        return clouds.copy().status

    with ThreadPoolExecutor(2) as workers:
        statuses = set(workers.map(work, range(2)))
    assert statuses <= {"copied", "unchanged"}
    assert clouds.blob() == data


def test_four_committers_at_once(clouds: Clouds, data: bytes) -> None:
    """Of four commits with the complete set one is written, and all four report ``copied``."""
    barrier = threading.Barrier(4)

    def plan(request: Request) -> Fault | None:
        if request.is_("put block list") and clouds.azure.count("put block list") <= 4:
            barrier.wait()
        return None

    clouds.azure.plan = plan
    with ThreadPoolExecutor(4) as workers:
        receipts = list(workers.map(lambda _: clouds.copy(connections=2), range(4)))
    assert [receipt.status for receipt in receipts] == ["copied"] * 4
    assert clouds.blob() == data
    assert clouds.azure.count("put block list") == 4
