"""The texts that people type as values of options: choices, moments, and patterns from a file."""

import re
from collections.abc import Callable, Collection
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

from s3_to_azure.model.errors import UsageError

_AGE: Final = re.compile(r"([0-9]{1,6})([smhdw])")
_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_MAX_FILTER_BYTES: Final = 1024 * 1024


def choice(values: Collection[str]) -> Callable[[str], str]:
    """Return a reader of one of the values, which may be written with hyphens or in capitals."""

    def read(text: str) -> str:
        same = [value for value in values if value.lower() == text.lower().replace("-", "_")]
        return same[0] if same else text

    return read


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
            return ((now or datetime.now(UTC)) - timedelta(**{_UNITS[age[2]]: int(age[1])})).isoformat()
        if _DATE.fullmatch(text):
            return f"{date.fromisoformat(text)}T00:00:00+00:00"
    except (ValueError, OverflowError):
        raise UsageError(detail=f"{name} {text!r} is not a date, nor an age such as 24h.") from None
    return text or None


def filter_file(path: str) -> tuple[list[str], list[str]]:
    """Return the patterns of ``--filter-from``: those after a ``+``, and those after a ``-``.

    Raises:
        UsageError: The file cannot be read, or a line is not such a pattern.
    """
    try:
        with Path(path).open("rb") as file:
            data = file.read(_MAX_FILTER_BYTES + 1)
        lines = data.decode("utf-8-sig").splitlines()
    except OSError as error:
        raise UsageError(detail=f"--filter-from {path!r} cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError:
        raise UsageError(detail=f"--filter-from {path!r} is not UTF-8 text.") from None
    if len(data) > _MAX_FILTER_BYTES:
        raise UsageError(detail=f"--filter-from {path!r} is longer than 1 MiB.")
    patterns: dict[str, list[str]] = {"+": [], "-": []}
    for number, line in enumerate(lines, start=1):
        if not line.strip() or line.startswith("#"):
            continue
        sign, space, pattern = line[:1], line[1:2], line[2:]
        if sign not in patterns or space != " " or not pattern:
            raise UsageError(
                detail=f"--filter-from {path!r}, line {number}: write '+ PATTERN' for keys to include, "
                "'- PATTERN' for keys to exclude, or '# text' for a comment."
            )
        patterns[sign].append(pattern)
    return patterns["+"], patterns["-"]
