"""The plan's files and descriptors: written, read back, and refused when they are damaged."""

import json
import tracemalloc
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, Final

import pytest
from msgspec.structs import replace

from s3_to_azure.model.errors import CorruptState, UnsupportedStateFormat
from s3_to_azure.model.limits import MAX_KEY_BYTES, MAX_OBJECT_BYTES, MIB
from s3_to_azure.model.objects import BlobState, ListedObject, TaskTry
from s3_to_azure.model.options import MAX_TASKS
from s3_to_azure.state.lines import LinesWriter
from s3_to_azure.state.manifest import ManifestPointer
from s3_to_azure.state.plan import (
    MAX_BATCH_OBJECTS,
    MAX_MEMBER_BYTES,
    BatchDescriptor,
    LeftOut,
    PlanIndex,
    PlanReference,
    left_out_name,
    mapped_batches,
    read_left_out,
    read_plan,
    read_plan_index,
    reference_of,
    write_plan_index,
)
from tests.fakes.state_memory import MemoryState

TOKEN = "0123456789abcdef"
NOW = datetime(2026, 3, 1, tzinfo=UTC)
GOOD: dict[str, Any] = {
    "plan": TOKEN,
    "index": 3,
    "offset": 100,
    "length": 50,
    "sha256": "a" * 64,
    "objects": 7,
    "size_bytes": 70,
    "kind": "objects",
}
LISTED = ListedObject("bucket", "in/a", "etag", 3 * MIB, datetime(2026, 3, 1, 12, tzinfo=UTC))
BLOB = BlobState("out/a", "0x8D1", 1, "BlockBlob", {})


def test_a_descriptor_survives_xcom() -> None:
    """A descriptor is the same after being a dictionary, and holds hexadecimal digits and numbers only."""
    descriptor = BatchDescriptor.from_dict(GOOD)
    assert descriptor.as_dict() == {"format": "1.0", **GOOD}
    assert BatchDescriptor.from_dict(descriptor.as_dict()) == descriptor


@pytest.mark.parametrize(
    "change",
    [
        *({name: None} for name in GOOD),
        *({name: -1} for name in GOOD),
        *({name: True} for name in GOOD),
        *({name: "{{ var.value.secret }}"} for name in GOOD),
        {"plan": "0123456789ABCDEF"},
        {"plan": "0123456789abcdef\n"},
        {"index": 1_000},
        {"length": 0},
        {"length": 1 << 40},
        {"offset": 1 << 60},
        {"objects": 0},
        {"size_bytes": 1 << 80},
        {"kind": "everything"},
        {"bucket": "another"},
    ],
)
def test_a_descriptor_with_an_invalid_value_is_corrupt_state(change: dict[str, object]) -> None:
    """A value of the wrong type or range, or one too many, is refused; no template passes."""
    with pytest.raises(CorruptState):
        BatchDescriptor.from_dict(GOOD | change)


@pytest.mark.parametrize("name", GOOD)
def test_a_descriptor_without_a_value_is_corrupt_state(name: str) -> None:
    """Every value is needed."""
    with pytest.raises(CorruptState):
        BatchDescriptor.from_dict({key: value for key, value in GOOD.items() if key != name})


@pytest.mark.parametrize("values", [None, [], "text", 3])
def test_a_value_that_is_not_a_dictionary_is_corrupt_state(values: Any) -> None:
    """XCom may hold anything."""
    with pytest.raises(CorruptState):
        BatchDescriptor.from_dict(values)


def written(lines: list[LeftOut], files: MemoryState, name: str) -> None:
    """Write lines into a state file."""
    with files.write(name) as out:
        writer = LinesWriter(out)
        for line in lines:
            writer.add(line)
        writer.end_member()


def test_objects_left_out_come_back_as_written() -> None:
    """Key, status, reason and recorded checksum survive the file."""
    files = MemoryState()
    items = [
        LeftOut("in/a", "etag", 5, "skipped", "too_small"),
        LeftOut("in/b", "etag", 5, "unchanged", verified_by="crc64nvme", checksum="crc64nvme:AAA="),
    ]
    written(items, files, left_out_name(TOKEN))
    assert list(read_left_out(files, TOKEN)) == items


def test_another_file_of_objects_left_out_is_corrupt_state() -> None:
    """An object that somebody has added to it would be reported as unchanged, and never copied."""
    files = MemoryState()
    written([LeftOut("in/a", "etag", 5, "unchanged")], files, left_out_name(TOKEN))
    digest = sha256(files.files[left_out_name(TOKEN)]).hexdigest()
    assert len(list(read_left_out(files, TOKEN, digest))) == 1
    written([LeftOut("in/b", "etag", 5, "unchanged")], files, left_out_name(TOKEN))
    with pytest.raises(CorruptState):
        list(read_left_out(files, TOKEN, digest))


