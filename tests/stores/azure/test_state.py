"""A run's state files: one contract for Azure, disk and memory, then what only Azure does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from benchmarks.local_state import LocalState
from local_cloud.servers import AZURITE_KEY, LocalAzure
from s3_to_azure.model.errors import (
    ConditionNotMet,
    ConnectionFailed,
    ContainerNotFound,
    CorruptState,
    ServerFailed,
    UnexpectedResponse,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import TaskTry
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.stores.azure.client import StreamingClient, service_client
from s3_to_azure.stores.azure.state import AzureState
from s3_to_azure.stores.temporary_state import TemporaryState
from tests.fakes.hierarchical_azure import HierarchicalAccount, hierarchical_azure
from tests.fakes.state_memory import MemoryState
from tests.fakes.wire_server import wire_server


@pytest.fixture
def service(azure_server: LocalAzure) -> Iterator[StreamingClient]:
    """Return the account's client as the entry points make it."""
    with BlobServiceClient.from_connection_string(azure_server.connection_string) as plain:
        client = service_client(plain, connections=2)
        yield client
        client.close()


@pytest.fixture
def state_of(service: StreamingClient, container: ContainerClient) -> Callable[..., AzureState]:
    """Return a function that makes states in one new container."""

    def make(dag_id: str = "dag", run_id: str = "manual__2026-03-01T02:00:00+00:00") -> AzureState:
        return AzureState(service, str(container.container_name), dag_id=dag_id, run_id=run_id)

    return make


