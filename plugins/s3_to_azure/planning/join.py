"""The merge join of two listings: find the blob of each key while both sides come in the same order."""

import logging
from collections.abc import Callable, Iterable

from s3_to_azure.model.names import is_reserved
from s3_to_azure.model.objects import DIRECTORY, BlobState

log = logging.getLogger(__name__)


class Join:
    """Finds blobs by name in one pass over the destination's listing, in constant memory.

    Both sides must come in the order of their UTF-8 bytes. S3 lists in this order. Azure does not guarantee it, and
    accounts with a hierarchical namespace list folder by folder. Therefore each name's order is checked, and after the
    first name out of order nothing more is found. A blob that was found exists in any case. Whether a blob that was not
    found is absent is known only if ``in_order`` is still true at the end.

    Args:
        blobs: The destination's listing; it is not read if ``ordered`` is False.
        ordered: The names to find come in ascending order.
        is_counted: Whether a blob that no name asks for is one of ``only_there``.

    Attributes:
        in_order: Both sides have come in ascending order so far.
        seen: Blobs read.
        only_there: Blobs passed that no name asked for, and that are counted.
    """

    def __init__(
        self, blobs: Iterable[BlobState], *, ordered: bool, is_counted: Callable[[BlobState], bool] = lambda _: True
    ) -> None:
        self.in_order = ordered
        self.seen = 0
        self.only_there = 0
        self._is_counted = is_counted
        self._blobs = iter(blobs)
        self._head: BlobState | None = None
        self._last = ""
        if ordered:
            self._advance()

    def find(self, name: str) -> BlobState | None:
        """Return the blob of that name, or None if it is not found; names must ascend from call to call."""
        # The order of code points is the order of UTF-8 bytes.
        while self._head is not None and self._head.name < name:
            self._pass_head()
        blob = self._head
        if blob is None or blob.name != name:
            return None
        self._advance()
        return blob

    def finish(self) -> None:
        """Read the listing to its end, to check the order and to count the rest."""
        while self._head is not None:
            self._pass_head()

    def _pass_head(self) -> None:
        """Count the current blob as one that no name asked for, and go on."""
        blob = self._head
        # An account with a hierarchical namespace lists directories too, which nobody copied from S3.
        self.only_there += blob is not None and blob.blob_type != DIRECTORY and self._is_counted(blob)
        self._advance()

    def _advance(self) -> None:
        self._head = None
        if not self.in_order:
            return
        for blob in self._blobs:
            self.seen += 1
            if is_reserved(blob.name):
                continue
            if blob.name <= self._last:
                self.in_order = False
                log.warning(
                    "The destination lists %r after %r, so the two listings cannot be joined: each copy will look up "
                    "its blob by one more request",
                    blob.name,
                    self._last,
                )
                return
            self._head = blob
            self._last = blob.name
            return
