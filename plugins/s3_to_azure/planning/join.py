"""The merge join of two listings: of every key, the blob that is there, if both sides come in the same order."""

import logging
from collections.abc import Iterable
from typing import Final

from s3_to_azure.model.names import STATE_FOLDER
from s3_to_azure.model.objects import BlobState

_OURS: Final = f"{STATE_FOLDER}/"
# What a hierarchical namespace lists beside its files; nobody copied it, and nobody misses it.
_DIRECTORY: Final = "directory"

log = logging.getLogger(__name__)


class Join:
    """Finds blobs by name in one pass over the destination's listing, in constant memory.

    S3 lists by the keys' UTF-8 bytes. Azure promises less, and accounts with a hierarchical namespace list folder by
    folder. Therefore the order is checked: from the first name that comes out of order, nothing more is found. A blob
    that was found is there, whatever the order; that one is *not* there is only known if ``in_order`` still holds at
    the end.

    Args:
        blobs: The destination's listing; it is not begun if ``ordered`` is False.
        ordered: The names to look for come in ascending order.
    """

    def __init__(self, blobs: Iterable[BlobState], *, ordered: bool) -> None:
        """Read the first blob."""
        self.in_order = ordered
        self.seen = 0
        self.only_there = 0
        self._blobs = iter(blobs)
        self._head: BlobState | None = None
        self._last = ""
        if ordered:
            self._advance()

    def find(self, name: str) -> BlobState | None:
        """Return the blob of that name, or None where there is none or none can be found; names must ascend."""
        self._skip_to(name)
        blob = self._head
        if blob is None or blob.name != name:
            return None
        self._advance()
        return blob

    def finish(self) -> None:
        """Read the listing to its end, for the order and the count."""
        while self._head is not None:
            self._pass()

    def _skip_to(self, name: str) -> None:
        # Code point order is the order of UTF-8 bytes.
        while self._head is not None and self._head.name < name:
            self._pass()

    def _pass(self) -> None:
        """Leave the blob at the head behind: no name was looked for that is its own."""
        self.only_there += self._head is not None and self._head.blob_type != _DIRECTORY
        self._advance()

    def _advance(self) -> None:
        self._head = None
        if not self.in_order:
            return
        for blob in self._blobs:
            self.seen += 1
            if blob.name.startswith(_OURS):
                continue
            if blob.name <= self._last:
                self.in_order = False
                log.warning(
                    "The destination lists %r after %r, so the two listings cannot be joined: each copy will look at "
                    "its blob itself, one request more for each object",
                    blob.name,
                    self._last,
                )
                return
            self._head = blob
            self._last = blob.name
            return
