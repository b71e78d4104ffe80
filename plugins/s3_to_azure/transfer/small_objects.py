"""Small objects: one GET and one Put Blob each, many at a time from one thread.

The general path (``object.try_copy``) costs a thread and some milliseconds of CPU per object. Here an object is
verified and committed under the same rules, but only while everything goes as expected. In every other case the object
is handed back, and the general path copies it from the start.
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
from s3_to_azure.model.names import is_folder_marker, is_reserved
from s3_to_azure.model.objects import ObjectVersion, Receipt
from s3_to_azure.model.options import READBACK, REREAD
from s3_to_azure.model.ports import Fetched, HandedBack, SmallObjectClient, Stored
from s3_to_azure.model.reasons import COPIED
from s3_to_azure.transfer.attempt import BlobProperties, CopyStats
from s3_to_azure.transfer.concurrency import ConcurrencyController
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.integrity import IntegrityCheck, matches

# Up to this size one request for each object costs less than the general path's; beyond, a lost one costs too much.
SMALL_BYTES: Final = 8 * MIB
# Small objects take this fraction of the budget; and what is spare of the rest, except for what rounding of their
# buffers may cost.
_BUDGET_FRACTION: Final = 2
_ROUNDING_FRACTION: Final = 8
_FIRST_IN_FLIGHT: Final = 16
# This many consecutive objects handed back mean that something between us and the services refuses these requests. It
# may pass, as a failure of the network does, so they are sent again after a rest, which doubles each time.
_MAX_HANDED_BACK: Final = 64
_FIRST_REST_S: Final = 60.0
# These errors concern one object; they say nothing about the connection.
_ERRORS_OF_ONE_OBJECT: Final = (ObjectArchived, ObjectNotFound, SourceChanged, ConditionNotMet, NameRefused)
_MAX_PAUSE_S: Final = 120.0
_POLL_S: Final = 0.05

log = logging.getLogger(__name__)


@dataclass(slots=True)
class _InFlight:
    """One object in flight.

    Attributes:
        version: The version that was read and verified; None before that.
        reason: The receipt's reason.
    """

    task: CopyTask
    stats: CopyStats
    version: ObjectVersion | None = None
    reason: str = ""

    def verified(self, version: ObjectVersion, reason: str) -> None:
        """Record the version whose bytes match its checksum, and the receipt's reason."""
        self.version = version
        self.reason = reason

    def receipt(self, version: ObjectVersion) -> Receipt:
        verified_by = checksums.proven_by(version.checksum)
        return self.stats.receipt(version, COPIED, blocks=1, reason=self.reason, verified_by=verified_by)


