"""Planning: each object is decided from both listings and written once, correctly in any order of the destination."""

import json
import random
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from s3_to_azure.model.errors import AccessDenied, BudgetTooSmall, Cancelled, TransferError, UsageError
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.limits import MIB, TIB
from s3_to_azure.model.objects import Amount, BlobState, Condition, ListedObject
from s3_to_azure.model.options import Archived
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.planning.key_list import look_up
from s3_to_azure.planning.plan import Plan, Requests, preview
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.batch_slice import BatchSlice
from s3_to_azure.state.entries import PlanEntry
from s3_to_azure.state.manifest import ManifestPointer, write_manifest
from s3_to_azure.state.plan import LeftOut, read_left_out, read_plan_index
from s3_to_azure.transfer.blocks import StagedBlock, fingerprint
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import EPOCH, MemorySource
from tests.fakes.state_memory import MemoryState

KEYS = st.lists(st.text(alphabet="ab-/é𝄞", min_size=1, max_size=3), unique=True, max_size=25)


class ShuffledDestination(MemoryDestination):
    """A destination that lists in its own order, as an account with a hierarchical namespace may."""

    seed: int | None = None
    heads = 0

    def list(self, prefix: str) -> Iterator[BlobState]:
        """List, shuffled if there is a seed."""
        found = [*super().list(prefix)]
        if self.seed is not None:
            random.Random(self.seed).shuffle(found)
        return iter(found)

    def head(self, blob: str) -> BlobState | None:
        """Count the lookup, and look."""
        self.heads += 1
        return super().head(blob)


class Stores:
    """A source, a destination and state files, with a method to plan."""

    def __init__(self) -> None:
        self.source = MemorySource("bucket")
        self.destination = ShuffledDestination()
        self.files = MemoryState()

    def object(self, key: str, data: bytes = b"data", **options: Any) -> ListedObject:
        """Put an object."""
        self.source.put("bucket", key, data, **options)
        return self.source.listed("bucket", key)

    def copy_of(self, blob: str, listed: ListedObject, data: bytes = b"data", **changes: str) -> str:
        """Write a blob whose metadata says that it is a copy of the object."""
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
def stores() -> Stores:
    """Return empty stores."""
    return Stores()


def test_each_object_gets_its_decision(stores: Stores) -> None:
    """Absent, same, older, newer, unknown and page blobs lead to the decisions of the table in ``decide``."""
    listed = {name: stores.object(f"in/{name}") for name in ("absent", "newer", "older", "page", "same", "unknown")}
    old = (EPOCH - timedelta(days=1)).isoformat()
    young = (EPOCH + timedelta(days=1)).isoformat()
    stores.copy_of("out/same", listed["same"], s3_verified_by="crc64nvme", s3_checksum="crc64nvme:AAA=")
    older = stores.copy_of("out/older", listed["older"], s3_etag="before", s3_last_modified=old)
    newer = stores.copy_of("out/newer", listed["newer"], s3_etag="after", s3_last_modified=young)
    unknown = stores.destination.write("out/unknown", b"?")
    stores.destination.write("out/page", b"?", blob_type="PageBlob")
    stores.destination.write("out/stranger", b"?")
    plan = stores.plan(s3_prefix="in/", blob_prefix="out/")
    conditions = {entry.listed: entry.condition for entry in stores.entries(plan, "in/", "out/")}
    assert conditions == {
        listed["absent"]: Condition(None),
        listed["older"]: Condition(older),
        listed["newer"]: Condition(newer),
        listed["unknown"]: Condition(unknown),
    }
    left_out = stores.left_out(plan)
    assert {key: (item.status, item.reason) for key, item in left_out.items()} == {
        "in/same": ("unchanged", ""),
        "in/page": ("failed", "wrong_blob_type"),
    }
    assert left_out["in/same"].verified_by == "crc64nvme"
    assert (plan.listed, plan.copy, plan.unchanged) == (Amount(6, 24), Amount(4, 16), Amount(1, 4))
    assert (plan.skipped, plan.failed) == ({}, {"wrong_blob_type": Amount(1, 4)})
    assert plan.only_in_destination == 1
    assert stores.destination.heads == 0


