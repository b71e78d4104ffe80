"""The settings of a copy, with its memory and retry bounds as formulas.

Memory: a block is in memory before it is sent, so a task holds at most ``memory_budget_bytes`` of object data
(blocks in flight x block size <= budget), plus about 250 bytes for each block of the objects in flight.

Retries: a request is tried at most ``attempts`` times here. A read that ends early is resumed at the next byte. Its
tries count anew at most ``resumes`` times, each time after a further ``1 / resumes`` of its bytes. The SDKs' own
retries are off, so they do not multiply this number. Above, a changed source starts an object again
``source_changes`` times, a commit lists and restages ``commit_rounds`` times, and Airflow runs the task
``retries + 1`` times::

    requests for one block <=
        attempts x (1 + resumes) x (1 + source_changes) x (1 + commit_rounds) x (Airflow's retries + 1)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from decimal import Decimal
from typing import Any, Final

from s3_to_azure.model import defaults
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.limits import GIB, KIB, MAX_BLOCK_BYTES, MIB, TIB
from s3_to_azure.model.options import (
    ACCESS_TIERS,
    ARCHIVED,
    ETAG_IS_MD5,
    INTEGRITY,
    MAX_CONNECTIONS,
    MAX_OBJECTS_AT_ONCE,
    MAX_RESTORE_DAYS,
    MAX_TASKS,
    OVERSIZED_METADATA,
    OVERWRITE,
    REFUSED_NAMES,
    RESTORE_TIERS,
    VIA,
    VIA_WORKER,
    Archived,
    EtagIsMd5,
    OversizedMetadata,
    Overwrite,
    RefusedNames,
    RestoreTier,
    Via,
    check_choice,
    did_you_mean,
)

_SIZE: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([KMGT]i?)?B?", re.IGNORECASE)
SIZE_PATTERN: Final = "^ *[0-9]{1,20}(([.][0-9]{1,20})? *[KMGTkmgt]i?| *)[Bb]? *$"
"""What ``parse_size`` accepts, as a regular expression of Python and JavaScript: fractions only with a unit."""
RATE_PATTERN: Final = (
    "^ *(?=0*[1-9]|0+[.]0{0,2}[1-9])[0-9]{1,20}(([.][0-9]{1,20})? *[KMGTkmgt]i?| *)[Bb]?( */ *[Ss])? *$"
)
"""What ``parse_rate`` accepts, and at least one byte a second."""
_PER_SECOND: Final = re.compile(r"\s*/\s*s\s*$", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
_DECIMAL: Final = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def parse_size(text: str | int, *, name: str) -> int:
    """Read a size such as ``256MiB``, ``1.5GB``, ``64M`` (binary) or a number of bytes.

    Args:
        text: The size.
        name: The setting's name, for the error.

    Raises:
        UsageError: It is not a size.
    """
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text.strip())
    # A fraction of a byte means that the unit was forgotten.
    if not match or ("." in match[1] and not match[2]):
        raise UsageError(detail=f"{name}={text!r} is not a size. Write for example 256MiB, 1GiB or a number of bytes.")
    unit = (match[2] or "").lower()
    decimal = unit and not unit.endswith("i") and text.strip().lower().endswith("b")
    factor = _DECIMAL[unit] if decimal else _UNITS[unit.removesuffix("i")]
    return int(Decimal(match[1]) * factor)


def parse_rate(text: str | int, *, name: str) -> int:
    """Read bytes per second, such as ``50 MB/s``, ``50MB``, ``64MiB/s`` or a number of bytes.

    Args:
        text: The rate; ``/s`` may be left out.
        name: The setting's name, for the error.

    Raises:
        UsageError: It is not a rate.
    """
    try:
        return parse_size(text if isinstance(text, int) else _PER_SECOND.sub("", text), name=name)
    except UsageError:
        raise UsageError(
            detail=f"{name}={text!r} is not a size in bytes per second. Write for example 50 MB/s, 50MiB or a number "
            "of bytes."
        ) from None


def check_batching(*, max_tasks: int, split_bytes: int, batch_bytes: int) -> None:
    """Check the settings by which a plan divides its objects into batches.

    Raises:
        UsageError: One is out of its bounds.
    """
    if not 1 <= max_tasks <= MAX_TASKS:
        raise UsageError(detail=f"max_tasks={max_tasks} is not between 1 and {MAX_TASKS:,}.")
    if split_bytes < MIB:
        raise UsageError(detail=f"split_size={split_bytes} bytes is below 1 MiB.")
    if batch_bytes < 1:
        raise UsageError(detail=f"task_size={batch_bytes} is not at least 1 byte.")


@dataclass(frozen=True, slots=True)
class Fidelity:
    """What a copy keeps besides bytes and metadata. Each choice costs a request, a permission, a fee or time.

    Attributes:
        archived: What to do with an object in an archive class: ``fail`` or ``skip`` it, or ask S3 to ``restore`` it
            so that a later run can copy it.
        restore_days: How many days a restored object stays readable in S3. Intelligent-Tiering ignores it.
        restore_tier: How fast, and at what price, S3 restores. DEEP_ARCHIVE does not support ``Expedited``.
        tags: Copy S3's tags to blob tags. This takes one more request for each object, ``s3:GetObjectTagging``, and
            the permission to write tags in Azure.
        tiers: Access tier in Azure by S3 storage class; other classes get the account's default. Azure charges for
            early deletion from Cool, Cold and Archive.
        oversized_metadata: What to do if an object's metadata does not fit into a blob: ``fail`` the object, or
            ``drop`` its own metadata and note it in the receipt.
        etag_is_md5: Whether an ETag that looks like an MD5 is compared with the bytes: ``auto`` if S3's response does
            not say otherwise, or ``no`` for a store whose ETags are not MD5s.
    """

    archived: Archived = defaults.ARCHIVED
    restore_days: int = defaults.RESTORE_DAYS
    restore_tier: RestoreTier = defaults.RESTORE_TIER
    tags: bool = False
    tiers: Mapping[str, str] = field(default_factory=dict)
    oversized_metadata: OversizedMetadata = defaults.OVERSIZED_METADATA
    etag_is_md5: EtagIsMd5 = defaults.ETAG_IS_MD5

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UsageError: A value is not allowed.
        """
        check_choice(self.archived, ARCHIVED, name="archived")
        check_choice(self.restore_tier, RESTORE_TIERS, name="restore_tier")
        check_choice(self.oversized_metadata, OVERSIZED_METADATA, name="oversized_metadata")
        check_choice(self.etag_is_md5, ETAG_IS_MD5, name="etag_is_md5")
        if not isinstance(self.restore_days, int) or not 1 <= self.restore_days <= MAX_RESTORE_DAYS:
            raise UsageError(detail=f"restore_days={self.restore_days!r} is not between 1 and {MAX_RESTORE_DAYS}.")
        if not isinstance(self.tags, bool):
            raise UsageError(detail=f"tags={self.tags!r} is not true or false.")
        if not isinstance(self.tiers, Mapping):
            raise UsageError(detail=f"tiers={self.tiers!r} is not a mapping of storage classes to access tiers.")
        for storage_class, tier in self.tiers.items():
            check_choice(tier, ACCESS_TIERS, name=f"The access tier of {storage_class}")

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> "Fidelity":
        """Read the choices from a DAG's or a user's mapping.

        Raises:
            UsageError: A name or a value is not allowed.
        """
        given = dict(values or {})
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(given) - known)
        if unknown:
            near = did_you_mean(str(unknown[0]), known)
            raise UsageError(
                detail=f"The fidelity choices {unknown} do not exist. The choices are {', '.join(sorted(known))}.{near}"
            )
        return cls(**given)


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """How often one request is tried, and how long the waits between tries are.

    Attributes:
        attempts: Tries of one request, the first included.
        first_wait_s: Upper bound of the first wait; it doubles with each try. The wait is random below the bound.
        longest_wait_s: Upper bound of every wait, except one that the service asks for.
        resumes: How often the tries of one read count anew because enough of its bytes arrived.
        source_changes: How often a copy starts again because its object changed.
        commit_rounds: How often a refused block list is listed again and completed.
    """

    attempts: int = 6
    first_wait_s: float = 0.5
    longest_wait_s: float = 30.0
    resumes: int = 4
    source_changes: int = 2
    commit_rounds: int = 3

    def most_requests_for_a_block(self, *, airflow_retries: int) -> int:
        """Return the product of all budgets: the most requests for one block over all tries of its task."""
        tries_of_a_read = self.attempts * (1 + self.resumes)
        return tries_of_a_read * (1 + self.source_changes) * (1 + self.commit_rounds) * (1 + airflow_retries)


