"""The contract of ``BlobDestination``, tested on the fake and on the real store with a real server."""

import base64
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from uuid import uuid4

import pytest
from azure.storage.blob import BlobServiceClient, ContainerClient

from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import (
    BlobLeased,
    BlockListRefused,
    ConditionNotMet,
    ContainerNotFound,
    CorruptedInTransit,
    ForeignBlocks,
    NameRefused,
    TransferError,
    UnexpectedResponse,
    WrongBlobType,
)
from s3_to_azure.model.objects import BlobContents, BlobState, Condition, ContentHeaders
from s3_to_azure.model.ports import BlobDestination
from s3_to_azure.transfer.blocks import NO_SECOND, StagedBlock
from tests.fakes.memory_destination import MemoryDestination
from tests.real_stores import azure_container

NOTHING = BlobContents({}, ContentHeaders())
ABSENT = Condition(None)
UNUSUAL_NAMES = [
    "plain",
    "with spaces and  two",
    "plus+and%percent",
    "already%20encoded%2Fslash",
    "question?mark=1&x",
    "hash#fragment",
    "double//slash",
    "/leading",
    "ünïcode/日本語/🙂",
    "a\u0301 is not \u00e1",
    "semi;colon,comma:colon@at!$'()*~",
    "dots..inside/.hidden/x",
    "k" * 1_000,
    "%2e%2e/%2E/escape",
]


def block_id(start: int, data: bytes, mark: bytes = b"fingrprt") -> str:
    """Return the id of a block with these bytes."""
    return StagedBlock(start, start + len(data), CRC64NVME.digest(memoryview(data)), NO_SECOND, mark).block_id


@dataclass
class Rig:
    """A destination, and actions of another tool on its container."""

    destination: BlobDestination
    stage_foreign: Callable[[str, bytes, bytes], None]
    write: Callable[[str, bytes], str]
    make_append_blob: Callable[[str], None]
    lease: Callable[[str], None]
    delete_blob: Callable[[str], None]
    delete_container: Callable[[], None]

    def stage(self, blob: str, start: int, data: bytes) -> str:
        """Stage a block as the pipeline does; return its id."""
        name = block_id(start, data)
        self.destination.stage_block(blob, name, memoryview(data), CRC64NVME.digest(memoryview(data)))
        return name

    def put(self, blob: str, data: bytes, condition: Condition = ABSENT, contents: BlobContents = NOTHING) -> str:
        """Put a blob in one request; return its ETag."""
        return self.destination.put_blob(
            blob, memoryview(data), CRC64NVME.digest(memoryview(data)), contents, condition
        )

    def head(self, blob: str) -> BlobState:
        """Return the state of a blob that must exist."""
        state = self.destination.head(blob)
        assert state is not None
        return state

    def content(self, blob: str) -> bytes:
        """Return a blob's bytes."""
        return self.destination.read(blob, 0, self.head(blob).size_bytes)


@pytest.fixture(params=["memory", "azurite"])
def rig(request: pytest.FixtureRequest) -> Iterator[Rig]:
    """Run each test on every destination."""
    if request.param == "memory":
        memory = MemoryDestination()
        yield Rig(
            memory,
            memory.stage_foreign,
            memory.write,
            lambda blob: (memory.write(blob, b"", blob_type="AppendBlob"), None)[1],
            memory.leased.add,
            lambda blob: (memory.blobs.pop(blob), None)[1],
            lambda: setattr(memory, "exists", False),
        )
        return
    client: ContainerClient = request.getfixturevalue("container")
    destination = azure_container(request.getfixturevalue("azure_server"), str(client.container_name))
    yield Rig(
        destination,
        lambda blob, name, data: _stage_foreign(client, blob, name, data),
        lambda blob, data: str(client.upload_blob(blob, data, overwrite=True).get_blob_properties().etag).strip('"'),
        lambda blob: (client.get_blob_client(blob).create_append_blob(), None)[1],
        lambda blob: (client.get_blob_client(blob).acquire_lease(), None)[1],
        client.delete_blob,
        client.delete_container,
    )
    destination.close()


def _stage_foreign(client: ContainerClient, blob: str, name: bytes, data: bytes) -> None:
    client.get_blob_client(blob).stage_block(name.decode(), data)


