"""HTTP headers: values that both services send, and what may be sent to them."""

import re
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Final

from s3_to_azure.model.errors import UnexpectedResponse

_HTTP_DATE: Final = re.compile(r"(?:[A-Za-z]{3}, ?)?[0-9]{1,2}[ -][A-Za-z]{3}[ -][1-9][0-9]{3} .{1,40}")
_CONTENT_RANGE: Final = re.compile(r"bytes (?:([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)|\*/([0-9]{1,19}))")
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t -~\x80-\xff]*")
_MAX_KNOWN_NAMES: Final = 1_000
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


def by_lower_name(headers: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return headers by lower-case name.

    The values of a repeated header are joined by commas (RFC 9110, 5.3), so that none is lost, and that one which may
    have a single value only, such as ETag, is not valid any more.
    """
    found: dict[str, str] = {}
    for name, value in headers:
        lower = name.lower()
        # A gateway may repeat what the store has said.
        found[lower] = f"{found[lower]}, {value}" if found.get(lower, value) != value else value
    return found


_known_names: set[str] = set()


def check_headers(headers: Mapping[str, str]) -> None:
    """Check a request's headers, whose names and values may come from a server.

    Raises:
        UnexpectedResponse: One is not valid in HTTP.
    """
    if not headers.keys() <= _known_names:
        if len(_known_names) > _MAX_KNOWN_NAMES:
            _known_names.clear()
        for name in headers:
            if not _NAME.fullmatch(name):
                raise _invalid(name)
            _known_names.add(name)
    text = "".join(headers.values())
    if text.isascii() and text.isprintable():
        return
    for name, value in headers.items():
        if not _VALUE.fullmatch(value):
            raise _invalid(name)


def _invalid(name: str) -> UnexpectedResponse:
    detail = "it is not a valid header; nothing was sent"
    return UnexpectedResponse(service="the HTTP client", resource=repr(name), detail=detail)
