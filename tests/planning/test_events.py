"""Messages of an event queue: each form is read, keys are decoded, and nothing that a message holds raises."""

import json
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from s3_to_azure.planning.events import (
    CREATED,
    DELETED,
    OTHER,
    OUTSIDE,
    RESTORED,
    TEST,
    Announcement,
    is_newer,
    read_message,
)
from s3_to_azure.state.announced import AnnouncedLine
from tests.fakes.event_queue import bridge_event, s3_event, through_sns

KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=200).filter(
    lambda key: len(key.encode()) <= 1_024
)


def read(message: object, *, prefix: str = "") -> Announcement:
    """Read a message, which is JSON if it is not a text."""
    body = message if isinstance(message, str) else json.dumps(message)
    return read_message(body, bucket="bucket", prefix=prefix)


@given(key=KEYS, is_wrapped=st.booleans(), is_bridge=st.booleans())
def test_any_key_comes_back_from_each_form(key: str, is_wrapped: bool, is_bridge: bool) -> None:
    """S3 encodes keys as a form does; EventBridge does not; SNS wraps either."""
    event = bridge_event(key, etag="e1", sequencer="0a") if is_bridge else s3_event(key, eTag="e1", sequencer="0a")
    found = read(through_sns(event) if is_wrapped else event)
    assert found == Announcement((AnnouncedLine(key, "e1", "0A"),), found.counts, ())
    assert found.counts == {CREATED: 1}


@pytest.mark.parametrize(
    ("encoded", "key"),
    [("a+b", "a b"), ("a%2Bb", "a+b"), ("%C3%BC%25", "ü%"), ("a%0Ab", "a\nb"), ("a%2Fb", "a/b")],
)
def test_keys_are_decoded_as_s3_encodes_them(encoded: str, key: str) -> None:
    """A plus sign is a space; what S3 sends for a plus sign is %2B."""
    event = s3_event("x")
    event["Records"][0]["s3"]["object"]["key"] = encoded
    assert [line.key for line in read(event).lines] == [key]


@pytest.mark.parametrize(
    ("message", "kind", "announces"),
    [
        (s3_event("k", name="ObjectCreated:CompleteMultipartUpload"), CREATED, True),
        (s3_event("k", name="s3:ObjectCreated:Put"), CREATED, True),
        (s3_event("k", name="ObjectRestore:Completed"), RESTORED, True),
        (s3_event("k", name="ObjectRestore:Post"), OTHER, False),
        (s3_event("k", name="ObjectRemoved:DeleteMarkerCreated"), DELETED, False),
        (s3_event("k", name="LifecycleExpiration:Delete"), DELETED, False),
        (s3_event("k", name="ObjectTagging:Put"), OTHER, False),
        (s3_event("k", name="SomethingNew:Put"), OTHER, False),
        (bridge_event("k", name="Object Deleted"), DELETED, False),
        (bridge_event("k", name="Object Restore Completed"), RESTORED, True),
        (bridge_event("k", name="Object Tags Added"), OTHER, False),
        ({"Service": "Amazon S3", "Event": "s3:TestEvent", "Bucket": "bucket"}, TEST, False),
        (through_sns({"Service": "Amazon S3", "Event": "s3:TestEvent"}), TEST, False),
    ],
)
def test_events_are_counted_by_kind(message: dict[str, Any], kind: str, announces: bool) -> None:
    """Only what can be copied announces a key; nothing of this is a problem."""
    found = read(message)
    assert found.counts == {kind: 1}
    assert bool(found.lines) is announces
    assert found.problems == ()


def test_an_event_outside_the_prefix_is_only_counted() -> None:
    """The queue may serve the whole bucket."""
    found = read(s3_event("other/k"), prefix="exports/")
    assert (found.lines, found.counts, found.problems) == ((), {OUTSIDE: 1}, ())


def test_a_bad_record_does_not_hide_the_good_ones() -> None:
    """Each record counts by itself."""
    message = s3_event("first")
    message["Records"] += s3_event("foreign", bucket="other")["Records"] + s3_event("last")["Records"]
    found = read(message)
    assert [line.key for line in found.lines] == ["first", "last"]
    assert found.problems == ("an event of another bucket",)


