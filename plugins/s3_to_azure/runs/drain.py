"""Move announced keys from an event queue into the state container: receive, write, and only then delete.

Killed between any two of these steps, nothing is lost: a message that was not deleted is delivered again, and a key
that is announced twice is looked up twice and copied once.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import sha256
from typing import Final

from s3_to_azure.model.errors import TransientError
from s3_to_azure.model.formatting import count_text
from s3_to_azure.model.ports import EventQueue, QueueMessage
from s3_to_azure.model.retry import Retrier
from s3_to_azure.planning.events import is_newer, read_message
from s3_to_azure.state.announced import AnnouncedKeys, AnnouncedLine, RefusedLine

MAX_MESSAGES: Final = 1_000
"""A batch ends with so many messages; all that memory holds of them is their keys."""

MAX_KEYS: Final = 100_000
"""A batch ends with so many keys: one message may announce thousands."""

MAX_SECONDS: Final = 30.0
"""A batch ends after so long: well before its messages, which are hidden for some minutes, are delivered again."""

_LINGER_S: Final = 1
_REPEATED_AFTER_S: Final = 300.0
_LONGEST_REPEAT_S: Final = 3_600.0
_DELETED_AT_ONCE: Final = 10
_MAX_BEGINNING: Final = 2_000

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Drained:
    """What one batch has taken from the queue.

    Attributes:
        batch: Name of the file with the announced keys; empty if no message announced one.
        keys: How many keys it has.
        counts: The events by kind.
        refused: Messages of which a note was made.
        messages: How many messages were received.
        requests: How many requests to the queue that took.
        left: Messages that could not be deleted, and come again.
    """

    batch: str = ""
    keys: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    refused: int = 0
    messages: int = 0
    requests: int = 0
    left: int = 0

    @property
    def is_full(self) -> bool:
        """Whether the queue most likely holds more."""
        return self.messages >= MAX_MESSAGES or self.keys >= MAX_KEYS

    def text(self) -> str:
        """Return the counts as a line for the log."""
        kinds = ", ".join(f"{count:,} {kind}" for kind, count in sorted(self.counts.items())) or "none"
        more = f"; {self.refused:,} refused, noted below refused/" if self.refused else ""
        keys, requests = count_text(self.keys, "key"), count_text(self.requests, "request")
        return f"{count_text(self.messages, 'message')} announced {keys} (events: {kinds}; {requests}){more}"


class WakeUps:
    """Decides when to start a run for waiting batches: one run takes all of them, so one is started at a time.

    A wake-up that nobody followed, because its DAG was paused or a long run is in the way, is repeated ever more
    rarely.

    Args:
        clock: The time, for tests.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._woken_for: frozenset[str] = frozenset()
        self._next_at = 0.0
        self._wait_s = 0.0

    def is_due(self, waiting: Sequence[str]) -> bool:
        """Return whether to start a run now, which then counts as started.

        Args:
            waiting: The batches that no run has taken.
        """
        if not waiting:
            return False
        now = self._clock()
        is_taken = self._woken_for.isdisjoint(waiting)
        if not is_taken and now < self._next_at:
            return False
        self._wait_s = _REPEATED_AFTER_S if is_taken else min(2 * self._wait_s, _LONGEST_REPEAT_S)
        self._next_at = now + self._wait_s
        self._woken_for = frozenset(waiting)
        return True


def drain(
    queue: EventQueue,
    announced: AnnouncedKeys,
    retrier: Retrier,
    *,
    bucket: str,
    prefix: str,
    wait_s: int,
    clock: Callable[[], float] = time.monotonic,
) -> Drained:
    """Take one batch of messages from the queue.

    Args:
        queue: The queue.
        announced: Where the keys wait for a run.
        retrier: Retries requests to the queue, and stops them.
        bucket: The bucket whose events count.
        prefix: The prefix of the keys that count.
        wait_s: How long to wait for the first message.
        clock: The time, for tests.
    """
    newest: dict[str, AnnouncedLine] = {}
    counts: Counter[str] = Counter()
    refused: list[RefusedLine] = []
    received: list[QueueMessage] = []
    requests = 0
    until = clock() + MAX_SECONDS + wait_s
    while len(received) < MAX_MESSAGES and len(newest) < MAX_KEYS and clock() < until:
        wait = _LINGER_S if received else wait_s
        messages = retrier.call(f"read {queue.name}", lambda wait=wait: queue.receive(wait_s=wait))  # type: ignore[misc]
        requests += 1
        if not messages:
            break
        for message in messages:
            found = read_message(message.body, bucket=bucket, prefix=prefix)
            counts += found.counts
            for line in found.lines:
                if line.key not in newest or is_newer(line, newest[line.key]):
                    newest[line.key] = line
            if found.problems:
                refused.append(_note(message, found.problems))
            # Only the handle is needed from now on.
            received.append(QueueMessage(message.message_id, message.handle, ""))
    now = datetime.now(UTC)
    batch = announced.add((newest[key] for key in sorted(newest)), now) if newest else ""
    if refused:
        announced.note(refused, now)
    groups = [received[start : start + _DELETED_AT_ONCE] for start in range(0, len(received), _DELETED_AT_ONCE)]
    left = sum(_delete(queue, group, retrier) for group in groups)
    if left:
        log.warning("%s: %d messages could not be deleted, and will be delivered again", queue.name, left)
    drained = Drained(
        batch=batch,
        keys=len(newest),
        counts=counts,
        refused=len(refused),
        messages=len(received),
        requests=requests + len(groups),
        left=left,
    )
    if received:
        log.info("%s: %s", queue.name, drained.text())
    return drained


def _delete(queue: EventQueue, group: Sequence[QueueMessage], retrier: Retrier) -> int:
    """Delete what is written now; return how many could not be deleted and come again, which is harmless."""
    try:
        return retrier.call(f"empty {queue.name}", lambda: queue.delete(group))
    except TransientError:
        return len(group)


def _note(message: QueueMessage, problems: Sequence[str]) -> RefusedLine:
    encoded = message.body.encode("utf-8", "surrogatepass")
    beginning = message.body[:_MAX_BEGINNING].encode("utf-8", "replace").decode()
    return RefusedLine(message.message_id[:100], tuple(problems[:10]), sha256(encoded).hexdigest(), beginning)
