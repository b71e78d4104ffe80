"""What one object is proven by: its rung, the parts it was uploaded in, and what was read twice."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from s3_to_azure.engine import rungs
from s3_to_azure.engine.readback import read_back
from s3_to_azure.engine.rungs import MAX_MD5_BLOCK_BYTES, Rung
from s3_to_azure.engine.workshop import Workshop
from s3_to_azure.model import checksums
from s3_to_azure.model.objects import ObjectVersion, PartSizes
from s3_to_azure.model.retry import Retrier
from s3_to_azure.transfer.blocks import StagedBlock

# How often an object that must be read twice alike is read at most.
MOST_READINGS: Final = 3


class Evidence:
    """The proof of one object's copy, as it is gathered.

    Args:
        shop: Stores, settings, buffers.
        blob: The blob's name.
        retrier: The copy's own, which counts.
    """

    def __init__(self, shop: Workshop, blob: str, retrier: Retrier) -> None:
        """Begin with nothing looked up."""
        self._shop = shop
        self._blob = blob
        self._retrier = retrier
        self._parts: tuple[str, PartSizes | None] | None = None
        self._was_read_back = False
        self.was_reread = False

    def on_its_rung(self, version: ObjectVersion) -> tuple[ObjectVersion, Rung]:
        """Return the version with the checksum that it will be proven by.

        Raises:
            IntegrityUnavailable: The user requires a stronger one.
        """
        settings = self._shop.settings
        rung = rungs.choose(
            version,
            lambda: self._part_sizes(version),
            largest_block_bytes=min(MAX_MD5_BLOCK_BYTES, settings.memory_budget_bytes),
        )
        checksums.require(settings.integrity, rung.checksum, key=version.key)
        return version if rung.checksum is version.checksum else replace(version, checksum=rung.checksum), rung

    def _part_sizes(self, version: ObjectVersion, *, each: bool = False) -> PartSizes | None:
        if each or self._parts is None or self._parts[0] != version.etag:
            found = self._retrier.call(
                f"look up the parts of {version.key!r}", lambda: self._shop.source.part_sizes(version, each=each)
            )
            self._parts = (version.etag, found)
        return self._parts[1]

    def guessed_wrong(self, version: ObjectVersion) -> bool:
        """After a mismatch: look at every part, if that was not done, and say whether they are not as was thought."""
        if version.checksum is None or version.checksum.parts < 2:  # noqa: PLR2004 - one part is the whole
            return False
        before = self._part_sizes(version)
        return (
            before is not None
            and not before.certain
            and self._part_sizes(version, each=True) != replace(before, certain=True)
        )

    def must_reread(self, version: ObjectVersion) -> bool:
        """Say whether S3 stores no checksum and the user asked for a second reading instead."""
        return version.checksum is None and self._shop.settings.integrity == checksums.REREAD

    def rung_name(self, version: ObjectVersion) -> str:
        """Return the rung as the blob's metadata names it."""
        return checksums.REREAD if self.was_reread else checksums.proven_by(version.checksum)

    def verified_by(self, version: ObjectVersion) -> str:
        """Return what the receipt says of the proof."""
        return self.rung_name(version) + ("+readback" if self._was_read_back else "")

    def read_back(self, sent: Iterable[StagedBlock]) -> None:
        """Read the committed blob back from Azure, where the user asked for that."""
        shop = self._shop
        if shop.settings.integrity == checksums.READBACK:
            read_back(shop.destination, self._blob, sent, buffers=shop.buffers, retrier=self._retrier)
            self._was_read_back = True
