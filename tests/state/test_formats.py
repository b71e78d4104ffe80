"""The format version of state: files of other versions are read, or refused in words that help, whatever their kind."""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from s3_to_azure.model.errors import CorruptState, PermanentError, UnsupportedStateFormat
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.objects import Receipt
from s3_to_azure.model.reasons import FINAL_STATUSES
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch import copy_batch
from s3_to_azure.runs.report import make_report
from s3_to_azure.state.entries import read_entries
from s3_to_azure.state.formats import FORMAT
from s3_to_azure.state.manifest import ManifestPointer, read_manifest
from s3_to_azure.state.plan import (
    BatchDescriptor,
    PlanIndex,
    batches_name,
    left_out_name,
    read_left_out,
    read_plan_index,
)
from s3_to_azure.state.receipts import folder_of, read_receipts
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import Night

DATA = Path(__file__).parent / "data/version_0"
NOON = datetime(2026, 3, 1, 12, 0, 0, 500_000, tzinfo=UTC)

OBJECT = {
    "key": "p/a",
    "etag": "etag",
    "size_bytes": 3,
    "last_modified": "2026-03-01T12:00:00+00:00",
    "storage_class": "STANDARD",
}
POINTER = ManifestPointer("0" * 16, "bucket", "p/", 1, 3, ordered=True, looked_up=False, length=0, sha256="a" * 64)
BATCH = BatchDescriptor("0" * 16, 0, 0, 1, "a" * 64, 1, 3, "objects")
INDEX = PlanIndex("0" * 16, "1" * 16, "container", "p/", "", 0, mapped_names=False, batches=(BATCH,))
RECEIPT = Receipt("bucket", "p/a", "etag", 3, "container", "a", "copied", "", "crc64nvme", "crc64nvme:A=", 1)

Values = Mapping[str, Any]


def lines_file(version: Values, *lines: Values) -> bytes:
    """Return a file of JSON lines, with a header where there is a version."""
    rows = [version, *lines] if version else lines
    return gzip.compress(b"".join(json.dumps(row).encode() + b"\n" for row in rows))


def read_pointer(version: Values, more: Values) -> object:
    """Read a pointer with more fields."""
    return ManifestPointer.from_dict({**version, **structs.asdict(POINTER), **more})


def read_descriptor(version: Values, more: Values) -> object:
    """Read a descriptor with more fields."""
    return BatchDescriptor.from_dict({**version, **structs.asdict(BATCH), **more})


def read_index(version: Values, more: Values) -> object:
    """Read a plan.json with more fields, in its batch too."""
    files = MemoryState()
    own: Values = {"mapped_names": False} if version else {"mapped_names": 0, "summary": "{}"}
    batch = {**version, **structs.asdict(BATCH), **more}
    values = {**version, **structs.asdict(INDEX), **own, "batches": [batch], **more}
    files.files["plan.json"] = json.dumps(values).encode()
    return read_plan_index(files)


def read_manifest_file(version: Values, more: Values) -> object:
    """Read a manifest whose line has more fields."""
    files, data = MemoryState(), lines_file(version, {**OBJECT, **more})
    files.files[POINTER.name] = data
    return list(read_manifest(files, structs.replace(POINTER, length=len(data), sha256=sha256(data).hexdigest())))


def read_batch(version: Values, more: Values) -> object:
    """Read a batch whose line has more fields."""
    data = lines_file(version, {**OBJECT, "destination_etag": None, **more})
    return [structs.asdict(line) for line in read_entries([data], prefix="p/", path="batches")]


def read_left_out_file(version: Values, more: Values) -> object:
    """Read a file of objects left out whose line has more fields."""
    files = MemoryState()
    line = {"key": "p/a", "etag": "etag", "size_bytes": 3, "status": "unchanged"}
    files.files[left_out_name("0" * 16)] = lines_file(version, {**line, **more})
    return [structs.asdict(line) for line in read_left_out(files, "0" * 16)]


def read_receipts_file(version: Values, more: Values) -> object:
    """Read receipts with more fields."""
    files = MemoryState()
    files.files[f"{folder_of(BATCH)}001-00001.jsonl.gz"] = lines_file(version, {**RECEIPT.as_dict(), **more})
    unbound: list[Receipt] = []
    return [*read_receipts(files, BATCH, on_unbound=unbound.append), *unbound]


KINDS: Sequence[Callable[[Values, Values], object]] = (
    read_pointer,
    read_descriptor,
    read_index,
    read_manifest_file,
    read_batch,
    read_left_out_file,
    read_receipts_file,
)
KNOWN = {
    "format",
    "summary",
    *(name for kind in (POINTER, BATCH, INDEX) for name in kind.__struct_fields__),
    *(*OBJECT, "problem", "destination_etag", "start", "end", "block_bytes", "metadata_only", "reported"),
    *RECEIPT.as_dict(),
    "digest",
}
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
UNKNOWN_FIELDS = st.dictionaries(TEXTS.filter(lambda name: name not in KNOWN), JSON, min_size=1, max_size=3)
MINOR_VERSIONS = st.integers(0, 9_999).map(lambda minor: {"format": f"1.{minor}"})