def test_names_and_filters_leave_objects_out_with_a_reason(stores: Stores) -> None:
    """Objects that are filtered, have a refused name or would be copied into the state folder are counted by reason."""
    for key in ("a/ok", "a/../b", "a/dot.", "a/folder/", "_s3_to_azure/x/plan.json", "skip.tmp"):
        stores.object(key, b"" if key.endswith("folder/") else b"data")
    stores.object("a/full/", b"data")
    plan = stores.plan(filters=Filters(exclude=("*.tmp",)))
    reasons = {key: (item.status, item.reason.partition(":")[0]) for key, item in stores.left_out(plan).items()}
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
    lenient = stores.plan(refused_names="skip")
    assert lenient.skipped["name_refused"] == Amount(3, 12)
    assert not lenient.failed


def test_the_plan_names_mapped_objects(stores: Stores) -> None:
    """Objects that get another blob name are counted and named before anything is copied."""
    for key in ("a/ok", "a/../b", "a/dot.", "a/full/"):
        stores.object(key, b"data")
    plan = stores.plan(refused_names="map")
    assert (plan.mapped, plan.failed) == (2, {"name_refused": Amount(1, 4)})
    assert plan.mapped_names == (("a/dot.", "a/dot~2E"), ("a/full/", "a/full~2F"))
    assert plan.summary()["mapped"] == 2
    assert preview(plan, rate_bytes_s=1)["mapped_names"] == dict(plan.mapped_names)
    assert any("2 objects with a name that Azure refuses, copied" in warning for warning in plan.warnings)


def test_a_mapped_object_that_is_copied_already_is_unchanged(stores: Stores) -> None:
    """A listing does not show a mapped name where the join looks for it, so a request does."""
    stores.copy_of("a/dot~2E", stores.object("a/dot."))
    plan = stores.plan(refused_names="map")
    assert (plan.unchanged.objects, plan.copy.objects, plan.planning.azure_read) == (1, 0, 1)


@pytest.mark.parametrize(
    ("archived", "says"),
    [("fail", "fails unless the object is restored"), ("skip", "skipped"), ("restore", "a later run copies them")],
)
def test_the_plan_warns_of_archived_objects(archived: Archived, says: str, stores: Stores) -> None:
    """The warning says what the chosen policy does with objects in an archive storage class."""
    listed = ListedObject("bucket", "a", "e", 4, EPOCH, "GLACIER")
    pointer = write_manifest([listed], stores.files, bucket="bucket", prefix="")
    plan = make_plan(
        stores.files, pointer, stores.destination, PlanSettings(s3_prefix="", blob_prefix="", archived=archived)
    )
    assert plan.archived == 1
    assert says in plan.warnings[0]


def test_no_copy_is_planned_into_the_state_folder(stores: Stores) -> None:
    """A blob prefix in the state folder is refused, and a key that completes the folder's name is left out."""
    for prefix in ("_s3_to_azure", "_s3_to_azure/", "_s3_to_azure/x"):
        with pytest.raises(UsageError):
            PlanSettings(s3_prefix="", blob_prefix=prefix)
    stores.object("_azure/dag/run/plan.json")
    plan = stores.plan(blob_prefix="_s3_to")
    assert plan.skipped == {"reserved_name": Amount(1, 4)}


def test_a_list_of_keys_names_nothing_into_the_state_folder(stores: Stores) -> None:
    """No listing leaves these keys out: the list may hold any."""
    for key in ("_s3_to_azure/dag/run/plan.json", "a"):
        stores.object(key)
    retrier = Retrier(RetryBudget(), threading.Event())
    found = look_up(["_s3_to_azure/dag/run/plan.json", "a"], stores.source, retrier, bucket="bucket", at_once=1)
    pointer = write_manifest(found, stores.files, bucket="bucket", prefix="", looked_up=True)
    plan = make_plan(stores.files, pointer, stores.destination, PlanSettings(s3_prefix="", blob_prefix=""))
    assert (plan.copy, plan.skipped) == (Amount(1, 4), {"reserved_name": Amount(1, 4)})


def test_a_second_run_only_lists(stores: Stores) -> None:
    """Unchanged objects cost no request of their own, and no batch is made."""
    for number in range(50):
        stores.copy_of(f"{number:03}", stores.object(f"{number:03}"))
    plan = stores.plan()
    assert plan.batches == ()
    index = read_plan_index(stores.files)
    assert index is not None
    assert (index.batches, index.own_batches) == ((), 0)
    assert plan.unchanged.objects == 50
    assert plan.planning == Requests(s3_list=1, azure_list=1)
    assert plan.copying == Requests()
    assert stores.destination.heads == 0