@pytest.mark.parametrize("name", UNUSUAL_NAMES, ids=lambda name: name[:20])
def test_unusual_names(rig: Rig, name: str) -> None:
    """Any allowed name is staged, committed, looked up, listed and read exactly as it is written."""
    first, second = f"first of {name}".encode(), b"second"
    ids = [rig.stage(name, 0, first), rig.stage(name, len(first), second)]
    assert [block.block_id.decode() for block in rig.destination.list_staged(name)] == ids
    rig.destination.commit(name, ids, NOTHING, ABSENT)
    assert rig.head(name).name == name
    assert rig.content(name) == first + second
    assert [state.name for state in rig.destination.list("")] == [name]
    rig.put(name, b"one request", Condition.of(rig.head(name)))
    assert rig.content(name) == b"one request"


@pytest.mark.parametrize(
    "name", ["..", "a/../b", "./a", "x/.", "a/./b", "pre/../../other/x", "", "a.", "a/", "a\\b", "t\tb"]
)
def test_refused_names_are_never_sent(rig: Rig, name: str) -> None:
    """Invariant 8: no request is sent for a refused name."""
    data = memoryview(b"x")
    for act in (
        lambda: rig.destination.head(name),
        lambda: rig.destination.list_staged(name),
        lambda: rig.destination.stage_block(name, block_id(0, b"x"), data, CRC64NVME.digest(data)),
        lambda: rig.destination.commit(name, [], NOTHING, ABSENT),
        lambda: rig.put(name, b"x"),
        lambda: rig.destination.read(name, 0, 1),
    ):
        with pytest.raises(NameRefused):
            act()
    assert list(rig.destination.list("")) == []


def test_missing_blob(rig: Rig) -> None:
    """A missing blob has no state and no blocks, and is not listed."""
    assert rig.destination.head("b") is None
    assert list(rig.destination.list_staged("b")) == []
    assert list(rig.destination.list("")) == []


def test_staged_blocks_are_not_visible(rig: Rig) -> None:
    """Invariant 2: staged blocks are listed with id and size, and readers do not see them."""
    name = rig.stage("b", 0, b"12345")
    (block,) = rig.destination.list_staged("b")
    assert (block.block_id.decode(), block.size_bytes) == (name, 5)
    assert rig.destination.head("b") is None
    assert list(rig.destination.list("")) == []


def test_block_staged_twice_is_listed_once(rig: Rig) -> None:
    """All staged blocks are listed, and one that is staged twice only once."""
    ids = [rig.stage("b", start, b"12345") for start in (20, 0, 10)]
    rig.stage("b", 20, b"12345")
    listed = [block.block_id.decode() for block in rig.destination.list_staged("b")]
    assert sorted(listed) == sorted(ids)
    assert len(set(listed)) == 3


def test_two_ids_for_one_offset_are_both_listed(rig: Rig) -> None:
    """Two writers that read different bytes leave two ids for one offset."""
    rig.stage("b", 0, b"12345")
    rig.stage("b", 0, b"54321")
    assert len(rig.destination.list_staged("b")) == 2


def test_damaged_block_is_refused(rig: Rig) -> None:
    """A block whose CRC64 does not match its bytes is not staged."""
    with pytest.raises(CorruptedInTransit):
        rig.destination.stage_block(
            "b", block_id(0, b"right"), memoryview(b"wrong"), CRC64NVME.digest(memoryview(b"right"))
        )
    assert list(rig.destination.list_staged("b")) == []


def test_damaged_blob_is_refused(rig: Rig) -> None:
    """A Put Blob whose CRC64 does not match its bytes writes nothing."""
    with pytest.raises(CorruptedInTransit):
        rig.destination.put_blob("b", memoryview(b"wrong"), CRC64NVME.digest(memoryview(b"right")), NOTHING, ABSENT)
    assert rig.destination.head("b") is None


def test_commit_makes_the_blob(rig: Rig) -> None:
    """A commit writes the named blocks in the named order with metadata and headers, and nothing stays staged."""
    first, second = rig.stage("b", 0, b"first "), rig.stage("b", 6, b"second")
    headers = ContentHeaders("text/x-test", "gzip", "de", 'attachment; filename="x"', "max-age=60")
    metadata = {"s3_etag": "e", "my_x002d_key": "v%20 w"}
    etag = rig.destination.commit("b", [first, second], BlobContents(metadata, headers), ABSENT)
    state = rig.head("b")
    assert rig.content("b") == b"first second"
    assert (state.etag, state.size_bytes, state.blob_type) == (etag, 12, "BlockBlob")
    assert state.metadata == metadata
    assert state.headers == headers
    assert list(rig.destination.list_staged("b")) == []


