"""The plan: each object decided from both listings, written once, and right whatever the destination's order."""

import random
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3_to_azure.model.errors import BudgetTooSmall, UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import MIB, TIB
from s3_to_azure.model.objects import BlobState, Condition, ListedObject
from s3_to_azure.model.options import Archived
from s3_to_azure.planning.plan import Amount, Plan, Requests, preview
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch_slice import BatchSlice
from s3_to_azure.state.manifest import write_manifest
from s3_to_azure.state.plan import LeftOut, PlanEntry, read_left_out, read_plan_index
from s3_to_azure.transfer.blocks import StagedBlock, fingerprint
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH, MemorySource
from tests.fakes.state_memory import MemoryState

KEYS = st.lists(st.text(alphabet="ab-/é𝄞", min_size=1, max_size=3), unique=True, max_size=25)


class ShuffledDestination(MemoryDestination):
    """Lists in an order of its own, as an account with a hierarchical namespace may."""

    seed: int | None = None
    heads = 0

    def list(self, prefix: str) -> Iterator[BlobState]:
        """List shuffled."""
        found = [*super().list(prefix)]
        if self.seed is not None:
            random.Random(self.seed).shuffle(found)
        return iter(found)

    def head(self, blob: str) -> BlobState | None:
        """Count."""
        self.heads += 1
        return super().head(blob)


class Stage:
    """A source, a destination and state, with a way to plan."""

    def __init__(self) -> None:
        """Begin empty."""
        self.source = MemorySource("bucket")
        self.destination = ShuffledDestination()
        self.files = MemoryState()

    def object(self, key: str, data: bytes = b"data", **options: Any) -> ListedObject:
        """Put an object."""
        self.source.put("bucket", key, data, **options)
        return self.source.listed("bucket", key)

    def copy_of(self, blob: str, listed: ListedObject, data: bytes = b"data", **changes: str) -> str:
        """Write a blob that says it is a copy of the object."""
        metadata = {"s3_etag": listed.etag, "s3_last_modified": listed.last_modified.isoformat()} | changes
        return self.destination.write(blob, data, metadata=metadata)

    def plan(self, *, ordered: bool = True, **options: Any) -> Plan:
        """List and plan."""
        chosen = PlanSettings(**({"s3_prefix": "", "blob_prefix": ""} | options))
        listing = [*self.source.list("bucket", chosen.s3_prefix)]
        pointer = write_manifest(
            listing if ordered else reversed(listing), self.files, bucket="bucket", prefix=chosen.s3_prefix
        )
        return make_plan(self.files, pointer, self.destination, chosen)

    def entries(self, plan: Plan, s3_prefix: str = "", blob_prefix: str = "") -> list[PlanEntry]:
        """Return all entries of all batches."""
        slices = (
            BatchSlice(self.files, batch, bucket="bucket", s3_prefix=s3_prefix, blob_prefix=blob_prefix)
            for batch in plan.batches
        )
        return [entry for piece in slices for entry in piece.entries()]

    def left_out(self, plan: Plan) -> dict[str, LeftOut]:
        """Return what the plan left out, by key."""
        return {item.key: item for item in read_left_out(self.files, plan.token)}


@pytest.fixture
def stage() -> Stage:
    """Return an empty stage."""
    return Stage()


