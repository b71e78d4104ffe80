"""The way of a message: received, written, deleted; whatever ends it in between, no announced key is lost."""

import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.model.errors import AccessDenied, ConnectionFailed, CorruptState
from s3_to_azure.model.retry import Retrier
from s3_to_azure.runs import drain as drain_module
from s3_to_azure.runs.drain import MAX_MESSAGES, Drained, WakeUps, drain
from s3_to_azure.state.announced import AnnouncedKeys
from s3_to_azure.state.lines import lines
from tests.fakes.event_queue import MemoryQueue, bridge_event, s3_event
from tests.fakes.state_memory import MemoryState
from tests.runs.nights import QUICK
from tests.state.test_announced import DyingState, Killed

EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
LOST = ConnectionFailed(service="Amazon SQS", resource="queue", detail="reset")
DENIED = AccessDenied(service="Amazon SQS", resource="queue", code="403", cure="Grant it.")


def drained(queue: MemoryQueue, files: MemoryState, *, prefix: str = "") -> Drained:
    """Take one batch from the queue."""
    retrier = Retrier(QUICK, threading.Event())
    return drain(queue, AnnouncedKeys(files), retrier, bucket="bucket", prefix=prefix, wait_s=0)


def announced_keys(files: MemoryState) -> list[str]:
    """Return all keys that wait."""
    return [line.key for line in AnnouncedKeys(files).since(EPOCH)]


def test_messages_become_one_batch_and_are_deleted() -> None:
    """Each key once, with its newest version, whatever the order; the counts tell of all events."""
    queue, files = MemoryQueue(), MemoryState()
    queue.send(
        s3_event("a", eTag="new", sequencer="0B"),
        s3_event("a", eTag="old", sequencer="0A"),
        bridge_event("b", etag="e"),
        s3_event("gone", name="ObjectRemoved:Delete"),
        {"Service": "Amazon S3", "Event": "s3:TestEvent"},
    )
    found = drained(queue, files)
    assert [(line.key, line.etag) for line in AnnouncedKeys(files).since(EPOCH)] == [("a", "new"), ("b", "e")]
    assert found.counts == {"created": 3, "deleted": 1, "test": 1}
    assert (found.keys, found.messages, found.left) == (2, 5, 0)
    assert queue.visible == []
    assert not queue.hidden


def test_a_deletion_does_not_hide_an_object() -> None:
    """Where there are versions, an old one may have been deleted: S3 is asked whether the object exists."""
    queue, files = MemoryQueue(), MemoryState()
    queue.send(s3_event("a", sequencer="0A"), s3_event("a", name="ObjectRemoved:Delete", sequencer="0B", versionId="1"))
    drained(queue, files)
    assert announced_keys(files) == ["a"]


def test_a_message_that_is_no_event_is_noted_and_deleted() -> None:
    """It stops nothing, and whoever looks finds its beginning."""
    queue, files = MemoryQueue(), MemoryState()
    queue.send("poison" * 1_000, s3_event("a"), s3_event("b", bucket="other"), "\ud800")
    found = drained(queue, files)
    assert found.refused == 3
    assert announced_keys(files) == ["a"]
    assert not queue.hidden
    note = next(name for name in files.files if name.startswith("refused/"))
    noted = list(lines([files.files[note]], path=note))
    assert len(noted) == 4  # with the header
    assert b'"beginning":"poisonpoison' in noted[1]
    assert len(noted[1]) < 3_000


@pytest.mark.parametrize("requests", range(4))
def test_a_process_that_is_killed_loses_no_key(requests: int) -> None:
    """After the messages show again, every key waits, whichever request was the last."""
    queue, files = MemoryQueue(seed=1), DyingState()
    queue.send(*(s3_event(f"{number:03}") for number in range(35)), "poison")
    files.left = requests
    try:
        drained(queue, files)
    except Killed:
        assert requests < 2
    files.left = None
    queue.show_again()
    drained(queue, files)
    assert set(announced_keys(files)) == {f"{number:03}" for number in range(35)}
    assert not queue.hidden
    assert queue.visible == []


@pytest.mark.parametrize("call", ["receive", "delete"])
def test_a_process_that_is_killed_at_the_queue_loses_no_key(call: str) -> None:
    """Between receive, write and delete."""
    queue, files = MemoryQueue(), MemoryState()
    queue.send(s3_event("a"))
    queue.fails[call] = KeyboardInterrupt()  # type: ignore[assignment]  # as little expected as a signal
    with pytest.raises(KeyboardInterrupt):
        drained(queue, files)
    queue.fails.clear()
    queue.show_again()
    drained(queue, files)
    assert "a" in announced_keys(files)
    assert not queue.hidden


