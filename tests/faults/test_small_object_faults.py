"""Many small objects through ``SmallObjects`` while either service fails."""

import random
import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any

import pytest

from s3_to_azure.model.errors import (
    BlobLeased,
    ContainerNotFound,
    CorruptedInTransit,
    CredentialsRefused,
    DestinationConflict,
    ForeignBlocks,
    IntegrityError,
    ObjectNotFound,
    UnexpectedResponse,
)
from s3_to_azure.model.objects import Condition
from s3_to_azure.stores.event_loop.loop import small_object_client
from s3_to_azure.transfer.context import CopyTask
from s3_to_azure.transfer.object import Outcome
from s3_to_azure.transfer.pool import copy_many
from tests.fakes.contexts import QUICK, some_bytes, task, transfer_context
from tests.faults.conftest import Clouds
from tests.faults.faulty_proxy import Answer, Cut, CutRequest, Fault, Flip, FlipRequest, Forget, Lose, Request, Stall

SIZE = 20_000
COUNT = 8
# Long enough for an answer of a server on a busy machine.
SHORT_TIMEOUT_S = 4.0
NEW = Condition(None)
PATIENT = replace(QUICK, attempts=12)
SLOW_DOWN = Answer(503, {"Retry-After": "0"}, b"<Error><Code>SlowDown</Code></Error>")
INTERNAL = Answer(500, {}, b"<Error><Code>InternalError</Code></Error>")
BUSY = Answer(503, {"x-ms-error-code": "ServerBusy", "Retry-After": "0"})
BROKEN = Answer(500, {"x-ms-error-code": "InternalError"})
KINDS = ["get whole", "put blob"]


def content(n: int) -> bytes:
    """Return the bytes of the object of this number."""
    return some_bytes(SIZE, seed=n)


def planned(clouds: Clouds, count: int = COUNT) -> list[CopyTask]:
    """Upload the objects; return the tasks of a plan that found no blob for any."""
    for n in range(count):
        clouds.put(content(n), f"k{n:02}")
    return [task(item.key, clouds.bucket, listed=item, condition=NEW) for item in clouds.source.list(clouds.bucket, "")]


def copied(clouds: Clouds, tasks: Iterable[CopyTask], **settings: Any) -> dict[str, Outcome]:
    """Copy the tasks as the entry points do; return the outcome of each."""
    tasks = list(tasks)
    client = small_object_client(clouds.source, clouds.destination)
    with transfer_context(clouds.source, clouds.destination, small_object_client=client, **settings) as context:
        outcomes = list(copy_many(context, tasks))
        now = context.progress.snapshot()
    found = {outcome.receipt.key: outcome for outcome in outcomes}
    assert len(outcomes) == len(found) == len(tasks)
    failed = sum(outcome.error is not None for outcome in outcomes)
    assert (now.objects_done, now.objects_failed) == (len(tasks) - failed, failed)
    return found


def assert_all_copied(clouds: Clouds, found: dict[str, Outcome]) -> None:
    """Assert that each object was copied and verified, and that each blob is its object."""
    for n, (key, outcome) in enumerate(sorted(found.items())):
        assert (outcome.receipt.status, outcome.receipt.verified_by) == ("copied", "crc64nvme"), outcome.error
        assert clouds.blob(key) == content(n)


def every_nth(kind: str, every: int, *faults: Fault) -> Callable[[Request], Fault | None]:
    """Return a plan that gives the faults in turn to every n-th request of a kind, beginning with the first."""
    lock, seen = threading.Lock(), [0]

    def plan(request: Request) -> Fault | None:
        if not request.is_(kind):
            return None
        with lock:
            seen[0] += 1
            number = seen[0] - 1
        return None if number % every else faults[number // every % len(faults)]

    return plan


def test_two_requests_for_each_object(clouds: Clouds) -> None:
    """Each object takes one GET and one Put Blob; no other request is sent but for the bucket and the first blob."""
    tasks = planned(clouds)
    before = len(clouds.s3.seen)
    assert_all_copied(clouds, copied(clouds, tasks))
    kinds = [request.kind for request in (*clouds.s3.seen[before:], *clouds.azure.seen)]
    assert sorted(kinds) == sorted(["head", "head", *(KINDS * COUNT)])


def test_a_gateway_that_drops_metadata_fails_the_copies(clouds: Clouds) -> None:
    """Every object fails and says why, instead of being copied in each run without its metadata."""
    tasks = planned(clouds)
    clouds.azure.plan = lambda request: Forget(tuple(name for name in request.headers if "_" in name))
    found = copied(clouds, tasks)
    assert {type(outcome.error) for outcome in found.values()} == {UnexpectedResponse}
    assert all("underscores_in_headers" in outcome.receipt.reason for outcome in found.values())


@pytest.mark.parametrize("seed", [1, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(2, 6))])
def test_promise_2_storm_on_both_sides(clouds: Clouds, seed: int) -> None:
    """With three in ten requests of either service failing, every object is copied."""
    tasks = planned(clouds)

    def storm(*faults: Fault) -> Callable[[Request], Fault | None]:
        # The first request of each service always fails: among so few, chance may spare them all.
        chance, lock, first = random.Random(seed), threading.Lock(), [True]

        def plan(request: Request) -> Fault | None:
            if request.kind not in (*KINDS, "get range"):
                return None
            with lock:
                met = first[0] or chance.random() < 0.3
                first[0] = False
                return chance.choice(faults) if met else None

        return plan

    clouds.s3.plan, clouds.azure.plan = storm(SLOW_DOWN, INTERNAL), storm(BUSY, BROKEN)
    assert_all_copied(clouds, copied(clouds, tasks, retry=PATIENT))
    assert clouds.s3.faults > 0
    assert clouds.azure.faults > 0


