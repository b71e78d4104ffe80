"""Find the result of every listed object: join the manifest with plan and receipts, in bounded memory.

The plan puts each object into one of three sequences: left out, in a batch of its own, in a batch with others. Each
sequence has the order of the listing. While the listing is read, its next object is therefore the next one of exactly
one sequence, so a merge finds it, and only one batch's receipts are in memory at a time.
"""

import logging
import threading
from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from itertools import chain, groupby
from typing import Final, Generic, TypeVar

from s3_to_azure.model import reasons
from s3_to_azure.model.errors import CorruptState
from s3_to_azure.model.formatting import count_text
from s3_to_azure.model.names import is_shown_only
from s3_to_azure.model.objects import NO_ETAG, ListedObject, Receipt
from s3_to_azure.model.options import AUTO, IF_CHANGED
from s3_to_azure.model.ports import BlobDestination, StateFiles
from s3_to_azure.model.reasons import COPIED, FAILED, SKIPPED, STAGED, UNCHANGED, Status, explained
from s3_to_azure.model.retry import Retrier, with_retries
from s3_to_azure.model.settings import RetryBudget
from s3_to_azure.runs.batch_slice import BatchSlice
from s3_to_azure.state.entries import PlanEntry
from s3_to_azure.state.manifest import ManifestPointer, read_manifest
from s3_to_azure.state.plan import BatchDescriptor, LeftOut, PlanIndex, left_out_name, read_left_out
from s3_to_azure.state.receipts import read_receipts, settles, stronger, was_found_damaged
from s3_to_azure.state.reported import times_of

T = TypeVar("T")
log = logging.getLogger(__name__)

NO_RECEIPT: Final = explained(reasons.NO_RECEIPT, "no task wrote a receipt for it")
UNPLANNED: Final = explained(reasons.UNPLANNED, "the run ended before it was planned")
_LISTED_LATER: Final = explained(reasons.UNPLANNED, "it was listed after the plan was made")
_NOT_COMMITTED: Final = explained(reasons.NOT_COMMITTED, "every part is in Azure, but no task completed the blob")


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """The result of one listed object.

    Attributes:
        receipt: The receipt that counts.
        bytes_sent: Bytes sent by all tries and parts of the object.
        retries: Retries of all tries and parts of the object.
        batch: Index of the batch whose task's log mentions the object; None if no batch holds it.
    """

    receipt: Receipt
    bytes_sent: int = 0
    retries: int = 0
    batch: int | None = None

    @classmethod
    def of(cls, receipt: Receipt, batch: int) -> "ObjectResult":
        """Return the result of one try."""
        return cls(receipt, receipt.bytes_sent, receipt.retries, batch)

    def plus(self, other: "ObjectResult") -> "ObjectResult":
        """Return the result of both tries together."""
        return ObjectResult(
            stronger(self.receipt, other.receipt),
            self.bytes_sent + other.bytes_sent,
            self.retries + other.retries,
            self.batch,
        )


def reconcile_run(
    files: StateFiles, pointer: ManifestPointer, index: PlanIndex | None, destination: BlobDestination | None = None
) -> Iterator[tuple[ListedObject, ObjectResult]]:
    """Yield each listed object with its result, in the order of the listing.

    If the sensor was cleared and listed again, but the plan was not made again, the plan's own listing counts; what
    only the later one holds comes last, as ``unplanned``.

    Args:
        files: The run's files.
        pointer: The latest manifest.
        index: The run's plan, or None if there is none.
        destination: As for ``reconcile``.

    Raises:
        CorruptState: A file is damaged, or holds an object that was not listed.
    """
    if index is None or index.manifest == pointer.token:
        yield from reconcile(files, pointer, index, destination)
        return
    of_plan = index.pointer
    if of_plan is None or not (of_plan.ordered and pointer.ordered):
        # The plan of an earlier version does not say where its listing is; without order, two cannot be compared.
        yield from reconcile(files, pointer, None, destination)
        return
    yield from reconcile(files, of_plan, index, destination)
    nothing = _PlannedObjects(files, pointer, None, destination)
    for listed in _only_later(reconcile(files, of_plan, index, destination), read_manifest(files, pointer)):
        yield listed, nothing.unplanned(listed, _LISTED_LATER)


def reconcile(
    files: StateFiles, pointer: ManifestPointer, index: PlanIndex | None, destination: BlobDestination | None = None
) -> Iterator[tuple[ListedObject, ObjectResult]]:
    """Yield each object of a listing with its result, in the order of the listing.

    Args:
        files: The run's files.
        pointer: The manifest.
        index: The plan made from the manifest, or None if there is none.
        destination: Shows which objects are copied whose receipts are not bound to the plan, such as those of an
            earlier version; without it these objects have failed.

    Raises:
        CorruptState: A file is damaged, or holds an object that was not listed.
    """
    planned = _PlannedObjects(files, pointer, index, destination)
    for listed in read_manifest(files, pointer):
        yield listed, planned.take(listed)
    planned.check_empty()


