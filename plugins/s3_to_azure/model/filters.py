"""Filters: which listed objects a migration leaves out."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from fnmatch import translate
from functools import cached_property
from typing import Any, Final, TypeVar

from s3_to_azure.model import reasons
from s3_to_azure.model.errors import UsageError
from s3_to_azure.model.objects import ListedObject
from s3_to_azure.model.options import did_you_mean
from s3_to_azure.model.settings import parse_size

_T = TypeVar("_T", int, datetime)

_AGE: Final = re.compile(r"([0-9]{1,6}) ?([smhdw])")
_AGE_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
MOMENT_PATTERN: Final = (
    "^ *([0-9]{1,6} ?[smhdw]|[0-9]{4}(-[0-9]{2}){2}"
    "([T ][0-9]{2}(:[0-9]{2}){1,2}([.][0-9]{3}([0-9]{3})?)?(Z|[+-][0-9]{2}:[0-9]{2}))?) *$"
)
"""What ``moment`` accepts, and a time zone where there is a time, as a regular expression of Python and JavaScript."""

FILTERS: Final = ("min_size", "max_size", "modified_after", "modified_before", "storage_classes")
"""The filters that a user writes as texts."""


@dataclass(frozen=True)
class Filters:
    """Rules that every copied object must pass. An empty rule passes every object.

    Patterns are shell-style, case-sensitive and match the whole key: ``*`` stands for any characters including ``/``,
    ``?`` for one character, ``[ab]`` for one of those listed.

    Attributes:
        include: A key must match one of these patterns.
        exclude: A key must match none of these patterns, whatever ``include`` says.
        within: A key must match one of these patterns as well: those of a migration, which a run cannot widen.
        min_size_bytes: Smaller objects are left out.
        max_size_bytes: Larger objects are left out.
        modified_after: Objects last modified at this time or earlier are left out.
        modified_before: Objects last modified at this time or later are left out.
        storage_classes: An object must be in one of these classes, named as S3 lists them.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    within: tuple[str, ...] = ()
    min_size_bytes: int | None = None
    max_size_bytes: int | None = None
    modified_after: datetime | None = None
    modified_before: datetime | None = None
    storage_classes: tuple[str, ...] = field(default=())

    def __post_init__(self) -> None:
        """Check every value, and turn lists into tuples.

        Raises:
            UsageError: A value is not allowed.
        """
        for name in ("include", "exclude", "within", "storage_classes"):
            value: object = getattr(self, name)
            if isinstance(value, str) or not isinstance(value, (list, tuple)):
                raise UsageError(detail=f"{name}={value!r} is not a list of texts.")
            if not all(isinstance(item, str) and item for item in value):
                raise UsageError(detail=f"{name}={value!r} has an item that is empty or not a text.")
            object.__setattr__(self, name, tuple(value))
        for name in ("min_size_bytes", "max_size_bytes"):
            size = getattr(self, name)
            if size is not None and (isinstance(size, bool) or not isinstance(size, int) or size < 0):
                raise UsageError(detail=f"{name}={size!r} is not a number of bytes.")
        for name in ("modified_after", "modified_before"):
            moment = getattr(self, name)
            if moment is not None and moment.tzinfo is None:
                raise UsageError(detail=f"{name}={moment.isoformat()} has no time zone. Add one, such as +00:00.")
        self._check_ranges()

    def _check_ranges(self) -> None:
        """Refuse ranges that hold nothing: such a run would succeed every night, and copy nothing."""
        smallest, largest = self.min_size_bytes, self.max_size_bytes
        if smallest is not None and largest is not None and smallest > largest:
            raise UsageError(detail="min_size is above max_size, so no object would be copied.")
        after, before = self.modified_after, self.modified_before
        if after is not None and before is not None and after >= before:
            raise UsageError(detail="modified_after is not before modified_before, so no object would be copied.")

    def reason_to_skip(self, listed: ListedObject) -> str | None:
        """Return the reason of the receipt if the object is left out, or None if it passes."""
        reason = self.reason_to_skip_key(listed.key)
        if reason is not None:
            return reason
        if self.min_size_bytes is not None and listed.size_bytes < self.min_size_bytes:
            return reasons.TOO_SMALL
        if self.max_size_bytes is not None and listed.size_bytes > self.max_size_bytes:
            return reasons.TOO_LARGE
        return self._wrong_age_or_class(listed)

    def reason_to_skip_key(self, key: str) -> str | None:
        """Return the reason of the receipt if the key alone decides that the object is left out."""
        if self._included and not self._included.match(key):
            return reasons.NOT_INCLUDED
        if self._within and not self._within.match(key):
            return reasons.NOT_INCLUDED
        if self._excluded and self._excluded.match(key):
            return reasons.EXCLUDED
        return None

    def _wrong_age_or_class(self, listed: ListedObject) -> str | None:
        if self.modified_after is not None and listed.last_modified <= self.modified_after:
            return reasons.TOO_OLD
        if self.modified_before is not None and listed.last_modified >= self.modified_before:
            return reasons.TOO_NEW
        if self.storage_classes and listed.storage_class not in self.storage_classes:
            return reasons.STORAGE_CLASS_EXCLUDED
        return None

    def narrowed(self, other: "Filters") -> "Filters":
        """Return filters that pass what both pass, of sizes and dates.

        Raises:
            UsageError: Nothing can pass both.
        """
        return replace(
            self,
            min_size_bytes=max(_given(self.min_size_bytes, other.min_size_bytes), default=None),
            max_size_bytes=min(_given(self.max_size_bytes, other.max_size_bytes), default=None),
            modified_after=max(_given(self.modified_after, other.modified_after), default=None),
            modified_before=min(_given(self.modified_before, other.modified_before), default=None),
        )

    @cached_property
    def _included(self) -> re.Pattern[str] | None:
        return _any_of(self.include)

    @cached_property
    def _within(self) -> re.Pattern[str] | None:
        return _any_of(self.within)

    @cached_property
    def _excluded(self) -> re.Pattern[str] | None:
        return _any_of(self.exclude)


