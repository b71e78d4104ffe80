"""An event queue in memory that keeps SQS's contract: messages come at least once, in any order, and hidden for a time.

``s3_event`` and ``bridge_event`` make the messages that S3 and EventBridge send.
"""

import json
from collections.abc import Sequence
from random import Random
from typing import Any
from urllib.parse import quote_plus

from s3_to_azure.model.ports import QueueMessage


def s3_event(key: str, *, bucket: str = "bucket", name: str = "ObjectCreated:Put", **values: Any) -> dict[str, Any]:
    """Return a notification of S3 with one record."""
    named = {"key": quote_plus(key, safe="/"), **values}
    return {
        "Records": [{"eventSource": "aws:s3", "eventName": name, "s3": {"bucket": {"name": bucket}, "object": named}}]
    }


def bridge_event(key: str, *, bucket: str = "bucket", name: str = "Object Created", **values: Any) -> dict[str, Any]:
    """Return an event of EventBridge."""
    detail = {"version": "0", "bucket": {"name": bucket}, "object": {"key": key, **values}}
    return {"version": "0", "detail-type": name, "source": "aws.s3", "detail": detail}


def through_sns(message: dict[str, Any]) -> dict[str, Any]:
    """Return the message as SNS wraps it without raw message delivery."""
    return {"Type": "Notification", "TopicArn": "arn:aws:sns:us-east-1:1:topic", "Message": json.dumps(message)}


class MemoryQueue:
    """A queue; a message that was received is hidden until ``show_again``.

    Args:
        seed: Decides the order of delivery; None: that of sending.
    """

    def __init__(self, seed: int | None = None) -> None:
        self.name = "queue 'events'"
        self.visible: list[QueueMessage] = []
        self.hidden: dict[str, QueueMessage] = {}
        self.fails: dict[str, Exception] = {}
        self.calls: list[str] = []
        self._sent = self._received = 0
        self._random = Random(seed) if seed is not None else None

    def send(self, *messages: object) -> None:
        """Send each message: a text as it is, anything else as JSON."""
        for message in messages:
            self._sent += 1
            body = message if isinstance(message, str) else json.dumps(message)
            self.visible.append(QueueMessage(f"id-{self._sent}", "", body))

    def receive(self, *, wait_s: int) -> Sequence[QueueMessage]:
        """Return up to ten messages and hide them."""
        self._call("receive")
        del wait_s
        if self._random:
            self._random.shuffle(self.visible)
        taken, self.visible = self.visible[:10], self.visible[10:]
        found = []
        for message in taken:
            self._received += 1
            delivered = QueueMessage(message.message_id, f"handle-{self._received}", message.body)
            self.hidden[delivered.handle] = delivered
            found.append(delivered)
        return found

    def delete(self, messages: Sequence[QueueMessage]) -> int:
        """Delete the messages."""
        self._call("delete")
        assert len(messages) <= 10
        return sum(self.hidden.pop(message.handle, None) is None for message in messages)

    def show_again(self) -> None:
        """Let the time pass for which messages are hidden."""
        self.visible += self.hidden.values()
        self.hidden.clear()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if error := self.fails.get(name):
            raise error
