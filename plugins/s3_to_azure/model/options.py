"""The values that each option accepts. Importing this module costs nothing, so a DAG file may do it."""

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from typing import Final, Literal, get_args

from s3_to_azure.model.errors import UsageError

Overwrite = Literal["if_changed", "never", "always"]
IF_CHANGED: Final = "if_changed"
NEVER: Final = "never"
ALWAYS: Final = "always"

RefusedNames = Literal["fail", "skip", "map"]
Archived = Literal["fail", "skip", "restore"]
OversizedMetadata = Literal["fail", "drop"]
EtagIsMd5 = Literal["auto", "no"]
FAIL: Final = "fail"
SKIP: Final = "skip"
MAP: Final = "map"
RESTORE: Final = "restore"
DROP: Final = "drop"
NO: Final = "no"

Via = Literal["worker", "azure", "auto"]
VIA_WORKER: Final = "worker"
VIA_AZURE: Final = "azure"

RestoreTier = Literal["Standard", "Bulk", "Expedited"]
AccessTier = Literal["Hot", "Cool", "Cold", "Archive"]

OVERWRITE: Final[tuple[Overwrite, ...]] = get_args(Overwrite)
REFUSED_NAMES: Final[tuple[RefusedNames, ...]] = get_args(RefusedNames)
ARCHIVED: Final[tuple[Archived, ...]] = get_args(Archived)
OVERSIZED_METADATA: Final[tuple[OversizedMetadata, ...]] = get_args(OversizedMetadata)
ETAG_IS_MD5: Final[tuple[EtagIsMd5, ...]] = get_args(EtagIsMd5)
RESTORE_TIERS: Final[tuple[RestoreTier, ...]] = get_args(RestoreTier)
ACCESS_TIERS: Final[tuple[AccessTier, ...]] = get_args(AccessTier)

AUTO: Final = "auto"
VIA: Final[tuple[Via, ...]] = get_args(Via)
"""Which way bytes take: through the worker, fetched by Azure or not copied, or as each object allows."""
REREAD: Final = "reread"
TRANSPORT: Final = "transport"
READBACK: Final = "readback"
BY_REPORT: Final = " (report)"
"""The end of a verification level whose checksum a report of S3 Batch Operations has, and not the object itself."""
WIDTHS: Final = {
    "crc64nvme": 8,
    "crc32c": 4,
    "crc32": 4,
    "md5": 16,
    "sha512": 64,
    "sha256": 32,
    "sha1": 20,
    "xxhash128": 16,
    "xxhash3": 8,
    "xxhash64": 8,
}
"""Bytes of the checksums that S3 computes, by their algorithm, in the order of preference."""
VERIFICATION_LEVELS: Final = (
    "crc64nvme",
    "crc32c",
    "crc32",
    "crc32c_composite",
    "crc32_composite",
    "md5",
    "sha512",
    "sha256",
    "sha1",
    "xxhash128",
    "xxhash3",
    "xxhash64",
    "md5_composite",
    *(f"{algorithm}{BY_REPORT}" for algorithm in WIDTHS),
    REREAD,
    TRANSPORT,
)
"""What a copy can be verified by, in the order of preference; one that comes first counts as stronger."""
INTEGRITY: Final = (AUTO, *VERIFICATION_LEVELS, READBACK)
"""What a user can require: a level is the weakest to accept; ``readback`` is ``auto``, and the blob is read back."""


def is_as_strong(level: str, minimum: str) -> bool:
    """Return whether a recorded verification level, or an empty text, is at least the required one.

    ``readback`` is required of what a run copies, and cannot be seen in a record.
    """
    if minimum in (AUTO, READBACK):
        return True
    return level in VERIFICATION_LEVELS and VERIFICATION_LEVELS.index(level) <= VERIFICATION_LEVELS.index(minimum)


MAX_TASKS: Final = 1_000  # Airflow maps 1,024 at most by default ([core] max_map_length)
MAX_OBJECTS_AT_ONCE: Final = 1_000
MAX_CONNECTIONS: Final = 1_000
MAX_RESTORE_DAYS: Final = 365


def check_choice(value: object, allowed: Sequence[str], *, name: str) -> None:
    """Check that an option has one of its values.

    Raises:
        UsageError: It has another one.
    """
    if value not in allowed:
        near = did_you_mean(str(value), allowed)
        raise UsageError(detail=f"{name}={value!r} is not one of {', '.join(allowed)}.{near}")


def at_least(integrity: str) -> tuple[str, ...]:
    """Return the values of ``integrity`` that accept no weaker verification than this one."""
    if integrity in VERIFICATION_LEVELS and integrity != TRANSPORT:
        return VERIFICATION_LEVELS[: VERIFICATION_LEVELS.index(integrity) + 1]
    # The levels are not read back, and ``transport`` is what ``auto`` accepts too.
    return (READBACK,) if integrity == READBACK else INTEGRITY


def did_you_mean(name: str, names: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return a sentence with the names that are most like a misspelt one, a space before it; empty if none is.

    Args:
        name: The misspelt one.
        names: Those that exist.
        cutoff: How like it they must be, from 0 to 1.
    """
    near = get_close_matches(name, sorted(names), n=2, cutoff=cutoff)
    return f" Did you mean {' or '.join(near)}?" if near else ""