def _only_later(
    first: Iterable[tuple[ListedObject, ObjectResult]], later: Iterable[ListedObject]
) -> Iterator[ListedObject]:
    """Yield the objects of the later listing in versions that the first one does not hold; both are in order.

    A copy may have taken a version that is newer than the first listing: its receipt accounts for that one too.
    """
    # A name that is only shown has no place in the order; the plan has left it out already.
    known = (item for item in first if not is_shown_only(item[0]))
    candidate = next(known, None)
    for listed in later:
        if is_shown_only(listed):
            continue
        while candidate is not None and candidate[0].key < listed.key:
            candidate = next(known, None)
        if candidate is None or not _accounts_for(*candidate, listed):
            yield listed


def _accounts_for(planned: ListedObject, result: ObjectResult, listed: ListedObject) -> bool:
    done = result.receipt.etag if settles(result.receipt) else planned.etag
    return planned.key == listed.key and listed.etag in (planned.etag, done)


class _Peekable(Generic[T]):
    """A sequence of items by key, whose next key can be read without taking the item."""

    def __init__(self, items: Iterable[tuple[str, T]]) -> None:
        self._items = iter(items)
        self.next = next(self._items, None)

    def take(self, key: str) -> T | None:
        """Take the next item if it has this key; return None otherwise."""
        if self.next is None or self.next[0] != key:
            return None
        item = self.next[1]
        self.next = next(self._items, None)
        return item


class _PlannedObjects:
    """The three sequences that together hold every planned object, in the order of the listing."""

    def __init__(
        self, files: StateFiles, pointer: ManifestPointer, index: PlanIndex | None, destination: BlobDestination | None
    ) -> None:
        self._files = files
        self._destination = destination
        self._pointer = pointer
        self._index = index
        own = index.batches[: index.own_batches] if index else ()
        shared = index.batches[index.own_batches :] if index else ()
        left_out = read_left_out(files, index.token, index.left_out_sha256) if index else iter(())
        self._left_out = _Peekable((item.key, item) for item in left_out)
        self._own = _Peekable(self._own_results(own))
        self._shared = _Peekable(chain.from_iterable(map(self._shared_results, shared)))

    def take(self, listed: ListedObject) -> ObjectResult:
        left_out = self._left_out.take(listed.key)
        if left_out is not None:
            return ObjectResult(self._left_out_receipt(listed, left_out))
        result = self._own.take(listed.key) or self._shared.take(listed.key)
        return result or self.unplanned(listed, UNPLANNED)

    def unplanned(self, listed: ListedObject, reason: str) -> ObjectResult:
        return ObjectResult(self._receipt(listed, FAILED, reason))

    def check_empty(self) -> None:
        for objects in (self._left_out, self._own, self._shared):
            if objects.next is not None:
                raise CorruptState(path=self._files.location, detail="the plan holds an object that was not listed")

    def _own_results(self, batches: Iterable[BatchDescriptor]) -> Iterator[tuple[str, ObjectResult]]:
        """Yield the objects with batches of their own; the parts of an object are consecutive batches."""
        singles = ((self._only_entry(batch), batch) for batch in batches)
        for key, group in groupby(singles, key=lambda single: single[0].listed.key):
            results = []
            for entry, batch in group:
                results.append(
                    self._results(batch).get(key)
                    or ObjectResult(self._receipt(entry.listed, FAILED, NO_RECEIPT), batch=batch.index)
                )
            yield key, _merged(results)

    def _only_entry(self, batch: BatchDescriptor) -> PlanEntry:
        for entry in self._slice(batch).entries():
            return entry
        raise CorruptState(path=self._files.location, detail=f"batch {batch.index} is empty")

    def _shared_results(self, batch: BatchDescriptor) -> Iterator[tuple[str, ObjectResult]]:
        results = self._results(batch)
        for entry in self._slice(batch).entries():
            key = entry.listed.key
            result = results.get(key)
            if result is not None and result.receipt.status == STAGED:
                result = replace(result, receipt=replace(result.receipt, status=FAILED, reason=_NOT_COMMITTED))
            yield key, result or ObjectResult(self._receipt(entry.listed, FAILED, NO_RECEIPT), batch=batch.index)

    def _results(self, batch: BatchDescriptor) -> dict[str, ObjectResult]:
        results: dict[str, ObjectResult] = {}
        unbound: dict[str, ObjectResult] = {}

        def add(receipt: Receipt, to: dict[str, ObjectResult]) -> None:
            result = ObjectResult.of(receipt, batch.index)
            earlier = to.get(receipt.key)
            if earlier or len(to) < batch.objects:
                to[receipt.key] = earlier.plus(result) if earlier else result

        for receipt in read_receipts(self._files, batch, on_unbound=lambda receipt: add(receipt, unbound)):
            add(receipt, results)
        claimed = {key for key, result in unbound.items() if settles(result.receipt)}
        unproven = {key for key in claimed if key not in results or not settles(results[key].receipt)}
        if unproven:
            results |= self._found_in_destination(batch, unproven)
        return {key: result for key, result in unbound.items() if key not in claimed} | results

    def _found_in_destination(self, batch: BatchDescriptor, keys: AbstractSet[str]) -> Mapping[str, ObjectResult]:
        """Return the objects among these that are copied; their receipts alone do not prove it."""
        log.warning(
            "The receipts of %s in batch %d are not bound to its plan: the blobs decide",
            count_text(len(keys), "object"),
            batch.index,
        )
        destination, index = self._destination, self._index
        if destination is None or index is None or index.container != destination.container:
            return {}
        found = self._slice(batch).find_copies(
            lambda entry: entry.listed.key in keys,
            lambda prefix: with_retries(
                destination.list(prefix), Retrier(RetryBudget(), threading.Event()), f"list {destination.container}"
            ),
            container=destination.container,
            overwrite=IF_CHANGED,
            integrity=AUTO,
            try_number=1,
        )
        return {entry.listed.key: ObjectResult(receipt, batch=batch.index) for entry, receipt in found}

    def _slice(self, batch: BatchDescriptor) -> BatchSlice:
        index = self._index
        return BatchSlice(
            self._files,
            batch,
            bucket=self._pointer.bucket,
            s3_prefix=index.s3_prefix if index else "",
            blob_prefix=index.blob_prefix if index else "",
            mapped_names=bool(index and index.mapped_names),
        )

    def _left_out_receipt(self, listed: ListedObject, left_out: LeftOut) -> Receipt:
        if (left_out.etag, left_out.size_bytes) != (listed.etag, listed.size_bytes):
            token = self._index.token if self._index else ""
            path = f"{self._files.location}/{left_out_name(token)}"
            raise CorruptState(path=path, detail=f"{listed.key!r} has another ETag or size than in the listing")
        return replace(
            self._receipt(listed, left_out.status, left_out.reason),
            verified_by=left_out.verified_by,
            checksum=left_out.checksum,
        )

    def _receipt(self, listed: ListedObject, status: Status, reason: str) -> Receipt:
        return Receipt(
            bucket=listed.bucket,
            key=listed.key,
            etag="" if listed.etag == NO_ETAG else listed.etag,
            size_bytes=listed.size_bytes,
            container=self._index.container if self._index else "",
            blob=self._index.blob_of(listed.key) if self._index else "",
            status=status,
            reason=reason,
        )