def test_commit_drops_other_blocks(rig: Rig) -> None:
    """Foreign blocks of our id length are listed, never committed, and dropped by the commit."""
    ours = rig.stage("b", 0, b"ours")
    rig.stage_foreign("b", b"x" * 52, b"foreign")
    assert len(rig.destination.list_staged("b")) == 2
    rig.destination.commit("b", [ours], NOTHING, ABSENT)
    assert rig.content("b") == b"ours"
    assert list(rig.destination.list_staged("b")) == []


def test_commit_of_an_unknown_block_is_refused(rig: Rig) -> None:
    """A list with an unknown block writes nothing and keeps the staged blocks."""
    ours = rig.stage("b", 0, b"ours")
    with pytest.raises(BlockListRefused):
        rig.destination.commit("b", [ours, block_id(4, b"gone")], NOTHING, ABSENT)
    assert rig.destination.head("b") is None
    assert len(rig.destination.list_staged("b")) == 1


def test_empty_block_list_makes_an_empty_blob(rig: Rig) -> None:
    """A commit of no blocks makes the empty blob, even over leftover blocks."""
    rig.stage("b", 0, b"left over")
    rig.destination.commit("b", [], NOTHING, ABSENT)
    assert rig.head("b").size_bytes == 0
    assert list(rig.destination.list_staged("b")) == []


def test_every_write_changes_the_etag(rig: Rig) -> None:
    """Every write gives a new ETag, also one of the same bytes."""
    etags = [rig.put("b", b"same")]
    etags.append(rig.put("b", b"same", Condition(etags[-1])))
    name = rig.stage("b", 0, b"same")
    etags.append(rig.destination.commit("b", [name], NOTHING, Condition(etags[-1])))
    assert len(set(etags)) == 3
    assert rig.head("b").etag == etags[-1]
    assert not any(etag.startswith('"') for etag in etags)


def test_update_keeps_the_bytes(rig: Rig) -> None:
    """An update replaces metadata and headers and keeps the bytes; under another ETag nothing changes."""
    before = BlobContents({"a": "1", "b": "2"}, ContentHeaders("text/plain", content_language="de"))
    etag = rig.put("blob", b"bytes", contents=before)
    after = BlobContents({"a": "3"}, ContentHeaders("text/csv", cache_control="no-store"))
    for wrong in ("0x0", "another"):
        with pytest.raises(ConditionNotMet):
            rig.destination.update("blob", after, Condition(wrong))
    assert rig.head("blob").metadata == before.metadata
    new = rig.destination.update("blob", after, Condition(etag))
    found = rig.head("blob")
    assert (found.etag, found.metadata, found.headers) == (new, after.metadata, after.headers)
    assert new != etag
    assert rig.destination.read("blob", 0, 5) == b"bytes"


@pytest.mark.parametrize("staged", [True, False], ids=["commit", "put_blob"])
class TestConditions:
    """Invariant 4: a write happens only in the state that its condition names, and changes nothing otherwise."""

    def write(self, rig: Rig, staged: bool, condition: Condition) -> None:
        """Write with a commit or with Put Blob."""
        if staged:
            name = rig.stage("b", 0, b"mine")
            rig.destination.commit("b", [name], NOTHING, condition)
        else:
            rig.put("b", b"mine", condition)

    def test_existing_blob_is_not_replaced(self, rig: Rig, staged: bool) -> None:
        """A write under ``If-None-Match: *`` does not replace an existing blob."""
        etag = rig.write("b", b"theirs")
        with pytest.raises(ConditionNotMet):
            self.write(rig, staged, ABSENT)
        assert rig.content("b") == b"theirs"
        assert rig.head("b").etag == etag

    def test_changed_blob_is_not_replaced(self, rig: Rig, staged: bool) -> None:
        """A write under ``If-Match`` does not replace a blob that was written since."""
        seen = Condition(rig.write("b", b"before"))
        rig.write("b", b"theirs")
        with pytest.raises(ConditionNotMet):
            self.write(rig, staged, seen)
        assert rig.content("b") == b"theirs"

    def test_deleted_blob_is_not_created(self, rig: Rig, staged: bool) -> None:
        """A write under ``If-Match`` does not create a blob that was deleted."""
        seen = Condition(rig.write("b", b"before"))
        rig.delete_blob("b")
        with pytest.raises(ConditionNotMet):
            self.write(rig, staged, seen)
        assert rig.destination.head("b") is None

    def test_expected_blob_is_replaced(self, rig: Rig, staged: bool) -> None:
        """A write under the blob's own ETag replaces it as a whole."""
        self.write(rig, staged, Condition(rig.write("b", b"a longer one before")))
        assert rig.content("b") == b"mine"

    def test_refused_write_keeps_staged_blocks(self, rig: Rig, staged: bool) -> None:
        """Invariant 5: after a refused write the staged blocks are listed as before."""
        rig.write("b", b"theirs")
        kept = rig.stage("b", 100, b"kept")
        with pytest.raises(ConditionNotMet):
            self.write(rig, staged, ABSENT)
        assert kept in [block.block_id.decode() for block in rig.destination.list_staged("b")]


