"""The tries of tasks as processes that can be frozen, killed and told to stop between any two requests.

A try works on the stores through wrappers that keep the ports' contracts and add what networks do. What happens to a
request is derived from the seed, the try, the request's kind and name and how often the try sent it before. So threads
of one try may run in any order: a seed still means the same faults.
"""

import re
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from random import Random
from typing import Any, Final, TypeVar

from s3_to_azure.model.errors import (
    AZURE,
    S3,
    ConnectionFailed,
    FetchRefused,
    ObjectNotFound,
    ServerFailed,
    Throttled,
    TransferError,
)
from s3_to_azure.model.objects import (
    BlobContents,
    BlobState,
    Block,
    Condition,
    FetchAccess,
    FetchUrl,
    ListedBlock,
    ListedObject,
    ObjectVersion,
    PartChecksum,
    PartSizes,
)
from s3_to_azure.model.options import READBACK
from tests.chaos.world import BlobImage, World
from tests.fakes.memory_source import MemoryBody
from tests.fakes.state_memory import MemoryState, MemoryStateWriter

T = TypeVar("T")
FOR_EVER: Final = 1 << 40
_HANGS_AFTER_S: Final = 60.0
_TOKEN: Final = re.compile("[0-9a-f]{16}")
# The characters of a block id that hold the version, the fingerprint and the start: 15 bytes of 39.
_START_IN_ID: Final = slice(0, 20)


def _folder_by_folder(name: str) -> str:
    return name.replace("/", "\0")


class Killed(BaseException):
    """The process of a try does not exist any more."""


@dataclass(frozen=True, slots=True)
class Weather:
    """How likely each fault of a request is.

    Attributes:
        refused: Nothing happens, and the answer is an error.
        lost: It happens, and the answer is lost.
        late: It happens some time after the answer is given up.
        doubled: It happens twice.
        damaged: Bytes are damaged or cut on the way.
        lies: A 404 for an object that is there.
        rot: Azure damages the bytes of a blob that it writes; only where they are read back.
        state: A request to the state files fails for good.
        all_reread: All runs of the history require a second reading.
    """

    refused: float = 0.0
    lost: float = 0.0
    late: float = 0.0
    doubled: float = 0.0
    damaged: float = 0.0
    lies: float = 0.0
    rot: float = 0.0
    state: float = 0.0
    all_reread: bool = False


CALM: Final = Weather()