class SmallObjects:
    """The small objects that one thread copies.

    Args:
        context: Settings, budget, limits, counts.
        client: Sends the requests.
        try_number: Airflow's number of this try.
    """

    def __init__(self, context: TransferContext, client: SmallObjectClient, try_number: int) -> None:
        self._context = context
        self._client = client
        self._try_number = try_number
        settings = context.settings
        self._most_bytes = settings.memory_budget_bytes // _BUDGET_FRACTION
        # One that has several blocks is resumed block by block, or Azure fetches it.
        self._largest_bytes = min(SMALL_BYTES, self._most_bytes, settings.block_bytes or SMALL_BYTES)
        # Of the rest of the budget: how much may be reserved, and how much is.
        rounding_bytes = settings.memory_budget_bytes // _ROUNDING_FRACTION
        self._most_spare_bytes = settings.memory_budget_bytes - self._most_bytes - rounding_bytes
        self._spare_bytes = 0
        self._bytes = 0
        self._in_flight = 0
        self._controller = ConcurrencyController(settings.most_small_objects, first=_FIRST_IN_FLIGHT)
        self._allowed = self._controller.limit
        self._room = ExitStack()
        self._pause_until = 0.0
        # The task whose bytes the bandwidth limit has counted already, and the time at which they may move.
        self._reserved: CopyTask | None = None
        self._not_before = 0.0
        self._handed_back_in_a_row = 0
        self._rest_s = _FIRST_REST_S
        self._rest_until = 0.0
        self._plain = not settings.fidelity.tags and settings.integrity not in (REREAD, READBACK)

    @property
    def busy(self) -> bool:
        """Whether any object is in flight."""
        return self._in_flight > 0

    def takes(self, task: CopyTask) -> bool:
        """Return whether an object can be copied here: it is small, and the plan has decided on it."""
        listed = task.listed
        return (
            self._plain
            and listed is not None
            and task.condition is not None
            and task.within is None
            and not task.metadata_only
            and 0 < listed.size_bytes <= self._largest_bytes
            and not is_folder_marker(listed)
            and not is_reserved(task.blob)
            and time.monotonic() >= self._rest_until
        )

    def has_room(self, task: CopyTask) -> bool:
        """Return whether one more object may begin now: the budget, the services and the network allow it."""
        size_bytes = task.listed.size_bytes if task.listed else 0
        if self._in_flight and (self._in_flight >= self._allowed or not self._reserve(size_bytes)):
            return False
        now = time.monotonic()
        if task is not self._reserved:
            self._reserved, self._not_before = task, now + self._context.bandwidth.reserve(size_bytes)
        held_back_s = max(self._pause_until, self._not_before) - now
        if held_back_s > 0 and not self._in_flight:
            # No object is in flight that could make progress meanwhile.
            self._context.cancelled.wait(min(held_back_s, _POLL_S))
        return held_back_s <= 0

    def begin(self, task: CopyTask) -> None:
        """Begin to read an object for which ``takes`` and ``has_room`` return True.

        Raises:
            Cancelled: Stopped while waiting for memory.
        """
        listed = task.listed
        if listed is None:
            raise AssertionError("only listed objects are copied here")
        context = self._context
        self._reserved = None
        if not self._in_flight:
            self._room.enter_context(context.buffers.reserve(self._most_bytes))
        self._in_flight += 1
        self._bytes += listed.size_bytes
        stats = CopyStats(context, task, self._try_number)
        stats.is_one_request()
        self._client.fetch(_InFlight(task, stats), listed)

    def settle(self, timeout_s: float) -> Iterator[tuple[CopyTask, Receipt | None]]:
        """Continue the objects in flight; yield each that ended, with its receipt or None if it is handed back."""
        sent = objects = 0
        for event in self._client.finished(timeout_s):
            in_flight: _InFlight = event.tag
            if isinstance(event, Fetched) and self._verify_and_store(in_flight, event):
                continue
            self._in_flight -= 1
            size_bytes = in_flight.task.listed.size_bytes if in_flight.task.listed else 0
            self._bytes -= size_bytes
            if isinstance(event, Stored) and in_flight.version is not None:
                self._handed_back_in_a_row, self._rest_s = 0, _FIRST_REST_S
                self._context.limits.request_succeeded()
                sent += size_bytes
                objects += 1
                in_flight.stats.add_sent_without_progress(size_bytes)
                yield in_flight.task, in_flight.receipt(in_flight.version)
            else:
                self._note_end(event)
                yield in_flight.task, None
        if objects:
            self._controller.done(objects, blocks=objects)
            self._context.progress.add(bytes_read=sent, bytes_sent=sent, objects_done=objects)
        self._allowed = min(self._controller.limit, self._context.limits.scaled(self._controller.maximum))
        self._give_back(self._spare_bytes - max(0, self._bytes - self._most_bytes))
        if not self._in_flight:
            self._room.close()

    def close(self) -> None:
        """Give back the budget; requests in flight are aborted."""
        self._client.close()
        self._give_back(self._spare_bytes)
        self._room.close()

    def _reserve(self, size_bytes: int) -> bool:
        """Return whether the budget has room for one more object; reserve what it needs beyond the part of our own."""
        missing = self._bytes + size_bytes - self._most_bytes - self._spare_bytes
        if missing <= 0:
            return True
        if self._spare_bytes + missing > self._most_spare_bytes or not self._context.buffers.reserve_spare(missing):
            return False
        self._spare_bytes += missing
        return True

    def _give_back(self, spare_bytes: int) -> None:
        if spare_bytes:
            self._context.buffers.give_back(spare_bytes)
            self._spare_bytes -= spare_bytes

    def _verify_and_store(self, in_flight: _InFlight, fetched: Fetched) -> bool:
        """Verify an object's bytes and begin to write them; return False if anything is not as expected."""
        context, task, version, body = self._context, in_flight.task, fetched.version, fetched.body
        offered = version.checksum or next(iter(version.weaker), None)
        if offered is not None and offered.parts > 1:
            # Its parts' sizes would take further requests.
            return False
        retrier = context.retrier
        integrity = IntegrityCheck(context, retrier, task.listed)
        properties = BlobProperties(context, integrity, retrier, run=task.run)
        try:
            version, level = integrity.at_its_level(version)
            with memoryview(body) as view:
                crc64 = CRC64NVME.digest(view)
                of_level = version.checksum is not None and version.checksum.algorithm == CRC64NVME.name
                actual = crc64 if of_level and version.checksum and not version.checksum.parts else level.digest(view)
            if not matches(version, actual):
                return False
            prepared = properties.prepare(version)
        except TransferError:
            return False
        if task.condition is None:
            raise AssertionError("only objects with a planned condition are copied here")
        in_flight.verified(version, prepared.reason)
        self._client.store(
            in_flight, task.blob, body, crc64=crc64, contents=prepared.contents, condition=task.condition
        )
        return True

    def _note_end(self, event: Fetched | Stored | HandedBack) -> None:
        if not isinstance(event, HandedBack):
            return
        if isinstance(event.error, _ERRORS_OF_ONE_OBJECT):
            return
        if isinstance(event.error, Throttled):
            self._context.limits.throttled(event.error)
            self._pause_until = time.monotonic() + min(event.error.retry_after_s or 0.0, _MAX_PAUSE_S)
        self._count_handed_back(event.error)

    def _count_handed_back(self, error: TransferError) -> None:
        now = time.monotonic()
        if now < self._rest_until:
            return
        self._handed_back_in_a_row += 1
        if self._handed_back_in_a_row == _MAX_HANDED_BACK:
            self._handed_back_in_a_row = 0
            self._rest_until = now + self._rest_s
            log.warning(
                "Small objects are copied one by one for %.0f s, because many consecutive ones failed with: %s",
                self._rest_s,
                error,
            )
            self._rest_s *= 2