@pytest.mark.parametrize("days", [3, -3], ids=["written again", "rolled back"])
def test_rewritten_bytes_update_metadata_only(stores: Stores, days: int) -> None:
    """The same bytes of another time may have other metadata, which a listing does not show: a task checks it."""
    before = stores.object("a")
    etag = stores.copy_of("a", before)
    stores.object("a", last_modified=EPOCH + timedelta(days=days))
    plan = stores.plan()
    assert (plan.unchanged.objects, plan.rewritten, plan.copy) == (0, 1, Amount(1, 0))
    assert plan.copying == Requests(s3_get=1, azure_read=2, azure_write=2)
    assert "metadata and headers of their blobs are updated" in plan.warnings[0]
    entry = stores.entries(plan)[0]
    assert (entry.listed.key, entry.metadata_only, entry.condition) == ("a", True, Condition(etag))
    assert stores.plan(overwrite="never").unchanged.objects == 1


@settings(max_examples=150)
@given(
    keys=KEYS,
    there=KEYS,
    seed=st.one_of(st.none(), st.integers(0, 99)),
    ordered=st.booleans(),
    overwrite=st.sampled_from(["if_changed", "never", "always"]),
    max_tasks=st.sampled_from([1, 2, 500]),
)
def test_no_condition_is_wrong_in_any_order(
    keys: list[str], there: list[str], seed: int | None, ordered: bool, overwrite: str, max_tasks: int
) -> None:
    """A planned condition is the blob's true state, or left to the copy; each object is in the plan exactly once."""
    stores = Stores()
    stores.destination.seed = seed
    listed = {key: stores.object(key) for key in keys}
    for number, name in enumerate(there):
        if name in listed and number % 2:
            stores.copy_of(name, listed[name])
        else:
            stores.destination.write(name, b"?")
    plan = stores.plan(ordered=ordered, overwrite=overwrite, max_tasks=max_tasks, batch_bytes=1)
    assert len(plan.batches) <= max_tasks
    entries = stores.entries(plan)
    for entry in entries:
        blob = stores.destination.blobs.get(entry.listed.key)
        assert entry.condition in (None, Condition(blob.etag if blob else None))
        assert entry.condition is not None or not plan.joined
    left_out = stores.left_out(plan)
    for item in left_out.values():
        assert item.key in there or item.status != "unchanged"
    assert sorted([*(entry.listed.key for entry in entries), *left_out]) == sorted(keys)
    if plan.joined:
        assert plan.only_in_destination == len(set(there) - set(keys))


@pytest.mark.parametrize("sizes", [[5], [5, 5], [5, 1, 0], [0]])
def test_one_task_gets_the_objects_that_several_would_get(stores: Stores, sizes: list[int]) -> None:
    """A plan for one task is made in one pass, with the same entries and counts as in two passes."""
    for number, size in enumerate(sizes):
        stores.object(f"k{number}", b"x" * size)
    stores.object("k/")
    one, several = stores.plan(max_tasks=1, batch_bytes=1), stores.plan(max_tasks=2, batch_bytes=1 << 40)
    assert stores.entries(one) == stores.entries(several)
    assert [(batch.objects, batch.size_bytes) for batch in one.batches] == [(len(sizes), sum(sizes))]
    assert (one.copy, one.copying, one.failed) == (several.copy, several.copying, several.failed)


@pytest.mark.parametrize(("sizes", "own"), [([5], 1), ([5, 5], 0)])
def test_the_index_says_whether_the_only_batch_holds_one_object(stores: Stores, sizes: list[int], own: int) -> None:
    """The report needs to know which batches belong to one object alone, in plans of one pass too."""
    for number, size in enumerate(sizes):
        stores.object(f"k{number}", b"x" * size)
    stores.plan(max_tasks=1, batch_bytes=1)
    index = read_plan_index(stores.files)
    assert index is not None
    assert index.own_batches == own


def test_a_giant_is_split_under_one_condition(stores: Stores) -> None:
    """Parts share block size and condition; the blob is looked up by a request even if listings cannot be joined."""
    stores.object("giant", bytes(9 * MIB))
    stores.object("small")
    etag = stores.destination.write("giant", b"old")
    plan = stores.plan(ordered=False, split_bytes=3 * MIB, block_bytes=MIB)
    entries = [entry for entry in stores.entries(plan) if entry.within]
    assert not plan.joined
    assert [(entry.within.start, entry.within.end) for entry in entries if entry.within] == [
        (0, 3 * MIB),
        (3 * MIB, 6 * MIB),
        (6 * MIB, 9 * MIB),
    ]
    assert {entry.condition for entry in entries} == {Condition(etag)}
    assert {entry.block_bytes for entry in entries} == {MIB}
    assert [batch.kind for batch in plan.batches] == ["range"] * 3 + ["objects"]


