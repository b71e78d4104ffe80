"""What a plan says: the batches, and how many objects and bytes each decision holds; no I/O."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from s3_to_azure.model import defaults
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.formatting import count_text
from s3_to_azure.model.options import Archived
from s3_to_azure.state.plan import BatchDescriptor
from s3_to_azure.transfer.blocks import block_bytes_for

# What a listing shows of objects that cannot be read before somebody restores them.
ARCHIVE_CLASSES: Final = frozenset({"GLACIER", "DEEP_ARCHIVE"})
MOST_EXAMPLES: Final = 10
_REWRITTEN: Final = (
    "{count} written to S3 again with the same bytes since the copy: metadata and headers of their blobs are updated, "
    "no bytes are copied."
)
_MAPPED: Final = "{count} with a name that Azure refuses, copied under a mapped one; s3-to-azure key tells the key."
_IN_ARCHIVE: Final = "{count} in an archive class; unless restored already: {then}."
_ON_ARCHIVED: Final[Mapping[Archived, str]] = {
    "fail": "restore them in S3 first, or the copy fails",
    "skip": "skipped",
    "restore": "S3 is asked to restore them, and a later run copies them",
}


@dataclass(frozen=True, slots=True)
class Amount:
    """Objects and their bytes."""

    objects: int = 0
    size_bytes: int = 0

    def plus(self, size_bytes: int) -> "Amount":
        """Return the amount with one more object."""
        return Amount(self.objects + 1, self.size_bytes + size_bytes)


class Count:
    """Objects and their bytes while they are counted."""

    __slots__ = ("objects", "size_bytes")

    def __init__(self) -> None:
        """Begin at none."""
        self.objects = self.size_bytes = 0

    def add(self, size_bytes: int) -> None:
        """Count one more object."""
        self.objects += 1
        self.size_bytes += size_bytes

    def amount(self) -> Amount:
        """Return the amount as of now."""
        return Amount(self.objects, self.size_bytes)


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests by the kinds that are billed apart.

    Attributes:
        s3_list: ListObjectsV2.
        s3_get: GET and HEAD.
        azure_list: List Blobs.
        azure_read: HEAD and Get Block List.
        azure_write: Put Blob, Put Block and Put Block List.
    """

    s3_list: int = 0
    s3_get: int = 0
    azure_list: int = 0
    azure_read: int = 0
    azure_write: int = 0

    def times(self, count: int) -> "Requests":
        """Return as many times these."""
        return Requests(
            count * self.s3_list,
            count * self.s3_get,
            count * self.azure_list,
            count * self.azure_read,
            count * self.azure_write,
        )

    def plus(self, other: "Requests") -> "Requests":
        """Return the sum."""
        return Requests(
            self.s3_list + other.s3_list,
            self.s3_get + other.s3_get,
            self.azure_list + other.azure_list,
            self.azure_read + other.azure_read,
            self.azure_write + other.azure_write,
        )


