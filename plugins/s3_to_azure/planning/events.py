"""What a message of an event queue announces: S3's own notifications and EventBridge's events, also through SNS.

A message is read without trust: it only names keys, which are looked up in S3 before anything is copied. The forms:
https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html and
https://docs.aws.amazon.com/AmazonS3/latest/userguide/ev-events.html.
"""

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import unquote_plus

from s3_to_azure.model.limits import MAX_KEY_BYTES, MIB
from s3_to_azure.state.announced import AnnouncedLine

CREATED: Final = "created"
RESTORED: Final = "restored"
DELETED: Final = "deleted"
TEST: Final = "test"
OTHER: Final = "other"
OUTSIDE: Final = "outside"
"""The kinds of events that are counted; ``OUTSIDE`` is any event of a key that is not below the prefix."""

ANNOUNCING: Final = (CREATED, RESTORED)
"""The kinds after which an object can be copied."""

_MAX_BODY_CHARACTERS: Final = 1 * MIB  # SQS takes no more bytes
_MAX_FIELD_CHARACTERS: Final = 256
_SEQUENCER: Final = re.compile(r"[0-9A-Fa-f]{1,64}")
_SERVICE: Final = re.compile(r"[a-z0-9.-]{1,30}:s3")
_KINDS: Final[Mapping[str, str]] = {
    "ObjectCreated": CREATED,
    "ObjectRestore:Completed": RESTORED,
    "ObjectRemoved": DELETED,
    "LifecycleExpiration": DELETED,
    "Object Created": CREATED,
    "Object Restore Completed": RESTORED,
    "Object Deleted": DELETED,
}


class NotAnEvent(ValueError):
    """The message, or a part of it, is no event of this bucket; the text says why, without any of its content."""


@dataclass(frozen=True, slots=True)
class Announcement:
    """What one message says.

    Attributes:
        lines: The objects that can be copied, as far as the message knows.
        counts: Its events by kind.
        problems: What of it cannot be used, each in a few words.
    """

    lines: tuple[AnnouncedLine, ...] = ()
    counts: Counter[str] = field(default_factory=Counter)
    problems: tuple[str, ...] = ()


def read_message(body: str, *, bucket: str, prefix: str) -> Announcement:
    """Read a message; what cannot be used of it becomes a problem, and never an exception.

    Args:
        body: The message.
        bucket: The only bucket whose events count.
        prefix: The prefix that keys must have.
    """
    lines: list[AnnouncedLine] = []
    counts: Counter[str] = Counter()
    problems: list[str] = []
    try:
        for kind, named in _events(body):
            try:
                line = _line(named, bucket) if named is not None else None
            except NotAnEvent as error:
                problems.append(str(error))
                continue
            if line is not None and not line.key.startswith(prefix):
                counts[OUTSIDE] += 1
                continue
            counts[kind] += 1
            if line is not None and kind in ANNOUNCING:
                lines.append(line)
    except NotAnEvent as error:
        problems.append(str(error))
    return Announcement(tuple(lines), counts, tuple(problems))


def is_newer(one: AnnouncedLine, other: AnnouncedLine) -> bool:
    """Return whether an event came later than another of the same key; of events that cannot be compared, it did.

    The shorter sequencer is filled with zeros on the right: https://repost.aws/knowledge-center/s3-duplicate-sqs-messages.
    """
    if not (one.sequencer and other.sequencer):
        return True
    width = max(len(one.sequencer), len(other.sequencer))
    return one.sequencer.ljust(width, "0") >= other.sequencer.ljust(width, "0")


def _events(body: str) -> Iterator[tuple[str, "_Named | None"]]:
    """Yield the kind of each event with what it names; a test event names nothing.

    Raises:
        NotAnEvent: The message is none of the known forms.
    """
    message = _parsed(body)
    if message.get("Type") == "Notification" and "TopicArn" in message:
        # SNS, without raw message delivery.
        message = _parsed(message.get("Message"))
    if message.get("Event") == "s3:TestEvent":
        yield TEST, None
    elif message.get("source") == "aws.s3":
        detail = _mapping(message, "detail")
        yield _kind(message.get("detail-type")), _Named(detail, is_encoded=False)
    elif isinstance(message.get("Records"), list) and message["Records"]:
        for record in message["Records"]:
            if not isinstance(record, Mapping) or not _SERVICE.fullmatch(str(record.get("eventSource"))):
                raise NotAnEvent("a record that is not S3's")
            yield _kind(record.get("eventName")), _Named(_mapping(record, "s3"), is_encoded=True)
    else:
        raise NotAnEvent("neither a notification of S3 nor an event of EventBridge")


@dataclass(frozen=True, slots=True)
class _Named:
    """The part of an event that names bucket and object.

    Attributes:
        is_encoded: The key is URL-encoded as in a form, as S3 does it; EventBridge has it as it is.
    """

    values: Mapping[str, Any]
    is_encoded: bool


def _line(named: _Named, bucket: str) -> AnnouncedLine:
    """Return the object that an event names.

    Raises:
        NotAnEvent: It is of another bucket, or its key is not one.
    """
    if _mapping(named.values, "bucket").get("name") != bucket:
        raise NotAnEvent("an event of another bucket")
    named_object = _mapping(named.values, "object")
    found = named_object.get("key")
    try:
        # EventBridge gives the key as it is.
        key = unquote_plus(str(found), errors="strict") if named.is_encoded else str(found)
        is_key = isinstance(found, str) and 0 < len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeError:
        key, is_key = "", False
    if not is_key:
        raise NotAnEvent("an event without a valid key")
    sequencer = _text(named_object, "sequencer")
    return AnnouncedLine(
        key=key,
        etag=(_text(named_object, "eTag") or _text(named_object, "etag")).strip('"'),
        sequencer=sequencer.upper() if _SEQUENCER.fullmatch(sequencer) else "",
    )


def _kind(name: object) -> str:
    text = str(name).removeprefix("s3:")
    return _KINDS.get(text) or _KINDS.get(text.partition(":")[0]) or OTHER


def _parsed(body: object) -> Mapping[str, Any]:
    if not isinstance(body, str) or len(body) > _MAX_BODY_CHARACTERS:
        raise NotAnEvent("not a text of at most 1 MiB")
    try:
        message = json.loads(body)
    except (ValueError, RecursionError):
        raise NotAnEvent("not JSON") from None
    if not isinstance(message, Mapping):
        raise NotAnEvent("not a JSON object")
    return message


def _mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = values.get(name)
    if not isinstance(found, Mapping):
        raise NotAnEvent("an event that names no object")
    return found


def _text(values: Mapping[str, Any], name: str) -> str:
    found = values.get(name)
    return found if isinstance(found, str) and len(found) <= _MAX_FIELD_CHARACTERS else ""
