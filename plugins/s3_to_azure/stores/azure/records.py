"""Notices that blobs lose their metadata on the way to Azure: their first is looked at after it was written."""

from collections.abc import Callable

from s3_to_azure.model import record
from s3_to_azure.model.errors import AZURE, TransferError, UnexpectedResponse
from s3_to_azure.model.objects import BlobState


class RecordCheck:
    """Whether the blobs of a container keep the record of their copy.

    A gateway may accept a write and drop some of its headers without a word. nginx drops those with an underscore in
    their names, which the metadata of each copy has. No signature covers them where a SAS or a token authorises.

    Args:
        container: The container's name.
        look_up: Returns a blob, or None if there is none.
    """

    def __init__(self, container: str, look_up: Callable[[str], BlobState | None]) -> None:
        self._container = container
        self._look_up = look_up
        # None until a blob was looked at.
        self._are_kept: bool | None = None

    def require(self, blob: str) -> None:
        """Raise UnexpectedResponse if blobs lose their records: each run would make such copies again."""
        if self._are_kept is False:
            detail = (
                "blobs are written without their metadata; a gateway before Azure drops headers, probably those with "
                "an underscore in their names, and has to let them pass (nginx: underscores_in_headers on)"
            )
            raise UnexpectedResponse(service=AZURE, resource=repr(f"{self._container}/{blob}"), detail=detail)

    def after_write(self, blob: str, etag: str, *, has_record: bool) -> str:
        """Return the ETag of a blob that was written; look at the first of them.

        Args:
            blob: The blob's name.
            etag: Its new ETag.
            has_record: Whether the request had the record of a copy.

        Raises:
            UnexpectedResponse: The blob has no record.
        """
        if has_record and self._are_kept is None:
            try:
                found = self._look_up(blob)
            except TransferError:
                # It is written all the same; the next one is looked at.
                return etag
            if found is not None and found.etag == etag:
                self._are_kept = record.ETAG in found.metadata
        self.require(blob)
        return etag