@pytest.mark.parametrize("there", [True, False])
def test_one_of_four_commits_wins(rig: Rig, there: bool) -> None:
    """Of four commits under one condition exactly one succeeds, and the others are refused."""
    condition = Condition(rig.write("b", b"before")) if there else ABSENT
    name = rig.stage("b", 0, b"mine")

    def commit(_: int) -> str:
        try:
            return rig.destination.commit("b", [name], NOTHING, condition)
        except ConditionNotMet:
            return ""

    with ThreadPoolExecutor(4) as workers:
        etags = [etag for etag in workers.map(commit, range(4)) if etag]
    assert etags == [rig.head("b").etag]
    assert rig.content("b") == b"mine"


def test_foreign_blocks_of_another_length(rig: Rig) -> None:
    """Invariant 7: our ids beside ids of another length are refused with an error of its own, and the blocks stay."""
    rig.stage_foreign("b", b"short", b"foreign")
    with pytest.raises(ForeignBlocks):
        rig.stage("b", 0, b"ours")
    assert [block.block_id for block in rig.destination.list_staged("b")] == [b"short"]


def test_ids_of_any_bytes_are_listed(rig: Rig, request: pytest.FixtureRequest) -> None:
    """Another tool's ids are listed even where they are not text."""
    raw = bytes(range(200, 252))
    if isinstance(rig.destination, MemoryDestination):
        rig.destination.stage_foreign("b", raw, b"foreign")
    else:
        client: ContainerClient = request.getfixturevalue("container")
        blob = client.get_blob_client("b")
        blob._client.block_blob.stage_block(base64.b64encode(raw).decode(), 7, b"foreign")
    assert [(block.block_id, block.size_bytes) for block in rig.destination.list_staged("b")] == [(raw, 7)]
    rig.stage("b", 0, b"ours")
    assert len(rig.destination.list_staged("b")) == 2


def test_append_blob_is_refused(rig: Rig) -> None:
    """HEAD returns the type of an append blob, and every write over it is refused."""
    rig.make_append_blob("b")
    state = rig.head("b")
    assert state.blob_type == "AppendBlob"
    with pytest.raises(WrongBlobType):
        rig.stage("b", 0, b"ours")
    with pytest.raises((WrongBlobType, ConditionNotMet)):
        rig.put("b", b"ours")


def test_leased_blob_is_refused(rig: Rig) -> None:
    """A leased blob refuses every write with an error of its own, and stays."""
    etag = rig.write("b", b"theirs")
    rig.lease("b")
    with pytest.raises(BlobLeased):
        rig.put("b", b"mine", Condition(etag))
    with pytest.raises(BlobLeased):
        rig.stage("b", 0, b"mine")
    with pytest.raises(BlobLeased):
        rig.destination.commit("b", [], NOTHING, Condition(etag))
    assert rig.content("b") == b"theirs"


def test_missing_container(rig: Rig) -> None:
    """Every request to a missing container has the same error."""
    rig.delete_container()
    for act in (
        rig.destination.check,
        lambda: rig.destination.list_staged("b"),
        lambda: rig.stage("b", 0, b"x"),
        lambda: rig.put("b", b"x"),
        lambda: rig.destination.commit("b", [], NOTHING, ABSENT),
        lambda: list(rig.destination.list("")),
    ):
        with pytest.raises(ContainerNotFound):
            act()