_SMALL_FOR_EACH_OBJECT: Final = 32
_FETCHES_FOR_EACH_CONNECTION: Final = 2
_MOST_FETCHES: Final = 256
_MOST_SMALL: Final = 512


@dataclass(frozen=True, slots=True)
class CopySettings:
    """The settings of one task's copies.

    Attributes:
        overwrite: What to do if the blob exists (``decide.decide``).
        integrity: ``auto``, the weakest verification level to accept, ``reread`` or ``readback``
            (``options.INTEGRITY``).
        via: Which way the bytes take: through this ``worker``, fetched by ``azure``, whose objects fail where it
            cannot, or ``auto``: fetched where it can (``transfer.fetched.eligibility``).
        block_bytes: Block size; None: by the object's size. A blob never gets more than 50,000 blocks.
        memory_budget_bytes: Upper bound of the object data in memory.
        objects_at_once: Upper bound of the objects in flight, which share the budget. As many are in flight as keep the
            connections busy (``transfer.concurrency.BlockBacklog``).
        connections: Upper bound of the blocks being read, and of the blocks being written. The measured throughput
            decides how many are used, and the budget may allow fewer (``transfer.concurrency`` has the formula).
        bandwidth_bytes_s: Upper bound of the bytes that the task reads per second; None: no limit.
        refused_names: What to do with an object whose name Azure refuses: ``skip`` it, ``fail`` it, or copy it to a
            blob with a ``map``ped name (``names.map_blob``). An object whose name cannot be mapped fails.
        fidelity: What to do with tags, tiers, archived objects and oversized metadata.
        small_objects_at_once: Small objects in flight, each with a connection to either service; None: 32 for each of
            ``objects_at_once``, and at most 512.
    """

    overwrite: Overwrite = defaults.OVERWRITE
    integrity: str = defaults.INTEGRITY
    via: Via = defaults.VIA
    block_bytes: int | None = None
    memory_budget_bytes: int = parse_size(defaults.MEMORY_BUDGET, name="memory_budget")
    objects_at_once: int = defaults.OBJECTS_AT_ONCE
    connections: int = defaults.CONNECTIONS
    bandwidth_bytes_s: int | None = None
    refused_names: RefusedNames = defaults.REFUSED_NAMES
    retry: RetryBudget = RetryBudget()
    fidelity: Fidelity = field(default_factory=Fidelity)
    small_objects_at_once: int | None = None

    @property
    def most_small_objects(self) -> int:
        """The most small objects in flight."""
        return self.small_objects_at_once or min(_MOST_SMALL, _SMALL_FOR_EACH_OBJECT * self.objects_at_once)

    @property
    def fetches_at_once(self) -> int:
        """The most blocks that Azure fetches by itself at once: each takes a thread and a socket, but no buffer."""
        return min(_MOST_FETCHES, _FETCHES_FOR_EACH_CONNECTION * self.connections)

    def within(self, sockets: int) -> "CopySettings":
        """Return settings that keep at most this many connections open.

        One half of them is for small objects. Of the other half, each of ``objects_at_once`` takes four (data and
        metadata, S3 and Azure), and each of ``connections`` two, beside those of the blocks that Azure fetches.

        Raises:
            UsageError: Not even one object at a time fits.
        """
        needed = 2 * (4 + 2 + (_FETCHES_FOR_EACH_CONNECTION if self.via != VIA_WORKER else 0))
        most = sockets // needed
        if not most:
            raise UsageError(
                detail=f"The limit of open files leaves {sockets} for connections, and a copy needs {needed}. Raise it "
                "(ulimit -n)."
            )
        fitting = replace(
            self, objects_at_once=min(self.objects_at_once, most), connections=min(self.connections, most)
        )
        most_small = sockets // 4
        return (
            fitting if fitting.most_small_objects <= most_small else replace(fitting, small_objects_at_once=most_small)
        )

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UsageError: A value is not allowed.
        """
        check_choice(self.overwrite, OVERWRITE, name="overwrite")
        check_choice(self.integrity, INTEGRITY, name="integrity")
        check_choice(self.via, VIA, name="via")
        check_choice(self.refused_names, REFUSED_NAMES, name="refused_names")
        if self.block_bytes is not None and not MIB <= self.block_bytes <= MAX_BLOCK_BYTES:
            raise UsageError(
                detail=f"block_size={self.block_bytes} is not between 1 MiB and {MAX_BLOCK_BYTES // MIB:,} MiB."
            )
        if self.memory_budget_bytes < MIB:
            raise UsageError(detail=f"memory_budget={self.memory_budget_bytes} bytes is below 1 MiB.")
        if self.bandwidth_bytes_s is not None and self.bandwidth_bytes_s < 1:
            raise UsageError(detail=f"bandwidth_limit={self.bandwidth_bytes_s} is not at least 1 byte a second.")
        for name, most in (("objects_at_once", MAX_OBJECTS_AT_ONCE), ("connections", MAX_CONNECTIONS)):
            value = getattr(self, name)
            if not 1 <= value <= most:
                raise UsageError(detail=f"{name}={value} is not between 1 and {most:,}.")
