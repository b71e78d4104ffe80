"""Which way the bytes of an object take: fetched by Azure or through the worker, and why not the other.

A plan judges by what a listing shows and a copy by what HEAD shows, so the copy has the last word. Nothing here sends a
request. Whether Azure in fact reaches the bucket shows only the first block that it is asked to fetch.
"""

import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final
from urllib.parse import quote, urlsplit

from s3_to_azure.model import defaults
from s3_to_azure.model.checksums import CRC64NVME, proven_by
from s3_to_azure.model.errors import PermanentError
from s3_to_azure.model.limits import MAX_SOURCE_URL_CHARACTERS, MIB
from s3_to_azure.model.objects import FetchAccess, ListedObject, ObjectVersion, SourceChecksum, value
from s3_to_azure.model.options import AUTO, READBACK, REREAD, VIA_AZURE, VIA_WORKER, Via, is_as_strong
from s3_to_azure.model.reasons import (
    ARCHIVE_CLASS,
    CANNOT_PRESIGN,
    LONG_URL,
    NO_BLOCK_SIZE,
    NO_CRC64NVME,
    NOT_FETCHED,
    ONE_REQUEST,
    PRIVATE_ENDPOINT,
    REQUESTER_PAID,
    SSE_C,
    WORKER_READS,
)
from s3_to_azure.transfer.blocks import block_bytes_for

# Storage classes whose objects must be restored before they can be read.
ARCHIVE_CLASSES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})

# Each block costs two writes, and a killed worker loses those in flight. Blocks that note a CRC, and blocks that
# are fetched again, count toward the 100,000 uncommitted blocks of a blob.
LEAST_BLOCK_BYTES: Final = 64 * MIB
MOST_BLOCK_BYTES: Final = 256 * MIB
MOST_BLOCKS: Final = 12_500

# A session's token has 400 to 1,200 characters; who plans without the credentials reckons with one.
_QUERY_WITH_TOKEN: Final = 1_100
_AWS_HOST: Final = "s3.us-east-1.amazonaws.com"
# Names that only a private network resolves (RFC 6762, RFC 8375, ICANN), and AWS's interface endpoints.
_PRIVATE_NAMES: Final = frozenset({"local", "localdomain", "localhost", "internal", "lan", "corp", "home", "intranet"})
_INTERFACE_ENDPOINT: Final = "vpce"


class NotFetchable(PermanentError):
    """Azure cannot fetch the object, and ``via="azure"`` allows no other way."""

    template = "Azure cannot fetch {key!r}: {why}. Choose via='auto', which copies such objects through the worker."


@value
class Route:
    """Which way an object's bytes take.

    Attributes:
        via: ``azure`` or ``worker``.
        not_fetched: Code of ``reasons.NOT_FETCHED`` if Azure was to fetch it where it can; empty otherwise.
    """

    via: str
    not_fetched: str = ""


@dataclass(frozen=True, slots=True)
class Routing:
    """Decides on the way of each object of a bucket.

    Attributes:
        via: The user's choice.
        access: How Azure would read the bucket.
        integrity: The weakest verification level to accept, or one of ``options.INTEGRITY``.
        budget_bytes: The memory budget; it must hold a block, so that streaming can take over.
        block_bytes: The user's block size, or None.
    """

    via: Via
    access: FetchAccess
    integrity: str = defaults.INTEGRITY
    budget_bytes: int = MOST_BLOCK_BYTES
    block_bytes: int | None = None

    def route(self, source: ListedObject | ObjectVersion) -> Route:
        """Return the way of an object; of one that a listing shows, as if S3 stored the checksum that is needed.

        Raises:
            NotFetchable: ``via="azure"``, and Azure cannot fetch it.
        """
        route = self.expected(source)
        if route.not_fetched and self.via == VIA_AZURE:
            raise NotFetchable(key=source.key, why=NOT_FETCHED[route.not_fetched])
        return route

    def expected(self, source: ListedObject | ObjectVersion) -> Route:
        """Return what ``route`` returns; with ``via="azure"``, the code of an object that fails."""
        if self.via == VIA_WORKER or not source.size_bytes:
            # An empty object has no bytes to fetch.
            return Route(VIA_WORKER)
        code = self.obstacle(source)
        return Route(VIA_WORKER, code) if code else Route(VIA_AZURE)

    def block_bytes_for(self, size_bytes: int) -> int:
        """Return the size of the blocks in which Azure fetches an object of this size, which has no obstacle."""
        found = fetched_block_bytes(size_bytes, budget_bytes=self.budget_bytes, block_bytes=self.block_bytes)
        if found is None:
            raise AssertionError(f"no block size suits {size_bytes} bytes")
        return found

    def obstacle(self, source: ListedObject | ObjectVersion) -> str:
        """Return the code of ``reasons.NOT_FETCHED`` for an object that Azure does not fetch; empty if it does."""
        if self.via == AUTO and source.size_bytes <= (self.block_bytes or block_bytes_for(0)):
            return ONE_REQUEST
        return bucket_obstacle(self.access) or self._own_obstacle(source)

    def _own_obstacle(self, source: ListedObject | ObjectVersion) -> str:
        size_bytes = source.size_bytes
        block_bytes = fetched_block_bytes(size_bytes, budget_bytes=self.budget_bytes, block_bytes=self.block_bytes)
        is_unproven = isinstance(source, ObjectVersion) and fetched_checksum(source, self.integrity) is None
        obstacles = (
            (WORKER_READS, self.integrity in (REREAD, READBACK)),
            (ARCHIVE_CLASS, source.storage_class in ARCHIVE_CLASSES),
            (LONG_URL, url_characters(self.access, source.key) > MAX_SOURCE_URL_CHARACTERS),
            (NO_CRC64NVME, is_unproven),
            (NO_BLOCK_SIZE, block_bytes is None),
        )
        return next((code for code, is_in_the_way in obstacles if is_in_the_way), "")


