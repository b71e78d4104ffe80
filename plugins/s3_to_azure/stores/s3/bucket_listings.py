"""The requests of a bucket's listing: ListObjectsV2, or version 1 with stores that know no other."""

import threading
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from operator import attrgetter
from typing import Any, Final

from s3_to_azure.model.errors import S3
from s3_to_azure.model.limits import LISTING_PAGE_KEYS, LISTING_REQUESTS
from s3_to_azure.model.names import is_shown_only
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.stores.http.pages import Pages
from s3_to_azure.stores.http.parallel_listing import ParallelListing
from s3_to_azure.stores.s3.errors import s3_errors
from s3_to_azure.stores.s3.listing import NextPage, parse_page, probe_plus

# S3 Express lists in no order, and cannot start after a key:
# https://docs.aws.amazon.com/AmazonS3/latest/userguide/s3-express-differences.html
_DIRECTORY_BUCKET: Final = "--x-s3"


class BucketListings:
    """Lists buckets with one client.

    Args:
        client: A boto3 client whose listings ``parse_page`` reads.
        payer: The arguments that say who pays for a request.
        log_once: Logs a sentence, each only once.
    """

    def __init__(self, client: Any, payer: Mapping[str, Any], *, log_once: Callable[[str], None]) -> None:
        self._client = client
        self._payer = payer
        self._log_once = log_once
        self._lock = threading.Lock()
        self._plus_meanings: dict[str, bool] = {}

    def list(self, bucket: str, prefix: str, *, max_keys: int | None = None) -> Iterator[ListedObject]:
        """Yield the objects below the prefix; all of them with several requests at the same time."""
        page_keys = min(LISTING_PAGE_KEYS, max_keys or LISTING_PAGE_KEYS)
        plus_is_space = partial(self._plus_is_space, bucket)

        def fetch_page(after: str | None, start: NextPage | None) -> tuple[list[ListedObject], NextPage | None]:
            page = self._page(bucket, prefix, start, page_keys, after=after)
            found, following = parse_page(page, bucket, prefix=prefix, plus_is_space=plus_is_space)
            below = [listed for listed in found if listed.key.startswith(prefix)]
            if len(below) < len(found):
                self._log_once("The store lists objects outside of the prefix that was asked for: they are ignored")
            return below, following

        resource = f"s3://{bucket}"
        if max_keys is None and not bucket.endswith(_DIRECTORY_BUCKET):
            return ParallelListing(
                fetch_page,
                name_of=attrgetter("key"),
                service=S3,
                resource=resource,
                at_once=LISTING_REQUESTS,
                max_waiting=3 * LISTING_REQUESTS,
                is_named=lambda listed: not is_shown_only(listed),
                can_start=lambda following: not following.is_marker,
            )
        first_page = partial(fetch_page, None)
        return Pages(first_page, name_of=attrgetter("key"), service=S3, resource=resource, limit=max_keys)

    def _page(
        self, bucket: str, prefix: str, start: NextPage | None, page_keys: int, *, after: str | None = None
    ) -> Mapping[str, Any]:
        """Request a page of a listing; with ListObjects (version 1) if the store has answered with its pages."""
        request = {"Bucket": bucket, "Prefix": prefix, "MaxKeys": page_keys, **self._payer}
        with s3_errors(bucket=bucket, key=None):
            if start is not None and start.is_marker:
                page: Mapping[str, Any] = self._client.list_objects(**request, Marker=start.token)
            else:
                continuation = {"ContinuationToken": start.token} if start else {"StartAfter": after} if after else {}
                page = self._client.list_objects_v2(**request, **continuation)
        return page

    def _plus_is_space(self, bucket: str, encoded_key: bytes) -> bool:
        """Return whether a ``+`` in a URL-encoded key is a space: the store lists no such key with a real ``+``.

        Only the first ``+`` of a bucket that its page does not explain costs this request.
        """
        with self._lock:
            known = self._plus_meanings.get(bucket)
        if known is None:
            known = probe_plus(encoded_key, bucket, lambda prefix: self._page(bucket, prefix, None, 1))
            with self._lock:
                self._plus_meanings[bucket] = known
        return known
