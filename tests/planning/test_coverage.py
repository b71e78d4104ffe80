"""The part of the destination that a run is about."""

import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from s3_to_azure.model.errors import NameRefused, ServerFailed
from s3_to_azure.model.filters import Filters
from s3_to_azure.model.names import STATE_FOLDER, map_blob
from s3_to_azure.model.objects import BlobState, ListedObject
from s3_to_azure.model.record import LAST_MODIFIED, SOURCE, source_id
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.planning.coverage import Coverage, name_check, reason_to_skip, refused_name
from s3_to_azure.planning.plan import Plan
from s3_to_azure.planning.planner import make_plan
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.state.manifest import ManifestPointer, write_manifest
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState

BUCKET = "bucket"
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def pointer(prefix: str = "in/", *, looked_up: bool = False) -> ManifestPointer:
    """Return the pointer of an empty listing."""
    return write_manifest([], MemoryState(), bucket=BUCKET, prefix=prefix, looked_up=looked_up)


def settings(**changes: Any) -> PlanSettings:
    """Return the settings of a migration from in/ to out/."""
    return PlanSettings(**({"s3_prefix": "in/", "blob_prefix": "out/"} | changes))


def blob(name: str, **metadata: str) -> BlobState:
    """Return a blob of four bytes."""
    return BlobState(name, "etag", 4, "BlockBlob", metadata)


@pytest.mark.parametrize(
    ("of_run", "of_blobs"),
    [("in/", "out/"), ("in/2026/", "out/2026/"), ("in/20", "out/20"), ("", "out/"), ("x/", "out/")],
)
def test_run_covers_the_blobs_of_its_own_prefix(of_run: str, of_blobs: str) -> None:
    """A run may be given a narrower prefix than its migration's, and then it is about fewer blobs."""
    assert Coverage(pointer(of_run), settings()).prefix == of_blobs


@pytest.mark.parametrize(
    ("filters", "covered"),
    [
        (Filters(), True),
        (Filters(include=("in/*.csv",)), True),
        (Filters(include=("*.txt",)), False),
        (Filters(include=("out/*",)), False),
        (Filters(exclude=("*/a.*",)), False),
        (Filters(min_size_bytes=4, max_size_bytes=4), True),
        (Filters(min_size_bytes=5), False),
        (Filters(max_size_bytes=3), False),
        (Filters(modified_after=NOON - timedelta(seconds=1)), True),
        (Filters(modified_after=NOON), False),
        (Filters(modified_before=NOON), False),
    ],
)
def test_filters_apply_to_the_object_that_is_gone(filters: Filters, covered: bool) -> None:
    """Its key is that of the name; its size and its date are those of its copy."""
    gone = blob("out/a.csv", **{LAST_MODIFIED: NOON.isoformat()})
    assert Coverage(pointer(), settings(filters=filters)).includes(gone) == covered


@pytest.mark.parametrize("filters", [Filters(modified_after=NOON), Filters(modified_before=NOON)])
def test_blob_without_a_date_is_not_covered_by_a_filter_of_dates(filters: Filters) -> None:
    """It may be of any time."""
    assert not Coverage(pointer(), settings(filters=filters)).includes(blob("out/a"))
    assert Coverage(pointer(), settings()).includes(blob("out/a"))


def test_copy_of_an_object_elsewhere_is_not_covered() -> None:
    """Another migration wrote it into the same names."""
    found = Coverage(pointer(), settings())
    assert found.includes(blob("out/a", **{SOURCE: source_id(BUCKET, "in/a")}))
    assert not found.includes(blob("out/a", **{SOURCE: source_id("other", "in/a")}))
    assert not found.includes(blob("out/a", **{SOURCE: source_id(BUCKET, "elsewhere/a")}))


def test_mapped_name_stands_for_its_key() -> None:
    """The patterns are those of keys."""
    chosen = settings(refused_names="map", filters=Filters(include=("in/bad.",)))
    assert Coverage(pointer(), chosen).includes(blob(map_blob("out/bad.")))


@pytest.mark.parametrize(
    ("looked_up", "filters", "known"),
    [
        (False, Filters(), True),
        (False, Filters(include=("*",), min_size_bytes=1), True),
        (True, Filters(), False),
        (False, Filters(storage_classes=("STANDARD",)), False),
    ],
)
def test_what_no_blob_shows_is_not_known(looked_up: bool, filters: Filters, known: bool) -> None:
    """Neither a list of keys nor a storage class can be told from a blob."""
    assert Coverage(pointer(looked_up=looked_up), settings(filters=filters)).is_known == known