@pytest.mark.parametrize(
    ("kind", "faults"),
    [
        ("get whole", [Cut(0), Cut(SIZE // 2), Cut(0, reset=True), Cut(SIZE // 2, reset=True), Flip(7)]),
        ("put blob", [CutRequest(0), CutRequest(SIZE // 2), FlipRequest(7)]),
    ],
    ids=KINDS,
)
def test_promise_3_cut_reset_or_damaged_midway(clouds: Clouds, kind: str, faults: list[Fault]) -> None:
    """An incomplete or damaged body is never committed, and the object is read and written again."""
    tasks = planned(clouds)
    side = clouds.s3 if kind == "get whole" else clouds.azure
    side.plan = every_nth(kind, 2, *faults)
    # Chance may give one object several of the faults.
    assert_all_copied(clouds, copied(clouds, tasks, retry=PATIENT))
    assert side.faults >= len(faults)


@pytest.mark.parametrize(
    ("kind", "fault"),
    [
        ("get whole", Stall(0)),
        pytest.param("get whole", Stall(1000), marks=pytest.mark.slow),
        pytest.param("put blob", Stall(0), marks=pytest.mark.slow),
    ],
)
def test_promise_2_stalled_socket_is_given_up(
    clouds: Clouds, monkeypatch: pytest.MonkeyPatch, kind: str, fault: Fault
) -> None:
    """A connection without an answer ends at the read timeout, and all objects are copied."""
    for store in (clouds.source, clouds.destination):
        monkeypatch.setattr(store.http_connections.settings, "read_timeout_s", SHORT_TIMEOUT_S)
    tasks = planned(clouds, 4)
    side = clouds.s3 if kind == "get whole" else clouds.azure
    side.fail(kind, fault)
    assert_all_copied(clouds, copied(clouds, tasks))
    assert side.faults == 1


@pytest.mark.parametrize(("kind", "fault"), [("get whole", Flip(7)), ("put blob", FlipRequest(7))], ids=KINDS)
def test_promise_3_lasting_damage_is_never_committed(clouds: Clouds, kind: str, fault: Fault) -> None:
    """Each object fails with its reason, and the existing blob stays (invariant 5)."""
    tasks = planned(clouds, 4)
    clouds.container.upload_blob("k00", b"the previous good blob")
    before = clouds.destination.head("k00")
    tasks[0] = replace(tasks[0], condition=Condition.of(before))
    (clouds.s3 if kind == "get whole" else clouds.azure).always(kind, fault)
    found = copied(clouds, tasks)
    expected = IntegrityError if kind == "get whole" else CorruptedInTransit
    assert {type(outcome.error) for outcome in found.values()} == {expected}
    assert clouds.blob("k00") == b"the previous good blob"
    assert [blob.name for blob in clouds.container.list_blobs()] == ["k00"]


@pytest.mark.parametrize("there", [False, pytest.param(True, marks=pytest.mark.slow)], ids=["new", "replaced"])
def test_invariant_6_lost_answer_is_looked_up(clouds: Clouds, there: bool) -> None:
    """A blob that was written although its answer was lost is looked up and counts as copied."""
    tasks = planned(clouds)
    if there:
        for number, one in enumerate(tasks):
            clouds.container.upload_blob(one.blob, b"before")
            tasks[number] = replace(one, condition=Condition.of(clouds.destination.head(one.blob)))
    clouds.azure.plan = every_nth("put blob", 3, Lose())
    assert_all_copied(clouds, copied(clouds, tasks, overwrite="always"))
    assert clouds.azure.faults >= COUNT // 3


def test_invariant_1_object_overwritten_or_deleted_since_the_listing(clouds: Clouds) -> None:
    """An overwritten object is copied in its new version, and a deleted one fails and leaves no blob."""
    tasks = planned(clouds, 4)
    clouds.put(content(77), "k01")
    clouds.s3_client.delete_object(Bucket=clouds.bucket, Key="k02")
    found = copied(clouds, tasks)
    assert isinstance(found["k02"].error, ObjectNotFound)
    assert not clouds.is_there("k02")
    assert {key: clouds.blob(key) for key in ("k00", "k01", "k03")} == {
        "k00": content(0),
        "k01": content(77),
        "k03": content(3),
    }
    assert tasks[1].listed
    assert found["k01"].receipt.etag != tasks[1].listed.etag


def test_invariant_4_blob_written_since_the_plan_is_never_replaced(clouds: Clouds) -> None:
    """Neither a new blob nor a changed one is replaced."""
    tasks = planned(clouds, 4)
    clouds.container.upload_blob("k01", b"before")
    tasks[1] = replace(tasks[1], condition=Condition.of(clouds.destination.head("k01")))
    clouds.container.upload_blob("k01", b"theirs", overwrite=True)
    clouds.container.upload_blob("k02", b"theirs too")
    found = copied(clouds, tasks)
    conflicts = {key for key, outcome in found.items() if isinstance(outcome.error, DestinationConflict)}
    assert conflicts == {"k01", "k02"}
    assert (clouds.blob("k01"), clouds.blob("k02")) == (b"theirs", b"theirs too")
    assert (clouds.blob("k00"), clouds.blob("k03")) == (content(0), content(3))


def test_invariant_5_lease_held(clouds: Clouds) -> None:
    """A leased blob fails alone and stays."""
    tasks = planned(clouds, 3)
    clouds.container.upload_blob("k01", b"before").acquire_lease()
    tasks[1] = replace(tasks[1], condition=Condition.of(clouds.destination.head("k01")))
    found = copied(clouds, tasks)
    assert isinstance(found["k01"].error, BlobLeased)
    assert clouds.blob("k01") == b"before"
    assert found["k00"].receipt.status == found["k02"].receipt.status == "copied"


def test_invariant_7_leftover_blocks(clouds: Clouds) -> None:
    """Leftover blocks with ids of our length are ignored; others fail their object and stay."""
    tasks = planned(clouds, 4)
    clouds.container.get_blob_client("k01").stage_block("f" * 52, b"foreign")
    clouds.container.get_blob_client("k02").stage_block("short", b"foreign")
    found = copied(clouds, tasks)
    for n in (0, 1, 3):
        assert found[f"k{n:02}"].receipt.status == "copied"
        assert clouds.blob(f"k{n:02}") == content(n)
    assert isinstance(found["k02"].error, ForeignBlocks)
    assert clouds.staged("k02") == [7]


def test_container_deleted_midway(clouds: Clouds) -> None:
    """Every object that was not copied before fails with the container's name."""
    tasks = planned(clouds)
    gone, lock = threading.Event(), threading.Lock()

    def plan(request: Request) -> Fault | None:
        # Several requests arrive at once: one deletes the container, and the others wait for that.
        with lock:
            if request.is_("put blob") and request.number >= 3 and not gone.is_set():
                clouds.container.delete_container()
                gone.set()
        return Answer(404, {"x-ms-error-code": "ContainerNotFound"}) if gone.is_set() else None

    clouds.azure.plan = plan
    found = copied(clouds, tasks)
    failed = [outcome.error for outcome in found.values() if outcome.error]
    assert len(failed) >= COUNT - 4
    assert all(isinstance(error, ContainerNotFound) for error in failed)
    assert all(str(clouds.container.container_name) in str(error) for error in failed)


@pytest.mark.parametrize("side", ["S3", "Azure Blob Storage"])
def test_promise_4_credentials_that_end_midway(clouds: Clouds, side: str) -> None:
    """Every object is accounted for, and the error says which service's credentials to renew."""
    tasks = planned(clouds)
    expired = Answer(400, {}, b"<Error><Code>ExpiredToken</Code></Error>")
    denied = Answer(403, {"x-ms-error-code": "AuthenticationFailed"})
    proxy, fault = (clouds.s3, expired) if side == "S3" else (clouds.azure, denied)
    begun = len(proxy.seen)
    proxy.plan = lambda request: fault if request.number >= begun + 5 else None
    found = copied(clouds, tasks)
    failed = [outcome.error for outcome in found.values() if outcome.error]
    assert 1 <= len(failed) < COUNT
    for error in failed:
        assert isinstance(error, CredentialsRefused)
        assert side in str(error)