def _given(*values: _T | None) -> list[_T]:
    return [value for value in values if value is not None]


def _any_of(patterns: Iterable[str]) -> re.Pattern[str] | None:
    parts = [translate(pattern) for pattern in patterns]
    return re.compile("|".join(parts)) if parts else None


def moment(text: str | None, *, name: str, now: datetime | None = None) -> str | None:
    """Return a moment as ISO 8601 with a time zone; other texts are returned as they are, to be refused by name.

    Args:
        text: An age such as ``24h`` or ``7d``, a date, which means its begin in UTC, or ISO 8601.
        name: The option's name, for the error.
        now: The moment from which an age is counted back.

    Raises:
        UsageError: The age reaches back beyond the first year, or the date does not exist.
    """
    text = (text or "").strip()
    age = _AGE.fullmatch(text)
    try:
        if age:
            return ((now or datetime.now(UTC)) - timedelta(**{_AGE_UNITS[age[2]]: int(age[1])})).isoformat()
        if _DATE.fullmatch(text):
            return f"{date.fromisoformat(text)}T00:00:00+00:00"
    except (ValueError, OverflowError):
        raise UsageError(detail=f"{name} {text!r} is not a date, nor an age such as 24h.") from None
    return text or None


def read_filters(
    texts: Mapping[str, Any],
    *,
    include: Sequence[str] | None = (),
    exclude: Sequence[str] | None = (),
    now: datetime | None = None,
) -> Filters:
    """Return the filters that a user wrote as texts.

    Args:
        texts: ``min_size`` and ``max_size`` (``10MiB``), ``modified_after`` and ``modified_before`` (an age such as
            ``24h``, or ISO 8601 with a time zone), ``storage_classes`` (a list). A text that is empty or
            missing does not filter.
        include: Patterns of keys to copy.
        exclude: Patterns of keys to skip.
        now: The moment from which ages are counted back; None: the present.

    Raises:
        UsageError: A name is not the name of a filter, or its text cannot be parsed.
    """
    unknown = sorted(set(texts) - set(FILTERS))
    if unknown:
        near = did_you_mean(unknown[0], FILTERS)
        raise UsageError(detail=f"The filters {unknown} are not among {', '.join(FILTERS)}.{near}")
    return Filters(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        min_size_bytes=_size(texts, "min_size"),
        max_size_bytes=_size(texts, "max_size"),
        modified_after=_timestamp(texts, "modified_after", now),
        modified_before=_timestamp(texts, "modified_before", now),
        storage_classes=texts.get("storage_classes") or (),
    )


def _size(texts: Mapping[str, Any], name: str) -> int | None:
    text = texts.get(name)
    return None if text in (None, "") else parse_size(text, name=name)


def _timestamp(texts: Mapping[str, Any], name: str, now: datetime | None) -> datetime | None:
    text = str(texts.get(name) or "").strip()
    if _AGE.fullmatch(text):
        text = moment(text, name=name, now=now) or ""
    try:
        # Python 3.10 reads no Z.
        return datetime.fromisoformat(re.sub("[Zz]$", "+00:00", text)) if text else None
    except ValueError:
        raise UsageError(
            detail=f"{name}={text!r} is not an ISO 8601 timestamp. Write it as 2026-01-31T00:00:00+00:00, or an age "
            "such as 24h or 7d."
        ) from None