def plan(destination: MemoryDestination, of_run: str, *keys: str, looked_up: bool = False, **changes: Any) -> Plan:
    """Plan a run with this prefix over a bucket that holds these keys."""
    source, files = MemorySource(BUCKET), MemoryState()
    for key in keys:
        source.put(BUCKET, key, b"data")
    listing = source.list(BUCKET, of_run)
    made = write_manifest(listing, files, bucket=BUCKET, prefix=of_run, looked_up=looked_up)
    return make_plan(files, made, destination, settings(**changes))


@pytest.fixture
def destination() -> MemoryDestination:
    """Return a container with four blobs below out/ and one beside it."""
    made = MemoryDestination("container")
    for name in ("out/2025/a", "out/2026/a", "out/2026/b.tmp", "out/2026/gone", "other"):
        made.write(name, b"data")
    return made


@pytest.mark.parametrize(
    ("of_run", "changes", "only_there"),
    [
        ("in/", {}, 3),
        ("in/2026/", {}, 2),
        ("in/2026/", {"filters": Filters(exclude=("*.tmp",))}, 1),
        ("in/2026/", {"filters": Filters(include=("*/a",))}, 0),
        ("in/2026/", {"filters": Filters(storage_classes=("STANDARD",))}, None),
        ("in/2026/", {"looked_up": True}, None),
    ],
)
def test_plan_counts_only_what_the_run_covers(
    destination: MemoryDestination, of_run: str, changes: dict[str, Any], only_there: int | None
) -> None:
    """Blobs of other prefixes, and those that the filters leave out, are not reported as gone from S3."""
    assert plan(destination, of_run, "in/2026/a", **changes).only_in_destination == only_there


def test_filtered_object_is_not_gone_from_s3(destination: MemoryDestination) -> None:
    """It is listed, so its blob has an object."""
    found = plan(destination, "in/2026/", "in/2026/a", "in/2026/b.tmp", filters=Filters(exclude=("*.tmp",)))
    assert found.only_in_destination == 1


def test_mapped_blob_outside_of_the_listed_prefix_is_not_subtracted(destination: MemoryDestination) -> None:
    """A prefix that Azure refuses is mapped too, so the blobs of its objects are found by requests of their own."""
    destination.write(map_blob("out/2026./a"), b"data")
    assert plan(destination, "in/2026./", "in/2026./a", refused_names="map").only_in_destination == 0


def test_only_the_runs_prefix_is_listed(destination: MemoryDestination) -> None:
    """A narrow run costs no listing of the whole destination."""
    assert plan(destination, "in/2025/", "in/2025/a").planning.azure_list == 1
    listed: list[str] = []
    list_all = destination.list
    destination.list = lambda prefix: listed.append(prefix) or list_all(prefix)  # type: ignore[method-assign, func-returns-value]
    plan(destination, "in/2025/", "in/2025/a")
    assert listed == ["out/2025/"]


@pytest.mark.parametrize(
    ("key", "size_bytes", "blob", "filters", "reason"),
    [
        ("in/a", 1, "out/a", None, None),
        ("in/a", 1, "out/a", Filters(exclude=("*a",)), "excluded"),
        ("in/d/", 0, "out/d/", None, "folder_marker"),
        ("in/d/", 1, "out/d/", None, None),
        ("in/a", 1, f"{STATE_FOLDER}/a", None, "reserved_name"),
        ("in/d/", 0, f"{STATE_FOLDER}/d/", Filters(exclude=("*d/",)), "excluded"),
    ],
)
def test_reason_to_skip(key: str, size_bytes: int, blob: str, filters: Filters | None, reason: str | None) -> None:
    """The user's own filter is the first reason."""
    assert reason_to_skip(ListedObject("bucket", key, "e", size_bytes, NOON), blob, filters) == reason


def test_refused_name() -> None:
    """The key's own problem, or the container's."""

    def check(blob: str) -> None:
        if blob.endswith("."):
            raise NameRefused(name=blob, detail="it ends in a dot")

    assert refused_name("in/a", "out/a", check) is None
    assert refused_name("in/a.", "out/a.", check) == "name_refused: it ends in a dot"
    assert str(refused_name("in/../a", "out/a", check)).startswith("name_refused: ")


@pytest.mark.parametrize(("failures", "calls"), [(0, 1), (1, 2)])
def test_name_check_is_repeated_after_a_temporary_failure(failures: int, calls: int) -> None:
    """The loop is entered only then."""
    checked: list[str] = []

    class Destination(MemoryDestination):
        def check_name(self, blob: str) -> str:
            checked.append(blob)
            if len(checked) <= failures:
                raise ServerFailed(service="Azure", resource="account", code="InternalError", status=500)
            return blob

    name_check(Destination(), Retrier(RetryBudget(first_wait_s=0.0, longest_wait_s=0.0), threading.Event()))("a")
    assert checked == ["a"] * calls
