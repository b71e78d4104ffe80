"""Announced objects as a listing, and what no event announced; a history of both leaves Azure equal to S3."""

import threading
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from s3_to_azure.model.objects import ListedObject, Receipt
from s3_to_azure.model.retry import Retrier
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs import announced as module
from s3_to_azure.runs.announced import GRACE, AnnouncedObjects, Missed, MissedByEvents
from s3_to_azure.runs.drain import drain
from s3_to_azure.runs.report import make_report
from s3_to_azure.state.announced import AnnouncedKeys, AnnouncedLine
from s3_to_azure.state.manifest import ManifestPointer, write_manifest
from tests.fakes.event_queue import MemoryQueue, bridge_event, s3_event
from tests.fakes.memory_destination import MemoryDestination
from tests.fakes.memory_source import MemorySource
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import QUICK, CountingDestination, Night

BEGAN = datetime(2026, 3, 2, 2, tzinfo=UTC)
PREVIOUS = BEGAN - timedelta(days=1)


def objects(lines: Iterable[AnnouncedLine], source: MemorySource, prefix: str = "") -> AnnouncedObjects:
    """Look up what was announced."""
    retrier = Retrier(QUICK, threading.Event())
    return AnnouncedObjects(lines, source, retrier, bucket="bucket", prefix=prefix, at_once=4)


def test_each_announced_object_is_looked_up_once() -> None:
    """In the order of the keys; what is gone is counted, and what is outside the prefix left out."""
    source = MemorySource("bucket")
    for key in ("in/b", "in/a\n", "out"):
        source.put("bucket", key, b"abc")
    lines = [AnnouncedLine(key) for key in ("in/b", "in/gone", "in/a\n", "in/b", "out")]
    found = objects(lines, source, "in/")
    assert [(listed.key, listed.size_bytes) for listed in found] == [("in/a\n", 3), ("in/b", 3)]
    assert found.gone == 1


def missed(
    *candidates: tuple[ListedObject, Receipt], batches: Iterable[AnnouncedLine] = (), at: datetime = BEGAN
) -> Missed:
    """Return what was missed of these, with a batch that was written at a time."""
    announced = AnnouncedKeys(MemoryState())
    announced.add(batches, at)
    found = MissedByEvents(announced, began=BEGAN, previous=PREVIOUS)
    for listed, receipt in candidates:
        found.add_copied(listed, receipt)
    return found.result()


def candidate(key: str = "k", *, ago: timedelta = timedelta(hours=5), **changes: Any) -> tuple[ListedObject, Receipt]:
    """Return an object that was uploaded a time before the listing, and the receipt of its copy."""
    listed = ListedObject("bucket", key, "etag", 3, BEGAN - ago)
    receipt = Receipt("bucket", key, "etag", 3, "container", key, "copied", verified_by="crc64nvme")
    return listed, replace(receipt, **changes)


def test_what_was_copied_and_not_announced_is_missed() -> None:
    """With its key, so that somebody can look for its event."""
    found = missed(candidate("a"), candidate("b"), batches=[AnnouncedLine("b", "etag")])
    assert found == Missed(1, ("a",))
    assert "1 object by events; first: 'a'" in found.text()
    assert found.summary() == {"objects": 1, "unchecked": 0, "first": ["a"]}


def test_an_event_of_another_version_announces_nothing() -> None:
    """The event of the overwrite is the one that is missing."""
    assert missed(candidate("a"), batches=[AnnouncedLine("a", "older")]).objects == 1


def test_what_cannot_be_told_is_not_counted() -> None:
    """Neither what is too young or older than the last listing, nor what was not copied, or was overwritten since."""
    found = missed(
        candidate("young", ago=GRACE - timedelta(seconds=1)),
        candidate("old", ago=timedelta(days=1, seconds=1)),
        candidate("unchanged", status="unchanged"),
        candidate("failed", status="failed"),
        candidate("newer", etag="newer"),
    )
    assert found.objects == 0
    assert "every object" in found.text()


def test_batches_from_before_the_period_do_not_count() -> None:
    """The same bytes were announced, copied and deleted a week ago."""
    batches = [AnnouncedLine("a", "etag")]
    assert missed(candidate("a"), batches=batches, at=PREVIOUS - timedelta(hours=2)).objects == 1
    assert missed(candidate("a"), batches=batches, at=PREVIOUS).objects == 0


def test_memory_is_bounded_if_no_event_came_at_all(monkeypatch: Any) -> None:
    """The rest is counted and not looked up, and the report says so."""
    monkeypatch.setattr(module, "_MAX_CANDIDATES", 2)
    monkeypatch.setattr(module, "_MAX_LOOK_UPS", 1)
    found = missed(*(candidate(f"{number}") for number in range(5)), batches=[AnnouncedLine("0", "etag")])
    assert (found.objects, found.unchecked) == (1, 3)
    assert "and 3 more were not looked up" in found.text()