@pytest.mark.parametrize(
    "body",
    [
        "",
        "hello",
        "[]",
        "null",
        "{}",
        '{"Records": []}',
        '{"Records": [1]}',
        '{"Records": [{"eventSource": "aws:sqs", "eventName": "ObjectCreated:Put"}]}',
        '{"Records": [{"eventSource": "aws:s3", "eventName": "ObjectCreated:Put"}]}',
        '{"source": "aws.s3", "detail-type": "Object Created"}',
        '{"source": "aws.ec2", "detail-type": "Object Created", "detail": {}}',
        '{"Type": "Notification", "TopicArn": "t", "Message": "not JSON"}',
        '{"Type": "Notification", "TopicArn": "t"}',
        "[" * 100_000,
        json.dumps(s3_event("k", bucket="other")),
        json.dumps(s3_event("")),
        json.dumps(s3_event("k" * 1_025)),
        json.dumps(s3_event("x")).replace('"x"', '"%FF"'),
        json.dumps(s3_event("x")).replace('"x"', "7"),
        json.dumps(bridge_event("\ud800")),
        json.dumps(s3_event("k", pad="x" * (1 << 20))),
    ],
)
def test_what_is_not_an_event_is_a_problem_and_no_exception(body: str) -> None:
    """Unknown and foreign messages, invalid keys, bodies that are too long or too deep."""
    found = read(body)
    assert found.lines == ()
    assert found.problems


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=5,
)


@given(path=st.lists(st.integers(0, 5), min_size=1, max_size=5), value=JSON, is_bridge=st.booleans())
def test_any_value_anywhere_raises_nothing(path: list[int], value: object, is_bridge: bool) -> None:
    """Somebody else can write to the queue."""
    message: Any = bridge_event("k", sequencer="1", etag="e") if is_bridge else s3_event("k", sequencer="1", eTag="e")
    place, name = message, next(iter(message))
    for step in path:
        names = list(place) if isinstance(place, dict) else list(range(len(place))) if isinstance(place, list) else []
        if not names:
            break
        name = names[step % len(names)]
        inner = place[name]
        if not isinstance(inner, (dict, list)):
            break
        if step == path[-1]:
            break
        place = inner
    if isinstance(place, (dict, list)) and (isinstance(place, dict) or isinstance(name, int)):
        place[name] = value
    found = read(message)
    assert all(0 < len(line.key.encode()) <= 1_024 for line in found.lines)
    assert found.lines or found.counts or found.problems


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("0055AED6DCD90281E5", "0055AED6DCD90281E4", True),
        ("0055AED6DCD90281E4", "0055AED6DCD90281E5", False),
        ("1", "0F", True),  # 10 and 0F: filled on the right
        ("A", "A0", True),
        ("A0", "A1", False),
        ("", "F", True),
        ("F", "", True),
    ],
)
def test_sequencers_are_filled_with_zeros_on_the_right(one: str, other: str, expected: bool) -> None:
    """AWS's rule for sequencers of different lengths; without one, what comes later counts."""
    assert is_newer(AnnouncedLine("k", sequencer=one), AnnouncedLine("k", sequencer=other)) is expected


@given(st.lists(st.text("0123456789ABCDEF", min_size=1, max_size=18), min_size=1, max_size=8), st.integers())
def test_the_newest_does_not_depend_on_the_order(sequencers: list[str], seed: int) -> None:
    """Of the same events in any order, the same sequencer wins, but for zeros at its end."""

    def newest(order: list[str]) -> str:
        found = AnnouncedLine("k", sequencer=order[0])
        for sequencer in order[1:]:
            line = AnnouncedLine("k", sequencer=sequencer)
            found = line if is_newer(line, found) else found
        return found.sequencer.rstrip("0")

    shuffled = sequencers.copy()
    Random(seed).shuffle(shuffled)
    assert newest(sequencers) == newest(shuffled)
