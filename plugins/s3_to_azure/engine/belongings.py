"""What a blob gets beside its bytes: the record of the copy, the object's metadata and headers, tags, tier."""

from collections.abc import Mapping
from datetime import UTC

from s3_to_azure.engine import proof
from s3_to_azure.engine.evidence import Evidence
from s3_to_azure.engine.workshop import Workshop
from s3_to_azure.model.objects import BlobContents, ObjectVersion
from s3_to_azure.model.retry import Retrier
from s3_to_azure.model.settings import joined_metadata, tags_to_azure


class Belongings:
    """The belongings of one object's copy.

    Args:
        shop: Source and settings.
        evidence: Knows what the copy is proven by.
        retrier: The copy's own, which counts.
    """

    def __init__(self, shop: Workshop, evidence: Evidence, retrier: Retrier) -> None:
        """Begin with nothing looked up."""
        self._shop = shop
        self._evidence = evidence
        self._retrier = retrier
        self._tags: tuple[str, Mapping[str, str]] | None = None
        self.metadata_dropped = False

    def contents(self, version: ObjectVersion) -> BlobContents:
        """Return what the commit gives the blob beside its bytes.

        Raises:
            PermanentError: Azure cannot hold it, and the user did not say what to drop.
        """
        own = {
            "s3_etag": version.etag,
            "s3_last_modified": version.last_modified.astimezone(UTC).isoformat(),
            "s3_checksum": proof.checksum_text(version),
            "s3_verified_by": self._evidence.rung_name(version),
        }
        named = {name: value for name, value in own.items() if value}
        choices = self._shop.settings.fidelity
        metadata, self.metadata_dropped = joined_metadata(
            named, version.metadata, key=version.key, oversized=choices.oversized_metadata
        )
        return BlobContents(
            metadata,
            version.headers,
            proof.content_md5(version),
            tags=self._blob_tags(version) if choices.tags else None,
            tier=choices.tiers.get(version.storage_class, ""),
        )

    def _blob_tags(self, version: ObjectVersion) -> Mapping[str, str]:
        if self._tags is None or self._tags[0] != version.etag:
            found = self._retrier.call(
                f"look up the tags of {version.key!r}", lambda: self._shop.source.tags(version.bucket, version.key)
            )
            self._tags = (version.etag, tags_to_azure(found, key=version.key))
        return self._tags[1]