def test_a_left_out_object_with_an_impossible_etag_is_corrupt_state() -> None:
    """An ETag goes into requests and conditions, so no line may hold one that breaks a header."""
    files = MemoryState()
    written([LeftOut("in/a", "e\r\nx: y", 5, "skipped")], files, left_out_name(TOKEN))
    with pytest.raises(CorruptState):
        list(read_left_out(files, TOKEN))


INDEX = PlanIndex(
    token=TOKEN,
    manifest="f" * 16,
    container="container",
    s3_prefix="in/",
    blob_prefix="out/",
    own_batches=1,
    mapped_names=True,
    batches=(
        BatchDescriptor.from_dict(GOOD | {"index": 0}),
        BatchDescriptor.from_dict(GOOD | {"index": 1, "kind": "range"}),
    ),
)
POINTER = ManifestPointer("f" * 16, "bucket", "in/", 7, 70, ordered=True, looked_up=False, length=50, sha256="c" * 64)


def test_the_plan_index_comes_back_as_written() -> None:
    """plan.json names the plan with its batches; before a plan is made, there is none."""
    files = MemoryState()
    assert read_plan_index(files) is None
    write_plan_index(files, INDEX, {"batches": 2})
    assert read_plan_index(files) == INDEX
    assert json.loads(files.files["plan.json"])["summary"] == {"batches": 2}
    with_pointer = replace(INDEX, pointer=POINTER)
    write_plan_index(files, with_pointer, {})
    assert read_plan_index(files) == with_pointer


OTHER: Final = "f" * 16
"""Token of a plan that another try has made."""


def other_index() -> PlanIndex:
    """Return the other plan."""
    return replace(INDEX, token=OTHER, batches=tuple(replace(batch, plan=OTHER) for batch in INDEX.batches))


def test_each_plan_has_a_file_of_its_own() -> None:
    """So the plan that Airflow has mapped is found, whichever is the current one."""
    files = MemoryState()
    first = write_plan_index(files, INDEX, {"batches": 2})
    second = write_plan_index(files, other_index(), {})
    stored = read_plan(files, first)
    assert stored is not None
    assert (stored.index, stored.reference, stored.summary) == (INDEX, first, {"batches": 2})
    assert read_plan_index(files) == read_plan_index(files, second) == other_index()


def test_an_earlier_try_does_not_make_its_plan_the_current_one() -> None:
    """It was given up, and goes on after its successor has planned."""
    files = MemoryState()
    write_plan_index(files, INDEX, {}, TaskTry("listing", 2, NOW))
    given_up = write_plan_index(files, other_index(), {}, TaskTry("listing", 1, NOW))
    assert read_plan_index(files) == INDEX
    assert read_plan_index(files, given_up) == other_index()


def test_a_plan_that_was_changed_is_not_the_one_that_was_mapped() -> None:
    """Its digest travels with the batches."""
    files = MemoryState()
    reference = write_plan_index(files, INDEX, {})
    name = f"plan-{TOKEN}/plan.json"
    files.files[name] = files.files[name].replace(b"out/", b"xxx/")
    with pytest.raises(CorruptState, match="not the plan that Airflow has mapped"):
        read_plan(files, reference)
    assert read_plan(files, PlanReference(TOKEN)) is not None


def test_a_plan_of_an_earlier_version_has_no_file_of_its_own() -> None:
    """The current plan is it, or it is gone."""
    files = MemoryState()
    write_plan_index(files, INDEX, {"batches": 2})
    files.delete(f"plan-{TOKEN}/plan.json")
    stored = read_plan(files, PlanReference(TOKEN))
    assert stored is not None
    assert (stored.index, stored.reference) == (INDEX, PlanReference(TOKEN))
    for gone in (PlanReference(OTHER), PlanReference(TOKEN, "a" * 64)):
        with pytest.raises(CorruptState, match="not the plan that Airflow has mapped"):
            read_plan(files, gone)
    files.delete("plan.json")
    with pytest.raises(CorruptState, match="does not exist"):
        read_plan(files, PlanReference(TOKEN))


def changed(**values: object) -> MemoryState:
    """Return a run whose plan has other values, as its file has them."""
    files = MemoryState()
    write_plan_index(files, replace(INDEX, pointer=POINTER), {})
    files.files["plan.json"] = json.dumps(json.loads(files.files["plan.json"]) | values).encode()
    return files


@pytest.mark.parametrize(("names", "mapped"), [(0, False), (1, True)])
def test_a_plan_of_version_0_says_whether_it_maps_names(names: int, mapped: bool) -> None:
    """Version 0 wrote a number, and a text as summary; the names of the blobs depend on the number."""
    stored = read_plan(changed(format=None, mapped_names=names, summary="two batches"))
    assert stored is not None
    assert (stored.index.mapped_names, stored.summary) == (mapped, {})