class Actor:
    """One try of one task.

    Args:
        world: The stores.
        name: Unique in the history.
        work: What it does; gets the actor.
        dice: Decides when it is killed or told to stop, and seeds all other faults.
        weather: The faults of its requests.
        files: The state files of its run.
        integrity: The level that it requires.
        number: Airflow's number of the try.

    Attributes:
        result: What the work returned.
        error: What it raised.
        started_at: The tick of its first request.
        kill_at: The number of the request before which it is killed.
        stop_at: The number of the request before which it is told to stop.
    """

    def __init__(
        self,
        world: World,
        name: str,
        work: "Callable[[Actor], Any]",
        *,
        dice: Random,
        weather: Weather,
        files: MemoryState,
        integrity: str = "auto",
        number: int = 1,
    ) -> None:
        self.world = world
        self.name = name
        self.number = number
        self.weather = weather
        self.integrity = integrity
        self.cancelled = threading.Event()
        self.source = ActorSource(self)
        self.destination = ActorDestination(self)
        self.files = ActorState(self, files)
        self.result: Any = None
        self.error: BaseException | None = None
        self.started_at = self.ended_at = 0
        self.kill_at = self.stop_at = 0
        self._seed = dice.getrandbits(64)
        self._work = work
        self._requests = 0
        self._in_flight = 0
        self._left = 0
        self._frozen = self._dead = self._ended = False
        self._thread: threading.Thread | None = None
        self._turn = threading.Condition()
        self._counts: Counter[tuple[str, str]] = Counter()

    # -- what the history does with it -----------------------------------------------------------------------------

    @property
    def ended(self) -> bool:
        """Whether the process has ended."""
        return self._ended

    def go(self, requests: int) -> None:
        """Let it send so many requests, and wait until it has: it is frozen then, or has ended."""
        if self._thread is None:
            self.started_at = self.world.now
            self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self._thread.start()
        with self._turn:
            self._left = requests
            self._frozen = False
            self._turn.notify_all()
            if not self._turn.wait_for(self._is_still, _HANGS_AFTER_S):
                self.world.break_promise(f"{self.name} hangs")
                self._end()

    def _is_still(self) -> bool:
        return (self._ended or self._frozen) and not self._in_flight

    def _run(self) -> None:
        try:
            self.result = self._work(self)
        except (TransferError, Killed) as error:
            self.error = error
        except BaseException as error:  # noqa: BLE001 - a fault of the engine, which the history reports
            self.error = error
            self.world.break_promise(f"{self.name} crashed: {''.join(traceback.format_exception(error)[-6:])}")
        with self._turn:
            self._end()

    def _end(self) -> None:
        self.ended_at = self.world.now
        self._ended = self._dead = True
        self._turn.notify_all()

    # -- what happens to its requests ------------------------------------------------------------------------------

    def dice(self, kind: str, name: str) -> Random:
        """Wait for its turn before something that is no request; return the dice that decide on it."""
        try:
            return self._begin(kind, name)
        finally:
            self._finish()

    def _begin(self, kind: str, name: str) -> Random:
        """Wait for its turn before a request; return the dice that decide on the request."""
        with self._turn:
            self._in_flight += 1
            while not self._dead:
                if self._left > 0:
                    self._left -= 1
                    break
                self._freeze()
            self._requests += 1
            if self._requests == self.kill_at:
                self._dead = True
            if self._dead:
                raise Killed
            if self._requests == self.stop_at:
                # Not frozen any more: what is stopped has seconds to end, and they are real ones.
                self._left = FOR_EVER
                self.cancelled.set()
            self._counts[kind, name] += 1
            count = self._counts[kind, name]
        return Random(f"{self._seed} {kind} {_TOKEN.sub('', name)} {count}")

    def _freeze(self) -> None:
        self._frozen = True
        self._in_flight -= 1
        self._turn.notify_all()
        self._turn.wait()
        self._in_flight += 1

    def _finish(self) -> None:
        with self._turn:
            self._in_flight -= 1
            self._turn.notify_all()

    def request(self, kind: str, name: str, send: Callable[[], T], *, service: str = AZURE, writes: bool = False) -> T:
        """Send a request, with what the weather makes of it."""
        try:
            return self._send(self._begin(kind, name), send, service, writes=writes)
        finally:
            self._finish()

    def _send(self, dice: Random, send: Callable[[], T], service: str, *, writes: bool) -> T:
        weather = self.weather
        if dice.random() < weather.refused:
            raise _refusal(dice, service)
        if writes and dice.random() < weather.late:
            self.world.arrive_later(dice.randint(1, 80), send)
            raise _lost(service)
        result = self._now(send)
        if writes and dice.random() < weather.doubled:
            result = self._now(send)
        if dice.random() < weather.lost:
            raise _lost(service)
        return result

    def _now(self, send: Callable[[], T]) -> T:
        with self.world.lock:
            self.world.tick()
            return send()

    # -- as a writer of blobs; a task that copies overrides both ---------------------------------------------------

    def origin_of(self, blob: str) -> tuple[str, str] | None:
        """Return None: this task copies nothing."""
        return None

    def wrote(self, blob: str, before: BlobImage, after: BlobImage) -> None:
        """Report the change: only copies may write."""
        self.world.break_promise(f"{self.name} changed {blob!r}, and has nothing to copy")

    def check_may_write(self, blob: str) -> None:
        """Report a request that may not be sent to this blob."""
        self.world.break_promise(f"{self.name} sent a write to {blob!r}, and has nothing to copy")