def test_a_queue_that_is_away_for_the_deletion_delivers_again() -> None:
    """That is harmless, so it fails nothing; a permission that is missing does."""
    queue, files = MemoryQueue(), MemoryState()
    queue.send(s3_event("a"))
    queue.fails["delete"] = LOST
    assert drained(queue, files).left == 1
    queue.show_again()
    queue.fails["delete"] = DENIED
    with pytest.raises(AccessDenied):
        drained(queue, files)
    assert set(announced_keys(files)) == {"a"}


def test_a_queue_that_is_away_raises() -> None:
    """The caller waits and tries again."""
    queue = MemoryQueue()
    queue.fails["receive"] = LOST
    with pytest.raises(ConnectionFailed):
        drained(queue, MemoryState())
    assert len(queue.calls) == QUICK.attempts


def test_a_state_container_that_is_away_keeps_the_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is deleted that is not written."""
    queue, files = MemoryQueue(), MemoryState()
    queue.send(s3_event("a"))

    def refuse(*_: object, **__: object) -> None:
        raise CorruptState(path="state", detail="it is away")

    monkeypatch.setattr(files, "write", refuse)
    with pytest.raises(CorruptState):
        drained(queue, files)
    assert len(queue.hidden) == 1
    assert "delete" not in queue.calls


def test_a_burst_is_taken_in_full_batches() -> None:
    """Thousands of messages: each batch is bounded, and ten messages come and go with each request."""
    queue, files = MemoryQueue(seed=2), MemoryState()
    queue.send(*(s3_event(f"{number:05}") for number in range(3_000)))
    rounds = []
    while queue.visible:
        rounds.append(drained(queue, files))
    assert len(rounds) == 3_000 // MAX_MESSAGES
    assert all(found.is_full for found in rounds)
    assert sum(found.requests for found in rounds) == 600
    assert len(set(announced_keys(files))) == 3_000


def test_a_batch_ends_in_time_though_messages_keep_coming() -> None:
    """Otherwise the first ones would be delivered again before they are written."""
    queue, files = MemoryQueue(), MemoryState()
    queue.send(*(s3_event(f"{number:03}") for number in range(200)))
    clock = iter(range(0, 1_000, 10))
    found = drain(
        queue,
        AnnouncedKeys(files),
        Retrier(QUICK, threading.Event()),
        bucket="bucket",
        prefix="",
        wait_s=0,
        clock=lambda: float(next(clock)),
    )
    assert 0 < found.messages < 200
    assert len(queue.visible) + found.messages == 200


@given(events=st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 255)), max_size=40), seed=st.integers(0, 99))
def test_the_newest_version_of_each_key_is_kept(events: list[tuple[str, int]], seed: int) -> None:
    """Whatever the order, and however often a message comes."""
    queue, files = MemoryQueue(seed), MemoryState()
    for key, number in events:
        message = s3_event(key, eTag=f"{number}", sequencer=f"{number:04X}")
        queue.send(*[message] * (1 + number % 2))
    drained(queue, files)
    newest = {key: max(number for its, number in events if its == key) for key, _ in events}
    found = {line.key: line.etag for line in AnnouncedKeys(files).since(EPOCH - timedelta(days=1))}
    assert found == {key: f"{number}" for key, number in newest.items()}


def test_one_run_is_started_at_a_time() -> None:
    """It takes all that waits; what came after it had looked starts the next one."""
    now = [0.0]
    wake = WakeUps(lambda: now[0])
    assert not wake.is_due([])
    assert wake.is_due(["a"])
    assert not wake.is_due(["a"])
    assert not wake.is_due(["a", "b"])
    # A run has taken a.
    assert wake.is_due(["b"])
    assert not wake.is_due(["b"])
    assert not wake.is_due([])
    assert wake.is_due(["c"])


def test_a_start_that_nobody_followed_is_repeated_ever_more_rarely() -> None:
    """The DAG may be paused, or a long run in the way."""
    now = [0.0]
    wake = WakeUps(lambda: now[0])
    started = []
    for minute in range(600):
        now[0] = minute * 60.0
        if wake.is_due(["a"]):
            started.append(minute)
    assert started[:5] == [0, 5, 15, 35, 75]
    assert {later - earlier for earlier, later in pairwise(started[5:])} == {60}


def test_messages_with_many_keys_end_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message may have thousands of records: memory and the file of a batch stay small, and nothing is lost."""
    monkeypatch.setattr(drain_module, "MAX_KEYS", 50)
    queue, files = MemoryQueue(), MemoryState()
    records = [[s3_event(f"{message:02}/{number}")["Records"][0] for number in range(20)] for message in range(30)]
    queue.send(*({"Records": some} for some in records))
    rounds = [drained(queue, files)]
    while rounds[-1].is_full:
        rounds.append(drained(queue, files))
    assert max(found.keys for found in rounds) < 50 + 10 * 20
    assert len(set(announced_keys(files))) == 600