def test_each_object_gets_its_decision(stage: Stage) -> None:
    """Absent, same, older, newer, unknown and no block blob: each ends where the table of decisions says."""
    listed = {name: stage.object(f"in/{name}") for name in ("absent", "newer", "older", "page", "same", "unknown")}
    old = (EPOCH - timedelta(days=1)).isoformat()
    young = (EPOCH + timedelta(days=1)).isoformat()
    stage.copy_of("out/same", listed["same"], s3_verified_by="crc64nvme", s3_checksum="crc64nvme:AAA=")
    older = stage.copy_of("out/older", listed["older"], s3_etag="before", s3_last_modified=old)
    stage.copy_of("out/newer", listed["newer"], s3_etag="after", s3_last_modified=young)
    unknown = stage.destination.write("out/unknown", b"?")
    stage.destination.write("out/page", b"?", blob_type="PageBlob")
    stage.destination.write("out/stranger", b"?")
    plan = stage.plan(s3_prefix="in/", blob_prefix="out/")
    conditions = {entry.listed: entry.condition for entry in stage.entries(plan, "in/", "out/")}
    assert conditions == {
        listed["absent"]: Condition(None),
        listed["older"]: Condition(older),
        listed["unknown"]: Condition(unknown),
    }
    left_out = stage.left_out(plan)
    assert {key: (item.status, item.reason) for key, item in left_out.items()} == {
        "in/same": ("unchanged", ""),
        "in/newer": ("skipped", "destination_newer"),
        "in/page": ("failed", "wrong_blob_type"),
    }
    assert left_out["in/same"].verified_by == "crc64nvme"
    assert (plan.listed, plan.copy, plan.unchanged) == (Amount(6, 24), Amount(3, 12), Amount(1, 4))
    assert (plan.skipped, plan.failed) == ({"destination_newer": Amount(1, 4)}, {"wrong_blob_type": Amount(1, 4)})
    assert plan.only_in_destination == 1
    assert stage.destination.heads == 0


def test_names_and_filters_leave_out_with_a_reason(stage: Stage) -> None:
    """What is filtered, cannot be named or would land among the state is counted by reason."""
    for key in ("a/ok", "a/../b", "a/dot.", "a/folder/", "_s3_to_azure/x/plan.json", "skip.tmp"):
        stage.object(key, b"" if key.endswith("folder/") else b"data")
    stage.object("a/full/", b"data")
    plan = stage.plan(filters=Filters(exclude=("*.tmp",)))
    reasons = {key: (item.status, item.reason.partition(":")[0]) for key, item in stage.left_out(plan).items()}
    assert reasons == {
        "a/../b": ("failed", "name_refused"),
        "a/dot.": ("failed", "name_refused"),
        "a/full/": ("failed", "name_refused"),
        "a/folder/": ("skipped", "folder_marker"),
        "_s3_to_azure/x/plan.json": ("skipped", "reserved_name"),
        "skip.tmp": ("skipped", "excluded"),
    }
    assert plan.refused_names == ("a/../b", "a/dot.", "a/full/")
    assert "3 objects with a name that Azure refuses" in plan.warnings[0]
    lenient = stage.plan(refused_names="skip")
    assert lenient.skipped["name_refused"] == Amount(3, 12)
    assert not lenient.failed


def test_the_plan_tells_of_mapped_names(stage: Stage) -> None:
    """Which objects get a blob of another name, and of which, can be read before anything moves."""
    for key in ("a/ok", "a/../b", "a/dot.", "a/full/"):
        stage.object(key, b"data")
    plan = stage.plan(refused_names="map")
    assert (plan.mapped, plan.failed) == (2, {"name_refused": Amount(1, 4)})
    assert plan.mapped_names == (("a/dot.", "a/dot~2E"), ("a/full/", "a/full~2F"))
    assert plan.summary()["mapped"] == 2
    assert preview(plan, rate_bytes_s=1)["mapped_names"] == dict(plan.mapped_names)
    assert any("2 objects with a name that Azure refuses, copied" in warning for warning in plan.warnings)


@pytest.mark.parametrize(
    ("archived", "says"),
    [("fail", "restore them in S3 first"), ("skip", "skipped"), ("restore", "a later run copies them")],
)
def test_the_plan_tells_of_archived_objects(archived: Archived, says: str, stage: Stage) -> None:
    """What becomes of objects in an archive depends on what was chosen, and so does the sentence."""
    listed = ListedObject("bucket", "a", "e", 4, EPOCH, "GLACIER")
    pointer = write_manifest([listed], stage.files, bucket="bucket", prefix="")
    plan = make_plan(
        stage.files, pointer, stage.destination, PlanSettings(s3_prefix="", blob_prefix="", archived=archived)
    )
    assert plan.archived == 1
    assert says in plan.warnings[0]


