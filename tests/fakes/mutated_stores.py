"""Both services in memory, with the responses to one kind of request mutated; and what a run may leave behind."""

import base64
import hashlib
import io
import logging
import os
import ssl
import threading
import traceback
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import botocore.loaders
import botocore.session
import pytest
from hypothesis import HealthCheck, Phase, currently_in_test_context, given, note, seed, settings
from hypothesis import strategies as st

from s3_to_azure.model import checksums
from s3_to_azure.model.checksums import CRC32C, CRC64NVME
from s3_to_azure.model.errors import Cancelled
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.stores.http import settings as http_settings
from s3_to_azure.stores.s3 import options
from s3_to_azure.transfer import small_objects
from tests.fakes.contexts import some_bytes
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.mutation_strategies import AZURE_MUTATIONS, S3_MUTATIONS
from tests.fakes.mutations import Mutation, Page, Response, Stray
from tests.fakes.odd_azure import ACCOUNT, KEY, OddAzure
from tests.fakes.odd_s3 import LAST_MODIFIED, OddS3, Reply, call_of
from tests.fakes.scripted_server import Step
from tests.fakes.wire_server import Request, wire_server

PREFIX: Final = "p/"
CONTAINER: Final = "container"
STATE: Final = "state"
READ_TIMEOUT_S: Final = 1.0
_HANGS_AFTER_S: Final = 100.0
_MIB: Final = 1024**2
_PARTS: Final = (_MIB, 10_000)
# No block of the objects is larger.
BLOCK_SIZE: Final = "1MiB"

OBJECTS: Final[Mapping[str, bytes]] = {
    "p/crc": some_bytes(5_000, seed=1),
    "p/crc of parts": some_bytes(sum(_PARTS), seed=2),
    "p/empty": b"",
    "p/large": some_bytes(2 * _MIB + 17, seed=3),
    "p/md5 of parts": some_bytes(sum(_PARTS), seed=4),
    "p/small": some_bytes(700, seed=5),
    "q/other": some_bytes(700, seed=6),
}
"""One object for each way of copying and of verifying, and one outside of the prefix."""