def test_more_objects_than_fit_are_looked_up_in_turns(monkeypatch: Any) -> None:
    """Each against all batches, so that nothing announced counts, whichever turn it is in."""
    monkeypatch.setattr(module, "_MAX_CANDIDATES", 2)
    batches = [AnnouncedLine(f"{number}", "etag") for number in (0, 3, 4)]
    found = missed(*(candidate(f"{number}") for number in range(7)), batches=batches)
    assert found == Missed(4, ("1", "2", "5", "6"))


def test_the_report_tells_what_was_missed() -> None:
    """For a person, and in its summary."""
    source, files = MemorySource("bucket"), MemoryState()
    source.put("bucket", "a", b"abc")
    night = Night(source, MemoryDestination(), files, "bucket")
    pointer = night.make_manifest()
    plan = night.plan(pointer)
    night.copy(plan, 0)
    uploaded, hours = source.listed("bucket", "a").last_modified, timedelta(hours=5)
    found = MissedByEvents(AnnouncedKeys(MemoryState()), began=uploaded + hours, previous=uploaded - hours)
    report = make_report(files, pointer, missed=found)
    assert report.summary()["missed_by_events"] == {"objects": 1, "unchecked": 0, "first": ["a"]}
    assert any(line.startswith("Missed: ") for line in report.lines())
    assert "missed_by_events" not in make_report(files, pointer).summary()


class World:
    """A bucket whose events go to a queue, which loses, repeats and reorders them; and a migration that reads both."""

    def __init__(self, seed: int) -> None:
        self.source = MemorySource("bucket")
        self.destination = MemoryDestination()
        self.counted = CountingDestination(self.destination)
        self.queue = MemoryQueue(seed)
        self.announced = AnnouncedKeys(MemoryState())
        self.expected: dict[str, bytes] = {}
        self.bytes_put = self.runs = self._numbers = 0

    def put(self, key: str, times: int) -> None:
        """Upload a new version; its event comes this often."""
        self._numbers += 1
        body = f"{key}{self._numbers}".encode()
        self.expected[key] = body
        self.bytes_put += len(body)
        version = self.source.put("bucket", key, body)
        make, etag = (s3_event, "eTag") if self._numbers % 2 else (bridge_event, "etag")
        event = make(key, sequencer=f"{self._numbers:06X}", **{etag: version.etag})
        self.queue.send(*[event] * times)

    def delete(self, key: str) -> None:
        """Delete the object."""
        self._numbers += 1
        if self.expected.pop(key, None) is not None:
            self.source.delete("bucket", key)
        self.queue.send(s3_event(key, name="ObjectRemoved:Delete", sequencer=f"{self._numbers:06X}"))

    def copy_announced(self) -> None:
        """Read the queue, and run the migration with what waits."""
        self.queue.show_again()
        retrier = Retrier(QUICK, threading.Event())
        drain(self.queue, self.announced, retrier, bucket="bucket", prefix="", wait_s=0)
        self.runs += 1
        run, now = f"run-{self.runs}", datetime.now(UTC)
        if self.announced.take(run, is_over=lambda _: False, now=now):
            found = objects(self.announced.lines(run), self.source)
            self._run(lambda files: write_manifest(found, files, bucket="bucket", prefix="", looked_up=True))
            self.announced.settle(run, now=now)

    def list_all(self) -> None:
        """Run the nightly migration."""
        listing = self.source.list("bucket", "")
        self._run(lambda files: write_manifest(listing, files, bucket="bucket", prefix=""))

    def _run(self, make: Any) -> None:
        files = MemoryState()
        night = Night(self.source, self.counted, files, "bucket", PlanSettings(s3_prefix="", blob_prefix=""))
        pointer: ManifestPointer = make(files)
        plan = night.plan(pointer)
        for batch in plan.batches:
            night.copy(plan, batch.index)
        report = make_report(files, pointer)
        assert not report.failed

    def contents(self) -> dict[str, bytes]:
        """Return the blobs' bytes."""
        return {name: self.destination.blobs[name].data for name in self.destination.blobs}


KEYS = st.sampled_from(["a", "b/c", "d e+ü"])
STEPS = st.one_of(
    st.tuples(st.just("put"), KEYS, st.sampled_from([0, 1, 1, 1, 2])),
    st.tuples(st.just("delete"), KEYS, st.just(0)),
    st.tuples(st.just("run"), st.just(""), st.just(0)),
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(STEPS, min_size=1, max_size=12), seed=st.integers(0, 1_000))
def test_any_history_and_one_listing_leave_azure_equal_to_s3(steps: list[tuple[str, str, int]], seed: int) -> None:
    """PUTs, overwrites, deletions, lost, repeated and reordered events; no version is copied twice."""
    world = World(seed)
    for act, key, times in steps:
        if act == "put":
            world.put(key, times)
        elif act == "delete":
            world.delete(key)
        else:
            world.copy_announced()
    world.copy_announced()
    world.list_all()
    blobs = world.contents()
    assert {key: blobs.get(key) for key in world.expected} == world.expected
    sent = world.counted.bytes_sent
    assert sent <= world.bytes_put
    world.queue.show_again()
    world.copy_announced()
    world.list_all()
    assert world.counted.bytes_sent == sent
