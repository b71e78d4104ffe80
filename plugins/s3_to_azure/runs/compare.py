"""Compare both sides without reading an object: both listings, the records in the blobs' metadata, and receipts.

An object whose blob the listing shows costs no request of its own. An object whose blob it does not show costs one, so
that a listing out of order, or a blob that was written meanwhile, makes nothing ``missing``. Agreeing records are not
read bytes; a sample is read back if the caller asks for one.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from s3_to_azure.model.checksums import MD5
from s3_to_azure.model.formatting import count_text
from s3_to_azure.model.names import blob_name, is_shown_only, unmap_blob
from s3_to_azure.model.objects import Amount, AmountCounter, BlobState, ListedObject
from s3_to_azure.model.options import MAP, NO
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.model.reasons import COPIED, UNCHANGED
from s3_to_azure.model.retry import with_retries
from s3_to_azure.planning.coverage import Coverage, name_check, reason_to_skip, refused_name
from s3_to_azure.planning.join import Join
from s3_to_azure.planning.settings import PlanSettings
from s3_to_azure.runs.announced import Missed, MissedByEvents
from s3_to_azure.runs.standing import (
    CHANGED,
    DRIFT,
    EQUAL,
    EXTRA,
    LEFT_OUT,
    MISSED_BY_EVENTS,
    MISSING,
    OF_OBJECTS,
    UNPROVEN,
    Difference,
    Sample,
    Standing,
    by_stored_checksums,
    standing,
)
from s3_to_azure.state.announced import AnnouncedKeys
from s3_to_azure.state.manifest import ManifestPointer, read_manifest
from s3_to_azure.state.reported import ReportedReceipt
from s3_to_azure.transfer.context import CopyTask, TransferContext
from s3_to_azure.transfer.verify import Verification, verify_object
from s3_to_azure.transfer.watchdog import threads_for_results

_MOST_WAITING: Final = 1_000
_UNORDERED: Final = "one side lists out of order, so blobs without an object are not known, and each blob was looked up"
_CLASSES: Final = "blobs do not tell the storage class of their objects, so blobs without an object are not known"
_NO_LISTING: Final = (
    "no run of this DAG that lists the bucket has reported to this state container, so it is not known since when S3 "
    "announces objects"
)
_UNORDERED_RECEIPTS: Final = (
    "the receipts are not in the order of their keys, as a report's are, so only the first ones were used"
)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The result.

    Attributes:
        amounts: Objects and bytes by standing.
        blobs: Number of blobs that the destination's listing shows.
        warnings: What limits the result.
        lookups: Requests for single blobs and objects, without those of the sample.
        sample: What was read back.
        sampled: Objects and bytes that were read back.
        sample_differs: How many of them differ, or could not be read.
        missed: Objects that no event announced; None where that is not known.
    """

    amounts: dict[Standing, Amount]
    blobs: int
    warnings: tuple[str, ...]
    lookups: int
    sample: Sample
    sampled: Amount
    sample_differs: int
    missed: Missed | None = None

    @property
    def listed(self) -> Amount:
        """All objects of S3's listing."""
        amounts = [self.amounts[status] for status in OF_OBJECTS]
        return Amount(sum(each.objects for each in amounts), sum(each.size_bytes for each in amounts))

    @property
    def is_of_any(self) -> bool:
        """Whether there is an object that copies would take."""
        return self.listed.objects > self.amounts[LEFT_OUT].objects

    @property
    def has_drift(self) -> bool:
        """Whether the sides differ."""
        return self.sample_differs > 0 or any(self.amounts[status].objects for status in DRIFT)

    def lines(self) -> Iterator[str]:
        """Yield the result for a person."""
        equation = " + ".join(f"{self.amounts[status].objects:,} {_words(status)}" for status in OF_OBJECTS)
        yield f"Listed:    {self.listed.objects:,} = {equation}"
        yield f"Blobs:     {self.blobs:,}, of which {self.amounts[EXTRA].objects:,} without an object"
        yield from (f"           warning: {warning}" for warning in self.warnings)
        for status in (*OF_OBJECTS, EXTRA):
            if self.amounts[status].objects:
                yield f"{_words(status).capitalize() + ':':10} {self.amounts[status].text()}"
        if self.missed:
            yield f"Missed:    {self.missed.text()}"
        yield f"Requests:  both listings, and {count_text(self.lookups, 'request')} for single objects and blobs"
        if self.sample.share:
            yield (
                f"Read back: {self.sampled.text()}, {self.sample.share:.4%} by --seed {self.sample.seed}: "
                f"{self.sample_differs:,} differ or could not be read"
            )
        else:
            yield "Read back: nothing. Equal by record means that both sides' records agree; no byte was read"

    def summary(self) -> dict[str, Any]:
        """Return the result as JSON-ready values."""
        return {
            "listed": _values(self.listed),
            **{status: _values(self.amounts[status]) for status in (*OF_OBJECTS, EXTRA)},
            "blobs": self.blobs,
            "warnings": list(self.warnings),
            "lookups": self.lookups,
            "sampled": _values(self.sampled)
            | {"share": self.sample.share, "seed": self.sample.seed, "differ": self.sample_differs},
            "drift": self.has_drift,
            **({"missed_by_events": self.missed.summary()} if self.missed else {}),
        }


