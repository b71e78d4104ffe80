"""What the next try of a batch need not do again."""

import logging
from collections.abc import Iterator
from itertools import islice
from os.path import commonprefix
from typing import Final, Literal

from s3_to_azure.engine.batch_slice import BatchSlice
from s3_to_azure.engine.workshop import Workshop
from s3_to_azure.model.errors import TransientError
from s3_to_azure.model.objects import BlobState, Receipt
from s3_to_azure.model.ports import StateFiles
from s3_to_azure.state.plan import PlanEntry
from s3_to_azure.state.receipts import read_receipts, settles

# A listing reads at most so many blobs beside the batch's own: some 200 requests.
_MOST_OTHER_BLOBS: Final = 1_000_000

log = logging.getLogger(__name__)


class EarlierTries:
    """What earlier tries of a batch finished: by their receipts, and by one listing of the destination.

    Memory: 250 bytes for each object that is done, 600 for each that is left.

    Args:
        shop: The destination and how to copy.
        files: The run's files.
        batch: The batch.
    """

    def __init__(self, shop: Workshop, files: StateFiles, batch: BatchSlice) -> None:
        """Read the receipts."""
        self._shop = shop
        self._batch = batch
        receipts = read_receipts(files, batch.descriptor)
        # Keys and sizes only: whole receipts of a large batch would be 1 KB each.
        settled = {receipt.key: receipt.size_bytes for receipt in receipts if settles(receipt)}
        self.keys = set(settled)
        self._size_bytes = sum(settled.values())

    @property
    def size_bytes(self) -> int:
        """Bytes of the batch that those objects hold."""
        return min(self._size_bytes, self._batch.descriptor.size_bytes)

    def has(self, entry: PlanEntry) -> bool:
        """Say whether the object needs nothing more."""
        return entry.listed.key in self.keys

    def from_destination(self, try_number: int) -> Iterator[Receipt]:
        """Find the objects that were finished but whose receipt was lost with the earlier try; yield their receipts.

        What this misses is not wrong: its copy fails its condition, looks, and finds itself done.
        """
        left = {self._batch.blob_of(entry): entry for entry in self._batch.entries() if not self.has(entry)}
        if not left or self._batch.descriptor.kind == "range":
            return
        destination = self._shop.destination
        first, last = min(left), max(left)
        prefix = commonprefix((first, last))
        try:
            for blob in islice(destination.list(prefix), len(left) + _MOST_OTHER_BLOBS):
                entry = left.get(blob.name)
                if entry is not None and (status := self._status(entry, blob)):
                    self.keys.add(entry.listed.key)
                    self._size_bytes += entry.listed.size_bytes
                    yield _found(entry, blob, status, destination.container, try_number)
                if blob.name >= last:
                    return
        except TransientError as error:
            log.warning("The destination could not be listed, so each copy finds out by itself: %s", error)

    def _status(self, entry: PlanEntry, blob: BlobState) -> Literal["copied", "unchanged"] | None:
        if not blob.holds(entry.listed):
            return None
        if entry.condition is not None:
            # As planned still: with overwrite=always this is the copy that is to be made anew.
            if entry.condition.fits(blob):
                return None
            return "unchanged" if entry.metadata_only else "copied"
        return None if self._shop.settings.overwrite == "always" else "unchanged"


def _found(
    entry: PlanEntry, blob: BlobState, status: Literal["copied", "unchanged"], container: str, try_number: int
) -> Receipt:
    return Receipt(
        bucket=entry.listed.bucket,
        key=entry.listed.key,
        etag=entry.listed.etag,
        size_bytes=entry.listed.size_bytes,
        container=container,
        blob=blob.name,
        status=status,
        reason="by_earlier_try" if status == "copied" else "",
        verified_by=blob.metadata.get("s3_verified_by", "")[:100],
        checksum=blob.metadata.get("s3_checksum", "")[:200],
        try_number=try_number,
    )
