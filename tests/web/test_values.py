"""Values out of JSON that a task wrote: what has another type or size is empty."""

import math
from datetime import UTC, datetime
from typing import Any

import pytest

from s3_to_azure.web.values import amount, iso_time, items, mapping, names, number, text, texts


@pytest.mark.parametrize(
    ("value", "expected"), [(3, 3), (2.5, 2.5), (-1, 0), (math.inf, 0), (math.nan, 0), (True, 0), ("3", 0), (None, 0)]
)
def test_numbers_are_finite_and_not_negative(value: Any, expected: float) -> None:
    """JSON may hold any number, and the pages calculate with them."""
    assert number({"n": value}, "n") == expected
    assert number({}, "n") == 0


def test_texts_are_cut() -> None:
    """A key has at most 1,024 characters."""
    assert text({"t": "x" * 5_000}, "t") == "x" * 1_024
    assert [text({"t": value}, "t") for value in ("ab", 1, None, ["a"])] == ["ab", "", "", ""]


def test_objects_are_objects() -> None:
    """Anything but a JSON object is an empty one, in a list it is left out."""
    assert [mapping({"m": value}, "m") for value in ({"a": 1}, [1], "a", None)] == [{"a": 1}, {}, {}, {}]
    assert list(items({"l": [{"a": 1}, 2, None, {"b": 3}]}, "l")) == [{"a": 1}, {"b": 3}]
    assert list(items({"l": {"a": 1}}, "l")) == []
    assert len(list(items({"l": [{}] * 5_000}, "l"))) == 1_000


def test_lists_of_texts_and_names_are_short() -> None:
    """There are a few dozen reasons, levels, warnings and files."""
    assert [texts({"l": value}, "l") for value in (["a", 1, None, "b"], "ab", 5, {"a": 1}, None)] == [
        ["a", "b"],
        [],
        [],
        [],
        [],
    ]
    assert texts({"l": ["x" * 5_000] * 5_000}, "l") == ["x" * 1_024] * 100
    assert names({"m": {str(number): 1 for number in range(5_000)}}, "m") == [str(number) for number in range(100)]
    assert names({"m": ["a"]}, "m") == []


def test_amounts_are_objects_and_bytes() -> None:
    """The report's field of a size is called otherwise on the pages."""
    assert amount({"copied": {"objects": 2, "size_bytes": 7}}, "copied") == {"objects": 2, "bytes": 7}
    assert amount({"copied": 3}, "copied") == {"objects": 0, "bytes": 0}


def test_times_are_iso_8601() -> None:
    """A browser reads them with their zone."""
    assert iso_time(datetime(2026, 11, 23, 6, tzinfo=UTC)) == "2026-11-23T06:00:00+00:00"
    assert iso_time(None) is None
