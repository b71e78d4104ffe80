"""What a plan says: the batches, objects and bytes by decision, requests, and the cost at list prices; no I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Final

from s3_to_azure.model import defaults
from s3_to_azure.model.errors import BlobOfAnotherObject, NameRefused, TransferError, UsageError
from s3_to_azure.model.formatting import count_text, duration_text, size_text
from s3_to_azure.model.objects import Amount
from s3_to_azure.model.options import FAIL, RESTORE, SKIP, VIA_AZURE, VIA_WORKER, Archived, Via
from s3_to_azure.model.reasons import FAILED, NOT_FETCHED, SKIPPED, UNCHANGED, such_as
from s3_to_azure.state.plan import BatchDescriptor, PlanReference
from s3_to_azure.transfer.blocks import block_bytes_for

MAX_EXAMPLES: Final = 3


_REQUEST_NAMES: Final = {
    "s3_list": "S3 list",
    "s3_get": "S3 get",
    "azure_list": "Azure list",
    "azure_read": "Azure read",
    "azure_write": "Azure write",
}


@dataclass(frozen=True, slots=True)
class Requests:
    """Numbers of requests, by the kinds that are billed separately.

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
        """Return the requests multiplied by ``count``."""
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

    def text(self) -> str:
        """Return the requests for a person: ``1 S3 list, 3 Azure write``."""
        counts = asdict(self)
        return ", ".join(f"{counts[kind]:,} {name}" for kind, name in _REQUEST_NAMES.items() if counts[kind]) or "none"