@pytest.fixture(params=["azure", "local", "temporary", "memory"])
def files(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[StateFiles]:
    """Return each kind of state, without files."""
    if request.param == "azure":
        yield request.getfixturevalue("state_of")()
    elif request.param == "temporary":
        with TemporaryState() as temporary:
            yield temporary
    else:
        yield LocalState(tmp_path / "run") if request.param == "local" else MemoryState()


def write(files: StateFiles, name: str, *pieces: bytes, **options: Any) -> None:
    """Write a file."""
    with files.write(name, **options) as out:
        for piece in pieces:
            out.write(piece)


@pytest.mark.parametrize("size_bytes", [0, 1, 4 * MIB - 1, 4 * MIB, 4 * MIB + 1, 9 * MIB])
def test_file_is_read_as_it_was_written(files: StateFiles, size_bytes: int) -> None:
    """For each size: in chunks, whole, and by range."""
    data = bytes(range(251)) * (size_bytes // 251 + 1)
    write(files, "plan-1/a.gz", data[: size_bytes // 3], data[size_bytes // 3 : size_bytes])
    whole = data[:size_bytes]
    assert b"".join(files.chunks("plan-1/a.gz")) == whole
    assert files.read("plan-1/a.gz") == whole
    middle = size_bytes // 2
    assert files.read("plan-1/a.gz", middle, size_bytes) == whole[middle:] if middle < size_bytes else True
    with pytest.raises(CorruptState):
        files.read("plan-1/a.gz", 0, size_bytes + 1)


def test_incomplete_file_is_not_visible(files: StateFiles) -> None:
    """If the writer fails there is no file, or the previous one."""

    def fail(name: str) -> None:
        with files.write(name) as out:
            out.write(bytes(5 * MIB))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail("new")
    write(files, "old", b"before")
    with pytest.raises(KeyboardInterrupt):
        fail("old")
    assert list(files.names()) == ["old"]
    assert files.read("old") == b"before"
    write(files, "old", b"after")
    assert files.read("old") == b"after"


def test_names_are_listed_by_prefix(files: StateFiles) -> None:
    """Without the run's folder."""
    for name in ("receipts/00001/001-00001.gz", "receipts/00001/001-00002.gz", "receipts/00010/x", "plan.json"):
        write(files, name, b"x")
    assert list(files.names("receipts/00001/")) == ["receipts/00001/001-00001.gz", "receipts/00001/001-00002.gz"]
    assert len(list(files.names())) == 4
    files.delete("plan.json")
    files.delete("plan.json")
    assert len(list(files.names())) == 3


def test_missing_file_is_corrupt_state(files: StateFiles) -> None:
    """The error names the file."""
    for read in (lambda: files.read("none"), lambda: files.read("none", 0, 1), lambda: list(files.chunks("none"))):
        with pytest.raises(CorruptState, match="none"):
            read()


MOMENT = datetime(2026, 3, 1, 2, tzinfo=UTC)
LATER = MOMENT + timedelta(seconds=1)
SIZES = pytest.mark.parametrize("size_bytes", [1, 5 * MIB], ids=["small", "blocks"])


@SIZES
def test_a_new_file_replaces_none(files: StateFiles, size_bytes: int) -> None:
    """What is there stays, and the writer is told."""
    write(files, "a", b"1" * size_bytes, is_new=True)
    with pytest.raises(ConditionNotMet):
        write(files, "a", b"2" * size_bytes, is_new=True)
    assert files.read("a") == b"1" * size_bytes


@SIZES
@pytest.mark.parametrize(
    ("second", "is_written"),
    [
        (TaskTry("one", 1, LATER), False),
        (TaskTry("one", 2, MOMENT), True),
        (TaskTry("one", 3, MOMENT), True),
        (TaskTry("two", 9, MOMENT - timedelta(seconds=1)), False),
        (TaskTry("two", 1, LATER), True),
    ],
    ids=["earlier", "the same", "later", "of an earlier listing", "of a later listing"],
)
def test_a_file_is_replaced_by_a_later_try_only(
    files: StateFiles, size_bytes: int, second: TaskTry, *, is_written: bool
) -> None:
    """A try that was given up, and goes on, finds what its successor has written."""
    write(files, "a", b"1" * size_bytes, by=TaskTry("one", 2, MOMENT))
    write(files, "a", b"2" * size_bytes, by=second)
    assert files.read("a") == (b"2" if is_written else b"1") * size_bytes


def test_a_file_that_names_no_try_is_replaced(files: StateFiles) -> None:
    """An earlier version wrote it."""
    write(files, "a", b"1")
    write(files, "a", b"2", by=TaskTry("one", 1, MOMENT))
    assert files.read("a") == b"2"


def after_first_look(files: AzureState, monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Do something once, between a writer's look at its file and its write."""
    written, waiting = files.written, [act]

    def look(path: str) -> Any:
        found = written(path)
        if waiting:
            waiting.pop()()
        return found

    monkeypatch.setattr(files, "written", look)


@pytest.mark.parametrize("there_before", [False, True], ids=["no file", "a file"])
@pytest.mark.parametrize(("number", "wins"), [(1, True), (3, False)], ids=["an earlier try", "a later try"])
def test_two_tries_that_write_at_once(
    state_of: Callable[..., AzureState],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    *,
    wins: bool,
    there_before: bool,
) -> None:
    """Whoever comes between is looked at before it is replaced."""
    files = state_of()
    if there_before:
        write(files, "a", b"0", by=TaskTry("one", 1, MOMENT))
    after_first_look(files, monkeypatch, lambda: write(files, "a", b"1", by=TaskTry("one", number, MOMENT)))
    write(files, "a", b"2", by=TaskTry("one", 2, MOMENT))
    assert files.read("a") == (b"2" if wins else b"1")


def test_metadata_that_names_no_try_hinders_nothing(
    state_of: Callable[..., AzureState], container: ContainerClient
) -> None:
    """Somebody may have edited them."""
    files = state_of()
    for edited in ({}, {"try_number": "x"}, {"listing": "one", "try_number": "1", "started_at": "2026-03-01T02:00:00"}):
        write(files, "a", b"1", by=TaskTry("one", 9, MOMENT))
        (name,) = container.list_blob_names()
        container.get_blob_client(name).set_blob_metadata(edited)
        write(files, "a", b"2", by=TaskTry("one", 1, MOMENT))
        assert files.read("a") == b"2"
        files.delete("a")


def test_a_new_file_whose_answer_was_lost_is_not_another_writers(
    state_of: Callable[..., AzureState], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second request is refused because the first one has succeeded."""
    files = state_of()
    monkeypatch.setattr("s3_to_azure.model.retry.Retrier._sleep", lambda *_: None)
    lost = [ServerFailed(service="Azure", status=500, code="InternalError", resource="x")]
    call = files.call

    def lose(act: str, path: str, request: Callable[[], Any]) -> Any:
        def send() -> Any:
            result = request()
            if lost:
                raise lost.pop()
            return result

        return call(act, path, send)

    monkeypatch.setattr(files, "call", lose)
    write(files, "a", b"1", is_new=True)
    assert lost == []
    assert files.read("a") == b"1"


def test_blocks_of_two_writers_are_not_mixed(state_of: Callable[..., AzureState]) -> None:
    """If a task and its retry write the same file, it has the blocks of one of them."""
    files = state_of()
    with files.write("plan") as one:
        one.write(b"1" * 5 * MIB)
        with files.write("plan") as other:
            other.write(b"2" * 3 * MIB)
        assert files.read("plan", 0, 3) == b"222"
        one.write(b"1")
    assert set(files.read("plan")) == {ord("1")}


def test_file_that_changes_while_it_is_read_is_corrupt_state(state_of: Callable[..., AzureState]) -> None:
    """Chunks of two versions are not read as one file."""
    files = state_of()
    write(files, "plan", bytes(9 * MIB))
    chunks = files.chunks("plan")
    next(chunks)
    write(files, "plan", bytes(9 * MIB))
    with pytest.raises(CorruptState, match="changed"):
        list(chunks)


def test_runs_are_separate(state_of: Callable[..., AzureState]) -> None:
    """Each run has its own folder below its DAG's, for any ids."""
    ids = [
        ("dag", "run"),
        ("dag", "run2"),
        ("dag", "run/x"),
        ("dag/run", "x"),
        ("dag", "../other/run"),
        ("dag.", "run"),
    ]
    for number, (dag_id, run_id) in enumerate(ids):
        write(state_of(dag_id, run_id), "plan.json", str(number).encode())
    for number, (dag_id, run_id) in enumerate(ids):
        files = state_of(dag_id, run_id)
        assert files.read("plan.json") == str(number).encode()
        assert list(files.names()) == ["plan.json"]


def test_only_old_runs_are_deleted(state_of: Callable[..., AzureState], container: ContainerClient) -> None:
    """Older runs of the same DAG are deleted completely; not this run, another DAG's run, or another blob."""
    for dag_id, run_id in (("dag", "one"), ("dag", "two"), ("dag2", "one"), ("dag", "now")):
        for name in ("plan.json", "receipts/1", "report.json"):
            write(state_of(dag_id, run_id), name, b"x")
    container.upload_blob("data/_s3_to_azure/dag/one/x", b"not ours")
    files = state_of("dag", "now")
    assert files.delete_runs_before(datetime.now(UTC) - timedelta(hours=1)) == 0
    assert files.delete_runs_before(datetime.now(UTC) + timedelta(hours=1)) == 2
    assert sorted(container.list_blob_names()) == [
        "_s3_to_azure/dag/now/plan.json",
        "_s3_to_azure/dag/now/receipts/1",
        "_s3_to_azure/dag/now/report.json",
        "_s3_to_azure/dag2/one/plan.json",
        "_s3_to_azure/dag2/one/receipts/1",
        "_s3_to_azure/dag2/one/report.json",
        "data/_s3_to_azure/dag/one/x",
    ]


AFTER_ALL = datetime.now(UTC) + timedelta(days=1)


@pytest.fixture
def account() -> Iterator[HierarchicalAccount]:
    """Run an account with a hierarchical namespace."""
    with hierarchical_azure() as made:
        yield made


@pytest.fixture
def state_in_directories(account: HierarchicalAccount) -> Iterator[Callable[[str], AzureState]]:
    """Return a function that makes the state of a run in that account."""
    server = account.server
    key = {"account_name": server.account_name, "account_key": server.account_key}
    with BlobServiceClient(server.account_url, credential=key) as plain:
        client = service_client(plain, connections=1)
        yield lambda run_id: AzureState(client, "container", dag_id="dag", run_id=run_id)
        client.close()


def test_old_runs_are_deleted_with_their_directories(
    account: HierarchicalAccount, state_in_directories: Callable[[str], AzureState]
) -> None:
    """An account with a hierarchical namespace lists directories as blobs, and refuses to delete one with files."""
    for run_id in ("one", "now"):
        for name in ("plan-1/receipts/00001/001-00001.jsonl.gz", "plan-1/tries/00001-002", "plan.json", "report.json"):
            write(state_in_directories(run_id), name, b"x")
    assert state_in_directories("now").delete_runs_before(AFTER_ALL) == 1
    assert sorted(account.blobs) == [
        "_s3_to_azure/dag/now/plan-1/receipts/00001/001-00001.jsonl.gz",
        "_s3_to_azure/dag/now/plan-1/tries/00001-002",
        "_s3_to_azure/dag/now/plan.json",
        "_s3_to_azure/dag/now/report.json",
    ]
    assert not [name for name in account.directories if "/one" in name]


def test_directories_are_no_files_and_tell_nothing_of_a_runs_age(
    account: HierarchicalAccount, state_in_directories: Callable[[str], AzureState]
) -> None:
    """Those that an interrupted deletion has left are no run."""
    files = state_in_directories("now")
    write(files, "plan-1/tries/00001-002", b"x")
    assert list(files.names()) == ["plan-1/tries/00001-002"]
    account.directories |= {"_s3_to_azure/dag/one", "_s3_to_azure/dag/one/plan-1"}
    assert files.delete_runs_before(AFTER_ALL, is_over=lambda _: True) == 0


@pytest.mark.parametrize(
    ("names", "is_over"),
    [
        (("plan.json", "receipts/1", "report.json"), True),
        (("plan.json", "report.csv", "receipts.jsonl.gz", "certificate.json", "report.json"), True),
        (("plan.json", "receipts/1"), False),
        (("plan.json", "report.json", "receipts/2"), False),
        (("report.json", "plan-1/plan.json"), False),
    ],
    ids=["reported", "all files", "no report", "copying again", "planned again"],
)
def test_a_run_of_which_airflow_tells_nothing_is_over_after_its_report(
    state_of: Callable[..., AzureState], monkeypatch: pytest.MonkeyPatch, names: tuple[str, ...], *, is_over: bool
) -> None:
    """Its files show that it goes on, whatever their age."""
    files = state_of("dag", "now")
    listed = [(f"_s3_to_azure/dag/one/{name}", MOMENT + timedelta(seconds=number)) for number, name in enumerate(names)]
    deleted: list[str] = []
    monkeypatch.setattr(files, "_list", lambda prefix: [item for item in listed if item[0].startswith(prefix)])
    monkeypatch.setattr(files, "_delete", deleted.append)
    assert files.delete_runs_before(AFTER_ALL) == int(is_over)
    assert len(deleted) == (len(names) if is_over else 0)
    if deleted:
        # If this is interrupted, what is left still shows that the run has ended.
        assert deleted[-1].endswith("/report.json")


@pytest.mark.parametrize(("told", "count"), [(True, 1), (False, 0)])
def test_airflow_tells_whether_a_run_is_over(state_of: Callable[..., AzureState], *, told: bool, count: int) -> None:
    """Whatever its files show."""
    name = "plan.json" if told else "report.json"
    write(state_of("dag", "manual__2026-03-01T02:00:00+00:00"), name, b"x")
    asked: list[str] = []

    def is_over(run_id: str) -> bool:
        asked.append(run_id)
        return told

    files = state_of("dag", "now")
    assert files.delete_runs_before(datetime.now(UTC) - timedelta(hours=1), is_over=is_over) == 0
    assert asked == []
    assert files.delete_runs_before(AFTER_ALL, is_over=is_over) == count
    assert asked == ["manual__2026-03-01T02:00:00+00:00"]


def test_a_program_may_bring_a_client_of_its_own(azure_server: LocalAzure, container: ContainerClient) -> None:
    """State is read with the SDK's client too, by which programs beside Airflow sign in."""
    with BlobServiceClient.from_connection_string(azure_server.connection_string) as plain:
        files = AzureState(plain, container.container_name, dag_id="dag", run_id="run")
        write(files, "a", b"text")
        assert b"".join(files.chunks("a")) == b"text"
        # The connections of its own wrapper end with it.
        del files


def test_missing_container_is_named(service: StreamingClient) -> None:
    """The error names the state container."""
    files = AzureState(service, "nothing-here", dag_id="dag", run_id="run")
    for act in (lambda: write(files, "a", b"x"), lambda: list(files.names()), lambda: files.read("a", 0, 1)):
        with pytest.raises(ContainerNotFound, match="nothing-here"):
            act()


def test_failed_request_is_retried(state_of: Callable[..., AzureState], monkeypatch: pytest.MonkeyPatch) -> None:
    """One failed request does not fail the run."""
    files = state_of()
    failures = [ServerFailed(service="Azure", status=500, code="InternalError", resource="x")] * 2
    monkeypatch.setattr("s3_to_azure.model.retry.Retrier._sleep", lambda *_: None)
    get_blob_client = files._client.get_blob_client

    def flaky(act: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **kwargs: Any) -> Any:
            if failures:
                raise failures.pop()
            return act(*args, **kwargs)

        return call

    def get_flaky_client(path: str) -> Any:
        blob: Any = get_blob_client(path)
        blob.upload_blob = flaky(blob.upload_blob)
        return blob

    monkeypatch.setattr(files._client, "get_blob_client", get_flaky_client)
    write(files, "plan.json", b"data")
    assert failures == []
    assert files.read("plan.json", 0, 4) == b"data"


@contextmanager
def answered(response: bytes) -> Iterator[AzureState]:
    """Yield state files in an account whose every response is this one."""
    quick = Retrier(RetryBudget(attempts=2, first_wait_s=0.001), threading.Event())
    with wire_server(lambda _: [response]) as url:
        account = {"account_name": "account", "account_key": AZURITE_KEY}
        with closing(service_client(BlobServiceClient(f"{url}/account", account), connections=1)) as service:
            yield AzureState(service, "container", dag_id="dag", run_id="run", retrier=quick)


def test_file_that_somebody_else_confirms_is_not_written() -> None:
    """A receipt that nobody holds would be an object without one."""
    with answered(b"HTTP/1.1 201 Created\r\nContent-Length: 0\r\n\r\n") as files:
        with pytest.raises(ConnectionFailed, match="something else than Azure"):
            write(files, "small", b"x")
        with pytest.raises(ConnectionFailed, match="something else than Azure"):
            write(files, "large", bytes(5 * MIB))


def test_404_of_somebody_else_is_no_missing_file() -> None:
    """Nor is an empty response an empty folder."""
    with answered(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n") as files:
        for act in (lambda: files.read("a"), lambda: files.read("a", 0, 1), lambda: files.delete("a")):
            with pytest.raises(UnexpectedResponse):
                act()
    with answered(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as files, pytest.raises(UnexpectedResponse):
        list(files.names())
