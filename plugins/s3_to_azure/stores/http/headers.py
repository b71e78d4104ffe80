"""Values of HTTP headers that both services send: ranges, dates, and how long to wait."""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

_HTTP_DATE: Final = re.compile(r"(?:[A-Za-z]{3}, ?)?[0-9]{1,2}[ -][A-Za-z]{3}[ -][1-9][0-9]{3} .{1,40}")
_CONTENT_RANGE: Final = re.compile(r"bytes (?:([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)|\*/([0-9]{1,19}))")
_SECONDS: Final = re.compile(r"-?[0-9]{1,19}(?:\.[0-9]{1,19})?")


@dataclass(frozen=True, slots=True)
class ContentRange:
    """The bytes ``[start, end)`` of a body; ``total`` is the object's size, or None if it is not said."""

    start: int
    end: int
    total: int | None


def content_range(text: str) -> ContentRange | None:
    """Return the range of bytes that a Content-Range tells, or None if it tells none; an empty one is unsatisfied."""
    match = _CONTENT_RANGE.fullmatch(text)
    if match is None:
        return None
    start, last, total, unsatisfied = match.groups()
    if unsatisfied is not None:
        return ContentRange(0, 0, int(unsatisfied))
    return ContentRange(int(start), int(last) + 1, None if total == "*" else int(total))


@lru_cache(maxsize=4096)
def http_date(text: str | None) -> datetime | None:
    """Return the time that a header tells, or None if it is absent or tells none."""
    # The year must have four digits: the library would read 0001 as 2001.
    if text is None or not _HTTP_DATE.fullmatch(text):
        return None
    try:
        moment = parsedate_to_datetime(text)
        return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that Retry-After asks for, also as a date; None if it is absent or not valid.

    Args:
        headers: The response's headers by lower-case name.
    """
    text = headers.get("retry-after", "").strip()
    if _SECONDS.fullmatch(text):
        return max(0.0, float(text))
    moment = http_date(text)
    if moment is None:
        return None
    # By the service's own clock, if it tells the time.
    now = http_date(headers.get("date"))
    return max(0.0, moment.timestamp() - (now.timestamp() if now else time.time()))