@pytest.mark.parametrize("read", KINDS)
@given(more=UNKNOWN_FIELDS, version=MINOR_VERSIONS)
def test_unknown_fields_of_the_same_major_version_are_ignored(
    read: Callable[[Values, Values], object], more: Values, version: Values
) -> None:
    """A worker reads what the next minor version wrote as if its new fields were not there."""
    assert read(version, more) == read({"format": FORMAT}, {})


@pytest.mark.parametrize("read", KINDS)
@given(more=UNKNOWN_FIELDS)
def test_version_0_has_no_unknown_fields(read: Callable[[Values, Values], object], more: Values) -> None:
    """What has no version is read as before there was one: the same values, and nothing more."""
    assert read({}, {}) == read({"format": FORMAT}, {})
    with pytest.raises(CorruptState):
        read({}, more)


@pytest.mark.parametrize("read", KINDS)
@given(major=st.integers(0, 9_999).filter(lambda major: major != 1), minor=st.integers(0, 9_999), more=UNKNOWN_FIELDS)
def test_another_major_version_is_refused(
    read: Callable[[Values, Values], object], major: int, minor: int, more: Values
) -> None:
    """Its fields may mean something else: the error names both versions, says what to do, and no retry helps."""
    with pytest.raises(UnsupportedStateFormat) as caught:
        read({"format": f"{major}.{minor}"}, more)
    assert f"has format {major}.{minor}, and this version reads format {FORMAT}" in str(caught.value)
    assert "upgrade this worker" in str(caught.value)
    assert isinstance(caught.value, PermanentError)


@pytest.mark.parametrize("read", KINDS)
@pytest.mark.parametrize("found", ["", "1", "1.", ".0", "1.0.0", "v1.0", "1.0\n", "-1.0", "one", 1, 1.0, True, [], {}])
def test_what_is_not_a_version_is_corrupt_state(read: Callable[[Values, Values], object], found: object) -> None:
    """Only two numbers with a point between them are a version."""
    with pytest.raises(CorruptState):
        read({"format": found}, {})


@pytest.mark.parametrize("read", KINDS)
def test_a_missing_field_is_corrupt_state_in_every_version(read: Callable[[Values, Values], object]) -> None:
    """A value of the wrong type is refused whoever wrote it."""
    for version in ({}, {"format": "1.0"}, {"format": "1.9"}):
        with pytest.raises(CorruptState):
            read(version, {"size_bytes": "3", "objects": None, "token": 5, "index": 0.5})


def test_a_second_header_is_corrupt_state() -> None:
    """Two files put together are not one of ours."""
    files = MemoryState()
    chunk = lines_file({"format": FORMAT}, RECEIPT.as_dict())
    files.files[f"{folder_of(BATCH)}001-00001.jsonl.gz"] = chunk * 2
    with pytest.raises(CorruptState):
        list(read_receipts(files, BATCH))


def fill(source: MemorySource, destination: MemoryDestination) -> None:
    """Put there what was there when the files of version 0 were written."""
    objects = {
        "in/a": b"first",
        "in/b \u00fc\u2603": b"second",
        "in/changed": b"new",
        "in/folder/": b"",
        "in/giant": bytes(range(256)) * 4096 * 5,
        "in/refused.": b"x",
        "in/same": b"same",
    }
    for number, (key, data) in enumerate(objects.items()):
        version = source.put("bucket", key, data, last_modified=NOON + timedelta(seconds=number))
        if key == "in/same":
            copied = {
                "s3_etag": version.etag,
                "s3_verified_by": "crc64nvme",
                "s3_checksum": "crc64nvme:AAAAAAAAAAA=",
            }
            destination.write("out/same", data, metadata=copied)
    destination.write("out/changed", b"old", metadata={"s3_etag": "old"})


SETTINGS = PlanSettings(s3_prefix="in/", blob_prefix="out/", block_bytes=MIB, split_bytes=2 * MIB, max_tasks=5)


# As version 0 wrote it: without the object's own name.
OLD_RECORD = {"s3_verified_by": "crc64nvme", "s3_checksum": "crc64nvme:AAAAAAAAAAA="}