@pytest.mark.parametrize("values", [{"format": None, "mapped_names": 2, "summary": ""}, {"mapped_names": 1}], ids=str)
def test_other_numbers_do_not_say_whether_names_are_mapped(values: dict[str, object]) -> None:
    """Version 0 has two of them, and this version none."""
    with pytest.raises(CorruptState, match="mapped_names"):
        read_plan(changed(**values))


@pytest.mark.parametrize(
    "values",
    [
        {"batches": [batch.as_dict() | {"format": "2.0"} for batch in INDEX.batches]},
        {"pointer": POINTER.as_dict() | {"format": "2.0"}},
    ],
    ids=["batches", "pointer"],
)
def test_what_a_plan_holds_has_a_version_of_its_own(values: dict[str, object]) -> None:
    """The values that go through Airflow, too, are of a version that this one can read."""
    with pytest.raises(UnsupportedStateFormat):
        read_plan(changed(**values))


def test_the_first_batch_refers_to_its_plan() -> None:
    """Airflow keeps the batches, and so the plan whose copies it runs; the other batches are as short as ever."""
    reference = PlanReference(TOKEN, "b" * 64)
    first, second = mapped_batches(INDEX.batches, reference)
    assert reference_of([first, second]) == reference
    assert second == INDEX.batches[1].as_dict()
    assert first == INDEX.batches[0].as_dict() | {"plan_sha256": "b" * 64}
    assert reference_of([INDEX.batches[0].as_dict()]) == PlanReference(TOKEN)
    assert (reference_of([]), mapped_batches((), reference)) == (None, [])
    with pytest.raises(CorruptState):
        reference_of([{"plan": TOKEN}])


def test_the_plan_index_maps_names_as_the_plan_does() -> None:
    """Reports show the name of the blob that the copy wrote."""
    assert INDEX.blob_of("in/dot.") == "out/dot~2E"
    assert replace(INDEX, mapped_names=False).blob_of("in/dot.") == "out/dot."


@pytest.mark.parametrize(
    "text",
    [b"", b"{}", b"[]", b"{" * 5_000, b"x" * 100_000, b'{"token": "0"}'],
)
def test_a_damaged_plan_index_is_corrupt_state(text: bytes) -> None:
    """plan.json is checked like every state file."""
    files = MemoryState()
    files.files["plan.json"] = text
    with pytest.raises(CorruptState):
        read_plan_index(files)


def test_a_plan_index_whose_batches_are_not_in_order_is_corrupt_state() -> None:
    """Batches are found by their number, so a gap or another plan's batch is refused."""
    files = MemoryState()
    write_plan_index(files, replace(INDEX, batches=INDEX.batches[1:]), {})
    with pytest.raises(CorruptState, match="not numbered in order"):
        read_plan_index(files)
    write_plan_index(files, replace(INDEX, token="0" * 16), {})
    with pytest.raises(CorruptState, match="not numbered in order"):
        read_plan_index(files)


def test_the_longest_plan_index_is_read() -> None:
    """As many batches as Airflow maps, each with the largest numbers, and the longest prefixes."""
    files = MemoryState()
    largest = {"offset": MAX_MEMBER_BYTES * MAX_TASKS, "length": MAX_MEMBER_BYTES, "objects": MAX_BATCH_OBJECTS}
    largest |= {"size_bytes": MAX_OBJECT_BYTES * MAX_TASKS}
    batches = tuple(BatchDescriptor.from_dict(GOOD | largest | {"index": index}) for index in range(MAX_TASKS))
    prefix = "\u00fc" * MAX_KEY_BYTES
    index = replace(INDEX, batches=batches, s3_prefix=prefix, blob_prefix=prefix)
    write_plan_index(files, index, {"warnings": ["x" * 1_000] * 10})
    assert read_plan_index(files) == index


def test_a_long_plan_index_is_refused_before_it_is_in_memory() -> None:
    """Its length is bounded while it is read."""
    taken = 0

    class Endless(MemoryState):
        def chunks(self, name: str) -> Iterator[bytes]:
            nonlocal taken
            while name == "plan.json":
                taken += 1
                yield bytes(MIB)

    files = Endless()
    files.files["plan.json"] = b""
    with pytest.raises(CorruptState, match="too long"):
        read_plan_index(files)
    assert taken == 2


@pytest.mark.parametrize("piece", ["[]", "{}", '""', "1", '"abcdefgh"', "[[[[]]]]"])
def test_a_hostile_plan_index_takes_little_memory(piece: str) -> None:
    """JSON of this length holds at most some hundred thousand values."""
    files = MemoryState()
    files.files["plan.json"] = f'{{"batches": [{",".join([piece] * (1_000_000 // (len(piece) + 1)))}]}}'.encode()
    tracemalloc.start()
    try:
        with pytest.raises(CorruptState):
            read_plan_index(files)
        assert tracemalloc.get_traced_memory()[1] < 64 * MIB
    finally:
        tracemalloc.stop()