def _words(status: Standing) -> str:
    return "equal by record" if status == EQUAL else status.replace("_", " ")


def _values(amount: Amount) -> dict[str, Any]:
    return {"objects": amount.objects, "size_bytes": amount.size_bytes}


def compare_listings(
    context: TransferContext,
    files: StateFiles,
    pointer: ManifestPointer,
    settings: PlanSettings,
    *,
    receipts: Iterable[ReportedReceipt] = (),
    sample: Sample | None = None,
    announced: AnnouncedKeys | None = None,
    on_difference: Callable[[Difference], None],
) -> Comparison:
    """Compare a listing of S3 with the destination, in constant memory.

    Args:
        context: The stores. No body of an object or blob is read but the sample's.
        files: The files that hold the listing.
        pointer: The listing.
        settings: Prefixes, filters and names.
        receipts: Those of an earlier run, in the order of their keys.
        sample: What to read back.
        announced: What events have announced: the objects of which none told are counted too.
        on_difference: Receives all that is not equal by record, in the order in which it is found, and each object that
            no event announced.
    """
    missed = _missed(announced, settings, on_difference) if announced else None
    comparing = _Comparing(context, files, pointer, settings, receipts, sample or Sample(), missed, on_difference)
    result = comparing.run()
    return replace(result, warnings=(*result.warnings, _NO_LISTING)) if announced and not missed else result


def _missed(
    announced: AnnouncedKeys, settings: PlanSettings, on_difference: Callable[[Difference], None]
) -> MissedByEvents | None:
    """Return what finds the objects of which no event told since the first listing of a migration with events."""
    first = announced.listed_first()
    if first is None:
        return None

    def tell(key: str, etag: str, size_bytes: int) -> None:
        reason = "no event announced it"
        on_difference(Difference(MISSED_BY_EVENTS, key, settings.blob_of(key), size_bytes, etag, reason=reason))

    return MissedByEvents(announced, began=datetime.now(UTC), previous=first, on_missed=tell)


class _Receipts:
    """Finds the receipt of each key while both come in ascending order; none after the first out of order.

    Attributes:
        is_cut: Whether the receipt of a copy came out of order.
    """

    def __init__(self, receipts: Iterable[ReportedReceipt]) -> None:
        self.is_cut = False
        self._receipts = iter(receipts)
        self._next = next(self._receipts, None)

    def find(self, key: str) -> ReportedReceipt | None:
        while self._next is not None and self._next.key < key:
            last = self._next.key
            self._next = next(self._receipts, None)
            if self._next is not None and self._next.key < last:
                # A report appends what was listed after its plan; nothing of that was copied.
                self.is_cut = self._next.status in (COPIED, UNCHANGED)
                self._next = None
        return self._next if self._next is not None and self._next.key == key else None