class OldRun:
    """A run that version 0 began: listed, planned, one part of the giant staged and the small objects copied."""

    def __init__(self) -> None:
        self.source, self.destination, self.files = MemorySource("bucket"), MemoryDestination(), MemoryState()
        fill(self.source, self.destination)
        for path in DATA.rglob("*"):
            if path.is_file():
                self.files.files[path.relative_to(DATA).as_posix()] = path.read_bytes()
        self.pointer = ManifestPointer.from_dict(json.loads(self.files.files.pop("pointer.json")))
        told = json.loads(self.files.files.pop("descriptors.json"))
        self.batches = [BatchDescriptor.from_dict(values) for values in told]
        self.night = Night(self.source, self.destination, self.files, "bucket", SETTINGS)

    def small_objects_are_copied(self) -> None:
        """Put there what the last batch's first try committed."""
        for listed in self.source.list("bucket", "in/"):
            if listed.key in ("in/a", "in/b \u00fc\u2603", "in/changed"):
                data = {"in/a": b"first", "in/changed": b"new"}.get(listed.key, b"second")
                self.destination.write(
                    f"out/{listed.key[3:]}",
                    data,
                    metadata=OLD_RECORD
                    | {"s3_etag": listed.etag, "s3_last_modified": f"{listed.last_modified:%Y-%m-%dT%H:%M:%S+00:00}"},
                )


def test_a_manifest_of_version_0_is_planned() -> None:
    """The plan task of this version goes on from the listing of the version before."""
    run = OldRun()
    plan = run.night.plan(run.pointer)
    assert [batch.kind for batch in plan.batches] == ["range"] * 3 + ["objects"]
    assert (plan.copy.objects, plan.unchanged.objects) == (4, 1)
    assert sorted([*plan.skipped, *plan.failed]) == ["folder_marker", "name_refused"]


def test_a_plan_of_version_0_is_the_runs_plan() -> None:
    """The index names the same batches as the descriptors that went through XCom."""
    run = OldRun()
    index = read_plan_index(run.files)
    assert index is not None
    assert index.batches == tuple(run.batches)
    assert (index.manifest, index.own_batches, index.mapped_names) == (run.pointer.token, 3, False)
    assert [(line.key, line.status) for line in read_left_out(run.files, index.token)] == [
        ("in/folder/", "skipped"),
        ("in/refused.", "failed"),
        ("in/same", "unchanged"),
    ]


def test_a_run_of_version_0_is_copied_and_reported() -> None:
    """Its batches are copied, what its receipts tell is not copied again, and everything is accounted for."""
    run = OldRun()
    run.small_objects_are_copied()
    done = []
    for batch in run.batches:
        with run.night.context() as context:
            summary = copy_batch(
                context, run.files, batch, bucket="bucket", s3_prefix="in/", blob_prefix="out/", try_number=2
            )
        done.append((summary.kind, summary.done_before, summary.staged, summary.failed))
    assert done == [("range", 0, 1, 0), ("range", 0, 1, 0), ("range", 0, 0, 0), ("objects", 3, 0, 0)]
    assert run.destination.blobs["out/giant"].data == bytes(range(256)) * 4096 * 5
    report = make_report(run.files, run.pointer)
    assert {status: report.total(status).objects for status in FINAL_STATUSES} == {
        "copied": 4,
        "unchanged": 1,
        "skipped": 1,
        "failed": 1,
    }


def test_receipts_of_version_0_count_in_the_report_if_their_blobs_are_there() -> None:
    """Its receipts are bound to no plan: the destination confirms a copy, and without it the object has failed."""
    run = OldRun()
    report = make_report(run.files, run.pointer, destination=run.destination)
    assert (report.total("copied").objects, report.total("failed").objects) == (0, 5)
    run.small_objects_are_copied()
    report = make_report(run.files, run.pointer, destination=run.destination)
    assert (report.total("copied").objects, report.total("failed").objects) == (3, 2)
    assert report.counts[("copied", "by_earlier_try")].objects == 3


def test_what_this_version_writes_has_its_format() -> None:
    """Each document, each file of lines and each batch says it first; the report's receipts are for other programs."""
    source, destination, files = MemorySource("bucket"), MemoryDestination(), MemoryState()
    fill(source, destination)
    night = Night(source, destination, files, "bucket", SETTINGS)
    pointer = night.make_manifest()
    plan, _, _ = night.run_from(pointer)
    header = b'{"format":"1.0"}\n'
    assert next(iter(pointer.as_dict().items())) == ("format", "1.0")
    assert files.files["plan.json"].startswith(b'{\n "format": "1.0",')
    chunks = [name for name in files.files if "/receipts/" in name]
    assert len(chunks) == len(plan.batches)
    for name in (pointer.name, left_out_name(plan.token), *chunks):
        assert gzip.decompress(files.files[name]).startswith(header)
    for batch in plan.batches:
        assert next(iter(batch.as_dict().items())) == ("format", "1.0")
        member = files.read(batches_name(plan.token), batch.offset, batch.offset + batch.length)
        assert gzip.decompress(member).startswith(header)
    assert gzip.decompress(files.files["receipts.jsonl.gz"]).startswith(b'{"bucket":"bucket"')
