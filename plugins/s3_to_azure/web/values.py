"""Reads values from JSON that a task wrote: of the type and size that the pages expect, or empty."""

from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any, Final

_MAX_TEXT: Final = 1_024
_MAX_NUMBER: Final = 2**63
_MAX_ITEMS: Final = 1_000
# Of a few dozen reasons, levels, warnings or files.
_MAX_TEXTS: Final = 100


def number(values: Mapping[str, Any], name: str) -> int | float:
    """Return the number; 0 if it is not one, is negative or too large."""
    value = values.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool):
        return 0
    return value if 0 <= value < _MAX_NUMBER else 0


def text(values: Mapping[str, Any], name: str) -> str:
    """Return the text, cut to its maximum length; empty if it is not one."""
    value = values.get(name)
    return value[:_MAX_TEXT] if isinstance(value, str) else ""


def mapping(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return the JSON object; empty if it is not one."""
    value = values.get(name)
    return value if isinstance(value, dict) else {}


def items(values: Mapping[str, Any], name: str) -> Iterator[Mapping[str, Any]]:
    """Yield the JSON objects in a list."""
    value = values.get(name)
    for item in value[:_MAX_ITEMS] if isinstance(value, list) else ():
        if isinstance(item, dict):
            yield item


def texts(values: Mapping[str, Any], name: str) -> list[str]:
    """Return the texts in a list, each cut to its maximum length."""
    value = values.get(name)
    return [item[:_MAX_TEXT] for item in value[:_MAX_TEXTS] if isinstance(item, str)] if isinstance(value, list) else []


def names(values: Mapping[str, Any], name: str) -> list[str]:
    """Return the names in a JSON object."""
    return list(islice(mapping(values, name), _MAX_TEXTS))


def amount(values: Mapping[str, Any], name: str) -> dict[str, int | float]:
    """Return a number of objects and of bytes."""
    found = mapping(values, name)
    return {"objects": number(found, "objects"), "bytes": number(found, "size_bytes")}


def iso_time(value: datetime | None) -> str | None:
    """Return the time in ISO 8601, as the browser reads it."""
    return value.isoformat() if value else None
