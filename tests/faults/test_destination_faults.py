"""Azure's side fails; what it held before stays, and what is committed is right."""

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
    UnexpectedAnswer,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Condition
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import QUICK, some_bytes, task, transfer_context
from tests.faults.conftest import Clouds
from tests.faults.faulty_proxy import Answer, Cut, CutRequest, Fault, FlipRequest, Lose, Request, Stall
from tests.real_stores import azure_container

SMALL = 100_000
BUSY = Answer(503, {"x-ms-error-code": "ServerBusy", "Retry-After": "0"})
BROKEN = Answer(500, {"x-ms-error-code": "InternalError"})
SIZES = [(SMALL, "put blob"), (3 * MIB, "put block")]


@pytest.mark.parametrize(("size_bytes", "kind"), SIZES)
@pytest.mark.parametrize(
    "fault",
    [CutRequest(0), CutRequest(50_000), Lose(), BUSY, BROKEN, Answer(503), FlipRequest(500)],
    ids=["RST at once", "RST midway", "answer lost", "ServerBusy", "InternalError", "proxy's 503", "flipped byte"],
)
def test_promise_3_write_that_fails_is_done_again(clouds: Clouds, size_bytes: int, kind: str, fault: Fault) -> None:
    """Whatever becomes of the first write, the blob is the object, committed once."""
    data = some_bytes(size_bytes)
    clouds.put(data)
    clouds.azure.fail(kind, fault)
    receipt = clouds.copy(connections=1)
    assert clouds.azure.faults == 1
    assert clouds.blob() == data
    assert (receipt.status, receipt.verified_by) == ("copied", "crc64nvme")


@pytest.mark.parametrize(("size_bytes", "kind"), SIZES)
def test_promise_3_flipped_bytes_that_stay_are_never_committed(clouds: Clouds, size_bytes: int, kind: str) -> None:
    """Azure refuses each damaged write by its CRC64; the previous good blob stays (invariant 5)."""
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
    """A commit whose answer is lost is looked up with HEAD: done is done, else it is sent again."""
    if there:
        clouds.container.upload_blob("k", b"before")
    clouds.azure.fail("put block list", fault)
    receipt = clouds.copy()
    assert clouds.blob() == data
    assert receipt.status == "copied"
    assert clouds.azure.count("put block list") == (1 if isinstance(fault, Lose) else 2)


def test_promise_2_storm_on_every_kind_of_request(clouds: Clouds, data: bytes) -> None:
    """Three in ten requests to Azure are refused, reset or lost; a block is sent again only if it met one of these."""
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
    """The wait is the service's own wish."""
    clouds.put(b"x")
    clouds.azure.fail("put blob", Answer(503, {"x-ms-error-code": "ServerBusy", "Retry-After": "1"}))
    with caplog.at_level("WARNING", logger="s3_to_azure"):
        clouds.copy()
    assert any("next try in 1.0 s" in message and "ServerBusy" in message for message in caplog.messages)


def test_promise_2_throttled_azure_slows_no_reads(clouds: Clouds, data: bytes) -> None:
    """Azure's 503 lowers the limit of Azure alone; S3 is read as before, and the copy succeeds."""
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
def test_reads_of_the_checkpoint_survive(clouds: Clouds, data: bytes, kind: str, fault: Fault) -> None:
    """HEAD and Get Block List are tried again; half a list is never taken for the list."""
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
    """An Azure that takes a block and says nothing is left after the read timeout; the block is staged again."""
    monkeypatch.setattr("s3_to_azure.stores.azure.client.READ_TIMEOUT_S", 1.0)
    monkeypatch.setattr("s3_to_azure.stores.http.connections.READ_TIMEOUT_S", 1.0)
    name = str(clouds.container.container_name)
    impatient = azure_container(clouds.azure_server, name, account_url=clouds.azure.url)
    clouds.azure.fail("put block", Stall())
    with transfer_context(clouds.source, impatient, connections=2) as context:
        receipt = copy_object(context, task("k", clouds.bucket))
    assert clouds.blob() == data
    assert receipt.retries == 1
    impatient.close()