@lru_cache(maxsize=8)
def bucket_obstacle(access: FetchAccess) -> str:
    """Return the code of why Azure can fetch no object of the bucket; empty if nothing is in its way."""
    if not access.can_presign:
        return CANNOT_PRESIGN
    if access.has_customer_key:
        return SSE_C
    if access.requester_pays:
        return REQUESTER_PAID
    return "" if is_public(access.base_url) else PRIVATE_ENDPOINT


def is_public(url: str) -> bool:
    """Return whether a URL may lead to a public https endpoint; names that a private DNS server maps look public."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
    except ValueError:
        return False
    if parts.scheme != "https" or not host:
        return False
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        labels = host.split(".")
    return len(labels) > 1 and labels[-1] not in _PRIVATE_NAMES and _INTERFACE_ENDPOINT not in labels


def url_characters(access: FetchAccess, key: str) -> int:
    """Return the length of an object's presigned URL."""
    return len(access.base_url) + len("/") + len(quote(key, safe="/~")) + len("?") + access.query_characters


def fetched_checksum(version: ObjectVersion, integrity: str = AUTO) -> SourceChecksum | None:
    """Return the CRC64NVME over all bytes that proves a fetched copy; None if there is none that is strong enough."""
    for checksum in (version.checksum, *version.weaker):
        if checksum and checksum.algorithm == CRC64NVME.name and not checksum.parts:
            return checksum if is_as_strong(proven_by(checksum), integrity) else None
    return None


def fetched_block_bytes(size_bytes: int, *, budget_bytes: int, block_bytes: int | None = None) -> int | None:
    """Return the size of the blocks in which Azure fetches an object; None if none suits it.

    Args:
        size_bytes: The object's size.
        budget_bytes: The memory budget.
        block_bytes: The user's block size; it is enlarged where the object would need too many blocks.
    """
    smallest = -(-size_bytes // MOST_BLOCKS)
    chosen = max(block_bytes or LEAST_BLOCK_BYTES, -(-smallest // MIB) * MIB)
    return chosen if min(chosen, size_bytes) <= min(budget_bytes, MOST_BLOCK_BYTES) else None


def planned_access(
    bucket: str, *, endpoint_url: str | None = None, extra_arguments: Mapping[str, Any] | None = None
) -> FetchAccess:
    """Return what can be said of the access to a bucket without S3's SDK and without credentials.

    Args:
        bucket: The bucket, or an access point's ARN.
        endpoint_url: The connection's own endpoint; None or empty: AWS's.
        extra_arguments: Of reading, named as in boto3.
    """
    own, given = (endpoint_url or "").rstrip("/"), extra_arguments or {}
    return FetchAccess(
        f"{own}/{bucket}" if own else f"https://{bucket}.{_AWS_HOST}",
        _QUERY_WITH_TOKEN,
        requester_pays=given.get("RequestPayer") == "requester",
        has_customer_key=bool(given.get("SSECustomerKey")),
        can_presign=not bucket.endswith(("--x-s3", ".mrap")),
    )