def test_parts_that_azure_fetches_have_its_block_size(stores: Stores) -> None:
    """The tasks of all parts share one layout, so the plan chooses it for the way of the bytes."""
    stores.object("giant", bytes(130 * MIB))
    options: dict[str, Any] = {"split_bytes": 64 * MIB, "batch_bytes": 64 * MIB}
    streamed, fetched = stores.plan(**options), stores.plan(**options, via="auto")
    assert {entry.block_bytes for entry in stores.entries(streamed)} == {8 * MIB}
    assert {entry.block_bytes for entry in stores.entries(fetched)} == {64 * MIB}
    # 3 blocks: as many notes, and the list; against 17 blocks and the list.
    assert (fetched.copying.azure_write, fetched.all_streamed.azure_write) == (7, 18)
    assert fetched.all_streamed == streamed.copying
    assert fetched.azure_writes_saved == 11


def test_the_way_of_the_bytes_changes_no_decision(stores: Stores) -> None:
    """The same objects are copied, in the same batches; what is left out has no way."""
    for number in range(5):
        stores.object(f"{number}", bytes(MIB * number))
    stores.copy_of("4", stores.source.listed("bucket", "4"), bytes(4 * MIB))
    plans = [stores.plan(block_bytes=MIB, via=via) for via in ("worker", "auto", "azure")]
    assert [plan.copy.objects for plan in plans] == [4, 4, 4]
    assert [[batch.objects for batch in plan.batches] for plan in plans] == 3 * [[4]]
    assert [plan.fetched for plan in plans] == [Amount(), Amount(2, 5 * MIB), Amount(3, 6 * MIB)]
    assert [dict(plan.not_fetched) for plan in plans] == [{}, {"one_request": Amount(1, MIB)}, {}]
    assert all(plan.copying.azure_read >= 0 for plan in plans)


def test_a_giant_that_is_not_in_azure_is_split_in_any_order(stores: Stores) -> None:
    """A request has shown that there is no blob, so the parts commit under that condition."""
    stores.object("giant", bytes(9 * MIB))
    stores.object("small")
    plan = stores.plan(ordered=False, split_bytes=3 * MIB, block_bytes=MIB)
    assert {entry.condition for entry in stores.entries(plan) if entry.within} == {Condition(None)}
    assert [batch.kind for batch in plan.batches] == ["range"] * 3 + ["objects"]


