"""What the ways of copying one object share: both stores, its counts, its proof, and what goes with its bytes."""

from dataclasses import replace

from s3_to_azure.engine.belongings import Belongings
from s3_to_azure.engine.evidence import Evidence
from s3_to_azure.engine.ledger import Ledger
from s3_to_azure.engine.workshop import CopyTask, Workshop
from s3_to_azure.model.objects import BlobState, ObjectVersion, Receipt


class ObjectCopy:
    """One try to copy one object.

    Args:
        shop: Stores, settings, buffers.
        task: What to copy.
        try_number: Airflow's number of this try.
    """

    def __init__(self, shop: Workshop, task: CopyTask, try_number: int) -> None:
        """Begin with nothing looked at."""
        self.shop = shop
        self.task = task
        self.ledger = Ledger(shop, task, try_number)
        self.retrier = shop.retrier.counting(self.ledger.count_retry)
        self.evidence = Evidence(shop, task.blob, self.retrier)
        self.belongings = Belongings(shop, self.evidence, self.retrier)

    def look_at_object(self) -> ObjectVersion:
        """Return the object's current version, or the one that the user named."""
        task, source = self.task, self.shop.source
        return self.retrier.call(f"look at object {task.key!r}", lambda: source.head(task.bucket, task.key))

    def look_at_blob(self) -> BlobState | None:
        """Return the committed blob, or None."""
        blob, destination = self.task.blob, self.shop.destination
        return self.retrier.call(f"look at blob {blob!r}", lambda: destination.head(blob))

    def copied(self, version: ObjectVersion, *, blocks: int) -> Receipt:
        """Return the receipt of a version whose commit is confirmed."""
        reason = "metadata_dropped" if self.belongings.metadata_dropped else ""
        verified_by = self.evidence.verified_by(version)
        return self.ledger.receipt(version, "copied", blocks=blocks, reason=reason, verified_by=verified_by)

    def unchanged(self, version: ObjectVersion, blob: BlobState | None, *, reason: str = "") -> Receipt:
        """Return the receipt of a version that the blob holds already, with the proof that the blob records."""
        recorded = blob.metadata if blob else {}
        return replace(
            self.ledger.receipt(version, "unchanged", reason=reason),
            verified_by=recorded.get("s3_verified_by", ""),
            checksum=recorded.get("s3_checksum", ""),
        )
