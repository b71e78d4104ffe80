"""One copy task for each key that the command line names."""

import argparse
from collections.abc import Iterator

from s3_to_azure.cli.addresses import Destination, Source
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.model.retry import patiently
from s3_to_azure.transfer.context import CopyTask, Workshop


def tasks_of(
    shop: Workshop, options: argparse.Namespace, source: Source, destination: Destination
) -> Iterator[CopyTask]:
    """Yield them in the order of the list, or of S3's listing; the progress counts each."""
    if options.keys_from:
        # A list of keys costs its import only here.
        from s3_to_azure.cli.listing import keys_given  # noqa: PLC0415

        for key in keys_given(options.keys_from, source):
            yield _task(shop, source, destination, key, None)
    elif source.is_prefix:
        listing = shop.source.list(source.bucket, source.key)
        for listed in patiently(listing, shop.retrier, f"list s3://{source.bucket}"):
            yield _task(shop, source, destination, listed.key, listed)
    else:
        yield _task(shop, source, destination, source.key, None)


def _task(shop: Workshop, source: Source, destination: Destination, key: str, listed: ListedObject | None) -> CopyTask:
    shop.progress.add(objects_total=1, bytes_total=listed.size_bytes if listed else 0)
    mapped = shop.settings.refused_names == "map"
    return CopyTask(source.bucket, key, destination.blob_for(source, key, mapped=mapped), listed=listed)