def test_check_of_an_existing_container(rig: Rig) -> None:
    """A check of an existing container, also with ``create``, changes nothing in it."""
    rig.put("b", b"x")
    rig.destination.check()
    rig.destination.check(create=True)
    assert rig.content("b") == b"x"


def test_check_creates_a_missing_container(rig: Rig, request: pytest.FixtureRequest) -> None:
    """With ``create`` a missing container is created and can be used."""
    if isinstance(rig.destination, MemoryDestination):
        fresh: BlobDestination = MemoryDestination(exists=False)
    else:
        made = azure_container(request.getfixturevalue("azure_server"), f"new-{uuid4().hex}")
        request.addfinalizer(made.close)
        fresh = made
    with pytest.raises(ContainerNotFound):
        fresh.check()
    fresh.check(create=True)
    fresh.check(create=True)
    data = memoryview(b"x")
    fresh.put_blob("b", data, CRC64NVME.digest(data), NOTHING, ABSENT)


def test_listing(rig: Rig) -> None:
    """A listing has exactly the committed blobs below the prefix, in order, with metadata and ETags."""
    for name in ("a/1", "a/2", "a", "b"):
        rig.put(name, name.encode(), contents=BlobContents({"s3_etag": name.replace("/", "-")}, ContentHeaders()))
    rig.stage("a/3", 0, b"only staged")
    found = list(rig.destination.list("a/"))
    assert [state.name for state in found] == ["a/1", "a/2"]
    assert [state.metadata for state in found] == [{"s3_etag": "a-1"}, {"s3_etag": "a-2"}]
    assert [state.etag for state in found] == [rig.head(name).etag for name in ("a/1", "a/2")]
    assert [state.name for state in rig.destination.list("")] == ["a", "a/1", "a/2", "b"]


@pytest.mark.parametrize("value", ["", "a=b&c", "100%25", "%E6%97%A5", '"quoted"', "semi;colon,comma", "x" * 2_000])
def test_metadata_values(rig: Rig, value: str) -> None:
    """Values as ``metadata_to_azure`` writes them are returned unchanged."""
    rig.put("b", b"x", contents=BlobContents({"n": value, "s3_etag": "e"}, ContentHeaders()))
    assert rig.head("b").metadata == {"n": value, "s3_etag": "e"}


def test_names_of_metadata_are_lower_case(rig: Rig) -> None:
    """Names count in any case, so a blob's state shows them in lower case, after a commit and after an update."""
    etag = rig.put("b", b"x", contents=BlobContents({"Colour": "red"}, ContentHeaders()))
    assert rig.head("b").metadata == {"colour": "red"}
    rig.destination.update("b", BlobContents({"Shape_Of": "round"}, ContentHeaders()), Condition(etag))
    assert rig.head("b").metadata == {"shape_of": "round"}


@pytest.mark.parametrize("span", [(0, 0), (0, 1), (2, 5), (9, 10), (0, 10), (10, 10)])
def test_read(rig: Rig, span: tuple[int, int]) -> None:
    """A read returns ``[start, end)`` of the committed bytes."""
    rig.put("b", b"0123456789")
    assert rig.destination.read("b", *span) == b"0123456789"[slice(*span)]


def test_read_of_a_missing_blob(rig: Rig) -> None:
    """A read-back of a blob that somebody has deleted meanwhile fails for good."""
    with pytest.raises(UnexpectedResponse, match="BlobNotFound"):
        rig.destination.read("b", 0, 1)


def test_empty_blob(rig: Rig) -> None:
    """Put Blob writes a blob of no bytes."""
    rig.put("b", b"")
    assert rig.head("b").size_bytes == 0


def test_wrong_account_key(azure_server: object, blob_service: BlobServiceClient, container: ContainerClient) -> None:
    """A key of another account is refused with a permanent error."""
    wrong = {"account_name": "devstoreaccount1", "account_key": base64.b64encode(b"wrong").decode()}
    destination = azure_container(azure_server, str(container.container_name), credential=wrong)  # type: ignore[arg-type]
    with pytest.raises(TransferError) as caught:
        destination.check()
    assert caught.value.reason() in ("credentials_refused", "access_denied")
    destination.close()