KEYS: Final = tuple(key for key in OBJECTS if key.startswith(PREFIX))
_BLOCKS: Final = sum(1 + len(OBJECTS[key]) // _MIB for key in KEYS)
_NO_MD5: Final = '"5f0c1f2e3d4c5b6a7988776655443322-9"'


def _base64(value: int, width: int) -> str:
    return base64.b64encode(value.to_bytes(width, "big")).decode("ascii")


def _composite(key: str) -> str:
    view = memoryview(OBJECTS[key])
    values = [CRC32C.digest(view[: _PARTS[0]]), CRC32C.digest(view[_PARTS[0] :])]
    return f"{_base64(checksums.over_parts(values, CRC32C), 4)}-{len(_PARTS)}"


def _md5_of_md5s(key: str) -> str:
    parts = (OBJECTS[key][: _PARTS[0]], OBJECTS[key][_PARTS[0] :])
    digests = b"".join(hashlib.md5(part, usedforsecurity=False).digest() for part in parts)
    return f'"{hashlib.md5(digests, usedforsecurity=False).hexdigest()}-{len(_PARTS)}"'


def odd_s3() -> OddS3:
    """Return the objects in S3, listed in several pages."""
    stored: dict[bytes, Mapping[str, str]] = {
        key.encode(): {"x-amz-checksum-crc64nvme": _base64(CRC64NVME.digest(memoryview(OBJECTS[key])), 8)}
        for key in ("p/crc", "p/large")
    }
    stored[b"p/crc of parts"] = {
        "x-amz-checksum-crc32c": _composite("p/crc of parts"),
        "x-amz-checksum-type": "COMPOSITE",
    }
    etags = {
        b"p/crc": _NO_MD5,
        b"p/crc of parts": _NO_MD5.replace("9", "2"),
        b"p/md5 of parts": _md5_of_md5s("p/md5 of parts"),
    }
    parts: dict[bytes, Sequence[int]] = dict.fromkeys((b"p/crc of parts", b"p/md5 of parts"), _PARTS)
    objects = {key.encode(): data for key, data in OBJECTS.items()}
    return OddS3(objects, etags, page_keys=4, checksums=stored, parts=parts)


# -- what is mutated ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Mutated:
    """Which responses are mutated, and how.

    Attributes:
        service: ``s3`` or ``azure``.
        kind: The kind of request.
        times: How many of them; None: all.
        keys: Only requests whose key ends in one of these; empty: all.
        is_applied: Whether Azure does what a write asks for before its response is replaced by another one.
    """

    service: str
    kind: str
    mutations: tuple[Mutation, ...]
    times: int | None = None
    keys: tuple[str, ...] = ()
    is_applied: bool = True


@dataclass(frozen=True)
class Scenario:
    """A run between mutated stores.

    Attributes:
        command: What runs, by the name that the test gives it.
        more: Other responses that are mutated in the same run.
        before: What the container holds: ``nothing``, blobs without metadata (``foreign``), copies of an ``older``
            version, of the ``same`` one, of the same one with another date (``dated``), or ``wrong bytes``.
    """

    mutated: Mutated
    command: str
    before: str = "nothing"
    more: tuple[Mutated, ...] = ()


NEW: Final = ("nothing", "older", "foreign")
ANY: Final = (*NEW, "same", "dated")


@dataclass(frozen=True)
class Kind:
    """A kind of request, the commands that send it, and what the container then holds."""

    name: str
    commands: Sequence[str]
    before: Sequence[str] = NEW


def check_examples(
    service: str, kinds: Sequence[Kind], examples: int, check: Callable[[Scenario], "MutatedStores"]
) -> None:
    """Check scenarios that a seed chooses: the same ones in each run, unless ``MUTATIONS_SEED`` is another number.

    Args:
        service: Whose responses are mutated.
        kinds: The kinds of requests to it.
        examples: How many scenarios.
        check: Runs one and checks what came of it; returns what was between the services.
    """
    number = int(os.environ.get("MUTATIONS_SEED", "0"))
    mutated: list[bool] = []

    @seed(number)
    @settings(
        max_examples=examples,
        deadline=None,
        database=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )
    @given(scenarios(service, kinds))
    def check_one(scenario: Scenario) -> None:
        note(f"MUTATIONS_SEED={number}")
        mutated.append(check(scenario).was_mutated)

    check_one()
    # Otherwise the commands no longer send these requests.
    assert sum(mutated) > len(mutated) / 2


def scenarios(service: str, kinds: Sequence[Kind]) -> st.SearchStrategy[Scenario]:
    """Return a strategy of scenarios in which responses of one service are mutated."""
    mutations = S3_MUTATIONS if service == "s3" else AZURE_MUTATIONS

    @st.composite
    def scenario(draw: st.DrawFn) -> Scenario:
        kind = draw(st.sampled_from(kinds))
        command = draw(st.sampled_from(kind.commands))
        before = draw(st.sampled_from(("same", "wrong bytes", "nothing") if command == "verify" else kind.before))
        made = draw(st.lists(mutations, min_size=1, max_size=2).map(tuple))
        times = draw(st.sampled_from((None, 1, 2)))
        # A command for one key is named after it.
        of_all = command.startswith("key ") or kind.name in ("list", "head bucket", "account")
        keys = () if of_all else draw(st.sampled_from(((), ("small", "large", "parts"), ("empty", "crc"))))
        is_applied = draw(st.booleans())
        return Scenario(Mutated(service, kind.name, made, times, keys, is_applied), command, before)

    return scenario()


# -- the services ------------------------------------------------------------------------------------------------------


@dataclass
class MutatedStores:
    """The two services; ``served`` runs them.

    Attributes:
        mutated: The responses that are mutated, which are none at first.
        seen: Service and kind of each request.
    """

    mutated: tuple[Mutated, ...] = ()
    s3: OddS3 = field(default_factory=odd_s3)
    azure: OddAzure = field(default_factory=lambda: OddAzure(page_blobs=4))
    seen: list[tuple[str, str]] = field(default_factory=list)
    before: dict[str, bytes] = field(default_factory=dict)
    s3_url: str = ""
    azure_url: str = ""

    def __post_init__(self) -> None:
        """Make the containers."""
        self.container = self.azure.containers[CONTAINER] = MemoryDestination(CONTAINER)
        self.azure.containers[STATE] = MemoryDestination(STATE)
        self._hits = Counter[Mutated]()
        self._lock = threading.Lock()

    @classmethod
    @contextmanager
    def served(cls, scenario: Scenario, *, tls: ssl.SSLContext | None = None) -> Iterator["MutatedStores"]:
        """Run both servers, with the container as the scenario has it."""
        stores = cls()
        stores._fill(scenario.before)
        with ExitStack() as stack:
            stores.s3_url = stack.enter_context(wire_server(stores._respond_as_s3, tls=tls))
            stores.azure_url = f"{stack.enter_context(wire_server(stores._respond_as_azure, tls=tls))}/{ACCOUNT}"
            yield stores

    def mutate(self, scenario: Scenario) -> None:
        """Begin to mutate the scenario's responses."""
        self.mutated = (scenario.mutated, *scenario.more)

    @property
    def connection_string(self) -> str:
        """The account's connection string."""
        return (
            f"DefaultEndpointsProtocol={urlsplit(self.azure_url).scheme};AccountName={ACCOUNT};AccountKey={KEY};"
            f"BlobEndpoint={self.azure_url};"
        )

    @property
    def was_mutated(self) -> bool:
        """Whether a response was mutated."""
        return bool(self._hits)

    def blobs(self) -> dict[str, bytes]:
        """Return the bytes of all blobs."""
        return {name: blob.data for name, blob in self.container.blobs.items()}

    def _fill(self, before: str) -> None:
        for key in KEYS:
            etag = self.s3.etag(key.encode()).strip('"')
            own = {"s3_etag": etag, "s3_last_modified": "2026-01-02T03:04:05+00:00", "s3_verified_by": "transport"}
            older = own | {"s3_etag": "1" * 32, "s3_last_modified": "2020-01-01T00:00:00+00:00"}
            dated = own | {"s3_last_modified": "2026-01-02T03:04:04+00:00"}
            data, metadata = {
                "nothing": (None, {}),
                "foreign": (b"foreign", {}),
                "older": (b"older " + key.encode(), older),
                "same": (OBJECTS[key], own),
                "dated": (OBJECTS[key], dated),
                "wrong bytes": (b"x" + OBJECTS[key][1:], own),
            }[before]
            if data is not None:
                self.container.write(key, data, metadata=metadata)
        self.container.write("p/no/other", b"o" * 700, metadata={"s3_etag": "2" * 32})
        self.before = self.blobs()

    def _respond_as_s3(self, request: Request) -> list[Step]:
        call = call_of(request.method, request.target, request.headers)
        kind = "part" if "partNumber" in call.query else call.name
        honest = Response.of(self.s3.reply(call), is_head=request.method == "HEAD")
        mutated = self._hit("s3", kind, call.key.decode("utf-8", "replace"))
        if mutated is None:
            return honest.steps()
        query = call.query if call.key else {**call.query, "prefix": "q/"}
        other = self.s3.reply(replace(call, key=b"q/other" if call.key else b"", query=query))
        return _changed(mutated, honest, Response.of(other, is_head=honest.is_head))

    def _respond_as_azure(self, request: Request) -> list[Step]:
        kind, is_head = self.azure.kind(request), request.method == "HEAD"
        mutated = self._hit("azure", kind, unquote(request.path))
        if mutated is None:
            return Response.of(self.azure.reply(request), is_head=is_head).steps()
        other = Response.of(self._elsewhere(request), is_head=is_head)
        is_replaced = request.method == "PUT" and isinstance(mutated.mutations[0], (Page, Stray))
        if is_replaced and not mutated.is_applied:
            return _changed(mutated, Response(500, (("Content-Length", "0"),)), other)
        return _changed(mutated, Response.of(self.azure.reply(request), is_head=is_head), other)

    def _elsewhere(self, request: Request) -> Reply:
        """Return the response to another request of this kind."""
        path, _, query = request.target.partition("?")
        if request.method == "PUT" or "/" not in path.removeprefix(f"/{ACCOUNT}/"):
            return _WRITTEN_ELSEWHERE
        headers = {**request.headers, "x-ms-client-request-id": "other"}
        target = f"{path.rpartition('/')[0]}/no/other?{query}"
        return self.azure.reply(replace(request, target=target, headers=headers))

    def _hit(self, service: str, kind: str, path: str) -> Mutated | None:
        """Return how a response is mutated, if it is."""
        with self._lock:
            self.seen.append((service, kind))
            for mutated in self.mutated:
                is_meant = (service, kind) == (mutated.service, mutated.kind)
                if not is_meant or (mutated.keys and not path.endswith(mutated.keys)):
                    continue
                self._hits[mutated] += 1
                if mutated.times is None or self._hits[mutated] <= mutated.times:
                    return mutated
        return None


def _changed(mutated: Mutated, response: Response, other: Response) -> list[Step]:
    for mutation in mutated.mutations:
        response = mutation(response, [other])
    return response.steps()


_WRITTEN_ELSEWHERE: Final = Reply(
    201,
    (
        ("ETag", '"0x8DFFFFFFFFFFFFF"'),
        ("Last-Modified", LAST_MODIFIED),
        ("x-ms-client-request-id", "other"),
        ("x-ms-content-crc64", "AQIDBAUGBwg="),
        ("Content-Length", "0"),
    ),
)


# -- a run -------------------------------------------------------------------------------------------------------------


def hurry(patch: pytest.MonkeyPatch) -> None:
    """Shorten waits and timeouts, and parse the services' models once: what is tried, and how often, stays."""

    def wait(retrier: Retrier, seconds: float) -> None:
        if retrier._cancelled.wait(min(seconds, 0.001)):
            raise Cancelled.now()

    patch.setattr(Retrier, "_sleep", wait)
    patch.setattr(small_objects, "_MAX_PAUSE_S", 0.01)
    patch.setattr(http_settings, "READ_TIMEOUT_S", READ_TIMEOUT_S)
    patch.setattr(options, "READ_TIMEOUT_S", READ_TIMEOUT_S)
    patch.setattr(botocore.session, "create_loader", lambda *_: _models())


@cache
def _models() -> Any:
    return botocore.loaders.create_loader()


@dataclass
class Ran:
    """What a run did.

    Attributes:
        result: What it returned, or the exception that it raised.
        log: All log records, as text.
    """

    result: Any
    log: str


def run(work: Callable[[], Any]) -> Ran:
    """Run the work in a thread; fail if it hangs, or if there is a traceback anywhere but in its own exception."""
    log = io.StringIO()
    handler = logging.StreamHandler(log)
    results: list[Any] = []
    failures: list[str] = []

    def guarded() -> None:
        try:
            results.append(work())
        except BaseException as error:  # noqa: BLE001 - the test judges it
            results.append(error)

    root, hook = logging.getLogger(), threading.excepthook
    # pytest's own handlers would keep each record, and with an exception in it all that its frames refer to.
    others, root.handlers = root.handlers, [handler]
    threading.excepthook = lambda args: failures.append("".join(traceback.format_exception(args.exc_value)))
    thread = threading.Thread(target=guarded, daemon=True)
    try:
        thread.start()
        thread.join(_HANGS_AFTER_S)
    finally:
        threading.excepthook = hook
        root.handlers = others
        if currently_in_test_context():
            note(log.getvalue())
    assert not thread.is_alive(), "the run hangs"
    assert not failures, failures[0]
    assert "Traceback" not in log.getvalue(), log.getvalue()
    return Ran(results[0], log.getvalue())


def check_blobs(stores: MutatedStores) -> None:
    """Check that each blob is as before or holds its object's bytes, and that the requests stayed within the bound."""
    found = stores.blobs()
    for name in found.keys() | stores.before.keys():
        if found.get(name) != stores.before.get(name):
            assert found.get(name) == OBJECTS.get(name), name
    bound = RetryBudget().most_requests_for_a_block(airflow_retries=0)
    assert len(stores.seen) <= bound * _BLOCKS


def check_copied(stores: MutatedStores, receipt: Mapping[str, Any]) -> None:
    """Check that a receipt says ``copied`` or ``unchanged`` only of a blob that is the object."""
    if receipt["status"] not in ("copied", "unchanged"):
        assert receipt["reason"], receipt
        return
    data = OBJECTS[receipt["key"]]
    assert stores.blobs().get(receipt["blob"]) == data, receipt
    assert receipt["size_bytes"] == len(data), receipt
    algorithm, _, value = receipt["checksum"].partition(":")
    if receipt["status"] == "copied" and algorithm == CRC64NVME.name:
        assert value == _base64(CRC64NVME.digest(memoryview(data)), 8), receipt