def test_no_copy_is_planned_into_the_state(stage: Stage) -> None:
    """A blob prefix among the state is refused; a key that would complete the folder's name is left out."""
    for prefix in ("_s3_to_azure", "_s3_to_azure/", "_s3_to_azure/x"):
        with pytest.raises(UsageError):
            PlanSettings(s3_prefix="", blob_prefix=prefix)
    stage.object("_azure/dag/run/plan.json")
    plan = stage.plan(blob_prefix="_s3_to")
    assert plan.skipped == {"reserved_name": Amount(1, 4)}


def test_a_second_night_asks_for_nothing_but_listings(stage: Stage) -> None:
    """Unchanged objects cost no request of their own, and no batch is made."""
    for number in range(50):
        stage.copy_of(f"{number:03}", stage.object(f"{number:03}"))
    plan = stage.plan()
    assert plan.batches == ()
    assert plan.unchanged.objects == 50
    assert plan.planning == Requests(s3_list=1, azure_list=1)
    assert plan.copying == Requests()
    assert stage.destination.heads == 0


def test_rewritten_bytes_are_updated_only(stage: Stage) -> None:
    """The same bytes written again may have other metadata; a listing cannot tell, so the copy looks, without bytes."""
    before = stage.object("a")
    etag = stage.copy_of("a", before)
    stage.object("a", last_modified=EPOCH + timedelta(days=3))
    plan = stage.plan()
    assert (plan.unchanged.objects, plan.rewritten, plan.copy) == (0, 1, Amount(1, 0))
    assert plan.copying == Requests(s3_get=1, azure_read=2, azure_write=2)
    assert "metadata and headers of their blobs are updated" in plan.warnings[0]
    entry = stage.entries(plan)[0]
    assert (entry.listed.key, entry.metadata_only, entry.condition) == ("a", True, Condition(etag))
    assert stage.plan(overwrite="never").unchanged.objects == 1


@settings(max_examples=150)
@given(
    keys=KEYS,
    there=KEYS,
    seed=st.one_of(st.none(), st.integers(0, 99)),
    ordered=st.booleans(),
    overwrite=st.sampled_from(["if_changed", "never", "always"]),
    max_tasks=st.sampled_from([1, 2, 500]),
)
def test_whatever_the_orders_no_condition_is_wrong(
    keys: list[str], there: list[str], seed: int | None, ordered: bool, overwrite: str, max_tasks: int
) -> None:
    """A planned state is the true one, or left to the copy; each object is planned or left out exactly once."""
    stage = Stage()
    stage.destination.seed = seed
    listed = {key: stage.object(key) for key in keys}
    for number, name in enumerate(there):
        if name in listed and number % 2:
            stage.copy_of(name, listed[name])
        else:
            stage.destination.write(name, b"?")
    plan = stage.plan(ordered=ordered, overwrite=overwrite, max_tasks=max_tasks, batch_bytes=1)
    assert len(plan.batches) <= max_tasks
    entries = stage.entries(plan)
    for entry in entries:
        blob = stage.destination.blobs.get(entry.listed.key)
        assert entry.condition in (None, Condition(blob.etag if blob else None))
        assert entry.condition is not None or not plan.joined
    left_out = stage.left_out(plan)
    for item in left_out.values():
        assert item.key in there or item.status != "unchanged"
    assert sorted([*(entry.listed.key for entry in entries), *left_out]) == sorted(keys)
    if plan.joined:
        assert plan.only_in_destination == len(set(there) - set(keys))


@pytest.mark.parametrize("sizes", [[5], [5, 5], [5, 1, 0], [0]])
def test_one_task_gets_what_several_would_get(stage: Stage, sizes: list[int]) -> None:
    """Its batch is written in one pass; what it holds, and the counts of the plan, are those of two passes."""
    for number, size in enumerate(sizes):
        stage.object(f"k{number}", b"x" * size)
    stage.object("k/")
    one, several = stage.plan(max_tasks=1, batch_bytes=1), stage.plan(max_tasks=2, batch_bytes=1 << 40)
    assert stage.entries(one) == stage.entries(several)
    assert [(batch.objects, batch.size_bytes) for batch in one.batches] == [(len(sizes), sum(sizes))]
    assert (one.copy, one.copying, one.failed) == (several.copy, several.copying, several.failed)