def test_a_layout_below_1_mib_is_not_adopted(stores: Stores) -> None:
    """No task would accept such a plan, however much of the object is staged that way."""
    listed = stores.object("giant", bytes(9 * MIB))
    for start in range(0, 8 * MIB, MIB // 2):
        staged = StagedBlock(start, start + MIB // 2, 0, bytes(16), fingerprint(listed))
        stores.destination.stage_foreign("giant", staged.block_id.encode(), bytes(MIB // 2))
    plan = stores.plan(split_bytes=3 * MIB, block_bytes=MIB)
    assert {entry.block_bytes for entry in stores.entries(plan)} == {MIB}


def test_a_giant_keeps_the_layout_of_its_staged_blocks(stores: Stores) -> None:
    """The block size that an earlier run used is adopted, so that its staged blocks are not sent again."""
    listed = stores.object("giant", bytes(9 * MIB))
    for start in (0, 2 * MIB):
        staged = StagedBlock(start, start + 2 * MIB, 0, bytes(16), fingerprint(listed))
        stores.destination.stage_foreign("giant", staged.block_id.encode(), bytes(2 * MIB))
    plan = stores.plan(split_bytes=3 * MIB, block_bytes=MIB)
    assert {entry.block_bytes for entry in stores.entries(plan)} == {2 * MIB}


@pytest.mark.parametrize(
    ("part_mib", "parts", "staged_mib", "usual_mib", "adopted_mib"),
    [
        (4, 3, 3, 1, 3),  # as many bytes lie where blocks of 1 MiB begin as where blocks of 3 MiB do
        (1.5, 2, 1, 2, 1),  # the same with blocks of 0.5 MiB, which no plan can name
        (40, 1, 40, 1, 1),  # beyond the memory budget
    ],
)
def test_a_plan_throws_no_staged_part_away(
    stores: Stores, part_mib: float, parts: int, staged_mib: int, usual_mib: int, adopted_mib: int
) -> None:
    """Blocks along an object's parts begin anywhere, and the last of each part is short: most bytes decide."""
    part_bytes = int(part_mib * MIB)
    listed = stores.object("giant", bytes(part_bytes * parts))
    for begin in range(0, part_bytes * parts, part_bytes):
        for start in range(begin, begin + part_bytes, staged_mib * MIB):
            size_bytes = min(staged_mib * MIB, begin + part_bytes - start)
            block = StagedBlock(start, start + size_bytes, 0, bytes(16), fingerprint(listed))
            stores.destination.stage_foreign("giant", block.block_id.encode(), bytes(size_bytes))
    plan = stores.plan(split_bytes=MIB, batch_bytes=MIB, block_bytes=usual_mib * MIB, memory_budget_bytes=32 * MIB)
    assert {entry.block_bytes for entry in stores.entries(plan)} == {adopted_mib * MIB}


def test_a_giant_that_is_copied_already_is_unchanged(stores: Stores) -> None:
    """The blob of a giant is found by its own lookup where the listings cannot be joined."""
    stores.copy_of("giant", stores.object("giant", bytes(4 * MIB)), bytes(4 * MIB))
    stores.object("small")
    plan = stores.plan(ordered=False, split_bytes=2 * MIB)
    assert (plan.copy.objects, plan.unchanged.objects, stores.destination.heads) == (1, 1, 1)


def test_a_budget_too_small_fails_the_plan(stores: Stores) -> None:
    """An object whose blocks exceed the memory budget fails the plan, before anything is copied."""
    huge = ListedObject("bucket", "huge", "etag", 40 * TIB, EPOCH)
    pointer = write_manifest([huge], stores.files, bucket="bucket", prefix="")
    with pytest.raises(BudgetTooSmall):
        make_plan(stores.files, pointer, stores.destination, PlanSettings(s3_prefix="", blob_prefix=""))


def test_an_identity_that_may_not_delete_plans_too(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the file between the two passes stays; a stop is a stop."""
    stores.object("a")
    error: TransferError = AccessDenied(service="Azure", resource="state", code="403", cure="Grant it.")

    def refuse(_name: str) -> None:
        raise error

    monkeypatch.setattr(stores.files, "delete", refuse)
    assert stores.plan(max_tasks=2).copy.objects == 1
    error = Cancelled.now()
    with pytest.raises(Cancelled):
        stores.plan(max_tasks=2)


def test_plan_json_names_the_complete_plan(stores: Stores) -> None:
    """plan.json holds the token and the batches, and the file between the passes is deleted."""
    stores.object("a")
    plan = stores.plan()
    index = read_plan_index(stores.files)
    assert index is not None
    assert (index.token, index.batches, index.own_batches) == (plan.token, plan.batches, 0)
    assert not [name for name in stores.files.files if "decisions" in name]


def test_a_plan_counts_its_requests_and_reads_no_object(stores: Stores) -> None:
    """One listing of each side, and one GET and one Put Blob for the copy of a small object; no object is opened."""
    stores.object("a", bytes(3_000_000))
    plan = stores.plan()
    assert plan.planning.plus(plan.copying) == Requests(s3_list=1, s3_get=1, azure_list=1, azure_write=1)
    assert stores.source.opened == []


@pytest.mark.parametrize(("days", "warns"), [(1, False), (8, False), (10, True)])
def test_a_plan_tells_the_age_of_its_inventory(stores: Stores, days: int, *, warns: bool) -> None:
    """It counts no request for a listing, and knows of no blob whose object is gone."""
    stores.copy_of("k", stores.object("k"))
    stores.copy_of("gone", ListedObject("bucket", "gone", "e", 1, datetime(2026, 1, 1, tzinfo=UTC)))
    files = MemoryState()
    pointer = write_manifest(
        stores.source.list("bucket", ""),
        files,
        bucket="bucket",
        prefix="",
        inventoried_at=datetime.now(UTC) - timedelta(days=days, hours=2),
    )
    pointer = ManifestPointer.from_dict(json.loads(json.dumps(pointer.as_dict())))
    plan = make_plan(files, pointer, stores.destination, PlanSettings(s3_prefix="", blob_prefix=""))
    assert f"Listed:    1 object (4 bytes), by an inventory {days} d 2 h old" in list(plan.lines())
    assert (plan.planning.s3_list, plan.only_in_destination) == (0, None)
    assert plan.summary()["inventory_age_s"] == pytest.approx((24 * days + 2) * 3_600, abs=600)
    assert any("look whether its configuration is still enabled" in text for text in plan.warnings) is warns