def _refusal(dice: Random, service: str) -> TransferError:
    return dice.choice(
        [
            ConnectionFailed(service=service, resource="r", detail="reset"),
            Throttled(service=service, code="SlowDown", retry_after_s=0.001),
            ServerFailed(service=service, status=500, code="InternalError", resource="r"),
        ]
    )


def _lost(service: str) -> TransferError:
    return ConnectionFailed(service=service, resource="r", detail="the answer was lost")


# -- S3 ------------------------------------------------------------------------------------------------------------


class ActorSource:
    """S3 as one try sees it."""

    reads_named_version = False

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._source = actor.world.source

    def check(self, bucket: str) -> None:
        self._actor.request("check bucket", bucket, lambda: self._source.check(bucket), service=S3)

    def head(self, bucket: str, key: str) -> ObjectVersion:
        def look() -> ObjectVersion:
            return self._source.head(bucket, key)

        self._lie("lie to HEAD", bucket, key)
        return self._actor.request("head", key, look, service=S3)

    def part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        def look() -> PartSizes | None:
            return self._source.part_sizes(version, each=each)

        return self._actor.request("part sizes", version.key, look, service=S3)

    def part_checksums(self, version: ObjectVersion) -> Sequence[PartChecksum]:
        return self._source.part_checksums(version)

    def tags(self, bucket: str, key: str) -> Mapping[str, str]:
        return {}

    def fetch_access(self, bucket: str) -> FetchAccess:
        """Pass the question on; it needs no request."""
        return self._source.fetch_access(bucket)

    def current_etag(self, bucket: str, key: str) -> str | None:
        def look() -> str | None:
            return self._source.current_etag(bucket, key)

        return self._actor.request("current etag", key, look, service=S3)

    def restore(self, bucket: str, key: str, *, days: int, tier: str) -> bool:
        return False

    def fetch_url(self, version: ObjectVersion) -> FetchUrl | None:
        return self._source.fetch_url(version)

    @contextmanager
    def open(
        self, version: ObjectVersion | ListedObject, start: int = 0, end: int | None = None
    ) -> Iterator["ActorBody"]:
        def send() -> MemoryBody:
            self._actor.world.last_read = version.bucket, version.key
            with self._source.open(version, start, end) as body:
                return body

        name = f"{version.key}[{start}:{end}]"
        self._lie("lie to GET", version.bucket, version.key)
        body = self._actor.request("get", name, send, service=S3)
        dice = self._actor.dice("body", name)
        yield ActorBody(body, self._on_the_way(dice, version, body), breaks=dice.random() < 0.5)

    def _on_the_way(self, dice: Random, version: ObjectVersion | ListedObject, body: MemoryBody) -> bytes:
        data = body.data
        if not data or dice.random() >= self._actor.weather.damaged:
            return data
        at = dice.randrange(len(data))
        held = self._source._objects[version.bucket].get(version.key)
        if held is not None and self._is_found(held[0]) and dice.random() < 0.5:
            return data[:at] + bytes([data[at] ^ 1 << dice.randrange(8)]) + data[at + 1 :]
        return data[:at]

    def _is_found(self, version: ObjectVersion) -> bool:
        """Return whether a copy can find damaged bytes; of the others receipts say no more than ``transport``."""
        offered = [checksum for checksum in (version.checksum, *version.weaker) if checksum]
        return self._actor.weather.all_reread or any(checksum.algorithm != "md5" for checksum in offered)

    def _lie(self, kind: str, bucket: str, key: str) -> None:
        if self._actor.weather.lies and self._actor.dice(kind, key).random() < self._actor.weather.lies:
            raise ObjectNotFound(bucket=bucket, key=key)

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        def page(after: str, count: int) -> list[tuple[str, ListedObject]]:
            current = self._actor.world.current(bucket)
            keys = sorted(key for key in current if key.startswith(prefix) and key > after)[:count]
            return [(key, self._source.listed(bucket, key)) for key in keys]

        return _Pages(self._actor, f"s3://{bucket}/{prefix}", page, service=S3, most=max_keys)


