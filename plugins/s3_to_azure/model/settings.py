"""The engine's settings, with their memory and retry bounds as formulas.

Memory: a block is in memory before it is sent, so a task holds at most ``memory_budget_bytes`` of object data
(blocks in flight x block size <= budget), plus about 250 bytes for each block of the objects in flight.

Retries: a request is tried at most ``attempts`` times here. A read that is cut is resumed at its byte; its tries count
anew at most ``resumes`` times, each time after a further ``1 / resumes`` of its bytes. The SDKs' own retries are off,
so nothing multiplies below. Above, a changed source starts an object again ``source_changes`` times, a commit lists and
restages ``commit_rounds`` times, and Airflow runs the task ``retries + 1`` times::

    requests for one block <=
        attempts x (1 + resumes) x (1 + source_changes) x (1 + commit_rounds) x (Airflow's retries + 1)
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from decimal import Decimal
from typing import Any, Final

from s3_to_azure.model import defaults
from s3_to_azure.model.errors import MetadataTooLarge, TagsRefused, UsageError
from s3_to_azure.model.limits import (
    GIB,
    KIB,
    MAX_BLOCK_BYTES,
    MAX_METADATA_BYTES,
    MAX_TAG_KEY,
    MAX_TAG_VALUE,
    MAX_TAGS,
    MIB,
    TIB,
)
from s3_to_azure.model.names import metadata_to_azure
from s3_to_azure.model.options import (
    ACCESS_TIERS,
    ARCHIVED,
    FAIL,
    INTEGRITY,
    MAX_CONNECTIONS,
    MAX_OBJECTS_AT_ONCE,
    MAX_RESTORE_DAYS,
    OVERSIZED_METADATA,
    OVERWRITE,
    REFUSED_NAMES,
    RESTORE_TIERS,
    Archived,
    OversizedMetadata,
    Overwrite,
    RefusedNames,
    RestoreTier,
    check_choice,
)

_TAG_CHARACTER: Final = re.compile(r"[A-Za-z0-9 +\-./:=]")
_LOOKS_ESCAPED: Final = re.compile(r"_x[0-9a-f]{4}")
_ESCAPE: Final = re.compile(r"_x([0-9a-f]{4,6})_")


_SIZE: Final = re.compile(r"([0-9]{1,20}(?:\.[0-9]{1,20})?)\s*([KMGT]i?)?B?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": KIB, "m": MIB, "g": GIB, "t": TIB}
_DECIMAL: Final = {"k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}


def parse_size(text: str | int, *, name: str) -> int:
    """Read a size such as ``256MiB``, ``1.5GB``, ``64M`` (binary) or a number of bytes.

    Args:
        text: The size.
        name: The setting's name, for the error.

    Raises:
        UsageError: It is no size.
    """
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text.strip())
    # A part of a byte is a slip of the unit.
    if not match or ("." in match[1] and not match[2]):
        raise UsageError(detail=f"{name}={text!r} is not a size. Write for example 256MiB, 1GiB or a number of bytes.")
    unit = (match[2] or "").lower()
    decimal = unit and not unit.endswith("i") and text.strip().lower().endswith("b")
    factor = _DECIMAL[unit] if decimal else _UNITS[unit.removesuffix("i")]
    return int(Decimal(match[1]) * factor)


@dataclass(frozen=True, slots=True)
class Fidelity:
    """The choices that cost something: a request, a permission, a fee, or time.

    Attributes:
        archived: What becomes of an object in an archive class. ``fail`` or ``skip`` it, or ask S3 to ``restore`` it,
            and a later run copies it.
        restore_days: How long a restored copy stays in S3 (not used by Intelligent-Tiering, which keeps it).
        restore_tier: How fast, and how dear, S3 restores; DEEP_ARCHIVE knows no ``Expedited``.
        tags: Copy S3's tags to blob tags: one request more for each object, ``s3:GetObjectTagging``, and the permission
            to write tags in Azure.
        tiers: S3 storage class to Azure access tier; classes that are not named get the account's default. Cool, Cold
            and Archive charge for early deletion.
        oversized_metadata: Where an object's metadata is more than Azure holds: ``fail`` the object, or ``drop`` its
            own metadata, and the receipt says so.
    """

    archived: Archived = defaults.ARCHIVED
    restore_days: int = defaults.RESTORE_DAYS
    restore_tier: RestoreTier = defaults.RESTORE_TIER
    tags: bool = False
    tiers: Mapping[str, str] = field(default_factory=dict)
    oversized_metadata: OversizedMetadata = defaults.OVERSIZED_METADATA

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UsageError: A value is none of those allowed.
        """
        check_choice(self.archived, ARCHIVED, name="archived")
        check_choice(self.restore_tier, RESTORE_TIERS, name="restore_tier")
        check_choice(self.oversized_metadata, OVERSIZED_METADATA, name="oversized_metadata")
        if not isinstance(self.restore_days, int) or not 1 <= self.restore_days <= MAX_RESTORE_DAYS:
            raise UsageError(detail=f"restore_days={self.restore_days!r} is not between 1 and {MAX_RESTORE_DAYS}.")
        if not isinstance(self.tags, bool):
            raise UsageError(detail=f"tags={self.tags!r} is neither true nor false.")
        if not isinstance(self.tiers, Mapping):
            raise UsageError(detail=f"tiers={self.tiers!r} is no mapping of storage classes to access tiers.")
        for storage_class, tier in self.tiers.items():
            check_choice(tier, ACCESS_TIERS, name=f"The access tier of {storage_class}")

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> "Fidelity":
        """Read the choices from a DAG's or a user's mapping.

        Raises:
            UsageError: A name or value is not one of ours.
        """
        given = dict(values or {})
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise UsageError(detail=f"fidelity={unknown} is not among {', '.join(sorted(known))}.")
        return cls(**given)


