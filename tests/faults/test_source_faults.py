"""S3 fails in every way: a committed blob is the object, and no other blob is committed."""

import random
import threading
from dataclasses import dataclass
from typing import Any

import pytest

from s3_to_azure.model.errors import (
    ConnectionFailed,
    IntegrityError,
    ObjectNotFound,
    SourceChanged,
    Throttled,
    TransientError,
    UnexpectedResponse,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.transfer.object import copy_object
from tests.fakes.contexts import QUICK, some_bytes, task, transfer_context
from tests.fakes.memory_destination import MemoryDestination
from tests.faults.conftest import Clouds, refusing_all_but_one_block
from tests.faults.faulty_proxy import Answer, Cut, Fault, Flip, Forget, Lose, Request, Shorten, Stall
from tests.real_stores import s3_source

SMALL = 100_000
# Long enough for an answer of a server on a busy machine.
SHORT_TIMEOUT_S = 4.0


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("after_bytes", [0, 1, 300_000, MIB - 1])
def test_promise_3_block_cut_midway_is_resumed_at_its_byte(
    clouds: Clouds, data: bytes, after_bytes: int, reset: bool
) -> None:
    """A GET that ends inside a block is resumed at the byte where it ended."""
    clouds.s3.fail("get range", Cut(after_bytes, reset))
    receipt = clouds.copy(connections=1)
    assert clouds.blob() == data
    assert (receipt.retries, receipt.verified_by) == (1, "crc64nvme")
    ranges = [request.headers["range"] for request in clouds.s3.seen if request.is_("get range")]
    # Of whichever block is read first.
    start, last = map(int, ranges[0].removeprefix("bytes=").split("-"))
    assert ranges[1].endswith(f"-{last}")
    if not reset:
        # A reset may discard bytes that had arrived; a FIN must not.
        assert ranges[1] == f"bytes={start + after_bytes}-{last}"


@pytest.mark.parametrize("reset", [False, True], ids=["FIN", "RST"])
@pytest.mark.parametrize("after_bytes", [0, 1, SMALL - 1])
def test_promise_3_small_object_cut_midway(clouds: Clouds, after_bytes: int, reset: bool) -> None:
    """An object of one request is resumed at its byte, pinned to its version."""
    data = some_bytes(SMALL)
    clouds.put(data)
    clouds.s3.fail("get whole", Cut(after_bytes, reset))
    receipt = clouds.copy()
    assert clouds.blob() == data
    assert receipt.retries == 1
    assert all("if-match" in r.headers for r in clouds.s3.seen if r.kind.startswith("get "))


def test_invariant_1_every_get_is_pinned(clouds: Clouds, data: bytes) -> None:
    """Every GET of bytes has If-Match, and none has a signature in its URL."""
    clouds.copy()
    reads = [request for request in clouds.s3.seen if request.kind in ("get range", "get whole")]
    assert len(reads) >= 6
    assert all(request.headers["if-match"].strip('"') for request in reads)
    assert all("?" not in request.path for request in reads)


@pytest.mark.parametrize("after_bytes", [0, 500_000])
def test_promise_2_stalled_socket_is_given_up(
    clouds: Clouds, data: bytes, after_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection without an answer ends at the read timeout, and its block is resumed."""
    monkeypatch.setattr(clouds.source.http_connections.settings, "read_timeout_s", SHORT_TIMEOUT_S)
    clouds.s3.fail("get range", Stall(after_bytes))
    receipt = clouds.copy(connections=2)
    assert clouds.blob() == data
    assert receipt.retries == 1


@pytest.mark.parametrize(("kind", "size_bytes"), [("get whole", SMALL), ("get range", 3 * MIB)])
def test_promise_3_short_answer_with_its_own_length_is_refused(clouds: Clouds, kind: str, size_bytes: int) -> None:
    """An answer shorter than requested is refused, although its length says that it is complete."""
    clouds.put(some_bytes(size_bytes))
    clouds.s3.always(kind, Shorten(1))
    with pytest.raises(UnexpectedResponse):
        clouds.copy()
    assert not clouds.is_there()


@pytest.mark.parametrize(("size_bytes", "kind"), [(1, "get whole"), (SMALL, "get whole"), (5 * MIB, "get range")])
@pytest.mark.parametrize("checksum", ["CRC64NVME", "CRC32C"])
def test_promise_3_flipped_byte_is_read_again(clouds: Clouds, size_bytes: int, kind: str, checksum: str) -> None:
    """A byte that is flipped on the way is found by the object's checksum and read again."""
    data = some_bytes(size_bytes)
    clouds.put(data, checksum=checksum)
    clouds.s3.fail(kind, Flip(12_345))
    receipt = clouds.copy()
    assert clouds.s3.faults == 1
    assert clouds.blob() == data
    assert receipt.verified_by == checksum.lower()


@pytest.mark.parametrize(("size_bytes", "kind"), [(SMALL, "get whole"), (3 * MIB, "get range")])
def test_promise_3_lasting_damage_is_never_committed(clouds: Clouds, size_bytes: int, kind: str) -> None:
    """An object that reads damaged every time fails, and the existing blob stays (invariant 5)."""
    clouds.put(some_bytes(size_bytes))
    clouds.container.upload_blob("k", b"the previous good blob")
    clouds.s3.always(kind, Flip(7))
    with pytest.raises(IntegrityError):
        clouds.copy()
    assert clouds.blob() == b"the previous good blob"


def storm(seed: int, share: float, *faults: Fault) -> Any:
    """Return a plan that gives one of the faults to this share of all GETs and HEADs."""
    chance, lock = random.Random(seed), threading.Lock()

    def plan(request: Request) -> Fault | None:
        with lock:
            return chance.choice(faults) if chance.random() < share and request.method in ("GET", "HEAD") else None

    return plan


SLOW_DOWN = Answer(503, {"Retry-After": "0"}, b"<Error><Code>SlowDown</Code></Error>")
INTERNAL = Answer(500, {}, b"<Error><Code>InternalError</Code></Error>")


@pytest.mark.parametrize("seed", [1, 2])
def test_promise_2_storm_of_503_and_500(clouds: Clouds, data: bytes, seed: int) -> None:
    """With three in ten requests failing, the object is copied and each block is sent once."""
    clouds.s3.plan = storm(seed, 0.3, SLOW_DOWN, INTERNAL, Cut(100_000), Cut(200_000, reset=True), Lose())
    receipt = clouds.copy(retry=QUICK.__class__(attempts=12, first_wait_s=0.01, longest_wait_s=0.05))
    assert clouds.blob() == data
    assert clouds.s3.faults > 0
    assert receipt.retries > 0
    assert receipt.bytes_sent == len(data)
    assert clouds.azure.count("put block") == 6


def test_promise_2_refused_for_ever_keeps_staged_blocks(clouds: Clouds, data: bytes) -> None:
    """When the retry budget is used up the error is transient, and the next try resumes."""
    clouds.s3.plan = refusing_all_but_one_block(clouds.container, SLOW_DOWN)
    with pytest.raises(Throttled):
        clouds.copy(connections=1)
    assert clouds.staged() == [MIB]
    clouds.s3.plan = lambda _: None
    receipt = clouds.copy()
    assert clouds.blob() == data
    assert (receipt.blocks_resumed, receipt.bytes_sent) == (1, len(data) - MIB)


@pytest.mark.parametrize(
    ("size_bytes", "kind", "header"), [(SMALL, "get whole", "if-match"), (3 * MIB, "get range", "if-match")]
)
def test_invariant_1_server_that_ignores_if_match(clouds: Clouds, size_bytes: int, kind: str, header: str) -> None:
    """The answer's ETag is compared, so bytes of another version are never used."""
    clouds.put(some_bytes(size_bytes, seed=1))
    changed = threading.Event()

    def plan(request: Request) -> Fault | None:
        if not request.is_(kind):
            return None
        if not changed.is_set():
            changed.set()
            clouds.put(some_bytes(size_bytes, seed=2))
        return Forget((header,))

    clouds.s3.plan = plan
    with clouds.transfer_context(connections=1) as context:
        listed = next(iter(clouds.source.list(clouds.bucket, "k")))
        receipt = copy_object(context, task("k", clouds.bucket, listed=listed))
    assert clouds.blob() == some_bytes(size_bytes, seed=2)
    assert receipt.blocks_resumed == 0


def test_promise_3_server_that_ignores_range(clouds: Clouds, data: bytes) -> None:
    """A whole object in place of a range is refused."""
    clouds.s3.always("get range", Forget(("range",)))
    with pytest.raises(UnexpectedResponse):
        clouds.copy()
    assert not clouds.is_there()
    assert clouds.staged() == []


@pytest.mark.parametrize("status", [301, 307, *(pytest.param(code, marks=pytest.mark.slow) for code in (302, 308))])
def test_invariant_9_redirects_are_refused(clouds: Clouds, data: bytes, status: int) -> None:
    """Neither bytes nor signatures are sent to the target of a redirect."""
    trap = MemoryDestination()
    elsewhere = clouds.azure.url
    clouds.s3.always("get range", Answer(status, {"Location": f"{elsewhere}/trap"}))
    before = len(clouds.azure.seen)
    with pytest.raises(UnexpectedResponse, match="redirect"):
        copy_into_memory(clouds, trap)
    assert len(clouds.azure.seen) == before
    assert trap.blobs == {}


def copy_into_memory(clouds: Clouds, destination: MemoryDestination) -> None:
    """Copy into memory, so that only the source's own requests can reach the other proxy."""
    with transfer_context(clouds.source, destination) as context:
        copy_object(context, task("k", clouds.bucket))


@pytest.mark.parametrize("blocks_before", [1, 3])
def test_invariant_1_overwritten_midway(clouds: Clouds, data: bytes, blocks_before: int) -> None:
    """An object that is overwritten during the copy is copied in its new version as a whole."""
    new = some_bytes(4 * MIB, seed=7)
    reads = 0

    def plan(request: Request) -> Fault | None:
        nonlocal reads
        if request.is_("get range"):
            reads += 1
            if reads == blocks_before + 1:
                clouds.put(new)
        return None

    clouds.s3.plan = plan
    receipt = clouds.copy(connections=1)
    assert clouds.blob() == new
    assert (receipt.size_bytes, receipt.verified_by) == (len(new), "crc64nvme")


def test_invariant_5_deleted_midway(clouds: Clouds, data: bytes) -> None:
    """An object that is deleted during the copy fails, and the existing blob stays."""
    clouds.container.upload_blob("k", b"before")
    clouds.s3.plan = lambda request: (
        clouds.s3_client.delete_object(Bucket=clouds.bucket, Key="k") and None if request.is_("get range") else None
    )
    with pytest.raises((ObjectNotFound, SourceChanged)):
        clouds.copy(connections=1)
    assert clouds.blob() == b"before"


@dataclass
class Renewing:
    """Credentials that change with every use."""

    uses: int = 0

    def get_frozen_credentials(self) -> Any:
        """Return the next credentials."""
        from botocore.credentials import ReadOnlyCredentials  # noqa: PLC0415 - the test's own edge

        self.uses += 1
        return ReadOnlyCredentials("test", f"secret-{self.uses}", f"token-{self.uses}")


def test_promise_2_credentials_change_every_request(clouds: Clouds, data: bytes) -> None:
    """Each block is signed with the credentials of the time at which it is sent."""
    renewing = Renewing()
    clouds.source._addresses._credentials = renewing
    clouds.copy()
    assert clouds.blob() == data
    tokens = {r.headers["x-amz-security-token"] for r in clouds.s3.seen if r.is_("get range")}
    assert len(tokens) == 6


EXPIRED = Answer(400, {}, b"<Error><Code>ExpiredToken</Code></Error>")


def test_promise_2_expired_credentials_keep_staged_blocks(clouds: Clouds, data: bytes) -> None:
    """Expired credentials are permanent, are not tried again, and leave the staged blocks."""
    clouds.s3.plan = refusing_all_but_one_block(clouds.container, EXPIRED)
    with pytest.raises(Exception, match="refused the credentials") as caught:
        clouds.copy(connections=1)
    assert not isinstance(caught.value, TransientError)
    asked = [request.headers["range"] for request in clouds.s3.seen if request.is_("get range")]
    assert len(set(asked)) == len(asked) <= 5
    assert clouds.staged() == [MIB]


def test_server_not_there(clouds: Clouds) -> None:
    """A connection that is refused is a transient error after all tries."""
    source = s3_source(clouds.s3_server, endpoint_url="http://127.0.0.1:1")
    with transfer_context(source, clouds.destination) as context, pytest.raises(ConnectionFailed):
        copy_object(context, task("k", clouds.bucket))
    source.close()