def _merged(parts: list[ObjectResult]) -> ObjectResult:
    """Return the result of an object that one or several batches copied.

    If a part's receipt needs no further try (``copied``, ``unchanged``, ``skipped``), it decides: only the task that
    found the object complete commits it. A blob that another part found damaged outweighs it, unless it began after
    that. Otherwise the object failed: with a failed part's reason if there is one, else because no task committed the
    staged parts. Bytes and retries are added up.
    """
    bytes_sent, retries = sum(part.bytes_sent for part in parts), sum(part.retries for part in parts)
    receipts = [part.receipt for part in parts]
    damaged = [receipt for receipt in receipts if was_found_damaged(receipt)]
    settled = [receipt for receipt in receipts if settles(receipt) and all(_is_later(receipt, it) for it in damaged)]
    deciding = min(settled, key=_rank, default=None)
    if deciding is None:
        failed = next((receipt for receipt in (*damaged, *receipts) if receipt.status == FAILED), None)
        deciding = failed or replace(receipts[0], status=FAILED, reason=_NOT_COMMITTED)
    if len(parts) == 1:
        return ObjectResult(deciding, bytes_sent, retries, parts[0].batch)
    started = [receipt.started_at for receipt in receipts if receipt.started_at]
    whole = replace(
        deciding,
        bytes_sent=sum(receipt.bytes_sent for receipt in receipts),
        blocks_resumed=sum(receipt.blocks_resumed for receipt in receipts),
        retries=sum(receipt.retries for receipt in receipts),
        seconds=max(receipt.seconds for receipt in receipts),
        started_at=min(started, default=""),
    )
    batch = next((part.batch for part in parts if part.receipt.status == deciding.status), parts[0].batch)
    return ObjectResult(whole, bytes_sent, retries, batch)


def _is_later(receipt: Receipt, other: Receipt) -> bool:
    times, others = times_of(receipt), times_of(other)
    return times is not None and others is not None and times[0] >= others[1]


def _rank(receipt: Receipt) -> int:
    return (COPIED, UNCHANGED, SKIPPED, STAGED, FAILED).index(receipt.status)