class ActorBody:
    """The body of a GET as it arrives: cut short, broken off or damaged."""

    def __init__(self, body: MemoryBody, arrives: bytes, *, breaks: bool) -> None:
        self.version = body.version
        self._arrives = arrives
        self._is_cut = len(arrives) < len(body.data)
        self._breaks = breaks
        self._position = 0

    @property
    def data(self) -> bytes:
        """The whole body, for a client that reads it at once.

        Raises:
            ConnectionFailed: It ends early.
        """
        if self._is_cut:
            raise _broken_off()
        return self._arrives

    def readinto(self, view: memoryview) -> int:
        """Fill the start of the view."""
        piece = self._arrives[self._position : self._position + min(len(view), 300_000)]
        if not piece and self._is_cut and self._breaks:
            raise _broken_off()
        view[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


def _broken_off() -> ConnectionFailed:
    return ConnectionFailed(service=S3, resource="r", detail="reset")


class _Pages(Iterator[T]):
    """A listing page by page; after an error it continues, as the stores' listings do."""

    continues_after_errors = True

    def __init__(
        self,
        actor: Actor,
        name: str,
        page: Callable[[str, int], list[tuple[str, T]]],
        *,
        service: str,
        most: int | None = None,
    ) -> None:
        self._actor = actor
        self._name = name
        self._page = page
        self._service = service
        self._left = FOR_EVER if most is None else most
        self._after = ""
        self._waiting: list[T] = []
        self._at_end = False

    def __next__(self) -> T:
        """Return the next item, from a new page where the last one is used up."""
        if not self._waiting and not self._at_end and self._left:
            # Pages of uneven length, because what happens between two pages is the point.
            count = min(self._left, 1 + len(self._after) % 4)
            found = self._actor.request(
                "list", self._name, lambda: self._page(self._after, count), service=self._service
            )
            self._at_end = len(found) < count
            self._after = found[-1][0] if found else self._after
            self._waiting = [item for _, item in found]
            self._left -= len(found)
        if not self._waiting:
            raise StopIteration
        return self._waiting.pop(0)


# -- Azure ---------------------------------------------------------------------------------------------------------


class ActorDestination:
    """The container as one try sees it."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        self._real = actor.world.destination
        # The ids of the blocks that Azure listed for a blob when it was asked last.
        self._listed: dict[str, list[bytes]] = {}
        self.container = self._real.container

    def check_name(self, blob: str) -> str:
        return self._real.check_name(blob)

    def check(self, *, create: bool = False) -> None:
        self._actor.request("check container", "", lambda: self._real.check(create=create))

    def head(self, blob: str) -> BlobState | None:
        return self._actor.request("head", blob, lambda: self._real.head(blob))

    def list(self, prefix: str) -> Iterator[BlobState]:
        order = _folder_by_folder if self._actor.world.hierarchical else str

        def page(after: str, count: int) -> list[tuple[str, BlobState]]:
            found = [(order(state.name), state) for state in self._real.list(prefix)]
            return sorted((item for item in found if item[0] > after), key=lambda item: item[0])[:count]

        return _Pages(self._actor, f"az://{prefix}", page, service=AZURE)

    def list_staged(self, blob: str) -> Sequence[ListedBlock]:
        found = self._actor.request("list blocks", blob, lambda: self._real.list_staged(blob))
        self._listed[blob] = [block.block_id for block in found]
        return found

    def stage_from_url(
        self, blob: str, block_id: str, url: FetchUrl, block: Block, *, etag: str | None, crc64: int | None
    ) -> int | None:
        raise FetchRefused(blob=blob, code="CannotVerifyCopySource", detail="nothing is fetched here")

    def stage_block(self, blob: str, block_id: str, data: memoryview, crc64: int) -> None:
        self._actor.check_may_write(blob)
        self._check_not_listed(blob, block_id.encode())
        sent = self._damaged("damage block", f"{blob} {block_id}", bytes(data))
        self._actor.request(
            "stage",
            f"{blob} {block_id}",
            lambda: self._real.stage_block(blob, block_id, memoryview(sent), crc64),
            writes=True,
        )

    def _check_not_listed(self, blob: str, block_id: bytes) -> None:
        """Report a block that is sent although Azure has listed it, and no other block of other bytes at its start."""
        start = block_id[_START_IN_ID]
        at_its_start = [other for other in self._listed.get(blob, ()) if other[_START_IN_ID] == start]
        # Where bytes are damaged on the way, a second reading may have told the try to send the block again.
        if (
            at_its_start == [block_id]
            and block_id in self._real.staged.get(blob, {})
            and not self._actor.weather.damaged
        ):
            self._actor.world.break_promise(f"{self._actor.name} sent a block of {blob!r} that Azure held already")

    def commit(self, blob: str, block_ids: Sequence[str], contents: BlobContents, condition: Condition) -> str:
        ids = list(block_ids)
        return self._write("commit", blob, lambda: self._real.commit(blob, ids, contents, condition))

    def put_blob(self, blob: str, data: memoryview, crc64: int, contents: BlobContents, condition: Condition) -> str:
        sent = self._damaged("damage blob", blob, bytes(data))
        return self._write("put", blob, lambda: self._real.put_blob(blob, memoryview(sent), crc64, contents, condition))

    def update(self, blob: str, contents: BlobContents, condition: Condition) -> str:
        return self._write("update", blob, lambda: self._real.update(blob, contents, condition))

    def read(self, blob: str, start: int, end: int) -> bytes:
        return self._actor.request("read", f"{blob}[{start}:{end}]", lambda: self._real.read(blob, start, end))

    def _write(self, kind: str, blob: str, send: Callable[[], str]) -> str:
        actor = self._actor
        actor.check_may_write(blob)
        rots = actor.integrity == READBACK and actor.dice("rot", blob).random() < actor.weather.rot
        damages = rots and kind != "update"
        return actor.request(kind, blob, lambda: actor.world.change(actor, blob, send, damages=damages), writes=True)

    def _damaged(self, kind: str, name: str, data: bytes) -> bytes:
        dice = self._actor.dice(kind, name)
        if not data or dice.random() >= self._actor.weather.damaged:
            return data
        at = dice.randrange(len(data))
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# -- state ---------------------------------------------------------------------------------------------------------


class ActorState:
    """The state files of a run as one try sees them."""

    def __init__(self, actor: Actor, files: MemoryState) -> None:
        self._actor = actor
        self._files = files
        self.location = files.location

    @contextmanager
    def write(self, name: str, **options: Any) -> Iterator[MemoryStateWriter]:
        writer = MemoryStateWriter()
        yield writer
        data = b"".join(writer.pieces)

        def send() -> None:
            with self._files.write(name, **options) as out:
                out.write(data)

        self._request("write state", name, send)

    def read(self, name: str, start: int = 0, end: int | None = None) -> bytes:
        return self._request("read state", name, lambda: self._files.read(name, start, end))

    def chunks(self, name: str) -> Iterator[bytes]:
        yield from self._request("read state", name, lambda: list(self._files.chunks(name)))

    def names(self, prefix: str = "") -> Iterator[str]:
        yield from self._request("list state", prefix, lambda: list(self._files.names(prefix)))

    def delete(self, name: str) -> None:
        self._request("delete state", name, lambda: self._files.delete(name))

    def delete_runs_before(self, moment: datetime, **options: Any) -> int:
        return self._request("delete runs", "", lambda: self._files.delete_runs_before(moment, **options))

    def _request(self, kind: str, name: str, send: Callable[[], T]) -> T:
        dice = self._actor.dice(kind, name)
        fails = dice.random() < self._actor.weather.state
        if fails and dice.random() < 0.5:
            raise _refusal(dice, AZURE)
        with self._actor.world.lock:
            self._actor.world.tick()
            result = send()
        if fails:
            raise _lost(AZURE)
        return result