@dataclass(frozen=True, slots=True)
class _Found:
    """How an object stands, and whether its blob was read."""

    difference: Difference
    was_read: bool = False


_Waiting = _Found | Future[_Found]


class _Comparing:
    """One comparison while it is made."""

    def __init__(
        self,
        context: TransferContext,
        files: StateFiles,
        pointer: ManifestPointer,
        settings: PlanSettings,
        receipts: Iterable[ReportedReceipt],
        sample: Sample,
        missed: MissedByEvents | None,
        on_difference: Callable[[Difference], None],
    ) -> None:
        self._context = context
        self._files = files
        self._pointer = pointer
        self._settings = settings
        self._receipts = _Receipts(receipts)
        self._sample = sample
        self._missed = missed
        self._on_difference = on_difference
        self._coverage = Coverage(pointer, settings)
        destination = context.destination
        self._check_name = name_check(destination, context.retrier)
        listing = with_retries(
            destination.list(self._coverage.prefix), context.retrier, f"list {destination.container}"
        )
        self._counters: dict[Standing, AmountCounter] = {status: AmountCounter() for status in (*OF_OBJECTS, EXTRA)}
        self._sampled = AmountCounter()
        self._differs = 0
        self._lookups = 0
        # The threads of the pool append to it.
        self._checksums_looked_up: deque[None] = deque()
        self._waiting: deque[_Waiting] = deque()
        self._in_pool = 0
        self._join = Join(listing, ordered=pointer.ordered, is_counted=self._add_extra)

    def run(self) -> Comparison:
        workers = self._context.settings.objects_at_once
        with threads_for_results(workers, self._context.cancelled) as pool:
            for listed in read_manifest(self._files, self._pointer):
                self._waiting.append(self._look_at(listed, pool))
                while len(self._waiting) >= _MOST_WAITING or self._in_pool > 4 * workers:
                    self._take_first()
            while self._waiting:
                self._take_first()
        self._join.finish()
        return Comparison(
            amounts={status: counter.amount() for status, counter in self._counters.items()},
            blobs=self._join.seen,
            warnings=tuple(self._warnings()),
            lookups=self._lookups + len(self._checksums_looked_up),
            sample=self._sample,
            sampled=self._sampled.amount(),
            sample_differs=self._differs,
            missed=self._missed.result() if self._missed else None,
        )

    def _warnings(self) -> Iterator[str]:
        if not self._join.in_order:
            yield _UNORDERED
        if not self._coverage.is_known:
            yield _CLASSES
        if self._receipts.is_cut:
            yield _UNORDERED_RECEIPTS

    def _look_at(self, listed: ListedObject, pool: ThreadPoolExecutor) -> _Waiting:
        """Return how the object stands, or what will tell it."""
        settings = self._settings
        name = settings.blob_of(listed.key)
        is_mapped = name != blob_name(listed.key, s3_prefix=settings.s3_prefix, blob_prefix=settings.blob_prefix)
        blob = None if is_mapped or is_shown_only(listed) else self._join.find(name)
        receipt = self._receipts.find(listed.key)
        reason = (
            listed.problem
            or reason_to_skip(listed, name, settings.filters)
            or refused_name(listed.key, name, self._check_name)
        )
        if reason is not None:
            return _Found(Difference(LEFT_OUT, listed.key, name, listed.size_bytes, listed.etag, reason=reason))
        if self._missed:
            self._missed.add(listed)
        is_sampled = self._sample.takes(listed.key)
        if blob is not None and not is_sampled:
            found = standing(listed, blob, receipt)
            if not _needs_checksum(found, blob):
                return _Found(found)
        self._lookups += blob is None
        self._in_pool += 1
        return pool.submit(self._looked_up, listed, name, blob, receipt, is_sampled=is_sampled)

    def _looked_up(
        self,
        listed: ListedObject,
        name: str,
        blob: BlobState | None,
        receipt: ReportedReceipt | None,
        *,
        is_sampled: bool,
    ) -> _Found:
        """Look up a blob that the listing did not show; read a blob of the sample."""
        context = self._context
        if blob is None:
            blob = context.retrier.call(f"look at blob {name!r}", lambda: context.destination.head(name))
        found = standing(listed, blob, receipt)
        if blob is not None and _needs_checksum(found, blob):
            found = self._by_checksums_of_s3(found, listed, blob)
        if not is_sampled or found.status not in (EQUAL, UNPROVEN):
            return _Found(found)
        verified = verify_object(context, CopyTask(listed.bucket, listed.key, name, listed=listed))
        return _Found(_read_back(found, verified), was_read=True)

    def _by_checksums_of_s3(self, found: Difference, listed: ListedObject, blob: BlobState) -> Difference:
        """Look up what S3 stores of an object whose blob has no record, and compare the MD5s of both sides."""
        context = self._context
        self._checksums_looked_up.append(None)
        version = context.retrier.call(
            f"look at {listed.key!r}", lambda: context.source.head(listed.bucket, listed.key)
        )
        if version.etag != listed.etag:
            return found
        etag_is_md5 = context.settings.fidelity.etag_is_md5 != NO
        stored = (each for each in version.weaker if etag_is_md5 or each.algorithm != MD5.name)
        return by_stored_checksums(found, blob, filter(None, (version.checksum, *stored, listed.reported)))

    def _take_first(self) -> None:
        found = self._waiting.popleft()
        if isinstance(found, Future):
            self._in_pool -= 1
            found = found.result()
        difference = found.difference
        self._counters[difference.status].add(difference.size_bytes)
        if found.was_read:
            self._sampled.add(difference.size_bytes)
            self._differs += difference.status not in (EQUAL, UNPROVEN)
        if difference.status != EQUAL:
            self._on_difference(difference)

    def _add_extra(self, blob: BlobState) -> bool:
        """Count a blob that no object of the listing asked for; the join calls it for each."""
        if not self._coverage.includes(blob) or self._is_mapped_copy(blob):
            return False
        self._counters[EXTRA].add(blob.size_bytes)
        etag = blob.source_etag or ""
        reason = "its object is gone from S3" if etag else "no record of a copy"
        self._on_difference(Difference(EXTRA, "", blob.name, blob.size_bytes, etag, blob.verified_by, reason))
        return True

    def _is_mapped_copy(self, blob: BlobState) -> bool:
        """Return whether the blob has a mapped name, which the listing's order does not find, and an object."""
        name = unmap_blob(blob.name)
        if self._settings.refused_names != MAP or name == blob.name:
            return False
        self._lookups += 1
        key = self._settings.s3_prefix + name.removeprefix(self._settings.blob_prefix)
        context, bucket = self._context, self._pointer.bucket
        return context.retrier.call(f"look up {key!r}", lambda: context.source.current_etag(bucket, key)) is not None


def _needs_checksum(found: Difference, blob: BlobState) -> bool:
    """Return whether only the checksums of S3 and Azure can tell how the object stands."""
    return found.status == UNPROVEN and blob.source_etag is None and bool(blob.content_md5)


def _read_back(found: Difference, verified: Verification) -> Difference:
    """Return how an object stands after its blob was read."""
    if verified.status == EQUAL:
        return found
    status: Standing = MISSING if verified.status == MISSING else CHANGED
    reason = f"read back: {verified.reason}" if verified.reason else f"read back: {verified.status}"
    return Difference(
        status, found.key, found.blob, found.size_bytes, found.etag, verified.verified_by or found.verified_by, reason
    )
