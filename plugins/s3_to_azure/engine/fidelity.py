"""What belongs to an object beside its bytes, and what becomes of it where Azure has no room for it; no I/O."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, get_args

from s3_to_azure.engine.errors import MetadataTooLarge, TagsRefused, WrongUse
from s3_to_azure.engine.limits import MAX_METADATA_BYTES, MAX_TAG_KEY, MAX_TAG_VALUE, MAX_TAGS
from s3_to_azure.engine.names import metadata_to_azure

Archived = Literal["fail", "skip", "restore"]
RestoreTier = Literal["Standard", "Bulk", "Expedited"]
AccessTier = Literal["Hot", "Cool", "Cold", "Archive"]
OversizedMetadata = Literal["fail", "drop"]

_TAG_CHARACTER: Final = re.compile(r"[A-Za-z0-9 +\-./:=]")
_LOOKS_ESCAPED: Final = re.compile(r"_x[0-9a-f]{4}")
_ESCAPE: Final = re.compile(r"_x([0-9a-f]{4,6})_")
_MOST_DAYS: Final = 365


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

    archived: Archived = "fail"
    restore_days: int = 7
    restore_tier: RestoreTier = "Standard"
    tags: bool = False
    tiers: Mapping[str, str] = field(default_factory=dict)
    oversized_metadata: OversizedMetadata = "fail"

    def __post_init__(self) -> None:
        """Check every value.

        Raises:
            WrongUse: A value is none of those allowed.
        """
        choices = {"archived": Archived, "restore_tier": RestoreTier, "oversized_metadata": OversizedMetadata}
        for name, allowed in choices.items():
            if getattr(self, name) not in get_args(allowed):
                raise WrongUse(what=f"{name}={getattr(self, name)!r} is none of {', '.join(get_args(allowed))}.")
        if not isinstance(self.restore_days, int) or not 1 <= self.restore_days <= _MOST_DAYS:
            raise WrongUse(what=f"restore_days={self.restore_days!r} is not between 1 and {_MOST_DAYS}.")
        if not isinstance(self.tags, bool):
            raise WrongUse(what=f"tags={self.tags!r} is neither true nor false.")
        if not isinstance(self.tiers, Mapping):
            raise WrongUse(what=f"tiers={self.tiers!r} is no mapping of storage classes to access tiers.")
        for tier in self.tiers.values():
            if tier not in get_args(AccessTier):
                raise WrongUse(what=f"The access tier {tier!r} is none of {', '.join(get_args(AccessTier))}.")

    @classmethod
    def of(cls, values: Mapping[str, Any] | None) -> "Fidelity":
        """Read the choices from a DAG's or a user's mapping.

        Raises:
            WrongUse: A name or value is not one of ours.
        """
        given = dict(values or {})
        known = {each.name for each in fields(cls)}
        unknown = sorted(set(given) - known)
        if unknown:
            raise WrongUse(what=f"fidelity={unknown} is not among {', '.join(sorted(known))}.")
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
    if oversized == "fail":
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
