"""Numbers and texts out of JSON that a task wrote: of the type and size that the pages expect, or nothing."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

_MOST_TEXT: Final = 1_024
_MOST_NUMBER: Final = 2**63
_MOST_ITEMS: Final = 1_000


def number(values: Mapping[str, Any], name: str) -> int | float:
    """Return a number of at least 0, or 0."""
    value = values.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0
    return value if 0 <= value < _MOST_NUMBER else 0


def text(values: Mapping[str, Any], name: str) -> str:
    """Return a text, or an empty one."""
    value = values.get(name)
    return value[:_MOST_TEXT] if isinstance(value, str) else ""


def mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return an object, or an empty one."""
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def items(values: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the objects of a list."""
    value = values.get(name)
    for item in value[:_MOST_ITEMS] if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield item


def amount(values: Mapping[str, Any], name: str) -> dict[str, int | float]:
    """Return objects and bytes."""
    found = mapping(values, name)
    return {"objects": number(found, "objects"), "bytes": number(found, "size_bytes")}


def moment(value: datetime | None) -> str | None:
    """Return a time as the browser reads it."""
    return value.isoformat() if value else None