def requests_for(size_bytes: int, *, block_bytes: int | None, destination_known: bool) -> Requests:
    """Return the requests of one copy when nothing fails and no block is staged yet.

    Args:
        size_bytes: The object's size.
        block_bytes: The user's block size, or None.
        destination_known: The plan knows the destination blob's state; otherwise the copy looks it up.
    """
    block = block_bytes or block_bytes_for(size_bytes)
    lookup = 0 if destination_known else 1
    if size_bytes <= block:
        return Requests(s3_get=1, azure_read=lookup, azure_write=1)
    blocks = -(-size_bytes // block)
    # One HEAD of the object. In Azure: Get Block List, and a HEAD of the blob before the first block is sent.
    return Requests(s3_get=1 + blocks, azure_read=2, azure_write=blocks + 1)


def fetched_requests_for(size_bytes: int, *, block_bytes: int) -> Requests:
    """Return the requests of one copy that Azure fetches, when nothing fails; its GETs are Azure's."""
    blocks = -(-size_bytes // block_bytes)
    # The CRC64 of a block is noted by a write of its own. That of a single block is known before.
    notes = blocks if blocks > 1 else 0
    return Requests(s3_get=1 + blocks, azure_read=2, azure_write=blocks + notes + 1)


METADATA_UPDATE_REQUESTS: Final = Requests(s3_get=1, azure_read=2, azure_write=2)
"""The requests that update one blob's metadata and headers."""

_REFUSED_NAMES: Final = "{count} with a name that Azure refuses. Rename them, or exclude them by a filter."
_OF_OTHER_OBJECTS: Final = (
    "{count} whose blob is a copy of another S3 object: two migrations write to the same names. Give each its own "
    "blob_prefix, or replace those copies with overwrite=always."
)
_REPLACES_OTHERS: Final = (
    "{count} whose blob is a copy of another S3 object and is replaced, because of overwrite=always: if two migrations "
    "write to the same names, each replaces the other's copies in every run. Give each its own blob_prefix."
)
_MAPPED_NAMES: Final = (
    "{count} with a name that Azure refuses, copied under a mapped name. 's3-to-azure key' prints the key of a blob."
)
_ARCHIVED: Final[Mapping[Archived, str]] = {
    FAIL: "{count} in an archive storage class. A copy fails unless the object is restored in S3 first.",
    SKIP: "{count} in an archive storage class: those not restored yet are skipped.",
    RESTORE: (
        "{count} in an archive storage class: the run asks S3 to restore those not restored yet, and a later run "
        "copies them."
    ),
}
_REWRITTEN: Final = (
    "{count} written to S3 again with the same bytes since the copy: metadata and headers of their blobs are updated, "
    "no bytes are copied."
)
# S3 makes one each day or each week, and delivers it within two days.
_OLD_INVENTORY_S: Final = 9 * 24 * 3_600
_OLD_INVENTORY: Final = (
    "The inventory is {age} old, and S3 makes one each day or week: look whether its configuration is still enabled. "
    "Objects that came since are not in it."
)
_NOT_JOINED: Final = (
    "Source and destination are not listed in the same order, so each copy looks up its blob by a request of its own."
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The batches of a run, and the reason for every object left out.

    Attributes:
        token: Identifies the plan's files.
        sha256: Digest of the plan's own file.
        copy: What the batches hold; an object of which only metadata is updated counts with 0 bytes.
        skipped: Skipped objects by reason.
        failed: Objects that cannot be copied, as the plan already knows, by reason.
        only_in_destination: Blobs whose objects are gone from S3, of those that the run's prefix and filters cover.
            They are left alone. None: this is not known, because the listings could not be joined, or because the
            objects were chosen by a list of keys or by storage class.
        joined: Both listings came in the same order, so the destination's state is known for every object.
        replaces_others: Objects to copy whose blobs are copies of other S3 objects.
        rewritten: Objects to copy that S3 received again with the same bytes: only metadata and headers are updated.
        archived: Objects to copy that are in an archive storage class.
        on_archived: What the copies do with archived objects that are not restored.
        refused_names: Examples of keys whose blob name Azure would refuse.
        mapped: Objects to copy under another blob name because Azure would refuse theirs.
        mapped_names: Examples of these: key and blob name.
        planning: Requests made for listing and plan.
        copying: Requests that the copies will make.
        inventory_age_s: Age of the S3 Inventory that was read instead of a listing; None: there is none.
        samples: The first object of each reason in ``failed``, in one line that says what to do.
        via: Which way the bytes take.
        fetched: Objects to copy that Azure is expected to fetch.
        not_fetched: Objects to copy that it cannot fetch, by the code of why; empty with ``via="worker"``.
        all_streamed: Requests that the copies would make if all went through the worker.
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
    replaces_others: int = 0
    rewritten: int = 0
    archived: int = 0
    on_archived: Archived = defaults.ARCHIVED
    refused_names: tuple[str, ...] = ()
    mapped: int = 0
    mapped_names: tuple[tuple[str, str], ...] = ()
    planning: Requests = Requests()
    copying: Requests = Requests()
    sha256: str = ""
    inventory_age_s: float | None = None
    samples: Mapping[str, str] = field(default_factory=dict)
    via: Via = defaults.VIA
    fetched: Amount = field(default_factory=Amount)
    not_fetched: Mapping[str, Amount] = field(default_factory=dict)
    all_streamed: Requests = Requests()

    @property
    def reference(self) -> PlanReference:
        """The plan as Airflow keeps it with the batches."""
        return PlanReference(self.token, self.sha256)

    @property
    def azure_writes_saved(self) -> int:
        """Writes to Azure that the way of the bytes saves beside one through the worker alone; below 0: costs."""
        return self.all_streamed.azure_write - self.copying.azure_write if self.fetched.objects else 0

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a person should know before the first byte is copied."""
        by_count = (
            (self._left_out_for(NameRefused), _REFUSED_NAMES),
            (self._left_out_for(BlobOfAnotherObject), _OF_OTHER_OBJECTS),
            (self.replaces_others, _REPLACES_OTHERS),
            (self.mapped, _MAPPED_NAMES),
            (self.archived, _ARCHIVED[self.on_archived]),
            (self.rewritten, _REWRITTEN),
        )
        counted = tuple(text.format(count=count_text(count, "object")) for count, text in by_count if count)
        if self.inventory_age_s is not None and self.inventory_age_s > _OLD_INVENTORY_S:
            counted = (*counted, _OLD_INVENTORY.format(age=duration_text(self.inventory_age_s)))
        return counted if self.joined else (*counted, _NOT_JOINED)

    def _left_out_for(self, error: type[TransferError]) -> int:
        code = error.reason()
        return sum(counts[code].objects for counts in (self.skipped, self.failed) if code in counts)

    def lines(self) -> Iterator[str]:
        """Yield the plan for a person: what is copied, what is left out and why, and the requests."""
        tasks = f" in {count_text(len(self.batches), 'task')}" if self.batches else ""
        by = "" if self.inventory_age_s is None else f", by an inventory {duration_text(self.inventory_age_s)} old"
        yield f"Listed:    {self.listed.text()}{by}"
        yield f"To copy:   {self.copy.text()}{tasks}"
        yield from self._ways()
        yield f"Unchanged: {self.unchanged.text()}"
        for reason, amount in sorted(self.skipped.items()):
            yield f"Skipped:   {amount.text()}: {reason}"
        for reason, amount in sorted(self.failed.items()):
            yield f"Cannot be copied: {amount.text()}: {reason}{such_as(self.samples.get(reason))}"
        for key in self.refused_names:
            yield f"Refused name: {key!r}"
        for key, blob in self.mapped_names:
            yield f"Mapped name: {key!r} to {blob!r}"
        if self.only_in_destination:
            yield f"Only in Azure: {count_text(self.only_in_destination, 'blob')}, left alone"
        yield f"Requests for planning: {self.planning.text()}"
        yield f"Requests for copying: {self.copying.text()}"
        if self.via != VIA_WORKER:
            yield f"Requests for copying if all were streamed: {self.all_streamed.text()}"

    def _ways(self) -> Iterator[str]:
        if self.via == VIA_WORKER:
            return
        yield f"By Azure:  {self.fetched.text()}, as far as S3 stores a CRC64NVME over all bytes"
        label = "Not fetched, so failing" if self.via == VIA_AZURE else "By worker"
        for code, amount in sorted(self.not_fetched.items()):
            yield f"{label}: {amount.text()}: {code}: {NOT_FETCHED[code]}"

    def summary(self) -> dict[str, Any]:
        """Return the counts as JSON-ready values, without any key or blob name."""
        return {
            "batches": len(self.batches),
            "range_batches": sum(batch.kind == "range" for batch in self.batches),
            "listed": asdict(self.listed),
            "copy": asdict(self.copy),
            UNCHANGED: asdict(self.unchanged),
            SKIPPED: {reason: asdict(amount) for reason, amount in sorted(self.skipped.items())},
            FAILED: {reason: asdict(amount) for reason, amount in sorted(self.failed.items())},
            "only_in_destination": self.only_in_destination,
            "joined": self.joined,
            "rewritten": self.rewritten,
            "archived": self.archived,
            "mapped": self.mapped,
            **({} if self.inventory_age_s is None else {"inventory_age_s": round(self.inventory_age_s)}),
            "via": self.via,
            "fetched": asdict(self.fetched),
            "not_fetched": {code: asdict(amount) for code, amount in sorted(self.not_fetched.items())},
            "requests": {
                "planning": asdict(self.planning),
                "copying": asdict(self.copying),
                "all_streamed": asdict(self.all_streamed),
            },
            "warnings": list(self.warnings),
        }


PRICES_AS_OF: Final = "2026-11"
PRICES_REGION: Final = "us-east-1"

_GB: Final = 10**9
# Data from S3 to the internet within one month: each tier's upper end in GB, and its price in dollars per GB.
_EGRESS_TIERS: Final = ((10_240, 0.09), (51_200, 0.085), (153_600, 0.07), (float("inf"), 0.05))
_LIST_DOLLARS: Final = 0.005 / 1_000
_GET_DOLLARS: Final = 0.0004 / 1_000


def egress_dollars(size_bytes: int) -> float:
    """Return the price of reading these bytes out of S3 to the internet, as the month's only traffic."""
    left, below, dollars = size_bytes / _GB, 0.0, 0.0
    for up_to, price in _EGRESS_TIERS:
        step = min(left, up_to - below)
        dollars += step * price
        left -= step
        below = up_to
    return dollars


def request_dollars(requests: Requests) -> float:
    """Return the price of the requests to S3."""
    return requests.s3_list * _LIST_DOLLARS + requests.s3_get * _GET_DOLLARS


@dataclass(frozen=True, slots=True)
class Estimate:
    """A plan's time at a given rate, and its cost at list prices.

    Attributes:
        at_bytes_per_second: The rate that all tasks together are expected to reach.
        requests: For planning and copying together.
        azure_writes_saved: As the plan has it; S3's egress costs the same either way.
    """

    seconds: float
    at_bytes_per_second: float
    requests: Requests
    s3_egress_dollars: float
    s3_requests_dollars: float
    azure_writes_saved: int = 0
    prices: str = f"AWS list prices, {PRICES_REGION}, as of {PRICES_AS_OF}; without retrieval fees"

    @classmethod
    def of(cls, plan: Plan, *, rate_bytes_s: float) -> "Estimate":
        """Estimate a plan.

        Raises:
            UsageError: The rate is not above 0.
        """
        if not rate_bytes_s > 0:
            raise UsageError(detail=f"A rate of {rate_bytes_s} bytes a second is not above 0.")
        requests = plan.planning.plus(plan.copying)
        return cls(
            seconds=round(plan.copy.size_bytes / rate_bytes_s, 1),
            at_bytes_per_second=rate_bytes_s,
            requests=requests,
            s3_egress_dollars=round(egress_dollars(plan.copy.size_bytes), 2),
            s3_requests_dollars=round(request_dollars(requests), 2),
            azure_writes_saved=plan.azure_writes_saved,
        )

    def lines(self) -> Iterator[str]:
        """Yield the estimate for a person."""
        yield f"Time: about {duration_text(self.seconds)} at {size_text(self.at_bytes_per_second)}/s"
        yield (
            f"S3 charges: about ${self.s3_egress_dollars:,.2f} for egress and ${self.s3_requests_dollars:,.2f} for "
            f"requests ({self.prices})"
        )
        if self.azure_writes_saved:
            how = "fewer" if self.azure_writes_saved > 0 else "more"
            yield (
                f"Through the worker alone: the same for egress; here {abs(self.azure_writes_saved):,} {how} Azure "
                "writes, and none of the fetched bytes passes the worker"
            )


def preview(plan: Plan, *, rate_bytes_s: float) -> dict[str, Any]:
    """Return the plan with its estimate as JSON-ready values, including examples of keys and blob names.

    Args:
        plan: The plan.
        rate_bytes_s: Bytes per second that all tasks together are expected to copy.

    Raises:
        UsageError: The rate is not above 0.
    """
    sizes = [batch.size_bytes for batch in plan.batches]
    return plan.summary() | {
        "largest_batch_bytes": max(sizes, default=0),
        "smallest_batch_bytes": min(sizes, default=0),
        "refused_names": list(plan.refused_names),
        "mapped_names": dict(plan.mapped_names),
        "estimate": asdict(Estimate.of(plan, rate_bytes_s=rate_bytes_s)),
    }


def preview_lines(plan: Plan, *, rate_bytes_s: float) -> Iterator[str]:
    """Yield the plan with its warnings and its estimate for a person.

    Raises:
        UsageError: The rate is not above 0.
    """
    yield from plan.lines()
    yield from (f"warning: {warning}" for warning in plan.warnings)
    yield from Estimate.of(plan, rate_bytes_s=rate_bytes_s).lines()