@pytest.mark.parametrize(("size_bytes", "kind"), SIZES)
def test_container_deleted_midway(clouds: Clouds, size_bytes: int, kind: str) -> None:
    """The error names the container, and is not tried again."""
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
    """A leased blob is a permanent error that says so; the blob stays."""
    clouds.put(some_bytes(size_bytes))
    clouds.container.upload_blob("k", b"before").acquire_lease()
    with pytest.raises(BlobLeased, match="End or break the lease"):
        clouds.copy()
    assert clouds.blob() == b"before"


@pytest.mark.parametrize("size_bytes", [0, SMALL, 3 * MIB])
def test_invariant_7_foreign_blocks_of_our_length(clouds: Clouds, size_bytes: int) -> None:
    """They are ignored, and never committed."""
    data = some_bytes(size_bytes)
    clouds.put(data)
    clouds.container.get_blob_client("k").stage_block("f" * 52, b"foreign")
    assert clouds.copy().status == "copied"
    assert clouds.blob() == data


@pytest.mark.parametrize("size_bytes", [SMALL, 3 * MIB])
def test_invariant_7_foreign_blocks_of_another_length(clouds: Clouds, size_bytes: int) -> None:
    """A permanent error that names the blob and the cures; the foreign blocks stay as they are."""
    clouds.put(some_bytes(size_bytes))
    clouds.container.get_blob_client("k").stage_block("short", b"foreign")
    with pytest.raises(ForeignBlocks, match=r"'k'.*another tool"):
        clouds.copy()
    assert clouds.staged() == [7]
    assert clouds.azure.count("put block") <= 4


def test_invariant_4_staged_blocks_vanish_before_the_commit(clouds: Clouds, data: bytes) -> None:
    """Azure dropped the staged blocks (a week passed, somebody wrote): listed again, staged again, committed."""

    def plan(request: Request) -> Fault | None:
        if request.is_("put block list") and clouds.azure.count("put block list") == 1:
            # A commit that names none drops what was staged.
            clouds.container.get_blob_client("k").commit_block_list([])
            clouds.container.delete_blob("k")
        return None

    clouds.azure.plan = plan
    receipt = clouds.copy()
    assert clouds.blob() == data
    assert receipt.bytes_sent == 2 * len(data)


def test_promise_2_staged_blocks_vanish_between_tries(clouds: Clouds, data: bytes) -> None:
    """The second try believes Azure's list, not its memory."""
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
    """Another one's write since the plan is a conflict, and stays."""
    clouds.put(some_bytes(size_bytes))
    clouds.container.upload_blob("k", b"before")
    before = clouds.destination.head("k")
    clouds.container.upload_blob("k", b"theirs", overwrite=True)
    with clouds.transfer_context() as context, pytest.raises(DestinationConflict):
        copy_object(context, task("k", clouds.bucket, condition=Condition.of(before)))
    assert clouds.blob() == b"theirs"


@pytest.mark.parametrize("kind", ["get range", "put block", "put block list"])
def test_invariant_5_previous_blob_is_whole_during_and_after_a_failed_overwrite(
    clouds: Clouds, data: bytes, kind: str
) -> None:
    """Readers see the old blob, whole, at every moment until the new one is proven."""
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
    """Neither bytes nor signature go to where a redirect points."""
    clouds.put(some_bytes(size_bytes))
    location = {"Location": f"{clouds.s3.url}/trap/k"}
    clouds.azure.plan = lambda request: Answer(status, location) if request.method == "PUT" else None
    with pytest.raises(UnexpectedAnswer, match="redirect"):
        clouds.copy()
    assert not any("trap" in request.path for request in clouds.s3.seen)


@pytest.mark.parametrize("size_bytes", [0, SMALL, 5 * MIB])
def test_two_copies_at_once(clouds: Clouds, size_bytes: int) -> None:
    """A task that outlived its worker runs beside its own retry: one right blob, and both end well."""
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
    """All four hold the whole set when they commit: one wins, all are right."""
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