def joined_metadata(
    own: Mapping[str, str], user: Mapping[str, str], *, key: str, oversized: OversizedMetadata
) -> tuple[dict[str, str], bool]:
    """Join the object's metadata, as Azure spells it, with the record of its copy; the record wins.

    Args:
        own: The record.
        user: The object's, as S3 spells it.
        key: The object's, for the error.
        oversized: What to do where both do not fit.

    Returns:
        The metadata, and whether the object's own was dropped.

    Raises:
        MetadataTooLarge: They do not fit, and that is not allowed.
    """
    if not user:
        return dict(own), False
    taken = {name.lower() for name in own}
    kept = {name: value for name, value in metadata_to_azure(user).items() if name.lower() not in taken}
    both = {**kept, **own}
    size = sum(len(name) + len(value) for name, value in both.items())
    if size <= MAX_METADATA_BYTES:
        return both, False
    if oversized == FAIL:
        raise MetadataTooLarge(key=key, size=size, limit=MAX_METADATA_BYTES)
    return dict(own), True


def tags_to_azure(tags: Mapping[str, str], *, key: str) -> dict[str, str]:
    """Map S3's tags to blob tags, reversibly: a character that Azure refuses becomes ``_xHHHH_``.

    Raises:
        TagsRefused: They are too many or, once mapped, too long.
    """
    mapped = {_tag_text(name): _tag_text(value) for name, value in tags.items()}
    if len(mapped) > MAX_TAGS:
        raise TagsRefused(key=key, detail=f"there are {len(mapped)}, and a blob takes {MAX_TAGS}")
    for name, value in mapped.items():
        if not 1 <= len(name) <= MAX_TAG_KEY or len(value) > MAX_TAG_VALUE:
            raise TagsRefused(
                key=key,
                detail=f"{name!r} is longer than {MAX_TAG_KEY} characters, or its value than {MAX_TAG_VALUE}",
            )
    return mapped


def tags_from_azure(tags: Mapping[str, str]) -> dict[str, str]:
    """Undo ``tags_to_azure``."""

    def plain(text: str) -> str:
        return _ESCAPE.sub(lambda match: chr(int(match[1], 16)), text)

    return {plain(name): plain(value) for name, value in tags.items()}


def _tag_text(text: str) -> str:
    escaped = []
    for index, character in enumerate(text):
        looks_escaped = character == "_" and _LOOKS_ESCAPED.match(text, index)
        if looks_escaped or (character != "_" and not _TAG_CHARACTER.fullmatch(character)):
            escaped.append(f"_x{ord(character):04x}_")
        else:
            escaped.append(character)
    return "".join(escaped)


@dataclass(frozen=True, slots=True)
class RetryBudget:
    """How often one request is tried, and how long the waits between tries are.

    Attributes:
        attempts: Tries of one request, the first included.
        first_wait_s: The upper bound of the first wait; it doubles each time, and the wait is drawn below it.
        longest_wait_s: The upper bound of any wait that the service did not ask for itself.
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
        """Return the product of all budgets: how often a block is asked for at worst, over all tries of its task."""
        tries_of_a_read = self.attempts * (1 + self.resumes)
        return tries_of_a_read * (1 + self.source_changes) * (1 + self.commit_rounds) * (1 + airflow_retries)


@dataclass(frozen=True, slots=True)
class CopySettings:
    """The settings of one task's copies.

    Attributes:
        overwrite: What to do with a blob that is there (``decide.decide``).
        integrity: ``auto``, the weakest verification level to accept, ``reread`` or ``readback``
            (``options.INTEGRITY``).
        block_bytes: Block size instead of the one by object size; more than 50,000 blocks are never made.
        memory_budget_bytes: Bound of object data in memory.
        objects_at_once: Objects in flight; they share the budget.
        connections: Upper bound of the blocks being read, and of those being written. Measuring finds how many there
            really are, and the budget may allow fewer (``transfer.concurrency`` has the formula).
        bandwidth_bytes_s: Most bytes a second that the task reads; None for no limit.
        refused_names: Whether one of many objects whose name cannot be a blob's is ``skip``ped, counts as ``fail``ed,
            or goes to a blob of a ``map``ped name (``name_mapping``); where even that cannot be, it fails.
        fidelity: What becomes of tags, tiers, archived objects and metadata that Azure has no room for.
    """

    overwrite: Overwrite = defaults.OVERWRITE
    integrity: str = defaults.INTEGRITY
    block_bytes: int | None = None
    memory_budget_bytes: int = parse_size(defaults.MEMORY_BUDGET, name="memory_budget")
    objects_at_once: int = defaults.OBJECTS_AT_ONCE
    connections: int = defaults.CONNECTIONS
    bandwidth_bytes_s: int | None = None
    refused_names: RefusedNames = defaults.REFUSED_NAMES
    retry: RetryBudget = RetryBudget()
    fidelity: Fidelity = field(default_factory=Fidelity)

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            UsageError: A value is none of those allowed.
        """
        check_choice(self.overwrite, OVERWRITE, name="overwrite")
        check_choice(self.integrity, INTEGRITY, name="integrity")
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