def requests_for(size_bytes: int, *, block_bytes: int | None, looked: bool) -> Requests:
    """Return the requests that one copy makes when nothing fails and nothing is staged.

    Args:
        size_bytes: The object's size.
        block_bytes: The user's block size, or None.
        looked: The plan knows the destination's state; otherwise the copy asks for it.
    """
    block = block_bytes or block_bytes_for(size_bytes)
    look = 0 if looked else 1
    if size_bytes <= block:
        return Requests(s3_get=1, azure_read=look, azure_write=1)
    blocks = -(-size_bytes // block)
    # HEAD of the object; the staged blocks, and a look at the blob before the first is sent.
    return Requests(s3_get=1 + blocks, azure_read=2, azure_write=blocks + 1)


UPDATE_REQUESTS: Final = Requests(s3_get=1, azure_read=2, azure_write=2)
"""What it takes to bring a blob's metadata and headers up to date."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The batches of a run, and the reason for every object left out.

    Attributes:
        token: Names the plan's files.
        copy: What the batches hold; an object of which only metadata is updated counts without its bytes.
        skipped: By reason.
        failed: By reason: what the plan knows that cannot be copied.
        only_in_destination: Blobs without an object; never touched. None: the listings could not be joined.
        joined: Both listings came in the same order, so every object's destination is known.
        rewritten: Those of them that S3 received again with the same bytes: only metadata and headers are updated.
        archived: Objects to copy that lie in an archive class.
        on_archived: What the copies do with those of them that nobody has restored.
        refused_names: A few keys whose blob Azure would refuse.
        mapped: Objects to copy whose blob's name is spelled otherwise, because Azure would refuse it.
        mapped_names: A few of these, each key with its blob.
        planning: Requests that listing and plan made.
        copying: Requests that the copies will make.
    """

    token: str
    batches: tuple[BatchDescriptor, ...]
    listed: Amount
    copy: Amount
    unchanged: Amount
    skipped: Mapping[str, Amount]
    failed: Mapping[str, Amount]
    only_in_destination: int | None
    joined: bool
    rewritten: int = 0
    archived: int = 0
    on_archived: Archived = defaults.ARCHIVED
    refused_names: tuple[str, ...] = field(default=())
    mapped: int = 0
    mapped_names: tuple[tuple[str, str], ...] = field(default=())
    planning: Requests = field(default=Requests())
    copying: Requests = field(default=Requests())

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know before the first byte moves."""
        refused = self.skipped.get("name_refused", Amount()).objects + self.failed.get("name_refused", Amount()).objects
        said = (
            (
                refused,
                f"{count_text(refused, 'object')} with a name that Azure refuses. Rename, or leave out by a filter.",
            ),
            (
                self.mapped,
                _MAPPED.format(count=count_text(self.mapped, "object")),
            ),
            (
                self.archived,
                _IN_ARCHIVE.format(count=count_text(self.archived, "object"), then=_ON_ARCHIVED[self.on_archived]),
            ),
            (
                self.rewritten,
                _REWRITTEN.format(count=count_text(self.rewritten, "object")),
            ),
            (
                not self.joined,
                "The listings of source and destination are not in one order: each copy looks at its blob itself.",
            ),
        )
        return tuple(sentence for holds, sentence in said if holds)

    def summary(self) -> dict[str, Any]:
        """Return the counts as JSON-ready values, without any name of a user's."""
        return {
            "batches": len(self.batches),
            "range_batches": sum(batch.kind == "range" for batch in self.batches),
            "listed": asdict(self.listed),
            "copy": asdict(self.copy),
            "unchanged": asdict(self.unchanged),
            "skipped": {reason: asdict(amount) for reason, amount in sorted(self.skipped.items())},
            "failed": {reason: asdict(amount) for reason, amount in sorted(self.failed.items())},
            "only_in_destination": self.only_in_destination,
            "joined": self.joined,
            "rewritten": self.rewritten,
            "archived": self.archived,
            "mapped": self.mapped,
            "requests": {"planning": asdict(self.planning), "copying": asdict(self.copying)},
            "warnings": list(self.warnings),
        }


AS_OF: Final = "2026-11"
REGION: Final = "us-east-1"

_GB: Final = 10**9
# Data from S3 to the internet in one month: up to so many GB at so many dollars each.
_EGRESS: Final = ((10_240, 0.09), (51_200, 0.085), (153_600, 0.07), (float("inf"), 0.05))
_PER_LIST: Final = 0.005 / 1_000
_PER_GET: Final = 0.0004 / 1_000


def egress_dollars(size_bytes: int) -> float:
    """Return the price of reading so much out of S3 to the internet, as the month's only traffic."""
    left, below, dollars = size_bytes / _GB, 0.0, 0.0
    for up_to, price in _EGRESS:
        step = min(left, up_to - below)
        dollars += step * price
        left -= step
        below = up_to
    return dollars


def request_dollars(requests: Requests) -> float:
    """Return the price of the requests to S3."""
    return requests.s3_list * _PER_LIST + requests.s3_get * _PER_GET


def preview(plan: Plan, *, rate_bytes_s: float) -> dict[str, Any]:
    """Return the plan's counts, its cost at list prices and its time at a given rate, as JSON-ready values.

    Args:
        plan: The plan.
        rate_bytes_s: Bytes a second that all tasks together are expected to move.

    Raises:
        UsageError: The rate is not above 0.
    """
    if not rate_bytes_s > 0:
        raise UsageError(what=f"A rate of {rate_bytes_s} bytes a second is not above 0.")
    requests = plan.planning.plus(plan.copying)
    sizes = [batch.size_bytes for batch in plan.batches]
    return plan.summary() | {
        "largest_batch_bytes": max(sizes, default=0),
        "smallest_batch_bytes": min(sizes, default=0),
        "refused_names": list(plan.refused_names),
        "mapped_names": dict(plan.mapped_names),
        "estimate": {
            "seconds": round(plan.copy.size_bytes / rate_bytes_s, 1),
            "at_bytes_per_second": rate_bytes_s,
            "requests": asdict(requests),
            "s3_egress_dollars": round(egress_dollars(plan.copy.size_bytes), 2),
            "s3_requests_dollars": round(request_dollars(requests), 2),
            "prices": f"AWS list prices, {REGION}, as known in {AS_OF}; without retrieval fees",
        },
    }
