"""A task of one object."""

import logging
from typing import Any

from s3_to_azure.copying.lines import receipt_line, which_try
from s3_to_azure.copying.places import Places
from s3_to_azure.model.formatting import size_text
from s3_to_azure.model.names import check_blob, check_key
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.transfer.context import CopyTask, Workshop
from s3_to_azure.transfer.object import copy_object

log = logging.getLogger(__name__)


class ObjectJob:
    """One object.

    Args:
        shop: Stores, settings, counts.
        places: Bucket and container.
        key: The object.
        blob: The blob's name.
        try_number: For the receipt.
    """

    def __init__(self, shop: Workshop, places: Places, *, key: str, blob: str, try_number: int) -> None:
        """Check the names; nothing is sent yet."""
        self.listing = False
        self.one: tuple[str, str] | None = (key, blob)
        self._shop = shop
        self._places = places
        self._key = check_key(key)
        self._blob = check_blob(blob)
        self._try_number = try_number

    def run(self) -> dict[str, Any]:
        """Copy it; return its receipt.

        Raises:
            TransferError: Nothing was committed.
        """
        shop, bucket, key = self._shop, self._places.bucket, self._key
        shop.check(bucket, create_container=self._places.create_container)
        version = shop.retrier.call(f"look at {key!r}", lambda: shop.source.head(bucket, key))
        listed = ListedObject(
            bucket, key, version.etag, version.size_bytes, version.last_modified, version.storage_class
        )
        shop.progress.add(objects_total=1, bytes_total=listed.size_bytes)
        log.info(
            "Copying %r (%s)%s, from S3 bucket %s to %r in Azure container %s",
            key,
            size_text(listed.size_bytes),
            which_try(self._try_number),
            bucket,
            self._blob,
            shop.destination.container,
        )
        task = CopyTask(bucket, key, self._blob, listed=listed)
        receipt = copy_object(shop, task, try_number=self._try_number)
        shop.progress.add(objects_done=1)
        log.info("%s", receipt_line(receipt))
        return receipt.as_dict()