@pytest.mark.parametrize(("sizes", "own"), [([5], 1), ([5, 5], 0)])
def test_one_task_and_one_object(stage: Stage, sizes: list[int], own: int) -> None:
    """The report is told which batches belong to one object, whichever way they were written."""
    for number, size in enumerate(sizes):
        stage.object(f"k{number}", b"x" * size)
    stage.plan(max_tasks=1, batch_bytes=1)
    index = read_plan_index(stage.files)
    assert index is not None
    assert index.own_batches == own


def test_a_giant_is_split_under_one_condition(stage: Stage) -> None:
    """Parts share block size and condition, looked up by a request of its own even where listings cannot be joined."""
    stage.object("giant", bytes(9 * MIB))
    stage.object("small")
    etag = stage.destination.write("giant", b"old")
    plan = stage.plan(ordered=False, split_bytes=3 * MIB, block_bytes=MIB)
    entries = [entry for entry in stage.entries(plan) if entry.within]
    assert not plan.joined
    assert [(entry.within.start, entry.within.end) for entry in entries if entry.within] == [
        (0, 3 * MIB),
        (3 * MIB, 6 * MIB),
        (6 * MIB, 9 * MIB),
    ]
    assert {entry.condition for entry in entries} == {Condition(etag)}
    assert {entry.block_bytes for entry in entries} == {MIB}
    assert [batch.kind for batch in plan.batches] == ["range"] * 3 + ["objects"]


def test_a_giant_keeps_the_layout_that_is_staged(stage: Stage) -> None:
    """What an earlier run staged in other blocks is adopted, so that nothing of it is sent again."""
    listed = stage.object("giant", bytes(9 * MIB))
    for start in (0, 2 * MIB):
        staged = StagedBlock(start, start + 2 * MIB, 0, bytes(16), fingerprint(listed))
        stage.destination.stage_foreign("giant", staged.block_id.encode(), bytes(2 * MIB))
    plan = stage.plan(split_bytes=3 * MIB, block_bytes=MIB)
    assert {entry.block_bytes for entry in stage.entries(plan)} == {2 * MIB}


def test_a_giant_is_copied_once_where_the_copy_is_there(stage: Stage) -> None:
    """A giant that the unordered listing did not show is found by its own look."""
    stage.copy_of("giant", stage.object("giant", bytes(4 * MIB)), bytes(4 * MIB))
    stage.object("small")
    plan = stage.plan(ordered=False, split_bytes=2 * MIB)
    assert (plan.copy.objects, plan.unchanged.objects, stage.destination.heads) == (1, 1, 1)


def test_a_budget_too_small_is_told_before_anything_is_copied(stage: Stage) -> None:
    """An object whose blocks exceed the memory budget fails the plan, not its copy at three in the morning."""
    huge = ListedObject("bucket", "huge", "etag", 40 * TIB, EPOCH)
    pointer = write_manifest([huge], stage.files, bucket="bucket", prefix="")
    with pytest.raises(BudgetTooSmall):
        make_plan(stage.files, pointer, stage.destination, PlanSettings(s3_prefix="", blob_prefix=""))


def test_the_plan_is_the_runs_when_it_is_whole(stage: Stage) -> None:
    """plan.json names the plan last, and lists its batches; the file between the passes is gone."""
    stage.object("a")
    plan = stage.plan()
    index = read_plan_index(stage.files)
    assert index is not None
    assert (index.token, index.batches, index.own_batches) == (plan.token, plan.batches, 0)
    assert not [name for name in stage.files.files if "decisions" in name]


def test_a_plan_counts_its_requests_and_reads_no_object(stage: Stage) -> None:
    """One listing of each side, and one GET and one Put Blob for the copy of a small object; no object is opened."""
    stage.object("a", bytes(3_000_000))
    plan = stage.plan()
    assert plan.planning.plus(plan.copying) == Requests(s3_list=1, s3_get=1, azure_list=1, azure_write=1)
    assert stage.source.opened == []
