"""Objects of one small request each: one GET, one Put Blob, many at a time from one thread; the rest is handed back.

The ordinary way (``transfer``) costs a thread and some milliseconds of CPU for each object. Here an object is proven
and committed under the same rules, but only if everything goes as it should: whatever else happens, the ordinary way
takes the object from the start, and knows what to do.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

from s3_to_azure.model import checksums
from s3_to_azure.model.checksums import CRC64NVME
from s3_to_azure.model.errors import (
    ConditionNotMet,
    NameRefused,
    ObjectArchived,
    ObjectNotFound,
    SourceChanged,
    Throttled,
    TransferError,
)
from s3_to_azure.model.limits import MIB
from s3_to_azure.model.names import is_folder_marker
from s3_to_azure.model.objects import ObjectVersion, Receipt
from s3_to_azure.model.options import READBACK, REREAD
from s3_to_azure.model.ports import Fetched, HandedBack, SmallObjectClient, Stored
from s3_to_azure.model.reasons import COPIED, METADATA_DROPPED
from s3_to_azure.transfer import integrity as proof
from s3_to_azure.transfer.attempt import BlobProperties, CopyStats
from s3_to_azure.transfer.concurrency import ConcurrencyController
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.integrity import IntegrityCheck

# Up to here a request's own cost outweighs that of moving its bytes.
SMALL_BYTES: Final = 1 * MIB
# What the lane takes of the budget, and how many objects of it are in flight at most for each ``objects_at_once``.
_SHARE_OF_BUDGET: Final = 4
_AT_ONCE: Final = 32
_FIRST_AT_ONCE: Final = 16
# So many in a row mean that something in between does not let them through.
_MOST_HANDED_BACK: Final = 64
# What a service says of one object: its way here is open.
_OF_THE_OBJECT: Final = (ObjectArchived, ObjectNotFound, SourceChanged, ConditionNotMet, NameRefused)
_LONGEST_PAUSE_S: Final = 120.0
_POLL_S: Final = 0.05

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _InFlight:
    """One object under way.

    Attributes:
        version: What was read and proven; None before that.
        reason: The receipt's.
    """

    task: CopyTask
    stats: CopyStats
    version: ObjectVersion | None = None
    reason: str = ""

    def receipt(self, version: ObjectVersion) -> Receipt:
        verified_by = checksums.proven_by(version.checksum)
        return self.stats.receipt(version, COPIED, blocks=1, reason=self.reason, verified_by=verified_by)


class SmallObjects:
    """One thread's small objects.

    Args:
        context: Settings, budget, gates, counts.
        client: Moves them.
        try_number: Airflow's number of this try.
    """

    def __init__(self, context: TransferContext, client: SmallObjectClient, try_number: int) -> None:
        """Take nothing of the budget yet."""
        self._context = context
        self._client = client
        self._try_number = try_number
        settings = context.settings
        self._most_bytes = settings.memory_budget_bytes // _SHARE_OF_BUDGET
        self._bytes = 0
        self._in_flight = 0
        self._controller = ConcurrencyController(_AT_ONCE * settings.objects_at_once, first=_FIRST_AT_ONCE)
        self._allowed = self._controller.limit
        self._room = ExitStack()
        self._pause_until = 0.0
        # The task whose bytes the bandwidth limit has counted already, and when they may move.
        self._booked: CopyTask | None = None
        self._not_before = 0.0
        self._handed_back_in_a_row = 0
        self._plain = not settings.fidelity.tags and settings.integrity not in (REREAD, READBACK)

    @property
    def busy(self) -> bool:
        """Whether any object is under way."""
        return self._in_flight > 0

    def takes(self, task: CopyTask) -> bool:
        """Say whether an object may go this way: small, and decided on already."""
        listed = task.listed
        return (
            self._plain
            and listed is not None
            and task.condition is not None
            and task.within is None
            and not task.metadata_only
            and 0 < listed.size_bytes <= min(SMALL_BYTES, self._most_bytes)
            and not is_folder_marker(listed)
            and self._handed_back_in_a_row < _MOST_HANDED_BACK
        )

    def has_room(self, task: CopyTask) -> bool:
        """Say whether one more may begin now: within the budget, and as the services and the network allow."""
        size_bytes = task.listed.size_bytes if task.listed else 0
        full = self._in_flight >= self._allowed or self._bytes + size_bytes > self._most_bytes
        if self._in_flight and full:
            return False
        now = time.monotonic()
        if task is not self._booked:
            self._booked, self._not_before = task, now + self._context.bandwidth.book(size_bytes)
        held_back_s = max(self._pause_until, self._not_before) - now
        if held_back_s > 0 and not self._in_flight:
            # Nothing is under way that could be gone on with.
            self._context.cancelled.wait(min(held_back_s, _POLL_S))
        return held_back_s <= 0

    def begin(self, task: CopyTask) -> None:
        """Begin to read an object that ``takes`` and ``has_room`` allow.

        Raises:
            Cancelled: Stopped while waiting for memory.
        """
        listed = task.listed
        if listed is None:
            raise AssertionError("only what was listed goes this way")
        context = self._context
        self._booked = None
        if not self._in_flight:
            self._room.enter_context(context.buffers.set_aside(self._most_bytes))
        self._in_flight += 1
        self._bytes += listed.size_bytes
        self._client.fetch(_InFlight(task, CopyStats(context, task, self._try_number)), listed)

    def settle(self, timeout_s: float) -> Iterator[tuple[CopyTask, Receipt | None]]:
        """Go on with what is under way; yield each object that ended with its receipt, or None: copy it otherwise."""
        sent = objects = 0
        for event in self._client.finished(timeout_s):
            in_flight: _InFlight = event.tag
            if isinstance(event, Fetched) and self._go_on(in_flight, event):
                continue
            self._in_flight -= 1
            size_bytes = in_flight.task.listed.size_bytes if in_flight.task.listed else 0
            self._bytes -= size_bytes
            if isinstance(event, Stored) and in_flight.version is not None:
                self._handed_back_in_a_row = 0
                self._context.went_well()
                sent += size_bytes
                objects += 1
                in_flight.stats.sent_alone(size_bytes)
                yield in_flight.task, in_flight.receipt(in_flight.version)
            else:
                self._note(event)
                yield in_flight.task, None
        if objects:
            self._controller.done(objects, blocks=objects)
            self._context.progress.add(bytes_sent=sent, objects_done=objects)
        self._allowed = min(self._controller.limit, self._context.allowed_at_once(self._controller.most))
        if not self._in_flight:
            self._room.close()

    def close(self) -> None:
        """Give everything back; what is under way is broken off."""
        self._client.close()
        self._room.close()

    def _go_on(self, in_flight: _InFlight, fetched: Fetched) -> bool:
        """Prove an object's bytes and begin to write them; False if anything is not as it should be."""
        context, task, version, body = self._context, in_flight.task, fetched.version, fetched.body
        offered = version.checksum or next(iter(version.weaker), None)
        if offered is not None and offered.parts > 1:
            # To know its parts takes more requests.
            return False
        retrier = context.retrier
        integrity = IntegrityCheck(context, task.blob, retrier)
        properties = BlobProperties(context, integrity, retrier)
        try:
            version, level = integrity.at_its_level(version)
            with memoryview(body) as view:
                crc64 = CRC64NVME.digest(view)
                of_level = version.checksum is not None and version.checksum.algorithm == CRC64NVME.name
                actual = crc64 if of_level and version.checksum and not version.checksum.parts else level.value_of(view)
            if not proof.fits(version, actual):
                return False
            contents = properties.contents(version)
        except TransferError:
            return False
        if task.condition is None:
            raise AssertionError("only what was decided on goes this way")
        in_flight.version, in_flight.reason = version, METADATA_DROPPED if properties.metadata_dropped else ""
        self._client.store(in_flight, task.blob, body, crc64=crc64, contents=contents, condition=task.condition)
        return True

    def _note(self, event: Fetched | Stored | HandedBack) -> None:
        if not isinstance(event, HandedBack):
            return
        if isinstance(event.error, _OF_THE_OBJECT):
            return
        self._handed_back_in_a_row += 1
        if self._handed_back_in_a_row == _MOST_HANDED_BACK:
            log.warning("Small objects go one by one from here on, since so many in a row met: %s", event.error)
        if isinstance(event.error, Throttled):
            self._context.throttled(event.error)
            self._pause_until = time.monotonic() + min(event.error.retry_after_s or 0.0, _LONGEST_PAUSE_S)
